/*
 * Lineages kept in memory: found by edge and by key, of one revision only, and the oldest gone before too many are kept.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "issuer/serve/known.h"
#include "tests/unit/expect.h"

static struct {
	struct known *known;
	struct writ_arena arena;
	struct writ_buf grant;
} w;

static int
made(void **state)
{
	struct writ_bytes actions[] = { WRIT_LIT("invoices:read") };
	struct writ_bytes resources[] = { WRIT_LIT("https://erp.corp.example/v2/**") };
	struct writ_bytes audience[] = { WRIT_LIT("https://erp.corp.example") };
	const struct entitlement one = { .actions = { 1, actions }, .resources = { 1, resources }, .delegable = true };
	const struct grant grant = { .n_entitlements = 1, .entitlements = &one, .audience = { 1, audience } };

	(void)state;
	w.arena = WRIT_ARENA(64 * 1024 * 1024);
	w.grant = WRIT_BUF(4096);
	expect_ok(hop_grant_write(&grant, &w.grant));
	expect_ok(known_new(&w.known));
	return 0;
}

static int
gone(void **state)
{
	(void)state;
	known_free(w.known);
	writ_buf_done(&w.grant);
	writ_arena_done(&w.arena);
	return 0;
}

static void
number(uint8_t *out, size_t len, unsigned n)
{
	memset(out, 0, len);
	writ_put32(out, n * 2654435761u); /* an edge's id begins at random */
	writ_put32(out + len - 4, n);
}

/* Lineage n, in texts that are overwritten after they were kept. */
static struct lineage
lineage_of(unsigned n)
{
	struct lineage l = { .live = true, .delegator_kind = PRINCIPAL_HUMAN };
	char text[64];

	snprintf(text, sizeof(text), "task-%u", n);
	l.task = (struct store_task){ .id = writ_arena_copy(&w.arena, writ_str(text)),
				      .opener = WRIT_LIT("spiffe://agents.corp.example/human/corp/alice"),
				      .purpose = WRIT_LIT("Pay"),
				      .ends = 1000 + n,
				      .state = TASK_OPEN };
	l.edge = (struct store_edge){ .task = l.task.id,
				      .delegator = l.task.opener,
				      .agent = WRIT_LIT("spiffe://agents.corp.example/agent/invoice-bot/1"),
				      .grant = writ_view(&w.grant),
				      .hops = WRIT_LIT("hops"),
				      .state = EDGE_LIVE };
	number(l.edge.id, sizeof(l.edge.id), n);
	number(l.edge.spki_sha256, sizeof(l.edge.spki_sha256), n);
	return l;
}

static bool
found_by_edge(unsigned n, uint64_t revision)
{
	const struct lineage l = lineage_of(n);
	struct lineage found;
	struct held *held;
	const bool is = known_by_edge(w.known, revision, l.edge.id, &found, &held);

	assert_int_equal(is, held != NULL);
	if (is)
		assert_int_equal(found.task.ends, 1000 + n);
	held_done(held);
	return is;
}

static bool
found_by_key(unsigned n, uint64_t revision)
{
	const struct lineage l = lineage_of(n);
	struct lineage found;
	struct held *held;
	const bool is = known_by_key(w.known, revision, l.task.id, l.edge.spki_sha256, &found, &held);

	assert_int_equal(is, held != NULL);
	if (is)
		assert_int_equal(found.task.ends, 1000 + n);
	held_done(held);
	return is;
}

static void
what_was_kept_is_found_whole_by_its_edge_and_by_task_and_key(void **state)
{
	struct lineage l = lineage_of(7), found;
	struct held *held;

	(void)state;
	known_keep(w.known, 3, &l);
	memset((void *)(uintptr_t)l.task.id.data, 'x', l.task.id.len); /* the texts kept are copies */
	assert_true(found_by_key(7, 3));
	l = lineage_of(7);
	assert_true(known_by_edge(w.known, 3, l.edge.id, &found, &held));
	expect_bytes(found.task.id, WRIT_LIT("task-7"));
	expect_bytes(found.edge.task, WRIT_LIT("task-7"));
	expect_bytes(found.task.purpose, WRIT_LIT("Pay"));
	expect_bytes(found.task.parent, WRIT_LIT(""));
	expect_bytes(found.edge.hops, WRIT_LIT("hops"));
	expect_bytes(found.edge.context, WRIT_LIT(""));
	assert_int_equal(found.grant.n_entitlements, 1);
	expect_bytes(found.grant.audience.list[0], WRIT_LIT("https://erp.corp.example"));
	assert_true(found.live);
	held_done(held);
}

static void
what_the_store_has_moved_on_from_is_not_found(void **state)
{
	const struct lineage l = lineage_of(7);

	(void)state;
	known_keep(w.known, 3, &l);
	assert_false(found_by_edge(7, 4));
	assert_false(found_by_key(7, 4));
	known_keep(w.known, 4, &l);
	assert_true(found_by_edge(7, 4));
	assert_true(found_by_key(7, 4));
	assert_false(found_by_edge(7, 3));
}

static void
another_task_with_the_same_key_is_not_found(void **state)
{
	const struct lineage l = lineage_of(7);
	struct lineage found;
	struct held *held;

	(void)state;
	known_keep(w.known, 3, &l);
	assert_false(known_by_key(w.known, 3, WRIT_LIT("task-8"), l.edge.spki_sha256, &found, &held));
	assert_null(held);
	assert_false(found_by_edge(8, 3));
}

static void
a_task_just_opened_is_known_before_it_is_read(void **state)
{
	struct lineage l = lineage_of(7);

	(void)state;
	known_opened(w.known, 3, &l.task, &l.edge);
	assert_true(found_by_edge(7, 3));
	assert_true(found_by_key(7, 3));
}

static void
what_is_below_another_edge_is_read_not_assumed(void **state)
{
	struct lineage l = lineage_of(7);

	(void)state;
	l.edge.parent[0] = 1;
	known_opened(w.known, 3, &l.task, &l.edge);
	assert_false(found_by_edge(7, 3));
}

static void
the_newest_leaf_of_a_parent_is_never_remembered(void **state)
{
	struct lineage l = lineage_of(7), found;
	struct held *held;

	(void)state;
	l.has_parent = true;
	l.parent = lineage_of(6).edge;
	l.parent_newest = 5000;
	known_keep(w.known, 3, &l);
	assert_true(known_by_edge(w.known, 3, l.edge.id, &found, &held));
	assert_true(found.has_parent);
	assert_memory_equal(found.parent.id, lineage_of(6).edge.id, EDGE_ID_LEN);
	assert_int_equal(found.parent_grant.n_entitlements, 1);
	assert_int_equal(found.parent_newest, 0);
	held_done(held);
}

static void
what_is_in_use_outlives_its_place(void **state)
{
	struct lineage l = lineage_of(0), found;
	struct held *held;

	(void)state;
	known_keep(w.known, 3, &l);
	assert_true(known_by_edge(w.known, 3, l.edge.id, &found, &held));
	for (unsigned n = 1; n <= 2 * KNOWN_SETS * KNOWN_WAYS; n++) {
		l = lineage_of(n);
		known_keep(w.known, 3, &l);
	}
	assert_false(found_by_edge(0, 3));
	assert_true(found_by_edge(2 * KNOWN_SETS * KNOWN_WAYS, 3));
	expect_bytes(found.task.id, WRIT_LIT("task-0"));
	held_done(held);
}

/* ---- threads ---- */

#define THREADS 3
#define TURNS 3000
#define EDGES 40 /* few: they meet */

struct reader {
	pthread_t thread;
	struct lineage lineages[EDGES];
	unsigned found, torn;
};

/* Keeps and finds, of two revisions; what it finds is whole while it holds it. */
static void *
read_on(void *arg)
{
	struct reader *r = arg;

	for (unsigned i = 0; i < TURNS; i++) {
		const struct lineage *l = &r->lineages[i % EDGES];
		const uint64_t revision = i / 7 % 2;
		struct lineage found;
		struct held *held;

		if (!known_by_edge(w.known, revision, l->edge.id, &found, &held)) {
			known_keep(w.known, revision, l);
			continue;
		}
		r->found++;
		if (!writ_equal(found.task.id, l->task.id) || found.task.ends != l->task.ends ||
		    found.grant.n_entitlements != 1 ||
		    !writ_equal(found.grant.audience.list[0], WRIT_LIT("https://erp.corp.example")))
			r->torn++;
		held_done(held);
	}
	return NULL;
}

static void
threads_find_what_others_kept_whole(void **state)
{
	static struct reader readers[THREADS];
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		readers[i].found = readers[i].torn = 0;
		for (unsigned n = 0; n < EDGES; n++)
			readers[i].lineages[n] = lineage_of(n);
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		found += readers[i].found;
		assert_int_equal(readers[i].torn, 0);
	}
	assert_true(found > 0);
}

int
main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, made, gone)
	const struct CMUnitTest tests[] = {
		CLAIM(what_was_kept_is_found_whole_by_its_edge_and_by_task_and_key),
		CLAIM(what_the_store_has_moved_on_from_is_not_found),
		CLAIM(another_task_with_the_same_key_is_not_found),
		CLAIM(a_task_just_opened_is_known_before_it_is_read),
		CLAIM(what_is_below_another_edge_is_read_not_assumed),
		CLAIM(the_newest_leaf_of_a_parent_is_never_remembered),
		CLAIM(what_is_in_use_outlives_its_place),
		CLAIM(threads_find_what_others_kept_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
