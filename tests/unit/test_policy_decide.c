/* Decisions: who is refused by which rule at which value, in words; and the times of what is granted. */
#include "tests/unit/policy_make.h"

#define NOW 1795467097 /* 2026-11-23T20:51:37Z */
#define OLGA TD "/human/corp/olga"
#define BOT TD "/agent/bot"
#define BOT_1 TD "/agent/bot/i-1"
#define READER TD "/agent/reader"

static const char policy_text[] =
	"version: 1\nid: p\nrules:\n"
	"  - name: invoices\n" /* line 4 */
	"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" BOT "\"]\n"
	"    entitlements:\n"
	"      - {actions: [\"invoices:*\"], resources: [\"https://erp/v2/**\"], delegable: true}\n"
	"      - {actions: [\"payments:create\"], resources: [\"https://erp/pay\"], constraints: [{param_max: {name: "
	"amount, max: 100}}]}\n"
	"    audience: [\"https://erp\"]\n    max_lifetime: 5m\n"
	"  - name: invoices-long\n" /* line 13 */
	"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" BOT "\"]\n"
	"    entitlements: [{actions: [\"invoices:read\"], resources: [\"https://erp/v2/**\"]}]\n"
	"    audience: [\"https://erp\"]\n    max_lifetime: 10m\n    max_grant: 2h\n    max_depth: 0\n"
	"  - name: wide\n" /* line 22 */
	"    delegator: [\"" TD "/service/ci/*\"]\n    kind: service\n    agents: [\"" TD "/agent/*\"]\n"
	"    entitlements: [{actions: [\"a\"], resources: [\"https://h/**\"], delegable: true}]\n"
	"    audience: [\"https://h/**\", \"https://i\"]\n    wildcard_audience: true\n"
	"    max_lifetime: 15m\n    max_grant: 8h\n    max_depth: 7\n"
	"  - name: readers\n" /* line 32 */
	"    delegator: [\"" TD "/agent/bot/*\"]\n    kind: agent\n    agents: [\"" READER "\"]\n"
	"    entitlements: [{actions: [\"invoices:read\"], resources: [\"https://erp/v2/**\"]}]\n"
	"    audience: [\"https://erp\"]\n    max_lifetime: 2m\n    max_depth: 1\n";

/* Two payers: the first waits for approvals. */
static const char approvals_text[] =
	"version: 1\nid: p\nrules:\n"
	"  - name: payments\n" /* line 4 */
	"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" TD "/agent/payer\"]\n"
	"    entitlements: [{actions: [\"pay\"], resources: [\"https://erp/pay\"]}]\n"
	"    audience: [\"https://erp\"]\n    max_lifetime: 5m\n    max_depth: 0\n"
	"    approvals: {of: 2, by: [\"" TD "/human/corp/**\", \"" TD "/service/gate\"], within: 30m}\n"
	"  - name: payments-later\n" /* line 13 */
	"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" TD "/agent/payer\"]\n"
	"    entitlements: [{actions: [\"pay\"], resources: [\"https://erp/pay\"]}]\n"
	"    audience: [\"https://erp\"]\n    max_lifetime: 5m\n    max_depth: 1\n";

static struct policy *policy;

static int
policy_read(void **state)
{
	(void)state;
	expect_ok(policy_parse("p.yaml", writ_str(policy_text), &policy));
	return 0;
}

static int
policy_forget(void **state)
{
	(void)state;
	policy_freep(&policy);
	writ_arena_done(&make_arena);
	return 0;
}

static struct grant
reading(void)
{
	return GRANT("https://erp", make_entitlement("invoices:read", "https://erp/v2/x", LOCAL));
}

/* What every test begins from and changes: Olga has the bot read invoices for an hour. */
static struct policy_facts
from_olga(const struct grant *grant)
{
	return (struct policy_facts){ .act = ACT_DELEGATE,
				      .delegator = writ_str(OLGA),
				      .delegator_kind = PRINCIPAL_HUMAN,
				      .agent = writ_str(BOT),
				      .grant = grant,
				      .depth = 1,
				      .edge_not_after = NOW + 3600,
				      .task_ends = NOW + 7200 };
}

static struct grant parents_grant;

static struct policy_parent
bots_leaf(void)
{
	parents_grant = GRANT("https://erp", make_entitlement("invoices:*", "https://erp/v2/**", DELEGABLE));
	return (struct policy_parent){
		.grant = &parents_grant, .depth_remaining = 2, .hop_not_after = NOW + 3600, .newest_leaf = NOW + 300
	};
}

static struct policy_facts
from_bot(const struct grant *grant, const struct policy_parent *parent)
{
	struct policy_facts facts = from_olga(grant);

	facts.delegator = writ_str(BOT_1);
	facts.delegator_kind = PRINCIPAL_AGENT;
	facts.agent = writ_str(READER);
	facts.parent = parent;
	facts.parent_liveness = true;
	facts.edge_not_after = NOW + 600;
	return facts;
}

static struct verdict verdict;

static const char *
decided(const struct policy_facts *facts)
{
	policy_decide(policy, facts, NOW, &verdict);
	return verdict_line(&verdict);
}

/* ---- roots ---- */

static void
leaves_of_a_rule_without_a_status_are_told_and_those_of_others_have_one(void **state)
{
	static const char text[] =
		"version: 1\nid: p\nrules:\n"
		"  - name: blinks\n"
		"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" BOT "\"]\n"
		"    entitlements: [{actions: [\"invoices:read\"], resources: [\"https://erp/v2/**\"]}]\n"
		"    audience: [\"https://erp\"]\n    max_lifetime: 2m\n    max_depth: 0\n    no_rev_avail: true\n"
		"  - name: invoices\n"
		"    delegator: [\"" TD "/human/corp/**\"]\n    kind: human\n    agents: [\"" BOT "\"]\n"
		"    entitlements: [{actions: [\"invoices:read\"], resources: [\"https://erp/v2/**\"]}]\n"
		"    audience: [\"https://erp\"]\n    max_lifetime: 5m\n";
	static const struct {
		enum policy_act act;
		unsigned depth;
		uint32_t lifetime_s;
		const char *by;
		bool without;
		const char *explained;
	} rows[] = {
		{ ACT_DELEGATE, 0, 0, "blinks", true, "leaves of at most 120 s, without a status to look up (noRevAvail)\n" },
		{ ACT_DELEGATE, 1, 0, "invoices", false, "leaves of at most 300 s\n" },
		{ ACT_ISSUE, 0, 0, "blinks", true, "to 2026-11-23T20:53:36Z, without a status to look up (noRevAvail)\n" },
		{ ACT_RENEW, 0, 120, "blinks", true, "to 2026-11-23T20:53:36Z, without a status to look up (noRevAvail)\n" },
		{ ACT_ISSUE, 0, 121, "invoices", false, "to 2026-11-23T20:53:37Z\n" },
		{ ACT_ISSUE, 1, 60, "invoices", false, "to 2026-11-23T20:52:36Z\n" },
	};
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);
	AUTO(policy_freep) struct policy *two = NULL;

	(void)state;
	expect_ok(policy_parse("p.yaml", writ_str(text), &two));
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf told = WRIT_BUF(65536);
		const size_t len = strlen(rows[i].explained);

		facts.act = rows[i].act;
		facts.depth = rows[i].depth;
		facts.lifetime_s = rows[i].lifetime_s;
		policy_decide(two, &facts, NOW, &verdict);
		assert_string_equal(verdict.rule, rows[i].by);
		assert_int_equal(verdict.no_rev_avail, rows[i].without);
		expect_ok(policy_explain(two, &facts, NOW, &told));
		assert_true(told.len > len);
		assert_memory_equal(told.data + told.len - len, rows[i].explained, len);
	}
}

static void
what_a_rule_covers_is_allowed_in_its_name(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	expect_bytes(verdict.by, WRIT_LIT("invoices"));
	assert_int_equal(verdict.line, 4);
	assert_int_equal(verdict.max_lifetime_s, 300);
	facts.lifetime_s = 901; /* is of leaves, not of edges */
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	facts.agent = writ_str(BOT_1); /* the full id stands for its class */
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
}

static struct grant
paying(void)
{
	return GRANT("https://erp", make_entitlement("pay", "https://erp/pay", LOCAL));
}

static const char *
decided_with_approvals(const struct policy_facts *facts)
{
	AUTO(policy_freep) struct policy *approvals = NULL;

	expect_ok(policy_parse("p.yaml", writ_str(approvals_text), &approvals));
	policy_decide(approvals, facts, NOW, &verdict);
	verdict.by = writ_arena_copy(&make_arena, verdict.by);
	if (verdict.kind == VERDICT_PENDING) {
		assert_int_equal(verdict.approvers.n, 2);
		expect_bytes(verdict.approvers.list[0], WRIT_LIT(TD "/human/corp/**"));
		expect_bytes(verdict.approvers.list[1], WRIT_LIT(TD "/service/gate"));
	}
	return verdict_line(&verdict);
}

static void
a_rule_with_approvals_allows_once_others_have_approved(void **state)
{
	const struct grant grant = paying();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.agent = writ_str(TD "/agent/payer");
	facts.depth = 0;
	assert_string_equal(decided_with_approvals(&facts),
			    "pending payments | no approval yet | 2 by others than the delegator | have "
			    "it approved within 1800 s");
	expect_bytes(verdict.by, WRIT_LIT("payments"));
	assert_int_equal(verdict.line, 4);
	assert_int_equal(verdict.max_lifetime_s, 300);
	assert_int_equal(verdict.approvals, 2);
	assert_int_equal(verdict.approve_within_s, 1800);
}

static void
a_rule_with_approvals_refuses_as_any_other(void **state)
{
	const struct grant grant = paying();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.agent = writ_str(TD "/agent/payer");
	facts.depth = 2;
	assert_string_equal(decided_with_approvals(&facts),
			    "deny payments: max_depth | depth 2 | depth 0 | ask for less depth");
}

static void
a_later_rule_without_approvals_decides_only_what_the_earlier_does_not_allow(void **state)
{
	const struct grant grant = paying();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.agent = writ_str(TD "/agent/payer");
	facts.depth = 1;
	assert_string_equal(decided_with_approvals(&facts), "allow payments-later |  |  | ");
	assert_int_equal(verdict.approvals, 0);
}

static void
leaves_and_renewals_wait_for_no_approval(void **state)
{
	const struct grant grant = paying();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.agent = writ_str(TD "/agent/payer");
	facts.depth = 0;
	facts.act = ACT_ISSUE;
	assert_string_equal(decided_with_approvals(&facts), "allow payments |  |  | ");
	facts.act = ACT_RENEW;
	assert_string_equal(decided_with_approvals(&facts), "allow payments |  |  | ");
}

static void
explain_tells_how_many_must_approve_and_who_may(void **state)
{
	const struct grant grant = paying();
	struct policy_facts facts = from_olga(&grant);
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(65536);
	AUTO(policy_freep) struct policy *approvals = NULL;
	const char *text;

	(void)state;
	expect_ok(policy_parse("p.yaml", writ_str(approvals_text), &approvals));
	facts.agent = writ_str(TD "/agent/payer");
	facts.depth = 0;
	expect_ok(policy_explain(approvals, &facts, NOW, &out));
	expect_ok(writ_buf_add(&out, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	text = (const char *)out.data;
	assert_non_null(
		strstr(text, "rule 'payments' (line 4): allows with 2 approvals\n"
			     "rule 'payments-later' (line 13): allows\n"
			     "verdict: pending by rule 'payments' (line 4): 2 approvals within 1800 s, by others than "
			     "the delegator; then leaves of at most 300 s\n"
			     "  may approve: " TD "/human/corp/**\n"
			     "  may approve: " TD "/service/gate\n"));
}

static void
the_first_rule_that_allows_wins_not_the_first_that_applies(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.depth = 0;
	facts.edge_not_after = NOW + 3601;
	assert_string_equal(decided(&facts), "allow invoices-long |  |  | ");
	assert_int_equal(verdict.line, 13);
	facts.edge_not_after = NOW + 3600;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
}

static void
whom_no_rule_is_about_is_denied_by_default(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.delegator = WRIT_LIT(TD "/human/guest/eve");
	assert_string_equal(decided(&facts),
			    "deny default-deny | human " TD "/human/guest/eve to " BOT
			    " | no rule is about this delegator | check both names, or ask an operator for a rule");
	assert_int_equal(verdict.line, 0);
	facts = from_olga(&grant);
	facts.agent = WRIT_LIT(READER);
	assert_string_equal(decided(&facts),
			    "deny default-deny | human " OLGA " to " READER
			    " | no rule is about this agent under that delegator | check both names, or ask an "
			    "operator for a rule");
	facts.agent = WRIT_LIT("spiffe://other.example/agent/bot");
	assert_string_equal(decided(&facts),
			    "deny default-deny | human " OLGA
			    " to spiffe://other.example/agent/bot | no rule is about this agent under that "
			    "delegator | check both names, or ask an operator for a rule");
}

static void
the_nearest_rule_is_named_with_item_value_limit_and_line(void **state)
{
	const struct grant grant = reading();
	const struct grant payments = GRANT("https://erp", make_entitlement("payments:write", "https://erp/x", LOCAL));
	const struct grant elsewhere =
		GRANT("https://crm", make_entitlement("invoices:read", "https://erp/v2/x", LOCAL));
	const struct grant pay = GRANT("https://erp", make_entitlement("payments:create", "https://erp/pay", LOCAL));
	const struct grant handed =
		GRANT("https://erp", make_entitlement("payments:create", "https://erp/pay", DELEGABLE));
	struct grant pay_more = GRANT("https://erp", make_entitlement("payments:create", "https://erp/pay", LOCAL));
	struct policy_facts facts;

	(void)state;
	facts = from_olga(&grant);
	facts.depth = 3;
	assert_string_equal(decided(&facts), "deny invoices: max_depth | depth 3 | depth 2 | ask for less depth");
	assert_int_equal(verdict.line, 4);
	facts.depth = 2;
	facts.edge_not_after = NOW + 7200;
	assert_string_equal(decided(&facts), "deny invoices: max_grant | 7200 s | 3600 s | ask for an earlier end");
	facts.depth = 1;
	facts.edge_not_after = NOW + 3601; /* one check fails in either: the first is named */
	assert_string_equal(decided(&facts), "deny invoices: max_grant | 3601 s | 3600 s | ask for an earlier end");

	facts = from_olga(&payments);
	assert_string_equal(decided(&facts),
			    "deny invoices: entitlements | payments:write on https://erp/x | rule grants invoices:* on "
			    "https://erp/v2/** | ask for a scope that one entitlement of the rule covers");
	facts = from_olga(&elsewhere);
	assert_string_equal(decided(&facts),
			    "deny invoices: audience | https://crm | https://erp | ask for an audience that "
			    "the rule names");

	/* Constraints of a rule are asked for, not copied down. */
	facts = from_olga(&pay);
	assert_string_equal(decided(&facts),
			    "deny invoices: constraints | entitlement 1 without that constraint | amount <= 100 "
			    "| add the constraint amount <= 100, or a tighter one");
	pay_more.constraints = CONSTRAINTS(param_max("amount", 101));
	facts = from_olga(&pay_more);
	assert_string_equal(decided(&facts),
			    "deny invoices: constraints | amount <= 101 | amount <= 100 | add the constraint "
			    "amount <= 100, or a tighter one");
	pay_more.constraints = CONSTRAINTS(param_max("amount", 100));
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	facts = from_olga(&handed);
	assert_string_equal(decided(&facts),
			    "deny invoices: delegable | payments:create on https://erp/pay, delegable | rule's "
			    "entitlement 2 is not delegable | leave delegable out");
}

static void
of_two_rules_the_one_that_fails_less_is_nearer(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.depth = 3; /* invoices: depth and grant; invoices-long: depth */
	facts.edge_not_after = NOW + 7200;
	assert_string_equal(decided(&facts), "deny invoices-long: max_depth | depth 3 | depth 0 | ask for less depth");
	assert_int_equal(verdict.line, 13);
}

static void
a_wildcard_audience_needs_a_rule_that_says_so(void **state)
{
	const struct grant wild = GRANT("https://erp/**", make_entitlement("invoices:read", "https://erp/v2/x", LOCAL));
	const struct grant ci = GRANT("https://h/a/**", make_entitlement("a", "https://h/x", LOCAL));
	const struct grant named = GRANT("https://h/a", make_entitlement("a", "https://h/x", LOCAL));
	AUTO(policy_freep) struct policy *plain = NULL;
	struct policy_facts facts = from_olga(&wild);

	(void)state;
	assert_string_equal(
		decided(&facts),
		"deny invoices: audience | https://erp/** | https://erp | ask for an audience that the rule names");
	facts = from_olga(&ci);
	facts.delegator = WRIT_LIT(TD "/service/ci/build");
	facts.delegator_kind = PRINCIPAL_SERVICE;
	assert_string_equal(decided(&facts), "allow wide |  |  | ");

	/* A rule's own pattern lets a plain audience below it be named, not the pattern handed on. */
	expect_ok(policy_parse("p.yaml",
			       WRIT_LIT("version: 1\nid: p\nrules:\n  - name: r\n    delegator: [\"" TD
					"/service/ci/*\"]\n    kind: service\n    agents: [\"" BOT "\"]\n"
					"    entitlements: [{actions: [a], resources: [\"https://h/**\"]}]\n"
					"    audience: [\"https://h/**\"]\n    max_lifetime: 5m\n"),
			       &plain));
	policy_decide(plain, &facts, NOW, &verdict);
	assert_string_equal(verdict_line(&verdict),
			    "deny r: wildcard_audience | https://h/a/** | no wildcard in an audience | "
			    "name each audience");
	facts.grant = &named;
	policy_decide(plain, &facts, NOW, &verdict);
	assert_string_equal(verdict_line(&verdict), "allow r |  |  | ");
}

static void
kind_and_principal_are_held_against_each_other(void **state)
{
	const struct grant grant = reading();
	const struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.delegator_kind = PRINCIPAL_SERVICE;
	assert_string_equal(decided(&facts),
			    "deny K1 | kind service | " OLGA
			    " is of kind human | map this delegator's certificates to ids of their kind");
	facts = from_olga(&grant);
	facts.parent = &parent;
	assert_string_equal(
		decided(&facts),
		"deny K1 | human under a parent | only an agent delegates below another hop | open a task of its own");
	facts = from_bot(&grant, NULL);
	assert_string_equal(decided(&facts),
			    "deny K1 | " BOT_1 " without a parent | an agent delegates only what its own leaf "
			    "was granted | authenticate with the leaf that this agent holds for the task");
	facts = from_olga(&grant);
	facts.agent = WRIT_LIT(TD "/human/corp/max");
	assert_string_equal(decided(&facts),
			    "deny K1 | " TD "/human/corp/max | only an agent receives a delegation | name an "
			    "agent: spiffe://TRUST-DOMAIN/agent/CLASS");
}

static void
row_14_nobody_delegates_to_itself(void **state)
{
	const struct grant grant = reading();
	const struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&grant, &parent);

	(void)state;
	facts.agent = facts.delegator;
	assert_string_equal(decided(&facts), "deny K1 | " BOT_1 " | nobody delegates to itself | name another agent");
}

static void
row_16_a_name_that_is_not_canonical_is_refused_by_name(void **state)
{
	const struct grant grant = reading();
	const struct grant upper = GRANT("https://erp", make_entitlement("invoices:read", "HTTPS://ERP/x", LOCAL));
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.delegator = WRIT_LIT("spiffe://Agents/human/a/b");
	assert_string_equal(decided(&facts),
			    "deny names | SPIFFE ID 'spiffe://Agents/human/a/b': trust domain 'Agents': only "
			    "lower-case a-z, 0-9, '.', '_' and '-' | the canonical form | correct the "
			    "delegator's name");
	facts = from_olga(&grant);
	facts.agent = WRIT_LIT(TD "/agent/../x");
	assert_string_equal(decided(&facts),
			    "deny names | SPIFFE ID '" TD
			    "/agent/../x': has a '.' or '..' segment | the canonical form | correct the "
			    "agent's name");
	facts = from_olga(&upper);
	assert_string_equal(decided(&facts),
			    "deny names | entitlement 1, resource 'HTTPS://ERP/x': the scheme must be lower "
			    "case | the canonical form | correct the grant");
}

static void
s3_an_empty_scope_is_refused_in_every_act(void **state)
{
	const struct grant nothing = make_grant(0, NULL, "https://erp");
	const struct grant nowhere = GRANT("", make_entitlement("invoices:read", "https://erp/v2/x", LOCAL));
	const struct grant hollow = GRANT("https://erp", make_entitlement("", "https://erp/v2/x", LOCAL));

	(void)state;
	for (unsigned act = ACT_DELEGATE; act <= ACT_RENEW; act++) {
		struct policy_facts facts = from_olga(&nothing);

		facts.act = (enum policy_act)act;
		assert_string_equal(decided(&facts),
				    "deny S3 | no entitlement | at least one: an empty list never means all | "
				    "say what is asked for, and where");
		facts.grant = &nowhere;
		assert_string_equal(decided(&facts),
				    "deny S3 | no audience | at least one: an empty list never means all | say "
				    "what is asked for, and where");
		facts.grant = &hollow;
		assert_string_equal(decided(&facts),
				    "deny S3 | an entitlement without an action or a resource | at least one: an "
				    "empty list never means all | say what is asked for, and where");
	}
}

static void
s2_delegable_needs_depth(void **state)
{
	const struct grant grant =
		GRANT("https://erp", make_entitlement("invoices:read", "https://erp/v2/x", DELEGABLE));
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	facts.depth = 0;
	assert_string_equal(decided(&facts),
			    "deny S2 | invoices:read on https://erp/v2/x, delegable | depth 0, so nothing can be "
			    "handed on | ask for depth 1, or leave delegable out");
}

/* ---- children ---- */

static void
a_child_inside_its_parent_and_a_rule_is_allowed(void **state)
{
	const struct grant grant = reading();
	const struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&grant, &parent);

	(void)state;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	assert_int_equal(verdict.line, 32);
}

static void
a_child_beyond_its_parent_is_refused_before_any_rule(void **state)
{
	const struct grant write = GRANT("https://erp", make_entitlement("payments:write", "https://erp/x", LOCAL));
	const struct grant elsewhere =
		GRANT("https://crm", make_entitlement("invoices:read", "https://erp/v2/x", LOCAL));
	const struct grant grant = reading();
	struct grant limited = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&write, &parent);

	(void)state;
	assert_string_equal(decided(&facts),
			    "deny S1 | payments:write on https://erp/x | parent grants invoices:* on "
			    "https://erp/v2/** | ask for a scope within the parent's, each entitlement inside one "
			    "of its");
	assert_int_equal(verdict.line, 0);
	facts = from_bot(&elsewhere, &parent);
	assert_string_equal(
		decided(&facts),
		"deny A1 | https://crm | parent's audience is https://erp | ask for an audience within the parent's");
	parents_grant.constraints = CONSTRAINTS(param_max("limit", 100));
	limited.constraints = CONSTRAINTS(param_max("limit", 200));
	facts = from_bot(&limited, &parent);
	assert_string_equal(decided(&facts),
			    "deny K | limit <= 200 | limit <= 100 | ask for a constraint within the parent's");

	/* Row 15: without delegable nothing can be handed on. */
	parents_grant = GRANT("https://erp", make_entitlement("invoices:*", "https://erp/v2/**", LOCAL));
	facts = from_bot(&grant, &parent);
	assert_string_equal(decided(&facts),
			    "deny S1 | invoices:read on https://erp/v2/x | parent's entitlement 1 is not "
			    "delegable | ask for a scope within the parent's, each entitlement inside one of its");
}

static void
what_the_parent_has_the_policy_may_still_refuse(void **state)
{
	const struct grant write = GRANT("https://erp", make_entitlement("invoices:write", "https://erp/v2/x", LOCAL));
	const struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&write, &parent);

	(void)state;
	assert_string_equal(decided(&facts),
			    "deny readers: entitlements | invoices:write on https://erp/v2/x | rule grants "
			    "invoices:read on https://erp/v2/** | ask for a scope that one entitlement of the rule "
			    "covers");
	assert_int_equal(verdict.line, 32);
}

static void
row_13_and_20_depth_only_shrinks(void **state)
{
	const struct grant grant = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&grant, &parent);

	(void)state;
	facts.depth = 2;
	assert_string_equal(decided(&facts),
			    "deny D1 | depth 2 | depth 1, one less than the parent has | ask for less depth");
	parent.depth_remaining = 1;
	facts.depth = 5;
	assert_string_equal(decided(&facts),
			    "deny D1 | depth 5 | depth 0, one less than the parent has | ask for less depth");
	facts.depth = 0;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	parent.depth_remaining = 0;
	assert_string_equal(decided(&facts),
			    "deny D1 | a delegation below depth 0 | the parent may not delegate | ask whoever "
			    "opened the task for a greater depth");
	facts = from_olga(&grant);
	facts.depth = 1U << 31;
	assert_string_equal(decided(&facts), "deny D1 | depth 2147483648 | depth 7 | ask for less depth");
}

static void
l2_and_l3_an_edge_ends_with_task_parent_and_hard_limit(void **state)
{
	const struct grant grant = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.task_ends = NOW + 100;
	facts.edge_not_after = NOW + 101;
	assert_string_equal(decided(&facts),
			    "deny L2 | ends 2026-11-23T20:53:18Z | the task ends 2026-11-23T20:53:17Z | ask for "
			    "an end within the task's");
	facts.edge_not_after = NOW + 100;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	facts.edge_not_after = NOW + 28;
	assert_string_equal(decided(&facts),
			    "deny L2 | ends 2026-11-23T20:52:05Z | not before 2026-11-23T20:52:06Z, so that a "
			    "leaf of 30 s fits | ask for a later end");
	facts.edge_not_after = INT64_MIN;
	assert_string_equal(decided(&facts),
			    "deny L2 | ends 1970-01-01T00:00:00Z | not before 2026-11-23T20:52:06Z, so that a "
			    "leaf of 30 s fits | ask for a later end");
	facts.edge_not_after = facts.task_ends = INT64_MAX;
	assert_string_equal(decided(&facts),
			    "deny L3 | ends 9999-12-31T23:59:59Z | 2026-11-24T04:51:37Z, 28800 s from now | ask "
			    "for an earlier end: no delegation lasts longer");
	facts = from_bot(&grant, &parent);
	parent.hop_not_after = NOW + 599;
	assert_string_equal(decided(&facts), "deny L2 | ends 2026-11-23T21:01:37Z | the parent's delegation ends "
					     "2026-11-23T21:01:36Z | ask for an end within the parent's");
}

static void
row_11_an_expired_parent_delegates_nothing_without_allowance(void **state)
{
	const struct grant grant = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&grant, &parent);

	(void)state;
	parent.newest_leaf = NOW;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	parent.newest_leaf = NOW - 1;
	assert_string_equal(decided(&facts),
			    "deny L5 | a parent leaf that ended 2026-11-23T20:51:36Z | valid now, "
			    "2026-11-23T20:51:37Z, without allowance | renew the leaf that authorises, then ask "
			    "again");
	parent.newest_leaf = 0;
	assert_string_equal(decided(&facts),
			    "deny L5 | a parent leaf that ended already | valid now, 2026-11-23T20:51:37Z, "
			    "without allowance | renew the leaf that authorises, then ask again");
}

/* ---- leaves ---- */

static void
a_leaf_lives_as_long_as_asked_or_as_the_rule_allows(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	for (unsigned act = ACT_ISSUE; act <= ACT_RENEW; act++) {
		facts.act = (enum policy_act)act;
		facts.lifetime_s = 0;
		assert_string_equal(decided(&facts), "allow invoices |  |  | ");
		assert_int_equal(verdict.not_before, NOW - 30);
		assert_int_equal(verdict.not_after, NOW + 299);
		assert_int_equal(verdict.renew_at, NOW + 150);
		facts.lifetime_s = 60;
		decided(&facts);
		assert_int_equal(verdict.not_after, NOW + 59);
		assert_int_equal(verdict.renew_at, NOW + 30);
	}
}

static void
renewals_are_spread_from_half_to_three_quarters_of_the_life(void **state)
{
	const struct grant grant = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_olga(&grant);
	writ_time before = 0;

	(void)state;
	facts.act = ACT_ISSUE;
	for (unsigned chance = 0; chance <= 65535; chance += 4369) {
		facts.chance = (uint16_t)chance;
		decided(&facts);
		assert_in_range(verdict.renew_at, NOW + 150, NOW + 224);
		assert_true(verdict.renew_at > before);
		before = verdict.renew_at;
	}
	assert_int_equal(verdict.renew_at, NOW + 150 + 74);

	/* Whoever ends with its parent's leaf is due after the parent, by whatever chance. */
	facts = from_bot(&grant, &parent);
	facts.act = ACT_ISSUE;
	parent.newest_leaf = NOW + 99;
	decided(&facts);
	assert_int_equal(verdict.renew_at, NOW + 75);
	facts.chance = 65535;
	decided(&facts);
	assert_int_equal(verdict.renew_at, NOW + 84);
}

static void
l1_a_lifetime_out_of_range_is_refused(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_ISSUE;
	facts.lifetime_s = 59;
	assert_string_equal(decided(&facts),
			    "deny L1 | 59 s | 60 s to 900 s | ask for a lifetime in that range, or for none");
	facts.lifetime_s = 901;
	assert_string_equal(decided(&facts),
			    "deny L1 | 901 s | 60 s to 900 s | ask for a lifetime in that range, or for none");
	facts.lifetime_s = UINT32_MAX;
	assert_string_equal(decided(&facts),
			    "deny L1 | 4294967295 s | 60 s to 900 s | ask for a lifetime in that range, or for none");
}

static void
a_lifetime_over_the_rules_is_refused_not_shortened(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_ISSUE;
	facts.lifetime_s = 301;
	assert_string_equal(decided(&facts),
			    "deny invoices: max_lifetime | 301 s | 300 s | ask for a shorter lifetime, or for "
			    "none");
	facts.depth = 0; /* then the longer rule allows it too */
	assert_string_equal(decided(&facts), "allow invoices-long |  |  | ");
	assert_int_equal(verdict.not_after, NOW + 300);
	facts.lifetime_s = 601;
	assert_string_equal(decided(&facts),
			    "deny invoices: max_lifetime | 601 s | 300 s | ask for a shorter lifetime, or for "
			    "none");
}

static void
l2_a_leaf_is_shortened_by_edge_and_task_down_to_30_seconds(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_ISSUE;
	facts.edge_not_after = NOW + 100;
	decided(&facts);
	assert_int_equal(verdict.not_after, NOW + 100);
	facts.task_ends = NOW + 29;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	assert_int_equal(verdict.not_after, NOW + 29);
	facts.task_ends = NOW + 28;
	assert_string_equal(decided(&facts),
			    "deny L2 | a leaf that ends 2026-11-23T20:52:05Z | 30 s at least; the task ends then "
			    "| open a new task, or delegate anew");
	assert_int_equal(verdict.line, 0);
	facts.task_ends = NOW + 3600;
	facts.edge_not_after = NOW - 1;
	assert_string_equal(decided(&facts),
			    "deny L2 | a leaf that ends 2026-11-23T20:51:36Z | 30 s at least; the delegation ends "
			    "then | open a new task, or delegate anew");
}

static void
row_12_and_l5_a_child_follows_its_parents_newest_leaf(void **state)
{
	const struct grant grant = reading();
	struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_bot(&grant, &parent);

	(void)state;
	facts.act = ACT_ISSUE;
	parent.newest_leaf = NOW + 40;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	assert_int_equal(verdict.not_after, NOW + 40);
	assert_int_equal(verdict.renew_at, NOW + 30);
	parent.newest_leaf = NOW + 29;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	parent.newest_leaf = NOW + 20;
	assert_string_equal(decided(&facts),
			    "retry L5 | a leaf that ends 2026-11-23T20:51:57Z | 30 s at least; the parent's "
			    "newest leaf ends then | the parent must renew, then try again");
	assert_int_equal(verdict.retry_after_s, 5);
	assert_int_equal(verdict.not_after, 0);
	parent.newest_leaf = 0;
	assert_string_equal(decided(&facts),
			    "retry L5 | a leaf that ends at once | 30 s at least; the parent has no live leaf | "
			    "the parent must renew, then try again");
	facts.parent_liveness = false;
	assert_string_equal(decided(&facts), "allow readers |  |  | ");
	assert_int_equal(verdict.not_after, NOW + 119);
	facts.parent_liveness = true;
	facts.task_ends = NOW + 10; /* what no waiting can help is a denial */
	assert_string_equal(decided(&facts),
			    "deny L2 | a leaf that ends 2026-11-23T20:51:47Z | 30 s at least; the task ends then "
			    "| open a new task, or delegate anew");
}

static void
liveness_without_a_parent_is_no_way_round(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_ISSUE;
	facts.parent_liveness = true;
	assert_string_equal(decided(&facts),
			    "retry L5 | a leaf that ends at once | 30 s at least; the parent has no live leaf | "
			    "the parent must renew, then try again");
}

static void
i5_a_leaf_does_not_outlive_its_issuing_ca(void **state)
{
	const struct grant grant = reading();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_ISSUE;
	facts.issuing_ca_not_after = NOW + 120;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	assert_int_equal(verdict.not_after, NOW + 120);
	facts.issuing_ca_not_after = NOW + 28;
	assert_string_equal(decided(&facts),
			    "retry I5 | a leaf that ends 2026-11-23T20:52:05Z | 30 s at least; the issuing CA "
			    "ends then | try again: the next issuing CA is being made");
	assert_int_equal(verdict.retry_after_s, 5);
}

static void
row_18_a_tightened_policy_applies_to_every_renewal(void **state)
{
	const struct grant grant = reading();
	AUTO(policy_freep) struct policy *tighter = NULL;
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.act = ACT_RENEW;
	assert_string_equal(decided(&facts), "allow invoices |  |  | ");
	expect_ok(policy_parse(
		"p.yaml",
		WRIT_LIT("version: 1\nid: p\nrules:\n  - name: invoices\n    delegator: [\"" TD
			 "/human/corp/**\"]\n    kind: human\n    agents: [\"" BOT "\"]\n"
			 "    entitlements: [{actions: [\"invoices:list\"], resources: [\"https://erp/v2/**\"]}]\n"
			 "    audience: [\"https://erp\"]\n    max_lifetime: 5m\n"),
		&tighter));
	policy_decide(tighter, &facts, NOW, &verdict);
	assert_string_equal(
		verdict_line(&verdict),
		"deny invoices: entitlements | invoices:read on https://erp/v2/x | rule grants invoices:list on "
		"https://erp/v2/** | ask for a scope that one entitlement of the rule covers");
}

static void
the_same_facts_give_the_same_verdict(void **state)
{
	const struct grant grant = reading();
	const struct policy_parent parent = bots_leaf();
	const struct policy_facts all[] = { from_olga(&grant), from_bot(&grant, &parent), from_bot(&grant, NULL) };

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		struct verdict a, b;

		memset(&a, 0x55, sizeof(a)); /* whatever was there before */
		memset(&b, 0xaa, sizeof(b));
		policy_decide(policy, &all[i], NOW, &a);
		policy_decide(policy, &all[i], NOW, &b);
		assert_memory_equal(&a, &b, sizeof(a));
	}
}

/* ---- explained ---- */

static void
expect_explained(const struct policy_facts *facts, const char *wanted)
{
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(65536);

	expect_ok(policy_explain(policy, facts, NOW, &out));
	expect_ok(writ_buf_add(&out, (struct writ_bytes){ (const uint8_t *)"", 1 }));
	assert_string_equal((const char *)out.data, wanted);
}

static void
a_decision_is_explained_rule_by_rule(void **state)
{
	const struct grant grant = reading();
	const struct policy_parent parent = bots_leaf();
	struct policy_facts facts = from_olga(&grant);

	(void)state;
	facts.depth = 2;
	facts.edge_not_after = NOW + 7200;
	expect_explained(
		&facts,
		"delegate: human " OLGA " to " BOT ", depth 2\n"
		"  asked: invoices:read on https://erp/v2/x\n"
		"  asked audience: https://erp\n"
		"  ends in 7200 s, the task in 7200 s\n"
		"rule 'invoices' (line 4): denies\n"
		"  max_grant: 7200 s; limit: 3600 s\n"
		"rule 'invoices-long' (line 13): denies\n"
		"  max_depth: depth 2; limit: depth 0\n"
		"rule 'wide' (line 22): does not apply\n"
		"  delegator: " OLGA "; limit: matches none of its patterns\n"
		"  kind: human; limit: service\n"
		"rule 'readers' (line 32): does not apply\n"
		"  delegator: " OLGA "; limit: matches none of its patterns\n"
		"  kind: human; limit: agent\n"
		"  agents: " BOT "; limit: matches none of its classes\n"
		"verdict: denied, invoices: max_grant (line 4): 7200 s; limit: 3600 s; ask for an earlier end\n");

	facts = from_olga(&grant);
	facts.act = ACT_ISSUE;
	facts.lifetime_s = 301;
	facts.depth = 0;
	expect_explained(&facts,
			 "issue: human " OLGA " to " BOT ", depth 0\n"
			 "  asked: invoices:read on https://erp/v2/x\n"
			 "  asked audience: https://erp\n"
			 "  ends in 3600 s, the task in 7200 s; a lifetime of 301 s\n"
			 "rule 'invoices' (line 4): denies\n"
			 "  max_lifetime: 301 s; limit: 300 s\n"
			 "rule 'invoices-long' (line 13): allows\n"
			 "rule 'wide' (line 22): does not apply\n"
			 "  delegator: " OLGA "; limit: matches none of its patterns\n"
			 "  kind: human; limit: service\n"
			 "rule 'readers' (line 32): does not apply\n"
			 "  delegator: " OLGA "; limit: matches none of its patterns\n"
			 "  kind: human; limit: agent\n"
			 "  agents: " BOT "; limit: matches none of its classes\n"
			 "verdict: allowed by rule 'invoices-long' (line 13): a leaf from 2026-11-23T20:51:07Z to "
			 "2026-11-23T20:56:37Z\n");

	facts = from_olga(&grant);
	facts.agent = WRIT_LIT(TD "/agent/\x1b[2Jx"); /* a name that would clear the screen */
	expect_explained(&facts, "delegate: human " OLGA " to (no name), depth 1\n"
				 "  asked: invoices:read on https://erp/v2/x\n"
				 "  asked audience: https://erp\n"
				 "  ends in 3600 s, the task in 7200 s\n"
				 "no rule was tried: this is refused under any policy\n"
				 "verdict: denied, names: SPIFFE ID '" TD
				 "/agent/?[2Jx': a segment holds more than A-Z, a-z, 0-9, "
				 "'.', '_' and '-'; limit: the canonical form; correct the agent's name\n");

	facts = from_bot(&grant, &parent);
	facts.depth = 6;
	expect_explained(
		&facts,
		"delegate: agent " BOT_1 " to " READER ", depth 6\n"
		"  asked: invoices:read on https://erp/v2/x\n"
		"  asked audience: https://erp\n"
		"  ends in 600 s, the task in 7200 s\n"
		"  parent: invoices:* on https://erp/v2/**; delegable\n"
		"  parent audience: https://erp\n"
		"  parent: depth 2, ends in 3600 s, its leaf in 300 s\n"
		"no rule was tried: this is refused under any policy\n"
		"verdict: denied, D1: depth 6; limit: depth 1, one less than the parent has; ask for less depth\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_of_a_rule_without_a_status_are_told_and_those_of_others_have_one),
		cmocka_unit_test(what_a_rule_covers_is_allowed_in_its_name),
		cmocka_unit_test(the_first_rule_that_allows_wins_not_the_first_that_applies),
		cmocka_unit_test(a_rule_with_approvals_allows_once_others_have_approved),
		cmocka_unit_test(a_rule_with_approvals_refuses_as_any_other),
		cmocka_unit_test(a_later_rule_without_approvals_decides_only_what_the_earlier_does_not_allow),
		cmocka_unit_test(leaves_and_renewals_wait_for_no_approval),
		cmocka_unit_test(explain_tells_how_many_must_approve_and_who_may),
		cmocka_unit_test(whom_no_rule_is_about_is_denied_by_default),
		cmocka_unit_test(the_nearest_rule_is_named_with_item_value_limit_and_line),
		cmocka_unit_test(of_two_rules_the_one_that_fails_less_is_nearer),
		cmocka_unit_test(a_wildcard_audience_needs_a_rule_that_says_so),
		cmocka_unit_test(kind_and_principal_are_held_against_each_other),
		cmocka_unit_test(row_14_nobody_delegates_to_itself),
		cmocka_unit_test(row_16_a_name_that_is_not_canonical_is_refused_by_name),
		cmocka_unit_test(s3_an_empty_scope_is_refused_in_every_act),
		cmocka_unit_test(s2_delegable_needs_depth),
		cmocka_unit_test(a_child_inside_its_parent_and_a_rule_is_allowed),
		cmocka_unit_test(a_child_beyond_its_parent_is_refused_before_any_rule),
		cmocka_unit_test(what_the_parent_has_the_policy_may_still_refuse),
		cmocka_unit_test(row_13_and_20_depth_only_shrinks),
		cmocka_unit_test(l2_and_l3_an_edge_ends_with_task_parent_and_hard_limit),
		cmocka_unit_test(row_11_an_expired_parent_delegates_nothing_without_allowance),
		cmocka_unit_test(a_leaf_lives_as_long_as_asked_or_as_the_rule_allows),
		cmocka_unit_test(renewals_are_spread_from_half_to_three_quarters_of_the_life),
		cmocka_unit_test(l1_a_lifetime_out_of_range_is_refused),
		cmocka_unit_test(a_lifetime_over_the_rules_is_refused_not_shortened),
		cmocka_unit_test(l2_a_leaf_is_shortened_by_edge_and_task_down_to_30_seconds),
		cmocka_unit_test(row_12_and_l5_a_child_follows_its_parents_newest_leaf),
		cmocka_unit_test(liveness_without_a_parent_is_no_way_round),
		cmocka_unit_test(i5_a_leaf_does_not_outlive_its_issuing_ca),
		cmocka_unit_test(row_18_a_tightened_policy_applies_to_every_renewal),
		cmocka_unit_test(the_same_facts_give_the_same_verdict),
		cmocka_unit_test(a_decision_is_explained_rule_by_rule),
	};

	return cmocka_run_group_tests(tests, policy_read, policy_forget);
}
