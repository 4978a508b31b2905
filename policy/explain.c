/*
 * A policy told to people: why a decision falls as it does, rule by rule, and what in a policy is suspicious.
 *
 * Decides nothing: it asks the functions that decide.  One fact a line.
 */
#include "policy/rules.h"
#include "policy/within.h"

/* ---- explain ---- */

static struct writ_err *
explain_verdict(const struct verdict *v, struct writ_buf *ret)
{
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1];

	switch (v->kind) {
	case VERDICT_ALLOW:
		if (v->not_after)
			return writ_buf_printf(ret, "verdict: allowed by rule '%s' (line %u): a leaf from %s to %s\n",
					       v->rule, v->line, writ_time_rfc3339(v->not_before, from),
					       writ_time_rfc3339(v->not_after, to));
		return writ_buf_printf(ret, "verdict: allowed by rule '%s' (line %u): leaves of at most %u s\n",
				       v->rule, v->line, v->max_lifetime_s);
	case VERDICT_RETRY:
		return writ_buf_printf(ret, "verdict: not now, %s: %s; %s; %s (in %u s)\n", v->rule, v->value, v->limit,
				       v->hint, v->retry_after_s);
	case VERDICT_DENY:
		break;
	}
	if (v->line)
		return writ_buf_printf(ret, "verdict: denied, %s (line %u): %s; limit: %s; %s\n", v->rule, v->line,
				       v->value, v->limit, v->hint);
	return writ_buf_printf(ret, "verdict: denied, %s: %s; limit: %s; %s\n", v->rule, v->value, v->limit, v->hint);
}

/* One rule: that it allows, or each thing that stands against it. */
static struct writ_err *
explain_rule(const struct rule *rule, const struct policy_facts *facts, writ_time now, struct writ_buf *ret)
{
	const unsigned failures = rule_failures(rule, facts, agent_class(facts->agent), now);
	struct writ_err *err;

	if (failures == 0)
		return writ_buf_printf(ret, "rule '%.*s' (line %u): allows\n", ALL(rule->name), rule->line);
	err = writ_buf_printf(ret, "rule '%.*s' (line %u): %s\n", ALL(rule->name), rule->line,
			      failures & CHECKS_APPLY ? "does not apply" : "denies");
	for (unsigned check = 0; check < N_CHECKS && !err; check++) {
		struct verdict v = { 0 };

		if (!(failures & 1U << check))
			continue;
		rule_refusal(rule, facts, now, (enum rule_check)check, &v);
		err = writ_buf_printf(ret, "  %s: %s; limit: %s\n", v.rule + rule->name.len + 2, v.value, v.limit);
	}
	return err;
}

/* A name, unless it could play tricks on a terminal. */
static struct writ_bytes
shown(struct writ_bytes name)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = spiffe_parse(name, &id);
	if (!err)
		return name;
	writ_err_free(err);
	return WRIT_LIT("(no name)");
}

struct writ_err *
policy_explain(const struct policy *policy, const struct policy_facts *facts, writ_time now, struct writ_buf *ret)
{
	static const char *const acts[] = { [ACT_DELEGATE] = "delegate", [ACT_ISSUE] = "issue", [ACT_RENEW] = "renew" };
	const struct writ_bytes from = shown(facts->delegator), to = shown(facts->agent);
	struct verdict v = { 0 };
	struct writ_err *err;

	err = writ_buf_printf(ret, "%s: %s %.*s to %.*s, depth %u\n", acts[facts->act],
			      principal_kind_name(facts->delegator_kind), ALL(from), ALL(to), facts->depth);
	if (err)
		return err;
	if (!facts_allowed(facts, now, &v)) { /* then no rule is tried, and names may not be fit for it */
		err = writ_buf_add(ret, WRIT_LIT("no rule was tried: this is refused under any policy\n"));
		return err ? err : explain_verdict(&v, ret);
	}
	for (size_t i = 0; i < policy->n_rules; i++) {
		err = explain_rule(&policy->rules[i], facts, now, ret);
		if (err)
			return err;
	}
	policy_decide(policy, facts, now, &v);
	return explain_verdict(&v, ret);
}

/* ---- lint ---- */

struct linter {
	struct writ_buf *out;
	unsigned n;
};

WRIT_CHECKED WRIT_PRINTF(2, 3) static struct writ_err *remark(struct linter *l, const char *fmt, ...)
{
	char line[640];
	va_list args;

	va_start(args, fmt);
	words_va(line, sizeof(line), fmt, args);
	va_end(args);
	l->n++;
	return writ_buf_printf(l->out, "%s\n", line);
}

/* Is all that `later` allows allowed by `earlier` already, at least as long and as deep? */
static bool
shadows(const struct rule *earlier, const struct rule *later)
{
	return earlier->kind == later->kind &&
	       !first_outside(&later->delegators, &earlier->delegators, resource_covers) &&
	       !first_outside(&later->agents, &earlier->agents, resource_covers) &&
	       scope_within(&later->grants, &earlier->grants, HELD_BY_RULE) &&
	       !first_outside(&later->grants.audience, &earlier->grants.audience, resource_covers) &&
	       earlier->wildcard_audience >= later->wildcard_audience && earlier->max_depth >= later->max_depth &&
	       earlier->max_grant_s >= later->max_grant_s && earlier->max_lifetime_s >= later->max_lifetime_s;
}

static unsigned
n_of(struct writ_bytes text, char c)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += text.data[i] == (uint8_t)c;
	return n;
}

/* "spiffe://TD/" "**" or "spiffe://TD/KIND/" "**": all of a kind. */
static bool
is_everybody(struct writ_bytes pattern)
{
	return pattern.len > 3 && memcmp(pattern.data + pattern.len - 3, "/**", 3) == 0 && n_of(pattern, '/') <= 4;
}

static const struct writ_bytes *
first_that(const struct texts *texts, bool (*test)(struct writ_bytes))
{
	for (size_t i = 0; i < texts->n; i++)
		if (test(texts->list[i]))
			return &texts->list[i];
	return NULL;
}

/* "invoices:" "*" */
static bool
is_whole_action(struct writ_bytes action)
{
	return action_is_pattern(action) && n_of(action, ':') == 1;
}

/* "https://erp.corp.example/" "**" */
static bool
is_whole_host(struct writ_bytes resource)
{
	return resource.len > 3 && memcmp(resource.data + resource.len - 3, "/**", 3) == 0 && n_of(resource, '/') == 3;
}

static struct writ_err *
lint_entitlement(struct linter *l, const struct rule *rule, size_t i)
{
	const struct entitlement *e = &rule->grants.entitlements[i];
	const struct writ_bytes *action = first_that(&e->actions, is_whole_action);
	const struct writ_bytes *resource = first_that(&e->resources, is_whole_host);
	struct writ_err *err;

	if (action && resource && e->constraints.n == 0) {
		err = remark(l, "line %u: rule '%.*s', entitlement %zu: every action under '%.*s' on all of '%.*s'",
			     rule->line, ALL(rule->name), i + 1, WRIT_FMT(*action), WRIT_FMT(*resource));
		if (err)
			return err;
	}
	if (e->delegable && rule->max_depth == 0)
		return remark(
			l,
			"line %u: rule '%.*s', entitlement %zu: delegable, but with max_depth 0 nothing is handed on",
			rule->line, ALL(rule->name), i + 1);
	return NULL;
}

/* "spiffe://TD" of a name or pattern. */
static struct writ_bytes
domain_of(struct writ_bytes text)
{
	const uint8_t *slash = memchr(text.data + strlen("spiffe://"), '/', text.len - strlen("spiffe://"));

	return (struct writ_bytes){ text.data, slash ? (size_t)(slash - text.data) : text.len };
}

/* Principals are all of one trust domain; a pattern of another is most likely mistyped, and matches nobody. */
static struct writ_err *
lint_domains(struct linter *l, const struct policy *policy, const struct rule *rule)
{
	const struct writ_bytes first = domain_of(policy->rules[0].agents.list[0]);
	const struct texts *lists[] = { &rule->delegators, &rule->agents };
	struct writ_err *err = NULL;

	for (size_t k = 0; k < N_OF(lists); k++)
		for (size_t i = 0; i < lists[k]->n && !err; i++)
			if (!writ_equal(domain_of(lists[k]->list[i]), first))
				err = remark(l, "line %u: rule '%.*s': '%.*s' is in another trust domain than '%.*s'",
					     rule->line, ALL(rule->name), WRIT_FMT(lists[k]->list[i]), WRIT_FMT(first));
	return err;
}

static struct writ_err *
lint_rule(struct linter *l, const struct policy *policy, const struct rule *rule)
{
	const struct writ_bytes *everybody = first_that(&rule->delegators, is_everybody);
	struct writ_err *err = lint_domains(l, policy, rule);

	if (!err && everybody && first_that(&rule->agents, resource_is_pattern))
		err = remark(l, "line %u: rule '%.*s': every %s under '%.*s' may delegate to every agent", rule->line,
			     ALL(rule->name), principal_kind_name(rule->kind), WRIT_FMT(*everybody));
	if (!err && rule->wildcard_audience)
		err = remark(l, "line %u: rule '%.*s': a leaf may name an audience by wildcard", rule->line,
			     ALL(rule->name));
	for (size_t i = 0; i < rule->grants.n_entitlements && !err; i++)
		err = lint_entitlement(l, rule, i);
	for (const struct rule *earlier = policy->rules; earlier < rule && !err; earlier++) {
		if (!shadows(earlier, rule))
			continue;
		return remark(l, "line %u: rule '%.*s' never decides: rule '%.*s' (line %u) allows all that it allows",
			      rule->line, ALL(rule->name), ALL(earlier->name), earlier->line);
	}
	return err;
}

struct writ_err *
policy_lint(const struct policy *policy, struct writ_buf *ret, unsigned *ret_n)
{
	const struct writ_bytes *everybody = first_that(&policy->roles[ROLE_OPERATOR], is_everybody);
	struct linter l = { .out = ret };
	struct writ_err *err = NULL;

	*ret_n = 0;
	if (policy->n_rules == 0)
		err = remark(&l, "no rule: everything is denied");
	if (!err && policy->roles[ROLE_OPERATOR].n == 0)
		err = remark(&l, "no operator: nobody may revoke what others delegated");
	if (!err && everybody)
		err = remark(&l, "role operator: '%.*s' is everybody of a kind", WRIT_FMT(*everybody));
	for (size_t i = 0; i < policy->n_rules && !err; i++)
		err = lint_rule(&l, policy, &policy->rules[i]);
	*ret_n = l.n;
	return err;
}
