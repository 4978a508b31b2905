/*
 * POST /v1/batch: see batch.h.
 *
 * (1) Every item takes a token of its asker's share, as a request of its own would.
 * (2) The last result sends the answer; until all items are begun one result is held back, so that it cannot come
 * early.
 */
#include "issuer/serve/batch.h"

#include <stdlib.h>

#include "issuer/serve/api.h"
#include "issuer/serve/issue.h"
#include "issuer/serve/shares.h"

#define RESULTS_MAX (4 * 1024 * 1024) /* bytes: 256 leaves with chain and a first OCSP response */

struct result {
	unsigned status;
	uint32_t retry_after_s;
	struct writ_buf json;
};

struct batch {
	struct work *parent;
	size_t n, left;
	struct result results[];
};

size_t
batch_body_max(struct writ_bytes path)
{
	return writ_equal(path, WRIT_LIT("/v1/batch")) ? BATCH_BODY_MAX : 0;
}

struct http_later *
batch_later(const struct batch *batch)
{
	return batch->parent->later;
}

static void
batch_free(struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		writ_buf_done(&batch->results[i].json);
	free(batch);
}

WRIT_CHECKED static struct writ_err *
results_write(const struct batch *batch, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_open(&out, "results", '[');
	for (size_t i = 0; i < batch->n; i++) {
		const struct result *r = &batch->results[i];

		out_open(&out, NULL, '{');
		out_int(&out, "status", r->status);
		if (r->retry_after_s > 0)
			out_int(&out, "retry_after_s", r->retry_after_s);
		out_json(&out, r->status == WORK_ANSWER_STATUS ? "issued" : "problem", writ_view(&r->json));
		out_close(&out, '}');
	}
	out_close(&out, ']');
	out_close(&out, '}');
	return out_done(&out);
}

/* (2) */
static void
batch_let_go(struct batch *batch)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(RESULTS_MAX);
	struct work *parent = batch->parent;
	struct writ_err *err;

	if (--batch->left > 0)
		return;
	parent->on->n_batched -= batch->n;
	err = results_write(batch, &answer);
	batch_free(batch);
	if (err)
		work_fail(parent, err);
	else
		work_answer(parent, 200, writ_view(&answer));
}

void
batch_took(struct work *item, unsigned status, struct writ_bytes json, uint32_t retry_after_s)
{
	struct batch *batch = item->batch;
	struct result *r = &batch->results[item->batch_at];
	struct writ_err *err;

	r->status = status;
	r->retry_after_s = retry_after_s;
	r->json = WRIT_BUF(ANSWER_MAX);
	err = writ_buf_add(&r->json, json);
	if (err) { /* issued it may be, and recorded; its asker can ask again, as after any answer that was lost */
		writ_err_free(err);
		writ_buf_clear(&r->json);
		r->status = 503;
		err = writ_buf_add(&r->json, WRIT_LIT("{}"));
		writ_err_free(err);
	}
	batch_let_go(batch);
}

static struct writ_err *
item_turn(struct work *item)
{
	struct writ_err *err = api_again(item);

	return err ? err : issue_item(item);
}

/* One item on its way.  Its errors are its result. */
static void
item_begin(struct batch *batch, size_t at, const struct request_item *asked)
{
	struct work *item = work_item(batch->parent, batch, at);
	struct writ_err *err;

	err = shares_asks(item, false); /* (1) */
	if (!err)
		err = task_id_check(asked->task);
	if (!err) {
		item->path_id = writ_arena_copy(&item->arena, asked->task);
		item->asked = asked->leaf;
		item->asked.csr = writ_arena_copy(&item->arena, asked->leaf.csr);
		if (!item->path_id.data || !item->asked.csr.data)
			err = writ_fail(WRIT_EXHAUSTED, "no memory for an item");
	}
	if (err)
		work_fail(item, err);
	else
		shares_turn(item, item->path_id, item_turn);
}

WRIT_CHECKED static struct writ_err *
batch_new(struct work *parent, size_t n, struct batch **ret)
{
	struct batch *batch;

	if (parent->on->n_batched + n > BATCH_IN_FLIGHT_MAX)
		return writ_fail(WRIT_UNAVAILABLE,
				 "%zu items of batches are under way, and with these %zu it would be over %d",
				 parent->on->n_batched, n, BATCH_IN_FLIGHT_MAX);
	batch = calloc(1, sizeof(*batch) + n * sizeof(batch->results[0]));
	if (!batch)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a batch");
	batch->parent = parent;
	batch->n = n;
	batch->left = n + 1; /* (2) */
	parent->on->n_batched += n;
	*ret = batch;
	return NULL;
}

struct writ_err *
batch_leaves(struct work *work)
{
	struct request_item items[BATCH_ITEMS_MAX];
	struct batch *batch = NULL; /* as is `n`: gcc does not see at every -O that no error means both are set */
	struct writ_err *err;
	size_t n = 0;

	if (work->request->idempotency_key.len > 0)
		return writ_fail(WRIT_INVALID,
				 "a batch takes no Idempotency-Key: each of its items is a request of its own");
	err = request_batch(work->request->body, &work->arena, items, BATCH_ITEMS_MAX, &n);
	if (!err)
		err = batch_new(work, n, &batch);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++)
		item_begin(batch, i, &items[i]);
	batch_let_go(batch);
	return NULL;
}
