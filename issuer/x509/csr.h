/*
 * Certification requests (RFC 2986), strict: the key and the proof that the asker has it, nothing else.
 *
 * The subject is ignored, attributes must be empty: a request that asks for extensions is refused, and nothing of it is ever copied (I7).
 * At most 8 KiB; P-256, P-384 and Ed25519; the self-signature by that key with the algorithm that goes with it.  Copies nothing:
 * views into the request.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_CSR_H
#define WRIT_ISSUER_X509_CSR_H

#include "base/pubkey.h"

#define CSR_MAX 8192

struct csr {
	struct writ_bytes info;		/* CertificationRequestInfo, whole: what is signed */
	struct writ_bytes spki;		/* whole DER */
	enum key_kind kind;
	struct writ_bytes signature;
	uint8_t spki_sha256[32];
};

WRIT_CHECKED struct writ_err *csr_parse(struct writ_bytes der, struct csr *ret);

/* Proof of possession: 67-72 us for P-256, so it comes after everything cheap. */
WRIT_CHECKED struct writ_err *csr_verify(const struct csr *);

#endif
