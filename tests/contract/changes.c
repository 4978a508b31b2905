/*
 * What whoever follows a status table may rely on: every change has a number, none is missed or told twice, what is
 * lost is said to be lost; and the table read beside a writer, then the changes since, are the writer's table.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/digest.h"
#include "issuer/status/changes.h"
#include "tests/unit/expect.h"

#define MINUTE 29000000u
#define LIFE_S 900
#define KEPT 256
#define SERIALS 20000
#define MINUTES 3
#define PAGE 100

static void
serial_of(uint32_t n, uint8_t out[16])
{
	uint8_t digest[SHA256_LEN], seed[4];

	writ_put32(seed, n);
	writ_sha256((struct writ_bytes){ seed, 4 }, digest);
	writ_put32(out, MINUTE + n % MINUTES);
	memcpy(out + 4, digest, 12);
}

static void
set(struct status_table *table, uint32_t n, enum status_state state)
{
	uint8_t serial[16];

	serial_of(n, serial);
	expect_ok(status_set(table, serial, state, (writ_time)(MINUTE + n % MINUTES) * 60 + LIFE_S));
}

static enum status_state
state_of(const struct status_table *table, uint32_t n)
{
	uint8_t serial[16];

	serial_of(n, serial);
	return status_find(table, 0, serial).state;
}

static void
followed_pair(size_t kept, struct status_table **ret_table, struct status_changes **ret_changes)
{
	expect_ok(status_table_new(1, ret_table));
	expect_ok(status_changes_new(kept, ret_changes));
	status_follow(*ret_table, *ret_changes);
}

/* ---- one at a time ---- */

static void
test_changes_are_numbered_without_gaps_and_only_changes_are(void **state)
{
	struct status_change list[8];
	struct status_changes *changes;
	struct status_table *table;
	uint64_t next;
	size_t n;

	(void)state;
	followed_pair(8, &table, &changes);
	assert_int_equal(status_changes_next(changes), 0);
	set(table, 1, STATUS_GOOD);
	set(table, 1, STATUS_GOOD); /* no change */
	set(table, 2, STATUS_REVOKED);
	set(table, 2, STATUS_GOOD); /* revoked never becomes good again */
	set(table, 1, STATUS_REVOKED);
	assert_true(status_changes_read(changes, 0, list, N_OF(list), &n, &next));
	assert_int_equal(n, 3);
	assert_int_equal(next, 3);
	assert_int_equal(list[0].state, STATUS_GOOD);
	assert_int_equal(list[0].life_s, LIFE_S);
	assert_int_equal(list[1].state, STATUS_REVOKED);
	assert_memory_equal(list[0].serial, list[2].serial, 16);
	assert_int_equal(list[2].state, STATUS_REVOKED);
	status_table_free(table);
	status_changes_free(changes);
}

static void
test_what_fell_out_of_the_ring_is_lost_and_the_future_is_too(void **state)
{
	static const struct {
		uint64_t from;
		bool there;
		size_t n;
	} cases[] = {
		{ 0, false, 0 }, { 1, false, 0 }, { 2, true, 5 },   { 6, true, 4 },
		{ 9, true, 1 },	 { 10, true, 0 }, { 11, false, 0 }, { UINT64_MAX, false, 0 },
	};
	struct status_change list[5];
	struct status_changes *changes;
	struct status_table *table;
	uint64_t next;
	size_t n;

	(void)state;
	followed_pair(8, &table, &changes);
	for (uint32_t i = 0; i < 10; i++)
		set(table, i, STATUS_GOOD);
	for (size_t i = 0; i < N_OF(cases); i++) {
		assert_int_equal(status_changes_read(changes, cases[i].from, list, N_OF(list), &n, &next),
				 cases[i].there);
		assert_int_equal(next, 10);
		if (cases[i].there)
			assert_int_equal(n, cases[i].n);
	}
	status_table_free(table);
	status_changes_free(changes);
}

static void
test_epochs_differ(void **state)
{
	struct status_changes *a, *b;

	(void)state;
	expect_ok(status_changes_new(8, &a));
	expect_ok(status_changes_new(8, &b));
	assert_memory_not_equal(status_changes_epoch(a), status_changes_epoch(b), STATUS_EPOCH_LEN);
	status_changes_free(a);
	status_changes_free(b);
}

static void
test_a_table_is_walked_whole_in_pages_of_any_size(void **state)
{
	static const size_t sizes[] = { 1, 7, PAGE, 1000 };
	struct status_change *list = calloc(1000, sizeof(*list));
	struct status_changes *changes;
	struct status_table *table;

	(void)state;
	followed_pair(KEPT, &table, &changes);
	for (uint32_t i = 0; i < 500; i++)
		set(table, i, i % 5 == 0 ? STATUS_REVOKED : STATUS_GOOD);
	for (size_t s = 0; s < N_OF(sizes); s++) {
		struct status_table *copy;
		struct status_counts counts;
		uint64_t cursor = 0;
		size_t sum = 0;

		expect_ok(status_table_new(1, &copy));
		while (cursor != STATUS_WALK_END) {
			const size_t n = status_walk(table, 0, cursor, list, sizes[s], &cursor);

			assert_true(n <= sizes[s]);
			sum += n;
			for (size_t i = 0; i < n; i++)
				expect_ok(status_set(copy, list[i].serial, list[i].state,
						     (writ_time)writ_get32(list[i].serial) * 60 + list[i].life_s));
		}
		assert_int_equal(sum, 500);
		status_counts(copy, &counts);
		assert_int_equal(counts.good, 400);
		assert_int_equal(counts.revoked, 100);
		for (uint32_t i = 0; i < 500; i++)
			assert_int_equal(state_of(copy, i), state_of(table, i));
		status_table_free(copy);
	}
	free(list);
	status_table_free(table);
	status_changes_free(changes);
}

static void
test_no_generation_of_a_table_is_one_of_the_table_after_it(void **state)
{
	struct status_table *table, *after;
	uint8_t serial[16];
	uint32_t last = 0;

	(void)state;
	serial_of(1, serial);
	expect_ok(status_table_new(1, &table));
	for (int i = 0; i < 4; i++) {
		uint32_t first;

		set(table, 1, STATUS_GOOD);
		first = status_find(table, 0, serial).generation;
		assert_true(first > last);
		set(table, 1, STATUS_REVOKED);
		last = status_find(table, 0, serial).generation;
		assert_true(last > first);
		expect_ok(status_table_after(table, &after));
		status_table_free(table);
		table = after;
	}
	status_table_free(table);
}

/* ---- beside a writer ---- */

struct scene {
	struct status_table *table;
	struct status_changes *changes;
	atomic_bool done;
};

static void *
writer(void *arg)
{
	struct scene *scene = arg;

	for (uint32_t i = 0; i < SERIALS; i++) {
		set(scene->table, i, STATUS_GOOD);
		if (i % 3 == 0)
			set(scene->table, i / 2, STATUS_REVOKED);
	}
	atomic_store(&scene->done, true);
	return NULL;
}

static void
take(struct status_table *copy, const struct status_change *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_ok(status_set(copy, list[i].serial, list[i].state,
				     (writ_time)writ_get32(list[i].serial) * 60 + list[i].life_s));
}

/* As a responder does: the number, the table, the changes; and from the beginning when it is too slow. */
static struct status_table *
follow(struct scene *scene, unsigned *ret_lost)
{
	struct status_change list[PAGE];
	struct status_table *copy = NULL;
	uint64_t from = 0, cursor, newest;
	size_t n;

	for (;;) {
		const bool last = atomic_load(&scene->done);

		if (!copy) {
			from = status_changes_next(scene->changes);
			expect_ok(status_table_new(1, &copy));
			for (cursor = 0; cursor != STATUS_WALK_END; take(copy, list, n)) {
				n = status_walk(scene->table, 0, cursor, list, N_OF(list), &cursor);
				status_quiet(scene->table, 0);
			}
		}
		if (!status_changes_read(scene->changes, from, list, N_OF(list), &n, &newest)) {
			(*ret_lost)++;
			status_table_free(copy);
			copy = NULL;
			continue;
		}
		take(copy, list, n);
		from += n;
		if (last && from == newest)
			return copy;
	}
}

static void
test_who_follows_beside_the_writer_ends_with_the_writers_table(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		struct scene scene = { 0 };
		struct status_table *copy;
		struct status_counts counts, copied;
		unsigned lost = 0;
		pthread_t thread;

		followed_pair(KEPT, &scene.table, &scene.changes);
		assert_int_equal(pthread_create(&thread, NULL, writer, &scene), 0);
		copy = follow(&scene, &lost);
		pthread_join(thread, NULL);
		print_message("lost and begun anew %u times\n", lost);
		status_counts(scene.table, &counts);
		status_counts(copy, &copied);
		assert_int_equal(counts.good, copied.good);
		assert_int_equal(counts.revoked, copied.revoked);
		for (uint32_t i = 0; i < SERIALS; i++)
			assert_int_equal(state_of(copy, i), state_of(scene.table, i));
		status_table_free(copy);
		status_table_free(scene.table);
		status_changes_free(scene.changes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes_are_numbered_without_gaps_and_only_changes_are),
		cmocka_unit_test(test_what_fell_out_of_the_ring_is_lost_and_the_future_is_too),
		cmocka_unit_test(test_epochs_differ),
		cmocka_unit_test(test_a_table_is_walked_whole_in_pages_of_any_size),
		cmocka_unit_test(test_no_generation_of_a_table_is_one_of_the_table_after_it),
		cmocka_unit_test(test_who_follows_beside_the_writer_ends_with_the_writers_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
