/*
 * A CRL of N entries as the signer makes it (issuer/signer/lists.c): how long it takes, how long one wake-up of its
 * loop does, which is what a leaf that comes meanwhile waits for, and the memory; then whether OpenSSL judges by it.
 *
 * usage: crlbench N ROUNDS DIR	writes DIR/N.crl, DIR/issuing.der, DIR/anchor.der
 *
 * The ledger is filled by the functions that issue and revoke; journal and memfd are real, the device is not there:
 * keys are in memory, as in the sealed tier.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define DOMAIN "agents.corp.example"
#define URL "http://status.corp.example"
#define STEPS_MAX 100000
#define MINUTES 15 /* of issue, before now */

static struct signer s;
static struct conf conf;

static void
must(struct writ_err *err)
{
	char text[1000];

	if (!err)
		return;
	fprintf(stderr, "crlbench: %s\n", writ_err_text(err, text, sizeof(text)));
	exit(1);
}

static int64_t
clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static long
status_kb(const char *what)
{
	char line[256];
	long kb = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, what, strlen(what)) == 0)
			kb = strtol(line + strlen(what), NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

/* ---- an anchor, an issuing CA ---- */

static void
certify(const struct ca_facts *facts, struct soft_key *by, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf tbs = WRIT_BUF(CA_CERT_MAX);
	uint8_t signature[SOFT_KEY_SIGNATURE_MAX];
	size_t len;

	must(ca_build_tbs(facts, &tbs));
	must(soft_key_sign(by, writ_view(&tbs), signature, &len));
	must(x509_assemble(writ_view(&tbs), KEY_P256, (struct writ_bytes){ signature, len }, ret));
}

static void
cas_make(struct soft_key *anchor, struct generation *g)
{
	struct ca_facts facts = { .role = CA_ANCHOR,
				  .trust_domain = WRIT_LIT(DOMAIN),
				  .serial = { 1 },
				  .issuer_kind = KEY_P256,
				  .not_before = s.now.wall - 3600,
				  .not_after = s.now.wall + 86400,
				  .tier = LEAF_TIER_SOFTWARE };

	must(soft_key_make(anchor, NULL));
	must(soft_key_make(&g->soft, NULL));
	facts.spki = soft_key_spki(anchor);
	s.keys.anchor_der = g->der = WRIT_BUF(CA_CERT_MAX);
	certify(&facts, anchor, &s.keys.anchor_der);
	must(ca_read(writ_view(&s.keys.anchor_der), &s.keys.anchor));
	facts.role = CA_ISSUING;
	facts.serial[1] = 2;
	facts.spki = soft_key_spki(&g->soft);
	facts.issuer_name = s.keys.anchor.subject;
	facts.issuer_spki = s.keys.anchor.spki;
	facts.crl_url = WRIT_LIT(URL "/crl/anchor.crl");
	certify(&facts, anchor, &g->der);
	must(ca_read(writ_view(&g->der), &g->cert));
	g->number = 1;
	s.keys.gen[s.keys.n++] = s.keys.current = g;
}

/* ---- what is revoked ---- */

static void
serial_of(unsigned long i, uint8_t out[16])
{
	memset(out, 0, 16);
	writ_put32(out, (uint32_t)(s.now.wall / 60 - (writ_time)(i % MINUTES)));
	writ_put64(out + 4, i * 0x9e3779b97f4a7c15u + 1); /* as even as random bytes */
	writ_put32(out + 12, (uint32_t)i);
}

static void
revoke_all(unsigned long from, unsigned long to)
{
	uint8_t serial[16];
	bool changed;

	for (unsigned long i = from; i < to; i++) {
		serial_of(i, serial);
		must(ledger_issue(s.ledger, serial, s.keys.current->cert.key_id, 0, s.now.wall + 900));
		must(ledger_end(s.ledger, serial, LEDGER_REVOKED, REASON_PRIVILEGE_WITHDRAWN, s.now.wall, &changed));
	}
}

/* ---- OpenSSL's word ---- */

static int
judged(X509 *anchor, X509 *issuing, X509_CRL *crl, const uint8_t serial[16])
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	BIGNUM *number = BN_bin2bn(serial, 16, NULL);
	X509 *leaf = X509_new();
	int error;

	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(leaf));
	X509_set_version(leaf, 2);
	X509_set_issuer_name(leaf, X509_get_subject_name(issuing));
	X509_gmtime_adj(X509_getm_notBefore(leaf), -30);
	X509_gmtime_adj(X509_getm_notAfter(leaf), 300);
	X509_set_pubkey(leaf, s.keys.current->soft.pkey);
	X509_sign(leaf, s.keys.current->soft.pkey, EVP_sha256());
	sk_X509_push(between, issuing);
	X509_STORE_add_cert(store, anchor);
	X509_STORE_add_crl(store, crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	X509_STORE_CTX_init(ctx, store, leaf, between);
	X509_verify_cert(ctx);
	error = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_free(between);
	X509_free(leaf);
	BN_free(number);
	return error;
}

static X509 *
cert_of(const struct writ_buf *der)
{
	const unsigned char *at = der->data;

	return d2i_X509(NULL, &at, (long)der->len);
}

static void
openssl_judges(struct writ_bytes list, unsigned long n)
{
	const int64_t began_us = clock_us(CLOCK_MONOTONIC);
	const unsigned char *at = list.data;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)list.len);
	const int64_t read_us = clock_us(CLOCK_MONOTONIC) - began_us;
	X509 *anchor = cert_of(&s.keys.anchor_der), *issuing = cert_of(&s.keys.current->der);
	uint8_t listed[16], other[16];
	int revoked, good;

	serial_of(n / 2, listed);
	serial_of(n + 1, other);
	revoked = judged(anchor, issuing, crl, listed);
	good = judged(anchor, issuing, crl, other);
	if (!crl || (unsigned long)sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)) != n ||
	    revoked != X509_V_ERR_CERT_REVOKED || good != X509_V_OK) {
		fprintf(stderr, "crlbench: OpenSSL reads %p, and says %s of a revoked leaf, %s of another\n",
			(void *)crl, X509_verify_cert_error_string(revoked), X509_verify_cert_error_string(good));
		exit(1);
	}
	printf("\topenssl_read_ms\t%.1f", (double)read_us / 1000);
	X509_CRL_free(crl);
	X509_free(anchor);
	X509_free(issuing);
}

/* ---- the measurement ---- */

static int
by_size(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* One list from the question to the last slice. */
static void
list_make(unsigned round)
{
	static int64_t steps_us[STEPS_MAX];
	const struct signer_crl asked = { .shard = 0 };
	struct signer_crl ask = asked;
	int64_t began_us = clock_us(CLOCK_MONOTONIC), cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID), answered_us = 0;
	size_t n = 0;

	memcpy(ask.key_id, s.keys.current->cert.key_id, sizeof(ask.key_id));
	must(lists_ask(&s, NULL, 1, &ask));
	while (lists_busy(&s) && n < STEPS_MAX) {
		const int64_t at_us = clock_us(CLOCK_THREAD_CPUTIME_ID); /* what others on this machine do is theirs */

		lists_step(&s);
		steps_us[n++] = clock_us(CLOCK_THREAD_CPUTIME_ID) - at_us;
		if (s.n_crl_asks == 0 && answered_us == 0)
			answered_us = clock_us(CLOCK_MONOTONIC);
	}
	cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu_us;
	qsort(steps_us, n, sizeof(*steps_us), by_size);
	printf("round\t%u\tanswered_ms\t%.1f\tcpu_ms\t%.1f\twakeups\t%zu\twakeup_p50_us\t%lld\twakeup_p99_us\t%"
	       "lld\twakeup_max_us\t%lld\n",
	       round, (double)(answered_us - began_us) / 1000, (double)cpu_us / 1000, n, (long long)steps_us[n / 2],
	       (long long)steps_us[n * 99 / 100], (long long)steps_us[n - 1]);
}

static void
file_write(const char *dir, const char *name, struct writ_bytes bytes)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	must(file_replace(path, 0644, bytes));
}

int
main(int argc, char **argv)
{
	static struct generation g;
	static struct soft_key anchor;
	AUTO(file_memfd_unmap) struct writ_bytes list = { NULL, 0 };
	const unsigned long n = argc == 4 ? strtoul(argv[1], NULL, 10) : 0;
	const unsigned rounds = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	struct journal_cut cut;
	char path[PATH_MAX], name[64];
	int64_t filled_us;
	int published =
		-1; /* as the issuer holds it: the one who lets go last frees its pages, and that is not the signer */
	long kb;

	if (n == 0 || rounds == 0) {
		fprintf(stderr, "usage: crlbench N ROUNDS DIR\n");
		return 2;
	}
	must(writ_secret_start());
	conf = (struct conf){ .status_url = URL, .trust_domain = DOMAIN, .log_origin = DOMAIN "/writ/n1" };
	s = (struct signer){ .conf = &conf,
			     .now = clock_read(),
			     .clock_ok = true,
			     .build.made.fd = -1,
			     .json = WRIT_BUF(JOURNAL_ENTRY_MAX) };
	snprintf(path, sizeof(path), "%s/journal", argv[3]);
	must(journal_create(path, writ_str(conf.log_origin)));
	must(journal_open(path, writ_str(conf.log_origin), NULL, NULL, &cut, &s.journal));
	must(ledger_new(&s.ledger));
	cas_make(&anchor, &g);
	kb = status_kb("VmRSS:");
	filled_us = clock_us(CLOCK_MONOTONIC);
	revoke_all(0, n);
	filled_us = clock_us(CLOCK_MONOTONIC) - filled_us;
	printf("revoked\t%lu\tissue_and_revoke_us_each\t%.3f\tledger_kb\t%ld\n", n, (double)filled_us / (double)n,
	       status_kb("VmRSS:") - kb);
	for (unsigned i = 1; i <= rounds; i++) {
		s.now = clock_read();
		if (i > 1)
			g.lists[0].made.changes--; /* so that it is made anew, and the one before goes */
		list_make(i);
		file_closep(&published);
		published = dup(g.lists[0].made.fd);
	}
	file_closep(&published);
	printf("rss_kb\t%ld\thighest_kb\t%ld", status_kb("VmRSS:"), status_kb("VmHWM:"));
	must(file_memfd_map(g.lists[0].made.fd, 1, SIZE_MAX / 2, &list));
	printf("\tlist_bytes\t%zu", list.len);
	openssl_judges(list, n);
	printf("\n");
	snprintf(name, sizeof(name), "%lu.crl", n);
	file_write(argv[3], name, list);
	file_write(argv[3], "issuing.der", writ_view(&g.der));
	file_write(argv[3], "anchor.der", writ_view(&s.keys.anchor_der));
	return 0;
}
