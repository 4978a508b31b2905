/*
 * Writing to SQLite: a group is one transaction, an item is checked whole before it writes its first row.
 *
 * So an item that is refused has written nothing, no savepoint is needed, and a later item of the group sees what the
 * earlier ones left.
 *
 * (1) BEGIN IMMEDIATE .. COMMIT: durable when COMMIT returns, or nothing (I3).
 * (2) What was decided before is looked at again here, inside the transaction: nothing can change between this look and
 *     the row (delegation.md R1, L5).
 */
#include <stdio.h>

#include "base/fault.h"
#include "base/text.h"
#include "issuer/store/sqlite.h"

static const uint8_t no_parent[EDGE_ID_LEN];

/* ---- checks ---- */

static struct writ_err *
answer_check(struct sqlite *s, const struct store_item *item)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	uint8_t body_sha256[32];
	struct writ_err *err;

	if (!item->answer)
		return NULL;
	err = sqlite_ask(s, Q_ANSWERED, &row, VALUES(V_BYTES(item->answer->key), V_INT(item->now)));
	if (err || !row)
		return err;
	column_fixed(row, 0, body_sha256, sizeof(body_sha256));
	if (memcmp(body_sha256, item->answer->body_sha256, sizeof(body_sha256)) == 0)
		return writ_fail(WRIT_CONFLICT, "answered already: this Idempotency-Key has an answer");
	return writ_fail(WRIT_CONFLICT, "this Idempotency-Key was used with another request: take a new one");
}

static struct writ_err *
once_check(struct sqlite *s, const struct store_item *item)
{
	for (size_t i = 0; i < item->n_once; i++) {
		const struct writ_bytes key = item->once[i].key;
		struct writ_err *err;
		int64_t used;

		err = sqlite_number(s, Q_ONCE, 0, &used, VALUES(V_BYTES(key), V_INT(item->now)));
		if (err)
			return err;
		for (size_t j = 0; j < i; j++)
			used |= writ_equal(key, item->once[j].key);
		if (used)
			return writ_fail(WRIT_CONFLICT, "used already: %.*s", WRIT_FMT(key));
	}
	return NULL;
}

struct writ_err *
sqlite_frozen_check(struct sqlite *s, struct writ_bytes principal)
{
	enum revoke_what why;
	struct writ_err *err = sqlite_is_frozen(s, principal, &why);

	if (err || !why)
		return err;
	return writ_fail(WRIT_CONFLICT, "principal %.*s is frozen", WRIT_FMT(principal));
}

/* The task is open, the edge and all above it live, no key among them blocked, no principal of theirs frozen. */
static struct writ_err *
lineage_check(struct sqlite *s, const uint8_t edge[EDGE_ID_LEN], struct lineage *ret)
{
	char hex[ID_HEX_LEN];
	struct writ_err *err;

	err = sqlite_lineage(s, edge, ret);
	if (err)
		return err;
	if (!ret->task_open)
		return writ_fail(WRIT_CONFLICT, "task %s has ended", ret->task_id);
	if (!ret->live)
		return writ_fail(WRIT_CONFLICT, "edge %s was revoked",
				 writ_hex((struct writ_bytes){ ret->dead, EDGE_ID_LEN }, hex));
	if (ret->blocked)
		return writ_fail(WRIT_CONFLICT, "edge %s: key is blocked after keyCompromise",
				 writ_hex((struct writ_bytes){ edge, EDGE_ID_LEN }, hex));
	if (ret->frozen[0])
		return writ_fail(WRIT_CONFLICT, "principal %.80s is frozen", ret->frozen);
	return NULL;
}

/* The same for a leaf's edge, without a statement while nothing was taken back since the last time. */
static struct writ_err *
leaf_edge_check(struct sqlite *s, const uint8_t edge[EDGE_ID_LEN], struct known_live **ret)
{
	struct known_live *live = &s->live[writ_get32(edge) % SQLITE_LIVE];
	struct lineage found;
	struct writ_err *err;

	if (live->since != s->live_since || memcmp(live->edge, edge, EDGE_ID_LEN) != 0) {
		err = lineage_check(s, edge, &found);
		if (err)
			return err;
		*live = (struct known_live){ .n = found.n, .parent = found.parent, .since = s->live_since, .leaves = -1 };
		memcpy(live->edge, edge, EDGE_ID_LEN);
	}
	*ret = live;
	return NULL;
}

/* Counted when there may be too many: between two counts there are only more than those left by what was added. */
static struct writ_err *
leaves_check(struct sqlite *s, struct known_live *live, uint32_t max, writ_time now)
{
	struct writ_err *err;

	if (live->leaves >= 0 && live->leaves < max)
		return NULL;
	err = sqlite_number(s, Q_LEAVES, 0, &live->leaves, VALUES(V_INT(live->n), V_INT(now)));
	if (err || live->leaves < max)
		return err;
	return writ_fail(WRIT_EXHAUSTED, "edge has %lld live leaves, its limit is %u", (long long)live->leaves, max);
}

/* L5: nothing below an edge outlives the edge's newest leaf. */
static struct writ_err *
newest_check(struct sqlite *s, int64_t parent, writ_time until)
{
	char ends[WRIT_RFC3339_LEN + 1], wanted[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;
	int64_t newest;

	err = sqlite_number(s, Q_NEWEST_OF, 0, &newest, VALUES(V_INT(parent)));
	if (err)
		return err;
	if (newest == 0)
		return writ_fail(WRIT_UNAVAILABLE, "parent has no leaf: retry after it has taken one");
	if (newest < until)
		return writ_fail(WRIT_UNAVAILABLE,
				 "parent's newest leaf ends at %s, before %s: retry after the parent renews",
				 writ_time_rfc3339(newest, ends), writ_time_rfc3339(until, wanted));
	return NULL;
}

/* What an edge hangs on: may a child be added there now? */
static struct writ_err *
parent_check(struct sqlite *s, const struct store_item *item, struct lineage *ret)
{
	struct writ_err *err;
	int64_t n_children;

	err = lineage_check(s, item->edge->parent, ret);
	if (err)
		return writ_because(err, "parent");
	err = newest_check(s, ret->n, item->now);
	if (err)
		return err;
	if (item->children_max == 0)
		return NULL;
	err = sqlite_number(s, Q_CHILDREN, 0, &n_children, VALUES(V_INT(ret->n)));
	if (err)
		return err;
	if (n_children >= item->children_max)
		return writ_fail(WRIT_EXHAUSTED, "parent has delegated %lld times, its limit is %u",
				 (long long)n_children, item->children_max);
	return NULL;
}

struct writ_err *
sqlite_edge_check(struct sqlite *s, const struct store_edge *edge, int64_t task)
{
	char hex[ID_HEX_LEN];
	struct writ_err *err;
	int64_t found;

	err = sqlite_number(s, Q_EDGE_N, 0, &found, VALUES(V_FIXED(edge->id, EDGE_ID_LEN)));
	if (err)
		return err;
	if (found)
		return writ_fail(WRIT_CONFLICT, "edge %s is there already",
				 writ_hex((struct writ_bytes){ edge->id, EDGE_ID_LEN }, hex));
	err = sqlite_number(s, Q_BLOCKED, 0, &found, VALUES(V_FIXED(edge->spki_sha256, 32)));
	if (err)
		return err;
	if (found)
		return writ_fail(WRIT_CONFLICT, "key is blocked after keyCompromise: make a new one");
	err = sqlite_number(s, Q_EDGE_HAS_KEY, 0, &found, VALUES(V_INT(task), V_FIXED(edge->spki_sha256, 32)));
	if (err)
		return err;
	if (found)
		return writ_fail(WRIT_CONFLICT, "task %.*s has an edge for this key already", WRIT_FMT(edge->task));
	err = sqlite_frozen_check(s, edge->delegator);
	return err ? err : sqlite_frozen_check(s, edge->agent);
}

static struct writ_err *
task_find(struct sqlite *s, struct writ_bytes id, int64_t *ret_n, enum task_state *ret_state)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	*ret_n = 0;
	err = sqlite_ask(s, Q_TASK_STATE, &row, VALUES(V_TEXT(id)));
	if (err || !row)
		return err;
	*ret_n = sqlite3_column_int64(row, 0);
	*ret_state = (enum task_state)sqlite3_column_int(row, 1);
	return NULL;
}

/* ---- rows; only after every check of the item has passed ---- */

static struct writ_err *
principal_add(struct sqlite *s, struct writ_bytes uri, int64_t *ret_n)
{
	struct writ_err *err;

	err = sqlite_number(s, Q_PRINCIPAL, 0, ret_n, VALUES(V_TEXT(uri)));
	if (err || *ret_n)
		return err;
	err = sqlite_do(s, Q_ADD_PRINCIPAL, VALUES(V_TEXT(uri)));
	*ret_n = sqlite3_last_insert_rowid(s->db);
	return err;
}

static struct writ_err *
edge_add(struct sqlite *s, const struct store_edge *edge, int64_t task, int64_t parent)
{
	int64_t delegator, agent;
	struct writ_err *err;

	err = principal_add(s, edge->delegator, &delegator);
	if (err)
		return err;
	err = principal_add(s, edge->agent, &agent);
	if (err)
		return err;
	err = sqlite_do(s, Q_ADD_EDGE,
			VALUES(V_FIXED(edge->id, EDGE_ID_LEN), parent ? V_INT(parent) : V_NULL, V_INT(task),
			       V_INT(delegator), V_INT(agent), V_FIXED(edge->spki_sha256, 32),
			       V_INT(edge->depth_remaining), V_INT(edge->granted_at), V_INT(edge->not_after),
			       V_INT(edge->max_lifetime_s)));
	if (err)
		return err;
	return sqlite_do(s, Q_ADD_EDGE_TEXT,
			 VALUES(V_INT(sqlite3_last_insert_rowid(s->db)), V_BYTES(edge->grant), V_BYTES(edge->hops),
				V_BYTES(edge->context)));
}

static struct writ_err *
serial_taken(const struct store_cert *cert)
{
	char hex[2 * SERIAL_LEN + 1];

	return writ_fail(WRIT_CONFLICT, "serial %s is there already",
			 writ_hex((struct writ_bytes){ cert->serial, SERIAL_LEN }, hex));
}

static struct writ_err *
cert_add(struct sqlite *s, const struct store_cert *cert, struct value edge, enum cert_state state)
{
	const bool good = state == CERT_GOOD;
	struct writ_err *err;

	err = sqlite_do(s, Q_ADD_CERT,
			VALUES(V_FIXED(cert->serial, SERIAL_LEN), edge, V_FIXED(cert->issuer_key_id, 20),
			       V_FIXED(cert->sha256, 32), V_INT(cert->log_index), V_INT(cert->not_before),
			       V_INT(cert->not_after), V_INT(state), V_INT(good ? 0 : cert->reason),
			       V_INT(good ? 0 : cert->revoked_at)));
	if (err)
		return err;
	if (sqlite3_changes(s->db) == 0)
		return serial_taken(cert); /* I4; and nothing was written */
	if (cert->der.len == 0)
		return NULL;
	return sqlite_do(s, Q_ADD_CERT_DER, VALUES(V_INT(sqlite3_last_insert_rowid(s->db)), V_BYTES(cert->der)));
}

/* What comes with any item. */
static struct writ_err *
extras_add(struct sqlite *s, const struct store_item *item)
{
	const struct store_answer *answer = item->answer;
	struct writ_err *err;

	for (size_t i = 0; i < item->n_once; i++) {
		err = sqlite_do(s, Q_ADD_ONCE, VALUES(V_BYTES(item->once[i].key), V_INT(item->once[i].expires)));
		if (err)
			return err;
	}
	for (size_t i = 0; i < item->n_evidence; i++) {
		const struct store_evidence *evidence = &item->evidence[i];

		err = sqlite_do(s, Q_ADD_EVIDENCE,
				VALUES(V_FIXED(evidence->digest, 32), V_TEXT(evidence->kind), V_BYTES(evidence->bytes),
				       V_INT(evidence->expires)));
		if (err)
			return err;
	}
	if (item->note.len > 0) {
		err = sqlite_do(s, Q_ADD_NOTE, VALUES(V_INT(item->note_type), V_BYTES(item->note)));
		if (err)
			return err;
	}
	if (!answer)
		return NULL;
	return sqlite_do(s, Q_ADD_ANSWER,
			 VALUES(V_BYTES(answer->key), V_FIXED(answer->body_sha256, 32), V_INT(answer->status),
				V_BYTES(answer->body), V_INT(answer->expires)));
}

/* ---- operations ---- */

struct writ_err *
sqlite_open_task(struct sqlite *s, const struct store_item *item)
{
	const struct store_task *task = item->task;
	struct lineage parent = { 0 };
	int64_t n, enclosing = 0, opener;
	enum task_state state;
	struct writ_err *err;

	err = task_find(s, task->id, &n, &state);
	if (err)
		return err;
	if (n)
		return writ_fail(WRIT_CONFLICT, "task %.*s is there already", WRIT_FMT(task->id));
	if (item->op == STORE_OPEN_TASK) { /* approved, it takes the id that it reserved */
		err = sqlite_not_pending(s, task->id, item->now);
		if (err)
			return err;
	}
	if (task->parent.len > 0) {
		err = task_find(s, task->parent, &enclosing, &state);
		if (err)
			return err;
		if (!enclosing)
			return writ_fail(WRIT_NOT_FOUND, "enclosing task %.*s is not known", WRIT_FMT(task->parent));
		if (state != TASK_OPEN)
			return writ_fail(WRIT_CONFLICT, "enclosing task %.*s has ended", WRIT_FMT(task->parent));
	}
	if (memcmp(item->edge->parent, no_parent, EDGE_ID_LEN) != 0) {
		err = parent_check(s, item, &parent);
		if (err)
			return err;
		if (parent.task != enclosing)
			return writ_fail(WRIT_INVALID,
					 "task %.*s: its first edge hangs on one of task %s, which does not enclose it",
					 WRIT_FMT(task->id), parent.task_id);
	}
	err = sqlite_edge_check(s, item->edge, 0);
	if (!err)
		err = sqlite_frozen_check(s, task->opener);
	if (err)
		return err;

	err = principal_add(s, task->opener, &opener);
	if (err)
		return err;
	err = sqlite_do(s, Q_ADD_TASK,
			VALUES(V_TEXT(task->id), V_INT(opener), V_TEXT(task->purpose),
			       enclosing ? V_INT(enclosing) : V_NULL, V_INT(task->created), V_INT(task->ends)));
	if (err)
		return err;
	return edge_add(s, item->edge, sqlite3_last_insert_rowid(s->db), parent.n);
}

static struct writ_err *
add_edge(struct sqlite *s, const struct store_item *item)
{
	const struct store_edge *edge = item->edge;
	struct lineage parent;
	struct writ_err *err;

	err = parent_check(s, item, &parent);
	if (err)
		return err;
	if (!writ_equal(edge->task, writ_str(parent.task_id)))
		return writ_fail(WRIT_INVALID, "an edge of task %.*s hangs on one of task %s", WRIT_FMT(edge->task),
				 parent.task_id);
	err = sqlite_edge_check(s, edge, parent.task);
	if (err)
		return err;
	return edge_add(s, edge, parent.task, parent.n);
}

/* Its serial is looked at by the insert itself. */
static struct writ_err *
issue(struct sqlite *s, const struct store_item *item)
{
	const struct store_cert *cert = item->cert;
	struct known_live *live;
	struct writ_err *err;

	err = leaf_edge_check(s, cert->edge, &live);
	if (!err && live->parent)
		err = newest_check(s, live->parent, cert->not_after);
	if (!err && item->leaves_max > 0)
		err = leaves_check(s, live, item->leaves_max, item->now);
	if (!err)
		err = cert_add(s, cert, V_INT(live->n), CERT_GOOD);
	if (!err && live->leaves >= 0)
		live->leaves++;
	return err;
}

/* What was signed and never released.  Its edge may have been refused with it, so it need not be known. */
static struct writ_err *
abort_cert(struct sqlite *s, const struct store_item *item)
{
	const struct store_cert *cert = item->cert;
	int64_t found, edge;
	struct writ_err *err;

	err = sqlite_number(s, Q_CERT_STATE, 0, &found, VALUES(V_FIXED(cert->serial, SERIAL_LEN)));
	if (err)
		return err;
	if (found == CERT_ABORTED)
		return NULL;
	if (found)
		return serial_taken(cert);
	err = sqlite_number(s, Q_EDGE_N, 0, &edge, VALUES(V_FIXED(cert->edge, EDGE_ID_LEN)));
	if (err)
		return err;
	return cert_add(s, cert, edge ? V_INT(edge) : V_NULL, CERT_ABORTED);
}

static struct writ_err *
outbox_done(struct sqlite *s, const struct store_item *item)
{
	for (size_t i = 0; i < item->n_done; i++) {
		struct writ_err *err = sqlite_do(s, Q_OUTBOX_DONE, VALUES(V_INT((int64_t)item->done[i])));

		if (err)
			return err;
	}
	return NULL;
}

static struct writ_err *
close_task(struct sqlite *s, const struct store_item *item)
{
	struct writ_err *err;

	err = sqlite_do(s, Q_CLOSE, VALUES(V_TEXT(item->task->id), V_INT(item->now)));
	if (err)
		return err;
	if (sqlite3_changes(s->db) == 0)
		return writ_fail(WRIT_CONFLICT, "task %.*s is not one that is open past its end",
				 WRIT_FMT(item->task->id));
	return NULL;
}

/* May what leaf_edge_check() remembers be wrong after it? */
static bool
takes_back(const struct store_item *item)
{
	return item->op == STORE_REVOKE || item->op == STORE_THAW || item->op == STORE_CLOSE ||
	       (item->op == STORE_PRUNE && item->n_pruned > 0);
}

static struct writ_err *
item_do(struct sqlite *s, struct store_item *item)
{
	struct writ_err *err;

	err = answer_check(s, item);
	if (err)
		return err;
	err = once_check(s, item);
	if (err)
		return err;
	switch (item->op) {
	case STORE_OPEN_TASK:
		err = sqlite_open_task(s, item);
		break;
	case STORE_PEND:
		err = sqlite_pend(s, item);
		break;
	case STORE_APPROVE:
		err = sqlite_approve(s, item);
		break;
	case STORE_ADD_EDGE:
		err = add_edge(s, item);
		break;
	case STORE_ISSUE:
		err = issue(s, item);
		break;
	case STORE_ABORT:
		err = abort_cert(s, item);
		break;
	case STORE_REVOKE:
		err = sqlite_revoke(s, item);
		break;
	case STORE_POLICY:
		err = sqlite_policy_take(s, item);
		break;
	case STORE_THAW:
		err = sqlite_thaw(s, item);
		break;
	case STORE_CLOSE:
		err = close_task(s, item);
		break;
	case STORE_NOTED:
		err = sqlite_do(s, Q_NOTED, VALUES(V_INT(item->noted)));
		break;
	case STORE_DENIED:
		err = sqlite_denied_keep(s, item);
		break;
	case STORE_OUTBOX_DONE:
		err = outbox_done(s, item);
		break;
	case STORE_PRUNE:
		err = sqlite_prune(s, item);
		break;
	}
	if (takes_back(item) || s->failed)
		sqlite_live_forget(s);
	if (err)
		return err;
	return extras_add(s, item);
}

static struct writ_err *
group_do(struct sqlite *s, struct store_item *items, size_t n)
{
	struct writ_err *err;

	for (size_t i = 0; i < n; i++) {
		if (items[i].result)
			continue;
		err = item_do(s, &items[i]);
		if (s->failed)
			return err;
		items[i].result = err;
	}
	FAULT("store:before-commit");
	return sqlite_do(s, Q_COMMIT, NULL, 0);
}

struct writ_err *
sqlite_commit(struct store *store, struct store_item *items, size_t n)
{
	struct sqlite *s = (struct sqlite *)store;
	struct writ_err *err;

	s->failed = false;
	err = sqlite_do(s, Q_BEGIN, NULL, 0);
	if (err)
		return err;
	FAULT("store:begin");
	err = group_do(s, items, n);
	if (err) {
		sqlite_live_forget(s); /* edges of this group were never there */
		if (!sqlite3_get_autocommit(s->db)) /* SQLite may have rolled back already */
			writ_err_free(sqlite_do(s, Q_ROLLBACK, NULL, 0));
		return err;
	}
	FAULT("store:after-commit");
	return NULL;
}
