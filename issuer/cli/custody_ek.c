/*
 * Certificates of endorsement keys, by OpenSSL: makers sign them with RSA, and with names and extensions that our own
 * strict reader has no use for.
 */
#include "issuer/cli/custody_ek.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"

#define PEM_MAX (1024 * 1024) /* bytes of a file of roots: all makers' together have less */

struct writ_err *
ek_read(struct writ_bytes der, X509 **ret)
{
	const unsigned char *at = der.data;

	*ret = der.len > 0 ? d2i_X509(NULL, &at, (long)der.len) : NULL;
	if (*ret && at == der.data + der.len)
		return NULL;
	ek_freep(ret);
	ERR_clear_error();
	return writ_fail(WRIT_INVALID, "the endorsement key's certificate is not one certificate");
}

void
ek_freep(X509 **cert)
{
	X509_free(*cert);
	*cert = NULL;
}

static void
stack_freep(STACK_OF(X509) * *stack)
{
	sk_X509_pop_free(*stack, X509_free);
}

static struct writ_err *
pem_certificates(const char *path, STACK_OF(X509) * ret)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(PEM_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &file);
	BIO *bio;
	X509 *cert;

	if (err)
		return err;
	bio = BIO_new_mem_buf(file.data, (int)file.len);
	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		if (sk_X509_push(ret, cert) <= 0)
			X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return sk_X509_num(ret) > 0 ? NULL : writ_fail(WRIT_INVALID, "%s holds no certificate in PEM", path);
}

/* tcg-kp-EKCertificate, where usages are named at all. */
static bool
usage_fits(X509 *cert)
{
	ASN1_OBJECT *const wanted = OBJ_txt2obj("2.23.133.8.1", 1);
	EXTENDED_KEY_USAGE *const usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	bool fits = !usages && X509_get_ext_by_NID(cert, NID_ext_key_usage, -1) < 0;

	for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++)
		fits = fits || OBJ_cmp(sk_ASN1_OBJECT_value(usages, i), wanted) == 0;
	sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
	ASN1_OBJECT_free(wanted);
	return fits;
}

/* Pinned as they stand: any certificate of `roots` ends the chain. */
static struct writ_err *
chain_check(X509 *cert, STACK_OF(X509) * roots, STACK_OF(X509) * chain, writ_time now)
{
	X509_STORE *const store = X509_STORE_new();
	X509_STORE_CTX *const ctx = X509_STORE_CTX_new();
	struct writ_err *err = NULL;

	if (!store || !ctx || X509_STORE_CTX_init(ctx, store, cert, chain) != 1)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for a path");
	if (!err) {
		X509_STORE_CTX_set0_trusted_stack(ctx, roots);
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
		X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
		if (X509_verify_cert(ctx) != 1)
			err = writ_fail(WRIT_INVALID, "no path to a pinned root: %s",
					X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return err;
}

struct writ_err *
ek_check(X509 *cert, const char *roots_path, const char *chain_path, writ_time now)
{
	AUTO(stack_freep) STACK_OF(X509) *roots = sk_X509_new_null(), *chain = sk_X509_new_null();
	struct writ_err *err;

	if (!roots || !chain)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a path");
	err = pem_certificates(roots_path, roots);
	if (!err && chain_path)
		err = pem_certificates(chain_path, chain);
	if (!err && X509_check_ca(cert) == 1)
		err = writ_fail(WRIT_INVALID, "it is a CA's certificate, not a key's of a TPM");
	if (!err && !usage_fits(cert))
		err = writ_fail(WRIT_INVALID, "its extended key usage is not an endorsement key's (2.23.133.8.1)");
	return err ? err : chain_check(cert, roots, chain, now);
}
