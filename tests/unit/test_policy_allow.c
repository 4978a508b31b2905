/* May a request be served under a grant?  Every constraint type, every input that is missing or malformed: denied
 * (delegation.md 4.2, 4.4, 6.1 step 8). */
#include "policy/allow.h"
#include "tests/unit/policy_make.h"

#define HOST "https://h"
#define NOW INT64_C(1795467097) /* 2026-11-23T20:51:37Z */

/* "entitlement 0", or "window | entitlement 1: ..." */
static const char *
asked_at(const struct grant *grant, const struct allow_request *request, writ_time now)
{
	static const char *const results[] = {
		[ALLOW_BAD_REQUEST] = "bad", [ALLOW_NOT_COVERED] = "not covered", [ALLOW_CONSTRAINED] = "constrained"
	};
	static char line[500];
	struct allow answer;

	allow_request(grant, request, now, &answer);
	if (answer.result == ALLOW_YES) {
		assert_string_equal(answer.reason, "");
		snprintf(line, sizeof(line), "entitlement %zu", answer.entitlement);
	} else {
		snprintf(line, sizeof(line), "%s: %s | %s", results[answer.result], answer.rule, answer.reason);
	}
	return line;
}

static const char *
asked(const struct grant *grant, const char *action, const char *resource)
{
	const struct allow_request request = { .action = writ_str(action), .resource = writ_str(resource) };

	return asked_at(grant, &request, NOW);
}

/* One entitlement of everything below /a, under these constraints. */
static struct grant
under(struct constraints constraints)
{
	struct entitlement e = make_entitlement("read", HOST "/a/**", LOCAL);

	e.constraints = constraints;
	return make_grant(1, &e, HOST);
}

static struct allow_request
reading(void)
{
	return (struct allow_request){ .action = WRIT_LIT("read"), .resource = WRIT_LIT(HOST "/a/b") };
}

/* ---- names ---- */

static void
what_no_entitlement_covers_is_denied(void **state)
{
	const struct grant grant = GRANT(HOST, make_entitlement("db:read db:list:*", HOST "/a/* " HOST "/b", LOCAL),
					 make_entitlement("db:write", HOST "/a/**", LOCAL));
	const struct grant nothing = { 0 };
	static const struct {
		const char *action, *resource, *wanted;
	} rows[] = {
		{ "db:read", HOST "/a/1", "entitlement 0" },
		{ "db:read", HOST "/b", "entitlement 0" },
		{ "db:list:fast", HOST "/a/1", "entitlement 0" },
		{ "db:write", HOST "/a/1/2/3", "entitlement 1" },
		{ "db:read", HOST "/a", "not covered: entitlement | none of 2 covers db:read on https://h/a" },
		{ "db:read", HOST "/a/1/2", "not covered: entitlement | none of 2 covers db:read on https://h/a/1/2" },
		{ "db:read", HOST "/b/1", "not covered: entitlement | none of 2 covers db:read on https://h/b/1" },
		{ "db:read", HOST "/ab", "not covered: entitlement | none of 2 covers db:read on https://h/ab" },
		{ "db:read", "https://h2/a/1",
		  "not covered: entitlement | none of 2 covers db:read on https://h2/a/1" },
		{ "db:list", HOST "/a/1", "not covered: entitlement | none of 2 covers db:list on https://h/a/1" },
		{ "db", HOST "/a/1", "not covered: entitlement | none of 2 covers db on https://h/a/1" },
		{ "db:read:all", HOST "/a/1",
		  "not covered: entitlement | none of 2 covers db:read:all on https://h/a/1" },
		/* Row 6: the actions of one entitlement do not go with the resources of another. */
		{ "db:write", HOST "/b", "not covered: entitlement | none of 2 covers db:write on https://h/b" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		assert_string_equal(asked(&grant, rows[i].action, rows[i].resource), rows[i].wanted);
	assert_string_equal(asked(&nothing, "db:read", HOST "/a/1"),
			    "not covered: entitlement | none of 0 covers db:read on https://h/a/1");
}

static void
a_request_that_is_not_canonical_or_names_many_things_is_malformed_not_mended(void **state)
{
	const struct grant grant = GRANT(HOST, make_entitlement("read", HOST "/a/**", LOCAL));
	struct allow_request request = reading();
	struct allow_parameter parameters[ALLOW_PARAMETERS_MAX + 1];
	static const struct {
		const char *action, *resource, *reason;
	} rows[] = {
		{ "", HOST "/a/b", "action is empty" },
		{ "Read", HOST "/a/b", "action 'Read': only lower-case a-z, 0-9, '_', '-', and ':' between" },
		{ "read", "", "resource is empty" },
		{ "read", HOST "/a/b/", "resource 'https://h/a/b/': a segment is empty, or it ends in '/'" },
		{ "read", HOST "/a//b", "resource 'https://h/a//b': a segment is empty, or it ends in '/'" },
		{ "read", HOST "/a/../b", "resource 'https://h/a/../b': has a '.' or '..' segment" },
		{ "read", HOST "/a/b?x=1", "resource 'https://h/a/b?x=1': a query is no part of a resource" },
		{ "read", HOST "/a/%2Fb", "resource 'https://h/a/%2Fb': percent-encodes '/', '\\' or NUL" },
		{ "read", HOST "/a/*",
		  "read on https://h/a/*: a request names one thing, a pattern names many (a literal '*' is %2A)" },
		{ "read", HOST "/a/**",
		  "read on https://h/a/**: a request names one thing, a pattern names many (a literal '*' is %2A)" },
		{ "db:*", HOST "/a/b",
		  "db:* on https://h/a/b: a request names one thing, a pattern names many (a literal '*' is %2A)" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct allow answer;
		const struct allow_request r = { .action = writ_str(rows[i].action),
						 .resource = writ_str(rows[i].resource) };

		allow_request(&grant, &r, NOW, &answer);
		assert_int_equal(answer.result, ALLOW_BAD_REQUEST);
		assert_string_equal(answer.rule, "request");
		assert_string_equal(answer.reason, rows[i].reason);
	}
	request.peer = WRIT_LIT("12345");
	assert_string_equal(asked_at(&grant, &request, NOW),
			    "bad: request | a peer address of 5 octets, 4 or 16 are one");
	request = reading();
	for (size_t i = 0; i < N_OF(parameters); i++)
		parameters[i] = (struct allow_parameter){ WRIT_LIT("x"), WRIT_LIT("y") };
	request.parameters = parameters;
	request.n_parameters = ALLOW_PARAMETERS_MAX;
	assert_string_equal(asked_at(&grant, &request, NOW), "entitlement 0");
	request.n_parameters++;
	assert_string_equal(asked_at(&grant, &request, NOW), "bad: request | 65 parameters, at most 64");
}

static void
of_several_entitlements_the_first_that_allows_it_all_is_named(void **state)
{
	struct entitlement es[3] = { make_entitlement("read", HOST "/a/**", LOCAL),
				     make_entitlement("read", HOST "/a/**", LOCAL),
				     make_entitlement("read", HOST "/a/**", LOCAL) };
	struct grant grant;

	(void)state;
	es[0].constraints = CONSTRAINTS(window(NOW + 1, NOW + 2));
	es[1].constraints = CONSTRAINTS(param_max("limit", 5));
	grant = make_grant(3, es, HOST);
	assert_string_equal(asked(&grant, "read", HOST "/a/b"), "entitlement 2");
	grant = make_grant(2, es, HOST); /* why not is told of the first */
	assert_string_equal(asked(&grant, "read", HOST "/a/b"),
			    "constrained: window | entitlement 1: it is 2026-11-23T20:51:37Z; it is allowed only with "
			    "window 2026-11-23T20:51:38Z to 2026-11-23T20:51:39Z");
}

static void
constraints_at_the_top_hold_beside_those_of_an_entitlement(void **state)
{
	struct grant grant = under(CONSTRAINTS(param_max("limit", 100)));
	struct allow_request request = reading();
	const struct allow_parameter limit = { WRIT_LIT("limit"), WRIT_LIT("50") },
				     more = { WRIT_LIT("limit"), WRIT_LIT("101") };

	(void)state;
	grant.constraints = CONSTRAINTS(param_max("limit", 10));
	request.parameters = &limit;
	request.n_parameters = 1;
	assert_string_equal(
		asked_at(&grant, &request, NOW),
		"constrained: paramMax | entitlement 1: 'limit' is '50'; it is allowed only with limit <= 10");
	grant.constraints = CONSTRAINTS(param_max("limit", 1000));
	assert_string_equal(asked_at(&grant, &request, NOW), "entitlement 0");
	request.parameters = &more;
	assert_string_equal(
		asked_at(&grant, &request, NOW),
		"constrained: paramMax | entitlement 1: 'limit' is '101'; it is allowed only with limit <= 100");
}

/* ---- each type ---- */

static void
source_net_wants_the_peer_inside_a_prefix_of_its_own_family(void **state)
{
	const struct grant four = under(CONSTRAINTS(source_net(0x0a010000, 16)));
	const struct grant all = under(CONSTRAINTS(source_net(0, 0)));
	const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1 };
	const uint8_t six[32] = { 0x20, 0x01, 0x0d, 0xb8, [16] = 0xff, 0xff, 0xff, 0xff };
	const uint8_t inside[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 },
		      outside[16] = { 0x20, 0x01, 0x0d, 0xb9, [15] = 1 };
	const struct writ_bytes net = { six, 32 };
	const struct grant v6 =
		under(CONSTRAINTS((struct constraint){ .kind = CONSTRAINT_SOURCE_NET, .n_values = 1, .values = &net }));
	const struct {
		const struct grant *grant;
		struct writ_bytes peer;
		const char *wanted;
	} rows[] = {
		{ &four, WRIT_LIT("\x0a\x01\x00\x00"), "entitlement 0" },
		{ &four, WRIT_LIT("\x0a\x01\xff\xff"), "entitlement 0" },
		{ &four, WRIT_LIT("\x0a\x02\x00\x00"),
		  "constrained: sourceNet | entitlement 1: 10.2.0.0; it is allowed only with source_net 10.1.0.0/16" },
		{ &four, WRIT_LIT("\x0a\x00\xff\xff"),
		  "constrained: sourceNet | entitlement 1: 10.0.255.255; it is allowed only with source_net "
		  "10.1.0.0/16" },
		{ &four,
		  { mapped, 16 },
		  "constrained: sourceNet | entitlement 1: ::ffff:10.1.0.0; it is allowed only with source_net "
		  "10.1.0.0/16" },
		{ &all,
		  { inside, 16 },
		  "constrained: sourceNet | entitlement 1: 2001:db8::1; it is allowed only with source_net 0.0.0.0/0" },
		{ &all, WRIT_LIT("\xff\xff\xff\xff"), "entitlement 0" },
		{ &all,
		  { 0 },
		  "constrained: sourceNet | entitlement 1: the peer's address is not known; it is allowed only with "
		  "source_net 0.0.0.0/0" },
		{ &v6, { inside, 16 }, "entitlement 0" },
		{ &v6,
		  { outside, 16 },
		  "constrained: sourceNet | entitlement 1: 2001:db9::1; it is allowed only with source_net "
		  "2001:db8::/32" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct allow_request request = reading();

		request.peer = rows[i].peer;
		assert_string_equal(asked_at(rows[i].grant, &request, NOW), rows[i].wanted);
	}
}

static void
window_includes_both_its_ends_and_knows_no_skew(void **state)
{
	const struct grant grant = under(CONSTRAINTS(window(NOW, NOW + 60)));
	const struct allow_request request = reading();

	(void)state;
	assert_string_equal(asked_at(&grant, &request, NOW), "entitlement 0");
	assert_string_equal(asked_at(&grant, &request, NOW + 60), "entitlement 0");
	assert_string_equal(asked_at(&grant, &request, NOW - 1),
			    "constrained: window | entitlement 1: it is 2026-11-23T20:51:36Z; it is allowed only with "
			    "window 2026-11-23T20:51:37Z to 2026-11-23T20:52:37Z");
	assert_string_equal(asked_at(&grant, &request, NOW + 61),
			    "constrained: window | entitlement 1: it is 2026-11-23T20:52:38Z; it is allowed only with "
			    "window 2026-11-23T20:51:37Z to 2026-11-23T20:52:37Z");
}

/* With these parameters, as name, value, name, value. */
static const char *
with(const struct grant *grant, size_t n, const char *const *pairs)
{
	struct allow_parameter parameters[4];
	struct allow_request request = reading();

	for (size_t i = 0; i < n; i++)
		parameters[i] = (struct allow_parameter){ writ_str(pairs[2 * i]), writ_str(pairs[2 * i + 1]) };
	request.parameters = parameters;
	request.n_parameters = n;
	return asked_at(grant, &request, NOW);
}

static void
param_in_wants_exactly_one_value_of_its_set(void **state)
{
	const struct grant grant = under(CONSTRAINTS(param_in("to", "CFO@x ceo@x")));
	static const char long_value[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
					 "0123456789012345678901234567890123456789012345678901234567890123456789"
					 "0123456789012345678901234567890123456789012345678901234567890123456789"
					 "01234567890123456789012345678901234567890123456789";
#define ONLY "; it is allowed only with to in {'CFO@x', 'ceo@x'}"
	static const struct {
		size_t n;
		const char *pairs[4], *wanted;
	} rows[] = {
		{ 1, { "to", "ceo@x" }, "entitlement 0" },
		{ 2, { "other", "1", "to", "CFO@x" }, "entitlement 0" },
		/* Row 17: bytes, not letters. */
		{ 1, { "to", "cfo@x" }, "constrained: paramIn | entitlement 1: 'to' is 'cfo@x'" ONLY },
		{ 1, { "to", "" }, "constrained: paramIn | entitlement 1: 'to' is ''" ONLY },
		{ 1, { "to", "ceo@x " }, "constrained: paramIn | entitlement 1: 'to' is 'ceo@x '" ONLY },
		{ 1, { "To", "ceo@x" }, "constrained: paramIn | entitlement 1: no parameter 'to'" ONLY },
		{ 0, { NULL }, "constrained: paramIn | entitlement 1: no parameter 'to'" ONLY },
		{ 2,
		  { "to", "ceo@x", "to", "ceo@x" },
		  "constrained: paramIn | entitlement 1: parameter 'to' stands there twice" ONLY },
		{ 1,
		  { "to", "\033[31m" },
		  "constrained: paramIn | entitlement 1: 'to' is longer than any value, or no clean text" ONLY },
		{ 1,
		  { "to", long_value },
		  "constrained: paramIn | entitlement 1: 'to' is longer than any value, or no clean text" ONLY },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		assert_string_equal(with(&grant, rows[i].n, rows[i].pairs), rows[i].wanted);
#undef ONLY
}

static void
param_max_wants_one_integer_in_its_one_spelling(void **state)
{
	const struct grant grant = under(CONSTRAINTS(param_max("limit", 100)));
	const struct grant below_zero = under(CONSTRAINTS(param_max("limit", -5)));
	static const char *const good[] = { "100", "0", "7", "-1", "-9007199254740991" };
	static const char *const no_integer[] = {
		"",
		"+1",
		"-",
		"-0",
		"00",
		"01",
		"-01",
		"1.0",
		"1e1",
		"0x10",
		" 1",
		"1 ",
		"1,0",
		"--1",
		"9007199254740992",
		"-9007199254740992",
		"18446744073709551617",
		"NaN",
		"\xd9\xa1",
		"99999999999999999999999999",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++)
		assert_string_equal(with(&grant, 1, (const char *const[]){ "limit", good[i] }), "entitlement 0");
	for (size_t i = 0; i < N_OF(no_integer); i++)
		assert_string_equal(with(&grant, 1, (const char *const[]){ "limit", no_integer[i] }),
				    "constrained: paramMax | entitlement 1: parameter 'limit' is no integer; it is "
				    "allowed only with limit <= 100");
	assert_string_equal(
		with(&grant, 1, (const char *const[]){ "limit", "101" }),
		"constrained: paramMax | entitlement 1: 'limit' is '101'; it is allowed only with limit <= 100");
	assert_string_equal(with(&grant, 0, NULL), "constrained: paramMax | entitlement 1: no parameter 'limit'; it is "
						   "allowed only with limit <= 100");
	assert_string_equal(with(&below_zero, 1, (const char *const[]){ "limit", "-5" }), "entitlement 0");
	assert_string_equal(
		with(&below_zero, 1, (const char *const[]){ "limit", "-4" }),
		"constrained: paramMax | entitlement 1: 'limit' is '-4'; it is allowed only with limit <= -5");
}

static void
a_constraint_of_an_unknown_kind_or_without_values_is_never_met(void **state)
{
	const struct constraint reserved = { .kind = (enum constraint_kind)2, .name = WRIT_LIT("budget") };
	const struct constraint no_net = { .kind = CONSTRAINT_SOURCE_NET };
	const struct constraint no_value = { .kind = CONSTRAINT_PARAM_IN, .name = WRIT_LIT("x") };
	const struct grant one = under(CONSTRAINTS(reserved)), two = under(CONSTRAINTS(no_net)),
			   three = under(CONSTRAINTS(no_value));
	struct allow_request request = reading();

	(void)state;
	request.peer = WRIT_LIT("\x0a\x01\x00\x00");
	assert_string_equal(asked_at(&one, &request, NOW),
			    "constrained: constraint | entitlement 1: not understood; it is "
			    "allowed only with unknown constraint");
	assert_string_equal(asked_at(&two, &request, NOW), "constrained: sourceNet | entitlement 1: 10.1.0.0; it is "
							   "allowed only with source_net (no network)");
	assert_string_equal(with(&three, 1, (const char *const[]){ "x", "" }),
			    "constrained: paramIn | entitlement 1: 'x' is ''; it is allowed only with x in {}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_no_entitlement_covers_is_denied),
		cmocka_unit_test(a_request_that_is_not_canonical_or_names_many_things_is_malformed_not_mended),
		cmocka_unit_test(of_several_entitlements_the_first_that_allows_it_all_is_named),
		cmocka_unit_test(constraints_at_the_top_hold_beside_those_of_an_entitlement),
		cmocka_unit_test(source_net_wants_the_peer_inside_a_prefix_of_its_own_family),
		cmocka_unit_test(window_includes_both_its_ends_and_knows_no_skew),
		cmocka_unit_test(param_in_wants_exactly_one_value_of_its_set),
		cmocka_unit_test(param_max_wants_one_integer_in_its_one_spelling),
		cmocka_unit_test(a_constraint_of_an_unknown_kind_or_without_values_is_never_met),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
