/*
 * What writ-deviced gives up, by the device it serves: a TPM's device file wants next to nothing, a module of a vendor
 * wants whatever vendors do.
 */
#ifndef WRIT_HSM_DEVICED_SANDBOX_H
#define WRIT_HSM_DEVICED_SANDBOX_H

#include "hsm/deviced_settings.h"

/*
 * Loads the code that reaches a TPM, and enters the sandbox; before any other thread.  A PKCS#11 module is loaded
 * later, inside: it may load more of its own whenever it likes.
 */
WRIT_CHECKED struct writ_err *deviced_confine(const struct settings *);

#endif
