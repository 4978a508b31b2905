/*
 * The feed of status for responders: see feed.h.
 *
 * (1) Who finds no change says that it waits, and looks again, before it does; the writer changes the table and then
 * looks for who waits: so no change is slept through.
 */
#include "issuer/serve/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "issuer/serve/work.h"
#include "issuer/status/feed.h"
#include "issuer/status/publish.h"

/* In its work's arena. */
struct follower {
	struct follower *next;
	struct work *work;
	uint64_t from;
	int64_t until_ms;
};

static void
freep(void *p)
{
	free(*(void **)p);
}

static struct feed_head
head_now(const struct work *work, enum feed_kind kind, uint64_t from)
{
	const struct serve *serve = work->on->serve;
	const struct clock now = loop_now(work->on->loop);
	struct feed_head head = { .kind = kind,
				  .from = from,
				  .documents = publish_version(serve->publish),
				  .time_ms = now.wall * 1000 + now.wall_ns / 1000000 };

	memcpy(head.epoch, status_changes_epoch(serve->changes), sizeof(head.epoch));
	return head;
}

static void
answer_page(struct work *work, const struct feed_head *head, const struct status_change *changes)
{
	struct writ_err *err = feed_write(head, changes, &work->answer);

	if (err)
		work_fail(work, err);
	else
		work_answer_as(work, 200, "application/octet-stream", writ_view(&work->answer));
}

static void
answer_begin(struct work *work, uint64_t from)
{
	struct feed_head head = head_now(work, FEED_BEGIN, from);

	head.next = head.newest = status_changes_next(work->on->serve->changes);
	answer_page(work, &head, NULL);
}

static bool
epoch_is_ours(const struct work *work, const uint8_t epoch[STATUS_EPOCH_LEN])
{
	return memcmp(status_changes_epoch(work->on->serve->changes), epoch, STATUS_EPOCH_LEN) == 0;
}

/* ---- changes ---- */

static void
answer_changes(struct work *work, uint64_t from)
{
	struct status_changes *changes = work->on->serve->changes;
	const uint64_t there = status_changes_next(changes) - from;
	const size_t max = there < FEED_RECORDS_MAX ? (size_t)there : FEED_RECORDS_MAX;
	AUTO(freep) struct status_change *list = malloc((max + 1) * sizeof(*list));
	struct feed_head head = head_now(work, FEED_CHANGES, from);
	size_t n = 0;

	if (!list) {
		work_fail(work, writ_fail(WRIT_EXHAUSTED, "no memory for %zu changes of status", max));
		return;
	}
	if (!status_changes_read(changes, from, list, max, &n, &head.newest)) {
		answer_begin(work, from);
		return;
	}
	head.count = (uint32_t)n;
	head.next = from + n;
	answer_page(work, &head, list);
}

/* False: there is something to tell, or no room to wait. */
WRIT_CHECKED static bool
wait_for_change(struct work *work, uint64_t from, uint32_t wait_ms)
{
	struct serve_loop *on = work->on;
	struct follower *f;

	if (wait_ms == 0 || on->n_followers >= FEED_WAITERS_MAX)
		return false;
	atomic_store(&on->followed, true); /* (1) */
	if (status_changes_next(on->serve->changes) != from)
		return false;
	f = writ_arena_take(&work->arena, sizeof(*f));
	if (!f)
		return false;
	*f = (struct follower){
		.next = on->followers, .work = work, .from = from, .until_ms = work->now.mono_ms + wait_ms
	};
	on->followers = f;
	on->n_followers++;
	return true;
}

struct writ_err *
feed_changes(struct work *work)
{
	uint8_t epoch[STATUS_EPOCH_LEN];
	uint32_t wait_ms;
	uint64_t from;
	struct writ_err *err = request_changes_query(work->request->query, epoch, &from, &wait_ms);

	if (err)
		return err;
	if (!epoch_is_ours(work, epoch))
		answer_begin(work, from);
	else if (!wait_for_change(work, from, wait_ms))
		answer_changes(work, from);
	return NULL;
}

/* Answers those who have something to be told, or have waited until `now_ms`. */
static void
followers_answer(struct serve_loop *on, int64_t now_ms)
{
	const uint64_t next = status_changes_next(on->serve->changes);
	struct follower **at = &on->followers;

	while (*at) {
		struct follower *f = *at;

		if (f->from == next && f->until_ms > now_ms) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		on->n_followers--;
		answer_changes(f->work, f->from);
	}
	if (on->n_followers == 0)
		atomic_store(&on->followed, false);
}

static void
followers_wake(void *arg)
{
	struct serve_loop *on = arg;

	atomic_store(&on->follow_posted, false);
	followers_answer(on, loop_now(on->loop).mono_ms);
}

void
feed_wake(struct serve *serve)
{
	for (unsigned i = 0; i < serve->n_loops; i++) {
		struct serve_loop *on = &serve->loops[i];

		if (atomic_load(&on->followed) && !atomic_exchange(&on->follow_posted, true))
			loop_post(on->loop, followers_wake, on);
	}
}

void
feed_tick(struct serve_loop *on, struct clock now)
{
	if (on->followers)
		followers_answer(on, now.mono_ms);
}

/* ---- the table ---- */

struct writ_err *
feed_table(struct work *work)
{
	const struct serve *serve = work->on->serve;
	AUTO(freep) struct status_change *list = NULL;
	struct feed_head head;
	uint8_t epoch[STATUS_EPOCH_LEN];
	uint64_t at;
	struct writ_err *err = request_table_query(work->request->query, epoch, &at);

	if (err)
		return err;
	if (!epoch_is_ours(work, epoch)) {
		answer_begin(work, at);
		return NULL;
	}
	list = malloc(FEED_RECORDS_MAX * sizeof(*list));
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a page of the status table");
	head = head_now(work, FEED_TABLE, at);
	head.count = (uint32_t)status_walk(serve->status, work->on->number, at, list, FEED_RECORDS_MAX, &head.next);
	if (head.next == STATUS_WALK_END)
		head.next = FEED_TABLE_END;
	head.newest = status_changes_next(serve->changes);
	answer_page(work, &head, list);
	return NULL;
}

/* ---- documents ---- */

struct listing {
	struct writ_buf *out;
	struct writ_err *err; /* the first */
};

static void
list_document(const struct document *doc, void *ctx)
{
	struct listing *listing = ctx;
	struct feed_document line = { .len = doc->len,
				      .last_modified = doc->last_modified,
				      .expires = doc->expires,
				      .max_age_s = doc->max_age_s };

	if (listing->err)
		return;
	snprintf(line.path, sizeof(line.path), "%s", doc->path);
	snprintf(line.content_type, sizeof(line.content_type), "%s", doc->content_type);
	memcpy(line.sha256, doc->etag, sizeof(line.sha256));
	listing->err = feed_document_write(&line, listing->out);
}

struct writ_err *
feed_documents(struct work *work)
{
	struct listing listing = { .out = &work->answer };

	publish_each(work->on->serve->publish, list_document, &listing);
	if (listing.err)
		return listing.err;
	work_answer_as(work, 200, "text/plain; charset=utf-8", writ_view(&work->answer));
	return NULL;
}
