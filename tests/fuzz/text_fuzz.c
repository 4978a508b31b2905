/*
 * Input: any bytes.  What a strict reader takes has one spelling, so writing it again gives the input; what a writer
 * makes, a reader takes back; and a JSON string is one line that jansson reads.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/text.h"

static void
check_base64(struct writ_bytes input)
{
	for (enum base64_kind kind = BASE64_STD; kind <= BASE64_URL; kind++) {
		AUTO(writ_buf_done) struct writ_buf bytes = WRIT_BUF(SIZE_MAX), text = WRIT_BUF(SIZE_MAX);
		struct writ_bytes shown;

		if (!fuzz_accepted(writ_unbase64(kind, input, &bytes))) {
			FUZZ_CHECK(bytes.len == 0);
			continue;
		}
		FUZZ_CHECK(fuzz_accepted(kind == BASE64_URL ? writ_base64url(writ_view(&bytes), &text)
							    : writ_base64(writ_view(&bytes), &text)));
		shown = writ_view(&text);
		if (kind == BASE64_STD_LAX && shown.len > input.len)
			shown.len = input.len; /* what is missing is padding */
		FUZZ_CHECK(writ_equal(shown, input));
		for (size_t i = shown.len; i < text.len; i++)
			FUZZ_CHECK(text.data[i] == '=');
	}
}

static void
check_json(struct writ_bytes input)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(SIZE_MAX);
	json_t *json;

	FUZZ_CHECK(fuzz_accepted(writ_json_string(input, &text)));
	FUZZ_CHECK(writ_is_clean_utf8(writ_view(&text)));
	json = json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	FUZZ_CHECK(json && json_is_string(json));
	if (writ_is_clean_utf8(input))
		FUZZ_CHECK(json_string_length(json) == input.len &&
			   (input.len == 0 || memcmp(json_string_value(json), input.data, input.len) == 0));
	json_decref(json);
}

static void
check_numbers(struct writ_bytes input)
{
	char text[100];
	uint64_t n;
	uint32_t s;
	writ_time t;

	if (writ_decimal(input, UINT64_MAX, &n)) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
		FUZZ_CHECK(writ_equal(input, writ_str(text)));
	}
	if (writ_duration(input, 90000, &s))
		FUZZ_CHECK(s <= 90000 && input.len > 0);
	if (writ_time_from_generalized(input, &t))
		FUZZ_CHECK(writ_equal(writ_str(writ_time_generalized(t, text)), input));
	if (writ_time_from_rfc3339(input, &t))
		FUZZ_CHECK(writ_equal(writ_str(writ_time_rfc3339(t, text)), input));
}

static void
check_hex(struct writ_bytes input)
{
	char text[257];
	uint8_t back[128];

	input.len = input.len < 128 ? input.len : 128;
	writ_hex(input, text);
	FUZZ_CHECK(writ_unhex(writ_str(text), back, input.len));
	FUZZ_CHECK(writ_equal((struct writ_bytes){ back, input.len }, input));
	if (writ_unhex(input, back, input.len / 2))
		FUZZ_CHECK(input.len % 2 == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes input = { data, len };
	struct writ_err *err = writ_fail(WRIT_INVALID, "%.*s", (int)(len < 1000 ? len : 1000), (const char *)data);

	FUZZ_CHECK(writ_is_clean_utf8(writ_str(err->message)));
	writ_err_free(err);
	check_base64(input);
	check_json(input);
	check_numbers(input);
	check_hex(input);
	return 0;
}
