/*
 * CA certificates and CRLs into what the front publishes.  The keeper's thread.
 */
#ifndef WRIT_ISSUER_SERVE_PUBLISH_H
#define WRIT_ISSUER_SERVE_PUBLISH_H

#include "issuer/serve/serve.h"

/* /ca/KEYID.cer of the anchor and each issuing CA, /ca/anchor.cer, and /ca/issuing.pem: all issuing CAs, newest first,
 * so that a relying party finds a new one without having met a leaf of it. */
WRIT_CHECKED struct writ_err *publish_cas(struct publish *, const struct signer_welcome *, writ_time now);

/* Fetches a CA's list from the signer and puts it under /crl/KEYID.crl.  WRIT_BROKEN or WRIT_UNAVAILABLE: the
 * connection is of no more use. */
WRIT_CHECKED struct writ_err *publish_list(struct serve *, int sock, const uint8_t key_id[20]);

#endif
