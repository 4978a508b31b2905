/*
 * Answers that no loop has ready: asked of the issuer, without a nonce, and verified before they are passed on.
 *
 * The front sees to it that one question a CertID is on its way, however many wait.  What comes back must be signed by
 * a responder that the issuing CA certified, about exactly the CertID asked, and current: (1) of responder.h; whether
 * the table says good too is the front's to look at.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"
#include "issuer/responder/responder.h"

#define ASK_MS 3000L
#define REQUEST_MAX 512 /* bytes; a CertID of SHA-256 hashes takes 110 */
#define ANSWER_MAX ((size_t)OCSP_RESPONSE_MAX)
#define WARN_APART_MS 10000

struct ask {
	struct ask *next;
	struct responder_loop *on;
	void *token;
	struct writ_buf request;
	/* what came of it */
	struct writ_err *err;
	struct writ_buf response;
	struct ocsp_answer answer;
};

static void
ask_free(struct ask *ask)
{
	writ_buf_done(&ask->request);
	writ_buf_done(&ask->response);
	writ_err_free(ask->err);
	atomic_fetch_sub(&ask->on->responder->n_asks, 1);
	free(ask);
}

bool
ask_take(void *loop, struct writ_bytes cert_id, struct writ_bytes nonce, void *token)
{
	struct responder_loop *on = loop;
	struct responder *r = on->responder;
	struct ask *ask;
	struct writ_err *err;
	bool first;

	(void)nonce; /* none is asked for: the front's budget is 0 */
	if (atomic_load(&r->n_asks) >= RESPONDER_ASKS_MAX)
		return false;
	ask = calloc(1, sizeof(*ask));
	if (!ask)
		return false;
	*ask = (struct ask){
		.on = on, .token = token, .request = WRIT_BUF(REQUEST_MAX), .response = WRIT_BUF(ANSWER_MAX)
	};
	atomic_fetch_add(&r->n_asks, 1);
	err = ocsp_request_about(cert_id, &ask->request);
	if (err) {
		writ_err_free(err);
		ask_free(ask);
		return false;
	}
	pthread_mutex_lock(&r->asks_lock);
	first = !r->asks;
	*r->asks_end = ask;
	r->asks_end = &ask->next;
	pthread_mutex_unlock(&r->asks_lock);
	if (first) /* who found others there was preceded by one who wakes */
		web_wake(&r->web);
	return true;
}

/* Back on the loop.  What was asked for while our knowledge was fresh may come when it is no more. */
static void
ask_back(void *arg)
{
	struct ask *ask = arg;
	struct responder_loop *on = ask->on;
	const bool good = !ask->err && ask->answer.status == OCSP_GOOD;

	if (!ask->err && !responder_fresh(on->responder, loop_now(on->loop).mono_ms))
		ask->err = writ_fail(WRIT_UNAVAILABLE, "what is known of the issuer is too old");
	status_front_answer(on->front, ask->token, TAKE(ask->err), good, writ_view(&ask->response),
			    ask->answer.this_update, ask->answer.next_update);
	ask_free(ask);
}

WRIT_CHECKED static struct writ_err *
believe(struct responder *r, const struct ask *ask, struct writ_bytes response, struct ocsp_answer *ret)
{
	struct ocsp_request about;
	const struct known_ca *ca;
	struct writ_err *err = ocsp_request_parse(writ_view(&ask->request), &about);

	if (err)
		return err;
	ca = documents_ca(r, &about);
	if (!ca)
		return writ_fail(WRIT_UNAVAILABLE, "its issuing CA is not known any more");
	err = ocsp_response_verify(response, &ca->ocsp, writ_view(&ca->spki), about.serial, clock_read().wall, ret);
	if (!err && !writ_equal(ret->cert_id, about.cert_id))
		err = writ_fail(WRIT_INVALID, "OCSP response: its CertID is not in the form that was asked");
	return err;
}

static void
tell_failed(struct responder *r, const struct writ_err *err)
{
	const int64_t now_ms = clock_read().mono_ms;

	responder_count(r, COUNT_ASK_FAILED, 1);
	if (r->warned_ms != 0 && now_ms - r->warned_ms < WARN_APART_MS)
		return;
	r->warned_ms = now_ms;
	event(EVENT_WARN, "responder.ask_failed", EV_STR("status", r->conf.upstream), EV_ERR(err));
}

static void
answered(struct way *way, struct writ_err *err)
{
	struct responder *r = way->ctx;
	const size_t slot = (size_t)(way - r->ask_ways);
	struct ask *ask = TAKE(r->flying[slot]);

	responder_count(r, COUNT_ASKED, 1);
	if (!err)
		err = believe(r, ask, writ_view(&way->exchange.answer), &ask->answer);
	if (!err)
		err = writ_buf_add(&ask->response, writ_view(&way->exchange.answer));
	if (err)
		tell_failed(r, err);
	ask->err = err;
	loop_post(ask->on->loop, ask_back, ask);
}

static struct ask *
ask_next(struct responder *r)
{
	struct ask *ask;

	pthread_mutex_lock(&r->asks_lock);
	ask = r->asks;
	if (ask)
		r->asks = ask->next;
	if (!r->asks)
		r->asks_end = &r->asks;
	pthread_mutex_unlock(&r->asks_lock);
	return ask;
}

void
asks_step(struct responder *r)
{
	char url[512];

	snprintf(url, sizeof(url), "%s/ocsp", r->conf.upstream);
	for (size_t i = 0; i < RESPONDER_ASKS; i++) {
		struct ask *ask = r->flying[i] ? NULL : ask_next(r);

		if (r->flying[i])
			continue;
		if (!ask)
			return;
		r->flying[i] = ask;
		ask->err = way_begin(&r->ask_ways[i], &r->web, url, writ_view(&ask->request), ASK_MS);
		if (ask->err) {
			r->flying[i] = NULL;
			loop_post(ask->on->loop, ask_back, ask);
		}
	}
}

struct writ_err *
asks_init(struct responder *r)
{
	struct writ_err *err = NULL;

	r->asks_end = &r->asks;
	pthread_mutex_init(&r->asks_lock, NULL);
	for (size_t i = 0; i < RESPONDER_ASKS && !err; i++) {
		r->ask_ways[i] = (struct way){ .done = answered, .ctx = r };
		err = way_init(&r->ask_ways[i], &r->web, false, ANSWER_MAX);
	}
	return err;
}

/* What is still waited for is the fronts', which go after us. */
void
asks_done(struct responder *r)
{
	struct ask *ask;

	for (size_t i = 0; i < RESPONDER_ASKS; i++) {
		way_done(&r->ask_ways[i], &r->web);
		if (r->flying[i])
			ask_free(r->flying[i]);
		r->flying[i] = NULL;
	}
	while (r->asks_end && (ask = ask_next(r)))
		ask_free(ask);
}
