/*
 * What a custody statement claims, one after the other, and how each stands.
 *
 *	proved	nobody can have made it up: not this host, not its administrator (as far as maker and TPM are trusted)
 *	claimed	the word of the host or of its token, where proof was wanted
 *	said	the host's word where there is nothing to prove it by; signed by the anchor, so that it is kept to it
 *	REFUTED	it is not so, or the bundle was changed
 *
 * Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_CLI_CUSTODY_CLAIMS_H
#define WRIT_ISSUER_CLI_CUSTODY_CLAIMS_H

#include "base/secret.h"
#include "issuer/cli/custody_bundle.h"

enum standing { STANDS_PROVED, STANDS_CLAIMED, STANDS_SAID, STANDS_REFUTED };

struct claims {
	bool json;
	json_t *list; /* with json */
	unsigned claimed, refuted;
};

/* What the verifier asks for; NULL and zero: not. */
struct wanted {
	struct writ_bytes nonce;
	struct writ_bytes ak_name; /* of the challenge */
	struct writ_secret secret; /* of the challenge; empty: none */
	struct writ_bytes anchor;  /* DER */
	const char *trust_domain, *ek_roots, *ek_chain;
	struct writ_bytes policies[OPTION_VALUES_MAX]; /* SHA-256 digests that a key's policy may be */
	size_t n_policies;
	uint32_t max_age_s;
	writ_time now;
};

void claim(struct claims *, enum standing, const char *what, const char *fmt, ...) WRIT_PRINTF(4, 5);

/* REFUTED, because of `err`, which is taken. */
void claim_refuted(struct claims *, const char *what, struct writ_err *err);

/* Everything, in order (custody_check.c). */
void custody_claims(const struct custody_bundle *, const struct wanted *, struct claims *);

#endif
