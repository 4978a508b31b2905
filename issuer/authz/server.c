/*
 * The life of one question: authz_request() reads the proxy's headers, decide() goes from certificate to verdict, a
 * step a line; answer() tells the proxy, and tell() the log.  Default deny: each step that fails ends it.
 */
#include "issuer/authz/authz.h"

#include <signal.h>
#include <stdio.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "base/text.h"
#include "issuer/authz/url.h"
#include "issuer/x509/leaf.h"
#include "policy/names.h"

#define POLL_MS 1000 /* how often the folder of lists is looked at */
#define ANCHOR_FILE_MAX 65536
#define ANSWER_HEADERS_MAX 4096
#define PROBLEM_MAX 4096

/* One question, and what became of it. */
struct check {
	struct writ_bytes certificate, method, target, peer; /* as the proxy sent them */
	bool malformed;					     /* a header is missing, or stands twice */
	struct writ_buf der, resource;
	uint8_t sha256[32];
	const struct agent_seen *seen; /* NULL: no verified agent */
	const struct authz_route *route;
	unsigned entitlement;
	unsigned status;    /* 200, 401, 403, 503 */
	const char *reason; /* a name of writ.h's, or one of ours */
	struct writ_why why;
};

static void
refuse(struct check *check, unsigned status, const char *reason, const char *text)
{
	check->status = status;
	check->reason = reason;
	if (text)
		snprintf(check->why.text, sizeof(check->why.text), "%s", text);
}

/* An error of ours becomes the reason; takes it. */
static void
refuse_because(struct check *check, unsigned status, const char *reason, struct writ_err *err)
{
	writ_err_text(err, check->why.text, sizeof(check->why.text));
	refuse(check, err->code == WRIT_INVALID || status == 503 ? status : 503, reason, NULL);
	writ_err_free(err);
}

/* ---- the decision ---- */

/* True: check->seen is verified and current. */
static bool
know_agent(struct authz *authz, struct check *check, writ_time now)
{
	struct writ_presented presented = { .n = 1 };
	struct writ_agent *agent;
	enum writ_refusal refusal;
	struct writ_err *err;

	if (check->certificate.len == 0) {
		refuse(check, 401, "NO_CERTIFICATE", "the client showed no certificate");
		return false;
	}
	err = url_certificate(check->certificate, &check->der);
	if (err) {
		refuse_because(check, 401, "ENCODING", err);
		return false;
	}
	writ_sha256(writ_view(&check->der), check->sha256);
	check->seen = agents_find(authz->agents, check->sha256, now);
	if (check->seen)
		return true;
	presented.certificate[0] = (struct writ_bytes_in){ check->der.data, check->der.len };
	refusal = writ_verify(authz->verifier, &presented, now, &agent, &check->why);
	if (refusal != WRIT_OK) {
		refuse(check, refusal == WRIT_REFUSED_MEMORY ? 503 : 401, writ_refusal_name(refusal), NULL);
		return false;
	}
	err = agents_add(authz->agents, agent, writ_view(&check->der), &check->seen);
	if (err)
		refuse_because(check, 503, "MEMORY", err);
	return !err;
}

/* True: check->route and the resource say what is asked for. */
static bool
know_request(const struct authz *authz, struct check *check)
{
	struct writ_err *err = url_resource(authz->conf->prefix, check->target, &check->resource);

	if (err) {
		refuse_because(check, 403, "TARGET", err);
		return false;
	}
	check->route = url_route(authz->conf, check->method, writ_view(&check->resource));
	if (!check->route)
		refuse(check, 403, "NO_ROUTE", "no route takes this method and path: it is no action");
	return check->route != NULL;
}

static void
decide(struct authz *authz, struct check *check, writ_time now)
{
	struct writ_request request = { 0 };
	enum writ_refusal refusal;
	uint8_t peer[16];

	if (check->malformed) {
		refuse(check, 403, "MALFORMED",
		       "a header of the proxy's is missing or stands twice: see writ-authz(8)");
		return;
	}
	if (!know_agent(authz, check, now) || !know_request(authz, check))
		return;
	request.action = check->route->action;
	request.resource = (const char *)check->resource.data;
	request.peer_len = url_peer(check->peer, peer);
	request.peer = request.peer_len > 0 ? peer : NULL;
	refusal = writ_allow(check->seen->agent, &request, now, &check->entitlement, &check->why);
	refuse(check, refusal == WRIT_OK ? 200 : 403, writ_refusal_name(refusal), NULL);
}

/* ---- what is told ---- */

/* delegation.md 6.1 step 9: leaf, task, every hop, entitlement, decision. */
static void
tell(const struct check *check)
{
	struct event_field fields[20];
	size_t n = 0;

	fields[n++] = EV_STR("decision", check->status == 200 ? "allow" : "deny");
	fields[n++] = EV_NUM("status", check->status);
	fields[n++] = EV_STR("reason", check->reason);
	if (check->der.len > 0)
		fields[n++] = EV_HEX("leaf", ((struct writ_bytes){ check->sha256, sizeof(check->sha256) }));
	if (check->seen) {
		fields[n++] = EV_STR("task", writ_agent_task(check->seen->agent));
		fields[n++] = EV_STR("agent", writ_agent_id(check->seen->agent));
		fields[n++] = EV_TEXT("hops", check->seen->hop_ids);
		fields[n++] = EV_TEXT("principals", check->seen->hop_principals);
	}
	if (check->status == 200)
		fields[n++] = EV_NUM("entitlement", check->entitlement);
	if (check->route)
		fields[n++] = EV_STR("action", check->route->action);
	if (check->resource.len > 0)
		fields[n++] = EV_TEXT("resource", writ_view(&check->resource));
	fields[n++] = EV_TEXT("method", check->method);
	fields[n++] = EV_TEXT("target", check->target);
	if (check->peer.len > 0)
		fields[n++] = EV_TEXT("peer", check->peer);
	if (check->status != 200 && check->why.rule[0])
		fields[n++] = EV_STR("rule", check->why.rule);
	if (check->status != 200)
		fields[n++] = EV_STR("why", check->why.text);
	event_write(EVENT_INFO, "authz.decision", fields, n);
}

static const char *
title_of(unsigned status)
{
	return status == 401 ? "Unauthorized" : status == 403 ? "Forbidden" : "Service Unavailable";
}

/* RFC 9457, as the issuer's API writes it. */
static struct writ_err *
problem_write(const struct check *check, struct writ_buf *ret)
{
	const char *code = check->status == 401 ? "UNAUTHENTICATED" : check->status == 403 ? "DENIED" : "UNAVAILABLE";
	struct writ_err *err;

	err = writ_buf_printf(ret,
			      "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"code\":\"%s\","
			      "\"reason\":\"%s\",\"detail\":",
			      title_of(check->status), check->status, code, check->reason);
	if (!err)
		err = writ_json_string(writ_str(check->why.text), ret);
	if (!err && check->why.rule[0])
		err = writ_buf_add(ret, WRIT_LIT(",\"rule\":"));
	if (!err && check->why.rule[0])
		err = writ_json_string(writ_str(check->why.rule), ret);
	return err ? err : writ_buf_add(ret, WRIT_LIT("}\n"));
}

/* Names of a verified leaf hold nothing but 0x21 to 0x7E (delegation.md E4), so they may stand in a header. */
static struct writ_err *
headers_write(const struct check *check, struct writ_buf *ret)
{
	const struct writ_agent *agent;

	if (check->status != 200)
		return writ_buf_printf(ret, "X-Writ-Reason: %s\r\n", check->reason);
	agent = check->seen->agent;
	return writ_buf_printf(ret,
			       "X-Writ-Agent: %s\r\nX-Writ-Root: %s\r\nX-Writ-Task: %s\r\nX-Writ-Entitlement: %u\r\n"
			       "X-Writ-Expires: %lld\r\n",
			       writ_agent_id(agent), writ_agent_root(agent), writ_agent_task(agent), check->entitlement,
			       (long long)writ_agent_expires_at(agent));
}

static void
answer(struct http_request *request, const struct check *check)
{
	AUTO(writ_buf_done) struct writ_buf headers = WRIT_BUF(ANSWER_HEADERS_MAX);
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(PROBLEM_MAX);
	struct http_answer is = { .status = check->status };
	struct writ_err *err;

	err = headers_write(check, &headers);
	if (!err && check->status != 200)
		err = problem_write(check, &body);
	if (err) { /* without memory nobody is let in */
		writ_err_free(err);
		http_answer(request, &(struct http_answer){ .status = 503 });
		return;
	}
	is.headers = writ_view(&headers);
	is.body = writ_view(&body);
	is.content_type = check->status == 200 ? NULL : "application/problem+json";
	http_answer(request, &is);
}

/* ---- the questions ---- */

static void
check_request(struct authz *authz, struct http_request *request)
{
	struct check check = { .der = WRIT_BUF(URL_CERTIFICATE_MAX), .resource = WRIT_BUF(2048) };

	/* An empty value and no header say the same: proxies do not agree on which they send. */
	check.malformed = http_field(request, "x-writ-certificate", &check.certificate) > 1;
	check.malformed |= http_field(request, "x-writ-peer", &check.peer) > 1;
	check.malformed |= http_field(request, "x-writ-method", &check.method) != 1;
	check.malformed |= http_field(request, "x-writ-target", &check.target) != 1;
	decide(authz, &check, request->now.wall);
	tell(&check);
	answer(request, &check);
	writ_buf_done(&check.der);
	writ_buf_done(&check.resource);
}

static void
health_request(const struct authz *authz, struct http_request *request)
{
	unsigned certificates, crls;
	char body[200];

	lists_counts(authz->lists, &certificates, &crls);
	snprintf(body, sizeof(body), "{\"issuing_certificates\":%u,\"crls\":%u,\"agents\":%u}\n", certificates, crls,
		 agents_count(authz->agents));
	http_answer_health(request, !authz->folder_failed, writ_str(body));
}

void
authz_request(struct http_request *request, void *ctx)
{
	struct authz *authz = ctx;

	if (request->method != HTTP_GET)
		http_answer(request, &(struct http_answer){ .status = 405, .headers = WRIT_LIT("Allow: GET\r\n") });
	else if (writ_equal(request->path, WRIT_LIT("/v1/check")))
		check_request(authz, request);
	else if (writ_equal(request->path, WRIT_LIT("/healthz")))
		health_request(authz, request);
	else
		http_answer(request, &(struct http_answer){ .status = 404 });
}

/* ---- start ---- */

static struct writ_err *
refused(enum writ_refusal refusal, const char *what, const char *which, const struct writ_why *why)
{
	if (refusal == WRIT_OK)
		return NULL;
	return writ_because(writ_fail(WRIT_INVALID, "%s", why->text), "%s%s%.80s", what, which[0] ? " " : "", which);
}

static struct writ_err *
trust_anchor(struct authz *authz, const struct authz_anchor *anchor)
{
	AUTO(writ_buf_done) struct writ_buf file = WRIT_BUF(ANCHOR_FILE_MAX);
	struct writ_why why = { 0 };
	struct writ_err *err;

	err = file_read(anchor->certificate, FILE_CONFIG, &file); /* who may write it decides whom we believe */
	if (err)
		return err;
	return refused(writ_verifier_anchor(authz->verifier, file.data, file.len, anchor->trust_domain, &why), "anchor",
		       anchor->certificate, &why);
}

static struct writ_err *
trust(struct authz *authz, const struct authz_conf *conf)
{
	struct writ_verifier *v = authz->verifier;
	struct writ_why why = { 0 };
	struct writ_err *err = NULL;

	for (size_t i = 0; i < conf->n_anchors && !err; i++)
		err = trust_anchor(authz, &conf->anchors[i]);
	for (size_t i = 0; i < conf->n_identities && !err; i++)
		err = refused(writ_verifier_identity(v, conf->identities[i], &why), "identity", conf->identities[i],
			      &why);
	for (size_t i = 0; i < conf->n_policies && !err; i++)
		err = refused(writ_verifier_policy(v, conf->policies[i], &why), "policy", "", &why);
	for (size_t i = 0; i < conf->n_acrs && !err; i++)
		err = refused(writ_verifier_acr(v, conf->acrs[i], &why), "acr", conf->acrs[i], &why);
	for (size_t i = 0; i < conf->n_options && !err; i++)
		err = refused(writ_verifier_set(v, conf->options[i].option, conf->options[i].value, &why), "options",
			      "", &why);
	return err;
}

struct writ_err *
authz_open(struct authz *authz, const struct authz_conf *conf, writ_time now)
{
	struct writ_err *err;

	*authz = (struct authz){ .conf = conf, .verifier = writ_verifier_new() };
	err = authz->verifier ? trust(authz, conf) : writ_fail(WRIT_EXHAUSTED, "no memory for a verifier");
	if (!err)
		err = agents_new(conf->cache, &authz->agents);
	if (!err)
		err = lists_new(conf->lists, &authz->lists);
	if (!err) {
		authz_refresh(authz, now);
		return NULL;
	}
	authz_close(authz);
	return err;
}

void
authz_close(struct authz *authz)
{
	agents_free(authz->agents);
	lists_free(authz->lists);
	writ_verifier_free(authz->verifier);
	*authz = (struct authz){ 0 };
}

void
authz_refresh(struct authz *authz, writ_time now)
{
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	bool changed;

	err = lists_poll(authz->lists, authz->verifier, now, &changed);
	if (changed)
		agents_clear(authz->agents);
	if (err && !authz->folder_failed)
		event(EVENT_ALARM, "authz.lists_unread", EV_ERR(err));
	authz->folder_failed = err != NULL;
}

static struct loop *volatile signalled;

static void
on_signal(int number)
{
	(void)number;
	loop_stop(signalled);
}

static void
on_timer(struct clock now, void *authz)
{
	authz_refresh(authz, now.wall);
}

/* What it listens on is there already; it asks nobody. */
static struct writ_err *
confine(const struct authz_conf *conf)
{
	struct sandbox box = { .role = "writ-authz" };

	sandbox_read(&box, conf->lists);
	return sandbox_enter(&box);
}

static struct writ_err *
serve(struct authz *authz)
{
	const struct http_handler handler = { .request = authz_request, .ctx = authz };
	const struct authz_conf *conf = authz->conf;
	struct sigaction stop = { .sa_handler = on_signal };
	struct writ_err *err;
	uint16_t port = 0;

	if (conf->socket)
		err = loop_listen_unix(authz->loop, conf->socket, conf->socket_group, &handler);
	else
		err = loop_listen(authz->loop, conf->address, (uint16_t)conf->port, false, &handler, &port);
	if (!err)
		err = loop_every(authz->loop, POLL_MS, on_timer, authz);
	if (err)
		return err;
	err = confine(conf);
	if (err)
		return err;
	signalled = authz->loop;
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	event(EVENT_INFO, "authz.ready", EV_STR("listen", conf->socket ? conf->socket : conf->address),
	      EV_NUM("port", port), EV_NUM("routes", conf->n_routes));
	return loop_run(authz->loop);
}

struct writ_err *
authz_run(const char *conf_path)
{
	AUTO(authz_conf_done) struct authz_conf conf = { 0 };
	AUTO(authz_close) struct authz authz = { 0 };
	struct writ_err *err;

	err = authz_conf_read(conf_path, &conf);
	if (err)
		return err;
	event_start(2, "writ-authz", conf.log_level);
	err = authz_open(&authz, &conf, clock_read().wall);
	if (!err)
		err = loop_new(&(struct loop_conf){ .server_name = "writ-authz" }, &authz.loop);
	if (!err)
		err = serve(&authz);
	loop_free(authz.loop);
	authz.loop = NULL;
	return err;
}
