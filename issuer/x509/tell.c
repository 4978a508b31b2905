/*
 * The leaf in plain words, a fact a line.  What the agent or its delegator wrote (the purpose) is marked as such.
 */
#include <arpa/inet.h>
#include <inttypes.h>

#include "issuer/x509/say.h"

#define SAY_HEX_PIECE 32 /* a digest */

void
say_hex(struct say *say, struct writ_bytes bytes)
{
	char text[2 * SAY_HEX_PIECE + 1];

	for (size_t at = 0; at < bytes.len; at += SAY_HEX_PIECE) {
		const size_t left = bytes.len - at, n = left < SAY_HEX_PIECE ? left : SAY_HEX_PIECE;

		writ_hex((struct writ_bytes){ bytes.data + at, n }, text);
		SAY(say, "%s", text);
	}
}

void
say_time(struct say *say, writ_time t)
{
	char text[WRIT_RFC3339_LEN + 1];

	SAY(say, "%s", writ_time_rfc3339(t, text));
}

void
say_net(struct say *say, struct writ_bytes net)
{
	const size_t half = net.len / 2;
	char text[INET6_ADDRSTRLEN] = "?";
	unsigned bits = 0;

	for (size_t i = half; i < net.len; i++)
		bits += (unsigned)__builtin_popcount(net.data[i]); /* contiguous (E10) */
	(void)inet_ntop(half == 4 ? AF_INET : AF_INET6, net.data, text, sizeof(text));
	SAY(say, "%s/%u", text, bits);
}

static void
tell_texts(struct say *say, const struct texts *texts)
{
	for (size_t i = 0; i < texts->n; i++)
		SAY(say, "%s%.*s", i ? ", " : "", SAY_ALL(texts->list[i]));
}

static void
tell_constraint(struct say *say, const struct constraint *c)
{
	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		SAY(say, "from ");
		for (size_t i = 0; i < c->n_values; i++) {
			SAY(say, "%s", i ? " or " : "");
			say_net(say, c->values[i]);
		}
		return;
	case CONSTRAINT_WINDOW:
		SAY(say, "from ");
		say_time(say, c->not_before);
		SAY(say, " to ");
		say_time(say, c->not_after);
		return;
	case CONSTRAINT_PARAM_IN:
		SAY(say, "%.*s is ", SAY_ALL(c->name));
		for (size_t i = 0; i < c->n_values; i++)
			SAY(say, "%s\"%.*s\"", i ? " or " : "", SAY_ALL(c->values[i]));
		return;
	case CONSTRAINT_PARAM_MAX:
		SAY(say, "%.*s <= %" PRId64, SAY_ALL(c->name), c->max);
		return;
	}
}

static void
tell_constraints(struct say *say, const struct constraints *all)
{
	for (size_t i = 0; i < all->n; i++) {
		SAY(say, "; only ");
		tell_constraint(say, &all->list[i]);
	}
}

static void
tell_hop(struct say *say, const struct hop *hop, bool root)
{
	SAY(say, "%s %s %.*s, by %s", root ? "authorised by" : "passed on by ", principal_kind_name(hop->kind),
	    SAY_ALL(hop->principal), auth_method_name(hop->method));
	if (hop->authority.len)
		SAY(say, " of %.*s", SAY_ALL(hop->authority));
	SAY(say, ", ");
	say_time(say, hop->granted_at);
	SAY(say, " until ");
	say_time(say, hop->not_after);
	if (hop->depth_remaining)
		SAY(say, "; may be passed on %u more time%s", hop->depth_remaining,
		    hop->depth_remaining > 1 ? "s" : "");
	SAY(say, "\n");
}

static void
tell_task(struct say *say, const struct delegation *d)
{
	SAY(say, "task          %.*s", SAY_ALL(d->task_id));
	if (d->parent_task.len)
		SAY(say, ", part of %.*s", SAY_ALL(d->parent_task));
	SAY(say, "\n");
	if (d->purpose.len)
		SAY(say, "purpose       \"%.*s\" (as it was stated; nothing was decided on it)\n", SAY_ALL(d->purpose));
}

static void
tell_grant(struct say *say, const struct grant *grant)
{
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		SAY(say, "may           ");
		tell_texts(say, &e->actions);
		SAY(say, " on ");
		tell_texts(say, &e->resources);
		tell_constraints(say, &e->constraints);
		tell_constraints(say, &grant->constraints);
		SAY(say, "%s\n", e->delegable ? "; may pass it on" : "");
	}
	SAY(say, "towards       ");
	tell_texts(say, &grant->audience);
	SAY(say, "\n");
}

static void
tell_validity(struct say *say, const struct leaf *leaf, writ_time now)
{
	SAY(say, "valid         ");
	say_time(say, leaf->not_before);
	SAY(say, " to ");
	say_time(say, leaf->not_after);
	if (now > leaf->not_after)
		SAY(say, ", expired %" PRId64 " s ago\n", now - leaf->not_after);
	else if (now < leaf->not_before)
		SAY(say, ", begins in %" PRId64 " s\n", leaf->not_before - now);
	else
		SAY(say, ", %" PRId64 " s left\n", leaf->not_after - now + 1);
}

static void
tell_references(struct say *say, const struct delegation *d)
{
	SAY(say, "policy        %.*s, SHA-256 ", SAY_ALL(d->policy_id));
	say_hex(say, d->policy_digest);
	if (d->context_type.len) {
		SAY(say, "\ncontext       %.*s, salted SHA-256 ", SAY_ALL(d->context_type));
		say_hex(say, d->context_digest);
	}
	if (d->attestation_type.len) {
		SAY(say, "\nattestation   %.*s, SHA-256 ", SAY_ALL(d->attestation_type));
		say_hex(say, d->attestation_digest);
		SAY(say, ", checked ");
		say_time(say, d->attestation_at);
	}
	SAY(say, "\n");
}

static void
tell_certificate(struct say *say, const struct leaf *leaf)
{
	SAY(say, "key           %s, SHA-256 ", key_kind_name(leaf->kind));
	say_hex(say, (struct writ_bytes){ leaf->spki_sha256, sizeof(leaf->spki_sha256) });
	SAY(say, "\nserial        ");
	say_hex(say, leaf->serial);
	SAY(say, "\nissuing CA    key id ");
	say_hex(say, leaf->authority_key_id);
	SAY(say, ", custody %s\n", leaf_tier_name(leaf->tier));
	if (leaf->no_rev_avail)
		SAY(say, "status        none is offered: too short-lived (noRevAvail)\n");
	else
		SAY(say, "status        OCSP %.*s, CRL %.*s\n", SAY_ALL(leaf->ocsp_url), SAY_ALL(leaf->crl_url));
	SAY(say, "log           entry %" PRIu64 " of log ", writ_get64(leaf->log_index.data));
	say_hex(say, leaf->log_id);
	SAY(say, ", leaf hash ");
	say_hex(say, leaf->log_hash);
	SAY(say, "\n");
}

struct writ_err *
leaf_tell(const struct leaf *leaf, writ_time now, struct writ_buf *ret)
{
	const struct delegation *d = &leaf->delegation;
	struct say say = { .buf = ret };

	SAY(&say, "agent         %.*s\n", SAY_ALL(leaf->san));
	tell_task(&say, d);
	for (size_t i = 0; i < d->n_hops; i++)
		tell_hop(&say, &d->hops[i], i == 0);
	tell_grant(&say, &d->grant);
	tell_validity(&say, leaf, now);
	tell_references(&say, d);
	tell_certificate(&say, leaf);
	return say.err;
}
