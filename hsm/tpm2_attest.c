/*
 * Attestation by a TPM: an attestation key (AK) in the endorsement hierarchy states what the TPM holds; the endorsement
 * key (EK), whose certificate is the maker's, shows by credential activation that the AK lives beside it.
 *
 * The AK is a primary key of a fixed template, made anew for each request and flushed after it: a TPM derives it from
 * its endorsement seed, so it is the same key every time, needs no file, and outlives TPM2_Clear.  In the endorsement
 * hierarchy the TPM also states its firmware version and its counts of resets; under the storage root key it would blur
 * them.  Its auth value is empty, as the hierarchy's: whoever may speak to the TPM could make the same key himself, and
 * it signs nothing that is not so.
 *
 * (1) Nothing in here latches the device but what would anywhere (an altered answer, the auth value of a key of ours
 * refused): issuing goes on when attestation cannot. (2) No more than three objects are loaded at once: storage root
 * key, AK, and one that is looked at.
 */
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "base/der.h"
#include "hsm/tpm2_nv.h"
#include "hsm/tpm2_object.h"

#define NV_CHUNK 512 /* bytes a read: every TPM gives that many at once */

struct attesting {
	struct tpm2 *tpm;
	ESYS_TR ak;
	TPM2B_DATA qualifying;
	struct attestation *ret;
};

/* ---- small parts ---- */

/* (1): a refusal by the TPM of what concerns endorsement alone is the request's error, and nothing is lost by it. */
static struct writ_err *
endorsement_result(struct tpm2 *tpm, TSS2_RC rc, const char *command)
{
	if (rc == TSS2_RC_SUCCESS || (rc & TSS2_RC_LAYER_MASK) != TSS2_TPM_RC_LAYER || !(rc & TPM2_RC_FMT1))
		return tpm2_result(tpm, rc, command);
	tpm->commands++;
	return writ_fail(WRIT_INVALID, "%s: %s (0x%x)", command, Tss2_RC_Decode(rc), rc);
}

static void
flush(struct tpm2 *tpm, ESYS_TR *handle)
{
	if (*handle == ESYS_TR_NONE || tpm->stale)
		return;
	if (Esys_FlushContext(tpm->esys, *handle) != TSS2_RC_SUCCESS)
		tpm->stale = true;
	tpm->commands++;
	*handle = ESYS_TR_NONE;
}

/* (2) */
static struct writ_err *
unload_all(struct tpm2 *tpm)
{
	while (tpm->loaded && !tpm->stale)
		tpm2_object_gone(tpm, tpm->loaded);
	return tpm->stale ? writ_fail(WRIT_UNAVAILABLE, "the TPM did not give a slot back; a new context follows")
			  : NULL;
}

/* A hierarchy with an auth value is not tried with an empty one. */
static struct writ_err *
endorsement_open(struct tpm2 *tpm)
{
	TPMS_CAPABILITY_DATA *caps = NULL;
	struct writ_err *err;
	uint32_t permanent = 0;
	TSS2_RC rc;

	rc = Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES,
				TPM2_PT_PERMANENT, 1, NULL, &caps);
	err = tpm2_result(tpm, rc, "TPM2_GetCapability");
	if (err)
		return err;
	if (caps->data.tpmProperties.count > 0 && caps->data.tpmProperties.tpmProperty[0].property == TPM2_PT_PERMANENT)
		permanent = caps->data.tpmProperties.tpmProperty[0].value;
	Esys_Free(caps);
	if (permanent & TPMA_PERMANENT_ENDORSEMENTAUTHSET)
		return writ_fail(WRIT_INVALID,
				 "the TPM's endorsement hierarchy has an auth value: attestation needs it "
				 "empty, as makers deliver it");
	return NULL;
}

/* ---- keys of the endorsement hierarchy ---- */

static struct writ_err *
primary_make(struct tpm2 *tpm, const TPM2B_PUBLIC *template_, const char *name, ESYS_TR *ret, TPM2B_PUBLIC *ret_public)
{
	const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPML_PCR_SELECTION no_pcr = { 0 };
	const TPM2B_DATA outside = { 0 };
	TPM2B_PUBLIC *public = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
				&sensitive, template_, &outside, &no_pcr, ret, &public, NULL, NULL, NULL);
	err = endorsement_result(tpm, rc, "TPM2_CreatePrimary");
	if (err)
		return writ_because(err, "making the %s key", name);
	if (!tpm2_is_of(public, template_))
		err = writ_fail(WRIT_INVALID, "the TPM made another %s key than it was asked for", name);
	*ret_public = *public;
	Esys_Free(public);
	if (err)
		flush(tpm, ret);
	return err;
}

static struct writ_err *
ak_make(struct tpm2 *tpm, ESYS_TR *ret, TPM2B_PUBLIC *ret_public)
{
	TPM2B_PUBLIC template_;
	struct writ_err *err;

	*ret = ESYS_TR_NONE;
	err = tpm2_ready(tpm);
	if (!err)
		err = endorsement_open(tpm);
	if (!err)
		err = unload_all(tpm);
	if (err)
		return err;
	tpm2_ak_template(&template_);
	return primary_make(tpm, &template_, "attestation", ret, ret_public);
}

/* Those that makers certify, the one to be used first (TCG EK Credential Profile 2.5, B.3, B.4, 2.2.1.4). */
static const struct ek_place {
	enum tpm2_ek kind;
	TPM2_HANDLE certificate, persistent;
} ek_places[] = {
	{ TPM2_EK_P384, 0x01c00016, 0x81010016 },
	{ TPM2_EK_P256, 0x01c0000a, 0x81010002 },
	{ TPM2_EK_RSA2048, 0x01c00002, 0x81010001 },
};

/* Finds an object of the TPM by its number; `*ret` is ESYS_TR_NONE when there is none. */
static struct writ_err *
handle_find(struct tpm2 *tpm, TPM2_HANDLE number, ESYS_TR *ret)
{
	const TSS2_RC rc = Esys_TR_FromTPMPublic(tpm->esys, number, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ret);
	const TSS2_RC kind = rc & (TSS2_RC_LAYER_MASK | TPM2_RC_FMT1 | 0x3f);

	if (kind != TPM2_RC_HANDLE && kind != TPM2_RC_VALUE)
		return endorsement_result(tpm, rc, "looking for an object");
	tpm->commands++;
	*ret = ESYS_TR_NONE;
	return NULL;
}

static struct writ_err *
nv_len(struct tpm2 *tpm, ESYS_TR index, size_t *ret)
{
	TPM2B_NV_PUBLIC *public = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	rc = Esys_NV_ReadPublic(tpm->esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL);
	err = endorsement_result(tpm, rc, "TPM2_NV_ReadPublic");
	if (err)
		return err;
	*ret = public->nvPublic.dataSize;
	Esys_Free(public);
	return NULL;
}

static struct writ_err *
nv_read(struct tpm2 *tpm, ESYS_TR index, uint8_t *out, size_t len)
{
	for (size_t at = 0; at < len;) {
		const size_t n = len - at < NV_CHUNK ? len - at : NV_CHUNK;
		TPM2B_MAX_NV_BUFFER *data = NULL;
		struct writ_err *err;
		TSS2_RC rc;

		rc = Esys_NV_Read(tpm->esys, index, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, (UINT16)n,
				  (UINT16)at, &data);
		err = endorsement_result(tpm, rc, "TPM2_NV_Read");
		if (err)
			return err;
		if (data->size == n)
			memcpy(out + at, data->buffer, n);
		else
			err = writ_fail(WRIT_INVALID, "the TPM read %u bytes where %zu were asked for", data->size, n);
		Esys_Free(data);
		if (err)
			return err;
		at += n;
	}
	return NULL;
}

/* The certificate, without what pads it to the end of its index. */
static struct writ_err *
certificate_read(struct tpm2 *tpm, ESYS_TR index, struct attester *ret)
{
	struct writ_bytes certificate;
	struct writ_err *err;
	struct der in;
	uint8_t tag;
	size_t len;

	err = nv_len(tpm, index, &len);
	if (err)
		return err;
	if (len > sizeof(ret->ek))
		return writ_fail(WRIT_INVALID, "an endorsement key's certificate has up to %zu bytes, not %zu",
				 sizeof(ret->ek), len);
	err = nv_read(tpm, index, ret->ek, len);
	if (err)
		return err;
	in = der_read((struct writ_bytes){ ret->ek, len });
	if (!der_take_any(&in, &tag, &certificate) || tag != DER_SEQUENCE)
		return writ_fail(WRIT_INVALID, "the index for the endorsement key's certificate holds something else");
	ret->ek_len = certificate.len;
	return NULL;
}

/* The first kind that the TPM has a certificate of; NULL: it has none, and `ret` is as it was. */
static struct writ_err *
ek_find(struct tpm2 *tpm, struct attester *ret, const struct ek_place **ret_place)
{
	*ret_place = NULL;
	for (size_t i = 0; i < N_OF(ek_places) && !*ret_place; i++) {
		struct writ_err *err;
		ESYS_TR index;

		err = handle_find(tpm, ek_places[i].certificate, &index);
		if (err)
			return err;
		if (index == ESYS_TR_NONE)
			continue;
		err = certificate_read(tpm, index, ret);
		Esys_TR_Close(tpm->esys, &index);
		if (err)
			return writ_because(err, "NV index 0x%x", ek_places[i].certificate);
		*ret_place = &ek_places[i];
	}
	return NULL;
}

/* The persistent one, if it is of the template: an RSA key takes a real TPM many seconds to make. */
static struct writ_err *
ek_here(struct tpm2 *tpm, const struct ek_place *place, ESYS_TR *ret, bool *ret_transient)
{
	TPM2B_PUBLIC *public = NULL, template_, made;
	struct writ_err *err;
	bool same = false;
	TSS2_RC rc;

	tpm2_ek_template(place->kind, &template_);
	*ret_transient = false;
	err = handle_find(tpm, place->persistent, ret);
	if (err)
		return err;
	if (*ret != ESYS_TR_NONE) {
		rc = Esys_ReadPublic(tpm->esys, *ret, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL, NULL);
		err = endorsement_result(tpm, rc, "TPM2_ReadPublic");
		if (err)
			return err;
		same = tpm2_is_of(public, &template_);
		Esys_Free(public);
		if (same)
			return NULL;
		Esys_TR_Close(tpm->esys, ret);
	}
	*ret_transient = true;
	return primary_make(tpm, &template_, "endorsement", ret, &made);
}

/* ---- who attests ---- */

struct writ_err *
tpm2_attester(struct custody *custody, struct attester *ret)
{
	struct tpm2 *const tpm = (struct tpm2 *)custody;
	const struct ek_place *place;
	TPM2B_PUBLIC public;
	struct writ_err *err;
	ESYS_TR ak;
	size_t at = 0;

	*ret = (struct attester){ 0 };
	err = ak_make(tpm, &ak, &public);
	if (err)
		return err;
	flush(tpm, &ak);
	if (Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, ret->ak, sizeof(ret->ak), &at) != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_BROKEN, "the attestation key's public area cannot be written down");
	ret->ak_len = at;
	return ek_find(tpm, ret, &place);
}

/* ---- credential activation ---- */

/* Endorsement keys whose user role takes no auth value open by the endorsement hierarchy's. */
static struct writ_err *
ek_policy(struct tpm2 *tpm)
{
	struct writ_err *err;
	TSS2_RC rc;

	tpm->policy_dirty = true; /* whoever uses the session next starts over */
	Esys_TRSess_SetAttributes(tpm->esys, tpm->policy, TPMA_SESSION_CONTINUESESSION, 0xff);
	rc = Esys_PolicyRestart(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE);
	err = tpm2_result(tpm, rc, "TPM2_PolicyRestart");
	if (err)
		return err;
	rc = Esys_PolicySecret(tpm->esys, ESYS_TR_RH_ENDORSEMENT, tpm->policy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
			       ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL);
	return endorsement_result(tpm, rc, "TPM2_PolicySecret");
}

static struct writ_err *
challenge_read(struct writ_bytes id_object, struct writ_bytes encrypted, TPM2B_ID_OBJECT *ret_id,
	       TPM2B_ENCRYPTED_SECRET *ret_encrypted)
{
	size_t at = 0, end = 0;

	*ret_id = (TPM2B_ID_OBJECT){ 0 };
	*ret_encrypted = (TPM2B_ENCRYPTED_SECRET){ 0 };
	if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(id_object.data, id_object.len, &at, ret_id) != TSS2_RC_SUCCESS ||
	    at != id_object.len ||
	    Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(encrypted.data, encrypted.len, &end, ret_encrypted) !=
		    TSS2_RC_SUCCESS ||
	    end != encrypted.len)
		return writ_fail(WRIT_INVALID,
				 "the challenge is not one TPM2B_ID_OBJECT and one TPM2B_ENCRYPTED_SECRET");
	return NULL;
}

static struct writ_err *
activate(struct tpm2 *tpm, ESYS_TR ak, const struct ek_place *place, const TPM2B_ID_OBJECT *id,
	 const TPM2B_ENCRYPTED_SECRET *encrypted, struct writ_secret *ret)
{
	TPM2B_DIGEST *secret = NULL;
	ESYS_TR ek, by = ESYS_TR_PASSWORD;
	struct writ_err *err;
	bool transient;
	TSS2_RC rc;

	err = ek_here(tpm, place, &ek, &transient);
	if (!err && tpm2_ek_by_policy(place->kind)) {
		err = ek_policy(tpm);
		by = tpm->policy;
	}
	if (!err) {
		rc = Esys_ActivateCredential(tpm->esys, ak, ek, ESYS_TR_PASSWORD, by, ESYS_TR_NONE, id, encrypted,
					     &secret);
		err = endorsement_result(tpm, rc, "TPM2_ActivateCredential");
		if (err)
			err = writ_because(err,
					   "the challenge is not for this TPM's endorsement key and attestation key");
	}
	if (transient)
		flush(tpm, &ek);
	else if (ek != ESYS_TR_NONE)
		Esys_TR_Close(tpm->esys, &ek);
	if (err)
		return err;
	err = writ_secret_set(ret, (struct writ_bytes){ secret->buffer, secret->size });
	Esys_Free(secret);
	return err;
}

struct writ_err *
tpm2_activate(struct custody *custody, struct writ_bytes id_object, struct writ_bytes encrypted,
	      struct writ_secret *ret)
{
	struct tpm2 *const tpm = (struct tpm2 *)custody;
	struct attester attester = { 0 };
	TPM2B_ENCRYPTED_SECRET seed;
	const struct ek_place *place;
	TPM2B_PUBLIC public;
	TPM2B_ID_OBJECT id;
	struct writ_err *err;
	ESYS_TR ak;

	err = challenge_read(id_object, encrypted, &id, &seed);
	if (err)
		return err;
	err = ak_make(tpm, &ak, &public);
	if (err)
		return err;
	err = ek_find(tpm, &attester, &place);
	if (!err && !place)
		err = writ_fail(WRIT_INVALID, "this TPM holds no certificate of an endorsement key");
	if (!err)
		err = activate(tpm, ak, place, &id, &seed, ret);
	flush(tpm, &ak);
	return err;
}

/* ---- statements ---- */

/* Adds an item; takes (frees) what the TPM said. */
static struct writ_err *
item_add(struct attesting *a, enum attested what, struct writ_bytes about, TPM2B_ATTEST *said,
	 TPMT_SIGNATURE *signature)
{
	struct attest_item *const item = &a->ret->item[a->ret->n];
	struct writ_err *err = NULL;
	size_t at = 0;

	if (a->ret->n == ATTEST_ITEMS_MAX || about.len > sizeof(item->about) || said->size > sizeof(item->said) ||
	    Tss2_MU_TPMT_SIGNATURE_Marshal(signature, item->signature, sizeof(item->signature), &at) !=
		    TSS2_RC_SUCCESS) {
		err = writ_fail(WRIT_BROKEN, "no room for what the TPM states: %zu and %u bytes", about.len,
				said->size);
	} else {
		item->what = what;
		item->about_len = about.len;
		item->said_len = said->size;
		item->signature_len = at;
		if (about.len > 0)
			memcpy(item->about, about.data, about.len);
		memcpy(item->said, said->attestationData, said->size);
		a->ret->n++;
	}
	Esys_Free(said);
	Esys_Free(signature);
	return err;
}

static const TPMT_SIG_SCHEME own_scheme = { .scheme = TPM2_ALG_NULL };

/* Certifies an object; `by` is the session for its admin role. */
static struct writ_err *
certify(struct attesting *a, enum attested what, ESYS_TR object, ESYS_TR by)
{
	TPMT_SIGNATURE *signature = NULL;
	TPM2B_PUBLIC *public = NULL;
	uint8_t area[sizeof(TPMT_PUBLIC)];
	TPM2B_ATTEST *said = NULL;
	struct writ_err *err;
	size_t len = 0;
	TSS2_RC rc;

	rc = Esys_ReadPublic(a->tpm->esys, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL, NULL);
	err = tpm2_result(a->tpm, rc, "TPM2_ReadPublic");
	if (err)
		return err;
	rc = Tss2_MU_TPMT_PUBLIC_Marshal(&public->publicArea, area, sizeof(area), &len);
	Esys_Free(public);
	if (rc != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_BROKEN, "a public area cannot be written down");
	rc = Esys_Certify(a->tpm->esys, object, a->ak, by, ESYS_TR_PASSWORD, ESYS_TR_NONE, &a->qualifying, &own_scheme,
			  &said, &signature);
	err = tpm2_result(a->tpm, rc, "TPM2_Certify");
	return err ? err : item_add(a, what, (struct writ_bytes){ area, len }, said, signature);
}

/* The admin role of our keys takes the auth value itself (tpm2_object.c), in the salted session. */
static struct writ_err *
key_certify(struct attesting *a, struct tpm2_key *key)
{
	struct writ_err *err = unload_all(a->tpm);

	if (!err)
		err = tpm2_object_here(a->tpm, &key->object);
	if (err)
		return err;
	Esys_TRSess_SetAttributes(a->tpm->esys, a->tpm->hmac, TPMA_SESSION_CONTINUESESSION, 0xff);
	return certify(a, ATTESTED_KEY, key->object.handle, a->tpm->hmac);
}

static struct writ_err *
parent_certify(struct attesting *a, uint32_t which)
{
	struct tpm2_parent *parent;
	struct writ_err *err = tpm2_parent_get(a->tpm, which, &parent);

	return err ? err : certify(a, ATTESTED_PARENT, parent->handle, ESYS_TR_PASSWORD);
}

/* A TPM gives at most eight digests a read. */
static struct writ_err *
pcrs_read(struct tpm2 *tpm, uint8_t out[ATTEST_PCRS * TPM2_SHA256_DIGEST_SIZE], size_t *ret_len)
{
	*ret_len = 0;
	for (unsigned at = 0; at < ATTEST_PCRS; at += 8) {
		TPML_PCR_SELECTION selection = { .count = 1,
						 .pcrSelections[0] = { .hash = TPM2_ALG_SHA256, .sizeofSelect = 3 } };
		TPML_DIGEST *values = NULL;
		struct writ_err *err;
		TSS2_RC rc;

		selection.pcrSelections[0].pcrSelect[at / 8] = 0xff;
		rc = Esys_PCR_Read(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &selection, NULL, NULL,
				   &values);
		err = tpm2_result(tpm, rc, "TPM2_PCR_Read");
		if (err)
			return err;
		for (uint32_t i = 0; i < values->count && i < 8 && values->digests[i].size == TPM2_SHA256_DIGEST_SIZE;
		     i++) {
			memcpy(out + *ret_len, values->digests[i].buffer, TPM2_SHA256_DIGEST_SIZE);
			*ret_len += TPM2_SHA256_DIGEST_SIZE;
		}
		Esys_Free(values);
	}
	return NULL;
}

/* Without a SHA-256 bank the quote is of nothing, and still states clock and firmware. */
static struct writ_err *
pcrs_quote(struct attesting *a)
{
	TPML_PCR_SELECTION selection = { .count = 1,
					 .pcrSelections[0] = { .hash = TPM2_ALG_SHA256, .sizeofSelect = 3 } };
	uint8_t values[ATTEST_PCRS * TPM2_SHA256_DIGEST_SIZE];
	TPMT_SIGNATURE *signature = NULL;
	TPM2B_ATTEST *said = NULL;
	struct writ_err *err;
	size_t len;
	TSS2_RC rc;

	err = pcrs_read(a->tpm, values, &len);
	if (err)
		return err;
	if (len == sizeof(values))
		memset(selection.pcrSelections[0].pcrSelect, 0xff, 2);
	else
		len = 0;
	rc = Esys_Quote(a->tpm->esys, a->ak, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &a->qualifying, &own_scheme,
			&selection, &said, &signature);
	err = tpm2_result(a->tpm, rc, "TPM2_Quote");
	return err ? err : item_add(a, ATTESTED_PCRS, (struct writ_bytes){ values, len }, said, signature);
}

static struct writ_err *
counter_certify(struct attesting *a, enum custody_counter which)
{
	uint8_t area[sizeof(TPMS_NV_PUBLIC)];
	TPMT_SIGNATURE *signature = NULL;
	TPM2B_ATTEST *said = NULL;
	TPMS_NV_PUBLIC public;
	struct writ_err *err;
	ESYS_TR index;
	size_t len = 0;
	TSS2_RC rc;

	tpm2_counter_public(which, true, &public);
	if (Tss2_MU_TPMS_NV_PUBLIC_Marshal(&public, area, sizeof(area), &len) != TSS2_RC_SUCCESS)
		return writ_fail(WRIT_BROKEN, "a counter's public area cannot be written down");
	err = tpm2_counter_here(a->tpm, which, &index);
	if (err)
		return err;
	rc = Esys_NV_Certify(a->tpm->esys, a->ak, index, index, ESYS_TR_PASSWORD, a->tpm->hmac, ESYS_TR_NONE,
			     &a->qualifying, &own_scheme, 8, 0, &said, &signature);
	err = tpm2_result(a->tpm, rc, "TPM2_NV_Certify");
	Esys_TR_Close(a->tpm->esys, &index);
	return err ? err : item_add(a, ATTESTED_COUNTER, (struct writ_bytes){ area, len }, said, signature);
}

/* Those that were made. */
static struct writ_err *
counters_certify(struct attesting *a)
{
	static const enum custody_counter all[] = { COUNTER_SEALED, COUNTER_APPROVAL, COUNTER_STATE };

	for (size_t i = 0; i < N_OF(all); i++) {
		struct writ_err *err = counter_certify(a, all[i]);

		if (err && err->code != WRIT_NOT_FOUND)
			return err;
		writ_err_free(err);
	}
	return NULL;
}

static struct writ_err *
state_all(struct attesting *a, struct key *const *keys, size_t n)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; !err && i < n; i++)
		err = key_certify(a, (struct tpm2_key *)keys[i]);
	if (!err)
		err = unload_all(a->tpm);
	if (!err)
		err = parent_certify(a, n > 0 ? ((struct tpm2_key *)keys[0])->object.parent : a->tpm->parent_default);
	if (!err)
		err = pcrs_quote(a);
	if (!err)
		err = counters_certify(a);
	return err;
}

struct writ_err *
tpm2_attest(struct custody *custody, const uint8_t qualifying[ATTEST_QUALIFYING_LEN], struct key *const *keys, size_t n,
	    struct attestation *ret)
{
	struct attesting a = { .tpm = (struct tpm2 *)custody, .ret = ret };
	TPM2B_PUBLIC public;
	struct writ_err *err;

	ret->n = 0;
	a.qualifying.size = ATTEST_QUALIFYING_LEN;
	memcpy(a.qualifying.buffer, qualifying, ATTEST_QUALIFYING_LEN);
	err = ak_make(a.tpm, &a.ak, &public);
	if (err)
		return err;
	err = state_all(&a, keys, n);
	flush(a.tpm, &a.ak);
	return err;
}
