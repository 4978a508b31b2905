/* Errors, buffers, arenas. */
#include <stdlib.h>

#include "tests/unit/expect.h"

static void
a_message_keeps_its_code_and_gains_facts(void **state)
{
	struct writ_err *err = writ_fail(WRIT_NOT_FOUND, "no key %d", 7);

	(void)state;
	err = writ_because(err, "agent %s", "a/b");
	expect_refused(err, WRIT_NOT_FOUND, "agent a/b: no key 7");
	err = writ_recode(writ_fail(WRIT_INVALID, "inner"), WRIT_BROKEN, "outer");
	expect_refused(err, WRIT_BROKEN, "outer: inner");
	expect_refused(writ_fail_errno(2, "opening x"), WRIT_UNAVAILABLE, "opening x: No such file or directory");
}

static void
control_bidi_and_broken_characters_become_question_marks(void **state)
{
	(void)state;
	expect_refused(writ_fail(WRIT_INVALID, "%s", "a\nb\033[31m\x7f\xc2\x85 \xe2\x80\xae \xff \xc3\xa9"),
		       WRIT_INVALID, "a?b?[31m?? ? ? \xc3\xa9");
}

static void
a_long_message_ends_in_dots_at_a_character(void **state)
{
	char text[WRIT_MESSAGE_MAX + 50];
	struct writ_err *err;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[WRIT_MESSAGE_MAX - 1] = '\0';
	err = writ_fail(WRIT_INVALID, "%s", text); /* 199 bytes: fits */
	assert_string_equal(err->message, text);
	writ_err_free(err);
	text[WRIT_MESSAGE_MAX - 1] = 'x';
	text[WRIT_MESSAGE_MAX] = '\0';
	err = writ_fail(WRIT_INVALID, "%s", text); /* 200: one too many */
	assert_int_equal(strlen(err->message), WRIT_MESSAGE_MAX - 1);
	assert_string_equal(err->message + WRIT_MESSAGE_MAX - 5, "x...");
	writ_err_free(err);
	for (size_t i = 0; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	text[sizeof(text) - 1] = '\0';
	err = writ_fail(WRIT_INVALID, "%s", text);
	assert_int_equal(strlen(err->message), 196 + 3);
	assert_string_equal(err->message + 194, "\xc3\xa9...");
	writ_err_free(err);
}

static void
the_text_of_a_chain_is_cut_with_dots(void **state)
{
	struct writ_err *err = writ_because(writ_fail(WRIT_INVALID, "inner"), "outer");
	char out[12];

	(void)state;
	assert_string_equal(writ_err_text(err, out, sizeof(out)), "outer: i...");
	assert_string_equal(writ_err_text(err, out, 1), "");
	writ_err_freep(&err);
	assert_null(err);
	assert_string_equal(writ_err_text(NULL, out, sizeof(out)), "");
}

static void
a_buffer_takes_its_limit_and_not_a_byte_more(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(5);

	(void)state;
	expect_ok(writ_buf_add(&buf, WRIT_LIT("abc")));
	expect_refused(writ_buf_add(&buf, WRIT_LIT("def")), WRIT_EXHAUSTED,
		       "3 bytes do not fit: the buffer's limit is 5 and it holds 3");
	expect_refused(writ_buf_printf(&buf, "%03d", 1), WRIT_EXHAUSTED,
		       "3 bytes do not fit: the buffer's limit is 5 and it holds 3");
	expect_ok(writ_buf_printf(&buf, "%02d", 1));
	expect_bytes(writ_view(&buf), WRIT_LIT("abc01"));
	writ_buf_clear(&buf);
	assert_int_equal(buf.len, 0);
	assert_memory_equal(buf.data, "\0\0\0\0\0", 5); /* wiped */
	expect_ok(writ_buf_add(&buf, (struct writ_bytes){ NULL, 0 }));
}

static void
a_buffer_grows_and_prints_long_text(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100000);

	(void)state;
	for (int i = 0; i < 1000; i++)
		expect_ok(writ_buf_add(&buf, WRIT_LIT("0123456789")));
	expect_ok(writ_buf_printf(&buf, "%1000d", 5));
	assert_int_equal(buf.len, 11000);
	assert_memory_equal(buf.data + 9990, "0123456789", 10);
	assert_int_equal(buf.data[10999], '5');
	expect_refused(writ_buf_printf(&buf, "%89001d", 5), WRIT_EXHAUSTED,
		       "89001 bytes do not fit: the buffer's limit is 100000 and it holds 11000");
}

static void
an_arena_gives_zeroed_memory_up_to_its_limit(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	uint8_t *p, *q;

	(void)state;
	assert_null(writ_arena_take(&arena, 64 * 1024 + 1));
	assert_null(writ_arena_take(&arena, SIZE_MAX));
	p = writ_arena_take(&arena, 60 * 1024); /* larger than any block of its own */
	assert_non_null(p);
	memset(p, 0xff, 60 * 1024);
	for (unsigned i = 0; i < 64; i++) {
		q = writ_arena_take(&arena, 50);
		assert_non_null(q);
		assert_int_equal((uintptr_t)q % 16, 0);
		for (unsigned j = 0; j < 50; j++)
			assert_int_equal(q[j], 0);
		memset(q, 0xff, 50);
	}
	assert_null(writ_arena_take(&arena, 1));
	writ_arena_clear(&arena);
	p = writ_arena_take(&arena, 4096);
	assert_non_null(p);
	for (unsigned j = 0; j < 4096; j++)
		assert_int_equal(p[j], 0);
	expect_bytes(writ_arena_copy(&arena, WRIT_LIT("abc")), WRIT_LIT("abc"));
	assert_int_equal(writ_arena_copy(&arena, WRIT_LIT("abc")).data[3], 0);
}

static void
bytes_are_ordered_as_der_orders_a_set(void **state)
{
	(void)state;
	assert_true(writ_order(WRIT_LIT("a"), WRIT_LIT("b")) < 0);
	assert_true(writ_order(WRIT_LIT("ab"), WRIT_LIT("a")) > 0);
	assert_true(writ_order(WRIT_LIT("a\xff"), WRIT_LIT("a\x01")) > 0);
	assert_int_equal(writ_order(WRIT_LIT(""), (struct writ_bytes){ NULL, 0 }), 0);
	assert_true(writ_same(WRIT_LIT("abc"), WRIT_LIT("abc")));
	assert_false(writ_same(WRIT_LIT("abc"), WRIT_LIT("abd")));
	assert_false(writ_same(WRIT_LIT("abc"), WRIT_LIT("ab")));
}

static void
an_array_has_room_for_one_more_and_keeps_what_it_has(void **state)
{
	uint32_t *numbers = NULL;
	size_t cap = 0;

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		const size_t before = cap;

		numbers = writ_room(numbers, n, &cap, sizeof(*numbers), 3);
		assert_non_null(numbers);
		assert_true(n < cap);
		assert_true(cap == before || cap == (before ? 2 * before : 3));
		numbers[n] = n;
	}
	for (uint32_t n = 0; n < 100; n++)
		assert_int_equal(numbers[n], n);
	assert_null(writ_room(numbers, cap, &cap, SIZE_MAX / 100, 3)); /* more than there can be */
	assert_int_equal(cap, 192);
	assert_int_equal(numbers[99], 99);
	free(numbers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_array_has_room_for_one_more_and_keeps_what_it_has),
		cmocka_unit_test(a_message_keeps_its_code_and_gains_facts),
		cmocka_unit_test(control_bidi_and_broken_characters_become_question_marks),
		cmocka_unit_test(a_long_message_ends_in_dots_at_a_character),
		cmocka_unit_test(the_text_of_a_chain_is_cut_with_dots),
		cmocka_unit_test(a_buffer_takes_its_limit_and_not_a_byte_more),
		cmocka_unit_test(a_buffer_grows_and_prints_long_text),
		cmocka_unit_test(an_arena_gives_zeroed_memory_up_to_its_limit),
		cmocka_unit_test(bytes_are_ordered_as_der_orders_a_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
