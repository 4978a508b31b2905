/*
 * What a store's backend promises.  A new backend is finished when tests/contract/store.c passes with its URI.
 *
 * store.c calls these and checks before it does: the arguments of every item, that only a STORE_WRITE store commits.
 * Meanings, errors and ownership are store.h's; each operation below is the function of the same name there.  Knows no
 * backend.
 */
#ifndef WRIT_ISSUER_STORE_BACKEND_H
#define WRIT_ISSUER_STORE_BACKEND_H

#include <stdatomic.h>

#include "issuer/store/store.h"

struct store_ops {
	const char *scheme; /* the part of the URI before ':' */

	/* `rest`: the URI behind "scheme:".  `*ret` is closed by close(). */
	struct writ_err *(*open)(const char *rest, enum store_mode, struct store **ret);
	void (*close)(struct store *);

	/*
	 * Items come with cleared out fields, except that `result` is set for those that are refused already: skip
	 * them.  On an error of the group the results set here may stay: store.c drops them.
	 */
	struct writ_err *(*commit)(struct store *, struct store_item *items, size_t n);
	void (*idle)(struct store *); /* [optional] */

	struct writ_err *(*task)(struct store *, struct writ_bytes id, struct writ_arena *, struct store_task *ret);
	struct writ_err *(*pending)(struct store *, struct writ_bytes task, struct writ_arena *,
				    struct store_pending *ret);
	struct writ_err *(*pendings)(struct store *, writ_time now, store_each_pending *, void *ctx);
	struct writ_err *(*pendings_count)(struct store *, writ_time now, uint64_t *ret);
	struct writ_err *(*tasks_of)(struct store *, struct writ_bytes opener, writ_time now, size_t max,
				     struct writ_arena *, struct store_task **ret, size_t *ret_n);
	struct writ_err *(*edge)(struct store *, const uint8_t id[EDGE_ID_LEN], struct writ_arena *,
				 struct store_edge *ret);
	struct writ_err *(*edge_by_key)(struct store *, struct writ_bytes task, const uint8_t spki_sha256[32],
					struct writ_arena *, struct store_edge *ret);
	struct writ_err *(*edges)(struct store *, struct writ_bytes task, struct writ_arena *, struct store_edge **ret,
				  size_t *ret_n);
	struct writ_err *(*cert)(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *,
				 struct store_cert *ret);
	struct writ_err *(*cert_der)(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *,
				     struct writ_bytes *ret);
	struct writ_err *(*newest_leaf)(struct store *, const uint8_t edge[EDGE_ID_LEN], writ_time now, writ_time *ret);
	struct writ_err *(*lineage_live)(struct store *, const uint8_t edge[EDGE_ID_LEN], bool *ret_live,
					 uint8_t ret_dead[EDGE_ID_LEN]);
	struct writ_err *(*answer)(struct store *, struct writ_bytes key, writ_time now, struct writ_arena *,
				   struct store_answer *ret);
	struct writ_err *(*once_used)(struct store *, struct writ_bytes key, writ_time now, bool *ret);
	struct writ_err *(*evidence)(struct store *, const uint8_t digest[32], struct writ_arena *,
				     struct store_evidence *ret);
	struct writ_err *(*key_blocked)(struct store *, const uint8_t spki_sha256[32], bool *ret);
	struct writ_err *(*live_certs)(struct store *, writ_time now, store_each_cert *, void *ctx);
	struct writ_err *(*outbox)(struct store *, store_each_owed *, void *ctx);
	struct writ_err *(*revoked_edges)(struct store *, writ_time since, store_each_edge *, void *ctx);
	struct writ_err *(*policy_last)(struct store *, struct writ_arena *, struct store_policy *ret);
	struct writ_err *(*all_edges)(struct store *, struct writ_arena *, store_each_whole_edge *, void *ctx);
	struct writ_err *(*freezes)(struct store *, store_each_freeze *, void *ctx);
	struct writ_err *(*frozen)(struct store *, struct writ_bytes principal, enum revoke_what *ret);
	struct writ_err *(*ended)(struct store *, writ_time now, unsigned max, store_each_ended *, void *ctx);
	struct writ_err *(*notes)(struct store *, unsigned max, store_each_note *, void *ctx);
	struct writ_err *(*all_denied)(struct store *, struct writ_arena *, store_each_denied *, void *ctx);
	struct writ_err *(*counts)(struct store *, writ_time now, struct store_counts *ret);
};

#define STORE_REVISIONS 1024 /* counters that tasks share */

/* A backend embeds it as its first member. */
struct store {
	const struct store_ops *ops;
	enum store_mode mode;
	atomic_uint_least64_t all_revision, revisions[STORE_REVISIONS]; /* of a writer: store.c */
};

extern const struct store_ops store_sqlite;

#endif
