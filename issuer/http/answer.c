/*
 * Answers: heads composed without printf, bodies copied or lent, now or later.  Knows no socket: bytes are put where
 * conn.c sends them from.
 */
#include "issuer/http/conn.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"

#define HEAD_MAX 512 /* bytes of status line and our own headers; a content type takes up to 128 */
#define TYPE_MAX 128

static const char *
reason_of(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 304:
		return "Not Modified";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 406:
		return "Not Acceptable";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 415:
		return "Unsupported Media Type";
	case 417:
		return "Expectation Failed";
	case 422:
		return "Unprocessable Content";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Status"; /* a reason phrase means nothing (RFC 9112 4) */
	}
}

static char *
put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

#define PUT(at, literal) put((at), "" literal "", sizeof(literal) - 1)

static char *
put_number(char *at, size_t n)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	return put(at, digits + i, sizeof(digits) - i);
}

/* Status line, Date, Content-Type, Content-Length, Connection; the answer's own headers and the empty line are to
 * follow. */
static struct writ_bytes
head_compose(char out[HEAD_MAX], const struct http_answer *answer, const char *date, bool close)
{
	const char *reason = reason_of(answer->status);
	/* What has no body by definition has no length either (RFC 9110 8.6). */
	const bool bodiless = answer->status == 204 || answer->status == 304;
	char *at = PUT(out, "HTTP/1.1 ");

	at = put_number(at, answer->status % 1000);
	*at++ = ' ';
	at = put(at, reason, strlen(reason));
	at = PUT(at, "\r\nDate: ");
	at = put(at, date, WRIT_HTTP_DATE_LEN);
	if (answer->content_type && !bodiless) {
		at = PUT(at, "\r\nContent-Type: ");
		at = put(at, answer->content_type, strnlen(answer->content_type, TYPE_MAX));
	}
	if (!bodiless) {
		at = PUT(at, "\r\nContent-Length: ");
		at = put_number(at, answer->body.len);
	}
	if (close)
		at = PUT(at, "\r\nConnection: close");
	at = PUT(at, "\r\n");
	return (struct writ_bytes){ (const uint8_t *)out, (size_t)(at - out) };
}

struct writ_err *
http_response(const struct http_answer *answer, writ_time now, struct writ_buf *ret)
{
	char head[HEAD_MAX], date[WRIT_HTTP_DATE_LEN + 1];
	const size_t before = ret->len;
	struct writ_err *err;

	err = writ_buf_add(ret, head_compose(head, answer, writ_time_http(now, date), answer->close));
	if (!err)
		err = writ_buf_add(ret, answer->headers);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("\r\n"));
	if (!err && answer->status != 204 && answer->status != 304)
		err = writ_buf_add(ret, answer->body);
	if (err)
		ret->len = before;
	return err;
}

void
out_add(struct http_connection *conn, struct writ_bytes bytes)
{
	struct loop *loop = conn->loop;
	struct writ_err *err = NULL;

	if (bytes.len == 0)
		return;
	if (conn == loop->active)
		out_gather(conn);
	/* All answers of a wake-up leave in one write, from one place: only what a socket does not take is kept by the
	 * connection. */
	if (conn == loop->active && conn->out.len == 0 && bytes.len <= HTTP_OUT_LEN - loop->out_len) {
		memcpy(loop->out + loop->out_len, bytes.data, bytes.len);
		loop->out_len += bytes.len;
		return;
	}
	if (conn == loop->active && loop->out_len > 0) {
		err = writ_buf_add(&conn->out, (struct writ_bytes){ loop->out, loop->out_len });
		loop->out_len = 0;
	}
	if (!err)
		err = writ_buf_add(&conn->out, bytes);
	if (!err)
		return;
	event(EVENT_WARN, "http.answer_dropped", EV_NUM("connection", conn->peer.connection), EV_ERR(err));
	writ_err_free(err);
	conn->close = true;
}

void
out_gather(struct http_connection *conn)
{
	const struct writ_bytes raw = conn->loop->raw;

	conn->loop->raw = (struct writ_bytes){ 0 };
	out_add(conn, raw);
}

static void
count_answer(struct loop *loop, unsigned status)
{
	if (status < 400)
		count(loop, COUNT_2XX);
	else
		count(loop, status < 500 ? COUNT_4XX : COUNT_5XX);
}

/* Head, and body unless it is lent. */
static void
answer_add(struct http_connection *conn, const struct http_answer *answer, bool with_body)
{
	char head[HEAD_MAX];

	if (answer->close || conn->loop->stopping)
		conn->close = true;
	out_add(conn, head_compose(head, answer, conn->loop->date, conn->close));
	out_add(conn, answer->headers);
	out_add(conn, WRIT_LIT("\r\n"));
	if (with_body && !conn->is_head && answer->status != 204 && answer->status != 304)
		out_add(conn, answer->body);
	count_answer(conn->loop, answer->status);
}

/* The part of a whole response that this client is sent. */
static struct writ_bytes
raw_part(struct http_connection *conn, struct writ_bytes response)
{
	if (response.len >= 12)
		count_answer(conn->loop, (unsigned)(response.data[9] - '0') * 100);
	if (conn->loop->stopping)
		conn->close = true;
	if (conn->is_head) {
		const uint8_t *end = memmem(response.data, response.len, "\r\n\r\n", 4);

		if (end)
			response.len = (size_t)(end - response.data) + 4;
	}
	return response;
}

/* The connection whose request this is, if it may be answered now.  Anything else is a mistake of ours that would mix
 * up clients' answers. */
static struct http_connection *
answering(struct http_request *request)
{
	struct http_connection *conn = request->connection;

	if (conn != conn->loop->active || conn->answered || conn->later) {
		fprintf(stderr, "writ: a request was answered twice, or after http_defer(): stopping\n");
		abort();
	}
	conn->answered = true;
	return conn;
}

void
http_answer(struct http_request *request, const struct http_answer *answer)
{
	answer_add(answering(request), answer, true);
}

void
http_answer_health(struct http_request *request, bool well, struct writ_bytes json)
{
	http_answer(request, &(struct http_answer){ .status = well ? 200 : 503,
						    .content_type = "application/json",
						    .headers = WRIT_LIT("Cache-Control: no-store\r\n"),
						    .body = json });
}

void
http_answer_raw(struct http_request *request, struct writ_bytes response)
{
	struct http_connection *conn = answering(request);
	const struct writ_bytes part = raw_part(conn, response);

	/* Mostly it is the only answer of the wake-up: then it is sent from where it is, without a copy. */
	if (conn->loop->out_len == 0 && conn->loop->raw.len == 0 && conn->out.len == 0)
		conn->loop->raw = part;
	else
		out_add(conn, part);
}

void
http_answer_lent(struct http_request *request, const struct http_answer *answer, void (*done)(void *arg), void *arg)
{
	struct http_connection *conn = answering(request);

	answer_add(conn, answer, false);
	if (conn->is_head || answer->status == 204 || answer->status == 304 || answer->body.len == 0) {
		done(arg);
		return;
	}
	conn->lent = answer->body;
	conn->lent_done = done;
	conn->lent_arg = arg;
}

void
conn_refuse(struct http_connection *conn, unsigned status, const char *text)
{
	char body[WRIT_MESSAGE_MAX + 1];
	const int n = snprintf(body, sizeof(body), "%s\n", text);

	conn->linger = true;
	answer_add(conn,
		   &(struct http_answer){ .status = status,
					  .content_type = "text/plain; charset=utf-8",
					  .body = { (const uint8_t *)body, n > 0 ? strlen(body) : 0 },
					  .close = true },
		   true);
}

/* ---- later ---- */

static struct writ_bytes
copy_in(uint8_t **at, struct writ_bytes bytes)
{
	uint8_t *to = *at;

	if (bytes.len == 0)
		return (struct writ_bytes){ to, 0 };
	memcpy(to, bytes.data, bytes.len);
	*at += bytes.len;
	return (struct writ_bytes){ to, bytes.len };
}

struct http_later *
http_defer(struct http_request *request)
{
	struct http_connection *conn = request->connection;
	struct writ_bytes *parts[] = { &request->path,	 &request->query,	  &request->content_type,
				       &request->accept, &request->if_none_match, &request->idempotency_key,
				       &request->body };
	struct http_later *later;
	size_t len = 0;
	uint8_t *at;

	if (conn != conn->loop->active || conn->answered || conn->later) {
		fprintf(stderr, "writ: http_defer() of a request that was answered: stopping\n");
		abort();
	}
	for (size_t i = 0; i < N_OF(parts); i++)
		len += parts[i]->len;
	later = malloc(sizeof(*later) + len);
	if (!later) {
		fprintf(stderr, "writ: no memory to keep a request of %zu bytes: stopping\n", len);
		abort();
	}
	/* The request itself is moved too: its handler still holds it, and may read it on. */
	at = later->data;
	for (size_t i = 0; i < N_OF(parts); i++)
		*parts[i] = copy_in(&at, *parts[i]);
	request->fields = (struct writ_bytes){ 0 }; /* not kept: nobody who defers needs them */
	later->request = *request;
	LIST_INSERT_HEAD(&conn->loop->tokens, later, link);
	conn->later = later;
	conn->n_tokens++;
	return later;
}

struct http_request *
http_deferred(struct http_later *later)
{
	return &later->request;
}

bool
http_client_gone(const struct http_later *later)
{
	const struct http_connection *conn = later->request.connection;
	struct pollfd fd = { .fd = conn->fd, .events = POLLRDHUP };

	return conn->later != later || (poll(&fd, 1, 0) == 1 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

/* Takes the token back from the connection: the one that still waits for this answer, or NULL. */
static struct http_connection *
later_release(struct http_later *later)
{
	struct http_connection *conn = later->request.connection;
	const bool waits = conn->later == later;

	LIST_REMOVE(later, link);
	conn->n_tokens--;
	if (!waits) {
		if (conn->state == CONN_CLOSED && conn->n_tokens == 0)
			LIST_INSERT_HEAD(&conn->loop->dead, conn, dead);
		return NULL;
	}
	conn->later = NULL;
	conn->answered = true;
	conn->started_ms = 0;
	if (conn != conn->loop->active)
		conn_queue(conn);
	return conn;
}

void
http_rest(struct http_request *request, unsigned ms)
{
	request->connection->rest_until_ms = request->connection->loop->now.mono_ms + ms;
}

void
http_answer_later(struct http_later *later, const struct http_answer *answer)
{
	struct http_connection *conn = later_release(later);

	if (conn)
		answer_add(conn, answer, true);
	free(later); /* not earlier: the answer may quote the request */
}

void
http_answer_raw_later(struct http_later *later, struct writ_bytes response)
{
	struct http_connection *conn = later_release(later);

	if (conn)
		out_add(conn, raw_part(conn, response));
	free(later);
}
