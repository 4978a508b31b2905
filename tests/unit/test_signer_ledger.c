/* The ledger: one end a serial, lists that lose nothing too early, and the same ledger again from the same calls. */
#include "issuer/signer/ledger.h"
#include "tests/unit/expect.h"

#define NOW INT64_C(1795467097)

static const uint8_t key_a[8] = "key-a", key_b[8] = "key-b";

static const uint8_t *
serial(unsigned n)
{
	static uint8_t room[16][16];
	static unsigned next;
	uint8_t *out = room[next++ % 16];

	memset(out, 0, 16);
	writ_put32(out, (uint32_t)(NOW / 60));
	writ_put32(out + 12, n);
	writ_put32(out + 8, n * 2654435761u); /* as even as random bytes */
	return out;
}

static struct ledger *
fresh(unsigned n)
{
	struct ledger *l;

	expect_ok(ledger_new(&l));
	for (unsigned i = 0; i < n; i++)
		expect_ok(ledger_issue(l, serial(i), key_a, 0, NOW + 300));
	return l;
}

static bool
end(struct ledger *l, unsigned n, enum ledger_state state, enum crl_reason reason)
{
	bool changed;

	expect_ok(ledger_end(l, serial(n), state, reason, NOW + 5, &changed));
	return changed;
}

static void
a_hundred_thousand_serials_are_found_and_no_other(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(100000);
	struct ledger_counts counts;
	struct ledger_row row;

	(void)state;
	for (unsigned i = 0; i < 100000; i += 7) {
		assert_true(ledger_find(l, serial(i), &row));
		assert_int_equal(row.state, LEDGER_ISSUED);
		assert_int_equal(row.not_after, NOW + 300);
		assert_memory_equal(row.key, key_a, 8);
	}
	for (unsigned i = 100000; i < 101000; i++)
		assert_false(ledger_find(l, serial(i), &row));
	ledger_count(l, &counts);
	assert_int_equal(counts.issued, 100000);
}

static void
a_serial_is_issued_once(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(1);

	(void)state;
	expect_refused(ledger_issue(l, serial(0), key_a, 0, NOW), WRIT_CONFLICT, "the ledger has this serial already");
}

static void
the_first_end_of_a_serial_stays(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(3);
	struct ledger_row row;

	(void)state;
	assert_true(end(l, 0, LEDGER_REVOKED, REASON_KEY_COMPROMISE));
	assert_false(end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED));
	assert_false(end(l, 0, LEDGER_ABORTED, REASON_UNSPECIFIED));
	assert_true(end(l, 1, LEDGER_ABORTED, REASON_UNSPECIFIED));
	assert_false(end(l, 1, LEDGER_REVOKED, REASON_KEY_COMPROMISE));
	assert_false(end(l, 77, LEDGER_REVOKED, REASON_KEY_COMPROMISE)); /* unknown */
	assert_true(ledger_find(l, serial(0), &row));
	assert_int_equal(row.state, LEDGER_REVOKED);
	assert_int_equal(row.reason, REASON_KEY_COMPROMISE);
	assert_int_equal(row.ended_at, NOW + 5);
	assert_true(ledger_find(l, serial(1), &row));
	assert_int_equal(row.state, LEDGER_ABORTED);
}

static size_t
n_listed(const struct ledger *l, const uint8_t key[8])
{
	struct ledger_list list;

	ledger_list(l, key, 0, &list);
	return list.n_entries;
}

static void
an_end_is_listed_by_its_own_ca_only(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(2);
	struct ledger_list list;

	(void)state;
	expect_ok(ledger_issue(l, serial(9), key_b, 0, NOW + 300));
	end(l, 9, LEDGER_REVOKED, REASON_SUPERSEDED);
	assert_int_equal(n_listed(l, key_a), 0);
	ledger_list(l, key_b, 0, &list);
	assert_int_equal(list.n_entries, 1);
	assert_int_equal(list.entries.len, 49); /* RFC 5280: serial, date, reason */
}

/* The journal has a list before it is signed: after a crash between the two nobody has seen the last one. */
static void
a_replayed_list_that_may_not_have_been_signed_forgets_nothing(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(1);

	(void)state;
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	ledger_listed_perhaps(l, key_a, 0, NOW + 200);
	ledger_listed_perhaps(l, key_a, 0, NOW + 301); /* the first one past its expiry */
	assert_int_equal(n_listed(l, key_a), 1);
	ledger_listed_perhaps(l, key_a, 0, NOW + 361); /* another: that one was made */
	assert_int_equal(n_listed(l, key_a), 0);
}

/* RFC 5280 3.3: it must appear on one list made after it expired. */
static void
an_entry_leaves_the_list_only_after_one_made_past_its_expiry(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(2);

	(void)state;
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	end(l, 1, LEDGER_ABORTED, REASON_UNSPECIFIED);
	assert_true(ledger_listed(l, key_a, 0, NOW + 300, SIZE_MAX));
	assert_int_equal(n_listed(l, key_a), 2);
	ledger_prune(l, NOW + 100000); /* the rows may go, the list stays */
	assert_int_equal(n_listed(l, key_a), 2);
	assert_true(ledger_listed(l, key_a, 0, NOW + 301, SIZE_MAX));
	assert_int_equal(n_listed(l, key_a), 0);
}

static void
what_stays_listed_keeps_its_bytes_in_order(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	AUTO(writ_buf_done) struct writ_buf want = WRIT_BUF(4096);
	struct ledger_list list;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		const enum crl_reason reason = i % 3 == 0 ? REASON_UNSPECIFIED : REASON_SUPERSEDED;

		expect_ok(ledger_issue(l, serial(i), key_a, 0, NOW + 10 + i % 2 * 100));
		end(l, i, LEDGER_REVOKED, reason);
		if (i % 2 == 1)
			expect_ok(crl_entry_write((struct writ_bytes){ serial(i), 16 }, NOW + 5, reason, &want));
	}
	assert_true(ledger_listed(l, key_a, 0, NOW + 50, SIZE_MAX));
	ledger_list(l, key_a, 0, &list);
	assert_int_equal(list.n_entries, 5);
	expect_bytes(list.entries, writ_view(&want));
}

static void
expired_rows_are_forgotten_a_while_after(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(3);
	struct ledger_row row;

	(void)state;
	ledger_prune(l, NOW + 300 + LEDGER_KEEP_S);
	assert_true(ledger_find(l, serial(1), &row));
	ledger_prune(l, NOW + 300 + LEDGER_KEEP_S + 1);
	assert_false(ledger_find(l, serial(1), &row));
}

static void
revoked_delegations_are_ascending_unique_and_forgotten(void **state)
{
	static const uint8_t ids[4][EDGE_ID] = { { 3 }, { 1 }, { 2 }, { 1 } };
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	struct ledger_list list;
	bool changed, listed;

	(void)state;
	for (size_t i = 0; i < N_OF(ids); i++) {
		expect_ok(ledger_edge(l, ids[i], NOW + (writ_time)i, &changed, &listed));
		assert_true(listed);
		assert_int_equal(changed, i < 3);
	}
	ledger_list(l, key_a, 0, &list);
	assert_int_equal(list.n_edges, 3);
	assert_int_equal(list.edges[0][0], 1);
	assert_int_equal(list.edges[1][0], 2);
	assert_int_equal(list.edges[2][0], 3);
	ledger_prune(l, NOW + LEDGER_EDGE_KEEP_S);
	ledger_list(l, key_a, 0, &list);
	assert_int_equal(list.n_edges, 3);
	ledger_prune(l, NOW + LEDGER_EDGE_KEEP_S + 1);
	ledger_list(l, key_a, 0, &list);
	assert_int_equal(list.n_edges, 2);
	assert_int_equal(list.edges[0][0], 1);
}

static void
what_the_list_has_no_room_for_is_taken_and_said_to_be_unlisted(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	struct ledger_list before, after;
	bool changed, listed;
	uint8_t id[EDGE_ID] = { 0 };

	(void)state;
	for (uint32_t i = 0; i <= LEDGER_EDGES_MAX; i++) {
		writ_put32(id, i);
		expect_ok(ledger_edge(l, id, i < 10 ? NOW : NOW + 5, &changed, &listed));
		assert_true(changed);
		assert_int_equal(listed, i < LEDGER_EDGES_MAX);
		if (i + 1 == LEDGER_EDGES_MAX)
			ledger_list(l, key_a, 0, &before);
	}
	ledger_list(l, key_a, 0, &after);
	assert_int_equal(after.n_edges, LEDGER_EDGES_MAX);
	assert_int_equal(after.changes, before.changes); /* so no list is signed for it */
	writ_put32(id, 3);
	expect_ok(ledger_edge(l, id, NOW, &changed, &listed));
	assert_false(changed); /* one that is listed, said again */
	ledger_prune(l, NOW + LEDGER_EDGE_KEEP_S + 1);
	writ_put32(id, LEDGER_EDGES_MAX);
	expect_ok(ledger_edge(l, id, NOW + 5, &changed, &listed));
	assert_true(changed && listed); /* the ten oldest have gone */
}

static void
every_change_shows_in_the_count_of_changes(void **state)
{
	static const uint8_t id[EDGE_ID] = { 1 };
	AUTO(ledger_freep) struct ledger *l = fresh(2);
	struct ledger_list before, after;
	bool changed, listed;

	(void)state;
	ledger_list(l, key_a, 0, &before);
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	ledger_list(l, key_a, 0, &after);
	assert_true(after.changes > before.changes);
	expect_ok(ledger_edge(l, id, NOW, &changed, &listed));
	ledger_list(l, key_a, 0, &before);
	assert_true(before.changes > after.changes);
}

static void
always_the_same(uint8_t *out, size_t len)
{
	memset(out, 7, len);
}

static unsigned draws;

static void
the_third_is_new(uint8_t *out, size_t len)
{
	memset(out, draws++ < 2 ? 7 : 8, len);
}

static void
a_serial_begins_with_the_minute_and_is_drawn_again_when_it_repeats(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	uint8_t out[16];

	(void)state;
	expect_ok(serial_draw(l, NOW, always_the_same, out));
	assert_int_equal(writ_get32(out), NOW / 60);
	expect_ok(ledger_issue(l, out, key_a, 0, NOW + 1));
	expect_ok(serial_draw(l, NOW, the_third_is_new, out));
	assert_int_equal(out[4], 8);
	expect_refused(serial_draw(l, NOW, always_the_same, out), WRIT_BROKEN,
		       "a serial of 96 random bits repeated 3 times: the random number generator has failed");
}

static size_t
n_in(const struct ledger *l, unsigned shard)
{
	struct ledger_list list;

	ledger_list(l, key_a, shard, &list);
	return list.n_entries;
}

static struct ledger_shards
shards_of(const struct ledger *l, writ_time now)
{
	struct ledger_shards shards;

	ledger_shards(l, key_a, now, &shards);
	return shards;
}

static void
a_leaf_is_listed_by_the_shard_that_it_was_issued_into_and_by_no_other(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(2);
	struct ledger_shards shards = shards_of(l, NOW);

	(void)state;
	assert_int_equal(shards.first, 0);
	assert_int_equal(shards.last, 0);
	assert_int_equal(shards.n_live, 2);
	expect_refused(ledger_issue(l, serial(7), key_a, 2, NOW + 300), WRIT_CONFLICT,
		       "shard 2 of an issuing key: there are 0 to 0");
	expect_ok(ledger_shard_begin(l, key_a));
	shards = shards_of(l, NOW);
	assert_int_equal(shards.last, 1);
	assert_int_equal(shards.n_live, 0);
	expect_ok(ledger_issue(l, serial(2), key_a, 1, NOW + 300));
	expect_ok(ledger_issue(l, serial(3), key_a, 0, NOW + 300)); /* built a moment before */
	assert_int_equal(shards_of(l, NOW).n_live, 1);
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	end(l, 2, LEDGER_REVOKED, REASON_SUPERSEDED);
	end(l, 3, LEDGER_ABORTED, REASON_UNSPECIFIED);
	assert_int_equal(n_in(l, 0), 2);
	assert_int_equal(n_in(l, 1), 1);
	assert_int_equal(n_in(l, 2), 0); /* there is none */
}

static void
what_has_expired_counts_for_no_shard(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(100);

	(void)state;
	assert_int_equal(shards_of(l, NOW + 300 + LEDGER_KEEP_S - 60).n_live, 100);
	assert_int_equal(shards_of(l, NOW + 300 + LEDGER_KEEP_S + 60).n_live, 0);
}

static void
a_shard_goes_when_its_last_list_was_made_past_its_last_expiry(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(2);
	struct ledger_row row;

	(void)state;
	expect_ok(ledger_shard_begin(l, key_a));
	expect_ok(ledger_issue(l, serial(2), key_a, 1, NOW + 600));
	expect_ok(ledger_shard_begin(l, key_a));
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	end(l, 2, LEDGER_REVOKED, REASON_SUPERSEDED);
	ledger_prune(l, NOW + 700); /* expired, and no list was made since */
	assert_int_equal(shards_of(l, NOW).first, 0);
	assert_true(ledger_listed(l, key_a, 0, NOW + 400, SIZE_MAX));
	ledger_prune(l, NOW + 700);
	assert_int_equal(shards_of(l, NOW).first, 1);
	assert_int_equal(n_in(l, 1), 1);
	assert_true(ledger_find(l, serial(0), &row)); /* rows of its minute are there still, and know their CA */
	assert_memory_equal(row.key, key_a, 8);
	expect_refused(ledger_issue(l, serial(7), key_a, 0, NOW + 300), WRIT_CONFLICT,
		       "shard 0 of an issuing key: there are 1 to 2");
	assert_true(ledger_listed(l, key_a, 1, NOW + 601, SIZE_MAX));
	ledger_prune(l, NOW + 10000);
	assert_int_equal(shards_of(l, NOW).first, 2); /* the last stays: it is issued into */
	assert_int_equal(shards_of(l, NOW).last, 2);
	assert_false(ledger_find(l, serial(0), &row));
	expect_ok(ledger_issue(l, serial(8), key_a, 2, NOW + 10300));
	assert_true(ledger_find(l, serial(8), &row));
}

/* The last list in a journal may not have been made: the shard that nobody can make one for goes in the end. */
static void
a_shard_that_no_list_was_made_of_goes_twenty_minutes_after_its_last_expiry(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(1);

	(void)state;
	end(l, 0, LEDGER_REVOKED, REASON_SUPERSEDED);
	expect_ok(ledger_shard_begin(l, key_a));
	ledger_prune(l, NOW + 300 + 1200);
	assert_int_equal(shards_of(l, NOW).first, 0);
	ledger_prune(l, NOW + 300 + 1201);
	assert_int_equal(shards_of(l, NOW).first, 1);
}

static void
a_journal_that_begins_with_a_later_shard_is_replayed_from_there(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);

	(void)state;
	expect_ok(ledger_issue(l, serial(1), key_a, 41, NOW + 300));
	expect_ok(ledger_issue(l, serial(2), key_a, 42, NOW + 300));
	assert_int_equal(shards_of(l, NOW).first, 41);
	assert_int_equal(shards_of(l, NOW).last, 42);
}

static void
after_shard_65535_there_is_none(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);

	(void)state;
	expect_ok(ledger_issue(l, serial(1), key_a, 65535, NOW + 300));
	expect_refused(ledger_shard_begin(l, key_a), WRIT_EXHAUSTED,
		       "shard 65536 of an issuing key: 65535 is the last that can be");
}

static void
places_of_shards_that_are_gone_are_taken_again(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	uint8_t id[16] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 60000; i++) { /* with 65,536 places, and one kept a minute, more than twice as many */
		const writ_time now = NOW + (writ_time)i * 60;

		writ_put32(id, (uint32_t)(now / 60));
		expect_ok(ledger_issue(l, id, key_a, i, now + 30));
		expect_ok(ledger_shard_begin(l, key_a));
		ledger_prune(l, now + 60);
	}
	assert_true(shards_of(l, NOW).first > 59900);
}

/* In slices, so that nobody waits for a million entries; what is revoked meanwhile is listed too. */
static void
a_list_forgets_in_slices_and_takes_what_comes_meanwhile(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(0);
	struct ledger_list list;
	unsigned slices = 1;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		expect_ok(ledger_issue(l, serial(i), key_a, 0, NOW + (i % 3 == 0 ? 300 : 600)));
	for (unsigned i = 0; i < 900; i++)
		end(l, i, i % 2 ? LEDGER_REVOKED : LEDGER_ABORTED, REASON_SUPERSEDED);
	assert_true(ledger_listed(l, key_a, 0, NOW + 300, 1)); /* nothing has expired: not even looked at */
	for (unsigned i = 900; !ledger_listed(l, key_a, 0, NOW + 301, 100); i++, slices++)
		end(l, i, LEDGER_REVOKED, REASON_SUPERSEDED);
	assert_int_equal(slices, 10);
	ledger_list(l, key_a, 0, &list);
	assert_int_equal(list.n_entries, 600 + 6); /* of the nine more, those that do not expire */
	assert_true(crl_find(&(struct crl){ .entries = list.entries }, (struct writ_bytes){ serial(901), 16 }, &(writ_time){ 0 },
			     &(enum crl_reason){ 0 }));
	assert_false(crl_find(&(struct crl){ .entries = list.entries }, (struct writ_bytes){ serial(900), 16 }, &(writ_time){ 0 },
			      &(enum crl_reason){ 0 }));
}

/* ---- told to a snapshot ---- */

struct told {
	struct ledger *again;
	size_t n_rows, n_edges;
};

static void
ca_again(const uint8_t key[8], unsigned first, unsigned n, void *ctx)
{
	struct told *told = ctx;

	expect_ok(ledger_ca(told->again, key, first, n));
}

static void
row_again(const uint8_t whose[16], unsigned shard, const struct ledger_row *row, void *ctx)
{
	struct told *told = ctx;
	bool changed;

	told->n_rows++;
	expect_ok(ledger_issue(told->again, whose, row->key, shard, row->not_after));
	if (row->state != LEDGER_ISSUED)
		expect_ok(ledger_end(told->again, whose, row->state, row->reason, row->ended_at, &changed));
}

static void
edge_again(const uint8_t id[EDGE_ID], writ_time at, void *ctx)
{
	struct told *told = ctx;
	bool changed, listed;

	told->n_edges++;
	expect_ok(ledger_edge(told->again, id, at, &changed, &listed));
}

static const struct ledger_hear hear_again = { .ca = ca_again, .row = row_again, .edge = edge_again };

static void
expect_same_list(const struct ledger *a, const struct ledger *b, const uint8_t key[8], unsigned shard, size_t n)
{
	struct ledger_list x, y;
	struct writ_bytes left;

	ledger_list(a, key, shard, &x);
	ledger_list(b, key, shard, &y);
	assert_int_equal(x.n_entries, n);
	assert_int_equal(y.n_entries, n);
	assert_int_equal(x.entries.len, y.entries.len);
	assert_int_equal(x.n_edges, y.n_edges);
	for (size_t i = 0; i < x.n_edges; i++)
		assert_memory_equal(x.edges[i], y.edges[i], EDGE_ID);
	for (left = x.entries; left.len > 0;) { /* order does not matter */
		const size_t len = 2 + (size_t)left.data[1];

		assert_non_null(memmem(y.entries.data, y.entries.len, left.data, len));
		left.data += len;
		left.len -= len;
	}
}

static void
what_is_told_makes_the_same_ledger_again_with_what_lists_still_owe(void **state)
{
	AUTO(ledger_freep) struct ledger *l = fresh(1000);
	AUTO(ledger_freep) struct ledger *again = NULL;
	struct ledger_counts was, is;
	struct told told = { 0 };
	bool changed, listed;
	uint8_t id[EDGE_ID] = { 1 };

	(void)state;
	for (unsigned n = 0; n < 1000; n += 10)
		assert_true(end(l, n, n % 20 ? LEDGER_REVOKED : LEDGER_ABORTED, n % 20 ? REASON_SUPERSEDED : REASON_UNSPECIFIED));
	for (; id[0] < 5; id[0]++)
		expect_ok(ledger_edge(l, id, NOW + 700, &changed, &listed));
	ledger_prune(l, NOW + 300 + LEDGER_KEEP_S + 120); /* no list was made since: the rows go, their entries do not */
	for (unsigned n = 2000; n < 2010; n++) {
		uint8_t late[16];

		memcpy(late, serial(n), sizeof(late));
		writ_put32(late, (uint32_t)(NOW / 60 + 10));
		expect_ok(ledger_issue(l, late, key_b, n > 2006 ? 1 : 0, NOW + 1200));
		if (n == 2005 || n > 2007)
			expect_ok(ledger_end(l, late, LEDGER_REVOKED, REASON_KEY_COMPROMISE, NOW + 700, &changed));
	}
	expect_ok(ledger_new(&again));
	told.again = again;
	assert_true(ledger_rows_max(l) >= 110);
	assert_int_equal(ledger_edges(l), 4);
	ledger_tell(l, &hear_again, &told);
	assert_int_equal(told.n_rows, 110);
	assert_int_equal(told.n_edges, 4);
	expect_same_list(l, again, key_a, 0, 100);
	expect_same_list(l, again, key_b, 0, 1);
	expect_same_list(l, again, key_b, 1, 2);
	ledger_prune(again, NOW + 300 + LEDGER_KEEP_S + 120);
	ledger_count(l, &was);
	ledger_count(again, &is);
	assert_int_equal(is.issued, was.issued);
	assert_int_equal(is.ended, was.ended);
	assert_int_equal(ledger_last(again, key_b), ledger_last(l, key_b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_thousand_serials_are_found_and_no_other),
		cmocka_unit_test(a_serial_is_issued_once),
		cmocka_unit_test(the_first_end_of_a_serial_stays),
		cmocka_unit_test(an_end_is_listed_by_its_own_ca_only),
		cmocka_unit_test(an_entry_leaves_the_list_only_after_one_made_past_its_expiry),
		cmocka_unit_test(a_replayed_list_that_may_not_have_been_signed_forgets_nothing),
		cmocka_unit_test(what_stays_listed_keeps_its_bytes_in_order),
		cmocka_unit_test(expired_rows_are_forgotten_a_while_after),
		cmocka_unit_test(revoked_delegations_are_ascending_unique_and_forgotten),
		cmocka_unit_test(what_the_list_has_no_room_for_is_taken_and_said_to_be_unlisted),
		cmocka_unit_test(every_change_shows_in_the_count_of_changes),
		cmocka_unit_test(a_leaf_is_listed_by_the_shard_that_it_was_issued_into_and_by_no_other),
		cmocka_unit_test(what_has_expired_counts_for_no_shard),
		cmocka_unit_test(a_shard_goes_when_its_last_list_was_made_past_its_last_expiry),
		cmocka_unit_test(a_shard_that_no_list_was_made_of_goes_twenty_minutes_after_its_last_expiry),
		cmocka_unit_test(a_journal_that_begins_with_a_later_shard_is_replayed_from_there),
		cmocka_unit_test(after_shard_65535_there_is_none),
		cmocka_unit_test(places_of_shards_that_are_gone_are_taken_again),
		cmocka_unit_test(a_list_forgets_in_slices_and_takes_what_comes_meanwhile),
		cmocka_unit_test(what_is_told_makes_the_same_ledger_again_with_what_lists_still_owe),
		cmocka_unit_test(a_serial_begins_with_the_minute_and_is_drawn_again_when_it_repeats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
