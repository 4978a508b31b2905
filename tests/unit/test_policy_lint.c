/* What lint says of a policy, word for word, and of what it holds its tongue. */
#include "tests/unit/policy_make.h"

#define NOW 1795467097 /* 2026-11-23T20:51:37Z */
#define HEAD                                                                                                           \
	"version: 1\nid: p\nroles: {operator: [\"" TD "/human/corp/olga\"]}\nrules:\n" /* rules begin in line 5        \
											*/

/* Four lines, five with `more`: name, who, agents, what. */
#define RULE(name, kind, delegators, agents, entitlements, more)                                                       \
	"  - {name: " name ", kind: " kind ", delegator: [" delegators "],\n"                                          \
	"     agents: [" agents "],\n"                                                                                 \
	"     entitlements: [" entitlements "],\n"                                                                     \
	"     audience: [\"https://h\"], max_lifetime: 5m" more "}\n"
#define CORP "\"" TD "/human/corp/**\""
#define BOT "\"" TD "/agent/bot\""
#define BOTS "\"" TD "/agent/bot/*\""
#define READER "\"" TD "/agent/reader\""
#define READ "{actions: [\"a:read\"], resources: [\"https://h/x/**\"]}"
#define READ_ON "{actions: [\"a:read\"], resources: [\"https://h/x/**\"], delegable: true}"
#define WRITE_ON "{actions: [\"a:write\"], resources: [\"https://h/x/**\"], delegable: true}"

static void
expect_lint_in(const char *trust_domain, const char *text, const char *wanted)
{
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(65536);
	unsigned n = 0, lines = 0;

	expect_ok(policy_parse("p.yaml", writ_str(text), &policy));
	expect_ok(policy_lint(policy, writ_str(trust_domain), NOW, &out, &n));
	expect_ok(writ_buf_add(&out, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	assert_string_equal((const char *)out.data, wanted);
	for (const char *at = wanted; *at; at++)
		lines += *at == '\n';
	assert_int_equal(n, lines);
}

static void
expect_lint(const char *text, const char *wanted)
{
	expect_lint_in("", text, wanted);
}

static void
a_policy_that_says_what_it_means_has_no_remarks(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, ", max_depth: 1")
			    RULE("two", "agent", BOTS, READER, READ, ", max_depth: 0"),
		    "");
}

static void
without_rules_or_operators_is_told(void **state)
{
	(void)state;
	expect_lint("version: 1\nid: p\nrules: []\n",
		    "no rule: everything is denied; add one under rules\n"
		    "no operator: nobody may revoke what others delegated; name one under roles\n");
}

/* ---- shadowed ---- */

static void
a_rule_of_which_an_earlier_one_allows_all_never_decides(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("wide", "human", CORP, "\"" TD "/agent/*\"",
			      "{actions: [\"a:*\"], resources: [\"https://h/x/**\"], delegable: true}", "")
			    RULE("narrow", "human", "\"" TD "/human/corp/olga\"", BOT, READ, ", max_depth: 0"),
		    "line 9: rule 'narrow' never decides: rule 'wide' (line 5), tried before it, allows all that it "
		    "allows; remove one of them, or narrow 'wide'\n");
}

static void
a_rule_of_which_a_later_one_allows_all_limits_nothing(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("narrow", "human", CORP, BOT, READ, ", max_depth: 0, max_grant: 10m")
			    RULE("wide", "human", CORP, BOT, READ_ON, ""),
		    "line 5: rule 'narrow' limits nothing: what it refuses, rule 'wide' (line 9) below allows; narrow "
		    "'wide', or remove one of them\n");
}

static void
a_later_rule_that_lets_pass_by_approvals_is_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("strict", "human", CORP, BOT, READ,
			      ", max_depth: 0, approvals: {of: 2, by: [\"" TD "/human/finance/*\"]}")
			    RULE("lax", "human", CORP, BOT, READ_ON, ""),
		    "line 5: rule 'strict' wants 2 approvals, but who asks for a little more than it allows passes by "
		    "them: rule 'lax' (line 9) below wants 0; narrow 'lax', or have it want them too\n");
	expect_lint(HEAD RULE("lax", "human", CORP, BOT, READ_ON, "")
			    RULE("strict", "human", CORP, BOT, READ,
				 ", max_depth: 0, approvals: {of: 2, by: [\"" TD "/human/finance/*\"]}"),
		    "line 9: rule 'strict' never decides: rule 'lax' (line 5), tried before it, allows all that it "
		    "allows; remove one of them, or narrow 'lax'\n");
}

static void
approvers_that_match_nobody_or_add_nothing_are_told(void **state)
{
	(void)state;
	expect_lint_in(
		"agents.corp.example",
		HEAD RULE(
			"one", "human", CORP, BOT, READ,
			", max_depth: 0,\n     approvals: {of: 1, by: [\"spiffe://agent.corp.example/human/a/*\", \"" TD
			"/human/f/*\", \"" TD "/human/f/**\"]}"),
		"line 9: rule 'one': approver 'spiffe://agent.corp.example/human/a/*' matches nobody: the trust "
		"domain is agents.corp.example; correct it\n"
		"line 9: rule 'one': approver '" TD "/human/f/*' adds nothing to '" TD
		"/human/f/**'; remove one of them\n");
}

static void
of_two_equal_rules_the_later_is_told_once(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "") RULE("two", "human", CORP, BOT, READ_ON, ""),
		    "line 9: rule 'two' never decides: rule 'one' (line 5), tried before it, allows all that it "
		    "allows; remove one of them, or narrow 'one'\n");
}

static void
one_item_that_another_rule_lacks_is_reason_enough_for_a_rule(void **state)
{
	static const char *const more[] = { ", max_depth: 3", ", max_grant: 2h",
					    ", wildcard_audience: false, max_depth: 3" };

	(void)state;
	for (size_t i = 0; i < N_OF(more); i++) {
		char text[2048];

		snprintf(text, sizeof(text), HEAD RULE("one", "human", CORP, BOT, READ_ON, "") "%s%s}\n",
			 "  - {name: two, kind: human, delegator: [\"" TD "/human/corp/olga\"],\n"
			 "     agents: [" BOT "], entitlements: [" READ_ON
			 "], audience: [\"https://h\"], max_lifetime: 5m",
			 more[i]);
		expect_lint(text, "");
	}
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "") RULE("two", "human", CORP, READER, READ_ON, ""),
		    "");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "") RULE("two", "human", CORP, BOT, WRITE_ON, ""),
		    "");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "")
			    RULE("two", "service", "\"" TD "/service/ci/*\"", BOT, READ_ON, ""),
		    "");
}

static void
what_only_two_rules_together_allow_is_not_shadowed(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "") RULE("two", "human", CORP, BOT, WRITE_ON, "")
			    RULE("both", "human", CORP, BOT, READ_ON ", " WRITE_ON, ""),
		    /* the third allows all of each: that is what is told */
		    "line 5: rule 'one' limits nothing: what it refuses, rule 'both' (line 13) below allows; narrow "
		    "'both', or remove one of them\n"
		    "line 9: rule 'two' limits nothing: what it refuses, rule 'both' (line 13) below allows; narrow "
		    "'both', or remove one of them\n");
}

static void
an_entitlement_inside_another_of_its_rule_is_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ ",\n " READ_ON, ""),
		    "line 7: rule 'one', entitlement 1: entitlement 2 allows all of it; remove it, or narrow the "
		    "other\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON ",\n " READ_ON, ""),
		    "line 8: rule 'one', entitlement 2: entitlement 1 allows all of it; remove it, or narrow the "
		    "other\n");
}

static void
a_pattern_inside_another_of_its_list_is_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", "\"" TD "/human/corp/olga\",\n " CORP, BOT, READ_ON, ""),
		    "line 5: rule 'one': delegator '" TD "/human/corp/olga' adds nothing to '" TD
		    "/human/corp/**'; remove one of them\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT ",\n  \"" TD "/agent/*\"", READ_ON, ""),
		    "line 6: rule 'one': agents '" TD "/agent/bot' adds nothing to '" TD
		    "/agent/*'; remove one of them\n");
}

/* ---- unreachable ---- */

static void
a_rule_for_agents_that_no_rule_names_can_never_allow(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, READER, READ_ON, "") RULE("two", "agent", BOTS, READER, READ, ""),
		    "line 9: rule 'two' can never allow anything: no rule lets its delegators be delegated to; name "
		    "them in another rule's agents\n");
}

static void
a_rule_for_agents_that_are_left_no_depth_can_never_allow(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, ", max_depth: 0")
			    RULE("two", "agent", BOTS, READER, READ, ""),
		    "line 9: rule 'two' can never allow anything: the rules under which its delegators get their "
		    "leaves leave them no depth; raise max_depth there\n");
	/* a depth of one is spent by the first agent */
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, ", max_depth: 1")
			    RULE("two", "agent", BOTS, READER, READ_ON, "")
				    RULE("three", "agent", "\"" TD "/agent/reader/*\"", BOT, READ, ""),
		    "line 11: rule 'two', entitlement 1: delegable, but its delegators have no depth left to hand it "
		    "on; raise max_depth where they get their leaves, or leave delegable out\n"
		    "line 13: rule 'three' can never allow anything: the rules under which its delegators get their "
		    "leaves leave them no depth; raise max_depth there\n");
}

static void
a_rule_for_agents_that_have_nothing_to_hand_on_can_never_allow(void **state)
{
	static const char text[] =
		"line 9: rule 'two' can never allow anything: the rules under which its delegators get "
		"their leaves grant nothing delegable that this one allows; say delegable there, or "
		"correct the entitlements here\n";

	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, "") RULE("two", "agent", BOTS, READER, READ, ""), text);
	expect_lint(HEAD RULE("one", "human", CORP, BOT, WRITE_ON, "") RULE("two", "agent", BOTS, READER, READ, ""),
		    text);
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "") "  - {name: two, kind: agent, delegator: [" BOTS
								      "], agents: [" READER "], entitlements: [" READ
								      "],\n     audience: [\"https://i\"], "
								      "max_lifetime: 5m}\n",
		    "line 9: rule 'two' can never allow anything: the rules under which its delegators get their "
		    "leaves share no audience with this one; correct the audience\n");
}

static void
agents_reach_rules_through_each_other_and_every_shape_of_pattern(void **state)
{
	static const char *const patterns[] = { BOTS, "\"" TD "/agent/**\"", "\"" TD "/**\"",
						"\"" TD "/agent/bot/**\"" };

	(void)state;
	for (size_t i = 0; i < N_OF(patterns); i++) {
		char text[4096];

		snprintf(text, sizeof(text),
			 HEAD RULE("one", "human", CORP, BOT, READ_ON, "") "  - {name: two, kind: agent, delegator: "
									   "[%s], agents: [" READER
									   "], entitlements: [" READ "],\n"
									   "     audience: [\"https://h\"], "
									   "max_lifetime: 5m}\n",
			 patterns[i]);
		expect_lint(text, "");
	}
	/* the last rule is reached through the second only */
	expect_lint(HEAD RULE("three", "agent", "\"" TD "/agent/reader/*\"", BOT, READ, "")
			    RULE("two", "agent", BOTS, READER, READ_ON, "")
				    RULE("one", "human", CORP, BOT, READ_ON, ""),
		    "");
	/* two rules that lead to each other lead nowhere */
	expect_lint(HEAD RULE("one", "agent", BOTS, READER, READ_ON, "")
			    RULE("two", "agent", "\"" TD "/agent/reader/*\"", BOT, READ_ON, ""),
		    "line 5: rule 'one' can never allow anything: the rules under which its delegators get their "
		    "leaves leave them no depth; raise max_depth there\n"
		    "line 9: rule 'two' can never allow anything: the rules under which its delegators get their "
		    "leaves leave them no depth; raise max_depth there\n");
}

static void
one_instance_as_delegator_is_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, "")
			    RULE("two", "agent", "\"" TD "/agent/bot/i-7f3a\"", READER, READ, ""),
		    "line 9: rule 'two': '" TD "/agent/bot/i-7f3a' is one instance, and an instance's name is never "
		    "used again; name its class with /* behind it\n");
}

static void
a_pattern_of_another_trust_domain_matches_nobody(void **state)
{
	static const char text[] = HEAD RULE(
		"one", "service", "\"" TD "/service/ci/*\",\n    \"spiffe://agent.corp.example/service/ci/*\"", BOT,
		READ_ON, "");

	(void)state;
	expect_lint(
		text,
		"line 6: rule 'one': 'spiffe://agent.corp.example/service/ci/*' is in another trust domain than '" TD
		"/agent/bot', so one of them matches nobody; correct it (--trust-domain tells which)\n");
	expect_lint_in(
		"agents.corp.example", text,
		"line 6: rule 'one': 'spiffe://agent.corp.example/service/ci/*' matches nobody: the trust domain "
		"is agents.corp.example; correct it\n");
	expect_lint_in("agent.corp.example", text,
		       "line 3: role operator: '" TD
		       "/human/corp/olga' matches nobody: the trust domain is agent.corp.example; correct it\n"
		       "line 5: rule 'one': '" TD
		       "/service/ci/*' matches nobody: the trust domain is agent.corp.example; correct it\n"
		       "line 7: rule 'one': '" TD
		       "/agent/bot' matches nobody: the trust domain is agent.corp.example; correct it\n");
}

static void
limits_that_are_never_reached_are_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, ",\n     max_depth: 2"),
		    "line 9: rule 'one': max_depth 2, but nothing in it is delegable; set max_depth 0, or say "
		    "delegable\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, ""), ""); /* by default it is 2, which says nothing */
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ_ON, ", max_depth: 0"),
		    "line 7: rule 'one', entitlement 1: delegable, but with max_depth 0 nothing is handed on; raise "
		    "max_depth, or leave delegable out\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, ", max_grant: 4m"),
		    "line 8: rule 'one': max_lifetime 300 s is never reached: its delegations end after max_grant, "
		    "240 s; set one to the other\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT, READ, ",\n     wildcard_audience: true"),
		    "line 9: rule 'one': wildcard_audience is of no use: no audience of it holds a wildcard; leave it "
		    "out\n");
}

static void
a_window_that_has_ended_is_told(void **state)
{
	(void)state;
	expect_lint(
		HEAD RULE("one", "human", CORP, BOT,
			  "{actions: [\"a\"], resources: [\"https://h/x\"], constraints: [{window: {from: "
			  "\"2026-01-01T00:00:00Z\", to: \"2026-11-23T20:51:36Z\"}}]}",
			  ""),
		"line 7: rule 'one', entitlement 1: its window ended 2026-11-23T20:51:36Z, so what it allows can be "
		"used no more; set a later one, or remove the entitlement\n");
	expect_lint(HEAD RULE("one", "human", CORP, BOT,
			      "{actions: [\"a\"], resources: [\"https://h/x\"], constraints: [{window: {from: "
			      "\"2026-01-01T00:00:00Z\", to: \"2026-11-23T20:51:37Z\"}}]}",
			      ""),
		    "");
}

/* ---- too much ---- */

static void
what_allows_everything_is_told(void **state)
{
	(void)state;
	expect_lint(HEAD RULE("all", "human", "\"" TD "/human/**\"", "\"" TD "/agent/*\"",
			      "{actions: [\"a:*\"], resources: [\"https://h/**\"]}", ""),
		    "line 5: rule 'all': every human under '" TD
		    "/human/**' may delegate to every agent; name who, and to which class\n"
		    "line 7: rule 'all', entitlement 1 allows everything: whatever is under 'a:*' on all of "
		    "'https://h/**', to every agent, by every human; narrow it\n");
	expect_lint(HEAD RULE("all", "human", "\"" TD "/**\"", BOT, READ, ""),
		    "line 5: rule 'all': every human under '" TD
		    "/**' may delegate, whoever vouches for them; name an alias or a path\n");
	expect_lint(
		HEAD RULE("all", "human", CORP, BOT, "{actions: [\"a:*\"], resources: [\"https://h/**\"]}", ""),
		"line 7: rule 'all', entitlement 1: every action under 'a:*' on all of 'https://h/**'; name actions "
		"or a path, or set a constraint\n");
	expect_lint(
		HEAD RULE(
			"all", "human", CORP, BOT,
			"{actions: [\"a:*\"], resources: [\"https://h/**\"], constraints: [{param_max: {name: n, max: "
			"1}}]}",
			""),
		"");
}

static void
a_wildcard_audience_is_told(void **state)
{
	(void)state;
	expect_lint(
		HEAD "  - {name: one, kind: human, delegator: [" CORP "], agents: [" BOT "],\n     entitlements: [" READ
		     "],\n     audience: [\"https://h/**\"], max_lifetime: 5m,\n     wildcard_audience: true}\n",
		"line 8: rule 'one': a leaf may name an audience by wildcard; leave wildcard_audience out where each "
		"can be named\n");
}

static void
leaves_without_a_status_are_told(void **state)
{
	(void)state;
	expect_lint(HEAD "  - {name: one, kind: human, delegator: [" CORP "], agents: [" BOT "],\n     entitlements: [" READ
			 "],\n     audience: [\"https://h\"], max_lifetime: 90s, max_depth: 0,\n     no_rev_avail: true}\n",
		    "line 8: rule 'one': no relying party can find its leaves revoked, for up to 90 s, and those that demand a "
		    "status refuse them; leave no_rev_avail out where a revocation must be heard of\n");
	/* and that rule does not limit nothing: what the other allows is another leaf */
	expect_lint(HEAD "  - {name: one, kind: human, delegator: [" CORP "], agents: [" BOT "],\n     entitlements: [" READ
			 "],\n     audience: [\"https://h\"], max_lifetime: 90s, max_depth: 0,\n     no_rev_avail: true}\n" RULE(
				 "two", "human", CORP, BOT, READ, ", max_depth: 0"),
		    "line 8: rule 'one': no relying party can find its leaves revoked, for up to 90 s, and those that demand a "
		    "status refuse them; leave no_rev_avail out where a revocation must be heard of\n");
}

static void
roles_of_everybody_and_of_agents_are_told(void **state)
{
	(void)state;
	expect_lint("version: 1\nid: p\nroles:\n  operator:\n    - \"" TD "/human/**\"\n  auditor:\n    - \"" TD
		    "/human/audit/**\"\n    - \"" TD
		    "/agent/auditor/*\"\nrules:\n" RULE("one", "human", CORP, BOT, READ, ""),
		    "line 5: role operator: '" TD "/human/**' is everybody of a kind; name people, or one alias\n"
		    "line 8: role auditor: '" TD
		    "/agent/auditor/*' has no role: agents have none; name a human or a service\n");
}

static void
remarks_stop_at_the_limit_of_the_buffer(void **state)
{
	AUTO(policy_freep) struct policy *policy = NULL;

	(void)state;
	expect_ok(policy_parse("p.yaml", WRIT_LIT("version: 1\nid: p\nrules: []\n"), &policy));
	for (size_t limit = 0; limit < 100; limit += 9) {
		AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(limit);
		unsigned n;
		struct writ_err *err = policy_lint(policy, (struct writ_bytes){ 0 }, NOW, &out, &n);

		assert_non_null(err);
		assert_int_equal(err->code, WRIT_EXHAUSTED);
		writ_err_free(err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_that_says_what_it_means_has_no_remarks),
		cmocka_unit_test(without_rules_or_operators_is_told),
		cmocka_unit_test(a_rule_of_which_an_earlier_one_allows_all_never_decides),
		cmocka_unit_test(a_rule_of_which_a_later_one_allows_all_limits_nothing),
		cmocka_unit_test(a_later_rule_that_lets_pass_by_approvals_is_told),
		cmocka_unit_test(approvers_that_match_nobody_or_add_nothing_are_told),
		cmocka_unit_test(of_two_equal_rules_the_later_is_told_once),
		cmocka_unit_test(one_item_that_another_rule_lacks_is_reason_enough_for_a_rule),
		cmocka_unit_test(what_only_two_rules_together_allow_is_not_shadowed),
		cmocka_unit_test(an_entitlement_inside_another_of_its_rule_is_told),
		cmocka_unit_test(a_pattern_inside_another_of_its_list_is_told),
		cmocka_unit_test(a_rule_for_agents_that_no_rule_names_can_never_allow),
		cmocka_unit_test(a_rule_for_agents_that_are_left_no_depth_can_never_allow),
		cmocka_unit_test(a_rule_for_agents_that_have_nothing_to_hand_on_can_never_allow),
		cmocka_unit_test(agents_reach_rules_through_each_other_and_every_shape_of_pattern),
		cmocka_unit_test(one_instance_as_delegator_is_told),
		cmocka_unit_test(a_pattern_of_another_trust_domain_matches_nobody),
		cmocka_unit_test(limits_that_are_never_reached_are_told),
		cmocka_unit_test(a_window_that_has_ended_is_told),
		cmocka_unit_test(what_allows_everything_is_told),
		cmocka_unit_test(a_wildcard_audience_is_told),
		cmocka_unit_test(leaves_without_a_status_are_told),
		cmocka_unit_test(roles_of_everybody_and_of_agents_are_told),
		cmocka_unit_test(remarks_stop_at_the_limit_of_the_buffer),
	};
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);

	writ_arena_done(&make_arena);
	return failed;
}
