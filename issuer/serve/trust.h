/*
 * The trust bundle over the API: GET /v1/bundle, and /v1/bundle/spiffe.  Open to anyone, by HTTPS alone: what is to be
 * trusted must not be learnt from a connection that anyone on the way may change.
 *
 * Made with the rules, and as they are swapped whole; the others than our own come from the files that writ.yaml names.
 */
#ifndef WRIT_ISSUER_SERVE_TRUST_H
#define WRIT_ISSUER_SERVE_TRUST_H

#include "issuer/conf/conf.h"
#include "issuer/x509/leaf.h"

struct trust {
	struct writ_buf json, spiffe;
};

/* From our own anchor and custody.standby.  WRIT_INVALID, WRIT_NOT_FOUND: that file cannot be used. */
WRIT_CHECKED struct writ_err *trust_load(const struct conf *, struct writ_bytes own_anchor, enum leaf_tier,
					 writ_time now, struct trust *ret);
void trust_done(struct trust *);

struct work;
WRIT_CHECKED struct writ_err *trust_show(struct work *);
WRIT_CHECKED struct writ_err *trust_spiffe(struct work *);

#endif
