/*
 * A JWS as OpenSSL signs it, and as somebody who means ill would write it: any header, any payload, any key.
 */
#ifndef WRIT_TESTS_JWS_MAKE_H
#define WRIT_TESTS_JWS_MAKE_H

#include "tests/unit/expect.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/text.h"
#include "issuer/auth/jws.h"

static inline struct writ_bytes
jws_make_spki(EVP_PKEY *pkey, uint8_t out[2048])
{
	uint8_t *at = out;
	const int len = i2d_PUBKEY(pkey, NULL);

	assert_in_range(len, 1, 2048);
	i2d_PUBKEY(pkey, &at);
	return (struct writ_bytes){ out, (size_t)len };
}

/* Appends "base64url(header).base64url(payload)". */
static inline void
jws_make_signed(const char *header, struct writ_bytes payload, struct writ_buf *ret)
{
	expect_ok(writ_base64url(writ_str(header), ret));
	expect_ok(writ_buf_add(ret, WRIT_LIT(".")));
	expect_ok(writ_base64url(payload, ret));
}

/* r || s of a DER signature; `high`: the form with the bigger s, else the one with the smaller. */
static inline void
jws_make_raw(const uint8_t *der, size_t der_len, bool high, uint8_t out[64])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *s = BN_dup(ECDSA_SIG_get0_s(sig)), *other = BN_new();

	assert_int_equal(BN_sub(other, EC_GROUP_get0_order(group), s), 1);
	if ((BN_cmp(s, other) > 0) != high) {
		BIGNUM *swap = s;

		s = other;
		other = swap;
	}
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32), 32);
	assert_int_equal(BN_bn2binpad(s, out + 32, 32), 32);
	BN_free(s);
	BN_free(other);
	EC_GROUP_free(group);
	ECDSA_SIG_free(sig);
}

enum jws_make_how { MAKE_PLAIN, MAKE_HIGH_S, MAKE_PSS };

/* The signature by `pkey` over `message`, as JWS has it: r || s with low S for P-256. */
static inline size_t
jws_make_signature(EVP_PKEY *pkey, struct writ_bytes message, enum jws_make_how how, uint8_t out[1024])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *of;
	size_t len = 1024;

	assert_int_equal(EVP_DigestSignInit_ex(ctx, &of, EVP_PKEY_is_a(pkey, "ED25519") ? NULL : "SHA256", NULL, NULL,
					       pkey, NULL),
			 1);
	if (how == MAKE_PSS) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(of, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(of, RSA_PSS_SALTLEN_DIGEST), 1);
	}
	assert_int_equal(EVP_DigestSign(ctx, out, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(ctx);
	if (EVP_PKEY_is_a(pkey, "EC")) {
		uint8_t raw[64];

		jws_make_raw(out, len, how == MAKE_HIGH_S, raw);
		memcpy(out, raw, 64);
		len = 64;
	}
	return len;
}

/* A whole one. */
static inline void
jws_make(const char *header, struct writ_bytes payload, EVP_PKEY *pkey, enum jws_make_how how, struct writ_buf *ret)
{
	uint8_t signature[1024];
	size_t len;

	jws_make_signed(header, payload, ret);
	len = jws_make_signature(pkey, writ_view(ret), how, signature);
	expect_ok(writ_buf_add(ret, WRIT_LIT(".")));
	expect_ok(writ_base64url((struct writ_bytes){ signature, len }, ret));
}

#endif
