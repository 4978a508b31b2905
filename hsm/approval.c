/*
 * Approvals of PCR values: their file, and the digests of TPM 2.0 policies in software.
 */
#include "hsm/approval.h"

#include <stdio.h>

#include "base/pubkey.h"
#include "base/text.h"

#define APPROVAL_TITLE "writ pcr approval 1"
#define REPORT_TITLE "writ pcr values 1"

/* TPM 2.0 part 2: algorithms, command codes, attributes, comparison. */
#define ALG_SHA256 0x000b
#define ALG_NULL 0x0010
#define ALG_ECC 0x0023
#define CURVE_P256 0x0003
#define CC_POLICY_NV 0x149
#define CC_POLICY_AUTHORIZE 0x16a
#define CC_POLICY_AUTH_VALUE 0x16b
#define CC_POLICY_PCR 0x17f
#define ATTRIBUTES_OF_KEY 0x00060040 /* sign, decrypt, userWithAuth */
#define EO_UNSIGNED_LE 0x0009

/* The approval counter's public area, once it was raised for the first time: hsm/tpm2_nv.c makes it so. */
#define COUNTER_ATTRIBUTES 0x22040014 /* a counter, authRead, authWrite, noDA, written */

#define PCR_DEBUG 16	   /* anybody may reset this one, */
#define PCR_APPLICATION 23 /* and this one */

/* ---- lines ---- */

struct lines {
	struct writ_bytes rest;
	unsigned number; /* of the line last looked at, from 1 */
};

static struct writ_err *
line_wrong(const struct lines *in, const char *wanted)
{
	return writ_fail(WRIT_INVALID, "line %u: wanted is '%s'", in->number, wanted);
}

/* The next line without its LF; false at the end, or where the last line has none. */
static bool
line_next(struct lines *in, struct writ_bytes *ret)
{
	const uint8_t *const lf = in->rest.len > 0 ? memchr(in->rest.data, '\n', in->rest.len) : NULL;

	in->number++;
	if (!lf)
		return false;
	*ret = (struct writ_bytes){ in->rest.data, (size_t)(lf - in->rest.data) };
	in->rest = (struct writ_bytes){ lf + 1, in->rest.len - ret->len - 1 };
	return true;
}

/* What follows "NAME: " on the next line. */
static bool
line_value(struct lines *in, const char *name, struct writ_bytes *ret)
{
	const size_t len = strlen(name);
	struct writ_bytes line;

	if (!line_next(in, &line) || line.len < len + 2 || memcmp(line.data, name, len) != 0 || line.data[len] != ':' ||
	    line.data[len + 1] != ' ')
		return false;
	*ret = (struct writ_bytes){ line.data + len + 2, line.len - len - 2 };
	return true;
}

/* Lower-case digits, since there is one form of everything. */
static bool
hex_value(struct writ_bytes text, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 'A' && text.data[i] <= 'F')
			return false;
	return writ_unhex(text, out, len);
}

static struct writ_err *
title_read(struct lines *in, const char *title)
{
	struct writ_bytes line;

	if (!line_next(in, &line) || !writ_equal(line, writ_str(title)))
		return line_wrong(in, title);
	return NULL;
}

/* "writ-ca-" and what a trust domain is made of. */
static struct writ_err *
ref_check(const struct lines *in, struct writ_bytes text)
{
	const size_t prefix = strlen(APPROVAL_REF_PREFIX);

	if (text.len <= prefix || text.len > APPROVAL_REF_MAX || memcmp(text.data, APPROVAL_REF_PREFIX, prefix) != 0)
		return line_wrong(in, "for: writ-ca-TRUST-DOMAIN");
	for (size_t i = prefix; i < text.len; i++) {
		const uint8_t c = text.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return line_wrong(in, "for: writ-ca-TRUST-DOMAIN");
	}
	return NULL;
}

static struct writ_err *
ref_read(struct lines *in, char ret[APPROVAL_REF_MAX + 1])
{
	struct writ_bytes text;
	struct writ_err *err;

	if (!line_value(in, "for", &text))
		return line_wrong(in, "for: writ-ca-TRUST-DOMAIN");
	err = ref_check(in, text);
	if (err)
		return err;
	memcpy(ret, text.data, text.len);
	ret[text.len] = '\0';
	return NULL;
}

static struct writ_err *
number_read(struct lines *in, const char *name, uint64_t *ret)
{
	struct writ_bytes text;

	if (line_value(in, name, &text) && writ_decimal(text, UINT64_MAX, ret))
		return NULL;
	return writ_fail(WRIT_INVALID, "line %u: wanted is '%s: ' and a number", in->number, name);
}

static bool
pcr_line_is_next(const struct lines *in)
{
	return in->rest.len > 4 && memcmp(in->rest.data, "pcr ", 4) == 0;
}

/* "pcr N: HEX". */
static struct writ_err *
pcr_read(struct lines *in, struct pcr_values *ret)
{
	struct writ_bytes line = { NULL, 0 }, number, value;
	const uint8_t *colon = NULL;
	uint64_t n;

	if (line_next(in, &line))
		colon = memchr(line.data, ':', line.len);
	if (!colon || (size_t)(colon - line.data) + 2 > line.len || colon[1] != ' ')
		return line_wrong(in, "pcr N: 64 hex digits");
	number = (struct writ_bytes){ line.data + 4, (size_t)(colon - line.data) - 4 };
	value = (struct writ_bytes){ colon + 2, line.len - (size_t)(colon - line.data) - 2 };
	if (!writ_decimal(number, APPROVAL_PCR_END - 1, &n))
		return line_wrong(in, "pcr N: 64 hex digits");
	if (ret->mask >> n != 0)
		return writ_fail(WRIT_INVALID, "line %u: PCR %u follows a higher one, or itself", in->number,
				 (unsigned)n);
	if (!hex_value(value, ret->value[n], SHA256_LEN))
		return line_wrong(in, "pcr N: 64 hex digits");
	ret->mask |= UINT32_C(1) << n;
	return NULL;
}

static struct writ_err *
pcrs_read(struct lines *in, struct pcr_values *ret)
{
	struct writ_err *err = NULL;

	while (!err && pcr_line_is_next(in))
		err = pcr_read(in, ret);
	return err ? err : pcr_mask_check(ret->mask);
}

static struct writ_err *
end_read(const struct lines *in)
{
	return in->rest.len == 0 ? NULL
				 : writ_fail(WRIT_INVALID, "something follows the last line, line %u", in->number);
}

static struct writ_err *
size_check(struct writ_bytes text)
{
	if (text.len <= APPROVAL_FILE_MAX)
		return NULL;
	return writ_fail(WRIT_INVALID, "%zu bytes are over the limit of %d", text.len, APPROVAL_FILE_MAX);
}

static struct writ_err *
signature_read(struct lines *in, struct approval *ret)
{
	struct writ_bytes text;

	if (!line_value(in, "signature", &text) || text.len == 0 || text.len % 2 != 0 ||
	    text.len > 2 * APPROVAL_SIGNATURE_MAX || !hex_value(text, ret->signature, text.len / 2))
		return line_wrong(in, "signature: hex digits of an ECDSA signature, at most 72 bytes");
	ret->signature_len = text.len / 2;
	return NULL;
}

static struct writ_err *
policy_read(struct lines *in, struct approval *ret)
{
	uint8_t follows[SHA256_LEN];
	struct writ_bytes text;

	if (!line_value(in, "policy", &text) || !hex_value(text, ret->policy, SHA256_LEN))
		return line_wrong(in, "policy: 64 hex digits");
	approval_policy(&ret->pcrs, ret->version, follows);
	if (memcmp(follows, ret->policy, SHA256_LEN) != 0)
		return writ_fail(WRIT_INVALID,
				 "line %u: the policy does not follow from the PCRs and the version above", in->number);
	return NULL;
}

static struct writ_err *
approval_fields(struct lines *in, struct approval *ret)
{
	struct writ_err *err = title_read(in, APPROVAL_TITLE);

	if (!err)
		err = ref_read(in, ret->ref);
	if (!err)
		err = number_read(in, "version", &ret->version);
	if (!err)
		err = pcrs_read(in, &ret->pcrs);
	if (!err)
		err = policy_read(in, ret);
	if (!err)
		err = signature_read(in, ret);
	return err ? err : end_read(in);
}

struct writ_err *
approval_read(struct writ_bytes text, struct approval *ret)
{
	struct lines in = { .rest = text };
	struct writ_err *err;

	*ret = (struct approval){ 0 };
	err = size_check(text);
	if (!err)
		err = approval_fields(&in, ret);
	return err ? writ_because(err, "approval of PCR values") : NULL;
}

static struct writ_err *
report_fields(struct lines *in, struct pcr_report *ret)
{
	struct writ_bytes text;
	struct writ_err *err = title_read(in, REPORT_TITLE);

	if (!err)
		err = ref_read(in, ret->ref);
	if (err)
		return err;
	if (!line_value(in, "key", &text) || !hex_value(text, ret->key_name, APPROVAL_NAME_LEN))
		return line_wrong(in, "key: 68 hex digits");
	err = number_read(in, "counter", &ret->counter);
	if (!err)
		err = pcrs_read(in, &ret->pcrs);
	return err ? err : end_read(in);
}

struct writ_err *
pcr_report_read(struct writ_bytes text, struct pcr_report *ret)
{
	struct lines in = { .rest = text };
	struct writ_err *err;

	*ret = (struct pcr_report){ 0 };
	err = size_check(text);
	if (!err)
		err = report_fields(&in, ret);
	return err ? writ_because(err, "PCR values") : NULL;
}

static struct writ_err *
pcrs_write(const struct pcr_values *pcrs, struct writ_buf *ret)
{
	char hex[2 * SHA256_LEN + 1];
	struct writ_err *err = NULL;

	for (unsigned n = 0; !err && n < APPROVAL_PCR_END; n++)
		if (pcrs->mask >> n & 1)
			err = writ_buf_printf(ret, "pcr %u: %s\n", n,
					      writ_hex((struct writ_bytes){ pcrs->value[n], SHA256_LEN }, hex));
	return err;
}

struct writ_err *
approval_write(const struct approval *approval, struct writ_buf *ret)
{
	char policy[2 * SHA256_LEN + 1], signature[2 * APPROVAL_SIGNATURE_MAX + 1];
	struct writ_err *err;

	err = writ_buf_printf(ret, "%s\nfor: %s\nversion: %llu\n", APPROVAL_TITLE, approval->ref,
			      (unsigned long long)approval->version);
	if (!err)
		err = pcrs_write(&approval->pcrs, ret);
	if (err)
		return err;
	return writ_buf_printf(
		ret, "policy: %s\nsignature: %s\n",
		writ_hex((struct writ_bytes){ approval->policy, SHA256_LEN }, policy),
		writ_hex((struct writ_bytes){ approval->signature, approval->signature_len }, signature));
}

struct writ_err *
pcr_report_write(const struct pcr_report *report, struct writ_buf *ret)
{
	char name[2 * APPROVAL_NAME_LEN + 1];
	struct writ_err *err;

	err = writ_buf_printf(ret, "%s\nfor: %s\nkey: %s\ncounter: %llu\n", REPORT_TITLE, report->ref,
			      writ_hex((struct writ_bytes){ report->key_name, APPROVAL_NAME_LEN }, name),
			      (unsigned long long)report->counter);
	return err ? err : pcrs_write(&report->pcrs, ret);
}

struct writ_err *
approval_verify(const struct approval *approval, struct writ_bytes spki)
{
	AUTO(pubkey_done) struct pubkey key = { 0 };
	uint8_t message[APPROVAL_MESSAGE_LEN];
	struct writ_err *err;

	err = pubkey_load(spki, &key);
	if (err)
		return writ_because(err, "the approval key");
	approval_message(approval->policy, approval->ref, message);
	err = pubkey_verify(&key, (struct writ_bytes){ message, sizeof(message) },
			    (struct writ_bytes){ approval->signature, approval->signature_len });
	return err ? writ_recode(err, WRIT_INVALID, "it is not signed by the approval key") : NULL;
}

struct writ_err *
pcr_mask_check(uint32_t mask)
{
	const unsigned n = (unsigned)__builtin_popcount(mask);

	if (n == 0 || n > APPROVAL_PCRS_MAX)
		return writ_fail(WRIT_INVALID, "%u PCRs are named: wanted are 1 to %d", n, APPROVAL_PCRS_MAX);
	if (mask >> APPROVAL_PCR_END != 0)
		return writ_fail(WRIT_INVALID, "PCRs are numbered from 0 to %d", APPROVAL_PCR_END - 1);
	if (mask >> PCR_DEBUG & 1 || mask >> PCR_APPLICATION & 1)
		return writ_fail(WRIT_INVALID, "PCRs %d and %d can be reset by any program: they tell nothing",
				 PCR_DEBUG, PCR_APPLICATION);
	return NULL;
}

char *
pcr_text(const struct pcr_values *pcrs, char out[PCR_TEXT_MAX])
{
	size_t at = 0;

	out[0] = '\0';
	for (unsigned n = 0; n < APPROVAL_PCR_END; n++) {
		char hex[9];

		if ((pcrs->mask >> n & 1) == 0 || at + 12 >= PCR_TEXT_MAX)
			continue;
		writ_hex((struct writ_bytes){ pcrs->value[n], 4 }, hex);
		at += (size_t)snprintf(out + at, PCR_TEXT_MAX - at, "%s%u=%s", at > 0 ? " " : "", n, hex);
	}
	return out;
}

/* ---- digests ---- */

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
approval_ref_digest(const char *ref, uint8_t out[SHA256_LEN])
{
	writ_sha256(writ_str(ref), out);
}

struct writ_err *
approval_key_point(struct writ_bytes spki, uint8_t out[APPROVAL_POINT_LEN])
{
	struct writ_bytes raw;
	enum key_kind kind;
	struct writ_err *err;

	err = spki_parse(spki, &kind, &raw);
	if (err)
		return writ_because(err, "the approval key");
	if (kind != KEY_P256)
		return writ_fail(WRIT_INVALID, "the approval key is a %s key: a TPM checks approvals by P-256",
				 key_kind_name(kind));
	memcpy(out, raw.data + 1, APPROVAL_POINT_LEN); /* 04, x, y */
	return NULL;
}

void
approval_key_area(const uint8_t point[APPROVAL_POINT_LEN], uint8_t out[APPROVAL_AREA_LEN])
{
	put16(out, ALG_ECC);
	put16(out + 2, ALG_SHA256);
	writ_put32(out + 4, ATTRIBUTES_OF_KEY);
	put16(out + 8, 0);	   /* no policy */
	put16(out + 10, ALG_NULL); /* symmetric */
	put16(out + 12, ALG_NULL); /* scheme */
	put16(out + 14, CURVE_P256);
	put16(out + 16, ALG_NULL); /* kdf */
	put16(out + 18, 32);
	memcpy(out + 20, point, 32);
	put16(out + 52, 32);
	memcpy(out + 54, point + 32, 32);
}

void
approval_key_name(const uint8_t point[APPROVAL_POINT_LEN], uint8_t out[APPROVAL_NAME_LEN])
{
	uint8_t area[APPROVAL_AREA_LEN];

	approval_key_area(point, area);
	put16(out, ALG_SHA256);
	writ_sha256((struct writ_bytes){ area, sizeof(area) }, out + 2);
}

void
pcr_selection(uint32_t mask, uint8_t out[APPROVAL_SELECTION_LEN])
{
	writ_put32(out, 1);
	put16(out + 4, ALG_SHA256);
	out[6] = 3;
	for (unsigned i = 0; i < 3; i++)
		out[7 + i] = (uint8_t)(mask >> 8 * i);
}

void
pcr_digest(const struct pcr_values *pcrs, uint8_t out[SHA256_LEN])
{
	struct writ_bytes pieces[APPROVAL_PCR_END];
	size_t n = 0;

	for (unsigned i = 0; i < APPROVAL_PCR_END; i++)
		if (pcrs->mask >> i & 1)
			pieces[n++] = (struct writ_bytes){ pcrs->value[i], SHA256_LEN };
	writ_sha256v(pieces, n, out);
}

/* The name of the approval counter; it changes with its attributes only, so it is the same on every TPM. */
static void
counter_name(uint8_t out[APPROVAL_NAME_LEN])
{
	uint8_t area[14];

	writ_put32(area, APPROVAL_COUNTER_HANDLE);
	put16(area + 4, ALG_SHA256);
	writ_put32(area + 6, COUNTER_ATTRIBUTES);
	put16(area + 10, 0); /* no policy */
	put16(area + 12, 8); /* bytes of a counter */
	put16(out, ALG_SHA256);
	writ_sha256((struct writ_bytes){ area, sizeof(area) }, out + 2);
}

/* digest := H(digest || command || more...) */
static void
extend(uint8_t digest[SHA256_LEN], uint32_t command, struct writ_bytes a, struct writ_bytes b)
{
	uint8_t code[4];
	const struct writ_bytes pieces[] = { { digest, SHA256_LEN }, { code, sizeof(code) }, a, b };

	writ_put32(code, command);
	writ_sha256v(pieces, N_OF(pieces), digest);
}

void
approval_policy(const struct pcr_values *pcrs, uint64_t version, uint8_t out[SHA256_LEN])
{
	uint8_t selection[APPROVAL_SELECTION_LEN], values[SHA256_LEN], operand[8 + 4], comparison[SHA256_LEN];
	uint8_t counter[APPROVAL_NAME_LEN];

	pcr_selection(pcrs->mask, selection);
	pcr_digest(pcrs, values);
	memset(out, 0, SHA256_LEN);
	extend(out, CC_POLICY_PCR, (struct writ_bytes){ selection, sizeof(selection) },
	       (struct writ_bytes){ values, sizeof(values) });

	writ_put64(operand, version);
	put16(operand + 8, 0); /* offset */
	put16(operand + 10, EO_UNSIGNED_LE);
	writ_sha256((struct writ_bytes){ operand, sizeof(operand) }, comparison);
	counter_name(counter);
	extend(out, CC_POLICY_NV, (struct writ_bytes){ comparison, sizeof(comparison) },
	       (struct writ_bytes){ counter, sizeof(counter) });
}

void
approval_message(const uint8_t policy[SHA256_LEN], const char *ref, uint8_t out[APPROVAL_MESSAGE_LEN])
{
	memcpy(out, policy, SHA256_LEN);
	approval_ref_digest(ref, out + SHA256_LEN);
}

void
approval_authorized(const uint8_t key_name[APPROVAL_NAME_LEN], const uint8_t ref_digest[SHA256_LEN],
		    uint8_t out[SHA256_LEN])
{
	const struct writ_bytes pieces[] = { { out, SHA256_LEN }, { ref_digest, SHA256_LEN } };

	memset(out, 0, SHA256_LEN);
	extend(out, CC_POLICY_AUTHORIZE, (struct writ_bytes){ key_name, APPROVAL_NAME_LEN },
	       (struct writ_bytes){ NULL, 0 });
	writ_sha256v(pieces, N_OF(pieces), out);
}

void
approval_key_policy(const uint8_t key_name[APPROVAL_NAME_LEN], const char *ref, uint8_t out[SHA256_LEN])
{
	uint8_t digest[SHA256_LEN];

	approval_ref_digest(ref, digest);
	approval_authorized(key_name, digest, out);
	extend(out, CC_POLICY_AUTH_VALUE, (struct writ_bytes){ NULL, 0 }, (struct writ_bytes){ NULL, 0 });
}
