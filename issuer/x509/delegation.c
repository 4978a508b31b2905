/*
 * The writer of TaskDelegation and HopGrant: what the rules accept, in the order of the ASN.1 module
 * (delegation.md 3.2).
 */
#include "issuer/x509/delegation.h"

#include "base/der.h"
#include "issuer/x509/delegation_rules.h"

static void
put_texts(struct der_out *out, uint8_t tag, uint8_t element, const struct writ_bytes *list, size_t n)
{
	der_open(out, tag);
	for (size_t i = 0; i < n; i++)
		der_put(out, element, list[i]);
	der_close(out);
}

static void
put_constraint(struct der_out *out, const struct constraint *c)
{
	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		put_texts(out, DER_CONTEXT_CONS(0), DER_OCTET_STRING, c->values, c->n_values);
		return;
	case CONSTRAINT_WINDOW:
		der_open(out, DER_CONTEXT_CONS(1));
		der_put_generalized(out, DER_GENERALIZED_TIME, c->not_before);
		der_put_generalized(out, DER_GENERALIZED_TIME, c->not_after);
		der_close(out);
		return;
	case CONSTRAINT_PARAM_IN:
		der_open(out, DER_CONTEXT_CONS(3));
		der_put(out, DER_IA5, c->name);
		put_texts(out, DER_SEQUENCE, DER_UTF8, c->values, c->n_values);
		der_close(out);
		return;
	case CONSTRAINT_PARAM_MAX:
		der_open(out, DER_CONTEXT_CONS(4));
		der_put(out, DER_IA5, c->name);
		der_put_int(out, DER_INTEGER, c->max);
		der_close(out);
		return;
	}
}

static void
put_constraints(struct der_out *out, uint8_t tag, const struct constraints *all)
{
	if (all->n == 0)
		return;
	der_open(out, tag);
	for (size_t i = 0; i < all->n; i++)
		put_constraint(out, &all->list[i]);
	der_close(out);
}

static void
put_scope_and_audience(struct der_out *out, const struct grant *grant)
{
	der_open(out, DER_SEQUENCE);
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		der_open(out, DER_SEQUENCE);
		put_texts(out, DER_SEQUENCE, DER_IA5, e->actions.list, e->actions.n);
		put_texts(out, DER_SEQUENCE, DER_IA5, e->resources.list, e->resources.n);
		if (e->delegable)
			der_put_bool(out, DER_CONTEXT(0), true);
		put_constraints(out, DER_CONTEXT_CONS(1), &e->constraints);
		der_close(out);
	}
	der_close(out);
	put_texts(out, DER_SEQUENCE, DER_IA5, grant->audience.list, grant->audience.n);
}

static void
put_optional(struct der_out *out, uint8_t tag, struct writ_bytes value)
{
	if (value.len)
		der_put(out, tag, value);
}

static void
put_hop(struct der_out *out, const struct hop *hop)
{
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_OCTET_STRING, hop->id);
	der_put(out, DER_IA5, hop->principal);
	der_put_int(out, DER_ENUMERATED, hop->kind);
	der_open(out, DER_SEQUENCE); /* AuthEvidence */
	der_put_int(out, DER_ENUMERATED, hop->method);
	der_put(out, DER_OCTET_STRING, hop->auth_digest);
	put_optional(out, DER_CONTEXT(0), hop->authority);
	if (hop->auth_time)
		der_put_generalized(out, DER_CONTEXT(1), hop->auth_time);
	put_optional(out, DER_CONTEXT(2), hop->acr);
	der_close(out);
	der_put_generalized(out, DER_GENERALIZED_TIME, hop->granted_at);
	der_put_generalized(out, DER_GENERALIZED_TIME, hop->not_after);
	der_put_int(out, DER_INTEGER, hop->depth_remaining);
	der_put(out, DER_OCTET_STRING, hop->scope_digest);
	if (hop->kind == PRINCIPAL_AGENT) {
		der_open(out, DER_CONTEXT_CONS(0)); /* CertRef */
		der_put(out, DER_OCTET_STRING, hop->cert_sha256);
		der_put_integer_bytes(out, DER_INTEGER, hop->cert_serial);
		der_put(out, DER_OCTET_STRING, hop->cert_issuer_key_id);
		der_close(out);
	}
	put_optional(out, DER_CONTEXT(1), hop->grant);
	der_close(out);
}

static void
put_task(struct der_out *out, const struct delegation *d)
{
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_IA5, d->task_id);
	put_optional(out, DER_CONTEXT(0), d->purpose);
	put_optional(out, DER_CONTEXT(1), d->parent_task);
	der_close(out);
}

static void
put_references(struct der_out *out, const struct delegation *d)
{
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_IA5, d->policy_id);
	der_put(out, DER_OCTET_STRING, d->policy_digest);
	der_close(out);
	put_constraints(out, DER_CONTEXT_CONS(0), &d->grant.constraints);
	if (d->context_type.len) {
		der_open(out, DER_CONTEXT_CONS(1));
		der_put(out, DER_IA5, d->context_type);
		der_put(out, DER_OCTET_STRING, d->context_digest);
		der_close(out);
	}
	if (d->attestation_type.len) {
		der_open(out, DER_CONTEXT_CONS(2));
		der_put(out, DER_IA5, d->attestation_type);
		der_put(out, DER_OCTET_STRING, d->attestation_digest);
		der_put_generalized(out, DER_GENERALIZED_TIME, d->attestation_at);
		der_close(out);
	}
}

/* Hops that come encoded are decoded for the rules, and written as they came: byte-equal (delegation.md 1.4). */
static struct writ_err *
check(const struct delegation *d)
{
	struct delegation decoded;
	struct writ_err *err;

	if (d->hops_der.len == 0)
		return delegation_rules(d);
	decoded = *d;
	err = hops_read(d->hops_der, &decoded.n_hops, decoded.hops);
	return err ? err : delegation_rules(&decoded);
}

struct writ_err *
delegation_write(const struct delegation *d, struct writ_buf *ret)
{
	static const struct place here = { 0 };
	struct der_out out = der_write(ret);
	const size_t start = ret->len;
	struct writ_err *err;

	err = check(d);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	der_put_int(&out, DER_INTEGER, 1);
	put_task(&out, d);
	put_scope_and_audience(&out, &d->grant);
	if (d->hops_der.len) {
		der_put(&out, DER_SEQUENCE, d->hops_der);
	} else {
		der_open(&out, DER_SEQUENCE);
		for (size_t i = 0; i < d->n_hops; i++)
			put_hop(&out, &d->hops[i]);
		der_close(&out);
	}
	put_references(&out, d);
	der_close(&out);
	err = der_finish(&out, "TaskDelegation");
	if (err)
		return err;
	if (ret->len - start > DELEGATION_MAX)
		return rule_broken(&here, "E1", "TaskDelegation has %zu bytes, the limit is %d", ret->len - start,
				   DELEGATION_MAX);
	return NULL;
}

struct writ_err *
hop_write(const struct hop *hop, struct writ_buf *ret)
{
	struct der_out out = der_write(ret);
	struct writ_err *err;

	err = hop_rules(hop, (struct place){ .hop = 1 });
	if (err)
		return err;
	put_hop(&out, hop);
	return der_finish(&out, "DelegationHop");
}

struct writ_err *
hop_grant_write(const struct grant *grant, struct writ_buf *ret)
{
	static const struct place here = { 0 };
	struct der_out out = der_write(ret);
	const size_t start = ret->len;
	struct writ_err *err;

	err = grant_rules(grant);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	put_scope_and_audience(&out, grant);
	put_constraints(&out, DER_CONTEXT_CONS(0), &grant->constraints);
	der_close(&out);
	err = der_finish(&out, "HopGrant");
	if (err)
		return err;
	if (ret->len - start > HOP_GRANT_MAX)
		return rule_broken(&here, "E1", "HopGrant has %zu bytes, the limit is %d", ret->len - start,
				   HOP_GRANT_MAX);
	return NULL;
}
