/*
 * The reader of TaskDelegation and HopGrant (delegation.md 3.2): one function a type, in the order of the ASN.1 module.
 *
 * Every element is taken strictly and every list is counted before memory is taken for it, so what is accepted has one
 * encoding only (E1).  The grammar nests 7 deep and no function calls itself, which keeps the 12 of E1 without a
 * counter.  The first refusal sticks in `struct reading`; functions return false from then on.  Rules that are not of
 * the encoding: delegation_rules.c.
 */
#include "issuer/x509/delegation_rules.h"

#include "base/der.h"

struct reading {
	struct writ_arena *arena;
	struct place place;
	struct writ_err *err;
};

static bool refuse(struct reading *, const char *rule, const char *fmt, ...) WRIT_PRINTF(3, 4);

static bool
refuse(struct reading *r, const char *rule, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!r->err)
		r->err = rule_broken_va(&r->place, rule, fmt, args);
	va_end(args);
	return false;
}

/* ---- elements ---- */

static bool
take(struct reading *r, struct der *in, uint8_t tag, const char *field, struct der *ret)
{
	return der_take(in, tag, ret) || refuse(r, "E1", "%s: missing, misplaced or not DER", field);
}

static bool
take_bytes(struct reading *r, struct der *in, uint8_t tag, const char *field, struct writ_bytes *ret)
{
	return der_take_bytes(in, tag, ret) || refuse(r, "E1", "%s: missing, misplaced or not DER", field);
}

/* One that is there must not be empty: empty means absent in our structures, and has no encoding. */
static bool
take_optional(struct reading *r, struct der *in, uint8_t tag, const char *field, struct writ_bytes *ret)
{
	if (!der_next_is(in, tag))
		return true;
	return take_bytes(r, in, tag, field, ret) && (ret->len > 0 || refuse(r, "E1", "%s: empty", field));
}

static bool
take_time(struct reading *r, struct der *in, uint8_t tag, const char *field, writ_time *ret)
{
	if (der_take_generalized(in, tag, ret))
		return true;
	if (der_next_is(in, tag))
		return refuse(r, "E5", "%s: not YYYYMMDDHHMMSSZ of a real date", field);
	return refuse(r, "E1", "%s: missing or misplaced", field);
}

static bool
take_number(struct reading *r, struct der *in, uint8_t tag, const char *field, uint64_t max, uint64_t *ret)
{
	return der_take_unsigned(in, tag, max, ret) ||
	       refuse(r, "E1", "%s: missing, not DER, or not in 0..%llu", field, (unsigned long long)max);
}

static bool
at_end(struct reading *r, const struct der *in, const char *field)
{
	return der_at_end(in) || refuse(r, "E1", "%s: %zu bytes more than the format has", field, der_rest(in).len);
}

/* Takes a list and counts it: nothing is allocated for one that is too long. */
static bool
take_list(struct reading *r, struct der *in, uint8_t tag, const char *field, size_t max, struct der *ret, size_t *ret_n)
{
	struct der ahead;
	struct writ_bytes whole;
	uint8_t any;

	*ret_n = 0;
	if (!take(r, in, tag, field, ret))
		return false;
	for (ahead = *ret; !der_at_end(&ahead); (*ret_n)++) {
		if (*ret_n == max)
			return refuse(r, "E1", "%s: more than %zu elements", field, max);
		if (!der_take_any(&ahead, &any, &whole))
			return refuse(r, "E1", "%s: element %zu is not DER", field, *ret_n + 1);
	}
	return *ret_n > 0 || refuse(r, "E1", "%s: empty: a list has at least one element", field);
}

static void *
memory(struct reading *r, size_t len)
{
	void *mem = writ_arena_take(r->arena, len);

	if (!mem && !r->err)
		r->err = writ_fail(WRIT_EXHAUSTED, "delegation: no memory for its lists, the limit is %zu bytes",
				   r->arena->limit);
	return mem;
}

static bool
read_texts(struct reading *r, struct der *in, uint8_t tag, uint8_t element, const char *field, size_t max,
	   struct texts *ret)
{
	struct writ_bytes *texts;
	struct der list;
	size_t n;

	if (!take_list(r, in, tag, field, max, &list, &n))
		return false;
	texts = memory(r, n * sizeof(*texts));
	if (!texts)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!take_bytes(r, &list, element, field, &texts[i]))
			return false;
	*ret = (struct texts){ n, texts };
	return true;
}

/* ---- constraints, scope ---- */

static bool
read_window(struct reading *r, struct der *in, struct constraint *c)
{
	struct der window;

	return take(r, in, DER_CONTEXT_CONS(1), "window", &window) &&
	       take_time(r, &window, DER_GENERALIZED_TIME, "window.notBefore", &c->not_before) &&
	       take_time(r, &window, DER_GENERALIZED_TIME, "window.notAfter", &c->not_after) &&
	       at_end(r, &window, "window");
}

static bool
read_param_in(struct reading *r, struct der *in, struct constraint *c)
{
	struct texts values = { 0 };
	struct der param;

	if (!take(r, in, DER_CONTEXT_CONS(3), "paramIn", &param) ||
	    !take_bytes(r, &param, DER_IA5, "paramIn.name", &c->name) ||
	    !read_texts(r, &param, DER_SEQUENCE, DER_UTF8, "paramIn.values", CONSTRAINT_VALUES_MAX, &values))
		return false;
	c->n_values = values.n;
	c->values = values.list;
	return at_end(r, &param, "paramIn");
}

static bool
read_param_max(struct reading *r, struct der *in, struct constraint *c)
{
	struct der param;

	if (!take(r, in, DER_CONTEXT_CONS(4), "paramMax", &param) ||
	    !take_bytes(r, &param, DER_IA5, "paramMax.name", &c->name))
		return false;
	if (!der_take_int(&param, DER_INTEGER, &c->max))
		return refuse(r, "E1", "paramMax.max is not an INTEGER of 8 octets at most");
	return at_end(r, &param, "paramMax");
}

static bool
read_constraint(struct reading *r, struct der *in, struct constraint *c)
{
	struct texts nets = { 0 };

	if (der_next_is(in, DER_CONTEXT_CONS(0))) {
		c->kind = CONSTRAINT_SOURCE_NET;
		if (!read_texts(r, in, DER_CONTEXT_CONS(0), DER_OCTET_STRING, "sourceNet", CONSTRAINT_VALUES_MAX,
				&nets))
			return false;
		c->n_values = nets.n;
		c->values = nets.list;
		return true;
	}
	if (der_next_is(in, DER_CONTEXT_CONS(1))) {
		c->kind = CONSTRAINT_WINDOW;
		return read_window(r, in, c);
	}
	if (der_next_is(in, DER_CONTEXT_CONS(3))) {
		c->kind = CONSTRAINT_PARAM_IN;
		return read_param_in(r, in, c);
	}
	if (der_next_is(in, DER_CONTEXT_CONS(4))) {
		c->kind = CONSTRAINT_PARAM_MAX;
		return read_param_max(r, in, c);
	}
	return refuse(r, "E1", "tag 0x%02x is no constraint of version 1: what we do not know, we deny", *in->at);
}

static bool
read_constraints(struct reading *r, struct der *in, uint8_t tag, struct constraints *ret)
{
	struct constraint *list;
	struct der inner;
	size_t n;

	if (!der_next_is(in, tag))
		return true;
	if (!take_list(r, in, tag, "constraints", CONSTRAINTS_MAX, &inner, &n))
		return false;
	list = memory(r, n * sizeof(*list));
	if (!list)
		return false;
	for (size_t i = 0; i < n; i++) {
		r->place.constraint = (unsigned)i + 1;
		if (!read_constraint(r, &inner, &list[i]))
			return false;
	}
	r->place.constraint = 0;
	*ret = (struct constraints){ n, list };
	return true;
}

static bool
read_entitlement(struct reading *r, struct der *in, struct entitlement *e)
{
	struct der inner;

	if (!take(r, in, DER_SEQUENCE, "entitlement", &inner) ||
	    !read_texts(r, &inner, DER_SEQUENCE, DER_IA5, "actions", ACTIONS_MAX, &e->actions) ||
	    !read_texts(r, &inner, DER_SEQUENCE, DER_IA5, "resources", RESOURCES_MAX, &e->resources))
		return false;
	if (der_next_is(&inner, DER_CONTEXT(0))) {
		if (!der_take_bool(&inner, DER_CONTEXT(0), &e->delegable))
			return refuse(r, "E1", "delegable is not a BOOLEAN of 00 or FF");
		if (!e->delegable)
			return refuse(r, "E1", "delegable FALSE is written out: DER leaves a default out");
	}
	return read_constraints(r, &inner, DER_CONTEXT_CONS(1), &e->constraints) &&
	       at_end(r, &inner, "the entitlement");
}

static bool
read_scope(struct reading *r, struct der *in, struct grant *ret)
{
	struct entitlement *list;
	struct der inner;
	size_t n;

	if (!take_list(r, in, DER_SEQUENCE, "scope", ENTITLEMENTS_MAX, &inner, &n))
		return false;
	list = memory(r, n * sizeof(*list));
	if (!list)
		return false;
	for (size_t i = 0; i < n; i++) {
		r->place.entitlement = (unsigned)i + 1;
		if (!read_entitlement(r, &inner, &list[i]))
			return false;
	}
	r->place.entitlement = 0;
	ret->n_entitlements = n;
	ret->entitlements = list;
	return true;
}

static bool
read_audience(struct reading *r, struct der *in, struct grant *ret)
{
	return read_texts(r, in, DER_SEQUENCE, DER_IA5, "audience", AUDIENCE_MAX, &ret->audience);
}

/* ---- hops ---- */

static bool
read_auth(struct reading *r, struct der *in, struct hop *hop)
{
	struct der auth;
	uint64_t method;

	if (!take(r, in, DER_SEQUENCE, "auth", &auth) ||
	    !take_number(r, &auth, DER_ENUMERATED, "auth.method", AUTH_WRIT_CERT, &method) ||
	    !take_bytes(r, &auth, DER_OCTET_STRING, "auth.digest", &hop->auth_digest) ||
	    !take_optional(r, &auth, DER_CONTEXT(0), "auth.authority", &hop->authority))
		return false;
	hop->method = (enum auth_method)method;
	if (der_next_is(&auth, DER_CONTEXT(1))) {
		if (!take_time(r, &auth, DER_CONTEXT(1), "auth.authTime", &hop->auth_time))
			return false;
		if (hop->auth_time == 0)
			return refuse(r, "E5", "auth.authTime is the first second of 1970, which stands for none");
	}
	return take_optional(r, &auth, DER_CONTEXT(2), "auth.acr", &hop->acr) && at_end(r, &auth, "auth");
}

static bool
read_cert_ref(struct reading *r, struct der *in, struct hop *hop)
{
	struct der ref;

	if (!der_next_is(in, DER_CONTEXT_CONS(0)))
		return true;
	if (!take(r, in, DER_CONTEXT_CONS(0), "cert", &ref) ||
	    !take_bytes(r, &ref, DER_OCTET_STRING, "cert.sha256", &hop->cert_sha256))
		return false;
	if (hop->cert_sha256.len == 0) /* would look absent to the rules */
		return refuse(r, "E1", "cert.sha256 is empty");
	if (!der_take_integer_bytes(&ref, DER_INTEGER, &hop->cert_serial) || hop->cert_serial.data[0] & 0x80)
		return refuse(r, "E1", "cert.serial is not a positive INTEGER in DER");
	if (hop->cert_serial.data[0] == 0 && hop->cert_serial.len > 1) { /* minimal: this zero is the sign */
		hop->cert_serial.data++;
		hop->cert_serial.len--;
	}
	return take_bytes(r, &ref, DER_OCTET_STRING, "cert.issuerKeyId", &hop->cert_issuer_key_id) &&
	       at_end(r, &ref, "cert");
}

static bool
read_hop(struct reading *r, struct der *in, struct hop *hop)
{
	uint64_t kind, depth;
	struct der inner;

	*hop = (struct hop){ 0 };
	if (!take(r, in, DER_SEQUENCE, "the hop", &inner) || !take_bytes(r, &inner, DER_OCTET_STRING, "id", &hop->id) ||
	    !take_bytes(r, &inner, DER_IA5, "principal", &hop->principal) ||
	    !take_number(r, &inner, DER_ENUMERATED, "kind", PRINCIPAL_AGENT, &kind) || !read_auth(r, &inner, hop) ||
	    !take_time(r, &inner, DER_GENERALIZED_TIME, "grantedAt", &hop->granted_at) ||
	    !take_time(r, &inner, DER_GENERALIZED_TIME, "notAfter", &hop->not_after) ||
	    !take_number(r, &inner, DER_INTEGER, "depthRemaining", DEPTH_MAX, &depth) ||
	    !take_bytes(r, &inner, DER_OCTET_STRING, "scopeDigest", &hop->scope_digest) ||
	    !read_cert_ref(r, &inner, hop) || !take_optional(r, &inner, DER_CONTEXT(1), "grant", &hop->grant) ||
	    !at_end(r, &inner, "the hop"))
		return false;
	hop->kind = (enum principal_kind)kind;
	hop->depth_remaining = (unsigned)depth;
	return true;
}

static bool
read_hops(struct reading *r, struct writ_bytes contents, size_t *ret_n, struct hop ret[HOPS_MAX])
{
	struct der in = der_read(contents);

	for (*ret_n = 0; !der_at_end(&in); (*ret_n)++) {
		r->place.hop = (unsigned)*ret_n + 1;
		if (*ret_n == HOPS_MAX)
			return refuse(r, "E1", "a delegation has at most %d hops", HOPS_MAX);
		if (!read_hop(r, &in, &ret[*ret_n]))
			return false;
	}
	r->place.hop = 0;
	return true;
}

struct writ_err *
hops_read(struct writ_bytes contents, size_t *ret_n, struct hop ret[HOPS_MAX])
{
	struct reading r = { 0 };

	(void)read_hops(&r, contents, ret_n, ret);
	return r.err;
}

/* ---- the whole ---- */

static bool
read_task(struct reading *r, struct der *in, struct delegation *d)
{
	struct der task;

	return take(r, in, DER_SEQUENCE, "task", &task) && take_bytes(r, &task, DER_IA5, "task.id", &d->task_id) &&
	       take_optional(r, &task, DER_CONTEXT(0), "task.purpose", &d->purpose) &&
	       take_optional(r, &task, DER_CONTEXT(1), "task.parent", &d->parent_task) && at_end(r, &task, "task");
}

static bool
read_policy(struct reading *r, struct der *in, struct delegation *d)
{
	struct der policy;

	return take(r, in, DER_SEQUENCE, "policy", &policy) &&
	       take_bytes(r, &policy, DER_IA5, "policy.id", &d->policy_id) &&
	       take_bytes(r, &policy, DER_OCTET_STRING, "policy.digest", &d->policy_digest) &&
	       at_end(r, &policy, "policy");
}

static bool
read_context(struct reading *r, struct der *in, struct delegation *d)
{
	struct der context;

	if (!der_next_is(in, DER_CONTEXT_CONS(1)))
		return true;
	return take(r, in, DER_CONTEXT_CONS(1), "context", &context) &&
	       take_bytes(r, &context, DER_IA5, "context.type", &d->context_type) &&
	       take_bytes(r, &context, DER_OCTET_STRING, "context.digest", &d->context_digest) &&
	       at_end(r, &context, "context") &&
	       (d->context_type.len > 0 ||
		refuse(r, "E1", "context.type has 0 octets, 1 to %d are allowed", CONTEXT_TYPE_MAX));
}

static bool
read_attestation(struct reading *r, struct der *in, struct delegation *d)
{
	struct der attestation;

	if (!der_next_is(in, DER_CONTEXT_CONS(2)))
		return true;
	return take(r, in, DER_CONTEXT_CONS(2), "attestation", &attestation) &&
	       take_bytes(r, &attestation, DER_IA5, "attestation.type", &d->attestation_type) &&
	       take_bytes(r, &attestation, DER_OCTET_STRING, "attestation.digest", &d->attestation_digest) &&
	       take_time(r, &attestation, DER_GENERALIZED_TIME, "attestation.verifiedAt", &d->attestation_at) &&
	       at_end(r, &attestation, "attestation") &&
	       (d->attestation_type.len > 0 ||
		refuse(r, "E1", "attestation.type has 0 octets, 1 to %d are allowed", ATTESTATION_TYPE_MAX));
}

static bool
read_version(struct reading *r, struct der *in)
{
	int64_t version;

	if (!der_take_int(in, DER_INTEGER, &version))
		return refuse(r, "E1", "version: missing or not DER");
	return version == 1 || refuse(r, "E2", "version %lld: this reader knows version 1 only", (long long)version);
}

static bool
read_delegation(struct reading *r, struct writ_bytes der, struct delegation *d)
{
	struct der in = der_read(der), inner, hops;

	if (!take(r, &in, DER_SEQUENCE, "TaskDelegation", &inner) || !at_end(r, &in, "TaskDelegation") ||
	    !read_version(r, &inner) || !read_task(r, &inner, d) || !read_scope(r, &inner, &d->grant) ||
	    !read_audience(r, &inner, &d->grant) || !take(r, &inner, DER_SEQUENCE, "hops", &hops))
		return false;
	d->hops_der = der_rest(&hops);
	return read_hops(r, d->hops_der, &d->n_hops, d->hops) && read_policy(r, &inner, d) &&
	       read_constraints(r, &inner, DER_CONTEXT_CONS(0), &d->grant.constraints) && read_context(r, &inner, d) &&
	       read_attestation(r, &inner, d) && at_end(r, &inner, "TaskDelegation");
}

struct writ_err *
delegation_read(struct writ_bytes der, struct writ_arena *arena, struct delegation *ret)
{
	struct reading r = { .arena = arena };

	*ret = (struct delegation){ 0 };
	if (der.len > DELEGATION_MAX)
		return rule_broken(&r.place, "E1", "TaskDelegation has %zu bytes, the limit is %d", der.len,
				   DELEGATION_MAX);
	if (!read_delegation(&r, der, ret))
		return r.err;
	return delegation_rules(ret);
}

struct writ_err *
hop_grant_read(struct writ_bytes der, struct writ_arena *arena, struct grant *ret)
{
	struct reading r = { .arena = arena };
	struct der in = der_read(der), inner;

	*ret = (struct grant){ 0 };
	if (der.len > HOP_GRANT_MAX)
		return rule_broken(&r.place, "E1", "HopGrant has %zu bytes, the limit is %d", der.len, HOP_GRANT_MAX);
	if (!take(&r, &in, DER_SEQUENCE, "HopGrant", &inner) || !at_end(&r, &in, "HopGrant") ||
	    !read_scope(&r, &inner, ret) || !read_audience(&r, &inner, ret) ||
	    !read_constraints(&r, &inner, DER_CONTEXT_CONS(0), &ret->constraints) || !at_end(&r, &inner, "HopGrant"))
		return r.err;
	return grant_rules(ret);
}
