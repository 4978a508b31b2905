/*
 * A policy's YAML to rules.  From the bottom up: entitlements, rules, roles, the file.
 *
 * Everything is checked here, with line and column, so that deciding needs no checks: names are canonical, lists are
 * not empty, limits are within the hard ones, and a pattern that could match nobody is refused rather than kept.
 */
#include "policy/rules.h"

#include <stdlib.h>

#include "policy/reader.h"

#define ARENA_MAX (8 * 1024 * 1024) /* bytes: 20,000 values make at most that */
#define RULES_MAX 1024		    /* each is tried in turn */

/* ---- rules ---- */

static struct writ_err *
read_entitlement(const struct reader *r, const struct yaml_node *item, struct entitlement *ret)
{
	static const char *const keys[] = { "actions", "resources", "delegable", "constraints", NULL };
	struct yaml_node *node;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "entitlements", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, item, keys);
	if (err)
		return err;
	err = reader_needed_texts(r, item, "actions", ACTIONS_MAX, action_check, &ret->actions);
	if (err)
		return err;
	err = reader_needed_texts(r, item, "resources", RESOURCES_MAX, resource_check, &ret->resources);
	if (err)
		return err;
	node = yaml_get(item, "delegable");
	if (node) {
		err = yaml_bool(r->yaml, node, "delegable", &ret->delegable);
		if (err)
			return err;
	}
	node = yaml_get(item, "constraints");
	return node ? reader_constraints(r, node, &ret->constraints) : NULL;
}

static struct writ_err *
read_entitlements(const struct reader *r, const struct yaml_node *map, struct grant *ret)
{
	struct entitlement *list;
	struct yaml_node *node;
	struct writ_err *err;
	size_t n = 0;

	err = reader_needed(r, map, "entitlements", &node);
	if (err)
		return err;
	err = reader_list(r, node, "entitlements", ENTITLEMENTS_MAX);
	if (err)
		return err;
	list = writ_arena_take(r->arena, node->n_items * sizeof(*list));
	if (!list)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next, n++) {
		err = read_entitlement(r, item, &list[n]);
		if (err)
			return err;
	}
	ret->n_entitlements = n;
	ret->entitlements = list;
	return NULL;
}

/* Lower case, so that no rule is taken for one of delegation.md's: "S1", "D1". */
static struct writ_err *
rule_name_check(struct writ_bytes name)
{
	if (name.len == 0 || name.len > RULE_NAME_MAX)
		return writ_fail(WRIT_INVALID, "rule name '%.*s' has %zu octets, 1 to %d", WRIT_FMT(name), name.len,
				 RULE_NAME_MAX);
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] == 0 || !strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", name.data[i]))
			return writ_fail(WRIT_INVALID, "rule name '%.*s': only lower-case a-z, 0-9, '.', '_' and '-'",
					 WRIT_FMT(name));
	if (writ_equal(name, WRIT_LIT("default-deny")) || writ_equal(name, WRIT_LIT("names")))
		return writ_fail(WRIT_INVALID, "rule name '%.*s' is what verdicts call a refusal without a rule",
				 WRIT_FMT(name));
	return NULL;
}

/* What an agent's class may be written as: decisions look at the class, so an instance would never match. */
static struct writ_err *
agents_check(struct writ_bytes text)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = principal_pattern_check(text);
	if (err)
		return err;
	if (resource_is_pattern(text)) {
		struct writ_bytes base = { text.data, text.len - 2 };

		if (base.len > 6 && memcmp(base.data + base.len - 6, "/agent", 6) == 0 &&
		    memchr(base.data + strlen("spiffe://"), '/', base.len - strlen("spiffe://")) ==
			    base.data + base.len - 6)
			return NULL;
		return writ_fail(WRIT_INVALID, "agents: '%.*s' is not spiffe://TRUST-DOMAIN/agent/*", WRIT_FMT(text));
	}
	err = spiffe_parse(text, &id);
	if (err)
		return err;
	if (id.kind != PRINCIPAL_AGENT || id.instance.len > 0)
		return writ_fail(WRIT_INVALID,
				 "agents: '%.*s' is not an agent's class, spiffe://TRUST-DOMAIN/agent/CLASS",
				 WRIT_FMT(text));
	return NULL;
}

/* Can a principal of that kind match?  "spiffe://TD/" "**" leaves the kind open. */
static struct writ_err *
delegator_check(const struct reader *r, const struct yaml_node *item, enum principal_kind kind)
{
	const uint8_t *after = item->text.data + strlen("spiffe://"), *end = item->text.data + item->text.len;
	const uint8_t *slash = memchr(after, '/', (size_t)(end - after));
	struct writ_bytes word;
	enum principal_kind found;
	unsigned n_slashes = 0;

	if (!slash)
		return NULL;
	for (const uint8_t *at = slash; at < end; at++)
		n_slashes += *at == '/';
	word = (struct writ_bytes){ slash + 1, (size_t)(end - slash - 1) };
	slash = memchr(word.data, '/', word.len);
	if (slash)
		word.len = (size_t)(slash - word.data);
	if (principal_kind_from(word, &found) && found != kind)
		return yaml_fail(r->yaml, item, "delegator: '%.*s' can never match, as kind is %s",
				 WRIT_FMT(item->text), principal_kind_name(kind));
	if (kind == PRINCIPAL_AGENT && n_slashes == 2 && end[-1] != '*')
		return yaml_fail(r->yaml, item, "delegator: '%.*s' is a class; its agents are '%.*s/*'",
				 WRIT_FMT(item->text), WRIT_FMT(item->text));
	if (kind == PRINCIPAL_AGENT && n_slashes == 2 && end[-1] == '*' && end[-2] == '/')
		return yaml_fail(r->yaml, item, "delegator: '%.*s' matches classes only; every agent is '%.*s*'",
				 WRIT_FMT(item->text), WRIT_FMT(item->text));
	return NULL;
}

static struct writ_err *
read_who(const struct reader *r, const struct yaml_node *map, struct rule *rule)
{
	struct yaml_node *node;
	struct writ_bytes text;
	struct writ_err *err;

	err = reader_needed(r, map, "kind", &node);
	if (err)
		return err;
	err = yaml_text(r->yaml, node, "kind", &text);
	if (err)
		return err;
	if (!principal_kind_from(text, &rule->kind))
		return yaml_fail(r->yaml, node, "kind: '%.*s' is not human, service or agent", WRIT_FMT(text));
	err = reader_needed(r, map, "delegator", &node);
	if (err)
		return err;
	err = reader_texts(r, node, "delegator", PRINCIPALS_MAX, principal_pattern_check, &rule->delegators);
	if (err)
		return err;
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		err = delegator_check(r, item, rule->kind);
		if (err)
			return err;
	}
	return reader_needed_texts(r, map, "agents", PRINCIPALS_MAX, agents_check, &rule->agents);
}

static struct writ_err *
read_limits(const struct reader *r, const struct yaml_node *map, struct rule *rule)
{
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t depth = DEPTH_DEFAULT;

	err = reader_needed(r, map, "max_lifetime", &node);
	if (err)
		return err;
	err = yaml_duration(r->yaml, node, "max_lifetime", LIFETIME_MIN_S, LIFETIME_MAX_S, &rule->max_lifetime_s);
	if (err)
		return err;
	rule->max_grant_s = GRANT_DEFAULT_S;
	node = yaml_get(map, "max_grant");
	if (node) {
		err = yaml_duration(r->yaml, node, "max_grant", LIFETIME_MIN_S, GRANT_MAX_S, &rule->max_grant_s);
		if (err)
			return err;
	}
	node = yaml_get(map, "max_depth");
	if (node) {
		err = yaml_number(r->yaml, node, "max_depth", 0, DEPTH_MAX, &depth);
		if (err)
			return err;
	}
	rule->max_depth = (unsigned)depth;
	node = yaml_get(map, "wildcard_audience");
	return node ? yaml_bool(r->yaml, node, "wildcard_audience", &rule->wildcard_audience) : NULL;
}

/* Nothing of it is left to chance: all leaves of such a rule are short and delegate nothing, or it is no policy. */
static struct writ_err *
read_no_rev_avail(const struct reader *r, const struct yaml_node *map, struct rule *rule)
{
	struct yaml_node *node = yaml_get(map, "no_rev_avail");
	struct writ_err *err;

	if (!node)
		return NULL;
	err = yaml_bool(r->yaml, node, "no_rev_avail", &rule->no_rev_avail);
	if (err || !rule->no_rev_avail)
		return err;
	if (rule->max_lifetime_s > NO_REV_AVAIL_MAX_S)
		return yaml_fail(r->yaml, node,
				 "no_rev_avail: max_lifetime is %u s: at most %d, so that what cannot be found revoked "
				 "ends soon",
				 rule->max_lifetime_s, NO_REV_AVAIL_MAX_S);
	if (rule->max_depth > 0)
		return yaml_fail(r->yaml, node,
				 "no_rev_avail: max_depth is %u: only 0, nothing hangs below a leaf that cannot be found "
				 "revoked",
				 rule->max_depth);
	return NULL;
}

/* An agent never approves, so a pattern says whose approval counts: a human's or a service's. */
static struct writ_err *
approver_check(struct writ_bytes text)
{
	const size_t scheme = strlen("spiffe://");
	struct writ_err *err = principal_pattern_check(text);
	const uint8_t *slash;
	struct writ_bytes path;

	if (err)
		return err;
	slash = memchr(text.data + scheme, '/', text.len - scheme);
	path = slash ? (struct writ_bytes){ slash, (size_t)(text.data + text.len - slash) } : (struct writ_bytes){ 0 };
	if ((path.len > 7 && memcmp(path.data, "/human/", 7) == 0) ||
	    (path.len > 9 && memcmp(path.data, "/service/", 9) == 0))
		return NULL;
	return writ_fail(WRIT_INVALID,
			 "by: '%.*s' names no humans or services: spiffe://TRUST-DOMAIN/human/... or .../service/...",
			 WRIT_FMT(text));
}

static struct writ_err *
read_approvals(const struct reader *r, const struct yaml_node *map, struct rule *rule)
{
	static const char *const keys[] = { "of", "by", "within", NULL };
	const struct yaml_node *node = yaml_get(map, "approvals");
	struct yaml_node *of, *within;
	size_t n_patterns = 0;
	struct writ_err *err;
	uint64_t n;

	if (!node)
		return NULL;
	if (rule->kind == PRINCIPAL_AGENT)
		return yaml_fail(
			r->yaml, node,
			"approvals: a rule of kind agent asks for none: ask where a human or service opens the task");
	err = yaml_kind_is(r->yaml, node, "approvals", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	err = reader_needed(r, node, "of", &of);
	if (err)
		return err;
	err = yaml_number(r->yaml, of, "of", 1, APPROVALS_MAX, &n);
	if (err)
		return err;
	err = reader_needed_texts(r, node, "by", PRINCIPALS_MAX, approver_check, &rule->approvers);
	if (err)
		return err;
	rule->approvals = (unsigned)n;
	rule->approve_within_s = APPROVE_WITHIN_DEFAULT_S;
	within = yaml_get(node, "within");
	if (within) {
		err = yaml_duration(r->yaml, within, "within", APPROVE_WITHIN_MIN_S, APPROVE_WITHIN_MAX_S,
				    &rule->approve_within_s);
		if (err)
			return err;
	}
	for (size_t i = 0; i < rule->approvers.n; i++)
		n_patterns += resource_is_pattern(rule->approvers.list[i]);
	if (n_patterns == 0 && rule->approvers.n < rule->approvals)
		return yaml_fail(r->yaml, of, "of: %u approvals can never come from the %zu in 'by'", rule->approvals,
				 rule->approvers.n);
	return NULL;
}

static struct writ_err *
read_rule(const struct reader *r, const struct yaml_node *item, struct rule *rule)
{
	static const char *const keys[] = { "name",
					    "delegator",
					    "kind",
					    "agents",
					    "entitlements",
					    "audience",
					    "wildcard_audience",
					    "max_lifetime",
					    "max_grant",
					    "max_depth",
					    "no_rev_avail",
					    "approvals",
					    NULL };
	struct yaml_node *node;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "rules", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, item, keys);
	if (err)
		return err;
	rule->line = item->line;
	err = reader_needed(r, item, "name", &node);
	if (err)
		return err;
	err = yaml_text(r->yaml, node, "name", &rule->name);
	if (err)
		return err;
	err = rule_name_check(rule->name);
	if (err)
		return reader_at_place(r, node, err);
	err = read_who(r, item, rule);
	if (err)
		return err;
	err = read_entitlements(r, item, &rule->grants);
	if (err)
		return err;
	err = reader_needed_texts(r, item, "audience", AUDIENCE_MAX, resource_check, &rule->grants.audience);
	if (err)
		return err;
	err = read_limits(r, item, rule);
	if (!err)
		err = read_no_rev_avail(r, item, rule);
	return err ? err : read_approvals(r, item, rule);
}

static struct writ_err *
read_rules(const struct reader *r, const struct yaml_node *root, struct policy *policy)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = reader_needed(r, root, "rules", &node);
	if (err)
		return err;
	err = yaml_kind_is(r->yaml, node, "rules", YAML_LIST);
	if (err)
		return err;
	if (node->n_items > RULES_MAX)
		return yaml_fail(r->yaml, node, "rules: %zu in the list, at most %d", node->n_items, RULES_MAX);
	if (node->n_items == 0)
		return NULL; /* denies everything: a fair policy, of which lint tells */
	policy->rules = writ_arena_take(r->arena, node->n_items * sizeof(*policy->rules));
	if (!policy->rules)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		struct rule *rule = &policy->rules[policy->n_rules];

		err = read_rule(r, item, rule);
		if (err)
			return err;
		for (size_t i = 0; i < policy->n_rules; i++)
			if (writ_equal(policy->rules[i].name, rule->name))
				return yaml_fail(r->yaml, yaml_get(item, "name"),
						 "rule name '%.*s' is there already, in line %u", WRIT_FMT(rule->name),
						 policy->rules[i].line);
		policy->n_rules++;
	}
	return NULL;
}

/* ---- the file ---- */

static const char *const role_names[] = { [ROLE_OPERATOR] = "operator", [ROLE_AUDITOR] = "auditor", [ROLE_RESPONDER] = "responder" };

static struct writ_err *
read_roles(const struct reader *r, const struct yaml_node *root, struct policy *policy)
{
	static const char *const keys[] = { "operator", "auditor", "responder", NULL };
	const struct yaml_node *node = yaml_get(root, "roles");
	struct writ_err *err;

	if (!node)
		return NULL;
	err = yaml_kind_is(r->yaml, node, "roles", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	for (size_t i = 0; i < N_OF(role_names); i++) {
		const struct yaml_node *role = yaml_get(node, role_names[i]);

		if (!role)
			continue;
		err = reader_texts(r, role, role_names[i], PRINCIPALS_MAX, principal_pattern_check, &policy->roles[i]);
		if (err)
			return err;
	}
	return NULL;
}

/* E4: the id stands in certificates, as IA5String. */
static struct writ_err *
read_id(const struct reader *r, const struct yaml_node *root, struct writ_bytes *ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = reader_needed(r, root, "id", &node);
	if (err)
		return err;
	err = yaml_text(r->yaml, node, "id", ret);
	if (err)
		return err;
	if (ret->len == 0 || ret->len > POLICY_ID_MAX)
		return yaml_fail(r->yaml, node, "id: %zu octets, 1 to %d", ret->len, POLICY_ID_MAX);
	for (size_t i = 0; i < ret->len; i++)
		if (ret->data[i] < 0x21 || ret->data[i] > 0x7e)
			return yaml_fail(r->yaml, node, "id: '%.*s' holds more than printable ASCII without spaces",
					 WRIT_FMT(*ret));
	return NULL;
}

static struct writ_err *
read_policy(const struct reader *r, struct policy *policy)
{
	static const char *const keys[] = { "version", "id", "revision", "embed_purpose", "roles", "rules", NULL };
	const struct yaml_node *root = r->yaml->root;
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t version;

	if (!root)
		return writ_fail(WRIT_INVALID, "%s: is empty: version, id and rules are needed", r->yaml->name);
	err = yaml_kind_is(r->yaml, root, "policy", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, root, keys);
	if (err)
		return err;
	err = reader_needed(r, root, "version", &node);
	if (err)
		return err;
	err = yaml_number(r->yaml, node, "version", 1, 1, &version);
	if (err)
		return err;
	err = read_id(r, root, &policy->id);
	if (err)
		return err;
	node = yaml_get(root, "revision");
	if (node) {
		err = yaml_number(r->yaml, node, "revision", 1, REVISION_MAX, &policy->revision);
		if (err)
			return err;
	}
	policy->embed_purpose = true;
	node = yaml_get(root, "embed_purpose");
	if (node) {
		err = yaml_bool(r->yaml, node, "embed_purpose", &policy->embed_purpose);
		if (err)
			return err;
	}
	err = read_roles(r, root, policy);
	if (err)
		return err;
	return read_rules(r, root, policy);
}

struct writ_err *
policy_parse(const char *name, struct writ_bytes text, struct policy **ret)
{
	AUTO(policy_freep) struct policy *policy = calloc(1, sizeof(*policy));
	struct reader reader;
	struct writ_err *err;

	*ret = NULL;
	if (!policy)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory", name);
	policy->arena = WRIT_ARENA(ARENA_MAX);
	err = yaml_parse(&policy->yaml, name, text);
	if (err)
		return err;
	reader = (struct reader){ &policy->yaml, &policy->arena };
	err = read_policy(&reader, policy);
	if (err)
		return err;
	policy->yaml.name = NULL; /* was borrowed for the messages above */
	writ_sha256(text, policy->digest);
	*ret = TAKE(policy);
	return NULL;
}

void
policy_free(struct policy *policy)
{
	if (!policy)
		return;
	yaml_done(&policy->yaml);
	writ_arena_done(&policy->arena);
	free(policy);
}

void
policy_freep(struct policy **policy)
{
	policy_free(*policy);
	*policy = NULL;
}

struct writ_bytes
policy_id(const struct policy *policy)
{
	return policy->id;
}

const uint8_t *
policy_digest(const struct policy *policy)
{
	return policy->digest;
}

uint64_t
policy_revision(const struct policy *policy)
{
	return policy->revision;
}

size_t
policy_n_rules(const struct policy *policy)
{
	return policy->n_rules;
}

bool
policy_embed_purpose(const struct policy *policy)
{
	return policy->embed_purpose;
}

bool
policy_role(const struct policy *policy, enum policy_role role, struct writ_bytes principal)
{
	const struct texts *patterns = &policy->roles[role];

	for (size_t i = 0; i < patterns->n; i++)
		if (principal_matches(patterns->list[i], principal))
			return true;
	return false;
}
