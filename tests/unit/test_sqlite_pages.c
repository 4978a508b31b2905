/*
 * The page cache between SQLite and its own: what it spares, and that nothing is lost by it.
 *
 * Below it a cache that counts, above it SQLite, which splits pages of an index, grows a file and takes that back.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "issuer/store/sqlite.h"
#include "tests/unit/expect.h"

#define ROWS 20000

static sqlite3_pcache_methods2 original;
static unsigned walks; /* through a whole cache */
static char path[64];
static sqlite3 *db;

static void
counting_truncate(sqlite3_pcache *cache, unsigned from)
{
	walks++;
	original.xTruncate(cache, from);
}

static void
run(const char *sql)
{
	char *why = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
}

static int64_t
number(const char *sql)
{
	sqlite3_stmt *statement;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	n = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return n;
}

static void
expect_whole(void)
{
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	assert_string_equal(sqlite3_column_text(statement, 0), "ok");
	sqlite3_finalize(statement);
}

static void
open_it(void)
{
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	run("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536");
}

/* Keys in no order, so that pages of their index are split everywhere; `seed` makes those of one call unlike another's. */
static void
add(unsigned from, unsigned n, unsigned seed)
{
	char sql[160];

	run("BEGIN");
	for (unsigned i = from; i < from + n; i++) {
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%u, %u * 2654435761 %% 4294967296, zeroblob(100))", i, i ^ seed);
		run(sql);
	}
}

static int
setup(void **state)
{
	sqlite3_pcache_methods2 counting;
	int fd;

	(void)state;
	if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &original) != SQLITE_OK)
		return -1;
	counting = original;
	counting.xTruncate = counting_truncate;
	if (sqlite3_config(SQLITE_CONFIG_PCACHE2, &counting) != SQLITE_OK)
		return -1;
	sqlite_pages_setup();
	snprintf(path, sizeof(path), "/tmp/writ-pages.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	open_it();
	run("CREATE TABLE t (n INTEGER PRIMARY KEY, key INTEGER NOT NULL UNIQUE, more BLOB)");
	return 0;
}

static int
teardown(void **state)
{
	char name[80];

	(void)state;
	sqlite3_close(db);
	unlink(path);
	snprintf(name, sizeof(name), "%s-wal", path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-shm", path);
	unlink(name);
	return 0;
}

static void
pages_that_are_split_cost_no_walk_through_the_cache(void **state)
{
	(void)state;
	walks = 0;
	for (unsigned i = 0; i < ROWS; i += 200) {
		add(i, 200, 0);
		run("COMMIT");
	}
	assert_int_equal(walks, 0); /* without ours, one for most of these hundred */
	assert_int_equal(number("SELECT count(*) FROM t"), ROWS);
	expect_whole();
}

static void
a_file_that_grew_in_vain_is_cut_in_the_cache_too(void **state)
{
	(void)state;
	walks = 0;
	add(ROWS, ROWS, 0);
	run("ROLLBACK");
	assert_true(walks > 0);
	assert_int_equal(number("SELECT count(*) FROM t"), ROWS);
	add(2 * ROWS, ROWS, 0x5a5a5a); /* the same page numbers, other rows */
	run("COMMIT");
	assert_int_equal(number("SELECT count(*) FROM t"), 2 * ROWS);
	expect_whole();
	sqlite3_close(db);
	open_it();
	assert_int_equal(number("SELECT count(*) FROM t"), 2 * ROWS);
	expect_whole();
}

static void
a_file_that_is_made_shorter_is_read_as_it_is(void **state)
{
	(void)state;
	run("DELETE FROM t WHERE n >= 1000; VACUUM");
	assert_int_equal(number("SELECT count(*) FROM t"), 1000);
	add(ROWS, 3000, 0x333333);
	run("COMMIT");
	assert_int_equal(number("SELECT count(*) FROM t"), 4000);
	assert_int_equal(number("SELECT count(*) FROM t INDEXED BY sqlite_autoindex_t_1 WHERE key >= 0"), 4000);
	expect_whole();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_that_are_split_cost_no_walk_through_the_cache),
		cmocka_unit_test(a_file_that_grew_in_vain_is_cut_in_the_cache_too),
		cmocka_unit_test(a_file_that_is_made_shorter_is_read_as_it_is),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
