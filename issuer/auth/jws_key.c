/*
 * Keys that check a JWS: read from a SubjectPublicKeyInfo or a JWK, of three kinds and bounded sizes.
 *
 * Knows no header: the algorithm was read by jws.c, and a key of another kind than it names is refused, so that a
 * public key never serves as another algorithm's.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/der.h"
#include "base/text.h"
#include "issuer/auth/jws.h"

#define RSA_E_MIN 65537	  /* FIPS 186-5 A.1.1 */
#define RSA_E_MAX_BITS 32 /* so that a check costs no more than it must */
#define RSA_SPKI_MAX 1100 /* octets of DER: 8192 bits and a 32-bit exponent have 1063 */
#define RSA_N_MAX (JWS_RSA_MAX / 8)

void
jws_key_done(struct jws_key *key)
{
	EVP_PKEY_free(key->pkey);
	*key = (struct jws_key){ 0 };
}

static void
bn_freep(BIGNUM **bn)
{
	BN_free(*bn);
}

/* Takes `pkey`, which is RSA. */
WRIT_CHECKED static struct writ_err *
rsa_keep(EVP_PKEY *pkey, struct jws_key *ret)
{
	AUTO(jws_key_done) struct jws_key key = { pkey };
	AUTO(bn_freep) BIGNUM *e = NULL, *n = NULL;
	const int bits = EVP_PKEY_get_bits(pkey);

	if (bits < JWS_RSA_MIN || bits > JWS_RSA_MAX)
		return writ_fail(WRIT_INVALID, "public key: RSA of %d bits, and from %d to %d are accepted", bits,
				 JWS_RSA_MIN, JWS_RSA_MAX);
	if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1 ||
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a public key");
	if (!BN_is_odd(n))
		return writ_fail(WRIT_INVALID, "public key: an RSA modulus is odd, and this one is not");
	if (!BN_is_odd(e) || BN_num_bits(e) > RSA_E_MAX_BITS || BN_get_word(e) < RSA_E_MIN)
		return writ_fail(WRIT_INVALID,
				 "public key: the RSA exponent must be odd, at least %d and of at most %d bits",
				 RSA_E_MIN, RSA_E_MAX_BITS);
	ret->pkey = TAKE(key.pkey);
	return NULL;
}

/* Does the AlgorithmIdentifier say rsaEncryption?  No more is asked here: OpenSSL reads the rest. */
static bool
is_rsa(struct writ_bytes spki)
{
	struct der in = der_read(spki), key, alg;
	struct writ_bytes oid;

	return spki.len > 0 && der_take(&in, DER_SEQUENCE, &key) && der_take(&key, DER_SEQUENCE, &alg) &&
	       der_take_oid(&alg, &oid) && writ_equal(oid, WRIT_LIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"));
}

WRIT_CHECKED static struct writ_err *
rsa_load(struct writ_bytes spki, struct jws_key *ret)
{
	const unsigned char *at = spki.data;
	uint8_t again[RSA_SPKI_MAX], *out = again;
	EVP_PKEY *pkey;

	if (spki.len > RSA_SPKI_MAX)
		return writ_fail(WRIT_INVALID, "public key: %zu octets, and RSA of %d bits has no more than %d",
				 spki.len, JWS_RSA_MAX, RSA_SPKI_MAX);
	pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
	if (!pkey) {
		ERR_clear_error();
		return writ_fail(WRIT_INVALID, "public key: not a DER SubjectPublicKeyInfo");
	}
	if (i2d_PUBKEY(pkey, NULL) != (int)spki.len || i2d_PUBKEY(pkey, &out) != (int)spki.len ||
	    memcmp(again, spki.data, spki.len) != 0) {
		EVP_PKEY_free(pkey);
		return writ_fail(WRIT_INVALID, "public key: not in its one DER encoding");
	}
	return rsa_keep(pkey, ret);
}

struct writ_err *
jws_key_load(struct writ_bytes spki, struct jws_key *ret)
{
	AUTO(pubkey_done) struct pubkey key = { 0 };
	struct writ_err *err;

	*ret = (struct jws_key){ 0 };
	if (is_rsa(spki))
		return rsa_load(spki, ret);
	err = pubkey_load(spki, &key);
	if (err)
		return err;
	if (key.kind != KEY_P256 && key.kind != KEY_ED25519)
		return writ_fail(WRIT_INVALID,
				 "public key: %s signs none of ES256, EdDSA, RS256, PS256: use P-256 or Ed25519",
				 key_kind_name(key.kind));
	ret->pkey = TAKE(key.pkey);
	return NULL;
}

/* ---- JWK ---- */

WRIT_CHECKED static struct writ_err *
member_decode(const char *name, struct writ_bytes text, struct writ_buf *ret)
{
	struct writ_err *err;

	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "JWK: member '%s' is missing", name);
	err = writ_unbase64(BASE64_URL, text, ret);
	if (err && err->code == WRIT_EXHAUSTED) {
		writ_err_free(err);
		return writ_fail(WRIT_INVALID, "JWK: member '%s' is too long", name);
	}
	return err ? writ_because(err, "JWK: member '%s'", name) : NULL;
}

/* `len` octets, no more and no fewer (RFC 7518 6.2.1.2). */
WRIT_CHECKED static struct writ_err *
coordinate_decode(const char *name, struct writ_bytes text, size_t len, struct writ_buf *ret)
{
	const size_t before = ret->len;
	struct writ_err *err;

	err = member_decode(name, text, ret);
	if (!err && ret->len - before != len)
		err = writ_fail(WRIT_INVALID, "JWK: member '%s' has %zu octets, and must have %zu", name,
				ret->len - before, len);
	return err;
}

WRIT_CHECKED static struct writ_err *
curve_load(enum key_kind kind, struct writ_bytes raw, struct jws_key *ret)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	struct writ_err *err;

	err = spki_build(kind, raw, &spki);
	return err ? err : jws_key_load(writ_view(&spki), ret);
}

WRIT_CHECKED static struct writ_err *
jwk_ec(const struct jwk_members *jwk, struct jws_key *ret)
{
	AUTO(writ_buf_done) struct writ_buf raw = WRIT_BUF(65);
	struct writ_err *err;

	if (!writ_equal(jwk->crv, WRIT_LIT("P-256")))
		return writ_fail(WRIT_INVALID, "JWK: the curve '%.*s' is not accepted: use P-256", WRIT_FMT(jwk->crv));
	err = writ_buf_add(&raw, WRIT_LIT("\x04"));
	if (!err)
		err = coordinate_decode("x", jwk->x, 32, &raw);
	if (!err)
		err = coordinate_decode("y", jwk->y, 32, &raw);
	return err ? err : curve_load(KEY_P256, writ_view(&raw), ret);
}

WRIT_CHECKED static struct writ_err *
jwk_okp(const struct jwk_members *jwk, struct jws_key *ret)
{
	AUTO(writ_buf_done) struct writ_buf raw = WRIT_BUF(32);
	struct writ_err *err;

	if (!writ_equal(jwk->crv, WRIT_LIT("Ed25519")))
		return writ_fail(WRIT_INVALID, "JWK: the curve '%.*s' is not accepted: use Ed25519",
				 WRIT_FMT(jwk->crv));
	err = coordinate_decode("x", jwk->x, 32, &raw);
	return err ? err : curve_load(KEY_ED25519, writ_view(&raw), ret);
}

/* The key as its SubjectPublicKeyInfo, so that one reader decides what an RSA key may be. */
WRIT_CHECKED static struct writ_err *
jwk_rsa(const struct jwk_members *jwk, struct jws_key *ret)
{
	AUTO(writ_buf_done)
	struct writ_buf n = WRIT_BUF(RSA_N_MAX), e = WRIT_BUF(8), key = WRIT_BUF(RSA_SPKI_MAX),
			spki = WRIT_BUF(RSA_SPKI_MAX);
	struct der_out out;
	struct writ_err *err;

	err = member_decode("n", jwk->n, &n);
	if (!err)
		err = member_decode("e", jwk->e, &e);
	if (err)
		return err;
	if (n.data[0] == 0 || e.data[0] == 0)
		return writ_fail(WRIT_INVALID, "JWK: member '%s' begins with a zero octet", n.data[0] == 0 ? "n" : "e");

	out = der_write(&key);
	der_open(&out, DER_SEQUENCE);
	der_put_integer_bytes(&out, DER_INTEGER, writ_view(&n));
	der_put_integer_bytes(&out, DER_INTEGER, writ_view(&e));
	der_close(&out);
	err = der_finish(&out, "an RSA public key");
	if (err)
		return err;
	out = der_write(&spki);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, WRIT_LIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"));
	der_put_null(&out);
	der_close(&out);
	der_put_bits(&out, writ_view(&key));
	der_close(&out);
	err = der_finish(&out, "an RSA public key");
	return err ? err : jws_key_load(writ_view(&spki), ret);
}

struct writ_err *
jws_key_from_jwk(const struct jwk_members *jwk, struct jws_key *ret)
{
	*ret = (struct jws_key){ 0 };
	if (writ_equal(jwk->kty, WRIT_LIT("RSA")))
		return jwk_rsa(jwk, ret);
	if (writ_equal(jwk->kty, WRIT_LIT("EC")))
		return jwk_ec(jwk, ret);
	if (writ_equal(jwk->kty, WRIT_LIT("OKP")))
		return jwk_okp(jwk, ret);
	return writ_fail(WRIT_INVALID, "JWK: keys of type '%.*s' are not accepted: use RSA, EC or OKP",
			 WRIT_FMT(jwk->kty));
}

/* ---- verification ---- */

bool
jws_key_is_for(const struct jws_key *key, enum jws_alg alg)
{
	static const char *const kinds[] = {
		[JWS_ES256] = "EC", [JWS_EDDSA] = "ED25519", [JWS_RS256] = "RSA", [JWS_PS256] = "RSA"
	};

	return key->pkey && (size_t)alg < N_OF(kinds) && EVP_PKEY_is_a(key->pkey, kinds[alg]) == 1;
}

/* r || s as the DER that OpenSSL takes. */
WRIT_CHECKED static struct writ_err *
es256_der(struct writ_bytes raw, struct writ_buf *ret)
{
	struct der_out out = der_write(ret);

	der_open(&out, DER_SEQUENCE);
	der_put_integer_bytes(&out, DER_INTEGER, (struct writ_bytes){ raw.data, 32 });
	der_put_integer_bytes(&out, DER_INTEGER, (struct writ_bytes){ raw.data + 32, 32 });
	der_close(&out);
	return der_finish(&out, "an ES256 signature");
}

static bool
is_good(const struct jws *jws, EVP_PKEY *pkey, struct writ_bytes signature)
{
	const char *const md = jws->alg == JWS_EDDSA ? NULL : "SHA256";
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *of;
	bool good = ctx && EVP_DigestVerifyInit_ex(ctx, &of, md, NULL, NULL, pkey, NULL) == 1;

	if (good && jws->alg == JWS_PS256) /* RFC 7518 3.5: MGF1 with the same hash, the salt as long as it */
		good = EVP_PKEY_CTX_set_rsa_padding(of, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(of, RSA_PSS_SALTLEN_DIGEST) == 1;
	good = good && EVP_DigestVerify(ctx, signature.data, signature.len, jws->signed_.data, jws->signed_.len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return good;
}

struct writ_err *
jws_verify(const struct jws *jws, const struct jws_key *key)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(80);
	struct writ_bytes signature = jws->signature;
	struct writ_err *err;

	if (!jws_key_is_for(key, jws->alg))
		return writ_fail(WRIT_UNAUTHENTICATED, "the key is of another kind than %s signs with",
				 jws_alg_name(jws->alg));
	if (jws->alg == JWS_ES256) {
		err = es256_der(signature, &der);
		if (err)
			return err;
		signature = writ_view(&der);
	}
	if (!is_good(jws, key->pkey, signature))
		return writ_fail(WRIT_UNAUTHENTICATED, "the signature is not this key's over these bytes");
	return NULL;
}
