/* Input: a CRL.  What we accept OpenSSL accepts, with as many entries; each of them is found by its serial. */
#include <openssl/x509.h>

#include "base/der.h"
#include "issuer/x509/crl.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const unsigned char *at = data;
	struct crl crl;
	struct der list, entry;
	enum crl_reason reason;
	writ_time when;
	X509_CRL *theirs;
	int n = 0;

	if (!fuzz_accepted(crl_read((struct writ_bytes){ data, len }, &crl)))
		return 0;
	for (list = der_read(crl.entries); !der_at_end(&list); n++) {
		struct writ_bytes serial;

		FUZZ_CHECK(der_take(&list, DER_SEQUENCE, &entry) &&
			   der_take_integer_bytes(&entry, DER_INTEGER, &serial));
		FUZZ_CHECK(crl_find(&crl, serial, &when, &reason) && crl_reason_ok((unsigned)reason));
	}
	(void)crl_has_edge(&crl, WRIT_LIT("0123456789abcdef"));
	theirs = d2i_X509_CRL(NULL, &at, (long)len);
	FUZZ_CHECK(theirs != NULL && at == data + len);
	FUZZ_CHECK((X509_CRL_get_REVOKED(theirs) ? sk_X509_REVOKED_num(X509_CRL_get_REVOKED(theirs)) : 0) == n);
	X509_CRL_free(theirs);
	return 0;
}
