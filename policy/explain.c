/*
 * A decision told to people: what was asked, rule by rule why it falls as it does, the verdict.
 *
 * Decides nothing: it asks the functions that decide.  One fact a line.
 */
#include "policy/rules.h"
#include "policy/within.h"

/* ---- explain ---- */

static struct writ_err *
explain_pending(const struct verdict *v, struct writ_buf *ret)
{
	struct writ_err *err;

	err = writ_buf_printf(ret,
			      "verdict: pending by rule '%s' (line %u): %u approval%s within %u s, by others than the "
			      "delegator; then leaves of at most %u s%s\n",
			      v->rule, v->line, v->approvals, v->approvals == 1 ? "" : "s", v->approve_within_s,
			      v->max_lifetime_s,
			      v->no_rev_avail ? ", without a status to look up (noRevAvail)" : "");
	for (size_t i = 0; i < v->approvers.n && !err; i++)
		err = writ_buf_printf(ret, "  may approve: %.*s\n", ALL(v->approvers.list[i]));
	return err;
}

static struct writ_err *
explain_verdict(const struct verdict *v, struct writ_buf *ret)
{
	const char *without = v->no_rev_avail ? ", without a status to look up (noRevAvail)" : "";
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1];

	switch (v->kind) {
	case VERDICT_ALLOW:
		if (v->not_after)
			return writ_buf_printf(ret, "verdict: allowed by rule '%s' (line %u): a leaf from %s to %s%s\n",
					       v->rule, v->line, writ_time_rfc3339(v->not_before, from),
					       writ_time_rfc3339(v->not_after, to), without);
		return writ_buf_printf(ret, "verdict: allowed by rule '%s' (line %u): leaves of at most %u s%s\n",
				       v->rule, v->line, v->max_lifetime_s, without);
	case VERDICT_PENDING:
		return explain_pending(v, ret);
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

	if (failures == 0 && facts->act == ACT_DELEGATE && rule->approvals > 0)
		return writ_buf_printf(ret, "rule '%.*s' (line %u): allows with %u approval%s\n", ALL(rule->name),
				       rule->line, rule->approvals, rule->approvals == 1 ? "" : "s");
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

WRIT_CHECKED static struct writ_err *
tell_texts(const char *before, const struct texts *texts, struct writ_buf *ret)
{
	struct writ_err *err = writ_buf_printf(ret, "%s", before);

	for (size_t i = 0; i < texts->n && !err; i++)
		err = writ_buf_printf(ret, "%s%.*s", i > 0 ? ", " : "", ALL(texts->list[i]));
	return err;
}

WRIT_CHECKED static struct writ_err *
tell_constraints(const struct constraints *constraints, struct writ_buf *ret)
{
	struct writ_err *err = NULL;
	char text[WORDS_MAX];

	for (size_t i = 0; i < constraints->n && !err; i++) {
		constraint_words(&constraints->list[i], text);
		err = writ_buf_printf(ret, "%s%s", i > 0 ? ", " : "; under ", text);
	}
	return err;
}

/* A grant, a line an entitlement. */
WRIT_CHECKED static struct writ_err *
tell_grant(const char *who, const struct grant *grant, struct writ_buf *ret)
{
	struct writ_err *err = grant_check(grant);
	char before[32];

	if (err) { /* the verdict says why; its names may play tricks on a terminal */
		writ_err_free(err);
		return writ_buf_printf(ret, "  %s: a grant that is not in canonical form\n", who);
	}
	words(before, sizeof(before), "  %s: ", who);
	for (size_t i = 0; i < grant->n_entitlements && !err; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		err = tell_texts(before, &e->actions, ret);
		if (!err)
			err = tell_texts(" on ", &e->resources, ret);
		if (!err && e->delegable)
			err = writ_buf_add(ret, WRIT_LIT("; delegable"));
		if (!err)
			err = tell_constraints(&e->constraints, ret);
		if (!err)
			err = writ_buf_add(ret, WRIT_LIT("\n"));
	}
	words(before, sizeof(before), "  %s audience: ", who);
	if (!err)
		err = tell_texts(before, &grant->audience, ret);
	if (!err)
		err = tell_constraints(&grant->constraints, ret);
	return err ? err : writ_buf_add(ret, WRIT_LIT("\n"));
}

/* All that is decided on, but who and depth. */
WRIT_CHECKED static struct writ_err *
explain_request(const struct policy_facts *facts, writ_time now, struct writ_buf *ret)
{
	const struct policy_parent *parent = facts->parent;
	struct writ_err *err = tell_grant("asked", facts->grant, ret);

	if (!err)
		err = writ_buf_printf(ret, "  ends in %lld s, the task in %lld s",
				      (long long)(facts->edge_not_after - now), (long long)(facts->task_ends - now));
	if (!err && facts->act != ACT_DELEGATE && facts->lifetime_s)
		err = writ_buf_printf(ret, "; a lifetime of %u s", facts->lifetime_s);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("\n"));
	if (err || !parent)
		return err;
	err = tell_grant("parent", parent->grant, ret);
	if (!err)
		err = writ_buf_printf(ret, "  parent: depth %u, ends in %lld s, ", parent->depth_remaining,
				      (long long)(parent->hop_not_after - now));
	if (!err && parent->newest_leaf)
		return writ_buf_printf(ret, "its leaf in %lld s\n", (long long)(parent->newest_leaf - now));
	return err ? err : writ_buf_add(ret, WRIT_LIT("without a live leaf\n"));
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
	if (!err)
		err = explain_request(facts, now, ret);
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
