/*
 * Who is next and who gives way (fair), and who begins, waits, or is told to come back (turns).
 */
#include <stdlib.h>

#include "issuer/serve/fair.h"
#include "issuer/serve/turns.h"
#include "tests/unit/expect.h"

#define ALICE 1
#define BOB 2
#define CAROL 3
#define DORA 4

/* ---- fair ---- */

static void
put(struct fair *f, struct fair_item *item, uint64_t root, uint64_t asker)
{
	*item = (struct fair_item){ 0 };
	fair_put(f, item, root, asker, 1, 0);
}

static void
roots_take_turns_and_below_each_its_askers_do(void **state)
{
	struct fair_item a1[3], a2[2], b[2];
	struct fair *f;

	(void)state;
	expect_ok(fair_new(16, &f));
	for (int i = 0; i < 3; i++)
		put(f, &a1[i], ALICE, 10);
	put(f, &a2[0], ALICE, 11);
	put(f, &b[0], BOB, 20);
	put(f, &a2[1], ALICE, 11);
	put(f, &b[1], BOB, 20);
	assert_ptr_equal(fair_take(f), &a1[0]);
	assert_ptr_equal(fair_take(f), &b[0]);
	assert_ptr_equal(fair_take(f), &a2[0]);
	assert_ptr_equal(fair_take(f), &b[1]);
	assert_ptr_equal(fair_take(f), &a1[1]);
	assert_ptr_equal(fair_take(f), &a2[1]);
	assert_ptr_equal(fair_take(f), &a1[2]);
	assert_null(fair_take(f));
	assert_int_equal(fair_count(f), 0);
	assert_int_equal(fair_roots(f), 0);
	fair_free(f);
}

static void
who_comes_new_waits_for_one_of_each_never_for_their_rest(void **state)
{
	struct fair_item flood[1000], late;
	struct fair *f;
	unsigned passed = 0;

	(void)state;
	expect_ok(fair_new(2048, &f));
	for (unsigned i = 0; i < 1000; i++)
		put(f, &flood[i], ALICE, i); /* a thousand agents of one delegator are one party */
	(void)fair_take(f);
	assert_int_equal(fair_ahead(f, BOB, 1), 1);
	assert_int_equal(fair_ahead(f, ALICE, 1), 999);
	put(f, &late, BOB, 1);
	while (fair_take(f) != &late)
		passed++;
	assert_int_equal(passed, 1);
	fair_free(f);
}

static void
of_a_full_queue_the_newest_of_whoever_holds_most_gives_way(void **state)
{
	struct fair_item a1[4], a2[2], b[2];
	struct fair *f;

	(void)state;
	expect_ok(fair_new(8, &f));
	for (int i = 0; i < 4; i++)
		put(f, &a1[i], ALICE, 10);
	for (int i = 0; i < 2; i++)
		put(f, &a2[i], ALICE, 11);
	for (int i = 0; i < 2; i++)
		put(f, &b[i], BOB, 20);
	assert_false(fair_has_room(f, 1));
	assert_null(fair_give_way(f, ALICE, 10, 1)); /* the newcomer itself, who is one of theirs */
	assert_ptr_equal(fair_give_way(f, ALICE, 12, 1), &a1[3]);
	assert_true(fair_has_room(f, 1));
	put(f, &a1[3], ALICE, 12);
	assert_ptr_equal(fair_give_way(f, BOB, 20, 1), &a1[2]);
	assert_ptr_equal(fair_give_way(f, CAROL, 30, 1), &a1[1]);
	fair_free(f);
}

static void
equals_do_not_drive_each_other_out(void **state)
{
	struct fair_item items[4];
	struct fair *f;

	(void)state;
	expect_ok(fair_new(4, &f));
	for (unsigned i = 0; i < 4; i++)
		put(f, &items[i], i, 1);
	assert_null(fair_give_way(f, 9, 1, 1));
	assert_null(fair_give_way(f, 0, 1, 1));
	assert_int_equal(fair_count(f), 4);
	fair_free(f);
}

static void
long_bodies_weigh_as_much_as_they_hold(void **state)
{
	struct fair_item big, small[8];
	struct fair *f;

	(void)state;
	assert_int_equal(fair_weight(0), 1);
	assert_int_equal(fair_weight(4095), 1);
	assert_int_equal(fair_weight(65536), 17);
	expect_ok(fair_new(24, &f));
	big = (struct fair_item){ 0 };
	fair_put(f, &big, ALICE, 1, fair_weight(65536), 0);
	for (int i = 0; i < 7; i++)
		put(f, &small[i], BOB, 1);
	assert_int_equal(fair_bytes(f), 24 * 4096);
	assert_ptr_equal(fair_give_way(f, BOB, 1, 1), &big);
	fair_free(f);
}

/* The queue against a simple one that counts: nothing is lost, nothing comes twice, weights stay right. */
static void
after_a_hundred_thousand_steps_everything_is_where_it_was_put(void **state)
{
	enum { MAX = 64, ITEMS = 80 };
	static struct fair_item items[ITEMS];
	static bool in[ITEMS];
	struct fair *f;
	unsigned n = 0, seed = 1;

	(void)state;
	expect_ok(fair_new(MAX, &f));
	for (unsigned step = 0; step < 100000; step++) {
		struct fair_item *out = NULL;
		unsigned i;

		seed = seed * 1103515245 + 12345;
		i = seed >> 16 & 0x7fff;
		if (i % 3 == 0) {
			out = fair_take(f);
			assert_true((out != NULL) == (n > 0));
		} else if (i % 7 == 0 && in[i % ITEMS]) {
			out = &items[i % ITEMS];
			fair_remove(f, out);
		} else if (!in[i % ITEMS]) {
			if (!fair_has_room(f, 1))
				out = fair_give_way(f, i % 5, i % 11, 1);
			if (out) {
				in[out - items] = false;
				n--;
				out = NULL;
			}
			if (fair_has_room(f, 1)) {
				fair_put(f, &items[i % ITEMS], i % 5, i % 11, 1, step);
				in[i % ITEMS] = true;
				n++;
			}
		}
		if (out) {
			assert_true(in[out - items]);
			in[out - items] = false;
			n--;
		}
		assert_int_equal(fair_count(f), n);
		assert_int_equal(fair_bytes(f), n * 4096);
		assert_true((fair_oldest(f) != NULL) == (n > 0));
	}
	fair_free(f);
}

/* ---- turns ---- */

enum what { NOTHING, BEGAN, FULL, TOO_LATE, WAITED, LEFT };

struct asked {
	struct turn turn;
	enum what what;
	int64_t ms;
	unsigned retry_after_s;
	bool gone;
};

static struct asked asked[4096];
static struct turn *under_way[4096]; /* in the order they began */
static unsigned began, ended;
static bool room_below;

static struct asked *
asked_of(struct turn *turn)
{
	return (struct asked *)turn;
}

static bool
room(void *ctx)
{
	(void)ctx;
	return room_below;
}

static bool
gone(struct turn *turn, void *ctx)
{
	(void)ctx;
	return asked_of(turn)->gone;
}

static void
begin(struct turn *turn, void *ctx)
{
	(void)ctx;
	assert_int_equal(asked_of(turn)->what, NOTHING);
	asked_of(turn)->what = BEGAN;
	under_way[began++] = turn;
}

static void
refuse(struct turn *turn, enum turn_refusal why, int64_t ms, uint32_t retry_after_s, void *ctx)
{
	static const enum what as[] = {
		[TURN_FULL] = FULL, [TURN_TOO_LATE] = TOO_LATE, [TURN_WAITED] = WAITED, [TURN_GONE] = LEFT
	};

	(void)ctx;
	assert_int_equal(asked_of(turn)->what, NOTHING);
	asked_of(turn)->what = as[why];
	asked_of(turn)->ms = ms;
	asked_of(turn)->retry_after_s = retry_after_s;
}

static struct turns *
turns_made(uint32_t at_once, bool steady, uint32_t waiting, uint32_t wait_ms)
{
	const struct turns_conf conf = { .at_once = at_once,
					 .crowded = 4,
					 .steady = steady,
					 .waiting_max = waiting,
					 .wait_max_ms = wait_ms,
					 .room = room,
					 .gone = gone,
					 .begin = begin,
					 .refuse = refuse };
	struct turns *t;

	memset(asked, 0, sizeof(asked));
	room_below = true;
	began = ended = 0;
	expect_ok(turns_new(&conf, &t));
	return t;
}

static struct turns *
turns_of(uint32_t at_once, uint32_t waiting, uint32_t wait_ms)
{
	return turns_made(at_once, false, waiting, wait_ms);
}

static void
enter(struct turns *t, unsigned i, uint64_t root, int64_t now_ms)
{
	turns_enter(t, &asked[i].turn, root, i, 100, now_ms);
}

static unsigned
are(enum what what, unsigned from, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = from; i < from + n; i++)
		count += asked[i].what == what;
	return count;
}

static void
so_many_begin_at_once_and_the_rest_when_one_has_ended(void **state)
{
	struct turns *t = turns_of(2, 100, 2000);

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		enter(t, i, ALICE, 1000);
	assert_int_equal(are(BEGAN, 0, 4), 2);
	turns_pump(t, 1000);
	assert_int_equal(are(BEGAN, 0, 4), 2);
	turns_left(t, &asked[0].turn);
	turns_pump(t, 1001);
	assert_int_equal(are(BEGAN, 0, 4), 3);
	assert_int_equal(asked[3].what, NOTHING);
	turns_left(t, &asked[1].turn);
	turns_left(t, &asked[1].turn); /* twice is once */
	turns_pump(t, 1002);
	assert_int_equal(are(BEGAN, 0, 4), 4);
	turns_free(t);
}

static void
nobody_begins_while_there_is_no_room_below(void **state)
{
	struct turns *t = turns_of(8, 100, 2000);

	(void)state;
	room_below = false;
	enter(t, 0, ALICE, 1000);
	turns_pump(t, 1100);
	assert_int_equal(asked[0].what, NOTHING);
	room_below = true;
	turns_pump(t, 1200);
	assert_int_equal(asked[0].what, BEGAN);
	turns_free(t);
}

static void
who_has_waited_too_long_is_told_so_the_oldest_first(void **state)
{
	struct turns *t = turns_of(1, 100, 2000);

	(void)state;
	enter(t, 0, ALICE, 1000);
	enter(t, 1, ALICE, 1000);
	enter(t, 2, BOB, 1500);
	turns_pump(t, 3000);
	assert_int_equal(are(WAITED, 1, 2), 0);
	turns_pump(t, 3001);
	assert_int_equal(asked[1].what, WAITED);
	assert_int_equal(asked[1].ms, 2001);
	assert_true(asked[1].retry_after_s >= 1 && asked[1].retry_after_s <= TURNS_RETRY_MAX_S);
	assert_int_equal(asked[2].what, NOTHING);
	turns_free(t);
}

static void
for_who_has_gone_nothing_is_begun(void **state)
{
	struct turns *t = turns_of(1, 100, 2000);
	struct turns_counts c = { 0 };

	(void)state;
	enter(t, 0, ALICE, 1000);
	enter(t, 1, ALICE, 1000);
	enter(t, 2, ALICE, 1000);
	asked[1].gone = true;
	turns_left(t, &asked[0].turn);
	turns_pump(t, 1100);
	assert_int_equal(asked[1].what, LEFT);
	assert_int_equal(asked[2].what, BEGAN);
	turns_told(t, 1100, &c);
	assert_int_equal(c.refused[TURN_GONE], 1);
	turns_free(t);
}

static void
a_flood_drives_out_its_own_and_nobody_elses(void **state)
{
	struct turns *t = turns_of(1, 50, 2000);

	(void)state;
	enter(t, 0, ALICE, 1000);
	enter(t, 1, BOB, 1000);
	for (unsigned i = 2; i < 1000; i++)
		enter(t, i, ALICE, 1000);
	assert_int_equal(asked[1].what, NOTHING);
	enter(t, 1000, BOB, 1001);
	enter(t, 1001, CAROL, 1001);
	assert_int_equal(asked[1000].what, NOTHING);
	assert_int_equal(asked[1001].what, NOTHING);
	assert_int_equal(are(FULL, 2, 998), 998 - 47);
	turns_left(t, &asked[0].turn);
	turns_pump(t, 1002); /* BOB came before the flood's second */
	assert_int_equal(asked[1].what, BEGAN);
	turns_free(t);
}

/* Every 50 ms from `from_ms` to `to_ms` 20 of ALICE's come, and `n` of those under way end. */
static unsigned
serve(struct turns *t, unsigned next, int64_t from_ms, int64_t to_ms, unsigned n)
{
	for (int64_t now_ms = from_ms; now_ms < to_ms; now_ms += 50) {
		for (unsigned i = 0; i < 20; i++)
			enter(t, next++, ALICE, now_ms);
		for (unsigned i = 0; i < n && ended < began; i++)
			turns_left(t, under_way[ended++]);
		turns_pump(t, now_ms);
	}
	return next;
}

static void
by_the_rate_measured_who_could_not_be_served_in_time_is_told_at_once(void **state)
{
	struct turns *t = turns_of(8, 2000, 2000);
	struct turns_counts c = { 0 };
	unsigned next;

	(void)state;
	next = serve(t, 0, 1000, 5000, 2); /* 40 a second, and 400 a second come */
	turns_told(t, 5000, &c);
	assert_in_range(c.drain_milli, 25000, 45000);
	assert_true(c.refused[TURN_TOO_LATE] > 500);
	assert_in_range(c.waiting, 20,
			80); /* what 1 s is good for, half of what may be waited, and not all there is room for */
	assert_int_equal(c.under_way, 4); /* as few as that while some are sent away */
	for (unsigned i = 0; i < 20; i++)
		enter(t, next++, ALICE, 5000);
	enter(t, next, ALICE, 5000);
	assert_int_equal(asked[next].what, TOO_LATE);
	assert_in_range(asked[next].ms, 1001, 5000);
	enter(t, next + 1, BOB, 5000);
	assert_int_equal(asked[next + 1].what, NOTHING); /* another delegator's turn comes soon */
	turns_free(t);
}

/* The others of this loop may be the last that a device comes to. */
static void
over_a_slow_device_an_eighth_is_kept_for_whoever_has_none_under_way(void **state)
{
	struct turns *t = turns_made(16, true, 100, 2000);

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		enter(t, i, ALICE, 1000);
	turns_pump(t, 1000);
	assert_int_equal(are(BEGAN, 0, 20), 14);
	enter(t, 20, BOB, 1000); /* and passes those of alice's that wait */
	assert_int_equal(asked[20].what, BEGAN);
	enter(t, 21, BOB, 1000);
	assert_int_equal(asked[21].what, NOTHING);
	enter(t, 22, CAROL, 1000);
	assert_int_equal(asked[22].what, BEGAN);
	enter(t, 23, DORA, 1000);
	assert_int_equal(asked[23].what, NOTHING); /* what was kept is given */

	turns_left(t, &asked[20].turn);
	turns_left(t, &asked[22].turn);
	turns_left(t, &asked[0].turn);
	turns_pump(t, 1001); /* an eighth is kept again, and who waits takes turns for the rest */
	assert_int_equal(are(BEGAN, 0, 24), 14 + 2 + 1);
	assert_int_equal(are(BEGAN, 1, 13), 13);
	room_below = false;
	enter(t, 24, CAROL, 1001);
	assert_int_equal(asked[24].what, NOTHING);
	room_below = true;
	enter(t, 25, CAROL, 1001);
	assert_int_equal(asked[25].what, BEGAN);
	while (ended < began)
		turns_left(t, under_way[ended++]);
	turns_free(t);
}

static void
over_a_slow_device_it_is_never_fewer(void **state)
{
	struct turns *t = turns_made(16, true, 2000, 2000);
	struct turns_counts c = { 0 };

	(void)state;
	serve(t, 0, 1000, 5000, 2);
	turns_told(t, 5000, &c);
	assert_true(c.refused[TURN_TOO_LATE] > 500);
	assert_int_equal(c.under_way, 14);
	turns_free(t);
}

static void
retry_after_grows_with_what_was_sent_away_and_is_never_the_same_for_all(void **state)
{
	struct turns *t = turns_of(8, 2000, 2000);
	unsigned next, most = 0, of_value[TURNS_RETRY_MAX_S + 1] = { 0 }, values = 0;

	(void)state;
	next = serve(t, 0, 1000, 7000, 2);
	for (unsigned i = 0; i < next; i++) {
		if (asked[i].what != TOO_LATE)
			continue;
		assert_in_range(asked[i].retry_after_s, 1, TURNS_RETRY_MAX_S);
		most = asked[i].retry_after_s > most ? asked[i].retry_after_s : most;
		values += of_value[asked[i].retry_after_s]++ == 0;
	}
	assert_true(most > 10); /* 360 a second sent away, 40 a second served */
	assert_true(values > 10);
	turns_free(t);
}

static void
after_a_standstill_it_goes_on_by_itself(void **state)
{
	struct turns *t = turns_of(8, 2000, 500);
	unsigned next = serve(t, 0, 1000, 4000, 0); /* nothing ends for three seconds */

	(void)state;
	assert_true(are(TOO_LATE, 0, next) > 100);
	assert_true(are(WAITED, 0, next) > 0);
	while (ended < began)
		turns_left(t, under_way[ended++]);
	enter(t, next, BOB, 4000);
	turns_pump(t, 4000);
	assert_int_equal(asked[next].what, BEGAN);
	turns_free(t);
}

static void
at_the_end_everybody_who_waits_is_told(void **state)
{
	struct turns *t = turns_of(1, 100, 2000);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		enter(t, i, ALICE, 1000);
	turns_stop(t);
	assert_int_equal(are(LEFT, 0, 5), 4);
	turns_free(t);
}

static void
the_metrics_tell_depth_bytes_age_and_each_reason(void **state)
{
	struct turns *t = turns_of(1, 2, 2000);
	struct turns_counts c = { 0 };

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		enter(t, i, ALICE, 1000);
	turns_pump(t, 1100);
	turns_told(t, 1700, &c);
	assert_int_equal(c.waiting, 2);
	assert_int_equal(c.bytes, 2 * 4096);
	assert_int_equal(c.under_way, 1);
	assert_int_equal(c.delegators, 1);
	assert_int_equal(c.oldest_ms, 700);
	assert_int_equal(c.refused[TURN_FULL], 2);
	turns_left(t, &asked[0].turn);
	turns_pump(t, 1702);
	memset(&c, 0, sizeof(c));
	turns_told(t, 1702, &c);
	assert_int_equal(c.waited[0], 1); /* who began at once */
	assert_int_equal(c.waited[7], 1); /* 702 ms */
	assert_int_equal(c.waited_ms, 702);
	turns_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roots_take_turns_and_below_each_its_askers_do),
		cmocka_unit_test(who_comes_new_waits_for_one_of_each_never_for_their_rest),
		cmocka_unit_test(of_a_full_queue_the_newest_of_whoever_holds_most_gives_way),
		cmocka_unit_test(equals_do_not_drive_each_other_out),
		cmocka_unit_test(long_bodies_weigh_as_much_as_they_hold),
		cmocka_unit_test(after_a_hundred_thousand_steps_everything_is_where_it_was_put),
		cmocka_unit_test(so_many_begin_at_once_and_the_rest_when_one_has_ended),
		cmocka_unit_test(nobody_begins_while_there_is_no_room_below),
		cmocka_unit_test(who_has_waited_too_long_is_told_so_the_oldest_first),
		cmocka_unit_test(for_who_has_gone_nothing_is_begun),
		cmocka_unit_test(a_flood_drives_out_its_own_and_nobody_elses),
		cmocka_unit_test(by_the_rate_measured_who_could_not_be_served_in_time_is_told_at_once),
		cmocka_unit_test(over_a_slow_device_an_eighth_is_kept_for_whoever_has_none_under_way),
		cmocka_unit_test(over_a_slow_device_it_is_never_fewer),
		cmocka_unit_test(retry_after_grows_with_what_was_sent_away_and_is_never_the_same_for_all),
		cmocka_unit_test(after_a_standstill_it_goes_on_by_itself),
		cmocka_unit_test(at_the_end_everybody_who_waits_is_told),
		cmocka_unit_test(the_metrics_tell_depth_bytes_age_and_each_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
