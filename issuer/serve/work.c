/*
 * Requests on their way: see work.h.
 */
#include "issuer/serve/work.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/serve/batch.h"
#include "issuer/serve/denied.h"
#include "issuer/serve/shares.h"

#define REST_MIN_MS 200u /* then four times as long each time */
#define REST_MAX_MS 3200u

static struct work *
work_new(struct serve_loop *on)
{
	struct work *work = on->free;

	if (work) {
		on->free = work->next_free;
	} else {
		work = calloc(1, sizeof(*work));
		if (!work)
			abort(); /* as http_defer(): a loop without memory for one request is of no use */
		work->arena = WRIT_ARENA(WORK_ARENA_MAX);
		work->answer = WRIT_BUF(ANSWER_MAX);
		work->delegation = WRIT_BUF(DELEGATION_MAX);
		work->tbs = WRIT_BUF(LEAF_MAX);
		work->der = WRIT_BUF(LEAF_MAX);
		work->staple = WRIT_BUF(OCSP_RESPONSE_MAX);
		work->call.body = WRIT_BUF(FRAME_BODY_MAX);
	}
	work->next_free = NULL;
	work->on = on;
	work->later = NULL;
	work->request = NULL;
	work->batch = NULL;
	work->route = NULL;
	work->path_id = work->once = (struct writ_bytes){ 0 };
	work->rules = rules_ref(on->rules);
	work->who = NULL;
	work->proof = (struct proof){ 0 };
	work->now = loop_now(on->loop);
	work->stage_ms = work->now.mono_ms;
	work->job = (struct job){ 0 };
	work->csr = (struct csr){ 0 };
	work->renewal = work->flying = false;
	work->denied = NULL;
	work->turn = (struct turn){ 0 };
	work->root = 0;
	writ_put64(work->id, on->first_request + on->n_requests++);
	return work;
}

struct work *
work_take(struct serve_loop *on, struct http_request *request)
{
	struct work *work = work_new(on);

	work->later = http_defer(request);
	work->request = http_deferred(work->later);
	return work;
}

struct work *
work_item(struct work *parent, struct batch *batch, size_t at)
{
	struct work *work = work_new(parent->on);

	work->request = parent->request;
	work->who = parent->who;
	work->route = parent->route;
	rules_unref(work->rules);
	work->rules = rules_ref(parent->rules);
	work->batch = batch;
	work->batch_at = at;
	return work;
}

void
work_free(struct work *work)
{
	writ_arena_done(&work->arena);
	writ_buf_done(&work->answer);
	writ_buf_done(&work->delegation);
	writ_buf_done(&work->tbs);
	writ_buf_done(&work->der);
	writ_buf_done(&work->staple);
	writ_buf_done(&work->call.body);
	free(work);
}

static void
work_give_back(struct work *work)
{
	struct serve_loop *on = work->on;

	shares_left(work);
	if (work->once.len > 0)
		once_release(on->serve->once, work->once);
	proof_release(work);
	held_done(TAKE(work->held));
	rules_unref(work->rules);
	work->rules = NULL;
	issuing_unref(work->issuing);
	work->issuing = NULL;
	writ_arena_clear(&work->arena);
	writ_buf_clear(&work->answer);
	writ_buf_clear(&work->delegation);
	writ_buf_clear(&work->tbs);
	writ_buf_clear(&work->der);
	writ_buf_clear(&work->staple);
	writ_buf_clear(&work->call.body);
	work->next_free = on->free;
	on->free = work;
}

void
work_answer(struct work *work, unsigned status, struct writ_bytes body)
{
	work_answer_as(work, status, "application/json", body);
}

void
work_answer_as(struct work *work, unsigned status, const char *content_type, struct writ_bytes body)
{
	const struct http_answer answer = { .status = status, .content_type = content_type, .body = body };

	if (work->batch)
		batch_took(work, status, body, 0);
	else
		http_answer_later(work->later, &answer);
	work_give_back(work);
}

/*
 * Whoever asks again before he was told to, on the same connection, is heard later each time: a flood that heeds no refusal would otherwise cost
 * what those who do could be served with.
 */
static void
told_to_wait(struct work *work, uint32_t retry_after_s)
{
	struct http_peer *peer = work->request->peer;
	const int64_t now_ms = loop_now(work->on->loop).mono_ms;

	if (peer->told_until_ms <= now_ms) {
		peer->told_in_vain = 0;
	} else {
		const unsigned rest_ms = REST_MIN_MS << 2 * peer->told_in_vain;

		http_rest(work->request, rest_ms < REST_MAX_MS ? rest_ms : REST_MAX_MS);
		peer->told_in_vain += rest_ms < REST_MAX_MS;
	}
	peer->told_until_ms = now_ms + (int64_t)retry_after_s * 1000;
}

void
work_problem(struct work *work, const struct problem *problem)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(8192);
	struct http_answer answer = { .status = problem->status, .content_type = "application/problem+json" };
	char headers[64] = "";
	struct writ_err *err;

	err = problem_write(problem, &body);
	writ_err_free(err); /* cut short without memory; the status tells enough */
	if (problem->retry_after_s > 0)
		snprintf(headers, sizeof(headers), "Retry-After: %u\r\n", problem->retry_after_s);
	else if (problem->status == 405)
		snprintf(headers, sizeof(headers), "Allow: %s\r\n", problem->limit);
	answer.body = writ_view(&body);
	answer.headers = writ_str(headers);
	if (!work->batch && problem->retry_after_s > 0)
		told_to_wait(work, problem->retry_after_s);
	if (work->batch)
		batch_took(work, problem->status, writ_view(&body), problem->retry_after_s);
	else
		http_answer_later(work->later, &answer);
	work_give_back(work);
}

void
work_fail(struct work *work, struct writ_err *err)
{
	struct problem problem;

	problem_of_err(err, &problem);
	/* What is locked has had its alarm, once, where it was locked. */
	if (err->code == WRIT_BROKEN || err->code == WRIT_LOCKED)
		event(err->code == WRIT_BROKEN ? EVENT_ALARM : EVENT_WARN, "serve.failed",
		      EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })), EV_ERR(err));
	writ_err_free(err);
	work_problem(work, &problem);
}

struct writ_bytes
work_who(struct work *work)
{
	char text[80];

	if (work->who)
		return work->who->principal;
	snprintf(text, sizeof(text), "address %s", work->request->peer->address);
	return writ_arena_copy(&work->arena, writ_str(text));
}

/* The journal learns of it, and the store of what was asked, at most ten times a second a principal; nobody waits. */
static void
note_denial(struct work *work, const struct verdict *verdict)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	const struct writ_bytes who = work_who(work);
	struct writ_err *err;
	struct canon_out out;
	uint64_t skipped;

	if (!admission_note(work->on->serve->admission, who, work->now.mono_ms, &skipped))
		return;
	if (work->denied)
		denied_keep(work->on, work->denied);
	out = canon_write(&said);
	canon_object(&out, NULL);
	canon_text(&out, "limit", writ_str(verdict->limit));
	canon_int(&out, "line", verdict->line);
	canon_hex(&out, "policy", (struct writ_bytes){ policy_digest(work->rules->policy), SHA256_LEN });
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "rule", writ_str(verdict->rule));
	canon_int(&out, "skipped", (int64_t)skipped);
	canon_text(&out, "value", writ_str(verdict->value));
	canon_text(&out, "who", who);
	canon_end(&out);
	err = canon_finish(&out);
	if (!err)
		link_note(work->on->link, ENTRY_DENY, writ_view(&said));
	writ_err_free(err);
}

static void
refusal_tell(struct work *work, const struct verdict *verdict)
{
	metrics_refused(&work->on->serve->metrics, verdict->rule);
	event(EVENT_INFO, "serve.refused", EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })),
	      EV_TEXT("who", work_who(work)), EV_STR("rule", verdict->rule), EV_STR("value", verdict->value),
	      EV_STR("limit", verdict->limit));
	if (verdict->kind == VERDICT_DENY)
		note_denial(work, verdict);
}

void
work_refuse(struct work *work, const struct verdict *verdict)
{
	struct problem problem;

	refusal_tell(work, verdict);
	problem_of_verdict(verdict, &problem);
	work_problem(work, &problem);
}

static struct verdict
denial(const char *rule, struct writ_bytes value, const char *limit, const char *hint)
{
	struct verdict verdict = { .kind = VERDICT_DENY };

	snprintf(verdict.rule, sizeof(verdict.rule), "%s", rule);
	snprintf(verdict.value, sizeof(verdict.value), "%.*s", WRIT_FMT(value));
	snprintf(verdict.limit, sizeof(verdict.limit), "%s", limit);
	snprintf(verdict.hint, sizeof(verdict.hint), "%s", hint);
	return verdict;
}

void
work_deny(struct work *work, const char *rule, struct writ_bytes value, const char *limit, const char *hint)
{
	const struct verdict verdict = denial(rule, value, limit, hint);

	work_refuse(work, &verdict);
}

void
work_note_denial(struct work *work, const char *rule, struct writ_bytes value, const char *limit)
{
	const struct verdict verdict = denial(rule, value, limit, "");

	refusal_tell(work, &verdict);
}

/* ---- idempotency ---- */

WRIT_CHECKED static struct writ_err *
once_name(struct work *work, struct writ_bytes who)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const struct writ_bytes key = work->request->idempotency_key;
	uint8_t *name;

	if (key.len > 128)
		return writ_fail(WRIT_INVALID, "Idempotency-Key has %zu characters, over 128", key.len);
	for (size_t i = 0; i < key.len; i++)
		if (key.data[i] == 0 || !strchr(allowed, key.data[i]))
			return writ_fail(WRIT_INVALID, "Idempotency-Key may have [A-Za-z0-9._-] only");
	name = writ_arena_take(&work->arena, who.len + 1 + key.len);
	if (!name)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an Idempotency-Key");
	memcpy(name, who.data, who.len);
	memcpy(name + who.len + 1, key.data, key.len);
	work->once = (struct writ_bytes){ name, who.len + 1 + key.len };
	return NULL;
}

/* The same request is the same route, query and body. */
static void
once_body(struct work *work)
{
	const struct http_request *r = work->request;
	const struct writ_bytes pieces[] = { r->path, WRIT_LIT("?"), r->query, WRIT_LIT("\n"), r->body };

	writ_sha256v(pieces, N_OF(pieces), work->once_body);
}

static bool
once_conflict(struct work *work, const char *why)
{
	work_fail(work, writ_fail(WRIT_CONFLICT, "Idempotency-Key '%.*s': %s", WRIT_FMT(work->request->idempotency_key),
				  why));
	return true;
}

/* Reserved in memory; did the store keep an answer for it? */
static bool
once_in_store(struct work *work)
{
	struct store_answer kept;
	struct writ_err *err;

	err = store_answer(work->on->store, work->once, work->now.wall, &work->arena, &kept);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		return false;
	}
	if (err) {
		work_fail(work, err);
		return true;
	}
	if (memcmp(kept.body_sha256, work->once_body, sizeof(work->once_body)) != 0)
		return once_conflict(work, "it was used for another request");
	work_answer(work, kept.status, kept.body);
	return true;
}

bool
work_once(struct work *work, struct writ_bytes who)
{
	enum once_state found;
	struct writ_err *err;
	unsigned status;

	if (work->request->idempotency_key.len == 0)
		return false;
	err = once_name(work, who);
	if (!err) {
		once_body(work);
		err = once_take(work->on->serve->once, work->once, work->once_body, work->now.wall, &found, &status,
				&work->answer);
	}
	if (err) {
		work->once = (struct writ_bytes){ 0 };
		work_fail(work, err);
		return true;
	}
	if (found == ONCE_TAKEN)
		return once_in_store(work);

	work->once = (struct writ_bytes){ 0 }; /* another's */
	if (found == ONCE_BUSY)
		return once_conflict(work, "a request with it is under way: ask again in a moment");
	if (found == ONCE_OTHER)
		return once_conflict(work, "it was used for another request");
	work_answer(work, status, writ_view(&work->answer));
	return true;
}

void
work_keep_answer(struct work *work)
{
	if (work->once.len == 0)
		return;
	work->kept = (struct store_answer){
		.key = work->once,
		.status = WORK_ANSWER_STATUS,
		.body = writ_view(&work->answer),
		.expires = work->now.wall + ONCE_KEEP_S,
	};
	memcpy(work->kept.body_sha256, work->once_body, sizeof(work->once_body));
	work->job.item.answer = &work->kept;
}

void
work_put_job(struct serve_loop *on, struct job *job)
{
	const struct clock now = loop_now(on->loop);

	job->item.now = now.wall;
	job->loop = on;
	job->asked_ms = now.mono_ms;
	job->next = NULL;
	*on->jobs_end = job;
	on->jobs_end = &job->next;
	on->n_jobs++;
}

void
work_store(struct work *work, enum store_op op, void (*done)(struct job *))
{
	work->job.item.op = op;
	work->job.done = done;
	work_put_job(work->on, &work->job);
	work->job.asked_ms = work->now.mono_ms;
}
