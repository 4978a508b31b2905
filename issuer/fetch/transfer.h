/*
 * One request to a foreign server: an exchange (exchange.h) with a handle of its own, whose answer must be 200.
 *
 * Knows no configuration and no file.  Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_FETCH_TRANSFER_H
#define WRIT_ISSUER_FETCH_TRANSFER_H

#include "issuer/fetch/exchange.h"

#define TRANSFER_MAX (256 * 1024) /* bytes of an answer; 32 keys with their certificates take 100 KiB */
#define TRANSFER_MS 10000L

struct transfer {
	struct exchange exchange; /* open while it is on its way */
	struct curl_slist *headers;
};

/* GET, or POST of an OCSP request when `body` is not empty; `body` must stay until it has ended.  False: not begun. */
bool transfer_begin(struct transfer *, CURLM *, const char *url, const char *ca, struct writ_bytes body);
bool transfer_under_way(const struct transfer *);

/* NULL: the answer is 200 and whole. */
WRIT_CHECKED struct writ_err *transfer_result(const struct transfer *, CURLcode);

/* Ends it, if it is on its way; the answer stays. */
void transfer_end(struct transfer *, CURLM *);

#endif
