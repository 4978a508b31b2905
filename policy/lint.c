/*
 * What in a policy is suspicious, each with its line and what to do.  Decides nothing, and says "never" only of what no
 * request can bring about.
 *
 * Shadowed: the first rule that allows a request decides it, and there are no rules that deny.  So a rule of which an
 * earlier one allows everything never decides; and one of which a later one allows everything limits nothing: what it
 * refuses, the later one grants.  Whether one allows everything of another is asked with the covering of 4.2, list by
 * list; patterns that only together cover are not seen (as S1: sound, incomplete).
 *
 * Reachable: a human's or a service's rule is reached by whoever it names.  An agent delegates what its leaf was
 * granted, so a rule for agents is reached only through another rule that is reached itself, whose agents it names,
 * with depth left, a delegable entitlement and an audience that it shares.  depth[] is the most depth that a delegation
 * of a rule can have; it loses one at each step from the root, so that at most HOPS_MAX rounds find it.
 */
#include "policy/rules.h"

#include <stdlib.h>

#include "policy/within.h"

#define NEVER (-1) /* in depth[] */

struct linter {
	const struct policy *policy;
	struct writ_bytes trust_domain; /* "agents.corp.example"; empty: not told */
	writ_time now;
	struct writ_buf *out;
	unsigned n;
	int *depth; /* by rule */
};

WRIT_CHECKED WRIT_PRINTF(3, 4) static struct writ_err *remark(struct linter *l, unsigned line, const char *fmt, ...)
{
	char text[800];
	va_list args;

	va_start(args, fmt);
	words_va(text, sizeof(text), fmt, args);
	va_end(args);
	l->n++;
	if (line == 0)
		return writ_buf_printf(l->out, "%s\n", text);
	return writ_buf_printf(l->out, "line %u: %s\n", line, text);
}

/* ---- lines: of what the file says, where the parsed rule holds none ---- */

static const struct yaml_node *
nth(const struct yaml_node *list, size_t i)
{
	const struct yaml_node *node = list ? list->first : NULL;

	while (node && i-- > 0)
		node = node->next;
	return node;
}

static const struct yaml_node *
rule_node(const struct linter *l, const struct rule *rule)
{
	return nth(yaml_get(l->policy->yaml.root, "rules"), (size_t)(rule - l->policy->rules));
}

/* Of the i-th item of that list of the rule; of the rule when there is no such list. */
static unsigned
item_line(const struct linter *l, const struct rule *rule, const char *key, size_t i)
{
	const struct yaml_node *map = rule_node(l, rule);
	const struct yaml_node *node = map ? nth(yaml_get(map, key), i) : NULL;

	return node ? node->line : rule->line;
}

/* Of a key of the rule; 0: the file does not say it. */
static unsigned
key_line(const struct linter *l, const struct rule *rule, const char *key)
{
	const struct yaml_node *map = rule_node(l, rule);
	const struct yaml_node *node = map ? yaml_get(map, key) : NULL;

	return node ? node->key_line : 0;
}

/* ---- patterns ---- */

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

static const struct writ_bytes *
first_that(const struct texts *texts, bool (*test)(struct writ_bytes))
{
	for (size_t i = 0; i < texts->n; i++)
		if (test(texts->list[i]))
			return &texts->list[i];
	return NULL;
}

/* "TD" of "spiffe://TD/...". */
static struct writ_bytes
domain_of(struct writ_bytes text)
{
	const size_t before = strlen("spiffe://");
	const uint8_t *from = text.data + before, *slash = memchr(from, '/', text.len - before);

	return (struct writ_bytes){ from, slash ? (size_t)(slash - from) : text.len - before };
}

/* "agent" of "spiffe://TD/agent/..."; empty when nothing or a wildcard follows the trust domain. */
static struct writ_bytes
kind_word(struct writ_bytes text)
{
	const struct writ_bytes domain = domain_of(text);
	const uint8_t *end = text.data + text.len, *from = domain.data + domain.len;
	const uint8_t *slash;

	if (from == end)
		return (struct writ_bytes){ 0 };
	from++;
	slash = memchr(from, '/', (size_t)(end - from));
	return (struct writ_bytes){ from, (size_t)((slash ? slash : end) - from) };
}

/* Does something match both?  Wildcards stand at the end only, so then one of them covers the other. */
static bool
overlap(struct writ_bytes a, struct writ_bytes b, covers_fn *covers)
{
	return covers(a, b) || covers(b, a);
}

static bool
any_overlap(const struct texts *a, const struct texts *b, covers_fn *covers)
{
	for (size_t i = 0; i < a->n; i++)
		for (size_t k = 0; k < b->n; k++)
			if (overlap(a->list[i], b->list[k], covers))
				return true;
	return false;
}

/* ---- shadowed ---- */

bool
rule_allows_all_of(const struct rule *a, const struct rule *b)
{
	return a->kind == b->kind && !first_outside(&b->delegators, &a->delegators, resource_covers) &&
	       !first_outside(&b->agents, &a->agents, resource_covers) &&
	       scope_within(&b->grants, &a->grants, HELD_BY_RULE) &&
	       !first_outside(&b->grants.audience, &a->grants.audience, resource_covers) &&
	       a->wildcard_audience >= b->wildcard_audience && a->max_depth >= b->max_depth &&
	       a->max_grant_s >= b->max_grant_s && a->max_lifetime_s >= b->max_lifetime_s;
}

WRIT_CHECKED static struct writ_err *
lint_shadow(struct linter *l, const struct rule *rule)
{
	const struct rule *rules = l->policy->rules, *end = rules + l->policy->n_rules;

	for (const struct rule *a = rules; a < rule; a++)
		if (rule_allows_all_of(a, rule))
			return remark(l, rule->line,
				      "rule '%.*s' never decides: rule '%.*s' (line %u), tried before it, allows all "
				      "that it allows; remove one of them, or narrow '%.*s'",
				      ALL(rule->name), ALL(a->name), a->line, ALL(a->name));
	for (const struct rule *a = rule + 1; a < end; a++)
		if (a->approvals < rule->approvals && rule_allows_all_of(a, rule) && !rule_allows_all_of(rule, a))
			return remark(
				l, rule->line,
				"rule '%.*s' wants %u approvals, but who asks for a little more than it allows passes "
				"by them: rule '%.*s' (line %u) below wants %u; narrow '%.*s', or have it want them "
				"too",
				ALL(rule->name), rule->approvals, ALL(a->name), a->line, a->approvals, ALL(a->name));
	for (const struct rule *a = rule + 1; a < end; a++)
		if (a->no_rev_avail == rule->no_rev_avail && rule_allows_all_of(a, rule) && !rule_allows_all_of(rule, a))
			return remark(l, rule->line,
				      "rule '%.*s' limits nothing: what it refuses, rule '%.*s' (line %u) below "
				      "allows; narrow '%.*s', or remove one of them",
				      ALL(rule->name), ALL(a->name), a->line, ALL(a->name));
	return NULL;
}

/* ---- reachable ---- */

/* How near `from` comes to letting an agent delegate under `rule`. */
enum step {
	STEP_NO_AGENT,	  /* its agents are not those of `rule` */
	STEP_NO_DEPTH,	  /* they may not delegate */
	STEP_NO_SCOPE,	  /* nothing delegable that `rule` allows */
	STEP_NO_AUDIENCE, /* no audience that `rule` allows */
	STEP_REACHED,
};

/* What an agent of a class can be called: the class with one segment more, or of every class anything below. */
static bool
below_class(struct writ_bytes class, char out[PRINCIPAL_MAX + 3])
{
	const int len = snprintf(out, PRINCIPAL_MAX + 3, resource_is_pattern(class) ? "%.*s*" : "%.*s/*", ALL(class));

	return len > 0 && len < PRINCIPAL_MAX + 3;
}

/* Against a pattern of agents' full ids. */
static bool
class_overlaps(struct writ_bytes class, struct writ_bytes below, struct writ_bytes pattern)
{
	struct spiffe_id id;
	struct writ_err *err;

	if (resource_is_pattern(pattern))
		return overlap(below, pattern, resource_covers);
	err = spiffe_parse(pattern, &id);
	if (!err)
		return principal_matches(class, id.class_uri);
	writ_err_free(err);
	return false;
}

static bool
names_agents_of(const struct rule *rule, const struct rule *from)
{
	char below[PRINCIPAL_MAX + 3];

	for (size_t i = 0; i < from->agents.n; i++) {
		if (!below_class(from->agents.list[i], below))
			return true; /* too long to be looked at: nothing is claimed */
		for (size_t k = 0; k < rule->delegators.n; k++)
			if (class_overlaps(from->agents.list[i], writ_str(below), rule->delegators.list[k]))
				return true;
	}
	return false;
}

static bool
takes_scope_of(const struct rule *rule, const struct rule *from)
{
	for (size_t i = 0; i < from->grants.n_entitlements; i++) {
		const struct entitlement *f = &from->grants.entitlements[i];

		for (size_t k = 0; f->delegable && k < rule->grants.n_entitlements; k++) {
			const struct entitlement *e = &rule->grants.entitlements[k];

			if (any_overlap(&e->actions, &f->actions, action_covers) &&
			    any_overlap(&e->resources, &f->resources, resource_covers))
				return true;
		}
	}
	return false;
}

static enum step
step_from(const struct linter *l, const struct rule *rule, const struct rule *from)
{
	if (!names_agents_of(rule, from))
		return STEP_NO_AGENT;
	if (l->depth[from - l->policy->rules] < 1)
		return STEP_NO_DEPTH;
	if (!takes_scope_of(rule, from))
		return STEP_NO_SCOPE;
	if (!any_overlap(&rule->grants.audience, &from->grants.audience, resource_covers))
		return STEP_NO_AUDIENCE;
	return STEP_REACHED;
}

/* One round: true when some rule was found to reach deeper than before. */
static bool
depths_round(struct linter *l)
{
	const struct policy *p = l->policy;
	bool changed = false;

	for (size_t i = 0; i < p->n_rules; i++)
		for (size_t k = 0; k < p->n_rules; k++) {
			const struct rule *rule = &p->rules[i];
			int below = l->depth[k] - 1;

			if (rule->kind != PRINCIPAL_AGENT)
				break;
			if (below > (int)rule->max_depth)
				below = (int)rule->max_depth;
			if (below <= l->depth[i] || step_from(l, rule, &p->rules[k]) != STEP_REACHED)
				continue;
			l->depth[i] = below;
			changed = true;
		}
	return changed;
}

static void
depths_find(struct linter *l)
{
	const struct policy *p = l->policy;
	unsigned rounds = 0;

	for (size_t i = 0; i < p->n_rules; i++)
		l->depth[i] = p->rules[i].kind == PRINCIPAL_AGENT ? NEVER : (int)p->rules[i].max_depth;
	while (depths_round(l) && ++rounds < HOPS_MAX)
		;
}

WRIT_CHECKED static struct writ_err *
lint_reached(struct linter *l, const struct rule *rule)
{
	static const char *const why[] = {
		[STEP_NO_AGENT] = "no rule lets its delegators be delegated to; name them in another rule's agents",
		[STEP_NO_DEPTH] = "the rules under which its delegators get their leaves leave them no depth; raise "
				  "max_depth there",
		[STEP_NO_SCOPE] = "the rules under which its delegators get their leaves grant nothing delegable that "
				  "this one allows; say delegable there, or correct the entitlements here",
		[STEP_NO_AUDIENCE] = "the rules under which its delegators get their leaves share no audience with "
				     "this one; correct the audience",
	};
	enum step nearest = STEP_NO_AGENT;

	if (l->depth[rule - l->policy->rules] != NEVER)
		return NULL;
	for (size_t i = 0; i < l->policy->n_rules; i++) {
		const enum step step = step_from(l, rule, &l->policy->rules[i]);

		if (step > nearest)
			nearest = step;
	}
	return remark(l, rule->line, "rule '%.*s' can never allow anything: %s", ALL(rule->name), why[nearest]);
}

/* ---- who ---- */

/* Principals are all of one trust domain: a pattern of another matches nobody. */
WRIT_CHECKED static struct writ_err *
lint_domain(struct linter *l, const struct rule *rule, const char *key, const struct texts *list)
{
	const struct writ_bytes ours =
		l->trust_domain.len > 0 ? l->trust_domain : domain_of(l->policy->rules[0].agents.list[0]);
	struct writ_err *err = NULL;

	for (size_t i = 0; i < list->n && !err; i++) {
		if (writ_equal(domain_of(list->list[i]), ours))
			continue;
		if (l->trust_domain.len > 0)
			err = remark(l, item_line(l, rule, key, i),
				     "rule '%.*s': '%.*s' matches nobody: the trust domain is %.*s; correct it",
				     ALL(rule->name), WRIT_FMT(list->list[i]), ALL(ours));
		else
			err = remark(l, item_line(l, rule, key, i),
				     "rule '%.*s': '%.*s' is in another trust domain than '%.*s', so one of them "
				     "matches nobody; correct it (--trust-domain tells which)",
				     ALL(rule->name), WRIT_FMT(list->list[i]),
				     WRIT_FMT(l->policy->rules[0].agents.list[0]));
	}
	return err;
}

/* `approvals` is a map, so that its patterns have its line. */
WRIT_CHECKED static struct writ_err *
lint_approvers(struct linter *l, const struct rule *rule)
{
	const struct texts *list = &rule->approvers;
	const unsigned line = key_line(l, rule, "approvals");
	struct writ_err *err = NULL;

	for (size_t i = 0; i < list->n && !err; i++) {
		if (l->trust_domain.len > 0 && !writ_equal(domain_of(list->list[i]), l->trust_domain))
			err = remark(
				l, line,
				"rule '%.*s': approver '%.*s' matches nobody: the trust domain is %.*s; correct it",
				ALL(rule->name), WRIT_FMT(list->list[i]), ALL(l->trust_domain));
		for (size_t k = 0; k < list->n && !err; k++)
			if (i != k && resource_covers(list->list[k], list->list[i]))
				err = remark(l, line,
					     "rule '%.*s': approver '%.*s' adds nothing to '%.*s'; remove one of them",
					     ALL(rule->name), WRIT_FMT(list->list[i]), WRIT_FMT(list->list[k]));
	}
	return err;
}

/* A pattern that another of the same list covers. */
WRIT_CHECKED static struct writ_err *
lint_covered(struct linter *l, const struct rule *rule, const char *key, const struct texts *list)
{
	for (size_t i = 0; i < list->n; i++)
		for (size_t k = 0; k < list->n; k++)
			if (i != k && resource_covers(list->list[k], list->list[i]))
				return remark(l, item_line(l, rule, key, i),
					      "rule '%.*s': %s '%.*s' adds nothing to '%.*s'; remove one of them",
					      ALL(rule->name), key, WRIT_FMT(list->list[i]), WRIT_FMT(list->list[k]));
	return NULL;
}

/* Attenuation bounds what agents hand on, so that all of them may be named; people and services it does not bound. */
WRIT_CHECKED static struct writ_err *
lint_who(struct linter *l, const struct rule *rule)
{
	const struct writ_bytes *everybody = first_that(&rule->delegators, is_everybody);
	struct writ_err *err = NULL;

	if (everybody && rule->kind != PRINCIPAL_AGENT && first_that(&rule->agents, resource_is_pattern))
		err = remark(l, rule->line,
			     "rule '%.*s': every %s under '%.*s' may delegate to every agent; name who, and to which "
			     "class",
			     ALL(rule->name), principal_kind_name(rule->kind), WRIT_FMT(*everybody));
	else if (everybody && rule->kind != PRINCIPAL_AGENT)
		err = remark(l, rule->line,
			     "rule '%.*s': every %s under '%.*s' may delegate, whoever vouches for them; name an "
			     "alias or a path",
			     ALL(rule->name), principal_kind_name(rule->kind), WRIT_FMT(*everybody));
	for (size_t i = 0; i < rule->delegators.n && !err; i++)
		if (rule->kind == PRINCIPAL_AGENT && !resource_is_pattern(rule->delegators.list[i]))
			err = remark(l, item_line(l, rule, "delegator", i),
				     "rule '%.*s': '%.*s' is one instance, and an instance's name is never used again; "
				     "name its class with /* behind it",
				     ALL(rule->name), WRIT_FMT(rule->delegators.list[i]));
	if (!err)
		err = lint_domain(l, rule, "delegator", &rule->delegators);
	if (!err)
		err = lint_domain(l, rule, "agents", &rule->agents);
	if (!err)
		err = lint_covered(l, rule, "delegator", &rule->delegators);
	if (!err)
		err = lint_covered(l, rule, "agents", &rule->agents);
	if (!err)
		err = lint_approvers(l, rule);
	return err ? err : lint_covered(l, rule, "audience", &rule->grants.audience);
}

/* ---- what ---- */

WRIT_CHECKED static struct writ_err *
lint_windows(struct linter *l, const struct rule *rule, size_t i, unsigned line)
{
	const struct constraints *list = &rule->grants.entitlements[i].constraints;
	char ended[WRIT_RFC3339_LEN + 1];

	for (size_t k = 0; k < list->n; k++)
		if (list->list[k].kind == CONSTRAINT_WINDOW && list->list[k].not_after < l->now)
			return remark(l, line,
				      "rule '%.*s', entitlement %zu: its window ended %s, so what it allows can be "
				      "used no more; set a later one, or remove the entitlement",
				      ALL(rule->name), i + 1, writ_time_rfc3339(list->list[k].not_after, ended));
	return NULL;
}

/* An entitlement that another of the same rule covers. */
WRIT_CHECKED static struct writ_err *
lint_inside(struct linter *l, const struct rule *rule, size_t i, unsigned line)
{
	const struct entitlement *all = rule->grants.entitlements;
	const struct grant inner = { .n_entitlements = 1, .entitlements = &all[i] };

	for (size_t k = 0; k < rule->grants.n_entitlements; k++) {
		const struct grant outer = { .n_entitlements = 1, .entitlements = &all[k] };

		if (k == i || !scope_within(&inner, &outer, HELD_BY_RULE) ||
		    (k > i && scope_within(&outer, &inner, HELD_BY_RULE))) /* of two equal ones the later is told */
			continue;
		return remark(l, line,
			      "rule '%.*s', entitlement %zu: entitlement %zu allows all of it; remove it, or narrow "
			      "the other",
			      ALL(rule->name), i + 1, k + 1);
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
lint_entitlement(struct linter *l, const struct rule *rule, size_t i)
{
	const struct entitlement *e = &rule->grants.entitlements[i];
	const struct writ_bytes *action = first_that(&e->actions, is_whole_action);
	const struct writ_bytes *resource = first_that(&e->resources, is_whole_host);
	const unsigned line = item_line(l, rule, "entitlements", i);
	const bool everything = action && resource && e->constraints.n == 0;
	const bool everybody = rule->kind != PRINCIPAL_AGENT && first_that(&rule->delegators, is_everybody) &&
			       first_that(&rule->agents, resource_is_pattern);
	struct writ_err *err = NULL;

	if (everything && everybody)
		err = remark(
			l, line,
			"rule '%.*s', entitlement %zu allows everything: whatever is under '%.*s' on all of '%.*s', "
			"to every agent, by every %s; narrow it",
			ALL(rule->name), i + 1, WRIT_FMT(*action), WRIT_FMT(*resource),
			principal_kind_name(rule->kind));
	else if (everything)
		err = remark(
			l, line,
			"rule '%.*s', entitlement %zu: every action under '%.*s' on all of '%.*s'; name actions or "
			"a path, or set a constraint",
			ALL(rule->name), i + 1, WRIT_FMT(*action), WRIT_FMT(*resource));
	if (!err && e->delegable && l->depth[rule - l->policy->rules] == 0)
		err = remark(
			l, line,
			rule->max_depth == 0
				? "rule '%.*s', entitlement %zu: delegable, but with max_depth 0 nothing is handed "
				  "on; raise max_depth, or leave delegable out"
				: "rule '%.*s', entitlement %zu: delegable, but its delegators have no depth left "
				  "to hand it on; raise max_depth where they get their leaves, or leave delegable "
				  "out",
			ALL(rule->name), i + 1);
	if (!err)
		err = lint_windows(l, rule, i, line);
	return err ? err : lint_inside(l, rule, i, line);
}

WRIT_CHECKED static struct writ_err *
lint_limits(struct linter *l, const struct rule *rule)
{
	unsigned line = key_line(l, rule, "max_depth");
	bool delegable = false;
	struct writ_err *err = NULL;

	for (size_t i = 0; i < rule->grants.n_entitlements; i++)
		delegable |= rule->grants.entitlements[i].delegable;
	if (line && rule->max_depth > 0 && !delegable)
		err = remark(l, line,
			     "rule '%.*s': max_depth %u, but nothing in it is delegable; set max_depth 0, or say "
			     "delegable",
			     ALL(rule->name), rule->max_depth);
	if (!err && rule->max_grant_s < rule->max_lifetime_s)
		err = remark(l, key_line(l, rule, "max_lifetime"),
			     "rule '%.*s': max_lifetime %u s is never reached: its delegations end after max_grant, "
			     "%u s; set one to the other",
			     ALL(rule->name), rule->max_lifetime_s, rule->max_grant_s);
	line = key_line(l, rule, "wildcard_audience");
	if (!err && rule->wildcard_audience && !first_that(&rule->grants.audience, resource_is_pattern))
		err = remark(l, line,
			     "rule '%.*s': wildcard_audience is of no use: no audience of it holds a wildcard; leave "
			     "it out",
			     ALL(rule->name));
	else if (!err && rule->wildcard_audience)
		err = remark(l, line,
			     "rule '%.*s': a leaf may name an audience by wildcard; leave wildcard_audience out where "
			     "each can be named",
			     ALL(rule->name));
	if (!err && rule->no_rev_avail)
		err = remark(l, key_line(l, rule, "no_rev_avail"),
			     "rule '%.*s': no relying party can find its leaves revoked, for up to %u s, and those that "
			     "demand a status refuse them; leave no_rev_avail out where a revocation must be heard of",
			     ALL(rule->name), rule->max_lifetime_s);
	return err;
}

WRIT_CHECKED static struct writ_err *
lint_rule(struct linter *l, const struct rule *rule)
{
	struct writ_err *err = lint_who(l, rule);

	if (!err)
		err = lint_limits(l, rule);
	for (size_t i = 0; i < rule->grants.n_entitlements && !err; i++)
		err = lint_entitlement(l, rule, i);
	if (!err)
		err = lint_reached(l, rule);
	return err ? err : lint_shadow(l, rule);
}

/* ---- roles ---- */

/* Only humans and services have roles: a leaf's holder is never asked for one. */
WRIT_CHECKED static struct writ_err *
lint_role(struct linter *l, enum policy_role role, const char *name)
{
	const struct texts *patterns = &l->policy->roles[role];
	const struct yaml_node *roles = yaml_get(l->policy->yaml.root, "roles");
	struct writ_err *err = NULL;

	for (size_t i = 0; i < patterns->n && !err; i++) {
		const struct yaml_node *node = nth(roles ? yaml_get(roles, name) : NULL, i);
		const unsigned line = node ? node->line : 0;
		const struct writ_bytes pattern = patterns->list[i];

		if (is_everybody(pattern))
			err = remark(l, line, "role %s: '%.*s' is everybody of a kind; name people, or one alias", name,
				     WRIT_FMT(pattern));
		else if (writ_equal(kind_word(pattern), WRIT_LIT("agent")))
			err = remark(l, line,
				     "role %s: '%.*s' has no role: agents have none; name a human or a service", name,
				     WRIT_FMT(pattern));
		else if (l->trust_domain.len > 0 && !writ_equal(domain_of(pattern), l->trust_domain))
			err = remark(l, line, "role %s: '%.*s' matches nobody: the trust domain is %.*s; correct it",
				     name, WRIT_FMT(pattern), ALL(l->trust_domain));
	}
	return err;
}

static void
freep(void *p)
{
	free(*(void **)p);
}

struct writ_err *
policy_lint(const struct policy *policy, struct writ_bytes trust_domain, writ_time now, struct writ_buf *ret,
	    unsigned *ret_n)
{
	AUTO(freep) int *depth = calloc(policy->n_rules + 1, sizeof(*depth));
	struct linter l = { .policy = policy, .trust_domain = trust_domain, .now = now, .out = ret, .depth = depth };
	struct writ_err *err = NULL;

	*ret_n = 0;
	if (!depth)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu rules", policy->n_rules);
	depths_find(&l);
	if (policy->n_rules == 0)
		err = remark(&l, 0, "no rule: everything is denied; add one under rules");
	if (!err && policy->roles[ROLE_OPERATOR].n == 0)
		err = remark(&l, 0, "no operator: nobody may revoke what others delegated; name one under roles");
	if (!err)
		err = lint_role(&l, ROLE_OPERATOR, "operator");
	if (!err)
		err = lint_role(&l, ROLE_AUDITOR, "auditor");
	if (!err)
		err = lint_role(&l, ROLE_RESPONDER, "responder");
	for (size_t i = 0; i < policy->n_rules && !err; i++)
		err = lint_rule(&l, &policy->rules[i]);
	*ret_n = l.n;
	return err;
}
