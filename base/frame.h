/*
 * Frames between our processes: SOCK_SEQPACKET, one frame a packet, fixed header, body at most 16 KiB.
 *
 * Header, all big endian: u16 version, u16 type, u32 len (of the body), u64 id.  Bodies are written and read with the
 * cursors below, whose failures stick.  Knows no message.  Threading: a socket may be used by one thread at a time.
 */
#ifndef WRIT_BASE_FRAME_H
#define WRIT_BASE_FRAME_H

#include <sys/types.h>

#include "base/bytes.h"

#define FRAME_VERSION 1
#define FRAME_HEADER_LEN 16
#define FRAME_BODY_MAX (16 * 1024)
#define FRAME_MAX (FRAME_HEADER_LEN + FRAME_BODY_MAX)

struct frame {
	uint16_t type;
	uint64_t id;
	struct writ_bytes body; /* borrowed from the buffer it was received into */
};

/* Reads a frame out of one packet; WRIT_INVALID when version, length or size is off. */
WRIT_CHECKED struct writ_err *frame_parse(struct writ_bytes packet, struct frame *ret);

/* Appends header and body: one packet. */
WRIT_CHECKED struct writ_err *frame_build(uint16_t type, uint64_t id, struct writ_bytes body, struct writ_buf *ret);

/*
 * Blocking calls, for the device wire and for start-up.  `fd_to_send` may be -1.  A deadline in milliseconds from now;
 * WRIT_UNAVAILABLE when it passes or the peer is gone.
 */
WRIT_CHECKED struct writ_err *frame_send(int sock, uint16_t type, uint64_t id, struct writ_bytes body, int fd_to_send,
					 int timeout_ms);
WRIT_CHECKED struct writ_err *frame_receive(int sock, uint8_t packet[FRAME_MAX], struct frame *ret, int *ret_fd,
					    int timeout_ms);

/* A listening socket at `path` (replaces a stale one), mode 0660; and a connection to one.  Both block: fcntl() for a
 * loop. */
WRIT_CHECKED struct writ_err *frame_listen(const char *path, int *ret_sock);
WRIT_CHECKED struct writ_err *frame_connect(const char *path, int timeout_ms, int *ret_sock);

/* The peer's uid. */
WRIT_CHECKED struct writ_err *frame_peer(int sock, uid_t *ret);

/* Cursor over a body.  After a failed get, `failed` is true and values are zero. */
struct body_in {
	const uint8_t *at, *end;
	bool failed;
};

static inline struct body_in
body_read(struct writ_bytes b)
{
	return (struct body_in){ b.data, b.data + b.len, false };
}

uint8_t body_get8(struct body_in *);
uint16_t body_get16(struct body_in *);
uint32_t body_get32(struct body_in *);
uint64_t body_get64(struct body_in *);
void body_get(struct body_in *, uint8_t *out, size_t len); /* fixed length */
struct writ_bytes body_get_bytes(struct body_in *);	   /* u32 length before it */
bool body_done(const struct body_in *);			   /* nothing failed and nothing is left */

/* Writers append to a buffer whose limit is FRAME_BODY_MAX; `*failed` sticks. */
struct body_out {
	struct writ_buf *buf;
	bool failed;
};

void body_put8(struct body_out *, uint8_t);
void body_put16(struct body_out *, uint16_t);
void body_put32(struct body_out *, uint32_t);
void body_put64(struct body_out *, uint64_t);
void body_put(struct body_out *, struct writ_bytes fixed);
void body_put_bytes(struct body_out *, struct writ_bytes);

#endif
