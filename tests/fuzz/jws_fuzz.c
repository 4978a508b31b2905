/*
 * Input: one compact JWS.  What is read is within its bounds and printable, and writes back to the same text: each part
 * has one encoding.
 */
#include "base/text.h"
#include "issuer/auth/jws.h"
#include "tests/fuzz/fuzz.h"

static void
check(struct writ_bytes compact, const struct jws *jws, unsigned allowed)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(2 * JWS_MAX);
	const uint8_t *dot = memchr(compact.data, '.', compact.len);

	FUZZ_CHECK(allowed & JWS_ALLOW(jws->alg));
	FUZZ_CHECK(jws->kid.len <= JWS_KID_MAX && writ_is_clean_utf8(jws->kid));
	FUZZ_CHECK(jws->typ.len <= JWS_KID_MAX && writ_is_clean_utf8(jws->typ));
	FUZZ_CHECK(jws->payload.len > 0 && jws->signature.len >= 64);
	FUZZ_CHECK(fuzz_accepted(
			   writ_buf_add(&again, (struct writ_bytes){ compact.data, (size_t)(dot - compact.data) })) &&
		   fuzz_accepted(writ_buf_add(&again, WRIT_LIT("."))) &&
		   fuzz_accepted(writ_base64url(jws->payload, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), jws->signed_));
	FUZZ_CHECK(fuzz_accepted(writ_buf_add(&again, WRIT_LIT("."))) &&
		   fuzz_accepted(writ_base64url(jws->signature, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), compact));
}

/* The key of RFC 7515 A.3: what is refused as a signature is refused in every shape. */
static void
verify(const struct jws *jws)
{
	static const struct jwk_members jwk = {
		.kty = { (const uint8_t *)"EC", 2 },
		.crv = { (const uint8_t *)"P-256", 5 },
		.x = { (const uint8_t *)"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", 43 },
		.y = { (const uint8_t *)"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", 43 },
	};
	static struct jws_key key;

	if (!key.pkey)
		FUZZ_CHECK(fuzz_accepted(jws_key_from_jwk(&jwk, &key)));
	if (fuzz_accepted(jws_verify(jws, &key)))
		FUZZ_CHECK(jws->alg == JWS_ES256);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned lists[] = { JWS_GRANT_ALGS, JWS_TOKEN_ALGS };
	const struct writ_bytes compact = { data, len };

	for (size_t i = 0; i < N_OF(lists); i++) {
		AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(2 * JWS_MAX + 4096);
		struct jws jws;

		if (!fuzz_accepted(jws_parse(compact, lists[i], &arena, &jws)))
			continue;
		check(compact, &jws, lists[i]);
		verify(&jws);
	}
	return 0;
}
