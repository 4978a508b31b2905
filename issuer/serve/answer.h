/*
 * JSON out: answers and RFC 9457 problems, by one small writer.
 *
 * Names, types and order are deploy/api/v1.yaml's.  Everything is appended to a buffer of the caller; a buffer at its
 * limit is told by out_done().  Knows no connection.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_SERVE_ANSWER_H
#define WRIT_ISSUER_SERVE_ANSWER_H

#include "base/clock.h"
#include "issuer/store/store.h"
#include "policy/policy.h"

#define ANSWER_MAX (256 * 1024) /* bytes: a task with a hundred edges, a hundred log entries */

/* A JSON text being written; `name` is NULL for an array's item. */
struct out {
	struct writ_buf *buf;
	bool comma;
	struct writ_err *err; /* the first failure; the rest is not written */
};

struct out out_to(struct writ_buf *);
void out_open(struct out *, const char *name, char bracket); /* '{' or '[' */
void out_close(struct out *, char bracket);
void out_text(struct out *, const char *name, struct writ_bytes);
void out_hex(struct out *, const char *name, struct writ_bytes);
void out_base64(struct out *, const char *name, struct writ_bytes);
void out_int(struct out *, const char *name, int64_t);
void out_bool(struct out *, const char *name, bool);
void out_time(struct out *, const char *name, writ_time); /* RFC 3339 */
void out_json(struct out *, const char *name, struct writ_bytes json);
WRIT_CHECKED struct writ_err *out_done(struct out *);

/* What went wrong, for the asker. */
struct problem {
	unsigned status;  /* HTTP */
	const char *code; /* "DENIED", "INVALID", ...: DESIGN.md */
	char detail[512];
	const char *rule, *value, *limit, *hint; /* NULL or empty: absent; borrowed */
	uint32_t retry_after_s;			 /* 0: none */
};

/* From an error, which stays the caller's; from a verdict that does not allow (borrowed). */
void problem_of_err(const struct writ_err *, struct problem *ret);
void problem_of_verdict(const struct verdict *, struct problem *ret);

/* Appends the body. */
WRIT_CHECKED struct writ_err *problem_write(const struct problem *, struct writ_buf *ret);

/* ---- the answers of the routes ---- */

WRIT_CHECKED struct writ_err *answer_delegated(const struct store_edge *, struct writ_bytes rule, struct writ_buf *ret);

/* Appends a certificate as a JSON text of PEM. */
WRIT_CHECKED struct writ_err *answer_pem(struct writ_bytes der, struct writ_buf *ret);

struct answer_leaf {
	struct writ_bytes certificate; /* DER */
	struct writ_bytes chain;       /* JSON: answer_pem() of the issuing CA */
	const uint8_t *serial;	       /* 16 */
	const struct store_edge *edge;
	writ_time not_before, not_after, renew_at;
	struct writ_bytes log_id;
	uint64_t log_index;
	struct writ_bytes ocsp; /* empty: not asked for, or there is none */
	bool no_rev_avail;
};
WRIT_CHECKED struct writ_err *answer_issued(const struct answer_leaf *, struct writ_buf *ret);

/* `approvals`: JSON, empty when it needed none. */
WRIT_CHECKED struct writ_err *answer_task(const struct store_task *, const struct store_edge *edges, size_t n,
					  struct writ_bytes approvals, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *answer_revoked(size_t n_edges, size_t n_leaves, bool logged, struct writ_buf *ret);

#endif
