/*
 * The ceremony: what `writ init` has the signer do once - folders, journal, the anchor's key in the device, its
 * certificate, the first issuing CA, the anchor's first CRL.  Every step is a line of the transcript.
 *
 * With an owner's root it has two parts: a request to sign (csr), and the certificate that came back (import).
 * (1) STATE/VERSION is written last: without it the state is not initialised, and a signer refuses to start on it.
 * (2) Nothing that is there is overwritten: a state initialised, or half so, is refused with what to do.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define DEVICE_WAIT_MS 15000
#define PEM_MAX (16 * 1024)
#define STATE_VERSION "1\n"

WRIT_PRINTF(1, 2) static void tell(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static bool
there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static struct writ_err *
state_check(struct signer *s, enum ceremony what)
{
	char path[PATH_MAX];

	if (there(conf_path(s->conf->state, "VERSION", path)))
		return writ_fail(WRIT_CONFLICT, "%s is initialised already: nothing was changed", s->conf->state);
	if (what == CEREMONY_IMPORT) {
		if (!there(state_path(s, "keys", "anchor.spki", path)))
			return writ_fail(WRIT_NOT_FOUND,
					 "%s has no anchor key that waits for a certificate: begin with --ceremony csr",
					 s->conf->state);
		return NULL;
	}
	if (there(state_path(s, "keys", "anchor.ref", path)) || there(state_path(s, "journal", "reserve", path)))
		return writ_fail(
			WRIT_CONFLICT,
			"%s holds an unfinished ceremony: finish it with --ceremony import, or remove keys, certs and "
			"journal there and begin anew",
			s->conf->state);
	return NULL;
}

/* `writ init` made these, with the owners and the log group that only root can give; without separate users we make them. */
static struct writ_err *
folders_make(struct signer *s)
{
	char path[PATH_MAX];
	struct writ_err *err;

	if (mkdir(s->conf->state, 0711) != 0 && errno != EEXIST)
		return writ_fail_errno(errno, "making %s", s->conf->state);
	err = file_make_dir(conf_path(s->conf->state, "keys", path), 0700);
	if (!err)
		err = file_make_dir(conf_path(s->conf->state, "certs", path), 0700);
	if (!err)
		err = file_make_dir(conf_path(s->conf->state, "journal", path), 0750);
	if (!err)
		err = journal_create(conf_path(s->conf->state, "journal", path), writ_str(s->conf->log_origin));
	if (!err)
		tell("journal: made, origin %s", s->conf->log_origin);
	return err;
}

/* The device's keys have an authentication secret, and it was made before: never here, where a transcript is printed.
 */
static struct writ_err *
secret_check(const struct signer *s)
{
	const char *path = s->conf->custody.auth_file ? s->conf->custody.auth_file : s->conf->custody.pin_file;

	if (path && there(path))
		return NULL;
	return writ_fail(WRIT_NOT_FOUND, "the device's secret %s is not there: writ init makes it",
			 path ? path : "(none configured)");
}

static struct writ_err *
device_meet(struct signer *s)
{
	struct custody_info info;
	struct writ_err *err;

	err = signer_device_wait(s, DEVICE_WAIT_MS);
	if (!err)
		err = device_info(s->link.device, &info);
	if (err)
		return err;
	tell("device: %s %s, serial %s, firmware %s", info.maker, info.model, info.serial, info.firmware);
	tell("tier: %s%s", leaf_tier_name(s->keys.tier),
	     info.software ? " (the device is a program: certificates say so, and relying parties refuse them unless "
			     "told otherwise)"
			   : "");
	return NULL;
}

static struct writ_err *
anchor_key_make(struct signer *s, enum key_kind kind, struct writ_buf *ret_spki)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	char path[PATH_MAX], hex[41];
	uint8_t key_id[20];
	struct writ_err *err;

	err = device_make_key(s->link.device, kind, "writ anchor", &ref, ret_spki);
	if (!err)
		err = device_load(s->link.device, writ_view(&ref), writ_view(ret_spki), &s->keys.anchor_handle);
	if (!err)
		err = pubkey_load(writ_view(ret_spki), &s->keys.anchor_public);
	if (!err)
		err = ca_key_id(writ_view(ret_spki), key_id);
	if (!err)
		err = file_replace(state_path(s, "keys", "anchor.ref", path), 0600, writ_view(&ref));
	if (!err)
		err = file_replace(state_path(s, "keys", "anchor.spki", path), 0600, writ_view(ret_spki));
	if (err)
		return writ_because(err, "making the anchor key");
	tell("anchor key: %s, made in the device, key id %s", key_kind_name(kind),
	     writ_hex((struct writ_bytes){ key_id, 20 }, hex));
	return NULL;
}

static struct writ_err *
anchor_self_sign(struct signer *s, enum key_kind kind, struct writ_bytes spki)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	struct ca_facts facts = {
		.role = CA_ANCHOR,
		.trust_domain = writ_str(s->conf->trust_domain),
		.spki = spki,
		.issuer_kind = kind,
		.not_before = s->now.wall - SIGNER_BACKDATE_S,
		.not_after = s->now.wall + ANCHOR_LIFE_S - 1,
		.tier = s->keys.tier,
	};
	char path[PATH_MAX], until[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	err = serial_draw(s->ledger, s->now.wall, writ_random, facts.serial);
	if (!err)
		err = keys_certify(s, NULL, &facts, "anchor", &der);
	if (!err)
		err = file_replace(state_path(s, "certs", "anchor.der", path), 0644, writ_view(&der));
	if (!err)
		tell("anchor certificate: self-signed, until %s", writ_time_rfc3339(facts.not_after, until));
	return err;
}

/* CertificationRequest has the shape of a certificate: info, algorithm, signature. */
static struct writ_err *
anchor_request(struct signer *s, enum key_kind kind, struct writ_bytes spki, const char *out)
{
	static const uint8_t no_serial[16];
	AUTO(writ_buf_done) struct writ_buf info = WRIT_BUF(CA_CERT_MAX);
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(PEM_MAX);
	uint8_t key_id[20];
	struct writ_err *err;

	err = ca_key_id(spki, key_id);
	if (!err)
		err = ca_build_csr_info(writ_str(s->conf->trust_domain), spki, &info);
	if (!err)
		err = entry_key(s, "anchor-request", no_serial, 0, key_id, key_id, writ_view(&info));
	if (err)
		return err;
	journal_sync(s->journal); /* I2 */
	err = keys_sign(s, NULL, writ_view(&info), &signature);
	if (!err)
		err = x509_assemble(writ_view(&info), kind, writ_view(&signature), &der);
	if (!err)
		err = pem_write("CERTIFICATE REQUEST", writ_view(&der), &pem);
	if (!err)
		err = file_replace(out, 0644, writ_view(&pem));
	if (err)
		return writ_because(err, "the anchor's request");
	tell("request: %s", out);
	tell("next: have your root sign it as a CA (path length 1) that asserts the policies asked for; then "
	     "--ceremony import CERT.pem");
	tell("warning: that root must be one that no TLS server trusts for client certificates");
	return NULL;
}

static struct writ_err *
import_check(const struct signer *s, const struct ca_cert *cert, struct writ_bytes spki)
{
	bool tier = false;

	for (size_t i = 0; i < cert->n_tiers; i++)
		tier = tier || cert->tiers[i] == s->keys.tier;
	if (!writ_equal(cert->spki, spki))
		return writ_fail(WRIT_INVALID, "the certificate is not of the key in the device");
	if (!cert->is_ca || cert->path_len == 0)
		return writ_fail(WRIT_INVALID,
				 "the certificate is not of a CA that may have CAs below it (CA:TRUE, path length 1)");
	if (!cert->delegated_agent || !tier)
		return writ_fail(WRIT_INVALID,
				 "the certificate does not assert the policies cp-delegatedAgent and cp-%s",
				 leaf_tier_name(s->keys.tier));
	if (cert->not_after < s->now.wall + ISSUING_RENEW_S || cert->not_before > s->now.wall)
		return writ_fail(WRIT_INVALID, "the certificate is not valid now, and for a day at least");
	return NULL;
}

static struct writ_err *
anchor_import(struct signer *s, const char *in)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(PEM_MAX);
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	char path[PATH_MAX], until[WRIT_RFC3339_LEN + 1];
	struct writ_bytes rest;
	struct ca_cert cert;
	struct writ_err *err;

	err = file_read(state_path(s, "keys", "anchor.spki", path), FILE_PRIVATE, &spki);
	if (!err)
		err = file_read(in, FILE_ANY, &pem);
	rest = writ_view(&pem);
	if (!err)
		err = pem_read("CERTIFICATE", &rest, &der);
	if (!err)
		err = ca_read(writ_view(&der), &cert);
	if (!err)
		err = import_check(s, &cert, writ_view(&spki));
	if (err)
		return writ_because(err, "%s", in);
	tell("anchor certificate: of your root, until %s", writ_time_rfc3339(cert.not_after, until));
	tell("warning: your root's signature is checked by relying parties, not here; no TLS server may trust that "
	     "root for client certificates");
	return file_replace(state_path(s, "certs", "anchor.der", path), 0644, writ_view(&der));
}

/* The same for both ways: from an anchor's certificate to a state that a signer starts on. */
static struct writ_err *
state_finish(struct signer *s)
{
	char path[PATH_MAX], hex[41], until[WRIT_RFC3339_LEN + 1];
	const struct crl_made *made;
	struct writ_err *err;

	pubkey_done(&s->keys.anchor_public);
	err = keys_read_anchor(s);
	if (!err)
		err = device_load(s->link.device, writ_view(&s->keys.anchor_ref), s->keys.anchor.spki,
				  &s->keys.anchor_handle);
	if (!err)
		err = keys_load(s);
	if (err)
		return err;
	tell("issuing key: P-256, %s, key id %s, until %s",
	     s->keys.sealed ? "in memory, sealed by the device at rest" : "made in the device",
	     writ_hex((struct writ_bytes){ s->keys.gen[0]->cert.key_id, 20 }, hex),
	     writ_time_rfc3339(s->keys.gen[0]->cert.not_after, until));
	err = publish_crl(s, s->keys.anchor.key_id, &made);
	if (err)
		return err;
	tell("anchor CRL: number %llu, until %s", (unsigned long long)made->is.number,
	     writ_time_rfc3339(made->is.next_update, until));
	err = file_replace(conf_path(s->conf->state, "VERSION", path), 0644, WRIT_LIT(STATE_VERSION)); /* (1) */
	if (!err)
		tell("state: %s is initialised, %llu journal entries", s->conf->state,
		     (unsigned long long)journal_next(s->journal));
	return err;
}

struct writ_err *
ceremony_run(struct signer *s, const struct conf *conf, enum ceremony what, const char *path, enum key_kind anchor_kind)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	struct writ_err *err;

	err = signer_init(s, conf);
	if (!err)
		err = state_check(s, what);
	if (!err)
		err = secret_check(s);
	if (err)
		return err;
	tell("ceremony for trust domain %s, state %s", conf->trust_domain, conf->state);
	err = device_meet(s); /* first: without it nothing is left behind */
	if (!err && what != CEREMONY_IMPORT)
		err = folders_make(s);
	if (!err)
		err = entries_open(s);
	if (!err && what == CEREMONY_IMPORT) {
		err = anchor_import(s, path);
		return err ? err : state_finish(s);
	}
	if (!err)
		err = anchor_key_make(s, anchor_kind, &spki);
	if (!err && what == CEREMONY_CSR)
		return anchor_request(s, anchor_kind, writ_view(&spki), path);
	if (!err)
		err = anchor_self_sign(s, anchor_kind, writ_view(&spki));
	return err ? err : state_finish(s);
}
