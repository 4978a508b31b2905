/*
 * Fault points: WRIT_FAULT=stage:n in the environment ends the process by SIGKILL at the n-th pass of that stage.
 * Compiled into the test presets only (WRIT_FAULTS); the release build has no such string and no such branch.
 */
#ifndef WRIT_BASE_FAULT_H
#define WRIT_BASE_FAULT_H

#ifdef WRIT_FAULTS
void fault_point(const char *stage);
#define FAULT(stage) fault_point(stage)
#else
#define FAULT(stage) ((void)0)
#endif

#endif
