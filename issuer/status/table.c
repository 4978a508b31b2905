/*
 * The status table: which serials are good and which revoked, for readers that never wait.
 *
 * Terms: a serial is its minute, 4 bytes, and 12 random bytes.  A page holds the serials of one minute, by open
 * addressing on the random bytes (they are the signer's random numbers, so they are their own hash).  The ring holds
 * the pages of RING minutes.
 *
 * - (1) One thread writes.  Readers take no lock and never see half an entry: an entry's state is stored last, with
 * release.
 * - (2) An entry, once there, keeps its serial for the page's life; only its state and time change.
 * - (3) A page is replaced by a larger copy, or dropped when all in it has expired, by one store; the old one is freed
 * only when every reader has called status_quiet() since.  The ring and the readers' counters are read and written in
 * one order for all (sequentially consistent): a reader whose count the writer missed finds the new page.
 * - (4) Revoked never becomes good again (I8).  What is not there is unknown, never good (I9).
 */
#include "issuer/status/status.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "issuer/status/changes.h"

#define RING 1024	 /* minutes: 17 h, far more than the 15 min of a leaf and the clock's errors */
#define PAGE_FIRST 64	 /* entries */
#define PRUNE_AFTER_S 60 /* after expiry: longer than two parties' clocks differ */
#define RANDOM_LEN 12

/* Of entry.word: the state in the low bits, above it how often it has changed. */
#define WORD_STATE 3u
#define WORD_CHANGE 4u
#define CHANGES_MAX 2u /* of one entry: good, revoked */

struct entry {
	uint8_t random[RANDOM_LEN];
	_Atomic uint32_t life_s; /* notAfter, seconds after the page's minute; UINT32_MAX: that much or more */
	_Atomic uint32_t word;	 /* 0: nothing here */
};

struct page {
	uint32_t minute;
	size_t mask, n; /* entries there is room for, less one; entries there are */
	size_t n_good;
	writ_time last_not_after;
	struct page *next_old; /* while it waits to be freed: */
	uint64_t *old_quiet;   /* each reader's count when it was taken out */
	struct entry entries[];
};

/* A reader's counter stands alone in its cache line: it is written at each of its wake-ups. */
struct reader {
	_Alignas(64) _Atomic uint64_t quiet;
};

struct status_table {
	_Atomic(struct page *) ring[RING];
	unsigned n_readers;
	struct reader *readers;
	struct page *old; /* the writer's */
	struct status_changes *followed; /* NULL: by nobody */
	uint32_t first_word;		 /* of an entry: its changes begin above it */
	_Atomic uint64_t good, revoked, bytes;
};

struct writ_err *
status_table_new(unsigned n_readers, struct status_table **ret)
{
	struct status_table *table = calloc(1, sizeof(*table));

	if (!table)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the status table");
	table->n_readers = n_readers;
	table->readers = aligned_alloc(64, sizeof(*table->readers) * (n_readers > 0 ? n_readers : 1));
	if (!table->readers) {
		free(table);
		return writ_fail(WRIT_EXHAUSTED, "no memory for the status table's %u readers", n_readers);
	}
	for (unsigned i = 0; i < n_readers; i++)
		atomic_init(&table->readers[i].quiet, 0);
	*ret = table;
	return NULL;
}

static void
page_free(struct page *page)
{
	if (page)
		free(page->old_quiet);
	free(page);
}

/* Two changes further, so that a generation of one table says nothing of an entry of the other. */
struct writ_err *
status_table_after(const struct status_table *before, struct status_table **ret)
{
	struct writ_err *err = status_table_new(before->n_readers, ret);

	if (!err)
		(*ret)->first_word = before->first_word + CHANGES_MAX * WORD_CHANGE;
	return err;
}

void
status_follow(struct status_table *table, struct status_changes *changes)
{
	table->followed = changes;
}

void
status_table_free(struct status_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < RING; i++)
		page_free(atomic_load(&table->ring[i]));
	while (table->old) {
		struct page *next = table->old->next_old;

		page_free(table->old);
		table->old = next;
	}
	free(table->readers);
	free(table);
}

static size_t
page_bytes(const struct page *page)
{
	return sizeof(*page) + (page->mask + 1) * sizeof(page->entries[0]);
}

/* What is needed to retire it stands ready from the start: retiring cannot fail. */
static struct page *
page_new(const struct status_table *table, uint32_t minute, size_t size)
{
	struct page *page = calloc(1, sizeof(*page) + size * sizeof(page->entries[0]));

	if (!page)
		return NULL;
	page->old_quiet = calloc(table->n_readers > 0 ? table->n_readers : 1, sizeof(*page->old_quiet));
	if (!page->old_quiet) {
		free(page);
		return NULL;
	}
	page->minute = minute;
	page->mask = size - 1;
	page->last_not_after = 0;
	return page;
}

/* Where the serial is, or where it would be put; never NULL, since a page is never full. */
static const struct entry *
page_find(const struct page *page, const uint8_t random[RANDOM_LEN], uint32_t *ret_word)
{
	size_t at;

	memcpy(&at, random, sizeof(at));
	for (;; at++) {
		const struct entry *entry = &page->entries[at & page->mask];

		*ret_word = atomic_load_explicit(&entry->word, memory_order_acquire); /* (1) */
		if (*ret_word == 0 || memcmp(entry->random, random, RANDOM_LEN) == 0)
			return entry;
	}
}

static struct entry *
page_slot(struct page *page, const uint8_t random[RANDOM_LEN], uint32_t *ret_word)
{
	return (struct entry *)(uintptr_t)page_find(page, random, ret_word);
}

/* ---- the writer ---- */

static void
add(_Atomic uint64_t *counter, int64_t n)
{
	const uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, before + (uint64_t)n, memory_order_relaxed);
}

/* (3) */
static void
page_retire(struct status_table *table, struct page *page)
{
	for (unsigned i = 0; i < table->n_readers; i++)
		page->old_quiet[i] = atomic_load(&table->readers[i].quiet);
	page->next_old = table->old;
	table->old = page;
}

static bool
page_unused(const struct status_table *table, const struct page *page)
{
	for (unsigned i = 0; i < table->n_readers; i++)
		if (atomic_load_explicit(&table->readers[i].quiet, memory_order_acquire) == page->old_quiet[i])
			return false;
	return true;
}

static void
free_unused(struct status_table *table)
{
	struct page **at = &table->old;

	while (*at) {
		struct page *page = *at;

		if (!page_unused(table, page)) {
			at = &page->next_old;
			continue;
		}
		*at = page->next_old;
		add(&table->bytes, -(int64_t)page_bytes(page));
		page_free(page);
	}
}

static void
page_publish(struct status_table *table, struct page *page)
{
	add(&table->bytes, (int64_t)page_bytes(page));
	atomic_store(&table->ring[page->minute % RING], page);
}

static struct writ_err *
page_grow(struct status_table *table, struct page *page, struct page **ret)
{
	struct page *larger = page_new(table, page->minute, (page->mask + 1) * 2);

	if (!larger)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the status of %zu serials of one minute", page->n + 1);
	for (size_t i = 0; i <= page->mask; i++) {
		struct entry *from = &page->entries[i], *to;
		const uint32_t word = atomic_load_explicit(&from->word, memory_order_relaxed);
		uint32_t none;

		if (word == 0)
			continue;
		to = page_slot(larger, from->random, &none);
		memcpy(to->random, from->random, RANDOM_LEN);
		atomic_store_explicit(&to->life_s, atomic_load_explicit(&from->life_s, memory_order_relaxed),
				      memory_order_relaxed);
		atomic_store_explicit(&to->word, word, memory_order_relaxed);
	}
	larger->n = page->n;
	larger->n_good = page->n_good;
	larger->last_not_after = page->last_not_after;
	page_publish(table, larger);
	page_retire(table, page);
	free_unused(table);
	*ret = larger;
	return NULL;
}

/*
 * As large as the page of the minute before has come to be: at an even load none is copied.  Copying one of a million
 * entries holds the writer, and with it a revocation, for tens of milliseconds; memory that is not written is not taken.
 */
static size_t
page_size(const struct status_table *table, uint32_t minute)
{
	const struct page *before = atomic_load_explicit(&table->ring[(minute - 1) % RING], memory_order_relaxed);
	size_t size = PAGE_FIRST;

	while (before && before->minute == minute - 1 && size / 8 * 7 <= before->n)
		size *= 2;
	return size;
}

/* The serial's page, with room for one more. */
static struct writ_err *
page_for(struct status_table *table, uint32_t minute, struct page **ret)
{
	struct page *page = atomic_load_explicit(&table->ring[minute % RING], memory_order_relaxed);

	if (page && page->minute != minute)
		return writ_fail(WRIT_EXHAUSTED,
				 "serials of minutes %u and %u are more than the %d minutes apart that are kept",
				 page->minute, minute, RING);
	if (page) {
		*ret = page;
		/* At most 7/8 full: probes stay short, and an empty entry ends each of them. */
		return page->n < (page->mask + 1) / 8 * 7 ? NULL : page_grow(table, page, ret);
	}
	page = page_new(table, minute, page_size(table, minute));
	if (!page)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the status of a minute's serials");
	page_publish(table, page);
	*ret = page;
	return NULL;
}

static uint32_t
life_of(uint32_t minute, writ_time not_after)
{
	const writ_time life = not_after - (writ_time)minute * 60;

	return life < 0 ? 0 : life > UINT32_MAX ? UINT32_MAX : (uint32_t)life;
}

static void
followed_tell(struct status_table *table, const uint8_t serial[16], enum status_state state, uint32_t life_s)
{
	struct status_change change = { .state = state, .life_s = life_s };

	memcpy(change.serial, serial, sizeof(change.serial));
	status_changes_add(table->followed, &change);
}

struct writ_err *
status_set(struct status_table *table, const uint8_t serial[16], enum status_state state, writ_time not_after)
{
	const uint32_t minute = writ_get32(serial);
	struct page *page = NULL;
	struct entry *entry;
	struct writ_err *err;
	uint32_t word;

	if (state == STATUS_UNKNOWN)
		return writ_fail(WRIT_BROKEN, "a serial's status cannot be set to unknown");
	err = page_for(table, minute, &page);
	if (err)
		return err;
	entry = page_slot(page, serial + 4, &word);
	if (word != 0 && ((word & WORD_STATE) == (uint32_t)state || (word & WORD_STATE) == STATUS_REVOKED))
		return NULL; /* (4) */

	if (not_after > page->last_not_after)
		page->last_not_after = not_after;
	if (word == 0) {
		memcpy(entry->random, serial + 4, RANDOM_LEN);
		page->n++;
	} else {
		page->n_good--; /* all that can still change */
		add(&table->good, -1);
	}
	if (state == STATUS_GOOD)
		page->n_good++;
	add(state == STATUS_GOOD ? &table->good : &table->revoked, 1);
	if (word == 0)
		word = table->first_word;
	atomic_store_explicit(&entry->life_s, life_of(minute, not_after), memory_order_relaxed);
	atomic_store_explicit(&entry->word, (word & ~WORD_STATE) + WORD_CHANGE + (uint32_t)state, memory_order_release);
	if (table->followed)
		followed_tell(table, serial, state, life_of(minute, not_after));
	return NULL;
}

void
status_prune(struct status_table *table, writ_time now)
{
	for (size_t i = 0; i < RING; i++) {
		struct page *page = atomic_load_explicit(&table->ring[i], memory_order_relaxed);

		if (!page || page->last_not_after + PRUNE_AFTER_S >= now)
			continue;
		add(&table->good, -(int64_t)page->n_good);
		add(&table->revoked, -(int64_t)(page->n - page->n_good));
		atomic_store(&table->ring[i], NULL);
		page_retire(table, page);
	}
	free_unused(table);
}

/* ---- readers ---- */

struct status_entry
status_find(const struct status_table *table, unsigned reader, const uint8_t serial[16])
{
	const uint32_t minute = writ_get32(serial);
	const struct page *page = atomic_load(&table->ring[minute % RING]);
	const struct entry *entry;
	uint32_t word;

	(void)reader; /* its counter stands still meanwhile: that is what keeps the page */
	if (!page || page->minute != minute)
		return (struct status_entry){ .state = STATUS_UNKNOWN };
	entry = page_find(page, serial + 4, &word);
	if (word == 0)
		return (struct status_entry){ .state = STATUS_UNKNOWN };
	return (struct status_entry){
		.state = (enum status_state)(word & WORD_STATE),
		.not_after = (writ_time)minute * 60 + atomic_load_explicit(&entry->life_s, memory_order_relaxed),
		.generation = word / WORD_CHANGE,
	};
}

/* A cursor: place in the ring, the page's size, place in the page.  A page that grew meanwhile is begun anew. */
#define CURSOR_RING_SHIFT 38
#define CURSOR_SIZE_SHIFT 32

static unsigned
size_log(const struct page *page)
{
	unsigned n = 0;

	while ((page->mask >> n) != 0)
		n++;
	return n;
}

size_t
status_walk(const struct status_table *table, unsigned reader, uint64_t cursor, struct status_change *ret, size_t max,
	    uint64_t *ret_cursor)
{
	size_t n = 0;

	(void)reader; /* as in status_find() */
	for (uint64_t at = cursor >> CURSOR_RING_SHIFT; at < RING; at++, cursor = at << CURSOR_RING_SHIFT) {
		const struct page *page = atomic_load(&table->ring[at]);
		const uint64_t begin = page ? at << CURSOR_RING_SHIFT | (uint64_t)size_log(page) << CURSOR_SIZE_SHIFT : 0;
		size_t i = page && cursor >> CURSOR_SIZE_SHIFT == begin >> CURSOR_SIZE_SHIFT ? (uint32_t)cursor : 0;

		for (; page && i <= page->mask; i++) {
			const struct entry *entry = &page->entries[i];
			const uint32_t word = atomic_load_explicit(&entry->word, memory_order_acquire); /* (1) */

			if (word == 0)
				continue;
			if (n == max) {
				*ret_cursor = begin | i;
				return n;
			}
			ret[n].state = (enum status_state)(word & WORD_STATE);
			ret[n].life_s = atomic_load_explicit(&entry->life_s, memory_order_relaxed);
			writ_put32(ret[n].serial, page->minute);
			memcpy(ret[n].serial + 4, entry->random, RANDOM_LEN);
			n++;
		}
	}
	*ret_cursor = STATUS_WALK_END;
	return n;
}

void
status_quiet(struct status_table *table, unsigned reader)
{
	_Atomic uint64_t *quiet = &table->readers[reader].quiet;

	atomic_store(quiet, atomic_load_explicit(quiet, memory_order_relaxed) + 1);
}

void
status_counts(const struct status_table *table, struct status_counts *ret)
{
	ret->good = atomic_load_explicit(&table->good, memory_order_relaxed);
	ret->revoked = atomic_load_explicit(&table->revoked, memory_order_relaxed);
	ret->bytes = atomic_load_explicit(&table->bytes, memory_order_relaxed);
}
