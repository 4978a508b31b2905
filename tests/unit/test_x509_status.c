/* Status, as libwrit holds it against a leaf: CRLs, OCSP responses, what they vouch for and what they revoke
 * (delegation.md 5, 6.1 step 5). */
#include "tests/unit/writ_make.h"

static void
status_is_demanded_unless_the_caller_says_otherwise(void **state)
{
	const struct writ_bytes none = { 0 };
	struct list_facts fresh = { 0 }, other_shard = { .url = WRIT_LIT("http://other.example/x.crl") },
			  shard = { .url = WRIT_LIT(CRL_URL) };
	struct writ_verifier *v = make_verifier();
	writ_time expires_at = 0;

	(void)state;
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "STATUS 6.1.5 | leaf: its status is demanded, and neither a CRL nor "
						   "an OCSP response is given");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, make_ocsp(OCSP_GOOD), NOW, &expires_at), "OK");
	assert_int_equal(expires_at, NOW + 120);
	assert_string_equal(given(v, make_list(&other_shard)), "OK");
	assert_string_equal(verified(v, leaf_der), /* it speaks of other leaves */
			    "STATUS 6.1.5 | issuing CA's CRL: the one that is held is of another distribution point than "
			    "the leaf's");
	assert_string_equal(given(v, make_list(&shard)), "OK");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW, &expires_at), "OK");
	assert_int_equal(expires_at, NOW + 180);
	assert_string_equal(given(v, make_list(&fresh)), "OK");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 180, NULL), "OK");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 181, NULL),
			    "STATUS 6.1.5 | issuing CA's CRL: stale: its nextUpdate was 1 s ago");
	assert_int_equal(writ_verifier_set(v, WRIT_SOFT_FAIL, 1, NULL), WRIT_OK);
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 181, &expires_at), "OK");
	assert_int_equal(expires_at, NOW + 899);
	assert_int_equal(writ_verifier_set(v, WRIT_SOFT_FAIL, 0, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 181, NULL), /* R5: stale is no answer */
			    "STATUS 6.1.5 | issuing CA's CRL: stale: its nextUpdate was 1 s ago");
	writ_verifier_free(v);
}

static void
a_listed_serial_or_hop_is_refused_whatever_else_is_said(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct list_facts stale = { .serial = LEAF_SERIAL_BYTES, .this_update = NOW - 1000 };
	uint8_t edge[EDGE_ID];
	struct list_facts by_edge = { .edge = edge, .number = 2 };
	struct writ_verifier *v = make_verifier();

	(void)state;
	know_issuing(v);
	assert_int_equal(writ_verifier_set(v, WRIT_SOFT_FAIL, 1, NULL), WRIT_OK);
	assert_string_equal(given(v, make_list(&stale)), "OK");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, make_ocsp(OCSP_GOOD), NOW, NULL),
			    "REVOKED 6.1.5 | leaf: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	memset(edge, 0xa1, sizeof(edge));
	assert_string_equal(given(v, make_list(&by_edge)), "OK"); /* takes the place of the other */
	assert_string_equal(verified(v, leaf_der), "REVOKED 6.1.5 | hop 2: its delegation was revoked");
	memset(edge, 0xa2, sizeof(edge));
	by_edge.number = 3;
	assert_string_equal(given(v, make_list(&by_edge)), "OK");
	assert_string_equal(verified(v, leaf_der), "OK"); /* somebody else's */
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, make_ocsp(OCSP_REVOKED), NOW, NULL),
			    "REVOKED 6.1.5 | leaf: revoked at 2026-11-23T20:51:27Z (privilegeWithdrawn)");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, WRIT_LIT("hello"), NOW, NULL),
			    "ENCODING 6.1.5 | leaf: OCSP response: not one SEQUENCE with a status, in DER");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, ocsp_error_response(OCSP_TRY_LATER), NOW, NULL),
			    "STATUS 6.1.5 | leaf: OCSP response: the responder answers only with error 3");
	assert_string_equal(verified_at(v, leaf_der, none, make_ocsp(OCSP_GOOD), NOW + 121, NULL),
			    "STATUS 6.1.5 | leaf: OCSP response: stale: its nextUpdate was 1 s ago");
	writ_verifier_free(v);
}

static void
a_hop_revoked_by_another_issuing_ca_of_the_domain_is_refused_too(void **state)
{
	struct pki node = pki;
	struct ca_facts facts;
	struct delegation d = make_delegation(2);
	uint8_t edge[EDGE_ID];
	struct list_facts by_edge = { .edge = edge }, by_serial = { .serial = d.hops[1].cert_serial };
	struct writ_verifier *v = make_verifier();

	(void)state;
	node.issuing_key = make_key(KEY_P256);
	node.issuing_name = make_ca_name(CA_ISSUING, &node.issuing_key);
	facts = issuing_facts(&node);
	node.issuing = make_ca(&facts, &pki.anchor_key);
	by_edge.key = by_serial.key = &node.issuing_key;
	by_edge.name = by_serial.name = node.issuing_name;
	memset(edge, 0xa0, sizeof(edge));
	assert_string_equal(given(v, make_list(&by_edge)),
			    "STATUS 6.1.5 | CRL: of no anchor and no known issuing CA by name");
	assert_int_equal(writ_verifier_issuing(v, node.issuing.data, node.issuing.len, NOW, NULL), WRIT_OK);
	assert_string_equal(given(v, make_list(&by_edge)), "OK");
	assert_string_equal(verified(v, leaf_der), "REVOKED 6.1.5 | hop 1: its delegation was revoked");
	writ_verifier_free(v);

	v = make_verifier();
	assert_int_equal(writ_verifier_issuing(v, node.issuing.data, node.issuing.len, NOW, NULL), WRIT_OK);
	assert_string_equal(given(v, make_list(&by_serial)), "OK");
	assert_string_equal(verified(v, leaf_der), "OK"); /* that serial of another CA */
	d.hops[1].cert_issuer_key_id = (struct writ_bytes){ node.issuing_key.id, 20 };
	assert_string_equal(verified(v, leaf_with(&d)),
			    "REVOKED 6.1.5 | hop 2: the certificate it was made with was revoked");
	writ_verifier_free(v);
}

static void
the_issuing_ca_is_held_against_the_anchors_list(void **state)
{
	const struct writ_bytes none = { 0 };
	struct list_facts anchors = { .key = &pki.anchor_key, .name = pki.anchor_name };
	struct list_facts revoked = anchors;
	struct writ_verifier *v = make_verifier();
	writ_time expires_at = 0;

	(void)state;
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_CA_STATUS, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der),
			    "STATUS 6.1.5 | issuing CA: its status is demanded, and no CRL of the anchor is held");
	assert_string_equal(given(v, pem_of("X509 CRL", make_list(&anchors), none)), "OK");
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW, &expires_at), "OK");
	assert_int_equal(expires_at, NOW + 180);
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 181, NULL),
			    "STATUS 6.1.5 | anchor's CRL: stale: its nextUpdate was 1 s ago");
	revoked.serial = make_joined(WRIT_LIT("\x01\xc8\x01"), make_bytes(0, 13));
	revoked.number = 2;
	assert_string_equal(given(v, make_list(&revoked)), "OK");
	assert_string_equal(verified(v, leaf_der), /* kept ready or not */
			    "REVOKED 6.1.5 | issuing CA: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	writ_verifier_free(v);
}

static void
a_list_is_taken_only_when_it_is_newer_and_its_cas_own(void **state)
{
	const struct test_key thief = make_key(KEY_P256);
	struct list_facts first = { .number = 5, .serial = LEAF_SERIAL_BYTES }, older = { .number = 4 },
			  back = { .number = 6, .this_update = NOW - 60 }, next = { .number = 6 },
			  future = { .number = 7, .this_update = NOW + 1 };
	struct writ_verifier *v = make_verifier();

	(void)state;
	know_issuing(v);
	assert_string_equal(given(v, make_list(&first)), "OK");
	assert_string_equal(given(v, make_list(&first)), "OK"); /* again */
	assert_string_equal(given(v, make_list(&older)), "STATUS 6.1.5 | CRL: its number 4 is below 5, which is held");
	assert_string_equal(given(v, make_list(&back)), "STATUS 6.1.5 | CRL: made 30 s before the one that is held");
	assert_string_equal(given(v, make_list(&future)), "STATUS 6.1.5 | CRL: its thisUpdate lies in the future");
	assert_string_equal(given(v, make_signed(&thief, element_at(make_list(&next), "0"))),
			    "STATUS 6.1.5 | CRL: the signature is not this P-256 key's over these bytes");
	assert_string_equal(given(v, pki.issuing), "STATUS 6.1.5 | CRL: version: must be v2");
	assert_string_equal(given(v, WRIT_LIT("0")),
			    "ENCODING 6.1.5 | CRL: not one whole DER element: cut short, or BER");
	assert_string_equal(given(v, WRIT_LIT("hello")), "ENCODING 6.1.5 | CRL: PEM: no further block 'X509 CRL'");
	assert_string_equal(verified(v, leaf_der),
			    "REVOKED 6.1.5 | leaf: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	assert_string_equal(given(v, make_list(&next)), "OK");
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_verifier_free(v);
}

static void
lists_are_forgotten_when_their_ca_has_expired_and_256_are_held_until_then(void **state)
{
	struct writ_verifier *v = make_verifier();
	struct ca_facts facts = issuing_facts(&pki);
	char url[256][40];
	struct list_facts list = { 0 };
	struct writ_bytes crl;

	(void)state;
	know_issuing(v);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(url[i], sizeof(url[i]), "http://status.corp.example/%u.crl", i);
		list.url = writ_str(url[i]);
		assert_string_equal(given(v, make_list(&list)), "OK");
	}
	list.url = WRIT_LIT(CRL_URL);
	assert_string_equal(given(v, make_list(&list)), "MEMORY  | CRL: 256 are held already");

	facts.serial[15] = 9;
	facts.spki = pki.ocsp_key.spki;
	facts.not_after += 86400;
	crl = make_ca(&facts, &pki.anchor_key);
	assert_int_equal(writ_verifier_issuing(v, crl.data, crl.len, NOW, NULL), WRIT_OK);
	list = (struct list_facts){ .key = &pki.ocsp_key,
				    .name = make_ca_name(CA_ISSUING, &pki.ocsp_key),
				    .this_update = NOW + 4 * 3600 + 1200 };
	crl = make_list(&list);
	assert_int_equal(writ_verifier_crl(v, crl.data, crl.len, NOW + 4 * 3600 + 1201, &why), WRIT_OK);
	writ_verifier_free(v);
}

/* A verifier that runs for days meets many shards. */
static void
of_256_lists_a_shard_gives_way_that_ended_before_any_leaf_it_lists_was_issued(void **state)
{
	struct writ_verifier *v = make_verifier();
	struct list_facts list = { 0 };
	struct writ_bytes crl;
	char url[256][40];

	(void)state;
	know_issuing(v);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(url[i], sizeof(url[i]), "http://status.corp.example/%u.crl", i);
		list.url = writ_str(url[i]);
		assert_string_equal(given(v, make_list(&list)), "OK");
	}
	list.url = WRIT_LIT(CRL_URL);
	list.this_update = NOW + 1000;
	crl = make_list(&list);
	assert_int_equal(writ_verifier_crl(v, crl.data, crl.len, NOW + 180 + 930, &why), WRIT_REFUSED_MEMORY);
	assert_int_equal(writ_verifier_crl(v, crl.data, crl.len, NOW + 180 + 931, &why), WRIT_OK);
	writ_verifier_free(v);
}

/* Serials that differ early, that differ late, and that begin one another: of 4 to 16 octets. */
static struct writ_bytes
numbered_serial(unsigned i, uint8_t out[16])
{
	memset(out, 1, 16);
	writ_put32(out + (i / 2 % 2 ? 4 : 12), i);
	return (struct writ_bytes){ out, i % 5 ? 16 : 4 + i / 100 % 4 };
}

static void
a_long_list_finds_every_serial_that_is_on_it_and_no_other(void **state)
{
	enum { N = 1000 };
	struct writ_buf entries = WRIT_BUF(N * CRL_ENTRY_MAX), tbs = WRIT_BUF(N * CRL_ENTRY_MAX + 1024);
	struct crl_facts facts = { .issuer_name = pki.issuing_name,
				   .issuer_key_id = { pki.issuing_key.id, 20 },
				   .kind = KEY_P256,
				   .number = 1,
				   .this_update = NOW,
				   .next_update = NOW + 180 };
	struct crl_index index;
	enum crl_reason reason;
	uint8_t serial[16];
	unsigned listed = 0;
	writ_time at;

	(void)state;
	for (unsigned i = 0; i < N; i++) /* 7919 is prime: every even number once, in no order */
		expect_ok(crl_entry_write(numbered_serial(i * 7919U % N * 2, serial), NOW - i, REASON_SUPERSEDED,
					  &entries));
	facts.entries = writ_view(&entries);
	expect_ok(crl_build_tbs(&facts, &tbs));
	expect_ok(crl_index_init(make_signed(&pki.issuing_key, make_keep(&tbs)), &index));
	for (unsigned i = 0; i < 2 * N; i++) {
		const struct writ_bytes asked = numbered_serial(i, serial);
		const bool is = crl_find(&index.crl, asked, &at, &reason);

		listed += is;
		assert_true(is || i % 2 == 1);
		assert_int_equal(crl_index_find(&index, asked, &at, &reason), is);
	}
	assert_in_range(listed, N, N + N / 2); /* some of the short ones are the same */
	crl_index_done(&index);
	writ_buf_done(&entries);
}

static void
a_leaf_without_status_is_taken_as_long_as_that_is_allowed(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 1);
	struct writ_verifier *v = make_verifier();
	struct writ_bytes leaf;

	(void)state;
	facts.no_rev_avail = true;
	facts.not_after = NOW + 119;
	leaf = make_leaf_of(&pki, make_tbs(&pki, &facts));
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf), "OK");
	assert_int_equal(writ_verifier_set(v, WRIT_ALLOW_NO_REV, 0, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf), "STATUS 6.1.5 | leaf: it has noRevAvail, which is not allowed here");
	writ_verifier_free(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_demanded_unless_the_caller_says_otherwise),
		cmocka_unit_test(a_listed_serial_or_hop_is_refused_whatever_else_is_said),
		cmocka_unit_test(a_hop_revoked_by_another_issuing_ca_of_the_domain_is_refused_too),
		cmocka_unit_test(the_issuing_ca_is_held_against_the_anchors_list),
		cmocka_unit_test(a_list_is_taken_only_when_it_is_newer_and_its_cas_own),
		cmocka_unit_test(lists_are_forgotten_when_their_ca_has_expired_and_256_are_held_until_then),
		cmocka_unit_test(of_256_lists_a_shard_gives_way_that_ended_before_any_leaf_it_lists_was_issued),
		cmocka_unit_test(a_long_list_finds_every_serial_that_is_on_it_and_no_other),
		cmocka_unit_test(a_leaf_without_status_is_taken_as_long_as_that_is_allowed),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
