/*
 * What is reserved in memory while a request is under way, so that a replay costs no signature (DESIGN.md, One
 * issuance, step 2).
 *
 * A name (an idempotency key of a principal) is reserved once until it is released or its answer is kept.  Answers of
 * what the store cannot keep with its rows - revocations, whose counts are known after their commit - are kept here for
 * 10 minutes.  Bounded; thread-safe: a lock inside.
 */
#ifndef WRIT_ISSUER_SERVE_ONCE_H
#define WRIT_ISSUER_SERVE_ONCE_H

#include "base/clock.h"

#define ONCE_KEEP_S 600 /* how long an idempotency key answers */
#define ONCE_MAX 65536	/* names at once */

struct once;

WRIT_CHECKED struct writ_err *once_new(struct once **ret);
void once_free(struct once *);

enum once_state {
	ONCE_TAKEN,   /* it is the caller's: once_release() or once_answer() must follow */
	ONCE_BUSY,    /* another request with this name is under way */
	ONCE_OTHER,   /* another body was answered under this name */
	ONCE_ANSWERED /* `ret_body` and `ret_status` are what was answered */
};

/* WRIT_EXHAUSTED when ONCE_MAX names are taken. */
WRIT_CHECKED struct writ_err *once_take(struct once *, struct writ_bytes name, const uint8_t body_sha256[32],
					writ_time now, enum once_state *ret, unsigned *ret_status,
					struct writ_buf *ret_body);
void once_release(struct once *, struct writ_bytes name);
void once_answer(struct once *, struct writ_bytes name, unsigned status, struct writ_bytes body, writ_time now);

#endif
