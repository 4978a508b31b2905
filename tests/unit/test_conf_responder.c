/*
 * A responder's configuration: what is read, what is filled in, and every refusal with its message.
 */
#include "issuer/conf/responder.h"
#include "tests/unit/expect.h"

/* Lines are numbered in messages: keep the order. */
#define HEAD "version: 1\nstatus: {listen: \"[::1]:80\"}\nresponder:\n"
#define URLS "  issuer: https://i.corp.example:8443\n  status: http://i.corp.example:8080\n"
#define FILES "  ca: ca.pem\n  certificate: /etc/r.pem\n  key: credential:client-key\n"

static struct writ_err *
parse(const char *text, struct conf_responder *ret)
{
	return conf_responder_parse("r.yaml", "/etc/writ", writ_str(text), ret);
}

static void
the_least_file_gets_the_defaults(void **state)
{
	AUTO(conf_responder_done) struct conf_responder conf = { 0 };

	(void)state;
	expect_ok(parse(HEAD URLS FILES, &conf));
	assert_string_equal(conf.issuer, "https://i.corp.example:8443");
	assert_string_equal(conf.upstream, "http://i.corp.example:8080");
	assert_string_equal(conf.ca, "/etc/writ/ca.pem");
	assert_string_equal(conf.certificate, "/etc/r.pem");
	assert_string_equal(conf.key, "credential:client-key");
	assert_string_equal(conf.common.status.host, "::1");
	assert_int_equal(conf.common.status.port, 80);
	assert_int_equal(conf.connections, 10000);
	assert_int_equal(conf.lag_max_s, 5);
	assert_int_equal(conf.entries_max, 4000000);
	assert_int_equal(conf.common.threads, 1);
	assert_null(conf.user);
}

static void
everything_is_read(void **state)
{
	AUTO(conf_responder_done) struct conf_responder conf = { 0 };

	(void)state;
	expect_ok(parse("version: 1\nstatus: {listen: 127.0.0.1:9, connections: 7}\nuser: writ-responder\nthreads: 3\n"
			"log_level: warn\nresponder:\n" URLS "  ca: ca.pem\n  certificate: c.pem\n  key: k.pem\n"
			"  lag_max_s: 1\n  entries_max: 1000\n",
			&conf));
	assert_string_equal(conf.key, "/etc/writ/k.pem");
	assert_string_equal(conf.user, "writ-responder");
	assert_int_equal(conf.connections, 7);
	assert_int_equal(conf.lag_max_s, 1);
	assert_int_equal(conf.entries_max, 1000);
	assert_int_equal(conf.common.threads, 3);
	assert_int_equal(conf.common.log_level, EVENT_WARN);
}

static void
what_is_wrong_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "r.yaml: the file is empty" },
		{ "version: 2\nstatus: {}\nresponder: {}\n", "r.yaml:1:1: version is 2, this program reads version 1" },
		{ "version: 1\nstatus: {}\n", "r.yaml:1:1: responder is missing" },
		{ "version: 1\nresponder: {}\n", "r.yaml:1:1: status is missing" },
		{ HEAD URLS FILES "custody: {}\n", "r.yaml:9:1: unknown key \"custody\"; known here: version, status, "
						   "responder, user, threads, log_level" },
		{ "version: 1\nstatus: {url: \"http://a\"}\nresponder: {}\n",
		  "r.yaml:2:10: unknown key \"url\"; known here: listen, connections" },
		{ HEAD "  issuer: http://i.corp.example\n  status: http://a\n" FILES,
		  "r.yaml:4:3: responder.issuer: found \"http://i.corp.example\": it must begin with https:// (http:// "
		  "only to 127.0.0.1 and [::1])" },
		{ HEAD "  issuer: http://127.0.0.1:1\n  status: http://a\n" FILES,
		  "r.yaml:4:3: responder.issuer: found \"http://127.0.0.1:1\": it must begin with https://" },
		{ HEAD "  issuer: https://a/\n  status: http://a\n" FILES,
		  "r.yaml:4:3: responder.issuer: found \"https://a/\": it must not end in a slash" },
		{ HEAD "  issuer: https://u@a\n  status: http://a\n" FILES,
		  "r.yaml:4:3: responder.issuer: found \"https://u@a\": it must name no user" },
		{ HEAD "  issuer: https://a\n  status: http://a/?x\n" FILES,
		  "r.yaml:5:3: responder.status: found \"http://a/?x\": it must have no query and no fragment" },
		{ HEAD URLS "  ca: ca.pem\n  certificate: c.pem\n", "r.yaml:3:1: responder.key is missing" },
		{ HEAD URLS "  ca: a\n  certificate: c\n  key: fd:2\n",
		  "r.yaml:8:3: responder.key: found \"fd:2\", wanted fd:N with N from 3 to 1023" },
		{ HEAD URLS FILES "  lag_max_s: 0\n",
		  "r.yaml:9:3: responder.lag_max_s: found \"0\", wanted a number from 1 to 300" },
		{ HEAD URLS FILES "user: Root\n", "r.yaml:9:1: user: found \"Root\", wanted a name of 1 to 32 of a-z "
						  "0-9 _ -, beginning with a letter or _" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct conf_responder conf;

		expect_refused(parse(cases[i].text, &conf), WRIT_INVALID, cases[i].message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_file_gets_the_defaults),
		cmocka_unit_test(everything_is_read),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
