/*
 * A policy as it stands in memory, and what is asked of one rule.  Internal to policy/: everybody else sees policy.h.
 *
 * Everything is owned by the policy and constant once parsed: the texts by its YAML tree, the lists by its arena.
 */
#ifndef WRIT_POLICY_RULES_H
#define WRIT_POLICY_RULES_H

#include "base/digest.h"
#include "base/yaml.h"
#include "policy/policy.h"

#define RULE_NAME_MAX 40   /* with ": wildcard_audience" it fits a verdict's `rule` */
#define PRINCIPALS_MAX 256 /* a list of them: duplicates are looked for pair by pair */
#define GRANT_DEFAULT_S 3600
#define DEPTH_DEFAULT 2
#define NO_REV_AVAIL_MAX_S 120 /* delegation.md 2: a revocation would not be heard of much sooner */
#define APPROVE_WITHIN_DEFAULT_S 3600
#define APPROVE_WITHIN_MIN_S 5 /* approvers may be services */

struct rule {
	struct writ_bytes name;
	unsigned line;		 /* where it begins */
	struct texts delegators; /* patterns */
	enum principal_kind kind;
	struct texts agents; /* class URIs, or "spiffe://TD/agent/" "*" */
	struct grant grants; /* entitlements and audience; no constraints at the top */
	bool wildcard_audience;
	uint32_t max_lifetime_s, max_grant_s;
	unsigned max_depth;
	bool no_rev_avail; /* then max_depth is 0 and max_lifetime at most NO_REV_AVAIL_MAX_S */
	unsigned approvals;	/* 0: none; else who opens a task waits for so many */
	struct texts approvers; /* patterns; none unless approvals > 0, as the next */
	uint32_t approve_within_s;
};

struct policy {
	struct yaml yaml;
	struct writ_arena arena;
	struct writ_bytes id;
	uint8_t digest[SHA256_LEN];
	uint64_t revision; /* 0: none given */
	bool embed_purpose;
	struct texts roles[ROLE_RESPONDER + 1]; /* patterns, by enum policy_role */
	size_t n_rules;
	struct rule *rules;
};

/* What a rule asks, in the order in which a refusal names it; the first three say whether it applies at all. */
enum rule_check {
	CHECK_DELEGATOR,
	CHECK_KIND,
	CHECK_AGENTS,
	CHECK_ENTITLEMENTS,
	CHECK_AUDIENCE,
	CHECK_WILDCARD,
	CHECK_DEPTH,
	CHECK_GRANT,
	CHECK_LIFETIME,
	N_CHECKS
};

#define CHECKS_APPLY (1U << CHECK_DELEGATOR | 1U << CHECK_KIND | 1U << CHECK_AGENTS)

/* The checks that fail, as bits; 0: the rule allows.  `agent_class` is the class URI of facts->agent. */
unsigned rule_failures(const struct rule *, const struct policy_facts *, struct writ_bytes agent_class, writ_time now);

/* Puts a refusal by that check of the rule in words. */
void rule_refusal(const struct rule *, const struct policy_facts *, writ_time now, enum rule_check,
		  struct verdict *ret);

/* The class URI of an agent, given its class or its full id; empty when it is no agent's. */
struct writ_bytes agent_class(struct writ_bytes agent);

/* Is all that `b` allows allowed by `a` as well?  Sound, incomplete, as S1: patterns that only together cover are not seen. */
bool rule_allows_all_of(const struct rule *a, const struct rule *b);

/* Everything but the rules: true when nothing stands against it, else the refusal is in `ret`. */
bool facts_allowed(const struct policy_facts *, writ_time now, struct verdict *ret);

#endif
