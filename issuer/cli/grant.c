/*
 * writ grant: makes and signs a grant (delegation.md 8), offline, with a key of the user's own; writ grant key makes
 * such a key.  writ delegate --grant submits what is signed here, by whom and from where one likes.  (writ grant
 * prepare, for a log-in, is in grant_prepare.c.)
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/text.h"
#include "issuer/auth/jws.h"
#include "issuer/cli/delegate.h"
#include "issuer/cli/sign_with.h"

#define TYP "writ-grant+jwt"
#define JTI_LEN 16 /* bytes: 128 random bits */
#define ENDS_DEFAULT_S 3600
#define REDEEM_DEFAULT_S 600
#define REDEEM_MAX_S 86400

static const struct option_spec specs[] = {
	DELEGATE_OPTIONS,
	{ "--issuer", OPTION_VALUE, true, NULL },
	{ "--for", OPTION_VALUE, true, NULL },
	{ "--kid", OPTION_VALUE, true, NULL },
	{ "--redeem-within", OPTION_VALUE, false, NULL },
	{ "--context-type", OPTION_VALUE, false, NULL },
	{ "--context-digest", OPTION_VALUE, false, NULL },
	{ "--out", OPTION_VALUE, false, NULL },
	SIGN_WITH_OPTIONS("--sign-with"),
};

static const struct option_spec key_specs[] = {
	{ "--kind", OPTION_VALUE, false, NULL },
	SIGN_WITH_OPTIONS("--make"),
};

static void
json_done(json_t **json)
{
	json_decref(*json);
}

static void
text_done(char **text)
{
	free(*text);
}

/* Moves a member over, under the same name or another. */
static void
move(json_t *from, const char *name, json_t *to, const char *as)
{
	json_t *value = json_object_get(from, name);

	if (value)
		json_object_set(to, as, value);
}

static struct writ_err *
set_random(json_t *claims)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(64);
	uint8_t jti[JTI_LEN];
	struct writ_err *err;

	writ_random(jti, sizeof(jti));
	err = writ_base64url((struct writ_bytes){ jti, sizeof(jti) }, &text);
	if (!err)
		json_object_set_new(claims, "jti", json_stringn((const char *)text.data, text.len));
	return err;
}

static struct writ_err *
set_times(const struct options *o, json_t *claims)
{
	const json_int_t now = (json_int_t)clock_read().wall;
	uint32_t redeem_s = REDEEM_DEFAULT_S, ends_s = ENDS_DEFAULT_S;
	struct writ_err *err;

	err = option_seconds(o, "--redeem-within", REDEEM_MAX_S, &redeem_s);
	if (!err)
		err = option_seconds(o, "--ends", DELEGATE_ENDS_MAX_S, &ends_s);
	json_object_set_new(claims, "iat", json_integer(now));
	json_object_set_new(claims, "nbf", json_integer(now));
	json_object_set_new(claims, "exp", json_integer(now + redeem_s));
	json_object_set_new(claims, "grant_end", json_integer(now + ends_s));
	return err;
}

static struct writ_err *
set_context(const struct options *o, json_t *claims)
{
	if (option_given(o, "--context-type") != option_given(o, "--context-digest"))
		return writ_fail(WRIT_INVALID, "--context-type and --context-digest go together");
	if (!option_given(o, "--context-type"))
		return NULL;
	json_object_set_new(claims, "context_type", json_string(option(o, "--context-type")));
	json_object_set_new(claims, "context_digest", json_string(option(o, "--context-digest")));
	return NULL;
}

/* The same options as writ delegate, in the words of a grant. */
static struct writ_err *
claims_make(const struct options *o, json_t *claims)
{
	static const char *const same[] = { "scope", "audience", "constraints", "depth" };
	AUTO(json_done) json_t *body = json_object();
	json_t *task = json_object();
	struct writ_err *err = delegate_body(o, false, body);

	json_object_set_new(claims, "iss", json_string(option(o, "--issuer")));
	json_object_set_new(claims, "aud", json_string(option(o, "--for")));
	if (!err)
		err = set_random(claims);
	if (!err)
		err = set_times(o, claims);
	move(json_object_get(body, "agent"), "class", claims, "agent");
	move(json_object_get(body, "agent"), "spki_sha256", claims, "spki_sha256");
	json_object_set_new(claims, "task", task);
	move(body, "id", task, "id");
	move(body, "purpose", task, "purpose");
	for (size_t i = 0; i < N_OF(same); i++)
		move(body, same[i], claims, same[i]);
	return err ? err : set_context(o, claims);
}

static struct writ_err *
part_add(const json_t *json, struct writ_buf *ret)
{
	AUTO(text_done) char *text = json_dumps(json, JSON_COMPACT);

	if (!text)
		return writ_fail(WRIT_INVALID, "an option holds what JSON cannot: text must be UTF-8");
	return writ_base64url(writ_str(text), ret);
}

/* What leaves here is read and verified first, as the issuer will. */
static struct writ_err *
self_check(const struct sign_with *key, struct writ_bytes compact)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	AUTO(jws_key_done) struct jws_key public = { 0 };
	struct writ_err *err;
	struct jws jws;

	err = jws_parse(compact, JWS_GRANT_ALGS, &arena, &jws);
	if (!err)
		err = jws_key_load(sign_with_spki(key), &public);
	return err ? err : jws_verify(&jws, &public);
}

static struct writ_err *
sign(struct sign_with *key, const char *kid, const json_t *claims, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf x509 = WRIT_BUF(SIGNATURE_MAX), raw = WRIT_BUF(64);
	AUTO(json_done) json_t *header = json_object();
	struct writ_err *err;

	json_object_set_new(header, "alg",
			    json_string(jws_alg_name(sign_with_kind(key) == KEY_ED25519 ? JWS_EDDSA : JWS_ES256)));
	json_object_set_new(header, "kid", json_string(kid));
	json_object_set_new(header, "typ", json_string(TYP));
	err = part_add(header, ret);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("."));
	if (!err)
		err = part_add(claims, ret);
	if (!err)
		err = sign_with_sign(key, writ_view(ret), &x509);
	if (!err)
		err = jws_signature(sign_with_kind(key), writ_view(&x509), &raw);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("."));
	if (!err)
		err = writ_base64url(writ_view(&raw), ret);
	return err ? err : self_check(key, writ_view(ret));
}

static int
cmd_grant_key(int argc, char **argv)
{
	AUTO(writ_buf_done) struct writ_buf name = WRIT_BUF(8192);
	enum key_kind kind = KEY_P256;
	struct options o;
	struct writ_err *err = options_read(argc, argv, key_specs, N_OF(key_specs), 0, &o);

	if (err)
		return cli_misused("grant key", err);
	if (option_given(&o, "--kind") && (!key_kind_from(writ_str(option(&o, "--kind")), &kind) || kind == KEY_P384))
		return cli_misused("grant key", writ_fail(WRIT_INVALID, "--kind: '%.20s' is neither P-256 nor Ed25519",
							  option(&o, "--kind")));
	err = sign_with_make(&o, kind, "writ grants", &name);
	if (err)
		return cli_fail("grant key", err);
	cli_say("sign with", "%.*s", (int)name.len, (const char *)name.data);
	cli_say("public key", "%s", option(&o, "--public"));
	return CLI_DONE;
}

int
cmd_grant(int argc, char **argv)
{
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX + 1);
	AUTO(sign_with_closep) struct sign_with *key = NULL;
	AUTO(json_done) json_t *claims = json_object();
	struct options o;
	struct writ_err *err;

	if (argc > 1 && strcmp(argv[1], "key") == 0)
		return cmd_grant_key(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "prepare") == 0)
		return cmd_grant_prepare(argc - 1, argv + 1);
	err = options_read(argc, argv, specs, N_OF(specs), 0, &o);
	if (!err)
		err = claims_make(&o, claims);
	if (err)
		return cli_misused("grant", err);
	err = sign_with_open(&o, &key);
	if (!err)
		err = sign(key, option(&o, "--kid"), claims, &compact);
	if (!err)
		err = writ_buf_add(&compact, WRIT_LIT("\n"));
	if (!err)
		err = cli_write(option_given(&o, "--out") ? option(&o, "--out") : "-", 0600, writ_view(&compact));
	return err ? cli_fail("grant", err) : CLI_DONE;
}
