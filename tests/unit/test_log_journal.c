/* The journal: numbered without gaps, durable in groups, a torn tail cut and damage refused, a reserve for revocations.
 */
#include "issuer/log/journal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "tests/unit/expect.h"

#define ORIGIN WRIT_LIT("agents.corp.example/writ/n1")
#define HEADER_LEN 64

static char dir[64], first_segment[128];

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/writ-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(first_segment, sizeof(first_segment), "%s/0000000000000000.wj", dir);
	assert_int_equal(chmod(dir, 0750), 0);
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

static struct entry
entry_of(enum entry_type type, const char *json)
{
	return (struct entry){ .type = type, .time = 1795467097, .json = writ_str(json), .serial = { 1, 2, 3 } };
}

static void
add(struct journal *j, enum entry_type type, const char *json)
{
	struct entry e = entry_of(type, json);

	expect_ok(journal_add(j, &e));
}

struct seen {
	uint64_t n, first;
	char last[64];
};

static struct writ_err *
see(const struct entry *e, void *ctx)
{
	struct seen *seen = ctx;

	if (seen->n == 0)
		seen->first = e->index;
	assert_int_equal(e->index, seen->first + seen->n);
	seen->n++;
	snprintf(seen->last, sizeof(seen->last), "%.*s", (int)e->json.len, (const char *)e->json.data);
	return NULL;
}

static struct journal *
opened(struct seen *seen, struct journal_cut *cut)
{
	struct journal *j;

	*seen = (struct seen){ 0 };
	expect_ok(journal_open(dir, ORIGIN, see, seen, cut, &j));
	return j;
}

/* Two groups: entries 0 and 1, then 2 and 3. */
static void
write_two_groups(void)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j = opened(&seen, &cut);

	add(j, ENTRY_START, "{\"n\":0}");
	add(j, ENTRY_TASK, "{\"n\":1}");
	journal_sync(j);
	add(j, ENTRY_TASK, "{\"n\":2}");
	add(j, ENTRY_TASK, "{\"n\":3}");
	journal_sync(j);
	journal_close(j);
}

/* Where record `n` of the first segment begins. */
static off_t
record_at(unsigned n)
{
	const int fd = open(first_segment, O_RDONLY | O_CLOEXEC);
	off_t at = HEADER_LEN;
	uint8_t len[4];

	assert_true(fd >= 0);
	for (; n > 0; n--) {
		assert_int_equal(pread(fd, len, 4, at), 4);
		at += 4 + (len[0] | len[1] << 8 | len[2] << 16);
	}
	close(fd);
	return at;
}

static void
overwrite(off_t at, const char *with, size_t len)
{
	const int fd = open(first_segment, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, with, len, at), len);
	close(fd);
}

static void
entries_are_numbered_and_come_back_in_order(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j;

	(void)state;
	write_two_groups();
	j = opened(&seen, &cut);
	assert_false(cut.any);
	assert_int_equal(seen.n, 4);
	assert_int_equal(journal_next(j), 4);
	assert_int_equal(journal_durable(j), 4);
	assert_int_equal(journal_last_time(j), 1795467097);
	assert_true(journal_can_issue(j));
	add(j, ENTRY_TASK, "{\"n\":4}");
	assert_int_equal(journal_next(j), 5);
	assert_int_equal(journal_durable(j), 4);
	journal_sync(j);
	assert_int_equal(journal_durable(j), 5);
	journal_close(j);
}

static void
an_entrys_hash_is_that_of_an_rfc_6962_leaf(void **state)
{
	AUTO(writ_buf_done) struct writ_buf record = WRIT_BUF(1024);
	struct entry e = entry_of(ENTRY_TASK, "{}");
	uint8_t want[32];

	(void)state;
	expect_ok(record_write(&e, &record));
	writ_sha256(WRIT_LIT("\x00{}"), want);
	assert_memory_equal(e.leaf_hash, want, 32);
}

static void
a_record_comes_back_as_it_went(void **state)
{
	AUTO(writ_buf_done) struct writ_buf record = WRIT_BUF(1024);
	struct entry e = { .type = ENTRY_ISSUE,
			   .reason = 9,
			   .serial = { 1, 0xc8, 3 },
			   .not_after = 1795467997,
			   .key = { 7, 8 },
			   .time = 1795467097,
			   .time_ms = 999,
			   .json = WRIT_LIT("{\"t\":\"issue\"}"),
			   .tbs = WRIT_LIT("tbs"),
			   .group_first = true };
	struct entry back;
	size_t len;

	(void)state;
	expect_ok(record_write(&e, &record));
	expect_ok(record_read(writ_view(&record), &back, &len));
	assert_int_equal(len, record.len);
	assert_int_equal(back.type, ENTRY_ISSUE);
	assert_int_equal(back.reason, 9);
	assert_int_equal(back.not_after, e.not_after);
	assert_int_equal(back.time, e.time);
	assert_int_equal(back.time_ms, 999);
	assert_true(back.group_first);
	assert_memory_equal(back.serial, e.serial, 16);
	assert_memory_equal(back.key, e.key, 8);
	assert_memory_equal(back.leaf_hash, e.leaf_hash, 32);
	expect_bytes(back.json, e.json);
	expect_bytes(back.tbs, e.tbs);
}

static void
no_byte_of_a_record_can_be_changed(void **state)
{
	AUTO(writ_buf_done) struct writ_buf record = WRIT_BUF(1024);
	struct entry e = entry_of(ENTRY_ISSUE, "{\"t\":\"issue\"}"), back;
	size_t len;

	(void)state;
	e.tbs = WRIT_LIT("tbs");
	expect_ok(record_write(&e, &record));
	for (size_t i = 0; i < record.len * 8; i++) {
		struct writ_err *err;

		record.data[i / 8] ^= (uint8_t)(1 << i % 8);
		err = record_read(writ_view(&record), &back, &len);
		assert_true(err || len == 0);
		writ_err_free(err);
		record.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void
entries_over_the_limits_are_refused(void **state)
{
	static uint8_t big[JOURNAL_TBS_MAX + JOURNAL_ENTRY_MAX];
	AUTO(writ_buf_done) struct writ_buf record = WRIT_BUF(64 * 1024);
	struct entry e = { .type = ENTRY_ISSUE, .json = { big, JOURNAL_ENTRY_MAX + 1 } };

	(void)state;
	expect_refused(record_write(&e, &record), WRIT_EXHAUSTED, "issue entry of 16385 bytes: 1 to 16384 are allowed");
	e.json.len = 0;
	expect_refused(record_write(&e, &record), WRIT_EXHAUSTED, "issue entry of 0 bytes: 1 to 16384 are allowed");
	e.json.len = JOURNAL_ENTRY_MAX;
	e.tbs = (struct writ_bytes){ big, JOURNAL_TBS_MAX + 1 };
	expect_refused(record_write(&e, &record), WRIT_EXHAUSTED,
		       "issue entry with a TBS of 12289 bytes: at most 12288 are allowed");
	e.type = (enum entry_type)99;
	expect_refused(record_write(&e, &record), WRIT_BROKEN, "an entry of type 99 and reason 0 cannot be written");
}

static void
a_torn_last_entry_is_cut_and_told(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j;

	(void)state;
	write_two_groups();
	overwrite(record_at(3) + 60, "torn", 4);
	j = opened(&seen, &cut);
	assert_true(cut.any);
	assert_int_equal(cut.index, 3);
	assert_int_equal(cut.bytes, 4 + 92 + 7);
	assert_int_equal(journal_next(j), 3);
	add(j, ENTRY_TASK, "{\"n\":\"new\"}");
	journal_sync(j);
	journal_close(j);
	j = opened(&seen, &cut);
	assert_false(cut.any);
	assert_int_equal(seen.n, 4);
	assert_string_equal(seen.last, "{\"n\":\"new\"}");
	journal_close(j);
}

/* The pages of a group reach the disk in any order. */
static void
a_torn_group_is_cut_whole_though_its_end_is_good(void **state)
{
	static const char zeros[103];
	struct journal_cut cut;
	struct seen seen;

	(void)state;
	write_two_groups();
	overwrite(record_at(2), zeros, sizeof(zeros));
	journal_close(opened(&seen, &cut));
	assert_true(cut.any);
	assert_int_equal(cut.index, 2);
	assert_int_equal(seen.n, 2);
}

static void
damage_before_a_later_group_is_refused_with_its_place(void **state)
{
	struct journal_cut cut;
	struct seen seen = { 0 };
	struct journal *j;
	char message[400];

	(void)state;
	write_two_groups();
	overwrite(record_at(1) + 100, "x", 1);
	snprintf(message, sizeof(message),
		 "the journal is damaged: %s, offset %d (entry 1): a bad record stands before good ones: restore it "
		 "from a copy",
		 first_segment, (int)record_at(1));
	expect_refused(journal_open(dir, ORIGIN, see, &seen, &cut, &j), WRIT_BROKEN, message);
}

static void
a_header_of_another_log_or_version_is_refused(void **state)
{
	struct journal_cut cut;
	struct seen seen = { 0 };
	struct journal *j;
	char message[400];

	(void)state;
	snprintf(message, sizeof(message), "%s belongs to another log: its log id is not this origin's", first_segment);
	expect_refused(journal_open(dir, WRIT_LIT("other"), see, &seen, &cut, &j), WRIT_BROKEN, message);
	overwrite(8, "\x02", 1);
	snprintf(message, sizeof(message), "%s is not a journal segment of version 1", first_segment);
	expect_refused(journal_open(dir, ORIGIN, see, &seen, &cut, &j), WRIT_BROKEN, message);
}

static void
a_missing_segment_is_seen(void **state)
{
	struct journal_cut cut;
	struct seen seen = { 0 };
	struct journal *j;
	char other[160], message[500];

	(void)state;
	snprintf(other, sizeof(other), "%s/0000000000000007.wj", dir);
	assert_int_equal(rename(first_segment, other), 0);
	snprintf(message, sizeof(message),
		 "%s begins at entry 0: its name says 7, and 0 is next: a segment is missing or misnamed", other);
	expect_refused(journal_open(dir, ORIGIN, see, &seen, &cut, &j), WRIT_BROKEN, message);
}

static void
a_journal_is_made_once_and_never_by_opening(void **state)
{
	struct journal_cut cut;
	struct journal *j;
	char message[300];

	(void)state;
	snprintf(message, sizeof(message), "there is a journal in %s already", dir);
	expect_refused(journal_create(dir, ORIGIN), WRIT_CONFLICT, message);
	assert_int_equal(unlink(first_segment), 0);
	snprintf(message, sizeof(message), "there is no journal in %s: it is made by writ init, never by itself", dir);
	expect_refused(journal_open(dir, ORIGIN, NULL, NULL, &cut, &j), WRIT_NOT_FOUND, message);
}

static void
one_process_writes(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j = opened(&seen, &cut), *other;
	char message[300];

	(void)state;
	snprintf(message, sizeof(message), "%s/lock is locked: another process uses this folder", dir);
	expect_refused(journal_open(dir, ORIGIN, NULL, NULL, &cut, &other), WRIT_CONFLICT, message);
	journal_close(j);
}

static void
readers_see_what_is_written_from_any_entry_on(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j;

	(void)state;
	write_two_groups();
	j = opened(&seen, &cut);
	seen = (struct seen){ 0 };
	expect_ok(journal_read(dir, 2, see, &seen));
	assert_int_equal(seen.first, 2);
	assert_int_equal(seen.n, 2);
	add(j, ENTRY_TASK, "{\"n\":4}");
	seen = (struct seen){ 0 };
	expect_ok(journal_read(dir, 4, see, &seen));
	assert_int_equal(seen.n, 0); /* not yet there */
	journal_sync(j);
	expect_ok(journal_read(dir, 4, see, &seen));
	assert_int_equal(seen.n, 1);
	journal_close(j);
}

/* Entries of the largest size until the segment is full: 64 MiB in 2,300 of them. */
static struct writ_err *
fill(struct journal *j, uint64_t n)
{
	static char json[JOURNAL_ENTRY_MAX];
	static uint8_t tbs[JOURNAL_TBS_MAX];
	struct writ_err *err = NULL;

	memset(json, 'x', sizeof(json));
	for (uint64_t i = 0; i < n && !err; i++) {
		struct entry e = { .type = ENTRY_ISSUE,
				   .json = { (uint8_t *)json, sizeof(json) },
				   .tbs = { tbs, sizeof(tbs) } };

		err = journal_add(j, &e);
		if (i % 64 == 63)
			journal_sync(j);
	}
	journal_sync(j);
	return err;
}

static void
segments_follow_each_other(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j = opened(&seen, &cut);

	(void)state;
	expect_ok(fill(j, 2500));
	journal_close(j);
	j = opened(&seen, &cut);
	assert_false(cut.any);
	assert_int_equal(seen.n, 2500);
	journal_close(j);
	seen = (struct seen){ 0 };
	expect_ok(journal_read(dir, 2400, see, &seen));
	assert_int_equal(seen.n, 100);
}

/* No file may grow to a whole segment: to the journal the disk is full. */
static void
on_a_full_disk_the_reserve_takes_revocations_only(void **state)
{
	const struct rlimit tight = { JOURNAL_SEGMENT_LEN - 1, JOURNAL_SEGMENT_LEN };
	const struct rlimit wide = { JOURNAL_SEGMENT_LEN, JOURNAL_SEGMENT_LEN };
	struct entry issue = entry_of(ENTRY_ISSUE, "{\"t\":\"issue\"}"),
		     revoke = entry_of(ENTRY_REVOKE, "{\"t\":\"revoke\"}");
	struct journal_cut cut;
	struct seen seen;
	struct journal *j = opened(&seen, &cut);
	struct writ_err *err;
	uint64_t next;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	err = fill(j, 3000);
	expect_refused(err, WRIT_EXHAUSTED,
		       "the disk is full: the journal's reserve takes no issue entry: free some space");
	assert_false(journal_can_issue(j));
	next = journal_next(j);
	expect_ok(journal_add(j, &revoke));
	assert_int_equal(revoke.index, next);
	expect_refused(journal_add(j, &issue), WRIT_EXHAUSTED,
		       "the disk is full: the journal's reserve takes no issue entry: free some space");
	journal_sync(j);
	journal_close(j);

	j = opened(&seen, &cut); /* and a start finds it so */
	assert_int_equal(seen.n, next + 1);
	assert_false(journal_can_issue(j));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &wide), 0); /* space again */
	assert_true(journal_can_issue(j));
	expect_ok(journal_add(j, &issue));
	assert_int_equal(issue.index, next + 1);
	journal_sync(j);
	journal_close(j);
	journal_close(opened(&seen, &cut));
	assert_int_equal(seen.n, next + 2);
}

static void
await(struct journal *j, int fd)
{
	struct pollfd heard = { .fd = fd, .events = POLLIN };

	while (journal_syncing(j))
		assert_int_equal(poll(&heard, 1, 10000), 1);
}

static struct writ_err *
see_group(const struct entry *e, void *ctx)
{
	uint64_t *n_groups = ctx;

	*n_groups += e->group_first;
	return NULL;
}

static void
what_is_added_while_the_disk_works_is_the_next_group(void **state)
{
	struct journal_cut cut;
	struct seen seen;
	struct journal *j = opened(&seen, &cut);
	uint64_t n_groups = 0;
	int fd;

	(void)state;
	expect_ok(journal_background(j, &fd));
	assert_false(journal_syncing(j));
	journal_sync_begin(j); /* nothing */
	assert_false(journal_syncing(j));
	for (unsigned round = 1; round <= 200; round++) {
		const uint64_t before = journal_next(j);

		add(j, ENTRY_TASK, "{\"n\":1}");
		add(j, ENTRY_TASK, "{\"n\":2}");
		journal_sync_begin(j);
		add(j, ENTRY_TASK, "{\"n\":3}");
		if (round % 2 == 0) {
			await(j, fd);
			assert_int_equal(journal_durable(j), before + 2);
			journal_sync_begin(j);
			await(j, fd);
		} else {
			journal_sync(j); /* waits for both */
			assert_false(journal_syncing(j));
		}
		assert_int_equal(journal_durable(j), before + 3);
	}
	add(j, ENTRY_TASK, "{\"n\":4}");
	journal_sync_begin(j);
	journal_close(j); /* waits too */

	journal_close(opened(&seen, &cut));
	assert_false(cut.any);
	assert_int_equal(seen.n, 601);
	assert_string_equal(seen.last, "{\"n\":4}");
	expect_ok(journal_read(dir, 0, see_group, &n_groups));
	assert_int_equal(n_groups, 401); /* a group begins behind what is durable, so that damage is told from a torn tail */
}

static void
segments_are_readable_by_the_group_and_nobody_else(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(first_segment, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, JOURNAL_SEGMENT_LEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_are_numbered_and_come_back_in_order, set_up, tear_down),
		cmocka_unit_test(an_entrys_hash_is_that_of_an_rfc_6962_leaf),
		cmocka_unit_test(a_record_comes_back_as_it_went),
		cmocka_unit_test(no_byte_of_a_record_can_be_changed),
		cmocka_unit_test(entries_over_the_limits_are_refused),
		cmocka_unit_test_setup_teardown(a_torn_last_entry_is_cut_and_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_torn_group_is_cut_whole_though_its_end_is_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_before_a_later_group_is_refused_with_its_place, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_header_of_another_log_or_version_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_missing_segment_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_journal_is_made_once_and_never_by_opening, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_process_writes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(readers_see_what_is_written_from_any_entry_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(segments_follow_each_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_added_while_the_disk_works_is_the_next_group, set_up, tear_down),
		cmocka_unit_test_setup_teardown(segments_are_readable_by_the_group_and_nobody_else, set_up, tear_down),
		/* last: a limit of the process stays lowered */
		cmocka_unit_test_setup_teardown(on_a_full_disk_the_reserve_takes_revocations_only, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
