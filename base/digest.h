/*
 * SHA-256 (SHA-384 for P-384 signatures, SHA-1 for OCSP CertIDs only) without the cost of an implicit fetch: methods
 * are fetched once a process.  Thread-safe.  A failure of the library is an invariant broken: it ends the process
 * (robustness: RNG and digest errors abort).
 */
#ifndef WRIT_BASE_DIGEST_H
#define WRIT_BASE_DIGEST_H

#include "base/bytes.h"

#define SHA256_LEN 32
#define SHA384_LEN 48
#define SHA1_LEN 20

void writ_sha256(struct writ_bytes, uint8_t out[SHA256_LEN]);

/* Over several pieces, as one message. */
void writ_sha256v(const struct writ_bytes *pieces, size_t n, uint8_t out[SHA256_LEN]);

/* A message that comes piece by piece, over several wake-ups. */
struct writ_sha256 {
	struct evp_md_ctx_st *ctx; /* owned; NULL: none is begun */
};
void writ_sha256_begin(struct writ_sha256 *);
void writ_sha256_add(struct writ_sha256 *, struct writ_bytes);
void writ_sha256_end(struct writ_sha256 *, uint8_t out[SHA256_LEN]);
void writ_sha256_done(struct writ_sha256 *);

void writ_sha384(struct writ_bytes, uint8_t out[SHA384_LEN]);
void writ_sha1(struct writ_bytes, uint8_t out[SHA1_LEN]);

/* Cryptographically strong; aborts when the generator fails. */
void writ_random(uint8_t *out, size_t len);

#endif
