/*
 * Public keys and signatures as data: kinds, SubjectPublicKeyInfo, AlgorithmIdentifiers, verification.
 *
 * Strict: named curves only, uncompressed points on the curve only, no RSA.  Signatures are in the form X.509 wants
 * (ECDSA: DER SEQUENCE of r and s; Ed25519: 64 bytes).  Keeps OpenSSL's decoder (110 us a key) off the hot path.
 * A `struct pubkey` may be used by one thread at a time.
 */
#ifndef WRIT_BASE_PUBKEY_H
#define WRIT_BASE_PUBKEY_H

#include "base/bytes.h"

struct evp_pkey_st; /* OpenSSL's EVP_PKEY */
struct evp_pkey_ctx_st;

enum key_kind {
	KEY_NONE,
	KEY_P256, /* ecdsa-with-SHA256 */
	KEY_P384, /* ecdsa-with-SHA384 */
	KEY_ED25519,
};

#define SPKI_MAX 128	   /* bytes of DER: P-384 has 120 */
#define SIGNATURE_MAX 8192 /* bytes: room for ML-DSA; P-384 has 104 */

struct pubkey {
	enum key_kind kind;
	struct evp_pkey_st *pkey;    /* owned */
	struct evp_pkey_ctx_st *ctx; /* owned; ready to verify; ECDSA only */
};

/* "P-256", "P-384", "Ed25519". */
const char *key_kind_name(enum key_kind);
bool key_kind_from(struct writ_bytes name, enum key_kind *ret);

/* DER of the AlgorithmIdentifier of signatures by such a key. */
struct writ_bytes key_signature_alg(enum key_kind);

/* The kind whose signature AlgorithmIdentifier is exactly `der`, or KEY_NONE. */
enum key_kind key_kind_of_alg(struct writ_bytes der);

/*
 * The kind, and the raw key (the BIT STRING's octets), of a DER SubjectPublicKeyInfo: syntax only, no arithmetic.
 * Messages name what was found: "RSA keys are not accepted: use P-256, P-384 or Ed25519", "curve secp256k1 ...",
 * "compressed point".
 */
WRIT_CHECKED struct writ_err *spki_parse(struct writ_bytes spki, enum key_kind *ret_kind, struct writ_bytes *ret_raw);

/* The DER SubjectPublicKeyInfo of a raw key. */
WRIT_CHECKED struct writ_err *spki_build(enum key_kind, struct writ_bytes raw, struct writ_buf *ret);

/* A key for verification; WRIT_INVALID for a point off the curve or at infinity. */
WRIT_CHECKED struct writ_err *pubkey_load(struct writ_bytes spki, struct pubkey *ret);
/*
 * For a key that is looked at once: it takes the place of the thread's last one of its kind, and is the caller's until
 * the thread's next call.  Making an EC key costs six times as much (18 us against 3).
 */
WRIT_CHECKED struct writ_err *pubkey_load_once(struct writ_bytes spki, const struct pubkey **ret);
void pubkey_done(struct pubkey *);

/* WRIT_INVALID when the signature is not this key's over `message`. */
WRIT_CHECKED struct writ_err *pubkey_verify(const struct pubkey *, struct writ_bytes message,
					    struct writ_bytes signature);

/* The same for a P-256 key and a message of which the SHA-256 is at hand. */
WRIT_CHECKED struct writ_err *pubkey_verify_digest(const struct pubkey *, const uint8_t digest[32],
						   struct writ_bytes signature);

#endif
