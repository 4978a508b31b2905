/*
 * A group of jobs, from the queue to the loops: the transaction, what the signer is told of it, the status table, the
 * answers - in this order (writer_group.h).  Read writer_group_run() at the end first.
 *
 * Knows nothing of where jobs come from, nor when a group is due.
 */
#include "issuer/serve/writer_group.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"
#include "issuer/serve/chores.h"
#include "issuer/serve/control.h"
#include "issuer/serve/feed.h"

#define PRUNE_KEEP_S 86400 /* a task that ended can be looked at for a day */
#define PRUNE_SHARE 4	   /* rows an item, in the transaction of a group: as many as an issuance leaves behind, */
#define PRUNE_LEAST 16	   /* and so many more */
#define DONE_SLICE 2048	   /* acknowledged numbers a transaction */
#define CUT_WAIT_MS 2000

/* ---- the signer's part ---- */

void
writer_control_lost(struct writer *w, struct writ_err *why)
{
	close(w->control);
	w->control = -1;
	w->settling = false;
	serve_signer_lost(w->serve, why);
}

/* (2): until every loop has let go of its link, one of them could still fetch a `good` that was true a moment ago. */
static void
wait_for_cut(struct writer *w)
{
	const struct timespec ms = { 0, 1000000 };

	for (int i = 0; i < CUT_WAIT_MS && atomic_load(&w->serve->open_links) > 0; i++)
		nanosleep(&ms, NULL);
}

WRIT_CHECKED static struct writ_err *
done_add(struct writer *w, uint64_t owed)
{
	uint64_t *grown = writ_room(w->done, w->n_done, &w->cap_done, sizeof(*grown), 64);

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for what the signer has acknowledged");
	w->done = grown;
	w->done[w->n_done++] = owed;
	return NULL;
}

static void
freep(void *p)
{
	free(*(void **)p);
}

WRIT_CHECKED static struct writ_err *
revoke_tell(struct writer *w, struct job *job)
{
	const struct store_item *item = &job->item;
	AUTO(freep) struct control_revoke *list = calloc(item->n_revoked + 1, sizeof(*list));
	bool logged;
	struct writ_err *err;

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a cascade of %zu leaves", item->n_revoked);
	for (size_t i = 0; i < item->n_revoked; i++) {
		memcpy(list[i].serial, item->revoked[i].serial, SERIAL_LEN);
		list[i].reason = (uint8_t)item->revoked[i].reason;
		list[i].at = item->now;
	}
	err = control_revocation(w->control, list, item->n_revoked, (const uint8_t(*)[EDGE_ID_LEN])item->edges, item->n_edges,
				 item->now, &logged);
	job->logged = !err && logged;
	if (err || item->owed == 0)
		return err;
	return done_add(w, item->owed);
}

/* Store, then signer, then status: after this no new `good` is signed for any of them (I8). */
static void
revoke_finish(struct writer *w, struct job *job)
{
	struct serve *serve = w->serve;
	struct writ_err *err = NULL;

	FAULT("revoke:stored");
	job->logged = false;
	if (w->control >= 0)
		err = revoke_tell(w, job);
	if (err)
		writer_control_lost(w, err);
	if (w->control < 0)
		wait_for_cut(w);
	FAULT("revoke:signer");
	for (size_t i = 0; i < job->item.n_revoked; i++) {
		err = status_set(serve->status, job->item.revoked[i].serial, STATUS_REVOKED,
				 job->item.revoked[i].not_after);
		if (err)
			event(EVENT_ALARM, "writer.status", EV_ERR(err));
		writ_err_free(err);
	}
	metrics_served(&serve->metrics, clock_read().mono_ms - job->asked_ms);
	atomic_store(&serve->list_due, true);
	sem_post(&serve->wake);
}

/* ---- aborts ---- */

WRIT_CHECKED static struct writ_err *
owe(struct writer *w, const struct store_cert *cert)
{
	struct store_cert *grown = writ_room(w->owed, w->n_owed, &w->cap_owed, sizeof(*grown), 64);

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an abort");
	w->owed = grown;
	w->owed[w->n_owed] = *cert;
	w->owed[w->n_owed].state = CERT_ABORTED;
	w->owed[w->n_owed].revoked_at = w->now.wall;
	w->owed[w->n_owed].der = (struct writ_bytes){ 0 };
	memset(w->owed[w->n_owed].sha256, 0, sizeof(w->owed[w->n_owed].sha256));
	w->n_owed++;
	return NULL;
}

void
writer_owed_store(struct writer *w)
{
	while (w->n_owed > 0) {
		const size_t n = w->n_owed < WRITER_GROUP_MAX ? w->n_owed : WRITER_GROUP_MAX;
		struct writ_err *err;

		for (size_t i = 0; i < n; i++)
			w->items[i] = (struct store_item){ .op = STORE_ABORT,
							   .cert = &w->owed[w->n_owed - n + i],
							   .now = w->now.wall };
		err = store_commit(w->store, w->items, n);
		for (size_t i = 0; i < n && !err; i++)
			err = TAKE(w->items[i].result);
		if (err) {
			event(EVENT_WARN, "writer.abort_owed", EV_NUM("rows", w->n_owed), EV_ERR(err));
			writ_err_free(err);
			return;
		}
		w->n_owed -= n;
	}
}

/*
 * Signed, and not to be released.  Journal first, then the row.  With the signer away nothing is done: an entry without
 * a row is what recovery aborts.
 */
static void
abort_all(struct writer *w, size_t n)
{
	AUTO(freep) uint8_t(*serials)[SERIAL_LEN] = calloc(n, sizeof(*serials));
	struct writ_err *err = serials ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for an abort");
	size_t count = 0;

	for (size_t i = 0; i < n && !err; i++) {
		const struct job *job = w->group[i];

		if (job->item.op != STORE_ISSUE || !job->item.result)
			continue;
		memcpy(serials[count++], job->item.cert->serial, SERIAL_LEN);
		err = status_set(w->serve->status, job->item.cert->serial, STATUS_REVOKED, job->item.cert->not_after);
		if (!err && w->control >= 0)
			err = owe(w, job->item.cert);
	}
	if (count == 0 && !err)
		return;
	metrics_add(&w->serve->metrics, METRIC_ABORTED, (int64_t)count);
	if (!err && w->control >= 0)
		err = control_abort(w->control, (const uint8_t(*)[SERIAL_LEN])serials, count);
	if (err && w->control >= 0) {
		w->n_owed -= w->n_owed < count ? w->n_owed : count; /* recovery's now */
		writer_control_lost(w, err);
		return;
	}
	writ_err_free(err);
	writer_owed_store(w);
}

/* ---- groups ---- */

void
writer_store_told(struct writer *w, const struct writ_err *failed)
{
	struct serve *serve = w->serve;

	pthread_mutex_lock(&serve->seen_lock);
	serve->store_failed = failed != NULL;
	if (failed)
		writ_err_text(failed, serve->store_why, sizeof(serve->store_why));
	pthread_mutex_unlock(&serve->seen_lock);
}

struct store_item
writer_prune_item(const struct writer *w, size_t most)
{
	return (struct store_item){ .op = STORE_PRUNE,
				    .before = w->now.wall - PRUNE_KEEP_S,
				    .prune_max = most < STORE_PRUNE_MAX ? most : STORE_PRUNE_MAX,
				    .now = w->now.wall };
}

/* For those of the group that may go in. */
void
writer_commit(struct writer *w, size_t n)
{
	const size_t n_done = w->n_done < DONE_SLICE ? w->n_done : DONE_SLICE;
	struct store_item done = { .op = STORE_OUTBOX_DONE,
				   .done = w->done ? w->done + w->n_done - n_done : NULL,
				   .n_done = n_done,
				   .now = w->now.wall };
	struct store_item *pruned = NULL;
	struct writ_err *err;
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		struct job *job = w->group[i];

		if (job->item.op == STORE_REVOKE) /* also while the clock is wrong: what has not expired is revoked */
			job->item.now = w->right;
		if (!job->refused)
			w->items[m++] = job->item;
	}
	if (n_done > 0)
		w->items[m++] = done;
	if (n > 0 && w->prune_more && w->clock_right) { /* with what is written anyway: no fsync of its own, and no wait for others */
		pruned = &w->items[m++];
		*pruned = writer_prune_item(w, PRUNE_LEAST + PRUNE_SHARE * n);
	}
	err = m > 0 ? store_commit(w->store, w->items, m) : NULL;
	writer_store_told(w, err);
	metrics_add(&w->serve->metrics, err ? METRIC_COMMIT_FAILED : METRIC_COMMITS, 1);
	metrics_add(&w->serve->metrics, METRIC_COMMITTED, (int64_t)m);
	if (!err && pruned) {
		w->prune_more = !pruned->result && pruned->n_pruned >= pruned->prune_max;
		writ_err_free(TAKE(pruned->result)); /* the next one on its own says why */
		m--;
	}
	if (!err && n_done > 0) {
		writ_err_free(w->items[m - 1].result); /* told again after the next start */
		w->n_done -= n_done;
	}
	m = 0;
	for (size_t i = 0; i < n; i++) {
		struct job *job = w->group[i];

		if (job->refused)
			job->item.result = TAKE(job->refused);
		else if (err)
			job->item.result =
				writ_fail(WRIT_UNAVAILABLE, "the store cannot be written now: %.120s", err->message);
		else
			job->item = w->items[m++];
	}
	if (err) {
		event(EVENT_ALARM, "writer.store", EV_ERR(err));
		w->next_done_ms = w->now.mono_ms + WRITER_TICK_MS;
	}
	writ_err_free(err);
}

static void
jobs_done(void *arg)
{
	struct job *job = arg;

	while (job) {
		struct job *next = job->next;

		job->next = NULL;
		job->done(job);
		job = next;
	}
}

/* Back to the loops, one message a loop. */
static void
answer(struct writer *w, size_t n)
{
	struct job *first[LOOPS_MAX] = { 0 }, **end[LOOPS_MAX];

	for (size_t i = 0; i < n; i++) {
		struct job *job = w->group[i];
		const unsigned at = job->loop->number;

		*(first[at] ? end[at] : &first[at]) = job;
		end[at] = &job->next;
	}
	for (unsigned i = 0; i < w->serve->n_loops; i++)
		if (first[i])
			loop_post(w->serve->loops[i].loop, jobs_done, first[i]);
}

/* A leaf that a revocation of the same transaction took is not released after it (delegation.md R1). */
static void
revoked_hold(struct writer *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct store_item *item = &w->group[i]->item;

		if (item->op == STORE_ISSUE && !item->result &&
		    status_find(w->serve->status, 0, item->cert->serial).state == STATUS_REVOKED)
			item->result = writ_fail(WRIT_CONFLICT, "the delegation was revoked meanwhile");
	}
}

void
writer_frozen_count(struct writer *w)
{
	unsigned frozen;
	struct writ_err *err = chores_frozen(w->store, &frozen);

	if (!err) {
		metrics_add(&w->serve->metrics, METRIC_FROZEN, (int64_t)frozen - w->n_frozen);
		w->n_frozen = frozen;
	}
	writ_err_free(err); /* a number for an operator's eyes: right again after the next */
}

/* What is frozen, and what the journal is to be told of it; `job->logged` is for whoever asked. */
static void
frozen_told(struct writer *w, size_t n)
{
	bool noted = false, all = false;
	struct writ_err *err;
	unsigned told;

	for (size_t i = 0; i < n; i++)
		noted = noted || (!w->group[i]->item.result && w->group[i]->item.note.len > 0);
	if (!noted)
		return;
	err = w->control >= 0 ? chores_notes(w->store, w->control, w->now.wall, &told, &all) : NULL;
	if (err)
		writer_control_lost(w, err);
	for (size_t i = 0; i < n; i++)
		if (w->group[i]->item.note.len > 0)
			w->group[i]->logged = w->group[i]->logged && all;
	writer_frozen_count(w);
}

void
writer_group_run(struct writer *w, size_t n)
{
	bool revoked = false;

	recovery_ahead_done(&w->ahead);
	writer_commit(w, n);
	FAULT("issue:stored");
	abort_all(w, n);
	for (size_t i = 0; i < n; i++) {
		struct job *job = w->group[i];
		struct writ_err *err = NULL;

		if (job->item.result)
			continue;
		revoked = revoked || job->item.op == STORE_REVOKE;
		job->logged = true;
		if (job->item.op == STORE_REVOKE)
			revoke_finish(w, job);
		else if (job->item.op == STORE_ISSUE)
			err = status_set(w->serve->status, job->item.cert->serial, STATUS_GOOD,
					 job->item.cert->not_after);
		if (err)
			event(EVENT_ALARM, "writer.status", EV_ERR(err));
		writ_err_free(err);
	}
	feed_wake(w->serve);
	if (revoked)
		revoked_hold(w, n);
	frozen_told(w, n);
	metrics_add(&w->serve->metrics, METRIC_WRITER_QUEUE, -(int64_t)n);
	answer(w, n);
}
