/*
 * Inside or not, and the difference in words (delegation.md 4.3, 4.4).
 *
 * K(e), the constraints on an entitlement, are those at the grant's top and the entitlement's own; all of them hold
 * together. S1 asks for one entitlement that covers all of the child's.  No union reasoning: {a/1, a/2} does not cover
 * "a/" "*".
 */
#include "policy/within.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* ---- constraints ---- */

bool
constraint_counterpart(const struct constraint *a, const struct constraint *b)
{
	return a->kind == b->kind && writ_equal(a->name, b->name);
}

/* Both in the form of E10, of one family when of one length. */
static bool
net_inside(struct writ_bytes child, struct writ_bytes parent)
{
	const size_t n = parent.len / 2;

	if (child.len != parent.len)
		return false;
	for (size_t i = 0; i < n; i++) {
		const uint8_t mask = parent.data[n + i];

		if ((child.data[n + i] & mask) != mask || (child.data[i] & mask) != parent.data[i])
			return false;
	}
	return true;
}

static bool
any_net_holds(const struct constraint *parent, struct writ_bytes net)
{
	for (size_t i = 0; i < parent->n_values; i++)
		if (net_inside(net, parent->values[i]))
			return true;
	return false;
}

static bool
any_value_is(const struct constraint *parent, struct writ_bytes value)
{
	for (size_t i = 0; i < parent->n_values; i++)
		if (writ_equal(value, parent->values[i]))
			return true;
	return false;
}

bool
constraint_implies(const struct constraint *child, const struct constraint *parent)
{
	if (!constraint_counterpart(child, parent))
		return false;
	switch (parent->kind) {
	case CONSTRAINT_SOURCE_NET:
		for (size_t i = 0; i < child->n_values; i++)
			if (!any_net_holds(parent, child->values[i]))
				return false;
		return child->n_values > 0;
	case CONSTRAINT_WINDOW:
		return child->not_before >= parent->not_before && child->not_after <= parent->not_after;
	case CONSTRAINT_PARAM_IN:
		for (size_t i = 0; i < child->n_values; i++)
			if (!any_value_is(parent, child->values[i]))
				return false;
		return child->n_values > 0;
	case CONSTRAINT_PARAM_MAX:
		return child->max <= parent->max;
	}
	return false; /* an unknown kind implies nothing: deny */
}

const char *
net_words(struct writ_bytes net, char out[NET_TEXT_MAX])
{
	const size_t n = net.len / 2;
	char address[INET6_ADDRSTRLEN];
	unsigned bits = 0;

	for (size_t i = n; i < net.len; i++)
		for (unsigned mask = net.data[i]; mask & 0x80; mask = mask << 1 & 0xff)
			bits++;
	if ((n != 4 && n != 16) || !inet_ntop(n == 4 ? AF_INET : AF_INET6, net.data, address, sizeof(address)))
		words(out, NET_TEXT_MAX, "(no network)");
	else
		words(out, NET_TEXT_MAX, "%s/%u", address, bits);
	return out;
}

void
constraint_words(const struct constraint *c, char out[WORDS_MAX])
{
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1], net[NET_TEXT_MAX], list[WORDS_MAX];
	size_t at = 0;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		net_words(c->n_values > 0 ? c->values[0] : (struct writ_bytes){ 0 }, net);
		if (c->n_values > 1)
			words(out, WORDS_MAX, "source_net %s and %zu more", net, c->n_values - 1);
		else
			words(out, WORDS_MAX, "source_net %s", net);
		return;
	case CONSTRAINT_WINDOW:
		words(out, WORDS_MAX, "window %s to %s", writ_time_rfc3339(c->not_before, from),
		      writ_time_rfc3339(c->not_after, to));
		return;
	case CONSTRAINT_PARAM_IN:
		list[0] = '\0';
		for (size_t i = 0; i < c->n_values && at + 8 < sizeof(list); i++) {
			words(list + at, sizeof(list) - at, "%s'%.*s'", i > 0 ? ", " : "", ALL(c->values[i]));
			at += strlen(list + at);
		}
		words(out, WORDS_MAX, "%.*s in {%s}", ALL(c->name), list);
		return;
	case CONSTRAINT_PARAM_MAX:
		words(out, WORDS_MAX, "%.*s <= %lld", ALL(c->name), (long long)c->max);
		return;
	}
	words(out, WORDS_MAX, "unknown constraint");
}

/* ---- inside ---- */

const struct writ_bytes *
first_outside(const struct texts *child, const struct texts *holder, covers_fn *covers)
{
	for (size_t i = 0; i < child->n; i++) {
		size_t j = 0;

		while (j < holder->n && !covers(holder->list[j], child->list[i]))
			j++;
		if (j == holder->n)
			return &child->list[i];
	}
	return NULL;
}

const struct constraint *
constraint_at(const struct grant *grant, const struct entitlement *e, size_t i)
{
	if (i < grant->constraints.n)
		return &grant->constraints.list[i];
	i -= grant->constraints.n;
	return i < e->constraints.n ? &e->constraints.list[i] : NULL;
}

const struct constraint *
constraint_find(const struct grant *grant, const struct entitlement *e, const struct constraint *parent,
		constraint_test *test)
{
	const struct constraint *c;

	for (size_t i = 0; (c = constraint_at(grant, e, i)); i++)
		if (test(c, parent))
			return c;
	return NULL;
}

/* The first constraint in K(f) that nothing in K(e) implies, or NULL. */
static const struct constraint *
constraint_outside(const struct grant *child, const struct entitlement *e, const struct grant *holder,
		   const struct entitlement *f)
{
	const struct constraint *c;

	for (size_t i = 0; (c = constraint_at(holder, f, i)); i++)
		if (!constraint_find(child, e, c, constraint_implies))
			return c;
	return NULL;
}

static bool
delegable_enough(const struct entitlement *e, const struct entitlement *f, enum holder kind)
{
	return f->delegable || (kind == HELD_BY_RULE && !e->delegable);
}

bool
names_within(const struct entitlement *e, const struct entitlement *f, enum holder kind)
{
	return delegable_enough(e, f, kind) && !first_outside(&e->actions, &f->actions, action_covers) &&
	       !first_outside(&e->resources, &f->resources, resource_covers);
}

static bool
entitlement_within(const struct grant *child, const struct entitlement *e, const struct grant *holder, enum holder kind)
{
	for (size_t i = 0; i < holder->n_entitlements; i++) {
		const struct entitlement *f = &holder->entitlements[i];

		if (names_within(e, f, kind) && !constraint_outside(child, e, holder, f))
			return true;
	}
	return false;
}

bool
scope_within(const struct grant *child, const struct grant *holder, enum holder kind)
{
	for (size_t i = 0; i < child->n_entitlements; i++)
		if (!entitlement_within(child, &child->entitlements[i], holder, kind))
			return false;
	return true;
}

/* How near f is to covering e, for choosing what to name in a refusal. */
static unsigned
nearness(const struct entitlement *e, const struct entitlement *f, enum holder kind)
{
	const bool resources = !first_outside(&e->resources, &f->resources, resource_covers);
	const bool actions = !first_outside(&e->actions, &f->actions, action_covers);

	if (resources && actions)
		return delegable_enough(e, f, kind) ? 4 : 3;
	return resources ? 2 : actions ? 1 : 0;
}

static void
list_words(char out[WORDS_MAX], const struct texts *list)
{
	if (list->n == 0)
		words(out, WORDS_MAX, "nothing");
	else if (list->n == 1)
		words(out, WORDS_MAX, "%.*s", ALL(list->list[0]));
	else
		words(out, WORDS_MAX, "%.*s and %zu more", ALL(list->list[0]), list->n - 1);
}

/* Why e is outside: told against the entitlement that comes nearest to covering it. */
static void
entitlement_excess(const struct grant *child, const struct entitlement *e, const struct grant *holder, enum holder kind,
		   struct excess *ret)
{
	const char *whom = kind == HELD_BY_PARENT ? "parent" : "rule";
	const struct entitlement *f = NULL;
	const struct writ_bytes *action, *resource;
	const struct constraint *limit, *own;
	char actions[WORDS_MAX], resources[WORDS_MAX];
	unsigned best = 0;

	for (size_t i = 0; i < holder->n_entitlements; i++) {
		const unsigned near = nearness(e, &holder->entitlements[i], kind);

		if (!f || near > best) {
			f = &holder->entitlements[i];
			best = near;
		}
	}
	ret->rule = "S1";
	if (!f) {
		words(ret->value, sizeof(ret->value), "%.*s on %.*s", ALL(e->actions.list[0]),
		      ALL(e->resources.list[0]));
		words(ret->limit, sizeof(ret->limit), "%s grants nothing", whom);
		return;
	}
	action = first_outside(&e->actions, &f->actions, action_covers);
	resource = first_outside(&e->resources, &f->resources, resource_covers);
	if (action || resource) {
		words(ret->value, sizeof(ret->value), "%.*s on %.*s", ALL(action ? *action : e->actions.list[0]),
		      ALL(resource ? *resource : e->resources.list[0]));
		list_words(actions, &f->actions);
		list_words(resources, &f->resources);
		words(ret->limit, sizeof(ret->limit), "%s grants %s on %s", whom, actions, resources);
		return;
	}
	if (best < 4) {
		words(ret->value, sizeof(ret->value), "%.*s on %.*s%s", ALL(e->actions.list[0]),
		      ALL(e->resources.list[0]), kind == HELD_BY_RULE ? ", delegable" : "");
		words(ret->limit, sizeof(ret->limit), "%s's entitlement %zu is not delegable", whom,
		      (size_t)(f - holder->entitlements) + 1);
		ret->rule = kind == HELD_BY_RULE ? "S2" : "S1";
		return;
	}

	/* Names are covered; a constraint is not, here and in every other entitlement that covers the names. */
	limit = constraint_outside(child, e, holder, f);
	ret->rule = "K";
	if (!limit)
		return; /* cannot be: then e would be inside */
	own = constraint_find(child, e, limit, constraint_counterpart);
	constraint_words(limit, ret->limit);
	if (own)
		constraint_words(own, ret->value);
	else
		words(ret->value, sizeof(ret->value), "entitlement %zu without that constraint",
		      (size_t)(e - child->entitlements) + 1);
}

void
scope_excess(const struct grant *child, const struct grant *holder, enum holder kind, struct excess *ret)
{
	ret->rule = NULL;
	for (size_t i = 0; i < child->n_entitlements; i++) {
		if (!entitlement_within(child, &child->entitlements[i], holder, kind)) {
			entitlement_excess(child, &child->entitlements[i], holder, kind, ret);
			return;
		}
	}
}

void
grant_excess(const struct grant *child, const struct grant *parent, bool wildcard_audience_ok, struct excess *ret)
{
	const struct writ_bytes *outside;
	char limit[WORDS_MAX];

	*ret = (struct excess){ 0 };
	if (child->n_entitlements == 0) {
		ret->rule = "S3";
		words(ret->value, sizeof(ret->value), "no entitlement");
		words(ret->limit, sizeof(ret->limit), "at least one: an empty scope never means all");
		return;
	}
	for (size_t i = 0; i < child->n_entitlements; i++) {
		const struct entitlement *e = &child->entitlements[i];

		if (e->actions.n > 0 && e->resources.n > 0)
			continue;
		ret->rule = "S3";
		words(ret->value, sizeof(ret->value), "entitlement %zu without %s", i + 1,
		      e->actions.n == 0 ? "an action" : "a resource");
		words(ret->limit, sizeof(ret->limit), "at least one: an empty list never means all");
		return;
	}
	scope_excess(child, parent, HELD_BY_PARENT, ret);
	if (ret->rule)
		return;

	if (child->audience.n == 0) {
		ret->rule = "A1";
		words(ret->value, sizeof(ret->value), "no audience");
		words(ret->limit, sizeof(ret->limit), "at least one: an empty audience never means all");
		return;
	}
	outside = first_outside(&child->audience, &parent->audience, resource_covers);
	if (outside) {
		ret->rule = "A1";
		words(ret->value, sizeof(ret->value), "%.*s", ALL(*outside));
		list_words(limit, &parent->audience);
		words(ret->limit, sizeof(ret->limit), "parent's audience is %s", limit);
		return;
	}
	for (size_t i = 0; i < child->audience.n && !wildcard_audience_ok; i++) {
		if (!resource_is_pattern(child->audience.list[i]))
			continue;
		ret->rule = "A1";
		words(ret->value, sizeof(ret->value), "%.*s", ALL(child->audience.list[i]));
		words(ret->limit, sizeof(ret->limit), "no wildcard in an audience");
		return;
	}
}
