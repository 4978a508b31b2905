/*
 * Policies: their digests, their form in a key file, and a session that satisfies them.
 */
#include "hsm/tpm2_policy.h"

#include "base/digest.h"
#include "hsm/tpm2_context.h"
#include "hsm/tpm2_nv.h"
#include "hsm/tpm2_object.h"

#define OPERAND_LEN 8
#define NV_PARAMETERS_LEN (4 + 2 + OPERAND_LEN + 2 + 2)

struct tpm2_policy
tpm2_policy_of_key(void)
{
	return (struct tpm2_policy){ .n = 1, .steps = { { .kind = TPM2_STEP_AUTH_VALUE } } };
}

struct tpm2_policy
tpm2_policy_of_sealed(uint64_t number)
{
	return (struct tpm2_policy){
		.n = 2, .steps = { { TPM2_STEP_COUNTER, COUNTER_SEALED, number }, { .kind = TPM2_STEP_AUTH_VALUE } }
	};
}

/* ---- digests ---- */

/* policyDigest = H(policyDigest || bytes) */
static void
extend(uint8_t digest[SHA256_LEN], const uint8_t *bytes, size_t len)
{
	uint8_t input[SHA256_LEN + 4 + SHA256_LEN + sizeof(TPMU_NAME)];

	memcpy(input, digest, SHA256_LEN);
	memcpy(input + SHA256_LEN, bytes, len);
	writ_sha256((struct writ_bytes){ input, SHA256_LEN + len }, digest);
}

/* TPM2_PolicyNV: H(old || command || H(operand || offset || operation) || name of the index). */
static void
extend_counter(uint8_t digest[SHA256_LEN], const struct tpm2_step *step)
{
	uint8_t args[OPERAND_LEN + 2 + 2], bytes[4 + SHA256_LEN + sizeof(TPMU_NAME)];
	TPM2B_NAME name;

	writ_put64(args, step->limit);
	memset(args + OPERAND_LEN, 0, 2);
	args[OPERAND_LEN + 2] = TPM2_EO_UNSIGNED_LE >> 8;
	args[OPERAND_LEN + 3] = TPM2_EO_UNSIGNED_LE & 0xff;
	tpm2_counter_name(step->counter, true, &name);
	writ_put32(bytes, TPM2_CC_PolicyNV);
	writ_sha256((struct writ_bytes){ args, sizeof(args) }, bytes + 4);
	memcpy(bytes + 4 + SHA256_LEN, name.name, name.size);
	extend(digest, bytes, 4 + SHA256_LEN + name.size);
}

void
tpm2_policy_digest(const struct tpm2_policy *policy, TPM2B_DIGEST *ret)
{
	*ret = (TPM2B_DIGEST){ .size = SHA256_LEN };
	for (size_t i = 0; i < policy->n; i++) {
		uint8_t command[4];

		switch (policy->steps[i].kind) {
		case TPM2_STEP_COUNTER:
			extend_counter(ret->buffer, &policy->steps[i]);
			break;
		case TPM2_STEP_AUTH_VALUE:
			writ_put32(command, TPM2_CC_PolicyAuthValue);
			extend(ret->buffer, command, sizeof(command));
			break;
		}
	}
}

/* ---- in a key file ---- */

static struct writ_err *
counter_step_read(struct writ_bytes p, struct tpm2_step *ret)
{
	const uint8_t middle[] = { 0, OPERAND_LEN }, end[] = { 0, 0, 0, TPM2_EO_UNSIGNED_LE };

	if (p.len != NV_PARAMETERS_LEN || memcmp(p.data + 4, middle, 2) != 0 ||
	    memcmp(p.data + 6 + OPERAND_LEN, end, 4) != 0)
		return writ_fail(WRIT_INVALID, "PolicyNV is known as an index's 8 bytes, not over a limit: %zu bytes",
				 p.len);
	ret->kind = TPM2_STEP_COUNTER;
	ret->limit = writ_get64(p.data + 6);
	for (int which = COUNTER_SEALED; which <= COUNTER_STATE; which++) {
		ret->counter = (enum custody_counter)which;
		if (tpm2_counter_index(ret->counter) == writ_get32(p.data))
			return NULL;
	}
	return writ_fail(WRIT_INVALID, "PolicyNV over index 0x%x, which is no counter of ours", writ_get32(p.data));
}

struct writ_err *
tpm2_step_read(uint32_t command, struct writ_bytes parameters, struct tpm2_step *ret)
{
	*ret = (struct tpm2_step){ .kind = TPM2_STEP_AUTH_VALUE };
	if (command == TPM2_CC_PolicyNV)
		return counter_step_read(parameters, ret);
	if (command != TPM2_CC_PolicyAuthValue)
		return writ_fail(WRIT_INVALID, "command 0x%x: PolicyAuthValue (0x%x) and PolicyNV (0x%x) are known",
				 command, TPM2_CC_PolicyAuthValue, TPM2_CC_PolicyNV);
	if (parameters.len > 0)
		return writ_fail(WRIT_INVALID, "PolicyAuthValue has no parameters, and here are %zu bytes",
				 parameters.len);
	return NULL;
}

struct writ_err *
tpm2_step_write(const struct tpm2_step *step, uint32_t *ret_command, struct writ_buf *ret)
{
	uint8_t p[NV_PARAMETERS_LEN] = { 0 };

	switch (step->kind) {
	case TPM2_STEP_COUNTER:
		*ret_command = TPM2_CC_PolicyNV;
		writ_put32(p, tpm2_counter_index(step->counter));
		p[5] = OPERAND_LEN;
		writ_put64(p + 6, step->limit);
		p[NV_PARAMETERS_LEN - 1] = TPM2_EO_UNSIGNED_LE;
		return writ_buf_add(ret, (struct writ_bytes){ p, sizeof(p) });
	case TPM2_STEP_AUTH_VALUE:
		break;
	}
	*ret_command = TPM2_CC_PolicyAuthValue;
	return NULL;
}

/* ---- in a session ---- */

static struct writ_err *
satisfy_counter(struct tpm2 *tpm, const struct tpm2_step *step)
{
	TPM2B_OPERAND operand = { .size = OPERAND_LEN };
	struct writ_err *err;
	ESYS_TR index;
	TSS2_RC rc;

	writ_put64(operand.buffer, step->limit);
	err = tpm2_counter_here(tpm, step->counter, &index);
	if (err)
		return err;
	rc = Esys_PolicyNV(tpm->esys, index, index, tpm->policy, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, &operand, 0,
			   TPM2_EO_UNSIGNED_LE);
	Esys_TR_Close(tpm->esys, &index);
	if (rc != TPM2_RC_POLICY)
		return tpm2_result(tpm, rc, "TPM2_PolicyNV");
	tpm->commands++;
	return writ_fail(WRIT_NOT_FOUND, "it is destroyed: the device's counter '%s' has passed %llu, its number",
			 custody_counter_name(step->counter), (unsigned long long)step->limit);
}

static struct writ_err *
satisfy(struct tpm2 *tpm, const struct tpm2_step *step)
{
	TSS2_RC rc;

	switch (step->kind) {
	case TPM2_STEP_COUNTER:
		return satisfy_counter(tpm, step);
	case TPM2_STEP_AUTH_VALUE:
		break;
	}
	rc = Esys_PolicyAuthValue(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE);
	return tpm2_result(tpm, rc, "TPM2_PolicyAuthValue");
}

struct writ_err *
tpm2_policy_ready(struct tpm2 *tpm, const struct tpm2_policy *policy, TPMA_SESSION attributes)
{
	struct writ_err *err = NULL;
	TSS2_RC rc;

	Esys_TRSess_SetAttributes(tpm->esys, tpm->policy, TPMA_SESSION_CONTINUESESSION | attributes, 0xff);
	if (tpm->policy_dirty) {
		rc = Esys_PolicyRestart(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE);
		err = tpm2_result(tpm, rc, "TPM2_PolicyRestart");
	}
	tpm->policy_dirty = true; /* until the caller's command went well, which resets the policy in the TPM */
	for (size_t i = 0; !err && i < policy->n; i++)
		err = satisfy(tpm, &policy->steps[i]);
	return err;
}
