/*
 * Who gets how much (admission), and what is promised once (once).
 */
#include <stdlib.h>

#include "issuer/serve/admission.h"
#include "issuer/serve/once.h"
#include "tests/unit/expect.h"

#define ALICE WRIT_LIT("spiffe://agents.corp.example/human/corp/alice")
#define BOB WRIT_LIT("spiffe://agents.corp.example/human/corp/bob")

static unsigned
taken(struct admission *a, struct writ_bytes who, int64_t at_ms, unsigned tries)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++) {
		struct writ_err *err = admission_take(a, who, at_ms);

		n += err ? 0 : 1;
		writ_err_free(err);
	}
	return n;
}

static void
a_principal_may_ask_its_share_at_once_and_no_more(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 5, 2 * 5 }, &a));
	assert_int_equal(taken(a, ALICE, 1000, 100), 5);
	expect_refused(admission_take(a, ALICE, 1000), WRIT_EXHAUSTED,
		       "spiffe://agents.corp.example/human/corp/alice asks more than 5 times a second: slow down");
	admission_free(a);
}

static void
others_are_not_touched_by_one_that_floods(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 5, 2 * 5 }, &a));
	assert_int_equal(taken(a, ALICE, 1000, 10000), 5);
	assert_int_equal(taken(a, BOB, 1000, 5), 5);
	admission_free(a);
}

static void
the_share_comes_back_with_time_and_does_not_pile_up(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 10, 2 * 10 }, &a));
	assert_int_equal(taken(a, ALICE, 1000, 100), 10);
	assert_int_equal(taken(a, ALICE, 1099, 100), 0);
	assert_int_equal(taken(a, ALICE, 1199, 100), 1);
	assert_int_equal(taken(a, ALICE, 1000000, 100), 10);
	admission_free(a);
}

static void
who_used_up_his_share_can_still_take_back(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 5, 10 }, &a));
	assert_int_equal(taken(a, ALICE, 1000, 100), 5);
	for (int i = 0; i < 5; i++)
		expect_ok(admission_take_back(a, ALICE, 1000));
	expect_refused(admission_take_back(a, ALICE, 1000), WRIT_EXHAUSTED,
		       "spiffe://agents.corp.example/human/corp/alice asks more than 5 times a second: slow down");
	admission_free(a);
}

static unsigned
taken_of_delegator(struct admission *a, uint64_t name, int64_t at_ms, unsigned tries)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++)
		n += admission_delegator(a, name, true, at_ms);
	return n;
}

static void
all_agents_of_a_delegator_share_one_bucket(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 5, 10 }, &a));
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 1000, 100), 10);
	assert_int_equal(taken_of_delegator(a, admission_name(a, BOB), 1000, 100), 10);
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 1500, 100), 5);
	assert_int_equal(taken(a, ALICE, 1000, 100), 5); /* her own is another */
	admission_limit(a, (struct admission_limits){ 5, 20 });
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 3000, 100), 20);
	admission_free(a);
}

static void
who_only_names_a_delegator_takes_nothing_from_him(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 5, 10 }, &a));
	for (int i = 0; i < 1000; i++)
		assert_true(admission_delegator(a, admission_name(a, ALICE), false, 1000));
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 1000, 100), 10);
	assert_false(admission_delegator(a, admission_name(a, ALICE), false, 1000));
	admission_free(a);
}

static void
strangers_wash_no_delegator_out(void **state)
{
	struct admission *a;
	char who[64];

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 2, 3 }, &a));
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 1000, 3), 3);
	for (int i = 0; i < 100000; i++) {
		snprintf(who, sizeof(who), "address 10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(taken(a, writ_str(who), 1000, 1), 1);
	}
	assert_int_equal(taken_of_delegator(a, admission_name(a, ALICE), 1000, 3), 0);
	admission_free(a);
}

static void
a_clock_that_goes_back_gives_nothing_and_takes_nothing(void **state)
{
	struct admission *a;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 10, 2 * 10 }, &a));
	assert_int_equal(taken(a, ALICE, 5000, 3), 3);
	assert_int_equal(taken(a, ALICE, 1000, 100), 7);
	admission_free(a);
}

static void
strangers_by_the_hundred_thousand_do_not_grow_it(void **state)
{
	struct admission *a;
	char who[64];

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 2, 2 * 2 }, &a));
	for (int i = 0; i < 100000; i++) {
		snprintf(who, sizeof(who), "address 10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(taken(a, writ_str(who), 1000 + i, 1), 1);
	}
	admission_free(a);
}

static void
ten_denials_a_second_are_written_and_the_rest_counted(void **state)
{
	struct admission *a;
	uint64_t skipped;

	(void)state;
	expect_ok(admission_new((struct admission_limits){ 1000, 2 * 1000 }, &a));
	for (int i = 0; i < 10; i++)
		assert_true(admission_note(a, ALICE, 1000, &skipped));
	for (int i = 0; i < 7; i++)
		assert_false(admission_note(a, ALICE, 1000, &skipped));
	assert_true(admission_note(a, BOB, 1000, &skipped));
	assert_int_equal(skipped, 0);
	assert_true(admission_note(a, ALICE, 2000, &skipped));
	assert_int_equal(skipped, 7);
	assert_true(admission_note(a, ALICE, 2000, &skipped));
	assert_int_equal(skipped, 0);
	admission_free(a);
}

/* ---- once ---- */

static const uint8_t body_1[32] = { 1 }, body_2[32] = { 2 };

static enum once_state
take(struct once *r, const char *name, const uint8_t body[32], writ_time now, struct writ_buf *ret_body)
{
	enum once_state what;
	unsigned status;

	expect_ok(once_take(r, writ_str(name), body, now, &what, &status, ret_body));
	if (what == ONCE_ANSWERED)
		assert_int_equal(status, 200);
	return what;
}

static void
a_name_is_reserved_once_until_it_is_released(void **state)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(100);
	struct once *r;

	(void)state;
	expect_ok(once_new(&r));
	assert_int_equal(take(r, "a", body_1, 1000, &body), ONCE_TAKEN);
	assert_int_equal(take(r, "a", body_1, 1000, &body), ONCE_BUSY);
	assert_int_equal(take(r, "a", body_2, 1000, &body), ONCE_OTHER);
	assert_int_equal(take(r, "b", body_1, 1000, &body), ONCE_TAKEN);
	once_release(r, WRIT_LIT("a"));
	assert_int_equal(take(r, "a", body_2, 1000, &body), ONCE_TAKEN);
	once_free(r);
}

static void
an_answer_is_given_again_for_ten_minutes_to_the_same_body(void **state)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(100);
	struct once *r;

	(void)state;
	expect_ok(once_new(&r));
	assert_int_equal(take(r, "a", body_1, 1000, &body), ONCE_TAKEN);
	once_answer(r, WRIT_LIT("a"), 200, WRIT_LIT("{}"), 1000);
	once_release(r, WRIT_LIT("a")); /* of a work that ends: an answer stays */
	assert_int_equal(take(r, "a", body_1, 1599, &body), ONCE_ANSWERED);
	expect_bytes(writ_view(&body), WRIT_LIT("{}"));
	assert_int_equal(take(r, "a", body_2, 1599, &body), ONCE_OTHER);
	assert_int_equal(take(r, "a", body_2, 1600, &body), ONCE_TAKEN);
	once_free(r);
}

static void
the_65537th_name_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(100);
	enum once_state what;
	struct once *r;
	unsigned status;
	char name[16];

	(void)state;
	expect_ok(once_new(&r));
	for (int i = 0; i < ONCE_MAX; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(take(r, name, body_1, 1000, &body), ONCE_TAKEN);
	}
	expect_refused(once_take(r, WRIT_LIT("one more"), body_1, 1000, &what, &status, &body), WRIT_EXHAUSTED,
		       "more than 65536 idempotency keys at once");
	once_release(r, WRIT_LIT("7"));
	assert_int_equal(take(r, "one more", body_1, 1000, &body), ONCE_TAKEN);
	once_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_principal_may_ask_its_share_at_once_and_no_more),
		cmocka_unit_test(others_are_not_touched_by_one_that_floods),
		cmocka_unit_test(the_share_comes_back_with_time_and_does_not_pile_up),
		cmocka_unit_test(who_used_up_his_share_can_still_take_back),
		cmocka_unit_test(all_agents_of_a_delegator_share_one_bucket),
		cmocka_unit_test(who_only_names_a_delegator_takes_nothing_from_him),
		cmocka_unit_test(strangers_wash_no_delegator_out),
		cmocka_unit_test(a_clock_that_goes_back_gives_nothing_and_takes_nothing),
		cmocka_unit_test(strangers_by_the_hundred_thousand_do_not_grow_it),
		cmocka_unit_test(ten_denials_a_second_are_written_and_the_rest_counted),
		cmocka_unit_test(a_name_is_reserved_once_until_it_is_released),
		cmocka_unit_test(an_answer_is_given_again_for_ten_minutes_to_the_same_body),
		cmocka_unit_test(the_65537th_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
