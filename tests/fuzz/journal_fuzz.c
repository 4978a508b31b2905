/* Input: the bytes where a record begins.  A record that is read is written again to the same bytes. */
#include "issuer/log/journal.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(64 * 1024);
	struct entry e;
	size_t used;

	if (!fuzz_accepted(record_read((struct writ_bytes){ data, len }, &e, &used)) || used == 0)
		return 0;
	FUZZ_CHECK(used <= len);
	FUZZ_CHECK(fuzz_accepted(record_write(&e, &again)));
	FUZZ_CHECK(again.len == used && memcmp(again.data, data, used) == 0);
	return 0;
}
