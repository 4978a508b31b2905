/*
 * What believing a chain costs a relying party, beside OpenSSL's X509_verify_cert() of the same chain, and what a
 * request costs: CPU time of this process, rounds of both in turn.
 *
 * usage: verifybench ANCHOR.pem TRUST_DOMAIN CHAIN.pem IDENTITY ACTION RESOURCE [SECONDS]
 *
 * CHAIN.pem is leaf and issuing CA.  Both sides get the leaf's DER anew each time, as a handshake hands it over; the
 * issuing CA is read and known before ("warm"): libwrit then checks one signature, OpenSSL two, since it keeps none.
 * Prints microseconds: "verify LOW MEDIAN HIGH", "openssl ...", "json" (bytes), "allow ...", "deny ...", a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <writ.h>

#define ROUNDS 9
#define DIE(...) (fprintf(stderr, "verifybench: " __VA_ARGS__), fputc('\n', stderr), exit(1))

struct subject {
	struct writ_verifier *verifier;
	struct writ_presented presented;
	struct writ_agent *agent;
	struct writ_request good, bad;
	X509_STORE *store;
	STACK_OF(X509) * untrusted;
	unsigned char *leaf;
	int leaf_len;
	int64_t now;
};

static double
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the jobs ---- */

static void
job_verify(struct subject *s)
{
	struct writ_agent *agent;
	struct writ_why why;

	if (writ_verify(s->verifier, &s->presented, s->now, &agent, &why))
		DIE("refused: %s", why.text);
	writ_agent_free(agent);
}

static void
job_openssl(struct subject *s)
{
	const unsigned char *at = s->leaf;
	X509 *leaf = d2i_X509(NULL, &at, s->leaf_len);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (!leaf || !ctx || X509_STORE_CTX_init(ctx, s->store, leaf, s->untrusted) != 1 || X509_verify_cert(ctx) != 1)
		DIE("OpenSSL refuses: %s",
		    ctx ? X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)) : "memory");
	X509_STORE_CTX_free(ctx);
	X509_free(leaf);
}

static void
job_allow(struct subject *s)
{
	if (writ_allow(s->agent, &s->good, s->now, NULL, NULL))
		DIE("the request is denied");
}

static void
job_deny(struct subject *s)
{
	struct writ_why why;

	if (!writ_allow(s->agent, &s->bad, s->now, NULL, &why))
		DIE("the other request is allowed");
}

static const struct {
	const char *name;
	void (*run)(struct subject *);
} jobs[] = { { "verify", job_verify }, { "openssl", job_openssl }, { "allow", job_allow }, { "deny", job_deny } };

#define N_JOBS (sizeof(jobs) / sizeof(jobs[0]))

static double
measure(unsigned job, struct subject *s, double us)
{
	const double began = cpu_us();
	double now;
	unsigned long n = 0;

	do {
		for (unsigned i = 0; i < 50; i++, n++)
			jobs[job].run(s);
		now = cpu_us();
	} while (now - began < us);
	return (now - began) / (double)n;
}

/* ---- setting up ---- */

static X509 *
next_certificate(FILE *f, const char *path)
{
	X509 *x = PEM_read_X509(f, NULL, NULL, NULL);

	if (!x)
		DIE("%s: a certificate is missing", path);
	return x;
}

static struct writ_bytes_in
der_of(X509 *x)
{
	unsigned char *der = NULL;
	const int len = i2d_X509(x, &der);

	if (len <= 0)
		DIE("a certificate has no DER");
	return (struct writ_bytes_in){ der, (size_t)len };
}

static FILE *
opened(const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f)
		DIE("%s cannot be read", path);
	return f;
}

static void
set_up(char **arg, struct subject *s)
{
	FILE *f = opened(arg[1]);
	X509 *anchor = next_certificate(f, arg[1]), *leaf, *issuing;
	struct writ_bytes_in der = der_of(anchor);
	struct writ_why why;

	fclose(f);
	f = opened(arg[3]);
	leaf = next_certificate(f, arg[3]);
	issuing = next_certificate(f, arg[3]);
	fclose(f);
	*s = (struct subject){ .verifier = writ_verifier_new(), .store = X509_STORE_new(), .now = time(NULL) };
	s->untrusted = sk_X509_new_null();
	s->presented = (struct writ_presented){ .n = 2, .certificate = { der_of(leaf), der_of(issuing) } };
	s->leaf = (unsigned char *)(uintptr_t)s->presented.certificate[0].data;
	s->leaf_len = (int)s->presented.certificate[0].len;
	s->good = (struct writ_request){ .action = arg[5], .resource = arg[6] };
	s->bad = (struct writ_request){ .action = arg[5], .resource = arg[4] };
	if (X509_STORE_add_cert(s->store, anchor) != 1 || sk_X509_push(s->untrusted, issuing) < 1)
		DIE("OpenSSL's store cannot be made");
	if (writ_verifier_anchor(s->verifier, der.data, der.len, arg[2], &why) ||
	    writ_verifier_identity(s->verifier, arg[4], &why) ||
	    writ_verifier_set(s->verifier, WRIT_ALLOW_SOFTWARE, 1, &why) ||
	    writ_verifier_set(s->verifier, WRIT_DEMAND_STATUS, 0, &why) ||
	    writ_verify(s->verifier, &s->presented, s->now, &s->agent, &why))
		DIE("refused: %s", why.text);
	X509_free(anchor);
	X509_free(leaf);
}

static int
by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	double us[N_JOBS][ROUNDS], a_round;
	struct subject s;

	if (argc < 7 || argc > 8)
		DIE("usage: verifybench ANCHOR TRUST_DOMAIN CHAIN IDENTITY ACTION RESOURCE [SECONDS]");
	a_round = (argc == 8 ? atof(argv[7]) : 4) * 1e6 / ROUNDS / N_JOBS;
	set_up(argv, &s);
	for (unsigned job = 0; job < N_JOBS; job++) /* caches, and OpenSSL's first fetches */
		(void)measure(job, &s, 1);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned job = 0; job < N_JOBS; job++)
			us[job][round] = measure(job, &s, a_round);
	for (unsigned job = 0; job < N_JOBS; job++) {
		qsort(us[job], ROUNDS, sizeof(us[job][0]), by_value);
		printf("%s %.3f %.3f %.3f\n", jobs[job].name, us[job][0], us[job][ROUNDS / 2], us[job][ROUNDS - 1]);
	}
	printf("json %zu\nleaf %d\n", strlen(writ_agent_json(s.agent)), s.leaf_len);
	return 0;
}
