/*
 * Questions to whoever signs: one for however many clients wait for its answer; put as fast as `ask` takes them, and
 * those it does not take yet wait here for their turn, up to a limit.
 *
 * Knows no status and no time: what an answer is worth, the front decides.  Threading: the loop's.
 */
#ifndef WRIT_ISSUER_STATUS_QUESTIONS_H
#define WRIT_ISSUER_STATUS_QUESTIONS_H

#include <sys/queue.h>

#include "base/bytes.h"

#define QUESTIONS_WAITING_MAX 1024 /* not put yet: some 400 KiB; at a signature each 35 us they wait 36 ms */
#define QUESTION_BUCKETS 64

struct http_later;
struct loop;

struct waiter {
	struct http_later *later;
	struct waiter *next;
};

/* The token of `ask`. */
struct question {
	/* questions.c's own */
	LIST_ENTRY(question) same_bucket;
	TAILQ_ENTRY(question) turn;
	bool put; /* its answer will come */
	/* the front's */
	struct loop *loop;
	uint64_t hash;
	uint8_t serial[16];
	uint32_t generation; /* of the table's entry when it was asked */
	struct waiter *waiters;
	size_t cert_id_len, nonce_len;
	uint8_t bytes[]; /* CertID, nonce */
};

struct questions {
	bool (*ask)(void *ctx, struct writ_bytes cert_id, struct writ_bytes nonce, void *token);
	void *ctx;
	LIST_HEAD(, question) by_hash[QUESTION_BUCKETS];
	TAILQ_HEAD(, question) turns; /* not put yet */
	size_t n_waiting, n_put;
};

void questions_init(struct questions *, bool (*ask)(void *, struct writ_bytes, struct writ_bytes, void *), void *ctx);
void questions_done(struct questions *); /* what waits is the loop's, which frees it too */

/* The one without a nonce about that CertID, put or not; NULL: none. */
struct question *questions_find(const struct questions *, uint64_t hash, struct writ_bytes cert_id);

/* A copy of `about` (hash, serial, generation, loop), put or waiting.  NULL: too many wait, nobody can be asked, or
 * there is no memory. */
struct question *questions_new(struct questions *, const struct question *about, struct writ_bytes cert_id,
			       struct writ_bytes nonce);

/* Its answer has come, and does not do: puts it once more, before those that wait. */
void questions_again(struct questions *, struct question *);

/* Frees it, with its waiters. */
void questions_drop(struct questions *, struct question *);

/* After an answer: puts those that wait, as many as are taken. */
void questions_pump(struct questions *);

/* One that waits while none is put, so that no answer would give it its turn; to be answered and dropped.  NULL: none.
 */
struct question *questions_stranded(const struct questions *);

static inline struct writ_bytes
question_id(const struct question *question)
{
	return (struct writ_bytes){ question->bytes, question->cert_id_len };
}

#endif
