/*
 * Inside of the ledger: what its files share.
 *
 *	ledger.c	rows: what is live, and how it ended
 *	ledger_lists.c	CAs and their shards, the entries of each list, edges: what CRLs must say
 *	ledger_tell.c	all of it, told to a snapshot
 *
 * For these three only; everybody else has ledger.h.
 */
#ifndef WRIT_ISSUER_SIGNER_LEDGER_INSIDE_H
#define WRIT_ISSUER_SIGNER_LEDGER_INSIDE_H

#include "issuer/signer/ledger.h"

#define MINUTES_MAX 256 /* tables at once; leaves live 15 minutes, so 20 are usual */
#define EXPIRING 32	/* minutes: a leaf's 15, LEDGER_KEEP_S, and clocks that differ */

/* Times in 32 bits: good until 2106, and half the memory. */
struct row {
	uint8_t random[12]; /* the serial's last bytes; drawn by us, so they are their own hash */
	uint32_t not_after, ended_at;
	uint16_t list;
	uint8_t state, reason; /* state 0: an empty slot */
};

struct table {
	uint32_t minute;
	size_t n_slots, n, n_ended;
	size_t least; /* slots it begins with */
	uint32_t last_not_after;
	struct row *slots;
};

/* One entry of a list: its expiry, and its bytes in `der`. */
struct listed {
	uint32_t not_after;
	uint8_t len;
};

/* A CA's list, or one of its shards.  Never moves: rows and ledger_row name it. */
struct list {
	uint8_t key[8];
	uint16_t place, shard; /* in ledger.lists; its number */
	bool gone;	      /* no shard any more, and kept for the rows that name it */
	uint32_t last_minute; /* of its serials: while a table of then is there, rows may name it */
	uint32_t last_not_after;
	uint8_t *der; /* entries, not wiped when they grow: everybody may read them */
	size_t len, room;
	struct listed *listed;
	size_t n, cap;
	uint32_t soonest; /* no entry expires before */
	uint64_t changes;
	writ_time perhaps; /* thisUpdate of the last list in a replay */
	struct trim {	   /* ledger_listed(), from call to call */
		bool on;
		size_t at, kept, from, to;
		uint32_t soonest;
	} trim;
	struct expiring {
		uint32_t minute, n;
	} expiring[EXPIRING]; /* leaves, by the minute they expire in */
};

struct ca {
	uint8_t key[8];
	uint32_t last_not_after;
	unsigned first; /* shard */
	size_t n, cap;
	struct list **shards; /* from `first` on */
};

struct ledger {
	size_t n_tables;
	struct table tables[MINUTES_MAX]; /* ascending by minute */
	size_t n_cas, cap_cas;
	struct ca *cas;
	size_t n_lists, cap_lists;
	struct list **lists; /* by place, which rows have; NULL: free */
	struct writ_buf entry; /* scratch */
	size_t n_edges, cap_edges;
	uint8_t (*edges)[EDGE_ID]; /* ascending */
	uint32_t *edges_at;
	uint64_t edge_changes;
	uint32_t pruned_before; /* rows of what expires then or later are all there */
};

static inline uint32_t
time32(writ_time t)
{
	return t < 0 ? 0 : t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

/* As the world sees it. */
static inline struct ledger_row
row_told(const struct ledger *l, const struct row *row)
{
	return (struct ledger_row){ .state = (enum ledger_state)row->state,
				    .reason = row->reason,
				    .not_after = row->not_after,
				    .ended_at = row->ended_at,
				    .key = l->lists[row->list]->key };
}

/* ---- ledger_lists.c ---- */

/* The list that a leaf is issued into; what the journal begins with may be a later shard than the first. */
WRIT_CHECKED struct writ_err *ledger_list_for(struct ledger *, const uint8_t key[8], unsigned shard, struct list **ret);

/* A leaf of that minute was issued into it. */
void ledger_list_issued(struct ledger *, struct list *, uint32_t minute, uint32_t not_after);

/* One more entry: this row, which has ended. */
WRIT_CHECKED struct writ_err *ledger_list_add(struct ledger *, struct list *, const uint8_t serial[16],
					      const struct row *);

/* After the tables: shards, lists that no row can name any more, and edges go. */
void ledger_lists_prune(struct ledger *, writ_time now);
void ledger_lists_free(struct ledger *);

#endif
