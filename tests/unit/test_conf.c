/*
 * writ.yaml: what is read, what is filled in, and every refusal with its message.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "issuer/conf/conf.h"
#include "tests/unit/expect.h"

/* Lines are numbered in messages: keep the order. */
static const char small[] = "version: 1\n"							/* 1 */
			    "trust_domain: agents.corp.example\n"				/* 2 */
			    "state: state\n"							/* 3 */
			    "run: /run/writ\n"							/* 4 */
			    "api: {certificate: ./api.pem, key: /etc/api.key}\n"		/* 5 */
			    "status: {url: \"http://127.0.0.1:8080\"}\n"			/* 6 */
			    "custody:\n"							/* 7 */
			    "  tier: sealed\n"							/* 8 */
			    "  tpm: {tcti: \"swtpm:path=/run/tpm\", auth_file: tpm.auth}\n"	/* 9 */
			    "delegators:\n"							/* 10 */
			    "  - anchors: corp.pem\n"						/* 11 */
			    "    kind: human\n"							/* 12 */
			    "    principal: \"spiffe://agents.corp.example/human/corp/{CN}\"\n" /* 13 */
			    "    revocation: none\n"						/* 14 */
			    "policy: policy.yaml\n";						/* 15 */

static const char whole[] = "version: 1\n"
			    "trust_domain: agents.corp.example\n"
			    "state: /var/lib/writ/\n"
			    "run: ../run\n"
			    "api:\n"
			    "  listen: \"[::1]:9443\"\n"
			    "  certificate: api.pem\n"
			    "  key: api.key\n"
			    "status:\n"
			    "  listen: 0.0.0.0:80\n"
			    "  url: https://status.corp.example/writ\n"
			    "custody:\n"
			    "  tier: resident\n"
			    "  anchor: device\n"
			    "  pkcs11:\n"
			    "    module: /usr/lib/softhsm/libsofthsm2.so\n"
			    "    uri: \"pkcs11:token=writ\"\n"
			    "    pin_file: pin\n"
			    "    environment: [\"SOFTHSM2_CONF=/etc/softhsm2.conf\", \"DEBUG=\"]\n"
			    "delegators:\n"
			    "  - anchors: /etc/ci.pem\n"
			    "    kind: service\n"
			    "    principal: \"spiffe://agents.corp.example/service/ci/{SAN:dns}/x\"\n"
			    "    revocation: {crl: ci.crl, max_age: 8h}\n"
			    "  - anchors: spire.pem\n"
			    "    kind: service\n"
			    "    principal: \"{SAN:URI}\"\n"
			    "    revocation: none\n"
			    "policy: policy.yaml\n"
			    "limits:\n"
			    "  connections: 5\n"
			    "  connections_per_address: 4\n"
			    "  requests_per_principal_s: 3\n"
			    "  requests_per_delegator_s: 9\n"
			    "  under_way: 6\n"
			    "  waiting: 7\n"
			    "  wait_ms: 8\n"
			    "  handshakes_s: 2\n"
			    "  leaves_per_edge: 1\n"
			    "  children_per_edge: 10000\n"
			    "  ocsp_nonces_s: 11\n"
			    "  ocsp_misses_s: 12\n"
			    "log: {node: b2}\n"
			    "users: {issuer: writ-issuer, signer: writ-signer, device: _writ, log_group: writ-log}\n"
			    "threads: 64\n"
			    "log_level: warn\n";

static struct writ_err *
parse(const char *text)
{
	AUTO(conf_done) struct conf conf = { 0 };

	return conf_parse("writ.yaml", "/etc/writ", writ_str(text), &conf);
}

/* `small` with its lines from `first` to `last` replaced; appended to with 0, 0. */
static const char *
with_lines(unsigned first, unsigned last, const char *line)
{
	static char out[8192];
	const char *at = small, *end;
	size_t len = 0;

	for (unsigned i = 1; *at; i++, at = end + 1) {
		end = strchr(at, '\n');
		if (i > first && i <= last)
			continue;
		if (i == first)
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%s\n", line);
		else
			len += (size_t)snprintf(out + len, sizeof(out) - len, "%.*s\n", (int)(end - at), at);
	}
	if (first == 0)
		snprintf(out + len, sizeof(out) - len, "%s\n", line);
	return out;
}

static const char *
with_line(unsigned n, const char *line)
{
	return with_lines(n, n, line);
}

static void
a_generation_signs_for_ten_seconds_to_a_week(void **state)
{
	static const struct {
		const char *line, *message;
		unsigned rotation_s;
	} all[] = {
		{ "  tier: sealed\n  rotation_s: 10", NULL, 10 },
		{ "  tier: sealed\n  rotation_s: 604800", NULL, 604800 },
		{ "  tier: sealed\n  rotation_s: 9",
		  "writ.yaml:9:3: custody.rotation_s: found 9, wanted 10 to 604800: of faster rotations too many "
		  "generations would live at once",
		  0 },
		{ "  tier: sealed\n  rotation_s: 604801",
		  "writ.yaml:9:3: custody.rotation_s: found \"604801\", wanted a number from 1 to 604800", 0 },
		{ "  tier: sealed\n  rotation_s: 4h",
		  "writ.yaml:9:3: custody.rotation_s: found \"4h\", wanted a number from 1 to 604800", 0 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		AUTO(conf_done) struct conf conf = { 0 };
		struct writ_err *err = conf_parse("writ.yaml", "/etc/writ", writ_str(with_line(8, all[i].line)), &conf);

		if (all[i].message) {
			expect_refused(err, WRIT_INVALID, all[i].message);
		} else {
			expect_ok(err);
			assert_int_equal(conf.custody.rotation_s, all[i].rotation_s);
		}
	}
}

static void
a_small_file_gets_the_defaults(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(small), &conf));
	assert_string_equal(conf.path, "writ.yaml");
	assert_string_equal(conf.trust_domain, "agents.corp.example");
	assert_string_equal(conf.state, "/etc/writ/state");
	assert_string_equal(conf.run, "/run/writ");
	assert_string_equal(conf.api.host, "127.0.0.1");
	assert_int_equal(conf.api.port, 8443);
	assert_string_equal(conf.api_certificate, "/etc/writ/api.pem");
	assert_string_equal(conf.api_key, "/etc/api.key");
	assert_string_equal(conf.status.host, "127.0.0.1");
	assert_int_equal(conf.status.port, 8080);
	assert_string_equal(conf.status_url, "http://127.0.0.1:8080");
	assert_int_equal(conf.custody.tier, TIER_SEALED);
	assert_string_equal(conf.custody.scheme, "tpm2");
	assert_string_equal(conf.custody.tcti, "swtpm:path=/run/tpm");
	assert_false(conf.custody.allow_software_tpm);
	assert_string_equal(conf.custody.auth_file, "/etc/writ/tpm.auth");
	assert_int_equal(conf.custody.rotation_s, 14400);
	assert_null(conf.custody.module);
	assert_null(conf.custody.standby);
	assert_int_equal(conf.n_delegators, 1);
	assert_string_equal(conf.delegators[0].anchors, "/etc/writ/corp.pem");
	assert_int_equal(conf.delegators[0].kind, CONF_HUMAN);
	assert_string_equal(conf.delegators[0].principal, "spiffe://agents.corp.example/human/corp/{CN}");
	assert_int_equal(conf.delegators[0].revocation, CONF_REVOCATION_NONE);
	assert_null(conf.delegators[0].crl);
	assert_int_equal(conf.delegators[0].line, 11);
	assert_string_equal(conf.policy, "/etc/writ/policy.yaml");
	assert_int_equal(conf.limits.connections, 10000);
	assert_int_equal(conf.limits.connections_per_address, 1000);
	assert_int_equal(conf.limits.requests_per_principal_s, 1000);
	assert_int_equal(conf.limits.requests_per_delegator_s, 2000);
	assert_int_equal(conf.limits.under_way, 96);
	assert_int_equal(conf.limits.waiting, 2048);
	assert_int_equal(conf.limits.wait_ms, 2000);
	assert_int_equal(conf.limits.handshakes_s, 500);
	assert_int_equal(conf.limits.ocsp_nonces_s, 200);
	assert_int_equal(conf.limits.ocsp_misses_s, 5000);
	assert_int_equal(conf.limits.leaves_per_edge, 16);
	assert_int_equal(conf.limits.children_per_edge, 100);
	assert_string_equal(conf.log_origin, "agents.corp.example/writ/n1");
	assert_null(conf.users.issuer);
	assert_null(conf.users.log_group);
	assert_int_equal(conf.threads, 1);
	assert_int_equal(conf.log_level, EVENT_INFO);
}

static void
everything_that_can_be_said_is_read(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(whole), &conf));
	assert_string_equal(conf.state, "/var/lib/writ");
	assert_string_equal(conf.run, "/etc/writ/../run");
	assert_string_equal(conf.api.host, "::1");
	assert_int_equal(conf.api.port, 9443);
	assert_string_equal(conf.status.host, "0.0.0.0");
	assert_int_equal(conf.status.port, 80);
	assert_string_equal(conf.status_url, "https://status.corp.example/writ");
	assert_int_equal(conf.custody.tier, TIER_RESIDENT);
	assert_string_equal(conf.custody.scheme, "pkcs11");
	assert_string_equal(conf.custody.module, "/usr/lib/softhsm/libsofthsm2.so");
	assert_string_equal(conf.custody.uri, "pkcs11:token=writ");
	assert_string_equal(conf.custody.pin_file, "/etc/writ/pin");
	assert_int_equal(conf.custody.n_environment, 2);
	assert_string_equal(conf.custody.environment[0], "SOFTHSM2_CONF=/etc/softhsm2.conf");
	assert_string_equal(conf.custody.environment[1], "DEBUG=");
	assert_null(conf.custody.tcti);
	assert_int_equal(conf.n_delegators, 2);
	assert_int_equal(conf.delegators[0].kind, CONF_SERVICE);
	assert_int_equal(conf.delegators[0].revocation, CONF_REVOCATION_CRL);
	assert_string_equal(conf.delegators[0].crl, "/etc/writ/ci.crl");
	assert_int_equal(conf.delegators[0].crl_max_age_s, 8 * 3600);
	assert_string_equal(conf.delegators[1].principal, "{SAN:URI}");
	assert_int_equal(conf.limits.connections, 5);
	assert_int_equal(conf.limits.connections_per_address, 4);
	assert_int_equal(conf.limits.requests_per_principal_s, 3);
	assert_int_equal(conf.limits.requests_per_delegator_s, 9);
	assert_int_equal(conf.limits.under_way, 6);
	assert_int_equal(conf.limits.waiting, 7);
	assert_int_equal(conf.limits.wait_ms, 8);
	assert_int_equal(conf.limits.handshakes_s, 2);
	assert_int_equal(conf.limits.ocsp_nonces_s, 11);
	assert_int_equal(conf.limits.ocsp_misses_s, 12);
	assert_int_equal(conf.limits.leaves_per_edge, 1);
	assert_int_equal(conf.limits.children_per_edge, 10000);
	assert_string_equal(conf.log_origin, "agents.corp.example/writ/b2");
	assert_string_equal(conf.users.issuer, "writ-issuer");
	assert_string_equal(conf.users.signer, "writ-signer");
	assert_string_equal(conf.users.device, "_writ");
	assert_string_equal(conf.users.log_group, "writ-log");
	assert_int_equal(conf.threads, 64);
	assert_int_equal(conf.log_level, EVENT_WARN);
}

static void
the_digest_is_of_the_bytes(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	uint8_t want[32];

	(void)state;
	writ_sha256(writ_str(small), want);
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(small), &conf));
	assert_memory_equal(conf.digest, want, 32);
	conf_done(&conf);
	writ_sha256(writ_str(with_line(0, "# a comment counts")), want);
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(with_line(0, "# a comment counts")), &conf));
	assert_memory_equal(conf.digest, want, 32);
}

static void
every_key_without_a_default_must_be_there(void **state)
{
	static const struct {
		unsigned line;
		const char *instead, *message;
	} all[] = {
		{ 1, "# none", "writ.yaml:2:1: version is missing" },
		{ 2, "# none", "writ.yaml:1:1: trust_domain is missing" },
		{ 3, "# none", "writ.yaml:1:1: state is missing" },
		{ 4, "# none", "writ.yaml:1:1: run is missing" },
		{ 5, "# none", "writ.yaml:1:1: api is missing" },
		{ 5, "api: {key: k}", "writ.yaml:5:1: api.certificate is missing" },
		{ 5, "api: {certificate: c}", "writ.yaml:5:1: api.key is missing" },
		{ 6, "# none", "writ.yaml:1:1: status is missing" },
		{ 6, "status: {}", "writ.yaml:6:1: status.url is missing" },
		{ 8, "# none", "writ.yaml:7:1: custody.tier is missing" },
		{ 9, "  tpm: {auth_file: a}", "writ.yaml:9:3: custody.tpm.tcti is missing" },
		{ 9, "  tpm: {tcti: a}", "writ.yaml:9:3: custody.tpm.auth_file is missing" },
		{ 9, "# none", "writ.yaml:7:1: custody has neither of tpm and pkcs11, wanted is one" },
		{ 9, "  pkcs11: {uri: \"pkcs11:token=t\", pin_file: p}",
		  "writ.yaml:9:3: custody.pkcs11.module is missing" },
		{ 9, "  pkcs11: {module: /m.so, pin_file: p}", "writ.yaml:9:3: custody.pkcs11.uri is missing" },
		{ 9, "  pkcs11: {module: /m.so, uri: \"pkcs11:token=t\"}",
		  "writ.yaml:9:3: custody.pkcs11.pin_file is missing" },
		{ 11, "  - anchor: corp.pem",
		  "writ.yaml:11:5: unknown key \"anchor\"; known here: anchors, kind, principal, revocation" },
		{ 12, "# none", "writ.yaml:11:5: delegators.kind is missing" },
		{ 13, "# none", "writ.yaml:11:5: delegators.principal is missing" },
		{ 14, "# none",
		  "writ.yaml:11:5: delegators.revocation is missing: say none, {crl: FILE, max_age: DURATION} or "
		  "{ocsp: URL, max_age: DURATION}" },
		{ 14, "    revocation: {max_age: 1h}", "writ.yaml:14:5: delegators.revocation.crl is missing" },
		{ 14, "    revocation: {crl: c}", "writ.yaml:14:5: delegators.revocation.max_age is missing" },
		{ 15, "# none", "writ.yaml:1:1: policy is missing" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(parse(with_line(all[i].line, all[i].instead)), WRIT_INVALID, all[i].message);
}

static void
unknown_keys_are_refused_everywhere(void **state)
{
	(void)state;
	expect_refused(
		parse(with_line(0, "trust-domain: x")), WRIT_INVALID,
		"writ.yaml:16:1: unknown key \"trust-domain\"; known here: version, trust_domain, state, run, api, "
		"status, custody, delegators, grants, oidc, policy, limits, log, users, threads, log_level");
	expect_refused(parse(with_line(5, "api: {certificate: c, key: k, ca: x}")), WRIT_INVALID,
		       "writ.yaml:5:31: unknown key \"ca\"; known here: listen, certificate, key");
	expect_refused(parse(with_line(6, "status: {urls: x}")), WRIT_INVALID,
		       "writ.yaml:6:10: unknown key \"urls\"; known here: listen, url, crl_shard_entries");
	expect_refused(parse(with_line(8, "  software: true")), WRIT_INVALID,
		       "writ.yaml:8:3: unknown key \"software\"; known here: tier, anchor, operator, rotation_s, standby, retiring, tpm, pkcs11");
	expect_refused(parse(with_line(9, "  tpm: {tcti: a, auth_file: b, pcr: c}")), WRIT_INVALID,
		       "writ.yaml:9:32: unknown key \"pcr\"; known here: tcti, allow_software_tpm, auth_file, pcrs, approval_key, approvals");
	expect_refused(parse(with_line(9, "  pkcs11: {pin: 1234}")), WRIT_INVALID,
		       "writ.yaml:9:12: unknown key \"pin\"; known here: module, uri, pin_file, environment, paths");
	expect_refused(parse(with_line(14, "    revocation: {ocsps: x}")), WRIT_INVALID,
		       "writ.yaml:14:18: unknown key \"ocsps\"; known here: crl, ocsp, max_age");
	expect_refused(parse(with_line(0, "limits: {edges: 1}")), WRIT_INVALID,
		       "writ.yaml:16:10: unknown key \"edges\"; known here: connections, connections_per_address, "
		       "requests_per_principal_s, requests_per_delegator_s, under_way, waiting, wait_ms, handshakes_s, leaves_per_ed...");
	expect_refused(parse(with_line(0, "log: {name: x}")), WRIT_INVALID,
		       "writ.yaml:16:7: unknown key \"name\"; known here: origin, node");
	expect_refused(parse(with_line(0, "users: {root: x}")), WRIT_INVALID,
		       "writ.yaml:16:9: unknown key \"root\"; known here: issuer, signer, device, fetch, operator, log_group");
}

static void
wrong_kinds_of_values_are_refused(void **state)
{
	(void)state;
	expect_refused(parse(""), WRIT_INVALID, "writ.yaml: the file is empty");
	expect_refused(parse("- a\n"), WRIT_INVALID, "writ.yaml:1:1: the configuration: found a list, wanted a map");
	expect_refused(parse(with_line(1, "version: one")), WRIT_INVALID,
		       "writ.yaml:1:1: version: found \"one\", wanted a number from 0 to 4294967295");
	expect_refused(parse(with_line(3, "state: [a]")), WRIT_INVALID,
		       "writ.yaml:3:1: state: found a list, wanted a text");
	expect_refused(parse(with_line(3, "state:")), WRIT_INVALID,
		       "writ.yaml:3:1: state: found nothing, wanted a text");
	expect_refused(parse(with_line(3, "state: \"\"")), WRIT_INVALID, "writ.yaml:3:1: state is empty");
	expect_refused(parse(with_line(3, "state: \"a\\nb\"")), WRIT_INVALID,
		       "writ.yaml:3:1: state has a control character");
	expect_refused(parse(with_line(5, "api: x")), WRIT_INVALID, "writ.yaml:5:1: api: found \"x\", wanted a map");
	expect_refused(
		parse(with_line(9, "  tpm: {tcti: a, auth_file: b, allow_software_tpm: yes}")), WRIT_INVALID,
		"writ.yaml:9:32: custody.tpm.allow_software_tpm: found \"yes\", wanted true or false, without quotes");
	expect_refused(parse(with_line(9, "  tpm: [a]")), WRIT_INVALID,
		       "writ.yaml:9:3: custody.tpm: found a list, wanted a map");
	expect_refused(parse(with_line(0, "threads: \"2\"")), WRIT_INVALID,
		       "writ.yaml:16:1: threads: found the quoted text \"2\", wanted a number from 1 to 64");
	expect_refused(parse(with_line(0, "limits: 5")), WRIT_INVALID,
		       "writ.yaml:16:1: limits: found \"5\", wanted a map");
	expect_refused(parse("delegators:\n  - x\n"), WRIT_INVALID, "writ.yaml:1:1: version is missing");
	expect_refused(parse(with_line(14, "    revocation: [none]")), WRIT_INVALID,
		       "writ.yaml:14:5: delegators.revocation: found a list, wanted a map");
	expect_refused(parse(with_line(1, "\tversion: 1")), WRIT_INVALID,
		       "writ.yaml:1:1: a tab: indent and separate with spaces");
}

static void
values_outside_their_grammar_are_refused(void **state)
{
	static const struct {
		unsigned line;
		const char *instead, *message;
	} all[] = {
		{ 1, "version: 2", "writ.yaml:1:1: version is 2, this program reads version 1" },
		{ 2, "trust_domain: Corp.example",
		  "writ.yaml:2:1: trust_domain: found \"Corp.example\", wanted a-z 0-9 . - _" },
		{ 2, "trust_domain: corp.example/x",
		  "writ.yaml:2:1: trust_domain: found \"corp.example/x\", wanted a-z 0-9 . - _" },
		{ 2, "trust_domain: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "writ.yaml:2:1: trust_domain has 65 bytes, at most 64 are allowed" },
		{ 4, "run: /run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "writ.yaml:4:1: run is a path of 91 bytes, at most 90 are allowed: sockets lie there" },
		{ 4, "run: /etc/writ/state/", "writ.yaml:4:1: run and state are the same folder" },
		{ 5, "api: {certificate: c, key: k, listen: localhost:8443}",
		  "writ.yaml:5:31: api.listen: found \"localhost:8443\", wanted IP:PORT, as 127.0.0.1:8443 or "
		  "[::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: 127.0.0.1}",
		  "writ.yaml:5:31: api.listen: found \"127.0.0.1\", wanted IP:PORT, as 127.0.0.1:8443 or [::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"127.0.0.1:0\"}",
		  "writ.yaml:5:31: api.listen: found \"127.0.0.1:0\", wanted IP:PORT, as 127.0.0.1:8443 or "
		  "[::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"127.0.0.1:65536\"}",
		  "writ.yaml:5:31: api.listen: found \"127.0.0.1:65536\", wanted IP:PORT, as 127.0.0.1:8443 or "
		  "[::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"::1:8443\"}",
		  "writ.yaml:5:31: api.listen: found \"::1:8443\", wanted IP:PORT, as 127.0.0.1:8443 or [::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"[::1:8443\"}",
		  "writ.yaml:5:31: api.listen: found \"[::1:8443\", wanted IP:PORT, as 127.0.0.1:8443 or [::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"[127.0.0.1]:1\"}",
		  "writ.yaml:5:31: api.listen: found \"[127.0.0.1]:1\", wanted IP:PORT, as 127.0.0.1:8443 or "
		  "[::1]:8443" },
		{ 5, "api: {certificate: c, key: k, listen: \"127.0.0.1:8080\"}",
		  "writ.yaml:6:1: status.listen and api.listen are both 127.0.0.1:8080" },
		{ 6, "status: {url: \"ftp://h\"}",
		  "writ.yaml:6:10: status.url: found \"ftp://h\": it must begin with http:// or https://" },
		{ 6, "status: {url: \"http://h/\"}",
		  "writ.yaml:6:10: status.url: found \"http://h/\": it must not end in a slash" },
		{ 6, "status: {url: \"http://h/x?y\"}",
		  "writ.yaml:6:10: status.url: found \"http://h/x?y\": it must have no query and no fragment" },
		{ 6, "status: {url: \"http://h/x#y\"}",
		  "writ.yaml:6:10: status.url: found \"http://h/x#y\": it must have no query and no fragment" },
		{ 6, "status: {url: \"http://u@h\"}",
		  "writ.yaml:6:10: status.url: found \"http://u@h\": it must name no user" },
		{ 6, "status: {url: \"http://\"}", "writ.yaml:6:10: status.url: found \"http://\": it names no host" },
		{ 6, "status: {url: \"http://h//x\"}",
		  "writ.yaml:6:10: status.url: found \"http://h//x\": allowed are letters, digits, . - _ ~ : [ ] and "
		  "single slashes" },
		{ 6, "status: {url: \"http://h/a b\"}",
		  "writ.yaml:6:10: status.url: found \"http://h/a b\": allowed are letters, digits, . - _ ~ : [ ] and "
		  "single slashes" },
		{ 8, "  tier: software", "writ.yaml:8:3: custody.tier: found \"software\", wanted resident or sealed" },
		{ 14, "    revocation: ocsp",
		  "writ.yaml:14:5: delegators.revocation: found \"ocsp\", wanted none, {crl: FILE, max_age: "
		  "DURATION} or {ocsp: URL, max_age: DURATION}" },
		{ 14, "    revocation: {crl: c, ocsp: \"http://a\", max_age: 1h}",
		  "writ.yaml:14:5: delegators.revocation has both crl and ocsp, wanted is one" },
		{ 14, "    revocation: {ocsp: \"ftp://a\", max_age: 1h}",
		  "writ.yaml:14:18: delegators.revocation.ocsp: found \"ftp://a\": it must begin with http:// or https://" },
		{ 14, "    revocation: {ocsp: \"http://a\", max_age: 2d}",
		  "writ.yaml:14:36: delegators.revocation.max_age: found \"2d\", wanted a time from 10s to 86400s, such as "
		  "90s, 5m or 8h" },
		{ 14, "    revocation: {crl: c, max_age: 59s}",
		  "writ.yaml:14:26: delegators.revocation.max_age: found \"59s\", wanted a time from 60s to 2592000s, "
		  "such "
		  "as 90s, 5m or 8h" },
		{ 14, "    revocation: {crl: c, max_age: 31d}",
		  "writ.yaml:14:26: delegators.revocation.max_age: found \"31d\", wanted a time from 60s to 2592000s, "
		  "such "
		  "as 90s, 5m or 8h" },
		{ 12, "    kind: agent", "writ.yaml:12:5: delegators.kind: found \"agent\", wanted human or service" },
		{ 0, "threads: 0", "writ.yaml:16:1: threads: found \"0\", wanted a number from 1 to 64" },
		{ 0, "threads: 65", "writ.yaml:16:1: threads: found \"65\", wanted a number from 1 to 64" },
		{ 0, "limits: {leaves_per_edge: 0}",
		  "writ.yaml:16:10: limits.leaves_per_edge: found \"0\", wanted a number from 1 to 1000" },
		{ 0, "limits: {connections: 1000001}",
		  "writ.yaml:16:10: limits.connections: found \"1000001\", wanted a number from 1 to 1000000" },
		{ 0, "log: {node: a/b}", "writ.yaml:16:7: log.node: found \"a/b\", wanted 1 to 32 of a-z 0-9" },
		{ 0, "log: {origin: \"a b\"}",
		  "writ.yaml:16:7: log.origin: found \"a b\", wanted 1 to 200 of A-Z a-z 0-9 . _ - /" },
		{ 0, "log: {origin: a+b}",
		  "writ.yaml:16:7: log.origin: found \"a+b\", wanted 1 to 200 of A-Z a-z 0-9 . _ - /" },
		{ 0, "users: {issuer: 0day}",
		  "writ.yaml:16:9: users.issuer: found \"0day\", wanted a name of 1 to 32 of a-z 0-9 _ -, beginning "
		  "with a "
		  "letter or _" },
		{ 0, "log_level: trace",
		  "writ.yaml:16:1: log_level: found \"trace\", wanted debug, info, warn or alarm" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++)
		expect_refused(parse(with_line(all[i].line, all[i].instead)), WRIT_INVALID, all[i].message);
}

#define BOUND(more) parse(with_line(9, "  tpm: {tcti: a, auth_file: b, " more "}"))

static void
keys_are_bound_to_approved_pcrs_wholly_or_not_at_all(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ",
			     writ_str(with_line(9, "  tpm: {tcti: a, auth_file: b, pcrs: [7, 11], approval_key: k.pem, "
						   "approvals: /var/lib/approvals/}")),
			     &conf));
	assert_int_equal(conf.custody.pcrs, 1 << 7 | 1 << 11);
	assert_string_equal(conf.custody.approval_key, "/etc/writ/k.pem");
	assert_string_equal(conf.custody.approvals, "/var/lib/approvals");
	expect_refused(BOUND("pcrs: [7]"), WRIT_INVALID,
		       "writ.yaml:9:3: custody.tpm.approvals is missing: it goes with custody.tpm.pcrs");
	expect_refused(BOUND("approval_key: k, approvals: a"), WRIT_INVALID,
		       "writ.yaml:9:3: custody.tpm.pcrs is missing: it goes with custody.tpm.approvals");
	expect_refused(BOUND("pcrs: [7], approvals: a"), WRIT_INVALID,
		       "writ.yaml:9:3: custody.tpm.approval_key is missing: it goes with custody.tpm.approvals");
#define REFUSED(list, column, message)                                                                                 \
	expect_refused(BOUND("pcrs: " list ", approval_key: k, approvals: a"), WRIT_INVALID,                           \
		       "writ.yaml:9:" column ": custody.tpm.pcrs" message)
	REFUSED("[]", "32", " has 0 entries, wanted are 1 to 8");
	REFUSED("[0, 1, 2, 3, 4, 5, 6, 7, 8]", "32", " has 9 entries, wanted are 1 to 8");
	REFUSED("7", "32", ": found \"7\", wanted a list");
	REFUSED("[24]", "39", ": found \"24\", wanted a number from 0 to 23");
	REFUSED("[7, 16]", "42", ": any program may reset PCR 16, so it tells nothing");
	REFUSED("[23]", "39", ": any program may reset PCR 23, so it tells nothing");
	REFUSED("[7, 7]", "42", ": PCR 7 is there twice");
}

static void
an_operators_anchor_has_a_token_of_its_own(void)
{
	AUTO(conf_done) struct conf conf = { 0 };

	expect_refused(parse(with_line(8, "  tier: sealed\n  anchor: operator")), WRIT_INVALID,
		       "writ.yaml:7:1: custody.anchor: operator and custody.operator go together");
	expect_refused(parse(with_line(8, "  tier: sealed\n  operator: {module: /m.so, uri: \"pkcs11:serial=1\"}")),
		       WRIT_INVALID, "writ.yaml:9:3: custody.anchor: operator and custody.operator go together");
	expect_refused(parse(with_line(8, "  tier: sealed\n  anchor: operator\n  operator: {uri: \"pkcs11:serial=1\"}")),
		       WRIT_INVALID, "writ.yaml:10:3: custody.operator.module is missing");
	expect_refused(parse(with_line(8, "  tier: sealed\n  anchor: operator\n  operator: {module: m.so, uri: x}")),
		       WRIT_INVALID,
		       "writ.yaml:10:14: custody.operator.module: found \"m.so\", wanted an absolute path: nothing is searched for");
	expect_refused(
		parse(with_line(8, "  tier: sealed\n  anchor: operator\n  operator: {module: /m.so, uri: "
				   "\"pkcs11:serial=1?pin-value=1234\"}")),
		WRIT_INVALID,
		"writ.yaml:10:29: custody.operator.uri is a token's pkcs11: URI (RFC 7512), without a PIN: that is given to "
		"writ rotate");
	expect_refused(parse(with_line(8, "  tier: sealed\n  anchor: operator\n  operator: {module: /m.so, pin_file: p}")),
		       WRIT_INVALID,
		       "writ.yaml:10:29: unknown key \"pin_file\"; known here: module, uri, environment");
	expect_ok(conf_parse("writ.yaml", "/etc/writ",
			     writ_str(with_line(8, "  tier: sealed\n  anchor: operator\n  operator: {module: /m.so, uri: "
						   "\"pkcs11:serial=1\", environment: [\"A=b\"]}")),
			     &conf));
	assert_true(conf.custody.operator);
	assert_string_equal(conf.custody.anchor_token.module, "/m.so");
	assert_string_equal(conf.custody.anchor_token.uri, "pkcs11:serial=1");
	assert_int_equal(conf.custody.anchor_token.n_environment, 1);
	assert_int_equal(conf.custody.n_environment, 0);
}

static void
custody_names_one_device_and_holds_no_secret(void **state)
{
	(void)state;
	expect_refused(parse(with_line(8, "  tier: sealed\n  anchor: file")), WRIT_INVALID,
		       "writ.yaml:9:3: custody.anchor: found \"file\", wanted device or operator");
	an_operators_anchor_has_a_token_of_its_own();
	expect_refused(parse(with_line(8, "  tier: sealed\n  pkcs11: {}")), WRIT_INVALID,
		       "writ.yaml:7:1: custody has both of tpm and pkcs11, wanted is one");
	expect_refused(
		parse(with_line(9, "  pkcs11: {module: softhsm2.so}")), WRIT_INVALID,
		"writ.yaml:9:12: custody.pkcs11.module: found \"softhsm2.so\", wanted an absolute path: nothing is "
		"searched for");
	expect_refused(parse(with_line(9, "  pkcs11: {module: /m.so, uri: token=x}")), WRIT_INVALID,
		       "writ.yaml:9:27: custody.pkcs11.uri must begin with pkcs11: (RFC 7512)");
	expect_refused(parse(with_line(9, "  pkcs11: {module: /m.so, uri: \"pkcs11:token=x?pin-value=1234\"}")),
		       WRIT_INVALID,
		       "writ.yaml:9:27: custody.pkcs11.uri carries a PIN attribute: a PIN comes by "
		       "custody.pkcs11.pin_file only");
	expect_refused(parse(with_line(9, "  pkcs11: {module: /m.so, uri: \"pkcs11:token=x?pin-source=/p\"}")),
		       WRIT_INVALID,
		       "writ.yaml:9:27: custody.pkcs11.uri carries a PIN attribute: a PIN comes by "
		       "custody.pkcs11.pin_file only");
#define WITH_ENVIRONMENT(list)                                                                                         \
	parse(with_line(9, "  pkcs11: {module: /m.so, uri: \"pkcs11:token=x\", pin_file: p, environment: " list "}"))
	expect_refused(WITH_ENVIRONMENT("[A]"), WRIT_INVALID,
		       "writ.yaml:9:77: custody.pkcs11.environment: found \"A\", wanted NAME=VALUE");
	expect_refused(WITH_ENVIRONMENT("[\"=x\"]"), WRIT_INVALID,
		       "writ.yaml:9:77: custody.pkcs11.environment: found \"=x\", wanted NAME=VALUE");
	expect_refused(
		WITH_ENVIRONMENT("[\"LD_PRELOAD=/x.so\"]"), WRIT_INVALID,
		"writ.yaml:9:77: custody.pkcs11.environment sets LD_PRELOAD, which tells the loader what to load: "
		"refused");
	expect_refused(
		WITH_ENVIRONMENT("[\"TOKEN_PIN=1234\"]"), WRIT_INVALID,
		"writ.yaml:9:77: custody.pkcs11.environment sets TOKEN_PIN: a PIN comes by custody.pkcs11.pin_file "
		"only");
	expect_refused(WITH_ENVIRONMENT("x"), WRIT_INVALID,
		       "writ.yaml:9:63: custody.pkcs11.environment: found \"x\", wanted a list");
	expect_refused(WITH_ENVIRONMENT("[A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=,A=]"), WRIT_INVALID,
		       "writ.yaml:9:63: custody.pkcs11.environment has 17 entries, at most 16 are allowed");
}

static void
the_devices_secret_is_a_file_a_credential_or_a_descriptor(void **state)
{
	static const struct {
		const char *text, *why; /* NULL: taken as it is */
	} all[] = {
		{ "credential:tpm-auth", NULL },
		{ "fd:3", NULL },
		{ "credential:", "found \"credential:\", wanted credential:NAME of letters, digits, '.', '_', '-'" },
		{ "credential:../x", "found \"credential:../x\", wanted credential:NAME of letters, digits, '.', '_', '-'" },
		{ "credential:a/b", "found \"credential:a/b\", wanted credential:NAME of letters, digits, '.', '_', '-'" },
		{ "fd:2", "found \"fd:2\", wanted fd:N with N from 3 to 1023" },
		{ "fd:x", "found \"fd:x\", wanted fd:N with N from 3 to 1023" },
		{ "fd:1024", "found \"fd:1024\", wanted fd:N with N from 3 to 1023" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		AUTO(conf_done) struct conf conf = { 0 };
		char line[200], why[200];

		snprintf(line, sizeof(line), "  tpm: {tcti: a, auth_file: \"%s\"}", all[i].text);
		if (!all[i].why) {
			expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(with_line(9, line)), &conf));
			assert_string_equal(conf.custody.auth_file, all[i].text);
			continue;
		}
		snprintf(why, sizeof(why), "writ.yaml:9:18: custody.tpm.auth_file: %s", all[i].why);
		expect_refused(parse(with_line(9, line)), WRIT_INVALID, why);
	}
}

static void
a_principal_template_makes_names_of_ours_only(void **state)
{
	static const struct {
		const char *kind, *template, *why; /* NULL: accepted */
	} all[] = {
		{ "human", "{SAN:URI}", NULL },
		{ "human", "spiffe://agents.corp.example/human/corp/{SAN:email}", NULL },
		{ "service", "spiffe://agents.corp.example/service/{CN}", NULL },
		{ "service", "spiffe://agents.corp.example/service/{SAN:dns}/builder", NULL },
		{ "human", "spiffe://other.example/human/corp/{CN}",
		  "found \"spiffe://other.example/human/corp/{CN}\", wanted {SAN:URI} or "
		  "spiffe://agents.corp.example/human/..." },
		{ "human", "spiffe://agents.corp.example/service/corp/{CN}",
		  "found \"spiffe://agents.corp.example/service/corp/{CN}\", wanted {SAN:URI} or "
		  "spiffe://agents.corp.example/human/..." },
		{ "service", "spiffe://agents.corp.example/agent/{CN}",
		  "found \"spiffe://agents.corp.example/agent/{CN}\", wanted {SAN:URI} or "
		  "spiffe://agents.corp.example/service/..." },
		{ "human", "spiffe://agents.corp.example/human/{CN}",
		  "found \"spiffe://agents.corp.example/human/{CN}\": a human is .../human/ALIAS/{...}" },
		{ "human", "spiffe://agents.corp.example/human/{CN}/x",
		  "found \"spiffe://agents.corp.example/human/{CN}/x\": a human is .../human/ALIAS/{...}" },
		{ "human", "spiffe://agents.corp.example/human/corp/ada",
		  "found \"spiffe://agents.corp.example/human/corp/ada\": wanted is exactly one placeholder" },
		{ "service", "spiffe://agents.corp.example/service/{CN}/{CN}",
		  "found \"spiffe://agents.corp.example/service/{CN}/{CN}\": wanted is exactly one placeholder" },
		{ "service", "spiffe://agents.corp.example/service/../{CN}",
		  "found \"spiffe://agents.corp.example/service/../{CN}\": a segment is . or .." },
		{ "service", "spiffe://agents.corp.example/service//{CN}",
		  "found \"spiffe://agents.corp.example/service//{CN}\": a segment is one of {CN} {SAN:URI} "
		  "{SAN:email} "
		  "{SAN:dns}, or of A-Z a-z 0-9 . _ -" },
		{ "service", "spiffe://agents.corp.example/service/x-{CN}",
		  "found \"spiffe://agents.corp.example/service/x-{CN}\": a segment is one of {CN} {SAN:URI} "
		  "{SAN:email} "
		  "{SAN:dns}, or of A-Z a-z 0-9 . _ -" },
		{ "service", "spiffe://agents.corp.example/service/{OU}",
		  "found \"spiffe://agents.corp.example/service/{OU}\": a segment is one of {CN} {SAN:URI} {SAN:email} "
		  "{SAN:dns}, or of A-Z a-z 0-9 . _ -" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		char lines[300], message[400];
		const char *text;

		snprintf(lines, sizeof(lines), "    kind: %s\n    principal: \"%s\"", all[i].kind, all[i].template);
		text = with_lines(12, 13, lines);
		if (all[i].why) {
			snprintf(message, sizeof(message), "writ.yaml:13:5: delegators.principal: %s", all[i].why);
			expect_refused(parse(text), WRIT_INVALID, message);
		} else {
			expect_ok(parse(text));
		}
	}
}

#define GRANT_KEY "kind: human, principal: \"spiffe://agents.corp.example/human/corp/a\", key: a.pub"
#define GRANTS "grants: {audience: \"https://w.example\", keys: [{kid: a-1, " GRANT_KEY "}]}"

static void
the_keys_of_grants_are_read(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char text[4000];

	(void)state;
	snprintf(text, sizeof(text), "%s%s", small,
		 "grants:\n  audience: https://w.example/api\n  redeem_within: 24h\n  keys:\n"
		 "    - {kid: a-1, " GRANT_KEY "}\n"
		 "    - {kid: ci.b_2, kind: service, principal: \"spiffe://agents.corp.example/service/ci/b\", key: /k/b}\n");
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(text), &conf));
	assert_string_equal(conf.grants.audience, "https://w.example/api");
	assert_int_equal(conf.grants.redeem_within_s, 86400);
	assert_int_equal(conf.grants.n_keys, 2);
	assert_string_equal(conf.grants.keys[0].kid, "a-1");
	assert_int_equal(conf.grants.keys[0].kind, CONF_HUMAN);
	assert_string_equal(conf.grants.keys[0].principal, "spiffe://agents.corp.example/human/corp/a");
	assert_string_equal(conf.grants.keys[0].key, "/etc/writ/a.pub");
	assert_string_equal(conf.grants.keys[1].kid, "ci.b_2");
	assert_int_equal(conf.grants.keys[1].kind, CONF_SERVICE);
	assert_string_equal(conf.grants.keys[1].key, "/k/b");
}

static void
without_grants_no_signature_counts(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(small), &conf));
	assert_null(conf.grants.audience);
	assert_int_equal(conf.grants.n_keys, 0);
	conf_done(&conf);
	expect_ok(conf_parse("writ.yaml", "/etc/writ", writ_str(with_line(0, GRANTS)), &conf));
	assert_int_equal(conf.grants.redeem_within_s, 900);
}

static void
a_key_of_grants_with_one_thing_wrong_is_refused(void **state)
{
	static const struct {
		const char *line, *message;
	} rows[] = {
		{ "grants: yes", "writ.yaml:16:1: grants: found \"yes\", wanted a map" },
		{ "grants: {}", "writ.yaml:16:1: grants.audience is missing" },
		{ "grants: {audience: \"https://w.example\"}", "writ.yaml:16:1: grants.keys is missing" },
		{ "grants: {audience: \"http://w.example\", keys: []}",
		  "writ.yaml:16:10: grants.audience: found \"http://w.example\", wanted https://... of at most 256 bytes, without query or fragment" },
		{ "grants: {audience: \"https://w.example/?a\", keys: []}",
		  "writ.yaml:16:10: grants.audience: found \"https://w.example/?a\", wanted https://... of at most 256 bytes, without query or fragment" },
		{ "grants: {audience: \"https://w.example\", keys: []}",
		  "writ.yaml:16:41: grants.keys has 0 entries, allowed are 1 to 256" },
		{ "grants: {audience: \"https://w.example\", redeem_within: 25h, keys: []}",
		  "writ.yaml:16:41: grants.redeem_within: found \"25h\", wanted a time from 60s to 86400s, such as 90s, 5m or 8h" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a/1, " GRANT_KEY "}]}",
		  "writ.yaml:16:49: grants.keys.kid: found \"a/1\", wanted 1 to 128 of A-Z a-z 0-9 . _ -" },
		{ "grants: {audience: \"https://w.example\", keys: [{" GRANT_KEY "}]}",
		  "writ.yaml:16:48: grants.keys.kid is missing" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, " GRANT_KEY "}, {kid: a, " GRANT_KEY "}]}",
		  "writ.yaml:16:139: grants.keys.kid: \"a\" is there twice" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, kind: agent, principal: x, key: k}]}",
		  "writ.yaml:16:57: grants.keys.kind: found \"agent\", wanted human or service" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, kind: human, principal: x, key: k}]}",
		  "writ.yaml:16:70: grants.keys.principal: found \"x\", wanted spiffe://agents.corp.example/human/... of at most 512 bytes" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, kind: service, principal: "
		  "\"spiffe://agents.corp.example/human/corp/a\", key: k}]}",
		  "writ.yaml:16:72: grants.keys.principal: found \"spiffe://agents.corp.example/human/corp/a\", wanted spiffe://agents.corp.example/service/... of at most 512 bytes" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, kind: human, principal: "
		  "\"spiffe://agents.corp.example/human/corp/a\"}]}",
		  "writ.yaml:16:48: grants.keys.key is missing" },
		{ "grants: {audience: \"https://w.example\", keys: [{kid: a, jwk: x, " GRANT_KEY "}]}",
		  "writ.yaml:16:57: unknown key \"jwk\"; known here: kid, kind, principal, key" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		print_message("  %s\n", rows[i].line);
		expect_refused(parse(with_line(0, rows[i].line)), WRIT_INVALID, rows[i].message);
	}
}

static void
delegators_are_one_to_thirty_two(void **state)
{
	char text[16384];
	size_t len;

	(void)state;
	len = (size_t)snprintf(text, sizeof(text), "%.*s", (int)(strstr(small, "delegators:") - small), small);
	snprintf(text + len, sizeof(text) - len, "delegators: []\npolicy: p\n");
	expect_refused(parse(text), WRIT_INVALID, "writ.yaml:10:1: delegators has 0 entries, allowed are 1 to 32");

	len += (size_t)snprintf(text + len, sizeof(text) - len, "policy: p\ndelegators:\n");
	for (unsigned i = 0; i < 33; i++) {
		if (i == 32)
			expect_ok(parse(text));
		len += (size_t)snprintf(
			text + len, sizeof(text) - len,
			"  - {anchors: a, kind: service, principal: \"{SAN:URI}\", revocation: none}\n");
	}
	expect_refused(parse(text), WRIT_INVALID, "writ.yaml:11:1: delegators has 33 entries, allowed are 1 to 32");
}

/* ---- the file ---- */

static char folder[64];

static int
folder_made(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/writ-conf-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int
folder_gone(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/writ.yaml", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/link.yaml", folder);
	unlink(path);
	return rmdir(folder);
}

static const char *
file_with(mode_t mode)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/writ.yaml", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(small, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void
paths_are_relative_to_the_files_folder(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char want[128];

	(void)state;
	expect_ok(conf_read(file_with(0644), &conf));
	snprintf(want, sizeof(want), "%s/state", folder);
	assert_string_equal(conf.state, want);
	assert_string_equal(conf_path(conf.state, "keys/anchor", (char[4096]){ 0 }), strcat(want, "/keys/anchor"));
	conf_done(&conf);

	assert_int_equal(chdir(folder), 0);
	expect_ok(conf_read("writ.yaml", &conf));
	snprintf(want, sizeof(want), "%s/state", folder);
	assert_string_equal(conf.state, want);
	assert_int_equal(chdir("/"), 0);
}

static void
a_file_that_others_may_write_is_refused(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char message[300];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const mode_t mode = i == 0 ? 0666 : 0664;
		const char *path = file_with(mode);

		snprintf(message, sizeof(message),
			 "configuration: %s has mode %04o: others than its owner may write it: chmod go-w", path, mode);
		expect_refused(conf_read(path, &conf), WRIT_INVALID, message);
	}
}

static void
a_symbolic_link_is_refused(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char link[128], message[300];

	(void)state;
	snprintf(link, sizeof(link), "%s/link.yaml", folder);
	assert_int_equal(symlink(file_with(0644), link), 0);
	snprintf(message, sizeof(message), "configuration: %s is a symbolic link: name the file itself", link);
	expect_refused(conf_read(link, &conf), WRIT_INVALID, message);
}

static void
a_file_that_is_not_there_is_not_found(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };

	(void)state;
	expect_refused(conf_read("/nowhere/writ.yaml", &conf), WRIT_NOT_FOUND,
		       "configuration: /nowhere/writ.yaml does not exist");
}

static void
a_file_over_256_kib_is_refused(void **state)
{
	AUTO(conf_done) struct conf conf = { 0 };
	const char *path = file_with(0644);
	char message[300];
	FILE *file = fopen(path, "a");

	(void)state;
	assert_non_null(file);
	for (unsigned i = 0; i < 256 * 1024 / 64; i++)
		fputs("# 3456789012345678901234567890123456789012345678901234567890123\n", file);
	fclose(file);
	snprintf(message, sizeof(message), "configuration: %s is over the limit of 262144 bytes", path);
	expect_refused(conf_read(path, &conf), WRIT_EXHAUSTED, message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_file_gets_the_defaults),
		cmocka_unit_test(a_generation_signs_for_ten_seconds_to_a_week),
		cmocka_unit_test(everything_that_can_be_said_is_read),
		cmocka_unit_test(the_digest_is_of_the_bytes),
		cmocka_unit_test(every_key_without_a_default_must_be_there),
		cmocka_unit_test(unknown_keys_are_refused_everywhere),
		cmocka_unit_test(wrong_kinds_of_values_are_refused),
		cmocka_unit_test(values_outside_their_grammar_are_refused),
		cmocka_unit_test(keys_are_bound_to_approved_pcrs_wholly_or_not_at_all),
		cmocka_unit_test(custody_names_one_device_and_holds_no_secret),
		cmocka_unit_test(the_devices_secret_is_a_file_a_credential_or_a_descriptor),
		cmocka_unit_test(a_principal_template_makes_names_of_ours_only),
		cmocka_unit_test(the_keys_of_grants_are_read),
		cmocka_unit_test(without_grants_no_signature_counts),
		cmocka_unit_test(a_key_of_grants_with_one_thing_wrong_is_refused),
		cmocka_unit_test(delegators_are_one_to_thirty_two),
		cmocka_unit_test_setup_teardown(paths_are_relative_to_the_files_folder, folder_made, folder_gone),
		cmocka_unit_test_setup_teardown(a_file_that_others_may_write_is_refused, folder_made, folder_gone),
		cmocka_unit_test_setup_teardown(a_symbolic_link_is_refused, folder_made, folder_gone),
		cmocka_unit_test(a_file_that_is_not_there_is_not_found),
		cmocka_unit_test_setup_teardown(a_file_over_256_kib_is_refused, folder_made, folder_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
