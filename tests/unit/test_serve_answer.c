/*
 * JSON out: problems as RFC 9457 wants them, answers as deploy/api/v1.yaml describes them.
 */
#include "issuer/serve/answer.h"
#include "issuer/x509/ca.h"
#include "tests/unit/expect.h"

#include <jansson.h>

static struct writ_buf buf;

static int
start(void **state)
{
	(void)state;
	buf = WRIT_BUF(ANSWER_MAX);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	writ_buf_done(&buf);
	return 0;
}

static void
each_code_has_its_http_status(void **state)
{
	static const struct {
		enum writ_code code;
		unsigned status;
		bool retry;
	} rows[] = {
		{ WRIT_INVALID, 400, false },  { WRIT_UNAUTHENTICATED, 401, false }, { WRIT_NOT_FOUND, 404, false },
		{ WRIT_CONFLICT, 409, false }, { WRIT_EXHAUSTED, 429, true },	     { WRIT_UNAVAILABLE, 503, true },
		{ WRIT_LOCKED, 503, false },   { WRIT_BROKEN, 500, false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct writ_err *err = writ_fail(rows[i].code, "why");
		struct problem p;

		problem_of_err(err, &p);
		assert_int_equal(p.status, rows[i].status);
		assert_string_equal(p.code, writ_code_name(rows[i].code));
		assert_int_equal(p.retry_after_s > 0, rows[i].retry);
		writ_err_free(err);
	}
}

static void
an_error_that_knows_when_to_come_back_says_so(void **state)
{
	struct writ_err *err = writ_retry_after(writ_fail(WRIT_UNAVAILABLE, "busy"), 9);
	struct problem p;

	(void)state;
	problem_of_err(err, &p);
	assert_int_equal(p.retry_after_s, 9);
	writ_err_free(err);
}

static void
a_denial_names_rule_value_limit_and_line(void **state)
{
	struct verdict v = { .kind = VERDICT_DENY,
			     .rule = "short",
			     .value = "lifetime 901 s",
			     .limit = "900 s",
			     .hint = "ask less",
			     .line = 7 };
	struct problem p;

	(void)state;
	problem_of_verdict(&v, &p);
	expect_ok(problem_write(&p, &buf));
	expect_bytes(
		writ_view(&buf),
		WRIT_LIT(
			"{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"code\":\"DENIED\","
			"\"detail\":\"refused by rule short: lifetime 901 s is outside: 900 s (line 7 of the policy)\","
			"\"rule\":\"short\",\"value\":\"lifetime 901 s\",\"limit\":\"900 s\",\"hint\":\"ask less\"}"));
}

static void
not_yet_is_unavailable_with_a_time_and_no_denial(void **state)
{
	struct verdict v = {
		.kind = VERDICT_RETRY, .rule = "L5", .value = "20 s", .limit = "30 s", .retry_after_s = 12
	};
	struct problem p;

	(void)state;
	problem_of_verdict(&v, &p);
	assert_int_equal(p.status, 503);
	assert_string_equal(p.code, "UNAVAILABLE");
	assert_int_equal(p.retry_after_s, 12);
}

static void
what_others_wrote_cannot_break_the_json_or_the_line(void **state)
{
	struct writ_err *err = writ_fail(WRIT_INVALID, "member '%s' is unknown", "a\"},\n{\"x\\");
	struct problem p;
	json_t *json;

	(void)state;
	problem_of_err(err, &p);
	writ_err_free(err);
	expect_ok(problem_write(&p, &buf));
	assert_null(memchr(buf.data, '\n', buf.len));
	json = json_loadb((const char *)buf.data, buf.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_int_equal(json_object_size(json), 5);
	json_decref(json);
}

static const struct store_edge edge = {
	.id = { 1, 2, 3 },
	.task = { (const uint8_t *)"q3", 2 },
	.delegator = { (const uint8_t *)"spiffe://td/human/a/b", 21 },
	.agent = { (const uint8_t *)"spiffe://td/agent/x/i-1", 23 },
	.depth_remaining = 1,
	.granted_at = 1795467097,
	.not_after = 1795470697,
	.state = EDGE_LIVE,
};

static void
a_delegation_is_answered_with_its_edge_and_the_name_we_gave(void **state)
{
	(void)state;
	expect_ok(answer_delegated(&edge, WRIT_LIT("invoices"), &buf));
	expect_bytes(writ_view(&buf),
		     WRIT_LIT("{\"task\":\"q3\",\"edge\":\"01020300000000000000000000000000\",\"agent\":\"spiffe://td/"
			      "agent/x/i-1\","
			      "\"depth\":1,\"not_after\":\"2026-11-23T21:51:37Z\",\"rule\":\"invoices\"}"));
}

static void
a_task_shows_its_edges_and_a_root_has_no_parent(void **state)
{
	const struct store_task task = { .id = edge.task,
					 .opener = edge.delegator,
					 .created = edge.granted_at,
					 .ends = edge.not_after,
					 .state = TASK_COMPLETE,
					 .ended = edge.granted_at + 60 };
	struct store_edge edges[2] = { edge, edge };
	json_t *json, *list;

	(void)state;
	edges[1].parent[0] = 1;
	edges[1].state = EDGE_REVOKED;
	expect_ok(answer_task(&task, edges, 2, WRIT_LIT(""), &buf));
	json = json_loadb((const char *)buf.data, buf.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "complete");
	assert_string_equal(json_string_value(json_object_get(json, "ended")), "2026-11-23T20:52:37Z");
	assert_null(json_object_get(json, "purpose"));
	list = json_object_get(json, "edges");
	assert_int_equal(json_array_size(list), 2);
	assert_null(json_object_get(json_array_get(list, 0), "parent"));
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "state")), "revoked");
	json_decref(json);
}

static void
a_leaf_comes_as_pem_with_its_chain_and_its_place_in_the_log(void **state)
{
	static const uint8_t serial[16] = { 0xab }, log_id[8] = { 0xcd };
	const struct answer_leaf leaf = { .certificate = WRIT_LIT("\x30\x00"),
					  .chain = WRIT_LIT("\"pem\""),
					  .serial = serial,
					  .edge = &edge,
					  .not_before = edge.granted_at - 30,
					  .not_after = edge.granted_at + 299,
					  .renew_at = edge.granted_at + 150,
					  .log_id = { log_id, 8 },
					  .log_index = 12 };
	struct answer_leaf stapled = leaf;
	json_t *json;

	(void)state;
	expect_ok(answer_issued(&leaf, &buf));
	json = json_loadb((const char *)buf.data, buf.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "certificate")),
			    "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
	assert_string_equal(json_string_value(json_object_get(json, "chain")), "pem");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "log"), "index")), 12);
	assert_null(json_object_get(json, "ocsp"));
	json_decref(json);
	writ_buf_clear(&buf);
	stapled.ocsp = WRIT_LIT("\x30\x01");
	expect_ok(answer_issued(&stapled, &buf));
	assert_non_null(memmem(buf.data, buf.len, "\"ocsp\":\"MAE=\"", 13));
}

static void
pem_has_lines_of_64_and_says_what_the_writer_of_files_says(void **state)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(4096);
	uint8_t der[200];
	json_t *json;

	(void)state;
	for (size_t len = 0; len < sizeof(der); len++) {
		der[len] = (uint8_t)(7 * len);
		writ_buf_clear(&buf);
		writ_buf_clear(&pem);
		expect_ok(answer_pem((struct writ_bytes){ der, len + 1 }, &buf));
		expect_ok(pem_write("CERTIFICATE", (struct writ_bytes){ der, len + 1 }, &pem));
		json = json_loadb((const char *)buf.data, buf.len, JSON_DECODE_ANY, NULL);
		assert_non_null(json);
		expect_bytes(writ_str(json_string_value(json)), writ_view(&pem));
		json_decref(json);
	}
}

static void
a_buffer_that_is_full_is_told(void **state)
{
	AUTO(writ_buf_done) struct writ_buf small = WRIT_BUF(40);
	struct writ_err *err = answer_revoked(1000, 1000, true, &small);

	(void)state;
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_EXHAUSTED);
	writ_err_free(err);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_code_has_its_http_status, start, end),
		cmocka_unit_test_setup_teardown(an_error_that_knows_when_to_come_back_says_so, start, end),
		cmocka_unit_test_setup_teardown(a_denial_names_rule_value_limit_and_line, start, end),
		cmocka_unit_test_setup_teardown(not_yet_is_unavailable_with_a_time_and_no_denial, start, end),
		cmocka_unit_test_setup_teardown(what_others_wrote_cannot_break_the_json_or_the_line, start, end),
		cmocka_unit_test_setup_teardown(a_delegation_is_answered_with_its_edge_and_the_name_we_gave, start,
						end),
		cmocka_unit_test_setup_teardown(a_task_shows_its_edges_and_a_root_has_no_parent, start, end),
		cmocka_unit_test_setup_teardown(a_leaf_comes_as_pem_with_its_chain_and_its_place_in_the_log, start,
						end),
		cmocka_unit_test_setup_teardown(pem_has_lines_of_64_and_says_what_the_writer_of_files_says, start, end),
		cmocka_unit_test_setup_teardown(a_buffer_that_is_full_is_told, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
