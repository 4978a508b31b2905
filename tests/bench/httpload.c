/*
 * A closed-loop load of plain HTTP: so many connections, each with so many requests under way, and a new one for each
 * answer.
 *
 * Prints requests a second and, told whose process it is, what each cost that server: the second number is the one to
 * compare, since a fast server may be waiting for us.  One thread, level-triggered epoll; answers need a
 * Content-Length, or a status that has no body.
 *
 * Usage: httpload [-c connections] [-d depth] [-s seconds] [-p server's pid] [-x status] [-1lnO] ADDRESS PORT FILE...
 * Each FILE is one whole request as it is sent; they are taken in turn.
 *	-1	a connection for each request
 *	-l	each FILE holds many requests: 4 bytes of length, little endian, and then the request, again and again
 *	-n	each request is sent once: ends with the last answer, or when the seconds are over
 *	-O	the body must be an OCSP response that is "successful": tryLater and unauthorized come with 200, too
 *	-x	the status that is no refusal; when not said, any 2xx
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define DEPTH_MAX 64
#define REQUESTS_MAX 100000
#define REQUEST_MAX 8192
#define LIST_MAX (64 * 1024 * 1024)
#define IN_LEN (64 * 1024)

struct text {
	char *data;
	size_t len;
};

struct client {
	int fd;
	size_t in_len;
	char in[IN_LEN];
};

static struct {
	unsigned n_clients, depth;
	double seconds;
	long pid;
	unsigned status;	/* 0: any 2xx */
	bool once;		/* a connection a request */
	bool lists, turn, ocsp; /* -l, -n, -O */
	struct sockaddr_in server;
	struct text *requests;
	unsigned n_requests, next;
	int epoll;
	unsigned asked; /* and not answered */
	uint64_t n_answers, n_good, n_bytes;
} load;

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User and system time of the server, in seconds. */
static void
cpu_of(long pid, double *user_s, double *system_s)
{
	char path[64], line[1024];
	unsigned long user, system;
	const char *after_name;
	FILE *f;

	*user_s = *system_s = 0;
	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "r");
	if (!f || !fgets(line, sizeof(line), f))
		die(path);
	fclose(f);
	after_name = strrchr(line, ')');
	if (!after_name ||
	    sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
		fprintf(stderr, "httpload: %s is not as expected\n", path);
		exit(1);
	}
	*user_s = (double)user / (double)sysconf(_SC_CLK_TCK);
	*system_s = (double)system / (double)sysconf(_SC_CLK_TCK);
}

static struct text
read_file(const char *path, size_t max)
{
	struct text text = { .data = malloc(max) };
	const int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0 || !text.data)
		die(path);
	while (text.len < max && (n = read(fd, text.data + text.len, max - text.len)) > 0)
		text.len += (size_t)n;
	close(fd);
	if (text.len == 0 || text.len == max) {
		fprintf(stderr, "httpload: %s is empty or longer than %zu bytes\n", path, max - 1);
		exit(1);
	}
	return text;
}

static void
request_add(struct text request)
{
	if (load.n_requests == REQUESTS_MAX || request.len == 0 || request.len >= REQUEST_MAX) {
		fprintf(stderr, "httpload: more than %d requests, or one of %zu bytes\n", REQUESTS_MAX, request.len);
		exit(1);
	}
	load.requests[load.n_requests++] = request;
}

static void
list_add(const char *path)
{
	const struct text list = read_file(path, LIST_MAX);
	uint32_t len;

	for (size_t at = 0; at < list.len; at += sizeof(len) + len) {
		len = UINT32_MAX;
		if (list.len - at > sizeof(len))
			memcpy(&len, list.data + at, sizeof(len));
		if (len > list.len - at - sizeof(len)) {
			fprintf(stderr, "httpload: %s is no list of requests\n", path);
			exit(1);
		}
		request_add((struct text){ list.data + at + sizeof(len), len });
	}
}

/* Fewer than `n` when each is asked once, and there are no more. */
static void
ask(struct client *c, unsigned n)
{
	static char out[DEPTH_MAX * REQUEST_MAX];
	size_t len = 0;

	for (; n > 0 && load.next < load.n_requests; n--) {
		const struct text *request = &load.requests[load.next++];

		memcpy(out + len, request->data, request->len);
		len += request->len;
		load.asked++;
		if (load.next == load.n_requests && !load.turn)
			load.next = 0;
	}
	if (len > 0 && send(c->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

static void
dial(struct client *c)
{
	const int on = 1;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, (const struct sockaddr *)&load.server, sizeof(load.server)) != 0)
		die("connect");
	if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		die("epoll_ctl");
	c->in_len = 0;
	ask(c, load.depth);
}

/* OCSPResponse: a SEQUENCE whose first member, responseStatus, is successful(0): RFC 6960 4.2.1. */
static bool
ocsp_successful(const char *body, size_t len)
{
	static const char successful[] = { 0x0a, 0x01, 0x00 };
	const size_t head = len > 1 && ((uint8_t)body[1] & 0x80) ? 2 + ((uint8_t)body[1] & 0x7f) : 2;

	return len > head + sizeof(successful) && body[0] == 0x30 &&
	       memcmp(body + head, successful, sizeof(successful)) == 0;
}

/* The length of the first answer in `in`, or 0 when it is not whole. */
static size_t
answer_len(const char *in, size_t len, bool *is_good)
{
	static const char field[] = "\r\nContent-Length: ";
	const char *end = memmem(in, len, "\r\n\r\n", 4), *length;
	size_t head, body = 0;
	unsigned status;

	if (!end)
		return 0;
	head = (size_t)(end - in) + 4;
	status = head > 12 ? (unsigned)((in[9] - '0') * 100 + (in[10] - '0') * 10 + in[11] - '0') : 0;
	if (status != 304) {
		length = memmem(in, head, field, sizeof(field) - 1);
		if (!length) {
			fprintf(stderr, "httpload: an answer without Content-Length: %.*s\n", (int)head, in);
			exit(1);
		}
		body = strtoul(length + sizeof(field) - 1, NULL, 10);
	}
	if (head + body > IN_LEN) {
		fprintf(stderr, "httpload: an answer of %zu bytes\n", head + body);
		exit(1);
	}
	if (len < head + body)
		return 0;
	*is_good = (load.status ? status == load.status : status / 100 == 2) &&
		   (!load.ocsp || ocsp_successful(in + head, body));
	if (!*is_good && load.n_good == load.n_answers)
		fprintf(stderr, "httpload: the first refusal: %.*s%s\n", (int)head, in,
			load.ocsp ? "or its body is no successful OCSP response" : "");
	return head + body;
}

static void
hear(struct client *c)
{
	const ssize_t n = recv(c->fd, c->in + c->in_len, IN_LEN - c->in_len, MSG_DONTWAIT);
	size_t at = 0, len;
	unsigned answered = 0;
	bool is_good;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fprintf(stderr, "httpload: the server hung up\n");
		exit(1);
	}
	c->in_len += (size_t)n;
	load.n_bytes += (uint64_t)n;
	while ((len = answer_len(c->in + at, c->in_len - at, &is_good)) > 0) {
		at += len;
		answered++;
		load.n_answers++;
		load.n_good += is_good;
	}
	load.asked -= answered;
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (answered > 0 && load.once) {
		close(c->fd);
		if (load.next < load.n_requests)
			dial(c);
	} else if (answered > 0) {
		ask(c, answered);
	}
}

static void
options(int argc, char **argv)
{
	int option;

	load.n_clients = 64;
	load.depth = 1;
	load.seconds = 4;
	while ((option = getopt(argc, argv, "c:d:s:p:x:1lnO")) != -1) {
		switch (option) {
		case 'c':
			load.n_clients = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			load.depth = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			load.seconds = strtod(optarg, NULL);
			break;
		case 'p':
			load.pid = strtol(optarg, NULL, 10);
			break;
		case 'x':
			load.status = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case '1':
			load.once = true;
			break;
		case 'l':
			load.lists = true;
			break;
		case 'n':
			load.turn = true;
			break;
		case 'O':
			load.ocsp = true;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind < 3 || load.n_clients == 0 || load.n_clients > CONNECTIONS_MAX || load.depth == 0 ||
	    load.depth > DEPTH_MAX || (load.once && load.depth > 1)) {
		fprintf(stderr,
			"usage: httpload [-c 1..%d] [-d 1..%d] [-s seconds] [-p pid] [-x status] "
			"[-1lnO] ADDRESS PORT FILE...\n",
			CONNECTIONS_MAX, DEPTH_MAX);
		exit(2);
	}
	load.server.sin_family = AF_INET;
	load.server.sin_port = htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
	if (inet_pton(AF_INET, argv[optind], &load.server.sin_addr) != 1) {
		fprintf(stderr, "httpload: %s is not an IPv4 address\n", argv[optind]);
		exit(2);
	}
	load.requests = calloc(REQUESTS_MAX, sizeof(*load.requests));
	if (!load.requests)
		die("httpload");
	for (int i = optind + 2; i < argc; i++) {
		if (load.lists)
			list_add(argv[i]);
		else
			request_add(read_file(argv[i], REQUEST_MAX));
	}
}

int
main(int argc, char **argv)
{
	double began, ended, user[2], system[2];
	struct client *clients;
	struct epoll_event events[256];

	options(argc, argv);
	clients = calloc(load.n_clients, sizeof(*clients));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!clients || load.epoll < 0)
		die("httpload");
	cpu_of(load.pid, &user[0], &system[0]);
	began = now_s();
	for (unsigned i = 0; i < load.n_clients && load.next < load.n_requests; i++)
		dial(&clients[i]);
	do {
		const int n = epoll_wait(load.epoll, events, 256, 100);

		for (int i = 0; i < n; i++)
			hear(events[i].data.ptr);
		ended = now_s();
	} while (ended - began < load.seconds && load.asked > 0);
	cpu_of(load.pid, &user[1], &system[1]);
	if (load.n_answers == 0) {
		fprintf(stderr, "httpload: no answer in %.1f s\n", load.seconds);
		return 1;
	}
	printf("%.0f requests/s, %llu answers, %llu refusals, %.0f bytes each",
	       (double)load.n_answers / (ended - began), (unsigned long long)load.n_answers,
	       (unsigned long long)(load.n_answers - load.n_good), (double)load.n_bytes / (double)load.n_answers);
	if (load.pid > 0)
		printf(", server %.2f us CPU a request (user %.2f)",
		       (user[1] - user[0] + system[1] - system[0]) * 1e6 / (double)load.n_answers,
		       (user[1] - user[0]) * 1e6 / (double)load.n_answers);
	printf("\n");
	return 0;
}
