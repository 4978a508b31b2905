/*
 * What a relying party checks of an agent's chain (delegation.md 6.1): path, profile, delegation, status.  No I/O, no clock, no global state.
 *
 * Own path check: leaf <- issuing CA <- anchor, at most one intermediate below the configured anchor, every rule of robustness.md 1.
 * Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_VERIFY_H
#define WRIT_ISSUER_X509_VERIFY_H

#include "issuer/x509/ca.h"
#include "issuer/x509/ocsp.h"

struct verify_with {
	struct writ_bytes anchor;		/* DER */
	struct writ_bytes trust_domain;		/* what the anchor's bundle entry says */
	writ_time now;
	bool allow_software;			/* accept cp-software */
	struct writ_bytes crl, anchor_crl;	/* DER; empty: not checked */
	struct writ_bytes ocsp;			/* response; empty: not checked */
	bool demand_status;			/* refuse when neither crl nor ocsp is given */
	struct writ_bytes audience;		/* our own identity; empty: not checked */
};

/* WRIT_INVALID says which rule failed; on success `*ret` is the leaf, its lists in the arena. */
WRIT_CHECKED struct writ_err *verify_chain(struct writ_bytes leaf, struct writ_bytes issuing, const struct verify_with *,
					   struct writ_arena *, struct leaf *ret);

/* The leaf in plain words, one fact a line: who authorised whom, for what, until when, how it can be checked. */
WRIT_CHECKED struct writ_err *leaf_tell(const struct leaf *, writ_time now, struct writ_buf *ret);

/* The same as JSON (delegation.md 6.3). */
WRIT_CHECKED struct writ_err *leaf_json(const struct leaf *, struct writ_bytes certificate, struct writ_buf *ret);

#endif
