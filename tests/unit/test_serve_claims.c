/* The claims of a signed grant: what it must say, and when and where it may be redeemed.  Time is a parameter. */
#include "issuer/serve/claims.h"
#include "tests/unit/expect.h"

#define NOW INT64_C(1795000000) /* 2026-11-18T11:06:40Z */
#define SPKI "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define ALICE "spiffe://agents.corp.example/human/corp/alice"
#define WHO "\"iss\":\"" ALICE "\",\"aud\":\"https://writ.corp.example\",\"jti\":\"0123456789abcdef0123456789abcdef\""
#define WHEN "\"iat\":1795000000,\"nbf\":1795000000,\"exp\":1795000600,\"grant_end\":1795003600"
#define WHAT                                                                                                           \
	"\"agent\":\"spiffe://agents.corp.example/agent/invoice-bot\",\"spki_sha256\":\"" SPKI                         \
	"\",\"task\":{\"id\":\"t-1\",\"purpose\":\"quarter end\"},"                                                    \
	"\"scope\":[{\"actions\":[\"b:write\",\"a:read\"],\"resources\":[\"https://erp.corp.example/v2/**\"]}],"       \
	"\"audience\":[\"https://erp.corp.example\"]"

static struct writ_arena arena = { .limit = 1024 * 1024 };

static int
clear(void **state)
{
	(void)state;
	writ_arena_done(&arena);
	return 0;
}

static void
a_whole_grant_is_read(void **state)
{
	struct claims claims;

	(void)state;
	expect_ok(claims_read(WRIT_LIT("{" WHO "," WHEN "," WHAT
				       ",\"depth\":2,\"context_type\":\"ticket\",\"context_digest\":\"" SPKI
				       "\",\"constraints\":[{\"paramMax\":{\"name\":\"n\",\"max\":5}}]}"),
			      &arena, &claims));
	expect_bytes(claims.iss, WRIT_LIT(ALICE));
	expect_bytes(claims.aud, WRIT_LIT("https://writ.corp.example"));
	expect_bytes(claims.jti, WRIT_LIT("0123456789abcdef0123456789abcdef"));
	assert_int_equal(claims.iat, NOW);
	assert_int_equal(claims.nbf, NOW);
	assert_int_equal(claims.exp, NOW + 600);
	assert_int_equal(claims.grant_end, NOW + 3600);
	expect_bytes(claims.asked.agent_class, WRIT_LIT("spiffe://agents.corp.example/agent/invoice-bot"));
	assert_int_equal(claims.asked.spki_sha256[1], 0x11);
	expect_bytes(claims.asked.task_id, WRIT_LIT("t-1"));
	expect_bytes(claims.asked.purpose, WRIT_LIT("quarter end"));
	assert_int_equal(claims.asked.depth, 2);
	assert_int_equal(claims.asked.grant.n_entitlements, 1);
	expect_bytes(claims.asked.grant.entitlements[0].actions.list[0], WRIT_LIT("a:read")); /* E6 */
	assert_int_equal(claims.asked.grant.constraints.n, 1);
	expect_bytes(claims.asked.context_type, WRIT_LIT("ticket"));
	assert_int_equal(claims.asked.context_digest.len, 32);
}

static void
a_grant_with_one_thing_wrong_is_refused_for_that_thing(void **state)
{
	static const struct {
		const char *payload, *message;
	} rows[] = {
		{ "", "grant: the payload is not JSON: line 1, column 0: '[' or '{' expected near end of file" },
		{ "[]", "grant: the payload is not a JSON object" },
		{ "{" WHO "," WHEN "," WHAT "}", "grant: member 'depth' is missing" },
		{ "{" WHO "," WHEN "," WHAT ",\"depth\":0}{}",
		  "grant: the payload is not JSON: line 1, column 527: end of file expected near '{'" },
		{ "{" WHO "," WHEN "," WHAT ",\"depth\":0,\"depth\":1}",
		  "grant: the payload has a member twice: line 1, column 533" },
		{ "{" WHO "," WHEN "," WHAT ",\"depth\":0,\"azp\":\"x\"}", "grant: member 'azp' is unknown" },
		{ "{" WHO "," WHEN "," WHAT ",\"depth\":0.0}", "grant: member 'depth' must be an integer from 0 to 7" },
		{ "{" WHO "," WHEN "," WHAT ",\"depth\":1e0}", "grant: member 'depth' must be an integer from 0 to 7" },
		{ "{" WHEN "," WHAT ",\"depth\":0}", "grant: member 'iss' is missing" },
		{ "{" WHO "," WHAT ",\"depth\":0}", "grant: member 'iat' is missing" },
		{ "{" WHO "," WHEN ",\"depth\":0}", "grant: member 'agent' is missing" },
		{ "{" WHO ",\"iat\":1.5}", "grant: member 'iat' must be an integer from 0 to 9007199254740991" },
		{ "{" WHO ",\"iat\":9007199254740992}",
		  "grant: member 'iat' must be an integer from 0 to 9007199254740991" },
		{ "{\"iss\":\"\"}", "grant: member 'iss' must be a text that is not empty" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct claims claims;

		print_message("  %s\n", rows[i].payload);
		expect_refused(claims_read(writ_str(rows[i].payload), &arena, &claims), WRIT_INVALID, rows[i].message);
	}
}

static void
a_grant_is_redeemed_by_its_audience_within_its_times_and_within_the_limit(void **state)
{
	static const struct {
		const char *what;
		writ_time iat, nbf, exp, now;
		const char *message; /* NULL: it may be redeemed */
	} rows[] = {
		{ "at once", NOW, NOW, NOW + 600, NOW, NULL },
		{ "in its last second", NOW, NOW, NOW + 600, NOW + 599, NULL },
		{ "one second later", NOW, NOW, NOW + 600, NOW + 600,
		  "grant: expired at 2026-11-18T11:16:40Z, and here it is 2026-11-18T11:16:40Z" },
		{ "the longest", NOW, NOW, NOW + 900, NOW, NULL },
		{ "one second more", NOW, NOW, NOW + 901, NOW,
		  "grant: exp is 901 s after iat, over the 900 s within which a grant is redeemed" },
		{ "a day", NOW, NOW, NOW + 86400, NOW,
		  "grant: exp is 86400 s after iat, over the 900 s within which a grant is redeemed" },
		{ "a clock 30 s ahead", NOW + 30, NOW + 30, NOW + 600, NOW, NULL },
		{ "a clock 31 s ahead", NOW + 31, NOW, NOW + 600, NOW,
		  "grant: issued at 2026-11-18T11:07:11Z, and here it is 2026-11-18T11:06:40Z" },
		{ "not before 31 s", NOW, NOW + 31, NOW + 600, NOW,
		  "grant: not to be used before 2026-11-18T11:07:11Z, and here it is 2026-11-18T11:06:40Z" },
		{ "never good", NOW, NOW, NOW, NOW, "grant: exp is not after iat" },
		{ "ends before it begins", NOW, NOW, NOW - 1, NOW, "grant: exp is not after iat" },
		{ "the end of all integers", (INT64_C(1) << 53) - 2, 0, (INT64_C(1) << 53) - 1, NOW,
		  "grant: issued at 9999-12-31T23:59:59Z, and here it is 2026-11-18T11:06:40Z" },
		{ "from the beginning", 0, 0, 1, NOW,
		  "grant: expired at 1970-01-01T00:00:01Z, and here it is 2026-11-18T11:06:40Z" },
	};
	const struct claims_wanted wanted = { WRIT_LIT(ALICE), WRIT_LIT("alice-1"),
					      WRIT_LIT("https://writ.corp.example"), 900 };
	struct claims claims;

	(void)state;
	expect_ok(claims_read(WRIT_LIT("{" WHO "," WHEN "," WHAT ",\"depth\":0}"), &arena, &claims));
	for (size_t i = 0; i < N_OF(rows); i++) {
		print_message("  %s\n", rows[i].what);
		claims.iat = rows[i].iat;
		claims.nbf = rows[i].nbf;
		claims.exp = rows[i].exp;
		if (rows[i].message)
			expect_refused(claims_check(&claims, &wanted, rows[i].now), WRIT_UNAUTHENTICATED,
				       rows[i].message);
		else
			expect_ok(claims_check(&claims, &wanted, rows[i].now));
	}
}

static void
a_grant_by_or_for_somebody_else_is_refused(void **state)
{
	struct claims_wanted wanted = { WRIT_LIT(ALICE), WRIT_LIT("alice-1"), WRIT_LIT("https://writ.corp.example"),
					900 };
	struct claims claims;

	(void)state;
	expect_ok(claims_read(WRIT_LIT("{" WHO "," WHEN "," WHAT ",\"depth\":0}"), &arena, &claims));
	expect_ok(claims_check(&claims, &wanted, NOW));
	wanted.audience = WRIT_LIT("https://writ.corp.example/");
	expect_refused(claims_check(&claims, &wanted, NOW), WRIT_UNAUTHENTICATED,
		       "grant: aud is 'https://writ.corp.example', and this issuer is 'https://writ.corp.example/'");
	wanted.principal = WRIT_LIT("spiffe://agents.corp.example/human/corp/bob");
	expect_refused(claims_check(&claims, &wanted, NOW), WRIT_UNAUTHENTICATED,
		       "grant: iss is '" ALICE "', and kid 'alice-1' is not its key");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_whole_grant_is_read, clear),
		cmocka_unit_test_teardown(a_grant_with_one_thing_wrong_is_refused_for_that_thing, clear),
		cmocka_unit_test_teardown(a_grant_is_redeemed_by_its_audience_within_its_times_and_within_the_limit,
					  clear),
		cmocka_unit_test_teardown(a_grant_by_or_for_somebody_else_is_refused, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
