/*
 * Ready answers, a loop's own: a ring of bytes in which a new one takes the place of the oldest, and an index by
 * CertID.
 *
 * Knows no time and no status: whoever finds an answer decides whether it still holds.  Not thread-safe.
 */
#ifndef WRIT_ISSUER_STATUS_CACHE_H
#define WRIT_ISSUER_STATUS_CACHE_H

#include "base/clock.h"

struct cache;

struct cached {
	/* cache.c's own */
	uint32_t size, next; /* bytes of this record; where the next of the same bucket is */
	uint64_t hash;
	bool linked;
	/* the front's */
	uint32_t generation;					    /* of the table's entry when it was asked for */
	writ_time next_update;					    /* not sent from then on */
	writ_time refresh_at;					    /* asked for anew from then on */
	writ_time dated;					    /* the second its Date says */
	uint16_t date_at, age_at, headers_at, headers_len, etag_at; /* offsets in the response */
	/* what it is about, and what is sent */
	uint32_t cert_id_len, response_len;
	uint8_t bytes[]; /* CertID, then the response */
};

static inline struct writ_bytes
cached_id(const struct cached *c)
{
	return (struct writ_bytes){ c->bytes, c->cert_id_len };
}

static inline uint8_t *
cached_response(struct cached *c)
{
	return c->bytes + c->cert_id_len;
}

WRIT_CHECKED struct writ_err *cache_new(size_t bytes_max, struct cache **ret);
void cache_free(struct cache *);

/* NULL: none.  Valid until the next cache_put(). */
struct cached *cache_find(const struct cache *, uint64_t hash, struct writ_bytes cert_id);

/* Puts a copy in, instead of what was there for that CertID; NULL when it is larger than the whole cache. */
struct cached *cache_put(struct cache *, uint64_t hash, struct writ_bytes cert_id, struct writ_bytes response);

void cache_drop(struct cache *, struct cached *);

#endif
