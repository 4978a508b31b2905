/*
 * POST /v1/grants/prepare: the exact bytes of a grant, for a person to authorise by logging in.
 *
 * The nonce is their digest; the log-in puts it into the ID token; the token and the bytes come back with POST
 * /v1/tasks. Nothing is kept here: the bytes carry all that is checked then (jti, iat, exp, whose tokens count), and
 * whoever changes one has another grant, which no token is for.  So they need no seal of ours either.  `iss` is the
 * provider's issuer URL: who the person is nobody knows before the log-in.
 */
#ifndef WRIT_ISSUER_SERVE_PREPARE_H
#define WRIT_ISSUER_SERVE_PREPARE_H

#include "base/err.h"

struct work;

WRIT_CHECKED struct writ_err *prepare_grant(struct work *);

#endif
