/*
 * The steps of delegation.md 6.1.  Each knows its code and its rule; verifier.c knows their order.
 */
#include "issuer/x509/verify.h"

#include "base/der.h"
#include "issuer/x509/parts.h"
#include "issuer/x509/refuse.h"

/* ---- what could not be read ---- */

static unsigned
count_delegations(struct writ_bytes certificate)
{
	struct signed_parts parts;
	struct der in, outer, list = { 0 };
	struct extension ext;
	struct writ_bytes whole;
	struct writ_err *err = signed_split(certificate, "leaf", &parts);
	unsigned n = 0;
	uint8_t tag;

	if (err) {
		writ_err_free(err);
		return 0;
	}
	in = der_read(parts.tbs);
	if (!der_take(&in, DER_SEQUENCE, &in))
		return 0;
	while (!der_at_end(&in) && !der_next_is(&in, DER_CONTEXT_CONS(3)))
		if (!der_take_any(&in, &tag, &whole))
			return 0;
	if (!der_take(&in, DER_CONTEXT_CONS(3), &outer) || !der_take(&outer, DER_SEQUENCE, &list))
		return 0;
	while (!der_at_end(&list) && take_extension(&list, &ext))
		n += writ_equal(ext.oid, OID_TASK_DELEGATION);
	return n;
}

enum writ_refusal
verify_unread(struct writ_bytes certificate, struct writ_err *err, struct writ_why *why)
{
	char rule[DELEGATION_RULE];
	unsigned n;

	if (certificate.len > LEAF_MAX || !der_is_strict(certificate, CERTIFICATE_DEPTH_MAX))
		return refuse_err(why, WRIT_REFUSED_ENCODING, "E1", "", err);
	n = count_delegations(certificate); /* first: deploy/spec/delegation.md 6.2 */
	if (n == 0)
		return refuse_err(why, WRIT_REFUSED_NO_DELEGATION, "6.1.4", "", err);
	if (n > 1)
		return refuse_err(why, WRIT_REFUSED_DELEGATION, "E3", "", err);
	if (delegation_rule_of(err, rule))
		return refuse_err(why, WRIT_REFUSED_DELEGATION, rule, "", err);
	return refuse_err(why, WRIT_REFUSED_PROFILE, "6.1.1", "", err);
}

/* ---- step 1: the path ---- */

static enum writ_refusal
refuse_path(struct writ_why *why, const char *who, const char *text)
{
	return refuse(why, WRIT_REFUSED_PATH, "6.1.1", "%s: %s", who, text);
}

enum writ_refusal
verify_anchor(const struct ca_cert *anchor, struct writ_why *why)
{
	if (!anchor->is_ca)
		return refuse_path(why, "anchor", "not a CA");
	if (anchor->path_len == 0)
		return refuse_path(why, "anchor", "its pathLenConstraint of 0 allows no issuing CA below it");
	return WRIT_OK;
}

enum writ_refusal
verify_issued_by_anchor(const struct ca_cert *ca, const struct ca_cert *anchor, struct writ_why *why)
{
	if (!writ_equal(ca->issuer, anchor->subject))
		return refuse_path(why, "issuing CA", "its issuer is not the anchor by name");
	if (ca->authority_key_id.len && memcmp(ca->authority_key_id.data, anchor->key_id, sizeof(anchor->key_id)) != 0)
		return refuse_path(why, "issuing CA", "its issuer is not the anchor by key id");
	return WRIT_OK;
}

enum writ_refusal
verify_issued_by(const struct leaf *leaf, const struct ca_cert *issuing, struct writ_why *why)
{
	if (!writ_equal(leaf->issuer, issuing->subject))
		return refuse_path(why, "leaf", "its issuer is not the issuing CA by name");
	if (memcmp(leaf->authority_key_id.data, issuing->key_id, sizeof(issuing->key_id)) != 0)
		return refuse_path(why, "leaf", "its issuer is not the issuing CA by key id");
	return WRIT_OK;
}

static enum writ_refusal
check_now(const char *who, writ_time not_before, writ_time not_after, writ_time now, struct writ_why *why)
{
	if (now < not_before)
		return refuse(why, WRIT_REFUSED_TIME, "6.1.1", "%s: not valid yet: begins in %lld s", who,
			      (long long)(not_before - now));
	if (now > not_after)
		return refuse(why, WRIT_REFUSED_TIME, "6.1.1", "%s: expired %lld s ago", who,
			      (long long)(now - not_after));
	return WRIT_OK;
}

enum writ_refusal
verify_ca_now(const char *who, const struct ca_cert *ca, writ_time now, struct writ_why *why)
{
	return check_now(who, ca->not_before, ca->not_after, now, why);
}

static enum writ_refusal
check_policies(const char *who, const struct ca_cert *ca, enum leaf_tier tier, struct writ_why *why)
{
	if (!ca->delegated_agent)
		return refuse_path(why, who, "does not assert cp-delegatedAgent");
	for (size_t i = 0; i < ca->n_tiers; i++)
		if (ca->tiers[i] == tier)
			return WRIT_OK;
	return refuse(why, WRIT_REFUSED_PATH, "6.1.1", "%s: does not assert the leaf's tier '%s'", who,
		      leaf_tier_name(tier));
}

enum writ_refusal
verify_path(const struct leaf *leaf, const struct ca_cert *issuing, const struct ca_cert *anchor, writ_time now,
	    struct writ_why *why)
{
	enum writ_refusal no;

	if (!issuing->is_ca)
		return refuse_path(why, "issuing CA", "not a CA");
	if (leaf->not_after > issuing->not_after)
		return refuse_path(why, "leaf", "outlives its issuing CA (I5)");
	no = verify_ca_now("anchor", anchor, now, why);
	if (!no)
		no = verify_ca_now("issuing CA", issuing, now, why);
	if (!no)
		no = check_now("leaf", leaf->not_before, leaf->not_after, now, why);
	if (!no)
		no = check_policies("issuing CA", issuing, leaf->tier, why);
	if (!no)
		no = check_policies("anchor", anchor, leaf->tier, why);
	return no;
}

enum writ_refusal
verify_signature(const char *who, const struct pubkey *signer, enum key_kind kind, struct writ_bytes tbs,
		 struct writ_bytes signature, enum writ_refusal code, const char *rule, struct writ_why *why)
{
	struct writ_err *err;

	if (kind != signer->kind)
		return refuse(why, code, rule, "%s: its signature's algorithm does not go with its issuer's key", who);
	err = pubkey_verify(signer, tbs, signature);
	return err ? refuse_err(why, code, rule, who, err) : WRIT_OK;
}

/* ---- step 5: status ---- */

enum writ_refusal
verify_not_listed(const char *who, const struct crl_index *index, struct writ_bytes serial, struct writ_why *why)
{
	char text[WRIT_RFC3339_LEN + 1];
	enum crl_reason reason;
	writ_time at;

	if (!crl_index_find(index, serial, &at, &reason))
		return WRIT_OK;
	return refuse(why, WRIT_REFUSED_REVOKED, "6.1.5", "%s: revoked at %s (%s)", who, writ_time_rfc3339(at, text),
		      crl_reason_name((unsigned)reason));
}

enum writ_refusal
verify_hops_not_listed(const struct delegation *d, const struct crl_index *index, const uint8_t ca_key_id[20],
		       struct writ_why *why)
{
	for (size_t i = 0; i < d->n_hops; i++) {
		const struct hop *hop = &d->hops[i];

		if (crl_index_has_edge(index, hop->id))
			return refuse(why, WRIT_REFUSED_REVOKED, "6.1.5", "hop %zu: its delegation was revoked", i + 1);
		if (writ_equal(hop->cert_issuer_key_id, (struct writ_bytes){ ca_key_id, KEY_ID_LEN }) &&
		    crl_index_find(index, hop->cert_serial, &(writ_time){ 0 }, &(enum crl_reason){ 0 }))
			return refuse(why, WRIT_REFUSED_REVOKED, "6.1.5",
				      "hop %zu: the certificate it was made with was revoked", i + 1);
	}
	return WRIT_OK;
}

enum writ_refusal
verify_ocsp(struct writ_bytes response, const struct ca_cert *issuing, struct writ_bytes serial, writ_time now,
	    writ_time *ret_until, struct writ_why *why)
{
	struct ocsp_issuer issuer;
	struct ocsp_answer answer;
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	err = ocsp_issuer_init(issuing->subject, issuing->spki, &issuer);
	if (!err)
		err = ocsp_response_verify(response, &issuer, issuing->spki, serial, now, &answer);
	if (err)
		return refuse_err(why,
				  der_is_strict(response, CERTIFICATE_DEPTH_MAX) ? WRIT_REFUSED_STATUS
										 : WRIT_REFUSED_ENCODING,
				  "6.1.5", "leaf", err);
	if (answer.status == OCSP_REVOKED)
		return refuse(why, WRIT_REFUSED_REVOKED, "6.1.5", "leaf: revoked at %s (%s)",
			      writ_time_rfc3339(answer.revoked_at, text), crl_reason_name(answer.reason));
	*ret_until = answer.next_update;
	return WRIT_OK;
}
