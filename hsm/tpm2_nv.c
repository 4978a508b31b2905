/*
 * NV counters.  What is promised: tpm2_nv.h.
 */
#include "hsm/tpm2_nv.h"

#include <openssl/crypto.h>

#include "hsm/tpm2_object.h"

#define COUNTER_LEN 8

enum found { FOUND_NONE, FOUND_UNRAISED, FOUND };

static struct writ_err *
foreign(struct tpm2 *tpm, enum custody_counter which)
{
	return custody_latch(&tpm->base,
			     writ_fail(WRIT_LOCKED,
				       "NV index 0x%x is there with other attributes than ours: it is somebody else's, "
				       "and is not used",
				       tpm2_counter_index(which)));
}

static void
auth_fill(const struct tpm2 *tpm, TPM2B_AUTH *ret)
{
	*ret = (TPM2B_AUTH){ .size = TPM2_AUTH_LEN };
	memcpy(ret->buffer, tpm->auth.data, TPM2_AUTH_LEN);
}

static struct writ_err *
auth_give(struct tpm2 *tpm, ESYS_TR index)
{
	TPM2B_AUTH auth;
	TSS2_RC rc;

	auth_fill(tpm, &auth);
	rc = Esys_TR_SetAuth(tpm->esys, index, &auth);
	OPENSSL_cleanse(&auth, sizeof(auth));
	return tpm2_result(tpm, rc, "Esys_TR_SetAuth");
}

/* (1): the name that the library took from the TPM's answer, and by which it authorises, is the one that we compute. */
static struct writ_err *
name_look(struct tpm2 *tpm, enum custody_counter which, ESYS_TR index, enum found *ret)
{
	TPM2B_NAME raised, unraised, *name = NULL;
	struct writ_err *err;

	tpm2_counter_name(which, true, &raised);
	tpm2_counter_name(which, false, &unraised);
	err = tpm2_result(tpm, Esys_TR_GetName(tpm->esys, index, &name), "Esys_TR_GetName");
	if (err)
		return err;
	if (name->size == raised.size && memcmp(name->name, raised.name, raised.size) == 0)
		*ret = FOUND;
	else if (name->size == unraised.size && memcmp(name->name, unraised.name, unraised.size) == 0)
		*ret = FOUND_UNRAISED;
	else
		err = foreign(tpm, which);
	Esys_Free(name);
	return err;
}

/* `*ret` is to be closed unless FOUND_NONE. */
static struct writ_err *
look(struct tpm2 *tpm, enum custody_counter which, ESYS_TR *ret, enum found *ret_found)
{
	struct writ_err *err;
	TSS2_RC rc;

	*ret_found = FOUND_NONE;
	rc = Esys_TR_FromTPMPublic(tpm->esys, tpm2_counter_index(which), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ret);
	tpm->commands++;
	if ((rc & (TSS2_RC_LAYER_MASK | TPM2_RC_FMT1 | 0x3f)) == TPM2_RC_HANDLE)
		return NULL;
	err = tpm2_result(tpm, rc, "TPM2_NV_ReadPublic");
	if (err)
		return err;
	err = name_look(tpm, which, *ret, ret_found);
	if (!err)
		err = auth_give(tpm, *ret);
	if (err)
		Esys_TR_Close(tpm->esys, ret);
	else
		Esys_TRSess_SetAttributes(tpm->esys, tpm->hmac, TPMA_SESSION_CONTINUESESSION, 0xff);
	return err;
}

struct writ_err *
tpm2_counter_here(struct tpm2 *tpm, enum custody_counter which, ESYS_TR *ret)
{
	enum found found;
	struct writ_err *err = look(tpm, which, ret, &found);

	if (err || found == FOUND)
		return err;
	if (found == FOUND_NONE)
		return writ_fail(WRIT_NOT_FOUND, "this TPM has no NV index 0x%x: the counter was never made here",
				 tpm2_counter_index(which));
	Esys_TR_Close(tpm->esys, ret);
	return writ_fail(WRIT_NOT_FOUND, "NV index 0x%x was defined and never raised: the counter has no value",
			 tpm2_counter_index(which));
}

/* An authentication failure here has two likely causes, and both are told. */
static struct writ_err *
result(struct tpm2 *tpm, enum custody_counter which, TSS2_RC rc, const char *command)
{
	struct writ_err *err = tpm2_result(tpm, rc, command);

	if (!err || err->code != WRIT_LOCKED)
		return err;
	return writ_because(err,
			    "NV index 0x%x does not take the auth value: it is another custody's counter, or the auth "
			    "value is wrong",
			    tpm2_counter_index(which));
}

static struct writ_err *
value_read(struct tpm2 *tpm, enum custody_counter which, ESYS_TR index, uint64_t *ret)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_NV_Read(tpm->esys, index, index, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, COUNTER_LEN, 0, &data);
	err = result(tpm, which, rc, "TPM2_NV_Read");
	if (err)
		return err;
	if (data->size == COUNTER_LEN)
		*ret = writ_get64(data->buffer);
	else
		err = writ_fail(WRIT_BROKEN, "TPM2_NV_Read of a counter gave %u bytes", data->size);
	Esys_Free(data);
	return err;
}

static struct writ_err *
increment(struct tpm2 *tpm, enum custody_counter which, ESYS_TR index, uint64_t *ret)
{
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_NV_Increment(tpm->esys, index, index, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE);
	err = result(tpm, which, rc, "TPM2_NV_Increment");
	return err ? err : value_read(tpm, which, index, ret);
}

/* The owner's auth value is empty, as for the storage root key; with one the owner defines the index himself. */
static struct writ_err *
define(struct tpm2 *tpm, enum custody_counter which)
{
	TPM2B_NV_PUBLIC public = { 0 };
	struct writ_err *err;
	TPM2B_AUTH auth;
	ESYS_TR index;
	TSS2_RC rc;

	tpm2_counter_public(which, false, &public.nvPublic);
	auth_fill(tpm, &auth);
	Esys_TRSess_SetAttributes(tpm->esys, tpm->hmac, TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT, 0xff);
	rc = Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, &auth, &public,
				 &index);
	OPENSSL_cleanse(&auth, sizeof(auth));
	err = tpm2_result(tpm, rc, "TPM2_NV_DefineSpace");
	if (err && err->code == WRIT_LOCKED)
		return writ_because(err,
				    "the owner hierarchy has an auth value: define NV index 0x%x by hand, with "
				    "nt=counter|authread|authwrite|no_da and the auth value of the keys",
				    public.nvPublic.nvIndex);
	if (err)
		return err;
	Esys_TR_Close(tpm->esys, &index);
	return NULL;
}

struct writ_err *
tpm2_counter_make(struct tpm2 *tpm, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err;
	enum found found;
	ESYS_TR index;

	err = tpm2_ready(tpm);
	if (!err)
		err = look(tpm, which, &index, &found);
	if (!err && found == FOUND_NONE) {
		err = define(tpm, which);
		if (!err)
			err = look(tpm, which, &index, &found);
	}
	if (err)
		return err;
	if (found == FOUND_NONE)
		return writ_fail(WRIT_BROKEN, "NV index 0x%x was defined, and is not there", tpm2_counter_index(which));
	err = found == FOUND ? value_read(tpm, which, index, ret) : increment(tpm, which, index, ret);
	Esys_TR_Close(tpm->esys, &index);
	return err;
}

/* `ask` with the counter's index, which it finds and leaves. */
static struct writ_err *
with_counter(struct tpm2 *tpm, enum custody_counter which,
	     struct writ_err *(*ask)(struct tpm2 *, enum custody_counter, ESYS_TR, uint64_t *), uint64_t *ret)
{
	struct writ_err *err;
	ESYS_TR index;

	err = tpm2_ready(tpm);
	if (!err)
		err = tpm2_counter_here(tpm, which, &index);
	if (err)
		return err;
	err = ask(tpm, which, index, ret);
	Esys_TR_Close(tpm->esys, &index);
	return err;
}

struct writ_err *
tpm2_counter_read(struct tpm2 *tpm, enum custody_counter which, uint64_t *ret)
{
	return with_counter(tpm, which, value_read, ret);
}

struct writ_err *
tpm2_counter_raise(struct tpm2 *tpm, enum custody_counter which, uint64_t *ret)
{
	return with_counter(tpm, which, increment, ret);
}
