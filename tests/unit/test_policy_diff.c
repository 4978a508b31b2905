/* What differs between two policies, word for word; and what is no difference. */
#include "tests/unit/policy_make.h"

#define TWO(first, second) "version: 1\nid: p\nrules:\n" first second
#define PEOPLE_WITH(what, more)                                                                                        \
	"  - name: people\n    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" TD             \
	"/agent/bot\"]\n"                                                                                              \
	"    entitlements:\n" what "    audience: [\"https://h\"]\n    max_lifetime: 5m\n" more
#define WHAT "      - {actions: [\"a:read\", \"a:write\"], resources: [\"https://h/**\"], delegable: true}\n"
#define PEOPLE PEOPLE_WITH(WHAT, "")
#define AGENTS                                                                                                         \
	"  - name: agents\n    delegator: [\"" TD "/agent/bot/*\"]\n    kind: agent\n    agents: [\"" TD               \
	"/agent/reader\"]\n"                                                                                           \
	"    entitlements: [{actions: [\"a:read\"], resources: [\"https://h/**\"]}]\n    audience: [\"https://h\"]\n"  \
	"    max_lifetime: 2m\n    max_depth: 0\n"

static void
expect_diff(const char *before, const char *after, const char *wanted)
{
	AUTO(policy_freep) struct policy *a = NULL, *b = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(65536);
	unsigned n = 0, lines = 0;

	expect_ok(policy_parse("a.yaml", writ_str(before), &a));
	expect_ok(policy_parse("b.yaml", writ_str(after), &b));
	expect_ok(policy_diff(a, b, &out, &n));
	expect_ok(writ_buf_add(&out, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	assert_string_equal((const char *)out.data, wanted);
	for (const char *at = wanted; *at; at++)
		lines += *at == '\n';
	assert_int_equal(n, lines);
}

static void
comments_layout_and_the_order_of_lists_are_no_difference(void **state)
{
	(void)state;
	expect_diff(TWO(PEOPLE, AGENTS), TWO(PEOPLE, AGENTS), "");
	expect_diff(
		TWO(PEOPLE, ""),
		"# a comment\n" TWO("", PEOPLE_WITH("      - resources: [\"https://h/**\"]\n        delegable: true\n"
						    "        actions: [\"a:write\", \"a:read\"]\n",
						    "    max_depth: 2\n    max_grant: 60m\n")),
		"");
}

static void
the_top_of_the_file_is_compared(void **state)
{
	(void)state;
	expect_diff("version: 1\nid: p\nrules: []\n",
		    "version: 1\nid: q\nrevision: 3\nembed_purpose: false\nroles: {operator: [\"" TD
		    "/human/corp/olga\"], auditor: [\"" TD "/human/audit/**\"]}\nrules: []\n",
		    "id: 'p' -> 'q'\nrevision: 0 -> 3\nembed_purpose: true -> false\nrole operator: + '" TD
		    "/human/corp/olga'\nrole auditor: + '" TD "/human/audit/**'\n");
	expect_diff("version: 1\nid: p\nroles: {operator: [\"" TD "/human/corp/olga\", \"" TD
		    "/human/corp/otto\"]}\nrules: []\n",
		    "version: 1\nid: p\nroles: {operator: [\"" TD "/human/corp/otto\"]}\nrules: []\n",
		    "role operator: - '" TD "/human/corp/olga'\n");
}

static void
rules_that_came_and_went_are_told_with_their_lines(void **state)
{
	(void)state;
	expect_diff(TWO(PEOPLE, AGENTS), TWO(PEOPLE, ""), "rule 'agents' (line 12 before): gone\n");
	expect_diff(TWO("", AGENTS), TWO(PEOPLE, AGENTS), "rule 'people' (line 4): new\n");
}

static void
a_changed_rule_is_summed_up_and_told_item_by_item(void **state)
{
	(void)state;
	expect_diff(
		TWO(PEOPLE, ""), TWO(PEOPLE_WITH(WHAT, "    max_depth: 1\n    max_grant: 30m\n"), ""),
		"rule 'people' (line 4, was 4): allows less than before\nrule 'people': max_grant: 3600 s -> 1800 s\n"
		"rule 'people': max_depth: 2 -> 1\n");
	expect_diff(TWO(PEOPLE, ""), TWO("", "\n" PEOPLE_WITH(WHAT, "    wildcard_audience: true\n")),
		    "rule 'people' (line 5, was 4): allows more than before\n"
		    "rule 'people': wildcard_audience: false -> true\n");
	expect_diff(TWO(PEOPLE_WITH(WHAT, "    max_depth: 0\n"), ""),
		    TWO(PEOPLE_WITH(WHAT, "    max_depth: 0\n    no_rev_avail: false\n"), ""), "");
	expect_diff(
		TWO(PEOPLE, ""),
		TWO(PEOPLE_WITH(
			    "      - {actions: [\"a:read\"], resources: [\"https://h/x\"], constraints: [{param_max: "
			    "{name: n, max: 1}}, {source_net: [10.0.0.0/8, \"2001:db8::/32\"]}, {param_in: {name: c, "
			    "values: [A, B]}}]}\n",
			    "    max_depth: 3\n"),
		    ""),
		"rule 'people' (line 4, was 4): allows other than before\n"
		"rule 'people': entitlements: - a:read, a:write on https://h/**; delegable\n"
		"rule 'people': entitlements: + a:read on https://h/x; under n <= 1, source_net {10.0.0.0/8, "
		"2001:db8::/32}, c in {'A', 'B'}\n"
		"rule 'people': max_depth: 2 -> 3\n");
	expect_diff(TWO("", AGENTS),
		    TWO("", "  - name: agents\n    delegator: [\"" TD
			    "/service/ci/*\"]\n    kind: service\n    agents: [\"" TD
			    "/agent/*\"]\n    entitlements: [{actions: [\"a:read\"], resources: [\"https://h/**\"]}]\n"
			    "    audience: [\"https://h\", \"https://i\"]\n    max_lifetime: 3m\n    max_depth: 0\n"),
		    "rule 'agents' (line 4, was 4): allows other than before\nrule 'agents': kind: agent -> service\n"
		    "rule 'agents': delegator: - '" TD "/agent/bot/*'\nrule 'agents': delegator: + '" TD
		    "/service/ci/*'\n"
		    "rule 'agents': agents: - '" TD "/agent/reader'\nrule 'agents': agents: + '" TD "/agent/*'\n"
		    "rule 'agents': audience: + 'https://i'\nrule 'agents': max_lifetime: 120 s -> 180 s\n");
}

static void
approvals_are_compared(void **state)
{
	(void)state;
	expect_diff(TWO(PEOPLE, ""),
		    TWO(PEOPLE_WITH(WHAT, "    approvals: {of: 2, by: [\"" TD "/human/corp/*\"]}\n"), ""),
		    "rule 'people' (line 4, was 4): allows the same, under other approvals\n"
		    "rule 'people': approvals: 0 -> 2\nrule 'people': approvals by: + '" TD "/human/corp/*'\n");
	expect_diff(TWO(PEOPLE_WITH(WHAT, "    approvals: {of: 2, by: [\"" TD "/human/corp/*\"]}\n"), ""),
		    TWO(PEOPLE_WITH(WHAT, "    approvals: {of: 2, by: [\"" TD "/human/corp/*\"], within: 10m}\n"), ""),
		    "rule 'people' (line 4, was 4): allows the same, under other approvals\n"
		    "rule 'people': approvals within: 3600 s -> 600 s\n");
}

static void
another_order_of_rules_is_a_difference(void **state)
{
	(void)state;
	expect_diff(TWO(PEOPLE, AGENTS), TWO(AGENTS, PEOPLE),
		    "order: rule 'agents' (line 4) is tried before 'people' (line 12) now\n");
}

static void
the_same_in_other_words_is_told_as_such(void **state)
{
	(void)state;
	expect_diff(TWO(PEOPLE, ""),
		    TWO(PEOPLE_WITH(WHAT "      - {actions: [\"a:read\"], resources: [\"https://h/x\"]}\n", ""), ""),
		    "rule 'people' (line 4, was 4): allows the same in other words\n"
		    "rule 'people': entitlements: + a:read on https://h/x\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_layout_and_the_order_of_lists_are_no_difference),
		cmocka_unit_test(the_top_of_the_file_is_compared),
		cmocka_unit_test(rules_that_came_and_went_are_told_with_their_lines),
		cmocka_unit_test(a_changed_rule_is_summed_up_and_told_item_by_item),
		cmocka_unit_test(approvals_are_compared),
		cmocka_unit_test(another_order_of_rules_is_a_difference),
		cmocka_unit_test(the_same_in_other_words_is_told_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
