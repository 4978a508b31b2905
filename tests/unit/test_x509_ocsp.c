/* OCSP: requests of OpenSSL are read, answers of ours are accepted by OpenSSL, and neither side takes anything
 * doubtful. */
#include "tests/unit/x509_make.h"

#define NOTHING                                                                                                        \
	{                                                                                                              \
		0                                                                                                      \
	}

static struct pki pki;
static struct ocsp_issuer issuer;

static int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	expect_ok(ocsp_issuer_init(pki.issuing_name, pki.issuing_key.spki, &issuer));
	return 0;
}

static struct writ_bytes
extension(struct writ_bytes oid, bool critical, struct writ_bytes value)
{
	const struct writ_bytes flag = critical ? WRIT_LIT("\x01\x01\xff") : (struct writ_bytes){ 0 };

	return make_element(DER_SEQUENCE, make_joined(make_joined(make_element(DER_OID, oid), flag),
						      make_element(DER_OCTET_STRING, value)));
}

static struct writ_bytes
request(bool sha1, size_t nonce_len)
{
	struct writ_buf buf = WRIT_BUF(OCSP_REQUEST_MAX);

	expect_ok(ocsp_request_build(&issuer, sha1, LEAF_SERIAL_BYTES, make_bytes(0x5a, nonce_len), &buf));
	return make_keep(&buf);
}

static struct writ_bytes
openssl_request(const EVP_MD *md, int nonce_len)
{
	X509 *leaf = openssl_cert(make_leaf(&pki)), *ca = openssl_cert(pki.issuing);
	OCSP_REQUEST *req = OCSP_REQUEST_new();
	unsigned char *der = NULL;
	struct writ_bytes kept;
	int len;

	assert_non_null(OCSP_request_add0_id(req, OCSP_cert_to_id(md, leaf, ca)));
	if (nonce_len)
		assert_int_equal(OCSP_request_add1_nonce(req, NULL, nonce_len), 1);
	len = i2d_OCSP_REQUEST(req, &der);
	kept = writ_arena_copy(&make_arena, (struct writ_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	OCSP_REQUEST_free(req);
	X509_free(leaf);
	X509_free(ca);
	return kept;
}

static void
openssls_requests_are_read_and_ours_are_the_same_bytes(void **state)
{
	struct ocsp_request r;

	(void)state;
	for (int sha1 = 0; sha1 < 2; sha1++) {
		const EVP_MD *md = sha1 ? EVP_sha1() : EVP_sha256();
		const struct writ_bytes plain = openssl_request(md, 0);

		expect_bytes(request(sha1, 0), plain);
		assert_int_equal(plain.len, sha1 ? 83 : 111);
		expect_ok(ocsp_request_parse(plain, &r));
		assert_int_equal(r.sha1, sha1);
		expect_bytes(r.serial, LEAF_SERIAL_BYTES);
		expect_bytes(r.cert_id, element_at(plain, "0.0.0.0"));
		assert_true(ocsp_issuer_is(&issuer, &r));
		assert_int_equal(r.nonce.len, 0);
		expect_ok(ocsp_request_parse(openssl_request(md, 32), &r));
		assert_int_equal(r.nonce.len, 32);
	}
}

static void
absent_parameters_of_the_hash_are_as_good_as_null(void **state)
{
	struct ocsp_request r;

	(void)state;
	for (int sha1 = 0; sha1 < 2; sha1++) {
		expect_ok(ocsp_request_parse(edited(request(sha1, 0), "0.0.0.0.0.1", REPLACE, (struct writ_bytes){ 0 }),
					     &r));
		assert_int_equal(r.sha1, sha1);
		assert_true(ocsp_issuer_is(&issuer, &r));
	}
}

static void
another_issuer_is_not_taken_for_ours(void **state)
{
	const struct test_key other = make_key(KEY_P256);
	struct ocsp_issuer theirs;
	struct ocsp_request r;

	(void)state;
	for (int sha1 = 0; sha1 < 2; sha1++) {
		expect_ok(ocsp_request_parse(request(sha1, 0), &r));
		expect_ok(ocsp_issuer_init(pki.issuing_name, other.spki, &theirs));
		assert_false(ocsp_issuer_is(&theirs, &r));
		expect_ok(ocsp_issuer_init(pki.anchor_name, pki.issuing_key.spki, &theirs));
		assert_false(ocsp_issuer_is(&theirs, &r));
	}
}

static void
what_a_request_may_hold_beside_is_skipped(void **state)
{
	const struct writ_bytes plain = request(false, 16);
	const struct writ_bytes algorithms = extension(WRIT_LIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x08"), false,
						       WRIT_LIT("\x30\x00")); /* preferred signature algorithms */
	const struct writ_bytes name = WRIT_LIT("\xa1\x05\x82\x03"
						"abc");
	const struct writ_bytes signature = make_element(
		0xa0,
		make_element(DER_SEQUENCE, make_joined(key_signature_alg(KEY_P256), WRIT_LIT("\x03\x02\x00\x01"))));
	struct ocsp_request r;

	(void)state;
	expect_ok(ocsp_request_parse(edited(plain, "0.1.0.0", AFTER, algorithms), &r));
	assert_int_equal(r.nonce.len, 16);
	expect_ok(ocsp_request_parse(edited(plain, "0.0", BEFORE, name), &r));
	expect_ok(ocsp_request_parse(edited(plain, "0.0", BEFORE, WRIT_LIT("\xa0\x03\x02\x01\x00")),
				     &r)); /* version v1, the default */
	expect_ok(ocsp_request_parse(edited(plain, "0", AFTER, signature), &r));
	expect_bytes(r.serial, LEAF_SERIAL_BYTES);
	expect_ok(ocsp_request_parse(
		edited(plain, "0.0.0.0", AFTER, make_element(0xa0, make_element(DER_SEQUENCE, algorithms))), &r));
}

static void
a_nonce_has_1_to_128_octets(void **state)
{
	struct writ_buf buf = WRIT_BUF(OCSP_REQUEST_MAX);
	struct ocsp_request r;

	(void)state;
	expect_ok(ocsp_request_parse(request(false, 1), &r));
	expect_ok(ocsp_request_parse(request(false, 128), &r));
	expect_bytes(r.nonce, make_bytes(0x5a, 128));
	expect_refused(ocsp_request_parse(edited(request(false, 1), "0.1.0.0.1.0", REPLACE,
						 make_element(DER_OCTET_STRING, make_bytes(1, 129))),
					  &r),
		       WRIT_INVALID,
		       "OCSP request: its nonce is not an OCTET STRING of 1 to 128 octets (RFC 9654 2.1)");
	expect_refused(ocsp_request_build(&issuer, false, LEAF_SERIAL_BYTES, make_bytes(1, 129), &buf), WRIT_INVALID,
		       "OCSP request: a nonce of 129 octets, the limit is 128");
	writ_buf_done(&buf);
}

static void
each_malformed_request_is_refused_by_name(void **state)
{
	/* 0 tbsRequest { 0 requestList { 0 Request { 0 CertID { alg, name, key, serial } } }, 1 [2] { 0 { 0 nonce } } }
	 */
	const struct writ_bytes der = request(false, 16);
	const struct writ_bytes unknown = extension(WRIT_LIT("\x55\x1d\x63"), true, WRIT_LIT("\x05\x00"));
	const struct change changes[] = {
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"), "OCSP request: not one SEQUENCE in DER" },
		{ "an indefinite length", "", REPLACE, WRIT_LIT("\x30\x80\x00\x00"),
		  "OCSP request: not one SEQUENCE in DER" },
		{ "nothing", "", REPLACE, WRIT_LIT("\x30\x00"), "OCSP request: its tbsRequest is not DER" },
		{ "version 2", "0.0", BEFORE, WRIT_LIT("\xa0\x03\x02\x01\x01"), "OCSP request: its version is not v1" },
		{ "a requestorName of nothing", "0.0", BEFORE, WRIT_LIT("\xa1\x00"),
		  "OCSP request: its requestorName is not DER" },
		{ "a requestorName not in DER", "0.0", BEFORE, WRIT_LIT("\xa1\x04\xa4\x02\x30\x80"),
		  "OCSP request: its requestorName is not DER" },
		{ "an empty list", "0.0", REPLACE, WRIT_LIT("\x30\x00"), "OCSP request: it asks for nothing" },
		{ "a list that is none", "0.0", REPLACE, WRIT_LIT("\x30\x02\x05\x00"),
		  "OCSP request: its list is not DER" },
		{ "two certificates", "0.0.0", AFTER, element_at(der, "0.0.0"),
		  "OCSP request: it asks for more than one certificate (RFC 9919 3.1.1)" },
		{ "a CertID that is none", "0.0.0.0", REPLACE, WRIT_LIT("\x05\x00"),
		  "OCSP request: its CertID is not DER" },
		{ "SHA-384", "0.0.0.0.0.0", REPLACE, WRIT_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02"),
		  "OCSP request: the hash of its CertID is neither SHA-1 nor SHA-256" },
		{ "MD5", "0.0.0.0.0.0", REPLACE, WRIT_LIT("\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05"),
		  "OCSP request: the hash of its CertID is neither SHA-1 nor SHA-256" },
		{ "SHA-256 with other parameters", "0.0.0.0.0.1", REPLACE, WRIT_LIT("\x30\x00"),
		  "OCSP request: the hash of its CertID is neither SHA-1 nor SHA-256" },
		{ "a name hash of 20 for SHA-256", "0.0.0.0.1", REPLACE,
		  make_element(DER_OCTET_STRING, make_bytes(1, 20)),
		  "OCSP request: a hash in its CertID has not the length of its algorithm" },
		{ "a key hash of 33", "0.0.0.0.2", REPLACE, make_element(DER_OCTET_STRING, make_bytes(1, 33)),
		  "OCSP request: a hash in its CertID has not the length of its algorithm" },
		{ "serial 0", "0.0.0.0.3", REPLACE, WRIT_LIT("\x02\x01\x00"),
		  "OCSP request: its serial is not a positive INTEGER of 20 octets at most, or something follows it" },
		{ "a negative serial", "0.0.0.0.3", REPLACE, WRIT_LIT("\x02\x01\x80"),
		  "OCSP request: its serial is not a positive INTEGER of 20 octets at most, or something follows it" },
		{ "a serial that is not minimal", "0.0.0.0.3", REPLACE, WRIT_LIT("\x02\x02\x00\x01"),
		  "OCSP request: its serial is not a positive INTEGER of 20 octets at most, or something follows it" },
		{ "a serial of 21", "0.0.0.0.3", REPLACE, make_element(DER_INTEGER, make_bytes(1, 21)),
		  "OCSP request: its serial is not a positive INTEGER of 20 octets at most, or something follows it" },
		{ "something behind the serial", "0.0.0.0.3", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP request: its serial is not a positive INTEGER of 20 octets at most, or something follows it" },
		{ "something behind the CertID", "0.0.0.0", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP request: something follows its CertID" },
		{ "a critical singleRequestExtension", "0.0.0.0", AFTER,
		  make_element(0xa0, make_element(DER_SEQUENCE, unknown)),
		  "OCSP request: an unknown critical extension" },
		{ "a critical requestExtension", "0.1.0.0", AFTER, unknown,
		  "OCSP request: an unknown critical extension" },
		{ "extensions of nothing", "0.1.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "OCSP request: its extensions are not DER, or empty" },
		{ "two nonces", "0.1.0.0", AFTER, element_at(der, "0.1.0.0"), "OCSP request: two nonces" },
		{ "a nonce of nothing", "0.1.0.0.1.0", REPLACE, WRIT_LIT("\x04\x00"),
		  "OCSP request: its nonce is not an OCTET STRING of 1 to 128 octets (RFC 9654 2.1)" },
		{ "a nonce without its OCTET STRING", "0.1.0.0.1", REPLACE,
		  make_element(DER_OCTET_STRING, make_bytes(0x5a, 16)),
		  "OCSP request: its nonce is not an OCTET STRING of 1 to 128 octets (RFC 9654 2.1)" },
		{ "an extension that is none", "0.1.0.0", AFTER, WRIT_LIT("\x30\x00"),
		  "OCSP request: an extension is not DER" },
		{ "something behind the extensions", "0.1", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP request: something follows its list" },
		{ "a signature of nothing", "0", AFTER, WRIT_LIT("\xa0\x00"),
		  "OCSP request: its signature is not DER, or something follows it" },
		{ "something behind the signature", "0", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP request: its signature is not DER, or something follows it" },
		{ "too long", "", REPLACE, make_bytes(0x30, OCSP_REQUEST_MAX + 1),
		  "OCSP request: 2049 bytes, the limit is 2048" },
	};
	unsigned breaches = 0;
	struct ocsp_request r;

	(void)state;
	for (size_t i = 0; i < N_OF(changes); i++)
		breaches +=
			breach(changes[i].row,
			       ocsp_request_parse(edited(der, changes[i].path, changes[i].edit, changes[i].with), &r),
			       changes[i].message);
	assert_int_equal(breaches, 0);
}

static void
no_prefix_of_a_request_is_a_request(void **state)
{
	const struct writ_bytes der = request(true, 32);
	struct ocsp_request r;

	(void)state;
	for (size_t len = 0; len < der.len; len++)
		expect_refused(ocsp_request_parse((struct writ_bytes){ der.data, len }, &r), WRIT_INVALID,
			       "OCSP request: not one SEQUENCE in DER");
}

/* ---- answers ---- */

static struct ocsp_facts
facts_for(struct writ_bytes req)
{
	struct ocsp_request r;

	expect_ok(ocsp_request_parse(req, &r));
	return (struct ocsp_facts){
		.cert_id = r.cert_id,
		.status = OCSP_GOOD,
		.produced_at = NOW,
		.this_update = NOW - 30,
		.next_update = NOW + 120,
		.nonce = r.nonce,
		.responder_key_id = { pki.ocsp_key.id, 20 },
		.responder_cert = pki.responder,
		.kind = KEY_P256,
	};
}

static struct writ_bytes
assembled(struct writ_bytes tbs, const struct test_key *key, struct writ_bytes cert)
{
	struct writ_buf buf = WRIT_BUF(2 * OCSP_RESPONSE_MAX);

	expect_ok(ocsp_assemble(tbs, key->kind, make_signature(key, tbs), cert, &buf));
	return make_keep(&buf);
}

static struct writ_bytes
tbs_of(const struct ocsp_facts *facts)
{
	struct writ_buf buf = WRIT_BUF(OCSP_RESPONSE_MAX);

	expect_ok(ocsp_build_tbs(facts, &buf));
	return make_keep(&buf);
}

static struct writ_bytes
answer(const struct ocsp_facts *facts)
{
	return assembled(tbs_of(facts), &pki.ocsp_key, facts->responder_cert);
}

/* OpenSSL's whole check: chain of the delegate, signature, nonce, CertID; returns the status. */
static int
openssl_status(struct writ_bytes req_der, struct writ_bytes response, int *ret_reason, writ_time *ret_revoked)
{
	const unsigned char *at = response.data, *req_at = req_der.data;
	OCSP_RESPONSE *resp = d2i_OCSP_RESPONSE(NULL, &at, (long)response.len);
	OCSP_REQUEST *req = d2i_OCSP_REQUEST(NULL, &req_at, (long)req_der.len);
	OCSP_BASICRESP *basic;
	X509_STORE *store = X509_STORE_new();
	X509 *anchor = openssl_cert(pki.anchor), *issuing = openssl_cert(pki.issuing);
	STACK_OF(X509) *untrusted = sk_X509_new_null();
	ASN1_GENERALIZEDTIME *revoked = NULL, *this_update, *next_update;
	const ASN1_OCTET_STRING *by_key;
	const X509_NAME *by_name;
	struct tm tm;
	int status = -1;

	assert_non_null(resp);
	assert_ptr_equal(at, response.data + response.len);
	assert_int_equal(OCSP_response_status(resp), OCSP_RESPONSE_STATUS_SUCCESSFUL);
	basic = OCSP_response_get1_basic(resp);
	assert_non_null(basic);
	X509_STORE_add_cert(store, anchor);
	X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), NOW);
	sk_X509_push(untrusted, issuing);
	assert_int_equal(OCSP_basic_verify(basic, untrusted, store, 0), 1);
	assert_int_equal(OCSP_resp_get0_id(basic, &by_key, &by_name), 1);
	assert_non_null(by_key);
	assert_int_equal(OCSP_resp_count(basic), 1);
	if (OCSP_REQUEST_get_ext_by_NID(req, NID_id_pkix_OCSP_Nonce, -1) >= 0)
		assert_int_equal(OCSP_check_nonce(req, basic), 1);
	else
		assert_int_equal(OCSP_BASICRESP_get_ext_count(basic), 0);
	assert_int_equal(OCSP_resp_find_status(basic, OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, 0)), &status,
					       ret_reason, &revoked, &this_update, &next_update),
			 1);
	assert_int_equal(ASN1_TIME_to_tm(this_update, &tm), 1);
	assert_int_equal(timegm(&tm), NOW - 30);
	assert_non_null(next_update);
	assert_int_equal(ASN1_TIME_to_tm(next_update, &tm), 1);
	assert_int_equal(timegm(&tm), NOW + 120);
	if (revoked) {
		assert_int_equal(ASN1_TIME_to_tm(revoked, &tm), 1);
		*ret_revoked = timegm(&tm);
	}
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(resp);
	OCSP_REQUEST_free(req);
	X509_STORE_free(store);
	sk_X509_free(untrusted);
	X509_free(anchor);
	X509_free(issuing);
	return status;
}

static void
openssl_accepts_good_and_revoked_with_either_hash_with_and_without_a_nonce(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		const struct writ_bytes req = request(i & 1, i & 2 ? 32 : 0);
		struct ocsp_facts facts = facts_for(req);
		struct ocsp_answer ours;
		int reason = -1;
		writ_time at = 0;

		if (i & 4) {
			facts.status = OCSP_REVOKED;
			facts.revoked_at = NOW - 77;
			facts.reason = REASON_PRIVILEGE_WITHDRAWN;
		}
		assert_int_equal(openssl_status(req, answer(&facts), &reason, &at),
				 i & 4 ? V_OCSP_CERTSTATUS_REVOKED : V_OCSP_CERTSTATUS_GOOD);
		expect_ok(ocsp_response_verify(answer(&facts), &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW,
					       &ours));
		assert_int_equal(ours.status, facts.status);
		assert_int_equal(ours.this_update, NOW - 30);
		assert_int_equal(ours.next_update, NOW + 120);
		if (i & 4) {
			assert_int_equal(reason, REASON_PRIVILEGE_WITHDRAWN);
			assert_int_equal(at, NOW - 77);
			assert_int_equal(ours.revoked_at, NOW - 77);
			assert_int_equal(ours.reason, REASON_PRIVILEGE_WITHDRAWN);
		}
	}
}

static void
the_requests_own_cert_id_comes_back_byte_for_byte(void **state)
{
	const struct writ_bytes req = edited(request(true, 0), "0.0.0.0.0.1", REPLACE, (struct writ_bytes){ 0 });
	const struct ocsp_facts facts = facts_for(req);

	(void)state;
	expect_bytes(element_at(tbs_of(&facts), "2.0.0"), element_at(req, "0.0.0.0"));
}

static void
an_answer_fits_its_limit_with_the_longest_nonce(void **state)
{
	const struct writ_bytes req = request(false, OCSP_NONCE_MAX);
	struct ocsp_facts facts = facts_for(req);

	(void)state;
	facts.status = OCSP_REVOKED;
	facts.revoked_at = NOW;
	facts.reason = REASON_KEY_COMPROMISE;
	assert_true(answer(&facts).len < OCSP_RESPONSE_MAX);
	facts.nonce.len = 0;
	assert_true(answer(&facts).len < 900);
}

static void
the_issuer_itself_may_sign_too(void **state)
{
	struct ocsp_facts facts = facts_for(request(false, 0));
	struct ocsp_answer ours;

	(void)state;
	facts.responder_key_id = (struct writ_bytes){ pki.issuing_key.id, 20 };
	expect_ok(ocsp_response_verify(assembled(tbs_of(&facts), &pki.issuing_key, (struct writ_bytes){ 0 }), &issuer,
				       pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours));
}

static void
an_unsigned_answer_has_five_bytes(void **state)
{
	static const struct {
		enum ocsp_error error;
		int theirs;
	} rows[] = { { OCSP_MALFORMED, OCSP_RESPONSE_STATUS_MALFORMEDREQUEST },
		     { OCSP_INTERNAL, OCSP_RESPONSE_STATUS_INTERNALERROR },
		     { OCSP_TRY_LATER, OCSP_RESPONSE_STATUS_TRYLATER },
		     { OCSP_UNAUTHORIZED, OCSP_RESPONSE_STATUS_UNAUTHORIZED } };
	struct ocsp_answer ours;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct writ_bytes der = ocsp_error_response(rows[i].error);
		const unsigned char *at = der.data;
		OCSP_RESPONSE *resp = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);

		assert_int_equal(der.len, 5);
		assert_int_equal(OCSP_response_status(resp), rows[i].theirs);
		OCSP_RESPONSE_free(resp);
	}
	expect_refused(
		ocsp_response_verify(ocsp_error_response(OCSP_UNAUTHORIZED), &issuer, pki.issuing_key.spki,
				     LEAF_SERIAL_BYTES, NOW, &ours),
		WRIT_INVALID,
		"OCSP response: the responder answers only with error 6 (unauthorized: it does not know the serial)");
	expect_refused(ocsp_response_verify(ocsp_error_response(OCSP_TRY_LATER), &issuer, pki.issuing_key.spki,
					    LEAF_SERIAL_BYTES, NOW, &ours),
		       WRIT_INVALID, "OCSP response: the responder answers only with error 3");
}

static void
each_malformed_answer_is_refused_by_name(void **state)
{
	/* tbs: 0 [2] byKey, 1 producedAt, 2 responses { 0 { 0 CertID, 1 status, 2 thisUpdate, 3 [0] nextUpdate } }, 3
	 * [1] extensions */
	struct ocsp_facts facts = facts_for(request(false, 16));
	const struct writ_bytes unknown = extension(WRIT_LIT("\x55\x1d\x63"), true, WRIT_LIT("\x05\x00"));
	struct writ_bytes tbs, revoked, whole;
	struct ocsp_answer ours;
	unsigned breaches = 0;

	(void)state;
	tbs = tbs_of(&facts);
	whole = answer(&facts);
	facts.status = OCSP_REVOKED;
	facts.revoked_at = NOW;
	facts.reason = REASON_SUPERSEDED;
	revoked = tbs_of(&facts);
	const struct change changes[] = {
		{ "byName", "0", REPLACE, WRIT_LIT("\xa1\x02\x30\x00"),
		  "OCSP response: its responder is not named by key (RFC 9919 3.2.1)" },
		{ "no producedAt", "1", REPLACE, NOTHING, "OCSP response: its ResponseData is not DER" },
		{ "no answers", "2", REPLACE, WRIT_LIT("\x30\x00"),
		  "OCSP response: it says nothing of any certificate" },
		{ "two answers", "2.0", AFTER, element_at(tbs, "2.0"),
		  "OCSP response: it speaks of more than one certificate" },
		{ "a CertID of SHA-384", "2.0.0.0.0", REPLACE, WRIT_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02"),
		  "OCSP response: the hash of its CertID is neither SHA-1 nor SHA-256" },
		{ "another serial", "2.0.0.3", REPLACE, WRIT_LIT("\x02\x01\x07"),
		  "OCSP response: it is about another certificate" },
		{ "another issuer", "2.0.0.2", REPLACE, make_element(DER_OCTET_STRING, make_bytes(1, 32)),
		  "OCSP response: it is about another certificate" },
		{ "unknown", "2.0.1", REPLACE, WRIT_LIT("\x82\x00"),
		  "OCSP response: its status is neither good nor revoked" },
		{ "a good with contents", "2.0.1", REPLACE, WRIT_LIT("\x80\x01\x00"),
		  "OCSP response: its status good is not a NULL" },
		{ "a revoked without a time", "2.0.1", REPLACE, WRIT_LIT("\xa1\x00"),
		  "OCSP response: its time of revocation is not DER" },
		{ "no thisUpdate", "2.0.2", REPLACE, NOTHING, "OCSP response: its thisUpdate is not DER" },
		{ "no nextUpdate", "2.0.3", REPLACE, NOTHING, "OCSP response: it has no nextUpdate (RFC 9919 3.2)" },
		{ "a critical singleExtension", "2.0.3", AFTER, make_element(0xa1, make_element(DER_SEQUENCE, unknown)),
		  "OCSP response: an unknown critical extension" },
		{ "something behind nextUpdate", "2.0.3", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP response: something follows its nextUpdate" },
		{ "a critical responseExtension", "3.0.0", AFTER, unknown,
		  "OCSP response: an unknown critical extension" },
		{ "something behind the extensions", "3", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP response: something follows its list" },
	};
	const struct change envelope[] = {
		{ "a trailing byte", "", AFTER, WRIT_LIT("\0"),
		  "OCSP response: not one SEQUENCE with a status, in DER" },
		{ "another type of response", "1.0.0", REPLACE, WRIT_LIT("\x06\x03\x55\x1d\x63"),
		  "OCSP response: not of the type id-pkix-ocsp-basic" },
		{ "a basic response that is none", "1.0.1.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "OCSP response: its BasicOCSPResponse is not DER" },
		{ "a success without a response", "1", REPLACE, NOTHING,
		  "OCSP response: not of the type id-pkix-ocsp-basic" },
		{ "something behind the certificates", "1.0.1.0.3", AFTER, WRIT_LIT("\x05\x00"),
		  "OCSP response: its certificates are not DER" },
		{ "no certificate", "1.0.1.0.3", REPLACE, NOTHING,
		  "OCSP response: not exactly one certificate of its delegate is inside" },
		{ "two certificates", "1.0.1.0.3.0.0", AFTER, pki.responder,
		  "OCSP response: not exactly one certificate of its delegate is inside" },
		{ "a CA's certificate", "1.0.1.0.3.0.0", REPLACE, pki.issuing,
		  "OCSP response: its delegate has not the extKeyUsage OCSPSigning" },
		{ "a certificate that is none", "1.0.1.0.3.0.0", REPLACE, WRIT_LIT("\x30\x00"),
		  "OCSP response: its delegate: CA certificate: not a SEQUENCE of contents, AlgorithmIdentifier and "
		  "signature in DER" },
		{ "another algorithm", "1.0.1.0.1", REPLACE, key_signature_alg(KEY_P384),
		  "OCSP response: its signature's algorithm does not go with its signer's key" },
		{ "another's signature", "1.0.1.0.2", REPLACE,
		  make_element(DER_BIT_STRING, make_joined(WRIT_LIT("\0"), make_signature(&pki.agent_key, tbs))),
		  "OCSP response: the signature is not this P-256 key's over these bytes" },
		{ "too much", "", REPLACE, make_bytes(0x30, OCSP_RESPONSE_MAX + CA_CERT_MAX + 1),
		  "OCSP response: 6145 bytes, the limit is 6144" },
	};

	for (size_t i = 0; i < N_OF(changes); i++)
		breaches += breach(
			changes[i].row,
			ocsp_response_verify(assembled(edited(tbs, changes[i].path, changes[i].edit, changes[i].with),
						       &pki.ocsp_key, pki.responder),
					     &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			changes[i].message);
	for (size_t i = 0; i < N_OF(envelope); i++)
		breaches +=
			breach(envelope[i].row,
			       ocsp_response_verify(edited(whole, envelope[i].path, envelope[i].edit, envelope[i].with),
						    &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			       envelope[i].message);
	breaches +=
		breach("a reason of 11",
		       ocsp_response_verify(assembled(edited(revoked, "2.0.1.1.0", REPLACE, WRIT_LIT("\x0a\x01\x0b")),
						      &pki.ocsp_key, pki.responder),
					    &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
		       "OCSP response: its reason of revocation is not DER");
	assert_int_equal(breaches, 0);
	expect_ok(ocsp_response_verify(
		assembled(edited(revoked, "2.0.1.1", REPLACE, (struct writ_bytes){ 0 }), &pki.ocsp_key, pki.responder),
		&issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours));
	assert_int_equal(ours.reason, REASON_UNSPECIFIED);
}

static void
an_answer_is_fresh_from_this_update_to_next_update_both_included(void **state)
{
	struct ocsp_facts facts = facts_for(request(false, 0));
	const struct writ_bytes der = answer(&facts);
	struct ocsp_answer ours;

	(void)state;
	expect_ok(ocsp_response_verify(der, &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW - 30, &ours));
	expect_ok(ocsp_response_verify(der, &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW + 120, &ours));
	expect_refused(ocsp_response_verify(der, &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW - 31, &ours),
		       WRIT_INVALID, "OCSP response: its thisUpdate lies in the future");
	expect_refused(ocsp_response_verify(der, &issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW + 121, &ours),
		       WRIT_INVALID, "OCSP response: stale: its nextUpdate was 1 s ago");
}

static void
a_delegate_must_be_certified_by_this_issuer_for_this_and_now(void **state)
{
	struct ocsp_facts facts = facts_for(request(false, 0));
	const struct writ_bytes tbs = tbs_of(&facts);
	const struct test_key other = make_key(KEY_P256), p384 = make_key(KEY_P384);
	struct ca_facts responder = responder_facts(&pki);
	struct ocsp_answer ours;
	unsigned breaches = 0;

	(void)state;
	/* The right names, signed by somebody else. */
	breaches += breach("another issuer",
			   ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_ca(&responder, &other)), &issuer,
						pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: its delegate was not certified by the issuer: the signature is not this "
			   "P-256 key's over these bytes");
	responder.issuer_kind = KEY_P384;
	breaches +=
		breach("another algorithm of the issuer",
		       ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_ca(&responder, &p384)), &issuer,
					    pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
		       "OCSP response: its delegate's certificate is signed with another algorithm than the issuer's");
	responder = responder_facts(&pki);
	responder.not_after = NOW - 1;
	breaches += breach("expired",
			   ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_ca(&responder, &pki.issuing_key)),
						&issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: its delegate's certificate is not valid now");
	responder = responder_facts(&pki);
	responder.not_before = NOW + 1;
	breaches += breach("not valid yet",
			   ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_ca(&responder, &pki.issuing_key)),
						&issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: its delegate's certificate is not valid now");
	responder = responder_facts(&pki);
	responder.spki = other.spki;
	breaches += breach("another responder's certificate",
			   ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_ca(&responder, &pki.issuing_key)),
						&issuer, pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: the certificate inside is not of the responder that it names");
	breaches += breach("a leaf as delegate",
			   ocsp_response_verify(assembled(tbs, &pki.ocsp_key, make_leaf(&pki)), &issuer,
						pki.issuing_key.spki, LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: its delegate: CA certificate: basicConstraints: neither CA:TRUE, nor an "
			   "OCSP responder by its extKeyUsage");
	breaches += breach("signed by another key than the delegate's",
			   ocsp_response_verify(assembled(tbs, &other, pki.responder), &issuer, pki.issuing_key.spki,
						LEAF_SERIAL_BYTES, NOW, &ours),
			   "OCSP response: the signature is not this P-256 key's over these bytes");
	assert_int_equal(breaches, 0);
}

static void
the_builder_refuses_facts_that_no_answer_may_have(void **state)
{
	struct writ_buf buf = WRIT_BUF(OCSP_RESPONSE_MAX);
	struct ocsp_facts facts = facts_for(request(false, 0));
	unsigned breaches = 0;

	(void)state;
	facts.responder_key_id.len = 32;
	breaches +=
		breach("a key id of 32", ocsp_build_tbs(&facts, &buf), "OCSP: a key id has 20 octets, given are 32");
	facts = facts_for(request(false, 0));
	facts.nonce = make_bytes(1, 129);
	breaches +=
		breach("a nonce of 129", ocsp_build_tbs(&facts, &buf), "OCSP: a nonce of 129 octets, the limit is 128");
	facts = facts_for(request(false, 0));
	facts.next_update = facts.this_update;
	breaches += breach("nextUpdate at thisUpdate", ocsp_build_tbs(&facts, &buf),
			   "OCSP: nextUpdate is not after thisUpdate");
	facts = facts_for(request(false, 0));
	facts.status = (enum ocsp_status)2;
	breaches += breach("unknown", ocsp_build_tbs(&facts, &buf), "OCSP: status 2 is neither good nor revoked (I9)");
	facts = facts_for(request(false, 0));
	facts.status = OCSP_REVOKED;
	facts.reason = (enum crl_reason)6;
	breaches += breach("certificateHold", ocsp_build_tbs(&facts, &buf),
			   "OCSP: reason 6 is never emitted: there is no un-revoking (R7)");
	assert_int_equal(breaches, 0);
	assert_int_equal(buf.len, 0);
	writ_buf_done(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssls_requests_are_read_and_ours_are_the_same_bytes),
		cmocka_unit_test(absent_parameters_of_the_hash_are_as_good_as_null),
		cmocka_unit_test(another_issuer_is_not_taken_for_ours),
		cmocka_unit_test(what_a_request_may_hold_beside_is_skipped),
		cmocka_unit_test(a_nonce_has_1_to_128_octets),
		cmocka_unit_test(each_malformed_request_is_refused_by_name),
		cmocka_unit_test(no_prefix_of_a_request_is_a_request),
		cmocka_unit_test(openssl_accepts_good_and_revoked_with_either_hash_with_and_without_a_nonce),
		cmocka_unit_test(the_requests_own_cert_id_comes_back_byte_for_byte),
		cmocka_unit_test(an_answer_fits_its_limit_with_the_longest_nonce),
		cmocka_unit_test(the_issuer_itself_may_sign_too),
		cmocka_unit_test(an_unsigned_answer_has_five_bytes),
		cmocka_unit_test(each_malformed_answer_is_refused_by_name),
		cmocka_unit_test(an_answer_is_fresh_from_this_update_to_next_update_both_included),
		cmocka_unit_test(a_delegate_must_be_certified_by_this_issuer_for_this_and_now),
		cmocka_unit_test(the_builder_refuses_facts_that_no_answer_may_have),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
