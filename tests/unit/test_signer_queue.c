/* The queue for the device: turns by delegator and agent, and who gives way when there is no room. */
#include "issuer/signer/queue.h"
#include "tests/unit/expect.h"

static struct queue queue;
static struct queue_item room[QUEUE_MAX + 1];
static size_t n_room;

/* "Aa": delegator A, agent a, over connection 0; the item's number is its place in the script. */
static struct queue_item *
item(const char *name)
{
	struct queue_item *i = &room[n_room++];

	*i = (struct queue_item){ .root = (uint64_t)name[0],
				  .agent = (uint64_t)name[1],
				  .from = &room[name[2] ? name[2] - '0' : 0] };
	return i;
}

static void
fill(const char *const *names)
{
	queue = (struct queue){ 0 };
	n_room = 0;
	for (; *names; names++)
		queue_add(&queue, item(*names));
}

/* Takes all; their numbers in the order in which they were taken. */
static void
expect_order(const char *want)
{
	char got[8 * QUEUE_MAX] = "";
	const struct queue_item *next;

	while ((next = queue_take(&queue)))
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%zu", got[0] ? " " : "",
			 (size_t)(next - room));
	assert_string_equal(got, want);
	assert_int_equal(queue.n, 0);
}

static void
one_asker_is_served_in_order(void **state)
{
	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Aa", NULL });
	expect_order("0 1 2");
	assert_null(queue_take(&queue));
}

static void
delegators_take_turns_whoever_asked_most(void **state)
{
	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Aa", "Aa", "Ba", "Ca", "Ba", NULL });
	expect_order("0 4 5 1 6 2 3");
}

static void
agents_of_one_delegator_take_turns_within_its_turn(void **state)
{
	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Aa", "Ab", "Ba", "Ba", "Bb", NULL });
	/*                           0     1     2     3     4     5     6 */
	expect_order("0 4 3 6 1 5 2");
}

static void
an_agent_of_two_delegators_has_a_turn_of_each(void **state)
{
	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Ba", NULL });
	expect_order("0 2 1");
}

static void
who_comes_new_waits_for_one_leaf_of_each_before_it_and_no_more(void **state)
{
	const struct queue_item *fresh;
	size_t waited = 0;

	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Aa", "Aa", "Ba", "Ba", "Ba", "Ca", NULL });
	assert_ptr_equal(queue_take(&queue), &room[0]);
	fresh = item("Da");
	queue_add(&queue, &room[8]);
	while (queue_take(&queue) != fresh)
		waited++;
	assert_int_equal(waited, 3); /* one each of B, C and A */
}

/* A flood that asks anew whenever it is served gets every second turn from one that does the same, and starves nobody.
 */
static void
coming_back_at_once_gains_nothing(void **state)
{
	const struct queue_item *next;
	unsigned a = 0, b = 0;

	(void)state;
	fill((const char *const[]){ "Aa", "Aa", "Aa", "Ba", NULL });
	for (unsigned i = 0; i < 100; i++) {
		next = queue_take(&queue);
		a += next->root == 'A';
		b += next->root == 'B';
		n_room = 10 + i;
		queue_add(&queue, item(next->root == 'A' ? "Aa" : "Ba"));
	}
	assert_int_equal(a, 50);
	assert_int_equal(b, 50);
}

static void
a_queue_of_the_most_that_it_holds_serves_all(void **state)
{
	(void)state;
	fill((const char *const[]){ NULL });
	for (size_t i = 0; i < QUEUE_MAX; i++)
		queue_add(&queue, item(i % 2 ? "Aa" : "Bb"));
	for (size_t i = 0; i < QUEUE_MAX; i++)
		assert_non_null(queue_take(&queue));
	assert_null(queue_take(&queue));
}

static const struct loser {
	const char *what;
	const char *const *waiting;
	const char *comes;
	int loses; /* number of an item; -1: who comes */
	int from;  /* connection; -1: any */
} losers[] = {
	{ "alone it gives way itself", (const char *const[]){ "Aa", "Aa", NULL }, "Aa", -1, -1 },
	{ "the newest leaf of the flood makes room for another delegator",
	  (const char *const[]){ "Aa", "Aa", "Aa", NULL }, "Ba", 2, -1 },
	{ "a flood makes no room for itself", (const char *const[]){ "Aa", "Aa", "Ba", NULL }, "Aa", -1, -1 },
	{ "of equals who comes gives way", (const char *const[]){ "Aa", "Ba", NULL }, "Ca", -1, -1 },
	{ "as many as the flood counts who comes in", (const char *const[]){ "Aa", "Aa", "Ba", NULL }, "Ba", -1, -1 },
	{ "one less than the flood has it comes in", (const char *const[]){ "Aa", "Aa", "Aa", "Ba", NULL }, "Ba", 2,
	  -1 },
	{ "an agent's flood makes room for another agent of its delegator",
	  (const char *const[]){ "Aa", "Aa", "Aa", NULL }, "Ab", 2, -1 },
	{ "of a flood's agents the one with most gives way",
	  (const char *const[]){ "Aa", "Ab", "Ab", "Aa", "Ab", "Ba", NULL }, "Ba", 4, -1 },
	{ "a delegator with many agents is one delegator", (const char *const[]){ "Aa", "Ab", "Ac", NULL }, "Bx", 2,
	  -1 },
	{ "of two floods the greater gives way", (const char *const[]){ "Aa", "Aa", "Ba", "Ba", "Ba", NULL }, "Ca", 4,
	  -1 },
	{ "where a connection is full one of its own gives way",
	  (const char *const[]){ "Aa0", "Aa0", "Aa1", "Aa1", NULL }, "Ba0", 1, 0 },
	{ "and the flood's newest leaf on it, not on another",
	  (const char *const[]){ "Aa0", "Ba1", "Aa0", "Aa1", "Aa1", NULL }, "Ba0", 2, 0 },
	{ "with nothing of the flood on it, who comes", (const char *const[]){ "Ba0", "Aa1", "Aa1", "Aa1", NULL },
	  "Ca0", -1, 0 },
};

static void
whoever_has_most_waiting_gives_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(losers) / sizeof(losers[0]); i++) {
		const struct loser *l = &losers[i];
		struct queue_item *comes;
		const struct queue_item *loses;

		fill(l->waiting);
		comes = item(l->comes);
		loses = queue_loser(&queue, comes, l->from < 0 ? NULL : &room[l->from]);
		if (loses != (l->loses < 0 ? comes : &room[l->loses]))
			fail_msg("%s: item %d of %zu gives way", l->what, (int)(loses - room), queue.n);
	}
}

/* However often room is made, it comes to equal shares, and stays there. */
static void
making_room_ends_in_equal_shares(void **state)
{
	static struct queue_item newcomer;

	(void)state;
	fill((const char *const[]){ NULL });
	for (size_t i = 0; i < 30; i++)
		queue_add(&queue, item("Aa"));
	for (unsigned i = 0; i < 200; i++) {
		struct queue_item *comes = &newcomer, *loses;

		*comes = (struct queue_item){ .root = (uint64_t)('A' + i % 3), .agent = 'a' };
		loses = queue_loser(&queue, comes, NULL);
		if (loses == comes)
			continue;
		queue_remove(&queue, loses);
		*loses = *comes;
		queue_add(&queue, loses);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(queue_of_root(&queue, (uint64_t)('A' + i)), 10);
}

static void
what_was_taken_out_is_gone(void **state)
{
	(void)state;
	fill((const char *const[]){ "Aa", "Ba1", "Aa", NULL });
	assert_int_equal(queue_from(&queue, &room[0]), 2);
	queue_remove(&queue, &room[0]);
	queue_remove(&queue, &room[0]); /* twice is once */
	assert_int_equal(queue_from(&queue, &room[0]), 1);
	assert_int_equal(queue_of_root(&queue, 'A'), 1);
	expect_order("2 1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_asker_is_served_in_order),
		cmocka_unit_test(delegators_take_turns_whoever_asked_most),
		cmocka_unit_test(agents_of_one_delegator_take_turns_within_its_turn),
		cmocka_unit_test(an_agent_of_two_delegators_has_a_turn_of_each),
		cmocka_unit_test(who_comes_new_waits_for_one_leaf_of_each_before_it_and_no_more),
		cmocka_unit_test(coming_back_at_once_gains_nothing),
		cmocka_unit_test(a_queue_of_the_most_that_it_holds_serves_all),
		cmocka_unit_test(whoever_has_most_waiting_gives_way),
		cmocka_unit_test(making_room_ends_in_equal_shares),
		cmocka_unit_test(what_was_taken_out_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
