/*
 * The journal's live entries while recovery compares them: each is found, once, whatever its minute and however many.
 */
#include <stdlib.h>

#include "issuer/serve/live.h"
#include "tests/unit/expect.h"

#define MANY 20000u
#define MINUTES 37u

/* Spread as the signer's are: a minute, and bytes that look drawn. */
static void
serial_of(uint32_t i, uint8_t out[SERIAL_LEN])
{
	uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

	memset(out, 0, SERIAL_LEN);
	writ_put32(out, 29000000 + i % MINUTES);
	writ_put64(out + 8, x ^ x >> 29);
}

static void
each_is_found_with_what_was_said_of_it(void **state)
{
	struct live live = { 0 };

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		struct live_entry *entry = NULL;
		uint8_t serial[SERIAL_LEN];

		serial_of(i, serial);
		assert_null(live_find(&live, serial));
		expect_ok(live_add(&live, serial, &entry));
		assert_false(entry->aborted || entry->revoked);
		assert_int_equal(entry->row, 0);
		entry->index = i;
	}
	assert_int_equal(live.n, MANY);
	assert_int_equal(live.n_pages, MINUTES);
	for (uint32_t i = 0; i < MANY; i++) {
		const struct live_entry *entry;
		uint8_t serial[SERIAL_LEN];

		serial_of(i, serial);
		entry = live_find(&live, serial);
		assert_non_null(entry);
		assert_int_equal(entry->index, i);
		assert_memory_equal(entry->serial, serial, SERIAL_LEN);
	}
	live_done(&live);
	assert_int_equal(live.n, 0);
}

static void
a_serial_that_is_there_is_refused_and_stays_as_it_was(void **state)
{
	struct live live = { 0 };
	struct live_entry *entry = NULL;
	uint8_t serial[SERIAL_LEN];

	(void)state;
	serial_of(0, serial);
	expect_ok(live_add(&live, serial, &entry));
	entry->index = 7;
	expect_refused(live_add(&live, serial, &entry), WRIT_BROKEN, "a serial is there twice");
	assert_int_equal(live.n, 1);
	assert_int_equal(live_find(&live, serial)->index, 7);
	live_done(&live);
}

static void
another_minute_with_the_same_random_bytes_is_another_serial(void **state)
{
	struct live live = { 0 };
	struct live_entry *entry = NULL;
	uint8_t serial[SERIAL_LEN];

	(void)state;
	serial_of(0, serial);
	expect_ok(live_add(&live, serial, &entry));
	serial[3] ^= 1;
	assert_null(live_find(&live, serial));
	expect_ok(live_add(&live, serial, &entry));
	assert_int_equal(live.n, 2);
	live_done(&live);
}

static void
all_are_met_once(void **state)
{
	static bool met[MANY];
	struct live live = { 0 };
	struct live_at at = { 0 };
	struct live_entry *entry = NULL;
	size_t n = 0;

	(void)state;
	assert_null(live_next(&live, &at));
	for (uint32_t i = 0; i < MANY; i++) {
		uint8_t serial[SERIAL_LEN];

		serial_of(i, serial);
		expect_ok(live_add(&live, serial, &entry));
		entry->index = i;
	}
	at = (struct live_at){ 0 };
	while ((entry = live_next(&live, &at))) {
		assert_false(met[entry->index]);
		met[entry->index] = true;
		n++;
	}
	assert_int_equal(n, MANY);
	assert_null(live_next(&live, &at));
	live_done(&live);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_found_with_what_was_said_of_it),
		cmocka_unit_test(a_serial_that_is_there_is_refused_and_stays_as_it_was),
		cmocka_unit_test(another_minute_with_the_same_random_bytes_is_another_serial),
		cmocka_unit_test(all_are_met_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
