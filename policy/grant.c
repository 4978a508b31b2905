/*
 * Grants: well formed, in canonical order, and with what they inherit (delegation.md 3.3, 4.4).
 *
 * Whether one grant lies inside another is told in within.c.
 */
#include "policy/grant.h"

#include "base/text.h"
#include "policy/within.h"

#define PARAM_MAX_LIMIT 9007199254740991 /* 2^53 - 1: exact in JSON and everywhere else */
#define GENERALIZED_LAST 253402300799	 /* 9999-12-31T23:59:59Z, the last that E5 can write */

/* ---- well formed ---- */

/* Takes `err`; the same with the place before its message, as one sentence. */
static struct writ_err *
placed(const char *place, struct writ_err *err)
{
	struct writ_err *ret = writ_fail(err->code, "%s%s", place, err->message);

	writ_err_free(err);
	return ret;
}

static struct writ_err *
count_check(const char *place, const char *what, size_t n, size_t max)
{
	if (n == 0)
		return writ_fail(WRIT_INVALID, "%sno %s, at least one is needed", place, what);
	if (n > max)
		return writ_fail(WRIT_INVALID, "%s%zu of %s, at most %zu", place, n, what, max);
	return NULL;
}

/* E6: strictly ascending, so no duplicates. */
static struct writ_err *
order_check(const char *place, const char *what, size_t n, const struct writ_bytes *list)
{
	for (size_t i = 1; i < n; i++) {
		const int order = writ_order(list[i - 1], list[i]);

		if (order == 0)
			return writ_fail(WRIT_INVALID, "%s%s '%.*s' is there twice", place, what, WRIT_FMT(list[i]));
		if (order > 0)
			return writ_fail(WRIT_INVALID, "%s%s '%.*s' stands after its place in ascending order", place,
					 what, WRIT_FMT(list[i - 1]));
	}
	return NULL;
}

typedef struct writ_err *text_check(struct writ_bytes);

static struct writ_err *
texts_check(const char *place, const char *what, const struct texts *texts, size_t max, text_check *check)
{
	struct writ_err *err;

	err = count_check(place, what, texts->n, max);
	if (err)
		return err;
	for (size_t i = 0; i < texts->n; i++) {
		err = check(texts->list[i]);
		if (err)
			return placed(place, err);
	}
	return order_check(place, what, texts->n, texts->list);
}

/* E10 */
static struct writ_err *
net_check(struct writ_bytes net)
{
	const size_t n = net.len / 2;
	char text[NET_TEXT_MAX];
	bool ended = false;

	if (net.len != 8 && net.len != 32)
		return writ_fail(WRIT_INVALID, "source_net of %zu octets, 8 or 32 are address and mask", net.len);
	for (size_t bit = 0; bit < n * 8; bit++) {
		const unsigned one = 0x80U >> (bit % 8);
		const bool mask = net.data[n + bit / 8] & one, host = net.data[bit / 8] & one;

		if (mask && ended)
			return writ_fail(WRIT_INVALID, "source_net mask is not contiguous");
		ended = ended || !mask;
		if (ended && host)
			return writ_fail(WRIT_INVALID, "source_net '%s' has bits set beyond its mask",
					 net_words(net, text));
	}
	return NULL;
}

static struct writ_err *
param_value_check(struct writ_bytes value)
{
	if (value.len > PARAM_VALUE_MAX)
		return writ_fail(WRIT_INVALID, "param_in value of %zu octets, at most %d", value.len, PARAM_VALUE_MAX);
	if (!writ_is_clean_utf8(value))
		return writ_fail(WRIT_INVALID, "param_in value is not UTF-8 without control characters");
	return NULL;
}

/* E4 */
static struct writ_err *
param_name_check(struct writ_bytes name)
{
	if (name.len == 0 || name.len > PARAM_NAME_MAX)
		return writ_fail(WRIT_INVALID, "parameter name of %zu octets, 1 to %d", name.len, PARAM_NAME_MAX);
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] < 0x21 || name.data[i] > 0x7e)
			return writ_fail(WRIT_INVALID, "parameter name '%.*s' holds more than printable ASCII",
					 WRIT_FMT(name));
	return NULL;
}

static struct writ_err *
constraint_check(const char *place, const struct constraint *c)
{
	const struct texts values = { c->n_values, c->values };
	struct writ_err *err;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		return texts_check(place, "source_net", &values, CONSTRAINT_VALUES_MAX, net_check);
	case CONSTRAINT_WINDOW:
		if (c->not_before > c->not_after)
			return writ_fail(WRIT_INVALID, "%swindow ends before it begins", place);
		if (c->not_before < 0 || c->not_after > GENERALIZED_LAST)
			return writ_fail(WRIT_INVALID, "%swindow leaves the years 1970 to 9999", place);
		return NULL;
	case CONSTRAINT_PARAM_IN:
		err = param_name_check(c->name);
		if (err)
			return placed(place, err);
		return texts_check(place, "param_in value", &values, CONSTRAINT_VALUES_MAX, param_value_check);
	case CONSTRAINT_PARAM_MAX:
		err = param_name_check(c->name);
		if (err)
			return placed(place, err);
		if (c->max > PARAM_MAX_LIMIT || c->max < -PARAM_MAX_LIMIT)
			return writ_fail(WRIT_INVALID, "%sparam_max %lld is beyond 2^53 - 1", place, (long long)c->max);
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "%sconstraint of unknown kind %d", place, (int)c->kind);
}

/* E9 */
static struct writ_err *
constraints_check(const char *place, const struct constraints *cs)
{
	char twice[WORDS_MAX];
	struct writ_err *err;

	if (cs->n > CONSTRAINTS_MAX)
		return writ_fail(WRIT_INVALID, "%s%zu constraints, at most %d", place, cs->n, CONSTRAINTS_MAX);
	for (size_t i = 0; i < cs->n; i++) {
		err = constraint_check(place, &cs->list[i]);
		if (err)
			return err;
		for (size_t j = 0; j < i; j++) {
			if (!constraint_counterpart(&cs->list[j], &cs->list[i]))
				continue;
			constraint_words(&cs->list[i], twice);
			return writ_fail(WRIT_INVALID, "%sa second constraint of one kind and name: %s", place, twice);
		}
	}
	return NULL;
}

struct writ_err *
grant_check(const struct grant *grant)
{
	struct writ_err *err;
	char place[40];

	err = count_check("", "entitlement", grant->n_entitlements, ENTITLEMENTS_MAX);
	if (err)
		return err;
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		words(place, sizeof(place), "entitlement %zu, ", i + 1);
		err = texts_check(place, "action", &e->actions, ACTIONS_MAX, action_check);
		if (err)
			return err;
		err = texts_check(place, "resource", &e->resources, RESOURCES_MAX, resource_check);
		if (err)
			return err;
		err = constraints_check(place, &e->constraints);
		if (err)
			return err;
	}
	err = texts_check("audience, ", "resource", &grant->audience, AUDIENCE_MAX, resource_check);
	if (err)
		return err;
	return constraints_check("", &grant->constraints);
}

/* ---- canonical order ---- */

static struct writ_err *
no_room(void)
{
	return writ_fail(WRIT_EXHAUSTED, "no memory left for a grant in its request's arena");
}

/* By insertion: 16 at most, and mostly in order already. */
static struct writ_err *
texts_sorted(const char *place, const char *what, const struct texts *texts, size_t max, struct writ_arena *arena,
	     struct texts *ret)
{
	struct writ_bytes *list;
	struct writ_err *err;

	err = count_check(place, what, texts->n, max);
	if (err)
		return err;
	list = writ_arena_take(arena, texts->n * sizeof(*list));
	if (!list)
		return no_room();
	for (size_t i = 0; i < texts->n; i++) {
		size_t at = i;

		for (; at > 0 && writ_order(list[at - 1], texts->list[i]) > 0; at--)
			list[at] = list[at - 1];
		list[at] = texts->list[i];
	}
	*ret = (struct texts){ texts->n, list };
	return order_check(place, what, ret->n, list);
}

static struct writ_err *
constraints_sorted(const char *place, const struct constraints *cs, struct writ_arena *arena, struct constraints *ret)
{
	struct constraint *list;

	*ret = (struct constraints){ 0 };
	if (cs->n == 0)
		return NULL;
	if (cs->n > CONSTRAINTS_MAX)
		return writ_fail(WRIT_INVALID, "%s%zu constraints, at most %d", place, cs->n, CONSTRAINTS_MAX);
	list = writ_arena_take(arena, cs->n * sizeof(*list));
	if (!list)
		return no_room();
	for (size_t i = 0; i < cs->n; i++) {
		const struct texts values = { cs->list[i].n_values, cs->list[i].values };
		struct texts sorted = values;
		struct writ_err *err;

		list[i] = cs->list[i];
		if (list[i].kind != CONSTRAINT_SOURCE_NET && list[i].kind != CONSTRAINT_PARAM_IN)
			continue;
		err = texts_sorted(place, "constraint value", &values, CONSTRAINT_VALUES_MAX, arena, &sorted);
		if (err)
			return err;
		list[i].values = sorted.list;
	}
	*ret = (struct constraints){ cs->n, list };
	return NULL;
}

struct writ_err *
grant_canonical(const struct grant *grant, struct writ_arena *arena, struct grant *ret)
{
	struct entitlement *es;
	struct writ_err *err;
	char place[40];

	*ret = (struct grant){ 0 };
	err = count_check("", "entitlement", grant->n_entitlements, ENTITLEMENTS_MAX);
	if (err)
		return err;
	es = writ_arena_take(arena, grant->n_entitlements * sizeof(*es));
	if (!es)
		return no_room();
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		words(place, sizeof(place), "entitlement %zu, ", i + 1);
		es[i].delegable = e->delegable;
		err = texts_sorted(place, "action", &e->actions, ACTIONS_MAX, arena, &es[i].actions);
		if (err)
			return err;
		err = texts_sorted(place, "resource", &e->resources, RESOURCES_MAX, arena, &es[i].resources);
		if (err)
			return err;
		err = constraints_sorted(place, &e->constraints, arena, &es[i].constraints);
		if (err)
			return err;
	}
	ret->n_entitlements = grant->n_entitlements;
	ret->entitlements = es;
	err = texts_sorted("audience, ", "resource", &grant->audience, AUDIENCE_MAX, arena, &ret->audience);
	if (err)
		return err;
	return constraints_sorted("", &grant->constraints, arena, &ret->constraints);
}

/* ---- inheritance ---- */

/* A list of constraints being added to. */
struct growing {
	size_t n;
	struct constraint list[CONSTRAINTS_MAX];
};

static struct writ_err *
growing_add(struct growing *to, const char *place, const struct constraint *c)
{
	char twice[WORDS_MAX];

	for (size_t i = 0; i < to->n; i++) {
		if (!constraint_counterpart(&to->list[i], c))
			continue;
		if (constraint_implies(&to->list[i], c))
			return NULL; /* already as tight */
		if (constraint_implies(c, &to->list[i])) {
			to->list[i] = *c;
			return NULL;
		}
		/* E9 allows one of a kind and name, and we will not work out an intersection that nobody asked for. */
		constraint_words(c, twice);
		return writ_fail(WRIT_INVALID, "%stwo constraints of the parent apply (%s): state one inside both",
				 place, twice);
	}
	if (to->n == CONSTRAINTS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%sinherited constraints make more than %d", place, CONSTRAINTS_MAX);
	to->list[to->n++] = *c;
	return NULL;
}

static struct writ_err *
growing_done(const struct growing *from, struct writ_arena *arena, struct constraints *ret)
{
	struct constraint *list = NULL;

	if (from->n > 0) {
		list = writ_arena_take(arena, from->n * sizeof(*list));
		if (!list)
			return no_room();
		memcpy(list, from->list, from->n * sizeof(*list));
	}
	*ret = (struct constraints){ from->n, list };
	return NULL;
}

/* Says nothing of it, neither at the child's top nor in any entitlement: then it can stand at the top. */
static bool
stays_at_top(const struct grant *child, const struct constraint *top)
{
	for (size_t i = 0; i < child->n_entitlements; i++)
		if (constraint_find(child, &child->entitlements[i], top, constraint_counterpart))
			return false;
	return true;
}

/*
 * The parent's entitlement that covers e: of several, the one that adds the fewest constraints, then the first.  One
 * whose constraint e has a looser counterpart of covers nothing: what was asked too wide is refused, not narrowed.
 */
static const struct entitlement *
covering(const struct grant *child, const struct entitlement *e, const struct grant *parent)
{
	const struct entitlement *best = NULL;
	size_t fewest = 0;

	for (size_t i = 0; i < parent->n_entitlements; i++) {
		const struct entitlement *f = &parent->entitlements[i];
		const struct constraint *c;
		size_t missing = 0;
		bool looser = false;

		if (!names_within(e, f, HELD_BY_PARENT))
			continue;
		for (size_t k = 0; (c = constraint_at(parent, f, k)); k++) {
			if (!constraint_find(child, e, c, constraint_counterpart))
				missing++;
			else if (!constraint_find(child, e, c, constraint_implies))
				looser = true;
		}
		if (!looser && (!best || missing < fewest)) {
			best = f;
			fewest = missing;
		}
	}
	return best;
}

static struct writ_err *
entitlement_inherit(const struct grant *child, size_t i, const struct grant *parent, struct writ_arena *arena,
		    struct entitlement *ret)
{
	const struct entitlement *e = &child->entitlements[i], *f = covering(child, e, parent);
	struct growing own = { .n = e->constraints.n };
	struct writ_err *err;
	char place[40];

	*ret = *e;
	if (!f)
		return NULL; /* outside: grant_excess() will say why */
	words(place, sizeof(place), "entitlement %zu: ", i + 1);
	if (own.n > CONSTRAINTS_MAX)
		return writ_fail(WRIT_INVALID, "%s%zu constraints, at most %d", place, own.n, CONSTRAINTS_MAX);
	for (size_t k = 0; k < own.n; k++)
		own.list[k] = e->constraints.list[k];
	for (size_t k = 0; k < f->constraints.n; k++) {
		if (constraint_find(child, e, &f->constraints.list[k], constraint_counterpart))
			continue;
		err = growing_add(&own, place, &f->constraints.list[k]);
		if (err)
			return err;
	}
	for (size_t k = 0; k < parent->constraints.n; k++) {
		const struct constraint *top = &parent->constraints.list[k];

		if (stays_at_top(child, top) || constraint_find(child, e, top, constraint_counterpart))
			continue;
		err = growing_add(&own, place, top);
		if (err)
			return err;
	}
	return growing_done(&own, arena, &ret->constraints);
}

struct writ_err *
grant_inherit(const struct grant *child, const struct grant *parent, struct writ_arena *arena, struct grant *ret)
{
	struct growing top = { .n = child->constraints.n };
	struct entitlement *es = NULL;
	struct writ_err *err;

	*ret = *child;
	if (child->n_entitlements == 0)
		return NULL; /* S3 refuses it */
	es = writ_arena_take(arena, child->n_entitlements * sizeof(*es));
	if (!es)
		return no_room();
	for (size_t i = 0; i < child->n_entitlements; i++) {
		err = entitlement_inherit(child, i, parent, arena, &es[i]);
		if (err)
			return err;
	}
	ret->entitlements = es;

	if (top.n > CONSTRAINTS_MAX)
		return writ_fail(WRIT_INVALID, "%zu constraints, at most %d", top.n, CONSTRAINTS_MAX);
	for (size_t k = 0; k < top.n; k++)
		top.list[k] = child->constraints.list[k];
	for (size_t k = 0; k < parent->constraints.n; k++) {
		if (!stays_at_top(child, &parent->constraints.list[k]))
			continue;
		err = growing_add(&top, "", &parent->constraints.list[k]);
		if (err)
			return err;
	}
	return growing_done(&top, arena, &ret->constraints);
}
