/*
 * JSON bodies in: see request.h.  Each reader names its members once, in `names`, and takes them one by one.
 */
#include "issuer/serve/request.h"

#include <stdlib.h>

#include "base/text.h"
#include "issuer/auth/jws.h"
#include "issuer/serve/members.h"
#include "issuer/status/feed.h"
#include "issuer/x509/ca.h"

struct writ_err *
member_class(json_t *object, const char *where, const char *name, struct writ_arena *arena, struct writ_bytes *ret)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = member_text(object, where, name, MEMBER_REQUIRED, PRINCIPAL_MAX, arena, ret);
	if (err)
		return err;
	err = spiffe_parse(*ret, &id);
	if (err)
		return writ_because(err, "member '%s%s'", where, name);
	if (id.kind != PRINCIPAL_AGENT || id.instance.len > 0)
		return member_wrong(where, name,
				    "a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by the issuer");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
agent_take(json_t *body, struct writ_arena *arena, struct request_delegation *ret)
{
	static const char *const names[] = { "class", "spki_sha256" };
	json_t *agent = json_object_get(body, "agent");
	struct writ_err *err;

	if (!agent)
		return member_missing("", "agent");
	if (!json_is_object(agent))
		return member_wrong("", "agent", "an object");
	err = members_only(agent, "agent.", names, N_OF(names));
	if (!err && !json_object_get(agent, "class"))
		err = member_missing("agent.", "class");
	if (!err)
		err = member_hex(agent, "agent.", "spki_sha256", ret->spki_sha256, sizeof(ret->spki_sha256));
	return err ? err : member_class(agent, "agent.", "class", arena, &ret->agent_class);
}

struct writ_err *
member_context(json_t *object, const char *where, const char *type, const char *digest, struct writ_arena *arena,
	       struct request_delegation *ret)
{
	struct writ_err *err;
	uint8_t bytes[32];

	err = member_text(object, where, type, MEMBER_REQUIRED, 128, arena, &ret->context_type);
	if (!err)
		err = member_hex(object, where, digest, bytes, sizeof(bytes));
	if (err)
		return err;
	for (size_t i = 0; i < ret->context_type.len; i++)
		if (ret->context_type.data[i] < 0x21 || ret->context_type.data[i] > 0x7e)
			return member_wrong(where, type, "printable ASCII without blanks");
	return member_keep(arena, (struct writ_bytes){ bytes, sizeof(bytes) }, &ret->context_digest);
}

WRIT_CHECKED static struct writ_err *
context_take(json_t *body, struct writ_arena *arena, struct request_delegation *ret)
{
	static const char *const names[] = { "type", "digest" };
	json_t *context = json_object_get(body, "context");
	struct writ_err *err;

	if (!context)
		return NULL;
	if (!json_is_object(context))
		return member_wrong("", "context", "an object");
	err = members_only(context, "context.", names, N_OF(names));
	return err ? err : member_context(context, "context.", "type", "digest", arena, ret);
}

struct writ_err *
member_task(json_t *object, const char *where, struct writ_arena *arena, struct request_delegation *ret)
{
	struct writ_err *err;

	err = member_text(object, where, "id", MEMBER_OPTIONAL, REQUEST_MAX, arena, &ret->task_id);
	if (!err && ret->task_id.len > 0)
		err = task_id_check(ret->task_id);
	if (!err)
		err = member_text(object, where, "purpose", MEMBER_OPTIONAL, 256, arena, &ret->purpose);
	if (err)
		return err;
	if (!writ_is_clean_utf8(ret->purpose))
		return member_wrong(where, "purpose", "UTF-8 without control characters");
	return NULL;
}

struct writ_err *
request_delegation(struct writ_bytes body, enum request_route route, struct writ_arena *arena,
		   struct request_delegation *ret)
{
	/* `id` and `purpose` belong to a task: they stand last, so that a delegation knows the shorter list. */
	static const char *const names[] = { "agent",	  "scope",   "audience", "constraints", "depth",
					     "ends_in_s", "context", "id",	 "purpose" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;
	int64_t depth = 0, ends = 0;

	*ret = (struct request_delegation){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, route == REQUEST_OPEN_TASK ? N_OF(names) : N_OF(names) - 2);
	if (!err && route == REQUEST_OPEN_TASK)
		err = member_task(json, "", arena, ret);
	if (!err)
		err = agent_take(json, arena, ret);
	if (!err)
		err = members_grant(json, arena, &ret->grant);
	if (!err)
		err = member_number(json, "", "depth", 0, DEPTH_MAX, 0, &depth);
	if (!err)
		err = member_number(json, "", "ends_in_s", REQUEST_ENDS_MIN_S, REQUEST_ENDS_MAX_S,
				    route == REQUEST_OPEN_TASK ? REQUEST_ENDS_DEFAULT_S : 0, &ends);
	if (!err)
		err = context_take(json, arena, ret);
	ret->depth = (unsigned)depth;
	ret->ends_in_s = (uint32_t)ends;
	return err;
}

/* ---- signed grants ---- */

/* Is the first member of the body called so?  `name` is with its quotes. */
static bool
first_member_is(struct writ_bytes body, const char *name)
{
	size_t at = 0;

	while (at < body.len && memchr(" \t\r\n", body.data[at], 4))
		at++;
	if (at == body.len || body.data[at++] != '{')
		return false;
	while (at < body.len && memchr(" \t\r\n", body.data[at], 4))
		at++;
	return body.len - at >= strlen(name) && memcmp(body.data + at, name, strlen(name)) == 0;
}

bool
request_is_grant(struct writ_bytes body)
{
	return first_member_is(body, "\"grant\"");
}

bool
request_is_token(struct writ_bytes body)
{
	return first_member_is(body, "\"id_token\"") || first_member_is(body, "\"grant_body\"");
}

struct writ_err *
request_grant(struct writ_bytes body, struct writ_arena *arena, struct writ_bytes *ret)
{
	static const char *const names[] = { "grant" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;

	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = member_text(json, "", "grant", MEMBER_REQUIRED, JWS_MAX, arena, ret);
	return err;
}

/* ---- ID tokens ---- */

struct writ_err *
request_token(struct writ_bytes body, struct writ_arena *arena, struct writ_bytes *ret_token, struct writ_bytes *ret_grant)
{
	static const char *const names[] = { "id_token", "grant_body" };
	AUTO(writ_buf_done) struct writ_buf grant = WRIT_BUF(REQUEST_GRANT_BODY_MAX);
	AUTO(members_done) json_t *json = NULL;
	struct writ_bytes text;
	struct writ_err *err;

	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = member_text(json, "", "id_token", MEMBER_REQUIRED, JWS_MAX, arena, ret_token);
	if (!err)
		err = member_text(json, "", "grant_body", MEMBER_REQUIRED, REQUEST_MAX, arena, &text);
	if (err)
		return err;
	err = writ_unbase64(BASE64_URL, text, &grant);
	if (err && err->code == WRIT_EXHAUSTED)
		return writ_recode(err, WRIT_INVALID, "member 'grant_body' has more than %d bytes", REQUEST_GRANT_BODY_MAX);
	if (err)
		return writ_because(err, "member 'grant_body' is not base64url");
	return member_keep(arena, writ_view(&grant), ret_grant);
}

struct writ_err *
request_prepare(struct writ_bytes body, struct writ_arena *arena, struct request_prepare *ret)
{
	static const char *const names[] = { "idp", "task" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;
	json_t *task;
	char *text;

	*ret = (struct request_prepare){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = member_text(json, "", "idp", MEMBER_REQUIRED, 64, arena, &ret->idp);
	if (err)
		return err;
	task = json_object_get(json, "task");
	if (!task)
		return member_missing("", "task");
	if (!json_is_object(task))
		return member_wrong("", "task", "an object: what POST /v1/tasks takes");
	text = json_dumps(task, JSON_COMPACT);
	if (!text)
		return writ_fail(WRIT_EXHAUSTED, "the request needs more memory than one may have");
	err = member_keep(arena, writ_str(text), &ret->task);
	free(text);
	if (!err)
		err = request_delegation(ret->task, REQUEST_OPEN_TASK, arena, &ret->asked);
	return err ? writ_because(err, "task") : NULL;
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
		return member_missing("", "csr");
	if (!json_is_string(value))
		return member_wrong("", "csr", "a text: base64 of the DER, or PEM");
	text = member_text_of(value);
	if (text.len > 5 && memcmp(text.data, "-----", 5) == 0)
		err = pem_read("CERTIFICATE REQUEST", &text, &der);
	else
		err = writ_unbase64(BASE64_STD, text, &der);
	if (err && err->code == WRIT_EXHAUSTED)
		return writ_recode(err, WRIT_INVALID, "member 'csr' has more than %d bytes", CSR_MAX);
	if (err)
		return writ_recode(err, WRIT_INVALID, "member 'csr' is neither base64 of DER nor PEM");
	return member_keep(arena, writ_view(&der), ret);
}

WRIT_CHECKED static struct writ_err *
leaf_members(json_t *json, struct request_leaf *ret)
{
	struct writ_err *err;
	int64_t lifetime = 0;

	/* 60 and 900: what may be asked of any policy (delegation.md 2) */
	err = member_number(json, "", "lifetime_s", 60, 900, 0, &lifetime);
	ret->lifetime_s = (uint32_t)lifetime;
	if (!err)
		err = member_flag(json, "", "ocsp", &ret->ocsp);
	return err;
}

struct writ_err *
request_leaf(struct writ_bytes body, struct writ_arena *arena, struct request_leaf *ret)
{
	static const char *const names[] = { "csr", "lifetime_s", "ocsp" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;

	*ret = (struct request_leaf){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = csr_take(json, arena, &ret->csr);
	if (!err)
		err = leaf_members(json, ret);
	return err;
}

WRIT_CHECKED static struct writ_err *
item_members(json_t *json, const char *where, struct writ_arena *arena, struct request_item *ret)
{
	static const char *const names[] = { "task", "csr", "lifetime_s", "ocsp" };
	struct writ_err *err;

	if (!json_is_object(json))
		return writ_fail(WRIT_INVALID, "%s is not a JSON object", where);
	err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = member_text(json, "", "task", MEMBER_REQUIRED, TASK_ID_LEN_MAX, arena, &ret->task);
	if (!err)
		err = csr_take(json, arena, &ret->leaf.csr);
	if (!err)
		err = leaf_members(json, &ret->leaf);
	return err ? writ_because(err, "%s", where) : NULL;
}

/* The whole is refused for the shape of one: whoever sends it has a fault in his program, and none has begun yet. */
struct writ_err *
request_batch(struct writ_bytes body, struct writ_arena *arena, struct request_item *ret, size_t max, size_t *ret_n)
{
	static const char *const names[] = { "leaves" };
	AUTO(members_done) json_t *json = NULL;
	json_t *leaves, *item;
	struct writ_err *err;
	size_t i;

	*ret_n = 0;
	err = members_parse_long(body, BATCH_BODY_MAX, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (err)
		return err;
	leaves = json_object_get(json, "leaves");
	if (!leaves)
		return member_missing("", "leaves");
	if (!json_is_array(leaves) || json_array_size(leaves) == 0 || json_array_size(leaves) > max)
		return writ_fail(WRIT_INVALID, "member 'leaves' must be a list of 1 to %zu", max);
	json_array_foreach(leaves, i, item)
	{
		char where[32];

		ret[i] = (struct request_item){ 0 };
		snprintf(where, sizeof(where), "leaves[%zu]", i);
		err = item_members(item, where, arena, &ret[i]);
		if (err)
			return err;
	}
	*ret_n = i;
	return NULL;
}

struct writ_err *
request_renew(struct writ_bytes body, struct writ_arena *arena, struct request_leaf *ret)
{
	static const char *const names[] = { "lifetime_s", "ocsp" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;

	(void)arena;
	*ret = (struct request_leaf){ 0 };
	if (body.len == 0)
		return NULL;
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = leaf_members(json, ret);
	return err;
}

/* ---- approvals ---- */

struct writ_err *
request_approval(struct writ_bytes body, struct writ_arena *arena, struct request_approval *ret)
{
	static const char *const names[] = { "decision", "digest", "because" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_bytes decision;
	struct writ_err *err;

	*ret = (struct request_approval){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = member_text(json, "", "decision", MEMBER_REQUIRED, REQUEST_MAX, arena, &decision);
	if (!err)
		err = member_hex(json, "", "digest", ret->digest, sizeof(ret->digest));
	if (!err)
		err = member_text(json, "", "because", MEMBER_OPTIONAL, 256, arena, &ret->because);
	if (err)
		return err;
	ret->refuses = writ_equal(decision, WRIT_LIT("refuse"));
	if (!ret->refuses && !writ_equal(decision, WRIT_LIT("approve")))
		return member_wrong("", "decision", "approve or refuse");
	if (!ret->refuses && ret->because.len > 0)
		return writ_fail(WRIT_INVALID, "member 'because' goes with a refusal");
	if (!writ_is_clean_utf8(ret->because))
		return member_wrong("", "because", "UTF-8 without control characters");
	return NULL;
}

/* ---- queries ---- */

struct writ_err *
request_tasks_query(struct writ_bytes query, bool *ret_pending)
{
	*ret_pending = writ_equal(query, WRIT_LIT("state=pending"));
	if (!*ret_pending && !writ_equal(query, WRIT_LIT("state=open")))
		return writ_fail(WRIT_INVALID, "the query must be state=open or state=pending");
	return NULL;
}

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
	if (!writ_decimal((struct writ_bytes){ equals + 1, len - name_len - 1 }, MEMBER_INTEGER_MAX, ret_value))
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

/* "epoch=" and 32 hex digits, and a '&' behind them. */
static bool
epoch_take(struct writ_bytes *rest, uint8_t ret[16])
{
	static const char name[] = "epoch=";
	const size_t name_len = sizeof(name) - 1, len = name_len + 32;

	if (rest->len <= len || memcmp(rest->data, name, name_len) != 0 || rest->data[len] != '&' ||
	    !writ_unhex((struct writ_bytes){ rest->data + name_len, 32 }, ret, 16))
		return false;
	*rest = (struct writ_bytes){ rest->data + len + 1, rest->len - len - 1 };
	return true;
}

struct writ_err *
request_changes_query(struct writ_bytes query, uint8_t ret_epoch[16], uint64_t *ret_from, uint32_t *ret_wait_ms)
{
	struct writ_bytes name = { 0 };
	uint64_t wait_ms = 0;

	if (epoch_take(&query, ret_epoch) && query_next(&query, &name, ret_from) &&
	    writ_equal(name, WRIT_LIT("from")) &&
	    (query.len == 0 || (query_next(&query, &name, &wait_ms) && query.len == 0 &&
				writ_equal(name, WRIT_LIT("wait_ms")) && wait_ms <= FEED_WAIT_MAX_MS))) {
		*ret_wait_ms = (uint32_t)wait_ms;
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "the query must be epoch=HEX&from=N, with 32 digits of hex, and may end in "
				       "&wait_ms=N, N at most %d",
			 FEED_WAIT_MAX_MS);
}

struct writ_err *
request_table_query(struct writ_bytes query, uint8_t ret_epoch[16], uint64_t *ret_at)
{
	struct writ_bytes name = { 0 };

	if (epoch_take(&query, ret_epoch) && query_next(&query, &name, ret_at) && query.len == 0 &&
	    writ_equal(name, WRIT_LIT("at")))
		return NULL;
	return writ_fail(WRIT_INVALID, "the query must be epoch=HEX&at=N, with 32 digits of hex");
}

/* ---- revocations ---- */

/* "principal" or "all": what can be frozen. */
WRIT_CHECKED static struct writ_err *
whose_take(json_t *json, struct writ_arena *arena, struct request_revoke *ret)
{
	const json_t *all = json_object_get(json, "all");
	struct spiffe_id id;
	struct writ_err *err;

	if (all) {
		ret->target = TARGET_ALL;
		return json_is_true(all) ? NULL : member_wrong("", "all", "true");
	}
	err = member_text(json, "", "principal", MEMBER_REQUIRED, PRINCIPAL_MAX, arena, &ret->id);
	if (!err)
		err = spiffe_parse(ret->id, &id);
	if (err)
		return err;
	ret->target = id.kind == PRINCIPAL_AGENT && id.instance.len == 0 ? TARGET_CLASS : TARGET_PRINCIPAL;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
target_take(json_t *json, struct writ_arena *arena, struct request_revoke *ret)
{
	struct writ_err *err;
	uint8_t id[16];

	if (json_object_get(json, "edge")) {
		ret->target = TARGET_EDGE;
		err = member_hex(json, "", "edge", id, sizeof(id));
		return err ? err : member_keep(arena, (struct writ_bytes){ id, sizeof(id) }, &ret->id);
	}
	if (json_object_get(json, "serial")) {
		ret->target = TARGET_SERIAL;
		err = member_hex(json, "", "serial", id, sizeof(id));
		return err ? err : member_keep(arena, (struct writ_bytes){ id, sizeof(id) }, &ret->id);
	}
	if (json_object_get(json, "task")) {
		ret->target = TARGET_TASK;
		err = member_text(json, "", "task", MEMBER_REQUIRED, REQUEST_MAX, arena, &ret->id);
		return err ? err : task_id_check(ret->id);
	}
	return whose_take(json, arena, ret);
}

WRIT_CHECKED static struct writ_err *
freeze_take(json_t *json, struct request_revoke *ret)
{
	const json_t *value = json_object_get(json, "freeze");

	ret->freeze = value ? json_is_true(value) : ret->target == TARGET_ALL;
	if (value && !json_is_boolean(value))
		return member_wrong("", "freeze", "true or false");
	/* Who revokes everything wants it to stop, not to begin again the next moment. */
	if (ret->target == TARGET_ALL && !ret->freeze)
		return member_wrong("", "freeze", "true with 'all'");
	if (ret->freeze && ret->target != TARGET_ALL && ret->target != TARGET_PRINCIPAL && ret->target != TARGET_CLASS)
		return writ_fail(WRIT_INVALID, "member 'freeze' goes with a principal or with all");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
reason_take(json_t *json, enum crl_reason *ret)
{
	const json_t *value = json_object_get(json, "reason");

	*ret = REASON_PRIVILEGE_WITHDRAWN;
	if (!value)
		return NULL;
	/* caCompromise speaks of a CA, certificateHold and removeFromCRL do not exist here (R7). */
	if (!json_is_string(value) || !crl_reason_from(member_text_of(value), ret) || *ret == REASON_CA_COMPROMISE)
		return member_wrong(
			"", "reason",
			"one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, "
			"privilegeWithdrawn");
	return NULL;
}

struct writ_err *
request_revoke(struct writ_bytes body, struct writ_arena *arena, struct request_revoke *ret)
{
	static const char *const names[] = { "edge", "serial", "task", "principal", "all", "freeze", "reason" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;
	size_t n = 0;

	*ret = (struct request_revoke){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (err)
		return err;
	for (size_t i = 0; i < 5; i++)
		n += json_object_get(json, names[i]) ? 1 : 0;
	if (n != 1)
		return writ_fail(WRIT_INVALID,
				 "exactly one of edge, serial, task, principal, all says what is revoked");
	err = target_take(json, arena, ret);
	if (!err)
		err = freeze_take(json, ret);
	if (!err)
		err = reason_take(json, &ret->reason);
	return err;
}

struct writ_err *
request_lift(struct writ_bytes body, struct writ_arena *arena, struct request_revoke *ret)
{
	static const char *const names[] = { "principal", "all" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;

	*ret = (struct request_revoke){ 0 };
	err = members_parse(body, "the body", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (err)
		return err;
	if (json_object_size(json) != 1)
		return writ_fail(WRIT_INVALID, "exactly one of principal, all says whose freeze is lifted");
	return whose_take(json, arena, ret);
}
