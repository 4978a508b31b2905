/*
 * Input: an OCSP request.  What we accept OpenSSL accepts, asking for the same serial - where it holds a requestor's
 * name or a signature, which we skip as DER and OpenSSL takes apart, the request that we build of what we read stands
 * for it.
 */
#include <openssl/bn.h>
#include <openssl/ocsp.h>

#include "base/der.h"
#include "issuer/x509/ocsp.h"
#include "tests/fuzz/fuzz.h"

/* Does it hold what we skip unread? */
static bool
decorated(struct writ_bytes der)
{
	struct der in = der_read(der), outer, tbs, version;

	if (!der_take(&in, DER_SEQUENCE, &outer) || !der_take(&outer, DER_SEQUENCE, &tbs))
		return true;
	if (der_next_is(&tbs, DER_CONTEXT_CONS(0)) && !der_take(&tbs, DER_CONTEXT_CONS(0), &version))
		return true;
	return der_next_is(&tbs, DER_CONTEXT_CONS(1)) || !der_at_end(&outer);
}

static void
check_same(struct writ_bytes der, const struct ocsp_request *ours)
{
	const unsigned char *at = der.data;
	OCSP_REQUEST *theirs = d2i_OCSP_REQUEST(NULL, &at, (long)der.len);
	ASN1_INTEGER *serial;
	uint8_t octets[20];
	BIGNUM *n;
	int len;

	FUZZ_CHECK(theirs != NULL && at == der.data + der.len);
	FUZZ_CHECK(OCSP_request_onereq_count(theirs) == 1);
	FUZZ_CHECK(OCSP_id_get0_info(NULL, NULL, NULL, &serial,
				     OCSP_onereq_get0_id(OCSP_request_onereq_get0(theirs, 0))) == 1);
	n = ASN1_INTEGER_to_BN(serial, NULL);
	FUZZ_CHECK(n != NULL && BN_num_bytes(n) <= (int)sizeof(octets) && !BN_is_negative(n));
	len = BN_bn2bin(n, octets);
	FUZZ_CHECK(writ_equal(ours->serial, (struct writ_bytes){ octets, (size_t)len }));
	FUZZ_CHECK((OCSP_REQUEST_get_ext_by_NID(theirs, NID_id_pkix_OCSP_Nonce, -1) >= 0) == (ours->nonce.len > 0));
	BN_free(n);
	OCSP_REQUEST_free(theirs);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_buf again = WRIT_BUF(OCSP_REQUEST_MAX);
	struct ocsp_issuer issuer = { 0 };
	struct ocsp_request ours, rebuilt;

	if (!fuzz_accepted(ocsp_request_parse((struct writ_bytes){ data, len }, &ours)))
		return 0;
	if (!decorated((struct writ_bytes){ data, len }))
		check_same((struct writ_bytes){ data, len }, &ours);
	memcpy(ours.sha1 ? issuer.name_sha1 : issuer.name_sha256, ours.issuer_name_hash.data,
	       ours.issuer_name_hash.len);
	memcpy(ours.sha1 ? issuer.key_sha1 : issuer.key_sha256, ours.issuer_key_hash.data, ours.issuer_key_hash.len);
	FUZZ_CHECK(ocsp_issuer_is(&issuer, &ours));
	FUZZ_CHECK(fuzz_accepted(ocsp_request_build(&issuer, ours.sha1, ours.serial, ours.nonce, &again)));
	FUZZ_CHECK(fuzz_accepted(ocsp_request_parse(writ_view(&again), &rebuilt)));
	FUZZ_CHECK(writ_equal(rebuilt.serial, ours.serial) && writ_equal(rebuilt.nonce, ours.nonce));
	check_same(writ_view(&again), &ours);
	writ_buf_done(&again);
	return 0;
}
