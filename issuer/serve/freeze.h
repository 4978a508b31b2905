/*
 * Freezes (rule R9): who is frozen has nothing new done by it or for it, until an operator lifts that; what was revoked
 * stays revoked (R7).
 *
 * Freezing is a revocation (revoke.h) that leaves a row; the store looks for the row in the transaction of every new
 * task, edge and leaf.  Here: the look before, which tells the reason, the list, and the lifting.
 */
#ifndef WRIT_ISSUER_SERVE_FREEZE_H
#define WRIT_ISSUER_SERVE_FREEZE_H

#include "issuer/store/store.h"

struct work;

/* GET /v1/freezes and POST /v1/freezes/lift. */
WRIT_CHECKED struct writ_err *freeze_list(struct work *);
WRIT_CHECKED struct writ_err *freeze_lift(struct work *);

/* `*ret_refused`: the principal is frozen, and the request was answered so. */
WRIT_CHECKED struct writ_err *freeze_check(struct work *, struct writ_bytes principal, bool *ret_refused);

/* Does who asks have the operator's role?  Not while it is frozen itself, but with everything frozen somebody must. */
WRIT_CHECKED struct writ_err *freeze_operator(struct work *, bool *ret);

/* Leaves a note for the journal with work's item: what was frozen, or thawed, by whom. */
WRIT_CHECKED struct writ_err *freeze_note(struct work *, const struct store_revoke *, const char *state);

#endif
