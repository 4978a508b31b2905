/*
 * The leaf as JSON, names and order of delegation.md 6.3: RFC 8693 for who acts for whom, RFC 9396 for what is allowed.
 *
 * An entitlement is written with its effective constraints, those of the whole certificate among them: whoever reads
 * one entry alone cannot miss one.  Unsigned: whoever hands it on signs it.
 */
#include <inttypes.h>

#include "base/digest.h"
#include "issuer/x509/say.h"

static void
json_text(struct say *say, struct writ_bytes text)
{
	if (!say->err)
		say->err = writ_json_string(text, say->buf);
}

static void
json_hex(struct say *say, const char *name, struct writ_bytes bytes)
{
	SAY(say, "\"%s\":\"", name);
	say_hex(say, bytes);
	SAY(say, "\"");
}

static void
json_time(struct say *say, const char *name, writ_time t)
{
	SAY(say, "\"%s\":\"", name);
	say_time(say, t);
	SAY(say, "\"");
}

static void
json_member(struct say *say, const char *name, struct writ_bytes text)
{
	SAY(say, "\"%s\":", name);
	json_text(say, text);
}

static void
json_texts(struct say *say, const char *name, const struct writ_bytes *list, size_t n)
{
	SAY(say, "\"%s\":[", name);
	for (size_t i = 0; i < n; i++) {
		SAY(say, "%s", i ? "," : "");
		json_text(say, list[i]);
	}
	SAY(say, "]");
}

/* sub is the root; the outermost act is the leaf's holder, inside it those before, the nearest first. */
static void
json_actors(struct say *say, const struct leaf *leaf)
{
	const struct delegation *d = &leaf->delegation;
	const size_t n_agents = d->n_hops - 1; /* all hops but the root's */

	json_member(say, "sub", d->hops[0].principal);
	SAY(say, ",\"act\":{");
	json_member(say, "sub", leaf->san);
	for (size_t i = n_agents; i > 0; i--) {
		SAY(say, ",\"act\":{");
		json_member(say, "sub", d->hops[i].principal);
	}
	for (size_t i = 0; i <= n_agents; i++)
		SAY(say, "}");
}

static void
json_constraint(struct say *say, const struct constraint *c)
{
	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		SAY(say, "{\"sourceNet\":[");
		for (size_t i = 0; i < c->n_values; i++) {
			SAY(say, "%s\"", i ? "," : "");
			say_net(say, c->values[i]);
			SAY(say, "\"");
		}
		SAY(say, "]}");
		return;
	case CONSTRAINT_WINDOW:
		SAY(say, "{\"window\":{");
		json_time(say, "not_before", c->not_before);
		SAY(say, ",");
		json_time(say, "not_after", c->not_after);
		SAY(say, "}}");
		return;
	case CONSTRAINT_PARAM_IN:
		SAY(say, "{\"paramIn\":{");
		json_member(say, "name", c->name);
		SAY(say, ",");
		json_texts(say, "values", c->values, c->n_values);
		SAY(say, "}}");
		return;
	case CONSTRAINT_PARAM_MAX:
		SAY(say, "{\"paramMax\":{");
		json_member(say, "name", c->name);
		SAY(say, ",\"max\":%" PRId64 "}}", c->max);
		return;
	}
}

static void
json_entitlement(struct say *say, const struct entitlement *e, const struct constraints *everywhere)
{
	SAY(say, "{\"type\":\"writ_entitlement_v1\",");
	json_texts(say, "actions", e->actions.list, e->actions.n);
	SAY(say, ",");
	json_texts(say, "resources", e->resources.list, e->resources.n);
	SAY(say, ",\"delegable\":%s,\"constraints\":[", e->delegable ? "true" : "false");
	for (size_t i = 0; i < everywhere->n; i++) {
		SAY(say, "%s", i ? "," : "");
		json_constraint(say, &everywhere->list[i]);
	}
	for (size_t i = 0; i < e->constraints.n; i++) {
		SAY(say, "%s", i || everywhere->n ? "," : "");
		json_constraint(say, &e->constraints.list[i]);
	}
	SAY(say, "]}");
}

static void
json_hop(struct say *say, const struct hop *hop)
{
	SAY(say, "{");
	json_hex(say, "id", hop->id);
	SAY(say, ",");
	json_member(say, "principal", hop->principal);
	SAY(say, ",\"kind\":\"%s\",\"method\":\"%s\",", principal_kind_name(hop->kind), auth_method_name(hop->method));
	json_hex(say, "auth_digest", hop->auth_digest);
	SAY(say, ",");
	if (hop->authority.len) {
		json_member(say, "authority", hop->authority);
		SAY(say, ",");
	}
	if (hop->auth_time) {
		json_time(say, "auth_time", hop->auth_time);
		SAY(say, ",");
	}
	if (hop->acr.len) {
		json_member(say, "acr", hop->acr);
		SAY(say, ",");
	}
	json_time(say, "granted_at", hop->granted_at);
	SAY(say, ",");
	json_time(say, "not_after", hop->not_after);
	SAY(say, ",\"depth\":%u,", hop->depth_remaining);
	json_hex(say, "scope_digest", hop->scope_digest);
	if (hop->cert_sha256.len) {
		SAY(say, ",\"cert\":{");
		json_hex(say, "sha256", hop->cert_sha256);
		SAY(say, ",");
		json_hex(say, "serial", hop->cert_serial);
		SAY(say, ",");
		json_hex(say, "issuer_key_id", hop->cert_issuer_key_id);
		SAY(say, "}");
	}
	if (hop->grant.len) {
		SAY(say, ",");
		json_hex(say, "grant", hop->grant);
	}
	SAY(say, "}");
}

static void
json_reference(struct say *say, const char *name, const char *type_name, struct writ_bytes type,
	       struct writ_bytes digest)
{
	SAY(say, ",\"%s\":{", name);
	json_member(say, type_name, type);
	SAY(say, ",");
	json_hex(say, "digest", digest);
}

static void
json_writ(struct say *say, const struct leaf *leaf, const uint8_t leaf_sha256[32])
{
	const struct delegation *d = &leaf->delegation;

	SAY(say, ",\"writ\":{\"v\":1,\"purpose\":");
	if (d->purpose.len)
		json_text(say, d->purpose);
	else
		SAY(say, "null");
	if (d->parent_task.len) {
		SAY(say, ",");
		json_member(say, "parent_task", d->parent_task);
	}
	SAY(say, ",\"tier\":\"%s\",\"hops\":[", leaf_tier_name(leaf->tier));
	for (size_t i = 0; i < d->n_hops; i++) {
		SAY(say, "%s", i ? "," : "");
		json_hop(say, &d->hops[i]);
	}
	SAY(say, "]");
	json_reference(say, "policy", "id", d->policy_id, d->policy_digest);
	SAY(say, "}");
	if (d->context_type.len) {
		json_reference(say, "context", "type", d->context_type, d->context_digest);
		SAY(say, "}");
	} else {
		SAY(say, ",\"context\":null");
	}
	if (d->attestation_type.len) {
		json_reference(say, "attestation", "type", d->attestation_type, d->attestation_digest);
		SAY(say, ",");
		json_time(say, "verified_at", d->attestation_at);
		SAY(say, "}");
	} else {
		SAY(say, ",\"attestation\":null");
	}
	SAY(say, ",\"log\":{");
	json_hex(say, "id", leaf->log_id);
	SAY(say, ",\"index\":%" PRIu64 ",", writ_get64(leaf->log_index.data));
	json_hex(say, "leaf_hash", leaf->log_hash);
	SAY(say, "},");
	json_hex(say, "serial", leaf->serial);
	SAY(say, ",");
	json_hex(say, "leaf_sha256", (struct writ_bytes){ leaf_sha256, SHA256_LEN });
	SAY(say, "}");
}

struct writ_err *
leaf_json(const struct leaf *leaf, struct writ_bytes certificate, struct writ_buf *ret)
{
	const struct grant *grant = &leaf->delegation.grant;
	struct say say = { .buf = ret };
	uint8_t digest[SHA256_LEN];

	writ_sha256(certificate, digest);
	SAY(&say, "{\"iss\":\"spiffe://%.*s\",", SAY_ALL(leaf->trust_domain));
	json_actors(&say, leaf);
	SAY(&say, ",\"cnf\":{\"x5t#S256\":\"");
	if (!say.err)
		say.err = writ_base64url((struct writ_bytes){ digest, sizeof(digest) }, ret);
	SAY(&say, "\"},\"iat\":%" PRId64 ",\"nbf\":%" PRId64 ",\"exp\":%" PRId64 ",", leaf->not_before,
	    leaf->not_before, leaf->not_after);
	json_texts(&say, "aud", grant->audience.list, grant->audience.n);
	SAY(&say, ",");
	json_member(&say, "txn", leaf->task_id);
	SAY(&say, ",\"authorization_details\":[");
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		SAY(&say, "%s", i ? "," : "");
		json_entitlement(&say, &grant->entitlements[i], &grant->constraints);
	}
	SAY(&say, "]");
	json_writ(&say, leaf, digest);
	SAY(&say, "}");
	return say.err;
}
