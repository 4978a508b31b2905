/* Cases beside a policy: what a file of them may say, where each error is, and which verdicts pass. */
#include "policy/cases.h"

#include "tests/unit/policy_make.h"

#define NOW 1795467097 /* 2026-11-23T20:51:37Z */
#define WHO "      delegator: " TD "/human/corp/olga\n      kind: human\n      agent: " TD "/agent/bot\n"
#define WHAT "      scope: [{actions: [\"a:read\"], resources: [\"https://h/x\"]}]\n      audience: [\"https://h\"]\n"
#define CASE_EXPECTING(expect) "version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT "    expect: " expect "\n"
#define CASE_ASKING(more) "version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT more "    expect: allow\n"

static const char policy_text[] =
	"version: 1\nid: p\nrules:\n"
	"  - name: people\n    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" TD
	"/agent/bot\"]\n"
	"    entitlements: [{actions: [\"a:*\"], resources: [\"https://h/**\"], delegable: true}]\n"
	"    audience: [\"https://h\"]\n    max_lifetime: 5m\n"
	"  - name: agents\n    delegator: [\"" TD "/agent/bot/*\"]\n    kind: agent\n    agents: [\"" TD
	"/agent/reader\"]\n"
	"    entitlements: [{actions: [\"a:read\"], resources: [\"https://h/**\"]}]\n"
	"    audience: [\"https://h\"]\n    max_lifetime: 2m\n    max_depth: 0\n";

static void
expect_fault(const char *text, const char *message)
{
	struct cases *cases = (struct cases *)(uintptr_t)1;

	expect_refused(cases_parse("c.yaml", writ_str(text), &cases), WRIT_INVALID, message);
	assert_null(cases);
}

/* The first case asked of the policy: "" when it passes, else what differs. */
static const char *
judged(const char *text)
{
	static char why[4096];
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(1024 * 1024);
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(sizeof(why) - 1);
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(cases_freep) struct cases *cases = NULL;
	struct case_facts facts;
	struct verdict verdict;
	bool passed;
	writ_time now;

	expect_ok(policy_parse("p.yaml", writ_str(policy_text), &policy));
	expect_ok(cases_parse("c.yaml", writ_str(text), &cases));
	now = cases_now(cases, NOW);
	expect_ok(cases_facts(cases, 0, now, &arena, &facts));
	policy_decide(policy, &facts.facts, now, &verdict);
	expect_ok(cases_judge(cases, 0, now, &verdict, &out, &passed));
	assert_int_equal(passed, out.len == 0);
	snprintf(why, sizeof(why), "%.*s", (int)out.len, (const char *)out.data);
	return why;
}

static void
the_file_is_checked_key_by_key(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{ "", "c.yaml: is empty: version and cases are needed" },
		{ "[]\n", "c.yaml:1:1: cases: found a list, wanted a map" },
		{ "cases: []\n", "c.yaml:1:1: 'version' is missing here" },
		{ "version: 2\ncases: []\n", "c.yaml:1:1: version: found \"2\", wanted a number from 1 to 1" },
		{ "version: 1\n", "c.yaml:1:1: 'cases' is missing here" },
		{ "version: 1\ncases: []\n", "c.yaml:2:1: cases: the list is empty, which never means all" },
		{ "version: 1\nnow: yesterday\ncases: []\n",
		  "c.yaml:2:1: now: 'yesterday' is not a time like 2026-11-23T20:51:37Z" },
		{ "version: 1\ncases: [{name: a, request: {}, expect: allow, why: b}]\n",
		  "c.yaml:2:47: unknown key \"why\"; known here: name, request, expect" },
		{ "version: 1\ncases: [{request: {}, expect: allow}]\n", "c.yaml:2:9: 'name' is missing here" },
		{ "version: 1\ncases: [{name: \"a # TODO\", request: {}, expect: allow}]\n",
		  "c.yaml:2:10: name 'a # TODO' holds a control character or '#'" },
		{ "version: 1\ncases: [{name: \"a\\nok 2\", request: {}, expect: allow}]\n",
		  "c.yaml:2:10: name 'a?ok 2' holds a control character or '#'" },
		{ "version: 1\ncases: [{name: \"\", request: {}, expect: allow}]\n",
		  "c.yaml:2:10: name '' has 0 octets, 1 to 120" },
		{ "version: 1\ncases: [{name: a, expect: allow}]\n", "c.yaml:2:9: 'request' is missing here" },
		{ "version: 1\ncases: [{name: a, request: {kind: human}, expect: allow}]\n",
		  "c.yaml:2:19: 'delegator' is missing here" },
		{ "version: 1\ncases: [{name: a, request: {delegator: d, kind: robot, agent: a}, expect: allow}]\n",
		  "c.yaml:2:43: kind: 'robot' is not human, service or agent" },
		{ "version: 1\ncases: [{name: a, request: {delegator: d, kind: human}, expect: allow}]\n",
		  "c.yaml:2:19: 'agent' is missing here" },
		{ CASE_ASKING("      act: sign\n"), "c.yaml:10:7: act: 'sign' is not delegate, issue or renew" },
		{ CASE_ASKING("      depth: 256\n"),
		  "c.yaml:10:7: depth: found \"256\", wanted a number from 0 to 255" },
		{ CASE_ASKING("      ends: 0\n"),
		  "c.yaml:10:7: ends: found \"0\", wanted a time from 1s to 2592000s, such as 90s, 5m or 8h" },
		{ CASE_ASKING("      parent: {depth: 1}\n"),
		  "c.yaml:10:7: no entitlement, at least one is needed" },
		{ CASE_ASKING("      parent: {depth: 8, audience: [\"https://h\"], scope: [{actions: [a], resources: "
			      "[\"https://h/x\"]}]}\n"),
		  "c.yaml:10:16: depth: found \"8\", wanted a number from 0 to 7" },
		{ CASE_ASKING("      parent: {key: k}\n"),
		  "c.yaml:10:16: unknown key \"key\"; known here: scope, audience, constraints, depth, ends, leaf" },
		{ CASE_EXPECTING("maybe"), "c.yaml:10:5: expect: 'maybe' is not allow, deny, retry or pending" },
		{ CASE_EXPECTING("{rule: S1}"), "c.yaml:10:5: 'verdict' is missing here" },
		{ CASE_EXPECTING("{verdict: deny, reason: S1}"), "c.yaml:10:29: unknown key \"reason\"; known here: "
								 "verdict, rule, value, limit, hint, line, lifetime" },
		{ CASE_EXPECTING("{verdict: deny, line: 0}"),
		  "c.yaml:10:29: line: found \"0\", wanted a number from 1 to 262144" },
		{ CASE_EXPECTING("{verdict: deny, rule: \"\\e[2J\"}"), "c.yaml:10:29: rule: holds control characters" },
		{ CASE_EXPECTING("allow") "  - {name: one, request: {}, expect: allow}\n",
		  "c.yaml:11:17: 'delegator' is missing here" },
		{ CASE_EXPECTING(
			  "allow") "  - {name: one, request: {delegator: d, kind: human, agent: a}, expect: allow}\n",
		  "c.yaml:11:6: name 'one' is there already, in line 3" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		expect_fault(rows[i].text, rows[i].message);
}

static void
a_case_passes_when_the_verdict_is_as_expected(void **state)
{
	static const char *const passing[] = {
		CASE_EXPECTING("allow"),
		CASE_EXPECTING("{verdict: allow, rule: people, line: 4, lifetime: 5m}"),
		CASE_ASKING("      ends: 1h\n"),
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT
		"      ends: 3601\n    expect: {verdict: deny, "
		"rule: \"people: max_grant\", value: 3601 s, limit: 3600 s, hint: ask for an earlier end, line: 4}\n",
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT
		"      act: renew\n      lifetime: 2m\n    expect: {verdict: allow, lifetime: 120}\n",
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO "    expect: {verdict: deny, rule: S3}\n",
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT
		"      depth: 8\n    expect: {verdict: deny, rule: D1, value: depth 8}\n",
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT
		"      ends: 9h\n    expect: {verdict: deny, rule: L3}\n",
		"version: 1\ncases:\n  - name: one\n    request:\n" WHO WHAT
		"      ends: 30m\n      task_ends: 20m\n    expect: {verdict: deny, rule: L2}\n",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(passing); i++)
		assert_string_equal(judged(passing[i]), "");
}

static void
a_case_that_fails_tells_what_it_got_and_what_it_expected(void **state)
{
	(void)state;
	assert_string_equal(judged(CASE_EXPECTING("deny")), "verdict: got 'allow', expected 'deny'\n"
							    "got: allow by rule 'people' (line 4), 300 s\n");
	assert_string_equal(
		judged(CASE_EXPECTING("{verdict: allow, rule: agents, line: 5, lifetime: 60}")),
		"rule: got 'people', expected 'agents'\nline: got 4, expected 5\nlifetime: got 300, expected "
		"60\ngot: allow by rule 'people' (line 4), 300 s\n");
	assert_string_equal(judged(CASE_ASKING("      depth: 3\n")),
			    "verdict: got 'deny', expected 'allow'\n"
			    "got: deny people: max_depth: depth 3; limit: depth 2; ask for less depth\n");
	assert_string_equal(judged(CASE_EXPECTING("{verdict: allow, value: x, limit: y, hint: z}")),
			    "value: got '', expected 'x'\nlimit: got '', expected 'y'\nhint: got '', expected 'z'\n"
			    "got: allow by rule 'people' (line 4), 300 s\n");
}

#define BY_AGENT                                                                                                       \
	"version: 1\ncases:\n  - name: one\n    request:\n      delegator: " TD                                        \
	"/agent/bot/i-1\n      kind: agent\n      agent: " TD "/agent/reader\n" WHAT
#define PARENT(more)                                                                                                   \
	"      parent:\n        scope: [{actions: [\"a:*\"], resources: [\"https://h/**\"], delegable: true}]\n"       \
	"        audience: [\"https://h\"]\n" more

static void
a_parent_makes_it_a_case_of_attenuation(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ BY_AGENT PARENT("        depth: 1\n") "    expect: {verdict: allow, rule: agents}\n", "" },
		{ BY_AGENT "    expect: {verdict: deny, rule: K1}\n", "" },
		{ BY_AGENT PARENT("        depth: 0\n") "    expect: {verdict: deny, rule: D1}\n", "" },
		{ BY_AGENT PARENT(
			  "        depth: 1\n        ends: 30m\n") "      ends: 31m\n    expect: {verdict: deny, "
								   "rule: L2}\n",
		  "" },
		/* it ends with its parent unless it says otherwise */
		{ BY_AGENT PARENT("        depth: 1\n        ends: 30m\n") "    expect: allow\n", "" },
		{ BY_AGENT PARENT("        depth: 1\n        leaf: 0\n") "    expect: {verdict: deny, rule: L5}\n",
		  "" },
		{ BY_AGENT PARENT(
			  "        depth: 1\n        leaf: 20\n") "      act: renew\n    expect: {verdict: retry, "
								  "rule: L5}\n",
		  "" },
		{ BY_AGENT PARENT(
			  "        depth: 1\n        leaf: 50\n") "      act: issue\n    expect: {verdict: allow, "
								  "lifetime: 50}\n",
		  "" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		assert_string_equal(judged(rows[i].text), rows[i].why);
}

static void
what_the_parent_is_bound_by_is_copied_down_before_it_is_decided(void **state)
{
	static const char text[] = BY_AGENT
		"      parent:\n        scope: [{actions: [\"a:*\"], resources: [\"https://h/**\"], delegable: true}]\n"
		"        audience: [\"https://h\"]\n        depth: 1\n"
		"        constraints: [{param_max: {name: limit, max: 100}}]\n    expect: allow\n";
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(65536);
	AUTO(cases_freep) struct cases *cases = NULL;
	struct case_facts facts;

	(void)state;
	assert_string_equal(judged(text), "");
	expect_ok(cases_parse("c.yaml", writ_str(text), &cases));
	expect_ok(cases_facts(cases, 0, NOW, &arena, &facts));
	assert_int_equal(facts.grant.constraints.n, 1);
	assert_int_equal(facts.grant.constraints.list[0].max, 100);
}

static void
cases_are_found_by_name_and_may_bring_their_own_time(void **state)
{
	AUTO(cases_freep) struct cases *cases = NULL;
	size_t i = 9;

	(void)state;
	expect_ok(cases_parse("c.yaml", writ_str("now: 2026-11-23T20:51:38Z\n" CASE_EXPECTING("allow")), &cases));
	assert_int_equal(cases_n(cases), 1);
	assert_true(cases_find(cases, WRIT_LIT("one"), &i));
	assert_int_equal(i, 0);
	assert_false(cases_find(cases, WRIT_LIT("two"), &i));
	expect_bytes(cases_name(cases, 0), WRIT_LIT("one"));
	assert_int_equal(cases_line(cases, 0), 4);
	assert_int_equal(cases_now(cases, NOW), NOW + 1);
	cases_freep(&cases);
	expect_ok(cases_parse("c.yaml", writ_str(CASE_EXPECTING("allow")), &cases));
	assert_int_equal(cases_now(cases, NOW), NOW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_is_checked_key_by_key),
		cmocka_unit_test(a_case_passes_when_the_verdict_is_as_expected),
		cmocka_unit_test(a_case_that_fails_tells_what_it_got_and_what_it_expected),
		cmocka_unit_test(a_parent_makes_it_a_case_of_attenuation),
		cmocka_unit_test(what_the_parent_is_bound_by_is_copied_down_before_it_is_decided),
		cmocka_unit_test(cases_are_found_by_name_and_may_bring_their_own_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
