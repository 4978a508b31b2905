/*
 * Lists, names and constraints of a policy's YAML.  Input that is not in canonical form is refused, never repaired.
 */
#include "policy/reader.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/clock.h"
#include "base/text.h"
#include "policy/within.h"

struct writ_err *
reader_no_room(const struct reader *r)
{
	return writ_fail(WRIT_EXHAUSTED, "%s: no memory for its rules", r->yaml->name);
}

struct writ_err *
reader_at_place(const struct reader *r, const struct yaml_node *node, struct writ_err *err)
{
	struct writ_err *ret = yaml_fail(r->yaml, node, "%s", err->cause ? err->cause->message : err->message);

	writ_err_free(err);
	return ret;
}

struct writ_err *
reader_needed(const struct reader *r, const struct yaml_node *map, const char *key, struct yaml_node **ret)
{
	*ret = yaml_get(map, key);
	return *ret ? NULL : yaml_fail(r->yaml, map, "'%s' is missing here", key);
}

struct writ_err *
reader_list(const struct reader *r, const struct yaml_node *node, const char *what, size_t max)
{
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, node, what, YAML_LIST);
	if (err)
		return err;
	if (node->n_items == 0)
		return yaml_fail(r->yaml, node, "%s: the list is empty, which never means all", what);
	if (node->n_items > max)
		return yaml_fail(r->yaml, node, "%s: %zu in the list, at most %zu", what, node->n_items, max);
	return NULL;
}

struct writ_err *
reader_texts(const struct reader *r, const struct yaml_node *node, const char *what, size_t max, text_check *check,
	     struct texts *ret)
{
	struct writ_bytes *list;
	struct writ_err *err;
	size_t n = 0;

	err = reader_list(r, node, what, max);
	if (err)
		return err;
	list = writ_arena_take(r->arena, node->n_items * sizeof(*list));
	if (!list)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next, n++) {
		err = yaml_text(r->yaml, item, what, &list[n]);
		if (err)
			return err;
		err = check(list[n]);
		if (err)
			return reader_at_place(r, item, err);
		for (size_t i = 0; i < n; i++)
			if (writ_equal(list[i], list[n]))
				return yaml_fail(r->yaml, item, "%s: '%.*s' is there twice", what, WRIT_FMT(list[n]));
	}
	*ret = (struct texts){ n, list };
	return NULL;
}

struct writ_err *
reader_needed_texts(const struct reader *r, const struct yaml_node *map, const char *key, size_t max, text_check *check,
		    struct texts *ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = reader_needed(r, map, key, &node);
	if (err)
		return err;
	return reader_texts(r, node, key, max, check, ret);
}

/* ---- constraints ---- */

static struct writ_err *
param_value_check(struct writ_bytes text)
{
	if (text.len > PARAM_VALUE_MAX)
		return writ_fail(WRIT_INVALID, "value of %zu octets, at most %d", text.len, PARAM_VALUE_MAX);
	if (!writ_is_clean_utf8(text))
		return writ_fail(WRIT_INVALID, "value holds control characters");
	return NULL;
}

/* "10.0.0.0/8" to address || mask, in canonical form only. */
static struct writ_err *
read_net(const struct reader *r, const struct yaml_node *item, struct writ_bytes *ret)
{
	char address[INET6_ADDRSTRLEN], again[INET6_ADDRSTRLEN];
	struct writ_bytes text;
	const uint8_t *slash;
	struct writ_err *err;
	size_t n, len;
	uint64_t bits;
	uint8_t *net;
	int family;

	err = yaml_text(r->yaml, item, "source_net", &text);
	if (err)
		return err;
	slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
	len = slash ? (size_t)(slash - text.data) : 0;
	if (len == 0 || len >= sizeof(address))
		return yaml_fail(r->yaml, item, "source_net '%.*s': is not ADDRESS/BITS", WRIT_FMT(text));
	memcpy(address, text.data, len);
	address[len] = '\0';
	family = strchr(address, ':') ? AF_INET6 : AF_INET;
	n = family == AF_INET6 ? 16 : 4;

	net = writ_arena_take(r->arena, 2 * n);
	if (!net)
		return reader_no_room(r);
	if (inet_pton(family, address, net) != 1 || !inet_ntop(family, net, again, sizeof(again)) ||
	    strcmp(address, again) != 0)
		return yaml_fail(r->yaml, item, "source_net '%.*s': not an address in its shortest form",
				 WRIT_FMT(text));
	if (!writ_decimal((struct writ_bytes){ slash + 1, text.len - len - 1 }, n * 8, &bits))
		return yaml_fail(r->yaml, item, "source_net '%.*s': %zu bits at most stand after '/'", WRIT_FMT(text),
				 n * 8);
	for (size_t i = 0; i < bits; i++)
		net[n + i / 8] |= (uint8_t)(0x80 >> (i % 8));
	for (size_t i = 0; i < n; i++)
		if (net[i] & (uint8_t)~net[n + i])
			return yaml_fail(r->yaml, item, "source_net '%.*s': has bits set beyond its %u", WRIT_FMT(text),
					 (unsigned)bits);
	*ret = (struct writ_bytes){ net, 2 * n };
	return NULL;
}

static struct writ_err *
read_source_net(const struct reader *r, const struct yaml_node *node, struct constraint *ret)
{
	struct writ_bytes *list;
	struct writ_err *err;
	size_t n = 0;

	err = reader_list(r, node, "source_net", CONSTRAINT_VALUES_MAX);
	if (err)
		return err;
	list = writ_arena_take(r->arena, node->n_items * sizeof(*list));
	if (!list)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next, n++) {
		err = read_net(r, item, &list[n]);
		if (err)
			return err;
		for (size_t i = 0; i < n; i++)
			if (writ_equal(list[i], list[n]))
				return yaml_fail(r->yaml, item, "source_net: '%.*s' is there twice",
						 WRIT_FMT(item->text));
	}
	ret->n_values = n;
	ret->values = list;
	return NULL;
}

static struct writ_err *
read_time(const struct reader *r, const struct yaml_node *map, const char *key, writ_time *ret)
{
	struct yaml_node *node;
	struct writ_bytes text;
	struct writ_err *err;

	err = reader_needed(r, map, key, &node);
	if (err)
		return err;
	err = yaml_text(r->yaml, node, key, &text);
	if (err)
		return err;
	if (!writ_time_from_rfc3339(text, ret))
		return yaml_fail(r->yaml, node, "%s: '%.*s' is not a time like 2026-11-23T20:51:37Z", key,
				 WRIT_FMT(text));
	return NULL;
}

static struct writ_err *
read_window(const struct reader *r, const struct yaml_node *node, struct constraint *ret)
{
	static const char *const keys[] = { "from", "to", NULL };
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, node, "window", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	err = read_time(r, node, "from", &ret->not_before);
	if (err)
		return err;
	err = read_time(r, node, "to", &ret->not_after);
	if (err)
		return err;
	if (ret->not_before > ret->not_after)
		return yaml_fail(r->yaml, node, "window: ends before it begins");
	return NULL;
}

/* E4: parameter names are printable ASCII without spaces. */
static struct writ_err *
read_param_name(const struct reader *r, const struct yaml_node *map, struct writ_bytes *ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = reader_needed(r, map, "name", &node);
	if (err)
		return err;
	err = yaml_text(r->yaml, node, "name", ret);
	if (err)
		return err;
	if (ret->len == 0 || ret->len > PARAM_NAME_MAX)
		return yaml_fail(r->yaml, node, "name: %zu octets, 1 to %d", ret->len, PARAM_NAME_MAX);
	for (size_t i = 0; i < ret->len; i++)
		if (ret->data[i] < 0x21 || ret->data[i] > 0x7e)
			return yaml_fail(r->yaml, node, "name: '%.*s' holds more than printable ASCII", WRIT_FMT(*ret));
	return NULL;
}

static struct writ_err *
read_param_in(const struct reader *r, const struct yaml_node *node, struct constraint *ret)
{
	static const char *const keys[] = { "name", "values", NULL };
	struct texts values = { 0 };
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, node, "param_in", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	err = read_param_name(r, node, &ret->name);
	if (err)
		return err;
	err = reader_needed_texts(r, node, "values", CONSTRAINT_VALUES_MAX, param_value_check, &values);
	if (err)
		return err;
	ret->n_values = values.n;
	ret->values = values.list;
	return NULL;
}

static struct writ_err *
read_param_max(const struct reader *r, const struct yaml_node *node, struct constraint *ret)
{
	static const char *const keys[] = { "name", "max", NULL };
	const uint64_t limit = 9007199254740991; /* 2^53 - 1 */
	struct yaml_node *max;
	struct writ_bytes text;
	struct writ_err *err;
	uint64_t value;
	bool minus;

	err = yaml_kind_is(r->yaml, node, "param_max", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	err = read_param_name(r, node, &ret->name);
	if (err)
		return err;
	err = reader_needed(r, node, "max", &max);
	if (err)
		return err;
	err = yaml_text(r->yaml, max, "max", &text);
	if (err)
		return err;
	minus = text.len > 1 && text.data[0] == '-' && text.data[1] != '0';
	if (max->quoted || !writ_decimal((struct writ_bytes){ text.data + minus, text.len - minus }, limit, &value))
		return yaml_fail(r->yaml, max, "max: '%.*s' is not a whole number within 2^53 - 1", WRIT_FMT(text));
	ret->max = minus ? -(int64_t)value : (int64_t)value;
	return NULL;
}

static const struct {
	const char *key;
	enum constraint_kind kind;
	struct writ_err *(*read)(const struct reader *, const struct yaml_node *, struct constraint *);
} constraint_kinds[] = {
	{ "source_net", CONSTRAINT_SOURCE_NET, read_source_net },
	{ "window", CONSTRAINT_WINDOW, read_window },
	{ "param_in", CONSTRAINT_PARAM_IN, read_param_in },
	{ "param_max", CONSTRAINT_PARAM_MAX, read_param_max },
};

static struct writ_err *
read_constraint(const struct reader *r, const struct yaml_node *item, struct constraint *ret)
{
	static const char *const keys[] = { "source_net", "window", "param_in", "param_max", NULL };
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "constraints", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, item, keys);
	if (err)
		return err;
	if (item->n_items != 1)
		return yaml_fail(r->yaml, item, "constraints: %zu in one item, each is an item of its own",
				 item->n_items);
	for (size_t i = 0; i < N_OF(constraint_kinds); i++) {
		if (!writ_equal(item->first->key, writ_str(constraint_kinds[i].key)))
			continue;
		ret->kind = constraint_kinds[i].kind;
		return constraint_kinds[i].read(r, item->first, ret);
	}
	return writ_fail(WRIT_BROKEN, "constraint of a known key without a reader");
}

struct writ_err *
reader_constraints(const struct reader *r, const struct yaml_node *node, struct constraints *ret)
{
	struct constraint *list;
	struct writ_err *err;
	size_t n = 0;

	err = reader_list(r, node, "constraints", CONSTRAINTS_MAX);
	if (err)
		return err;
	list = writ_arena_take(r->arena, node->n_items * sizeof(*list));
	if (!list)
		return reader_no_room(r);
	for (const struct yaml_node *item = node->first; item; item = item->next, n++) {
		err = read_constraint(r, item, &list[n]);
		if (err)
			return err;
		for (size_t i = 0; i < n; i++)
			if (constraint_counterpart(&list[i], &list[n]))
				return yaml_fail(r->yaml, item, "constraints: a second %.*s%s%.*s%s",
						 WRIT_FMT(item->first->key), list[n].name.len ? " of '" : "",
						 WRIT_FMT(list[n].name), list[n].name.len ? "'" : "");
	}
	*ret = (struct constraints){ n, list };
	return NULL;
}
