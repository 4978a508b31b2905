/*
 * What the use of an object in a TPM must satisfy, as data: a list of steps, in their order.
 *
 * From the steps follow the digest that stands in the object's public area - computed here, without a TPM - what a
 * policy session does before the object is used, and what a key file carries.
 * Knows no object.  Pure but for tpm2_policy_ready(); threading as tpm2_context.h.
 */
#ifndef WRIT_HSM_TPM2_POLICY_H
#define WRIT_HSM_TPM2_POLICY_H

#include <tss2/tss2_esys.h>

#include "hsm/approval.h"
#include "hsm/custody.h"

#define TPM2_STEPS_MAX 4
#define TPM2_STEP_PARAMETERS_MAX 128 /* bytes of a step's parameters in a key file */

enum tpm2_step_kind {
	TPM2_STEP_COUNTER = 1, /* PolicyNV: the counter is not over `limit` */
	TPM2_STEP_AUTH_VALUE,  /* PolicyAuthValue: whoever uses the object knows the custody's auth value */
	TPM2_STEP_AUTHORIZED,  /* PolicyAuthorize: the PCRs are as an approval says; the first step, as it forgets others */
};

/* Whose approvals count, and for what (hsm/approval.h). */
struct tpm2_authority {
	uint8_t point[APPROVAL_POINT_LEN];
	uint8_t ref[SHA256_LEN];
};

struct tpm2_step {
	enum tpm2_step_kind kind;
	enum custody_counter counter; /* COUNTER */
	uint64_t limit;		      /* COUNTER */
	struct tpm2_authority authority; /* AUTHORIZED */
};

struct tpm2_policy {
	size_t n; /* 0: no policy, which no object of ours has */
	struct tpm2_step steps[TPM2_STEPS_MAX];
};

struct tpm2;

/* Of a signing key; of a secret sealed under that number.  `authority` NULL: whatever the PCRs. */
struct tpm2_policy tpm2_policy_of_key(const struct tpm2_authority *authority);
struct tpm2_policy tpm2_policy_of_sealed(const struct tpm2_authority *authority, uint64_t number);
bool tpm2_policy_same(const struct tpm2_policy *, const struct tpm2_policy *);

/* SHA-256 policies alone (TPM 2.0 Part 3, the commands' own formulas). */
void tpm2_policy_digest(const struct tpm2_policy *, TPM2B_DIGEST *ret);

/*
 * A step as a key file has it: command code and parameters.  PolicyAuthValue has none.  PolicyNV: u32 index, the
 * operand (u16 length, u64), u16 offset, u16 operation; the counters' own indices only, and "unsigned <=".
 * PolicyAuthorize: TPM2B_PUBLIC, TPM2B_DIGEST and, since approvals lie elsewhere, a TPMT_SIGNATURE that is none.
 * WRIT_INVALID names what is off.
 */
WRIT_CHECKED struct writ_err *tpm2_step_read(uint32_t command, struct writ_bytes parameters, struct tpm2_step *ret);
WRIT_CHECKED struct writ_err *tpm2_step_write(const struct tpm2_step *, uint32_t *ret_command, struct writ_buf *ret);

/*
 * The policy session, its policy satisfied for the next command, which needs its own result: tpm->policy_dirty stays
 * set until the caller clears it.  `attributes`: TPMA_SESSION_DECRYPT and ENCRYPT as the command can.  WRIT_NOT_FOUND:
 * a counter has passed the limit, so the object is destroyed; nothing is latched by it.
 */
WRIT_CHECKED struct writ_err *tpm2_policy_ready(struct tpm2 *, const struct tpm2_policy *, TPMA_SESSION attributes);

/* Has the policy session, or a step of another, compare a counter: WRIT_NOT_FOUND when it is over `limit`. */
WRIT_CHECKED struct writ_err *tpm2_policy_counter(struct tpm2 *, enum custody_counter, uint64_t limit);

#endif
