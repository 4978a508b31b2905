/*
 * How a delegator was authenticated, as the hop, the evidence table and the journal have it: by a client certificate,
 * or by a signed grant.
 *
 * Kind and principal come from here (I7): of the certificate, or of the key that the configuration names for a `kid`.
 * Threading: the loop's thread.
 */
#ifndef WRIT_ISSUER_SERVE_PROOF_H
#define WRIT_ISSUER_SERVE_PROOF_H

#include "issuer/store/store.h"
#include "issuer/x509/delegation.h"

struct work;
struct claims;

/* Borrows from the request, its connection and the work's arena. */
struct proof {
	enum auth_method method;
	uint8_t digest[32];	     /* SHA-256 of `bytes` (delegation.md 3.4) */
	struct writ_bytes kind;	     /* of evidence: "mtls-cert", "writ-cert", "signed-grant" */
	struct writ_bytes bytes;     /* the evidence: DER of the certificate, the compact JWS */
	struct writ_bytes authority; /* CA key id, or kid */
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

/* Gives up what was reserved: the store has it, or the request failed. */
void proof_release(struct work *);

#endif
