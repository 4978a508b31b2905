/*
 * The anchor's own token, while an operator has it open: custody.anchor is operator, and its PIN is not on this host.
 *
 * A writ-deviced of the command's own is started with the PIN - from a file, a descriptor, or typed - and ends with the
 * command; the signer is handed a connection to it.  So the PIN crosses no wire, and neither signer nor disk ever
 * holds it (I11).  One thread.
 */
#ifndef WRIT_ISSUER_CLI_OPERATOR_H
#define WRIT_ISSUER_CLI_OPERATOR_H

#include "issuer/cli/cli.h"
#include "issuer/conf/conf.h"

/* Option of the commands that need it: FILE, or fd:N; without it the PIN is asked for at the terminal. */
#define OPERATOR_OPTIONS                                                                                               \
	{                                                                                                              \
		"--anchor-pin", OPTION_VALUE, false, NULL                                                              \
	}

struct operator;

/* WRIT_INVALID: no terminal to ask at; WRIT_UNAVAILABLE, WRIT_LOCKED: what the token said to the PIN. */
WRIT_CHECKED struct writ_err *operator_open(const struct conf *, const struct options *, struct operator** ret);

/* The connection to hand over: to be closed by the caller. */
WRIT_CHECKED struct writ_err *operator_connection(const struct operator*, int *ret_fd);
void operator_close(struct operator*);
void operator_closep(struct operator**);

#endif
