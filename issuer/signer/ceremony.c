/*
 * The ceremony: what `writ init` has the signer do once - folders, journal, the anchor's key in the device, its
 * certificate, the first issuing CA, the anchor's first CRL.  Every step is a line of the transcript
 * (issuer/log/transcript.h), which is signed by the witnesses, if any were named, and then by the anchor.
 *
 * With an owner's root it has two parts: a request to sign (csr), and the certificate that came back (import).  With
 * witnesses another one: finish, when all have signed.
 * (1) STATE/VERSION is written last: without it the state is not initialised, and a signer refuses to start on it.
 * (2) Nothing that is there is overwritten: a state initialised, or half so, is refused with what to do.
 * (3) The anchor signs a transcript only when every witness that it names has signed it.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/signer/signer.h"
#include "issuer/x509/bundle.h"

#define DEVICE_WAIT_MS 15000
#define PEM_MAX (16 * 1024)
#define PROGRAM_MAX (64u * 1024 * 1024) /* bytes of our own file */
#define STATE_VERSION "1\n"

struct held {
	struct signer *s;
	const struct ceremony_asked *asked;
	struct writ_buf text;	 /* the transcript */
	struct writ_err *failed; /* the first line that did not fit */
};

/* A line, printed and kept. */
WRIT_PRINTF(2, 3)
static void
tell(struct held *c, const char *fmt, ...)
{
	char line[TRANSCRIPT_LINE_MAX + 1];
	const size_t before = c->text.len;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (!c->failed)
		c->failed = transcript_line(&c->text, line);
	if (!c->failed)
		fwrite(c->text.data + before, 1, c->text.len - before, stdout);
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
	if (what == CEREMONY_FINISH) {
		if (!there(state_path(s, "certs", "anchor.der", path)) ||
		    !there(state_path(s, "ceremony", "transcript.txt", path)))
			return writ_fail(WRIT_NOT_FOUND, "%s has no ceremony that waits for witnesses", s->conf->state);
		return NULL;
	}
	if (what == CEREMONY_IMPORT) {
		if (!there(state_path(s, "keys", "anchor.spki", path)))
			return writ_fail(WRIT_NOT_FOUND,
					 "%s has no anchor key that waits for a certificate: begin with --ceremony csr",
					 s->conf->state);
		if (there(state_path(s, "certs", "anchor.der", path)))
			return writ_fail(WRIT_CONFLICT, "%s has its anchor's certificate, and waits for its witnesses",
					 s->conf->state);
		return NULL;
	}
	if (there(state_path(s, "keys", "anchor.ref", path)) || there(state_path(s, "journal", "reserve", path)))
		return writ_fail(
			WRIT_CONFLICT,
			"%s holds an unfinished ceremony: finish it with --ceremony import or finish, or remove keys, "
			"certs, ceremony and journal there and begin anew",
			s->conf->state);
	return NULL;
}

/* `writ init` made these, with the owners and the log group that only root can give; without separate users we make
 * them. */
static struct writ_err *
folders_make(struct held *c)
{
	struct signer *s = c->s;
	char path[PATH_MAX];
	struct writ_err *err;

	if (mkdir(s->conf->state, 0711) != 0 && errno != EEXIST)
		return writ_fail_errno(errno, "making %s", s->conf->state);
	err = file_make_dir(conf_path(s->conf->state, "keys", path), 0700);
	if (!err)
		err = file_make_dir(conf_path(s->conf->state, "certs", path), 0700);
	if (!err)
		err = file_make_dir(conf_path(s->conf->state, "ceremony", path), 0755);
	if (!err)
		err = file_make_dir(conf_path(s->conf->state, "journal", path), 0750);
	if (!err)
		err = journal_create(conf_path(s->conf->state, "journal", path), writ_str(s->conf->log_origin));
	if (!err)
		tell(c, "journal: made, origin %s", s->conf->log_origin);
	return err;
}

/* The device's keys have an authentication secret, and it was made before: never here, where a transcript is printed.
 */
static struct writ_err *
secret_check(const struct signer *s)
{
	const char *path = s->conf->custody.auth_file ? s->conf->custody.auth_file : s->conf->custody.pin_file;

	if (path && (path[0] != '/' || there(path))) /* credential: and fd: are handed to the device by whoever starts it */
		return NULL;
	return writ_fail(WRIT_NOT_FOUND, "the device's secret %s is not there: writ init makes it",
			 path ? path : "(none configured)");
}

static struct writ_err *
device_meet(struct held *c)
{
	struct signer *s = c->s;
	struct custody_info info;
	struct writ_err *err;

	err = signer_device_wait(s, DEVICE_WAIT_MS);
	if (!err)
		err = device_info(s->link.device, &info);
	if (err)
		return err;
	tell(c, "device: %s %s, serial %s, firmware %s", info.maker, info.model, info.serial, info.firmware);
	tell(c, "tier: %s%s", leaf_tier_name(s->keys.tier),
	     info.software ? " (the device is a program: certificates say so, and relying parties refuse them unless "
			     "told otherwise)"
			   : "");
	return NULL;
}

/* The anchor's own device, when its PIN is an operator's. */
static struct writ_err *
operator_meet(struct held *c)
{
	const bool wanted = c->s->conf->custody.operator;
	struct custody_info info;
	struct writ_err *err;

	if (wanted != (c->asked->anchor_fd >= 0))
		return writ_fail(WRIT_INVALID, "--anchor-fd and custody.anchor: operator go together");
	if (wanted && c->asked->anchor_only)
		return writ_fail(WRIT_INVALID, "an operator's anchor does not wait: the start of writd could not use it");
	if (!wanted)
		return NULL;
	err = operator_take(c->s, c->asked->anchor_fd);
	if (!err)
		err = device_info(c->s->operator.device, &info);
	if (!err)
		tell(c, "anchor's token: %s %s, serial %s", info.maker, info.model, info.serial);
	return err;
}

static struct writ_err *
anchor_key_make(struct held *c, struct writ_buf *ret_spki)
{
	struct signer *s = c->s;
	const enum key_kind kind = c->asked->anchor_kind;
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	char path[PATH_MAX], hex[41];
	uint8_t key_id[20];
	struct writ_err *err;

	err = device_make_key(anchor_device(s), kind, "writ anchor", &ref, ret_spki);
	if (!err)
		err = device_load(anchor_device(s), writ_view(&ref), writ_view(ret_spki), anchor_handle(s));
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
	tell(c, "anchor key: %s, made in the device%s, key id %s", key_kind_name(kind),
	     s->conf->custody.operator ? " of an operator" : "",
	     writ_hex((struct writ_bytes){ key_id, 20 }, hex));
	return NULL;
}

static struct writ_err *
anchor_self_sign(struct held *c, struct writ_bytes spki)
{
	struct signer *s = c->s;
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	struct ca_facts facts = {
		.role = CA_ANCHOR,
		.trust_domain = writ_str(s->conf->trust_domain),
		.spki = spki,
		.issuer_kind = c->asked->anchor_kind,
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
		tell(c, "anchor certificate: self-signed, until %s", writ_time_rfc3339(facts.not_after, until));
	return err;
}

/* CertificationRequest has the shape of a certificate: info, algorithm, signature. */
static struct writ_err *
anchor_request(struct held *c, struct writ_bytes spki)
{
	struct signer *s = c->s;
	const char *out = c->asked->path;
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
		err = x509_assemble(writ_view(&info), c->asked->anchor_kind, writ_view(&signature), &der);
	if (!err)
		err = pem_write("CERTIFICATE REQUEST", writ_view(&der), &pem);
	if (!err)
		err = file_replace(out, 0644, writ_view(&pem));
	if (err)
		return writ_because(err, "the anchor's request");
	tell(c, "request: %s", out);
	tell(c, "next: have your root sign it as a CA (path length 1) that asserts the policies asked for; then "
		"--ceremony import CERT.pem");
	tell(c, "root: confirmed to be one that no TLS server trusts for client certificates");
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
	if (!(cert->key_usage & CA_KU_CRL_SIGN))
		return writ_fail(WRIT_INVALID, "the certificate lets its key sign no lists (keyUsage lacks cRLSign)");
	if (cert->self_issued)
		return writ_fail(WRIT_INVALID, "the certificate's issuer has the anchor's own name: no root signed it");
	if (!cert->delegated_agent || !tier)
		return writ_fail(WRIT_INVALID,
				 "the certificate does not assert the policies cp-delegatedAgent and cp-%s",
				 leaf_tier_name(s->keys.tier));
	if (cert->not_after < s->now.wall + ANCHOR_LEFT_MIN_S || cert->not_before > s->now.wall)
		return writ_fail(WRIT_INVALID, "the certificate is not valid now, and for a day at least");
	return NULL;
}

static struct writ_err *
anchor_import(struct held *c)
{
	struct signer *s = c->s;
	const char *in = c->asked->path;
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
	tell(c, "anchor certificate: of your root, until %s", writ_time_rfc3339(cert.not_after, until));
	tell(c, "anchor path length: %s", cert.path_len < 0 ? "none said" : cert.path_len == 1 ? "1" : "over 1");
	tell(c, "warning: your root's signature is checked by relying parties, not here");
	tell(c, "root: confirmed to be one that no TLS server trusts for client certificates");
	return file_replace(state_path(s, "certs", "anchor.der", path), 0644, writ_view(&der));
}

/* ---- what the transcript says of what is around ---- */

static void
tell_digest(struct held *c, const char *name, struct writ_bytes of)
{
	uint8_t digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	writ_sha256(of, digest);
	tell(c, "%s: %s", name, writ_hex((struct writ_bytes){ digest, sizeof(digest) }, hex));
}

static struct writ_err *
begin(struct held *c)
{
	const struct conf *conf = c->s->conf;
	AUTO(writ_buf_done) struct writ_buf self = WRIT_BUF(PROGRAM_MAX);
	char now[WRIT_RFC3339_LEN + 1], hex[2 * SHA256_LEN + 1];
	struct utsname host;
	struct writ_err *err = file_read("/proc/self/exe", FILE_ANY, &self);

	if (err)
		return writ_because(err, "the signer's own program");
	tell(c, "begun: %s", writ_time_rfc3339(c->s->now.wall, now));
	tell(c, "ceremony for trust domain %s, state %s", conf->trust_domain, conf->state);
	tell(c, "configuration: %s", conf->path);
	tell(c, "configuration sha256: %s", writ_hex((struct writ_bytes){ conf->digest, sizeof(conf->digest) }, hex));
	tell(c, "program: writ-signerd " WRIT_VERSION ", %s", OpenSSL_version(OPENSSL_VERSION));
	tell_digest(c, "program sha256", writ_view(&self));
	if (uname(&host) == 0)
		tell(c, "host: %s, %s %s", host.nodename, host.sysname, host.release);
	return NULL;
}

/* An earlier part's lines; they were printed then. */
static struct writ_err *
resume(struct held *c, struct transcript *ret)
{
	char path[PATH_MAX], now[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	writ_buf_clear(&c->text);
	err = file_read(state_path(c->s, "ceremony", "transcript.txt", path), FILE_CONFIG, &c->text);
	if (!err)
		err = transcript_read(writ_view(&c->text), ret);
	if (err)
		return writ_because(err, "%s", path);
	if (c->asked->what == CEREMONY_IMPORT)
		tell(c, "resumed: %s", writ_time_rfc3339(c->s->now.wall, now));
	return NULL;
}

static struct writ_err *
keep(struct held *c)
{
	char path[PATH_MAX];

	if (c->failed)
		return writ_because(TAKE(c->failed), "the transcript");
	return file_replace(state_path(c->s, "ceremony", "transcript.txt", path), 0644, writ_view(&c->text));
}

static struct writ_err *
witnesses_tell(struct held *c)
{
	struct transcript t;

	for (size_t i = 0; i < c->asked->n_witnesses && !c->failed; i++) {
		const size_t before = c->text.len;

		c->failed = transcript_witness(&c->text, &c->asked->witnesses[i]);
		if (!c->failed)
			fwrite(c->text.data + before, 1, c->text.len - before, stdout);
	}
	return c->failed ? TAKE(c->failed) : transcript_read(writ_view(&c->text), &t); /* no name and no key twice */
}

/* Anchors that wait in other devices are a part of what relying parties will trust. */
static struct writ_err *
standby_tell(struct held *c)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(BUNDLE_TEXT_MAX);
	AUTO(bundle_done) struct bundle bundle;
	const char *file = c->s->conf->custody.standby;
	char hex[41];
	struct writ_err *err;

	bundle_init(&bundle, writ_str(c->s->conf->trust_domain));
	err = bundle_add(&bundle, writ_view(&c->s->keys.anchor_der), BUNDLE_ACTIVE, 0, c->s->now.wall);
	if (!err && file)
		err = file_read(file, FILE_CONFIG, &pem);
	if (!err && file)
		err = bundle_add_pem(&bundle, writ_view(&pem), BUNDLE_STANDBY, c->s->now.wall);
	if (err)
		return file ? writ_because(err, "custody.standby %s", file) : err;
	for (size_t i = 1; i < bundle.n; i++) {
		const struct bundle_anchor *a = &bundle.anchors[i];

		tell(c, "standby anchor: %s, key id %s", key_kind_name(a->cert.kind),
		     writ_hex((struct writ_bytes){ a->cert.key_id, sizeof(a->cert.key_id) }, hex));
		tell_digest(c, "standby anchor sha256", writ_view(&a->der));
	}
	return NULL;
}

/* ---- the last part ---- */

/* (3), (1) */
static struct writ_err *
seal(struct held *c)
{
	static const uint8_t no_serial[16];
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	struct signer *s = c->s;
	const uint8_t *key_id = s->keys.anchor.key_id;
	char path[PATH_MAX];
	struct writ_err *err;

	err = entry_key(s, "transcript", no_serial, 0, key_id, key_id, writ_view(&c->text));
	if (err)
		return err;
	journal_sync(s->journal); /* I2 */
	err = keys_sign(s, NULL, writ_view(&c->text), &signature);
	if (!err)
		err = file_replace(state_path(s, "ceremony", "anchor.sig", path), 0644, writ_view(&signature));
	if (!err)
		err = file_replace(conf_path(s->conf->state, "VERSION", path), 0644, WRIT_LIT(STATE_VERSION)); /* (1) */
	if (err)
		return writ_because(err, "signing the transcript");
	printf("transcript: %s/ceremony/transcript.txt, signed by the anchor%s\n", s->conf->state,
	       c->asked->what == CEREMONY_FINISH ? " and its witnesses" : "");
	printf("state: %s is initialised, %llu journal entries\n", s->conf->state,
	       (unsigned long long)journal_next(s->journal));
	return NULL;
}

static const struct ceremony_signature *
signature_of(const struct ceremony_asked *asked, const char *name)
{
	for (size_t i = 0; i < asked->n_signatures; i++)
		if (strcmp(asked->signatures[i].name, name) == 0)
			return &asked->signatures[i];
	return NULL;
}

/* Every witness that the transcript names, and nobody else. */
static struct writ_err *
signatures_check(struct held *c, const struct transcript *t)
{
	if (!t->ended || t->n_witnesses == 0)
		return writ_fail(WRIT_CONFLICT, "%s/ceremony/transcript.txt is not one that waits for witnesses",
				 c->s->conf->state);
	for (size_t i = 0; i < t->n_witnesses; i++) {
		const struct witness *w = &t->witnesses[i];
		const struct ceremony_signature *sig = signature_of(c->asked, w->name);
		struct pubkey key = { 0 };
		char name[WITNESS_NAME_MAX + 8], path[PATH_MAX];
		struct writ_err *err;

		if (!sig)
			return writ_fail(WRIT_CONFLICT, "witness %s has not signed: all %zu must", w->name,
					 t->n_witnesses);
		err = pubkey_load((struct writ_bytes){ w->spki, w->spki_len }, &key);
		if (!err)
			err = pubkey_verify(&key, writ_view(&c->text), (struct writ_bytes){ sig->data, sig->len });
		pubkey_done(&key);
		snprintf(name, sizeof(name), "%s.sig", w->name);
		if (!err)
			err = file_replace(state_path(c->s, "ceremony", name, path), 0644,
					   (struct writ_bytes){ sig->data, sig->len });
		if (err)
			return writ_because(err, "witness %s", w->name);
		printf("witness: %s has signed\n", w->name);
	}
	return c->asked->n_signatures == t->n_witnesses
		       ? NULL
		       : writ_fail(WRIT_INVALID, "a signature is of somebody whom the transcript does not name");
}

static struct writ_err *
anchor_take(struct signer *s)
{
	struct writ_err *err;

	pubkey_done(&s->keys.anchor_public);
	err = keys_read_anchor(s);
	return err ? err : anchor_load(s);
}

static struct writ_err *
finish(struct held *c)
{
	uint8_t digest[SHA256_LEN];
	struct transcript t;
	struct writ_err *err;

	err = anchor_take(c->s);
	if (!err)
		err = resume(c, &t);
	if (!err)
		err = signatures_check(c, &t);
	if (err)
		return err;
	writ_sha256(writ_view(&c->s->keys.anchor_der), digest);
	if (memcmp(digest, t.anchor_sha256, sizeof(digest)) != 0)
		return writ_fail(WRIT_LOCKED, "the transcript is of another anchor than STATE/certs/anchor.der");
	return seal(c);
}

static struct writ_err *
issuing_make(struct held *c)
{
	struct signer *s = c->s;
	char hex[41], until[WRIT_RFC3339_LEN + 1];
	const struct crl_made *made;
	struct writ_err *err = keys_load(s);

	if (err)
		return err;
	tell(c, "issuing key: P-256, %s, key id %s, until %s",
	     s->keys.sealed ? "in memory, sealed by the device at rest" : "made in the device",
	     writ_hex((struct writ_bytes){ s->keys.current->cert.key_id, 20 }, hex),
	     writ_time_rfc3339(s->keys.current->cert.not_after, until));
	tell_digest(c, "issuing certificate sha256", writ_view(&s->keys.current->der));
	err = publish_anchor_crl(s, &made);
	if (!err)
		tell(c, "anchor CRL: number %llu, until %s", (unsigned long long)made->is.number,
		     writ_time_rfc3339(made->is.next_update, until));
	return err;
}

/* From an anchor's certificate to a state that a signer starts on, or to a transcript for the witnesses to sign. */
static struct writ_err *
state_finish(struct held *c)
{
	struct signer *s = c->s;
	char hex[2 * SHA256_LEN + 1], now[WRIT_RFC3339_LEN + 1];
	struct transcript t;
	struct writ_err *err;

	err = anchor_take(s);
	if (err)
		return err;
	tell_digest(c, "anchor certificate sha256", writ_view(&s->keys.anchor_der));
	err = standby_tell(c);
	if (!err && c->asked->anchor_only)
		tell(c, "issuing key: none, this anchor waits: a start of writd makes one");
	else if (!err)
		err = issuing_make(c);
	if (err)
		return err;
	journal_sync(s->journal);
	tell(c, "journal: %llu entries, the last one %s", (unsigned long long)journal_next(s->journal),
	     writ_hex((struct writ_bytes){ journal_last_hash(s->journal), SHA256_LEN }, hex));
	tell(c, "ended: %s", writ_time_rfc3339(clock_read().wall, now));
	err = keep(c);
	if (!err)
		err = transcript_read(writ_view(&c->text), &t); /* what will be signed reads as it should */
	if (err || t.n_witnesses == 0)
		return err ? err : seal(c);
	printf("next: %zu witnesses sign %s/ceremony/transcript.txt, then --ceremony finish\n", t.n_witnesses,
	       s->conf->state);
	return NULL;
}

static struct writ_err *
first_part(struct held *c)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	struct writ_err *err;

	err = anchor_key_make(c, &spki);
	if (err)
		return err;
	if (c->asked->what == CEREMONY_CSR) {
		err = anchor_request(c, writ_view(&spki));
		return err ? err : keep(c);
	}
	err = anchor_self_sign(c, writ_view(&spki));
	return err ? err : state_finish(c);
}

static struct writ_err *
hold(struct held *c)
{
	struct transcript t;
	struct writ_err *err = NULL;

	if (c->asked->what == CEREMONY_IMPORT)
		err = resume(c, &t);
	else if (c->asked->what != CEREMONY_FINISH)
		err = begin(c);
	if (!err)
		err = device_meet(c); /* first: without it nothing is left behind */
	if (!err)
		err = operator_meet(c);
	if (!err && (c->asked->what == CEREMONY_SELF_SIGNED || c->asked->what == CEREMONY_CSR))
		err = witnesses_tell(c);
	if (!err && (c->asked->what == CEREMONY_SELF_SIGNED || c->asked->what == CEREMONY_CSR))
		err = folders_make(c);
	if (!err)
		err = replay_open(c->s);
	if (err)
		return err;
	switch (c->asked->what) {
	case CEREMONY_FINISH:
		return finish(c);
	case CEREMONY_IMPORT:
		err = anchor_import(c);
		return err ? err : state_finish(c);
	case CEREMONY_NONE:
	case CEREMONY_ACCEPT_LOSS: /* restore.c */
	case CEREMONY_SELF_SIGNED:
	case CEREMONY_CSR:
		break;
	}
	return first_part(c);
}

struct writ_err *
ceremony_run(struct signer *s, const struct conf *conf, const struct ceremony_asked *asked)
{
	struct held c = { .s = s, .asked = asked, .text = WRIT_BUF(TRANSCRIPT_MAX) };
	struct writ_err *err;

	err = signer_init(s, conf);
	if (!err)
		err = state_check(s, asked->what);
	if (!err)
		err = secret_check(s);
	if (!err)
		err = writ_buf_add(&c.text, WRIT_LIT(TRANSCRIPT_TITLE));
	if (!err)
		err = hold(&c);
	writ_buf_done(&c.text);
	writ_err_free(c.failed);
	return err;
}
