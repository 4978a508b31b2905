/*
 * The requests of writ load: libcurl's multi interface, a handle each.
 *
 * Knows how a request is made and kept until its answer is there; neither who asks nor what an answer means.  One
 * thread.
 */
#ifndef WRIT_ISSUER_CLI_LOAD_CALLS_H
#define WRIT_ISSUER_CLI_LOAD_CALLS_H

#include "issuer/cli/load.h"

#define LOAD_ANSWER_MAX (64 * 1024) /* bytes; of a CRL 64 MiB */

struct load_call {
	CURL *curl;
	struct load_call *next, **at; /* in load.calls */
	enum load_what what;
	struct load_agent *agent; /* NULL: a question about status */
	struct curl_slist *headers;
	struct writ_buf body, answer;
	int64_t began_us;
	int64_t retry_after_s; /* as the answer says; -1 */
	struct load_question *question; /* to OCSP; its own */
	uint32_t ca;			/* whose list */
	int64_t asked_ms;		/* monotonic */
};

/* In load.calls until load_call_free(), whatever becomes of it. */
WRIT_CHECKED struct writ_err *load_call_new(struct load *, enum load_what, struct load_agent *, struct load_call **ret);
void load_call_free(struct load *, struct load_call *);

/* Its body, which it takes. */
WRIT_CHECKED struct writ_err *load_call_json(struct load_call *, json_t *body);

/* As the delegator, whose certificate is a file; as an agent, whose leaf is in memory. */
void load_call_as_delegator(const struct load *, struct load_call *);
void load_call_as_agent(struct load_call *, struct writ_bytes leaf_pem, struct writ_bytes key_pem);

/* On its way; `kind` is the body's media type, NULL for a GET. */
WRIT_CHECKED struct writ_err *load_call_send(struct load *, struct load_call *, const char *base, const char *path,
					     const char *kind);

/* Monotonic: struct clock has milliseconds, too coarse for a status from memory. */
int64_t load_now_us(void);

#endif
