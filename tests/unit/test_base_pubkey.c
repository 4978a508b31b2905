/* Public keys and signatures: OpenSSL makes them, we read and check them. */
#include "tests/unit/expect.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/pubkey.h"

#define P256_PREFIX                                                                                                    \
	"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
#define X32 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"

static EVP_PKEY *
make(enum key_kind kind)
{
	EVP_PKEY *pkey = kind == KEY_P256   ? EVP_EC_gen("P-256")
			 : kind == KEY_P384 ? EVP_EC_gen("P-384")
					    : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	assert_non_null(pkey);
	return pkey;
}

static struct writ_bytes
spki_of(EVP_PKEY *pkey, uint8_t out[1024])
{
	uint8_t *at = out;
	const int len = i2d_PUBKEY(pkey, NULL);

	assert_in_range(len, 1, 1024);
	i2d_PUBKEY(pkey, &at);
	return (struct writ_bytes){ out, (size_t)len };
}

static struct writ_bytes
sign(EVP_PKEY *pkey, enum key_kind kind, struct writ_bytes message, uint8_t out[256])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const char *md = kind == KEY_P256 ? "SHA256" : kind == KEY_P384 ? "SHA384" : NULL;
	size_t len = 256;

	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, pkey, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, out, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(ctx);
	return (struct writ_bytes){ out, len };
}

static void
a_key_of_each_kind_is_read_built_and_verifies(void **state)
{
	(void)state;
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		AUTO(writ_buf_done) struct writ_buf built = WRIT_BUF(SPKI_MAX);
		AUTO(pubkey_done) struct pubkey key = { 0 };
		EVP_PKEY *pkey = make(kind), *other = make(kind);
		uint8_t spki_room[1024], sig_room[256], foreign_room[256];
		const struct writ_bytes spki = spki_of(pkey, spki_room), message = WRIT_LIT("a message");
		const struct writ_bytes sig = sign(pkey, kind, message, sig_room);
		const struct writ_bytes foreign = sign(other, kind, message, foreign_room);
		enum key_kind found;
		struct writ_bytes raw;
		char want[100];

		expect_ok(spki_parse(spki, &found, &raw));
		assert_int_equal(found, kind);
		expect_ok(spki_build(kind, raw, &built));
		expect_bytes(writ_view(&built), spki);
		expect_ok(pubkey_load(spki, &key));
		assert_int_equal(EVP_PKEY_eq(key.pkey, pkey), 1);
		expect_ok(pubkey_verify(&key, message, sig));
		expect_ok(pubkey_verify(&key, message, sig)); /* the context serves again */
		snprintf(want, sizeof(want), "the signature is not this %s key's over these bytes",
			 key_kind_name(kind));
		expect_refused(pubkey_verify(&key, WRIT_LIT("a massage"), sig), WRIT_INVALID, want);
		expect_refused(pubkey_verify(&key, message, foreign), WRIT_INVALID, want);
		expect_ok(pubkey_verify(&key, message, sig)); /* and after a refusal */
		EVP_PKEY_free(pkey);
		EVP_PKEY_free(other);
	}
}

static void
names_and_algorithms_go_both_ways(void **state)
{
	enum key_kind kind;

	(void)state;
	for (enum key_kind k = KEY_P256; k <= KEY_ED25519; k++) {
		assert_true(key_kind_from(writ_str(key_kind_name(k)), &kind) && kind == k);
		assert_int_equal(key_kind_of_alg(key_signature_alg(k)), k);
	}
	assert_false(key_kind_from(WRIT_LIT("p-256"), &kind));
	assert_false(key_kind_from(WRIT_LIT("none"), &kind));
	assert_int_equal(key_signature_alg(KEY_NONE).len, 0);
	assert_int_equal(key_kind_of_alg(WRIT_LIT("")), KEY_NONE);
	/* ecdsa-with-SHA256 with a NULL that it must not have; sha256WithRSAEncryption; ecdsa-with-SHA1 */
	assert_int_equal(key_kind_of_alg(WRIT_LIT("\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00")),
			 KEY_NONE);
	assert_int_equal(key_kind_of_alg(WRIT_LIT("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00")),
			 KEY_NONE);
	assert_int_equal(key_kind_of_alg(WRIT_LIT("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01")), KEY_NONE);
}

static void
keys_of_other_kinds_are_refused_by_name(void **state)
{
	static const struct {
		const char *type, *group, *message;
	} rows[] = {
		{ "RSA", NULL, "RSA keys are not accepted: use P-256, P-384 or Ed25519" },
		{ "ED448", NULL, "Ed448 keys are not accepted: use P-256, P-384 or Ed25519" },
		{ "X25519", NULL, "X25519 keys are not accepted: use P-256, P-384 or Ed25519" },
		{ "EC", "secp256k1", "curve secp256k1 is not accepted: use P-256, P-384 or Ed25519" },
		{ "EC", "P-224", "curve P-224 is not accepted: use P-256, P-384 or Ed25519" },
		{ "EC", "P-521", "curve P-521 is not accepted: use P-256, P-384 or Ed25519" },
		{ "EC", "brainpoolP256r1", "curve brainpoolP256r1 is not accepted: use P-256, P-384 or Ed25519" },
		{ "EC", "sect283k1", "curve of OID (hex) 2b81040010 is not accepted: use P-256, P-384 or Ed25519" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		EVP_PKEY *pkey = rows[i].group		  ? EVP_EC_gen(rows[i].group)
				 : rows[i].type[0] == 'R' ? EVP_RSA_gen(1024)
							  : EVP_PKEY_Q_keygen(NULL, NULL, rows[i].type);
		uint8_t room[1024];
		struct pubkey key;

		assert_non_null(pkey);
		expect_refused(pubkey_load(spki_of(pkey, room), &key), WRIT_INVALID, rows[i].message);
		EVP_PKEY_free(pkey);
	}
}

static void
explicit_parameters_and_compressed_points_are_refused(void **state)
{
	EVP_PKEY *pkey = make(KEY_P256);
	uint8_t room[1024];
	struct pubkey key;

	(void)state;
	assert_int_equal(EVP_PKEY_set_utf8_string_param(pkey, "point-format", "compressed"), 1);
	expect_refused(pubkey_load(spki_of(pkey, room), &key), WRIT_INVALID,
		       "public key: compressed point: send it uncompressed (65 bytes, the first 04)");
	assert_int_equal(EVP_PKEY_set_utf8_string_param(pkey, "point-format", "uncompressed"), 1);
	assert_int_equal(EVP_PKEY_set_utf8_string_param(pkey, "encoding", "explicit"), 1);
	expect_refused(
		pubkey_load(spki_of(pkey, room), &key), WRIT_INVALID,
		"public key: explicit curve parameters are not accepted: name the curve; use P-256, P-384 or Ed25519");
	EVP_PKEY_free(pkey);
}

static void
a_public_key_with_one_thing_wrong_is_refused_for_that_thing(void **state)
{
	static const struct {
		struct writ_bytes spki;
		const char *message;
	} rows[] = {
#define ROW(spki_, message_) { { (const uint8_t *)(spki_), sizeof(spki_) - 1 }, message_ }
		ROW(P256_PREFIX "\x04" X32 X32, "public key: the point is not on the curve P-256"),
		ROW(P256_PREFIX "\x04" X32 X32 "\0", "public key: 1 bytes follow SubjectPublicKeyInfo"),
		ROW(P256_PREFIX "\x06" X32 X32,
		    "public key: a point must begin with 04 (uncompressed), and this with 06"),
		ROW("\x30\x19\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03"
		    "\x02\x00\x00",
		    "public key: the point at infinity is no key"),
		ROW("\x30\x1a\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03"
		    "\x03\x00\x04\x01",
		    "public key: 2 bytes, and a P-256 key has 65"),
		ROW("\x30\x1a\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03"
		    "\x03\x07\x04\x80",
		    "public key: the BIT STRING has 7 unused bits, and must have none"),
		ROW("\x30\x0d\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x03\x00",
		    "public key: the curve is not named: use P-256, P-384 or Ed25519"),
		ROW("\x30\x0f\x30\x0b\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x05\x00\x03\x00",
		    "public key: the curve is not named: use P-256, P-384 or Ed25519"),
		ROW("\x30\x15\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
		    "public key: the key is not a BIT STRING"),
		ROW("\x30\x17\x30\x15\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x05"
		    "\x00",
		    "public key: bytes follow the name of the curve"),
		ROW("\x30\x2c\x30\x07\x06\x03\x2b\x65\x70\x05\x00\x03\x21\x00" X32,
		    "public key: Ed25519 has no algorithm parameters, and here are some"),
		ROW("\x30\x29\x30\x05\x06\x03\x2b\x65\x70\x03\x20\x00"
		    "1234567890123456789012345678901",
		    "public key: 31 bytes, and a Ed25519 key has 32"),
		ROW("\x30\x2c\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00" X32 "\x05\x00",
		    "public key: bytes follow the key inside SubjectPublicKeyInfo"),
		ROW("", "public key: not a DER SubjectPublicKeyInfo"),
		ROW("\x30\x80\x00\x00", "public key: not a DER SubjectPublicKeyInfo"),
		ROW("\x30\x02\x30\x00", "public key: its AlgorithmIdentifier is not DER"),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct pubkey key;

		expect_refused(pubkey_load(rows[i].spki, &key), WRIT_INVALID, rows[i].message);
	}
}

static void
a_signature_has_one_encoding(void **state)
{
	static const struct {
		struct writ_bytes sig;
		const char *what;
	} rows[] = {
#define ROW(sig_, what_) { { (const uint8_t *)(sig_), sizeof(sig_) - 1 }, what_ }
		ROW("", "nothing"),
		ROW("\x30\x00", "no integers"),
		ROW("\x30\x06\x02\x01\x00\x02\x01\x01", "r = 0"),
		ROW("\x30\x06\x02\x01\x01\x02\x01\x00", "s = 0"),
		ROW("\x30\x06\x02\x01\xff\x02\x01\x01", "r negative"),
		ROW("\x30\x07\x02\x02\x00\x01\x02\x01\x01", "r padded"),
		ROW("\x30\x81\x06\x02\x01\x01\x02\x01\x01", "a long length"),
		ROW("\x30\x80\x02\x01\x01\x02\x01\x01\x00\x00", "BER"),
		ROW("\x30\x09\x02\x01\x01\x02\x01\x01\x02\x01\x01", "three integers"),
		ROW("\x30\x06\x02\x01\x01\x02\x01\x01\x00", "a byte left over"),
		ROW("\x30\x26\x02\x21\x01" X32 "\x02\x01\x01", "r of 33 bytes"),
		ROW(X32 X32, "raw r and s"),
#undef ROW
	};
	AUTO(pubkey_done) struct pubkey key = { 0 }, ed = { 0 };
	EVP_PKEY *pkey = make(KEY_P256), *ed_pkey = make(KEY_ED25519);
	uint8_t room[1024];

	(void)state;
	expect_ok(pubkey_load(spki_of(pkey, room), &key));
	for (size_t i = 0; i < N_OF(rows); i++) {
		print_message("  %s\n", rows[i].what);
		expect_refused(pubkey_verify(&key, WRIT_LIT("m"), rows[i].sig), WRIT_INVALID,
			       "the signature is not the DER of two positive integers that fit P-256");
	}
	expect_refused(pubkey_verify(&key, WRIT_LIT("m"), WRIT_LIT("\x30\x06\x02\x01\x01\x02\x01\x01")), WRIT_INVALID,
		       "the signature is not this P-256 key's over these bytes");
	expect_ok(pubkey_load(spki_of(ed_pkey, room), &ed));
	expect_refused(pubkey_verify(&ed, WRIT_LIT("m"), WRIT_LIT("short")), WRIT_INVALID,
		       "an Ed25519 signature has 64 bytes, and this one 5");
	EVP_PKEY_free(pkey);
	EVP_PKEY_free(ed_pkey);
}

static void
a_raw_key_of_the_wrong_length_is_not_built(void **state)
{
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(SPKI_MAX);
	struct pubkey none = { 0 };

	(void)state;
	expect_refused(spki_build(KEY_P256, WRIT_LIT("\x04" X32), &out), WRIT_INVALID,
		       "33 bytes are not the raw form of a key of kind P-256");
	expect_refused(spki_build(KEY_NONE, WRIT_LIT(""), &out), WRIT_INVALID,
		       "0 bytes are not the raw form of a key of kind none");
	expect_refused(pubkey_verify(&none, WRIT_LIT("m"), WRIT_LIT("s")), WRIT_BROKEN,
		       "a signature was to be checked without a key");
}

/* Keys take each other's place in a thread: what one has signed must never count for the next. */
static void
keys_that_come_once_verify_what_they_signed_and_nothing_else(void **state)
{
	static const enum key_kind kinds[] = { KEY_P256, KEY_P384, KEY_P256, KEY_ED25519, KEY_P256, KEY_P384 };
	static const uint8_t off_curve[] = P256_PREFIX "\x04" X32 X32;
	uint8_t room[N_OF(kinds)][1024], signatures[N_OF(kinds)][200];
	struct writ_bytes spki[N_OF(kinds)], signature[N_OF(kinds)];
	const struct writ_bytes message = WRIT_LIT("the same words of everybody");

	(void)state;
	for (size_t i = 0; i < N_OF(kinds); i++) {
		EVP_PKEY *pkey = make(kinds[i]);
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		size_t len = sizeof(signatures[i]);
		const EVP_MD *md = kinds[i] == KEY_P256	  ? EVP_sha256()
				   : kinds[i] == KEY_P384 ? EVP_sha384()
							  : NULL;

		assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, pkey), 1);
		assert_int_equal(EVP_DigestSign(ctx, signatures[i], &len, message.data, message.len), 1);
		spki[i] = spki_of(pkey, room[i]);
		signature[i] = (struct writ_bytes){ signatures[i], len };
		EVP_MD_CTX_free(ctx);
		EVP_PKEY_free(pkey);
	}
	for (unsigned round = 0; round < 3; round++)
		for (size_t i = 0; i < N_OF(kinds); i++)
			for (size_t j = 0; j < N_OF(kinds); j++) {
				const struct pubkey *key;
				struct writ_err *err;

				expect_ok(pubkey_load_once(spki[i], &key));
				err = pubkey_verify(key, message, signature[j]);
				assert_int_equal(err == NULL, i == j);
				writ_err_free(err);
				if (round == 1)
					expect_refused(pubkey_load_once((struct writ_bytes){ off_curve, sizeof(off_curve) - 1 }, &key),
						       WRIT_INVALID, "public key: the point is not on the curve P-256");
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_of_each_kind_is_read_built_and_verifies),
		cmocka_unit_test(names_and_algorithms_go_both_ways),
		cmocka_unit_test(keys_of_other_kinds_are_refused_by_name),
		cmocka_unit_test(explicit_parameters_and_compressed_points_are_refused),
		cmocka_unit_test(a_public_key_with_one_thing_wrong_is_refused_for_that_thing),
		cmocka_unit_test(a_signature_has_one_encoding),
		cmocka_unit_test(keys_that_come_once_verify_what_they_signed_and_nothing_else),
		cmocka_unit_test(a_raw_key_of_the_wrong_length_is_not_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
