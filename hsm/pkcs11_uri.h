/*
 * RFC 7512 URIs: of a token, in the configuration; of a key, as its reference.
 *
 * Secrets are never in them: pin-value is refused, and so are pin-source, module-name and module-path, which have
 * settings of their own, and attributes that p11-kit does not know.  Opens no module.  Thread-safe: no state.
 */
#ifndef WRIT_HSM_PKCS11_URI_H
#define WRIT_HSM_PKCS11_URI_H

#include <p11-kit/uri.h>

#include "base/bytes.h"

#define PKCS11_URI_MAX 1024 /* bytes */
#define PKCS11_ID_MAX 64    /* bytes of CKA_ID */

/* A token's: serial, or token and manufacturer.  `*ret` is the caller's, to free with p11_kit_uri_free(). */
WRIT_CHECKED struct writ_err *pkcs11_uri_token(const char *uri, P11KitUri **ret);

/* A key's: serial, id and type=private.  `ret_id` gets `*ret_id_len` bytes. */
WRIT_CHECKED struct writ_err *pkcs11_uri_key(struct writ_bytes uri, P11KitUri **ret, uint8_t ret_id[PKCS11_ID_MAX],
					     size_t *ret_id_len);

/* Appends a key's URI. */
WRIT_CHECKED struct writ_err *pkcs11_uri_write(const CK_TOKEN_INFO *, struct writ_bytes id, const char *label,
					       struct writ_buf *ret);

void pkcs11_uri_freep(P11KitUri **);

#endif
