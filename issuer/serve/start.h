/*
 * How the issuer comes up and goes down: its configuration, what its threads share, the sandbox, the threads.
 *
 * Knows neither the signer nor signals: those are the keeper's, which calls these in this order, on its thread.
 */
#ifndef WRIT_ISSUER_SERVE_START_H
#define WRIT_ISSUER_SERVE_START_H

#include "issuer/serve/serve.h"

/* Nothing but the configuration in it.  WRIT_INVALID: its file is wrong. */
WRIT_CHECKED struct writ_err *start_conf(const char *path, struct serve **ret);

/* All that is shared, behind the sandbox; no thread yet.  After a failure too start_end() follows. */
WRIT_CHECKED struct writ_err *start_shared(struct serve *);

/* The writer and the loops, with every signal blocked, so that they come to the keeper. */
WRIT_CHECKED struct writ_err *start_threads(struct serve *);

/* Ends them, and frees it. */
void start_end(struct serve *);

#endif
