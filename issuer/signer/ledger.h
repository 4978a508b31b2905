/*
 * The ledger: the signer's own memory of live serials - issued, aborted, revoked - and of what the next CRL must say.
 *
 * (1) A serial that is not here as issued is never answered good.						I9
 * (2) A row ends once: the first end (aborted or revoked), its time and its reason stay.			I8
 * (3) An ended serial stays in its CA's list until one CRL was made past its notAfter (RFC 5280 3.3).	I10
 * (4) Replaying the journal gives the same ledger: time is a parameter, and the journal has every change.  Only its lists may be longer: the last
 *     CRL of the journal may never have been signed.
 *
 * Rows stand in tables by the minute of issue, which a serial begins with; a table goes as a whole once all in it have expired.
 *
 * A CA has one list, number 0, or several: shards, numbered in the order in which they were begun.  A leaf belongs to the one that it was issued into,
 * for ever; a shard goes when the last of its leaves has expired.
 * Knows no certificate, no key, no journal.  Threading: one thread a ledger.
 */
#ifndef WRIT_ISSUER_SIGNER_LEDGER_H
#define WRIT_ISSUER_SIGNER_LEDGER_H

#include "base/clock.h"
#include "issuer/x509/crl.h"

#define LEDGER_KEEP_S 180		/* after expiry; a serial drawn in these minutes is known not to repeat (I4) */
#define LEDGER_EDGES_MAX 100000		/* revokedDelegations: 1.8 MB of a CRL */
#define LEDGER_EDGE_KEEP_S 960		/* delegation.md 5, R3: longer than any leaf lives */

enum ledger_state { LEDGER_ISSUED = 1, LEDGER_ABORTED, LEDGER_REVOKED };

struct ledger_row {
	enum ledger_state state;
	unsigned reason;
	writ_time not_after, ended_at;
	const uint8_t *key;		/* 8: first bytes of the issuing key's id */
};

struct ledger;

WRIT_CHECKED struct writ_err *ledger_new(struct ledger **ret);
void ledger_free(struct ledger *);
void ledger_freep(struct ledger **);

/* Into a shard of that CA: one that is there, or the next one, which so begins.  WRIT_CONFLICT: the serial is there already. */
WRIT_CHECKED struct writ_err *ledger_issue(struct ledger *, const uint8_t serial[16], const uint8_t key[8], unsigned shard,
					   writ_time not_after);

/* False: not a live serial of ours. */
bool ledger_find(const struct ledger *, const uint8_t serial[16], struct ledger_row *ret);

/* LEDGER_ABORTED or LEDGER_REVOKED.  `*ret_changed` is false when the serial is unknown or had ended before. */
WRIT_CHECKED struct writ_err *ledger_end(struct ledger *, const uint8_t serial[16], enum ledger_state, enum crl_reason, writ_time at,
					 bool *ret_changed);

/*
 * An origin edge for revokedDelegations; twice is once.  `*ret_listed` false: LEDGER_EDGES_MAX are listed, and this one is not: what it takes
 * along is revoked by serial all the same, and the list has room again when the oldest of it go.
 */
WRIT_CHECKED struct writ_err *ledger_edge(struct ledger *, const uint8_t id[EDGE_ID], writ_time at, bool *ret_changed, bool *ret_listed);

/* Drops tables whose rows have all expired by LEDGER_KEEP_S, old edges, and shards that have nothing to say any more. */
void ledger_prune(struct ledger *, writ_time now);

/* What the CRL of that shard of a CA says now; valid until the next change.  `changes` grows with every change of either. */
struct ledger_list {
	struct writ_bytes entries;
	size_t n_entries, n_edges;
	const uint8_t (*edges)[EDGE_ID];
	uint64_t changes;
};
void ledger_list(const struct ledger *, const uint8_t key[8], unsigned shard, struct ledger_list *ret);

/* The shards of a CA: all from the first to the last are there.  A CA that never issued has one, number 0. */
#define LEDGER_SHARD_MAX UINT16_MAX	/* the journal has 16 bits for it */
struct ledger_shards {
	unsigned first, last;
	size_t n_live;			/* leaves of the last one that have not expired, or not LEDGER_KEEP_S ago: what its list could come to have */
};
void ledger_shards(const struct ledger *, const uint8_t key[8], writ_time now, struct ledger_shards *ret);

/* Begins the next one, while the one before lives on; WRIT_EXHAUSTED: no memory, or no number left. */
WRIT_CHECKED struct writ_err *ledger_shard_begin(struct ledger *, const uint8_t key[8]);

/* The latest notAfter of all that this CA ever issued; 0: nothing. */
writ_time ledger_last(const struct ledger *, const uint8_t key[8]);

/*
 * A CRL of that shard with this thisUpdate was made: what expired before it may go (3).  Looks at `most` entries at a time, from where the call before
 * stopped; until one returned true, ledger_list() of it must not be asked, and new ends may be added.
 */
WRIT_CHECKED bool ledger_listed(struct ledger *, const uint8_t key[8], unsigned shard, writ_time this_update, size_t most);

/* The same for a replay, which knows of an entry that a list is about to be signed: the one before it counts as made. */
void ledger_listed_perhaps(struct ledger *, const uint8_t key[8], unsigned shard, writ_time this_update);

/*
 * For a snapshot: every CA with its shards, every row, every entry of a list whose row is gone (as revoked: which end it was nobody asks any more),
 * every edge.  ledger_ca(); ledger_issue() and ledger_end(); ledger_edge() with the same words make the same ledger again: only its lists may be
 * longer (4), and what expired more than LEDGER_KEEP_S ago may be missing.
 */
typedef void ledger_each_row(const uint8_t serial[16], unsigned shard, const struct ledger_row *, void *ctx);
struct ledger_hear {
	void (*ca)(const uint8_t key[8], unsigned first, unsigned n, void *ctx);
	ledger_each_row *row;
	void (*edge)(const uint8_t id[EDGE_ID], writ_time at, void *ctx);
};
size_t ledger_rows_max(const struct ledger *);		/* no more rows than this are told, */
size_t ledger_edges(const struct ledger *);		/* and so many edges */
void ledger_tell(const struct ledger *, const struct ledger_hear *, void *ctx);
WRIT_CHECKED struct writ_err *ledger_ca(struct ledger *, const uint8_t key[8], unsigned first, unsigned n);

struct ledger_counts {
	uint64_t issued, ended;		/* rows still kept */
};
void ledger_count(const struct ledger *, struct ledger_counts *ret);

/*
 * 4 bytes minutes since 1970, big endian, and 12 of `random` (writ_random, but in tests); drawn anew up to 3 times when the ledger has it.
 * WRIT_BROKEN: it repeats still, so the generator has failed and issuing must stop (I4).
 */
WRIT_CHECKED struct writ_err *serial_draw(const struct ledger *, writ_time now, void (*random)(uint8_t *, size_t), uint8_t out[16]);

#endif
