/*
 * A closed-loop load of issuances for tests/bench: N requests in flight, each on a connection of its own.
 *
 * Setting up (not measured): makes agents' keys, has a delegator open a task for each, and prepares every request's
 * bytes.  Measured:
 *	first	POST /v1/tasks/ID/leaves with a CSR: every request another agent, another edge, a proof of possession
 *	renew	POST /v1/renew over mTLS; each agent has a connection and a leaf, and agents take turns
 *	shake	a full TLS 1.3 handshake with client certificate, one renewal, close
 *	batch	POST /v1/batch with --items CSRs, as in `first`; what is counted are leaves, the latency is a batch's
 * Prints TSV: mode, requests, seconds, per second, CPU microseconds a request of the processes given by --pid, p50 and
 * p99 latency, how many were refused, CPU seconds of this load, and the longest latency; the first refusal goes to stderr.  --port is where requests are measured,
 * --api-port (else the same) where agents are made.  --serials FILE gets the serial of every leaf.  Knows the API as
 * deploy/api/v1.yaml describes it, and nothing of the server's insides.
 */
#include <getopt.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents.h"

#define PIDS_MAX 8
#define MAKERS 8 /* threads that set up */
#define CONNECTIONS_MAX 256
#define ITEMS_MAX 256			    /* of a batch */
#define BATCH_ANSWER_MAX (ITEMS_MAX * 8192) /* a leaf, its chain and what is said of them */

struct worker {
	pthread_t thread;
	unsigned number;
	unsigned long done, failed;
	double *latency_ms;
	unsigned long n_latency, cap_latency;
	char *answer;
	size_t answer_max;
};

static struct {
	const char *cert, *key, *mode;
	unsigned connections, agents, items, lifetime_s; /* 0: what the policy says */
	double seconds;
	int pids[PIDS_MAX], api_port;
	unsigned n_pids;
	FILE *serials;
} opt = { .mode = "first", .connections = 32, .agents = 1000, .items = ITEMS_MAX, .seconds = 5 };

static struct agent *agents;
static atomic_uint next_agent;
static atomic_bool stop;
static pthread_barrier_t ready;

/* User and system time of a process, in seconds: fields 14 and 15 of /proc/PID/stat. */
static double
cpu_of(int pid)
{
	char path[64], text[1024], *at;
	unsigned long user = 0, system = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		die("a process to measure is gone");
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		die("/proc/PID/stat is not as expected");
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double
cpu_of_all(void)
{
	double sum = 0;

	for (unsigned i = 0; i < opt.n_pids; i++)
		sum += cpu_of(opt.pids[i]);
	return sum;
}

static void
get_leaf(struct agent *a, SSL *ssl, char *answer)
{
	size_t answer_len;
	char *leaf, *chain;

	if (ask(ssl, a->request, a->request_len, answer, &answer_len) != 201) {
		fprintf(stderr, "%s\n", answer);
		die("a leaf was not issued");
	}
	leaf = member(answer, "certificate");
	chain = member(answer, "chain");
	a->leaf = malloc(strlen(leaf) + strlen(chain) + 1);
	strcat(strcpy(a->leaf, leaf), chain);
	free(leaf);
	free(chain);
}

static SSL_CTX *
agent_ctx(const struct agent *a)
{
	SSL_CTX *ctx = client_ctx();
	BIO *bio = BIO_new_mem_buf(a->leaf, -1);
	X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL), *issuing = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	if (!leaf || !issuing || SSL_CTX_use_certificate(ctx, leaf) != 1 ||
	    SSL_CTX_add0_chain_cert(ctx, issuing) != 1 || SSL_CTX_use_PrivateKey(ctx, a->key) != 1)
		die("a leaf cannot be used");
	X509_free(leaf);
	BIO_free(bio);
	return ctx;
}

static void
note_latency(struct worker *w, double ms)
{
	if (w->n_latency == w->cap_latency) {
		w->cap_latency = w->cap_latency ? 2 * w->cap_latency : 4096;
		w->latency_ms = realloc(w->latency_ms, w->cap_latency * sizeof(double));
	}
	w->latency_ms[w->n_latency++] = ms;
}

/* ---- what is measured: each returns how many leaves it got, 0 when it was refused, -1 when nobody is left to ask ----
 */

static void
keep_serials(const char *answer)
{
	static const char name[] = "\"serial\":";
	const char *at = answer;

	if (!opt.serials)
		return;
	flockfile(opt.serials);
	while ((at = strstr(at, name))) {
		at += sizeof(name) - 1;
		at += strspn(at, " \"");
		fprintf(opt.serials, "%.32s\n", at);
	}
	funlockfile(opt.serials);
}

static int
first(struct worker *w, SSL *ssl)
{
	const unsigned n = atomic_fetch_add(&next_agent, 1);
	size_t len;

	if (n >= opt.agents)
		return -1;
	return ask_into(ssl, agents[n].request, agents[n].request_len, w->answer, w->answer_max, &len) == 201;
}

static int
renew(struct worker *w, SSL *ssl)
{
	char request[256], body[64] = "";
	size_t len;

	if (opt.lifetime_s > 0)
		snprintf(body, sizeof(body), "{\"lifetime_s\":%u}", opt.lifetime_s);
	snprintf(request, sizeof(request), "POST /v1/renew HTTP/1.1\r\nHost: bench\r\n%sContent-Length: %zu\r\n\r\n%s",
		 *body ? "Content-Type: application/json\r\n" : "", strlen(body), body);
	return ask_into(ssl, request, strlen(request), w->answer, w->answer_max, &len) == 201;
}

static int
batch(struct worker *w, SSL *ssl)
{
	static const char granted[] = "\"certificate\":", begin[] = "{\"leaves\":[";
	const unsigned n = atomic_fetch_add(&next_agent, opt.items);
	size_t body_len = sizeof(begin) - 1 + opt.items + 1, len;
	char *request, *to;
	int leaves = 0;

	if (n + opt.items > opt.agents)
		return -1;
	for (unsigned i = n; i < n + opt.items; i++)
		body_len += strlen(agents[i].item);
	request = to = malloc(body_len + 256);
	to += sprintf(to,
		      "POST /v1/batch HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
		      "%zu\r\n\r\n%s",
		      body_len, begin);
	for (unsigned i = n; i < n + opt.items; i++) {
		to = stpcpy(to, agents[i].item);
		*to++ = i + 1 < n + opt.items ? ',' : ']';
	}
	*to++ = '}';
	if (ask_into(ssl, request, (size_t)(to - request), w->answer, w->answer_max, &len) == 200)
		for (const char *at = w->answer; (at = strstr(at, granted)); at += sizeof(granted) - 1)
			leaves++;
	free(request);
	return leaves;
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	const bool shake = strcmp(opt.mode, "shake") == 0, batches = strcmp(opt.mode, "batch") == 0;
	const bool anonymous = batches || strcmp(opt.mode, "first") == 0;
	const unsigned n_mine = anonymous ? 1 : opt.agents / opt.connections, each = batches ? opt.items : 1;
	SSL_CTX **ctx = calloc(n_mine, sizeof(*ctx));
	SSL **open = calloc(n_mine, sizeof(*open));

	w->answer_max = batches ? BATCH_ANSWER_MAX : ANSWER_MAX;
	w->answer = malloc(w->answer_max);
	for (unsigned i = 0; i < n_mine; i++) {
		ctx[i] = anonymous ? client_ctx() : agent_ctx(&agents[w->number + i * opt.connections]);
		open[i] = shake ? NULL : dial(ctx[i]);
	}
	pthread_barrier_wait(&ready);
	for (unsigned turn = 0; !atomic_load(&stop); turn = (turn + 1) % n_mine) {
		const double at = now_s();
		int leaves;

		if (shake)
			open[turn] = dial(ctx[turn]);
		leaves = batches ? batch(w, open[turn]) : anonymous ? first(w, open[turn]) : renew(w, open[turn]);
		if (leaves < 0)
			break;
		if (shake)
			hang_up(open[turn]);
		note_latency(w, (now_s() - at) * 1e3);
		w->done += (unsigned)leaves;
		w->failed += each - (unsigned)leaves;
		if ((unsigned)leaves < each && w->failed == each - (unsigned)leaves)
			fprintf(stderr, "%.400s\n", w->answer);
		keep_serials(w->answer);
	}
	free(w->answer);
	return NULL;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct worker *workers, double seconds, double cpu, double own_cpu)
{
	unsigned long done = 0, failed = 0, n = 0;
	double *all;

	for (unsigned i = 0; i < opt.connections; i++) {
		done += workers[i].done;
		failed += workers[i].failed;
		n += workers[i].n_latency;
	}
	all = malloc((n + 1) * sizeof(double));
	n = 0;
	for (unsigned i = 0; i < opt.connections; i++) {
		if (workers[i].n_latency)
			memcpy(all + n, workers[i].latency_ms, workers[i].n_latency * sizeof(double));
		n += workers[i].n_latency;
	}
	if (done == 0 || n == 0)
		die("nothing was issued");
	qsort(all, n, sizeof(double), by_value);
	printf("%s\t%lu\t%.2f\t%.0f\t%.1f\t%.2f\t%.2f\t%lu\t%.2f\t%.2f\n", opt.mode, done, seconds, (double)done / seconds,
	       cpu * 1e6 / (double)done, all[n / 2], all[n * 99 / 100], failed, own_cpu, all[n - 1]);
	free(all);
}

/* Every MAKERS-th agent, over a connection of its own: durable writes of several are made together. */
static void *
make_agents(void *arg)
{
	const bool holders = strcmp(opt.mode, "renew") == 0 || strcmp(opt.mode, "shake") == 0;
	SSL_CTX *ctx = client_ctx();
	char *answer = malloc(ANSWER_MAX);
	SSL *ssl;

	if (SSL_CTX_use_certificate_file(ctx, opt.cert, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, opt.key, SSL_FILETYPE_PEM) != 1)
		die("the delegator's --cert and --key cannot be used");
	ssl = dial(ctx);
	for (unsigned i = (unsigned)(uintptr_t)arg; i < opt.agents; i += MAKERS) {
		make_agent(&agents[i], ssl, answer);
		if (holders)
			get_leaf(&agents[i], ssl, answer);
	}
	hang_up(ssl);
	SSL_CTX_free(ctx);
	free(answer);
	return NULL;
}

static void
set_up(void)
{
	pthread_t makers[MAKERS];

	if (strcmp(opt.mode, "renew") == 0 || strcmp(opt.mode, "shake") == 0)
		opt.agents -= opt.agents % opt.connections;
	agents = calloc(opt.agents, sizeof(*agents));
	for (uintptr_t i = 0; i < MAKERS; i++)
		if (pthread_create(&makers[i], NULL, make_agents, (void *)i) != 0)
			die("cannot make a thread");
	for (unsigned i = 0; i < MAKERS; i++)
		pthread_join(makers[i], NULL);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },     { "ca", required_argument, NULL, 'c' },
		{ "cert", required_argument, NULL, 'C' },     { "key", required_argument, NULL, 'K' },
		{ "mode", required_argument, NULL, 'm' },     { "connections", required_argument, NULL, 'n' },
		{ "agents", required_argument, NULL, 'a' },   { "seconds", required_argument, NULL, 's' },
		{ "pid", required_argument, NULL, 'P' },      { "items", required_argument, NULL, 'i' },
		{ "lifetime", required_argument, NULL, 'l' }, { "serials", required_argument, NULL, 'S' },
		{ "api-port", required_argument, NULL, 'A' }, { NULL, 0, NULL, 0 },
	};
	static struct worker workers[CONNECTIONS_MAX];
	double at, end, cpu, own;
	int o, measured_port;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'p':
			target.port = atoi(optarg);
			break;
		case 'c':
			target.ca = optarg;
			break;
		case 'C':
			opt.cert = optarg;
			break;
		case 'K':
			opt.key = optarg;
			break;
		case 'm':
			opt.mode = optarg;
			break;
		case 'n':
			opt.connections = (unsigned)atoi(optarg);
			break;
		case 'a':
			opt.agents = (unsigned)atoi(optarg);
			break;
		case 's':
			opt.seconds = atof(optarg);
			break;
		case 'P':
			if (opt.n_pids == PIDS_MAX)
				die("too many --pid");
			opt.pids[opt.n_pids++] = atoi(optarg);
			break;
		case 'i':
			opt.items = (unsigned)atoi(optarg);
			break;
		case 'l':
			opt.lifetime_s = (unsigned)atoi(optarg);
			break;
		case 'S':
			opt.serials = fopen(optarg, "a");
			if (!opt.serials)
				die("--serials cannot be written");
			break;
		case 'A':
			opt.api_port = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (!target.port || !target.ca || !opt.cert || !opt.key || opt.connections == 0 ||
	    opt.agents < opt.connections || opt.connections > CONNECTIONS_MAX || opt.items == 0 ||
	    opt.items > ITEMS_MAX ||
	    (strcmp(opt.mode, "first") != 0 && strcmp(opt.mode, "renew") != 0 && strcmp(opt.mode, "shake") != 0 &&
	     strcmp(opt.mode, "batch") != 0)) {
		fprintf(stderr, "usage: issueload --port P --ca F --cert F --key F [--mode first|renew|shake|batch] "
				"[--connections N] [--agents N] [--items N] [--lifetime S] "
				"[--seconds S] [--serials FILE] [--api-port P] [--pid P]...\n");
		return 2;
	}
	measured_port = target.port;
	if (opt.api_port)
		target.port = opt.api_port;
	set_up();
	target.port = measured_port;
	pthread_barrier_init(&ready, NULL, opt.connections + 1);
	for (unsigned i = 0; i < opt.connections; i++) {
		workers[i].number = i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			die("cannot make a thread");
	}
	pthread_barrier_wait(&ready);
	at = now_s();
	cpu = cpu_of_all();
	own = cpu_of(getpid());
	end = at + opt.seconds;
	while (now_s() < end && atomic_load(&next_agent) < opt.agents)
		usleep(10000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < opt.connections; i++)
		pthread_join(workers[i].thread, NULL);
	report(workers, now_s() - at, cpu_of_all() - cpu, cpu_of(getpid()) - own);
	if (opt.serials && fclose(opt.serials) != 0)
		die("--serials cannot be written");
	return 0;
}
