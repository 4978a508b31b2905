/* A policy's YAML: what it may say, where each error is, printed and parsed again, suspicious things. */
#include "tests/unit/policy_make.h"

#include <time.h>

#include "base/digest.h"

#define NOW 1795467097 /* 2026-11-23T20:51:37Z */
#define NO_DOMAIN ((struct writ_bytes){ 0 })
#define HEAD "version: 1\nid: p\n"
#define RULE_WITH(who, what, limits)                                                                                   \
	HEAD "rules:\n  - name: r\n" who "    agents: [\"" TD "/agent/bot\"]\n"                                        \
	     "    entitlements:\n" what "    audience: [\"https://h\"]\n" limits
#define WHO "    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n"
#define WHAT "      - actions: [\"a:*\"]\n        resources: [\"https://h/**\"]\n"
#define LIMITS "    max_lifetime: 5m\n"

static struct policy *
parsed(const char *text)
{
	struct policy *policy;

	expect_ok(policy_parse("p.yaml", writ_str(text), &policy));
	return policy;
}

static void
expect_fault(const char *text, enum writ_code code, const char *message)
{
	struct policy *policy = (struct policy *)(uintptr_t)1;

	expect_refused(policy_parse("p.yaml", writ_str(text), &policy), code, message);
	assert_null(policy);
}

struct row {
	const char *text, *message;
};

static void
expect_faults(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_fault(rows[i].text, WRIT_INVALID, rows[i].message);
}

static void
a_policy_carries_id_digest_and_roles(void **state)
{
	static const char text[] = HEAD "roles:\n  operator: [\"" TD "/human/corp/olga\"]\n  auditor: [\"" TD
					"/human/audit/**\"]\nrules: []\n";
	AUTO(policy_freep) struct policy *policy = parsed(text);
	uint8_t digest[32];

	(void)state;
	expect_bytes(policy_id(policy), WRIT_LIT("p"));
	assert_int_equal(policy_revision(policy), 0); /* none given */
	assert_true(policy_embed_purpose(policy));
	writ_sha256(writ_str(text), digest);
	assert_memory_equal(policy_digest(policy), digest, 32);

	assert_true(policy_role(policy, ROLE_OPERATOR, WRIT_LIT(TD "/human/corp/olga")));
	assert_false(policy_role(policy, ROLE_OPERATOR, WRIT_LIT(TD "/human/corp/olga2")));
	assert_false(policy_role(policy, ROLE_OPERATOR, WRIT_LIT(TD "/human/audit/ann")));
	assert_true(policy_role(policy, ROLE_AUDITOR, WRIT_LIT(TD "/human/audit/ann")));
	assert_false(policy_role(policy, ROLE_AUDITOR, WRIT_LIT(TD "/human/audit/**")));
	assert_false(policy_role(policy, ROLE_RESPONDER, WRIT_LIT(TD "/human/audit/ann")));
}

static void
without_roles_nobody_has_one(void **state)
{
	AUTO(policy_freep) struct policy *policy = parsed(HEAD "embed_purpose: false\nrules: []\n");

	(void)state;
	assert_false(policy_embed_purpose(policy));
	assert_false(policy_role(policy, ROLE_OPERATOR, WRIT_LIT(TD "/human/corp/olga")));
	assert_false(policy_role(policy, ROLE_AUDITOR, WRIT_LIT(TD "/human/corp/olga")));
}

static void
what_yaml_could_smuggle_is_refused_with_its_place(void **state)
{
	static const struct row rows[] = {
		{ "version: 1\n\tid: p\n", "p.yaml:2:1: a tab: indent and separate with spaces" },
		{ "version: 1\nid: &a p\nrules: []\n",
		  "p.yaml:2:5: anchors (&name) are not accepted: write the value out" },
		{ "version: 1\nid: *a\nrules: []\n",
		  "p.yaml:2:5: aliases (*name) are not accepted: write the value out" },
		{ "version: 1\nid: !!str p\nrules: []\n", "p.yaml:2:5: tags (!name) are not accepted" },
		{ "version: 1\nid: p\nid: q\nrules: []\n",
		  "p.yaml:3:1: key \"id\" is there already, in line 2: keep one" },
		{ HEAD "rules: []\n---\n" HEAD, "p.yaml:4:1: a second document: one file holds one" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

static void
a_megabyte_and_depth_100_are_refused_before_they_cost_anything(void **state)
{
	char *text = make_room(1024 * 1024 + 1);
	char *deep = make_room(300);
	const clock_t start = clock();

	(void)state;
	memset(text, 'a', 1024 * 1024);
	expect_fault(text, WRIT_EXHAUSTED, "p.yaml: 1048576 bytes are over the limit of 262144");
	strcpy(deep, "rules: ");
	memset(deep + 7, '[', 100);
	memset(deep + 107, ']', 100);
	expect_fault(deep, WRIT_EXHAUSTED, "p.yaml:1:39: nested deeper than 32");
	assert_true(clock() - start < CLOCKS_PER_SEC / 5);
}

static void
the_top_of_the_file_is_checked_key_by_key(void **state)
{
	static const struct row rows[] = {
		{ "", "p.yaml: is empty: version, id and rules are needed" },
		{ "- a\n", "p.yaml:1:1: policy: found a list, wanted a map" },
		{ "id: p\nrules: []\n", "p.yaml:1:1: 'version' is missing here" },
		{ "version: 2\nid: p\nrules: []\n", "p.yaml:1:1: version: found \"2\", wanted a number from 1 to 1" },
		{ "version: \"1\"\nid: p\nrules: []\n",
		  "p.yaml:1:1: version: found the quoted text \"1\", wanted a number from 1 to 1" },
		{ "version: 1\nrules: []\n", "p.yaml:1:1: 'id' is missing here" },
		{ "version: 1\nid: \nrules: []\n", "p.yaml:2:1: id: found nothing, wanted a text" },
		{ "version: 1\nid: \"\"\nrules: []\n", "p.yaml:2:1: id: 0 octets, 1 to 128" },
		{ "version: 1\nid: \"a b\"\nrules: []\n",
		  "p.yaml:2:1: id: 'a b' holds more than printable ASCII without spaces" },
		{ "version: 1\nid: p\n", "p.yaml:1:1: 'rules' is missing here" },
		{ HEAD "rules: {}\n", "p.yaml:3:1: rules: found a map, wanted a list" },
		{ HEAD "rules:\n", "p.yaml:3:1: rules: found nothing, wanted a list" },
		{ HEAD "rules: []\nrule: []\n",
		  "p.yaml:4:1: unknown key \"rule\"; known here: version, id, revision, embed_purpose, roles, rules" },
		{ HEAD "revision: 0\nrules: []\n",
		  "p.yaml:3:1: revision: found \"0\", wanted a number from 1 to 9007199254740991" },
		{ HEAD "revision: -1\nrules: []\n",
		  "p.yaml:3:1: revision: found \"-1\", wanted a number from 1 to 9007199254740991" },
		{ HEAD "revision: 9007199254740992\nrules: []\n",
		  "p.yaml:3:1: revision: found \"9007199254740992\", wanted a number from 1 to 9007199254740991" },
		{ HEAD "embed_purpose: yes\nrules: []\n",
		  "p.yaml:3:1: embed_purpose: found \"yes\", wanted true or false, without quotes" },
		{ HEAD "roles: [a]\nrules: []\n", "p.yaml:3:1: roles: found a list, wanted a map" },
		{ HEAD "roles: {admin: [a]}\nrules: []\n",
		  "p.yaml:3:9: unknown key \"admin\"; known here: operator, auditor, responder" },
		{ HEAD "roles: {operator: []}\nrules: []\n",
		  "p.yaml:3:9: operator: the list is empty, which never means all" },
		{ HEAD "roles: {operator: olga}\nrules: []\n", "p.yaml:3:9: operator: found \"olga\", wanted a list" },
		{ HEAD "roles: {operator: [olga]}\nrules: []\n",
		  "p.yaml:3:20: SPIFFE ID 'olga': does not begin with spiffe://" },
		{ HEAD "roles: {operator: [\"spiffe://TD/human/a/b\"]}\nrules: []\n",
		  "p.yaml:3:20: trust domain 'TD': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ HEAD "roles:\n  auditor:\n    - \"" TD "/human/a/b\"\n    - \"" TD "/human/a/b\"\nrules: []\n",
		  "p.yaml:6:7: auditor: '" TD "/human/a/b' is there twice" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

#define NAMED(name) HEAD "rules:\n  - name: " name "\n"
#define KNOWN_IN_RULE                                                                                                  \
	"name, delegator, kind, agents, entitlements, audience, wildcard_audience, max_lifetime, max_grant, "          \
	"max_depth, no_rev_avail, approvals"

static void
who_may_delegate_to_whom_is_checked(void **state)
{
	static const struct row rows[] = {
		{ HEAD "rules: [x]\n", "p.yaml:3:9: rules: found \"x\", wanted a map" },
		{ HEAD "rules:\n  - kind: human\n", "p.yaml:4:5: 'name' is missing here" },
		{ NAMED("Invoices"), "p.yaml:4:5: rule name 'Invoices': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ NAMED("S1"), "p.yaml:4:5: rule name 'S1': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ NAMED("default-deny"),
		  "p.yaml:4:5: rule name 'default-deny' is what verdicts call a refusal without a rule" },
		{ NAMED("\"\""), "p.yaml:4:5: rule name '' has 0 octets, 1 to 40" },
		{ NAMED("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
		  "p.yaml:4:5: rule name 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' has 41 octets, 1 to 40" },
		{ NAMED("r") "    delegators: [x]\n",
		  "p.yaml:5:5: unknown key \"delegators\"; known here: " KNOWN_IN_RULE },
		{ NAMED("r"), "p.yaml:4:5: 'kind' is missing here" },
		{ NAMED("r") "    kind: robot\n", "p.yaml:5:5: kind: 'robot' is not human, service or agent" },
		{ NAMED("r") "    kind: [human]\n", "p.yaml:5:5: kind: found a list, wanted a text" },
		{ NAMED("r") "    kind: human\n", "p.yaml:4:5: 'delegator' is missing here" },
		{ NAMED("r") "    kind: human\n    delegator: " TD "/**\n",
		  "p.yaml:6:5: delegator: found \"" TD "/**\", wanted a list" },
		{ NAMED("r") "    kind: human\n    delegator: []\n",
		  "p.yaml:6:5: delegator: the list is empty, which never means all" },
		{ NAMED("r") "    kind: human\n    delegator: [{a: b}]\n",
		  "p.yaml:6:17: delegator: found a map, wanted a text" },
		{ NAMED("r") "    kind: human\n    delegator: [\"" TD "/*\"]\n",
		  "p.yaml:6:17: pattern '" TD "/*': matches nobody: no id has one segment" },
		{ NAMED("r") "    kind: human\n    delegator: [\"" TD "/service/ci\"]\n",
		  "p.yaml:6:17: delegator: '" TD "/service/ci' can never match, as kind is human" },
		{ NAMED("r") "    kind: service\n    delegator: [\"" TD "/human/**\"]\n",
		  "p.yaml:6:17: delegator: '" TD "/human/**' can never match, as kind is service" },
		{ NAMED("r") "    kind: agent\n    delegator: [\"" TD "/agent/bot\"]\n",
		  "p.yaml:6:17: delegator: '" TD "/agent/bot' is a class; its agents are '" TD "/agent/bot/*'" },
		{ NAMED("r") "    kind: agent\n    delegator: [\"" TD "/agent/*\"]\n",
		  "p.yaml:6:17: delegator: '" TD "/agent/*' matches classes only; every agent is '" TD "/agent/**'" },
		{ NAMED("r") WHO, "p.yaml:4:5: 'agents' is missing here" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/bot/i-1\"]\n",
		  "p.yaml:7:14: agents: '" TD
		  "/agent/bot/i-1' is not an agent's class, spiffe://TRUST-DOMAIN/agent/CLASS" },
		{ NAMED("r") WHO "    agents: [\"" TD "/human/corp/olga\"]\n",
		  "p.yaml:7:14: agents: '" TD "/human/corp/olga' is not an agent's class, "
		  "spiffe://TRUST-DOMAIN/agent/CLASS" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/bot/*\"]\n",
		  "p.yaml:7:14: agents: '" TD "/agent/bot/*' is not spiffe://TRUST-DOMAIN/agent/*" },
		{ NAMED("r") WHO "    agents: [\"" TD "/service/agent/*\"]\n",
		  "p.yaml:7:14: agents: '" TD "/service/agent/*' is not spiffe://TRUST-DOMAIN/agent/*" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/**\"]\n",
		  "p.yaml:7:14: agents: '" TD "/agent/**' is not spiffe://TRUST-DOMAIN/agent/*" },
		{ NAMED("r") WHO "    agents: [\"" TD "/**\"]\n",
		  "p.yaml:7:14: agents: '" TD "/**' is not spiffe://TRUST-DOMAIN/agent/*" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/*\"]\n", "p.yaml:4:5: 'entitlements' is missing here" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

static void
entitlements_and_audience_are_checked(void **state)
{
	static const struct row rows[] = {
		{ RULE_WITH(WHO, "      []\n", LIMITS),
		  "p.yaml:8:5: entitlements: the list is empty, which never means all" },
		{ RULE_WITH(WHO, "      - a\n", LIMITS), "p.yaml:9:9: entitlements: found \"a\", wanted a map" },
		{ RULE_WITH(WHO, "      - action: [a]\n", LIMITS),
		  "p.yaml:9:9: unknown key \"action\"; known here: actions, resources, delegable, constraints" },
		{ RULE_WITH(WHO, "      - resources: [\"https://h\"]\n", LIMITS),
		  "p.yaml:9:9: 'actions' is missing here" },
		{ RULE_WITH(WHO, "      - actions: [a]\n", LIMITS), "p.yaml:9:9: 'resources' is missing here" },
		{ RULE_WITH(WHO, "      - actions: []\n        resources: [\"https://h\"]\n", LIMITS),
		  "p.yaml:9:9: actions: the list is empty, which never means all" },
		{ RULE_WITH(WHO, "      - actions: [\"*\"]\n        resources: [\"https://h\"]\n", LIMITS),
		  "p.yaml:9:19: action '*': '*' stands only at the end, after ':'" },
		{ RULE_WITH(WHO, "      - actions: [a]\n        resources: [\"HTTPS://H/pay\"]\n", LIMITS),
		  "p.yaml:10:21: resource 'HTTPS://H/pay': the scheme must be lower case" },
		{ RULE_WITH(WHO, "      - actions: [a]\n        resources: [\"https://h:443/x\"]\n", LIMITS),
		  "p.yaml:10:21: resource 'https://h:443/x': port 443 is the default of https: leave it out" },
		{ RULE_WITH(WHO, "      - actions: [a]\n        resources: [\"https://h/a/../b\"]\n", LIMITS),
		  "p.yaml:10:21: resource 'https://h/a/../b': has a '.' or '..' segment" },
		{ RULE_WITH(WHO, "      - actions: [a, b, a]\n        resources: [\"https://h\"]\n", LIMITS),
		  "p.yaml:9:25: actions: 'a' is there twice" },
		{ RULE_WITH(WHO, "      - actions: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]\n", LIMITS),
		  "p.yaml:9:9: actions: 17 in the list, at most 16" },
		{ RULE_WITH(WHO, WHAT "        delegable: 1\n", LIMITS),
		  "p.yaml:11:9: delegable: found \"1\", wanted true or false, without quotes" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/bot\"]\n    entitlements:\n" WHAT LIMITS,
		  "p.yaml:4:5: 'audience' is missing here" },
		{ NAMED("r") WHO "    agents: [\"" TD "/agent/bot\"]\n    entitlements:\n" WHAT "    audience: [h]\n",
		  "p.yaml:11:16: resource 'h': '://' is missing after the scheme" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

#define K(constraints) RULE_WITH(WHO, WHAT "        constraints: " constraints "\n", LIMITS)

static void
constraints_are_checked(void **state)
{
	static const struct row rows[] = {
		{ K("{}"), "p.yaml:11:9: constraints: found a map, wanted a list" },
		{ K("[]"), "p.yaml:11:9: constraints: the list is empty, which never means all" },
		{ K("[x]"), "p.yaml:11:23: constraints: found \"x\", wanted a map" },
		{ K("[{budget: 1}]"),
		  "p.yaml:11:24: unknown key \"budget\"; known here: source_net, window, param_in, param_max" },
		{ K("[{}]"), "p.yaml:11:23: constraints: 0 in one item, each is an item of its own" },
		{ K("[{source_net: [10.0.0.0/8], param_max: {name: a, max: 1}}]"),
		  "p.yaml:11:23: constraints: 2 in one item, each is an item of its own" },
		{ K("[{source_net: 10.0.0.0/8}]"), "p.yaml:11:24: source_net: found \"10.0.0.0/8\", wanted a list" },
		{ K("[{source_net: []}]"), "p.yaml:11:24: source_net: the list is empty, which never means all" },
		{ K("[{source_net: [10.0.0.0]}]"), "p.yaml:11:37: source_net '10.0.0.0': is not ADDRESS/BITS" },
		{ K("[{source_net: [10.0.0/8]}]"),
		  "p.yaml:11:37: source_net '10.0.0/8': not an address in its shortest form" },
		{ K("[{source_net: [10.0.0.0/33]}]"),
		  "p.yaml:11:37: source_net '10.0.0.0/33': 32 bits at most stand after '/'" },
		{ K("[{source_net: [10.0.0.0/08]}]"),
		  "p.yaml:11:37: source_net '10.0.0.0/08': 32 bits at most stand after '/'" },
		{ K("[{source_net: [10.1.0.0/8]}]"),
		  "p.yaml:11:37: source_net '10.1.0.0/8': has bits set beyond its 8" },
		{ K("[{source_net: [\"2001:DB8::/32\"]}]"),
		  "p.yaml:11:37: source_net '2001:DB8::/32': not an address in its shortest form" },
		{ K("[{source_net: [\"2001:db8::/129\"]}]"),
		  "p.yaml:11:37: source_net '2001:db8::/129': 128 bits at most stand after '/'" },
		{ K("[{source_net: [10.0.0.0/8, 10.0.0.0/8]}]"),
		  "p.yaml:11:49: source_net: '10.0.0.0/8' is there twice" },
		{ K("[{window: [1, 2]}]"), "p.yaml:11:24: window: found a list, wanted a map" },
		{ K("[{window: {from: 2026-01-01T00:00:00Z}}]"), "p.yaml:11:24: 'to' is missing here" },
		{ K("[{window: {from: 2026-01-01, to: 2026-01-02T00:00:00Z}}]"),
		  "p.yaml:11:33: from: '2026-01-01' is not a time like 2026-11-23T20:51:37Z" },
		{ K("[{window: {from: 2026-02-29T00:00:00Z, to: 2026-03-02T00:00:00Z}}]"),
		  "p.yaml:11:33: from: '2026-02-29T00:00:00Z' is not a time like 2026-11-23T20:51:37Z" },
		{ K("[{window: {from: 2026-01-02T00:00:00Z, to: 2026-01-01T00:00:00Z}}]"),
		  "p.yaml:11:24: window: ends before it begins" },
		{ K("[{param_in: {name: a}}]"), "p.yaml:11:24: 'values' is missing here" },
		{ K("[{param_in: {values: [a]}}]"), "p.yaml:11:24: 'name' is missing here" },
		{ K("[{param_in: {name: a, values: []}}]"),
		  "p.yaml:11:44: values: the list is empty, which never means all" },
		{ K("[{param_in: {name: a, values: [x, x]}}]"), "p.yaml:11:56: values: 'x' is there twice" },
		{ K("[{param_in: {name: a, values: [\"x\\ny\"]}}]"), "p.yaml:11:53: value holds control characters" },
		{ K("[{param_in: {name: \"a b\", values: [x]}}]"),
		  "p.yaml:11:35: name: 'a b' holds more than printable ASCII" },
		{ K("[{param_in: {name: \"\", values: [x]}}]"), "p.yaml:11:35: name: 0 octets, 1 to 64" },
		{ K("[{param_max: {name: a, max: 1.5}}]"),
		  "p.yaml:11:45: max: '1.5' is not a whole number within 2^53 - 1" },
		{ K("[{param_max: {name: a, max: -0}}]"),
		  "p.yaml:11:45: max: '-0' is not a whole number within 2^53 - 1" },
		{ K("[{param_max: {name: a, max: \"1\"}}]"),
		  "p.yaml:11:45: max: '1' is not a whole number within 2^53 - 1" },
		{ K("[{param_max: {name: a, max: 9007199254740992}}]"),
		  "p.yaml:11:45: max: '9007199254740992' is not a whole number within 2^53 - 1" },
		{ K("[{param_max: {name: a, max: 1}}, {param_max: {name: a, max: 2}}]"),
		  "p.yaml:11:55: constraints: a second param_max of 'a'" },
		{ K("[{source_net: [10.0.0.0/8]}, {source_net: [11.0.0.0/8]}]"),
		  "p.yaml:11:51: constraints: a second source_net" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

static void
limits_are_checked_against_the_hard_ones(void **state)
{
	static const struct row rows[] = {
		{ RULE_WITH(WHO, WHAT, ""), "p.yaml:4:5: 'max_lifetime' is missing here" },
		{ RULE_WITH(WHO, WHAT, "    max_lifetime: 16m\n"),
		  "p.yaml:12:5: max_lifetime: found \"16m\", wanted a time from 60s to 900s, such as 90s, 5m or 8h" },
		{ RULE_WITH(WHO, WHAT, "    max_lifetime: 59\n"),
		  "p.yaml:12:5: max_lifetime: found \"59\", wanted a time from 60s to 900s, such as 90s, 5m or 8h" },
		{ RULE_WITH(WHO, WHAT, LIMITS "    max_grant: 28801s\n"),
		  "p.yaml:13:5: max_grant: found \"28801s\", wanted a time from 60s to 28800s, such as 90s, 5m or 8h" },
		{ RULE_WITH(WHO, WHAT, LIMITS "    max_depth: 8\n"),
		  "p.yaml:13:5: max_depth: found \"8\", wanted a number from 0 to 7" },
		{ RULE_WITH(WHO, WHAT, LIMITS "    max_depth: -1\n"),
		  "p.yaml:13:5: max_depth: found \"-1\", wanted a number from 0 to 7" },
		{ RULE_WITH(WHO, WHAT, LIMITS "    no_rev_avail: yes\n"),
		  "p.yaml:13:5: no_rev_avail: found \"yes\", wanted true or false, without quotes" },
		{ RULE_WITH(WHO, WHAT, "    max_lifetime: 121s\n    max_depth: 0\n    no_rev_avail: true\n"),
		  "p.yaml:14:5: no_rev_avail: max_lifetime is 121 s: at most 120, so that what cannot be found revoked "
		  "ends soon" },
		{ RULE_WITH(WHO, WHAT, "    max_lifetime: 2m\n    no_rev_avail: true\n"),
		  "p.yaml:13:5: no_rev_avail: max_depth is 2: only 0, nothing hangs below a leaf that cannot be found "
		  "revoked" },
		{ RULE_WITH(WHO, WHAT, "    max_lifetime: 2m\n    max_depth: 1\n    no_rev_avail: true\n"),
		  "p.yaml:14:5: no_rev_avail: max_depth is 1: only 0, nothing hangs below a leaf that cannot be found "
		  "revoked" },
		{ RULE_WITH(WHO, WHAT, LIMITS "    wildcard_audience: on\n"),
		  "p.yaml:13:5: wildcard_audience: found \"on\", wanted true or false, without quotes" },
		{ RULE_WITH(WHO, WHAT,
			    LIMITS "  - name: r\n    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n"
				   "    agents: [\"" TD "/agent/bot\"]\n    entitlements:\n" WHAT
				   "    audience: [\"https://h\"]\n" LIMITS),
		  "p.yaml:13:5: rule name 'r' is there already, in line 4" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
}

static void
approvals_are_checked(void **state)
{
#define A(map) RULE_WITH(WHO, WHAT, LIMITS "    approvals: " map "\n")
#define BY "by: [\"" TD "/human/corp/**\"]"
	static const struct row rows[] = {
		{ A("2"), "p.yaml:13:5: approvals: found \"2\", wanted a map" },
		{ A("{" BY "}"), "p.yaml:13:5: 'of' is missing here" },
		{ A("{of: 2}"), "p.yaml:13:5: 'by' is missing here" },
		{ A("{of: 0, " BY "}"), "p.yaml:13:17: of: found \"0\", wanted a number from 1 to 8" },
		{ A("{of: 9, " BY "}"), "p.yaml:13:17: of: found \"9\", wanted a number from 1 to 8" },
		{ A("{of: 1, by: []}"), "p.yaml:13:24: by: the list is empty, which never means all" },
		{ A("{of: 1, " BY ", within: 9h}"),
		  "p.yaml:13:76: within: found \"9h\", wanted a time from 5s to 28800s, such as 90s, 5m or 8h" },
		{ A("{of: 1, " BY ", within: 4}"),
		  "p.yaml:13:76: within: found \"4\", wanted a time from 5s to 28800s, such as 90s, 5m or 8h" },
		{ A("{of: 1, by: [\"" TD "/agent/bot/*\"]}"),
		  "p.yaml:13:29: by: '" TD
		  "/agent/bot/*' names no humans or services: spiffe://TRUST-DOMAIN/human/... or .../service/..." },
		{ A("{of: 1, by: [\"" TD "/**\"]}"),
		  "p.yaml:13:29: by: '" TD
		  "/**' names no humans or services: spiffe://TRUST-DOMAIN/human/... or .../service/..." },
		{ A("{of: 3, by: [\"" TD "/human/corp/ann\", \"" TD "/service/ci/gate\"]}"),
		  "p.yaml:13:17: of: 3 approvals can never come from the 2 in 'by'" },
		{ A("{of: 1, " BY ", quorum: 2}"), "p.yaml:13:76: unknown key \"quorum\"; known here: of, by, within" },
		{ RULE_WITH("    delegator: [\"" TD "/agent/bot/*\"]\n    kind: agent\n", WHAT,
			    LIMITS "    approvals: {of: 1, " BY "}\n"),
		  "p.yaml:13:5: approvals: a rule of kind agent asks for none: ask where a human or service opens the "
		  "task" },
	};

	(void)state;
	expect_faults(rows, N_OF(rows));
	policy_free(parsed(A("{of: 8, " BY "}")));
}

/* Every construct once. */
static const char everything[] =
	"version: 1\nid: every-thing/1\nrevision: 9007199254740991\nembed_purpose: false\n"
	"roles:\n  operator: [\"" TD "/human/corp/olga\", \"" TD "/service/ops/*\"]\n  auditor: [\"" TD
	"/human/audit/**\"]\n  responder: [\"" TD "/service/responder/*\"]\n"
	"rules:\n"
	"  - name: invoices\n    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n"
	"    agents: [\"" TD "/agent/invoice-bot\", \"" TD "/agent/*\"]\n"
	"    entitlements:\n"
	"      - actions: [\"invoices:*\", read]\n        resources: [\"https://erp.corp.example/v2/invoices/**\"]\n"
	"        delegable: true\n"
	"        constraints:\n"
	"          - source_net: [10.0.0.0/8, \"2001:db8::/32\", 0.0.0.0/0]\n"
	"          - window: {from: 2026-01-01T00:00:00Z, to: 2027-01-01T00:00:00Z}\n"
	"          - param_in: {name: currency, values: [EUR, \"\", \"a \\\"b\\\" \\\\ c\", \" \", \"\\ufeff\", "
	"'\xc3\xa9']}\n"
	"          - param_max: {name: limit, max: 100}\n"
	"          - param_max: {name: low, max: -9007199254740991}\n"
	"      - actions: [a]\n        resources: [\"https://h/%2A\"]\n        delegable: false\n"
	"    audience: [\"https://erp.corp.example\", \"https://h/**\"]\n    wildcard_audience: true\n"
	"    max_lifetime: 15m\n    max_grant: 8h\n    max_depth: 7\n"
	"    approvals:\n      of: 2\n      by: [\"" TD "/human/corp/**\", \"" TD "/service/gate\"]\n"
	"      within: 30m\n"
	"  - name: second\n    delegator: [\"" TD "/agent/invoice-bot/*\"]\n    kind: agent\n"
	"    agents: [\"" TD "/agent/*\"]\n    entitlements: [{actions: [a], resources: [\"https://h\"]}]\n"
	"    audience: [\"https://h\"]\n    max_lifetime: 60\n"
	"  - name: third\n    delegator: [\"" TD "/agent/invoice-bot/*\"]\n    kind: agent\n"
	"    agents: [\"" TD "/agent/*\"]\n    entitlements: [{actions: [b], resources: [\"https://h\"]}]\n"
	"    audience: [\"https://h\"]\n    max_lifetime: 2m\n    max_depth: 0\n    no_rev_avail: true\n";

static void
what_is_printed_parses_to_the_same_policy(void **state)
{
	AUTO(policy_freep) struct policy *policy = parsed(everything), *again = NULL;
	AUTO(writ_buf_done) struct writ_buf first = WRIT_BUF(65536), second = WRIT_BUF(65536);
	const char *wanted =
		"version: 1\nid: \"every-thing/1\"\nrevision: 9007199254740991\nembed_purpose: false\n"
		"roles:\n  operator: [\"" TD "/human/corp/olga\", \"" TD "/service/ops/*\"]\n"
		"  auditor: [\"" TD "/human/audit/**\"]\n"
		"  responder: [\"" TD "/service/responder/*\"]\n"
		"rules:\n"
		"  - name: \"invoices\"\n    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n"
		"    agents: [\"" TD "/agent/invoice-bot\", \"" TD "/agent/*\"]\n"
		"    entitlements:\n"
		"      - actions: [\"invoices:*\", \"read\"]\n"
		"        resources: [\"https://erp.corp.example/v2/invoices/**\"]\n"
		"        delegable: true\n"
		"        constraints: [{source_net: [\"10.0.0.0/8\", \"2001:db8::/32\", \"0.0.0.0/0\"]}, "
		"{window: {from: \"2026-01-01T00:00:00Z\", to: \"2027-01-01T00:00:00Z\"}}, "
		"{param_in: {name: \"currency\", values: [\"EUR\", \"\", \"a \\\"b\\\" \\\\ c\", \" \", \"\\ufeff\", "
		"\"\xc3\xa9\"]}}, "
		"{param_max: {name: \"limit\", max: 100}}, {param_max: {name: \"low\", max: -9007199254740991}}]\n"
		"      - actions: [\"a\"]\n        resources: [\"https://h/%2A\"]\n"
		"    audience: [\"https://erp.corp.example\", \"https://h/**\"]\n    wildcard_audience: true\n"
		"    max_lifetime: 900s\n    max_grant: 28800s\n    max_depth: 7\n"
		"    approvals: {of: 2, by: [\"" TD "/human/corp/**\", \"" TD "/service/gate\"], within: 1800s}\n"
		"  - name: \"second\"\n    delegator: [\"" TD "/agent/invoice-bot/*\"]\n    kind: agent\n"
		"    agents: [\"" TD "/agent/*\"]\n    entitlements:\n"
		"      - actions: [\"a\"]\n        resources: [\"https://h\"]\n"
		"    audience: [\"https://h\"]\n    max_lifetime: 60s\n"
		"  - name: \"third\"\n    delegator: [\"" TD "/agent/invoice-bot/*\"]\n    kind: agent\n"
		"    agents: [\"" TD "/agent/*\"]\n    entitlements:\n"
		"      - actions: [\"b\"]\n        resources: [\"https://h\"]\n"
		"    audience: [\"https://h\"]\n    max_lifetime: 120s\n    max_depth: 0\n    no_rev_avail: true\n";

	(void)state;
	expect_ok(policy_print(policy, &first));
	expect_ok(writ_buf_add(&first, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	assert_string_equal((const char *)first.data, wanted);
	expect_ok(policy_parse("printed", writ_str((const char *)first.data), &again));
	expect_ok(policy_print(again, &second));
	expect_ok(writ_buf_add(&second, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	assert_string_equal((const char *)second.data, wanted);
}

static void
printing_stops_at_the_limit_of_the_buffer(void **state)
{
	AUTO(policy_freep) struct policy *policy = parsed(everything);
	AUTO(writ_buf_done) struct writ_buf whole = WRIT_BUF(65536);

	(void)state;
	expect_ok(policy_print(policy, &whole));
	for (size_t limit = 0; limit < whole.len; limit += 7) {
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(limit);
		struct writ_err *err = policy_print(policy, &buf);

		assert_non_null(err);
		assert_int_equal(err->code, WRIT_EXHAUSTED);
		writ_err_free(err);
	}
}

static void
the_example_that_we_ship_parses_and_lints_clean(void **state)
{
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf remarks = WRIT_BUF(65536);
	char *text = make_room(65536);
	FILE *file = fopen("deploy/examples/policy.yaml", "re");
	unsigned n = 1;

	(void)state;
	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 100);
	fclose(file);
	expect_ok(policy_parse("policy.yaml", writ_str(text), &policy));
	expect_ok(policy_lint(policy, NO_DOMAIN, NOW, &remarks, &n));
	assert_int_equal(n, 0);
	assert_int_equal(remarks.len, 0);
}

/* Between .Bd and .Ed, taken from the page as it is. */
static void
the_example_of_the_man_page_parses_and_lints_clean(void **state)
{
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf remarks = WRIT_BUF(65536);
	char *page = make_room(65536), *from, *to;
	FILE *file = fopen("deploy/man/writ-policy.5", "re");
	unsigned n = 1;

	(void)state;
	assert_non_null(file);
	assert_true(fread(page, 1, 65535, file) > 100);
	fclose(file);
	from = strstr(page, ".Bd -literal -offset indent\n");
	assert_non_null(from);
	from += strlen(".Bd -literal -offset indent\n");
	to = strstr(from, ".Ed\n");
	assert_non_null(to);
	expect_ok(policy_parse("writ-policy.5", (struct writ_bytes){ (uint8_t *)from, (size_t)(to - from) }, &policy));
	expect_ok(policy_lint(policy, NO_DOMAIN, NOW, &remarks, &n));
	assert_int_equal(n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_carries_id_digest_and_roles),
		cmocka_unit_test(without_roles_nobody_has_one),
		cmocka_unit_test(what_yaml_could_smuggle_is_refused_with_its_place),
		cmocka_unit_test(a_megabyte_and_depth_100_are_refused_before_they_cost_anything),
		cmocka_unit_test(the_top_of_the_file_is_checked_key_by_key),
		cmocka_unit_test(who_may_delegate_to_whom_is_checked),
		cmocka_unit_test(entitlements_and_audience_are_checked),
		cmocka_unit_test(constraints_are_checked),
		cmocka_unit_test(limits_are_checked_against_the_hard_ones),
		cmocka_unit_test(approvals_are_checked),
		cmocka_unit_test(what_is_printed_parses_to_the_same_policy),
		cmocka_unit_test(printing_stops_at_the_limit_of_the_buffer),
		cmocka_unit_test(the_example_that_we_ship_parses_and_lints_clean),
		cmocka_unit_test(the_example_of_the_man_page_parses_and_lints_clean),
	};
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);

	writ_arena_done(&make_arena);
	return failed;
}
