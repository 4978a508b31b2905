/*
 * What a TPM's return codes mean.
 */
#include "hsm/codes.h"

#include <tss2/tss2_esys.h>

/* Format-one codes, without the number of the parameter, handle or session. */
static enum code_meaning
format_one(uint32_t rc)
{
	switch (rc & (TPM2_RC_FMT1 | 0x3f)) {
	case TPM2_RC_AUTH_FAIL:
	case TPM2_RC_BAD_AUTH:
	case TPM2_RC_POLICY_FAIL:
	case TPM2_RC_POLICY_CC:
	case TPM2_RC_EXPIRED:
	case TPM2_RC_PP:
	case TPM2_RC_HIERARCHY: /* switched off by whoever owns the platform */
		return CODE_LATCH;
	case TPM2_RC_CURVE:
	case TPM2_RC_ASYMMETRIC:
	case TPM2_RC_HASH:
	case TPM2_RC_SCHEME:
	case TPM2_RC_KEY_SIZE:
	case TPM2_RC_SYMMETRIC:
	case TPM2_RC_MODE:
	case TPM2_RC_KDF:
	case TPM2_RC_MGF:
		return CODE_NO_SUCH;
	case TPM2_RC_INTEGRITY:
	case TPM2_RC_SIZE:
	case TPM2_RC_BINDING:
	case TPM2_RC_ECC_POINT:
	case TPM2_RC_KEY:
		return CODE_DAMAGED;
	default:
		return CODE_LOST;
	}
}

enum code_meaning
tpm2_code_meaning(uint32_t rc)
{
	const uint32_t layer = rc & TSS2_RC_LAYER_MASK;

	/* The answer's HMAC is wrong: somebody between us and the TPM changed it. */
	if (rc == TSS2_ESYS_RC_RSP_AUTH_FAILED)
		return CODE_LATCH;
	if (layer != TSS2_TPM_RC_LAYER && layer != TSS2_RESMGR_TPM_RC_LAYER)
		return CODE_LOST;
	rc &= ~TSS2_RC_LAYER_MASK;
	if (rc & TPM2_RC_FMT1)
		return format_one(rc);
	switch (rc) {
	case TPM2_RC_AUTH_UNAVAILABLE:
	case TPM2_RC_AUTH_MISSING:
	case TPM2_RC_AUTH_TYPE:
	case TPM2_RC_POLICY:
	case TPM2_RC_PCR:
	case TPM2_RC_NV_AUTHORIZATION:
	case TPM2_RC_NV_LOCKED:
	case TPM2_RC_LOCKOUT:
	case TPM2_RC_DISABLED:
	case TPM2_RC_FAILURE: /* failure mode: a defect that only a reset, if anything, ends */
	case TPM2_RC_UPGRADE: /* its firmware is being changed */
	case TPM2_RC_REBOOT:
		return CODE_LATCH;
	case TPM2_RC_RETRY:
	case TPM2_RC_YIELDED:
	case TPM2_RC_CANCELED:
	case TPM2_RC_TESTING:
	case TPM2_RC_NEEDS_TEST:
	case TPM2_RC_NV_RATE:
	case TPM2_RC_NV_UNAVAILABLE:
	case TPM2_RC_PCR_CHANGED: /* the policy is gone through again; if it no longer fits that latches */
		return CODE_BUSY;
	case TPM2_RC_COMMAND_CODE:
		return CODE_NO_SUCH;
	case TPM2_RC_SENSITIVE:
		return CODE_DAMAGED;
	case TPM2_RC_NV_SPACE:
		return CODE_FULL;
	default: /* context gap, no room for an object or a session, a handle that is gone (REFERENCE_*), ... */
		return CODE_LOST;
	}
}
