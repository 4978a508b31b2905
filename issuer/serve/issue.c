/*
 * The life of one issuance.  Read this first.
 *
 * A `struct work` (work.h) moves from stage to stage; each stage is a function here, and each may find many others at
 * the same stage: they leave as a group at the end of the loop's wake-up, so no thread ever waits for one request.
 *
 * asked: issue_leaf() or issue_renewal().  Who asks is known already (api.c); the edge comes from our store, and
 * every edge above it is live (L4); an idempotency key that was answered returns its answer.
 *
 * decided: issue_decided().  Policy and attenuation in time (L1, L2, L5, I5), all cheap and pure; only then the proof
 * of possession.  The leaf's TBS is built from the template, read back, and compared with what was decided.  To the
 * signer: the TBS, and what we say about it.
 *
 * signed: issue_signed().  The signer has checked it, given it a serial, written it into the journal, durably (I2),
 * and signed it.  From here on it either gets a row or an abort.  A first OCSP response is fetched here when asked for:
 * it leaves with the answer only.
 *
 * stored: issue_stored().  The writer has re-checked edges and the parent's newest leaf in the same transaction that
 * inserted the row, and the status table says good.  On a conflict the writer has aborted it: journal, row, status.
 *
 * answered: work_answer().  Nothing left before the journal entry and the row were durable (I3).
 */
#include "issuer/serve/issue.h"

#include "base/der.h"
#include "base/digest.h"
#include "base/event.h"
#include "base/fault.h"
#include "base/text.h"
#include "issuer/log/json.h"
#include "issuer/serve/approve.h"
#include "issuer/serve/shares.h"
#include "issuer/serve/work.h"
#include "issuer/x509/oid.h"

WRIT_CHECKED static struct writ_err *issue_decided(struct work *);
static void issue_signed(struct link_call *, struct writ_err *, struct writ_bytes);
static void issue_stapled(struct link_call *, struct writ_err *, struct writ_bytes);
static void issue_store(struct work *);
static void issue_stored(struct job *);

/* ---- asked ---- */

WRIT_CHECKED static struct writ_err *
leaf_request_read(struct work *work)
{
	const struct http_request *r = work->request;

	work->asked = (struct request_leaf){ 0 };
	if (writ_equal(r->content_type, WRIT_LIT("application/pkcs10"))) {
		work->asked.csr = r->body;
		return request_lifetime_query(r->query, &work->asked.lifetime_s);
	}
	if (r->has_query)
		return writ_fail(WRIT_INVALID, "a query goes with application/pkcs10 only");
	return request_leaf(r->body, &work->arena, &work->asked);
}

/* L4 and R2: what has been taken back stays taken back. */
static bool
dead(struct work *work, struct writ_err **ret)
{
	const struct lineage *l = &work->lineage;
	char edge[2 * EDGE_ID_LEN + 1];
	bool blocked;

	if (work->held)
		return false;
	if (l->task.state != TASK_OPEN) {
		work_deny(work, "L4", l->task.id,
			  l->task.state == TASK_COMPLETE  ? "the task is complete"
			  : l->task.state == TASK_EXPIRED ? "the task's end has come"
							  : "the task was revoked",
			  "a new task is needed");
		return true;
	}
	if (!l->live) {
		work_deny(work, "L4", writ_str(writ_hex((struct writ_bytes){ l->dead, EDGE_ID_LEN }, edge)),
			  "this delegation was revoked", "a new delegation, of a new key, is needed");
		return true;
	}
	*ret = store_key_blocked(work->on->store, l->edge.spki_sha256, &blocked);
	if (!*ret && !blocked)
		known_keep(work->on->serve->known, work->revision, l);
	if (*ret || !blocked)
		return false;
	work_deny(work, "R2", WRIT_LIT("the key"), "it was revoked for keyCompromise", "make a new key");
	return true;
}

struct writ_err *
issue_leaf(struct work *work)
{
	struct writ_err *err;

	err = leaf_request_read(work);
	return err ? err : issue_item(work);
}

/* What is known is live, and so is all of it but its parent's newest leaf. */
WRIT_CHECKED static struct writ_err *
known_newest(struct work *work)
{
	struct lineage *l = &work->lineage;

	return l->has_parent ? store_newest_leaf(work->on->store, l->edge.parent, work->now.wall, &l->parent_newest)
			     : NULL;
}

WRIT_CHECKED static struct writ_err *
lineage_of_key(struct work *work)
{
	struct serve *serve = work->on->serve;

	work->revision = writer_revision(serve->writer, work->path_id);
	if (known_by_key(serve->known, work->revision, work->path_id, work->csr.spki_sha256, &work->lineage,
			 &work->held))
		return known_newest(work);
	return lineage_by_key(work->on->store, work->path_id, work->csr.spki_sha256, work->now.wall, &work->arena,
			      &work->lineage);
}

WRIT_CHECKED static struct writ_err *
lineage_of_leaf(struct work *work)
{
	struct serve *serve = work->on->serve;

	work->revision = writer_revision(serve->writer, work->who->task);
	if (known_by_edge(serve->known, work->revision, work->who->edge, &work->lineage, &work->held))
		return known_newest(work);
	return lineage_by_edge(work->on->store, work->who->edge, work->now.wall, &work->arena, &work->lineage);
}

struct writ_err *
issue_item(struct work *work)
{
	char key[2 * 32 + 1];
	struct writ_err *err = csr_parse(work->asked.csr, &work->csr);

	if (err)
		return err;
	err = lineage_of_key(work);
	if (err && err->code == WRIT_NOT_FOUND) {
		struct writ_err *waits = approve_waits(work, work->csr.spki_sha256);

		if (waits) {
			writ_err_free(err);
			return waits;
		}
	}
	/* Before an idempotency key answers: after a revocation no leaf leaves, an old one neither (R1). */
	if (err || dead(work, &err) || err)
		return err;
	/* Without a certificate the key stands for its holder; the proof that it does comes below. */
	if (work_once(work, writ_str(writ_hex((struct writ_bytes){ work->csr.spki_sha256, 32 }, key))))
		return NULL;
	return issue_decided(work);
}

struct writ_err *
issue_renewal(struct work *work)
{
	const struct store_edge *edge = &work->lineage.edge;
	struct writ_err *err;

	if (work->request->has_query)
		return writ_fail(WRIT_INVALID, "a renewal takes no query");
	err = request_renew(work->request->body, &work->arena, &work->asked);
	if (err)
		return err;
	work->renewal = true;
	/* Task, scope, hops, SAN and key are the edge's, so they are the same as before by construction
	 * (delegation.md 1.4). */
	err = lineage_of_leaf(work);
	if (err)
		return err;
	if (!writ_equal(edge->agent, work->who->principal) || !writ_equal(edge->task, work->who->task) ||
	    memcmp(edge->spki_sha256, work->who->spki_sha256, 32) != 0)
		return writ_fail(WRIT_BROKEN, "the leaf and the edge it names disagree");
	if (dead(work, &err) || err)
		return err;
	if (work_once(work, work->who->principal))
		return NULL;
	return issue_decided(work);
}

/* ---- decided ---- */

static struct edge_full *
full_slot(struct work *work)
{
	return &work->on->full[work->lineage.edge.id[0] % EDGES_FULL];
}

/* The store counts live leaves when it inserts; until some may have ended it is not asked again. */
WRIT_CHECKED static struct writ_err *
full_check(struct work *work)
{
	const struct edge_full *full = full_slot(work);

	if (full->until_ms <= work->now.mono_ms || memcmp(full->edge, work->lineage.edge.id, EDGE_ID_LEN) != 0)
		return NULL;
	return writ_fail(WRIT_EXHAUSTED,
			 "this delegation has %u live leaves, as many as it may have: wait until one ends",
			 work->rules->conf.limits.leaves_per_edge);
}

static void
full_note(struct work *work)
{
	struct edge_full *full = full_slot(work);

	memcpy(full->edge, work->lineage.edge.id, EDGE_ID_LEN);
	full->until_ms = loop_now(work->on->loop).mono_ms + EDGE_FULL_MS;
}

static void
decide(struct work *work)
{
	const struct lineage *l = &work->lineage;
	const struct policy_parent parent = {
		.grant = &l->parent_grant,
		.depth_remaining = l->parent.depth_remaining,
		.hop_not_after = l->parent.not_after,
		.newest_leaf = l->parent_newest,
	};
	const struct policy_facts facts = {
		.act = work->renewal ? ACT_RENEW : ACT_ISSUE,
		.delegator = l->edge.delegator,
		.delegator_kind = l->delegator_kind,
		.agent = l->edge.agent,
		.grant = &l->grant,
		.depth = l->edge.depth_remaining,
		.edge_not_after = l->edge.not_after,
		.task_ends = l->task.ends,
		.lifetime_s = work->asked.lifetime_s,
		.parent = l->has_parent ? &parent : NULL,
		.issuing_ca_not_after = work->issuing->not_after,
		.parent_liveness = l->has_parent,
		.chance = (uint16_t)(work->id[0] << 8 | work->id[1]),
	};

	policy_decide(work->rules->policy, &facts, work->now.wall, &work->verdict);
}

/* DER ContextRef, as delegate.c wrote it. */
WRIT_CHECKED static struct writ_err *
context_read(struct writ_bytes der, struct delegation *d)
{
	struct der in = der_read(der), seq;

	if (der.len == 0)
		return NULL;
	if (!der_take(&in, DER_SEQUENCE, &seq) || !der_take_bytes(&seq, DER_IA5, &d->context_type) ||
	    !der_take_bytes(&seq, DER_OCTET_STRING, &d->context_digest) || !der_at_end(&seq) || !der_at_end(&in))
		return writ_fail(WRIT_BROKEN, "the context of an edge in our store cannot be read");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
build(struct work *work)
{
	const struct lineage *l = &work->lineage;
	struct delegation d = {
		.task_id = l->task.id,
		.parent_task = l->task.parent,
		.grant = l->grant,
		.hops_der = l->edge.hops,
		.policy_id = policy_id(work->rules->policy),
		.policy_digest = { policy_digest(work->rules->policy), SHA256_LEN },
	};
	struct leaf_facts facts = {
		.spki = work->renewal ? work->who->spki : work->csr.spki,
		.task_id = l->task.id,
		.san = l->edge.agent,
		.not_before = work->verdict.not_before,
		.not_after = work->verdict.not_after,
		.no_rev_avail = work->verdict.no_rev_avail,
	};
	struct writ_err *err;

	if (policy_embed_purpose(work->rules->policy))
		d.purpose = l->task.purpose;
	err = context_read(l->edge.context, &d);
	if (!err)
		err = delegation_write(&d, &work->delegation);
	if (err)
		return err;
	facts.delegation = writ_view(&work->delegation);
	return leaf_build(&work->issuing->leaf, &facts, &work->tbs);
}

/* What will be signed is what was decided: the bytes are read by the same strict reader that the signer and relying
 * parties use. */
WRIT_CHECKED static struct writ_err *
readback(struct work *work)
{
	const struct lineage *l = &work->lineage;
	const struct leaf_issuer *issuer = &work->issuing->leaf;
	AUTO(writ_buf_done) struct writ_buf grant = WRIT_BUF(HOP_GRANT_MAX);
	struct leaf *leaf = &work->leaf;
	const char *differs = NULL;
	struct writ_err *err;

	err = leaf_read_tbs(writ_view(&work->tbs), &work->arena, leaf);
	if (!err)
		err = hop_grant_write(&leaf->delegation.grant, &grant);
	if (err)
		return writ_recode(err, WRIT_BROKEN, "the certificate built is not a leaf");

	if (leaf->not_before != work->verdict.not_before || leaf->not_after != work->verdict.not_after)
		differs = "validity";
	else if (leaf->no_rev_avail != work->verdict.no_rev_avail)
		differs = "status";
	else if (memcmp(leaf->spki_sha256, l->edge.spki_sha256, 32) != 0)
		differs = "key";
	else if (!writ_equal(leaf->san, l->edge.agent))
		differs = "subject alternative name";
	else if (!writ_equal(leaf->task_id, l->task.id) || !writ_equal(leaf->delegation.task_id, l->task.id))
		differs = "task";
	else if (!writ_equal(writ_view(&grant), l->edge.grant))
		differs = "scope";
	else if (!writ_equal(leaf->delegation.hops_der, l->edge.hops))
		differs = "hops";
	else if (!writ_equal(leaf->issuer, issuer->name) || !writ_equal(leaf->authority_key_id, issuer->key_id) ||
		 leaf->tier != issuer->tier)
		differs = "issuer";
	else if (!writ_equal(leaf->delegation.policy_digest,
			     (struct writ_bytes){ policy_digest(work->rules->policy), SHA256_LEN }))
		differs = "policy";
	if (differs)
		return writ_fail(WRIT_BROKEN, "the certificate built is not what was decided: its %s differs", differs);
	return delegation_check_validity(&leaf->delegation, leaf->not_after);
}

/* What the journal's entry says on our word, beside what the signer sees for itself: ids and digests, no texts. */
WRIT_CHECKED static struct writ_err *
say(struct work *work, struct writ_buf *said)
{
	const struct delegation *d = &work->leaf.delegation;
	uint8_t grant[SHA256_LEN];
	struct canon_out out;

	writ_sha256(work->lineage.edge.grant, grant);
	out = canon_write(said);
	canon_object(&out, NULL);
	canon_text(&out, "delegator", work->lineage.edge.delegator);
	canon_array(&out, "edges");
	for (size_t i = 0; i < d->n_hops; i++)
		canon_hex(&out, NULL, d->hops[i].id);
	canon_end(&out);
	canon_hex(&out, "grant", (struct writ_bytes){ grant, sizeof(grant) });
	canon_hex(&out, "policy", (struct writ_bytes){ policy_digest(work->rules->policy), SHA256_LEN });
	if (work->renewal)
		canon_hex(&out, "renews", (struct writ_bytes){ work->who->serial, SERIAL_LEN });
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "rule", work->verdict.by);
	canon_end(&out);
	return canon_finish(&out);
}

static void
flight_begin(struct work *work)
{
	struct serve_loop *on = work->on;

	work->flying = true;
	work->flight = on->next_flight++;
	work->flight_next = NULL;
	work->flight_prev = on->flying_last;
	*(on->flying_last ? &on->flying_last->flight_next : &on->flying) = work;
	on->flying_last = work;
	atomic_store(&on->begun, on->next_flight);
}

/* Its row is durable, or there is nothing that needs one. */
static void
flight_end(struct work *work)
{
	struct serve_loop *on = work->on;

	if (!work->flying)
		return;
	work->flying = false;
	*(work->flight_prev ? &work->flight_prev->flight_next : &on->flying) = work->flight_next;
	*(work->flight_next ? &work->flight_next->flight_prev : &on->flying_last) = work->flight_prev;
	atomic_store(&on->settled, on->flying ? on->flying->flight : on->next_flight);
}

WRIT_CHECKED static struct writ_err *
signer_ask(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	struct signer_leaf message = { .tbs = writ_view(&work->tbs) };
	struct writ_err *err;

	err = say(work, &said);
	if (err)
		return err;
	message.said = writ_view(&said);
	writ_buf_clear(&work->call.body);
	err = signer_leaf_write(&message, &work->call.body);
	if (err)
		return err;
	work->call.type = SIGNER_LEAF;
	work->call.done = issue_signed;
	flight_begin(work);
	shares_at_signer(work, true);
	link_send(work->on->link, &work->call);
	return NULL;
}

static void
stage_end(struct work *work, enum metric_stage stage)
{
	const int64_t now_ms = loop_now(work->on->loop).mono_ms;

	metrics_stage(&work->on->serve->metrics, stage, now_ms - work->stage_ms);
	work->stage_ms = now_ms;
}

WRIT_CHECKED static struct writ_err *
issue_decided(struct work *work)
{
	struct writ_err *err = NULL;

	if (!work->on->issuing || !link_is_open(work->on->link))
		return writ_fail(WRIT_UNAVAILABLE, "the signer is away: try again");
	work->issuing = issuing_ref(work->on->issuing);
	err = serve_clock_check(work->on, work->now);
	if (err)
		return err;
	err = full_check(work);
	if (err)
		return err;
	decide(work);
	if (work->verdict.kind != VERDICT_ALLOW) {
		work_refuse(work, &work->verdict);
		return NULL;
	}
	err = work->renewal ? NULL : csr_verify(&work->csr); /* a renewal's proof is its handshake */
	if (!err)
		err = shares_proven(work);
	if (!err)
		err = build(work);
	if (!err)
		err = readback(work);
	if (err)
		return err;
	FAULT("issue:decided");
	stage_end(work, STAGE_DECIDE);
	return signer_ask(work);
}

/* ---- signed ---- */

/* The signer's serial, log reference and signature make the certificate. */
WRIT_CHECKED static struct writ_err *
assemble(struct work *work, const struct signer_signed *s)
{
	const struct leaf_issuer *issuer = &work->issuing->leaf;
	struct writ_err *err;

	work->cert = (struct store_cert){
		.log_index = s->index,
		.not_before = work->verdict.not_before,
		.not_after = work->verdict.not_after,
		.state = CERT_GOOD,
	};
	memcpy(work->cert.serial, s->serial, SERIAL_LEN);
	memcpy(work->cert.edge, work->lineage.edge.id, EDGE_ID_LEN);
	memcpy(work->cert.issuer_key_id, issuer->key_id.data, sizeof(work->cert.issuer_key_id));

	leaf_fill(work->tbs.data, &work->leaf, s->serial, s->index, s->leaf_hash);
	err = x509_assemble(writ_view(&work->tbs), issuer->kind, s->signature, &work->der);
	work->cert.der = writ_view(&work->der);
	writ_sha256(work->cert.der, work->cert.sha256);
	return err;
}

/*
 * CertID with SHA-1: who is shown a stapled response makes the CertID it looks for with SHA-1, whatever the responder would
 * like (libcurl, Java).  The hash tells certificates apart and proves nothing: the signature is over all of it.
 */
WRIT_CHECKED static struct writ_err *
cert_id_write(const struct ocsp_issuer *issuer, const uint8_t serial[SERIAL_LEN], struct writ_buf *ret)
{
	struct der_out out = der_write(ret);

	der_open(&out, DER_SEQUENCE);
	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, OID_SHA1);
	der_put_null(&out);
	der_close(&out);
	der_put(&out, DER_OCTET_STRING, (struct writ_bytes){ issuer->name_sha1, SHA1_LEN });
	der_put(&out, DER_OCTET_STRING, (struct writ_bytes){ issuer->key_sha1, SHA1_LEN });
	der_put_integer_bytes(&out, DER_INTEGER, (struct writ_bytes){ serial, SERIAL_LEN });
	der_close(&out);
	return der_finish(&out, "CertID");
}

WRIT_CHECKED static struct writ_err *
staple_ask(struct work *work)
{
	AUTO(writ_buf_done) struct writ_buf cert_id = WRIT_BUF(OCSP_CERT_ID_MAX);
	struct signer_ocsp message = { 0 };
	struct writ_err *err;

	err = cert_id_write(&work->issuing->ocsp, work->cert.serial, &cert_id);
	if (err)
		return err;
	message.cert_id = writ_view(&cert_id);
	writ_buf_clear(&work->call.body);
	err = signer_ocsp_write(&message, &work->call.body);
	if (err)
		return err;
	work->call.type = SIGNER_OCSP;
	work->call.done = issue_stapled;
	link_send(work->on->link, &work->call);
	return NULL;
}

static void
issue_signed(struct link_call *call, struct writ_err *failed, struct writ_bytes body)
{
	struct work *work = work_of_call(call);
	struct signer_signed s;
	struct writ_err *err = failed;

	shares_at_signer(work, false);
	if (!err) {
		err = signer_signed_read(body, &s);
		if (err) /* an entry that we cannot name: recovery finds and aborts it */
			serve_signer_lost(work->on->serve,
					  writ_fail(WRIT_BROKEN, "the signer's answer cannot be read"));
	}
	if (err) {
		flight_end(work);
		if (err->code == WRIT_INVALID)
			err = writ_recode(err, WRIT_BROKEN, "the signer refused what was decided");
		work_fail(work, err);
		return;
	}
	FAULT("issue:signed");
	stage_end(work, STAGE_SIGN);
	work->job.refused = assemble(work, &s);

	if (work->asked.ocsp && !work->verdict.no_rev_avail && !work->job.refused && link_is_open(work->on->link)) {
		err = staple_ask(work);
		if (!err)
			return;
		writ_err_free(err);
	}
	issue_store(work);
}

/* The leaf is good without a response: a failure here is told to the operator, not to the agent. */
static void
issue_stapled(struct link_call *call, struct writ_err *failed, struct writ_bytes body)
{
	struct work *work = work_of_call(call);
	struct writ_err *err = failed;
	struct signer_status status;

	if (!err)
		err = signer_status_read(body, &status);
	if (!err)
		err = writ_buf_add(&work->staple, status.response);
	if (err)
		event(EVENT_WARN, "issue.no_ocsp",
		      EV_HEX("serial", ((struct writ_bytes){ work->cert.serial, SERIAL_LEN })), EV_ERR(err));
	writ_err_free(err);
	issue_store(work);
}

/* ---- stored ---- */

static void
issue_store(struct work *work)
{
	const struct answer_leaf leaf = {
		.certificate = writ_view(&work->der),
		.chain = work->issuing->chain,
		.serial = work->cert.serial,
		.edge = &work->lineage.edge,
		.not_before = work->cert.not_before,
		.not_after = work->cert.not_after,
		.renew_at = work->verdict.renew_at,
		.log_id = work->issuing->leaf.log_id,
		.log_index = work->cert.log_index,
		.ocsp = writ_view(&work->staple),
		.no_rev_avail = work->verdict.no_rev_avail,
	};

	/* The answer first: it is kept in the same transaction, so that a retry gets the same certificate. */
	if (!work->job.refused)
		work->job.refused = answer_issued(&leaf, &work->answer);
	work_keep_answer(work);
	work->job.item.cert = &work->cert;
	work->job.item.leaves_max = work->rules->conf.limits.leaves_per_edge;
	work_store(work, STORE_ISSUE, issue_stored);
}

static void
issue_stored(struct job *job)
{
	struct work *work = work_of_job(job);
	struct metrics *metrics = &work->on->serve->metrics;
	struct writ_err *err = TAKE(job->item.result);

	flight_end(work);
	if (err) { /* the writer has aborted it */
		if (err->code == WRIT_EXHAUSTED)
			full_note(work);
		work_fail(work, err);
		return;
	}
	FAULT("issue:before-answer");
	stage_end(work, STAGE_STORE);
	metrics_stage(metrics, STAGE_ALL, work->stage_ms - work->now.mono_ms);
	metrics_add(metrics, work->renewal ? METRIC_RENEWED : METRIC_ISSUED, 1);
	work_answer(work, WORK_ANSWER_STATUS, writ_view(&work->answer));
}
