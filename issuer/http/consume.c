/*
 * Requests out of bytes: whole ones are parsed and handed over, one after the other; what is not whole yet stays with
 * whoever read it.  The number is conn.h's invariant.
 *
 * Knows no socket.  When a request began it notes, for deadlines that conn.c keeps.
 */
#include "issuer/http/conn.h"

#include <stdio.h>

#include "base/event.h"

static void
handle(struct http_connection *conn, const struct http_head *head, struct writ_bytes body)
{
	struct http_request request = {
		.method = head->method,
		.path = head->path,
		.query = head->query,
		.has_query = head->has_query,
		.content_type = head->content_type,
		.accept = head->accept,
		.if_none_match = head->if_none_match,
		.idempotency_key = head->idempotency_key,
		.fields = head->fields,
		.body = body,
		.peer = &conn->peer,
		.now = conn->loop->now,
		.loop = conn->loop,
		.connection = conn,
	};

	count(conn->loop, COUNT_REQUESTS);
	conn->answered = false;
	conn->is_head = head->method == HTTP_HEAD;
	if (!head->keep_alive)
		conn->close = true;
	if (conn->started_ms == 0)
		conn->started_ms = conn->loop->now.mono_ms;
	conn->listener->handler->request(&request, conn->listener->handler->ctx);
	if (!conn->answered && !conn->later) {
		event(EVENT_ALARM, "http.unanswered", EV_TEXT("path", head->path));
		http_answer(&request, &(struct http_answer){ .status = 500, .close = true });
	}
	if (!conn->later)
		conn->started_ms = 0;
	conn->need = 0;
	conn->body_started_ms = 0;
	conn->said_continue = false;
}

void
long_body_release(struct http_connection *conn)
{
	if (conn->long_body)
		conn->loop->n_long_bodies--;
	conn->long_body = false;
}

/* Room for a body over what any path may have; false: there are too many already. */
static bool
long_body_take(struct http_connection *conn, size_t body_len)
{
	if (body_len <= conn->listener->handler->body_max || conn->long_body)
		return true;
	if (conn->loop->n_long_bodies >= HTTP_LONG_BODIES_MAX)
		return false;
	conn->loop->n_long_bodies++;
	conn->long_body = true;
	return true;
}

/* http_parse(), by way of loop->same. */
static struct writ_err *
head_parse(struct loop *loop, struct writ_bytes in, struct http_head *ret, size_t *ret_len)
{
	struct same_head *same = &loop->same[in.len % SAME_HEADS];
	const bool is_same = same->len > 0 && in.len >= same->len && memcmp(in.data, same->bytes, same->len) == 0;
	struct writ_err *err;

	if (is_same && same->parsed) {
		*ret = same->head;
		*ret_len = same->len;
		return NULL;
	}
	if (is_same)
		in = (struct writ_bytes){ same->bytes, same->len };
	err = http_parse(in, ret, ret_len);
	if (err || ret->content_length == 0 || *ret_len == 0 || *ret_len > sizeof(same->bytes))
		return err;
	same->parsed = is_same;
	if (is_same) {
		same->head = *ret;
	} else {
		memcpy(same->bytes, in.data, *ret_len);
		same->len = *ret_len;
	}
	return NULL;
}

/* One request from the front of `in`: its length, or 0 when it is not whole yet. */
static size_t
consume_one(struct http_connection *conn, struct writ_bytes in)
{
	const struct http_handler *handler = conn->listener->handler;
	size_t body_max = handler->body_max;
	struct http_head head;
	struct writ_err *err;
	size_t head_len, body_len;

	if (in.len < conn->need)
		return 0;
	err = head_parse(conn->loop, in, &head, &head_len);
	if (err) {
		count(conn->loop, COUNT_REFUSED_PARSE);
		event(EVENT_DEBUG, "http.refused", EV_STR("client", conn->peer.address), EV_NUM("status", head.refusal),
		      EV_ERR(err));
		conn->is_head = false;
		conn_refuse(conn, head.refusal, err->message);
		writ_err_free(err);
		return in.len;
	}
	if (head_len == 0)
		return 0;
	if (handler->body_max_of && handler->body_max_of(head.path) > 0)
		body_max = handler->body_max_of(head.path);
	if (head.content_length > body_max) {
		char text[WRIT_MESSAGE_MAX];

		count(conn->loop, COUNT_REFUSED_PARSE);
		snprintf(text, sizeof(text), "a body of %llu bytes: at most %zu are accepted here",
			 (unsigned long long)head.content_length, body_max);
		conn->is_head = false;
		conn_refuse(conn, 413, text);
		return in.len;
	}
	body_len = (size_t)head.content_length;
	if (in.len - head_len < body_len && !long_body_take(conn, body_len)) {
		count(conn->loop, COUNT_REFUSED_LIMIT);
		conn->is_head = false;
		conn_refuse(conn, 503, "too many long bodies are on their way: try again in a moment, or send less");
		return in.len;
	}
	if (in.len - head_len < body_len) {
		conn->need = head_len + body_len;
		if (head.expect_continue && !conn->said_continue) {
			conn->said_continue = true;
			out_add(conn, WRIT_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
		}
		return 0;
	}
	long_body_release(conn);
	handle(conn, &head, (struct writ_bytes){ in.data + head_len, body_len });
	return head_len + body_len;
}

size_t
consume(struct http_connection *conn, struct writ_bytes in)
{
	struct loop *loop = conn->loop;
	size_t done = 0;

	loop->active = conn;
	conn->untried = false;
	while (done < in.len) {
		size_t n;

		if (loop->raw.len > 0)
			out_gather(conn); /* its owner may do with it what it likes while the next request is handled */
		if (conn->later || conn->close || conn->lent.len > 0 || conn->out.len > 0 || loop->stopping ||
		    rests(conn)) {
			conn->untried = true;
			break;
		}
		n = consume_one(conn, (struct writ_bytes){ in.data + done, in.len - done });
		if (n == 0)
			break;
		done += n;
	}
	return done;
}
