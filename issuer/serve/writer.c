/*
 * The store writer's thread: the queue of jobs, those that run alone in it, and the housekeeping between groups.  What
 * becomes of a group is writer_group.c's.
 */
#include "issuer/serve/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "issuer/serve/chores.h"
#include "issuer/serve/control.h"
#include "issuer/serve/feed.h"
#include "issuer/serve/writer_group.h"

#define GATHER_LEAST 8	 /* leaves under way: from so many on others are waited for, */
#define GATHER_MS 5	 /* and so long at most: 20 leaves, at 4,000 a second */
#define PRUNE_ROWS 200	 /* of a transaction of their own, when nothing else is to be done: 2 ms */
#define PRUNE_MORE_MS 20 /* from one of these to the next: 10,000 rows a second */
#define DONE_MAX 65536	 /* acknowledged numbers gathered before the outbox is told */

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

uint64_t
writer_revision(const struct writer *w, struct writ_bytes task)
{
	return store_revision(w->store, task);
}

/* ---- the queue ---- */

static bool
is_alone(const struct job *job)
{
	return !job->loop;
}

/* What takes something away from somebody, or what a person waits for. */
static bool
is_urgent(const struct job *job)
{
	return is_alone(job) || (job->item.op != STORE_ISSUE && job->item.op != STORE_OPEN_TASK && job->item.op != STORE_ADD_EDGE);
}

void
writer_put(struct writer *w, struct job *first, size_t n)
{
	struct job *last = first;
	bool urgent;

	if (!first)
		return;
	urgent = is_urgent(first);
	for (; last->next; last = last->next)
		urgent = urgent || is_urgent(last->next);
	metrics_add(&w->serve->metrics, METRIC_WRITER_QUEUE, (int64_t)n);
	pthread_mutex_lock(&w->lock);
	*w->end = first;
	w->end = &last->next;
	w->n_queued += n;
	w->urgent = w->urgent || urgent;
	if (w->urgent || w->n_queued >= w->wanted)
		pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}

/* Until `wanted` jobs are queued, one of them is urgent, or the time is up.  The lock is held. */
static void
queue_wait(struct writer *w, size_t wanted, long ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until); /* a clock that is set back must not make the wait longer */
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	w->wanted = wanted;
	while (w->n_queued < wanted && !w->urgent && !w->stop &&
	       pthread_cond_clockwait(&w->more, &w->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	w->wanted = 0;
}

/*
 * A group costs some 400 us beside its leaves: two waits for the disk, and pages that each group writes once.  So when
 * many are on their way, half of them are waited for, a moment: as many again come while these are written.
 */
static size_t
worth_waiting_for(const struct writer *w)
{
	uint64_t under_way = 0;

	for (unsigned i = 0; i < w->serve->n_loops; i++) {
		const uint64_t settled = atomic_load(&w->serve->loops[i].settled);

		under_way += atomic_load(&w->serve->loops[i].begun) - settled;
	}
	if (under_way < GATHER_LEAST)
		return 1;
	return under_way / 2 < WRITER_GROUP_MAX ? under_way / 2 : WRITER_GROUP_MAX;
}

/* The next group: jobs up to the first that runs alone, or that one.  Waits a moment for the first; false: stop. */
static bool
group_take(struct writer *w, size_t *ret_n)
{
	size_t n = 0;
	bool stop;

	pthread_mutex_lock(&w->lock);
	queue_wait(w, 1, w->prune_more || w->n_done > 0 ? PRUNE_MORE_MS : WRITER_WAIT_MS);
	if (w->first)
		queue_wait(w, worth_waiting_for(w), GATHER_MS);
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
	w->n_queued -= n;
	w->urgent = w->first != NULL; /* what was queued behind one that runs alone has waited */
	stop = w->stop && n == 0;
	pthread_mutex_unlock(&w->lock);
	*ret_n = n;
	return !stop;
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
	writer_store_told(w, alone->result);
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
			writer_control_lost(w, err);
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
		writer_control_lost(w, err);
	else
		w->settled_last = w->settle_index;
}

/* What a step of the clock calls expired would be missed when the time is right again: rows, and with them the start.
 */
static void
prune(struct writer *w, bool idle)
{
	struct store_item item = writer_prune_item(w, PRUNE_ROWS);
	struct writ_err *err;

	if (!w->clock_right || w->now.mono_ms < w->next_prune_ms || (w->prune_more && !idle))
		return;
	err = store_commit(w->store, &item, 1);
	if (!err)
		err = TAKE(item.result);
	w->prune_more = !err && item.n_pruned >= item.prune_max;
	w->next_prune_ms = w->now.mono_ms + (w->prune_more ? PRUNE_MORE_MS : WRITER_TICK_MS);
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
	w->next_close_ms = w->now.mono_ms + WRITER_TICK_MS;
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
	w->next_notes_ms = w->now.mono_ms + (n > 0 && !all ? PRUNE_MORE_MS : WRITER_TICK_MS);
	if (err)
		writer_control_lost(w, err);
}

static void
tick(struct writer *w)
{
	if (w->now.mono_ms < w->next_tick_ms)
		return;
	w->next_tick_ms = w->now.mono_ms + WRITER_TICK_MS;
	if (w->clock_right)
		status_prune(w->serve->status, w->now.wall);
	writer_owed_store(w);
	if (w->n_done > 0)
		writer_commit(w, 0);
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
			writer_group_run(w, n);
		if (w->n_done >= DONE_MAX || (n == 0 && w->n_done > 0 && w->now.mono_ms >= w->next_done_ms))
			writer_commit(w, 0);
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
	writer_owed_store(w);
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
	writer_frozen_count(w);
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
