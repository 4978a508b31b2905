/*
 * P-256 in the secure heap, by OpenSSL's parameters: EVP_PKEY_fromdata of a secure BIGNUM leaves one copy of the
 * scalar.
 */
#include "issuer/signer/softkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include "base/digest.h"

#define VERIFY_EVERY 64 /* DESIGN.md, one issuance */
#define POINT_LEN 65
#define NONCE_LEN 12
#define TAG_LEN 16
#define DRAWS_MAX 8 /* a scalar is out of range once in 2^32 */

static void
bn_done(BIGNUM **bn)
{
	BN_clear_free(*bn);
}

static void
group_done(EC_GROUP **group)
{
	EC_GROUP_free(*group);
}

static void
point_done(EC_POINT **point)
{
	EC_POINT_free(*point);
}

static void
bn_ctx_done(BN_CTX **ctx)
{
	BN_CTX_free(*ctx);
}

static void
params_done(OSSL_PARAM **params)
{
	OSSL_PARAM_free(*params);
}

static void
builder_done(OSSL_PARAM_BLD **builder)
{
	OSSL_PARAM_BLD_free(*builder);
}

static void
pkey_ctx_done(EVP_PKEY_CTX **ctx)
{
	EVP_PKEY_CTX_free(*ctx);
}

static void
cipher_done(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

/* The scalar as a BIGNUM of the secure heap; NULL when it is not in 1..n-1. */
static BIGNUM *
scalar_bn(const struct writ_secret *scalar, const EC_GROUP *group)
{
	BIGNUM *bn = scalar->len == SOFT_KEY_SCALAR_LEN ? BN_secure_new() : NULL;

	if (bn && BN_bin2bn(scalar->data, SOFT_KEY_SCALAR_LEN, bn) && !BN_is_zero(bn) &&
	    BN_cmp(bn, EC_GROUP_get0_order(group)) < 0) {
		BN_set_flags(bn, BN_FLG_CONSTTIME);
		return bn;
	}
	BN_clear_free(bn);
	return NULL;
}

static bool
public_of(const BIGNUM *bn, const EC_GROUP *group, uint8_t out[POINT_LEN])
{
	AUTO(bn_ctx_done) BN_CTX *ctx = BN_CTX_secure_new();
	AUTO(point_done) EC_POINT *point = EC_POINT_new(group);

	return ctx && point && EC_POINT_mul(group, point, bn, NULL, NULL, ctx) == 1 &&
	       EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, POINT_LEN, ctx) == POINT_LEN;
}

static EVP_PKEY *
pkey_of(const BIGNUM *bn, const uint8_t point[POINT_LEN])
{
	AUTO(builder_done) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	AUTO(pkey_ctx_done) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	AUTO(params_done) OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	if (builder && OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_LEN) == 1 &&
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, bn) == 1)
		params = OSSL_PARAM_BLD_to_param(builder);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		return NULL;
	return pkey;
}

/* Everything but the scalar's choice.  No trial signature: a CA key signs nothing that is not journalled (I2); the
 * first real one is verified. */
static struct writ_err *
key_fill(struct soft_key *key, const BIGNUM *bn, const EC_GROUP *group)
{
	uint8_t point[POINT_LEN];
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	struct writ_err *err;

	if (!public_of(bn, group, point))
		return writ_fail(WRIT_BROKEN, "the public key could not be computed");
	err = spki_build(KEY_P256, (struct writ_bytes){ point, POINT_LEN }, &spki);
	if (!err)
		err = pubkey_load(writ_view(&spki), &key->public);
	if (err)
		return err;
	memcpy(key->spki, spki.data, spki.len);
	key->spki_len = spki.len;
	key->pkey = pkey_of(bn, point);
	key->sign = key->pkey ? EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL) : NULL;
	if (!key->sign || EVP_PKEY_sign_init(key->sign) != 1)
		return writ_fail(WRIT_BROKEN, "a key in memory could not be made");
	return NULL;
}

static struct writ_err *
key_of(struct soft_key *key, const struct writ_secret *scalar, bool *ret_in_range)
{
	AUTO(group_done) EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	AUTO(bn_done) BIGNUM *bn = group ? scalar_bn(scalar, group) : NULL;
	struct writ_err *err;

	*key = (struct soft_key){ 0 };
	*ret_in_range = bn != NULL;
	if (!group)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the curve");
	if (!bn)
		return NULL;
	err = key_fill(key, bn, group);
	if (err)
		soft_key_done(key);
	return err;
}

struct writ_err *
soft_key_make(struct soft_key *key, struct writ_secret *ret_scalar)
{
	AUTO(writ_secret_done) struct writ_secret scalar = { 0 };
	bool in_range = false;

	for (unsigned i = 0; i < DRAWS_MAX && !in_range; i++) {
		struct writ_err *err = writ_secret_random(&scalar, SOFT_KEY_SCALAR_LEN);

		if (!err)
			err = key_of(key, &scalar, &in_range);
		if (err)
			return err;
	}
	if (!in_range)
		return writ_fail(WRIT_BROKEN,
				 "no scalar in range after %d draws: the random number generator has failed",
				 DRAWS_MAX);
	if (ret_scalar) {
		*ret_scalar = scalar;
		scalar = (struct writ_secret){ 0 };
	}
	return NULL;
}

struct writ_err *
soft_key_load(struct soft_key *key, const struct writ_secret *scalar, struct writ_bytes spki)
{
	struct writ_err *err;
	bool in_range;

	err = key_of(key, scalar, &in_range);
	if (err)
		return err;
	if (in_range && writ_equal(soft_key_spki(key), spki))
		return NULL;
	soft_key_done(key);
	return writ_fail(WRIT_LOCKED, "the unwrapped key is not that of its certificate");
}

struct writ_err *
soft_key_sign(struct soft_key *key, struct writ_bytes message, uint8_t out[SOFT_KEY_SIGNATURE_MAX], size_t *ret_len)
{
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	writ_sha256(message, digest);
	*ret_len = SOFT_KEY_SIGNATURE_MAX;
	if (EVP_PKEY_sign(key->sign, out, ret_len, digest, sizeof(digest)) != 1)
		return writ_fail(WRIT_BROKEN, "a key in memory could not sign");
	if (key->n_signed++ % VERIFY_EVERY != 0)
		return NULL;
	err = pubkey_verify(&key->public, message, (struct writ_bytes){ out, *ret_len });
	return err ? writ_recode(err, WRIT_BROKEN, "a signature made in memory is wrong: bad memory or processor")
		   : NULL;
}

struct writ_err *
soft_key_sign_digest(struct soft_key *key, const uint8_t digest[32], uint8_t out[SOFT_KEY_SIGNATURE_MAX], size_t *ret_len)
{
	struct writ_err *err;

	*ret_len = SOFT_KEY_SIGNATURE_MAX;
	if (EVP_PKEY_sign(key->sign, out, ret_len, digest, SHA256_LEN) != 1)
		return writ_fail(WRIT_BROKEN, "a key in memory could not sign");
	err = pubkey_verify_digest(&key->public, digest, (struct writ_bytes){ out, *ret_len });
	return err ? writ_recode(err, WRIT_BROKEN, "a signature made in memory is wrong: bad memory or processor")
		   : NULL;
}

void
soft_key_done(struct soft_key *key)
{
	EVP_PKEY_CTX_free(key->sign);
	EVP_PKEY_free(key->pkey); /* wipes the scalar */
	pubkey_done(&key->public);
	*key = (struct soft_key){ 0 };
}

/* ---- at rest ---- */

struct writ_err *
soft_key_wrap(const struct writ_secret *scalar, const struct writ_secret *wrapping, struct writ_bytes header,
	      uint8_t out[SOFT_KEY_WRAPPED_LEN])
{
	AUTO(cipher_done) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *text = out + NONCE_LEN, *tag = text + SOFT_KEY_SCALAR_LEN;
	int n, ok;

	if (scalar->len != SOFT_KEY_SCALAR_LEN || wrapping->len != 32)
		return writ_fail(WRIT_BROKEN, "wrapping takes 32 bytes under 32 bytes");
	writ_random(out, NONCE_LEN);
	ok = ctx && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), wrapping->data, out, NULL) == 1 &&
	     EVP_EncryptUpdate(ctx, NULL, &n, header.data, (int)header.len) == 1 &&
	     EVP_EncryptUpdate(ctx, text, &n, scalar->data, SOFT_KEY_SCALAR_LEN) == 1 && n == SOFT_KEY_SCALAR_LEN &&
	     EVP_EncryptFinal_ex(ctx, tag, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) == 1;
	return ok ? NULL : writ_fail(WRIT_BROKEN, "an issuing key could not be wrapped");
}

struct writ_err *
soft_key_unwrap(struct writ_bytes wrapped, const struct writ_secret *wrapping, struct writ_bytes header,
		struct writ_secret *ret_scalar)
{
	static const uint8_t room[SOFT_KEY_SCALAR_LEN];
	AUTO(cipher_done) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const uint8_t *text = wrapped.data + NONCE_LEN;
	uint8_t tag[TAG_LEN];
	struct writ_err *err;
	int n, ok;

	if (wrapped.len != SOFT_KEY_WRAPPED_LEN || wrapping->len != 32)
		return writ_fail(WRIT_LOCKED, "a wrapped key has %d bytes, not %zu", SOFT_KEY_WRAPPED_LEN, wrapped.len);
	err = writ_secret_set(ret_scalar, (struct writ_bytes){ room, sizeof(room) });
	if (err)
		return err;
	memcpy(tag, text + SOFT_KEY_SCALAR_LEN, TAG_LEN);
	ok = ctx && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), wrapping->data, wrapped.data, NULL) == 1 &&
	     EVP_DecryptUpdate(ctx, NULL, &n, header.data, (int)header.len) == 1 &&
	     EVP_DecryptUpdate(ctx, ret_scalar->data, &n, text, SOFT_KEY_SCALAR_LEN) == 1 && n == SOFT_KEY_SCALAR_LEN &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
	     EVP_DecryptFinal_ex(ctx, ret_scalar->data + SOFT_KEY_SCALAR_LEN, &n) == 1;
	if (ok)
		return NULL;
	writ_secret_done(ret_scalar);
	return writ_fail(WRIT_LOCKED, "a wrapped key does not open: it was changed, or sealed by another device");
}
