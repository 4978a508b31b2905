/*
 * Input: the claims of an ID token, as JSON.  They are signed here with the one key that the provider has, so that
 * every byte reaches the readers behind the signature.  What is accepted names a human of ours and keeps to its limits.
 */
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "issuer/auth/oidc.h"
#include "policy/names.h"
#include "tests/fuzz/fuzz.h"

/* The key of RFC 7515 A.3. */
static const char set[] =
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
/* Its private half as PKCS #8 wants it. */
static const char private_key[] = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL-YBIffH1136cspYG6-"
				  "0iY7X1fCE9-E9LKhRANCAAR_zc4ncPbEXUGD"
				  "y-5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt-hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt";

#define NOW 1800000000
#define GRANT WRIT_LIT("{}")

static EVP_PKEY *key;
static struct oidc *oidc;

static void
prepare(void)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(512);
	static const char *const acr[] = { "mfa" };
	static const char first[] = "{\"iss\":\"https://idp.example\",\"iat\":1}";
	char path[] = "/tmp/writ-id-token-XXXXXX";
	const struct oidc_provider provider = {
		.alias = "idp",
		.issuer = "https://idp.example",
		.client_id = "writ",
		.keys = path,
		.algorithms = JWS_TOKEN_ALGS,
		.n_acr = 1,
		.acr = acr,
		.max_age_s = 120,
		.max_auth_age_s = 600,
	};
	const unsigned char *at;
	int fd = mkstemp(path);

	FUZZ_CHECK(fd >= 0 && write(fd, set, sizeof(set) - 1) == (ssize_t)sizeof(set) - 1 && fchmod(fd, 0644) == 0);
	close(fd);
	FUZZ_CHECK(fuzz_accepted(writ_unbase64(BASE64_URL, writ_str(private_key), &der)));
	at = der.data;
	key = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
	FUZZ_CHECK(key && fuzz_accepted(oidc_new(WRIT_LIT("agents.example"), &provider, 1, &oidc)));
	(void)LLVMFuzzerTestOneInput((const uint8_t *)first, sizeof(first) - 1);
	unlink(path); /* read, and kept */
}

static void
sign(struct writ_bytes claims, struct writ_buf *ret)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128], raw[64];
	const uint8_t *at = der;
	size_t len = sizeof(der);
	ECDSA_SIG *sig;

	FUZZ_CHECK(fuzz_accepted(writ_base64url(WRIT_LIT("{\"alg\":\"ES256\"}"), ret)) &&
		   fuzz_accepted(writ_buf_add(ret, WRIT_LIT("."))) && fuzz_accepted(writ_base64url(claims, ret)));
	FUZZ_CHECK(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
		   EVP_DigestSign(ctx, der, &len, ret->data, ret->len) == 1);
	sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
	FUZZ_CHECK(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
		   BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	FUZZ_CHECK(fuzz_accepted(writ_buf_add(ret, WRIT_LIT("."))) &&
		   fuzz_accepted(writ_base64url((struct writ_bytes){ raw, sizeof(raw) }, ret)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(8 * OIDC_TOKEN_MAX);
	AUTO(writ_buf_done) struct writ_buf compact = WRIT_BUF(OIDC_TOKEN_MAX);
	struct oidc_token token;
	struct spiffe_id id;
	const char *fetch;

	if (!oidc)
		prepare();
	if (len == 0 || len > 8 * 1024)
		return 0;
	sign((struct writ_bytes){ data, len }, &compact);
	if (!fuzz_accepted(oidc_check(oidc, writ_view(&compact), WRIT_LIT("https://idp.example"), GRANT, NOW, &arena,
				      &token, &fetch)))
		return 0;
	FUZZ_CHECK(fuzz_accepted(spiffe_parse(token.principal, &id)) && id.kind == PRINCIPAL_HUMAN);
	FUZZ_CHECK(writ_equal(token.acr, WRIT_LIT("mfa")));
	FUZZ_CHECK(token.expires > NOW && token.auth_time >= NOW - 600);
	return 0;
}
