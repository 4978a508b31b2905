/*
 * The store writer: one thread, the only one that writes the store and the status table, and that revokes and aborts at
 * the signer.
 *
 * Jobs come in groups from the loops and go as groups: one transaction, then the signer's part, then the status table,
 * then back to their loops - in this order, so that after a revocation is answered no new `good` is signed for it (I8),
 * and nothing is released before it is durable (I3). Threading: writer_put() from any thread.
 */
#ifndef WRIT_ISSUER_SERVE_WRITER_H
#define WRIT_ISSUER_SERVE_WRITER_H

#include "issuer/store/store.h"

#define WRITER_GROUP_MAX 256
#define WRITER_REVOKE_ARENA_MAX ((size_t)256 * 1024 * 1024) /* bytes: a cascade of four million leaves */
#define WRITER_WAIT_MS 250 /* of an idle writer: how late prune, settled and owed rows may be */

struct serve;
struct serve_loop;
struct writer;

struct job {
	struct job *next;
	struct store_item item;
	struct serve_loop *loop;	 /* where done() runs */
	void (*done)(struct job *);	 /* item.result is its to free */
	struct writ_arena *revoke_arena; /* REVOKE: item.arena; done() frees it */
	struct writ_err *refused;	 /* ISSUE: signed, and not to be released: abort it; becomes item.result */
	bool logged;			 /* REVOKE: false when the journal owes the entry */
	int64_t asked_ms;		 /* monotonic */
};

/* Opens the store and fills the status table; runs nothing yet. */
WRIT_CHECKED struct writ_err *writer_new(struct serve *, struct writer **ret);
WRIT_CHECKED struct writ_err *writer_start(struct writer *);
/* Works off the queue, then ends the thread and closes the store. */
void writer_free(struct writer *);

/* store_revision() of the store it writes; any thread. */
uint64_t writer_revision(const struct writer *, struct writ_bytes task);

/* A list of jobs, in order. */
void writer_put(struct writer *, struct job *first, size_t n);

/*
 * A policy comes into force: durable when this returns NULL.  WRIT_CONFLICT: its revision is too low (store.h, STORE_POLICY).  Waited for; the
 * keeper's.
 */
WRIT_CHECKED struct writ_err *writer_policy(struct writer *, const struct store_policy *);

/*
 * Recovery, in the writer's place in its queue, waited for: everything put before is durable when it begins.  `sock` is
 * a fresh control connection, taken in any case; on success it is the writer's.  WRIT_LOCKED: the store is older than
 * the journal, or the other way round: do not serve.
 */
struct signer_welcome;
WRIT_CHECKED struct writ_err *writer_recover(struct writer *, int sock, const struct signer_welcome *);

#endif
