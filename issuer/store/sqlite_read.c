/*
 * Reading from SQLite: rows into structs, texts into the caller's arena.
 *
 * Every statement is reset before its function returns, since an open read pins the WAL.
 */
#include <stdio.h>

#include "base/text.h"
#include "issuer/store/sqlite.h"

#define LINEAGE_MAX 16 /* a leaf lists at most 8 hops; more than this is a damaged store */

struct writ_err *
sqlite_task(struct store *store, struct writ_bytes id, struct writ_arena *arena, struct store_task *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;
	bool full = false;

	err = sqlite_ask(sqlite_of(store), Q_TASK, &row, VALUES(V_TEXT(id)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "task %.*s is not known", WRIT_FMT(id));
	*ret = (struct store_task){
		.id = column_copy(row, 0, arena, &full),
		.opener = column_copy(row, 1, arena, &full),
		.purpose = column_copy(row, 2, arena, &full),
		.parent = column_copy(row, 3, arena, &full),
		.created = sqlite3_column_int64(row, 4),
		.ends = sqlite3_column_int64(row, 5),
		.state = (enum task_state)sqlite3_column_int(row, 6),
		.ended = sqlite3_column_int64(row, 7),
	};
	return full ? sqlite_arena_full("a task") : NULL;
}

static struct writ_err *
edge_from(sqlite3_stmt *row, struct writ_arena *arena, struct store_edge *ret)
{
	bool full = false;

	*ret = (struct store_edge){
		.task = column_copy(row, 2, arena, &full),
		.delegator = column_copy(row, 3, arena, &full),
		.agent = column_copy(row, 4, arena, &full),
		.depth_remaining = (unsigned)sqlite3_column_int(row, 6),
		.granted_at = sqlite3_column_int64(row, 7),
		.not_after = sqlite3_column_int64(row, 8),
		.grant = column_copy(row, 9, arena, &full),
		.hops = column_copy(row, 10, arena, &full),
		.context = column_copy(row, 11, arena, &full),
		.max_lifetime_s = (uint32_t)sqlite3_column_int64(row, 12),
		.state = (enum edge_state)sqlite3_column_int(row, 13),
	};
	column_fixed(row, 0, ret->id, EDGE_ID_LEN);
	column_fixed(row, 1, ret->parent, EDGE_ID_LEN);
	column_fixed(row, 5, ret->spki_sha256, sizeof(ret->spki_sha256));
	return full ? sqlite_arena_full("an edge") : NULL;
}

struct writ_err *
sqlite_edge(struct store *store, const uint8_t id[EDGE_ID_LEN], struct writ_arena *arena, struct store_edge *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	char hex[ID_HEX_LEN];
	struct writ_err *err;

	err = sqlite_ask(sqlite_of(store), Q_EDGE, &row, VALUES(V_FIXED(id, EDGE_ID_LEN)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "edge %s is not known",
				 writ_hex((struct writ_bytes){ id, EDGE_ID_LEN }, hex));
	return edge_from(row, arena, ret);
}

struct writ_err *
sqlite_edge_by_key(struct store *store, struct writ_bytes task, const uint8_t spki_sha256[32], struct writ_arena *arena,
		   struct store_edge *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(sqlite_of(store), Q_EDGE_BY_KEY, &row, VALUES(V_TEXT(task), V_FIXED(spki_sha256, 32)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "task %.*s has no edge for this key", WRIT_FMT(task));
	return edge_from(row, arena, ret);
}

struct writ_err *
sqlite_edges(struct store *store, struct writ_bytes task, struct writ_arena *arena, struct store_edge **ret,
	     size_t *ret_n)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct store_edge *edges = NULL;
	size_t n = 0, room = 0;
	struct writ_err *err;

	err = sqlite_ask(s, Q_EDGES, &row, VALUES(V_TEXT(task)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "task %.*s has no edge", WRIT_FMT(task));
	while (row) {
		if (n == room) {
			struct store_edge *more;

			room = room > 0 ? 2 * room : 8;
			more = writ_arena_take(arena, room * sizeof(*more));
			if (!more)
				return sqlite_arena_full("the edges of a task");
			if (n > 0)
				memcpy(more, edges, n * sizeof(*more));
			edges = more;
		}
		err = edge_from(row, arena, &edges[n++]);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	*ret = edges;
	*ret_n = n;
	return NULL;
}

struct writ_err *
sqlite_all_edges(struct store *store, struct writ_arena *arena, store_each_whole_edge *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_ALL_EDGES, &row, NULL, 0);
	if (err)
		return err;
	while (row) {
		struct store_edge edge;

		writ_arena_clear(arena);
		err = edge_from(row, arena, &edge);
		if (!err)
			err = each(&edge, ctx);
		if (!err)
			err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

static void
cert_from(sqlite3_stmt *row, struct store_cert *ret)
{
	*ret = (struct store_cert){
		.log_index = (uint64_t)sqlite3_column_int64(row, 4),
		.not_before = sqlite3_column_int64(row, 5),
		.not_after = sqlite3_column_int64(row, 6),
		.state = (enum cert_state)sqlite3_column_int(row, 7),
		.reason = (unsigned)sqlite3_column_int(row, 8),
		.revoked_at = sqlite3_column_int64(row, 9),
	};
	column_fixed(row, 0, ret->serial, SERIAL_LEN);
	column_fixed(row, 1, ret->edge, EDGE_ID_LEN);
	column_fixed(row, 2, ret->issuer_key_id, sizeof(ret->issuer_key_id));
	column_fixed(row, 3, ret->sha256, sizeof(ret->sha256));
}

static struct writ_err *
no_cert(const uint8_t serial[SERIAL_LEN])
{
	char hex[2 * SERIAL_LEN + 1];

	return writ_fail(WRIT_NOT_FOUND, "serial %s is not known",
			 writ_hex((struct writ_bytes){ serial, SERIAL_LEN }, hex));
}

struct writ_err *
sqlite_cert(struct store *store, const uint8_t serial[SERIAL_LEN], struct writ_arena *arena, struct store_cert *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	(void)arena; /* a certificate's row holds no text */
	err = sqlite_ask(sqlite_of(store), Q_CERT, &row, VALUES(V_FIXED(serial, SERIAL_LEN)));
	if (err)
		return err;
	if (!row)
		return no_cert(serial);
	cert_from(row, ret);
	return NULL;
}

struct writ_err *
sqlite_cert_der(struct store *store, const uint8_t serial[SERIAL_LEN], struct writ_arena *arena, struct writ_bytes *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;
	bool full = false;

	err = sqlite_ask(sqlite_of(store), Q_CERT_DER, &row, VALUES(V_FIXED(serial, SERIAL_LEN)));
	if (err)
		return err;
	if (!row)
		return no_cert(serial);
	*ret = column_copy(row, 0, arena, &full);
	return full ? sqlite_arena_full("a certificate") : NULL;
}

struct writ_err *
sqlite_newest_leaf(struct store *store, const uint8_t edge[EDGE_ID_LEN], writ_time now, writ_time *ret)
{
	struct writ_err *err;
	int64_t newest;

	err = sqlite_number(sqlite_of(store), Q_NEWEST, 0, &newest, VALUES(V_FIXED(edge, EDGE_ID_LEN)));
	if (err)
		return err;
	*ret = newest >= now ? newest : 0;
	return NULL;
}

struct writ_err *
sqlite_lineage(struct sqlite *s, const uint8_t edge[EDGE_ID_LEN], struct lineage *ret)
{
	char hex[ID_HEX_LEN];
	int64_t up = 0;

	*ret = (struct lineage){ .live = true };
	writ_hex((struct writ_bytes){ edge, EDGE_ID_LEN }, hex);
	for (unsigned step = 0; step == 0 || up != 0; step++) {
		AUTO(rows_done) sqlite3_stmt *row = NULL;
		struct writ_err *err;

		err = step == 0 ? sqlite_ask(s, Q_STEP_BY_ID, &row, VALUES(V_FIXED(edge, EDGE_ID_LEN)))
				: sqlite_ask(s, Q_STEP_BY_N, &row, VALUES(V_INT(up)));
		if (err)
			return err;
		if (!row && step == 0)
			return writ_fail(WRIT_NOT_FOUND, "edge %s is not known", hex);
		if (!row || step == LINEAGE_MAX)
			return writ_fail(WRIT_BROKEN, "edge %s: its line of ancestors %s", hex,
					 row ? "does not end" : "has a gap");
		up = sqlite3_column_int64(row, 2); /* NULL reads as 0 */
		if (step == 0) {
			const struct writ_bytes task_id = column_bytes(row, 7);

			ret->n = sqlite3_column_int64(row, 1);
			ret->parent = up;
			ret->task = sqlite3_column_int64(row, 5);
			ret->task_open = sqlite3_column_int(row, 6) == TASK_OPEN;
			snprintf(ret->task_id, sizeof(ret->task_id), "%.*s", WRIT_FMT(task_id));
		}
		if (sqlite3_column_int(row, 3) != EDGE_LIVE) {
			ret->live = false;
			column_fixed(row, 0, ret->dead, EDGE_ID_LEN);
		}
		ret->blocked |= sqlite3_column_int(row, 4) != 0;
		if (ret->frozen[0] == '\0')
			snprintf(ret->frozen, sizeof(ret->frozen), "%.*s", WRIT_FMT(column_bytes(row, 8)));
	}
	return NULL;
}

struct writ_err *
sqlite_lineage_live(struct store *store, const uint8_t edge[EDGE_ID_LEN], bool *ret_live, uint8_t ret_dead[EDGE_ID_LEN])
{
	struct lineage lineage;
	struct writ_err *err;

	err = sqlite_lineage(sqlite_of(store), edge, &lineage);
	if (err)
		return err;
	*ret_live = lineage.live && lineage.task_open;
	memcpy(ret_dead, lineage.live ? edge : lineage.dead, EDGE_ID_LEN);
	return NULL;
}

struct writ_err *
sqlite_answer(struct store *store, struct writ_bytes key, writ_time now, struct writ_arena *arena,
	      struct store_answer *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;
	bool full = false;

	err = sqlite_ask(sqlite_of(store), Q_ANSWER, &row, VALUES(V_BYTES(key), V_INT(now)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "this Idempotency-Key has no answer yet");
	*ret = (struct store_answer){
		.key = column_copy(row, 0, arena, &full),
		.status = (unsigned)sqlite3_column_int(row, 2),
		.body = column_copy(row, 3, arena, &full),
		.expires = sqlite3_column_int64(row, 4),
	};
	column_fixed(row, 1, ret->body_sha256, sizeof(ret->body_sha256));
	return full ? sqlite_arena_full("an answer") : NULL;
}

struct writ_err *
sqlite_evidence(struct store *store, const uint8_t digest[32], struct writ_arena *arena, struct store_evidence *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	char hex[65];
	struct writ_err *err;
	bool full = false;

	err = sqlite_ask(sqlite_of(store), Q_EVIDENCE, &row, VALUES(V_FIXED(digest, 32)));
	if (err)
		return err;
	if (!row)
		return writ_fail(WRIT_NOT_FOUND, "evidence %s is not kept",
				 writ_hex((struct writ_bytes){ digest, 32 }, hex));
	*ret = (struct store_evidence){
		.kind = column_copy(row, 1, arena, &full),
		.bytes = column_copy(row, 2, arena, &full),
		.expires = sqlite3_column_int64(row, 3),
	};
	column_fixed(row, 0, ret->digest, sizeof(ret->digest));
	return full ? sqlite_arena_full("evidence") : NULL;
}

struct writ_err *
sqlite_once_used(struct store *store, struct writ_bytes key, writ_time now, bool *ret)
{
	struct writ_err *err;
	int64_t found;

	err = sqlite_number(sqlite_of(store), Q_ONCE, 0, &found, VALUES(V_BYTES(key), V_INT(now)));
	if (err)
		return err;
	*ret = found != 0;
	return NULL;
}

struct writ_err *
sqlite_key_blocked(struct store *store, const uint8_t spki_sha256[32], bool *ret)
{
	struct writ_err *err;
	int64_t found;

	err = sqlite_number(sqlite_of(store), Q_BLOCKED, 0, &found, VALUES(V_FIXED(spki_sha256, 32)));
	if (err)
		return err;
	*ret = found != 0;
	return NULL;
}

struct writ_err *
sqlite_live_certs(struct store *store, writ_time now, store_each_cert *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_LIVE_CERTS, &row, VALUES(V_INT(now)));
	if (err)
		return err;
	while (row) {
		struct store_cert cert = { .not_after = sqlite3_column_int64(row, 1),
					   .state = (enum cert_state)sqlite3_column_int(row, 2),
					   .reason = (unsigned)sqlite3_column_int(row, 3),
					   .revoked_at = sqlite3_column_int64(row, 4) };

		column_fixed(row, 0, cert.serial, SERIAL_LEN);
		err = each(&cert, ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	sqlite3_db_release_memory(s->db); /* pages of a million rows: what is asked for next is seldom among them */
	return NULL;
}

struct writ_err *
sqlite_outbox(struct store *store, store_each_owed *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_OUTBOX, &row, NULL, 0);
	if (err)
		return err;
	while (row) {
		err = each((uint64_t)sqlite3_column_int64(row, 0), ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
sqlite_revoked_edges(struct store *store, writ_time since, store_each_edge *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_REVOKED_EDGES, &row, VALUES(V_INT(since)));
	if (err)
		return err;
	while (row) {
		uint8_t id[EDGE_ID_LEN];

		column_fixed(row, 0, id, EDGE_ID_LEN);
		err = each(id, sqlite3_column_int64(row, 1), ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
sqlite_freezes(struct store *store, store_each_freeze *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_FREEZES, &row, NULL, 0);
	if (err)
		return err;
	while (row) {
		struct store_freeze freeze = {
			.what = (enum revoke_what)sqlite3_column_int(row, 0),
			.id = column_bytes(row, 1),
			.by = column_bytes(row, 2),
			.at = sqlite3_column_int64(row, 3),
		};

		if (freeze.what == REVOKE_ALL)
			freeze.id.len = 0;
		else if (freeze.what == REVOKE_CLASS)
			freeze.id.len--; /* sqlite_schema.c (4) */
		err = each(&freeze, ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
sqlite_is_frozen(struct sqlite *s, struct writ_bytes principal, enum revoke_what *ret)
{
	struct writ_err *err;
	int64_t what;

	err = sqlite_number(s, Q_FROZEN, 0, &what, VALUES(V_TEXT(principal)));
	*ret = (enum revoke_what)what;
	return err;
}

struct writ_err *
sqlite_frozen(struct store *store, struct writ_bytes principal, enum revoke_what *ret)
{
	return sqlite_is_frozen(sqlite_of(store), principal, ret);
}

struct writ_err *
sqlite_ended(struct store *store, writ_time now, unsigned max, store_each_ended *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_ENDED, &row, VALUES(V_INT(now), V_INT(max)));
	if (err)
		return err;
	while (row) {
		err = each(column_bytes(row, 0), sqlite3_column_int64(row, 1), ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
sqlite_notes(struct store *store, unsigned max, store_each_note *each, void *ctx)
{
	struct sqlite *s = sqlite_of(store);
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(s, Q_NOTES, &row, VALUES(V_INT(max)));
	if (err)
		return err;
	while (row) {
		err = each((uint64_t)sqlite3_column_int64(row, 0), (unsigned)sqlite3_column_int(row, 1),
			   column_bytes(row, 2), ctx);
		if (err)
			return err;
		err = sqlite_next(s, &row);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
sqlite_counts(struct store *store, writ_time now, struct store_counts *ret)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	err = sqlite_ask(sqlite_of(store), Q_COUNTS, &row, VALUES(V_INT(now)));
	if (err)
		return err;
	*ret = (struct store_counts){
		.tasks_open = (uint64_t)sqlite3_column_int64(row, 0),
		.edges_live = (uint64_t)sqlite3_column_int64(row, 1),
		.certs_good = (uint64_t)sqlite3_column_int64(row, 2),
		.certs_revoked = (uint64_t)sqlite3_column_int64(row, 3),
		.certs_aborted = (uint64_t)sqlite3_column_int64(row, 4),
		.frozen = (uint64_t)sqlite3_column_int64(row, 5),
	};
	return NULL;
}
