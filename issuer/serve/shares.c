/*
 * Shares and turns of works: see shares.h.
 */
#include "issuer/serve/shares.h"

#include <inttypes.h>
#include <stdio.h>

#include "issuer/serve/batch.h"
#include "issuer/serve/roots.h"
#include "issuer/serve/work.h"

/* Of the signer's window a quarter is kept from issuances: for statuses, and for notes. */
#define WINDOW_MAX (SIGNER_OUTSTANDING_MAX * 3 / 4)
#define CROWDED 16 /* what tests/storm was measured with: smaller groups, and who asks little waits for less */

/* ---- what turns.c asks ---- */

static struct work *
work_of_turn(struct turn *turn)
{
	return (struct work *)((char *)turn - offsetof(struct work, turn));
}

/* Without a signer there is room: who asks hears at once that it is away. */
static bool
room(void *ctx)
{
	const struct serve_loop *on = ctx;

	return !link_is_open(on->link) || on->n_at_signer < WINDOW_MAX;
}

static bool
gone(struct turn *turn, void *ctx)
{
	const struct work *work = work_of_turn(turn);

	(void)ctx;
	return http_client_gone(work->batch ? batch_later(work->batch) : work->later);
}

static void
begin(struct turn *turn, void *ctx)
{
	struct work *work = work_of_turn(turn);
	struct writ_err *err = work->begin(work);

	(void)ctx;
	if (err)
		work_fail(work, err);
}

static void
refuse(struct turn *turn, enum turn_refusal why, int64_t ms, uint32_t retry_after_s, void *ctx)
{
	struct work *work = work_of_turn(turn);
	const struct conf_limits *limits = &work->on->serve->conf.limits;
	struct problem problem = {
		.status = 503,
		.code = writ_code_name(WRIT_UNAVAILABLE),
		.hint = "nothing was begun: ask again when Retry-After says",
		.retry_after_s = retry_after_s,
	};
	char value[160], limit[64];

	(void)ctx;
	switch (why) {
	case TURN_FULL:
		problem.rule = "limits.waiting";
		snprintf(value, sizeof(value), "another request of %.*s", WRIT_FMT(work_who(work)));
		snprintf(limit, sizeof(limit), "%u wait at most", limits->waiting);
		snprintf(problem.detail, sizeof(problem.detail), "others wait already, who asked less: try again");
		break;
	case TURN_TOO_LATE:
	case TURN_WAITED:
	case TURN_GONE:
	case TURN_REFUSALS:
		problem.rule = "limits.wait_ms";
		snprintf(value, sizeof(value), "%lld ms", (long long)ms);
		snprintf(limit, sizeof(limit), why == TURN_TOO_LATE ? "%u ms, half of what may be waited" : "%u ms",
			 why == TURN_TOO_LATE ? limits->wait_ms / 2 : limits->wait_ms);
		snprintf(problem.detail, sizeof(problem.detail),
			 why == TURN_TOO_LATE ? "its turn would not come in time: try again"
					      : "its turn did not come in time: try again");
		break;
	}
	problem.value = value;
	problem.limit = limit;
	work_problem(work, &problem);
}

struct writ_err *
shares_loop(struct serve_loop *on)
{
	const struct conf *of = &on->serve->conf;
	const struct conf_limits *limits = &of->limits;
	/* A resident tier's leaves wait for the device, in the signer's queue, which is fair by what the device can do. */
	const bool device_decides = of->custody.tier == TIER_RESIDENT;
	const struct turns_conf conf = {
		.at_once = device_decides ? SIGNER_CONN_LEAVES_MAX : limits->under_way,
		.crowded = CROWDED,
		.steady = device_decides,
		.waiting_max = limits->waiting,
		.wait_max_ms = limits->wait_ms,
		.room = room,
		.gone = gone,
		.begin = begin,
		.refuse = refuse,
		.ctx = on,
	};
	struct writ_err *err = roots_new(&on->roots);

	return err ? err : turns_new(&conf, &on->turns);
}

/* ---- shares ---- */

struct writ_err *
shares_asks(struct work *work, bool takes_back)
{
	struct admission *admission = work->on->serve->admission;

	return takes_back ? admission_take_back(admission, work_who(work), work->now.mono_ms)
			  : admission_take(admission, work_who(work), work->now.mono_ms);
}

static void
problem_of_delegator(const struct work *work, struct problem *ret, char limit[static 32])
{
	snprintf(limit, 32, "%u a second", work->on->serve->conf.limits.requests_per_delegator_s);
	*ret = (struct problem){
		.status = 429,
		.code = writ_code_name(WRIT_EXHAUSTED),
		.rule = "limits.requests_per_delegator_s",
		.value = "all that one root delegator and the agents below it ask",
		.limit = limit,
		.hint = "spread the requests: one delegator's agents are one party",
		.retry_after_s = 1,
	};
	snprintf(ret->detail, sizeof(ret->detail),
		 "the delegator at the root of this, with all its agents, asks more than %s", limit);
}

/* Whose the request is, and how far that is proven: a certificate is, a task that was named is not. */
static uint64_t
root_of(struct work *work, struct writ_bytes task, bool *ret_proven)
{
	struct serve_loop *on = work->on;
	uint64_t root = 0;

	*ret_proven = task.len == 0 && work->who;
	if (task.len == 0 && work->who && !work->who->is_leaf)
		root = admission_name(on->serve->admission, work->who->principal);
	else if (task.len > 0 || work->who)
		root = roots_of_task(on->roots, on->serve->admission, on->store, task.len > 0 ? task : work->who->task,
				     &work->arena);
	return root;
}

bool
shares_turn(struct work *work, struct writ_bytes task, struct writ_err *(*begin_it)(struct work *))
{
	struct admission *admission = work->on->serve->admission;
	const uint64_t asker = admission_name(admission, work_who(work));
	bool proven;
	const uint64_t root = root_of(work, task, &proven);

	work->root = proven ? 0 : root;
	work->begin = begin_it;
	if (root != 0 && !admission_delegator(admission, root, proven, work->now.mono_ms)) {
		struct problem problem;
		char limit[32];

		problem_of_delegator(work, &problem, limit);
		metrics_refused(&work->on->serve->metrics, problem.rule);
		work_problem(work, &problem);
		return false;
	}
	turns_enter(work->on->turns, &work->turn, root != 0 ? root : asker, asker,
		    work->batch ? 0 : work->request->body.len, work->now.mono_ms);
	return true;
}

struct writ_err *
shares_proven(struct work *work)
{
	const uint64_t root = work->root;

	work->root = 0;
	if (root == 0 || admission_delegator(work->on->serve->admission, root, true, work->now.mono_ms))
		return NULL;
	return writ_fail(WRIT_EXHAUSTED,
			 "the delegator at the root of this, with all its agents, asks more than %u a second",
			 work->on->serve->conf.limits.requests_per_delegator_s);
}

void
shares_at_signer(struct work *work, bool there)
{
	if (there)
		work->on->n_at_signer++;
	else
		work->on->n_at_signer--;
}

void
shares_left(struct work *work)
{
	turns_left(work->on->turns, &work->turn);
}

void
shares_pump(struct serve_loop *on)
{
	turns_pump(on->turns, loop_now(on->loop).mono_ms);
}

/* ---- /metrics ---- */

struct writ_err *
shares_write(struct serve *serve, int64_t now_ms, struct writ_buf *ret)
{
	struct turns_counts c = { 0 };
	struct writ_err *err;

	for (unsigned i = 0; i < serve->n_loops; i++)
		turns_told(serve->loops[i].turns, now_ms, &c);
	err = metrics_line(ret, "writ_turns_waiting", "gauge", c.waiting);
	if (!err)
		err = metrics_line(ret, "writ_turns_waiting_bytes", "gauge", c.bytes);
	if (!err)
		err = metrics_line(ret, "writ_turns_delegators", "gauge", c.delegators);
	if (!err)
		err = metrics_line(ret, "writ_turns_under_way", "gauge", c.under_way);
	if (!err)
		err = writ_buf_printf(ret,
				      "# TYPE writ_turns_oldest_seconds gauge\nwrit_turns_oldest_seconds %" PRIu64
				      ".%03u\n"
				      "# TYPE writ_turns_drain gauge\nwrit_turns_drain %" PRIu64 ".%03u\n"
				      "# TYPE writ_turns_refused_total counter\n",
				      c.oldest_ms / 1000, (unsigned)(c.oldest_ms % 1000), c.drain_milli / 1000,
				      (unsigned)(c.drain_milli % 1000));
	for (size_t i = 0; i < TURN_REFUSALS && !err; i++)
		err = writ_buf_printf(ret, "writ_turns_refused_total{reason=\"%s\"} %" PRIu64 "\n",
				      turn_refusal_name((enum turn_refusal)i), c.refused[i]);
	if (!err)
		err = metrics_histogram(ret, "writ_turns_waited_seconds", turns_bounds_ms, TURNS_BOUNDS, c.waited,
					c.waited_ms);
	return err;
}
