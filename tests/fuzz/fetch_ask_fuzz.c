/*
 * Input: one datagram to writ-fetchd.  What is a message asks exactly one thing, within its bounds.
 */
#include "issuer/fetch/wire.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fetch_ask ask;

	if (!fetch_ask_read((struct writ_bytes){ data, len }, &ask))
		return 0;
	FUZZ_CHECK(len <= FETCH_ASK_MAX);
	FUZZ_CHECK((ask.alias.len > 0) != (ask.url.len > 0));
	FUZZ_CHECK((ask.url.len > 0) == (ask.request.len > 0) && ask.request.len <= FETCH_REQUEST_MAX);
	FUZZ_CHECK(!memchr(ask.url.data ? ask.url.data : data, '\n', ask.url.len));
	return 0;
}
