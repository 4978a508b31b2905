/*
 * Status: which serials are good, revoked or aborted, and the plain-HTTP front that tells: /ocsp, /crl/, /ca/.
 *
 * Table: a ring of per-minute tables keyed by the 12 random bytes (a serial begins with its minute); its only writer is
 * the store writer thread, its readers are loops; C11 atomics, no locks; pruning drops a whole table once every loop
 * has passed a quiescent point. Front: per loop; a cached answer is one lookup and one copy; a miss or a nonce asks the
 * signer through `ask`. Knows no store, no key; never says good by itself: what it sends was signed by the signer (I9).
 */
#ifndef WRIT_ISSUER_STATUS_STATUS_H
#define WRIT_ISSUER_STATUS_STATUS_H

#include "issuer/http/http.h"
#include "issuer/x509/ocsp.h"

struct status_table;

enum status_state { STATUS_UNKNOWN, STATUS_GOOD, STATUS_REVOKED }; /* aborted counts as revoked */

struct status_entry {
	enum status_state state;
	writ_time not_after;
	uint32_t generation; /* raised by a change: a cached response of another generation is stale */
};

WRIT_CHECKED struct writ_err *status_table_new(unsigned n_readers, struct status_table **ret);
void status_table_free(struct status_table *);

/* Writer thread only.  Adding what is there already changes its state; revoked never becomes good again. */
WRIT_CHECKED struct writ_err *status_set(struct status_table *, const uint8_t serial[16], enum status_state,
					 writ_time not_after);
void status_prune(struct status_table *, writ_time now);

/* Readers: `reader` is the loop's number; call status_quiet() once a wake-up, when no entry is held. */
struct status_entry status_find(const struct status_table *, unsigned reader, const uint8_t serial[16]);
void status_quiet(struct status_table *, unsigned reader);

/*
 * A page of what is in it, in no order, at most `max`: from `cursor` on (0: from the beginning), whose successor is
 * `*ret_cursor`; STATUS_WALK_END: that was all.  What is added meanwhile may be missed, what is there when it begins is
 * not; an entry may come twice.  Cursors are below 2^48.
 */
struct status_change;
#define STATUS_WALK_END UINT64_MAX
size_t status_walk(const struct status_table *, unsigned reader, uint64_t cursor, struct status_change *ret, size_t max,
		   uint64_t *ret_cursor);

/* From now on each change is told there too, after it was made (changes.h).  Before any other thread. */
struct status_changes;
void status_follow(struct status_table *, struct status_changes *);

/* As status_table_new(), to be used instead of `before` (status_front_table()): no generation of it is one of that. */
WRIT_CHECKED struct writ_err *status_table_after(const struct status_table *before, struct status_table **ret);

struct status_counts {
	uint64_t good, revoked, bytes;
};
void status_counts(const struct status_table *, struct status_counts *ret);

/* ---- what is published: certificates and lists, swapped whole; shared by all loops ---- */

struct publish;

WRIT_CHECKED struct writ_err *publish_new(struct publish **ret);
void publish_free(struct publish *);

/* Puts (replaces) one document under its path: "/crl/KEYID.crl", "/ca/KEYID.cer".  `max_age_s` for Cache-Control; bytes
 * are copied.  There is room for 1,024: then the one that expires first makes way.  Any thread. */
WRIT_CHECKED struct writ_err *publish_put(struct publish *, const char *path, const char *content_type,
					  struct writ_bytes, writ_time last_modified, writ_time expires,
					  unsigned max_age_s);

/*
 * The same for a long list that came in a sealed memfd: `bytes` stand in the mapping of file_memfd_map(), which is taken (and so NULL) on success and
 * unmapped by whoever lets go of the document last.  So signer and issuer share one copy of it.
 */
WRIT_CHECKED struct writ_err *publish_put_mapped(struct publish *, const char *path, const char *content_type, struct writ_bytes bytes,
						 struct writ_bytes *takes_mapping, writ_time last_modified, writ_time expires,
						 unsigned max_age_s);

void publish_drop(struct publish *, const char *path); /* none is there: nothing */

/* Raised by every document that was put or dropped.  Any thread. */
uint64_t publish_version(struct publish *);

/* ---- the front ---- */

struct status_front;

struct status_front_conf {
	const struct status_table *table;
	unsigned reader;
	struct publish *publish;
	/*
	 * Asks the signer; must end in status_front_answer() with the same token, later, on this loop's thread. Returns
	 * false when it cannot take it now: then the front asks again when an answer has come, and answers tryLater
	 * when none is to come, or when too many wait.
	 */
	bool (*ask)(void *ctx, struct writ_bytes cert_id, struct writ_bytes nonce, void *token);
	/* The plain listener's other paths (/healthz, /metrics): true when it answered. */
	bool (*other)(void *ctx, struct http_request *);
	void *ctx;
	/* Budgets: above it an answer has no nonce (0: never one); and of questions without a nonce, above it tryLater
	 * (0: no limit).  Those that join a question cost nothing. */
	unsigned nonces_per_s, misses_per_s;
	size_t cache_bytes_max;
};

WRIT_CHECKED struct writ_err *status_front_new(const struct status_front_conf *, struct status_front **ret);
void status_front_free(struct status_front *);

/* Issuing CAs whose serials we answer for; again after a change. */
WRIT_CHECKED struct writ_err *status_front_issuers(struct status_front *, const struct ocsp_issuer *, size_t n);

/* Another table instead, made by status_table_after() of the present one: no answer that is ready outlives it. */
void status_front_table(struct status_front *, const struct status_table *);

/* The handler for loop_listen(): ctx is the front. */
void status_front_request(struct http_request *, void *front);

/*
 * The signer's answer, or its error (taken): WRIT_NOT_FOUND becomes unauthorized, anything else tryLater.  `good`: the
 * response says so, and is passed on only while the table does too (I8).
 */
void status_front_answer(struct status_front *, void *token, struct writ_err *err, bool good,
			 struct writ_bytes response, writ_time this_update, writ_time next_update);

struct status_front_counts {
	uint64_t hits, misses, nonces, nonces_over, unauthorized, malformed, try_later, documents, not_modified;
};
void status_front_counts(const struct status_front *, struct status_front_counts *ret); /* adds to `ret`; any thread */

#endif
