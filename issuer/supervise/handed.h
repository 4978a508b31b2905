/*
 * One role as a service manager starts it: `writd --config FILE --role NAME` becomes that role's program, with the
 * listening sockets that it was handed (LISTEN_FDS, sd_listen_fds(3)) where the program looks for them.
 *
 * systemd is nothing that this links with: the protocol is three variables of the environment.
 */
#ifndef WRIT_ISSUER_SUPERVISE_HANDED_H
#define WRIT_ISSUER_SUPERVISE_HANDED_H

#include "issuer/supervise/roles.h"

/* "device", "signer", "issuer", "fetch"; false when it is none of them. */
bool handed_role_from(const char *name, enum role *ret);

/*
 * Does not return when it went well.  WRIT_INVALID: we are not the role's user, or a socket is missing, is of the wrong
 * kind, or was not wanted; each is told by its name (FileDescriptorName=), "admin" being the signer's second one.
 */
WRIT_CHECKED struct writ_err *handed_become(const struct conf *, enum role);

#endif
