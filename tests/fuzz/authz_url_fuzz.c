/*
 * Input: a byte, then what a proxy hands over: a target (0), a certificate (1), an address (2), a configuration (else).
 *
 * What becomes a resource is the prefix and a piece of the input, byte for byte, in canonical form and no pattern; its
 * query never matters, and one more trailing '/' only refuses it or changes nothing.  What decodes as a certificate
 * is of the length that its text allows, and as base64 it decodes to the same again.
 */
#include "issuer/authz/url.h"

#include "base/text.h"
#include "policy/names.h"
#include "tests/fuzz/fuzz.h"

#define PREFIX "https://erp.corp.example"

static void
fuzz_target(struct writ_bytes target)
{
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048), again = WRIT_BUF(2048), more = WRIT_BUF(4096);
	const size_t prefix = sizeof(PREFIX) - 1;

	if (!fuzz_accepted(url_resource(PREFIX, target, &resource))) {
		FUZZ_CHECK(resource.len == 0);
		return;
	}
	FUZZ_CHECK(resource.len >= prefix && resource.len - prefix <= target.len && resource.data[resource.len] == 0);
	FUZZ_CHECK(memcmp(resource.data, PREFIX, prefix) == 0);
	FUZZ_CHECK(memcmp(resource.data + prefix, target.data, resource.len - prefix) == 0);
	FUZZ_CHECK(fuzz_accepted(resource_check(writ_view(&resource))) && !resource_is_pattern(writ_view(&resource)));
	/* The path alone, with '/' and with a query, is the same resource. */
	FUZZ_CHECK(fuzz_accepted(writ_buf_add(&more, (struct writ_bytes){ target.data, resource.len - prefix })));
	FUZZ_CHECK(fuzz_accepted(writ_buf_add(&more, WRIT_LIT("/?/../%2f"))));
	FUZZ_CHECK(fuzz_accepted(url_resource(PREFIX, writ_view(&more), &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), writ_view(&resource)));
}

static void
fuzz_certificate(struct writ_bytes text)
{
	AUTO(writ_buf_done)
	struct writ_buf der = WRIT_BUF(URL_CERTIFICATE_MAX),
			again = WRIT_BUF(URL_CERTIFICATE_MAX), base64 = WRIT_BUF(2 * URL_CERTIFICATE_MAX);

	if (!fuzz_accepted(url_certificate(text, &der))) {
		FUZZ_CHECK(der.len == 0);
		return;
	}
	FUZZ_CHECK(der.len > 0 && der.len <= text.len / 4 * 3);
	FUZZ_CHECK(fuzz_accepted(writ_base64(writ_view(&der), &base64)));
	FUZZ_CHECK(fuzz_accepted(url_certificate(writ_view(&base64), &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), writ_view(&der)));
}

static void
fuzz_conf(struct writ_bytes text)
{
	struct authz_conf conf;

	if (!fuzz_accepted(authz_conf_parse("fuzz", "/", text, &conf)))
		return;
	FUZZ_CHECK(conf.n_routes > 0 && conf.n_anchors > 0 && conf.cache > 0);
	FUZZ_CHECK((conf.socket == NULL) != (conf.address == NULL));
	for (size_t i = 0; i < conf.n_routes; i++)
		FUZZ_CHECK(fuzz_accepted(resource_check(writ_str(conf.routes[i].pattern))));
	authz_conf_done(&conf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_bytes rest;
	uint8_t peer[16];

	if (len == 0)
		return 0;
	rest = (struct writ_bytes){ data + 1, len - 1 };
	switch (data[0]) {
	case 0:
		fuzz_target(rest);
		break;
	case 1:
		fuzz_certificate(rest);
		break;
	case 2:
		(void)url_peer(rest, peer);
		break;
	default:
		fuzz_conf(rest);
		break;
	}
	return 0;
}
