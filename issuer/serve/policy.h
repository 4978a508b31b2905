/*
 * The policy in force, for operators and auditors, and its reload.
 *
 * The file is the operator's: the issuer reads it and never writes it, so that whoever takes the issuer over leaves no
 * policy of his own behind for the next start.  A reload by the API reads the same files as one by SIGHUP.
 */
#ifndef WRIT_ISSUER_SERVE_POLICY_H
#define WRIT_ISSUER_SERVE_POLICY_H

#include "base/err.h"

struct work;

/* GET /v1/policy: id, revision, digest, since when. */
WRIT_CHECKED struct writ_err *policy_show(struct work *);

/* POST /v1/policy/reload: the keeper reads policy and delegators anew; the answer leaves when every loop decides by
 * them. */
WRIT_CHECKED struct writ_err *policy_reload(struct work *);

#endif
