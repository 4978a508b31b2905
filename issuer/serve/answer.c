/*
 * JSON out: see answer.h.
 */
#include "issuer/serve/answer.h"
#include "base/text.h"
#include "issuer/x509/leaf.h"

#include <stdio.h>

struct out
out_to(struct writ_buf *buf)
{
	return (struct out){ .buf = buf };
}

static void
put(struct out *out, struct writ_bytes bytes)
{
	if (!out->err)
		out->err = writ_buf_add(out->buf, bytes);
}

static void
put_text(struct out *out, struct writ_bytes text)
{
	if (!out->err)
		out->err = writ_json_string(text, out->buf);
}

static void
put_name(struct out *out, const char *name)
{
	if (out->comma)
		put(out, WRIT_LIT(","));
	out->comma = true;
	if (!name)
		return;
	put(out, WRIT_LIT("\""));
	put(out, writ_str(name));
	put(out, WRIT_LIT("\":"));
}

void
out_open(struct out *out, const char *name, char bracket)
{
	put_name(out, name);
	put(out, (struct writ_bytes){ (const uint8_t *)&bracket, 1 });
	out->comma = false;
}

void
out_close(struct out *out, char bracket)
{
	put(out, (struct writ_bytes){ (const uint8_t *)&bracket, 1 });
	out->comma = true;
}

void
out_text(struct out *out, const char *name, struct writ_bytes text)
{
	put_name(out, name);
	put_text(out, text);
}

void
out_hex(struct out *out, const char *name, struct writ_bytes bytes)
{
	char hex[2 * 64 + 1];

	if (bytes.len > 64 && !out->err)
		out->err = writ_fail(WRIT_BROKEN, "%zu bytes to write in hex, over 64", bytes.len);
	else
		out_text(out, name, writ_str(writ_hex(bytes, hex)));
}

void
out_base64(struct out *out, const char *name, struct writ_bytes bytes)
{
	put_name(out, name);
	put(out, WRIT_LIT("\""));
	if (!out->err)
		out->err = writ_base64(bytes, out->buf);
	put(out, WRIT_LIT("\""));
}

void
out_int(struct out *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	put_name(out, name);
	put(out, writ_str(text));
}

void
out_bool(struct out *out, const char *name, bool value)
{
	put_name(out, name);
	put(out, value ? WRIT_LIT("true") : WRIT_LIT("false"));
}

void
out_time(struct out *out, const char *name, writ_time value)
{
	char text[WRIT_RFC3339_LEN + 1];

	out_text(out, name, writ_str(writ_time_rfc3339(value, text)));
}

void
out_json(struct out *out, const char *name, struct writ_bytes json)
{
	put_name(out, name);
	put(out, json);
}

struct writ_err *
out_done(struct out *out)
{
	return TAKE(out->err);
}

/* ---- problems ---- */

static const unsigned statuses[] = {
	[WRIT_INVALID] = 400,	  [WRIT_UNAUTHENTICATED] = 401, [WRIT_NOT_FOUND] = 404, [WRIT_CONFLICT] = 409,
	[WRIT_UNAVAILABLE] = 503, [WRIT_EXHAUSTED] = 429,	[WRIT_LOCKED] = 503,	[WRIT_BROKEN] = 500,
};

void
problem_of_err(const struct writ_err *err, struct problem *ret)
{
	*ret = (struct problem){ .status = statuses[err->code], .code = writ_code_name(err->code) };
	writ_err_text(err, ret->detail, sizeof(ret->detail));
	if (err->code == WRIT_UNAVAILABLE || err->code == WRIT_EXHAUSTED)
		ret->retry_after_s = err->retry_after_s > 0 ? err->retry_after_s : 1;
}

void
problem_of_verdict(const struct verdict *verdict, struct problem *ret)
{
	const bool retry = verdict->kind == VERDICT_RETRY;
	char line[48] = "";

	*ret = (struct problem){
		.status = retry ? 503 : 403,
		.code = retry ? "UNAVAILABLE" : "DENIED",
		.rule = verdict->rule,
		.value = verdict->value,
		.limit = verdict->limit,
		.hint = verdict->hint,
		.retry_after_s = retry ? (verdict->retry_after_s ? verdict->retry_after_s : 1) : 0,
	};
	if (verdict->line > 0)
		snprintf(line, sizeof(line), " (line %u of the policy)", verdict->line);
	snprintf(ret->detail, sizeof(ret->detail), "%s by rule %s: %s is outside: %s%s", retry ? "not now" : "refused",
		 verdict->rule, verdict->value[0] ? verdict->value : "the request",
		 verdict->limit[0] ? verdict->limit : "what any rule allows", line);
}

static const char *
title_of(unsigned status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	case 415:
		return "Unsupported Media Type";
	case 429:
		return "Too Many Requests";
	case 503:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

struct writ_err *
problem_write(const struct problem *problem, struct writ_buf *ret)
{
	const struct {
		const char *name, *text;
	} more[] = { { "rule", problem->rule },
		     { "value", problem->value },
		     { "limit", problem->limit },
		     { "hint", problem->hint } };
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "type", WRIT_LIT("about:blank"));
	out_text(&out, "title", writ_str(title_of(problem->status)));
	out_int(&out, "status", problem->status);
	out_text(&out, "code", writ_str(problem->code));
	out_text(&out, "detail", writ_str(problem->detail));
	for (size_t i = 0; i < N_OF(more); i++)
		if (more[i].text && more[i].text[0])
			out_text(&out, more[i].name, writ_str(more[i].text));
	out_close(&out, '}');
	return out_done(&out);
}

/* ---- the answers of the routes ---- */

struct writ_err *
answer_delegated(const struct store_edge *edge, struct writ_bytes rule, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "task", edge->task);
	out_hex(&out, "edge", (struct writ_bytes){ edge->id, sizeof(edge->id) });
	out_text(&out, "agent", edge->agent);
	out_int(&out, "depth", edge->depth_remaining);
	out_time(&out, "not_after", edge->not_after);
	out_text(&out, "rule", rule);
	out_close(&out, '}');
	return out_done(&out);
}

#define PEM_LINE 48 /* bytes: 64 digits (RFC 7468 2) */

/* Base64 needs no escape but for its line ends, so it is not looked at letter by letter. */
struct writ_err *
answer_pem(struct writ_bytes der, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	put(&out, WRIT_LIT("\"-----BEGIN CERTIFICATE-----\\n"));
	while (der.len > 0 && !out.err) {
		const size_t n = der.len < PEM_LINE ? der.len : PEM_LINE;

		out.err = writ_base64((struct writ_bytes){ der.data, n }, ret);
		put(&out, WRIT_LIT("\\n"));
		der = (struct writ_bytes){ der.data + n, der.len - n };
	}
	put(&out, WRIT_LIT("-----END CERTIFICATE-----\\n\""));
	return out_done(&out);
}

static void
out_pem(struct out *out, const char *name, struct writ_bytes der)
{
	put_name(out, name);
	if (!out->err)
		out->err = answer_pem(der, out->buf);
}

struct writ_err *
answer_issued(const struct answer_leaf *leaf, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_pem(&out, "certificate", leaf->certificate);
	out_json(&out, "chain", leaf->chain);
	out_hex(&out, "serial", (struct writ_bytes){ leaf->serial, SERIAL_LEN });
	out_text(&out, "task", leaf->edge->task);
	out_hex(&out, "edge", (struct writ_bytes){ leaf->edge->id, EDGE_ID_LEN });
	out_time(&out, "not_before", leaf->not_before);
	out_time(&out, "not_after", leaf->not_after);
	out_time(&out, "renew_at", leaf->renew_at);
	out_open(&out, "log", '{');
	out_hex(&out, "id", leaf->log_id);
	out_int(&out, "index", (int64_t)leaf->log_index);
	out_close(&out, '}');
	if (leaf->ocsp.len > 0)
		out_base64(&out, "ocsp", leaf->ocsp);
	if (leaf->no_rev_avail)
		out_bool(&out, "no_rev_avail", true);
	out_close(&out, '}');
	return out_done(&out);
}

static void
out_edge(struct out *out, const struct store_edge *edge)
{
	static const uint8_t none[EDGE_ID_LEN];

	out_open(out, NULL, '{');
	out_hex(out, "id", (struct writ_bytes){ edge->id, EDGE_ID_LEN });
	if (memcmp(edge->parent, none, sizeof(none)) != 0)
		out_hex(out, "parent", (struct writ_bytes){ edge->parent, EDGE_ID_LEN });
	out_text(out, "delegator", edge->delegator);
	out_text(out, "agent", edge->agent);
	out_int(out, "depth", edge->depth_remaining);
	out_time(out, "granted_at", edge->granted_at);
	out_time(out, "not_after", edge->not_after);
	out_text(out, "state", edge->state == EDGE_LIVE ? WRIT_LIT("live") : WRIT_LIT("revoked"));
	out_close(out, '}');
}

struct writ_err *
answer_task(const struct store_task *task, const struct store_edge *edges, size_t n, struct writ_bytes approvals,
	    struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "id", task->id);
	out_text(&out, "opener", task->opener);
	if (task->purpose.len > 0)
		out_text(&out, "purpose", task->purpose);
	out_text(&out, "state",
		 task->state == TASK_OPEN	? WRIT_LIT("open")
		 : task->state == TASK_COMPLETE ? WRIT_LIT("complete")
		 : task->state == TASK_EXPIRED	? WRIT_LIT("expired")
						: WRIT_LIT("revoked"));
	out_time(&out, "created", task->created);
	out_time(&out, "ends", task->ends);
	if (task->state != TASK_OPEN)
		out_time(&out, "ended", task->ended);
	out_open(&out, "edges", '[');
	for (size_t i = 0; i < n; i++)
		out_edge(&out, &edges[i]);
	out_close(&out, ']');
	if (approvals.len > 0)
		out_json(&out, "approvals", approvals);
	out_close(&out, '}');
	return out_done(&out);
}

struct writ_err *
answer_revoked(size_t n_edges, size_t n_leaves, bool logged, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_int(&out, "edges", (int64_t)n_edges);
	out_int(&out, "leaves", (int64_t)n_leaves);
	out_bool(&out, "logged", logged);
	out_close(&out, '}');
	return out_done(&out);
}
