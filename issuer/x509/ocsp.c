/*
 * OCSP: requests taken apart without a copy, answers built as bytes, answers of others verified.
 *
 * The answer's profile is RFC 9919's: one SingleResponse, byKey, the delegate's certificate inside, nextUpdate always.
 */
#include "issuer/x509/ocsp.h"

#include "base/der.h"
#include "base/digest.h"
#include "issuer/x509/ca.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

#define SKIPPED_DEPTH_MAX 16 /* of what a request may hold and we do not look at */

#define OCTETS(s)                                                                                                      \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

/* hashAlgorithm, with parameters NULL or absent: both are about (RFC 5754 2). */
static const struct {
	struct writ_bytes der;
	bool sha1;
} hash_algorithms[] = {
	{ OCTETS("\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00"), true },
	{ OCTETS("\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a"), true },
	{ OCTETS("\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"), false },
	{ OCTETS("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"), false },
};

/* ---- the request ---- */

static struct writ_err *
bad(const char *why)
{
	return writ_fail(WRIT_INVALID, "OCSP request: %s", why);
}

/* A CertID of a request, or of an answer: `refuse` says which. */
static struct writ_err *
read_cert_id(struct der *in, struct writ_err *(*refuse)(const char *why), struct ocsp_request *ret)
{
	struct der id, ignored;
	struct writ_bytes alg;
	size_t hash_len, i;

	if (!der_take_whole(in, DER_SEQUENCE, &id, &ret->cert_id) || !der_take_whole(&id, DER_SEQUENCE, &ignored, &alg))
		return refuse("its CertID is not DER");
	for (i = 0; i < N_OF(hash_algorithms) && !writ_equal(alg, hash_algorithms[i].der); i++)
		;
	if (i == N_OF(hash_algorithms))
		return refuse("the hash of its CertID is neither SHA-1 nor SHA-256");
	ret->sha1 = hash_algorithms[i].sha1;
	hash_len = ret->sha1 ? SHA1_LEN : SHA256_LEN;
	if (!der_take_bytes(&id, DER_OCTET_STRING, &ret->issuer_name_hash) || ret->issuer_name_hash.len != hash_len ||
	    !der_take_bytes(&id, DER_OCTET_STRING, &ret->issuer_key_hash) || ret->issuer_key_hash.len != hash_len)
		return refuse("a hash in its CertID has not the length of its algorithm");
	if (!take_serial(&id, &ret->serial) || !der_at_end(&id))
		return refuse("its serial is not a positive INTEGER of 20 octets at most, or something follows it");
	return NULL;
}

/* Extensions that we do not know may be there, unless they are critical. */
static struct writ_err *
read_request_extensions(struct der *in, uint8_t tag, bool nonce_here, struct ocsp_request *ret)
{
	struct der outer, list, value;
	struct extension ext;

	if (!der_next_is(in, tag))
		return NULL;
	if (!der_take(in, tag, &outer) || !der_take(&outer, DER_SEQUENCE, &list) || !der_at_end(&outer) ||
	    der_at_end(&list))
		return bad("its extensions are not DER, or empty");
	while (!der_at_end(&list)) {
		if (!take_extension(&list, &ext))
			return bad("an extension is not DER");
		if (!nonce_here || !writ_equal(ext.oid, OID_OCSP_NONCE)) {
			if (ext.critical)
				return bad("an unknown critical extension");
			continue;
		}
		value = der_read(ext.value);
		if (ret->nonce.len)
			return bad("two nonces");
		if (!der_take_bytes(&value, DER_OCTET_STRING, &ret->nonce) || !der_at_end(&value) ||
		    ret->nonce.len == 0 || ret->nonce.len > OCSP_NONCE_MAX)
			return bad("its nonce is not an OCTET STRING of 1 to 128 octets (RFC 9654 2.1)");
	}
	return NULL;
}

static bool
skip_strict(struct der *in, uint8_t tag)
{
	struct writ_bytes whole;
	struct der ignored;

	if (!der_next_is(in, tag))
		return true;
	return der_take_whole(in, tag, &ignored, &whole) && !der_at_end(&ignored) &&
	       der_is_strict(whole, SKIPPED_DEPTH_MAX);
}

static struct writ_err *
read_tbs_request(struct der *tbs, struct ocsp_request *ret)
{
	struct der version, list, request;
	int64_t v;
	struct writ_err *err;

	/* v1 is the default, which DER leaves out; some write it all the same. */
	if (der_next_is(tbs, DER_CONTEXT_CONS(0)) &&
	    (!der_take(tbs, DER_CONTEXT_CONS(0), &version) || !der_take_int(&version, DER_INTEGER, &v) || v != 0 ||
	     !der_at_end(&version)))
		return bad("its version is not v1");
	if (!skip_strict(tbs, DER_CONTEXT_CONS(1)))
		return bad("its requestorName is not DER");
	if (!der_take(tbs, DER_SEQUENCE, &list) || der_at_end(&list))
		return bad("it asks for nothing");
	if (!der_take(&list, DER_SEQUENCE, &request))
		return bad("its list is not DER");
	if (!der_at_end(&list))
		return bad("it asks for more than one certificate (RFC 9919 3.1.1)");
	err = read_cert_id(&request, bad, ret);
	if (!err)
		err = read_request_extensions(&request, DER_CONTEXT_CONS(0), false, ret);
	if (err)
		return err;
	if (!der_at_end(&request))
		return bad("something follows its CertID");
	err = read_request_extensions(tbs, DER_CONTEXT_CONS(2), true, ret);
	if (err)
		return err;
	return der_at_end(tbs) ? NULL : bad("something follows its list");
}

struct writ_err *
ocsp_request_parse(struct writ_bytes der, struct ocsp_request *ret)
{
	struct der in = der_read(der), outer, tbs;
	struct writ_err *err;

	*ret = (struct ocsp_request){ 0 };
	if (der.len > OCSP_REQUEST_MAX)
		return writ_fail(WRIT_INVALID, "OCSP request: %zu bytes, the limit is %d", der.len, OCSP_REQUEST_MAX);
	if (!der_take(&in, DER_SEQUENCE, &outer) || !der_at_end(&in))
		return bad("not one SEQUENCE in DER");
	if (!der_take(&outer, DER_SEQUENCE, &tbs))
		return bad("its tbsRequest is not DER");
	err = read_tbs_request(&tbs, ret);
	if (err)
		return err;
	if (!skip_strict(&outer, DER_CONTEXT_CONS(0)) || !der_at_end(&outer))
		return bad("its signature is not DER, or something follows it");
	return NULL;
}

struct writ_err *
ocsp_issuer_init(struct writ_bytes name, struct writ_bytes spki, struct ocsp_issuer *ret)
{
	struct writ_bytes raw;
	enum key_kind kind;
	struct writ_err *err;

	err = spki_parse(spki, &kind, &raw);
	if (err)
		return writ_because(err, "OCSP issuer");
	writ_sha1(name, ret->name_sha1);
	writ_sha1(raw, ret->key_sha1);
	writ_sha256(name, ret->name_sha256);
	writ_sha256(raw, ret->key_sha256);
	return NULL;
}

bool
ocsp_issuer_is(const struct ocsp_issuer *issuer, const struct ocsp_request *request)
{
	const size_t len = request->sha1 ? SHA1_LEN : SHA256_LEN;
	const uint8_t *const name = request->sha1 ? issuer->name_sha1 : issuer->name_sha256;
	const uint8_t *const key = request->sha1 ? issuer->key_sha1 : issuer->key_sha256;

	return writ_equal(request->issuer_name_hash, (struct writ_bytes){ name, len }) &&
	       writ_equal(request->issuer_key_hash, (struct writ_bytes){ key, len });
}

static void
put_nonce(struct der_out *out, uint8_t tag, struct writ_bytes nonce)
{
	if (nonce.len == 0)
		return;
	der_open(out, tag);
	der_open(out, DER_SEQUENCE);
	extension_open(out, OID_OCSP_NONCE, false);
	der_put(out, DER_OCTET_STRING, nonce);
	extension_close(out);
	der_close(out);
	der_close(out);
}

struct writ_err *
ocsp_request_build(const struct ocsp_issuer *issuer, bool sha1, struct writ_bytes serial, struct writ_bytes nonce,
		   struct writ_buf *ret)
{
	const size_t len = sha1 ? SHA1_LEN : SHA256_LEN;
	struct der_out out = der_write(ret);

	if (nonce.len > OCSP_NONCE_MAX)
		return writ_fail(WRIT_INVALID, "OCSP request: a nonce of %zu octets, the limit is %d", nonce.len,
				 OCSP_NONCE_MAX);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE); /* CertID */
	der_put_raw(&out, hash_algorithms[sha1 ? 0 : 2].der);
	der_put(&out, DER_OCTET_STRING, (struct writ_bytes){ sha1 ? issuer->name_sha1 : issuer->name_sha256, len });
	der_put(&out, DER_OCTET_STRING, (struct writ_bytes){ sha1 ? issuer->key_sha1 : issuer->key_sha256, len });
	der_put_integer_bytes(&out, DER_INTEGER, serial);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	put_nonce(&out, DER_CONTEXT_CONS(2), nonce);
	der_close(&out);
	der_close(&out);
	return der_finish(&out, "the OCSP request");
}

struct writ_err *
ocsp_request_about(struct writ_bytes cert_id, struct writ_buf *ret)
{
	struct der_out out = der_write(ret);

	for (int i = 0; i < 4; i++)
		der_open(&out, DER_SEQUENCE);
	der_put_raw(&out, cert_id);
	for (int i = 0; i < 4; i++)
		der_close(&out);
	return der_finish(&out, "the OCSP request");
}

/* ---- the answer ---- */

static struct writ_err *
check_facts(const struct ocsp_facts *facts)
{
	if (facts->responder_key_id.len != KEY_ID_LEN)
		return writ_fail(WRIT_INVALID, "OCSP: a key id has 20 octets, given are %zu",
				 facts->responder_key_id.len);
	if (facts->nonce.len > OCSP_NONCE_MAX)
		return writ_fail(WRIT_INVALID, "OCSP: a nonce of %zu octets, the limit is %d", facts->nonce.len,
				 OCSP_NONCE_MAX);
	if (facts->next_update <= facts->this_update)
		return writ_fail(WRIT_INVALID, "OCSP: nextUpdate is not after thisUpdate");
	if (facts->status != OCSP_GOOD && facts->status != OCSP_REVOKED)
		return writ_fail(WRIT_INVALID, "OCSP: status %d is neither good nor revoked (I9)", (int)facts->status);
	if (facts->status == OCSP_REVOKED && !crl_reason_ok((unsigned)facts->reason))
		return writ_fail(WRIT_INVALID, "OCSP: reason %d is never emitted: there is no un-revoking (R7)",
				 (int)facts->reason);
	return NULL;
}

static void
put_status(struct der_out *out, const struct ocsp_facts *facts)
{
	if (facts->status == OCSP_GOOD) {
		der_put(out, DER_CONTEXT(0), (struct writ_bytes){ 0 });
		return;
	}
	der_open(out, DER_CONTEXT_CONS(1));
	der_put_generalized(out, DER_GENERALIZED_TIME, facts->revoked_at);
	der_open(out, DER_CONTEXT_CONS(0));
	der_put_int(out, DER_ENUMERATED, (int64_t)facts->reason);
	der_close(out);
	der_close(out);
}

struct writ_err *
ocsp_build_tbs(const struct ocsp_facts *facts, struct writ_buf *ret_tbs)
{
	struct der_out out = der_write(ret_tbs);
	struct writ_err *err;

	err = check_facts(facts);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_CONTEXT_CONS(2)); /* byKey */
	der_put(&out, DER_OCTET_STRING, facts->responder_key_id);
	der_close(&out);
	der_put_generalized(&out, DER_GENERALIZED_TIME, facts->produced_at);
	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_put_raw(&out, facts->cert_id);
	put_status(&out, facts);
	der_put_generalized(&out, DER_GENERALIZED_TIME, facts->this_update);
	der_open(&out, DER_CONTEXT_CONS(0));
	der_put_generalized(&out, DER_GENERALIZED_TIME, facts->next_update);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	put_nonce(&out, DER_CONTEXT_CONS(1), facts->nonce);
	der_close(&out);
	return der_finish(&out, "the OCSP ResponseData");
}

struct writ_err *
ocsp_assemble(struct writ_bytes tbs, enum key_kind kind, struct writ_bytes signature, struct writ_bytes responder_cert,
	      struct writ_buf *ret)
{
	struct der_out out = der_write(ret);

	der_open(&out, DER_SEQUENCE);
	der_put_raw(&out, WRIT_LIT("\x0a\x01\x00")); /* successful */
	der_open(&out, DER_CONTEXT_CONS(0));
	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, OID_OCSP_BASIC);
	der_open(&out, DER_OCTET_STRING);
	der_open(&out, DER_SEQUENCE);
	der_put_raw(&out, tbs);
	der_put_raw(&out, key_signature_alg(kind));
	der_put_bits(&out, signature);
	if (responder_cert.len) {
		der_open(&out, DER_CONTEXT_CONS(0));
		der_put(&out, DER_SEQUENCE, responder_cert); /* SEQUENCE OF one */
		der_close(&out);
	}
	der_close(&out);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	return der_finish(&out, "the OCSP response");
}

struct writ_bytes
ocsp_error_response(enum ocsp_error error)
{
	switch (error) {
	case OCSP_MALFORMED:
		return WRIT_LIT("\x30\x03\x0a\x01\x01");
	case OCSP_TRY_LATER:
		return WRIT_LIT("\x30\x03\x0a\x01\x03");
	case OCSP_UNAUTHORIZED:
		return WRIT_LIT("\x30\x03\x0a\x01\x06");
	case OCSP_INTERNAL:
		break;
	}
	return WRIT_LIT("\x30\x03\x0a\x01\x02");
}

/* ---- answers of others ---- */

struct response {
	struct signed_parts basic;
	struct der certs; /* empty: none */
	struct writ_bytes responder_key_id;
	struct ocsp_request about; /* its CertID */
	struct ocsp_answer answer;
};

static struct writ_err *
bad_response(const char *why)
{
	return writ_fail(WRIT_INVALID, "OCSP response: %s", why);
}

static struct writ_err *
read_envelope(struct writ_bytes der, struct response *ret)
{
	struct der in = der_read(der), outer, bytes, typed, basic, behind;
	struct writ_bytes oid;
	uint64_t status;

	if (!der_take(&in, DER_SEQUENCE, &outer) || !der_at_end(&in) ||
	    !der_take_unsigned(&outer, DER_ENUMERATED, 16, &status))
		return bad_response("not one SEQUENCE with a status, in DER");
	if (status != 0)
		return writ_fail(WRIT_INVALID, "OCSP response: the responder answers only with error %u%s",
				 (unsigned)status,
				 status == OCSP_UNAUTHORIZED ? " (unauthorized: it does not know the serial)" : "");
	if (!der_take(&outer, DER_CONTEXT_CONS(0), &bytes) || !der_at_end(&outer) ||
	    !der_take(&bytes, DER_SEQUENCE, &typed) || !der_at_end(&bytes) || !der_take_oid(&typed, &oid) ||
	    !writ_equal(oid, OID_OCSP_BASIC) || !der_take(&typed, DER_OCTET_STRING, &basic) || !der_at_end(&typed))
		return bad_response("not of the type id-pkix-ocsp-basic");
	if (!take_signed(&basic, &ret->basic, &behind) || !der_at_end(&basic))
		return bad_response("its BasicOCSPResponse is not DER");
	ret->certs = (struct der){ behind.end, behind.end };
	if (der_at_end(&behind))
		return NULL;
	if (!der_take(&behind, DER_CONTEXT_CONS(0), &outer) || !der_at_end(&behind) ||
	    !der_take(&outer, DER_SEQUENCE, &ret->certs) || !der_at_end(&outer))
		return bad_response("its certificates are not DER");
	return NULL;
}

static struct writ_err *
read_status(struct der *in, struct ocsp_answer *ret)
{
	struct der revoked, reason;
	struct writ_bytes empty;
	uint64_t code = REASON_UNSPECIFIED;

	if (der_next_is(in, DER_CONTEXT(0))) {
		if (!der_take_bytes(in, DER_CONTEXT(0), &empty) || empty.len)
			return bad_response("its status good is not a NULL");
		ret->status = OCSP_GOOD;
		return NULL;
	}
	if (!der_next_is(in, DER_CONTEXT_CONS(1)))
		return bad_response("its status is neither good nor revoked");
	if (!der_take(in, DER_CONTEXT_CONS(1), &revoked) ||
	    !der_take_generalized(&revoked, DER_GENERALIZED_TIME, &ret->revoked_at))
		return bad_response("its time of revocation is not DER");
	if (!der_at_end(&revoked) && (!der_take(&revoked, DER_CONTEXT_CONS(0), &reason) || !der_at_end(&revoked) ||
				      !der_take_unsigned(&reason, DER_ENUMERATED, 10, &code) || !der_at_end(&reason)))
		return bad_response("its reason of revocation is not DER");
	ret->status = OCSP_REVOKED;
	ret->reason = (unsigned)code;
	return NULL;
}

static struct writ_err *
check_extensions(struct der *in, uint8_t tag)
{
	struct der outer, list;
	struct extension ext;

	if (!der_next_is(in, tag))
		return NULL;
	if (!der_take(in, tag, &outer) || !der_take(&outer, DER_SEQUENCE, &list) || !der_at_end(&outer))
		return bad_response("its extensions are not DER");
	while (!der_at_end(&list)) {
		if (!take_extension(&list, &ext))
			return bad_response("an extension is not DER");
		if (ext.critical)
			return bad_response("an unknown critical extension");
	}
	return NULL;
}

static struct writ_err *
read_single(struct der *in, struct response *ret)
{
	struct der single, next;
	struct writ_err *err;

	if (!der_take(in, DER_SEQUENCE, &single))
		return bad_response("it says nothing of any certificate");
	if (!der_at_end(in))
		return bad_response("it speaks of more than one certificate");
	err = read_cert_id(&single, bad_response, &ret->about);
	if (!err)
		err = read_status(&single, &ret->answer);
	if (err)
		return err;
	if (!der_take_generalized(&single, DER_GENERALIZED_TIME, &ret->answer.this_update))
		return bad_response("its thisUpdate is not DER");
	if (!der_take(&single, DER_CONTEXT_CONS(0), &next) ||
	    !der_take_generalized(&next, DER_GENERALIZED_TIME, &ret->answer.next_update) || !der_at_end(&next))
		return bad_response("it has no nextUpdate (RFC 9919 3.2)");
	err = check_extensions(&single, DER_CONTEXT_CONS(1));
	if (err)
		return err;
	return der_at_end(&single) ? NULL : bad_response("something follows its nextUpdate");
}

static struct writ_err *
read_response_data(struct response *ret)
{
	struct der in = der_read(ret->basic.tbs), by_key, list;
	writ_time produced_at;
	struct writ_err *err;

	if (!der_take(&in, DER_SEQUENCE, &in) || !der_take(&in, DER_CONTEXT_CONS(2), &by_key) ||
	    !der_take_bytes(&by_key, DER_OCTET_STRING, &ret->responder_key_id) || !der_at_end(&by_key))
		return bad_response("its responder is not named by key (RFC 9919 3.2.1)");
	if (!der_take_generalized(&in, DER_GENERALIZED_TIME, &produced_at) || !der_take(&in, DER_SEQUENCE, &list))
		return bad_response("its ResponseData is not DER");
	err = read_single(&list, ret);
	if (!err)
		err = check_extensions(&in, DER_CONTEXT_CONS(1));
	if (err)
		return err;
	return der_at_end(&in) ? NULL : bad_response("something follows its list");
}

/* The signer's key: the issuer's own, or that of the one certificate inside, which the issuer must have signed for
 * this. */
static struct writ_err *
find_responder(const struct response *response, struct writ_bytes issuer_spki, writ_time now,
	       struct writ_bytes *ret_spki)
{
	AUTO(pubkey_done) struct pubkey issuer = { 0 };
	struct der certs = response->certs;
	struct ca_cert delegate;
	struct writ_bytes whole;
	uint8_t tag, issuer_key_id[KEY_ID_LEN];
	struct writ_err *err;

	err = ca_key_id(issuer_spki, issuer_key_id);
	if (err)
		return err;
	*ret_spki = issuer_spki;
	if (writ_equal(response->responder_key_id, (struct writ_bytes){ issuer_key_id, KEY_ID_LEN }))
		return NULL;
	if (!der_take_any(&certs, &tag, &whole) || !der_at_end(&certs))
		return bad_response("not exactly one certificate of its delegate is inside");
	err = ca_read(whole, &delegate);
	if (err)
		return writ_because(err, "OCSP response: its delegate");
	if (!delegate.ocsp_signing)
		return bad_response("its delegate has not the extKeyUsage OCSPSigning");
	if (!writ_equal(response->responder_key_id, (struct writ_bytes){ delegate.key_id, KEY_ID_LEN }))
		return bad_response("the certificate inside is not of the responder that it names");
	if (now < delegate.not_before || now > delegate.not_after)
		return bad_response("its delegate's certificate is not valid now");
	err = pubkey_load(issuer_spki, &issuer);
	if (!err && delegate.signature_kind != issuer.kind)
		return bad_response("its delegate's certificate is signed with another algorithm than the issuer's");
	if (!err)
		err = pubkey_verify(&issuer, delegate.tbs, delegate.signature);
	if (err)
		return writ_because(err, "OCSP response: its delegate was not certified by the issuer");
	*ret_spki = delegate.spki;
	return NULL;
}

struct writ_err *
ocsp_response_verify(struct writ_bytes response, const struct ocsp_issuer *issuer, struct writ_bytes issuer_spki,
		     struct writ_bytes serial, writ_time now, struct ocsp_answer *ret)
{
	AUTO(pubkey_done) struct pubkey key = { 0 };
	struct response r = { 0 };
	struct writ_bytes spki;
	struct writ_err *err;

	*ret = (struct ocsp_answer){ 0 };
	if (response.len > OCSP_RESPONSE_MAX + CA_CERT_MAX)
		return writ_fail(WRIT_INVALID, "OCSP response: %zu bytes, the limit is %d", response.len,
				 OCSP_RESPONSE_MAX + CA_CERT_MAX);
	err = read_envelope(response, &r);
	if (!err)
		err = read_response_data(&r);
	if (err)
		return err;
	while (serial.len && serial.data[0] == 0) {
		serial.data++;
		serial.len--;
	}
	if (!ocsp_issuer_is(issuer, &r.about) || !writ_equal(r.about.serial, serial))
		return bad_response("it is about another certificate");
	if (now < r.answer.this_update)
		return bad_response("its thisUpdate lies in the future");
	if (now > r.answer.next_update)
		return writ_fail(WRIT_INVALID, "OCSP response: stale: its nextUpdate was %lld s ago",
				 (long long)(now - r.answer.next_update));
	err = find_responder(&r, issuer_spki, now, &spki);
	if (err)
		return err;
	err = pubkey_load(spki, &key);
	if (!err && key_kind_of_alg(r.basic.alg) != key.kind)
		return bad_response("its signature's algorithm does not go with its signer's key");
	if (!err)
		err = pubkey_verify(&key, r.basic.tbs, r.basic.signature);
	if (err)
		return writ_because(err, "OCSP response");
	*ret = r.answer;
	ret->cert_id = r.about.cert_id;
	return NULL;
}
