/*
 * GET /v1/log/entries: the journal for auditors, read by the keeper, since a segment is read from its beginning (up to
 * 64 MiB).
 */
#ifndef WRIT_ISSUER_SERVE_ENTRIES_H
#define WRIT_ISSUER_SERVE_ENTRIES_H

#include "base/err.h"

struct work;

WRIT_CHECKED struct writ_err *entries_show(struct work *);

#endif
