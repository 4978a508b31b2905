/*
 * The schema of the SQLite file, and how an older file becomes one of today.
 *
 * Version 1 is `schema`; each of `migrations` makes the next one, in an old file as in a new.  Rows hang together by
 * small integers (`n`), since random 16-byte keys in every index cost more than the fsync does (21 k rows/s against
 * 31 k); a serial begins with its minute, so its own index grows at the end.  Bulky columns (certificates, grants, hops)
 * live in tables of their own, so that a start and a cascade read narrow rows.
 *
 * (1) Below a revoked edge everything is revoked: revoking marks all descendants in its transaction, and no edge is
 *     added below a dead one (delegation.md R1).
 * (2) Every edge of a task lies below the task's first, which is therefore the oldest and the last to be pruned.
 * (3) What was issued is never written again: a leaf ends because its edge did, so a cascade writes one row of `revoked`
 *     an edge, at the end of a small table, however many leaves there are and wherever their rows lie.  A leaf is
 *     revoked when its edge is and it had not expired by then; `cert` shows that.  Of an edge that is alive cert_good
 *     holds exactly the good certificates, their serials beside each other: it answers "newest leaf", "how many live
 *     leaves" and "which to revoke" without their rows.
 * (4) A name in `frozen` is a principal, a class with "/" behind it, or "*": a principal is frozen when its own, its
 *     class's or the star is there.
 *
 * Knows no statement of the store's work (sqlite_queries.c), and no connection's settings (sqlite.c).
 */
#include <stdio.h>

#include "base/event.h"
#include "issuer/store/sqlite.h"

#define APPLICATION_ID 0x57524954 /* "WRIT" */

static const char schema[] =
	"CREATE TABLE principal (n INTEGER PRIMARY KEY, uri TEXT NOT NULL UNIQUE) STRICT;"

	"CREATE TABLE task (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, opener INTEGER NOT NULL,"
	"  purpose TEXT NOT NULL, parent INTEGER, created INTEGER NOT NULL, ends INTEGER NOT NULL,"
	"  state INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;"
	"CREATE INDEX task_ends ON task(ends);"
	"CREATE INDEX task_opener ON task(opener);"
	"CREATE INDEX task_parent ON task(parent) WHERE parent IS NOT NULL;"

	"CREATE TABLE edge (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE CHECK (length(id) = 16), parent INTEGER,"
	"  task INTEGER NOT NULL, delegator INTEGER NOT NULL, agent INTEGER NOT NULL,"
	"  spki BLOB NOT NULL CHECK (length(spki) = 32), depth INTEGER NOT NULL, granted INTEGER NOT NULL,"
	"  not_after INTEGER NOT NULL, max_lifetime INTEGER NOT NULL, state INTEGER NOT NULL,"
	"  revoked_at INTEGER NOT NULL, origin INTEGER NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX edge_key ON edge(task, spki);"
	"CREATE INDEX edge_parent ON edge(parent) WHERE parent IS NOT NULL;"
	"CREATE INDEX edge_delegator ON edge(delegator);"
	"CREATE INDEX edge_agent ON edge(agent);"
	"CREATE INDEX edge_not_after ON edge(not_after);"
	"CREATE INDEX edge_origin ON edge(revoked_at) WHERE origin = 1;"
	"CREATE TABLE edge_text (n INTEGER PRIMARY KEY, grant_der BLOB NOT NULL, hops BLOB NOT NULL,"
	"  context BLOB NOT NULL) STRICT;"

	"CREATE TABLE cert (n INTEGER PRIMARY KEY, serial BLOB NOT NULL UNIQUE CHECK (length(serial) = 16),"
	"  edge INTEGER, issuer_key BLOB NOT NULL CHECK (length(issuer_key) = 20),"
	"  sha256 BLOB NOT NULL CHECK (length(sha256) = 32), log_index INTEGER NOT NULL,"
	"  not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, state INTEGER NOT NULL,"
	"  reason INTEGER NOT NULL, revoked_at INTEGER NOT NULL) STRICT;"
	"CREATE INDEX cert_good ON cert(edge, not_after, state) WHERE state = 1;" /* with state it covers its queries */
	"CREATE INDEX cert_not_after ON cert(not_after);"
	"CREATE TABLE cert_der (n INTEGER PRIMARY KEY, der BLOB NOT NULL) STRICT;"

	"CREATE TABLE outbox (n INTEGER PRIMARY KEY) STRICT;" /* of cert */
	"CREATE TABLE blocked (spki BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE once (n INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, expires INTEGER NOT NULL) STRICT;"
	"CREATE INDEX once_expires ON once(expires);"
	"CREATE TABLE answer (n INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
	"  body_sha256 BLOB NOT NULL CHECK (length(body_sha256) = 32), status INTEGER NOT NULL, body BLOB NOT NULL,"
	"  expires INTEGER NOT NULL) STRICT;"
	"CREATE INDEX answer_expires ON answer(expires);"
	"CREATE TABLE evidence (n INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),"
	"  kind TEXT NOT NULL, bytes BLOB NOT NULL, expires INTEGER NOT NULL) STRICT;"
	"CREATE INDEX evidence_expires ON evidence(expires);";

static const char *const migrations[] = {
	/* 2: policies in force, approvals, freezes, notes for the journal, tasks that close themselves */
	"CREATE TABLE IF NOT EXISTS policy (n INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), revision INTEGER NOT NULL, id TEXT NOT NULL,"
	"  since INTEGER NOT NULL, text BLOB NOT NULL) STRICT;"
	/* Tasks that wait, or waited, for approvals: apart from task and edge, so that nothing takes one for the
	   other. */
	"CREATE TABLE IF NOT EXISTS pending (n INTEGER PRIMARY KEY, task TEXT NOT NULL UNIQUE, opener TEXT NOT NULL,"
	"  purpose TEXT NOT NULL, asked INTEGER NOT NULL, ends INTEGER NOT NULL,"
	"  edge BLOB NOT NULL CHECK (length(edge) = 16), agent TEXT NOT NULL,"
	"  spki BLOB NOT NULL CHECK (length(spki) = 32), depth INTEGER NOT NULL, not_after INTEGER NOT NULL,"
	"  max_lifetime INTEGER NOT NULL, grant_der BLOB NOT NULL, hops BLOB NOT NULL, context BLOB NOT NULL,"
	"  digest BLOB NOT NULL CHECK (length(digest) = 32), rule TEXT NOT NULL, needed INTEGER NOT NULL,"
	"  approvers TEXT NOT NULL, expires INTEGER NOT NULL, fixed INTEGER NOT NULL, state INTEGER NOT NULL, ended INTEGER NOT NULL,"
	"  keep INTEGER NOT NULL) STRICT;"
	"CREATE INDEX IF NOT EXISTS pending_waits ON pending(opener) WHERE state = 1;"
	"CREATE INDEX IF NOT EXISTS pending_keep ON pending(keep);"
	"CREATE TABLE IF NOT EXISTS approval (n INTEGER PRIMARY KEY, pending INTEGER NOT NULL, principal TEXT NOT NULL,"
	"  at INTEGER NOT NULL, refuses INTEGER NOT NULL, because TEXT NOT NULL,"
	"  evidence BLOB NOT NULL CHECK (length(evidence) = 32), UNIQUE (pending, principal)) STRICT;"
	"CREATE TABLE frozen (uri TEXT PRIMARY KEY, what INTEGER NOT NULL, at INTEGER NOT NULL,"
	"  asked_by TEXT NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE TABLE note (n INTEGER PRIMARY KEY, type INTEGER NOT NULL, text BLOB NOT NULL) STRICT;"
	"CREATE INDEX task_open ON task(ends) WHERE state = 1;",

	/* 3: requests that a policy denied */
	"CREATE TABLE denied (delegator TEXT NOT NULL, slot INTEGER NOT NULL, kind INTEGER NOT NULL, agent TEXT NOT NULL,"
	"  grant_der BLOB NOT NULL, depth INTEGER NOT NULL, ends INTEGER NOT NULL, task_ends INTEGER NOT NULL,"
	"  parent BLOB NOT NULL CHECK (length(parent) = 16), at INTEGER NOT NULL, UNIQUE (delegator, slot)) STRICT;"
	"CREATE INDEX denied_at ON denied(at);",

	/* 4: (3).  Rows that said themselves that they are revoked go on saying so. */
	"CREATE TABLE revoked (edge INTEGER PRIMARY KEY, at INTEGER NOT NULL, reason INTEGER NOT NULL,"
	"  origin INTEGER NOT NULL) STRICT;"
	"INSERT INTO revoked SELECT e.n, e.revoked_at, coalesce(c.reason, 0), e.origin FROM edge e LEFT JOIN"
	"  (SELECT edge, min(reason) AS reason FROM cert WHERE state = 2 GROUP BY edge) c ON c.edge = e.n"
	"  WHERE e.state = 2;"
	"CREATE INDEX revoked_origin ON revoked(at) WHERE origin = 1;"
	"DROP INDEX edge_origin;"
	"ALTER TABLE edge DROP COLUMN state;"
	"ALTER TABLE edge DROP COLUMN revoked_at;"
	"ALTER TABLE edge DROP COLUMN origin;"
	"ALTER TABLE cert RENAME TO leaf;"
	"CREATE VIEW cert AS SELECT c.n, c.serial, c.edge, c.issuer_key, c.sha256, c.log_index, c.not_before,"
	"  c.not_after, " CERT_STATE " AS state, " CERT_REASON " AS reason, " CERT_REVOKED_AT " AS revoked_at"
	"  FROM leaf c LEFT JOIN revoked r ON r.edge = c.edge;",

	/* 5: the outbox owes a revocation, not each leaf that it took, */
	"ALTER TABLE outbox RENAME TO owed_leaf;"
	"CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL) STRICT;"
	"INSERT INTO outbox (at) SELECT min(c.revoked_at) FROM owed_leaf o CROSS JOIN cert c ON c.n = o.n HAVING count(*) > 0;"
	"DROP TABLE owed_leaf;"
	/* and the serials of an edge stand together: a cascade reads no row of a certificate (3) */
	"DROP INDEX cert_good;"
	"CREATE INDEX cert_good ON leaf(edge, not_after, state, serial) WHERE state = 1;",
};

#define SCHEMA_VERSION ((int64_t)N_OF(migrations) + 1)

static struct writ_err *
pragma_number(struct sqlite *s, const char *sql, int64_t *ret)
{
	sqlite3_stmt *statement = NULL;
	struct writ_err *err = NULL;

	if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
		err = sqlite_fail(s, sql);
	else
		*ret = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return err;
}

/* From `version` (0: an empty file) to ours, whole or not at all. */
static struct writ_err *
schema_make(struct sqlite *s, int64_t version)
{
	struct writ_err *err;
	char sql[128];

	err = sqlite_execute(s, "BEGIN IMMEDIATE", "making the schema");
	if (!err && version == 0)
		err = sqlite_execute(s, schema, "making the schema");
	for (size_t i = version > 0 ? (size_t)version - 1 : 0; i < N_OF(migrations) && !err; i++)
		err = sqlite_execute(s, migrations[i], "making the schema");
	if (err)
		return err;
	snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT", APPLICATION_ID,
		 (long long)SCHEMA_VERSION);
	err = sqlite_execute(s, sql, "making the schema");
	if (!err && version > 0)
		event(EVENT_INFO, "store.schema", EV_NUM("from", version), EV_NUM("to", SCHEMA_VERSION));
	return err;
}

struct writ_err *
sqlite_schema_ready(struct sqlite *s, enum store_mode mode)
{
	int64_t version, application, n_objects;
	struct writ_err *err;

	err = pragma_number(s, "PRAGMA user_version", &version);
	if (err)
		return err;
	err = pragma_number(s, "PRAGMA application_id", &application);
	if (err)
		return err;
	err = pragma_number(s, "SELECT count(*) FROM sqlite_schema", &n_objects);
	if (err)
		return err;

	if (n_objects > 0 && application != APPLICATION_ID)
		return writ_fail(WRIT_INVALID, "this SQLite file is not a store of Writ");
	if (version > SCHEMA_VERSION)
		return writ_fail(WRIT_LOCKED,
				 "the store has schema %lld, this program knows up to %lld: run the newer Writ",
				 (long long)version, (long long)SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return NULL;
	if (n_objects > 0 && version < 1)
		return writ_fail(WRIT_BROKEN, "the store has tables but schema %lld", (long long)version);
	if (mode == STORE_READ && version > 0)
		return writ_fail(WRIT_NOT_FOUND,
				 "the store has schema %lld, this program wants %lld: its writer has not opened it yet",
				 (long long)version, (long long)SCHEMA_VERSION);
	if (mode == STORE_READ)
		return writ_fail(WRIT_NOT_FOUND, "the store is empty: its writer has not opened it yet");
	return schema_make(s, version);
}
