/*
 * writ load: latencies are told within a sixteenth, and serials are found, ended and forgotten.
 */
#include "issuer/cli/load.h"
#include "tests/unit/expect.h"

static void
a_quantile_is_at_most_a_sixteenth_above_what_was_measured(void **state)
{
	static const int64_t values[] = { 0, 1, 15, 16, 17, 100, 1023, 1024, 65535, 1000000, 3600000000 };

	(void)state;
	for (size_t i = 0; i < N_OF(values); i++) {
		struct load_latency l = { 0 };

		load_latency_add(&l, values[i]);
		load_latency_add(&l, 4000000000); /* so that the maximum does not hide the bucket */
		assert_true(load_latency_ms(&l, 0.5) >= (double)values[i] / 1000);
		assert_true(load_latency_ms(&l, 0.5) <= (double)values[i] / 1000 * 17 / 16 + 0.001);
	}
}

static void
quantiles_are_in_order_and_end_with_the_maximum(void **state)
{
	struct load_latency l = { 0 };

	(void)state;
	assert_true(load_latency_ms(&l, 0.99) == 0);
	for (int64_t us = 1; us <= 10000; us++)
		load_latency_add(&l, us);
	load_latency_add(&l, -5); /* a clock that went back counts as nothing */
	assert_int_equal(l.n, 10001);
	assert_true(load_latency_ms(&l, 0.5) >= 5 && load_latency_ms(&l, 0.5) <= 5.4);
	assert_true(load_latency_ms(&l, 0.99) >= 9.9 && load_latency_ms(&l, 0.99) <= 10);
	assert_true(load_latency_ms(&l, 1) == 10);
}

static void
serial_of(unsigned n, uint8_t out[16])
{
	memset(out, 0, 16);
	writ_put32(out + 12, n * 4096); /* all in the same few slots */
}

static void
serials_are_found_however_many_and_forgotten_after_their_end(void **state)
{
	struct load_watch w = { 0 };
	uint8_t serial[16];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		serial_of(i, serial);
		expect_ok(load_watch_issued(&w, serial, 0, 1000 + i));
	}
	for (unsigned i = 0; i < 20000; i += 2) {
		serial_of(i, serial);
		load_watch_ending(&w, serial);
		assert_int_equal(load_watch_find(&w, serial)->state, LOAD_ENDING);
		load_watch_ended(&w, serial, 7);
	}
	load_watch_prune(&w, 1000 + 10000 + 5);
	assert_int_equal(w.n_serials, 10000);
	for (unsigned i = 0; i < 20000; i++) {
		const struct load_serial *s;

		serial_of(i, serial);
		s = load_watch_find(&w, serial);
		assert_true(!s == (i < 10000));
		if (s)
			assert_int_equal(s->state, i % 2 == 0 ? LOAD_ENDED : LOAD_LIVE);
	}
	load_watch_done(&w);
}

static void
a_serial_that_is_issued_twice_is_an_error(void **state)
{
	struct load_watch w = { 0 };
	uint8_t serial[16];

	(void)state;
	serial_of(1, serial);
	expect_ok(load_watch_issued(&w, serial, 0, 1));
	expect_refused(load_watch_issued(&w, serial, 0, 1), WRIT_BROKEN, "a serial was issued twice");
	load_watch_done(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quantile_is_at_most_a_sixteenth_above_what_was_measured),
		cmocka_unit_test(quantiles_are_in_order_and_end_with_the_maximum),
		cmocka_unit_test(serials_are_found_however_many_and_forgotten_after_their_end),
		cmocka_unit_test(a_serial_that_is_issued_twice_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
