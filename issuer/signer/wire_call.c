/*
 * The wire's one use of a socket: a request, and the wait for its answer.  For who asks one thing at a time: start-up,
 * recovery, tests.
 */
#include <stdlib.h>
#include <unistd.h>

#include "issuer/signer/wire.h"

static struct writ_err *
answer_check(const struct frame *frame, enum signer_message type, struct writ_buf *ret_body)
{
	if (frame->type == SIGNER_ERROR)
		return signer_error_read(frame->body);
	if (frame->type != (type | SIGNER_ANSWER) || frame->id != 1)
		return writ_fail(WRIT_BROKEN, "the signer answered %u to message %u", frame->type, (unsigned)type);
	return writ_buf_add(ret_body, frame->body);
}

struct writ_err *
signer_call(int sock, enum signer_message type, struct writ_bytes body, struct writ_buf *ret_body, int *ret_fd,
	    int timeout_ms)
{
	uint8_t *packet = malloc(FRAME_MAX);
	struct writ_err *err;
	struct frame frame;

	if (ret_fd)
		*ret_fd = -1;
	if (!packet)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a frame");
	err = frame_send(sock, (uint16_t)type, 1, body, -1, timeout_ms);
	if (!err)
		err = frame_receive(sock, packet, &frame, ret_fd, timeout_ms);
	if (!err)
		err = answer_check(&frame, type, ret_body);
	free(packet);
	if (err && ret_fd && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return err;
}
