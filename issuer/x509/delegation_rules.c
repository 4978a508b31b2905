/*
 * What a delegation must be beyond its encoding.  Knows no bytes of DER, so that what is read and what will be written
 * are judged alike.
 */
#include "issuer/x509/delegation_rules.h"

#include <stdio.h>

#include "base/text.h"

struct writ_err *
rule_broken_va(const struct place *place, const char *rule, const char *fmt, va_list args)
{
	char where[80] = "", what[WRIT_MESSAGE_MAX];
	int len = 0;

	if (place->hop)
		len = snprintf(where, sizeof(where), "hop %u: ", place->hop);
	if (place->entitlement)
		len = snprintf(where, sizeof(where), "entitlement %u%s", place->entitlement,
			       place->constraint ? ", " : ": ");
	if (place->constraint)
		(void)snprintf(where + len, sizeof(where) - (size_t)len, "constraint %u: ", place->constraint);
	(void)vsnprintf(what, sizeof(what), fmt, args);
	return writ_fail(WRIT_INVALID, "%s: %s%s", rule, where, what);
}

struct writ_err *
rule_broken(const struct place *place, const char *rule, const char *fmt, ...)
{
	struct writ_err *err;
	va_list args;

	va_start(args, fmt);
	err = rule_broken_va(place, rule, fmt, args);
	va_end(args);
	return err;
}

/*
 * Messages begin with their rule, as rule_broken_va() writes them, and nobody else's do.  A rule may have a cause of its
 * own (the grammar of a name) and may be one (of "leaf: TaskDelegation"), so all are looked at.
 */
bool
delegation_rule_of(const struct writ_err *err, char out[DELEGATION_RULE])
{
	for (; err; err = err->cause) {
		const size_t len = strspn(err->message + (err->message[0] == 'E'), "0123456789") + 1;

		if (err->message[0] != 'E' || len < 2 || len >= DELEGATION_RULE || err->message[len] != ':')
			continue;
		memcpy(out, err->message, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

/* E4: IA5String of 0x21..0x7e, within its SIZE. */
static struct writ_err *
visible(const struct place *place, const char *field, struct writ_bytes text, size_t max)
{
	if (text.len == 0 || text.len > max)
		return rule_broken(place, "E1", "%s has %zu octets, 1 to %zu are allowed", field, text.len, max);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x21 || text.data[i] > 0x7e)
			return rule_broken(place, "E4", "%s has octet 0x%02x at %zu: only 0x21 to 0x7e may stand there",
					   field, text.data[i], i);
	return NULL;
}

static struct writ_err *
clean(const struct place *place, const char *field, struct writ_bytes text, size_t min, size_t max)
{
	if (text.len < min || text.len > max)
		return rule_broken(place, "E1", "%s has %zu octets, %zu to %zu are allowed", field, text.len, min, max);
	if (!writ_is_clean_utf8(text))
		return rule_broken(place, "E4", "%s is not UTF-8, or has control or bidi characters", field);
	return NULL;
}

static struct writ_err *
exactly(const struct place *place, const char *field, struct writ_bytes octets, size_t len)
{
	if (octets.len != len)
		return rule_broken(place, "E1", "%s has %zu octets, %zu are wanted", field, octets.len, len);
	return NULL;
}

static struct writ_err *
ascending(const struct place *place, const char *field, const struct texts *texts)
{
	for (size_t i = 1; i < texts->n; i++) {
		const int order = writ_order(texts->list[i - 1], texts->list[i]);

		if (order == 0)
			return rule_broken(place, "E6", "%s: element %zu stands there twice", field, i + 1);
		if (order > 0)
			return rule_broken(place, "E6", "%s: element %zu sorts before element %zu", field, i + 1, i);
	}
	return NULL;
}

static struct writ_err *
size(const struct place *place, const char *field, size_t n, size_t max)
{
	if (n == 0 || n > max)
		return rule_broken(place, "E1", "%s: %zu elements, 1 to %zu are allowed", field, n, max);
	return NULL;
}

static struct writ_err *
names(const struct place *place, const char *field, const char *one, const struct texts *texts, size_t max,
      size_t text_max)
{
	struct writ_err *err;

	err = size(place, field, texts->n, max);
	for (size_t i = 0; !err && i < texts->n; i++)
		err = visible(place, one, texts->list[i], text_max);
	return err ? err : ascending(place, field, texts);
}

/* E10: the mask is ones, then zeros; the address has no bit outside it. */
static struct writ_err *
net(const struct place *place, struct writ_bytes net)
{
	const size_t half = net.len / 2;
	bool ended = false;

	if (net.len != 8 && net.len != 32)
		return rule_broken(place, "E1", "a sourceNet has %zu octets, 8 or 32 are wanted", net.len);
	for (size_t i = 0; i < half; i++) {
		const uint8_t mask = net.data[half + i], rest = (uint8_t)~mask;

		if ((rest & (rest + 1)) != 0 || (ended && mask != 0))
			return rule_broken(place, "E10", "the mask of a sourceNet is not contiguous");
		ended = mask != 0xff;
		if (net.data[i] & rest)
			return rule_broken(place, "E10", "a sourceNet has address bits outside its mask");
	}
	return NULL;
}

static struct writ_err *
constraint_rules(const struct place *place, const struct constraint *c)
{
	const struct texts values = { c->n_values, c->values };
	struct writ_err *err = NULL;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		err = size(place, "sourceNet", c->n_values, CONSTRAINT_VALUES_MAX);
		for (size_t i = 0; !err && i < c->n_values; i++)
			err = net(place, c->values[i]);
		return err ? err : ascending(place, "sourceNet", &values);
	case CONSTRAINT_WINDOW:
		if (c->not_before > c->not_after)
			return rule_broken(place, "E9", "the window ends before it begins");
		return NULL;
	case CONSTRAINT_PARAM_IN:
		err = visible(place, "the name of paramIn", c->name, PARAM_NAME_MAX);
		if (!err)
			err = size(place, "paramIn", c->n_values, CONSTRAINT_VALUES_MAX);
		for (size_t i = 0; !err && i < c->n_values; i++)
			err = clean(place, "a value of paramIn", c->values[i], 0, PARAM_VALUE_MAX);
		return err ? err : ascending(place, "paramIn", &values);
	case CONSTRAINT_PARAM_MAX:
		err = visible(place, "the name of paramMax", c->name, PARAM_NAME_MAX);
		if (!err && (c->max > PARAM_INT_MAX || c->max < -PARAM_INT_MAX))
			return rule_broken(place, "E1", "paramMax %lld is beyond +-2^53-1", (long long)c->max);
		return err;
	}
	return rule_broken(place, "E1", "constraint [%d] is not one of version 1", (int)c->kind);
}

static struct writ_err *
constraints_rules(struct place place, const struct constraints *all)
{
	struct writ_err *err = NULL;

	if (all->n > CONSTRAINTS_MAX)
		return rule_broken(&place, "E1", "%zu constraints, the limit is %d", all->n, CONSTRAINTS_MAX);
	for (size_t i = 0; !err && i < all->n; i++) {
		const struct constraint *c = &all->list[i];

		place.constraint = (unsigned)i + 1;
		for (size_t j = 0; j < i; j++)
			if (all->list[j].kind == c->kind && writ_equal(all->list[j].name, c->name))
				return rule_broken(&place, "E9", "a second one of the kind%s: the first is number %zu",
						   c->name.len ? " and name" : "", j + 1);
		err = constraint_rules(&place, c);
	}
	return err;
}

struct writ_err *
grant_rules(const struct grant *grant)
{
	struct place place = { 0 };
	struct writ_err *err;

	err = size(&place, "scope", grant->n_entitlements, ENTITLEMENTS_MAX);
	for (size_t i = 0; !err && i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		place.entitlement = (unsigned)i + 1;
		err = names(&place, "actions", "an action", &e->actions, ACTIONS_MAX, ACTION_MAX);
		if (!err)
			err = names(&place, "resources", "a resource", &e->resources, RESOURCES_MAX, RESOURCE_MAX);
		if (!err)
			err = constraints_rules(place, &e->constraints);
	}
	place.entitlement = 0;
	if (!err)
		err = names(&place, "audience", "one of the audience", &grant->audience, AUDIENCE_MAX, RESOURCE_MAX);
	if (!err)
		err = constraints_rules(place, &grant->constraints);
	if (err)
		return err;
	err = grant_check(grant); /* the grammar of 4.1: a name that two parsers read in two ways is worth nothing */
	return err ? writ_because(err, "E4: a name is not in the canonical form of delegation.md 4.1") : NULL;
}

/* The principal's URI says what it is; the kind beside it must agree (E7 rests on the kind). */
static struct writ_err *
principal(const struct place *place, const struct hop *hop)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = visible(place, "principal", hop->principal, PRINCIPAL_MAX);
	if (err)
		return err;
	if (hop->kind != PRINCIPAL_HUMAN && hop->kind != PRINCIPAL_SERVICE && hop->kind != PRINCIPAL_AGENT)
		return rule_broken(place, "E1", "principal kind %d is not one of version 1", (int)hop->kind);
	err = spiffe_parse(hop->principal, &id);
	if (err)
		return writ_because(err, "E4: hop %u: principal", place->hop);
	if (id.kind != hop->kind)
		return rule_broken(place, "E7", "kind is %s, but the principal is '%.*s'",
				   principal_kind_name(hop->kind), WRIT_FMT(hop->principal));
	if (id.kind == PRINCIPAL_AGENT && id.instance.len == 0)
		return rule_broken(place, "E7", "the principal is a class of agents, not an agent: '%.*s'",
				   WRIT_FMT(hop->principal));
	return NULL;
}

static struct writ_err *
cert_ref(const struct place *place, const struct hop *hop)
{
	struct writ_err *err;

	if (hop->kind != PRINCIPAL_AGENT) {
		if (hop->cert_sha256.len || hop->cert_serial.len || hop->cert_issuer_key_id.len)
			return rule_broken(place, "E7", "a %s has no certificate reference",
					   principal_kind_name(hop->kind));
		return NULL;
	}
	if (hop->cert_sha256.len == 0)
		return rule_broken(place, "E7", "an agent's hop needs a certificate reference");
	err = exactly(place, "cert.sha256", hop->cert_sha256, DIGEST_LEN);
	if (!err)
		err = exactly(place, "cert.issuerKeyId", hop->cert_issuer_key_id, 20);
	if (!err && (hop->cert_serial.len == 0 || hop->cert_serial.data[0] == 0))
		return rule_broken(place, "E1", "cert.serial is not positive");
	if (!err && hop->cert_serial.len + (hop->cert_serial.data[0] >> 7) > 20)
		return rule_broken(place, "E1", "cert.serial has over 20 octets");
	return err;
}

static bool
time_ok(writ_time t)
{
	return t >= 0 && t <= WRIT_TIME_MAX;
}

struct writ_err *
hop_rules(const struct hop *hop, struct place place)
{
	struct writ_err *err;

	err = exactly(&place, "id", hop->id, EDGE_ID);
	if (!err)
		err = principal(&place, hop);
	if (!err && ((int)hop->method < AUTH_MTLS_CERT || hop->method > AUTH_WRIT_CERT))
		return rule_broken(&place, "E1", "auth method %d is not one of version 1", (int)hop->method);
	if (!err)
		err = exactly(&place, "auth.digest", hop->auth_digest, DIGEST_LEN);
	if (!err && hop->authority.len)
		err = visible(&place, "auth.authority", hop->authority, AUTHORITY_MAX);
	if (!err && hop->acr.len)
		err = visible(&place, "auth.acr", hop->acr, ACR_MAX);
	if (!err && (!time_ok(hop->granted_at) || !time_ok(hop->not_after) || !time_ok(hop->auth_time)))
		return rule_broken(&place, "E5", "a time lies before 1970 or after 9999");
	if (!err && hop->depth_remaining > DEPTH_MAX)
		return rule_broken(&place, "E1", "depthRemaining %u, the limit is %d", hop->depth_remaining, DEPTH_MAX);
	if (!err)
		err = exactly(&place, "scopeDigest", hop->scope_digest, DIGEST_LEN);
	if (!err)
		err = cert_ref(&place, hop);
	if (!err && hop->grant.len)
		err = exactly(&place, "grant", hop->grant, DIGEST_LEN);
	return err;
}

/* E7 and E8: what each hop owes to those before it. */
static struct writ_err *
chain_rules(const struct hop *hops, size_t i)
{
	const struct place place = { .hop = (unsigned)i + 1 };
	const struct hop *hop = &hops[i], *before;

	if (i == 0 && hop->kind == PRINCIPAL_AGENT)
		return rule_broken(&place, "E7", "the root is an agent: it must be a human or a service");
	if (i == 0)
		return NULL;
	if (hop->kind != PRINCIPAL_AGENT)
		return rule_broken(&place, "E7", "a %s can only be the root", principal_kind_name(hop->kind));
	for (size_t j = 0; j < i; j++) {
		if (writ_equal(hops[j].id, hop->id))
			return rule_broken(&place, "E7", "its id is that of hop %zu", j + 1);
		if (writ_equal(hops[j].cert_sha256, hop->cert_sha256))
			return rule_broken(&place, "E7", "its certificate is that of hop %zu", j + 1);
	}
	before = hop - 1;
	if (hop->not_after > before->not_after)
		return rule_broken(&place, "E8", "ends %lld s after the hop before it",
				   (long long)(hop->not_after - before->not_after));
	if (hop->depth_remaining >= before->depth_remaining)
		return rule_broken(&place, "E8", "depthRemaining is %u, it must be below the %u of the hop before it",
				   hop->depth_remaining, before->depth_remaining);
	if (hop->granted_at < before->granted_at)
		return rule_broken(&place, "E8", "was granted %lld s before the hop before it",
				   (long long)(before->granted_at - hop->granted_at));
	return NULL;
}

static struct writ_err *
task_rules(const struct delegation *d)
{
	static const struct place here = { 0 };
	struct writ_err *err;

	err = task_id_check(d->task_id);
	if (err)
		return writ_because(err, "E4: task id");
	if (d->parent_task.len) {
		err = task_id_check(d->parent_task);
		if (err)
			return writ_because(err, "E4: parent task");
	}
	return d->purpose.len ? clean(&here, "purpose", d->purpose, 1, PURPOSE_MAX) : NULL;
}

static struct writ_err *
reference(const char *type_field, struct writ_bytes type, size_t type_max, const char *digest_field,
	  struct writ_bytes digest)
{
	static const struct place here = { 0 };
	struct writ_err *err;

	err = visible(&here, type_field, type, type_max);
	return err ? err : exactly(&here, digest_field, digest, DIGEST_LEN);
}

struct writ_err *
delegation_rules(const struct delegation *d)
{
	static const struct place here = { 0 };
	struct writ_err *err;

	err = task_rules(d);
	if (!err)
		err = grant_rules(&d->grant);
	if (!err)
		err = size(&here, "hops", d->n_hops, HOPS_MAX);
	for (size_t i = 0; !err && i < d->n_hops; i++) {
		err = hop_rules(&d->hops[i], (struct place){ .hop = (unsigned)i + 1 });
		if (!err)
			err = chain_rules(d->hops, i);
	}
	if (!err)
		err = reference("policy.id", d->policy_id, POLICY_REF_MAX, "policy.digest", d->policy_digest);
	if (!err && (d->context_type.len || d->context_digest.len))
		err = reference("context.type", d->context_type, CONTEXT_TYPE_MAX, "context.digest", d->context_digest);
	if (!err && (d->attestation_type.len || d->attestation_digest.len))
		err = reference("attestation.type", d->attestation_type, ATTESTATION_TYPE_MAX, "attestation.digest",
				d->attestation_digest);
	if (!err && !time_ok(d->attestation_at))
		return rule_broken(&here, "E5", "attestation.verifiedAt lies before 1970 or after 9999");
	return err;
}

struct writ_err *
delegation_check_validity(const struct delegation *d, writ_time cert_not_after)
{
	const struct place place = { .hop = (unsigned)d->n_hops };
	writ_time end;

	if (d->n_hops == 0)
		return rule_broken(&place, "E1", "hops: 0 elements, 1 to %d are allowed", HOPS_MAX);
	end = d->hops[d->n_hops - 1].not_after;
	if (cert_not_after > end)
		return rule_broken(&place, "E8", "the certificate ends %lld s after its last hop",
				   (long long)(cert_not_after - end));
	return NULL;
}

const char *
auth_method_name(enum auth_method method)
{
	switch (method) {
	case AUTH_MTLS_CERT:
		return "mtlsCert";
	case AUTH_SIGNED_GRANT:
		return "signedGrant";
	case AUTH_OIDC_ID_TOKEN:
		return "oidcIdToken";
	case AUTH_WRIT_CERT:
		return "writCert";
	}
	return "unknown";
}
