/* Hex, base64, JSON strings, UTF-8, numbers, times. */
#include "tests/unit/expect.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/text.h"

static void
hex_reads_back_and_refuses_all_else(void **state)
{
	char text[9];
	uint8_t bytes[4];

	(void)state;
	assert_string_equal(writ_hex(WRIT_LIT("\x00\x9a\xff\x10"), text), "009aff10");
	assert_true(writ_unhex(writ_str("009AfF10"), bytes, 4));
	assert_memory_equal(bytes, "\x00\x9a\xff\x10", 4);
	assert_false(writ_unhex(writ_str("009aff1"), bytes, 4));
	assert_false(writ_unhex(writ_str("009aff1g"), bytes, 4));
	assert_false(writ_unhex(writ_str(" 09aff10"), bytes, 4));
	assert_false(writ_unhex(writ_str("009aff1000"), bytes, 4));
}

static void
base64_is_that_of_rfc_4648(void **state)
{
	static const char *const vectors[][2] = { { "", "" },
						  { "f", "Zg==" },
						  { "fo", "Zm8=" },
						  { "foo", "Zm9v" },
						  { "foob", "Zm9vYg==" },
						  { "fooba", "Zm9vYmE=" },
						  { "foobar", "Zm9vYmFy" } };

	(void)state;
	for (size_t i = 0; i < N_OF(vectors); i++) {
		AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(100), bytes = WRIT_BUF(100);

		expect_ok(writ_base64(writ_str(vectors[i][0]), &text));
		expect_bytes(writ_view(&text), writ_str(vectors[i][1]));
		expect_ok(writ_unbase64(BASE64_STD, writ_view(&text), &bytes));
		expect_bytes(writ_view(&bytes), writ_str(vectors[i][0]));
		writ_buf_clear(&text);
		writ_buf_clear(&bytes);
		expect_ok(writ_base64url(writ_str(vectors[i][0]), &text));
		expect_ok(writ_unbase64(BASE64_URL, writ_view(&text), &bytes));
		expect_ok(writ_unbase64(BASE64_STD_LAX, writ_view(&text), &bytes));
		assert_int_equal(bytes.len, 2 * strlen(vectors[i][0]));
	}
}

static void
base64_that_is_not_canonical_is_refused(void **state)
{
	static const struct {
		enum base64_kind kind;
		const char *text, *message;
	} rows[] = {
		{ BASE64_STD, "Zg", "base64: the length or the padding is wrong" },
		{ BASE64_STD, "Zg=", "base64: the length or the padding is wrong" },
		{ BASE64_STD, "Zm9v====", "base64: byte 0x3d at offset 4 is not of the alphabet" },
		{ BASE64_STD, "Z===", "base64: byte 0x3d at offset 1 is not of the alphabet" },
		{ BASE64_STD, "====", "base64: byte 0x3d at offset 0 is not of the alphabet" },
		{ BASE64_STD, "=", "base64: the length or the padding is wrong" },
		{ BASE64_STD_LAX, "Zg=", "base64: the length or the padding is wrong" },
		{ BASE64_STD_LAX, "Zm9vZ", "base64: the length or the padding is wrong" },
		{ BASE64_URL, "Zg==", "base64url: byte 0x3d at offset 2 is not of the alphabet" },
		{ BASE64_STD, "Zh==", "base64: the last character has bits that belong to no byte" },
		{ BASE64_URL, "Zm9", "base64url: the last character has bits that belong to no byte" },
		{ BASE64_STD, "Zm9v\nZg=", "base64: byte 0x0a at offset 4 is not of the alphabet" },
		{ BASE64_STD, "ab-_", "base64: byte 0x2d at offset 2 is not of the alphabet" },
		{ BASE64_URL, "ab+/", "base64url: byte 0x2b at offset 2 is not of the alphabet" },
		{ BASE64_STD, "Zg==Zg==", "base64: byte 0x3d at offset 2 is not of the alphabet" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(100);

		expect_refused(writ_unbase64(rows[i].kind, writ_str(rows[i].text), &out), WRIT_INVALID,
			       rows[i].message);
		assert_int_equal(out.len, 0);
	}
}

static void
a_json_string_is_one_line_of_printable_text(void **state)
{
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(200), small = WRIT_BUF(6);

	(void)state;
	expect_ok(writ_json_string(WRIT_LIT("a\"\\\n\r\t\x00\x1b\x7f\xc2\x85\xe2\x80\xae\xe2\x80\xa8\xc3\xa9\xff\xc3"),
				   &out));
	expect_bytes(writ_view(&out), WRIT_LIT("\"a\\\"\\\\\\n\\r\\t\\u0000\\u001b\\u007f\\u0085\\u202e\\u2028\xc3\xa9"
					       "\\\\xff\\\\xc3\""));
	expect_refused(writ_json_string(WRIT_LIT("abcde"), &small), WRIT_EXHAUSTED,
		       "1 bytes do not fit: the buffer's limit is 6 and it holds 6");
	assert_int_equal(small.len, 0);
}

static void
only_clean_utf8_is_clean(void **state)
{
	static const char *const clean[] = {
		"", "abc ~", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"
	};
	static const char *const foul[] = {
		"\n",		"\x1b[m",	"\x7f",		"\xc2\x80",	    "\xc2\x9f",
		"\xe2\x80\x8e", "\xe2\x80\xaa", "\xe2\x81\xa6", "\xd8\x9c",	    "\x80",
		"\xc0\xaf",	"\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
		"\xe2\x82",	"\xc3(",	"\xff"
	};

	(void)state;
	for (size_t i = 0; i < N_OF(clean); i++)
		assert_true(writ_is_clean_utf8(writ_str(clean[i])));
	for (size_t i = 0; i < N_OF(foul); i++)
		if (writ_is_clean_utf8(writ_str(foul[i])))
			fail_msg("row %zu was taken as clean", i);
	assert_false(writ_is_clean_utf8(WRIT_LIT("a\0b")));
}

static void
a_number_has_one_spelling(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "01", "00", "1a", "0x1", "18446744073709551616", "99999999999999999999"
	};
	uint64_t n;

	(void)state;
	assert_true(writ_decimal(writ_str("0"), 0, &n) && n == 0);
	assert_true(writ_decimal(writ_str("18446744073709551615"), UINT64_MAX, &n) && n == UINT64_MAX);
	assert_true(writ_decimal(writ_str("100"), 100, &n) && n == 100);
	assert_false(writ_decimal(writ_str("101"), 100, &n));
	for (size_t i = 0; i < N_OF(bad); i++)
		assert_false(writ_decimal(writ_str(bad[i]), UINT64_MAX, &n));
}

static void
a_duration_is_a_number_and_a_unit(void **state)
{
	static const char *const bad[] = { "",	   "m",	  "5 m", "1.5h", "-1m", "1h30m",       "5M",
					   "5min", "05m", "901", "16m",	 "1h",	"99999999999d" };
	uint32_t s;

	(void)state;
	assert_true(writ_duration(writ_str("90s"), 900, &s) && s == 90);
	assert_true(writ_duration(writ_str("15m"), 900, &s) && s == 900);
	assert_true(writ_duration(writ_str("900"), 900, &s) && s == 900);
	assert_true(writ_duration(writ_str("8h"), 86400, &s) && s == 28800);
	assert_true(writ_duration(writ_str("1d"), 86400, &s) && s == 86400);
	assert_true(writ_duration(writ_str("49710d"), UINT32_MAX, &s) && s == UINT32_C(4294944000));
	assert_false(writ_duration(writ_str("49711d"), UINT32_MAX, &s));
	for (size_t i = 0; i < N_OF(bad); i++)
		assert_false(writ_duration(writ_str(bad[i]), 900, &s));
}

/* The C library's calendar is the oracle: every 2,000,003 s over 8,000 years, and around every year's turn. */
static void
times_agree_with_the_c_library_to_the_year_9999(void **state)
{
	(void)state;
	for (writ_time t = 0; t <= WRIT_TIME_MAX; t += 2000003) {
		char ours[40], theirs[40];
		const time_t c = t;
		writ_time back;
		struct tm tm;

		gmtime_r(&c, &tm);
		strftime(theirs, sizeof(theirs), "%Y%m%d%H%M%SZ", &tm);
		assert_string_equal(writ_time_generalized(t, ours), theirs);
		assert_true(writ_time_from_generalized(writ_str(ours), &back) && back == t);
		strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_string_equal(writ_time_rfc3339(t, ours), theirs);
		assert_true(writ_time_from_rfc3339(writ_str(ours), &back) && back == t);
		strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		assert_string_equal(writ_time_http(t, ours), theirs);
	}
	for (int year = 1970; year <= 9999; year++) {
		char text[20];
		struct tm tm = {
			.tm_year = year - 1900, .tm_mon = 11, .tm_mday = 31, .tm_hour = 23, .tm_min = 59, .tm_sec = 59
		};
		writ_time t;

		snprintf(text, sizeof(text), "%04d1231235959Z", year);
		assert_true(writ_time_from_generalized(writ_str(text), &t));
		assert_int_equal(t, timegm(&tm));
	}
}

static void
a_date_that_no_calendar_has_is_refused(void **state)
{
	static const char *const bad[] = {
		"20230229000000Z", "21000229000000Z", "20240230000000Z", "20240431000000Z",    "20240001000000Z",
		"20241301000000Z", "20240100000000Z", "20240132000000Z", "20240101240000Z",    "20240101006000Z",
		"20240101000060Z", "20240101000000",  "20240101000000z", "20240101000000.5Z",  "202401010000Z",
		"2024010100000 Z", "+0240101000000Z", "19691231235959Z", "20240101000000+0000"
	};
	writ_time t;
	char out[40];

	(void)state;
	for (size_t i = 0; i < N_OF(bad); i++)
		assert_false(writ_time_from_generalized(writ_str(bad[i]), &t));
	assert_true(writ_time_from_generalized(writ_str("20240229000000Z"), &t));
	assert_true(writ_time_from_generalized(writ_str("20000229000000Z"), &t));
	assert_false(writ_time_from_rfc3339(writ_str("2024-01-01 00:00:00Z"), &t));
	assert_false(writ_time_from_rfc3339(writ_str("2024-01-01T00:00:00+00:00"), &t));
	assert_false(writ_time_from_rfc3339(writ_str("2024-02-30T00:00:00Z"), &t));
	assert_string_equal(writ_time_generalized(-1, out), "19700101000000Z");
	assert_string_equal(writ_time_generalized(INT64_MAX, out), "99991231235959Z");
}

static struct clock
at(int64_t wall, int64_t mono_s)
{
	return (struct clock){ .wall = wall, .mono_ms = mono_s * 1000 };
}

static void
a_clock_that_was_set_stops_issuing_until_it_is_right_again(void **state)
{
	struct clock_guard guard = { .floor = 1000 };

	(void)state;
	assert_false(clock_guard_check(&guard, at(997, 5))); /* 3 s before the last entry */
	assert_true(guard.stepped);
	assert_int_equal(guard.step_s, -3);
	assert_true(clock_guard_check(&guard, at(998, 6))); /* 2 s are within the slack */
	assert_int_equal(guard.floor, 1000);		    /* and do not move the floor */
	assert_true(clock_guard_check(&guard, at(2000, 1008)));
	assert_true(clock_guard_check(&guard, at(2015, 1018)));	 /* 5 s off: as much as is taken */
	assert_false(clock_guard_check(&guard, at(2031, 1028))); /* 6 s */
	assert_int_equal(guard.step_s, 6);
	assert_false(clock_guard_check(&guard, at(2041, 1038))); /* still off: latched */
	assert_true(clock_guard_check(&guard, at(2045, 1048)));	 /* set right */
	assert_false(guard.stepped);
	assert_false(clock_guard_check(&guard, at(2045 - 3600, 1048)));
	assert_int_equal(guard.step_s, -3600);
	clock_guard_accept(&guard, at(2045 - 3600, 1049)); /* an operator says so, also below the floor */
	assert_false(guard.stepped);
	guard.floor = 3000;
	clock_guard_accept(&guard, at(2045 - 3600, 1049));
	assert_true(clock_guard_check(&guard, at(2046 - 3600, 1050)));
}

static void
a_clock_that_was_set_forward_dates_nothing_ahead(void **state)
{
	struct clock_guard guard = { .floor = 1000 };

	(void)state;
	assert_false(clock_guard_check(&guard, at(900, 5)));
	assert_int_equal(clock_guard_time(&guard, at(900, 5)).wall, 900); /* never right yet: there is nothing better */
	assert_true(clock_guard_check(&guard, at(2000, 1000)));
	assert_int_equal(clock_guard_time(&guard, at(2000, 1000)).wall, 2000);
	assert_false(clock_guard_check(&guard, at(2010 + 36000, 1010)));
	assert_int_equal(clock_guard_time(&guard, at(2010 + 36000, 1010)).wall, 2010);
	assert_int_equal(clock_guard_time(&guard, at(2010 + 36000, 1010)).mono_ms, 1010000);
	assert_false(clock_guard_check(&guard, at(2020 - 3600, 1020)));
	assert_int_equal(clock_guard_time(&guard, at(2020 - 3600, 1020)).wall, 2020 - 3600); /* backwards is believed */
	guard.floor = clock_guard_time(&guard, at(2030 + 36000, 1030)).wall; /* an entry made meanwhile */
	assert_true(clock_guard_check(&guard, at(2031, 1031)));		     /* does not keep a right time out */
}

static void
digests_are_the_standard_ones(void **state)
{
	const struct writ_bytes pieces[] = { WRIT_LIT("a"), { NULL, 0 }, WRIT_LIT("bc") };
	uint8_t a[SHA384_LEN], b[SHA256_LEN];
	char hex[2 * SHA384_LEN + 1];

	(void)state;
	writ_sha256(WRIT_LIT("abc"), a);
	assert_string_equal(writ_hex((struct writ_bytes){ a, 32 }, hex),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	writ_sha256v(pieces, N_OF(pieces), b);
	assert_memory_equal(a, b, 32);
	writ_sha1(WRIT_LIT("abc"), a);
	assert_string_equal(writ_hex((struct writ_bytes){ a, 20 }, hex), "a9993e364706816aba3e25717850c26c9cd0d89d");
	writ_sha384(WRIT_LIT("abc"), a);
	assert_string_equal(
		writ_hex((struct writ_bytes){ a, 48 }, hex),
		"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
	writ_random(a, 32);
	writ_random(b, 32);
	assert_memory_not_equal(a, b, 32);
}

static void
brackets_are_counted_outside_strings(void **state)
{
	(void)state;
	assert_true(writ_json_shallow(WRIT_LIT("{\"a\":[{}]}"), 3));
	assert_false(writ_json_shallow(WRIT_LIT("{\"a\":[{}]}"), 2));
	assert_true(writ_json_shallow(WRIT_LIT("[[],[],[]]"), 2));
	assert_true(writ_json_shallow(WRIT_LIT("[\"[[[[\",\"\\\"[[[\"]"), 1));
	assert_false(writ_json_shallow(WRIT_LIT("[\"\\\\\",[]]"), 1));
	assert_true(writ_json_shallow(WRIT_LIT("]]]}"), 0));
	assert_true(writ_json_shallow(WRIT_LIT(""), 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex_reads_back_and_refuses_all_else),
		cmocka_unit_test(base64_is_that_of_rfc_4648),
		cmocka_unit_test(base64_that_is_not_canonical_is_refused),
		cmocka_unit_test(a_json_string_is_one_line_of_printable_text),
		cmocka_unit_test(only_clean_utf8_is_clean),
		cmocka_unit_test(a_number_has_one_spelling),
		cmocka_unit_test(a_duration_is_a_number_and_a_unit),
		cmocka_unit_test(times_agree_with_the_c_library_to_the_year_9999),
		cmocka_unit_test(a_date_that_no_calendar_has_is_refused),
		cmocka_unit_test(a_clock_that_was_set_stops_issuing_until_it_is_right_again),
		cmocka_unit_test(a_clock_that_was_set_forward_dates_nothing_ahead),
		cmocka_unit_test(digests_are_the_standard_ones),
		cmocka_unit_test(brackets_are_counted_outside_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
