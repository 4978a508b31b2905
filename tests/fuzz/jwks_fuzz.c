/*
 * Input: one JWK set.  What is read is within its bounds, no kid stands twice, and every key can be found and used.
 */
#include "issuer/auth/jwks.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(jwks_done) struct jwks jwks = { 0 };

	if (!fuzz_accepted(jwks_read((struct writ_bytes){ data, len }, &jwks)))
		return 0;
	FUZZ_CHECK(jwks.n >= 1 && jwks.n <= JWKS_KEYS_MAX);
	for (size_t i = 0; i < jwks.n; i++) {
		const struct jwks_key *key = &jwks.keys[i];

		FUZZ_CHECK(key->kid.len <= JWS_KID_MAX);
		FUZZ_CHECK(key->algorithms != 0 && (key->algorithms & ~JWS_TOKEN_ALGS) == 0);
		for (enum jws_alg alg = JWS_ES256; alg <= JWS_PS256; alg++)
			FUZZ_CHECK(!(key->algorithms & JWS_ALLOW(alg)) || jws_key_is_for(&key->key, alg));
		FUZZ_CHECK(jwks_find(&jwks, key->kid) == key || (key->kid.len == 0 && jwks.n > 1));
	}
	return 0;
}
