/*
 * Sealing in a PKCS#11 token, and its counters.
 *
 * Each number has an AES-256 key of its own in the token (label "writ sealed NUMBER"), made there and never to leave:
 * what it sealed is gone when it is destroyed.  The counters are data objects (application "writ", label "writ counter
 * NAME"): raised by making the new one before the old one is deleted, so that the highest counts.
 * All this is what the token claims: whoever copies or restores the token's own storage brings back keys and counters
 * together, and no software on this side can tell.  A TPM's counters are worth more.
 * Threading: one thread.
 */
#ifndef WRIT_HSM_PKCS11_SEAL_H
#define WRIT_HSM_PKCS11_SEAL_H

#include "hsm/pkcs11_token.h"

/* As custody.h says of each. */
WRIT_CHECKED struct writ_err *pkcs11_seal(struct pkcs11 *, uint64_t number, const struct writ_secret *,
					  struct writ_buf *ret_blob);
WRIT_CHECKED struct writ_err *pkcs11_unseal(struct pkcs11 *, struct writ_bytes blob, struct writ_secret *ret);
WRIT_CHECKED struct writ_err *pkcs11_destroy(struct pkcs11 *, uint64_t number);

WRIT_CHECKED struct writ_err *pkcs11_counter_make(struct pkcs11 *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *pkcs11_counter_read(struct pkcs11 *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *pkcs11_counter_raise(struct pkcs11 *, enum custody_counter, uint64_t *ret);

/* To `value` at once, which must be over the present one. */
WRIT_CHECKED struct writ_err *pkcs11_counter_set(struct pkcs11 *, enum custody_counter, uint64_t value);

#endif
