/*
 * Revocation: see revoke.h.
 *
 * R0: an edge is revoked by its delegator, any ancestor, the task's root, an operator; a leaf also by its holder; a
 * task by its opener or an operator; a principal, a class, everything by an operator; never by a descendant. Everything
 * else is denied and logged, in the same words whether there is such an edge, leaf or task or not: who may not revoke
 * it does not learn that.  The writer makes it durable, tells the signer, then the status table; only then it is
 * answered (I8).
 */
#include "issuer/serve/revoke.h"

#include <stdlib.h>

#include "base/event.h"
#include "base/fault.h"
#include "issuer/serve/freeze.h"
#include "issuer/serve/work.h"

static void
revoked(struct job *job)
{
	struct work *work = work_of_job(job);
	struct serve *serve = work->on->serve;
	struct writ_err *err = TAKE(job->item.result);

	if (!err)
		err = answer_revoked(job->item.n_edges, job->item.n_revoked, job->logged, &work->answer);
	if (!err)
		event(EVENT_INFO, "serve.revoked",
		      EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })),
		      EV_TEXT("who", work->who->principal), EV_NUM("edges", job->item.n_edges),
		      EV_NUM("leaves", job->item.n_revoked), EV_FLAG("frozen", work->revoke.freeze),
		      EV_FLAG("logged", job->logged));
	if (job->revoke_arena) {
		writ_arena_done(job->revoke_arena);
		free(TAKE(job->revoke_arena));
	}
	if (err) {
		work_fail(work, err);
		return;
	}
	FAULT("revoke:before-answer");
	metrics_add(&serve->metrics, METRIC_REVOCATIONS, 1);
	metrics_add(&serve->metrics, METRIC_REVOKED_LEAVES, (int64_t)job->item.n_revoked);
	/* Counts are known after the commit only, so this answer is kept in memory. */
	if (work->once.len > 0)
		once_answer(serve->once, work->once, 200, writ_view(&work->answer), work->now.wall);
	work_answer(work, 200, writ_view(&work->answer));
}

/* That there is no such thing is for operators to know: to all others it is one more that is not theirs. */
static struct writ_err *
may_know(struct writ_err *err, bool is_operator)
{
	if (!err || err->code != WRIT_NOT_FOUND || is_operator)
		return err;
	writ_err_free(err);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
go_on(struct work *work, const struct store_revoke *revoke)
{
	struct writ_arena *arena;

	if (revoke->freeze) {
		struct writ_err *err = freeze_note(work, revoke, "frozen");

		if (err)
			return err;
	}
	arena = calloc(1, sizeof(*arena));
	if (!arena)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a revocation");
	*arena = WRIT_ARENA(WRITER_REVOKE_ARENA_MAX);
	work->revoke = *revoke;
	work->job.item.revoke = &work->revoke;
	work->job.revoke_arena = work->job.item.arena = arena;
	work_store(work, STORE_REVOKE, revoked);
	return NULL;
}

/* Its opener may. */
WRIT_CHECKED static struct writ_err *
may_task(struct work *work, struct writ_bytes id, bool is_operator, bool *ret)
{
	struct writ_err *err = store_task(work->on->store, id, &work->arena, &work->task);

	*ret = !err && (is_operator || writ_equal(work->task.opener, work->who->principal));
	return may_know(err, is_operator);
}

struct writ_err *
revoke_complete(struct work *work)
{
	const struct store_revoke revoke = {
		.what = REVOKE_TASK,
		.id = work->path_id,
		.end_task_as = TASK_COMPLETE,
		.reason = REASON_CESSATION_OF_OPERATION,
	};
	struct writ_err *err;
	bool allowed;

	if (work->request->body.len > 0 && !writ_equal(work->request->body, WRIT_LIT("{}")))
		return writ_fail(WRIT_INVALID, "completing a task takes no body");
	if (work_once(work, work->who->principal))
		return NULL;
	err = freeze_operator(work, &allowed);
	if (!err)
		err = may_task(work, work->path_id, allowed, &allowed);
	if (err)
		return err;
	if (!allowed) {
		work_deny(work, "R0", work->path_id, "completed by its opener or an operator", "ask one of them");
		return NULL;
	}
	return go_on(work, &revoke);
}

/* ---- POST /v1/revocations ---- */

/* Its delegator, or that of any edge above: the last of these is the task's root. */
WRIT_CHECKED static struct writ_err *
is_above(struct work *work, const struct store_edge *edge, bool *ret)
{
	struct store_edge ancestors[HOPS_MAX];
	struct writ_err *err;
	size_t n;

	*ret = false;
	err = lineage_ancestors(work->on->store, edge, &work->arena, ancestors, &n);
	for (size_t i = 0; !err && i < n; i++)
		*ret = *ret || writ_equal(ancestors[i].delegator, work->who->principal);
	return err;
}

WRIT_CHECKED static struct writ_err *
may_edge(struct work *work, const uint8_t id[EDGE_ID_LEN], bool holder_may, bool *ret)
{
	struct writ_err *err;

	err = store_edge(work->on->store, id, &work->arena, &work->edge);
	if (err)
		return err;
	*ret = holder_may && writ_equal(work->edge.agent, work->who->principal);
	if (*ret)
		return NULL;
	return is_above(work, &work->edge, ret);
}

WRIT_CHECKED static struct writ_err *
may(struct work *work, const struct request_revoke *asked, bool *ret)
{
	bool is_operator, is_theirs = false;
	struct writ_err *err;

	*ret = false;
	err = freeze_operator(work, &is_operator);
	if (err)
		return err;
	switch (asked->target) {
	case TARGET_EDGE:
		err = may_edge(work, asked->id.data, false, &is_theirs);
		break;
	case TARGET_SERIAL:
		err = store_cert(work->on->store, asked->id.data, &work->arena, &work->cert);
		if (!err)
			err = may_edge(work, work->cert.edge, true, &is_theirs);
		break;
	case TARGET_TASK:
		err = may_task(work, asked->id, is_operator, &is_theirs);
		break;
	case TARGET_PRINCIPAL:
	case TARGET_CLASS:
	case TARGET_ALL:
		break;
	}
	*ret = !err && (is_theirs || is_operator);
	return may_know(err, is_operator);
}

struct writ_err *
revoke_any(struct work *work)
{
	static const enum revoke_what what[] = {
		[TARGET_EDGE] = REVOKE_EDGE,	       [TARGET_SERIAL] = REVOKE_LEAF, [TARGET_TASK] = REVOKE_TASK,
		[TARGET_PRINCIPAL] = REVOKE_PRINCIPAL, [TARGET_CLASS] = REVOKE_CLASS, [TARGET_ALL] = REVOKE_ALL,
	};
	static const char *const who[] = {
		[TARGET_EDGE] = "revoked by its delegator, an ancestor, the task's opener or an operator",
		[TARGET_SERIAL] = "revoked by its holder, its delegator, an ancestor, the task's opener or an operator",
		[TARGET_TASK] = "revoked by its opener or an operator",
		[TARGET_PRINCIPAL] = "revoked by an operator",
		[TARGET_CLASS] = "revoked by an operator",
		[TARGET_ALL] = "revoked by an operator",
	};
	struct request_revoke asked;
	struct store_revoke revoke;
	struct writ_err *err;
	bool allowed;

	err = request_revoke(work->request->body, &work->arena, &asked);
	if (err)
		return err;
	if ((asked.target == TARGET_TASK || asked.target == TARGET_ALL) && asked.reason == REASON_KEY_COMPROMISE)
		return writ_fail(WRIT_INVALID,
				 "%s has no key to compromise: revoke the edge, the leaf or the principal",
				 asked.target == TARGET_TASK ? "a task" : "everything");
	if (work_once(work, work->who->principal))
		return NULL;
	err = may(work, &asked, &allowed);
	if (err)
		return err;
	if (!allowed) {
		work_deny(work, "R0", WRIT_LIT("this revocation"), who[asked.target], "ask one of them");
		return NULL;
	}
	revoke = (struct store_revoke){
		.what = what[asked.target],
		.id = asked.id,
		.end_task_as = TASK_REVOKED,
		.reason = asked.reason,
		.block_key = asked.reason == REASON_KEY_COMPROMISE,
		.freeze = asked.freeze,
		.by = work->who->principal,
	};
	return go_on(work, &revoke);
}
