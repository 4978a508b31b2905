/*
 * The feed of status for responders (issuer/status/feed.h): changes from a number on, pages of the table, what is
 * published.
 *
 * A question for changes that finds none waits for at most FEED_WAIT_MAX_MS: its answer then says that there were none,
 * which is what a responder's promise of freshness rests on.  Knows the status table, no store.  Threading: the loop's;
 * feed_wake() is the writer's.
 */
#ifndef WRIT_ISSUER_SERVE_FEED_H
#define WRIT_ISSUER_SERVE_FEED_H

#include "issuer/serve/serve.h"

#define FEED_WAITERS_MAX 64 /* a loop: one more is answered at once */

struct work;

/* GET /v1/status/changes, /v1/status/table, /v1/status/documents. */
WRIT_CHECKED struct writ_err *feed_changes(struct work *);
WRIT_CHECKED struct writ_err *feed_table(struct work *);
WRIT_CHECKED struct writ_err *feed_documents(struct work *);

/* The writer has changed the table: whoever waits is answered. */
void feed_wake(struct serve *);

/* The loop's tick: who has waited long enough is answered. */
void feed_tick(struct serve_loop *, struct clock now);

#endif
