/*
 * The claims of a signed grant (delegation.md 8): what the delegator wrote, and whether it may be redeemed now.
 *
 * Knows no signature: who signed, and that they did, is proof.c's to find.  Thread-safe: no state; time is a parameter.
 */
#ifndef WRIT_ISSUER_SERVE_CLAIMS_H
#define WRIT_ISSUER_SERVE_CLAIMS_H

#include "issuer/serve/request.h"

#define CLAIMS_TYP "writ-grant+jwt"
#define CLAIMS_JTI_MIN 22 /* characters: 128 bits in base64url */
#define CLAIMS_JTI_MAX 64 /* of A-Z a-z 0-9 . _ - */
#define CLAIMS_AHEAD_S 30 /* a delegator's clock may be ahead of ours; at the end there is no allowance */
#define CLAIMS_KEEP_S 600 /* a used jti is remembered until exp and this */

struct claims {
	struct writ_bytes iss; /* principal URI */
	struct writ_bytes aud;
	struct writ_bytes jti;
	writ_time iat, nbf, exp;	 /* seconds since 1970 */
	writ_time grant_end;		 /* L3: no hop's end is later */
	struct request_delegation asked; /* ends_in_s is not used */
};

/* Every member known, each once, no floats; texts in the arena.  WRIT_INVALID names the member. */
WRIT_CHECKED struct writ_err *claims_read(struct writ_bytes payload, struct writ_arena *, struct claims *ret);

struct claims_wanted {
	struct writ_bytes principal; /* whose key signed */
	struct writ_bytes kid;	     /* its name, for the message */
	struct writ_bytes audience;
	uint32_t redeem_within_s;
};

/* WRIT_UNAUTHENTICATED: by somebody else, for somebody else, too early, too late, or good for too long. */
WRIT_CHECKED struct writ_err *claims_check(const struct claims *, const struct claims_wanted *, writ_time now);

#endif
