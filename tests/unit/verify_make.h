/*
 * One chain checked once, as most tests want it: a verifier of writ.h made from one anchor, its lists and one identity,
 * and thrown away.  Refusals come back as errors, "chain: " before their text, so that tables of them read like others.
 */
#ifndef WRIT_TESTS_VERIFY_MAKE_H
#define WRIT_TESTS_VERIFY_MAKE_H

#include "issuer/x509/verify.h"
#include "tests/unit/expect.h"

struct verify_with {
	struct writ_bytes anchor;
	struct writ_bytes trust_domain;
	writ_time now;
	bool allow_software;
	struct writ_bytes crl, anchor_crl, ocsp; /* empty: none is given, and none demanded */
	bool demand_status;
	struct writ_bytes audience; /* empty: any */
};

/* The lists of a CA are given once the CA is known. */
static inline enum writ_refusal
verify_prepare(struct writ_verifier *v, struct writ_bytes issuing, const struct verify_with *with, struct writ_why *why)
{
	const bool demand = with->demand_status || with->crl.len > 0;
	char trust_domain[80], audience[600];
	enum writ_refusal no;

	snprintf(trust_domain, sizeof(trust_domain), "%.*s", WRIT_FMT(with->trust_domain));
	snprintf(audience, sizeof(audience), "%.*s", (int)with->audience.len,
		 with->audience.len ? (const char *)with->audience.data : "");
	assert_int_equal(writ_verifier_set(v, WRIT_DEMAND_STATUS, demand, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_ALLOW_SOFTWARE, with->allow_software, NULL), WRIT_OK);
	assert_int_equal(writ_verifier_set(v, WRIT_ANY_AUDIENCE, with->audience.len == 0, NULL), WRIT_OK);
	no = writ_verifier_anchor(v, with->anchor.data ? with->anchor.data : (const uint8_t *)"", with->anchor.len,
				  trust_domain, why);
	if (!no && with->audience.len)
		no = writ_verifier_identity(v, audience, why);
	if (!no && with->crl.len)
		no = writ_verifier_issuing(v, issuing.data, issuing.len, with->now, why);
	if (!no && with->crl.len)
		no = writ_verifier_crl(v, with->crl.data, with->crl.len, with->now, why);
	if (!no && with->anchor_crl.len)
		no = writ_verifier_crl(v, with->anchor_crl.data, with->anchor_crl.len, with->now, why);
	return no;
}

/* On success `*ret` is the leaf, read into `arena`. */
static inline struct writ_err *
verify_chain(struct writ_bytes certificate, struct writ_bytes issuing, const struct verify_with *with,
	     struct writ_arena *arena, struct leaf *ret)
{
	const struct writ_presented presented = {
		.n = 2,
		.certificate = { { certificate.data, certificate.len }, { issuing.data, issuing.len } },
		.ocsp = { with->ocsp.data, with->ocsp.len },
	};
	struct writ_verifier *v = writ_verifier_new();
	struct writ_agent *agent = NULL;
	struct writ_why why = { 0 };
	enum writ_refusal no;

	assert_non_null(v);
	no = verify_prepare(v, issuing, with, &why);
	if (!no)
		no = writ_verify(v, &presented, with->now, &agent, &why);
	writ_agent_free(agent);
	writ_verifier_free(v);
	return no ? writ_fail(WRIT_INVALID, "chain: %s", why.text) : leaf_read(certificate, arena, ret);
}

#endif
