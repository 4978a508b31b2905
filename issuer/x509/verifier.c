/*
 * The verifier of writ.h: its configuration, and the issuing CAs it keeps ready.
 */
#include "issuer/x509/verifier.h"

#include <stdlib.h>

#include "base/der.h"

#define ACR_LEN_MAX 128 /* octets (delegation.md 3.2) */

/* ---- making and configuring ---- */

void
authority_done(struct authority *a)
{
	pubkey_done(&a->key);
	writ_buf_done(&a->der);
	free(a->trust_domain);
	*a = (struct authority){ 0 };
}

struct writ_verifier *
writ_verifier_new(void)
{
	struct writ_verifier *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->options[WRIT_DEMAND_STATUS] = 1;
	v->options[WRIT_ALLOW_NO_REV] = 1;
	v->options[WRIT_HOPS_MAX] = HOPS_MAX;
	return v;
}

void
writ_verifier_free(struct writ_verifier *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_anchors; i++)
		authority_done(&v->anchors[i]);
	for (size_t i = 0; i < v->n_issuing; i++)
		authority_done(&v->issuing[i]);
	lists_done(v);
	for (size_t i = 0; i < v->n_identities; i++)
		free(v->identities[i]);
	for (size_t i = 0; i < v->n_acrs; i++)
		free(v->acrs[i]);
	free(v);
}

static enum writ_refusal
misuse(struct writ_why *why, const char *text)
{
	return refuse(why, WRIT_REFUSED_MISUSE, "", "%s", text);
}

static enum writ_refusal
no_memory(struct writ_why *why)
{
	return refuse(why, WRIT_REFUSED_MEMORY, "", "memory ran out");
}

struct writ_err *
next_certificate(struct writ_bytes *rest, struct writ_buf *room, struct writ_bytes *ret)
{
	struct writ_err *err;

	*ret = *rest;
	if (rest->len && rest->data[0] == 0x30) {
		*rest = (struct writ_bytes){ 0 };
		return NULL;
	}
	err = pem_read("CERTIFICATE", rest, room);
	*ret = writ_view(room);
	return err;
}

struct writ_err *
authority_read(struct writ_bytes certificate, struct authority *ret)
{
	struct writ_err *err;

	*ret = (struct authority){ .der = WRIT_BUF(CERTIFICATE_MAX) };
	err = writ_buf_add(&ret->der, certificate);
	if (!err)
		err = ca_read(writ_view(&ret->der), &ret->cert);
	if (!err)
		err = pubkey_load(ret->cert.spki, &ret->key);
	if (err)
		authority_done(ret);
	return err;
}

static struct writ_err *
authority_from(const void *data, size_t len, struct authority *ret)
{
	AUTO(writ_buf_done) struct writ_buf room = WRIT_BUF(CERTIFICATE_MAX);
	struct writ_bytes rest = { data, len }, certificate;
	struct writ_err *err;

	if (len > CERTIFICATE_MAX)
		return writ_fail(WRIT_INVALID, "%zu bytes, the limit is %d", len, CERTIFICATE_MAX);
	err = next_certificate(&rest, &room, &certificate);
	return err ? err : authority_read(certificate, ret);
}

static enum writ_refusal
anchor_one(struct writ_verifier *v, struct writ_bytes certificate, const char *trust_domain, struct writ_why *why)
{
	AUTO(authority_done) struct authority anchor = { 0 };
	struct writ_err *err = authority_read(certificate, &anchor);

	if (err)
		return refuse_err(why, WRIT_REFUSED_MISUSE, "", "anchor", err);
	if (verify_anchor(&anchor.cert, why))
		return WRIT_REFUSED_MISUSE;
	for (size_t i = 0; i < v->n_anchors; i++) {
		if (!writ_equal(v->anchors[i].cert.spki, anchor.cert.spki) ||
		    strcmp(v->anchors[i].trust_domain, trust_domain) == 0)
			continue;
		return refuse(why, WRIT_REFUSED_MISUSE, "6.1.2",
			      "anchor: its key is trusted for '%s' already: a key vouches for one trust domain",
			      v->anchors[i].trust_domain);
	}
	if (v->n_anchors == ANCHORS_MAX)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "anchor: %d are held already", ANCHORS_MAX);
	anchor.trust_domain = strdup(trust_domain);
	if (!anchor.trust_domain)
		return no_memory(why);
	v->anchors[v->n_anchors++] = anchor;
	anchor = (struct authority){ 0 };
	return WRIT_OK;
}

/* All of them or none: a bundle of which a part is believed would be found out on the day it matters. */
enum writ_refusal
writ_verifier_anchor(struct writ_verifier *v, const void *certificate, size_t len, const char *trust_domain,
		     struct writ_why *why)
{
	struct writ_bytes rest = { certificate, len }, one;
	const size_t before = v ? v->n_anchors : 0;
	enum writ_refusal no = WRIT_OK;
	struct writ_err *err;

	if (!v || !certificate || !trust_domain)
		return misuse(why, "anchor: no verifier, no certificate or no trust domain");
	err = trust_domain_check(writ_str(trust_domain));
	if (!err && len > CERTIFICATE_MAX)
		err = writ_fail(WRIT_INVALID, "%zu bytes, the limit is %d", len, CERTIFICATE_MAX);
	for (size_t n = 0; !err && !no; n++) {
		AUTO(writ_buf_done) struct writ_buf room = WRIT_BUF(CERTIFICATE_MAX);

		if (n > 0 && rest.len == 0)
			break;
		err = next_certificate(&rest, &room, &one);
		if (err && err->code == WRIT_NOT_FOUND && n > 0) { /* PEM has text behind its last block */
			writ_err_free(TAKE(err));
			break;
		}
		if (!err)
			no = anchor_one(v, one, trust_domain, why);
	}
	if (!err && !no)
		return WRIT_OK;
	while (v->n_anchors > before)
		authority_done(&v->anchors[--v->n_anchors]);
	return err ? refuse_err(why, WRIT_REFUSED_MISUSE, "", "anchor", err) : no;
}

static enum writ_refusal
text_keep(char **list, size_t *n, size_t max, const char *text, struct writ_why *why)
{
	if (*n == max)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "'%s': %zu of these are held already", text, max);
	list[*n] = strdup(text);
	if (!list[*n])
		return no_memory(why);
	++*n;
	return WRIT_OK;
}

enum writ_refusal
writ_verifier_identity(struct writ_verifier *v, const char *resource, struct writ_why *why)
{
	struct writ_err *err;

	if (!v || !resource)
		return misuse(why, "our own identity: no verifier, or no resource");
	err = resource_check(writ_str(resource));
	if (err)
		return refuse_err(why, WRIT_REFUSED_MISUSE, "6.1.6", "our own identity", err);
	if (resource_is_pattern(writ_str(resource)))
		return refuse(why, WRIT_REFUSED_MISUSE, "6.1.6",
			      "our own identity: '%s' is a pattern: say what we are, not whom we are like", resource);
	return text_keep(v->identities, &v->n_identities, IDENTITIES_MAX, resource, why);
}

enum writ_refusal
writ_verifier_policy(struct writ_verifier *v, const uint8_t digest[32], struct writ_why *why)
{
	if (!v || !digest)
		return misuse(why, "policy: no verifier, or no digest");
	if (v->n_policies == POLICIES_MAX)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "policy: %d are held already", POLICIES_MAX);
	memcpy(v->policies[v->n_policies++], digest, 32);
	return WRIT_OK;
}

enum writ_refusal
writ_verifier_acr(struct writ_verifier *v, const char *acr, struct writ_why *why)
{
	size_t len;

	if (!v || !acr)
		return misuse(why, "acr: no verifier, or no level");
	len = strlen(acr);
	if (len == 0 || len > ACR_LEN_MAX ||
	    strspn(acr, "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ["
			"\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != len)
		return misuse(why, "acr: not 1 to 128 printable octets, so no leaf could have it");
	return text_keep(v->acrs, &v->n_acrs, ACRS_MAX, acr, why);
}

enum writ_refusal
writ_verifier_set(struct writ_verifier *v, enum writ_option option, int value, struct writ_why *why)
{
	if (!v)
		return misuse(why, "option: no verifier");
	switch (option) {
	case WRIT_HOPS_MAX:
		if (value < 1 || value > HOPS_MAX)
			return refuse(why, WRIT_REFUSED_MISUSE, "", "hops: %d, 1 to %d can be demanded", value,
				      HOPS_MAX);
		break;
	case WRIT_ALLOW_SOFTWARE:
	case WRIT_ANY_AUDIENCE:
	case WRIT_DEMAND_STATUS:
	case WRIT_SOFT_FAIL:
	case WRIT_ALLOW_NO_REV:
	case WRIT_DEMAND_HUMAN:
	case WRIT_DEMAND_ATTESTED:
	case WRIT_DEMAND_CA_STATUS:
		if (value != 0 && value != 1)
			return refuse(why, WRIT_REFUSED_MISUSE, "", "option %d: %d is neither 0 nor 1", (int)option,
				      value);
		break;
	default:
		return refuse(why, WRIT_REFUSED_MISUSE, "", "option %d: there is none of that number", (int)option);
	}
	v->options[option] = value;
	return WRIT_OK;
}

/* ---- issuing CAs ---- */

/* An anchor that was renewed with its key is there twice for a while. */
const struct authority *
anchor_above(const struct writ_verifier *v, const struct ca_cert *issuing, writ_time now, struct writ_why *why)
{
	const struct authority *found = NULL;

	for (size_t i = 0; i < v->n_anchors; i++) {
		const struct authority *anchor = &v->anchors[i];

		if (verify_issued_by_anchor(issuing, &anchor->cert, NULL))
			continue;
		if (!found || verify_ca_now("", &found->cert, now, NULL))
			found = anchor;
	}
	if (!found && verify_issued_by_anchor(issuing, &v->anchors[v->n_anchors - 1].cert, why))
		return NULL;
	return found;
}

/* The slot for one more: a free one, that of an expired one, that of the one used least recently. */
static struct authority *
issuing_slot(struct writ_verifier *v, writ_time now)
{
	struct authority *oldest = &v->issuing[0];

	if (v->n_issuing < ISSUING_MAX)
		return &v->issuing[v->n_issuing++];
	for (size_t i = 0; i < v->n_issuing; i++) {
		struct authority *a = &v->issuing[i];

		if (now > a->cert.not_after) {
			oldest = a;
			break;
		}
		if (a->used < oldest->used)
			oldest = a;
	}
	authority_done(oldest);
	return oldest;
}

struct authority *
issuing_keep(struct writ_verifier *v, struct authority *from, const struct authority *anchor, writ_time now)
{
	struct authority *to = issuing_slot(v, now);

	*to = *from;
	*from = (struct authority){ 0 };
	to->anchor = (size_t)(anchor - v->anchors);
	to->used = ++v->turn;
	lists_prolong(v, &to->cert);
	return to;
}

struct authority *
issuing_same(struct writ_verifier *v, struct writ_bytes der)
{
	for (size_t i = 0; i < v->n_issuing; i++)
		if (writ_equal(writ_view(&v->issuing[i].der), der))
			return &v->issuing[i];
	return NULL;
}

enum writ_refusal
issuing_unread(struct writ_bytes certificate, struct writ_err *err, struct writ_why *why)
{
	const bool strict = certificate.len <= CERTIFICATE_MAX && der_is_strict(certificate, CERTIFICATE_DEPTH_MAX);

	return refuse_err(why, strict ? WRIT_REFUSED_PATH : WRIT_REFUSED_ENCODING, "6.1.1", "issuing CA", err);
}

enum writ_refusal
issuing_signature(const struct authority *issuing, const struct authority *anchor, struct writ_why *why)
{
	return verify_signature("issuing CA", &anchor->key, issuing->cert.signature_kind, issuing->cert.tbs,
				issuing->cert.signature, WRIT_REFUSED_PATH, "6.1.1", why);
}

enum writ_refusal
writ_verifier_issuing(struct writ_verifier *v, const void *certificate, size_t len, int64_t now, struct writ_why *why)
{
	AUTO(authority_done) struct authority issuing = { 0 };
	const struct authority *anchor;
	enum writ_refusal no;
	struct writ_err *err;

	if (!v || !certificate)
		return misuse(why, "issuing CA: no verifier, or no certificate");
	if (v->n_anchors == 0)
		return misuse(why, "issuing CA: no anchor is configured");
	if (!time_is_sane(now))
		return misuse(why, NO_SUCH_TIME);
	err = authority_from(certificate, len, &issuing);
	if (err)
		return issuing_unread((struct writ_bytes){ certificate, len }, err, why);
	if (issuing_same(v, writ_view(&issuing.der)))
		return WRIT_OK;
	anchor = anchor_above(v, &issuing.cert, now, why);
	if (!anchor)
		return WRIT_REFUSED_PATH;
	if (!issuing.cert.is_ca)
		return refuse(why, WRIT_REFUSED_PATH, "6.1.1", "issuing CA: not a CA");
	no = verify_ca_now("anchor", &anchor->cert, now, why);
	if (!no)
		no = verify_ca_now("issuing CA", &issuing.cert, now, why);
	if (!no)
		no = issuing_signature(&issuing, anchor, why);
	if (no)
		return no;
	issuing_keep(v, &issuing, anchor, now);
	return WRIT_OK;
}
