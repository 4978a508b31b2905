/*
 * Sealing by AES-GCM in a token, a key a number.  What it is worth: pkcs11_seal.h.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "hsm/codes.h"
#include "hsm/pkcs11_object.h"
#include "hsm/pkcs11_seal.h"

/* A sealed blob: magic, token serial, number, id of the sealing key, IV; then the ciphertext and its tag, which covers
 * the rest too. */
#define MAGIC "WRITSEAL\002"
#define MAGIC_LEN 9
#define SERIAL_LEN 16
#define NUMBER_LEN 8
#define IV_LEN 12
#define TAG_LEN 16
#define NUMBER_AT (MAGIC_LEN + SERIAL_LEN)
#define ID_AT (NUMBER_AT + NUMBER_LEN)
#define IV_AT (ID_AT + PKCS11_ID_LEN)
#define HEADER_LEN (IV_AT + IV_LEN)
#define BLOB_LEN (HEADER_LEN + CUSTODY_SECRET_LEN + TAG_LEN)

#define LABEL "writ sealed "
#define SECRETS_MAX 4096 /* secret keys of a token that destroy looks through: more than four times CUSTODY_AHEAD_MAX  \
			  */

static const struct pkcs11_claim seal_claims[] = {
	{ CKA_ENCRYPT, "CKA_ENCRYPT", true },
	{ CKA_DECRYPT, "CKA_DECRYPT", true },
	{ CKA_WRAP, "CKA_WRAP", false },
	{ CKA_SIGN, "CKA_SIGN", false },
};

static struct writ_err *
refuse_without_gcm(const struct pkcs11 *p)
{
	if (p->info.can_seal)
		return NULL;
	return writ_fail(WRIT_INVALID, "this token cannot seal: it has no CKM_AES_GCM");
}

static struct writ_err *
seal_key_check(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	struct writ_err *err = pkcs11_claims(p, object, seal_claims, N_OF(seal_claims));

	return err ? err : pkcs11_stays(p, object);
}

static struct writ_err *
seal_key_make(struct pkcs11 *p, struct writ_bytes label, CK_OBJECT_HANDLE *ret)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 32;
	uint8_t id_bytes[PKCS11_ID_LEN];
	const struct writ_bytes id = { id_bytes, sizeof(id_bytes) };
	CK_ATTRIBUTE template_[] = {
		ATTR(CKA_TOKEN, yes),	  ATTR(CKA_PRIVATE, yes),    ATTR(CKA_MODIFIABLE, no),
		ATTR(CKA_SENSITIVE, yes), ATTR(CKA_EXTRACTABLE, no), ATTR(CKA_ENCRYPT, yes),
		ATTR(CKA_DECRYPT, yes),	  ATTR(CKA_WRAP, no),	     ATTR(CKA_UNWRAP, no),
		ATTR(CKA_SIGN, no),	  ATTR(CKA_VERIFY, no),	     ATTR(CKA_DERIVE, no),
		ATTR(CKA_VALUE_LEN, len), ATTR_BYTES(CKA_ID, id),    ATTR_BYTES(CKA_LABEL, label),
	};

	writ_random(id_bytes, sizeof(id_bytes));
	return pkcs11_result(p, p->p11->C_GenerateKey(p->session, &mechanism, template_, N_OF(template_), ret),
			     "C_GenerateKey of the sealing key");
}

/* The sealing key of that number, found by its label or made, and its id. */
static struct writ_err *
seal_key_here(struct pkcs11 *p, uint64_t number, CK_OBJECT_HANDLE *ret, uint8_t ret_id[PKCS11_ID_LEN])
{
	CK_ATTRIBUTE id = { CKA_ID, ret_id, PKCS11_ID_LEN };
	char text[CUSTODY_LABEL_MAX + 1];
	struct writ_bytes label;
	struct writ_err *err;
	bool found;

	snprintf(text, sizeof(text), LABEL "%llu", (unsigned long long)number);
	label = writ_str(text);
	err = pkcs11_find(p, CKO_SECRET_KEY, CKK_AES, label, CKA_LABEL, &found, ret);
	if (!err && !found)
		err = seal_key_make(p, label, ret);
	if (!err)
		err = seal_key_check(p, *ret);
	if (!err)
		err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, *ret, &id, 1),
				    "CKA_ID of the sealing key");
	if (!err && id.ulValueLen != PKCS11_ID_LEN)
		err = writ_fail(WRIT_LOCKED, "the token's key '%s' has an id of %lu bytes: it is not ours", text,
				id.ulValueLen);
	return err;
}

struct writ_err *
pkcs11_seal(struct pkcs11 *p, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	uint8_t blob[BLOB_LEN];
	CK_GCM_PARAMS gcm = { blob + IV_AT, IV_LEN, 8 * IV_LEN, blob, HEADER_LEN, 8 * TAG_LEN };
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_ULONG len = BLOB_LEN - HEADER_LEN;
	CK_OBJECT_HANDLE key = 0;
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (err)
		return err;
	err = refuse_without_gcm(p);
	if (err)
		return err;
	err = seal_key_here(p, number, &key, blob + ID_AT);
	if (err)
		return err;
	memcpy(blob, MAGIC, MAGIC_LEN);
	memcpy(blob + MAGIC_LEN, p->token.serialNumber, SERIAL_LEN);
	writ_put64(blob + NUMBER_AT, number);
	writ_random(blob + IV_AT,
		    IV_LEN); /* 96 random bits: safe for 2^32 seals under one key, and a generation is one */
	err = pkcs11_result(p, p->p11->C_EncryptInit(p->session, &mechanism, key), "C_EncryptInit");
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_Encrypt(p->session, secret->data, secret->len, blob + HEADER_LEN, &len),
			    "C_Encrypt");
	if (err)
		return err;
	if (len != BLOB_LEN - HEADER_LEN)
		return writ_fail(WRIT_BROKEN, "the token's AES-GCM gave %lu bytes, not %d", len, BLOB_LEN - HEADER_LEN);
	return writ_buf_add(ret_blob, (struct writ_bytes){ blob, sizeof(blob) });
}

static struct writ_err *
blob_check(const struct pkcs11 *p, struct writ_bytes blob)
{
	if (blob.len != BLOB_LEN || memcmp(blob.data, MAGIC, MAGIC_LEN) != 0)
		return writ_fail(WRIT_INVALID, "not a blob that a PKCS#11 token of ours sealed: %zu bytes", blob.len);
	if (memcmp(blob.data + MAGIC_LEN, p->token.serialNumber, SERIAL_LEN) != 0)
		return writ_fail(WRIT_LOCKED, "the blob was sealed by another token than %s", p->info.serial);
	return NULL;
}

/* The key that sealed the blob, while the counter has not passed its number. */
static struct writ_err *
blob_key(struct pkcs11 *p, const uint8_t blob[BLOB_LEN], CK_OBJECT_HANDLE *ret)
{
	const uint64_t number = writ_get64(blob + NUMBER_AT);
	struct writ_err *err;
	uint64_t value;
	bool found;

	err = pkcs11_counter_read(p, COUNTER_SEALED, &value);
	if (err)
		return err;
	if (value > number)
		return writ_fail(WRIT_NOT_FOUND,
				 "it is destroyed: the device's counter '%s' has passed %llu, its number",
				 custody_counter_name(COUNTER_SEALED), (unsigned long long)number);
	err = pkcs11_find(p, CKO_SECRET_KEY, CKK_AES, (struct writ_bytes){ blob + ID_AT, PKCS11_ID_LEN }, CKA_ID,
			  &found, ret);
	if (err)
		return err;
	if (!found)
		return writ_fail(WRIT_NOT_FOUND, "the token no longer holds the key that sealed the blob");
	return seal_key_check(p, *ret);
}

/* After C_DecryptInit went well; SoftHSM says CKR_GENERAL_ERROR of a wrong tag, others what they should. */
static struct writ_err *
decrypted(struct pkcs11 *p, CK_RV rv)
{
	if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE || rv == CKR_GENERAL_ERROR ||
	    rv == CKR_FUNCTION_FAILED || rv == CKR_SIGNATURE_INVALID)
		return writ_fail(WRIT_INVALID, "the blob is damaged: C_Decrypt: %s (0x%lx)", pkcs11_code_name(rv), rv);
	return pkcs11_result(p, rv, "C_Decrypt");
}

struct writ_err *
pkcs11_unseal(struct pkcs11 *p, struct writ_bytes blob, struct writ_secret *ret)
{
	uint8_t copy[BLOB_LEN], plain[CUSTODY_SECRET_LEN + TAG_LEN];
	CK_GCM_PARAMS gcm = { copy + IV_AT, IV_LEN, 8 * IV_LEN, copy, HEADER_LEN, 8 * TAG_LEN };
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_OBJECT_HANDLE object = 0;
	CK_ULONG len = sizeof(plain);
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (err)
		return err;
	err = refuse_without_gcm(p);
	if (err)
		return err;
	err = blob_check(p, blob);
	if (err)
		return err;
	memcpy(copy, blob.data, BLOB_LEN);
	err = blob_key(p, copy, &object);
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_DecryptInit(p->session, &mechanism, object), "C_DecryptInit");
	if (err)
		return err;
	err = decrypted(p, p->p11->C_Decrypt(p->session, copy + HEADER_LEN, BLOB_LEN - HEADER_LEN, plain, &len));
	if (!err && len != CUSTODY_SECRET_LEN)
		err = writ_fail(WRIT_INVALID, "the blob holds %lu bytes, not %d", len, CUSTODY_SECRET_LEN);
	if (!err)
		err = writ_secret_set(ret, (struct writ_bytes){ plain, len });
	OPENSSL_cleanse(plain, sizeof(plain));
	return err;
}

/* The number in a sealing key's label; false: another's key. */
static bool
label_number(const char *text, uint64_t *ret)
{
	char again[CUSTODY_LABEL_MAX + 1];
	unsigned long long number;

	if (strncmp(text, LABEL, strlen(LABEL)) != 0)
		return false;
	number = strtoull(text + strlen(LABEL), NULL, 10);
	snprintf(again, sizeof(again), LABEL "%llu", number);
	*ret = number;
	return strcmp(text, again) == 0;
}

static struct writ_err *
destroy_if_passed(struct pkcs11 *p, CK_OBJECT_HANDLE object, uint64_t number)
{
	char text[CUSTODY_LABEL_MAX + 1] = "";
	CK_ATTRIBUTE label = { CKA_LABEL, text, CUSTODY_LABEL_MAX };
	uint64_t its;
	CK_RV rv;

	rv = p->p11->C_GetAttributeValue(p->session, object, &label, 1);
	if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID)
		return NULL; /* none of ours */
	if (rv != CKR_OK)
		return pkcs11_result(p, rv, "CKA_LABEL");
	text[label.ulValueLen < CUSTODY_LABEL_MAX ? label.ulValueLen : CUSTODY_LABEL_MAX] = '\0';
	if (!label_number(text, &its) || its > number)
		return NULL;
	return pkcs11_result(p, p->p11->C_DestroyObject(p->session, object), "C_DestroyObject of a sealing key");
}

/* The counter first: from then on nothing unseals, whatever becomes of the keys; they are destroyed at the next time.
 */
struct writ_err *
pkcs11_destroy(struct pkcs11 *p, uint64_t number)
{
	const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE template_[] = { ATTR(CKA_TOKEN, yes), ATTR(CKA_CLASS, class) };
	static CK_OBJECT_HANDLE found[SECRETS_MAX];
	struct writ_err *err;
	uint64_t value;
	size_t n = 0;

	err = pkcs11_counter_read(p, COUNTER_SEALED, &value);
	if (!err && value <= number)
		err = pkcs11_counter_set(p, COUNTER_SEALED, number + 1);
	if (!err)
		err = pkcs11_find_all(p, template_, N_OF(template_), found, SECRETS_MAX, &n);
	for (size_t i = 0; !err && i < n; i++)
		err = destroy_if_passed(p, found[i], number);
	return err;
}
