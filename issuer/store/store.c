/*
 * The store's front: finds the backend of a URI, and checks once what every backend relies on.
 */
#include "issuer/store/store.h"

#include "issuer/store/backend.h"

static const struct store_ops *const backends[] = { &store_sqlite };

struct writ_err *
store_open(const char *uri, enum store_mode mode, struct store **ret)
{
	const char *colon = strchr(uri, ':');
	struct writ_err *err;

	*ret = NULL;
	for (size_t i = 0; colon && i < N_OF(backends); i++) {
		if (strlen(backends[i]->scheme) != (size_t)(colon - uri) ||
		    memcmp(backends[i]->scheme, uri, (size_t)(colon - uri)) != 0)
			continue;
		err = backends[i]->open(colon + 1, mode, ret);
		if (err)
			return writ_because(err, "store %s", uri);
		(*ret)->ops = backends[i];
		(*ret)->mode = mode;
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "store %s: the scheme is none of: sqlite", uri);
}

void
store_close(struct store *store)
{
	if (store)
		store->ops->close(store);
}

void
store_closep(struct store **store)
{
	store_close(*store);
	*store = NULL;
}

static bool
is_some(struct writ_bytes bytes, size_t max)
{
	return bytes.len > 0 && bytes.len <= max;
}

/* The names a row hangs on.  Their grammar is the caller's matter; here only that no row is without a name. */
static struct writ_err *
names_check(const struct store_task *task, const struct store_edge *edge)
{
	if (task && (!is_some(task->id, TASK_ID_MAX) || task->parent.len > TASK_ID_MAX))
		return writ_fail(WRIT_INVALID, "a task id of %zu bytes, allowed are 1 to %d", task->id.len,
				 TASK_ID_MAX);
	if (task && !is_some(task->opener, STORE_PRINCIPAL_MAX))
		return writ_fail(WRIT_INVALID, "an opener of %zu bytes, allowed are 1 to %d", task->opener.len,
				 STORE_PRINCIPAL_MAX);
	if (task && !writ_equal(task->id, edge->task))
		return writ_fail(WRIT_INVALID, "task %.*s comes with an edge of task %.*s", WRIT_FMT(task->id),
				 WRIT_FMT(edge->task));
	if (!is_some(edge->task, TASK_ID_MAX))
		return writ_fail(WRIT_INVALID, "a task id of %zu bytes, allowed are 1 to %d", edge->task.len,
				 TASK_ID_MAX);
	if (!is_some(edge->delegator, STORE_PRINCIPAL_MAX) || !is_some(edge->agent, STORE_PRINCIPAL_MAX))
		return writ_fail(WRIT_INVALID, "a principal of %zu and one of %zu bytes, allowed are 1 to %d",
				 edge->delegator.len, edge->agent.len, STORE_PRINCIPAL_MAX);
	return NULL;
}

static struct writ_err *
pending_check(const struct store_pending *pending)
{
	static const uint8_t none[EDGE_ID_LEN];
	struct writ_err *err = names_check(&pending->task, &pending->edge);

	if (err)
		return err;
	if (pending->task.parent.len > 0 || memcmp(pending->edge.parent, none, sizeof(none)) != 0)
		return writ_fail(WRIT_INVALID, "task %.*s: only a root waits for approvals",
				 WRIT_FMT(pending->task.id));
	if (pending->needed == 0 || pending->rule.len == 0 || pending->approvers.len == 0)
		return writ_fail(WRIT_INVALID, "task %.*s: whose approval it waits for, and by which rule, is not said",
				 WRIT_FMT(pending->task.id));
	return NULL;
}

static struct writ_err *
approve_check(const struct store_item *item)
{
	const struct store_approval *said = &item->approve->said;

	if (!is_some(item->approve->task, TASK_ID_MAX) || !is_some(said->principal, STORE_PRINCIPAL_MAX))
		return writ_fail(WRIT_INVALID, "an approval of a task id of %zu bytes by a principal of %zu",
				 item->approve->task.len, said->principal.len);
	return said->refuses ? NULL : names_check(item->task, item->edge);
}

static struct writ_err *
revoke_check(const struct store_item *item)
{
	const struct store_revoke *revoke = item->revoke;

	switch (revoke->what) {
	case REVOKE_EDGE:
		if (revoke->id.len != EDGE_ID_LEN)
			return writ_fail(WRIT_INVALID, "an edge id of %zu bytes, it has %d", revoke->id.len,
					 EDGE_ID_LEN);
		return NULL;
	case REVOKE_LEAF:
		if (revoke->id.len != SERIAL_LEN)
			return writ_fail(WRIT_INVALID, "a serial of %zu bytes, it has %d", revoke->id.len, SERIAL_LEN);
		return NULL;
	case REVOKE_TASK:
		if (revoke->end_task_as != TASK_COMPLETE && revoke->end_task_as != TASK_REVOKED)
			return writ_fail(WRIT_INVALID, "a task ends as complete or revoked, not as %d",
					 (int)revoke->end_task_as);
		if (revoke->block_key)
			return writ_fail(WRIT_INVALID,
					 "a task has no key to block: revoke the edge whose key is compromised");
		return NULL;
	case REVOKE_PRINCIPAL:
	case REVOKE_CLASS:
		if (!is_some(revoke->id, STORE_PRINCIPAL_MAX))
			return writ_fail(WRIT_INVALID, "a principal of %zu bytes, allowed are 1 to %d", revoke->id.len,
					 STORE_PRINCIPAL_MAX);
		return NULL;
	case REVOKE_ALL:
		if (revoke->id.len > 0)
			return writ_fail(WRIT_INVALID, "everything has no name");
		if (revoke->block_key)
			return writ_fail(WRIT_INVALID,
					 "everything has no key to block: revoke the edge whose key is compromised");
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "nothing that can be revoked has the number %d", (int)revoke->what);
}

/* What can be frozen, and by whom. */
static struct writ_err *
freeze_check(const struct store_item *item)
{
	const struct store_revoke *revoke = item->revoke;

	if (item->op == STORE_REVOKE && !revoke->freeze)
		return NULL;
	if (revoke->what != REVOKE_PRINCIPAL && revoke->what != REVOKE_CLASS && revoke->what != REVOKE_ALL)
		return writ_fail(WRIT_INVALID, "a principal, a class or everything is frozen, nothing else");
	if (item->op == STORE_REVOKE && !is_some(revoke->by, STORE_PRINCIPAL_MAX))
		return writ_fail(WRIT_INVALID, "a freeze by a principal of %zu bytes, allowed are 1 to %d",
				 revoke->by.len, STORE_PRINCIPAL_MAX);
	return NULL;
}

static struct writ_err *
item_check(const struct store_item *item)
{
	struct writ_err *err;
	bool whole = false;

	switch (item->op) {
	case STORE_OPEN_TASK:
		whole = item->task && item->edge;
		break;
	case STORE_PEND:
		whole = item->pending;
		break;
	case STORE_APPROVE:
		whole = item->approve && (item->approve->said.refuses || (item->task && item->edge));
		break;
	case STORE_ADD_EDGE:
		whole = item->edge;
		break;
	case STORE_ISSUE:
	case STORE_ABORT:
		whole = item->cert;
		break;
	case STORE_REVOKE:
		whole = item->revoke && item->arena;
		break;
	case STORE_POLICY:
		whole = item->policy && item->policy->id.len > 0 && item->policy->text.len > 0;
		break;
	case STORE_THAW:
		whole = item->revoke;
		break;
	case STORE_CLOSE:
		whole = item->task;
		break;
	case STORE_DENIED:
		whole = item->denied && item->denied->slot < STORE_DENIED_SLOTS &&
			is_some(item->denied->delegator, STORE_PRINCIPAL_MAX) &&
			is_some(item->denied->agent, STORE_PRINCIPAL_MAX) && item->denied->grant.len > 0;
		break;
	case STORE_OUTBOX_DONE:
	case STORE_PRUNE:
	case STORE_NOTED:
		whole = true;
		break;
	}
	if (!whole)
		return writ_fail(WRIT_BROKEN, "store: an item of operation %d lacks what that needs", (int)item->op);
	if (item->op == STORE_OPEN_TASK || item->op == STORE_ADD_EDGE)
		return names_check(item->op == STORE_OPEN_TASK ? item->task : NULL, item->edge);
	if (item->op == STORE_PEND)
		return pending_check(item->pending);
	if (item->op == STORE_APPROVE)
		return approve_check(item);
	if (item->op != STORE_REVOKE && item->op != STORE_THAW)
		return NULL;
	err = revoke_check(item);
	return err ? err : freeze_check(item);
}

static void
clear_results(struct store_item *item)
{
	item->revoked = NULL;
	item->n_revoked = 0;
	item->owed = 0;
	item->edges = NULL;
	item->n_edges = 0;
	item->n_pruned = 0;
	item->pending_is = 0;
	item->n_given = 0;
}

/* FNV-1a: which tasks share a counter is nobody's interest. */
static unsigned
revision_slot(struct writ_bytes task)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < task.len; i++)
		hash = (hash ^ task.data[i]) * 16777619u;
	return hash % STORE_REVISIONS;
}

uint64_t
store_revision(const struct store *store, struct writ_bytes task)
{
	return atomic_load(&store->all_revision) + atomic_load(&store->revisions[revision_slot(task)]);
}

/* Also of what failed: nobody knows how far it came.  A revocation may reach into any task; an end that came, one. */
static void
revision_move(struct store *store, const struct store_item *item)
{
	if (item->op == STORE_REVOKE || item->op == STORE_THAW)
		atomic_fetch_add(&store->all_revision, 1);
	else if (item->op == STORE_CLOSE && item->task)
		atomic_fetch_add(&store->revisions[revision_slot(item->task->id)], 1);
}

struct writ_err *
store_commit(struct store *store, struct store_item *items, size_t n)
{
	struct writ_err *err;

	if (store->mode != STORE_WRITE)
		return writ_fail(WRIT_BROKEN, "store: it was opened for reading");
	for (size_t i = 0; i < n; i++) {
		clear_results(&items[i]);
		items[i].result = item_check(&items[i]);
	}
	err = store->ops->commit(store, items, n);
	for (size_t i = 0; i < n; i++) {
		revision_move(store, &items[i]);
		if (err || items[i].result)
			clear_results(&items[i]);
		if (err)
			writ_err_freep(&items[i].result);
	}
	return err;
}

void
store_idle(struct store *store)
{
	if (store->ops->idle)
		store->ops->idle(store);
}

struct writ_err *
store_task(struct store *store, struct writ_bytes id, struct writ_arena *arena, struct store_task *ret)
{
	return store->ops->task(store, id, arena, ret);
}

struct writ_err *
store_pending(struct store *store, struct writ_bytes task, struct writ_arena *arena, struct store_pending *ret)
{
	return store->ops->pending(store, task, arena, ret);
}

struct writ_err *
store_pendings(struct store *store, writ_time now, store_each_pending *each, void *ctx)
{
	return store->ops->pendings(store, now, each, ctx);
}

struct writ_err *
store_pendings_count(struct store *store, writ_time now, uint64_t *ret)
{
	return store->ops->pendings_count(store, now, ret);
}

struct writ_err *
store_tasks_of(struct store *store, struct writ_bytes opener, writ_time now, size_t max, struct writ_arena *arena,
	       struct store_task **ret, size_t *ret_n)
{
	return store->ops->tasks_of(store, opener, now, max, arena, ret, ret_n);
}

struct writ_err *
store_edge(struct store *store, const uint8_t id[EDGE_ID_LEN], struct writ_arena *arena, struct store_edge *ret)
{
	return store->ops->edge(store, id, arena, ret);
}

struct writ_err *
store_edge_by_key(struct store *store, struct writ_bytes task, const uint8_t spki_sha256[32], struct writ_arena *arena,
		  struct store_edge *ret)
{
	return store->ops->edge_by_key(store, task, spki_sha256, arena, ret);
}

struct writ_err *
store_edges(struct store *store, struct writ_bytes task, struct writ_arena *arena, struct store_edge **ret,
	    size_t *ret_n)
{
	return store->ops->edges(store, task, arena, ret, ret_n);
}

struct writ_err *
store_cert(struct store *store, const uint8_t serial[SERIAL_LEN], struct writ_arena *arena, struct store_cert *ret)
{
	return store->ops->cert(store, serial, arena, ret);
}

struct writ_err *
store_cert_der(struct store *store, const uint8_t serial[SERIAL_LEN], struct writ_arena *arena, struct writ_bytes *ret)
{
	return store->ops->cert_der(store, serial, arena, ret);
}

struct writ_err *
store_newest_leaf(struct store *store, const uint8_t edge[EDGE_ID_LEN], writ_time now, writ_time *ret)
{
	return store->ops->newest_leaf(store, edge, now, ret);
}

struct writ_err *
store_lineage_live(struct store *store, const uint8_t edge[EDGE_ID_LEN], bool *ret_live, uint8_t ret_dead[EDGE_ID_LEN])
{
	return store->ops->lineage_live(store, edge, ret_live, ret_dead);
}

struct writ_err *
store_answer(struct store *store, struct writ_bytes key, writ_time now, struct writ_arena *arena,
	     struct store_answer *ret)
{
	return store->ops->answer(store, key, now, arena, ret);
}

struct writ_err *
store_once_used(struct store *store, struct writ_bytes key, writ_time now, bool *ret)
{
	return store->ops->once_used(store, key, now, ret);
}

struct writ_err *
store_evidence(struct store *store, const uint8_t digest[32], struct writ_arena *arena, struct store_evidence *ret)
{
	return store->ops->evidence(store, digest, arena, ret);
}

struct writ_err *
store_key_blocked(struct store *store, const uint8_t spki_sha256[32], bool *ret)
{
	return store->ops->key_blocked(store, spki_sha256, ret);
}

struct writ_err *
store_live_certs(struct store *store, writ_time now, store_each_cert *each, void *ctx)
{
	return store->ops->live_certs(store, now, each, ctx);
}

struct writ_err *
store_outbox(struct store *store, store_each_owed *each, void *ctx)
{
	return store->ops->outbox(store, each, ctx);
}

struct writ_err *
store_revoked_edges(struct store *store, writ_time since, store_each_edge *each, void *ctx)
{
	return store->ops->revoked_edges(store, since, each, ctx);
}

struct writ_err *
store_policy_last(struct store *store, struct writ_arena *arena, struct store_policy *ret)
{
	return store->ops->policy_last(store, arena, ret);
}

struct writ_err *
store_all_edges(struct store *store, struct writ_arena *arena, store_each_whole_edge *each, void *ctx)
{
	return store->ops->all_edges(store, arena, each, ctx);
}

struct writ_err *
store_freezes(struct store *store, store_each_freeze *each, void *ctx)
{
	return store->ops->freezes(store, each, ctx);
}

struct writ_err *
store_frozen(struct store *store, struct writ_bytes principal, enum revoke_what *ret)
{
	return store->ops->frozen(store, principal, ret);
}

struct writ_err *
store_ended(struct store *store, writ_time now, unsigned max, store_each_ended *each, void *ctx)
{
	return store->ops->ended(store, now, max, each, ctx);
}

struct writ_err *
store_notes(struct store *store, unsigned max, store_each_note *each, void *ctx)
{
	return store->ops->notes(store, max, each, ctx);
}

struct writ_err *
store_all_denied(struct store *store, struct writ_arena *arena, store_each_denied *each, void *ctx)
{
	return store->ops->all_denied(store, arena, each, ctx);
}

struct writ_err *
store_counts(struct store *store, writ_time now, struct store_counts *ret)
{
	return store->ops->counts(store, now, ret);
}
