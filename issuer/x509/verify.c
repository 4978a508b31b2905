/*
 * A relying party's view of an agent's chain, step by step as delegation.md 6.1 numbers them.  Cheap refusals stand
 * before signatures.
 */
#include "issuer/x509/verify.h"

#include "base/pubkey.h"

struct chain {
	struct ca_cert anchor, issuing;
	struct leaf *leaf;
};

static struct writ_err *
refuse(const char *who, const char *why)
{
	return writ_fail(WRIT_INVALID, "chain: %s: %s", who, why);
}

static struct writ_err *
check_now(const char *who, writ_time not_before, writ_time not_after, writ_time now)
{
	if (now < not_before)
		return writ_fail(WRIT_INVALID, "chain: %s: not valid yet: begins in %lld s", who,
				 (long long)(not_before - now));
	if (now > not_after)
		return writ_fail(WRIT_INVALID, "chain: %s: expired %lld s ago", who, (long long)(now - not_after));
	return NULL;
}

static struct writ_err *
check_policies(const char *who, const struct ca_cert *ca, enum leaf_tier tier)
{
	if (!ca->delegated_agent)
		return refuse(who, "does not assert cp-delegatedAgent");
	for (size_t i = 0; i < ca->n_tiers; i++)
		if (ca->tiers[i] == tier)
			return NULL;
	return writ_fail(WRIT_INVALID, "chain: %s: does not assert the leaf's tier '%s'", who, leaf_tier_name(tier));
}

static struct writ_err *
check_signature(const char *who, const struct ca_cert *signer, enum key_kind kind, struct writ_bytes tbs,
		struct writ_bytes signature)
{
	AUTO(pubkey_done) struct pubkey key = { 0 };
	struct writ_err *err;

	if (kind != signer->kind)
		return refuse(who, "its signature's algorithm does not go with its issuer's key");
	err = pubkey_load(signer->spki, &key);
	if (!err)
		err = pubkey_verify(&key, tbs, signature);
	return err ? writ_because(err, "chain: %s", who) : NULL;
}

/*
 * Step 1: leaf <- issuing CA <- anchor, with nothing between (robustness 1).  The anchor is trusted because it is
 * configured: who signed it is not looked at, what it asserts is.
 */
static struct writ_err *
check_path(const struct chain *chain, writ_time now)
{
	const struct ca_cert *anchor = &chain->anchor, *issuing = &chain->issuing;
	const struct leaf *leaf = chain->leaf;
	struct writ_err *err;

	if (!anchor->is_ca)
		return refuse("anchor", "not a CA");
	if (anchor->path_len == 0)
		return refuse("anchor", "its pathLenConstraint of 0 allows no issuing CA below it");
	if (!issuing->is_ca)
		return refuse("issuing CA", "not a CA");
	if (!writ_equal(issuing->issuer, anchor->subject))
		return refuse("issuing CA", "its issuer is not the anchor by name");
	if (issuing->authority_key_id.len &&
	    memcmp(issuing->authority_key_id.data, anchor->key_id, sizeof(anchor->key_id)) != 0)
		return refuse("issuing CA", "its issuer is not the anchor by key id");
	if (!writ_equal(leaf->issuer, issuing->subject))
		return refuse("leaf", "its issuer is not the issuing CA by name");
	if (memcmp(leaf->authority_key_id.data, issuing->key_id, sizeof(issuing->key_id)) != 0)
		return refuse("leaf", "its issuer is not the issuing CA by key id");
	if (leaf->not_after > issuing->not_after)
		return refuse("leaf", "outlives its issuing CA (I5)");
	err = check_now("anchor", anchor->not_before, anchor->not_after, now);
	if (!err)
		err = check_now("issuing CA", issuing->not_before, issuing->not_after, now);
	if (!err)
		err = check_now("leaf", leaf->not_before, leaf->not_after, now);
	if (!err)
		err = check_policies("issuing CA", issuing, leaf->tier);
	if (!err)
		err = check_policies("anchor", anchor, leaf->tier);
	if (!err)
		err = check_signature("issuing CA", anchor, issuing->signature_kind, issuing->tbs, issuing->signature);
	if (!err)
		err = check_signature("leaf", issuing, leaf->signature_kind, leaf->tbs, leaf->signature);
	return err;
}

/* A CRL of `ca` that speaks of certificates with this distribution point, fresh at `now`. */
static struct writ_err *
open_crl(const char *who, struct writ_bytes der, const struct ca_cert *ca, struct writ_bytes url, writ_time now,
	 struct crl *ret)
{
	struct writ_err *err;

	err = crl_read(der, ret);
	if (err)
		return writ_because(err, "chain: %s", who);
	if (!writ_equal(ret->issuer, ca->subject))
		return refuse(who, "not of this CA by name");
	if (!writ_equal(ret->authority_key_id, (struct writ_bytes){ ca->key_id, sizeof(ca->key_id) }))
		return refuse(who, "not of this CA by key id");
	if (ret->idp_url.len && !writ_equal(ret->idp_url, url))
		return refuse(who, "a shard that does not speak of this certificate: its URL is another");
	if (!(ca->key_usage & CA_KU_CRL_SIGN))
		return refuse(who, "its CA may not sign CRLs");
	if (now < ret->this_update)
		return refuse(who, "its thisUpdate lies in the future");
	if (now > ret->next_update)
		return writ_fail(WRIT_INVALID, "chain: %s: stale: its nextUpdate was %lld s ago", who,
				 (long long)(now - ret->next_update));
	return check_signature(who, ca, ret->kind, ret->tbs, ret->signature);
}

static struct writ_err *
check_listed(const char *who, const struct crl *crl, struct writ_bytes serial)
{
	enum crl_reason reason;
	writ_time at;
	char text[WRIT_RFC3339_LEN + 1];

	if (!crl_find(crl, serial, &at, &reason))
		return NULL;
	return writ_fail(WRIT_INVALID, "chain: %s: revoked at %s (%s)", who, writ_time_rfc3339(at, text),
			 crl_reason_name((unsigned)reason));
}

/* Step 5: the leaf, and every hop: by its edge, and by the certificate that it was made with. */
static struct writ_err *
check_crl(const struct chain *chain, struct writ_bytes der, writ_time now)
{
	const struct delegation *d = &chain->leaf->delegation;
	struct crl crl;
	struct writ_err *err;

	err = open_crl("issuing CA's CRL", der, &chain->issuing, chain->leaf->crl_url, now, &crl);
	if (!err)
		err = check_listed("leaf", &crl, chain->leaf->serial);
	for (size_t i = 0; !err && i < d->n_hops; i++) {
		const struct hop *hop = &d->hops[i];

		if (crl_has_edge(&crl, hop->id))
			return writ_fail(WRIT_INVALID, "chain: hop %zu: its delegation was revoked", i + 1);
		if (writ_equal(hop->cert_issuer_key_id,
			       (struct writ_bytes){ chain->issuing.key_id, sizeof(chain->issuing.key_id) }) &&
		    crl_find(&crl, hop->cert_serial, &(writ_time){ 0 }, &(enum crl_reason){ 0 }))
			return writ_fail(WRIT_INVALID, "chain: hop %zu: the certificate it was made with was revoked",
					 i + 1);
	}
	return err;
}

static struct writ_err *
check_anchor_crl(const struct chain *chain, struct writ_bytes der, writ_time now)
{
	struct crl crl;
	struct writ_err *err;

	err = open_crl("anchor's CRL", der, &chain->anchor, chain->issuing.crl_url, now, &crl);
	return err ? err : check_listed("issuing CA", &crl, chain->issuing.serial);
}

static struct writ_err *
check_ocsp(const struct chain *chain, struct writ_bytes response, writ_time now)
{
	struct ocsp_issuer issuer;
	struct ocsp_answer answer;
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	err = ocsp_issuer_init(chain->issuing.subject, chain->issuing.spki, &issuer);
	if (!err)
		err = ocsp_response_verify(response, &issuer, chain->issuing.spki, chain->leaf->serial, now, &answer);
	if (err)
		return writ_because(err, "chain: leaf");
	if (answer.status == OCSP_REVOKED)
		return writ_fail(WRIT_INVALID, "chain: leaf: revoked at %s (%s)",
				 writ_time_rfc3339(answer.revoked_at, text), crl_reason_name(answer.reason));
	return NULL;
}

static struct writ_err *
check_status(const struct chain *chain, const struct verify_with *with)
{
	struct writ_err *err = NULL;

	if (with->demand_status && with->crl.len == 0 && with->ocsp.len == 0)
		return refuse("leaf", "its status is demanded, and neither a CRL nor an OCSP response is given");
	if (with->anchor_crl.len)
		err = check_anchor_crl(chain, with->anchor_crl, with->now);
	if (!err && with->crl.len)
		err = check_crl(chain, with->crl, with->now);
	if (!err && with->ocsp.len)
		err = check_ocsp(chain, with->ocsp, with->now);
	return err;
}

/* Step 6. */
static struct writ_err *
check_audience(const struct texts *audience, struct writ_bytes own)
{
	struct writ_err *err;

	err = resource_check(own);
	if (err)
		return writ_because(err, "chain: our own identity");
	for (size_t i = 0; i < audience->n; i++)
		if (resource_covers(audience->list[i], own))
			return NULL;
	return writ_fail(WRIT_INVALID, "chain: leaf: we are '%.*s', and not among its audience", WRIT_FMT(own));
}

struct writ_err *
verify_chain(struct writ_bytes leaf, struct writ_bytes issuing, const struct verify_with *with,
	     struct writ_arena *arena, struct leaf *ret)
{
	struct chain chain = { .leaf = ret };
	struct writ_err *err;

	err = ca_read(with->anchor, &chain.anchor);
	if (err)
		return writ_because(err, "chain: anchor");
	err = ca_read(issuing, &chain.issuing);
	if (err)
		return writ_because(err, "chain: issuing CA");
	err = leaf_read(leaf, arena, ret); /* step 1's profile, 3 and 4 */
	if (err)
		return writ_because(err, "chain");
	if (!writ_equal(ret->trust_domain, with->trust_domain)) /* step 2 */
		return writ_fail(WRIT_INVALID,
				 "chain: leaf: trust domain '%.*s', but this anchor is trusted for '%.*s' only",
				 WRIT_FMT(ret->trust_domain), WRIT_FMT(with->trust_domain));
	if (ret->tier == LEAF_TIER_SOFTWARE && !with->allow_software)
		return refuse("leaf", "its issuing key is kept in software (cp-software), which is not allowed here");
	err = check_path(&chain, with->now);
	if (!err)
		err = check_status(&chain, with);
	if (!err && with->audience.len)
		err = check_audience(&ret->delegation.grant.audience, with->audience);
	return err;
}
