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

/*
 * userWithAuth is clear: nothing but the policy makes the key sign.  adminWithPolicy is clear too: the auth value alone
 * lets the TPM certify the key (TPM2_Certify is of the admin role), since a policy opens that role only with a branch of its
 * own for each command; what else the role allows is a copy with another auth value, which signs by the same policy.
 * noDA: the auth value is 32 random bytes, so guessing is hopeless and no neighbour's wrong guesses can lock us out.  Not restricted: it signs
 * digests made outside, and therefore must never serve as an attestation key.
 */
void
tpm2_key_template(enum key_kind kind, const struct tpm2_policy *policy, TPM2B_PUBLIC *ret)
{
	const bool p384 = kind == KEY_P384;

	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_NODA,
			.parameters.eccDetail = {
				.symmetric.algorithm = TPM2_ALG_NULL,
				.scheme = { .scheme = TPM2_ALG_ECDSA,
					    .details.ecdsa.hashAlg = p384 ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256 },
				.curveID = p384 ? TPM2_ECC_NIST_P384 : TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
	tpm2_policy_digest(policy, &ret->publicArea.authPolicy);
}

/* sensitiveDataOrigin is clear: the sealed bytes come from outside (that is what sealing is). */
void
tpm2_seal_template(const struct tpm2_policy *policy, TPM2B_PUBLIC *ret)
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
	tpm2_policy_digest(policy, &ret->publicArea.authPolicy);
}

/* In the range that the TCG leaves to owners (0x01800000 to 0x01bfffff); the low bits are ours, "W" and the counter. */
uint32_t
tpm2_counter_index(enum custody_counter which)
{
	return 0x01805700 + (uint32_t)which;
}

/*
 * Read and raised with the auth value, and by nobody else: no owner or platform bits, no policy.  noDA: see the keys.
 * The owner may delete it (as TPM2_Clear does), which only ever destroys what it guards.
 */
void
tpm2_counter_public(enum custody_counter which, bool raised, TPMS_NV_PUBLIC *ret)
{
	*ret = (TPMS_NV_PUBLIC){
		.nvIndex = tpm2_counter_index(which),
		.nameAlg = TPM2_ALG_SHA256,
		.attributes = (TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT) | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE |
			      TPMA_NV_NO_DA | (raised ? TPMA_NV_WRITTEN : 0),
		.dataSize = 8,
	};
}

/* TPMS_NV_PUBLIC as the TPM marshals it: index, nameAlg, attributes, an empty policy, size. */
void
tpm2_counter_name(enum custody_counter which, bool raised, TPM2B_NAME *ret)
{
	uint8_t area[4 + 2 + 4 + 2 + 2] = { 0 };
	TPMS_NV_PUBLIC public;

	tpm2_counter_public(which, raised, &public);
	writ_put32(area, public.nvIndex);
	area[4] = TPM2_ALG_SHA256 >> 8;
	area[5] = TPM2_ALG_SHA256 & 0xff;
	writ_put32(area + 6, public.attributes);
	area[13] = (uint8_t) public.dataSize;
	*ret = (TPM2B_NAME){ .size = 2 + SHA256_LEN, .name = { TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256 & 0xff } };
	writ_sha256((struct writ_bytes){ area, sizeof(area) }, ret->name + 2);
}

/*
 * Restricted: it signs only what the TPM itself made.  `unique` is an input of the derivation of a primary key, so that no other program's attestation
 * key is this one.
 */
void
tpm2_ak_template(TPM2B_PUBLIC *ret)
{
	static const char own[] = "Writ attestation key";

	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_FIXEDTPM |
					    TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
					    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA,
			.parameters.eccDetail = {
				.symmetric.algorithm = TPM2_ALG_NULL,
				.scheme = { .scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256 },
				.curveID = TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
			.unique.ecc.x.size = sizeof(own) - 1,
		},
	};
	memcpy(ret->publicArea.unique.ecc.x.buffer, own, sizeof(own) - 1);
}

#define EK_ATTRIBUTES                                                                                                  \
	(TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |               \
	 TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY)

/* PolicySecret(endorsement hierarchy), in SHA-256; and that or a policy in NV, in SHA-384 (TCG EK Credential Profile 2.5, B.6). */
static const TPM2B_DIGEST ek_policy_a = {
	.size = 32,
	.buffer = { 0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
		    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa },
};
static const TPM2B_DIGEST ek_policy_b384 = {
	.size = 48,
	.buffer = { 0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
		    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
		    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12 },
};

/* Templates L-1, L-2 and H-3 of the TCG EK Credential Profile 2.5 (B.3.3, B.3.4, B.4.6). */
void
tpm2_ek_template(enum tpm2_ek kind, TPM2B_PUBLIC *ret)
{
	const TPMT_SYM_DEF_OBJECT aes128 = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB };
	TPMT_PUBLIC *const area = &ret->publicArea;

	*ret = (TPM2B_PUBLIC){ .publicArea = { .type = TPM2_ALG_ECC,
					       .nameAlg = TPM2_ALG_SHA256,
					       .objectAttributes = EK_ATTRIBUTES,
					       .authPolicy = ek_policy_a } };
	if (kind == TPM2_EK_RSA2048) {
		area->type = TPM2_ALG_RSA;
		area->parameters.rsaDetail.symmetric = aes128;
		area->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
		area->parameters.rsaDetail.keyBits = 2048;
		area->unique.rsa.size = 256;
		return;
	}
	area->parameters.eccDetail.symmetric = aes128;
	area->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
	area->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
	area->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	if (kind == TPM2_EK_P256) {
		area->unique.ecc.x.size = area->unique.ecc.y.size = 32;
		return;
	}
	area->nameAlg = TPM2_ALG_SHA384;
	area->objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
	area->authPolicy = ek_policy_b384;
	area->parameters.eccDetail.symmetric.keyBits.aes = 256;
	area->parameters.eccDetail.curveID = TPM2_ECC_NIST_P384;
}

bool
tpm2_ek_by_policy(enum tpm2_ek kind)
{
	return kind != TPM2_EK_P384;
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
tpm2_key_spki(const TPM2B_PUBLIC *public, const struct tpm2_policy *policy, struct writ_buf *ret_spki)
{
	const TPMS_ECC_POINT *const point = &public->publicArea.unique.ecc;
	uint8_t raw[1 + 2 * CUSTODY_DIGEST_MAX] = { 4 };
	TPM2B_PUBLIC p256, p384;
	enum key_kind kind;
	size_t n;

	tpm2_key_template(KEY_P256, policy, &p256);
	tpm2_key_template(KEY_P384, policy, &p384);
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
