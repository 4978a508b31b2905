/*
 * A TPM's statements and public areas, read without a TPM: TPMT_PUBLIC, TPMS_ATTEST, TPMT_SIGNATURE, TPMS_NV_PUBLIC
 * (TPM 2.0 Library, Part 2), and the names that bind them (Part 1, 16).
 *
 * For whoever verifies what came from elsewhere: strict, to the last byte, nothing but the algorithms that ours use
 * (SHA-256 names; ECDSA P-256 by the attestation key; P-256 and P-384 keys).  Says what stands there; what it should be
 * is the caller's to judge.  Links no TPM library; knows no certificate.  What is read borrows from the input.
 * Thread-safe: no state.
 */
#ifndef WRIT_HSM_STATEMENT_H
#define WRIT_HSM_STATEMENT_H

#include "base/digest.h"
#include "base/pubkey.h"

#define TPM_NAME_LEN (2 + SHA256_LEN) /* 000b, then the digest of the area */

/* TPMA_OBJECT (Part 2, 8.3). */
#define TPM_FIXED_TPM 0x00000002u
#define TPM_FIXED_PARENT 0x00000010u
#define TPM_SENSITIVE_DATA_ORIGIN 0x00000020u
#define TPM_USER_WITH_AUTH 0x00000040u
#define TPM_ADMIN_WITH_POLICY 0x00000080u
#define TPM_NO_DA 0x00000400u
#define TPM_RESTRICTED 0x00010000u
#define TPM_DECRYPT 0x00020000u
#define TPM_SIGN 0x00040000u

#define TPM_OWNER 0x40000001u
#define TPM_ENDORSEMENT 0x4000000bu

/* An elliptic-curve key's public area. */
struct tpm_area {
	uint32_t attributes;
	struct writ_bytes policy; /* empty or 32 bytes */
	enum key_kind kind;	  /* KEY_P256 or KEY_P384 */
	bool ecdsa;		  /* its scheme is ECDSA with the hash of its kind; else it has none */
	bool storage;		  /* it wraps children, with AES-128 in CFB; else it does not */
	uint8_t name[TPM_NAME_LEN];
	uint8_t spki[SPKI_MAX];
	size_t spki_len;
};
WRIT_CHECKED struct writ_err *tpm_area_read(struct writ_bytes, struct tpm_area *ret);

/* The qualified name of an object: of what is above it (a hierarchy's is its number) and its name. */
void tpm_qualified_primary(uint32_t hierarchy, const uint8_t name[TPM_NAME_LEN], uint8_t out[TPM_NAME_LEN]);
void tpm_qualified_child(const uint8_t parent[TPM_NAME_LEN], const uint8_t name[TPM_NAME_LEN],
			 uint8_t out[TPM_NAME_LEN]);

/* A policy of PolicyAuthValue alone. */
void tpm_policy_auth_value(uint8_t out[SHA256_LEN]);

/* An NV index's public area: a counter's. */
struct tpm_counter_area {
	uint32_t index, attributes;
	bool counter; /* TPM_NT_COUNTER */
	bool written;
	uint8_t name[TPM_NAME_LEN];
};
WRIT_CHECKED struct writ_err *tpm_counter_read(struct writ_bytes, struct tpm_counter_area *ret);

enum tpm_said { TPM_SAID_NV = 0x8014, TPM_SAID_CERTIFY = 0x8017, TPM_SAID_QUOTE = 0x8018 };

struct tpm_attest {
	enum tpm_said type;
	struct writ_bytes signer; /* qualified name */
	struct writ_bytes extra;  /* what the asker gave */
	uint64_t clock_ms;	  /* of use since the TPM was cleared */
	uint32_t resets, restarts;
	bool clock_safe; /* it did not go back since it was last written down */
	uint64_t firmware;
	struct writ_bytes name, qualified; /* CERTIFY; NV: name alone */
	uint32_t pcrs;			   /* QUOTE: bit n for PCR n of the SHA-256 bank, the only one */
	struct writ_bytes pcr_digest;	   /* QUOTE */
	uint16_t offset;		   /* NV */
	struct writ_bytes contents;	   /* NV */
};
WRIT_CHECKED struct writ_err *tpm_attest_read(struct writ_bytes, struct tpm_attest *ret);

/* ECDSA with SHA-256: appends the signature in the form X.509 wants. */
WRIT_CHECKED struct writ_err *tpm_signature_read(struct writ_bytes, struct writ_buf *ret_der);

#endif
