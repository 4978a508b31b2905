/*
 * Revoking and pruning in SQLite.
 *
 * `taken` is a table in memory: the edges named, then all below them.  An origin is a taken edge with no taken edge
 * above it.  Whatever can fail for the caller's reasons (unknown id, no room in the arena) comes before the first row
 * is changed, so a cascade is all or nothing (delegation.md R1).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/text.h"
#include "issuer/store/sqlite.h"

#define REASON_PRIVILEGE_WITHDRAWN 9 /* of descendants: R2 */

/* Who never was here yet can be frozen all the same. */
static struct writ_err *
unknown(const struct store_revoke *revoke)
{
	return revoke->freeze ? NULL : writ_fail(WRIT_NOT_FOUND, "principal %.*s is not known", WRIT_FMT(revoke->id));
}

/* Is there what shall be revoked?  `*ret_n`: its row number, for a task or principal. */
static struct writ_err *
target_find(struct sqlite *s, const struct store_revoke *revoke, int64_t *ret_n)
{
	char hex[ID_HEX_LEN];
	struct writ_err *err = NULL;

	*ret_n = 0;
	switch (revoke->what) {
	case REVOKE_EDGE:
		err = sqlite_number(s, Q_EDGE_N, 0, ret_n, VALUES(V_BYTES(revoke->id)));
		if (!err && !*ret_n)
			return writ_fail(WRIT_NOT_FOUND, "edge %s is not known", writ_hex(revoke->id, hex));
		break;
	case REVOKE_LEAF:
		err = sqlite_number(s, Q_CERT_STATE, 0, ret_n, VALUES(V_BYTES(revoke->id)));
		if (!err && !*ret_n)
			return writ_fail(WRIT_NOT_FOUND, "serial %s is not known", writ_hex(revoke->id, hex));
		break;
	case REVOKE_TASK:
		err = sqlite_number(s, Q_TASK_STATE, 0, ret_n, VALUES(V_TEXT(revoke->id)));
		if (!err && !*ret_n)
			return writ_fail(WRIT_NOT_FOUND, "task %.*s is not known", WRIT_FMT(revoke->id));
		break;
	case REVOKE_PRINCIPAL:
		err = sqlite_number(s, Q_PRINCIPAL, 0, ret_n, VALUES(V_TEXT(revoke->id)));
		if (!err && !*ret_n)
			return unknown(revoke);
		break;
	case REVOKE_CLASS:
		err = sqlite_number(s, Q_CLASS, 0, ret_n, VALUES(V_TEXT(revoke->id)));
		if (!err && !*ret_n)
			return unknown(revoke);
		break;
	case REVOKE_ALL:
		break;
	}
	return err;
}

/* Fills `taken`. */
static struct writ_err *
take(struct sqlite *s, const struct store_revoke *revoke, int64_t n)
{
	struct writ_err *err;

	err = sqlite_do(s, Q_TAKEN_CLEAR, NULL, 0);
	if (err)
		return err;
	switch (revoke->what) {
	case REVOKE_EDGE:
		err = sqlite_do(s, Q_TAKE_EDGE, VALUES(V_BYTES(revoke->id)));
		break;
	case REVOKE_LEAF:
		err = sqlite_do(s, Q_TAKE_LEAF, VALUES(V_BYTES(revoke->id)));
		break;
	case REVOKE_TASK:
		err = sqlite_do(s, Q_TAKE_TASK, VALUES(V_INT(n)));
		break;
	case REVOKE_PRINCIPAL:
		err = sqlite_do(s, Q_TAKE_PRINCIPAL, VALUES(V_INT(n)));
		break;
	case REVOKE_CLASS:
		err = sqlite_do(s, Q_TAKE_CLASS, VALUES(V_TEXT(revoke->id)));
		break;
	case REVOKE_ALL:
		err = sqlite_do(s, Q_TAKE_ALL, NULL, 0);
		break;
	}
	if (err)
		return err;
	for (int level = 0; level == 0 || sqlite3_changes(s->db) > 0; level++) {
		err = sqlite_do(s, Q_TAKE_BELOW, VALUES(V_INT(level)));
		if (err)
			return err;
	}
	return sqlite_do(s, Q_TAKEN_TOPMOST, NULL, 0);
}

/* ---- what it took ---- */

/* Grows while it is read: counting first would read all of it twice. */
struct gathered {
	uint8_t *data;
	size_t each, n, cap; /* each: bytes */
};

static void
gathered_done(struct gathered *g)
{
	free(g->data);
}

static void *
gathered_next(struct gathered *g)
{
	uint8_t *grown = writ_room(g->data, g->n, &g->cap, g->each, 256);

	if (!grown)
		return NULL;
	g->data = grown;
	return g->data + g->each * g->n++;
}

static struct writ_err *
no_memory(const struct gathered *g)
{
	return writ_fail(WRIT_EXHAUSTED, "no memory for an answer of more than %zu lines", g->n);
}

/* Leaves end with their edges (sqlite_schema.c, 3): nothing is written of them. */
static struct writ_err *
certs_gather(struct sqlite *s, const struct store_item *item, struct gathered *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_TAKEN_CERTS, &row, VALUES(V_INT(item->now)));
	while (row && !err) {
		struct store_revoked *revoked = gathered_next(ret);

		FAULT("store:cascade");
		if (!revoked)
			return no_memory(ret);
		column_fixed(row, 0, revoked->serial, SERIAL_LEN);
		revoked->not_after = sqlite3_column_int64(row, 1);
		revoked->reason = sqlite3_column_int(row, 2) == 1 ? item->revoke->reason : REASON_PRIVILEGE_WITHDRAWN;
		err = sqlite_next(s, &row);
	}
	return err;
}

static struct writ_err *
origins_gather(struct sqlite *s, const struct store_item *item, struct gathered *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_TAKEN_ORIGINS, &row, VALUES(V_INT(item->now)));
	while (row && !err) {
		uint8_t *id = gathered_next(ret);

		if (!id)
			return no_memory(ret);
		column_fixed(row, 0, id, EDGE_ID_LEN);
		err = sqlite_next(s, &row);
	}
	return err;
}

/* Both lists, before anything is written. */
static struct writ_err *
results_take(struct sqlite *s, struct store_item *item)
{
	AUTO(gathered_done) struct gathered certs = { .each = sizeof(struct store_revoked) };
	AUTO(gathered_done) struct gathered origins = { .each = EDGE_ID_LEN };
	struct writ_err *err;

	err = certs_gather(s, item, &certs);
	if (!err)
		err = origins_gather(s, item, &origins);
	if (err)
		return err;
	item->revoked = writ_arena_take(item->arena, certs.n * certs.each);
	item->edges = writ_arena_take(item->arena, origins.n * origins.each);
	if (!item->revoked || !item->edges)
		return writ_fail(WRIT_EXHAUSTED, "no room for the answer: %zu serials and %zu edges would be revoked",
				 certs.n, origins.n);
	if (certs.n > 0)
		memcpy(item->revoked, certs.data, certs.n * certs.each);
	if (origins.n > 0)
		memcpy(item->edges, origins.data, origins.n * origins.each);
	item->n_revoked = certs.n;
	item->n_edges = origins.n;
	return NULL;
}

/* The edges end, and the signer is owed word of that. */
static struct writ_err *
edges_revoke(struct sqlite *s, struct store_item *item)
{
	struct writ_err *err;
	int64_t any;

	err = sqlite_number(s, Q_TAKEN_ANY, 0, &any, NULL, 0);
	if (err || !any)
		return err;
	err = sqlite_do(s, Q_REVOKE_EDGES,
			VALUES(V_INT(item->now), V_INT(item->revoke->reason), V_INT(REASON_PRIVILEGE_WITHDRAWN)));
	if (!err)
		err = sqlite_do(s, Q_ADD_OWED, VALUES(V_INT(item->now)));
	if (!err)
		item->owed = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return err;
}

static struct writ_err *
key_block(struct sqlite *s, const struct store_item *item)
{
	const struct store_revoke *revoke = item->revoke;

	switch (revoke->what) {
	case REVOKE_EDGE:
		return sqlite_do(s, Q_BLOCK_EDGE, VALUES(V_BYTES(revoke->id), V_INT(item->now)));
	case REVOKE_LEAF:
		return sqlite_do(s, Q_BLOCK_LEAF, VALUES(V_BYTES(revoke->id), V_INT(item->now)));
	case REVOKE_PRINCIPAL:
		return sqlite_do(s, Q_BLOCK_PRINCIPAL, VALUES(V_TEXT(revoke->id), V_INT(item->now)));
	case REVOKE_CLASS:
		return sqlite_do(s, Q_BLOCK_CLASS, VALUES(V_TEXT(revoke->id), V_INT(item->now)));
	case REVOKE_TASK: /* store.c has refused both */
	case REVOKE_ALL:
		break;
	}
	return NULL;
}

/* ---- freezing ---- */

/* sqlite_schema.c (4) */
static struct writ_bytes
frozen_name(const struct store_revoke *revoke, char out[STORE_PRINCIPAL_MAX + 2])
{
	if (revoke->what == REVOKE_ALL)
		return WRIT_LIT("*");
	snprintf(out, STORE_PRINCIPAL_MAX + 2, "%.*s%s", (int)revoke->id.len, (const char *)revoke->id.data,
		 revoke->what == REVOKE_CLASS ? "/" : "");
	return writ_str(out);
}

static struct writ_err *
room_check(struct sqlite *s, const struct store_revoke *revoke)
{
	char name[STORE_PRINCIPAL_MAX + 2];
	struct writ_err *err;
	int64_t n;

	err = sqlite_number(s, Q_N_FROZEN, 0, &n, VALUES(V_TEXT(frozen_name(revoke, name))));
	if (err || n < STORE_FREEZES_MAX || revoke->what == REVOKE_ALL)
		return err;
	return writ_fail(WRIT_EXHAUSTED, "%lld names are frozen, as many as may be: freeze a class, or everything",
			 (long long)n);
}

static struct writ_err *
freeze(struct sqlite *s, const struct store_item *item)
{
	const struct store_revoke *revoke = item->revoke;
	char name[STORE_PRINCIPAL_MAX + 2];
	struct writ_err *err;

	err = sqlite_do(s, Q_FREEZE,
			VALUES(V_TEXT(frozen_name(revoke, name)), V_INT(revoke->what), V_INT(item->now),
			       V_TEXT(revoke->by)));
	if (!err)
		err = sqlite_do(s, Q_FREEZE_REFUSES, VALUES(V_TEXT(revoke->by), V_INT(item->now)));
	return err ? err : sqlite_do(s, Q_FREEZE_ENDS, VALUES(V_INT(item->now)));
}

struct writ_err *
sqlite_thaw(struct sqlite *s, struct store_item *item)
{
	char name[STORE_PRINCIPAL_MAX + 2];
	struct writ_err *err;

	err = sqlite_do(s, Q_THAW, VALUES(V_TEXT(frozen_name(item->revoke, name))));
	if (err || sqlite3_changes(s->db) > 0)
		return err;
	if (item->revoke->what == REVOKE_ALL)
		return writ_fail(WRIT_NOT_FOUND, "there is no freeze of everything");
	return writ_fail(WRIT_NOT_FOUND, "principal %.*s is not frozen", WRIT_FMT(item->revoke->id));
}

/* ---- revoking ---- */

struct writ_err *
sqlite_revoke(struct sqlite *s, struct store_item *item)
{
	const struct store_revoke *revoke = item->revoke;
	struct writ_err *err;
	int64_t n;

	err = target_find(s, revoke, &n);
	if (!err && revoke->freeze)
		err = room_check(s, revoke);
	if (err)
		return err;
	err = take(s, revoke, n);
	if (err)
		return err;
	err = results_take(s, item);
	if (err)
		return err;

	err = edges_revoke(s, item);
	if (err)
		return err;
	if (revoke->what == REVOKE_TASK) {
		err = sqlite_do(s, Q_END_TASKS, VALUES(V_INT(n), V_INT(revoke->end_task_as), V_INT(item->now)));
		if (err)
			return err;
	}
	if (revoke->what == REVOKE_ALL) {
		err = sqlite_do(s, Q_END_ALL_TASKS, VALUES(V_INT(item->now)));
		if (err)
			return err;
	}
	err = revoke->block_key ? key_block(s, item) : NULL;
	return err || !revoke->freeze ? err : freeze(s, item);
}

/* ---- pruning ---- */

static size_t
prune_room(const struct store_item *item)
{
	const size_t most = item->prune_max > 0 && item->prune_max < STORE_PRUNE_MAX ? item->prune_max : STORE_PRUNE_MAX;

	return item->n_pruned < most ? most - item->n_pruned : 0;
}

/* Deletes rows of one kind and what belongs to each: `parts` take the row number, principals go with their last
 * mention. */
static struct writ_err *
prune_with(struct sqlite *s, struct store_item *item, enum query query, const enum query *parts, size_t n_parts,
	   int first_principal)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	if (prune_room(item) == 0)
		return NULL;
	err = sqlite_ask(s, query, &row, VALUES(V_INT(item->before), V_INT(prune_room(item))));
	if (err)
		return err;
	while (row) {
		for (size_t i = 0; i < n_parts; i++) {
			err = sqlite_do(s, parts[i], VALUES(V_INT(sqlite3_column_int64(row, 0))));
			if (err)
				return err;
		}
		for (int i = first_principal; i >= 0 && i < sqlite3_column_count(row); i++) {
			err = sqlite_do(s, Q_PRUNE_PRINCIPAL, VALUES(V_INT(sqlite3_column_int64(row, i))));
			if (err)
				return err;
		}
		item->n_pruned++;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

static struct writ_err *
prune_plain(struct sqlite *s, struct store_item *item, enum query query)
{
	struct writ_err *err;

	if (prune_room(item) == 0)
		return NULL;
	err = sqlite_do(s, query, VALUES(V_INT(item->before), V_INT(prune_room(item))));
	item->n_pruned += (size_t)sqlite3_changes(s->db);
	return err;
}

struct writ_err *
sqlite_prune(struct sqlite *s, struct store_item *item)
{
	/* The number of an edge may be given again: nothing may be left that says it is revoked. */
	static const enum query der = Q_PRUNE_CERT_DER, approvals = Q_DROP_APPROVALS;
	static const enum query of_edge[] = { Q_PRUNE_EDGE_TEXT, Q_PRUNE_REVOKED };
	const writ_time before = item->before;
	struct writ_err *err;
	int64_t owed;

	err = sqlite_number(s, Q_OWED_SINCE, before, &owed, NULL, 0);
	if (err)
		return err;
	item->before = owed < before ? owed : before;
	err = prune_with(s, item, Q_PRUNE_CERTS, &der, 1, -1);
	if (!err)
		err = prune_with(s, item, Q_PRUNE_EDGES, of_edge, N_OF(of_edge), 1);
	item->before = before;
	if (err)
		return err;
	err = prune_plain(s, item, Q_PRUNE_ANSWERS);
	if (err)
		return err;
	err = prune_plain(s, item, Q_PRUNE_ONCE);
	if (err)
		return err;
	err = prune_plain(s, item, Q_PRUNE_EVIDENCE);
	if (err)
		return err;
	err = prune_plain(s, item, Q_PRUNE_DENIED);
	if (err)
		return err;
	err = prune_with(s, item, Q_PRUNE_PENDING, &approvals, 1, -1);
	if (err)
		return err;
	return prune_with(s, item, Q_PRUNE_TASKS, NULL, 0, 0);
}
