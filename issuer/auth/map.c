/*
 * From a certificate's name to a principal: see map.h.  Knows the four names a template may ask for, and no other.
 */
#include <openssl/x509v3.h>

#include "base/text.h"
#include "issuer/auth/map.h"

struct placeholder {
	const char *text;
	int type; /* of GENERAL_NAME; -1: the subject's CN */
};

static const struct placeholder placeholders[] = {
	{ "{CN}", -1 },
	{ "{SAN:URI}", GEN_URI },
	{ "{SAN:email}", GEN_EMAIL },
	{ "{SAN:dns}", GEN_DNS },
};

struct map {
	const struct placeholder *name;
	struct writ_bytes before, after;
};

static void
names_done(GENERAL_NAMES **names)
{
	GENERAL_NAMES_free(*names);
}

static void
utf8_done(unsigned char **text)
{
	OPENSSL_free(*text);
}

WRIT_CHECKED static struct writ_err *
map_parse(const char *template_, struct map *ret)
{
	const struct placeholder *found = NULL;
	const char *at = NULL;

	for (size_t i = 0; i < N_OF(placeholders); i++) {
		const char *here = strstr(template_, placeholders[i].text);

		if (!here)
			continue;
		if (found || strstr(here + 1, placeholders[i].text))
			return writ_fail(WRIT_INVALID, "principal template '%s' has more than one placeholder",
					 template_);
		found = &placeholders[i];
		at = here;
	}
	if (!found)
		return writ_fail(
			WRIT_INVALID,
			"principal template '%s' has no placeholder: one of {CN}, {SAN:URI}, {SAN:email}, {SAN:dns}",
			template_);
	ret->name = found;
	ret->before = (struct writ_bytes){ (const uint8_t *)template_, (size_t)(at - template_) };
	ret->after = writ_str(at + strlen(found->text));
	return NULL;
}

/* {SAN:URI} alone: the certificate holds the principal itself. */
static bool
map_is_whole(const struct map *map)
{
	return map->name->type == GEN_URI && map->before.len == 0 && map->after.len == 0;
}

WRIT_CHECKED static struct writ_err *
principal_check(struct writ_bytes principal, enum principal_kind kind, struct writ_bytes trust_domain)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = spiffe_parse(principal, &id);
	if (err)
		return err;
	if (!writ_equal(id.trust_domain, trust_domain))
		return writ_fail(WRIT_INVALID, "'%.*s' is not of trust domain %.*s", WRIT_FMT(principal),
				 WRIT_FMT(trust_domain));
	if (id.kind != kind)
		return writ_fail(WRIT_INVALID, "'%.*s' is not of kind %s", WRIT_FMT(principal),
				 principal_kind_name(kind));
	return NULL;
}

static bool
is_plain(struct writ_bytes value)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] == 0 || !strchr(plain, value.data[i]))
			return false;
	if (writ_equal(value, WRIT_LIT(".")) || writ_equal(value, WRIT_LIT("..")))
		return false;
	return value.len < 4 || memcmp(value.data, "b64.", 4) != 0;
}

struct writ_err *
map_segment(struct writ_bytes value, struct writ_buf *ret)
{
	struct writ_err *err;

	if (is_plain(value))
		return writ_buf_add(ret, value);
	err = writ_buf_add(ret, WRIT_LIT("b64."));
	if (err)
		return err;
	return writ_base64url(value, ret);
}

WRIT_CHECKED static struct writ_err *
map_apply(const struct map *map, struct writ_bytes value, struct writ_buf *ret)
{
	struct writ_err *err;

	if (map_is_whole(map))
		return writ_buf_add(ret, value);
	err = writ_buf_add(ret, map->before);
	if (!err)
		err = map_segment(value, ret);
	if (!err)
		err = writ_buf_add(ret, map->after);
	return err;
}

struct writ_err *
map_check(const char *template_, enum principal_kind kind, struct writ_bytes trust_domain)
{
	AUTO(writ_buf_done) struct writ_buf sample = WRIT_BUF(PRINCIPAL_MAX);
	struct map map;
	struct writ_err *err;

	err = map_parse(template_, &map);
	if (err || map_is_whole(&map))
		return err;
	err = map_apply(&map, WRIT_LIT("x"), &sample);
	if (!err)
		err = principal_check(writ_view(&sample), kind, trust_domain);
	if (err)
		return writ_recode(err, WRIT_INVALID, "principal template '%s'", template_);
	return NULL;
}

/* The subject's one CN, as UTF-8 that OpenSSL allocated. */
WRIT_CHECKED static struct writ_err *
name_from_subject(X509 *cert, unsigned char **ret, size_t *ret_len)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	int len;

	if (at < 0)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate has no CN in its subject");
	if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate has more than one CN in its subject");
	len = ASN1_STRING_to_UTF8(ret, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len < 0) {
		*ret = NULL;
		return writ_fail(WRIT_UNAUTHENTICATED, "the CN of the certificate is not text");
	}
	*ret_len = (size_t)len;
	return NULL;
}

/* The one SAN of a type; a view into `names`. */
WRIT_CHECKED static struct writ_err *
name_from_san(const GENERAL_NAMES *names, const struct placeholder *wanted, struct writ_bytes *ret)
{
	const ASN1_IA5STRING *found = NULL;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != wanted->type)
			continue;
		if (found)
			return writ_fail(WRIT_UNAUTHENTICATED, "the certificate has more than one name of type %s",
					 wanted->text);
		found = name->d.ia5;
	}
	if (!found)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate has no name of type %s", wanted->text);
	*ret = (struct writ_bytes){ ASN1_STRING_get0_data(found), (size_t)ASN1_STRING_length(found) };
	return NULL;
}

struct writ_err *
map_principal(const char *template_, enum principal_kind kind, struct writ_bytes trust_domain, X509 *cert,
	      struct writ_arena *arena, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(PRINCIPAL_MAX);
	AUTO(names_done) GENERAL_NAMES *names = NULL;
	AUTO(utf8_done) unsigned char *cn = NULL;
	struct writ_bytes value = { 0 };
	struct writ_err *err;
	struct map map;

	err = map_parse(template_, &map);
	if (err)
		return err;
	if (map.name->type < 0) {
		err = name_from_subject(cert, &cn, &value.len);
		value.data = cn;
	} else {
		names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
		err = name_from_san(names, map.name, &value);
	}
	if (err)
		return err;
	if (value.len == 0 || !writ_is_clean_utf8(value))
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate's %s is empty or has control characters",
				 map.name->text);

	err = map_apply(&map, value, &out);
	if (!err)
		err = principal_check(writ_view(&out), kind, trust_domain);
	if (err)
		return writ_recode(err, WRIT_UNAUTHENTICATED, "the certificate's %s gives no principal",
				   map.name->text);
	*ret = writ_arena_copy(arena, writ_view(&out));
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no room for a principal");
}
