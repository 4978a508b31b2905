/*
 * The client of the issuance API (deploy/api/v1.yaml): HTTPS by TLS 1.3 only, size and time bounded; and plain HTTP for
 * status.
 *
 * Knows how to ask and how a refusal looks, no route.
 */
#ifndef WRIT_ISSUER_CLI_API_H
#define WRIT_ISSUER_CLI_API_H

#include <jansson.h>

#include "issuer/cli/cli.h"

#define API_ANSWER_MAX (4 * 1024 * 1024) /* bytes; 100 journal entries of 16 KiB fit */

struct api_answer {
	long status; /* HTTP */
	struct writ_buf body;
	json_t *json; /* owned; NULL when the body is none */
};

void api_answer_done(struct api_answer *);

/* Asks with --api, --ca, --cert, --key of `o`.  An error is about the way there; a refusal is an answer. */
WRIT_CHECKED struct writ_err *api_ask(const struct options *o, const char *method, const char *path,
				      const char *content_type, struct writ_bytes body, struct api_answer *ret);

/* The same with a JSON body, which it takes; NULL: none. */
WRIT_CHECKED struct writ_err *api_ask_json(const struct options *o, const char *method, const char *path, json_t *body,
					   struct api_answer *ret);

/* Plain HTTP GET, or POST when `body` is not empty; at most `max` bytes; WRIT_UNAVAILABLE unless the status is 200 or
 * 503. */
WRIT_CHECKED struct writ_err *http_fetch(const char *url, const char *content_type, struct writ_bytes body, size_t max,
					 struct writ_buf *ret, long *ret_status);

/* 2xx: CLI_DONE.  Else tells the problem on stderr, with rule, value, limit and hint, and gives the exit code. */
int api_verdict(const char *command, const struct api_answer *);

/* With --json: prints the whole answer and returns true. */
bool api_printed_json(const struct options *, const struct api_answer *);

/* A text member of an object, "" when there is none; a number member, or 0. */
const char *api_text(const json_t *, const char *name);
long long api_number(const json_t *, const char *name);

#endif
