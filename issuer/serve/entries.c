/*
 * The journal for auditors: see entries.h.
 */
#include "issuer/serve/entries.h"

#include "issuer/log/journal.h"
#include "issuer/serve/work.h"

#define ENTRY_AROUND 256 /* bytes of JSON around an entry, and behind the last one */

/* In the work's arena; the keeper's while it reads. */
struct entries {
	struct errand errand;
	struct work *work;
	struct out out;
	uint64_t from, next;
	unsigned left;
	bool enough;
	struct writ_err *err;
};

static struct writ_err *
entry_show(const struct entry *entry, void *ctx)
{
	struct entries *e = ctx;

	/* What no longer fits begins the next answer. */
	if (e->left == 0 || e->out.buf->len + entry->json.len + ENTRY_AROUND > e->out.buf->limit) {
		e->enough = true;
		return writ_fail(WRIT_EXHAUSTED, "enough entries");
	}
	e->left--;
	e->next = entry->index + 1;
	out_open(&e->out, NULL, '{');
	out_int(&e->out, "index", (int64_t)entry->index);
	out_hex(&e->out, "leaf_hash", (struct writ_bytes){ entry->leaf_hash, sizeof(entry->leaf_hash) });
	out_json(&e->out, "entry", entry->json);
	out_close(&e->out, '}');
	return NULL;
}

/* Back on the loop. */
static void
entries_answer(void *arg)
{
	struct entries *e = arg;
	struct work *work = e->work;

	if (e->err)
		work_fail(work, TAKE(e->err));
	else
		work_answer(work, 200, writ_view(&work->answer));
}

/* On the keeper. */
static void
entries_read(struct errand *errand)
{
	struct entries *e = (struct entries *)errand;
	const struct conf *conf = &e->work->on->serve->conf;
	struct writ_err *err;
	char dir[4096];

	out_open(&e->out, NULL, '{');
	out_int(&e->out, "from", (int64_t)e->from);
	out_open(&e->out, "entries", '[');
	e->err = journal_read(conf_path(conf->state, "journal", dir), e->from, entry_show, e);
	if (e->enough) {
		writ_err_free(e->err);
		e->err = NULL;
	}
	out_close(&e->out, ']');
	out_int(&e->out, "next", (int64_t)e->next);
	out_close(&e->out, '}');
	err = out_done(&e->out);
	if (!e->err)
		e->err = TAKE(err);
	writ_err_free(err);
	loop_post(e->work->on->loop, entries_answer, e);
}

struct writ_err *
entries_show(struct work *work)
{
	struct entries *e = writ_arena_take(&work->arena, sizeof(*e));
	struct writ_err *err;

	if (!e)
		return writ_fail(WRIT_EXHAUSTED, "no memory to read the journal");
	err = request_entries_query(work->request->query, &e->from, &e->left);
	if (err)
		return err;
	e->errand.run = entries_read;
	e->work = work;
	e->next = e->from;
	e->out = out_to(&work->answer);
	if (!serve_errand(work->on->serve, &e->errand))
		return writ_fail(WRIT_UNAVAILABLE, "stopping: ask again in a moment");
	return NULL;
}
