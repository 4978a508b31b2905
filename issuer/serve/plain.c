/*
 * The plain listener: /healthz and /metrics here, OCSP, CRLs and CA certificates by the front.
 *
 * Until recovery has run once nothing but health is served: the status table is not whole before.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "issuer/serve/answer.h"
#include "issuer/serve/serve.h"
#include "issuer/serve/shares.h"

#define METRICS_MAX (256 * 1024)

static void
answer_problem(struct http_request *request, unsigned status, const char *detail)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(4096);
	struct problem problem = { .status = status, .code = "UNAVAILABLE" };
	struct http_answer answer = { .status = status,
				      .content_type = "application/problem+json",
				      .headers = WRIT_LIT("Retry-After: 1\r\n") };
	struct writ_err *err;

	snprintf(problem.detail, sizeof(problem.detail), "%s", detail);
	err = problem_write(&problem, &body);
	writ_err_free(err);
	answer.body = writ_view(&body);
	http_answer(request, &answer);
}

/* ---- /healthz ---- */

struct condition {
	struct signer_seen seen;
	bool store_failed, clock_wrong;
	char store_why[200];
	struct status_counts status;
	writ_time now;
};

static void
condition_of(struct serve_loop *on, struct clock now, struct condition *ret)
{
	struct serve *serve = on->serve;
	struct writ_err *clock;

	pthread_mutex_lock(&serve->seen_lock);
	ret->seen = serve->seen;
	ret->store_failed = serve->store_failed;
	memcpy(ret->store_why, serve->store_why, sizeof(ret->store_why));
	pthread_mutex_unlock(&serve->seen_lock);
	clock = serve_clock_check(on, now);
	ret->clock_wrong = clock != NULL;
	writ_err_free(clock);
	status_counts(serve->status, &ret->status);
	ret->now = now.wall;
}

static const char *
why_not(const struct condition *c)
{
	if (!c->seen.up)
		return c->seen.why[0] ? c->seen.why : "starting";
	if (c->clock_wrong)
		return "the clock has stepped: nothing is issued until it is right";
	if (c->store_failed)
		return c->store_why;
	if (!c->seen.health.can_issue)
		return c->seen.health.why[0] ? c->seen.health.why : "the signer cannot issue";
	return NULL;
}

/* Issuing goes on, and an operator should look. */
static bool
is_degraded(const struct condition *c)
{
	return c->seen.up && c->seen.health.device != SIGNER_DEVICE_UP;
}

/* While the signer is away nobody knows of the device. */
static const char *
device_name(const struct condition *c)
{
	return c->seen.up ? signer_device_name(c->seen.health.device) : "unknown";
}

WRIT_CHECKED static struct writ_err *
device_metrics(const struct condition *c, struct writ_buf *ret)
{
	static const enum signer_device states[] = { SIGNER_DEVICE_UP, SIGNER_DEVICE_DEGRADED, SIGNER_DEVICE_DOWN,
						     SIGNER_DEVICE_LOCKED };
	const struct signer_health *h = &c->seen.health;
	struct writ_err *err;

	err = writ_buf_printf(ret, "# TYPE writ_device_state gauge\n");
	for (size_t i = 0; i < N_OF(states) && !err; i++)
		err = writ_buf_printf(ret, "writ_device_state{state=\"%s\"} %d\n", signer_device_name(states[i]),
				      c->seen.up && h->device == states[i]);
	if (!err)
		err = writ_buf_printf(ret,
				      "# TYPE writ_device_latency_seconds gauge\nwrit_device_latency_seconds %llu.%06llu\n",
				      (unsigned long long)(h->device_latency_us / 1000000),
				      (unsigned long long)(h->device_latency_us % 1000000));
	if (!err)
		err = metrics_line(ret, "writ_device_failures_total", "counter", h->device_failed);
	if (!err)
		err = metrics_line(ret, "writ_device_keys_quarantined", "gauge", h->keys_quarantined);
	return err;
}

/* What `writ status` tells: flat, so that anything can show it. */
WRIT_CHECKED static struct writ_err *
health_write(const struct condition *c, struct writ_buf *ret)
{
	const char *why = why_not(c);
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "status",
		 why		  ? WRIT_LIT("unavailable")
		 : is_degraded(c) ? WRIT_LIT("degraded")
				  : WRIT_LIT("ok"));
	if (why)
		out_text(&out, "reason", writ_str(why));
	if (c->seen.log_next > 0) {
		out_text(&out, "tier", c->seen.sealed ? WRIT_LIT("sealed") : WRIT_LIT("resident"));
		out_text(&out, "leaves_assert", writ_str(leaf_tier_name(c->seen.tier)));
		out_open(&out, "issuing_keys", '[');
		for (size_t i = 0; i < c->seen.n_keys; i++)
			out_hex(&out, NULL, (struct writ_bytes){ c->seen.keys[i], 20 });
		out_close(&out, ']');
		out_time(&out, "issuing_ends", c->seen.health.issuing_until);
	}
	out_bool(&out, "signer", c->seen.up);
	out_text(&out, "device", writ_str(device_name(c)));
	if (c->seen.up) {
		out_time(&out, "device_since", c->seen.health.device_since);
		if (c->seen.health.device_why[0])
			out_text(&out, "device_why", writ_str(c->seen.health.device_why));
		if (c->seen.health.device_last_error[0])
			out_text(&out, "device_last_error", writ_str(c->seen.health.device_last_error));
		out_int(&out, "device_latency_us", (int64_t)c->seen.health.device_latency_us);
		out_int(&out, "device_failures", (int64_t)c->seen.health.device_failed);
		out_int(&out, "device_keys_quarantined", (int64_t)c->seen.health.keys_quarantined);
	}
	out_int(&out, "live_good", (int64_t)c->status.good);
	out_int(&out, "live_revoked", (int64_t)c->status.revoked);
	out_int(&out, "log_entries", (int64_t)c->seen.health.entries);
	out_int(&out, "log_owed", (int64_t)c->seen.health.owed);
	/* delegation.md R5: how long a revoked leaf can still work at a relying party that checks nothing, and at one
	 * that checks. */
	out_int(&out, "exposure_unchecked_s", LIFETIME_MAX_S);
	out_int(&out, "exposure_crl_s", 180);
	out_int(&out, "exposure_ocsp_s", 120);
	out_close(&out, '}');
	return out_done(&out);
}

static void
healthz(struct serve_loop *on, struct http_request *request)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(16 * 1024);
	struct condition c = { 0 };
	struct writ_err *err;

	condition_of(on, request->now, &c);
	err = health_write(&c, &body);
	http_answer_health(request, !err && !why_not(&c), writ_view(&body));
	writ_err_free(err);
}

/* ---- /metrics ---- */

struct sums {
	struct loop_counts loops;
	struct status_front_counts fronts;
};

static void
sums_of(struct serve *serve, struct sums *s)
{
	for (unsigned i = 0; i < serve->n_loops; i++) {
		loop_counts(serve->loops[i].loop, &s->loops);
		status_front_counts(serve->loops[i].front, &s->fronts);
	}
}

/* Left out while the store cannot be read: the other numbers say that it is so. */
WRIT_CHECKED static struct writ_err *
pending_write(struct serve_loop *on, writ_time now, struct writ_buf *ret)
{
	uint64_t n = 0;
	struct writ_err *err = store_pendings_count(on->store, now, &n);

	if (!err)
		return metrics_line(ret, "writ_tasks_pending", "gauge", n);
	writ_err_free(err);
	return NULL;
}

/* The device, as the signer told of it last. */
WRIT_CHECKED static struct writ_err *
device_write(const struct signer_health *health, struct writ_buf *ret)
{
	struct writ_err *err;

	err = metrics_histogram(ret, "writ_device_queue_seconds", signer_bounds_ms, SIGNER_BOUNDS, health->device_waited.n,
				health->device_waited.sum_ms);
	if (!err)
		err = metrics_histogram(ret, "writ_device_signature_seconds", signer_bounds_ms, SIGNER_BOUNDS,
					health->device_signed.n, health->device_signed.sum_ms);
	if (!err)
		err = writ_buf_printf(ret, "# TYPE writ_device_refused_total counter\n");
	for (size_t i = 0; i < DEVICE_REFUSALS && !err; i++)
		err = writ_buf_printf(ret, "writ_device_refused_total{reason=\"%s\"} %" PRIu64 "\n",
				      device_refusal_name((enum device_refusal)i), health->device_refused[i]);
	return err;
}

WRIT_CHECKED static struct writ_err *
levels_write(struct serve_loop *on, const struct condition *c, struct writ_buf *ret)
{
	struct sums s = { 0 };

	sums_of(on->serve, &s);
	const struct {
		const char *name, *type;
		uint64_t value;
	} lines[] = {
		{ "writ_http_connections_total", "counter", s.loops.connections },
		{ "writ_http_connections", "gauge", s.loops.connections_open },
		{ "writ_http_requests_total", "counter", s.loops.requests },
		{ "writ_http_answers_2xx_total", "counter", s.loops.answers_2xx },
		{ "writ_http_answers_4xx_total", "counter", s.loops.answers_4xx },
		{ "writ_http_answers_5xx_total", "counter", s.loops.answers_5xx },
		{ "writ_http_refused_parse_total", "counter", s.loops.refused_parse },
		{ "writ_http_refused_limit_total", "counter", s.loops.refused_limit },
		{ "writ_http_timeouts_total", "counter", s.loops.timeouts },
		{ "writ_tls_handshakes_total", "counter", s.loops.handshakes },
		{ "writ_tls_handshakes_failed_total", "counter", s.loops.handshakes_failed },
		{ "writ_ocsp_hits_total", "counter", s.fronts.hits },
		{ "writ_ocsp_misses_total", "counter", s.fronts.misses },
		{ "writ_ocsp_nonces_total", "counter", s.fronts.nonces },
		{ "writ_ocsp_nonces_over_budget_total", "counter", s.fronts.nonces_over },
		{ "writ_ocsp_unauthorized_total", "counter", s.fronts.unauthorized },
		{ "writ_ocsp_malformed_total", "counter", s.fronts.malformed },
		{ "writ_ocsp_try_later_total", "counter", s.fronts.try_later },
		{ "writ_documents_total", "counter", s.fronts.documents },
		{ "writ_status_good", "gauge", c->status.good },
		{ "writ_status_revoked", "gauge", c->status.revoked },
		{ "writ_status_bytes", "gauge", c->status.bytes },
		{ "writ_signer_up", "gauge", c->seen.up },
		{ "writ_signer_can_issue", "gauge", c->seen.up && c->seen.health.can_issue },
		{ "writ_device_up", "gauge", c->seen.up && c->seen.health.device_up },
		{ "writ_device_queue", "gauge", c->seen.health.device_queue },
		{ "writ_log_entries", "gauge", c->seen.health.entries },
		{ "writ_log_owed", "gauge", c->seen.health.owed },
		{ "writ_store_ok", "gauge", !c->store_failed },
		{ "writ_clock_ok", "gauge", !c->clock_wrong },
		{ "writ_events_dropped_total", "counter", event_dropped() },
	};
	struct writ_err *err = pending_write(on, c->now, ret);

	for (size_t i = 0; i < N_OF(lines) && !err; i++)
		err = metrics_line(ret, lines[i].name, lines[i].type, lines[i].value);
	return err ? err : device_metrics(c, ret);
}

static void
metrics(struct serve_loop *on, struct http_request *request)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(METRICS_MAX);
	struct http_answer answer = { .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8" };
	struct condition c = { 0 };
	struct writ_err *err;

	condition_of(on, request->now, &c);
	err = metrics_write(&on->serve->metrics, &body);
	if (!err)
		err = levels_write(on, &c, &body);
	if (!err)
		err = shares_write(on->serve, request->now.mono_ms, &body);
	if (!err)
		err = device_write(&c.seen.health, &body);
	if (err) {
		writ_err_free(err);
		answer_problem(request, 503, "no memory for the metrics");
		return;
	}
	answer.body = writ_view(&body);
	http_answer(request, &answer);
}

void
serve_plain(struct http_request *request, void *loop)
{
	const bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
	struct serve_loop *on = loop;

	if (reads && writ_equal(request->path, WRIT_LIT("/healthz")))
		healthz(on, request);
	else if (reads && writ_equal(request->path, WRIT_LIT("/metrics")))
		metrics(on, request);
	else if (!on->rules)
		answer_problem(request, 503, "starting: the signer has not been reached yet");
	else
		status_front_request(request, on->front);
}
