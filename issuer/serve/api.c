/*
 * The API's routes: method, path, who may, what does it.  Default deny: a request that no row takes is refused, and a
 * row says who before anything of the request is read.
 *
 * Who asks is settled once a connection (from its certificate) and checked at each request: validity, its CA's list,
 * and for our own leaves the status table - so a leaf that was revoked is refused on the connection that is still open
 * (I8).
 */
#include "issuer/serve/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"
#include "base/text.h"
#include "issuer/fetch/wire.h"
#include "issuer/serve/approve.h"
#include "issuer/serve/batch.h"
#include "issuer/serve/delegate.h"
#include "issuer/serve/entries.h"
#include "issuer/serve/feed.h"
#include "issuer/serve/freeze.h"
#include "issuer/serve/issue.h"
#include "issuer/serve/policy.h"
#include "issuer/serve/prepare.h"
#include "issuer/serve/revoke.h"
#include "issuer/serve/shares.h"
#include "issuer/serve/trust.h"
#include "issuer/serve/work.h"

enum who {
	WHO_ANYONE,
	WHO_CERTIFICATE,
	WHO_PERSON_OR_GRANT,
	WHO_APPROVER,
	WHO_AGENT,
	WHO_AUDITOR,
	WHO_OPERATOR,
	WHO_STAFF, /* operator or auditor */
	WHO_RESPONDER,
};

/* Whose share, and whether it waits its turn: shares.h. */
enum lane {
	LANE_OPEN,
	LANE_BACK, /* takes something back, is an operator's, or a status responder's: a bucket of its own, so that no flood of his own holds up a revocation */
	LANE_TURN, /* makes a delegation or a certificate */
};

struct route {
	enum http_method method;
	const char *path; /* "{id}" is a task id */
	enum who who;
	bool json; /* its body is JSON, or (leaves) PKCS #10 */
	bool query;
	struct writ_err *(*handle)(struct work *);
	enum lane lane;
};

static const struct route routes[] = {
	{ HTTP_GET, "/v1/tasks", WHO_CERTIFICATE, false, true, approve_list, LANE_OPEN },
	{ HTTP_POST, "/v1/tasks", WHO_PERSON_OR_GRANT, true, false, delegate_open_task, LANE_TURN },
	{ HTTP_GET, "/v1/tasks/{id}", WHO_CERTIFICATE, false, false, delegate_show_task, LANE_OPEN },
	{ HTTP_POST, "/v1/tasks/{id}/leaves", WHO_ANYONE, true, true, issue_leaf, LANE_TURN },
	{ HTTP_POST, "/v1/batch", WHO_ANYONE, true, false, batch_leaves, LANE_OPEN }, /* its items have turns */
	{ HTTP_POST, "/v1/tasks/{id}/approvals", WHO_APPROVER, true, false, approve_say, LANE_OPEN },
	{ HTTP_POST, "/v1/grants/prepare", WHO_ANYONE, true, false, prepare_grant, LANE_OPEN },
	{ HTTP_POST, "/v1/delegations", WHO_AGENT, true, false, delegate_on, LANE_TURN },
	{ HTTP_POST, "/v1/renew", WHO_AGENT, true, false, issue_renewal, LANE_TURN },
	{ HTTP_POST, "/v1/tasks/{id}/complete", WHO_CERTIFICATE, true, false, revoke_complete, LANE_BACK },
	{ HTTP_POST, "/v1/revocations", WHO_CERTIFICATE, true, false, revoke_any, LANE_BACK },
	{ HTTP_GET, "/v1/freezes", WHO_STAFF, false, false, freeze_list, LANE_BACK },
	{ HTTP_POST, "/v1/freezes/lift", WHO_CERTIFICATE, true, false, freeze_lift, LANE_BACK },
	{ HTTP_GET, "/v1/log/entries", WHO_AUDITOR, false, true, entries_show, LANE_OPEN },
	{ HTTP_GET, "/v1/policy", WHO_STAFF, false, false, policy_show, LANE_BACK },
	{ HTTP_POST, "/v1/policy/reload", WHO_OPERATOR, false, false, policy_reload, LANE_BACK },
	{ HTTP_GET, "/v1/status/changes", WHO_RESPONDER, false, true, feed_changes, LANE_BACK },
	{ HTTP_GET, "/v1/status/table", WHO_RESPONDER, false, true, feed_table, LANE_BACK },
	{ HTTP_GET, "/v1/status/documents", WHO_RESPONDER, false, false, feed_documents, LANE_BACK },
	{ HTTP_GET, "/v1/bundle", WHO_ANYONE, false, false, trust_show, LANE_OPEN },
	{ HTTP_GET, "/v1/bundle/spiffe", WHO_ANYONE, false, false, trust_spiffe, LANE_OPEN },
};

/* ---- who asks ---- */

struct caller {
	struct identity id;
	struct rules *rules; /* under which the certificate was mapped, counted; a reload maps anew */
};

static void
caller_free(void *app)
{
	struct caller *caller = app;

	if (!caller)
		return;
	identity_done(&caller->id);
	rules_unref(caller->rules);
	free(caller);
}

static void
caller_freep(struct caller **caller)
{
	caller_free(*caller);
}

/* Byte for byte the certificate that left here under this serial: whoever took an issuing key can copy a good one. */
WRIT_CHECKED static struct writ_err *
leaf_is_ours(struct work *work, const struct identity *id)
{
	struct store_cert cert;
	struct writ_err *err = store_cert(work->on->store, id->serial, &work->arena, &cert);

	if (err && err->code != WRIT_NOT_FOUND)
		return err;
	if (!err && memcmp(cert.sha256, id->cert_sha256, sizeof(cert.sha256)) == 0)
		return NULL;
	writ_err_free(err);
	return writ_fail(WRIT_UNAUTHENTICATED, "leaf is not one of this issuer");
}

/* The connection's identity, worked out once under the rules in force. */
WRIT_CHECKED static struct writ_err *
caller_of(struct work *work, struct caller **ret)
{
	AUTO(caller_freep) struct caller *fresh = NULL;
	struct http_peer *peer = work->request->peer;
	struct writ_err *err;

	*ret = peer->app;
	if (*ret && (*ret)->rules == work->rules)
		return NULL;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an identity");
	err = auth_identify(work->rules->auth, peer->cert, peer->anchor, &fresh->id);
	if (!err && fresh->id.is_leaf)
		err = leaf_is_ours(work, &fresh->id);
	if (err)
		return err;
	fresh->rules = rules_ref(work->rules);
	caller_free(peer->app);
	*ret = peer->app = TAKE(fresh);
	peer->app_done = caller_free;
	return NULL;
}

/* I8: no request of a revoked leaf's holder is served. */
WRIT_CHECKED static struct writ_err *
leaf_is_good(struct work *work, const struct identity *id)
{
	const struct status_entry entry = status_find(work->on->serve->status, work->on->number, id->serial);

	if (entry.state == STATUS_GOOD)
		return NULL;
	if (entry.state == STATUS_REVOKED)
		return writ_fail(WRIT_UNAUTHENTICATED, "leaf was revoked");
	return writ_fail(WRIT_UNAUTHENTICATED, "leaf is not one of this issuer");
}

/* A wake-up call that may be lost: whoever tries again sends another. */
static void
ocsp_ask(struct work *work, const struct identity *id)
{
	const char *url = auth_asks(work->rules->auth, id, work->now.wall);
	struct writ_err *err = url ? fetch_ask_ocsp(work->on->serve->conf.run, url, id->ocsp_request) : NULL;

	if (err)
		event(EVENT_WARN, "serve.fetch_not_asked", EV_STR("url", url), EV_ERR(err));
	writ_err_free(err);
}

WRIT_CHECKED static struct writ_err *
identify(struct work *work)
{
	struct caller *caller;
	struct writ_err *err;

	if (work->request->peer->cert.len == 0)
		return NULL;
	err = caller_of(work, &caller);
	if (!err)
		ocsp_ask(work, &caller->id);
	if (!err)
		err = auth_check(work->rules->auth, &caller->id, work->now.wall);
	if (!err && caller->id.is_leaf)
		err = leaf_is_good(work, &caller->id);
	if (!err)
		work->who = &caller->id;
	return err;
}

/* Humans and services have roles; an agent has none, whatever a pattern covers. */
static bool
has_role(const struct work *work, enum policy_role role)
{
	return !work->who->is_leaf && policy_role(work->rules->policy, role, work->who->principal);
}

/* True when this caller may not; then it was answered. */
static bool
refused(struct work *work)
{
	const struct identity *who = work->who;
	const enum who wanted = work->route->who;
	bool is_operator = false;

	if (wanted == WHO_ANYONE)
		return false;
	if (wanted == WHO_PERSON_OR_GRANT &&
	    (request_is_grant(work->request->body) || request_is_token(work->request->body)))
		return false; /* the signature inside says who asks */
	if (!who) {
		work_fail(work, writ_fail(WRIT_UNAUTHENTICATED, "this needs a client certificate of %s",
					  wanted == WHO_AGENT ? "an agent: a leaf of this issuer"
							      : "a configured delegator or an agent"));
		return true;
	}
	if (wanted == WHO_PERSON_OR_GRANT && who->is_leaf) {
		work_deny(work, "K1", who->principal, "a human or a service opens a task",
			  "an agent delegates on with POST /v1/delegations");
		return true;
	}
	if (wanted == WHO_APPROVER && who->is_leaf) {
		work_deny(work, "K1", who->principal, "a human or a service approves",
			  "an agent approves nothing, whatever it was delegated");
		return true;
	}
	if (wanted == WHO_AGENT && !who->is_leaf) {
		work_deny(work, "K1", who->principal, "an agent does this, with its leaf",
			  "a human or service uses POST /v1/tasks");
		return true;
	}
	if (wanted == WHO_AUDITOR && !has_role(work, ROLE_AUDITOR)) {
		work_deny(work, "auditor", who->principal, "principals with the auditor role",
			  "the policy's roles name them");
		return true;
	}
	if (wanted == WHO_RESPONDER && !has_role(work, ROLE_RESPONDER)) {
		work_deny(work, "responder", who->principal, "principals with the responder role",
			  "the policy's roles name them");
		return true;
	}
	if (wanted == WHO_OPERATOR) {
		struct writ_err *err = freeze_operator(work, &is_operator);

		if (err) {
			work_fail(work, err);
			return true;
		}
	}
	if (wanted == WHO_OPERATOR && !is_operator) {
		work_deny(work, "operator", who->principal, "principals with the operator role",
			  "the policy's roles name them");
		return true;
	}
	if (wanted == WHO_STAFF && !has_role(work, ROLE_OPERATOR) && !has_role(work, ROLE_AUDITOR)) {
		work_deny(work, "operator", who->principal, "principals with the operator or the auditor role",
			  "the policy's roles name them");
		return true;
	}
	return false;
}

/* ---- which route ---- */

/* Does `path` have this shape?  `*ret_id` is what stands for {id}. */
static bool
path_is(const char *shape, struct writ_bytes path, struct writ_bytes *ret_id)
{
	const char *hole = strstr(shape, "{id}");
	const size_t before = hole ? (size_t)(hole - shape) : strlen(shape);
	const size_t after = hole ? strlen(hole + 4) : 0;

	*ret_id = (struct writ_bytes){ 0 };
	if (!hole)
		return writ_equal(path, writ_str(shape));
	if (path.len <= before + after || memcmp(path.data, shape, before) != 0 ||
	    memcmp(path.data + path.len - after, hole + 4, after) != 0)
		return false;
	*ret_id = (struct writ_bytes){ path.data + before, path.len - before - after };
	return !memchr(ret_id->data, '/', ret_id->len);
}

static void
route_find(struct work *work)
{
	const struct http_request *r = work->request;

	for (size_t i = 0; i < N_OF(routes) && !work->route; i++)
		if (routes[i].method == r->method && path_is(routes[i].path, r->path, &work->path_id))
			work->route = &routes[i];
}

/* Answers what has no route. */
static bool
routed(struct work *work)
{
	const struct http_request *r = work->request;
	struct problem problem = { .status = 405, .code = "INVALID", .hint = "see deploy/api/v1.yaml" };
	char allowed[16] = "";

	if (work->route)
		return true;
	for (size_t i = 0; i < N_OF(routes); i++) {
		if (!path_is(routes[i].path, r->path, &work->path_id))
			continue;
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), "%s%s", *allowed ? ", " : "",
			 routes[i].method == HTTP_GET ? "GET" : "POST");
	}
	problem.limit = allowed;
	if (!*allowed) {
		work_fail(work, writ_fail(WRIT_NOT_FOUND, "there is no such path"));
		return false;
	}
	snprintf(problem.detail, sizeof(problem.detail), "this path takes %s only", problem.limit);
	work_problem(work, &problem);
	return false;
}

static bool
content_type_ok(struct work *work)
{
	const struct http_request *r = work->request;
	const bool leaves = work->route->handle == issue_leaf;
	struct problem problem = { .status = 415, .code = "INVALID" };

	if (!work->route->json || r->body.len == 0 || writ_equal(r->content_type, WRIT_LIT("application/json")) ||
	    (leaves && writ_equal(r->content_type, WRIT_LIT("application/pkcs10"))))
		return true;
	snprintf(problem.detail, sizeof(problem.detail), "content type '%.*s' is not application/json%s",
		 WRIT_FMT(r->content_type), leaves ? " or application/pkcs10" : "");
	work_problem(work, &problem);
	return false;
}

WRIT_CHECKED static struct writ_err *
shape_check(struct work *work)
{
	struct writ_err *err;

	if (work->request->has_query && !work->route->query)
		return writ_fail(WRIT_INVALID, "this path takes no query");
	if (!work->route->json && work->request->body.len > 0)
		return writ_fail(WRIT_INVALID, "this takes no body");
	if (!strstr(work->route->path, "{id}"))
		return NULL;
	err = task_id_check(work->path_id);
	if (err)
		return writ_because(err, "the task id in the path");
	return NULL;
}

/* ---- turns ---- */

struct writ_err *
api_again(struct work *work)
{
	struct serve_loop *on = work->on;
	const struct clock now = loop_now(on->loop);
	struct writ_err *err;

	if (now.mono_ms == work->now.mono_ms && work->rules == on->rules)
		return NULL;
	work->now = now;
	work->stage_ms = now.mono_ms;
	if (!work->batch) {
		rules_unref(work->rules);
		work->rules = rules_ref(on->rules);
		return identify(work);
	}
	/* Items share what is known of who asks: under other rules it would have to be worked out anew for all of them. */
	if (work->rules != on->rules)
		return writ_fail(WRIT_UNAVAILABLE, "the policy was read anew meanwhile: ask again");
	if (!work->who)
		return NULL;
	err = auth_check(work->rules->auth, work->who, now.wall);
	return err || !work->who->is_leaf ? err : leaf_is_good(work, work->who);
}

static struct writ_err *
turn_came(struct work *work)
{
	struct writ_err *err = api_again(work);

	return err ? err : work->route->handle(work);
}

void
api_request(struct http_request *request, void *loop)
{
	struct serve_loop *on = loop;
	struct work *work = work_take(on, request);
	struct writ_err *refusal = identify(work);
	struct writ_err *err;

	route_find(work);
	/* Whose certificate is refused has a share too: the address's (I14). */
	err = shares_asks(work, work->route && work->route->lane == LANE_BACK);
	if (err)
		writ_err_free(refusal);
	else
		err = refusal;
	if (err) {
		work_fail(work, err);
		return;
	}
	if (!routed(work) || refused(work) || !content_type_ok(work))
		return;
	if (work->who && !work->who->is_leaf && work->route->lane == LANE_BACK) /* no flood of handshakes keeps out who takes back */
		http_prefer(work->request);
	err = shape_check(work);
	if (!err && work->route->lane == LANE_TURN) {
		shares_turn(work, work->path_id, turn_came);
		return;
	}
	if (!err)
		err = work->route->handle(work);
	if (err)
		work_fail(work, err);
}
