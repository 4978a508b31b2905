/*
 * writ task, complete, revoke, freeze, thaw: what is delegated, and how it ends.  Tasks that wait: approvals.c.
 */
#include "issuer/cli/approvals.h"
#include "policy/names.h"

static const char *
tell_logged(const struct api_answer *a)
{
	return json_is_true(json_object_get(a->json, "logged")) ? "yes"
								: "not yet: in force, but the journal owes the entry";
}

static int
tell_revoked(const struct options *o, const struct api_answer *a)
{
	if (api_printed_json(o, a))
		return CLI_DONE;
	cli_say("edges", "%lld", api_number(a->json, "edges"));
	cli_say("leaves revoked", "%lld", api_number(a->json, "leaves"));
	cli_say("logged", "%s", tell_logged(a));
	return CLI_DONE;
}

static struct writ_err *
task_path(const char *id, const char *more, char *out, size_t out_len)
{
	struct writ_err *err = task_id_check(writ_str(id));

	if (!err)
		snprintf(out, out_len, "/v1/tasks/%s%s", id, more);
	return err;
}

static int
show(int argc, char **argv)
{
	static const struct option_spec specs[] = { API_OPTIONS };
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	char path[128];
	json_t *edge;
	size_t i;
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err)
		err = task_path(o.arguments[0], "", path, sizeof(path));
	if (err)
		return cli_misused("task", err);
	err = api_ask_json(&o, "GET", path, NULL, &answer);
	if (err)
		return cli_fail("task", err);
	code = api_verdict("task", &answer);
	if (code != CLI_DONE || api_printed_json(&o, &answer))
		return code;
	cli_say("task", "%s", api_text(answer.json, "id"));
	cli_say("state", "%s", api_text(answer.json, "state"));
	cli_say("opened by", "%s", api_text(answer.json, "opener"));
	if (*api_text(answer.json, "purpose"))
		cli_say("purpose", "%s", api_text(answer.json, "purpose"));
	cli_say("created", "%s", api_text(answer.json, "created"));
	if (*api_text(answer.json, "ends"))
		cli_say("ends", "%s", api_text(answer.json, "ends"));
	if (*api_text(answer.json, "ended"))
		cli_say("ended", "%s", api_text(answer.json, "ended"));
	json_array_foreach(json_object_get(answer.json, "edges"), i, edge)
		cli_say("edge", "%s %s: %s -> %s, %lld more, ends %s", api_text(edge, "id"), api_text(edge, "state"),
			api_text(edge, "delegator"), api_text(edge, "agent"), api_number(edge, "depth"),
			api_text(edge, "not_after"));
	approvals_say(json_object_get(answer.json, "approvals"));
	return CLI_DONE;
}

/* Words stand before ids: a task that is named as one of them is shown with `writ task -- approve`. */
int
cmd_task(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "list") == 0)
		return approvals_list(argc - 1, argv + 1);
	if (argc > 1 && (strcmp(argv[1], "approve") == 0 || strcmp(argv[1], "refuse") == 0))
		return approvals_decide(argc - 1, argv + 1, argv[1][0] == 'r');
	return show(argc, argv);
}

int
cmd_complete(int argc, char **argv)
{
	static const struct option_spec specs[] = { API_OPTIONS };
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	char path[128];
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err)
		err = task_path(o.arguments[0], "/complete", path, sizeof(path));
	if (err)
		return cli_misused("complete", err);
	err = api_ask_json(&o, "POST", path, NULL, &answer);
	if (err)
		return cli_fail("complete", err);
	code = api_verdict("complete", &answer);
	return code == CLI_DONE ? tell_revoked(&o, &answer) : code;
}

int
cmd_revoke(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--edge", OPTION_VALUE, false, NULL },   { "--serial", OPTION_VALUE, false, NULL },
		{ "--task", OPTION_VALUE, false, NULL },   { "--principal", OPTION_VALUE, false, NULL },
		{ "--reason", OPTION_VALUE, false, NULL }, API_OPTIONS,
	};
	static const char *const what[] = { "--edge", "--serial", "--task", "--principal" };
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	json_t *body;
	size_t n = 0;
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("revoke", err);
	body = json_object();
	for (size_t i = 0; i < N_OF(what); i++) {
		if (!option_given(&o, what[i]))
			continue;
		json_object_set_new(body, what[i] + 2, json_string(option(&o, what[i])));
		n++;
	}
	if (n != 1) {
		json_decref(body);
		return cli_misused(
			"revoke",
			writ_fail(WRIT_INVALID,
				  "exactly one of --edge, --serial, --task, --principal is wanted, %zu given", n));
	}
	if (option_given(&o, "--reason"))
		json_object_set_new(body, "reason", json_string(option(&o, "--reason")));
	err = api_ask_json(&o, "POST", "/v1/revocations", body, &answer);
	if (err)
		return cli_fail("revoke", err);
	code = api_verdict("revoke", &answer);
	return code == CLI_DONE ? tell_revoked(&o, &answer) : code;
}

/* ---- freeze, thaw ---- */

static bool
is_given(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return false;
}

static int
freezes_list(const struct options *o)
{
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct writ_err *err = api_ask_json(o, "GET", "/v1/freezes", NULL, &answer);
	json_t *one;
	size_t i;
	int code;

	if (err)
		return cli_fail("freeze", err);
	code = api_verdict("freeze", &answer);
	if (code != CLI_DONE || api_printed_json(o, &answer))
		return code;
	json_array_foreach(json_object_get(answer.json, "freezes"), i, one)
		cli_say(api_text(one, "what"), "%s since %s by %s",
			*api_text(one, "principal") ? api_text(one, "principal") : "everything", api_text(one, "at"),
			api_text(one, "by"));
	return CLI_DONE;
}

/* A principal's name, or --all. */
static json_t *
whose(const struct options *o, bool all)
{
	json_t *body = json_object();

	if (all)
		json_object_set_new(body, "all", json_true());
	else
		json_object_set_new(body, "principal", json_string(o->arguments[0]));
	return body;
}

int
cmd_freeze(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--all", OPTION_FLAG, false, NULL },
		{ "--list", OPTION_FLAG, false, NULL },
		{ "--reason", OPTION_VALUE, false, NULL },
		API_OPTIONS,
	};
	const bool all = is_given(argc, argv, "--all"), list = is_given(argc, argv, "--list");
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), all || list ? 0 : 1, &o);
	json_t *body;
	int code;

	if (!err && list && (all || option_given(&o, "--reason")))
		err = writ_fail(WRIT_INVALID, "--list goes with neither --all nor --reason");
	if (err)
		return cli_misused("freeze", err);
	if (list)
		return freezes_list(&o);
	body = whose(&o, all);
	json_object_set_new(body, "freeze", json_true());
	if (option_given(&o, "--reason"))
		json_object_set_new(body, "reason", json_string(option(&o, "--reason")));
	err = api_ask_json(&o, "POST", "/v1/revocations", body, &answer);
	if (err)
		return cli_fail("freeze", err);
	code = api_verdict("freeze", &answer);
	return code == CLI_DONE ? tell_revoked(&o, &answer) : code;
}

int
cmd_thaw(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--all", OPTION_FLAG, false, NULL }, API_OPTIONS };
	const bool all = is_given(argc, argv, "--all");
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), all ? 0 : 1, &o);
	int code;

	if (err)
		return cli_misused("thaw", err);
	err = api_ask_json(&o, "POST", "/v1/freezes/lift", whose(&o, all), &answer);
	if (err)
		return cli_fail("thaw", err);
	code = api_verdict("thaw", &answer);
	if (code != CLI_DONE || api_printed_json(&o, &answer))
		return code;
	cli_say("logged", "%s", tell_logged(&answer));
	return CLI_DONE;
}
