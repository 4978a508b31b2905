/*
 * A crowd of clients that are there and hardly ask: idle connections, and slow ones that send a head byte by byte.
 *
 * Idle: a request, its answer, and silence for 10 s.  Slow: all of a head but 8 bytes, then one each quarter of a
 * second, well within the deadline of 5 s; its answer; and again.  A server that keeps its deadlines loses none of them.
 * Usage: crowd [--tls] ADDRESS PORT IDLE SLOW.  Prints "ready" when each idle one has had an answer and each slow one
 * has begun to ask; ends when its input does, with the number of answers, and of connections lost (then with exit code
 * 1).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define CLIENTS_MAX 100000
#define UNDER_WAY_MAX 32 /* that are not there yet: the crowd comes, it does not storm */
#define TURN_MS 10
#define SLOW_BYTES 8
#define SLOW_MS 250
#define IDLE_MS 10000
#define PATIENCE_MS 20000

static const char request[] = "HEAD /healthz HTTP/1.1\r\nHost: crowd\r\n\r\n";

struct client {
	int fd;
	SSL *ssl;
	bool slow, shaken, lost, waits; /* waits: for the answer */
	unsigned n_answers;
	size_t sent;   /* of the request */
	size_t at_end; /* of the empty line that ends an answer: so much has been seen */
	int64_t due_ms;
};

static struct {
	struct sockaddr_in server;
	SSL_CTX *tls;
	struct client *clients;
	unsigned n, n_idle, n_begun, n_open, n_lost;
	uint64_t n_answers;
	int epoll;
} crowd;

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(2);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
lose(struct client *c, const char *why)
{
	if (c->lost)
		return;
	if (crowd.n_lost++ < 5)
		fprintf(stderr, "crowd: %s connection %td is lost after %u answers: %s\n", c->slow ? "slow" : "idle",
			c - crowd.clients, c->n_answers, why);
	c->lost = true;
	close(c->fd);
}

static void
client_begin(struct client *c)
{
	const int on = 1;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = c };

	c->slow = c - crowd.clients >= crowd.n_idle;
	c->due_ms = now_ms();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, (const struct sockaddr *)&crowd.server, sizeof(crowd.server)) != 0)
		die("connect");
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		die("epoll_ctl");
	c->shaken = !crowd.tls;
	if (!crowd.tls)
		return;
	c->ssl = SSL_new(crowd.tls);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
		die("SSL_new");
	SSL_set_connect_state(c->ssl);
}

static void
client_shake(struct client *c)
{
	int did;

	if (c->shaken)
		return;
	did = SSL_do_handshake(c->ssl);
	c->shaken = did == 1;
	if (did != 1 && SSL_get_error(c->ssl, did) != SSL_ERROR_WANT_READ)
		lose(c, "no handshake");
}

/* What is due of its request. */
static void
client_say(struct client *c, int64_t now)
{
	const size_t len = sizeof(request) - 1, head = c->slow ? len - SLOW_BYTES : len;
	const size_t n = c->sent == 0 ? head : 1;
	ssize_t did;

	if (c->lost || !c->shaken || c->waits || now < c->due_ms)
		return;
	did = c->ssl ? SSL_write(c->ssl, request + c->sent, (int)n) : send(c->fd, request + c->sent, n, MSG_NOSIGNAL);
	if (did != (ssize_t)n) {
		lose(c, "cannot send");
		return;
	}
	crowd.n_open += c->slow && c->n_answers == 0 && c->sent == 0;
	c->sent += n;
	c->waits = c->sent == len;
	c->due_ms = now + SLOW_MS;
}

static void
client_answered(struct client *c)
{
	if (!c->waits) {
		lose(c, "an answer to what was not asked whole");
		return;
	}
	c->waits = false;
	c->sent = c->at_end = 0;
	c->due_ms = now_ms() + (c->slow ? SLOW_MS : IDLE_MS);
	crowd.n_answers++;
	crowd.n_open += c->n_answers++ == 0 && !c->slow;
}

/* Heads only, since HEAD was asked. */
static void
client_hear(struct client *c)
{
	static const char end[] = "\r\n\r\n";
	char in[4096];

	client_shake(c);
	while (!c->lost && c->shaken) {
		const ssize_t n = c->ssl ? SSL_read(c->ssl, in, sizeof(in)) : recv(c->fd, in, sizeof(in), 0);

		if (n <= 0) {
			const bool again = c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ
						  : n < 0 && errno == EAGAIN;

			if (!again)
				lose(c, "the server hung up");
			return;
		}
		for (ssize_t i = 0; i < n && !c->lost; i++) {
			c->at_end = in[i] == end[c->at_end] ? c->at_end + 1 : in[i] == '\r';
			if (c->at_end == 4)
				client_answered(c);
		}
	}
}

/* A few at a time until all are there. */
static void
begin(void)
{
	while (crowd.n_begun < crowd.n && crowd.n_begun - crowd.n_open - crowd.n_lost < UNDER_WAY_MAX) {
		client_begin(&crowd.clients[crowd.n_begun]);
		client_shake(&crowd.clients[crowd.n_begun++]);
	}
}

/* What is due of each. */
static void
turn(int64_t now)
{
	for (unsigned i = 0; i < crowd.n_begun; i++) {
		struct client *c = &crowd.clients[i];

		if (!c->lost && (c->waits || !c->shaken) && now > c->due_ms + PATIENCE_MS)
			lose(c, "no answer");
		client_say(c, now);
	}
}

static void
options(int argc, char **argv)
{
	const bool tls = argc > 1 && strcmp(argv[1], "--tls") == 0;
	struct rlimit limit;

	argv += tls;
	if (argc - tls != 5) {
		fprintf(stderr, "usage: crowd [--tls] ADDRESS PORT IDLE SLOW\n");
		exit(2);
	}
	crowd.server.sin_family = AF_INET;
	crowd.server.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	crowd.n_idle = (unsigned)strtoul(argv[3], NULL, 10);
	crowd.n = crowd.n_idle + (unsigned)strtoul(argv[4], NULL, 10);
	if (inet_pton(AF_INET, argv[1], &crowd.server.sin_addr) != 1 || crowd.n == 0 || crowd.n > CLIENTS_MAX) {
		fprintf(stderr, "crowd: an IPv4 address, and 1 to %d connections\n", CLIENTS_MAX);
		exit(2);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	crowd.clients = calloc(crowd.n, sizeof(*crowd.clients));
	crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!crowd.clients || crowd.epoll < 0)
		die("crowd");
	if (tls) {
		crowd.tls = SSL_CTX_new(TLS_client_method());
		if (!crowd.tls)
			die("SSL_CTX_new");
		SSL_CTX_set_mode(crowd.tls, SSL_MODE_RELEASE_BUFFERS);
	}
}

int
main(int argc, char **argv)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	struct epoll_event events[256];
	int64_t turned_ms = 0;
	bool told = false;

	options(argc, argv);
	for (;;) {
		const int n = epoll_wait(crowd.epoll, events, 256, TURN_MS);

		for (int i = 0; i < n; i++)
			client_hear(events[i].data.ptr);
		begin();
		if (now_ms() >= turned_ms + TURN_MS) {
			turned_ms = now_ms();
			turn(turned_ms);
		}
		if (!told && crowd.n_open + crowd.n_lost == crowd.n) {
			told = true;
			printf("ready\n");
			fflush(stdout);
		}
		if (poll(&input, 1, 0) > 0)
			break;
	}
	printf("%llu answers, %u connections lost\n", (unsigned long long)crowd.n_answers, crowd.n_lost);
	return crowd.n_lost > 0 || !told;
}
