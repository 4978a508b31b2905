/*
 * The store in one SQLite file: the connection, and how its statements are asked.
 *
 * WAL and synchronous=FULL: a commit is one append and one fsync, and readers never wait.  One connection writes, under
 * a lock on the folder; only it checkpoints.  Knows no table but `taken`, which is in memory (sqlite_queries.c,
 * revoking): the schema is sqlite_schema.c's.
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

#define BUSY_MS 2000		  /* a backup tool may hold the file that long; then the caller hears of it */
#define CHECKPOINT_PAGES 4000	  /* 16 MB of WAL: the writer stops for a checkpoint, busy or not */
#define CHECKPOINT_IDLE_PAGES 500 /* less than that is not worth an fsync of the database */

/* ---- asking ---- */

/* What SQLite said, as our error.  After an fsync error nobody knows what the disk holds: stop (I13). */
struct writ_err *
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

struct writ_err *
sqlite_execute(struct sqlite *s, const char *sql, const char *doing)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_fail(s, doing);
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

	err = sqlite_execute(s, pragmas, "setting up");
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
	err = mode == STORE_WRITE ? writer_ready(s) : sqlite_execute(s, "PRAGMA cache_size = -16384", "setting up");
	if (err)
		return err;
	err = sqlite_schema_ready(s, mode);
	if (err)
		return err;
	return sqlite_prepare(s, mode);
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
