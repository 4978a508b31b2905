/* Input: a ceremony's transcript.  Whose witnesses read are written again as they stood there. */
#include "issuer/log/transcript.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes text = { data, len };
	struct transcript t;

	if (!fuzz_accepted(transcript_read(text, &t)))
		return 0;
	FUZZ_CHECK(t.n_witnesses <= WITNESSES_MAX);
	for (size_t i = 0; i < t.n_witnesses; i++) {
		struct writ_buf line = WRIT_BUF(TRANSCRIPT_LINE_MAX + 1);

		FUZZ_CHECK(fuzz_accepted(transcript_witness(&line, &t.witnesses[i])));
		FUZZ_CHECK(memmem(data, len, line.data, line.len) != NULL);
		writ_buf_done(&line);
	}
	return 0;
}
