/*
 * Numbers for /metrics: see metrics.h.
 */
#include "issuer/serve/metrics.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	const char *name, *type;
} described[METRIC_N] = {
	[METRIC_TASKS] = { "writ_tasks_opened_total", "counter" },
	[METRIC_DELEGATIONS] = { "writ_delegations_total", "counter" },
	[METRIC_APPROVALS] = { "writ_approvals_total", "counter" },
	[METRIC_APPROVALS_REFUSED] = { "writ_approvals_refused_total", "counter" },
	[METRIC_ISSUED] = { "writ_leaves_issued_total", "counter" },
	[METRIC_RENEWED] = { "writ_leaves_renewed_total", "counter" },
	[METRIC_ABORTED] = { "writ_leaves_aborted_total", "counter" },
	[METRIC_REVOCATIONS] = { "writ_revocations_total", "counter" },
	[METRIC_REVOKED_LEAVES] = { "writ_leaves_revoked_total", "counter" },
	[METRIC_SIGNER_LOST] = { "writ_signer_lost_total", "counter" },
	[METRIC_COMMITS] = { "writ_store_commits_total", "counter" },
	[METRIC_COMMITTED] = { "writ_store_items_total", "counter" },
	[METRIC_COMMIT_FAILED] = { "writ_store_failures_total", "counter" },
	[METRIC_WRITER_QUEUE] = { "writ_writer_queue", "gauge" },
	[METRIC_SIGNER_WAITING] = { "writ_signer_waiting", "gauge" },
	[METRIC_CRLS] = { "writ_crls_published_total", "counter" },
	[METRIC_EXPIRED] = { "writ_tasks_expired_total", "counter" },
	[METRIC_FROZEN] = { "writ_frozen", "gauge" },
};

static const char *const stages[STAGE_N] = { "decide", "sign", "store", "all" };
static const unsigned bounds_ms[METRIC_BOUNDS] = { 1, 2, 5, 10, 20, 50, 100, 500, 2000 };

void
metrics_init(struct metrics *metrics)
{
	pthread_mutex_init(&metrics->lock, NULL);
}

static void
add(atomic_uint_least64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t
get(atomic_uint_least64_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

void
metrics_add(struct metrics *metrics, enum metric which, int64_t n)
{
	add(&metrics->count[which], (uint64_t)n);
}

void
metrics_stage(struct metrics *metrics, enum metric_stage stage, int64_t elapsed_ms)
{
	add(&metrics->stage_ms[stage], elapsed_ms > 0 ? (uint64_t)elapsed_ms : 0);
	add(&metrics->stage_n[stage], 1);
}

void
metrics_refused(struct metrics *metrics, const char *rule)
{
	size_t i = 0;

	pthread_mutex_lock(&metrics->lock);
	while (i < metrics->n_rules && strcmp(metrics->rules[i].rule, rule) != 0)
		i++;
	if (i == metrics->n_rules && i < METRIC_RULES_MAX) {
		snprintf(metrics->rules[i].rule, sizeof(metrics->rules[i].rule), "%s",
			 i == METRIC_RULES_MAX - 1 ? "other" : rule);
		metrics->n_rules++;
	} else if (i == METRIC_RULES_MAX) {
		i = METRIC_RULES_MAX - 1;
	}
	metrics->rules[i].n++;
	pthread_mutex_unlock(&metrics->lock);
}

void
metrics_served(struct metrics *metrics, int64_t elapsed_ms)
{
	size_t i = 0;

	while (i < METRIC_BOUNDS && elapsed_ms > (int64_t)bounds_ms[i])
		i++;
	add(&metrics->served[i], 1);
	add(&metrics->served_ms, elapsed_ms > 0 ? (uint64_t)elapsed_ms : 0);
}

struct writ_err *
metrics_line(struct writ_buf *ret, const char *name, const char *type, uint64_t value)
{
	return writ_buf_printf(ret, "# TYPE %s %s\n%s %" PRIu64 "\n", name, type, name, value);
}

WRIT_CHECKED static struct writ_err *
stages_write(struct metrics *metrics, struct writ_buf *ret)
{
	struct writ_err *err;

	err = writ_buf_printf(ret, "# TYPE writ_issue_seconds summary\n");
	for (size_t i = 0; i < STAGE_N && !err; i++) {
		const uint64_t ms = get(&metrics->stage_ms[i]);

		err = writ_buf_printf(ret,
				      "writ_issue_seconds_sum{stage=\"%s\"} %" PRIu64 ".%03u\n"
				      "writ_issue_seconds_count{stage=\"%s\"} %" PRIu64 "\n",
				      stages[i], ms / 1000, (unsigned)(ms % 1000), stages[i],
				      get(&metrics->stage_n[i]));
	}
	return err;
}

struct writ_err *
metrics_histogram(struct writ_buf *ret, const char *name, const unsigned *in_ms, size_t n_bounds, const uint64_t *n,
		  uint64_t sum_ms)
{
	struct writ_err *err;
	uint64_t sum = 0;

	err = writ_buf_printf(ret, "# TYPE %s histogram\n", name);
	for (size_t i = 0; i < n_bounds && !err; i++) {
		sum += n[i];
		err = writ_buf_printf(ret, "%s_bucket{le=\"%u.%03u\"} %" PRIu64 "\n", name, in_ms[i] / 1000,
				      in_ms[i] % 1000, sum);
	}
	sum += n[n_bounds];
	if (err)
		return err;
	return writ_buf_printf(ret,
			       "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %" PRIu64 ".%03u\n%s_count %" PRIu64 "\n",
			       name, sum, name, sum_ms / 1000, (unsigned)(sum_ms % 1000), name, sum);
}

WRIT_CHECKED static struct writ_err *
served_write(struct metrics *metrics, struct writ_buf *ret)
{
	uint64_t n[METRIC_BOUNDS + 1];

	for (size_t i = 0; i <= METRIC_BOUNDS; i++)
		n[i] = get(&metrics->served[i]);
	return metrics_histogram(ret, "writ_revoked_after_seconds", bounds_ms, METRIC_BOUNDS, n, get(&metrics->served_ms));
}

WRIT_CHECKED static struct writ_err *
rules_write(struct metrics *metrics, struct writ_buf *ret)
{
	struct writ_err *err;

	err = writ_buf_printf(ret, "# TYPE writ_refused_total counter\n");
	pthread_mutex_lock(&metrics->lock);
	for (size_t i = 0; i < metrics->n_rules && !err; i++)
		err = writ_buf_printf(ret, "writ_refused_total{rule=\"%s\"} %" PRIu64 "\n", metrics->rules[i].rule,
				      metrics->rules[i].n);
	pthread_mutex_unlock(&metrics->lock);
	return err;
}

struct writ_err *
metrics_write(struct metrics *metrics, struct writ_buf *ret)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; i < METRIC_N && !err; i++)
		err = metrics_line(ret, described[i].name, described[i].type, get(&metrics->count[i]));
	if (!err)
		err = stages_write(metrics, ret);
	if (!err)
		err = served_write(metrics, ret);
	if (!err)
		err = rules_write(metrics, ret);
	return err;
}
