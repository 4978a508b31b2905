/*
 * ID tokens: see oidc.h.  The signature is checked before any claim but `iss`, which says whose key it must be, and
 * `iat`, which says whether that key may be newer than our copy of the set.
 */
#include "issuer/auth/oidc.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/auth/jwks.h"
#include "issuer/auth/map.h"

#define CLAIMS_DEPTH_MAX 16
#define AUDIENCES_MAX 16
#define ACR_MAX 128 /* AuthEvidence.acr */
#define INTEGER_MAX INT64_C(9007199254740991)

struct provider {
	struct oidc_provider conf;
	bool seen_any;
	struct stat seen;	    /* of the file when it was read last, good or not */
	char why[WRIT_MESSAGE_MAX]; /* of the last reading; empty: it was good */
	bool have;
	struct jwks jwks;    /* the last good set */
	writ_time read_from; /* the time of its file */
};

struct oidc {
	struct writ_bytes trust_domain;
	struct writ_arena arena;
	pthread_mutex_t lock; /* over the keys: people log in a few times a day */
	size_t n;
	struct provider *providers;
};

static void
json_done(json_t **json)
{
	json_decref(*json);
}

/* ---- configuration ---- */

static const char *
kept(struct oidc *oidc, const char *text)
{
	return (const char *)writ_arena_copy(&oidc->arena, writ_str(text)).data;
}

WRIT_CHECKED static struct writ_err *
provider_add(struct oidc *oidc, const struct oidc_provider *conf)
{
	struct provider *p = &oidc->providers[oidc->n];
	const char **acr = writ_arena_take(&oidc->arena, (conf->n_acr + 1) * sizeof(*acr));

	p->conf = *conf;
	p->conf.alias = kept(oidc, conf->alias);
	p->conf.issuer = kept(oidc, conf->issuer);
	p->conf.client_id = kept(oidc, conf->client_id);
	p->conf.keys = kept(oidc, conf->keys);
	p->conf.acr = acr;
	if (!acr || !p->conf.alias || !p->conf.issuer || !p->conf.client_id || !p->conf.keys)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
	for (size_t i = 0; i < conf->n_acr; i++) {
		acr[i] = kept(oidc, conf->acr[i]);
		if (!acr[i])
			return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
	}
	oidc->n++;
	return NULL;
}

static void
oidc_freep(struct oidc **oidc)
{
	oidc_free(*oidc);
}

struct writ_err *
oidc_new(struct writ_bytes trust_domain, const struct oidc_provider *providers, size_t n, struct oidc **ret)
{
	AUTO(oidc_freep) struct oidc *oidc = calloc(1, sizeof(*oidc));

	if (!oidc)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
	oidc->arena = WRIT_ARENA(1024 * 1024);
	pthread_mutex_init(&oidc->lock, NULL);
	oidc->providers = calloc(n + 1, sizeof(*oidc->providers));
	oidc->trust_domain = writ_arena_copy(&oidc->arena, trust_domain);
	if (!oidc->providers || !oidc->trust_domain.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
	for (size_t i = 0; i < n; i++) {
		struct writ_err *err = provider_add(oidc, &providers[i]);

		if (err)
			return err;
	}
	*ret = TAKE(oidc);
	return NULL;
}

void
oidc_free(struct oidc *oidc)
{
	if (!oidc)
		return;
	for (size_t i = 0; i < oidc->n; i++)
		jwks_done(&oidc->providers[i].jwks);
	free(oidc->providers);
	writ_arena_done(&oidc->arena);
	pthread_mutex_destroy(&oidc->lock);
	free(oidc);
}

const char *
oidc_issuer(const struct oidc *oidc, struct writ_bytes alias)
{
	for (size_t i = 0; i < oidc->n; i++)
		if (writ_equal(writ_str(oidc->providers[i].conf.alias), alias))
			return oidc->providers[i].conf.issuer;
	return NULL;
}

const char *
oidc_alias(const struct oidc *oidc, struct writ_bytes issuer)
{
	for (size_t i = 0; i < oidc->n; i++)
		if (writ_equal(writ_str(oidc->providers[i].conf.issuer), issuer))
			return oidc->providers[i].conf.alias;
	return NULL;
}

char *
oidc_nonce(struct writ_bytes grant, char out[OIDC_NONCE_LEN + 1])
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(OIDC_NONCE_LEN);
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	writ_sha256(grant, digest);
	err = writ_base64url((struct writ_bytes){ digest, sizeof(digest) }, &text);
	memset(out, 0, OIDC_NONCE_LEN + 1); /* without memory: a nonce that no token has */
	if (!err)
		memcpy(out, text.data, text.len);
	writ_err_free(err);
	return out;
}

/* ---- keys ---- */

static bool
unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the set if its file is another than last time.  Under the lock. */
static void
keys_refresh(struct provider *p)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(JWKS_MAX);
	struct jwks fresh;
	struct writ_err *err;
	struct stat now;

	if (stat(p->conf.keys, &now) != 0) {
		p->seen_any = false;
		snprintf(p->why, sizeof(p->why), "%s",
			 p->conf.fetched ? "they were not fetched yet" : "the file is not there");
		return;
	}
	if (p->seen_any && unchanged(&now, &p->seen))
		return;
	p->seen_any = true;
	p->seen = now;
	p->why[0] = '\0';
	err = file_read(p->conf.keys, p->conf.fetched ? FILE_PEER : FILE_CONFIG, &text);
	if (!err)
		err = jwks_read(writ_view(&text), &fresh);
	if (err) {
		writ_err_text(err, p->why, sizeof(p->why));
		writ_err_free(err);
		return;
	}
	jwks_done(&p->jwks);
	p->jwks = fresh;
	p->have = true;
	p->read_from = (writ_time)now.st_mtim.tv_sec;
}

/* Under the lock.  The tokens's `iat` is not checked yet: it decides nothing but whether asking again can help. */
WRIT_CHECKED static struct writ_err *
signature_check_locked(struct provider *p, const struct jws *jws, writ_time iat, writ_time now, const char **ret_fetch)
{
	const char *alias = p->conf.alias;
	const struct jwks_key *key;

	keys_refresh(p);
	if (!p->have) {
		*ret_fetch = p->conf.fetched ? alias : NULL;
		return writ_fail(WRIT_UNAVAILABLE, "the keys of OpenID provider '%s' cannot be had: %.120s", alias,
				 p->why);
	}
	if (p->conf.fetched && now - p->read_from > OIDC_KEYS_MAX_AGE_S) {
		*ret_fetch = alias;
		return writ_fail(WRIT_UNAVAILABLE,
				 "the keys of OpenID provider '%s' were fetched %lld s ago, over %d s", alias,
				 (long long)(now - p->read_from), OIDC_KEYS_MAX_AGE_S);
	}
	key = jwks_find(&p->jwks, jws->kid);
	if (!key && p->conf.fetched && p->read_from <= iat) {
		*ret_fetch = alias;
		return writ_fail(
			WRIT_UNAVAILABLE,
			"key '%.*s' is not among those of OpenID provider '%s', which were fetched before this "
			"token was made: they are fetched anew",
			WRIT_FMT(jws->kid), alias);
	}
	if (!key && jws->kid.len == 0)
		return writ_fail(WRIT_UNAUTHENTICATED, "the token names no key, and OpenID provider '%s' has %zu",
				 alias, p->jwks.n);
	if (!key)
		return writ_fail(WRIT_UNAUTHENTICATED, "OpenID provider '%s' has no key '%.*s'", alias,
				 WRIT_FMT(jws->kid));
	if (!(key->algorithms & JWS_ALLOW(jws->alg)))
		return writ_fail(WRIT_UNAUTHENTICATED, "key '%.*s' of OpenID provider '%s' does not sign with %s",
				 WRIT_FMT(jws->kid), alias, jws_alg_name(jws->alg));
	return jws_verify(jws, &key->key);
}

/* ---- claims ---- */

static struct writ_bytes
text_of(const json_t *value)
{
	return (struct writ_bytes){ (const uint8_t *)json_string_value(value), json_string_length(value) };
}

WRIT_CHECKED static struct writ_err *
claims_parse(struct writ_bytes payload, json_t **ret)
{
	json_error_t why;

	if (!writ_json_shallow(payload, CLAIMS_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "ID token: its claims nest deeper than %d", CLAIMS_DEPTH_MAX);
	*ret = json_loadb((const char *)payload.data, payload.len, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		return writ_fail(WRIT_INVALID, "ID token: its claims are not JSON: %.120s",
				 json_error_code(&why) == json_error_duplicate_key ? "a member stands there twice"
										   : why.text);
	if (!json_is_object(*ret))
		return writ_fail(WRIT_INVALID, "ID token: its claims are not a JSON object");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
text_claim(json_t *claims, const char *name, struct writ_bytes *ret)
{
	const json_t *value = json_object_get(claims, name);

	*ret = (struct writ_bytes){ 0 };
	if (!json_is_string(value) || json_string_length(value) == 0)
		return writ_fail(WRIT_INVALID, "ID token: claim '%s' must be a text", name);
	*ret = text_of(value);
	return NULL;
}

/* Seconds since 1970; absent when it may be: 0. */
WRIT_CHECKED static struct writ_err *
time_claim(json_t *claims, const char *name, bool needed, writ_time *ret)
{
	const json_t *value = json_object_get(claims, name);

	*ret = 0;
	if (!value && !needed)
		return NULL;
	if (!json_is_integer(value) || json_integer_value(value) <= 0 || json_integer_value(value) > INTEGER_MAX)
		return writ_fail(WRIT_INVALID, "ID token: claim '%s' must be an integer, seconds since 1970", name);
	*ret = (writ_time)json_integer_value(value);
	return NULL;
}

/* Core 3.1.3.7, 3 to 5. */
WRIT_CHECKED static struct writ_err *
audience_check(json_t *claims, const char *client_id)
{
	const json_t *aud = json_object_get(claims, "aud"), *azp = json_object_get(claims, "azp");
	const struct writ_bytes own = writ_str(client_id);
	const size_t n = json_array_size(aud);
	bool found = false;

	if (json_is_string(aud)) {
		found = writ_equal(text_of(aud), own);
	} else {
		if (!json_is_array(aud) || n == 0 || n > AUDIENCES_MAX)
			return writ_fail(WRIT_INVALID, "ID token: claim 'aud' must be a text, or a list of 1 to %d",
					 AUDIENCES_MAX);
		for (size_t i = 0; i < n; i++) {
			if (!json_is_string(json_array_get(aud, i)))
				return writ_fail(WRIT_INVALID,
						 "ID token: claim 'aud' must be a text, or a list of texts");
			found = found || writ_equal(text_of(json_array_get(aud, i)), own);
		}
	}
	if (!found)
		return writ_fail(WRIT_UNAUTHENTICATED, "the ID token is for another client: 'aud' is not '%.80s'",
				 client_id);
	if (n > 1 && !azp)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the ID token is for %zu audiences and has no 'azp' that says which one asked for it",
				 n);
	if (azp && (!json_is_string(azp) || !writ_equal(text_of(azp), own)))
		return writ_fail(WRIT_UNAUTHENTICATED, "another client asked for the ID token: 'azp' is not '%.80s'",
				 client_id);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
times_check(json_t *claims, const struct oidc_provider *conf, writ_time now, struct oidc_token *ret)
{
	writ_time iat = 0, nbf = 0;
	struct writ_err *err;

	err = time_claim(claims, "exp", true, &ret->expires);
	if (!err)
		err = time_claim(claims, "iat", true, &iat);
	if (!err)
		err = time_claim(claims, "nbf", false, &nbf);
	if (!err)
		err = time_claim(claims, "auth_time", conf->max_auth_age_s != 0, &ret->auth_time);
	if (err)
		return err;
	if (now >= ret->expires)
		return writ_fail(WRIT_UNAUTHENTICATED, "the ID token expired %lld s ago",
				 (long long)(now - ret->expires));
	if (iat > now + OIDC_AHEAD_S || nbf > now + OIDC_AHEAD_S)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the ID token is from the future: 'iat' or 'nbf' is %lld s ahead",
				 (long long)((iat > nbf ? iat : nbf) - now));
	if (now - iat > conf->max_age_s)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the ID token is %lld s old, over the %u s of max_age: log in again",
				 (long long)(now - iat), conf->max_age_s);
	if (conf->max_auth_age_s && now - ret->auth_time > conf->max_auth_age_s)
		return writ_fail(
			WRIT_UNAUTHENTICATED,
			"the login was %lld s ago, over the %u s of max_auth_age: log in again, with max_age=0",
			(long long)(now - ret->auth_time), conf->max_auth_age_s);
	return NULL;
}

static bool
visible(struct writ_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x21 || text.data[i] > 0x7e)
			return false;
	return text.len > 0;
}

WRIT_CHECKED static struct writ_err *
acr_check(json_t *claims, const struct oidc_provider *conf, struct writ_arena *arena, struct oidc_token *ret)
{
	const json_t *value = json_object_get(claims, "acr");
	const struct writ_bytes acr = json_is_string(value) ? text_of(value) : (struct writ_bytes){ 0 };
	bool found = conf->n_acr == 0;

	for (size_t i = 0; i < conf->n_acr && !found; i++)
		found = acr.len > 0 && writ_equal(acr, writ_str(conf->acr[i]));
	if (!found && acr.len == 0)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the ID token does not say how its owner logged in: it has no 'acr'");
	if (!found)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the login was of acr '%.*s', which is none of those that the configuration wants",
				 WRIT_FMT(acr));
	if (!visible(acr) || acr.len > ACR_MAX)
		return NULL;
	ret->acr = writ_arena_copy(arena, acr);
	return ret->acr.data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for an ID token");
}

/* What makes a stolen token worthless: it is for these bytes and no others. */
WRIT_CHECKED static struct writ_err *
nonce_check(json_t *claims, struct writ_bytes grant)
{
	const json_t *value = json_object_get(claims, "nonce");
	char wanted[OIDC_NONCE_LEN + 1];

	if (!value)
		return writ_fail(
			WRIT_UNAUTHENTICATED,
			"the ID token has no 'nonce', so it authorises no grant: log in with the code flow and "
			"the nonce that POST /v1/grants/prepare gave");
	if (!json_is_string(value) || json_string_length(value) != OIDC_NONCE_LEN ||
	    !writ_equal(text_of(value), writ_str(oidc_nonce(grant, wanted))))
		return writ_fail(
			WRIT_UNAUTHENTICATED,
			"the ID token was made for another grant: its 'nonce' is not the digest of grant_body");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
principal_make(const struct oidc *oidc, const char *alias, json_t *claims, struct writ_arena *arena,
	       struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf name = WRIT_BUF(PRINCIPAL_MAX);
	struct writ_bytes sub = { 0 };
	struct spiffe_id id;
	struct writ_err *err;

	err = text_claim(claims, "sub", &sub);
	if (err)
		return err;
	if (sub.len > OIDC_SUB_MAX || !writ_is_clean_utf8(sub))
		return writ_fail(WRIT_INVALID, "ID token: claim 'sub' has over %d octets, or control characters",
				 OIDC_SUB_MAX);
	err = writ_buf_printf(&name, "spiffe://%.*s/human/%s/", (int)oidc->trust_domain.len,
			      (const char *)oidc->trust_domain.data, alias);
	if (!err)
		err = map_segment(sub, &name);
	if (!err)
		err = spiffe_parse(writ_view(&name), &id);
	if (err)
		return writ_recode(err, WRIT_UNAUTHENTICATED, "the ID token's 'sub' gives no principal");
	*ret = writ_arena_copy(arena, writ_view(&name));
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for an ID token");
}

/* ---- a token ---- */

WRIT_CHECKED static struct writ_err *
type_check(const struct jws *jws)
{
	if (jws->typ.len == 0 || writ_equal(jws->typ, WRIT_LIT("JWT")))
		return NULL;
	return writ_fail(WRIT_INVALID,
			 "'%.*s' is no ID token: its typ is 'JWT' or absent; access tokens and signed grants are not "
			 "accepted in its place",
			 WRIT_FMT(jws->typ));
}

WRIT_CHECKED static struct writ_err *
issuer_check(json_t *claims, const char *issuer)
{
	struct writ_bytes iss;
	struct writ_err *err = text_claim(claims, "iss", &iss);

	if (err)
		return err;
	if (!writ_equal(iss, writ_str(issuer)))
		return writ_fail(WRIT_UNAUTHENTICATED, "the ID token is of issuer '%.*s', the grant names '%.80s'",
				 WRIT_FMT(iss), issuer);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
claims_check(const struct oidc *oidc, const struct oidc_provider *conf, json_t *claims, struct writ_bytes grant,
	     writ_time now, struct writ_arena *arena, struct oidc_token *ret)
{
	struct writ_err *err = audience_check(claims, conf->client_id);

	if (!err)
		err = times_check(claims, conf, now, ret);
	if (!err)
		err = nonce_check(claims, grant);
	if (!err)
		err = acr_check(claims, conf, arena, ret);
	if (!err)
		err = principal_make(oidc, conf->alias, claims, arena, &ret->principal);
	if (err)
		return err;
	ret->issuer = writ_arena_copy(arena, writ_str(conf->issuer));
	return ret->issuer.data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for an ID token");
}

static struct provider *
provider_of(struct oidc *oidc, struct writ_bytes issuer)
{
	for (size_t i = 0; i < oidc->n; i++)
		if (writ_equal(writ_str(oidc->providers[i].conf.issuer), issuer))
			return &oidc->providers[i];
	return NULL;
}

struct writ_err *
oidc_check(struct oidc *oidc, struct writ_bytes compact, struct writ_bytes issuer, struct writ_bytes grant,
	   writ_time now, struct writ_arena *arena, struct oidc_token *ret, const char **ret_fetch)
{
	struct provider *p = provider_of(oidc, issuer);
	AUTO(json_done) json_t *claims = NULL;
	struct writ_err *err;
	writ_time iat = 0;
	struct jws jws;

	*ret = (struct oidc_token){ 0 };
	*ret_fetch = NULL;
	if (!p)
		return writ_fail(WRIT_UNAUTHENTICATED, "'%.*s' is no configured OpenID provider", WRIT_FMT(issuer));
	if (compact.len > OIDC_TOKEN_MAX)
		return writ_fail(WRIT_INVALID, "ID token: %zu octets, over %d", compact.len, OIDC_TOKEN_MAX);
	err = jws_parse(compact, p->conf.algorithms, arena, &jws);
	if (err)
		return writ_because(err, "ID token");
	err = type_check(&jws);
	if (!err)
		err = claims_parse(jws.payload, &claims);
	if (!err)
		err = issuer_check(claims, p->conf.issuer);
	if (!err)
		err = time_claim(claims, "iat", true, &iat);
	if (err)
		return err;

	pthread_mutex_lock(&oidc->lock);
	err = signature_check_locked(p, &jws, iat > now + OIDC_AHEAD_S ? 0 : iat, now, ret_fetch);
	pthread_mutex_unlock(&oidc->lock);
	if (!err)
		err = claims_check(oidc, &p->conf, claims, grant, now, arena, ret);
	writ_sha256(compact, ret->digest);
	return err;
}
