/*
 * The loop: one thread, one epoll, one OSSL_LIB_CTX; strict HTTP/1.1 over plain TCP and TLS 1.3.
 *
 * A connection has one request at a time: parsed whole (headers and body bounded, deadlines kept), handed to the
 * handler, answered at once or later; requests pipelined behind it wait, and all answers of a wake-up leave in one
 * write.  What the grammar does not need is refused, never interpreted: Transfer-Encoding, two Content-Lengths, bare
 * LF, NUL, folded lines, space before a colon, absolute-form. Knows no route, no certificate profile, no policy.
 * Threading: a loop and everything of it belong to the thread in loop_run(), but for loop_post() and loop_stop(), which
 * any thread may call.
 */
#ifndef WRIT_ISSUER_HTTP_HTTP_H
#define WRIT_ISSUER_HTTP_HTTP_H

#include "base/bytes.h"
#include "base/clock.h"

#define HTTP_HEADERS_MAX 8192 /* bytes of request line and headers (responder.md 1.3) */
#define HTTP_HEADER_DEADLINE_MS 5000
#define HTTP_BODY_DEADLINE_MS 5000
#define HTTP_HANDSHAKE_DEADLINE_MS 5000
#define HTTP_REQUEST_DEADLINE_MS 15000 /* first byte to answer handed over */
#define HTTP_QUEUED_MS 15000 /* of a connection whose handshake has not begun: as long as a client would wait for an answer */
#define HTTP_IDLE_MS 30000
#define HTTP_WRITE_DEADLINE_MS                                                                                         \
	15000 /* a reader too slow for its answer: less than 64 KiB of it, or of its rest, in that time */
#define HTTP_LONG_BODIES_MAX 64	       /* a loop: with 256 KiB each 16 MiB, whoever sends them (I14) */
#define HTTP_CONNECTIONS_DEFAULT 10000 /* a loop */

struct loop;
struct http_request;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

/* Who is at the other end.  Lives as long as the connection. */
struct http_peer {
	char address[64]; /* text, no port; "unix" */
	bool tls;
	struct writ_bytes cert;	  /* DER of the verified client certificate; empty: none */
	struct writ_bytes anchor; /* DER of the configured CA its path ended in */
	uint64_t connection;	  /* number, for events */
	/* The application's own, worked out once a connection (its identity); released with app_done(app) when it
	 * closes. */
	void *app;
	void (*app_done)(void *app);
	/* The application's own too, 0 at first: until when this connection was told to wait, and how often it has not. */
	int64_t told_until_ms;
	unsigned told_in_vain;
};

struct http_request {
	enum http_method method;
	struct writ_bytes path;	 /* as sent: not decoded, not normalised; query cut off */
	struct writ_bytes query; /* without '?'; has_query tells an empty one from none */
	bool has_query;
	struct writ_bytes content_type, accept, if_none_match, idempotency_key; /* empty: absent */
	struct writ_bytes fields; /* all header lines, for http_field(); empty once the request was deferred */
	struct writ_bytes body;
	struct http_peer *peer;
	struct clock now; /* of this wake-up */
	struct loop *loop;
	/* internal: */
	struct http_connection *connection;
};

struct http_answer {
	unsigned status;
	const char *content_type; /* NULL: none */
	struct writ_bytes body;
	struct writ_bytes headers; /* more header lines, each ending in CRLF; empty: none */
	bool close;		   /* after this answer */
};

struct http_handler {
	size_t body_max; /* bytes; a request with more gets 413 */
	/* Bytes that a path may have instead; 0, or NULL: body_max.  Asked of the head alone, before a body is read;
	 * HTTP_LONG_BODIES_MAX of those over body_max may be on their way at once, one more gets 503. */
	size_t (*body_max_of)(struct writ_bytes path);
	/* Must answer now (http_answer, http_answer_raw) or take the request on with http_defer(). */
	void (*request)(struct http_request *, void *ctx);
	void *ctx;
};

/* How often the header `lower` (a name in lower case) stands in the request, and what its last line says, trimmed. */
unsigned http_field(const struct http_request *, const char *lower, struct writ_bytes *ret);

/* Answers now; everything is copied. */
void http_answer(struct http_request *, const struct http_answer *);

/* To /healthz: 200 when all is well, else 503; nobody may keep it. */
void http_answer_health(struct http_request *, bool well, struct writ_bytes json);

/* A whole response, status line and all, built before: the fast path of cached status.  Adds nothing; to HEAD the body
 * is not sent.  It must stay as it is until the handler has returned and the next request comes, of whatever client: so
 * it is not on the handler's stack. */
void http_answer_raw(struct http_request *, struct writ_bytes response);

/*
 * As http_answer(), but the body is not copied: for lists of megabytes, which slow readers would multiply.  It must
 * stay as it is until done(arg), which is called on the loop's thread when the body has left or the client has; done
 * may be called before this returns.
 */
void http_answer_lent(struct http_request *, const struct http_answer *, void (*done)(void *arg), void *arg);

/*
 * Keeps the request for later: the token stays valid until http_answer_later(), even when the client goes away
 * meanwhile (the answer is then dropped), or until loop_free().  Path, headers, body and peer remain readable through
 * http_deferred() until then.  Never fails (it aborts without memory). A client that waits longer than the request's
 * deadline gets 503; the token stays.
 */
struct http_later;
struct http_later *http_defer(struct http_request *);
struct http_request *http_deferred(struct http_later *);
/* Has the client closed its connection, or its side of it?  Looks at the socket: for whoever has waited before more is done for it. */
bool http_client_gone(const struct http_later *);
void http_answer_later(struct http_later *, const struct http_answer *);
void http_answer_raw_later(struct http_later *, struct writ_bytes response);

/*
 * Once this request is answered nothing more of its connection is read for so long; called before the answer.  For whoever asks again at once
 * what was refused: nobody else is kept waiting by it, and it costs a refusal the less.
 */
void http_rest(struct http_request *, unsigned ms);

/*
 * Whoever is at the other end of this request must be heard in any case: for a day his address has the loop's reserve, an eighth of its
 * handshakes a second, before all others, and a sixteenth of its connections.  A loop remembers PREFERRED_MAX addresses, the newer in the older's place.
 */
void http_prefer(struct http_request *);

struct loop_conf {
	unsigned connections_max; /* at the limit the oldest idle one is closed; 0: HTTP_CONNECTIONS_DEFAULT */
	unsigned connections_per_address_max; /* an IPv6 /64 counts as one address; 0: no limit */
	unsigned handshakes_per_s;	      /* beyond: begun later, addresses in turn; 0: no limit */
	const char *server_name;	      /* borrowed; "Server" is never sent; this is for events */
	/* Milliseconds; 0: the constants above. */
	unsigned header_deadline_ms, body_deadline_ms, handshake_deadline_ms, request_deadline_ms, idle_ms,
		write_deadline_ms;
};

struct loop_counts { /* since the start; for /metrics */
	uint64_t connections, requests, answers_2xx, answers_4xx, answers_5xx, refused_parse, refused_limit, timeouts,
		handshakes, handshakes_failed, connections_open;
};

/* What TLS needs: PEM files of the server; trusted client anchors as DER. */
struct tls_conf {
	const char *certificate, *key;
	size_t n_anchors;
	const struct writ_bytes *anchors;
};

WRIT_CHECKED struct writ_err *loop_new(const struct loop_conf *, struct loop **ret);
void loop_free(struct loop *);

/* host is an IP address; SO_REUSEPORT, so that each loop has its own queue.  Port 0: any; `ret_port` tells. */
WRIT_CHECKED struct writ_err *loop_listen(struct loop *, const char *host, uint16_t port, bool tls,
					  const struct http_handler *, uint16_t *ret_port);

/*
 * Listens on a socket in the file system, plain.  Its mode is 0660, its group `group` (NULL: the process's own).  What
 * an ended process left in its place is removed; what another answers on, or what is no socket, is not.  The file
 * stays when the loop ends.
 */
WRIT_CHECKED struct writ_err *loop_listen_unix(struct loop *, const char *path, const char *group,
					       const struct http_handler *);

/* TLS 1.3 only, ALPN http/1.1, no tickets, no early data, client certificate optional but verified.  Again at a reload:
 * new connections use it. */
WRIT_CHECKED struct writ_err *loop_tls(struct loop *, const struct tls_conf *);

/* Runs until loop_stop(); then answers what is in flight, for at most 5 s.  Called once.  loop_stop() may be called by
 * a signal handler. */
WRIT_CHECKED struct writ_err *loop_run(struct loop *);
void loop_stop(struct loop *);

/* Runs fn(arg) on the loop's thread, soon, in order.  Any thread.  Never fails (it aborts without memory). */
void loop_post(struct loop *, void (*fn)(void *arg), void *arg);

/* Watches a descriptor of the application's (the signer's socket): called when readable. */
WRIT_CHECKED struct writ_err *loop_watch(struct loop *, int fd, void (*readable)(int fd, struct clock now, void *ctx),
					 void *ctx);
void loop_unwatch(struct loop *, int fd);

/* Called at the end of each wake-up, before answers given later are written (again when those let new requests in):
 * where groups are flushed. */
void loop_at_end(struct loop *, void (*fn)(struct clock now, void *ctx), void *ctx);

/* Called about every `period_ms`. */
WRIT_CHECKED struct writ_err *loop_every(struct loop *, unsigned period_ms, void (*fn)(struct clock now, void *ctx),
					 void *ctx);

/* Adds to `ret`, so that a program tells of all its loops as of one; any thread; each number by itself is right. */
void loop_counts(const struct loop *, struct loop_counts *ret);
struct clock loop_now(const struct loop *);			/* of this wake-up */

/*
 * The parser alone, for tests and fuzzing: WRIT_INVALID says what is wrong, and `ret->refusal` is the status to answer
 * with; `*ret_len` 0: more is needed, else the length of the head, its empty line included.
 */
struct http_head {
	unsigned refusal; /* 400, 411, 413, 414, 415, 417, 431, 505; 0: none */
	enum http_method method;
	struct writ_bytes path, query;
	bool has_query, keep_alive, expect_continue, has_length;
	uint64_t content_length;
	struct writ_bytes content_type, accept, if_none_match, idempotency_key;
	struct writ_bytes fields; /* all header lines, each with its CR LF */
};
WRIT_CHECKED struct writ_err *http_parse(struct writ_bytes in, struct http_head *ret, size_t *ret_len);

/* Appends status line and headers (Date, Content-Length, Connection) of a whole response: for http_answer_raw(). */
WRIT_CHECKED struct writ_err *http_response(const struct http_answer *, writ_time now, struct writ_buf *ret);

#endif
