/* CRLs: entries encoded once, lists put together by copying; OpenSSL reads them, and we read nothing that leaves
 * something out. */
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

static struct crl_facts
facts_of(struct writ_bytes entries)
{
	return (struct crl_facts){
		.issuer_name = pki.issuing_name,
		.issuer_key_id = { pki.issuing_key.id, 20 },
		.kind = KEY_P256,
		.number = 4711,
		.this_update = NOW - 30,
		.next_update = NOW + 180,
		.entries = entries,
	};
}

static struct writ_bytes
make_crl(const struct crl_facts *facts)
{
	struct writ_buf tbs = WRIT_BUF(1024 * 1024);

	expect_ok(crl_build_tbs(facts, &tbs));
	return make_signed(&pki.issuing_key, make_keep(&tbs));
}

static struct writ_bytes
serial_of(uint8_t last)
{
	return make_joined(WRIT_LIT("\x01\xc8\x62\x0b"), make_bytes(last, 12));
}

static struct writ_bytes
entry(uint8_t last, enum crl_reason reason)
{
	struct writ_buf buf = WRIT_BUF(CRL_ENTRY_MAX);

	expect_ok(crl_entry_write(serial_of(last), NOW - last, reason, &buf));
	return make_keep(&buf);
}

static X509_CRL *
openssl_crl(struct writ_bytes der)
{
	const unsigned char *at = der.data;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)der.len);

	assert_non_null(crl);
	assert_ptr_equal(at, der.data + der.len);
	return crl;
}

static void
an_entry_has_35_bytes_and_49_with_its_reason(void **state)
{
	(void)state;
	assert_int_equal(entry(1, REASON_UNSPECIFIED).len, 35);
	assert_int_equal(entry(1, REASON_PRIVILEGE_WITHDRAWN).len, 49);
}

static void
openssl_reads_the_list_its_number_its_entries_and_their_reasons(void **state)
{
	static const enum crl_reason reasons[] = { REASON_UNSPECIFIED,	      REASON_KEY_COMPROMISE,
						   REASON_CA_COMPROMISE,      REASON_AFFILIATION_CHANGED,
						   REASON_SUPERSEDED,	      REASON_CESSATION_OF_OPERATION,
						   REASON_PRIVILEGE_WITHDRAWN };
	struct writ_bytes entries = { 0 };
	struct crl_facts facts;
	struct writ_bytes der;
	X509_CRL *crl;
	ASN1_INTEGER *number;
	AUTHORITY_KEYID *akid;
	struct crl read;

	(void)state;
	for (size_t i = 0; i < N_OF(reasons); i++)
		entries = make_joined(entries, entry((uint8_t)(i + 1), reasons[i]));
	facts = facts_of(entries);
	der = make_crl(&facts);
	crl = openssl_crl(der);
	assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
	assert_int_equal(X509_CRL_verify(crl, pki.issuing_key.pkey), 1);
	number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	assert_int_equal(ASN1_INTEGER_get(number), 4711);
	ASN1_INTEGER_free(number);
	akid = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(akid->keyid), 20 }), BYTES(pki.issuing_key.id));
	AUTHORITY_KEYID_free(akid);
	assert_int_equal(ASN1_STRING_type(X509_CRL_get0_lastUpdate(crl)), V_ASN1_UTCTIME);
	assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), N_OF(reasons));

	expect_ok(crl_read(der, &read));
	assert_int_equal(read.number, 4711);
	assert_int_equal(read.this_update, NOW - 30);
	assert_int_equal(read.next_update, NOW + 180);
	assert_int_equal(read.kind, KEY_P256);
	expect_bytes(read.issuer, pki.issuing_name);
	expect_bytes(read.authority_key_id, BYTES(pki.issuing_key.id));
	for (size_t i = 0; i < N_OF(reasons); i++) {
		const struct writ_bytes serial = serial_of((uint8_t)(i + 1));
		X509_REVOKED *revoked = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), (int)i);
		ASN1_ENUMERATED *theirs = X509_REVOKED_get_ext_d2i(revoked, NID_crl_reason, NULL, NULL);
		enum crl_reason reason;
		writ_time at;

		expect_bytes(
			((struct writ_bytes){ ASN1_STRING_get0_data(X509_REVOKED_get0_serialNumber(revoked)), 16 }),
			serial);
		if (reasons[i] == REASON_UNSPECIFIED)
			assert_null(theirs); /* said by its absence (RFC 5280 5.3.1) */
		else
			assert_int_equal(ASN1_ENUMERATED_get(theirs), reasons[i]);
		ASN1_ENUMERATED_free(theirs);
		assert_true(crl_find(&read, serial, &at, &reason));
		assert_int_equal(at, NOW - (writ_time)(i + 1));
		assert_int_equal(reason, reasons[i]);
		assert_true(crl_find(&read, make_joined(WRIT_LIT("\0"), serial), &at,
				     &reason)); /* a leading zero is no other number */
	}
	{
		enum crl_reason reason;
		writ_time at;

		assert_false(crl_find(&read, serial_of(99), &at, &reason));
		assert_false(crl_find(&read, WRIT_LIT(""), &at, &reason));
	}
	X509_CRL_free(crl);
}

static void
an_empty_list_is_absent(void **state)
{
	struct crl_facts facts = facts_of((struct writ_bytes){ 0 });
	const struct writ_bytes der = make_crl(&facts);
	X509_CRL *crl = openssl_crl(der);
	enum crl_reason reason;
	struct crl read;
	writ_time at;

	(void)state;
	assert_null(X509_CRL_get_REVOKED(crl));
	assert_int_equal(X509_CRL_verify(crl, pki.issuing_key.pkey), 1);
	expect_ok(crl_read(der, &read));
	assert_int_equal(read.entries.len, 0);
	assert_false(crl_find(&read, serial_of(1), &at, &reason));
	X509_CRL_free(crl);
}

static void
revoked_delegations_are_listed_in_order_and_found(void **state)
{
	static const uint8_t edges[3][EDGE_ID] = { { 1 }, { 2 }, { 2, 1 } };
	struct crl_facts facts = facts_of((struct writ_bytes){ 0 });
	struct writ_bytes der;
	struct crl read;
	X509_CRL *crl;
	ASN1_OBJECT *oid =
		OBJ_txt2obj("1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.5.1", 1);

	(void)state;
	facts.edges = edges;
	facts.n_edges = 3;
	der = make_crl(&facts);
	crl = openssl_crl(der);
	assert_true(X509_CRL_get_ext_by_OBJ(crl, oid, -1) >= 0);
	assert_int_equal(X509_EXTENSION_get_critical(X509_CRL_get_ext(crl, X509_CRL_get_ext_by_OBJ(crl, oid, -1))), 0);
	expect_ok(crl_read(der, &read));
	for (size_t i = 0; i < 3; i++)
		assert_true(crl_has_edge(&read, BYTES(edges[i])));
	assert_false(crl_has_edge(&read, make_bytes(3, EDGE_ID)));
	assert_false(crl_has_edge(&read, make_bytes(1, 15)));
	X509_CRL_free(crl);

	facts.n_edges = 0;
	crl = openssl_crl(make_crl(&facts));
	assert_int_equal(X509_CRL_get_ext_by_OBJ(crl, oid, -1), -1); /* omitted when empty (R3) */
	X509_CRL_free(crl);
	ASN1_OBJECT_free(oid);
}

static void
a_shard_names_its_url_critically(void **state)
{
	struct crl_facts facts = facts_of(entry(1, REASON_SUPERSEDED));
	struct writ_bytes der;
	ISSUING_DIST_POINT *idp;
	struct crl read;
	X509_CRL *crl;
	int critical;

	(void)state;
	facts.idp_url = WRIT_LIT(CRL_URL);
	der = make_crl(&facts);
	crl = openssl_crl(der);
	idp = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
	assert_non_null(idp);
	assert_int_equal(critical, 1);
	expect_bytes(((struct writ_bytes){ ASN1_STRING_get0_data(sk_GENERAL_NAME_value(idp->distpoint->name.fullname, 0)
									 ->d.uniformResourceIdentifier),
					   sizeof(CRL_URL) - 1 }),
		     WRIT_LIT(CRL_URL));
	ISSUING_DIST_POINT_free(idp);
	X509_CRL_free(crl);
	expect_ok(crl_read(der, &read));
	expect_bytes(read.idp_url, WRIT_LIT(CRL_URL));
}

static void
openssl_checks_a_leaf_against_it(void **state)
{
	const struct writ_bytes leaf_der = make_leaf(&pki);
	struct writ_buf listed = WRIT_BUF(CRL_ENTRY_MAX);
	X509 *leaf = openssl_cert(leaf_der), *issuing = openssl_cert(pki.issuing), *anchor = openssl_cert(pki.anchor);
	STACK_OF(X509) *chain = sk_X509_new_null();

	(void)state;
	expect_ok(crl_entry_write(LEAF_SERIAL_BYTES, NOW, REASON_KEY_COMPROMISE, &listed));
	sk_X509_push(chain, issuing);
	for (int revoked = 0; revoked < 2; revoked++) {
		struct crl_facts facts = facts_of(revoked ? writ_view(&listed) : entry(1, REASON_SUPERSEDED));
		X509_STORE *store = X509_STORE_new();
		X509_STORE_CTX *ctx = X509_STORE_CTX_new();
		X509_CRL *crl;

		facts.idp_url = WRIT_LIT(CRL_URL);
		crl = openssl_crl(make_crl(&facts));
		X509_STORE_add_cert(store, anchor);
		X509_STORE_add_crl(store, crl);
		assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
		X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), NOW);
		X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx),
					    X509_V_FLAG_CRL_CHECK | X509_V_FLAG_X509_STRICT);
		assert_int_equal(X509_verify_cert(ctx), !revoked);
		assert_int_equal(X509_STORE_CTX_get_error(ctx), revoked ? X509_V_ERR_CERT_REVOKED : X509_V_OK);
		X509_STORE_CTX_free(ctx);
		X509_STORE_free(store);
		X509_CRL_free(crl);
	}
	writ_buf_done(&listed);
	sk_X509_free(chain);
	X509_free(leaf);
	X509_free(issuing);
	X509_free(anchor);
}

static struct writ_bytes
extension(struct writ_bytes oid, bool critical, struct writ_bytes value)
{
	const struct writ_bytes flag = critical ? WRIT_LIT("\x01\x01\xff") : (struct writ_bytes){ 0 };

	return make_element(DER_SEQUENCE, make_joined(make_joined(make_element(DER_OID, oid), flag),
						      make_element(DER_OCTET_STRING, value)));
}

static void
each_changed_element_is_refused_by_its_name(void **state)
{
	static const uint8_t edges[2][EDGE_ID] = { { 1 }, { 2 } };
	struct crl_facts facts = facts_of(make_joined(entry(1, REASON_KEY_COMPROMISE), entry(2, REASON_UNSPECIFIED)));
	struct writ_bytes der;

	(void)state;
	facts.edges = edges;
	facts.n_edges = 2;
	facts.idp_url = WRIT_LIT(CRL_URL);
	der = make_crl(&facts); /* 0.0 version, 1 alg, 2 issuer, 3 this, 4 next, 5 entries, 6 extensions: AKI, number,
				   IDP, edges */
	const struct change changes[] = {
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"), "CRL: 1 bytes follow its end" },
		{ "an indefinite length", "", REPLACE, WRIT_LIT("\x30\x80\x00\x00"),
		  "CRL: not one whole DER element: cut short, or BER" },
		{ "v1", "0.0", REPLACE, NOTHING, "CRL: version: must be v2" },
		{ "v3", "0.0", REPLACE, WRIT_LIT("\x02\x01\x02"), "CRL: version: must be v2" },
		{ "another algorithm inside", "0.1", REPLACE, key_signature_alg(KEY_P384),
		  "CRL: signature: the algorithm inside the TBSCertList is not the one outside" },
		{ "an issuer of nothing", "0.2", REPLACE, WRIT_LIT("\x30\x00"),
		  "CRL: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets" },
		{ "an issuer that is not strict", "0.2", REPLACE, WRIT_LIT("\x30\x02\x31\x80"),
		  "CRL: issuer: not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets" },
		{ "no nextUpdate", "0.4", REPLACE, NOTHING,
		  "CRL: thisUpdate, nextUpdate: missing, or not times as RFC 5280 5.1.2.4 wants them" },
		{ "nextUpdate at thisUpdate", "0.4", REPLACE, element_at(der, "0.3"),
		  "CRL: nextUpdate: not after thisUpdate" },
		{ "GeneralizedTime before 2050", "0.3", REPLACE,
		  make_element(DER_GENERALIZED_TIME, WRIT_LIT("20261123205107Z")),
		  "CRL: thisUpdate, nextUpdate: missing, or not times as RFC 5280 5.1.2.4 wants them" },
		{ "an empty list", "0.5", REPLACE, WRIT_LIT("\x30\x00"),
		  "CRL: revokedCertificates: not DER, or empty (then it must be absent)" },
		{ "an entry without a time", "0.5.1.1", REPLACE, NOTHING,
		  "CRL: revokedCertificates: entry 2 is not DER, or has a critical extension" },
		{ "an entry of serial 0", "0.5.1.0", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "CRL: revokedCertificates: entry 2 is not DER, or has a critical extension" },
		{ "an entry of a negative serial", "0.5.1.0", REPLACE, WRIT_LIT("\x02\x01\xff"),
		  "CRL: revokedCertificates: entry 2 is not DER, or has a critical extension" },
		{ "an entry of a serial of 21", "0.5.1.0", REPLACE, make_element(DER_INTEGER, make_bytes(1, 21)),
		  "CRL: revokedCertificates: entry 2 is not DER, or has a critical extension" },
		{ "an entry of another issuer", "0.5.0.2.0", AFTER,
		  extension(WRIT_LIT("\x55\x1d\x1d"), true, WRIT_LIT("\x30\x00")),
		  "CRL: revokedCertificates: entry 1 is not DER, or has a critical extension" },
		{ "an entry with two reasons", "0.5.0.2.0", AFTER, element_at(der, "0.5.0.2.0"),
		  "CRL: revokedCertificates: entry 1 is not DER, or has a critical extension" },
		{ "a reason of 11", "0.5.0.2.0.1.0", REPLACE, WRIT_LIT("\x0a\x01\x0b"),
		  "CRL: revokedCertificates: entry 1 is not DER, or has a critical extension" },
		{ "a reason as INTEGER", "0.5.0.2.0.1.0", REPLACE, WRIT_LIT("\x02\x01\x01"),
		  "CRL: revokedCertificates: entry 1 is not DER, or has a critical extension" },
		{ "an entry with no extensions in it", "0.5.0.2", REPLACE, WRIT_LIT("\x30\x00"),
		  "CRL: revokedCertificates: entry 1 is not DER, or has a critical extension" },
		{ "an entry with something more", "0.5.1.1", AFTER, WRIT_LIT("\x05\x00"),
		  "CRL: revokedCertificates: entry 2 is not DER, or has a critical extension" },
		{ "no extensions", "0.6", REPLACE, NOTHING, "CRL: crlExtensions: missing, or not the last field" },
		{ "something behind the extensions", "0.6", AFTER, WRIT_LIT("\x05\x00"),
		  "CRL: crlExtensions: missing, or not the last field" },
		{ "the number twice", "0.6.0.1", AFTER, element_at(der, "0.6.0.1"),
		  "CRL: 2.5.29.20: this extension stands there twice" },
		{ "a negative number", "0.6.0.1.1.0", REPLACE, WRIT_LIT("\x02\x01\xff"),
		  "CRL: cRLNumber: not an INTEGER of 0..2^64-1" },
		{ "a number of 2^64", "0.6.0.1.1.0", REPLACE, WRIT_LIT("\x02\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
		  "CRL: cRLNumber: not an INTEGER of 0..2^64-1" },
		{ "a delta CRL", "0.6.0.1", AFTER, extension(WRIT_LIT("\x55\x1d\x1b"), true, WRIT_LIT("\x02\x01\x01")),
		  "CRL: 2.5.29.27: an unknown critical extension" },
		{ "an unknown critical extension", "0.6.0.0", BEFORE,
		  extension(WRIT_LIT("\x55\x1d\x63"), true, WRIT_LIT("\x05\x00")),
		  "CRL: 2.5.29.99: an unknown critical extension" },
		{ "an indirect CRL", "0.6.0.2.2.0.0", AFTER, WRIT_LIT("\x84\x01\xff"),
		  "CRL: issuingDistributionPoint: not one URI alone, so the list may leave something out" },
		{ "some reasons only", "0.6.0.2.2.0.0", AFTER, WRIT_LIT("\x83\x02\x06\x40"),
		  "CRL: issuingDistributionPoint: not one URI alone, so the list may leave something out" },
		{ "users only", "0.6.0.2.2.0.0", AFTER, WRIT_LIT("\x81\x01\xff"),
		  "CRL: issuingDistributionPoint: not one URI alone, so the list may leave something out" },
		{ "edges of nothing", "0.6.0.3.1.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "CRL: revokedDelegations: not a SEQUENCE of at least one" },
		{ "an edge of 15", "0.6.0.3.1.0.0", REPLACE, make_element(DER_OCTET_STRING, make_bytes(1, 15)),
		  "CRL: revokedDelegations: an edge id is not an OCTET STRING of 16 octets" },
		{ "edges not ascending", "0.6.0.3.1.0.1", REPLACE, element_at(der, "0.6.0.3.1.0.0"),
		  "CRL: revokedDelegations: edge ids are not strictly ascending" },
		{ "an extension that is none", "0.6.0.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "CRL: crlExtensions: one of them is not DER" },
		{ "no signature", "2", REPLACE, NOTHING,
		  "CRL: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER" },
	};
	unsigned breaches = 0;
	struct crl crl;

	expect_ok(crl_read(der, &crl));
	for (size_t i = 0; i < N_OF(changes); i++)
		breaches += breach(changes[i].row,
				   crl_read(edited(der, changes[i].path, changes[i].edit, changes[i].with), &crl),
				   changes[i].message);
	assert_int_equal(breaches, 0);
}

static void
a_list_by_somebody_else_is_read_and_a_foreign_reason_still_means_revoked(void **state)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	X509_CRL *crl = X509_CRL_new();
	X509_NAME *name = X509_NAME_new();
	ASN1_TIME *time = ASN1_TIME_new();
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_ENUMERATED *hold = ASN1_ENUMERATED_new();
	unsigned char *der = NULL;
	enum crl_reason reason;
	struct crl read;
	writ_time at;
	int len;

	(void)state;
	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"Corporate CA", -1, -1, 0);
	X509_CRL_set_issuer_name(crl, name);
	ASN1_TIME_set(time, NOW);
	X509_CRL_set1_lastUpdate(crl, time);
	ASN1_INTEGER_set(serial, 300);
	X509_REVOKED_set_serialNumber(revoked, serial);
	X509_REVOKED_set_revocationDate(revoked, time);
	ASN1_ENUMERATED_set(hold, 6);
	X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, hold, 0, 0);
	X509_CRL_add0_revoked(crl, revoked);
	ASN1_TIME_set(time, NOW + 3600);
	X509_CRL_set1_nextUpdate(crl, time);
	X509_CRL_add1_ext_i2d(crl, NID_crl_number, serial, 0, 0);
	assert_true(X509_CRL_sign(crl, rsa, EVP_sha256()) > 0);
	len = i2d_X509_CRL(crl, &der);
	expect_ok(crl_read((struct writ_bytes){ der, (size_t)len }, &read));
	assert_int_equal(read.kind, KEY_NONE);
	assert_true(crl_find(&read, WRIT_LIT("\x01\x2c"), &at, &reason));
	assert_int_equal(reason, REASON_UNSPECIFIED); /* certificateHold, which we do not know how to undo */
	assert_int_equal(at, NOW);
	OPENSSL_free(der);
	ASN1_ENUMERATED_free(hold);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(time);
	X509_NAME_free(name);
	X509_CRL_free(crl);
	EVP_PKEY_free(rsa);
}

static void
the_builder_refuses_facts_that_no_list_may_have(void **state)
{
	static const uint8_t twice[2][EDGE_ID] = { { 1 }, { 1 } };
	struct writ_buf buf = WRIT_BUF(4096);
	struct crl_facts facts = facts_of((struct writ_bytes){ 0 });
	unsigned breaches = 0;

	(void)state;
	facts.issuer_key_id.len = 19;
	breaches += breach("a key id of 19", crl_build_tbs(&facts, &buf), "CRL: a key id has 20 octets, given are 19");
	facts = facts_of((struct writ_bytes){ 0 });
	facts.kind = KEY_NONE;
	breaches += breach("no kind", crl_build_tbs(&facts, &buf), "CRL: the kind of the signing key is not said");
	facts = facts_of((struct writ_bytes){ 0 });
	facts.number = UINT64_MAX;
	breaches +=
		breach("number 2^64-1", crl_build_tbs(&facts, &buf), "CRL: number 18446744073709551615 is over 2^63-1");
	facts = facts_of((struct writ_bytes){ 0 });
	facts.next_update = facts.this_update;
	breaches += breach("nextUpdate at thisUpdate", crl_build_tbs(&facts, &buf),
			   "CRL: nextUpdate is not after thisUpdate");
	facts = facts_of((struct writ_bytes){ 0 });
	facts.idp_url = WRIT_LIT("http://a b");
	breaches +=
		breach("a URL with a space", crl_build_tbs(&facts, &buf), "CRL: its URL has 1 to 512 printable octets");
	facts = facts_of((struct writ_bytes){ 0 });
	facts.edges = twice;
	facts.n_edges = 2;
	breaches += breach("an edge twice", crl_build_tbs(&facts, &buf),
			   "CRL: revoked delegations are not strictly ascending at number 2");
	breaches += breach("a serial of nothing", crl_entry_write(WRIT_LIT(""), NOW, REASON_SUPERSEDED, &buf),
			   "CRL entry: a serial of 0 octets, 1 to 20 are allowed");
	breaches += breach("a serial of 21 octets", crl_entry_write(make_bytes(1, 21), NOW, REASON_SUPERSEDED, &buf),
			   "CRL entry: a serial of 21 octets, 1 to 20 are allowed");
	breaches += breach("certificateHold", crl_entry_write(serial_of(1), NOW, (enum crl_reason)6, &buf),
			   "CRL entry: reason 6 is never emitted: there is no un-revoking (R7)");
	breaches += breach("removeFromCRL", crl_entry_write(serial_of(1), NOW, (enum crl_reason)8, &buf),
			   "CRL entry: reason 8 is never emitted: there is no un-revoking (R7)");
	assert_int_equal(breaches, 0);
	assert_int_equal(buf.len, 0);
	facts = facts_of(make_bytes(0, 5000));
	expect_refused(
		crl_build_tbs(&facts, &buf), WRIT_EXHAUSTED,
		"CRL with 5000 bytes of entries: 5000 bytes do not fit: the buffer's limit is 4096 and it holds 117");
	writ_buf_done(&buf);
}

static void
reasons_have_the_names_of_rfc_5280(void **state)
{
	static const struct {
		unsigned code;
		const char *name;
	} rows[] = { { 0, "unspecified" },	  { 1, "keyCompromise" }, { 2, "cACompromise" },
		     { 3, "affiliationChanged" }, { 4, "superseded" },	  { 5, "cessationOfOperation" },
		     { 9, "privilegeWithdrawn" } };
	enum crl_reason reason;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		assert_true(crl_reason_ok(rows[i].code));
		assert_string_equal(crl_reason_name(rows[i].code), rows[i].name);
		assert_true(crl_reason_from(writ_str(rows[i].name), &reason));
		assert_int_equal(reason, rows[i].code);
	}
	assert_false(crl_reason_ok(6) || crl_reason_ok(7) || crl_reason_ok(8) || crl_reason_ok(10));
	assert_string_equal(crl_reason_name(6), "unknown");
	assert_false(crl_reason_from(WRIT_LIT("certificateHold"), &reason));
	assert_false(crl_reason_from(WRIT_LIT("keycompromise"), &reason));
}

static void
a_list_of_100000_entries_has_the_right_lengths_all_the_way_up(void **state)
{
	struct writ_buf entries = WRIT_BUF(8 * 1024 * 1024), tbs = WRIT_BUF(8 * 1024 * 1024),
			list = WRIT_BUF(8 * 1024 * 1024);
	uint8_t serial[16] = { 1, 0xc8 };
	struct crl_facts facts;
	enum crl_reason reason;
	struct crl read;
	writ_time at;
	X509_CRL *crl;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		writ_put32(serial + 12, i);
		expect_ok(crl_entry_write(BYTES(serial), NOW, REASON_PRIVILEGE_WITHDRAWN, &entries));
	}
	facts = facts_of(writ_view(&entries));
	expect_ok(crl_build_tbs(&facts, &tbs));
	expect_ok(x509_assemble(writ_view(&tbs), KEY_P256, make_signature(&pki.issuing_key, writ_view(&tbs)), &list));
	crl = openssl_crl(writ_view(&list));
	assert_int_equal(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 100000);
	assert_int_equal(X509_CRL_verify(crl, pki.issuing_key.pkey), 1);
	X509_CRL_free(crl);
	expect_ok(crl_read(writ_view(&list), &read));
	assert_true(crl_find(&read, BYTES(serial), &at, &reason));
	writ_buf_done(&entries);
	writ_buf_done(&tbs);
	writ_buf_done(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_has_35_bytes_and_49_with_its_reason),
		cmocka_unit_test(openssl_reads_the_list_its_number_its_entries_and_their_reasons),
		cmocka_unit_test(an_empty_list_is_absent),
		cmocka_unit_test(revoked_delegations_are_listed_in_order_and_found),
		cmocka_unit_test(a_shard_names_its_url_critically),
		cmocka_unit_test(openssl_checks_a_leaf_against_it),
		cmocka_unit_test(each_changed_element_is_refused_by_its_name),
		cmocka_unit_test(a_list_by_somebody_else_is_read_and_a_foreign_reason_still_means_revoked),
		cmocka_unit_test(the_builder_refuses_facts_that_no_list_may_have),
		cmocka_unit_test(reasons_have_the_names_of_rfc_5280),
		cmocka_unit_test(a_list_of_100000_entries_has_the_right_lengths_all_the_way_up),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
