/*
 * writ policy check, writ policy explain: the policy read as writd reads it, and one decision told rule by rule.
 */
#include "base/file.h"
#include "base/yaml.h"
#include "issuer/cli/cli.h"
#include "policy/policy.h"

static struct writ_err *
load(const char *path, struct policy **ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &text);

	return err ? err : policy_parse(path, writ_view(&text), ret);
}

/* As cli_fail(); a file over one of our limits gets no better by waiting. */
static int
fail(const char *command, struct writ_err *err)
{
	const int code = cli_fail(command, err);

	return code == CLI_LATER ? CLI_FAILED : code;
}

static int
check(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--print", OPTION_FLAG, false, NULL } };
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(4 * YAML_BYTES_MAX);
	struct options o;
	unsigned n = 0;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (err)
		return cli_misused("policy check", err);
	err = load(o.arguments[0], &policy);
	if (!err && option_given(&o, "--print"))
		err = policy_print(policy, &out);
	else if (!err)
		err = policy_lint(policy, &out, &n);
	if (err)
		return fail("policy check", err);
	if (out.len > 0)
		fwrite(out.data, 1, out.len, stdout);
	if (!option_given(&o, "--print"))
		cli_say("policy", "%.*s is well formed, %u warning%s", (int)policy_id(policy).len,
			(const char *)policy_id(policy).data, n, n == 1 ? "" : "s");
	return CLI_DONE;
}

/* ---- explain ---- */

/* Splits a list at commas; texts stay in the argument. */
static struct writ_err *
split(const char *text, size_t len, size_t max, struct writ_bytes *list, struct texts *ret)
{
	const char *end = text + len;
	size_t n = 0;

	while (text < end) {
		const char *comma = memchr(text, ',', (size_t)(end - text)), *stop = comma ? comma : end;

		if (n == max)
			return writ_fail(WRIT_EXHAUSTED, "more than %zu names in one list", max);
		list[n++] = (struct writ_bytes){ (const uint8_t *)text, (size_t)(stop - text) };
		text = comma ? comma + 1 : end;
	}
	*ret = (struct texts){ n, list };
	return NULL;
}

struct asked {
	struct writ_bytes actions[ENTITLEMENTS_MAX][ACTIONS_MAX], resources[ENTITLEMENTS_MAX][RESOURCES_MAX],
		audience[AUDIENCE_MAX];
	struct entitlement entitlements[ENTITLEMENTS_MAX];
	struct grant grant;
};

static struct writ_err *
add(struct asked *asked, const char *text, bool delegable)
{
	struct entitlement *e = &asked->entitlements[asked->grant.n_entitlements];
	const char *on = strstr(text, " on ");
	struct writ_err *err;

	if (!on)
		return writ_fail(WRIT_INVALID, "'%.80s' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'", text);
	if (asked->grant.n_entitlements == ENTITLEMENTS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "more than %d entitlements", ENTITLEMENTS_MAX);
	err = split(text, (size_t)(on - text), ACTIONS_MAX, asked->actions[asked->grant.n_entitlements], &e->actions);
	if (!err)
		err = split(on + 4, strlen(on + 4), RESOURCES_MAX, asked->resources[asked->grant.n_entitlements],
			    &e->resources);
	e->delegable = delegable;
	asked->grant.n_entitlements++;
	return err;
}

static struct writ_err *
read_asked(const struct options *o, struct asked *asked)
{
	const char *const *texts;
	size_t n = option_list(o, "--allow", &texts);
	struct writ_err *err = NULL;

	for (size_t i = 0; i < n && !err; i++)
		err = add(asked, texts[i], false);
	n = option_list(o, "--allow-delegable", &texts);
	for (size_t i = 0; i < n && !err; i++)
		err = add(asked, texts[i], true);
	n = option_list(o, "--audience", &texts);
	if (!err && n > AUDIENCE_MAX)
		err = writ_fail(WRIT_EXHAUSTED, "more than %d --audience", AUDIENCE_MAX);
	for (size_t i = 0; i < n && !err; i++)
		asked->audience[i] = writ_str(texts[i]);
	asked->grant.entitlements = asked->entitlements;
	asked->grant.audience = (struct texts){ n, asked->audience };
	return err;
}

static int
explain(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--delegator", OPTION_VALUE, true, NULL },	   { "--kind", OPTION_VALUE, true, NULL },
		{ "--agent", OPTION_VALUE, true, NULL },	   { "--allow", OPTION_LIST, false, NULL },
		{ "--allow-delegable", OPTION_LIST, false, NULL }, { "--audience", OPTION_LIST, true, NULL },
		{ "--depth", OPTION_VALUE, false, NULL },	   { "--ends", OPTION_VALUE, false, NULL },
	};
	static struct asked asked;
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(1024 * 1024);
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(1024 * 1024);
	struct policy_facts facts = { .act = ACT_DELEGATE };
	struct grant canonical;
	struct verdict verdict;
	struct options o;
	uint64_t depth = 0;
	uint32_t ends_s = 3600;
	const writ_time now = clock_read().wall;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err)
		err = option_number(&o, "--depth", DEPTH_MAX, &depth);
	if (!err)
		err = option_seconds(&o, "--ends", GRANT_MAX_S, &ends_s);
	if (!err && !principal_kind_from(writ_str(option(&o, "--kind")), &facts.delegator_kind))
		err = writ_fail(WRIT_INVALID, "--kind: '%.20s' is none of human, service, agent", option(&o, "--kind"));
	if (!err && facts.delegator_kind == PRINCIPAL_AGENT)
		err = writ_fail(WRIT_INVALID,
				"--kind agent: what an agent may delegate depends on its leaf as well; ask the server");
	if (!err)
		err = read_asked(&o, &asked);
	if (err)
		return cli_misused("policy explain", err);
	err = load(o.arguments[0], &policy);
	if (!err)
		err = grant_canonical(&asked.grant, &arena, &canonical);
	if (!err)
		err = grant_check(&canonical);
	if (err)
		return fail("policy explain", err);
	facts.delegator = writ_str(option(&o, "--delegator"));
	facts.agent = writ_str(option(&o, "--agent"));
	facts.grant = &canonical;
	facts.depth = (unsigned)depth;
	facts.edge_not_after = now + ends_s - 1;
	facts.task_ends = facts.edge_not_after;
	err = policy_explain(policy, &facts, now, &out);
	if (err)
		return fail("policy explain", err);
	if (out.len > 0)
		fwrite(out.data, 1, out.len, stdout);
	policy_decide(policy, &facts, now, &verdict);
	return verdict.kind == VERDICT_ALLOW ? CLI_DONE : CLI_REFUSED;
}

int
cmd_policy(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "check") == 0)
		return check(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "explain") == 0)
		return explain(argc - 1, argv + 1);
	fputs("writ policy: check or explain is wanted\n", stderr);
	return CLI_MISUSED;
}
