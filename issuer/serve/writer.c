/*
 * The store writer: see writer.h.
 *
 * (1) A group: one transaction; then aborts of what conflicted, revocations at the signer; then the status table;
 * then the loops (I3, I8).
 *
 * (2) While the signer is away revocations are durable and in force here; the outbox tells the signer before it may
 * sign a status again.
 *
 * (3) `settled n` is said only when every issuance that may have an entry below n has ended, and no abort is owed a
 * row.
 */
#include "issuer/serve/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"
#include "issuer/serve/chores.h"
#include "issuer/serve/control.h"
#include "issuer/serve/feed.h"
#include "issuer/serve/recovery.h"
#include "issuer/serve/serve.h"

#define TICK_MS 1000
#define PRUNE_KEEP_S 86400 /* a task that ended can be looked at for a day */
#define PRUNE_ROWS 200	   /* of a transaction of their own, when nothing else is to be done: 2 ms */
#define PRUNE_MORE_MS 20   /* from one of these to the next: 10,000 rows a second */
#define PRUNE_SHARE 4	   /* rows an item, in the transaction of a group: as many as an issuance leaves behind, */
#define PRUNE_LEAST 16	   /* and so many more */
#define DONE_SLICE 2048	   /* of them a transaction */
#define DONE_MAX 65536	   /* acknowledged numbers gathered before the outbox is told */
#define CUT_WAIT_MS 2000

/* A job without a loop runs alone in its place in the queue, and whoever put it waits. */
struct alone {
	struct job job; /* first */
	void (*run)(struct writer *, struct alone *);
	struct writ_err *result;
	sem_t done;
};

struct recover {
	struct alone alone; /* first */
	int sock;
	const struct signer_welcome *welcome;
};

struct writer {
	struct serve *serve;
	struct store *store;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first, **end; /* under the lock */
	bool stop;		  /* under the lock */

	/* the thread's own: */
	struct clock now;
	struct clock_guard guard;
	uint32_t clock_accepted; /* of serve's, as far as we have heard */
	bool clock_right;
	writ_time right; /* the time; while the clock is wrong, the last right one and what has passed since */
	bool prune_more; /* the last prune took all that it might */
	int64_t next_tick_ms, next_done_ms, next_prune_ms, next_close_ms, next_notes_ms;
	unsigned n_frozen; /* as the metrics have it */
	int control; /* -1: the signer is away */
	struct store_item items[WRITER_GROUP_MAX + 2]; /* with the outbox, and a prune */
	struct job *group[WRITER_GROUP_MAX];
	uint64_t *done; /* acknowledged by the signer, for OUTBOX_DONE */
	size_t n_done, cap_done;
	struct store_cert *owed; /* aborted at the signer, and no row yet */
	size_t n_owed, cap_owed;
	bool settling;
	uint64_t settle_index, settled_last;
	uint64_t marks[LOOPS_MAX];
	struct recovery_ahead ahead; /* at the start, until the first group or recovery */
};

uint64_t
writer_revision(const struct writer *w, struct writ_bytes task)
{
	return store_revision(w->store, task);
}

/* ---- the queue ---- */

void
writer_put(struct writer *w, struct job *first, size_t n)
{
	struct job *last = first;

	if (!first)
		return;
	while (last->next)
		last = last->next;
	metrics_add(&w->serve->metrics, METRIC_WRITER_QUEUE, (int64_t)n);
	pthread_mutex_lock(&w->lock);
	*w->end = first;
	w->end = &last->next;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}

static bool
is_alone(const struct job *job)
{
	return !job->loop;
}

/* The next group: jobs up to the first that runs alone, or that one.  Waits a moment for the first; false: stop. */
static bool
group_take(struct writer *w, size_t *ret_n)
{
	struct timespec until;
	size_t n = 0;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until); /* a clock that is set back must not make the wait longer */
	until.tv_nsec += (w->prune_more || w->n_done > 0 ? PRUNE_MORE_MS : WRITER_WAIT_MS) * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->stop &&
	       pthread_cond_clockwait(&w->more, &w->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	while (w->first && n < WRITER_GROUP_MAX && (n == 0 || !is_alone(w->first))) {
		struct job *job = w->first;

		w->first = job->next;
		if (!w->first)
			w->end = &w->first;
		job->next = NULL;
		w->group[n++] = job;
		if (is_alone(job))
			break;
	}
	stop = w->stop && n == 0;
	pthread_mutex_unlock(&w->lock);
	*ret_n = n;
	return !stop;
}

/* ---- the signer's part ---- */

static void
control_lost(struct writer *w, struct writ_err *why)
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
		control_lost(w, err);
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

/* Rows of what the journal says is aborted; what fails stays owed, and nothing is settled meanwhile (3). */
static void
owed_store(struct writer *w)
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
		control_lost(w, err);
		return;
	}
	writ_err_free(err);
	owed_store(w);
}

/* ---- groups ---- */

static void
store_told(struct writer *w, const struct writ_err *failed)
{
	struct serve *serve = w->serve;

	pthread_mutex_lock(&serve->seen_lock);
	serve->store_failed = failed != NULL;
	if (failed)
		writ_err_text(failed, serve->store_why, sizeof(serve->store_why));
	pthread_mutex_unlock(&serve->seen_lock);
}

static struct store_item
prune_item(const struct writer *w, size_t most)
{
	return (struct store_item){ .op = STORE_PRUNE,
				    .before = w->now.wall - PRUNE_KEEP_S,
				    .prune_max = most < STORE_PRUNE_MAX ? most : STORE_PRUNE_MAX,
				    .now = w->now.wall };
}

/* One transaction for those of the group that may go in; results land in each job. */
static void
commit(struct writer *w, size_t n)
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
		*pruned = prune_item(w, PRUNE_LEAST + PRUNE_SHARE * n);
	}
	err = m > 0 ? store_commit(w->store, w->items, m) : NULL;
	store_told(w, err);
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
		w->next_done_ms = w->now.mono_ms + TICK_MS;
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

static void
frozen_count(struct writer *w)
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
		control_lost(w, err);
	for (size_t i = 0; i < n; i++)
		if (w->group[i]->item.note.len > 0)
			w->group[i]->logged = w->group[i]->logged && all;
	frozen_count(w);
}

static void
group_run(struct writer *w, size_t n)
{
	bool revoked = false;

	recovery_ahead_done(&w->ahead);
	commit(w, n);
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

/* ---- what runs alone ---- */

static void
alone_run(struct writer *w, struct alone *alone)
{
	metrics_add(&w->serve->metrics, METRIC_WRITER_QUEUE, -1);
	alone->run(w, alone);
	feed_wake(w->serve); /* recovery writes the status table too */
	sem_post(&alone->done);
}

WRIT_CHECKED static struct writ_err *
alone_wait(struct writer *w, struct alone *alone)
{
	sem_init(&alone->done, 0, 0);
	writer_put(w, &alone->job, 1);
	while (sem_wait(&alone->done) != 0)
		;
	sem_destroy(&alone->done);
	return alone->result;
}

static void
policy_run(struct writer *w, struct alone *alone)
{
	alone->job.item.now = w->right;
	alone->result = store_commit(w->store, &alone->job.item, 1);
	store_told(w, alone->result);
	if (!alone->result)
		alone->result = TAKE(alone->job.item.result);
}

struct writ_err *
writer_policy(struct writer *w, const struct store_policy *policy)
{
	struct alone alone = { .run = policy_run, .job.item = { .op = STORE_POLICY, .policy = policy } };

	return alone_wait(w, &alone);
}

static void
recover_run(struct writer *w, struct alone *alone)
{
	struct recover *r = (struct recover *)alone;

	if (w->control >= 0)
		close(w->control);
	w->control = -1;
	w->n_owed = w->n_done = 0; /* both are found again: rows without entries, the outbox */
	w->settling = false;
	alone->result = recovery_run(w->serve, w->store, &w->ahead, r->sock, r->welcome, w->now.wall);
	recovery_ahead_done(&w->ahead); /* it wrote to the store, or what it found is to be looked at again */
	if (alone->result) {
		close(r->sock);
	} else {
		w->control = r->sock;
		w->settled_last = r->welcome->next_index;
	}
}

struct writ_err *
writer_recover(struct writer *w, int sock, const struct signer_welcome *welcome)
{
	struct recover r = { .alone.run = recover_run, .sock = sock, .welcome = welcome };

	return alone_wait(w, &r.alone);
}

/* ---- housekeeping ---- */

/* (3): first note how far each loop has begun, then wait until that much has ended. */
static void
settle(struct writer *w)
{
	struct serve *serve = w->serve;
	struct signer_health health;
	struct writ_err *err;

	if (w->control < 0 || w->n_owed > 0)
		return;
	if (!w->settling) {
		err = control_health(w->control, &health);
		if (err) {
			control_lost(w, err);
			return;
		}
		if (health.entries <= w->settled_last + 1) /* nothing but our own `settled` */
			return;
		w->settle_index = health.entries;
		for (unsigned i = 0; i < serve->n_loops; i++)
			w->marks[i] = atomic_load(&serve->loops[i].begun);
		w->settling = true;
	}
	for (unsigned i = 0; i < serve->n_loops; i++)
		if (atomic_load(&serve->loops[i].settled) < w->marks[i])
			return;
	/* What ended may have ended without a row; after a loss no link is open until recovery has run. */
	if (atomic_load(&serve->lost) || atomic_load(&serve->open_links) < serve->n_loops)
		return;
	w->settling = false;
	err = control_settled(w->control, w->settle_index);
	if (err)
		control_lost(w, err);
	else
		w->settled_last = w->settle_index;
}

/* What a step of the clock calls expired would be missed when the time is right again: rows, and with them the start.
 */
static void
prune(struct writer *w, bool idle)
{
	struct store_item item = prune_item(w, PRUNE_ROWS);
	struct writ_err *err;

	if (!w->clock_right || w->now.mono_ms < w->next_prune_ms || (w->prune_more && !idle))
		return;
	err = store_commit(w->store, &item, 1);
	if (!err)
		err = TAKE(item.result);
	w->prune_more = !err && item.n_pruned >= item.prune_max;
	w->next_prune_ms = w->now.mono_ms + (w->prune_more ? PRUNE_MORE_MS : TICK_MS);
	if (err)
		event(EVENT_WARN, "writer.prune", EV_ERR(err));
	writ_err_free(err);
}

/* What a step of the clock calls ended would be opened by nothing again. */
static void
ended_close(struct writer *w)
{
	struct writ_err *err;
	unsigned n;

	if (!w->clock_right || w->now.mono_ms < w->next_close_ms)
		return;
	w->next_close_ms = w->now.mono_ms + TICK_MS;
	err = chores_close(w->store, w->now.wall, &n);
	metrics_add(&w->serve->metrics, METRIC_EXPIRED, n);
	if (!err && n == CHORES_MAX)
		w->next_close_ms = w->now.mono_ms + PRUNE_MORE_MS;
	if (err)
		event(EVENT_WARN, "writer.close", EV_ERR(err));
	writ_err_free(err);
}

/* Those of what closed itself, and any that could not be told before. */
static void
notes_tell(struct writer *w)
{
	struct writ_err *err;
	unsigned n;
	bool all;

	if (w->control < 0 || w->now.mono_ms < w->next_notes_ms)
		return;
	err = chores_notes(w->store, w->control, w->now.wall, &n, &all);
	w->next_notes_ms = w->now.mono_ms + (n > 0 && !all ? PRUNE_MORE_MS : TICK_MS);
	if (err)
		control_lost(w, err);
}

static void
tick(struct writer *w)
{
	if (w->now.mono_ms < w->next_tick_ms)
		return;
	w->next_tick_ms = w->now.mono_ms + TICK_MS;
	if (w->clock_right)
		status_prune(w->serve->status, w->now.wall);
	owed_store(w);
	if (w->n_done > 0)
		commit(w, 0);
	settle(w);
}

static void
clock_take(struct writer *w)
{
	const struct clock *last = &w->guard.last;

	const uint32_t accepted = atomic_load(&w->serve->clock_accepted);

	w->now = clock_read();
	w->guard.floor = atomic_load(&w->serve->floor);
	if (accepted != w->clock_accepted)
		clock_guard_accept(&w->guard, w->now);
	w->clock_accepted = accepted;
	w->clock_right = clock_guard_check(&w->guard, w->now);
	w->right =
		w->clock_right || last->wall == 0 ? w->now.wall : last->wall + (w->now.mono_ms - last->mono_ms) / 1000;
}

static void *
writer_run(void *arg)
{
	struct writer *w = arg;
	size_t n;

	recovery_ahead(w->store, clock_read().wall, &w->ahead);
	while (group_take(w, &n)) {
		clock_take(w);
		if (n > 0 && is_alone(w->group[0]))
			alone_run(w, (struct alone *)w->group[0]);
		else if (n > 0)
			group_run(w, n);
		if (w->n_done >= DONE_MAX || (n == 0 && w->n_done > 0 && w->now.mono_ms >= w->next_done_ms))
			commit(w, 0);
		ended_close(w);
		notes_tell(w);
		tick(w);
		prune(w, n == 0);
		if (n == 0)
			store_idle(w->store);
	}
	/* The signer still listens: an older store must be found out also when it lacks only what came since the last
	 * tick. */
	w->settling = false;
	owed_store(w);
	settle(w);
	return NULL;
}

struct writ_err *
writer_new(struct serve *serve, struct writer **ret)
{
	struct writer *w = calloc(1, sizeof(*w));
	struct writ_err *err;
	char dir[4096], uri[4200];

	if (!w)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the store writer");
	w->serve = serve;
	w->control = -1;
	w->end = &w->first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	snprintf(uri, sizeof(uri), "sqlite:%s/writ.db", conf_path(serve->conf.state, "store", dir));
	err = store_open(uri, STORE_WRITE, &w->store);
	if (err) {
		writer_free(w);
		return err;
	}
	frozen_count(w);
	*ret = w;
	return NULL;
}

struct writ_err *
writer_start(struct writer *w)
{
	const int failed = pthread_create(&w->thread, NULL, writer_run, w);

	if (failed)
		return writ_fail_errno(failed, "starting the store writer");
	w->started = true;
	return NULL;
}

void
writer_free(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	if (w->control >= 0)
		close(w->control);
	recovery_ahead_done(&w->ahead);
	store_close(w->store);
	free(w->done);
	free(w->owed);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
	free(w);
}
