/*
 * What a grant says, from JSON: entitlements, audience, constraints.  Comes out in canonical order and form.
 */
#include <arpa/inet.h>

#include "base/text.h"
#include "issuer/serve/members.h"

/* ---- constraints ---- */

/* "10.0.0.0/8" -> address || mask; bits below the prefix must be zero (E10). */
WRIT_CHECKED static struct writ_err *
net_read(struct writ_bytes text, const char *where, struct writ_arena *arena, struct writ_bytes *ret)
{
	const uint8_t *slash = memchr(text.data, '/', text.len);
	const size_t address_len = slash ? (size_t)(slash - text.data) : 0;
	char address[INET6_ADDRSTRLEN] = { 0 };
	uint8_t bytes[16], net[32] = { 0 };
	uint64_t prefix;
	size_t len;

	if (address_len == 0 || address_len >= sizeof(address))
		return writ_fail(WRIT_INVALID, "member '%ssourceNet': '%.*s' is not ADDRESS/PREFIX", where,
				 WRIT_FMT(text));
	memcpy(address, text.data, address_len);
	len = inet_pton(AF_INET, address, bytes) == 1 ? 4 : inet_pton(AF_INET6, address, bytes) == 1 ? 16 : 0;
	if (len == 0 || !writ_decimal((struct writ_bytes){ slash + 1, text.len - address_len - 1 }, 8 * len, &prefix))
		return writ_fail(WRIT_INVALID, "member '%ssourceNet': '%.*s' is not ADDRESS/PREFIX", where,
				 WRIT_FMT(text));

	for (size_t bit = 0; bit < 8 * len; bit++) {
		const uint8_t at = (uint8_t)(0x80 >> (bit % 8));

		if (bit < prefix)
			net[len + bit / 8] |= at;
		else if (bytes[bit / 8] & at)
			return writ_fail(WRIT_INVALID, "member '%ssourceNet': '%.*s' has bits set below its prefix",
					 where, WRIT_FMT(text));
	}
	memcpy(net, bytes, len);
	return member_keep(arena, (struct writ_bytes){ net, 2 * len }, ret);
}

WRIT_CHECKED static struct writ_err *
source_net_read(json_t *object, const char *where, struct writ_arena *arena, struct constraint *ret)
{
	struct writ_bytes *nets;
	struct writ_err *err;
	struct texts texts;

	err = member_texts(object, where, "sourceNet", CONSTRAINT_VALUES_MAX, arena, &texts);
	if (err)
		return err;
	nets = writ_arena_take(arena, texts.n * sizeof(*nets));
	if (!nets)
		return writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
	for (size_t i = 0; i < texts.n; i++) {
		err = net_read(texts.list[i], where, arena, &nets[i]);
		if (err)
			return err;
	}
	*ret = (struct constraint){ .kind = CONSTRAINT_SOURCE_NET, .n_values = texts.n, .values = nets };
	return NULL;
}

WRIT_CHECKED static struct writ_err *
time_take(json_t *object, const char *where, const char *name, writ_time *ret)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		return member_missing(where, name);
	if (!json_is_string(value) || !writ_time_from_rfc3339(member_text_of(value), ret))
		return member_wrong(where, name, "a time as 2026-11-23T20:51:37Z");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
window_read(json_t *value, const char *where, struct constraint *ret)
{
	static const char *const names[] = { "notBefore", "notAfter" };
	struct writ_err *err;

	ret->kind = CONSTRAINT_WINDOW;
	err = members_only(value, where, names, N_OF(names));
	if (!err)
		err = time_take(value, where, "notBefore", &ret->not_before);
	if (!err)
		err = time_take(value, where, "notAfter", &ret->not_after);
	return err;
}

WRIT_CHECKED static struct writ_err *
param_in_read(json_t *value, const char *where, struct writ_arena *arena, struct constraint *ret)
{
	static const char *const names[] = { "name", "values" };
	struct writ_err *err;
	struct texts texts = { 0 };

	ret->kind = CONSTRAINT_PARAM_IN;
	err = members_only(value, where, names, N_OF(names));
	if (!err)
		err = member_text(value, where, "name", MEMBER_REQUIRED, PARAM_NAME_MAX, arena, &ret->name);
	if (!err)
		err = member_texts(value, where, "values", CONSTRAINT_VALUES_MAX, arena, &texts);
	ret->n_values = texts.n;
	ret->values = texts.list;
	return err;
}

WRIT_CHECKED static struct writ_err *
param_max_read(json_t *value, const char *where, struct writ_arena *arena, struct constraint *ret)
{
	static const char *const names[] = { "name", "max" };
	struct writ_err *err;

	ret->kind = CONSTRAINT_PARAM_MAX;
	err = members_only(value, where, names, N_OF(names));
	if (!err)
		err = member_text(value, where, "name", MEMBER_REQUIRED, PARAM_NAME_MAX, arena, &ret->name);
	if (!err && !json_object_get(value, "max"))
		err = member_missing(where, "max");
	if (!err)
		err = member_number(value, where, "max", -MEMBER_INTEGER_MAX, MEMBER_INTEGER_MAX, 0, &ret->max);
	return err;
}

WRIT_CHECKED static struct writ_err *
constraint_read(json_t *object, const char *where, struct writ_arena *arena, struct constraint *ret)
{
	static const char *const names[] = { "sourceNet", "window", "paramIn", "paramMax" };
	char place[80];
	struct writ_err *err;
	json_t *value;

	if (!json_is_object(object))
		return writ_fail(WRIT_INVALID, "member '%.*s' must be an object", (int)strlen(where) - 1, where);
	err = members_only(object, where, names, N_OF(names));
	if (err)
		return err;
	if (json_object_size(object) != 1)
		return writ_fail(WRIT_INVALID,
				 "member '%.*s' must have exactly one of sourceNet, window, paramIn, paramMax",
				 (int)strlen(where) - 1, where);
	if (json_object_get(object, "sourceNet"))
		return source_net_read(object, where, arena, ret);

	for (size_t i = 1; i < N_OF(names); i++) {
		value = json_object_get(object, names[i]);
		if (!value)
			continue;
		if (!json_is_object(value))
			return member_wrong(where, names[i], "an object");
		snprintf(place, sizeof(place), "%s%s.", where, names[i]);
		return i == 1	? window_read(value, place, ret)
		       : i == 2 ? param_in_read(value, place, arena, ret)
				: param_max_read(value, place, arena, ret);
	}
	return writ_fail(WRIT_BROKEN, "a constraint of no kind");
}

/* Absent or empty: none. */
WRIT_CHECKED static struct writ_err *
constraints_take(json_t *object, const char *where, struct writ_arena *arena, struct constraints *ret)
{
	json_t *value = json_object_get(object, "constraints");
	const size_t n = json_array_size(value);
	struct constraint *list;
	struct writ_err *err;
	char place[64];

	*ret = (struct constraints){ 0 };
	if (!value)
		return NULL;
	if (!json_is_array(value) || n > CONSTRAINTS_MAX)
		return writ_fail(WRIT_INVALID, "member '%sconstraints' must be a list of at most %d", where,
				 CONSTRAINTS_MAX);
	list = writ_arena_take(arena, (n + 1) * sizeof(*list));
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
	for (size_t i = 0; i < n; i++) {
		snprintf(place, sizeof(place), "%sconstraints[%zu].", where, i);
		err = constraint_read(json_array_get(value, i), place, arena, &list[i]);
		if (err)
			return err;
	}
	*ret = (struct constraints){ n, list };
	return NULL;
}

/* ---- grants ---- */

WRIT_CHECKED static struct writ_err *
entitlement_read(json_t *object, const char *where, struct writ_arena *arena, struct entitlement *ret)
{
	static const char *const names[] = { "actions", "resources", "delegable", "constraints" };
	struct writ_err *err;

	if (!json_is_object(object))
		return writ_fail(WRIT_INVALID, "member '%.*s' must be an object", (int)strlen(where) - 1, where);
	err = members_only(object, where, names, N_OF(names));
	if (!err)
		err = member_texts(object, where, "actions", ACTIONS_MAX, arena, &ret->actions);
	if (!err)
		err = member_texts(object, where, "resources", RESOURCES_MAX, arena, &ret->resources);
	if (!err)
		err = member_flag(object, where, "delegable", &ret->delegable);
	if (!err)
		err = constraints_take(object, where, arena, &ret->constraints);
	return err;
}

struct writ_err *
members_grant(json_t *body, struct writ_arena *arena, struct grant *ret)
{
	json_t *scope = json_object_get(body, "scope");
	struct grant asked = { .n_entitlements = json_array_size(scope) };
	struct entitlement *list;
	struct writ_err *err;
	char place[32];

	if (!scope)
		return member_missing("", "scope");
	if (!json_is_array(scope) || asked.n_entitlements == 0 || asked.n_entitlements > ENTITLEMENTS_MAX)
		return writ_fail(WRIT_INVALID, "member 'scope' must be a list of 1 to %d entitlements",
				 ENTITLEMENTS_MAX);
	list = writ_arena_take(arena, asked.n_entitlements * sizeof(*list));
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
	for (size_t i = 0; i < asked.n_entitlements; i++) {
		snprintf(place, sizeof(place), "scope[%zu].", i);
		err = entitlement_read(json_array_get(scope, i), place, arena, &list[i]);
		if (err)
			return err;
	}
	asked.entitlements = list;
	err = member_texts(body, "", "audience", AUDIENCE_MAX, arena, &asked.audience);
	if (!err)
		err = constraints_take(body, "", arena, &asked.constraints);
	if (!err)
		err = grant_canonical(&asked, arena, ret);
	if (!err)
		err = grant_check(ret);
	return err;
}
