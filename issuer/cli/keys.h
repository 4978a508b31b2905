/*
 * Key and certificate files of the user's own, read with OpenSSL: a command line may be slow where it is convenient.
 */
#ifndef WRIT_ISSUER_CLI_KEYS_H
#define WRIT_ISSUER_CLI_KEYS_H

#include <openssl/evp.h>

#include "base/bytes.h"

void keys_pkey_done(EVP_PKEY **);

/* The private key of a PEM file: P-256, P-384 or Ed25519. */
WRIT_CHECKED struct writ_err *keys_private(const char *path, EVP_PKEY **ret);

/* Makes a P-256 key and writes it, mode 0600; WRIT_CONFLICT when the file is there. */
WRIT_CHECKED struct writ_err *keys_make(const char *path, EVP_PKEY **ret);

/* SHA-256, in hex, of the public key in a PEM file: a private key, a public key, a request or a certificate. */
WRIT_CHECKED struct writ_err *keys_spki_sha256(const char *path, char ret_hex[65]);

/* Appends the DER of a request with an empty subject, signed by the key. */
WRIT_CHECKED struct writ_err *keys_csr(EVP_PKEY *, struct writ_buf *ret_der);

/* Is the first certificate of that PEM file a leaf of ours?  False for what cannot be read. */
bool keys_is_leaf(const char *path);

/* DER of the certificates in a PEM or DER file, at most `max`; `*ret_n` of them. */
WRIT_CHECKED struct writ_err *keys_certificates(const char *path, struct writ_buf *ret, size_t max, size_t *ret_n);

#endif
