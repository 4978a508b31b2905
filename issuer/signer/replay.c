/*
 * What a start finds: the ledger, and what else the journal says of the past; from a snapshot and the entries behind
 * it, or from all of them.  And the snapshot for the next start.
 *
 * (1) A snapshot is taken of what the journal holds, durably, and of nothing else: while the journal is owed an entry,
 *     or lacks one, none is taken.
 * (2) Started from a snapshot or from the first entry, a signer is the same (ledger.h (4)).
 * (3) Whatever is wrong with a snapshot, the journal alone is gone by; only damage in segments that a snapshot spares
 *     the start from reading is not found by it.
 *     A copy of the ledger is made at once, a few milliseconds for each 100,000 rows; a thread of its own writes it, since
 *     a disk takes long for tens of megabytes, and nobody shall wait for that but an orderly end.
 * (4) Memory and time of a start are those of what is live, and of SNAPSHOT_ENTRIES_MIN entries or a sixteenth of the
 *     live ones, whatever the journal holds besides.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/event.h"
#include "issuer/log/snapshot.h"
#include "issuer/signer/signer.h"

#define SNAPSHOT_ENTRIES_MIN 65536 /* behind the last one, before the next is due: a tenth of a second of a start */
#define SNAPSHOT_STOP_MIN 16	   /* at an orderly end: fewer are not worth a file */
#define OWN_FIXED (8 + 8 + 8 + 1 + 8 + STATE_STARTS * 8 + 8 + 8 + 4)
#define OWN_REVOKED (16 + 8 + 1 + 8 + 8)
#define OWN_CA (8 + 4 + 4) /* of the ledger's: key, first shard, shards */

struct replay {
	struct signer *signer;
	writ_time pruned;
	uint64_t issued;
};

/* ---- entries ---- */

void
replay_switched(struct signer *s, const struct entry *e)
{
	memcpy(s->keys.switched, e->key, sizeof(e->key));
	s->keys.switched_at = e->time;
}

/* The same calls as when it happened, at the times when it happened: so the ledger comes out the same. */
static struct writ_err *
replay_one(const struct entry *e, void *ctx)
{
	struct replay *r = ctx;
	struct ledger *ledger = r->signer->ledger;
	bool changed, listed;

	if (e->time >= r->pruned + 60) {
		ledger_prune(ledger, e->time);
		r->pruned = e->time;
	}
	switch (e->type) {
	case ENTRY_ISSUE:
		r->issued++;
		return ledger_issue(ledger, e->serial, e->key, e->reason, e->not_after);
	case ENTRY_ABORT:
		return ledger_end(ledger, e->serial, LEDGER_ABORTED, (enum crl_reason)e->reason, e->time, &changed);
	case ENTRY_REVOKE:
		if (entry_names_edge(e->key))
			return ledger_edge(ledger, e->serial, e->not_after, &changed, &listed);
		return ledger_end(ledger, e->serial, LEDGER_REVOKED, (enum crl_reason)e->reason, e->not_after,
				  &changed);
	case ENTRY_CRL:
		if (writ_get64(e->serial + 8) > r->signer->crl_number)
			r->signer->crl_number = writ_get64(e->serial + 8);
		/* made some time before its entry, when it has a million entries; an anchor is not in the ledger */
		ledger_listed_perhaps(ledger, e->key, e->reason, e->not_after - CRL_LIFE_S - SIGNER_BACKDATE_S);
		return NULL;
	case ENTRY_SETTLED:
		r->signer->settled = writ_get64(e->serial + 8);
		return NULL;
	case ENTRY_STATE:
		state_replay(&r->signer->state, e);
		return NULL;
	case ENTRY_KEY:
		if (e->reason >= KEY_REVOKED)
			return key_revoke_replay(r->signer, e);
		if (e->reason == GENERATION_SWITCHED)
			replay_switched(r->signer, e);
		return NULL;
	case ENTRY_DENY:
	case ENTRY_TASK:
	case ENTRY_GRANT:
	case ENTRY_POLICY:
	case ENTRY_ADMIN:
	case ENTRY_START:
	case ENTRY_STOP:
	case ENTRY_RECOVER:
	case ENTRY_CLOCK:
	case ENTRY_FREEZE:
		return NULL;
	}
	return NULL;
}

/* ---- what is the signer's own in a snapshot ---- */

static uint8_t *
put64(uint8_t *at, uint64_t v)
{
	writ_put64(at, v);
	return at + 8;
}

/* Counters, the generation that is current, revoked CAs; what the ledger says of its CAs follows. */
static struct writ_err *
own_write(const struct signer *s, struct writ_buf *ret)
{
	const struct state_count *state = &s->state;
	struct writ_err *err;
	uint8_t *at;

	err = writ_buf_grow(ret, OWN_FIXED + s->revoked_cas.n * OWN_REVOKED, &at);
	if (err)
		return err;
	at = put64(at, s->settled);
	at = put64(at, s->crl_number);
	at = put64(at, state->value);
	*at++ = state->reached ? 1 : 0;
	at = put64(at, state->n_raised);
	for (size_t i = 0; i < STATE_STARTS; i++)
		at = put64(at, (uint64_t)state->raised_at[i]);
	memcpy(at, s->keys.switched, 8);
	at = put64(at + 8, (uint64_t)s->keys.switched_at);
	writ_put32(at, (uint32_t)s->revoked_cas.n);
	at += 4;
	for (size_t i = 0; i < s->revoked_cas.n; i++) {
		const struct revoked_ca *ca = &s->revoked_cas.ca[i];

		memcpy(at, ca->serial, 16);
		memcpy(at + 16, ca->key, 8);
		at[24] = (uint8_t)ca->reason;
		at = put64(at + 25, (uint64_t)ca->not_after);
		at = put64(at, (uint64_t)ca->at);
	}
	return NULL;
}

static const uint8_t *
get64(const uint8_t *at, uint64_t *ret)
{
	*ret = writ_get64(at);
	return at + 8;
}

static const uint8_t *
get_time(const uint8_t *at, writ_time *ret)
{
	*ret = (writ_time)writ_get64(at);
	return at + 8;
}

static struct writ_err *
own_read(struct signer *s, struct writ_bytes own)
{
	struct state_count *state = &s->state;
	const uint8_t *at = own.data, *end = own.data + own.len;
	struct writ_err *err = NULL;
	uint64_t n_raised;
	uint32_t n;

	if (own.len < OWN_FIXED)
		return writ_fail(WRIT_BROKEN, "a snapshot lacks what the signer writes into one");
	at = get64(at, &s->settled);
	at = get64(at, &s->crl_number);
	at = get64(at, &state->value);
	state->reached = *at++ != 0;
	at = get64(at, &n_raised);
	state->n_raised = (size_t)n_raised;
	for (size_t i = 0; i < STATE_STARTS; i++)
		at = get_time(at, &state->raised_at[i]);
	memcpy(s->keys.switched, at, 8);
	at = get_time(at + 8, &s->keys.switched_at);
	n = writ_get32(at);
	at += 4;
	if (n > REVOKED_CAS_MAX || (size_t)(end - at) < n * (size_t)OWN_REVOKED ||
	    ((size_t)(end - at) - n * (size_t)OWN_REVOKED) % OWN_CA != 0)
		return writ_fail(WRIT_BROKEN, "a snapshot has more, or less, than the signer writes into one");
	for (uint32_t i = 0; i < n; i++) {
		struct revoked_ca *ca = &s->revoked_cas.ca[i];

		memcpy(ca->serial, at, 16);
		memcpy(ca->key, at + 16, 8);
		ca->reason = (enum crl_reason)at[24];
		at = get_time(at + 25, &ca->not_after);
		at = get_time(at, &ca->at);
	}
	s->revoked_cas.n = n;
	s->revoked_cas.changes = n;
	for (; at < end && !err; at += OWN_CA)
		err = ledger_ca(s->ledger, at, writ_get32(at + 8), writ_get32(at + 12));
	return err;
}

/* ---- taking one ---- */

struct telling {
	struct snapshot_out out;
	struct writ_buf own;
	struct writ_err *err;
};

static void
telling_done(struct telling *telling)
{
	snapshot_out_done(&telling->out);
	writ_buf_done(&telling->own);
	writ_err_free(telling->err);
}

static void
tell_ca(const uint8_t key[8], unsigned first, unsigned n, void *ctx)
{
	struct telling *telling = ctx;
	uint8_t *at;

	if (!telling->err)
		telling->err = writ_buf_grow(&telling->own, OWN_CA, &at);
	if (telling->err)
		return;
	memcpy(at, key, 8);
	writ_put32(at + 8, first);
	writ_put32(at + 12, n);
}

static void
tell_row(const uint8_t serial[16], unsigned shard, const struct ledger_row *row, void *ctx)
{
	struct telling *telling = ctx;
	struct snapshot_row told = { .not_after = (uint32_t)row->not_after,
				     .ended_at = (uint32_t)row->ended_at,
				     .state = (uint8_t)row->state,
				     .reason = (uint8_t)row->reason,
				     .shard = (uint16_t)shard };

	memcpy(told.serial, serial, sizeof(told.serial));
	memcpy(told.key, row->key, sizeof(told.key));
	snapshot_add_row(&telling->out, &told);
}

static void
tell_edge(const uint8_t id[EDGE_ID], writ_time at, void *ctx)
{
	struct telling *telling = ctx;
	struct snapshot_edge told = { .at = (uint32_t)at };

	memcpy(told.id, id, sizeof(told.id));
	snapshot_add_edge(&telling->out, &told);
}

/* (1) */
static bool
snapshot_may(const struct signer *s, uint64_t entries_min)
{
	return !s->snapshot.never && !s->broken && s->n_owed == 0 &&
	       journal_next(s->journal) >= s->snapshot.index + entries_min && journal_can_issue(s->journal);
}

/* All that the thread knows. */
struct snapshot_write {
	pthread_t thread;
	bool started;
	atomic_bool ended;
	uint8_t log_id[LOG_ID_LEN];
	struct journal_mark mark;
	struct telling telling;
	char dir[PATH_MAX];
	struct writ_err *err;
};

/* A copy of what there is now. */
static struct writ_err *
snapshot_copy(const struct signer *s, struct snapshot_write *w)
{
	static const struct ledger_hear hear = { .ca = tell_ca, .row = tell_row, .edge = tell_edge };
	struct writ_err *err;

	journal_mark(s->journal, &w->mark);
	memcpy(w->log_id, s->log_id, sizeof(w->log_id));
	conf_path(s->conf->state, "journal", w->dir);
	w->telling.own = WRIT_BUF(SNAPSHOT_OWN_MAX);
	err = own_write(s, &w->telling.own);
	if (!err)
		err = snapshot_begin(ledger_rows_max(s->ledger), ledger_edges(s->ledger), &w->telling.out);
	if (err)
		return err;
	ledger_tell(s->ledger, &hear, &w->telling);
	return TAKE(w->telling.err);
}

static void *
snapshot_run(void *arg)
{
	struct snapshot_write *w = arg;

	w->err = snapshot_write(w->dir, w->log_id, &w->mark, writ_view(&w->telling.own), &w->telling.out);
	atomic_store(&w->ended, true);
	return NULL;
}

/* What fails is no harm: the next start reads more, and the next one is tried after as many entries again. */
static void
snapshot_end(struct signer *s)
{
	struct snapshot_write *w = TAKE(s->snapshot.writing);

	if (!w)
		return;
	if (w->started)
		pthread_join(w->thread, NULL);
	if (w->err)
		event(EVENT_WARN, "signer.no-snapshot", EV_NUM("entry", w->mark.index), EV_ERR(w->err));
	writ_err_free(w->err);
	telling_done(&w->telling);
	free(w);
}

static void
snapshot_take(struct signer *s)
{
	struct snapshot_write *w = calloc(1, sizeof(*w));

	journal_sync(s->journal); /* (1) */
	s->snapshot.index = journal_next(s->journal);
	if (!w) {
		event(EVENT_WARN, "signer.no-snapshot", EV_NUM("entry", s->snapshot.index));
		return;
	}
	s->snapshot.writing = w;
	w->err = snapshot_copy(s, w);
	if (w->err) {
		snapshot_end(s);
		return;
	}
	w->started = pthread_create(&w->thread, NULL, snapshot_run, w) == 0; /* from here on `err` is the thread's */
	if (!w->started) /* then here */
		snapshot_run(w);
}

void
replay_housekeep(struct signer *s)
{
	struct ledger_counts counts;
	uint64_t share;

	if (s->snapshot.writing && atomic_load(&s->snapshot.writing->ended))
		snapshot_end(s);
	if (s->snapshot.writing)
		return;
	if (journal_next(s->journal) < s->snapshot.index + SNAPSHOT_ENTRIES_MIN)
		return;
	ledger_count(s->ledger, &counts);
	share = (counts.issued + counts.ended) / 16; /* (4) */
	if (snapshot_may(s, share > SNAPSHOT_ENTRIES_MIN ? share : SNAPSHOT_ENTRIES_MIN))
		snapshot_take(s);
}

void
replay_stopped(struct signer *s)
{
	snapshot_end(s);
	if (snapshot_may(s, SNAPSHOT_STOP_MIN))
		snapshot_take(s);
	snapshot_end(s);
}

void
replay_done(struct signer *s)
{
	snapshot_end(s);
}

/* ---- a start ---- */

/* Nothing is known of the past. */
static struct writ_err *
forget(struct signer *s)
{
	s->settled = s->crl_number = 0;
	s->state = (struct state_count){ 0 };
	s->revoked_cas = (struct revoked_cas){ 0 };
	memset(s->keys.switched, 0, sizeof(s->keys.switched));
	s->keys.switched_at = 0;
	s->snapshot.index = 0;
	ledger_free(TAKE(s->ledger));
	return ledger_new(&s->ledger);
}

static struct writ_err *
row_take(struct signer *s, const struct snapshot_row *row)
{
	struct writ_err *err = ledger_issue(s->ledger, row->serial, row->key, row->shard, row->not_after);
	bool changed;

	if (err || row->state == SNAPSHOT_ISSUED)
		return err;
	return ledger_end(s->ledger, row->serial, row->state == SNAPSHOT_ABORTED ? LEDGER_ABORTED : LEDGER_REVOKED,
			  (enum crl_reason)row->reason, row->ended_at, &changed);
}

static struct writ_err *
snapshot_read(struct signer *s, const char *dir, struct journal_mark *ret)
{
	AUTO(snapshot_done) struct snapshot snapshot = { 0 };
	bool changed, listed;
	struct writ_err *err;

	err = snapshot_find(dir, s->log_id, &snapshot);
	if (!err)
		err = own_read(s, snapshot.own);
	for (size_t i = 0; i < snapshot.n_rows && !err; i++) {
		struct snapshot_row row;

		snapshot_row(&snapshot, i, &row);
		err = row_take(s, &row);
	}
	for (size_t i = 0; i < snapshot.n_edges && !err; i++) {
		struct snapshot_edge edge;

		snapshot_edge(&snapshot, i, &edge);
		err = ledger_edge(s->ledger, edge.id, edge.at, &changed, &listed);
	}
	*ret = snapshot.mark;
	return err;
}

static struct writ_err *
replay_from(struct replay *r, const char *dir, const struct journal_mark *mark, struct journal_cut *ret_cut)
{
	struct signer *s = r->signer;

	r->pruned = mark ? mark->time : 0;
	r->issued = 0;
	return journal_open_from(dir, writ_str(s->conf->log_origin), mark, replay_one, r, ret_cut, &s->journal);
}

struct writ_err *
replay_open(struct signer *s)
{
	struct replay replay = { .signer = s };
	struct journal_mark mark;
	struct journal_cut cut;
	struct writ_err *err;
	char dir[PATH_MAX];

	conf_path(s->conf->state, "journal", dir);
	log_id(writ_str(s->conf->log_origin), s->log_id);
	err = forget(s);
	if (err)
		return err;
	err = snapshot_read(s, dir, &mark);
	if (!err)
		err = replay_from(&replay, dir, &mark, &cut);
	if (!err) {
		s->snapshot.index = mark.index;
	} else { /* (3): what is wrong with the journal itself comes out again */
		if (err->code != WRIT_NOT_FOUND)
			event(EVENT_WARN, "signer.snapshot-not-used", EV_ERR(err));
		writ_err_free(err);
		err = forget(s);
		if (!err)
			err = replay_from(&replay, dir, NULL, &cut);
		if (err)
			return err;
	}
	ledger_prune(s->ledger, s->now.wall);
	s->guard.floor = journal_last_time(s->journal);
	event(EVENT_INFO, "signer.journal", EV_NUM("entries", journal_next(s->journal)),
	      EV_NUM("from", s->snapshot.index), EV_NUM("issued", replay.issued), EV_NUM("settled", s->settled));
	if (!cut.any)
		return NULL;
	event(EVENT_ALARM, "signer.torn-tail-cut", EV_NUM("entry", cut.index), EV_NUM("bytes", cut.bytes));
	return entry_recover(s, &cut);
}
