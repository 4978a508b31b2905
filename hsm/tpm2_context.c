/*
 * The connection to a TPM.  Invariants: tpm2_context.h.
 */
#include "hsm/tpm2_context.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "base/event.h"
#include "base/text.h"
#include "hsm/codes.h"
#include "hsm/tpm2_keyfile.h"
#include "hsm/tpm2_object.h"

#define COMMANDS_MAX 10000
#define SLOTS 3 /* TPM2_PT_HR_TRANSIENT_MIN: every PC Client TPM has them, many have no more */

struct writ_err *
tpm2_result(struct tpm2 *tpm, TSS2_RC rc, const char *command)
{
	struct writ_err *err;

	tpm->commands++;
	if (rc == TSS2_RC_SUCCESS)
		return NULL;
	switch (tpm2_code_meaning(rc)) {
	case CODE_LATCH:
		return custody_latch(&tpm->base,
				     writ_fail(WRIT_LOCKED, "%s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc));
	case CODE_DAMAGED:
		return writ_fail(WRIT_INVALID, "not an object of this TPM, or damaged: %s: %s (0x%x)", command,
				 Tss2_RC_Decode(rc), rc);
	case CODE_NO_SUCH:
		return writ_fail(WRIT_INVALID, "this TPM lacks the algorithm: %s: %s (0x%x)", command,
				 Tss2_RC_Decode(rc), rc);
	case CODE_BUSY:
		return writ_fail(WRIT_UNAVAILABLE, "the TPM is busy: %s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc);
	case CODE_FULL:
		return writ_fail(WRIT_EXHAUSTED, "the TPM has no room: %s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc);
	case CODE_LOST:
		break;
	}
	err = writ_fail(WRIT_UNAVAILABLE, "%s: %s (0x%x); a new context follows", command, Tss2_RC_Decode(rc), rc);
	tpm->stale = true;
	return err;
}

/* ---- objects and slots ---- */

void
tpm2_flush(struct tpm2 *tpm, ESYS_TR handle)
{
	const TSS2_RC rc = Esys_FlushContext(tpm->esys, handle);

	/* What cannot be flushed is lost or blocks a slot: a new context clears both. */
	tpm->commands++;
	if (rc != TSS2_RC_SUCCESS)
		tpm->stale = true;
}

static void
forget(struct tpm2 *tpm, struct tpm2_object *object)
{
	struct tpm2_object **at = &tpm->loaded;

	while (*at && *at != object)
		at = &(*at)->next;
	if (*at)
		*at = object->next;
	object->next = NULL;
	object->here = false;
}

void
tpm2_object_gone(struct tpm2 *tpm, struct tpm2_object *object)
{
	if (!object->here)
		return;
	if (!tpm->stale)
		tpm2_flush(tpm, object->handle);
	forget(tpm, object);
}

/* (4) */
struct writ_err *
tpm2_make_room(struct tpm2 *tpm)
{
	struct tpm2_object *oldest = NULL;
	unsigned n = tpm->owner.here ? 1 : 0;

	for (struct tpm2_object *object = tpm->loaded; object; object = object->next) {
		if (!oldest || object->used < oldest->used)
			oldest = object;
		n++;
	}
	if (n < SLOTS)
		return NULL;
	tpm2_object_gone(tpm, oldest);
	if (tpm->stale)
		return writ_fail(WRIT_UNAVAILABLE, "the TPM did not give a slot back; a new context follows");
	return NULL;
}

struct writ_err *
tpm2_object_here(struct tpm2 *tpm, struct tpm2_object *object)
{
	TPM2B_AUTH auth = { .size = TPM2_AUTH_LEN };
	struct tpm2_parent *parent;
	struct writ_err *err;
	TSS2_RC rc;

	object->used = ++tpm->uses;
	if (object->here)
		return NULL;
	err = tpm2_parent_get(tpm, object->parent, &parent);
	if (err)
		return err;
	err = tpm2_make_room(tpm);
	if (err)
		return err;
	Esys_TRSess_SetAttributes(tpm->esys, tpm->hmac,
				  TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT, 0xff);
	rc = Esys_Load(tpm->esys, parent->handle, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, &object->private,
		       &object->public, &object->handle);
	err = tpm2_result(tpm, rc, "TPM2_Load");
	if (err)
		return err;
	object->here = true;
	object->next = tpm->loaded;
	tpm->loaded = object;

	memcpy(auth.buffer, tpm->auth.data, TPM2_AUTH_LEN);
	rc = Esys_TR_SetAuth(tpm->esys, object->handle, &auth);
	OPENSSL_cleanse(&auth, sizeof(auth));
	return tpm2_result(tpm, rc, "Esys_TR_SetAuth");
}

/* ---- sessions ---- */

static struct writ_err *
session_start(struct tpm2 *tpm, const struct tpm2_parent *salt, TPM2_SE type, ESYS_TR *ret)
{
	const TPMT_SYM_DEF aes = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB };
	TSS2_RC rc;

	rc = Esys_StartAuthSession(tpm->esys, salt->handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
				   NULL, type, &aes, TPM2_ALG_SHA256, ret);
	return tpm2_result(tpm, rc, "TPM2_StartAuthSession");
}

/* ---- up and down ---- */

static struct writ_err *
flush_range(struct tpm2 *tpm, TPM2_HANDLE first, unsigned *n_flushed)
{
	TPMS_CAPABILITY_DATA *caps = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
				TPM2_MAX_CAP_HANDLES, NULL, &caps);
	err = tpm2_result(tpm, rc, "TPM2_GetCapability");
	if (err)
		return err;
	for (uint32_t i = 0; i < caps->data.handles.count; i++) {
		ESYS_TR handle;

		rc = Esys_TR_FromTPMPublic(tpm->esys, caps->data.handles.handle[i], ESYS_TR_NONE, ESYS_TR_NONE,
					   ESYS_TR_NONE, &handle);
		if (rc != TSS2_RC_SUCCESS || Esys_FlushContext(tpm->esys, handle) != TSS2_RC_SUCCESS)
			continue; /* if it matters, a slot will be missing, and that says so */
		(*n_flushed)++;
	}
	Esys_Free(caps);
	return NULL;
}

/*
 * Without a resource manager a process that died leaves its objects in the slots, and the next cannot even make the
 * storage root key.  The device is ours alone then (writ-deviced has no neighbour on a raw TPM), so whatever is loaded
 * is litter.
 */
static struct writ_err *
clean_up(struct tpm2 *tpm)
{
	const TPM2_HANDLE ranges[] = { TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST, TPM2_ACTIVE_SESSION_FIRST };
	unsigned n = 0;

	for (size_t i = 0; i < N_OF(ranges); i++) {
		struct writ_err *err = flush_range(tpm, ranges[i], &n);

		if (err)
			return err;
	}
	if (n > 0)
		event(EVENT_WARN, "device.tpm_cleaned", EV_NUM("flushed", n),
		      EV_STR("why", "no resource manager: objects and sessions that a dead process left"));
	return NULL;
}

static struct writ_err *
property(struct tpm2 *tpm, TPM2_PT which, uint32_t *ret)
{
	TPMS_CAPABILITY_DATA *caps = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, which, 1,
				NULL, &caps);
	err = tpm2_result(tpm, rc, "TPM2_GetCapability");
	if (err)
		return err;
	*ret = 0;
	if (caps->data.tpmProperties.count > 0 && caps->data.tpmProperties.tpmProperty[0].property == which)
		*ret = caps->data.tpmProperties.tpmProperty[0].value;
	Esys_Free(caps);
	return NULL;
}

/* Seen, never configured: libtpms (swtpm) and Microsoft's simulator by what they say, and TCTIs that only reach such.
 */
static bool
is_software(const struct tpm2 *tpm)
{
	const char *const maker = tpm->info.maker, *const model = tpm->info.model;

	return strncmp(tpm->conf.tcti, "swtpm:", 6) == 0 || strncmp(tpm->conf.tcti, "mssim:", 6) == 0 ||
	       strncmp(model, "SW", 2) == 0 || (strcmp(maker, "IBM") == 0) || strncmp(model, "xCG", 3) == 0;
}

static struct writ_err *
identify(struct tpm2 *tpm)
{
	static const TPM2_PT which[] = { TPM2_PT_MANUFACTURER,	    TPM2_PT_VENDOR_STRING_1, TPM2_PT_VENDOR_STRING_2,
					 TPM2_PT_VENDOR_STRING_3,   TPM2_PT_VENDOR_STRING_4, TPM2_PT_FIRMWARE_VERSION_1,
					 TPM2_PT_FIRMWARE_VERSION_2 };
	uint8_t text[4 * N_OF(which)] = { 0 };
	char hex[17];

	for (size_t i = 0; i < N_OF(which); i++) {
		uint32_t value;
		struct writ_err *err = property(tpm, which[i], &value);

		if (err)
			return err;
		writ_put32(text + 4 * i, value);
	}
	/* Vendor strings are padded with NULs in each of their four words. */
	for (size_t i = 4; i < 20; i++)
		if (text[i] == 0)
			text[i] = ' ';
	custody_text(tpm->info.maker, (struct writ_bytes){ text, 4 });
	custody_text(tpm->info.model, (struct writ_bytes){ text + 4, 16 });
	custody_text(tpm->info.firmware, writ_str(writ_hex((struct writ_bytes){ text + 20, 8 }, hex)));
	tpm->info.can_seal = true;
	tpm->info.software = is_software(tpm);
	if (tpm->info.software && !tpm->conf.allow_software_tpm)
		return custody_latch(
			&tpm->base,
			writ_fail(WRIT_LOCKED,
				  "'%s' '%s' at %s is a software TPM, only as safe as its host: for tests and "
				  "demonstrations set allow_software_tpm",
				  tpm->info.maker, tpm->info.model, tpm->conf.tcti));
	return NULL;
}

/*
 * Reads the TPM's clock.  `*ret_same`: it was neither reset nor restarted since the last look, by its own counts and
 * because the time since its start only grows (another TPM in its place may have the same counts).
 */
static struct writ_err *
clock_look(struct tpm2 *tpm, bool *ret_same)
{
	TPMS_TIME_INFO *info = NULL;
	struct writ_err *err;
	uint32_t resets;

	err = tpm2_result(tpm, Esys_ReadClock(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &info),
			  "TPM2_ReadClock");
	if (err)
		return err;
	resets = info->clockInfo.resetCount + info->clockInfo.restartCount;
	*ret_same = resets == tpm->resets && info->time >= tpm->up_ms;
	tpm->resets = resets;
	tpm->up_ms = info->time;
	Esys_Free(info);
	return NULL;
}

static struct writ_err *
self_tested(struct tpm2 *tpm)
{
	TPM2B_MAX_BUFFER *data = NULL;
	struct writ_err *err;
	TPM2_RC result;
	TSS2_RC rc;

	rc = Esys_SelfTest(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_NO);
	if (rc != TPM2_RC_TESTING) { /* TESTING: it goes on beside us, and commands wait for what they need */
		err = tpm2_result(tpm, rc, "TPM2_SelfTest");
		if (err)
			return err;
	}
	rc = Esys_GetTestResult(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &data, &result);
	err = tpm2_result(tpm, rc, "TPM2_GetTestResult");
	if (err)
		return err;
	Esys_Free(data);
	if (result != TPM2_RC_SUCCESS && result != TPM2_RC_TESTING && result != TPM2_RC_NEEDS_TEST)
		return custody_latch(&tpm->base, writ_fail(WRIT_LOCKED, "the TPM failed its self-test (0x%x)", result));
	return NULL;
}

/* A TPM has no serial number that software can read at once; the name of its storage root key tells one from another.
 */
static void
serial_of(const struct tpm2_parent *parent, char out[64])
{
	char hex[17];

	custody_text(out, writ_str(writ_hex((struct writ_bytes){ parent->name.name + 2, 8 }, hex)));
}

static struct writ_err *
start(struct tpm2 *tpm)
{
	struct tpm2_parent *parent;
	struct writ_err *err;
	TSS2_RC rc;
	bool same;

	rc = Tss2_TctiLdr_Initialize(tpm->conf.tcti, &tpm->tcti);
	if (rc != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_UNAVAILABLE, "no TPM at %s: %s (0x%x)", tpm->conf.tcti, Tss2_RC_Decode(rc), rc);
	rc = Esys_Initialize(&tpm->esys, tpm->tcti, NULL);
	if (rc != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_UNAVAILABLE, "no ESAPI context for %s: %s (0x%x)", tpm->conf.tcti,
				 Tss2_RC_Decode(rc), rc);
	if (tpm->exclusive) {
		rc = Esys_Startup(tpm->esys, TPM2_SU_CLEAR);
		if (rc != TPM2_RC_INITIALIZE) { /* it was started already: by firmware, or by us before */
			err = tpm2_result(tpm, rc, "TPM2_Startup");
			if (err)
				return err;
		}
		err = clean_up(tpm);
		if (err)
			return err;
	}
	err = identify(tpm);
	if (err)
		return err;
	err = self_tested(tpm);
	if (err)
		return err;
	err = clock_look(tpm, &same);
	if (err)
		return err;
	err = tpm2_parent_choose(tpm, &parent);
	if (err)
		return err;
	serial_of(parent, tpm->info.serial);
	err = session_start(tpm, parent, TPM2_SE_HMAC, &tpm->hmac);
	if (err)
		return err;
	return session_start(tpm, parent, TPM2_SE_POLICY, &tpm->policy);
}

/* Frees the context; what was loaded is flushed when the TPM still listens, else it went with it. */
void
tpm2_down(struct tpm2 *tpm)
{
	const ESYS_TR sessions[] = { tpm->hmac, tpm->policy };

	while (tpm->loaded) {
		if (!tpm->stale)
			tpm2_flush(tpm, tpm->loaded->handle);
		forget(tpm, tpm->loaded);
	}
	if (tpm->owner.here && !tpm->stale)
		tpm2_flush(tpm, tpm->owner.handle);
	for (size_t i = 0; i < N_OF(sessions); i++)
		if (sessions[i] != ESYS_TR_NONE && !tpm->stale)
			tpm2_flush(tpm, sessions[i]);
	tpm->hmac = tpm->policy = ESYS_TR_NONE;
	tpm->owner.here = tpm->persistent.here = tpm->policy_dirty = false;
	tpm->approvals.has_ticket = false;
	Esys_Finalize(&tpm->esys);
	Tss2_TctiLdr_Finalize(&tpm->tcti);
	tpm->stale = false;
	tpm->commands = 0;
}

struct writ_err *
tpm2_ready(struct tpm2 *tpm)
{
	struct writ_err *err;

	if (tpm->esys && !tpm->stale && tpm->commands < COMMANDS_MAX)
		return NULL;
	tpm2_down(tpm);
	err = start(tpm);
	if (!err)
		return NULL;
	tpm->stale = true;
	tpm2_down(tpm);
	return err;
}

struct writ_err *
tpm2_alive(struct tpm2 *tpm)
{
	struct writ_err *err;
	bool same;

	err = tpm2_ready(tpm);
	if (err)
		return err;
	err = clock_look(tpm, &same);
	if (err || same)
		return err;
	tpm->stale = true; /* what we had loaded is gone: make it new now, not under a certificate */
	return tpm2_ready(tpm);
}
