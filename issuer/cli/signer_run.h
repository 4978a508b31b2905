/*
 * Running writ-deviced as writd does, for one command, and writ-signerd once with it behind: a ceremony, a restore, a
 * question before the first start.  Knows no answer of either.  One thread.  init.c
 */
#ifndef WRIT_ISSUER_CLI_SIGNER_RUN_H
#define WRIT_ISSUER_CLI_SIGNER_RUN_H

#include "issuer/conf/conf.h"
#include "issuer/supervise/roles.h"

/* The device at RUN/device.sock, to be ended with device_end(). */
WRIT_CHECKED struct writ_err *device_run(const struct conf *, const struct role_users *, pid_t *ret);
void device_end(pid_t);

/* `what`: its further arguments, ended by NULL; `anchor_fd`: a connection to the anchor's own device, or -1.  What it says
 * goes to our stdout and stderr. */
WRIT_CHECKED struct writ_err *signer_run(const struct conf *, const struct role_users *, const char *const *what,
					 int anchor_fd);

#endif
