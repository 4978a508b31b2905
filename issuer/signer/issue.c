/*
 * LEAF: gate, serial, journal entry; after the group's fdatasync the log reference and the signature.
 *
 * A job is one leaf from its gate to its answer.  Those of a wake-up form a group: none is signed before all are
 * durable (I2).  In the resident tier they then queue for the device, SIGNER_DEVICE_AHEAD at a time in its hands.
 *
 * (1) A leaf whose entry is durable and that cannot be signed is aborted at once, by the signer itself: no serial stays
 *     good without a certificate.
 */
#include <poll.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/signer.h"

/* Its own deadline ends a writ-deviced whose device hangs; this is for one that hangs itself. */
#define DEVICE_SILENT_MS (DEVICE_TIMEOUT_MS + 1000)

struct job {
	bool used;
	struct conn *conn; /* NULL: it has gone; the issuer will abort what it never saw */
	uint64_t id;
	uint8_t serial[LEAF_SERIAL];
	uint64_t index;
	uint8_t leaf_hash[32];
	bool in_device;
	struct leaf leaf; /* views into `tbs`; its lists are gone after the gate */
	size_t tbs_len;
	uint8_t tbs[LEAF_MAX];
};

static struct job *
job_take(struct signer *s)
{
	if (!s->jobs)
		s->jobs = calloc(SIGNER_QUEUE_MAX, sizeof(*s->jobs));
	for (size_t i = 0; s->jobs && i < SIGNER_QUEUE_MAX; i++)
		if (!s->jobs[i].used)
			return &s->jobs[i];
	return NULL;
}

bool
issue_room(const struct signer *s)
{
	return s->n_group + s->n_waiting < SIGNER_QUEUE_MAX;
}

struct writ_err *
issue_blocked(struct signer *s)
{
	const struct generation *g = s->keys.gen[0];

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
	if (g->cert.not_after <= s->now.wall)
		return writ_fail(WRIT_UNAVAILABLE,
				 "the issuing certificate has expired, and the device did not certify a new one");
	if (!g->soft.pkey && !device_ready(s))
		return device_away(s);
	return NULL;
}

/* Resident tier: the queue for the device is bounded by how long it takes, and by SIGNER_QUEUE_MAX. */
static struct writ_err *
queue_check(const struct signer *s)
{
	const int64_t n = (int64_t)(s->n_group + s->n_waiting);
	const int64_t wait_ms = n * s->link.signature_us / 1000;

	if (s->keys.gen[0]->soft.pkey || n < SIGNER_DEVICE_AHEAD || wait_ms <= SIGNER_DEVICE_WAIT_MS)
		return NULL;
	return writ_fail(WRIT_UNAVAILABLE,
			 "%lld leaves wait for the device already, which takes %lld ms for them: over %d ms, try again",
			 (long long)n, (long long)wait_ms, SIGNER_DEVICE_WAIT_MS);
}

/* From the bytes to a journalled entry: everything that can be refused is refused here. */
static struct writ_err *
job_fill(struct signer *s, struct job *job, const struct signer_leaf *asked)
{
	static const uint8_t no_hash[32];
	struct entry entry;
	struct writ_err *err;

	memcpy(job->tbs, asked->tbs.data, asked->tbs.len);
	job->tbs_len = asked->tbs.len;
	writ_arena_clear(&s->arena);
	err = gate_check((struct writ_bytes){ job->tbs, job->tbs_len }, &s->gate, s->now.wall, &s->arena, &job->leaf);
	if (err)
		return err;
	FAULT("signer:gate");
	err = serial_draw(s->ledger, s->now.wall, writ_random, job->serial);
	if (err)
		s->broken = true;
	if (err)
		return err;
	leaf_fill(job->tbs, &job->leaf, job->serial, 0, no_hash);
	err = entry_issue(s, &job->leaf, job->serial, (struct writ_bytes){ job->tbs, job->tbs_len }, asked->said,
			  &entry);
	if (err)
		return writ_recode(err, WRIT_UNAVAILABLE, "the journal");
	job->index = entry.index;
	memcpy(job->leaf_hash, entry.leaf_hash, sizeof(job->leaf_hash));
	err = ledger_issue(s->ledger, job->serial, job->leaf.authority_key_id.data, job->leaf.not_after);
	if (err) /* an entry without a row is never good (I9); what else is wrong, a restart must tell */
		s->broken = true;
	return err;
}

struct writ_err *
issue_leaf(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	struct signer_leaf asked;
	struct writ_err *err;
	struct job *job;

	err = signer_leaf_read(body, &asked);
	if (err)
		return err;
	err = issue_blocked(s);
	if (!err)
		err = queue_check(s);
	if (err)
		return err;
	err = canon_check(asked.said, SIGNER_SAID_MAX);
	if (err)
		return writ_recode(err, WRIT_INVALID, "LEAF: said");
	job = job_take(s);
	if (!job)
		return writ_fail(WRIT_UNAVAILABLE, "%d leaves wait for the device already: try again",
				 SIGNER_QUEUE_MAX);
	err = job_fill(s, job, &asked);
	if (err && s->broken)
		event(EVENT_ALARM, "signer.issuing-stopped", EV_ERR(err));
	if (err && err->code == WRIT_INVALID)
		refusal_note(s, "leaf", err, asked.tbs, asked.said);
	if (err)
		return err;
	job->used = true;
	job->conn = conn;
	job->id = id;
	job->in_device = false;
	s->group[s->n_group++] = job;
	return NULL;
}

/* ---- after the fdatasync ---- */

static void
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
		conn_answer(s, job->conn, job->id, SIGNER_LEAF, writ_view(&body), -1);
	writ_err_free(err);
	job->used = false;
}

/* (1) */
static void
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
	if (err)
		event(EVENT_ALARM, "signer.abort-not-logged",
		      EV_HEX("serial", ((struct writ_bytes){ job->serial, 16 })), EV_ERR(err));
	writ_err_free(err);
	event(EVENT_WARN, "signer.not-signed", EV_NUM("entry", job->index), EV_ERR(why));
	conn_refuse(s, job->conn, job->id, why);
	writ_err_free(why);
	job->used = false;
}

/* Hands waiting leaves to the device, as many as it may have at once. */
static void
device_feed(struct signer *s)
{
	for (size_t i = 0; i < s->n_waiting && s->link.device && s->link.outstanding < SIGNER_DEVICE_AHEAD; i++) {
		struct job *job = s->waiting[i];
		const struct generation *g = keys_find(s, job->leaf.authority_key_id.data);
		struct writ_err *err;

		if (job->in_device || !g)
			continue;
		err = device_sign_start(s->link.device, (uint64_t)(job - s->jobs), g->handle,
					(struct writ_bytes){ job->tbs, job->tbs_len });
		if (err) {
			device_lost(s, err);
			return;
		}
		job->in_device = true;
		if (s->link.outstanding++ == 0)
			s->link.heard_ms = s->now.mono_ms;
	}
}

void
issue_sign(struct signer *s)
{
	if (s->n_group > 0)
		FAULT("signer:journalled");
	for (size_t i = 0; i < s->n_group; i++) {
		struct job *job = s->group[i];
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
			s->waiting[s->n_waiting++] = job;
			continue;
		}
		err = soft_key_sign(&g->soft, (struct writ_bytes){ job->tbs, job->tbs_len }, signature, &len);
		if (err)
			job_failed(s, job, err);
		else
			job_signed(s, job, (struct writ_bytes){ signature, len });
	}
	s->n_group = 0;
	device_feed(s);
}

static void
waiting_remove(struct signer *s, const struct job *job)
{
	size_t i = 0;

	while (i < s->n_waiting && s->waiting[i] != job)
		i++;
	if (i == s->n_waiting)
		return;
	s->n_waiting--;
	memmove(s->waiting + i, s->waiting + i + 1, (s->n_waiting - i) * sizeof(s->waiting[0]));
}

/* Device signatures are verified always (DESIGN.md, one issuance): a wrong one is a device that must not go on. */
static void
device_answered(struct signer *s, uint64_t id, struct writ_bytes signature, struct writ_err *failed)
{
	struct job *job = id < SIGNER_QUEUE_MAX ? &s->jobs[id] : NULL;
	const struct generation *g = job ? keys_find(s, job->leaf.authority_key_id.data) : NULL;

	if (!job || !job->used || !job->in_device) {
		writ_err_free(failed);
		return;
	}
	waiting_remove(s, job);
	if (!failed && g)
		failed = pubkey_verify(&g->public, (struct writ_bytes){ job->tbs, job->tbs_len }, signature);
	if (!failed && g)
		job_signed(s, job, signature);
	else
		job_failed(s, job, failed ? failed : writ_fail(WRIT_UNAVAILABLE, "the issuing key has gone meanwhile"));
}

/* Measures from one to the next while there is always one to make. */
static void
signature_came(struct signer *s, int64_t now_ms)
{
	struct device_link *link = &s->link;

	link->outstanding--;
	link->signature_us += ((now_ms - link->heard_ms) * 1000 - link->signature_us) / 8;
	link->heard_ms = now_ms;
}

void
issue_collect(struct signer *s)
{
	while (s->link.device) {
		AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
		struct writ_err *err, *failed = NULL;
		uint64_t id = 0;
		bool any = false;

		err = device_sign_next(s->link.device, &any, &id, &signature, &failed);
		if (err)
			device_lost(s, err);
		if (err || !any)
			break;
		signature_came(s, s->now.mono_ms);
		device_answered(s, id, writ_view(&signature), failed);
	}
	if (s->link.device && s->link.outstanding > 0 && s->now.mono_ms - s->link.heard_ms > DEVICE_SILENT_MS)
		device_lost(s, writ_fail(WRIT_UNAVAILABLE, "no signature of the device within %d ms", DEVICE_SILENT_MS));
	if (s->link.device) {
		device_feed(s);
		return;
	}
	while (s->n_waiting > 0)
		job_failed(s, s->waiting[--s->n_waiting],
device_away(s));
}

/* No new ones are handed over meanwhile; at the device's deadline it is given up. */
void
issue_drain(struct signer *s)
{
	while (s->link.device && s->link.outstanding > 0) {
		struct pollfd readable = { .fd = device_fd(s->link.device), .events = POLLIN };
		AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
		struct writ_err *err = NULL, *failed = NULL;
		uint64_t id = 0;
		bool any = false;

		if (poll(&readable, 1, DEVICE_TIMEOUT_MS) <= 0)
			err = writ_fail(WRIT_UNAVAILABLE, "no signature within %d ms", DEVICE_TIMEOUT_MS);
		else
			err = device_sign_next(s->link.device, &any, &id, &signature, &failed);
		if (err) {
			device_lost(s, err);
		} else if (any) {
			signature_came(s, clock_read().mono_ms);
			device_answered(s, id, writ_view(&signature), failed);
		}
	}
}

void
issue_forget(struct signer *s, const struct conn *conn)
{
	for (size_t i = 0; s->jobs && i < SIGNER_QUEUE_MAX; i++)
		if (s->jobs[i].conn == conn)
			s->jobs[i].conn = NULL;
}
