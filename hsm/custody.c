/*
 * Custody, the part that is the same for every backend: bounds before, verification after, and the latch.
 *
 * (1) A backend is not asked again once it is latched: an authentication failure is never retried.	I12
 * (2) A signature leaves only after it verified with the pinned public key: this catches an interposer on the bus that
 *     swaps a digest, a fault, and two keys taken for one another.
 * (3) A key whose signature was none is quarantined: neither used nor loaded again.  The device's other keys go on.
 * Knows no backend's ways.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/der.h"
#include "base/digest.h"
#include "base/event.h"
#include "hsm/backend.h"

/*
 * Signed once at load and thrown away.  It is no certificate, CRL or OCSP response and cannot be taken for one (those
 * begin with 30), so it needs no journal entry: I2 speaks of what may leave.
 */
static const char self_test[] = "Writ custody self-test; not a certificate";

#define MENDED_AFTER_MS 500

const struct custody_ops *const custody_backends[] = { &custody_tpm2, &custody_pkcs11, NULL };

const struct custody_ops *
custody_backend(const char *scheme)
{
	for (const struct custody_ops *const *ops = custody_backends; *ops; ops++)
		if (strcmp((*ops)->scheme, scheme) == 0)
			return *ops;
	return NULL;
}

struct writ_err *
custody_latch(struct custody *custody, struct writ_err *err)
{
	if (!custody->latched) {
		writ_err_text(err, custody->latched_why, sizeof(custody->latched_why));
		custody->latched = true;
		custody->latched_ms = clock_read().mono_ms;
	}
	return err;
}

/*
 * A latch by policy is lifted when what it was judged by has changed, once for each change: no secret is tried by that.
 * Not at once: whoever was refused asks after our health first, and must hear of the latch.
 */
static struct writ_err *
refuse_if_latched(struct custody *custody)
{
	if (custody->latched && custody->by_policy && clock_read().mono_ms - custody->latched_ms >= MENDED_AFTER_MS &&
	    custody->ops->mended(custody)) {
		custody->latched = custody->by_policy = false;
		event(EVENT_INFO, "device.tried_again", EV_STR("was", custody->latched_why));
	}
	if (!custody->latched)
		return NULL;
	if (custody->by_policy)
		return writ_fail(WRIT_LOCKED, "%s", custody->latched_why);
	return writ_fail(WRIT_LOCKED, "the device is not asked again until an operator resumes: %s",
			 custody->latched_why);
}

static bool
is_quarantined(const struct custody *custody, const uint8_t id[32])
{
	for (size_t i = 0; i < custody->n_quarantined; i++)
		if (memcmp(custody->quarantine[i], id, 32) == 0)
			return true;
	return false;
}

static struct writ_err *
refuse_if_quarantined(const struct custody *custody, const uint8_t id[32])
{
	if (!is_quarantined(custody, id))
		return NULL;
	return writ_fail(WRIT_LOCKED, "the key is not used again until an operator resumes: a signature of it was wrong");
}

/* (3) */
static struct writ_err *
quarantine(struct key *key, struct writ_err *err)
{
	struct custody *const custody = key->custody;

	if (custody->latched || is_quarantined(custody, key->id))
		return err;
	if (custody->n_quarantined == CUSTODY_QUARANTINE_MAX)
		return custody_latch(custody, err);
	memcpy(custody->quarantine[custody->n_quarantined++], key->id, sizeof(key->id));
	return err;
}

size_t
custody_scalar_len(enum key_kind kind)
{
	switch (kind) {
	case KEY_P256:
		return 32;
	case KEY_P384:
		return 48;
	case KEY_NONE:
	case KEY_ED25519:
		break;
	}
	return 0;
}

struct writ_err *
custody_kind_check(enum key_kind kind)
{
	if (custody_scalar_len(kind) > 0)
		return NULL;
	return writ_fail(WRIT_INVALID, "a device holds P-256 and P-384 keys, not %s",
			 kind == KEY_ED25519 ? key_kind_name(kind) : "keys without a kind");
}

struct writ_err *
custody_digest(enum key_kind kind, struct writ_bytes message, uint8_t out[CUSTODY_DIGEST_MAX], size_t *ret_len)
{
	*ret_len = custody_scalar_len(kind);
	if (kind == KEY_P256) {
		writ_sha256(message, out);
		return NULL;
	}
	if (EVP_Digest(message.data, message.len, out, NULL, EVP_sha384(), NULL) != 1)
		return writ_fail(WRIT_BROKEN, "OpenSSL did not compute a SHA-384 digest");
	return NULL;
}

static bool
is_scalar(struct writ_bytes b, size_t max)
{
	return b.len <= max && !writ_is_zero(b);
}

struct writ_err *
custody_ecdsa_der(enum key_kind kind, struct writ_bytes r, struct writ_bytes s, struct writ_buf *ret_sig)
{
	const size_t max = custody_scalar_len(kind);
	struct der_out out = der_write(ret_sig);

	if (!is_scalar(r, max) || !is_scalar(s, max))
		return writ_fail(WRIT_LOCKED,
				 "the device gave r of %zu and s of %zu bytes: neither may be zero or over %zu bytes",
				 r.len, s.len, max);
	der_open(&out, DER_SEQUENCE);
	der_put_integer_bytes(&out, DER_INTEGER, r);
	der_put_integer_bytes(&out, DER_INTEGER, s);
	der_close(&out);
	return der_finish(&out, "signature");
}

void
custody_text(char out[64], struct writ_bytes text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len && text.data[i] != 0 && n < 63; i++)
		out[n++] = text.data[i] >= 0x20 && text.data[i] < 0x7f ? (char)text.data[i] : '?';
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

struct writ_err *
custody_open(const char *scheme, const struct custody_conf *conf, const struct writ_secret *auth, struct custody **ret)
{
	const struct custody_ops *ops = custody_backend(scheme);
	struct writ_err *err;

	*ret = NULL;
	if (!ops)
		return writ_fail(WRIT_INVALID, "no custody backend '%.20s': tpm2 and pkcs11 are known", scheme);
	err = ops->open(conf, auth, ret);
	if (err)
		return writ_because(err, "opening the %s device", scheme);
	return NULL;
}

struct writ_err *
custody_info(struct custody *custody, struct custody_info *ret)
{
	struct writ_err *err = refuse_if_latched(custody);

	if (err)
		return err;
	return custody->ops->info(custody, ret);
}

static struct writ_err *
label_check(const char *label)
{
	const size_t len = strlen(label);

	if (len == 0 || len > CUSTODY_LABEL_MAX)
		return writ_fail(WRIT_INVALID, "a key's label has 1 to %d bytes, not %zu", CUSTODY_LABEL_MAX, len);
	for (size_t i = 0; i < len; i++)
		if (label[i] < 0x20 || label[i] > 0x7e)
			return writ_fail(WRIT_INVALID, "a key's label is printable ASCII; byte %zu is 0x%02x", i + 1,
					 (unsigned char)label[i]);
	return NULL;
}

struct writ_err *
custody_make_key(struct custody *custody, enum key_kind kind, const char *label, struct writ_buf *ret_ref,
		 struct writ_buf *ret_spki)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	AUTO(pubkey_done) struct pubkey public = { 0 };
	struct writ_err *err;

	err = refuse_if_latched(custody);
	if (err)
		return err;
	err = custody_kind_check(kind);
	if (err)
		return err;
	err = label_check(label);
	if (err)
		return err;
	err = custody->ops->make_key(custody, kind, label, &ref, &spki);
	if (err)
		return writ_because(err, "making a %s key", key_kind_name(kind));
	err = pubkey_load(writ_view(&spki), &public);
	if (err)
		return writ_because(err, "the device gave a public key that is none");
	if (public.kind != kind)
		return writ_fail(WRIT_BROKEN, "the device was asked for a %s key and made a %s key",
				 key_kind_name(kind), key_kind_name(public.kind));
	err = writ_buf_add(ret_ref, writ_view(&ref));
	if (err)
		return err;
	return writ_buf_add(ret_spki, writ_view(&spki));
}

/* (2) */
static struct writ_err *
sign_verified(struct key *key, struct writ_bytes message, struct writ_buf *ret_sig)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *err;

	err = key->custody->ops->sign(key, message, &sig);
	if (err)
		return err->code == WRIT_LOCKED ? quarantine(key, err) : err; /* of a latched device, no key's fault */
	err = pubkey_verify(&key->public, message, writ_view(&sig));
	if (err)
		return quarantine(key, writ_recode(err, WRIT_LOCKED,
						   "the device signed, but not this message with the pinned key"));
	return writ_buf_add(ret_sig, writ_view(&sig));
}

struct writ_err *
custody_load(struct custody *custody, struct writ_bytes ref, struct writ_bytes spki, struct key **ret)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	AUTO(pubkey_done) struct pubkey public = { 0 };
	struct key *key = NULL;
	uint8_t id[SHA256_LEN];
	struct writ_err *err;

	*ret = NULL;
	err = refuse_if_latched(custody);
	if (err)
		return err;
	if (ref.len == 0 || ref.len > CUSTODY_REF_MAX)
		return writ_fail(WRIT_INVALID, "a key reference has 1 to %d bytes, not %zu", CUSTODY_REF_MAX, ref.len);
	if (memchr(ref.data, 0, ref.len))
		return writ_fail(WRIT_INVALID, "a key reference is text; this one has a NUL in it");
	err = pubkey_load(spki, &public);
	if (err)
		return writ_because(err, "pinned public key");
	err = custody_kind_check(public.kind);
	if (err)
		return err;
	writ_sha256(spki, id);
	err = refuse_if_quarantined(custody, id);
	if (err)
		return err;
	err = custody->ops->load(custody, ref, spki, &key);
	if (err)
		return writ_because(err, "loading a key");
	key->public = public;
	memcpy(key->id, id, sizeof(key->id));
	public = (struct pubkey){ 0 };

	err = sign_verified(key, writ_str(self_test), &sig);
	if (err) {
		custody_unload(key);
		return writ_because(err, "a loaded key's first signature");
	}
	*ret = key;
	return NULL;
}

struct writ_err *
custody_sign(struct key *key, struct writ_bytes message, struct writ_buf *ret_sig)
{
	struct writ_err *err = refuse_if_latched(key->custody);

	if (!err)
		err = refuse_if_quarantined(key->custody, key->id);
	if (err)
		return err;
	if (message.len == 0 || message.len > CUSTODY_MESSAGE_MAX)
		return writ_fail(WRIT_INVALID, "a message to sign has 1 to %d bytes, not %zu", CUSTODY_MESSAGE_MAX,
				 message.len);
	return sign_verified(key, message, ret_sig);
}

const char *
custody_counter_name(enum custody_counter which)
{
	switch (which) {
	case COUNTER_SEALED:
		return "sealed";
	case COUNTER_APPROVAL:
		return "approval";
	case COUNTER_STATE:
		return "state";
	}
	return NULL;
}

static struct writ_err *
counter_check(struct custody *custody, enum custody_counter which)
{
	if (!custody_counter_name(which))
		return writ_fail(WRIT_INVALID, "a device has no counter %d", (int)which);
	return refuse_if_latched(custody);
}

struct writ_err *
custody_counter_make(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err = counter_check(custody, which);

	if (!err)
		err = custody->ops->counter_make(custody, which, ret);
	return err ? writ_because(err, "the device's counter '%s'", custody_counter_name(which)) : NULL;
}

struct writ_err *
custody_counter_read(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err = counter_check(custody, which);

	if (!err)
		err = custody->ops->counter_read(custody, which, ret);
	return err ? writ_because(err, "the device's counter '%s'", custody_counter_name(which)) : NULL;
}

struct writ_err *
custody_counter_raise(struct custody *custody, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err = counter_check(custody, which);

	if (!err)
		err = custody->ops->counter_raise(custody, which, ret);
	return err ? writ_because(err, "the device's counter '%s'", custody_counter_name(which)) : NULL;
}

/* The counter's value in `*ret`; `number` may be ahead of it, but not so far that it could never be destroyed. */
static struct writ_err *
number_check(struct custody *custody, uint64_t number, uint64_t *ret)
{
	struct writ_err *err = custody_counter_make(custody, COUNTER_SEALED, ret);

	if (err)
		return err;
	if (number <= *ret || number - *ret <= CUSTODY_AHEAD_MAX)
		return NULL;
	return writ_fail(WRIT_INVALID, "number %llu is more than %d ahead of the device's counter, which is at %llu",
			 (unsigned long long)number, CUSTODY_AHEAD_MAX, (unsigned long long)*ret);
}

struct writ_err *
custody_seal(struct custody *custody, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	struct writ_err *err = refuse_if_latched(custody);
	uint64_t value;

	if (err)
		return err;
	if (!custody->ops->seal)
		return writ_fail(WRIT_INVALID, "this device does not seal");
	if (secret->len != CUSTODY_SECRET_LEN)
		return writ_fail(WRIT_INVALID, "a device seals %d bytes, not %zu", CUSTODY_SECRET_LEN, secret->len);
	err = number_check(custody, number, &value);
	if (!err && number < value)
		err = writ_fail(WRIT_INVALID,
				"number %llu is below the device's counter, which is at %llu: it would not unseal",
				(unsigned long long)number, (unsigned long long)value);
	if (!err)
		err = custody->ops->seal(custody, number, secret, &blob);
	if (err)
		return writ_because(err, "sealing");
	return writ_buf_add(ret_blob, writ_view(&blob));
}

struct writ_err *
custody_destroy(struct custody *custody, uint64_t number)
{
	struct writ_err *err = refuse_if_latched(custody);
	uint64_t value;

	if (err)
		return err;
	if (!custody->ops->destroy)
		return writ_fail(WRIT_INVALID, "this device does not seal");
	err = number_check(custody, number, &value);
	if (!err)
		err = custody->ops->destroy(custody, number);
	return err ? writ_because(err, "destroying what was sealed under numbers up to %llu",
				  (unsigned long long)number)
		   : NULL;
}

struct writ_err *
custody_unseal(struct custody *custody, struct writ_bytes blob, struct writ_secret *ret)
{
	struct writ_err *err = refuse_if_latched(custody);

	if (err)
		return err;
	if (!custody->ops->unseal)
		return writ_fail(WRIT_INVALID, "this device does not seal");
	if (blob.len == 0 || blob.len > CUSTODY_BLOB_MAX)
		return writ_fail(WRIT_INVALID, "a sealed blob has 1 to %d bytes, not %zu", CUSTODY_BLOB_MAX, blob.len);
	err = custody->ops->unseal(custody, blob, ret);
	if (err)
		return writ_because(err, "unsealing");
	if (ret->len != CUSTODY_SECRET_LEN) {
		const size_t len = ret->len;

		writ_secret_done(ret);
		return writ_fail(WRIT_INVALID, "the sealed blob holds %zu bytes, not %d", len, CUSTODY_SECRET_LEN);
	}
	return NULL;
}

struct writ_err *
custody_attester(struct custody *custody, struct attester *ret)
{
	struct writ_err *err = refuse_if_latched(custody);

	*ret = (struct attester){ 0 };
	if (!err && custody->ops->attester)
		err = custody->ops->attester(custody, ret);
	return err ? writ_because(err, "asking who attests") : NULL;
}

struct writ_err *
custody_attest(struct custody *custody, const uint8_t qualifying[ATTEST_QUALIFYING_LEN], struct key *const *keys, size_t n,
	       struct attestation *ret)
{
	struct writ_err *err = refuse_if_latched(custody);

	ret->n = 0;
	if (err)
		return err;
	if (n > ATTEST_KEYS_MAX)
		return writ_fail(WRIT_INVALID, "%zu keys are over the %d of one attestation", n, ATTEST_KEYS_MAX);
	for (size_t i = 0; i < n; i++)
		if (keys[i]->custody != custody)
			return writ_fail(WRIT_BROKEN, "a key of another device cannot be attested here");
	if (!custody->ops->attest)
		return writ_fail(WRIT_INVALID, "this device does not attest");
	err = custody->ops->attest(custody, qualifying, keys, n, ret);
	return err ? writ_because(err, "attesting") : NULL;
}

struct writ_err *
custody_activate(struct custody *custody, struct writ_bytes id_object, struct writ_bytes encrypted, struct writ_secret *ret)
{
	struct writ_err *err = refuse_if_latched(custody);

	if (err)
		return err;
	if (!custody->ops->activate)
		return writ_fail(WRIT_INVALID, "this device has no attestation key: there is nothing to challenge");
	if (id_object.len == 0 || id_object.len > ATTEST_ID_OBJECT_MAX || encrypted.len == 0 ||
	    encrypted.len > ATTEST_ENCRYPTED_MAX)
		return writ_fail(WRIT_INVALID, "a challenge has parts of %zu and %zu bytes: 1 to %d and 1 to %d are taken",
				 id_object.len, encrypted.len, ATTEST_ID_OBJECT_MAX, ATTEST_ENCRYPTED_MAX);
	err = custody->ops->activate(custody, id_object, encrypted, ret);
	if (err)
		return writ_because(err, "activating a challenge's credential");
	if (ret->len != ATTEST_SECRET_LEN) {
		const size_t len = ret->len;

		writ_secret_done(ret);
		return writ_fail(WRIT_INVALID, "the challenge holds %zu bytes, not %d", len, ATTEST_SECRET_LEN);
	}
	return NULL;
}

struct writ_err *
custody_health(struct custody *custody)
{
	struct writ_err *err = refuse_if_latched(custody);

	if (err)
		return err;
	return custody->ops->health(custody);
}

struct writ_err *
custody_pcrs(struct custody *custody, struct writ_buf *ret_report)
{
	struct writ_err *err = NULL;

	if (!custody->ops->pcrs)
		return writ_fail(WRIT_NOT_FOUND, "this device has no PCRs");
	if (!custody->by_policy)
		err = refuse_if_latched(custody);
	return err ? err : custody->ops->pcrs(custody, ret_report);
}

void
custody_unload(struct key *key)
{
	if (!key)
		return;
	pubkey_done(&key->public);
	key->custody->ops->unload(key);
}

void
custody_close(struct custody *custody)
{
	if (custody)
		custody->ops->close(custody);
}

void
custody_closep(struct custody **custody)
{
	custody_close(*custody);
	*custody = NULL;
}
