/*
 * Members of JSON objects, taken one by one: see members.h.
 */
#include "issuer/serve/members.h"

#include "base/text.h"
#include "issuer/serve/request.h"

void
members_done(json_t **json)
{
	json_decref(*json);
}

/* In our words, not the library's, where the reader of the message would not know those. */
WRIT_CHECKED static struct writ_err *
syntax_refused(const char *what, const json_error_t *why)
{
	switch (json_error_code(why)) {
	case json_error_duplicate_key:
		return writ_fail(WRIT_INVALID, "%s has a member twice: line %d, column %d", what, why->line,
				 why->column);
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return writ_fail(WRIT_INVALID, "%s is not JSON: line %d, column %d: a NUL in a text", what, why->line,
				 why->column);
	case json_error_invalid_utf8:
		return writ_fail(WRIT_INVALID, "%s is not JSON: line %d, column %d: not UTF-8", what, why->line,
				 why->column);
	default:
		return writ_fail(WRIT_INVALID, "%s is not JSON: line %d, column %d: %s", what, why->line, why->column,
				 why->text);
	}
}

struct writ_err *
members_parse(struct writ_bytes text, const char *what, json_t **ret)
{
	return members_parse_long(text, REQUEST_MAX, what, ret);
}

struct writ_err *
members_parse_long(struct writ_bytes text, size_t max, const char *what, json_t **ret)
{
	json_error_t why;

	if (text.len > max)
		return writ_fail(WRIT_INVALID, "%s has %zu bytes, over %zu", what, text.len, max);
	if (!writ_json_shallow(text, REQUEST_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "%s nests deeper than %d", what, REQUEST_DEPTH_MAX);
	*ret = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		return syntax_refused(what, &why);
	if (!json_is_object(*ret))
		return writ_fail(WRIT_INVALID, "%s is not a JSON object", what);
	return NULL;
}

/* No member but these; `where` is "" for the body itself, else a place that ends in '.'. */
struct writ_err *
members_only(json_t *object, const char *where, const char *const *names, size_t n)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		size_t i = 0;

		while (i < n && strcmp(names[i], key) != 0)
			i++;
		if (i == n)
			return writ_fail(WRIT_INVALID, "member '%s%.60s' is unknown", where, key);
	}
	return NULL;
}

struct writ_err *
member_wrong(const char *where, const char *name, const char *wanted)
{
	return writ_fail(WRIT_INVALID, "member '%s%s' must be %s", where, name, wanted);
}

struct writ_err *
member_missing(const char *where, const char *name)
{
	return writ_fail(WRIT_INVALID, "member '%s%s' is missing", where, name);
}

struct writ_bytes
member_text_of(const json_t *json)
{
	return (struct writ_bytes){ (const uint8_t *)json_string_value(json), json_string_length(json) };
}

struct writ_err *
member_keep(struct writ_arena *arena, struct writ_bytes from, struct writ_bytes *ret)
{
	*ret = writ_arena_copy(arena, from);
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
}

/* A text; empty when it is optional and absent.  An empty text given is refused: absence has one form. */
struct writ_err *
member_text(json_t *object, const char *where, const char *name, enum member_presence presence, size_t max,
	    struct writ_arena *arena, struct writ_bytes *ret)
{
	const json_t *value = json_object_get(object, name);

	*ret = (struct writ_bytes){ 0 };
	if (!value && presence == MEMBER_REQUIRED)
		return member_missing(where, name);
	if (!value)
		return NULL;
	if (!json_is_string(value) || json_string_length(value) == 0)
		return member_wrong(where, name, "a text that is not empty");
	if (json_string_length(value) > max)
		return writ_fail(WRIT_INVALID, "member '%s%s' has %zu octets, over %zu", where, name,
				 json_string_length(value), max);
	return member_keep(arena, member_text_of(value), ret);
}

struct writ_err *
member_number(json_t *object, const char *where, const char *name, int64_t min, int64_t max, int64_t otherwise,
	      int64_t *ret)
{
	const json_t *value = json_object_get(object, name);

	*ret = otherwise;
	if (!value)
		return NULL;
	if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
		return writ_fail(WRIT_INVALID, "member '%s%s' must be an integer from %lld to %lld", where, name,
				 (long long)min, (long long)max);
	*ret = json_integer_value(value);
	return NULL;
}

struct writ_err *
member_flag(json_t *object, const char *where, const char *name, bool *ret)
{
	const json_t *value = json_object_get(object, name);

	*ret = false;
	if (value && !json_is_boolean(value))
		return member_wrong(where, name, "true or false");
	*ret = value && json_is_true(value);
	return NULL;
}

struct writ_err *
member_hex(json_t *object, const char *where, const char *name, uint8_t *out, size_t len)
{
	const json_t *value = json_object_get(object, name);
	struct writ_bytes text;

	if (!value)
		return member_missing(where, name);
	text = json_is_string(value) ? member_text_of(value) : (struct writ_bytes){ 0 };
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 'A' && text.data[i] <= 'F')
			text.len = 0; /* one form only */
	if (!writ_unhex(text, out, len))
		return writ_fail(WRIT_INVALID, "member '%s%s' must be %zu lower-case hex digits", where, name, 2 * len);
	return NULL;
}

/* A list of 1 to `max` texts. */
struct writ_err *
member_texts(json_t *object, const char *where, const char *name, size_t max, struct writ_arena *arena,
	     struct texts *ret)
{
	json_t *value = json_object_get(object, name);
	struct writ_bytes *list;
	struct writ_err *err;
	size_t n;

	if (!value)
		return member_missing(where, name);
	n = json_array_size(value);
	if (!json_is_array(value) || n == 0 || n > max)
		return writ_fail(WRIT_INVALID, "member '%s%s' must be a list of 1 to %zu texts", where, name, max);
	list = writ_arena_take(arena, n * sizeof(*list));
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(value, i);

		if (!json_is_string(item))
			return writ_fail(WRIT_INVALID, "member '%s%s' must be a list of 1 to %zu texts", where, name,
					 max);
		err = member_keep(arena, member_text_of(item), &list[i]);
		if (err)
			return err;
	}
	*ret = (struct texts){ n, list };
	return NULL;
}
