/*
 * POST /v1/batch: many leaves in one request, each decided alone.
 *
 * For whoever starts many agents at once, and keeps their keys: one connection, one round trip, one group in the signer
 * and in the store.  An item is what POST /v1/tasks/ID/leaves takes, with the task's name; its result is what that
 * would have answered.  No item knows of another: one that is refused changes nothing for the rest.  Threading: the
 * loop's.
 */
#ifndef WRIT_ISSUER_SERVE_BATCH_H
#define WRIT_ISSUER_SERVE_BATCH_H

#include "issuer/serve/work.h"

#define BATCH_ITEMS_MAX 256
#define BATCH_IN_FLIGHT_MAX 1024 /* items of a loop: each holds a work's memory (I14) */

WRIT_CHECKED struct writ_err *batch_leaves(struct work *);

/* How much of a body that path may have; 0: as much as any. */
size_t batch_body_max(struct writ_bytes path);

/* The request that a batch answers. */
struct http_later *batch_later(const struct batch *);

/* The result of a work that is an item; by work_answer() and work_problem(). */
void batch_took(struct work *item, unsigned status, struct writ_bytes json, uint32_t retry_after_s);

#endif
