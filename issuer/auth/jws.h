/*
 * JWS compact serialisation (RFC 7515), strict: what a delegator signed, and the key that a configuration names for it.
 *
 * Every byte is either understood or refused: canonical base64url, no duplicate and no unknown header members, `crit`
 * refused, `alg` from an allow-list, the key chosen by configured `kid` alone and never by jwk, jku, x5c or x5u.  The
 * packaged JOSE libraries accept duplicate members and non-canonical base64url (tried), hence this one.
 * Knows no claim, no store, no clock.  Thread-safe: no state; jws_verify() changes no key, so threads may share one.
 */
#ifndef WRIT_ISSUER_AUTH_JWS_H
#define WRIT_ISSUER_AUTH_JWS_H

#include "base/pubkey.h"

#define JWS_MAX (48 * 1024) /* octets of a compact serialisation: under a request's 64 KiB */
#define JWS_HEADER_MAX 1024 /* octets, decoded */
#define JWS_HEADER_DEPTH_MAX 4
#define JWS_KID_MAX 256 /* octets; printable ASCII */

enum jws_alg { JWS_ES256, JWS_EDDSA, JWS_RS256, JWS_PS256 }; /* bits 1 << alg in allow-lists */
#define JWS_ALLOW(alg) (1U << (alg))
/*
 * One more bit of an allow-list: of the two forms (r, s) and (r, n - s) of an ES256 signature only the one with s <=
 * n/2 is taken.  Grants demand it, so that who sees one cannot write it anew under another digest; OpenID providers
 * sign either form, and half of their tokens would be refused.
 */
#define JWS_LOW_S (1U << 8)
#define JWS_GRANT_ALGS (JWS_ALLOW(JWS_ES256) | JWS_ALLOW(JWS_EDDSA) | JWS_LOW_S)
#define JWS_TOKEN_ALGS (JWS_ALLOW(JWS_RS256) | JWS_ALLOW(JWS_PS256) | JWS_ALLOW(JWS_ES256))

/* "ES256", "EdDSA", "RS256", "PS256". */
const char *jws_alg_name(enum jws_alg);

struct jws {
	enum jws_alg alg;
	struct writ_bytes kid;	     /* may be empty: absent */
	struct writ_bytes typ;	     /* may be empty: absent */
	struct writ_bytes payload;   /* decoded */
	struct writ_bytes signed_;   /* "header.payload", what the signature is over: inside the compact text */
	struct writ_bytes signature; /* decoded; ES256: r || s, each in 1..n-1; EdDSA: 64 bytes */
};

/*
 * Texts and decoded bytes are in the arena, which needs twice the length.  WRIT_INVALID names the part and what is
 * wrong; an `alg` that is not in `allowed` is refused here, before any key is looked up.
 */
WRIT_CHECKED struct writ_err *jws_parse(struct writ_bytes compact, unsigned allowed, struct writ_arena *,
					struct jws *ret);

/*
 * Making one: appends what a JWS has of a signature in the form X.509 wants (base/pubkey.h): for P-256 r || s, of the
 * two forms of s the lower; for Ed25519 the 64 octets as they are.  WRIT_INVALID for other kinds and for what is no
 * signature.
 */
WRIT_CHECKED struct writ_err *jws_signature(enum key_kind, struct writ_bytes signature, struct writ_buf *ret);

struct jws_key {
	struct evp_pkey_st *pkey; /* owned: P-256, Ed25519, or RSA of 2048 to 8192 bits */
};

#define JWS_RSA_MIN 2048 /* bits */
#define JWS_RSA_MAX 8192 /* bits: a signature then costs some 0.3 ms */

/* From a DER SubjectPublicKeyInfo. */
WRIT_CHECKED struct writ_err *jws_key_load(struct writ_bytes spki, struct jws_key *ret);
/* From the members of a JWK (RFC 7517): kty RSA (n, e), EC P-256 (x, y), OKP Ed25519 (x); each as base64url text, empty
 * when absent. */
struct jwk_members {
	struct writ_bytes kty, crv, n, e, x, y;
};
WRIT_CHECKED struct writ_err *jws_key_from_jwk(const struct jwk_members *, struct jws_key *ret);
void jws_key_done(struct jws_key *);

/* Is the key of the kind that `alg` signs with?  An RSA key serves RS256 and PS256. */
bool jws_key_is_for(const struct jws_key *, enum jws_alg);

/* WRIT_UNAUTHENTICATED unless the key is of the algorithm's kind and the signature is its own. */
WRIT_CHECKED struct writ_err *jws_verify(const struct jws *, const struct jws_key *);

#endif
