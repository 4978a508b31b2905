/*
 * Policies: their digests, their form in a key file, and a session that satisfies them.
 */
#include "hsm/tpm2_policy.h"

#include "base/digest.h"
#include "hsm/tpm2_approvals.h"
#include "hsm/tpm2_context.h"
#include "hsm/tpm2_nv.h"
#include "hsm/tpm2_object.h"

#define OPERAND_LEN 8
#define NV_PARAMETERS_LEN (4 + 2 + OPERAND_LEN + 2 + 2)
#define AUTHORIZE_PARAMETERS_LEN (2 + APPROVAL_AREA_LEN + 2 + SHA256_LEN + 2)

static void
add(struct tpm2_policy *policy, struct tpm2_step step)
{
	policy->steps[policy->n++] = step;
}

struct tpm2_policy
tpm2_policy_of_key(const struct tpm2_authority *authority)
{
	struct tpm2_policy policy = { 0 };

	if (authority)
		add(&policy, (struct tpm2_step){ .kind = TPM2_STEP_AUTHORIZED, .authority = *authority });
	add(&policy, (struct tpm2_step){ .kind = TPM2_STEP_AUTH_VALUE });
	return policy;
}

struct tpm2_policy
tpm2_policy_of_sealed(const struct tpm2_authority *authority, uint64_t number)
{
	struct tpm2_policy policy = { 0 };

	if (authority)
		add(&policy, (struct tpm2_step){ .kind = TPM2_STEP_AUTHORIZED, .authority = *authority });
	add(&policy, (struct tpm2_step){ .kind = TPM2_STEP_COUNTER, .counter = COUNTER_SEALED, .limit = number });
	add(&policy, (struct tpm2_step){ .kind = TPM2_STEP_AUTH_VALUE });
	return policy;
}

bool
tpm2_policy_same(const struct tpm2_policy *a, const struct tpm2_policy *b)
{
	TPM2B_DIGEST x, y;

	tpm2_policy_digest(a, &x);
	tpm2_policy_digest(b, &y);
	return memcmp(x.buffer, y.buffer, SHA256_LEN) == 0;
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
		uint8_t command[4], name[APPROVAL_NAME_LEN];

		switch (policy->steps[i].kind) {
		case TPM2_STEP_COUNTER:
			extend_counter(ret->buffer, &policy->steps[i]);
			break;
		case TPM2_STEP_AUTH_VALUE:
			writ_put32(command, TPM2_CC_PolicyAuthValue);
			extend(ret->buffer, command, sizeof(command));
			break;
		case TPM2_STEP_AUTHORIZED:
			approval_key_name(policy->steps[i].authority.point, name);
			approval_authorized(name, policy->steps[i].authority.ref, ret->buffer);
			break;
		}
	}
}

/* ---- in a key file ---- */

static void
authorize_parameters(const struct tpm2_authority *authority, uint8_t out[AUTHORIZE_PARAMETERS_LEN])
{
	uint8_t *const ref = out + 2 + APPROVAL_AREA_LEN;

	out[0] = 0;
	out[1] = APPROVAL_AREA_LEN;
	approval_key_area(authority->point, out + 2);
	ref[0] = 0;
	ref[1] = SHA256_LEN;
	memcpy(ref + 2, authority->ref, SHA256_LEN);
	ref[2 + SHA256_LEN] = TPM2_ALG_NULL >> 8;
	ref[2 + SHA256_LEN + 1] = TPM2_ALG_NULL & 0xff;
}

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

/* The key's area is written anew from its point and must come out the same, as must all the rest. */
static struct writ_err *
authorized_step_read(struct writ_bytes p, struct tpm2_step *ret)
{
	uint8_t again[AUTHORIZE_PARAMETERS_LEN];

	ret->kind = TPM2_STEP_AUTHORIZED;
	if (p.len == sizeof(again)) {
		memcpy(ret->authority.point, p.data + 2 + 20, 32);
		memcpy(ret->authority.point + 32, p.data + 2 + 54, 32);
		memcpy(ret->authority.ref, p.data + 2 + APPROVAL_AREA_LEN + 2, SHA256_LEN);
		authorize_parameters(&ret->authority, again);
		if (memcmp(again, p.data, sizeof(again)) == 0)
			return NULL;
	}
	return writ_fail(WRIT_INVALID,
			 "PolicyAuthorize is known with a P-256 key, 32 bytes and no signature, not with these %zu bytes",
			 p.len);
}

struct writ_err *
tpm2_step_read(uint32_t command, struct writ_bytes parameters, struct tpm2_step *ret)
{
	*ret = (struct tpm2_step){ .kind = TPM2_STEP_AUTH_VALUE };
	if (command == TPM2_CC_PolicyNV)
		return counter_step_read(parameters, ret);
	if (command == TPM2_CC_PolicyAuthorize)
		return authorized_step_read(parameters, ret);
	if (command != TPM2_CC_PolicyAuthValue)
		return writ_fail(WRIT_INVALID,
				 "command 0x%x: PolicyAuthValue (0x%x), PolicyNV (0x%x) and PolicyAuthorize (0x%x) are "
				 "known",
				 command, TPM2_CC_PolicyAuthValue, TPM2_CC_PolicyNV, TPM2_CC_PolicyAuthorize);
	if (parameters.len > 0)
		return writ_fail(WRIT_INVALID, "PolicyAuthValue has no parameters, and here are %zu bytes",
				 parameters.len);
	return NULL;
}

struct writ_err *
tpm2_step_write(const struct tpm2_step *step, uint32_t *ret_command, struct writ_buf *ret)
{
	uint8_t p[NV_PARAMETERS_LEN] = { 0 }, authorize[AUTHORIZE_PARAMETERS_LEN];

	switch (step->kind) {
	case TPM2_STEP_COUNTER:
		*ret_command = TPM2_CC_PolicyNV;
		writ_put32(p, tpm2_counter_index(step->counter));
		p[5] = OPERAND_LEN;
		writ_put64(p + 6, step->limit);
		p[NV_PARAMETERS_LEN - 1] = TPM2_EO_UNSIGNED_LE;
		return writ_buf_add(ret, (struct writ_bytes){ p, sizeof(p) });
	case TPM2_STEP_AUTHORIZED:
		*ret_command = TPM2_CC_PolicyAuthorize;
		authorize_parameters(&step->authority, authorize);
		return writ_buf_add(ret, (struct writ_bytes){ authorize, sizeof(authorize) });
	case TPM2_STEP_AUTH_VALUE:
		break;
	}
	*ret_command = TPM2_CC_PolicyAuthValue;
	return NULL;
}

/* ---- in a session ---- */

struct writ_err *
tpm2_policy_counter(struct tpm2 *tpm, enum custody_counter which, uint64_t limit)
{
	TPM2B_OPERAND operand = { .size = OPERAND_LEN };
	struct writ_err *err;
	ESYS_TR index;
	TSS2_RC rc;

	writ_put64(operand.buffer, limit);
	err = tpm2_counter_here(tpm, which, &index);
	if (err)
		return err;
	rc = Esys_PolicyNV(tpm->esys, index, index, tpm->policy, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, &operand, 0,
			   TPM2_EO_UNSIGNED_LE);
	Esys_TR_Close(tpm->esys, &index);
	if (rc != TPM2_RC_POLICY)
		return tpm2_result(tpm, rc, "TPM2_PolicyNV");
	tpm->commands++;
	return writ_fail(WRIT_NOT_FOUND, "it is destroyed: the device's counter '%s' has passed %llu, its number",
			 custody_counter_name(which), (unsigned long long)limit);
}

static struct writ_err *
satisfy(struct tpm2 *tpm, const struct tpm2_step *step)
{
	TSS2_RC rc;

	switch (step->kind) {
	case TPM2_STEP_COUNTER:
		return tpm2_policy_counter(tpm, step->counter, step->limit);
	case TPM2_STEP_AUTHORIZED:
		return tpm2_approvals_satisfy(tpm);
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
