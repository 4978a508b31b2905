/*
 * A signing key in a token: what pkcs11.c and pkcs11_attest.c share.
 */
#ifndef WRIT_HSM_PKCS11_KEY_H
#define WRIT_HSM_PKCS11_KEY_H

#include "hsm/pkcs11_token.h"

struct pkcs11_key {
	struct key base;
	enum key_kind kind;
	struct writ_buf spki; /* the pinned one */
	uint8_t id[PKCS11_ID_MAX];
	size_t id_len;
	CK_OBJECT_HANDLE handle; /* of that generation */
	uint64_t generation;
};

/* Looks the key up unless its handle is of this session: by id, as the pinned public key, and still never to leave. */
WRIT_CHECKED struct writ_err *pkcs11_key_here(struct pkcs11 *, struct pkcs11_key *);

/* pkcs11_attest.c: the custody contract's attest. */
WRIT_CHECKED struct writ_err *pkcs11_attest(struct custody *, const uint8_t qualifying[ATTEST_QUALIFYING_LEN],
					    struct key *const *keys, size_t n, struct attestation *ret);

#endif
