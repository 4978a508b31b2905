/*
 * Canonical JSON, written and checked.  The two halves stand together so that they cannot come to disagree: what
 * canon_write() makes, canon_check() accepts, and nothing else.  Knows no entry.
 */
#include "issuer/log/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"

#define KEY_LEN_MAX 31			/* octets of a key: json_out.last holds it with its NUL */
#define INT_MAX_JSON ((int64_t)1 << 53) /* exclusive: beyond, readers in doubles lose digits (RFC 8259 6) */

static bool
key_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* ---- writer ---- */

struct canon_out
canon_write(struct writ_buf *buf)
{
	return (struct canon_out){ .buf = buf };
}

static void
put(struct canon_out *out, struct writ_bytes bytes)
{
	struct writ_err *err = out->failed ? NULL : writ_buf_add(out->buf, bytes);

	if (err)
		out->failed = true;
	writ_err_free(err);
}

static bool
key_ok(const char *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!key_char((uint8_t)key[i]))
			return false;
	return len > 0 && len <= KEY_LEN_MAX;
}

/* The comma and the key before a value.  `last` stays empty in an array, so a key there, or none in an object, is seen.
 */
static void
put_key(struct canon_out *out, const char *key)
{
	const size_t len = key ? strlen(key) : 0;
	char *last;

	if (out->depth == 0) {
		out->failed = out->failed || key || out->buf->len > 0;
		return;
	}
	last = out->last[out->depth - 1];
	if ((key != NULL) == (last[0] == '[') || (key && (!key_ok(key, len) || strcmp(last, key) >= 0)))
		out->failed = true;
	if (!out->first[out->depth - 1])
		put(out, WRIT_LIT(","));
	out->first[out->depth - 1] = false;
	if (!key || out->failed)
		return;
	memcpy(last, key, len + 1);
	put(out, WRIT_LIT("\""));
	put(out, (struct writ_bytes){ (const uint8_t *)key, len });
	put(out, WRIT_LIT("\":"));
}

/* '[' is no key's first character, and marks an array's level. */
static void
nest(struct canon_out *out, const char *key, const char *open, const char *mark)
{
	put_key(out, key);
	put(out, writ_str(open));
	if (out->depth == CANON_NEST_MAX)
		out->failed = true;
	if (out->failed)
		return;
	snprintf(out->last[out->depth], sizeof(out->last[0]), "%s", mark);
	out->first[out->depth] = true;
	out->depth++;
}

void
canon_object(struct canon_out *out, const char *key)
{
	nest(out, key, "{", "");
}

void
canon_array(struct canon_out *out, const char *key)
{
	nest(out, key, "[", "[");
}

void
canon_end(struct canon_out *out)
{
	if (out->depth == 0)
		out->failed = true;
	if (out->failed)
		return;
	out->depth--;
	put(out, out->last[out->depth][0] == '[' ? WRIT_LIT("]") : WRIT_LIT("}"));
}

void
canon_text(struct canon_out *out, const char *key, struct writ_bytes text)
{
	struct writ_err *err;

	put_key(out, key);
	err = out->failed ? NULL : writ_json_string(text, out->buf);
	if (err)
		out->failed = true;
	writ_err_free(err);
}

void
canon_hex(struct canon_out *out, const char *key, struct writ_bytes bytes)
{
	static const char digits[] = "0123456789abcdef";
	struct writ_err *err;
	uint8_t *at;

	put_key(out, key);
	put(out, WRIT_LIT("\""));
	err = out->failed ? NULL : writ_buf_grow(out->buf, 2 * bytes.len, &at);
	if (err)
		out->failed = true;
	writ_err_free(err);
	for (size_t i = 0; !out->failed && i < bytes.len; i++) {
		at[2 * i] = (uint8_t)digits[bytes.data[i] >> 4];
		at[2 * i + 1] = (uint8_t)digits[bytes.data[i] & 15];
	}
	put(out, WRIT_LIT("\""));
}

void
canon_int(struct canon_out *out, const char *key, int64_t value)
{
	char digits[24];
	int n;

	put_key(out, key);
	if (value <= -INT_MAX_JSON || value >= INT_MAX_JSON)
		out->failed = true;
	n = snprintf(digits, sizeof(digits), "%" PRId64, value);
	put(out, (struct writ_bytes){ (const uint8_t *)digits, (size_t)n });
}

void
canon_bool(struct canon_out *out, const char *key, bool value)
{
	put_key(out, key);
	put(out, value ? WRIT_LIT("true") : WRIT_LIT("false"));
}

void
canon_raw(struct canon_out *out, const char *key, struct writ_bytes canonical)
{
	put_key(out, key);
	put(out, canonical);
}

struct writ_err *
canon_finish(struct canon_out *out)
{
	if (out->failed)
		return writ_fail(WRIT_EXHAUSTED, "an entry's JSON is over %zu bytes or not canonical", out->buf->limit);
	if (out->depth != 0 || out->buf->len == 0)
		return writ_fail(WRIT_BROKEN, "an entry's JSON is not one whole object");
	return NULL;
}

/* ---- checker ---- */

struct in {
	const uint8_t *at, *end;
	const char *why; /* of the first refusal */
};

static bool
refuse(struct in *in, const char *why)
{
	if (!in->why)
		in->why = why;
	return false;
}

static bool
take(struct in *in, uint8_t c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static bool
lower_hex(const uint8_t *p, uint32_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < 4; i++) {
		const bool digit = p[i] >= '0' && p[i] <= '9', letter = p[i] >= 'a' && p[i] <= 'f';

		if (!digit && !letter)
			return false;
		*ret = *ret << 4 | (uint32_t)(digit ? p[i] - '0' : p[i] - 'a' + 10);
	}
	return true;
}

/* After the backslash: exactly the escapes that writ_json_string() makes. */
static bool
check_escape(struct in *in)
{
	uint32_t c;

	if (in->at == in->end)
		return refuse(in, "a string without end");
	switch (*in->at++) {
	case '"':
	case '\\':
	case 'n':
	case 'r':
	case 't':
		return true;
	case 'u':
		if (in->end - in->at < 4 || !lower_hex(in->at, &c))
			return refuse(in, "an escape that is not \\u and four lower-case hex digits");
		if (!writ_is_control(c) || c == '\n' || c == '\r' || c == '\t')
			return refuse(in, "an escape of a character that needs none");
		in->at += 4;
		return true;
	default:
		return refuse(in, "an unknown escape");
	}
}

static bool
check_string(struct in *in)
{
	if (!take(in, '"'))
		return refuse(in, "no string where one must be");
	while (in->at < in->end) {
		uint32_t c;
		size_t n;

		if (take(in, '"'))
			return true;
		if (take(in, '\\')) {
			if (!check_escape(in))
				return false;
			continue;
		}
		n = *in->at >= 0x20 && *in->at < 0x7f
			    ? 1
			    : writ_utf8((struct writ_bytes){ in->at, (size_t)(in->end - in->at) }, &c);
		if (n == 0)
			return refuse(in, "a string that is not UTF-8");
		if ((*in->at < 0x20 || *in->at >= 0x7f) && writ_is_control(c))
			return refuse(in, "a raw control character in a string");
		in->at += n;
	}
	return refuse(in, "a string without end");
}

/* -?(0|[1-9][0-9]*), below 2^53, and no -0: one number has one spelling. */
static bool
check_number(struct in *in)
{
	const bool negative = take(in, '-');
	const uint8_t *begin = in->at;
	uint64_t value;

	while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
		in->at++;
	if (!writ_decimal((struct writ_bytes){ begin, (size_t)(in->at - begin) }, (uint64_t)INT_MAX_JSON - 1, &value))
		return refuse(in, "a number that is not a plain integer below 2^53");
	if (negative && value == 0)
		return refuse(in, "a number -0");
	return true;
}

static bool check_value(struct in *in, unsigned depth);

static bool
check_word(struct in *in, const char *word)
{
	const size_t len = strlen(word);

	if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0)
		return refuse(in, "a word that is neither true nor false");
	in->at += len;
	return true;
}

static bool
check_key(struct in *in, struct writ_bytes *last)
{
	struct writ_bytes key;

	if (!take(in, '"'))
		return refuse(in, "no key where one must be");
	key.data = in->at;
	while (in->at < in->end && key_char(*in->at))
		in->at++;
	key.len = (size_t)(in->at - key.data);
	if (!take(in, '"') || !take(in, ':') || key.len == 0 || key.len > KEY_LEN_MAX)
		return refuse(in, "a key that is not 1 to 31 of [A-Za-z0-9_], a quote and a colon");
	if (last->data && writ_order(*last, key) >= 0)
		return refuse(in, "keys that are not in strictly ascending order");
	*last = key;
	return true;
}

static bool
check_object(struct in *in, unsigned depth)
{
	struct writ_bytes last = { NULL, 0 };

	if (depth > CANON_NEST_MAX)
		return refuse(in, "nesting over 8");
	if (take(in, '}'))
		return true;
	do
		if (!check_key(in, &last) || !check_value(in, depth))
			return false;
	while (take(in, ','));
	return take(in, '}') || refuse(in, "an object without end");
}

static bool
check_array(struct in *in, unsigned depth)
{
	if (depth > CANON_NEST_MAX)
		return refuse(in, "nesting over 8");
	if (take(in, ']'))
		return true;
	do
		if (!check_value(in, depth))
			return false;
	while (take(in, ','));
	return take(in, ']') || refuse(in, "an array without end");
}

/* `depth`: of what stands around it.  Recursion ends at CANON_NEST_MAX (I14). */
static bool
check_value(struct in *in, unsigned depth)
{
	if (take(in, '{'))
		return check_object(in, depth + 1);
	if (take(in, '['))
		return check_array(in, depth + 1);
	if (in->at == in->end)
		return refuse(in, "an end where a value must be");
	switch (*in->at) {
	case '"':
		return check_string(in);
	case 't':
		return check_word(in, "true");
	case 'f':
		return check_word(in, "false");
	default:
		return check_number(in);
	}
}

struct writ_err *
canon_check(struct writ_bytes text, size_t max_len)
{
	struct in in = { text.data, text.data + text.len, NULL };

	if (text.len > max_len)
		return writ_fail(WRIT_EXHAUSTED, "JSON of %zu bytes is over the limit of %zu", text.len, max_len);
	if (!take(&in, '{'))
		return writ_fail(WRIT_INVALID, "JSON does not begin with an object");
	if (!check_object(&in, 1) || in.at != in.end)
		return writ_fail(WRIT_INVALID, "JSON is not canonical at byte %zu: %s", (size_t)(in.at - text.data),
				 in.why ? in.why : "something after the object");
	return NULL;
}
