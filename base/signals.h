/*
 * Signals as something to read, for programs that wait in poll().  Knows what none of them means.
 *
 * Threading: signals_open() before other threads begin, which inherit that they are blocked.
 */
#ifndef WRIT_BASE_SIGNALS_H
#define WRIT_BASE_SIGNALS_H

#include "base/err.h"

/* Blocks those (`wanted` ends with 0) and ignores SIGPIPE; `*ret`, the caller's to close, is readable when one has
 * come. */
WRIT_CHECKED struct writ_err *signals_open(const int *wanted, int *ret);

/* The next that has come; 0: none. */
int signals_next(int fd);

#endif
