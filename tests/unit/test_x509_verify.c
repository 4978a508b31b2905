/* A relying party's check of a chain (delegation.md 6.1), and the leaf told in words and as JSON. */
#include <jansson.h>

#include "base/text.h"
#include "tests/unit/verify_make.h"
#include "tests/unit/x509_make.h"

static struct pki pki;
static struct writ_bytes leaf_der, crl_der, anchor_crl_der, ocsp_der;
static struct writ_arena arena = { .limit = 64 * 1024 };

static struct writ_bytes
make_crl(const struct test_key *key, struct writ_bytes name, struct writ_bytes entries, const uint8_t edge[EDGE_ID],
	 struct writ_bytes url)
{
	const struct crl_facts facts = {
		.issuer_name = name,
		.issuer_key_id = { key->id, 20 },
		.kind = key->kind,
		.number = 1,
		.this_update = NOW - 30,
		.next_update = NOW + 180,
		.entries = entries,
		.n_edges = edge ? 1 : 0,
		.edges = (const uint8_t(*)[EDGE_ID])edge,
		.idp_url = url,
	};
	struct writ_buf tbs = WRIT_BUF(65536);

	expect_ok(crl_build_tbs(&facts, &tbs));
	return make_signed(key, make_keep(&tbs));
}

static struct writ_bytes
entry(struct writ_bytes serial)
{
	struct writ_buf buf = WRIT_BUF(CRL_ENTRY_MAX);

	expect_ok(crl_entry_write(serial, NOW - 10, REASON_KEY_COMPROMISE, &buf));
	return make_keep(&buf);
}

static struct writ_bytes
make_ocsp(enum ocsp_status status)
{
	struct ocsp_issuer issuer;
	struct ocsp_request request;
	struct writ_buf req = WRIT_BUF(OCSP_REQUEST_MAX), tbs = WRIT_BUF(OCSP_RESPONSE_MAX),
			buf = WRIT_BUF(OCSP_RESPONSE_MAX);
	struct ocsp_facts facts = { .status = status,
				    .revoked_at = NOW - 10,
				    .reason = REASON_PRIVILEGE_WITHDRAWN,
				    .produced_at = NOW,
				    .this_update = NOW - 30,
				    .next_update = NOW + 120,
				    .kind = KEY_P256 };

	expect_ok(ocsp_issuer_init(pki.issuing_name, pki.issuing_key.spki, &issuer));
	expect_ok(ocsp_request_build(&issuer, false, LEAF_SERIAL_BYTES, (struct writ_bytes){ 0 }, &req));
	expect_ok(ocsp_request_parse(writ_view(&req), &request));
	facts.cert_id = request.cert_id;
	facts.responder_key_id = (struct writ_bytes){ pki.ocsp_key.id, 20 };
	expect_ok(ocsp_build_tbs(&facts, &tbs));
	expect_ok(ocsp_assemble(writ_view(&tbs), KEY_P256, make_signature(&pki.ocsp_key, writ_view(&tbs)),
				pki.responder, &buf));
	writ_buf_done(&req);
	writ_buf_done(&tbs);
	return make_keep(&buf);
}

static int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	leaf_der = make_leaf(&pki);
	crl_der = make_crl(&pki.issuing_key, pki.issuing_name, entry(WRIT_LIT("\x07")), NULL, (struct writ_bytes){ 0 });
	anchor_crl_der =
		make_crl(&pki.anchor_key, pki.anchor_name, (struct writ_bytes){ 0 }, NULL, (struct writ_bytes){ 0 });
	ocsp_der = make_ocsp(OCSP_GOOD);
	return 0;
}

static struct verify_with
with(void)
{
	return (struct verify_with){ .anchor = pki.anchor, .trust_domain = WRIT_LIT(TRUST_DOMAIN), .now = NOW };
}

static struct writ_err *
verify(const struct verify_with *w)
{
	struct leaf leaf;

	writ_arena_clear(&arena);
	return verify_chain(leaf_der, pki.issuing, w, &arena, &leaf);
}

static struct writ_err *
verify_with_ca(const struct ca_facts *facts, const struct test_key *signer)
{
	const struct verify_with w = with();
	struct leaf leaf;

	writ_arena_clear(&arena);
	return verify_chain(leaf_der, make_ca(facts, signer), &w, &arena, &leaf);
}

static struct writ_err *
verify_with_anchor(struct writ_bytes anchor)
{
	struct verify_with w = with();

	w.anchor = anchor;
	return verify(&w);
}

static void
a_chain_with_all_its_status_is_accepted_for_every_kind_of_anchor(void **state)
{
	struct verify_with w = with();
	struct leaf leaf;

	(void)state;
	w.crl = crl_der;
	w.anchor_crl = anchor_crl_der;
	w.ocsp = ocsp_der;
	w.demand_status = true;
	w.audience = WRIT_LIT(ERP);
	writ_arena_clear(&arena);
	expect_ok(verify_chain(leaf_der, pki.issuing, &w, &arena, &leaf));
	expect_bytes(leaf.san, WRIT_LIT(TD "/agent/invoice-bot/i-9c1b44"));
	for (enum key_kind kind = KEY_P256; kind <= KEY_ED25519; kind++) {
		const struct pki other = make_pki_with(kind, kind);

		w = with();
		w.anchor = other.anchor;
		writ_arena_clear(&arena);
		expect_ok(verify_chain(make_leaf(&other), other.issuing, &w, &arena, &leaf));
	}
}

static void
validity_includes_both_its_ends(void **state)
{
	struct verify_with w = with();

	(void)state;
	w.now = NOW - 30;
	expect_ok(verify(&w));
	w.now = NOW + 899;
	expect_ok(verify(&w));
	w.now = NOW - 31;
	expect_refused(verify(&w), WRIT_INVALID, "chain: anchor: not valid yet: begins in 1 s");
	w.now = NOW + 900;
	expect_refused(verify(&w), WRIT_INVALID, "chain: leaf: expired 1 s ago");
}

static void
each_break_in_the_path_is_refused_by_name(void **state)
{
	const struct test_key thief = make_key(KEY_P256), p384 = make_key(KEY_P384);
	struct ca_facts facts;
	struct verify_with w;
	struct leaf leaf;
	unsigned breaches = 0;

	(void)state;
	w = with();
	w.trust_domain = WRIT_LIT("other.example");
	breaches += breach(
		"N22: another trust domain for the anchor", verify(&w),
		"chain: leaf: trust domain 'agents.corp.example', but this anchor is trusted for 'other.example' only");

	breaches += breach("no anchor", verify_with_anchor((struct writ_bytes){ 0 }),
			   "chain: anchor: PEM: no further block 'CERTIFICATE'");
	breaches += breach("a responder as anchor", verify_with_anchor(pki.responder), "chain: anchor: not a CA");
	breaches += breach("the issuing CA as anchor", verify_with_anchor(pki.issuing),
			   "chain: anchor: its pathLenConstraint of 0 allows no issuing CA below it");
	facts = anchor_facts(&pki);
	facts.not_after = NOW - 1;
	breaches += breach("an expired anchor", verify_with_anchor(make_ca(&facts, &pki.anchor_key)),
			   "chain: anchor: expired 1 s ago");
	breaches += breach(
		"an anchor with policies that are not ours",
		verify_with_anchor(edited(
			pki.anchor, "0.7.0.2", AFTER,
			make_element(DER_SEQUENCE, make_joined(make_element(DER_OID, OID_CERTIFICATE_POLICIES),
							       WRIT_LIT("\x04\x08\x30\x06\x30\x04\x06\x02\x2a\x03"))))),
		"chain: anchor: does not assert cp-delegatedAgent");
	{
		/* The same name, another key. */
		struct pki other = pki;

		other.anchor_key = make_key(KEY_P256);
		facts = anchor_facts(&other);
		breaches += breach("another anchor", verify_with_anchor(make_ca(&facts, &other.anchor_key)),
				   "chain: issuing CA: its issuer is not the anchor by name");
	}

	facts = issuing_facts(&pki);
	breaches += breach("an issuing CA signed by another key", verify_with_ca(&facts, &thief),
			   "chain: issuing CA: the signature is not this P-256 key's over these bytes");
	facts.issuer_kind = KEY_P384;
	breaches += breach("an issuing CA signed with another algorithm", verify_with_ca(&facts, &p384),
			   "chain: issuing CA: its signature's algorithm does not go with its issuer's key");
	facts = issuing_facts(&pki);
	facts.issuer_spki = thief.spki;
	breaches += breach("an issuing CA of another key id", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: issuing CA: its issuer is not the anchor by key id");
	facts = issuing_facts(&pki);
	facts.not_after = NOW - 1;
	breaches += breach("an issuing CA that the leaf outlives", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: leaf: outlives its issuing CA (I5)");
	facts = issuing_facts(&pki);
	facts.not_before = NOW + 1;
	breaches += breach("an issuing CA that begins later", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: issuing CA: not valid yet: begins in 1 s");
	facts = issuing_facts(&pki);
	facts.tier = LEAF_TIER_RESIDENT;
	breaches += breach("an issuing CA of another tier", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: issuing CA: does not assert the leaf's tier 'sealed'");
	facts = issuing_facts(&pki);
	facts.spki = thief.spki;
	breaches += breach("another issuing CA", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: leaf: its issuer is not the issuing CA by name");
	facts = responder_facts(&pki);
	facts.issuer_name = pki.anchor_name;
	breaches += breach("a responder as issuing CA", verify_with_ca(&facts, &pki.anchor_key),
			   "chain: leaf: its issuer is not the issuing CA by name");

	w = with();
	writ_arena_clear(&arena);
	breaches += breach("a leaf signed by another key",
			   verify_chain(make_signed(&thief, element_at(leaf_der, "0")), pki.issuing, &w, &arena, &leaf),
			   "chain: leaf: the signature is not this P-256 key's over these bytes");
	breaches += breach("a leaf with one bit changed",
			   verify_chain(edited(leaf_der, "0.7.0.9.1.0.2", REPLACE,
					       make_element(DER_OCTET_STRING, make_bytes(0x98, 32))),
					pki.issuing, &w, &arena, &leaf),
			   "chain: leaf: the signature is not this P-256 key's over these bytes");
	breaches +=
		breach("a leaf of another issuer by key id",
		       verify_chain(edited(leaf_der, "0.7.0.3.1.0.0", REPLACE, make_element(0x80, make_bytes(1, 20))),
				    pki.issuing, &w, &arena, &leaf),
		       "chain: leaf: its issuer is not the issuing CA by key id");
	breaches += breach("the issuing CA as leaf", verify_chain(pki.issuing, pki.issuing, &w, &arena, &leaf),
			   "chain: leaf: validity: 15631 s from notBefore to notAfter, the limit is 930");
	assert_int_equal(breaches, 0);
}

static void
a_path_length_of_0_at_the_anchor_allows_no_issuing_ca(void **state)
{
	struct ca_facts facts = anchor_facts(&pki);
	struct writ_buf tbs = WRIT_BUF(CA_CERT_MAX);
	struct writ_bytes short_path;

	(void)state;
	expect_ok(ca_build_tbs(&facts, &tbs));
	short_path = edited(make_keep(&tbs), "7.0.0.2.0.1", REPLACE, WRIT_LIT("\x02\x01\x00"));
	expect_refused(verify_with_anchor(make_signed(&pki.anchor_key, short_path)), WRIT_INVALID,
		       "chain: anchor: its pathLenConstraint of 0 allows no issuing CA below it");
}

static void
software_custody_is_refused_unless_it_is_allowed(void **state)
{
	struct ca_facts facts = issuing_facts(&pki);
	const struct leaf_facts leaf_facts = make_facts(&pki, 1);
	struct leaf_issuer issuer = make_issuer(&pki);
	struct writ_buf tbs = WRIT_BUF(LEAF_MAX);
	struct verify_with w = with();
	struct writ_bytes issuing, der;
	struct leaf leaf;

	(void)state;
	facts.tier = issuer.tier = LEAF_TIER_SOFTWARE;
	issuing = make_ca(&facts, &pki.anchor_key);
	expect_ok(leaf_build(&issuer, &leaf_facts, &tbs));
	der = make_leaf_of(&pki, make_keep(&tbs));
	writ_arena_clear(&arena);
	expect_refused(verify_chain(der, issuing, &w, &arena, &leaf), WRIT_INVALID,
		       "chain: leaf: its issuing key is kept in software (cp-software), which is not allowed here");
	w.allow_software = true;
	expect_ok(verify_chain(der, issuing, &w, &arena, &leaf));
}

static void
status_that_is_demanded_must_be_there(void **state)
{
	struct verify_with w = with();

	(void)state;
	w.demand_status = true;
	expect_refused(verify(&w), WRIT_INVALID,
		       "chain: leaf: its status is demanded, and neither a CRL nor an OCSP response is given");
	w.ocsp = ocsp_der;
	expect_ok(verify(&w));
	w.ocsp.len = 0;
	w.crl = crl_der;
	expect_ok(verify(&w));
}

static struct writ_err *
verify_crl(struct writ_bytes crl)
{
	struct verify_with w = with();

	w.crl = crl;
	return verify(&w);
}

static void
revoked_is_refused_however_it_is_said(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct hop hop1 = make_hop(1, 2);
	struct verify_with w = with();
	unsigned breaches = 0;
	uint8_t edge[EDGE_ID];

	(void)state;
	breaches +=
		breach("the leaf by CRL",
		       verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, entry(LEAF_SERIAL_BYTES), NULL, none)),
		       "chain: leaf: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	memset(edge, 0xa0, sizeof(edge));
	breaches += breach("N29: the first hop, its serial not",
			   verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, none, edge, none)),
			   "chain: hop 1: its delegation was revoked");
	memset(edge, 0xa1, sizeof(edge));
	breaches += breach("N29: the second hop",
			   verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, none, edge, none)),
			   "chain: hop 2: its delegation was revoked");
	memset(edge, 0xa2, sizeof(edge));
	expect_ok(verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, none, edge, none))); /* somebody else's */

	/* The certificate a hop was made with, when this CA issued it. */
	expect_ok(verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, entry(hop1.cert_serial), NULL, none)));
	{
		struct delegation d = make_delegation(2);
		struct leaf_facts facts = make_facts(&pki, 2);
		struct leaf leaf;

		d.hops[1].cert_issuer_key_id = (struct writ_bytes){ pki.issuing_key.id, 20 };
		facts.delegation = make_delegation_der(&d);
		w.crl = make_crl(&pki.issuing_key, pki.issuing_name, entry(hop1.cert_serial), NULL, none);
		writ_arena_clear(&arena);
		breaches +=
			breach("the parent's certificate",
			       verify_chain(make_leaf_of(&pki, make_tbs(&pki, &facts)), pki.issuing, &w, &arena, &leaf),
			       "chain: hop 2: the certificate it was made with was revoked");
	}
	w = with();
	w.ocsp = make_ocsp(OCSP_REVOKED);
	breaches += breach("the leaf by OCSP", verify(&w),
			   "chain: leaf: revoked at 2026-11-23T20:51:27Z (privilegeWithdrawn)");
	w = with();
	w.anchor_crl = make_crl(&pki.anchor_key, pki.anchor_name,
				entry(make_joined(WRIT_LIT("\x01\xc8\x01"), make_bytes(0, 13))), NULL, none);
	breaches += breach("the issuing CA", verify(&w),
			   "chain: issuing CA: revoked at 2026-11-23T20:51:27Z (keyCompromise)");
	assert_int_equal(breaches, 0);
}

static void
a_crl_that_proves_nothing_is_refused(void **state)
{
	const struct writ_bytes none = { 0 };
	const struct test_key thief = make_key(KEY_P256);
	struct verify_with w = with();
	unsigned breaches = 0;

	(void)state;
	breaches += breach("not a CRL", verify_crl(pki.issuing), "chain: CRL: version: must be v2");
	breaches += breach("the anchor's name, the issuing CA's key",
			   verify_crl(make_crl(&pki.issuing_key, pki.anchor_name, none, NULL, none)),
			   "chain: CRL: of no anchor and no known issuing CA by key id");
	breaches += breach("another CA's by key id", verify_crl(make_crl(&thief, pki.issuing_name, none, NULL, none)),
			   "chain: CRL: of no anchor and no known issuing CA by key id");
	breaches += breach("signed by another key", verify_crl(make_signed(&thief, element_at(crl_der, "0"))),
			   "chain: CRL: the signature is not this P-256 key's over these bytes");
	breaches +=
		breach("another shard: it does not speak of this leaf",
		       verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, none, NULL, WRIT_LIT("http://other/"))),
		       "chain: issuing CA's CRL: the one that is held is of another distribution point than the leaf's");
	expect_ok(verify_crl(make_crl(&pki.issuing_key, pki.issuing_name, none, NULL, WRIT_LIT(CRL_URL))));
	w.crl = crl_der;
	w.now = NOW + 180;
	expect_ok(verify(&w));
	w.now = NOW + 181;
	breaches += breach("N28: stale", verify(&w), "chain: issuing CA's CRL: stale: its nextUpdate was 1 s ago");
	{
		struct crl_facts facts = { .issuer_name = pki.issuing_name,
					   .issuer_key_id = { pki.issuing_key.id, 20 },
					   .kind = KEY_P256,
					   .this_update = NOW + 1,
					   .next_update = NOW + 180 };
		struct writ_buf tbs = WRIT_BUF(4096);

		expect_ok(crl_build_tbs(&facts, &tbs));
		breaches += breach("of the future", verify_crl(make_signed(&pki.issuing_key, make_keep(&tbs))),
				   "chain: CRL: its thisUpdate lies in the future");
	}
	w = with();
	w.anchor_crl = crl_der;
	breaches += breach("an issuing CA's that is not known yet", verify(&w),
			   "chain: CRL: of no anchor and no known issuing CA by name");
	w = with();
	w.ocsp = ocsp_der;
	w.now = NOW + 121;
	breaches += breach("a stale OCSP response", verify(&w),
			   "chain: leaf: OCSP response: stale: its nextUpdate was 1 s ago");
	assert_int_equal(breaches, 0);
}

static void
we_must_be_among_the_audience(void **state)
{
	struct verify_with w = with();
	unsigned breaches = 0;

	(void)state;
	w.audience = WRIT_LIT(ERP);
	expect_ok(verify(&w));
	w.audience = WRIT_LIT("https://hr.corp.example");
	breaches += breach("N31: another audience", verify(&w),
			   "chain: leaf: we are 'https://hr.corp.example', and not among its audience");
	w.audience = WRIT_LIT("https://erp.corp.example/v2");
	breaches += breach("below it", verify(&w),
			   "chain: leaf: we are 'https://erp.corp.example/v2', and not among its audience");
	w.audience = WRIT_LIT("https://ERP.corp.example");
	breaches += breach("ourselves misspelt", verify(&w),
			   "chain: our own identity: resource 'https://ERP.corp.example': the host must be lower case");
	assert_int_equal(breaches, 0);
}

/* ---- words and JSON ---- */

static struct delegation
with_everything(void)
{
	static const uint8_t net4[] = { 10, 1, 0, 0, 255, 255, 0, 0 };
	static const uint8_t net6[32] = { 0x20, 1, 0xd, 0xb8, [16] = 255, 255, 255, 255 };
	struct delegation d = make_delegation(3);
	struct writ_bytes *nets = make_room(2 * sizeof(*nets));

	nets[0] = BYTES(net4);
	nets[1] = BYTES(net6);
	d.purpose = WRIT_LIT("say \"hi\" \xe2\x82\xac");
	d.parent_task = WRIT_LIT("quarter-3");
	d.grant.constraints = CONSTRAINTS({ .kind = CONSTRAINT_SOURCE_NET, .n_values = 2, .values = nets },
					  window(NOW, NOW + 60), param_in("currency", "CHF EUR"));
	d.context_type = WRIT_LIT("prompt-v1");
	d.context_digest = make_bytes(0x71, 32);
	d.attestation_type = WRIT_LIT("tpm2-quote");
	d.attestation_digest = make_bytes(0x72, 32);
	d.attestation_at = NOW - 5;
	return d;
}

static struct writ_bytes
a_full_leaf(struct leaf *ret)
{
	const struct delegation d = with_everything();
	struct leaf_facts facts = make_facts(&pki, 3);
	struct writ_bytes der;

	facts.delegation = make_delegation_der(&d);
	der = make_leaf_of(&pki, make_tbs(&pki, &facts));
	writ_arena_clear(&arena);
	expect_ok(leaf_read(der, &arena, ret));
	return der;
}

static void
a_leaf_is_told_a_fact_a_line(void **state)
{
	char hex[65], kid[41];
	char want[4096];
	struct writ_buf text = WRIT_BUF(16384);
	struct leaf leaf;

	(void)state;
	a_full_leaf(&leaf);
	expect_ok(leaf_tell(&leaf, NOW, &text));
	expect_ok(writ_buf_add(&text, WRIT_LIT("\0")));
	writ_hex(BYTES(leaf.spki_sha256), hex);
	writ_hex(BYTES(pki.issuing_key.id), kid);
#define DIGEST_70 "7070707070707070707070707070707070707070707070707070707070707070"
#define DIGEST_71 "7171717171717171717171717171717171717171717171717171717171717171"
#define DIGEST_72 "7272727272727272727272727272727272727272727272727272727272727272"
	snprintf(want, sizeof(want),
		 "agent         spiffe://agents.corp.example/agent/invoice-bot/i-9c1b44\n"
		 "task          0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00, part of quarter-3\n"
		 "purpose       \"say \"hi\" \xe2\x82\xac\" (as it was stated; nothing was decided on it)\n"
		 "authorised by human spiffe://agents.corp.example/human/okta/00u1abcd, by oidcIdToken of "
		 "https://login.corp.example, "
		 "2026-11-23T20:41:37Z until 2026-11-23T21:51:37Z; may be passed on 2 more times\n"
		 "passed on by  agent spiffe://agents.corp.example/agent/orchestrator/i-1, by writCert, "
		 "2026-11-23T20:41:38Z until "
		 "2026-11-23T21:51:36Z; may be passed on 1 more time\n"
		 "passed on by  agent spiffe://agents.corp.example/agent/orchestrator/i-2, by writCert, "
		 "2026-11-23T20:41:39Z until "
		 "2026-11-23T21:51:35Z\n"
		 "may           invoices:list, invoices:read on https://erp.corp.example/v2/invoices/2026/q3/**; only "
		 "limit <= 100; only from "
		 "10.1.0.0/16 or 2001:db8::/32; only from 2026-11-23T20:51:37Z to 2026-11-23T20:52:37Z; only currency "
		 "is \"CHF\" or \"EUR\"; "
		 "may pass it on\n"
		 "may           ledger:write on https://erp.corp.example/v2/ledger/2026; only from 10.1.0.0/16 or "
		 "2001:db8::/32; only from "
		 "2026-11-23T20:51:37Z to 2026-11-23T20:52:37Z; only currency is \"CHF\" or \"EUR\"\n"
		 "towards       https://erp.corp.example\n"
		 "valid         2026-11-23T20:51:07Z to 2026-11-23T21:06:36Z, 900 s left\n"
		 "policy        finance-agents, SHA-256 " DIGEST_70 "\n"
		 "context       prompt-v1, salted SHA-256 " DIGEST_71 "\n"
		 "attestation   tpm2-quote, SHA-256 " DIGEST_72 ", checked 2026-11-23T20:51:32Z\n"
		 "key           P-256, SHA-256 %s\n"
		 "serial        01c8620b0c0d0e0f1011121314151617\n"
		 "issuing CA    key id %s, custody sealed\n"
		 "status        OCSP http://status.corp.example/ocsp, CRL http://status.corp.example/crl/issuing.crl\n"
		 "log           entry 4711 of log 7777777777777777, leaf hash "
		 "9999999999999999999999999999999999999999999999999999999999999999\n",
		 hex, kid);
	assert_string_equal((const char *)text.data, want);
	writ_buf_done(&text);
}

static const char *
line_of(const struct leaf *leaf, writ_time now, const char *beginning)
{
	static char line[512];
	struct writ_buf text = WRIT_BUF(16384);
	const char *at;

	expect_ok(leaf_tell(leaf, now, &text));
	expect_ok(writ_buf_add(&text, WRIT_LIT("\0")));
	at = strstr((const char *)text.data, beginning);
	assert_non_null(at);
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
	writ_buf_done(&text);
	return line;
}

static void
what_has_expired_or_has_no_status_is_told_so(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 1);
	struct leaf leaf;

	(void)state;
	facts.no_rev_avail = true;
	facts.not_after = NOW + 119;
	writ_arena_clear(&arena);
	expect_ok(leaf_read(make_leaf_of(&pki, make_tbs(&pki, &facts)), &arena, &leaf));
	assert_string_equal(line_of(&leaf, NOW + 120, "valid"),
			    "valid         2026-11-23T20:51:07Z to 2026-11-23T20:53:36Z, expired 1 s ago");
	assert_string_equal(line_of(&leaf, NOW - 31, "valid"),
			    "valid         2026-11-23T20:51:07Z to 2026-11-23T20:53:36Z, begins in 1 s");
	assert_string_equal(line_of(&leaf, NOW + 119, "valid"),
			    "valid         2026-11-23T20:51:07Z to 2026-11-23T20:53:36Z, 1 s left");
	assert_string_equal(line_of(&leaf, NOW, "status"),
			    "status        none is offered: too short-lived (noRevAvail)");
}

static void
a_leaf_as_json_has_the_names_of_delegation_md_6_3(void **state)
{
	char x5t[64], digest[65], want[8192];
	struct writ_buf text = WRIT_BUF(65536), b64 = WRIT_BUF(64);
	uint8_t sha256[32];
	json_error_t error;
	struct writ_bytes der;
	struct leaf leaf;
	json_t *json;
	char *canonical;

	(void)state;
	der = a_full_leaf(&leaf);
	expect_ok(leaf_json(&leaf, der, &text));
	json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(json);
	writ_sha256(der, sha256);
	writ_hex(BYTES(sha256), digest);
	expect_ok(writ_base64url(BYTES(sha256), &b64));
	snprintf(x5t, sizeof(x5t), "%.*s", (int)b64.len, (const char *)b64.data);
#define R32(x) x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
#define R16(x) x x x x x x x x x x x x x x x x
#define CONSTRAINTS_JSON                                                                                               \
	"{\"sourceNet\":[\"10.1.0.0/16\",\"2001:db8::/32\"]},{\"window\":{\"not_before\":\"2026-11-23T20:51:37Z\","    \
	"\"not_after\":\"2026-11-23T20:52:37Z\"}},{\"paramIn\":{\"name\":\"currency\",\"values\":[\"CHF\",\"EUR\"]}}"
	snprintf(
		want, sizeof(want),
		"{\"iss\":\"spiffe://agents.corp.example\",\"sub\":\"spiffe://agents.corp.example/human/okta/"
		"00u1abcd\","
		"\"act\":{\"sub\":\"spiffe://agents.corp.example/agent/invoice-bot/i-9c1b44\","
		"\"act\":{\"sub\":\"spiffe://agents.corp.example/agent/orchestrator/i-2\","
		"\"act\":{\"sub\":\"spiffe://agents.corp.example/agent/orchestrator/i-1\"}}},"
		"\"cnf\":{\"x5t#S256\":\"%s\"},\"iat\":1795467067,\"nbf\":1795467067,\"exp\":1795467996,"
		"\"aud\":[\"https://erp.corp.example\"],\"txn\":\"0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00\","
		"\"authorization_details\":[{\"type\":\"writ_entitlement_v1\",\"actions\":[\"invoices:list\","
		"\"invoices:read\"],"
		"\"resources\":[\"https://erp.corp.example/v2/invoices/2026/q3/"
		"**\"],\"delegable\":true,\"constraints\":[" CONSTRAINTS_JSON
		",{\"paramMax\":{\"name\":\"limit\",\"max\":100}}]},"
		"{\"type\":\"writ_entitlement_v1\",\"actions\":[\"ledger:write\"],\"resources\":[\"https://"
		"erp.corp.example/v2/ledger/2026\"],"
		"\"delegable\":false,\"constraints\":[" CONSTRAINTS_JSON "]}],"
		"\"writ\":{\"v\":1,\"purpose\":\"say \\\"hi\\\" "
		"\xe2\x82\xac\",\"parent_task\":\"quarter-3\",\"tier\":\"sealed\",\"hops\":["
		"{\"id\":\"" R16(
			"a0") "\",\"principal\":\"spiffe://agents.corp.example/human/okta/"
			      "00u1abcd\",\"kind\":\"human\","
			      "\"method\":\"oidcIdToken\",\"auth_digest\":\"" R32(
				      "10") "\",\"authority\":\"https://login.corp.example\","
					    "\"auth_time\":\"2026-11-23T20:39:57Z\",\"acr\":\"phr\",\"granted_at\":"
					    "\"2026-11-23T20:41:37Z\","
					    "\"not_after\":\"2026-11-23T21:51:37Z\",\"depth\":2,\"scope_digest\":"
					    "\"" R32("20") "\",\"grant\":\"" R32(
						    "30") "\"},"
							  "{\"id\":\"" R16(
								  "a1") "\",\"principal\":\"spiffe://"
									"agents.corp.example/agent/orchestrator/"
									"i-1\",\"kind\":\"agent\","
									"\"method\":\"writCert\",\"auth_digest\":"
									"\"" R32("11") "\",\"granted_at\":\"2026-11-"
										       "23T20:41:38Z\","
										       "\"not_after\":\"2026-11-23T21:"
										       "51:36Z\",\"depth\":1,\"scope_"
										       "digest\":\"" R32(
											       "21") "\",\"cert\":{"
												     "\"sha256\":"
												     "\"" R32(
													     "41") "\""
														   ","
														   "\""
														   "se"
														   "ri"
														   "al"
														   "\""
														   ":"
														   "\""
														   "01"
														   "c8"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "51"
														   "\""
														   ","
														   "\""
														   "is"
														   "su"
														   "er"
														   "_k"
														   "ey"
														   "_i"
														   "d"
														   "\""
														   ":"
														   "\"" R16("60") "60606060\"}},"
																  "{\"id\":\"" R16("a2") "\",\"principal\":\"spiffe://agents.corp.example/agent/orchestrator/i-2\",\"kind\":\"agent\","
																			 "\"method\":\"writCert\",\"auth_digest\":\"" R32(
																				 "12") "\",\"granted_at\":\"2026-11-23T20:41:39Z\","
																				       "\"not_after\":\"2026-11-23T21:51:35Z\",\"depth\":0,\"scope_digest\":\"" R32("22") "\",\"cert\":{\"sha256\":\"" R32("42") "\",\"serial\":\"01c85252525252525252525252525252\",\"issuer_key_id\":\"" R16("60") "60606060\"}}],"
																																														     "\"policy\":{\"id\":\"finance-agents\",\"digest\":\"" R32(
																																															     "70") "\"},"
																																																   "\"context\":{\"type\":\"prompt-v1\",\"digest\":\"" R32(
																																																	   "71") "\"},"
																																																		 "\"attestation\":{\"type\":\"tpm2-quote\",\"digest\":\"" R32("72") "\",\"verified_at\":\"2026-11-23T20:51:32Z\"},"
																																																										    "\"log\":{\"id\":\"7777777777777777\",\"index\":4711,\"leaf_hash\":\"" R32("99") "\"},"
																																																																				     "\"serial\":\"01c8620b0c0d0e0f1011121314151617\",\"leaf_sha256\":\"%s\"}}",
		x5t, digest);
	canonical = json_dumps(json, JSON_COMPACT); /* jansson keeps the order */
	assert_string_equal(canonical, want);
	free(canonical);
	json_decref(json);
	writ_buf_done(&text);
	writ_buf_done(&b64);
}

static void
what_is_absent_is_null_in_json(void **state)
{
	struct leaf_facts facts = make_facts(&pki, 1);
	struct delegation d = make_delegation(1);
	struct writ_buf text = WRIT_BUF(65536);
	struct writ_bytes der;
	struct leaf leaf;
	json_t *json, *writ;

	(void)state;
	d.purpose.len = 0;
	facts.delegation = make_delegation_der(&d);
	der = make_leaf_of(&pki, make_tbs(&pki, &facts));
	writ_arena_clear(&arena);
	expect_ok(leaf_read(der, &arena, &leaf));
	expect_ok(leaf_json(&leaf, der, &text));
	json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	writ = json_object_get(json, "writ");
	assert_true(json_is_null(json_object_get(writ, "purpose")));
	assert_true(json_is_null(json_object_get(writ, "context")));
	assert_true(json_is_null(json_object_get(writ, "attestation")));
	assert_null(json_object_get(json_object_get(json, "act"), "act")); /* one hop: nobody between */
	json_decref(json);
	writ_buf_done(&text);
}

static void
a_text_that_does_not_fit_is_an_error_not_half_a_text(void **state)
{
	struct writ_buf text = WRIT_BUF(300);
	struct writ_bytes der;
	struct writ_err *err;
	struct leaf leaf;

	(void)state;
	der = a_full_leaf(&leaf);
	err = leaf_tell(&leaf, NOW, &text);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_EXHAUSTED);
	writ_err_free(err);
	writ_buf_clear(&text);
	err = leaf_json(&leaf, der, &text);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_EXHAUSTED);
	writ_err_free(err);
	writ_buf_done(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_with_all_its_status_is_accepted_for_every_kind_of_anchor),
		cmocka_unit_test(validity_includes_both_its_ends),
		cmocka_unit_test(each_break_in_the_path_is_refused_by_name),
		cmocka_unit_test(a_path_length_of_0_at_the_anchor_allows_no_issuing_ca),
		cmocka_unit_test(software_custody_is_refused_unless_it_is_allowed),
		cmocka_unit_test(status_that_is_demanded_must_be_there),
		cmocka_unit_test(revoked_is_refused_however_it_is_said),
		cmocka_unit_test(a_crl_that_proves_nothing_is_refused),
		cmocka_unit_test(we_must_be_among_the_audience),
		cmocka_unit_test(a_leaf_is_told_a_fact_a_line),
		cmocka_unit_test(what_has_expired_or_has_no_status_is_told_so),
		cmocka_unit_test(a_leaf_as_json_has_the_names_of_delegation_md_6_3),
		cmocka_unit_test(what_is_absent_is_null_in_json),
		cmocka_unit_test(a_text_that_does_not_fit_is_an_error_not_half_a_text),
	};
	const int failed = cmocka_run_group_tests(tests, set_up, NULL);

	writ_arena_done(&arena);
	return failed;
}
