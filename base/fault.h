/*
 * Fault points: WRIT_FAULT=stage:n in the environment ends the process by SIGKILL at the n-th pass of that stage.
 * WRIT_FAULT=@/path names a file instead (struct fault_order), by which a test arms a stage of a running process; every
 * process that maps it passes the same order, and the one that comes to its last pass disarms it and dies.  It is
 * mapped when the process begins, so no sandbox stands in between. Compiled into the test presets only (WRIT_FAULTS);
 * the release build has no such string and no such branch.
 */
#ifndef WRIT_BASE_FAULT_H
#define WRIT_BASE_FAULT_H

#ifdef WRIT_FAULTS
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The file: write `stage` first, then `left`. */
struct fault_order {
	char stage[56];		   /* padded with zeros */
	atomic_uint_fast64_t left; /* passes until the kill; 0: none is ordered */
};

void fault_point(const char *stage);

/* The same order, but the caller does what must not be done: true at the pass that was asked for. */
bool fault_ordered(const char *stage);

/* The same order, but the process lives on, FAULT_LATE_MS later: what runs beside it is done by then. */
void fault_late(const char *stage);
#define FAULT_LATE_MS 50
#define FAULT(stage) fault_point(stage)
#define FAULT_LATE(stage) fault_late(stage)
#else
#define FAULT(stage) ((void)0)
#define FAULT_LATE(stage) ((void)0)
#endif

#endif
