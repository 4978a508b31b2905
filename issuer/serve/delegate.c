/*
 * New edges.  An edge is granted as a leaf is issued, without the signer's stage: decide, build the hop, store, answer;
 * then the journal is told.
 *
 * Who delegates, and of which kind, comes from the certificate, the key that signed a grant or the ID token (I7: proof.c); the parent's
 * authority from our own store; what is asked from the body.  The child gets what it asked for or nothing (I6); only missing constraints of the parent are
 * added.
 */
#include "issuer/serve/delegate.h"

#include <stdio.h>

#include "base/der.h"
#include "base/digest.h"
#include "base/text.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/serve/approve.h"
#include "issuer/serve/claims.h"
#include "issuer/serve/freeze.h"
#include "issuer/serve/roots.h"
#include "issuer/serve/work.h"

#define INSTANCE_BYTES 8 /* random: 64 bits (delegation.md 7) */

struct edge_asked {
	struct request_delegation body;
	struct grant grant; /* inherited constraints copied down */
	struct writ_bytes parent_hops;
	const struct policy_parent *parent;
	const struct store_edge *parent_edge;
	writ_time task_ends, not_after;
};

/* ---- facts and verdict ---- */

static void
decide(struct work *work, const struct edge_asked *asked)
{
	const struct policy_facts facts = {
		.act = ACT_DELEGATE,
		.delegator = work->who->principal,
		.delegator_kind = work->who->kind,
		.agent = asked->body.agent_class,
		.grant = &asked->grant,
		.depth = asked->body.depth,
		.edge_not_after = asked->not_after,
		.task_ends = asked->task_ends,
		.parent = asked->parent,
		.parent_liveness = asked->parent != NULL,
	};

	policy_decide(work->rules->policy, &facts, work->now.wall, &work->verdict);
}

WRIT_CHECKED static struct writ_err *
class_check(struct work *work, const struct request_delegation *body)
{
	struct spiffe_id id;
	struct writ_err *err;

	err = spiffe_parse(body->agent_class, &id);
	if (err)
		return err;
	if (!writ_equal(id.trust_domain, writ_str(work->on->serve->conf.trust_domain)))
		return writ_fail(WRIT_INVALID, "member 'agent.class' is of trust domain %.*s; ours is %s",
				 WRIT_FMT(id.trust_domain), work->on->serve->conf.trust_domain);
	return NULL;
}

/* What was asked, so that another policy can be asked of it.  What cannot be written is not kept. */
static void
denied_note(struct work *work, const struct edge_asked *asked)
{
	AUTO(writ_buf_done) struct writ_buf grant = WRIT_BUF(HOP_GRANT_MAX);
	struct store_denied *denied = writ_arena_take(&work->arena, sizeof(*denied));
	struct writ_err *err;

	if (asked->not_after <= work->now.wall || asked->task_ends <= work->now.wall)
		return; /* no policy would grant it */
	err = denied ? hop_grant_write(&asked->grant, &grant) : writ_fail(WRIT_EXHAUSTED, "no memory");
	if (err) {
		writ_err_free(err);
		return;
	}
	*denied = (struct store_denied){
		.delegator = work->who->principal,
		.kind = (uint8_t)work->who->kind,
		.agent = asked->body.agent_class,
		.grant = writ_arena_copy(&work->arena, writ_view(&grant)),
		.depth = asked->body.depth,
		.ends_s = (uint32_t)(asked->not_after - work->now.wall),
		.task_ends_s = (uint32_t)(asked->task_ends - work->now.wall),
		.at = work->now.wall,
	};
	if (asked->parent_edge)
		memcpy(denied->parent, asked->parent_edge->id, EDGE_ID_LEN);
	work->denied = denied->grant.data ? denied : NULL;
}

/* ---- the edge ---- */

/* The instance is ours: 64 random bits, never used again. */
WRIT_CHECKED static struct writ_err *
agent_name(struct work *work, struct writ_bytes class_uri, struct writ_bytes *ret)
{
	uint8_t random[INSTANCE_BYTES];
	char hex[2 * INSTANCE_BYTES + 1], name[PRINCIPAL_MAX + 1];
	int len;

	writ_random(random, sizeof(random));
	len = snprintf(name, sizeof(name), "%.*s/i-%s", (int)class_uri.len, (const char *)class_uri.data,
		       writ_hex((struct writ_bytes){ random, sizeof(random) }, hex));
	if (len < 0 || (size_t)len >= sizeof(name))
		return writ_fail(WRIT_INVALID,
				 "member 'agent.class' is too long: with its instance it would pass %d octets",
				 PRINCIPAL_MAX);
	*ret = writ_arena_copy(&work->arena, writ_str(name));
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a name");
}

static struct writ_bytes
kept(struct work *work, struct writ_buf *buf)
{
	return writ_arena_copy(&work->arena, writ_view(buf));
}

WRIT_CHECKED static struct writ_err *
context_write(struct work *work, const struct request_delegation *body)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(512);
	struct der_out out = der_write(&der);
	struct writ_err *err;

	if (body->context_type.len == 0)
		return NULL;
	der_open(&out, DER_SEQUENCE);
	der_put(&out, DER_IA5, body->context_type);
	der_put(&out, DER_OCTET_STRING, body->context_digest);
	der_close(&out);
	err = der_finish(&out, "ContextRef");
	work->edge.context = kept(work, &der);
	return err;
}

/* The hop that this edge is, behind those of its parent. */
WRIT_CHECKED static struct writ_err *
hops_write(struct work *work, const struct edge_asked *asked)
{
	AUTO(writ_buf_done) struct writ_buf hops = WRIT_BUF(DELEGATION_MAX);
	const struct identity *who = work->who;
	struct store_edge *edge = &work->edge;
	uint8_t scope[SHA256_LEN];
	char authority[2 * 20 + 1];
	struct hop hop = {
		.id = { edge->id, EDGE_ID_LEN },
		.principal = who->principal,
		.kind = who->kind,
		.method = work->proof.method,
		.auth_digest = { work->proof.digest, SHA256_LEN },
		.authority = work->proof.authority,
		.acr = work->proof.acr,
		.auth_time = work->proof.auth_time,
		.granted_at = edge->granted_at,
		.not_after = edge->not_after,
		.depth_remaining = edge->depth_remaining,
		.scope_digest = { scope, sizeof(scope) },
	};
	struct writ_err *err;

	writ_sha256(edge->grant, scope);
	if (work->proof.has_grant)
		hop.grant = (struct writ_bytes){ work->proof.grant_digest, SHA256_LEN };
	if (who->is_leaf) {
		hop.authority = writ_str(writ_hex((struct writ_bytes){ who->issuer_key_id, 20 }, authority));
		hop.cert_sha256 = (struct writ_bytes){ who->cert_sha256, SHA256_LEN };
		hop.cert_serial = (struct writ_bytes){ who->serial, SERIAL_LEN };
		hop.cert_issuer_key_id = (struct writ_bytes){ who->issuer_key_id, 20 };
	}
	err = writ_buf_add(&hops, asked->parent_hops);
	if (!err)
		err = hop_write(&hop, &hops);
	edge->hops = kept(work, &hops);
	return err;
}

WRIT_CHECKED static struct writ_err *
edge_build(struct work *work, const struct edge_asked *asked)
{
	AUTO(writ_buf_done) struct writ_buf grant = WRIT_BUF(HOP_GRANT_MAX);
	struct store_edge *edge = &work->edge;
	struct writ_err *err;

	*edge = (struct store_edge){
		.task = work->task.id,
		.delegator = work->who->principal,
		.depth_remaining = asked->body.depth,
		.granted_at = work->now.wall,
		.not_after = asked->not_after,
		.max_lifetime_s = work->verdict.max_lifetime_s,
		.state = EDGE_LIVE,
	};
	writ_random(edge->id, sizeof(edge->id));
	if (asked->parent_edge)
		memcpy(edge->parent, asked->parent_edge->id, EDGE_ID_LEN);
	memcpy(edge->spki_sha256, asked->body.spki_sha256, sizeof(edge->spki_sha256));
	err = agent_name(work, asked->body.agent_class, &edge->agent);
	if (!err)
		err = hop_grant_write(&asked->grant, &grant);
	edge->grant = kept(work, &grant);
	if (!err)
		err = context_write(work, &asked->body);
	if (!err)
		err = hops_write(work, asked);
	if (!err && (!edge->grant.data || !edge->hops.data))
		err = writ_fail(WRIT_EXHAUSTED, "no memory for a delegation");
	return err;
}

/*
 * Will a leaf of this edge be a certificate that we could issue?  Found out now, not at the first request: the whole
 * delegation is written once.
 */
WRIT_CHECKED static struct writ_err *
edge_check(struct work *work, const struct edge_asked *asked)
{
	const struct delegation d = {
		.task_id = work->task.id,
		.purpose = policy_embed_purpose(work->rules->policy) ? work->task.purpose : (struct writ_bytes){ 0 },
		.parent_task = work->task.parent,
		.grant = asked->grant,
		.hops_der = work->edge.hops,
		.policy_id = policy_id(work->rules->policy),
		.policy_digest = { policy_digest(work->rules->policy), SHA256_LEN },
		.context_type = asked->body.context_type,
		.context_digest = asked->body.context_digest,
	};
	struct writ_err *err = delegation_write(&d, &work->delegation);

	if (err)
		return writ_recode(err, WRIT_INVALID, "no certificate can hold this delegation");
	return NULL;
}

/* Texts behind the digests: the delegator's certificate or signed grant, and what the hop grants. */
static void
evidence(struct work *work)
{
	const writ_time expires = work->edge.not_after + EVIDENCE_KEEP_S;

	work->evidence[0] = (struct store_evidence){
		.kind = work->proof.kind,
		.bytes = work->proof.bytes,
		.expires = expires,
	};
	memcpy(work->evidence[0].digest, work->proof.digest, SHA256_LEN);
	work->evidence[1] =
		(struct store_evidence){ .kind = WRIT_LIT("hop-grant"), .bytes = work->edge.grant, .expires = expires };
	writ_sha256(work->edge.grant, work->evidence[1].digest);
	work->job.item.evidence = work->evidence;
	work->job.item.n_evidence = 2;
	if (work->proof.grant.len == 0)
		return;
	work->evidence[2] = (struct store_evidence){
		.kind = WRIT_LIT("grant-body"), .bytes = work->proof.grant, .expires = expires
	};
	memcpy(work->evidence[2].digest, work->proof.grant_digest, SHA256_LEN);
	work->job.item.n_evidence = 3;
}

/* ---- told to the journal, once durable ---- */

static void
note_task(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	struct canon_out out = canon_write(&said);
	struct writ_err *err;

	canon_object(&out, NULL);
	canon_int(&out, "ends", work->task.ends);
	canon_text(&out, "opener", work->task.opener);
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "task", work->task.id);
	canon_end(&out);
	err = canon_finish(&out);
	if (!err)
		link_note(work->on->link, ENTRY_TASK, writ_view(&said));
	writ_err_free(err);
}

static void
note_grant(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	uint8_t grant[SHA256_LEN];
	const struct store_edge *edge = &work->edge;
	struct canon_out out = canon_write(&said);
	struct writ_err *err;

	writ_sha256(edge->grant, grant);
	canon_object(&out, NULL);
	canon_text(&out, "agent", edge->agent);
	if (!work->proof.has_grant)
		canon_hex(&out, "cert", (struct writ_bytes){ work->proof.digest, SHA256_LEN });
	canon_text(&out, "delegator", edge->delegator);
	canon_int(&out, "depth", edge->depth_remaining);
	canon_hex(&out, "edge", (struct writ_bytes){ edge->id, EDGE_ID_LEN });
	canon_hex(&out, "grant", (struct writ_bytes){ grant, SHA256_LEN });
	if (work->proof.method == AUTH_OIDC_ID_TOKEN) {
		canon_hex(&out, "grant_body", (struct writ_bytes){ work->proof.grant_digest, SHA256_LEN });
		canon_hex(&out, "id_token", (struct writ_bytes){ work->proof.digest, SHA256_LEN });
	}
	canon_int(&out, "not_after", edge->not_after);
	canon_hex(&out, "policy", (struct writ_bytes){ policy_digest(work->rules->policy), SHA256_LEN });
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "rule", work->verdict.by);
	if (work->proof.method == AUTH_SIGNED_GRANT)
		canon_hex(&out, "signed_grant", (struct writ_bytes){ work->proof.digest, SHA256_LEN });
	canon_hex(&out, "spki", (struct writ_bytes){ edge->spki_sha256, sizeof(edge->spki_sha256) });
	canon_text(&out, "task", edge->task);
	canon_end(&out);
	err = canon_finish(&out);
	if (!err)
		link_note(work->on->link, ENTRY_GRANT, writ_view(&said));
	writ_err_free(err);
}

void
delegate_note(struct work *work)
{
	note_task(work);
	note_grant(work);
}

static void
stored(struct job *job)
{
	struct work *work = work_of_job(job);
	struct writ_err *err = TAKE(job->item.result);
	const bool root = job->item.op == STORE_OPEN_TASK;

	if (err) {
		work_fail(work, err);
		return;
	}
	if (root) {
		known_opened(work->on->serve->known, work->revision, &work->task, &work->edge);
		roots_opened(work->on->roots, work->on->serve->admission, &work->task);
		note_task(work);
	}
	note_grant(work);
	metrics_add(&work->on->serve->metrics, root ? METRIC_TASKS : METRIC_DELEGATIONS, 1);
	work_answer(work, WORK_ANSWER_STATUS, writ_view(&work->answer));
}

/* R9, of both ends of the edge and of who opens the task. */
WRIT_CHECKED static struct writ_err *
frozen_refused(struct work *work, bool *ret)
{
	const struct writ_bytes names[] = { work->task.opener, work->edge.delegator, work->edge.agent };
	struct writ_err *err = NULL;

	*ret = false;
	for (size_t i = 0; i < N_OF(names) && !err && !*ret; i++)
		err = freeze_check(work, names[i], ret);
	return err;
}

/* Decided: the edge is built, checked, stored.  The task is in work->task. */
WRIT_CHECKED static struct writ_err *
go_on(struct work *work, const struct edge_asked *asked, enum store_op op)
{
	const bool waits = work->verdict.kind == VERDICT_PENDING && op == STORE_OPEN_TASK;
	struct writ_err *err;
	bool refused = false;

	if (work->verdict.kind != VERDICT_ALLOW && !waits) {
		denied_note(work, asked);
		work_refuse(work, &work->verdict);
		return NULL;
	}
	err = edge_build(work, asked);
	if (!err)
		err = frozen_refused(work, &refused);
	if (err || refused)
		return err;
	err = edge_check(work, asked);
	if (!err && !waits)
		err = answer_delegated(&work->edge, work->verdict.by, &work->answer);
	if (err)
		return err;
	evidence(work);
	work->job.item.once = work->proof.once;
	work->job.item.n_once = work->proof.n_once;
	if (waits)
		return approve_wait(work);
	work_keep_answer(work);
	work->job.item.task = op == STORE_OPEN_TASK ? &work->task : NULL;
	work->job.item.edge = &work->edge;
	work->job.item.children_max = work->rules->conf.limits.children_per_edge;
	work_store(work, op, stored);
	return NULL;
}

/* ---- POST /v1/tasks ---- */

/* A UUID of version 4: told apart from any name that people choose. */
WRIT_CHECKED static struct writ_err *
task_name(struct work *work, struct writ_bytes asked, struct writ_bytes *ret)
{
	uint8_t r[16];
	char hex[33], uuid[37];

	*ret = asked;
	if (asked.len > 0)
		return NULL;
	writ_random(r, sizeof(r));
	r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
	r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
	writ_hex((struct writ_bytes){ r, sizeof(r) }, hex);
	snprintf(uuid, sizeof(uuid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	*ret = writ_arena_copy(&work->arena, writ_str(uuid));
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a task's name");
}

/* What is asked, and by whom: a certificate and a body, a signed grant that is both, or an ID token and its grant. */
WRIT_CHECKED static struct writ_err *
task_asked(struct work *work, struct edge_asked *ret)
{
	struct claims claims;
	struct writ_err *err;

	if (!request_is_grant(work->request->body) && !request_is_token(work->request->body)) {
		err = request_delegation(work->request->body, REQUEST_OPEN_TASK, &work->arena, &ret->body);
		ret->not_after = work->now.wall + ret->body.ends_in_s;
		proof_by_certificate(work);
		return err;
	}
	err = request_is_token(work->request->body) ? proof_by_token(work, &claims) : proof_by_grant(work, &claims);
	if (err)
		return err;
	ret->body = claims.asked;
	ret->not_after = claims.grant_end;
	return NULL;
}

struct writ_err *
delegate_open_task(struct work *work)
{
	struct edge_asked asked = { 0 };
	struct writ_err *err;

	err = task_asked(work, &asked);
	if (!err)
		err = class_check(work, &asked.body);
	if (!err)
		err = serve_clock_check(work->on, work->now);
	if (err)
		return err;
	if (work_once(work, work->who->principal))
		return NULL;

	asked.grant = asked.body.grant;
	asked.task_ends = asked.not_after;
	work->task = (struct store_task){
		.opener = work->who->principal,
		.purpose = asked.body.purpose,
		.created = work->now.wall,
		.ends = asked.task_ends,
		.state = TASK_OPEN,
	};
	err = task_name(work, asked.body.task_id, &work->task.id);
	if (err)
		return err;
	work->revision = writer_revision(work->on->serve->writer, work->task.id);
	decide(work, &asked);
	return go_on(work, &asked, STORE_OPEN_TASK);
}

/* ---- POST /v1/delegations ---- */

/* E7's issuer rule: no key delegates to itself, at any distance. */
WRIT_CHECKED static struct writ_err *
key_is_new(struct work *work, const struct edge_asked *asked, bool *ret)
{
	struct store_edge ancestors[HOPS_MAX];
	struct writ_err *err;
	size_t n;

	*ret = true;
	err = lineage_ancestors(work->on->store, asked->parent_edge, &work->arena, ancestors, &n);
	for (size_t i = 0; !err && i < n; i++)
		if (memcmp(ancestors[i].spki_sha256, asked->body.spki_sha256, 32) == 0)
			*ret = false;
	return err;
}

WRIT_CHECKED static struct writ_err *
delegate_checked(struct work *work, struct edge_asked *asked)
{
	const struct lineage *l = &work->lineage;
	struct policy_parent parent = {
		.grant = &l->grant,
		.depth_remaining = l->edge.depth_remaining,
		.hop_not_after = l->edge.not_after,
	};
	struct writ_err *err;
	bool new_key;

	err = store_newest_leaf(work->on->store, l->edge.id, work->now.wall, &parent.newest_leaf);
	if (!err)
		err = grant_inherit(&asked->body.grant, &l->grant, &work->arena, &asked->grant);
	if (!err)
		err = key_is_new(work, asked, &new_key);
	if (err)
		return err;
	if (!new_key) {
		work_deny(work, "E7", WRIT_LIT("agent.spki_sha256"), "the key of an ancestor",
			  "make a new key for this agent");
		return NULL;
	}
	asked->parent = &parent;
	decide(work, asked);
	asked->parent = NULL;
	return go_on(work, asked, STORE_ADD_EDGE);
}

struct writ_err *
delegate_on(struct work *work)
{
	struct edge_asked asked = { 0 };
	struct lineage *l = &work->lineage;
	struct writ_err *err;
	char dead[2 * EDGE_ID_LEN + 1];

	proof_by_certificate(work);
	err = request_delegation(work->request->body, REQUEST_DELEGATE, &work->arena, &asked.body);
	if (!err)
		err = class_check(work, &asked.body);
	if (!err)
		err = serve_clock_check(work->on, work->now);
	if (err)
		return err;
	if (work_once(work, work->who->principal))
		return NULL;
	err = lineage_by_edge(work->on->store, work->who->edge, work->now.wall, &work->arena, l);
	if (err)
		return err;
	if (!l->live || l->task.state != TASK_OPEN) {
		work_deny(work, "L4",
			  writ_str(writ_hex((struct writ_bytes){ l->live ? l->edge.id : l->dead, EDGE_ID_LEN }, dead)),
			  "this delegation has ended", "a new delegation, of a new key, is needed");
		return NULL;
	}
	work->task = l->task;
	asked.parent_edge = &l->edge;
	asked.parent_hops = l->edge.hops;
	asked.task_ends = l->task.ends;
	asked.not_after = asked.body.ends_in_s ? work->now.wall + asked.body.ends_in_s : l->edge.not_after;
	return delegate_checked(work, &asked);
}

/* ---- GET /v1/tasks/ID ---- */

static bool
may_see(struct work *work, const struct store_task *task, const struct store_edge *edges, size_t n)
{
	const struct writ_bytes who = work->who->principal;

	if (writ_equal(task->opener, who))
		return true;
	for (size_t i = 0; i < n; i++)
		if (writ_equal(edges[i].delegator, who) || writ_equal(edges[i].agent, who))
			return true;
	return !work->who->is_leaf && (policy_role(work->rules->policy, ROLE_OPERATOR, who) ||
				       policy_role(work->rules->policy, ROLE_AUDITOR, who));
}

struct writ_err *
delegate_unseen(struct work *work)
{
	return writ_fail(WRIT_NOT_FOUND, "task '%.*s' is not known, or not yours to see", WRIT_FMT(work->path_id));
}

struct writ_err *
delegate_show_task(struct work *work)
{
	struct writ_bytes approvals;
	struct store_edge *edges;
	struct writ_err *err;
	size_t n;

	err = store_task(work->on->store, work->path_id, &work->arena, &work->task);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		return approve_show(work);
	}
	if (!err)
		err = store_edges(work->on->store, work->path_id, &work->arena, &edges, &n);
	if (err && err->code != WRIT_NOT_FOUND)
		return err;
	/* One answer for both, so that nobody learns which names are in use. */
	if (err || !may_see(work, &work->task, edges, n)) {
		if (!err)
			work_note_denial(work, "reader", work->path_id,
					 "its opener, principals on its edges, operators and auditors");
		writ_err_free(err);
		return delegate_unseen(work);
	}
	err = approve_of(work, &edges[0], &approvals);
	if (!err)
		err = answer_task(&work->task, edges, n, approvals, &work->answer);
	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}
