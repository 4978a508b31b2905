/*
 * Reading what users have: PEM files of any kind, through OpenSSL's own readers.
 */
#include "issuer/cli/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/pubkey.h"
#include "base/text.h"
#include "issuer/x509/ca.h"

#define PEM_FILE_MAX (64 * 1024)

void
keys_pkey_done(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void
bio_done(BIO **bio)
{
	BIO_free_all(*bio);
}

static void
request_done(X509_REQ **request)
{
	X509_REQ_free(*request);
}

static void
certificate_done(X509 **certificate)
{
	X509_free(*certificate);
}

static void
der_done(unsigned char **der)
{
	OPENSSL_free(*der);
}

/* A file that is not there, or not ours to read, is no better later. */
static struct writ_err *
unreadable(const char *path, int errno_value)
{
	if (errno_value == ENOENT)
		return writ_fail(WRIT_NOT_FOUND, "%s does not exist", path);
	return writ_fail(WRIT_INVALID, "%s cannot be read: %s", path, strerror(errno_value));
}

static struct writ_err *
spki_of(EVP_PKEY *pkey, const char *path, struct writ_buf *ret)
{
	AUTO(der_done) unsigned char *der = NULL;
	int len = i2d_PUBKEY(pkey, &der);
	struct writ_bytes raw;
	enum key_kind kind;
	struct writ_err *err;

	if (len <= 0)
		return writ_fail(WRIT_INVALID, "%s: its public key cannot be encoded", path);
	err = spki_parse((struct writ_bytes){ der, (size_t)len }, &kind, &raw);
	if (err)
		return writ_because(err, "%s", path);
	return writ_buf_add(ret, (struct writ_bytes){ der, (size_t)len });
}

struct writ_err *
keys_private(const char *path, EVP_PKEY **ret)
{
	AUTO(bio_done) BIO *bio = BIO_new_file(path, "r");
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(4096);
	struct writ_err *err;

	*ret = NULL;
	if (!bio)
		return unreadable(path, errno);
	*ret = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	if (!*ret)
		return writ_fail(WRIT_INVALID, "%s: no private key in PEM form", path);
	err = spki_of(*ret, path, &spki);
	if (err)
		keys_pkey_done(ret);
	return err;
}

struct writ_err *
keys_make(const char *path, EVP_PKEY **ret)
{
	AUTO(keys_pkey_done) EVP_PKEY *pkey = EVP_EC_gen("P-256");
	AUTO(bio_done) BIO *bio = NULL;
	int fd;

	*ret = NULL;
	if (!pkey)
		return writ_fail(WRIT_BROKEN, "OpenSSL made no P-256 key");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return writ_fail(WRIT_CONFLICT,
				 "%s is there already: a new key never replaces one; leave --new-key away to use it",
				 path);
	if (fd < 0)
		return writ_fail_errno(errno, "%s cannot be made", path);
	bio = BIO_new_fd(fd, BIO_CLOSE);
	if (!bio || !PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) || fsync(fd) != 0)
		return writ_fail_errno(errno, "%s cannot be written", path);
	*ret = TAKE(pkey);
	return NULL;
}

/* The public key of whatever PEM block the file begins with. */
static EVP_PKEY *
any_public(BIO *bio)
{
	AUTO(request_done) X509_REQ *request = NULL;
	AUTO(certificate_done) X509 *certificate = NULL;
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	if (!pkey && BIO_seek(bio, 0) == 0)
		pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	if (!pkey && BIO_seek(bio, 0) == 0 && (request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL)))
		pkey = X509_REQ_get_pubkey(request);
	if (!pkey && BIO_seek(bio, 0) == 0 && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		pkey = X509_get_pubkey(certificate);
	return pkey;
}

struct writ_err *
keys_spki_sha256(const char *path, char ret_hex[65])
{
	AUTO(bio_done) BIO *bio = BIO_new_file(path, "r");
	AUTO(keys_pkey_done) EVP_PKEY *pkey = NULL;
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(4096);
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	if (!bio)
		return unreadable(path, errno);
	pkey = any_public(bio);
	if (!pkey)
		return writ_fail(WRIT_INVALID, "%s: neither a key, a request nor a certificate in PEM form", path);
	err = spki_of(pkey, path, &spki);
	if (err)
		return err;
	writ_sha256(writ_view(&spki), digest);
	writ_hex((struct writ_bytes){ digest, sizeof(digest) }, ret_hex);
	return NULL;
}

struct writ_err *
keys_csr(EVP_PKEY *pkey, struct writ_buf *ret_der)
{
	AUTO(request_done) X509_REQ *request = X509_REQ_new();
	AUTO(der_done) unsigned char *der = NULL;
	const EVP_MD *digest = EVP_PKEY_get_bits(pkey) == 384 ? EVP_sha384() : EVP_sha256();
	int len;

	if (EVP_PKEY_is_a(pkey, "ED25519"))
		digest = NULL;
	if (!request || !X509_REQ_set_version(request, X509_REQ_VERSION_1) || !X509_REQ_set_pubkey(request, pkey) ||
	    !X509_REQ_sign(request, pkey, digest) || (len = i2d_X509_REQ(request, &der)) <= 0)
		return writ_fail(WRIT_BROKEN, "OpenSSL made no certification request with this key");
	return writ_buf_add(ret_der, (struct writ_bytes){ der, (size_t)len });
}

struct writ_err *
keys_certificates(const char *path, struct writ_buf *ret, size_t max, size_t *ret_n)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(PEM_FILE_MAX);
	struct writ_bytes rest;
	struct writ_err *err;

	*ret_n = 0;
	err = file_read(path, FILE_ANY, &file);
	if (err)
		return err;
	rest = writ_view(&file);
	if (rest.len && rest.data[0] == 0x30) {
		*ret_n = 1;
		return writ_buf_add(ret, rest);
	}
	while (*ret_n < max) {
		err = pem_read("CERTIFICATE", &rest, ret);
		if (err && err->code == WRIT_NOT_FOUND && *ret_n > 0) {
			writ_err_free(err);
			return NULL;
		}
		if (err)
			return writ_because(err, "%s", path);
		++*ret_n;
	}
	return NULL;
}

bool
keys_is_leaf(const char *path)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(PEM_FILE_MAX);
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	struct leaf leaf;
	size_t n;
	struct writ_err *err = keys_certificates(path, &der, 1, &n);

	if (!err)
		err = leaf_read(writ_view(&der), &arena, &leaf);
	if (!err)
		return true;
	writ_err_free(err);
	return false;
}
