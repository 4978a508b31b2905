/*
 * A burst for tests/bench/custody: N agents at once, each with a connection, a handshake and one request for a leaf.
 *
 * Setting up (not measured): agents' keys, and a task for each, opened by the delegators given; the first of them opens
 * --share percent, the others the rest.  Measured, from one moment on: every agent connects, shakes hands, asks, and
 * hears; all waits are from that moment.  One thread, no retries: who is told to come back later has had its answer.
 * Prints TSV, a line a group (all, first, others): agents, served, refused with 503 and Retry-After, anything else,
 * seconds until the last answer, waits of those served (p50, worst) and of those refused (p50, worst) in ms, and
 * Retry-After (least, most).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agents.h"

#define DELEGATORS_MAX 64
#define ANSWER_HEAD 1024 /* of an answer this much is kept */
#define SHAKING_MAX                                                                                                    \
	128 /* handshakes under way, in order of connecting: with all of them our one processor would answer none in   \
	       time */

enum step { CONNECTING, SHAKING, ASKING, HEARING, DONE };

struct asker {
	struct agent agent;
	unsigned delegator;
	SSL *ssl;
	int fd;
	enum step step;
	double waited_ms;
	int status, retry_after_s; /* 0: none */
	size_t have;
	char head[ANSWER_HEAD + 1];
};

static struct {
	const char *cert[DELEGATORS_MAX], *key[DELEGATORS_MAX];
	unsigned n_certs, n_keys, agents, share;
	double seconds;
} opt = { .agents = 5000, .share = 100, .seconds = 120 };

static struct asker *askers;
static double began;
static unsigned left, shaking;

/* ---- before ---- */

static void
descriptors_raise(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < opt.agents + 64)
		die("the limit of open descriptors is too low");
}

static void
set_up(void)
{
	const unsigned of_first = opt.n_certs == 1 ? opt.agents : opt.agents * opt.share / 100;
	char *answer = malloc(ANSWER_MAX);
	SSL *by[DELEGATORS_MAX];

	askers = calloc(opt.agents, sizeof(*askers));
	for (unsigned i = 0; i < opt.n_certs; i++) {
		SSL_CTX *ctx = client_ctx();

		if (SSL_CTX_use_certificate_file(ctx, opt.cert[i], SSL_FILETYPE_PEM) != 1 ||
		    SSL_CTX_use_PrivateKey_file(ctx, opt.key[i], SSL_FILETYPE_PEM) != 1)
			die("a delegator's --cert and --key cannot be used");
		by[i] = dial(ctx);
		SSL_CTX_free(ctx);
	}
	/* Those of the first are spread among the others, so that nobody is early. */
	for (unsigned i = 0, first = 0; i < opt.agents; i++) {
		const bool one = (unsigned long)(i + 1) * of_first / opt.agents > first;

		askers[i].delegator = one ? 0 : 1 + (i - first) % (opt.n_certs - 1);
		first += one;
		make_agent(&askers[i].agent, by[askers[i].delegator], answer);
	}
	for (unsigned i = 0; i < opt.n_certs; i++)
		hang_up(by[i]);
	free(answer);
}

/* ---- the burst ---- */

static void
watch(int epoll, struct asker *a, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = a };

	if (epoll_ctl(epoll, op, a->fd, &ev) != 0)
		die("epoll_ctl");
}

static void
done(struct asker *a, int status)
{
	const char *after = strcasestr(a->head, "\r\nretry-after:");

	shaking -= a->step == CONNECTING || a->step == SHAKING;
	a->step = DONE;
	a->status = status;
	a->retry_after_s = after ? atoi(after + 14) : 0;
	a->waited_ms = (now_s() - began) * 1e3;
	SSL_free(a->ssl);
	close(a->fd);
	left--;
}

/* What is still wanted after SSL_ERROR_WANT_*; the asker is done when the connection is over. */
static void
wants(int epoll, struct asker *a, int rc)
{
	const int what = SSL_get_error(a->ssl, rc);

	if (what == SSL_ERROR_WANT_READ)
		watch(epoll, a, EPOLLIN, EPOLL_CTL_MOD);
	else if (what == SSL_ERROR_WANT_WRITE)
		watch(epoll, a, EPOLLOUT, EPOLL_CTL_MOD);
	else
		done(a, 0);
}

/* The head tells all that is counted; the rest is taken with it, for the status counts as heard only then. */
static void
hear(int epoll, struct asker *a)
{
	char data[16 * 1024];

	for (;;) {
		const int n = SSL_read(a->ssl, data, sizeof(data));

		if (n <= 0) {
			wants(epoll, a, n);
			return;
		}
		if (a->have < ANSWER_HEAD) {
			const size_t keep = (size_t)n < ANSWER_HEAD - a->have ? (size_t)n : ANSWER_HEAD - a->have;

			memcpy(a->head + a->have, data, keep);
		}
		a->have += (size_t)n;
		const char *end = strstr(a->head, "\r\n\r\n"), *length = strcasestr(a->head, "\r\ncontent-length:");

		if (end && length && a->have >= (size_t)(end + 4 - a->head) + strtoul(length + 17, NULL, 10)) {
			done(a, atoi(a->head + 9));
			return;
		}
	}
}

static void
step(int epoll, struct asker *a)
{
	int rc;

	ERR_clear_error(); /* SSL_get_error() believes what another connection left there */
	if (a->step == CONNECTING) {
		socklen_t len = sizeof(rc);

		getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &rc, &len);
		if (rc != 0) {
			done(a, 0);
			return;
		}
		a->step = SHAKING;
	}
	if (a->step == SHAKING) {
		rc = SSL_connect(a->ssl);
		if (rc != 1) {
			wants(epoll, a, rc);
			return;
		}
		a->step = ASKING;
		shaking--;
	}
	if (a->step == ASKING) {
		rc = SSL_write(a->ssl, a->agent.request, (int)a->agent.request_len);
		if (rc <= 0) {
			wants(epoll, a, rc);
			return;
		}
		a->step = HEARING;
		watch(epoll, a, EPOLLIN, EPOLL_CTL_MOD);
	}
	hear(epoll, a);
}

static void
begin(int epoll, struct asker *a, SSL_CTX *ctx)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)target.port) };

	inet_pton(AF_INET, target.host, &to.sin_addr);
	a->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || (connect(a->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS))
		die("cannot connect");
	a->ssl = SSL_new(ctx);
	SSL_set_fd(a->ssl, a->fd);
	watch(epoll, a, EPOLLOUT, EPOLL_CTL_ADD);
}

static void
burst(void)
{
	struct epoll_event events[512];
	SSL_CTX *ctx = client_ctx(); /* 5,000 agents have as many processors to verify the server with; we have one */
	const int epoll = epoll_create1(EPOLL_CLOEXEC);

	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	left = opt.agents;
	began = now_s();
	for (unsigned next = 0; left > 0 && now_s() - began < opt.seconds;) {
		for (; next < opt.agents && shaking < SHAKING_MAX; next++, shaking++)
			begin(epoll, &askers[next], ctx);
		const int n = epoll_wait(epoll, events, 512, 100);

		for (int i = 0; i < n; i++) {
			struct asker *a = events[i].data.ptr;

			if (a->step != DONE)
				step(epoll, a);
		}
	}
	for (unsigned i = 0; i < opt.agents; i++)
		if (askers[i].step != DONE)
			done(&askers[i], -1);
}

/* ---- after ---- */

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
at(const double *sorted, unsigned n, double part)
{
	return n == 0 ? 0 : sorted[(unsigned)((n - 1) * part)];
}

static void
report(const char *group, bool first, bool others)
{
	double *served = malloc(opt.agents * sizeof(double)), *refused = malloc(opt.agents * sizeof(double)), last = 0;
	unsigned n = 0, n_served = 0, n_refused = 0, n_else = 0;
	int least = 0, most = 0;

	for (unsigned i = 0; i < opt.agents; i++) {
		const struct asker *a = &askers[i];

		if (!(a->delegator == 0 ? first : others))
			continue;
		n++;
		last = a->waited_ms > last ? a->waited_ms : last;
		if (a->status == 201) {
			served[n_served++] = a->waited_ms;
		} else if (a->status == 503 && a->retry_after_s > 0) {
			refused[n_refused++] = a->waited_ms;
			least = least == 0 || a->retry_after_s < least ? a->retry_after_s : least;
			most = a->retry_after_s > most ? a->retry_after_s : most;
		} else if (n_else++ < 3) {
			fprintf(stderr, "status %d: %.300s\n", a->status, a->head);
		}
	}
	qsort(served, n_served, sizeof(double), by_value);
	qsort(refused, n_refused, sizeof(double), by_value);
	printf("%s\t%u\t%u\t%u\t%u\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%d\n", group, n, n_served, n_refused, n_else,
	       last / 1e3, at(served, n_served, 0.5), at(served, n_served, 1), at(refused, n_refused, 0.5),
	       at(refused, n_refused, 1), least, most);
	free(served);
	free(refused);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },    { "ca", required_argument, NULL, 'c' },
		{ "cert", required_argument, NULL, 'C' },    { "key", required_argument, NULL, 'K' },
		{ "agents", required_argument, NULL, 'a' },  { "share", required_argument, NULL, 'S' },
		{ "seconds", required_argument, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
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
		else if (o == 'S')
			opt.share = (unsigned)atoi(optarg);
		else if (o == 's')
			opt.seconds = atof(optarg);
		else
			return 2;
	}
	if (!target.port || !target.ca || opt.n_certs == 0 || opt.n_certs != opt.n_keys || opt.agents == 0 ||
	    opt.share > 100) {
		fprintf(stderr, "usage: burst --port P --ca F {--cert F --key F}... [--agents N] [--share PERCENT] "
				"[--seconds S]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	descriptors_raise();
	set_up();
	burst();
	report("all", true, true);
	report("first", true, false);
	report("others", false, true);
	return 0;
}
