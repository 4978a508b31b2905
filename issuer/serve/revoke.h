/*
 * Revocation: POST /v1/tasks/ID/complete and POST /v1/revocations, which also freezes (freeze.h).  Who may is delegation.md's R0; how it takes force,
 * writer_group.c's.
 */
#ifndef WRIT_ISSUER_SERVE_REVOKE_H
#define WRIT_ISSUER_SERVE_REVOKE_H

#include "base/err.h"

struct work;

WRIT_CHECKED struct writ_err *revoke_complete(struct work *);
WRIT_CHECKED struct writ_err *revoke_any(struct work *);

#endif
