/*
 * The parts of the status room, each alone: the table (also with a writer and readers at once: run it under TSan too),
 * the cache, OCSP over GET.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/status/cache.h"
#include "issuer/status/ocsp_get.h"
#include "issuer/status/status.h"

#define MINUTE 29000000u
#define BEGAN ((writ_time)MINUTE * 60)

static void
must(struct writ_err *err)
{
	char text[1000];

	if (err)
		fail_msg("%s", writ_err_text(err, text, sizeof(text)));
}

static void
refused(struct writ_err *err, enum writ_code code, const char *message)
{
	assert_non_null(err);
	assert_int_equal(err->code, code);
	assert_string_equal(err->message, message);
	writ_err_free(err);
}

struct serial {
	uint8_t bytes[16];
};

/* Any number gives another serial; its random part is spread as the signer's is. */
static struct serial
serial_of(uint32_t minute, uint32_t n)
{
	struct serial s;
	uint8_t digest[SHA256_LEN], seed[4];

	writ_put32(seed, n);
	writ_sha256((struct writ_bytes){ seed, 4 }, digest);
	writ_put32(s.bytes, minute);
	memcpy(s.bytes + 4, digest, 12);
	return s;
}

/* ---- the table ---- */

static void
what_was_never_set_is_unknown(void **state)
{
	struct status_table *table;
	struct serial s = serial_of(MINUTE, 1), other_minute = serial_of(MINUTE + 1, 1), other = serial_of(MINUTE, 2);

	(void)state;
	must(status_table_new(1, &table));
	assert_int_equal(status_find(table, 0, s.bytes).state, STATUS_UNKNOWN);
	must(status_set(table, s.bytes, STATUS_GOOD, BEGAN + 300));
	assert_int_equal(status_find(table, 0, s.bytes).state, STATUS_GOOD);
	assert_int_equal(status_find(table, 0, s.bytes).not_after, BEGAN + 300);
	assert_int_equal(status_find(table, 0, other.bytes).state, STATUS_UNKNOWN);
	assert_int_equal(status_find(table, 0, other_minute.bytes).state, STATUS_UNKNOWN);
	writ_put32(s.bytes, MINUTE + 1024); /* the same place in the ring */
	assert_int_equal(status_find(table, 0, s.bytes).state, STATUS_UNKNOWN);
	status_table_free(table);
}

static void
revoked_raises_the_generation_and_never_becomes_good_again(void **state)
{
	const struct serial s = serial_of(MINUTE, 1);
	struct status_table *table;
	struct status_entry good, revoked;
	struct status_counts counts;

	(void)state;
	must(status_table_new(1, &table));
	must(status_set(table, s.bytes, STATUS_GOOD, BEGAN + 300));
	good = status_find(table, 0, s.bytes);
	must(status_set(table, s.bytes, STATUS_GOOD, BEGAN + 300));
	assert_int_equal(status_find(table, 0, s.bytes).generation, good.generation);
	must(status_set(table, s.bytes, STATUS_REVOKED, BEGAN + 300));
	revoked = status_find(table, 0, s.bytes);
	assert_int_equal(revoked.state, STATUS_REVOKED);
	assert_true(revoked.generation > good.generation);
	must(status_set(table, s.bytes, STATUS_GOOD, BEGAN + 300));
	assert_int_equal(status_find(table, 0, s.bytes).state, STATUS_REVOKED);
	assert_int_equal(status_find(table, 0, s.bytes).generation, revoked.generation);
	status_counts(table, &counts);
	assert_int_equal(counts.good, 0);
	assert_int_equal(counts.revoked, 1);
	refused(status_set(table, s.bytes, STATUS_UNKNOWN, BEGAN), WRIT_BROKEN,
		"a serial's status cannot be set to unknown");
	status_table_free(table);
}

static void
a_page_that_grows_loses_nothing_and_stays_below_100_bytes_a_serial(void **state)
{
	enum { N = 20000 };
	struct status_table *table;
	struct status_counts counts;

	(void)state;
	must(status_table_new(1, &table));
	for (uint32_t i = 0; i < N; i++) {
		must(status_set(table, serial_of(MINUTE, i).bytes, STATUS_GOOD, BEGAN + 300));
		if (i % 3 == 0)
			must(status_set(table, serial_of(MINUTE, i).bytes, STATUS_REVOKED, BEGAN + 300));
	}
	status_quiet(table, 0);
	status_prune(table, BEGAN);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(status_find(table, 0, serial_of(MINUTE, i).bytes).state,
				 i % 3 == 0 ? STATUS_REVOKED : STATUS_GOOD);
	for (uint32_t i = N; i < 2 * N; i++)
		assert_int_equal(status_find(table, 0, serial_of(MINUTE, i).bytes).state, STATUS_UNKNOWN);
	status_counts(table, &counts);
	assert_int_equal(counts.good + counts.revoked, N);
	print_message("%.1f bytes a serial\n", (double)counts.bytes / N);
	assert_true(counts.bytes < 100 * N);
	status_table_free(table);
}

static void
a_minute_is_dropped_when_all_in_it_has_expired_and_freed_when_readers_have_moved_on(void **state)
{
	const struct serial first = serial_of(MINUTE, 1), last = serial_of(MINUTE, 2), next = serial_of(MINUTE + 1, 3);
	struct status_table *table;
	struct status_counts before, counts;

	(void)state;
	must(status_table_new(2, &table));
	must(status_set(table, first.bytes, STATUS_GOOD, BEGAN + 100));
	must(status_set(table, last.bytes, STATUS_REVOKED, BEGAN + 900));
	must(status_set(table, next.bytes, STATUS_GOOD, BEGAN + 1000));
	status_prune(table, BEGAN + 960);
	assert_int_equal(status_find(table, 0, first.bytes).state, STATUS_GOOD); /* expired, and its time says so */
	status_counts(table, &before);
	status_prune(table, BEGAN + 961);
	assert_int_equal(status_find(table, 0, first.bytes).state, STATUS_UNKNOWN);
	assert_int_equal(status_find(table, 0, last.bytes).state, STATUS_UNKNOWN);
	assert_int_equal(status_find(table, 0, next.bytes).state, STATUS_GOOD);
	status_counts(table, &counts);
	assert_int_equal(counts.good, 1);
	assert_int_equal(counts.revoked, 0);
	assert_int_equal(counts.bytes, before.bytes); /* a reader may still be inside */
	status_quiet(table, 0);
	status_prune(table, BEGAN + 961);
	status_counts(table, &counts);
	assert_int_equal(counts.bytes, before.bytes); /* the other one */
	status_quiet(table, 1);
	status_prune(table, BEGAN + 961);
	status_counts(table, &counts);
	assert_int_equal(counts.bytes, before.bytes / 2);
	status_table_free(table);
}

static void
serials_too_far_apart_are_refused_not_mixed_up(void **state)
{
	struct status_table *table;

	(void)state;
	must(status_table_new(1, &table));
	must(status_set(table, serial_of(MINUTE, 1).bytes, STATUS_GOOD, BEGAN + 300));
	refused(status_set(table, serial_of(MINUTE + 1024, 2).bytes, STATUS_GOOD, BEGAN + 300), WRIT_EXHAUSTED,
		"serials of minutes 29000000 and 29001024 are more than the 1024 minutes apart that are kept");
	status_table_free(table);
}

#define RACE_N 3000u
#define RACE_READERS 2

struct race {
	struct status_table *table;
	atomic_uint n_set, n_revoked; /* set, and revoked, up to here */
	atomic_bool over;
	atomic_bool wrong;
};

struct race_reader {
	struct race *race;
	unsigned number;
};

static void *
race_read(void *arg)
{
	const struct race_reader *reader = arg;
	struct race *race = reader->race;
	uint32_t n = reader->number;

	while (!atomic_load(&race->over)) {
		for (unsigned i = 0; i < 50; i++) {
			/* What was acknowledged before we look must be seen (I8). */
			const unsigned revoked = atomic_load(&race->n_revoked), set = atomic_load(&race->n_set);
			struct status_entry entry;

			n = n * 1664525 + 1013904223;
			entry = status_find(race->table, reader->number,
					    serial_of(MINUTE + n % RACE_N / 1000, n % RACE_N).bytes);
			if (n % RACE_N < revoked && entry.state != STATUS_REVOKED)
				atomic_store(&race->wrong, true);
			if (n % RACE_N < set && entry.state == STATUS_UNKNOWN)
				atomic_store(&race->wrong, true);
			if (entry.state != STATUS_UNKNOWN && entry.not_after != BEGAN + 900)
				atomic_store(&race->wrong, true);
			(void)status_find(race->table, reader->number,
					  serial_of(MINUTE + 100 + n % 8, n % RACE_N).bytes);
		}
		status_quiet(race->table, reader->number);
	}
	return NULL;
}

static void
readers_and_the_writer_at_once_see_only_what_is_true(void **state)
{
	struct race race = { 0 };
	struct race_reader readers[RACE_READERS];
	pthread_t threads[RACE_READERS];
	struct status_counts counts;

	(void)state;
	must(status_table_new(RACE_READERS, &race.table));
	for (unsigned i = 0; i < RACE_READERS; i++) {
		readers[i] = (struct race_reader){ &race, i };
		pthread_create(&threads[i], NULL, race_read, &readers[i]);
	}
	for (uint32_t i = 0; i < RACE_N; i++) {
		must(status_set(race.table, serial_of(MINUTE + i / 1000, i).bytes, STATUS_GOOD, BEGAN + 900));
		atomic_store(&race.n_set, i + 1);
		if (i >= 100) {
			must(status_set(race.table, serial_of(MINUTE + (i - 100) / 1000, i - 100).bytes, STATUS_REVOKED,
					BEGAN + 900));
			atomic_store(&race.n_revoked, i - 99);
		}
		/* Minutes that come and go under the readers' eyes. */
		must(status_set(race.table, serial_of(MINUTE + 100 + i % 8, i).bytes, STATUS_GOOD, BEGAN));
		if (i % 64 == 0)
			status_prune(race.table, BEGAN + 100);
	}
	atomic_store(&race.over, true);
	for (unsigned i = 0; i < RACE_READERS; i++) {
		pthread_join(threads[i], NULL);
		status_quiet(race.table, i);
	}
	assert_false(atomic_load(&race.wrong));
	status_prune(race.table, BEGAN + 961);
	status_counts(race.table, &counts);
	assert_int_equal(counts.good + counts.revoked, 0);
	status_table_free(race.table);
}

/* ---- the cache ---- */

static struct writ_bytes
id_of(uint32_t n, uint8_t id[8])
{
	writ_put32(id, n);
	writ_put32(id + 4, ~n);
	return (struct writ_bytes){ id, 8 };
}

static void
a_cache_gives_back_what_was_put_last_and_forgets_the_oldest(void **state)
{
	enum { N = 5000, IDS = 200 };
	static uint8_t response[3000];
	uint32_t last_len[IDS] = { 0 };
	struct cache *cache;
	unsigned found = 0;
	uint8_t id[8];
	uint32_t random = 1;

	(void)state;
	must(cache_new(64 * 1024, &cache));
	for (uint32_t i = 0; i < N; i++) {
		uint32_t n;
		struct cached *record;

		random = random * 1664525 + 1013904223;
		n = (random >> 8) % IDS;
		last_len[n] = 100 + (random >> 16) % 2900;
		memset(response, (int)(n ^ last_len[n]) & 0xff, last_len[n]);
		/* Few buckets' worth of hashes, so that chains are walked and cut. */
		record = cache_put(cache, n % 7, id_of(n, id), (struct writ_bytes){ response, last_len[n] });
		assert_non_null(record);
		assert_ptr_equal(cache_find(cache, n % 7, id_of(n, id)), record);
		for (uint32_t m = 0; m < IDS; m++) {
			record = cache_find(cache, m % 7, id_of(m, id));
			if (!record)
				continue;
			found++;
			assert_int_equal(record->response_len, last_len[m]);
			assert_int_equal(cached_response(record)[0], (m ^ last_len[m]) & 0xff);
			assert_int_equal(cached_response(record)[last_len[m] - 1], (m ^ last_len[m]) & 0xff);
		}
		if (i % 5 == 0) {
			record = cache_find(cache, n % 7, id_of(n, id));
			cache_drop(cache, record);
			assert_null(cache_find(cache, n % 7, id_of(n, id)));
		}
	}
	assert_in_range(found / N, 15, 43); /* 64 KiB hold so many of about 1,550 bytes, some of them outdated */
	assert_null(cache_put(cache, 0, id_of(0, id), (struct writ_bytes){ response, 100 * 1024 }));
	cache_free(cache);
}

static void
a_response_larger_than_the_cache_is_not_kept(void **state)
{
	static uint8_t large[70000];
	struct cache *cache;
	uint8_t id[8];

	(void)state;
	must(cache_new(0, &cache)); /* the least there is: 64 KiB */
	assert_null(cache_put(cache, 1, id_of(1, id), (struct writ_bytes){ large, sizeof(large) }));
	assert_non_null(cache_put(cache, 1, id_of(1, id), (struct writ_bytes){ large, 65000 }));
	assert_non_null(cache_put(cache, 2, id_of(2, id), (struct writ_bytes){ large, 65000 }));
	assert_null(cache_find(cache, 1, id_of(1, id)));
	cache_free(cache);
}

/* ---- OCSP over GET ---- */

struct get_case {
	const char *name, *text, *hex, *message; /* hex: what it decodes to; or message */
};

static const struct get_case get_cases[] = {
	{ "plain", "MAQCAgP7", "3004020203fb", NULL },
	{ "with both special letters", "MAX+/w==", "3005feff", NULL },
	{ "escaped", "MAX%2B%2Fw%3D%3D", "3005feff", NULL },
	{ "escaped in lower case", "MAX%2b%2fw%3d%3d", "3005feff", NULL },
	{ "every letter escaped", "%4D%41%58%2B%2F%77%3D%3D", "3005feff", NULL },
	{ "without padding", "MAX+/w", "3005feff", NULL },
	{ "a slash too many before it", "/MAX+/w==", "3005feff", NULL },
	{ "slashes inside are letters", "MA////8=", "300fffffff", NULL },
	{ "a plus that became a space", "MAX%20/w==", "3005feff", NULL },
	{ "nothing", "", NULL, "OCSP over GET: no request in the path" },
	{ "nothing but the slash", "/", NULL, "OCSP over GET: no request in the path" },
	{ "escaped twice", "MAX%252B%252Fw%253D", NULL, "OCSP over GET" },
	{ "an escape without digits", "MAX%2", NULL, "OCSP over GET: a '%' without two hex digits" },
	{ "an escape of other letters", "MAX%2Gw", NULL, "OCSP over GET: a '%' without two hex digits" },
	{ "the URL alphabet", "MAX-_w==", NULL, "OCSP over GET" },
	{ "too much padding", "MAX+/w===", NULL, "OCSP over GET" },
	{ "padding inside", "MAX=+/w=", NULL, "OCSP over GET" },
	{ "spare bits", "MAX+/x==", NULL, "OCSP over GET" },
	{ "a lone letter", "MAQCA", NULL, "OCSP over GET" },
	{ "junk", "!!!!", NULL, "OCSP over GET" },
	{ "dots", "../crl", NULL, "OCSP over GET" },
	{ "NUL, escaped", "MAX%00", NULL, "OCSP over GET" },
};

static void
every_form_of_a_get_is_read_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(get_cases); i++) {
		AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(100);
		AUTO(writ_err_freep) struct writ_err *err = ocsp_get_decode(writ_str(get_cases[i].text), &der);
		char hex[201];

		if (get_cases[i].message) {
			if (!err || strcmp(err->message, get_cases[i].message) != 0)
				fail_msg("%s: '%s'", get_cases[i].name, err ? err->message : "accepted");
			assert_int_equal(der.len, 0);
			continue;
		}
		if (err || strcmp(writ_hex(writ_view(&der), hex), get_cases[i].hex) != 0)
			fail_msg("%s: %s", get_cases[i].name, err ? err->message : hex);
	}
}

static void
a_get_is_measured_before_it_is_decoded(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_GET_MAX);
	uint8_t text[OCSP_GET_MAX + 1];

	(void)state;
	memset(text, 'M', sizeof(text));
	must(ocsp_get_decode((struct writ_bytes){ text, OCSP_GET_MAX }, &der));
	assert_int_equal(der.len, OCSP_GET_MAX / 4 * 3);
	refused(ocsp_get_decode((struct writ_bytes){ text, OCSP_GET_MAX + 1 }, &der), WRIT_INVALID,
		"OCSP over GET: 1025 characters, at most 1024 are read: use POST");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_never_set_is_unknown),
		cmocka_unit_test(revoked_raises_the_generation_and_never_becomes_good_again),
		cmocka_unit_test(a_page_that_grows_loses_nothing_and_stays_below_100_bytes_a_serial),
		cmocka_unit_test(a_minute_is_dropped_when_all_in_it_has_expired_and_freed_when_readers_have_moved_on),
		cmocka_unit_test(serials_too_far_apart_are_refused_not_mixed_up),
		cmocka_unit_test(readers_and_the_writer_at_once_see_only_what_is_true),
		cmocka_unit_test(a_cache_gives_back_what_was_put_last_and_forgets_the_oldest),
		cmocka_unit_test(a_response_larger_than_the_cache_is_not_kept),
		cmocka_unit_test(every_form_of_a_get_is_read_or_refused),
		cmocka_unit_test(a_get_is_measured_before_it_is_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
