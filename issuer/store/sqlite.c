/*
 * The store in one SQLite file: schema, statements, connection.
 *
 * WAL and synchronous=FULL: a commit is one append and one fsync, and readers never wait.  Rows hang together by small
 * integers (`n`), since random 16-byte keys in every index cost more than the fsync does (21 k rows/s against 31 k); a
 * serial begins with its minute, so its own index grows at the end.  Bulky columns (certificates, grants, hops) live in
 * tables of their own, so that a start and a cascade read narrow rows.
 *
 * (1) One connection writes, under a lock on the folder; only it checkpoints.
 * (2) Below a revoked edge everything is revoked: revoking marks all descendants in its transaction, and no edge is
 *     added below a dead one (delegation.md R1).
 * (3) Every edge of a task lies below the task's first, which is therefore the oldest and the last to be pruned.
 * (4) What was issued is never written again: a leaf ends because its edge did, so a cascade writes one row of `revoked`
 *     an edge, at the end of a small table, however many leaves there are and wherever their rows lie.  A leaf is
 *     revoked when its edge is and it had not expired by then; `cert` shows that.  Of an edge that is alive cert_good
 *     holds exactly the good certificates, their serials beside each other: it answers "newest leaf", "how many live
 *     leaves" and "which to revoke" without their rows.
 * (5) A name in `frozen` is a principal, a class with "/" behind it, or "*": a principal is frozen when its own, its
 *     class's or the star is there.
 *
 * The schema's version 1 is `schema`; each of `migrations` makes the next one, in an old file as in a new.
 */
#include "issuer/store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/text.h"

#define APPLICATION_ID 0x57524954 /* "WRIT" */
#define BUSY_MS 2000		  /* a backup tool may hold the file that long; then the caller hears of it */
#define CHECKPOINT_PAGES 4000	  /* 16 MB of WAL: the writer stops for a checkpoint, busy or not */
#define CHECKPOINT_IDLE_PAGES 500 /* less than that is not worth an fsync of the database */
#define LINEAGE_MAX 16		  /* a leaf lists at most 8 hops; more than this is a damaged store */

/* (4): of a row c of `leaf`, with r, the row of `revoked` of its edge, if there is one. */
#define CERT_ENDED "c.state = 1 AND r.at <= c.not_after"
#define CERT_STATE "CASE WHEN " CERT_ENDED " THEN 2 ELSE c.state END"
#define CERT_REASON "CASE WHEN " CERT_ENDED " THEN r.reason ELSE c.reason END"
#define CERT_REVOKED_AT "CASE WHEN " CERT_ENDED " THEN r.at ELSE c.revoked_at END"

/* Of a row e of `edge`. */
#define EDGE_ALIVE "NOT EXISTS (SELECT 1 FROM revoked WHERE revoked.edge = e.n)"
#define EDGE_STATE "1 + EXISTS (SELECT 1 FROM revoked WHERE revoked.edge = e.n)"

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

	/* 4: (4).  Rows that said themselves that they are revoked go on saying so. */
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
	/* and the serials of an edge stand together: a cascade reads no row of a certificate (4) */
	"DROP INDEX cert_good;"
	"CREATE INDEX cert_good ON leaf(edge, not_after, state, serial) WHERE state = 1;",
};

#define SCHEMA_VERSION ((int64_t)N_OF(migrations) + 1)

/* CROSS JOIN keeps SQLite from trying another order: every table after the first is one lookup by row number. */
#define SELECT_EDGE                                                                                                    \
	"SELECT e.id, p.id, t.id, d.uri, a.uri, e.spki, e.depth, e.granted, e.not_after, x.grant_der, x.hops, "        \
	"x.context, e.max_lifetime, " EDGE_STATE " FROM edge e CROSS JOIN task t ON t.n = e.task "                     \
	"CROSS JOIN principal d ON d.n = e.delegator CROSS JOIN principal a ON a.n = e.agent "                         \
	"CROSS JOIN edge_text x ON x.n = e.n LEFT JOIN edge p ON p.n = e.parent "

#define SELECT_CERT                                                                                                    \
	"SELECT c.serial, e.id, c.issuer_key, c.sha256, c.log_index, c.not_before, c.not_after, " CERT_STATE           \
	", " CERT_REASON ", " CERT_REVOKED_AT " FROM leaf c LEFT JOIN edge e ON e.n = c.edge "                         \
	"LEFT JOIN revoked r ON r.edge = c.edge "

#define SELECT_STEP                                                                                                    \
	"SELECT e.id, e.n, e.parent, " EDGE_STATE ", EXISTS (SELECT 1 FROM blocked WHERE spki = e.spki), t.n, "        \
	"t.state, t.id, "                                                                                              \
	"CASE WHEN EXISTS (SELECT 1 FROM frozen) THEN (SELECT p.uri FROM principal p WHERE p.n IN (e.delegator, "      \
	"e.agent) AND EXISTS (SELECT 1 FROM frozen WHERE uri IN " FROZEN_NAMES ") LIMIT 1) END "                       \
	"FROM edge e CROSS JOIN task t ON t.n = e.task "

/* (5); the class of "spiffe://TD/agent/CLASS/INSTANCE" is what stands before its last "/". */
#define FROZEN_NAMES "(p.uri, rtrim(p.uri, replace(p.uri, '/', '')), '*')"

/* Opener, agent, or one who approved. */
#define PENDING_FROZEN                                                                                                 \
	"p.state = 1 AND (EXISTS (SELECT 1 FROM frozen WHERE uri IN (p.opener, p.agent, "                              \
	"rtrim(p.agent, replace(p.agent, '/', '')), '*')) OR EXISTS (SELECT 1 FROM approval a CROSS JOIN frozen f ON " \
	"f.uri = a.principal WHERE a.pending = p.n AND a.refuses = 0))"

/* An instance of the class ?1: "0" follows "/". */
#define IN_CLASS "uri > ?1 || '/' AND uri < ?1 || '0'"

/* The task ?1 (a row number) and all it encloses. */
#define WITH_TASKS                                                                                                     \
	"WITH RECURSIVE tasks(n) AS (SELECT ?1 UNION SELECT t.n FROM tasks CROSS JOIN task t ON t.parent = tasks.n) "

static const char *const queries[N_QUERIES] = {
	[Q_TASK] = "SELECT t.id, o.uri, t.purpose, p.id, t.created, t.ends, t.state, t.ended FROM task t "
		   "CROSS JOIN principal o ON o.n = t.opener LEFT JOIN task p ON p.n = t.parent WHERE t.id = ?1",
	[Q_EDGE] = SELECT_EDGE "WHERE e.id = ?1",
	[Q_EDGE_BY_KEY] = SELECT_EDGE "WHERE e.task = (SELECT n FROM task WHERE id = ?1) AND e.spki = ?2",
	[Q_EDGES] = SELECT_EDGE "WHERE e.task = (SELECT n FROM task WHERE id = ?1) ORDER BY e.n",
	[Q_ALL_EDGES] = SELECT_EDGE "ORDER BY e.n",
	[Q_POLICY_LAST] = "SELECT digest, revision, id, since, text FROM policy ORDER BY n DESC LIMIT 1",
	[Q_ALL_DENIED] = "SELECT delegator, slot, kind, agent, grant_der, depth, ends, task_ends, parent, at FROM denied "
			 "ORDER BY delegator, slot",
	[Q_STEP_BY_ID] = SELECT_STEP "WHERE e.id = ?1",
	[Q_STEP_BY_N] = SELECT_STEP "WHERE e.n = ?1",
	[Q_CERT] = SELECT_CERT "WHERE c.serial = ?1",
	[Q_CERT_DER] = "SELECT d.der FROM leaf c CROSS JOIN cert_der d ON d.n = c.n WHERE c.serial = ?1",
	[Q_NEWEST] = "SELECT max(not_after) FROM leaf WHERE edge = (SELECT n FROM edge e WHERE id = ?1 AND " EDGE_ALIVE
		     ") AND state = 1",
	[Q_ANSWER] = "SELECT key, body_sha256, status, body, expires FROM answer WHERE key = ?1 AND expires >= ?2",
	[Q_EVIDENCE] = "SELECT digest, kind, bytes, expires FROM evidence WHERE digest = ?1",
	[Q_BLOCKED] = "SELECT 1 FROM blocked WHERE spki = ?1",
	[Q_LIVE_CERTS] = "SELECT c.serial, c.not_after, " CERT_STATE ", " CERT_REASON ", " CERT_REVOKED_AT
			 " FROM leaf c LEFT JOIN revoked r ON r.edge = c.edge WHERE c.not_after >= ?1",
	[Q_OUTBOX] = "SELECT n FROM outbox ORDER BY n",
	[Q_REVOKED_EDGES] = "SELECT e.id, r.at FROM revoked r CROSS JOIN edge e ON e.n = r.edge "
			    "WHERE r.origin = 1 AND r.at >= ?1 ORDER BY r.at",
	[Q_COUNTS] = "SELECT (SELECT count(*) FROM task WHERE ends >= ?1 AND state = 1), "
		     "(SELECT count(*) FROM edge e WHERE not_after >= ?1 AND " EDGE_ALIVE "), "
		     "total(state = 1), total(state = 2), total(state = 3), (SELECT count(*) FROM frozen) "
		     "FROM cert WHERE not_after >= ?1",
	[Q_FREEZES] = "SELECT what, uri, asked_by, at FROM frozen ORDER BY what DESC, uri",
	/* SQLite makes a table of the three names each time it looks: only when anybody is frozen at all. */
	[Q_FROZEN] = "SELECT CASE WHEN EXISTS (SELECT 1 FROM frozen) THEN (SELECT what FROM frozen WHERE uri IN "
		     "(?1, rtrim(?1, replace(?1, '/', '')), '*') ORDER BY what LIMIT 1) END",
	[Q_ENDED] = "SELECT id, ends FROM task WHERE state = 1 AND ends < ?1 ORDER BY ends LIMIT ?2",
	[Q_NOTES] = "SELECT n, type, text FROM note ORDER BY n LIMIT ?1",

	[Q_PENDING] = "SELECT n, task, opener, purpose, asked, ends, edge, agent, spki, depth, not_after, max_lifetime, "
		      "grant_der, hops, context, digest, rule, needed, approvers, expires, state, ended, fixed "
		      "FROM pending WHERE task = ?1",
	[Q_APPROVALS] = "SELECT principal, at, refuses, because, evidence FROM approval WHERE pending = ?1 ORDER BY n",
	[Q_PENDINGS] = "SELECT task, opener, purpose, asked, ends, agent, rule, needed, approvers, expires, digest, "
		       "(SELECT count(*) FROM approval WHERE pending = p.n AND refuses = 0) "
		       "FROM pending p WHERE state = 1 AND expires >= ?1 ORDER BY n",
	[Q_PENDINGS_COUNT] = "SELECT count(*) FROM pending WHERE state = 1 AND expires >= ?1",
	[Q_TASKS_OF] = "SELECT t.id, o.uri, t.purpose, p.id, t.created, t.ends, t.state, t.ended FROM task t "
		       "CROSS JOIN principal o ON o.n = t.opener LEFT JOIN task p ON p.n = t.parent "
		       "WHERE t.opener = (SELECT n FROM principal WHERE uri = ?1) AND t.state = 1 AND t.ends >= ?2 "
		       "ORDER BY t.n DESC LIMIT ?3",

	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_TASK_STATE] = "SELECT n, state FROM task WHERE id = ?1",
	[Q_EDGE_N] = "SELECT n FROM edge WHERE id = ?1",
	[Q_EDGE_HAS_KEY] = "SELECT 1 FROM edge WHERE task = ?1 AND spki = ?2",
	[Q_CHILDREN] = "SELECT count(*) FROM edge WHERE parent = ?1",
	[Q_NEWEST_OF] = "SELECT max(not_after) FROM leaf WHERE edge = ?1 AND state = 1",
	[Q_LEAVES] = "SELECT count(*) FROM leaf WHERE edge = ?1 AND state = 1 AND not_after >= ?2",
	[Q_CERT_STATE] = "SELECT state FROM leaf WHERE serial = ?1",
	[Q_ONCE] = "SELECT 1 FROM once WHERE key = ?1 AND expires >= ?2",
	[Q_ANSWERED] = "SELECT body_sha256 FROM answer WHERE key = ?1 AND expires >= ?2",
	[Q_PRINCIPAL] = "SELECT n FROM principal WHERE uri = ?1",
	[Q_CLASS] = "SELECT n FROM principal WHERE " IN_CLASS " LIMIT 1",
	[Q_ADD_PRINCIPAL] = "INSERT INTO principal (uri) VALUES (?1)",
	[Q_ADD_POLICY] = "INSERT OR REPLACE INTO policy (digest, revision, id, since, text) VALUES (?1, ?2, ?3, ?4, ?5)",
	[Q_ADD_DENIED] = "INSERT OR REPLACE INTO denied (delegator, slot, kind, agent, grant_der, depth, ends, task_ends, "
			 "parent, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[Q_ADD_TASK] = "INSERT INTO task (id, opener, purpose, parent, created, ends, state, ended) "
		       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0)",
	[Q_ADD_EDGE] =
		"INSERT INTO edge (id, parent, task, delegator, agent, spki, depth, granted, not_after, max_lifetime) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[Q_ADD_EDGE_TEXT] = "INSERT INTO edge_text (n, grant_der, hops, context) VALUES (?1, ?2, ?3, ?4)",
	/* A serial that is there is told by the number of rows. */
	[Q_ADD_CERT] =
		"INSERT INTO leaf (serial, edge, issuer_key, sha256, log_index, not_before, not_after, state, reason, "
		"revoked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (serial) DO NOTHING",
	[Q_ADD_CERT_DER] = "INSERT INTO cert_der (n, der) VALUES (?1, ?2)",
	/* An expired row that no prune has reached yet gives way. */
	[Q_ADD_ONCE] = "INSERT INTO once (key, expires) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET expires = "
		       "excluded.expires",
	[Q_ADD_ANSWER] =
		"INSERT INTO answer (key, body_sha256, status, body, expires) VALUES (?1, ?2, ?3, ?4, ?5) "
		"ON CONFLICT (key) DO UPDATE SET body_sha256 = excluded.body_sha256, status = excluded.status, "
		"body = excluded.body, expires = excluded.expires",
	[Q_ADD_EVIDENCE] = "INSERT INTO evidence (digest, kind, bytes, expires) VALUES (?1, ?2, ?3, ?4) "
			   "ON CONFLICT (digest) DO UPDATE SET expires = max(expires, excluded.expires)",
	[Q_OUTBOX_DONE] = "DELETE FROM outbox WHERE n = ?1",
	[Q_CLOSE] = "UPDATE task SET state = 4, ended = ends WHERE id = ?1 AND state = 1 AND ends < ?2",
	[Q_ADD_NOTE] = "INSERT INTO note (type, text) VALUES (?1, ?2)",
	[Q_NOTED] = "DELETE FROM note WHERE n <= ?1",
	[Q_FREEZE] = "INSERT OR IGNORE INTO frozen (uri, what, at, asked_by) VALUES (?1, ?2, ?3, ?4)",
	[Q_THAW] = "DELETE FROM frozen WHERE uri = ?1",
	/* What waits for approvals ends with whom it names, as a refusal by who froze them (?1), at ?2. */
	[Q_FREEZE_REFUSES] = "INSERT OR REPLACE INTO approval (pending, principal, at, refuses, because, evidence) "
			     "SELECT n, ?1, ?2, 1, 'frozen', zeroblob(32) FROM pending p WHERE " PENDING_FROZEN,
	[Q_FREEZE_ENDS] = "UPDATE pending AS p SET state = 3, ended = ?1, keep = expires WHERE " PENDING_FROZEN,
	[Q_N_FROZEN] = "SELECT count(*) FROM frozen WHERE uri <> ?1",

	[Q_PENDING_ROW] = "SELECT n, digest, opener, needed, expires, state FROM pending WHERE task = ?1",
	[Q_PENDING_LIVE] = "SELECT 1 FROM pending WHERE task = ?1 AND state = 1 AND expires >= ?2",
	[Q_PENDINGS_OF] = "SELECT count(*) FROM pending WHERE opener = ?1 AND state = 1 AND expires >= ?2",
	[Q_ADD_PENDING] =
		"INSERT INTO pending (task, opener, purpose, asked, ends, edge, agent, spki, depth, not_after, "
		"max_lifetime, grant_der, hops, context, digest, rule, needed, approvers, expires, state, ended, keep, "
		"fixed) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, 1, 0, "
		"?19, ?20)",
	[Q_END_PENDING] = "UPDATE pending SET state = ?2, ended = ?3, keep = ?4 WHERE n = ?1",
	[Q_DROP_PENDING] = "DELETE FROM pending WHERE n = ?1",
	[Q_APPROVED] = "SELECT 1 FROM approval WHERE pending = ?1 AND principal = ?2 AND refuses = 0",
	[Q_GIVEN] = "SELECT count(*) FROM approval WHERE pending = ?1 AND refuses = 0",
	/* Whoever approved may refuse later, while it waits. */
	[Q_ADD_APPROVAL] = "INSERT OR REPLACE INTO approval (pending, principal, at, refuses, because, evidence) "
			   "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[Q_DROP_APPROVALS] = "DELETE FROM approval WHERE pending = ?1",

	/* Revoking: `taken` (in memory) collects the edges; top = 1: no taken edge is above; level: from one that was
	   named. */
	[Q_TAKEN_CLEAR] = "DELETE FROM taken",
	[Q_TAKE_EDGE] = "INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE id = ?1 AND " EDGE_ALIVE,
	[Q_TAKE_LEAF] = "INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE n = (SELECT edge FROM leaf WHERE serial = ?1) "
			"AND " EDGE_ALIVE,
	[Q_TAKE_TASK] = WITH_TASKS "INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE n IN "
				   "(SELECT (SELECT min(n) FROM edge WHERE task = tasks.n) FROM tasks) AND " EDGE_ALIVE,
	[Q_TAKE_PRINCIPAL] =
		"INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE (delegator = ?1 OR agent = ?1) AND " EDGE_ALIVE,
	[Q_TAKE_CLASS] = "INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE "
			 "(delegator IN (SELECT n FROM principal WHERE " IN_CLASS ") OR "
			 "agent IN (SELECT n FROM principal WHERE " IN_CLASS ")) AND " EDGE_ALIVE,
	[Q_TAKE_ALL] = "INSERT INTO taken SELECT n, 1, 0 FROM edge e WHERE " EDGE_ALIVE,
	/* Below those of level ?1.  A recursive query does all levels at once, and takes four times as long. */
	[Q_TAKE_BELOW] = "INSERT OR IGNORE INTO taken SELECT e.n, 0, ?1 + 1 FROM taken CROSS JOIN edge e "
			 "ON e.parent = taken.n WHERE taken.level = ?1 AND " EDGE_ALIVE,
	[Q_TAKEN_TOPMOST] = "UPDATE taken SET top = 0 WHERE top = 1 AND "
			    "(SELECT parent FROM edge WHERE edge.n = taken.n) IN (SELECT n FROM taken)",
	[Q_TAKEN_ANY] = "SELECT 1 FROM taken LIMIT 1",
	[Q_TAKEN_ORIGINS] = "SELECT e.id FROM taken CROSS JOIN edge e ON e.n = taken.n WHERE top = 1 AND "
			    "e.not_after >= ?1",
	/* Reason ?2 of those named, ?3 of those below. */
	[Q_REVOKE_EDGES] = "INSERT INTO revoked SELECT taken.n, ?1, CASE top WHEN 1 THEN ?2 ELSE ?3 END, "
			   "top = 1 AND (SELECT not_after FROM edge WHERE edge.n = taken.n) >= ?1 FROM taken ORDER BY taken.n",
	[Q_TAKEN_CERTS] = "SELECT c.serial, c.not_after, taken.top FROM taken CROSS JOIN leaf c INDEXED BY cert_good ON "
			  "c.edge = taken.n WHERE c.state = 1 AND c.not_after >= ?1",
	[Q_END_TASKS] =
		WITH_TASKS "UPDATE task SET state = ?2, ended = ?3 WHERE n IN (SELECT n FROM tasks) AND state = 1",
	[Q_END_ALL_TASKS] = "UPDATE task SET state = 3, ended = ?1 WHERE state = 1 AND ends >= ?1",
	[Q_ADD_OWED] = "INSERT INTO outbox (at) VALUES (?1)",
	/* What had expired before the first of them was not taken by any. */
	[Q_OWED_SINCE] = "SELECT min(at) FROM outbox",
	[Q_BLOCK_EDGE] = "INSERT OR IGNORE INTO blocked SELECT spki, ?2 FROM edge WHERE id = ?1",
	[Q_BLOCK_LEAF] = "INSERT OR IGNORE INTO blocked SELECT spki, ?2 FROM edge "
			 "WHERE n = (SELECT edge FROM leaf WHERE serial = ?1)",
	[Q_BLOCK_PRINCIPAL] = "INSERT OR IGNORE INTO blocked SELECT spki, ?2 FROM edge "
			      "WHERE agent = (SELECT n FROM principal WHERE uri = ?1)",
	[Q_BLOCK_CLASS] = "INSERT OR IGNORE INTO blocked SELECT spki, ?2 FROM edge "
			  "WHERE agent IN (SELECT n FROM principal WHERE " IN_CLASS ")",

	/* Pruning, ?1 before, ?2 at most.  An edge waits for its children and its certificates; a task for
	   its edges and sub-tasks. */
	[Q_PRUNE_CERTS] = "DELETE FROM leaf WHERE n IN (SELECT n FROM leaf WHERE not_after < ?1 "
			  "ORDER BY not_after LIMIT ?2) RETURNING n",
	[Q_PRUNE_CERT_DER] = "DELETE FROM cert_der WHERE n = ?1",
	[Q_PRUNE_ANSWERS] = "DELETE FROM answer WHERE n IN (SELECT n FROM answer WHERE expires < ?1 LIMIT ?2)",
	[Q_PRUNE_ONCE] = "DELETE FROM once WHERE n IN (SELECT n FROM once WHERE expires < ?1 LIMIT ?2)",
	[Q_PRUNE_EVIDENCE] = "DELETE FROM evidence WHERE n IN (SELECT n FROM evidence WHERE expires < ?1 LIMIT ?2)",
	[Q_PRUNE_DENIED] = "DELETE FROM denied WHERE rowid IN (SELECT rowid FROM denied WHERE at < ?1 LIMIT ?2)",
	[Q_PRUNE_EDGES] = "DELETE FROM edge WHERE n IN (SELECT n FROM edge e WHERE e.not_after < ?1 "
			  "AND NOT EXISTS (SELECT 1 FROM edge c WHERE c.parent = e.n) "
			  "AND NOT EXISTS (SELECT 1 FROM leaf c WHERE c.edge = e.n AND c.state = 1) LIMIT ?2) RETURNING n, delegator, agent",
	[Q_PRUNE_EDGE_TEXT] = "DELETE FROM edge_text WHERE n = ?1",
	[Q_PRUNE_REVOKED] = "DELETE FROM revoked WHERE edge = ?1",
	[Q_PRUNE_TASKS] = "DELETE FROM task WHERE n IN (SELECT n FROM task t WHERE t.ends < ?1 "
			  "AND NOT EXISTS (SELECT 1 FROM edge WHERE edge.task = t.n) "
			  "AND NOT EXISTS (SELECT 1 FROM task c WHERE c.parent = t.n) LIMIT ?2) RETURNING opener",
	[Q_PRUNE_PENDING] = "DELETE FROM pending WHERE n IN (SELECT n FROM pending WHERE keep < ?1 LIMIT ?2) RETURNING n",
	[Q_PRUNE_PRINCIPAL] =
		"DELETE FROM principal WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM edge WHERE delegator = ?1) "
		"AND NOT EXISTS (SELECT 1 FROM edge WHERE agent = ?1) "
		"AND NOT EXISTS (SELECT 1 FROM task WHERE opener = ?1)",
};

/* ---- asking ---- */

/* What SQLite said, as our error.  After an fsync error nobody knows what the disk holds: stop (I13). */
static struct writ_err *
sqlite_fail(struct sqlite *s, const char *doing)
{
	const int extended = sqlite3_extended_errcode(s->db);
	enum writ_code code;

	s->failed = true;
	if (extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC) {
		event(EVENT_ALARM, "store.fsync", EV_STR("doing", doing), EV_STR("error", sqlite3_errmsg(s->db)));
		abort();
	}
	switch (extended & 0xff) {
	case SQLITE_NOMEM:
		code = WRIT_EXHAUSTED;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT: /* we look first: the store is not what we think */
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
	case SQLITE_ERROR:
	case SQLITE_SCHEMA:
		code = WRIT_BROKEN;
		break;
	default:
		code = WRIT_UNAVAILABLE;
		break;
	}
	return writ_fail(code, "store: %s: %s (SQLite %d)", doing, sqlite3_errmsg(s->db), extended);
}

static int
bind(sqlite3_stmt *statement, int at, const struct value *value)
{
	const void *data = value->bytes.len > 0 ? value->bytes.data : (const void *)"";

	switch (value->kind) {
	case VALUE_INT:
		return sqlite3_bind_int64(statement, at, value->number);
	case VALUE_TEXT:
		return sqlite3_bind_text64(statement, at, data, value->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	case VALUE_BYTES:
		return sqlite3_bind_blob64(statement, at, data, value->bytes.len, SQLITE_STATIC);
	case VALUE_NULL:
		break;
	}
	return sqlite3_bind_null(statement, at);
}

struct writ_err *
sqlite_next(struct sqlite *s, sqlite3_stmt **row)
{
	const int rc = sqlite3_step(*row);
	struct writ_err *err = NULL;

	if (rc == SQLITE_ROW)
		return NULL;
	if (rc != SQLITE_DONE)
		err = sqlite_fail(s, "a statement");
	sqlite3_reset(*row);
	*row = NULL;
	return err;
}

struct writ_err *
sqlite_ask(struct sqlite *s, enum query query, sqlite3_stmt **ret, const struct value *values, size_t n)
{
	sqlite3_stmt *statement = s->statements[query];

	*ret = NULL;
	for (size_t i = 0; i < n; i++)
		if (bind(statement, (int)i + 1, &values[i]) != SQLITE_OK)
			return sqlite_fail(s, "binding a value");
	*ret = statement;
	return sqlite_next(s, ret);
}

void
rows_done(sqlite3_stmt **row)
{
	if (*row)
		sqlite3_reset(*row);
	*row = NULL;
}

struct writ_err *
sqlite_do(struct sqlite *s, enum query query, const struct value *values, size_t n)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;

	return sqlite_ask(s, query, &row, values, n);
}

struct writ_err *
sqlite_number(struct sqlite *s, enum query query, int64_t preset, int64_t *ret, const struct value *values, size_t n)
{
	AUTO(rows_done) sqlite3_stmt *row = NULL;
	struct writ_err *err;

	*ret = preset;
	err = sqlite_ask(s, query, &row, values, n);
	if (err)
		return err;
	if (row && sqlite3_column_type(row, 0) != SQLITE_NULL)
		*ret = sqlite3_column_int64(row, 0);
	return NULL;
}

struct sqlite *
sqlite_of(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	s->failed = false;
	return s;
}

struct writ_err *
sqlite_arena_full(const char *what)
{
	return writ_fail(WRIT_EXHAUSTED, "store: no room for %s", what);
}

struct writ_bytes
column_copy(sqlite3_stmt *row, int column, struct writ_arena *arena, bool *ret_full)
{
	const struct writ_bytes bytes = writ_arena_copy(arena, column_bytes(row, column));

	*ret_full |= !bytes.data;
	return bytes;
}

struct writ_bytes
column_bytes(sqlite3_stmt *row, int column)
{
	const void *data = sqlite3_column_blob(row, column);
	const int len = sqlite3_column_bytes(row, column);

	return data ? (struct writ_bytes){ data, (size_t)len } : WRIT_LIT("");
}

void
column_fixed(sqlite3_stmt *row, int column, uint8_t *out, size_t len)
{
	const struct writ_bytes bytes = column_bytes(row, column);

	memset(out, 0, len);
	memcpy(out, bytes.data,
	       bytes.len < len ? bytes.len : len); /* the schema sees to it that they are equal, or NULL */
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
sqlite_is_frozen(struct sqlite *s, struct writ_bytes principal, enum revoke_what *ret)
{
	struct writ_err *err;
	int64_t what;

	err = sqlite_number(s, Q_FROZEN, 0, &what, VALUES(V_TEXT(principal)));
	*ret = (enum revoke_what)what;
	return err;
}

/* ---- opening ---- */

static void
checkpoint(struct sqlite *s)
{
	if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK) {
		s->wal_pages = 0;
		return;
	}
	/* A reader in the way or a full disk: the WAL keeps everything, the next one tries again.  An fsync error does
	 * not return. */
	writ_err_free(sqlite_fail(s, "checkpoint"));
	s->failed = false;
}

/* Called by SQLite after each commit.  Its own automatic checkpoint would swallow an fsync error. */
static int
committed(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct sqlite *s = ctx;

	(void)db;
	(void)name;
	s->wal_pages = pages;
	if (pages >= CHECKPOINT_PAGES)
		checkpoint(s);
	return SQLITE_OK;
}

static void
sqlite_idle(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	if (s->wal_pages >= CHECKPOINT_IDLE_PAGES)
		checkpoint(s);
}

static struct writ_err *
execute(struct sqlite *s, const char *sql, const char *doing)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_fail(s, doing);
	return NULL;
}

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

	err = execute(s, "BEGIN IMMEDIATE", "making the schema");
	if (!err && version == 0)
		err = execute(s, schema, "making the schema");
	for (size_t i = version > 0 ? (size_t)version - 1 : 0; i < N_OF(migrations) && !err; i++)
		err = execute(s, migrations[i], "making the schema");
	if (err)
		return err;
	snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT", APPLICATION_ID,
		 (long long)SCHEMA_VERSION);
	err = execute(s, sql, "making the schema");
	if (!err && version > 0)
		event(EVENT_INFO, "store.schema", EV_NUM("from", version), EV_NUM("to", SCHEMA_VERSION));
	return err;
}

/* Makes the schema of an empty or older file; else says why this file is not for us. */
static struct writ_err *
schema_ready(struct sqlite *s, enum store_mode mode)
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

static struct writ_err *
prepare(struct sqlite *s, enum store_mode mode)
{
	const size_t n = mode == STORE_WRITE ? N_QUERIES : Q_BEGIN;

	for (size_t i = 0; i < n; i++)
		if (sqlite3_prepare_v3(s->db, queries[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) !=
		    SQLITE_OK)
			return sqlite_fail(s, "preparing statements");
	return NULL;
}

/* SQLite gives its WAL the mode of the database, so that one is made first, by us. */
static struct writ_err *
file_ready(const char *path, enum store_mode mode)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) != 0) {
		if (errno != ENOENT)
			return writ_fail_errno(errno, "looking at %s", path);
		if (mode == STORE_READ)
			return writ_fail(WRIT_NOT_FOUND, "%s does not exist: its writer has not opened it yet", path);
		fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return writ_fail_errno(errno, "making %s", path);
		close(fd);
		return NULL;
	}
	/* Not opened here: closing it would drop the locks that another connection of this process has on it. */
	if (!S_ISREG(st.st_mode))
		return writ_fail(WRIT_INVALID, "%s is not a regular file", path);
	if (st.st_uid != geteuid())
		return writ_fail(WRIT_INVALID, "%s belongs to uid %u, this is uid %u", path, (unsigned)st.st_uid,
				 (unsigned)geteuid());
	if (st.st_mode & 077)
		return writ_fail(WRIT_INVALID, "%s has mode %04o: others may use it: chmod 600", path,
				 (unsigned)st.st_mode & 07777);
	return NULL;
}

static struct writ_err *
writer_ready(struct sqlite *s)
{
	static const char pragmas[] =
		"PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
		"CREATE TEMP TABLE taken (n INTEGER PRIMARY KEY, top INTEGER NOT NULL, level INTEGER NOT NULL)";
	struct writ_err *err;

	err = execute(s, pragmas, "setting up");
	if (err)
		return err;
	sqlite3_wal_hook(s->db, committed, s);
	return NULL;
}

void
sqlite_live_forget(struct sqlite *s)
{
	s->live_since++;
}

static struct writ_err *
connection_ready(struct sqlite *s, const char *path, enum store_mode mode)
{
	const int access = mode == STORE_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	struct writ_err *err;

	if (sqlite3_open_v2(path, &s->db, access | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return sqlite_fail(s, "opening");
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	err = mode == STORE_WRITE ? writer_ready(s) : execute(s, "PRAGMA cache_size = -16384", "setting up");
	if (err)
		return err;
	err = schema_ready(s, mode);
	if (err)
		return err;
	return prepare(s, mode);
}

static void
sqlite_close(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	for (size_t i = 0; i < N_QUERIES; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->live);
	free(s);
}

static struct writ_err *
sqlite_open_into(struct sqlite *s, const char *path, enum store_mode mode)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	struct writ_err *err;

	if (path[0] != '/' || slash[1] == '\0' || slash == path || strlen(path) >= sizeof(folder))
		return writ_fail(WRIT_INVALID, "wanted is sqlite:/FOLDER/FILE, the path absolute");
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (mode == STORE_WRITE) {
		s->live = calloc(SQLITE_LIVE, sizeof(*s->live));
		s->live_since = 1; /* an empty place is of 0 */
		if (!s->live)
			return writ_fail(WRIT_EXHAUSTED, "no memory for a store");
		err = file_make_dir(folder, 0700);
		if (err)
			return err;
		err = file_lock(folder, &s->lock_fd);
		if (err)
			return err;
	}
	err = file_ready(path, mode);
	if (err)
		return err;
	return connection_ready(s, path, mode);
}

/* Counting what every allocation takes, under one lock of all threads, is for whoever asks for the counts. */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
library_setup(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite_pages_setup();
}

static struct writ_err *
sqlite_open(const char *path, enum store_mode mode, struct store **ret)
{
	struct sqlite *s = calloc(1, sizeof(*s));
	struct writ_err *err;

	pthread_once(&once, library_setup);
	if (!s)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a store");
	s->lock_fd = -1;
	err = sqlite_open_into(s, path, mode);
	if (err) {
		sqlite_close(&s->store);
		return err;
	}
	*ret = &s->store;
	return NULL;
}

const struct store_ops store_sqlite = {
	.scheme = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.commit = sqlite_commit,
	.idle = sqlite_idle,
	.task = sqlite_task,
	.pending = sqlite_pending,
	.pendings = sqlite_pendings,
	.pendings_count = sqlite_pendings_count,
	.tasks_of = sqlite_tasks_of,
	.edge = sqlite_edge,
	.edge_by_key = sqlite_edge_by_key,
	.edges = sqlite_edges,
	.cert = sqlite_cert,
	.cert_der = sqlite_cert_der,
	.newest_leaf = sqlite_newest_leaf,
	.lineage_live = sqlite_lineage_live,
	.answer = sqlite_answer,
	.once_used = sqlite_once_used,
	.evidence = sqlite_evidence,
	.key_blocked = sqlite_key_blocked,
	.live_certs = sqlite_live_certs,
	.outbox = sqlite_outbox,
	.revoked_edges = sqlite_revoked_edges,
	.policy_last = sqlite_policy_last,
	.all_edges = sqlite_all_edges,
	.freezes = sqlite_freezes,
	.frozen = sqlite_frozen,
	.ended = sqlite_ended,
	.notes = sqlite_notes,
	.all_denied = sqlite_all_denied,
	.counts = sqlite_counts,
};
