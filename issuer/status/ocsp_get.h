/*
 * OCSP over GET: the request as base64 in the path (RFC 6960 A.1, RFC 9919).  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_STATUS_OCSP_GET_H
#define WRIT_ISSUER_STATUS_OCSP_GET_H

#include "base/bytes.h"

#define OCSP_GET_MAX 1024 /* characters as sent; a SHA-256 CertID with a nonce of 32 octets is 220, all escaped 660 */

/*
 * Appends the DER request that stands in `text`, the path behind the prefix and its slash, as it was sent. WRIT_INVALID
 * says what is wrong with it.
 */
WRIT_CHECKED struct writ_err *ocsp_get_decode(struct writ_bytes text, struct writ_buf *ret);

#endif
