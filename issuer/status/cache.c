/*
 * The ring: records stand one behind the other from `oldest` to `newest_end`, wrapping at the end of the memory; a
 * record that would not fit before the end leaves it unused.  Evicting is in the order of putting; nothing is ever
 * moved.
 */
#include "issuer/status/cache.h"

#include <stdlib.h>

#define RECORD_TYPICAL 1400 /* bytes, for the number of buckets */
#define CACHE_MIN ((size_t)64 * 1024)
#define CACHE_MAX ((size_t)UINT32_MAX / 2) /* offsets are 32 bits */
#define NONE UINT32_MAX

struct cache {
	uint8_t *ring;
	size_t size;		   /* bytes of the ring */
	size_t oldest, newest_end; /* offsets; equal when it is empty, or full */
	size_t used;		   /* bytes between them, unused ends included */
	size_t wrapped_at;	   /* where the records before the end stop; only while newest_end <= oldest */
	uint32_t *buckets;	   /* offsets, or NONE */
	size_t mask;
};

struct writ_err *
cache_new(size_t bytes_max, struct cache **ret)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	size_t n = 64;

	if (!cache)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a cache");
	cache->size = bytes_max < CACHE_MIN ? CACHE_MIN : bytes_max > CACHE_MAX ? CACHE_MAX : bytes_max;
	cache->size = cache->size / 16 * 16;
	cache->wrapped_at = cache->size;
	while (n < cache->size / RECORD_TYPICAL)
		n *= 2;
	cache->mask = n - 1;
	cache->ring = malloc(cache->size); /* not touched before it is used: a large cache costs nothing until then */
	cache->buckets = malloc(n * sizeof(*cache->buckets));
	if (!cache->ring || !cache->buckets) {
		cache_free(cache);
		return writ_fail(WRIT_EXHAUSTED, "no memory for a cache of %zu bytes", bytes_max);
	}
	for (size_t i = 0; i < n; i++)
		cache->buckets[i] = NONE;
	*ret = cache;
	return NULL;
}

void
cache_free(struct cache *cache)
{
	if (!cache)
		return;
	free(cache->ring);
	free(cache->buckets);
	free(cache);
}

/* Records begin at multiples of 16 in memory from malloc(): aligned for any type. */
static struct cached *
record_at(const struct cache *cache, size_t offset)
{
	return (struct cached *)(void *)(cache->ring + offset);
}

static uint32_t
offset_of(const struct cache *cache, const struct cached *record)
{
	return (uint32_t)((const uint8_t *)record - cache->ring);
}

struct cached *
cache_find(const struct cache *cache, uint64_t hash, struct writ_bytes cert_id)
{
	uint32_t at = cache->buckets[hash & cache->mask];

	while (at != NONE) {
		struct cached *record = record_at(cache, at);

		if (record->hash == hash && writ_equal(cached_id(record), cert_id))
			return record;
		at = record->next;
	}
	return NULL;
}

void
cache_drop(struct cache *cache, struct cached *record)
{
	uint32_t *at = &cache->buckets[record->hash & cache->mask];
	const uint32_t offset = offset_of(cache, record);

	if (!record->linked)
		return;
	while (*at != offset)
		at = &record_at(cache, *at)->next;
	*at = record->next;
	record->linked = false;
}

static void
evict_oldest(struct cache *cache)
{
	struct cached *record = record_at(cache, cache->oldest);

	cache_drop(cache, record);
	cache->oldest += record->size;
	cache->used -= record->size;
	if (cache->used > 0 && cache->oldest == cache->wrapped_at) {
		cache->used -= cache->size - cache->wrapped_at;
		cache->oldest = 0;
		cache->wrapped_at = cache->size;
	}
	if (cache->used == 0) {
		cache->oldest = cache->newest_end = 0;
		cache->wrapped_at = cache->size;
	}
}

/* Room for `size` bytes in one piece: where. */
static size_t
make_room(struct cache *cache, size_t size)
{
	for (;;) {
		const bool wraps = cache->used > 0 && cache->newest_end <= cache->oldest;
		const size_t end = wraps ? cache->oldest : cache->size;

		if (end - cache->newest_end >= size)
			return cache->newest_end;
		if (!wraps && cache->used > 0 && cache->oldest >= size) {
			/* The end is too short for it: go on at the beginning. */
			cache->used += cache->size - cache->newest_end;
			cache->wrapped_at = cache->newest_end;
			cache->newest_end = 0;
			return 0;
		}
		evict_oldest(cache);
	}
}

struct cached *
cache_put(struct cache *cache, uint64_t hash, struct writ_bytes cert_id, struct writ_bytes response)
{
	const size_t size = (sizeof(struct cached) + cert_id.len + response.len + 15) / 16 * 16;
	struct cached *record = cache_find(cache, hash, cert_id);
	uint32_t *bucket = &cache->buckets[hash & cache->mask];
	size_t at;

	if (record)
		cache_drop(cache, record);
	if (size > cache->size)
		return NULL;
	at = make_room(cache, size);
	cache->newest_end = at + size;
	cache->used += size;

	record = record_at(cache, at);
	*record = (struct cached){ .size = (uint32_t)size,
				   .hash = hash,
				   .linked = true,
				   .cert_id_len = (uint32_t)cert_id.len,
				   .response_len = (uint32_t)response.len };
	memcpy(record->bytes, cert_id.data, cert_id.len);
	memcpy(record->bytes + cert_id.len, response.data, response.len);
	record->next = *bucket;
	*bucket = (uint32_t)at;
	return record;
}
