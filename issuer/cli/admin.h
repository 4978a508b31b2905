/*
 * Commands for an operator on the machine: they ask the running signer over RUN/admin.sock
 * (issuer/signer/admin_wire.h).
 *
 * Knows no command.  Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_CLI_ADMIN_H
#define WRIT_ISSUER_CLI_ADMIN_H

#include <jansson.h>

#include "issuer/cli/cli.h"
#include "issuer/conf/conf.h"
#include "issuer/signer/admin_wire.h"

/* Options of every such command. */
#define ADMIN_OPTIONS                                                                                                  \
	{ "--config", OPTION_VALUE, true, "WRIT_CONFIG" },                                                             \
	{                                                                                                              \
		"--json", OPTION_FLAG, false, NULL                                                                     \
	}

/* Reads --config, asks, and gives the answer as JSON: the caller's, to json_decref(). */
WRIT_CHECKED struct writ_err *admin_ask_json(const struct options *, enum admin_message, struct writ_bytes body,
					     int timeout_ms, json_t **ret);

/* Prints an answer, or the health of a running Writ: as JSON with --json, else a line a member and a line an item of a list. */
void admin_print(const struct options *, const json_t *);

/* key_revoke.c */
int key_revoke(int argc, char **argv);

/* A table of a command's own commands. */
struct admin_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *purpose;
};
int admin_commands(const char *of, const struct admin_command *, size_t n, int argc, char **argv);

#endif
