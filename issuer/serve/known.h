/*
 * Lineages that the store told, or that were opened, a moment ago: what each issuance asks first, kept in memory.
 *
 * A delegation never changes but for its state.  Only what is live is kept (task open, every edge live, key not
 * blocked), and it counts as long as the store's revision for its task is the one from before it was read
 * (store_revision()); after a revocation was acknowledged nothing from before it is found here (I8).  What is found is
 * looked at once more in the transaction that inserts the row.  Its parent's newest leaf is not kept: asked each time.
 *
 * Bounded: KNOWN_WAYS * KNOWN_SETS names, KNOWN_BYTES_MAX bytes; the oldest of a set goes first.  Threading: any; what
 * is held is immutable and counted.
 */
#ifndef WRIT_ISSUER_SERVE_KNOWN_H
#define WRIT_ISSUER_SERVE_KNOWN_H

#include "issuer/serve/lineage.h"

#define KNOWN_SETS 2048
#define KNOWN_WAYS 8				     /* each lineage has two names: its edge, its task and key */
#define KNOWN_BYTES_MAX ((size_t)32 * 1024 * 1024) /* one takes some 2 KiB */

struct known;
struct held; /* one lineage, counted */

WRIT_CHECKED struct writ_err *known_new(struct known **ret);
void known_free(struct known *);

/*
 * By the task and the key that an edge of it names, or by the edge; `revision` is the store's for the task now.  False:
 * to be read.  `*ret_held` keeps the texts of `*ret`, until held_done(); its parent_newest is not known.
 */
bool known_by_key(struct known *, uint64_t revision, struct writ_bytes task, const uint8_t spki_sha256[32],
		  struct lineage *ret, struct held **ret_held);
bool known_by_edge(struct known *, uint64_t revision, const uint8_t edge[EDGE_ID_LEN], struct lineage *ret,
		   struct held **ret_held);
void held_done(struct held *);

/*
 * What was read and is live; `revision` is from before it was read.  What cannot be kept is read again.
 */
void known_keep(struct known *, uint64_t revision, const struct lineage *);

/* A task was opened: its first edge is asked for next.  `revision` is from before its commit. */
void known_opened(struct known *, uint64_t revision, const struct store_task *, const struct store_edge *);

#endif
