/* Certification requests: a key and its proof are taken, everything else is refused, each for its own reason (F50 to
 * F55). */
#include "issuer/x509/csr.h"

#include <openssl/rsa.h>

#include "tests/unit/x509_make.h"

static struct writ_bytes
request_der(X509_REQ *req)
{
	unsigned char *der = NULL;
	const int len = i2d_X509_REQ(req, &der);
	struct writ_bytes kept;

	assert_true(len > 0);
	kept = writ_arena_copy(&make_arena, (struct writ_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	X509_REQ_free(req);
	return kept;
}

static X509_REQ *
request_with(EVP_PKEY *pkey)
{
	X509_REQ *req = X509_REQ_new();
	X509_NAME *subject = X509_NAME_new();

	assert_int_equal(X509_REQ_set_version(req, 0), 1);
	assert_int_equal(
		X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"ignored", -1, -1, 0),
		1);
	assert_int_equal(X509_REQ_set_subject_name(req, subject), 1);
	assert_int_equal(X509_REQ_set_pubkey(req, pkey), 1);
	X509_NAME_free(subject);
	return req;
}

static struct writ_bytes
request(EVP_PKEY *pkey, const EVP_MD *md)
{
	X509_REQ *req = request_with(pkey);

	assert_true(X509_REQ_sign(req, pkey, md) > 0);
	return request_der(req);
}

static const EVP_MD *
digest_of(enum key_kind kind)
{
	return kind == KEY_P256 ? EVP_sha256() : kind == KEY_P384 ? EVP_sha384() : NULL;
}

/* The same contents, signed anew: so that only the change is wrong. */
static struct writ_bytes
resigned(const struct test_key *key, struct writ_bytes info)
{
	return make_signed(key, info);
}

static void
a_request_of_each_kind_of_key_gives_its_key_and_its_proof_holds(void **state)
{
	(void)state;
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		struct test_key key = make_key(kind);
		const struct writ_bytes der = request(key.pkey, digest_of(kind));
		uint8_t digest[32];
		struct csr csr;

		expect_ok(csr_parse(der, &csr));
		assert_int_equal(csr.kind, kind);
		expect_bytes(csr.spki, key.spki);
		expect_bytes(csr.info, element_at(der, "0"));
		writ_sha256(key.spki, digest);
		assert_memory_equal(csr.spki_sha256, digest, 32);
		expect_ok(csr_verify(&csr));
	}
}

static void
a_request_without_a_subject_is_as_good(void **state)
{
	struct test_key key = make_key(KEY_P256);
	const struct writ_bytes der = request(key.pkey, EVP_sha256());
	const struct writ_bytes info = edited(element_at(der, "0"), "1", REPLACE, WRIT_LIT("\x30\x00"));
	struct csr csr;

	(void)state;
	expect_ok(csr_parse(resigned(&key, info), &csr));
	expect_ok(csr_verify(&csr));
}

static void
each_malformed_request_is_refused_by_name(void **state)
{
	struct test_key key = make_key(KEY_P256), other = make_key(KEY_ED25519);
	const struct writ_bytes der = request(key.pkey, EVP_sha256());
	const struct change changes[] = {
		{ "version 1", "0.0", REPLACE, WRIT_LIT("\x02\x01\x01"), "CSR: version 1, the only one is 0 (v1)" },
		{ "no version", "0.0", REPLACE, { 0 }, "CSR: does not begin with a version (RFC 2986 4.1)" },
		{ "a version that is not minimal", "0.0", REPLACE, WRIT_LIT("\x02\x02\x00\x00"),
		  "CSR: not strict DER, or nested over 12 deep" },
		{ "a subject that is a SET", "0.1", REPLACE, WRIT_LIT("\x31\x00"),
		  "CSR: its subject is not a Name of UTF8String, PrintableString or IA5String; an empty one will do" },
		{ "a subject in BMPString", "0.1.0.0.1", REPLACE, WRIT_LIT("\x1e\x02\x00x"),
		  "CSR: its subject is not a Name of UTF8String, PrintableString or IA5String; an empty one will do" },
		{ "an RDN of nothing", "0.1.0", REPLACE, WRIT_LIT("\x31\x00"),
		  "CSR: its subject is not a Name of UTF8String, PrintableString or IA5String; an empty one will do" },
		{ "an RDN that is a SEQUENCE", "0.1.0", REPLACE, make_element(DER_SEQUENCE, element_at(der, "0.1.0.0")),
		  "CSR: its subject is not a Name of UTF8String, PrintableString or IA5String; an empty one will do" },
		{ "a key that is not a SEQUENCE", "0.2", REPLACE, WRIT_LIT("\x05\x00"),
		  "CSR: its public key is not a SubjectPublicKeyInfo" },
		{ "no attributes field",
		  "0.3",
		  REPLACE,
		  { 0 },
		  "CSR: an empty set of attributes [0] must follow the key, and nothing else" },
		{ "something behind the attributes", "0.3", AFTER, WRIT_LIT("\x05\x00"),
		  "CSR: an empty set of attributes [0] must follow the key, and nothing else" },
		{ "attributes twice", "0.3", AFTER, WRIT_LIT("\xa0\x00"),
		  "CSR: an empty set of attributes [0] must follow the key, and nothing else" },
		{ "an attribute that is no attribute", "0.3", REPLACE, WRIT_LIT("\xa0\x02\x05\x00"),
		  "CSR: its attributes are not a SET of Attribute in DER" },
		{ "challengePassword", "0.3", REPLACE,
		  WRIT_LIT("\xa0\x14\x30\x12\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07\x31\x05\x0c\x03pwd"),
		  "CSR: attribute 1.2.840.113549.1.9.7: attributes must be empty" },
		{ "an extension request of nothing", "0.3", REPLACE,
		  WRIT_LIT("\xa0\x11\x30\x0f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e\x31\x02\x30\x00"),
		  "CSR: asks for extensions: they come from the grant, ask for a certificate without any" },
		{ "a signature algorithm with parameters", "1", REPLACE,
		  WRIT_LIT("\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00"),
		  "CSR: signature algorithm 1.2.840.10045.4.3.2 is not that of P-256 keys: sign with "
		  "ecdsa-with-SHA256, without parameters" },
		{ "no signature algorithm", "1", REPLACE, WRIT_LIT("\x30\x00"),
		  "CSR: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "an empty signature", "2", REPLACE, WRIT_LIT("\x03\x01\x00"), "CSR: the signature is empty" },
		{ "a signature of odd bits", "2", REPLACE, WRIT_LIT("\x03\x02\x01\x80"),
		  "CSR: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "a fourth element", "2", AFTER, WRIT_LIT("\x05\x00"),
		  "CSR: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "the point at infinity", "0.2.1", REPLACE, WRIT_LIT("\x03\x02\x00\x00"),
		  "CSR: public key: the point at infinity is no key" },
		{ "another kind of key than the signature's", "0.2", REPLACE, other.spki,
		  "CSR: signature algorithm 1.2.840.10045.4.3.2 is not that of Ed25519 keys: sign with Ed25519, "
		  "without parameters" },
	};
	unsigned breaches = 0;
	struct csr csr;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++)
		breaches += breach(changes[i].row,
				   csr_parse(edited(der, changes[i].path, changes[i].edit, changes[i].with), &csr),
				   changes[i].message);
	assert_int_equal(breaches, 0);
}

static void
what_is_not_one_whole_der_element_is_refused_before_anything_is_read(void **state)
{
	struct test_key key = make_key(KEY_P256);
	const struct writ_bytes der = request(key.pkey, EVP_sha256());
	const struct writ_bytes contents =
		make_joined(make_joined(element_at(der, "0"), element_at(der, "1")), element_at(der, "2"));
	struct csr csr;

	(void)state;
	expect_refused(csr_parse((struct writ_bytes){ 0 }, &csr), WRIT_INVALID,
		       "CSR: not one whole DER element: cut short, or BER");
	expect_refused(csr_parse(make_joined(der, WRIT_LIT("\0")), &csr), WRIT_INVALID, "CSR: 1 bytes follow its end");
	expect_refused(csr_parse(make_joined(make_joined(WRIT_LIT("\x30\x80"), contents), WRIT_LIT("\0\0")), &csr),
		       WRIT_INVALID, "CSR: not one whole DER element: cut short, or BER");
	for (size_t len = 0; len < der.len; len++)
		expect_refused(csr_parse((struct writ_bytes){ der.data, len }, &csr), WRIT_INVALID,
			       "CSR: not one whole DER element: cut short, or BER");
}

static void
a_request_of_8192_bytes_is_read_and_one_byte_more_is_not(void **state)
{
	struct test_key key = make_key(KEY_P256);
	const struct writ_bytes info = element_at(request(key.pkey, EVP_sha256()), "0");
	struct writ_bytes der = { 0 };
	struct csr csr;
	size_t pad = 7900;

	(void)state;
	/* The signature's length varies by a few bytes: grow the subject until the sum is right. */
	do {
		const struct writ_bytes text = make_element(DER_UTF8, make_bytes('x', pad));
		const struct writ_bytes cn =
			make_element(DER_SEQUENCE, make_joined(make_element(DER_OID, OID_COMMON_NAME), text));
		const struct writ_bytes name = make_element(DER_SEQUENCE, make_element(DER_SET, cn));

		der = resigned(&key, edited(info, "1", REPLACE, name));
		pad += der.len < CSR_MAX ? (CSR_MAX - der.len > 8 ? CSR_MAX - der.len - 8 : 1) : 0;
		pad -= der.len > CSR_MAX ? 3 : 0;
	} while (der.len != CSR_MAX);
	expect_ok(csr_parse(der, &csr));
	expect_ok(csr_verify(&csr));
	expect_refused(csr_parse(make_joined(der, WRIT_LIT("\0")), &csr), WRIT_INVALID,
		       "CSR: 8193 bytes, the limit is 8192");
}

static void
no_extension_can_be_asked_for(void **state)
{
	static const char *const wanted[] = {
		"2.5.29.19",
		"2.5.29.15",
		"2.5.29.37",
		"2.5.29.17",
		"2.5.29.18",
		"2.5.29.31",
		"1.3.6.1.5.5.7.1.1",
		"2.5.29.32",
		"2.5.29.30",
		"2.5.29.35",
		"2.5.29.14",
		"2.5.29.56",
		"1.3.6.1.5.5.7.48.1.5",
		"1.3.6.1.5.5.7.1.24",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.1.1",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.1.2",
	};
	struct test_key key = make_key(KEY_P256);

	(void)state;
	for (size_t i = 0; i < N_OF(wanted); i++) {
		X509_REQ *req = request_with(key.pkey);
		ASN1_OBJECT *oid = OBJ_txt2obj(wanted[i], 1);
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
		char message[300];
		struct csr csr;

		ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2);
		sk_X509_EXTENSION_push(list, X509_EXTENSION_create_by_OBJ(NULL, oid, (int)(i % 2), value));
		assert_int_equal(X509_REQ_add_extensions(req, list), 1);
		assert_true(X509_REQ_sign(req, key.pkey, EVP_sha256()) > 0);
		snprintf(message, sizeof(message),
			 "CSR: asks for extension %s: extensions come from the grant, ask without any", wanted[i]);
		expect_refused(csr_parse(request_der(req), &csr), WRIT_INVALID, message);
		sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
		ASN1_OCTET_STRING_free(value);
		ASN1_OBJECT_free(oid);
	}
}

static void
a_signature_with_another_digest_is_refused_unread(void **state)
{
	struct test_key p256 = make_key(KEY_P256), p384 = make_key(KEY_P384);
	struct csr csr;

	(void)state;
	expect_refused(csr_parse(request(p256.pkey, EVP_sha1()), &csr), WRIT_INVALID,
		       "CSR: signature algorithm 1.2.840.10045.4.1 is not that of P-256 keys: sign with "
		       "ecdsa-with-SHA256, without parameters");
	expect_refused(csr_parse(request(p256.pkey, EVP_sha384()), &csr), WRIT_INVALID,
		       "CSR: signature algorithm 1.2.840.10045.4.3.3 is not that of P-256 keys: sign with "
		       "ecdsa-with-SHA256, without parameters");
	expect_refused(csr_parse(request(p384.pkey, EVP_sha256()), &csr), WRIT_INVALID,
		       "CSR: signature algorithm 1.2.840.10045.4.3.2 is not that of P-384 keys: sign with "
		       "ecdsa-with-SHA384, without parameters");
}

static void
a_key_of_another_kind_is_refused_by_its_name(void **state)
{
	static const struct {
		const char *curve, *message;
	} rows[] = {
		{ "P-224", "CSR: curve P-224 is not accepted: use P-256, P-384 or Ed25519" },
		{ "P-521", "CSR: curve P-521 is not accepted: use P-256, P-384 or Ed25519" },
		{ "secp256k1", "CSR: curve secp256k1 is not accepted: use P-256, P-384 or Ed25519" },
		{ "brainpoolP256r1", "CSR: curve brainpoolP256r1 is not accepted: use P-256, P-384 or Ed25519" },
	};
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
	unsigned breaches = 0;
	struct csr csr;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		EVP_PKEY *key = EVP_EC_gen(rows[i].curve);

		breaches += breach(rows[i].curve, csr_parse(request(key, EVP_sha256()), &csr), rows[i].message);
		EVP_PKEY_free(key);
	}
	breaches += breach("RSA", csr_parse(request(rsa, EVP_sha256()), &csr),
			   "CSR: RSA keys are not accepted: use P-256, P-384 or Ed25519");
	breaches += breach("Ed448", csr_parse(request(ed448, NULL), &csr),
			   "CSR: Ed448 keys are not accepted: use P-256, P-384 or Ed25519");
	assert_int_equal(breaches, 0);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed448);
}

static void
a_compressed_point_and_explicit_parameters_are_refused(void **state)
{
	struct test_key compressed = make_key(KEY_P256), written_out = make_key(KEY_P256);
	unsigned breaches = 0;
	struct csr csr;

	(void)state;
	assert_int_equal(EVP_PKEY_set_utf8_string_param(compressed.pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
							"compressed"),
			 1);
	breaches += breach("compressed", csr_parse(request(compressed.pkey, EVP_sha256()), &csr),
			   "CSR: public key: compressed point: send it uncompressed (65 bytes, the first 04)");
	assert_int_equal(EVP_PKEY_set_utf8_string_param(written_out.pkey, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"), 1);
	breaches += breach("explicit", csr_parse(request(written_out.pkey, EVP_sha256()), &csr),
			   "CSR: public key: explicit curve parameters are not accepted: name the curve; use P-256, "
			   "P-384 or Ed25519");
	assert_int_equal(breaches, 0);
}

static void
a_point_off_the_curve_is_refused_when_the_proof_is_checked(void **state)
{
	struct test_key key = make_key(KEY_P256);
	const struct writ_bytes der = writ_arena_copy(&make_arena, request(key.pkey, EVP_sha256()));
	struct csr csr;

	(void)state;
	expect_ok(csr_parse(der, &csr));
	((uint8_t *)(uintptr_t)csr.spki.data)[csr.spki.len - 1] ^= 1;
	expect_refused(csr_verify(&csr), WRIT_INVALID, "CSR: public key: the point is not on the curve P-256");
}

static void
a_proof_by_another_key_or_over_other_bytes_or_in_another_encoding_is_refused(void **state)
{
	struct test_key key = make_key(KEY_P256), thief = make_key(KEY_P256);
	const struct writ_bytes der = request(key.pkey, EVP_sha256()), info = element_at(der, "0");
	const struct writ_bytes sig = make_signature(&key, info);
	const struct writ_bytes r = element_at(sig, "0"), s = element_at(sig, "1");
	struct der r_in = der_read(r);
	struct writ_bytes r_octets = { 0 };
	unsigned breaches = 0;
	struct csr csr;

	(void)state;
	expect_ok(csr_parse(make_signed(&thief, info), &csr));
	breaches += breach(
		"thief", csr_verify(&csr),
		"CSR: no proof that the asker has the key: the signature is not this P-256 key's over these bytes");

	expect_ok(csr_parse(edited(der, "0.1", REPLACE, WRIT_LIT("\x30\x00")), &csr));
	breaches += breach(
		"other subject", csr_verify(&csr),
		"CSR: no proof that the asker has the key: the signature is not this P-256 key's over these bytes");

	/* r with a leading zero that DER would not write: the same number, another encoding. */
	assert_true(der_take_bytes(&r_in, DER_INTEGER, &r_octets));
	{
		const struct writ_bytes padded = make_element(DER_INTEGER, make_joined(WRIT_LIT("\0"), r_octets));
		const struct writ_bytes again = make_element(DER_SEQUENCE, make_joined(padded, s));
		const struct writ_bytes bits = make_element(DER_BIT_STRING, make_joined(WRIT_LIT("\0"), again));

		expect_ok(csr_parse(edited(der, "2", REPLACE, bits), &csr));
		breaches += breach("padded r", csr_verify(&csr),
				   "CSR: no proof that the asker has the key: the signature is not the DER of two "
				   "positive integers that fit P-256");
	}
	{
		const struct writ_bytes zero = WRIT_LIT("\x03\x09\x00\x30\x06\x02\x01\x00\x02\x01\x00");

		expect_ok(csr_parse(edited(der, "2", REPLACE, zero), &csr));
		breaches += breach("r = s = 0", csr_verify(&csr),
				   "CSR: no proof that the asker has the key: the signature is not the DER of two "
				   "positive integers that fit P-256");
	}
	assert_int_equal(breaches, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_of_each_kind_of_key_gives_its_key_and_its_proof_holds),
		cmocka_unit_test(a_request_without_a_subject_is_as_good),
		cmocka_unit_test(each_malformed_request_is_refused_by_name),
		cmocka_unit_test(what_is_not_one_whole_der_element_is_refused_before_anything_is_read),
		cmocka_unit_test(a_request_of_8192_bytes_is_read_and_one_byte_more_is_not),
		cmocka_unit_test(no_extension_can_be_asked_for),
		cmocka_unit_test(a_signature_with_another_digest_is_refused_unread),
		cmocka_unit_test(a_key_of_another_kind_is_refused_by_its_name),
		cmocka_unit_test(a_compressed_point_and_explicit_parameters_are_refused),
		cmocka_unit_test(a_point_off_the_curve_is_refused_when_the_proof_is_checked),
		cmocka_unit_test(a_proof_by_another_key_or_over_other_bytes_or_in_another_encoding_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
