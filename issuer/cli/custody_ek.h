/*
 * An endorsement key's certificate, and the roots that vouch for it: pinned by whoever asks, never the system's store.
 */
#ifndef WRIT_ISSUER_CLI_CUSTODY_EK_H
#define WRIT_ISSUER_CLI_CUSTODY_EK_H

#include <openssl/x509.h>

#include "base/clock.h"

/* Reads the certificate; the caller frees it. */
WRIT_CHECKED struct writ_err *ek_read(struct writ_bytes der, X509 **ret);
void ek_freep(X509 **);

/*
 * Does it chain to a certificate of the PEM file `roots` - a maker's root, an intermediate CA, or itself, pinned - at
 * time `now`, by those of `chain` (NULL: none)?  It must be no CA, and if it names extended key usages,
 * tcg-kp-EKCertificate (2.23.133.8.1) must be among them.
 */
WRIT_CHECKED struct writ_err *ek_check(X509 *, const char *roots, const char *chain, writ_time now);

#endif
