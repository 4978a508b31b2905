/* libwrit as a relying party uses it: every code it refuses with, and what each setting changes (delegation.md 6.1).
 * Status is told in test_x509_status.c. */
#include <jansson.h>

#include "base/text.h"
#include "tests/unit/writ_make.h"

/* ---- accepted ---- */

static void
a_believed_leaf_says_who_it_is_for_whom_and_until_when(void **state)
{
	struct writ_presented p = presented(leaf_der, pki.issuing);
	struct writ_verifier *v = make_verifier();
	struct writ_agent *agent = NULL;
	uint8_t digest[32];
	json_t *json;

	(void)state;
	assert_int_equal(writ_verify(v, &p, NOW, &agent, NULL), WRIT_OK);
	writ_verifier_free(v); /* the agent needs it no more */
	assert_string_equal(writ_agent_id(agent), AGENT);
	assert_string_equal(writ_agent_root(agent), HUMAN);
	assert_string_equal(writ_agent_task(agent), "0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00");
	writ_sha256(leaf_der, digest);
	assert_memory_equal(writ_agent_sha256(agent), digest, 32);
	assert_int_equal(writ_agent_expires_at(agent), NOW + 899);
	json = json_loads(writ_agent_json(agent), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "sub")), HUMAN);
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "act"), "sub")), AGENT);
	json_decref(json);
	writ_agent_free(agent);
	assert_string_equal(writ_version(), "0.1.0");
}

static void
der_and_pem_are_taken_together_or_apart_and_the_anchor_may_be_among_them(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct writ_bytes leaf_pem = pem_of("CERTIFICATE", leaf_der, WRIT_LIT("a comment\n"));
	const struct writ_bytes issuing_pem = pem_of("CERTIFICATE", pki.issuing, none);
	const struct writ_bytes both = make_joined(pem_of("CERTIFICATE", pki.issuing, leaf_pem), WRIT_LIT("\n\n"));
	const struct writ_bytes all = pem_of("CERTIFICATE", pki.anchor, both);
	struct writ_verifier *v = writ_verifier_new();
	struct writ_presented four = { .n = 4,
				       .certificate = { { leaf_der.data, leaf_der.len },
							{ pki.anchor.data, pki.anchor.len },
							{ pki.responder.data, pki.responder.len },
							{ pki.issuing.data, pki.issuing.len } } };
	struct writ_agent *agent;
	const struct writ_bytes anchor_pem = pem_of("CERTIFICATE", pki.anchor, none);

	(void)state;
	assert_int_equal(writ_verifier_anchor(v, anchor_pem.data, anchor_pem.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	assert_int_equal(writ_verify(v, &four, NOW, &agent, NULL), WRIT_OK); /* whatever their order */
	writ_agent_free(agent);
	assert_string_equal(verified_at(v, leaf_pem, issuing_pem, none, NOW, NULL), "OK");
	assert_string_equal(verified_at(v, both, none, none, NOW, NULL), "OK");
	assert_string_equal(verified_at(v, all, none, none, NOW, NULL), "OK");
	assert_string_equal(verified_at(v, pem_of("CERTIFICATE", pki.responder, pem_of("CERTIFICATE", leaf_der, all)),
					none, none, NOW, NULL),
			    "ENCODING 6.1.1 | more than 4 certificates");
	assert_string_equal(verified_at(v, WRIT_LIT("hello"), none, none, NOW, NULL),
			    "ENCODING 6.1.1 | leaf: PEM: no further block 'CERTIFICATE'");
	assert_string_equal(verified_at(v, leaf_der, WRIT_LIT("hello"), none, NOW, NULL),
			    "ENCODING 6.1.1 | issuing CA: PEM: no further block 'CERTIFICATE'");
	writ_verifier_free(v);
}

static void
a_leaf_alone_is_enough_once_its_issuing_ca_is_known(void **state)
{
	const struct writ_bytes none = { 0 };
	struct writ_verifier *v = make_verifier();

	(void)state;
	assert_string_equal(verified_at(v, leaf_der, none, none, NOW, NULL),
			    "PATH 6.1.1 | leaf: its issuing CA was not presented, and none that is kept is it");
	assert_string_equal(verified(v, leaf_der), "OK");
	assert_string_equal(verified_at(v, leaf_der, none, none, NOW, NULL), "OK");
	writ_verifier_free(v);
	v = make_verifier();
	know_issuing(v);
	assert_string_equal(verified_at(v, leaf_der, none, none, NOW, NULL), "OK");
	writ_verifier_free(v);
}

static void
more_issuing_cas_than_are_kept_push_out_the_one_used_least_recently_and_no_list(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct list_facts revoked = { .serial = LEAF_SERIAL_BYTES };
	struct writ_verifier *v = make_verifier();
	struct test_key key = pki.issuing_key;

	(void)state;
	know_issuing(v);
	assert_string_equal(given(v, make_list(&revoked)), "OK");
	for (unsigned i = 0; i < 64; i++) {
		struct ca_facts facts = issuing_facts(&pki);
		struct writ_bytes other;

		facts.serial[15] = (uint8_t)(i + 1);
		facts.spki =
			i == 0 ? (key = make_key(KEY_P256)).spki : key.spki; /* one key: 64 would take their time */
		other = make_ca(&facts, &pki.anchor_key);
		assert_int_equal(writ_verifier_issuing(v, other.data, other.len, NOW, &why), WRIT_OK);
	}
	assert_string_equal(verified_at(v, leaf_der, none, none, NOW, NULL),
			    "PATH 6.1.1 | leaf: its issuing CA was not presented, and none that is kept is it");
	assert_string_equal(verified(v, leaf_der),
			    "REVOKED 6.1.5 | leaf: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	writ_verifier_free(v);
}

static void
two_anchors_of_one_domain_are_trusted_while_one_is_rolled_over(void **state)
{
	const struct writ_bytes none = { 0 };
	struct writ_verifier *v = make_verifier();
	struct pki next = make_pki_with(KEY_P384, KEY_ED25519);
	struct pki renewed = pki;
	struct ca_facts facts = anchor_facts(&pki);

	(void)state;
	assert_string_equal(verified_at(v, make_leaf(&next), next.issuing, none, NOW, NULL),
			    "PATH 6.1.1 | issuing CA: its issuer is not the anchor by name");
	assert_int_equal(writ_verifier_anchor(v, next.anchor.data, next.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_string_equal(verified_at(v, make_leaf(&next), next.issuing, none, NOW, NULL), "OK");
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_verifier_free(v);

	/* One that was renewed with its key: the old one has expired. */
	facts.not_after = NOW - 1;
	renewed.anchor = make_ca(&facts, &pki.anchor_key);
	v = writ_verifier_new();
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_anchor(v, renewed.anchor.data, renewed.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "TIME 6.1.1 | anchor: expired 1 s ago");
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_verifier_free(v);
}

static void
a_bundle_is_trusted_whole_or_not_at_all(void **state)
{
	const struct writ_bytes none = { 0 };
	struct writ_verifier *v = make_verifier();
	struct pki first = make_pki(), second = make_pki_with(KEY_P384, KEY_P256);
	struct writ_buf pem = WRIT_BUF(64 * 1024), broken = WRIT_BUF(64 * 1024);

	(void)state;
	expect_ok(writ_buf_add(&pem, WRIT_LIT("# of today\n")));
	expect_ok(pem_write("CERTIFICATE", first.anchor, &pem));
	expect_ok(pem_write("CERTIFICATE", second.anchor, &pem));
	expect_ok(writ_buf_add(&broken, writ_view(&pem)));
	expect_ok(pem_write("CERTIFICATE", first.issuing, &broken));
	expect_ok(pem_write("CERTIFICATE", first.responder, &broken));
	assert_int_equal(writ_verifier_anchor(v, broken.data, broken.len, TRUST_DOMAIN, &why), WRIT_REFUSED_MISUSE);
	assert_string_equal(why.text, "anchor: its pathLenConstraint of 0 allows no issuing CA below it");
	assert_string_equal(verified_at(v, make_leaf(&first), first.issuing, none, NOW, NULL),
			    "PATH 6.1.1 | issuing CA: its issuer is not the anchor by name");
	expect_ok(writ_buf_add(&pem, WRIT_LIT("# the end\n")));
	assert_int_equal(writ_verifier_anchor(v, pem.data, pem.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_string_equal(verified_at(v, make_leaf(&first), first.issuing, none, NOW, NULL), "OK");
	assert_string_equal(verified_at(v, make_leaf(&second), second.issuing, none, NOW, NULL), "OK");
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_buf_done(&pem);
	writ_buf_done(&broken);
	writ_verifier_free(v);
}

/* ---- misuse ---- */

static void
what_the_caller_does_wrong_is_misuse_and_never_a_crash(void **state)
{
	const struct writ_presented p = presented(leaf_der, pki.issuing);
	struct writ_presented many = p;
	struct writ_verifier *v = writ_verifier_new();
	const struct writ_request request = { .action = "a", .resource = ERP };
	struct writ_agent *agent = (struct writ_agent *)(uintptr_t)1;
	char text[] = ERP "/v2";
	uint8_t digest[32] = { 0 };

	(void)state;
	many.n = 5;
	assert_string_equal(verified(v, leaf_der), "MISUSE  | verify: no anchor is configured");
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, "Agents", &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_anchor(v, leaf_der.data, leaf_der.len, TRUST_DOMAIN, &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_anchor(v, pki.responder.data, pki.responder.len, TRUST_DOMAIN, &why),
			 WRIT_REFUSED_MISUSE);
	assert_string_equal(why.text, "anchor: not a CA");
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, &why), WRIT_OK);
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, "other.example", &why),
			 WRIT_REFUSED_MISUSE);
	assert_string_equal(why.text, "anchor: its key is trusted for 'agents.corp.example' already: a key vouches for "
				      "one trust domain");
	assert_string_equal(verified(v, leaf_der),
			    "MISUSE  | verify: no identity of our own is configured, so no audience can name it");
	assert_int_equal(writ_verifier_identity(v, ERP "/**", &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_identity(v, "erp", &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_acr(v, "", &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_acr(v, "two words", &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_set(v, WRIT_HOPS_MAX, 9, &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_set(v, WRIT_SOFT_FAIL, 2, &why), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_set(v, (enum writ_option)99, 1, &why), WRIT_REFUSED_MISUSE);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(writ_verifier_identity(v, text, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, text, &why), WRIT_REFUSED_MISUSE);
	for (unsigned i = 1; i < 8; i++)
		assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL),
			 WRIT_REFUSED_MISUSE);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(writ_verifier_policy(v, digest, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_policy(v, digest, NULL), WRIT_REFUSED_MISUSE);

	assert_int_equal(writ_verify(v, &many, NOW, &agent, NULL), WRIT_REFUSED_MISUSE);
	assert_null(agent);
	assert_int_equal(writ_verify(v, &p, -1, &agent, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verify(v, &p, INT64_MAX, &agent, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verify(NULL, &p, NOW, &agent, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verify(v, NULL, NOW, &agent, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verify(v, &p, NOW, NULL, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_allow(NULL, &request, NOW, NULL, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_crl(v, NULL, 0, NOW, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_crl(NULL, "", 0, NOW, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_issuing(v, NULL, 0, NOW, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_anchor(NULL, "", 0, "x", NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_identity(NULL, ERP, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_policy(v, NULL, NULL), WRIT_REFUSED_MISUSE);
	assert_int_equal(writ_verifier_set(NULL, WRIT_SOFT_FAIL, 1, NULL), WRIT_REFUSED_MISUSE);
	assert_null(writ_agent_id(NULL));
	assert_null(writ_agent_json(NULL));
	assert_true(writ_agent_expires_at(NULL) < 0);
	writ_agent_free(NULL);
	writ_verifier_free(NULL);
	writ_verifier_free(v);
}

static void
every_refusal_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = WRIT_OK; i <= WRIT_REFUSED_EXPIRED; i++) {
		assert_string_not_equal(writ_refusal_name((enum writ_refusal)i), "?");
		for (int j = WRIT_OK; j < i; j++)
			assert_string_not_equal(writ_refusal_name((enum writ_refusal)i),
						writ_refusal_name((enum writ_refusal)j));
	}
	assert_string_equal(writ_refusal_name((enum writ_refusal)20), "?");
	assert_string_equal(writ_refusal_name((enum writ_refusal) - 1), "?");
}

/* ---- steps 1 to 4 ---- */

static void
what_is_no_leaf_of_the_profile_is_refused_by_what_is_wrong_with_it(void **state)
{
	const struct writ_bytes extension = element_at(element_at(leaf_der, "0"), "7.0.6");
	struct writ_verifier *v = make_verifier();
	const struct {
		const char *row, *wanted;
		struct writ_bytes leaf;
	} rows[] = {
		{ "a byte behind its end", "ENCODING E1 | leaf: 1 bytes follow its end",
		  make_joined(leaf_der, WRIT_LIT("\0")) },
		{ "cut short",
		  "ENCODING E1 | leaf: not one whole DER element: cut short, or BER",
		  { leaf_der.data, leaf_der.len - 1 } },
		{ "over its size", "ENCODING E1 | leaf: 20000 bytes, the limit is 10240", make_bytes(0x30, 20000) },
		{ "BER inside",
		  "ENCODING E1 | leaf: extensions: missing, or not the last field (a unique id is not allowed either)",
		  minted("7", REPLACE, WRIT_LIT("\xa3\x80\x30\x00\x00\x00")) },
		{ "no TaskDelegation",
		  "NO_DELEGATION 6.1.4 | leaf: TaskDelegation: missing, or out of order: cRLDistributionPoints stands "
		  "in its place",
		  minted("7.0.6", REPLACE, (struct writ_bytes){ 0 }) },
		{ "N23: its bytes under another OID",
		  "NO_DELEGATION 6.1.4 | leaf: extension 1.2.3 is not of the profile; TaskDelegation should stand "
		  "there",
		  minted("7.0.6.0", REPLACE, WRIT_LIT("\x06\x02\x2a\x03")) },
		{ "a CA's certificate",
		  "NO_DELEGATION 6.1.4 | leaf: validity: 15631 s from notBefore to notAfter, the "
		  "limit is 930",
		  pki.issuing },
		{ "N1: two TaskDelegations", "DELEGATION E3 | leaf: TaskDelegation: stands there twice",
		  minted("7.0.6", AFTER, extension) },
		{ "N20: cA TRUE", "PROFILE 6.1.1 | leaf: basicConstraints: must be CA:FALSE, as an empty SEQUENCE",
		  minted("7.0.2.2", REPLACE, WRIT_LIT("\x04\x05\x30\x03\x01\x01\xff")) },
		{ "N19: two names",
		  "PROFILE 6.1.1 | leaf: subjectAltName: more than one name; a SPIFFE certificate has "
		  "exactly one URI",
		  minted("7.0.0.1.0.0", AFTER, make_element(0x86, WRIT_LIT(AGENT))) },
		{ "N5: version 2",
		  "DELEGATION E2 | leaf: TaskDelegation: E2: version 2: this reader knows version 1 only",
		  minted("7.0.6.1.0.0", REPLACE, WRIT_LIT("\x02\x01\x02")) },
		{ "N3: a byte behind it",
		  "DELEGATION E1 | leaf: TaskDelegation: E1: TaskDelegation: 1 bytes more than the "
		  "format has",
		  minted("7.0.6.1", REPLACE,
			 make_element(DER_OCTET_STRING, make_joined(element_at(extension, "1.0"), WRIT_LIT("\0")))) },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const char *got = verified(v, rows[i].leaf);

		if (strcmp(got, rows[i].wanted) != 0)
			fail_msg("%s:\n  wanted %s\n  got    %s", rows[i].row, rows[i].wanted, got);
	}
	assert_string_equal(
		verified(v, minted("5.1.0.1", REPLACE, make_element(DER_UTF8, WRIT_LIT("task:another")))),
		"PROFILE 6.1.1 | leaf: TaskDelegation: task '0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00', but the "
		"subject's CN says 'another'");
	writ_verifier_free(v);
}

static void
lifetime_path_time_domain_and_custody_have_codes_of_their_own(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct test_key thief = make_key(KEY_P256);
	struct writ_verifier *v = make_verifier();
	struct ca_facts facts = issuing_facts(&pki);
	struct writ_bytes issuing;
	struct leaf_issuer software = make_issuer(&pki);
	const struct leaf_facts leaf_facts = make_facts(&pki, 1);
	struct writ_buf tbs = WRIT_BUF(LEAF_MAX);

	(void)state;
	assert_string_equal(
		verified(v, minted("4.1", REPLACE, make_element(DER_UTC_TIME, WRIT_LIT("261123210637Z")))),
		"PROFILE 6.1.1 | leaf: validity: 931 s from notBefore to notAfter, the limit is 930"); /* N25, sharper
													*/
	assert_string_equal(verified_at(v, leaf_der, pki.issuing, none, NOW + 900, NULL),
			    "TIME 6.1.1 | leaf: expired 1 s ago");
	assert_string_equal(verified(v, make_signed(&thief, element_at(leaf_der, "0"))),
			    "PATH 6.1.1 | leaf: the signature is not this P-256 key's over these bytes");
	issuing = make_ca(&facts, &thief);
	writ_verifier_free(v);

	v = make_verifier();
	assert_string_equal(verified_at(v, leaf_der, issuing, none, NOW, NULL),
			    "PATH 6.1.1 | issuing CA: the signature is not this P-256 key's over these bytes");
	assert_string_equal(verified_at(v, leaf_der, none, none, NOW, NULL), /* and so it is not kept */
			    "PATH 6.1.1 | leaf: its issuing CA was not presented, and none that is kept is it");
	writ_verifier_free(v);

	v = writ_verifier_new();
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, "other.example", NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "TRUST_DOMAIN 6.1.2 | leaf: trust domain 'agents.corp.example', but "
						   "this anchor is trusted for 'other.example' only");
	writ_verifier_free(v);

	v = make_verifier();
	facts.tier = software.tier = LEAF_TIER_SOFTWARE;
	issuing = make_ca(&facts, &pki.anchor_key);
	expect_ok(leaf_build(&software, &leaf_facts, &tbs));
	{
		const struct writ_bytes leaf = make_leaf_of(&pki, make_keep(&tbs));

		assert_string_equal(
			verified_at(v, leaf, issuing, none, NOW, NULL),
			"SOFTWARE 6.1.1 | leaf: its issuing key is kept in software (cp-software), which is "
			"not allowed here");
		assert_int_equal(writ_verifier_set(v, WRIT_ALLOW_SOFTWARE, 1, NULL), WRIT_OK);
		assert_string_equal(verified_at(v, leaf, issuing, none, NOW, NULL), "OK");
	}
	writ_verifier_free(v);
}

/* ---- steps 6 and 7 ---- */

static void
one_of_our_identities_must_be_in_the_audience(void **state)
{
	struct writ_verifier *v = writ_verifier_new();

	(void)state;
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, "https://hr.corp.example", NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der),
			    "AUDIENCE 6.1.6 | leaf: we are 'https://hr.corp.example', and not among its audience");
	assert_int_equal(writ_verifier_identity(v, ERP "/v2", NULL), WRIT_OK);
	assert_string_equal(
		verified(v, leaf_der),
		"AUDIENCE 6.1.6 | leaf: we are 'https://hr.corp.example' and 1 more, and none is among its audience");
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_verifier_free(v);
}

static void
each_demand_refuses_what_does_not_meet_it(void **state)
{
	const uint8_t other[32] = { 1 };
	uint8_t policy[32];
	struct writ_verifier *v = make_verifier();
	struct delegation d = make_delegation(2);
	struct writ_bytes service;

	(void)state;
	assert_int_equal(writ_verifier_policy(v, other, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der),
			    "POLICY 6.1.7 | leaf: made under policy 'finance-agents', whose digest "
			    "is not among the 1 accepted"); /* N27 */
	memset(policy, 0x70, sizeof(policy));
	assert_int_equal(writ_verifier_policy(v, policy, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "OK");

	assert_int_equal(writ_verifier_acr(v, "mfa", NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der),
			    "DEMAND 6.1.7 | hop 1: authenticated at level 'phr', which is not enough");
	d.hops[0].acr = (struct writ_bytes){ 0 };
	assert_string_equal(verified(v, leaf_with(&d)),
			    "DEMAND 6.1.7 | hop 1: no level of authentication (acr) is stated");
	assert_int_equal(writ_verifier_acr(v, "phr", NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "OK");
	writ_verifier_free(v);

	v = make_verifier();
	d = make_delegation(2);
	d.hops[0].kind = PRINCIPAL_SERVICE;
	d.hops[0].method = AUTH_MTLS_CERT;
	d.hops[0].principal = WRIT_LIT(TD "/service/erp/nightly");
	service = leaf_with(&d);
	assert_string_equal(verified(v, service), "OK");
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_HUMAN, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, service), "DEMAND 6.1.7 | hop 1: the root is a service, a human is demanded");
	assert_string_equal(verified(v, leaf_der), "OK");

	assert_int_equal(writ_verifier_set(v, WRIT_HOPS_MAX, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "DEMAND 6.1.7 | leaf: 2 hops, at most 1 are accepted");
	assert_int_equal(writ_verifier_set(v, WRIT_HOPS_MAX, 2, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "OK");

	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_ATTESTED, 1, NULL), WRIT_OK);
	assert_string_equal(verified(v, leaf_der), "DEMAND 6.1.7 | leaf: an attestation is demanded, and it has none");
	d = make_delegation(2);
	d.attestation_type = WRIT_LIT("tpm2-quote");
	d.attestation_digest = make_bytes(0x72, 32);
	d.attestation_at = NOW - 5;
	assert_string_equal(verified(v, leaf_with(&d)), "OK");
	writ_verifier_free(v);
}

/* ---- step 8 ---- */

static const char *
allowed(const struct writ_agent *agent, const struct writ_request *request, writ_time now)
{
	static char text[40];
	unsigned entitlement = 77;
	enum writ_refusal no;

	memset(&why, 0, sizeof(why));
	no = writ_allow(agent, request, now, &entitlement, &why);
	if (no)
		return line(no);
	snprintf(text, sizeof(text), "entitlement %u", entitlement);
	return text;
}

static void
a_request_is_allowed_by_an_entitlement_or_refused_with_the_reason(void **state)
{
	const struct writ_parameter small = { "limit", "100" }, large = { "limit", "101" },
				    twice[] = { { "limit", "1" }, { "limit", "2" } }, nothing = { "limit", NULL };
	const struct writ_presented p = presented(leaf_der, pki.issuing);
	struct writ_request r = { .action = "ledger:write", .resource = ERP "/v2/ledger/2026" };
	struct writ_verifier *v = make_verifier();
	struct writ_agent *agent = NULL;

	(void)state;
	assert_int_equal(writ_verify(v, &p, NOW, &agent, NULL), WRIT_OK);
	assert_string_equal(allowed(agent, &r, NOW), "entitlement 1");
	assert_int_equal(writ_allow(agent, &r, NOW, NULL, NULL), WRIT_OK);
	r.resource = ERP "/v2/ledger/2027";
	assert_string_equal(allowed(agent, &r, NOW),
			    "NOT_ALLOWED entitlement | none of 2 covers ledger:write on " ERP "/v2/ledger/2027");
	r = (struct writ_request){ .action = "invoices:read", .resource = Q3, .parameters = &small, .n_parameters = 1 };
	assert_string_equal(allowed(agent, &r, NOW), "entitlement 0");
	r.parameters = &large;
	assert_string_equal(
		allowed(agent, &r, NOW),
		"CONSTRAINT paramMax | entitlement 1: 'limit' is '101'; it is allowed only with limit <= 100");
	r.parameters = twice;
	r.n_parameters = 2;
	assert_string_equal(allowed(agent, &r, NOW), "CONSTRAINT paramMax | entitlement 1: parameter 'limit' stands "
						     "there twice; it is allowed only with limit <= 100");
	r.parameters = &nothing;
	r.n_parameters = 1;
	assert_string_equal(allowed(agent, &r, NOW), "REQUEST request | parameter 1 has no name or no value");
	r.parameters = NULL;
	assert_string_equal(allowed(agent, &r, NOW), "REQUEST request | 1 parameters are said, and none given");
	r.n_parameters = 65;
	assert_string_equal(allowed(agent, &r, NOW), "REQUEST request | 65 parameters, at most 64");
	r = (struct writ_request){ .action = "invoices:read" };
	assert_string_equal(allowed(agent, &r, NOW), "REQUEST request | no action or no resource");
	r.resource = "https://ERP.corp.example/x";
	assert_string_equal(allowed(agent, &r, NOW),
			    "REQUEST request | resource 'https://ERP.corp.example/x': the host must be lower case");
	r = (struct writ_request){ .action = "ledger:write", .resource = ERP "/v2/ledger/2026" };
	assert_string_equal(allowed(agent, &r, NOW + 899), "entitlement 1");
	assert_string_equal(allowed(agent, &r, NOW + 900),
			    "EXPIRED 6.1.9 | ended 1 s ago: the connection must be dropped or the leaf verified anew");
	assert_string_equal(allowed(agent, &r, NOW - 31), "TIME 6.1.1 | leaf: not valid yet: begins in 1 s");
	assert_string_equal(allowed(agent, &r, INT64_MIN), "MISUSE  | the time given lies before 1970 or after 9999");
	writ_agent_free(agent);
	writ_verifier_free(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_believed_leaf_says_who_it_is_for_whom_and_until_when),
		cmocka_unit_test(der_and_pem_are_taken_together_or_apart_and_the_anchor_may_be_among_them),
		cmocka_unit_test(a_leaf_alone_is_enough_once_its_issuing_ca_is_known),
		cmocka_unit_test(more_issuing_cas_than_are_kept_push_out_the_one_used_least_recently_and_no_list),
		cmocka_unit_test(a_bundle_is_trusted_whole_or_not_at_all),
		cmocka_unit_test(two_anchors_of_one_domain_are_trusted_while_one_is_rolled_over),
		cmocka_unit_test(what_the_caller_does_wrong_is_misuse_and_never_a_crash),
		cmocka_unit_test(every_refusal_has_a_name_of_its_own),
		cmocka_unit_test(what_is_no_leaf_of_the_profile_is_refused_by_what_is_wrong_with_it),
		cmocka_unit_test(lifetime_path_time_domain_and_custody_have_codes_of_their_own),
		cmocka_unit_test(one_of_our_identities_must_be_in_the_audience),
		cmocka_unit_test(each_demand_refuses_what_does_not_meet_it),
		cmocka_unit_test(a_request_is_allowed_by_an_entitlement_or_refused_with_the_reason),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
