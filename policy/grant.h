/*
 * What is granted: entitlements, audience, constraints - and whether one grant lies inside another (delegation.md 4).
 *
 * Plain data whose texts are borrowed, usually from a request's arena; no encoding is known here.  In canonical order where DER wants
 * it: actions, resources, audience and values strictly ascending, no duplicates (E6).  Thread-safe: no state.
 */
#ifndef WRIT_POLICY_GRANT_H
#define WRIT_POLICY_GRANT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "policy/names.h"

#define ENTITLEMENTS_MAX 32
#define ACTIONS_MAX 16		/* an entitlement */
#define RESOURCES_MAX 16
#define AUDIENCE_MAX 16
#define CONSTRAINTS_MAX 16	/* at the top, and an entitlement */
#define CONSTRAINT_VALUES_MAX 16
#define PARAM_NAME_MAX 64
#define PARAM_VALUE_MAX 256
#define HOPS_MAX 8
#define DEPTH_MAX 7

enum constraint_kind {		/* the tags of CHOICE Constraint */
	CONSTRAINT_SOURCE_NET = 0,
	CONSTRAINT_WINDOW = 1,
	CONSTRAINT_PARAM_IN = 3,
	CONSTRAINT_PARAM_MAX = 4,
};

struct constraint {
	enum constraint_kind kind;
	struct writ_bytes name;			/* PARAM_IN, PARAM_MAX */
	size_t n_values;			/* SOURCE_NET: address || mask, 8 or 32 bytes each; PARAM_IN: texts */
	const struct writ_bytes *values;
	writ_time not_before, not_after;	/* WINDOW, both ends inclusive */
	int64_t max;				/* PARAM_MAX, inclusive */
};

struct constraints {
	size_t n;
	const struct constraint *list;
};

struct texts {
	size_t n;
	const struct writ_bytes *list;
};

struct entitlement {
	struct texts actions, resources;
	bool delegable;
	struct constraints constraints;
};

struct grant {			/* HopGrant */
	size_t n_entitlements;
	const struct entitlement *entitlements;		/* in the order of the request */
	struct texts audience;
	struct constraints constraints;			/* on every entitlement */
};

/* Grammar, sizes and order of everything; WRIT_INVALID names the place: "entitlement 2, resource 'https://...': ...". */
WRIT_CHECKED struct writ_err *grant_check(const struct grant *);

/*
 * Sorts actions, resources, audience and values as E6 wants, in the arena; a duplicate is refused, not dropped.  Looks at sizes and
 * order only: grant_check() of the result is the caller's.
 */
WRIT_CHECKED struct writ_err *grant_canonical(const struct grant *, struct writ_arena *, struct grant *ret);

/*
 * The child's grant with what it inherits copied down (4.4): a constraint of the parent that the child's has no counterpart of (type and name).
 * Top-level ones stay at the top, unless an entitlement of the child has one of that type and name itself: then they go into the others
 * (at the top they would narrow what it asked for, which is to be refused).  Those of the covering parent entitlement go into the
 * child's entitlement.  WRIT_EXHAUSTED over 16.
 */
WRIT_CHECKED struct writ_err *grant_inherit(const struct grant *child, const struct grant *parent, struct writ_arena *,
					    struct grant *ret);

/* Why a child lies outside: the rule's id of delegation.md 4.3, the value asked, the limit it passed. */
struct excess {
	const char *rule;		/* "S1", "S2", "S3", "A1", "K" ... ; NULL: the child is inside */
	char value[160];		/* printable, cut with "..." */
	char limit[160];
};

/*
 * S1 (the covering entitlement of the parent must be delegable), S3, A1 and constraints of a child, after grant_inherit(), within its parent's grant.
 */
void grant_excess(const struct grant *child, const struct grant *parent, bool wildcard_audience_ok, struct excess *ret);

/* Is `child` at least as tight as `parent`, of the same kind and name? */
bool constraint_implies(const struct constraint *child, const struct constraint *parent);

#endif
