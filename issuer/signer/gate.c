/*
 * The gate's rules, one function a subject.  Cheap ones first: this runs before every signature.
 */
#include "issuer/signer/gate.h"

#include <inttypes.h>
#include <stdlib.h>

#include "issuer/signer/wire.h"

static const struct gate_issuer *
issuer_of(const struct leaf *leaf, const struct gate_facts *facts)
{
	for (size_t i = 0; i < facts->n_issuers; i++)
		if (writ_equal(leaf->authority_key_id, facts->issuers[i].key_id))
			return &facts->issuers[i];
	return NULL;
}

/* `*ret` is the generation that the leaf names. */
static struct writ_err *
check_issuer(const struct leaf *leaf, const struct gate_facts *facts, writ_time now, const struct gate_issuer **ret)
{
	*ret = issuer_of(leaf, facts);
	if (!*ret)
		return writ_fail(WRIT_INVALID, "gate: the authority key id is not that of a CA that signs now");
	if ((*ret)->revoked)
		return writ_fail(WRIT_UNAVAILABLE, "gate: the issuing CA it names was revoked a moment ago: ask again");
	if (!writ_equal(leaf->issuer, (*ret)->name))
		return writ_fail(WRIT_INVALID, "gate: the issuer name is not that of the CA whose key id it has");
	if (now > (*ret)->signs_until)
		return writ_fail(WRIT_INVALID, "gate: the issuing CA it names ended signing %" PRId64 " s ago",
				 now - (*ret)->signs_until);
	if (leaf->tier != facts->tier)
		return writ_fail(WRIT_INVALID, "gate: it asserts tier %s, and the issuing key's is %s",
				 leaf_tier_name(leaf->tier), leaf_tier_name(facts->tier));
	return NULL;
}

/* Both ends inclusive (delegation.md 2).  Differences cannot overflow: readable times end with year 9999. */
static struct writ_err *
check_validity(const struct leaf *leaf, const struct gate_issuer *issuer, writ_time now)
{
	if (leaf->not_before < now - GATE_BEFORE_MAX_S)
		return writ_fail(WRIT_INVALID,
				 "gate: notBefore is %" PRId64 " s before now: at most %d are allowed (backdated)",
				 now - leaf->not_before, GATE_BEFORE_MAX_S);
	if (leaf->not_before > now + GATE_AHEAD_MAX_S)
		return writ_fail(WRIT_INVALID, "gate: notBefore is %" PRId64 " s ahead of now: at most %d are allowed",
				 leaf->not_before - now, GATE_AHEAD_MAX_S);
	if (leaf->not_after < now)
		return writ_fail(WRIT_INVALID, "gate: notAfter is %" PRId64 " s before now: it has expired already",
				 now - leaf->not_after);
	if (leaf->not_after > now + GATE_AFTER_MAX_S)
		return writ_fail(WRIT_INVALID,
				 "gate: notAfter is %" PRId64 " s ahead of now: at most %d are allowed (I5)",
				 leaf->not_after - now, GATE_AFTER_MAX_S);
	if (leaf->not_after > issuer->not_after)
		return writ_fail(WRIT_INVALID, "gate: it would outlive its issuing CA by %" PRId64 " s (I5)",
				 leaf->not_after - issuer->not_after);
	return NULL;
}

/* The reader has compared SAN and subject; who the hops are is the issuer's word, but that agents are ours can be seen.
 */
static struct writ_err *
check_domain(const struct leaf *leaf, const struct gate_facts *facts)
{
	const struct delegation *d = &leaf->delegation;

	if (!writ_equal(leaf->trust_domain, facts->trust_domain))
		return writ_fail(WRIT_INVALID, "gate: trust domain %.*s is not ours, %.*s",
				 WRIT_FMT(leaf->trust_domain), WRIT_FMT(facts->trust_domain));
	for (size_t i = 0; i < d->n_hops; i++) {
		struct spiffe_id id;
		struct writ_err *err;

		if (d->hops[i].kind != PRINCIPAL_AGENT)
			continue;
		err = spiffe_parse(d->hops[i].principal, &id);
		if (err)
			return writ_recode(err, WRIT_INVALID, "gate: the principal of hop %zu", i);
		if (!writ_equal(id.trust_domain, facts->trust_domain))
			return writ_fail(WRIT_INVALID, "gate: hop %zu is an agent of %.*s, which is not ours", i,
					 WRIT_FMT(id.trust_domain));
	}
	return NULL;
}

static struct writ_err *
check_status(const struct leaf *leaf, const struct gate_facts *facts, const struct gate_issuer *issuer, writ_time now,
	     unsigned *ret_shard)
{
	*ret_shard = issuer->shard;
	if (!leaf->no_rev_avail) {
		if (!signer_crl_shard(issuer->crl_url, leaf->crl_url, ret_shard))
			return writ_fail(WRIT_INVALID, "gate: CRL address %.*s is not ours", WRIT_FMT(leaf->crl_url));
		if (*ret_shard < issuer->shard_from || *ret_shard > issuer->shard)
			return writ_fail(WRIT_INVALID,
					 "gate: CRL address %.*s is that of shard %u: those that take leaves now are "
					 "%u to %u",
					 WRIT_FMT(leaf->crl_url), *ret_shard, issuer->shard_from, issuer->shard);
		if (!writ_equal(leaf->ocsp_url, facts->ocsp_url))
			return writ_fail(WRIT_INVALID, "gate: OCSP address %.*s is not ours", WRIT_FMT(leaf->ocsp_url));
		return NULL;
	}
	if (leaf->not_after > now + GATE_NO_REV_AVAIL_MAX_S)
		return writ_fail(WRIT_INVALID, "gate: noRevAvail with %" PRId64 " s to live: at most %d are allowed",
				 leaf->not_after - now, GATE_NO_REV_AVAIL_MAX_S);
	return NULL;
}

static int
key_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(((struct gate_facts *)NULL)->keys[0]));
}

void
gate_keys_sort(struct gate_facts *facts)
{
	qsort(facts->keys, facts->n_keys, sizeof(facts->keys[0]), key_order);
}

/* What the signer fills in must be empty; what it has for itself must not be certified for others. */
static struct writ_err *
check_ours(const struct leaf *leaf, const struct gate_facts *facts)
{
	if (!writ_equal(leaf->log_id, facts->log_id))
		return writ_fail(WRIT_INVALID, "gate: the log reference names another log");
	if (!writ_is_zero(leaf->serial))
		return writ_fail(WRIT_INVALID, "gate: the serial is not zero: the signer fills it in (I4)");
	if (!writ_is_zero(leaf->log_index) || !writ_is_zero(leaf->log_hash))
		return writ_fail(WRIT_INVALID, "gate: the log reference is not zero: the signer fills it in");
	if (bsearch(leaf->spki_sha256, facts->keys, facts->n_keys, sizeof(facts->keys[0]), key_order))
		return writ_fail(WRIT_INVALID, "gate: the public key is one of our CA's or responder's");
	return NULL;
}

struct writ_err *
gate_check(struct writ_bytes tbs, const struct gate_facts *facts, writ_time now, struct writ_arena *arena,
	   struct leaf *ret, unsigned *ret_shard)
{
	const struct gate_issuer *issuer;
	struct writ_err *err;

	err = leaf_read_tbs(tbs, arena, ret);
	if (err)
		return writ_recode(err, WRIT_INVALID, "gate: not a leaf");
	err = check_issuer(ret, facts, now, &issuer);
	if (!err)
		err = check_validity(ret, issuer, now);
	if (!err)
		err = check_domain(ret, facts);
	if (!err)
		err = check_status(ret, facts, issuer, now, ret_shard);
	if (!err)
		err = check_ours(ret, facts);
	return err;
}
