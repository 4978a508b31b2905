/*
 * What the store writer does beside its groups: tells the journal what waits in the store as a note, and closes the
 * tasks whose end has come.
 *
 * A note is in the store with what it speaks of, so it is told at least once, whatever dies in between; twice is no
 * harm.  Knows no queue and no clock.  Threading: the writer's thread.
 */
#ifndef WRIT_ISSUER_SERVE_CHORES_H
#define WRIT_ISSUER_SERVE_CHORES_H

#include "issuer/store/store.h"

#define CHORES_MAX 256 /* notes, or tasks, at once: the writer is blocked meanwhile */

/*
 * Tells the signer what waits, over the writer's control connection.  An error means that the connection is of no more
 * use.  `*ret_n` were told; `*ret_all` false: some wait still, since the journal is full or there are more than
 * CHORES_MAX.
 */
WRIT_CHECKED struct writ_err *chores_notes(struct store *, int control, writ_time now, unsigned *ret_n, bool *ret_all);

/* Closes what ended before `now`, and leaves a note of each. */
WRIT_CHECKED struct writ_err *chores_close(struct store *, writ_time now, unsigned *ret_n);

/* How many names are frozen. */
WRIT_CHECKED struct writ_err *chores_frozen(struct store *, unsigned *ret_n);

#endif
