/* Grants: well formed, canonical, inherited, and the cases of delegation.md 4.5 that are about authority, row by row.
 */
#include "tests/unit/policy_make.h"

#define HOST "https://h"

/* "S1 | value | limit" or "inside". */
static const char *
excess_line(const struct grant *child, const struct grant *parent)
{
	static char line[400];
	struct excess excess;

	grant_excess(child, parent, true, &excess);
	if (!excess.rule)
		return "inside";
	snprintf(line, sizeof(line), "%s | %s | %s", excess.rule, excess.value, excess.limit);
	return line;
}

/* As the issuer does it: inherited, then held against the parent. */
static const char *
asked_of(const struct grant *parent, const struct grant *child)
{
	struct grant inherited;

	expect_ok(grant_inherit(child, parent, &make_arena, &inherited));
	return excess_line(&inherited, parent);
}

static struct grant
reading(const char *resources)
{
	return GRANT(HOST, make_entitlement("read", resources, LOCAL));
}

static struct grant
may_hand_on(const char *actions, const char *resources)
{
	return GRANT(HOST, make_entitlement(actions, resources, DELEGABLE));
}

/* ---- delegation.md 4.5 ---- */

static void
row_1_payroll_is_not_below_pay(void **state)
{
	const struct grant parent = may_hand_on("read", HOST "/pay/**"), child = reading(HOST "/payroll/x");
	const struct grant inside = reading(HOST "/pay/roll/x");

	(void)state;
	assert_string_equal(asked_of(&parent, &child),
			    "S1 | read on https://h/payroll/x | parent grants read on https://h/pay/**");
	assert_string_equal(asked_of(&parent, &inside), "inside");
	assert_string_equal(asked_of(&child, &parent),
			    "S1 | read on https://h/pay/** | parent grants read on https://h/payroll/x");
}

static void
row_2_what_is_not_canonical_is_rejected(void **state)
{
	static const struct {
		const char *resource, *message;
	} rows[] = {
		{ "https://h/pay/../admin",
		  "entitlement 1, resource 'https://h/pay/../admin': has a '.' or '..' segment" },
		{ "https://h/pay/%2e%2e/admin",
		  "entitlement 1, resource 'https://h/pay/%2e%2e/admin': '%' wants two digits 0-9 A-F after it" },
		{ "https://h/pay//x",
		  "entitlement 1, resource 'https://h/pay//x': a segment is empty, or it ends in '/'" },
		{ "HTTPS://H/pay", "entitlement 1, resource 'HTTPS://H/pay': the scheme must be lower case" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct grant grant = reading(rows[i].resource);

		expect_refused(grant_check(&grant), WRIT_INVALID, rows[i].message);
	}
}

static void
row_3_two_stars_need_one_segment(void **state)
{
	const struct grant parent = may_hand_on("read", HOST "/a/**"), child = reading(HOST "/a");
	const struct grant deep = reading(HOST "/a/b/c"), all = reading(HOST "/a/**"), one = reading(HOST "/a/*");

	(void)state;
	assert_string_equal(asked_of(&parent, &child),
			    "S1 | read on https://h/a | parent grants read on https://h/a/**");
	assert_string_equal(asked_of(&parent, &deep), "inside");
	assert_string_equal(asked_of(&parent, &all), "inside");
	assert_string_equal(asked_of(&parent, &one), "inside");
}

static void
row_4_one_star_covers_neither_two_nor_two_levels(void **state)
{
	const struct grant parent = may_hand_on("read", HOST "/a/*"), all = reading(HOST "/a/**");
	const struct grant deep = reading(HOST "/a/b/c"), one = reading(HOST "/a/b"), same = reading(HOST "/a/*");

	(void)state;
	assert_string_equal(asked_of(&parent, &all),
			    "S1 | read on https://h/a/** | parent grants read on https://h/a/*");
	assert_string_equal(asked_of(&parent, &deep),
			    "S1 | read on https://h/a/b/c | parent grants read on https://h/a/*");
	assert_string_equal(asked_of(&parent, &one), "inside");
	assert_string_equal(asked_of(&parent, &same), "inside");
}

static void
row_5_two_parts_do_not_make_the_whole(void **state)
{
	const struct grant parent = GRANT(HOST, make_entitlement("read", HOST "/a/1", DELEGABLE),
					  make_entitlement("read", HOST "/a/2", DELEGABLE));
	const struct grant child = reading(HOST "/a/*"), both = reading(HOST "/a/1 " HOST "/a/2");
	const struct grant split =
		GRANT(HOST, make_entitlement("read", HOST "/a/1", LOCAL), make_entitlement("read", HOST "/a/2", LOCAL));

	(void)state;
	assert_string_equal(asked_of(&parent, &child),
			    "S1 | read on https://h/a/* | parent grants read on https://h/a/1");
	assert_string_equal(asked_of(&parent, &both),
			    "S1 | read on https://h/a/2 | parent grants read on https://h/a/1");
	assert_string_equal(asked_of(&parent, &split), "inside");
}

static void
row_6_the_cross_product_stays_inside_one_entitlement(void **state)
{
	const struct grant parent = GRANT(HOST, make_entitlement("read", HOST "/x", DELEGABLE),
					  make_entitlement("write", HOST "/y", DELEGABLE));
	const struct grant child = GRANT(HOST, make_entitlement("read write", HOST "/x", LOCAL));
	const struct grant crossed = GRANT(HOST, make_entitlement("write", HOST "/x", LOCAL));

	(void)state;
	assert_string_equal(asked_of(&parent, &child), "S1 | write on https://h/x | parent grants read on https://h/x");
	assert_string_equal(asked_of(&parent, &crossed),
			    "S1 | write on https://h/x | parent grants read on https://h/x");
}

static void
row_7_an_action_and_what_is_below_it_are_two_things(void **state)
{
	const struct grant plain = may_hand_on("db:read", HOST), below = may_hand_on("db:read:*", HOST);
	const struct grant all = may_hand_on("db:*", HOST), db = may_hand_on("db", HOST);

	(void)state;
	assert_string_equal(asked_of(&plain, &below),
			    "S1 | db:read:* on https://h | parent grants db:read on https://h");
	assert_string_equal(asked_of(&all, &db), "S1 | db on https://h | parent grants db:* on https://h");
	assert_string_equal(asked_of(&all, &below), "inside");
	assert_string_equal(asked_of(&all, &plain), "inside");
}

static void
row_8_a_constraint_that_is_left_out_is_copied_down(void **state)
{
	struct grant parent = may_hand_on("read", HOST "/**"), child = reading(HOST "/x"), inherited;

	(void)state;
	parent.constraints = CONSTRAINTS(param_max("limit", 100));
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 1);
	assert_int_equal(inherited.constraints.list[0].max, 100);
	assert_int_equal(inherited.entitlements[0].constraints.n, 0);
	assert_string_equal(excess_line(&inherited, &parent), "inside");
	assert_string_equal(excess_line(&child, &parent), "K | entitlement 1 without that constraint | limit <= 100");
}

static void
row_8_a_constraint_of_an_entitlement_goes_into_the_entitlement(void **state)
{
	struct entitlement limited = make_entitlement("read", HOST "/**", DELEGABLE);
	struct grant parent,
		child = GRANT(HOST, make_entitlement("read", HOST "/x", LOCAL),
			      make_entitlement("read", HOST "/y", LOCAL)),
		inherited, again;

	(void)state;
	limited.constraints = CONSTRAINTS(param_max("limit", 100));
	parent = GRANT(HOST, limited);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(inherited.entitlements[i].constraints.n, 1);
		assert_int_equal(inherited.entitlements[i].constraints.list[0].max, 100);
	}
	expect_ok(grant_inherit(&inherited, &parent, &make_arena, &again)); /* once more changes nothing */
	assert_int_equal(again.entitlements[0].constraints.n, 1);
	assert_string_equal(excess_line(&again, &parent), "inside");
}

static void
row_9_a_window_that_reaches_out_is_refused(void **state)
{
	const writ_time nine = 1795424400; /* 2026-11-23T09:00:00Z */
	struct grant parent = may_hand_on("read", HOST "/**"), child = reading(HOST "/x");

	(void)state;
	parent.constraints = CONSTRAINTS(window(nine, nine + 3600));
	child.constraints = CONSTRAINTS(window(nine + 1800, nine + 5400));
	assert_string_equal(asked_of(&parent, &child),
			    "K | window 2026-11-23T09:30:00Z to 2026-11-23T10:30:00Z | window "
			    "2026-11-23T09:00:00Z to 2026-11-23T10:00:00Z");
	child.constraints = CONSTRAINTS(window(nine - 1, nine + 3600));
	assert_string_equal(asked_of(&parent, &child),
			    "K | window 2026-11-23T08:59:59Z to 2026-11-23T10:00:00Z | window "
			    "2026-11-23T09:00:00Z to 2026-11-23T10:00:00Z");
	child.constraints = CONSTRAINTS(window(nine, nine + 3600));
	assert_string_equal(asked_of(&parent, &child), "inside");
}

static void
row_10_the_union_of_two_parents_lies_inside_neither(void **state)
{
	const struct grant a = may_hand_on("read", HOST "/a"), b = may_hand_on("read", HOST "/b");
	const struct grant both =
		GRANT(HOST, make_entitlement("read", HOST "/a", LOCAL), make_entitlement("read", HOST "/b", LOCAL));

	(void)state;
	assert_string_equal(asked_of(&a, &both), "S1 | read on https://h/b | parent grants read on https://h/a");
	assert_string_equal(asked_of(&b, &both), "S1 | read on https://h/a | parent grants read on https://h/b");
}

static void
row_15_what_is_not_delegable_is_not_handed_on_even_if_narrower(void **state)
{
	const struct grant parent = reading(HOST "/**"), child = reading(HOST "/x");
	const struct grant one_of_two = GRANT(HOST, make_entitlement("read", HOST "/**", LOCAL),
					      make_entitlement("read", HOST "/x", DELEGABLE));

	(void)state;
	assert_string_equal(asked_of(&parent, &child),
			    "S1 | read on https://h/x | parent's entitlement 1 is not delegable");
	assert_string_equal(asked_of(&one_of_two, &child), "inside");
}

static void
row_16_names_that_other_parsers_read_otherwise_are_rejected(void **state)
{
	static const struct {
		const char *resource, *message;
	} rows[] = {
		{ "https://ERP/x", "entitlement 1, resource 'https://ERP/x': the host must be lower case" },
		{ "https://b\xc3\xbc"
		  "cher/x",
		  "entitlement 1, resource 'https://b\xc3\xbc"
		  "cher/x': holds a space, a control or a character outside ASCII" },
		{ "https://2001:db8::1/x",
		  "entitlement 1, resource 'https://2001:db8::1/x': an IPv6 address stands in brackets" },
		{ "https://h:443/x",
		  "entitlement 1, resource 'https://h:443/x': port 443 is the default of https: leave it out" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct grant grant = reading(rows[i].resource);

		expect_refused(grant_check(&grant), WRIT_INVALID, rows[i].message);
	}
}

static void
row_17_values_are_compared_byte_by_byte(void **state)
{
	struct grant parent = may_hand_on("read", HOST "/**"), child = reading(HOST "/x");

	(void)state;
	parent.constraints = CONSTRAINTS(param_in("to", "cfo@x coo@x"));
	child.constraints = CONSTRAINTS(param_in("to", "CFO@x"));
	assert_string_equal(asked_of(&parent, &child), "K | to in {'CFO@x'} | to in {'cfo@x', 'coo@x'}");
	child.constraints = CONSTRAINTS(param_in("to", "ceo@x cfo@x"));
	assert_string_equal(asked_of(&parent, &child), "K | to in {'ceo@x', 'cfo@x'} | to in {'cfo@x', 'coo@x'}");
	child.constraints = CONSTRAINTS(param_in("to", "coo@x"));
	assert_string_equal(asked_of(&parent, &child), "inside");
}

/* ---- inheritance beyond the table ---- */

static void
a_looser_constraint_is_refused_and_never_narrowed(void **state)
{
	struct entitlement loose = make_entitlement("read", HOST "/x", LOCAL), tight = loose;
	struct grant parent = may_hand_on("read", HOST "/**"), child, inherited;

	(void)state;
	parent.constraints = CONSTRAINTS(param_max("limit", 100));
	loose.constraints = CONSTRAINTS(param_max("limit", 200));
	tight.constraints = CONSTRAINTS(param_max("limit", 50));

	/* Where one entitlement is silent and another is not, the silent one gets the limit and the other is judged. */
	child = GRANT(HOST, make_entitlement("read", HOST "/a", LOCAL), loose);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 0);
	assert_int_equal(inherited.entitlements[1].constraints.list[0].max, 200);
	assert_string_equal(excess_line(&inherited, &parent), "K | limit <= 200 | limit <= 100");

	child = GRANT(HOST, make_entitlement("read", HOST "/a", LOCAL), tight);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 0);
	assert_int_equal(inherited.entitlements[0].constraints.list[0].max, 100);
	assert_int_equal(inherited.entitlements[1].constraints.n, 1);
	assert_int_equal(inherited.entitlements[1].constraints.list[0].max, 50);
	assert_string_equal(excess_line(&inherited, &parent), "inside");
}

static void
of_two_covering_entitlements_the_one_that_adds_less_is_taken(void **state)
{
	struct entitlement limited = make_entitlement("read", HOST "/**", DELEGABLE), wider = limited;
	struct entitlement middle = make_entitlement("read", HOST "/x", LOCAL);
	struct grant parent, child = reading(HOST "/x"), inherited;

	(void)state;
	limited.constraints = CONSTRAINTS(param_max("limit", 100));
	parent = GRANT(HOST, limited, make_entitlement("read", HOST "/x", DELEGABLE));
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.entitlements[0].constraints.n, 0);
	assert_string_equal(excess_line(&inherited, &parent), "inside");

	/* One whose constraint the child exceeds covers nothing, however little it adds. */
	limited.constraints = CONSTRAINTS(param_max("limit", 50));
	wider.constraints = CONSTRAINTS(param_max("limit", 200), param_in("to", "a"));
	parent = GRANT(HOST, limited, wider);
	middle.constraints = CONSTRAINTS(param_max("limit", 100));
	child = GRANT(HOST, middle);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.entitlements[0].constraints.n, 2);
	assert_string_equal(excess_line(&inherited, &parent), "inside");
}

static void
parents_top_and_entitlement_may_both_limit_one_thing(void **state)
{
	struct entitlement limited = make_entitlement("read", HOST "/**", DELEGABLE), own;
	struct grant parent, child = reading(HOST "/x"), inherited;

	(void)state;
	limited.constraints = CONSTRAINTS(source_net(0x0a010000, 16));
	parent = GRANT(HOST, limited);
	parent.constraints = CONSTRAINTS(source_net(0x0a000000, 8));
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 1);
	assert_int_equal(inherited.entitlements[0].constraints.n, 1);
	assert_string_equal(excess_line(&inherited, &parent), "inside");

	/* Both go into the entitlement when another has its own: the tighter one stands for both. */
	own = make_entitlement("read", HOST "/y", LOCAL);
	own.constraints = CONSTRAINTS(source_net(0x0a010200, 24));
	child = GRANT(HOST, make_entitlement("read", HOST "/x", LOCAL), own);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.entitlements[0].constraints.n, 1);
	expect_ok(grant_check(&inherited));
	assert_string_equal(excess_line(&inherited, &parent), "inside");

	/* Where neither stands for both, the requester says what it wants. */
	limited.constraints = CONSTRAINTS(window(100, 300));
	parent = GRANT(HOST, limited);
	parent.constraints = CONSTRAINTS(window(200, 400));
	own.constraints = CONSTRAINTS(window(200, 300));
	child = GRANT(HOST, make_entitlement("read", HOST "/x", LOCAL), own);
	expect_refused(grant_inherit(&child, &parent, &make_arena, &inherited), WRIT_INVALID,
		       "entitlement 1: two constraints of the parent apply (window 1970-01-01T00:03:20Z to "
		       "1970-01-01T00:06:40Z): state one inside both");
}

static void
inheriting_beyond_16_is_refused(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h",
					     "i", "j", "k", "l", "m", "n", "o", "p" };
	struct constraint list[16], one[1];
	struct grant parent = may_hand_on("read", HOST "/**"), child = reading(HOST "/x"), inherited;

	(void)state;
	for (size_t i = 0; i < 16; i++)
		list[i] = param_max(names[i], 1);
	one[0] = param_max("z", 1);
	parent.constraints = make_constraints(16, list);
	expect_ok(grant_inherit(&child, &parent, &make_arena, &inherited));
	assert_int_equal(inherited.constraints.n, 16);
	child.constraints = make_constraints(1, one);
	expect_refused(grant_inherit(&child, &parent, &make_arena, &inherited), WRIT_EXHAUSTED,
		       "inherited constraints make more than 16");
}

static void
inheriting_without_memory_is_an_error_not_a_wider_grant(void **state)
{
	struct grant parent = may_hand_on("read", HOST "/**"), child = reading(HOST "/x"), inherited;

	(void)state;
	parent.constraints = CONSTRAINTS(param_max("limit", 100));
	for (size_t limit = 0; limit < 150; limit += 8) {
		AUTO(writ_arena_done) struct writ_arena small = WRIT_ARENA(limit);
		struct writ_err *err = grant_inherit(&child, &parent, &small, &inherited);

		if (err)
			assert_int_equal(err->code, WRIT_EXHAUSTED);
		else
			assert_int_equal(inherited.constraints.n, 1);
		writ_err_free(err);
	}
}

/* ---- S3, A1 ---- */

static void
an_empty_list_never_means_all(void **state)
{
	const struct grant parent = may_hand_on("read", HOST "/**"), nothing = make_grant(0, NULL, HOST);
	const struct grant no_action = GRANT(HOST, make_entitlement("", HOST "/x", LOCAL));
	const struct grant no_resource = GRANT(HOST, make_entitlement("read", "", LOCAL));
	const struct grant no_audience = GRANT("", make_entitlement("read", HOST "/x", LOCAL));

	(void)state;
	assert_string_equal(asked_of(&parent, &nothing),
			    "S3 | no entitlement | at least one: an empty scope never means all");
	assert_string_equal(asked_of(&parent, &no_action),
			    "S3 | entitlement 1 without an action | at least one: an empty list never means all");
	assert_string_equal(asked_of(&parent, &no_resource),
			    "S3 | entitlement 1 without a resource | at least one: an empty list never means all");
	assert_string_equal(asked_of(&parent, &no_audience),
			    "A1 | no audience | at least one: an empty audience never means all");
	assert_string_equal(asked_of(&nothing, &parent), "S1 | read on https://h/** | parent grants nothing");
}

static void
each_audience_lies_within_one_of_the_parents(void **state)
{
	const struct grant parent = GRANT("https://a https://b/**", make_entitlement("read", HOST, DELEGABLE));
	const struct grant inside = GRANT("https://a https://b/x", make_entitlement("read", HOST, LOCAL));
	const struct grant outside = GRANT("https://a https://c", make_entitlement("read", HOST, LOCAL));
	const struct grant above = GRANT("https://b", make_entitlement("read", HOST, LOCAL));
	const struct grant wild = GRANT("https://b/x/**", make_entitlement("read", HOST, LOCAL));
	struct excess excess;

	(void)state;
	assert_string_equal(asked_of(&parent, &inside), "inside");
	assert_string_equal(asked_of(&parent, &outside), "A1 | https://c | parent's audience is https://a and 1 more");
	assert_string_equal(asked_of(&parent, &above), "A1 | https://b | parent's audience is https://a and 1 more");
	assert_string_equal(asked_of(&parent, &wild), "inside");
	grant_excess(&wild, &parent, false, &excess);
	assert_string_equal(excess.rule, "A1");
	assert_string_equal(excess.value, "https://b/x/**");
	assert_string_equal(excess.limit, "no wildcard in an audience");
}

static void
long_names_are_cut_with_dots_in_words(void **state)
{
	char *resource = make_room(400);
	struct grant parent = may_hand_on("read", HOST), child;
	struct excess excess;

	(void)state;
	strcpy(resource, HOST "/");
	memset(resource + strlen(resource), 'a', 300);
	child = reading(resource);
	grant_excess(&child, &parent, true, &excess);
	assert_int_equal(strlen(excess.value), 159);
	assert_string_equal(excess.value + 150, "aaaaaa...");
}

/* ---- constraints ---- */

static void
a_constraint_implies_only_a_looser_one_of_its_kind_and_name(void **state)
{
	const struct {
		struct constraint child, parent;
		bool implies;
	} rows[] = {
		{ param_max("a", 99), param_max("a", 100), true },
		{ param_max("a", 100), param_max("a", 100), true },
		{ param_max("a", 101), param_max("a", 100), false },
		{ param_max("a", -5), param_max("a", -5), true },
		{ param_max("b", 1), param_max("a", 100), false },
		{ param_in("a", "1"), param_max("a", 100), false },
		{ param_in("a", "1"), param_in("a", "1 2"), true },
		{ param_in("a", "1 2"), param_in("a", "1"), false },
		{ param_in("a", ""), param_in("a", "1"), false }, /* none is not "any" */
		{ window(10, 20), window(10, 20), true },
		{ window(9, 20), window(10, 20), false },
		{ window(10, 21), window(10, 20), false },
		{ source_net(0x0a010000, 16), source_net(0x0a000000, 8), true },
		{ source_net(0x0a000000, 8), source_net(0x0a010000, 16), false },
		{ source_net(0x0b010000, 16), source_net(0x0a000000, 8), false },
		{ source_net(0x0a000000, 7), source_net(0x0a000000, 8), false }, /* one address, two widths */
		{ source_net(0x0a000000, 8), source_net(0, 0), true },
		{ source_net(0, 0), source_net(0x0a000000, 8), false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		if (constraint_implies(&rows[i].child, &rows[i].parent) != rows[i].implies)
			fail_msg("row %zu", i);
}

static void
an_address_family_never_lies_inside_the_other(void **state)
{
	static const uint8_t zero[32];
	const struct writ_bytes four = { zero, 8 }, sixteen = { zero, 32 };
	const struct constraint v4 = { .kind = CONSTRAINT_SOURCE_NET, .n_values = 1, .values = &four };
	const struct constraint v6 = { .kind = CONSTRAINT_SOURCE_NET, .n_values = 1, .values = &sixteen };

	(void)state;
	assert_true(constraint_implies(&v6, &v6));
	assert_false(constraint_implies(&v4, &v6));
	assert_false(constraint_implies(&v6, &v4));
}

/* ---- well formed and canonical ---- */

static void
each_entitlement_is_checked_and_named(void **state)
{
	struct entitlement good = make_entitlement("read", HOST "/x", LOCAL), bad = good;
	struct grant grant;
	uint8_t odd_net[8] = { 10, 0, 0, 0, 255, 0, 255, 0 }, host_bits[8] = { 10, 0, 0, 1, 255, 0, 0, 0 };
	struct writ_bytes nets[2] = { { odd_net, 8 }, { host_bits, 8 } };
	struct constraint net = { .kind = CONSTRAINT_SOURCE_NET, .n_values = 1, .values = nets };
	struct constraint odd = { .kind = (enum constraint_kind)2 };

	(void)state;
	grant = GRANT(HOST, good);
	expect_ok(grant_check(&grant));
	grant = make_grant(0, NULL, HOST);
	expect_refused(grant_check(&grant), WRIT_INVALID, "no entitlement, at least one is needed");
	grant = GRANT("", good);
	expect_refused(grant_check(&grant), WRIT_INVALID, "audience, no resource, at least one is needed");
	grant = GRANT("h", good);
	expect_refused(grant_check(&grant), WRIT_INVALID, "audience, resource 'h': '://' is missing after the scheme");

	bad.actions = make_texts("write read");
	grant = GRANT(HOST, good, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 2, action 'write' stands after its place in ascending order");
	bad.actions = make_texts("read read");
	grant = GRANT(HOST, good, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 2, action 'read' is there twice");
	bad.actions = make_texts("a b c d e f g h i j k l m n o p q");
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, 17 of action, at most 16");
	bad.actions = make_texts("read");
	bad.resources = make_texts("");
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, no resource, at least one is needed");

	bad = good;
	bad.constraints = CONSTRAINTS(param_max("a", 1), param_max("a", 2));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, a second constraint of one kind and name: a <= 2");
	bad.constraints = CONSTRAINTS(param_max("a", 1), param_in("a", "x"), param_max("b", 1)); /* three different */
	grant = GRANT(HOST, bad);
	expect_ok(grant_check(&grant));
	bad.constraints = CONSTRAINTS(window(5, 4));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, window ends before it begins");
	bad.constraints = CONSTRAINTS(window(-1, 4));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, window leaves the years 1970 to 9999");
	bad.constraints = CONSTRAINTS(param_in("a", "y x"));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, param_in value 'y' stands after its place in ascending order");
	bad.constraints = CONSTRAINTS(param_in("a", "x\x1b"));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, param_in value is not UTF-8 without control characters");
	bad.constraints = CONSTRAINTS(param_in("a", ""));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, no param_in value, at least one is needed");
	bad.constraints = CONSTRAINTS(param_max("", 1));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, parameter name of 0 octets, 1 to 64");
	bad.constraints = CONSTRAINTS(param_max("a b", 1));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, parameter name 'a b' holds more than printable ASCII");
	bad.constraints = CONSTRAINTS(param_max("a", 9007199254740992));
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, param_max 9007199254740992 is beyond 2^53 - 1");
	bad.constraints = make_constraints(1, &net);
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, source_net mask is not contiguous");
	net.values = &nets[1];
	bad.constraints = make_constraints(1, &net);
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, source_net '10.0.0.1/8' has bits set beyond its mask");
	nets[1].len = 4;
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID,
		       "entitlement 1, source_net of 4 octets, 8 or 32 are address and mask");
	bad.constraints = make_constraints(1, &odd);
	grant = GRANT(HOST, bad);
	expect_refused(grant_check(&grant), WRIT_INVALID, "entitlement 1, constraint of unknown kind 2");
	grant = GRANT(HOST, good);
	grant.constraints = make_constraints(1, &odd);
	expect_refused(grant_check(&grant), WRIT_INVALID, "constraint of unknown kind 2");
}

static void
canonical_sorts_and_refuses_duplicates(void **state)
{
	struct entitlement e = make_entitlement("write read:x read", HOST "/b " HOST "/a", DELEGABLE);
	struct grant grant, sorted;

	(void)state;
	e.constraints = CONSTRAINTS(param_in("to", "b a c"));
	grant = GRANT("https://b https://a", e);
	expect_ok(grant_canonical(&grant, &make_arena, &sorted));
	expect_ok(grant_check(&sorted));
	expect_bytes(sorted.entitlements[0].actions.list[0], WRIT_LIT("read"));
	expect_bytes(sorted.entitlements[0].actions.list[1], WRIT_LIT("read:x"));
	expect_bytes(sorted.entitlements[0].actions.list[2], WRIT_LIT("write"));
	expect_bytes(sorted.entitlements[0].resources.list[0], WRIT_LIT(HOST "/a"));
	expect_bytes(sorted.entitlements[0].constraints.list[0].values[2], WRIT_LIT("c"));
	expect_bytes(sorted.audience.list[0], WRIT_LIT("https://a"));
	assert_true(sorted.entitlements[0].delegable);

	grant = GRANT("https://b https://a https://b", e);
	expect_refused(grant_canonical(&grant, &make_arena, &sorted), WRIT_INVALID,
		       "audience, resource 'https://b' is there twice");
	e.actions = make_texts("x y x");
	grant = GRANT("https://b", e);
	expect_refused(grant_canonical(&grant, &make_arena, &sorted), WRIT_INVALID,
		       "entitlement 1, action 'x' is there twice");
	e.actions = make_texts("");
	grant = GRANT("https://b", e);
	expect_refused(grant_canonical(&grant, &make_arena, &sorted), WRIT_INVALID,
		       "entitlement 1, no action, at least one is needed");
	e.actions = make_texts("a b c d e f g h i j k l m n o p q");
	grant = GRANT("https://b", e);
	expect_refused(grant_canonical(&grant, &make_arena, &sorted), WRIT_INVALID,
		       "entitlement 1, 17 of action, at most 16");
}

/* ---- a chain of random attenuations ---- */

static uint32_t seed = 7;

static unsigned
pick(unsigned n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % n;
}

static const char *
random_resource(bool pattern)
{
	static const char *const segments[] = { "/a", "/b" }, *const ends[] = { "", "/*", "/**" };
	char *text = make_room(32);

	strcpy(text, HOST);
	for (unsigned n = pick(3); n > 0; n--)
		strcat(text, segments[pick(2)]);
	return strcat(text, ends[pattern ? pick(3) : 0]);
}

static const char *
random_action(bool pattern)
{
	static const char *const plain[] = { "x", "x:y", "x:y:z", "x:w" }, *const wide[] = { "x:*", "x:y:*" };

	return pattern && pick(2) ? wide[pick(2)] : plain[pick(4)];
}

static struct constraints
random_constraints(void)
{
	return pick(3) ? (struct constraints){ 0 } : CONSTRAINTS(param_max("limit", pick(5)));
}

static struct grant
random_grant(void)
{
	struct entitlement list[3];
	const size_t n = 1 + pick(3);
	struct grant grant;

	for (size_t i = 0; i < n; i++) {
		list[i] = make_entitlement(random_action(true), random_resource(true), pick(4) != 0);
		list[i].constraints = random_constraints();
	}
	grant = make_grant(n, list, HOST);
	grant.constraints = random_constraints();
	return grant;
}

static bool
all_hold(const struct constraints *constraints, int64_t value)
{
	for (size_t i = 0; i < constraints->n; i++)
		if (value > constraints->list[i].max)
			return false;
	return true;
}

/* As a relying party would: one entitlement that matches, with all its constraints true. */
static bool
allows(const struct grant *grant, const char *action, const char *resource, int64_t value)
{
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		if (action_covers(e->actions.list[0], writ_str(action)) &&
		    resource_covers(e->resources.list[0], writ_str(resource)) && all_hold(&e->constraints, value) &&
		    all_hold(&grant->constraints, value))
			return true;
	}
	return false;
}

static void
no_chain_of_attenuations_ever_allows_what_its_root_denies(void **state)
{
	unsigned n_chains = 0, n_links = 0, n_allowed = 0, n_denied = 0;

	(void)state;
	for (unsigned round = 0; round < 6000; round++) {
		const struct grant root = random_grant();
		struct grant last = root;
		unsigned links = 0;

		for (unsigned attempt = 0; attempt < 12 && links < 4; attempt++) {
			const struct grant child = random_grant();
			struct grant inherited;

			expect_ok(grant_inherit(&child, &last, &make_arena, &inherited));
			if (strcmp(excess_line(&inherited, &last), "inside") != 0)
				continue;
			last = inherited;
			links++;
		}
		n_chains += links > 0;
		n_links += links;
		for (unsigned i = 0; i < 20 && links > 0; i++) {
			const char *action = random_action(false), *resource = random_resource(false);
			const int64_t value = pick(7);

			if (!allows(&last, action, resource, value)) {
				n_denied++;
				continue;
			}
			n_allowed++;
			if (!allows(&root, action, resource, value))
				fail_msg("round %u: %s on %s with %lld", round, action, resource, (long long)value);
		}
		writ_arena_clear(&make_arena);
	}
	assert_true(n_chains > 1000); /* the generator does meet the cases */
	assert_true(n_links > 1500);
	assert_true(n_allowed > 500);
	assert_true(n_denied > 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(row_1_payroll_is_not_below_pay),
		cmocka_unit_test(row_2_what_is_not_canonical_is_rejected),
		cmocka_unit_test(row_3_two_stars_need_one_segment),
		cmocka_unit_test(row_4_one_star_covers_neither_two_nor_two_levels),
		cmocka_unit_test(row_5_two_parts_do_not_make_the_whole),
		cmocka_unit_test(row_6_the_cross_product_stays_inside_one_entitlement),
		cmocka_unit_test(row_7_an_action_and_what_is_below_it_are_two_things),
		cmocka_unit_test(row_8_a_constraint_that_is_left_out_is_copied_down),
		cmocka_unit_test(row_8_a_constraint_of_an_entitlement_goes_into_the_entitlement),
		cmocka_unit_test(row_9_a_window_that_reaches_out_is_refused),
		cmocka_unit_test(row_10_the_union_of_two_parents_lies_inside_neither),
		cmocka_unit_test(row_15_what_is_not_delegable_is_not_handed_on_even_if_narrower),
		cmocka_unit_test(row_16_names_that_other_parsers_read_otherwise_are_rejected),
		cmocka_unit_test(row_17_values_are_compared_byte_by_byte),
		cmocka_unit_test(a_looser_constraint_is_refused_and_never_narrowed),
		cmocka_unit_test(of_two_covering_entitlements_the_one_that_adds_less_is_taken),
		cmocka_unit_test(parents_top_and_entitlement_may_both_limit_one_thing),
		cmocka_unit_test(inheriting_beyond_16_is_refused),
		cmocka_unit_test(inheriting_without_memory_is_an_error_not_a_wider_grant),
		cmocka_unit_test(an_empty_list_never_means_all),
		cmocka_unit_test(each_audience_lies_within_one_of_the_parents),
		cmocka_unit_test(long_names_are_cut_with_dots_in_words),
		cmocka_unit_test(a_constraint_implies_only_a_looser_one_of_its_kind_and_name),
		cmocka_unit_test(an_address_family_never_lies_inside_the_other),
		cmocka_unit_test(each_entitlement_is_checked_and_named),
		cmocka_unit_test(canonical_sorts_and_refuses_duplicates),
		cmocka_unit_test(no_chain_of_attenuations_ever_allows_what_its_root_denies),
	};
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);

	writ_arena_done(&make_arena);
	return failed;
}
