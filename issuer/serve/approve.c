/*
 * Tasks that wait for approvals: see approve.h.
 *
 * (1) Whoever approves is a human or a service by its certificate (I7), matches the rule's patterns, and is not who
 * asked.
 *
 * (2) An approval names by its digest exactly what is approved.  What is opened is rebuilt from the row, and its digest
 * must be that one; only its times are new, since they count from the opening.
 *
 * (3) Policy decides at every approval, not at the asking alone: it must still ask for the same approvals by the same
 * rule.  Otherwise nobody knows what the earlier ones were worth.
 *
 * (4) The last approval, the task and its edge are one item of one transaction (store.h, STORE_APPROVE).
 */
#include "issuer/serve/approve.h"

#include <stdio.h>

#include "base/digest.h"
#include "base/event.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/serve/delegate.h"
#include "issuer/serve/freeze.h"
#include "issuer/serve/pending.h"
#include "issuer/serve/work.h"

#define LIST_MAX 100 /* items of one answer */

static struct writ_bytes
kept(struct work *work, struct writ_buf *buf)
{
	return writ_arena_copy(&work->arena, writ_view(buf));
}

static bool
has_role(struct work *work, enum policy_role role)
{
	return !work->who->is_leaf && policy_role(work->rules->policy, role, work->who->principal);
}

/* ---- told to the journal ---- */

/* Kept with the item, until the journal has it: an approval is durable with its note, or not at all. */
WRIT_CHECKED static struct writ_err *
note(struct work *work, struct canon_out *out, struct writ_buf *said)
{
	struct store_item *item = &work->job.item;
	struct writ_err *err = canon_finish(out);

	item->note_type = ENTRY_TASK;
	item->note = kept(work, said);
	if (!err && !item->note.data)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for a note");
	return err;
}

WRIT_CHECKED static struct writ_err *
note_pending(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	const struct store_pending *p = &work->pending;
	struct canon_out out = canon_write(&said);

	canon_object(&out, NULL);
	canon_text(&out, "agent", p->edge.agent);
	canon_hex(&out, "digest", (struct writ_bytes){ p->digest, sizeof(p->digest) });
	canon_int(&out, "expires", p->expires);
	canon_int(&out, "needed", p->needed);
	canon_text(&out, "opener", p->task.opener);
	canon_hex(&out, "policy", (struct writ_bytes){ policy_digest(work->rules->policy), SHA256_LEN });
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "rule", p->rule);
	canon_text(&out, "state", WRIT_LIT("pending"));
	canon_text(&out, "task", p->task.id);
	canon_end(&out);
	return note(work, &out, &said);
}

/* Who said what, under which certificate; why somebody refused stands in the evidence. */
WRIT_CHECKED static struct writ_err *
note_said(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(SIGNER_SAID_MAX);
	const struct store_approve *a = &work->approve;
	struct canon_out out = canon_write(&text);

	canon_object(&out, NULL);
	canon_text(&out, "approver", a->said.principal);
	canon_hex(&out, "cert", (struct writ_bytes){ work->who->cert_sha256, SHA256_LEN });
	canon_hex(&out, "digest", (struct writ_bytes){ a->digest, sizeof(a->digest) });
	canon_hex(&out, "evidence", (struct writ_bytes){ a->said.evidence, sizeof(a->said.evidence) });
	canon_int(&out, "needed", work->pending.needed);
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "state", a->said.refuses ? WRIT_LIT("refused") : WRIT_LIT("approved"));
	canon_text(&out, "task", a->task);
	canon_end(&out);
	return note(work, &out, &text);
}

/* ---- asked for ---- */

/* A line each. */
WRIT_CHECKED static struct writ_err *
approvers_write(struct work *work, const struct texts *patterns, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf lines = WRIT_BUF(patterns->n * (PRINCIPAL_MAX + 1));
	struct writ_err *err = NULL;

	for (size_t i = 0; i < patterns->n && !err; i++) {
		if (i > 0)
			err = writ_buf_add(&lines, WRIT_LIT("\n"));
		if (!err)
			err = writ_buf_add(&lines, patterns->list[i]);
	}
	*ret = kept(work, &lines);
	if (!err && !ret->data)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for the approvers of a task");
	return err;
}

static void
waiting(struct job *job)
{
	struct work *work = work_of_job(job);
	struct writ_err *err = TAKE(job->item.result);

	if (err) {
		work_fail(work, err);
		return;
	}
	event(EVENT_INFO, "serve.pending", EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })),
	      EV_TEXT("who", work->who->principal), EV_TEXT("task", work->task.id), EV_TEXT("rule", work->pending.rule),
	      EV_NUM("needed", work->pending.needed));
	work_answer(work, 202, writ_view(&work->answer));
}

struct writ_err *
approve_wait(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(PENDING_REQUEST_MAX);
	const struct verdict *verdict = &work->verdict;
	struct store_pending *p = &work->pending;
	struct store_evidence *evidence = &work->evidence[work->job.item.n_evidence];
	struct writ_err *err;

	*p = (struct store_pending){
		.task = work->task,
		.edge = work->edge,
		.rule = verdict->by,
		.needed = verdict->approvals,
		.expires = work->now.wall + verdict->approve_within_s,
		.end_is_fixed = work->proof.method != AUTH_MTLS_CERT,
		.state = PENDING_WAITING,
	};
	err = approvers_write(work, &verdict->approvers, &p->approvers);
	if (!err)
		err = pending_request(&p->task, &p->edge, p->end_is_fixed, &request);
	if (err)
		return err;
	writ_sha256(writ_view(&request), p->digest);
	*evidence = (struct store_evidence){ .kind = WRIT_LIT("task-request"),
					     .bytes = kept(work, &request),
					     .expires = work->evidence[0].expires };
	memcpy(evidence->digest, p->digest, sizeof(evidence->digest));
	work->job.item.n_evidence++;
	err = answer_pending(p, NULL, work->now.wall, &work->answer);
	if (!err)
		err = note_pending(work);
	if (!err && !evidence->bytes.data)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for what is asked");
	if (err)
		return err;
	work_keep_answer(work);
	work->kept.status = 202;
	work->job.item.pending = p;
	work_store(work, STORE_PEND, waiting);
	return NULL;
}

/* ---- opened ---- */

struct opening {
	struct delegation delegation;
	enum principal_kind opener_kind;
};

/*
 * work->task and work->edge as they would be opened now, by the proof that its opener gave: all as it waits, but for
 * the times - and those only where they count from the opening, not where an end was signed.
 */
WRIT_CHECKED static struct writ_err *
rebuild(struct work *work, struct opening *o)
{
	AUTO(writ_buf_done) struct writ_buf hops = WRIT_BUF(DELEGATION_MAX);
	const struct store_pending *p = &work->pending;
	const writ_time now = work->now.wall;
	struct delegation asked = {
		.task_id = p->task.id,
		.purpose = policy_embed_purpose(work->rules->policy) ? p->task.purpose : (struct writ_bytes){ 0 },
		.hops_der = p->edge.hops,
		.policy_id = policy_id(work->rules->policy),
		.policy_digest = { policy_digest(work->rules->policy), SHA256_LEN },
	};
	struct writ_err *err;
	struct hop hop;

	work->task = p->task;
	work->task.created = now;
	work->task.ends = p->end_is_fixed ? p->task.ends : now + (p->task.ends - p->task.created);
	work->edge = p->edge;
	work->edge.granted_at = now;
	work->edge.not_after = p->end_is_fixed ? p->edge.not_after : now + (p->edge.not_after - p->edge.granted_at);

	err = hop_grant_read(p->edge.grant, &work->arena, &asked.grant);
	if (!err)
		err = delegation_write(&asked, &work->delegation);
	if (!err)
		err = delegation_read(writ_view(&work->delegation), &work->arena, &o->delegation);
	if (!err && o->delegation.n_hops != 1)
		err = writ_fail(WRIT_BROKEN, "it has %zu hops", o->delegation.n_hops);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "task %.*s, which waits for approvals, cannot be read",
				   WRIT_FMT(p->task.id));
	hop = o->delegation.hops[0];
	o->opener_kind = hop.kind;
	work->proof.method = hop.method;
	memcpy(work->proof.digest, hop.auth_digest.data, sizeof(work->proof.digest));
	work->proof.has_grant = hop.grant.len == sizeof(work->proof.grant_digest);
	if (work->proof.has_grant)
		memcpy(work->proof.grant_digest, hop.grant.data, sizeof(work->proof.grant_digest));
	hop.granted_at = work->edge.granted_at;
	hop.not_after = work->edge.not_after;
	err = hop_write(&hop, &hops);
	work->edge.hops = kept(work, &hops);
	if (!err && !work->edge.hops.data)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for a delegation");
	return err;
}

static void
decide(struct work *work, const struct opening *o)
{
	const struct policy_facts facts = {
		.act = ACT_DELEGATE,
		.delegator = work->edge.delegator,
		.delegator_kind = o->opener_kind,
		.agent = work->edge.agent,
		.grant = &o->delegation.grant,
		.depth = work->edge.depth_remaining,
		.edge_not_after = work->edge.not_after,
		.task_ends = work->task.ends,
	};

	policy_decide(work->rules->policy, &facts, work->now.wall, &work->verdict);
	work->edge.max_lifetime_s = work->verdict.max_lifetime_s;
}

/* (3).  False: it was answered, or failed. */
WRIT_CHECKED static struct writ_err *
still_asked(struct work *work, bool *ret)
{
	const struct store_pending *p = &work->pending;
	struct writ_bytes approvers = { 0 };
	struct writ_err *err;

	*ret = false;
	if (work->verdict.kind == VERDICT_DENY || work->verdict.kind == VERDICT_RETRY) {
		work_refuse(work, &work->verdict);
		return NULL;
	}
	err = approvers_write(work, &work->verdict.approvers, &approvers);
	if (err)
		return err;
	*ret = work->verdict.kind == VERDICT_PENDING && writ_equal(work->verdict.by, p->rule) &&
	       work->verdict.approvals == p->needed && writ_equal(approvers, p->approvers);
	if (!*ret)
		work_deny(work, "approvals", work->path_id,
			  "the policy has changed since it was asked for, and wants other approvals or none",
			  "have it refused, and ask for it anew");
	return NULL;
}

/* (2) */
WRIT_CHECKED static struct writ_err *
same_check(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(PENDING_REQUEST_MAX);
	struct writ_err *err = pending_request(&work->task, &work->edge, work->pending.end_is_fixed, &request);
	uint8_t digest[SHA256_LEN];

	if (err)
		return err;
	writ_sha256(writ_view(&request), digest);
	if (memcmp(digest, work->pending.digest, sizeof(digest)) == 0)
		return NULL;
	return writ_fail(WRIT_BROKEN, "task %.*s would be opened otherwise than it was asked for",
			 WRIT_FMT(work->task.id));
}

/* ---- approved or refused ---- */

static void
said(struct job *job)
{
	struct work *work = work_of_job(job);
	struct serve *serve = work->on->serve;
	struct writ_err *err = TAKE(job->item.result);
	const bool refuses = work->approve.said.refuses;
	struct store_pending *p = &work->pending;
	/* A retry of the approval that opened it finds it open, and opens nothing. */
	const bool opened = !err && job->item.pending_is == PENDING_OPENED && p->state == PENDING_WAITING;

	p->n_given = job->item.n_given;
	p->state = job->item.pending_is;
	if (!err)
		err = answer_pending(p, opened ? &work->edge : NULL, work->now.wall, &work->answer);
	if (err) {
		work_fail(work, err);
		return;
	}
	if (opened)
		delegate_note(work);
	event(EVENT_INFO, refuses ? "serve.refused-by" : "serve.approved",
	      EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })),
	      EV_TEXT("who", work->who->principal), EV_TEXT("task", p->task.id), EV_NUM("given", p->n_given),
	      EV_NUM("needed", p->needed), EV_FLAG("opened", opened));
	metrics_add(&serve->metrics, refuses ? METRIC_APPROVALS_REFUSED : METRIC_APPROVALS, 1);
	if (opened)
		metrics_add(&serve->metrics, METRIC_TASKS, 1);
	/* What came of it is known after the commit only, so this answer is kept in memory. */
	if (work->once.len > 0)
		once_answer(serve->once, work->once, 200, writ_view(&work->answer), work->now.wall);
	work_answer(work, 200, writ_view(&work->answer));
}

/* The approver's certificate, and what it said. */
WRIT_CHECKED static struct writ_err *
evidence(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(SIGNER_SAID_MAX + 8 * PURPOSE_MAX);
	const writ_time expires = work->now.wall + EVIDENCE_KEEP_S;
	struct store_approve *a = &work->approve;
	struct writ_err *err = pending_said(a, work->who->cert_sha256, &text);

	work->evidence[0] = (struct store_evidence){ .kind = WRIT_LIT("mtls-cert"),
						     .bytes = work->request->peer->cert,
						     .expires = expires };
	memcpy(work->evidence[0].digest, work->who->cert_sha256, SHA256_LEN);
	work->evidence[1] =
		(struct store_evidence){ .kind = WRIT_LIT("approval"), .bytes = kept(work, &text), .expires = expires };
	writ_sha256(writ_view(&text), work->evidence[1].digest);
	memcpy(a->said.evidence, work->evidence[1].digest, sizeof(a->said.evidence));
	if (!err && !work->evidence[1].bytes.data)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for an approval");
	work->job.item.evidence = work->evidence;
	work->job.item.n_evidence = 2;
	return err;
}

static bool
may_see(struct work *work, const struct store_pending *p)
{
	return writ_equal(p->task.opener, work->who->principal) || pending_approver(p, work->who->principal) ||
	       has_role(work, ROLE_OPERATOR) || has_role(work, ROLE_AUDITOR);
}

/* To whom may not see it, it is as if nothing waited: nobody learns which names are in use. */
static void
unseen_note(struct work *work)
{
	work_note_denial(work, "reader", work->path_id, "who asked for it, its approvers, operators and auditors");
}

/* (1).  Refusing ends what would give authority, so who asked and operators may as well.  False: it was denied. */
static bool
may_say(struct work *work, bool refuses, bool is_operator)
{
	const struct writ_bytes who = work->who->principal;
	const struct store_pending *p = &work->pending;
	const bool own = writ_equal(p->task.opener, who);

	if (own && !refuses) {
		work_deny(work, "approvals", who, "nobody approves what it asked for", "have another approver do it");
		return false;
	}
	if (pending_approver(p, who) || (refuses && (own || is_operator)))
		return true;
	work_deny(work, "approvals", who,
		  refuses ? "approvers of its rule, who asked for it, and operators refuse it"
			  : "only approvers that its rule names approve it",
		  "the task tells who may: GET /v1/tasks/ID");
	return false;
}

/* An approval that may be the last: what it would open. */
WRIT_CHECKED static struct writ_err *
opening_ready(struct work *work, bool *ret)
{
	const bool waits = work->pending.state == PENDING_WAITING && work->pending.expires >= work->now.wall;
	struct opening o = { 0 };
	struct writ_err *err;

	err = serve_clock_check(work->on, work->now);
	if (!err)
		err = rebuild(work, &o);
	if (err)
		return err;
	*ret = true;
	if (waits) { /* else the store says why it cannot be approved */
		decide(work, &o);
		err = still_asked(work, ret);
	}
	if (!err && *ret)
		err = same_check(work);
	work->job.item.task = &work->task;
	work->job.item.edge = &work->edge;
	return err;
}

struct writ_err *
approve_say(struct work *work)
{
	struct request_approval asked;
	struct writ_err *err;
	bool go_on = true, is_operator = false, frozen = false;

	err = request_approval(work->request->body, &work->arena, &asked);
	if (err)
		return err;
	if (work_once(work, work->who->principal))
		return NULL;
	err = store_pending(work->on->store, work->path_id, &work->arena, &work->pending);
	if (!err)
		err = freeze_operator(work, &is_operator);
	if (err)
		return err;
	if (!may_see(work, &work->pending)) {
		unseen_note(work);
		return writ_fail(WRIT_NOT_FOUND, "task %.*s waits for no approval", WRIT_FMT(work->path_id));
	}
	if (!may_say(work, asked.refuses, is_operator))
		return NULL;
	if (!asked.refuses) {
		err = freeze_check(work, work->who->principal, &frozen);
		if (err || frozen)
			return err;
	}
	work->approve = (struct store_approve){
		.task = work->path_id,
		.said = { .principal = work->who->principal,
			  .at = work->now.wall,
			  .refuses = asked.refuses,
			  .because = asked.because },
	};
	memcpy(work->approve.digest, asked.digest, sizeof(asked.digest));
	if (!asked.refuses)
		err = opening_ready(work, &go_on);
	if (err || !go_on)
		return err;
	err = evidence(work);
	if (!err)
		err = note_said(work);
	if (err)
		return err;
	work->job.item.approve = &work->approve;
	work_store(work, STORE_APPROVE, said);
	return NULL;
}

/* ---- shown ---- */

struct writ_err *
approve_show(struct work *work)
{
	struct writ_err *err;

	err = store_pending(work->on->store, work->path_id, &work->arena, &work->pending);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		return delegate_unseen(work);
	}
	if (err)
		return err;
	if (!may_see(work, &work->pending)) {
		unseen_note(work);
		return delegate_unseen(work);
	}
	err = answer_pending_task(&work->pending, work->now.wall, &work->answer);
	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}

struct writ_err *
approve_of(struct work *work, const struct store_edge *root, struct writ_bytes *ret)
{
	AUTO(writ_buf_done) struct writ_buf json = WRIT_BUF(ANSWER_MAX);
	struct writ_err *err;

	*ret = (struct writ_bytes){ 0 };
	err = store_pending(work->on->store, work->path_id, &work->arena, &work->pending);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		return NULL;
	}
	if (err || memcmp(work->pending.edge.id, root->id, EDGE_ID_LEN) != 0) /* else of an older task of that id */
		return err;
	err = answer_approvals(&work->pending, &json);
	*ret = kept(work, &json);
	return err;
}

struct writ_err *
approve_waits(struct work *work, const uint8_t spki_sha256[32])
{
	struct store_pending *p = &work->pending;
	char until[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	err = store_pending(work->on->store, work->path_id, &work->arena, p);
	if (err || memcmp(p->edge.spki_sha256, spki_sha256, 32) != 0 || p->state == PENDING_OPENED) {
		writ_err_free(err);
		return NULL;
	}
	writ_time_rfc3339(p->expires, until);
	if (p->state == PENDING_REFUSED)
		return writ_fail(WRIT_CONFLICT, "task %.*s was refused by one who was to approve it",
				 WRIT_FMT(p->task.id));
	if (p->expires < work->now.wall)
		return writ_fail(WRIT_CONFLICT, "task %.*s waited for approvals until %s", WRIT_FMT(p->task.id), until);
	return writ_fail(WRIT_UNAVAILABLE, "task %.*s waits for approvals, %zu of %u given, until %s: ask again later",
			 WRIT_FMT(p->task.id), p->n_given, p->needed, until);
}

/* ---- listed ---- */

struct listing {
	struct work *work;
	struct out out;
	size_t n;
	bool more;
};

static struct writ_err *
list_one(const struct store_pending *p, void *ctx)
{
	struct listing *l = ctx;

	if (l->more || !may_see(l->work, p))
		return NULL;
	l->more = l->n == LIST_MAX;
	if (l->more)
		return NULL;
	out_pending(&l->out, p);
	l->n++;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
list_open(struct listing *l)
{
	struct work *work = l->work;
	struct store_task *tasks;
	struct writ_err *err;
	size_t n;

	err = store_tasks_of(work->on->store, work->who->principal, work->now.wall, LIST_MAX + 1, &work->arena, &tasks,
			     &n);
	if (err)
		return err;
	l->more = n > LIST_MAX;
	for (size_t i = 0; i < n && i < LIST_MAX; i++)
		out_open_task(&l->out, &tasks[i]);
	return NULL;
}

struct writ_err *
approve_list(struct work *work)
{
	struct listing l = { .work = work, .out = out_to(&work->answer) };
	struct writ_err *err, *failed;
	bool pending;

	err = request_tasks_query(work->request->query, &pending);
	if (err)
		return err;
	out_open(&l.out, NULL, '{');
	out_open(&l.out, "tasks", '[');
	err = pending ? store_pendings(work->on->store, work->now.wall, list_one, &l) : list_open(&l);
	out_close(&l.out, ']');
	out_bool(&l.out, "more", l.more);
	out_close(&l.out, '}');
	failed = out_done(&l.out);
	if (!err)
		err = TAKE(failed);
	writ_err_free(failed);
	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}
