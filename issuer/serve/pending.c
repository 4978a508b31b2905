/*
 * What waits for approvals, as text: see pending.h.
 */
#include "issuer/serve/pending.h"

#include "base/der.h"
#include "base/text.h"
#include "issuer/log/json.h"
#include "policy/within.h"

#define GRANT_ARENA_MAX (256 * 1024) /* bytes: a HopGrant of 16 KiB read */

/* ---- what is asked ---- */

static void
json_texts(struct canon_out *out, const char *key, const struct texts *texts)
{
	canon_array(out, key);
	for (size_t i = 0; i < texts->n; i++)
		canon_text(out, NULL, texts->list[i]);
	canon_end(out);
}

static void
json_time(struct canon_out *out, const char *key, writ_time time)
{
	char text[WRIT_RFC3339_LEN + 1];

	canon_text(out, key, writ_str(writ_time_rfc3339(time, text)));
}

/* As requests have them: deploy/api/v1.yaml. */
static void
json_constraint(struct canon_out *out, const struct constraint *c)
{
	const struct texts values = { c->n_values, c->values };
	char net[NET_TEXT_MAX];

	canon_object(out, NULL);
	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		canon_array(out, "sourceNet");
		for (size_t i = 0; i < c->n_values; i++)
			canon_text(out, NULL, writ_str(net_words(c->values[i], net)));
		canon_end(out);
		break;
	case CONSTRAINT_WINDOW:
		canon_object(out, "window");
		json_time(out, "notAfter", c->not_after);
		json_time(out, "notBefore", c->not_before);
		canon_end(out);
		break;
	case CONSTRAINT_PARAM_IN:
		canon_object(out, "paramIn");
		canon_text(out, "name", c->name);
		json_texts(out, "values", &values);
		canon_end(out);
		break;
	case CONSTRAINT_PARAM_MAX:
		canon_object(out, "paramMax");
		canon_int(out, "max", c->max);
		canon_text(out, "name", c->name);
		canon_end(out);
		break;
	}
	canon_end(out);
}

static void
json_constraints(struct canon_out *out, const struct constraints *constraints)
{
	if (constraints->n == 0)
		return;
	canon_array(out, "constraints");
	for (size_t i = 0; i < constraints->n; i++)
		json_constraint(out, &constraints->list[i]);
	canon_end(out);
}

static void
json_scope(struct canon_out *out, const struct grant *grant)
{
	canon_array(out, "scope");
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];

		canon_object(out, NULL);
		json_texts(out, "actions", &e->actions);
		json_constraints(out, &e->constraints);
		canon_bool(out, "delegable", e->delegable);
		json_texts(out, "resources", &e->resources);
		canon_end(out);
	}
	canon_end(out);
}

/* DER ContextRef, as it stands in the edge. */
WRIT_CHECKED static struct writ_err *
json_context(struct canon_out *out, struct writ_bytes der)
{
	struct der in = der_read(der), seq;
	struct writ_bytes type, digest;

	if (der.len == 0)
		return NULL;
	if (!der_take(&in, DER_SEQUENCE, &seq) || !der_take_bytes(&seq, DER_IA5, &type) ||
	    !der_take_bytes(&seq, DER_OCTET_STRING, &digest))
		return writ_fail(WRIT_BROKEN, "the context of a task that waits cannot be read");
	canon_object(out, "context");
	canon_hex(out, "digest", digest);
	canon_text(out, "type", type);
	canon_end(out);
	return NULL;
}

struct writ_err *
pending_request(const struct store_task *task, const struct store_edge *edge, bool end_is_fixed, struct writ_buf *ret)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(GRANT_ARENA_MAX);
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PENDING_REQUEST_MAX);
	struct canon_out out = canon_write(&text);
	struct grant grant;
	struct writ_err *err;

	err = hop_grant_read(edge->grant, &arena, &grant);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "the grant of a task that waits cannot be read");
	canon_object(&out, NULL);
	canon_text(&out, "agent", edge->agent);
	json_texts(&out, "audience", &grant.audience);
	json_constraints(&out, &grant.constraints);
	err = json_context(&out, edge->context);
	canon_int(&out, "depth", edge->depth_remaining);
	if (end_is_fixed)
		json_time(&out, "ends", edge->not_after);
	else
		canon_int(&out, "ends_in_s", edge->not_after - edge->granted_at);
	canon_text(&out, "opener", task->opener);
	if (task->purpose.len > 0)
		canon_text(&out, "purpose", task->purpose);
	json_scope(&out, &grant);
	canon_hex(&out, "spki_sha256", (struct writ_bytes){ edge->spki_sha256, sizeof(edge->spki_sha256) });
	canon_text(&out, "task", task->id);
	canon_end(&out);
	if (!err)
		err = canon_finish(&out);
	return err ? err : writ_buf_add(ret, writ_view(&text));
}

struct writ_err *
pending_said(const struct store_approve *approve, const uint8_t cert_sha256[32], struct writ_buf *ret)
{
	const struct store_approval *said = &approve->said;
	struct canon_out out = canon_write(ret);

	canon_object(&out, NULL);
	canon_text(&out, "approver", said->principal);
	canon_int(&out, "at", said->at);
	if (said->because.len > 0)
		canon_text(&out, "because", said->because);
	canon_hex(&out, "cert", (struct writ_bytes){ cert_sha256, 32 });
	canon_text(&out, "decision", said->refuses ? WRIT_LIT("refuse") : WRIT_LIT("approve"));
	canon_hex(&out, "digest", (struct writ_bytes){ approve->digest, sizeof(approve->digest) });
	canon_text(&out, "task", approve->task);
	canon_end(&out);
	return canon_finish(&out);
}

/* ---- what it is ---- */

struct writ_bytes
pending_state_word(const struct store_pending *p, writ_time now)
{
	switch (p->state) {
	case PENDING_WAITING:
		return p->expires >= now ? WRIT_LIT("pending") : WRIT_LIT("expired");
	case PENDING_OPENED:
		return WRIT_LIT("open");
	case PENDING_REFUSED:
		break;
	}
	return WRIT_LIT("refused");
}

/* The next line of `rest`; false after the last. */
static bool
next_line(struct writ_bytes *rest, struct writ_bytes *ret)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

	if (rest->len == 0)
		return false;
	ret->data = rest->data;
	ret->len = end ? (size_t)(end - rest->data) : rest->len;
	rest->data += ret->len + (end ? 1 : 0);
	rest->len -= ret->len + (end ? 1 : 0);
	return true;
}

bool
pending_approver(const struct store_pending *p, struct writ_bytes principal)
{
	struct writ_bytes rest = p->approvers, pattern;

	while (next_line(&rest, &pattern))
		if (principal_matches(pattern, principal))
			return true;
	return false;
}

/* ---- answers ---- */

static void
out_counts(struct out *out, const struct store_pending *p)
{
	out_text(out, "rule", p->rule);
	out_hex(out, "digest", (struct writ_bytes){ p->digest, sizeof(p->digest) });
	out_int(out, "needed", p->needed);
	out_int(out, "given", (int64_t)p->n_given);
	out_time(out, "expires", p->expires);
}

struct writ_err *
answer_pending(const struct store_pending *p, const struct store_edge *edge, writ_time now, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "task", p->task.id);
	out_text(&out, "state", pending_state_word(p, now));
	out_text(&out, "agent", p->edge.agent);
	out_counts(&out, p);
	if (edge) {
		out_hex(&out, "edge", (struct writ_bytes){ edge->id, sizeof(edge->id) });
		out_time(&out, "not_after", edge->not_after);
	}
	out_close(&out, '}');
	return out_done(&out);
}

static void
out_said(struct out *out, const struct store_approval *said)
{
	out_open(out, NULL, '{');
	out_text(out, "principal", said->principal);
	out_time(out, "at", said->at);
	out_text(out, "decision", said->refuses ? WRIT_LIT("refuse") : WRIT_LIT("approve"));
	if (said->because.len > 0)
		out_text(out, "because", said->because);
	out_hex(out, "evidence", (struct writ_bytes){ said->evidence, sizeof(said->evidence) });
	out_close(out, '}');
}

/* `request` goes out as the text whose digest it is, not as its members: nobody has to guess how it was written. */
static void
out_approvals(struct out *out, const char *name, const struct store_pending *p)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(PENDING_REQUEST_MAX);
	struct writ_bytes rest = p->approvers, pattern;

	if (!out->err)
		out->err = pending_request(&p->task, &p->edge, p->end_is_fixed, &request);
	out_open(out, name, '{');
	out_counts(out, p);
	out_open(out, "by", '[');
	while (next_line(&rest, &pattern))
		out_text(out, NULL, pattern);
	out_close(out, ']');
	out_open(out, "said", '[');
	for (size_t i = 0; i < p->n_approvals; i++)
		out_said(out, &p->approvals[i]);
	out_close(out, ']');
	out_text(out, "request", writ_view(&request));
	out_close(out, '}');
}

struct writ_err *
answer_approvals(const struct store_pending *p, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_approvals(&out, NULL, p);
	return out_done(&out);
}

struct writ_err *
answer_pending_task(const struct store_pending *p, writ_time now, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "id", p->task.id);
	out_text(&out, "opener", p->task.opener);
	if (p->task.purpose.len > 0)
		out_text(&out, "purpose", p->task.purpose);
	out_text(&out, "state", pending_state_word(p, now));
	out_time(&out, "created", p->task.created);
	if (p->state != PENDING_WAITING)
		out_time(&out, "ended", p->ended);
	out_open(&out, "edges", '[');
	out_close(&out, ']');
	out_approvals(&out, "approvals", p);
	out_close(&out, '}');
	return out_done(&out);
}

void
out_pending(struct out *out, const struct store_pending *p)
{
	out_open(out, NULL, '{');
	out_text(out, "id", p->task.id);
	out_text(out, "opener", p->task.opener);
	if (p->task.purpose.len > 0)
		out_text(out, "purpose", p->task.purpose);
	out_text(out, "state", WRIT_LIT("pending"));
	out_time(out, "created", p->task.created);
	out_text(out, "agent", p->edge.agent);
	out_counts(out, p);
	out_close(out, '}');
}

void
out_open_task(struct out *out, const struct store_task *task)
{
	out_open(out, NULL, '{');
	out_text(out, "id", task->id);
	out_text(out, "opener", task->opener);
	if (task->purpose.len > 0)
		out_text(out, "purpose", task->purpose);
	out_text(out, "state", WRIT_LIT("open"));
	out_time(out, "created", task->created);
	out_time(out, "ends", task->ends);
	out_close(out, '}');
}
