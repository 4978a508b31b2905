/*
 * The storage root key of a TPM: the persistent one when it is the template bit for bit, else a transient one of the
 * owner hierarchy. Which of the two a key file names is the one that loads it.
 */
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "hsm/tpm2_context.h"
#include "hsm/tpm2_keyfile.h"
#include "hsm/tpm2_object.h"

/* (3): nameAlg and the digest of the public area (TPM 2.0 Part 1, Names); computed, not taken from the answer. */
static void
name_compute(struct writ_bytes area, TPM2B_NAME *ret)
{
	*ret = (TPM2B_NAME){ .size = 2 + SHA256_LEN, .name = { TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256 & 0xff } };
	writ_sha256((struct writ_bytes){ area.data + 2, area.len - 2 }, ret->name + 2);
}

/*
 * Sessions are salted with what the library remembers of the parent, which it reads by a command of its own: whoever
 * sits on the bus could give it another key than us.  Its memory, serialised, must hold the public area whose name we
 * pin.
 */
static struct writ_err *
library_agrees(struct tpm2 *tpm, const struct tpm2_parent *parent, struct writ_bytes area)
{
	uint8_t *memory = NULL;
	struct writ_err *err;
	size_t len = 0;
	bool ok;

	err = tpm2_result(tpm, Esys_TR_Serialize(tpm->esys, parent->handle, &memory, &len), "Esys_TR_Serialize");
	if (err)
		return err;
	ok = memmem(memory, len, area.data, area.len) != NULL;
	Esys_Free(memory);
	if (ok)
		return NULL;
	return custody_latch(&tpm->base,
			     writ_fail(WRIT_LOCKED, "the TPM gave two public areas for one storage root key"));
}

static struct writ_err *
parent_seen(struct tpm2 *tpm, struct tpm2_parent *parent, const TPM2B_PUBLIC *public)
{
	AUTO(writ_buf_done) struct writ_buf area = WRIT_BUF(sizeof(TPM2B_PUBLIC));
	struct writ_err *err;
	TPM2B_NAME name;

	err = tpm2_public_write(public, &area);
	if (err)
		return err;
	err = library_agrees(tpm, parent, writ_view(&area));
	if (err)
		return err;
	name_compute(writ_view(&area), &name);
	if (parent->seen && memcmp(parent->name.name, name.name, name.size) != 0)
		return custody_latch(&tpm->base,
				     writ_fail(WRIT_LOCKED,
					       "the TPM's storage root key is another one than before: the TPM "
					       "was replaced or cleared"));
	parent->name = name;
	parent->seen = true;
	return NULL;
}

/* Looks for 0x81000001 and takes it only when its public area is the template's, bit for bit. */
static struct writ_err *
persistent_find(struct tpm2 *tpm)
{
	struct tpm2_parent *const parent = &tpm->persistent;
	TPM2B_PUBLIC *public = NULL, srk;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_TR_FromTPMPublic(tpm->esys, KEYFILE_PARENT_PERSISTENT, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
				   &parent->handle);
	tpm->commands++;
	if ((rc & (TSS2_RC_LAYER_MASK | TPM2_RC_FMT1 | 0x3f)) == TPM2_RC_HANDLE)
		return NULL; /* none there */
	err = tpm2_result(tpm, rc, "TPM2_ReadPublic");
	if (err)
		return err;
	rc = Esys_ReadPublic(tpm->esys, parent->handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL, NULL);
	err = tpm2_result(tpm, rc, "TPM2_ReadPublic");
	if (err)
		return err;
	tpm2_srk_template(&srk);
	if (tpm2_is_of(public, &srk)) {
		parent->here = true;
		err = parent_seen(tpm, parent, public);
	}
	Esys_Free(public);
	return err;
}

static struct writ_err *
owner_make(struct tpm2 *tpm)
{
	struct tpm2_parent *const parent = &tpm->owner;
	const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPML_PCR_SELECTION no_pcr = { 0 };
	const TPM2B_DATA outside = { 0 };
	TPM2B_PUBLIC srk, *public = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	err = tpm2_make_room(tpm);
	if (err)
		return err;
	tpm2_srk_template(&srk);
	rc = Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
				&srk, &outside, &no_pcr, &parent->handle, &public, NULL, NULL, NULL);
	err = tpm2_result(tpm, rc, "TPM2_CreatePrimary of the storage root key");
	if (err && err->code == WRIT_LOCKED)
		return writ_because(
			err, "the owner hierarchy has an auth value: make the storage root key persistent at 0x%x",
			KEYFILE_PARENT_PERSISTENT);
	if (err)
		return err;
	parent->here = true;
	if (tpm2_is_of(public, &srk))
		err = parent_seen(tpm, parent, public);
	else
		err = custody_latch(
			&tpm->base,
			writ_fail(WRIT_LOCKED, "the TPM made another storage root key than it was asked for"));
	Esys_Free(public);
	return err;
}

struct writ_err *
tpm2_parent_get(struct tpm2 *tpm, uint32_t which, struct tpm2_parent **ret)
{
	struct tpm2_parent *const parent = which == KEYFILE_PARENT_OWNER ? &tpm->owner : &tpm->persistent;
	struct writ_err *err = NULL;

	if (!parent->here && which == KEYFILE_PARENT_OWNER)
		err = owner_make(tpm);
	if (err)
		return err;
	if (!parent->here)
		return writ_fail(
			WRIT_LOCKED,
			"the key was made under the storage root key at 0x%x, which is no longer there or another",
			which);
	*ret = parent;
	return NULL;
}

struct writ_err *
tpm2_parent_text(const struct tpm2_parent *parent, struct writ_buf *ret)
{
	char hex[2 * sizeof(parent->name.name) + 1];

	writ_hex((struct writ_bytes){ parent->name.name, parent->name.size }, hex);
	return writ_buf_printf(ret, "writ; storage root key %s", hex);
}

struct writ_err *
tpm2_parent_choose(struct tpm2 *tpm, struct tpm2_parent **ret)
{
	struct writ_err *err;

	err = persistent_find(tpm);
	if (err)
		return err;
	tpm->parent_default = tpm->persistent.here ? KEYFILE_PARENT_PERSISTENT : KEYFILE_PARENT_OWNER;
	return tpm2_parent_get(tpm, tpm->parent_default, ret);
}
