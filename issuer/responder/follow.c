/*
 * What the issuer says of its certificates: see responder.h, (2) and (3).
 *
 * One question at a time.  Changes are asked for from our number on, and a question that finds none waits at the
 * issuer; a beginning (another life of the issuer, or changes that are lost) has the table read page by page into a new
 * one, which then takes the changes since, and replaces the old one when none is missing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/event.h"
#include "issuer/responder/responder.h"

#define WAIT_MS 500	  /* of a question that finds nothing: how often we know that we miss nothing */
#define ANSWER_MS 3000L	  /* and for its answer */
#define APART_MS 5	  /* between two answers with changes: at most 200 a second, however many leaves are issued */
#define RETRY_FIRST_MS 50 /* after a failure, doubling */
#define RETRY_LAST_MS 1000
#define PRUNE_MS 1000

bool
responder_fresh(struct responder *r, int64_t now_ms)
{
	const int64_t fresh_ms = atomic_load(&r->fresh_ms);

	return atomic_load(&r->ready) && now_ms - fresh_ms <= (int64_t)r->conf.lag_max_s * 1000;
}

/* ---- what is learned ---- */

static void
why_set(struct responder *r, const struct writ_err *err)
{
	pthread_mutex_lock(&r->why_lock);
	r->why[0] = '\0';
	if (err)
		writ_err_text(err, r->why, sizeof(r->why));
	pthread_mutex_unlock(&r->why_lock);
}

/* A question may wait for a quarter of the bound: two of them follow each other before what is known is too old. */
static int
question_wait_ms(const struct responder *r)
{
	const int quarter_ms = (int)r->conf.lag_max_s * 1000 / 4;

	if (r->follow.building || r->follow.retry_ms != RETRY_FIRST_MS) /* what is missing is wanted at once */
		return 0;
	return quarter_ms < WAIT_MS ? quarter_ms : WAIT_MS;
}

static struct status_table *
table_now(const struct responder *r)
{
	return r->follow.building ? r->follow.building : r->table;
}

WRIT_CHECKED static struct writ_err *
records_take(struct responder *r, const struct feed_head *head, struct writ_bytes records)
{
	struct status_table *table = table_now(r);
	struct status_counts counts;
	struct writ_err *err = NULL;

	status_counts(table, &counts);
	if (counts.good + counts.revoked + head->count > r->conf.entries_max)
		return writ_fail(WRIT_EXHAUSTED,
				 "%" PRIu64
				 " certificates are over responder.entries_max, %u: raise it, each takes 64 bytes",
				 counts.good + counts.revoked + head->count, (unsigned)r->conf.entries_max);
	for (uint32_t i = 0; i < head->count && !err; i++) {
		const struct status_change change = feed_record(records, i);

		err = status_set(table, change.serial, change.state,
				 (writ_time)writ_get32(change.serial) * 60 + change.life_s);
	}
	return err;
}

static void
table_use(struct responder_loop *on, void *arg)
{
	on->table = arg;
	status_front_table(on->front, on->table);
	status_quiet(on->table, on->number);
}

/* (3) */
static void
building_use(struct responder *r)
{
	struct status_table *before = r->table;
	struct status_counts counts;

	if (!r->follow.building)
		return;
	r->table = TAKE(r->follow.building);
	responder_on_loops(r, table_use, r->table);
	status_table_free(before);
	status_counts(r->table, &counts);
	event(EVENT_INFO, "responder.table", EV_NUM("good", counts.good), EV_NUM("revoked", counts.revoked),
	      EV_HEX("epoch", ((struct writ_bytes){ r->follow.epoch, STATUS_EPOCH_LEN })),
	      EV_NUM("sequence", r->follow.from));
}

WRIT_CHECKED static struct writ_err *
begin_take(struct responder *r, const struct feed_head *head)
{
	struct follow *f = &r->follow;
	struct writ_err *err;

	if (memcmp(f->epoch, head->epoch, sizeof(f->epoch)) != 0) {
		responder_count(r, COUNT_EPOCHS, f->begun);
		documents_life(r);
	}
	responder_count(r, COUNT_RESYNCS, f->begun);
	f->begun = true;
	status_table_free(TAKE(f->building));
	err = status_table_after(r->table, &f->building);
	if (err)
		return err;
	memcpy(f->epoch, head->epoch, sizeof(f->epoch));
	f->from = head->next;
	f->at = 0;
	f->known = f->walking = true;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
changes_take(struct responder *r, const struct feed_head *head, struct writ_bytes records, int64_t now_ms)
{
	struct follow *f = &r->follow;
	struct writ_err *err = records_take(r, head, records);

	if (err)
		return err;
	responder_count(r, COUNT_CHANGES, head->count);
	f->from = head->next;
	atomic_store(&r->sequence, f->from);
	if (head->next != head->newest)
		return NULL;
	building_use(r);
	atomic_store(&r->fresh_ms, f->sent_ms); /* (2) */
	if (head->count > 0)
		f->due_ms = now_ms + APART_MS;
	return NULL;
}

/* Is it the answer to what was asked? */
WRIT_CHECKED static struct writ_err *
head_check(const struct follow *f, const struct feed_head *head)
{
	if (head->kind == FEED_BEGIN)
		return NULL;
	if (head->kind != (f->walking ? FEED_TABLE : FEED_CHANGES) || head->from != (f->walking ? f->at : f->from) ||
	    memcmp(head->epoch, f->epoch, sizeof(f->epoch)) != 0)
		return writ_fail(WRIT_INVALID, "status feed: a page that was not asked for");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
page_take(struct responder *r, struct clock now)
{
	struct follow *f = &r->follow;
	struct writ_bytes records;
	struct feed_head head;
	struct writ_err *err = feed_read(writ_view(&f->way.exchange.answer), &head, &records);

	if (!err)
		err = head_check(f, &head);
	if (err)
		return err;
	atomic_store(&r->offset_ms, head.time_ms - (now.wall * 1000 + now.wall_ns / 1000000));
	documents_version(r, head.documents);
	if (head.kind == FEED_BEGIN)
		return begin_take(r, &head);
	if (head.kind == FEED_CHANGES)
		return changes_take(r, &head, records, now.mono_ms);
	err = records_take(r, &head, records);
	if (err)
		return err;
	f->at = head.next;
	f->walking = head.next != FEED_TABLE_END;
	return NULL;
}

static void
failed(struct responder *r, struct writ_err *err, int64_t now_ms)
{
	struct follow *f = &r->follow;

	responder_count(r, COUNT_FEED_FAILED, 1);
	f->due_ms = now_ms + f->retry_ms;
	f->retry_ms = 2 * f->retry_ms < RETRY_LAST_MS ? 2 * f->retry_ms : RETRY_LAST_MS;
	if (err->code == WRIT_INVALID || err->code == WRIT_EXHAUSTED) { /* nothing of it is believed: all anew */
		status_table_free(TAKE(f->building));
		f->known = f->walking = false;
		f->due_ms = now_ms + RETRY_LAST_MS;
	}
	event(EVENT_WARN, "responder.feed_failed", EV_STR("issuer", r->conf.issuer), EV_ERR(err));
	why_set(r, err);
	writ_err_free(err);
}

static void
answered(struct way *way, struct writ_err *err)
{
	struct responder *r = way->ctx;
	const struct clock now = clock_read();

	if (!err)
		err = page_take(r, now);
	if (err) {
		failed(r, err, now.mono_ms);
		return;
	}
	r->follow.retry_ms = RETRY_FIRST_MS;
	why_set(r, NULL);
}

/* ---- what is asked ---- */

static void
ask(struct responder *r, struct clock now)
{
	static const uint8_t no_epoch[STATUS_EPOCH_LEN];
	struct follow *f = &r->follow;
	char url[512], epoch[2 * STATUS_EPOCH_LEN + 1];
	struct writ_err *err;

	writ_hex((struct writ_bytes){ f->known ? f->epoch : no_epoch, STATUS_EPOCH_LEN }, epoch);
	if (f->walking)
		snprintf(url, sizeof(url), "%s/v1/status/table?epoch=%s&at=%" PRIu64, r->conf.issuer, epoch, f->at);
	else
		snprintf(url, sizeof(url), "%s/v1/status/changes?epoch=%s&from=%" PRIu64 "&wait_ms=%d", r->conf.issuer,
			 epoch, f->known ? f->from : 0, question_wait_ms(r));
	f->sent_ms = f->due_ms = now.mono_ms;
	err = way_begin(&f->way, &r->web, url, (struct writ_bytes){ 0 }, WAIT_MS + ANSWER_MS);
	if (err)
		failed(r, err, now.mono_ms);
}

static void
prune(struct responder *r, struct clock now)
{
	struct status_counts counts;

	if (now.mono_ms < r->follow.prune_ms)
		return;
	r->follow.prune_ms = now.mono_ms + PRUNE_MS;
	status_prune(r->table, now.wall);
	status_counts(r->table, &counts);
	atomic_store(&r->good, counts.good);
	atomic_store(&r->revoked, counts.revoked);
	atomic_store(&r->bytes, counts.bytes);
}

int
follow_step(struct responder *r, struct clock now)
{
	struct follow *f = &r->follow;
	int64_t wait_ms = f->prune_ms - now.mono_ms;

	prune(r, now);
	if (!f->way.busy && f->due_ms <= now.mono_ms)
		ask(r, now);
	if (!f->way.busy && f->due_ms - now.mono_ms < wait_ms)
		wait_ms = f->due_ms - now.mono_ms;
	return wait_ms < 0 ? 0 : (int)wait_ms;
}

struct writ_err *
follow_init(struct responder *r)
{
	r->follow = (struct follow){ .retry_ms = RETRY_FIRST_MS, .way = { .done = answered, .ctx = r } };
	return way_init(&r->follow.way, &r->web, true, FEED_PAGE_MAX);
}

void
follow_done(struct responder *r)
{
	way_done(&r->follow.way, &r->web);
	status_table_free(r->follow.building);
}
