/*
 * The listener: OCSP while our knowledge is fresh, documents always, /healthz and /metrics.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/event.h"
#include "issuer/responder/responder.h"

#define METRICS_MAX ((size_t)32 * 1024)
#define HEALTH_MAX ((size_t)4096)

/* How old what we know is; -1: nothing is known yet. */
static int64_t
lag_ms(struct responder *r, int64_t now_ms)
{
	const int64_t fresh_ms = atomic_load(&r->fresh_ms);

	return fresh_ms == 0 ? -1 : now_ms - fresh_ms;
}

static uint64_t
get(struct responder *r, enum responder_count which)
{
	return atomic_load_explicit(&r->counts[which], memory_order_relaxed);
}

/* ---- /healthz ---- */

static void
why_not(struct responder *r, int64_t now_ms, char out[300])
{
	char last[200];

	pthread_mutex_lock(&r->why_lock);
	memcpy(last, r->why, sizeof(last));
	pthread_mutex_unlock(&r->why_lock);
	if (!atomic_load(&r->ready))
		snprintf(out, 300, "starting: the issuer's table has not been read yet%s%s", last[0] ? ": " : "", last);
	else
		snprintf(out, 300, "what is known of the issuer is %" PRId64 " ms old, over %u s%s%s",
			 lag_ms(r, now_ms), (unsigned)r->conf.lag_max_s, last[0] ? ": " : "", last);
}

WRIT_CHECKED static struct writ_err *
health_write(struct responder *r, int64_t now_ms, bool fresh, struct writ_buf *ret)
{
	struct writ_err *err;
	char why[300];

	err = writ_buf_printf(ret, "{\"status\":\"%s\"", fresh ? "ok" : "unavailable");
	if (!err && !fresh) {
		why_not(r, now_ms, why);
		err = writ_buf_printf(ret, ",\"reason\":");
		if (!err)
			err = writ_json_string(writ_str(why), ret);
	}
	if (err)
		return err;
	return writ_buf_printf(ret,
			       ",\"role\":\"responder\",\"lag_ms\":%" PRId64 ",\"lag_max_s\":%u,\"sequence\":%" PRIu64
			       ",\"live_good\":%" PRIu64 ",\"live_revoked\":%" PRIu64 "}",
			       lag_ms(r, now_ms), (unsigned)r->conf.lag_max_s, (uint64_t)atomic_load(&r->sequence),
			       (uint64_t)atomic_load(&r->good), (uint64_t)atomic_load(&r->revoked));
}

static void
healthz(struct responder *r, struct http_request *request)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(HEALTH_MAX);
	const bool fresh = responder_fresh(r, request->now.mono_ms);
	struct writ_err *err = health_write(r, request->now.mono_ms, fresh, &body);

	http_answer_health(request, !err && fresh, writ_view(&body));
	writ_err_free(err);
}

/* ---- /metrics ---- */

struct sums {
	struct loop_counts loops;
	struct status_front_counts fronts;
};

static void
sums_of(const struct responder *r, struct sums *s)
{
	for (unsigned i = 0; i < r->n_loops; i++) {
		loop_counts(r->loops[i].loop, &s->loops);
		status_front_counts(r->loops[i].front, &s->fronts);
	}
}

/* Of milliseconds. */
WRIT_CHECKED static struct writ_err *
seconds_write(struct writ_buf *ret, const char *name, int64_t ms)
{
	const bool negative = ms < 0;
	const uint64_t n = (uint64_t)(negative ? -ms : ms);

	return writ_buf_printf(ret, "# TYPE %s gauge\n%s %s%" PRIu64 ".%03u\n", name, name, negative ? "-" : "",
			       n / 1000, (unsigned)(n % 1000));
}

WRIT_CHECKED static struct writ_err *
metrics_write(struct responder *r, int64_t now_ms, struct writ_buf *ret)
{
	struct sums s = { 0 };

	sums_of(r, &s);
	const struct {
		const char *name, *type;
		uint64_t value;
	} lines[] = {
		{ "writ_responder_fresh", "gauge", responder_fresh(r, now_ms) },
		{ "writ_responder_sequence", "gauge", atomic_load(&r->sequence) },
		{ "writ_responder_changes_total", "counter", get(r, COUNT_CHANGES) },
		{ "writ_responder_epochs_total", "counter", get(r, COUNT_EPOCHS) },
		{ "writ_responder_resyncs_total", "counter", get(r, COUNT_RESYNCS) },
		{ "writ_responder_feed_failures_total", "counter", get(r, COUNT_FEED_FAILED) },
		{ "writ_responder_asked_total", "counter", get(r, COUNT_ASKED) },
		{ "writ_responder_ask_failures_total", "counter", get(r, COUNT_ASK_FAILED) },
		{ "writ_responder_asking", "gauge", atomic_load(&r->n_asks) },
		{ "writ_responder_documents_total", "counter", get(r, COUNT_DOCUMENTS) },
		{ "writ_responder_document_failures_total", "counter", get(r, COUNT_DOCUMENTS_FAILED) },
		{ "writ_status_good", "gauge", atomic_load(&r->good) },
		{ "writ_status_revoked", "gauge", atomic_load(&r->revoked) },
		{ "writ_status_bytes", "gauge", atomic_load(&r->bytes) },
		{ "writ_ocsp_hits_total", "counter", s.fronts.hits },
		{ "writ_ocsp_misses_total", "counter", s.fronts.misses },
		{ "writ_ocsp_unauthorized_total", "counter", s.fronts.unauthorized },
		{ "writ_ocsp_malformed_total", "counter", s.fronts.malformed },
		{ "writ_ocsp_try_later_total", "counter", s.fronts.try_later + get(r, COUNT_STALE) },
		{ "writ_documents_total", "counter", s.fronts.documents },
		{ "writ_http_connections_total", "counter", s.loops.connections },
		{ "writ_http_connections", "gauge", s.loops.connections_open },
		{ "writ_http_requests_total", "counter", s.loops.requests },
		{ "writ_http_refused_parse_total", "counter", s.loops.refused_parse },
		{ "writ_http_refused_limit_total", "counter", s.loops.refused_limit },
		{ "writ_http_timeouts_total", "counter", s.loops.timeouts },
		{ "writ_events_dropped_total", "counter", event_dropped() },
	};
	struct writ_err *err = seconds_write(ret, "writ_responder_clock_offset_seconds", atomic_load(&r->offset_ms));

	if (!err && lag_ms(r, now_ms) >= 0)
		err = seconds_write(ret, "writ_responder_lag_seconds", lag_ms(r, now_ms));
	for (size_t i = 0; i < N_OF(lines) && !err; i++)
		err = writ_buf_printf(ret, "# TYPE %s %s\n%s %" PRIu64 "\n", lines[i].name, lines[i].type,
				      lines[i].name, lines[i].value);
	return err;
}

static void
metrics(struct responder *r, struct http_request *request)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(METRICS_MAX);
	struct http_answer answer = { .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8" };
	struct writ_err *err = metrics_write(r, request->now.mono_ms, &body);

	if (err)
		answer.status = 503;
	answer.body = writ_view(&body);
	http_answer(request, &answer);
	writ_err_free(err);
}

/* ---- OCSP ---- */

/* The front's paths of OCSP: "/ocsp", and "/ocsp/" with a request. */
static bool
is_ocsp(struct writ_bytes path)
{
	return path.len >= 5 && memcmp(path.data, "/ocsp", 5) == 0 && (path.len == 5 || path.data[5] == '/');
}

void
plain_request(struct http_request *request, void *loop)
{
	const bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
	struct responder_loop *on = loop;
	struct responder *r = on->responder;

	if (reads && writ_equal(request->path, WRIT_LIT("/healthz"))) {
		healthz(r, request);
	} else if (reads && writ_equal(request->path, WRIT_LIT("/metrics"))) {
		metrics(r, request);
	} else if (is_ocsp(request->path) && !responder_fresh(r, request->now.mono_ms)) { /* (2) */
		responder_count(r, COUNT_STALE, 1);
		http_answer(request, &(struct http_answer){ .status = 200,
							    .content_type = "application/ocsp-response",
							    .headers = WRIT_LIT("Cache-Control: no-store\r\nRetry-After: 1\r\n"),
							    .body = ocsp_error_response(OCSP_TRY_LATER) });
	} else {
		status_front_request(request, on->front);
	}
}
