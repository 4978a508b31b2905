/* Snapshots of the journal: whole or not used, and a start from one only where the journal bears it out. */
#include "issuer/log/snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "tests/unit/expect.h"

#define ORIGIN WRIT_LIT("agents.corp.example/writ/n1")
#define T 1795467097

static char dir[64];
static uint8_t id[LOG_ID_LEN];

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/writ-snapshot-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0750), 0);
	log_id(ORIGIN, id);
	expect_ok(journal_create(dir, ORIGIN));
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct snapshot_row
row_of(unsigned n)
{
	struct snapshot_row row = { .not_after = T + n,
				    .ended_at = n,
				    .state = (uint8_t)(1 + n % 3),
				    .reason = (uint8_t)(n % 5),
				    .shard = (uint16_t)(7 * n) };

	writ_put32(row.serial, n);
	memset(row.key, (int)n, sizeof(row.key));
	return row;
}

static struct snapshot_edge
edge_of(unsigned n)
{
	struct snapshot_edge edge = { .at = T - n };

	writ_put32(edge.id, ~n);
	return edge;
}

static struct snapshot_out
begun(unsigned n_rows, unsigned n_edges)
{
	struct snapshot_out out;

	expect_ok(snapshot_begin(n_rows, n_edges, &out));
	for (unsigned i = 0; i < n_rows; i++) {
		const struct snapshot_row row = row_of(i);

		snapshot_add_row(&out, &row);
	}
	for (unsigned i = 0; i < n_edges; i++) {
		const struct snapshot_edge edge = edge_of(i);

		snapshot_add_edge(&out, &edge);
	}
	return out;
}

static void
written(uint64_t index, unsigned n_rows, unsigned n_edges)
{
	struct snapshot_out out = begun(n_rows, n_edges);
	const struct journal_mark mark = { .index = index, .time = T, .hash = { 7, 7, 7 } };

	expect_ok(snapshot_write(dir, id, &mark, WRIT_LIT("the writer's own"), &out));
}

static void
path_of(uint64_t index, char out[128])
{
	snprintf(out, 128, "%s/%016llx.snapshot", dir, (unsigned long long)index);
}

static bool
there(uint64_t index)
{
	char path[128];

	path_of(index, path);
	return access(path, F_OK) == 0;
}

static off_t
size_of(uint64_t index)
{
	char path[128];
	struct stat st;

	path_of(index, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	return st.st_size;
}

static void
flip(uint64_t index, off_t at)
{
	char path[128];
	uint8_t byte;
	int fd;

	path_of(index, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x20;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void
what_was_written_is_read(void **state)
{
	AUTO(snapshot_done) struct snapshot s = { 0 };

	(void)state;
	written(9, 1000, 10);
	expect_ok(snapshot_find(dir, id, &s));
	assert_int_equal(s.mark.index, 9);
	assert_int_equal(s.mark.time, T);
	assert_int_equal(s.mark.hash[2], 7);
	assert_int_equal(s.n_rows, 1000);
	assert_int_equal(s.n_edges, 10);
	assert_true(writ_equal(s.own, WRIT_LIT("the writer's own")));
	for (unsigned i = 0; i < 1000; i++) {
		const struct snapshot_row want = row_of(i);
		struct snapshot_row row;

		snapshot_row(&s, i, &row);
		assert_memory_equal(row.serial, want.serial, 16);
		assert_memory_equal(row.key, want.key, 8);
		assert_int_equal(row.not_after, want.not_after);
		assert_int_equal(row.ended_at, want.ended_at);
		assert_int_equal(row.state, want.state);
		assert_int_equal(row.reason, want.reason);
		assert_int_equal(row.shard, want.shard);
	}
	for (unsigned i = 0; i < 10; i++) {
		struct snapshot_edge edge;

		snapshot_edge(&s, i, &edge);
		assert_int_equal(writ_get32(edge.id), ~i);
		assert_int_equal(edge.at, T - i);
	}
}

static void
no_byte_of_one_can_be_changed(void **state)
{
	struct snapshot s;

	(void)state;
	written(9, 3, 2);
	for (off_t at = 0; at < size_of(9); at++) {
		struct writ_err *err;

		flip(9, at);
		err = snapshot_find(dir, id, &s);
		assert_non_null(err);
		assert_int_equal(err->code, WRIT_BROKEN);
		writ_err_free(err);
		flip(9, at);
	}
	expect_ok(snapshot_find(dir, id, &s));
	snapshot_done(&s);
}

static void
a_torn_one_gives_way_to_the_one_before(void **state)
{
	AUTO(snapshot_done) struct snapshot s = { 0 };
	char path[128];

	(void)state;
	written(9, 3, 2);
	written(20, 3, 2);
	path_of(20, path);
	assert_int_equal(truncate(path, size_of(20) - 1), 0);
	expect_ok(snapshot_find(dir, id, &s));
	assert_int_equal(s.mark.index, 9);
	snapshot_done(&s);
	assert_int_equal(truncate(path, 0), 0);
	expect_ok(snapshot_find(dir, id, &s));
	assert_int_equal(s.mark.index, 9);
}

static void
the_newest_two_are_kept(void **state)
{
	AUTO(snapshot_done) struct snapshot s = { 0 };

	(void)state;
	for (uint64_t i = 1; i < 6; i++)
		written(i, 1, 0);
	assert_true(there(5) && there(4));
	assert_false(there(3) || there(2) || there(1));
	expect_ok(snapshot_find(dir, id, &s));
	assert_int_equal(s.mark.index, 5);
}

static void
there_may_be_none_and_another_logs_or_anothers_name_is_none(void **state)
{
	char from[128], to[128];
	uint8_t other[LOG_ID_LEN];
	struct snapshot s;

	(void)state;
	expect_refused(snapshot_find(dir, id, &s), WRIT_NOT_FOUND, "there is no snapshot of the journal");
	written(9, 3, 2);
	log_id(WRIT_LIT("other"), other);
	expect_refused(snapshot_find(dir, other, &s), WRIT_BROKEN,
		       "a snapshot of the journal is not whole: it is of another log");
	path_of(9, from);
	path_of(10, to);
	assert_int_equal(rename(from, to), 0);
	expect_refused(snapshot_find(dir, id, &s), WRIT_BROKEN,
		       "a snapshot of the journal is not whole: its name is another's");
}

static void
more_than_it_was_begun_for_is_not_written(void **state)
{
	const struct journal_mark mark = { .index = 9 };
	struct snapshot_out out = begun(3, 0);
	struct snapshot s;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		const struct snapshot_row row = row_of(i);

		snapshot_add_row(&out, &row);
	}
	expect_refused(snapshot_write(dir, id, &mark, WRIT_LIT(""), &out), WRIT_EXHAUSTED,
		       "a snapshot has more in it than it was begun for");
	expect_refused(snapshot_find(dir, id, &s), WRIT_NOT_FOUND, "there is no snapshot of the journal");
}

/* ---- the journal from a mark on ---- */

struct seen {
	uint64_t n, first;
};

static struct writ_err *
see(const struct entry *e, void *ctx)
{
	struct seen *seen = ctx;

	if (seen->n++ == 0)
		seen->first = e->index;
	return NULL;
}

/* `n` entries of the largest size in groups of ten: 2,300 fill a segment.  Marks behind the `at`-th and the last. */
static void
filled(unsigned n, unsigned at, struct journal_mark *ret_at, struct journal_mark *ret_last)
{
	static uint8_t tbs[JOURNAL_TBS_MAX];
	static char json[JOURNAL_ENTRY_MAX];
	struct journal_cut cut;
	struct journal *j;

	memset(json, ' ', sizeof(json));
	expect_ok(journal_open(dir, ORIGIN, NULL, NULL, &cut, &j));
	for (unsigned i = 0; i < n; i++) {
		struct entry e = { .type = ENTRY_ISSUE,
				   .time = T + i,
				   .json = { (const uint8_t *)json, sizeof(json) },
				   .tbs = { tbs, sizeof(tbs) } };

		json[1 + i % 1000] = (char)('a' + i % 20);
		expect_ok(journal_add(j, &e));
		if (i % 10 == 9)
			journal_sync(j);
		if (i + 1 == at)
			journal_mark(j, ret_at);
	}
	journal_sync(j);
	journal_mark(j, ret_last);
	journal_close(j);
}

static void
expect_behind(const struct journal_mark *mark, uint64_t n)
{
	struct seen opened = { 0 }, read = { 0 };
	struct journal_cut cut;
	struct journal *j;

	expect_ok(journal_open_from(dir, ORIGIN, mark, see, &opened, &cut, &j));
	assert_int_equal(journal_next(j), mark->index + n);
	assert_true(journal_last_time(j) >= mark->time);
	journal_close(j);
	expect_ok(journal_read_from(dir, mark, see, &read));
	assert_int_equal(opened.n, n);
	assert_int_equal(read.n, n);
	assert_int_equal(opened.first, n > 0 ? mark->index : 0);
	assert_int_equal(read.first, n > 0 ? mark->index : 0);
}

static void
expect_not_there(const struct journal_mark *mark, const char *message)
{
	struct seen seen = { 0 };
	struct journal_cut cut;
	struct journal *j;

	expect_refused(journal_open_from(dir, ORIGIN, mark, see, &seen, &cut, &j), WRIT_INVALID, message);
	expect_refused(journal_read_from(dir, mark, see, &seen), WRIT_INVALID, message);
	assert_int_equal(seen.n, 0);
}

static void
entries_behind_a_mark_are_seen_and_no_other(void **state)
{
	struct journal_mark at, last;

	(void)state;
	filled(50, 20, &at, &last);
	assert_int_equal(at.index, 20);
	expect_behind(&at, 30);
	expect_behind(&last, 0);
}

static void
a_mark_that_the_journal_does_not_hold_is_refused_before_anything_is_seen(void **state)
{
	struct journal_mark at, last;

	(void)state;
	filled(50, 20, &at, &last);
	at.hash[31] ^= 1;
	expect_not_there(&at, "the entry before 20 is another one");
	last.index++;
	expect_not_there(&last, "the journal ends at entry 50, before 51");
	last.index -= 2;
	expect_not_there(&last, "the entry before 49 is another one");
}

/* Segments begin at 0, and at some 2,300. */
static uint64_t
second_segment(void)
{
	char path[128];

	for (uint64_t i = 1;; i++) {
		snprintf(path, sizeof(path), "%s/%016llx.wj", dir, (unsigned long long)i);
		if (access(path, F_OK) == 0)
			return i;
	}
}

static void
damage(uint64_t segment)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%016llx.wj", dir, (unsigned long long)segment);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 20000), 1);
	close(fd);
}

static void
segments_before_a_mark_are_not_read_and_the_one_that_it_is_in_is_checked_whole(void **state)
{
	const unsigned second = (JOURNAL_SEGMENT_LEN - 64) / (4 + 92 + JOURNAL_ENTRY_MAX + JOURNAL_TBS_MAX);
	struct journal_mark at, last, other;
	struct journal_cut cut;
	struct journal *j;
	char message[400];

	(void)state;
	filled(second + 40, second, &at, &last); /* the mark stands where a segment begins */
	assert_int_equal(second_segment(), second);
	expect_behind(&at, 40);
	other = at;
	other.hash[0] ^= 1;
	snprintf(message, sizeof(message), "the entry before %u is another one", second);
	expect_not_there(&other, message);

	damage(0);
	expect_behind(&at, 40);
	expect_behind(&last, 0);
	snprintf(message, sizeof(message),
		 "the journal is damaged: %s/0000000000000000.wj, offset 64 (entry 0): a bad record: its check does "
		 "not fit "
		 "its contents: restore it from a copy",
		 dir);
	expect_refused(journal_open(dir, ORIGIN, NULL, NULL, &cut, &j), WRIT_BROKEN, message);

	damage(second);
	snprintf(message, sizeof(message), "the journal ends at entry %u, before %u", second, second + 40);
	expect_not_there(&last, message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_byte_of_one_can_be_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_torn_one_gives_way_to_the_one_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_newest_two_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(there_may_be_none_and_another_logs_or_anothers_name_is_none, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(more_than_it_was_begun_for_is_not_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(entries_behind_a_mark_are_seen_and_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_mark_that_the_journal_does_not_hold_is_refused_before_anything_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			segments_before_a_mark_are_not_read_and_the_one_that_it_is_in_is_checked_whole, set_up,
			tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
