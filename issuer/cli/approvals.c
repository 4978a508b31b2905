/*
 * writ task list, approve, refuse: tasks that wait for others than who asked for them.
 *
 * What is approved is named by its digest, taken here over the very text that is shown: a server that shows one thing
 * and means another is found out.
 */
#include "issuer/cli/approvals.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/text.h"
#include "policy/names.h"

/* As cli_say(), of any length: what is approved is shown whole. */
static void
put(const char *text)
{
	for (; *text; text++)
		putchar(iscntrl((unsigned char)*text) ? '?' : *text);
}

static void
say_texts(const char *name, const json_t *list, const char *more)
{
	const json_t *item;
	size_t i;

	printf("%s: ", name);
	json_array_foreach(list, i, item)
	{
		put(i > 0 ? ", " : "");
		put(json_is_string(item) ? json_string_value(item) : "?");
	}
	printf("%s\n", more);
}

static void
say_constraints(const char *name, const json_t *constraints)
{
	const json_t *item;
	size_t i;

	json_array_foreach(constraints, i, item)
	{
		char *text = json_dumps(item, JSON_COMPACT);

		printf("%s: ", name);
		put(text ? text : "?");
		putchar('\n');
		free(text);
	}
}

/* All of it: nothing is approved that was not on the screen. */
static void
say_request(const json_t *request)
{
	const json_t *context = json_object_get(request, "context"), *one;
	size_t i;

	cli_say("agent", "%s", api_text(request, "agent"));
	cli_say("key", "%s", api_text(request, "spki_sha256"));
	json_array_foreach(json_object_get(request, "scope"), i, one)
	{
		say_texts("asks for", json_object_get(one, "actions"),
			  json_is_true(json_object_get(one, "delegable")) ? "; may pass it on" : "");
		say_texts("  on", json_object_get(one, "resources"), "");
		say_constraints("  only with", json_object_get(one, "constraints"));
	}
	say_constraints("only with", json_object_get(request, "constraints"));
	say_texts("towards", json_object_get(request, "audience"), "");
	if (context)
		cli_say("context", "%s %s", api_text(context, "type"), api_text(context, "digest"));
	cli_say("depth", "%lld more", api_number(request, "depth"));
	if (*api_text(request, "ends"))
		cli_say("ends", "%s, as it was signed", api_text(request, "ends"));
	else
		cli_say("lasts", "%lld s from its opening", api_number(request, "ends_in_s"));
}

void
approvals_say(const json_t *approvals)
{
	const json_t *said;
	json_t *request = json_loads(api_text(approvals, "request"), JSON_REJECT_DUPLICATES, NULL);
	size_t i;

	if (!approvals)
		return;
	say_request(request);
	json_decref(request);
	cli_say("approvals", "%lld of %lld, until %s, by rule %s", api_number(approvals, "given"),
		api_number(approvals, "needed"), api_text(approvals, "expires"), api_text(approvals, "rule"));
	say_texts("may approve", json_object_get(approvals, "by"), "");
	json_array_foreach(json_object_get(approvals, "said"), i, said)
		cli_say(strcmp(api_text(said, "decision"), "refuse") == 0 ? "refused by" : "approved by", "%s, %s%s%s",
			api_text(said, "principal"), api_text(said, "at"), *api_text(said, "because") ? ": " : "",
			api_text(said, "because"));
	cli_say("digest", "%s", api_text(approvals, "digest"));
}

void
approvals_say_pending(const json_t *pending)
{
	cli_say("task", "%s", api_text(pending, "task"));
	cli_say("state", "%s", api_text(pending, "state"));
	cli_say("agent", "%s", api_text(pending, "agent"));
	cli_say("approvals", "%lld of %lld, until %s, by rule %s", api_number(pending, "given"),
		api_number(pending, "needed"), api_text(pending, "expires"), api_text(pending, "rule"));
	cli_say("digest", "%s", api_text(pending, "digest"));
	if (*api_text(pending, "not_after"))
		cli_say("ends", "%s", api_text(pending, "not_after"));
}

/* ---- list ---- */

int
approvals_list(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--pending", OPTION_FLAG, false, NULL }, API_OPTIONS };
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	const json_t *task;
	struct options o;
	size_t i;
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("task list", err);
	err = api_ask_json(&o, "GET",
			   option_given(&o, "--pending") ? "/v1/tasks?state=pending" : "/v1/tasks?state=open", NULL,
			   &answer);
	if (err)
		return cli_fail("task list", err);
	code = api_verdict("task list", &answer);
	if (code != CLI_DONE || api_printed_json(&o, &answer))
		return code;
	json_array_foreach(json_object_get(answer.json, "tasks"), i, task)
	{
		if (*api_text(task, "expires"))
			cli_say("task", "%s: %s -> %s, %lld of %lld approvals, until %s", api_text(task, "id"),
				api_text(task, "opener"), api_text(task, "agent"), api_number(task, "given"),
				api_number(task, "needed"), api_text(task, "expires"));
		else
			cli_say("task", "%s: open, ends %s", api_text(task, "id"), api_text(task, "ends"));
	}
	if (json_is_true(json_object_get(answer.json, "more")))
		cli_say("more", "these are the first %zu", json_array_size(json_object_get(answer.json, "tasks")));
	return CLI_DONE;
}

/* ---- approve, refuse ---- */

/* What waits, whose digest is that of the text shown and, if one was given, the one that was looked at before. */
WRIT_CHECKED static struct writ_err *
check(const char *id, const json_t *task, const char *wanted, const json_t **ret)
{
	const json_t *approvals = json_object_get(task, "approvals");
	const char *digest = api_text(approvals, "digest");
	uint8_t hash[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	*ret = approvals;
	if (!approvals)
		return writ_fail(WRIT_INVALID, "task %s waits for no approval", id);
	writ_sha256(writ_str(api_text(approvals, "request")), hash);
	if (strcmp(writ_hex((struct writ_bytes){ hash, sizeof(hash) }, hex), digest) != 0)
		return writ_fail(WRIT_BROKEN, "task %s: the digest is not that of the request that the server shows",
				 id);
	if (wanted && strcmp(wanted, digest) != 0)
		return writ_fail(WRIT_CONFLICT, "task %s: its digest is %s, not the one given: look at it again", id,
				 digest);
	return NULL;
}

static json_t *
statement(const struct options *o, bool refuses, const json_t *approvals)
{
	json_t *body = json_object();

	json_object_set_new(body, "decision", json_string(refuses ? "refuse" : "approve"));
	json_object_set_new(body, "digest", json_string(api_text(approvals, "digest")));
	if (refuses)
		json_object_set_new(body, "because", json_string(option(o, "--because")));
	return body;
}

int
approvals_decide(int argc, char **argv, bool refuses)
{
	static const struct option_spec specs[] = { API_OPTIONS,
						    { "--digest", OPTION_VALUE, false, NULL },
						    { "--because", OPTION_VALUE, true, NULL } };
	const char *command = refuses ? "task refuse" : "task approve";
	AUTO(api_answer_done) struct api_answer shown = { 0 }, answer = { 0 };
	const json_t *approvals;
	struct options o;
	char path[128];
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs) - (refuses ? 0 : 1), 1, &o);

	if (!err)
		err = task_id_check(writ_str(o.arguments[0]));
	if (err)
		return cli_misused(command, err);
	snprintf(path, sizeof(path), "/v1/tasks/%s", o.arguments[0]);
	err = api_ask_json(&o, "GET", path, NULL, &shown);
	if (err)
		return cli_fail(command, err);
	code = api_verdict(command, &shown);
	if (code != CLI_DONE)
		return code;
	err = check(o.arguments[0], shown.json, option(&o, "--digest"), &approvals);
	if (err)
		return cli_fail(command, err);
	snprintf(path, sizeof(path), "/v1/tasks/%s/approvals", o.arguments[0]);
	err = api_ask_json(&o, "POST", path, statement(&o, refuses, approvals), &answer);
	if (err)
		return cli_fail(command, err);
	code = api_verdict(command, &answer);
	if (code != CLI_DONE || api_printed_json(&o, &answer))
		return code;
	approvals_say_pending(answer.json);
	return CLI_DONE;
}
