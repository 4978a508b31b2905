/*
 * writ custody attest: asks the running signer for a custody statement; writ custody challenge: what an auditor asks
 * with, so that the answer shows which TPM the attestation key is in.
 *
 * A challenge holds a secret that only the TPM with a certain endorsement key gives back, and only while it holds the
 * attestation key; the auditor keeps the secret.  It is made from an earlier bundle of the same machine, which names
 * both keys.
 */
#include "base/file.h"
#include "base/frame.h"
#include "base/text.h"
#include "hsm/credential.h"
#include "issuer/cli/admin.h"
#include "issuer/cli/custody_bundle.h"
#include "issuer/cli/custody_ek.h"
#include "issuer/log/json.h"

#define CHALLENGE_MAX 4096 /* bytes of the file */

static struct writ_err *
nonce_option(const char *hex, uint8_t out[ATTEST_NONCE_MAX], size_t *ret_len)
{
	const size_t len = strlen(hex);

	*ret_len = len / 2;
	if (len % 2 == 0 && *ret_len >= ATTEST_NONCE_MIN && *ret_len <= ATTEST_NONCE_MAX &&
	    writ_unhex(writ_str(hex), out, *ret_len))
		return NULL;
	return writ_fail(WRIT_INVALID, "--nonce: %d to %d bytes in hex are wanted, chosen at random by who verifies",
			 ATTEST_NONCE_MIN, ATTEST_NONCE_MAX);
}

/* ---- attest ---- */

static const char *const challenge_members[] = { "credential", "encrypted", "nonce", "version", NULL };

struct question {
	struct writ_arena arena;
	struct writ_bytes nonce, id_object, encrypted;
};

static void
question_done(struct question *q)
{
	writ_arena_done(&q->arena);
}

static struct writ_err *
question_read(const char *path, struct question *ret)
{
	json_t *json = NULL;
	struct writ_err *err = custody_json_read(path, CHALLENGE_MAX, challenge_members, &json);

	if (!err)
		err = custody_hex(json, "nonce", ATTEST_NONCE_MIN, ATTEST_NONCE_MAX, &ret->arena, &ret->nonce);
	if (!err)
		err = custody_base64(json_object_get(json, "credential"), "credential", ATTEST_ID_OBJECT_MAX,
				     &ret->arena, &ret->id_object);
	if (!err)
		err = custody_base64(json_object_get(json, "encrypted"), "encrypted", ATTEST_ENCRYPTED_MAX, &ret->arena,
				     &ret->encrypted);
	json_decref(json);
	return err;
}

static struct writ_err *
question_of(const struct options *o, struct question *ret)
{
	const char *const nonce = option(o, "--nonce"), *const challenge = option(o, "--challenge");
	uint8_t bytes[ATTEST_NONCE_MAX];
	struct writ_err *err;
	size_t len = 0;

	if (!nonce == !challenge)
		return writ_fail(WRIT_INVALID,
				 "one of --nonce and --challenge is wanted: a challenge has its own nonce");
	if (challenge)
		return question_read(challenge, ret);
	err = nonce_option(nonce, bytes, &len);
	if (err)
		return err;
	ret->nonce = writ_arena_copy(&ret->arena, (struct writ_bytes){ bytes, len });
	return ret->nonce.data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a nonce");
}

static struct writ_err *
ask(const struct options *o, const struct question *q, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(conf_done) struct conf conf = { 0 };
	struct body_out out = { .buf = &body };
	struct writ_err *err = conf_read(option(o, "--config"), &conf);

	if (err)
		return err;
	body_put_bytes(&out, q->nonce);
	body_put_bytes(&out, q->id_object);
	body_put_bytes(&out, q->encrypted);
	if (out.failed)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	err = admin_ask(conf.run, ADMIN_ATTEST, writ_view(&body), ATTEST_TIMEOUT_MS, ret);
	return err ? err : writ_buf_add(ret, WRIT_LIT("\n"));
}

int
custody_attest(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--config", OPTION_VALUE, true, "WRIT_CONFIG" },
		{ "--nonce", OPTION_VALUE, false, NULL },
		{ "--challenge", OPTION_VALUE, false, NULL },
		{ "--out", OPTION_VALUE, false, NULL },
	};
	AUTO(question_done) struct question question = { .arena = WRIT_ARENA(CHALLENGE_MAX * 4) };
	AUTO(writ_buf_done) struct writ_buf bundle = WRIT_BUF(CUSTODY_BUNDLE_MAX);
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = question_of(&o, &question);
	if (err)
		return cli_misused("custody attest", err);
	err = ask(&o, &question, &bundle);
	if (!err)
		err = cli_write(option_given(&o, "--out") ? option(&o, "--out") : "-", 0644, writ_view(&bundle));
	return err ? cli_fail("custody attest", err) : CLI_DONE;
}

/* ---- challenge ---- */

static void
put_base64(struct canon_out *out, const char *key, struct writ_bytes bytes)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(CHALLENGE_MAX);
	struct writ_err *err = writ_base64(bytes, &text);

	if (err)
		out->failed = true;
	writ_err_free(err);
	canon_text(out, key, writ_view(&text));
}

static struct writ_err *
finish_and_write(struct canon_out *out, const char *path, unsigned mode)
{
	struct writ_err *err;

	canon_int(out, "version", 1);
	canon_end(out);
	err = canon_finish(out);
	if (!err)
		err = writ_buf_add(out->buf, WRIT_LIT("\n"));
	return err ? err : cli_write(path, mode, writ_view(out->buf));
}

/* The auditor's file first: a challenge without its secret is of no use to anybody. */
static struct writ_err *
write_files(const struct options *o, const uint8_t name[TPM_NAME_LEN], const struct writ_secret *secret,
	    struct writ_bytes id_object, struct writ_bytes encrypted)
{
	AUTO(writ_buf_done) struct writ_buf kept = WRIT_BUF(CHALLENGE_MAX), sent = WRIT_BUF(CHALLENGE_MAX);
	struct canon_out out = canon_write(&kept);
	uint8_t nonce[32];
	struct writ_err *err;

	writ_random(nonce, sizeof(nonce));
	canon_object(&out, NULL);
	canon_hex(&out, "ak", (struct writ_bytes){ name, TPM_NAME_LEN });
	canon_hex(&out, "nonce", (struct writ_bytes){ nonce, sizeof(nonce) });
	canon_hex(&out, "secret", (struct writ_bytes){ secret->data, secret->len });
	err = finish_and_write(&out, option(o, "--secret"), 0600);
	if (err)
		return err;
	out = canon_write(&sent);
	canon_object(&out, NULL);
	put_base64(&out, "credential", id_object);
	put_base64(&out, "encrypted", encrypted);
	canon_hex(&out, "nonce", (struct writ_bytes){ nonce, sizeof(nonce) });
	return finish_and_write(&out, option(o, "--out"), 0644);
}

static struct writ_err *
challenge(const struct options *o)
{
	AUTO(writ_buf_done)
	struct writ_buf object = WRIT_BUF(ATTEST_ID_OBJECT_MAX),
			encrypted = WRIT_BUF(ATTEST_ENCRYPTED_MAX);
	AUTO(custody_bundle_done) struct custody_bundle bundle = { 0 };
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	AUTO(ek_freep) X509 *ek = NULL;
	struct tpm_area ak;
	struct writ_err *err = writ_secret_start();

	if (!err)
		err = custody_bundle_read(o->arguments[0], &bundle);
	if (!err && (bundle.ak.len == 0 || bundle.ek.len == 0))
		err = writ_fail(WRIT_INVALID, "%s names no attestation key with a certified endorsement key",
				o->arguments[0]);
	if (!err)
		err = tpm_area_read(bundle.ak, &ak);
	if (!err)
		err = ek_read(bundle.ek, &ek);
	if (!err)
		err = ek_check(ek, option(o, "--ek-roots"), option(o, "--ek-chain"), clock_read().wall);
	if (!err)
		err = writ_secret_random(&secret, ATTEST_SECRET_LEN);
	if (!err)
		err = credential_make(X509_get0_pubkey(ek), ak.name, &secret, &object, &encrypted);
	return err ? err : write_files(o, ak.name, &secret, writ_view(&object), writ_view(&encrypted));
}

int
custody_challenge(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--ek-roots", OPTION_VALUE, true, NULL },
		{ "--ek-chain", OPTION_VALUE, false, NULL },
		{ "--out", OPTION_VALUE, true, NULL },
		{ "--secret", OPTION_VALUE, true, NULL },
	};
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (err)
		return cli_misused("custody challenge", err);
	err = challenge(&o);
	return err ? cli_fail("custody challenge", err) : CLI_DONE;
}
