/*
 * What is reserved in memory while a request is under way, so that a replay costs no signature (DESIGN.md, One issuance, step 2).
 *
 * A name (an idempotency key of a principal) is reserved once until it is released or its answer is kept.  Answers of what the store cannot keep with
 * its rows - revocations, whose counts are known after their commit - are kept here for 10 minutes.  Bounded; thread-safe: a lock inside.
 */
#ifndef WRIT_ISSUER_SERVE_RESERVE_H
#define WRIT_ISSUER_SERVE_RESERVE_H

#include "base/clock.h"

#define RESERVE_KEEP_S 600 /* how long an idempotency key answers */
#define RESERVE_MAX 65536  /* names at once */

struct reserve;

WRIT_CHECKED struct writ_err *reserve_new(struct reserve **ret);
void reserve_free(struct reserve *);

enum reserved {
	RESERVED,	  /* it is the caller's: reserve_release() or reserve_answer() must follow */
	RESERVED_BUSY,	  /* another request with this name is under way */
	RESERVED_OTHER,	  /* another body was answered under this name */
	RESERVED_ANSWERED /* `ret_body` and `ret_status` are what was answered */
};

/* WRIT_EXHAUSTED when RESERVE_MAX names are taken. */
WRIT_CHECKED struct writ_err *reserve_take(struct reserve *, struct writ_bytes name, const uint8_t body_sha256[32], writ_time now,
					   enum reserved *ret, unsigned *ret_status, struct writ_buf *ret_body);
void reserve_release(struct reserve *, struct writ_bytes name);
void reserve_answer(struct reserve *, struct writ_bytes name, unsigned status, struct writ_bytes body, writ_time now);

#endif
