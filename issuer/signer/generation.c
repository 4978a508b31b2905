/*
 * One issuing CA generation: its key is made, sealed, certified and kept; loaded again at a start; destroyed.
 *
 * STATE/keys/KEYID.wrapped	sealed tier: header, device-sealed AES key, the private scalar under it
 * STATE/keys/KEYID.ref		resident tier: header, how the device loads the issuing key
 * STATE/certs/KEYID.der	the issuing CA's certificate; written after the key, so a key without one was never used
 * The header has magic, version, key id, notAfter and the generation's number; of a wrapped key it is authenticated.
 *
 * (1) A generation's number is one over the newest one's; what is sealed for it is destroyed with all lower ones.
 * (2) It is destroyed in this order: what the device sealed, the journal's entry, the files.
 * When which of these happens: rotate.c.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define WRAP_MAGIC "WRITWRAP"
#define REF_MAGIC "WRITKREF"
#define HEADER_VERSION 2
#define HEADER_LEN (8 + 4 + 20 + 8 + 8) /* magic, version, key id, notAfter, number */
#define WRAPPED_FILE_MAX (HEADER_LEN + 4 + CUSTODY_BLOB_MAX + SOFT_KEY_WRAPPED_LEN)
#define REF_FILE_MAX (HEADER_LEN + CUSTODY_REF_MAX)
#define KEY_NAME_LEN 40

static char *
key_path(const struct signer *s, const char *folder, const uint8_t key_id[20], const char *suffix, char out[PATH_MAX])
{
	char name[KEY_NAME_LEN + 16], hex[KEY_NAME_LEN + 1];

	snprintf(name, sizeof(name), "%s%s", writ_hex((struct writ_bytes){ key_id, 20 }, hex), suffix);
	return state_path(s, folder, name, out);
}

void
generation_free(struct generation *g)
{
	if (!g)
		return;
	soft_key_done(&g->soft);
	pubkey_done(&g->public);
	writ_buf_done(&g->der);
	writ_buf_done(&g->ref);
	writ_buf_done(&g->responder);
	lists_free(g);
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
	*ret = g;
	return NULL;
}

/* ---- the file of its key ---- */

static void
header_write(const char *magic, const uint8_t key_id[20], writ_time not_after, uint64_t number, uint8_t out[HEADER_LEN])
{
	memcpy(out, magic, 8);
	writ_put32(out + 8, HEADER_VERSION);
	memcpy(out + 12, key_id, 20);
	writ_put64(out + 32, (uint64_t)not_after);
	writ_put64(out + 40, number);
}

/* All but the number is known from the certificate. */
static struct writ_err *
header_read(const char *path, struct writ_bytes file, const char *magic, const struct ca_cert *cert,
	    uint64_t *ret_number)
{
	uint8_t header[HEADER_LEN];

	if (file.len < HEADER_LEN)
		return writ_fail(WRIT_LOCKED, "%s is too short for an issuing key's file", path);
	*ret_number = writ_get64(file.data + 40);
	header_write(magic, cert->key_id, cert->not_after, *ret_number, header);
	if (memcmp(file.data, header, sizeof(header)) != 0 || *ret_number == 0)
		return writ_fail(WRIT_LOCKED, "%s is not the key of that certificate", path);
	return NULL;
}

/* One over the newest one's; with none there, what the device's counter is at (1). */
static struct writ_err *
number_next(struct signer *s, uint64_t *ret)
{
	struct writ_err *err = NULL;

	*ret = 1;
	if (s->keys.sealed)
		err = device_counter_make(s->link.device, COUNTER_SEALED, ret);
	if (err)
		return device_failed(s, err);
	if (s->keys.n > 0 && s->keys.gen[0]->number >= *ret)
		*ret = s->keys.gen[0]->number + 1;
	return NULL;
}

/* A fresh AES key, sealed by the device, wraps the scalar; both go into one file. */
static struct writ_err *
scalar_wrap(struct signer *s, uint64_t number, const struct writ_secret *scalar, const uint8_t header[HEADER_LEN],
	    const char *path)
{
	AUTO(writ_secret_done) struct writ_secret wrapping = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(WRAPPED_FILE_MAX);
	uint8_t wrapped[SOFT_KEY_WRAPPED_LEN], len[4];
	struct writ_err *err;

	err = writ_secret_random(&wrapping, CUSTODY_SECRET_LEN);
	if (!err)
		err = device_seal(s->link.device, number, &wrapping, &blob);
	if (err)
		return device_failed(s, err);
	err = soft_key_wrap(scalar, &wrapping, (struct writ_bytes){ header, HEADER_LEN }, wrapped);
	writ_put32(len, (uint32_t)blob.len);
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ header, HEADER_LEN });
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ len, sizeof(len) });
	if (!err)
		err = writ_buf_add(&file, writ_view(&blob));
	if (!err)
		err = writ_buf_add(&file, (struct writ_bytes){ wrapped, sizeof(wrapped) });
	return err ? err : file_replace(path, 0600, writ_view(&file));
}

/* `*ret_destroyed`: the device's counter has passed it. */
static struct writ_err *
scalar_unwrap(struct signer *s, struct generation *g, const char *path, bool *ret_destroyed)
{
	AUTO(writ_secret_done) struct writ_secret wrapping = { 0 };
	AUTO(writ_secret_done) struct writ_secret scalar = { 0 };
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(WRAPPED_FILE_MAX);
	struct writ_err *err;
	size_t blob_len;

	err = file_read(path, FILE_PRIVATE, &file);
	if (!err)
		err = header_read(path, writ_view(&file), WRAP_MAGIC, &g->cert, &g->number);
	if (err || s->keys.without_secrets)
		return err;
	if (file.len < HEADER_LEN + 4 + SOFT_KEY_WRAPPED_LEN)
		return writ_fail(WRIT_LOCKED, "%s is too short for a wrapped key", path);
	blob_len = writ_get32(file.data + HEADER_LEN);
	if (blob_len != file.len - HEADER_LEN - 4 - SOFT_KEY_WRAPPED_LEN)
		return writ_fail(WRIT_LOCKED, "%s has lengths that do not add up", path);
	err = device_must(s);
	if (err)
		return err;
	err = device_unseal(s->link.device, (struct writ_bytes){ file.data + HEADER_LEN + 4, blob_len }, &wrapping);
	*ret_destroyed = err && err->code == WRIT_NOT_FOUND;
	if (*ret_destroyed) /* an answer as any, and no failure of the device's */
		return err;
	if (err)
		return writ_because(device_failed(s, err), "%s", path);
	err = soft_key_unwrap((struct writ_bytes){ file.data + HEADER_LEN + 4 + blob_len, SOFT_KEY_WRAPPED_LEN },
			      &wrapping, (struct writ_bytes){ file.data, HEADER_LEN }, &scalar);
	if (!err)
		err = soft_key_load(&g->soft, &scalar, g->cert.spki);
	return err ? writ_because(err, "%s", path) : NULL;
}

static struct writ_err *
ref_keep(const struct generation *g, const uint8_t header[HEADER_LEN], const char *path)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(REF_FILE_MAX);
	struct writ_err *err = writ_buf_add(&file, (struct writ_bytes){ header, HEADER_LEN });

	if (!err)
		err = writ_buf_add(&file, writ_view(&g->ref));
	return err ? err : file_replace(path, 0600, writ_view(&file));
}

static struct writ_err *
ref_load(struct generation *g, const char *path)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(REF_FILE_MAX);
	struct writ_err *err;

	err = file_read(path, FILE_PRIVATE, &file);
	if (!err)
		err = header_read(path, writ_view(&file), REF_MAGIC, &g->cert, &g->number);
	return err ? err : writ_buf_add(&g->ref, (struct writ_bytes){ file.data + HEADER_LEN, file.len - HEADER_LEN });
}

/* ---- in memory ---- */

/* The certificate, and all that follows from it. */
static struct writ_err *
generation_read(struct signer *s, struct generation *g)
{
	struct writ_err *err = ca_read(writ_view(&g->der), &g->cert);

	if (!err)
		g->revoked = key_revoked(s, g->cert.key_id) != NULL;
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
	signer_crl_url(s->conf->status_url, g->cert.key_id, 0, g->crl_url);
	g->signs_until = g->cert.not_after - GENERATION_AFTER_S;
	err = pubkey_verify(&s->keys.anchor_public, g->cert.tbs, g->cert.signature);
	return err ? writ_recode(err, WRIT_LOCKED, "an issuing certificate is not signed by the anchor") : NULL;
}

/* By number, newest first. */
static struct writ_err *
generation_add(struct signer *s, struct generation *g)
{
	struct keys *keys = &s->keys;
	size_t at = 0;

	if (keys->n == GENERATIONS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d issuing CA generations are live, which is the limit",
				 GENERATIONS_MAX);
	while (at < keys->n && keys->gen[at]->number > g->number)
		at++;
	if (at < keys->n && keys->gen[at]->number == g->number)
		return writ_fail(WRIT_LOCKED, "two issuing keys have number %llu", (unsigned long long)g->number);
	memmove(keys->gen + at + 1, keys->gen + at, (keys->n - at) * sizeof(keys->gen[0]));
	keys->gen[at] = g;
	keys->n++;
	keys->changes++;
	return NULL;
}

struct writ_err *
generation_handle(struct signer *s, struct generation *g, uint32_t *ret)
{
	struct writ_err *err;

	if (!g->in_device) {
		err = device_key_check(s, g);
		if (err)
			return err;
		err = device_load(s->link.device, writ_view(&g->ref), g->cert.spki, &g->handle);
		if (err && err->code == WRIT_LOCKED) /* not tried again before an operator resumes (I12) */
			device_quarantine(s, g, err);
		if (err)
			return device_failed(s, err);
		g->in_device = true;
	}
	*ret = g->handle;
	return NULL;
}

/* ---- making one ---- */

static struct writ_err *
key_make(struct signer *s, struct generation *g, struct writ_secret *ret_scalar, struct writ_buf *ret_spki)
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
key_keep(struct signer *s, struct generation *g, const struct writ_secret *scalar, const uint8_t key_id[20],
	 writ_time not_after)
{
	uint8_t header[HEADER_LEN];
	char path[PATH_MAX];

	header_write(s->keys.sealed ? WRAP_MAGIC : REF_MAGIC, key_id, not_after, g->number, header);
	key_path(s, "keys", key_id, s->keys.sealed ? ".wrapped" : ".ref", path);
	return s->keys.sealed ? scalar_wrap(s, g->number, scalar, header, path) : ref_keep(g, header, path);
}

/* A key that got no certificate signed nothing. */
static void
key_remove(const struct signer *s, const uint8_t key_id[20])
{
	char path[PATH_MAX];

	unlink(key_path(s, "keys", key_id, s->keys.sealed ? ".wrapped" : ".ref", path));
}

struct writ_err *
generation_make(struct signer *s, writ_time begin, struct generation **ret)
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
		.not_after = begin + s->conf->custody.rotation_s + GENERATION_AFTER_S,
		.tier = s->keys.tier,
		.crl_url = writ_str(signer_crl_url(s->conf->status_url, anchor->key_id, 0, crl_url)),
		.ca_url = writ_str(signer_ca_url(s->conf->status_url, anchor->key_id, ca_url)),
	};
	uint8_t key_id[20];
	struct writ_err *err;

	if (facts.not_after > anchor->not_after)
		facts.not_after = anchor->not_after;
	if (s->keys.n == GENERATIONS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d issuing CA generations are live, which is the limit",
				 GENERATIONS_MAX);
	resident_drain(s);
	err = device_must(s);
	if (!err && !anchor_ready(s)) /* before a key is made that nobody certifies */
		err = anchor_away(s);
	if (!err)
		err = generation_new(&g);
	if (err)
		return err;
	err = number_next(s, &g->number);
	if (!err)
		err = key_make(s, g, &scalar, &spki);
	facts.spki = writ_view(&spki);
	if (!err)
		err = ca_key_id(facts.spki, key_id);
	if (!err)
		err = serial_draw(s->ledger, s->now.wall, writ_random, facts.serial);
	if (!err)
		err = key_keep(s, g, &scalar, key_id, facts.not_after);
	if (err)
		return writ_because(err, "making generation %llu", (unsigned long long)g->number);
	FAULT("rotate:key-made");
	err = state_raise(s, "generation");
	if (!err)
		err = keys_certify(s, NULL, &facts, "issuing", &g->der);
	if (!err)
		err = generation_read(s, g);
	if (!err)
		err = file_replace(key_path(s, "certs", key_id, ".der", path), 0644, writ_view(&g->der));
	if (err) {
		key_remove(s, key_id);
		return writ_because(err, "making generation %llu", (unsigned long long)g->number);
	}
	FAULT("rotate:certified");
	err = generation_add(s, g);
	if (err)
		return err;
	*ret = TAKE(g);
	gate_learn(s);
	event(EVENT_INFO, "signer.generation", EV_NUM("number", (*ret)->number),
	      EV_HEX("key", ((struct writ_bytes){ key_id, 20 })), EV_NUM("signs_until", (*ret)->signs_until),
	      EV_NUM("not_after", facts.not_after));
	/* So that its first leaf has a status at once; if that fails the next second tries again. */
	err = responder_certify(s, *ret);
	if (err)
		event(EVENT_WARN, "signer.responder", EV_ERR(err));
	writ_err_free(err);
	return NULL;
}

static void
files_remove(const struct signer *s, const struct generation *g)
{
	char path[PATH_MAX];

	unlink(key_path(s, "keys", g->cert.key_id, g->ref.len > 0 ? ".ref" : ".wrapped", path));
	unlink(key_path(s, "certs", g->cert.key_id, ".der", path));
	event(EVENT_INFO, "signer.generation-destroyed", EV_NUM("number", g->number),
	      EV_HEX("key", ((struct writ_bytes){ g->cert.key_id, 20 })));
}

/* ---- loading ---- */

static struct writ_err *
generation_load(struct signer *s, const uint8_t key_id[20], const char *suffix)
{
	AUTO(generation_freep) struct generation *g = NULL;
	char path[PATH_MAX];
	bool destroyed = false;
	struct writ_err *err;

	err = generation_new(&g);
	if (!err)
		err = file_read(key_path(s, "certs", key_id, ".der", path), FILE_CONFIG, &g->der);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		unlink(key_path(s, "keys", key_id, suffix, path));
		event(EVENT_INFO, "signer.key-removed", EV_HEX("key", ((struct writ_bytes){ key_id, 20 })),
		      EV_STR("why", "it was never certified"));
		return NULL;
	}
	if (!err)
		err = generation_read(s, g);
	if (err)
		return writ_because(err, "%s", path);
	if (memcmp(g->cert.key_id, key_id, 20) != 0)
		return writ_fail(WRIT_LOCKED, "%s is the certificate of another key", path);
	g->retired_ms = s->now.mono_ms;
	key_path(s, "keys", key_id, suffix, path);
	err = strcmp(suffix, ".wrapped") == 0 ? scalar_unwrap(s, g, path, &destroyed) : ref_load(g, path);
	if (destroyed) { /* a run before us ended between (2)'s first step and its last */
		writ_err_free(err);
		err = entry_generation(s, GENERATION_DESTROYED, g->number, key_id);
		if (err)
			return err;
		journal_sync(s->journal);
		files_remove(s, g);
		return NULL;
	}
	if (!err)
		err = generation_add(s, g);
	if (err)
		return err;
	(void)TAKE(g);
	return NULL;
}

struct writ_err *
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

/* ---- destroying ---- */

static void
handle_unload(struct signer *s, struct generation *g)
{
	struct writ_err *err;

	if (!g->in_device || !s->link.device)
		return;
	err = device_unload(s->link.device, g->handle);
	if (err)
		writ_err_free(device_failed(s, err));
}

/* (2) */
struct writ_err *
generations_destroy(struct signer *s, size_t n)
{
	struct keys *keys = &s->keys;
	struct writ_err *err = NULL;

	resident_drain(s);
	err = device_must(s);
	if (!err && keys->sealed)
		err = device_destroy(s->link.device, keys->gen[keys->n - n]->number);
	if (err)
		return s->link.device ? device_failed(s, err) : err;
	FAULT("rotate:destroyed");
	for (size_t i = keys->n - n; !err && i < keys->n; i++)
		err = entry_generation(s, GENERATION_DESTROYED, keys->gen[i]->number, keys->gen[i]->cert.key_id);
	if (err)
		return err;
	journal_sync(s->journal);
	for (; n > 0; n--) {
		struct generation *g = keys->gen[--keys->n];

		handle_unload(s, g);
		files_remove(s, g);
		generation_free(g);
	}
	keys->changes++;
	gate_learn(s);
	return NULL;
}
