/*
 * writ ceremony: what witnesses and auditors do with a ceremony's transcript - sign it, with a key of their own, and
 * check one with all its signatures.  The signer writes it (issuer/log/transcript.h); neither needs the issuer's host.
 */
#include <limits.h>

#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/admin.h"
#include "issuer/cli/sign_with.h"
#include "issuer/log/transcript.h"
#include "issuer/x509/ca.h"

#define PEM_MAX (16 * 1024)
#define SIGNATURE_FILE_MAX 1024

static struct writ_err *
transcript_file(const char *path, struct writ_buf *text, struct transcript *ret)
{
	struct writ_err *err = file_read(path, FILE_ANY, text);

	if (!err)
		err = transcript_read(writ_view(text), ret);
	if (!err && !ret->ended)
		err = writ_fail(WRIT_INVALID, "the ceremony has not come to its end");
	return err ? writ_because(err, "%s", path) : NULL;
}

static void
say_digest(struct writ_bytes text)
{
	uint8_t digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	writ_sha256(text, digest);
	cli_say("transcript sha256", "%s", writ_hex((struct writ_bytes){ digest, sizeof(digest) }, hex));
}

/* ---- sign ---- */

static const struct witness *
witness_of(const struct transcript *t, struct writ_bytes spki)
{
	for (size_t i = 0; i < t->n_witnesses; i++)
		if (writ_equal((struct writ_bytes){ t->witnesses[i].spki, t->witnesses[i].spki_len }, spki))
			return &t->witnesses[i];
	return NULL;
}

/* Whoever signs sees what it is, whole: that is what a witness is for. */
static int
ceremony_sign(int argc, char **argv)
{
	static const struct option_spec specs[] = { SIGN_WITH_OPTIONS("--sign-with"),
						    { "--out", OPTION_VALUE, true, NULL } };
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(TRANSCRIPT_MAX);
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	AUTO(sign_with_closep) struct sign_with *key = NULL;
	const struct witness *w = NULL;
	struct transcript t;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (err)
		return cli_misused("ceremony sign", err);
	err = transcript_file(o.arguments[0], &text, &t);
	if (!err)
		err = sign_with_open(&o, &key);
	if (!err) {
		w = witness_of(&t, sign_with_spki(key));
		if (!w)
			err = writ_fail(WRIT_INVALID, "%s names no witness with this key", o.arguments[0]);
	}
	if (!err)
		err = sign_with_sign(key, writ_view(&text), &signature);
	if (!err)
		err = cli_write(option(&o, "--out"), 0644, writ_view(&signature));
	if (err)
		return cli_fail("ceremony sign", err);
	if (strcmp(option(&o, "--out"), "-") == 0)
		return CLI_DONE;
	fwrite(text.data, 1, text.len, stdout);
	say_digest(writ_view(&text));
	cli_say("signed", "as witness %s, into %s", w->name, option(&o, "--out"));
	return CLI_DONE;
}

/* ---- verify ---- */

static struct writ_err *
signature_check(const char *folder, const char *name, struct writ_bytes spki, struct writ_bytes text)
{
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_FILE_MAX);
	struct pubkey key = { 0 };
	char path[PATH_MAX];
	struct writ_err *err;

	snprintf(path, sizeof(path), "%s/%s.sig", folder, name);
	err = file_read(path, FILE_ANY, &signature);
	if (!err)
		err = pubkey_load(spki, &key);
	if (!err)
		err = pubkey_verify(&key, text, writ_view(&signature));
	pubkey_done(&key);
	return err ? writ_because(err, "%s", path) : NULL;
}

/* The anchor that the caller trusts: PEM, or DER. */
static struct writ_err *
anchor_read(const char *path, struct writ_buf *der, struct ca_cert *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PEM_MAX);
	struct writ_bytes rest;
	struct writ_err *err = file_read(path, FILE_ANY, &text);

	rest = writ_view(&text);
	if (!err && text.len > 0 && text.data[0] == 0x30)
		err = writ_buf_add(der, rest);
	else if (!err)
		err = pem_read("CERTIFICATE", &rest, der);
	if (!err)
		err = ca_read(writ_view(der), ret);
	return err ? writ_because(err, "%s", path) : NULL;
}

/* --witness NAME=FILE: who must have signed, by keys that the caller knows, not the transcript's word. */
static struct writ_err *
witness_expect(const struct transcript *t, const char *given)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PEM_MAX), spki = WRIT_BUF(SPKI_MAX);
	const char *equals = strchr(given, '=');
	const struct witness *w;
	struct writ_bytes rest;
	struct writ_err *err;

	if (!equals)
		return writ_fail(WRIT_INVALID, "--witness '%.40s' is not NAME=FILE", given);
	err = file_read(equals + 1, FILE_ANY, &text);
	rest = writ_view(&text);
	if (!err)
		err = pem_read("PUBLIC KEY", &rest, &spki);
	if (err)
		return writ_because(err, "--witness %.80s", given);
	w = witness_of(t, writ_view(&spki));
	if (!w || strlen(w->name) != (size_t)(equals - given) || strncmp(w->name, given, strlen(w->name)) != 0)
		return writ_fail(WRIT_INVALID, "the transcript names no witness %.*s with the key of %.80s",
				 (int)(equals - given), given, equals + 1);
	return NULL;
}

static int
ceremony_verify(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--anchor", OPTION_VALUE, true, NULL },
						    { "--witness", OPTION_LIST, false, NULL } };
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(TRANSCRIPT_MAX), der = WRIT_BUF(CA_CERT_MAX);
	char path[PATH_MAX];
	uint8_t digest[SHA256_LEN];
	const char *const *expected;
	struct ca_cert anchor;
	struct transcript t;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);
	size_t n_expected;

	if (err)
		return cli_misused("ceremony verify", err);
	n_expected = option_list(&o, "--witness", &expected);
	snprintf(path, sizeof(path), "%s/transcript.txt", o.arguments[0]);
	err = anchor_read(option(&o, "--anchor"), &der, &anchor);
	if (!err)
		err = transcript_file(path, &text, &t);
	if (!err) {
		writ_sha256(writ_view(&der), digest);
		if (memcmp(digest, t.anchor_sha256, sizeof(digest)) != 0)
			err = writ_fail(WRIT_INVALID, "%s is the transcript of another anchor", path);
	}
	if (!err)
		err = signature_check(o.arguments[0], "anchor", anchor.spki, writ_view(&text));
	for (size_t i = 0; !err && i < n_expected; i++)
		err = witness_expect(&t, expected[i]);
	for (size_t i = 0; !err && i < t.n_witnesses; i++)
		err = signature_check(o.arguments[0], t.witnesses[i].name,
				      (struct writ_bytes){ t.witnesses[i].spki, t.witnesses[i].spki_len },
				      writ_view(&text));
	if (err)
		return cli_fail("ceremony verify", err);
	say_digest(writ_view(&text));
	cli_say("anchor", "has signed");
	for (size_t i = 0; i < t.n_witnesses; i++)
		cli_say("witness", "%s has signed", t.witnesses[i].name);
	return CLI_DONE;
}

int
cmd_ceremony(int argc, char **argv)
{
	static const struct admin_command commands[] = {
		{ "sign", ceremony_sign, "sign a transcript, as one of its witnesses" },
		{ "verify", ceremony_verify, "check a transcript, its anchor's signature and those of its witnesses" },
	};

	return admin_commands("ceremony", commands, N_OF(commands), argc, argv);
}
