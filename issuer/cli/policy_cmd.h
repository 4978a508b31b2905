/*
 * What the commands of `writ policy` share.
 */
#ifndef WRIT_ISSUER_CLI_POLICY_CMD_H
#define WRIT_ISSUER_CLI_POLICY_CMD_H

#include "issuer/cli/cli.h"
#include "policy/policy.h"

/* Reads a policy as writd reads it, but whoever may write the file. */
WRIT_CHECKED struct writ_err *policy_cmd_load(const char *path, struct policy **ret);

/* As cli_fail(); a file over one of our limits gets no better by waiting. */
int policy_cmd_fail(const char *command, struct writ_err *);

/* Each with argv[0] its own name. */
int policy_cmd_test(int argc, char **argv);
int policy_cmd_explain(int argc, char **argv);
int policy_cmd_diff(int argc, char **argv);
int policy_cmd_show(int argc, char **argv);
int policy_cmd_reload(int argc, char **argv);

#endif
