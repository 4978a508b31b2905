/* Names and patterns: what is canonical, what covers what (delegation.md 4.1, 4.2, 7). */
#include "tests/unit/policy_make.h"

typedef struct writ_err *check_fn(struct writ_bytes);

struct row {
	const char *text, *message; /* NULL: accepted */
};

/* Each text stands in memory of exactly its length, so that reading beyond it is caught. */
static void
expect_rows(check_fn *check, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const size_t len = strlen(rows[i].text);
		uint8_t *exact = malloc(len ? len : 1);

		assert_non_null(exact);
		memcpy(exact, rows[i].text, len);
		if (rows[i].message)
			expect_refused(check((struct writ_bytes){ exact, len }), WRIT_INVALID, rows[i].message);
		else
			expect_ok(check((struct writ_bytes){ exact, len }));
		free(exact);
	}
}

static const char *
repeated(const char *head, char c, size_t n)
{
	char *text = make_room(strlen(head) + n + 1);

	memcpy(text, head, strlen(head));
	memset(text + strlen(head), c, n);
	return text;
}

static void
an_action_is_lower_case_segments_and_at_most_one_last_star(void **state)
{
	static const struct row rows[] = {
		{ "read", NULL },
		{ "invoices:read", NULL },
		{ "a:b:c:*", NULL },
		{ "db_2:read-only", NULL },
		{ "", "action is empty" },
		{ "*", "action '*': '*' stands only at the end, after ':'" },
		{ ":*", "action ':*': a segment is empty" },
		{ "invoices:", "action 'invoices:': a segment is empty" },
		{ ":read", "action ':read': a segment is empty" },
		{ "a::b", "action 'a::b': a segment is empty" },
		{ "a:*:b", "action 'a:*:b': '*' stands only at the end, after ':'" },
		{ "a:b*", "action 'a:b*': '*' stands only at the end, after ':'" },
		{ "a:**", "action 'a:**': '*' stands only at the end, after ':'" },
		{ "Read", "action 'Read': only lower-case a-z, 0-9, '_', '-', and ':' between" },
		{ "a b", "action 'a b': only lower-case a-z, 0-9, '_', '-', and ':' between" },
		{ "a.b", "action 'a.b': only lower-case a-z, 0-9, '_', '-', and ':' between" },
		{ "a/b", "action 'a/b': only lower-case a-z, 0-9, '_', '-', and ':' between" },
	};
	const char *longest = repeated("", 'a', 128), *longer = repeated("", 'a', 129);
	char message[200];

	(void)state;
	expect_rows(action_check, rows, N_OF(rows));
	expect_ok(action_check(writ_str(longest)));
	snprintf(message, sizeof(message), "action '%.80s' has 129 octets, at most 128", longer);
	expect_refused(action_check(writ_str(longer)), WRIT_INVALID, message);
}

static void
a_resource_in_canonical_form_is_accepted(void **state)
{
	static const struct row rows[] = {
		{ "https://erp.corp.example", NULL },
		{ "https://erp.corp.example/**", NULL },
		{ "https://erp.corp.example/*", NULL },
		{ "https://erp.corp.example/v2/invoices/2026/q3/**", NULL },
		{ "https://h:8443/x", NULL },
		{ "https://h:80/x", NULL },
		{ "http://h:443/x", NULL },
		{ "https://[2001:db8::1]/x", NULL },
		{ "https://[2001:db8::1]:8443/x", NULL },
		{ "https://10.0.0.1/x", NULL },
		{ "https://10.example/x", NULL },
		{ "s3://bucket_1/key", NULL },
		{ "urn+x-1.2://h/x", NULL },
		{ "https://h/a~b!$&'()+,;=:@c", NULL },
		{ "https://h/%2A", NULL },
		{ "https://h/%C3%A9", NULL },
		{ "https://h/...", NULL },
	};

	(void)state;
	expect_rows(resource_check, rows, N_OF(rows));
}

static void
a_resource_in_any_other_form_is_refused_never_normalised(void **state)
{
	static const struct row rows[] = {
		{ "", "resource is empty" },
		{ "https", "resource 'https': '://' is missing after the scheme" },
		{ "https:/h", "resource 'https:/h': '://' is missing after the scheme" },
		{ "/pay", "resource '/pay': '://' is missing after the scheme" },
		{ "://h/x", "resource '://h/x': the scheme is empty" },
		{ "HTTPS://h/pay", "resource 'HTTPS://h/pay': the scheme must be lower case" },
		{ "1s://h", "resource '1s://h': the scheme is not a-z, then a-z, 0-9, '+', '-' or '.'" },
		{ "h_s://h", "resource 'h_s://h': the scheme is not a-z, then a-z, 0-9, '+', '-' or '.'" },
		{ "https://", "resource 'https://': the host is empty" },
		{ "https:///x", "resource 'https:///x': the host is empty" },
		{ "https://*", "resource 'https://*': '://' is missing after the scheme" },
		{ "https://**", "resource 'https://**': '://' is missing after the scheme" },
		{ "https:///**", "resource 'https:///**': the host is empty" },
		{ "https://:8443/x", "resource 'https://:8443/x': the host is empty" },
		{ "https://H/pay", "resource 'https://H/pay': the host must be lower case" },
		{ "https://*.corp/x", "resource 'https://*.corp/x': the host may not hold a wildcard" },
		{ "https://a..b/x", "resource 'https://a..b/x': a label of the host is empty" },
		{ "https://h./x", "resource 'https://h./x': a label of the host is empty" },
		{ "https://.h/x", "resource 'https://.h/x': a label of the host is empty" },
		{ "https://h%41/x", "resource 'https://h%41/x': the host holds more than a-z, 0-9, '.', '_' and '-'" },
		{ "https://u@h/x", "resource 'https://u@h/x': user information may not stand before the host" },
		{ "https://u:p@h", "resource 'https://u:p@h': user information may not stand before the host" },
		{ "https://b\xc3\xbc"
		  "cher/x",
		  "resource 'https://b\xc3\xbc"
		  "cher/x': holds a space, a control or a character outside ASCII" },
		{ "https://h/a b", "resource 'https://h/a b': holds a space, a control or a character outside ASCII" },
		{ "https://h/a\x1b", "resource 'https://h/a?': holds a space, a control or a character outside ASCII" },
		{ "https://127.1/x", "resource 'https://127.1/x': the host is a number but not a plain IPv4 address" },
		{ "https://010.0.0.1/x",
		  "resource 'https://010.0.0.1/x': the host is a number but not a plain IPv4 address" },
		{ "https://0x7f.1", "resource 'https://0x7f.1': the host is a number but not a plain IPv4 address" },
		{ "https://a.0x1", "resource 'https://a.0x1': the host is a number but not a plain IPv4 address" },
		{ "https://2130706433/x",
		  "resource 'https://2130706433/x': the host is a number but not a plain IPv4 address" },
		{ "https://2001:db8::1/x", "resource 'https://2001:db8::1/x': an IPv6 address stands in brackets" },
		{ "https://h:8x",
		  "resource 'https://h:8x': the port is not a number from 1 to 65535 without leading zeros" },
		{ "https://[2001:DB8::1]/x",
		  "resource 'https://[2001:DB8::1]/x': not an IPv6 address in its shortest form" },
		{ "https://[2001:db8:0::1]/x",
		  "resource 'https://[2001:db8:0::1]/x': not an IPv6 address in its shortest form" },
		{ "https://[]/x", "resource 'https://[]/x': not an IPv6 address in its shortest form" },
		{ "https://[::1/x", "resource 'https://[::1/x': ']' is missing after the IPv6 address" },
		{ "https://[::1]x/x", "resource 'https://[::1]x/x': more than a port follows the IPv6 address" },
		{ "https://[fe80::1%25eth0]/x",
		  "resource 'https://[fe80::1%25eth0]/x': not an IPv6 address in its shortest form" },
		{ "https://h:443/x", "resource 'https://h:443/x': port 443 is the default of https: leave it out" },
		{ "http://h:80", "resource 'http://h:80': port 80 is the default of http: leave it out" },
		{ "wss://[::1]:443", "resource 'wss://[::1]:443': port 443 is the default of wss: leave it out" },
		{ "https://h:/x",
		  "resource 'https://h:/x': the port is not a number from 1 to 65535 without leading zeros" },
		{ "https://h:0/x",
		  "resource 'https://h:0/x': the port is not a number from 1 to 65535 without leading zeros" },
		{ "https://h:0443/x",
		  "resource 'https://h:0443/x': the port is not a number from 1 to 65535 without leading zeros" },
		{ "https://h:65536",
		  "resource 'https://h:65536': the port is not a number from 1 to 65535 without leading zeros" },
		{ "https://h/", "resource 'https://h/': a segment is empty, or it ends in '/'" },
		{ "https://h/x/", "resource 'https://h/x/': a segment is empty, or it ends in '/'" },
		{ "https://h//x", "resource 'https://h//x': a segment is empty, or it ends in '/'" },
		{ "https://h//**", "resource 'https://h//**': a segment is empty, or it ends in '/'" },
		{ "https://h/./x", "resource 'https://h/./x': has a '.' or '..' segment" },
		{ "https://h/pay/../admin", "resource 'https://h/pay/../admin': has a '.' or '..' segment" },
		{ "https://h/pay/..", "resource 'https://h/pay/..': has a '.' or '..' segment" },
		{ "https://h/%2e%2e/x", "resource 'https://h/%2e%2e/x': '%' wants two digits 0-9 A-F after it" },
		{ "https://h/%2E%2E/x", "resource 'https://h/%2E%2E/x': percent-encodes a character that needs none" },
		{ "https://h/%41", "resource 'https://h/%41': percent-encodes a character that needs none" },
		{ "https://h/%7E", "resource 'https://h/%7E': percent-encodes a character that needs none" },
		{ "https://h/a%2Fb", "resource 'https://h/a%2Fb': percent-encodes '/', '\\' or NUL" },
		{ "https://h/a%5Cb", "resource 'https://h/a%5Cb': percent-encodes '/', '\\' or NUL" },
		{ "https://h/a%00", "resource 'https://h/a%00': percent-encodes '/', '\\' or NUL" },
		{ "https://h/a%", "resource 'https://h/a%': '%' wants two digits 0-9 A-F after it" },
		{ "https://h/a%2", "resource 'https://h/a%2': '%' wants two digits 0-9 A-F after it" },
		{ "https://h/a%2/b", "resource 'https://h/a%2/b': '%' wants two digits 0-9 A-F after it" },
		{ "https://h/a?q=1", "resource 'https://h/a?q=1': a query is no part of a resource" },
		{ "https://h/a#f", "resource 'https://h/a#f': a fragment is no part of a resource" },
		{ "https://h/a*",
		  "resource 'https://h/a*': '*' and '**' stand only alone, as the last segment (a literal "
		  "one is %2A)" },
		{ "https://h/*/x", "resource 'https://h/*/x': '*' and '**' stand only alone, as the last segment (a "
				   "literal one is %2A)" },
		{ "https://h/***", "resource 'https://h/***': '*' and '**' stand only alone, as the last segment (a "
				   "literal one is %2A)" },
		{ "https://h/**/*", "resource 'https://h/**/*': '*' and '**' stand only alone, as the last segment (a "
				    "literal one is %2A)" },
		{ "https://h/a\\b", "resource 'https://h/a\\b': holds a character that must be percent-encoded" },
		{ "https://h/{x}", "resource 'https://h/{x}': holds a character that must be percent-encoded" },
		{ "https://h/a|b", "resource 'https://h/a|b': holds a character that must be percent-encoded" },
	};
	const char *longest = repeated("https://h/", 'a', 502), *longer = repeated("https://h/", 'a', 503);
	char message[200];

	(void)state;
	expect_rows(resource_check, rows, N_OF(rows));
	expect_refused(resource_check((struct writ_bytes){ (const uint8_t *)"https://h/a\0b", 13 }), WRIT_INVALID,
		       "resource 'https://h/a': holds a space, a control or a character outside ASCII");
	expect_ok(resource_check(writ_str(longest)));
	snprintf(message, sizeof(message), "resource '%.80s' has 513 octets, at most 512", longer);
	expect_refused(resource_check(writ_str(longer)), WRIT_INVALID, message);
}

static void
trust_domains_and_task_ids_keep_to_their_characters_and_lengths(void **state)
{
	static const struct row domains[] = {
		{ "agents.corp.example", NULL },
		{ "a-b_c.1", NULL },
		{ "", "trust domain is empty" },
		{ "Agents.corp", "trust domain 'Agents.corp': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "a:8443", "trust domain 'a:8443': only lower-case a-z, 0-9, '.', '_' and '-'" },
		{ "a..b", "trust domain 'a..b': a label is empty" },
		{ ".a", "trust domain '.a': a label is empty" },
		{ "a.", "trust domain 'a.': a label is empty" },
	};
	static const struct row tasks[] = {
		{ "0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00", NULL },
		{ "A._-z", NULL },
		{ "", "task id is empty" },
		{ "task:1", "task id 'task:1': only A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "a/b", "task id 'a/b': only A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "\xc3\xa9", "task id '\xc3\xa9': only A-Z, a-z, 0-9, '.', '_' and '-'" },
	};

	(void)state;
	expect_rows(trust_domain_check, domains, N_OF(domains));
	expect_rows(task_id_check, tasks, N_OF(tasks));
	expect_ok(trust_domain_check(writ_str(repeated("", 'a', 64))));
	expect_refused(
		trust_domain_check(writ_str(repeated("", 'a', 65))), WRIT_INVALID,
		"trust domain 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' has 65 octets, at "
		"most 64");
	expect_ok(task_id_check(writ_str(repeated("", 'a', 59))));
	expect_refused(
		task_id_check(writ_str(repeated("", 'a', 60))), WRIT_INVALID,
		"task id 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' has 60 octets, at most 59");
}

static void
a_spiffe_id_comes_apart_into_its_views(void **state)
{
	const struct writ_bytes uri = WRIT_LIT(TD "/agent/invoice-bot/i-9c1b44");
	struct spiffe_id id;

	(void)state;
	expect_ok(spiffe_parse(uri, &id));
	assert_int_equal(id.kind, PRINCIPAL_AGENT);
	expect_bytes(id.trust_domain, WRIT_LIT("agents.corp.example"));
	expect_bytes(id.path, WRIT_LIT("/agent/invoice-bot/i-9c1b44"));
	expect_bytes(id.class_uri, WRIT_LIT(TD "/agent/invoice-bot"));
	expect_bytes(id.class_name, WRIT_LIT("invoice-bot"));
	expect_bytes(id.instance, WRIT_LIT("i-9c1b44"));

	expect_ok(spiffe_parse(WRIT_LIT(TD "/agent/invoice-bot"), &id));
	expect_bytes(id.class_uri, WRIT_LIT(TD "/agent/invoice-bot"));
	assert_int_equal(id.instance.len, 0);
	expect_ok(spiffe_parse(WRIT_LIT(TD "/human/okta/00u1abcd"), &id));
	assert_int_equal(id.kind, PRINCIPAL_HUMAN);
	assert_int_equal(id.class_uri.len, 0);
	expect_ok(spiffe_parse(WRIT_LIT(TD "/service/ci/build/7"), &id));
	assert_int_equal(id.kind, PRINCIPAL_SERVICE);
	expect_ok(spiffe_parse(WRIT_LIT(TD "/service/ci"), &id));
}

static struct writ_err *
spiffe_check(struct writ_bytes text)
{
	struct spiffe_id id;

	return spiffe_parse(text, &id);
}

#define FORMS "is not /human/ALIAS/SUB, /service/PATH or /agent/CLASS[/INSTANCE]"

static void
a_spiffe_id_of_another_shape_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "", "SPIFFE ID '': does not begin with spiffe://" },
		{ "https://td/agent/x", "SPIFFE ID 'https://td/agent/x': does not begin with spiffe://" },
		{ "SPIFFE://td/agent/x", "SPIFFE ID 'SPIFFE://td/agent/x': does not begin with spiffe://" },
		{ "spiffe://", "SPIFFE ID 'spiffe://': trust domain is empty" },
		{ "spiffe:///agent/x", "SPIFFE ID 'spiffe:///agent/x': trust domain is empty" },
		{ "spiffe://a@td/agent/x",
		  "SPIFFE ID 'spiffe://a@td/agent/x': trust domain 'a@td': only lower-case a-z, "
		  "0-9, '.', '_' and '-'" },
		{ "spiffe://td:80/agent/x", "SPIFFE ID 'spiffe://td:80/agent/x': trust domain 'td:80': only lower-case "
					    "a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td", "SPIFFE ID 'spiffe://td': " FORMS },
		{ "spiffe://td/", "SPIFFE ID 'spiffe://td/': a segment is empty" },
		{ "spiffe://td/agent", "SPIFFE ID 'spiffe://td/agent': " FORMS },
		{ "spiffe://td/agent/", "SPIFFE ID 'spiffe://td/agent/': a segment is empty" },
		{ "spiffe://td/agent/x/", "SPIFFE ID 'spiffe://td/agent/x/': a segment is empty" },
		{ "spiffe://td/agent/x/y/z", "SPIFFE ID 'spiffe://td/agent/x/y/z': " FORMS },
		{ "spiffe://td/agent//y", "SPIFFE ID 'spiffe://td/agent//y': a segment is empty" },
		{ "spiffe://td/agent/../x", "SPIFFE ID 'spiffe://td/agent/../x': has a '.' or '..' segment" },
		{ "spiffe://td/agent/x%2fy",
		  "SPIFFE ID 'spiffe://td/agent/x%2fy': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td/agent/x?q",
		  "SPIFFE ID 'spiffe://td/agent/x?q': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td/agent/x#f",
		  "SPIFFE ID 'spiffe://td/agent/x#f': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td/agent/*",
		  "SPIFFE ID 'spiffe://td/agent/*': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td/human/okta", "SPIFFE ID 'spiffe://td/human/okta': " FORMS },
		{ "spiffe://td/human/okta/a/b", "SPIFFE ID 'spiffe://td/human/okta/a/b': " FORMS },
		{ "spiffe://td/service", "SPIFFE ID 'spiffe://td/service': " FORMS },
		{ "spiffe://td/robot/x", "SPIFFE ID 'spiffe://td/robot/x': " FORMS },
		{ "spiffe://td/Agent/x", "SPIFFE ID 'spiffe://td/Agent/x': " FORMS },
	};
	char message[200];
	const char *longer = repeated("spiffe://td/agent/", 'a', 495);

	(void)state;
	expect_rows(spiffe_check, rows, N_OF(rows));
	expect_ok(spiffe_check(writ_str(repeated("spiffe://td/agent/", 'a', 494))));
	snprintf(message, sizeof(message), "SPIFFE ID '%.80s' has 513 octets, at most 512", longer);
	expect_refused(spiffe_check(writ_str(longer)), WRIT_INVALID, message);
}

static void
a_pattern_of_principals_that_could_match_nobody_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "spiffe://td/**", NULL },
		{ "spiffe://td/human/**", NULL },
		{ "spiffe://td/human/okta/*", NULL },
		{ "spiffe://td/human/okta/**", NULL },
		{ "spiffe://td/human/okta/00u1", NULL },
		{ "spiffe://td/service/*", NULL },
		{ "spiffe://td/service/ci/a/b/**", NULL },
		{ "spiffe://td/agent/*", NULL },
		{ "spiffe://td/agent/x/*", NULL },
		{ "spiffe://td/*", "pattern 'spiffe://td/*': matches nobody: no id has one segment" },
		{ "spiffe://td/human/*", "pattern 'spiffe://td/human/*': matches nobody: a human is /human/ALIAS/SUB" },
		{ "spiffe://td/human/a/b/*",
		  "pattern 'spiffe://td/human/a/b/*': matches nobody: no id of that kind is so long" },
		{ "spiffe://td/agent/a/b/**",
		  "pattern 'spiffe://td/agent/a/b/**': matches nobody: no id of that kind is so long" },
		{ "spiffe://td/robot/**",
		  "pattern 'spiffe://td/robot/**': matches nobody: the first segment is not human, service or agent" },
		{ "spiffe://**", "SPIFFE ID 'spiffe://**': does not begin with spiffe://" },
		{ "**", "SPIFFE ID '**': does not begin with spiffe://" },
		{ "spiffe://td/agent/x*",
		  "SPIFFE ID 'spiffe://td/agent/x*': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "spiffe://td/*/x",
		  "SPIFFE ID 'spiffe://td/*/x': a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'" },
	};

	(void)state;
	expect_rows(principal_pattern_check, rows, N_OF(rows));
}

static void
a_principal_matches_by_whole_segments(void **state)
{
	static const struct {
		const char *pattern, *principal;
		bool matches;
	} rows[] = {
		{ TD "/**", TD "/human/corp/olga", true },
		{ TD "/human/corp/**", TD "/human/corp/olga", true },
		{ TD "/human/corp/*", TD "/human/corp/olga", true },
		{ TD "/human/corp/olga", TD "/human/corp/olga", true },
		{ TD "/agent/*", TD "/agent/invoice-bot", true },
		{ TD "/agent/*", TD "/agent/invoice-bot/i-1", false },
		{ TD "/agent/invoice-bot/*", TD "/agent/invoice-bot/i-1", true },
		{ TD "/agent/invoice-bot", TD "/agent/invoice-bot/i-1", false },
		{ TD "/human/corp/**", TD "/human/corporate/olga", false },
		{ TD "/human/corp/olga", TD "/human/corp/olga2", false },
		{ TD "/human/corp/olga", TD "/human/corp/Olga", false },
		{ TD "/**", "spiffe://agents.corp.example.evil/human/corp/olga", false },
		{ TD "/**", TD "/**", false }, /* a pattern is nobody */
		{ TD "/human/corp/*", TD "/human/corp/*", false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++)
		if (principal_matches(writ_str(rows[i].pattern), writ_str(rows[i].principal)) != rows[i].matches)
			fail_msg("%s and %s", rows[i].pattern, rows[i].principal);
}

static void
kinds_have_the_names_of_the_format(void **state)
{
	enum principal_kind kind = PRINCIPAL_HUMAN;

	(void)state;
	assert_true(principal_kind_from(WRIT_LIT("service"), &kind));
	assert_int_equal(kind, PRINCIPAL_SERVICE);
	assert_string_equal(principal_kind_name(PRINCIPAL_AGENT), "agent");
	assert_false(principal_kind_from(WRIT_LIT("Agent"), &kind));
	assert_false(principal_kind_from(WRIT_LIT("agents"), &kind));
	assert_false(principal_kind_from(WRIT_LIT(""), &kind));
}

/* ---- properties, over short names from a small alphabet, so that relations are frequent ---- */

static uint32_t seed = 1;

static unsigned
pick(unsigned n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % n;
}

struct name {
	char text[64];
};

static struct writ_bytes
bytes_of(const struct name *name)
{
	return writ_str(name->text);
}

static struct name
random_resource(bool may_be_pattern)
{
	static const char *const hosts[] = { "https://h", "https://h:8443", "https://ha" };
	static const char *const segments[] = { "/a", "/b", "/ab" };
	static const char *const ends[] = { "", "/*", "/**" };
	struct name name = { "" };

	strcat(name.text, hosts[pick(8) ? 0 : pick(3)]);
	for (unsigned n = pick(4); n > 0; n--)
		strcat(name.text, segments[pick(3)]);
	strcat(name.text, ends[may_be_pattern ? pick(3) : 0]);
	return name;
}

static struct name
random_action(bool may_be_pattern)
{
	static const char *const segments[] = { "a", "b", "ab" };
	struct name name = { "" };

	strcat(name.text, segments[pick(3)]);
	for (unsigned n = pick(4); n > 0; n--) {
		strcat(name.text, ":");
		strcat(name.text, segments[pick(3)]);
	}
	if (may_be_pattern && pick(2))
		strcat(name.text, ":*");
	return name;
}

typedef bool cover_fn(struct writ_bytes parent, struct writ_bytes child);

static void
check_order(cover_fn *covers, check_fn *check, struct name (*random)(bool), unsigned rounds)
{
	unsigned n_covered = 0, n_chained = 0, n_matched = 0;

	for (unsigned i = 0; i < rounds; i++) {
		const struct name a = random(true), b = random(true), c = random(true), concrete = random(false);
		const bool ab = covers(bytes_of(&a), bytes_of(&b)), bc = covers(bytes_of(&b), bytes_of(&c));

		expect_ok(check(bytes_of(&a)));
		if (!covers(bytes_of(&a), bytes_of(&a)))
			fail_msg("not reflexive: %s", a.text);
		if (ab && bc && !covers(bytes_of(&a), bytes_of(&c)))
			fail_msg("not transitive: %s, %s, %s", a.text, b.text, c.text);
		if (ab && covers(bytes_of(&b), bytes_of(&a)) && strcmp(a.text, b.text) != 0)
			fail_msg("not antisymmetric: %s, %s", a.text, b.text);
		if (ab && covers(bytes_of(&b), bytes_of(&concrete)) && !covers(bytes_of(&a), bytes_of(&concrete)))
			fail_msg("%s covers %s, which matches %s, yet it does not", a.text, b.text, concrete.text);
		n_covered += ab;
		n_chained += ab && bc;
		n_matched += covers(bytes_of(&b), bytes_of(&concrete));
	}
	assert_true(n_covered > rounds / 50); /* the generator does meet the cases */
	assert_true(n_chained > rounds / 500);
	assert_true(n_matched > rounds / 50);
}

static void
covering_is_a_partial_order_that_keeps_every_match(void **state)
{
	(void)state;
	check_order(resource_covers, resource_check, random_resource, 100000);
	check_order(action_covers, action_check, random_action, 100000);
}

/* Matching said another way, segment by segment, as an oracle. */
static bool
matches_slowly(const char *pattern, const char *name, char separator)
{
	const size_t len = strlen(pattern);
	const bool deep = separator == ':' ? len > 2 && strcmp(pattern + len - 2, ":*") == 0
					   : len > 3 && strcmp(pattern + len - 3, "/**") == 0;
	const bool one = separator == '/' && !deep && len > 2 && strcmp(pattern + len - 2, "/*") == 0;
	const size_t base = deep && separator == '/' ? len - 3 : deep || one ? len - 2 : len;

	if (!deep && !one)
		return strcmp(pattern, name) == 0;
	if (strncmp(pattern, name, base) != 0 || name[base] != separator || name[base + 1] == '\0')
		return false;
	return deep || !strchr(name + base + 1, separator);
}

static void
covering_a_plain_name_is_matching_it(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		const struct name p = random_resource(true), r = random_resource(false);
		const struct name q = random_action(true), a = random_action(false);

		assert_int_equal(resource_covers(bytes_of(&p), bytes_of(&r)), matches_slowly(p.text, r.text, '/'));
		assert_int_equal(action_covers(bytes_of(&q), bytes_of(&a)), matches_slowly(q.text, a.text, ':'));
		n += resource_covers(bytes_of(&p), bytes_of(&r)) && action_covers(bytes_of(&q), bytes_of(&a));
	}
	assert_true(n > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_action_is_lower_case_segments_and_at_most_one_last_star),
		cmocka_unit_test(a_resource_in_canonical_form_is_accepted),
		cmocka_unit_test(a_resource_in_any_other_form_is_refused_never_normalised),
		cmocka_unit_test(trust_domains_and_task_ids_keep_to_their_characters_and_lengths),
		cmocka_unit_test(a_spiffe_id_comes_apart_into_its_views),
		cmocka_unit_test(a_spiffe_id_of_another_shape_is_refused),
		cmocka_unit_test(a_pattern_of_principals_that_could_match_nobody_is_refused),
		cmocka_unit_test(a_principal_matches_by_whole_segments),
		cmocka_unit_test(kinds_have_the_names_of_the_format),
		cmocka_unit_test(covering_is_a_partial_order_that_keeps_every_match),
		cmocka_unit_test(covering_a_plain_name_is_matching_it),
	};
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);

	writ_arena_done(&make_arena);
	return failed;
}
