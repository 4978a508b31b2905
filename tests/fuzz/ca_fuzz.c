/* Input: a CA's or responder's certificate, or PEM.  What we accept OpenSSL accepts and agrees on what it may do. */
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "issuer/x509/ca.h"
#include "tests/fuzz/fuzz.h"

static void
certificate(struct writ_bytes der)
{
	const unsigned char *at = der.data;
	struct ca_cert ca;
	X509 *x;

	if (!fuzz_accepted(ca_read(der, &ca)))
		return;
	x = d2i_X509(NULL, &at, (long)der.len);
	FUZZ_CHECK(x != NULL && at == der.data + der.len);
	FUZZ_CHECK(ca.n_tiers <= 3 && (ca.is_ca || ca.ocsp_signing));
	/* OpenSSL also parses extensions that are neither critical nor ours (an owner's), and says nothing when they
	 * are bad. */
	if (!(X509_get_extension_flags(x) & EXFLAG_INVALID)) {
		FUZZ_CHECK((X509_check_ca(x) == 1) == ca.is_ca);
		FUZZ_CHECK(!ca.is_ca || X509_get_pathlen(x) == ca.path_len);
	}
	X509_free(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_bytes rest = { data, len };
	struct writ_buf der = WRIT_BUF(65536);

	certificate(rest);
	while (fuzz_accepted(pem_read("CERTIFICATE", &rest, &der))) {
		certificate(writ_view(&der));
		writ_buf_clear(&der);
	}
	writ_buf_done(&der);
	return 0;
}
