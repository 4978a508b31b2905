/*
 * The keys that sign grants: see grantkeys.h.  Read at the start and at a reload, whole or not at all.
 */
#include "issuer/auth/grantkeys.h"

#include <openssl/x509.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "issuer/x509/ca.h"

#define KEY_FILE_MAX (64 * 1024) /* octets: a certificate with its chain and its text */
#define KEYS_ARENA_MAX (512 * 1024)

struct grantkeys {
	size_t n;
	struct grantkey *list;
	uint8_t (*spki_sha256)[32];
	struct writ_arena arena; /* owns the texts */
};

static void
grantkeys_freep(struct grantkeys **keys)
{
	grantkeys_free(*keys);
}

static void
x509_done(X509 **cert)
{
	X509_free(*cert);
}

static void
der_free(unsigned char **der)
{
	OPENSSL_free(*der);
}

/* The SubjectPublicKeyInfo of a certificate, whatever else the certificate says. */
WRIT_CHECKED static struct writ_err *
spki_of_cert(struct writ_bytes der, struct writ_buf *ret)
{
	const unsigned char *at = der.data;
	AUTO(x509_done) X509 *cert = d2i_X509(NULL, &at, (long)der.len);
	AUTO(der_free) unsigned char *spki = NULL;
	int len;

	if (!cert || at != der.data + der.len)
		return writ_fail(WRIT_INVALID, "the certificate cannot be read");
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
	if (len <= 0)
		return writ_fail(WRIT_INVALID, "the certificate's key cannot be read");
	return writ_buf_add(ret, (struct writ_bytes){ spki, (size_t)len });
}

WRIT_CHECKED static struct writ_err *
spki_read(const char *path, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEY_FILE_MAX), cert = WRIT_BUF(KEY_FILE_MAX);
	struct writ_bytes rest;
	struct writ_err *err;

	err = file_read(path, FILE_CONFIG, &text);
	if (err)
		return err;
	rest = writ_view(&text);
	if (memmem(rest.data, rest.len, "PRIVATE KEY-----", 16))
		return writ_fail(WRIT_INVALID, "it holds a private key: give the public one, and keep the other away");
	err = pem_read("PUBLIC KEY", &rest, ret);
	if (!err || err->code != WRIT_NOT_FOUND)
		return err;
	writ_err_free(err);
	rest = writ_view(&text);
	err = pem_read("CERTIFICATE", &rest, &cert);
	if (!err)
		return spki_of_cert(writ_view(&cert), ret);
	if (err->code != WRIT_NOT_FOUND)
		return err;
	writ_err_free(err);
	return writ_fail(WRIT_INVALID, "it holds neither a PUBLIC KEY nor a CERTIFICATE in PEM");
}

/* I7: of the configured kind, in our trust domain, and whole. */
WRIT_CHECKED static struct writ_err *
principal_check(const struct grantkey_conf *conf, struct writ_bytes trust_domain)
{
	struct spiffe_id id;
	struct writ_err *err = spiffe_parse(writ_str(conf->principal), &id);

	if (err)
		return writ_because(err, "principal");
	if (id.kind == PRINCIPAL_AGENT || id.kind != conf->kind)
		return writ_fail(WRIT_INVALID, "principal %s is not of kind %s", conf->principal,
				 principal_kind_name(conf->kind));
	if (!writ_equal(id.trust_domain, trust_domain))
		return writ_fail(WRIT_INVALID, "principal %s is of trust domain %.*s; ours is %.*s", conf->principal,
				 WRIT_FMT(id.trust_domain), WRIT_FMT(trust_domain));
	return NULL;
}

WRIT_CHECKED static struct writ_err *
key_add(struct grantkeys *keys, const struct grantkey_conf *conf, struct writ_bytes trust_domain)
{
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(KEY_FILE_MAX);
	struct grantkey *key = &keys->list[keys->n];
	uint8_t *digest = keys->spki_sha256[keys->n];
	struct writ_err *err;

	err = principal_check(conf, trust_domain);
	if (!err)
		err = spki_read(conf->path, &spki);
	if (!err)
		err = jws_key_load(writ_view(&spki), &key->key);
	if (err)
		return err;
	keys->n++; /* from here on it is freed with the others */
	if (!jws_key_is_for(&key->key, JWS_ES256) && !jws_key_is_for(&key->key, JWS_EDDSA))
		return writ_fail(WRIT_INVALID, "RSA signs no grant: use P-256 or Ed25519");
	writ_sha256(writ_view(&spki), digest);
	for (size_t i = 0; i + 1 < keys->n; i++) {
		if (writ_equal(keys->list[i].kid, writ_str(conf->kid)))
			return writ_fail(WRIT_INVALID, "kid %s is there twice", conf->kid);
		if (memcmp(keys->spki_sha256[i], digest, sizeof(keys->spki_sha256[i])) == 0)
			return writ_fail(WRIT_INVALID,
					 "its key is that of kid %.*s already: one key is one principal's",
					 WRIT_FMT(keys->list[i].kid));
	}
	key->kind = conf->kind;
	key->kid = writ_arena_copy(&keys->arena, writ_str(conf->kid));
	key->principal = writ_arena_copy(&keys->arena, writ_str(conf->principal));
	if (!key->kid.data || !key->principal.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory");
	return NULL;
}

struct writ_err *
grantkeys_new(struct writ_bytes trust_domain, const struct grantkey_conf *confs, size_t n, struct grantkeys **ret)
{
	AUTO(grantkeys_freep) struct grantkeys *keys = calloc(1, sizeof(*keys));
	struct writ_err *err;

	if (!keys)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the keys of grants");
	keys->arena = WRIT_ARENA(KEYS_ARENA_MAX);
	keys->list = calloc(n + 1, sizeof(*keys->list));
	keys->spki_sha256 = calloc(n + 1, sizeof(*keys->spki_sha256));
	if (!keys->list || !keys->spki_sha256)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the keys of grants");
	for (size_t i = 0; i < n; i++) {
		err = key_add(keys, &confs[i], trust_domain);
		if (err)
			return writ_because(err, "grants.keys: kid %s, %s", confs[i].kid, confs[i].path);
	}
	*ret = TAKE(keys);
	return NULL;
}

void
grantkeys_free(struct grantkeys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; keys->list && i < keys->n; i++)
		jws_key_done(&keys->list[i].key);
	free(keys->list);
	free(keys->spki_sha256);
	writ_arena_done(&keys->arena);
	free(keys);
}

const struct grantkey *
grantkeys_find(const struct grantkeys *keys, struct writ_bytes kid)
{
	for (size_t i = 0; keys && i < keys->n; i++)
		if (writ_equal(keys->list[i].kid, kid))
			return &keys->list[i];
	return NULL;
}
