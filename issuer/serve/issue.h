/*
 * The life of one issuance: issue.c is the file to read first.
 */
#ifndef WRIT_ISSUER_SERVE_ISSUE_H
#define WRIT_ISSUER_SERVE_ISSUE_H

#include "base/err.h"

struct work;

/* POST /v1/tasks/ID/leaves and POST /v1/renew.  An error is the caller's to answer; NULL: it went on its way, or was
 * answered. */
WRIT_CHECKED struct writ_err *issue_leaf(struct work *);

/* The first again, from where work->asked and path_id are known: an item of a batch. */
WRIT_CHECKED struct writ_err *issue_item(struct work *);
WRIT_CHECKED struct writ_err *issue_renewal(struct work *);

#endif
