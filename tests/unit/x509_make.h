/*
 * A small PKI for tests: an anchor, an issuing CA, a responder, an agent's key, a delegation and a leaf, all made by
 * our writers and signed by OpenSSL; and an editor that changes one element of DER and mends the lengths around it, so
 * that each test breaks one thing. Memory is policy_make.h's arena.
 */
#ifndef WRIT_TESTS_X509_MAKE_H
#define WRIT_TESTS_X509_MAKE_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/der.h"
#include "base/digest.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/verify.h"
#include "tests/unit/policy_make.h"

#define NOW INT64_C(1795467097) /* 2026-11-23T20:51:37Z */
#define TRUST_DOMAIN "agents.corp.example"
#define CRL_URL "http://status.corp.example/crl/issuing.crl"
#define ANCHOR_CRL_URL "http://status.corp.example/crl/anchor.crl"
#define OCSP_URL "http://status.corp.example/ocsp"
#define ERP "https://erp.corp.example"
#define BYTES(array) ((struct writ_bytes){ (array), sizeof(array) })

/* Keeps a buffer's bytes until the program ends. */
static inline struct writ_bytes
make_keep(struct writ_buf *buf)
{
	const struct writ_bytes kept = writ_arena_copy(&make_arena, writ_view(buf));

	assert_non_null(kept.data);
	writ_buf_done(buf);
	return kept;
}

static inline struct writ_bytes
make_bytes(uint8_t value, size_t len)
{
	uint8_t *bytes = make_room(len + 1);

	memset(bytes, value, len);
	return (struct writ_bytes){ bytes, len };
}

static inline struct writ_bytes
make_joined(struct writ_bytes a, struct writ_bytes b)
{
	uint8_t *both = make_room(a.len + b.len + 1);

	if (a.len)
		memcpy(both, a.data, a.len);
	if (b.len)
		memcpy(both + a.len, b.data, b.len);
	return (struct writ_bytes){ both, a.len + b.len };
}

/* ---- DER, edited ---- */

static inline struct writ_bytes
make_element(uint8_t tag, struct writ_bytes contents)
{
	struct writ_buf buf = WRIT_BUF(256 * 1024);
	struct der_out out = der_write(&buf);

	der_put(&out, tag, contents);
	expect_ok(der_finish(&out, "element"));
	return make_keep(&buf);
}

enum edit { REPLACE, BEFORE, AFTER };

/*
 * `path` leads to an element by the numbers of children, "7.0.2": through SEQUENCEs, SETs, tags, and OCTET STRINGs that
 * hold DER. REPLACE with nothing deletes.
 */
static inline struct writ_bytes
edited(struct writ_bytes whole, const char *path, enum edit edit, struct writ_bytes with)
{
	struct der in = der_read(whole), inner;
	struct writ_bytes contents = { 0 }, child;
	const uint8_t tag = *whole.data;
	char *rest;
	unsigned long wanted;
	uint8_t any;

	if (*path == '\0')
		return edit == REPLACE ? with : edit == BEFORE ? make_joined(with, whole) : make_joined(whole, with);
	wanted = strtoul(path, &rest, 10);
	assert_true(der_take(&in, tag, &inner));
	for (unsigned long i = 0; !der_at_end(&inner); i++) {
		assert_true(der_take_any(&inner, &any, &child));
		if (i == wanted)
			child = edited(child, *rest == '.' ? rest + 1 : rest, edit, with);
		contents = make_joined(contents, child);
		if (der_at_end(&inner) && i < wanted)
			fail_msg("no element at %s", path);
	}
	return make_element(tag, contents);
}

static inline struct writ_bytes
element_at(struct writ_bytes whole, const char *path)
{
	struct der in = der_read(whole), inner;
	struct writ_bytes child = { 0 };
	char *rest;
	unsigned long wanted;
	uint8_t any;

	if (*path == '\0')
		return whole;
	wanted = strtoul(path, &rest, 10);
	assert_true(der_take(&in, *whole.data, &inner));
	for (unsigned long i = 0; i <= wanted; i++)
		assert_true(der_take_any(&inner, &any, &child));
	return element_at(child, *rest == '.' ? rest + 1 : rest);
}

/* ---- keys ---- */

struct test_key {
	EVP_PKEY *pkey;
	enum key_kind kind;
	struct writ_bytes spki;
	uint8_t id[20];
};

/* Reachable until the program ends, like all that is made here. */
static EVP_PKEY *make_keys[256];
static size_t n_make_keys;

static inline struct test_key
make_key(enum key_kind kind)
{
	struct test_key key = { .kind = kind };
	unsigned char *der = NULL;
	int len;

	key.pkey = kind == KEY_P256   ? EVP_EC_gen("P-256")
		   : kind == KEY_P384 ? EVP_EC_gen("P-384")
				      : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_non_null(key.pkey);
	assert_true(n_make_keys < N_OF(make_keys));
	make_keys[n_make_keys++] = key.pkey;
	len = i2d_PUBKEY(key.pkey, &der);
	assert_true(len > 0);
	key.spki = writ_arena_copy(&make_arena, (struct writ_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	expect_ok(ca_key_id(key.spki, key.id));
	return key;
}

static inline struct writ_bytes
make_signature_with(EVP_PKEY *pkey, const char *md, struct writ_bytes message)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *sig = make_room(1024);
	size_t len = 1024;

	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, pkey, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, sig, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(ctx);
	return (struct writ_bytes){ sig, len };
}

static inline struct writ_bytes
make_signature(const struct test_key *key, struct writ_bytes message)
{
	return make_signature_with(key->pkey,
				   key->kind == KEY_P256   ? "SHA256"
				   : key->kind == KEY_P384 ? "SHA384"
							   : NULL,
				   message);
}

static inline struct writ_bytes
make_signed(const struct test_key *key, struct writ_bytes tbs)
{
	struct writ_buf buf = WRIT_BUF(64 * 1024 * 1024);

	expect_ok(x509_assemble(tbs, key->kind, make_signature(key, tbs), &buf));
	return make_keep(&buf);
}

/* ---- the PKI ---- */

struct pki {
	struct test_key anchor_key, issuing_key, ocsp_key, agent_key;
	struct writ_bytes anchor, issuing, responder; /* certificates */
	struct writ_bytes anchor_name, issuing_name;  /* DER */
};

static inline struct writ_bytes
make_ca_name(enum ca_role role, const struct test_key *key)
{
	struct writ_buf buf = WRIT_BUF(1024);

	expect_ok(ca_name(role, WRIT_LIT(TRUST_DOMAIN), key->id, &buf));
	return make_keep(&buf);
}

static inline struct ca_facts
anchor_facts(const struct pki *pki)
{
	return (struct ca_facts){
		.role = CA_ANCHOR,
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.serial = { 1, 0xc8 },
		.spki = pki->anchor_key.spki,
		.issuer_kind = pki->anchor_key.kind,
		.not_before = NOW - 30,
		.not_after = NOW + INT64_C(10) * 365 * 86400,
	};
}

static inline struct ca_facts
issuing_facts(const struct pki *pki)
{
	return (struct ca_facts){
		.role = CA_ISSUING,
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.serial = { 1, 0xc8, 1 },
		.spki = pki->issuing_key.spki,
		.issuer_name = pki->anchor_name,
		.issuer_spki = pki->anchor_key.spki,
		.issuer_kind = pki->anchor_key.kind,
		.not_before = NOW - 30,
		.not_after = NOW + 4 * 3600 + 1200,
		.tier = LEAF_TIER_SEALED,
		.crl_url = WRIT_LIT(ANCHOR_CRL_URL),
		.ca_url = WRIT_LIT("http://status.corp.example/ca/anchor.cer"),
	};
}

static inline struct ca_facts
responder_facts(const struct pki *pki)
{
	return (struct ca_facts){
		.role = CA_OCSP,
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.serial = { 1, 0xc8, 2 },
		.spki = pki->ocsp_key.spki,
		.issuer_name = pki->issuing_name,
		.issuer_spki = pki->issuing_key.spki,
		.issuer_kind = pki->issuing_key.kind,
		.not_before = NOW - 30,
		.not_after = NOW + 3599,
	};
}

static inline struct writ_bytes
make_ca(const struct ca_facts *facts, const struct test_key *signer)
{
	struct writ_buf tbs = WRIT_BUF(CA_CERT_MAX);

	expect_ok(ca_build_tbs(facts, &tbs));
	return make_signed(signer, make_keep(&tbs));
}

static inline struct pki
make_pki_with(enum key_kind anchor_kind, enum key_kind agent_kind)
{
	struct pki pki = { .anchor_key = make_key(anchor_kind),
			   .issuing_key = make_key(KEY_P256),
			   .ocsp_key = make_key(KEY_P256),
			   .agent_key = make_key(agent_kind) };
	struct ca_facts facts;

	pki.anchor_name = make_ca_name(CA_ANCHOR, &pki.anchor_key);
	pki.issuing_name = make_ca_name(CA_ISSUING, &pki.issuing_key);
	facts = anchor_facts(&pki);
	pki.anchor = make_ca(&facts, &pki.anchor_key);
	facts = issuing_facts(&pki);
	pki.issuing = make_ca(&facts, &pki.anchor_key);
	facts = responder_facts(&pki);
	pki.responder = make_ca(&facts, &pki.issuing_key);
	return pki;
}

static inline struct pki
make_pki(void)
{
	return make_pki_with(KEY_P256, KEY_P256);
}

/* ---- delegation and leaf ---- */

/* Hop 0 a human, the others agents; each a little tighter than the one before it. */
static inline struct hop
make_hop(unsigned i, unsigned n)
{
	char *principal = make_room(128);
	struct hop hop = {
		.id = make_bytes((uint8_t)(0xa0 + i), EDGE_ID),
		.kind = i == 0 ? PRINCIPAL_HUMAN : PRINCIPAL_AGENT,
		.method = i == 0 ? AUTH_OIDC_ID_TOKEN : AUTH_WRIT_CERT,
		.auth_digest = make_bytes((uint8_t)(0x10 + i), 32),
		.granted_at = NOW - 600 + i,
		.not_after = NOW + 3600 - i,
		.depth_remaining = n - 1 - i,
		.scope_digest = make_bytes((uint8_t)(0x20 + i), 32),
	};

	if (i == 0) {
		hop.authority = WRIT_LIT("https://login.corp.example");
		hop.auth_time = NOW - 700;
		hop.acr = WRIT_LIT("phr");
		hop.grant = make_bytes(0x30, 32);
		snprintf(principal, 128, TD "/human/okta/00u1abcd");
	} else {
		hop.cert_sha256 = make_bytes((uint8_t)(0x40 + i), 32);
		hop.cert_serial = make_joined(WRIT_LIT("\x01\xc8"), make_bytes((uint8_t)(0x50 + i), 14));
		hop.cert_issuer_key_id = make_bytes(0x60, 20);
		snprintf(principal, 128, TD "/agent/orchestrator/i-%u", i);
	}
	hop.principal = writ_str(principal);
	return hop;
}

static inline struct delegation
make_delegation(unsigned n_hops)
{
	struct delegation d = {
		.task_id = WRIT_LIT("0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00"),
		.purpose = WRIT_LIT("Reconcile the invoices of Q3"),
		.grant = GRANT(
			ERP, make_entitlement("invoices:list invoices:read", ERP "/v2/invoices/2026/q3/**", DELEGABLE),
			make_entitlement("ledger:write", ERP "/v2/ledger/2026", LOCAL)),
		.n_hops = n_hops,
		.policy_id = WRIT_LIT("finance-agents"),
		.policy_digest = make_bytes(0x70, 32),
	};
	struct entitlement *list = make_room(2 * sizeof(*list));

	memcpy(list, d.grant.entitlements, 2 * sizeof(*list));
	list[0].constraints = CONSTRAINTS(param_max("limit", 100));
	d.grant.entitlements = list;
	for (unsigned i = 0; i < n_hops; i++)
		d.hops[i] = make_hop(i, n_hops);
	return d;
}

static inline struct writ_bytes
make_delegation_der(const struct delegation *d)
{
	struct writ_buf buf = WRIT_BUF(DELEGATION_MAX);

	expect_ok(delegation_write(d, &buf));
	return make_keep(&buf);
}

static inline struct leaf_issuer
make_issuer(const struct pki *pki)
{
	return (struct leaf_issuer){
		.trust_domain = WRIT_LIT(TRUST_DOMAIN),
		.name = pki->issuing_name,
		.key_id = { pki->issuing_key.id, 20 },
		.kind = KEY_P256,
		.tier = LEAF_TIER_SEALED,
		.crl_url = WRIT_LIT(CRL_URL),
		.ocsp_url = WRIT_LIT(OCSP_URL),
		.log_id = make_bytes(0x77, 8),
	};
}

static inline struct leaf_facts
make_facts(const struct pki *pki, unsigned n_hops)
{
	const struct delegation d = make_delegation(n_hops);

	return (struct leaf_facts){
		.spki = pki->agent_key.spki,
		.task_id = d.task_id,
		.san = WRIT_LIT(TD "/agent/invoice-bot/i-9c1b44"),
		.not_before = NOW - 30,
		.not_after = NOW + 900 - 1,
		.delegation = make_delegation_der(&d),
	};
}

static inline struct writ_bytes
make_tbs(const struct pki *pki, const struct leaf_facts *facts)
{
	const struct leaf_issuer issuer = make_issuer(pki);
	struct writ_buf buf = WRIT_BUF(LEAF_MAX);

	expect_ok(leaf_build(&issuer, facts, &buf));
	return make_keep(&buf);
}

#define LEAF_SERIAL_BYTES WRIT_LIT("\x01\xc8\x62\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17")

/* What the signer does: serial and log reference filled in, then the signature. */
static inline struct writ_bytes
make_leaf_of(const struct pki *pki, struct writ_bytes tbs)
{
	struct writ_arena arena = WRIT_ARENA(64 * 1024);
	const struct writ_bytes filled = writ_arena_copy(&make_arena, tbs);
	struct leaf leaf;
	uint8_t hash[32];

	expect_ok(leaf_read_tbs(filled, &arena, &leaf));
	memset(hash, 0x99, sizeof(hash));
	leaf_fill((uint8_t *)(uintptr_t)filled.data, &leaf, LEAF_SERIAL_BYTES.data, 4711, hash);
	writ_arena_done(&arena);
	return make_signed(&pki->issuing_key, filled);
}

static inline struct writ_bytes
make_leaf(const struct pki *pki)
{
	const struct leaf_facts facts = make_facts(pki, 2);

	return make_leaf_of(pki, make_tbs(pki, &facts));
}

/* ---- rows of refusals ---- */

/* 0 when the error is WRIT_INVALID with that message; else 1, and what was said instead is printed: a table shows all
 * its breaches at once. */
static inline unsigned
breach(const char *row, struct writ_err *err, const char *message)
{
	char text[1000] = "(accepted)";
	const bool invalid = err && err->code == WRIT_INVALID;

	if (err)
		writ_err_text(err, text, sizeof(text));
	writ_err_free(err);
	if (invalid && strcmp(text, message) == 0)
		return 0;
	print_error("%s:\n    wanted: %s\n    got%s: %s\n", row, message, invalid ? "" : " (not INVALID)", text);
	return 1;
}

/* One element changed, and what the reader then says. */
struct change {
	const char *row;
	const char *path;
	enum edit edit;
	struct writ_bytes with;
	const char *message;
};

/* ---- OpenSSL's reading of it ---- */

static inline X509 *
openssl_cert(struct writ_bytes der)
{
	const unsigned char *at = der.data;
	X509 *cert = d2i_X509(NULL, &at, (long)der.len);

	assert_non_null(cert);
	assert_ptr_equal(at, der.data + der.len);
	return cert;
}

#endif
