/*
 * Cases: see cases.h.  From the bottom up: grants, requests, what is expected, the file; then facts and judgement.
 *
 * Names in a request are taken as they stand, canonical or not: that a policy refuses the others is a case like any
 * other.  What is the issuer's own - the authority of a parent's leaf - is checked here, as it is when it is granted.
 */
#include "policy/cases.h"

#include <stdlib.h>

#include "base/text.h"
#include "policy/reader.h"
#include "policy/within.h"

#define ARENA_MAX (8 * 1024 * 1024)  /* bytes, as a policy's */
#define TIMES_MAX_S (30 * 24 * 3600) /* also what is refused, being too long, must be sayable */
#define CASE_DEPTH_MAX 255	     /* as above */
#define ENDS_DEFAULT_S 3600	     /* the API's, of a task */
#define PARENT_LEAF_DEFAULT_S 300
#define TIME_LAST 253402300799 /* 9999-12-31T23:59:59Z */

static const char *const acts[] = { [ACT_DELEGATE] = "delegate", [ACT_ISSUE] = "issue", [ACT_RENEW] = "renew" };
static const char *const verdicts[] = {
	[VERDICT_DENY] = "deny",
	[VERDICT_ALLOW] = "allow",
	[VERDICT_RETRY] = "retry",
	[VERDICT_PENDING] = "pending", /* until others approve */
};

struct expected {
	enum verdict_kind verdict;
	bool has_rule, has_value, has_limit, has_hint;
	struct writ_bytes rule, value, limit, hint;
	uint64_t line;	     /* 0: not said */
	uint32_t lifetime_s; /* 0: not said */
};

struct one_case {
	struct writ_bytes name;
	unsigned line;
	enum policy_act act;
	struct writ_bytes delegator, agent;
	enum principal_kind kind;
	struct grant grant;
	unsigned depth;
	uint32_t ends_s, task_ends_s, lifetime_s;
	bool has_parent;
	struct grant parent_grant;
	unsigned parent_depth;
	uint32_t parent_ends_s, parent_leaf_s;
	struct expected expected;
};

struct cases {
	struct yaml yaml;
	struct writ_arena arena;
	writ_time now;
	bool has_now;
	size_t n;
	struct one_case *list;
};

/* ---- grants ---- */

static struct writ_err *
as_it_stands(struct writ_bytes text)
{
	(void)text;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
read_texts(const struct reader *r, const struct yaml_node *map, const char *key, size_t max, struct texts *ret)
{
	const struct yaml_node *node = yaml_get(map, key);

	return node ? reader_texts(r, node, key, max, as_it_stands, ret) : NULL;
}

WRIT_CHECKED static struct writ_err *
read_constraints(const struct reader *r, const struct yaml_node *map, struct constraints *ret)
{
	const struct yaml_node *node = yaml_get(map, "constraints");

	return node ? reader_constraints(r, node, ret) : NULL;
}

WRIT_CHECKED static struct writ_err *
read_entitlement(const struct reader *r, const struct yaml_node *item, struct entitlement *ret)
{
	static const char *const keys[] = { "actions", "resources", "delegable", "constraints", NULL };
	const struct yaml_node *node;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "scope", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, item, keys);
	if (!err)
		err = read_texts(r, item, "actions", ACTIONS_MAX, &ret->actions);
	if (!err)
		err = read_texts(r, item, "resources", RESOURCES_MAX, &ret->resources);
	node = err ? NULL : yaml_get(item, "delegable");
	if (node)
		err = yaml_bool(r->yaml, node, "delegable", &ret->delegable);
	return err ? err : read_constraints(r, item, &ret->constraints);
}

static bool
has_empty(const struct grant *grant)
{
	for (size_t i = 0; i < grant->n_entitlements; i++)
		if (grant->entitlements[i].actions.n == 0 || grant->entitlements[i].resources.n == 0)
			return true;
	return grant->n_entitlements == 0 || grant->audience.n == 0;
}

/* `scope`, `audience` and `constraints` of a request or a parent, in canonical order. */
WRIT_CHECKED static struct writ_err *
read_grant(const struct reader *r, const struct yaml_node *map, struct grant *ret)
{
	const struct yaml_node *scope = yaml_get(map, "scope");
	struct grant grant = { 0 };
	struct writ_err *err = NULL;
	struct entitlement *list;

	if (scope) {
		err = reader_list(r, scope, "scope", ENTITLEMENTS_MAX);
		if (err)
			return err;
		list = writ_arena_take(r->arena, scope->n_items * sizeof(*list));
		if (!list)
			return reader_no_room(r);
		for (const struct yaml_node *item = scope->first; item && !err; item = item->next)
			err = read_entitlement(r, item, &list[grant.n_entitlements++]);
		grant.entitlements = list;
	}
	if (!err)
		err = read_texts(r, map, "audience", AUDIENCE_MAX, &grant.audience);
	if (!err)
		err = read_constraints(r, map, &grant.constraints);
	if (err)
		return err;
	*ret = grant; /* an empty list is for S3 to refuse, which comes first of all */
	if (has_empty(&grant))
		return NULL;
	err = grant_canonical(&grant, r->arena, ret);
	return err ? reader_at_place(r, map, err) : NULL;
}

/* ---- requests ---- */

WRIT_CHECKED static struct writ_err *
read_text(const struct reader *r, const struct yaml_node *map, const char *key, struct writ_bytes *ret)
{
	struct yaml_node *node;
	struct writ_err *err = reader_needed(r, map, key, &node);

	return err ? err : yaml_text(r->yaml, node, key, ret);
}

/* Absent: `*ret` stays. */
WRIT_CHECKED static struct writ_err *
read_seconds(const struct reader *r, const struct yaml_node *map, const char *key, uint32_t min_s, uint32_t *ret)
{
	const struct yaml_node *node = yaml_get(map, key);

	return node ? yaml_duration(r->yaml, node, key, min_s, TIMES_MAX_S, ret) : NULL;
}

WRIT_CHECKED static struct writ_err *
read_depth(const struct reader *r, const struct yaml_node *map, uint64_t max, unsigned *ret)
{
	const struct yaml_node *node = yaml_get(map, "depth");
	uint64_t depth = 0;
	struct writ_err *err = node ? yaml_number(r->yaml, node, "depth", 0, max, &depth) : NULL;

	*ret = (unsigned)depth;
	return err;
}

WRIT_CHECKED static struct writ_err *
read_act(const struct reader *r, const struct yaml_node *map, enum policy_act *ret)
{
	const struct yaml_node *node = yaml_get(map, "act");
	struct writ_bytes text;
	struct writ_err *err;

	*ret = ACT_DELEGATE;
	if (!node)
		return NULL;
	err = yaml_text(r->yaml, node, "act", &text);
	if (err)
		return err;
	for (size_t i = 0; i < N_OF(acts); i++)
		if (writ_equal(text, writ_str(acts[i]))) {
			*ret = (enum policy_act)i;
			return NULL;
		}
	return yaml_fail(r->yaml, node, "act: '%.*s' is not delegate, issue or renew", WRIT_FMT(text));
}

/* What the delegating agent's leaf was granted: it must be what a leaf can hold. */
WRIT_CHECKED static struct writ_err *
read_parent(const struct reader *r, const struct yaml_node *map, struct one_case *c)
{
	static const char *const keys[] = { "scope", "audience", "constraints", "depth", "ends", "leaf", NULL };
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, map, "parent", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, map, keys);
	if (!err)
		err = read_grant(r, map, &c->parent_grant);
	if (!err) {
		err = grant_check(&c->parent_grant);
		if (err)
			return reader_at_place(r, map, err);
	}
	if (!err)
		err = read_depth(r, map, DEPTH_MAX, &c->parent_depth);
	c->has_parent = true;
	c->parent_ends_s = ENDS_DEFAULT_S;
	c->parent_leaf_s = PARENT_LEAF_DEFAULT_S;
	if (!err)
		err = read_seconds(r, map, "ends", 1, &c->parent_ends_s);
	if (c->parent_leaf_s > c->parent_ends_s)
		c->parent_leaf_s = c->parent_ends_s;
	return err ? err : read_seconds(r, map, "leaf", 0, &c->parent_leaf_s);
}

WRIT_CHECKED static struct writ_err *
read_request(const struct reader *r, const struct yaml_node *map, struct one_case *c)
{
	static const char *const keys[] = { "act",	"delegator",   "kind",	"agent", "scope",
					    "audience", "constraints", "depth", "ends",	 "task_ends",
					    "lifetime", "parent",      NULL };
	const struct yaml_node *parent;
	struct writ_bytes kind;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, map, "request", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, map, keys);
	if (!err)
		err = read_act(r, map, &c->act);
	if (!err)
		err = read_text(r, map, "delegator", &c->delegator);
	if (!err)
		err = read_text(r, map, "kind", &kind);
	if (!err && !principal_kind_from(kind, &c->kind))
		err = yaml_fail(r->yaml, yaml_get(map, "kind"), "kind: '%.*s' is not human, service or agent",
				WRIT_FMT(kind));
	if (!err)
		err = read_text(r, map, "agent", &c->agent);
	if (!err)
		err = read_grant(r, map, &c->grant);
	if (!err)
		err = read_depth(r, map, CASE_DEPTH_MAX, &c->depth);
	parent = err ? NULL : yaml_get(map, "parent");
	if (parent)
		err = read_parent(r, parent, c);
	c->ends_s = c->has_parent ? c->parent_ends_s : ENDS_DEFAULT_S; /* as the API has it */
	if (!err)
		err = read_seconds(r, map, "ends", 1, &c->ends_s);
	c->task_ends_s = c->ends_s > c->parent_ends_s ? c->ends_s : c->parent_ends_s;
	if (!err)
		err = read_seconds(r, map, "task_ends", 1, &c->task_ends_s);
	return err ? err : read_seconds(r, map, "lifetime", 1, &c->lifetime_s);
}

/* ---- what is expected ---- */

WRIT_CHECKED static struct writ_err *
read_verdict(const struct reader *r, const struct yaml_node *node, enum verdict_kind *ret)
{
	struct writ_bytes text;
	struct writ_err *err = yaml_text(r->yaml, node, "expect", &text);

	if (err)
		return err;
	for (size_t i = 0; i < N_OF(verdicts); i++)
		if (writ_equal(text, writ_str(verdicts[i]))) {
			*ret = (enum verdict_kind)i;
			return NULL;
		}
	return yaml_fail(r->yaml, node, "expect: '%.*s' is not allow, deny, retry or pending", WRIT_FMT(text));
}

WRIT_CHECKED static struct writ_err *
read_claim(const struct reader *r, const struct yaml_node *map, const char *key, bool *ret_has, struct writ_bytes *ret)
{
	const struct yaml_node *node = yaml_get(map, key);
	struct writ_err *err = node ? yaml_text(r->yaml, node, key, ret) : NULL;

	if (!err && node && !writ_is_clean_utf8(*ret))
		return yaml_fail(r->yaml, node, "%s: holds control characters", key);
	*ret_has = node != NULL;
	return err;
}

/* "allow", or {verdict: deny, rule: ..., value: ..., limit: ...}. */
WRIT_CHECKED static struct writ_err *
read_expected(const struct reader *r, const struct yaml_node *node, struct expected *ret)
{
	static const char *const keys[] = { "verdict", "rule", "value", "limit", "hint", "line", "lifetime", NULL };
	const struct yaml_node *line;
	struct yaml_node *verdict;
	struct writ_err *err;

	if (node->kind == YAML_TEXT)
		return read_verdict(r, node, &ret->verdict);
	err = yaml_kind_is(r->yaml, node, "expect", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, node, keys);
	if (!err)
		err = reader_needed(r, node, "verdict", &verdict);
	if (!err)
		err = read_verdict(r, verdict, &ret->verdict);
	if (!err)
		err = read_claim(r, node, "rule", &ret->has_rule, &ret->rule);
	if (!err)
		err = read_claim(r, node, "value", &ret->has_value, &ret->value);
	if (!err)
		err = read_claim(r, node, "limit", &ret->has_limit, &ret->limit);
	if (!err)
		err = read_claim(r, node, "hint", &ret->has_hint, &ret->hint);
	line = err ? NULL : yaml_get(node, "line");
	if (line)
		err = yaml_number(r->yaml, line, "line", 1, YAML_BYTES_MAX, &ret->line);
	return err ? err : read_seconds(r, node, "lifetime", 1, &ret->lifetime_s);
}

/* ---- the file ---- */

static struct writ_err *
name_check(struct writ_bytes name)
{
	if (name.len == 0 || name.len > CASE_NAME_MAX)
		return writ_fail(WRIT_INVALID, "name '%.*s' has %zu octets, 1 to %d", WRIT_FMT(name), name.len,
				 CASE_NAME_MAX);
	if (!writ_is_clean_utf8(name) || memchr(name.data, '#', name.len))
		return writ_fail(WRIT_INVALID, "name '%.*s' holds a control character or '#'", WRIT_FMT(name));
	return NULL;
}

WRIT_CHECKED static struct writ_err *
read_case(const struct reader *r, const struct yaml_node *item, struct one_case *c)
{
	static const char *const keys[] = { "name", "request", "expect", NULL };
	struct yaml_node *node;
	struct writ_err *err;

	c->line = item->line;
	err = yaml_kind_is(r->yaml, item, "cases", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, item, keys);
	if (!err)
		err = read_text(r, item, "name", &c->name);
	if (err)
		return err;
	err = name_check(c->name);
	if (err)
		return reader_at_place(r, yaml_get(item, "name"), err);
	err = reader_needed(r, item, "request", &node);
	if (!err)
		err = read_request(r, node, c);
	if (!err)
		err = reader_needed(r, item, "expect", &node);
	return err ? err : read_expected(r, node, &c->expected);
}

WRIT_CHECKED static struct writ_err *
read_list(const struct reader *r, const struct yaml_node *node, struct cases *cases)
{
	struct writ_err *err = reader_list(r, node, "cases", CASES_MAX);

	if (err)
		return err;
	cases->list = writ_arena_take(r->arena, node->n_items * sizeof(*cases->list));
	if (!cases->list)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		struct one_case *c = &cases->list[cases->n];
		size_t twin;

		err = read_case(r, item, c);
		if (err)
			return err;
		if (cases_find(cases, c->name, &twin))
			return yaml_fail(r->yaml, yaml_get(item, "name"), "name '%.*s' is there already, in line %u",
					 WRIT_FMT(c->name), cases->list[twin].line);
		cases->n++;
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
read_cases(const struct reader *r, struct cases *cases)
{
	static const char *const keys[] = { "version", "now", "cases", NULL };
	const struct yaml_node *root = r->yaml->root;
	struct yaml_node *node;
	struct writ_bytes text;
	struct writ_err *err;
	uint64_t version;

	if (!root)
		return writ_fail(WRIT_INVALID, "%s: is empty: version and cases are needed", r->yaml->name);
	err = yaml_kind_is(r->yaml, root, "cases", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, root, keys);
	if (!err)
		err = reader_needed(r, root, "version", &node);
	if (!err)
		err = yaml_number(r->yaml, node, "version", 1, 1, &version);
	if (err)
		return err;
	node = yaml_get(root, "now");
	if (node) {
		err = yaml_text(r->yaml, node, "now", &text);
		if (err)
			return err;
		cases->has_now = writ_time_from_rfc3339(text, &cases->now) && cases->now <= TIME_LAST - 2 * TIMES_MAX_S;
		if (!cases->has_now)
			return yaml_fail(r->yaml, node, "now: '%.*s' is not a time like 2026-11-23T20:51:37Z",
					 WRIT_FMT(text));
	}
	err = reader_needed(r, root, "cases", &node);
	return err ? err : read_list(r, node, cases);
}

struct writ_err *
cases_parse(const char *name, struct writ_bytes text, struct cases **ret)
{
	AUTO(cases_freep) struct cases *cases = calloc(1, sizeof(*cases));
	struct reader reader;
	struct writ_err *err;

	*ret = NULL;
	if (!cases)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory", name);
	cases->arena = WRIT_ARENA(ARENA_MAX);
	err = yaml_parse(&cases->yaml, name, text);
	if (err)
		return err;
	reader = (struct reader){ &cases->yaml, &cases->arena };
	err = read_cases(&reader, cases);
	if (err)
		return err;
	cases->yaml.name = NULL; /* was borrowed for the messages above */
	*ret = TAKE(cases);
	return NULL;
}

void
cases_free(struct cases *cases)
{
	if (!cases)
		return;
	yaml_done(&cases->yaml);
	writ_arena_done(&cases->arena);
	free(cases);
}

void
cases_freep(struct cases **cases)
{
	cases_free(*cases);
	*cases = NULL;
}

size_t
cases_n(const struct cases *cases)
{
	return cases->n;
}

struct writ_bytes
cases_name(const struct cases *cases, size_t i)
{
	return cases->list[i].name;
}

unsigned
cases_line(const struct cases *cases, size_t i)
{
	return cases->list[i].line;
}

bool
cases_find(const struct cases *cases, struct writ_bytes name, size_t *ret)
{
	for (size_t i = 0; i < cases->n; i++)
		if (writ_equal(cases->list[i].name, name)) {
			*ret = i;
			return true;
		}
	return false;
}

writ_time
cases_now(const struct cases *cases, writ_time now)
{
	return cases->has_now ? cases->now : now;
}

/* ---- facts and judgement ---- */

struct writ_err *
cases_facts(const struct cases *cases, size_t i, writ_time now, struct writ_arena *arena, struct case_facts *ret)
{
	const struct one_case *c = &cases->list[i];
	struct writ_err *err;

	*ret = (struct case_facts){
		.facts = { .act = c->act,
			   .delegator = c->delegator,
			   .delegator_kind = c->kind,
			   .agent = c->agent,
			   .depth = c->depth,
			   .edge_not_after = now + c->ends_s,
			   .task_ends = now + c->task_ends_s,
			   .lifetime_s = c->lifetime_s,
			   .parent_liveness = c->has_parent },
		.parent = { .grant = &c->parent_grant,
			    .depth_remaining = c->parent_depth,
			    .hop_not_after = now + c->parent_ends_s,
			    .newest_leaf = c->parent_leaf_s ? now + c->parent_leaf_s - 1 : 0 },
		.grant = c->grant,
	};
	ret->facts.grant = &ret->grant;
	if (!c->has_parent)
		return NULL;
	ret->facts.parent = &ret->parent;
	err = grant_check(&c->grant);
	if (err) { /* refused by its names, before anything is copied down */
		writ_err_free(err);
		return NULL;
	}
	return grant_inherit(&c->grant, &c->parent_grant, arena, &ret->grant);
}

WRIT_CHECKED static struct writ_err *
differ(struct writ_buf *why, const char *what, struct writ_bytes got, struct writ_bytes expected, bool *same)
{
	if (writ_equal(got, expected))
		return NULL;
	*same = false;
	return writ_buf_printf(why, "%s: got '%.*s', expected '%.*s'\n", what, ALL(got), ALL(expected));
}

WRIT_CHECKED static struct writ_err *
differ_number(struct writ_buf *why, const char *what, uint64_t got, uint64_t expected, bool *same)
{
	if (got == expected)
		return NULL;
	*same = false;
	return writ_buf_printf(why, "%s: got %llu, expected %llu\n", what, (unsigned long long)got,
			       (unsigned long long)expected);
}

struct writ_err *
cases_judge(const struct cases *cases, size_t i, writ_time now, const struct verdict *v, struct writ_buf *why,
	    bool *ret_as_expected)
{
	const struct expected *x = &cases->list[i].expected;
	const uint32_t lifetime_s = v->not_after ? (uint32_t)(v->not_after - now + 1) : v->max_lifetime_s;
	struct writ_err *err;

	*ret_as_expected = true;
	err = differ(why, "verdict", writ_str(verdicts[v->kind]), writ_str(verdicts[x->verdict]), ret_as_expected);
	if (!err && x->has_rule)
		err = differ(why, "rule", writ_str(v->rule), x->rule, ret_as_expected);
	if (!err && x->has_value)
		err = differ(why, "value", writ_str(v->value), x->value, ret_as_expected);
	if (!err && x->has_limit)
		err = differ(why, "limit", writ_str(v->limit), x->limit, ret_as_expected);
	if (!err && x->has_hint)
		err = differ(why, "hint", writ_str(v->hint), x->hint, ret_as_expected);
	if (!err && x->line)
		err = differ_number(why, "line", v->line, x->line, ret_as_expected);
	if (!err && x->lifetime_s)
		err = differ_number(why, "lifetime", lifetime_s, x->lifetime_s, ret_as_expected);
	/* What was got is told whole when anything differs, so that the case can be mended in one go. */
	if (!err && !*ret_as_expected && v->kind == VERDICT_ALLOW)
		err = writ_buf_printf(why, "got: allow by rule '%s' (line %u), %u s\n", v->rule, v->line, lifetime_s);
	else if (!err && !*ret_as_expected)
		err = writ_buf_printf(why, "got: %s %s: %s; limit: %s; %s\n", verdicts[v->kind], v->rule, v->value,
				      v->limit, v->hint);
	return err;
}
