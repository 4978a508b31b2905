/*
 * From an authenticated connection to a principal: see auth.h.
 *
 * A certificate is looked at once a connection; OpenSSL has verified its path to one of the anchors given here, and
 * what OpenSSL lets pass (no EKU, CA:TRUE, version 1) is refused here.
 */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/auth/answers.h"
#include "issuer/auth/auth.h"
#include "issuer/auth/lists.h"
#include "issuer/auth/map.h"
#include "issuer/fetch/wire.h"

#define ANCHORS_MAX 64
#define ANCHOR_FILE_MAX (256 * 1024)
#define IDENTITY_ARENA_MAX (128 * 1024)

struct delegators {
	struct auth_delegators conf; /* texts owned by the arena */
	X509 *anchors[ANCHORS_MAX];
	size_t n_anchors;
	struct lists *lists;	 /* CRL; NULL: none is checked */
	struct answers *answers; /* OCSP; NULL: none is asked */
};

struct auth {
	struct writ_bytes trust_domain;
	struct delegators *delegators;
	size_t n_delegators;
	/* Every anchor as DER; [i] belongs to delegators[owner[i]], the last one is ours. */
	struct writ_bytes *anchors;
	uint8_t (*keys)[SHA256_LEN]; /* of their public keys */
	size_t *owner;
	size_t n_anchors;
	struct writ_arena arena;
};

static void
auth_freep(struct auth **auth)
{
	auth_free(*auth);
}

static void
bio_done(BIO **bio)
{
	BIO_free(*bio);
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

static void
eku_done(EXTENDED_KEY_USAGE **eku)
{
	EXTENDED_KEY_USAGE_free(*eku);
}

static const char *
kept(struct auth *auth, const char *text)
{
	return text ? (const char *)writ_arena_copy(&auth->arena, writ_str(text)).data : NULL;
}

/*
 * A renewed CA certificate may stand beside the old one, but a key in two entries would leave it to chance, which of
 * the two a path ends in: human or service.
 */
WRIT_CHECKED static struct writ_err *
anchor_add(struct auth *auth, X509 *cert, struct writ_bytes der, size_t owner, const char *path)
{
	uint8_t key[SHA256_LEN];

	if (X509_pubkey_digest(cert, EVP_sha256(), key, NULL) != 1)
		return writ_fail(WRIT_INVALID, "%s: an anchor's key cannot be read", path);
	for (size_t i = 0; i < auth->n_anchors; i++)
		if (writ_equal(auth->anchors[i], der) ||
		    (auth->owner[i] != owner && memcmp(auth->keys[i], key, sizeof(key)) == 0))
			return writ_fail(
				WRIT_INVALID,
				"%s: an anchor may stand in one delegators entry only, once, and never be ours: "
				"nor may its key",
				path);
	if (auth->n_anchors == ANCHORS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s: more than %d anchors in all", path, ANCHORS_MAX);
	auth->anchors[auth->n_anchors] = writ_arena_copy(&auth->arena, der);
	if (!auth->anchors[auth->n_anchors].data)
		return writ_fail(WRIT_EXHAUSTED, "%s: no room for its anchors", path);
	memcpy(auth->keys[auth->n_anchors], key, sizeof(key));
	auth->owner[auth->n_anchors++] = owner;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
own_anchor_add(struct auth *auth, struct writ_bytes der, size_t owner)
{
	const unsigned char *at = der.data;
	AUTO(x509_done) X509 *cert = d2i_X509(NULL, &at, (long)der.len);

	if (!cert)
		return writ_fail(WRIT_INVALID, "own anchor: it is not one certificate in DER");
	return anchor_add(auth, cert, der, owner, "own anchor");
}

WRIT_CHECKED static struct writ_err *
anchors_read(struct auth *auth, struct delegators *d, size_t owner)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(ANCHOR_FILE_MAX);
	AUTO(bio_done) BIO *bio = NULL;
	struct writ_err *err;

	err = file_read(d->conf.anchors, FILE_CONFIG, &text);
	if (err)
		return err;
	bio = BIO_new_mem_buf(text.data, (int)text.len);
	if (!bio)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory", d->conf.anchors);
	for (;;) {
		AUTO(x509_done) X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		AUTO(der_free) unsigned char *der = NULL;
		int len;

		if (!cert)
			break;
		if (d->n_anchors == ANCHORS_MAX)
			return writ_fail(WRIT_EXHAUSTED, "%s: more than %d anchors", d->conf.anchors, ANCHORS_MAX);
		if (X509_check_ca(cert) != 1)
			return writ_fail(WRIT_INVALID, "%s: holds a certificate that is no CA", d->conf.anchors);
		len = i2d_X509(cert, &der);
		if (len <= 0)
			return writ_fail(WRIT_INVALID, "%s: cannot be encoded", d->conf.anchors);
		err = anchor_add(auth, cert, (struct writ_bytes){ der, (size_t)len }, owner, d->conf.anchors);
		if (err)
			return err;
		d->anchors[d->n_anchors++] = TAKE(cert);
	}
	if (d->n_anchors == 0)
		return writ_fail(WRIT_INVALID, "%s: holds no certificate in PEM", d->conf.anchors);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
delegators_add(struct auth *auth, const struct auth_delegators *conf, size_t at)
{
	struct delegators *d = &auth->delegators[at];
	struct writ_err *err;

	d->conf = *conf;
	d->conf.anchors = kept(auth, conf->anchors);
	d->conf.principal = kept(auth, conf->principal);
	d->conf.crl = kept(auth, conf->crl);
	d->conf.ocsp = kept(auth, conf->ocsp);
	d->conf.state = kept(auth, conf->state);
	if (!d->conf.anchors || !d->conf.principal || (conf->check_crl && !d->conf.crl) ||
	    (conf->ocsp && (!d->conf.ocsp || !d->conf.state)))
		return writ_fail(WRIT_INVALID, "a delegators entry lacks anchors, principal or crl");
	if (conf->kind == PRINCIPAL_AGENT)
		return writ_fail(WRIT_INVALID, "%s: only humans and services are configured; agents hold our leaves",
				 conf->anchors);

	err = map_check(d->conf.principal, d->conf.kind, auth->trust_domain);
	if (err)
		return err;
	err = anchors_read(auth, d, at);
	if (!err && conf->ocsp)
		err = answers_new(d->conf.state, d->conf.ocsp, d->conf.ocsp_max_age_s, d->anchors, d->n_anchors,
				  &d->answers);
	if (err || !conf->check_crl)
		return err;
	return lists_new(d->conf.crl, d->conf.crl_max_age_s, d->anchors, d->n_anchors, &d->lists);
}

struct writ_err *
auth_new(struct writ_bytes trust_domain, const struct auth_delegators *delegators, size_t n,
	 struct writ_bytes own_anchor, struct auth **ret)
{
	AUTO(auth_freep) struct auth *auth = calloc(1, sizeof(*auth));
	struct writ_err *err;

	if (!auth)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the delegators");
	auth->arena = WRIT_ARENA(4u * 1024 * 1024);
	auth->trust_domain = writ_arena_copy(&auth->arena, trust_domain);
	auth->delegators = calloc(n + 1, sizeof(*auth->delegators));
	auth->anchors = calloc(ANCHORS_MAX, sizeof(*auth->anchors));
	auth->keys = calloc(ANCHORS_MAX, sizeof(*auth->keys));
	auth->owner = calloc(ANCHORS_MAX, sizeof(*auth->owner));
	if (!auth->trust_domain.data || !auth->delegators || !auth->anchors || !auth->keys || !auth->owner)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the delegators");

	auth->n_delegators = n;
	err = own_anchor_add(auth, own_anchor, n);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		err = delegators_add(auth, &delegators[i], i);
		if (err)
			return writ_because(err, "delegators entry %zu", i + 1);
	}
	*ret = TAKE(auth);
	return NULL;
}

void
auth_free(struct auth *auth)
{
	if (!auth)
		return;
	for (size_t i = 0; auth->delegators && i < auth->n_delegators; i++) {
		lists_free(auth->delegators[i].lists);
		answers_free(auth->delegators[i].answers);
		for (size_t j = 0; j < auth->delegators[i].n_anchors; j++)
			X509_free(auth->delegators[i].anchors[j]);
	}
	free(auth->delegators);
	free(auth->anchors);
	free(auth->keys);
	free(auth->owner);
	writ_arena_done(&auth->arena);
	free(auth);
}

size_t
auth_anchors(const struct auth *auth, const struct writ_bytes **ret)
{
	*ret = auth->anchors;
	return auth->n_anchors;
}

struct writ_err *
auth_refresh(struct auth *auth, writ_time now)
{
	struct writ_err *first = NULL;

	(void)now; /* age is judged at each request: a list that is not replaced grows old by itself */
	for (size_t i = 0; i < auth->n_delegators; i++) {
		struct writ_err *err = auth->delegators[i].lists ? lists_refresh(auth->delegators[i].lists) : NULL;

		if (err && first)
			writ_err_free(err);
		else if (err)
			first = err;
	}
	return first;
}

WRIT_CHECKED static struct writ_err *
keep(struct identity *id, struct writ_bytes bytes, struct writ_bytes *ret)
{
	*ret = writ_arena_copy(&id->arena, bytes);
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no room for an identity");
}

/* What a client's end-entity certificate must be, beyond what path validation asks. */
WRIT_CHECKED static struct writ_err *
profile_check(X509 *cert)
{
	AUTO(eku_done) EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	bool client = false;

	if (X509_get_version(cert) != X509_VERSION_3)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate is not of version 3");
	if (X509_check_ca(cert) != 0)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the certificate is a CA's: an end-entity certificate is wanted");
	if (ASN1_STRING_length(serial) == 0 || ASN1_STRING_length(serial) > 20 ||
	    ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the certificate's serial is not a positive number of 1 to 20 octets");
	if (!(X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE))
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate's key usage lacks digitalSignature");
	for (int i = 0; i < sk_ASN1_OBJECT_num(eku); i++) {
		const int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(eku, i));

		if (nid == NID_anyExtendedKeyUsage)
			return writ_fail(WRIT_UNAUTHENTICATED, "the certificate's extended key usage is 'any'");
		client = client || nid == NID_client_auth;
	}
	if (!client)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate's extended key usage lacks clientAuth");
	return NULL;
}

static bool
seconds(const ASN1_TIME *from, writ_time *ret)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(from, &tm))
		return false;
	*ret = (writ_time)timegm(&tm);
	return true;
}

WRIT_CHECKED static struct writ_err *
authority_of(X509 *cert, struct identity *ret)
{
	const ASN1_OCTET_STRING *key_id = X509_get0_authority_key_id(cert);
	uint8_t name_sha1[SHA1_LEN];
	char hex[2 * 64 + 1];

	if (key_id && ASN1_STRING_length(key_id) > 0 && ASN1_STRING_length(key_id) <= 64) {
		writ_hex((struct writ_bytes){ ASN1_STRING_get0_data(key_id), (size_t)ASN1_STRING_length(key_id) }, hex);
	} else { /* a CA that names no key: the digest of its name stands for it */
		writ_sha1(ret->cert_issuer, name_sha1);
		writ_hex((struct writ_bytes){ name_sha1, sizeof(name_sha1) }, hex);
	}
	return keep(ret, writ_str(hex), &ret->authority);
}

WRIT_CHECKED static struct writ_err *
identify_person(const struct auth *auth, size_t entry, struct writ_bytes der, struct identity *ret)
{
	const struct auth_delegators *conf = &auth->delegators[entry].conf;
	const unsigned char *at = der.data;
	AUTO(x509_done) X509 *cert = d2i_X509(NULL, &at, (long)der.len);
	AUTO(der_free) unsigned char *issuer = NULL;
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(FETCH_REQUEST_MAX);
	const ASN1_INTEGER *serial;
	struct writ_err *err;
	int issuer_len;

	if (!cert || at != der.data + der.len)
		return writ_fail(WRIT_UNAUTHENTICATED, "the client certificate cannot be read");
	err = profile_check(cert);
	if (err)
		return err;
	err = map_principal(conf->principal, conf->kind, auth->trust_domain, cert, &ret->arena, &ret->principal);
	if (err)
		return err;
	ret->kind = conf->kind;
	ret->delegators = entry;
	if (!seconds(X509_get0_notBefore(cert), &ret->not_before) ||
	    !seconds(X509_get0_notAfter(cert), &ret->not_after))
		return writ_fail(WRIT_UNAUTHENTICATED, "the client certificate's validity is not a time");

	issuer_len = i2d_X509_NAME(X509_get_issuer_name(cert), &issuer);
	serial = X509_get0_serialNumber(cert);
	if (issuer_len <= 0)
		return writ_fail(WRIT_UNAUTHENTICATED, "the client certificate names no issuer");
	err = keep(ret, (struct writ_bytes){ issuer, (size_t)issuer_len }, &ret->cert_issuer);
	if (!err)
		err = keep(ret,
			   (struct writ_bytes){ ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial) },
			   &ret->cert_serial);
	if (!err)
		err = authority_of(cert, ret);
	if (!err && auth->delegators[entry].answers)
		err = answers_request(auth->delegators[entry].answers, cert, &request);
	if (!err && request.len > 0)
		err = keep(ret, writ_view(&request), &ret->ocsp_request);
	return err;
}

/* Our own leaf: read whole by the one reader, so that nothing else below our anchor counts as an agent. */
WRIT_CHECKED static struct writ_err *
identify_agent(const struct auth *auth, struct writ_bytes der, struct identity *ret)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(128 * 1024);
	const struct hop *last;
	struct writ_err *err;
	struct leaf leaf;

	err = leaf_read(der, &arena, &leaf);
	if (err)
		return writ_recode(err, WRIT_UNAUTHENTICATED, "the client certificate is below our anchor and no leaf");
	if (!writ_equal(leaf.trust_domain, auth->trust_domain))
		return writ_fail(WRIT_UNAUTHENTICATED, "the leaf is of trust domain %.*s, ours is %.*s",
				 WRIT_FMT(leaf.trust_domain), WRIT_FMT(auth->trust_domain));
	last = &leaf.delegation.hops[leaf.delegation.n_hops - 1];
	ret->kind = PRINCIPAL_AGENT;
	ret->is_leaf = true;
	ret->delegators = auth->n_delegators;
	ret->not_before = leaf.not_before;
	ret->not_after = leaf.not_after;
	memcpy(ret->serial, leaf.serial.data, sizeof(ret->serial));
	memcpy(ret->edge, last->id.data, sizeof(ret->edge));
	memcpy(ret->spki_sha256, leaf.spki_sha256, sizeof(ret->spki_sha256));
	memcpy(ret->issuer_key_id, leaf.authority_key_id.data, sizeof(ret->issuer_key_id));
	err = keep(ret, leaf.san, &ret->principal);
	if (!err)
		err = keep(ret, leaf.task_id, &ret->task);
	if (!err)
		err = keep(ret, leaf.spki, &ret->spki);
	return err;
}

struct writ_err *
auth_identify(const struct auth *auth, struct writ_bytes cert, struct writ_bytes anchor, struct identity *ret)
{
	struct writ_err *err;
	size_t i = 0;

	*ret = (struct identity){ .arena = WRIT_ARENA(IDENTITY_ARENA_MAX) };
	while (i < auth->n_anchors && !writ_equal(auth->anchors[i], anchor))
		i++;
	if (i == auth->n_anchors)
		return writ_fail(WRIT_UNAUTHENTICATED, "no delegators entry has the anchor of this certificate");
	writ_sha256(cert, ret->cert_sha256);
	err = auth->owner[i] == auth->n_delegators ? identify_agent(auth, cert, ret)
						   : identify_person(auth, auth->owner[i], cert, ret);
	if (err)
		identity_done(ret);
	return err;
}

void
identity_done(struct identity *id)
{
	if (!id)
		return;
	writ_arena_done(&id->arena);
	*id = (struct identity){ 0 };
}

struct writ_err *
auth_check(const struct auth *auth, const struct identity *id, writ_time now)
{
	const char *what = id->is_leaf ? "leaf" : "certificate";
	char at[WRIT_RFC3339_LEN + 1];
	bool ask;

	if (now > id->not_after)
		return writ_fail(WRIT_UNAUTHENTICATED, "%s expired at %s", what, writ_time_rfc3339(id->not_after, at));
	if (now < id->not_before)
		return writ_fail(WRIT_UNAUTHENTICATED, "%s is not valid before %s", what,
				 writ_time_rfc3339(id->not_before, at));
	if (id->delegators >= auth->n_delegators)
		return NULL;
	if (auth->delegators[id->delegators].answers)
		return answers_check(auth->delegators[id->delegators].answers, id->ocsp_request, now, &ask);
	if (!auth->delegators[id->delegators].lists)
		return NULL;
	return lists_check(auth->delegators[id->delegators].lists, id->cert_issuer, id->cert_serial, now);
}

const char *
auth_asks(const struct auth *auth, const struct identity *id, writ_time now)
{
	const struct delegators *d = id->delegators < auth->n_delegators ? &auth->delegators[id->delegators] : NULL;
	bool ask = false;

	if (!d || !d->answers || now > id->not_after)
		return NULL;
	writ_err_free(answers_check(d->answers, id->ocsp_request, now, &ask));
	return ask ? d->conf.ocsp : NULL;
}
