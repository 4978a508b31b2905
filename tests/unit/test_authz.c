/*
 * writ-authz without a certificate: which URL is which resource, what a header may hold, and every refusal of
 * authz.yaml.  What it decides about real leaves is tests/system/test_authz.py.
 */
#include "issuer/authz/url.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/text.h"
#include "tests/unit/expect.h"

#define ERP "https://erp.corp.example"

/* ---- URL to resource ---- */

static const struct {
	const char *target, *resource;
} mapped[] = {
	{ "/", ERP },
	{ "/v2/invoices", ERP "/v2/invoices" },
	{ "/v2/invoices/", ERP "/v2/invoices" },
	{ "/v2/invoices/2026/q3?format=pdf&x=../..", ERP "/v2/invoices/2026/q3" },
	{ "/v2/invoices/?", ERP "/v2/invoices" },
	{ "/?/../..", ERP },
	{ "/a-b_c.d~e/!$&'()+,;=:@", ERP "/a-b_c.d~e/!$&'()+,;=:@" },
	{ "/a%2Ab%20c%25%C3%A9", ERP "/a%2Ab%20c%25%C3%A9" },
	{ "/...", ERP "/..." },
	{ "/...;x", ERP "/...;x" },
	{ "/a..;x/;..", ERP "/a..;x/;.." },
	{ "/.well-known/x", ERP "/.well-known/x" },
};

static void
a_url_in_canonical_form_is_the_prefix_and_the_path(void **state)
{
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048);

	(void)state;
	for (size_t i = 0; i < N_OF(mapped); i++) {
		expect_ok(url_resource(ERP, writ_str(mapped[i].target), &resource));
		assert_string_equal((const char *)resource.data, mapped[i].resource);
		assert_int_equal(resource.len, strlen(mapped[i].resource));
	}
}

static const struct {
	const char *target, *message;
} refused[] = {
	{ "", "URL: it does not begin with '/'" },
	{ "v2/invoices", "URL: it does not begin with '/'" },
	{ "https://erp.corp.example/v2", "URL: it does not begin with '/'" },
	{ "*", "URL: it does not begin with '/'" },
	{ "?/v2", "URL: it does not begin with '/'" },
	{ "//", "URL: '//' is refused" },
	{ "//v2/invoices", "URL: '//' is refused" },
	{ "/v2//invoices", "URL: '//' is refused" },
	{ "/v2/invoices//", "URL: '//' is refused" },
	{ "/v2/invoices//?x", "URL: '//' is refused" },
	{ "/v2%2Finvoices", "URL: %2F is refused: it would be read in two ways" },
	{ "/v2%5Cinvoices", "URL: %5C is refused: it would be read in two ways" },
	{ "/v2%00", "URL: %00 is refused: it would be read in two ways" },
	{ "/v2%2finvoices", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2%c3%a9", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2%", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2%2", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2%G0", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2%%32F", "URL: an escape is '%' and two hex digits in capitals" },
	{ "/v2/*", "URL: '*' is refused: an asterisk is written %2A" },
	{ "/v2/**", "URL: '*' is refused: an asterisk is written %2A" },
	{ "/v2/a*b", "URL: '*' is refused: an asterisk is written %2A" },
	{ "/v2#top", "URL: '#' is refused: a fragment is never sent" },
	{ "/v2/..;/admin", "URL: a dot segment with a parameter is refused" },
	{ "/v2/.;x=1/admin", "URL: a dot segment with a parameter is refused" },
	{ "/..;", "URL: a dot segment with a parameter is refused" },
	{ "/v2/../admin", NULL },
	{ "/v2/..", NULL },
	{ "/v2/../", NULL },
	{ "/..", NULL },
	{ "/.", NULL },
	{ "/./v2", NULL },
	{ "/v2/./invoices", NULL },
	{ "/v2/%2E%2E/admin", NULL },
	{ "/v2/.%2E/admin", NULL },
	{ "/v%32/invoices", NULL },
	{ "/v2/%61dmin", NULL },
	{ "/v2/%7Euser", NULL },
	{ "/v2\\invoices", NULL },
	{ "/v2/..\\admin", NULL },
	{ "/v2 invoices", NULL },
	{ "/v2\tinvoices", NULL },
	{ "/v2/\"x\"", NULL },
	{ "/v2/<x>", NULL },
	{ "/v2/{x}", NULL },
	{ "/v2/x|y", NULL },
	{ "/v2/^", NULL },
	{ "/v2/`", NULL },
	{ "/v2/[x]", NULL },
	{ "/v2/\xc3\xa9", NULL },
	{ "/v2/\x7f", NULL },
};

static void
a_url_that_two_parsers_could_read_in_two_ways_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048);

	(void)state;
	for (size_t i = 0; i < N_OF(refused); i++) {
		struct writ_err *err = url_resource(ERP, writ_str(refused[i].target), &resource);

		if (!err)
			fail_msg("%s became %s", refused[i].target, (const char *)resource.data);
		assert_int_equal(err->code, WRIT_INVALID);
		assert_int_equal(resource.len, 0);
		if (refused[i].message)
			assert_string_equal(err->message, refused[i].message);
		else /* the rest is said by the grammar of resources */
			assert_string_equal(err->message, "URL");
		writ_err_free(err);
	}
}

static void
every_byte_that_is_no_character_of_a_path_is_refused(void **state)
{
	static const char taken[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()+,;=:@/?";
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048);

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		const uint8_t target[] = { '/', 'a', (uint8_t)c };
		struct writ_err *err = url_resource(ERP, (struct writ_bytes){ target, sizeof(target) }, &resource);

		assert_int_equal(err == NULL, c != 0 && strchr(taken, (int)c) != NULL);
		writ_err_free(err);
	}
}

static void
every_escape_is_left_as_it_is_or_refused_and_never_decoded(void **state)
{
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048);
	char target[8], want[64];
	unsigned n_taken = 0;

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		const bool unreserved = c < 128 && (strchr("-._~", (int)c) || (c >= '0' && c <= '9') ||
						    (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
		struct writ_err *err;

		snprintf(target, sizeof(target), "/%%%02X", c);
		err = url_resource(ERP, writ_str(target), &resource);
		assert_int_equal(err != NULL, c == 0 || c == '/' || c == '\\' || unreserved);
		writ_err_free(err);
		if (err)
			continue;
		snprintf(want, sizeof(want), ERP "%s", target);
		assert_string_equal((const char *)resource.data, want);
		n_taken++;
	}
	assert_int_equal(n_taken, 256 - 66 - 3); /* all but the unreserved, '/', '\\' and NUL */
}

static void
a_path_over_the_limit_of_a_resource_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf resource = WRIT_BUF(2048);
	char target[2000];

	(void)state;
	memset(target, 'a', sizeof(target));
	target[0] = '/';
	expect_ok(url_resource(ERP, (struct writ_bytes){ (uint8_t *)target, 512 - strlen(ERP) }, &resource));
	assert_int_equal(resource.len, 512);
	for (size_t len = 512 - strlen(ERP) + 1; len <= 513; len++) {
		struct writ_err *err = url_resource(ERP, (struct writ_bytes){ (uint8_t *)target, len }, &resource);

		assert_non_null(err);
		writ_err_free(err);
	}
	expect_refused(url_resource(ERP, (struct writ_bytes){ (uint8_t *)target, 1999 }, &resource), WRIT_INVALID,
		       "URL: a path of 1999 bytes, at most 512 are possible");
}

/* ---- authz.yaml ---- */

#define HEAD                                                                                                           \
	"version: 1\n"								    /* 1 */                            \
	"listen: unix:/run/writ-authz/sock\n"					    /* 2 */                            \
	"anchors: [{certificate: anchor.pem, trust_domain: agents.corp.example}]\n" /* 3 */                            \
	"identities: [\"" ERP "\"]\n"						    /* 4 */                            \
	"lists: lists\n"							    /* 5 */                            \
	"prefix: \"" ERP "\"\n"							    /* 6 */
#define ROUTES                                                                                                         \
	"routes:\n"									 /* 7 */                       \
	"  - {methods: [GET, HEAD], path: /v2/invoices/**, action: \"invoices:read\"}\n" /* 8 */                       \
	"  - {methods: [POST], path: /v2/invoices, action: \"invoices:create\"}\n"	 /* 9 */                       \
	"  - {methods: [GET], path: /, action: \"erp:home\"}\n"				 /* 10 */                      \
	"  - {methods: [GET], path: /v2/invoices/*, action: \"never:read\"}\n"

static struct writ_err *
parse(const char *text, struct authz_conf *ret)
{
	return authz_conf_parse("authz.yaml", "/etc/writ", writ_str(text), ret);
}

static void
a_configuration_is_read_whole(void **state)
{
	AUTO(authz_conf_done) struct authz_conf conf = { 0 };
	static const char whole[] =
		"version: 1\n"
		"listen: \"[::1]:9180\"\n"
		"anchors:\n"
		"  - {certificate: /etc/anchor.pem, trust_domain: agents.corp.example}\n"
		"  - {certificate: next.pem, trust_domain: agents.corp.example}\n"
		"identities: [\"" ERP "\", \"https://erp2.corp.example\"]\n"
		"policies: [\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]\n"
		"acr: [\"urn:phr\"]\n"
		"options: {allow_software: true, hops_max: 3, demand_human: true, soft_fail: false}\n"
		"lists: /var/lib/writ-authz\n"
		"prefix: \"" ERP "/api\"\n"
		"routes: [{methods: [GET], path: /, action: \"a:b\"}]\n"
		"cache: 5\n"
		"log_level: warn\n";

	(void)state;
	expect_ok(parse(whole, &conf));
	assert_string_equal(conf.address, "::1");
	assert_int_equal(conf.port, 9180);
	assert_null(conf.socket);
	assert_int_equal(conf.n_anchors, 2);
	assert_string_equal(conf.anchors[1].certificate, "/etc/writ/next.pem");
	assert_int_equal(conf.n_identities, 2);
	assert_int_equal(conf.n_policies, 1);
	assert_int_equal(conf.policies[0][1], 0x11);
	assert_string_equal(conf.acrs[0], "urn:phr");
	assert_int_equal(conf.n_options, 4);
	assert_int_equal(conf.options[1].option, WRIT_HOPS_MAX);
	assert_int_equal(conf.options[1].value, 3);
	assert_int_equal(conf.options[3].option, WRIT_SOFT_FAIL);
	assert_int_equal(conf.options[3].value, 0);
	assert_string_equal(conf.lists, "/var/lib/writ-authz");
	assert_string_equal(conf.routes[0].pattern, ERP "/api");
	assert_int_equal(conf.cache, 5);
	assert_int_equal(conf.log_level, EVENT_WARN);
}

static void
method_and_path_are_an_action_by_the_first_route_that_takes_both(void **state)
{
	AUTO(authz_conf_done) struct authz_conf conf = { 0 };
	static const struct {
		const char *method, *path, *action;
	} asked[] = {
		{ "GET", "/v2/invoices/2026", "invoices:read" },
		{ "HEAD", "/v2/invoices/2026/q3/17", "invoices:read" },
		{ "GET", "/v2/invoices/17", "invoices:read" }, /* the first, not the most exact */
		{ "POST", "/v2/invoices", "invoices:create" },
		{ "GET", "", "erp:home" },
		{ "GET", "/v2/invoices", NULL }, /* a wildcard does not match its own base */
		{ "POST", "/v2/invoices/2026", NULL },
		{ "PUT", "/v2/invoices", NULL },
		{ "get", "/v2/invoices/2026", NULL },
		{ "GETS", "/v2/invoices/2026", NULL },
		{ "GE", "/v2/invoices/2026", NULL },
		{ "", "/v2/invoices/2026", NULL },
		{ "GET", "/v2/invoices2/2026", NULL },
		{ "GET", "/v2", NULL },
		{ "GET", "/V2/invoices/2026", NULL },
	};

	(void)state;
	expect_ok(parse(HEAD ROUTES, &conf));
	for (size_t i = 0; i < N_OF(asked); i++) {
		const struct authz_route *route;
		char resource[200];

		snprintf(resource, sizeof(resource), ERP "%s", asked[i].path);
		route = url_route(&conf, writ_str(asked[i].method), writ_str(resource));
		if (!asked[i].action)
			assert_null(route);
		else
			assert_string_equal(route ? route->action : "no route", asked[i].action);
	}
}

#define LISTEN(value) "version: 1\nlisten: " value "\nlists: l\n"
#define NOT_HERE                                                                                                       \
	"' is neither unix:/PATH nor ADDRESS:PORT of a loopback interface: whoever reaches it may ask about any "      \
	"certificate"

static const struct {
	const char *text, *message;
} conf_refused[] = {
	{ "", "authz.yaml: the file is empty" },
	{ "version: 2\n", "authz.yaml:1:1: version: found \"2\", wanted a number from 1 to 1" },
	{ "version: 1\n", "authz.yaml:1:1: lists is missing" },
	{ "version: 1\nlists: l\n", "authz.yaml:1:1: listen is missing" },
	{ LISTEN("\"0.0.0.0:80\""), "authz.yaml:2:1: listen: '0.0.0.0:80" NOT_HERE },
	{ LISTEN("\"10.0.0.1:80\""), "authz.yaml:2:1: listen: '10.0.0.1:80" NOT_HERE },
	{ LISTEN("\"[::]:80\""), "authz.yaml:2:1: listen: '[::]:80" NOT_HERE },
	{ LISTEN("\"localhost:80\""), "authz.yaml:2:1: listen: 'localhost:80" NOT_HERE },
	{ LISTEN("\"127.0.0.1:65536\""), "authz.yaml:2:1: listen: '127.0.0.1:65536" NOT_HERE },
	{ LISTEN("\"127.0.0.1\""), "authz.yaml:2:1: listen: '127.0.0.1" NOT_HERE },
	{ LISTEN("unix:sock"), "authz.yaml:2:1: listen: 'unix:sock" NOT_HERE },
	{ LISTEN("\"127.0.0.1:1\"") "socket_group: www-data\n",
	  "authz.yaml:4:1: socket_group: there is no socket in the file system" },
	{ LISTEN("unix:/s"), "authz.yaml:1:1: anchors is missing" },
	{ LISTEN("unix:/s") "anchors: []\n", "authz.yaml:4:1: anchors has 0 entries, 1 to 8 are allowed" },
	{ LISTEN("unix:/s") "anchors: [{certificate: a}]\n", "authz.yaml:4:11: trust_domain is missing" },
	{ LISTEN("unix:/s") "anchors: [{certificate: a, trust_domain: t}]\n",
	  "authz.yaml:1:1: identities is missing: who are we, as the audience of an agent names us?" },
	{ HEAD, "authz.yaml:1:1: routes is missing" },
	{ HEAD "routes: []\n", "authz.yaml:7:1: routes has 0 entries, 1 to 1000 are allowed" },
	{ HEAD "options: {allow_everything: true}\n", "authz.yaml:7:11: options: 'allow_everything' is none" },
	{ HEAD "options: {hops_max: 9}\n", "authz.yaml:7:11: hops_max: found \"9\", wanted a number from 1 to 8" },
	{ HEAD "policies: [abc]\n", "authz.yaml:7:12: a policy is named by its SHA-256: 64 hex digits" },
	{ HEAD "routes: [{methods: [get], path: /x, action: a}]\n",
	  "authz.yaml:7:21: a method is written in capital letters, at most 32: GET" },
	{ HEAD "routes: [{methods: [], path: /x, action: a}]\n",
	  "authz.yaml:7:11: methods has 0 entries, 1 to 16 are allowed" },
	{ HEAD "routes: [{methods: [GET], path: x, action: a}]\n", "authz.yaml:7:27: path does not begin with '/'" },
	{ HEAD "routes: [{methods: [GET], path: /x, action: \"a:*\"}]\n",
	  "authz.yaml:7:37: action is a pattern: a request is one action" },
	{ HEAD "routes: [{methods: [GET], path: /x}]\n", "authz.yaml:7:10: action is missing" },
	{ HEAD "routes: [{methods: [GET], path: /x, action: a, allow: true}]\n", NULL },
	{ HEAD "routes: [{methods: [GET], path: /x/../y, action: a}]\n", NULL },
	{ HEAD "routes: [{methods: [GET], path: /x/, action: a}]\n", NULL },
	{ HEAD "routes: [{methods: [GET], path: \"/x?y\", action: a}]\n", NULL },
	{ HEAD "routes: [{methods: [GET], path: \"/%2F\", action: a}]\n", NULL },
	{ HEAD "unknown: 1\n", NULL },
};

static void
a_configuration_that_is_wrong_is_refused_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(conf_refused); i++) {
		struct authz_conf conf;
		struct writ_err *err = parse(conf_refused[i].text, &conf);

		if (!err)
			fail_msg("accepted: %s", conf_refused[i].text);
		assert_int_equal(err->code, WRIT_INVALID);
		if (conf_refused[i].message)
			assert_string_equal(err->message, conf_refused[i].message);
		writ_err_free(err);
	}
}

static void
without_identities_every_audience_must_be_asked_for_by_name(void **state)
{
	AUTO(authz_conf_done) struct authz_conf conf = { 0 };

	(void)state;
	expect_ok(parse("version: 1\nlisten: unix:/s\nlists: l\nprefix: \"" ERP "\"\n"
			"anchors: [{certificate: a, trust_domain: t}]\noptions: {any_audience: true}\n"
			"routes: [{methods: [GET], path: /, action: a}]\n",
			&conf));
	assert_int_equal(conf.n_identities, 0);
}

/* ---- the certificate in a header ---- */

static const uint8_t der[] = { 0x30, 0x03, 0x02, 0x01, 0xfb, 0xef };
#define PEM_(begin, base64, end) "-----BEGIN%20" begin "-----%0A" base64 "%0A-----END%20" end "-----%0A"
#define PEM(base64) PEM_("CERTIFICATE", base64, "CERTIFICATE")

static void
a_certificate_is_read_from_escaped_pem_and_from_base64(void **state)
{
	AUTO(writ_buf_done) struct writ_buf got = WRIT_BUF(URL_CERTIFICATE_MAX);

	(void)state;
	expect_ok(url_certificate(WRIT_LIT(PEM("MAMCAfvv")), &got));
	expect_bytes(writ_view(&got), ((struct writ_bytes){ der, sizeof(der) }));
	expect_ok(url_certificate(WRIT_LIT("MAMCAfvv"), &got));
	expect_bytes(writ_view(&got), ((struct writ_bytes){ der, sizeof(der) }));
	expect_ok(url_certificate(WRIT_LIT(PEM("%2B%2F8%3D")), &got)); /* "+/8=" */
	assert_int_equal(got.len, 2);
}

static const char *const not_certificates[] = {
	"",
	"MAMCAfv",				 /* no padding */
	"MAMCAf-_",				 /* base64url */
	"MAMC Afvv",				 /* a space */
	"MAMCAfvv,MAMCAfvv",			 /* two headers made one */
	"-----BEGIN CERTIFICATE-----\tMAMCAfvv", /* $ssl_client_cert: not escaped */
	PEM("MAMCAfvv") "x",			 /* something behind it */
	PEM("MAMCAfvv") PEM("MAMCAfvv"),	 /* two certificates */
	PEM("MAMC%0D%0AAfvv"),			 /* CR */
	PEM("MAMC+Afv"),			 /* '+' not escaped */
	PEM("MAMC/Afv"),			 /* '/' not escaped */
	PEM("MAMC%2bAfv"),			 /* lower-case hex */
	PEM("MAMC%41fvv"),			 /* a letter, escaped */
	PEM("MAMC%00fvv"),			 /* NUL */
	PEM("MAMC%"),				 /* cut escapes */
	PEM("MAMCAfvv%3"),
	PEM("!"),
	PEM(""),
	PEM_("CERTIFICATE", "MAMCAfvv", "PRIVATE%20KEY"),
	PEM_("PRIVATE%20KEY", "MAMCAfvv", "PRIVATE%20KEY"),
	"x" PEM("MAMCAfvv"),
	"%2D----BEGIN%20CERTIFICATE-----%0AMAMCAfvv%0A-----END%20CERTIFICATE-----%0A",
	"-----BEGIN%20CERTIFICATE-----%0AMAMCAfvv",
	"-----BEGIN%20CERTIFICATE-----%0A",
	"-----BEGIN+CERTIFICATE-----%0AMAMCAfvv%0A-----END+CERTIFICATE-----%0A",
};

static void
anything_else_in_its_place_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf got = WRIT_BUF(URL_CERTIFICATE_MAX);
	static uint8_t long_one[URL_CERTIFICATE_MAX + 4];

	(void)state;
	for (size_t i = 0; i < N_OF(not_certificates); i++) {
		struct writ_err *err = url_certificate(writ_str(not_certificates[i]), &got);

		if (!err)
			fail_msg("accepted: %s", not_certificates[i]);
		assert_int_equal(err->code, WRIT_INVALID);
		assert_int_equal(got.len, 0);
		writ_err_free(err);
	}
	memset(long_one, 'A', sizeof(long_one));
	expect_refused(url_certificate((struct writ_bytes){ long_one, sizeof(long_one) }, &got), WRIT_EXHAUSTED,
		       "certificate: 8196 characters, at most 8192 are possible");
}

static void
an_address_is_4_or_16_bytes_or_none(void **state)
{
	static const char *const none[] = { "",	     "10.0.0", "10.0.0.1:80", "10.0.0.256",	   " 10.0.0.1",
					    "unix:", "[::1]",  "::1%eth0",    "10.0.0.1, 1.1.1.1", "localhost" };
	uint8_t peer[16], want[16];

	(void)state;
	assert_int_equal(url_peer(WRIT_LIT("10.1.2.3"), peer), 4);
	assert_memory_equal(peer, "\x0a\x01\x02\x03", 4);
	assert_int_equal(url_peer(WRIT_LIT("::ffff:10.1.2.3"), peer), 4);
	assert_memory_equal(peer, "\x0a\x01\x02\x03", 4);
	assert_int_equal(url_peer(WRIT_LIT("2001:db8::1"), peer), 16);
	inet_pton(AF_INET6, "2001:db8::1", want);
	assert_memory_equal(peer, want, 16);
	for (size_t i = 0; i < N_OF(none); i++)
		assert_int_equal(url_peer(writ_str(none[i]), peer), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_url_in_canonical_form_is_the_prefix_and_the_path),
		cmocka_unit_test(a_url_that_two_parsers_could_read_in_two_ways_is_refused),
		cmocka_unit_test(every_byte_that_is_no_character_of_a_path_is_refused),
		cmocka_unit_test(every_escape_is_left_as_it_is_or_refused_and_never_decoded),
		cmocka_unit_test(a_path_over_the_limit_of_a_resource_is_refused),
		cmocka_unit_test(method_and_path_are_an_action_by_the_first_route_that_takes_both),
		cmocka_unit_test(a_configuration_is_read_whole),
		cmocka_unit_test(a_configuration_that_is_wrong_is_refused_with_its_place),
		cmocka_unit_test(without_identities_every_audience_must_be_asked_for_by_name),
		cmocka_unit_test(a_certificate_is_read_from_escaped_pem_and_from_base64),
		cmocka_unit_test(anything_else_in_its_place_is_refused),
		cmocka_unit_test(an_address_is_4_or_16_bytes_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
