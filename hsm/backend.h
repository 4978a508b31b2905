/*
 * What the backends share with custody.c and nobody else includes: latching, digests, the form of signatures.
 */
#ifndef WRIT_HSM_BACKEND_H
#define WRIT_HSM_BACKEND_H

#include "hsm/custody.h"

#define CUSTODY_DIGEST_MAX 48

extern const struct custody_ops custody_tpm2, custody_pkcs11;

/* Takes `err`, remembers its text, and hands it back: from now on custody.c refuses every request to this device (I12).
 */
WRIT_CHECKED struct writ_err *custody_latch(struct custody *, struct writ_err *err);

/* Bytes of a coordinate, of r and of s; 0 for kinds that a device does not hold. */
size_t custody_scalar_len(enum key_kind);

/* WRIT_INVALID unless the devices of Writ hold such keys: P-256 and P-384. */
WRIT_CHECKED struct writ_err *custody_kind_check(enum key_kind);

/* The digest that ECDSA with this kind signs, for tokens that want one. */
WRIT_CHECKED struct writ_err *custody_digest(enum key_kind, struct writ_bytes message, uint8_t out[CUSTODY_DIGEST_MAX],
					     size_t *ret_len);

/* Appends r and s, big endian and at most a coordinate long, as DER.  WRIT_LOCKED when one is zero or too long. */
WRIT_CHECKED struct writ_err *custody_ecdsa_der(enum key_kind, struct writ_bytes r, struct writ_bytes s,
						struct writ_buf *ret_sig);

/* Copies a device's text about itself: printable ASCII, blanks at the end dropped, always NUL-terminated. */
void custody_text(char out[64], struct writ_bytes);

#endif
