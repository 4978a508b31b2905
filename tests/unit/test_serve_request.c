/*
 * JSON bodies: what each route takes, and every refusal word for word.
 */
#include "issuer/serve/request.h"
#include "tests/unit/expect.h"

#define SPKI "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define AGENT "\"agent\":{\"class\":\"spiffe://agents.corp.example/agent/invoice-bot\",\"spki_sha256\":\"" SPKI "\"}"
#define SCOPE "\"scope\":[{\"actions\":[\"invoices:read\"],\"resources\":[\"https://erp.corp.example/v2/**\"]}]"
#define AUDIENCE "\"audience\":[\"https://erp.corp.example\"]"
#define LEAST AGENT "," SCOPE "," AUDIENCE

static struct writ_arena arena = { .limit = 1024 * 1024 };

static int
clear(void **state)
{
	(void)state;
	writ_arena_done(&arena);
	return 0;
}

struct refusal {
	const char *what, *body, *message;
};

static void
refused_each(const struct refusal *list, size_t n, struct writ_err *(*read)(struct writ_bytes))
{
	for (size_t i = 0; i < n; i++) {
		struct writ_err *err = read(writ_str(list[i].body));
		char text[1000];

		if (!err)
			fail_msg("%s: accepted", list[i].what);
		writ_err_text(err, text, sizeof(text));
		if (strcmp(text, list[i].message) != 0)
			fail_msg("%s:\n got: %s\nwant: %s", list[i].what, text, list[i].message);
		assert_int_equal(err->code, WRIT_INVALID);
		writ_err_free(err);
	}
}

static struct writ_err *
read_task(struct writ_bytes body)
{
	struct request_delegation r;

	return request_delegation(body, REQUEST_OPEN_TASK, &arena, &r);
}

static struct writ_err *
read_delegation(struct writ_bytes body)
{
	struct request_delegation r;

	return request_delegation(body, REQUEST_DELEGATE, &arena, &r);
}

static struct writ_err *
read_leaf(struct writ_bytes body)
{
	struct request_leaf r;

	return request_leaf(body, &arena, &r);
}

static struct writ_err *
read_renew(struct writ_bytes body)
{
	struct request_leaf r;

	return request_renew(body, &arena, &r);
}

static struct writ_err *
read_lift(struct writ_bytes body)
{
	struct request_revoke r;

	return request_lift(body, &arena, &r);
}

static struct writ_err *
read_revoke(struct writ_bytes body)
{
	struct request_revoke r;

	return request_revoke(body, &arena, &r);
}

/* ---- any body ---- */

static void
what_is_no_json_object_is_refused(void **state)
{
	static const struct refusal list[] = {
		{ "nothing", "", "the body is not JSON: line 1, column 0: '[' or '{' expected near end of file" },
		{ "a number", "7", "the body is not JSON: line 1, column 1: '[' or '{' expected near '7'" },
		{ "a list", "[]", "the body is not a JSON object" },
		{ "more behind it", "{" LEAST "} {}",
		  "the body is not JSON: line 1, column 278: end of file expected near '{'" },
		{ "a comment", "{} // hello", "the body is not JSON: line 1, column 4: end of file expected near '/'" },
		{ "a NUL in a text", "{\"id\":\"a\\u0000b\"}",
		  "the body is not JSON: line 1, column 16: a NUL in a text" },
		{ "a NUL in a key", "{\"a\\u0000b\":1}", "the body is not JSON: line 1, column 11: a NUL in a text" },
		{ "no UTF-8", "{\"purpose\":\"\xff\"}", "the body is not JSON: line 1, column 12: not UTF-8" },
	};

	(void)state;
	refused_each(list, N_OF(list), read_task);
}

static void
a_member_twice_is_refused_at_any_depth(void **state)
{
	static const struct refusal list[] = {
		{ "at the top", "{\"depth\":1,\"depth\":1}", "the body has a member twice: line 1, column 18" },
		{ "in the agent", "{\"agent\":{\"class\":\"a\",\"class\":\"b\"}}",
		  "the body has a member twice: line 1, column 29" },
		{ "in a constraint", "{\"scope\":[{\"constraints\":[{\"window\":{},\"window\":{}}]}]}",
		  "the body has a member twice: line 1, column 47" },
	};

	(void)state;
	refused_each(list, N_OF(list), read_task);
}

static void
sixteen_levels_are_read_and_the_seventeenth_is_refused(void **state)
{
	char body[64];

	(void)state;
	memset(body, '[', sizeof(body));
	expect_refused(read_task((struct writ_bytes){ (uint8_t *)body, 16 }), WRIT_INVALID,
		       "the body is not JSON: line 1, column 16: ']' expected near end of file");
	expect_refused(read_task((struct writ_bytes){ (uint8_t *)body, 17 }), WRIT_INVALID,
		       "the body nests deeper than 16");
}

static void
a_thousand_levels_are_refused_before_any_tree_is_built(void **state)
{
	char body[5000] = "";

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		memcpy(body + 5 * i, "{\"a\":", 5);
	expect_refused(read_task((struct writ_bytes){ (uint8_t *)body, sizeof(body) }), WRIT_INVALID,
		       "the body nests deeper than 16");
}

static void
brackets_in_texts_do_not_count_as_depth(void **state)
{
	(void)state;
	expect_ok(read_task(writ_str("{\"purpose\":\"[[[[[[[[[[[[[[[[[[[[\\\"{{{{{{{{{{{{\"," LEAST "}")));
}

static void
a_body_over_64_kib_is_refused(void **state)
{
	static char body[REQUEST_MAX + 1];

	(void)state;
	memset(body, ' ', sizeof(body));
	expect_refused(read_task((struct writ_bytes){ (uint8_t *)body, sizeof(body) }), WRIT_INVALID,
		       "the body has 65537 bytes, over 65536");
}

/* ---- tasks and delegations ---- */

static void
the_least_task_gets_the_defaults(void **state)
{
	struct request_delegation r;

	(void)state;
	expect_ok(request_delegation(writ_str("{" LEAST "}"), REQUEST_OPEN_TASK, &arena, &r));
	assert_int_equal(r.task_id.len, 0);
	assert_int_equal(r.depth, 0);
	assert_int_equal(r.ends_in_s, 3600);
	assert_int_equal(r.context_type.len, 0);
	assert_int_equal(r.grant.n_entitlements, 1);
	assert_false(r.grant.entitlements[0].delegable);
	assert_int_equal(r.spki_sha256[31], 0xff);
}

static void
everything_a_task_may_say_is_read(void **state)
{
	struct request_delegation r;
	const struct constraint *c;

	(void)state;
	expect_ok(request_delegation(
		writ_str("{\"id\":\"Q3.books_1\",\"purpose\":\"Close the books \xe2\x9c\x93\"," AGENT
			 ",\"scope\":[{\"actions\":[\"b:x\",\"a:y\"],"
			 "\"resources\":[\"https://h/1\",\"https://h/"
			 "*\"],\"delegable\":true,\"constraints\":[{\"paramMax\":{\"name\":\"limit\",\"max\":-5}},"
			 "{\"paramIn\":{\"name\":\"who\",\"values\":[\"b\",\"a\"]}}]}],\"audience\":[\"https://"
			 "h\"],\"constraints\":["
			 "{\"sourceNet\":[\"10.0.0.0/8\",\"2001:db8::/"
			 "32\"]},{\"window\":{\"notBefore\":\"2026-11-23T09:00:00Z\",\"notAfter\":"
			 "\"2026-11-23T17:00:00Z\"}}],\"depth\":7,\"ends_in_s\":28800,\"context\":{\"type\":\"prompt\","
			 "\"digest\":\"" SPKI "\"}}"),
		REQUEST_OPEN_TASK, &arena, &r));
	expect_bytes(r.task_id, WRIT_LIT("Q3.books_1"));
	assert_int_equal(r.depth, 7);
	assert_int_equal(r.ends_in_s, 28800);
	assert_int_equal(r.context_digest.len, 32);
	assert_true(r.grant.entitlements[0].delegable);
	expect_bytes(r.grant.entitlements[0].actions.list[0], WRIT_LIT("a:y")); /* canonical order (E6) */
	c = r.grant.constraints.list;
	assert_int_equal(c[0].kind, CONSTRAINT_SOURCE_NET);
	assert_int_equal(c[0].n_values, 2);
	assert_int_equal(c[1].not_after - c[1].not_before, 8 * 3600);
	assert_int_equal(r.grant.entitlements[0].constraints.list[0].max, -5);
}

static void
unknown_and_missing_members_are_named(void **state)
{
	static const struct refusal list[] = {
		{ "unknown", "{" LEAST ",\"kind\":\"human\"}", "member 'kind' is unknown" },
		{ "unknown in agent", "{\"agent\":{\"instance\":\"i\"}}", "member 'agent.instance' is unknown" },
		{ "unknown in scope", "{" AGENT ",\"scope\":[{\"effect\":\"allow\"}]}",
		  "member 'scope[0].effect' is unknown" },
		{ "no agent", "{" SCOPE "," AUDIENCE "}", "member 'agent' is missing" },
		{ "no class", "{\"agent\":{\"spki_sha256\":\"" SPKI "\"}}", "member 'agent.class' is missing" },
		{ "no key", "{\"agent\":{\"class\":\"spiffe://agents.corp.example/agent/a\"}}",
		  "member 'agent.spki_sha256' is missing" },
		{ "no scope", "{" AGENT "," AUDIENCE "}", "member 'scope' is missing" },
		{ "no audience", "{" AGENT "," SCOPE "}", "member 'audience' is missing" },
		{ "no actions", "{" AGENT ",\"scope\":[{\"resources\":[\"https://h/x\"]}]}",
		  "member 'scope[0].actions' is missing" },
	};

	(void)state;
	refused_each(list, N_OF(list), read_task);
}

static void
wrong_values_are_refused_with_what_is_allowed(void **state)
{
	static const struct refusal list[] = {
		{ "depth 8", "{" LEAST ",\"depth\":8}", "member 'depth' must be an integer from 0 to 7" },
		{ "depth as a text", "{" LEAST ",\"depth\":\"1\"}", "member 'depth' must be an integer from 0 to 7" },
		{ "depth as a float", "{" LEAST ",\"depth\":1.0}", "member 'depth' must be an integer from 0 to 7" },
		{ "59 s", "{" LEAST ",\"ends_in_s\":59}", "member 'ends_in_s' must be an integer from 60 to 28800" },
		{ "8 h and a second", "{" LEAST ",\"ends_in_s\":28801}",
		  "member 'ends_in_s' must be an integer from 60 to 28800" },
		{ "an empty scope", "{" AGENT ",\"scope\":[]," AUDIENCE "}",
		  "member 'scope' must be a list of 1 to 32 entitlements" },
		{ "an empty audience", "{" AGENT "," SCOPE ",\"audience\":[]}",
		  "member 'audience' must be a list of 1 to 16 texts" },
		{ "an audience of numbers", "{" AGENT "," SCOPE ",\"audience\":[1]}",
		  "member 'audience' must be a list of 1 to 16 texts" },
		{ "a task id with a slash", "{\"id\":\"a/b\"," LEAST "}",
		  "task id 'a/b': only A-Z, a-z, 0-9, '.', '_' and '-'" },
		{ "an empty task id", "{\"id\":\"\"," LEAST "}", "member 'id' must be a text that is not empty" },
		{ "an escape in the purpose", "{\"purpose\":\"\\u001b[2J\"," LEAST "}",
		  "member 'purpose' must be UTF-8 without control characters" },
		{ "a bidi override in the purpose", "{\"purpose\":\"\\u202eX\"," LEAST "}",
		  "member 'purpose' must be UTF-8 without control characters" },
		{ "an upper-case digest",
		  "{\"agent\":{\"class\":\"spiffe://agents.corp.example/agent/a\",\"spki_sha256\":"
		  "\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\"}}",
		  "member 'agent.spki_sha256' must be 64 lower-case hex digits" },
		{ "a short digest",
		  "{\"agent\":{\"class\":\"spiffe://agents.corp.example/agent/a\",\"spki_sha256\":\"00\"}}",
		  "member 'agent.spki_sha256' must be 64 lower-case hex digits" },
		{ "an instance of the asker's choice",
		  "{\"agent\":{\"class\":\"spiffe://agents.corp.example/agent/a/i-1\",\"spki_sha256\":\"" SPKI "\"}}",
		  "member 'agent.class' must be a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by "
		  "the issuer" },
		{ "a human as agent",
		  "{\"agent\":{\"class\":\"spiffe://agents.corp.example/human/corp/alice\",\"spki_sha256\":\"" SPKI
		  "\"}}",
		  "member 'agent.class' must be a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by "
		  "the issuer" },
		{ "a delegable that is none",
		  "{" AGENT ",\"scope\":[{\"actions\":[\"a:b\"],\"resources\":[\"https://h/x\"],\"delegable\":1}]}",
		  "member 'scope[0].delegable' must be true or false" },
		{ "a context with a blank", "{" LEAST ",\"context\":{\"type\":\"a b\",\"digest\":\"" SPKI "\"}}",
		  "member 'context.type' must be printable ASCII without blanks" },
	};

	(void)state;
	refused_each(list, N_OF(list), read_task);
}

static void
constraints_are_one_thing_each_and_exact(void **state)
{
#define WITH(c) "{" LEAST ",\"constraints\":[" c "]}"
	static const struct refusal list[] = {
		{ "none", WITH("{}"),
		  "member 'constraints[0]' must have exactly one of sourceNet, window, paramIn, paramMax" },
		{ "two", WITH("{\"sourceNet\":[\"10.0.0.0/8\"],\"paramMax\":{\"name\":\"a\",\"max\":1}}"),
		  "member 'constraints[0]' must have exactly one of sourceNet, window, paramIn, paramMax" },
		{ "a reserved one", WITH("{\"budget\":1}"), "member 'constraints[0].budget' is unknown" },
		{ "no prefix", WITH("{\"sourceNet\":[\"10.0.0.0\"]}"),
		  "member 'constraints[0].sourceNet': '10.0.0.0' is not ADDRESS/PREFIX" },
		{ "prefix 33", WITH("{\"sourceNet\":[\"10.0.0.0/33\"]}"),
		  "member 'constraints[0].sourceNet': '10.0.0.0/33' is not ADDRESS/PREFIX" },
		{ "host bits", WITH("{\"sourceNet\":[\"10.0.0.1/8\"]}"),
		  "member 'constraints[0].sourceNet': '10.0.0.1/8' has bits set below its prefix" },
		{ "an empty list", WITH("{\"sourceNet\":[]}"),
		  "member 'constraints[0].sourceNet' must be a list of 1 to 16 texts" },
		{ "a time with an offset",
		  WITH("{\"window\":{\"notBefore\":\"2026-11-23T09:00:00+01:00\",\"notAfter\":\"2026-11-23T10:00:00Z\"}"
		       "}"),
		  "member 'constraints[0].window.notBefore' must be a time as 2026-11-23T20:51:37Z" },
		{ "half a window", WITH("{\"window\":{\"notBefore\":\"2026-11-23T09:00:00Z\"}}"),
		  "member 'constraints[0].window.notAfter' is missing" },
		{ "a maximum of 2^53", WITH("{\"paramMax\":{\"name\":\"a\",\"max\":9007199254740992}}"),
		  "member 'constraints[0].paramMax.max' must be an integer from -9007199254740991 to "
		  "9007199254740991" },
		{ "no maximum", WITH("{\"paramMax\":{\"name\":\"a\"}}"),
		  "member 'constraints[0].paramMax.max' is missing" },
		{ "a text for an object", WITH("\"sourceNet\""), "member 'constraints[0]' must be an object" },
	};

	(void)state;
	refused_each(list, N_OF(list), read_task);
#undef WITH
}

static void
a_delegation_has_no_task_of_its_own(void **state)
{
	static const struct refusal list[] = {
		{ "id", "{\"id\":\"other\"," LEAST "}", "member 'id' is unknown" },
		{ "purpose", "{\"purpose\":\"x\"," LEAST "}", "member 'purpose' is unknown" },
	};
	struct request_delegation r;

	(void)state;
	refused_each(list, N_OF(list), read_delegation);
	expect_ok(request_delegation(writ_str("{" LEAST "}"), REQUEST_DELEGATE, &arena, &r));
	assert_int_equal(r.ends_in_s, 0); /* with the parent's edge */
}

/* ---- leaves ---- */

static void
a_csr_comes_as_base64_or_pem(void **state)
{
	struct request_leaf r;

	(void)state;
	expect_ok(request_leaf(writ_str("{\"csr\":\"MAA=\"}"), &arena, &r));
	expect_bytes(r.csr, WRIT_LIT("\x30\x00"));
	assert_int_equal(r.lifetime_s, 0);
	assert_false(r.ocsp);
	expect_ok(request_leaf(writ_str("{\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\\nMAA=\\n-----END CERTIFICATE "
					"REQUEST-----\\n\","
					"\"lifetime_s\":900,\"ocsp\":true}"),
			       &arena, &r));
	expect_bytes(r.csr, WRIT_LIT("\x30\x00"));
	assert_int_equal(r.lifetime_s, 900);
	assert_true(r.ocsp);
}

static void
leaf_requests_are_strict(void **state)
{
	static char large[32000 + 10]; /* a base64 of whole groups, and what is around it */
	static const struct refusal list[] = {
		{ "no csr", "{}", "member 'csr' is missing" },
		{ "a number", "{\"csr\":1}", "member 'csr' must be a text: base64 of the DER, or PEM" },
		{ "59 s", "{\"csr\":\"MAA=\",\"lifetime_s\":59}",
		  "member 'lifetime_s' must be an integer from 60 to 900" },
		{ "901 s", "{\"csr\":\"MAA=\",\"lifetime_s\":901}",
		  "member 'lifetime_s' must be an integer from 60 to 900" },
		{ "a san", "{\"csr\":\"MAA=\",\"san\":\"x\"}", "member 'san' is unknown" },
	};
	struct writ_err *err;

	(void)state;
	refused_each(list, N_OF(list), read_leaf);
	memset(large, 'A', sizeof(large));
	memcpy(large, "{\"csr\":\"", 8);
	memcpy(large + sizeof(large) - 2, "\"}", 2);
	err = read_leaf((struct writ_bytes){ (uint8_t *)large, sizeof(large) });
	assert_non_null(err);
	assert_string_equal(err->message, "member 'csr' has more than 8192 bytes");
	writ_err_free(err);
	err = read_leaf(writ_str("{\"csr\":\"M A =\"}"));
	assert_non_null(err);
	assert_string_equal(err->message, "member 'csr' is neither base64 of DER nor PEM");
	writ_err_free(err);
}

static void
a_renewal_needs_no_body(void **state)
{
	static const struct refusal list[] = {
		{ "a csr", "{\"csr\":\"MAA=\"}", "member 'csr' is unknown" },
		{ "another scope", "{\"scope\":[]}", "member 'scope' is unknown" },
	};
	struct request_leaf r;

	(void)state;
	expect_ok(request_renew((struct writ_bytes){ 0 }, &arena, &r));
	expect_ok(request_renew(writ_str("{}"), &arena, &r));
	expect_ok(request_renew(writ_str("{\"lifetime_s\":60}"), &arena, &r));
	assert_int_equal(r.lifetime_s, 60);
	refused_each(list, N_OF(list), read_renew);
}

static void
queries_are_read_exactly(void **state)
{
	uint64_t from;
	unsigned count;
	uint32_t lifetime;

	(void)state;
	expect_ok(request_lifetime_query(writ_str(""), &lifetime));
	assert_int_equal(lifetime, 0);
	expect_ok(request_lifetime_query(writ_str("lifetime_s=300"), &lifetime));
	assert_int_equal(lifetime, 300);
	for (size_t i = 0; i < 6; i++) {
		static const char *const bad[] = { "lifetime_s=59",   "lifetime_s=901",	 "lifetime_s=",
						   "lifetime_s=0300", "lifetime_s=300&", "lifetime=300" };

		expect_refused(request_lifetime_query(writ_str(bad[i]), &lifetime), WRIT_INVALID,
			       "the query must be lifetime_s=N, N from 60 to 900");
	}
	expect_ok(request_entries_query(writ_str(""), &from, &count));
	assert_int_equal(count, 100);
	expect_ok(request_entries_query(writ_str("count=1&from=7"), &from, &count));
	assert_int_equal(from, 7);
	assert_int_equal(count, 1);
	expect_refused(request_entries_query(writ_str("from=1&from=1"), &from, &count), WRIT_INVALID,
		       "the query must be from=N and count=N, count from 1 to 100");
	expect_refused(request_entries_query(writ_str("count=101"), &from, &count), WRIT_INVALID,
		       "the query must be from=N and count=N, count from 1 to 100");
	expect_refused(request_entries_query(writ_str("from=-1"), &from, &count), WRIT_INVALID,
		       "the query must be from=N and count=N");
}

static void
a_responder_says_which_life_of_the_issuer_it_follows(void **state)
{
	static const char *const bad[] = { "",
					   "from=1",
					   "epoch=00112233445566778899aabbccddeeff",
					   "epoch=00112233445566778899aabbccddeeff&",
					   "epoch=00112233445566778899aabbccddeef&from=1",
					   "epoch=00112233445566778899aabbccddeeff0&from=1",
					   "epoch=00112233445566778899aabbccddeefx&from=1",
					   "from=1&epoch=00112233445566778899aabbccddeeff",
					   "epoch=00112233445566778899aabbccddeeff&from=-1",
					   "epoch=00112233445566778899aabbccddeeff&from=1&",
					   "epoch=00112233445566778899aabbccddeeff&from=1&wait_ms=2001",
					   "epoch=00112233445566778899aabbccddeeff&from=1&wait_ms=1&wait_ms=1",
					   "epoch=00112233445566778899aabbccddeeff&at=1" };
	uint8_t epoch[16];
	uint32_t wait_ms;
	uint64_t from;

	(void)state;
	expect_ok(request_changes_query(writ_str("epoch=00112233445566778899aabbccddeeff&from=7"), epoch, &from,
					&wait_ms));
	assert_int_equal(from, 7);
	assert_int_equal(wait_ms, 0);
	assert_int_equal(epoch[15], 0xff);
	expect_ok(request_changes_query(writ_str("epoch=00112233445566778899aabbccddeeff&from=7&wait_ms=2000"), epoch,
					&from, &wait_ms));
	assert_int_equal(wait_ms, 2000);
	expect_ok(request_table_query(writ_str("epoch=00112233445566778899aabbccddeeff&at=9"), epoch, &from));
	assert_int_equal(from, 9);
	expect_refused(request_table_query(writ_str("epoch=00112233445566778899aabbccddeeff&from=9"), epoch, &from),
		       WRIT_INVALID, "the query must be epoch=HEX&at=N, with 32 digits of hex");
	for (size_t i = 0; i < N_OF(bad); i++)
		expect_refused(request_changes_query(writ_str(bad[i]), epoch, &from, &wait_ms), WRIT_INVALID,
			       "the query must be epoch=HEX&from=N, with 32 digits of hex, and may end in &wait_ms=N, N "
			       "at most 2000");
}

/* ---- revocations ---- */

static void
exactly_one_thing_is_revoked(void **state)
{
	static const struct refusal list[] = {
		{ "nothing", "{}", "exactly one of edge, serial, task, principal, all says what is revoked" },
		{ "an edge and all", "{\"edge\":\"00112233445566778899aabbccddeeff\",\"all\":true}",
		  "exactly one of edge, serial, task, principal, all says what is revoked" },
		{ "not quite all", "{\"all\":false}", "member 'all' must be true" },
		{ "all by name", "{\"all\":\"true\"}", "member 'all' must be true" },
		{ "all, to begin again at once", "{\"all\":true,\"freeze\":false}",
		  "member 'freeze' must be true with 'all'" },
		{ "a frozen edge", "{\"edge\":\"00112233445566778899aabbccddeeff\",\"freeze\":true}",
		  "member 'freeze' goes with a principal or with all" },
		{ "a frozen task", "{\"task\":\"a\",\"freeze\":true}",
		  "member 'freeze' goes with a principal or with all" },
		{ "half a freeze", "{\"principal\":\"spiffe://agents.corp.example/human/corp/bob\",\"freeze\":1}",
		  "member 'freeze' must be true or false" },
		{ "two", "{\"task\":\"a\",\"serial\":\"00112233445566778899aabbccddeeff\"}",
		  "exactly one of edge, serial, task, principal, all says what is revoked" },
		{ "a short serial", "{\"serial\":\"0011\"}", "member 'serial' must be 32 lower-case hex digits" },
		{ "hold", "{\"task\":\"a\",\"reason\":\"certificateHold\"}",
		  "member 'reason' must be one of unspecified, keyCompromise, affiliationChanged, superseded, "
		  "cessationOfOperation, "
		  "privilegeWithdrawn" },
		{ "a CA's reason", "{\"task\":\"a\",\"reason\":\"cACompromise\"}",
		  "member 'reason' must be one of unspecified, keyCompromise, affiliationChanged, superseded, "
		  "cessationOfOperation, "
		  "privilegeWithdrawn" },
	};
	struct request_revoke r;

	(void)state;
	refused_each(list, N_OF(list), read_revoke);
	expect_ok(request_revoke(writ_str("{\"edge\":\"00112233445566778899aabbccddeeff\"}"), &arena, &r));
	assert_int_equal(r.target, TARGET_EDGE);
	assert_int_equal(r.id.len, 16);
	assert_int_equal(r.reason, REASON_PRIVILEGE_WITHDRAWN);
	expect_ok(request_revoke(
		writ_str(
			"{\"principal\":\"spiffe://agents.corp.example/human/corp/bob\",\"reason\":\"keyCompromise\"}"),
		&arena, &r));
	assert_int_equal(r.target, TARGET_PRINCIPAL);
	assert_int_equal(r.reason, REASON_KEY_COMPROMISE);
	assert_false(r.freeze);
	expect_ok(request_revoke(
		writ_str("{\"principal\":\"spiffe://agents.corp.example/agent/bot/i-1\",\"freeze\":true}"), &arena,
		&r));
	assert_int_equal(r.target, TARGET_PRINCIPAL);
	assert_true(r.freeze);
	expect_ok(request_revoke(writ_str("{\"principal\":\"spiffe://agents.corp.example/agent/bot\"}"), &arena, &r));
	assert_int_equal(r.target, TARGET_CLASS);
	assert_false(r.freeze);
	expect_ok(request_revoke(writ_str("{\"all\":true}"), &arena, &r));
	assert_int_equal(r.target, TARGET_ALL);
	assert_true(r.freeze);
	assert_int_equal(r.id.len, 0);
}

static void
one_freeze_is_lifted_at_a_time(void **state)
{
	static const struct refusal list[] = {
		{ "nothing", "{}", "exactly one of principal, all says whose freeze is lifted" },
		{ "both", "{\"principal\":\"spiffe://agents.corp.example/human/corp/bob\",\"all\":true}",
		  "exactly one of principal, all says whose freeze is lifted" },
		{ "not all", "{\"all\":false}", "member 'all' must be true" },
		{ "an edge", "{\"edge\":\"00112233445566778899aabbccddeeff\"}", "member 'edge' is unknown" },
		{ "no principal", "{\"principal\":5}", "member 'principal' must be a text that is not empty" },
	};
	struct request_revoke r;

	(void)state;
	refused_each(list, N_OF(list), read_lift);
	expect_ok(request_lift(writ_str("{\"all\":true}"), &arena, &r));
	assert_int_equal(r.target, TARGET_ALL);
	expect_ok(request_lift(writ_str("{\"principal\":\"spiffe://agents.corp.example/agent/bot\"}"), &arena, &r));
	assert_int_equal(r.target, TARGET_CLASS);
}

/* ---- approvals ---- */

#define DIGEST "\"digest\":\"0011223344556677889900112233445566778899001122334455667788990011\""

static struct writ_err *
read_approval(struct writ_bytes body)
{
	struct request_approval r;

	return request_approval(body, &arena, &r);
}

static void
an_approval_says_what_and_names_a_digest(void **state)
{
	static const struct refusal list[] = {
		{ "nothing", "{}", "member 'decision' is missing" },
		{ "no digest", "{\"decision\":\"approve\"}", "member 'digest' is missing" },
		{ "an upper-case digest",
		  "{\"decision\":\"approve\",\"digest\":"
		  "\"AA11223344556677889900112233445566778899001122334455667788990011\"}",
		  "member 'digest' must be 64 lower-case hex digits" },
		{ "neither", "{\"decision\":\"abstain\"," DIGEST "}", "member 'decision' must be approve or refuse" },
		{ "a reason to approve", "{\"decision\":\"approve\",\"because\":\"so\"," DIGEST "}",
		  "member 'because' goes with a refusal" },
		{ "an escape", "{\"decision\":\"refuse\",\"because\":\"\\u001b[2J\"," DIGEST "}",
		  "member 'because' must be UTF-8 without control characters" },
		{ "for somebody else", "{\"decision\":\"approve\",\"as\":\"bob\"," DIGEST "}",
		  "member 'as' is unknown" },
	};
	struct request_approval r;

	(void)state;
	refused_each(list, N_OF(list), read_approval);
	expect_ok(request_approval(writ_str("{\"decision\":\"approve\"," DIGEST "}"), &arena, &r));
	assert_false(r.refuses);
	assert_int_equal(r.digest[1], 0x11);
	expect_ok(request_approval(writ_str("{\"decision\":\"refuse\",\"because\":\"twice the sum\"," DIGEST "}"),
				   &arena, &r));
	assert_true(r.refuses);
	expect_bytes(r.because, WRIT_LIT("twice the sum"));
}

static void
tasks_are_listed_by_state(void **state)
{
	bool pending;

	(void)state;
	expect_ok(request_tasks_query(writ_str("state=open"), &pending));
	assert_false(pending);
	expect_ok(request_tasks_query(writ_str("state=pending"), &pending));
	assert_true(pending);
	expect_refused(request_tasks_query(writ_str(""), &pending), WRIT_INVALID,
		       "the query must be state=open or state=pending");
	expect_refused(request_tasks_query(writ_str("state=pending&"), &pending), WRIT_INVALID,
		       "the query must be state=open or state=pending");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_no_json_object_is_refused, clear),
		cmocka_unit_test_teardown(a_member_twice_is_refused_at_any_depth, clear),
		cmocka_unit_test_teardown(sixteen_levels_are_read_and_the_seventeenth_is_refused, clear),
		cmocka_unit_test_teardown(a_thousand_levels_are_refused_before_any_tree_is_built, clear),
		cmocka_unit_test_teardown(brackets_in_texts_do_not_count_as_depth, clear),
		cmocka_unit_test_teardown(a_body_over_64_kib_is_refused, clear),
		cmocka_unit_test_teardown(the_least_task_gets_the_defaults, clear),
		cmocka_unit_test_teardown(everything_a_task_may_say_is_read, clear),
		cmocka_unit_test_teardown(unknown_and_missing_members_are_named, clear),
		cmocka_unit_test_teardown(wrong_values_are_refused_with_what_is_allowed, clear),
		cmocka_unit_test_teardown(constraints_are_one_thing_each_and_exact, clear),
		cmocka_unit_test_teardown(a_delegation_has_no_task_of_its_own, clear),
		cmocka_unit_test_teardown(a_csr_comes_as_base64_or_pem, clear),
		cmocka_unit_test_teardown(leaf_requests_are_strict, clear),
		cmocka_unit_test_teardown(a_renewal_needs_no_body, clear),
		cmocka_unit_test_teardown(queries_are_read_exactly, clear),
		cmocka_unit_test_teardown(a_responder_says_which_life_of_the_issuer_it_follows, clear),
		cmocka_unit_test_teardown(exactly_one_thing_is_revoked, clear),
		cmocka_unit_test_teardown(an_approval_says_what_and_names_a_digest, clear),
		cmocka_unit_test_teardown(tasks_are_listed_by_state, clear),
		cmocka_unit_test_teardown(one_freeze_is_lifted_at_a_time, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
