/*
 * New edges: POST /v1/tasks (a root, by a human or service) and POST /v1/delegations (one hop deeper, by an agent's
 * leaf).
 */
#ifndef WRIT_ISSUER_SERVE_DELEGATE_H
#define WRIT_ISSUER_SERVE_DELEGATE_H

#include "base/err.h"

#define EVIDENCE_KEEP_S (400 * 86400) /* what stands behind the digests in leaves and journal, as long as the log */

struct work;

/* As issue_leaf(): an error is the caller's to answer; NULL: it went on its way. */
WRIT_CHECKED struct writ_err *delegate_open_task(struct work *);
WRIT_CHECKED struct writ_err *delegate_on(struct work *);

/* work->task with work->edge was opened, by the proof in work->proof: tells the journal. */
void delegate_note(struct work *);

/* GET /v1/tasks/ID; and its answer for a task that is not there, or not the asker's to see. */
WRIT_CHECKED struct writ_err *delegate_show_task(struct work *);
WRIT_CHECKED struct writ_err *delegate_unseen(struct work *);

#endif
