/*
 * Input: one packet.  Whatever is a frame is built again to the same bytes; its body is read by the cursors in an order
 * that the body itself chooses, and what was read is written again to the same bytes.
 */
#include "tests/fuzz/fuzz.h"

#include "base/frame.h"

static void
check_body(struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(FRAME_BODY_MAX);
	struct body_out out = { .buf = &buf };
	struct body_in in = body_read(body);
	uint8_t fixed[7];

	while (!in.failed && !body_done(&in)) {
		const struct body_in before = in;
		const uint8_t kind = *in.at;
		uint64_t v = 0;
		struct writ_bytes bytes = { fixed, sizeof(fixed) };

		switch (kind % 6) {
		case 0:
			v = body_get8(&in);
			break;
		case 1:
			v = body_get16(&in);
			break;
		case 2:
			v = body_get32(&in);
			break;
		case 3:
			v = body_get64(&in);
			break;
		case 4:
			body_get(&in, fixed, sizeof(fixed));
			break;
		default:
			bytes = body_get_bytes(&in);
			break;
		}
		if (in.failed) {
			FUZZ_CHECK(v == 0 && (kind % 6 != 5 || bytes.len == 0) && !body_done(&in) &&
				   body_get64(&in) == 0);
			body_put(&out, (struct writ_bytes){ before.at, (size_t)(before.end - before.at) });
			break;
		}
		FUZZ_CHECK(in.at > before.at && in.at <= in.end);
		if (kind % 6 == 0)
			body_put8(&out, (uint8_t)v);
		else if (kind % 6 == 1)
			body_put16(&out, (uint16_t)v);
		else if (kind % 6 == 2)
			body_put32(&out, (uint32_t)v);
		else if (kind % 6 == 3)
			body_put64(&out, v);
		else if (kind % 6 == 4)
			body_put(&out, bytes);
		else
			body_put_bytes(&out, bytes);
	}
	FUZZ_CHECK(!out.failed && writ_equal(writ_view(&buf), body));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_buf_done) struct writ_buf built = WRIT_BUF(FRAME_MAX);
	struct frame frame;

	if (!fuzz_accepted(frame_parse((struct writ_bytes){ data, len }, &frame)))
		return 0;
	FUZZ_CHECK(frame.body.len <= FRAME_BODY_MAX);
	FUZZ_CHECK(fuzz_accepted(frame_build(frame.type, frame.id, frame.body, &built)));
	FUZZ_CHECK(writ_equal(writ_view(&built), (struct writ_bytes){ data, len }));
	check_body(frame.body);
	return 0;
}
