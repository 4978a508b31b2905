/*
 * Custody in a PKCS#11 token.  Connection, login and faults: pkcs11_token.h.
 *
 * Keys are made in the token, never to leave it, and what the token says of them is read back, after making and at
 * load.  That is the module's own claim: a lying module passes, and only its maker's attestation or a witnessed
 * ceremony says more. Digests are made here and signed by raw CKM_ECDSA, which every token has.  The id is random and
 * not a digest of the public key, since that is not known when the key is made, and afterwards nothing of it may be
 * changed (CKA_MODIFIABLE).
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/digest.h"
#include "hsm/codes.h"
#include "hsm/pkcs11_key.h"

#define ID_LEN 20
#define SEAL_LABEL "writ-seal"

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* Templates are not written to, but the interface lacks const. */
#define ATTR(type, lvalue)                                                                                             \
	{                                                                                                              \
		(type), (void *)(uintptr_t) & (lvalue), sizeof(lvalue)                                                 \
	}
#define ATTR_BYTES(type, bytes)                                                                                        \
	{                                                                                                              \
		(type), (void *)(uintptr_t)(bytes).data, (bytes).len                                                   \
	}

static const uint8_t params_p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
static const uint8_t params_p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };

static struct pkcs11 *
pkcs11_of(struct custody *custody)
{
	return (struct pkcs11 *)custody;
}

static struct writ_bytes
ec_params(enum key_kind kind)
{
	if (kind == KEY_P384)
		return (struct writ_bytes){ params_p384, sizeof(params_p384) };
	return (struct writ_bytes){ params_p256, sizeof(params_p256) };
}

static void
pkcs11_close(struct custody *custody)
{
	struct pkcs11 *const p = pkcs11_of(custody);

	pkcs11_down(p);
	if (p->p11)
		p11_kit_module_release(p->p11);
	pkcs11_uri_freep(&p->uri);
	writ_secret_done(&p->pin);
	free(p);
}

static struct writ_err *
pkcs11_open(const struct custody_conf *conf, const struct writ_secret *auth, struct custody **ret)
{
	struct pkcs11 *const p = calloc(1, sizeof(*p));
	struct writ_err *err;

	if (!p)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a device");
	p->base.ops = &custody_pkcs11;
	p->conf = *conf;
	err = pkcs11_uri_token(conf->uri, &p->uri);
	if (!err && auth->len == 0)
		err = writ_fail(WRIT_INVALID, "the token's user PIN is empty");
	if (!err)
		err = writ_secret_set(&p->pin, (struct writ_bytes){ auth->data, auth->len });
	if (!err)
		err = pkcs11_ready(p);
	if (err) {
		pkcs11_close(&p->base);
		return err;
	}
	*ret = &p->base;
	return NULL;
}

static struct writ_err *
pkcs11_info(struct custody *custody, struct custody_info *ret)
{
	*ret = pkcs11_of(custody)->info;
	return NULL;
}

/* ---- what the token says of an object ---- */

struct claim {
	CK_ATTRIBUTE_TYPE type;
	const char *name;
	bool want;
};

static const struct claim key_claims[] = {
	{ CKA_TOKEN, "CKA_TOKEN", true },
	{ CKA_PRIVATE, "CKA_PRIVATE", true },
	{ CKA_SENSITIVE, "CKA_SENSITIVE", true },
	{ CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", true },
	{ CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", true },
	{ CKA_LOCAL, "CKA_LOCAL", true },
	{ CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false },
	{ CKA_MODIFIABLE, "CKA_MODIFIABLE", false },
	{ CKA_UNWRAP, "CKA_UNWRAP", false },
	{ CKA_DERIVE, "CKA_DERIVE", false },
};

static const struct claim sign_claims[] = {
	{ CKA_SIGN, "CKA_SIGN", true },
	{ CKA_DECRYPT, "CKA_DECRYPT", false },
};

static const struct claim seal_claims[] = {
	{ CKA_ENCRYPT, "CKA_ENCRYPT", true },
	{ CKA_DECRYPT, "CKA_DECRYPT", true },
	{ CKA_WRAP, "CKA_WRAP", false },
	{ CKA_SIGN, "CKA_SIGN", false },
};

static struct writ_err *
claims_check(struct pkcs11 *p, CK_OBJECT_HANDLE object, const struct claim *claims, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CK_BBOOL value = 2;
		CK_ATTRIBUTE attribute = ATTR(claims[i].type, value);
		struct writ_err *err;

		err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, object, &attribute, 1), claims[i].name);
		if (err)
			return err;
		if (attribute.ulValueLen != sizeof(value) || value != (claims[i].want ? CK_TRUE : CK_FALSE))
			return writ_fail(WRIT_LOCKED, "the token's %s of the key is not %s: the key is not used",
					 claims[i].name, claims[i].want ? "true" : "false");
	}
	return NULL;
}

/* Asked for its secret value the token must refuse. */
static struct writ_err *
value_is_kept(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	uint8_t value[128];
	CK_ATTRIBUTE attribute = ATTR(CKA_VALUE, value);
	const CK_RV rv = p->p11->C_GetAttributeValue(p->session, object, &attribute, 1);

	OPENSSL_cleanse(value, sizeof(value));
	if (rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID)
		return NULL;
	if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
		return pkcs11_result(p, rv, "C_GetAttributeValue of CKA_VALUE");
	return writ_fail(WRIT_LOCKED, "the token gives the key's secret value away (CKA_VALUE): the key is not used");
}

/* Unattended use of a key that wants a login for each signature would mean to keep the PIN ready for it. */
static struct writ_err *
no_login_each_time(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	CK_BBOOL value = CK_FALSE;
	CK_ATTRIBUTE attribute = ATTR(CKA_ALWAYS_AUTHENTICATE, value);
	const CK_RV rv = p->p11->C_GetAttributeValue(p->session, object, &attribute, 1);

	if (rv == CKR_ATTRIBUTE_TYPE_INVALID)
		return NULL; /* an older token: it has no such keys */
	if (rv != CKR_OK)
		return pkcs11_result(p, rv, "CKA_ALWAYS_AUTHENTICATE");
	if (value == CK_FALSE)
		return NULL;
	return writ_fail(WRIT_LOCKED,
			 "the key wants a login for each signature (CKA_ALWAYS_AUTHENTICATE): it is not used");
}

static struct writ_err *
private_key_check(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	struct writ_err *err;

	err = claims_check(p, object, key_claims, N_OF(key_claims));
	if (err)
		return err;
	err = claims_check(p, object, sign_claims, N_OF(sign_claims));
	if (err)
		return err;
	err = no_login_each_time(p, object);
	if (err)
		return err;
	return value_is_kept(p, object);
}

/* CKA_EC_POINT is an OCTET STRING by the standard and the bare point in some tokens; the lengths tell. */
static struct writ_err *
public_key_spki(struct pkcs11 *p, CK_OBJECT_HANDLE object, enum key_kind kind, struct writ_buf *ret)
{
	const size_t raw_len = 1 + 2 * custody_scalar_len(kind);
	const struct writ_bytes want = ec_params(kind);
	uint8_t point[128], params[64];
	CK_ATTRIBUTE attributes[] = { ATTR(CKA_EC_POINT, point), ATTR(CKA_EC_PARAMS, params) };
	struct writ_bytes raw;
	struct writ_err *err;

	err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, object, attributes, N_OF(attributes)),
			    "CKA_EC_POINT");
	if (err)
		return err;
	raw = (struct writ_bytes){ point, attributes[0].ulValueLen };
	if (!writ_equal(want, (struct writ_bytes){ params, attributes[1].ulValueLen }))
		return writ_fail(WRIT_LOCKED, "the token's key is on another curve than %s", key_kind_name(kind));
	if (raw.len == raw_len + 2 && point[0] == 0x04 && point[1] == raw_len)
		raw = (struct writ_bytes){ point + 2, raw_len };
	if (raw.len != raw_len || raw.data[0] != 0x04)
		return writ_fail(WRIT_LOCKED, "the token's point has %zu bytes: no uncompressed %s point", raw.len,
				 key_kind_name(kind));
	return spki_build(kind, raw, ret);
}

/* Finds at most one object of that class and id, of that key type; two are an error, none leaves *ret_found false. */
static struct writ_err *
object_find(struct pkcs11 *p, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct writ_bytes by, CK_ATTRIBUTE_TYPE by_type,
	    bool *ret_found, CK_OBJECT_HANDLE *ret)
{
	CK_ATTRIBUTE template_[] = { ATTR(CKA_TOKEN, yes), ATTR(CKA_CLASS, class), ATTR(CKA_KEY_TYPE, type),
				     ATTR_BYTES(by_type, by) };
	CK_OBJECT_HANDLE found[2] = { 0 };
	CK_ULONG n = 0;
	struct writ_err *err;
	CK_RV rv;

	*ret_found = false;
	err = pkcs11_result(p, p->p11->C_FindObjectsInit(p->session, template_, N_OF(template_)), "C_FindObjectsInit");
	if (err)
		return err;
	rv = p->p11->C_FindObjects(p->session, found, N_OF(found), &n);
	err = pkcs11_result(p, p->p11->C_FindObjectsFinal(p->session), "C_FindObjectsFinal");
	if (err)
		return err;
	err = pkcs11_result(p, rv, "C_FindObjects");
	if (err)
		return err;
	if (n > 1)
		return writ_fail(WRIT_LOCKED,
				 "the token holds several objects where one is meant: remove the others by hand");
	*ret_found = n == 1;
	*ret = found[0];
	return NULL;
}

/* ---- keys ---- */

static struct writ_err *
pair_make(struct pkcs11 *p, enum key_kind kind, struct writ_bytes id, struct writ_bytes label,
	  CK_OBJECT_HANDLE *ret_public, CK_OBJECT_HANDLE *ret_private)
{
	const struct writ_bytes params = ec_params(kind);
	CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	CK_ATTRIBUTE public[] = {
		ATTR(CKA_TOKEN, yes),
		ATTR(CKA_PRIVATE, no),
		ATTR(CKA_MODIFIABLE, no),
		ATTR(CKA_VERIFY, yes),
		ATTR(CKA_ENCRYPT, no),
		ATTR(CKA_WRAP, no),
		ATTR_BYTES(CKA_EC_PARAMS, params),
		ATTR_BYTES(CKA_ID, id),
		ATTR_BYTES(CKA_LABEL, label),
	};
	CK_ATTRIBUTE private[] = {
		ATTR(CKA_TOKEN, yes),	  ATTR(CKA_PRIVATE, yes),	ATTR(CKA_MODIFIABLE, no),
		ATTR(CKA_SENSITIVE, yes), ATTR(CKA_EXTRACTABLE, no),	ATTR(CKA_SIGN, yes),
		ATTR(CKA_DECRYPT, no),	  ATTR(CKA_UNWRAP, no),		ATTR(CKA_DERIVE, no),
		ATTR_BYTES(CKA_ID, id),	  ATTR_BYTES(CKA_LABEL, label),
	};

	return pkcs11_result(p,
			     p->p11->C_GenerateKeyPair(p->session, &mechanism, public, N_OF(public), private,
						       N_OF(private), ret_public, ret_private),
			     "C_GenerateKeyPair");
}

static struct writ_err *
pkcs11_make_key(struct custody *custody, enum key_kind kind, const char *label, struct writ_buf *ret_ref,
		struct writ_buf *ret_spki)
{
	struct pkcs11 *const p = pkcs11_of(custody);
	CK_OBJECT_HANDLE public = 0, private = 0;
	uint8_t id_bytes[ID_LEN];
	const struct writ_bytes id = { id_bytes, sizeof(id_bytes) };
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (err)
		return err;
	writ_random(id_bytes, sizeof(id_bytes));
	err = pair_make(p, kind, id, writ_str(label), &public, &private);
	if (err)
		return err;
	err = private_key_check(p, private);
	if (!err)
		err = public_key_spki(p, public, kind, ret_spki);
	if (!err)
		err = pkcs11_uri_write(&p->token, id, label, ret_ref);
	if (err) { /* not what was asked for: do not leave it lying about */
		p->p11->C_DestroyObject(p->session, private);
		p->p11->C_DestroyObject(p->session, public);
	}
	return err;
}

struct writ_err *
pkcs11_key_here(struct pkcs11 *p, struct pkcs11_key *key)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	const struct writ_bytes id = { key->id, key->id_len };
	CK_OBJECT_HANDLE private = 0, public = 0;
	struct writ_err *err;
	bool found;

	if (key->generation == p->generation)
		return NULL;
	err = object_find(p, CKO_PRIVATE_KEY, CKK_EC, id, CKA_ID, &found, &private);
	if (err)
		return err;
	if (!found)
		return writ_fail(WRIT_NOT_FOUND, "the token holds no private EC key of that id");
	err = private_key_check(p, private);
	if (err)
		return err;
	/* Tokens may lack the public object: custody_load() then relies on the signature alone, which says more. */
	err = object_find(p, CKO_PUBLIC_KEY, CKK_EC, id, CKA_ID, &found, &public);
	if (err)
		return err;
	if (found) {
		err = public_key_spki(p, public, key->kind, &spki);
		if (err)
			return err;
		if (!writ_equal(writ_view(&spki), writ_view(&key->spki)))
			return writ_fail(WRIT_LOCKED, "the token's key of that id is another key than the pinned one");
	}
	key->handle = private;
	key->generation = p->generation;
	return NULL;
}

static void
pkcs11_unload(struct key *base)
{
	struct pkcs11_key *const key = (struct pkcs11_key *)base;

	writ_buf_done(&key->spki);
	free(key);
}

static struct writ_err *
key_read(struct pkcs11 *p, struct writ_bytes ref, struct writ_bytes spki, struct pkcs11_key *key)
{
	AUTO(pkcs11_uri_freep) P11KitUri *uri = NULL;
	struct writ_bytes raw;
	struct writ_err *err;

	err = pkcs11_uri_key(ref, &uri, key->id, &key->id_len);
	if (err)
		return err;
	err = spki_parse(spki, &key->kind, &raw);
	if (err)
		return err;
	err = writ_buf_add(&key->spki, spki);
	if (err)
		return err;
	err = pkcs11_ready(p);
	if (err)
		return err;
	if (!p11_kit_uri_match_token_info(uri, &p->token))
		return writ_fail(WRIT_LOCKED, "the key reference names another token than %s", p->info.serial);
	return pkcs11_key_here(p, key);
}

static struct writ_err *
pkcs11_load(struct custody *custody, struct writ_bytes ref, struct writ_bytes spki, struct key **ret)
{
	struct pkcs11_key *const key = calloc(1, sizeof(*key));
	struct writ_err *err;

	if (!key)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a key");
	key->base.custody = custody;
	key->spki = WRIT_BUF(SPKI_MAX);
	err = key_read(pkcs11_of(custody), ref, spki, key);
	if (err) {
		pkcs11_unload(&key->base);
		return err;
	}
	*ret = &key->base;
	return NULL;
}

static struct writ_err *
pkcs11_sign(struct key *base, struct writ_bytes message, struct writ_buf *ret_sig)
{
	struct pkcs11_key *const key = (struct pkcs11_key *)base;
	struct pkcs11 *const p = pkcs11_of(base->custody);
	const size_t n = custody_scalar_len(key->kind);
	CK_MECHANISM mechanism = { CKM_ECDSA, NULL, 0 };
	uint8_t digest[CUSTODY_DIGEST_MAX], sig[2 * CUSTODY_DIGEST_MAX + 16];
	CK_ULONG sig_len = sizeof(sig);
	struct writ_err *err;
	size_t digest_len;

	err = custody_digest(key->kind, message, digest, &digest_len);
	if (err)
		return err;
	err = pkcs11_ready(p);
	if (err)
		return err;
	err = pkcs11_key_here(p, key);
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_SignInit(p->session, &mechanism, key->handle), "C_SignInit");
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_Sign(p->session, digest, digest_len, sig, &sig_len), "C_Sign");
	if (err)
		return err;
	if (sig_len != 2 * n)
		return writ_fail(WRIT_LOCKED, "the token's signature has %lu bytes; r and s of %s have %zu", sig_len,
				 key_kind_name(key->kind), 2 * n);
	return custody_ecdsa_der(key->kind, (struct writ_bytes){ sig, n }, (struct writ_bytes){ sig + n, n }, ret_sig);
}

/* ---- sealing ---- */

/* A sealed blob: magic, token serial, id of the sealing key, IV; then the ciphertext and its tag, which covers the rest
 * too. */
#define MAGIC "WRITSEAL\001"
#define MAGIC_LEN 9
#define SERIAL_LEN 16
#define IV_LEN 12
#define TAG_LEN 16
#define HEADER_LEN (MAGIC_LEN + SERIAL_LEN + ID_LEN + IV_LEN)
#define BLOB_LEN (HEADER_LEN + CUSTODY_SECRET_LEN + TAG_LEN)

static struct writ_err *
seal_key_check(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	struct writ_err *err;

	err = claims_check(p, object, key_claims, N_OF(key_claims));
	if (err)
		return err;
	err = claims_check(p, object, seal_claims, N_OF(seal_claims));
	if (err)
		return err;
	return value_is_kept(p, object);
}

static struct writ_err *
seal_key_make(struct pkcs11 *p, CK_OBJECT_HANDLE *ret)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 32;
	uint8_t id_bytes[ID_LEN];
	const struct writ_bytes id = { id_bytes, sizeof(id_bytes) }, label = WRIT_LIT(SEAL_LABEL);
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

/* The sealing key, found by its label or made: a token has one. */
static struct writ_err *
seal_key_here(struct pkcs11 *p)
{
	CK_ATTRIBUTE id = { CKA_ID, p->seal_id, sizeof(p->seal_id) };
	CK_OBJECT_HANDLE object = 0;
	struct writ_err *err;
	bool found;

	if (p->seal_generation == p->generation)
		return NULL;
	err = object_find(p, CKO_SECRET_KEY, CKK_AES, WRIT_LIT(SEAL_LABEL), CKA_LABEL, &found, &object);
	if (!err && !found)
		err = seal_key_make(p, &object);
	if (err)
		return err;
	err = seal_key_check(p, object);
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, object, &id, 1), "CKA_ID of the sealing key");
	if (err)
		return err;
	if (id.ulValueLen != ID_LEN)
		return writ_fail(WRIT_LOCKED, "the token's key '" SEAL_LABEL "' has an id of %lu bytes: it is not ours",
				 id.ulValueLen);
	p->seal_key = object;
	p->seal_generation = p->generation;
	return NULL;
}

static struct writ_err *
refuse_without_gcm(const struct pkcs11 *p)
{
	if (p->info.can_seal)
		return NULL;
	return writ_fail(WRIT_INVALID, "this token cannot seal: it has no CKM_AES_GCM");
}

static struct writ_err *
pkcs11_seal(struct custody *custody, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	struct pkcs11 *const p = pkcs11_of(custody);
	uint8_t blob[BLOB_LEN], *const iv = blob + HEADER_LEN - IV_LEN;
	CK_GCM_PARAMS gcm = { iv, IV_LEN, 8 * IV_LEN, blob, HEADER_LEN, 8 * TAG_LEN };
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_ULONG len = BLOB_LEN - HEADER_LEN;
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (err)
		return err;
	err = refuse_without_gcm(p);
	if (err)
		return err;
	err = seal_key_here(p);
	if (err)
		return err;
	memcpy(blob, MAGIC, MAGIC_LEN);
	memcpy(blob + MAGIC_LEN, p->token.serialNumber, SERIAL_LEN);
	memcpy(blob + MAGIC_LEN + SERIAL_LEN, p->seal_id, ID_LEN);
	writ_random(iv, IV_LEN); /* 96 random bits: safe for 2^32 seals under one key, and a generation is one */
	err = pkcs11_result(p, p->p11->C_EncryptInit(p->session, &mechanism, p->seal_key), "C_EncryptInit");
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

/* After C_DecryptInit went well; SoftHSM says CKR_GENERAL_ERROR of a wrong tag, others what they should. */
static struct writ_err *
decrypted(struct pkcs11 *p, CK_RV rv)
{
	if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE || rv == CKR_GENERAL_ERROR ||
	    rv == CKR_FUNCTION_FAILED || rv == CKR_SIGNATURE_INVALID)
		return writ_fail(WRIT_INVALID, "the blob is damaged: C_Decrypt: %s (0x%lx)", pkcs11_code_name(rv), rv);
	return pkcs11_result(p, rv, "C_Decrypt");
}

static struct writ_err *
pkcs11_unseal(struct custody *custody, struct writ_bytes blob, struct writ_secret *ret)
{
	struct pkcs11 *const p = pkcs11_of(custody);
	uint8_t copy[BLOB_LEN], plain[CUSTODY_SECRET_LEN + TAG_LEN];
	CK_GCM_PARAMS gcm = { copy + HEADER_LEN - IV_LEN, IV_LEN, 8 * IV_LEN, copy, HEADER_LEN, 8 * TAG_LEN };
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_OBJECT_HANDLE object = 0;
	CK_ULONG len = sizeof(plain);
	struct writ_err *err;
	bool found;

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
	err = object_find(p, CKO_SECRET_KEY, CKK_AES, (struct writ_bytes){ copy + MAGIC_LEN + SERIAL_LEN, ID_LEN },
			  CKA_ID, &found, &object);
	if (err)
		return err;
	if (!found)
		return writ_fail(WRIT_NOT_FOUND, "the token no longer holds the key that sealed the blob");
	err = seal_key_check(p, object);
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

/* A session that is still logged in, on a token that still answers. */
static struct writ_err *
pkcs11_health(struct custody *custody)
{
	struct pkcs11 *const p = pkcs11_of(custody);
	CK_SESSION_INFO session = { 0 };
	CK_TOKEN_INFO token = { 0 };
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (err)
		return err;
	err = pkcs11_result(p, p->p11->C_GetSessionInfo(p->session, &session), "C_GetSessionInfo");
	if (err)
		return err;
	if (session.state != CKS_RW_USER_FUNCTIONS)
		return pkcs11_result(p, CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo");
	return pkcs11_result(p, p->p11->C_GetTokenInfo(session.slotID, &token), "C_GetTokenInfo");
}

const struct custody_ops custody_pkcs11 = {
	.scheme = "pkcs11",
	.open = pkcs11_open,
	.info = pkcs11_info,
	.make_key = pkcs11_make_key,
	.load = pkcs11_load,
	.sign = pkcs11_sign,
	.seal = pkcs11_seal,
	.unseal = pkcs11_unseal,
	.attest = pkcs11_attest,
	.health = pkcs11_health,
	.unload = pkcs11_unload,
	.close = pkcs11_close,
};
