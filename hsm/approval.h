/*
 * Approvals of PCR values: what an offline key says about the firmware and kernel under which a TPM's keys may be used.
 *
 * Keys are made under TPM2_PolicyAuthorize: not one state of the PCRs opens them, but any state that the approval key
 *has signed for.  A kernel update then needs a new approval, and no new key.  What is signed is the digest of the
 *policy "these PCRs have these values, and the approval counter is not over this version", with a text that names the
 *CA, so that an approval for one does not serve another.  Raising the counter ends every approval of an older version.
 *
 * An approval is a file of lines, each in its place and in one form only, so that reading and writing it again gives
 *the same bytes:
 *
 *	writ pcr approval 1
 *	for: writ-ca-agents.corp.example
 *	version: 3
 *	pcr 7: <64 hex digits>				SHA-256 bank, ascending
 *	pcr 11: <64 hex digits>
 *	policy: <64 hex digits>				what follows from the lines above
 *	signature: <hex of the DER>			ECDSA P-256 over SHA-256(policy || SHA-256(for))
 *
 * What a machine says of itself, for whoever approves it, has the same form:
 *
 *	writ pcr values 1
 *	for: writ-ca-agents.corp.example
 *	key: <68 hex digits>				the TPM's name of the approval key
 *	counter: 2
 *	pcr 7: ...
 *
 * Knows no TPM: digests are computed as TPM 2.0 part 3 has them (23.7, 23.9, 23.16), so that approving needs no machine
 * like the one approved.  Base alone.  Thread-safe: no state.
 */
#ifndef WRIT_HSM_APPROVAL_H
#define WRIT_HSM_APPROVAL_H

#include "base/bytes.h"
#include "base/digest.h"

#define APPROVAL_FILE_MAX 2048 /* bytes; eight PCRs take 1000 */
#define APPROVAL_REF_MAX 96    /* bytes: "writ-ca-" and a trust domain */
#define APPROVAL_REF_PREFIX "writ-ca-"
#define APPROVAL_PCR_END 24		   /* PCRs are numbered below this */
#define APPROVAL_PCRS_MAX 8		   /* in one approval */
#define APPROVAL_NAME_LEN (2 + SHA256_LEN) /* a TPM's name of a public area: algorithm and digest */
#define APPROVAL_POINT_LEN 64		   /* x, y */
#define APPROVAL_AREA_LEN 86		   /* TPMT_PUBLIC of the key */
#define APPROVAL_SIGNATURE_MAX 72	   /* DER of two 256-bit integers */
#define APPROVAL_SELECTION_LEN 10	   /* TPML_PCR_SELECTION of one bank, three octets */
#define APPROVAL_COUNTER_HANDLE 0x01805702 /* NV index of the approval counter (hsm/tpm2_object.h) */
#define APPROVAL_MESSAGE_LEN (2 * SHA256_LEN)

/* PCRs of the SHA-256 bank. */
struct pcr_values {
	uint32_t mask; /* bit n: PCR n */
	uint8_t value[APPROVAL_PCR_END][SHA256_LEN];
};

struct approval {
	char ref[APPROVAL_REF_MAX + 1];
	uint64_t version;
	struct pcr_values pcrs;
	uint8_t policy[SHA256_LEN];
	uint8_t signature[APPROVAL_SIGNATURE_MAX];
	size_t signature_len;
};

/* What a machine says of itself. */
struct pcr_report {
	char ref[APPROVAL_REF_MAX + 1];
	uint8_t key_name[APPROVAL_NAME_LEN];
	uint64_t counter;
	struct pcr_values pcrs;
};

/*
 * WRIT_INVALID names the line and what is wrong with it.  `policy` follows from the rest, or the file is refused; the
 * signature is not looked at: approval_verify().
 */
WRIT_CHECKED struct writ_err *approval_read(struct writ_bytes text, struct approval *ret);
WRIT_CHECKED struct writ_err *approval_write(const struct approval *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *pcr_report_read(struct writ_bytes text, struct pcr_report *ret);
WRIT_CHECKED struct writ_err *pcr_report_write(const struct pcr_report *, struct writ_buf *ret);

/* Is it signed by that key (DER SubjectPublicKeyInfo, P-256)?  WRIT_INVALID when not. */
WRIT_CHECKED struct writ_err *approval_verify(const struct approval *, struct writ_bytes spki);

/* WRIT_INVALID unless PCRs of this mask can be bound to: 1 to 8 of 0 to 15 and 17 to 22. */
WRIT_CHECKED struct writ_err *pcr_mask_check(uint32_t mask);

/* "7=01234567 11=89abcdef": the first 4 bytes of each value, for messages, which are short. */
#define PCR_TEXT_MAX (APPROVAL_PCRS_MAX * 12 + 1)
char *pcr_text(const struct pcr_values *, char out[PCR_TEXT_MAX]);

/* ---- digests, as a TPM computes them ---- */

/* What a TPM takes as policyRef: 32 bytes fit every TPM. */
void approval_ref_digest(const char *ref, uint8_t out[SHA256_LEN]);

/*
 * The approval key as a TPM knows it: a public area (TPMT_PUBLIC) of a P-256 key with sign, decrypt and userWithAuth
 * and no scheme, as tpm2_loadexternal(1) makes it of a PEM file, and its name.  WRIT_INVALID for another kind of key.
 */
WRIT_CHECKED struct writ_err *approval_key_point(struct writ_bytes spki, uint8_t out[APPROVAL_POINT_LEN]);
void approval_key_area(const uint8_t point[APPROVAL_POINT_LEN], uint8_t out[APPROVAL_AREA_LEN]);
void approval_key_name(const uint8_t point[APPROVAL_POINT_LEN], uint8_t out[APPROVAL_NAME_LEN]);

void pcr_selection(uint32_t mask, uint8_t out[APPROVAL_SELECTION_LEN]);
void pcr_digest(const struct pcr_values *, uint8_t out[SHA256_LEN]);

/* The approved policy: PolicyPCR, then PolicyNV(approval counter <= version). */
void approval_policy(const struct pcr_values *, uint64_t version, uint8_t out[SHA256_LEN]);

/* What is signed: the policy, and the digest of `ref`. */
void approval_message(const uint8_t policy[SHA256_LEN], const char *ref, uint8_t out[APPROVAL_MESSAGE_LEN]);

/* The policy digest after PolicyAuthorize, whatever it was before: what keys are made under. */
void approval_authorized(const uint8_t key_name[APPROVAL_NAME_LEN], const uint8_t ref_digest[SHA256_LEN],
			 uint8_t out[SHA256_LEN]);

/* The same and PolicyAuthValue: the whole policy of a signing key. */
void approval_key_policy(const uint8_t key_name[APPROVAL_NAME_LEN], const char *ref, uint8_t out[SHA256_LEN]);

#endif
