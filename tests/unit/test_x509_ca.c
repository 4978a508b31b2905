/* CA and responder certificates, the anchor's request, and PEM: as DESIGN.md, Keys, profiles them; OpenSSL reads what
 * we write. */
#include "tests/unit/x509_make.h"

#define NOTHING                                                                                                        \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct pki pki;

static int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	return 0;
}

static struct writ_bytes
extension(struct writ_bytes oid, bool critical, struct writ_bytes value)
{
	const struct writ_bytes flag = critical ? WRIT_LIT("\x01\x01\xff") : (struct writ_bytes){ 0 };

	return make_element(DER_SEQUENCE, make_joined(make_joined(make_element(DER_OID, oid), flag),
						      make_element(DER_OCTET_STRING, value)));
}

static void
expect_subject(X509 *x, const char *want)
{
	char text[256];

	X509_NAME_oneline(X509_get_subject_name(x), text, sizeof(text));
	assert_string_equal(text, want);
}

static size_t
policies_of(X509 *x, char texts[4][200])
{
	CERTIFICATEPOLICIES *policies = X509_get_ext_d2i(x, NID_certificate_policies, NULL, NULL);
	const int n = policies ? sk_POLICYINFO_num(policies) : 0;

	for (int i = 0; i < n; i++)
		OBJ_obj2txt(texts[i], 200, sk_POLICYINFO_value(policies, i)->policyid, 1);
	CERTIFICATEPOLICIES_free(policies);
	return (size_t)n;
}

static void
a_self_signed_anchor_is_a_ca_with_one_ca_below_it_and_asserts_no_policy(void **state)
{
	(void)state;
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		struct pki p = make_pki_with(kind, KEY_P256);
		char want[128], hex[9], texts[4][200];
		X509 *x = openssl_cert(p.anchor);
		struct ca_cert ca;

		snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", p.anchor_key.id[0], p.anchor_key.id[1],
			 p.anchor_key.id[2], p.anchor_key.id[3]);
		snprintf(want, sizeof(want), "/O=" TRUST_DOMAIN "/CN=Writ anchor %s", hex);
		expect_subject(x, want);
		assert_int_equal(X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)), 0);
		assert_int_equal(X509_verify(x, p.anchor_key.pkey), 1);
		assert_int_equal(X509_check_ca(x), 1);
		assert_int_equal(X509_get_pathlen(x), 1);
		assert_int_equal(X509_get_key_usage(x), X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN);
		expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_subject_key_id(x)), 20 }),
			     BYTES(p.anchor_key.id));
		assert_int_equal(policies_of(x, texts), 0);
		assert_int_equal(X509_get_ext_count(x), 3);
		X509_free(x);

		expect_ok(ca_read(p.anchor, &ca));
		assert_true(ca.is_ca);
		assert_int_equal(ca.path_len, 1);
		assert_true(ca.self_issued);
		assert_true(ca.delegated_agent);
		assert_int_equal(ca.n_tiers, 3);
		assert_int_equal(ca.kind, kind);
		assert_int_equal(ca.signature_kind, kind);
		expect_bytes(ca.subject, p.anchor_name);
		expect_bytes(ca.spki, p.anchor_key.spki);
		assert_memory_equal(ca.key_id, p.anchor_key.id, 20);
		assert_int_equal(ca.not_before, NOW - 30);
	}
}

static void
an_issuing_ca_has_no_ca_below_it_and_asserts_its_tier(void **state)
{
	const char *const arc = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567";
	char want[200], texts[4][200], hex[9];
	X509 *x = openssl_cert(pki.issuing);
	CRL_DIST_POINTS *points = X509_get_ext_d2i(x, NID_crl_distribution_points, NULL, NULL);
	AUTHORITY_INFO_ACCESS *info = X509_get_ext_d2i(x, NID_info_access, NULL, NULL);
	struct ca_cert ca;

	(void)state;
	snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", pki.issuing_key.id[0], pki.issuing_key.id[1],
		 pki.issuing_key.id[2], pki.issuing_key.id[3]);
	snprintf(want, sizeof(want), "/O=" TRUST_DOMAIN "/CN=Writ issuing %s", hex);
	expect_subject(x, want);
	assert_int_equal(X509_verify(x, pki.anchor_key.pkey), 1);
	assert_int_equal(X509_check_ca(x), 1);
	assert_int_equal(X509_get_pathlen(x), 0);
	assert_int_equal(X509_get_key_usage(x), X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_authority_key_id(x)), 20 }),
		     BYTES(pki.anchor_key.id));
	assert_int_equal(policies_of(x, texts), 2);
	snprintf(want, sizeof(want), "%s.3.1", arc);
	assert_string_equal(texts[0], want);
	snprintf(want, sizeof(want), "%s.3.3", arc);
	assert_string_equal(texts[1], want);
	assert_int_equal(sk_DIST_POINT_num(points), 1);
	expect_bytes(((struct writ_bytes){
			     ASN1_STRING_get0_data(
				     sk_GENERAL_NAME_value(sk_DIST_POINT_value(points, 0)->distpoint->name.fullname, 0)
					     ->d.uniformResourceIdentifier),
			     sizeof(ANCHOR_CRL_URL) - 1 }),
		     WRIT_LIT(ANCHOR_CRL_URL));
	assert_int_equal(sk_ACCESS_DESCRIPTION_num(info), 1);
	assert_int_equal(OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(info, 0)->method), NID_ad_ca_issuers);
	assert_int_equal(X509_get_ext_count(x), 7);
	CRL_DIST_POINTS_free(points);
	AUTHORITY_INFO_ACCESS_free(info);
	X509_free(x);

	expect_ok(ca_read(pki.issuing, &ca));
	assert_true(ca.is_ca && !ca.self_issued && ca.delegated_agent);
	assert_int_equal(ca.path_len, 0);
	assert_int_equal(ca.n_tiers, 1);
	assert_int_equal(ca.tiers[0], LEAF_TIER_SEALED);
	expect_bytes(ca.issuer, pki.anchor_name);
	expect_bytes(ca.crl_url, WRIT_LIT(ANCHOR_CRL_URL));
	expect_bytes(ca.authority_key_id, BYTES(pki.anchor_key.id));
	expect_bytes(ca.serial, make_joined(WRIT_LIT("\x01\xc8\x01"), make_bytes(0, 13)));
}

static void
a_responder_signs_answers_and_nothing_else_and_points_nowhere(void **state)
{
	X509 *x = openssl_cert(pki.responder);
	struct ca_cert ca;

	(void)state;
	assert_int_equal(X509_verify(x, pki.issuing_key.pkey), 1);
	assert_int_equal(X509_check_ca(x), 0);
	assert_int_equal(X509_get_key_usage(x), X509v3_KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_OCSP_SIGN);
	assert_true(X509_get_ext_by_NID(x, NID_id_pkix_OCSP_noCheck, -1) >= 0);
	assert_int_equal(X509_get_ext_by_NID(x, NID_info_access, -1), -1);
	assert_int_equal(X509_get_ext_by_NID(x, NID_crl_distribution_points, -1), -1);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_subject_key_id(x)), 20 }),
		     BYTES(pki.ocsp_key.id));
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(X509_get0_authority_key_id(x)), 20 }),
		     BYTES(pki.issuing_key.id));
	assert_int_equal(X509_get_ext_count(x), 5);
	X509_free(x);
	expect_ok(ca_read(pki.responder, &ca));
	assert_true(!ca.is_ca && ca.ocsp_signing);
	assert_int_equal(ca.key_usage, CA_KU_DIGITAL_SIGNATURE);
}

static void
two_generations_never_share_a_name(void **state)
{
	const struct test_key other = make_key(KEY_P256);

	(void)state;
	assert_false(writ_equal(make_ca_name(CA_ISSUING, &other), pki.issuing_name));
	assert_false(writ_equal(make_ca_name(CA_ANCHOR, &other), make_ca_name(CA_ISSUING, &other)));
}

static void
openssl_builds_the_path_with_strict_rules_and_both_policies_demanded(void **state)
{
	static const char *const wanted[] = {
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.1",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.3",
		"1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.2",
	};
	X509 *leaf = openssl_cert(make_leaf(&pki)), *issuing = openssl_cert(pki.issuing),
	     *anchor = openssl_cert(pki.anchor);
	STACK_OF(X509) *chain = sk_X509_new_null();

	(void)state;
	sk_X509_push(chain, issuing);
	for (size_t i = 0; i < N_OF(wanted); i++) {
		X509_STORE *store = X509_STORE_new();
		X509_STORE_CTX *ctx = X509_STORE_CTX_new();
		X509_VERIFY_PARAM *param;

		X509_STORE_add_cert(store, anchor);
		assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
		param = X509_STORE_CTX_get0_param(ctx);
		X509_VERIFY_PARAM_set_time(param, NOW);
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_POLICY_CHECK |
							   X509_V_FLAG_EXPLICIT_POLICY);
		X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
		X509_VERIFY_PARAM_add0_policy(param, OBJ_txt2obj(wanted[i], 1));
		assert_int_equal(X509_verify_cert(ctx), i < 2); /* resident is not what this chain asserts */
		assert_int_equal(X509_STORE_CTX_get_error(ctx), i < 2 ? X509_V_OK : X509_V_ERR_NO_EXPLICIT_POLICY);
		X509_STORE_CTX_free(ctx);
		X509_STORE_free(store);
	}
	sk_X509_free(chain);
	X509_free(leaf);
	X509_free(issuing);
	X509_free(anchor);
}

static void
each_changed_element_is_refused_by_its_name(void **state)
{
	/* issuing: 0 BC, 1 KU, 2 SKI, 3 AKI, 4 policies, 5 CRLDP, 6 AIA */
	const struct change changes[] = {
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"), "CA certificate: 1 bytes follow its end" },
		{ "an indefinite length", "", REPLACE, WRIT_LIT("\x30\x80\x00\x00"),
		  "CA certificate: not one whole DER element: cut short, or BER" },
		{ "v1", "0.0", REPLACE, NOTHING, "CA certificate: version: must be v3" },
		{ "serial 0", "0.1", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "CA certificate: serial: not a positive INTEGER of 20 octets at most" },
		{ "a negative serial", "0.1", REPLACE, WRIT_LIT("\x02\x01\x80"),
		  "CA certificate: serial: not a positive INTEGER of 20 octets at most" },
		{ "a serial of 21", "0.1", REPLACE, make_element(DER_INTEGER, make_bytes(1, 21)),
		  "CA certificate: serial: not a positive INTEGER of 20 octets at most" },
		{ "a serial that is not minimal", "0.1", REPLACE, WRIT_LIT("\x02\x02\x00\x01"),
		  "CA certificate: not strict DER, or nested over 16 deep" },
		{ "another algorithm inside", "0.2", REPLACE, key_signature_alg(KEY_P384),
		  "CA certificate: signature: the algorithm inside the TBSCertificate is not the one outside" },
		{ "an issuer of nothing", "0.3", REPLACE, WRIT_LIT("\x30\x00"),
		  "CA certificate: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 "
		  "octets" },
		{ "a time without Z", "0.4.0", REPLACE,
		  WRIT_LIT("\x17\x0c"
			   "261123205137"),
		  "CA certificate: not strict DER, or nested over 16 deep" },
		{ "a subject of nothing", "0.5", REPLACE, WRIT_LIT("\x30\x00"),
		  "CA certificate: subject: not a Name of UTF8String, PrintableString or IA5String, empty, or over "
		  "1024 octets" },
		{ "an RSA key", "0.6", REPLACE,
		  WRIT_LIT("\x30\x14\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x03\x00\x30\x00"),
		  "CA certificate: public key: RSA keys are not accepted: use P-256, P-384 or Ed25519" },
		{ "no extensions", "0.7", REPLACE, NOTHING,
		  "CA certificate: extensions: missing, or not the last field" },
		{ "a subjectUniqueID", "0.6", AFTER, WRIT_LIT("\x82\x02\x00\x01"),
		  "CA certificate: extensions: missing, or not the last field" },
		{ "no basicConstraints", "0.7.0.0", REPLACE, NOTHING,
		  "CA certificate: basicConstraints: neither CA:TRUE, nor an OCSP responder by its extKeyUsage" },
		{ "CA:FALSE", "0.7.0.0", REPLACE, extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x00")),
		  "CA certificate: basicConstraints: neither CA:TRUE, nor an OCSP responder by its extKeyUsage" },
		{ "CA:FALSE written out", "0.7.0.0", REPLACE,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x03\x01\x01\x00")),
		  "CA certificate: basicConstraints: cA FALSE is written out: DER leaves a default out" },
		{ "a negative pathlen", "0.7.0.0", REPLACE,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x06\x01\x01\xff\x02\x01\xff")),
		  "CA certificate: basicConstraints: pathLenConstraint is not in 0..16" },
		{ "a pathlen without a CA", "0.7.0.0", REPLACE,
		  extension(OID_BASIC_CONSTRAINTS, true, WRIT_LIT("\x30\x03\x02\x01\x00")),
		  "CA certificate: basicConstraints: more than cA and pathLenConstraint" },
		{ "basicConstraints twice", "0.7.0.0", AFTER, element_at(pki.issuing, "0.7.0.0"),
		  "CA certificate: 2.5.29.19: this extension stands there twice" },
		{ "no keyUsage", "0.7.0.1", REPLACE, NOTHING, "CA certificate: keyUsage: a CA without keyCertSign" },
		{ "keyUsage without keyCertSign", "0.7.0.1", REPLACE,
		  extension(OID_KEY_USAGE, true, WRIT_LIT("\x03\x02\x01\x02")),
		  "CA certificate: keyUsage: a CA without keyCertSign" },
		{ "keyUsage with trailing zeros", "0.7.0.1", REPLACE,
		  extension(OID_KEY_USAGE, true, WRIT_LIT("\x03\x02\x02\x06")),
		  "CA certificate: keyUsage: not a BIT STRING of 1 to 9 named bits" },
		{ "another SKI", "0.7.0.2", REPLACE,
		  extension(OID_SUBJECT_KEY_ID, false, make_element(DER_OCTET_STRING, make_bytes(1, 20))),
		  "CA certificate: subjectKeyIdentifier: not the SHA-1 of its key (RFC 5280 4.2.1.2, method 1), as the "
		  "request asked" },
		{ "policies of nothing", "0.7.0.4", REPLACE,
		  extension(OID_CERTIFICATE_POLICIES, false, WRIT_LIT("\x30\x00")),
		  "CA certificate: certificatePolicies: not a SEQUENCE of at least one" },
		{ "policies twice", "0.7.0.4", AFTER, element_at(pki.issuing, "0.7.0.4"),
		  "CA certificate: 2.5.29.32: this extension stands there twice" },
		{ "critical nameConstraints", "0.7.0.6", AFTER,
		  extension(WRIT_LIT("\x55\x1d\x1e"), true, WRIT_LIT("\x30\x00")),
		  "CA certificate: 2.5.29.30: an unknown critical extension" },
		{ "critical policyConstraints", "0.7.0.6", AFTER,
		  extension(WRIT_LIT("\x55\x1d\x24"), true, WRIT_LIT("\x30\x00")),
		  "CA certificate: 2.5.29.36: an unknown critical extension" },
		{ "an extension that is none", "0.7.0.6", AFTER, WRIT_LIT("\x30\x00"),
		  "CA certificate: extensions: one of them is not DER" },
		{ "no signature", "2", REPLACE, NOTHING,
		  "CA certificate: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
		{ "too long", "", REPLACE, make_bytes(0x30, CA_CERT_MAX + 1),
		  "CA certificate: 4097 bytes, the limit is 4096" },
	};
	unsigned breaches = 0;
	struct ca_cert ca;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++)
		breaches += breach(changes[i].row,
				   ca_read(edited(pki.issuing, changes[i].path, changes[i].edit, changes[i].with), &ca),
				   changes[i].message);
	breaches += breach("a responder that may sign certificates",
			   ca_read(edited(pki.responder, "0.7.0.0", REPLACE,
					  extension(OID_KEY_USAGE, true, WRIT_LIT("\x03\x02\x02\x84"))),
				   &ca),
			   "CA certificate: keyUsage: an OCSP responder has digitalSignature and nothing else");
	breaches +=
		breach("a responder that is a web server too",
		       ca_read(edited(pki.responder, "0.7.0.1", REPLACE,
				      extension(OID_EXT_KEY_USAGE, false,
						WRIT_LIT("\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x09\x06\x08\x2b"
							 "\x06\x01\x05\x05\x07\x03\x01"))),
			       &ca),
		       "CA certificate: basicConstraints: neither CA:TRUE, nor an OCSP responder by its extKeyUsage");
	breaches +=
		breach("a leaf", ca_read(make_leaf(&pki), &ca),
		       "CA certificate: basicConstraints: neither CA:TRUE, nor an OCSP responder by its extKeyUsage");
	assert_int_equal(breaches, 0);
}

static void
more_than_32_extensions_are_not_read(void **state)
{
	struct writ_bytes cert = pki.issuing;
	struct ca_cert ca;

	(void)state;
	for (unsigned i = 0; i < 25; i++) {
		uint8_t oid[3] = { 0x55, 0x1d, (uint8_t)(0x40 + i) };

		cert = edited(cert, "0.7.0.0", AFTER, extension(BYTES(oid), false, WRIT_LIT("\x05\x00")));
	}
	expect_ok(ca_read(cert, &ca));
	cert = edited(cert, "0.7.0.0", AFTER, extension(WRIT_LIT("\x55\x1d\x7f"), false, WRIT_LIT("\x05\x00")));
	expect_refused(ca_read(cert, &ca), WRIT_INVALID, "CA certificate: extensions: more than 32");
}

static void
an_anchor_that_an_owners_root_signed_is_read_with_the_policies_it_was_given(void **state)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	struct writ_buf info = WRIT_BUF(2048);
	struct writ_bytes request;
	const unsigned char *at;
	STACK_OF(X509_EXTENSION) * wanted;
	unsigned char *der = NULL;
	X509_NAME *owner = X509_NAME_new();
	X509 *x = X509_new();
	X509_REQ *req;
	struct ca_cert ca;
	int len;

	(void)state;
	expect_ok(ca_build_csr_info(WRIT_LIT(TRUST_DOMAIN), pki.anchor_key.spki, &info));
	request = make_signed(&pki.anchor_key, make_keep(&info));
	at = request.data;
	req = d2i_X509_REQ(NULL, &at, (long)request.len);
	assert_non_null(req);
	assert_int_equal(X509_REQ_verify(req, pki.anchor_key.pkey), 1);
	assert_int_equal(X509_REQ_get_version(req), 0);
	wanted = X509_REQ_get_extensions(req);
	assert_int_equal(sk_X509_EXTENSION_num(wanted), 4);

	/* The owner's CA copies what was asked and puts an AKI and URLs of its own beside it. */
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 77);
	X509_NAME_add_entry_by_txt(owner, "CN", MBSTRING_ASC, (const unsigned char *)"Owner's root", -1, -1, 0);
	X509_set_issuer_name(x, owner);
	X509_set_subject_name(x, X509_REQ_get_subject_name(req));
	X509_set_pubkey(x, X509_REQ_get0_pubkey(req));
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	for (int i = 0; i < sk_X509_EXTENSION_num(wanted); i++)
		X509_add_ext(x, sk_X509_EXTENSION_value(wanted, i), -1);
	assert_true(X509_sign(x, rsa, EVP_sha256()) > 0);
	len = i2d_X509(x, &der);
	expect_ok(ca_read((struct writ_bytes){ der, (size_t)len }, &ca));
	assert_true(ca.is_ca && !ca.self_issued && ca.delegated_agent);
	assert_int_equal(ca.path_len, 1);
	assert_int_equal(ca.key_usage, CA_KU_CERT_SIGN | CA_KU_CRL_SIGN);
	assert_int_equal(ca.n_tiers, 3);
	assert_int_equal(ca.tiers[0], LEAF_TIER_RESIDENT);
	assert_int_equal(ca.tiers[2], LEAF_TIER_SOFTWARE);
	assert_int_equal(ca.signature_kind, KEY_NONE); /* RSA: the owner's business */
	assert_int_equal(ca.kind, KEY_P256);
	expect_bytes(ca.subject, pki.anchor_name);

	sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
	OPENSSL_free(der);
	X509_NAME_free(owner);
	X509_free(x);
	X509_REQ_free(req);
	EVP_PKEY_free(rsa);
}

static void
any_policy_allows_all_and_foreign_policies_allow_none(void **state)
{
	const struct writ_bytes any =
		edited(pki.issuing, "0.7.0.4.1.0", REPLACE,
		       make_element(DER_SEQUENCE, make_element(DER_SEQUENCE, make_element(DER_OID, OID_ANY_POLICY))));
	const struct writ_bytes foreign = edited(
		pki.issuing, "0.7.0.4.1.0", REPLACE,
		make_element(DER_SEQUENCE, make_element(DER_SEQUENCE, make_element(DER_OID, WRIT_LIT("\x2a\x03")))));
	const struct writ_bytes none = edited(pki.issuing, "0.7.0.4", REPLACE, (struct writ_bytes){ 0 });
	const struct writ_bytes self_foreign = edited(
		pki.anchor, "0.7.0.2", AFTER,
		extension(OID_CERTIFICATE_POLICIES, false,
			  make_element(DER_SEQUENCE,
				       make_element(DER_SEQUENCE, make_element(DER_OID, WRIT_LIT("\x2a\x03"))))));
	struct ca_cert ca;

	(void)state;
	expect_ok(ca_read(any, &ca));
	assert_true(ca.delegated_agent && ca.n_tiers == 3);
	expect_ok(ca_read(foreign, &ca));
	assert_true(!ca.delegated_agent && ca.n_tiers == 0);
	expect_ok(ca_read(none, &ca));
	assert_true(!ca.delegated_agent && ca.n_tiers == 0);
	expect_ok(ca_read(self_foreign, &ca));
	assert_true(!ca.delegated_agent && ca.n_tiers == 0);
}

static void
the_builder_refuses_facts_that_no_ca_may_have(void **state)
{
	struct writ_buf buf = WRIT_BUF(CA_CERT_MAX);
	struct ca_facts facts = issuing_facts(&pki);
	unsigned breaches = 0;

	(void)state;
	memset(facts.serial, 0, 16);
	breaches += breach("serial 0", ca_build_tbs(&facts, &buf), "CA: the serial is not positive");
	facts.serial[0] = 0x80;
	breaches += breach("a negative serial", ca_build_tbs(&facts, &buf), "CA: the serial is not positive");
	facts = issuing_facts(&pki);
	facts.not_after = facts.not_before - 1;
	breaches += breach("a validity that ends before it begins", ca_build_tbs(&facts, &buf),
			   "CA: the validity ends before it begins");
	facts = issuing_facts(&pki);
	facts.issuer_kind = KEY_NONE;
	breaches += breach("no kind of signature", ca_build_tbs(&facts, &buf),
			   "CA: the kind of the signing key is not said");
	facts = issuing_facts(&pki);
	facts.issuer_name.len = 0;
	breaches += breach("an issuing CA that signs itself", ca_build_tbs(&facts, &buf),
			   "CA: an anchor signs itself, all others name their issuer and its key");
	facts = anchor_facts(&pki);
	facts.issuer_spki = pki.issuing_key.spki;
	breaches += breach("an anchor with an issuer", ca_build_tbs(&facts, &buf),
			   "CA: an anchor signs itself, all others name their issuer and its key");
	facts = issuing_facts(&pki);
	facts.crl_url.len = 0;
	breaches += breach("no URL of the anchor's CRL", ca_build_tbs(&facts, &buf),
			   "CA: the URL of the anchor's CRL has 1 to 512 printable octets");
	facts = issuing_facts(&pki);
	facts.ca_url = WRIT_LIT("http://a b");
	breaches += breach("a URL with a space", ca_build_tbs(&facts, &buf),
			   "CA: the URL of the anchor's certificate has 1 to 512 printable octets");
	facts = issuing_facts(&pki);
	facts.tier = (enum leaf_tier)0;
	breaches += breach("no tier", ca_build_tbs(&facts, &buf), "CA: tier 0 is none of resident, sealed, software");
	facts = issuing_facts(&pki);
	facts.trust_domain = WRIT_LIT("Corp");
	breaches += breach("a trust domain in upper case", ca_build_tbs(&facts, &buf),
			   "CA name: trust domain 'Corp': only lower-case a-z, 0-9, '.', '_' and '-'");
	facts = issuing_facts(&pki);
	facts.spki = WRIT_LIT("\x30\x00");
	breaches += breach("a key that is none", ca_build_tbs(&facts, &buf),
			   "public key: its AlgorithmIdentifier is not DER");
	assert_int_equal(breaches, 0);
	writ_buf_done(&buf);
}

static void
pem_is_written_in_lines_of_64_and_read_back_block_by_block(void **state)
{
	struct writ_buf text = WRIT_BUF(16384), der = WRIT_BUF(CA_CERT_MAX);
	const unsigned char *at;
	struct writ_bytes rest;
	BIO *bio;
	X509 *x;

	(void)state;
	expect_ok(writ_buf_printf(&text, "a comment\n"));
	expect_ok(pem_write("CERTIFICATE", pki.issuing, &text));
	expect_ok(writ_buf_printf(&text, "between\n"));
	expect_ok(pem_write("X509 CRL", pki.anchor, &text));
	expect_ok(pem_write("CERTIFICATE", pki.anchor, &text));
	bio = BIO_new_mem_buf(text.data, (int)text.len);
	x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_non_null(x);
	X509_free(x);
	BIO_free(bio);
	for (at = text.data; at;) {
		const unsigned char *const end = memchr(at, '\n', (size_t)(text.data + text.len - at));

		assert_true(!end || end - at <= 64);
		at = end ? end + 1 : NULL;
		if (at == text.data + text.len)
			at = NULL;
	}
	rest = writ_view(&text);
	expect_ok(pem_read("CERTIFICATE", &rest, &der));
	expect_bytes(writ_view(&der), pki.issuing);
	writ_buf_clear(&der);
	expect_ok(pem_read("CERTIFICATE", &rest, &der));
	expect_bytes(writ_view(&der), pki.anchor);
	expect_refused(pem_read("CERTIFICATE", &rest, &der), WRIT_NOT_FOUND, "PEM: no further block 'CERTIFICATE'");
	writ_buf_done(&text);
	writ_buf_done(&der);
}

static void
pem_with_crlf_is_read_and_broken_pem_is_not(void **state)
{
	static const struct {
		const char *row, *text, *message;
	} rows[] = {
		{ "no end", "-----BEGIN X-----\nAAAA\n", "PEM: block 'X' has no end" },
		{ "the end of another block", "-----BEGIN X-----\nAAAA\n-----END Y-----\n",
		  "PEM: block 'X' has no end" },
		{ "headers inside", "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----\n",
		  "PEM: block 'X': base64: the length or the padding is wrong" },
		{ "a space inside", "-----BEGIN X-----\nAA AA\n-----END X-----\n",
		  "PEM: block 'X': base64: the length or the padding is wrong" },
		{ "no padding", "-----BEGIN X-----\nAAA\n-----END X-----\n",
		  "PEM: block 'X': base64: the length or the padding is wrong" },
		{ "spare bits", "-----BEGIN X-----\nAAF=\n-----END X-----\n",
		  "PEM: block 'X': base64: the last character has bits that belong to no byte" },
	};
	struct writ_buf der = WRIT_BUF(64);
	struct writ_bytes rest = WRIT_LIT("-----BEGIN X-----\r\nAAAA\r\nAAE=\r\n-----END X-----\r\n");
	unsigned breaches = 0;

	(void)state;
	expect_ok(pem_read("X", &rest, &der));
	expect_bytes(writ_view(&der), WRIT_LIT("\0\0\0\0\1"));
	for (size_t i = 0; i < N_OF(rows); i++) {
		rest = writ_str(rows[i].text);
		breaches += breach(rows[i].row, pem_read("X", &rest, &der), rows[i].message);
	}
	assert_int_equal(breaches, 0);
	writ_buf_done(&der);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_self_signed_anchor_is_a_ca_with_one_ca_below_it_and_asserts_no_policy),
		cmocka_unit_test(an_issuing_ca_has_no_ca_below_it_and_asserts_its_tier),
		cmocka_unit_test(a_responder_signs_answers_and_nothing_else_and_points_nowhere),
		cmocka_unit_test(two_generations_never_share_a_name),
		cmocka_unit_test(openssl_builds_the_path_with_strict_rules_and_both_policies_demanded),
		cmocka_unit_test(each_changed_element_is_refused_by_its_name),
		cmocka_unit_test(more_than_32_extensions_are_not_read),
		cmocka_unit_test(an_anchor_that_an_owners_root_signed_is_read_with_the_policies_it_was_given),
		cmocka_unit_test(any_policy_allows_all_and_foreign_policies_allow_none),
		cmocka_unit_test(the_builder_refuses_facts_that_no_ca_may_have),
		cmocka_unit_test(pem_is_written_in_lines_of_64_and_read_back_block_by_block),
		cmocka_unit_test(pem_with_crlf_is_read_and_broken_pem_is_not),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
