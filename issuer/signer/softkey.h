/*
 * A P-256 key in the signer's memory: the sealed tier's issuing keys, and the OCSP key.
 *
 * The private scalar stands in OpenSSL's secure heap, once (reference: locked, undumpable, wiped when done); on disk only wrapped with
 * AES-256-GCM under a key that the device seals.  No function prints or returns it but as a struct writ_secret.  Threading: one thread a key.
 * Timing: generation and signing go through OpenSSL's constant-time P-256; nothing here branches on the scalar but rejection at generation.
 */
#ifndef WRIT_ISSUER_SIGNER_SOFTKEY_H
#define WRIT_ISSUER_SIGNER_SOFTKEY_H

#include "base/pubkey.h"
#include "base/secret.h"

#define SOFT_KEY_SIGNATURE_MAX 80	/* DER of r and s: 72 */
#define SOFT_KEY_SCALAR_LEN 32
#define SOFT_KEY_WRAPPED_LEN (12 + SOFT_KEY_SCALAR_LEN + 16)	/* nonce, ciphertext, tag */

struct evp_pkey_ctx_st;

struct soft_key {
	struct evp_pkey_st *pkey;
	struct evp_pkey_ctx_st *sign;	/* kept: making one a signature costs more than the hash */
	struct pubkey public;
	uint8_t spki[SPKI_MAX];
	size_t spki_len;
	unsigned n_signed;
};

/* A new key; its scalar too when `ret_scalar` is not NULL, to be wrapped and forgotten. */
WRIT_CHECKED struct writ_err *soft_key_make(struct soft_key *, struct writ_secret *ret_scalar);

/* The key of that scalar; WRIT_LOCKED when its public key is not `spki`. */
WRIT_CHECKED struct writ_err *soft_key_load(struct soft_key *, const struct writ_secret *scalar, struct writ_bytes spki);

/* ecdsa-with-SHA256 over `message`.  The first signature and then 1 in 64 is verified; a wrong one is WRIT_BROKEN, and not given. */
WRIT_CHECKED struct writ_err *soft_key_sign(struct soft_key *, struct writ_bytes message, uint8_t out[SOFT_KEY_SIGNATURE_MAX],
					    size_t *ret_len);

/* The same for a message of which the SHA-256 is at hand; verified always. */
WRIT_CHECKED struct writ_err *soft_key_sign_digest(struct soft_key *, const uint8_t digest[32], uint8_t out[SOFT_KEY_SIGNATURE_MAX],
						   size_t *ret_len);

void soft_key_done(struct soft_key *);

static inline struct writ_bytes
soft_key_spki(const struct soft_key *key)
{
	return (struct writ_bytes){ key->spki, key->spki_len };
}

/* AES-256-GCM under `wrapping` (32 bytes, used once), `header` authenticated beside it.  Unwrapping fails with WRIT_LOCKED. */
WRIT_CHECKED struct writ_err *soft_key_wrap(const struct writ_secret *scalar, const struct writ_secret *wrapping,
					    struct writ_bytes header, uint8_t out[SOFT_KEY_WRAPPED_LEN]);
WRIT_CHECKED struct writ_err *soft_key_unwrap(struct writ_bytes wrapped, const struct writ_secret *wrapping, struct writ_bytes header,
					      struct writ_secret *ret_scalar);

#endif
