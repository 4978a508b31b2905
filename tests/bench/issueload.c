/*
 * A closed-loop load of issuances for tests/bench: N requests in flight, each on a connection of its own.
 *
 * Setting up (not measured): makes agents' keys, has a delegator open a task for each, and prepares every request's
 * bytes.  Measured:
 *	first	POST /v1/tasks/ID/leaves with a CSR: every request another agent, another edge, a proof of possession
 *	renew	POST /v1/renew over mTLS; each agent has a connection and a leaf, and agents take turns
 *	shake	a full TLS 1.3 handshake with client certificate, one renewal, close
 * Prints TSV: mode, requests, seconds, per second, CPU microseconds a request of the processes given by --pid, p50 and
 * p99 latency.  Knows the API as deploy/api/v1.yaml describes it, and nothing of the server's insides.
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
#define CONNECTIONS_MAX 256

struct worker {
	pthread_t thread;
	unsigned number;
	unsigned long done, failed;
	double *latency_ms;
	unsigned long n_latency, cap_latency;
};

static struct {
	const char *cert, *key, *mode;
	unsigned connections, agents;
	double seconds;
	int pids[PIDS_MAX];
	unsigned n_pids;
} opt = { .mode = "first", .connections = 32, .agents = 1000, .seconds = 5 };

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

static void *
work(void *arg)
{
	static const char renew[] = "POST /v1/renew HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n";
	struct worker *w = arg;
	const bool first = strcmp(opt.mode, "first") == 0, shake = strcmp(opt.mode, "shake") == 0;
	const unsigned n_mine = first ? 1 : opt.agents / opt.connections;
	SSL_CTX **ctx = calloc(n_mine, sizeof(*ctx));
	SSL **open = calloc(n_mine, sizeof(*open));
	char *answer = malloc(ANSWER_MAX);
	size_t answer_len;

	for (unsigned i = 0; i < n_mine; i++) {
		ctx[i] = first ? client_ctx() : agent_ctx(&agents[w->number + i * opt.connections]);
		open[i] = shake ? NULL : dial(ctx[i]);
	}
	pthread_barrier_wait(&ready);
	for (unsigned turn = 0; !atomic_load(&stop); turn = (turn + 1) % n_mine) {
		const char *request = renew;
		size_t len = sizeof(renew) - 1;
		double at;

		if (first) {
			unsigned n = atomic_fetch_add(&next_agent, 1);

			if (n >= opt.agents)
				break;
			request = agents[n].request;
			len = agents[n].request_len;
		}
		at = now_s();
		if (shake)
			open[turn] = dial(ctx[turn]);
		if (ask(open[turn], request, len, answer, &answer_len) == 201) {
			w->done++;
		} else if (w->failed++ == 0) {
			fprintf(stderr, "%.400s\n", answer);
		}
		if (shake)
			hang_up(open[turn]);
		note_latency(w, (now_s() - at) * 1e3);
	}
	free(answer);
	return NULL;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
report(struct worker *workers, double seconds, double cpu)
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
	printf("%s\t%lu\t%.2f\t%.0f\t%.1f\t%.2f\t%.2f\t%lu\n", opt.mode, done, seconds, (double)done / seconds,
	       cpu * 1e6 / (double)done, all[n / 2], all[n * 99 / 100], failed);
	free(all);
}

static void
set_up(void)
{
	SSL_CTX *ctx = client_ctx();
	char *answer = malloc(ANSWER_MAX);
	SSL *ssl;

	if (SSL_CTX_use_certificate_file(ctx, opt.cert, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, opt.key, SSL_FILETYPE_PEM) != 1)
		die("the delegator's --cert and --key cannot be used");
	if (strcmp(opt.mode, "first") != 0)
		opt.agents -= opt.agents % opt.connections;
	agents = calloc(opt.agents, sizeof(*agents));
	ssl = dial(ctx);
	for (unsigned i = 0; i < opt.agents; i++) {
		make_agent(&agents[i], ssl, answer);
		if (strcmp(opt.mode, "first") != 0)
			get_leaf(&agents[i], ssl, answer);
	}
	hang_up(ssl);
	SSL_CTX_free(ctx);
	free(answer);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },   { "ca", required_argument, NULL, 'c' },
		{ "cert", required_argument, NULL, 'C' },   { "key", required_argument, NULL, 'K' },
		{ "mode", required_argument, NULL, 'm' },   { "connections", required_argument, NULL, 'n' },
		{ "agents", required_argument, NULL, 'a' }, { "seconds", required_argument, NULL, 's' },
		{ "pid", required_argument, NULL, 'P' },    { NULL, 0, NULL, 0 },
	};
	static struct worker workers[CONNECTIONS_MAX];
	double at, end, cpu;
	int o;

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
		default:
			return 2;
		}
	}
	if (!target.port || !target.ca || !opt.cert || !opt.key || opt.connections == 0 ||
	    opt.agents < opt.connections || opt.connections > CONNECTIONS_MAX ||
	    (strcmp(opt.mode, "first") != 0 && strcmp(opt.mode, "renew") != 0 && strcmp(opt.mode, "shake") != 0)) {
		fprintf(stderr, "usage: issueload --port P --ca F --cert F --key F [--mode first|renew|shake] "
				"[--connections N] [--agents N] "
				"[--seconds S] [--pid P]...\n");
		return 2;
	}
	set_up();
	pthread_barrier_init(&ready, NULL, opt.connections + 1);
	for (unsigned i = 0; i < opt.connections; i++) {
		workers[i].number = i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			die("cannot make a thread");
	}
	pthread_barrier_wait(&ready);
	at = now_s();
	cpu = cpu_of_all();
	end = at + opt.seconds;
	while (now_s() < end && (strcmp(opt.mode, "first") != 0 || atomic_load(&next_agent) < opt.agents))
		usleep(10000);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < opt.connections; i++)
		pthread_join(workers[i].thread, NULL);
	report(workers, now_s() - at, cpu_of_all() - cpu);
	return 0;
}
