/*
 * Custody in a TPM 2.0, by ESAPI.  Objects: tpm2_object.h.  Connection, sessions and slots: tpm2_context.h.
 *
 * A key's reference is a TPM 2.0 key file, a sealed blob is one too; each names in its description the storage root key
 * it was made under.  Use takes the auth value, by policy and in a salted session: it never crosses the bus.
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "hsm/tpm2_context.h"
#include "hsm/tpm2_keyfile.h"
#include "hsm/tpm2_nv.h"
#include "hsm/tpm2_object.h"

static struct tpm2 *
tpm2_of(struct custody *custody)
{
	return (struct tpm2 *)custody;
}

/* Only TCTIs that lead to a TPM and nowhere else: pcap writes the traffic down, cmd runs programs, "" searches. */
static struct writ_err *
tcti_check(const char *tcti, bool *ret_exclusive)
{
	static const char *const known[] = { "device:/dev/", "tabrmd:", "swtpm:", "mssim:" };

#ifdef WRIT_FAULTS
	/* What the fault tests put before a software TPM, by path: in builds with fault points alone. */
	if (tcti && tcti[0] == '/' && strstr(tcti, "/libtss2-tcti-writshim.so:")) {
		*ret_exclusive = true;
		return NULL;
	}
#endif
	for (size_t i = 0; tcti && i < N_OF(known); i++) {
		if (strncmp(tcti, known[i], strlen(known[i])) != 0)
			continue;
		*ret_exclusive = strncmp(tcti, "tabrmd:", 7) != 0 && strncmp(tcti, "device:/dev/tpmrm", 17) != 0;
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "TCTI '%.60s': name one of device:/dev/..., tabrmd:..., swtpm:... and mssim:...",
			 tcti ? tcti : "");
}

static void
tpm2_close(struct custody *custody)
{
	struct tpm2 *const tpm = tpm2_of(custody);

	tpm2_down(tpm);
	tpm2_approvals_done(&tpm->approvals);
	writ_secret_done(&tpm->auth);
	free(tpm);
}

static struct writ_err *
tpm2_open(const struct custody_conf *conf, const struct writ_secret *auth, struct custody **ret)
{
	struct writ_err *err;
	struct tpm2 *tpm;
	bool exclusive = true;

	err = tcti_check(conf->tcti, &exclusive);
	if (err)
		return err;
	if (auth->len != TPM2_AUTH_LEN)
		return writ_fail(WRIT_INVALID, "the auth value of a TPM's keys has %d bytes, not %zu", TPM2_AUTH_LEN,
				 auth->len);
	setenv("TSS2_LOG", "all+NONE", 1); /* the library prints to descriptor 2 otherwise */

	tpm = calloc(1, sizeof(*tpm));
	if (!tpm)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a device");
	tpm->base.ops = &custody_tpm2;
	tpm->conf = *conf;
	tpm->exclusive = exclusive;
	tpm->hmac = tpm->policy = ESYS_TR_NONE;
	err = writ_secret_set(&tpm->auth, (struct writ_bytes){ auth->data, auth->len });
	if (!err)
		err = tpm2_approvals_open(&tpm->approvals, &tpm->conf);
	if (!err)
		err = tpm2_ready(tpm);
	if (err) {
		tpm2_close(&tpm->base);
		return err;
	}
	*ret = &tpm->base;
	return NULL;
}

static struct writ_err *
tpm2_info(struct custody *custody, struct custody_info *ret)
{
	*ret = tpm2_of(custody)->info;
	return NULL;
}

/* Writes the key file of what Esys_Create() made. */
static struct writ_err *
object_write(struct tpm2 *tpm, enum keyfile_type type, const struct tpm2_policy *policy, const TPM2B_PUBLIC *public,
	     const TPM2B_PRIVATE *private, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEYFILE_DESCRIPTION_MAX);
	AUTO(writ_buf_done) struct writ_buf a = WRIT_BUF(KEYFILE_AREA_MAX);
	AUTO(writ_buf_done) struct writ_buf b = WRIT_BUF(KEYFILE_AREA_MAX);
	struct tpm2_parent *parent;
	struct writ_err *err;

	err = tpm2_parent_get(tpm, tpm->parent_default, &parent);
	if (err)
		return err;
	err = tpm2_parent_text(parent, &text);
	if (err)
		return err;
	err = tpm2_public_write(public, &a);
	if (err)
		return err;
	err = tpm2_private_write(private, &b);
	if (err)
		return err;
	return keyfile_write(&(struct keyfile){ .type = type,
						.policy = *policy,
						.description = writ_view(&text),
						.parent = tpm->parent_default,
						.public = writ_view(&a),
						.private = writ_view(&b) },
			     ret);
}

/* Makes an object of `template_` under the storage root key; `sealed` is empty for a key. */
static struct writ_err *
object_create(struct tpm2 *tpm, const TPM2B_PUBLIC *template_, struct writ_bytes sealed, TPM2B_PUBLIC **ret_public,
	      TPM2B_PRIVATE **ret_private)
{
	TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPML_PCR_SELECTION no_pcr = { 0 };
	const TPM2B_DATA outside = { 0 };
	struct tpm2_parent *parent;
	struct writ_err *err;
	TSS2_RC rc;

	err = tpm2_ready(tpm);
	if (err)
		return err;
	err = tpm2_approvals_fit(tpm); /* what could not be used is not made */
	if (err)
		return err;
	err = tpm2_parent_get(tpm, tpm->parent_default, &parent);
	if (err)
		return err;
	err = tpm2_make_room(tpm);
	if (err)
		return err;

	sensitive.sensitive.userAuth.size = TPM2_AUTH_LEN;
	memcpy(sensitive.sensitive.userAuth.buffer, tpm->auth.data, TPM2_AUTH_LEN);
	sensitive.sensitive.data.size = (UINT16)sealed.len;
	if (sealed.len > 0)
		memcpy(sensitive.sensitive.data.buffer, sealed.data, sealed.len);
	Esys_TRSess_SetAttributes(tpm->esys, tpm->hmac,
				  TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT, 0xff);
	rc = Esys_Create(tpm->esys, parent->handle, tpm->hmac, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, template_,
			 &outside, &no_pcr, ret_private, ret_public, NULL, NULL, NULL);
	OPENSSL_cleanse(&sensitive, sizeof(sensitive));
	err = tpm2_result(tpm, rc, "TPM2_Create");
	if (err)
		return err;
	if (!tpm2_is_of(*ret_public, template_))
		return custody_latch(&tpm->base,
				     writ_fail(WRIT_LOCKED, "the TPM made another object than it was asked for"));
	return NULL;
}

static void
public_freep(TPM2B_PUBLIC **p)
{
	Esys_Free(*p);
}

static void
private_freep(TPM2B_PRIVATE **p)
{
	Esys_Free(*p);
}

static struct writ_err *
tpm2_make_key(struct custody *custody, enum key_kind kind, const char *label, struct writ_buf *ret_ref,
	      struct writ_buf *ret_spki)
{
	AUTO(public_freep) TPM2B_PUBLIC *public = NULL;
	AUTO(private_freep) TPM2B_PRIVATE *private = NULL;
	struct tpm2 *const tpm = tpm2_of(custody);
	const struct tpm2_policy policy = tpm2_policy_of_key(tpm2_approvals_authority(&tpm->approvals));
	TPM2B_PUBLIC template_;
	struct writ_err *err;

	(void)label; /* a key file is named by whoever keeps it */
	tpm2_key_template(kind, &policy, &template_);
	err = object_create(tpm, &template_, (struct writ_bytes){ 0 }, &public, &private);
	if (err)
		return err;
	err = tpm2_key_spki(public, &policy, ret_spki);
	if (err)
		return err;
	return object_write(tpm, KEYFILE_LOADABLE, &policy, public, private, ret_ref);
}

/* Reads a key file of that type into an object, not loaded yet; its storage root key must be the one we have. */
static struct writ_err *
object_read(struct tpm2 *tpm, enum keyfile_type type, struct writ_bytes pem, struct tpm2_object *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEYFILE_DESCRIPTION_MAX);
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
	struct tpm2_parent *parent;
	struct keyfile file;
	struct writ_err *err;
	TPM2B_DIGEST digest;

	err = keyfile_read(pem, &der, &file);
	if (err)
		return err;
	if (file.type != type)
		return writ_fail(WRIT_INVALID, "key file: it holds a %s where a %s is wanted",
				 file.type == KEYFILE_SEALED ? "sealed secret" : "key",
				 type == KEYFILE_SEALED ? "sealed secret" : "key");
	err = tpm2_public_read(file.public, &ret->public);
	if (err)
		return err;
	err = tpm2_private_read(file.private, &ret->private);
	if (err)
		return err;
	tpm2_policy_digest(&file.policy, &digest);
	if (!writ_equal((struct writ_bytes){ digest.buffer, digest.size },
			(struct writ_bytes){ ret->public.publicArea.authPolicy.buffer,
					     ret->public.publicArea.authPolicy.size }))
		return writ_fail(WRIT_INVALID, "key file: the policy that it says is not the one in the public area");
	ret->parent = file.parent;
	ret->policy = file.policy;

	err = tpm2_ready(tpm);
	if (err)
		return err;
	err = tpm2_parent_get(tpm, file.parent, &parent);
	if (err)
		return err;
	err = tpm2_parent_text(parent, &text);
	if (err)
		return err;
	if (!writ_equal(writ_view(&text), file.description))
		return writ_fail(WRIT_LOCKED, "it was made under another storage root key: it belongs to another TPM, "
					      "or this one was cleared");
	return NULL;
}

/* A key's policy is for ever: one that was made bound to nothing is not used where PCRs are to bind it, nor another way
 * round. */
static struct writ_err *
binding_check(const struct tpm2 *tpm, const struct tpm2_policy *wanted, const struct tpm2_policy *policy)
{
	const bool bound = policy->steps[0].kind == TPM2_STEP_AUTHORIZED;

	if (bound != tpm->approvals.on)
		return writ_fail(WRIT_INVALID,
				 "key file: it was made %s, and custody.tpm says %s: what a key is bound to is for ever",
				 bound ? "bound to approved PCRs" : "bound to no PCRs",
				 tpm->approvals.on ? "approved PCRs" : "none");
	if (bound && !tpm2_policy_same(wanted, policy))
		return writ_fail(WRIT_INVALID, "key file: it was made for approvals by another key, or for another trust "
					       "domain, than custody.tpm says");
	return NULL;
}

static void
tpm2_unload(struct key *key)
{
	struct tpm2_key *const mine = (struct tpm2_key *)key;

	tpm2_object_gone(tpm2_of(key->custody), &mine->object);
	free(mine);
}

static struct writ_err *
key_read(struct tpm2 *tpm, struct writ_bytes ref, struct writ_bytes spki, struct tpm2_key *key)
{
	const struct tpm2_policy policy = tpm2_policy_of_key(tpm2_approvals_authority(&tpm->approvals));
	AUTO(writ_buf_done) struct writ_buf own = WRIT_BUF(SPKI_MAX);
	struct writ_bytes raw;
	struct writ_err *err;

	err = object_read(tpm, KEYFILE_LOADABLE, ref, &key->object);
	if (err)
		return err;
	err = binding_check(tpm, &policy, &key->object.policy);
	if (err)
		return err;
	err = tpm2_key_spki(&key->object.public, &key->object.policy, &own);
	if (err)
		return err;
	if (!writ_equal(writ_view(&own), spki))
		return writ_fail(WRIT_LOCKED, "the key file holds another key than the pinned one");
	err = spki_parse(spki, &key->kind, &raw);
	if (err)
		return err;
	return tpm2_object_here(tpm, &key->object);
}

static struct writ_err *
tpm2_load(struct custody *custody, struct writ_bytes ref, struct writ_bytes spki, struct key **ret)
{
	struct tpm2_key *const key = calloc(1, sizeof(*key));
	struct writ_err *err;

	if (!key)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a key");
	key->base.custody = custody;
	err = key_read(tpm2_of(custody), ref, spki, key);
	if (err) {
		tpm2_unload(&key->base);
		return err;
	}
	*ret = &key->base;
	return NULL;
}

static bool
is_pcr_changed(TSS2_RC rc)
{
	return (rc & ~TSS2_RC_LAYER_MASK) == TPM2_RC_PCR_CHANGED;
}

static struct writ_err *
sign_once(struct tpm2 *tpm, struct tpm2_key *key, const TPM2B_DIGEST *digest, struct writ_buf *ret_sig)
{
	const TPMT_TK_HASHCHECK no_ticket = { .tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL };
	const TPMT_SIG_SCHEME scheme = { .scheme = TPM2_ALG_ECDSA,
					 .details.ecdsa.hashAlg =
						 key->kind == KEY_P384 ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256 };
	const TPMS_SIGNATURE_ECC *ecc;
	TPMT_SIGNATURE *sig = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	err = tpm2_object_here(tpm, &key->object);
	if (err)
		return err;
	/* The answer's first parameter is no buffer: nothing to encrypt. */
	err = tpm2_policy_ready(tpm, &key->object.policy, TPMA_SESSION_DECRYPT);
	if (err)
		return err;
	rc = Esys_Sign(tpm->esys, key->object.handle, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, digest, &scheme,
		       &no_ticket, &sig);
	tpm->pcrs_moved = is_pcr_changed(rc);
	err = tpm2_result(tpm, rc, "TPM2_Sign");
	if (err)
		return err;
	tpm->policy_dirty = false;
	ecc = &sig->signature.ecdsa;
	if (sig->sigAlg != TPM2_ALG_ECDSA)
		err = writ_fail(WRIT_LOCKED, "the TPM answered with signature algorithm 0x%x", sig->sigAlg);
	else
		err = custody_ecdsa_der(key->kind, (struct writ_bytes){ ecc->signatureR.buffer, ecc->signatureR.size },
					(struct writ_bytes){ ecc->signatureS.buffer, ecc->signatureS.size }, ret_sig);
	Esys_Free(sig);
	return err;
}

/*
 * A busy TPM is asked three times in all; the library has asked five times at once each time.  PCRs that were extended
 * between policy and command are looked at once more, and not again: whoever extends them all the time gets no signature.
 * `*err` is freed when there is another try.
 */
static bool
once_more(const struct tpm2 *tpm, struct writ_err **err, size_t tried)
{
	static const long pauses_ms[] = { 10, 200 };

	if (!*err || (*err)->code != WRIT_UNAVAILABLE || tpm->stale ||
	    tried >= (tpm->pcrs_moved ? 1 : N_OF(pauses_ms)))
		return false;
	writ_err_free(TAKE(*err));
	nanosleep(&(struct timespec){ .tv_nsec = pauses_ms[tried] * 1000000 }, NULL);
	return true;
}

static struct writ_err *
tpm2_sign(struct key *key, struct writ_bytes message, struct writ_buf *ret_sig)
{
	struct tpm2_key *const mine = (struct tpm2_key *)key;
	struct tpm2 *const tpm = tpm2_of(key->custody);
	TPM2B_DIGEST digest = { 0 };
	struct writ_err *err;
	size_t len, tried = 0;

	err = custody_digest(mine->kind, message, digest.buffer, &len);
	if (err)
		return err;
	digest.size = (UINT16)len;
	err = tpm2_ready(tpm);
	if (err)
		return err;
	do
		err = sign_once(tpm, mine, &digest, ret_sig);
	while (once_more(tpm, &err, tried++));
	return err;
}

static struct writ_err *
tpm2_seal(struct custody *custody, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	AUTO(public_freep) TPM2B_PUBLIC *public = NULL;
	AUTO(private_freep) TPM2B_PRIVATE *private = NULL;
	struct tpm2 *const tpm = tpm2_of(custody);
	const struct tpm2_policy policy = tpm2_policy_of_sealed(tpm2_approvals_authority(&tpm->approvals), number);
	TPM2B_PUBLIC template_;
	struct writ_err *err;

	tpm2_seal_template(&policy, &template_);
	err = object_create(tpm, &template_, (struct writ_bytes){ secret->data, secret->len }, &public, &private);
	if (err)
		return err;
	return object_write(tpm, KEYFILE_SEALED, &policy, public, private, ret_blob);
}

static struct writ_err *
unseal_loaded(struct tpm2 *tpm, const struct tpm2_object *object, struct writ_secret *ret)
{
	TPM2B_SENSITIVE_DATA *data = NULL;
	struct writ_err *err;
	TSS2_RC rc;

	/* The command has no parameter to decrypt. */
	err = tpm2_policy_ready(tpm, &object->policy, TPMA_SESSION_ENCRYPT);
	if (err)
		return err;
	rc = Esys_Unseal(tpm->esys, object->handle, tpm->policy, ESYS_TR_NONE, ESYS_TR_NONE, &data);
	tpm->pcrs_moved = is_pcr_changed(rc);
	err = tpm2_result(tpm, rc, "TPM2_Unseal");
	if (err)
		return err;
	tpm->policy_dirty = false;
	err = writ_secret_set(ret, (struct writ_bytes){ data->buffer, data->size });
	OPENSSL_cleanse(data, sizeof(*data));
	Esys_Free(data);
	return err;
}

static struct writ_err *
tpm2_unseal(struct custody *custody, struct writ_bytes blob, struct writ_secret *ret)
{
	struct tpm2 *const tpm = tpm2_of(custody);
	struct tpm2_object object = { 0 };
	struct tpm2_policy policy;
	TPM2B_PUBLIC template_;
	uint64_t number = 0;
	size_t tried = 0;
	struct writ_err *err;

	err = object_read(tpm, KEYFILE_SEALED, blob, &object);
	if (err)
		return err;
	for (size_t i = 0; i < object.policy.n; i++)
		if (object.policy.steps[i].kind == TPM2_STEP_COUNTER)
			number = object.policy.steps[i].limit; /* what object_read() found true of the object */
	policy = tpm2_policy_of_sealed(tpm2_approvals_authority(&tpm->approvals), number);
	err = binding_check(tpm, &policy, &object.policy);
	if (err)
		return err;
	tpm2_seal_template(&policy, &template_);
	if (!tpm2_is_of(&object.public, &template_))
		return writ_fail(WRIT_INVALID,
				 "key file: the sealed secret has type 0x%x, attributes 0x%x and a policy: one of them "
				 "is not what we seal with",
				 object.public.publicArea.type, object.public.publicArea.objectAttributes);
	do {
		err = tpm2_object_here(tpm, &object);
		if (!err)
			err = unseal_loaded(tpm, &object, ret);
	} while (once_more(tpm, &err, tried++));
	tpm2_object_gone(tpm, &object);
	return err;
}

static struct writ_err *
counter_make(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	return tpm2_counter_make(tpm2_of(custody), which, ret);
}

static struct writ_err *
counter_read(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	return tpm2_counter_read(tpm2_of(custody), which, ret);
}

static struct writ_err *
counter_raise(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	struct tpm2 *const tpm = tpm2_of(custody);
	struct writ_err *err = NULL;
	uint64_t value;

	if (which == COUNTER_APPROVAL && tpm->approvals.on) { /* nobody locks himself out */
		err = tpm2_counter_read(tpm, which, &value);
		if (!err)
			err = tpm2_approvals_outlive(tpm, value);
	}
	return err ? err : tpm2_counter_raise(tpm, which, ret);
}

/* The TPM keeps nothing of a sealed secret but the counter. */
static struct writ_err *
tpm2_destroy(struct custody *custody, uint64_t number)
{
	struct tpm2 *const tpm = tpm2_of(custody);
	struct writ_err *err;
	uint64_t value;

	err = tpm2_counter_read(tpm, COUNTER_SEALED, &value);
	while (!err && value <= number)
		err = tpm2_counter_raise(tpm, COUNTER_SEALED, &value);
	return err;
}

static struct writ_err *
tpm2_pcrs(struct custody *custody, struct writ_buf *ret_report)
{
	struct tpm2 *const tpm = tpm2_of(custody);
	struct pcr_report report;
	struct writ_err *err;

	err = tpm2_ready(tpm);
	if (!err)
		err = tpm2_approvals_report(tpm, &report);
	return err ? err : pcr_report_write(&report, ret_report);
}

static bool
tpm2_mended(struct custody *custody)
{
	return tpm2_approvals_changed(tpm2_of(custody));
}

static struct writ_err *
tpm2_health(struct custody *custody)
{
	struct writ_err *err = tpm2_alive(tpm2_of(custody));

	return err ? err : tpm2_approvals_hold(tpm2_of(custody));
}

const struct custody_ops custody_tpm2 = {
	.scheme = "tpm2",
	.open = tpm2_open,
	.info = tpm2_info,
	.make_key = tpm2_make_key,
	.load = tpm2_load,
	.sign = tpm2_sign,
	.counter_make = counter_make,
	.counter_read = counter_read,
	.counter_raise = counter_raise,
	.seal = tpm2_seal,
	.unseal = tpm2_unseal,
	.destroy = tpm2_destroy,
	.attester = tpm2_attester,
	.attest = tpm2_attest,
	.activate = tpm2_activate,
	.health = tpm2_health,
	.pcrs = tpm2_pcrs,
	.mended = tpm2_mended,
	.unload = tpm2_unload,
	.close = tpm2_close,
};
