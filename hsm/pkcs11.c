/*
 * Custody in a PKCS#11 token.  Connection, login and faults: pkcs11_token.h.
 *
 * Keys are made in the token, never to leave it, and what the token says of them is read back, after making and at
 * load.  That is the module's own claim: a lying module passes, and only its maker's attestation or a witnessed
 * ceremony says more. Digests are made here and signed by raw CKM_ECDSA, which every token has.  The id is random and
 * not a digest of the public key, since that is not known when the key is made, and afterwards nothing of it may be
 * changed (CKA_MODIFIABLE).
 */
#include <stdlib.h>

#include "base/digest.h"
#include "hsm/pkcs11_key.h"
#include "hsm/pkcs11_object.h"
#include "hsm/pkcs11_seal.h"

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
counter_make(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	return pkcs11_counter_make(pkcs11_of(custody), which, ret);
}

static struct writ_err *
counter_read(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	return pkcs11_counter_read(pkcs11_of(custody), which, ret);
}

static struct writ_err *
counter_raise(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	return pkcs11_counter_raise(pkcs11_of(custody), which, ret);
}

static struct writ_err *
seal(struct custody *custody, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	return pkcs11_seal(pkcs11_of(custody), number, secret, ret_blob);
}

static struct writ_err *
unseal(struct custody *custody, struct writ_bytes blob, struct writ_secret *ret)
{
	return pkcs11_unseal(pkcs11_of(custody), blob, ret);
}

static struct writ_err *
destroy(struct custody *custody, uint64_t number)
{
	return pkcs11_destroy(pkcs11_of(custody), number);
}

static struct writ_err *
pkcs11_info(struct custody *custody, struct custody_info *ret)
{
	*ret = pkcs11_of(custody)->info;
	return NULL;
}

/* ---- what the token says of an object ---- */

static const struct pkcs11_claim sign_claims[] = {
	{ CKA_SIGN, "CKA_SIGN", true },
	{ CKA_DECRYPT, "CKA_DECRYPT", false },
};

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

	err = pkcs11_stays(p, object);
	if (err)
		return err;
	err = pkcs11_claims(p, object, sign_claims, N_OF(sign_claims));
	if (err)
		return err;
	return no_login_each_time(p, object);
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
	uint8_t id_bytes[PKCS11_ID_LEN];
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
	err = pkcs11_find(p, CKO_PRIVATE_KEY, CKK_EC, id, CKA_ID, &found, &private);
	if (err)
		return err;
	if (!found)
		return writ_fail(WRIT_NOT_FOUND, "the token holds no private EC key of that id");
	err = private_key_check(p, private);
	if (err)
		return err;
	/* Tokens may lack the public object: custody_load() then relies on the signature alone, which says more. */
	err = pkcs11_find(p, CKO_PUBLIC_KEY, CKK_EC, id, CKA_ID, &found, &public);
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
	.counter_make = counter_make,
	.counter_read = counter_read,
	.counter_raise = counter_raise,
	.seal = seal,
	.unseal = unseal,
	.destroy = destroy,
	.attest = pkcs11_attest,
	.health = pkcs11_health,
	.unload = pkcs11_unload,
	.close = pkcs11_close,
};
