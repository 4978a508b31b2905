/*
 * A JWK set (RFC 7517 5): the public keys that an OpenID provider signs with.
 *
 * Read: kty, crv, x, y, n, e, kid, use, alg.  Passed over, as RFC 7517 4 and 5 want it: other members, keys for
 * encryption, and keys of kinds that sign no token here.  Refused with the whole set: a private or symmetric member
 * (whoever publishes one has lost it), a kid that stands twice, a key of ours that cannot be read, more than
 * JWKS_KEYS_MAX.  Internal to auth/.  Knows no token, no file.  Threading: read-only once read; a key checks for one
 * thread at a time.
 */
#ifndef WRIT_ISSUER_AUTH_JWKS_H
#define WRIT_ISSUER_AUTH_JWKS_H

#include "issuer/auth/jws.h"

#define JWKS_MAX (256 * 1024) /* octets of a set */
#define JWKS_KEYS_MAX 32
#define JWKS_DEPTH_MAX 8

struct jwks_key {
	struct writ_bytes kid; /* may be empty */
	unsigned algorithms;   /* JWS_ALLOW bits: its own `alg`, else what its kind can */
	struct jws_key key;
};

struct jwks {
	size_t n;
	struct jwks_key keys[JWKS_KEYS_MAX];
	struct writ_arena arena; /* owns the texts */
};

/* WRIT_INVALID says which key, counted from 1, and what is wrong.  A set without a usable key is INVALID too. */
WRIT_CHECKED struct writ_err *jwks_read(struct writ_bytes json, struct jwks *ret);
void jwks_done(struct jwks *);

/*
 * The key for a token: by its kid; a token without one only from a set of one key.  NULL: there is none.  That the key
 * is for the token's algorithm is the caller's to ask.
 */
const struct jwks_key *jwks_find(const struct jwks *, struct writ_bytes kid);

#endif
