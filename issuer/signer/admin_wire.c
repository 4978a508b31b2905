/*
 * The client's side of RUN/admin.sock: see admin_wire.h.
 */
#include "issuer/signer/admin_wire.h"

#include <limits.h>
#include <stdio.h>

#include "base/file.h"
#include "base/frame.h"
#include "issuer/signer/wire.h"

#define CONNECT_TIMEOUT_MS 2000
#define REQUEST_ID 1

struct writ_err *
admin_ask(const char *run, enum admin_message message, struct writ_bytes body, int timeout_ms,
	  struct writ_buf *ret_json)
{
	return admin_ask_with(run, message, body, -1, timeout_ms, ret_json);
}

struct writ_err *
admin_ask_with(const char *run, enum admin_message message, struct writ_bytes body, int given, int timeout_ms,
	       struct writ_buf *ret_json)
{
	AUTO(file_closep) int sock = -1;
	AUTO(file_memfd_unmap) struct writ_bytes large = { NULL, 0 }; /* what did not fit a frame */
	AUTO(file_closep) int beside = -1;
	uint8_t packet[FRAME_MAX];
	char path[PATH_MAX];
	struct frame frame;
	struct writ_err *err;

	snprintf(path, sizeof(path), "%s/admin.sock", run);
	err = frame_connect(path, CONNECT_TIMEOUT_MS, &sock);
	if (!err)
		err = frame_send(sock, (uint16_t)message, REQUEST_ID, body, given, timeout_ms);
	if (!err)
		err = frame_receive(sock, packet, &frame, &beside, timeout_ms);
	if (err)
		return writ_because(err, "asking the signer at %s", path);
	if (frame.type == ADMIN_ERROR)
		return signer_error_read(frame.body);
	if (frame.type != ((unsigned)message | ADMIN_ANSWER) || frame.id != REQUEST_ID)
		return writ_fail(WRIT_BROKEN, "the signer at %s answered with a frame of type %u", path, frame.type);
	if (beside < 0)
		return writ_buf_add(ret_json, frame.body);
	err = file_memfd_map(beside, 1, ADMIN_ANSWER_MAX, &large);
	if (err)
		return writ_recode(err, err->code == WRIT_INVALID ? WRIT_BROKEN : err->code, "the signer's answer at %s",
				   path);
	return writ_buf_add(ret_json, large);
}
