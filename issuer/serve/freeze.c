/*
 * Freezes: see freeze.h.
 */
#include "issuer/serve/freeze.h"

#include "base/event.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/serve/work.h"

static const char *
what_name(enum revoke_what what)
{
	return what == REVOKE_ALL ? "all" : what == REVOKE_CLASS ? "class" : "principal";
}

struct writ_err *
freeze_operator(struct work *work, bool *ret)
{
	enum revoke_what why;
	struct writ_err *err;

	*ret = !work->who->is_leaf && policy_role(work->rules->policy, ROLE_OPERATOR, work->who->principal);
	if (!*ret)
		return NULL;
	err = store_frozen(work->on->store, work->who->principal, &why);
	*ret = !err && (why == 0 || why == REVOKE_ALL);
	return err;
}

struct writ_err *
freeze_check(struct work *work, struct writ_bytes principal, bool *ret_refused)
{
	enum revoke_what why;
	struct writ_err *err;

	*ret_refused = false;
	err = store_frozen(work->on->store, principal, &why);
	if (err || why == 0)
		return err;
	*ret_refused = true;
	work_deny(work, "R9", principal,
		  why == REVOKE_ALL	? "everything is frozen"
		  : why == REVOKE_CLASS ? "the agent's class is frozen"
					: "this principal is frozen",
		  "an operator lifts it: writ thaw");
	return NULL;
}

struct writ_err *
freeze_note(struct work *work, const struct store_revoke *revoke, const char *state)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	struct canon_out out = canon_write(&said);
	struct store_item *item = &work->job.item;
	struct writ_err *err;

	canon_object(&out, NULL);
	canon_text(&out, "by", work->who->principal);
	if (revoke->what != REVOKE_ALL)
		canon_text(&out, "principal", revoke->id);
	canon_hex(&out, "request", (struct writ_bytes){ work->id, sizeof(work->id) });
	canon_text(&out, "state", writ_str(state));
	canon_text(&out, "what", writ_str(what_name(revoke->what)));
	canon_end(&out);
	err = canon_finish(&out);
	if (err)
		return err;
	item->note_type = ENTRY_FREEZE;
	item->note = writ_arena_copy(&work->arena, writ_view(&said));
	return item->note.data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a note");
}

/* ---- GET /v1/freezes ---- */

static struct writ_err *
freeze_show(const struct store_freeze *freeze, void *ctx)
{
	struct out *out = ctx;

	out_open(out, NULL, '{');
	out_text(out, "what", writ_str(what_name(freeze->what)));
	if (freeze->what != REVOKE_ALL)
		out_text(out, "principal", freeze->id);
	out_text(out, "by", freeze->by);
	out_time(out, "at", freeze->at);
	out_close(out, '}');
	return NULL;
}

struct writ_err *
freeze_list(struct work *work)
{
	struct out out = out_to(&work->answer);
	struct writ_err *err;

	out_open(&out, NULL, '{');
	out_open(&out, "freezes", '[');
	err = store_freezes(work->on->store, freeze_show, &out);
	out_close(&out, ']');
	out_close(&out, '}');
	if (err)
		writ_err_free(out_done(&out));
	else
		err = out_done(&out);
	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}

/* ---- POST /v1/freezes/lift ---- */

static void
lifted(struct job *job)
{
	struct work *work = work_of_job(job);
	struct writ_err *err = TAKE(job->item.result);
	struct out out = out_to(&work->answer);

	if (!err) {
		out_open(&out, NULL, '{');
		out_bool(&out, "logged", job->logged);
		out_close(&out, '}');
		err = out_done(&out);
	}
	if (err) {
		work_fail(work, err);
		return;
	}
	event(EVENT_INFO, "serve.thawed", EV_HEX("request", ((struct writ_bytes){ work->id, sizeof(work->id) })),
	      EV_TEXT("who", work->who->principal), EV_STR("what", what_name(work->revoke.what)),
	      EV_TEXT("principal", work->revoke.id), EV_FLAG("logged", job->logged));
	/* As of a revocation: kept in memory, since it is known after the commit only. */
	if (work->once.len > 0)
		once_answer(work->on->serve->once, work->once, 200, writ_view(&work->answer), work->now.wall);
	work_answer(work, 200, writ_view(&work->answer));
}

struct writ_err *
freeze_lift(struct work *work)
{
	struct request_revoke asked;
	struct writ_err *err;
	bool allowed;

	err = request_lift(work->request->body, &work->arena, &asked);
	if (err)
		return err;
	if (work_once(work, work->who->principal))
		return NULL;
	err = freeze_operator(work, &allowed);
	if (err)
		return err;
	if (!allowed) {
		work_deny(work, "R0", WRIT_LIT("this thaw"), "lifted by an operator who is not frozen",
			  "ask one of them");
		return NULL;
	}
	work->revoke = (struct store_revoke){
		.what = asked.target == TARGET_ALL     ? REVOKE_ALL
			: asked.target == TARGET_CLASS ? REVOKE_CLASS
						       : REVOKE_PRINCIPAL,
		.id = asked.id,
	};
	err = freeze_note(work, &work->revoke, "thawed");
	if (err)
		return err;
	work->job.item.revoke = &work->revoke;
	work_store(work, STORE_THAW, lifted);
	return NULL;
}
