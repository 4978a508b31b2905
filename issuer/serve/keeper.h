/*
 * The keeper: the main thread, which holds the signer's connections, runs recovery, publishes lists, reloads rules.
 */
#ifndef WRIT_ISSUER_SERVE_KEEPER_H
#define WRIT_ISSUER_SERVE_KEEPER_H

#include "base/bytes.h"

/* Serves with the configuration in that file until SIGTERM or SIGINT; SIGHUP reloads policy and delegators. */
WRIT_CHECKED struct writ_err *keeper_run(const char *conf_path);

/*
 * In an errand, so on the keeper's thread: policy and delegators read anew and in force on every loop, or nothing changed.  `by` is who asks, for
 * the journal.  `*ret` is borrowed until the errand ends.  WRIT_INVALID: a file is wrong, with line and column; WRIT_CONFLICT: the policy's
 * revision is too low.
 */
struct serve;
struct rules;
WRIT_CHECKED struct writ_err *keeper_reload(struct serve *, struct writ_bytes by, const struct rules **ret);

#endif
