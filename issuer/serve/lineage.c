/*
 * Facts from the store: see lineage.h.
 */
#include "issuer/serve/lineage.h"

static const uint8_t no_edge[EDGE_ID_LEN];

WRIT_CHECKED static struct writ_err *
grant_of(const struct store_edge *edge, struct writ_arena *arena, struct grant *ret)
{
	struct writ_err *err = hop_grant_read(edge->grant, arena, ret);

	if (err)
		return writ_recode(err, WRIT_BROKEN, "the grant of an edge in our store cannot be read");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
parent_load(struct store *store, writ_time now, struct writ_arena *arena, struct lineage *l)
{
	struct writ_err *err;

	l->has_parent = memcmp(l->edge.parent, no_edge, sizeof(no_edge)) != 0;
	if (!l->has_parent)
		return NULL;
	err = store_edge(store, l->edge.parent, arena, &l->parent);
	if (!err)
		err = grant_of(&l->parent, arena, &l->parent_grant);
	if (!err)
		err = store_newest_leaf(store, l->edge.parent, now, &l->parent_newest);
	return err;
}

/* All but the edge itself, which is there. */
WRIT_CHECKED static struct writ_err *
lineage_load(struct store *store, writ_time now, struct writ_arena *arena, struct lineage *l)
{
	struct spiffe_id delegator;
	struct writ_err *err;

	err = store_task(store, l->edge.task, arena, &l->task);
	if (!err)
		err = store_lineage_live(store, l->edge.id, &l->live, l->dead);
	if (!err)
		err = grant_of(&l->edge, arena, &l->grant);
	if (!err)
		err = parent_load(store, now, arena, l);
	if (!err)
		err = spiffe_parse(l->edge.delegator, &delegator);
	if (err)
		return err;
	l->delegator_kind = delegator.kind;
	return NULL;
}

struct writ_err *
lineage_by_key(struct store *store, struct writ_bytes task, const uint8_t spki_sha256[32], writ_time now,
	       struct writ_arena *arena, struct lineage *ret)
{
	struct writ_err *err;

	*ret = (struct lineage){ 0 };
	err = store_edge_by_key(store, task, spki_sha256, arena, &ret->edge);
	if (err && err->code == WRIT_NOT_FOUND)
		return writ_recode(err, WRIT_NOT_FOUND, "no delegation of task '%.*s' names this key", WRIT_FMT(task));
	if (err)
		return err;
	return lineage_load(store, now, arena, ret);
}

struct writ_err *
lineage_by_edge(struct store *store, const uint8_t edge[EDGE_ID_LEN], writ_time now, struct writ_arena *arena,
		struct lineage *ret)
{
	struct writ_err *err;

	*ret = (struct lineage){ 0 };
	err = store_edge(store, edge, arena, &ret->edge);
	if (err)
		return err;
	return lineage_load(store, now, arena, ret);
}

struct writ_err *
lineage_ancestors(struct store *store, const struct store_edge *edge, struct writ_arena *arena,
		  struct store_edge ret[HOPS_MAX], size_t *ret_n)
{
	size_t n = 0;

	ret[n++] = *edge;
	while (n < HOPS_MAX && memcmp(ret[n - 1].parent, no_edge, sizeof(no_edge)) != 0) {
		struct writ_err *err = store_edge(store, ret[n - 1].parent, arena, &ret[n]);

		if (err)
			return err;
		if (!writ_equal(ret[n].task, edge->task)) /* of the task that encloses it */
			break;
		n++;
	}
	*ret_n = n;
	return NULL;
}
