/*
 * A challenge to a TPM: 32 bytes that only the TPM with a certain endorsement key gives back, and only while it holds
 * the object of a certain name (TPM2_MakeCredential in software; TPM 2.0 Library, Part 1, 24 and Annexes B.10.4,
 * C.6.4).
 *
 * Made by whoever asks, from an endorsement key's certificate and an attestation key's name; needs no TPM.  What the
 * endorsement key is beyond its public key (hash, AES key length) follows from its kind, as makers make them: RSA-2048
 * and P-256 with SHA-256 and AES-128, P-384 with SHA-384 and AES-256.  Knows no certificate.  Thread-safe: no state.
 */
#ifndef WRIT_HSM_CREDENTIAL_H
#define WRIT_HSM_CREDENTIAL_H

#include "base/secret.h"
#include "hsm/attest.h"
#include "hsm/statement.h"

struct evp_pkey_st;

/* `secret` has ATTEST_SECRET_LEN bytes.  WRIT_INVALID: a kind of endorsement key that is not known. */
WRIT_CHECKED struct writ_err *credential_make(struct evp_pkey_st *ek, const uint8_t name[TPM_NAME_LEN],
					      const struct writ_secret *secret, struct writ_buf *ret_id_object,
					      struct writ_buf *ret_encrypted);

#endif
