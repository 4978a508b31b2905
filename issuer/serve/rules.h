/*
 * Policy, delegators and grant keys in force: what a reload swaps whole.
 *
 * Threading: read-only once loaded, but for the CRLs inside `auth`, which auth_refresh() swaps under a lock of its own,
 * and the keys inside `oidc`.
 */
#ifndef WRIT_ISSUER_SERVE_RULES_H
#define WRIT_ISSUER_SERVE_RULES_H

#include <stdatomic.h>

#include "issuer/auth/auth.h"
#include "issuer/auth/grantkeys.h"
#include "issuer/auth/oidc.h"
#include "issuer/conf/conf.h"
#include "issuer/serve/trust.h"
#include "policy/policy.h"

/* Policy and delegators in force.  Counted: a request keeps what it began with, whatever a reload does meanwhile. */
struct rules {
	atomic_uint refs;
	struct policy *policy;
	struct auth *auth;
	struct grantkeys *grantkeys;
	struct oidc *oidc;
	struct trust trust;
	writ_time loaded_at;
	struct writ_buf text; /* the policy's YAML: what the store keeps behind its digest */
	struct conf conf; /* limits, delegators, oidc and grants are read from here; the rest of a reloaded file is not used */
};
struct rules *rules_ref(struct rules *);
void rules_unref(struct rules *);

/* Reads writ.yaml and what it names, as they are now; `running` is what this process started with. */
WRIT_CHECKED struct writ_err *rules_load(const struct conf *running, struct writ_bytes own_anchor, enum leaf_tier,
					 writ_time now, struct rules **ret);

/* The policy alone: does it parse? */
WRIT_CHECKED struct writ_err *rules_try(const struct conf *);

#endif
