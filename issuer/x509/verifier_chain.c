/*
 * One chain, end to end, in the order of delegation.md 6.1.  Cheap refusals stand before signatures, and nothing is
 * handed out before the last step.
 */
#include "issuer/x509/agent.h"
#include "issuer/x509/verifier.h"

/* ---- what is presented ---- */

struct presented {
	size_t n;
	struct writ_bytes der[WRIT_CHAIN_MAX];
	struct writ_buf room[WRIT_CHAIN_MAX]; /* of what was PEM */
};

static void
presented_done(struct presented *p)
{
	for (size_t i = 0; i < WRIT_CHAIN_MAX; i++)
		writ_buf_done(&p->room[i]);
}

/* One argument: a DER certificate, or PEM with one; the first may hold several. */
static enum writ_refusal
presented_add(struct presented *to, const struct writ_bytes_in *from, bool several, struct writ_why *why)
{
	struct writ_bytes rest = { from->data, from->len };
	size_t found = 0;

	if (!from->data || from->len == 0 || from->len > CERTIFICATE_MAX)
		return refuse(why, WRIT_REFUSED_ENCODING, "6.1.1", "certificate %zu: %zu bytes, 1 to %d can be one",
			      to->n + 1, from->data ? from->len : 0, CERTIFICATE_MAX);
	do {
		AUTO(writ_buf_done) struct writ_buf room = WRIT_BUF(CERTIFICATE_MAX);
		struct writ_bytes der;
		struct writ_err *err = next_certificate(&rest, &room, &der);

		if (err && err->code == WRIT_NOT_FOUND && found) {
			writ_err_free(err);
			return WRIT_OK;
		}
		if (err)
			return refuse_err(why, WRIT_REFUSED_ENCODING, "6.1.1", to->n ? "issuing CA" : "leaf", err);
		if (to->n == WRIT_CHAIN_MAX)
			return refuse(why, WRIT_REFUSED_ENCODING, "6.1.1", "more than %d certificates", WRIT_CHAIN_MAX);
		to->room[to->n] = room;
		to->der[to->n++] = der;
		room = (struct writ_buf){ 0 };
		found++;
	} while (several && rest.len);
	return WRIT_OK;
}

static enum writ_refusal
presented_take(const struct writ_presented *from, struct presented *ret, struct writ_why *why)
{
	for (size_t i = 0; i < from->n; i++) {
		const enum writ_refusal no = presented_add(ret, &from->certificate[i], i == 0, why);

		if (no)
			return no;
	}
	return WRIT_OK;
}

/*
 * The leaf's issuing CA: among those presented, then among those kept.  `*ret` is one of ours, or `fresh`, read and not
 * yet verified.  What is presented and is not it - the anchor, an owner's root - is passed over; when nothing is it,
 * the first that was presented is what we say why of.
 */
static enum writ_refusal
issuing_find(struct writ_verifier *v, const struct presented *p, const struct leaf *leaf, writ_time now,
	     struct authority *fresh, struct authority **ret, struct writ_why *why)
{
	enum writ_refusal first = WRIT_OK;
	struct writ_why first_why = { 0 };

	for (size_t i = 1; i < p->n; i++) {
		struct authority *known = issuing_same(v, p->der[i]);
		struct writ_why *say = first ? NULL : &first_why;
		enum writ_refusal no;
		struct writ_err *err = known ? NULL : authority_read(p->der[i], fresh);

		if (err) {
			no = issuing_unread(p->der[i], err, say);
		} else {
			*ret = known ? known : fresh;
			no = verify_issued_by(leaf, &(*ret)->cert, say);
			if (!no)
				return WRIT_OK;
			authority_done(fresh);
		}
		first = first ? first : no;
	}
	*ret = NULL;
	for (size_t i = 0; i < v->n_issuing; i++) {
		if (verify_issued_by(leaf, &v->issuing[i].cert, NULL))
			continue;
		*ret = &v->issuing[i];
		if (!verify_ca_now("", &(*ret)->cert, now, NULL)) /* one certified anew is there twice for a while */
			return WRIT_OK;
	}
	if (*ret)
		return WRIT_OK;
	if (!first)
		return refuse(why, WRIT_REFUSED_PATH, "6.1.1",
			      "leaf: its issuing CA was not presented, and none that is kept is it");
	if (why)
		*why = first_why;
	return first;
}

/* Steps 1 to 3.  A fresh issuing CA that is verified is kept, also when the leaf is not what it should be (1). */
static enum writ_refusal
path_check(struct writ_verifier *v, const struct leaf *leaf, struct authority **issuing, writ_time now,
	   struct writ_why *why)
{
	struct authority *ca = *issuing;
	const struct authority *anchor = anchor_above(v, &ca->cert, now, why);
	const bool kept = ca >= v->issuing && ca < v->issuing + ISSUING_MAX;
	enum writ_refusal no;

	if (!anchor)
		return WRIT_REFUSED_PATH;
	if (!writ_equal(leaf->trust_domain, writ_str(anchor->trust_domain)))
		return refuse(why, WRIT_REFUSED_TRUST_DOMAIN, "6.1.2",
			      "leaf: trust domain '%.*s', but this anchor is trusted for '%s' only",
			      WRIT_FMT(leaf->trust_domain), anchor->trust_domain);
	if (leaf->tier == LEAF_TIER_SOFTWARE && !v->options[WRIT_ALLOW_SOFTWARE])
		return refuse(why, WRIT_REFUSED_SOFTWARE, "6.1.1",
			      "leaf: its issuing key is kept in software (cp-software), which is not allowed here");
	no = verify_path(leaf, &ca->cert, &anchor->cert, now, why);
	if (!no && (!kept || ca->anchor != (size_t)(anchor - v->anchors)))
		no = issuing_signature(ca, anchor, why);
	if (no)
		return no;
	if (!kept)
		*issuing = ca = issuing_keep(v, ca, anchor, now);
	ca->anchor = (size_t)(anchor - v->anchors);
	ca->used = ++v->turn;
	return verify_signature("leaf", &ca->key, leaf->signature_kind, leaf->tbs, leaf->signature, WRIT_REFUSED_PATH,
				"6.1.1", why);
}

/* ---- what we demand ---- */

/* Step 6. */
static enum writ_refusal
audience_check(const struct writ_verifier *v, const struct texts *audience, struct writ_why *why)
{
	if (v->options[WRIT_ANY_AUDIENCE])
		return WRIT_OK;
	for (size_t i = 0; i < v->n_identities; i++)
		for (size_t j = 0; j < audience->n; j++)
			if (resource_covers(audience->list[j], writ_str(v->identities[i])))
				return WRIT_OK;
	if (v->n_identities == 1)
		return refuse(why, WRIT_REFUSED_AUDIENCE, "6.1.6", "leaf: we are '%s', and not among its audience",
			      v->identities[0]);
	return refuse(why, WRIT_REFUSED_AUDIENCE, "6.1.6",
		      "leaf: we are '%s' and %zu more, and none is among its audience", v->identities[0],
		      v->n_identities - 1);
}

static enum writ_refusal
acr_check(const struct writ_verifier *v, const struct hop *root, struct writ_why *why)
{
	if (v->n_acrs == 0)
		return WRIT_OK;
	for (size_t i = 0; i < v->n_acrs; i++)
		if (writ_equal(root->acr, writ_str(v->acrs[i])))
			return WRIT_OK;
	if (root->acr.len == 0)
		return refuse(why, WRIT_REFUSED_DEMAND, "6.1.7", "hop 1: no level of authentication (acr) is stated");
	return refuse(why, WRIT_REFUSED_DEMAND, "6.1.7", "hop 1: authenticated at level '%.*s', which is not enough",
		      WRIT_FMT(root->acr));
}

/* Step 7. */
static enum writ_refusal
demands_check(const struct writ_verifier *v, const struct delegation *d, struct writ_why *why)
{
	const struct hop *root = &d->hops[0];
	bool policy_ok = v->n_policies == 0;

	for (size_t i = 0; i < v->n_policies && !policy_ok; i++)
		policy_ok = writ_equal(d->policy_digest, (struct writ_bytes){ v->policies[i], 32 });
	if (!policy_ok)
		return refuse(why, WRIT_REFUSED_POLICY, "6.1.7",
			      "leaf: made under policy '%.*s', whose digest is not among the %zu accepted",
			      WRIT_FMT(d->policy_id), v->n_policies);
	if (v->options[WRIT_DEMAND_HUMAN] && root->kind != PRINCIPAL_HUMAN)
		return refuse(why, WRIT_REFUSED_DEMAND, "6.1.7", "hop 1: the root is a %s, a human is demanded",
			      principal_kind_name(root->kind));
	if (d->n_hops > (size_t)v->options[WRIT_HOPS_MAX])
		return refuse(why, WRIT_REFUSED_DEMAND, "6.1.7", "leaf: %zu hops, at most %d are accepted", d->n_hops,
			      v->options[WRIT_HOPS_MAX]);
	if (v->options[WRIT_DEMAND_ATTESTED] && d->attestation_type.len == 0)
		return refuse(why, WRIT_REFUSED_DEMAND, "6.1.7", "leaf: an attestation is demanded, and it has none");
	return acr_check(v, root, why);
}

enum writ_refusal
writ_verify(struct writ_verifier *v, const struct writ_presented *from, int64_t now, struct writ_agent **ret,
	    struct writ_why *why)
{
	AUTO(presented_done) struct presented presented = { 0 };
	AUTO(authority_done) struct authority fresh = { 0 };
	AUTO(writ_agent_freep) struct writ_agent *agent = NULL;
	struct authority *issuing = NULL;
	struct writ_bytes ocsp;
	enum writ_refusal no;
	writ_time until;

	if (ret)
		*ret = NULL;
	if (!v || !from || !ret || from->n < 1 || from->n > WRIT_CHAIN_MAX)
		return refuse(why, WRIT_REFUSED_MISUSE, "",
			      "verify: no verifier, no result, or not 1 to 4 certificates");
	if (v->n_anchors == 0)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "verify: no anchor is configured");
	if (!time_is_sane(now))
		return refuse(why, WRIT_REFUSED_MISUSE, "", NO_SUCH_TIME);
	if (v->n_identities == 0 && !v->options[WRIT_ANY_AUDIENCE])
		return refuse(why, WRIT_REFUSED_MISUSE, "",
			      "verify: no identity of our own is configured, so no audience can name it");
	ocsp = (struct writ_bytes){ from->ocsp.data, from->ocsp.data ? from->ocsp.len : 0 };
	no = presented_take(from, &presented, why);
	if (!no)
		no = agent_read(presented.der[0], &agent, why); /* step 1's profile, 3 and 4 */
	if (!no)
		no = issuing_find(v, &presented, &agent->leaf, now, &fresh, &issuing, why);
	if (!no)
		no = path_check(v, &agent->leaf, &issuing, now, why);
	if (no)
		return no;
	until = agent->leaf.not_after; /* the issuing CA ends no sooner (I5) */
	if (v->anchors[issuing->anchor].cert.not_after < until)
		until = v->anchors[issuing->anchor].cert.not_after;
	no = status_check(v, &agent->leaf, issuing, ocsp, now, &until, why);
	if (!no)
		no = audience_check(v, &agent->leaf.delegation.grant.audience, why);
	if (!no)
		no = demands_check(v, &agent->leaf.delegation, why);
	if (!no)
		no = agent_finish(agent, until, why);
	if (no)
		return no;
	*ret = TAKE(agent);
	return WRIT_OK;
}
