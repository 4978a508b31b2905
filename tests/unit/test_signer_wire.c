/* The signer wire: what is written is read back; a body that is short, long or out of bounds is refused. */
#include "issuer/signer/wire.h"
#include "tests/unit/expect.h"

static struct writ_buf body;

static void
fresh(void)
{
	writ_buf_done(&body);
	body = WRIT_BUF(FRAME_BODY_MAX);
}

static void
a_leaf_and_its_signature_come_back(void **state)
{
	struct signer_leaf leaf;
	struct signer_signed answer;

	(void)state;
	fresh();
	expect_ok(signer_leaf_write(&(struct signer_leaf){ WRIT_LIT("tbs"), WRIT_LIT("{}") }, &body));
	expect_ok(signer_leaf_read(writ_view(&body), &leaf));
	expect_bytes(leaf.tbs, WRIT_LIT("tbs"));
	expect_bytes(leaf.said, WRIT_LIT("{}"));
	fresh();
	expect_ok(signer_signed_write(&(struct signer_signed){ { 1 }, 77, { 2 }, WRIT_LIT("signature") }, &body));
	expect_ok(signer_signed_read(writ_view(&body), &answer));
	assert_int_equal(answer.serial[0], 1);
	assert_int_equal(answer.index, 77);
	assert_int_equal(answer.leaf_hash[0], 2);
	expect_bytes(answer.signature, WRIT_LIT("signature"));
}

static void
a_welcome_comes_back(void **state)
{
	const struct signer_welcome welcome = { .tier = LEAF_TIER_SEALED,
						.sealed = true,
						.next_index = 9,
						.settled = 7,
						.anchor = WRIT_LIT("anchor"),
						.issuing = WRIT_LIT("issuing") };
	struct signer_welcome back;

	(void)state;
	fresh();
	expect_ok(signer_welcome_write(&welcome, &body));
	expect_ok(signer_welcome_read(writ_view(&body), &back));
	assert_int_equal(back.tier, LEAF_TIER_SEALED);
	assert_true(back.sealed);
	assert_int_equal(back.next_index, 9);
	assert_int_equal(back.settled, 7);
	expect_bytes(back.anchor, welcome.anchor);
	expect_bytes(back.issuing, welcome.issuing);
}

/* As many certificates as go into a frame, whatever their length; the next page begins above the last of them. */
static void
certificates_come_in_pages_that_fit_a_frame(void **state)
{
	static uint8_t certificate[4096];
	static const size_t lens[] = { 1, 500, 512, 700, 4096 };

	(void)state;
	for (size_t i = 0; i < N_OF(lens); i++) {
		const struct writ_bytes der = { certificate, lens[i] };
		static struct signer_certs_are are, back;

		are = (struct signer_certs_are){ .changes = 5, .issuing = 90, .lowest = 3, .more = true };
		while (signer_certs_are_fit(&are, der)) {
			are.certs[are.n].number = 10 + are.n;
			are.certs[are.n++].der = der;
		}
		assert_true(are.n >= 3 && are.n <= SIGNER_CERTS_MAX);
		fresh();
		expect_ok(signer_certs_are_write(&are, &body));
		expect_ok(signer_certs_are_read(writ_view(&body), &back));
		assert_int_equal(back.n, are.n);
		assert_true(back.more && back.changes == 5 && back.issuing == 90 && back.lowest == 3);
		assert_int_equal(back.certs[are.n - 1].number, 10 + are.n - 1);
		expect_bytes(back.certs[are.n - 1].der, der);
	}
	fresh();
	expect_ok(signer_certs_write(&(struct signer_certs){ .above = 77 }, &body));
	{
		struct signer_certs asked;

		expect_ok(signer_certs_read(writ_view(&body), &asked));
		assert_int_equal(asked.above, 77);
	}
}

static void
certificates_refused(struct signer_certs_are are)
{
	static struct signer_certs_are back;

	fresh();
	expect_ok(signer_certs_are_write(&are, &body));
	expect_refused(signer_certs_are_read(writ_view(&body), &back), WRIT_INVALID,
		       "a certificates message has a value out of bounds");
}

/* Else whoever reads pages might read them for ever. */
static void
pages_that_lead_nowhere_are_refused(void **state)
{
	struct signer_certs_are ok = { .issuing = 9, .lowest = 1, .n = 2, .more = true }, bad;
	static struct signer_certs_are back;

	(void)state;
	ok.certs[0].number = 8;
	ok.certs[1].number = 9;
	ok.certs[0].der = ok.certs[1].der = WRIT_LIT("der");
	fresh();
	expect_ok(signer_certs_are_write(&ok, &body));
	expect_ok(signer_certs_are_read(writ_view(&body), &back));
	bad = ok;
	bad.certs[1].number = 8;
	certificates_refused(bad);
	bad = ok;
	bad.certs[0].number = 0;
	certificates_refused(bad);
	bad = ok;
	bad.certs[1].der = WRIT_LIT("");
	certificates_refused(bad);
	bad = ok;
	bad.n = 0; /* none, and more */
	certificates_refused(bad);
	bad = ok;
	bad.lowest = 0;
	certificates_refused(bad);
	bad = ok;
	bad.lowest = 10; /* what issues is gone */
	certificates_refused(bad);
}

static void
a_full_revocation_comes_back(void **state)
{
	static struct signer_revoke revoke, back;

	(void)state;
	revoke.at = 1795467097;
	revoke.n = revoke.n_edges = SIGNER_REVOKE_MAX;
	for (size_t i = 0; i < SIGNER_REVOKE_MAX; i++) {
		revoke.items[i].serial[15] = revoke.edges[i][0] = (uint8_t)i;
		revoke.items[i].reason = 9;
	}
	fresh();
	expect_ok(signer_revoke_write(&revoke, &body));
	expect_ok(signer_revoke_read(writ_view(&body), &back));
	assert_memory_equal(&revoke, &back, sizeof(revoke));
}

static void
health_comes_back_with_its_reason(void **state)
{
	struct signer_health health = { .can_issue = true,
					.entries = 1,
					.issued = 2,
					.revoked_live = 3,
					.owed = 4,
					.unknown_asked = 7,
					.device_queue = 5,
					.clock_accepted = 2,
					.device_refused = { 1, 2, 3, 4, 8 },
					.device = SIGNER_DEVICE_LOCKED,
					.device_since = 8,
					.device_latency_us = 9,
					.device_failed = 10,
					.keys_quarantined = 11,
					.device_why = "CKR_PIN_INCORRECT",
					.device_last_error = "CKR_DEVICE_ERROR",
					.issuing_until = 6,
					.changes = 8,
					.why = "the device is away" };
	struct signer_health back;

	(void)state;
	signer_times_note(&health.device_waited, 200);
	signer_times_note(&health.device_waited, 201);
	signer_times_note(&health.device_signed, 5001);
	fresh();
	expect_ok(signer_health_write(&health, &body));
	expect_ok(signer_health_read(writ_view(&body), &back));
	assert_string_equal(back.why, health.why);
	assert_int_equal(back.owed, 4);
	assert_int_equal(back.unknown_asked, 7);
	assert_int_equal(back.device_queue, 5);
	assert_int_equal(back.clock_accepted, 2);
	assert_int_equal(back.device_refused[REFUSED_GONE], 8);
	assert_int_equal(back.device_waited.n[5], 1); /* bounds are inclusive */
	assert_int_equal(back.device_waited.n[6], 1);
	assert_int_equal(back.device_waited.sum_ms, 401);
	assert_int_equal(back.device_signed.n[SIGNER_BOUNDS], 1);
	assert_int_equal(back.issuing_until, 6);
	assert_int_equal(back.changes, 8);
	assert_false(back.device_up);
	assert_int_equal(back.device, SIGNER_DEVICE_LOCKED);
	assert_int_equal(back.device_since, 8);
	assert_int_equal(back.device_latency_us, 9);
	assert_int_equal(back.device_failed, 10);
	assert_int_equal(back.keys_quarantined, 11);
	assert_string_equal(back.device_why, "CKR_PIN_INCORRECT");
	assert_string_equal(back.device_last_error, "CKR_DEVICE_ERROR");
	body.data[2] = SIGNER_DEVICE_LOCKED + 1; /* behind the two flags */
	expect_refused(signer_health_read(writ_view(&body), &back), WRIT_INVALID,
		       "a health message has a value out of bounds");
}

static void
an_error_keeps_its_code_and_its_causes(void **state)
{
	struct writ_err *err = writ_because(writ_fail(WRIT_LOCKED, "inner"), "outer");

	(void)state;
	fresh();
	expect_ok(signer_error_write(err, &body));
	writ_err_free(err);
	expect_refused(signer_error_read(writ_view(&body)), WRIT_LOCKED, "outer: inner");
	expect_refused(signer_error_read(WRIT_LIT("\x09\x00\x00\x00\x00\x00\x00\x00\x00")), WRIT_BROKEN,
		       "the signer's error answer is malformed");
	expect_refused(signer_error_read(WRIT_LIT("")), WRIT_BROKEN, "the signer's error answer is malformed");
}

static void
an_error_says_when_to_come_back_and_no_later_than_an_hour(void **state)
{
	struct writ_err *err = writ_because(writ_retry_after(writ_fail(WRIT_UNAVAILABLE, "inner"), 7), "outer");

	(void)state;
	fresh();
	expect_ok(signer_error_write(err, &body));
	writ_err_free(err);
	err = signer_error_read(writ_view(&body));
	assert_int_equal(err->retry_after_s, 7);
	err->retry_after_s = 100000;
	fresh();
	expect_ok(signer_error_write(err, &body));
	writ_err_free(err);
	err = signer_error_read(writ_view(&body));
	assert_int_equal(err->retry_after_s, SIGNER_RETRY_MAX_S);
	writ_err_free(err);
	expect_refused(signer_error_read(WRIT_LIT("\x04\x00\x00\x0e\x11\x00\x00\x00\x00")), WRIT_BROKEN,
		       "the signer's error answer is malformed");
}

static void
bodies_too_short_or_too_long_are_refused(void **state)
{
	struct signer_hello hello;

	(void)state;
	fresh();
	expect_ok(signer_hello_write(&(struct signer_hello){ { 0 } }, &body));
	body.len--;
	expect_refused(signer_hello_read(writ_view(&body), &hello), WRIT_INVALID, "a HELLO message is cut short");
	body.len++;
	expect_ok(writ_buf_add(&body, WRIT_LIT("x")));
	expect_refused(signer_hello_read(writ_view(&body), &hello), WRIT_INVALID, "a HELLO message is too long");
}

static void
values_out_of_bounds_are_refused(void **state)
{
	static uint8_t big[SIGNER_SAID_MAX + 1];
	static struct signer_revoke revoke;
	static struct signer_abort aborted;
	struct signer_leaf leaf;
	struct signer_status status;
	bool logged;

	(void)state;
	expect_refused(signer_revoked_read(WRIT_LIT("\x02"), &logged), WRIT_INVALID,
		       "a revoked message has a value out of bounds");
	expect_refused(signer_revoke_read(WRIT_LIT("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x00\x00"), &revoke),
		       WRIT_INVALID, "a REVOKE message has a value out of bounds");
	assert_int_equal(revoke.n, 0);
	expect_refused(signer_revoke_read(WRIT_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), &revoke),
		       WRIT_INVALID, "a REVOKE message has a value out of bounds");
	expect_refused(signer_abort_read(WRIT_LIT("\xff\xff"), &aborted), WRIT_INVALID,
		       "a ABORT message has a value out of bounds");
	fresh();
	expect_ok(signer_leaf_write(&(struct signer_leaf){ WRIT_LIT("tbs"), { big, sizeof(big) } }, &body));
	expect_refused(signer_leaf_read(writ_view(&body), &leaf), WRIT_INVALID,
		       "a LEAF message has a value out of bounds");
	fresh();
	expect_ok(signer_status_write(&(struct signer_status){ 2, 0, 0, WRIT_LIT("r") }, &body));
	expect_refused(signer_status_read(writ_view(&body), &status), WRIT_INVALID,
		       "a status message has a value out of bounds");
}

static void
what_does_not_fit_a_frame_is_refused(void **state)
{
	static uint8_t big[FRAME_BODY_MAX];

	(void)state;
	fresh();
	expect_refused(signer_leaf_write(&(struct signer_leaf){ { big, sizeof(big) }, WRIT_LIT("{}") }, &body),
		       WRIT_EXHAUSTED, "a LEAF message is over the 16384 bytes of a frame");
	writ_buf_done(&body);
}

static void
urls_name_the_key(void **state)
{
	static const uint8_t key_id[20] = { 0xab, 1 };
	char url[SIGNER_URL_MAX];

	(void)state;
	assert_string_equal(signer_crl_url("http://s:80", key_id, 0, url),
			    "http://s:80/crl/ab01000000000000000000000000000000000000.crl");
	assert_string_equal(signer_ca_url("http://s:80", key_id, url),
			    "http://s:80/ca/ab01000000000000000000000000000000000000.cer");
	assert_string_equal(signer_ocsp_url("http://s:80", url), "http://s:80/ocsp");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_and_its_signature_come_back),
		cmocka_unit_test(a_welcome_comes_back),
		cmocka_unit_test(certificates_come_in_pages_that_fit_a_frame),
		cmocka_unit_test(pages_that_lead_nowhere_are_refused),
		cmocka_unit_test(a_full_revocation_comes_back),
		cmocka_unit_test(health_comes_back_with_its_reason),
		cmocka_unit_test(an_error_keeps_its_code_and_its_causes),
		cmocka_unit_test(an_error_says_when_to_come_back_and_no_later_than_an_hour),
		cmocka_unit_test(bodies_too_short_or_too_long_are_refused),
		cmocka_unit_test(values_out_of_bounds_are_refused),
		cmocka_unit_test(urls_name_the_key),
		cmocka_unit_test(what_does_not_fit_a_frame_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
