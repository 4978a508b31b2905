/*
 * Inside of the store writer: what its two files share.  writer.c has the queue, the thread and its housekeeping;
 * writer_group.c what becomes of a group of jobs.  For these two only; everybody else has writer.h.
 *
 * (1) A group: one transaction; then aborts of what conflicted, revocations at the signer; then the status table;
 * then the loops (I3, I8).
 *
 * (2) While the signer is away revocations are durable and in force here; the outbox tells the signer before it may
 * sign a status again.
 *
 * (3) `settled n` is said only when every issuance that may have an entry below n has ended, and no abort is owed a
 * row.
 *
 * Threading: all of it is the writer's thread's, but for the queue.
 */
#ifndef WRIT_ISSUER_SERVE_WRITER_GROUP_H
#define WRIT_ISSUER_SERVE_WRITER_GROUP_H

#include "issuer/serve/recovery.h"
#include "issuer/serve/serve.h"
#include "issuer/serve/writer.h"

#define WRITER_TICK_MS 1000

struct writer {
	struct serve *serve;
	struct store *store;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* under the lock: */
	struct job *first, **end;
	size_t n_queued;
	size_t wanted; /* before so many are queued the thread need not be woken */
	bool urgent;   /* one that is queued waits for nobody */
	bool stop;

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

/* Writes the first `n` of w->group, then does all that is to follow (1), and gives them back to their loops. */
void writer_group_run(struct writer *, size_t n);

/* Their transaction alone, with what the outbox has done; n may be 0.  Results land in each job. */
void writer_commit(struct writer *, size_t n);

/* Rows of what the journal says is aborted; what fails stays owed, and nothing is settled meanwhile (3). */
void writer_owed_store(struct writer *);

/* The signer did not answer as it should: it is away from now on.  Takes `why`. */
void writer_control_lost(struct writer *, struct writ_err *why);

/* For health: whether the store took what was last written; NULL: it did. */
void writer_store_told(struct writer *, const struct writ_err *failed);

/* For the metrics: how many names are frozen. */
void writer_frozen_count(struct writer *);

/* At most so many expired rows. */
struct store_item writer_prune_item(const struct writer *, size_t most);

#endif
