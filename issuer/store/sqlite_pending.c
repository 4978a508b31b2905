/*
 * Tasks that wait for approvals, in SQLite: asked for, approved or refused, read.
 *
 * A row keeps the whole decided task; it is never a task until the last approval makes it one.
 * (1) An id is a task's or reserved by one that waits, never both.
 * (2) A principal counts once: UNIQUE (pending, principal).  Who opened it has no row that approves.
 * (3) The last approval and what it opens are one item of one transaction: both or none.
 * (4) A freeze ends what names the frozen one as opener, agent or approver, as a refusal (sqlite_revoke.c).
 * (5) What has ended or expired stays to be looked at until it is pruned, or its id is asked for anew.
 */
#include <stdio.h>

#include "base/text.h"
#include "issuer/store/sqlite.h"

/* ---- asked for ---- */

struct writ_err *
sqlite_not_pending(struct sqlite *s, struct writ_bytes task, writ_time now)
{
	struct writ_err *err;
	int64_t waits;

	err = sqlite_number(s, Q_PENDING_LIVE, 0, &waits, VALUES(V_TEXT(task), V_INT(now)));
	if (err)
		return err;
	if (waits)
		return writ_fail(WRIT_CONFLICT, "task %.*s is there already, and waits for approvals", WRIT_FMT(task));
	return NULL;
}

/* I14: of one opener, and of all. */
static struct writ_err *
share_check(struct sqlite *s, struct writ_bytes opener, writ_time now)
{
	struct writ_err *err;
	int64_t n;

	err = sqlite_number(s, Q_PENDINGS_OF, 0, &n, VALUES(V_TEXT(opener), V_INT(now)));
	if (err)
		return err;
	if (n >= STORE_PENDING_OPENER_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "%.*s has %lld tasks that wait for approvals, its limit is %d: have some approved or "
				 "refused",
				 WRIT_FMT(opener), (long long)n, STORE_PENDING_OPENER_MAX);
	err = sqlite_number(s, Q_PENDINGS_COUNT, 0, &n, VALUES(V_INT(now)));
	if (err)
		return err;
	if (n >= STORE_PENDING_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%lld tasks wait for approvals, the limit is %d", (long long)n,
				 STORE_PENDING_MAX);
	return NULL;
}

struct writ_err *
sqlite_pend(struct sqlite *s, const struct store_item *item)
{
	const struct store_pending *p = item->pending;
	const struct store_edge *edge = &p->edge;
	struct writ_err *err;
	int64_t n;

	err = sqlite_number(s, Q_TASK_STATE, 0, &n, VALUES(V_TEXT(p->task.id)));
	if (err)
		return err;
	if (n)
		return writ_fail(WRIT_CONFLICT, "task %.*s is there already", WRIT_FMT(p->task.id)); /* (1) */
	err = sqlite_not_pending(s, p->task.id, item->now);
	if (err)
		return err;
	err = share_check(s, p->task.opener, item->now);
	if (err)
		return err;
	err = sqlite_edge_check(s, edge, 0);
	if (err)
		return err;

	err = sqlite_number(s, Q_PENDING_ROW, 0, &n, VALUES(V_TEXT(p->task.id)));
	if (!err && n) /* (5) */
		err = sqlite_do(s, Q_DROP_APPROVALS, VALUES(V_INT(n)));
	if (!err && n)
		err = sqlite_do(s, Q_DROP_PENDING, VALUES(V_INT(n)));
	if (err)
		return err;
	return sqlite_do(s, Q_ADD_PENDING,
			 VALUES(V_TEXT(p->task.id), V_TEXT(p->task.opener), V_TEXT(p->task.purpose),
				V_INT(p->task.created), V_INT(p->task.ends), V_FIXED(edge->id, EDGE_ID_LEN),
				V_TEXT(edge->agent), V_FIXED(edge->spki_sha256, 32), V_INT(edge->depth_remaining),
				V_INT(edge->not_after), V_INT(edge->max_lifetime_s), V_BYTES(edge->grant),
				V_BYTES(edge->hops), V_BYTES(edge->context), V_FIXED(p->digest, 32), V_TEXT(p->rule),
				V_INT(p->needed), V_TEXT(p->approvers), V_INT(p->expires), V_INT(p->end_is_fixed)));
}

/* ---- approved or refused ---- */

struct found {
	int64_t n;
	bool same, own; /* the digest named; the opener speaks */
	int64_t needed;
	writ_time expires;
	enum pending_state state;
};

static struct writ_err *
find(struct sqlite *s, const struct store_approve *approve, struct found *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;
	uint8_t digest[32];

	err = sqlite_ask(s, Q_PENDING_ROW, &row, VALUES(V_TEXT(approve->task)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "task %.*s waits for no approval", WRIT_FMT(approve->task));
	column_fixed(row, 1, digest, sizeof(digest));
	*ret = (struct found){
		.n = sqlite3_column_int64(row, 0),
		.same = memcmp(digest, approve->digest, sizeof(digest)) == 0,
		.own = writ_equal(column_bytes(row, 2), approve->said.principal),
		.needed = sqlite3_column_int64(row, 3),
		.expires = sqlite3_column_int64(row, 4),
		.state = (enum pending_state)sqlite3_column_int(row, 5),
	};
	return NULL;
}

/* May it still be spoken to? */
static struct writ_err *
waits_check(const struct store_approve *approve, const struct found *found, writ_time now)
{
	char ended[WRIT_RFC3339_LEN + 1];

	if (!found->same)
		return writ_fail(WRIT_CONFLICT, "the digest is not that of what waits as task %.*s: look at it again",
				 WRIT_FMT(approve->task));
	if (found->state == PENDING_OPENED)
		return writ_fail(WRIT_CONFLICT, "task %.*s is open already", WRIT_FMT(approve->task));
	if (found->state == PENDING_REFUSED)
		return writ_fail(WRIT_CONFLICT, "task %.*s was refused", WRIT_FMT(approve->task));
	if (found->expires < now)
		return writ_fail(WRIT_CONFLICT, "task %.*s waited for approvals until %s: ask for it anew",
				 WRIT_FMT(approve->task), writ_time_rfc3339(found->expires, ended));
	if (found->own && !approve->said.refuses)
		return writ_fail(WRIT_INVALID, "who asked for task %.*s does not approve it", WRIT_FMT(approve->task));
	return NULL;
}

static struct writ_err *
said_add(struct sqlite *s, int64_t pending, const struct store_approval *said)
{
	return sqlite_do(s, Q_ADD_APPROVAL,
			 VALUES(V_INT(pending), V_TEXT(said->principal), V_INT(said->at), V_INT(said->refuses),
				V_TEXT(said->because), V_FIXED(said->evidence, 32)));
}

static struct writ_err *
refuse(struct sqlite *s, const struct store_item *item, const struct found *found)
{
	struct writ_err *err = said_add(s, found->n, &item->approve->said);

	if (err)
		return err;
	return sqlite_do(s, Q_END_PENDING,
			 VALUES(V_INT(found->n), V_INT(PENDING_REFUSED), V_INT(item->now), V_INT(found->expires)));
}

struct writ_err *
sqlite_approve(struct sqlite *s, struct store_item *item)
{
	const struct store_approve *approve = item->approve;
	struct found found = { 0 };
	struct writ_err *err;
	int64_t already, given;

	err = find(s, approve, &found);
	if (!err)
		err = sqlite_number(s, Q_APPROVED, 0, &already,
				    VALUES(V_INT(found.n), V_TEXT(approve->said.principal)));
	if (!err)
		err = sqlite_number(s, Q_GIVEN, 0, &given, VALUES(V_INT(found.n)));
	if (err)
		return err;
	item->n_given = (size_t)given;
	item->pending_is = found.state;
	if (already && found.same && found.state == PENDING_OPENED && !approve->said.refuses)
		return NULL; /* said again: (2) */
	err = waits_check(approve, &found, item->now);
	if (err)
		return err;
	if (approve->said.refuses) {
		item->pending_is = PENDING_REFUSED;
		item->n_given -= (size_t)already;
		return refuse(s, item, &found);
	}
	if (already)
		return NULL;
	err = sqlite_frozen_check(s, approve->said.principal);
	if (err)
		return err;
	item->n_given++;
	if (given + 1 >= found.needed) { /* (3): its checks come before its rows, and before any here */
		err = sqlite_open_task(s, item);
		if (!err)
			err = sqlite_do(s, Q_END_PENDING,
					VALUES(V_INT(found.n), V_INT(PENDING_OPENED), V_INT(item->now),
					       V_INT(item->task->ends)));
		if (err)
			return err;
		item->pending_is = PENDING_OPENED;
	}
	return said_add(s, found.n, &approve->said);
}

/* ---- reading ---- */

/* The row, without what was said to it. */
static struct writ_err *
pending_from(sqlite3_stmt *row, struct writ_arena *arena, struct store_pending *ret)
{
	bool full = false;

	*ret = (struct store_pending){
		.task = { .id = column_copy(row, 1, arena, &full),
			  .opener = column_copy(row, 2, arena, &full),
			  .purpose = column_copy(row, 3, arena, &full),
			  .created = sqlite3_column_int64(row, 4),
			  .ends = sqlite3_column_int64(row, 5),
			  .state = TASK_OPEN },
		.edge = { .agent = column_copy(row, 7, arena, &full),
			  .depth_remaining = (unsigned)sqlite3_column_int(row, 9),
			  .granted_at = sqlite3_column_int64(row, 4),
			  .not_after = sqlite3_column_int64(row, 10),
			  .max_lifetime_s = (uint32_t)sqlite3_column_int64(row, 11),
			  .grant = column_copy(row, 12, arena, &full),
			  .hops = column_copy(row, 13, arena, &full),
			  .context = column_copy(row, 14, arena, &full),
			  .state = EDGE_LIVE },
		.rule = column_copy(row, 16, arena, &full),
		.needed = (unsigned)sqlite3_column_int(row, 17),
		.approvers = column_copy(row, 18, arena, &full),
		.expires = sqlite3_column_int64(row, 19),
		.state = (enum pending_state)sqlite3_column_int(row, 20),
		.ended = sqlite3_column_int64(row, 21),
		.end_is_fixed = sqlite3_column_int(row, 22) != 0,
	};
	ret->edge.task = ret->task.id;
	ret->edge.delegator = ret->task.opener;
	column_fixed(row, 6, ret->edge.id, EDGE_ID_LEN);
	column_fixed(row, 8, ret->edge.spki_sha256, 32);
	column_fixed(row, 15, ret->digest, 32);
	return full ? sqlite_arena_full("a task that waits") : NULL;
}

static struct writ_err *
approvals_read(struct sqlite *s, int64_t pending, struct writ_arena *arena, struct store_pending *ret)
{
	/* No more approve than are needed; and one refuses. */
	struct store_approval *list = writ_arena_take(arena, (ret->needed + 1) * sizeof(*list));
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	bool full = !list;
	struct writ_err *err;

	err = sqlite_ask(s, Q_APPROVALS, &row, VALUES(V_INT(pending)));
	while (!err && row && !full && ret->n_approvals < ret->needed + 1) {
		struct store_approval *one = &list[ret->n_approvals++];

		*one = (struct store_approval){ .principal = column_copy(row, 0, arena, &full),
						.at = sqlite3_column_int64(row, 1),
						.refuses = sqlite3_column_int(row, 2) != 0,
						.because = column_copy(row, 3, arena, &full) };
		column_fixed(row, 4, one->evidence, sizeof(one->evidence));
		ret->n_given += !one->refuses;
		err = sqlite_next(s, &row);
	}
	ret->approvals = list;
	return err ? err : full ? sqlite_arena_full("approvals") : NULL;
}

struct writ_err *
sqlite_pending(struct store *store, struct writ_bytes task, struct writ_arena *arena, struct store_pending *ret)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;
	int64_t n;

	err = sqlite_ask(s, Q_PENDING, &row, VALUES(V_TEXT(task)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "task %.*s waits for no approval", WRIT_FMT(task));
	n = sqlite3_column_int64(row, 0);
	err = pending_from(row, arena, ret);
	return err ? err : approvals_read(s, n, arena, ret);
}

struct writ_err *
sqlite_pendings(struct store *store, writ_time now, store_each_pending *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_PENDINGS, &row, VALUES(V_INT(now)));
	while (!err && row) {
		struct store_pending p = {
			.task = { .id = column_bytes(row, 0),
				  .opener = column_bytes(row, 1),
				  .purpose = column_bytes(row, 2),
				  .created = sqlite3_column_int64(row, 3),
				  .ends = sqlite3_column_int64(row, 4),
				  .state = TASK_OPEN },
			.edge = { .agent = column_bytes(row, 5) },
			.rule = column_bytes(row, 6),
			.needed = (unsigned)sqlite3_column_int(row, 7),
			.approvers = column_bytes(row, 8),
			.expires = sqlite3_column_int64(row, 9),
			.state = PENDING_WAITING,
			.n_given = (size_t)sqlite3_column_int64(row, 11),
		};

		column_fixed(row, 10, p.digest, 32);
		err = each(&p, ctx);
		if (!err)
			err = sqlite_next(s, &row);
	}
	return err;
}

struct writ_err *
sqlite_pendings_count(struct store *store, writ_time now, uint64_t *ret)
{
	struct writ_err *err;
	int64_t n;

	err = sqlite_number(sqlite_of(store), Q_PENDINGS_COUNT, 0, &n, VALUES(V_INT(now)));
	*ret = err ? 0 : (uint64_t)n;
	return err;
}

struct writ_err *
sqlite_tasks_of(struct store *store, struct writ_bytes opener, writ_time now, size_t max, struct writ_arena *arena,
		struct store_task **ret, size_t *ret_n)
{
	struct store_task *list = writ_arena_take(arena, (max + 1) * sizeof(*list));
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	bool full = !list;
	struct writ_err *err;
	size_t n = 0;

	err = sqlite_ask(s, Q_TASKS_OF, &row, VALUES(V_TEXT(opener), V_INT(now), V_INT(max)));
	while (!err && row && !full && n < max) {
		list[n++] = (struct store_task){
			.id = column_copy(row, 0, arena, &full),
			.opener = column_copy(row, 1, arena, &full),
			.purpose = column_copy(row, 2, arena, &full),
			.parent = column_copy(row, 3, arena, &full),
			.created = sqlite3_column_int64(row, 4),
			.ends = sqlite3_column_int64(row, 5),
			.state = TASK_OPEN,
		};
		err = sqlite_next(s, &row);
	}
	*ret = list;
	*ret_n = n;
	return err ? err : full ? sqlite_arena_full("the tasks of an opener") : NULL;
}
