/*
 * The plain-HTTP front: /ocsp, what is published, and whatever the program adds.
 *
 * One OCSP request: parse in place; is it about an issuer of ours; what does the table say of the serial; is a signed
 * answer ready that still holds?  Then it is sent from there.  Otherwise the signer is asked, once however many wait
 * for it, within a budget a second: status must not take the signer from those who issue and revoke.
 *
 * - (1) A ready answer is sent only while the table's entry is of the generation that it was asked for, and before its
 * nextUpdate (I8).
 * - (2) An answer that comes back of another generation is thrown away and asked for again.
 * - (3) What the table does not know, or what has expired, is unauthorized, unsigned, without asking anybody (I9).
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/status/cache.h"
#include "issuer/status/issuers.h"
#include "issuer/status/ocsp_get.h"
#include "issuer/status/publish.h"
#include "issuer/status/questions.h"
#include "issuer/status/status.h"

#define MAX_AGE_S 30 /* for HTTP caches: delegation.md R5 counts with it */
#define RETRY_S 5    /* an answer due for renewal is asked for again after so long */
#define HTTP_RESPONSE_MAX (OCSP_RESPONSE_MAX + 1024)
#define UNISSUED_TELL_S 60
#define OCSP_TYPE "application/ocsp-response"
#define NO_STORE "Cache-Control: no-store\r\n"
#define COME_BACK NO_STORE "Retry-After: 1\r\n"		  /* a budget is a second's */
#define DATE_AT (sizeof("HTTP/1.1 200 OK\r\nDate: ") - 1) /* as http_response() writes it */

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

static void
count(struct status_front *front, enum count which)
{
	const uint64_t n = atomic_load_explicit(&front->counts[which], memory_order_relaxed);

	atomic_store_explicit(&front->counts[which], n + 1, memory_order_relaxed);
}

struct writ_err *
status_front_new(const struct status_front_conf *conf, struct status_front **ret)
{
	struct status_front *front = calloc(1, sizeof(*front));
	struct writ_err *err;

	if (!front)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a status front");
	front->conf = *conf;
	questions_init(&front->questions, conf->ask, conf->ctx);
	front->decoded = WRIT_BUF(OCSP_GET_MAX);
	front->built = WRIT_BUF(HTTP_RESPONSE_MAX);
	err = cache_new(conf->cache_bytes_max, &front->cache);
	if (err) {
		status_front_free(front);
		return err;
	}
	*ret = front;
	return NULL;
}

void
status_front_free(struct status_front *front)
{
	if (!front)
		return;
	questions_done(&front->questions);
	cache_free(front->cache);
	writ_buf_done(&front->decoded);
	writ_buf_done(&front->built);
	issuers_done(&front->issuers);
	free(front);
}

struct writ_err *
status_front_issuers(struct status_front *front, const struct ocsp_issuer *issuers, size_t n)
{
	return issuers_set(&front->issuers, issuers, n);
}

void
status_front_table(struct status_front *front, const struct status_table *table)
{
	front->conf.table = table; /* (1): no generation of the old one is one of this */
}

void
status_front_counts(const struct status_front *front, struct status_front_counts *ret)
{
	uint64_t *const to[N_COUNTS] = {
		[HITS] = &ret->hits,
		[MISSES] = &ret->misses,
		[NONCES] = &ret->nonces,
		[NONCES_OVER] = &ret->nonces_over,
		[UNAUTHORIZED] = &ret->unauthorized,
		[MALFORMED] = &ret->malformed,
		[TRY_LATER] = &ret->try_later,
		[DOCUMENTS] = &ret->documents,
		[NOT_MODIFIED] = &ret->not_modified,
	};

	for (size_t i = 0; i < N_COUNTS; i++)
		*to[i] += atomic_load_explicit(&front->counts[i], memory_order_relaxed);
}

/* ---- answers ---- */

static struct http_answer
unsigned_answer(enum ocsp_error error)
{
	return (struct http_answer){
		.status = 200, /* HTTP went well; the OCSP response says what did not (RFC 6960 A.2) */
		.content_type = OCSP_TYPE,
		.headers = error == OCSP_TRY_LATER ? WRIT_LIT(COME_BACK) : WRIT_LIT(NO_STORE),
		.body = ocsp_error_response(error)
	};
}

static void
answer_unsigned(struct status_front *front, struct http_request *request, enum ocsp_error error)
{
	const struct http_answer answer = unsigned_answer(error);

	count(front, error == OCSP_MALFORMED ? MALFORMED : error == OCSP_UNAUTHORIZED ? UNAUTHORIZED : TRY_LATER);
	http_answer(request, &answer);
}

static void
answer_text(struct http_request *request, unsigned status, const char *text, struct writ_bytes headers)
{
	http_answer(request, &(struct http_answer){ .status = status,
						    .content_type = "text/plain; charset=utf-8",
						    .headers = headers,
						    .body = writ_str(text) });
}

/* Is one of the field's entity tags this one?  "*" is, and so is a weak one (RFC 9110 13.1.2). */
static bool
etag_listed(struct writ_bytes field, struct writ_bytes etag)
{
	if (writ_equal(field, WRIT_LIT("*")))
		return true;
	for (;;) {
		const uint8_t *open = field.len > 0 ? memchr(field.data, '"', field.len) : NULL;
		const uint8_t *end = field.data + field.len, *close;

		if (!open)
			return false;
		close = memchr(open + 1, '"', (size_t)(end - open - 1));
		if (!close)
			return false;
		if (writ_equal((struct writ_bytes){ open + 1, (size_t)(close - open - 1) }, etag))
			return true;
		field = (struct writ_bytes){ close + 1, (size_t)(end - close - 1) };
	}
}

/* RFC 9919 6: what HTTP caches on the way may do.  Appended to `headers`; age_at is where its two digits stand. */
static size_t
caching_headers(char *headers, size_t cap, const char *etag, writ_time last_modified, writ_time expires,
		unsigned max_age_s)
{
	char modified[WRIT_HTTP_DATE_LEN + 1], until[WRIT_HTTP_DATE_LEN + 1];
	const int n =
		snprintf(headers, cap,
			 "Last-Modified: %s\r\nExpires: %s\r\nETag: \"%s\"\r\n"
			 "Cache-Control: max-age=%02u, public, no-transform, must-revalidate\r\n",
			 writ_time_http(last_modified, modified), writ_time_http(expires, until), etag, max_age_s);

	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

/* Seconds that HTTP caches may keep it: never to nextUpdate. */
static unsigned
max_age(writ_time now, writ_time next_update)
{
	const writ_time left = next_update - now - 1;

	return left < 0 ? 0 : left < MAX_AGE_S ? (unsigned)left : MAX_AGE_S;
}

/* ---- ready answers ---- */

/* Date and max-age are those of this second; the rest was written when the signer's answer came. */
static void
freshen(struct status_front *front, struct cached *ready, writ_time now)
{
	const unsigned age_s = max_age(now, ready->next_update);
	uint8_t *response = cached_response(ready);

	if (front->date_second != now) {
		writ_time_http(now, front->date);
		front->date_second = now;
	}
	memcpy(response + ready->date_at, front->date, WRIT_HTTP_DATE_LEN);
	response[ready->age_at] = (uint8_t)('0' + age_s / 10);
	response[ready->age_at + 1] = (uint8_t)('0' + age_s % 10);
	ready->dated = now;
}

static void
answer_ready(struct status_front *front, struct http_request *request, struct cached *ready)
{
	const uint8_t *response = cached_response(ready);

	count(front, HITS);
	if (ready->dated != request->now.wall)
		freshen(front, ready, request->now.wall);
	if (request->if_none_match.len > 0 && request->method != HTTP_POST &&
	    etag_listed(request->if_none_match, (struct writ_bytes){ response + ready->etag_at, 2 * SHA256_LEN })) {
		count(front, NOT_MODIFIED);
		http_answer(request,
			    &(struct http_answer){ .status = 304,
						   .headers = { response + ready->headers_at, ready->headers_len } });
		return;
	}
	http_answer_raw(request, (struct writ_bytes){ response, ready->response_len });
}

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
	answer.headers =
		(struct writ_bytes){ (uint8_t *)headers, caching_headers(headers, sizeof(headers), etag, this_update,
									 next_update, max_age(now, next_update)) };
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

/* ---- asking the signer ---- */

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

/* Asks, or joins those who have asked; the client waits.  False: nobody can be asked now. */
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
static void
refresh(struct status_front *front, const struct http_request *request, const struct ocsp_request *about,
	struct cached *ready)
{
	ready->refresh_at = request->now.wall + RETRY_S;
	if (!questions_find(&front->questions, ready->hash, about->cert_id))
		(void)question_new(front, request, about, ready->hash, ready->generation, (struct writ_bytes){ 0 });
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

/* ---- requests ---- */

/* A nonce costs a signature, and without one the answer is as true (RFC 9919 allows that). */
static bool
ask_with_nonce(struct status_front *front, struct http_request *request, const struct ocsp_request *about,
	       uint64_t hash, uint32_t generation)
{
	if (budget_take(&front->nonces, front->conf.nonces_per_s, request->now.wall) &&
	    ask_for(front, request, about, hash, generation, about->nonce))
		return true;
	count(front, NONCES_OVER);
	return false;
}

/* Somebody asks for what we never issued, or forgot long ago: worth a line, but not a line each. */
static void
tell_unissued(struct status_front *front, const struct http_request *request, struct writ_bytes serial)
{
	if (request->now.wall - front->unissued_told < UNISSUED_TELL_S && front->unissued_told <= request->now.wall)
		return;
	front->unissued_told = request->now.wall;
	event(EVENT_INFO, "status.unissued", EV_HEX("serial", serial), EV_STR("client", request->peer->address));
}

static void
answer_ocsp(struct status_front *front, struct http_request *request, struct writ_bytes der)
{
	const writ_time now = request->now.wall;
	struct ocsp_request about;
	struct status_entry entry;
	struct cached *ready;
	struct writ_err *err;
	uint64_t hash;

	err = ocsp_request_parse(der, &about);
	if (err) {
		event(EVENT_DEBUG, "status.malformed", EV_STR("client", request->peer->address), EV_ERR(err));
		writ_err_free(err);
		answer_unsigned(front, request, OCSP_MALFORMED);
		return;
	}
	if (about.serial.len != sizeof(((struct question *)0)->serial) || !issuers_have(&front->issuers, &about)) {
		answer_unsigned(front, request, OCSP_UNAUTHORIZED);
		return;
	}
	entry = status_find(front->conf.table, front->conf.reader, about.serial.data);
	if (entry.state == STATUS_UNKNOWN || entry.not_after < now) { /* (3) */
		tell_unissued(front, request, about.serial);
		answer_unsigned(front, request, OCSP_UNAUTHORIZED);
		return;
	}
	/* The serial's random bytes are random enough; the rest tells the forms of one CertID apart. */
	hash = writ_get64(about.serial.data + 8) ^ about.cert_id.len * UINT64_C(0x9e3779b97f4a7c15);
	if (about.nonce.len > 0 && ask_with_nonce(front, request, &about, hash, entry.generation))
		return;
	ready = cache_find(front->cache, hash, about.cert_id);
	if (!ready || ready->generation != entry.generation || ready->next_update <= now) { /* (1) */
		if (!ask_for(front, request, &about, hash, entry.generation, (struct writ_bytes){ 0 }))
			answer_unsigned(front, request, OCSP_TRY_LATER);
		return;
	}
	if (now >= ready->refresh_at)
		refresh(front, request, &about, ready);
	answer_ready(front, request, ready);
}

/* "application/ocsp-request", in any case and with any parameter. */
static bool
is_ocsp_type(struct writ_bytes type)
{
	static const char wanted[] = "application/ocsp-request";
	const size_t len = sizeof(wanted) - 1;

	if (writ_equal(type, (struct writ_bytes){ (const uint8_t *)wanted, len }))
		return true;
	if (type.len < len || strncasecmp((const char *)type.data, wanted, len) != 0)
		return false;
	return type.len == len || type.data[len] == ';' || type.data[len] == ' ';
}

/* `rest` is what follows "/ocsp": nothing, or a slash and perhaps a request. */
static void
serve_ocsp(struct status_front *front, struct http_request *request, struct writ_bytes rest)
{
	struct writ_err *err;

	if (request->method == HTTP_POST && rest.len <= 1) {
		if (!is_ocsp_type(request->content_type)) {
			answer_text(request, 415, "the body must be application/ocsp-request\n",
				    (struct writ_bytes){ 0 });
			return;
		}
		if (request->body.len > OCSP_REQUEST_MAX) {
			answer_unsigned(front, request, OCSP_MALFORMED);
			return;
		}
		answer_ocsp(front, request, request->body);
		return;
	}
	if ((request->method != HTTP_GET && request->method != HTTP_HEAD) || rest.len <= 1) {
		answer_text(request, 405, "OCSP: POST the request, or GET /ocsp/ with the request in base64\n",
			    WRIT_LIT("Allow: GET, HEAD, POST\r\n"));
		return;
	}
	if (request->has_query) {
		answer_unsigned(front, request, OCSP_MALFORMED);
		return;
	}
	front->decoded.len = 0;
	err = ocsp_get_decode((struct writ_bytes){ rest.data + 1, rest.len - 1 }, &front->decoded);
	if (err) {
		event(EVENT_DEBUG, "status.malformed", EV_STR("client", request->peer->address), EV_ERR(err));
		writ_err_free(err);
		answer_unsigned(front, request, OCSP_MALFORMED);
		return;
	}
	answer_ocsp(front, request, writ_view(&front->decoded));
}

/* Takes `doc`. */
static void
serve_document(struct status_front *front, struct http_request *request, struct document *doc)
{
	char headers[512];
	struct http_answer answer = { .status = 200,
				      .content_type = doc->content_type,
				      .body = { doc->bytes, doc->len } };
	const writ_time left_s = doc->expires - request->now.wall - 1;
	const unsigned age_s = left_s < 0 ? 0 : left_s < doc->max_age_s ? (unsigned)left_s : doc->max_age_s;

	if (request->method != HTTP_GET && request->method != HTTP_HEAD) {
		answer_text(request, 405, "this document can only be read\n", WRIT_LIT("Allow: GET, HEAD\r\n"));
		document_release(doc);
		return;
	}
	answer.headers =
		(struct writ_bytes){ (uint8_t *)headers, caching_headers(headers, sizeof(headers), doc->etag,
									 doc->last_modified, doc->expires, age_s) };
	if (request->if_none_match.len > 0 && etag_listed(request->if_none_match, writ_str(doc->etag))) {
		count(front, NOT_MODIFIED);
		answer.status = 304;
		http_answer(request, &answer);
		document_release(doc);
		return;
	}
	count(front, DOCUMENTS);
	http_answer_lent(request, &answer, document_release, doc);
}

void
status_front_request(struct http_request *request, void *ctx)
{
	static const char ocsp[] = "/ocsp";
	const size_t ocsp_len = sizeof(ocsp) - 1;
	struct status_front *front = ctx;
	struct document *doc;

	if (request->path.len >= ocsp_len && memcmp(request->path.data, ocsp, ocsp_len) == 0 &&
	    (request->path.len == ocsp_len || request->path.data[ocsp_len] == '/')) {
		serve_ocsp(front, request,
			   (struct writ_bytes){ request->path.data + ocsp_len, request->path.len - ocsp_len });
		return;
	}
	doc = front->conf.publish ? publish_hold(front->conf.publish, request->path) : NULL;
	if (doc) {
		serve_document(front, request, doc);
		return;
	}
	if (front->conf.other && front->conf.other(front->conf.ctx, request))
		return;
	answer_text(request, 404, "nothing is published here\n", (struct writ_bytes){ 0 });
}
