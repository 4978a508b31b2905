/* Strict DER, both ways. */
#include "tests/unit/expect.h"

#include "base/der.h"

static void
what_is_strict_der_is_taken(void **state)
{
	static const struct {
		const char *name;
		struct writ_bytes der;
		bool strict;
	} rows[] = {
#define ROW(name_, der_, strict_) { name_, { (const uint8_t *)(der_), sizeof(der_) - 1 }, strict_ }
		ROW("an empty SEQUENCE", "\x30\x00", true),
		ROW("an integer", "\x02\x01\x00", true),
		ROW("a negative integer", "\x02\x02\xff\x7f", true),
		ROW("a SET OF in order, one twice", "\x31\x09\x02\x01\x01\x02\x01\x02\x02\x01\x02", true),
		ROW("a context tag around a boolean", "\xa0\x03\x01\x01\xff", true),
		ROW("a private primitive with any contents", "\xc5\x02\x80\x80", true),
		ROW("a BIT STRING with unused bits of zero", "\x03\x02\x03\xf8", true),
		ROW("nothing", "", false),
		ROW("a tag alone", "\x30", false),
		ROW("a value cut short", "\x04\x02\x00", false),
		ROW("a byte left over", "\x05\x00\x00", false),
		ROW("two elements", "\x05\x00\x05\x00", false),
		ROW("an indefinite length", "\x30\x80\x00\x00", false),
		ROW("a long form that fits the short one", "\x04\x81\x01\x00", false),
		ROW("a long form with a leading zero", "\x04\x82\x00\x80", false),
		ROW("a length of five octets", "\x04\x85\x01\x00\x00\x00\x00", false),
		ROW("the reserved length ff", "\x04\xff", false),
		ROW("end-of-contents", "\x00\x00", false),
		ROW("end-of-contents inside", "\x30\x02\x00\x00", false),
		ROW("a tag number over 30", "\x1f\x1f\x00", false),
		ROW("a tag number over 30, context", "\xbf\x20\x00", false),
		ROW("a primitive SEQUENCE", "\x10\x00", false),
		ROW("a primitive SET", "\x11\x00", false),
		ROW("an OCTET STRING in pieces", "\x24\x03\x04\x01\x00", false),
		ROW("a constructed UTF8String", "\x2c\x03\x0c\x01\x61", false),
		ROW("EXTERNAL", "\x28\x00", false),
		ROW("REAL", "\x09\x00", false),
		ROW("BOOLEAN 01", "\x01\x01\x01", false),
		ROW("an empty BOOLEAN", "\x01\x00", false),
		ROW("an empty INTEGER", "\x02\x00", false),
		ROW("a padded INTEGER", "\x02\x02\x00\x7f", false),
		ROW("a padded negative INTEGER", "\x02\x02\xff\x80", false),
		ROW("an empty BIT STRING contents", "\x03\x00", false),
		ROW("8 unused bits", "\x03\x02\x08\x00", false),
		ROW("unused bits that are not zero", "\x03\x02\x03\xff", false),
		ROW("unused bits of no octet", "\x03\x01\x01", false),
		ROW("NULL with contents", "\x05\x01\x00", false),
		ROW("an empty OID", "\x06\x00", false),
		ROW("an OID cut short", "\x06\x02\x2a\x86", false),
		ROW("an OID arc with a leading zero digit", "\x06\x03\x2a\x80\x01", false),
		ROW("a UTF8String that is not", "\x0c\x01\xff", false),
		ROW("a PrintableString with @", "\x13\x01@", false),
		ROW("an IA5String of 8 bits", "\x16\x01\x80", false),
		ROW("a UTCTime without seconds",
		    "\x17\x0b"
		    "2401010000Z",
		    false),
		ROW("a UTCTime of 30 February",
		    "\x17\x0d"
		    "240230000000Z",
		    false),
		ROW("a GeneralizedTime with a fraction",
		    "\x18\x11"
		    "20240101000000.5Z",
		    false),
		ROW("a SET OF out of order", "\x31\x06\x02\x01\x02\x02\x01\x01", false),
		ROW("a BMPString of an odd length", "\x1e\x01\x00", false),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		if (der_is_strict(rows[i].der, 12) != rows[i].strict)
			fail_msg("%s: should %sbe strict DER", rows[i].name, rows[i].strict ? "" : "not ");
}

/* With all the contents there, so that nothing but the form of the length can be what is refused. */
static void
a_length_has_one_form(void **state)
{
	static const struct {
		struct writ_bytes header;
		size_t len;
		bool strict;
	} rows[] = {
		{ { (const uint8_t *)"\x04\x7f", 2 }, 127, true },
		{ { (const uint8_t *)"\x04\x81\x7f", 3 }, 127, false },
		{ { (const uint8_t *)"\x04\x81\x80", 3 }, 128, true },
		{ { (const uint8_t *)"\x04\x82\x00\x80", 4 }, 128, false },
		{ { (const uint8_t *)"\x04\x81\xff", 3 }, 255, true },
		{ { (const uint8_t *)"\x04\x82\x00\xff", 4 }, 255, false },
		{ { (const uint8_t *)"\x04\x82\x01\x00", 4 }, 256, true },
		{ { (const uint8_t *)"\x04\x83\x00\x01\x00", 5 }, 256, false },
		{ { (const uint8_t *)"\x04\x85\x00\x00\x00\x01\x00", 7 }, 256, false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(300);
		uint8_t *contents;

		expect_ok(writ_buf_add(&buf, rows[i].header));
		expect_ok(writ_buf_grow(&buf, rows[i].len, &contents));
		memset(contents, 0, rows[i].len);
		if (der_is_strict(writ_view(&buf), 1) != rows[i].strict)
			fail_msg("row %zu: should %sbe strict DER", i, rows[i].strict ? "" : "not ");
	}
}

static void
nesting_is_taken_to_the_limit_and_no_deeper(void **state)
{
	uint8_t nested[2 * 13];

	(void)state;
	for (unsigned i = 0; i < 13; i++) {
		nested[2 * i] = 0x30;
		nested[2 * i + 1] = (uint8_t)(2 * (12 - i));
	}
	assert_false(der_is_strict((struct writ_bytes){ nested, sizeof(nested) }, 12));
	assert_true(der_is_strict((struct writ_bytes){ nested + 2, sizeof(nested) - 2 }, 12));
	assert_false(der_is_strict((struct writ_bytes){ nested, sizeof(nested) }, 0));
}

static void
a_refused_element_leaves_the_reader_where_it_was(void **state)
{
	const struct writ_bytes bytes = WRIT_LIT("\x02\x09\x00\x80\x00\x00\x00\x00\x00\x00\x00\x01\x01\xff");
	struct der in = der_read(bytes), inner;
	struct writ_bytes v;
	uint64_t u;
	int64_t n;
	bool b;

	(void)state;
	assert_false(der_take(&in, DER_SEQUENCE, &inner));
	assert_false(der_take_int(&in, DER_INTEGER, &n)); /* 2^63 does not fit */
	assert_false(der_take_unsigned(&in, DER_INTEGER, INT64_MAX, &u));
	assert_false(der_take_oid(&in, &v));
	assert_ptr_equal(in.at, bytes.data);
	assert_true(der_take_unsigned(&in, DER_INTEGER, UINT64_MAX, &u));
	assert_true(u == UINT64_C(1) << 63);
	assert_false(der_take_bits(&in, DER_BOOLEAN, &v));
	assert_true(der_take_bool(&in, DER_BOOLEAN, &b) && b);
	assert_true(der_at_end(&in));
	assert_false(der_take_bool(&in, DER_BOOLEAN, &b));
	assert_false(der_next_is(&in, 0));
}

static void
integers_keep_their_value(void **state)
{
	static const int64_t values[] = { 0,  1,    127,  128,	255,  256,    32767,  32768,	 INT64_MAX,
					  -1, -128, -129, -255, -256, -32768, -32769, INT64_MIN, 9007199254740991 };

	(void)state;
	for (size_t i = 0; i < N_OF(values); i++) {
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100);
		struct der_out out = der_write(&buf);
		struct der in;
		int64_t back;
		uint64_t u;

		der_put_int(&out, DER_INTEGER, values[i]);
		expect_ok(der_finish(&out, "an integer"));
		assert_true(der_is_strict(writ_view(&buf), 1));
		in = der_read(writ_view(&buf));
		assert_true(der_take_int(&in, DER_INTEGER, &back) && back == values[i] && der_at_end(&in));
		in = der_read(writ_view(&buf));
		assert_true(der_take_unsigned(&in, DER_INTEGER, UINT64_MAX, &u) == (values[i] >= 0));
		if (values[i] > 0) {
			in = der_read(writ_view(&buf));
			assert_false(der_take_unsigned(&in, DER_INTEGER, (uint64_t)values[i] - 1, &u));
		}
	}
}

static void
lengths_of_every_form_are_written_and_read(void **state)
{
	static const size_t lengths[] = { 0, 1, 126, 127, 128, 129, 254, 255, 256, 257, 65535, 65536, 70000 };
	static uint8_t contents[70000];

	(void)state;
	for (size_t i = 0; i < N_OF(lengths); i++) {
		const struct writ_bytes want = { contents, lengths[i] };
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100000), put = WRIT_BUF(100000);
		struct der_out out = der_write(&buf), direct = der_write(&put);
		struct der in, inner;
		struct writ_bytes back;

		memset(contents, 0xa5, sizeof(contents));
		der_open(&out, DER_SEQUENCE);
		der_open(&out, DER_OCTET_STRING);
		der_put_raw(&out, want);
		der_close(&out);
		der_close(&out);
		expect_ok(der_finish(&out, "a test"));
		assert_true(der_is_strict(writ_view(&buf), 2));
		in = der_read(writ_view(&buf));
		assert_true(der_take(&in, DER_SEQUENCE, &inner) && der_at_end(&in));
		der_put(&direct, DER_OCTET_STRING, want);
		expect_ok(der_finish(&direct, "a test"));
		expect_bytes(der_rest(&inner), writ_view(&put)); /* both ways of writing agree */
		assert_true(der_take_bytes(&inner, DER_OCTET_STRING, &back) && der_at_end(&inner));
		expect_bytes(back, want);
	}
}

static void
times_change_form_in_2050(void **state)
{
	static const struct {
		writ_time t;
		const char *der;
	} rows[] = {
		{ 0, "\x17\x0d"
		     "700101000000Z" },
		{ 2524607999, "\x17\x0d"
			      "491231235959Z" },
		{ 2524608000, "\x18\x0f"
			      "20500101000000Z" },
		{ WRIT_TIME_MAX, "\x18\x0f"
				 "99991231235959Z" },
	};
	struct der in = der_read(WRIT_LIT("\x17\x0d"
					  "500101000000Z"));
	writ_time back;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100);
		struct der_out out = der_write(&buf);
		struct der read;

		der_put_time(&out, rows[i].t);
		expect_ok(der_finish(&out, "a time"));
		expect_bytes(writ_view(&buf), writ_str(rows[i].der));
		read = der_read(writ_view(&buf));
		assert_true(der_take_time(&read, &back) && back == rows[i].t);
	}
	assert_true(der_take_time(&in, &back) && back == -631152000); /* 1950: the first year of UTCTime */
	in = der_read(WRIT_LIT("\x18\x0f"
			       "20491231235959Z"));
	assert_false(der_take_time(&in, &back)); /* must be UTCTime */
	assert_true(der_take_generalized(&in, DER_GENERALIZED_TIME, &back) && back == 2524607999);
}

static void
special_forms_are_written_as_x690_wants(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(200);
	struct der_out out = der_write(&buf);

	(void)state;
	der_put_named_bits(&out, 0);
	der_put_named_bits(&out, 0x8000);
	der_put_named_bits(&out, 0x0600);
	der_put_named_bits(&out, 0x8080);
	der_put_integer_bytes(&out, DER_INTEGER, WRIT_LIT("\x00\x00"));
	der_put_integer_bytes(&out, DER_INTEGER, WRIT_LIT("\x00\x80"));
	der_put_integer_bytes(&out, DER_INTEGER, WRIT_LIT("\x7f"));
	der_put_bits(&out, WRIT_LIT("\xab"));
	der_put_bool(&out, DER_CONTEXT(0), true);
	der_put_null(&out);
	der_put_oid(&out, WRIT_LIT("\x2a\x03"));
	expect_ok(der_finish(&out, "a test"));
	expect_bytes(writ_view(&buf), WRIT_LIT("\x03\x01\x00"
					       "\x03\x02\x07\x80"
					       "\x03\x02\x01\x06"
					       "\x03\x03\x07\x80\x80"
					       "\x02\x01\x00"
					       "\x02\x02\x00\x80"
					       "\x02\x01\x7f"
					       "\x03\x02\x00\xab"
					       "\x80\x01\xff"
					       "\x05\x00"
					       "\x06\x02\x2a\x03"));
}

static void
what_cannot_be_written_fails_once_and_says_why(void **state)
{
	AUTO(writ_buf_done) struct writ_buf small = WRIT_BUF(4), buf = WRIT_BUF(1000);
	struct der_out out = der_write(&small);

	(void)state;
	der_put(&out, DER_OCTET_STRING, WRIT_LIT("abc"));
	der_put_null(&out); /* would fit, and stays unwritten */
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED, "the leaf does not fit: the limit is 4 bytes");
	out = der_write(&buf);
	der_open(&out, DER_SEQUENCE);
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED,
		       "the leaf cannot be encoded: 1 elements were left open");
	out = der_write(&buf);
	der_close(&out);
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED,
		       "the leaf cannot be encoded: more elements were closed than opened");
	out = der_write(&buf);
	der_put_time(&out, -1);
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED,
		       "the leaf cannot be encoded: a time before 1970 or after 9999");
	out = der_write(&buf);
	der_put_oid(&out, WRIT_LIT("\x80\x01"));
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED,
		       "the leaf cannot be encoded: a malformed object identifier");
	out = der_write(&buf);
	for (unsigned i = 0; i <= DER_NEST_MAX; i++)
		der_open(&out, DER_SEQUENCE);
	expect_refused(der_finish(&out, "the leaf"), WRIT_EXHAUSTED, "the leaf cannot be encoded: nested too deep");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_strict_der_is_taken),
		cmocka_unit_test(a_length_has_one_form),
		cmocka_unit_test(nesting_is_taken_to_the_limit_and_no_deeper),
		cmocka_unit_test(a_refused_element_leaves_the_reader_where_it_was),
		cmocka_unit_test(integers_keep_their_value),
		cmocka_unit_test(lengths_of_every_form_are_written_and_read),
		cmocka_unit_test(times_change_form_in_2050),
		cmocka_unit_test(special_forms_are_written_as_x690_wants),
		cmocka_unit_test(what_cannot_be_written_fails_once_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
