/*
 * Reading a compact JWS: three parts, a header of at most three members.  Knows no key (jws_key.c) and no claim.
 *
 * Lengths are bounded before anything is decoded, nesting before jansson sees a byte.
 */
#include "issuer/auth/jws.h"

#include <jansson.h>

#include "base/der.h"
#include "base/text.h"

static const char *const alg_names[] = {
	[JWS_ES256] = "ES256",
	[JWS_EDDSA] = "EdDSA",
	[JWS_RS256] = "RS256",
	[JWS_PS256] = "PS256",
};

const char *
jws_alg_name(enum jws_alg alg)
{
	return (size_t)alg < N_OF(alg_names) ? alg_names[alg] : "none";
}

static void
json_done(json_t **json)
{
	json_decref(*json);
}

static struct writ_bytes
text_of(const json_t *json)
{
	return (struct writ_bytes){ (const uint8_t *)json_string_value(json), json_string_length(json) };
}

WRIT_CHECKED static struct writ_err *
copied(struct writ_arena *arena, struct writ_bytes from, struct writ_bytes *ret)
{
	*ret = writ_arena_copy(arena, from);
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "a JWS needs more memory than one may have");
}

/* ---- the three parts ---- */

struct parts {
	struct writ_bytes header, payload, signature; /* base64url */
};

WRIT_CHECKED static struct writ_err *
split(struct writ_bytes compact, struct parts *ret)
{
	struct writ_bytes *const part[] = { &ret->header, &ret->payload, &ret->signature };
	size_t n = 0, from = 0;

	if (compact.len > JWS_MAX)
		return writ_fail(WRIT_INVALID, "JWS: %zu octets, over %d", compact.len, JWS_MAX);
	for (size_t i = 0; i <= compact.len; i++) {
		if (i < compact.len && compact.data[i] != '.')
			continue;
		if (n < N_OF(part))
			*part[n] = (struct writ_bytes){ compact.data + from, i - from };
		n++;
		from = i + 1;
	}
	if (n == 5)
		return writ_fail(WRIT_INVALID, "JWS: 5 parts: an encrypted token (JWE) is not accepted");
	if (n != N_OF(part))
		return writ_fail(WRIT_INVALID, "JWS: %zu parts divided by dots, and a compact one has 3", n);
	if (ret->header.len == 0 || ret->payload.len == 0)
		return writ_fail(WRIT_INVALID, "JWS: the %s is empty", ret->header.len == 0 ? "header" : "payload");
	return NULL;
}

/* `max`: octets, decoded. */
WRIT_CHECKED static struct writ_err *
decoded(const char *what, struct writ_bytes text, size_t max, struct writ_arena *arena, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(max);
	struct writ_err *err;

	err = writ_unbase64(BASE64_URL, text, &buf);
	if (err && err->code == WRIT_EXHAUSTED) {
		writ_err_free(err);
		return writ_fail(WRIT_INVALID, "JWS: the %s has over %zu octets", what, max);
	}
	if (err)
		return writ_because(err, "JWS: the %s", what);
	return copied(arena, writ_view(&buf), ret);
}

/* ---- the header ---- */

/* Members that would let a message choose its own key or its own rules are refused with the reason, others as unknown.
 */
WRIT_CHECKED static struct writ_err *
members_check(json_t *header)
{
	static const char *const key_members[] = { "jwk", "jku", "x5c", "x5u", "x5t", "x5t#S256" };
	const char *key;
	json_t *value;

	json_object_foreach(header, key, value)
	{
		if (strcmp(key, "alg") == 0 || strcmp(key, "kid") == 0 || strcmp(key, "typ") == 0)
			continue;
		if (strcmp(key, "crit") == 0)
			return writ_fail(WRIT_INVALID,
					 "JWS header: 'crit' is not accepted: no extension is known here");
		for (size_t i = 0; i < N_OF(key_members); i++)
			if (strcmp(key, key_members[i]) == 0)
				return writ_fail(
					WRIT_INVALID,
					"JWS header: '%s' is not accepted: the key is named by the configuration, "
					"never by the message",
					key);
		return writ_fail(WRIT_INVALID, "JWS header: member '%.60s' is unknown", key);
	}
	return NULL;
}

/* A text of printable ASCII without blanks, or nothing. */
WRIT_CHECKED static struct writ_err *
text_take(json_t *header, const char *name, struct writ_arena *arena, struct writ_bytes *ret)
{
	const json_t *value = json_object_get(header, name);
	struct writ_bytes text;

	*ret = (struct writ_bytes){ 0 };
	if (!value)
		return NULL;
	text = text_of(value);
	if (!json_is_string(value) || text.len == 0 || text.len > JWS_KID_MAX)
		return writ_fail(WRIT_INVALID, "JWS header: '%s' must be a text of 1 to %d characters", name,
				 JWS_KID_MAX);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x21 || text.data[i] > 0x7e)
			return writ_fail(WRIT_INVALID, "JWS header: '%s' must be printable ASCII without blanks", name);
	return copied(arena, text, ret);
}

/* "ES256 or EdDSA" */
static const char *
allowed_text(unsigned allowed, char out[64])
{
	size_t n = 0;

	out[0] = '\0';
	for (enum jws_alg alg = JWS_ES256; alg <= JWS_PS256; alg++)
		if (allowed & JWS_ALLOW(alg))
			n += (size_t)snprintf(out + n, 64 - n, "%s%s", n == 0 ? "" : " or ", alg_names[alg]);
	return out;
}

WRIT_CHECKED static struct writ_err *
alg_take(json_t *header, unsigned allowed, enum jws_alg *ret)
{
	const json_t *value = json_object_get(header, "alg");
	char wanted[64];

	if (!json_is_string(value))
		return writ_fail(WRIT_INVALID, "JWS header: 'alg' must be %s", allowed_text(allowed, wanted));
	for (enum jws_alg alg = JWS_ES256; alg <= JWS_PS256; alg++)
		if ((allowed & JWS_ALLOW(alg)) && writ_equal(text_of(value), writ_str(alg_names[alg]))) {
			*ret = alg;
			return NULL;
		}
	return writ_fail(WRIT_INVALID, "JWS header: 'alg' is '%.20s', and must be %s", json_string_value(value),
			 allowed_text(allowed, wanted));
}

/* In our words where the library's would not tell. */
static const char *
syntax_text(const json_error_t *why)
{
	switch (json_error_code(why)) {
	case json_error_duplicate_key:
		return "a member stands there twice";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "a NUL in a text";
	case json_error_invalid_utf8:
		return "not UTF-8";
	default:
		return why->text;
	}
}

WRIT_CHECKED static struct writ_err *
header_read(struct writ_bytes text, unsigned allowed, struct writ_arena *arena, struct jws *ret)
{
	AUTO(json_done) json_t *header = NULL;
	struct writ_err *err;
	json_error_t why;

	if (!writ_json_shallow(text, JWS_HEADER_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "JWS header: it nests deeper than %d", JWS_HEADER_DEPTH_MAX);
	header = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
	if (!header)
		return writ_fail(WRIT_INVALID, "JWS header: not JSON: %.120s", syntax_text(&why));
	if (!json_is_object(header))
		return writ_fail(WRIT_INVALID, "JWS header: not a JSON object");
	err = members_check(header);
	if (!err)
		err = alg_take(header, allowed, &ret->alg);
	if (!err)
		err = text_take(header, "kid", arena, &ret->kid);
	if (!err)
		err = text_take(header, "typ", arena, &ret->typ);
	return err;
}

/* ---- the signature ---- */

/* The order n of P-256's base point (SEC 2, 2.4.2), and n / 2 rounded down. */
static const uint8_t p256_order[32] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
					0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
					0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };
static const uint8_t p256_half[32] = { 0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
				       0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
				       0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8 };

WRIT_CHECKED static struct writ_err *
es256_check(struct writ_bytes signature, bool low_s)
{
	static const uint8_t zero[32] = { 0 };

	if (signature.len != 64)
		return writ_fail(WRIT_INVALID, "JWS: an ES256 signature is r and s, 64 octets, and this one has %zu",
				 signature.len);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *const v = signature.data + 32 * i;

		if (memcmp(v, zero, 32) == 0 || memcmp(v, p256_order, 32) >= 0)
			return writ_fail(WRIT_INVALID, "JWS: %c of the ES256 signature is not from 1 to n - 1",
					 i == 0 ? 'r' : 's');
	}
	if (low_s && memcmp(signature.data + 32, p256_half, 32) > 0)
		return writ_fail(WRIT_INVALID,
				 "JWS: s of the ES256 signature is over n / 2: its one accepted form has n - s");
	return NULL;
}

/* n - s, where s is over n / 2: (r, n - s) is the same signature.  Public values: time does not matter. */
static void
lower(uint8_t s[32])
{
	unsigned borrow = 0;

	if (memcmp(s, p256_half, 32) <= 0)
		return;
	for (size_t i = 32; i-- > 0;) {
		const unsigned take = s[i] + borrow;

		borrow = p256_order[i] < take;
		s[i] = (uint8_t)(p256_order[i] - take);
	}
}

/* One INTEGER as 32 octets. */
static bool
take_number(struct der *in, uint8_t out[32])
{
	struct writ_bytes v;

	if (!der_take_integer_bytes(in, DER_INTEGER, &v))
		return false;
	while (v.len > 0 && v.data[0] == 0) {
		v.data++;
		v.len--;
	}
	if (v.len > 32)
		return false;
	memset(out, 0, 32);
	memcpy(out + 32 - v.len, v.data, v.len);
	return true;
}

struct writ_err *
jws_signature(enum key_kind kind, struct writ_bytes signature, struct writ_buf *ret)
{
	struct der in = der_read(signature), pair;
	struct writ_err *err;
	uint8_t raw[64];

	if (kind == KEY_ED25519 && signature.len != sizeof(raw))
		return writ_fail(WRIT_INVALID, "the Ed25519 signature has not 64 octets");
	if (kind == KEY_ED25519)
		return writ_buf_add(ret, signature);
	if (kind != KEY_P256)
		return writ_fail(WRIT_INVALID, "%s signs no grant: use P-256 or Ed25519", key_kind_name(kind));
	if (signature.len == 0 || !der_take(&in, DER_SEQUENCE, &pair) || !der_at_end(&in) || !take_number(&pair, raw) ||
	    !take_number(&pair, raw + 32) || !der_at_end(&pair))
		return writ_fail(WRIT_INVALID, "the signature is not the DER of two integers that fit P-256");
	lower(raw + 32);
	err = es256_check((struct writ_bytes){ raw, sizeof(raw) }, true);
	return err ? err : writ_buf_add(ret, (struct writ_bytes){ raw, sizeof(raw) });
}

WRIT_CHECKED static struct writ_err *
signature_check(const struct jws *jws, unsigned allowed)
{
	switch (jws->alg) {
	case JWS_ES256:
		return es256_check(jws->signature, allowed & JWS_LOW_S);
	case JWS_EDDSA:
		if (jws->signature.len != 64)
			return writ_fail(WRIT_INVALID, "JWS: an Ed25519 signature has 64 octets, and this one %zu",
					 jws->signature.len);
		return NULL;
	case JWS_RS256:
	case JWS_PS256:
		if (jws->signature.len < JWS_RSA_MIN / 8)
			return writ_fail(WRIT_INVALID, "JWS: an RSA signature has at least %d octets, and this one %zu",
					 JWS_RSA_MIN / 8, jws->signature.len);
		return NULL;
	}
	return writ_fail(WRIT_BROKEN, "a JWS of no algorithm");
}

struct writ_err *
jws_parse(struct writ_bytes compact, unsigned allowed, struct writ_arena *arena, struct jws *ret)
{
	struct writ_bytes header = { 0 };
	struct parts parts = { 0 };
	struct writ_err *err;

	*ret = (struct jws){ 0 };
	err = split(compact, &parts);
	if (!err)
		err = decoded("header", parts.header, JWS_HEADER_MAX, arena, &header);
	if (!err)
		err = header_read(header, allowed, arena, ret);
	if (!err)
		err = decoded("payload", parts.payload, JWS_MAX, arena, &ret->payload);
	if (!err)
		err = decoded("signature", parts.signature, JWS_RSA_MAX / 8, arena, &ret->signature);
	if (!err)
		err = signature_check(ret, allowed);
	ret->signed_ = (struct writ_bytes){ compact.data, parts.header.len + 1 + parts.payload.len };
	return err;
}
