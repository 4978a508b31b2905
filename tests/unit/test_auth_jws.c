/* Compact JWS: OpenSSL signs them, we read and check them; what is not exactly one is refused for the one thing wrong.
 */
#include "tests/unit/jws_make.h"

#include <openssl/core_names.h>
#include <openssl/hmac.h>

#define ALL (JWS_GRANT_ALGS | JWS_TOKEN_ALGS)
#define ROOM (2 * JWS_MAX + 4096)

#define WANT "ES256 or EdDSA"

static EVP_PKEY *p256, *p256_other, *ed25519, *rsa;

static int
keys_make(void **state)
{
	(void)state;
	p256 = EVP_EC_gen("P-256");
	p256_other = EVP_EC_gen("P-256");
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	rsa = EVP_RSA_gen(2048);
	return p256 && p256_other && ed25519 && rsa ? 0 : -1;
}

static int
keys_free(void **state)
{
	(void)state;
	EVP_PKEY_free(p256);
	EVP_PKEY_free(p256_other);
	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(rsa);
	return 0;
}

static struct writ_err *
parse_and_verify(struct writ_bytes compact, unsigned allowed, EVP_PKEY *pkey)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
	AUTO(jws_key_done) struct jws_key key = { 0 };
	uint8_t room[2048];
	struct writ_err *err;
	struct jws jws;

	expect_ok(jws_key_load(jws_make_spki(pkey, room), &key));
	err = jws_parse(compact, allowed, &arena, &jws);
	return err ? err : jws_verify(&jws, &key);
}

static void
a_jws_of_each_algorithm_is_read_and_verified(void **state)
{
	const struct {
		const char *header;
		EVP_PKEY *pkey;
		enum jws_make_how how;
		enum jws_alg alg;
	} rows[] = {
		{ "{\"alg\":\"ES256\",\"kid\":\"k-1\",\"typ\":\"t\"}", p256, MAKE_PLAIN, JWS_ES256 },
		{ "{\"alg\":\"EdDSA\",\"kid\":\"k-1\",\"typ\":\"t\"}", ed25519, MAKE_PLAIN, JWS_EDDSA },
		{ "{\"alg\":\"RS256\",\"kid\":\"k-1\",\"typ\":\"t\"}", rsa, MAKE_PLAIN, JWS_RS256 },
		{ "{\"alg\":\"PS256\",\"kid\":\"k-1\",\"typ\":\"t\"}", rsa, MAKE_PSS, JWS_PS256 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
		AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
		AUTO(jws_key_done) struct jws_key key = { 0 };
		uint8_t room[2048];
		struct jws jws;

		jws_make(rows[i].header, WRIT_LIT("any \0 octets"), rows[i].pkey, rows[i].how, &compact);
		expect_ok(jws_parse(writ_view(&compact), ALL, &arena, &jws));
		assert_int_equal(jws.alg, rows[i].alg);
		expect_bytes(jws.kid, WRIT_LIT("k-1"));
		expect_bytes(jws.typ, WRIT_LIT("t"));
		expect_bytes(jws.payload, WRIT_LIT("any \0 octets"));
		expect_ok(jws_key_load(jws_make_spki(rows[i].pkey, room), &key));
		expect_ok(jws_verify(&jws, &key));
		expect_ok(jws_verify(&jws, &key)); /* the key serves again */
	}
}

static void
a_header_needs_alg_alone(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
	struct jws jws;

	(void)state;
	jws_make("{\"alg\":\"ES256\"}", WRIT_LIT("{}"), p256, MAKE_PLAIN, &compact);
	expect_ok(jws_parse(writ_view(&compact), JWS_GRANT_ALGS, &arena, &jws));
	assert_int_equal(jws.kid.len, 0);
	assert_int_equal(jws.typ.len, 0);
}

/* Every row is signed by the right key: the header alone is what is wrong. */
static void
a_header_that_is_not_wholly_understood_is_refused(void **state)
{
	static const struct {
		const char *header, *message;
	} rows[] = {
		/* alg */
		{ "{\"alg\":\"none\"}", "JWS header: 'alg' is 'none', and must be " WANT },
		{ "{\"alg\":\"None\"}", "JWS header: 'alg' is 'None', and must be " WANT },
		{ "{\"alg\":\"HS256\"}", "JWS header: 'alg' is 'HS256', and must be " WANT },
		{ "{\"alg\":\"RS256\"}", "JWS header: 'alg' is 'RS256', and must be " WANT },
		{ "{\"alg\":\"es256\"}", "JWS header: 'alg' is 'es256', and must be " WANT },
		{ "{\"alg\":\"ES256K\"}", "JWS header: 'alg' is 'ES256K', and must be " WANT },
		{ "{\"alg\":\"ES256 \"}", "JWS header: 'alg' is 'ES256 ', and must be " WANT },
		{ "{\"alg\":\"\"}", "JWS header: 'alg' is '', and must be " WANT },
		{ "{\"alg\":[\"ES256\"]}", "JWS header: 'alg' must be " WANT },
		{ "{\"alg\":null}", "JWS header: 'alg' must be " WANT },
		{ "{\"kid\":\"k-1\"}", "JWS header: 'alg' must be " WANT },
		/* members that choose a key, or rules */
		{ "{\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\"}}",
		  "JWS header: 'jwk' is not accepted: the key is named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"jku\":\"https://evil.example/keys\"}",
		  "JWS header: 'jku' is not accepted: the key is named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"x5c\":[\"MIIB\"]}",
		  "JWS header: 'x5c' is not accepted: the key is named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"x5u\":\"https://evil.example/c\"}",
		  "JWS header: 'x5u' is not accepted: the key is named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"x5t\":\"AAAA\"}",
		  "JWS header: 'x5t' is not accepted: the key is named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"x5t#S256\":\"AAAA\"}", "JWS header: 'x5t#S256' is not accepted: the key is "
							       "named by the configuration, never by the message" },
		{ "{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}",
		  "JWS header: 'crit' is not accepted: no extension is known here" },
		{ "{\"alg\":\"ES256\",\"b64\":false}", "JWS header: member 'b64' is unknown" },
		{ "{\"alg\":\"ES256\",\"zip\":\"DEF\"}", "JWS header: member 'zip' is unknown" },
		{ "{\"alg\":\"ES256\",\"ALG\":\"none\"}", "JWS header: member 'ALG' is unknown" },
		{ "{\"alg\":\"ES256\",\"\":1}", "JWS header: member '' is unknown" },
		/* members twice */
		{ "{\"alg\":\"none\",\"alg\":\"ES256\"}", "JWS header: not JSON: a member stands there twice" },
		{ "{\"kid\":\"k-1\",\"alg\":\"ES256\",\"kid\":\"k-2\"}",
		  "JWS header: not JSON: a member stands there twice" },
		{ "{\"alg\":\"ES256\",\"\\u0061lg\":\"none\"}", "JWS header: not JSON: a member stands there twice" },
		/* texts */
		{ "{\"alg\":\"ES256\",\"kid\":7}", "JWS header: 'kid' must be a text of 1 to 256 characters" },
		{ "{\"alg\":\"ES256\",\"kid\":\"\"}", "JWS header: 'kid' must be a text of 1 to 256 characters" },
		{ "{\"alg\":\"ES256\",\"kid\":null}", "JWS header: 'kid' must be a text of 1 to 256 characters" },
		{ "{\"alg\":\"ES256\",\"kid\":\"k 1\"}", "JWS header: 'kid' must be printable ASCII without blanks" },
		{ "{\"alg\":\"ES256\",\"kid\":\"k\\n1\"}", "JWS header: 'kid' must be printable ASCII without blanks" },
		{ "{\"alg\":\"ES256\",\"kid\":\"k\u00e9\"}",
		  "JWS header: 'kid' must be printable ASCII without blanks" },
		{ "{\"alg\":\"ES256\",\"kid\":\"k\\u0000\"}", "JWS header: not JSON: a NUL in a text" },
		{ "{\"alg\":\"ES256\",\"typ\":{}}", "JWS header: 'typ' must be a text of 1 to 256 characters" },
		/* not an object, or more than one */
		{ "[\"ES256\"]", "JWS header: not a JSON object" },
		{ "\"ES256\"", "JWS header: not JSON: '[' or '{' expected near '\"ES256\"'" },
		{ "{\"alg\":\"ES256\"}{}", "JWS header: not JSON: end of file expected near '{'" },
		{ "{\"alg\":\"ES256\"} x", "JWS header: not JSON: end of file expected near 'x'" },
		{ "{\"alg\":\"ES256\",}", "JWS header: not JSON: string or '}' expected near '}'" },
		{ "{\"alg\":\"ES256\",\"kid\":\"\xff\"}", "JWS header: not JSON: not UTF-8" },
		{ "{\"x\":{\"x\":{\"x\":{\"x\":{}}}}}", "JWS header: it nests deeper than 4" },
		{ "[[[[[[[[[[[[", "JWS header: it nests deeper than 4" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);

		jws_make(rows[i].header, WRIT_LIT("{}"), p256, MAKE_PLAIN, &compact);
		print_message("  %s\n", rows[i].header);
		expect_refused(parse_and_verify(writ_view(&compact), JWS_GRANT_ALGS, p256), WRIT_INVALID,
			       rows[i].message);
	}
}

/* kid is a name to compare, never a path: dots and slashes are characters like others, and no key has such a name. */
static void
a_kid_that_looks_like_a_path_is_a_name_and_nothing_more(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
	struct jws jws;

	(void)state;
	jws_make("{\"alg\":\"ES256\",\"kid\":\"../../../dev/null\"}", WRIT_LIT("{}"), p256, MAKE_PLAIN, &compact);
	expect_ok(jws_parse(writ_view(&compact), JWS_GRANT_ALGS, &arena, &jws));
	expect_bytes(jws.kid, WRIT_LIT("../../../dev/null"));
}

static void
a_header_or_kid_over_its_length_is_refused(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf longest = WRIT_BUF(JWS_MAX), one_more = WRIT_BUF(JWS_MAX), header = WRIT_BUF(JWS_MAX);
	char text[2000], kid[300];

	(void)state;
	memset(kid, 'k', sizeof(kid));
	snprintf(text, sizeof(text), "{\"alg\":\"ES256\",\"kid\":\"%.256s\"}", kid);
	jws_make(text, WRIT_LIT("{}"), p256, MAKE_PLAIN, &longest);
	expect_ok(parse_and_verify(writ_view(&longest), JWS_GRANT_ALGS, p256));
	snprintf(text, sizeof(text), "{\"alg\":\"ES256\",\"kid\":\"%.257s\"}", kid);
	jws_make(text, WRIT_LIT("{}"), p256, MAKE_PLAIN, &one_more);
	expect_refused(parse_and_verify(writ_view(&one_more), JWS_GRANT_ALGS, p256), WRIT_INVALID,
		       "JWS header: 'kid' must be a text of 1 to 256 characters");
	snprintf(text, sizeof(text), "{\"alg\":\"ES256\"%*s}", 1025 - 15, "");
	jws_make(text, WRIT_LIT("{}"), p256, MAKE_PLAIN, &header);
	expect_refused(parse_and_verify(writ_view(&header), JWS_GRANT_ALGS, p256), WRIT_INVALID,
		       "JWS: the header has over 1024 octets");
}

#define HEAD "eyJhbGciOiJFUzI1NiJ9" /* {"alg":"ES256"} */
#define SIG43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
static void
text_that_is_not_three_canonical_parts_is_refused(void **state)
{
	static const struct {
		const char *compact, *message;
	} rows[] = {
		{ "", "JWS: 1 parts divided by dots, and a compact one has 3" },
		{ HEAD, "JWS: 1 parts divided by dots, and a compact one has 3" },
		{ HEAD ".e30", "JWS: 2 parts divided by dots, and a compact one has 3" },
		{ HEAD ".e30.AAAA.", "JWS: 4 parts divided by dots, and a compact one has 3" },
		{ HEAD ".e30.AAAA.AAAA.AAAA", "JWS: 5 parts: an encrypted token (JWE) is not accepted" },
		{ ".e30.AAAA", "JWS: the header is empty" },
		{ HEAD "..AAAA", "JWS: the payload is empty" },
		{ HEAD ".e30.", "JWS: an ES256 signature is r and s, 64 octets, and this one has 0" },
		{ HEAD "=.e30.AAAA", "JWS: the header: base64url: the length or the padding is wrong" },
		{ HEAD ".e30=.AAAA", "JWS: the payload: base64url: byte 0x3d at offset 3 is not of the alphabet" },
		{ HEAD ".e3 0.AAAA", "JWS: the payload: base64url: byte 0x20 at offset 2 is not of the alphabet" },
		{ HEAD ".e30\n.AAAA", "JWS: the payload: base64url: byte 0x0a at offset 3 is not of the alphabet" },
		{ HEAD ".+/+/.AAAA", "JWS: the payload: base64url: byte 0x2b at offset 0 is not of the alphabet" },
		/* "e30" is {}; "e31" has the same 16 bits and two more that belong to no byte */
		{ HEAD ".e31.AAAA", "JWS: the payload: base64url: the last character has bits that belong to no byte" },
		{ HEAD ".e30.AAAAA", "JWS: the signature: base64url: the length or the padding is wrong" },
		{ HEAD ".e30.AAAA\n", "JWS: the signature: base64url: the length or the padding is wrong" },
		{ HEAD ".e30.AAAA trailing!!",
		  "JWS: the signature: base64url: byte 0x20 at offset 4 is not of the alphabet" },
		{ HEAD ".e30." SIG43, "JWS: an ES256 signature is r and s, 64 octets, and this one has 32" },
		{ "{\"payload\":\"\",\"signatures\":[]}", "JWS: 1 parts divided by dots, and a compact one has 3" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
		struct jws jws;

		print_message("  %s\n", rows[i].compact);
		expect_refused(jws_parse(writ_str(rows[i].compact), JWS_GRANT_ALGS, &arena, &jws), WRIT_INVALID,
			       rows[i].message);
	}
}

static void
the_longest_is_read_and_one_octet_more_is_refused(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX + 10);
	struct jws jws;
	uint8_t *out;

	(void)state;
	expect_ok(writ_buf_add(&compact, WRIT_LIT(HEAD ".")));
	expect_ok(writ_buf_grow(&compact, JWS_MAX - compact.len - 87, &out)); /* "." and 86 of a signature */
	memset(out, 'A', (size_t)(compact.data + compact.len - out));
	expect_ok(writ_buf_add(&compact, WRIT_LIT("." SIG43 SIG43)));
	compact.data[compact.len - 1] = 'A'; /* 86 digits: the last one holds 4 bits that belong to no byte */
	compact.data[compact.len - 2] = 'Q';
	assert_int_equal(compact.len, JWS_MAX);
	expect_ok(jws_parse(writ_view(&compact), JWS_GRANT_ALGS, &arena, &jws));
	expect_ok(writ_buf_add(&compact, WRIT_LIT("A")));
	expect_refused(jws_parse(writ_view(&compact), JWS_GRANT_ALGS, &arena, &jws), WRIT_INVALID,
		       "JWS: 49153 octets, over 49152");
}

static struct writ_err *
with_signature(const uint8_t *signature, size_t len, unsigned allowed)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ROOM);
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
	struct jws jws;

	expect_ok(writ_buf_add(&compact, WRIT_LIT(HEAD ".e30.")));
	expect_ok(writ_base64url((struct writ_bytes){ signature, len }, &compact));
	return jws_parse(writ_view(&compact), allowed, &arena, &jws);
}

#define N_HEX "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
#define N_LESS_1 "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550"
#define HALF "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8"
#define HALF_1 "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a9"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define ONE "0000000000000000000000000000000000000000000000000000000000000001"
#define FF "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static void
r_and_s_are_from_1_to_n_less_1_and_s_is_low_where_that_is_demanded(void **state)
{
	static const char no_r[] = "JWS: r of the ES256 signature is not from 1 to n - 1";
	static const char no_s[] = "JWS: s of the ES256 signature is not from 1 to n - 1";
	static const char high[] = "JWS: s of the ES256 signature is over n / 2: its one accepted form has n - s";
	static const struct {
		const char *hex, *low, *any; /* messages; NULL: read */
	} rows[] = {
		{ ONE ONE, NULL, NULL },      { N_LESS_1 HALF, NULL, NULL }, { ONE HALF_1, high, NULL },
		{ ONE N_LESS_1, high, NULL }, { ZERO ONE, no_r, no_r },	     { ONE ZERO, no_s, no_s },
		{ N_HEX ONE, no_r, no_r },    { ONE N_HEX, no_s, no_s },     { ZERO ZERO, no_r, no_r },
		{ FF ONE, no_r, no_r },	      { ONE FF, no_s, no_s },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		uint8_t raw[64];

		assert_true(writ_unhex(writ_str(rows[i].hex), raw, 64));
		if (rows[i].low)
			expect_refused(with_signature(raw, 64, JWS_GRANT_ALGS), WRIT_INVALID, rows[i].low);
		else
			expect_ok(with_signature(raw, 64, JWS_GRANT_ALGS));
		if (rows[i].any)
			expect_refused(with_signature(raw, 64, JWS_TOKEN_ALGS), WRIT_INVALID, rows[i].any);
		else
			expect_ok(with_signature(raw, 64, JWS_TOKEN_ALGS));
	}
}

static void
a_malleated_signature_is_refused_for_a_grant_and_is_the_keys_own_for_a_token(void **state)
{
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);

	(void)state;
	jws_make("{\"alg\":\"ES256\"}", WRIT_LIT("{}"), p256, MAKE_HIGH_S, &compact);
	expect_refused(parse_and_verify(writ_view(&compact), JWS_GRANT_ALGS, p256), WRIT_INVALID,
		       "JWS: s of the ES256 signature is over n / 2: its one accepted form has n - s");
	expect_ok(parse_and_verify(writ_view(&compact), JWS_TOKEN_ALGS, p256));
}

static void
of_a_signature_in_der_the_form_with_the_lower_s_is_made(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) { /* half of them are over n / 2 */
		AUTO(writ_buf_done) struct writ_buf made = WRIT_BUF(64);
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		uint8_t der[128], want[64];
		size_t len = sizeof(der);

		assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, p256, NULL), 1);
		assert_int_equal(EVP_DigestSign(ctx, der, &len, (const uint8_t *)"m", 1), 1);
		EVP_MD_CTX_free(ctx);
		jws_make_raw(der, len, false, want);
		expect_ok(jws_signature(KEY_P256, (struct writ_bytes){ der, len }, &made));
		expect_bytes(writ_view(&made), ((struct writ_bytes){ want, 64 }));
	}
}

static void
what_is_no_signature_becomes_none(void **state)
{
	static const struct {
		enum key_kind kind;
		struct writ_bytes signature;
		const char *message;
	} rows[] = {
#define ROW(kind_, sig_, message_) { kind_, { (const uint8_t *)(sig_), sizeof(sig_) - 1 }, message_ }
		ROW(KEY_P384, "x", "P-384 signs no grant: use P-256 or Ed25519"),
		ROW(KEY_ED25519, "short", "the Ed25519 signature has not 64 octets"),
		ROW(KEY_P256, "", "the signature is not the DER of two integers that fit P-256"),
		ROW(KEY_P256, "\x30\x03\x02\x01\x01", "the signature is not the DER of two integers that fit P-256"),
		ROW(KEY_P256, "\x30\x06\x02\x01\x01\x02\x01\x00",
		    "JWS: s of the ES256 signature is not from 1 to n - 1"),
		ROW(KEY_P256, "\x30\x06\x02\x01\x00\x02\x01\x01",
		    "JWS: r of the ES256 signature is not from 1 to n - 1"),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf made = WRIT_BUF(64);

		expect_refused(jws_signature(rows[i].kind, rows[i].signature, &made), WRIT_INVALID, rows[i].message);
	}
}

static void
a_signature_in_der_is_refused(void **state)
{
	uint8_t der[71] = { 0x30, 0x45, 0x02, 0x21 };

	(void)state;
	expect_refused(with_signature(der, sizeof(der), JWS_GRANT_ALGS), WRIT_INVALID,
		       "JWS: an ES256 signature is r and s, 64 octets, and this one has 71");
}

static void
a_signature_by_another_key_or_over_other_bytes_is_refused(void **state)
{
	EVP_PKEY *const pkeys[] = { p256, ed25519, rsa };
	static const char *const headers[] = { "{\"alg\":\"ES256\"}", "{\"alg\":\"EdDSA\"}", "{\"alg\":\"RS256\"}" };

	(void)state;
	for (size_t i = 0; i < N_OF(pkeys); i++) {
		AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
		EVP_PKEY *other = i == 0   ? EVP_EC_gen("P-256")
				  : i == 1 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
					   : EVP_RSA_gen(2048);
		uint8_t *payload;

		jws_make(headers[i], WRIT_LIT("{\"depth\":1}"), pkeys[i], MAKE_PLAIN, &compact);
		expect_ok(parse_and_verify(writ_view(&compact), ALL, pkeys[i]));
		expect_refused(parse_and_verify(writ_view(&compact), ALL, other), WRIT_UNAUTHENTICATED,
			       "the signature is not this key's over these bytes");
		payload = compact.data + 21;
		payload[4] = payload[4] == 'A' ? 'B' : 'A';
		expect_refused(parse_and_verify(writ_view(&compact), ALL, pkeys[i]), WRIT_UNAUTHENTICATED,
			       "the signature is not this key's over these bytes");
		EVP_PKEY_free(other);
	}
}

/* The classic: a verifier that takes HS256 with the public key's bytes as secret.  Here no HMAC exists at all. */
static void
hs256_with_a_public_key_as_secret_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
	uint8_t spki[2048], mac[32];
	const struct writ_bytes secret = jws_make_spki(p256, spki);
	unsigned mac_len = 32;

	(void)state;
	jws_make_signed("{\"alg\":\"HS256\"}", WRIT_LIT("{}"), &compact);
	assert_non_null(HMAC(EVP_sha256(), secret.data, (int)secret.len, compact.data, compact.len, mac, &mac_len));
	expect_ok(writ_buf_add(&compact, WRIT_LIT(".")));
	expect_ok(writ_base64url((struct writ_bytes){ mac, mac_len }, &compact));
	expect_refused(parse_and_verify(writ_view(&compact), ALL, p256), WRIT_INVALID,
		       "JWS header: 'alg' is 'HS256', and must be ES256 or EdDSA or RS256 or PS256");
}

static void
a_key_of_another_kind_than_alg_names_is_refused(void **state)
{
	const struct {
		const char *header;
		EVP_PKEY *signer, *key;
		const char *message;
	} rows[] = {
		{ "{\"alg\":\"ES256\"}", p256, ed25519, "the key is of another kind than ES256 signs with" },
		{ "{\"alg\":\"ES256\"}", p256, rsa, "the key is of another kind than ES256 signs with" },
		{ "{\"alg\":\"EdDSA\"}", ed25519, p256, "the key is of another kind than EdDSA signs with" },
		{ "{\"alg\":\"RS256\"}", rsa, p256, "the key is of another kind than RS256 signs with" },
		/* the same key, the other padding */
		{ "{\"alg\":\"PS256\"}", rsa, rsa, "the signature is not this key's over these bytes" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);

		jws_make(rows[i].header, WRIT_LIT("{}"), rows[i].signer, MAKE_PLAIN, &compact);
		expect_refused(parse_and_verify(writ_view(&compact), ALL, rows[i].key), WRIT_UNAUTHENTICATED,
			       rows[i].message);
	}
}

static void
a_salt_of_another_length_than_the_hash_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(JWS_MAX);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *of;
	uint8_t signature[256];
	size_t len = sizeof(signature);

	(void)state;
	jws_make_signed("{\"alg\":\"PS256\"}", WRIT_LIT("{}"), &compact);
	assert_int_equal(EVP_DigestSignInit_ex(ctx, &of, "SHA256", NULL, NULL, rsa, NULL), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(of, RSA_PKCS1_PSS_PADDING), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(of, 20), 1);
	assert_int_equal(EVP_DigestSign(ctx, signature, &len, compact.data, compact.len), 1);
	EVP_MD_CTX_free(ctx);
	expect_ok(writ_buf_add(&compact, WRIT_LIT(".")));
	expect_ok(writ_base64url((struct writ_bytes){ signature, len }, &compact));
	expect_refused(parse_and_verify(writ_view(&compact), ALL, rsa), WRIT_UNAUTHENTICATED,
		       "the signature is not this key's over these bytes");
}

/* ---- keys ---- */

static EVP_PKEY *
rsa_with_exponent(unsigned long e)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *bn = BN_new();
	EVP_PKEY *pkey = NULL;

	assert_int_equal(BN_set_word(bn, e), 1);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
	assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, bn), 1);
	assert_int_equal(EVP_PKEY_generate(ctx, &pkey), 1);
	EVP_PKEY_CTX_free(ctx);
	BN_free(bn);
	return pkey;
}

static void
a_key_that_signs_nothing_of_ours_is_refused_by_name(void **state)
{
	const struct {
		EVP_PKEY *pkey;
		const char *message;
	} rows[] = {
		{ EVP_EC_gen("P-384"),
		  "public key: P-384 signs none of ES256, EdDSA, RS256, PS256: use P-256 or Ed25519" },
		{ EVP_EC_gen("secp256k1"), "curve secp256k1 is not accepted: use P-256, P-384 or Ed25519" },
		{ EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), "Ed448 keys are not accepted: use P-256, P-384 or Ed25519" },
		{ EVP_RSA_gen(1024), "public key: RSA of 1024 bits, and from 2048 to 8192 are accepted" },
		{ EVP_RSA_gen(2047), "public key: RSA of 2047 bits, and from 2048 to 8192 are accepted" },
		{ rsa_with_exponent(3),
		  "public key: the RSA exponent must be odd, at least 65537 and of at most 32 bits" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		uint8_t room[2048];
		struct jws_key key;

		expect_refused(jws_key_load(jws_make_spki(rows[i].pkey, room), &key), WRIT_INVALID, rows[i].message);
		EVP_PKEY_free(rows[i].pkey);
	}
}

static void
an_rsa_key_has_one_encoding(void **state)
{
	uint8_t room[2048];
	struct writ_bytes spki = jws_make_spki(rsa, room);
	struct jws_key key;

	(void)state;
	room[spki.len] = 0;
	expect_refused(jws_key_load((struct writ_bytes){ room, spki.len + 1 }, &key), WRIT_INVALID,
		       "public key: not in its one DER encoding");
	expect_refused(jws_key_load((struct writ_bytes){ room, 1101 }, &key), WRIT_INVALID,
		       "public key: 1101 octets, and RSA of 8192 bits has no more than 1100");
	expect_refused(jws_key_load((struct writ_bytes){ room, spki.len - 1 }, &key), WRIT_INVALID,
		       "public key: not a DER SubjectPublicKeyInfo");
	expect_refused(jws_key_load(WRIT_LIT(""), &key), WRIT_INVALID, "public key: not a DER SubjectPublicKeyInfo");
}

/* One number of a key as base64url. */
static void
number_text(EVP_PKEY *pkey, const char *param, int pad, struct writ_buf *ret)
{
	BIGNUM *bn = NULL;
	uint8_t out[1024];
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(pkey, param, &bn), 1);
	len = pad ? pad : BN_num_bytes(bn);
	assert_int_equal(BN_bn2binpad(bn, out, len), len);
	expect_ok(writ_base64url((struct writ_bytes){ out, (size_t)len }, ret));
	BN_free(bn);
}

static void
a_jwk_of_each_kind_is_the_key_it_names(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf n = WRIT_BUF(2000), e = WRIT_BUF(20), x = WRIT_BUF(100), y = WRIT_BUF(100), ed = WRIT_BUF(100);
	uint8_t raw[32];
	size_t raw_len = sizeof(raw);
	struct jwk_members jwks[3];
	EVP_PKEY *const pkeys[] = { rsa, p256, ed25519 };

	(void)state;
	number_text(rsa, OSSL_PKEY_PARAM_RSA_N, 0, &n);
	number_text(rsa, OSSL_PKEY_PARAM_RSA_E, 0, &e);
	number_text(p256, OSSL_PKEY_PARAM_EC_PUB_X, 32, &x);
	number_text(p256, OSSL_PKEY_PARAM_EC_PUB_Y, 32, &y);
	assert_int_equal(EVP_PKEY_get_raw_public_key(ed25519, raw, &raw_len), 1);
	expect_ok(writ_base64url((struct writ_bytes){ raw, raw_len }, &ed));
	jwks[0] = (struct jwk_members){ .kty = WRIT_LIT("RSA"), .n = writ_view(&n), .e = writ_view(&e) };
	jwks[1] = (struct jwk_members){
		.kty = WRIT_LIT("EC"), .crv = WRIT_LIT("P-256"), .x = writ_view(&x), .y = writ_view(&y)
	};
	jwks[2] = (struct jwk_members){ .kty = WRIT_LIT("OKP"), .crv = WRIT_LIT("Ed25519"), .x = writ_view(&ed) };
	for (size_t i = 0; i < N_OF(jwks); i++) {
		AUTO(jws_key_done) struct jws_key key = { 0 };

		expect_ok(jws_key_from_jwk(&jwks[i], &key));
		assert_int_equal(EVP_PKEY_eq(key.pkey, pkeys[i]), 1);
	}
	/* y of another point */
	y.data[5] = y.data[5] == 'A' ? 'B' : 'A';
	expect_refused(jws_key_from_jwk(&jwks[1], &(struct jws_key){ 0 }), WRIT_INVALID,
		       "public key: the point is not on the curve P-256");
}

static void
a_jwk_with_one_thing_wrong_is_refused_for_that_thing(void **state)
{
#define T(s)                                                                                                           \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}
	static const struct {
		struct jwk_members jwk;
		const char *message;
	} rows[] = {
		{ { .kty = T("oct") }, "JWK: keys of type 'oct' are not accepted: use RSA, EC or OKP" },
		{ { .kty = T("") }, "JWK: keys of type '' are not accepted: use RSA, EC or OKP" },
		{ { .kty = T("EC"), .crv = T("P-521") }, "JWK: the curve 'P-521' is not accepted: use P-256" },
		{ { .kty = T("EC"), .crv = T("P-256"), .y = T(SIG43) }, "JWK: member 'x' is missing" },
		{ { .kty = T("EC"), .crv = T("P-256"), .x = T("AAAA"), .y = T(SIG43) },
		  "JWK: member 'x' has 3 octets, and must have 32" },
		{ { .kty = T("EC"), .crv = T("P-256"), .x = T(SIG43), .y = T(SIG43 "A") },
		  "JWK: member 'y' is too long" },
		{ { .kty = T("OKP"), .crv = T("X25519"), .x = T(SIG43) },
		  "JWK: the curve 'X25519' is not accepted: use Ed25519" },
		{ { .kty = T("OKP"), .crv = T("Ed25519"), .x = T("A+A/") },
		  "JWK: member 'x': base64url: byte 0x2b at offset 1 is not of the alphabet" },
		{ { .kty = T("RSA"), .e = T("AQAB") }, "JWK: member 'n' is missing" },
		{ { .kty = T("RSA"), .n = T("AAEC"), .e = T("AQAB") }, "JWK: member 'n' begins with a zero octet" },
		{ { .kty = T("RSA"), .n = T("gAEB"), .e = T("AQAB") },
		  "public key: RSA of 24 bits, and from 2048 to 8192 are accepted" },
		{ { .kty = T("RSA"), .n = T("gAEB"), .e = T("AQABAQABAQAB") }, "JWK: member 'e' is too long" },
	};
#undef T

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct jws_key key;

		expect_refused(jws_key_from_jwk(&rows[i].jwk, &key), WRIT_INVALID, rows[i].message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jws_of_each_algorithm_is_read_and_verified),
		cmocka_unit_test(a_header_needs_alg_alone),
		cmocka_unit_test(a_header_that_is_not_wholly_understood_is_refused),
		cmocka_unit_test(a_kid_that_looks_like_a_path_is_a_name_and_nothing_more),
		cmocka_unit_test(a_header_or_kid_over_its_length_is_refused),
		cmocka_unit_test(text_that_is_not_three_canonical_parts_is_refused),
		cmocka_unit_test(the_longest_is_read_and_one_octet_more_is_refused),
		cmocka_unit_test(r_and_s_are_from_1_to_n_less_1_and_s_is_low_where_that_is_demanded),
		cmocka_unit_test(a_malleated_signature_is_refused_for_a_grant_and_is_the_keys_own_for_a_token),
		cmocka_unit_test(of_a_signature_in_der_the_form_with_the_lower_s_is_made),
		cmocka_unit_test(what_is_no_signature_becomes_none),
		cmocka_unit_test(a_signature_in_der_is_refused),
		cmocka_unit_test(a_signature_by_another_key_or_over_other_bytes_is_refused),
		cmocka_unit_test(hs256_with_a_public_key_as_secret_is_refused),
		cmocka_unit_test(a_key_of_another_kind_than_alg_names_is_refused),
		cmocka_unit_test(a_salt_of_another_length_than_the_hash_is_refused),
		cmocka_unit_test(a_key_that_signs_nothing_of_ours_is_refused_by_name),
		cmocka_unit_test(an_rsa_key_has_one_encoding),
		cmocka_unit_test(a_jwk_of_each_kind_is_the_key_it_names),
		cmocka_unit_test(a_jwk_with_one_thing_wrong_is_refused_for_that_thing),
	};

	return cmocka_run_group_tests(tests, keys_make, keys_free);
}
