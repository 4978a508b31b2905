/*
 * JSON bodies in: see request.h.  Each reader names its members once, in `names`, and takes them one by one.
 */
#include <arpa/inet.h>
#include <jansson.h>

#include "base/text.h"
#include "issuer/serve/request.h"
#include "issuer/x509/ca.h"

#define INTEGER_MAX INT64_C(9007199254740991) /* 2^53 - 1: what every JSON reader holds exactly */

static void
json_done(json_t **json)
{
	json_decref(*json);
}

/* Brackets outside strings, counted before any tree is built: jansson recurses. */
WRIT_CHECKED static struct writ_err *
depth_check(struct writ_bytes body)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < body.len; i++) {
		const uint8_t c = body.data[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > REQUEST_DEPTH_MAX)
				return writ_fail(WRIT_INVALID, "the body nests deeper than %d", REQUEST_DEPTH_MAX);
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return NULL;
}

/* In our words, not the library's, where the reader of the message would not know those. */
WRIT_CHECKED static struct writ_err *
syntax_refused(const json_error_t *why)
{
	switch (json_error_code(why)) {
	case json_error_duplicate_key:
		return writ_fail(WRIT_INVALID, "the body has a member twice: line %d, column %d", why->line,
				 why->column);
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return writ_fail(WRIT_INVALID, "the body is not JSON: line %d, column %d: a NUL in a text", why->line,
				 why->column);
	case json_error_invalid_utf8:
		return writ_fail(WRIT_INVALID, "the body is not JSON: line %d, column %d: not UTF-8", why->line,
				 why->column);
	default:
		return writ_fail(WRIT_INVALID, "the body is not JSON: line %d, column %d: %s", why->line, why->column,
				 why->text);
	}
}

WRIT_CHECKED static struct writ_err *
body_parse(struct writ_bytes body, json_t **ret)
{
	struct writ_err *err;
	json_error_t why;

	if (body.len > REQUEST_MAX)
		return writ_fail(WRIT_INVALID, "the body has %zu bytes, over %d", body.len, REQUEST_MAX);
	err = depth_check(body);
	if (err)
		return err;
	*ret = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		return syntax_refused(&why);
	if (!json_is_object(*ret))
		return writ_fail(WRIT_INVALID, "the body is not a JSON object");
	return NULL;
}

/* No member but these; `where` is "" for the body itself, else a place that ends in '.'. */
WRIT_CHECKED static struct writ_err *
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

WRIT_CHECKED static struct writ_err *
wrong(const char *where, const char *name, const char *wanted)
{
	return writ_fail(WRIT_INVALID, "member '%s%s' must be %s", where, name, wanted);
}

WRIT_CHECKED static struct writ_err *
missing(const char *where, const char *name)
{
	return writ_fail(WRIT_INVALID, "member '%s%s' is missing", where, name);
}

static struct writ_bytes
text_of(const json_t *json)
{
	return (struct writ_bytes){ (const uint8_t *)json_string_value(json), json_string_length(json) };
}

WRIT_CHECKED static struct writ_err *
copied(struct writ_arena *arena, struct writ_bytes from, struct writ_bytes *ret)
{
	*ret = writ_arena_copy(arena, from);
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
}

enum presence { OPTIONAL, REQUIRED };

/* A text; empty when it is optional and absent.  An empty text given is refused: absence has one form. */
WRIT_CHECKED static struct writ_err *
text_take(json_t *object, const char *where, const char *name, enum presence presence, size_t max,
	  struct writ_arena *arena, struct writ_bytes *ret)
{
	const json_t *value = json_object_get(object, name);

	*ret = (struct writ_bytes){ 0 };
	if (!value && presence == REQUIRED)
		return missing(where, name);
	if (!value)
		return NULL;
	if (!json_is_string(value) || json_string_length(value) == 0)
		return wrong(where, name, "a text that is not empty");
	if (json_string_length(value) > max)
		return writ_fail(WRIT_INVALID, "member '%s%s' has %zu octets, over %zu", where, name,
				 json_string_length(value), max);
	return copied(arena, text_of(value), ret);
}

WRIT_CHECKED static struct writ_err *
number_take(json_t *object, const char *where, const char *name, int64_t min, int64_t max, int64_t otherwise,
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

WRIT_CHECKED static struct writ_err *
flag_take(json_t *object, const char *where, const char *name, bool *ret)
{
	const json_t *value = json_object_get(object, name);

	*ret = false;
	if (value && !json_is_boolean(value))
		return wrong(where, name, "true or false");
	*ret = value && json_is_true(value);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
hex_take(json_t *object, const char *where, const char *name, uint8_t *out, size_t len)
{
	const json_t *value = json_object_get(object, name);
	struct writ_bytes text;

	if (!value)
		return missing(where, name);
	text = json_is_string(value) ? text_of(value) : (struct writ_bytes){ 0 };
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 'A' && text.data[i] <= 'F')
			text.len = 0; /* one form only */
	if (!writ_unhex(text, out, len))
		return writ_fail(WRIT_INVALID, "member '%s%s' must be %zu lower-case hex digits", where, name, 2 * len);
	return NULL;
}

/* A list of 1 to `max` texts. */
WRIT_CHECKED static struct writ_err *
texts_take(json_t *object, const char *where, const char *name, size_t max, struct writ_arena *arena, struct texts *ret)
{
	json_t *value = json_object_get(object, name);
	struct writ_bytes *list;
	struct writ_err *err;
	size_t n;

	if (!value)
		return missing(where, name);
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
		err = copied(arena, text_of(item), &list[i]);
		if (err)
			return err;
	}
	*ret = (struct texts){ n, list };
	return NULL;
}

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
	return copied(arena, (struct writ_bytes){ net, 2 * len }, ret);
}

WRIT_CHECKED static struct writ_err *
source_net_read(json_t *object, const char *where, struct writ_arena *arena, struct constraint *ret)
{
	struct writ_bytes *nets;
	struct writ_err *err;
	struct texts texts;

	err = texts_take(object, where, "sourceNet", CONSTRAINT_VALUES_MAX, arena, &texts);
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
		return missing(where, name);
	if (!json_is_string(value) || !writ_time_from_rfc3339(text_of(value), ret))
		return wrong(where, name, "a time as 2026-11-23T20:51:37Z");
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
		err = text_take(value, where, "name", REQUIRED, PARAM_NAME_MAX, arena, &ret->name);
	if (!err)
		err = texts_take(value, where, "values", CONSTRAINT_VALUES_MAX, arena, &texts);
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
		err = text_take(value, where, "name", REQUIRED, PARAM_NAME_MAX, arena, &ret->name);
	if (!err && !json_object_get(value, "max"))
		err = missing(where, "max");
	if (!err)
		err = number_take(value, where, "max", -INTEGER_MAX, INTEGER_MAX, 0, &ret->max);
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
			return wrong(where, names[i], "an object");
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
		err = texts_take(object, where, "actions", ACTIONS_MAX, arena, &ret->actions);
	if (!err)
		err = texts_take(object, where, "resources", RESOURCES_MAX, arena, &ret->resources);
	if (!err)
		err = flag_take(object, where, "delegable", &ret->delegable);
	if (!err)
		err = constraints_take(object, where, arena, &ret->constraints);
	return err;
}

WRIT_CHECKED static struct writ_err *
grant_take(json_t *body, struct writ_arena *arena, struct grant *ret)
{
	json_t *scope = json_object_get(body, "scope");
	struct grant asked = { .n_entitlements = json_array_size(scope) };
	struct entitlement *list;
	struct writ_err *err;
	char place[32];

	if (!scope)
		return missing("", "scope");
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
	err = texts_take(body, "", "audience", AUDIENCE_MAX, arena, &asked.audience);
	if (!err)
		err = constraints_take(body, "", arena, &asked.constraints);
	if (!err)
		err = grant_canonical(&asked, arena, ret);
	if (!err)
		err = grant_check(ret);
	return err;
}

WRIT_CHECKED static struct writ_err *
agent_take(json_t *body, struct writ_arena *arena, struct request_delegation *ret)
{
	static const char *const names[] = { "class", "spki_sha256" };
	json_t *agent = json_object_get(body, "agent");
	struct spiffe_id id;
	struct writ_err *err;

	if (!agent)
		return missing("", "agent");
	if (!json_is_object(agent))
		return wrong("", "agent", "an object");
	err = members_only(agent, "agent.", names, N_OF(names));
	if (!err)
		err = text_take(agent, "agent.", "class", REQUIRED, PRINCIPAL_MAX, arena, &ret->agent_class);
	if (!err)
		err = hex_take(agent, "agent.", "spki_sha256", ret->spki_sha256, sizeof(ret->spki_sha256));
	if (err)
		return err;

	err = spiffe_parse(ret->agent_class, &id);
	if (err)
		return writ_because(err, "member 'agent.class'");
	if (id.kind != PRINCIPAL_AGENT || id.instance.len > 0)
		return wrong("agent.", "class",
			     "a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by the issuer");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
context_take(json_t *body, struct writ_arena *arena, struct request_delegation *ret)
{
	static const char *const names[] = { "type", "digest" };
	json_t *context = json_object_get(body, "context");
	struct writ_err *err;
	uint8_t digest[32];

	if (!context)
		return NULL;
	if (!json_is_object(context))
		return wrong("", "context", "an object");
	err = members_only(context, "context.", names, N_OF(names));
	if (!err)
		err = text_take(context, "context.", "type", REQUIRED, 128, arena, &ret->context_type);
	if (!err)
		err = hex_take(context, "context.", "digest", digest, sizeof(digest));
	if (err)
		return err;
	for (size_t i = 0; i < ret->context_type.len; i++)
		if (ret->context_type.data[i] < 0x21 || ret->context_type.data[i] > 0x7e)
			return wrong("context.", "type", "printable ASCII without blanks");
	return copied(arena, (struct writ_bytes){ digest, sizeof(digest) }, &ret->context_digest);
}

WRIT_CHECKED static struct writ_err *
task_take(json_t *body, struct writ_arena *arena, struct request_delegation *ret)
{
	struct writ_err *err;

	err = text_take(body, "", "id", OPTIONAL, REQUEST_MAX, arena, &ret->task_id);
	if (!err && ret->task_id.len > 0)
		err = task_id_check(ret->task_id);
	if (!err)
		err = text_take(body, "", "purpose", OPTIONAL, 256, arena, &ret->purpose);
	if (err)
		return err;
	if (!writ_is_clean_utf8(ret->purpose))
		return wrong("", "purpose", "UTF-8 without control characters");
	return NULL;
}

struct writ_err *
request_delegation(struct writ_bytes body, enum request_route route, struct writ_arena *arena,
		   struct request_delegation *ret)
{
	/* `id` and `purpose` belong to a task: they stand last, so that a delegation knows the shorter list. */
	static const char *const names[] = { "agent",	  "scope",   "audience", "constraints", "depth",
					     "ends_in_s", "context", "id",	 "purpose" };
	AUTO(json_done) json_t *json = NULL;
	struct writ_err *err;
	int64_t depth = 0, ends = 0;

	*ret = (struct request_delegation){ 0 };
	err = body_parse(body, &json);
	if (!err)
		err = members_only(json, "", names, route == REQUEST_OPEN_TASK ? N_OF(names) : N_OF(names) - 2);
	if (!err && route == REQUEST_OPEN_TASK)
		err = task_take(json, arena, ret);
	if (!err)
		err = agent_take(json, arena, ret);
	if (!err)
		err = grant_take(json, arena, &ret->grant);
	if (!err)
		err = number_take(json, "", "depth", 0, DEPTH_MAX, 0, &depth);
	if (!err)
		err = number_take(json, "", "ends_in_s", REQUEST_ENDS_MIN_S, REQUEST_ENDS_MAX_S,
				  route == REQUEST_OPEN_TASK ? REQUEST_ENDS_DEFAULT_S : 0, &ends);
	if (!err)
		err = context_take(json, arena, ret);
	ret->depth = (unsigned)depth;
	ret->ends_in_s = (uint32_t)ends;
	return err;
}

/* ---- leaves ---- */

WRIT_CHECKED static struct writ_err *
csr_take(json_t *body, struct writ_arena *arena, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CSR_MAX);
	const json_t *value = json_object_get(body, "csr");
	struct writ_bytes text;
	struct writ_err *err;

	if (!value)
		return missing("", "csr");
	if (!json_is_string(value))
		return wrong("", "csr", "a text: base64 of the DER, or PEM");
	text = text_of(value);
	if (text.len > 5 && memcmp(text.data, "-----", 5) == 0)
		err = pem_read("CERTIFICATE REQUEST", &text, &der);
	else
		err = writ_unbase64(BASE64_STD, text, &der);
	if (err && err->code == WRIT_EXHAUSTED)
		return writ_recode(err, WRIT_INVALID, "member 'csr' has more than %d bytes", CSR_MAX);
	if (err)
		return writ_recode(err, WRIT_INVALID, "member 'csr' is neither base64 of DER nor PEM");
	return copied(arena, writ_view(&der), ret);
}

WRIT_CHECKED static struct writ_err *
leaf_members(json_t *json, struct request_leaf *ret)
{
	struct writ_err *err;
	int64_t lifetime = 0;

	/* 60 and 900: what may be asked of any policy (delegation.md 2) */
	err = number_take(json, "", "lifetime_s", 60, 900, 0, &lifetime);
	ret->lifetime_s = (uint32_t)lifetime;
	if (!err)
		err = flag_take(json, "", "ocsp", &ret->ocsp);
	return err;
}

struct writ_err *
request_leaf(struct writ_bytes body, struct writ_arena *arena, struct request_leaf *ret)
{
	static const char *const names[] = { "csr", "lifetime_s", "ocsp" };
	AUTO(json_done) json_t *json = NULL;
	struct writ_err *err;

	*ret = (struct request_leaf){ 0 };
	err = body_parse(body, &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = csr_take(json, arena, &ret->csr);
	if (!err)
		err = leaf_members(json, ret);
	return err;
}

struct writ_err *
request_renew(struct writ_bytes body, struct writ_arena *arena, struct request_leaf *ret)
{
	static const char *const names[] = { "lifetime_s", "ocsp" };
	AUTO(json_done) json_t *json = NULL;
	struct writ_err *err;

	(void)arena;
	*ret = (struct request_leaf){ 0 };
	if (body.len == 0)
		return NULL;
	err = body_parse(body, &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = leaf_members(json, ret);
	return err;
}

/* ---- queries ---- */

/* The next "name=digits" of a query; `*rest` moves behind it and its '&'. */
static bool
query_next(struct writ_bytes *rest, struct writ_bytes *ret_name, uint64_t *ret_value)
{
	const uint8_t *amp = memchr(rest->data, '&', rest->len);
	const size_t len = amp ? (size_t)(amp - rest->data) : rest->len;
	const uint8_t *equals = memchr(rest->data, '=', len);
	const size_t name_len = equals ? (size_t)(equals - rest->data) : 0;

	if (name_len == 0 || (amp && len + 1 == rest->len))
		return false;
	*ret_name = (struct writ_bytes){ rest->data, name_len };
	if (!writ_decimal((struct writ_bytes){ equals + 1, len - name_len - 1 }, INTEGER_MAX, ret_value))
		return false;
	*rest = (struct writ_bytes){ rest->data + len + (amp ? 1 : 0), rest->len - len - (amp ? 1 : 0) };
	return true;
}

struct writ_err *
request_lifetime_query(struct writ_bytes query, uint32_t *ret_s)
{
	struct writ_bytes name;
	uint64_t value;

	*ret_s = 0;
	if (query.len == 0)
		return NULL;
	if (!query_next(&query, &name, &value) || query.len > 0 || !writ_equal(name, WRIT_LIT("lifetime_s")) ||
	    value < 60 || value > 900)
		return writ_fail(WRIT_INVALID, "the query must be lifetime_s=N, N from 60 to 900");
	*ret_s = (uint32_t)value;
	return NULL;
}

struct writ_err *
request_entries_query(struct writ_bytes query, uint64_t *ret_from, unsigned *ret_count)
{
	bool seen_from = false, seen_count = false;
	struct writ_bytes name;
	uint64_t value;

	*ret_from = 0;
	*ret_count = REQUEST_ENTRIES_MAX;
	while (query.len > 0) {
		if (!query_next(&query, &name, &value))
			return writ_fail(WRIT_INVALID, "the query must be from=N and count=N");
		if (writ_equal(name, WRIT_LIT("from")) && !seen_from) {
			seen_from = true;
			*ret_from = value;
		} else if (writ_equal(name, WRIT_LIT("count")) && !seen_count && value >= 1 &&
			   value <= REQUEST_ENTRIES_MAX) {
			seen_count = true;
			*ret_count = (unsigned)value;
		} else {
			return writ_fail(WRIT_INVALID, "the query must be from=N and count=N, count from 1 to %d",
					 REQUEST_ENTRIES_MAX);
		}
	}
	return NULL;
}

/* ---- revocations ---- */

WRIT_CHECKED static struct writ_err *
target_take(json_t *json, struct writ_arena *arena, struct request_revoke *ret)
{
	struct writ_err *err;
	uint8_t id[16];

	if (json_object_get(json, "edge")) {
		ret->target = TARGET_EDGE;
		err = hex_take(json, "", "edge", id, sizeof(id));
		return err ? err : copied(arena, (struct writ_bytes){ id, sizeof(id) }, &ret->id);
	}
	if (json_object_get(json, "serial")) {
		ret->target = TARGET_SERIAL;
		err = hex_take(json, "", "serial", id, sizeof(id));
		return err ? err : copied(arena, (struct writ_bytes){ id, sizeof(id) }, &ret->id);
	}
	if (json_object_get(json, "task")) {
		ret->target = TARGET_TASK;
		err = text_take(json, "", "task", REQUIRED, REQUEST_MAX, arena, &ret->id);
		return err ? err : task_id_check(ret->id);
	}
	ret->target = TARGET_PRINCIPAL;
	err = text_take(json, "", "principal", REQUIRED, PRINCIPAL_MAX, arena, &ret->id);
	if (!err) {
		struct spiffe_id parsed;

		err = spiffe_parse(ret->id, &parsed);
	}
	return err;
}

WRIT_CHECKED static struct writ_err *
reason_take(json_t *json, enum crl_reason *ret)
{
	const json_t *value = json_object_get(json, "reason");

	*ret = REASON_PRIVILEGE_WITHDRAWN;
	if (!value)
		return NULL;
	/* caCompromise speaks of a CA, certificateHold and removeFromCRL do not exist here (R7). */
	if (!json_is_string(value) || !crl_reason_from(text_of(value), ret) || *ret == REASON_CA_COMPROMISE)
		return wrong("", "reason",
			     "one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, "
			     "privilegeWithdrawn");
	return NULL;
}

struct writ_err *
request_revoke(struct writ_bytes body, struct writ_arena *arena, struct request_revoke *ret)
{
	static const char *const names[] = { "edge", "serial", "task", "principal", "reason" };
	AUTO(json_done) json_t *json = NULL;
	struct writ_err *err;
	size_t n = 0;

	*ret = (struct request_revoke){ 0 };
	err = body_parse(body, &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (err)
		return err;
	for (size_t i = 0; i < 4; i++)
		n += json_object_get(json, names[i]) ? 1 : 0;
	if (n != 1)
		return writ_fail(WRIT_INVALID, "exactly one of edge, serial, task, principal says what is revoked");
	err = target_take(json, arena, ret);
	if (!err)
		err = reason_take(json, &ret->reason);
	return err;
}
