/*
 * A deadline from outside: a thread that ends the process when a request takes too long.
 *
 * A call into a token library cannot be interrupted - a hung TPM or module blocks for ever, cancelling the thread would
 * corrupt the library - so the process goes, and the supervisor starts another.  Knows no device. Threading: one thread
 * arms and disarms.
 */
#ifndef WRIT_HSM_WATCHDOG_H
#define WRIT_HSM_WATCHDOG_H

#include "base/err.h"

/* Starts the thread; signals stay blocked in it as they are now. */
WRIT_CHECKED struct writ_err *watchdog_start(void);

/* From now on `timeout_ms`; at the end of it: an alarm event and _exit(DEVICE_EXIT_DEADLINE).  `what` must outlive it.
 */
void watchdog_arm(int timeout_ms, const char *what);
void watchdog_disarm(void);

#endif
