/*
 * One exchange with another server, by libcurl, as all of ours are: bounded in bytes and time, to one URL, redirects
 * not followed, nothing taken from the user's settings or the environment.
 *
 * Knows neither who is asked nor whom to believe: certificates are the caller's to set on the handle.  Threading: its
 * CURLM's.
 */
#ifndef WRIT_ISSUER_FETCH_EXCHANGE_H
#define WRIT_ISSUER_FETCH_EXCHANGE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/bytes.h"

struct exchange {
	CURL *easy;		/* NULL: not open */
	struct writ_buf answer; /* born with its limit: WRIT_BUF() */
	char why[CURL_ERROR_SIZE];
	bool full; /* the answer had more than its limit */
};

struct exchange_conf {
	const char *agent;     /* who we say we are */
	const char *protocols; /* "https", "http,https" */
	long connect_ms;
};

/* One handle, for any number of requests, one at a time; it must stay where it is.  `owner` is what CURLINFO_PRIVATE
 * gives.  False: no memory. */
bool exchange_open(struct exchange *, const struct exchange_conf *, void *owner);

/* Sets a request: GET, or with a body its POST.  Body and headers must stay until it has ended.  False: no memory. */
bool exchange_set(struct exchange *, const char *url, long timeout_ms, struct curl_slist *headers,
		  struct writ_bytes body);

/* How it ended: NULL, and the status of an answer that is whole, or why there is none. */
WRIT_CHECKED struct writ_err *exchange_result(const struct exchange *, CURLcode, long *ret_status);

/* The answer stays. */
void exchange_close(struct exchange *);

#endif
