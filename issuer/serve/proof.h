/*
 * How a delegator was authenticated, as the hop, the evidence table and the journal have it: by a client certificate,
 * by a signed grant, or by an ID token made for one grant.
 *
 * Kind and principal come from here (I7): of the certificate, of the key that the configuration names for a `kid`, or
 * of the token's `sub` below the alias that the configuration gives its issuer.
 * Threading: the loop's thread.
 */
#ifndef WRIT_ISSUER_SERVE_PROOF_H
#define WRIT_ISSUER_SERVE_PROOF_H

#include "issuer/store/store.h"
#include "issuer/x509/delegation.h"

struct work;
struct claims;
struct identity;

/* Borrows from the request, its connection and the work's arena. */
struct proof {
	enum auth_method method;
	uint8_t digest[32];	     /* SHA-256 of `bytes` (delegation.md 3.4) */
	struct writ_bytes kind;	     /* of evidence: "mtls-cert", "writ-cert", "signed-grant", "id-token" */
	struct writ_bytes bytes;     /* the evidence: DER of the certificate, the compact JWS */
	struct writ_bytes authority; /* CA key id, kid, or the token's issuer */
	struct writ_bytes grant;     /* the grant's exact bytes, where they are not in `bytes`; empty: they are, or none */
	uint8_t grant_digest[32];    /* of what was granted: the compact JWS, or `grant` */
	bool has_grant;
	struct writ_bytes acr; /* of a token; may be empty */
	writ_time auth_time;   /* of a token; 0: not said */
	struct store_once once[2];   /* signed: (iss, jti) and the digest, used once, ever */
	size_t n_once;
	struct writ_bytes reserved; /* once[0].key while it is reserved in memory */
};

/* Of the client certificate that is work->who. */
void proof_by_certificate(struct work *);

/*
 * The body's grant: checked, reserved, its signature verified; then work->who is who signed it, whatever certificate
 * the connection has.  A grant that is used up, or being used, costs no signature.
 */
WRIT_CHECKED struct writ_err *proof_by_grant(struct work *, struct claims *ret);

/*
 * The body's ID token: checked, for exactly the grant beside it, which is then reserved; work->who is the token's owner,
 * whatever certificate the connection has.  When keys are missing that may have been published since, writ-fetchd is
 * asked for them and the answer is WRIT_UNAVAILABLE.
 */
WRIT_CHECKED struct writ_err *proof_by_token(struct work *, struct claims *ret);

/* Parts of both: the grant's one use, reserved; and the principal becomes who asks, with its share of requests. */
WRIT_CHECKED struct writ_err *proof_reserve(struct work *, const struct claims *);
WRIT_CHECKED struct writ_err *proof_become(struct work *, const struct identity *);

/* Gives up what was reserved: the store has it, or the request failed. */
void proof_release(struct work *);

#endif
