/*
 * The text of every statement, prepared once a connection.
 *
 * What the tables are, and what must stay true of their rows, is sqlite_schema.c's.  What a statement is for, and in
 * which order they come, sqlite_read.c, sqlite_write.c, sqlite_revoke.c, sqlite_policy.c and sqlite_pending.c say.
 */
#include "issuer/store/sqlite.h"

/* Of a row e of `edge`. */
#define EDGE_ALIVE "NOT EXISTS (SELECT 1 FROM revoked WHERE revoked.edge = e.n)"
#define EDGE_STATE "1 + EXISTS (SELECT 1 FROM revoked WHERE revoked.edge = e.n)"

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

/* sqlite_schema.c (4); the class of "spiffe://TD/agent/CLASS/INSTANCE" is what stands before its last "/". */
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

struct writ_err *
sqlite_prepare(struct sqlite *s, enum store_mode mode)
{
	const size_t n = mode == STORE_WRITE ? N_QUERIES : Q_BEGIN;

	for (size_t i = 0; i < n; i++)
		if (sqlite3_prepare_v3(s->db, queries[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) !=
		    SQLITE_OK)
			return sqlite_fail(s, "preparing statements");
	return NULL;
}
