/*
 * writ policy diff: two policies compared, and asked again what a store's history holds.
 *
 * History is the delegations that the store still keeps: each was allowed once, and is decided under both policies as
 * of the time when it was granted.  Those that live are asked for a renewal as of now.  What was refused is not kept,
 * so what a policy would newly allow shows only where an older policy granted what the one before would not.  Lifetimes
 * that were asked for are not kept either: a lower max_lifetime shows under the rules alone.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "issuer/cli/policy_cmd.h"
#include "issuer/store/store.h"
#include "issuer/x509/delegation.h"

#define OUT_MAX (4 * 1024 * 1024)
#define EDGE_ARENA_MAX (1024 * 1024) /* bytes: an edge and its parent, a policy's text */
#define GROUPS_MAX 200		     /* lines; what is beyond is counted */

enum change { NEWLY_REFUSED, NEWLY_ALLOWED, OTHER_RULE, RENEWAL_REFUSED, N_CHANGES };

static const char *const change_words[] = {
	[NEWLY_REFUSED] = "newly refused",
	[NEWLY_ALLOWED] = "newly allowed",
	[OTHER_RULE] = "other rule",
	[RENEWAL_REFUSED] = "renewal refused",
};

/* Delegations from one principal to one class that fare alike: a line. */
struct group {
	enum change change;
	char from[PRINCIPAL_MAX + 1], to[PRINCIPAL_MAX + 1], task[TASK_ID_MAX + 1], why[600];
	char key[200]; /* rules that decide it */
	unsigned n;
};

struct history {
	struct store *store;
	const struct policy *before, *after;
	writ_time now, first, last;
	uint64_t edges, live, of[N_CHANGES], beyond;
	size_t n_groups;
	struct group groups[GROUPS_MAX];
};

static void
keep_text(char *out, size_t size, struct writ_bytes text)
{
	snprintf(out, size, "%.*s", (int)text.len, (const char *)text.data);
}

static void
add(struct history *h, enum change change, const struct store_edge *edge, struct writ_bytes class, const char *key,
    const char *why)
{
	struct group *g;

	h->of[change]++;
	for (size_t i = 0; i < h->n_groups; i++) {
		g = &h->groups[i];
		if (g->change == change && strcmp(g->key, key) == 0 && writ_equal(writ_str(g->from), edge->delegator) &&
		    writ_equal(writ_str(g->to), class)) {
			g->n++;
			return;
		}
	}
	if (h->n_groups == GROUPS_MAX) {
		h->beyond++;
		return;
	}
	g = &h->groups[h->n_groups++];
	g->change = change;
	g->n = 1;
	keep_text(g->from, sizeof(g->from), edge->delegator);
	keep_text(g->to, sizeof(g->to), class);
	keep_text(g->task, sizeof(g->task), edge->task);
	snprintf(g->key, sizeof(g->key), "%s", key);
	snprintf(g->why, sizeof(g->why), "%s", why);
}

static void
refusal_words(const struct verdict *v, char out[600])
{
	char line[24] = "";

	if (v->line)
		snprintf(line, sizeof(line), " (line %u)", v->line);
	snprintf(out, 600, "%s%s: %s; limit: %s", v->rule, line, v->value, v->limit);
}

static void
compare(struct history *h, const struct store_edge *edge, struct writ_bytes class, const struct policy_facts *facts)
{
	struct verdict before, after;
	char key[200], why[600], refusal[600];

	policy_decide(h->before, facts, edge->granted_at, &before);
	policy_decide(h->after, facts, edge->granted_at, &after);
	snprintf(key, sizeof(key), "%s|%s", before.rule, after.rule);
	if (before.kind == VERDICT_ALLOW && after.kind != VERDICT_ALLOW) {
		refusal_words(&after, why);
		add(h, NEWLY_REFUSED, edge, class, key, why);
	} else if (before.kind != VERDICT_ALLOW && after.kind == VERDICT_ALLOW) {
		refusal_words(&before, refusal);
		snprintf(why, sizeof(why), "%s (line %u); refused before by %.480s", after.rule, after.line, refusal);
		add(h, NEWLY_ALLOWED, edge, class, key, why);
	} else if (before.kind == VERDICT_ALLOW && !writ_equal(before.by, after.by)) {
		snprintf(why, sizeof(why), "allowed by %s, leaves of %u s; before by %s, %u s", after.rule,
			 after.max_lifetime_s, before.rule, before.max_lifetime_s);
		add(h, OTHER_RULE, edge, class, key, why);
	}
}

/* A live delegation, as its agent would renew it now, for as long as the rule gives. */
WRIT_CHECKED static struct writ_err *
compare_renewal(struct history *h, const struct store_edge *edge, struct writ_bytes class, struct policy_facts facts,
		struct writ_arena *arena)
{
	struct verdict before, after;
	struct store_task task;
	char why[600];
	struct writ_err *err;

	if (edge->state != EDGE_LIVE || edge->not_after < h->now + LIFETIME_FLOOR_S)
		return NULL;
	err = store_task(h->store, edge->task, arena, &task);
	if (err || task.state != TASK_OPEN || task.ends < h->now + LIFETIME_FLOOR_S)
		return err;
	h->live++;
	facts.act = ACT_RENEW;
	policy_decide(h->before, &facts, h->now, &before);
	policy_decide(h->after, &facts, h->now, &after);
	if (before.kind != VERDICT_ALLOW || after.kind == VERDICT_ALLOW)
		return NULL;
	refusal_words(&after, why);
	add(h, RENEWAL_REFUSED, edge, class, after.rule, why);
	return NULL;
}

/* Arena: cleared by the store before each edge. */
struct pass {
	struct history *h;
	struct writ_arena *arena;
};

static struct writ_err *
edge_asked_again(const struct store_edge *edge, void *ctx)
{
	static const uint8_t none[EDGE_ID_LEN];
	struct pass *pass = ctx;
	struct history *h = pass->h;
	struct policy_parent parent = { 0 };
	struct spiffe_id delegator, agent;
	struct store_edge above;
	struct grant grant, parent_grant;
	struct policy_facts facts = {
		.act = ACT_DELEGATE,
		.delegator = edge->delegator,
		.agent = edge->agent,
		.grant = &grant,
		.depth = edge->depth_remaining,
		.edge_not_after = edge->not_after,
		.task_ends =
			edge->not_after, /* it was granted: within its task's end, and its parent's leaf was live */
	};
	struct writ_err *err;

	err = spiffe_parse(edge->delegator, &delegator);
	if (!err)
		err = spiffe_parse(edge->agent, &agent);
	if (!err)
		err = hop_grant_read(edge->grant, pass->arena, &grant);
	if (!err && memcmp(edge->parent, none, sizeof(none)) != 0) {
		err = store_edge(h->store, edge->parent, pass->arena, &above);
		if (!err)
			err = hop_grant_read(above.grant, pass->arena, &parent_grant);
		if (err)
			return err;
		parent = (struct policy_parent){ .grant = &parent_grant,
						 .depth_remaining = above.depth_remaining,
						 .hop_not_after = above.not_after };
		facts.parent = &parent;
	}
	if (err)
		return err;
	facts.delegator_kind = delegator.kind;
	h->edges++;
	if (!h->first)
		h->first = edge->granted_at;
	h->last = edge->granted_at;
	compare(h, edge, agent.class_uri, &facts);
	return compare_renewal(h, edge, agent.class_uri, facts, pass->arena);
}

static void
history_print(const struct history *h)
{
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1];

	for (enum change change = 0; change < N_CHANGES; change++)
		for (size_t i = 0; i < h->n_groups; i++) {
			const struct group *g = &h->groups[i];

			if (g->change == change)
				printf("%s: %u of %s to %s, first in task %s: %s\n", change_words[change], g->n,
				       g->from, g->to, g->task, g->why);
		}
	if (h->beyond > 0)
		printf("and %llu more, in more than %d groups\n", (unsigned long long)h->beyond, GROUPS_MAX);
	if (h->edges == 0) {
		cli_say("history", "no delegation is kept");
		return;
	}
	cli_say("history",
		"%llu delegations granted from %s to %s: %llu newly refused, %llu newly allowed, %llu by another rule",
		(unsigned long long)h->edges, writ_time_rfc3339(h->first, from), writ_time_rfc3339(h->last, to),
		(unsigned long long)h->of[NEWLY_REFUSED], (unsigned long long)h->of[NEWLY_ALLOWED],
		(unsigned long long)h->of[OTHER_RULE]);
	cli_say("live", "%llu of them, of which the next renewal of %llu is refused", (unsigned long long)h->live,
		(unsigned long long)h->of[RENEWAL_REFUSED]);
	cli_say("not covered", "requests that were denied, and lifetimes that were asked for: they are not kept");
}

/* ---- which store, which policies ---- */

static struct writ_err *
open_history(const struct options *o, struct store **ret)
{
	const char *path = option(o, "--store"), *state = option(o, "--state");
	char uri[4200], absolute[4096], *found;
	int len;

	len = path ? snprintf(uri, sizeof(uri), "%s", path) : snprintf(uri, sizeof(uri), "%s/store/writ.db", state);
	if (len < 0 || (size_t)len >= 4000)
		return writ_fail(WRIT_INVALID, "the store's name is too long");
	found = realpath(uri, absolute);
	if (!found)
		return writ_fail(WRIT_NOT_FOUND, "%s: there is no such store, or you may not look", uri);
	snprintf(uri, sizeof(uri), "sqlite:%s", absolute);
	return store_open(uri, STORE_READ, ret);
}

/* A file, or "in-force": what the store says was taken last. */
static struct writ_err *
policy_of(const char *name, struct store *store, struct policy **ret)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(EDGE_ARENA_MAX);
	struct store_policy last;
	struct writ_err *err;

	if (strcmp(name, "in-force") != 0)
		return policy_cmd_load(name, ret);
	err = store_policy_last(store, &arena, &last);
	return err ? err : policy_parse("in-force", last.text, ret);
}

static struct writ_err *
options_check(const struct options *o)
{
	const bool has_store = option(o, "--store") || option(o, "--state");

	if (option(o, "--store") && option(o, "--state"))
		return writ_fail(WRIT_INVALID, "--store and --state both name the store: leave one out");
	for (size_t i = 0; i < o->n_arguments && !has_store; i++)
		if (strcmp(o->arguments[i], "in-force") == 0)
			return writ_fail(WRIT_INVALID, "'in-force' is in a store: name it with --state or --store");
	return NULL;
}

static void
freep(void *p)
{
	free(*(void **)p);
}

int
policy_cmd_diff(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--store", OPTION_VALUE, false, NULL },
		{ "--state", OPTION_VALUE, false, NULL },
	};
	AUTO(store_closep) struct store *store = NULL;
	AUTO(policy_freep) struct policy *before = NULL, *after = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(OUT_MAX);
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(EDGE_ARENA_MAX);
	AUTO(freep) struct history *h = calloc(1, sizeof(*h));
	struct pass pass = { .h = h, .arena = &arena };
	struct options o;
	unsigned n = 0;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 2, &o);

	if (!err)
		err = options_check(&o);
	if (err)
		return cli_misused("policy diff", err);
	if (!h)
		err = writ_fail(WRIT_EXHAUSTED, "no memory for the history");
	if (!err && (option(&o, "--store") || option(&o, "--state")))
		err = open_history(&o, &store);
	if (!err)
		err = policy_of(o.arguments[0], store, &before);
	if (!err)
		err = policy_of(o.arguments[1], store, &after);
	if (!err)
		err = policy_diff(before, after, &out, &n);
	if (!err && store) {
		h->store = store;
		h->before = before;
		h->after = after;
		h->now = clock_read().wall;
		err = store_all_edges(store, &arena, edge_asked_again, &pass);
	}
	if (err)
		return policy_cmd_fail("policy diff", err);
	if (out.len > 0)
		fwrite(out.data, 1, out.len, stdout);
	cli_say("rules", "%u difference%s", n, n == 1 ? "" : "s");
	if (store)
		history_print(h);
	return n > 0 || h->n_groups > 0 ? CLI_FAILED : CLI_DONE;
}
