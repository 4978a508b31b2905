/*
 * Reading a JWK set: see jwks.h.  Nesting is bounded before jansson sees a byte.
 */
#include "issuer/auth/jwks.h"

#include <jansson.h>

#include "base/text.h"

static void
json_done(json_t **json)
{
	json_decref(*json);
}

void
jwks_done(struct jwks *jwks)
{
	if (!jwks)
		return;
	for (size_t i = 0; i < jwks->n; i++)
		jws_key_done(&jwks->keys[i].key);
	writ_arena_done(&jwks->arena);
	*jwks = (struct jwks){ 0 };
}

/* A member that is a text, or not there (empty); `*ok` sticks at false for anything else. */
static struct writ_bytes
text_of(const json_t *key, const char *name, bool *ok)
{
	const json_t *value = json_object_get(key, name);

	if (!value)
		return (struct writ_bytes){ 0 };
	if (!json_is_string(value) || json_string_length(value) == 0) {
		*ok = false;
		return (struct writ_bytes){ 0 };
	}
	return (struct writ_bytes){ (const uint8_t *)json_string_value(value), json_string_length(value) };
}

WRIT_CHECKED static struct writ_err *
private_check(const json_t *key, size_t number)
{
	static const char *const names[] = { "d", "p", "q", "dp", "dq", "qi", "oth", "k" };

	for (size_t i = 0; i < N_OF(names); i++)
		if (json_object_get(key, names[i]))
			return writ_fail(WRIT_INVALID,
					 "JWK set: key %zu has the private member '%s': a key that was published is no "
					 "key",
					 number, names[i]);
	return NULL;
}

/* What a key can sign with here; 0: a key for something else. */
static unsigned
algorithms_of(struct writ_bytes kty, struct writ_bytes crv, struct writ_bytes use, struct writ_bytes alg)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = { { "RS256", JWS_ALLOW(JWS_RS256) },
		      { "PS256", JWS_ALLOW(JWS_PS256) },
		      { "ES256", JWS_ALLOW(JWS_ES256) } };
	unsigned can = 0;

	if (use.len > 0 && !writ_equal(use, WRIT_LIT("sig")))
		return 0;
	if (writ_equal(kty, WRIT_LIT("RSA")))
		can = JWS_ALLOW(JWS_RS256) | JWS_ALLOW(JWS_PS256);
	else if (writ_equal(kty, WRIT_LIT("EC")) && writ_equal(crv, WRIT_LIT("P-256")))
		can = JWS_ALLOW(JWS_ES256);
	if (alg.len == 0)
		return can;
	for (size_t i = 0; i < N_OF(known); i++)
		if (writ_equal(alg, writ_str(known[i].name)))
			return can & known[i].bit;
	return 0;
}

WRIT_CHECKED static struct writ_err *
key_add(struct jwks *jwks, const json_t *json, size_t number)
{
	struct jwks_key *key = &jwks->keys[jwks->n];
	struct writ_bytes kid, use, alg;
	struct jwk_members jwk = { 0 };
	struct writ_err *err;
	bool ok = true;

	if (!json_is_object(json))
		return writ_fail(WRIT_INVALID, "JWK set: key %zu is not an object", number);
	err = private_check(json, number);
	if (err)
		return err;
	jwk.kty = text_of(json, "kty", &ok);
	jwk.crv = text_of(json, "crv", &ok);
	kid = text_of(json, "kid", &ok);
	use = text_of(json, "use", &ok);
	alg = text_of(json, "alg", &ok);
	key->algorithms = algorithms_of(jwk.kty, jwk.crv, use, alg);
	if (ok && jwk.kty.len > 0 && key->algorithms == 0)
		return NULL;

	jwk.n = text_of(json, "n", &ok);
	jwk.e = text_of(json, "e", &ok);
	jwk.x = text_of(json, "x", &ok);
	jwk.y = text_of(json, "y", &ok);
	if (!ok || jwk.kty.len == 0 || kid.len > JWS_KID_MAX)
		return writ_fail(WRIT_INVALID,
				 "JWK set: key %zu: kty, kid, use, alg, crv, x, y, n and e must be texts that are not "
				 "empty, kid of at most %d octets",
				 number, JWS_KID_MAX);
	for (size_t i = 0; i < jwks->n; i++)
		if (writ_equal(jwks->keys[i].kid, kid))
			return writ_fail(WRIT_INVALID, "JWK set: key %zu: the kid '%.*s' stands twice", number,
					 WRIT_FMT(kid));
	key->kid = writ_arena_copy(&jwks->arena, kid);
	if (!key->kid.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a JWK set");
	err = jws_key_from_jwk(&jwk, &key->key);
	if (err)
		return writ_because(err, "JWK set: key %zu", number);
	jwks->n++;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
keys_add(struct jwks *jwks, const json_t *set)
{
	const json_t *keys = json_object_get(set, "keys");
	const size_t n = json_array_size(keys);
	struct writ_err *err;

	if (!json_is_object(set) || !json_is_array(keys))
		return writ_fail(WRIT_INVALID, "JWK set: not an object with a list 'keys'");
	if (n > JWKS_KEYS_MAX)
		return writ_fail(WRIT_INVALID, "JWK set: %zu keys, over %d", n, JWKS_KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		err = key_add(jwks, json_array_get(keys, i), i + 1);
		if (err)
			return err;
	}
	if (jwks->n == 0)
		return writ_fail(WRIT_INVALID, "JWK set: none of its %zu keys signs with RS256, PS256 or ES256", n);
	return NULL;
}

struct writ_err *
jwks_read(struct writ_bytes text, struct jwks *ret)
{
	AUTO(json_done) json_t *json = NULL;
	struct writ_err *err;
	json_error_t why;

	*ret = (struct jwks){ .arena = WRIT_ARENA(JWKS_MAX) };
	if (text.len > JWKS_MAX)
		return writ_fail(WRIT_INVALID, "JWK set: %zu octets, over %d", text.len, JWKS_MAX);
	if (!writ_json_shallow(text, JWKS_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "JWK set: it nests deeper than %d", JWKS_DEPTH_MAX);
	json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return writ_fail(WRIT_INVALID, "JWK set: not JSON: line %d, column %d: %.100s", why.line, why.column,
				 json_error_code(&why) == json_error_duplicate_key ? "a member stands there twice"
										   : why.text);
	err = keys_add(ret, json);
	if (err)
		jwks_done(ret);
	return err;
}

const struct jwks_key *
jwks_find(const struct jwks *jwks, struct writ_bytes kid)
{
	if (kid.len == 0)
		return jwks->n == 1 ? &jwks->keys[0] : NULL;
	for (size_t i = 0; i < jwks->n; i++)
		if (writ_equal(jwks->keys[i].kid, kid))
			return &jwks->keys[i];
	return NULL;
}
