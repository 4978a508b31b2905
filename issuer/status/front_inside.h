/*
 * Inside of the plain-HTTP front: what its two files share.  front.c takes requests and answers what it can at once;
 * front_ask.c asks the signer for the rest.  For these two only; everybody else has status.h.
 *
 * (1) A ready answer is sent only while the table's entry is of the generation that it was asked for, and before its
 *     nextUpdate (I8).
 * (2) An answer that comes back of another generation is thrown away and asked for again.
 * (3) What the table does not know, or what has expired, is unauthorized, unsigned, without asking anybody (I9).
 *
 * Threading: a front is its loop's; its counts may be read from anywhere.
 */
#ifndef WRIT_ISSUER_STATUS_FRONT_INSIDE_H
#define WRIT_ISSUER_STATUS_FRONT_INSIDE_H

#include <stdatomic.h>

#include "base/text.h"
#include "issuer/status/cache.h"
#include "issuer/status/issuers.h"
#include "issuer/status/questions.h"
#include "issuer/status/status.h"

#define MAX_AGE_S 30 /* for HTTP caches: delegation.md R5 counts with it */
#define OCSP_TYPE "application/ocsp-response"
#define NO_STORE "Cache-Control: no-store\r\n"
#define COME_BACK NO_STORE "Retry-After: 1\r\n" /* a budget is a second's */

enum count { HITS, MISSES, NONCES, NONCES_OVER, UNAUTHORIZED, MALFORMED, TRY_LATER, DOCUMENTS, NOT_MODIFIED, N_COUNTS };

/* Of signatures, in each second. */
struct budget {
	writ_time second;
	unsigned left;
};

struct status_front {
	struct status_front_conf conf;
	struct issuers issuers;
	struct cache *cache;
	struct questions questions; /* without an answer yet */
	struct writ_buf decoded;    /* of a GET */
	struct writ_buf built;	    /* an HTTP response on its way into the cache */
	struct budget nonces, misses;
	writ_time date_second;
	char date[WRIT_HTTP_DATE_LEN + 1];
	writ_time unissued_told;
	_Atomic uint64_t counts[N_COUNTS];
};

static inline void
count(struct status_front *front, enum count which)
{
	const uint64_t n = atomic_load_explicit(&front->counts[which], memory_order_relaxed);

	atomic_store_explicit(&front->counts[which], n + 1, memory_order_relaxed);
}

/* What says only what went wrong. */
static inline struct http_answer
unsigned_answer(enum ocsp_error error)
{
	return (struct http_answer){
		.status = 200, /* HTTP went well; the OCSP response says what did not (RFC 6960 A.2) */
		.content_type = OCSP_TYPE,
		.headers = error == OCSP_TRY_LATER ? WRIT_LIT(COME_BACK) : WRIT_LIT(NO_STORE),
		.body = ocsp_error_response(error)
	};
}

/* ---- front_ask.c ---- */

/* Asks, or joins those who have asked; the client waits.  False: nobody can be asked now, and the request is as before. */
bool front_ask(struct status_front *, struct http_request *, const struct ocsp_request *about, uint64_t hash,
	       uint32_t generation);

/* The same with the request's nonce, for an answer of its own. */
bool front_ask_nonce(struct status_front *, struct http_request *, const struct ocsp_request *about, uint64_t hash,
		     uint32_t generation);

/* Asks for the answer that is to follow this one, for nobody. */
void front_refresh(struct status_front *, const struct http_request *, const struct ocsp_request *about,
		   struct cached *ready);

#endif
