/*
 * A connection's life: read, have requests handled (consume.c), write, wait; and every deadline of it.
 *
 * The numbers are conn.h's invariants.  Bytes are read into the loop's own buffer and requests handled from there; only
 * what is left over, part of a request or one that must wait, is copied into the connection (2).  Epoll tells edges:
 * conn->readable remembers one until a read finds no more.
 */
#include "issuer/http/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"

#define TURNS_MAX                                                                                                      \
	8 /* reads of one connection in a row, so that one that sends without pause does not hold up the others */

/* The list of each state is in the order of deadlines; as they are mostly set in that order, the walk is mostly no
 * step. */
static void
conn_wait(struct http_connection *conn, enum conn_state state, int64_t deadline_ms)
{
	struct conn_list *list = &conn->loop->by_state[state];
	struct http_connection *before;

	if (conn->state == state && conn->deadline_ms == deadline_ms)
		return;
	if (conn->state != CONN_CLOSED)
		TAILQ_REMOVE(&conn->loop->by_state[conn->state], conn, by_deadline);
	conn->state = state;
	conn->deadline_ms = deadline_ms;
	before = TAILQ_LAST(list, conn_list);
	while (before && before->deadline_ms > deadline_ms)
		before = TAILQ_PREV(before, conn_list, by_deadline);
	if (before)
		TAILQ_INSERT_AFTER(list, before, conn, by_deadline);
	else
		TAILQ_INSERT_HEAD(list, conn, by_deadline);
}

void
conn_queue(struct http_connection *conn)
{
	if (conn->queued)
		return;
	conn->queued = true;
	TAILQ_INSERT_TAIL(&conn->loop->ready, conn, queue);
}

struct http_connection *
conn_start(const struct listener *listener, int fd, struct address *address, const char *text)
{
	struct loop *loop = listener->loop;
	struct http_connection *conn = calloc(1, sizeof(*conn));

	if (!conn) {
		event(EVENT_WARN, "http.no_memory", EV_NUM("connections", loop->n_open));
		address_release(loop, address);
		close(fd);
		return NULL;
	}
	conn->source = SOURCE_CONNECTION;
	conn->state = CONN_CLOSED; /* in no list yet */
	conn->fd = fd;
	conn->loop = loop;
	conn->listener = listener;
	conn->address = address;
	conn->readable = true;
	conn->in = WRIT_BUF(SIZE_MAX / 2); /* bounded where it is filled */
	conn->out = WRIT_BUF(SIZE_MAX / 2);
	conn->peer_cert = WRIT_BUF(SIZE_MAX / 2);
	conn->peer_anchor = WRIT_BUF(SIZE_MAX / 2);
	conn->peer.connection = ++loop->last_connection;
	conn->peer.tls = listener->tls;
	memcpy(conn->peer.address, text, strnlen(text, sizeof(conn->peer.address) - 1));
	loop->n_open++;
	atomic_store_explicit(&loop->counts[COUNT_OPEN], loop->n_open, memory_order_relaxed);
	count(loop, COUNT_CONNECTIONS);
	if (listener->tls) {
		conn_wait(conn, CONN_QUEUED, loop->now.mono_ms + HTTP_QUEUED_MS);
		return conn;
	}
	conn_wait(conn, CONN_IDLE, loop->now.mono_ms + loop->conf.idle_ms);
	conn_run(conn);
	return NULL;
}

void
conn_begin(struct http_connection *conn)
{
	struct loop *loop = conn->loop;

	conn_wait(conn, CONN_HANDSHAKE, loop->now.mono_ms + loop->conf.handshake_deadline_ms);
	if (!tls_start(conn)) {
		conn_close(conn);
		return;
	}
	conn_run(conn);
}

void
conn_close(struct http_connection *conn)
{
	struct loop *loop = conn->loop;

	if (conn->state == CONN_CLOSED)
		return;
	if (conn->state == CONN_QUEUED)
		handshake_dequeue(conn);
	TAILQ_REMOVE(&loop->by_state[conn->state], conn, by_deadline);
	conn->state = CONN_CLOSED;
	if (conn->queued)
		TAILQ_REMOVE(&loop->ready, conn, queue);
	conn->queued = false;
	long_body_release(conn);
	if (conn->lent_done)
		conn->lent_done(conn->lent_arg);
	conn->lent_done = NULL;
	conn->later = NULL;
	if (conn->ssl)
		SSL_free(conn->ssl);
	conn->ssl = NULL;
	writ_buf_done(&conn->in);
	writ_buf_done(&conn->out);
	address_release(loop, conn->address);
	loop->n_open--;
	atomic_store_explicit(&loop->counts[COUNT_OPEN], loop->n_open, memory_order_relaxed);
	close(conn->fd); /* epoll forgets it by itself */
	conn->fd = -1;
	if (conn->n_tokens == 0)
		LIST_INSERT_HEAD(&loop->dead, conn, dead); /* (3) */
}

void
conn_free(struct http_connection *conn)
{
	if (conn->peer.app_done)
		conn->peer.app_done(conn->peer.app);
	writ_buf_done(&conn->peer_cert);
	writ_buf_done(&conn->peer_anchor);
	free(conn);
}

/* ---- the socket ---- */

static enum io
io_read(struct http_connection *conn, uint8_t *out, size_t cap, size_t *ret)
{
	ssize_t n;

	*ret = 0;
	if (conn->ssl)
		return tls_read(conn, out, cap, ret);
	do {
		n = recv(conn->fd, out, cap, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? IO_AGAIN : IO_FAILED;
	if (n == 0)
		return IO_EOF;
	*ret = (size_t)n;
	if (*ret < cap)
		conn->readable = false; /* less than asked for: the kernel has no more, and will tell */
	return IO_DONE;
}

static enum io
io_write(struct http_connection *conn, struct writ_bytes bytes, size_t *ret)
{
	ssize_t n;

	*ret = 0;
	if (conn->ssl)
		return tls_write(conn, bytes, ret);
	do {
		n = send(conn->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? IO_AGAIN : IO_FAILED;
	*ret = (size_t)n;
	return IO_DONE;
}

/* Sends what it can of `bytes` and cuts that off.  False: the connection is lost, and closed. */
static bool
send_some(struct http_connection *conn, struct writ_bytes *bytes)
{
	while (bytes->len > 0) {
		size_t n;
		const enum io io = io_write(conn, *bytes, &n);

		bytes->data += n;
		bytes->len -= n;
		conn->progress += n;
		if (io == IO_DONE)
			continue;
		if (io == IO_AGAIN)
			return true;
		conn_close(conn);
		return false;
	}
	return true;
}

static bool
has_unsent(const struct http_connection *conn)
{
	return conn->out.len > 0 || conn->lent.len > 0;
}

/* Everything gathered, then what was kept, then the lent body.  False: closed. */
static bool
conn_flush(struct http_connection *conn)
{
	struct loop *loop = conn->loop;
	struct writ_bytes rest;

	if (loop->out_len > 0 || loop->raw.len > 0) { /* conn is the active one, and its own `out` is empty */
		rest = loop->out_len > 0 ? (struct writ_bytes){ loop->out, loop->out_len } : loop->raw;
		loop->out_len = 0;
		loop->raw = (struct writ_bytes){ 0 };
		if (!send_some(conn, &rest))
			return false;
		if (rest.len > 0) {
			struct writ_err *err = writ_buf_add(&conn->out, rest);

			if (err) {
				writ_err_free(err);
				conn_close(conn);
				return false;
			}
			return true;
		}
	}
	if (conn->out.len > 0) {
		rest = (struct writ_bytes){ conn->out.data + conn->out_sent, conn->out.len - conn->out_sent };
		if (!send_some(conn, &rest))
			return false;
		conn->out_sent = conn->out.len - rest.len;
		if (rest.len > 0)
			return true;
		writ_buf_done(&conn->out); /* (2) */
		conn->out_sent = 0;
	}
	if (conn->lent.len > 0) {
		if (!send_some(conn, &conn->lent))
			return false;
		if (conn->lent.len > 0)
			return true;
		conn->lent_done(conn->lent_arg);
		conn->lent_done = NULL;
	}
	return true;
}

/* ---- reading ---- */

/* Whole requests out of what is kept.  False: closed. */
static bool
run_kept(struct http_connection *conn)
{
	const size_t done = consume(conn, writ_view(&conn->in));

	if (done == conn->in.len) {
		writ_buf_done(&conn->in); /* (2) */
	} else if (done > 0) {
		memmove(conn->in.data, conn->in.data + done, conn->in.len - done);
		conn->in.len -= done;
	}
	return conn_flush(conn);
}

/* One read, and what it makes whole.  False: closed. */
static bool
run_read(struct http_connection *conn)
{
	struct loop *loop = conn->loop;
	struct writ_err *err;
	size_t n, done = 0;
	const enum io io = io_read(conn, loop->in, sizeof(loop->in), &n);

	if (io == IO_FAILED) {
		conn_close(conn);
		return false;
	}
	if (io != IO_DONE)
		conn->readable = false;
	if (io == IO_EOF)
		conn->eof = true;
	if (n == 0)
		return true;
	if (conn->in.len == 0)
		done = consume(conn, (struct writ_bytes){ loop->in, n });
	else
		conn->untried = true;
	/* Bounded: nothing is read while a whole request is kept (1), so this is less than head, body and one read. */
	err = done < n ? writ_buf_add(&conn->in, (struct writ_bytes){ loop->in + done, n - done }) : NULL;
	if (err) {
		event(EVENT_WARN, "http.no_memory", EV_ERR(err));
		writ_err_free(err);
		loop->out_len = 0;
		loop->raw = (struct writ_bytes){ 0 };
		conn_close(conn);
		return false;
	}
	return conn_flush(conn);
}

/* What still comes after a refusal is thrown away, so that close() does not send a reset that would take the refusal
 * with it. */
static void
run_linger(struct http_connection *conn)
{
	for (;;) {
		const ssize_t n = recv(conn->fd, conn->loop->in, sizeof(conn->loop->in), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		conn->progress += (size_t)n;
		if (conn->progress > HTTP_LINGER_LEN)
			break;
	}
	conn_close(conn);
}

/* All is sent and the connection is to end. */
static void
conn_finish(struct http_connection *conn)
{
	if (conn->ssl)
		tls_goodbye(conn);
	if (!conn->linger || shutdown(conn->fd, SHUT_WR) != 0) {
		conn_close(conn);
		return;
	}
	writ_buf_done(&conn->in);
	conn->progress = 0;
	conn_wait(conn, CONN_LINGERING, conn->loop->now.mono_ms + HTTP_LINGER_MS);
	run_linger(conn);
}

/* Written, but not yet acknowledged by the client's side. */
static int
bytes_in_kernel(const struct http_connection *conn)
{
	int n = 0;

	return ioctl(conn->fd, SIOCOUTQ, &n) == 0 ? n : 0;
}

/* Has a slow reader taken enough since its deadline began?  What the kernel took from us does not count, only what the
 * client took from it. */
static bool
has_progressed(struct http_connection *conn)
{
	const int64_t taken = (int64_t)conn->progress + conn->in_kernel - bytes_in_kernel(conn);

	return taken >= HTTP_PROGRESS_LEN;
}

/* The state and the deadline that follow from what the connection waits for. */
static void
conn_settle(struct http_connection *conn)
{
	struct loop *loop = conn->loop;
	const struct loop_conf *conf = &loop->conf;
	const int64_t reading_ms = loop->now.mono_ms;

	if (has_unsent(conn)) {
		if (conn->state == CONN_WRITING)
			return;
		conn->progress = 0;
		conn->in_kernel = bytes_in_kernel(conn);
		conn_wait(conn, CONN_WRITING, loop->now.mono_ms + conf->write_deadline_ms);
	} else if (conn->later) {
		if (conn->state == CONN_HANDLING)
			return;
		conn_wait(conn, CONN_HANDLING,
			  loop->now.mono_ms + conf->request_deadline_ms - (reading_ms - conn->started_ms));
	} else if (rests(conn)) {
		conn_wait(conn, CONN_RESTING, conn->rest_until_ms);
	} else if (conn->in.len > 0) {
		if (conn->started_ms == 0)
			conn->started_ms = reading_ms;
		if (conn->need > 0 && conn->body_started_ms == 0)
			conn->body_started_ms = reading_ms;
		if (conn->need > 0)
			conn_wait(conn, CONN_BODY, conn->body_started_ms + conf->body_deadline_ms);
		else
			conn_wait(conn, CONN_HEAD, conn->started_ms + conf->header_deadline_ms);
	} else {
		conn_wait(conn, CONN_IDLE, reading_ms + conf->idle_ms);
	}
}

/* True when the handshake is done. */
static bool
run_handshake(struct http_connection *conn)
{
	switch (tls_handshake(conn)) {
	case IO_DONE:
		count(conn->loop, COUNT_HANDSHAKES);
		conn_settle(conn); /* idle: the deadline of the handshake is over */
		return true;
	case IO_AGAIN:
		return false;
	case IO_EOF:
	case IO_FAILED:
		count(conn->loop, COUNT_HANDSHAKES_FAILED);
		conn_close(conn);
		return false;
	}
	return false;
}

/* True while there may be more to do at once; false also when closed. */
static bool
run_turn(struct http_connection *conn)
{
	struct loop *loop = conn->loop;

	if (has_unsent(conn) && !conn_flush(conn))
		return false;
	if (has_unsent(conn))
		return false;
	if (conn->later)
		return false;
	if (conn->close) {
		conn_finish(conn);
		return false;
	}
	if (loop->stopping || rests(conn))
		return false;
	if (conn->untried)
		return run_kept(conn);
	if (conn->readable)
		return run_read(conn);
	if (conn->eof)
		conn_close(conn); /* what is left is not a whole request */
	return false;
}

/* Registered only when it outlives its first turn: a connection for one request costs no epoll_ctl(). */
static void
conn_register(struct http_connection *conn)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn };

	if (conn->registered || conn->state == CONN_CLOSED)
		return;
	conn->registered = true;
	if (epoll_ctl(conn->loop->epoll, EPOLL_CTL_ADD, conn->fd, &ev) == 0)
		return;
	event(EVENT_WARN, "http.epoll", EV_NUM("errno", errno));
	conn_close(conn);
}

void
conn_run(struct http_connection *conn)
{
	struct loop *loop = conn->loop;
	unsigned turns = 0;

	if (conn->queued) {
		TAILQ_REMOVE(&loop->ready, conn, queue);
		conn->queued = false;
	}
	if (conn->state == CONN_LINGERING) {
		run_linger(conn);
		return;
	}
	if (conn->state != CONN_HANDSHAKE || run_handshake(conn)) {
		while (turns < TURNS_MAX && run_turn(conn))
			turns++;
		loop->active = NULL;
		if (turns == TURNS_MAX && conn->state != CONN_CLOSED)
			conn_queue(conn);
		if (conn->state != CONN_CLOSED && conn->state != CONN_LINGERING && conn->state != CONN_HANDSHAKE)
			conn_settle(conn);
	}
	conn_register(conn);
}

void
conn_event(struct http_connection *conn, uint32_t events)
{
	if (conn->state == CONN_CLOSED)
		return;
	if (events & (EPOLLHUP | EPOLLERR)) { /* both directions are gone: nobody reads an answer any more */
		conn_close(conn);
		return;
	}
	if (events & EPOLLIN)
		conn->readable = true;
	conn_run(conn);
}

/* ---- deadlines ---- */

static void
expire_one(struct http_connection *conn)
{
	struct loop *loop = conn->loop;
	char text[WRIT_MESSAGE_MAX];

	if (conn->state == CONN_WRITING && has_progressed(conn)) {
		conn->progress = 0;
		conn->in_kernel = bytes_in_kernel(conn);
		conn_wait(conn, CONN_WRITING, loop->now.mono_ms + loop->conf.write_deadline_ms);
		return;
	}
	if (conn->state != CONN_IDLE && conn->state != CONN_LINGERING && conn->state != CONN_RESTING)
		count(loop, COUNT_TIMEOUTS);
	switch (conn->state) {
	case CONN_HEAD:
		snprintf(text, sizeof(text), "the headers did not arrive within %u ms", loop->conf.header_deadline_ms);
		conn->is_head = false;
		conn_refuse(conn, 408, text);
		break;
	case CONN_BODY:
		snprintf(text, sizeof(text), "the body did not arrive within %u ms", loop->conf.body_deadline_ms);
		conn->is_head = false;
		conn_refuse(conn, 408, text);
		break;
	case CONN_HANDLING:
		snprintf(text, sizeof(text), "no answer within %u ms: try later", loop->conf.request_deadline_ms);
		conn->later = NULL; /* its token lives on; what comes is dropped */
		conn_refuse(conn, 503, text);
		break;
	case CONN_RESTING: /* it has rested: what it sent meanwhile is looked at */
		break;
	case CONN_QUEUED:
	case CONN_HANDSHAKE:
	case CONN_IDLE:
	case CONN_WRITING:
	case CONN_LINGERING:
	case CONN_CLOSED:
		conn_close(conn);
		return;
	}
	conn_run(conn);
}

void
conn_expire(struct loop *loop)
{
	for (unsigned state = 0; state < CONN_LISTS; state++) {
		const int64_t now_ms = loop->now.mono_ms;
		struct http_connection *conn;

		while ((conn = TAILQ_FIRST(&loop->by_state[state])) && conn->deadline_ms <= now_ms)
			expire_one(conn);
	}
}

void
conn_stop_idle(struct loop *loop)
{
	static const enum conn_state nothing_under_way[] = { CONN_QUEUED, CONN_HANDSHAKE, CONN_IDLE, CONN_RESTING, CONN_HEAD, CONN_BODY };

	for (size_t i = 0; i < N_OF(nothing_under_way); i++) {
		struct conn_list *list = &loop->by_state[nothing_under_way[i]];

		while (!TAILQ_EMPTY(list))
			conn_close(TAILQ_FIRST(list));
	}
}
