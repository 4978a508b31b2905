/*
 * Frames between our processes.  Knows no message; trusts no length.
 */
#include "base/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

#define BACKLOG 64
#define FDS_SEEN_MAX 8 /* descriptors that a packet may carry before the kernel drops the rest; we accept one */

static void
header_write(uint8_t header[FRAME_HEADER_LEN], uint16_t type, uint64_t id, size_t body_len)
{
	writ_put32(header, (uint32_t)FRAME_VERSION << 16 | type);
	writ_put32(header + 4, (uint32_t)body_len);
	writ_put64(header + 8, id);
}

struct writ_err *
frame_parse(struct writ_bytes packet, struct frame *ret)
{
	uint32_t version, len;

	if (packet.len < FRAME_HEADER_LEN)
		return writ_fail(WRIT_INVALID, "a packet of %zu bytes is shorter than a frame's header of %d",
				 packet.len, FRAME_HEADER_LEN);
	version = writ_get32(packet.data) >> 16;
	if (version != FRAME_VERSION)
		return writ_fail(WRIT_INVALID, "frame version %u: this program speaks %d", version, FRAME_VERSION);
	len = writ_get32(packet.data + 4);
	if (len > FRAME_BODY_MAX)
		return writ_fail(WRIT_INVALID, "a frame's body of %u bytes is over the limit of %d", len,
				 FRAME_BODY_MAX);
	if (len != packet.len - FRAME_HEADER_LEN)
		return writ_fail(WRIT_INVALID, "a frame says that its body has %u bytes, and %zu came", len,
				 packet.len - FRAME_HEADER_LEN);
	ret->type = (uint16_t)writ_get32(packet.data);
	ret->id = writ_get64(packet.data + 8);
	ret->body = (struct writ_bytes){ packet.data + FRAME_HEADER_LEN, len };
	return NULL;
}

static struct writ_err *
body_fits(struct writ_bytes body)
{
	if (body.len > FRAME_BODY_MAX)
		return writ_fail(WRIT_EXHAUSTED, "a frame's body of %zu bytes is over the limit of %d", body.len,
				 FRAME_BODY_MAX);
	return NULL;
}

struct writ_err *
frame_build(uint16_t type, uint64_t id, struct writ_bytes body, struct writ_buf *ret)
{
	struct writ_err *err = body_fits(body);
	uint8_t *packet;

	if (err)
		return err;
	err = writ_buf_grow(ret, FRAME_HEADER_LEN + body.len, &packet);
	if (err)
		return err;
	header_write(packet, type, id, body.len);
	if (body.len > 0)
		memcpy(packet + FRAME_HEADER_LEN, body.data, body.len);
	return NULL;
}

/* Waits until the socket is ready or `deadline_ms` (monotonic) has passed.  A dead peer counts as ready: the next call
 * tells. */
static struct writ_err *
wait_ready(int sock, short events, int64_t deadline_ms, const char *what)
{
	for (;;) {
		const int64_t left = deadline_ms - clock_read().mono_ms;
		struct pollfd poll_fd = { .fd = sock, .events = events };
		const int n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return NULL;
		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "waiting to %s a frame", what);
		if (n == 0 && left <= 0)
			return writ_fail(WRIT_UNAVAILABLE, "no frame could be %s in time: the peer is busy or hangs",
					 events == POLLIN ? "received" : "sent");
	}
}

/* Room for descriptors beside a packet, aligned as the kernel wants it. */
union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(FDS_SEEN_MAX * sizeof(int))];
};

struct writ_err *
frame_send(int sock, uint16_t type, uint64_t id, struct writ_bytes body, int fd_to_send, int timeout_ms)
{
	const int64_t deadline_ms = clock_read().mono_ms + timeout_ms;
	struct writ_err *err = body_fits(body);
	uint8_t header[FRAME_HEADER_LEN];
	union control control = { 0 };
	struct iovec parts[2] = { { header, sizeof(header) }, { (void *)(uintptr_t)body.data, body.len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };

	if (err)
		return err;
	header_write(header, type, id, body.len);
	if (fd_to_send >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd_to_send, sizeof(int));
	}
	for (;;) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return NULL; /* SEQPACKET sends a packet whole or not at all */
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return writ_fail_errno(errno, "sending a frame of type %u", type);
		err = wait_ready(sock, POLLOUT, deadline_ms, "send");
		if (err)
			return err;
	}
}

/* Takes the one descriptor that may have come; closes all when there are more, or when nobody asked. */
static struct writ_err *
fds_take(struct msghdr *msg, int *ret_fd)
{
	int fds[FDS_SEEN_MAX];
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > FDS_SEEN_MAX)
			n = FDS_SEEN_MAX;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	if (n == 0)
		return NULL;
	if (n == 1 && ret_fd && (msg->msg_flags & MSG_CTRUNC) == 0) {
		*ret_fd = fds[0];
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return writ_fail(WRIT_INVALID, "a frame came with %zu descriptors where %d may come", n, ret_fd ? 1 : 0);
}

struct writ_err *
frame_receive(int sock, uint8_t packet[FRAME_MAX], struct frame *ret, int *ret_fd, int timeout_ms)
{
	const int64_t deadline_ms = clock_read().mono_ms + timeout_ms;
	struct writ_err *err;
	union control control;
	struct iovec part = { packet, FRAME_MAX };
	struct msghdr msg;
	ssize_t n;

	if (ret_fd)
		*ret_fd = -1;
	for (;;) {
		msg = (struct msghdr){ .msg_iov = &part,
				       .msg_iovlen = 1,
				       .msg_control = control.room,
				       .msg_controllen = sizeof(control.room) };
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return writ_fail_errno(errno, "receiving a frame");
		err = wait_ready(sock, POLLIN, deadline_ms, "receive");
		if (err)
			return err;
	}
	err = fds_take(&msg, ret_fd);
	if (err)
		return err;
	if (n == 0)
		return writ_fail(WRIT_UNAVAILABLE, "the peer closed the connection");
	if (msg.msg_flags & MSG_TRUNC)
		err = writ_fail(WRIT_INVALID, "a packet is over the limit of %d bytes", FRAME_MAX);
	else
		err = frame_parse((struct writ_bytes){ packet, (size_t)n }, ret);
	if (err && ret_fd && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return err;
}

static struct writ_err *
address_of(const char *path, struct sockaddr_un *ret)
{
	if (path[0] == '\0' || strlen(path) >= sizeof(ret->sun_path))
		return writ_fail(WRIT_INVALID,
				 "socket path %.80s: has %zu bytes, and 1 to %zu fit: choose a shorter folder", path,
				 strlen(path), sizeof(ret->sun_path) - 1);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return NULL;
}

static struct writ_err *
socket_new(int *ret_sock)
{
	*ret_sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (*ret_sock < 0)
		return writ_fail_errno(errno, "making a socket");
	return NULL;
}

/* Removes what a dead process left at `path`; anything else there is not ours to remove. */
static struct writ_err *
stale_remove(const char *path, const struct sockaddr_un *address)
{
	AUTO(file_closep) int probe = -1;
	struct writ_err *err;
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? NULL : writ_fail_errno(errno, "looking at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return writ_fail(WRIT_INVALID, "%s is there and is not a socket: move it away", path);
	err = socket_new(&probe);
	if (err)
		return err;
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return writ_fail(WRIT_CONFLICT, "another process listens on %s", path);
	if (errno != ECONNREFUSED)
		return writ_fail_errno(errno, "asking who listens on %s", path);
	if (unlink(path) != 0)
		return writ_fail_errno(errno, "removing the stale socket %s", path);
	return NULL;
}

struct writ_err *
frame_listen(const char *path, int *ret_sock)
{
	AUTO(file_closep) int sock = -1;
	struct sockaddr_un address;
	struct writ_err *err;

	*ret_sock = -1;
	err = address_of(path, &address);
	if (!err)
		err = stale_remove(path, &address);
	if (!err)
		err = socket_new(&sock);
	if (err)
		return err;
	/* On an unbound socket fchmod() decides the mode that bind() gives the file: at no time is it wider than asked.
	 */
	if (fchmod(sock, 0600) != 0 || bind(sock, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return writ_fail_errno(errno, "binding %s", path);
	if (chmod(path, 0660) != 0 || listen(sock, BACKLOG) != 0)
		return writ_fail_errno(errno, "listening on %s", path);
	*ret_sock = sock;
	sock = -1;
	return NULL;
}

struct writ_err *
frame_connect(const char *path, int timeout_ms, int *ret_sock)
{
	/* For a unix socket the send timeout bounds connect(), which waits while the backlog is full; 0 would mean for
	 * ever. */
	const int ms = timeout_ms > 0 ? timeout_ms : 1;
	const struct timeval limit = { ms / 1000, ms % 1000 * 1000 }, none = { 0, 0 };
	AUTO(file_closep) int sock = -1;
	struct sockaddr_un address;
	struct writ_err *err;

	*ret_sock = -1;
	err = address_of(path, &address);
	if (!err)
		err = socket_new(&sock);
	if (err)
		return err;
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return writ_fail_errno(errno, "setting a time limit on %s", path);
	if (connect(sock, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return writ_fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, "connecting to %s", path);
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) != 0)
		return writ_fail_errno(errno, "setting a time limit on %s", path);
	*ret_sock = sock;
	sock = -1;
	return NULL;
}

struct writ_err *
frame_peer(int sock, uid_t *ret)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return writ_fail_errno(errno, "asking who the peer is");
	*ret = peer.uid;
	return NULL;
}

/* The next `len` bytes, or NULL and failed. */
static const uint8_t *
body_take(struct body_in *in, size_t len)
{
	const uint8_t *at = in->at;

	if (in->failed || len > (size_t)(in->end - in->at)) {
		in->failed = true;
		return NULL;
	}
	in->at += len;
	return at;
}

uint8_t
body_get8(struct body_in *in)
{
	const uint8_t *p = body_take(in, 1);

	return p ? *p : 0;
}

uint16_t
body_get16(struct body_in *in)
{
	const uint8_t *p = body_take(in, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t
body_get32(struct body_in *in)
{
	const uint8_t *p = body_take(in, 4);

	return p ? writ_get32(p) : 0;
}

uint64_t
body_get64(struct body_in *in)
{
	const uint8_t *p = body_take(in, 8);

	return p ? writ_get64(p) : 0;
}

void
body_get(struct body_in *in, uint8_t *out, size_t len)
{
	const uint8_t *p = body_take(in, len);

	if (p && len > 0)
		memcpy(out, p, len);
	else if (len > 0)
		memset(out, 0, len);
}

struct writ_bytes
body_get_bytes(struct body_in *in)
{
	const uint32_t len = body_get32(in);
	const uint8_t *p = body_take(in, len);

	return p ? (struct writ_bytes){ p, len } : (struct writ_bytes){ NULL, 0 };
}

bool
body_done(const struct body_in *in)
{
	return !in->failed && in->at == in->end;
}

void
body_put(struct body_out *out, struct writ_bytes fixed)
{
	struct writ_err *err = out->failed ? NULL : writ_buf_add(out->buf, fixed);

	if (err)
		out->failed = true;
	writ_err_free(err);
}

void
body_put8(struct body_out *out, uint8_t v)
{
	body_put(out, (struct writ_bytes){ &v, 1 });
}

void
body_put16(struct body_out *out, uint16_t v)
{
	const uint8_t octets[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	body_put(out, (struct writ_bytes){ octets, sizeof(octets) });
}

void
body_put32(struct body_out *out, uint32_t v)
{
	uint8_t octets[4];

	writ_put32(octets, v);
	body_put(out, (struct writ_bytes){ octets, sizeof(octets) });
}

void
body_put64(struct body_out *out, uint64_t v)
{
	uint8_t octets[8];

	writ_put64(octets, v);
	body_put(out, (struct writ_bytes){ octets, sizeof(octets) });
}

void
body_put_bytes(struct body_out *out, struct writ_bytes bytes)
{
	if (bytes.len > UINT32_MAX) {
		out->failed = true;
		return;
	}
	body_put32(out, (uint32_t)bytes.len);
	body_put(out, bytes);
}
