/*
 * The counters of custody.h in a TPM: an NV counter each, at a fixed index, read and raised with the custody's auth
 * value.
 *
 * (1) An index is trusted only when its name is the one computed from our own public area: attributes, policy, size and
 *     index, bit for bit.
 * (2) The auth value never crosses the bus: it is set in an encrypting session and proved by HMAC.
 * (3) A counter that was deleted and made again does not begin anew: a TPM starts each counter beyond all that it ever
 *     had (TPM 2.0 Part 3, TPM2_NV_Increment).
 * One custody a TPM: the indices are fixed, so another with its own auth value finds them taken, and says so.
 * Threading: one thread.
 */
#ifndef WRIT_HSM_TPM2_NV_H
#define WRIT_HSM_TPM2_NV_H

#include "hsm/tpm2_context.h"

/* The index, looked up and checked (1), with the auth value set; the caller closes it: Esys_TR_Close().  Sets the
 * attributes of tpm->hmac for the command that follows.  WRIT_NOT_FOUND: never made, or made and never raised. */
WRIT_CHECKED struct writ_err *tpm2_counter_here(struct tpm2 *, enum custody_counter, ESYS_TR *ret);

WRIT_CHECKED struct writ_err *tpm2_counter_make(struct tpm2 *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *tpm2_counter_read(struct tpm2 *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *tpm2_counter_raise(struct tpm2 *, enum custody_counter, uint64_t *ret);

#endif
