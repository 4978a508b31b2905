/*
 * Public keys and signatures as data.  Knows no certificate and no private key.
 *
 * A SubjectPublicKeyInfo of ours has one encoding: a fixed prefix and the raw key.  So reading one is a comparison, and
 * only what is refused is looked at more closely, to say why.
 */
#include "base/pubkey.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/der.h"
#include "base/digest.h"
#include "base/text.h"

#define WANTED "use P-256, P-384 or Ed25519"

/* The contents of algorithm OIDs and curve OIDs. */
#define OID_EC "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_P256 "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_P384 "\x2b\x81\x04\x00\x22"
#define OID_ED25519 "\x2b\x65\x70"

/* As WRIT_LIT(), for tables: a compound literal is no constant. */
#define BYTES(s)                                                                                                       \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

struct key_row {
	const char *name;
	struct writ_bytes spki_prefix; /* all of the SPKI but the raw key */
	struct writ_bytes alg;	       /* AlgorithmIdentifier of its signatures, DER */
	size_t raw_len;		       /* with the 04 of an uncompressed point */
	size_t coordinate_len;	       /* 0: not ECDSA */
};

static const struct key_row keys[] = {
	[KEY_NONE] = { .name = "none" },
	[KEY_P256] = { "P-256", BYTES("\x30\x59\x30\x13\x06\x07" OID_EC "\x06\x08" OID_P256 "\x03\x42\x00"),
		       BYTES("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"), 65, 32 },
	[KEY_P384] = { "P-384", BYTES("\x30\x76\x30\x10\x06\x07" OID_EC "\x06\x05" OID_P384 "\x03\x62\x00"),
		       BYTES("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"), 97, 48 },
	[KEY_ED25519] = { "Ed25519", BYTES("\x30\x2a\x30\x05\x06\x03" OID_ED25519 "\x03\x21\x00"),
			  BYTES("\x30\x05\x06\x03" OID_ED25519), 32, 0 },
};

static const struct key_row *
row_of(enum key_kind kind)
{
	return &keys[(size_t)kind < N_OF(keys) ? kind : KEY_NONE];
}

const char *
key_kind_name(enum key_kind kind)
{
	return row_of(kind)->name;
}

bool
key_kind_from(struct writ_bytes name, enum key_kind *ret)
{
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++)
		if (writ_equal(name, writ_str(keys[kind].name))) {
			*ret = kind;
			return true;
		}
	return false;
}

struct writ_bytes
key_signature_alg(enum key_kind kind)
{
	return row_of(kind)->alg;
}

enum key_kind
key_kind_of_alg(struct writ_bytes der)
{
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++)
		if (writ_equal(der, keys[kind].alg))
			return kind;
	return KEY_NONE;
}

/* What people call what we refuse. */
struct oid_name {
	struct writ_bytes oid;
	const char *name;
};

static const struct oid_name algorithm_names[] = {
	{ BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), "RSA" },
	{ BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"), "RSA-PSS" },
	{ BYTES("\x2a\x86\x48\xce\x38\x04\x01"), "DSA" },
	{ BYTES("\x2b\x65\x6e"), "X25519" },
	{ BYTES("\x2b\x65\x6f"), "X448" },
	{ BYTES("\x2b\x65\x71"), "Ed448" },
	{ BYTES("\x60\x86\x48\x01\x65\x03\x04\x03\x11"), "ML-DSA-44" },
	{ BYTES("\x60\x86\x48\x01\x65\x03\x04\x03\x12"), "ML-DSA-65" },
	{ BYTES("\x60\x86\x48\x01\x65\x03\x04\x03\x13"), "ML-DSA-87" },
};

static const struct oid_name curve_names[] = {
	{ BYTES("\x2a\x86\x48\xce\x3d\x03\x01\x01"), "P-192" },
	{ BYTES("\x2b\x81\x04\x00\x21"), "P-224" },
	{ BYTES("\x2b\x81\x04\x00\x23"), "P-521" },
	{ BYTES("\x2b\x81\x04\x00\x0a"), "secp256k1" },
	{ BYTES("\x2b\x24\x03\x03\x02\x08\x01\x01\x07"), "brainpoolP256r1" },
	{ BYTES("\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"), "brainpoolP384r1" },
	{ BYTES("\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"), "brainpoolP512r1" },
	{ BYTES("\x2a\x81\x1c\xcf\x55\x01\x82\x2d"), "SM2" },
};

#define OID_TEXT_MAX 160 /* bytes: 64 of contents, as hex, and some words */

/* A name that people know, or the contents in hex. */
static const char *
oid_text(const struct oid_name *names, size_t n, struct writ_bytes oid, char out[OID_TEXT_MAX])
{
	char hex[2 * 64 + 1];

	for (size_t i = 0; i < n; i++)
		if (writ_equal(oid, names[i].oid))
			return names[i].name;
	snprintf(out, OID_TEXT_MAX, "of OID (hex) %s", writ_hex(oid, hex));
	return out;
}

/* The BIT STRING, whose length and first octet must be those of `kind`. */
static struct writ_err *
raw_why(enum key_kind kind, struct der *in)
{
	const struct key_row *row = row_of(kind);
	struct writ_bytes bits;

	if (!der_take_bytes(in, DER_BIT_STRING, &bits) || bits.len == 0)
		return writ_fail(WRIT_INVALID, "public key: the key is not a BIT STRING");
	if (bits.data[0] != 0)
		return writ_fail(WRIT_INVALID, "public key: the BIT STRING has %u unused bits, and must have none",
				 bits.data[0]);
	if (!der_at_end(in))
		return writ_fail(WRIT_INVALID, "public key: bytes follow the key inside SubjectPublicKeyInfo");
	if (row->coordinate_len > 0 && bits.len == 2 && bits.data[1] == 0)
		return writ_fail(WRIT_INVALID, "public key: the point at infinity is no key");
	if (row->coordinate_len > 0 && bits.len == 2 + row->coordinate_len && (bits.data[1] == 2 || bits.data[1] == 3))
		return writ_fail(WRIT_INVALID,
				 "public key: compressed point: send it uncompressed (%zu bytes, the first 04)",
				 row->raw_len);
	if (bits.len - 1 != row->raw_len)
		return writ_fail(WRIT_INVALID, "public key: %zu bytes, and a %s key has %zu", bits.len - 1, row->name,
				 row->raw_len);
	return writ_fail(WRIT_INVALID, "public key: a point must begin with 04 (uncompressed), and this with %02x",
			 bits.data[1]);
}

/* Which of our kinds the AlgorithmIdentifier names; else why it is none. */
static struct writ_err *
algorithm_why(struct der *in, enum key_kind *ret)
{
	struct writ_bytes oid, curve;
	char text[OID_TEXT_MAX];
	struct der alg;

	if (!der_take(in, DER_SEQUENCE, &alg) || !der_take_oid(&alg, &oid))
		return writ_fail(WRIT_INVALID, "public key: its AlgorithmIdentifier is not DER");
	if (writ_equal(oid, WRIT_LIT(OID_ED25519))) {
		*ret = KEY_ED25519;
		if (!der_at_end(&alg))
			return writ_fail(WRIT_INVALID,
					 "public key: Ed25519 has no algorithm parameters, and here are some");
		return NULL;
	}
	if (!writ_equal(oid, WRIT_LIT(OID_EC)))
		return writ_fail(WRIT_INVALID, "%s keys are not accepted: " WANTED,
				 oid_text(algorithm_names, N_OF(algorithm_names), oid, text));
	if (der_next_is(&alg, DER_SEQUENCE))
		return writ_fail(WRIT_INVALID,
				 "public key: explicit curve parameters are not accepted: name the curve; " WANTED);
	if (!der_take_oid(&alg, &curve))
		return writ_fail(WRIT_INVALID, "public key: the curve is not named: " WANTED);
	if (!der_at_end(&alg))
		return writ_fail(WRIT_INVALID, "public key: bytes follow the name of the curve");
	*ret = writ_equal(curve, WRIT_LIT(OID_P256))   ? KEY_P256
	       : writ_equal(curve, WRIT_LIT(OID_P384)) ? KEY_P384
						       : KEY_NONE;
	if (*ret == KEY_NONE)
		return writ_fail(WRIT_INVALID, "curve %s is not accepted: " WANTED,
				 oid_text(curve_names, N_OF(curve_names), curve, text));
	return NULL;
}

static struct writ_err *
spki_why(struct writ_bytes spki)
{
	enum key_kind kind = KEY_NONE;
	struct der in, key;
	struct writ_err *err;

	in = der_read(spki);
	if (spki.len == 0 || !der_take(&in, DER_SEQUENCE, &key))
		return writ_fail(WRIT_INVALID, "public key: not a DER SubjectPublicKeyInfo");
	if (!der_at_end(&in))
		return writ_fail(WRIT_INVALID, "public key: %zu bytes follow SubjectPublicKeyInfo", der_rest(&in).len);
	err = algorithm_why(&key, &kind);
	return err ? err : raw_why(kind, &key);
}

struct writ_err *
spki_parse(struct writ_bytes spki, enum key_kind *ret_kind, struct writ_bytes *ret_raw)
{
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		const struct writ_bytes prefix = keys[kind].spki_prefix;

		if (spki.len != prefix.len + keys[kind].raw_len || memcmp(spki.data, prefix.data, prefix.len) != 0)
			continue;
		if (keys[kind].coordinate_len > 0 && spki.data[prefix.len] != 4)
			continue;
		*ret_kind = kind;
		*ret_raw = (struct writ_bytes){ spki.data + prefix.len, keys[kind].raw_len };
		return NULL;
	}
	return spki_why(spki);
}

struct writ_err *
spki_build(enum key_kind kind, struct writ_bytes raw, struct writ_buf *ret)
{
	const struct key_row *row = row_of(kind);
	struct writ_err *err;
	uint8_t *out;

	if (row->raw_len == 0 || raw.len != row->raw_len || (row->coordinate_len > 0 && raw.data[0] != 4))
		return writ_fail(WRIT_INVALID, "%zu bytes are not the raw form of a key of kind %s", raw.len,
				 row->name);
	err = writ_buf_grow(ret, row->spki_prefix.len + raw.len, &out);
	if (err)
		return err;
	memcpy(out, row->spki_prefix.data, row->spki_prefix.len);
	memcpy(out + row->spki_prefix.len, raw.data, raw.len);
	return NULL;
}

/* Keys without a point, one a curve: copying their parameters is twenty times faster than naming the curve again. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_PKEY *templates[N_OF(keys)];

static void
templates_make(void)
{
	for (enum key_kind kind = KEY_P256; kind <= KEY_P384; kind++) {
		char group[8];
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
			OSSL_PARAM_construct_end(),
		};
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);

		snprintf(group, sizeof(group), "%s", keys[kind].name);
		if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
		    EVP_PKEY_fromdata(ctx, &templates[kind], EVP_PKEY_KEY_PARAMETERS, params) != 1)
			templates[kind] = NULL; /* pubkey_load() says so */
		EVP_PKEY_CTX_free(ctx);
	}
}

static struct writ_err *
ec_load(enum key_kind kind, struct writ_bytes raw, EVP_PKEY **ret)
{
	EVP_PKEY *pkey;

	if (pthread_once(&once, templates_make) != 0 || !templates[kind])
		return writ_fail(WRIT_BROKEN, "the cryptographic library does not offer %s", keys[kind].name);
	pkey = EVP_PKEY_new();
	if (!pkey || EVP_PKEY_copy_parameters(pkey, templates[kind]) != 1) {
		EVP_PKEY_free(pkey);
		return writ_fail(WRIT_EXHAUSTED, "no memory for a public key");
	}
	if (EVP_PKEY_set1_encoded_public_key(pkey, raw.data, raw.len) != 1) {
		ERR_clear_error();
		EVP_PKEY_free(pkey);
		return writ_fail(WRIT_INVALID, "public key: the point is not on the curve %s", keys[kind].name);
	}
	*ret = pkey;
	return NULL;
}

/* The context is made once with the key: making it costs a lookup under the library's locks. */
static struct writ_err *
context_make(struct pubkey *key)
{
	key->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	if (key->ctx && EVP_PKEY_verify_init(key->ctx) == 1)
		return NULL;
	ERR_clear_error();
	pubkey_done(key);
	return writ_fail(WRIT_EXHAUSTED, "no memory for a public key");
}

struct writ_err *
pubkey_load(struct writ_bytes spki, struct pubkey *ret)
{
	struct writ_bytes raw;
	struct writ_err *err;

	*ret = (struct pubkey){ 0 };
	err = spki_parse(spki, &ret->kind, &raw);
	if (err)
		return err;
	if (ret->kind == KEY_ED25519) {
		ret->pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, raw.data, raw.len);
		return ret->pkey ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a public key");
	}
	err = ec_load(ret->kind, raw, &ret->pkey);
	return err ? err : context_make(ret);
}

void
pubkey_done(struct pubkey *key)
{
	EVP_PKEY_CTX_free(key->ctx);
	EVP_PKEY_free(key->pkey);
	*key = (struct pubkey){ 0 };
}

/* SEQUENCE { r, s }, both positive and no longer than a coordinate: OpenSSL would take less strict encodings. */
static bool
ecdsa_is_strict(const struct key_row *row, struct writ_bytes signature)
{
	struct der in = der_read(signature), pair;

	if (signature.len == 0 || !der_take(&in, DER_SEQUENCE, &pair) || !der_at_end(&in))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		struct writ_bytes v;

		if (!der_take_integer_bytes(&pair, DER_INTEGER, &v) || v.data[0] >= 0x80)
			return false;
		if (v.len > row->coordinate_len + 1 || (v.len > row->coordinate_len && v.data[0] != 0))
			return false;
		if (v.len == 1 && v.data[0] == 0)
			return false;
	}
	return der_at_end(&pair);
}

static struct writ_err *
ecdsa_verify_digest(const struct pubkey *key, const uint8_t *digest, size_t digest_len, struct writ_bytes signature)
{
	const struct key_row *row = row_of(key->kind);

	if (!ecdsa_is_strict(row, signature))
		return writ_fail(WRIT_INVALID, "the signature is not the DER of two positive integers that fit %s",
				 row->name);
	if (EVP_PKEY_verify(key->ctx, signature.data, signature.len, digest, digest_len) == 1)
		return NULL;
	ERR_clear_error();
	return writ_fail(WRIT_INVALID, "the signature is not this %s key's over these bytes", row->name);
}

static struct writ_err *
ecdsa_verify(const struct pubkey *key, struct writ_bytes message, struct writ_bytes signature)
{
	uint8_t digest[SHA384_LEN];

	if (key->kind == KEY_P384)
		writ_sha384(message, digest);
	else
		writ_sha256(message, digest);
	return ecdsa_verify_digest(key, digest, key->kind == KEY_P384 ? SHA384_LEN : SHA256_LEN, signature);
}

struct writ_err *
pubkey_verify_digest(const struct pubkey *key, const uint8_t digest[32], struct writ_bytes signature)
{
	if (key->kind != KEY_P256)
		return writ_fail(WRIT_BROKEN, "a digest was to be checked with a key that is not P-256");
	return ecdsa_verify_digest(key, digest, SHA256_LEN, signature);
}

static struct writ_err *
ed25519_verify(const struct pubkey *key, struct writ_bytes message, struct writ_bytes signature)
{
	EVP_MD_CTX *ctx;
	bool good;

	if (signature.len != 64)
		return writ_fail(WRIT_INVALID, "an Ed25519 signature has 64 bytes, and this one %zu", signature.len);
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return writ_fail(WRIT_EXHAUSTED, "no memory to check a signature");
	good = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
	       EVP_DigestVerify(ctx, signature.data, signature.len, message.data, message.len) == 1;
	EVP_MD_CTX_free(ctx);
	if (good)
		return NULL;
	ERR_clear_error();
	return writ_fail(WRIT_INVALID, "the signature is not this Ed25519 key's over these bytes");
}

struct writ_err *
pubkey_verify(const struct pubkey *key, struct writ_bytes message, struct writ_bytes signature)
{
	switch (key->kind) {
	case KEY_P256:
	case KEY_P384:
		return ecdsa_verify(key, message, signature);
	case KEY_ED25519:
		return ed25519_verify(key, message, signature);
	case KEY_NONE:
		break;
	}
	return writ_fail(WRIT_BROKEN, "a signature was to be checked without a key");
}

/* ---- keys that come once ---- */

/* A key of each curve whose point is replaced; its context looks at the key as it is when it verifies. */
struct once_keys {
	struct pubkey of[N_OF(keys)];
};

static pthread_once_t once_keys_once = PTHREAD_ONCE_INIT;
static pthread_key_t once_keys_of_thread;
static bool once_keys_fit;

static void
once_keys_free(void *of_thread)
{
	struct once_keys *all = of_thread;

	for (size_t i = 0; i < N_OF(all->of); i++)
		pubkey_done(&all->of[i]);
	free(all);
}

static void
once_keys_start(void)
{
	once_keys_fit = pthread_key_create(&once_keys_of_thread, once_keys_free) == 0;
}

/* The thread's key of this curve; NULL: it has none, nor room for it. */
static struct pubkey *
once_key(enum key_kind kind)
{
	struct once_keys *all;

	if (pthread_once(&once_keys_once, once_keys_start) != 0 || !once_keys_fit)
		return NULL;
	all = pthread_getspecific(once_keys_of_thread);
	if (!all) {
		all = calloc(1, sizeof(*all));
		if (!all || pthread_setspecific(once_keys_of_thread, all) != 0) {
			free(all);
			return NULL;
		}
	}
	return &all->of[kind];
}

struct writ_err *
pubkey_load_once(struct writ_bytes spki, const struct pubkey **ret)
{
	struct writ_bytes raw;
	enum key_kind kind;
	struct pubkey *key;
	struct writ_err *err;

	err = spki_parse(spki, &kind, &raw);
	if (err)
		return err;
	*ret = key = once_key(kind);
	if (!key)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a public key");
	if (!key->ctx) { /* the first of its kind; no Ed25519 key has one */
		pubkey_done(key);
		return pubkey_load(spki, key);
	}
	if (EVP_PKEY_set1_encoded_public_key(key->pkey, raw.data, raw.len) == 1)
		return NULL;
	ERR_clear_error();
	pubkey_done(key); /* whatever is in it now */
	return writ_fail(WRIT_INVALID, "public key: the point is not on the curve %s", keys[kind].name);
}
