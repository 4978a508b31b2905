/*
 * A signing key of the user's own: see sign_with.h.
 */
#include "issuer/cli/sign_with.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/keys.h"
#include "issuer/cli/own_device.h"
#include "issuer/x509/ca.h"

#define TPM_PREFIX "tpm2:"
#define PKCS11_PREFIX "pkcs11:"
#define TPM_AUTH_LEN 32	     /* bytes: what writ-deviced wants in an auth file, as hex */
#define PUBLIC_FILE_MAX (8 * 1024)
#define URI_MAX 1024

enum where { IN_FILE, IN_TPM, IN_TOKEN };

struct sign_with {
	enum where where;
	EVP_PKEY *pkey; /* IN_FILE */
	struct own_device own; /* the others */
	uint32_t handle;
	enum key_kind kind;
	struct writ_buf spki;
};

static bool
begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum where
where_of(const char *name)
{
	return begins(name, TPM_PREFIX) ? IN_TPM : begins(name, PKCS11_PREFIX) ? IN_TOKEN : IN_FILE;
}

void
sign_with_close(struct sign_with *s)
{
	if (!s)
		return;
	EVP_PKEY_free(s->pkey);
	own_device_end(&s->own);
	writ_buf_done(&s->spki);
	free(s);
}

void
sign_with_closep(struct sign_with **s)
{
	sign_with_close(*s);
}

/* Which options go with which key: a setting that would be ignored is refused. */
static struct writ_err *
options_check(const struct options *o, const char *name, enum where where, bool making)
{
	static const struct {
		const char *option;
		bool needed[3]; /* by `where` */
		bool allowed[3];
	} rules[] = {
		{ "--public", { false, true, true }, { false, true, true } },
		{ "--tpm", { false, true, false }, { false, true, false } },
		{ "--allow-software-tpm", { false, false, false }, { false, true, false } },
		{ "--auth-file", { false, true, false }, { false, true, false } },
		{ "--module", { false, false, true }, { false, false, true } },
		{ "--pin-file", { false, false, true }, { false, false, true } },
		{ "--env", { false, false, false }, { false, false, true } },
	};
	static const char *const keys[] = { "a key in a file", "a key in a TPM", "a key in a token" };

	for (size_t i = 0; i < N_OF(rules); i++) {
		const bool given = option_given(o, rules[i].option);
		const bool public = making && i == 0; /* a new key's public half is written wherever the key is */

		if ((rules[i].needed[where] || public) && !given)
			return writ_fail(WRIT_INVALID, "%s is missing: %s '%.40s' needs it", rules[i].option,
					 keys[where], name);
		if (given && !rules[i].allowed[where] && !public)
			return writ_fail(WRIT_INVALID, "%s does not go with %s", rules[i].option, keys[where]);
	}
	return NULL;
}

/* ---- files ---- */

static struct writ_err *
public_read(const char *path, struct sign_with *s)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PUBLIC_FILE_MAX);
	struct writ_bytes rest, raw;
	struct writ_err *err;

	err = file_read(path, FILE_ANY, &text);
	if (err)
		return err;
	rest = writ_view(&text);
	err = pem_read("PUBLIC KEY", &rest, &s->spki);
	if (!err)
		err = spki_parse(writ_view(&s->spki), &s->kind, &raw);
	return err ? writ_because(err, "--public %s", path) : NULL;
}

static struct writ_err *
public_write(const char *path, struct writ_bytes spki)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(PUBLIC_FILE_MAX);
	struct writ_err *err = pem_write("PUBLIC KEY", spki, &pem);

	return err ? err : cli_write(path, 0644, writ_view(&pem));
}

static struct writ_err *
is_new(const char *path)
{
	if (access(path, F_OK) == 0)
		return writ_fail(WRIT_CONFLICT, "%s is there already: a new key never replaces one", path);
	return NULL;
}

static struct writ_err *
file_spki(struct sign_with *s)
{
	unsigned char *der = NULL;
	const int len = i2d_PUBKEY(s->pkey, &der);
	struct writ_bytes raw;
	struct writ_err *err;

	if (len <= 0)
		return writ_fail(WRIT_INVALID, "the public key cannot be encoded");
	err = writ_buf_add(&s->spki, (struct writ_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	return err ? err : spki_parse(writ_view(&s->spki), &s->kind, &raw);
}

static struct writ_err *
file_sign(struct sign_with *s, struct writ_bytes message, struct writ_buf *ret)
{
	const char *const md = s->kind == KEY_P256 ? "SHA256" : s->kind == KEY_P384 ? "SHA384" : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t len = sizeof(signature);
	const bool good = ctx && EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, s->pkey, NULL) == 1 &&
			  EVP_DigestSign(ctx, signature, &len, message.data, message.len) == 1;

	EVP_MD_CTX_free(ctx);
	if (!good)
		return writ_fail(WRIT_BROKEN, "OpenSSL made no signature with this key");
	return writ_buf_add(ret, (struct writ_bytes){ signature, len });
}

static struct writ_err *
file_make(const char *path, enum key_kind kind, struct sign_with *s)
{
	struct writ_err *err;
	BIO *bio;
	int fd;

	s->pkey = kind == KEY_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen(key_kind_name(kind));
	if (!s->pkey)
		return writ_fail(WRIT_BROKEN, "OpenSSL made no %s key", key_kind_name(kind));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? is_new(path) : writ_fail_errno(errno, "%s cannot be made", path);
	bio = BIO_new_fd(fd, BIO_CLOSE);
	err = bio && PEM_write_bio_PrivateKey(bio, s->pkey, NULL, NULL, 0, NULL, NULL) == 1 && fsync(fd) == 0
		      ? NULL
		      : writ_fail_errno(errno, "%s cannot be written", path);
	BIO_free(bio);
	return err ? err : file_spki(s);
}

/* ---- devices ---- */

/* A token's URI: that of a key, without what names the key. */
static struct writ_err *
token_uri(const char *uri, char ret[URI_MAX])
{
	static const char *const of_key[] = { "id=", "object=", "type=" };
	size_t len = strlen(PKCS11_PREFIX);
	const char *at = uri + len;

	if (strlen(uri) >= URI_MAX || strchr(uri, '?'))
		return writ_fail(
			WRIT_INVALID,
			"the PKCS#11 URI has over %d bytes, or a query: module and PIN have options of their own",
			URI_MAX - 1);
	memcpy(ret, PKCS11_PREFIX, len + 1);
	while (*at) {
		const size_t n = strcspn(at, ";");
		bool keep = n > 0;

		for (size_t i = 0; i < N_OF(of_key); i++)
			keep = keep && !begins(at, of_key[i]);
		if (keep) {
			if (ret[len - 1] != ':')
				ret[len++] = ';';
			memcpy(ret + len, at, n);
			len += n;
		}
		at += n + (at[n] == ';');
	}
	ret[len] = '\0';
	return NULL;
}

static struct writ_err *
deviced_start(const struct options *o, const char *token, struct sign_with *s)
{
	struct own_device_words words = { 0 };
	const char *const *env;
	size_t n_env = option_list(o, "--env", &env);
	struct writ_err *err;

	if (s->where == IN_TPM) {
		own_device_word(&words, "--tpm", option(o, "--tpm"));
		own_device_word(&words, "--auth-file", option(o, "--auth-file"));
		if (option_given(o, "--allow-software-tpm"))
			own_device_word(&words, "--allow-software-tpm", NULL);
	} else {
		own_device_word(&words, "--pkcs11", option(o, "--module"));
		own_device_word(&words, "--uri", token);
		own_device_word(&words, "--pin-file", option(o, "--pin-file"));
		for (size_t i = 0; i < n_env && i < 16; i++)
			own_device_word(&words, "--env", env[i]);
	}
	err = own_device_start(&words, -1, &s->own);
	return err ? writ_because(err, "the device") : NULL;
}

/* How the device finds the key again: what is in the key file, or the URI. */
static struct writ_err *
reference(const char *name, enum where where, struct writ_buf *ret)
{
	if (where == IN_TPM)
		return file_read(name + strlen(TPM_PREFIX), FILE_ANY, ret);
	return writ_buf_add(ret, writ_str(name));
}

static struct writ_err *
device_key_open(const struct options *o, const char *name, struct sign_with *s)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	char token[URI_MAX] = "";
	struct writ_err *err = public_read(option(o, "--public"), s);

	if (!err)
		err = reference(name, s->where, &ref);
	if (!err && s->where == IN_TOKEN)
		err = token_uri(name, token);
	if (!err)
		err = deviced_start(o, token, s);
	if (!err)
		err = device_load(s->own.device, writ_view(&ref), writ_view(&s->spki), &s->handle);
	return err;
}

/* The TPM keys' auth value: made once, readable by nobody else, never printed. */
static struct writ_err *
auth_file_make(const char *path)
{
	char hex[2 * TPM_AUTH_LEN + 2];
	uint8_t auth[TPM_AUTH_LEN];
	ssize_t n;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		return NULL;
	if (fd < 0)
		return writ_fail_errno(errno, "--auth-file %s cannot be made", path);
	writ_random(auth, sizeof(auth));
	writ_hex((struct writ_bytes){ auth, sizeof(auth) }, hex);
	explicit_bzero(auth, sizeof(auth));
	hex[2 * TPM_AUTH_LEN] = '\n';
	n = write(fd, hex, 2 * TPM_AUTH_LEN + 1);
	explicit_bzero(hex, sizeof(hex));
	if (n != 2 * TPM_AUTH_LEN + 1 || fsync(fd) != 0) {
		close(fd);
		return writ_fail_errno(errno, "--auth-file %s cannot be written", path);
	}
	close(fd);
	return NULL;
}

static struct writ_err *
device_make(const struct options *o, const char *name, enum key_kind kind, const char *label, struct sign_with *s,
	    struct writ_buf *ret_name)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	struct writ_err *err = NULL;

	if (s->where == IN_TPM)
		err = is_new(name + strlen(TPM_PREFIX));
	if (!err && s->where == IN_TPM)
		err = auth_file_make(option(o, "--auth-file"));
	if (!err)
		err = deviced_start(o, name, s);
	if (!err)
		err = device_make_key(s->own.device, kind, label, &ref, &s->spki);
	if (!err && s->where == IN_TPM)
		err = cli_write(name + strlen(TPM_PREFIX), 0600, writ_view(&ref));
	if (err)
		return err;
	return writ_buf_add(ret_name, s->where == IN_TPM ? writ_str(name) : writ_view(&ref));
}

/* ---- both ---- */

static struct sign_with *
new_one(const char *name)
{
	struct sign_with *s = calloc(1, sizeof(*s));

	if (s) {
		s->where = where_of(name);
		s->spki = WRIT_BUF(PUBLIC_FILE_MAX);
	}
	return s;
}

struct writ_err *
sign_with_open(const struct options *o, struct sign_with **ret)
{
	const char *const name = option(o, "--sign-with");
	AUTO(sign_with_closep) struct sign_with *s = new_one(name);
	struct writ_err *err;

	if (!s)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a key");
	err = options_check(o, name, s->where, false);
	if (!err && s->where != IN_FILE)
		err = device_key_open(o, name, s);
	if (!err && s->where == IN_FILE)
		err = keys_private(name, &s->pkey);
	if (!err && s->where == IN_FILE)
		err = file_spki(s);
	if (err)
		return err;
	*ret = TAKE(s);
	return NULL;
}

struct writ_err *
sign_with_make(const struct options *o, enum key_kind kind, const char *label, struct writ_buf *ret_name)
{
	const char *const name = option(o, "--make");
	AUTO(sign_with_closep) struct sign_with *s = new_one(name);
	struct writ_err *err;

	if (!s)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a key");
	err = options_check(o, name, s->where, true);
	if (!err)
		err = is_new(option(o, "--public"));
	if (!err && s->where != IN_FILE)
		err = device_make(o, name, kind, label, s, ret_name);
	if (!err && s->where == IN_FILE)
		err = file_make(name, kind, s);
	if (!err && s->where == IN_FILE)
		err = writ_buf_add(ret_name, writ_str(name));
	return err ? err : public_write(option(o, "--public"), writ_view(&s->spki));
}

enum key_kind
sign_with_kind(const struct sign_with *s)
{
	return s->kind;
}

struct writ_bytes
sign_with_spki(const struct sign_with *s)
{
	return writ_view(&s->spki);
}

struct writ_err *
sign_with_sign(struct sign_with *s, struct writ_bytes message, struct writ_buf *ret)
{
	return s->where == IN_FILE ? file_sign(s, message, ret) : device_sign(s->own.device, s->handle, message, ret);
}
