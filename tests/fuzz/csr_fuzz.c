/* Input: a certification request.  What we accept OpenSSL accepts too, with the same key; and it has no attribute. */
#include <openssl/x509.h>

#include "issuer/x509/csr.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const unsigned char *at = data;
	unsigned char *spki = NULL;
	struct csr csr;
	X509_REQ *req;
	int spki_len;

	if (!fuzz_accepted(csr_parse((struct writ_bytes){ data, len }, &csr)))
		return 0;
	req = d2i_X509_REQ(NULL, &at, (long)len);
	FUZZ_CHECK(req != NULL && at == data + len);
	FUZZ_CHECK(X509_REQ_get_attr_count(req) <= 0);
	spki_len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &spki);
	FUZZ_CHECK(spki_len > 0 && writ_equal(csr.spki, (struct writ_bytes){ spki, (size_t)spki_len }));
	if (fuzz_accepted(csr_verify(&csr)))
		FUZZ_CHECK(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) == 1);
	OPENSSL_free(spki);
	X509_REQ_free(req);
	return 0;
}
