/*
 * Input: the path behind /ocsp/.  What decodes must come out the same when it is encoded plainly, and the request in it
 * must not be larger than the text.
 */
#include "base/text.h"
#include "issuer/status/ocsp_get.h"
#include "issuer/x509/ocsp.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_GET_MAX);
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(2 * OCSP_GET_MAX);
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(OCSP_GET_MAX);
	struct ocsp_request request;

	if (!fuzz_accepted(ocsp_get_decode((struct writ_bytes){ data, len }, &der))) {
		FUZZ_CHECK(der.len == 0);
		return 0;
	}
	FUZZ_CHECK(len <= OCSP_GET_MAX && der.len <= len / 4 * 3 + 2);
	FUZZ_CHECK(fuzz_accepted(writ_base64(writ_view(&der), &text)));
	if (text.len <= OCSP_GET_MAX && text.data[0] != '/') {
		FUZZ_CHECK(fuzz_accepted(ocsp_get_decode(writ_view(&text), &again)));
		FUZZ_CHECK(writ_equal(writ_view(&again), writ_view(&der)));
	}
	(void)fuzz_accepted(ocsp_request_parse(writ_view(&der), &request));
	return 0;
}
