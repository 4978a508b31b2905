/*
 * JWK sets and ID tokens: one good token, and every way in which another is not one.
 */
#include "tests/unit/jws_make.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "issuer/auth/jwks.h"
#include "issuer/auth/oidc.h"

#define NOW INT64_C(1800000000)
#define ISSUER "https://idp.corp.example"
#define GRANT "{\"any\":\"bytes\"}"

static EVP_PKEY *ec, *other, *rsa;
static char path[64];

static int
keys_make(void **state)
{
	(void)state;
	ec = EVP_EC_gen("P-256");
	other = EVP_EC_gen("P-256");
	rsa = EVP_RSA_gen(2048);
	snprintf(path, sizeof(path), "/tmp/writ-jwks-XXXXXX");
	close(mkstemp(path));
	return ec && other && rsa ? 0 : -1;
}

static int
keys_free(void **state)
{
	(void)state;
	EVP_PKEY_free(ec);
	EVP_PKEY_free(other);
	EVP_PKEY_free(rsa);
	unlink(path);
	return 0;
}

/* ---- sets ---- */

static void
bn_text(EVP_PKEY *pkey, const char *name, char out[1024])
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(1023);
	uint8_t bytes[512];
	BIGNUM *bn = NULL;
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &bn), 1);
	len = EVP_PKEY_is_a(pkey, "EC") ? BN_bn2binpad(bn, bytes, 32) : BN_bn2bin(bn, bytes);
	BN_free(bn);
	expect_ok(writ_base64url((struct writ_bytes){ bytes, (size_t)len }, &text));
	memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

/* A JWK with these further members: ",\"kid\":\"a\"". */
static const char *
jwk(EVP_PKEY *pkey, const char *more)
{
	static char texts[4][4096];
	static unsigned turn;
	char one[1024], two[1024], *out = texts[turn++ % 4];

	if (EVP_PKEY_is_a(pkey, "EC")) {
		bn_text(pkey, OSSL_PKEY_PARAM_EC_PUB_X, one);
		bn_text(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, two);
		snprintf(out, 4096, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"%s}", one, two, more);
	} else {
		bn_text(pkey, OSSL_PKEY_PARAM_RSA_N, one);
		bn_text(pkey, OSSL_PKEY_PARAM_RSA_E, two);
		snprintf(out, 4096, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", one, two, more);
	}
	return out;
}

static const char *
set_of(const char *first, const char *second)
{
	static char text[16384];

	snprintf(text, sizeof(text), "{\"keys\":[%s%s%s]}", first, *second ? "," : "", second);
	return text;
}

static struct writ_err *
read_set(const char *text)
{
	AUTO(jwks_done) struct jwks jwks = { 0 };

	return jwks_read(writ_str(text), &jwks);
}

static void
a_set_gives_its_keys_by_kid_each_for_its_algorithms(void **state)
{
	AUTO(jwks_done) struct jwks jwks = { 0 };

	(void)state;
	expect_ok(jwks_read(writ_str(set_of(jwk(ec, ",\"kid\":\"a\",\"use\":\"sig\",\"x5t\":\"ignored\""),
					    jwk(rsa, ",\"kid\":\"b\",\"alg\":\"PS256\""))),
			    &jwks));
	assert_int_equal(jwks.n, 2);
	assert_int_equal(jwks_find(&jwks, WRIT_LIT("a"))->algorithms, JWS_ALLOW(JWS_ES256));
	assert_int_equal(jwks_find(&jwks, WRIT_LIT("b"))->algorithms, JWS_ALLOW(JWS_PS256));
	assert_null(jwks_find(&jwks, WRIT_LIT("c")));
	assert_null(jwks_find(&jwks, WRIT_LIT("")));
}

static void
an_rsa_key_that_names_no_algorithm_is_for_both(void **state)
{
	AUTO(jwks_done) struct jwks jwks = { 0 };

	(void)state;
	expect_ok(jwks_read(writ_str(set_of(jwk(rsa, ""), "")), &jwks));
	assert_int_equal(jwks_find(&jwks, WRIT_LIT(""))->algorithms, JWS_ALLOW(JWS_RS256) | JWS_ALLOW(JWS_PS256));
}

static void
keys_for_something_else_are_passed_over(void **state)
{
	AUTO(jwks_done) struct jwks jwks = { 0 };

	(void)state;
	expect_ok(
		jwks_read(writ_str(set_of(jwk(ec, ",\"kid\":\"a\""),
					  "{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"x\",\"x\":\"AA\",\"y\":\"AA\"},"
					  "{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"y\"},"
					  "{\"kty\":\"RSA\",\"alg\":\"RS512\",\"kid\":\"z\"},"
					  "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}")),
			  &jwks));
	assert_int_equal(jwks.n, 1);
}

static void
a_set_that_is_not_one_is_refused_whole(void **state)
{
	static const struct {
		const char *text, *message;
	} all[] = {
		{ "", "JWK set: not JSON: line 1, column 0: '[' or '{' expected near end of file" },
		{ "[]", "JWK set: not an object with a list 'keys'" },
		{ "{\"keys\":{}}", "JWK set: not an object with a list 'keys'" },
		{ "{\"keys\":[],\"keys\":[]}", "JWK set: not JSON: line 1, column 17: a member stands there twice" },
		{ "{\"keys\":[]}", "JWK set: none of its 0 keys signs with RS256, PS256 or ES256" },
		{ "{\"keys\":[1]}", "JWK set: key 1 is not an object" },
		{ "{\"keys\":[[[[[[[[[]]]]]]]]]}", "JWK set: it nests deeper than 8" },
		{ "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}",
		  "JWK set: key 1 has the private member 'k': a key that was published is no key" },
		{ "{\"keys\":[{\"kty\":7}]}", "JWK set: key 1: kty, kid, use, alg, crv, x, y, n and e must be texts "
					      "that are not empty, kid of at most "
					      "256 octets" },
		{ "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"\"}]}",
		  "JWK set: key 1: kty, kid, use, alg, crv, x, y, n and e must be texts that are not empty, kid of at "
		  "most "
		  "256 octets" },
		{ "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
		  "JWK set: key 1: JWK: member 'x' has 1 octets, and must have 32" },
		{ "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}]}",
		  "JWK set: key 1: public key: RSA of 1 bits, and from 2048 to 8192 are accepted" },
	};
	char many[8192] = "{\"keys\":[0";

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(read_set(all[i].text), WRIT_INVALID, all[i].message);
	expect_refused(read_set(set_of(jwk(ec, ",\"kid\":\"a\""), jwk(ec, ",\"kid\":\"b\",\"d\":\"AAAA\""))),
		       WRIT_INVALID, "JWK set: key 2 has the private member 'd': a key that was published is no key");
	expect_refused(read_set(set_of(jwk(ec, ",\"kid\":\"a\""), jwk(rsa, ",\"kid\":\"a\""))), WRIT_INVALID,
		       "JWK set: key 2: the kid 'a' stands twice");
	for (unsigned i = 0; i < 32; i++)
		strcat(many, ",0");
	expect_refused(read_set(strcat(many, "]}")), WRIT_INVALID, "JWK set: 33 keys, over 32");
}

/* ---- tokens ---- */

static void
file_put(const char *text, time_t mtime)
{
	const struct timespec times[2] = { { mtime, 0 }, { mtime, 0 } };
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, 0644), 0);
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

/* A provider with an EC key "e" and an RSA key "r". */
static struct oidc *
provider_with(struct oidc_provider with)
{
	struct oidc *ret = NULL;

	with.alias = "okta";
	with.issuer = ISSUER;
	with.client_id = "writ";
	with.keys = with.keys ? with.keys : path;
	with.algorithms = with.algorithms ? with.algorithms : JWS_TOKEN_ALGS;
	with.max_age_s = 120;
	expect_ok(oidc_new(WRIT_LIT("agents.corp.example"), &with, 1, &ret));
	return ret;
}

static void
oidc_freep(struct oidc **oidc)
{
	oidc_free(*oidc);
}

#define CLAIMS(more) "{\"iss\":\"" ISSUER "\",\"sub\":\"00u1abcd\",\"exp\":1800000300" more

/* The nonce of GRANT stands for %s. */
static struct writ_bytes
claims_of(const char *format)
{
	static char text[16384];
	char nonce[OIDC_NONCE_LEN + 1];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, oidc_nonce(WRIT_LIT(GRANT), nonce));
#pragma GCC diagnostic pop
	return writ_str(text);
}

struct check {
	const char *header; /* NULL: ES256 by key "e" */
	EVP_PKEY *by;
	enum jws_make_how how;
	const char *grant;
};

static struct writ_err *
check_with(struct oidc *oidc, const char *claims, struct check c, struct writ_arena *arena, struct oidc_token *ret,
	   const char **fetch)
{
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);

	jws_make(c.header ? c.header : "{\"alg\":\"ES256\",\"kid\":\"e\"}", claims_of(claims), c.by ? c.by : ec, c.how,
		 &compact);
	return oidc_check(oidc, writ_view(&compact), WRIT_LIT(ISSUER), writ_str(c.grant ? c.grant : GRANT), NOW, arena,
			  ret, fetch);
}

static struct writ_err *
check(struct oidc *oidc, const char *claims, struct check c)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(8 * OIDC_TOKEN_MAX);
	struct oidc_token token;
	const char *fetch;

	return check_with(oidc, claims, c, &arena, &token, &fetch);
}

#define GOOD CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\"}")

static void
set_put(void)
{
	file_put(set_of(jwk(ec, ",\"kid\":\"e\""), jwk(rsa, ",\"kid\":\"r\"")), NOW - 60);
}

static void
a_token_for_these_bytes_names_its_owner(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(8 * OIDC_TOKEN_MAX);
	struct oidc_token token;
	const char *fetch;

	(void)state;
	set_put();
	expect_ok(check_with(oidc,
			     CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\",\"acr\":\"urn:mfa\","
				    "\"auth_time\":1799999000,\"email\":\"a@b\",\"groups\":[1,{}]}"),
			     (struct check){ 0 }, &arena, &token, &fetch));
	expect_bytes(token.principal, WRIT_LIT("spiffe://agents.corp.example/human/okta/00u1abcd"));
	expect_bytes(token.issuer, WRIT_LIT(ISSUER));
	expect_bytes(token.acr, WRIT_LIT("urn:mfa"));
	assert_int_equal(token.auth_time, 1799999000);
	assert_int_equal(token.expires, 1800000300);
	assert_null(fetch);
}

static void
tokens_by_each_algorithm_are_good(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });

	(void)state;
	set_put();
	expect_ok(check(oidc, GOOD, (struct check){ 0 }));
	expect_ok(check(oidc, GOOD, (struct check){ .how = MAKE_HIGH_S })); /* a provider signs as its library does */
	expect_ok(check(oidc, GOOD,
			(struct check){ .header = "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"JWT\"}", .by = rsa }));
	expect_ok(check(oidc, GOOD,
			(struct check){ .header = "{\"alg\":\"PS256\",\"kid\":\"r\"}", .by = rsa, .how = MAKE_PSS }));
}

static void
a_subject_outside_the_charset_is_encoded_and_never_meets_another(void **state)
{
	static const struct {
		const char *sub, *segment;
	} all[] = {
		{ "auth0|5f", "b64.YXV0aDB8NWY" },
		{ "b64.YXV0aDB8NWY", "b64.YjY0LllYVjBhREI4TldZ" },
		{ "..", "b64.Li4" },
		{ "a/b", "b64.YS9i" },
		{ "\\u00e9", "b64.w6k" },
	};
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });

	(void)state;
	set_put();
	for (size_t i = 0; i < N_OF(all); i++) {
		AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(8 * OIDC_TOKEN_MAX);
		char claims[1024], want[256];
		struct oidc_token token;
		const char *fetch;

		snprintf(claims, sizeof(claims),
			 "{\"iss\":\"" ISSUER
			 "\",\"sub\":\"%s\",\"exp\":1800000300,\"iat\":1799999990,\"aud\":\"writ\","
			 "\"nonce\":\"%%s\"}",
			 all[i].sub);
		snprintf(want, sizeof(want), "spiffe://agents.corp.example/human/okta/%s", all[i].segment);
		expect_ok(check_with(oidc, claims, (struct check){ 0 }, &arena, &token, &fetch));
		expect_bytes(token.principal, writ_str(want));
	}
}

static void
a_token_that_is_not_what_it_must_be_is_refused(void **state)
{
	static const struct {
		const char *claims;
		enum writ_code code;
		const char *message;
	} all[] = {
		{ "[]", WRIT_INVALID, "ID token: its claims are not a JSON object" },
		{ "{\"iss\":\"a\",\"iss\":\"b\"}", WRIT_INVALID,
		  "ID token: its claims are not JSON: a member stands there twice" },
		{ "{}", WRIT_INVALID, "ID token: claim 'iss' must be a text" },
		{ "{\"iss\":\"https://evil.example\"}", WRIT_UNAUTHENTICATED,
		  "the ID token is of issuer 'https://evil.example', the grant names '" ISSUER "'" },
		{ "{\"iss\":\"" ISSUER "/\"}", WRIT_UNAUTHENTICATED,
		  "the ID token is of issuer '" ISSUER "/', the grant names '" ISSUER "'" },
		{ CLAIMS("}"), WRIT_INVALID, "ID token: claim 'iat' must be an integer, seconds since 1970" },
		{ CLAIMS(",\"iat\":1799999990.5}"), WRIT_INVALID,
		  "ID token: claim 'iat' must be an integer, seconds since 1970" },
		{ CLAIMS(",\"iat\":1799999990}"), WRIT_INVALID,
		  "ID token: claim 'aud' must be a text, or a list of 1 to 16" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":\"other\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token is for another client: 'aud' is not 'writ'" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":[\"writ\",\"other\"]}"), WRIT_UNAUTHENTICATED,
		  "the ID token is for 2 audiences and has no 'azp' that says which one asked for it" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":[\"writ\",\"other\"],\"azp\":\"other\"}"), WRIT_UNAUTHENTICATED,
		  "another client asked for the ID token: 'azp' is not 'writ'" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"azp\":\"other\"}"), WRIT_UNAUTHENTICATED,
		  "another client asked for the ID token: 'azp' is not 'writ'" },
		{ "{\"iss\":\"" ISSUER "\",\"iat\":1799999990,\"aud\":\"writ\"}", WRIT_INVALID,
		  "ID token: claim 'exp' must be an integer, seconds since 1970" },
		{ "{\"iss\":\"" ISSUER "\",\"iat\":1799999990,\"aud\":\"writ\",\"exp\":1800000000}",
		  WRIT_UNAUTHENTICATED, "the ID token expired 0 s ago" },
		{ CLAIMS(",\"iat\":1799999879,\"aud\":\"writ\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token is 121 s old, over the 120 s of max_age: log in again" },
		{ CLAIMS(",\"iat\":1800000031,\"aud\":\"writ\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token is from the future: 'iat' or 'nbf' is 31 s ahead" },
		{ CLAIMS(",\"iat\":1799999990,\"nbf\":1800000040,\"aud\":\"writ\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token is from the future: 'iat' or 'nbf' is 40 s ahead" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token has no 'nonce', so it authorises no grant: log in with the code flow and the nonce "
		  "that POST "
		  "/v1/grants/prepare gave" },
		{ CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"n-0S6_WzA2Mj\"}"), WRIT_UNAUTHENTICATED,
		  "the ID token was made for another grant: its 'nonce' is not the digest of grant_body" },
		{ "{\"iss\":\"" ISSUER "\",\"iat\":1799999990,\"exp\":1800000300,\"aud\":\"writ\",\"nonce\":\"%s\"}",
		  WRIT_INVALID, "ID token: claim 'sub' must be a text" },
		{ "{\"iss\":\"" ISSUER "\",\"sub\":\"a\\u0007\",\"iat\":1799999990,\"exp\":1800000300,\"aud\":\"writ\","
		  "\"nonce\":\"%s\"}",
		  WRIT_INVALID, "ID token: claim 'sub' has over 255 octets, or control characters" },
	};
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });

	(void)state;
	set_put();
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(check(oidc, all[i].claims, (struct check){ 0 }), all[i].code, all[i].message);
	expect_refused(check(oidc, GOOD, (struct check){ .grant = GRANT " " }), WRIT_UNAUTHENTICATED,
		       "the ID token was made for another grant: its 'nonce' is not the digest of grant_body");
	expect_ok(check(oidc,
			CLAIMS(",\"iat\":1799999880,\"aud\":[\"other\",\"writ\"],\"azp\":\"writ\",\"nonce\":\"%s\"}"),
			(struct check){ 0 }));
}

static void
the_header_and_the_key_decide_what_may_sign(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });
	AUTO(oidc_freep)
	struct oidc *rs_only = provider_with((struct oidc_provider){ .algorithms = JWS_ALLOW(JWS_RS256) });
	const struct {
		struct check c;
		enum writ_code code;
		const char *message;
	} all[] = {
		{ { .header = "{\"alg\":\"none\"}" },
		  WRIT_INVALID,
		  "ID token: JWS header: 'alg' is 'none', and must be ES256 or RS256 or PS256" },
		{ { .header = "{\"alg\":\"HS256\",\"kid\":\"r\"}" },
		  WRIT_INVALID,
		  "ID token: JWS header: 'alg' is 'HS256', and must be ES256 or RS256 or PS256" },
		{ { .header = "{\"alg\":\"ES256\",\"kid\":\"e\",\"typ\":\"at+jwt\"}" },
		  WRIT_INVALID,
		  "'at+jwt' is no ID token: its typ is 'JWT' or absent; access tokens and signed grants are not "
		  "accepted in "
		  "its place" },
		{ { .header = "{\"alg\":\"ES256\",\"kid\":\"e\",\"typ\":\"writ-grant+jwt\"}" },
		  WRIT_INVALID,
		  "'writ-grant+jwt' is no ID token: its typ is 'JWT' or absent; access tokens and signed grants are "
		  "not "
		  "accepted in its place" },
		{ { .header = "{\"alg\":\"ES256\",\"kid\":\"x\"}" },
		  WRIT_UNAUTHENTICATED,
		  "OpenID provider 'okta' has no key 'x'" },
		{ { .header = "{\"alg\":\"ES256\"}" },
		  WRIT_UNAUTHENTICATED,
		  "the token names no key, and OpenID provider 'okta' has 2" },
		{ { .header = "{\"alg\":\"ES256\",\"kid\":\"r\"}" },
		  WRIT_UNAUTHENTICATED,
		  "key 'r' of OpenID provider 'okta' does not sign with ES256" },
		{ { .by = other }, WRIT_UNAUTHENTICATED, "the signature is not this key's over these bytes" },
		{ { .header = "{\"alg\":\"PS256\",\"kid\":\"r\"}", .by = rsa },
		  WRIT_UNAUTHENTICATED,
		  "the signature is not this key's over these bytes" },
	};

	(void)state;
	set_put();
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(check(oidc, GOOD, all[i].c), all[i].code, all[i].message);
	expect_refused(check(rs_only, GOOD, (struct check){ 0 }), WRIT_INVALID,
		       "ID token: JWS header: 'alg' is 'ES256', and must be RS256");
}

static void
how_and_when_its_owner_logged_in_is_asked_where_it_is_configured(void **state)
{
	static const char *const acr[] = { "urn:mfa", "urn:hw" };
	AUTO(oidc_freep)
	struct oidc *oidc = provider_with((struct oidc_provider){ .n_acr = 2, .acr = acr, .max_auth_age_s = 600 });

	(void)state;
	set_put();
	expect_ok(check(oidc,
			CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\",\"acr\":\"urn:hw\",\"auth_time\":"
			       "1799999400}"),
			(struct check){ 0 }));
	expect_refused(check(oidc, GOOD, (struct check){ 0 }), WRIT_INVALID,
		       "ID token: claim 'auth_time' must be an integer, seconds since 1970");
	expect_refused(check(oidc,
			     CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\",\"acr\":\"urn:hw\","
				    "\"auth_time\":1799999399}"),
			     (struct check){ 0 }),
		       WRIT_UNAUTHENTICATED,
		       "the login was 601 s ago, over the 600 s of max_auth_age: log in again, with max_age=0");
	expect_refused(check(oidc,
			     CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\",\"auth_time\":1799999999}"),
			     (struct check){ 0 }),
		       WRIT_UNAUTHENTICATED, "the ID token does not say how its owner logged in: it has no 'acr'");
	expect_refused(check(oidc,
			     CLAIMS(",\"iat\":1799999990,\"aud\":\"writ\",\"nonce\":\"%s\",\"acr\":\"0\",\"auth_time\":"
				    "1799999999}"),
			     (struct check){ 0 }),
		       WRIT_UNAUTHENTICATED,
		       "the login was of acr '0', which is none of those that the configuration wants");
}

/* ---- keys that come and go ---- */

static void
fetched_keys_are_asked_for_anew_when_a_newer_token_names_another(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ .fetched = true });
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * OIDC_TOKEN_MAX);
	const struct check by_other = { .header = "{\"alg\":\"ES256\",\"kid\":\"new\"}", .by = other };
	struct oidc_token token;
	const char *fetch;

	(void)state;
	set_put(); /* fetched at NOW - 60; the token is of NOW - 10 */
	expect_refused(
		check_with(oidc, GOOD, by_other, &arena, &token, &fetch), WRIT_UNAVAILABLE,
		"key 'new' is not among those of OpenID provider 'okta', which were fetched before this token was "
		"made: they are fetched anew");
	assert_string_equal(fetch, "okta");
	file_put(set_of(jwk(ec, ",\"kid\":\"e\""), ""), NOW - 5); /* fetched after it: there is no such key */
	expect_refused(check_with(oidc, GOOD, by_other, &arena, &token, &fetch), WRIT_UNAUTHENTICATED,
		       "OpenID provider 'okta' has no key 'new'");
	assert_null(fetch);
	file_put(set_of(jwk(other, ",\"kid\":\"new\""), ""), NOW - 4); /* rotated */
	expect_ok(check_with(oidc, GOOD, by_other, &arena, &token, &fetch));
	expect_refused(check_with(oidc, GOOD, (struct check){ 0 }, &arena, &token, &fetch), WRIT_UNAUTHENTICATED,
		       "OpenID provider 'okta' has no key 'e'");
}

static void
keys_that_cannot_be_read_leave_those_in_use_and_old_ones_end(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ .fetched = true });
	AUTO(oidc_freep) struct oidc *fresh = provider_with((struct oidc_provider){ .fetched = true });
	AUTO(oidc_freep)
	struct oidc *nowhere = provider_with((struct oidc_provider){ .fetched = true, .keys = "/nowhere/x" });
	AUTO(oidc_freep) struct oidc *pinned = provider_with((struct oidc_provider){ .keys = "/nowhere/x" });

	(void)state;
	set_put();
	expect_ok(check(oidc, GOOD, (struct check){ 0 }));
	file_put("{\"keys\":[]}", NOW - 1);
	expect_ok(check(oidc, GOOD, (struct check){ 0 }));
	expect_refused(
		check(fresh, GOOD, (struct check){ 0 }), WRIT_UNAVAILABLE,
		"the keys of OpenID provider 'okta' cannot be had: JWK set: none of its 0 keys signs with RS256, "
		"PS256 or ES256");
	expect_refused(check(nowhere, GOOD, (struct check){ 0 }), WRIT_UNAVAILABLE,
		       "the keys of OpenID provider 'okta' cannot be had: they were not fetched yet");
	expect_refused(check(pinned, GOOD, (struct check){ 0 }), WRIT_UNAVAILABLE,
		       "the keys of OpenID provider 'okta' cannot be had: the file is not there");
	file_put(set_of(jwk(ec, ",\"kid\":\"e\""), ""), NOW - 24 * 3600 - 1);
	expect_refused(check(oidc, GOOD, (struct check){ 0 }), WRIT_UNAVAILABLE,
		       "the keys of OpenID provider 'okta' were fetched 86401 s ago, over 86400 s");
}

static void
an_issuer_that_is_not_configured_is_nobody(void **state)
{
	AUTO(oidc_freep) struct oidc *oidc = provider_with((struct oidc_provider){ 0 });
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(4096);
	struct oidc_token token;
	const char *fetch;

	(void)state;
	expect_refused(oidc_check(oidc, WRIT_LIT("a.b.c"), WRIT_LIT("https://evil.example"), WRIT_LIT(GRANT), NOW,
				  &arena, &token, &fetch),
		       WRIT_UNAUTHENTICATED, "'https://evil.example' is no configured OpenID provider");
	assert_string_equal(oidc_issuer(oidc, WRIT_LIT("okta")), ISSUER);
	assert_null(oidc_issuer(oidc, WRIT_LIT("Okta")));
	assert_string_equal(oidc_alias(oidc, WRIT_LIT(ISSUER)), "okta");
	assert_null(oidc_alias(oidc, WRIT_LIT("okta")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_gives_its_keys_by_kid_each_for_its_algorithms),
		cmocka_unit_test(an_rsa_key_that_names_no_algorithm_is_for_both),
		cmocka_unit_test(keys_for_something_else_are_passed_over),
		cmocka_unit_test(a_set_that_is_not_one_is_refused_whole),
		cmocka_unit_test(a_token_for_these_bytes_names_its_owner),
		cmocka_unit_test(tokens_by_each_algorithm_are_good),
		cmocka_unit_test(a_subject_outside_the_charset_is_encoded_and_never_meets_another),
		cmocka_unit_test(a_token_that_is_not_what_it_must_be_is_refused),
		cmocka_unit_test(the_header_and_the_key_decide_what_may_sign),
		cmocka_unit_test(how_and_when_its_owner_logged_in_is_asked_where_it_is_configured),
		cmocka_unit_test(fetched_keys_are_asked_for_anew_when_a_newer_token_names_another),
		cmocka_unit_test(keys_that_cannot_be_read_leave_those_in_use_and_old_ones_end),
		cmocka_unit_test(an_issuer_that_is_not_configured_is_nobody),
	};

	return cmocka_run_group_tests(tests, keys_make, keys_free);
}
