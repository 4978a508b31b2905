/*
 * `writd --role responder`: becomes writ-responderd, as the user that its configuration names, with the key of its
 * client certificate as an open descriptor.
 *
 * A responder is one process, with a configuration of its own and nothing of the other roles; whoever manages services
 * starts it again.
 */
#ifndef WRIT_ISSUER_SUPERVISE_RESPONDER_H
#define WRIT_ISSUER_SUPERVISE_RESPONDER_H

#include "base/err.h"

/* Does not return when it went well. */
WRIT_CHECKED struct writ_err *responder_become(const char *conf_path);

#endif
