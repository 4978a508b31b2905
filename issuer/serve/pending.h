/*
 * A task that waits for approvals, as text: what is asked, which whoever approves names by its digest; and the answers
 * of the API about it.
 *
 * The request is canonical JSON, made from the very task and edge that will be opened - at the asking, and again at the
 * opening, where its digest must be the same.  Knows no store and no policy.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_SERVE_PENDING_H
#define WRIT_ISSUER_SERVE_PENDING_H

#include "issuer/serve/answer.h"
#include "issuer/x509/delegation.h"

#define PENDING_REQUEST_MAX (128 * 1024) /* bytes; a HopGrant has 16 KiB at most */

/* Appends what is asked; the task's life is told as seconds, which count from the opening, or as the end that was
 * signed. */
WRIT_CHECKED struct writ_err *pending_request(const struct store_task *, const struct store_edge *, bool end_is_fixed,
					      struct writ_buf *ret);

/* Appends what a principal said: the evidence of an approval or refusal. */
WRIT_CHECKED struct writ_err *pending_said(const struct store_approve *, const uint8_t cert_sha256[32],
					   struct writ_buf *ret);

/* "pending", "open", "refused", "expired". */
struct writ_bytes pending_state_word(const struct store_pending *, writ_time now);

/* Does a pattern of its approvers match? */
bool pending_approver(const struct store_pending *, struct writ_bytes principal);

/* Appends the answer to whoever asked for it or spoke to it; `edge` is set when it was opened just now. */
WRIT_CHECKED struct writ_err *answer_pending(const struct store_pending *, const struct store_edge *edge, writ_time now,
					     struct writ_buf *ret);

/* Appends GET /v1/tasks/ID of one that is no task; and, of one that was opened, the member `approvals` of its task. */
WRIT_CHECKED struct writ_err *answer_pending_task(const struct store_pending *, writ_time now, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *answer_approvals(const struct store_pending *, struct writ_buf *ret);

/* One item of GET /v1/tasks. */
void out_pending(struct out *, const struct store_pending *);
void out_open_task(struct out *, const struct store_task *);

#endif
