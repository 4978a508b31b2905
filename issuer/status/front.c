/*
 * The plain-HTTP front: /ocsp, what is published, and whatever the program adds.
 *
 * One OCSP request: parse in place; is it about an issuer of ours; what does the table say of the serial; is a signed
 * answer ready that still holds?  Then it is sent from there.  Otherwise front_ask.c asks the signer.
 *
 * Its numbered promises are in front_inside.h.  Knows no key, and nothing of how an answer is signed.
 */
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/status/caching.h"
#include "issuer/status/front_inside.h"
#include "issuer/status/ocsp_get.h"
#include "issuer/status/publish.h"

#define HTTP_RESPONSE_MAX (OCSP_RESPONSE_MAX + 1024)
#define UNISSUED_TELL_S 60

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

/* ---- ready answers ---- */

/* Date and max-age are those of this second; the rest was written when the signer's answer came. */
static void
freshen(struct status_front *front, struct cached *ready, writ_time now)
{
	const unsigned age_s = caching_max_age(now, ready->next_update, MAX_AGE_S);
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
	    caching_etag_listed(request->if_none_match,
				(struct writ_bytes){ response + ready->etag_at, 2 * SHA256_LEN })) {
		count(front, NOT_MODIFIED);
		http_answer(request,
			    &(struct http_answer){ .status = 304,
						   .headers = { response + ready->headers_at, ready->headers_len } });
		return;
	}
	http_answer_raw(request, (struct writ_bytes){ response, ready->response_len });
}

/* ---- requests ---- */

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
	if (about.nonce.len > 0 && front_ask_nonce(front, request, &about, hash, entry.generation))
		return;
	ready = cache_find(front->cache, hash, about.cert_id);
	if (!ready || ready->generation != entry.generation || ready->next_update <= now) { /* (1) */
		if (!front_ask(front, request, &about, hash, entry.generation))
			answer_unsigned(front, request, OCSP_TRY_LATER);
		return;
	}
	if (now >= ready->refresh_at)
		front_refresh(front, request, &about, ready);
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
	const unsigned age_s = caching_max_age(request->now.wall, doc->expires, doc->max_age_s);

	if (request->method != HTTP_GET && request->method != HTTP_HEAD) {
		answer_text(request, 405, "this document can only be read\n", WRIT_LIT("Allow: GET, HEAD\r\n"));
		document_release(doc);
		return;
	}
	answer.headers =
		(struct writ_bytes){ (uint8_t *)headers, caching_headers(headers, sizeof(headers), doc->etag,
									 doc->last_modified, doc->expires, age_s) };
	if (request->if_none_match.len > 0 && caching_etag_listed(request->if_none_match, writ_str(doc->etag))) {
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
