/*
 * Strict DER: one encoding for each value, or it is refused.  Knows nothing of X.509.
 */
#include "base/der.h"

#include "base/text.h"

#define OID_MAX 64   /* bytes of contents (CVE-2023-2650: work on huge OIDs) */
#define LENGTH_MAX 5 /* octets of a length: a count, and up to 4 */
#define HEADER_MAX (1 + LENGTH_MAX)

/* No tag number over 30, and not the end-of-contents, which only BER has. */
static inline bool
is_tag(uint8_t tag)
{
	return (tag & 0x1f) != 0x1f && (tag & ~0x20) != 0;
}

/* Reads one header; `*ret` is the contents.  Moves `in` past the element only on success. */
static bool
element(struct der *in, uint8_t *ret_tag, struct der *ret)
{
	const uint8_t *p = in->at;
	size_t left = (size_t)(in->end - in->at), len;

	if (left < 2)
		return false;
	if (!is_tag(p[0]))
		return false;
	*ret_tag = p[0];
	len = p[1];
	p += 2;
	left -= 2;
	if (len >= 0x80) {
		const size_t n = len & 0x7f;

		if (n == 0 || n > 4 || n > left || p[0] == 0)
			return false; /* indefinite, over 4 GiB, cut short, leading zero */
		len = 0;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | p[i];
		if (len < 0x80)
			return false;
		p += n;
		left -= n;
	}
	if (len > left)
		return false;
	ret->at = p;
	ret->end = p + len;
	in->at = ret->end;
	return true;
}

static bool
take_whole_any_length(struct der *in, uint8_t tag, struct der *ret, struct writ_bytes *ret_whole)
{
	struct der rest = *in, contents;
	uint8_t found;

	if (!element(&rest, &found, &contents) || found != tag)
		return false;
	if (ret_whole)
		*ret_whole = (struct writ_bytes){ in->at, (size_t)(rest.at - in->at) };
	*in = rest;
	if (ret)
		*ret = contents; /* last: `ret` may be `in` itself, to go inside and forget what follows */
	return true;
}

bool
der_take_whole(struct der *in, uint8_t tag, struct der *ret, struct writ_bytes *ret_whole)
{
	const uint8_t *const at = in->at, *const end = in->end;

	/* Nearly all are short: a fifth of the work on an OCSP request otherwise. */
	if (end - at < 2 || at[0] != tag || !is_tag(tag) || at[1] >= 0x80 || at[1] > end - at - 2)
		return take_whole_any_length(in, tag, ret, ret_whole);
	if (ret_whole)
		*ret_whole = (struct writ_bytes){ at, (size_t)2 + at[1] };
	in->at = at + 2 + at[1];
	if (ret)
		*ret = (struct der){ at + 2, at + 2 + at[1] };
	return true;
}

bool
der_take(struct der *in, uint8_t tag, struct der *ret)
{
	return der_take_whole(in, tag, ret, NULL);
}

bool
der_take_bytes(struct der *in, uint8_t tag, struct writ_bytes *ret)
{
	struct der contents;

	if (!der_take(in, tag, &contents))
		return false;
	*ret = der_rest(&contents);
	return true;
}

bool
der_take_any(struct der *in, uint8_t *ret_tag, struct writ_bytes *ret_whole)
{
	struct der rest = *in, contents;

	if (!element(&rest, ret_tag, &contents))
		return false;
	*ret_whole = (struct writ_bytes){ in->at, (size_t)(rest.at - in->at) };
	*in = rest;
	return true;
}

static bool
bool_is_strict(struct writ_bytes v)
{
	return v.len == 1 && (v.data[0] == 0 || v.data[0] == 0xff);
}

static bool
integer_is_strict(struct writ_bytes v)
{
	if (v.len == 0)
		return false;
	if (v.len == 1)
		return true;
	if (v.data[0] == 0 && v.data[1] < 0x80)
		return false;
	return !(v.data[0] == 0xff && v.data[1] >= 0x80);
}

static bool
bits_are_strict(struct writ_bytes v)
{
	if (v.len == 0 || v.data[0] > 7)
		return false;
	if (v.len == 1)
		return v.data[0] == 0;
	return (v.data[v.len - 1] & ((1u << v.data[0]) - 1)) == 0;
}

static bool
oid_is_strict(struct writ_bytes v)
{
	if (v.len == 0 || v.len > OID_MAX || v.data[v.len - 1] >= 0x80)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] == 0x80 && (i == 0 || v.data[i - 1] < 0x80))
			return false; /* an arc that begins with a zero digit */
	return true;
}

bool
der_take_bool(struct der *in, uint8_t tag, bool *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (!der_take_bytes(&rest, tag, &v) || !bool_is_strict(v))
		return false;
	*ret = v.data[0] != 0;
	*in = rest;
	return true;
}

bool
der_take_integer_bytes(struct der *in, uint8_t tag, struct writ_bytes *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (!der_take_bytes(&rest, tag, &v) || !integer_is_strict(v))
		return false;
	*ret = v;
	*in = rest;
	return true;
}

bool
der_take_int(struct der *in, uint8_t tag, int64_t *ret)
{
	struct der rest = *in;
	struct writ_bytes v;
	uint64_t bits;

	if (!der_take_integer_bytes(&rest, tag, &v) || v.len > 8)
		return false;
	bits = v.data[0] >= 0x80 ? UINT64_MAX : 0;
	for (size_t i = 0; i < v.len; i++)
		bits = bits << 8 | v.data[i];
	*ret = (int64_t)bits;
	*in = rest;
	return true;
}

bool
der_take_unsigned(struct der *in, uint8_t tag, uint64_t max, uint64_t *ret)
{
	struct der rest = *in;
	struct writ_bytes v;
	uint64_t value = 0;

	if (!der_take_integer_bytes(&rest, tag, &v) || v.data[0] >= 0x80 || v.len > 9 || (v.len == 9 && v.data[0] != 0))
		return false;
	for (size_t i = 0; i < v.len; i++)
		value = value << 8 | v.data[i];
	if (value > max)
		return false;
	*ret = value;
	*in = rest;
	return true;
}

bool
der_take_bits(struct der *in, uint8_t tag, struct writ_bytes *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (!der_take_bytes(&rest, tag, &v) || v.len == 0 || v.data[0] != 0)
		return false;
	*ret = (struct writ_bytes){ v.data + 1, v.len - 1 };
	*in = rest;
	return true;
}

bool
der_take_oid(struct der *in, struct writ_bytes *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (!der_take_bytes(&rest, DER_OID, &v) || !oid_is_strict(v))
		return false;
	*ret = v;
	*in = rest;
	return true;
}

/* YYMMDDHHMMSSZ: a GeneralizedTime without its century, which runs from 1950 to 2049. */
static bool
utc_time(struct writ_bytes v, writ_time *ret)
{
	uint8_t full[WRIT_GENERALIZED_LEN];
	bool before_1970;

	if (v.len != WRIT_GENERALIZED_LEN - 2)
		return false;
	before_1970 = v.data[0] == '5' || v.data[0] == '6';
	/* The calendar repeats after 400 years = 146,097 days, and our own form begins in 1970. */
	memcpy(full, before_1970 ? "23" : v.data[0] >= '7' ? "19" : "20", 2);
	memcpy(full + 2, v.data, v.len);
	if (!writ_time_from_generalized((struct writ_bytes){ full, sizeof(full) }, ret))
		return false;
	if (before_1970)
		*ret -= INT64_C(146097) * 86400;
	return true;
}

bool
der_take_generalized(struct der *in, uint8_t tag, writ_time *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (!der_take_bytes(&rest, tag, &v) || !writ_time_from_generalized(v, ret))
		return false;
	*in = rest;
	return true;
}

#define YEAR_2050 INT64_C(2524608000) /* 2050-01-01T00:00:00Z: GeneralizedTime from here on (RFC 5280 4.1.2.5) */

bool
der_take_time(struct der *in, writ_time *ret)
{
	struct der rest = *in;
	struct writ_bytes v;

	if (der_next_is(in, DER_UTC_TIME)) {
		if (!der_take_bytes(&rest, DER_UTC_TIME, &v) || !utc_time(v, ret))
			return false;
	} else if (!der_take_generalized(&rest, DER_GENERALIZED_TIME, ret) || *ret < YEAR_2050) {
		return false;
	}
	*in = rest;
	return true;
}

static bool
utf8_is_strict(struct writ_bytes v)
{
	while (v.len > 0) {
		uint32_t c;
		const size_t n = writ_utf8(v, &c);

		if (n == 0)
			return false;
		v.data += n;
		v.len -= n;
	}
	return true;
}

static bool
printable_is_strict(struct writ_bytes v)
{
	for (size_t i = 0; i < v.len; i++) {
		const uint8_t c = v.data[i];
		const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!alnum && (c == 0 || !strchr(" '()+,-./:=?", c)))
			return false;
	}
	return true;
}

static bool
bytes_within(struct writ_bytes v, uint8_t least, uint8_t most)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] < least || v.data[i] > most)
			return false;
	return true;
}

static bool
primitive_is_strict(uint8_t tag, struct writ_bytes v)
{
	writ_time t;

	switch (tag) {
	case DER_BOOLEAN:
		return bool_is_strict(v);
	case DER_INTEGER:
	case DER_ENUMERATED:
		return integer_is_strict(v);
	case DER_BIT_STRING:
		return bits_are_strict(v);
	case DER_NULL:
		return v.len == 0;
	case DER_OID:
		return oid_is_strict(v);
	case DER_UTF8:
		return utf8_is_strict(v);
	case DER_PRINTABLE:
		return printable_is_strict(v);
	case DER_IA5:
		return bytes_within(v, 0, 0x7f);
	case 0x1a: /* VisibleString */
		return bytes_within(v, 0x20, 0x7e);
	case DER_UTC_TIME:
		return utc_time(v, &t);
	case DER_GENERALIZED_TIME:
		return writ_time_from_generalized(v, &t);
	case 0x1c: /* UniversalString */
		return v.len % 4 == 0;
	case 0x1e: /* BMPString */
		return v.len % 2 == 0;
	case DER_OCTET_STRING:
	case 0x12: /* NumericString */
	case 0x14: /* TeletexString */
		return true;
	default:
		return (tag & 0xc0) != 0; /* application, context and private tags: the contents are somebody else's */
	}
}

static bool
walk(struct der *in, unsigned depth_left)
{
	struct writ_bytes last = { NULL, 0 };
	struct der inner;
	bool ascending;
	uint8_t tag;

	if (depth_left == 0 || !element(in, &tag, &inner))
		return false;
	if ((tag & 0x20) == 0)
		return primitive_is_strict(tag, der_rest(&inner));
	if ((tag & 0xc0) == 0 && tag != DER_SEQUENCE && tag != DER_SET)
		return false; /* a string in pieces, or a type that no certificate has */
	ascending = tag == DER_SET;
	while (!der_at_end(&inner)) {
		struct writ_bytes whole = { inner.at, 0 };

		if (!walk(&inner, depth_left - 1))
			return false;
		whole.len = (size_t)(inner.at - whole.data);
		if (ascending && writ_order(last, whole) > 0)
			return false; /* X.690 11.6 */
		last = whole;
	}
	return true;
}

bool
der_is_strict(struct writ_bytes bytes, unsigned max_depth)
{
	struct der in = der_read(bytes);

	return bytes.len > 0 && walk(&in, max_depth) && der_at_end(&in);
}

/* ---- writer ---- */

static void
out_fail(struct der_out *out, const char *why)
{
	if (!out->failed)
		out->why = why;
	out->failed = true;
}

static void
out_add(struct der_out *out, const uint8_t *data, size_t len)
{
	struct writ_err *err;

	if (out->failed)
		return;
	err = writ_buf_add(out->buf, (struct writ_bytes){ data, len });
	if (!err)
		return;
	writ_err_free(err);
	out_fail(out, NULL);
}

/* Writes the length octets of `len` into `octets`; returns how many. */
static size_t
length_octets(size_t len, uint8_t octets[LENGTH_MAX])
{
	size_t n = 1;

	if (len < 0x80) {
		octets[0] = (uint8_t)len;
		return 1;
	}
	while (n < 4 && len >> 8 * n != 0)
		n++;
	octets[0] = (uint8_t)(0x80 | n);
	for (size_t i = 0; i < n; i++)
		octets[1 + i] = (uint8_t)(len >> 8 * (n - 1 - i));
	return 1 + n;
}

void
der_open(struct der_out *out, uint8_t tag)
{
	const uint8_t header[2] = { tag, 0 };

	if (out->depth == DER_NEST_MAX) {
		out_fail(out, "nested too deep");
		return;
	}
	out_add(out, header, sizeof(header));
	if (!out->failed)
		out->open[out->depth++] = out->buf->len;
}

/* One octet was kept for the length; what a longer one needs is made by moving the contents. */
void
der_close(struct der_out *out)
{
	uint8_t octets[LENGTH_MAX];
	size_t start, len, n;

	if (out->failed)
		return;
	if (out->depth == 0) {
		out_fail(out, "more elements were closed than opened");
		return;
	}
	start = out->open[--out->depth];
	len = out->buf->len - start;
	if (len > UINT32_MAX) {
		out_fail(out, "longer than 4 GiB");
		return;
	}
	n = length_octets(len, octets);
	if (n > 1) {
		static const uint8_t room[LENGTH_MAX];

		out_add(out, room, n - 1);
		if (out->failed)
			return;
		memmove(out->buf->data + start + n - 1, out->buf->data + start, len);
	}
	memcpy(out->buf->data + start - 1, octets, n);
}

void
der_put(struct der_out *out, uint8_t tag, struct writ_bytes contents)
{
	uint8_t header[HEADER_MAX] = { tag };

	if (contents.len > UINT32_MAX) {
		out_fail(out, "longer than 4 GiB");
		return;
	}
	out_add(out, header, 1 + length_octets(contents.len, header + 1));
	out_add(out, contents.data, contents.len);
}

void
der_put_raw(struct der_out *out, struct writ_bytes whole)
{
	out_add(out, whole.data, whole.len);
}

void
der_put_bool(struct der_out *out, uint8_t tag, bool value)
{
	const uint8_t octet = value ? 0xff : 0;

	der_put(out, tag, (struct writ_bytes){ &octet, 1 });
}

void
der_put_int(struct der_out *out, uint8_t tag, int64_t value)
{
	uint8_t octets[8];
	size_t skip = 0;

	writ_put64(octets, (uint64_t)value);
	while (skip < 7 && !integer_is_strict((struct writ_bytes){ octets + skip, 8 - skip }))
		skip++;
	der_put(out, tag, (struct writ_bytes){ octets + skip, 8 - skip });
}

void
der_put_integer_bytes(struct der_out *out, uint8_t tag, struct writ_bytes magnitude)
{
	uint8_t header[HEADER_MAX + 1] = { tag };
	size_t pad, n;

	while (magnitude.len > 0 && magnitude.data[0] == 0) {
		magnitude.data++;
		magnitude.len--;
	}
	pad = magnitude.len == 0 || magnitude.data[0] >= 0x80; /* zero is one octet; a high bit would be a sign */
	if (magnitude.len >= UINT32_MAX) {
		out_fail(out, "longer than 4 GiB");
		return;
	}
	n = 1 + length_octets(magnitude.len + pad, header + 1);
	header[n] = 0;
	out_add(out, header, n + pad);
	out_add(out, magnitude.data, magnitude.len);
}

void
der_put_bits(struct der_out *out, struct writ_bytes octets)
{
	uint8_t header[HEADER_MAX + 1] = { DER_BIT_STRING };
	size_t n;

	if (octets.len >= UINT32_MAX) {
		out_fail(out, "longer than 4 GiB");
		return;
	}
	n = 1 + length_octets(octets.len + 1, header + 1);
	header[n] = 0; /* no unused bits */
	out_add(out, header, n + 1);
	out_add(out, octets.data, octets.len);
}

void
der_put_named_bits(struct der_out *out, uint16_t bits)
{
	uint8_t contents[3] = { 0, (uint8_t)(bits >> 8), (uint8_t)bits };
	const size_t len = bits == 0 ? 1 : contents[2] == 0 ? 2 : 3;

	if (len > 1)
		while ((contents[len - 1] >> contents[0] & 1) == 0)
			contents[0]++;
	der_put(out, DER_BIT_STRING, (struct writ_bytes){ contents, len });
}

void
der_put_oid(struct der_out *out, struct writ_bytes contents)
{
	if (!oid_is_strict(contents)) {
		out_fail(out, "a malformed object identifier");
		return;
	}
	der_put(out, DER_OID, contents);
}

/* False, and failed, for what our own readers would not read back. */
static bool
time_fits(struct der_out *out, writ_time t)
{
	if (t >= 0 && t <= WRIT_TIME_MAX)
		return true;
	out_fail(out, "a time before 1970 or after 9999");
	return false;
}

void
der_put_generalized(struct der_out *out, uint8_t tag, writ_time t)
{
	char text[WRIT_GENERALIZED_LEN + 1];

	if (time_fits(out, t))
		der_put(out, tag, writ_str(writ_time_generalized(t, text)));
}

void
der_put_time(struct der_out *out, writ_time t)
{
	char text[WRIT_GENERALIZED_LEN + 1];

	if (t >= YEAR_2050)
		der_put_generalized(out, DER_GENERALIZED_TIME, t);
	else if (time_fits(out, t))
		der_put(out, DER_UTC_TIME, writ_str(writ_time_generalized(t, text) + 2));
}

void
der_put_null(struct der_out *out)
{
	der_put(out, DER_NULL, (struct writ_bytes){ NULL, 0 });
}

struct writ_err *
der_finish(struct der_out *out, const char *what)
{
	if (out->failed && out->why)
		return writ_fail(WRIT_EXHAUSTED, "%s cannot be encoded: %s", what, out->why);
	if (out->failed)
		return writ_fail(WRIT_EXHAUSTED, "%s does not fit: the limit is %zu bytes", what, out->buf->limit);
	if (out->depth > 0)
		return writ_fail(WRIT_EXHAUSTED, "%s cannot be encoded: %u elements were left open", what, out->depth);
	return NULL;
}
