/*
 * Input: a custody statement's bundle.  Whatever parses is bounded, and is judged without a crash: claims are made of
 * it, against a nonce, roots that are no file, and a challenge's secret; the verdict is never "proved", since nobody
 * knows the keys.
 */
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>

#include "issuer/cli/custody_claims.h"

/* custody_verify.c prints; here they are counted. */
void
claim(struct claims *claims, enum standing standing, const char *what, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	FUZZ_CHECK(what && what[0]);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	claims->claimed += standing == STANDS_CLAIMED;
	claims->refuted += standing == STANDS_REFUTED;
}

void
claim_refuted(struct claims *claims, const char *what, struct writ_err *err)
{
	FUZZ_CHECK(what && err);
	writ_err_free(err);
	claims->refuted++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t nonce[32];
	AUTO(custody_bundle_done) struct custody_bundle bundle = { 0 };
	const struct wanted wanted = { .nonce = { nonce, sizeof(nonce) },
				       .ek_roots = "/nonexistent",
				       .now = 1800000000 };
	struct claims claims = { 0 };

	if (!fuzz_accepted(custody_bundle_parse((struct writ_bytes){ data, len }, &bundle)))
		return 0;
	FUZZ_CHECK(bundle.n_said <= ATTEST_ITEMS_MAX && bundle.n_certificates <= CUSTODY_CERTIFICATES_MAX &&
		   bundle.nonce.len >= ATTEST_NONCE_MIN && bundle.nonce.len <= ATTEST_NONCE_MAX);
	custody_claims(&bundle, &wanted, &claims);
	FUZZ_CHECK(claims.claimed + claims.refuted > 0);
	return 0;
}
