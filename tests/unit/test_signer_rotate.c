/*
 * When generations are made, switched to and destroyed: rotate.c alone, with time as a parameter.  What it calls stands
 * here and only remembers; that the rest does what it says is the contract's and the whole system's to show.
 */
#include <stdlib.h>

#include "issuer/signer/admin.h"
#include "tests/unit/expect.h"

#define ROTATION_S 14400
#define LEAD_S (ROTATION_S / 4)
#define BEGIN INT64_C(1795467097)

static struct conf conf;
static struct signer s;
static bool device, device_refuses, journal_full;
static unsigned n_made, n_switched, n_admin;
static uint64_t destroyed;	/* up to this number */
static writ_time live_until[8]; /* by number: the last leaf's notAfter */

/* ---- what rotate.c stands on ---- */

bool
device_ready(struct signer *signer)
{
	(void)signer;
	return device;
}

void
resident_drain(struct signer *signer)
{
	(void)signer;
}

void
journal_sync(struct journal *journal)
{
	(void)journal;
}

void
gate_learn(struct signer *signer)
{
	(void)signer;
}

struct writ_err *
generation_handle(struct signer *signer, struct generation *g, uint32_t *ret)
{
	(void)signer;
	(void)g;
	*ret = 1;
	return NULL;
}

struct writ_err *
entry_generation(struct signer *signer, enum generation_event what, uint64_t number, const uint8_t key_id[20])
{
	(void)number;
	(void)key_id;
	if (journal_full)
		return writ_fail(WRIT_EXHAUSTED, "the disk is full");
	n_switched += what == GENERATION_SWITCHED;
	(void)signer;
	return NULL;
}

struct writ_err *
entry_admin(struct signer *signer, const char *did, uid_t by, struct writ_bytes detail)
{
	(void)signer;
	(void)by;
	(void)detail;
	assert_string_equal(did, "key-rotate");
	n_admin++;
	return NULL;
}

writ_time
ledger_last(const struct ledger *ledger, const uint8_t key[8])
{
	(void)ledger;
	return live_until[key[0]];
}

struct generation *
keys_find8(const struct signer *signer, const uint8_t key[8])
{
	for (size_t i = 0; i < signer->keys.n; i++)
		if (memcmp(signer->keys.gen[i]->cert.key_id, key, 8) == 0)
			return signer->keys.gen[i];
	return NULL;
}

static struct generation *
add(uint64_t number, writ_time signs_until)
{
	struct generation *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->number = number;
	g->cert.key_id[0] = (uint8_t)number;
	g->signs_until = signs_until;
	g->cert.not_after = signs_until + GENERATION_AFTER_S;
	g->retired_ms = s.now.mono_ms;
	memmove(s.keys.gen + 1, s.keys.gen, s.keys.n * sizeof(s.keys.gen[0]));
	s.keys.gen[0] = g;
	s.keys.n++;
	return g;
}

struct writ_err *
generation_make(struct signer *signer, writ_time begin, struct generation **ret)
{
	assert_ptr_equal(signer, &s);
	n_made++;
	if (device_refuses)
		return writ_fail(WRIT_UNAVAILABLE, "the device is busy");
	*ret = add(s.keys.n > 0 ? s.keys.gen[0]->number + 1 : 1, begin + ROTATION_S);
	if ((*ret)->cert.not_after > s.keys.anchor.not_after)
		(*ret)->cert.not_after = s.keys.anchor.not_after;
	return NULL;
}

struct writ_err *
generations_destroy(struct signer *signer, size_t n)
{
	assert_ptr_equal(signer, &s);
	assert_true(device);
	if (journal_full)
		return writ_fail(WRIT_EXHAUSTED, "the disk is full");
	for (; n > 0; n--) {
		struct generation *g = s.keys.gen[--s.keys.n];

		assert_true(g->number == destroyed + 1);
		destroyed = g->number;
		free(g);
	}
	return NULL;
}

/* ---- a signer that has just made its first generation ---- */

static int
set_up(void **state)
{
	(void)state;
	conf.custody.rotation_s = ROTATION_S;
	s = (struct signer){ .conf = &conf, .clock_ok = true, .now = { .wall = BEGIN, .mono_ms = 1000 } };
	s.keys.anchor.not_after = BEGIN + 10LL * 365 * 86400;
	s.keys.sealed = true;
	device = true;
	device_refuses = journal_full = false;
	n_made = n_switched = n_admin = 0;
	destroyed = 0;
	memset(live_until, 0, sizeof(live_until));
	assert_null(rotation_start(&s));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	while (s.keys.n > 0)
		free(s.keys.gen[--s.keys.n]);
	return 0;
}

/* Lives through so many seconds, as the loop does. */
static void
live(writ_time seconds)
{
	for (; seconds > 0; seconds--) {
		s.now.wall++;
		s.now.mono_ms += 1000;
		rotation_housekeep(&s);
	}
}

static void
live_to(writ_time after_begin)
{
	live(BEGIN + after_begin - s.now.wall);
}

/* ---- claims ---- */

static void
the_first_generation_issues_at_once_for_the_whole_time(void **state)
{
	(void)state;
	assert_int_equal(n_made, 1);
	assert_int_equal(n_switched, 1);
	assert_int_equal(s.keys.current->number, 1);
	assert_int_equal(s.keys.current->signs_until, BEGIN + ROTATION_S);
}

static void
the_next_one_is_made_ready_a_quarter_ahead_and_takes_over_at_the_end(void **state)
{
	(void)state;
	live_to(ROTATION_S - LEAD_S - 1);
	assert_int_equal(n_made, 1);
	live(1);
	assert_int_equal(n_made, 2);
	assert_int_equal(s.keys.current->number, 1);
	assert_int_equal(s.keys.gen[0]->signs_until, BEGIN + 2 * ROTATION_S);
	device = false; /* taking over asks nothing of it */
	live_to(ROTATION_S - 1);
	assert_int_equal(s.keys.current->number, 1);
	live(1);
	assert_int_equal(s.keys.current->number, 2);
	assert_int_equal(n_made, 2);
	assert_int_equal(n_switched, 2);
}

static void
one_that_was_replaced_signs_for_its_overlap_and_one_that_never_issued_signs_nothing(void **state)
{
	const struct generation *first = s.keys.current;

	(void)state;
	live_to(ROTATION_S);
	assert_int_equal(first->accepted_until, BEGIN + ROTATION_S + GENERATION_OVERLAP_S);
	live_to(2 * ROTATION_S - 10); /* the third is ready, and a command makes a fourth */
	{
		AUTO(writ_buf_done) struct writ_buf json = WRIT_BUF(4096);
		struct canon_out out = canon_write(&json);

		canon_object(&out, NULL);
		expect_ok(rotation_asked(&s, &(struct admin_asked){ .by = 0 }, &out));
	}
	assert_int_equal(s.keys.current->number, 4);
	assert_int_equal(n_admin, 1);
	assert_int_equal(s.keys.gen[1]->number, 3);
	assert_int_equal(s.keys.gen[1]->accepted_until, 0);
	assert_int_equal(s.keys.gen[2]->accepted_until, s.now.wall + GENERATION_OVERLAP_S);
}

static void
without_its_device_it_goes_on_to_the_end_and_no_further(void **state)
{
	(void)state;
	device = false;
	live_to(ROTATION_S + 100);
	assert_int_equal(s.keys.current->number, 1);
	assert_int_equal(n_made, 1);
	assert_int_equal(rotation_ends(&s), BEGIN + ROTATION_S);
	assert_true(s.keys.current->signs_until < s.now.wall); /* issue_blocked() refuses */
	device = true;
	live(1);
	assert_int_equal(s.keys.current->number, 2);
	assert_int_equal(s.keys.current->signs_until, s.now.wall + ROTATION_S);
}

static void
alarms_begin_half_of_the_lead_before_the_end(void **state)
{
	(void)state;
	device = false;
	live_to(ROTATION_S - LEAD_S / 2 - 1);
	assert_int_equal(s.keys.next_late_ms, 0);
	live(1);
	assert_int_equal(s.keys.next_late_ms, s.now.mono_ms + 300 * 1000);
	device = true;
	live(1);
	assert_int_equal(s.keys.gen[0]->number, 2); /* and the device that is back ends them */
}

/* Each try costs the journal an entry. */
static void
a_device_that_refuses_is_not_asked_every_second(void **state)
{
	(void)state;
	device_refuses = true;
	live_to(ROTATION_S - LEAD_S + 59);
	assert_int_equal(n_made, 3); /* the first, and two in a minute */
}

static void
a_retired_one_is_destroyed_20_minutes_after_it_was_replaced(void **state)
{
	(void)state;
	live_to(ROTATION_S + GENERATION_AFTER_S - 1);
	assert_int_equal(destroyed, 0);
	live(1);
	assert_int_equal(destroyed, 1);
	assert_int_equal(s.keys.n, 1);
}

static void
a_clock_that_is_set_forward_destroys_nothing(void **state)
{
	(void)state;
	live_to(ROTATION_S);
	assert_int_equal(s.keys.n, 2);
	s.now.wall += 10 * GENERATION_AFTER_S; /* the wall alone: no such time was lived through */
	for (unsigned i = 0; i < 5; i++)
		rotation_housekeep(&s);
	assert_int_equal(destroyed, 0);
}

static void
nothing_with_a_live_leaf_is_destroyed(void **state)
{
	(void)state;
	live_until[1] = BEGIN + ROTATION_S + GENERATION_AFTER_S + 30; /* by the clock; it should not be */
	live_to(ROTATION_S + GENERATION_AFTER_S + 30);
	assert_int_equal(destroyed, 0);
	live(1);
	assert_int_equal(destroyed, 1);
}

static void
destruction_waits_for_the_device_and_for_the_journal(void **state)
{
	(void)state;
	live_to(ROTATION_S);
	device = false;
	live(GENERATION_AFTER_S + 60);
	assert_int_equal(destroyed, 0);
	device = true;
	journal_full = true;
	live(1);
	assert_int_equal(destroyed, 0);
	journal_full = false;
	live(30);
	assert_int_equal(destroyed, 1);
}

static void
the_oldest_go_first_and_what_a_younger_one_waits_for_holds_up_none(void **state)
{
	(void)state;
	live_to(3 * ROTATION_S);
	assert_int_equal(destroyed, 2); /* the second ended long ago, the third a moment ago */
	assert_int_equal(s.keys.n, 2);
	assert_int_equal(s.keys.current->number, 4);
}

static void
a_start_goes_on_with_the_one_that_issued_and_destroys_nothing_at_once(void **state)
{
	(void)state;
	live_to(ROTATION_S - LEAD_S); /* two are there, the second ready */
	s.keys.current = NULL;
	s.keys.began = 0;
	s.keys.switched[0] = 1;
	s.keys.switched_at = BEGIN;
	for (size_t i = 0; i < s.keys.n; i++)
		s.keys.gen[i]->retired_ms = s.now.mono_ms; /* as generations_load() */
	assert_null(rotation_start(&s));
	assert_int_equal(s.keys.current->number, 1);
	assert_int_equal(n_switched, 1);
	live_to(ROTATION_S);
	assert_int_equal(s.keys.current->number, 2);
	live(GENERATION_AFTER_S - 1);
	assert_int_equal(destroyed, 0);
}

static void
after_a_long_rest_the_one_that_is_ready_takes_over_and_the_next_is_made(void **state)
{
	(void)state;
	live_to(ROTATION_S - LEAD_S);
	s.now.wall += 2 * ROTATION_S; /* both have ended */
	s.keys.current = NULL;
	s.keys.switched[0] = 1;
	s.keys.switched_at = BEGIN;
	assert_null(rotation_start(&s));
	live(2);
	assert_int_equal(s.keys.current->number, 3);
	assert_true(s.keys.current->signs_until > s.now.wall + ROTATION_S - 5);
}

static void
a_generation_that_ends_with_the_anchor_has_no_successor(void **state)
{
	AUTO(writ_buf_done) struct writ_buf json = WRIT_BUF(4096);
	struct canon_out out = canon_write(&json);

	(void)state;
	s.keys.anchor.not_after = s.keys.current->cert.not_after;
	live_to(ROTATION_S + 5);
	assert_int_equal(n_made, 1);
	canon_object(&out, NULL);
	expect_refused(rotation_asked(&s, &(struct admin_asked){ .by = 0 }, &out), WRIT_CONFLICT,
		       "the current generation ends with the anchor: a new one would not live longer");
}

static void
commands_leave_room_for_rotations_that_come_by_themselves(void **state)
{
	AUTO(writ_buf_done) struct writ_buf json = WRIT_BUF(64 * 1024);
	struct canon_out out = canon_write(&json);

	(void)state;
	while (s.keys.n < GENERATIONS_FORCED_MAX - 1)
		add(s.keys.gen[0]->number + 1, s.now.wall);
	s.keys.current = s.keys.gen[0];
	canon_object(&out, NULL);
	expect_ok(rotation_asked(&s, &(struct admin_asked){ .by = 0 }, &out));
	expect_refused(
		rotation_asked(&s, &(struct admin_asked){ .by = 0 }, &out), WRIT_EXHAUSTED,
		"240 generations are live, of 240 that may be by this command: the oldest go 1200 s after they were "
		"replaced");
	s.keys.began = s.now.wall - ROTATION_S + 1;
	live(1);
	assert_int_equal(s.keys.n, GENERATIONS_FORCED_MAX + 1);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(the_first_generation_issues_at_once_for_the_whole_time),
		CLAIM(the_next_one_is_made_ready_a_quarter_ahead_and_takes_over_at_the_end),
		CLAIM(one_that_was_replaced_signs_for_its_overlap_and_one_that_never_issued_signs_nothing),
		CLAIM(without_its_device_it_goes_on_to_the_end_and_no_further),
		CLAIM(alarms_begin_half_of_the_lead_before_the_end),
		CLAIM(a_device_that_refuses_is_not_asked_every_second),
		CLAIM(a_retired_one_is_destroyed_20_minutes_after_it_was_replaced),
		CLAIM(a_clock_that_is_set_forward_destroys_nothing),
		CLAIM(nothing_with_a_live_leaf_is_destroyed),
		CLAIM(destruction_waits_for_the_device_and_for_the_journal),
		CLAIM(the_oldest_go_first_and_what_a_younger_one_waits_for_holds_up_none),
		CLAIM(a_start_goes_on_with_the_one_that_issued_and_destroys_nothing_at_once),
		CLAIM(after_a_long_rest_the_one_that_is_ready_takes_over_and_the_next_is_made),
		CLAIM(a_generation_that_ends_with_the_anchor_has_no_successor),
		CLAIM(commands_leave_room_for_rotations_that_come_by_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
