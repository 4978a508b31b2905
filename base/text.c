/*
 * Bytes as text.  Readers take the canonical form and nothing else.
 */
#include "base/text.h"

#include <stdio.h>

static const char hex_digits[] = "0123456789abcdef";
static const char digits_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char digits_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *
writ_hex(struct writ_bytes bytes, char *out)
{
	for (size_t i = 0; i < bytes.len; i++) {
		out[2 * i] = hex_digits[bytes.data[i] >> 4];
		out[2 * i + 1] = hex_digits[bytes.data[i] & 15];
	}
	out[2 * bytes.len] = '\0';
	return out;
}

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
writ_unhex(struct writ_bytes text, uint8_t *out, size_t len)
{
	if (len > SIZE_MAX / 2 || text.len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		const int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static struct writ_err *
base64_write(const char *digits, bool pad, struct writ_bytes in, struct writ_buf *ret)
{
	const size_t whole = in.len / 3, left = in.len % 3;
	const size_t tail = left == 0 ? 0 : pad ? 4 : left + 1;
	const uint8_t *p = in.data;
	struct writ_err *err;
	uint8_t *out;

	if (whole > (SIZE_MAX - 4) / 4)
		return writ_fail(WRIT_EXHAUSTED, "%zu bytes are too many for base64", in.len);
	err = writ_buf_grow(ret, 4 * whole + tail, &out);
	if (err)
		return err;
	for (size_t i = 0; i < whole; i++, p += 3, out += 4) {
		const uint32_t three = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		const char four[4] = { digits[three >> 18], digits[three >> 12 & 63], digits[three >> 6 & 63], digits[three & 63] };

		memcpy(out, four, sizeof(four));
	}
	if (left == 0)
		return NULL;
	*out++ = (uint8_t)digits[p[0] >> 2];
	*out++ = (uint8_t)digits[(p[0] & 3) << 4 | (left == 2 ? p[1] >> 4 : 0)];
	if (left == 2)
		*out++ = (uint8_t)digits[(p[1] & 15) << 2];
	for (size_t i = left + 1; i < tail; i++)
		*out++ = '=';
	return NULL;
}

struct writ_err *
writ_base64(struct writ_bytes bytes, struct writ_buf *ret)
{
	return base64_write(digits_std, true, bytes, ret);
}

struct writ_err *
writ_base64url(struct writ_bytes bytes, struct writ_buf *ret)
{
	return base64_write(digits_url, false, bytes, ret);
}

static int
base64_value(enum base64_kind kind, uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (kind == BASE64_URL ? '-' : '+'))
		return 62;
	if (c == (kind == BASE64_URL ? '_' : '/'))
		return 63;
	return -1;
}

/* Drops the padding of `text`, when it is as `kind` wants it. */
static bool
base64_unpad(enum base64_kind kind, struct writ_bytes *text)
{
	const size_t with = text->len;
	size_t n_pad = 0;

	if (kind != BASE64_URL)
		while (n_pad < 2 && text->len > 0 && text->data[text->len - 1] == '=') {
			text->len--;
			n_pad++;
		}
	if (text->len % 4 == 1)
		return false;
	if (n_pad == 0)
		return kind != BASE64_STD || with % 4 == 0;
	return with % 4 == 0;
}

static struct writ_err *
base64_read(enum base64_kind kind, struct writ_bytes text, uint8_t *out)
{
	uint32_t bits = 0;
	unsigned n_bits = 0;

	for (size_t i = 0; i < text.len; i++) {
		const int value = base64_value(kind, text.data[i]);

		if (value < 0)
			return writ_fail(WRIT_INVALID, "base64%s: byte 0x%02x at offset %zu is not of the alphabet",
					 kind == BASE64_URL ? "url" : "", text.data[i], i);
		bits = bits << 6 | (uint32_t)value;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		n_bits -= 8;
		*out++ = (uint8_t)(bits >> n_bits);
	}
	if ((bits & ((1u << n_bits) - 1)) != 0)
		return writ_fail(WRIT_INVALID, "base64%s: the last character has bits that belong to no byte",
				 kind == BASE64_URL ? "url" : "");
	return NULL;
}

struct writ_err *
writ_unbase64(enum base64_kind kind, struct writ_bytes text, struct writ_buf *ret)
{
	const size_t before = ret->len;
	struct writ_err *err;
	uint8_t *out;

	if (!base64_unpad(kind, &text))
		return writ_fail(WRIT_INVALID, "base64%s: the length or the padding is wrong",
				 kind == BASE64_URL ? "url" : "");
	err = writ_buf_grow(ret, text.len / 4 * 3 + (text.len % 4 > 0 ? text.len % 4 - 1 : 0), &out);
	if (err)
		return err;
	err = base64_read(kind, text, out);
	if (err)
		ret->len = before;
	return err;
}

bool
writ_json_shallow(struct writ_bytes json, unsigned max)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < json.len; i++) {
		const uint8_t c = json.data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

size_t
writ_utf8(struct writ_bytes text, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by length: anything smaller is overlong */
	const uint8_t *p = text.data;
	uint32_t c;
	size_t n;

	if (text.len == 0)
		return 0;
	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n > text.len)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return n;
}

bool
writ_is_control(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
		return true;
	if (c == 0x061c || c == 0x200e || c == 0x200f)
		return true;		       /* ALM, LRM, RLM */
	return (c >= 0x2028 && c <= 0x202e) || /* LS, PS, embeddings and overrides */
	       (c >= 0x2066 && c <= 0x2069);   /* isolates */
}

bool
writ_is_clean_utf8(struct writ_bytes text)
{
	while (text.len > 0) {
		uint32_t c;
		const size_t n = writ_utf8(text, &c);

		if (n == 0 || writ_is_control(c))
			return false;
		text.data += n;
		text.len -= n;
	}
	return true;
}

/* The escape of one character or stray byte, or nothing when it may stand as it is. */
static int
json_escape(size_t n, uint32_t c, uint8_t byte, char out[8])
{
	if (n == 0)
		return snprintf(out, 8, "\\\\x%02x", byte); /* reads as \xNN: JSON has no way to write a byte */
	if (c == '"' || c == '\\')
		return snprintf(out, 8, "\\%c", (int)c);
	if (c == '\n')
		return snprintf(out, 8, "\\n");
	if (c == '\r')
		return snprintf(out, 8, "\\r");
	if (c == '\t')
		return snprintf(out, 8, "\\t");
	if (writ_is_control(c))
		return snprintf(out, 8, "\\u%04x", (unsigned)c & 0xffff);
	return 0;
}

struct writ_err *
writ_json_string(struct writ_bytes text, struct writ_buf *ret)
{
	const size_t before = ret->len;
	struct writ_err *err = writ_buf_add(ret, WRIT_LIT("\""));
	size_t plain = 0; /* bytes that may be copied as they are */

	while (!err && plain < text.len) {
		const struct writ_bytes rest = { text.data + plain, text.len - plain };
		uint32_t c = 0;
		char escape[8];
		const size_t n = writ_utf8(rest, &c);
		const int n_escape = json_escape(n, c, rest.data[0], escape);

		if (n_escape == 0) {
			plain += n;
			continue;
		}
		err = writ_buf_add(ret, (struct writ_bytes){ text.data, plain });
		if (!err)
			err = writ_buf_add(ret, (struct writ_bytes){ (const uint8_t *)escape, (size_t)n_escape });
		plain += n > 0 ? n : 1;
		text.data += plain;
		text.len -= plain;
		plain = 0;
	}
	if (!err)
		err = writ_buf_add(ret, text);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("\""));
	if (err)
		ret->len = before;
	return err;
}

bool
writ_decimal(struct writ_bytes text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.len == 0 || (text.len > 1 && text.data[0] == '0'))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		const unsigned digit = (unsigned)text.data[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (value > max)
		return false;
	*ret = value;
	return true;
}

bool
writ_duration(struct writ_bytes text, uint32_t max_s, uint32_t *ret_s)
{
	uint64_t n, unit = 1;

	if (text.len == 0)
		return false;
	switch (text.data[text.len - 1]) {
	case 's':
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	default:
		text.len++; /* no unit: plain seconds */
		break;
	}
	text.len--;
	if (!writ_decimal(text, max_s / unit, &n))
		return false;
	*ret_s = (uint32_t)(n * unit);
	return true;
}
