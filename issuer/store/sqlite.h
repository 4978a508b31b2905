/*
 * Inside the SQLite backend: one connection, its prepared statements, and how they are asked.
 *
 * sqlite.c opens and asks; sqlite_schema.c has the tables, and what is true of their rows; sqlite_queries.c has the
 * statements' texts; sqlite_read.c, sqlite_write.c and sqlite_revoke.c say what is asked.  Rule for all of them: an
 * error of SQLite itself sets `failed` and dooms the group; any other error is the one item's, so an item checks
 * everything first and writes only then. Threading: one connection a thread; SQLite's own mutexes are off.
 */
#ifndef WRIT_ISSUER_STORE_SQLITE_H
#define WRIT_ISSUER_STORE_SQLITE_H

#include <sqlite3.h>

#include "issuer/store/backend.h"

/* In the order of the texts in sqlite_queries.c.  Those from Q_BEGIN on are the writer's. */
enum query {
	Q_TASK,
	Q_EDGE,
	Q_EDGE_BY_KEY,
	Q_EDGES,
	Q_ALL_EDGES,
	Q_POLICY_LAST,
	Q_ALL_DENIED,
	Q_STEP_BY_ID,
	Q_STEP_BY_N,
	Q_CERT,
	Q_CERT_DER,
	Q_NEWEST,
	Q_ANSWER,
	Q_ONCE,
	Q_EVIDENCE,
	Q_BLOCKED,
	Q_LIVE_CERTS,
	Q_OUTBOX,
	Q_REVOKED_EDGES,
	Q_COUNTS,
	Q_PENDING,
	Q_APPROVALS,
	Q_PENDINGS,
	Q_PENDINGS_COUNT,
	Q_TASKS_OF,
	Q_FREEZES,
	Q_FROZEN,
	Q_ENDED,
	Q_NOTES,

	Q_BEGIN,
	Q_COMMIT,
	Q_ROLLBACK,
	Q_TASK_STATE,
	Q_EDGE_N,
	Q_EDGE_HAS_KEY,
	Q_CHILDREN,
	Q_NEWEST_OF,
	Q_LEAVES,
	Q_CERT_STATE,
	Q_ANSWERED,
	Q_PRINCIPAL,
	Q_CLASS,
	Q_ADD_PRINCIPAL,
	Q_ADD_POLICY,
	Q_ADD_DENIED,
	Q_ADD_TASK,
	Q_ADD_EDGE,
	Q_ADD_EDGE_TEXT,
	Q_ADD_CERT,
	Q_ADD_CERT_DER,
	Q_ADD_ONCE,
	Q_ADD_ANSWER,
	Q_ADD_EVIDENCE,
	Q_OUTBOX_DONE,
	Q_CLOSE,
	Q_ADD_NOTE,
	Q_NOTED,
	Q_FREEZE,
	Q_THAW,
	Q_N_FROZEN,
	Q_FREEZE_REFUSES,
	Q_FREEZE_ENDS,

	Q_PENDING_ROW,
	Q_PENDING_LIVE,
	Q_PENDINGS_OF,
	Q_ADD_PENDING,
	Q_END_PENDING,
	Q_DROP_PENDING,
	Q_APPROVED,
	Q_GIVEN,
	Q_ADD_APPROVAL,
	Q_DROP_APPROVALS,

	Q_TAKEN_CLEAR,
	Q_TAKE_EDGE,
	Q_TAKE_LEAF,
	Q_TAKE_TASK,
	Q_TAKE_PRINCIPAL,
	Q_TAKE_CLASS,
	Q_TAKE_ALL,
	Q_TAKE_BELOW,
	Q_TAKEN_TOPMOST,
	Q_TAKEN_ANY,
	Q_TAKEN_ORIGINS,
	Q_REVOKE_EDGES,
	Q_TAKEN_CERTS,
	Q_END_TASKS,
	Q_END_ALL_TASKS,
	Q_ADD_OWED,
	Q_OWED_SINCE,
	Q_BLOCK_EDGE,
	Q_BLOCK_LEAF,
	Q_BLOCK_PRINCIPAL,
	Q_BLOCK_CLASS,

	Q_PRUNE_CERTS,
	Q_PRUNE_CERT_DER,
	Q_PRUNE_ANSWERS,
	Q_PRUNE_ONCE,
	Q_PRUNE_EVIDENCE,
	Q_PRUNE_DENIED,
	Q_PRUNE_EDGES,
	Q_PRUNE_EDGE_TEXT,
	Q_PRUNE_REVOKED,
	Q_PRUNE_TASKS,
	Q_PRUNE_PENDING,
	Q_PRUNE_PRINCIPAL,

	N_QUERIES
};

struct sqlite {
	struct store store; /* first: a store is a struct sqlite */
	sqlite3 *db;
	int lock_fd;   /* the writer's; -1 for a reader */
	int wal_pages; /* after the last commit */
	bool failed;   /* SQLite refused something: the group is lost */
	struct known_live *live; /* the writer's, SQLITE_LIVE of them; NULL for a reader */
	uint64_t live_since;	 /* what was noted before this number counts no more */
	sqlite3_stmt *statements[N_QUERIES];
};

/*
 * Of a row c of `leaf`, with r, the row of `revoked` of its edge, if there is one (sqlite_schema.c, 3).  The view `cert`
 * is made of them once, when its file is made: changed here it needs a migration.
 */
#define CERT_ENDED "c.state = 1 AND r.at <= c.not_after"
#define CERT_STATE "CASE WHEN " CERT_ENDED " THEN 2 ELSE c.state END"
#define CERT_REASON "CASE WHEN " CERT_ENDED " THEN r.reason ELSE c.reason END"
#define CERT_REVOKED_AT "CASE WHEN " CERT_ENDED " THEN r.at ELSE c.revoked_at END"

/* Makes the schema of an empty or older file; else says why this file is not for us. */
WRIT_CHECKED struct writ_err *sqlite_schema_ready(struct sqlite *, enum store_mode);

/* Prepares all statements; of a reader those before Q_BEGIN. */
WRIT_CHECKED struct writ_err *sqlite_prepare(struct sqlite *, enum store_mode);

/* Runs SQL that is no statement of ours, as a setting or a schema. */
WRIT_CHECKED struct writ_err *sqlite_execute(struct sqlite *, const char *sql, const char *doing);

/* What SQLite said last, as our error; sets `failed`.  After an fsync error it does not return (I13). */
struct writ_err *sqlite_fail(struct sqlite *, const char *doing);

/* What a statement's ?1, ?2, ... stand for; borrowed until the statement is reset. */
struct value {
	enum { VALUE_NULL, VALUE_INT, VALUE_TEXT, VALUE_BYTES } kind;
	int64_t number;
	struct writ_bytes bytes;
};

#define V_NULL ((struct value){ .kind = VALUE_NULL })
#define V_INT(v) ((struct value){ .kind = VALUE_INT, .number = (int64_t)(v) })
#define V_TEXT(b) ((struct value){ .kind = VALUE_TEXT, .bytes = (b) })
#define V_BYTES(b) ((struct value){ .kind = VALUE_BYTES, .bytes = (b) })
#define V_FIXED(p, n) ((struct value){ .kind = VALUE_BYTES, .bytes = { (p), (n) } })

#define VALUES(...)                                                                                                    \
	(const struct value[]){ __VA_ARGS__ }, sizeof((const struct value[]){ __VA_ARGS__ }) / sizeof(struct value)

/*
 * Asks; `*ret` stands on the first row, or is NULL when there is none.  Reset it when read: AUTO(rows_done).
 *
 *	AUTO(rows_done) sqlite3_stmt *row = NULL;
 *	err = sqlite_ask(s, Q_CERT, &row, VALUES(V_FIXED(serial, SERIAL_LEN)));
 */
WRIT_CHECKED struct writ_err *sqlite_ask(struct sqlite *, enum query, sqlite3_stmt **ret, const struct value *,
					 size_t n);

/* To the next row; `*row` becomes NULL after the last. */
WRIT_CHECKED struct writ_err *sqlite_next(struct sqlite *, sqlite3_stmt **row);
void rows_done(sqlite3_stmt **);

/* Runs a statement that has no rows to give. */
WRIT_CHECKED struct writ_err *sqlite_do(struct sqlite *, enum query, const struct value *, size_t n);

/* Asks for one number; `preset` when there is no row, or NULL in it. */
WRIT_CHECKED struct writ_err *sqlite_number(struct sqlite *, enum query, int64_t preset, int64_t *ret,
					    const struct value *, size_t n);

/* A column. */
struct writ_bytes column_bytes(sqlite3_stmt *row, int column);		    /* valid until the row is left */
void column_fixed(sqlite3_stmt *row, int column, uint8_t *out, size_t len); /* zero when the column is NULL */
/* Into the arena; sets `*ret_full` when it has no room, so that a row is read first and judged once. */
struct writ_bytes column_copy(sqlite3_stmt *row, int column, struct writ_arena *, bool *ret_full);
struct writ_err *sqlite_arena_full(const char *what);

/* For a read: the backend of this store, whose earlier failures are over. */
struct sqlite *sqlite_of(struct store *);

/* An edge and what it hangs on. */
struct lineage {
	int64_t n;	/* row number of the edge, */
	int64_t parent; /* of its parent; 0: none, */
	int64_t task;	/* of its task */
	char task_id[TASK_ID_MAX + 1];
	bool task_open;
	bool live;		   /* the edge and every ancestor */
	uint8_t dead[EDGE_ID_LEN]; /* when not: the one nearest to the root */
	bool blocked;		   /* a key among them */
	char frozen[STORE_PRINCIPAL_MAX + 1]; /* a principal among them; empty: none */
};

/*
 * Edges that the writer found alive, with all above them, since anything was last taken back: looked at again they need
 * no statement.  An edge has one place, by its id, which is random.
 */
#define SQLITE_LIVE 8192
struct known_live {
	uint8_t edge[EDGE_ID_LEN];
	int64_t n, parent; /* row numbers, as in a lineage */
	uint64_t since;	   /* live_since when it was noted */
	int64_t leaves;	   /* live now, or some fewer, as they expire; negative: not counted yet */
};
/* Before SQLite is used; see sqlite_pages.c. */
void sqlite_pages_setup(void);

void sqlite_live_forget(struct sqlite *); /* all: something was taken back, or nobody knows what became of a group */

/* Walks from the edge to the root.  WRIT_NOT_FOUND for an edge that is not there. */
WRIT_CHECKED struct writ_err *sqlite_lineage(struct sqlite *, const uint8_t edge[EDGE_ID_LEN], struct lineage *ret);

/* Why this principal is frozen, its own name before its class before everything; 0: it is not. */
WRIT_CHECKED struct writ_err *sqlite_is_frozen(struct sqlite *, struct writ_bytes principal, enum revoke_what *ret);

/* "edge 00ff...: " and the like for messages: 32 hex digits and a NUL. */
#define ID_HEX_LEN (2 * EDGE_ID_LEN + 1)

/* sqlite_write.c */
WRIT_CHECKED struct writ_err *sqlite_frozen_check(struct sqlite *, struct writ_bytes principal); /* CONFLICT: it is */
struct writ_err *sqlite_commit(struct store *, struct store_item *items, size_t n);

/* One item each, inside the transaction: checks all, then writes. */
WRIT_CHECKED struct writ_err *sqlite_open_task(struct sqlite *, const struct store_item *);
/* Its id is new, its key neither blocked nor at home in the task (0: a task yet to be made), its principals not frozen. */
WRIT_CHECKED struct writ_err *sqlite_edge_check(struct sqlite *, const struct store_edge *, int64_t task);

/* sqlite_pending.c: the same. */
WRIT_CHECKED struct writ_err *sqlite_pend(struct sqlite *, const struct store_item *);
WRIT_CHECKED struct writ_err *sqlite_approve(struct sqlite *, struct store_item *);
/* CONFLICT when the id is reserved by a task that waits. */
WRIT_CHECKED struct writ_err *sqlite_not_pending(struct sqlite *, struct writ_bytes task, writ_time now);
struct writ_err *sqlite_pending(struct store *, struct writ_bytes task, struct writ_arena *, struct store_pending *ret);
struct writ_err *sqlite_pendings(struct store *, writ_time now, store_each_pending *, void *ctx);
struct writ_err *sqlite_pendings_count(struct store *, writ_time now, uint64_t *ret);
struct writ_err *sqlite_tasks_of(struct store *, struct writ_bytes opener, writ_time now, size_t max,
				 struct writ_arena *, struct store_task **ret, size_t *ret_n);

/* sqlite_revoke.c: one item each, inside the transaction. */
WRIT_CHECKED struct writ_err *sqlite_revoke(struct sqlite *, struct store_item *);
WRIT_CHECKED struct writ_err *sqlite_thaw(struct sqlite *, struct store_item *);
WRIT_CHECKED struct writ_err *sqlite_prune(struct sqlite *, struct store_item *);

/* sqlite_policy.c: one item, inside the transaction; and the last one, for any reader. */
WRIT_CHECKED struct writ_err *sqlite_policy_take(struct sqlite *, const struct store_item *);
WRIT_CHECKED struct writ_err *sqlite_denied_keep(struct sqlite *, const struct store_item *);
struct writ_err *sqlite_all_denied(struct store *, struct writ_arena *, store_each_denied *, void *ctx);
struct writ_err *sqlite_policy_last(struct store *, struct writ_arena *, struct store_policy *ret);

/* sqlite_read.c */
struct writ_err *sqlite_all_edges(struct store *, struct writ_arena *, store_each_whole_edge *, void *ctx);
struct writ_err *sqlite_task(struct store *, struct writ_bytes id, struct writ_arena *, struct store_task *ret);
struct writ_err *sqlite_edge(struct store *, const uint8_t id[EDGE_ID_LEN], struct writ_arena *,
			     struct store_edge *ret);
struct writ_err *sqlite_edge_by_key(struct store *, struct writ_bytes task, const uint8_t spki_sha256[32],
				    struct writ_arena *, struct store_edge *ret);
struct writ_err *sqlite_edges(struct store *, struct writ_bytes task, struct writ_arena *, struct store_edge **ret,
			      size_t *ret_n);
struct writ_err *sqlite_cert(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *,
			     struct store_cert *ret);
struct writ_err *sqlite_cert_der(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *,
				 struct writ_bytes *ret);
struct writ_err *sqlite_newest_leaf(struct store *, const uint8_t edge[EDGE_ID_LEN], writ_time now, writ_time *ret);
struct writ_err *sqlite_lineage_live(struct store *, const uint8_t edge[EDGE_ID_LEN], bool *ret_live,
				     uint8_t ret_dead[EDGE_ID_LEN]);
struct writ_err *sqlite_answer(struct store *, struct writ_bytes key, writ_time now, struct writ_arena *,
			       struct store_answer *ret);
struct writ_err *sqlite_evidence(struct store *, const uint8_t digest[32], struct writ_arena *,
				 struct store_evidence *ret);
struct writ_err *sqlite_once_used(struct store *, struct writ_bytes key, writ_time now, bool *ret);
struct writ_err *sqlite_key_blocked(struct store *, const uint8_t spki_sha256[32], bool *ret);
struct writ_err *sqlite_live_certs(struct store *, writ_time now, store_each_cert *, void *ctx);
struct writ_err *sqlite_outbox(struct store *, store_each_owed *, void *ctx);
struct writ_err *sqlite_revoked_edges(struct store *, writ_time since, store_each_edge *, void *ctx);
struct writ_err *sqlite_freezes(struct store *, store_each_freeze *, void *ctx);
struct writ_err *sqlite_frozen(struct store *, struct writ_bytes principal, enum revoke_what *ret);
struct writ_err *sqlite_ended(struct store *, writ_time now, unsigned max, store_each_ended *, void *ctx);
struct writ_err *sqlite_notes(struct store *, unsigned max, store_each_note *, void *ctx);
struct writ_err *sqlite_counts(struct store *, writ_time now, struct store_counts *ret);

#endif
