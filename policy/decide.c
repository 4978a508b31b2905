/*
 * The decision: facts and time in, a verdict out (delegation.md 4.3; I5, I6, I7).  Pure, and without allocation but for
 * the words of a name that is malformed.
 *
 * First what no policy can allow: names, kinds, attenuation, depth, time.  Then P1: one rule must allow all of it; the
 * first that does so wins.  When none does, the verdict names the nearest: the one that fails in the fewest checks,
 * then the first.
 */
#include "policy/rules.h"
#include "policy/within.h"

#define TIME_LAST 253402300799 /* 9999-12-31T23:59:59Z */
#define RETRY_S 5	       /* a parent renews at 60 % of its life, so one that is due does it any moment */

static const char *
time_words(writ_time time, char out[WRIT_RFC3339_LEN + 1])
{
	return writ_time_rfc3339(time < 0 ? 0 : time > TIME_LAST ? TIME_LAST : time, out);
}

/* Starts a refusal and takes its hint; value and limit are the caller's.  False, so that it can end a check. */
static bool
refuse(struct verdict *ret, const char *rule, const char *hint)
{
	ret->kind = VERDICT_DENY;
	words(ret->rule, sizeof(ret->rule), "%s", rule);
	words(ret->hint, sizeof(ret->hint), "%s", hint);
	return false;
}

WRIT_PRINTF(2, 3)
static void
value(struct verdict *ret, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	words_va(ret->value, sizeof(ret->value), fmt, args);
	va_end(args);
}

WRIT_PRINTF(2, 3)
static void
limit(struct verdict *ret, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	words_va(ret->limit, sizeof(ret->limit), fmt, args);
	va_end(args);
}

/* ---- what no policy can allow ---- */

/* Takes `err`. */
static bool
refuse_names(struct verdict *ret, const char *hint, struct writ_err *err)
{
	writ_err_text(err, ret->value, sizeof(ret->value));
	limit(ret, "the canonical form");
	writ_err_free(err);
	return refuse(ret, "names", hint);
}

struct writ_bytes
agent_class(struct writ_bytes agent)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = spiffe_parse(agent, &id);
	if (!err)
		return id.class_uri;
	writ_err_free(err);
	return (struct writ_bytes){ 0 };
}

/* 7 and K1.  Kind and principal come from authentication (I7); here they are only held against each other. */
static bool
names_allowed(const struct policy_facts *facts, struct verdict *ret)
{
	struct spiffe_id delegator, agent;
	struct writ_err *err;

	err = spiffe_parse(facts->delegator, &delegator);
	if (err)
		return refuse_names(ret, "correct the delegator's name", err);
	err = spiffe_parse(facts->agent, &agent);
	if (err)
		return refuse_names(ret, "correct the agent's name", err);

	if (delegator.kind != facts->delegator_kind) {
		value(ret, "kind %s", principal_kind_name(facts->delegator_kind));
		limit(ret, "%.*s is of kind %s", ALL(facts->delegator), principal_kind_name(delegator.kind));
		return refuse(ret, "K1", "map this delegator's certificates to ids of their kind");
	}
	if (agent.kind != PRINCIPAL_AGENT) {
		value(ret, "%.*s", ALL(facts->agent));
		limit(ret, "only an agent receives a delegation");
		return refuse(ret, "K1", "name an agent: spiffe://TRUST-DOMAIN/agent/CLASS");
	}
	if (facts->delegator_kind == PRINCIPAL_AGENT && !facts->parent) {
		value(ret, "%.*s without a parent", ALL(facts->delegator));
		limit(ret, "an agent delegates only what its own leaf was granted");
		return refuse(ret, "K1", "authenticate with the leaf that this agent holds for the task");
	}
	if (facts->delegator_kind != PRINCIPAL_AGENT && facts->parent) {
		value(ret, "%s under a parent", principal_kind_name(facts->delegator_kind));
		limit(ret, "only an agent delegates below another hop");
		return refuse(ret, "K1", "open a task of its own");
	}
	if (writ_equal(facts->agent, facts->delegator)) {
		value(ret, "%.*s", ALL(facts->agent));
		limit(ret, "nobody delegates to itself");
		return refuse(ret, "K1", "name another agent");
	}
	return true;
}

/* S3, also where grant_check() has not been. */
static bool
scope_given(const struct policy_facts *facts, struct verdict *ret)
{
	const struct grant *grant = facts->grant;
	const char *missing = grant->n_entitlements == 0 ? "no entitlement"
			      : grant->audience.n == 0	 ? "no audience"
							 : NULL;

	for (size_t i = 0; i < grant->n_entitlements && !missing; i++)
		if (grant->entitlements[i].actions.n == 0 || grant->entitlements[i].resources.n == 0)
			missing = "an entitlement without an action or a resource";
	if (!missing)
		return true;
	value(ret, "%s", missing);
	limit(ret, "at least one: an empty list never means all");
	return refuse(ret, "S3", "say what is asked for, and where");
}

/* D1 and S2. */
static bool
depth_allowed(const struct policy_facts *facts, struct verdict *ret)
{
	if (facts->depth > DEPTH_MAX) {
		value(ret, "depth %u", facts->depth);
		limit(ret, "depth %d", DEPTH_MAX);
		return refuse(ret, "D1", "ask for less depth");
	}
	if (facts->parent && facts->parent->depth_remaining == 0) {
		value(ret, "a delegation below depth 0");
		limit(ret, "the parent may not delegate");
		return refuse(ret, "D1", "ask whoever opened the task for a greater depth");
	}
	if (facts->parent && facts->depth >= facts->parent->depth_remaining) {
		value(ret, "depth %u", facts->depth);
		limit(ret, "depth %u, one less than the parent has", facts->parent->depth_remaining - 1);
		return refuse(ret, "D1", "ask for less depth");
	}
	for (size_t i = 0; i < facts->grant->n_entitlements; i++) {
		const struct entitlement *e = &facts->grant->entitlements[i];

		if (!e->delegable || facts->depth > 0)
			continue;
		value(ret, "%.*s on %.*s, delegable", ALL(e->actions.list[0]), ALL(e->resources.list[0]));
		limit(ret, "depth 0, so nothing can be handed on");
		return refuse(ret, "S2", "ask for depth 1, or leave delegable out");
	}
	return true;
}

static const char *
excess_hint(const char *rule)
{
	switch (rule[0]) {
	case 'K':
		return "ask for a constraint within the parent's";
	case 'A':
		return "ask for an audience within the parent's";
	default:
		return "ask for a scope within the parent's, each entitlement inside one of its";
	}
}

/* S1, K, A1 (I6).  Whether an audience may hold wildcards is the rule's to say. */
static bool
inside_parent(const struct policy_facts *facts, struct verdict *ret)
{
	struct excess excess;

	grant_excess(facts->grant, facts->parent->grant, true, &excess);
	if (!excess.rule)
		return true;
	value(ret, "%s", excess.value);
	limit(ret, "%s", excess.limit);
	return refuse(ret, excess.rule, excess_hint(excess.rule));
}

/* L2 and L3 of a new edge, L5 of whoever grants it. */
static bool
edge_times_allowed(const struct policy_facts *facts, writ_time now, struct verdict *ret)
{
	char ends[WRIT_RFC3339_LEN + 1], bound[WRIT_RFC3339_LEN + 1];

	if (facts->parent && facts->parent_liveness && facts->parent->newest_leaf < now) {
		value(ret, "a parent leaf that ended %s",
		      facts->parent->newest_leaf ? time_words(facts->parent->newest_leaf, ends) : "already");
		limit(ret, "valid now, %s, without allowance", time_words(now, bound));
		return refuse(ret, "L5", "renew the leaf that authorises, then ask again");
	}
	value(ret, "ends %s", time_words(facts->edge_not_after, ends));
	if (facts->edge_not_after > facts->task_ends) {
		limit(ret, "the task ends %s", time_words(facts->task_ends, bound));
		return refuse(ret, "L2", "ask for an end within the task's");
	}
	if (facts->parent && facts->edge_not_after > facts->parent->hop_not_after) {
		limit(ret, "the parent's delegation ends %s", time_words(facts->parent->hop_not_after, bound));
		return refuse(ret, "L2", "ask for an end within the parent's");
	}
	if (facts->edge_not_after < now + LIFETIME_FLOOR_S - 1) {
		limit(ret, "not before %s, so that a leaf of %d s fits", time_words(now + LIFETIME_FLOOR_S - 1, bound),
		      LIFETIME_FLOOR_S);
		return refuse(ret, "L2", "ask for a later end");
	}
	if (facts->edge_not_after > now + GRANT_MAX_S) {
		limit(ret, "%s, %d s from now", time_words(now + GRANT_MAX_S, bound), GRANT_MAX_S);
		return refuse(ret, "L3", "ask for an earlier end: no delegation lasts longer");
	}
	ret->value[0] = '\0';
	return true;
}

static bool
lifetime_asked_allowed(const struct policy_facts *facts, struct verdict *ret)
{
	if (facts->lifetime_s == 0 || (facts->lifetime_s >= LIFETIME_MIN_S && facts->lifetime_s <= LIFETIME_MAX_S))
		return true;
	value(ret, "%u s", facts->lifetime_s);
	limit(ret, "%d s to %d s", LIFETIME_MIN_S, LIFETIME_MAX_S);
	return refuse(ret, "L1", "ask for a lifetime in that range, or for none");
}

bool
facts_allowed(const struct policy_facts *facts, writ_time now, struct verdict *ret)
{
	struct writ_err *err;

	if (!names_allowed(facts, ret) || !scope_given(facts, ret))
		return false;
	if (facts->act != ACT_DELEGATE)
		return lifetime_asked_allowed(facts, ret);

	err = grant_check(facts->grant); /* covering is defined on canonical names only */
	if (err)
		return refuse_names(ret, "correct the grant", err);
	if (!depth_allowed(facts, ret))
		return false;
	if (facts->parent && !inside_parent(facts, ret))
		return false;
	return edge_times_allowed(facts, now, ret);
}

/* ---- P1 ---- */

static bool
any_matches(const struct texts *patterns, struct writ_bytes principal)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (principal_matches(patterns->list[i], principal))
			return true;
	return false;
}

static const struct writ_bytes *
first_wildcard(const struct texts *audience)
{
	for (size_t i = 0; i < audience->n; i++)
		if (resource_is_pattern(audience->list[i]))
			return &audience->list[i];
	return NULL;
}

unsigned
rule_failures(const struct rule *rule, const struct policy_facts *facts, struct writ_bytes class, writ_time now)
{
	const struct grant *grant = facts->grant;
	unsigned failures = 0;

	if (rule->kind != facts->delegator_kind)
		failures |= 1U << CHECK_KIND;
	if (!any_matches(&rule->delegators, facts->delegator))
		failures |= 1U << CHECK_DELEGATOR;
	if (!any_matches(&rule->agents, class))
		failures |= 1U << CHECK_AGENTS;
	if (failures)
		return failures; /* not about these two: the rest says nothing */

	if (!scope_within(grant, &rule->grants, HELD_BY_RULE))
		failures |= 1U << CHECK_ENTITLEMENTS;
	if (first_outside(&grant->audience, &rule->grants.audience, resource_covers))
		failures |= 1U << CHECK_AUDIENCE;
	if (!rule->wildcard_audience && first_wildcard(&grant->audience))
		failures |= 1U << CHECK_WILDCARD;
	if (facts->depth > rule->max_depth)
		failures |= 1U << CHECK_DEPTH;
	if (facts->edge_not_after > now + rule->max_grant_s)
		failures |= 1U << CHECK_GRANT;
	if (facts->act != ACT_DELEGATE && facts->lifetime_s > rule->max_lifetime_s)
		failures |= 1U << CHECK_LIFETIME;
	return failures;
}

static void
entitlements_refusal(const struct rule *rule, const struct policy_facts *facts, struct verdict *ret)
{
	struct excess excess = { 0 };

	scope_excess(facts->grant, &rule->grants, HELD_BY_RULE, &excess);
	value(ret, "%s", excess.value);
	limit(ret, "%s", excess.limit);
	if (!excess.rule || excess.rule[0] != 'K') {
		const bool delegable = excess.rule && strcmp(excess.rule, "S2") == 0;

		words(ret->rule, sizeof(ret->rule), "%.*s: %s", ALL(rule->name),
		      delegable ? "delegable" : "entitlements");
		words(ret->hint, sizeof(ret->hint), "%s",
		      delegable ? "leave delegable out" : "ask for a scope that one entitlement of the rule covers");
		return;
	}
	words(ret->rule, sizeof(ret->rule), "%.*s: constraints", ALL(rule->name));
	words(ret->hint, sizeof(ret->hint), "add the constraint %s, or a tighter one", excess.limit);
}

void
rule_refusal(const struct rule *rule, const struct policy_facts *facts, writ_time now, enum rule_check check,
	     struct verdict *ret)
{
	static const char *const items[N_CHECKS] = {
		[CHECK_DELEGATOR] = "delegator",  [CHECK_KIND] = "kind",
		[CHECK_AGENTS] = "agents",	  [CHECK_ENTITLEMENTS] = "entitlements",
		[CHECK_AUDIENCE] = "audience",	  [CHECK_WILDCARD] = "wildcard_audience",
		[CHECK_DEPTH] = "max_depth",	  [CHECK_GRANT] = "max_grant",
		[CHECK_LIFETIME] = "max_lifetime"
	};
	const struct texts *audience = &facts->grant->audience;
	const struct writ_bytes *found;
	const char *hint = "";

	ret->kind = VERDICT_DENY;
	ret->line = rule->line;
	switch (check) {
	case CHECK_DELEGATOR:
		value(ret, "%.*s", ALL(facts->delegator));
		limit(ret, "matches none of its patterns");
		break;
	case CHECK_KIND:
		value(ret, "%s", principal_kind_name(facts->delegator_kind));
		limit(ret, "%s", principal_kind_name(rule->kind));
		break;
	case CHECK_AGENTS:
		value(ret, "%.*s", ALL(facts->agent));
		limit(ret, "matches none of its classes");
		break;
	case CHECK_ENTITLEMENTS:
		entitlements_refusal(rule, facts, ret);
		return;
	case CHECK_AUDIENCE:
		found = first_outside(audience, &rule->grants.audience, resource_covers);
		value(ret, "%.*s", found ? (int)found->len : 0, found ? (const char *)found->data : "");
		if (rule->grants.audience.n > 1)
			limit(ret, "%.*s and %zu more", ALL(rule->grants.audience.list[0]),
			      rule->grants.audience.n - 1);
		else
			limit(ret, "%.*s", ALL(rule->grants.audience.list[0]));
		hint = "ask for an audience that the rule names";
		break;
	case CHECK_WILDCARD:
		found = first_wildcard(audience);
		value(ret, "%.*s", found ? (int)found->len : 0, found ? (const char *)found->data : "");
		limit(ret, "no wildcard in an audience");
		hint = "name each audience";
		break;
	case CHECK_DEPTH:
		value(ret, "depth %u", facts->depth);
		limit(ret, "depth %u", rule->max_depth);
		hint = "ask for less depth";
		break;
	case CHECK_GRANT:
		value(ret, "%lld s", (long long)(facts->edge_not_after - now));
		limit(ret, "%u s", rule->max_grant_s);
		hint = "ask for an earlier end";
		break;
	case CHECK_LIFETIME:
		value(ret, "%u s", facts->lifetime_s);
		limit(ret, "%u s", rule->max_lifetime_s);
		hint = "ask for a shorter lifetime, or for none";
		break;
	case N_CHECKS:
		break;
	}
	words(ret->rule, sizeof(ret->rule), "%.*s: %s", ALL(rule->name), items[check]);
	words(ret->hint, sizeof(ret->hint), "%s", hint);
}

static void
default_deny(const struct policy_facts *facts, bool delegator_known, struct verdict *ret)
{
	value(ret, "%s %.*s to %.*s", principal_kind_name(facts->delegator_kind), ALL(facts->delegator),
	      ALL(facts->agent));
	limit(ret, "no rule is about this %s", delegator_known ? "agent under that delegator" : "delegator");
	refuse(ret, "default-deny", "check both names, or ask an operator for a rule");
}

/* L1, L2, I5, L5: the times of a leaf.  What the parent's hop allows, the edge's end keeps already (L2 when it was
 * granted). */
static void
leaf_times(const struct policy_facts *facts, const struct rule *rule, writ_time now, struct verdict *ret)
{
	const uint32_t lifetime_s = facts->lifetime_s ? facts->lifetime_s : rule->max_lifetime_s;
	const writ_time floor = now + LIFETIME_FLOOR_S - 1;
	writ_time end = now + lifetime_s - 1;
	char text[WRIT_RFC3339_LEN + 1];

	if (end > facts->edge_not_after)
		end = facts->edge_not_after;
	if (end > facts->task_ends)
		end = facts->task_ends;
	if (end < floor) {
		value(ret, "a leaf that ends %s", time_words(end, text));
		limit(ret, "%d s at least; the %s ends then", LIFETIME_FLOOR_S,
		      facts->task_ends <= facts->edge_not_after ? "task" : "delegation");
		refuse(ret, "L2", "open a new task, or delegate anew");
		ret->line = 0;
		return;
	}
	if (facts->issuing_ca_not_after && end > facts->issuing_ca_not_after)
		end = facts->issuing_ca_not_after;
	if (end < floor) {
		value(ret, "a leaf that ends %s", time_words(end, text));
		limit(ret, "%d s at least; the issuing CA ends then", LIFETIME_FLOOR_S);
		refuse(ret, "I5", "try again: the next issuing CA is being made");
		ret->kind = VERDICT_RETRY;
		ret->retry_after_s = RETRY_S;
		ret->line = 0;
		return;
	}
	if (facts->parent_liveness) {
		const writ_time newest = facts->parent ? facts->parent->newest_leaf : 0;

		if (end > newest)
			end = newest;
		if (end < floor) {
			value(ret, "a leaf that ends %s", newest ? time_words(end, text) : "at once");
			limit(ret,
			      newest ? "%d s at least; the parent's newest leaf ends then"
				     : "%d s at least; the parent has no live leaf",
			      LIFETIME_FLOOR_S);
			refuse(ret, "L5", "the parent must renew, then try again");
			ret->kind = VERDICT_RETRY;
			ret->retry_after_s = RETRY_S;
			ret->line = 0;
			return;
		}
	}
	ret->not_before = now - BACKDATE_S;
	ret->not_after = end;
	/* A child that ends with its parent's leaf has at most the parent's life, so from 75 % of it on it is due no earlier than the
	 * parent, who is due by then. */
	if (facts->parent_liveness && facts->parent && end == facts->parent->newest_leaf)
		ret->renew_at = now + (end - now + 1) * 75 / 100 + (end - now + 1) * facts->chance / 65536 / 10;
	else
		ret->renew_at = now + (end - now + 1) / 2 + (end - now + 1) * facts->chance / 65536 / 4;
}

/* Asked when a task is opened; its leaves and renewals have them already. */
static void
wait_for_approvals(const struct rule *rule, struct verdict *ret)
{
	ret->kind = VERDICT_PENDING;
	ret->approvals = rule->approvals;
	ret->approvers = rule->approvers;
	ret->approve_within_s = rule->approve_within_s;
	value(ret, "no approval yet");
	limit(ret, "%u by others than the delegator", rule->approvals);
	words(ret->hint, sizeof(ret->hint), "have it approved within %u s", rule->approve_within_s);
}

void
policy_decide(const struct policy *policy, const struct policy_facts *facts, writ_time now, struct verdict *ret)
{
	const struct rule *nearest = NULL;
	unsigned fewest = 0, nearest_failures = 0;
	bool delegator_known = false;
	struct writ_bytes class;

	memset(ret, 0, sizeof(*ret));
	ret->kind = VERDICT_DENY;
	if (!facts_allowed(facts, now, ret))
		return;

	class = agent_class(facts->agent);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *rule = &policy->rules[i];
		const unsigned failures = rule_failures(rule, facts, class, now);
		const unsigned n = (unsigned)__builtin_popcount(failures);

		if (failures == 0) {
			ret->kind = VERDICT_ALLOW;
			if (facts->act == ACT_DELEGATE && rule->approvals > 0)
				wait_for_approvals(rule, ret);
			ret->by = rule->name;
			ret->line = rule->line;
			ret->max_lifetime_s = rule->max_lifetime_s;
			ret->no_rev_avail = rule->no_rev_avail;
			words(ret->rule, sizeof(ret->rule), "%.*s", ALL(rule->name));
			if (facts->act != ACT_DELEGATE)
				leaf_times(facts, rule, now, ret);
			return;
		}
		if (failures == 1U << CHECK_AGENTS)
			delegator_known = true;
		if (failures & CHECKS_APPLY || (nearest && n >= fewest))
			continue;
		nearest = rule;
		nearest_failures = failures;
		fewest = n;
	}
	if (nearest)
		rule_refusal(nearest, facts, now, (enum rule_check)__builtin_ctz(nearest_failures), ret);
	else
		default_deny(facts, delegator_known, ret);
}
