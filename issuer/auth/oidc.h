/*
 * OpenID Connect ID tokens (OpenID Connect Core 1.0, 2 and 3.1.3.7) as a person's authorisation of one grant.
 *
 * A token counts for exactly the bytes whose SHA-256 it carries as `nonce`, so a stolen one authorises only what its
 * owner meant (delegation.md 8).  Keys come from a file that the operator keeps or writ-fetchd writes; it is read again
 * when it changes, and what cannot be read changes nothing.  Whether a token was used before is the store's to say.
 * Knows no route and asks nobody.  Threading: oidc_check() on any thread; a lock inside.
 */
#ifndef WRIT_ISSUER_AUTH_OIDC_H
#define WRIT_ISSUER_AUTH_OIDC_H

#include "base/clock.h"
#include "base/file.h"
#include "issuer/auth/jws.h"

#define OIDC_TOKEN_MAX (16 * 1024)	/* octets; a token of many group claims has 8 KiB */
#define OIDC_SUB_MAX 255		/* octets (Core 2) */
#define OIDC_AHEAD_S 30			/* how far a provider's clock may be before ours */
#define OIDC_KEYS_MAX_AGE_S (24 * 3600) /* of fetched keys: older ones may have been withdrawn meanwhile */
#define OIDC_NONCE_LEN 43		/* base64url of 32 octets */

/* One `oidc` entry, as issuer/serve hands it over from the configuration. */
struct oidc_provider {
	const char *alias;
	const char *issuer;
	const char *client_id;
	const char *keys;    /* JWK set: a file */
	bool fetched;	     /* ... that writ-fetchd writes: the file's time is when it was fetched */
	unsigned algorithms; /* JWS_ALLOW bits */
	size_t n_acr;
	const char *const *acr;
	uint32_t max_age_s, max_auth_age_s; /* max_auth_age_s 0: not asked */
};

struct oidc;

/* Everything is copied.  Files are read when they are needed. */
WRIT_CHECKED struct writ_err *oidc_new(struct writ_bytes trust_domain, const struct oidc_provider *, size_t n,
				       struct oidc **ret);
void oidc_free(struct oidc *);

/* The issuer URL of an alias, and the alias of an issuer URL; NULL: no such entry. */
const char *oidc_issuer(const struct oidc *, struct writ_bytes alias);
const char *oidc_alias(const struct oidc *, struct writ_bytes issuer);

/* base64url(SHA-256(bytes)) and a NUL: what the token's `nonce` must be. */
char *oidc_nonce(struct writ_bytes grant, char out[OIDC_NONCE_LEN + 1]);

struct oidc_token {
	struct writ_bytes principal; /* spiffe://TD/human/ALIAS/SUB */
	struct writ_bytes issuer;
	struct writ_bytes acr; /* empty: the token has none, or one that a certificate cannot hold */
	writ_time auth_time;   /* 0: not said */
	writ_time expires;
	uint8_t digest[32]; /* SHA-256 of the compact token */
};

/*
 * Is `compact` a good ID token of `issuer` (what the grant names) for these exact bytes of a grant?  Texts land in the
 * arena, which needs four times the token.
 *
 * WRIT_INVALID: malformed, or not an ID token.  WRIT_UNAUTHENTICATED: signature, issuer, audience, time, nonce or acr
 * are not what they must be.  WRIT_UNAVAILABLE: the keys are not there, too old, or fetched before a token that names a
 * key they lack; `*ret_fetch` is then the alias whose keys should be fetched, else NULL.
 */
WRIT_CHECKED struct writ_err *oidc_check(struct oidc *, struct writ_bytes compact, struct writ_bytes issuer,
					 struct writ_bytes grant, writ_time now, struct writ_arena *,
					 struct oidc_token *ret, const char **ret_fetch);

#endif
