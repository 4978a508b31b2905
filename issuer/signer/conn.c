/*
 * Connections of the issuer: who may connect, packets gathered, answers queued and sent.
 *
 * (1) A frame that is no frame ends its connection: event, counter and a deny entry.
 * (2) One issuer at a time: a second process is refused until the first one's connections are gone.
 * (3) An answer waits until all that was journalled before it is durable, unless it is said to speak of nothing that is not.	I2, I8
 */
#include "issuer/signer/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"

#define GATHER (SIGNER_OUTSTANDING_MAX + 1) /* one more than allowed, to see it */
#define OUT_MAX (PACKETS_MAX * FRAME_MAX)

/* ---- answers ---- */

/* False: nobody is there, and the descriptor is closed. */
static bool
hears(const struct conn *conn, int fd)
{
	if (conn && !conn->dead)
		return true;
	if (fd >= 0)
		close(fd);
	return false;
}

static void
answer_add(struct conn *conn, struct answers *to, uint64_t id, enum signer_message type, struct writ_bytes body, int fd, uint64_t after)
{
	struct writ_err *err;
	size_t at;

	at = to->out.len;
	err = to->n == PACKETS_MAX
		      ? writ_fail(WRIT_EXHAUSTED, "the issuer does not read its answers")
		      : frame_build(type == SIGNER_ERROR ? SIGNER_ERROR : (uint16_t)(type | SIGNER_ANSWER), id, body,
				    &to->out);
	if (err) {
		event(EVENT_WARN, "signer.connection-dropped", EV_ERR(err));
		writ_err_free(err);
		conn->dead = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	to->packets[to->n++] = (struct packet){ at, to->out.len - at, fd, after };
}

/* (3) */
void
conn_answer(struct signer *s, struct conn *conn, uint64_t id, enum signer_message type, struct writ_bytes body, int fd)
{
	const uint64_t after = journal_next(s->journal);

	if (hears(conn, fd))
		answer_add(conn, after <= journal_durable(s->journal) ? &conn->now : &conn->later, id, type, body, fd, after);
}

void
conn_answer_now(struct conn *conn, uint64_t id, enum signer_message type, struct writ_bytes body, int fd)
{
	if (hears(conn, fd))
		answer_add(conn, &conn->now, id, type, body, fd, 0);
}

void
conn_refuse(struct signer *s, struct conn *conn, uint64_t id, const struct writ_err *why)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct writ_err *err = signer_error_write(why, &body);

	if (!err)
		conn_answer(s, conn, id, SIGNER_ERROR, writ_view(&body), -1);
	writ_err_free(err);
}

struct control {
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))];
};

static void
message_fill(const struct answers *a, const struct packet *packet, struct iovec *part, struct control *control,
	     struct msghdr *ret)
{
	struct cmsghdr *c;

	*part = (struct iovec){ a->out.data + packet->at, packet->len };
	*ret = (struct msghdr){ .msg_iov = part, .msg_iovlen = 1 };
	if (packet->fd < 0)
		return;
	ret->msg_control = control->room;
	ret->msg_controllen = sizeof(control->room);
	c = CMSG_FIRSTHDR(ret);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &packet->fd, sizeof(int));
}

static void
conn_watch(struct signer *s, struct conn *conn, bool writing)
{
	struct epoll_event ev = { .events = writing ? EPOLLOUT : EPOLLIN, .data.ptr = conn };

	if (conn->writing != writing && epoll_ctl(s->epoll, EPOLL_CTL_MOD, conn->fd, &ev) != 0)
		conn->dead = true;
	conn->writing = writing;
}

static void
answers_drop(struct answers *a)
{
	for (size_t i = a->sent; i < a->n; i++)
		if (a->packets[i].fd >= 0)
			close(a->packets[i].fd);
	a->n = a->sent = 0;
	writ_buf_clear(&a->out);
}

/* What was sent makes room: there may always be one that waits. */
static void
answers_shift(struct answers *a)
{
	size_t at;

	if (a->sent == a->n) {
		a->n = a->sent = 0;
		writ_buf_clear(&a->out);
		return;
	}
	if (a->sent == 0)
		return;
	at = a->packets[a->sent].at;
	memmove(a->out.data, a->out.data + at, a->out.len - at);
	a->out.len -= at;
	a->n -= a->sent;
	memmove(a->packets, a->packets + a->sent, a->n * sizeof(a->packets[0]));
	for (size_t i = 0; i < a->n; i++)
		a->packets[i].at -= at;
	a->sent = 0;
}

static size_t
may_leave(const struct answers *a, uint64_t durable)
{
	size_t n = a->sent;

	while (n < a->n && a->packets[n].after <= durable)
		n++;
	return n - a->sent;
}

/* True when the socket is full. */
static bool
answers_send(struct conn *conn, struct answers *a, uint64_t durable)
{
	size_t left;

	while (!conn->dead && (left = may_leave(a, durable)) > 0) {
		struct mmsghdr messages[GATHER];
		struct iovec parts[GATHER];
		struct control controls[GATHER];
		const unsigned n = left < GATHER ? (unsigned)left : GATHER;
		int sent;

		for (unsigned i = 0; i < n; i++)
			message_fill(a, &a->packets[a->sent + i], &parts[i], &controls[i], &messages[i].msg_hdr);
		sent = sendmmsg(conn->fd, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return true;
		if (sent < 0) {
			conn->dead = true;
			return false;
		}
		for (int i = 0; i < sent; i++) {
			struct packet *packet = &a->packets[a->sent++];

			if (packet->fd >= 0)
				close(packet->fd);
			packet->fd = -1;
			conn->outstanding -= conn->outstanding > 0;
		}
		FAULT("signer:answered");
	}
	answers_shift(a);
	return false;
}

/* Sends what may leave, many in one call.  While the socket is full nothing more is read of it: that bounds the queue.
 */
void
conn_flush(struct signer *s, struct conn *conn)
{
	const uint64_t durable = journal_durable(s->journal);
	const bool full = answers_send(conn, &conn->now, durable) || answers_send(conn, &conn->later, durable);

	if (!conn->dead)
		conn_watch(s, conn, full);
}

/* ---- connections ---- */

void
conn_free(struct signer *s, struct conn *conn)
{
	issue_forget(s, conn);
	lists_forget(s, conn);
	answers_drop(&conn->now);
	answers_drop(&conn->later);
	writ_buf_done(&conn->now.out);
	writ_buf_done(&conn->later.out);
	close(conn->fd);
	free(conn);
}

void
conns_reap(struct signer *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_conns; i++) {
		if (s->conns[i]->dead)
			conn_free(s, s->conns[i]);
		else
			s->conns[kept++] = s->conns[i];
	}
	if (kept == 0 && s->n_conns > 0)
		event(EVENT_INFO, "signer.issuer-gone", EV_NUM("issued", s->issued), EV_NUM("refused", s->refused));
	s->n_conns = kept;
}

/* (1) */
static void
conn_garbage(struct signer *s, struct conn *conn, struct writ_err *err)
{
	s->garbage++;
	event(EVENT_WARN, "signer.garbage", EV_NUM("pid", conn->pid), EV_NUM("count", s->garbage), EV_ERR(err));
	refusal_note(s, "garbage", err, (struct writ_bytes){ NULL, 0 }, (struct writ_bytes){ NULL, 0 });
	writ_err_free(err);
	conn->dead = true;
}

static void
packet_handle(struct signer *s, struct conn *conn, const struct mmsghdr *message)
{
	const struct writ_bytes packet = { message->msg_hdr.msg_iov->iov_base, message->msg_len };
	struct writ_err *err;
	struct frame frame;

	if (message->msg_len == 0) {
		conn->dead = true; /* closed by the issuer */
		return;
	}
	err = message->msg_hdr.msg_flags & MSG_TRUNC
		      ? writ_fail(WRIT_INVALID, "a packet is over the limit of %d bytes", FRAME_MAX)
		      : frame_parse(packet, &frame);
	if (err) {
		conn_garbage(s, conn, err);
		return;
	}
	if (frame.type == SIGNER_LEAF && !issue_room(s) && s->n_group > 0)
		group_end(s);
	frame_handle(s, conn, &frame);
}

/* Takes at most GATHER packets; descriptors sent along are dropped by the kernel, since there is no room for them. */
void
conn_read(struct signer *s, struct conn *conn)
{
	static uint8_t room[GATHER][FRAME_MAX];
	struct mmsghdr incoming[GATHER];
	struct iovec parts[GATHER];
	int n;

	for (size_t i = 0; i < GATHER; i++) {
		parts[i] = (struct iovec){ room[i], FRAME_MAX };
		incoming[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
	}
	n = recvmmsg(conn->fd, incoming, GATHER, MSG_DONTWAIT, NULL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		conn->dead = true;
	for (int i = 0; i < n && !conn->dead; i++)
		packet_handle(s, conn, &incoming[i]);
}

static struct writ_err *
peer_check(const struct signer *s, int fd, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return writ_fail_errno(errno, "asking who the peer is");
	if (peer.uid != s->uids.issuer)
		return writ_fail(WRIT_UNAUTHENTICATED, "uid %u is not the issuer's, %u", (unsigned)peer.uid,
				 (unsigned)s->uids.issuer);
	if (s->n_conns > 0 && s->conns[0]->pid != peer.pid) /* (2) */
		return writ_fail(WRIT_CONFLICT, "process %d is served already: one issuer at a time",
				 (int)s->conns[0]->pid);
	if (s->n_conns == CONNS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d connections are served already", CONNS_MAX);
	*ret_pid = peer.pid;
	return NULL;
}

static struct writ_err *
conn_new(struct signer *s, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct writ_err *err;
	struct conn *conn;
	pid_t pid;

	err = peer_check(s, fd, &pid);
	if (err)
		return err;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a connection");
	conn->fd = fd;
	conn->pid = pid;
	conn->now.out = WRIT_BUF(OUT_MAX);
	conn->later.out = WRIT_BUF(OUT_MAX);
	ev.data.ptr = conn;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(conn);
		return writ_fail_errno(errno, "watching a connection");
	}
	s->conns[s->n_conns++] = conn;
	return NULL;
}

void
conns_accept(struct signer *s)
{
	for (;;) {
		const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
		AUTO(writ_err_freep) struct writ_err *err = NULL;
		struct writ_err *ignored;

		if (fd < 0)
			return;
		err = conn_new(s, fd);
		if (!err)
			continue;
		event(EVENT_WARN, "signer.connection-refused", EV_ERR(err));
		ignored = signer_error_write(err, &body);
		if (!ignored)
			ignored = frame_send(fd, SIGNER_ERROR, 0, writ_view(&body), -1, 0);
		writ_err_free(ignored); /* it learns by the close as well */
		close(fd);
	}
}
