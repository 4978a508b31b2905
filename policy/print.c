/*
 * A policy as YAML again: what was understood, in one fixed form.  Defaults are left out, so that it is no longer in
 * values than what was parsed; texts are quoted always.  What it prints parses to the same policy.
 */
#include "policy/rules.h"

#include "base/text.h"
#include "policy/within.h"

/* A double-quoted text, one line whatever it holds. */
static struct writ_err *
print_text(struct writ_buf *out, struct writ_bytes text)
{
	struct writ_err *err;

	err = writ_buf_add(out, WRIT_LIT("\""));
	while (!err && text.len > 0) {
		uint32_t c = 0;
		size_t n = writ_utf8(text, &c);

		if (n == 0) {
			n = 1; /* cannot be: every text was checked */
			c = '?';
		}
		if (c == '"' || c == '\\')
			err = writ_buf_printf(out, "\\%c", (char)c);
		else if (c == 0xfeff || c == 0xfffe || c == 0xffff) /* YAML has no place for these as they are */
			err = writ_buf_printf(out, "\\u%04x", c);
		else
			err = writ_buf_add(out, (struct writ_bytes){ text.data, n });
		text.data += n;
		text.len -= n;
	}
	return err ? err : writ_buf_add(out, WRIT_LIT("\""));
}

static struct writ_err *
print_texts(struct writ_buf *out, const char *key, const struct texts *texts)
{
	struct writ_err *err;

	err = writ_buf_printf(out, "%s: [", key);
	for (size_t i = 0; i < texts->n && !err; i++) {
		if (i > 0)
			err = writ_buf_add(out, WRIT_LIT(", "));
		if (!err)
			err = print_text(out, texts->list[i]);
	}
	return err ? err : writ_buf_add(out, WRIT_LIT("]"));
}

static struct writ_err *
print_constraint(struct writ_buf *out, const struct constraint *c)
{
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1], net[NET_TEXT_MAX];
	const struct texts values = { c->n_values, c->values };
	struct writ_err *err;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		err = writ_buf_add(out, WRIT_LIT("{source_net: ["));
		for (size_t i = 0; i < c->n_values && !err; i++)
			err = writ_buf_printf(out, "%s\"%s\"", i > 0 ? ", " : "", net_words(c->values[i], net));
		return err ? err : writ_buf_add(out, WRIT_LIT("]}"));
	case CONSTRAINT_WINDOW:
		return writ_buf_printf(out, "{window: {from: \"%s\", to: \"%s\"}}",
				       writ_time_rfc3339(c->not_before, from), writ_time_rfc3339(c->not_after, to));
	case CONSTRAINT_PARAM_IN:
		err = writ_buf_add(out, WRIT_LIT("{param_in: {name: "));
		if (!err)
			err = print_text(out, c->name);
		if (!err)
			err = writ_buf_add(out, WRIT_LIT(", "));
		if (!err)
			err = print_texts(out, "values", &values);
		return err ? err : writ_buf_add(out, WRIT_LIT("}}"));
	case CONSTRAINT_PARAM_MAX:
		err = writ_buf_add(out, WRIT_LIT("{param_max: {name: "));
		if (!err)
			err = print_text(out, c->name);
		return err ? err : writ_buf_printf(out, ", max: %lld}}", (long long)c->max);
	}
	return writ_fail(WRIT_BROKEN, "constraint of unknown kind %d", (int)c->kind);
}

static struct writ_err *
print_entitlement(struct writ_buf *out, const struct entitlement *e)
{
	struct writ_err *err;

	err = print_texts(out, "      - actions", &e->actions);
	if (!err)
		err = print_texts(out, "\n        resources", &e->resources);
	if (!err && e->delegable)
		err = writ_buf_add(out, WRIT_LIT("\n        delegable: true"));
	for (size_t i = 0; i < e->constraints.n && !err; i++) {
		err = writ_buf_printf(out, "%s", i == 0 ? "\n        constraints: [" : ", ");
		if (!err)
			err = print_constraint(out, &e->constraints.list[i]);
	}
	return err ? err : writ_buf_printf(out, "%s\n", e->constraints.n > 0 ? "]" : "");
}

static struct writ_err *
print_approvals(struct writ_buf *out, const struct rule *rule)
{
	struct writ_err *err;

	err = writ_buf_printf(out, "    approvals: {of: %u, ", rule->approvals);
	if (!err)
		err = print_texts(out, "by", &rule->approvers);
	if (!err && rule->approve_within_s != APPROVE_WITHIN_DEFAULT_S)
		err = writ_buf_printf(out, ", within: %us", rule->approve_within_s);
	return err ? err : writ_buf_add(out, WRIT_LIT("}\n"));
}

static struct writ_err *
print_rule(struct writ_buf *out, const struct rule *rule)
{
	struct writ_err *err;

	err = writ_buf_add(out, WRIT_LIT("  - name: "));
	if (!err)
		err = print_text(out, rule->name);
	if (!err)
		err = print_texts(out, "\n    delegator", &rule->delegators);
	if (!err)
		err = writ_buf_printf(out, "\n    kind: %s\n", principal_kind_name(rule->kind));
	if (!err)
		err = print_texts(out, "    agents", &rule->agents);
	if (!err)
		err = writ_buf_add(out, WRIT_LIT("\n    entitlements:\n"));
	for (size_t i = 0; i < rule->grants.n_entitlements && !err; i++)
		err = print_entitlement(out, &rule->grants.entitlements[i]);
	if (!err)
		err = print_texts(out, "    audience", &rule->grants.audience);
	if (!err && rule->wildcard_audience)
		err = writ_buf_add(out, WRIT_LIT("\n    wildcard_audience: true"));
	if (!err)
		err = writ_buf_printf(out, "\n    max_lifetime: %us\n", rule->max_lifetime_s);
	if (!err && rule->max_grant_s != GRANT_DEFAULT_S)
		err = writ_buf_printf(out, "    max_grant: %us\n", rule->max_grant_s);
	if (!err && rule->max_depth != DEPTH_DEFAULT)
		err = writ_buf_printf(out, "    max_depth: %u\n", rule->max_depth);
	if (!err && rule->no_rev_avail)
		err = writ_buf_add(out, WRIT_LIT("    no_rev_avail: true\n"));
	return err || rule->approvals == 0 ? err : print_approvals(out, rule);
}

struct writ_err *
policy_print(const struct policy *policy, struct writ_buf *ret)
{
	static const struct {
		enum policy_role role;
		const char *key;
	} roles[] = { { ROLE_OPERATOR, "  operator" }, { ROLE_AUDITOR, "  auditor" }, { ROLE_RESPONDER, "  responder" } };
	bool headed = false;
	struct writ_err *err;

	err = writ_buf_add(ret, WRIT_LIT("version: 1\nid: "));
	if (!err)
		err = print_text(ret, policy->id);
	if (!err && policy->revision)
		err = writ_buf_printf(ret, "\nrevision: %llu", (unsigned long long)policy->revision);
	if (!err)
		err = writ_buf_printf(ret, "\n%s", policy->embed_purpose ? "" : "embed_purpose: false\n");
	for (size_t i = 0; i < N_OF(roles) && !err; i++) {
		const struct texts *names = &policy->roles[roles[i].role];

		if (names->n == 0)
			continue;
		if (!headed)
			err = writ_buf_add(ret, WRIT_LIT("roles:\n"));
		headed = true;
		if (!err)
			err = print_texts(ret, roles[i].key, names);
		if (!err)
			err = writ_buf_add(ret, WRIT_LIT("\n"));
	}
	if (!err)
		err = writ_buf_printf(ret, "rules:%s\n", policy->n_rules == 0 ? " []" : "");
	for (size_t i = 0; i < policy->n_rules && !err; i++)
		err = print_rule(ret, &policy->rules[i]);
	return err;
}
