/* The leaf: what is built is read back, by us and by OpenSSL; everything else is refused, and the refusal says what it
 * was. */
#include "tests/unit/x509_make.h"

#define NOTHING                                                                                                        \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct pki pki;
static struct writ_bytes tbs,
	cert; /* 0 version, 1 serial, 2 alg, 3 issuer, 4 validity, 5 subject, 6 spki, 7 extensions */
static struct writ_arena arena = { .limit = 64 * 1024 };

static int
set_up(void **state)
{
	const struct leaf_facts facts = (pki = make_pki(), make_facts(&pki, 2));

	(void)state;
	tbs = make_tbs(&pki, &facts);
	cert = make_leaf_of(&pki, tbs);
	return 0;
}

static void
what_is_built_is_read_back_field_by_field(void **state)
{
	const struct leaf_facts facts = make_facts(&pki, 2);
	uint8_t digest[32];
	struct leaf leaf;

	(void)state;
	writ_arena_clear(&arena);
	expect_ok(leaf_read_tbs(tbs, &arena, &leaf));
	expect_bytes(leaf.tbs, tbs);
	expect_bytes(leaf.serial, make_bytes(0, 16));
	expect_bytes(leaf.issuer, pki.issuing_name);
	expect_bytes(leaf.spki, pki.agent_key.spki);
	assert_int_equal(leaf.kind, KEY_P256);
	writ_sha256(pki.agent_key.spki, digest);
	assert_memory_equal(leaf.spki_sha256, digest, 32);
	expect_bytes(leaf.trust_domain, WRIT_LIT(TRUST_DOMAIN));
	expect_bytes(leaf.task_id, facts.task_id);
	expect_bytes(leaf.san, facts.san);
	assert_int_equal(leaf.not_before, NOW - 30);
	assert_int_equal(leaf.not_after, NOW + 899);
	expect_bytes(leaf.authority_key_id, BYTES(pki.issuing_key.id));
	assert_int_equal(leaf.tier, LEAF_TIER_SEALED);
	expect_bytes(leaf.crl_url, WRIT_LIT(CRL_URL));
	expect_bytes(leaf.ocsp_url, WRIT_LIT(OCSP_URL));
	assert_false(leaf.no_rev_avail);
	expect_bytes(leaf.delegation_der, facts.delegation);
	assert_int_equal(leaf.delegation.n_hops, 2);
	expect_bytes(leaf.log_id, make_bytes(0x77, 8));
	expect_bytes(leaf.log_index, make_bytes(0, 8));
	expect_bytes(leaf.log_hash, make_bytes(0, 32));
}

static void
the_signer_fills_serial_and_log_reference_and_nothing_else(void **state)
{
	const struct writ_bytes filled = element_at(cert, "0");
	uint8_t before[32], after[32], want[32];
	struct leaf leaf, read;

	(void)state;
	writ_arena_clear(&arena);
	expect_ok(leaf_read_tbs(tbs, &arena, &leaf));
	expect_ok(leaf_read(cert, &arena, &read));
	assert_int_equal(filled.len, tbs.len);
	for (size_t i = 0; i < tbs.len; i++) {
		const uint8_t *const at = tbs.data + i;
		const bool may = (at >= leaf.serial.data && at < leaf.serial.data + 16) ||
				 (at >= leaf.log_index.data && at < leaf.log_index.data + 8) ||
				 (at >= leaf.log_hash.data && at < leaf.log_hash.data + 32);

		if (!may)
			assert_int_equal(filled.data[i], tbs.data[i]);
	}
	expect_bytes(read.serial, LEAF_SERIAL_BYTES);
	expect_bytes(read.log_index, WRIT_LIT("\0\0\0\0\0\0\x12\x67"));
	expect_bytes(read.log_hash, make_bytes(0x99, 32));
	assert_int_equal(read.signature_kind, KEY_P256);
	expect_bytes(make_joined(WRIT_LIT("\0"), read.signature),
		     ((struct writ_bytes){ element_at(cert, "2").data + 2, element_at(cert, "2").len - 2 }));

	/* The log's digest does not depend on the 40 bytes, and does on the serial. */
	leaf_tbs_digest(&read, after);
	leaf_tbs_digest(&leaf, before);
	writ_sha256(tbs, want);
	assert_memory_equal(before, want, 32);
	assert_memory_not_equal(before, after, 32);
	{
		const struct writ_bytes copy = writ_arena_copy(&make_arena, tbs);

		expect_ok(leaf_read_tbs(copy, &arena, &leaf));
		memcpy((uint8_t *)(uintptr_t)leaf.serial.data, LEAF_SERIAL_BYTES.data, 16);
		leaf_tbs_digest(&leaf, before);
		assert_memory_equal(before, after, 32);
	}
}

static void
expect_extension(X509 *x, const char *oid, int critical, struct writ_bytes value)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	const int at = X509_get_ext_by_OBJ(x, object, -1);
	X509_EXTENSION *ext = X509_get_ext(x, at);
	ASN1_OCTET_STRING *data;

	assert_true(at >= 0);
	assert_int_equal(X509_get_ext_by_OBJ(x, object, at), -1);
	assert_int_equal(X509_EXTENSION_get_critical(ext), critical);
	data = X509_EXTENSION_get_data(ext);
	if (value.len)
		expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(data), (size_t)ASN1_STRING_length(data) }),
			     value);
	ASN1_OBJECT_free(object);
}

static void
openssl_reads_the_profile_of_delegation_md_2(void **state)
{
	const char *const arc = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567";
	const struct leaf_facts facts = make_facts(&pki, 2);
	char oid[200], text[512];
	X509 *x = openssl_cert(cert);
	unsigned char *again = NULL;
	GENERAL_NAMES *names;
	CERTIFICATEPOLICIES *policies;
	struct tm tm;
	int len;

	(void)state;
	assert_int_equal(X509_get_version(x), X509_VERSION_3);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_serialNumber(x)), 16 }), LEAF_SERIAL_BYTES);
	assert_int_equal(X509_get_signature_nid(x), NID_ecdsa_with_SHA256);
	assert_int_equal(X509_verify(x, pki.issuing_key.pkey), 1);
	assert_int_equal(ASN1_STRING_type(X509_get0_notAfter(x)), V_ASN1_UTCTIME);
	assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm), 1);
	assert_int_equal(timegm(&tm), NOW + 899);
	assert_int_equal(ASN1_TIME_to_tm(X509_get0_notBefore(x), &tm), 1);
	assert_int_equal(timegm(&tm), NOW - 30);
	X509_NAME_oneline(X509_get_subject_name(x), text, sizeof(text));
	assert_string_equal(text, "/O=" TRUST_DOMAIN "/CN=task:0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00");
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			ASN1_STRING_type(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(x), i))),
			V_ASN1_UTF8STRING);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x), pki.agent_key.pkey), 1);
	assert_int_equal(X509_check_ca(x), 0);
	assert_int_equal(X509_get_key_usage(x), X509v3_KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_CLIENT | XKU_SSL_SERVER);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_authority_key_id(x)), 20 }),
		     BYTES(pki.issuing_key.id));
	assert_null(X509_get0_subject_key_id(x));
	assert_int_equal(X509_check_purpose(x, X509_PURPOSE_SSL_CLIENT, 0), 1);

	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	assert_int_equal(sk_GENERAL_NAME_value(names, 0)->type, GEN_URI);
	expect_bytes(((struct writ_bytes){
			     ASN1_STRING_get0_data(sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier),
			     facts.san.len }),
		     facts.san);
	GENERAL_NAMES_free(names);

	policies = X509_get_ext_d2i(x, NID_certificate_policies, NULL, NULL);
	assert_int_equal(sk_POLICYINFO_num(policies), 2);
	for (int i = 0; i < 2; i++) {
		snprintf(oid, sizeof(oid), "%s.3.%d", arc, i == 0 ? 1 : 3);
		OBJ_obj2txt(text, sizeof(text), sk_POLICYINFO_value(policies, i)->policyid, 1);
		assert_string_equal(text, oid);
	}
	CERTIFICATEPOLICIES_free(policies);

	assert_int_equal(X509_get_ext_count(x), 10);
	expect_extension(x, "2.5.29.15", 1, WRIT_LIT("\x03\x02\x07\x80"));
	expect_extension(x, "2.5.29.19", 1, WRIT_LIT("\x30\x00"));
	snprintf(oid, sizeof(oid), "%s.1.1", arc);
	expect_extension(x, oid, 0, facts.delegation);
	snprintf(oid, sizeof(oid), "%s.1.2", arc);
	expect_extension(x, oid, 0, (struct writ_bytes){ 0 });
	assert_int_equal(OBJ_obj2txt(text, sizeof(text), X509_EXTENSION_get_object(X509_get_ext(x, 9)), 1),
			 strlen(oid)); /* last */
	assert_string_equal(text, oid);

	len = i2d_X509(x, &again);
	expect_bytes(((struct writ_bytes){ again, (size_t)len }), cert);
	OPENSSL_free(again);
	X509_free(x);
}

static void
oids_are_told_as_openssl_tells_them(void **state)
{
	const struct writ_bytes oids[] = { OID_TASK_DELEGATION,
					   OID_LOG_REF,
					   OID_CP_DELEGATED_AGENT,
					   OID_CP_RESIDENT,
					   OID_CP_SEALED,
					   OID_CP_SOFTWARE,
					   OID_REVOKED_DELEGATIONS,
					   OID_COMMON_NAME,
					   OID_ORGANIZATION,
					   OID_BASIC_CONSTRAINTS,
					   OID_KEY_USAGE,
					   OID_EXT_KEY_USAGE,
					   OID_SUBJECT_KEY_ID,
					   OID_AUTHORITY_KEY_ID,
					   OID_SUBJECT_ALT_NAME,
					   OID_CERTIFICATE_POLICIES,
					   OID_ANY_POLICY,
					   OID_CRL_DISTRIBUTION_POINTS,
					   OID_AUTHORITY_INFO_ACCESS,
					   OID_AD_OCSP,
					   OID_AD_CA_ISSUERS,
					   OID_NO_REV_AVAIL,
					   OID_CRL_NUMBER,
					   OID_CRL_REASON,
					   OID_ISSUING_DISTRIBUTION_POINT,
					   OID_KP_CLIENT_AUTH,
					   OID_KP_SERVER_AUTH,
					   OID_KP_OCSP_SIGNING,
					   OID_OCSP_NOCHECK,
					   OID_OCSP_BASIC,
					   OID_OCSP_NONCE,
					   OID_SHA1,
					   OID_SHA256,
					   OID_EXTENSION_REQUEST };
	static const char *const wanted[] = {
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.1.1",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.1.2",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.1",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.2",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.3",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.4",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.5.1",
		"2.5.4.3",
		"2.5.4.10",
		"2.5.29.19",
		"2.5.29.15",
		"2.5.29.37",
		"2.5.29.14",
		"2.5.29.35",
		"2.5.29.17",
		"2.5.29.32",
		"2.5.29.32.0",
		"2.5.29.31",
		"1.3.6.1.5.5.7.1.1",
		"1.3.6.1.5.5.7.48.1",
		"1.3.6.1.5.5.7.48.2",
		"2.5.29.56",
		"2.5.29.20",
		"2.5.29.21",
		"2.5.29.28",
		"1.3.6.1.5.5.7.3.2",
		"1.3.6.1.5.5.7.3.1",
		"1.3.6.1.5.5.7.3.9",
		"1.3.6.1.5.5.7.48.1.5",
		"1.3.6.1.5.5.7.48.1.1",
		"1.3.6.1.5.5.7.48.1.2",
		"1.3.14.3.2.26",
		"2.16.840.1.101.3.4.2.1",
		"1.2.840.113549.1.9.14",
	};
	char text[OID_TEXT_MAX], theirs[200];

	(void)state;
	assert_int_equal(N_OF(oids), N_OF(wanted));
	for (size_t i = 0; i < N_OF(oids); i++) {
		const struct writ_bytes whole = make_element(DER_OID, oids[i]);
		const unsigned char *at = whole.data;
		ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &at, (long)whole.len);

		OBJ_obj2txt(theirs, sizeof(theirs), object, 1);
		assert_string_equal(theirs, wanted[i]);
		assert_string_equal(oid_text(oids[i], text), wanted[i]);
		ASN1_OBJECT_free(object);
	}
	assert_string_equal(oid_text(WRIT_LIT(""), text), "");
	assert_true(strlen(oid_text(make_bytes(0x7f, 64), text)) < OID_TEXT_MAX);
}

static void
a_leaf_of_each_kind_of_key_is_read_by_openssl_too(void **state)
{
	(void)state;
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		const struct pki other = make_pki_with(KEY_P384, kind);
		const struct writ_bytes der = make_leaf(&other);
		X509 *x = openssl_cert(der);
		struct leaf leaf;

		writ_arena_clear(&arena);
		expect_ok(leaf_read(der, &arena, &leaf));
		assert_int_equal(leaf.kind, kind);
		assert_int_equal(X509_verify(x, other.issuing_key.pkey), 1);
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x), other.agent_key.pkey), 1);
		X509_free(x);
	}
}

static void
each_tier_is_told_by_its_policy(void **state)
{
	const struct leaf_facts facts = make_facts(&pki, 1);
	struct leaf leaf;

	(void)state;
	for (enum leaf_tier tier = LEAF_TIER_RESIDENT; tier <= LEAF_TIER_SOFTWARE; tier++) {
		struct leaf_issuer issuer = make_issuer(&pki);
		struct writ_buf buf = WRIT_BUF(LEAF_MAX);

		issuer.tier = tier;
		expect_ok(leaf_build(&issuer, &facts, &buf));
		writ_arena_clear(&arena);
		expect_ok(leaf_read_tbs(writ_view(&buf), &arena, &leaf));
		assert_int_equal(leaf.tier, tier);
		writ_buf_done(&buf);
	}
	assert_string_equal(leaf_tier_name(LEAF_TIER_RESIDENT), "resident");
	assert_string_equal(leaf_tier_name(LEAF_TIER_SEALED), "sealed");
	assert_string_equal(leaf_tier_name(LEAF_TIER_SOFTWARE), "software");
}

/* extnID, critical when asked, and a value. */
static struct writ_bytes
extension(struct writ_bytes oid, bool critical, struct writ_bytes value)
{
	const struct writ_bytes flag = critical ? WRIT_LIT("\x01\x01\xff") : (struct writ_bytes){ 0 };

	return make_element(DER_SEQUENCE, make_joined(make_joined(make_element(DER_OID, oid), flag),
						      make_element(DER_OCTET_STRING, value)));
}

static struct writ_bytes
uris(const char *first, const char *second)
{
	const struct writ_bytes a = make_element(0x86, writ_str(first));

	return extension(OID_SUBJECT_ALT_NAME, false,
			 make_element(DER_SEQUENCE, second ? make_joined(a, make_element(0x86, writ_str(second))) : a));
}

static struct writ_bytes
validity(const char *from, const char *to)
{
	return make_element(DER_SEQUENCE, make_joined(make_element(DER_UTC_TIME, writ_str(from)),
						      make_element(DER_UTC_TIME, writ_str(to))));
}

static struct writ_bytes
attribute(struct writ_bytes oid, uint8_t tag, const char *text)
{
	return make_element(DER_SET, make_element(DER_SEQUENCE, make_joined(make_element(DER_OID, oid),
									    make_element(tag, writ_str(text)))));
}

static struct writ_bytes
subject(const char *o, const char *cn)
{
	return make_element(DER_SEQUENCE, make_joined(attribute(OID_ORGANIZATION, DER_UTF8, o),
						      attribute(OID_COMMON_NAME, DER_UTF8, cn)));
}

#define AGENT TD "/agent/invoice-bot/i-9c1b44"
#define TASK "0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00"

static void
each_changed_element_is_refused_by_its_name(void **state)
{
	const struct change changes[] = {
		{ "not a SEQUENCE", "", REPLACE, WRIT_LIT("\x31\x00"), "leaf: TBSCertificate: not a SEQUENCE in DER" },
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"), "leaf: TBSCertificate: bytes follow its end" },
		{ "v1", "0", REPLACE, NOTHING, "leaf: version: must be v3" },
		{ "v2", "0", REPLACE, WRIT_LIT("\xa0\x03\x02\x01\x01"), "leaf: version: must be v3" },
		{ "a serial of 15", "1", REPLACE, make_element(DER_INTEGER, make_bytes(1, 15)),
		  "leaf: serial: 15 octets, ours have 16" },
		{ "a serial of 17", "1", REPLACE, make_element(DER_INTEGER, make_bytes(1, 17)),
		  "leaf: serial: 17 octets, ours have 16" },
		{ "a serial of one zero", "1", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "leaf: serial: 1 octets, ours have 16" },
		{ "a negative serial", "1", REPLACE, make_element(DER_INTEGER, make_bytes(0x80, 16)),
		  "leaf: serial: negative" },
		{ "a serial that begins with zero", "1", REPLACE,
		  make_element(DER_INTEGER, make_joined(WRIT_LIT("\0"), make_bytes(0x80, 15))),
		  "leaf: serial: begins with a zero octet: not minutes since 1970 in our time" },
		{ "a serial as OCTET STRING", "1", REPLACE, make_element(DER_OCTET_STRING, make_bytes(1, 16)),
		  "leaf: serial: not an INTEGER" },
		{ "ecdsa-with-SHA384", "2", REPLACE, key_signature_alg(KEY_P384),
		  "leaf: signature: must be ecdsa-with-SHA256 without parameters" },
		{ "ecdsa-with-SHA1", "2", REPLACE, WRIT_LIT("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01"),
		  "leaf: signature: must be ecdsa-with-SHA256 without parameters" },
		{ "parameters NULL", "2", REPLACE, WRIT_LIT("\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00"),
		  "leaf: signature: must be ecdsa-with-SHA256 without parameters" },
		{ "an issuer of nothing", "3", REPLACE, WRIT_LIT("\x30\x00"),
		  "leaf: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets" },
		{ "an issuer not in DER", "3", REPLACE, WRIT_LIT("\x30\x02\x31\x80"),
		  "leaf: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets" },
		{ "an issuer of 1025 octets", "3", REPLACE,
		  make_element(DER_SEQUENCE,
			       attribute(OID_COMMON_NAME, DER_UTF8, (const char *)make_bytes('x', 1006).data)),
		  "leaf: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets" },
		{ "one time", "4", REPLACE,
		  make_element(DER_SEQUENCE, make_element(DER_UTC_TIME, WRIT_LIT("261123205107Z"))),
		  "leaf: validity: not two times as RFC 5280 4.1.2.5 wants them" },
		{ "GeneralizedTime before 2050", "4.0", REPLACE,
		  make_element(DER_GENERALIZED_TIME, WRIT_LIT("20261123205107Z")),
		  "leaf: validity: not two times as RFC 5280 4.1.2.5 wants them" },
		{ "a time with an offset", "4.1", REPLACE, make_element(DER_UTC_TIME, WRIT_LIT("261123210636+0000")),
		  "leaf: validity: not two times as RFC 5280 4.1.2.5 wants them" },
		{ "a validity that ends before it begins", "4", REPLACE, validity("261123205107Z", "261123205106Z"),
		  "leaf: validity: ends before it begins" },
		{ "N25: 931 s", "4", REPLACE, validity("261123205107Z", "261123210637Z"),
		  "leaf: validity: 931 s from notBefore to notAfter, the limit is 930" },
		{ "N25: 16 minutes", "4", REPLACE, validity("261123205107Z", "261123210706Z"),
		  "leaf: validity: 960 s from notBefore to notAfter, the limit is 930" },
		{ "a subject of nothing", "5", REPLACE, WRIT_LIT("\x30\x00"),
		  "leaf: subject O: not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>" },
		{ "no O", "5.0", REPLACE, NOTHING,
		  "leaf: subject O: not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>" },
		{ "no CN", "5.1", REPLACE, NOTHING,
		  "leaf: subject CN: not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>" },
		{ "CN before O", "5", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(attribute(OID_COMMON_NAME, DER_UTF8, "task:" TASK),
							 attribute(OID_ORGANIZATION, DER_UTF8, TRUST_DOMAIN))),
		  "leaf: subject O: not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>" },
		{ "O as PrintableString", "5.0", REPLACE, attribute(OID_ORGANIZATION, DER_PRINTABLE, TRUST_DOMAIN),
		  "leaf: subject O: not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>" },
		{ "a second CN", "5.1", AFTER, attribute(OID_COMMON_NAME, DER_UTF8, "task:b"),
		  "leaf: subject: more than O and CN" },
		{ "a host as CN", "5", REPLACE, subject(TRUST_DOMAIN, "erp.corp.example"),
		  "leaf: subject CN: does not begin with 'task:', so stacks would take it for a host" },
		{ "a CN with nothing behind the prefix", "5", REPLACE, subject(TRUST_DOMAIN, "task:"),
		  "leaf: subject CN: task id is empty" },
		{ "a CN over 64", "5", REPLACE,
		  subject(TRUST_DOMAIN, "task:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
		  "leaf: subject CN: task id 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' has 60 "
		  "octets, at most 59" },
		{ "an O in upper case", "5", REPLACE, subject("Agents.corp.example", "task:" TASK),
		  "leaf: subject O: trust domain 'Agents.corp.example': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "a CN that the delegation denies", "5", REPLACE, subject(TRUST_DOMAIN, "task:another"),
		  "leaf: TaskDelegation: task '0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00', but the subject's CN says "
		  "'another'" },
		{ "a point at infinity", "6.1", REPLACE, WRIT_LIT("\x03\x02\x00\x00"),
		  "leaf: public key: public key: the point at infinity is no key" },
		{ "a key that is none", "6", REPLACE, WRIT_LIT("\x30\x00"),
		  "leaf: public key: public key: its AlgorithmIdentifier is not DER" },
		{ "an issuerUniqueID", "6", AFTER, WRIT_LIT("\x81\x02\x00\x01"),
		  "leaf: extensions: missing, or not the last field (a unique id is not allowed either)" },
		{ "no extensions", "7", REPLACE, NOTHING,
		  "leaf: extensions: missing, or not the last field (a unique id is not allowed either)" },
		{ "extensions empty", "7.0", REPLACE, WRIT_LIT("\x30\x00"), "leaf: subjectAltName: missing" },
		{ "something behind the extensions", "7", AFTER, WRIT_LIT("\xa4\x00"),
		  "leaf: extensions: missing, or not the last field (a unique id is not allowed either)" },
		/* subjectAltName */
		{ "no SAN", "7.0.0", REPLACE, NOTHING,
		  "leaf: subjectAltName: missing, or out of order: keyUsage stands in its place" },
		{ "N19: two URI SANs", "7.0.0", REPLACE, uris(AGENT, AGENT),
		  "leaf: subjectAltName: more than one name; a SPIFFE certificate has exactly one URI" },
		{ "two SAN extensions", "7.0.0", AFTER, uris(AGENT, NULL), "leaf: subjectAltName: stands there twice" },
		{ "a SAN of a DNS name", "7.0.0", REPLACE,
		  extension(OID_SUBJECT_ALT_NAME, false, WRIT_LIT("\x30\x03\x82\x01h")),
		  "leaf: subjectAltName: not a URI" },
		{ "a critical SAN", "7.0.0", REPLACE,
		  extension(OID_SUBJECT_ALT_NAME, true, element_at(tbs, "7.0.0.1.0")),
		  "leaf: subjectAltName: must not be critical" },
		{ "a SAN of a human", "7.0.0", REPLACE, uris(TD "/human/okta/1", NULL),
		  "leaf: subjectAltName: 'spiffe://agents.corp.example/human/okta/1' is not an agent of ours: "
		  "spiffe://TD/agent/CLASS/INSTANCE" },
		{ "a SAN of a class", "7.0.0", REPLACE, uris(TD "/agent/invoice-bot", NULL),
		  "leaf: subjectAltName: 'spiffe://agents.corp.example/agent/invoice-bot' is not an agent of ours: "
		  "spiffe://TD/agent/CLASS/INSTANCE" },
		{ "a SAN of another trust domain", "7.0.0", REPLACE, uris("spiffe://other.example/agent/a/b", NULL),
		  "leaf: subjectAltName: trust domain 'other.example', but the subject's O is 'agents.corp.example'" },
		{ "a SAN with userinfo", "7.0.0", REPLACE, uris("spiffe://u@agents.corp.example/agent/a/b", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://u@agents.corp.example/agent/a/b': trust domain "
		  "'u@agents.corp.example': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "a SAN with a port", "7.0.0", REPLACE, uris("spiffe://agents.corp.example:443/agent/a/b", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://agents.corp.example:443/agent/a/b': trust domain "
		  "'agents.corp.example:443': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "a SAN with a query", "7.0.0", REPLACE, uris(AGENT "?a", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://agents.corp.example/agent/invoice-bot/i-9c1b44?a': a "
		  "segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "a SAN with a fragment", "7.0.0", REPLACE, uris(AGENT "#a", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://agents.corp.example/agent/invoice-bot/i-9c1b44#a': a "
		  "segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "a SAN with %2f", "7.0.0", REPLACE, uris(AGENT "%2fa", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://agents.corp.example/agent/invoice-bot/i-9c1b44%2fa': a "
		  "segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "a SAN with dots", "7.0.0", REPLACE, uris(TD "/agent/../a", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'spiffe://agents.corp.example/agent/../a': has a '.' or '..' "
		  "segment" },
		{ "a SAN in upper case", "7.0.0", REPLACE, uris("SPIFFE://agents.corp.example/agent/a/b", NULL),
		  "leaf: subjectAltName: SPIFFE ID 'SPIFFE://agents.corp.example/agent/a/b': does not begin with "
		  "spiffe://" },
		/* keyUsage, basicConstraints, extKeyUsage */
		{ "N21: keyCertSign", "7.0.1", REPLACE, extension(OID_KEY_USAGE, true, WRIT_LIT("\x03\x02\x02\x84")),
		  "leaf: keyUsage: must be digitalSignature and nothing else" },
		{ "keyUsage not critical", "7.0.1", REPLACE,
		  extension(OID_KEY_USAGE, false, WRIT_LIT("\x03\x02\x07\x80")), "leaf: keyUsage: must be critical" },
		{ "no keyUsage", "7.0.1", REPLACE, NOTHING,
		  "leaf: keyUsage: missing, or out of order: basicConstraints stands in its place" },
		{ "N20: CA:TRUE", "7.0.2", REPLACE,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x03\x01\x01\xff")),
		  "leaf: basicConstraints: must be CA:FALSE, as an empty SEQUENCE" },
		{ "CA:FALSE written out", "7.0.2", REPLACE,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x03\x01\x01\x00")),
		  "leaf: basicConstraints: must be CA:FALSE, as an empty SEQUENCE" },
		{ "a second basicConstraints", "7.0.2", AFTER,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x03\x01\x01\xff")),
		  "leaf: basicConstraints: stands there twice" },
		{ "critical FALSE written out", "7.0.3", REPLACE,
		  make_element(DER_SEQUENCE, make_joined(make_joined(make_element(DER_OID, OID_AUTHORITY_KEY_ID),
								     WRIT_LIT("\x01\x01\x00")),
							 element_at(tbs, "7.0.3.1"))),
		  "leaf: the extension where authorityKeyIdentifier should stand is not DER" },
		{ "an AKI of 19", "7.0.3", REPLACE,
		  extension(OID_AUTHORITY_KEY_ID, false,
			    make_element(DER_SEQUENCE, make_element(0x80, make_bytes(1, 19)))),
		  "leaf: authorityKeyIdentifier: not a key id of 20 octets alone" },
		{ "an AKI with a serial", "7.0.3", REPLACE,
		  extension(OID_AUTHORITY_KEY_ID, false,
			    make_element(DER_SEQUENCE,
					 make_joined(make_element(0x80, make_bytes(1, 20)), WRIT_LIT("\x82\x01\x01")))),
		  "leaf: authorityKeyIdentifier: not a key id of 20 octets alone" },
		{ "EKU codeSigning too", "7.0.4", REPLACE,
		  extension(OID_EXT_KEY_USAGE, false,
			    make_element(DER_SEQUENCE,
					 make_joined(element_at(tbs, "7.0.4.1.0.0"),
						     WRIT_LIT("\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x03")))),
		  "leaf: extKeyUsage: must be clientAuth, serverAuth, in that order" },
		{ "EKU in the other order", "7.0.4", REPLACE,
		  extension(OID_EXT_KEY_USAGE, false,
			    make_element(DER_SEQUENCE,
					 make_joined(element_at(tbs, "7.0.4.1.0.1"), element_at(tbs, "7.0.4.1.0.0")))),
		  "leaf: extKeyUsage: must be clientAuth, serverAuth, in that order" },
		{ "anyExtendedKeyUsage", "7.0.4", REPLACE,
		  extension(OID_EXT_KEY_USAGE, false, WRIT_LIT("\x30\x06\x06\x04\x55\x1d\x25\x00")),
		  "leaf: extKeyUsage: must be clientAuth, serverAuth, in that order" },
		/* certificatePolicies */
		{ "no cp-delegatedAgent", "7.0.5.1.0.0", REPLACE, NOTHING,
		  "leaf: certificatePolicies: the first must be cp-delegatedAgent, without qualifiers" },
		{ "no tier", "7.0.5.1.0.1", REPLACE, NOTHING,
		  "leaf: certificatePolicies: the second must be a tier: cp-resident, cp-sealed or cp-software" },
		{ "two tiers", "7.0.5.1.0.1", AFTER, make_element(DER_SEQUENCE, make_element(DER_OID, OID_CP_RESIDENT)),
		  "leaf: certificatePolicies: more than cp-delegatedAgent and one tier" },
		{ "anyPolicy", "7.0.5.1.0.1.0", REPLACE, make_element(DER_OID, OID_ANY_POLICY),
		  "leaf: certificatePolicies: the second must be a tier: cp-resident, cp-sealed or cp-software" },
		{ "a qualifier", "7.0.5.1.0.0.0", AFTER, WRIT_LIT("\x30\x00"),
		  "leaf: certificatePolicies: the first must be cp-delegatedAgent, without qualifiers" },
		/* TaskDelegation */
		{ "no delegation", "7.0.6", REPLACE, NOTHING,
		  "leaf: TaskDelegation: missing, or out of order: cRLDistributionPoints stands in its place" },
		{ "N1: two delegations", "7.0.6", AFTER, element_at(tbs, "7.0.6"),
		  "leaf: TaskDelegation: stands there twice" },
		{ "N23: the right bytes under another arc", "7.0.6.0", REPLACE, WRIT_LIT("\x06\x03\x55\x1d\x63"),
		  "leaf: extension 2.5.29.99 is not of the profile; TaskDelegation should stand there" },
		{ "a critical delegation", "7.0.6.0", AFTER, WRIT_LIT("\x01\x01\xff"),
		  "leaf: TaskDelegation: must not be critical" },
		{ "a delegation of version 2", "7.0.6.1.0.0", REPLACE, WRIT_LIT("\x02\x01\x02"),
		  "leaf: TaskDelegation: E2: version 2: this reader knows version 1 only" },
		{ "N13: the last hop ends a second earlier", "7.0.6.1.0.4.1.5", REPLACE,
		  make_element(DER_GENERALIZED_TIME, WRIT_LIT("20261123210635Z")),
		  "leaf: TaskDelegation: E8: hop 2: the certificate ends 1 s after its last hop" },
		/* status */
		{ "no CRLDP", "7.0.7", REPLACE, NOTHING,
		  "leaf: cRLDistributionPoints: missing, or out of order: authorityInfoAccess stands in its place" },
		{ "no OCSP", "7.0.8", REPLACE, NOTHING,
		  "leaf: authorityInfoAccess: missing, or out of order: LogRef stands in its place" },
		{ "CRLDP twice", "7.0.7", AFTER, element_at(tbs, "7.0.7"),
		  "leaf: cRLDistributionPoints: stands there twice" },
		{ "a CRLDP of two points", "7.0.7.1.0.0", AFTER, element_at(tbs, "7.0.7.1.0.0"),
		  "leaf: cRLDistributionPoints: not one point with one URI of 1 to 512 printable octets" },
		{ "a CRLDP with a space", "7.0.7.1.0.0.0.0.0", REPLACE, make_element(0x86, WRIT_LIT("http://a b")),
		  "leaf: cRLDistributionPoints: not one point with one URI of 1 to 512 printable octets" },
		{ "AIA of caIssuers", "7.0.8.1.0.0.0", REPLACE, make_element(DER_OID, OID_AD_CA_ISSUERS),
		  "leaf: authorityInfoAccess: not one OCSP URI of 1 to 512 printable octets" },
		{ "N24: noRevAvail beside CRLDP", "7.0.8", AFTER,
		  extension(OID_NO_REV_AVAIL, false, WRIT_LIT("\x05\x00")),
		  "leaf: noRevAvail: twice, or beside what excludes it: status URLs or noRevAvail (RFC 9608 4)" },
		{ "N24: noRevAvail before CRLDP", "7.0.7", BEFORE,
		  extension(OID_NO_REV_AVAIL, false, WRIT_LIT("\x05\x00")),
		  "leaf: noRevAvail: 930 s from notBefore to notAfter, the limit for it is 150" },
		/* LogRef, and what is not of the profile */
		{ "no LogRef", "7.0.9", REPLACE, NOTHING, "leaf: LogRef: missing" },
		{ "LogRef not last", "7.0.9", AFTER, extension(OID_SUBJECT_KEY_ID, false, WRIT_LIT("\x05\x00")),
		  "leaf: extensions: something follows LogRef, which is the last one" },
		{ "LogRef twice", "7.0.9", AFTER, element_at(tbs, "7.0.9"), "leaf: LogRef: stands there twice" },
		{ "LogRef first", "7.0.0", BEFORE, element_at(tbs, "7.0.9"),
		  "leaf: subjectAltName: missing, or out of order: LogRef stands in its place" },
		{ "a LogRef with a log id of 7", "7.0.9.1.0.0", REPLACE,
		  make_element(DER_OCTET_STRING, make_bytes(1, 7)),
		  "leaf: LogRef: not log id, index and leaf hash of 8, 8 and 32 octets" },
		{ "a LogRef with an index of 9", "7.0.9.1.0.1", REPLACE,
		  make_element(DER_OCTET_STRING, make_bytes(1, 9)),
		  "leaf: LogRef: not log id, index and leaf hash of 8, 8 and 32 octets" },
		{ "a LogRef with more", "7.0.9.1.0.2", AFTER, WRIT_LIT("\x05\x00"),
		  "leaf: LogRef: not log id, index and leaf hash of 8, 8 and 32 octets" },
		{ "N30: an unknown critical extension", "7.0.6", BEFORE,
		  extension(WRIT_LIT("\x55\x1d\x63"), true, WRIT_LIT("\x05\x00")),
		  "leaf: critical extension 2.5.29.99 is not of the profile; TaskDelegation should stand there" },
		{ "nameConstraints", "7.0.3", BEFORE, extension(WRIT_LIT("\x55\x1d\x1e"), false, WRIT_LIT("\x30\x00")),
		  "leaf: extension 2.5.29.30 is not of the profile; authorityKeyIdentifier should stand there" },
		{ "subjectKeyIdentifier", "7.0.3", BEFORE,
		  extension(OID_SUBJECT_KEY_ID, false, WRIT_LIT("\x04\x01\x01")),
		  "leaf: extension 2.5.29.14 is not of the profile; authorityKeyIdentifier should stand there" },
		{ "an extension that is none", "7.0.4", REPLACE, WRIT_LIT("\x30\x00"),
		  "leaf: the extension where extKeyUsage should stand is not DER" },
		{ "keyUsage and basicConstraints swapped", "7.0.1", BEFORE, element_at(tbs, "7.0.2"),
		  "leaf: keyUsage: missing, or out of order: basicConstraints stands in its place" },
	};
	unsigned breaches = 0;
	struct leaf leaf;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++) {
		writ_arena_clear(&arena);
		breaches += breach(
			changes[i].row,
			leaf_read_tbs(edited(tbs, changes[i].path, changes[i].edit, changes[i].with), &arena, &leaf),
			changes[i].message);
	}
	assert_int_equal(breaches, 0);
}

static void
a_certificate_is_refused_for_its_envelope_and_its_placeholder(void **state)
{
	const struct change changes[] = {
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"), "leaf: 1 bytes follow its end" },
		{ "an indefinite length", "", REPLACE, WRIT_LIT("\x30\x80\x00\x00"),
		  "leaf: not one whole DER element: cut short, or BER" },
		{ "the placeholder serial", "0.1", REPLACE, make_element(DER_INTEGER, make_bytes(0, 16)),
		  "leaf: serial: the placeholder of zeros was never filled in" },
		{ "another algorithm outside", "1", REPLACE, key_signature_alg(KEY_P384),
		  "leaf: signature: its algorithm is not the one inside the TBSCertificate" },
		{ "no signature", "2", REPLACE, NOTHING,
		  "leaf: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "a signature of odd bits", "2", REPLACE, WRIT_LIT("\x03\x02\x01\x80"),
		  "leaf: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "something behind the signature", "2", AFTER, WRIT_LIT("\x05\x00"),
		  "leaf: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "too long", "", REPLACE, make_bytes(0x30, LEAF_MAX + 1), "leaf: 10241 bytes, the limit is 10240" },
	};
	unsigned breaches = 0;
	struct leaf leaf;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++) {
		writ_arena_clear(&arena);
		breaches += breach(
			changes[i].row,
			leaf_read(edited(cert, changes[i].path, changes[i].edit, changes[i].with), &arena, &leaf),
			changes[i].message);
	}
	breaches += breach("a TBS that is too long", leaf_read_tbs(make_bytes('0', LEAF_MAX + 1), &arena, &leaf),
			   "leaf: 10241 bytes, the limit is 10240");
	assert_int_equal(breaches, 0);
}

static void
no_prefix_of_a_leaf_is_a_leaf(void **state)
{
	struct leaf leaf;

	(void)state;
	for (size_t len = 0; len < cert.len; len++) {
		writ_arena_clear(&arena);
		expect_refused(leaf_read((struct writ_bytes){ cert.data, len }, &arena, &leaf), WRIT_INVALID,
			       "leaf: not one whole DER element: cut short, or BER");
	}
}

/* The smallest change to any byte of the TBS: what is still accepted differs in a field that may differ. */
static void
a_flipped_bit_is_refused_or_lands_in_a_field(void **state)
{
	uint8_t *copy = make_room(tbs.len);
	struct leaf leaf;
	size_t accepted = 0;

	(void)state;
	for (size_t i = 0; i < tbs.len; i++) {
		struct writ_err *err;

		memcpy(copy, tbs.data, tbs.len);
		copy[i] ^= 0x01;
		writ_arena_clear(&arena);
		err = leaf_read_tbs((struct writ_bytes){ copy, tbs.len }, &arena, &leaf);
		if (!err) {
			struct leaf_issuer issuer = make_issuer(&pki);
			struct leaf_facts facts = { .spki = leaf.spki,
						    .task_id = leaf.task_id,
						    .san = leaf.san,
						    .not_before = leaf.not_before,
						    .not_after = leaf.not_after,
						    .delegation = leaf.delegation_der };
			struct writ_buf again = WRIT_BUF(LEAF_MAX);
			struct leaf rebuilt;

			issuer.trust_domain = leaf.trust_domain;
			issuer.name = leaf.issuer;
			issuer.key_id = leaf.authority_key_id;
			issuer.tier = leaf.tier;
			issuer.crl_url = leaf.crl_url;
			issuer.ocsp_url = leaf.ocsp_url;
			issuer.log_id = leaf.log_id;
			expect_ok(leaf_build(&issuer, &facts, &again));
			expect_ok(leaf_read_tbs(writ_view(&again), &arena, &rebuilt));
			leaf_fill(again.data, &rebuilt, leaf.serial.data, writ_get64(leaf.log_index.data),
				  leaf.log_hash.data);
			expect_bytes(writ_view(&again), ((struct writ_bytes){ copy, tbs.len }));
			writ_buf_done(&again);
			accepted++;
		}
		writ_err_free(err);
	}
	assert_true(accepted > 100 && accepted < tbs.len);
}

static void
no_rev_avail_stands_alone_in_short_lives_at_the_end_of_a_chain(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 2);
	struct delegation d = make_delegation(2);
	unsigned breaches = 0;
	struct writ_bytes der;
	struct leaf leaf;
	X509 *x;

	(void)state;
	facts.no_rev_avail = true;
	facts.not_after = NOW + 119;
	writ_arena_clear(&arena);
	expect_ok(leaf_read_tbs(make_tbs(&pki, &facts), &arena, &leaf)); /* P7 */
	assert_true(leaf.no_rev_avail);
	assert_int_equal(leaf.crl_url.len, 0);
	assert_int_equal(leaf.ocsp_url.len, 0);
	der = make_leaf_of(&pki, make_tbs(&pki, &facts));
	x = openssl_cert(der);
	expect_extension(x, "2.5.29.56", 0, WRIT_LIT("\x05\x00"));
	assert_int_equal(X509_get_ext_count(x), 9);
	X509_free(x);

	facts.not_after = NOW + 120;
	breaches += breach("a second too long", leaf_read_tbs(make_tbs(&pki, &facts), &arena, &leaf),
			   "leaf: noRevAvail: 151 s from notBefore to notAfter, the limit for it is 150");
	facts.not_after = NOW + 119;
	d.hops[0].depth_remaining = 2;
	d.hops[1].depth_remaining = 1;
	facts.delegation = make_delegation_der(&d);
	breaches += breach("may delegate", leaf_read_tbs(make_tbs(&pki, &facts), &arena, &leaf),
			   "leaf: noRevAvail: depthRemaining is 1, it takes 0");
	facts = make_facts(&pki, 2);
	facts.no_rev_avail = true;
	facts.not_after = NOW + 119;
	breaches +=
		breach("a value of something",
		       leaf_read_tbs(edited(make_tbs(&pki, &facts), "7.0.7.1", REPLACE, WRIT_LIT("\x04\x02\x30\x00")),
				     &arena, &leaf),
		       "leaf: noRevAvail: its value is NULL (RFC 9608 2)");
	breaches += breach(
		"N24: CRLDP behind it",
		leaf_read_tbs(edited(make_tbs(&pki, &facts), "7.0.7", AFTER, element_at(tbs, "7.0.7")), &arena, &leaf),
		"leaf: cRLDistributionPoints: twice, or beside what excludes it: status URLs or noRevAvail (RFC 9608 "
		"4)");
	breaches += breach(
		"N24: OCSP behind it",
		leaf_read_tbs(edited(make_tbs(&pki, &facts), "7.0.7", AFTER, element_at(tbs, "7.0.8")), &arena, &leaf),
		"leaf: authorityInfoAccess: twice, or beside what excludes it: status URLs or noRevAvail (RFC 9608 4)");
	breaches +=
		breach("noRevAvail twice",
		       leaf_read_tbs(edited(make_tbs(&pki, &facts), "7.0.7", AFTER,
					    element_at(make_tbs(&pki, &facts), "7.0.7")),
				     &arena, &leaf),
		       "leaf: noRevAvail: twice, or beside what excludes it: status URLs or noRevAvail (RFC 9608 4)");
	assert_int_equal(breaches, 0);
}

static void
a_lifetime_of_930_s_is_the_longest(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 1);
	struct leaf leaf;

	(void)state;
	writ_arena_clear(&arena);
	expect_ok(leaf_read_tbs(make_tbs(&pki, &facts), &arena, &leaf));
	facts.not_after++;
	expect_refused(leaf_read_tbs(make_tbs(&pki, &facts), &arena, &leaf), WRIT_INVALID,
		       "leaf: validity: 931 s from notBefore to notAfter, the limit is 930");
}

static void
times_from_2050_on_are_generalized_time(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 1);
	struct delegation d = make_delegation(1);
	struct writ_bytes der;
	struct leaf leaf;
	X509 *x;

	(void)state;
	d.hops[0].not_after = INT64_C(2524608000) + 3600;
	facts.delegation = make_delegation_der(&d);
	facts.not_before = INT64_C(2524608000) - 30; /* 2049-12-31T23:59:30Z */
	facts.not_after = facts.not_before + 929;
	der = make_leaf_of(&pki, make_tbs(&pki, &facts));
	x = openssl_cert(der);
	assert_int_equal(ASN1_STRING_type(X509_get0_notBefore(x)), V_ASN1_UTCTIME);
	assert_int_equal(ASN1_STRING_type(X509_get0_notAfter(x)), V_ASN1_GENERALIZEDTIME);
	X509_free(x);
	writ_arena_clear(&arena);
	expect_ok(leaf_read(der, &arena, &leaf));
	assert_int_equal(leaf.not_after, facts.not_after);
}

static void
the_builder_refuses_facts_that_no_leaf_may_have(void **state)
{
	struct writ_buf buf = WRIT_BUF(LEAF_MAX);
	unsigned breaches = 0;
	struct leaf_issuer issuer = make_issuer(&pki);
	struct leaf_facts facts = make_facts(&pki, 1);

	(void)state;
	issuer.kind = KEY_P384;
	breaches += breach("a P-384 issuing key", leaf_build(&issuer, &facts, &buf),
			   "leaf: issuing keys are P-256, this one is P-384");
	issuer = make_issuer(&pki);
	issuer.key_id.len = 19;
	breaches += breach("a key id of 19", leaf_build(&issuer, &facts, &buf),
			   "leaf: a key id has 20 octets and a log id 8, given are 19 and 8");
	issuer = make_issuer(&pki);
	issuer.tier = (enum leaf_tier)1;
	breaches += breach("no tier", leaf_build(&issuer, &facts, &buf),
			   "leaf: tier 1 is none of resident, sealed, software");
	issuer = make_issuer(&pki);
	issuer.trust_domain = make_bytes('a', 65);
	breaches += breach("a trust domain of 65", leaf_build(&issuer, &facts, &buf),
			   "leaf: a trust domain has 1 to 64 octets, this one 65");
	issuer = make_issuer(&pki);
	issuer.ocsp_url = WRIT_LIT("");
	breaches += breach("no OCSP URL", leaf_build(&issuer, &facts, &buf),
			   "leaf: the URLs of CRL and OCSP have 1 to 512 printable octets");
	issuer.ocsp_url = make_bytes('a', 513);
	breaches += breach("an OCSP URL of 513", leaf_build(&issuer, &facts, &buf),
			   "leaf: the URLs of CRL and OCSP have 1 to 512 printable octets");
	issuer = make_issuer(&pki);
	facts.task_id = make_bytes('t', 60);
	breaches += breach("a task id of 60", leaf_build(&issuer, &facts, &buf),
			   "leaf: a task id has 1 to 59 octets, this one 60");
	facts = make_facts(&pki, 1);
	facts.san.len = 0;
	breaches += breach("no SPIFFE ID", leaf_build(&issuer, &facts, &buf),
			   "leaf: a SPIFFE ID has 1 to 512 octets, this one 0");
	facts = make_facts(&pki, 1);
	facts.delegation = make_bytes(0, DELEGATION_MAX + 1);
	breaches += breach("a delegation of 8193", leaf_build(&issuer, &facts, &buf),
			   "leaf: TaskDelegation has 8193 bytes, the limit is 8192");
	assert_int_equal(breaches, 0);
	assert_int_equal(buf.len, 0);

	facts = make_facts(&pki, 1);
	buf.limit = 1000;
	expect_refused(leaf_build(&issuer, &facts, &buf), WRIT_EXHAUSTED,
		       "the leaf's TBSCertificate does not fit: the limit is 1000 bytes");
	writ_buf_done(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_built_is_read_back_field_by_field),
		cmocka_unit_test(the_signer_fills_serial_and_log_reference_and_nothing_else),
		cmocka_unit_test(openssl_reads_the_profile_of_delegation_md_2),
		cmocka_unit_test(oids_are_told_as_openssl_tells_them),
		cmocka_unit_test(a_leaf_of_each_kind_of_key_is_read_by_openssl_too),
		cmocka_unit_test(each_tier_is_told_by_its_policy),
		cmocka_unit_test(each_changed_element_is_refused_by_its_name),
		cmocka_unit_test(a_certificate_is_refused_for_its_envelope_and_its_placeholder),
		cmocka_unit_test(no_prefix_of_a_leaf_is_a_leaf),
		cmocka_unit_test(a_flipped_bit_is_refused_or_lands_in_a_field),
		cmocka_unit_test(no_rev_avail_stands_alone_in_short_lives_at_the_end_of_a_chain),
		cmocka_unit_test(a_lifetime_of_930_s_is_the_longest),
		cmocka_unit_test(times_from_2050_on_are_generalized_time),
		cmocka_unit_test(the_builder_refuses_facts_that_no_leaf_may_have),
	};
	const int failed = cmocka_run_group_tests(tests, set_up, NULL);

	writ_arena_done(&arena);
	return failed;
}
