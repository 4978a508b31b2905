/*
 * Input: one byte, then one packet of the device wire.  The byte says whose: 0 a request as writ-deviced decodes it, 1
 * to 15 an answer to that request as the signer decodes it.  Whatever is decoded is encoded again to the same body;
 * fields are within their limits.
 */
#include "tests/fuzz/fuzz.h"

#include "hsm/wire_codec.h"

static void
check_request(const struct frame *frame)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(FRAME_BODY_MAX);
	struct device_request request;

	if (!fuzz_accepted(device_request_decode(frame, &request)))
		return;
	FUZZ_CHECK(request.ref.len <= CUSTODY_REF_MAX && request.spki.len <= SPKI_MAX &&
		   request.message.len <= DEVICE_INLINE_MAX && request.blob.len <= CUSTODY_BLOB_MAX &&
		   request.kind <= KEY_ED25519 && request.counter <= COUNTER_STATE && strlen(request.label) <= CUSTODY_LABEL_MAX);
	FUZZ_CHECK(fuzz_accepted(device_request_encode(&request, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), frame->body));
}

static void
check_answer(const struct frame *frame, enum device_message asked)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_err_freep) struct writ_err *failed = NULL;
	struct device_answer answer;

	if (!fuzz_accepted(device_answer_decode(frame, asked, &answer, &failed)))
		return;
	if (failed) {
		FUZZ_CHECK(failed->code <= WRIT_BROKEN);
		return;
	}
	FUZZ_CHECK(answer.signature.len <= SIGNATURE_MAX && answer.blob.len <= CUSTODY_BLOB_MAX &&
		   answer.ak.len <= ATTEST_AREA_MAX && answer.ek.len <= ATTEST_EK_MAX && answer.n_items <= ATTEST_ITEMS_MAX);
	FUZZ_CHECK(fuzz_accepted(device_answer_encode(asked, &answer, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), frame->body));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frame frame;

	if (len == 0 || data[0] > DEVICE_PCRS ||
	    !fuzz_accepted(frame_parse((struct writ_bytes){ data + 1, len - 1 }, &frame)))
		return 0;
	if (data[0] == 0)
		check_request(&frame);
	else
		check_answer(&frame, (enum device_message)data[0]);
	return 0;
}
