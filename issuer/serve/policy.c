/*
 * The policy in force and its reload: see policy.h.
 */
#include "issuer/serve/policy.h"

#include "issuer/serve/keeper.h"
#include "issuer/serve/work.h"

WRIT_CHECKED static struct writ_err *
answer_policy(const struct rules *rules, struct writ_buf *ret)
{
	struct out out = out_to(ret);

	out_open(&out, NULL, '{');
	out_text(&out, "id", policy_id(rules->policy));
	if (policy_revision(rules->policy))
		out_int(&out, "revision", (int64_t)policy_revision(rules->policy));
	out_hex(&out, "digest", (struct writ_bytes){ policy_digest(rules->policy), 32 });
	out_int(&out, "rules", (int64_t)policy_n_rules(rules->policy));
	out_time(&out, "loaded_at", rules->loaded_at);
	out_close(&out, '}');
	return out_done(&out);
}

struct writ_err *
policy_show(struct work *work)
{
	struct writ_err *err = answer_policy(work->rules, &work->answer);

	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}

/* In the work's arena; the keeper's while it reads the files. */
struct reload {
	struct errand errand;
	struct work *work;
	struct writ_bytes by;
	struct writ_err *err;
};

/* Back on the loop. */
static void
reload_answer(void *arg)
{
	struct reload *r = arg;

	if (r->err)
		work_fail(r->work, TAKE(r->err));
	else
		work_answer(r->work, 200, writ_view(&r->work->answer));
}

/* On the keeper. */
static void
reload_run(struct errand *errand)
{
	struct reload *r = (struct reload *)errand;
	const struct rules *rules = NULL;

	r->err = keeper_reload(r->work->on->serve, r->by, &rules);
	if (!r->err)
		r->err = answer_policy(rules, &r->work->answer);
	loop_post(r->work->on->loop, reload_answer, r);
}

struct writ_err *
policy_reload(struct work *work)
{
	struct reload *r = writ_arena_take(&work->arena, sizeof(*r));

	if (r)
		r->by = writ_arena_copy(&work->arena, work->who->principal);
	if (!r || !r->by.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory to reload the policy");
	r->errand.run = reload_run;
	r->work = work;
	if (!serve_errand(work->on->serve, &r->errand))
		return writ_fail(WRIT_UNAVAILABLE, "stopping: ask again in a moment");
	return NULL;
}
