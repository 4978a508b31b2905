/*
 * The policy: who may delegate what to whom, on which audience, for how long, how deep.  Default deny.
 *
 * policy_parse() turns YAML into rules, every error with line and column; policy_decide() is a pure function of facts and time; its
 * verdict names rule, value, limit and line; policy_explain() tells the same rule by rule.  A refusal is a verdict, not an error.
 * Knows no files, clock, network or keys.  Format: writ-policy(5).  Threading: a policy is read-only once parsed.
 */
#ifndef WRIT_POLICY_POLICY_H
#define WRIT_POLICY_POLICY_H

#include "policy/grant.h"

#define POLICY_ID_MAX 128
#define LIFETIME_MIN_S 60	/* what may be asked (delegation.md 2) */
#define LIFETIME_MAX_S 900
#define LIFETIME_FLOOR_S 30	/* L2 and L5 may shorten to this, no further */
#define GRANT_MAX_S (8 * 3600)	/* hard; default of a rule 3600 */
#define REVISION_MAX ((UINT64_C(1) << 53) - 1)	/* as any number of the API */
#define BACKDATE_S 30		/* notBefore = now - 30 s everywhere */
#define APPROVALS_MAX 8		/* that a rule may ask for */
#define APPROVE_WITHIN_MAX_S (8 * 3600)	/* hard; default of a rule 3600 */

struct policy;

/* `name` is for messages ("policy.yaml"); the texts are copied. */
WRIT_CHECKED struct writ_err *policy_parse(const char *name, struct writ_bytes yaml, struct policy **ret);
void policy_free(struct policy *);
void policy_freep(struct policy **);

struct writ_bytes policy_id(const struct policy *);
const uint8_t *policy_digest(const struct policy *);	/* 32 bytes: SHA-256 of the YAML's bytes; in every leaf and record */
bool policy_embed_purpose(const struct policy *);
uint64_t policy_revision(const struct policy *);	/* `revision`; 0: the file has none */
size_t policy_n_rules(const struct policy *);

/* Prints the policy as YAML that parses to the same policy (fuzzing, `writ policy check --print`). */
WRIT_CHECKED struct writ_err *policy_print(const struct policy *, struct writ_buf *ret);

enum policy_role { ROLE_OPERATOR, ROLE_AUDITOR, ROLE_RESPONDER };
bool policy_role(const struct policy *, enum policy_role, struct writ_bytes principal);

enum policy_act {
	ACT_DELEGATE,	/* a new edge: root (parent NULL) or child */
	ACT_ISSUE,	/* the first or a further leaf of an edge */
	ACT_RENEW,	/* the same with the leaf itself as proof: same checks of time and liveness */
};

/* The authorising leaf's authority, from our own store, never from the request. */
struct policy_parent {
	const struct grant *grant;
	unsigned depth_remaining;	/* of its last hop */
	writ_time hop_not_after;	/* of its last hop */
	writ_time newest_leaf;		/* notAfter of the newest unexpired leaf of the direct parent lineage; 0: none */
};

struct policy_facts {
	enum policy_act act;
	struct writ_bytes delegator;		/* who granted (or grants) this edge */
	enum principal_kind delegator_kind;
	struct writ_bytes agent;		/* class URI, or the full id */
	const struct grant *grant;		/* of the edge, inherited constraints copied down */
	unsigned depth;				/* depthRemaining of the edge */
	writ_time edge_not_after;		/* end of the edge, asked or granted */
	writ_time task_ends;
	uint32_t lifetime_s;			/* of the leaf, asked; ISSUE and RENEW; 0: as long as the rule allows */
	const struct policy_parent *parent;	/* NULL: the edge is a root */
	writ_time issuing_ca_not_after;		/* I5; ISSUE and RENEW; 0: no bound */
	bool parent_liveness;			/* L5 applies (the edge has a parent) */
	uint16_t chance;			/* where in its span renew_at falls; drawn, so that a fleet begun at once does not renew at once */
};

enum verdict_kind {
	VERDICT_DENY,
	VERDICT_ALLOW,
	VERDICT_RETRY,		/* nothing wrong, but not now: the parent must renew first (L5); `retry_after_s` */
	VERDICT_PENDING,	/* DELEGATE: as ALLOW, once `approvals` principals that `approvers` match have approved */
};

struct verdict {
	enum verdict_kind kind;
	char rule[64];		/* "invoices", "invoices: max_depth"; else "S1", "K", "D1" ... (delegation.md), "names", "default-deny" */
	char value[160];	/* what was asked */
	char limit[160];	/* what it passed */
	char hint[160];		/* what to do */
	unsigned line;		/* of the policy; 0 when the rule is delegation.md's */
	/* ALLOW, PENDING: */
	struct writ_bytes by;	/* the rule's name; borrowed from the policy */
	uint32_t max_lifetime_s;	/* of leaves of this edge */
	bool no_rev_avail;		/* they carry noRevAvail (RFC 9608) instead of where their status is found */
	writ_time not_before, not_after;	/* ISSUE, RENEW: of the leaf */
	writ_time renew_at;	/* hint: 50 to 75 % of the life; 75 to 85 % of one that ends with the parent's leaf, which is renewed before */
	uint32_t retry_after_s;
	/* PENDING: */
	unsigned approvals;		/* how many, the delegator not among them */
	struct texts approvers;		/* patterns of humans and services; borrowed from the policy */
	uint32_t approve_within_s;
};

/* Pure: same arguments, same verdict.  DELEGATE checks S1..P1 against parent and rules; ISSUE and RENEW check P1, L1, L2, L5, I5. */
void policy_decide(const struct policy *, const struct policy_facts *, writ_time now, struct verdict *ret);

/* The same decision told in plain lines: what was asked, each rule tried and why it does not allow, the verdict. */
WRIT_CHECKED struct writ_err *policy_explain(const struct policy *, const struct policy_facts *, writ_time now,
					     struct writ_buf *ret);

/*
 * What is suspicious: rules that another shadows, that nobody can come to, that allow everything.  A line each, with the line of the file
 * and what to do; returns how many.  `trust_domain` may be empty: then a pattern of another is told from the first rule's agents.
 */
WRIT_CHECKED struct writ_err *policy_lint(const struct policy *, struct writ_bytes trust_domain, writ_time now, struct writ_buf *ret,
					  unsigned *ret_n);

/*
 * What differs between two policies in meaning, rule by rule, rules matched by name: a line each; returns how many.  Comments, layout and the order
 * of lists are no difference; the order of rules is, where it may decide which of two does.
 */
WRIT_CHECKED struct writ_err *policy_diff(const struct policy *before, const struct policy *after, struct writ_buf *ret, unsigned *ret_n);

#endif
