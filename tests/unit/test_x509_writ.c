/* libwrit as a relying party uses it: every code it refuses with, and what each setting changes (delegation.md 6.1). */
#include <jansson.h>

#include "base/text.h"
#include "tests/unit/x509_make.h"

#define HUMAN TD "/human/okta/00u1abcd"
#define AGENT TD "/agent/invoice-bot/i-9c1b44"
#define Q3 ERP "/v2/invoices/2026/q3/17"

static struct pki pki;
static struct writ_bytes leaf_der;
static struct writ_why why;

static int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	leaf_der = make_leaf(&pki);
	return 0;
}

/* ---- what is given to it ---- */

/* One anchor, one identity, no status demanded: what each test then changes. */
static struct writ_verifier *
make_verifier(void)
{
	struct writ_verifier *v = writ_verifier_new();

	assert_non_null(v);
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	return v;
}

static struct writ_presented
presented(struct writ_bytes leaf, struct writ_bytes issuing)
{
	return (struct writ_presented){ .n = issuing.len ? 2 : 1,
					.certificate = { { leaf.data, leaf.len }, { issuing.data, issuing.len } } };
}

/* "OK", or "REVOKED 6.1.5 | leaf: revoked ..." */
static const char *
line(enum writ_refusal refusal)
{
	static char text[600];

	if (refusal == WRIT_OK)
		return "OK";
	snprintf(text, sizeof(text), "%s %s | %s", writ_refusal_name(refusal), why.rule, why.text);
	return text;
}

static const char *
verified_at(struct writ_verifier *v, struct writ_bytes leaf, struct writ_bytes issuing, struct writ_bytes ocsp,
	    writ_time now, writ_time *ret_expires_at)
{
	struct writ_presented p = presented(leaf, issuing);
	struct writ_agent *agent;
	enum writ_refusal no;

	p.ocsp = (struct writ_bytes_in){ ocsp.data, ocsp.len };
	memset(&why, 0, sizeof(why));
	no = writ_verify(v, &p, now, &agent, &why);
	assert_true((no == WRIT_OK) == (agent != NULL));
	assert_true((no == WRIT_OK) == (why.text[0] == '\0'));
	if (agent && ret_expires_at)
		*ret_expires_at = writ_agent_expires_at(agent);
	writ_agent_free(agent);
	return line(no);
}

static const char *
verified(struct writ_verifier *v, struct writ_bytes leaf)
{
	return verified_at(v, leaf, pki.issuing, (struct writ_bytes){ 0 }, NOW, NULL);
}

static struct writ_bytes
leaf_with(const struct delegation *d)
{
	struct leaf_facts facts = make_facts(&pki, 2);

	facts.delegation = make_delegation_der(d);
	return make_leaf_of(&pki, make_tbs(&pki, &facts));
}

/* The leaf with one element of its TBSCertificate changed, signed again: what a careless issuer might mint. */
static struct writ_bytes
minted(const char *path, enum edit edit, struct writ_bytes with)
{
	return make_signed(&pki.issuing_key, edited(element_at(leaf_der, "0"), path, edit, with));
}

struct list_facts {
	const struct test_key *key; /* NULL: the issuing CA's */
	struct writ_bytes name, serial, url;
	const uint8_t *edge;
	uint64_t number;
	writ_time this_update; /* 0: NOW - 30; nextUpdate 210 s later */
};

static struct writ_bytes
make_list(const struct list_facts *from)
{
	const struct test_key *key = from->key ? from->key : &pki.issuing_key;
	const writ_time begin = from->this_update ? from->this_update : NOW - 30;
	struct writ_buf entries = WRIT_BUF(CRL_ENTRY_MAX), tbs = WRIT_BUF(65536);
	struct crl_facts facts = {
		.issuer_name = from->name.len ? from->name : pki.issuing_name,
		.issuer_key_id = { key->id, 20 },
		.kind = key->kind,
		.number = from->number ? from->number : 1,
		.this_update = begin,
		.next_update = begin + 210,
		.n_edges = from->edge ? 1 : 0,
		.edges = (const uint8_t(*)[EDGE_ID])from->edge,
		.idp_url = from->url,
	};

	if (from->serial.len)
		expect_ok(crl_entry_write(from->serial, NOW - 10, REASON_KEY_COMPROMISE, &entries));
	facts.entries = writ_view(&entries);
	expect_ok(crl_build_tbs(&facts, &tbs));
	writ_buf_done(&entries);
	return make_signed(key, make_keep(&tbs));
}

static const char *
given(struct writ_verifier *v, struct writ_bytes crl)
{
	memset(&why, 0, sizeof(why));
	return line(writ_verifier_crl(v, crl.data, crl.len, NOW, &why));
}

static void
know_issuing(struct writ_verifier *v)
{
	assert_string_equal(line(writ_verifier_issuing(v, pki.issuing.data, pki.issuing.len, NOW, &why)), "OK");
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
				    .responder_key_id = { pki.ocsp_key.id, 20 },
				    .responder_cert = pki.responder,
				    .kind = KEY_P256 };

	expect_ok(ocsp_issuer_init(pki.issuing_name, pki.issuing_key.spki, &issuer));
	expect_ok(ocsp_request_build(&issuer, false, LEAF_SERIAL_BYTES, (struct writ_bytes){ 0 }, &req));
	expect_ok(ocsp_request_parse(writ_view(&req), &request));
	facts.cert_id = request.cert_id;
	expect_ok(ocsp_build_tbs(&facts, &tbs));
	expect_ok(ocsp_assemble(writ_view(&tbs), KEY_P256, make_signature(&pki.ocsp_key, writ_view(&tbs)),
				pki.responder, &buf));
	writ_buf_done(&req);
	writ_buf_done(&tbs);
	return make_keep(&buf);
}

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

static struct writ_bytes
pem_of(const char *label, struct writ_bytes der, struct writ_bytes before)
{
	struct writ_buf text = WRIT_BUF(65536);

	expect_ok(writ_buf_add(&text, before));
	expect_ok(pem_write(label, der, &text));
	return make_keep(&text);
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

/* ---- step 5 ---- */

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
			    "STATUS 6.1.5 | leaf: its status is demanded, and neither a CRL nor an OCSP response is "
			    "given");
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
	writ_time at;

	(void)state;
	memset(serial, 1, sizeof(serial));
	for (unsigned i = 0; i < N; i++) { /* 7919 is prime: every even number once, in no order */
		writ_put32(serial + 4, i * 7919U % N * 2);
		expect_ok(crl_entry_write(BYTES(serial), NOW - i, REASON_SUPERSEDED, &entries));
	}
	facts.entries = writ_view(&entries);
	expect_ok(crl_build_tbs(&facts, &tbs));
	expect_ok(crl_index_init(make_signed(&pki.issuing_key, make_keep(&tbs)), &index));
	for (unsigned i = 0; i < 2 * N; i++) {
		writ_put32(serial + 4, i);
		assert_int_equal(crl_index_find(&index, BYTES(serial), &at, &reason), i % 2 == 0);
		assert_int_equal(crl_find(&index.crl, BYTES(serial), &at, &reason), i % 2 == 0);
	}
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
		cmocka_unit_test(two_anchors_of_one_domain_are_trusted_while_one_is_rolled_over),
		cmocka_unit_test(what_the_caller_does_wrong_is_misuse_and_never_a_crash),
		cmocka_unit_test(every_refusal_has_a_name_of_its_own),
		cmocka_unit_test(what_is_no_leaf_of_the_profile_is_refused_by_what_is_wrong_with_it),
		cmocka_unit_test(lifetime_path_time_domain_and_custody_have_codes_of_their_own),
		cmocka_unit_test(status_is_demanded_unless_the_caller_says_otherwise),
		cmocka_unit_test(a_listed_serial_or_hop_is_refused_whatever_else_is_said),
		cmocka_unit_test(a_hop_revoked_by_another_issuing_ca_of_the_domain_is_refused_too),
		cmocka_unit_test(the_issuing_ca_is_held_against_the_anchors_list),
		cmocka_unit_test(a_list_is_taken_only_when_it_is_newer_and_its_cas_own),
		cmocka_unit_test(lists_are_forgotten_when_their_ca_has_expired_and_256_are_held_until_then),
		cmocka_unit_test(a_long_list_finds_every_serial_that_is_on_it_and_no_other),
		cmocka_unit_test(a_leaf_without_status_is_taken_as_long_as_that_is_allowed),
		cmocka_unit_test(one_of_our_identities_must_be_in_the_audience),
		cmocka_unit_test(each_demand_refuses_what_does_not_meet_it),
		cmocka_unit_test(a_request_is_allowed_by_an_entitlement_or_refused_with_the_reason),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
