/*
 * writ policy diff: two policies compared, and asked again what a store's history holds.
 *
 * History is what the store still keeps.  Delegations: each was allowed once, and is decided under both policies as of
 * the time when it was granted; those that live are asked for a renewal as of now.  And requests for delegations that a
 * policy denied, the last few of each principal.  Not kept are lifetimes that were asked for: a lower max_lifetime
 * shows under the rules alone.
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

/* A delegation, or a request for one that was denied. */
struct event {
	struct writ_bytes from, to; /* principal, class */
	bool denied;
	writ_time at;
	const char *where; /* "in task T" or "denied 2026-..." */
};

/* Those from one principal to one class that fare alike: a line. */
struct group {
	enum change change;
	bool denied;
	char from[PRINCIPAL_MAX + 1], to[PRINCIPAL_MAX + 1], where[100], why[600];
	char key[200]; /* rules that decide it */
	unsigned n;
};

struct history {
	struct store *store;
	const struct policy *before, *after;
	writ_time now, first, last;
	uint64_t edges, live, denied, orphans, of[N_CHANGES], beyond;
	size_t n_groups;
	struct group groups[GROUPS_MAX];
};

static void
keep_text(char *out, size_t size, struct writ_bytes text)
{
	snprintf(out, size, "%.*s", (int)text.len, (const char *)text.data);
}

static void
add(struct history *h, enum change change, const struct event *event, const char *key, const char *why)
{
	struct group *g;

	h->of[change]++;
	for (size_t i = 0; i < h->n_groups; i++) {
		g = &h->groups[i];
		if (g->change == change && g->denied == event->denied && strcmp(g->key, key) == 0 &&
		    writ_equal(writ_str(g->from), event->from) && writ_equal(writ_str(g->to), event->to)) {
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
	g->denied = event->denied;
	g->n = 1;
	keep_text(g->from, sizeof(g->from), event->from);
	keep_text(g->to, sizeof(g->to), event->to);
	snprintf(g->where, sizeof(g->where), "%s", event->where);
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

/* A verdict that waits for approvals does not refuse. */
static bool
passes(const struct verdict *v)
{
	return v->kind == VERDICT_ALLOW || v->kind == VERDICT_PENDING;
}

/* "rule" or "rule after 2 approvals". */
static const char *
by_words(const struct verdict *v, char out[100])
{
	if (v->kind == VERDICT_PENDING)
		snprintf(out, 100, "%s after %u approval%s", v->rule, v->approvals, v->approvals == 1 ? "" : "s");
	else
		snprintf(out, 100, "%s", v->rule);
	return out;
}

static void
compare(struct history *h, const struct event *event, const struct policy_facts *facts)
{
	struct verdict before, after;
	char key[200], why[600], refusal[600], by[100], was[100];

	policy_decide(h->before, facts, event->at, &before);
	policy_decide(h->after, facts, event->at, &after);
	snprintf(key, sizeof(key), "%s|%s", before.rule, after.rule);
	if (passes(&before) && !passes(&after)) {
		refusal_words(&after, why);
		add(h, NEWLY_REFUSED, event, key, why);
	} else if (!passes(&before) && passes(&after)) {
		refusal_words(&before, refusal);
		snprintf(why, sizeof(why), "%s (line %u); refused before by %.460s", by_words(&after, by), after.line,
			 refusal);
		add(h, NEWLY_ALLOWED, event, key, why);
	} else if (passes(&before) && !event->denied &&
		   (!writ_equal(before.by, after.by) || before.approvals != after.approvals)) {
		snprintf(why, sizeof(why), "allowed by %s, leaves of %u s; before by %s, %u s", by_words(&after, by),
			 after.max_lifetime_s, by_words(&before, was), before.max_lifetime_s);
		add(h, OTHER_RULE, event, key, why);
	}
}

/* A live delegation, as its agent would renew it now, for as long as the rule gives. */
WRIT_CHECKED static struct writ_err *
compare_renewal(struct history *h, const struct store_edge *edge, const struct event *event, struct policy_facts facts,
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
	add(h, RENEWAL_REFUSED, event, after.rule, why);
	return NULL;
}

/* The arena is cleared by the store before each row. */
struct pass {
	struct history *h;
	struct writ_arena *arena;
	struct grant grant, parent_grant;
	struct policy_parent parent;
};

/* What the parent's leaf was granted, and that it was live: so it was, when the request was decided.  NOT_FOUND: it is
 * not kept any more. */
WRIT_CHECKED static struct writ_err *
parent_load(struct pass *pass, const uint8_t id[EDGE_ID_LEN], struct policy_facts *facts)
{
	static const uint8_t none[EDGE_ID_LEN];
	struct store_edge above;
	struct writ_err *err;

	if (memcmp(id, none, sizeof(none)) == 0)
		return NULL;
	err = store_edge(pass->h->store, id, pass->arena, &above);
	if (!err)
		err = hop_grant_read(above.grant, pass->arena, &pass->parent_grant);
	if (err)
		return err;
	pass->parent = (struct policy_parent){ .grant = &pass->parent_grant,
					       .depth_remaining = above.depth_remaining,
					       .hop_not_after = above.not_after };
	facts->parent = &pass->parent;
	return NULL;
}

static struct writ_err *
edge_asked_again(const struct store_edge *edge, void *ctx)
{
	struct pass *pass = ctx;
	struct history *h = pass->h;
	struct spiffe_id delegator, agent;
	char where[100];
	struct event event = { .from = edge->delegator, .at = edge->granted_at, .where = where };
	struct policy_facts facts = {
		.act = ACT_DELEGATE,
		.delegator = edge->delegator,
		.agent = edge->agent,
		.grant = &pass->grant,
		.depth = edge->depth_remaining,
		.edge_not_after = edge->not_after,
		.task_ends = edge->not_after, /* it was granted, so it was within its task's end */
	};
	struct writ_err *err;

	err = spiffe_parse(edge->delegator, &delegator);
	if (!err)
		err = spiffe_parse(edge->agent, &agent);
	if (!err)
		err = hop_grant_read(edge->grant, pass->arena, &pass->grant);
	if (!err)
		err = parent_load(pass, edge->parent, &facts);
	if (err)
		return err;
	facts.delegator_kind = delegator.kind;
	event.to = agent.class_uri;
	snprintf(where, sizeof(where), "first in task %.*s", (int)edge->task.len, (const char *)edge->task.data);
	h->edges++;
	if (!h->first)
		h->first = edge->granted_at;
	h->last = edge->granted_at;
	compare(h, &event, &facts);
	return compare_renewal(h, edge, &event, facts, pass->arena);
}

static struct writ_err *
denied_asked_again(const struct store_denied *denied, void *ctx)
{
	struct pass *pass = ctx;
	struct history *h = pass->h;
	char where[100], when[WRIT_RFC3339_LEN + 1];
	const struct event event = {
		.from = denied->delegator, .to = denied->agent, .denied = true, .at = denied->at, .where = where
	};
	struct policy_facts facts = {
		.act = ACT_DELEGATE,
		.delegator = denied->delegator,
		.delegator_kind = (enum principal_kind)denied->kind,
		.agent = denied->agent,
		.grant = &pass->grant,
		.depth = denied->depth,
		.edge_not_after = denied->at + denied->ends_s,
		.task_ends = denied->at + denied->task_ends_s,
	};
	struct writ_err *err;

	err = hop_grant_read(denied->grant, pass->arena, &pass->grant);
	if (!err)
		err = parent_load(pass, denied->parent, &facts);
	if (err && err->code == WRIT_NOT_FOUND) {
		writ_err_free(err);
		h->orphans++;
		return NULL;
	}
	if (err)
		return err;
	snprintf(where, sizeof(where), "one denied %s", writ_time_rfc3339(denied->at, when));
	h->denied++;
	compare(h, &event, &facts);
	return NULL;
}

static void
history_print(const struct history *h)
{
	char from[WRIT_RFC3339_LEN + 1], to[WRIT_RFC3339_LEN + 1];

	for (enum change change = 0; change < N_CHANGES; change++)
		for (size_t i = 0; i < h->n_groups; i++) {
			const struct group *g = &h->groups[i];

			if (g->change == change)
				printf("%s: %u %s of %s to %s, %s: %s\n", change_words[change], g->n,
				       g->denied ? "denied" : "granted", g->from, g->to, g->where, g->why);
		}
	if (h->beyond > 0)
		printf("and %llu more, in more than %d groups\n", (unsigned long long)h->beyond, GROUPS_MAX);
	cli_say("history",
		"%llu delegations, %llu denied requests: %llu newly refused, %llu newly allowed, %llu by another rule",
		(unsigned long long)h->edges, (unsigned long long)h->denied, (unsigned long long)h->of[NEWLY_REFUSED],
		(unsigned long long)h->of[NEWLY_ALLOWED], (unsigned long long)h->of[OTHER_RULE]);
	if (h->edges > 0)
		cli_say("granted", "from %s to %s; %llu live, of which the next renewal of %llu is refused",
			writ_time_rfc3339(h->first, from), writ_time_rfc3339(h->last, to), (unsigned long long)h->live,
			(unsigned long long)h->of[RENEWAL_REFUSED]);
	if (h->orphans > 0)
		cli_say("not asked",
			"%llu denied requests, as the delegation that they came under is not kept any more",
			(unsigned long long)h->orphans);
	cli_say("not covered",
		"what ended more than a day ago, denied requests beyond the last %d of a principal, lifetimes that "
		"were asked for",
		STORE_DENIED_SLOTS);
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
		if (!err)
			err = store_all_denied(store, &arena, denied_asked_again, &pass);
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
