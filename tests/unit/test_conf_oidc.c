/*
 * writ.yaml, `oidc`: what is read, what is filled in, and every refusal with its message.
 */
#include <stdlib.h>

#include "issuer/conf/conf.h"
#include "tests/unit/expect.h"

/* 15 lines before `oidc`, whose entry is in line 17. */
static const char *
with_oidc(const char *entries)
{
	static char text[8192];

	snprintf(text, sizeof(text),
		 "version: 1\n"
		 "trust_domain: agents.corp.example\n"
		 "state: state\n"
		 "run: /run/writ\n"
		 "api: {certificate: ./api.pem, key: /etc/api.key}\n"
		 "status: {url: \"http://127.0.0.1:8080\"}\n"
		 "custody:\n"
		 "  tier: sealed\n"
		 "  tpm: {tcti: \"swtpm:path=/run/tpm\", auth_file: tpm.auth}\n"
		 "delegators:\n"
		 "  - anchors: corp.pem\n"
		 "    kind: human\n"
		 "    principal: \"spiffe://agents.corp.example/human/corp/{CN}\"\n"
		 "    revocation: none\n"
		 "policy: policy.yaml\n"
		 "oidc:\n%s"
		 "grants: {audience: \"https://writ.corp.example\"}\n",
		 entries);
	return text;
}

static struct writ_err *
parse(const char *entries)
{
	AUTO(conf_done) struct conf conf = { 0 };

	return conf_parse("writ.yaml", "/etc/writ", writ_str(with_oidc(entries)), &conf);
}

#define OKTA "  - {alias: okta, issuer: \"https://corp.okta.example\", client_id: writ, "

static void
a_provider_with_a_file_of_keys_gets_the_defaults(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(with_oidc(OKTA "jwks: okta.json}\n")), &conf));
	assert_int_equal(conf.n_oidc, 1);
	assert_string_equal(conf.oidc[0].alias, "okta");
	assert_string_equal(conf.oidc[0].issuer, "https://corp.okta.example");
	assert_string_equal(conf.oidc[0].client_id, "writ");
	assert_string_equal(conf.oidc[0].jwks_file, "/etc/writ/okta.json");
	assert_null(conf.oidc[0].jwks_url);
	assert_null(conf.oidc[0].ca);
	assert_int_equal(conf.oidc[0].algorithms, CONF_OIDC_RS256 | CONF_OIDC_PS256 | CONF_OIDC_ES256);
	assert_int_equal(conf.oidc[0].n_acr, 0);
	assert_int_equal(conf.oidc[0].max_age_s, 120);
	assert_int_equal(conf.oidc[0].max_auth_age_s, 0);
	assert_false(conf_fetches(&conf));
}

static void
everything_that_can_be_said_of_a_provider_is_read(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ",
			     writ_str(with_oidc(OKTA "jwks: okta.json}\n"
						     "  - alias: Kc_2\n"
						     "    issuer: http://127.0.0.1:8180/realms/a\n"
						     "    client_id: \"0oa 1\"\n"
						     "    jwks: http://127.0.0.1:8180/certs?p=1\n"
						     "    ca: kc.pem\n"
						     "    refresh: 1m\n"
						     "    algorithms: [ES256, PS256]\n"
						     "    acr: [\"urn:mfa\", \"2\"]\n"
						     "    max_age: 60s\n"
						     "    max_auth_age: 1h\n"
						     "users: {fetch: writ-fetch}\n")),
			     &conf));
	assert_int_equal(conf.n_oidc, 2);
	assert_string_equal(conf.oidc[1].alias, "Kc_2");
	assert_string_equal(conf.oidc[1].client_id, "0oa 1");
	assert_null(conf.oidc[1].jwks_file);
	assert_string_equal(conf.oidc[1].jwks_url, "http://127.0.0.1:8180/certs?p=1");
	assert_string_equal(conf.oidc[1].ca, "/etc/writ/kc.pem");
	assert_int_equal(conf.oidc[1].refresh_s, 60);
	assert_int_equal(conf.oidc[1].algorithms, CONF_OIDC_PS256 | CONF_OIDC_ES256);
	assert_int_equal(conf.oidc[1].n_acr, 2);
	assert_string_equal(conf.oidc[1].acr[0], "urn:mfa");
	assert_string_equal(conf.oidc[1].acr[1], "2");
	assert_int_equal(conf.oidc[1].max_age_s, 60);
	assert_int_equal(conf.oidc[1].max_auth_age_s, 3600);
	assert_string_equal(conf.users.fetch, "writ-fetch");
	assert_true(conf_fetches(&conf));
}

static void
what_is_missing_unknown_or_outside_its_grammar_is_refused(void **state)
{
	static const struct {
		const char *entries, *message;
	} all[] = {
		{ "  - x\n", "writ.yaml:17:5: an entry of oidc: found \"x\", wanted a map" },
		{ "  - {issuer: \"https://a\"}\n", "writ.yaml:17:5: oidc.alias is missing" },
		{ "  - {alias: a}\n", "writ.yaml:17:5: oidc.issuer is missing" },
		{ "  - {alias: a, issuer: \"https://a\"}\n", "writ.yaml:17:5: oidc.client_id is missing" },
		{ OKTA "max_age: 1m}\n", "writ.yaml:17:5: oidc.jwks is missing" },
		{ OKTA "jwks: j, secret: x}\n", "writ.yaml:17:82: unknown key \"secret\"; known here: alias, issuer, "
						"client_id, jwks, ca, refresh, acr, "
						"max_age, max_auth_age, algorithms" },
		{ "  - {alias: a.b}\n",
		  "writ.yaml:17:6: oidc.alias: found \"a.b\", wanted 1 to 64 of A-Z a-z 0-9 _ -" },
		{ "  - {alias: corp}\n",
		  "writ.yaml:17:6: oidc.alias: \"corp\" is the alias of a delegators entry already: one alias, one "
		  "authority" },
		{ "  - {alias: a, issuer: \"http://a.example\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"http://a.example\": it must begin with https:// (http:// only "
		  "to 127.0.0.1 and [::1])" },
		{ "  - {alias: a, issuer: \"http://127.0.0.1.evil.example\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"http://127.0.0.1.evil.example\": it must begin with https:// "
		  "(http:// only to 127.0.0.1 and [::1])" },
		{ "  - {alias: a, issuer: \"https://a.example?x\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"https://a.example?x\": it must have no query and no "
		  "fragment" },
		{ "  - {alias: a, issuer: \"https://me@a.example\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"https://me@a.example\": it must name no user" },
		{ "  - {alias: a, issuer: \"https:///x\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"https:///x\": it names no host" },
		{ "  - {alias: a, issuer: \"https://a b\"}\n",
		  "writ.yaml:17:16: oidc.issuer: found \"https://a b\": it has a character that no URL has" },
		{ OKTA "jwks: \"http://a.example/jwks\"}\n",
		  "writ.yaml:17:73: oidc.jwks: found \"http://a.example/jwks\": it must begin with https:// (http:// "
		  "only to 127.0.0.1 and [::1])" },
		{ OKTA "jwks: \"https://a.example/jwks#x\"}\n",
		  "writ.yaml:17:73: oidc.jwks: found \"https://a.example/jwks#x\": it must have no fragment" },
		{ OKTA "jwks: j, ca: c}\n",
		  "writ.yaml:17:82: oidc.ca belongs to a jwks that is an URL; \"j\" is a file" },
		{ OKTA "jwks: j, refresh: 1m}\n",
		  "writ.yaml:17:82: oidc.refresh belongs to a jwks that is an URL; \"j\" is a file" },
		{ OKTA "jwks: j, algorithms: []}\n",
		  "writ.yaml:17:82: oidc.algorithms is empty: no token would ever be good" },
		{ OKTA "jwks: j, algorithms: [HS256]}\n",
		  "writ.yaml:17:95: oidc.algorithms: found \"HS256\", wanted RS256, PS256 or ES256" },
		{ OKTA "jwks: j, algorithms: [none]}\n",
		  "writ.yaml:17:95: oidc.algorithms: found \"none\", wanted RS256, PS256 or ES256" },
		{ OKTA "jwks: j, acr: []}\n", "writ.yaml:17:82: oidc.acr has 0 entries, allowed are 1 to 16" },
		{ OKTA "jwks: j, acr: [\"a b\"]}\n",
		  "writ.yaml:17:88: oidc.acr: found \"a b\", wanted at most 128 visible ASCII characters" },
		{ OKTA "jwks: j}\n  - {alias: okta, issuer: \"https://b\", client_id: w, jwks: j}\n",
		  "writ.yaml:18:6: oidc.alias: \"okta\" stands twice" },
		{ OKTA "jwks: j}\n  - {alias: b, issuer: \"https://corp.okta.example\", client_id: w, jwks: j}\n",
		  "writ.yaml:18:16: oidc.issuer: \"https://corp.okta.example\" has an alias already: one issuer, one "
		  "alias" },
		{ "  []\n", "writ.yaml:16:1: oidc has 0 entries, allowed are 1 to 16" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(parse(all[i].entries), WRIT_INVALID, all[i].message);
}

static void
ages_are_bounded(void **state)
{
	(void)state;
	expect_ok(parse(OKTA "jwks: j, max_age: 10m}\n"));
	expect_refused(parse(OKTA "jwks: j, max_age: 11m}\n"), WRIT_INVALID,
		       "writ.yaml:17:82: oidc.max_age: found \"11m\", wanted a time from 10s to 600s, such as 90s, 5m or 8h");
	expect_refused(parse(OKTA "jwks: j, max_auth_age: 5s}\n"), WRIT_INVALID,
		       "writ.yaml:17:82: oidc.max_auth_age: found \"5s\", wanted a time from 10s to 2592000s, such as 90s, 5m or 8h");
	expect_refused(parse(OKTA "jwks: \"https://a\", refresh: 5s}\n"), WRIT_INVALID,
		       "writ.yaml:17:92: oidc.refresh: found \"5s\", wanted a time from 10s to 86400s, such as 90s, 5m or 8h");
}

static void
a_provider_needs_an_audience_and_no_key_of_a_grant(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char *text = strdup(with_oidc(OKTA "jwks: okta.json}\n"));

	(void)state;
	*strstr(text, "grants:") = '\0';
	expect_refused(conf_parse("writ.yaml", "/etc/writ", writ_str(text), &conf), WRIT_INVALID,
		       "writ.yaml:16:1: oidc needs grants.audience: what the grants that ID tokens authorise are for");
	free(text);
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(with_oidc(OKTA "jwks: okta.json}\n")), &conf));
	assert_string_equal(conf.grants.audience, "https://writ.corp.example");
	assert_int_equal(conf.grants.n_keys, 0);
}

static void
a_responder_of_a_delegators_entry_is_fetched_from(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char text[4096];
	const char *whole = with_oidc(OKTA "jwks: okta.json}\n"), *at = strstr(whole, "revocation: none");

	(void)state;
	snprintf(text, sizeof(text), "%.*srevocation: {ocsp: \"http://ocsp.corp.example/r\", max_age: 1m}%s",
		 (int)(at - whole), whole, at + strlen("revocation: none"));
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(text), &conf));
	assert_int_equal(conf.delegators[0].revocation, CONF_REVOCATION_OCSP);
	assert_string_equal(conf.delegators[0].ocsp, "http://ocsp.corp.example/r");
	assert_int_equal(conf.delegators[0].ocsp_max_age_s, 60);
	assert_true(conf_fetches(&conf));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_provider_with_a_file_of_keys_gets_the_defaults),
		cmocka_unit_test(everything_that_can_be_said_of_a_provider_is_read),
		cmocka_unit_test(what_is_missing_unknown_or_outside_its_grammar_is_refused),
		cmocka_unit_test(ages_are_bounded),
		cmocka_unit_test(a_responder_of_a_delegators_entry_is_fetched_from),
		cmocka_unit_test(a_provider_needs_an_audience_and_no_key_of_a_grant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
