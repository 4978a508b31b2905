/*
 * Approvals of PCR values in use: the folder they lie in, the one that fits, and a policy session that it authorizes.
 *
 * (1) The TPM judges.  What is read here of PCRs and counter chooses a file and makes a message; no more follows from
 * it. (2) The approval in use is kept until the TPM does not take it: then the folder is read once more, and either
 * another one fits, or the device latches: WRIT_LOCKED, "policy: ...". (3) That latch alone is lifted without an
 * operator's word, once for each change of the folder.  Nothing secret is tried by it: a policy that is not satisfied
 * is refused by the TPM before any authentication. Files that are damaged, of another CA or signed by another key are
 * passed over, and said so. Threading: one thread.
 */
#ifndef WRIT_HSM_TPM2_APPROVALS_H
#define WRIT_HSM_TPM2_APPROVALS_H

#include <tss2/tss2_esys.h>

#include "hsm/approval.h"
#include "hsm/custody.h"
#include "hsm/tpm2_policy.h"

#define APPROVALS_SUFFIX ".approval" /* of the files that are looked at */
#define APPROVALS_MAX 32	     /* files in the folder */

/* Zero is none: keys are bound to no PCR. */
struct tpm2_approvals {
	bool on;
	struct tpm2_authority authority;
	uint8_t key_name[APPROVAL_NAME_LEN];
	struct writ_buf spki; /* of the approval key */

	bool chosen; /* (2) */
	struct approval approval;
	bool has_ticket; /* the TPM's own word that the approval's signature is good */
	TPMT_TK_VERIFIED ticket;

	uint8_t refused_at[SHA256_LEN]; /* (3): the folder as it was when nothing in it fitted */
};

/* Reads the approval key.  WRIT_INVALID: not a P-256 public key in PEM form. */
WRIT_CHECKED struct writ_err *tpm2_approvals_open(struct tpm2_approvals *, const struct custody_conf *);
void tpm2_approvals_done(struct tpm2_approvals *);

/* The steps that keys of this device begin with: NULL for none. */
const struct tpm2_authority *tpm2_approvals_authority(const struct tpm2_approvals *);

/* Does an approval fit now?  WRIT_LOCKED, latched: none does (2). */
WRIT_CHECKED struct writ_err *tpm2_approvals_fit(struct tpm2 *);

/* The same, the folder being read only when the PCRs are no longer those of the approval in use. */
WRIT_CHECKED struct writ_err *tpm2_approvals_hold(struct tpm2 *);

/* Has the policy session, which is empty, authorized. */
WRIT_CHECKED struct writ_err *tpm2_approvals_satisfy(struct tpm2 *);

/* (3): has the folder changed since it latched? */
bool tpm2_approvals_changed(struct tpm2 *);

/* WRIT_CONFLICT unless an approval that fits outlives the next raise of the counter, which is at `counter`. */
WRIT_CHECKED struct writ_err *tpm2_approvals_outlive(struct tpm2 *, uint64_t counter);

/* What an approver must know of this machine; the counter is made unless it is there. */
WRIT_CHECKED struct writ_err *tpm2_approvals_report(struct tpm2 *, struct pcr_report *ret);

#endif
