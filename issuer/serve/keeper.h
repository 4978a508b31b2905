/*
 * The keeper: the main thread, which holds the signer's connections, runs recovery, publishes lists, reloads rules.
 */
#ifndef WRIT_ISSUER_SERVE_KEEPER_H
#define WRIT_ISSUER_SERVE_KEEPER_H

#include "base/err.h"

/* Serves with the configuration in that file until SIGTERM or SIGINT; SIGHUP reloads policy and delegators. */
WRIT_CHECKED struct writ_err *keeper_run(const char *conf_path);

#endif
