/* Canonical JSON: what the writer writes the checker accepts; everything else is refused, and the place is told. */
#include "issuer/log/json.h"
#include "tests/unit/expect.h"

static void
write_all(struct canon_out *out)
{
	canon_object(out, NULL);
	canon_array(out, "a");
	canon_int(out, NULL, -9007199254740991);
	canon_object(out, NULL);
	canon_end(out);
	canon_text(out, NULL, WRIT_LIT("q\"\\\n\x01\xe2\x80\xae\xff"));
	canon_end(out);
	canon_bool(out, "b", true);
	canon_hex(out, "c", WRIT_LIT("\x00\xff"));
	canon_object(out, "d");
	canon_int(out, "e", 0);
	canon_end(out);
	canon_raw(out, "f", WRIT_LIT("{\"x\":false}"));
	canon_end(out);
}

static void
what_is_written_is_one_line_and_accepted(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(1024);
	struct canon_out out = canon_write(&buf);

	(void)state;
	write_all(&out);
	expect_ok(canon_finish(&out));
	expect_bytes(
		writ_view(&buf),
		WRIT_LIT(
			"{\"a\":[-9007199254740991,{},\"q\\\"\\\\\\n\\u0001\\u202e\\\\xff\"],\"b\":true,\"c\":\"00ff\","
			"\"d\":{\"e\":0},\"f\":{\"x\":false}}"));
	expect_ok(canon_check(writ_view(&buf), 1024));
}

static void
keys_out_of_order_cannot_be_written(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(1024);
	struct canon_out out = canon_write(&buf);

	(void)state;
	canon_object(&out, NULL);
	canon_int(&out, "b", 1);
	canon_int(&out, "a", 1);
	canon_end(&out);
	expect_refused(canon_finish(&out), WRIT_EXHAUSTED, "an entry's JSON is over 1024 bytes or not canonical");
}

typedef void breaker(struct canon_out *);

static void
twice_the_same_key(struct canon_out *out)
{
	canon_int(out, "a", 1);
	canon_int(out, "a", 1);
}

static void
no_key(struct canon_out *out)
{
	canon_int(out, NULL, 1);
}

static void
a_key_in_an_array(struct canon_out *out)
{
	canon_array(out, "a");
	canon_int(out, "b", 1);
}

static void
a_key_of_32(struct canon_out *out)
{
	canon_int(out, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
}

static void
a_key_with_a_quote(struct canon_out *out)
{
	canon_int(out, "a\"", 1);
}

static void
an_integer_of_2_53(struct canon_out *out)
{
	canon_int(out, "a", INT64_C(1) << 53);
}

static void
nine_levels(struct canon_out *out)
{
	for (int i = 0; i < 8; i++)
		canon_object(out, "a");
}

static void
what_is_not_canonical_cannot_be_written(void **state)
{
	static breaker *const breakers[] = { twice_the_same_key, no_key,
					     a_key_in_an_array,	 a_key_of_32,
					     a_key_with_a_quote, an_integer_of_2_53,
					     nine_levels };

	(void)state;
	for (size_t i = 0; i < N_OF(breakers); i++) {
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(1024);
		struct canon_out out = canon_write(&buf);

		canon_object(&out, NULL);
		breakers[i](&out);
		while (out.depth > 0 && !out.failed)
			canon_end(&out);
		expect_refused(canon_finish(&out), WRIT_EXHAUSTED,
			       "an entry's JSON is over 1024 bytes or not canonical");
	}
}

static void
an_object_left_open_is_not_finished(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(1024);
	struct canon_out out = canon_write(&buf);

	(void)state;
	canon_object(&out, NULL);
	expect_refused(canon_finish(&out), WRIT_BROKEN, "an entry's JSON is not one whole object");
}

static void
what_does_not_fit_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(8);
	struct canon_out out = canon_write(&buf);

	(void)state;
	canon_object(&out, NULL);
	canon_text(&out, "a", WRIT_LIT("much too long"));
	canon_end(&out);
	expect_refused(canon_finish(&out), WRIT_EXHAUSTED, "an entry's JSON is over 8 bytes or not canonical");
}

static void
canonical_texts_are_accepted(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"a\":1}",
		"{\"A\":1,\"_\":-1,\"a\":[],\"ab\":[{},[0],\"\",true]}",
		"{\"a\":\"\xc3\xa4\xe2\x82\xac\"}",
		"{\"a\":\"\\u0000\\u001f\\u007f\\u202e\\n\\r\\t\\\"\\\\\"}",
		"{\"a\":9007199254740991,\"b\":-9007199254740991}",
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(texts); i++)
		expect_ok(canon_check(writ_str(texts[i]), 1024));
}

static void
everything_else_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "", "JSON does not begin with an object" },
		{ "[]", "JSON does not begin with an object" },
		{ " {}", "JSON does not begin with an object" },
		{ "{", "JSON is not canonical at byte 1: no key where one must be" },
		{ "{} ", "JSON is not canonical at byte 2: something after the object" },
		{ "{}{}", "JSON is not canonical at byte 2: something after the object" },
		{ "{ }", "JSON is not canonical at byte 1: no key where one must be" },
		{ "{\"a\" :1}",
		  "JSON is not canonical at byte 4: a key that is not 1 to 31 of [A-Za-z0-9_], a quote and a colon" },
		{ "{\"a\": 1}", "JSON is not canonical at byte 5: a number that is not a plain integer below 2^53" },
		{ "{\"\":1}",
		  "JSON is not canonical at byte 4: a key that is not 1 to 31 of [A-Za-z0-9_], a quote and a colon" },
		{ "{\"a-b\":1}",
		  "JSON is not canonical at byte 3: a key that is not 1 to 31 of [A-Za-z0-9_], a quote and a colon" },
		{ "{\"b\":1,\"a\":1}",
		  "JSON is not canonical at byte 11: keys that are not in strictly ascending order" },
		{ "{\"a\":1,\"a\":1}",
		  "JSON is not canonical at byte 11: keys that are not in strictly ascending order" },
		{ "{\"a\":1,}", "JSON is not canonical at byte 7: no key where one must be" },
		{ "{\"a\":[1,]}", "JSON is not canonical at byte 8: a number that is not a plain integer below 2^53" },
		{ "{\"a\":01}", "JSON is not canonical at byte 7: a number that is not a plain integer below 2^53" },
		{ "{\"a\":1.0}", "JSON is not canonical at byte 6: an object without end" },
		{ "{\"a\":1e3}", "JSON is not canonical at byte 6: an object without end" },
		{ "{\"a\":+1}", "JSON is not canonical at byte 5: a number that is not a plain integer below 2^53" },
		{ "{\"a\":-0}", "JSON is not canonical at byte 7: a number -0" },
		{ "{\"a\":9007199254740992}",
		  "JSON is not canonical at byte 21: a number that is not a plain integer below 2^53" },
		{ "{\"a\":null}", "JSON is not canonical at byte 5: a number that is not a plain integer below 2^53" },
		{ "{\"a\":True}", "JSON is not canonical at byte 5: a number that is not a plain integer below 2^53" },
		{ "{\"a\":tru", "JSON is not canonical at byte 5: a word that is neither true nor false" },
		{ "{\"a\":\"", "JSON is not canonical at byte 6: a string without end" },
		{ "{\"a\":\"\\", "JSON is not canonical at byte 7: a string without end" },
		{ "{\"a\":\"\\/\"}", "JSON is not canonical at byte 8: an unknown escape" },
		{ "{\"a\":\"\\u0041\"}", "JSON is not canonical at byte 8: an escape of a character that needs none" },
		{ "{\"a\":\"\\u000a\"}", "JSON is not canonical at byte 8: an escape of a character that needs none" },
		{ "{\"a\":\"\\u001F\"}",
		  "JSON is not canonical at byte 8: an escape that is not \\u and four lower-case hex digits" },
		{ "{\"a\":\"\\u00",
		  "JSON is not canonical at byte 8: an escape that is not \\u and four lower-case hex digits" },
		{ "{\"a\":\"\n\"}", "JSON is not canonical at byte 6: a raw control character in a string" },
		{ "{\"a\":\"\x7f\"}", "JSON is not canonical at byte 6: a raw control character in a string" },
		{ "{\"a\":\"\xe2\x80\xae\"}", "JSON is not canonical at byte 6: a raw control character in a string" },
		{ "{\"a\":\"\xff\"}", "JSON is not canonical at byte 6: a string that is not UTF-8" },
		{ "{\"a\":\"\xc0\x80\"}", "JSON is not canonical at byte 6: a string that is not UTF-8" },
		{ "{\"a\":[[[[[[[[1]]]]]]]]}", "JSON is not canonical at byte 13: nesting over 8" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		expect_refused(canon_check(writ_str(rows[i].text), 1024), WRIT_INVALID, rows[i].why);
	expect_refused(canon_check(WRIT_LIT("{\"a\":1}"), 6), WRIT_EXHAUSTED,
		       "JSON of 7 bytes is over the limit of 6");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_one_line_and_accepted),
		cmocka_unit_test(keys_out_of_order_cannot_be_written),
		cmocka_unit_test(what_is_not_canonical_cannot_be_written),
		cmocka_unit_test(an_object_left_open_is_not_finished),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(canonical_texts_are_accepted),
		cmocka_unit_test(everything_else_is_refused_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
