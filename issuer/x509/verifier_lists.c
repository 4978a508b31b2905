/*
 * CRLs that the verifier holds, and what they and a stapled OCSP response say of a leaf (delegation.md 6.1 step 5).
 */
#include "issuer/x509/verifier.h"

#include "base/der.h"

#define OCSP_MAX (64 * 1024) /* bytes */

/* ---- lists ---- */

static void
list_done(struct list *list)
{
	crl_index_done(&list->index);
}

void
lists_done(struct writ_verifier *v)
{
	while (v->n_lists)
		list_done(&v->lists[--v->n_lists]);
}

static bool
list_is_of(const struct list *list, const struct ca_cert *ca)
{
	return writ_equal(list->index.crl.issuer, ca->subject) &&
	       writ_equal((struct writ_bytes){ list->spki, list->spki_len }, ca->spki);
}

/* The CA a list names, by name and key id. */
static enum writ_refusal
list_issuer(const struct writ_verifier *v, const struct crl *crl, const struct authority **ret, bool *ret_of_anchor,
	    struct writ_why *why)
{
	const size_t n = v->n_anchors + v->n_issuing;
	bool named = false;

	for (size_t i = 0; i < n; i++) {
		const struct authority *a = i < v->n_anchors ? &v->anchors[i] : &v->issuing[i - v->n_anchors];

		if (!writ_equal(crl->issuer, a->cert.subject))
			continue;
		named = true;
		if (!writ_equal(crl->authority_key_id, (struct writ_bytes){ a->cert.key_id, sizeof(a->cert.key_id) }))
			continue;
		*ret = a;
		*ret_of_anchor = i < v->n_anchors;
		return WRIT_OK;
	}
	return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "CRL: of no anchor and no known issuing CA by %s",
		      named ? "key id" : "name");
}

void
lists_prolong(struct writ_verifier *v, const struct ca_cert *ca)
{
	for (size_t i = 0; i < v->n_lists; i++)
		if (list_is_of(&v->lists[i], ca) && v->lists[i].ca_not_after < ca->not_after)
			v->lists[i].ca_not_after = ca->not_after;
}

/* (3) */
static void
lists_forget(struct writ_verifier *v, writ_time now)
{
	for (size_t i = 0; i < v->n_lists;) {
		if (v->lists[i].of_anchor || now <= v->lists[i].ca_not_after) {
			i++;
			continue;
		}
		list_done(&v->lists[i]);
		v->lists[i] = v->lists[--v->n_lists];
	}
}

/*
 * Room for one more: the shard that ended longest ago goes, if that was so long ago that no leaf can be valid that it lists (I5).  What it would have
 * vouched for is not vouched for either way.
 */
static void
lists_make_room(struct writ_verifier *v, writ_time now)
{
	struct list *oldest = NULL;

	if (v->n_lists < LISTS_MAX)
		return;
	for (size_t i = 0; i < v->n_lists; i++) {
		struct list *list = &v->lists[i];

		if (list->of_anchor || list->index.crl.idp_url.len == 0 ||
		    now - list->index.crl.next_update <= LEAF_LIFETIME_SEEN_MAX_S)
			continue;
		if (!oldest || list->index.crl.next_update < oldest->index.crl.next_update)
			oldest = list;
	}
	if (!oldest)
		return;
	list_done(oldest);
	*oldest = v->lists[--v->n_lists];
}

/* The list of the same CA and distribution point, held until now. */
static struct list *
list_before(struct writ_verifier *v, const struct crl *crl, const struct authority *issuer)
{
	for (size_t i = 0; i < v->n_lists; i++)
		if (list_is_of(&v->lists[i], &issuer->cert) && writ_equal(v->lists[i].index.crl.idp_url, crl->idp_url))
			return &v->lists[i];
	return NULL;
}

static enum writ_refusal
list_check(const struct crl *crl, const struct authority *issuer, const struct list *before, writ_time now,
	   struct writ_why *why)
{
	if (!(issuer->cert.key_usage & CA_KU_CRL_SIGN))
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "CRL: its CA may not sign CRLs");
	if (now < crl->this_update)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "CRL: its thisUpdate lies in the future");
	if (before && crl->number < before->index.crl.number)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "CRL: its number %llu is below %llu, which is held",
			      (unsigned long long)crl->number, (unsigned long long)before->index.crl.number);
	if (before && crl->this_update < before->index.crl.this_update)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "CRL: made %lld s before the one that is held",
			      (long long)(before->index.crl.this_update - crl->this_update));
	return verify_signature("CRL", &issuer->key, crl->kind, crl->tbs, crl->signature, WRIT_REFUSED_STATUS, "6.1.5",
				why);
}

static enum writ_refusal
list_keep(struct writ_verifier *v, struct crl_index *index, writ_time now, struct writ_why *why)
{
	const struct authority *issuer = NULL;
	struct list *to;
	bool of_anchor = false;
	enum writ_refusal no;

	no = list_issuer(v, &index->crl, &issuer, &of_anchor, why);
	if (no)
		return no;
	to = list_before(v, &index->crl, issuer);
	no = list_check(&index->crl, issuer, to, now, why);
	if (no)
		return no;
	lists_forget(v, now);
	if (!list_before(v, &index->crl, issuer))
		lists_make_room(v, now);
	to = list_before(v, &index->crl, issuer); /* it may have moved */
	if (!to && v->n_lists == LISTS_MAX)
		return refuse(why, WRIT_REFUSED_MEMORY, "", "CRL: %d are held already", LISTS_MAX);
	if (to)
		list_done(to);
	else
		to = &v->lists[v->n_lists++];
	*to = (struct list){ .index = *index,
			     .spki_len = issuer->cert.spki.len,
			     .of_anchor = of_anchor,
			     .anchor = of_anchor ? (size_t)(issuer - v->anchors) : issuer->anchor,
			     .ca_not_after = issuer->cert.not_after };
	memcpy(to->spki, issuer->cert.spki.data, issuer->cert.spki.len); /* pubkey_load() took it: SPKI_MAX at most */
	memcpy(to->key_id, issuer->cert.key_id, sizeof(to->key_id));
	*index = (struct crl_index){ 0 };
	return WRIT_OK;
}

/* Of a list that could not be read: is it one that we do not take, or no DER? */
static enum writ_refusal
list_refusal(struct writ_bytes der)
{
	return der.len <= CRL_MAX && der_is_strict(der, CERTIFICATE_DEPTH_MAX) ? WRIT_REFUSED_STATUS
									       : WRIT_REFUSED_ENCODING;
}

enum writ_refusal
writ_verifier_crl(struct writ_verifier *v, const void *data, size_t len, int64_t now, struct writ_why *why)
{
	AUTO(crl_index_done) struct crl_index index = { 0 };
	AUTO(writ_buf_done) struct writ_buf room = WRIT_BUF(CRL_MAX);
	struct writ_bytes rest = { data, len }, der = rest;
	struct writ_err *err = NULL;

	if (!v || !data)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "CRL: no verifier, or no list");
	if (v->n_anchors == 0)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "CRL: no anchor is configured");
	if (!time_is_sane(now))
		return refuse(why, WRIT_REFUSED_MISUSE, "", NO_SUCH_TIME);
	if (len == 0 || der.data[0] != 0x30) {
		err = pem_read("X509 CRL", &rest, &room);
		if (err)
			return refuse_err(why, WRIT_REFUSED_ENCODING, "6.1.5", "CRL", err);
		der = writ_view(&room);
	}
	err = crl_index_init(der, &index);
	if (err)
		return refuse_err(why, list_refusal(der), "6.1.5", "", err);
	return list_keep(v, &index, now, why);
}

/* ---- status ---- */

/* What the lists say of one certificate: a fresh one vouches until its nextUpdate. */
struct vouched {
	bool fresh, stale;
	bool elsewhere;	    /* there is a shard of its CA that it does not name */
	writ_time until;    /* of the fresh one that ends last */
	writ_time ended_at; /* of the stale one that ended last */
};

static void
vouch(const struct crl *crl, struct writ_bytes url, writ_time now, struct vouched *ret)
{
	if (crl->idp_url.len && !writ_equal(crl->idp_url, url)) { /* a shard that does not speak of this certificate */
		ret->elsewhere = true;
		return;
	}
	if (now >= crl->this_update && now <= crl->next_update) {
		ret->until = !ret->fresh || crl->next_update > ret->until ? crl->next_update : ret->until;
		ret->fresh = true;
	} else {
		ret->ended_at = !ret->stale || crl->next_update > ret->ended_at ? crl->next_update : ret->ended_at;
		ret->stale = true;
	}
}

static void
earlier(writ_time *until, writ_time other)
{
	if (other < *until)
		*until = other;
}

/* Nobody fresh vouches: is that a refusal? */
static enum writ_refusal
unvouched(const struct writ_verifier *v, const char *whose, const char *missing, const struct vouched *vouched,
	  enum writ_option demand, writ_time now, struct writ_why *why)
{
	if (v->options[WRIT_SOFT_FAIL])
		return WRIT_OK;
	if (vouched->stale && now <= vouched->ended_at)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "%s CRL: its thisUpdate lies in the future", whose);
	if (vouched->stale)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "%s CRL: stale: its nextUpdate was %lld s ago", whose,
			      (long long)(now - vouched->ended_at));
	if (v->options[demand] && vouched->elsewhere)
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5",
			      "%s CRL: the one that is held is of another distribution point than the %s", whose,
			      demand == WRIT_DEMAND_STATUS ? "leaf's" : "issuing CA's");
	return v->options[demand] ? refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "%s", missing) : WRIT_OK;
}

static enum writ_refusal
ca_status(const struct writ_verifier *v, const struct authority *issuing, writ_time now, writ_time *until,
	  struct writ_why *why)
{
	const struct ca_cert *anchor = &v->anchors[issuing->anchor].cert;
	struct vouched vouched = { 0 };

	for (size_t i = 0; i < v->n_lists; i++) {
		const struct list *list = &v->lists[i];
		enum writ_refusal no;

		if (!list_is_of(list, anchor))
			continue;
		no = verify_not_listed("issuing CA", &list->index, issuing->cert.serial, why);
		if (no)
			return no;
		vouch(&list->index.crl, issuing->cert.crl_url, now, &vouched);
	}
	if (!vouched.fresh)
		return unvouched(v, "anchor's", "issuing CA: its status is demanded, and no CRL of the anchor is held",
				 &vouched, WRIT_DEMAND_CA_STATUS, now, why);
	earlier(until, vouched.until);
	return WRIT_OK;
}

/* Is anything listed, in any list of the trust domain?  And what do the lists of its own CA vouch for? */
static enum writ_refusal
leaf_listed(const struct writ_verifier *v, const struct leaf *leaf, const struct authority *issuing, writ_time now,
	    struct vouched *ret, struct writ_why *why)
{
	const char *trust_domain = v->anchors[issuing->anchor].trust_domain;

	for (size_t i = 0; i < v->n_lists; i++) {
		const struct list *list = &v->lists[i];
		enum writ_refusal no = WRIT_OK;

		if (strcmp(v->anchors[list->anchor].trust_domain, trust_domain) != 0)
			continue;
		if (list_is_of(list, &issuing->cert)) {
			no = verify_not_listed("leaf", &list->index, leaf->serial, why);
			vouch(&list->index.crl, leaf->crl_url, now, ret);
		}
		if (!no)
			no = verify_hops_not_listed(&leaf->delegation, &list->index, list->key_id, why);
		if (no)
			return no;
	}
	return WRIT_OK;
}

enum writ_refusal
status_check(const struct writ_verifier *v, const struct leaf *leaf, const struct authority *issuing,
	     struct writ_bytes ocsp, writ_time now, writ_time *until, struct writ_why *why)
{
	struct vouched vouched = { 0 };
	enum writ_refusal no;
	writ_time good_until = 0;

	if (leaf->no_rev_avail && !v->options[WRIT_ALLOW_NO_REV])
		return refuse(why, WRIT_REFUSED_STATUS, "6.1.5", "leaf: it has noRevAvail, which is not allowed here");
	no = ca_status(v, issuing, now, until, why);
	if (!no)
		no = leaf_listed(v, leaf, issuing, now, &vouched, why);
	if (!no && ocsp.len > OCSP_MAX)
		return refuse(why, WRIT_REFUSED_ENCODING, "6.1.5", "OCSP response: %zu bytes, the limit is %d",
			      ocsp.len, OCSP_MAX);
	if (!no && ocsp.len)
		no = verify_ocsp(ocsp, &issuing->cert, leaf->serial, now, &good_until, why);
	if (no)
		return no;
	if (vouched.fresh)
		earlier(until, vouched.until);
	if (ocsp.len)
		earlier(until, good_until);
	if (vouched.fresh || ocsp.len || leaf->no_rev_avail)
		return WRIT_OK;
	return unvouched(v, "issuing CA's",
			 "leaf: its status is demanded, and neither a CRL nor an OCSP response is given", &vouched,
			 WRIT_DEMAND_STATUS, now, why);
}
