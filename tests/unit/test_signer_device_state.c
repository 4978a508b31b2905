/*
 * How the device is, by what became of what it was asked.  Time is a parameter.
 */
#include "issuer/signer/device_state.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/event.h"
#include "tests/unit/expect.h"

static struct device_state st;
static struct clock now;
static int events; /* where they go */

static int
setup(void **state)
{
	(void)state;
	st = (struct device_state){ 0 };
	now = (struct clock){ .wall = 1000000, .mono_ms = 5000 };
	events = memfd_create("events", MFD_CLOEXEC);
	assert_true(events >= 0);
	event_start(events, "test", EVENT_DEBUG);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	close(events);
	event_start(STDERR_FILENO, "test", EVENT_ALARM);
	return 0;
}

static void
later(int64_t ms)
{
	now.mono_ms += ms;
	now.wall += ms / 1000;
}

static void
is(enum signer_device wanted, const char *why)
{
	assert_string_equal(signer_device_name(st.is), signer_device_name(wanted));
	assert_string_equal(st.why, why);
}

/* How many events of that name there were. */
static unsigned
told(const char *name)
{
	static char text[64 * 1024];
	const ssize_t len = pread(events, text, sizeof(text) - 1, 0);
	unsigned n = 0;

	assert_true(len >= 0);
	text[len] = '\0';
	for (const char *at = text; (at = strstr(at, name)); at++)
		n++;
	return n;
}

static void
lose(enum writ_code code, const char *text)
{
	struct writ_err *err = writ_fail(code, "%s", text);

	device_state_lost(&st, now, err);
	device_state_tell(&st);
	writ_err_free(err);
}

static bool
fails(enum writ_code code, const char *text)
{
	struct writ_err *err = writ_fail(code, "%s", text);
	const bool open = device_state_failed(&st, now, err);

	device_state_tell(&st);
	writ_err_free(err);
	return open;
}

static void
it_is_down_until_it_was_opened(void **state)
{
	(void)state;
	is(SIGNER_DEVICE_DOWN, "");
	later(3000);
	device_state_opened(&st, now, 0, "");
	is(SIGNER_DEVICE_UP, "");
	assert_int_equal(st.since, 1000003);
}

static void
one_failure_degrades_it_and_a_success_ends_that(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	later(2000);
	assert_false(fails(WRIT_UNAVAILABLE, "C_Sign: CKR_DEVICE_ERROR (0x30)"));
	is(SIGNER_DEVICE_DEGRADED, "C_Sign: CKR_DEVICE_ERROR (0x30)");
	assert_int_equal(st.since, 1000002);
	later(1000);
	device_state_worked(&st, now);
	is(SIGNER_DEVICE_UP, "");
	assert_string_equal(st.last_error, "C_Sign: CKR_DEVICE_ERROR (0x30)"); /* for whoever looks later */
	assert_int_equal(st.failed, 1);
}

static void
three_failures_in_a_row_open_the_breaker_and_two_with_a_success_between_do_not(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	assert_false(fails(WRIT_UNAVAILABLE, "one"));
	assert_false(fails(WRIT_UNAVAILABLE, "two"));
	device_state_worked(&st, now);
	assert_false(fails(WRIT_UNAVAILABLE, "one"));
	assert_false(fails(WRIT_UNAVAILABLE, "two"));
	assert_true(fails(WRIT_UNAVAILABLE, "three"));
}

static void
that_it_says_it_is_well_does_not_make_up_for_failed_requests(void **state)
{
	struct writ_err *err = writ_fail(WRIT_UNAVAILABLE, "TPM2_ReadClock");

	(void)state;
	device_state_opened(&st, now, 0, "");
	assert_false(fails(WRIT_UNAVAILABLE, "one"));
	device_state_beat(&st, now);
	is(SIGNER_DEVICE_DEGRADED, "one");
	assert_false(fails(WRIT_UNAVAILABLE, "two"));
	device_state_beat(&st, now);
	assert_true(fails(WRIT_UNAVAILABLE, "three"));
	device_state_opened(&st, now, 0, "");
	assert_false(device_state_missed(&st, now, err));
	assert_false(device_state_missed(&st, now, err));
	is(SIGNER_DEVICE_DEGRADED, "TPM2_ReadClock");
	assert_true(device_state_missed(&st, now, err));
	device_state_beat(&st, now);
	is(SIGNER_DEVICE_UP, "");
	writ_err_free(err);
}

static void
between_tries_it_waits_100_200_400_and_then_always_500_ms(void **state)
{
	static const int64_t waits_ms[] = { 100, 200, 400, 500, 500, 500 };

	(void)state;
	for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
		lose(WRIT_UNAVAILABLE, "no token");
		assert_int_equal(st.next_try_ms - now.mono_ms, waits_ms[i]);
		later(waits_ms[i]);
	}
	device_state_opened(&st, now, 0, "");
	lose(WRIT_UNAVAILABLE, "no token");
	assert_int_equal(st.next_try_ms - now.mono_ms, 100);
}

static void
what_refuses_to_authenticate_is_locked_and_stays_so_until_an_operator_resumes(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	lose(WRIT_LOCKED, "C_Login: CKR_PIN_INCORRECT (0xa0)");
	is(SIGNER_DEVICE_LOCKED, "C_Login: CKR_PIN_INCORRECT (0xa0)");
	later(1000);
	lose(WRIT_UNAVAILABLE, "the connection ended");
	is(SIGNER_DEVICE_LOCKED, "C_Login: CKR_PIN_INCORRECT (0xa0)");
	device_state_heard(&st, now, 1);
	device_state_worked(&st, now);
	is(SIGNER_DEVICE_LOCKED, "C_Login: CKR_PIN_INCORRECT (0xa0)");
	device_state_resume(&st, now);
	is(SIGNER_DEVICE_DOWN, "an operator had it tried again");
	assert_int_equal(st.next_try_ms, now.mono_ms);
	lose(WRIT_LOCKED, "C_Login: CKR_PIN_LOCKED (0xa4)");
	is(SIGNER_DEVICE_LOCKED, "C_Login: CKR_PIN_LOCKED (0xa4)");
}

static void
a_slow_answer_degrades_it_and_a_quick_one_ends_that(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	device_state_heard(&st, now, DEVICE_SLOW_MS - 1);
	is(SIGNER_DEVICE_UP, "");
	device_state_heard(&st, now, DEVICE_SLOW_MS);
	is(SIGNER_DEVICE_DEGRADED, "its answers are slow");
	device_state_heard(&st, now, 3);
	is(SIGNER_DEVICE_UP, "");
	assert_in_range(st.latency_us, 1, DEVICE_SLOW_MS * 1000);
}

static void
silence_degrades_it_first_and_opens_the_breaker_then(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	assert_false(device_state_silent(&st, now, 1000));
	is(SIGNER_DEVICE_UP, "");
	assert_false(device_state_silent(&st, now, DEVICE_SLOW_MS));
	is(SIGNER_DEVICE_DEGRADED, "its answers are slow");
	assert_true(device_state_silent(&st, now, DEVICE_PULSE_LIMIT_MS));
}

static void
what_lifts_its_lock_itself_is_tried_at_once_and_keeps_its_quarantine(void **state)
{
	struct writ_err *err = writ_fail(WRIT_LOCKED, "policy: PCRs 7=00000000 are not approved");

	(void)state;
	device_state_quarantined(&st, now, "a wrong signature");
	device_state_lost(&st, now, err);
	writ_err_free(err);
	assert_int_equal(st.is, SIGNER_DEVICE_LOCKED);
	err = writ_fail(WRIT_LOCKED, "policy: PCRs 7=11111111 are not approved");
	device_state_still_locked(&st, err);
	writ_err_free(err);
	assert_string_equal(st.why, "policy: PCRs 7=11111111 are not approved");
	assert_int_equal(st.is, SIGNER_DEVICE_LOCKED);
	now.mono_ms += 60000;
	device_state_lifted(&st, now);
	assert_int_equal(st.is, SIGNER_DEVICE_DOWN);
	assert_string_equal(st.why, "it lifted its lock: what locked it has changed");
	assert_int_equal(st.next_try_ms, now.mono_ms);
	assert_int_equal(st.quarantined, 1);
}

static void
a_quarantined_key_degrades_it_until_an_operator_resumes(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	device_state_quarantined(&st, now, "a wrong signature");
	is(SIGNER_DEVICE_DEGRADED, "a wrong signature");
	device_state_worked(&st, now); /* another key's */
	is(SIGNER_DEVICE_DEGRADED, "a wrong signature");
	lose(WRIT_UNAVAILABLE, "gone");
	device_state_opened(&st, now, 1, "a wrong signature");
	is(SIGNER_DEVICE_DEGRADED, "a wrong signature");
	device_state_resume(&st, now);
	device_state_opened(&st, now, 0, "");
	is(SIGNER_DEVICE_UP, "");
}

static void
each_change_is_told_once(void **state)
{
	(void)state;
	device_state_opened(&st, now, 0, "");
	device_state_tell(&st);
	for (int i = 0; i < 5; i++) {
		device_state_worked(&st, now);
		device_state_tell(&st);
	}
	assert_int_equal(told("\"device.up\""), 1);
	for (int i = 0; i < 5; i++)
		lose(WRIT_UNAVAILABLE, "no token");
	assert_int_equal(told("\"device.down\""), 1);
	for (int i = 0; i < 5; i++)
		lose(WRIT_LOCKED, "CKR_PIN_INCORRECT");
	assert_int_equal(told("\"device.locked\""), 1);
	assert_int_equal(told("\"alarm\""), 1);
	assert_int_equal(told("\"device.degraded\""), 0);
}

static void
while_it_is_away_an_alarm_comes_at_half_of_the_issuing_certificates_life_and_at_each_half_of_the_rest(void **state)
{
	unsigned alarms = 0;

	(void)state;
	lose(WRIT_UNAVAILABLE, "no token");
	for (int64_t left_s = 14400; left_s > 0; left_s--) {
		device_state_due(&st, left_s, 14400);
		if (left_s == 7201)
			assert_int_equal(told("device.needed"), 0);
		if (left_s == 7200)
			assert_int_equal(told("device.needed"), 1);
		if (left_s == 3600)
			assert_int_equal(told("device.needed"), 2);
	}
	alarms = told("device.needed");
	assert_in_range(alarms, 10, 16);
	device_state_opened(&st, now, 0, "");
	device_state_due(&st, 5, 14400);
	assert_int_equal(told("device.needed"), alarms);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(it_is_down_until_it_was_opened),
		claim(one_failure_degrades_it_and_a_success_ends_that),
		claim(three_failures_in_a_row_open_the_breaker_and_two_with_a_success_between_do_not),
		claim(that_it_says_it_is_well_does_not_make_up_for_failed_requests),
		claim(between_tries_it_waits_100_200_400_and_then_always_500_ms),
		claim(what_refuses_to_authenticate_is_locked_and_stays_so_until_an_operator_resumes),
		claim(a_slow_answer_degrades_it_and_a_quick_one_ends_that),
		claim(silence_degrades_it_first_and_opens_the_breaker_then),
		claim(what_lifts_its_lock_itself_is_tried_at_once_and_keeps_its_quarantine),
		claim(a_quarantined_key_degrades_it_until_an_operator_resumes),
		claim(each_change_is_told_once),
		claim(while_it_is_away_an_alarm_comes_at_half_of_the_issuing_certificates_life_and_at_each_half_of_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
