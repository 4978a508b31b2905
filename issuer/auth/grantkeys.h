/*
 * The keys that sign grants: from the `kid` of a JWS to a configured principal (I7), and to nobody else.
 *
 * Knows no claim and no route.  Threading: read-only after grantkeys_new(); any thread may look up and verify.
 */
#ifndef WRIT_ISSUER_AUTH_GRANTKEYS_H
#define WRIT_ISSUER_AUTH_GRANTKEYS_H

#include "issuer/auth/jws.h"
#include "policy/names.h"

/* One `grants.keys` entry, as issuer/serve hands it over from the configuration. */
struct grantkey_conf {
	const char *kid;
	enum principal_kind kind; /* human or service */
	const char *principal;
	const char *path; /* PEM file: a public key, or a certificate, of which the key alone is taken */
};

struct grantkey {
	struct writ_bytes kid, principal;
	enum principal_kind kind;
	struct jws_key key; /* P-256 or Ed25519 */
};

struct grantkeys;

/*
 * Reads every file.  WRIT_INVALID names the entry: a private key, a key that signs no grant, a principal of another
 * kind or trust domain, a kid twice, or a key twice - one key is one principal's.
 */
WRIT_CHECKED struct writ_err *grantkeys_new(struct writ_bytes trust_domain, const struct grantkey_conf *, size_t n,
					    struct grantkeys **ret);
void grantkeys_free(struct grantkeys *);

/* NULL: no such key.  Borrowed. */
const struct grantkey *grantkeys_find(const struct grantkeys *, struct writ_bytes kid);

#endif
