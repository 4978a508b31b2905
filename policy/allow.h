/*
 * May a request be served under a grant?  (delegation.md 4.2, 4.4, 6.1 step 8)
 *
 * A pure function of grant, request and time, for whoever enforces: a relying party, a proxy.  Denied is what no single
 * entitlement allows with all of its constraints, and what cannot be told: a request not in canonical form, a missing
 * input, a constraint of a kind unknown here.  There are no negative entitlements and no union of two.  Knows no
 * certificate.  Thread-safe: no state.
 */
#ifndef WRIT_POLICY_ALLOW_H
#define WRIT_POLICY_ALLOW_H

#include "policy/grant.h"

#define ALLOW_PARAMETERS_MAX 64 /* a request's: what a constraint names is looked up among them */

struct allow_parameter {
	struct writ_bytes name, value; /* any octets */
};

struct allow_request {
	struct writ_bytes action, resource; /* canonical, no patterns */
	struct writ_bytes peer;		    /* 4 or 16 octets; empty: unknown, which meets no sourceNet */
	size_t n_parameters;
	const struct allow_parameter *parameters; /* a name that stands there twice meets no constraint on it */
};

enum allow_result {
	ALLOW_BAD_REQUEST, /* zero: what was never answered is denied */
	ALLOW_NOT_COVERED, /* no entitlement covers action and resource */
	ALLOW_CONSTRAINED, /* one does, or several; of each a constraint is not met */
	ALLOW_YES,
};

struct allow {
	enum allow_result result;
	size_t entitlement; /* YES: the first that allows it; CONSTRAINED: the first that covers it; from 0 */
	const char *rule;   /* "request", "entitlement", "sourceNet", "window", "paramIn", "paramMax"; "" of YES */
	char reason[300];   /* printable, one line, cut with "..."; empty of YES */
};

/* The grant passed grant_check() or delegation_read().  `now`: the clock, without allowance at either end. */
void allow_request(const struct grant *, const struct allow_request *, writ_time now, struct allow *ret);

#endif
