/*
 * What the table knows and no ready answer says: the signer is asked, and what it says is passed on and kept.
 *
 * Once however many wait for it, and within a budget a second: status must not take the signer from those who issue and
 * revoke.  What comes back is held against the table as it is by then: front_inside.h (2), (3).
 */
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/status/caching.h"
#include "issuer/status/front_inside.h"

#define RETRY_S 5 /* an answer due for renewal is asked for again after so long */
#define DATE_AT (sizeof("HTTP/1.1 200 OK\r\nDate: ") - 1) /* as http_response() writes it */

/* ---- asking ---- */

/* A budget for each second. */
static bool
budget_take(struct budget *budget, unsigned per_s, writ_time now)
{
	if (budget->second != now)
		*budget = (struct budget){ now, per_s };
	if (budget->left == 0)
		return false;
	budget->left--;
	return true;
}

/* What a question is about, and who may ask it: a nonce was paid for before. */
static struct question *
question_new(struct status_front *front, const struct http_request *request, const struct ocsp_request *about,
	     uint64_t hash, uint32_t generation, struct writ_bytes nonce)
{
	struct question question = { .loop = request->loop, .hash = hash, .generation = generation };

	if (nonce.len == 0 && front->conf.misses_per_s > 0 &&
	    !budget_take(&front->misses, front->conf.misses_per_s, request->now.wall))
		return NULL;
	memcpy(question.serial, about->serial.data, sizeof(question.serial));
	return questions_new(&front->questions, &question, about->cert_id, nonce);
}

/* See front_ask(). */
static bool
ask_for(struct status_front *front, struct http_request *request, const struct ocsp_request *about, uint64_t hash,
	uint32_t generation, struct writ_bytes nonce)
{
	struct question *question = nonce.len > 0 ? NULL : questions_find(&front->questions, hash, about->cert_id);
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (waiter && !question)
		question = question_new(front, request, about, hash, generation, nonce);
	if (!waiter || !question) {
		free(waiter);
		return false;
	}
	count(front, nonce.len > 0 ? NONCES : MISSES);
	*waiter = (struct waiter){ .later = http_defer(request), .next = question->waiters };
	question->waiters = waiter;
	return true;
}

/* Before half of its time is over nobody needs to wait for the next one. */
void
front_refresh(struct status_front *front, const struct http_request *request, const struct ocsp_request *about,
	      struct cached *ready)
{
	ready->refresh_at = request->now.wall + RETRY_S;
	if (!questions_find(&front->questions, ready->hash, about->cert_id))
		(void)question_new(front, request, about, ready->hash, ready->generation, (struct writ_bytes){ 0 });
}

bool
front_ask(struct status_front *front, struct http_request *request, const struct ocsp_request *about, uint64_t hash,
	  uint32_t generation)
{
	return ask_for(front, request, about, hash, generation, (struct writ_bytes){ 0 });
}

/* A nonce costs a signature, and without one the answer is as true (RFC 9919 allows that). */
bool
front_ask_nonce(struct status_front *front, struct http_request *request, const struct ocsp_request *about,
		uint64_t hash, uint32_t generation)
{
	if (budget_take(&front->nonces, front->conf.nonces_per_s, request->now.wall) &&
	    ask_for(front, request, about, hash, generation, about->nonce))
		return true;
	count(front, NONCES_OVER);
	return false;
}

/* ---- what the signer says ---- */

/* The whole HTTP response into front->built, and a copy of it into the cache. */
static struct writ_err *
make_ready(struct status_front *front, const struct question *question, struct writ_bytes response,
	   writ_time this_update, writ_time next_update, writ_time now)
{
	char headers[512], etag[2 * SHA256_LEN + 1];
	uint8_t digest[SHA256_LEN];
	const char *after;
	struct http_answer answer = { .status = 200, .content_type = OCSP_TYPE, .body = response };
	struct cached *ready;
	struct writ_err *err;
	size_t head_len;

	writ_sha256(response, digest);
	writ_hex((struct writ_bytes){ digest, sizeof(digest) }, etag);
	answer.headers = (struct writ_bytes){ (uint8_t *)headers,
					      caching_headers(headers, sizeof(headers), etag, this_update, next_update,
							      caching_max_age(now, next_update, MAX_AGE_S)) };
	writ_buf_clear(&front->built);
	err = http_response(&answer, now, &front->built);
	if (err)
		return err;
	ready = cache_put(front->cache, question->hash, (struct writ_bytes){ question->bytes, question->cert_id_len },
			  writ_view(&front->built));
	if (!ready)
		return NULL; /* too large to keep, not to send */
	head_len = front->built.len - response.len - 2;
	ready->generation = question->generation;
	ready->next_update = next_update;
	ready->refresh_at = now + (next_update - now) / 2;
	ready->dated = now;
	ready->date_at = (uint16_t)DATE_AT;
	ready->headers_at = (uint16_t)(head_len - answer.headers.len);
	ready->headers_len = (uint16_t)answer.headers.len;
	after = strstr(headers, "ETag: \"") + sizeof("ETag: \"") - 1;
	ready->etag_at = (uint16_t)(ready->headers_at + (after - headers));
	after = strstr(headers, "max-age=") + sizeof("max-age=") - 1;
	ready->age_at = (uint16_t)(ready->headers_at + (after - headers));
	return NULL;
}

static void
waiters_answer_raw(struct question *question, struct writ_bytes response)
{
	for (struct waiter *w = question->waiters; w; w = w->next)
		http_answer_raw_later(w->later, response);
}

static void
waiters_answer(struct question *question, const struct http_answer *answer)
{
	for (struct waiter *w = question->waiters; w; w = w->next)
		http_answer_later(w->later, answer);
}

static void
waiters_unsigned(struct status_front *front, struct question *question, enum ocsp_error error)
{
	const struct http_answer answer = unsigned_answer(error);

	for (struct waiter *w = question->waiters; w; w = w->next)
		count(front, error == OCSP_UNAUTHORIZED ? UNAUTHORIZED : TRY_LATER);
	waiters_answer(question, &answer);
}

static void
question_failed(struct status_front *front, struct question *question, struct writ_err *err)
{
	waiters_unsigned(front, question, err->code == WRIT_NOT_FOUND ? OCSP_UNAUTHORIZED : OCSP_TRY_LATER);
	event(EVENT_DEBUG, "status.not_signed", EV_HEX("serial", ((struct writ_bytes){ question->serial, 16 })),
	      EV_ERR(err));
	writ_err_free(err);
}

/* What the signer said is passed on if it is about the state that the table has now; true when it was asked again
 * instead. */
static bool
question_answered(struct status_front *front, struct question *question, bool good, struct writ_bytes response,
		  writ_time this_update, writ_time next_update)
{
	const struct status_entry entry = status_find(front->conf.table, front->conf.reader, question->serial);
	const writ_time now = loop_now(question->loop).wall;
	struct writ_err *err;

	if (entry.state == STATUS_UNKNOWN || entry.not_after < now) {
		waiters_unsigned(front, question, OCSP_UNAUTHORIZED); /* (3) */
		return false;
	}
	if (entry.generation != question->generation) { /* (2) */
		question->generation = entry.generation;
		questions_again(&front->questions, question);
		return true;
	}
	/* Good to a signer that has not heard of the revocation: it was away when the store took it (I8). */
	if (next_update <= now || (good && entry.state != STATUS_GOOD)) {
		waiters_unsigned(front, question, OCSP_TRY_LATER);
		return false;
	}
	if (question->nonce_len > 0) {
		waiters_answer(question, &(struct http_answer){ .status = 200,
								.content_type = OCSP_TYPE,
								.headers = WRIT_LIT(NO_STORE),
								.body = response });
		return false;
	}
	err = make_ready(front, question, response, this_update, next_update, now);
	if (err)
		question_failed(front, question, err);
	else
		waiters_answer_raw(question, writ_view(&front->built));
	return false;
}

void
status_front_answer(struct status_front *front, void *token, struct writ_err *err, bool good,
		    struct writ_bytes response, writ_time this_update, writ_time next_update)
{
	struct question *question = token;

	bool again = false;

	if (err)
		question_failed(front, question, err);
	else
		again = question_answered(front, question, good, response, this_update, next_update);
	if (!again)
		questions_drop(&front->questions, question);
	questions_pump(&front->questions);
	while ((question = questions_stranded(&front->questions))) {
		waiters_unsigned(front, question, OCSP_TRY_LATER);
		questions_drop(&front->questions, question);
	}
}
