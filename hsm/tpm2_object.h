/*
 * The objects that Writ uses in a TPM, as public areas: the storage root key, a signing key, a sealed secret, the attestation key, and the endorsement
 * keys that makers certify; and of the counters.
 *
 * An area is taken only when it equals its template bit for bit, all but what is unique to the object; so fixedTPM,
 * sensitiveDataOrigin, the policy and everything else are checked by one comparison.  Talks to no TPM.  Thread-safe: no
 * state.
 */
#ifndef WRIT_HSM_TPM2_OBJECT_H
#define WRIT_HSM_TPM2_OBJECT_H

#include <tss2/tss2_tpm2_types.h>

#include "hsm/tpm2_policy.h"

void tpm2_srk_template(TPM2B_PUBLIC *ret);
void tpm2_key_template(enum key_kind, const struct tpm2_policy *, TPM2B_PUBLIC *ret); /* KEY_P256 or KEY_P384 */
void tpm2_seal_template(const struct tpm2_policy *, TPM2B_PUBLIC *ret);

/* Where a counter is, what its public area must be, and its name: nameAlg and the area's digest.  `raised`: once it has a
 * value, which the TPM writes into the attributes. */
uint32_t tpm2_counter_index(enum custody_counter);
void tpm2_counter_public(enum custody_counter, bool raised, TPMS_NV_PUBLIC *ret);
void tpm2_counter_name(enum custody_counter, bool raised, TPM2B_NAME *ret);

void tpm2_ak_template(TPM2B_PUBLIC *ret);

/* Endorsement keys that makers certify. */
enum tpm2_ek { TPM2_EK_P384 = 1, TPM2_EK_P256, TPM2_EK_RSA2048 };
void tpm2_ek_template(enum tpm2_ek, TPM2B_PUBLIC *ret);
bool tpm2_ek_by_policy(enum tpm2_ek); /* used by PolicySecret of the endorsement hierarchy, not by its empty auth value */

/* Equal in all but `unique`? */
bool tpm2_is_of(const TPM2B_PUBLIC *, const TPM2B_PUBLIC *template_);

/* Exactly one TPM2B, to its last byte; WRIT_INVALID. */
WRIT_CHECKED struct writ_err *tpm2_public_read(struct writ_bytes, TPM2B_PUBLIC *ret);
WRIT_CHECKED struct writ_err *tpm2_private_read(struct writ_bytes, TPM2B_PRIVATE *ret);
WRIT_CHECKED struct writ_err *tpm2_public_write(const TPM2B_PUBLIC *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *tpm2_private_write(const TPM2B_PRIVATE *, struct writ_buf *ret);

/* The SubjectPublicKeyInfo of a signing key of ours; WRIT_INVALID when the area is not of the template of its curve. */
WRIT_CHECKED struct writ_err *tpm2_key_spki(const TPM2B_PUBLIC *, const struct tpm2_policy *, struct writ_buf *ret_spki);

#endif
