/*
 * The journal's live entries, by serial, while recovery compares them with the store.
 *
 * A serial begins with its minute, and both journal and store tell theirs nearly in the order of time: so there is a
 * page for each minute, and with a million entries those in use at a time fit a processor's cache.  In one table over
 * all of them, every look-up waited for memory, and that was a quarter of a start.
 *
 * Knows no journal and no store.  Threading: none of its own.
 */
#ifndef WRIT_ISSUER_SERVE_LIVE_H
#define WRIT_ISSUER_SERVE_LIVE_H

#include "base/err.h"
#include "issuer/store/store.h"

/* Times in 32 bits, good until 2106: there are millions of these for a moment. */
struct live_entry {
	uint8_t serial[SERIAL_LEN];
	uint8_t key[8];
	uint64_t index; /* in the journal; UINT64_MAX: a snapshot's, which has none */
	uint32_t not_after, revoked_at;
	bool used, aborted, revoked; /* used: not an empty place; the others are the journal's words */
	uint8_t row;		     /* enum cert_state; 0: none */
	uint8_t reason;
};

/*
 * Open addressing by the random bytes, which are the signer's own random numbers; by the same ones as the signer's
 * ledger, so that a snapshot, which is told in the order of its tables, fills a page from its beginning to its end.  In
 * that order a page must have its size from the beginning (live_room()): one that is too small would be filled beyond
 * its measure at its beginning before it grows.
 */
struct live_page {
	uint32_t minute;
	size_t n, cap; /* a power of two, at most three quarters full */
	struct live_entry *entries;
};

struct live {
	size_t n; /* entries in all pages */
	struct live_page *pages;
	size_t n_pages, cap_pages, last;
};

void live_done(struct live *);

/* Room for so many of one minute, at least. */
WRIT_CHECKED struct writ_err *live_room(struct live *, uint32_t minute, size_t n);

/* A new one, zero but for the serial and `used`; WRIT_BROKEN: it is there.  Moves others, so keep no pointers. */
WRIT_CHECKED struct writ_err *live_add(struct live *, const uint8_t serial[SERIAL_LEN], struct live_entry **ret);
struct live_entry *live_find(struct live *, const uint8_t serial[SERIAL_LEN]); /* NULL: none */

void live_soon(const struct live *,
	       const uint8_t serial[SERIAL_LEN]); /* it will be asked for: fetch its place into the cache */

/* All of them, in no order: the one at `*at` or after it, or NULL; begin with { 0 }. */
struct live_at {
	size_t page, place;
};
struct live_entry *live_next(const struct live *, struct live_at *at);

#endif
