/*
 * Time, read once a wake-up and passed down.  Nothing below reads the clock itself (events and deadlines of frames
 * aside), so that time is a parameter in tests.
 */
#ifndef WRIT_BASE_CLOCK_H
#define WRIT_BASE_CLOCK_H

#include <stdint.h>

#include "base/bytes.h"

typedef int64_t writ_time; /* seconds since 1970, UTC (a number, not a structure: nothing is hidden) */

struct clock {
	writ_time wall;	 /* seconds since 1970, UTC */
	int64_t wall_ns; /* the nanoseconds of that second */
	int64_t mono_ms; /* monotonic, milliseconds; counts sleep */
};

struct clock clock_read(void);

/*
 * Watches wall against monotonic time (DESIGN.md, Clock): a step over 5 s latches `stepped`, and so does a wall time
 * before `floor` - 2 s (floor: the time of the last journal entry).
 */
struct clock_guard {
	struct clock last; /* zero at first */
	writ_time floor;
	bool stepped;	/* latched until clock_guard_accept() or the time is right again */
	int64_t step_s; /* how far it was off */
};

/* True when issuing may go on. */
bool clock_guard_check(struct clock_guard *, struct clock now);
void clock_guard_accept(struct clock_guard *, struct clock now);

/*
 * The time to go by meanwhile: what the wall clock says, but while it is ahead of the last right time, carried on by
 * the monotonic clock, that one.  So nothing is dated in the future, or forgotten too early, by a clock that was set
 * forward.
 */
struct clock clock_guard_time(const struct clock_guard *, struct clock now);

/* 9999-12-31T23:59:59Z.  Writers below have no room for more: what is later comes out as this, what is before 1970 as
 * 1970. */
#define WRIT_TIME_MAX INT64_C(253402300799)

/* "YYYYMMDDHHMMSSZ" and a NUL; years 1970 to 9999. */
#define WRIT_GENERALIZED_LEN 15
char *writ_time_generalized(writ_time, char out[WRIT_GENERALIZED_LEN + 1]);

/* Exactly that form and a real calendar date (delegation.md E5). */
bool writ_time_from_generalized(struct writ_bytes, writ_time *ret);

/* "2026-11-23T20:51:37Z" and a NUL, and back. */
#define WRIT_RFC3339_LEN 20
char *writ_time_rfc3339(writ_time, char out[WRIT_RFC3339_LEN + 1]);
bool writ_time_from_rfc3339(struct writ_bytes, writ_time *ret);

/* "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL (RFC 9110 5.6.7). */
#define WRIT_HTTP_DATE_LEN 29
char *writ_time_http(writ_time, char out[WRIT_HTTP_DATE_LEN + 1]);

#endif
