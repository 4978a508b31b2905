/*
 * Approvals of PCR values in use.  What is promised: tpm2_approvals.h.
 */
#include "hsm/tpm2_approvals.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/der.h"
#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "hsm/tpm2_context.h"
#include "hsm/tpm2_nv.h"

#define KEY_FILE_MAX (8 * 1024)
#define PATH_LEN 1300

/* ---- the approval key ---- */

static struct writ_err *
key_read(const char *path, struct writ_buf *ret_spki)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEY_FILE_MAX);
	unsigned char *der = NULL;
	struct writ_err *err;
	EVP_PKEY *pkey;
	int len = 0;
	BIO *bio;

	err = file_read(path, FILE_CONFIG, &text);
	if (err)
		return err;
	bio = BIO_new_mem_buf(text.data, (int)text.len);
	pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	if (pkey)
		len = i2d_PUBKEY(pkey, &der);
	if (len > 0)
		err = writ_buf_add(ret_spki, (struct writ_bytes){ der, (size_t)len });
	else
		err = writ_fail(WRIT_INVALID, "it holds no public key in PEM form");
	OPENSSL_free(der);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return err;
}

struct writ_err *
tpm2_approvals_open(struct tpm2_approvals *a, const struct custody_conf *conf)
{
	struct writ_err *err;

	*a = (struct tpm2_approvals){ .spki = WRIT_BUF(SPKI_MAX) };
	if (!conf->pcrs)
		return NULL;
	err = pcr_mask_check(conf->pcrs);
	if (err)
		return err;
	if (strlen(conf->approvals_for) > APPROVAL_REF_MAX)
		return writ_fail(WRIT_INVALID, "'%.80s' has over %d bytes", conf->approvals_for, APPROVAL_REF_MAX);
	err = key_read(conf->approval_key, &a->spki);
	if (!err)
		err = approval_key_point(writ_view(&a->spki), a->authority.point);
	if (err)
		return writ_because(err, "%s", conf->approval_key);
	approval_ref_digest(conf->approvals_for, a->authority.ref);
	approval_key_name(a->authority.point, a->key_name);
	a->on = true;
	return NULL;
}

void
tpm2_approvals_done(struct tpm2_approvals *a)
{
	writ_buf_done(&a->spki);
	*a = (struct tpm2_approvals){ 0 };
}

const struct tpm2_authority *
tpm2_approvals_authority(const struct tpm2_approvals *a)
{
	return a->on ? &a->authority : NULL;
}

/* ---- PCRs ---- */

/* A TPM gives as many as it likes at a time.  Nothing proves the answer: (1). */
static struct writ_err *
pcrs_read(struct tpm2 *tpm, uint32_t mask, struct pcr_values *ret)
{
	*ret = (struct pcr_values){ .mask = mask };
	for (uint32_t left = mask; left != 0;) {
		TPML_PCR_SELECTION in = { .count = 1,
					  .pcrSelections = { { .hash = TPM2_ALG_SHA256, .sizeofSelect = 3 } } };
		TPML_PCR_SELECTION *out = NULL;
		TPML_DIGEST *values = NULL;
		struct writ_err *err;
		uint32_t got = 0;
		TSS2_RC rc;
		size_t n = 0;

		for (unsigned i = 0; i < 3; i++)
			in.pcrSelections[0].pcrSelect[i] = (BYTE)(left >> 8 * i);
		rc = Esys_PCR_Read(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &in, NULL, &out, &values);
		err = tpm2_result(tpm, rc, "TPM2_PCR_Read");
		if (err)
			return err;
		for (unsigned i = 0; out->count == 1 && i < 3; i++)
			got |= (uint32_t)out->pcrSelections[0].pcrSelect[i] << 8 * i;
		for (unsigned i = 0; i < APPROVAL_PCR_END; i++) {
			if ((got & left) >> i & 1 && n < values->count && values->digests[n].size == SHA256_LEN)
				memcpy(ret->value[i], values->digests[n++].buffer, SHA256_LEN);
		}
		if (n == 0 || n != (size_t)__builtin_popcount(got & left))
			err = writ_fail(WRIT_INVALID, "this TPM has no SHA-256 bank of PCRs, or not these PCRs");
		left &= ~got;
		Esys_Free(out);
		Esys_Free(values);
		if (err)
			return err;
	}
	return NULL;
}

/* ---- the folder ---- */

static bool
is_approval(const char *name)
{
	const size_t len = strlen(name), suffix = strlen(APPROVALS_SUFFIX);

	return len > suffix && strcmp(name + len - suffix, APPROVALS_SUFFIX) == 0;
}

/* What changes when a file comes, goes or is written; the order that the folder lists them in does not matter. */
static void
folder_state(const char *folder, uint8_t out[SHA256_LEN])
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	memset(out, 0, SHA256_LEN);
	out[0] = !dir;
	while (dir && (entry = readdir(dir))) {
		uint8_t digest[SHA256_LEN];
		int64_t facts[6];
		struct stat st;
		struct writ_bytes pieces[] = { writ_str(entry->d_name), { (const uint8_t *)facts, sizeof(facts) } };

		if (!is_approval(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		facts[0] = st.st_mtim.tv_sec;
		facts[1] = st.st_mtim.tv_nsec;
		facts[2] = st.st_ctim.tv_sec;
		facts[3] = st.st_ctim.tv_nsec;
		facts[4] = (int64_t)st.st_size;
		facts[5] = (int64_t)st.st_ino;
		writ_sha256v(pieces, N_OF(pieces), digest);
		for (size_t i = 0; i < SHA256_LEN; i++)
			out[i] ^= digest[i];
	}
	if (dir)
		closedir(dir);
}

/* What was looked at, by what became of it. */
struct looked {
	unsigned n, other_values, older, foreign, unreadable;
	uint64_t counter;
	struct pcr_values pcrs; /* as they are now */
	bool found;
	struct approval best; /* of those that fit the one of the highest version: it lives longest */
	char best_name[80];
};

static struct writ_err *
file_take(const char *folder, const char *name, struct approval *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(APPROVAL_FILE_MAX + 1);
	char path[PATH_LEN];
	struct writ_err *err;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return writ_fail(WRIT_INVALID, "a path of over %d bytes", PATH_LEN - 1);
	err = file_read(path, FILE_PEER, &text); /* its signature is what is trusted, not who put it there */
	return err ? err : approval_read(writ_view(&text), ret);
}

static void
file_judge(const struct tpm2 *tpm, const char *name, struct looked *looked)
{
	const struct tpm2_approvals *const a = &tpm->approvals;
	struct approval approval;
	struct writ_err *err;

	looked->n++;
	err = file_take(tpm->conf.approvals, name, &approval);
	if (!err && strcmp(approval.ref, tpm->conf.approvals_for) != 0)
		err = writ_fail(WRIT_CONFLICT, "it is for %s", approval.ref);
	if (!err) {
		err = approval_verify(&approval, writ_view(&a->spki));
		if (err)
			err->code = WRIT_CONFLICT;
	}
	if (err) {
		looked->foreign += err->code == WRIT_CONFLICT;
		looked->unreadable += err->code != WRIT_CONFLICT;
		event(EVENT_WARN, "device.approval_passed_over", EV_STR("file", name), EV_ERR(err));
		writ_err_free(err);
	} else if (approval.version < looked->counter) {
		looked->older++;
	} else if (approval.pcrs.mask != looked->pcrs.mask ||
		   memcmp(&approval.pcrs, &looked->pcrs, sizeof(looked->pcrs)) != 0) {
		looked->other_values++;
	} else if (!looked->found || approval.version > looked->best.version) {
		looked->found = true;
		looked->best = approval;
		snprintf(looked->best_name, sizeof(looked->best_name), "%s", name);
	}
}

static struct writ_err *
folder_look(const struct tpm2 *tpm, struct looked *looked)
{
	DIR *dir = opendir(tpm->conf.approvals);
	struct writ_err *err = NULL;
	struct dirent *entry;

	if (!dir)
		return writ_fail(WRIT_LOCKED, "policy: the folder of approvals, %s: %s", tpm->conf.approvals,
				 strerror(errno));
	while (!err && (entry = readdir(dir))) {
		if (!is_approval(entry->d_name))
			continue;
		if (looked->n == APPROVALS_MAX)
			err = writ_fail(WRIT_LOCKED, "policy: %s holds over %d approvals: remove those that are dead",
					tpm->conf.approvals, APPROVALS_MAX);
		else
			file_judge(tpm, entry->d_name, looked);
	}
	closedir(dir);
	return err;
}

static struct writ_err *
none_fits(const struct looked *looked)
{
	char pcrs[PCR_TEXT_MAX];

	return writ_fail(WRIT_LOCKED,
			 "policy: PCRs %s are not approved (of %u approvals %u are for other values, %u below counter "
			 "%llu, %u not ours, %u unreadable)",
			 pcr_text(&looked->pcrs, pcrs), looked->n, looked->other_values, looked->older,
			 (unsigned long long)looked->counter, looked->foreign, looked->unreadable);
}

static struct writ_err *
look(struct tpm2 *tpm, struct looked *ret)
{
	struct writ_err *err;

	*ret = (struct looked){ 0 };
	err = tpm2_counter_make(tpm, COUNTER_APPROVAL, &ret->counter);
	if (!err)
		err = pcrs_read(tpm, tpm->conf.pcrs, &ret->pcrs);
	return err ? err : folder_look(tpm, ret);
}

/* (2) */
static struct writ_err *
choose(struct tpm2 *tpm)
{
	struct tpm2_approvals *const a = &tpm->approvals;
	uint8_t state[SHA256_LEN];
	struct looked looked;
	struct writ_err *err;

	folder_state(tpm->conf.approvals, state); /* before it is read: what changes meanwhile is a change */
	err = look(tpm, &looked);
	if (!err && !looked.found)
		err = none_fits(&looked);
	if (err && err->code == WRIT_LOCKED && !tpm->base.latched) {
		memcpy(a->refused_at, state, sizeof(state));
		tpm->base.by_policy = true;
		return custody_latch(&tpm->base, err);
	}
	if (err)
		return err;
	a->approval = looked.best;
	a->chosen = true;
	a->has_ticket = false;
	event(EVENT_INFO, "device.approval_used", EV_STR("file", looked.best_name),
	      EV_NUM("version", a->approval.version), EV_NUM("counter", looked.counter));
	return NULL;
}

bool
tpm2_approvals_changed(struct tpm2 *tpm)
{
	uint8_t state[SHA256_LEN];

	folder_state(tpm->conf.approvals, state);
	return memcmp(state, tpm->approvals.refused_at, sizeof(state)) != 0;
}

struct writ_err *
tpm2_approvals_fit(struct tpm2 *tpm)
{
	if (!tpm->approvals.on)
		return NULL;
	tpm->approvals.chosen = false;
	return choose(tpm);
}

struct writ_err *
tpm2_approvals_hold(struct tpm2 *tpm)
{
	struct tpm2_approvals *const a = &tpm->approvals;
	struct pcr_values now;
	struct writ_err *err;

	if (!a->on)
		return NULL;
	if (a->chosen) {
		err = pcrs_read(tpm, tpm->conf.pcrs, &now);
		if (err || memcmp(&now, &a->approval.pcrs, sizeof(now)) == 0)
			return err;
	}
	return tpm2_approvals_fit(tpm);
}

struct writ_err *
tpm2_approvals_outlive(struct tpm2 *tpm, uint64_t counter)
{
	struct looked looked;
	struct writ_err *err;

	if (!tpm->approvals.on)
		return NULL;
	err = look(tpm, &looked);
	if (err || (looked.found && looked.best.version > counter))
		return err;
	return writ_fail(WRIT_CONFLICT,
			 "no approval that fits the PCRs would be left: put one of version %llu into %.80s first",
			 (unsigned long long)counter + 1, tpm->conf.approvals);
}

struct writ_err *
tpm2_approvals_report(struct tpm2 *tpm, struct pcr_report *ret)
{
	struct tpm2_approvals *const a = &tpm->approvals;
	struct writ_err *err;

	*ret = (struct pcr_report){ 0 };
	if (!a->on)
		return writ_fail(WRIT_NOT_FOUND,
				 "keys of this device are not bound to PCRs: custody.tpm.pcrs binds them");
	memcpy(ret->key_name, a->key_name, sizeof(ret->key_name));
	snprintf(ret->ref, sizeof(ret->ref), "%s", tpm->conf.approvals_for);
	err = tpm2_counter_make(tpm, COUNTER_APPROVAL, &ret->counter);
	return err ? err : pcrs_read(tpm, tpm->conf.pcrs, &ret->pcrs);
}

/* ---- in the TPM ---- */

/* Its last 32 octets: what DER puts before them is zero. */
static bool
scalar_take(struct der *in, TPM2B_ECC_PARAMETER *ret)
{
	struct writ_bytes b;

	if (!der_take_integer_bytes(in, DER_INTEGER, &b))
		return false;
	if (b.len == SHA256_LEN + 1 && b.data[0] == 0)
		b = (struct writ_bytes){ b.data + 1, SHA256_LEN };
	if (b.len > SHA256_LEN)
		return false;
	ret->size = SHA256_LEN;
	memset(ret->buffer, 0, SHA256_LEN - b.len);
	memcpy(ret->buffer + SHA256_LEN - b.len, b.data, b.len);
	return true;
}

static struct writ_err *
signature_of(const struct approval *approval, TPMT_SIGNATURE *ret)
{
	struct der in = der_read((struct writ_bytes){ approval->signature, approval->signature_len }), fields;

	*ret = (TPMT_SIGNATURE){ .sigAlg = TPM2_ALG_ECDSA, .signature.ecdsa.hash = TPM2_ALG_SHA256 };
	if (der_take(&in, DER_SEQUENCE, &fields) && scalar_take(&fields, &ret->signature.ecdsa.signatureR) &&
	    scalar_take(&fields, &ret->signature.ecdsa.signatureS))
		return NULL;
	return writ_fail(WRIT_BROKEN, "a signature that was good is none"); /* approval_verify() accepted it */
}

/* The public area whose name approval_key_name() computes. */
static void
key_public(const struct tpm2_authority *authority, TPM2B_PUBLIC *ret)
{
	TPMS_ECC_POINT *const point = &ret->publicArea.unique.ecc;

	*ret = (TPM2B_PUBLIC){
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_USERWITHAUTH,
			.parameters.eccDetail = {
				.symmetric.algorithm = TPM2_ALG_NULL,
				.scheme.scheme = TPM2_ALG_NULL,
				.curveID = TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
	point->x.size = point->y.size = 32;
	memcpy(point->x.buffer, authority->point, 32);
	memcpy(point->y.buffer, authority->point + 32, 32);
}

static struct writ_err *
verified(struct tpm2 *tpm, ESYS_TR key)
{
	struct tpm2_approvals *const a = &tpm->approvals;
	TPM2B_DIGEST digest = { .size = SHA256_LEN };
	uint8_t message[APPROVAL_MESSAGE_LEN];
	TPMT_TK_VERIFIED *ticket = NULL;
	TPMT_SIGNATURE signature;
	struct writ_err *err;
	TSS2_RC rc;

	approval_message(a->approval.policy, a->approval.ref, message);
	writ_sha256((struct writ_bytes){ message, sizeof(message) }, digest.buffer);
	err = signature_of(&a->approval, &signature);
	if (err)
		return err;
	rc = Esys_VerifySignature(tpm->esys, key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &digest, &signature,
				  &ticket);
	err = tpm2_result(tpm, rc, "TPM2_VerifySignature");
	if (err)
		return err;
	a->ticket = *ticket;
	a->has_ticket = true;
	Esys_Free(ticket);
	return NULL;
}

/* The approval key takes a slot for as long as that. */
static struct writ_err *
ticket_get(struct tpm2 *tpm)
{
	TPM2B_PUBLIC public;
	struct writ_err *err;
	ESYS_TR key;
	TSS2_RC rc;

	err = tpm2_make_room(tpm);
	if (err)
		return err;
	key_public(&tpm->approvals.authority, &public);
	rc = Esys_LoadExternal(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL, &public, ESYS_TR_RH_OWNER,
			       &key);
	err = tpm2_result(tpm, rc, "TPM2_LoadExternal");
	if (err)
		return err;
	err = verified(tpm, key);
	tpm2_flush(tpm, key);
	return err;
}

static bool
means_moved(TSS2_RC rc)
{
	return (rc & ~TSS2_RC_LAYER_MASK) == TPM2_RC_PCR_CHANGED ||
	       (rc & (TSS2_RC_LAYER_MASK | TPM2_RC_FMT1 | 0x3f)) == TPM2_RC_VALUE;
}

/* PolicyPCR with the approved values: a TPM that has others refuses at once.  `*ret_moved`: it did. */
static struct writ_err *
pcrs_satisfy(struct tpm2 *tpm, bool *ret_moved)
{
	const struct pcr_values *const pcrs = &tpm->approvals.approval.pcrs;
	TPML_PCR_SELECTION selection = { .count = 1,
					 .pcrSelections = { { .hash = TPM2_ALG_SHA256, .sizeofSelect = 3 } } };
	TPM2B_DIGEST digest = { .size = SHA256_LEN };
	TSS2_RC rc;

	for (unsigned i = 0; i < 3; i++)
		selection.pcrSelections[0].pcrSelect[i] = (BYTE)(pcrs->mask >> 8 * i);
	pcr_digest(pcrs, digest.buffer);
	rc = Esys_PolicyPCR(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &digest, &selection);
	*ret_moved = means_moved(rc);
	if (!*ret_moved)
		return tpm2_result(tpm, rc, "TPM2_PolicyPCR");
	tpm->commands++;
	return NULL;
}

static struct writ_err *
counter_satisfy(struct tpm2 *tpm, bool *ret_moved)
{
	struct writ_err *err = tpm2_policy_counter(tpm, COUNTER_APPROVAL, tpm->approvals.approval.version);

	*ret_moved = err && err->code == WRIT_NOT_FOUND;
	if (!*ret_moved)
		return err;
	writ_err_free(err);
	return NULL;
}

static struct writ_err *
authorize(struct tpm2 *tpm, bool *ret_moved)
{
	const struct tpm2_approvals *const a = &tpm->approvals;
	TPM2B_DIGEST approved = { .size = SHA256_LEN };
	TPM2B_NONCE ref = { .size = SHA256_LEN };
	TPM2B_NAME name = { .size = APPROVAL_NAME_LEN };
	TSS2_RC rc;

	memcpy(approved.buffer, a->approval.policy, SHA256_LEN);
	memcpy(ref.buffer, a->authority.ref, SHA256_LEN);
	memcpy(name.name, a->key_name, APPROVAL_NAME_LEN);
	rc = Esys_PolicyAuthorize(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &approved, &ref,
				  &name, &a->ticket);
	*ret_moved = means_moved(rc); /* or the ticket is of a TPM that was cleared since */
	if (!*ret_moved)
		return tpm2_result(tpm, rc, "TPM2_PolicyAuthorize");
	tpm->commands++;
	return NULL;
}

static struct writ_err *
satisfy_once(struct tpm2 *tpm, bool *ret_moved)
{
	struct writ_err *err = NULL;

	*ret_moved = false;
	if (!tpm->approvals.chosen)
		err = choose(tpm);
	if (!err && !tpm->approvals.has_ticket)
		err = ticket_get(tpm);
	if (!err)
		err = pcrs_satisfy(tpm, ret_moved);
	if (!err && !*ret_moved)
		err = counter_satisfy(tpm, ret_moved);
	if (!err && !*ret_moved)
		err = authorize(tpm, ret_moved);
	return err;
}

struct writ_err *
tpm2_approvals_satisfy(struct tpm2 *tpm)
{
	struct writ_err *err;
	bool moved;

	err = satisfy_once(tpm, &moved);
	if (err || !moved)
		return err;
	tpm->approvals.chosen = false; /* (2) */
	err = tpm2_result(tpm, Esys_PolicyRestart(tpm->esys, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE),
			  "TPM2_PolicyRestart");
	if (!err)
		err = satisfy_once(tpm, &moved);
	if (err || !moved)
		return err;
	tpm->approvals.chosen = false;
	tpm->pcrs_moved = true;
	return writ_fail(WRIT_UNAVAILABLE, "PCRs or the approval counter changed twice while they were looked at");
}
