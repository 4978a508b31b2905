/*
 * CA keys: the anchor in the device, generations of issuing keys, certificates for them and for the OCSP key.
 *
 * STATE/keys/anchor.ref	how the device loads the anchor
 * STATE/certs/anchor.der	its certificate
 * STATE/keys/KEYID.wrapped	sealed tier: header, device-sealed AES key, the private scalar under it
 * STATE/keys/KEYID.ref		resident tier: how the device loads the issuing key
 * STATE/certs/KEYID.der	the issuing CA's certificate; written after the key, so a key without one was never used
 *
 * (1) A certificate is journalled and durable before the CA signs it.				I2
 * (2) Every signature of the device is verified here too, with the public key of the certificate.
 * How the device comes and goes: device.c.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define WRAP_MAGIC "WRITWRAP"
#define WRAP_HEADER_LEN (8 + 4 + 20 + 8 + 8) /* magic, version, key id, notAfter, number */
#define WRAPPED_FILE_MAX (WRAP_HEADER_LEN + 4 + CUSTODY_BLOB_MAX + SOFT_KEY_WRAPPED_LEN)
#define KEY_NAME_LEN 40

char *
state_path(const struct signer *s, const char *folder, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s/%s", s->conf->state, folder, name);
	return out;
}

static char *
key_path(const struct signer *s, const char *folder, const uint8_t key_id[20], const char *suffix, char out[PATH_MAX])
{
	char name[KEY_NAME_LEN + 16], hex[KEY_NAME_LEN + 1];

	snprintf(name, sizeof(name), "%s%s", writ_hex((struct writ_bytes){ key_id, 20 }, hex), suffix);
	return state_path(s, folder, name, out);
}

static void
generation_free(struct generation *g)
{
	if (!g)
		return;
	soft_key_done(&g->soft);
	pubkey_done(&g->public);
	writ_buf_done(&g->der);
	writ_buf_done(&g->ref);
	writ_buf_done(&g->responder);
	crl_made_done(&g->crl);
	free(g);
}

static void
generation_freep(struct generation **g)
{
	generation_free(*g);
}

static struct writ_err *
generation_new(struct generation **ret)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an issuing key");
	g->der = WRIT_BUF(CA_CERT_MAX);
	g->ref = WRIT_BUF(CUSTODY_REF_MAX);
	g->responder = WRIT_BUF(CA_CERT_MAX);
	g->crl.fd = -1;
	*ret = g;
	return NULL;
}

void
keys_done(struct keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		generation_free(keys->gen[i]);
	soft_key_done(&keys->ocsp);
	pubkey_done(&keys->anchor_public);
	writ_buf_done(&keys->anchor_der);
	writ_buf_done(&keys->anchor_ref);
	crl_made_done(&keys->anchor_crl);
	*keys = (struct keys){ .anchor_crl.fd = -1 };
}

struct generation *
keys_find(const struct signer *s, const uint8_t key_id[20])
{
	for (size_t i = 0; i < s->keys.n; i++)
		if (memcmp(s->keys.gen[i]->cert.key_id, key_id, 20) == 0)
			return s->keys.gen[i];
	return NULL;
}

/* ---- signing ---- */

/* By the generation's key or, for NULL, the anchor's. */
static struct writ_err *
sign_in_device(struct signer *s, struct generation *by, struct writ_bytes message, struct writ_buf *ret_sig)
{
	struct writ_err *err;
	int64_t began_ms;

	resident_drain(s);
	err = device_must(s);
	if (!err)
		err = device_key_check(s, by);
	if (err)
		return err;
	began_ms = clock_read().mono_ms;
	err = device_sign(s->link.device, by ? by->handle : s->keys.anchor_handle, message, ret_sig);
	if (err)
		return device_failed(s, err);
	resident_took(s, clock_read().mono_ms - began_ms);
	return device_verified(s, by, message, writ_view(ret_sig));
}

struct writ_err *
keys_sign(struct signer *s, struct generation *by, struct writ_bytes message, struct writ_buf *ret_sig)
{
	uint8_t signature[SOFT_KEY_SIGNATURE_MAX];
	struct writ_err *err;
	size_t len;

	if (!by || !by->soft.pkey)
		return sign_in_device(s, by, message, ret_sig);
	err = soft_key_sign(&by->soft, message, signature, &len);
	return err ? err : writ_buf_add(ret_sig, (struct writ_bytes){ signature, len });
}

struct writ_err *
keys_certify(struct signer *s, struct generation *by, const struct ca_facts *facts, const char *role,
	     struct writ_buf *ret_der)
{
	AUTO(writ_buf_done) struct writ_buf tbs = WRIT_BUF(CA_CERT_MAX);
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	uint8_t key_id[20];
	const uint8_t *by_id = by ? by->cert.key_id : facts->role == CA_ANCHOR ? key_id : s->keys.anchor.key_id;
	struct writ_err *err;

	err = ca_key_id(facts->spki, key_id);
	if (!err)
		err = ca_build_tbs(facts, &tbs);
	if (!err)
		err = entry_key(s, role, facts->serial, facts->not_after, key_id, by_id, writ_view(&tbs));
	if (err)
		return writ_because(err, "certifying the %s key", role);
	journal_sync(s->journal); /* (1) */
	err = keys_sign(s, by, writ_view(&tbs), &signature);
	if (!err)
		err = x509_assemble(writ_view(&tbs), facts->issuer_kind, writ_view(&signature), ret_der);
	return err ? writ_because(err, "certifying the %s key", role) : NULL;
}

/* ---- generations ---- */

static void
wrap_header(const uint8_t key_id[20], writ_time not_after, uint64_t number, uint8_t out[WRAP_HEADER_LEN])
{
	memcpy(out, WRAP_MAGIC, 8);
	writ_put32(out + 8, 2);
	memcpy(out + 12, key_id, 20);
	writ_put64(out + 32, (uint64_t)not_after);
	writ_put64(out + 40, number);
}

/* The one after the newest; with none there, what the device's counter is at. */
static struct writ_err *
generation_number(struct signer *s, uint64_t *ret)
{
	struct writ_err *err = device_counter_make(s->link.device, COUNTER_SEALED, ret);

	for (size_t i = 0; !err && i < s->keys.n; i++)
		if (s->keys.gen[i]->number >= *ret)
			*ret = s->keys.gen[i]->number + 1;
	return err;
}

/* A fresh AES key, sealed by the device, wraps the scalar; both go into one file. */
static struct writ_err *
scalar_wrap(struct signer *s, const struct writ_secret *scalar, const uint8_t key_id[20], writ_time not_after,
	    uint64_t *ret_number)
{
	AUTO(writ_secret_done) struct writ_secret wrapping = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(WRAPPED_FILE_MAX);
	uint8_t header[WRAP_HEADER_LEN], wrapped[SOFT_KEY_WRAPPED_LEN], len[4];
	char path[PATH_MAX];
	struct writ_err *err;

	err = writ_secret_random(&wrapping, CUSTODY_SECRET_LEN);
	if (!err)
		err = generation_number(s, ret_number);
	if (!err)
		err = device_seal(s->link.device, *ret_number, &wrapping, &blob);
	if (err)
		return device_failed(s, err);
	wrap_header(key_id, not_after, *ret_number, header);
	err = soft_key_wrap(scalar, &wrapping, (struct writ_bytes){ header, sizeof(header) }, wrapped);
	writ_put32(len, (uint32_t)blob.len);
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ header, sizeof(header) });
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ len, sizeof(len) });
	if (!err)
		err = writ_buf_add(&file, writ_view(&blob));
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ wrapped, sizeof(wrapped) });
	if (!err)
		err = file_replace(key_path(s, "keys", key_id, ".wrapped", path), 0600, writ_view(&file));
	return err;
}

static struct writ_err *
scalar_unwrap(struct signer *s, struct generation *g)
{
	AUTO(writ_secret_done) struct writ_secret wrapping = { 0 };
	AUTO(writ_secret_done) struct writ_secret scalar = { 0 };
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(WRAPPED_FILE_MAX);
	uint8_t header[WRAP_HEADER_LEN];
	char path[PATH_MAX];
	struct writ_err *err;
	size_t blob_len;

	key_path(s, "keys", g->cert.key_id, ".wrapped", path);
	err = file_read(path, FILE_PRIVATE, &file);
	if (err)
		return err;
	if (file.len >= WRAP_HEADER_LEN)
		g->number = writ_get64(file.data + WRAP_HEADER_LEN - 8);
	wrap_header(g->cert.key_id, g->cert.not_after, g->number, header);
	if (file.len < WRAP_HEADER_LEN + 4 + SOFT_KEY_WRAPPED_LEN || memcmp(file.data, header, sizeof(header)) != 0)
		return writ_fail(WRIT_LOCKED, "%s is not the wrapped key of that certificate", path);
	blob_len = writ_get32(file.data + WRAP_HEADER_LEN);
	if (blob_len != file.len - WRAP_HEADER_LEN - 4 - SOFT_KEY_WRAPPED_LEN)
		return writ_fail(WRIT_LOCKED, "%s has lengths that do not add up", path);
	err = device_unseal(s->link.device, (struct writ_bytes){ file.data + WRAP_HEADER_LEN + 4, blob_len },
			    &wrapping);
	if (err)
		return writ_because(device_failed(s, err), "%s", path);
	err = soft_key_unwrap((struct writ_bytes){ file.data + WRAP_HEADER_LEN + 4 + blob_len, SOFT_KEY_WRAPPED_LEN },
			      &wrapping, (struct writ_bytes){ header, sizeof(header) }, &scalar);
	if (!err)
		err = soft_key_load(&g->soft, &scalar, g->cert.spki);
	return err ? writ_because(err, "%s", path) : NULL;
}

/* The certificate, and all that follows from it. */
static struct writ_err *
generation_read(struct signer *s, struct generation *g)
{
	struct writ_err *err = ca_read(writ_view(&g->der), &g->cert);

	if (!err)
		err = ocsp_issuer_init(g->cert.subject, g->cert.spki, &g->ocsp);
	if (!err)
		err = pubkey_load(g->cert.spki, &g->public);
	if (err)
		return err;
	if (!writ_equal(g->cert.issuer, s->keys.anchor.subject))
		return writ_fail(WRIT_LOCKED, "an issuing certificate is not of this anchor");
	if (!g->cert.is_ca || g->cert.n_tiers != 1 || g->cert.tiers[0] != s->keys.tier)
		return writ_fail(
			WRIT_LOCKED,
			"an issuing certificate asserts %s, and the device makes it %s: a tier never falls back",
			g->cert.n_tiers > 0 ? leaf_tier_name(g->cert.tiers[0]) : "no tier",
			leaf_tier_name(s->keys.tier));
	err = pubkey_verify(&s->keys.anchor_public, g->cert.tbs, g->cert.signature);
	return err ? writ_recode(err, WRIT_LOCKED, "an issuing certificate is not signed by the anchor") : NULL;
}

/* What the gate knows of the keys. */
static struct writ_err *
gate_learn(struct signer *s)
{
	struct gate_facts *facts = &s->gate;
	const struct generation *newest = s->keys.gen[0];
	size_t n = 0;

	writ_sha256(s->keys.anchor.spki, facts->keys[n++]);
	writ_sha256(soft_key_spki(&s->keys.ocsp), facts->keys[n++]);
	for (size_t i = 0; i < s->keys.n; i++)
		writ_sha256(s->keys.gen[i]->cert.spki, facts->keys[n++]);
	facts->n_keys = n;
	if (s->keys.n == 0)
		return writ_fail(WRIT_BROKEN, "there is no issuing key");
	facts->trust_domain = writ_str(s->conf->trust_domain);
	facts->issuer_name = newest->cert.subject;
	facts->issuer_key_id = (struct writ_bytes){ newest->cert.key_id, 20 };
	facts->issuer_not_after = newest->cert.not_after;
	facts->tier = s->keys.tier;
	facts->crl_url = writ_str(signer_crl_url(s->conf->status_url, newest->cert.key_id, s->crl_url));
	facts->ocsp_url = writ_str(signer_ocsp_url(s->conf->status_url, s->ocsp_url));
	facts->log_id = (struct writ_bytes){ s->log_id, LOG_ID_LEN };
	return NULL;
}

/* Newest first; the oldest makes room. */
static struct writ_err *
generation_add(struct signer *s, struct generation *g)
{
	struct keys *keys = &s->keys;
	size_t at = 0;

	if (keys->n == SIGNER_CERTS_MAX)
		generation_free(keys->gen[--keys->n]);
	while (at < keys->n && keys->gen[at]->cert.not_before > g->cert.not_before)
		at++;
	memmove(keys->gen + at + 1, keys->gen + at, (keys->n - at) * sizeof(keys->gen[0]));
	keys->gen[at] = g;
	keys->n++;
	return gate_learn(s);
}

static struct writ_err *
generation_key(struct signer *s, struct generation *g, struct writ_secret *ret_scalar, struct writ_buf *ret_spki)
{
	struct writ_err *err;

	if (s->keys.sealed) {
		err = soft_key_make(&g->soft, ret_scalar);
		return err ? err : writ_buf_add(ret_spki, soft_key_spki(&g->soft));
	}
	err = device_make_key(s->link.device, KEY_P256, "writ issuing", &g->ref, ret_spki);
	if (!err)
		err = device_load(s->link.device, writ_view(&g->ref), writ_view(ret_spki), &g->handle);
	g->in_device = !err;
	return err ? device_failed(s, err) : NULL;
}

static struct writ_err *
generation_keep(struct signer *s, struct generation *g, const struct writ_secret *scalar, const uint8_t key_id[20],
		writ_time not_after)
{
	char path[PATH_MAX];
	struct writ_err *err;

	if (s->keys.sealed)
		err = scalar_wrap(s, scalar, key_id, not_after, &g->number);
	else
		err = file_replace(key_path(s, "keys", key_id, ".ref", path), 0600, writ_view(&g->ref));
	return err;
}

struct writ_err *
keys_generation_make(struct signer *s)
{
	AUTO(generation_freep) struct generation *g = NULL;
	AUTO(writ_secret_done) struct writ_secret scalar = { 0 };
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	char crl_url[SIGNER_URL_MAX], ca_url[SIGNER_URL_MAX], path[PATH_MAX];
	const struct ca_cert *anchor = &s->keys.anchor;
	struct ca_facts facts = {
		.role = CA_ISSUING,
		.trust_domain = writ_str(s->conf->trust_domain),
		.issuer_name = anchor->subject,
		.issuer_spki = anchor->spki,
		.issuer_kind = anchor->kind,
		.not_before = s->now.wall - SIGNER_BACKDATE_S,
		.not_after = s->now.wall + ISSUING_LIFE_S - 1,
		.tier = s->keys.tier,
		.crl_url = writ_str(signer_crl_url(s->conf->status_url, anchor->key_id, crl_url)),
		.ca_url = writ_str(signer_ca_url(s->conf->status_url, anchor->key_id, ca_url)),
	};
	uint8_t key_id[20];
	struct writ_err *err;

	if (facts.not_after > anchor->not_after)
		facts.not_after = anchor->not_after;
	resident_drain(s);
	err = device_must(s);
	if (!err)
		err = generation_new(&g);
	if (!err)
		err = state_raise(s, "generation");
	if (!err)
		err = generation_key(s, g, &scalar, &spki);
	facts.spki = writ_view(&spki);
	if (!err)
		err = ca_key_id(facts.spki, key_id);
	if (!err)
		err = serial_draw(s->ledger, s->now.wall, writ_random, facts.serial);
	if (!err)
		err = generation_keep(s, g, &scalar, key_id, facts.not_after);
	if (!err)
		err = keys_certify(s, NULL, &facts, "issuing", &g->der);
	if (!err)
		err = generation_read(s, g);
	if (!err)
		err = file_replace(key_path(s, "certs", key_id, ".der", path), 0644, writ_view(&g->der));
	if (err)
		return err;
	event(EVENT_INFO, "signer.generation", EV_HEX("key", ((struct writ_bytes){ key_id, 20 })),
	      EV_NUM("not_after", facts.not_after));
	return generation_add(s, TAKE(g));
}

/* ---- loading ---- */

struct writ_err *
keys_read_anchor(struct signer *s)
{
	struct keys *keys = &s->keys;
	char path[PATH_MAX];
	struct writ_err *err;

	keys->anchor_der = WRIT_BUF(CA_CERT_MAX);
	keys->anchor_ref = WRIT_BUF(CUSTODY_REF_MAX);
	err = file_read(state_path(s, "certs", "anchor.der", path), FILE_CONFIG, &keys->anchor_der);
	if (!err)
		err = file_read(state_path(s, "keys", "anchor.ref", path), FILE_PRIVATE, &keys->anchor_ref);
	if (!err)
		err = ca_read(writ_view(&keys->anchor_der), &keys->anchor);
	if (!err)
		err = pubkey_load(keys->anchor.spki, &keys->anchor_public);
	return err ? writ_because(err, "the anchor") : NULL;
}

/* A key whose certificate has expired is destroyed; one that never got a certificate signed nothing, and goes too. */
static void
generation_destroy(struct signer *s, const uint8_t key_id[20], const char *suffix, const char *why)
{
	char path[PATH_MAX];

	event(EVENT_INFO, "signer.generation-destroyed", EV_HEX("key", ((struct writ_bytes){ key_id, 20 })),
	      EV_STR("why", why));
	unlink(key_path(s, "keys", key_id, suffix, path));
	unlink(key_path(s, "certs", key_id, ".der", path));
}

static struct writ_err *
generation_load(struct signer *s, const uint8_t key_id[20], const char *suffix)
{
	AUTO(generation_freep) struct generation *g = NULL;
	char path[PATH_MAX];
	struct writ_err *err;

	err = generation_new(&g);
	if (!err)
		err = file_read(key_path(s, "certs", key_id, ".der", path), FILE_CONFIG, &g->der);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		generation_destroy(s, key_id, suffix, "never certified");
		return NULL;
	}
	if (!err)
		err = generation_read(s, g);
	if (err)
		return writ_because(err, "%s", path);
	if (memcmp(g->cert.key_id, key_id, 20) != 0)
		return writ_fail(WRIT_LOCKED, "%s is the certificate of another key", path);
	if (g->cert.not_after < s->now.wall) {
		generation_destroy(s, key_id, suffix, "expired");
		return NULL;
	}
	if (strcmp(suffix, ".wrapped") == 0) {
		err = scalar_unwrap(s, g);
	} else {
		err = file_read(key_path(s, "keys", key_id, ".ref", path), FILE_PRIVATE, &g->ref);
		if (!err)
			err = device_load(s->link.device, writ_view(&g->ref), g->cert.spki, &g->handle);
		g->in_device = !err;
	}
	return err ? err : generation_add(s, TAKE(g));
}

static struct writ_err *
generations_load(struct signer *s)
{
	char path[PATH_MAX];
	struct writ_err *err = NULL;
	struct dirent *entry;
	DIR *dir = opendir(conf_path(s->conf->state, "keys", path));

	if (!dir)
		return writ_fail_errno(errno, "opening %s", path);
	while (!err && (entry = readdir(dir))) {
		const char *suffix = strlen(entry->d_name) > KEY_NAME_LEN ? entry->d_name + KEY_NAME_LEN : "";
		uint8_t key_id[20];

		if ((strcmp(suffix, ".wrapped") == 0 || strcmp(suffix, ".ref") == 0) &&
		    writ_unhex((struct writ_bytes){ (const uint8_t *)entry->d_name, KEY_NAME_LEN }, key_id,
			       sizeof(key_id)))
			err = generation_load(s, key_id, strcmp(suffix, ".ref") == 0 ? ".ref" : ".wrapped");
	}
	closedir(dir);
	return err;
}

/* A CA that ends with the anchor has no successor: that would not live longer either. */
static bool
generation_due(const struct signer *s)
{
	const struct ca_cert *newest = s->keys.n > 0 ? &s->keys.gen[0]->cert : NULL;

	return !newest ||
	       (newest->not_after < s->now.wall + ISSUING_RENEW_S && newest->not_after < s->keys.anchor.not_after);
}

struct writ_err *
keys_load(struct signer *s)
{
	struct writ_err *err;

	err = device_must(s);
	if (!err)
		err = soft_key_make(&s->keys.ocsp, NULL);
	if (!err)
		err = ca_key_id(soft_key_spki(&s->keys.ocsp), s->keys.ocsp_key_id);
	if (!err)
		err = generations_load(s);
	if (!err && generation_due(s))
		err = keys_generation_make(s);
	return err;
}

/* ---- from time to time ---- */

static struct writ_err *
responder_certify(struct signer *s, struct generation *g)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	struct ca_facts facts = {
		.role = CA_OCSP,
		.trust_domain = writ_str(s->conf->trust_domain),
		.spki = soft_key_spki(&s->keys.ocsp),
		.issuer_name = g->cert.subject,
		.issuer_spki = g->cert.spki,
		.issuer_kind = g->cert.kind,
		.not_before = s->now.wall - SIGNER_BACKDATE_S,
		.not_after = s->now.wall + RESPONDER_LIFE_S - SIGNER_BACKDATE_S - 1,
	};
	struct writ_err *err;

	if (facts.not_after > g->cert.not_after)
		facts.not_after = g->cert.not_after;
	err = serial_draw(s->ledger, s->now.wall, writ_random, facts.serial);
	if (!err)
		err = keys_certify(s, g, &facts, "ocsp", &der);
	if (err)
		return err;
	writ_buf_clear(&g->responder);
	err = writ_buf_add(&g->responder, writ_view(&der));
	g->responder_from = facts.not_before;
	g->responder_until = facts.not_after;
	return err;
}

static void
expired_drop(struct signer *s)
{
	struct keys *keys = &s->keys;

	while (keys->n > 1 && keys->gen[keys->n - 1]->cert.not_after < s->now.wall) {
		struct generation *g = keys->gen[--keys->n];

		generation_destroy(s, g->cert.key_id, g->ref.len > 0 ? ".ref" : ".wrapped", "expired");
		generation_free(g);
	}
}

struct writ_err *
keys_housekeep(struct signer *s)
{
	struct writ_err *err = NULL;

	expired_drop(s);
	if (generation_due(s) && device_ready(s))
		err = keys_generation_make(s);
	for (size_t i = 0; !err && i < s->keys.n; i++) {
		struct generation *g = s->keys.gen[i];

		if (g->responder.len > 0 && s->now.wall < g->responder_from + RESPONDER_LIFE_S / 2)
			continue;
		if (g->soft.pkey || device_ready(s))
			err = responder_certify(s, g);
	}
	return err;
}
