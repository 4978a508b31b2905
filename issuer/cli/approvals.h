/*
 * What `writ task` and `writ delegate` share about tasks that wait for approvals.
 */
#ifndef WRIT_ISSUER_CLI_APPROVALS_H
#define WRIT_ISSUER_CLI_APPROVALS_H

#include "issuer/cli/api.h"

/* The member `approvals` of a task, all that is asked among it; NULL: nothing. */
void approvals_say(const json_t *);

/* An answer of what waits (202 of POST /v1/tasks, or an approval's). */
void approvals_say_pending(const json_t *);

/* writ task list; writ task approve and refuse. */
int approvals_list(int argc, char **argv);
int approvals_decide(int argc, char **argv, bool refuses);

#endif
