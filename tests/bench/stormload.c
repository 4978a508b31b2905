/*
 * An open-loop load of issuances for tests/storm: requests come when they come, whether answers do or not.
 *
 * Setting up (not measured): agents' keys and a task for each, opened by the delegators given, and the connections.
 * Then, for
 * --seconds, POST /v1/tasks/ID/leaves with a proof of possession, --rate a second, each on a connection that waits for
 * nothing (one request at a time each); without --rate a closed loop, all connections always asking.  Whoever is
 * refused is gone: who would come back is among those that come.  The status of every certificate received is asked of
 * OCSP at once, on plain connections.
 *
 * --out FILE gets a line for each certificate: its serial, and what OCSP said first.  --times FILE a line for each
 * request: when it was due, seconds since 1970, how long its answer took in ms, and the status.  Prints JSON: what came
 * of them, and each second of it. One thread.  Knows the API as deploy/api/v1.yaml describes it, and nothing of the
 * server's insides.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
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

#include "agents.h"

#define DELEGATORS_MAX 64
#define ANSWER_KEEP 8192 /* of an answer; a leaf's serial stands within it */
#define OCSP_CONNECTIONS 96
#define SHAKING_MAX 64
#define OCSP_REQUEST_MAX 512
#define DRAIN_S 20 /* after the end, for answers that are out */
#define SECONDS_MAX 4000

enum kind { API, OCSP };
enum step { CONNECTING, SHAKING, IDLE, ASKING, DEAD };

struct conn {
	enum kind kind;
	enum step step;
	int fd;
	SSL *ssl;
	double due; /* of the request under way */
	struct conn *next_idle;
	size_t have, want, sent, len;
	const char *request;
	char head[ANSWER_KEEP + 1];
	char serial[33]; /* whose status is asked */
	char ocsp[OCSP_REQUEST_MAX + 256];
};

struct pending {
	struct pending *next;
	char serial[33];
	double since;
};

struct latencies {
	double *ms;
	size_t n, cap;
};

static struct {
	const char *cert[DELEGATORS_MAX], *key[DELEGATORS_MAX], *out, *times, *ocsp_prefix, *from;
	unsigned n_certs, n_keys, agents, connections;
	int status_port;
	double rate, seconds;
} opt = { .agents = 100, .connections = 64, .seconds = 5 };

static struct agent *agents;
static struct conn *conns, ocsp_conns[OCSP_CONNECTIONS], *idle, **idle_end = &idle; /* the one idle for longest first */
static struct pending *pending, **pending_end = &pending;
static unsigned n_asking, n_dead, n_ready, shaking, next_agent;
static size_t n_pending;
static uint8_t ocsp_template[OCSP_REQUEST_MAX];
static size_t ocsp_len;
static FILE *out, *times;
static int epoll;
static double began, wall_offset;
static struct latencies issued_ms, refused_ms, ocsp_ms;
static struct {
	unsigned offered, begun, issued, later, too_many, other, lost;
} total, per_second[SECONDS_MAX];
static unsigned long ocsp_good, ocsp_revoked, ocsp_else, ocsp_lost;

static void
add_ms(struct latencies *l, double ms)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 4096;
		l->ms = realloc(l->ms, l->cap * sizeof(double));
	}
	l->ms[l->n++] = ms;
}

static unsigned
second_of(double at)
{
	const double s = at - began;

	return s < 0 ? 0 : s >= SECONDS_MAX ? SECONDS_MAX - 1 : (unsigned)s;
}

/* ---- connections ---- */

static void
watch(struct conn *c, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll, op, c->fd, &ev) != 0)
		die("epoll_ctl");
}

static void
put_idle(struct conn *c)
{
	c->step = IDLE;
	c->next_idle = NULL;
	*idle_end = c;
	idle_end = &c->next_idle;
}

static void
lost(struct conn *c)
{
	if (c->kind == API && c->step == ASKING) {
		total.lost++;
		per_second[second_of(now_s())].lost++;
		n_asking--;
		if (times)
			fprintf(times, "%.6f %.3f 0\n", c->due + wall_offset, (now_s() - c->due) * 1e3);
	} else if (c->kind == OCSP && c->step == ASKING) {
		ocsp_lost++;
		if (out)
			fprintf(out, "%s lost\n", c->serial);
	}
	shaking -= c->kind == API && (c->step == SHAKING || c->step == CONNECTING);
	if (c->kind == API && c->step == IDLE) {
		struct conn **at = &idle;

		while (*at != c)
			at = &(*at)->next_idle;
		*at = c->next_idle;
		if (!*at)
			idle_end = at;
	}
	c->step = DEAD;
	n_dead += c->kind == API;
	if (c->ssl)
		SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
	c->fd = -1;
}

static void
conn_dial(struct conn *c, enum kind kind, SSL_CTX *ctx)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)(kind == API ? target.port : opt.status_port)) };
	struct sockaddr_in from = { .sin_family = AF_INET };
	int one = 1;

	inet_pton(AF_INET, target.host, &to.sin_addr);
	c->kind = kind;
	c->step = CONNECTING;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("no descriptor for a connection");
	if (opt.from && inet_pton(AF_INET, opt.from, &from.sin_addr) == 1 &&
	    bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		die("cannot bind --from");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
		die("cannot connect");
	if (kind == API) {
		c->ssl = SSL_new(ctx);
		SSL_set_fd(c->ssl, c->fd);
		SSL_set_connect_state(c->ssl);
		shaking++;
	}
	watch(c, EPOLLIN | EPOLLOUT | EPOLLET, EPOLL_CTL_ADD);
}

/* ---- status ---- */

static void flush_out(struct conn *);

static void
ask_status(struct conn *c)
{
	struct pending *p = pending;
	int n;

	if (!p)
		return;
	pending = p->next;
	if (!pending)
		pending_end = &pending;
	n_pending--;
	memcpy(c->serial, p->serial, sizeof(c->serial));
	c->due = p->since;
	free(p);
	n = sprintf(c->ocsp,
		    "POST /ocsp HTTP/1.1\r\nHost: storm\r\nContent-Type: application/ocsp-request\r\nContent-Length: "
		    "%zu\r\n\r\n",
		    ocsp_len);
	memcpy(c->ocsp + n, ocsp_template, ocsp_len);
	for (size_t i = 0; i < 16; i++) {
		unsigned byte;

		sscanf(c->serial + 2 * i, "%2x", &byte);
		c->ocsp[(size_t)n + ocsp_len - 16 + i] = (char)byte;
	}
	c->request = c->ocsp;
	c->len = (size_t)n + ocsp_len;
	c->sent = c->have = c->want = 0;
	c->step = ASKING;
	flush_out(c);
}

static void
status_of(const char *serial, double since)
{
	struct pending *p;

	if (ocsp_len == 0)
		return;
	p = malloc(sizeof(*p));
	*p = (struct pending){ .since = since };
	memcpy(p->serial, serial, 32);
	*pending_end = p;
	pending_end = &p->next;
	n_pending++;
	for (unsigned i = 0; i < OCSP_CONNECTIONS && pending; i++)
		if (ocsp_conns[i].step == IDLE)
			ask_status(&ocsp_conns[i]);
}

/* In a SingleResponse the status stands behind the CertID, which ends with the serial: 80 good, a1 revoked. */
static const char *
status_said(const struct conn *c)
{
	uint8_t serial[16];
	const uint8_t *at;

	for (size_t i = 0; i < 16; i++) {
		unsigned byte;

		sscanf(c->serial + 2 * i, "%2x", &byte);
		serial[i] = (uint8_t)byte;
	}
	at = memmem(c->head, c->have < ANSWER_KEEP ? c->have : ANSWER_KEEP, serial, 16);
	if (!at)
		return "none";
	return at[16] == 0x80 ? "good" : at[16] == 0xa1 ? "revoked" : "none";
}

/* ---- answers ---- */

static void
answered(struct conn *c)
{
	const double now = now_s();
	const int status = atoi(c->head + 9);
	const unsigned at = second_of(now);

	if (c->kind == OCSP) {
		const char *said = status == 200 ? status_said(c) : "none";

		ocsp_good += strcmp(said, "good") == 0;
		ocsp_revoked += strcmp(said, "revoked") == 0;
		ocsp_else += strcmp(said, "none") == 0;
		if (strcmp(said, "none") == 0 && ocsp_else <= 3)
			fprintf(stderr, "ocsp %s: %d %.300s\n", c->serial, status, c->head);
		add_ms(&ocsp_ms, (now - c->due) * 1e3);
		if (out)
			fprintf(out, "%s %s\n", c->serial, said);
		c->step = IDLE;
		ask_status(c);
		return;
	}
	n_asking--;
	if (times)
		fprintf(times, "%.6f %.3f %d\n", c->due + wall_offset, (now - c->due) * 1e3, status);
	if (status == 201) {
		const char *serial = strstr(c->head, "\"serial\":\"");

		total.issued++;
		per_second[at].issued++;
		add_ms(&issued_ms, (now - c->due) * 1e3);
		if (!serial)
			die("a leaf came without its serial");
		c->head[serial - c->head + 10 + 32] = '\0';
		status_of(serial + 10, now);
	} else if (status == 503 || status == 429) {
		*(status == 503 ? &total.later : &total.too_many) += 1;
		*(status == 503 ? &per_second[at].later : &per_second[at].too_many) += 1;
		add_ms(&refused_ms, (now - c->due) * 1e3);
	} else {
		if (total.other++ < 3)
			fprintf(stderr, "status %d: %.600s\n", status, c->head);
		per_second[at].other++;
	}
	if (strcasestr(c->head, "\r\nconnection: close")) {
		c->step = SHAKING; /* no longer asking */
		shaking++;
		lost(c);
		return;
	}
	put_idle(c);
}

/* ---- bytes ---- */

static int
io(struct conn *c, bool write, void *data, size_t len)
{
	int n;

	if (!c->ssl) {
		n = (int)(write ? send(c->fd, data, len, MSG_NOSIGNAL) : recv(c->fd, data, len, 0));
		return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
	}
	ERR_clear_error();
	n = write ? SSL_write(c->ssl, data, (int)len) : SSL_read(c->ssl, data, (int)len);
	if (n > 0)
		return n;
	n = SSL_get_error(c->ssl, n);
	return n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void
flush_out(struct conn *c)
{
	while (c->sent < c->len) {
		const int n = io(c, true, (void *)(uintptr_t)(c->request + c->sent), c->len - c->sent);

		if (n < 0) {
			lost(c);
			return;
		}
		if (n == 0)
			return;
		c->sent += (size_t)n;
	}
}

static void
hear(struct conn *c)
{
	char data[16 * 1024];

	while (c->step != DEAD) {
		const int n = io(c, false, data, sizeof(data));

		if (n < 0) {
			lost(c);
			return;
		}
		if (n == 0)
			return;
		if (c->step != ASKING)
			continue;
		if (c->have < ANSWER_KEEP) {
			const size_t room = ANSWER_KEEP - c->have, keep = (size_t)n < room ? (size_t)n : room;

			memcpy(c->head + c->have, data, keep);
			c->head[c->have + keep] = '\0';
		}
		c->have += (size_t)n;
		if (c->want == 0) {
			const char *end = strstr(c->head, "\r\n\r\n"),
				   *length = strcasestr(c->head, "\r\ncontent-length:");

			if (end)
				c->want = (size_t)(end + 4 - c->head) +
					  (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
		}
		if (c->want > 0 && c->have >= c->want)
			answered(c);
	}
}

static void
step(struct conn *c)
{
	if (c->step == CONNECTING) {
		int failed = 0;
		socklen_t len = sizeof(failed);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &len);
		if (failed) {
			lost(c);
			return;
		}
		c->step = c->kind == API ? SHAKING : IDLE;
		if (c->kind == OCSP)
			ask_status(c);
	}
	if (c->step == SHAKING) {
		int n;

		ERR_clear_error();
		n = SSL_connect(c->ssl);
		if (n != 1) {
			n = SSL_get_error(c->ssl, n);
			if (n != SSL_ERROR_WANT_READ && n != SSL_ERROR_WANT_WRITE)
				lost(c);
			return;
		}
		shaking--;
		n_ready++;
		put_idle(c);
		return;
	}
	if (c->step == ASKING && c->sent < c->len)
		flush_out(c);
	if (c->step != DEAD)
		hear(c);
}

static void
turn(int timeout_ms)
{
	struct epoll_event events[256];
	const int n = epoll_wait(epoll, events, 256, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (c->step != DEAD)
			step(c);
	}
}

/* ---- the run ---- */

static void
begin(double due)
{
	struct conn *c = idle;
	const struct agent *a = &agents[next_agent++ % opt.agents];

	total.offered++;
	per_second[second_of(due)].offered++;
	if (!c)
		return;
	total.begun++;
	per_second[second_of(due)].begun++;
	idle = c->next_idle;
	if (!idle)
		idle_end = &idle;
	c->due = due;
	c->request = a->request;
	c->len = a->request_len;
	c->sent = c->have = c->want = 0;
	c->step = ASKING;
	n_asking++;
	flush_out(c);
}

static void
run(void)
{
	double now, next;

	began = next = now_s();
	while ((now = now_s()) < began + opt.seconds) {
		if (opt.rate > 0) {
			for (unsigned i = 0; next <= now && i < 4096; i++, next += 1 / opt.rate)
				begin(next);
			turn(next - now > 0.002 ? (int)((next - now) * 1000) : 0);
			continue;
		}
		for (unsigned i = 0; idle && i < opt.connections; i++)
			begin(now);
		turn(10);
	}
	while ((n_asking > 0 || n_pending > 0) && now_s() < began + opt.seconds + DRAIN_S)
		turn(20);
	for (double end = now_s() + 0.5; now_s() < end;) /* statuses under way */
		turn(20);
}

static void
set_up(void)
{
	char *answer = malloc(ANSWER_MAX);
	SSL *by[DELEGATORS_MAX];
	SSL_CTX *ctx;

	agents = calloc(opt.agents, sizeof(*agents));
	for (unsigned i = 0; i < opt.n_certs; i++) {
		ctx = client_ctx();
		if (SSL_CTX_use_certificate_file(ctx, opt.cert[i], SSL_FILETYPE_PEM) != 1 ||
		    SSL_CTX_use_PrivateKey_file(ctx, opt.key[i], SSL_FILETYPE_PEM) != 1)
			die("a delegator's --cert and --key cannot be used");
		by[i] = dial(ctx);
		SSL_CTX_free(ctx);
	}
	for (unsigned i = 0; i < opt.agents; i++)
		make_agent(&agents[i], by[i % opt.n_certs], answer);
	for (unsigned i = 0; i < opt.n_certs; i++)
		hang_up(by[i]);
	free(answer);

	ctx = client_ctx();
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	conns = calloc(opt.connections, sizeof(*conns));
	for (unsigned i = 0; i < opt.connections; i++) {
		while (shaking >= SHAKING_MAX)
			turn(100);
		conn_dial(&conns[i], API, ctx);
	}
	for (double end = now_s() + 60; n_ready < opt.connections && now_s() < end && n_dead == 0;)
		turn(100);
	if (n_ready < opt.connections)
		die("not every connection could be made");
	for (unsigned i = 0; opt.status_port && i < OCSP_CONNECTIONS; i++)
		conn_dial(&ocsp_conns[i], OCSP, NULL);
}

/* ---- after ---- */

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
put_latencies(const char *name, struct latencies *l)
{
	qsort(l->ms, l->n, sizeof(double), by_value);
	printf("\"%s\":{\"n\":%zu,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f},", name, l->n,
	       l->n ? l->ms[(l->n - 1) / 2] : 0, l->n ? l->ms[(size_t)((double)(l->n - 1) * 0.99)] : 0,
	       l->n ? l->ms[l->n - 1] : 0);
}

static void
report(void)
{
	printf("{\"seconds\":%.2f,\"offered\":%u,\"begun\":%u,\"issued\":%u,\"later\":%u,\"too_many\":%u,\"other\":%u,"
	       "\"lost\":%u,"
	       "\"unanswered\":%u,\"connections_lost\":%u,",
	       opt.seconds, total.offered, total.begun, total.issued, total.later, total.too_many, total.other,
	       total.lost, n_asking, n_dead);
	put_latencies("issued_in", &issued_ms);
	put_latencies("refused_in", &refused_ms);
	put_latencies("status_in", &ocsp_ms);
	printf("\"status\":{\"good\":%lu,\"revoked\":%lu,\"none\":%lu,\"lost\":%lu,\"not_asked\":%zu},\"each_second\":"
	       "[",
	       ocsp_good, ocsp_revoked, ocsp_else, ocsp_lost, n_pending);
	for (unsigned i = 0; i < SECONDS_MAX && i < (unsigned)opt.seconds + 1; i++)
		printf("%s[%u,%u,%u,%u]", i ? "," : "", per_second[i].offered, per_second[i].begun,
		       per_second[i].issued, per_second[i].later + per_second[i].too_many);
	printf("]}\n");
}

static void
template_read(const char *hex)
{
	ocsp_len = strlen(hex) / 2;
	if (ocsp_len < 16 || ocsp_len > OCSP_REQUEST_MAX)
		die("--ocsp is no request");
	for (size_t i = 0; i < ocsp_len; i++) {
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			die("--ocsp is not hex");
		ocsp_template[i] = (uint8_t)byte;
	}
}

static void
descriptors_raise(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < opt.connections + 64)
		die("the limit of open descriptors is too low");
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },	 { "ca", required_argument, NULL, 'c' },
		{ "cert", required_argument, NULL, 'C' },	 { "key", required_argument, NULL, 'K' },
		{ "agents", required_argument, NULL, 'a' },	 { "connections", required_argument, NULL, 'n' },
		{ "rate", required_argument, NULL, 'r' },	 { "seconds", required_argument, NULL, 's' },
		{ "status-port", required_argument, NULL, 'S' }, { "ocsp", required_argument, NULL, 'O' },
		{ "out", required_argument, NULL, 'o' },	 { "times", required_argument, NULL, 't' },
		{ "from", required_argument, NULL, 'f' },	 { NULL, 0, NULL, 0 },
	};
	struct timespec wall;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'p')
			target.port = atoi(optarg);
		else if (o == 'c')
			target.ca = optarg;
		else if (o == 'C' && opt.n_certs < DELEGATORS_MAX)
			opt.cert[opt.n_certs++] = optarg;
		else if (o == 'K' && opt.n_keys < DELEGATORS_MAX)
			opt.key[opt.n_keys++] = optarg;
		else if (o == 'a')
			opt.agents = (unsigned)atoi(optarg);
		else if (o == 'n')
			opt.connections = (unsigned)atoi(optarg);
		else if (o == 'r')
			opt.rate = atof(optarg);
		else if (o == 's')
			opt.seconds = atof(optarg);
		else if (o == 'S')
			opt.status_port = atoi(optarg);
		else if (o == 'O')
			template_read(optarg);
		else if (o == 'o')
			opt.out = optarg;
		else if (o == 't')
			opt.times = optarg;
		else if (o == 'f')
			opt.from = optarg;
		else
			return 2;
	}
	if (!target.port || !target.ca || opt.n_certs == 0 || opt.n_certs != opt.n_keys || opt.agents == 0 ||
	    opt.connections == 0 || (ocsp_len > 0) != (opt.status_port > 0)) {
		fprintf(stderr, "usage: stormload --port P --ca F {--cert F --key F}... [--agents N] [--connections N] "
				"[--rate N] "
				"[--seconds S] [--from ADDRESS] [--status-port P --ocsp HEX] [--out F] [--times F]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	descriptors_raise();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if ((opt.out && !(out = fopen(opt.out, "w"))) || (opt.times && !(times = fopen(opt.times, "w"))))
		die("cannot write --out or --times");
	set_up();
	clock_gettime(CLOCK_REALTIME, &wall);
	wall_offset = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - now_s();
	printf("ready\n"); /* whoever started several begins them together */
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	run();
	report();
	if ((out && fclose(out) != 0) || (times && fclose(times) != 0))
		die("cannot write --out or --times");
	return 0;
}
