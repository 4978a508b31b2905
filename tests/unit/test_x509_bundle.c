/* The trust bundle: which anchors enter it, and its three forms.  Others read them in tests/system/test_ceremony.py. */
#include "base/text.h"
#include "issuer/x509/bundle.h"
#include "tests/unit/x509_make.h"

static struct pki first, second;

static int
set_up(void **state)
{
	(void)state;
	first = make_pki();
	second = make_pki_with(KEY_P384, KEY_P256);
	return 0;
}

static struct bundle
both(void)
{
	struct bundle b;

	bundle_init(&b, WRIT_LIT(TRUST_DOMAIN));
	expect_ok(bundle_add(&b, first.anchor, BUNDLE_ACTIVE, LEAF_TIER_SEALED, NOW));
	expect_ok(bundle_add(&b, second.anchor, BUNDLE_STANDBY, 0, NOW));
	return b;
}

static struct writ_bytes
written(struct writ_err *(*write)(const struct bundle *, struct writ_buf *), const struct bundle *b)
{
	struct writ_buf text = WRIT_BUF(BUNDLE_TEXT_MAX);

	expect_ok(write(b, &text));
	return make_keep(&text);
}

static bool
holds(struct writ_bytes text, const char *part)
{
	return memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static void
the_pem_holds_every_anchor_the_active_one_first(void **state)
{
	struct bundle b = both();
	struct writ_bytes pem = written(bundle_write_pem, &b);
	struct writ_buf der = WRIT_BUF(CA_CERT_MAX);

	(void)state;
	expect_ok(pem_read("CERTIFICATE", &pem, &der));
	expect_bytes(writ_view(&der), first.anchor);
	writ_buf_clear(&der);
	expect_ok(pem_read("CERTIFICATE", &pem, &der));
	expect_bytes(writ_view(&der), second.anchor);
	expect_refused(pem_read("CERTIFICATE", &pem, &der), WRIT_NOT_FOUND, "PEM: no further block 'CERTIFICATE'");
	writ_buf_done(&der);
	bundle_done(&b);
}

static void
our_json_says_which_anchor_certifies_and_which_waits(void **state)
{
	struct bundle b = both();
	struct writ_bytes json = written(bundle_write_json, &b);
	char part[200], hex[41];

	(void)state;
	snprintf(part, sizeof(part),
		 "{\"trust_domain\":\"" TRUST_DOMAIN
		 "\",\"sequence\":%lld,\"refresh_hint_s\":3600,\"anchors\":[{\"state\":\"active\","
		 "\"key_id\":\"%s\",\"key\":\"P-256\",\"tier\":\"sealed\",\"not_before\":",
		 (long long)(NOW - 30), writ_hex(BYTES(first.anchor_key.id), hex));
	assert_true(holds(json, part));
	snprintf(part, sizeof(part), "{\"state\":\"standby\",\"key_id\":\"%s\",\"key\":\"P-384\",\"not_before\":",
		 writ_hex(BYTES(second.anchor_key.id), hex));
	assert_true(holds(json, part));
	bundle_done(&b);
}

static void
the_spiffe_bundle_gives_key_and_certificate_and_use(void **state)
{
	struct bundle b = both();
	struct writ_bytes json = written(bundle_write_spiffe, &b);
	struct writ_buf x5c = WRIT_BUF(8192), x = WRIT_BUF(256);
	struct writ_bytes raw;
	enum key_kind kind;
	char part[9000];

	(void)state;
	expect_ok(spki_parse(second.anchor_key.spki, &kind, &raw));
	expect_ok(writ_base64url((struct writ_bytes){ raw.data + 1, 48 }, &x));
	expect_ok(writ_base64(second.anchor, &x5c));
	snprintf(part, sizeof(part), ",{\"use\":\"x509-svid\",\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"%.*s\",\"y\":\"",
		 (int)x.len, (const char *)x.data);
	assert_true(holds(json, part));
	snprintf(part, sizeof(part), ",\"x5c\":[\"%.*s\"]}],\"spiffe_sequence\":%lld,\"spiffe_refresh_hint\":3600}",
		 (int)x5c.len, (const char *)x5c.data, (long long)(NOW - 30));
	assert_true(holds(json, part));
	writ_buf_done(&x5c);
	writ_buf_done(&x);
	bundle_done(&b);
}

static void
the_sequence_is_the_latest_that_was_heard_of(void **state)
{
	struct bundle b = both();

	(void)state;
	assert_int_equal(b.sequence, NOW - 30);
	bundle_since(&b, NOW - 31);
	assert_int_equal(b.sequence, NOW - 30);
	bundle_since(&b, NOW + 5);
	assert_int_equal(b.sequence, NOW + 5);
	bundle_done(&b);
}

static void
what_is_no_anchor_for_this_domain_does_not_enter(void **state)
{
	struct ca_facts facts = anchor_facts(&first);
	struct bundle b;
	struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	struct writ_bytes wrong;

	(void)state;
	bundle_init(&b, WRIT_LIT(TRUST_DOMAIN));
	expect_refused(bundle_add(&b, first.issuing, BUNDLE_ACTIVE, 0, NOW), WRIT_INVALID,
		       "an anchor is a CA that may have CAs below it (CA:TRUE, path length 1)");
	expect_refused(bundle_add(&b, first.responder, BUNDLE_ACTIVE, 0, NOW), WRIT_INVALID,
		       "an anchor is a CA that may have CAs below it (CA:TRUE, path length 1)");
	expect_refused(bundle_add(&b, first.anchor, BUNDLE_ACTIVE, 0, facts.not_after + 1), WRIT_INVALID,
		       "the anchor expired at 2036-11-20T20:51:37Z");
	facts.trust_domain = WRIT_LIT("other.example");
	wrong = make_ca(&facts, &first.anchor_key);
	expect_refused(bundle_add(&b, wrong, BUNDLE_ACTIVE, 0, NOW), WRIT_INVALID,
		       "the anchor signs itself, and its name is not that of an anchor for " TRUST_DOMAIN);
	facts = anchor_facts(&first);
	wrong = make_ca(&facts, &first.issuing_key);
	expect_refused(bundle_add(&b, wrong, BUNDLE_ACTIVE, 0, NOW), WRIT_INVALID,
		       "the anchor's own signature: the signature is not this P-256 key's over these bytes");
	assert_int_equal(b.n, 0);
	expect_ok(bundle_add(&b, first.anchor, BUNDLE_ACTIVE, 0, NOW));
	expect_refused(bundle_add(&b, first.anchor, BUNDLE_STANDBY, 0, NOW), WRIT_INVALID,
		       "the key of this anchor is in the bundle already");
	assert_int_equal(b.n, 1);
	writ_buf_done(&der);
	bundle_done(&b);
}

static void
a_pem_text_brings_all_its_certificates_or_none_is_said(void **state)
{
	struct bundle two = both(), b;
	struct writ_bytes pem = written(bundle_write_pem, &two);

	(void)state;
	bundle_init(&b, WRIT_LIT(TRUST_DOMAIN));
	expect_refused(bundle_add_pem(&b, WRIT_LIT("nothing\n"), BUNDLE_STANDBY, NOW), WRIT_NOT_FOUND,
		       "certificate 1: PEM: no further block 'CERTIFICATE'");
	expect_ok(bundle_add_pem(&b, pem, BUNDLE_STANDBY, NOW));
	assert_int_equal(b.n, 2);
	assert_int_equal(b.anchors[1].state, BUNDLE_STANDBY);
	expect_refused(bundle_add_pem(&b, pem, BUNDLE_STANDBY, NOW), WRIT_INVALID,
		       "certificate 1: the key of this anchor is in the bundle already");
	bundle_done(&two);
	bundle_done(&b);
}

static void
eight_anchors_are_all_that_relying_parties_take(void **state)
{
	struct bundle b;

	(void)state;
	bundle_init(&b, WRIT_LIT(TRUST_DOMAIN));
	for (size_t i = 0; i < BUNDLE_ANCHORS_MAX; i++)
		expect_ok(bundle_add(&b, make_pki().anchor, BUNDLE_STANDBY, 0, NOW));
	expect_refused(bundle_add(&b, first.anchor, BUNDLE_ACTIVE, 0, NOW), WRIT_EXHAUSTED,
		       "a bundle has at most 8 anchors");
	bundle_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pem_holds_every_anchor_the_active_one_first),
		cmocka_unit_test(our_json_says_which_anchor_certifies_and_which_waits),
		cmocka_unit_test(the_spiffe_bundle_gives_key_and_certificate_and_use),
		cmocka_unit_test(the_sequence_is_the_latest_that_was_heard_of),
		cmocka_unit_test(what_is_no_anchor_for_this_domain_does_not_enter),
		cmocka_unit_test(a_pem_text_brings_all_its_certificates_or_none_is_said),
		cmocka_unit_test(eight_anchors_are_all_that_relying_parties_take),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
