/*
 * The facts of a request from our own store, never from the request: task, edge, parent, grants, liveness.
 *
 * Everything read stands in the caller's arena.  Threading: the loop's own reading store.
 */
#ifndef WRIT_ISSUER_SERVE_LINEAGE_H
#define WRIT_ISSUER_SERVE_LINEAGE_H

#include "issuer/store/store.h"
#include "issuer/x509/delegation.h"

struct lineage {
	struct store_task task;
	struct store_edge edge;
	bool has_parent;
	struct store_edge parent;
	struct grant grant, parent_grant;
	enum principal_kind delegator_kind;
	writ_time parent_newest; /* notAfter of the parent's newest unexpired leaf; 0: none */
	bool live;		 /* task open, this edge and all above live (L4) */
	uint8_t dead[EDGE_ID_LEN];
};

/* The edge of a task that names this key; WRIT_NOT_FOUND. */
WRIT_CHECKED struct writ_err *lineage_by_key(struct store *, struct writ_bytes task, const uint8_t spki_sha256[32],
					     writ_time now, struct writ_arena *, struct lineage *ret);

WRIT_CHECKED struct writ_err *lineage_by_edge(struct store *, const uint8_t edge[EDGE_ID_LEN], writ_time now,
					      struct writ_arena *, struct lineage *ret);

/*
 * An edge of a task and every one above it in that task, itself first; at most HOPS_MAX.  They are looked up one by one: a task may have a hundred
 * thousand edges beside them.
 */
WRIT_CHECKED struct writ_err *lineage_ancestors(struct store *, const struct store_edge *edge, struct writ_arena *,
						struct store_edge ret[HOPS_MAX], size_t *ret_n);

#endif
