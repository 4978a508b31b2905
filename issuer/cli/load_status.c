/*
 * Whom writ load asks for status, and when again: the addresses of the issuer in turn, each further responder always,
 * and the lists every few seconds.
 *
 * (1) What must be said is known: good from a leaf's issuance on, revoked from the acknowledgement of its end on.
 * (2) A wrong answer is asked for again at once, and again, until it is right: so long was its responder behind.  One
 *     whose question was asked more than LOAD_AGREE_MS after what it should tell is a disagreement.
 * (3) No answer, 429, 503 and tryLater are not wrong: who restarts, or does not know, may say so.  They are asked
 * again.
 */
#include <stdlib.h>

#include "issuer/cli/load_calls.h"

#define WRONG_AGAIN_MS 2 /* (2) at first: how long a responder was behind is known as exactly */
#define SLOWLY_FROM_MS 100
#define WRONG_SLOWLY_MS 20
#define AWAY_AGAIN_MS 100 /* (3) */
#define LAST_SECONDS_S 2  /* of a leaf's life, in which it has nothing to say any more */

static struct load_words *
words_of(struct load *l, const struct load_question *q)
{
	return q->responder < 0 ? &l->watch.own : &l->watch.others[q->responder];
}

static const char *
address_of(struct load *l, const struct load_question *q)
{
	return q->responder < 0 ? l->plan->status[l->turn++ % l->plan->n_status] : l->plan->responders[q->responder];
}

/* Takes the question. */
WRIT_CHECKED static struct writ_err *
question_send(struct load *l, struct load_question *q)
{
	const struct load_serial *s = load_watch_find(&l->watch, q->serial);
	struct load_call *call;
	struct writ_err *err;

	if (!s) { /* expired while it waited */
		free(q);
		return NULL;
	}
	err = load_call_new(l, q->responder < 0 ? LOAD_OCSP : LOAD_RESPONDER, NULL, &call);
	if (err) {
		free(q);
		return err;
	}
	call->question = q;
	err = ocsp_request_build(&l->watch.cas[s->ca].ocsp, true, (struct writ_bytes){ s->serial, sizeof(s->serial) },
				 (struct writ_bytes){ NULL, 0 }, &call->body);
	return err ? err : load_call_send(l, call, address_of(l, q), "/ocsp", "application/ocsp-request");
}

WRIT_CHECKED static struct writ_err *
question_new(struct load *l, const uint8_t serial[16], int responder, bool want_good)
{
	struct load_question *q = calloc(1, sizeof(*q));

	if (!q)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a question");
	memcpy(q->serial, serial, sizeof(q->serial));
	q->responder = responder;
	q->want_good = want_good;
	q->since_ms = l->now_ms;
	return question_send(l, q);
}

struct writ_err *
load_status_ask(struct load *l, const uint8_t serial[16], bool want_good)
{
	struct writ_err *err = l->plan->n_status > 0 ? question_new(l, serial, -1, want_good) : NULL;

	for (size_t i = 0; !err && i < l->plan->n_responders; i++)
		err = question_new(l, serial, (int)i, want_good);
	return err;
}

/* The call's question waits. */
static void
question_again(struct load *l, struct load_call *call, int64_t in_ms)
{
	struct load_question *q = call->question;

	call->question = NULL;
	q->wake_ms = l->now_ms + in_ms;
	q->next = l->questions;
	l->questions = q;
}

WRIT_CHECKED static struct writ_err *
ask_lists(struct load *l)
{
	const writ_time now = clock_read().wall;

	for (size_t i = 0; i < l->watch.n_cas && l->plan->n_status > 0; i++) {
		struct load_ca *ca = &l->watch.cas[i];
		struct load_call *call;
		struct writ_err *err;

		if (ca->next_list_ms > l->now_ms || ca->last_not_after <= now || ca->crl_path[0] == '\0')
			continue;
		ca->next_list_ms = l->now_ms + LOAD_LIST_EVERY_MS;
		err = load_call_new(l, LOAD_CRL, NULL, &call);
		if (err)
			return err;
		call->ca = (uint32_t)i;
		err = load_call_send(l, call, l->plan->status[l->turn++ % l->plan->n_status], ca->crl_path, NULL);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
load_status_turn(struct load *l)
{
	struct load_question *waiting = l->questions, *q;
	struct writ_err *err = NULL;

	l->questions = NULL;
	while ((q = waiting)) {
		waiting = q->next;
		if (err || q->wake_ms > l->now_ms) {
			q->next = l->questions;
			l->questions = q;
		} else {
			err = question_send(l, q);
		}
	}
	return err ? err : ask_lists(l);
}

int
load_status_wait_ms(const struct load *l, int max)
{
	int64_t wait_ms = max;

	for (const struct load_question *q = l->questions; q; q = q->next)
		if (q->wake_ms - l->now_ms < wait_ms)
			wait_ms = q->wake_ms > l->now_ms ? q->wake_ms - l->now_ms : 0;
	return (int)wait_ms;
}

/* ---- answers ---- */

static void
took_ocsp(struct load *l, struct load_call *call)
{
	struct load_question *q = call->question;
	struct load_words *by = words_of(l, q);
	const struct load_serial *s = load_watch_find(&l->watch, q->serial);
	const int64_t after_ms = call->asked_ms - q->since_ms;
	const writ_time now = clock_read().wall;
	const bool unknown = writ_equal(writ_view(&call->answer), ocsp_error_response(OCSP_UNAUTHORIZED));
	bool good = false, believed;

	/* An end that came meanwhile changes what is right. */
	if (!s || s->not_after <= now + LAST_SECONDS_S || (q->want_good && s->state != LOAD_LIVE))
		return;
	believed = load_watch_ocsp(&l->watch, s, writ_view(&call->answer), now, &good);
	by->compared++;
	if (believed && good == q->want_good) {
		if (!q->want_good)
			load_latency_add(&by->until_seen, (l->now_ms - q->since_ms) * 1000);
		return;
	}
	/* "revoked" may be right a moment before its acknowledgement is here; "good" after it never is (I8). */
	by->stale += q->wrong++ == (q->want_good ? 1 : 0);
	if (after_ms > LOAD_AGREE_MS) /* (2) */
		load_watch_disagrees(&l->watch, by, q->serial,
				     q->responder < 0 ? "the issuer's OCSP" : l->plan->responders[q->responder],
				     unknown	 ? "unauthorized"
				     : !believed ? "nothing to believe"
				     : good	 ? "good"
						 : "revoked",
				     after_ms);
	else
		question_again(l, call, after_ms < SLOWLY_FROM_MS ? WRONG_AGAIN_MS : WRONG_SLOWLY_MS);
}

static bool
try_later(const struct load_call *call, long status)
{
	return status == 429 || status == 503 ||
	       writ_equal(writ_view(&call->answer), ocsp_error_response(OCSP_TRY_LATER));
}

struct writ_err *
load_status_took(struct load *l, struct load_call *call, CURLcode result, long status)
{
	struct load_count *count = &l->counts[call->what];
	const bool later = result == CURLE_OK && try_later(call, status);

	if (result != CURLE_OK || later || (status != 200 && call->what == LOAD_CRL)) { /* (3) */
		count->later += later;
		count->failed += !later;
		if (call->question)
			question_again(l, call, AWAY_AGAIN_MS);
		return NULL;
	}
	load_latency_add(&count->took, load_now_us() - call->began_us);
	if (call->question)
		took_ocsp(l, call);
	else
		load_watch_list(&l->watch, call->ca, writ_view(&call->answer), call->asked_ms, clock_read().wall);
	return NULL;
}

void
load_status_done(struct load *l)
{
	struct load_question *q;

	while ((q = l->questions)) {
		l->questions = q->next;
		free(q);
	}
}
