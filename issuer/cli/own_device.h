/*
 * A writ-deviced of one command's own: for a key of the user's (sign_with.h), for the token with an operator's anchor
 * (operator.h).
 *
 * It is told everything by arguments, as by writd, serves one connection - our end of a socket pair - and ends when
 * that is closed, and with us.  Knows no key.  One thread.
 */
#ifndef WRIT_ISSUER_CLI_OWN_DEVICE_H
#define WRIT_ISSUER_CLI_OWN_DEVICE_H

#include <sys/types.h>

#include "hsm/wire.h"

#define OWN_DEVICE_WORDS_MAX 56 /* arguments that a caller may give */

/* Its arguments but for those that every such device has: added two by two, or one alone with a NULL.  They are
 * borrowed until own_device_start(); more than fit are left out, which nobody's options or configuration can reach. */
struct own_device_words {
	const char *list[OWN_DEVICE_WORDS_MAX];
	size_t n;
};
void own_device_word(struct own_device_words *, const char *name, const char *value);

struct own_device {
	struct device *device;
	pid_t pid; /* 0: none */
};

/* `secret_fd` becomes its descriptor 4, or is -1.  Waits until it serves: WRIT_UNAVAILABLE after 30 s, else what the
 * device said.  own_device_end() after a failure too. */
WRIT_CHECKED struct writ_err *own_device_start(const struct own_device_words *, int secret_fd, struct own_device *ret);
void own_device_end(struct own_device *);

#endif
