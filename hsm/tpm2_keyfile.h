/*
 * TPM 2.0 key files: PEM "TSS2 PRIVATE KEY" around the DER of the ASN.1 module that tools share.
 *
 * Strict: only the form that keyfile_write() makes is read, so reading and writing again gives the same bytes.  A key
 * or a sealed secret under a storage root key, and in the standard's own field [1] the steps of its policy, the last of
 * them PolicyAuthValue: what is needed to use the object is there for whoever reads the file, and the object's digest
 * proves it.  Importable keys, keys without an auth value, foreign policies and RSA parents are refused by name. Knows
 * no TPM: the two areas are opaque bytes here.  Thread-safe: no state.
 */
#ifndef WRIT_HSM_TPM2_KEYFILE_H
#define WRIT_HSM_TPM2_KEYFILE_H

#include "hsm/custody.h"
#include "hsm/tpm2_policy.h"

#define KEYFILE_MAX CUSTODY_REF_MAX /* bytes of PEM */
#define KEYFILE_DESCRIPTION_MAX 256
#define KEYFILE_AREA_MAX 2048 /* bytes of the public or the private area: a P-384 key has 122 and 208 */

/* Parents, as the file's INTEGER: the owner hierarchy's primary key of the standard template, or the persistent handle.
 */
#define KEYFILE_PARENT_OWNER 0x40000001
#define KEYFILE_PARENT_PERSISTENT 0x81000001

enum keyfile_type { KEYFILE_LOADABLE, KEYFILE_SEALED };

/* No hole before or behind the steps: gcc 12, told to clear what is uninitialised, clears into an array instead. */
struct keyfile {
	struct tpm2_policy policy;     /* 1 to TPM2_STEPS_MAX steps, the last one AUTH_VALUE */
	struct writ_bytes description; /* UTF-8, 1 to KEYFILE_DESCRIPTION_MAX bytes */
	enum keyfile_type type;
	uint32_t parent;
	struct writ_bytes public;  /* TPM2B_PUBLIC */
	struct writ_bytes private; /* TPM2B_PRIVATE */
};

/* `*ret` borrows from `der`, which needs a limit of KEYFILE_MAX.  WRIT_INVALID names what is off. */
WRIT_CHECKED struct writ_err *keyfile_read(struct writ_bytes pem, struct writ_buf *der, struct keyfile *ret);

/* Appends the PEM. */
WRIT_CHECKED struct writ_err *keyfile_write(const struct keyfile *, struct writ_buf *ret_pem);

#endif
