/*
 * Requests to the issuer: exchanges (issuer/fetch/exchange.h), many at once on one thread, to the configured URLs
 * alone; connections are kept.
 *
 * Knows no feed and no status.  Threading: the follower's, but for web_wake().
 */
#ifndef WRIT_ISSUER_RESPONDER_WEB_H
#define WRIT_ISSUER_RESPONDER_WEB_H

#include "issuer/conf/responder.h"
#include "issuer/fetch/exchange.h"

struct web {
	CURLM *multi;
	struct writ_buf ca, certificate, key; /* PEM */
	struct curl_slist *ocsp_headers;
};

/* One request at a time; its connection is kept for the next. */
struct way {
	struct exchange exchange;
	bool busy, client; /* client: with our certificate */
	/* Called once a request, when it has ended: NULL and the answer, which is 200 and whole; or the error (taken).
	 */
	void (*done)(struct way *, struct writ_err *err);
	void *ctx;
};

/* Reads the files; `key_fd` is the key's, and is closed. */
WRIT_CHECKED struct writ_err *web_init(struct web *, const struct conf_responder *, int key_fd);
void web_done(struct web *);

WRIT_CHECKED struct writ_err *way_init(struct way *, struct web *, bool client, size_t answer_max);
void way_done(struct way *, struct web *);

/* Begins a GET, or with a body the POST of an OCSP request; `body` must stay until it has ended. */
WRIT_CHECKED struct writ_err *way_begin(struct way *, struct web *, const char *url, struct writ_bytes body,
					long timeout_ms);

/* Waits, for at most `wait_ms`, until something has come, `fd` is readable or web_wake() was called; ends what has
 * ended. */
void web_turn(struct web *, int fd, int wait_ms);

/* Any thread. */
void web_wake(struct web *);

#endif
