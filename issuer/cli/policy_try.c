/*
 * writ policy test, writ policy explain: decisions asked of a policy without a server.
 *
 * Both decide by policy_decide(); a request comes from options or from a file of cases.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/yaml.h"
#include "issuer/cli/policy_cmd.h"
#include "policy/cases.h"

#define OUT_MAX (4 * 1024 * 1024)
#define CASE_ARENA_MAX (1024 * 1024)

static struct writ_err *
cases_load(const char *path, struct cases **ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &text);

	return err ? err : cases_parse(path, writ_view(&text), ret);
}

/* ---- test ---- */

/* "policy.yaml" has its cases in "policy.cases.yaml". */
static struct writ_err *
cases_path(const char *policy, char out[4096])
{
	const char *dot = strrchr(policy, '.');
	const size_t len = dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) ? (size_t)(dot - policy)
											  : strlen(policy);
	const int n = snprintf(out, 4096, "%.*s.cases.yaml", (int)len, policy);

	return n > 0 && n < 4096 ? NULL : writ_fail(WRIT_INVALID, "%s: is too long a name", policy);
}

/* What came of one case, as TAP: a line, and below it what differs. */
static void
tap(size_t i, struct writ_bytes name, bool passed, struct writ_bytes why, unsigned line)
{
	const char *at = (const char *)why.data, *end = at + why.len;

	printf("%s %zu - %.*s\n", passed ? "ok" : "not ok", i + 1, (int)name.len, (const char *)name.data);
	if (!passed)
		printf("# case in line %u\n", line);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));

		stop = stop ? stop : end;
		printf("# %.*s\n", (int)(stop - at), at);
		at = stop < end ? stop + 1 : end;
	}
}

static struct writ_err *
test_one(const struct policy *policy, const struct cases *cases, size_t i, writ_time now, size_t *failed)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(CASE_ARENA_MAX);
	AUTO(writ_buf_done) struct writ_buf why = WRIT_BUF(16384);
	struct case_facts facts;
	struct verdict verdict;
	char text[600];
	bool passed = false;
	struct writ_err *err;

	now = cases_now(cases, now);
	err = cases_facts(cases, i, now, &arena, &facts);
	if (err) { /* no verdict can be had: the constraints do not fit a leaf */
		struct writ_err *full = writ_buf_printf(&why, "%s\n", writ_err_text(err, text, sizeof(text)));

		writ_err_free(err);
		err = full;
	} else {
		policy_decide(policy, &facts.facts, now, &verdict);
		err = cases_judge(cases, i, now, &verdict, &why, &passed);
	}
	if (err)
		return err;
	tap(i, cases_name(cases, i), passed, writ_view(&why), cases_line(cases, i));
	*failed += !passed;
	return NULL;
}

int
policy_cmd_test(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--cases", OPTION_VALUE, false, NULL } };
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(cases_freep) struct cases *cases = NULL;
	const writ_time now = clock_read().wall;
	char beside[4096];
	size_t failed = 0;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (err)
		return cli_misused("policy test", err);
	err = policy_cmd_load(o.arguments[0], &policy);
	if (!err)
		err = cases_path(o.arguments[0], beside);
	if (!err)
		err = cases_load(option(&o, "--cases") ? option(&o, "--cases") : beside, &cases);
	if (err)
		return policy_cmd_fail("policy test", err);
	printf("1..%zu\n", cases_n(cases));
	for (size_t i = 0; i < cases_n(cases) && !err; i++)
		err = test_one(policy, cases, i, now, &failed);
	if (err)
		return policy_cmd_fail("policy test", err);
	if (failed > 0)
		printf("# %zu of %zu cases failed\n", failed, cases_n(cases));
	return failed > 0 ? CLI_FAILED : CLI_DONE;
}

/* ---- explain: a request from options ---- */

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

/* ---- explain ---- */

/* What is explained, wherever it came from; `facts` points into the rest. */
struct question {
	struct asked asked;
	struct grant canonical;
	struct writ_arena arena;
	struct cases *cases;
	struct case_facts from_case;
	struct policy_facts facts;
	writ_time now;
};

static void
question_done(struct question *q)
{
	writ_arena_done(&q->arena);
	cases_free(q->cases);
}

static const char *const request_options[] = { "--delegator",	    "--kind",	  "--agent", "--allow",
					       "--allow-delegable", "--audience", "--depth", "--ends" };
static const char *const needed_options[] = { "--delegator", "--kind", "--agent", "--audience" };

/* WRIT_INVALID: misused. */
static struct writ_err *
options_check(const struct options *o)
{
	const char *mark;

	if (option(o, "--case")) {
		for (size_t i = 0; i < N_OF(request_options); i++)
			if (option_given(o, request_options[i]))
				return writ_fail(WRIT_INVALID, "--case tells the request: leave %s out",
						 request_options[i]);
		mark = strrchr(option(o, "--case"), '#');
		if (!mark || mark == option(o, "--case"))
			return writ_fail(WRIT_INVALID, "--case: '%.80s' is not FILE#NAME", option(o, "--case"));
		return NULL;
	}
	for (size_t i = 0; i < N_OF(needed_options); i++)
		if (!option_given(o, needed_options[i]))
			return writ_fail(WRIT_INVALID, "%s is missing", needed_options[i]);
	return NULL;
}

static struct writ_err *
from_options(const struct options *o, struct question *q)
{
	struct policy_facts *facts = &q->facts;
	uint32_t ends_s = 3600;
	uint64_t depth = 0;
	struct writ_err *err;

	err = option_number(o, "--depth", DEPTH_MAX, &depth);
	if (!err)
		err = option_seconds(o, "--ends", GRANT_MAX_S, &ends_s);
	if (!err && !principal_kind_from(writ_str(option(o, "--kind")), &facts->delegator_kind))
		err = writ_fail(WRIT_INVALID, "--kind: '%.20s' is none of human, service, agent", option(o, "--kind"));
	if (!err && facts->delegator_kind == PRINCIPAL_AGENT)
		err = writ_fail(WRIT_INVALID, "--kind agent: what an agent may delegate depends on its leaf as well: "
					      "write a case with its parent, and name it with --case FILE#NAME");
	if (!err)
		err = read_asked(o, &q->asked);
	facts->act = ACT_DELEGATE;
	facts->delegator = writ_str(option(o, "--delegator"));
	facts->agent = writ_str(option(o, "--agent"));
	facts->grant = &q->canonical;
	facts->depth = (unsigned)depth;
	facts->edge_not_after = facts->task_ends = q->now + ends_s; /* as the issuer reckons */
	return err;
}

/* FILE#NAME, which it is: names of cases hold no '#'. */
static struct writ_err *
from_case(const char *text, struct question *q)
{
	const char *mark = strrchr(text, '#');
	char path[4096];
	struct writ_err *err;
	size_t i;

	if ((size_t)(mark - text) >= sizeof(path))
		return writ_fail(WRIT_INVALID, "--case: the name of the file is too long");
	memcpy(path, text, (size_t)(mark - text));
	path[mark - text] = '\0';
	err = cases_load(path, &q->cases);
	if (err)
		return err;
	if (!cases_find(q->cases, writ_str(mark + 1), &i))
		return writ_fail(WRIT_NOT_FOUND, "%s: no case is named '%.120s'", path, mark + 1);
	q->now = cases_now(q->cases, q->now);
	err = cases_facts(q->cases, i, q->now, &q->arena, &q->from_case);
	q->facts = q->from_case.facts;
	return err;
}

int
policy_cmd_explain(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--delegator", OPTION_VALUE, false, NULL },	   { "--kind", OPTION_VALUE, false, NULL },
		{ "--agent", OPTION_VALUE, false, NULL },	   { "--allow", OPTION_LIST, false, NULL },
		{ "--allow-delegable", OPTION_LIST, false, NULL }, { "--audience", OPTION_LIST, false, NULL },
		{ "--depth", OPTION_VALUE, false, NULL },	   { "--ends", OPTION_VALUE, false, NULL },
		{ "--case", OPTION_VALUE, false, NULL },
	};
	static struct question q;
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(OUT_MAX);
	struct verdict verdict;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	q.arena = WRIT_ARENA(CASE_ARENA_MAX);
	q.now = clock_read().wall;
	if (!err)
		err = options_check(&o);
	if (!err && !option(&o, "--case"))
		err = from_options(&o, &q);
	if (err)
		return cli_misused("policy explain", err);
	err = policy_cmd_load(o.arguments[0], &policy);
	if (!err && option(&o, "--case"))
		err = from_case(option(&o, "--case"), &q);
	else if (!err) {
		err = grant_canonical(&q.asked.grant, &q.arena, &q.canonical);
		if (!err)
			err = grant_check(&q.canonical);
	}
	if (!err)
		err = policy_explain(policy, &q.facts, q.now, &out);
	if (err) {
		question_done(&q);
		return policy_cmd_fail("policy explain", err);
	}
	fwrite(out.data, 1, out.len, stdout);
	policy_decide(policy, &q.facts, q.now, &verdict);
	question_done(&q);
	return verdict.kind == VERDICT_ALLOW || verdict.kind == VERDICT_PENDING ? CLI_DONE : CLI_REFUSED;
}
