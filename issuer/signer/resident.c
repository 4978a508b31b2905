/*
 * The resident tier: leaves that the device signs, a few a second.
 *
 * A leaf waits in s->queue until the device takes it, DEVICE_AHEAD_MS of work at a time, and is journalled then.
 *
 * (1) Of a leaf that waits nothing is written: when it is refused, dropped or lost in a crash no serial is spent and
 *     there is nothing to abort.
 * (2) The gate is asked when the leaf comes, so that no time is spent on what is no leaf, and again when its turn does:
 *     what is journalled is a leaf of ours at that moment.
 * (3) Nobody waits longer than SIGNER_DEVICE_WAIT_MS.  Who would wait for long is told at once, who has is told then,
 *     each with the time that the queue needs to drain, and up to as much again by chance, so that they do not come
 * back together. (4) A signature that the device was asked for and did not make is an abort: it may have been made.
 *
 * A refusal is UNAVAILABLE also when it is a share that is full: a share is what others leave, no limit that anybody
 * was told.
 */
#include <poll.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/conn.h"
#include "issuer/signer/job.h"

/* Its own deadline ends a writ-deviced whose device hangs; this is for one that hangs itself. */
#define DEVICE_SILENT_MS (DEVICE_TIMEOUT_MS + 1000)

/* Leaves in the device's hands: enough that it never waits for the fdatasync before the next, and so few that a CRL,
 * whose signature waits for all of them, is not kept long. */
#define DEVICE_AHEAD_MS 50
#define DEVICE_AHEAD_MIN 2
#define DEVICE_AHEAD_MAX 16

/* ---- how long things take ---- */

static size_t
ahead_max(const struct signer *s)
{
	const int64_t n = s->link.signature_us > 0 ? DEVICE_AHEAD_MS * 1000 / s->link.signature_us : DEVICE_AHEAD_MAX;

	return n < DEVICE_AHEAD_MIN ? DEVICE_AHEAD_MIN : n > DEVICE_AHEAD_MAX ? DEVICE_AHEAD_MAX : (size_t)n;
}

static size_t
in_hand(const struct signer *s)
{
	return s->n_group + (size_t)s->link.outstanding;
}

size_t
resident_queue(const struct signer *s)
{
	const bool sealed = s->keys.current && s->keys.current->soft.pkey;

	return s->queue.n + (size_t)s->link.outstanding + (sealed ? 0 : s->n_group);
}

static int64_t
drain_ms(const struct signer *s)
{
	return (int64_t)(s->queue.n + in_hand(s)) * s->link.signature_us / 1000;
}

/* (3) */
static unsigned
retry_after_s(const struct signer *s)
{
	const int64_t wait_s = drain_ms(s) / 1000 + 1;
	uint8_t chance[4];

	writ_random(chance, sizeof(chance));
	return (unsigned)(wait_s + writ_get32(chance) % (wait_s + 1));
}

static struct writ_err *
refusal(struct signer *s, enum device_refusal why, struct writ_err *err)
{
	s->device_refused[why]++;
	return writ_retry_after(err, retry_after_s(s));
}

void
resident_took(struct signer *s, int64_t ms)
{
	struct device_link *link = &s->link;

	signer_times_note(&s->device_signed, ms);
	device_heard(s, ms);
	if (link->signature_us == 0)
		link->signature_us = ms * 1000;
	else
		link->signature_us += (ms * 1000 - link->signature_us) / 8;
}

/* Measures from one to the next while there is always one to make. */
static void
signature_came(struct signer *s, int64_t now_ms)
{
	struct device_link *link = &s->link;

	link->outstanding--;
	resident_took(s, now_ms - link->heard_ms);
	link->heard_ms = now_ms;
}

/* ---- into the queue ---- */

static uint64_t
name_hash(const struct signer *s, struct writ_bytes name)
{
	const struct writ_bytes pieces[] = { { s->queue_secret, sizeof(s->queue_secret) }, name };
	uint8_t digest[SHA256_LEN];

	writ_sha256v(pieces, N_OF(pieces), digest);
	return writ_get64(digest);
}

static void
gives_way(struct signer *s, struct queue_item *item)
{
	queue_remove(&s->queue, item);
	job_refused(
		s, job_of(item),
		refusal(s, REFUSED_SHARE,
			writ_fail(WRIT_UNAVAILABLE, "others wait for the device already, who asked less: try again")));
}

/*
 * Room for one more: in the queue, which is bounded by its length and by how long the device takes for it, and of its
 * connection.  Whoever has most waiting gives way.
 */
static struct writ_err *
room_make(struct signer *s, struct queue_item *comes)
{
	const size_t n = s->queue.n + in_hand(s), mine = queue_of_root(&s->queue, comes->root);
	const bool crowded = queue_from(&s->queue, comes->from) >= SIGNER_CONN_LEAVES_MAX;
	const bool slow = drain_ms(s) > SIGNER_DEVICE_QUEUE_MS && s->queue.n > 0;
	struct queue_item *loser;

	if (n < SIGNER_QUEUE_MAX && !slow && !crowded)
		return NULL;
	loser = queue_loser(&s->queue, comes, crowded ? comes->from : NULL);
	if (loser != comes) {
		gives_way(s, loser);
		return NULL;
	}
	if (mine > 0 && mine < s->queue.n)
		return refusal(s, REFUSED_SHARE,
			       writ_fail(WRIT_UNAVAILABLE,
					 "%zu leaves wait for the device already, %zu of them by the same delegator, "
					 "which is its share: try again",
					 n, mine));
	if (slow)
		return refusal(s, REFUSED_FULL,
			       writ_fail(WRIT_UNAVAILABLE,
					 "%zu leaves wait for the device already, which takes %lld ms for them: over "
					 "%d ms, try again",
					 n, (long long)drain_ms(s), SIGNER_DEVICE_QUEUE_MS));
	return refusal(s, REFUSED_FULL,
		       writ_fail(WRIT_UNAVAILABLE, "%zu leaves wait for the device already: try again", n));
}

struct writ_err *
resident_leaf(struct signer *s, struct conn *conn, uint64_t id, const struct signer_leaf *asked)
{
	static const uint8_t none[sizeof(s->queue_secret)];
	struct queue_item item = { .from = conn, .since_ms = s->now.mono_ms };
	struct writ_err *err;
	struct leaf leaf;
	struct job *job;
	unsigned shard;

	writ_arena_clear(&s->arena);
	err = gate_check(asked->tbs, &s->gate, s->now.wall, &s->arena, &leaf, &shard); /* (2) */
	if (err)
		return err;
	if (memcmp(s->queue_secret, none, sizeof(none)) == 0)
		writ_random(s->queue_secret, sizeof(s->queue_secret));
	item.root = name_hash(s, leaf.delegation.hops[0].principal);
	item.agent = name_hash(s, leaf.san);
	err = room_make(s, &item);
	if (err)
		return err;
	job = job_take(s, conn, id, asked);
	if (!job)
		return writ_fail(WRIT_EXHAUSTED, "no memory for leaves that wait for the device");
	job->item = item;
	job->state = JOB_WAITING;
	queue_add(&s->queue, &job->item);
	return NULL;
}

/* ---- out of it ---- */

/* Those that waited too long, and all of them when there will be no device any more. */
static void
queue_sweep(struct signer *s)
{
	while (s->link.state.is == SIGNER_DEVICE_LOCKED && s->queue.n > 0) {
		struct job *job = job_of(queue_take(&s->queue));

		s->device_refused[REFUSED_AWAY]++;
		job_refused(s, job, device_away(s));
	}
	while (s->queue.n > 0 && s->now.mono_ms - s->queue.items[0]->since_ms >= SIGNER_DEVICE_WAIT_MS) {
		struct job *job = job_of(s->queue.items[0]);
		const int64_t waited_ms = s->now.mono_ms - job->item.since_ms;

		queue_remove(&s->queue, &job->item);
		job_refused(s, job,
			    refusal(s, REFUSED_LATE,
				    writ_fail(WRIT_UNAVAILABLE,
					      "the device did not get round to this leaf within %d ms (it waited "
					      "%lld): try again",
					      SIGNER_DEVICE_WAIT_MS, (long long)waited_ms)));
	}
}

int64_t
resident_patience_ms(const struct signer *s)
{
	const int64_t left_ms =
		s->queue.n == 0 ? -1 : s->queue.items[0]->since_ms + SIGNER_DEVICE_WAIT_MS - s->now.mono_ms;

	return s->queue.n > 0 && left_ms < 0 ? 0 : left_ms;
}

/* Its turn: (2), and whatever else may have changed since it came. */
static void
turn_take(struct signer *s, struct job *job)
{
	const int64_t waited_ms = s->now.mono_ms - job->item.since_ms;
	struct writ_err *err = issue_blocked(s);

	if (!err)
		err = job_journal(s, job);
	if (!err) {
		signer_times_note(&s->device_waited, waited_ms);
		return;
	}
	if (s->broken)
		event(EVENT_ALARM, "signer.issuing-stopped", EV_ERR(err));
	if (err->code == WRIT_INVALID)
		err = writ_recode(err, WRIT_UNAVAILABLE, "this leaf waited %lld ms for the device: try again",
				  (long long)waited_ms);
	job_refused(s, job, refusal(s, REFUSED_AWAY, err));
}

void
resident_take(struct signer *s)
{
	queue_sweep(s);
	while (s->link.device && s->queue.n > 0 && in_hand(s) < ahead_max(s))
		turn_take(s, job_of(queue_take(&s->queue)));
}

void
resident_sign(struct signer *s, struct job *job)
{
	const struct generation *g = keys_find(s, job->leaf.authority_key_id.data);
	struct writ_err *err;

	if (!s->link.device) {
		job_failed(s, job, device_away(s));
		return;
	}
	if (!g || !g->in_device) {
		job_failed(s, job, writ_fail(WRIT_UNAVAILABLE, "the issuing key has gone meanwhile: try again"));
		return;
	}
	err = device_sign_start(s->link.device, (uint64_t)(job - s->jobs), g->handle,
				(struct writ_bytes){ job->tbs, job->tbs_len });
	if (err) {
		device_lost(s, err);
		job_failed(s, job, device_away(s));
		return;
	}
	job->state = JOB_SIGNING;
	if (s->link.outstanding++ == 0)
		s->link.heard_ms = s->now.mono_ms;
}

/* ---- what the device answers ---- */

/* Device signatures are verified always (DESIGN.md, one issuance): a wrong one is a device that must not go on. */
static void
device_answered(struct signer *s, uint64_t id, struct writ_bytes signature, struct writ_err *failed)
{
	struct job *job = id < SIGNER_QUEUE_MAX ? &s->jobs[id] : NULL;
	struct generation *g = job ? keys_find(s, job->leaf.authority_key_id.data) : NULL;

	if (!job || job->state != JOB_SIGNING) {
		writ_err_free(failed);
		return;
	}
	if (failed && failed->code != WRIT_LOCKED) /* whatever it is, nothing that whoever asks can correct */
		failed = writ_recode(failed, WRIT_UNAVAILABLE, "the device");
	if (failed)
		failed = device_failed(s, failed);
	else if (g)
		failed = device_verified(s, g, (struct writ_bytes){ job->tbs, job->tbs_len }, signature);
	if (!failed && g)
		job_signed(s, job, signature);
	else
		job_failed(s, job, failed ? failed : writ_fail(WRIT_UNAVAILABLE, "the issuing key has gone meanwhile"));
}

/* (4) */
static void
signing_abort(struct signer *s)
{
	for (size_t i = 0; s->jobs && i < SIGNER_QUEUE_MAX; i++)
		if (s->jobs[i].state == JOB_SIGNING)
			job_failed(s, &s->jobs[i], device_away(s));
}

void
resident_collect(struct signer *s)
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
		device_lost(s,
			    writ_fail(WRIT_UNAVAILABLE, "no signature of the device within %d ms", DEVICE_SILENT_MS));
	if (!s->link.device)
		signing_abort(s);
}

/* No new ones are handed over meanwhile; at the device's deadline it is given up. */
void
resident_drain(struct signer *s)
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
