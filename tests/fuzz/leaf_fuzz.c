/*
 * Input: a leaf, or its TBSCertificate.  What is accepted is what the builder builds from what was read: one profile,
 * one encoding; OpenSSL reads the certificate and finds no CA in it.
 */
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "issuer/x509/verify.h"
#include "tests/fuzz/fuzz.h"

static void
check_rebuilt(const struct leaf *leaf)
{
	const struct leaf_issuer issuer = { .trust_domain = leaf->trust_domain,
					    .name = leaf->issuer,
					    .key_id = leaf->authority_key_id,
					    .kind = leaf->signature_kind,
					    .tier = leaf->tier,
					    .crl_url = leaf->crl_url,
					    .ocsp_url = leaf->ocsp_url,
					    .log_id = leaf->log_id };
	const struct leaf_facts facts = { .spki = leaf->spki,
					  .task_id = leaf->task_id,
					  .san = leaf->san,
					  .not_before = leaf->not_before,
					  .not_after = leaf->not_after,
					  .delegation = leaf->delegation_der,
					  .no_rev_avail = leaf->no_rev_avail };
	struct writ_arena arena = WRIT_ARENA(LEAF_ARENA);
	struct writ_buf again = WRIT_BUF(LEAF_MAX);
	struct leaf rebuilt;

	if (leaf->not_before < 0)
		return; /* read from others' certificates, never written */
	FUZZ_CHECK(fuzz_accepted(leaf_build(&issuer, &facts, &again)));
	FUZZ_CHECK(fuzz_accepted(leaf_read_tbs(writ_view(&again), &arena, &rebuilt)));
	leaf_fill(again.data, &rebuilt, leaf->serial.data, writ_get64(leaf->log_index.data), leaf->log_hash.data);
	FUZZ_CHECK(writ_equal(writ_view(&again), leaf->tbs));
	writ_buf_done(&again);
	writ_arena_done(&arena);
}

static void
check_told(const struct leaf *leaf, struct writ_bytes certificate)
{
	struct writ_buf text = WRIT_BUF(1024 * 1024);

	FUZZ_CHECK(fuzz_accepted(leaf_tell(leaf, 0, &text)));
	writ_buf_clear(&text);
	FUZZ_CHECK(fuzz_accepted(leaf_json(leaf, certificate, &text)));
	writ_buf_done(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes der = { data, len };
	struct writ_arena arena = WRIT_ARENA(LEAF_ARENA);
	const unsigned char *at = data;
	struct leaf leaf;
	X509 *x;

	if (fuzz_accepted(leaf_read_tbs(der, &arena, &leaf)))
		check_rebuilt(&leaf);
	writ_arena_clear(&arena);
	if (fuzz_accepted(leaf_read(der, &arena, &leaf))) {
		check_rebuilt(&leaf);
		check_told(&leaf, der);
		x = d2i_X509(NULL, &at, (long)len);
		FUZZ_CHECK(x != NULL && at == data + len);
		FUZZ_CHECK(X509_check_ca(x) == 0);
		X509_free(x);
	}
	writ_arena_done(&arena);
	return 0;
}
