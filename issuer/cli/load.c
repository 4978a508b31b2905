/*
 * writ load: many agents at once, as they would come; how fast they were served, and whether OCSP and CRL ever said
 * anything else than what was acknowledged.
 *
 * Closed loop: an agent that ends is followed by the next one at once.  Open loop (--rate): tasks come when they come,
 * whether answers do or not.  When the time is over every task that is left ends at once.
 * Exit status 1 when a status disagreed or nothing was issued.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "issuer/cli/delegate.h"
#include "issuer/cli/load.h"

#define DURATION_MAX_S 86400
#define DRAIN_MAX_S 60 /* after the end of the time, for what is still out */
#define PRUNE_EVERY_MS 10000
#define RATE_MAX 1000000
#define LIFETIME_MIN_S 60 /* the API's */
#define LIFETIME_MAX_S 900

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* ---- options ---- */

static const struct option_spec specs[] = {
	{ "--api", OPTION_VALUE, true, "WRIT_API" },   { "--ca", OPTION_VALUE, true, "WRIT_CA" },
	{ "--cert", OPTION_VALUE, true, "WRIT_CERT" }, { "--key", OPTION_VALUE, true, "WRIT_KEY" },
	{ "--status", OPTION_LIST, false, NULL },      { "--responder", OPTION_LIST, false, NULL },
	{ "--agent", OPTION_VALUE, true, NULL },
	{ "--allow", OPTION_LIST, false, NULL },       { "--allow-delegable", OPTION_LIST, false, NULL },
	{ "--audience", OPTION_LIST, true, NULL },     { "--constraint", OPTION_LIST, false, NULL },
	{ "--depth", OPTION_VALUE, false, NULL },      { "--ends", OPTION_VALUE, false, NULL },
	{ "--agents", OPTION_VALUE, false, NULL },     { "--for", OPTION_VALUE, false, NULL },
	{ "--rate", OPTION_VALUE, false, NULL },       { "--lifetime", OPTION_VALUE, false, NULL },
	{ "--work", OPTION_VALUE, false, NULL },       { "--renew", OPTION_VALUE, false, NULL },
	{ "--storm", OPTION_FLAG, false, NULL },       { "--silence", OPTION_VALUE, false, NULL },
	{ "--end", OPTION_VALUE, false, NULL },	       { "--json", OPTION_FLAG, false, NULL },
};

static struct writ_err *
urls_read(const struct options *o, const char *name, const char *urls[LOAD_STATUS_MAX], size_t *n_urls)
{
	const char *const *list;
	const size_t n = option_list(o, name, &list);

	if (n > LOAD_STATUS_MAX)
		return writ_fail(WRIT_INVALID, "%s is given %zu times, at most %d are asked", name, n, LOAD_STATUS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (strncmp(list[i], "http://", 7) != 0)
			return writ_fail(WRIT_INVALID, "%s: '%.80s' does not begin with http://", name, list[i]);
		urls[(*n_urls)++] = list[i];
	}
	return NULL;
}

static struct writ_err *
end_read(const struct options *o, struct load_plan *plan)
{
	const char *how = option(o, "--end");

	if (!how)
		return NULL;
	if (strcmp(how, "complete") != 0 && strcmp(how, "revoke") != 0)
		return writ_fail(WRIT_INVALID, "--end '%.20s' is neither complete nor revoke", how);
	plan->revoke = strcmp(how, "revoke") == 0;
	return NULL;
}

static struct writ_err *
plan_read(const struct options *o, struct load_plan *plan)
{
	uint64_t agents = 100, rate = 0;
	struct writ_err *err;

	*plan = (struct load_plan){ .api = option(o, "--api"),
				    .ca = option(o, "--ca"),
				    .cert = option(o, "--cert"),
				    .key = option(o, "--key"),
				    .duration_s = 60,
				    .lifetime_s = 300,
				    .body = json_object() };
	err = option_number(o, "--agents", LOAD_AGENTS_MAX, &agents);
	if (!err && agents == 0)
		err = writ_fail(WRIT_INVALID, "--agents 0: somebody must come");
	plan->agents = (uint32_t)agents;
	if (!err)
		err = option_seconds(o, "--for", DURATION_MAX_S, &plan->duration_s);
	if (!err)
		err = option_number(o, "--rate", RATE_MAX, &rate);
	plan->rate = (double)rate;
	if (!err)
		err = option_seconds(o, "--lifetime", LIFETIME_MAX_S, &plan->lifetime_s);
	if (!err && plan->lifetime_s < LIFETIME_MIN_S)
		err = writ_fail(WRIT_INVALID, "--lifetime: found %u s, wanted %d to %d", plan->lifetime_s,
				LIFETIME_MIN_S, LIFETIME_MAX_S);
	plan->life_s = 2 * plan->lifetime_s;
	if (!err)
		err = option_seconds(o, "--work", DELEGATE_ENDS_MAX_S, &plan->life_s);
	if (!err)
		err = option_seconds(o, "--silence", DURATION_MAX_S, &plan->partition_s);
	plan->storm = option_given(o, "--storm");
	if (!err)
		err = option_seconds(o, "--renew", LIFETIME_MAX_S, &plan->renew_s);
	if (plan->storm && plan->renew_s == 0)
		plan->renew_s = plan->lifetime_s / 2;
	if (!err)
		err = end_read(o, plan);
	if (!err)
		err = urls_read(o, "--status", plan->status, &plan->n_status);
	if (!err)
		err = urls_read(o, "--responder", plan->responders, &plan->n_responders);
	if (!err && strncmp(plan->api, "https://", 8) != 0)
		err = writ_fail(WRIT_INVALID, "--api: '%.80s' does not begin with https://", plan->api);
	json_object_set_new(plan->body, "agent", json_pack("{s:s}", "class", option(o, "--agent")));
	return err ? err : delegate_terms(o, plan->body);
}

/* ---- the report ---- */

static void
put_line(const struct load *l, enum load_what what, double seconds)
{
	const struct load_count *c = &l->counts[what];

	if (c->took.n + c->later + c->refused + c->failed == 0)
		return;
	printf("%-11s %9llu %8.1f/s  p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f ms  later %llu  refused %llu  failed "
	       "%llu\n",
	       load_what_name(what), (unsigned long long)c->took.n, (double)c->took.n / seconds,
	       load_latency_ms(&c->took, 0.5), load_latency_ms(&c->took, 0.9), load_latency_ms(&c->took, 0.99),
	       (double)c->took.max_us / 1000, (unsigned long long)c->later, (unsigned long long)c->refused,
	       (unsigned long long)c->failed);
}

static void
put_words(const char *who, const char *url, const struct load_words *w)
{
	printf("%-11s %9llu compared, %llu disagreed for more than %d ms, %llu were wrong at first%s%s\n", who,
	       (unsigned long long)w->compared, (unsigned long long)w->disagreed, LOAD_AGREE_MS,
	       (unsigned long long)w->stale, url ? ": " : "", url ? url : "");
	if (w->until_seen.n > 0)
		printf("ends        %9llu seen by OCSP within p50 %.2f, p99 %.2f, max %.2f ms of their "
		       "acknowledgement\n",
		       (unsigned long long)w->until_seen.n, load_latency_ms(&w->until_seen, 0.5),
		       load_latency_ms(&w->until_seen, 0.99), (double)w->until_seen.max_us / 1000);
}

static void
put_text(const struct load *l, double seconds)
{
	const struct load_watch *w = &l->watch;

	printf("%.1f s, %u agents, %s\n", seconds, l->plan->agents, l->plan->rate > 0 ? "open loop" : "closed loop");
	for (int i = 0; i < LOAD_WHATS; i++)
		put_line(l, (enum load_what)i, seconds);
	if (l->missed > 0)
		printf("not begun   %9llu  every agent was busy: give more --agents\n", (unsigned long long)l->missed);
	put_words("status", NULL, &w->own);
	for (size_t i = 0; i < l->plan->n_responders; i++)
		put_words("responder", l->plan->responders[i], &w->others[i]);
	if (*w->first)
		printf("disagreed   %s\n", w->first);
	if (*l->refusal)
		printf("first no    %s\n", l->refusal);
}

static json_t *
latency_json(const struct load_latency *l)
{
	return json_pack("{s:I,s:f,s:f,s:f,s:f}", "n", (json_int_t)l->n, "p50_ms", load_latency_ms(l, 0.5), "p90_ms",
			 load_latency_ms(l, 0.9), "p99_ms", load_latency_ms(l, 0.99), "max_ms",
			 (double)l->max_us / 1000);
}

static void
put_words_json(json_t *out, const struct load_words *w)
{
	json_object_set_new(out, "compared", json_integer((json_int_t)w->compared));
	json_object_set_new(out, "disagreed", json_integer((json_int_t)w->disagreed));
	json_object_set_new(out, "wrong_at_first", json_integer((json_int_t)w->stale));
	json_object_set_new(out, "end_seen", latency_json(&w->until_seen));
}

static void
put_json(const struct load *l, double seconds)
{
	json_t *out = json_object(), *jobs = json_object(), *responders = json_array();

	for (int i = 0; i < LOAD_WHATS; i++) {
		const struct load_count *c = &l->counts[i];
		json_t *one = latency_json(&c->took);

		json_object_set_new(one, "later", json_integer((json_int_t)c->later));
		json_object_set_new(one, "refused", json_integer((json_int_t)c->refused));
		json_object_set_new(one, "failed", json_integer((json_int_t)c->failed));
		json_object_set_new(jobs, load_what_name((enum load_what)i), one);
	}
	json_object_set_new(out, "seconds", json_real(seconds));
	json_object_set_new(out, "agents", json_integer(l->plan->agents));
	json_object_set_new(out, "jobs", jobs);
	json_object_set_new(out, "not_begun", json_integer((json_int_t)l->missed));
	json_object_set_new(out, "issuing_cas", json_integer((json_int_t)l->watch.n_cas));
	put_words_json(out, &l->watch.own);
	json_object_set_new(out, "disagreed", json_integer((json_int_t)l->watch.disagreed)); /* by anyone */
	for (size_t i = 0; i < l->plan->n_responders; i++) {
		json_t *one = json_pack("{s:s}", "url", l->plan->responders[i]);

		put_words_json(one, &l->watch.others[i]);
		json_array_append_new(responders, one);
	}
	json_object_set_new(out, "responders", responders);
	json_object_set_new(out, "first_disagreement", json_string(l->watch.first));
	json_object_set_new(out, "first_refusal", json_string(l->refusal));
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(out);
}

/* ---- the run ---- */

WRIT_CHECKED static struct writ_err *
run(struct load *l)
{
	struct writ_err *err = NULL;
	int64_t prune_ms = l->now_ms + PRUNE_EVERY_MS;
	bool over = false;

	while (!err && !(over && load_idle(l))) {
		err = load_turn(l);
		over = over || interrupted || l->now_ms >= l->end_ms;
		if (over)
			load_end_all(l);
		if (l->now_ms > l->end_ms + DRAIN_MAX_S * 1000)
			break;
		if (l->now_ms >= prune_ms) {
			load_watch_prune(&l->watch, clock_read().wall);
			prune_ms = l->now_ms + PRUNE_EVERY_MS;
		}
	}
	return err;
}

static void
plan_done(struct load_plan *plan)
{
	json_decref(plan->body);
}

int
cmd_load(int argc, char **argv)
{
	AUTO(plan_done) struct load_plan plan = { 0 };
	struct load l = { 0 };
	struct options o;
	double seconds;
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = plan_read(&o, &plan);
	if (err)
		return cli_misused("load", err);
	(void)file_descriptors_raise(2 * (uint64_t)plan.agents + 256);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	err = load_start(&l, &plan);
	if (!err)
		err = run(&l);
	seconds = (double)(l.now_ms - l.began_ms) / 1000;
	if (!err && option_given(&o, "--json"))
		put_json(&l, seconds);
	else if (!err)
		put_text(&l, seconds);
	code = l.watch.disagreed > 0 || l.counts[LOAD_FIRST].took.n == 0 ? CLI_FAILED : CLI_DONE;
	load_done(&l);
	return err ? cli_fail("load", err) : code;
}
