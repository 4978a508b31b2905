/*
 * Running writ-signerd once, with the device behind it and nothing else: a ceremony, a restore.
 */
#ifndef WRIT_ISSUER_CLI_SIGNER_RUN_H
#define WRIT_ISSUER_CLI_SIGNER_RUN_H

#include "issuer/conf/conf.h"
#include "issuer/supervise/roles.h"

/* `what`: its further arguments, ended by NULL; `anchor_fd`: a connection to the anchor's own device, or -1.  What it says
 * goes to our stdout and stderr.  init.c */
WRIT_CHECKED struct writ_err *signer_run(const struct conf *, const struct role_users *, const char *const *what,
					 int anchor_fd);

#endif
