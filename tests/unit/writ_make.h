/*
 * A relying party for tests of libwrit: a verifier with one anchor and one identity that demands no status, chains and
 * lists to give it, and its answers as lines.
 */
#ifndef WRIT_TESTS_WRIT_MAKE_H
#define WRIT_TESTS_WRIT_MAKE_H

#include "tests/unit/x509_make.h"

#define HUMAN TD "/human/okta/00u1abcd"
#define AGENT TD "/agent/invoice-bot/i-9c1b44"
#define Q3 ERP "/v2/invoices/2026/q3/17"

static struct pki pki;
static struct writ_bytes leaf_der;
static struct writ_why why;

static inline int
set_up(void **state)
{
	(void)state;
	pki = make_pki();
	leaf_der = make_leaf(&pki);
	return 0;
}

/* ---- what is given to it ---- */

/* One anchor, one identity, no status demanded: what each test then changes. */
static inline struct writ_verifier *
make_verifier(void)
{
	struct writ_verifier *v = writ_verifier_new();

	assert_non_null(v);
	assert_int_equal(writ_verifier_anchor(v, pki.anchor.data, pki.anchor.len, TRUST_DOMAIN, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_identity(v, ERP, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, 0, NULL), WRIT_OK);
	return v;
}

static inline struct writ_presented
presented(struct writ_bytes leaf, struct writ_bytes issuing)
{
	return (struct writ_presented){ .n = issuing.len ? 2 : 1,
					.certificate = { { leaf.data, leaf.len }, { issuing.data, issuing.len } } };
}

/* "OK", or "REVOKED 6.1.5 | leaf: revoked ..." */
static inline const char *
line(enum writ_refusal refusal)
{
	static char text[600];

	if (refusal == WRIT_OK)
		return "OK";
	snprintf(text, sizeof(text), "%s %s | %s", writ_refusal_name(refusal), why.rule, why.text);
	return text;
}

static inline const char *
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

static inline const char *
verified(struct writ_verifier *v, struct writ_bytes leaf)
{
	return verified_at(v, leaf, pki.issuing, (struct writ_bytes){ 0 }, NOW, NULL);
}

static inline struct writ_bytes
leaf_with(const struct delegation *d)
{
	struct leaf_facts facts = make_facts(&pki, 2);

	facts.delegation = make_delegation_der(d);
	return make_leaf_of(&pki, make_tbs(&pki, &facts));
}

/* The leaf with one element of its TBSCertificate changed, signed again: what a careless issuer might mint. */
static inline struct writ_bytes
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

static inline struct writ_bytes
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

static inline const char *
given(struct writ_verifier *v, struct writ_bytes crl)
{
	memset(&why, 0, sizeof(why));
	return line(writ_verifier_crl(v, crl.data, crl.len, NOW, &why));
}

static inline void
know_issuing(struct writ_verifier *v)
{
	assert_string_equal(line(writ_verifier_issuing(v, pki.issuing.data, pki.issuing.len, NOW, &why)), "OK");
}

static inline struct writ_bytes
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

static inline struct writ_bytes
pem_of(const char *label, struct writ_bytes der, struct writ_bytes before)
{
	struct writ_buf text = WRIT_BUF(65536);

	expect_ok(writ_buf_add(&text, before));
	expect_ok(pem_write(label, der, &text));
	return make_keep(&text);
}

#endif
