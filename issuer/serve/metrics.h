/*
 * Numbers for /metrics: counted by any thread, told as Prometheus text.
 *
 * A counter is one relaxed atomic; denials by rule stand in a small table under a lock.  Knows no request and no
 * answer.  Thread-safe.
 */
#ifndef WRIT_ISSUER_SERVE_METRICS_H
#define WRIT_ISSUER_SERVE_METRICS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"

enum metric {
	METRIC_TASKS,	    /* opened */
	METRIC_DELEGATIONS, /* edges below the root */
	METRIC_APPROVALS,   /* given to tasks that waited */
	METRIC_APPROVALS_REFUSED,
	METRIC_ISSUED,	    /* first and further leaves by a CSR */
	METRIC_RENEWED,
	METRIC_ABORTED,	    /* signed, not released */
	METRIC_REVOCATIONS, /* requests that revoked, tasks completed among them */
	METRIC_REVOKED_LEAVES,
	METRIC_SIGNER_LOST, /* times */
	METRIC_COMMITS,	    /* store transactions */
	METRIC_COMMITTED,   /* items in them */
	METRIC_COMMIT_FAILED,
	METRIC_WRITER_QUEUE,   /* a level, not a count: jobs waiting */
	METRIC_SIGNER_WAITING, /* a level: requests at or before the signer */
	METRIC_CRLS,	       /* lists published */
	METRIC_EXPIRED,	       /* tasks whose end came */
	METRIC_FROZEN,	       /* a level: names frozen */
	METRIC_N,
};

/* What an issuance spends where: sums of milliseconds, and how many passed. */
enum metric_stage { STAGE_DECIDE, STAGE_SIGN, STAGE_STORE, STAGE_ALL, STAGE_N };

#define METRIC_RULES_MAX 64
#define METRIC_BOUNDS 9 /* of the histogram */

struct metrics {
	atomic_uint_least64_t count[METRIC_N];
	atomic_uint_least64_t stage_ms[STAGE_N], stage_n[STAGE_N];
	atomic_uint_least64_t served[METRIC_BOUNDS + 1],
		served_ms; /* revocation asked -> revoked in the status table */
	pthread_mutex_t lock;
	size_t n_rules; /* under the lock */
	struct {
		char rule[64];
		uint64_t n;
	} rules[METRIC_RULES_MAX]; /* the last takes what has no room */
};

void metrics_init(struct metrics *);
void metrics_add(struct metrics *, enum metric, int64_t);
void metrics_stage(struct metrics *, enum metric_stage, int64_t elapsed_ms);
void metrics_refused(struct metrics *, const char *rule);
void metrics_served(struct metrics *, int64_t elapsed_ms);

/* Appends what is counted here; the caller adds the levels it can read itself with metrics_line(). */
WRIT_CHECKED struct writ_err *metrics_write(struct metrics *, struct writ_buf *ret);

/* A histogram: `n` of each bound (not summed up) and beyond the last one. */
WRIT_CHECKED struct writ_err *metrics_histogram(struct writ_buf *ret, const char *name, const unsigned *bounds_ms, size_t n_bounds,
						const uint64_t *n, uint64_t sum_ms);
WRIT_CHECKED struct writ_err *metrics_line(struct writ_buf *ret, const char *name, const char *type, uint64_t value);

#endif
