/* Input: an OCSP response, by a responder whose key nobody has: it may be read to its end and must never be believed.
 */
#include "issuer/x509/ocsp.h"
#include "tests/fuzz/fuzz.h"

/* P-256's generator: a point on the curve. */
static const uint8_t spki[] =
	"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"
	"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39"
	"\x45\xd8\x98\xc2\x96"
	"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40"
	"\x68\x37\xbf\x51\xf5";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes key = { spki, sizeof(spki) - 1 };
	struct ocsp_answer answer;
	struct ocsp_issuer issuer;

	FUZZ_CHECK(fuzz_accepted(ocsp_issuer_init(WRIT_LIT("\x30\x00"), key, &issuer)));
	/* The seeds speak of the serial 7, the names' hashes are of the issuer above. */
	FUZZ_CHECK(!fuzz_accepted(ocsp_response_verify((struct writ_bytes){ data, len }, &issuer, key, WRIT_LIT("\x07"),
						       1795467097, &answer)));
	return 0;
}
