/*
 * TPM2_MakeCredential in software.  Numbers are of the TPM 2.0 Library, Part 1.
 */
#include "hsm/credential.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <openssl/rsa.h>

#define HASH_MAX 48
#define RSA_LEN 256
#define COORDINATE_MAX 48

struct ek {
	EVP_PKEY *pkey;
	const EVP_MD *hash;
	const EVP_CIPHER *cipher;
	size_t hash_len, key_len;
	size_t coordinate_len; /* 0: RSA */
	const char *group;
};

static struct writ_err *
ek_kind(EVP_PKEY *pkey, struct ek *ret)
{
	char group[32] = "";
	size_t len = 0;

	*ret = (struct ek){
		.pkey = pkey, .hash = EVP_sha256(), .cipher = EVP_aes_128_cfb128(), .hash_len = 32, .key_len = 16
	};
	if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA && EVP_PKEY_get_bits(pkey) == 2048)
		return NULL;
	if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC)
		(void)EVP_PKEY_get_group_name(pkey, group, sizeof(group), &len);
	if (strcmp(group, SN_X9_62_prime256v1) == 0) {
		ret->coordinate_len = 32;
		ret->group = SN_X9_62_prime256v1;
		return NULL;
	}
	if (strcmp(group, SN_secp384r1) == 0) {
		*ret = (struct ek){ pkey, EVP_sha384(), EVP_aes_256_cfb128(), 48, 32, 48, SN_secp384r1 };
		return NULL;
	}
	return writ_fail(WRIT_INVALID,
			 "the endorsement key is of a kind that is not known: RSA-2048, P-256 and P-384 are");
}

static struct writ_err *
broken(void)
{
	return writ_fail(WRIT_BROKEN, "OpenSSL did not compute a challenge");
}

/* 11.4.10.2: counter, label with its NUL, two contexts, length in bits; one round gives all that is asked for here. */
static bool
kdfa(const struct ek *ek, const uint8_t *key, const char *label, struct writ_bytes context, size_t len,
     uint8_t out[HASH_MAX])
{
	uint8_t input[4 + 16 + TPM_NAME_LEN + 4] = { 0, 0, 0, 1 };
	const size_t label_len = strlen(label) + 1;
	size_t at = 4;
	unsigned n;

	memcpy(input + at, label, label_len);
	at += label_len;
	if (context.len > 0)
		memcpy(input + at, context.data, context.len);
	at += context.len;
	writ_put32(input + at, (uint32_t)len * 8);
	at += 4;
	return len <= ek->hash_len && HMAC(ek->hash, key, (int)ek->hash_len, input, at, out, &n) != NULL;
}

/* ---- the seed, and how it travels ---- */

static bool
put_sized(struct writ_buf *out, struct writ_bytes bytes)
{
	const uint8_t size[2] = { (uint8_t)(bytes.len >> 8), (uint8_t)bytes.len };
	struct writ_err *err = writ_buf_add(out, (struct writ_bytes){ size, 2 });

	if (!err)
		err = writ_buf_add(out, bytes);
	writ_err_free(err);
	return !err;
}

static bool
coordinates(const struct ek *ek, EVP_PKEY *pkey, uint8_t x[COORDINATE_MAX], uint8_t y[COORDINATE_MAX])
{
	BIGNUM *a = NULL, *b = NULL;
	const bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &a) == 1 &&
			EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &b) == 1 &&
			BN_bn2binpad(a, x, (int)ek->coordinate_len) > 0 &&
			BN_bn2binpad(b, y, (int)ek->coordinate_len) > 0;

	BN_free(a);
	BN_free(b);
	return ok;
}

static bool
shared_x(EVP_PKEY *own, EVP_PKEY *peer, uint8_t *z, size_t len)
{
	EVP_PKEY_CTX *const ctx = EVP_PKEY_CTX_new(own, NULL);
	const bool ok = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
			EVP_PKEY_derive(ctx, z, &len) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* 11.4.10.3 KDFe: counter, Z, label with its NUL, both keys' x. */
static bool
kdfe(const struct ek *ek, const uint8_t *z, const uint8_t *ours, const uint8_t *theirs, uint8_t seed[HASH_MAX])
{
	static const uint8_t one[4] = { 0, 0, 0, 1 };
	EVP_MD_CTX *const ctx = EVP_MD_CTX_new();
	const size_t n = ek->coordinate_len;
	const bool ok = ctx && EVP_DigestInit_ex(ctx, ek->hash, NULL) == 1 && EVP_DigestUpdate(ctx, one, 4) == 1 &&
			EVP_DigestUpdate(ctx, z, n) == 1 && EVP_DigestUpdate(ctx, "IDENTITY", 9) == 1 &&
			EVP_DigestUpdate(ctx, ours, n) == 1 && EVP_DigestUpdate(ctx, theirs, n) == 1 &&
			EVP_DigestFinal_ex(ctx, seed, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

/* C.6.4: by a key of the moment; its point travels. */
static bool
seed_by_ecdh(const struct ek *ek, uint8_t seed[HASH_MAX], struct writ_buf *out)
{
	uint8_t x[COORDINATE_MAX], y[COORDINATE_MAX], their_x[COORDINATE_MAX], their_y[COORDINATE_MAX],
		z[COORDINATE_MAX];
	EVP_PKEY *const own = EVP_PKEY_Q_keygen(NULL, NULL, "EC", ek->group);
	const bool ok = own && coordinates(ek, own, x, y) && coordinates(ek, ek->pkey, their_x, their_y) &&
			shared_x(own, ek->pkey, z, ek->coordinate_len) && kdfe(ek, z, x, their_x, seed) &&
			put_sized(out, (struct writ_bytes){ x, ek->coordinate_len }) &&
			put_sized(out, (struct writ_bytes){ y, ek->coordinate_len });

	OPENSSL_cleanse(z, sizeof(z));
	EVP_PKEY_free(own);
	return ok;
}

/* B.10.4: chosen here, encrypted by OAEP with the key's hash and a label that ends in a NUL. */
static bool
seed_by_rsa(const struct ek *ek, uint8_t seed[HASH_MAX], struct writ_buf *out)
{
	EVP_PKEY_CTX *const ctx = EVP_PKEY_CTX_new(ek->pkey, NULL);
	uint8_t encrypted[RSA_LEN];
	size_t len = sizeof(encrypted);
	void *label = OPENSSL_memdup("IDENTITY", 9);
	bool ok;

	writ_random(seed, ek->hash_len);
	ok = ctx && label && EVP_PKEY_encrypt_init(ctx) == 1 &&
	     EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	     EVP_PKEY_CTX_set_rsa_oaep_md(ctx, ek->hash) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, ek->hash) == 1;
	if (ok && EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, 9) == 1)
		label = NULL; /* the context's now */
	ok = ok && !label && EVP_PKEY_encrypt(ctx, encrypted, &len, seed, ek->hash_len) == 1;
	if (ok) {
		struct writ_err *err = writ_buf_add(out, (struct writ_bytes){ encrypted, len });

		ok = !err;
		writ_err_free(err);
	}
	OPENSSL_free(label);
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* ---- the credential ---- */

/* 24.4: the sized secret, encrypted from a zero IV. */
static bool
encrypt(const struct ek *ek, const uint8_t *key, const struct writ_secret *secret, uint8_t out[2 + ATTEST_SECRET_LEN])
{
	static const uint8_t zero[16];
	EVP_CIPHER_CTX *const ctx = EVP_CIPHER_CTX_new();
	const uint8_t size[2] = { 0, ATTEST_SECRET_LEN };
	int a = 0, b = 0;
	const bool ok = ctx && EVP_EncryptInit_ex(ctx, ek->cipher, NULL, key, zero) == 1 &&
			EVP_EncryptUpdate(ctx, out, &a, size, 2) == 1 && a == 2 &&
			EVP_EncryptUpdate(ctx, out + 2, &b, secret->data, ATTEST_SECRET_LEN) == 1 &&
			b == ATTEST_SECRET_LEN;

	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* TPMS_ID_OBJECT: HMAC (with its size) over the encrypted secret and the name, then the encrypted secret. */
static bool
id_object(const struct ek *ek, const uint8_t seed[HASH_MAX], const uint8_t name[TPM_NAME_LEN],
	  const struct writ_secret *secret, struct writ_buf *out)
{
	uint8_t key[HASH_MAX], mac_key[HASH_MAX], mac[HASH_MAX], input[2 + ATTEST_SECRET_LEN + TPM_NAME_LEN];
	struct writ_err *err = NULL;
	unsigned n;
	bool ok;

	ok = kdfa(ek, seed, "STORAGE", (struct writ_bytes){ name, TPM_NAME_LEN }, ek->key_len, key) &&
	     kdfa(ek, seed, "INTEGRITY", (struct writ_bytes){ 0 }, ek->hash_len, mac_key) &&
	     encrypt(ek, key, secret, input);
	if (ok) {
		memcpy(input + 2 + ATTEST_SECRET_LEN, name, TPM_NAME_LEN);
		ok = HMAC(ek->hash, mac_key, (int)ek->hash_len, input, sizeof(input), mac, &n) != NULL &&
		     put_sized(out, (struct writ_bytes){ mac, ek->hash_len });
	}
	if (ok)
		err = writ_buf_add(out, (struct writ_bytes){ input, 2 + ATTEST_SECRET_LEN });
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(mac_key, sizeof(mac_key));
	ok = ok && !err;
	writ_err_free(err);
	return ok;
}

struct writ_err *
credential_make(EVP_PKEY *pkey, const uint8_t name[TPM_NAME_LEN], const struct writ_secret *secret,
		struct writ_buf *ret_id_object, struct writ_buf *ret_encrypted)
{
	AUTO(writ_buf_done)
	struct writ_buf travelling = WRIT_BUF(ATTEST_ENCRYPTED_MAX),
			object = WRIT_BUF(ATTEST_ID_OBJECT_MAX);
	uint8_t seed[HASH_MAX];
	struct writ_err *err;
	struct ek ek;
	bool ok;

	err = ek_kind(pkey, &ek);
	if (err)
		return err;
	if (secret->len != ATTEST_SECRET_LEN)
		return writ_fail(WRIT_INVALID, "a challenge's secret has %d bytes, not %zu", ATTEST_SECRET_LEN,
				 secret->len);
	ok = (ek.coordinate_len > 0 ? seed_by_ecdh(&ek, seed, &travelling) : seed_by_rsa(&ek, seed, &travelling)) &&
	     id_object(&ek, seed, name, secret, &object) && put_sized(ret_id_object, writ_view(&object)) &&
	     put_sized(ret_encrypted, writ_view(&travelling));
	OPENSSL_cleanse(seed, sizeof(seed));
	return ok ? NULL : broken();
}
