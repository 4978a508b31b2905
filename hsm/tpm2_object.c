/*
 * Templates of our objects in a TPM, and the comparison with them.
 */
#include "hsm/tpm2_object.h"

#include <tss2/tss2_mu.h>

#include "base/digest.h"
#include "hsm/backend.h"

/* The ECC P-256 storage key of the TCG's provisioning guidance, with an empty `unique`, as other tools make it too. */
void
tpm2_srk_template(TPM2B_PUBLIC *ret)
{
	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM |
					    TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
					    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA,
			.parameters.eccDetail = {
				.symmetric = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
				.scheme.scheme = TPM2_ALG_NULL,
				.curveID = TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
}

/* The digest of a policy of PolicyAuthValue alone: SHA-256(32 zero bytes, command code). */
static void
policy_auth_value(TPM2B_DIGEST *ret)
{
	uint8_t input[SHA256_LEN + 4] = { 0 };

	writ_put32(input + SHA256_LEN, TPM2_CC_PolicyAuthValue);
	writ_sha256((struct writ_bytes){ input, sizeof(input) }, ret->buffer);
	ret->size = SHA256_LEN;
}

/*
 * userWithAuth is clear and adminWithPolicy set: nothing but the policy opens the key.  noDA: the auth value is 32
 * random bytes, so guessing is hopeless and no neighbour's wrong guesses can lock us out.  Not restricted: it signs
 * digests made outside, and therefore must never serve as an attestation key.
 */
void
tpm2_key_template(enum key_kind kind, TPM2B_PUBLIC *ret)
{
	const bool p384 = kind == KEY_P384;

	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA,
			.parameters.eccDetail = {
				.symmetric.algorithm = TPM2_ALG_NULL,
				.scheme = { .scheme = TPM2_ALG_ECDSA,
					    .details.ecdsa.hashAlg = p384 ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256 },
				.curveID = p384 ? TPM2_ECC_NIST_P384 : TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
	policy_auth_value(&ret->publicArea.authPolicy);
}

/* sensitiveDataOrigin is clear: the sealed bytes come from outside (that is what sealing is). */
void
tpm2_seal_template(TPM2B_PUBLIC *ret)
{
	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_KEYEDHASH,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_ADMINWITHPOLICY |
					    TPMA_OBJECT_NODA,
			.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
		},
	};
	policy_auth_value(&ret->publicArea.authPolicy);
}

/* The area with `unique` emptied, as the TPM would marshal it; 0 when it cannot be. */
static size_t
common_part(const TPM2B_PUBLIC *public, uint8_t out[sizeof(TPM2B_PUBLIC)])
{
	TPM2B_PUBLIC copy = *public;
	size_t len = 0;

	memset(&copy.publicArea.unique, 0, sizeof(copy.publicArea.unique));
	copy.size = 0;
	if (Tss2_MU_TPM2B_PUBLIC_Marshal(&copy, out, sizeof(TPM2B_PUBLIC), &len) != TSS2_RC_SUCCESS)
		return 0;
	return len;
}

bool
tpm2_is_of(const TPM2B_PUBLIC *public, const TPM2B_PUBLIC *template_)
{
	uint8_t a[sizeof(TPM2B_PUBLIC)], b[sizeof(TPM2B_PUBLIC)];
	const size_t a_len = common_part(public, a), b_len = common_part(template_, b);

	return a_len > 0 && writ_equal((struct writ_bytes){ a, a_len }, (struct writ_bytes){ b, b_len });
}

struct writ_err *
tpm2_public_read(struct writ_bytes bytes, TPM2B_PUBLIC *ret)
{
	size_t at = 0;

	*ret = (TPM2B_PUBLIC){ 0 };
	if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes.data, bytes.len, &at, ret) != TSS2_RC_SUCCESS || at != bytes.len ||
	    (size_t)ret->size + 2 != bytes.len)
		return writ_fail(WRIT_INVALID, "key file: the public area of %zu bytes is not one TPM2B_PUBLIC",
				 bytes.len);
	return NULL;
}

struct writ_err *
tpm2_private_read(struct writ_bytes bytes, TPM2B_PRIVATE *ret)
{
	size_t at = 0;

	*ret = (TPM2B_PRIVATE){ 0 };
	if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(bytes.data, bytes.len, &at, ret) != TSS2_RC_SUCCESS || at != bytes.len)
		return writ_fail(WRIT_INVALID, "key file: the private area of %zu bytes is not one TPM2B_PRIVATE",
				 bytes.len);
	return NULL;
}

struct writ_err *
tpm2_public_write(const TPM2B_PUBLIC *public, struct writ_buf *ret)
{
	uint8_t bytes[sizeof(TPM2B_PUBLIC)];
	size_t len = 0;

	if (Tss2_MU_TPM2B_PUBLIC_Marshal(public, bytes, sizeof(bytes), &len) != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_BROKEN, "the TPM's public area cannot be written down");
	return writ_buf_add(ret, (struct writ_bytes){ bytes, len });
}

struct writ_err *
tpm2_private_write(const TPM2B_PRIVATE *private, struct writ_buf *ret)
{
	uint8_t bytes[sizeof(TPM2B_PRIVATE)];
	size_t len = 0;

	if (Tss2_MU_TPM2B_PRIVATE_Marshal(private, bytes, sizeof(bytes), &len) != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_BROKEN, "the TPM's private area cannot be written down");
	return writ_buf_add(ret, (struct writ_bytes){ bytes, len });
}

struct writ_err *
tpm2_key_spki(const TPM2B_PUBLIC *public, struct writ_buf *ret_spki)
{
	const TPMS_ECC_POINT *const point = &public->publicArea.unique.ecc;
	uint8_t raw[1 + 2 * CUSTODY_DIGEST_MAX] = { 4 };
	TPM2B_PUBLIC p256, p384;
	enum key_kind kind;
	size_t n;

	tpm2_key_template(KEY_P256, &p256);
	tpm2_key_template(KEY_P384, &p384);
	if (tpm2_is_of(public, &p256))
		kind = KEY_P256;
	else if (tpm2_is_of(public, &p384))
		kind = KEY_P384;
	else
		return writ_fail(
			WRIT_INVALID,
			"key file: the key has type 0x%x and attributes 0x%x: only an ECDSA P-256 or P-384 key with "
			"fixedTPM, fixedParent, sensitiveDataOrigin and the auth-value policy is used",
			public->publicArea.type, public->publicArea.objectAttributes);
	/* TPMs may drop leading zeros of a coordinate. */
	n = custody_scalar_len(kind);
	if (point->x.size > n || point->y.size > n)
		return writ_fail(WRIT_INVALID, "key file: coordinates of %u and %u bytes are over %zu", point->x.size,
				 point->y.size, n);
	memcpy(raw + 1 + n - point->x.size, point->x.buffer, point->x.size);
	memcpy(raw + 1 + 2 * n - point->y.size, point->y.buffer, point->y.size);
	return spki_build(kind, (struct writ_bytes){ raw, 1 + 2 * n }, ret_spki);
}
