/*
 * A TPM's encodings, read: big endian, sizes before buffers (TPM 2.0 Library, Part 2).
 */
#include "hsm/statement.h"

#include "base/der.h"

#define ALG_ECC 0x0023
#define ALG_AES 0x0006
#define ALG_SHA256 0x000b
#define ALG_SHA384 0x000c
#define ALG_NULL 0x0010
#define ALG_ECDSA 0x0018
#define ALG_CFB 0x0043
#define CURVE_P256 0x0003
#define CURVE_P384 0x0004
#define GENERATED 0xff544347u
#define CC_POLICY_AUTH_VALUE 0x0000016bu
#define NV_TYPE_MASK 0x000000f0u
#define NV_TYPE_COUNTER 0x00000010u
#define NV_WRITTEN 0x20000000u

/* ---- cursor ---- */

struct in {
	const uint8_t *at, *end;
	bool failed;
};

static struct in
begin(struct writ_bytes bytes)
{
	return (struct in){ bytes.data, bytes.data + bytes.len, false };
}

static struct writ_bytes
take(struct in *in, size_t len)
{
	const struct writ_bytes ret = { in->at, len };

	if (in->failed || (size_t)(in->end - in->at) < len) {
		in->failed = true;
		return (struct writ_bytes){ 0 };
	}
	in->at += len;
	return ret;
}

static uint64_t
number(struct in *in, size_t len)
{
	const struct writ_bytes bytes = take(in, len);
	uint64_t value = 0;

	for (size_t i = 0; i < bytes.len; i++)
		value = value << 8 | bytes.data[i];
	return value;
}

static uint16_t
get16(struct in *in)
{
	return (uint16_t)number(in, 2);
}

static uint32_t
get32(struct in *in)
{
	return (uint32_t)number(in, 4);
}

/* TPM2B: a size, and so many bytes. */
static struct writ_bytes
sized(struct in *in)
{
	return take(in, get16(in));
}

static bool
whole(const struct in *in)
{
	return !in->failed && in->at == in->end;
}

/* ---- names ---- */

static void
name_of(const struct writ_bytes *pieces, size_t n, uint8_t out[TPM_NAME_LEN])
{
	out[0] = ALG_SHA256 >> 8;
	out[1] = ALG_SHA256 & 0xff;
	writ_sha256v(pieces, n, out + 2);
}

void
tpm_qualified_primary(uint32_t hierarchy, const uint8_t name[TPM_NAME_LEN], uint8_t out[TPM_NAME_LEN])
{
	uint8_t handle[4];

	writ_put32(handle, hierarchy);
	name_of((const struct writ_bytes[]){ { handle, 4 }, { name, TPM_NAME_LEN } }, 2, out);
}

void
tpm_qualified_child(const uint8_t parent[TPM_NAME_LEN], const uint8_t name[TPM_NAME_LEN], uint8_t out[TPM_NAME_LEN])
{
	name_of((const struct writ_bytes[]){ { parent, TPM_NAME_LEN }, { name, TPM_NAME_LEN } }, 2, out);
}

void
tpm_policy_auth_value(uint8_t out[SHA256_LEN])
{
	uint8_t input[SHA256_LEN + 4] = { 0 };

	writ_put32(input + SHA256_LEN, CC_POLICY_AUTH_VALUE);
	writ_sha256((struct writ_bytes){ input, sizeof(input) }, out);
}

/* ---- public areas ---- */

/* TPMT_SYM_DEF_OBJECT: none, or AES-128 in CFB mode. */
static bool
symmetric(struct in *in, bool *ret_aes)
{
	const uint16_t algorithm = get16(in);

	*ret_aes = algorithm == ALG_AES;
	if (algorithm == ALG_NULL)
		return true;
	return *ret_aes && get16(in) == 128 && get16(in) == ALG_CFB;
}

/* TPMT_ECC_SCHEME: none, or ECDSA. */
static bool
scheme(struct in *in, bool *ret_ecdsa, uint16_t *ret_hash)
{
	const uint16_t algorithm = get16(in);

	*ret_hash = 0;
	*ret_ecdsa = algorithm == ALG_ECDSA;
	if (*ret_ecdsa)
		*ret_hash = get16(in);
	return *ret_ecdsa || algorithm == ALG_NULL;
}

/* TPMs may drop leading zeros of a coordinate. */
static struct writ_err *
point(struct tpm_area *area, struct writ_bytes x, struct writ_bytes y)
{
	const size_t n = area->kind == KEY_P384 ? 48 : 32;
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	uint8_t raw[1 + 2 * 48] = { 4 };
	struct writ_err *err;

	if (x.len == 0 || y.len == 0 || x.len > n || y.len > n)
		return writ_fail(WRIT_INVALID, "TPMT_PUBLIC: coordinates of %zu and %zu bytes, not of 1 to %zu", x.len,
				 y.len, n);
	memcpy(raw + 1 + n - x.len, x.data, x.len);
	memcpy(raw + 1 + 2 * n - y.len, y.data, y.len);
	err = spki_build(area->kind, (struct writ_bytes){ raw, 1 + 2 * n }, &spki);
	if (err)
		return err;
	memcpy(area->spki, spki.data, spki.len);
	area->spki_len = spki.len;
	return NULL;
}

static struct writ_err *
area_refuse(const char *what, unsigned value)
{
	return writ_fail(WRIT_INVALID, "TPMT_PUBLIC: %s 0x%x is not one of ours", what, value);
}

struct writ_err *
tpm_area_read(struct writ_bytes bytes, struct tpm_area *ret)
{
	struct in in = begin(bytes);
	uint16_t type, name_alg, hash, curve, kdf;
	struct writ_bytes x, y;

	*ret = (struct tpm_area){ 0 };
	type = get16(&in);
	name_alg = get16(&in);
	ret->attributes = get32(&in);
	ret->policy = sized(&in);
	if (in.failed)
		return writ_fail(WRIT_INVALID, "TPMT_PUBLIC: cut short at %zu bytes", bytes.len);
	if (type != ALG_ECC)
		return area_refuse("type", type);
	if (name_alg != ALG_SHA256)
		return area_refuse("nameAlg", name_alg);
	if (ret->policy.len != 0 && ret->policy.len != SHA256_LEN)
		return writ_fail(WRIT_INVALID, "TPMT_PUBLIC: a policy has 0 or %d bytes, not %zu", SHA256_LEN,
				 ret->policy.len);
	if (!symmetric(&in, &ret->storage) || !scheme(&in, &ret->ecdsa, &hash))
		return writ_fail(WRIT_INVALID,
				 "TPMT_PUBLIC: its symmetric algorithm or signature scheme is not one of ours");
	curve = get16(&in);
	kdf = get16(&in);
	x = sized(&in);
	y = sized(&in);
	if (!whole(&in))
		return writ_fail(WRIT_INVALID, "TPMT_PUBLIC: %zu bytes are not one public area", bytes.len);
	if (curve != CURVE_P256 && curve != CURVE_P384)
		return area_refuse("curve", curve);
	if (kdf != ALG_NULL)
		return area_refuse("kdf", kdf);
	ret->kind = curve == CURVE_P384 ? KEY_P384 : KEY_P256;
	if (ret->ecdsa && hash != (ret->kind == KEY_P384 ? ALG_SHA384 : ALG_SHA256))
		return area_refuse("hash", hash);
	name_of(&bytes, 1, ret->name);
	return point(ret, x, y);
}

/* TPMS_NV_PUBLIC: nvIndex, nameAlg, attributes, authPolicy, dataSize. */
struct writ_err *
tpm_counter_read(struct writ_bytes bytes, struct tpm_counter_area *ret)
{
	struct in in = begin(bytes);
	uint16_t name_alg, len;

	*ret = (struct tpm_counter_area){ 0 };
	ret->index = get32(&in);
	name_alg = get16(&in);
	ret->attributes = get32(&in);
	(void)sized(&in);
	len = get16(&in);
	if (!whole(&in))
		return writ_fail(WRIT_INVALID, "TPMS_NV_PUBLIC: %zu bytes are not one NV index", bytes.len);
	if (name_alg != ALG_SHA256)
		return writ_fail(WRIT_INVALID, "TPMS_NV_PUBLIC: nameAlg 0x%x is not SHA-256", name_alg);
	if (len != 8)
		return writ_fail(WRIT_INVALID, "TPMS_NV_PUBLIC: a counter has 8 bytes, not %u", len);
	ret->counter = (ret->attributes & NV_TYPE_MASK) == NV_TYPE_COUNTER;
	ret->written = ret->attributes & NV_WRITTEN;
	name_of(&bytes, 1, ret->name);
	return NULL;
}

/* ---- statements ---- */

/* TPMS_QUOTE_INFO: TPML_PCR_SELECTION, and the digest of the values. */
static bool
quote(struct in *in, struct tpm_attest *ret)
{
	if (get32(in) != 1 || get16(in) != ALG_SHA256 || number(in, 1) != 3)
		return false;
	ret->pcrs = (uint32_t)number(in, 1);
	ret->pcrs |= (uint32_t)number(in, 1) << 8;
	ret->pcrs |= (uint32_t)number(in, 1) << 16;
	ret->pcr_digest = sized(in);
	return !in->failed && ret->pcr_digest.len == SHA256_LEN;
}

static bool
is_name(struct writ_bytes name)
{
	return name.len == TPM_NAME_LEN && name.data[0] == 0 && name.data[1] == ALG_SHA256;
}

static bool
attested(struct in *in, struct tpm_attest *ret)
{
	switch (ret->type) {
	case TPM_SAID_CERTIFY:
		ret->name = sized(in);
		ret->qualified = sized(in);
		return is_name(ret->name) && is_name(ret->qualified);
	case TPM_SAID_QUOTE:
		return quote(in, ret);
	case TPM_SAID_NV:
		ret->name = sized(in);
		ret->offset = get16(in);
		ret->contents = sized(in);
		return is_name(ret->name);
	}
	return false;
}

struct writ_err *
tpm_attest_read(struct writ_bytes bytes, struct tpm_attest *ret)
{
	struct in in = begin(bytes);
	uint32_t magic;
	uint16_t type;
	uint8_t safe;

	*ret = (struct tpm_attest){ 0 };
	magic = get32(&in);
	type = get16(&in);
	if (in.failed || magic != GENERATED)
		return writ_fail(WRIT_INVALID, "TPMS_ATTEST: it does not begin as what a TPM made itself");
	if (type != TPM_SAID_CERTIFY && type != TPM_SAID_QUOTE && type != TPM_SAID_NV)
		return writ_fail(WRIT_INVALID, "TPMS_ATTEST: type 0x%x is neither Certify, Quote nor NV_Certify", type);
	ret->type = (enum tpm_said)type;
	ret->signer = sized(&in);
	ret->extra = sized(&in);
	ret->clock_ms = number(&in, 8);
	ret->resets = get32(&in);
	ret->restarts = get32(&in);
	safe = (uint8_t)number(&in, 1);
	ret->clock_safe = safe == 1;
	ret->firmware = number(&in, 8);
	if (safe > 1 || !is_name(ret->signer) || !attested(&in, ret) || !whole(&in))
		return writ_fail(WRIT_INVALID, "TPMS_ATTEST: %zu bytes are not one statement of type 0x%x", bytes.len,
				 type);
	return NULL;
}

static bool
is_scalar(struct writ_bytes b)
{
	return b.len <= 32 && !writ_is_zero(b);
}

struct writ_err *
tpm_signature_read(struct writ_bytes bytes, struct writ_buf *ret_der)
{
	struct der_out out = der_write(ret_der);
	struct in in = begin(bytes);
	const uint16_t algorithm = get16(&in), hash = get16(&in);
	const struct writ_bytes r = sized(&in), s = sized(&in);

	if (!whole(&in) || algorithm != ALG_ECDSA || hash != ALG_SHA256 || !is_scalar(r) || !is_scalar(s))
		return writ_fail(WRIT_INVALID,
				 "TPMT_SIGNATURE: %zu bytes are not one ECDSA P-256 signature with SHA-256", bytes.len);
	der_open(&out, DER_SEQUENCE);
	der_put_integer_bytes(&out, DER_INTEGER, r);
	der_put_integer_bytes(&out, DER_INTEGER, s);
	der_close(&out);
	return der_finish(&out, "signature");
}
