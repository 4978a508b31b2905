/* The gate: a leaf of ours passes; each rule that only the signer can check refuses with value and limit. */
#include "issuer/signer/gate.h"
#include "tests/unit/x509_make.h"

#define NEW_CRL_URL "http://status.corp.example/crl/new.crl"

static struct pki pki;
static unsigned shard; /* of the leaf that passed last */
static struct gate_issuer issuers[2]; /* the test PKI's, and room for one that replaced it */

static struct gate_facts
our_facts(void)
{
	struct gate_facts facts = {
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.n_issuers = 1,
		.issuers = issuers,
		.tier = LEAF_TIER_SEALED,
		.ocsp_url = WRIT_LIT(OCSP_URL),
		.log_id = make_bytes(0x77, 8),
		.n_keys = 2,
	};

	issuers[0] = (struct gate_issuer){
		.name = pki.issuing_name,
		.key_id = { pki.issuing_key.id, 20 },
		.crl_url = WRIT_LIT(CRL_URL),
		.not_after = NOW + 4 * 3600,
		.signs_until = NOW + 4 * 3600 - 1200,
	};
	writ_sha256(pki.anchor_key.spki, facts.keys[0]);
	writ_sha256(pki.issuing_key.spki, facts.keys[1]);
	gate_keys_sort(&facts);
	return facts;
}

static struct writ_err *
gate_at(struct writ_bytes tbs, const struct gate_facts *facts, writ_time now)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	struct leaf leaf;

	return gate_check(tbs, facts, now, &arena, &leaf, &shard);
}

static struct writ_err *
gate(struct writ_bytes tbs)
{
	const struct gate_facts facts = our_facts();

	return gate_at(tbs, &facts, NOW);
}

static struct writ_bytes
tbs_with(struct leaf_facts facts)
{
	return make_tbs(&pki, &facts);
}

static struct writ_bytes
ours(void)
{
	return tbs_with(make_facts(&pki, 2));
}

static void
a_leaf_of_ours_passes(void **state)
{
	(void)state;
	for (unsigned hops = 1; hops <= HOPS_MAX; hops++)
		expect_ok(gate(tbs_with(make_facts(&pki, hops))));
}

static void
both_ends_of_every_limit_of_time_pass_and_one_second_more_does_not(void **state)
{
	static const struct {
		writ_time not_before, not_after;
		const char *message;
	} rows[] = {
		{ -60, 100, NULL },
		{ -61, 100, "gate: notBefore is 61 s before now: at most 60 are allowed (backdated)" },
		{ 5, 100, NULL },
		{ 6, 100, "gate: notBefore is 6 s ahead of now: at most 5 are allowed" },
		{ -29, 900, NULL },
		{ -20, 901, "gate: notAfter is 901 s ahead of now: at most 900 are allowed (I5)" },
		{ -30, 0, NULL },
		{ -30, -1, "gate: notAfter is 1 s before now: it has expired already" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct leaf_facts facts = make_facts(&pki, 2);

		facts.not_before = NOW + rows[i].not_before;
		facts.not_after = NOW + rows[i].not_after;
		if (rows[i].message)
			expect_refused(gate(tbs_with(facts)), WRIT_INVALID, rows[i].message);
		else
			expect_ok(gate(tbs_with(facts)));
	}
}

static void
a_leaf_never_outlives_its_issuing_ca(void **state)
{
	const struct gate_facts facts = our_facts();

	(void)state;
	issuers[0].not_after = NOW + 899;
	expect_ok(gate_at(ours(), &facts, NOW));
	issuers[0].not_after = NOW + 898;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: it would outlive its issuing CA by 1 s (I5)");
}

static void
what_another_signer_would_take_is_refused_here(void **state)
{
	struct gate_facts facts;

	(void)state;
	facts = our_facts();
	issuers[0].name = pki.anchor_name;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID,
		       "gate: the issuer name is not that of the CA whose key id it has");
	facts = our_facts();
	issuers[0].key_id = make_bytes(1, 20);
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID,
		       "gate: the authority key id is not that of a CA that signs now");
	facts = our_facts();
	facts.tier = LEAF_TIER_RESIDENT;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID,
		       "gate: it asserts tier sealed, and the issuing key's is resident");
	facts = our_facts();
	facts.trust_domain = WRIT_LIT("other.example");
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID,
		       "gate: trust domain " TRUST_DOMAIN " is not ours, other.example");
	facts = our_facts();
	issuers[0].crl_url = WRIT_LIT("http://status.corp.example/crl/other.crl");
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: CRL address " CRL_URL " is not ours");
	facts = our_facts();
	facts.ocsp_url = WRIT_LIT("http://status.corp.example/ocsp2");
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: OCSP address " OCSP_URL " is not ours");
	facts = our_facts();
	facts.log_id = make_bytes(1, 8);
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: the log reference names another log");
}

/* Rotation: leaves that were built with the generation before are signed by it, for a while. */
static void
a_generation_that_was_replaced_signs_until_its_overlap_ends(void **state)
{
	struct gate_facts facts = our_facts();

	(void)state;
	issuers[1] = issuers[0];
	issuers[0] = (struct gate_issuer){ .name = pki.anchor_name,
					   .key_id = make_bytes(7, 20),
					   .crl_url = WRIT_LIT(NEW_CRL_URL),
					   .not_after = NOW + 5 * 3600,
					   .signs_until = NOW + 4 * 3600 };
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID,
		       "gate: the authority key id is not that of a CA that signs now");
	facts.n_issuers = 2;
	issuers[1].signs_until = NOW;
	expect_ok(gate_at(ours(), &facts, NOW));
	issuers[1].revoked = true;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_UNAVAILABLE,
		       "gate: the issuing CA it names was revoked a moment ago: ask again");
	issuers[1].revoked = false;
	issuers[1].signs_until = NOW - 1;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: the issuing CA it names ended signing 1 s ago");
	issuers[1].signs_until = NOW;
	issuers[1].not_after = NOW + 898;
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: it would outlive its issuing CA by 1 s (I5)");
	issuers[1].not_after = NOW + 899;
	issuers[1].crl_url = WRIT_LIT(NEW_CRL_URL);
	expect_refused(gate_at(ours(), &facts, NOW), WRIT_INVALID, "gate: CRL address " CRL_URL " is not ours");
}

static struct writ_bytes
naming(const char *crl_url)
{
	const struct leaf_facts facts = make_facts(&pki, 2);
	struct leaf_issuer issuer = make_issuer(&pki);
	struct writ_buf buf = WRIT_BUF(LEAF_MAX);

	issuer.crl_url = writ_str(crl_url);
	expect_ok(leaf_build(&issuer, &facts, &buf));
	return make_keep(&buf);
}

/* Where the first list is STEM.crl, the others are STEM-1.crl and so on. */
static void
a_leaf_names_the_shard_that_takes_leaves_now_or_did_a_moment_ago(void **state)
{
#define STEM "http://status.corp.example/crl/issuing"
	static const struct {
		const char *url;
		unsigned from, last;
		int shard; /* -1: refused, */
		const char *message;
	} rows[] = {
		{ STEM ".crl", 0, 0, 0, NULL },
		{ STEM "-1.crl", 0, 1, 1, NULL },
		{ STEM ".crl", 0, 1, 0, NULL },
		{ STEM "-65535.crl", 65530, 65535, 65535, NULL },
		{ STEM "-1.crl", 0, 0, -1,
		  "gate: CRL address " STEM "-1.crl is that of shard 1: those that take leaves now are 0 to 0" },
		{ STEM ".crl", 1, 2, -1,
		  "gate: CRL address " STEM ".crl is that of shard 0: those that take leaves now are 1 to 2" },
		{ STEM "-3.crl", 1, 2, -1,
		  "gate: CRL address " STEM "-3.crl is that of shard 3: those that take leaves now are 1 to 2" },
		{ STEM "-0.crl", 0, 1, -1, "gate: CRL address " STEM "-0.crl is not ours" },
		{ STEM "-01.crl", 0, 1, -1, "gate: CRL address " STEM "-01.crl is not ours" },
		{ STEM "-.crl", 0, 1, -1, "gate: CRL address " STEM "-.crl is not ours" },
		{ STEM "-+1.crl", 0, 1, -1, "gate: CRL address " STEM "-+1.crl is not ours" },
		{ STEM "-1x.crl", 0, 1, -1, "gate: CRL address " STEM "-1x.crl is not ours" },
		{ STEM "-1", 0, 1, -1, "gate: CRL address " STEM "-1 is not ours" },
		{ STEM "-1.crL", 0, 1, -1, "gate: CRL address " STEM "-1.crL is not ours" },
		{ STEM "-65536.crl", 0, 1, -1, "gate: CRL address " STEM "-65536.crl is not ours" },
		{ STEM "-123456.crl", 0, 1, -1, "gate: CRL address " STEM "-123456.crl is not ours" },
		{ "http://status.corp.example/crl/another-1.crl", 0, 1, -1,
		  "gate: CRL address http://status.corp.example/crl/another-1.crl is not ours" },
	};
	const struct gate_facts facts = our_facts();

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		issuers[0].shard_from = rows[i].from;
		issuers[0].shard = rows[i].last;
		if (rows[i].message) {
			expect_refused(gate_at(naming(rows[i].url), &facts, NOW), WRIT_INVALID, rows[i].message);
			continue;
		}
		expect_ok(gate_at(naming(rows[i].url), &facts, NOW));
		assert_int_equal(shard, rows[i].shard);
	}
}

static void
no_key_of_ours_is_ever_certified_for_an_agent(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 2);

	(void)state;
	facts.spki = pki.issuing_key.spki;
	expect_refused(gate(tbs_with(facts)), WRIT_INVALID, "gate: the public key is one of our CA's or responder's");
	facts.spki = pki.anchor_key.spki;
	expect_refused(gate(tbs_with(facts)), WRIT_INVALID, "gate: the public key is one of our CA's or responder's");
}

static void
what_the_signer_fills_in_must_be_empty(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(64 * 1024);
	static const uint8_t zero[32], set[32] = { 1 };
	uint8_t serial[16] = { 1, 0xc8 };
	const struct writ_bytes tbs = ours();
	uint8_t *bytes = (uint8_t *)(uintptr_t)tbs.data;
	struct leaf leaf;

	(void)state;
	expect_ok(leaf_read_tbs(tbs, &arena, &leaf));
	leaf_fill(bytes, &leaf, serial, 0, zero);
	expect_refused(gate(tbs), WRIT_INVALID, "gate: the serial is not zero: the signer fills it in (I4)");
	leaf_fill(bytes, &leaf, zero, 1, zero);
	expect_refused(gate(tbs), WRIT_INVALID, "gate: the log reference is not zero: the signer fills it in");
	leaf_fill(bytes, &leaf, zero, 0, set);
	expect_refused(gate(tbs), WRIT_INVALID, "gate: the log reference is not zero: the signer fills it in");
}

static struct writ_err *
gate_hop(unsigned n, const char *principal, enum principal_kind kind)
{
	struct leaf_facts facts = make_facts(&pki, 2);
	struct delegation d = make_delegation(2);

	d.hops[n].principal = writ_str(principal);
	d.hops[n].kind = kind;
	facts.delegation = make_delegation_der(&d);
	return gate(tbs_with(facts));
}

static void
agents_among_the_hops_are_ours(void **state)
{
	(void)state;
	expect_ok(gate_hop(0, TD "/service/payments", PRINCIPAL_SERVICE));
	expect_refused(gate_hop(1, "spiffe://other.example/agent/bot/i-1", PRINCIPAL_AGENT), WRIT_INVALID,
		       "gate: hop 1 is an agent of other.example, which is not ours");
}

static struct writ_err *
gate_no_status(writ_time not_after, unsigned depth)
{
	struct leaf_facts facts = make_facts(&pki, 2);
	struct delegation d = make_delegation(2);
	const struct gate_facts ours = our_facts();
	struct writ_buf buf = WRIT_BUF(LEAF_MAX);
	const struct leaf_issuer issuer = make_issuer(&pki);
	struct writ_err *err;

	d.hops[0].depth_remaining = depth + 1;
	d.hops[1].depth_remaining = depth;
	facts.delegation = make_delegation_der(&d);
	facts.no_rev_avail = true;
	facts.not_before = NOW;
	facts.not_after = not_after;
	err = leaf_build(&issuer, &facts, &buf);
	return err ? err : gate_at(make_keep(&buf), &ours, NOW);
}

static void
without_status_a_leaf_lives_two_minutes_and_delegates_nothing(void **state)
{
	(void)state;
	expect_ok(gate_no_status(NOW + 120, 0));
	expect_refused(gate_no_status(NOW + 121, 0), WRIT_INVALID,
		       "gate: noRevAvail with 121 s to live: at most 120 are allowed");
	expect_refused(gate_no_status(NOW + 60, 1), WRIT_INVALID,
		       "gate: not a leaf: leaf: noRevAvail: depthRemaining is 1, it takes 0");
}

/* leaf_read_tbs() has a test of its own for each of these; here: that the gate asks it. */
static void
what_is_no_leaf_is_refused(void **state)
{
	const struct writ_bytes tbs = ours();
	const struct {
		const char *row;
		struct writ_bytes tbs;
	} rows[] = {
		{ "CA:TRUE", edited(tbs, "7.0.2.2.0", REPLACE, make_element(DER_SEQUENCE, WRIT_LIT("\x01\x01\xff"))) },
		{ "no delegation", edited(tbs, "7.0.6", REPLACE, (struct writ_bytes){ 0 }) },
		{ "two delegations", edited(tbs, "7.0.6", AFTER, element_at(tbs, "7.0.6")) },
		{ "an extra extension", edited(tbs, "7.0.1", AFTER, element_at(tbs, "7.0.1")) },
		{ "extensions swapped", edited(edited(tbs, "7.0.1", REPLACE, element_at(tbs, "7.0.2")), "7.0.2",
					       REPLACE, element_at(tbs, "7.0.1")) },
		{ "two SANs", edited(tbs, "7.0.0.1.0.0", AFTER, element_at(tbs, "7.0.0.1.0.0")) },
		{ "a byte behind", make_joined(tbs, WRIT_LIT("\x00")) },
		{ "a byte missing", { tbs.data, tbs.len - 1 } },
		{ "nothing", { tbs.data, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct writ_err *err = gate(rows[i].tbs);

		if (!err)
			fail_msg("%s was accepted", rows[i].row);
		assert_int_equal(err->code, WRIT_INVALID);
		assert_string_equal(err->message, "gate: not a leaf");
		writ_err_free(err);
	}
}

static int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_of_ours_passes),
		cmocka_unit_test(both_ends_of_every_limit_of_time_pass_and_one_second_more_does_not),
		cmocka_unit_test(a_leaf_never_outlives_its_issuing_ca),
		cmocka_unit_test(what_another_signer_would_take_is_refused_here),
		cmocka_unit_test(a_generation_that_was_replaced_signs_until_its_overlap_ends),
		cmocka_unit_test(a_leaf_names_the_shard_that_takes_leaves_now_or_did_a_moment_ago),
		cmocka_unit_test(no_key_of_ours_is_ever_certified_for_an_agent),
		cmocka_unit_test(what_the_signer_fills_in_must_be_empty),
		cmocka_unit_test(agents_among_the_hops_are_ours),
		cmocka_unit_test(without_status_a_leaf_lives_two_minutes_and_delegates_nothing),
		cmocka_unit_test(what_is_no_leaf_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
