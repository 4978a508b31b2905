/*
 * Tasks that wait for approvals: asked for, shown, listed, approved or refused, opened.
 *
 * A rule of the policy may want others than the delegator to approve (writ-policy(5), approvals).  Then the task is
 * decided, built and kept whole, and nothing of it is in force until the last approval opens it: policy decides it anew
 * at each approval, and it is opened as it was approved or not at all.
 */
#ifndef WRIT_ISSUER_SERVE_APPROVE_H
#define WRIT_ISSUER_SERVE_APPROVE_H

#include "issuer/store/store.h"

struct work;

/*
 * From delegate.c: work->task, work->edge and two pieces of evidence are ready, the verdict is VERDICT_PENDING.  An
 * error is the caller's to answer; NULL: it went on its way.
 */
WRIT_CHECKED struct writ_err *approve_wait(struct work *);

/* POST /v1/tasks/ID/approvals. */
WRIT_CHECKED struct writ_err *approve_say(struct work *);

/* GET /v1/tasks. */
WRIT_CHECKED struct writ_err *approve_list(struct work *);

/* GET /v1/tasks/ID when there is no such task: answers, or WRIT_NOT_FOUND. */
WRIT_CHECKED struct writ_err *approve_show(struct work *);

/* The member `approvals` of a task that was opened by some, in the work's arena; empty: it needed none. */
WRIT_CHECKED struct writ_err *approve_of(struct work *, const struct store_edge *root, struct writ_bytes *ret);

/* Why a key has no leaf yet: an error that says so when the task waits for approvals and names this key, else NULL. */
struct writ_err *approve_waits(struct work *, const uint8_t spki_sha256[32]);

#endif
