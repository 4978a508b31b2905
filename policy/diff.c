/*
 * Two policies compared: what differs in meaning, a line each.
 *
 * Rules are matched by name.  A changed rule is told item by item, after a line that says whether it allows less, more
 * or something else, as far as covering tells (4.2).  Line numbers are the file's that has the rule.
 */
#include "policy/rules.h"
#include "policy/within.h"

struct differ {
	struct writ_buf *out;
	unsigned n;
};

WRIT_CHECKED WRIT_PRINTF(2, 3) static struct writ_err *differs(struct differ *d, const char *fmt, ...)
{
	char line[1400]; /* a role or a rule's name, and a pattern of 512 octets */
	va_list args;

	va_start(args, fmt);
	words_va(line, sizeof(line), fmt, args);
	va_end(args);
	d->n++;
	return writ_buf_printf(d->out, "%s\n", line);
}

static const struct rule *
rule_named(const struct policy *policy, struct writ_bytes name)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (writ_equal(policy->rules[i].name, name))
			return &policy->rules[i];
	return NULL;
}

static bool
has(const struct texts *texts, struct writ_bytes text)
{
	for (size_t i = 0; i < texts->n; i++)
		if (writ_equal(texts->list[i], text))
			return true;
	return false;
}

/* What one list has and the other has not; `what` comes before, with its rule. */
WRIT_CHECKED static struct writ_err *
diff_texts(struct differ *d, const char *what, const struct texts *before, const struct texts *after)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; i < before->n && !err; i++)
		if (!has(after, before->list[i]))
			err = differs(d, "%s: - '%.*s'", what, ALL(before->list[i]));
	for (size_t i = 0; i < after->n && !err; i++)
		if (!has(before, after->list[i]))
			err = differs(d, "%s: + '%.*s'", what, ALL(after->list[i]));
	return err;
}

/* ---- entitlements ---- */

static bool
same_texts(const struct texts *a, const struct texts *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!has(b, a->list[i]))
			return false;
	return true; /* neither has one twice */
}

static bool
same_constraints(const struct constraints *a, const struct constraints *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		size_t k = 0;

		while (k < b->n &&
		       !(constraint_implies(&a->list[i], &b->list[k]) && constraint_implies(&b->list[k], &a->list[i])))
			k++;
		if (k == b->n)
			return false;
	}
	return true;
}

static bool
has_entitlement(const struct grant *grant, const struct entitlement *e)
{
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *f = &grant->entitlements[i];

		if (e->delegable == f->delegable && same_texts(&e->actions, &f->actions) &&
		    same_texts(&e->resources, &f->resources) && same_constraints(&e->constraints, &f->constraints))
			return true;
	}
	return false;
}

/* A text that grows; full, it ends in "...". */
struct line {
	char text[1100];
	size_t len;
};

WRIT_PRINTF(2, 3)
static void
append(struct line *l, const char *fmt, ...)
{
	va_list args;

	if (l->len + 8 > sizeof(l->text))
		return;
	va_start(args, fmt);
	words_va(l->text + l->len, sizeof(l->text) - l->len, fmt, args);
	va_end(args);
	l->len += strlen(l->text + l->len);
}

/* As constraint_words(), but every network and value, so that a difference is seen. */
static void
append_constraint(struct line *l, const struct constraint *c)
{
	char text[WORDS_MAX];

	if (c->kind != CONSTRAINT_SOURCE_NET && c->kind != CONSTRAINT_PARAM_IN) {
		constraint_words(c, text);
		append(l, "%s", text);
		return;
	}
	if (c->kind == CONSTRAINT_SOURCE_NET)
		append(l, "source_net");
	else
		append(l, "%.*s in", ALL(c->name));
	for (size_t i = 0; i < c->n_values; i++) {
		append(l, "%s", i > 0 ? ", " : " {");
		if (c->kind == CONSTRAINT_SOURCE_NET)
			append(l, "%s", net_words(c->values[i], text));
		else
			append(l, "'%.*s'", ALL(c->values[i]));
	}
	append(l, "}");
}

/* "a:read, a:write on https://h/x; delegable; under n <= 1" */
static void
entitlement_words(const struct entitlement *e, struct line *l)
{
	*l = (struct line){ .len = 0 };
	for (size_t i = 0; i < e->actions.n; i++)
		append(l, "%s%.*s", i > 0 ? ", " : "", ALL(e->actions.list[i]));
	for (size_t i = 0; i < e->resources.n; i++)
		append(l, "%s%.*s", i > 0 ? ", " : " on ", ALL(e->resources.list[i]));
	if (e->delegable)
		append(l, "; delegable");
	for (size_t i = 0; i < e->constraints.n; i++) {
		append(l, "%s", i > 0 ? ", " : "; under ");
		append_constraint(l, &e->constraints.list[i]);
	}
}

WRIT_CHECKED static struct writ_err *
diff_entitlements(struct differ *d, const char *what, const struct grant *before, const struct grant *after)
{
	struct writ_err *err = NULL;
	struct line line;

	for (size_t i = 0; i < before->n_entitlements && !err; i++) {
		if (has_entitlement(after, &before->entitlements[i]))
			continue;
		entitlement_words(&before->entitlements[i], &line);
		err = differs(d, "%s: entitlements: - %s", what, line.text);
	}
	for (size_t i = 0; i < after->n_entitlements && !err; i++) {
		if (has_entitlement(before, &after->entitlements[i]))
			continue;
		entitlement_words(&after->entitlements[i], &line);
		err = differs(d, "%s: entitlements: + %s", what, line.text);
	}
	return err;
}

/* ---- rules ---- */

WRIT_CHECKED static struct writ_err *
diff_items(struct differ *d, const char *what, const struct rule *a, const struct rule *b)
{
	static const char *const no_yes[] = { "false", "true" };
	char list[80];
	struct writ_err *err = NULL;

	if (a->kind != b->kind)
		err = differs(d, "%s: kind: %s -> %s", what, principal_kind_name(a->kind),
			      principal_kind_name(b->kind));
	words(list, sizeof(list), "%s: delegator", what);
	if (!err)
		err = diff_texts(d, list, &a->delegators, &b->delegators);
	words(list, sizeof(list), "%s: agents", what);
	if (!err)
		err = diff_texts(d, list, &a->agents, &b->agents);
	if (!err)
		err = diff_entitlements(d, what, &a->grants, &b->grants);
	words(list, sizeof(list), "%s: audience", what);
	if (!err)
		err = diff_texts(d, list, &a->grants.audience, &b->grants.audience);
	if (!err && a->wildcard_audience != b->wildcard_audience)
		err = differs(d, "%s: wildcard_audience: %s -> %s", what, no_yes[a->wildcard_audience],
			      no_yes[b->wildcard_audience]);
	if (!err && a->max_lifetime_s != b->max_lifetime_s)
		err = differs(d, "%s: max_lifetime: %u s -> %u s", what, a->max_lifetime_s, b->max_lifetime_s);
	if (!err && a->max_grant_s != b->max_grant_s)
		err = differs(d, "%s: max_grant: %u s -> %u s", what, a->max_grant_s, b->max_grant_s);
	if (!err && a->max_depth != b->max_depth)
		err = differs(d, "%s: max_depth: %u -> %u", what, a->max_depth, b->max_depth);
	if (!err && a->no_rev_avail != b->no_rev_avail)
		err = differs(d, "%s: no_rev_avail: %s -> %s", what, no_yes[a->no_rev_avail], no_yes[b->no_rev_avail]);
	if (!err && a->approvals != b->approvals)
		err = differs(d, "%s: approvals: %u -> %u", what, a->approvals, b->approvals);
	words(list, sizeof(list), "%s: approvals by", what);
	if (!err)
		err = diff_texts(d, list, &a->approvers, &b->approvers);
	if (!err && a->approvals > 0 && b->approvals > 0 && a->approve_within_s != b->approve_within_s)
		err = differs(d, "%s: approvals within: %u s -> %u s", what, a->approve_within_s, b->approve_within_s);
	return err;
}

/* The items first, so that it is known whether there are any; they are written behind the line that sums them up. */
WRIT_CHECKED static struct writ_err *
diff_rule(struct differ *d, const struct rule *a, const struct rule *b)
{
	AUTO(writ_buf_done) struct writ_buf items = WRIT_BUF(d->out->limit);
	struct differ inner = { .out = &items };
	const bool less = rule_allows_all_of(a, b), more = rule_allows_all_of(b, a);
	const bool same_approvals = a->approvals == b->approvals && same_texts(&a->approvers, &b->approvers) &&
				    a->approve_within_s == b->approve_within_s;
	char what[64];
	struct writ_err *err;

	words(what, sizeof(what), "rule '%.*s'", ALL(b->name));
	err = diff_items(&inner, what, a, b);
	if (err || inner.n == 0)
		return err;
	err = differs(d, "rule '%.*s' (line %u, was %u): allows %s", ALL(b->name), b->line, a->line,
		      less && more ? (!same_approvals			 ? "the same, under other approvals"
				      : a->no_rev_avail != b->no_rev_avail ? "the same, in leaves with another status"
									 : "the same in other words")
		      : less	   ? "less than before"
		      : more	   ? "more than before"
				   : "other than before");
	d->n += inner.n;
	return err ? err : writ_buf_add(d->out, writ_view(&items));
}

/* Rules that both have, in the order of `after`: where two that stood the other way round follow each other. */
WRIT_CHECKED static struct writ_err *
diff_order(struct differ *d, const struct policy *before, const struct policy *after)
{
	const struct rule *above = NULL, *above_was = NULL;
	struct writ_err *err = NULL;

	for (size_t i = 0; i < after->n_rules && !err; i++) {
		const struct rule *rule = &after->rules[i], *was = rule_named(before, rule->name);

		if (!was)
			continue;
		if (above && above_was > was)
			err = differs(d, "order: rule '%.*s' (line %u) is tried before '%.*s' (line %u) now",
				      ALL(above->name), above->line, ALL(rule->name), rule->line);
		above = rule;
		above_was = was;
	}
	return err;
}

WRIT_CHECKED static struct writ_err *
diff_rules(struct differ *d, const struct policy *before, const struct policy *after)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; i < before->n_rules && !err; i++)
		if (!rule_named(after, before->rules[i].name))
			err = differs(d, "rule '%.*s' (line %u before): gone", ALL(before->rules[i].name),
				      before->rules[i].line);
	for (size_t i = 0; i < after->n_rules && !err; i++) {
		const struct rule *rule = &after->rules[i], *was = rule_named(before, rule->name);

		if (was)
			err = diff_rule(d, was, rule);
		else
			err = differs(d, "rule '%.*s' (line %u): new", ALL(rule->name), rule->line);
	}
	return err ? err : diff_order(d, before, after);
}

struct writ_err *
policy_diff(const struct policy *before, const struct policy *after, struct writ_buf *ret, unsigned *ret_n)
{
	static const char *const no_yes[] = { "false", "true" };
	struct differ d = { .out = ret };
	struct writ_err *err = NULL;

	*ret_n = 0;
	if (!writ_equal(before->id, after->id))
		err = differs(&d, "id: '%.*s' -> '%.*s'", ALL(before->id), ALL(after->id));
	if (!err && before->revision != after->revision)
		err = differs(&d, "revision: %llu -> %llu", (unsigned long long)before->revision,
			      (unsigned long long)after->revision);
	if (!err && before->embed_purpose != after->embed_purpose)
		err = differs(&d, "embed_purpose: %s -> %s", no_yes[before->embed_purpose],
			      no_yes[after->embed_purpose]);
	if (!err)
		err = diff_texts(&d, "role operator", &before->roles[ROLE_OPERATOR], &after->roles[ROLE_OPERATOR]);
	if (!err)
		err = diff_texts(&d, "role auditor", &before->roles[ROLE_AUDITOR], &after->roles[ROLE_AUDITOR]);
	if (!err)
		err = diff_texts(&d, "role responder", &before->roles[ROLE_RESPONDER], &after->roles[ROLE_RESPONDER]);
	if (!err)
		err = diff_rules(&d, before, after);
	*ret_n = d.n;
	return err;
}
