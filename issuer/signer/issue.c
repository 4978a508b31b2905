/*
 * LEAF: gate, serial, journal entry; after the group's fdatasync the log reference and the signature.
 *
 * A job is one leaf until its answer.  Those that one fdatasync makes durable form a group: none is signed before (I2).  In the resident tier a leaf waits for the device first (resident.c), and is journalled when its turn
 * comes.
 *
 * (1) A leaf whose entry is durable and that cannot be signed is aborted at once, by the signer itself: no serial stays
 *     good without a certificate.
 */
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/job.h"

struct job *
job_take(struct signer *s, struct conn *conn, uint64_t id, const struct signer_leaf *asked)
{
	struct job *job = NULL;

	if (!s->jobs)
		s->jobs = calloc(SIGNER_QUEUE_MAX, sizeof(*s->jobs));
	for (size_t i = 0; s->jobs && i < SIGNER_QUEUE_MAX && !job; i++)
		if (s->jobs[i].state == JOB_FREE)
			job = &s->jobs[i];
	if (!job)
		return NULL;
	job->conn = conn;
	job->id = id;
	job->tbs_len = asked->tbs.len;
	memcpy(job->tbs, asked->tbs.data, asked->tbs.len);
	job->said_len = asked->said.len;
	memcpy(job->said, asked->said.data, asked->said.len);
	return job;
}

bool
issue_room(const struct signer *s)
{
	return s->n_group < SIGNER_QUEUE_MAX;
}

struct writ_err *
issue_blocked(struct signer *s)
{
	const struct generation *g = s->keys.current;

	if (!g)
		return writ_fail(WRIT_UNAVAILABLE, "the signer has just started, and waits for its device: %s",
				 s->link.state.why[0] ? s->link.state.why : "it has not answered yet");
	if (s->broken)
		return writ_fail(
			WRIT_LOCKED,
			"issuing stopped: the random number generator repeated itself, or memory ran out: restart");
	if (!s->clock_ok)
		return writ_fail(WRIT_LOCKED, "clock stepped by %lld s: issuing waits until it is right again",
				 (long long)s->guard.step_s);
	if (!journal_can_issue(s->journal))
		return writ_fail(WRIT_UNAVAILABLE,
				 "the disk is full: the journal takes revocations only, until there is space");
	if (g->revoked)
		return writ_fail(WRIT_UNAVAILABLE,
				 "generation %llu is revoked, and the device has not certified a new one yet",
				 (unsigned long long)g->number);
	if (g->signs_until < s->now.wall)
		return writ_fail(WRIT_UNAVAILABLE,
				 "generation %llu ended signing %lld s ago, and the device did not certify a new one",
				 (unsigned long long)g->number, (long long)(s->now.wall - g->signs_until));
	if (!g->soft.pkey && !device_ready(s))
		return device_away(s);
	return g->soft.pkey ? NULL : device_key_check(s, g);
}

#define SERIAL_RANDOM 12 /* bytes that serial_draw() asks for */

/*
 * Random bytes of 64 serials at once: a call of the generator costs 4 us, for 12 bytes or for 768.  What has been given
 * out stands in certificates; what has not is nobody's yet, and dies with the process.
 */
static void
serial_random(uint8_t *out, size_t len)
{
	static uint8_t drawn[64 * SERIAL_RANDOM];
	static size_t left;

	if (left < len) {
		writ_random(drawn, sizeof(drawn));
		left = sizeof(drawn);
	}
	left -= len;
	memcpy(out, drawn + left, len);
}

/* From the bytes to a journalled entry: everything that can be refused is refused here. */
struct writ_err *
job_journal(struct signer *s, struct job *job)
{
	const struct writ_bytes tbs = { job->tbs, job->tbs_len };
	static const uint8_t no_hash[32];
	struct entry entry;
	struct writ_err *err;

	writ_arena_clear(&s->arena);
	err = gate_check(tbs, &s->gate, s->now.wall, &s->arena, &job->leaf, &job->shard);
	if (err)
		return err;
	FAULT("signer:gate");
	err = serial_draw(s->ledger, s->now.wall, serial_random, job->serial);
	if (err)
		s->broken = true;
	if (err)
		return err;
	leaf_fill(job->tbs, &job->leaf, job->serial, 0, no_hash);
	err = entry_issue(s, &job->leaf, job->shard, job->serial, tbs, (struct writ_bytes){ job->said, job->said_len }, &entry);
	if (err)
		return writ_recode(err, WRIT_UNAVAILABLE, "the journal");
	job->index = entry.index;
	memcpy(job->leaf_hash, entry.leaf_hash, sizeof(job->leaf_hash));
	err = ledger_issue(s->ledger, job->serial, job->leaf.authority_key_id.data, job->shard, job->leaf.not_after);
	if (err) { /* an entry without a row is never good (I9); what else is wrong, a restart must tell */
		s->broken = true;
		return err;
	}
	job->state = JOB_JOURNALLED;
	s->group[s->n_group++] = job;
	return NULL;
}

/* Sealed tier: at once. */
static struct writ_err *
sealed_leaf(struct signer *s, struct conn *conn, uint64_t id, const struct signer_leaf *asked)
{
	struct job *job = job_take(s, conn, id, asked);

	if (!job)
		return writ_fail(WRIT_UNAVAILABLE, "%d leaves are under way already: try again", SIGNER_QUEUE_MAX);
	return job_journal(s, job);
}

struct writ_err *
issue_leaf(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	struct signer_leaf asked;
	struct writ_err *err;

	err = signer_leaf_read(body, &asked);
	if (err)
		return err;
	err = issue_blocked(s);
	if (err)
		return err;
	err = canon_check(asked.said, SIGNER_SAID_MAX);
	if (err)
		return writ_recode(err, WRIT_INVALID, "LEAF: said");
	err = s->keys.current->soft.pkey ? sealed_leaf(s, conn, id, &asked) : resident_leaf(s, conn, id, &asked);
	if (err && s->broken)
		event(EVENT_ALARM, "signer.issuing-stopped", EV_ERR(err));
	if (err && err->code == WRIT_INVALID)
		refusal_note(s, "leaf", err, asked.tbs, asked.said);
	return err;
}

/* ---- after the fdatasync ---- */

void
job_signed(struct signer *s, struct job *job, struct writ_bytes signature)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_signed answer = { .index = job->index, .signature = signature };
	struct writ_err *err;

	FAULT("signer:signed");
	s->issued++;
	memcpy(answer.serial, job->serial, sizeof(answer.serial));
	memcpy(answer.leaf_hash, job->leaf_hash, sizeof(answer.leaf_hash));
	err = signer_signed_write(&answer, &body);
	if (err)
		conn_refuse(s, job->conn, job->id, err);
	else
		conn_answer_now(job->conn, job->id, SIGNER_LEAF, writ_view(&body), -1);
	writ_err_free(err);
	job->state = JOB_FREE;
}

/* (1) */
void
job_failed(struct signer *s, struct job *job, struct writ_err *why)
{
	struct owed end = { .type = ENTRY_ABORT, .reason = REASON_UNSPECIFIED, .at = s->now.wall };
	struct writ_err *err;
	bool changed;

	memcpy(end.serial, job->serial, sizeof(end.serial));
	memcpy(end.key, job->leaf.authority_key_id.data, sizeof(end.key));
	err = ledger_end(s->ledger, job->serial, LEDGER_ABORTED, REASON_UNSPECIFIED, s->now.wall, &changed);
	if (!err)
		err = entry_end(s, &end);
	if (err) {
		event(EVENT_ALARM, "signer.abort-not-logged",
		      EV_HEX("serial", ((struct writ_bytes){ job->serial, 16 })), EV_ERR(err));
		s->snapshot.never = true;
	}
	writ_err_free(err);
	event(EVENT_WARN, "signer.not-signed", EV_NUM("entry", job->index), EV_ERR(why));
	conn_refuse(s, job->conn, job->id, why);
	writ_err_free(why);
	job->state = JOB_FREE;
}

void
job_refused(struct signer *s, struct job *job, struct writ_err *why)
{
	conn_refuse(s, job->conn, job->id, why);
	writ_err_free(why);
	job->state = JOB_FREE;
}

void
issue_sign(struct signer *s)
{
	const uint64_t durable = journal_durable(s->journal);
	size_t n = 0;

	if (s->n_group > 0 && s->group[0]->index < durable)
		FAULT("signer:journalled");
	while (n < s->n_group && s->group[n]->index < durable) {
		struct job *job = s->group[n++];
		struct generation *g = keys_find(s, job->leaf.authority_key_id.data);
		uint8_t signature[SOFT_KEY_SIGNATURE_MAX];
		struct writ_err *err;
		size_t len;

		leaf_fill(job->tbs, &job->leaf, job->serial, job->index, job->leaf_hash);
		if (!g) {
			job_failed(s, job,
				   writ_fail(WRIT_UNAVAILABLE, "the issuing key has gone meanwhile: try again"));
			continue;
		}
		if (!g->soft.pkey) {
			resident_sign(s, job);
			continue;
		}
		err = soft_key_sign(&g->soft, (struct writ_bytes){ job->tbs, job->tbs_len }, signature, &len);
		if (err)
			job_failed(s, job, err);
		else
			job_signed(s, job, (struct writ_bytes){ signature, len });
	}
	s->n_group -= n;
	memmove(s->group, s->group + n, s->n_group * sizeof(s->group[0]));
}

/* What waits is dropped; what is journalled goes on, and nobody will hear of it. */
void
issue_forget(struct signer *s, const struct conn *conn)
{
	for (size_t i = 0; s->jobs && i < SIGNER_QUEUE_MAX; i++) {
		struct job *job = &s->jobs[i];

		if (job->state == JOB_FREE || job->conn != conn)
			continue;
		job->conn = NULL;
		if (job->state != JOB_WAITING)
			continue;
		queue_remove(&s->queue, &job->item);
		job->state = JOB_FREE;
		s->device_refused[REFUSED_GONE]++;
	}
}
