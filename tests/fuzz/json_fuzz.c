/* Input: JSON.  What the checker accepts, the writer writes again from its values, byte for byte. */
#include "base/text.h"
#include "issuer/log/json.h"
#include "tests/fuzz/fuzz.h"

/* A reader of canonical JSON only: it trusts the checker. */
struct reader {
	const uint8_t *at;
	struct canon_out *out;
};

static void rewrite(struct reader *, const char *key);

static struct writ_bytes
text_take(struct reader *r, struct writ_buf *text)
{
	for (r->at++; *r->at != '"'; r->at++) {
		uint8_t utf8[3], octets[2];
		size_t n = 1;

		utf8[0] = *r->at;
		if (*r->at == '\\') {
			r->at++;
			utf8[0] = *r->at == 'n' ? '\n' : *r->at == 'r' ? '\r' : *r->at == 't' ? '\t' : *r->at;
			if (*r->at == 'u') {
				unsigned c;

				FUZZ_CHECK(writ_unhex((struct writ_bytes){ r->at + 1, 4 }, octets, 2));
				c = (unsigned)octets[0] << 8 | octets[1];
				n = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
				utf8[0] = (uint8_t)(n == 1 ? c : n == 2 ? 0xc0 | c >> 6 : 0xe0 | c >> 12);
				utf8[n - 1] = (uint8_t)(n == 1 ? c : 0x80 | (c & 0x3f));
				if (n == 3)
					utf8[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
				r->at += 4;
			}
		}
		FUZZ_CHECK(fuzz_accepted(writ_buf_add(text, (struct writ_bytes){ utf8, n })));
	}
	r->at++;
	return writ_view(text);
}

static void
rewrite_object(struct reader *r, const char *key)
{
	canon_object(r->out, key);
	for (r->at++; *r->at != '}'; r->at += *r->at == ',') {
		char name[32] = "";
		size_t n = 0;

		for (r->at++; *r->at != '"'; r->at++)
			name[n++] = (char)*r->at;
		r->at += 2;
		rewrite(r, name);
	}
	r->at++;
	canon_end(r->out);
}

static void
rewrite(struct reader *r, const char *key)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(64 * 1024);

	if (*r->at == '{') {
		rewrite_object(r, key);
	} else if (*r->at == '[') {
		canon_array(r->out, key);
		for (r->at++; *r->at != ']'; r->at += *r->at == ',')
			rewrite(r, NULL);
		r->at++;
		canon_end(r->out);
	} else if (*r->at == '"') {
		canon_text(r->out, key, text_take(r, &text));
	} else if (*r->at == 't' || *r->at == 'f') {
		canon_bool(r->out, key, *r->at == 't');
		r->at += *r->at == 't' ? 4 : 5;
	} else {
		const bool negative = *r->at == '-';
		int64_t value = 0;

		for (r->at += negative; *r->at >= '0' && *r->at <= '9'; r->at++)
			value = value * 10 + (*r->at - '0');
		canon_int(r->out, key, negative ? -value : value);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(64 * 1024);
	struct canon_out out = canon_write(&again);
	struct reader r = { data, &out };

	if (!fuzz_accepted(canon_check((struct writ_bytes){ data, len }, 16 * 1024)))
		return 0;
	rewrite(&r, NULL);
	FUZZ_CHECK(fuzz_accepted(canon_finish(&out)));
	FUZZ_CHECK(again.len == len && memcmp(again.data, data, len) == 0);
	return 0;
}
