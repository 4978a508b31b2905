/*
 * CA keys: the anchor in the device, signatures and certificates by it and by the generations, certificates of the OCSP
 * key, what the gate knows of all these.
 *
 * STATE/keys/anchor.ref	how the device loads the anchor
 * STATE/certs/anchor.der	its certificate
 *
 * (1) A certificate is journalled and durable before the CA signs it.				I2
 * (2) Every signature of the device is verified here too, with the public key of the certificate.
 * Files and life of a generation: generation.c, rotate.c.  How the device comes and goes: device.c.
 */
#include <stdio.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define RESPONDERS_SEALED 64  /* OCSP certificates made in one second: they share an fdatasync, */
#define RESPONDERS_RESIDENT 2 /* or each takes the device its time */

char *
state_path(const struct signer *s, const char *folder, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s/%s", s->conf->state, folder, name);
	return out;
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
keys_find8(const struct signer *s, const uint8_t key[8])
{
	for (size_t i = 0; i < s->keys.n; i++)
		if (memcmp(s->keys.gen[i]->cert.key_id, key, 8) == 0)
			return s->keys.gen[i];
	return NULL;
}

struct generation *
keys_find(const struct signer *s, const uint8_t key_id[20])
{
	struct generation *g = keys_find8(s, key_id); /* of two with the same 8 bytes the second would not be found: one in 2^48 */

	return g && memcmp(g->cert.key_id, key_id, 20) == 0 ? g : NULL;
}

/* ---- signing ---- */

/* By the generation's key or, for NULL, the anchor's. */
static struct writ_err *
sign_in_device(struct signer *s, struct generation *by, struct writ_bytes message, struct writ_buf *ret_sig)
{
	uint32_t handle = s->keys.anchor_handle;
	struct writ_err *err;
	int64_t began_ms;

	resident_drain(s);
	err = device_must(s);
	if (!err)
		err = device_key_check(s, by);
	if (!err && by)
		err = generation_handle(s, by, &handle);
	if (err)
		return err;
	began_ms = clock_read().mono_ms;
	err = device_sign(s->link.device, handle, message, ret_sig);
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

	if (!by && s->conf->custody.operator)
		return operator_sign(s, message, ret_sig);
	if (!by || !by->soft.pkey)
		return sign_in_device(s, by, message, ret_sig);
	err = soft_key_sign(&by->soft, message, signature, &len);
	return err ? err : writ_buf_add(ret_sig, (struct writ_bytes){ signature, len });
}

/* A certificate on its way: journalled, then signed. */
struct certifying {
	struct generation *by; /* NULL: the anchor */
	enum key_kind kind;
	writ_time not_before, not_after;
	struct writ_buf tbs;
};

static void
certifying_done(struct certifying *c)
{
	writ_buf_done(&c->tbs);
}

static struct writ_err *
certify_begin(struct signer *s, struct generation *by, const struct ca_facts *facts, const char *role,
	      struct certifying *ret)
{
	uint8_t key_id[20];
	const uint8_t *by_id = by ? by->cert.key_id : facts->role == CA_ANCHOR ? key_id : s->keys.anchor.key_id;
	struct writ_err *err;

	*ret = (struct certifying){ .by = by,
				    .kind = facts->issuer_kind,
				    .not_before = facts->not_before,
				    .not_after = facts->not_after,
				    .tbs = WRIT_BUF(CA_CERT_MAX) };
	err = ca_key_id(facts->spki, key_id);
	if (!err)
		err = ca_build_tbs(facts, &ret->tbs);
	if (!err)
		err = entry_key(s, role, facts->serial, facts->not_after, key_id, by_id, writ_view(&ret->tbs));
	return err ? writ_because(err, "certifying the %s key", role) : NULL;
}

/* After journal_sync() (1). */
static struct writ_err *
certify_end(struct signer *s, const struct certifying *c, struct writ_buf *ret_der)
{
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *err = keys_sign(s, c->by, writ_view(&c->tbs), &signature);

	return err ? err : x509_assemble(writ_view(&c->tbs), c->kind, writ_view(&signature), ret_der);
}

struct writ_err *
keys_certify(struct signer *s, struct generation *by, const struct ca_facts *facts, const char *role,
	     struct writ_buf *ret_der)
{
	AUTO(certifying_done) struct certifying c = { 0 };
	struct writ_err *err = certify_begin(s, by, facts, role, &c);

	if (err)
		return err;
	journal_sync(s->journal); /* (1) */
	err = certify_end(s, &c, ret_der);
	return err ? writ_because(err, "certifying the %s key", role) : NULL;
}

/* ---- what the gate knows ---- */

static void
gate_issuer_add(struct signer *s, const struct generation *g, writ_time signs_until)
{
	s->gate_issuers[s->gate.n_issuers++] = (struct gate_issuer){
		.name = g->cert.subject,
		.key_id = { g->cert.key_id, 20 },
		.crl_url = writ_str(g->crl_url),
		.not_after = g->cert.not_after,
		.signs_until = signs_until,
		.revoked = g->revoked,
	};
	lists_accepted(s, g, &s->gate_issuers[s->gate.n_issuers - 1].shard_from,
		       &s->gate_issuers[s->gate.n_issuers - 1].shard);
}

void
gate_learn(struct signer *s)
{
	struct gate_facts *facts = &s->gate;
	const struct keys *keys = &s->keys;
	size_t n = 0;

	*facts = (struct gate_facts){
		.trust_domain = writ_str(s->conf->trust_domain),
		.issuers = s->gate_issuers,
		.tier = keys->tier,
		.ocsp_url = writ_str(signer_ocsp_url(s->conf->status_url, s->ocsp_url)),
		.log_id = { s->log_id, LOG_ID_LEN },
	};
	writ_sha256(keys->anchor.spki, facts->keys[n++]);
	writ_sha256(soft_key_spki(&keys->ocsp), facts->keys[n++]);
	for (size_t i = 0; i < keys->n; i++)
		writ_sha256(keys->gen[i]->cert.spki, facts->keys[n++]);
	facts->n_keys = n;
	gate_keys_sort(facts);
	if (keys->current)
		gate_issuer_add(s, keys->current, keys->current->signs_until);
	for (size_t i = 0; i < keys->n; i++)
		if (keys->gen[i] != keys->current && keys->gen[i]->accepted_until >= s->now.wall)
			gate_issuer_add(s, keys->gen[i], keys->gen[i]->accepted_until);
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
	return err ? err : rotation_start(s);
}

/* ---- certificates of the OCSP key ---- */

static struct writ_err *
responder_begin(struct signer *s, struct generation *g, struct certifying *ret)
{
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
	return err ? err : certify_begin(s, g, &facts, "ocsp", ret);
}

static struct writ_err *
responder_end(struct signer *s, const struct certifying *c)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	struct writ_err *err = certify_end(s, c, &der);

	if (err)
		return writ_because(err, "certifying the ocsp key");
	writ_buf_clear(&c->by->responder);
	err = writ_buf_add(&c->by->responder, writ_view(&der));
	c->by->responder_from = c->not_before;
	c->by->responder_until = c->not_after;
	return err;
}

struct writ_err *
responder_certify(struct signer *s, struct generation *g)
{
	AUTO(certifying_done) struct certifying c = { 0 };
	struct writ_err *err = responder_begin(s, g, &c);

	if (err)
		return err;
	journal_sync(s->journal);
	return responder_end(s, &c);
}

/* A CA that has expired, or whose end it has already, has no better one to give. */
static bool
responder_due(const struct signer *s, const struct generation *g)
{
	if (g->cert.not_after <= s->now.wall || (!g->soft.pkey && !s->link.device))
		return false;
	return g->responder.len == 0 || (s->now.wall >= g->responder_from + RESPONDER_LIFE_S / 2 &&
					 g->responder_until < g->cert.not_after);
}

/* Many at once after a start, and half an hour after it. */
struct writ_err *
responders_housekeep(struct signer *s)
{
	struct certifying due[RESPONDERS_SEALED];
	const size_t most = s->keys.sealed ? RESPONDERS_SEALED : RESPONDERS_RESIDENT;
	struct writ_err *err = NULL;
	size_t n = 0;

	for (size_t i = 0; !err && i < s->keys.n && n < most; i++)
		if (responder_due(s, s->keys.gen[i]))
			err = responder_begin(s, s->keys.gen[i], &due[n++]);
	if (n > 0)
		journal_sync(s->journal);
	for (size_t i = 0; !err && i < n; i++)
		err = responder_end(s, &due[i]);
	for (size_t i = 0; i < n; i++)
		certifying_done(&due[i]);
	return err;
}
