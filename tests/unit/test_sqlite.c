/*
 * What the SQLite store owes beyond the contract: modes of its files, which files it takes for its own, a full disk, a
 * WAL that stays small.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "issuer/store/store.h"
#include "tests/unit/expect.h"

#define NOW ((writ_time)1800000000)

static char folder[64], path[96], uri[128];

static int
folder_made(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/writ-sqlite-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/store/writ.db", folder);
	snprintf(uri, sizeof(uri), "sqlite:%s", path);
	return 0;
}

static int
folder_gone(void **state)
{
	static const char *const names[] = { "writ.db", "writ.db-wal", "writ.db-shm", "lock" };
	char name[128];

	(void)state;
	for (size_t i = 0; i < N_OF(names); i++) {
		snprintf(name, sizeof(name), "%s/store/%s", folder, names[i]);
		unlink(name);
	}
	snprintf(name, sizeof(name), "%s/store", folder);
	rmdir(name);
	return rmdir(folder);
}

static unsigned
mode_of(const char *name)
{
	char whole[128];
	struct stat st;

	snprintf(whole, sizeof(whole), "%s/%s", folder, name);
	assert_int_equal(stat(whole, &st), 0);
	return st.st_mode & 0777;
}

static struct writ_err *
evidence_write(struct store *store, unsigned n, struct writ_bytes bytes)
{
	struct store_evidence evidence = { .kind = WRIT_LIT("context"), .bytes = bytes, .expires = NOW };
	struct store_item item = { .op = STORE_OUTBOX_DONE, .evidence = &evidence, .n_evidence = 1, .now = NOW };
	struct writ_err *err;

	writ_put32(evidence.digest, n);
	err = store_commit(store, &item, 1);
	return err ? err : item.result;
}

static bool
evidence_is_there(struct store *store, unsigned n)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA((size_t)1024 * 1024);
	struct store_evidence read;
	uint8_t digest[32] = { 0 };
	struct writ_err *err;

	writ_put32(digest, n);
	err = store_evidence(store, digest, &arena, &read);
	writ_err_free(err);
	return !err;
}

static void
only_the_owner_may_look_into_the_store(void **state)
{
	AUTO(store_closep) struct store *store = NULL;
	const mode_t before = umask(0);

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	umask(before);
	expect_ok(evidence_write(store, 1, WRIT_LIT("x")));
	assert_int_equal(mode_of("store"), 0700);
	assert_int_equal(mode_of("store/writ.db"), 0600);
	assert_int_equal(mode_of("store/writ.db-wal"), 0600);
	assert_int_equal(mode_of("store/writ.db-shm"), 0600);
}

static void
a_path_that_is_not_absolute_is_refused(void **state)
{
	struct store *store;

	(void)state;
	expect_refused(store_open("sqlite:writ.db", STORE_WRITE, &store), WRIT_INVALID,
		       "store sqlite:writ.db: wanted is sqlite:/FOLDER/FILE, the path absolute");
	expect_refused(store_open("sqlite:/writ.db", STORE_WRITE, &store), WRIT_INVALID,
		       "store sqlite:/writ.db: wanted is sqlite:/FOLDER/FILE, the path absolute");
	expect_refused(store_open("sqlite:/tmp/", STORE_WRITE, &store), WRIT_INVALID,
		       "store sqlite:/tmp/: wanted is sqlite:/FOLDER/FILE, the path absolute");
	expect_refused(store_open("sqlite:", STORE_WRITE, &store), WRIT_INVALID,
		       "store sqlite:: wanted is sqlite:/FOLDER/FILE, the path absolute");
}

static void
a_reader_makes_nothing(void **state)
{
	struct store *store;
	char message[300];

	(void)state;
	snprintf(message, sizeof(message), "store %s: %s does not exist: its writer has not opened it yet", uri, path);
	expect_refused(store_open(uri, STORE_READ, &store), WRIT_NOT_FOUND, message);
	snprintf(message, sizeof(message), "%s/store", folder);
	assert_int_equal(mkdir(message, 0700), 0);
	assert_int_equal(close(open(path, O_CREAT | O_RDWR, 0600)), 0);
	snprintf(message, sizeof(message), "store %s: the store is empty: its writer has not opened it yet", uri);
	expect_refused(store_open(uri, STORE_READ, &store), WRIT_NOT_FOUND, message);
}

static void
a_file_that_others_may_use_is_refused(void **state)
{
	struct store *store;
	char message[300];

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	store_close(store);
	assert_int_equal(chmod(path, 0640), 0);
	snprintf(message, sizeof(message), "store %s: %s has mode 0640: others may use it: chmod 600", uri, path);
	expect_refused(store_open(uri, STORE_WRITE, &store), WRIT_INVALID, message);
	expect_refused(store_open(uri, STORE_READ, &store), WRIT_INVALID, message);
}

static void
a_symbolic_link_is_refused(void **state)
{
	struct store *store;
	char message[300];

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	store_close(store);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	snprintf(message, sizeof(message), "store %s: %s is not a regular file", uri, path);
	expect_refused(store_open(uri, STORE_WRITE, &store), WRIT_INVALID, message);
}

/* Changes the file with SQLite itself, as another program would. */
static void
alter(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* One task, its edge, and a leaf; `n` tells them apart. */
static struct writ_err *
leaf_of_task(struct store *store, uint8_t n, bool open)
{
	const struct store_task task = { .id = WRIT_LIT("t"),
					 .opener = WRIT_LIT("spiffe://td/human/corp/ada"),
					 .purpose = WRIT_LIT(""),
					 .created = NOW,
					 .ends = NOW + 600 };
	struct store_edge edge = { .id = { 1 },
				   .task = task.id,
				   .delegator = task.opener,
				   .agent = WRIT_LIT("spiffe://td/agent/bot/1"),
				   .not_after = NOW + 600,
				   .grant = WRIT_LIT("g"),
				   .hops = WRIT_LIT("h"),
				   .context = WRIT_LIT("") };
	const struct store_cert cert = { .serial = { n }, .edge = { 1 }, .not_after = NOW + 60, .der = WRIT_LIT("c") };
	struct store_item items[] = { { .op = STORE_OPEN_TASK, .task = &task, .edge = &edge, .now = NOW },
				      { .op = STORE_ISSUE, .cert = &cert, .now = NOW } };
	struct writ_err *err = store_commit(store, open ? items : items + 1, open ? 2 : 1);

	if (err)
		return err;
	writ_err_free(items[0].result);
	return items[1].result;
}

static void
a_leaf_below_a_frozen_name_is_refused_even_if_its_edge_were_alive(void **state)
{
	static const char *const names[] = { "spiffe://td/human/corp/ada", "spiffe://td/agent/bot/1",
					     "spiffe://td/agent/bot/", "*" };
	struct store *store;
	char sql[200];

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_ok(leaf_of_task(store, 1, true));
	for (uint8_t i = 0; i < N_OF(names); i++) {
		store_close(store);
		snprintf(sql, sizeof(sql), "DELETE FROM frozen; INSERT INTO frozen VALUES ('%s', 4, 0, 'x')", names[i]);
		alter(sql);
		expect_ok(store_open(uri, STORE_WRITE, &store));
		snprintf(sql, sizeof(sql), "principal spiffe://td/%s is frozen",
			 i == 1 || i == 2 ? "agent/bot/1" : "human/corp/ada");
		if (i == 3) { /* either of the two */
			struct writ_err *err = leaf_of_task(store, 9, false);

			assert_non_null(err);
			assert_int_equal(err->code, WRIT_CONFLICT);
			writ_err_free(err);
		} else {
			expect_refused(leaf_of_task(store, 9, false), WRIT_CONFLICT, sql);
		}
	}
	store_close(store);
}

/* Back to version 3: each edge and each leaf says itself whether it is revoked. */
static const char version_3[] =
	"DROP VIEW cert; ALTER TABLE leaf RENAME TO cert; ALTER TABLE edge ADD COLUMN state INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE edge ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE edge ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX edge_origin ON edge(revoked_at) WHERE origin = 1; DROP TABLE revoked; DROP TABLE outbox; CREATE TABLE outbox (n INTEGER PRIMARY KEY) STRICT;"
	"DROP INDEX cert_good; CREATE INDEX cert_good ON cert(edge, not_after, state) WHERE state = 1; PRAGMA user_version = 3";

static void
an_older_schema_is_brought_up_to_date_by_its_writer(void **state)
{
	struct store *store;
	char message[300];
	enum revoke_what why;

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_ok(leaf_of_task(store, 1, true));
	store_close(store);
	alter(version_3);
	alter("DROP TABLE frozen; DROP TABLE note; DROP INDEX task_open; DROP TABLE denied; PRAGMA user_version = 1");
	snprintf(message, sizeof(message),
		 "store %s: the store has schema 1, this program wants 5: its writer has not opened it yet", uri);
	expect_refused(store_open(uri, STORE_READ, &store), WRIT_NOT_FOUND, message);
	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_ok(leaf_of_task(store, 2, false));
	expect_ok(store_frozen(store, WRIT_LIT("spiffe://td/human/corp/ada"), &why));
	assert_int_equal(why, 0);
	store_close(store);
	expect_ok(store_open(uri, STORE_READ, &store));
	store_close(store);
}

static struct writ_err *
edge_seen(const uint8_t id[EDGE_ID_LEN], writ_time revoked_at, void *ctx)
{
	writ_time *at = ctx;

	assert_int_equal(id[0], 1);
	*at = revoked_at;
	return NULL;
}

static struct writ_err *
owed_seen(uint64_t number, void *ctx)
{
	unsigned *edges = ctx;

	*edges = 10 * *edges + (unsigned)number;
	return NULL;
}

static struct writ_err *
state_seen(const struct store_cert *cert, void *ctx)
{
	unsigned *states = ctx;

	*states = 10 * *states + cert->state;
	return NULL;
}

static void
what_an_older_schema_says_is_revoked_stays_so(void **state)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA((size_t)1024 * 1024);
	AUTO(store_closep) struct store *store = NULL;
	struct store_counts counts;
	struct store_edge edge;
	struct store_cert cert;
	unsigned owed = 0, states = 0;
	writ_time at = 0;

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	for (uint8_t n = 1; n <= 3; n++) /* the last had expired when the others were revoked */
		expect_ok(leaf_of_task(store, n, n == 1));
	store_close(TAKE(store));
	alter(version_3);
	alter("UPDATE edge SET state = 2, revoked_at = 1800000030, origin = 1;"
	      "UPDATE cert SET state = 2, reason = 5, revoked_at = 1800000030 WHERE n < 3;"
	      "UPDATE cert SET not_after = 1800000029 WHERE n = 3; INSERT INTO outbox VALUES (1), (2)");

	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_refused(leaf_of_task(store, 4, false), WRIT_CONFLICT, "edge 01000000000000000000000000000000 was revoked");
	expect_ok(store_edge(store, (const uint8_t[EDGE_ID_LEN]){ 1 }, &arena, &edge));
	assert_int_equal(edge.state, EDGE_REVOKED);
	for (uint8_t n = 1; n <= 3; n++) {
		expect_ok(store_cert(store, (const uint8_t[SERIAL_LEN]){ n }, &arena, &cert));
		assert_int_equal(cert.state, n < 3 ? CERT_REVOKED : CERT_GOOD);
		assert_int_equal(cert.reason, n < 3 ? 5 : 0);
		assert_int_equal(cert.revoked_at, n < 3 ? NOW + 30 : 0);
	}
	expect_ok(store_live_certs(store, NOW, state_seen, &states));
	assert_int_equal(states, 122); /* by when they expire */
	expect_ok(store_counts(store, NOW, &counts));
	assert_int_equal(counts.edges_live, 0);
	assert_int_equal(counts.certs_good, 1);
	assert_int_equal(counts.certs_revoked, 2);
	expect_ok(store_outbox(store, owed_seen, &owed));
	assert_int_equal(owed, 1); /* both leaves at once */
	expect_ok(store_revoked_edges(store, NOW + 30, edge_seen, &at));
	assert_int_equal(at, NOW + 30);
}

/* A row of a certificate is a fact: a cascade that wrote each would write most pages of a large store. */
static void
a_revocation_writes_no_row_of_a_certificate_nor_of_an_edge(void **state)
{
	static const uint8_t id[EDGE_ID_LEN] = { 1 };
	const struct store_revoke revoke = { .what = REVOKE_EDGE, .id = { id, sizeof(id) }, .reason = 5 };
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA((size_t)1024 * 1024);
	AUTO(store_closep) struct store *store = NULL;
	struct store_item item = { .op = STORE_REVOKE, .revoke = &revoke, .arena = &arena, .now = NOW };

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	for (uint8_t n = 1; n <= 9; n++)
		expect_ok(leaf_of_task(store, n, n == 1));
	store_close(TAKE(store));
	for (unsigned i = 0; i < 3; i++) {
		static const char *const when[] = { "UPDATE ON leaf", "UPDATE ON edge", "DELETE ON leaf" };
		char sql[200];

		snprintf(sql, sizeof(sql), "CREATE TRIGGER t%u BEFORE %s BEGIN SELECT raise(ABORT, 'written'); END", i,
			 when[i]);
		alter(sql);
	}
	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_ok(store_commit(store, &item, 1));
	expect_ok(item.result);
	assert_int_equal(item.n_revoked, 9);
	assert_int_equal(item.n_edges, 1);
}

static void
a_newer_schema_is_refused(void **state)
{
	struct store *store;
	char message[300];

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	store_close(store);
	alter("PRAGMA user_version = 99");
	snprintf(message, sizeof(message),
		 "store %s: the store has schema 99, this program knows up to 5: run the newer Writ", uri);
	expect_refused(store_open(uri, STORE_WRITE, &store), WRIT_LOCKED, message);
	expect_refused(store_open(uri, STORE_READ, &store), WRIT_LOCKED, message);
}

static void
somebody_elses_file_is_refused_and_left_alone(void **state)
{
	struct store *store;
	char message[300];

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	store_close(store);
	assert_int_equal(unlink(path), 0);
	alter("CREATE TABLE cards (n INTEGER)");
	assert_int_equal(chmod(path, 0600), 0);
	snprintf(message, sizeof(message), "store %s: this SQLite file is not a store of Writ", uri);
	expect_refused(store_open(uri, STORE_WRITE, &store), WRIT_INVALID, message);
	alter("INSERT INTO cards VALUES (1)");
}

static void
a_file_that_is_no_database_is_refused(void **state)
{
	struct store *store;
	struct writ_err *err;
	int fd;

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	store_close(store);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "not a database at all, not even near", 36, 0), 36);
	close(fd);
	err = store_open(uri, STORE_WRITE, &store);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_BROKEN);
	assert_non_null(strstr(err->cause->message, "file is not a database"));
	writ_err_free(err);
}

/* A file-size limit is a full disk that one process sees. */
static void
on_a_full_disk_the_group_is_lost_whole_and_the_next_one_works(void **state)
{
	AUTO(store_closep) struct store *store = NULL;
	static uint8_t bulk[64 * 1024];
	struct rlimit before, tight;
	struct writ_err *err = NULL;
	unsigned n = 0;

	(void)state;
	expect_ok(store_open(uri, STORE_WRITE, &store));
	expect_ok(evidence_write(store, 0, WRIT_LIT("before")));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	tight = (struct rlimit){ 512 * 1024, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	while (!err && n < 100)
		err = evidence_write(store, ++n, (struct writ_bytes){ bulk, sizeof(bulk) });
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

	assert_non_null(err);
	assert_int_equal(err->code, WRIT_UNAVAILABLE);
	writ_err_free(err);
	for (unsigned i = 0; i < n; i++)
		assert_true(evidence_is_there(store, i));
	assert_false(evidence_is_there(store, n));
	expect_ok(evidence_write(store, n, WRIT_LIT("after")));
	assert_true(evidence_is_there(store, n));
}

static void
the_wal_stays_small_when_the_writer_is_idle_now_and_then(void **state)
{
	AUTO(store_closep) struct store *store = NULL;
	static uint8_t bulk[64 * 1024];
	struct stat st;
	char wal[128];
	off_t largest = 0;

	(void)state;
	snprintf(wal, sizeof(wal), "%s-wal", path);
	expect_ok(store_open(uri, STORE_WRITE, &store));
	for (unsigned n = 0; n < 400; n++) { /* 25 MB in all */
		expect_ok(evidence_write(store, n, (struct writ_bytes){ bulk, sizeof(bulk) }));
		store_idle(store);
		assert_int_equal(stat(wal, &st), 0);
		largest = st.st_size > largest ? st.st_size : largest;
	}
	assert_in_range(largest, 1, 4 * 1024 * 1024);
}

static void
the_wal_stays_bounded_when_the_writer_is_never_idle(void **state)
{
	AUTO(store_closep) struct store *store = NULL;
	static uint8_t bulk[256 * 1024];
	struct stat st;
	char wal[128];
	off_t largest = 0;

	(void)state;
	snprintf(wal, sizeof(wal), "%s-wal", path);
	expect_ok(store_open(uri, STORE_WRITE, &store));
	for (unsigned n = 0; n < 200; n++) { /* 50 MB in all */
		expect_ok(evidence_write(store, n, (struct writ_bytes){ bulk, sizeof(bulk) }));
		assert_int_equal(stat(wal, &st), 0);
		largest = st.st_size > largest ? st.st_size : largest;
	}
	assert_in_range(largest, 1, 20 * 1024 * 1024);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_made, folder_gone)
	const struct CMUnitTest tests[] = {
		TEST(only_the_owner_may_look_into_the_store),
		cmocka_unit_test(a_path_that_is_not_absolute_is_refused),
		TEST(a_reader_makes_nothing),
		TEST(a_file_that_others_may_use_is_refused),
		TEST(a_symbolic_link_is_refused),
		TEST(a_leaf_below_a_frozen_name_is_refused_even_if_its_edge_were_alive),
		TEST(an_older_schema_is_brought_up_to_date_by_its_writer),
		TEST(what_an_older_schema_says_is_revoked_stays_so),
		TEST(a_revocation_writes_no_row_of_a_certificate_nor_of_an_edge),
		TEST(a_newer_schema_is_refused),
		TEST(somebody_elses_file_is_refused_and_left_alone),
		TEST(a_file_that_is_no_database_is_refused),
		TEST(on_a_full_disk_the_group_is_lost_whole_and_the_next_one_works),
		TEST(the_wal_stays_small_when_the_writer_is_idle_now_and_then),
		TEST(the_wal_stays_bounded_when_the_writer_is_never_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
