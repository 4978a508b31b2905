/*
 * What the commands of writ(1) share: exit codes, strict options, printing.  main.c is the file to read first.
 *
 * Knows no command.  Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_CLI_CLI_H
#define WRIT_ISSUER_CLI_CLI_H

#include <stdio.h>

#include "base/bytes.h"

/* Never renumbered (writ(1), EXIT STATUS). */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_MISUSED = 2,
	CLI_REFUSED = 3, /* by policy */
	CLI_LATER = 4,	 /* try again later */
};

/* An option that takes a value may be given once, OPTION_LIST any number of times. */
enum option_kind { OPTION_FLAG, OPTION_VALUE, OPTION_LIST };

struct option_spec {
	const char *name; /* with its dashes: "--depth" */
	enum option_kind kind;
	bool required;
	const char *env; /* a default from the environment (names of files and URLs only); NULL: none */
};

#define OPTIONS_MAX 32
#define OPTION_VALUES_MAX 32
#define ARGUMENTS_MAX 8

struct options {
	const struct option_spec *specs;
	size_t n_specs;
	const char *values[OPTIONS_MAX][OPTION_VALUES_MAX];
	size_t n_values[OPTIONS_MAX];
	const char *arguments[ARGUMENTS_MAX]; /* what is no option */
	size_t n_arguments;
};

/*
 * Reads argv[1..]: "--name value" and "--name=value".  WRIT_INVALID names what is unknown, doubled, missing or too
 * much.  `arguments` is how many others there must be, exactly.
 */
WRIT_CHECKED struct writ_err *options_read(int argc, char **argv, const struct option_spec *, size_t n,
					   size_t arguments, struct options *ret);

const char *option(const struct options *, const char *name); /* NULL: not given */
bool option_given(const struct options *, const char *name);
size_t option_list(const struct options *, const char *name, const char *const **ret);

/* Numbers and durations of options: `*ret` stays as it is when the option was not given. */
WRIT_CHECKED struct writ_err *option_number(const struct options *, const char *name, uint64_t max, uint64_t *ret);
WRIT_CHECKED struct writ_err *option_seconds(const struct options *, const char *name, uint32_t max_s, uint32_t *ret_s);

/* Options of every command that asks the API. */
#define API_OPTIONS                                                                                                    \
	{ "--api", OPTION_VALUE, true, "WRIT_API" }, { "--ca", OPTION_VALUE, true, "WRIT_CA" },                        \
		{ "--cert", OPTION_VALUE, false, "WRIT_CERT" }, { "--key", OPTION_VALUE, false, "WRIT_KEY" },          \
	{                                                                                                              \
		"--json", OPTION_FLAG, false, NULL                                                                     \
	}

/* "name: value" on stdout, the value made printable. */
void cli_say(const char *name, const char *fmt, ...) WRIT_PRINTF(2, 3);

/* Prints "writ COMMAND: text" on stderr, frees the error, returns its exit code. */
int cli_fail(const char *command, struct writ_err *);
int cli_misused(const char *command, struct writ_err *); /* the same, always CLI_MISUSED */

/* Replaces a file at once, or says why not; "-" is stdout. */
WRIT_CHECKED struct writ_err *cli_write(const char *path, unsigned mode, struct writ_bytes);

/* The commands. */
int cmd_init(int argc, char **argv);
int cmd_ceremony(int argc, char **argv);
int cmd_delegate(int argc, char **argv);
int cmd_grant(int argc, char **argv);
int cmd_grant_prepare(int argc, char **argv);
int cmd_issue(int argc, char **argv);
int cmd_renew(int argc, char **argv);
int cmd_complete(int argc, char **argv);
int cmd_revoke(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_thaw(int argc, char **argv);
int cmd_task(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_bundle(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_custody(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_clock(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_rotate(int argc, char **argv);
int cmd_log(int argc, char **argv);

#endif
