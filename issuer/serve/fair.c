/*
 * Turns and shares: see fair.h.
 *
 * A party is a root delegator, or an asker below one.  Parties of each kind stand in an array of their own, their
 * weights side by side in another, so that looking for the greatest is one walk through a few kilobytes.
 *
 * (1) A party that is in use has items below it, and stands in its hash chain and in the ring of its turn.
 * (2) A root's weight is the sum of its askers', theirs of their items'.
 */
#include "issuer/serve/fair.h"

#include <stdlib.h>

#define NONE UINT16_MAX

struct party {
	TAILQ_ENTRY(party) turn; /* among the roots; of an asker: among those of its root */
	uint64_t name;		 /* of an asker: mixed with its root's */
	uint16_t next;		 /* in its hash chain, or among the unused */
	uint16_t root;		 /* of an asker */
	uint32_t n;		 /* items */
	uint32_t n_askers;	 /* of a root */
	TAILQ_HEAD(, party) askers;
	TAILQ_HEAD(fair_items, fair_item) items;
};

struct parties {
	struct party *all;
	uint32_t *weight; /* 0: unused */
	uint16_t *chains, unused;
	uint32_t n;
};

struct fair {
	uint32_t max, weight, n, mask;
	struct parties roots, askers;
	TAILQ_HEAD(, party) turns; /* roots, the next one first */
	TAILQ_HEAD(, fair_item) by_age;
};

WRIT_CHECKED static struct writ_err *
parties_new(struct parties *p, uint32_t max, uint32_t n_chains)
{
	p->all = calloc(max, sizeof(*p->all));
	p->weight = calloc(max, sizeof(*p->weight));
	p->chains = malloc(n_chains * sizeof(*p->chains));
	if (!p->all || !p->weight || !p->chains)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a queue of %u", max);
	for (uint32_t i = 0; i < n_chains; i++)
		p->chains[i] = NONE;
	for (uint32_t i = 0; i < max; i++)
		p->all[i].next = i + 1 < max ? (uint16_t)(i + 1) : NONE;
	return NULL;
}

static void
parties_done(struct parties *p)
{
	free(p->all);
	free(p->weight);
	free(p->chains);
}

struct writ_err *
fair_new(uint32_t max, struct fair **ret)
{
	struct fair *f = calloc(1, sizeof(*f));
	struct writ_err *err;
	uint32_t n_chains = 1;

	if (!f)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a queue of %u", max);
	if (max == 0 || max > FAIR_MAX)
		max = FAIR_MAX;
	while (n_chains < max)
		n_chains *= 2;
	f->max = max;
	f->mask = n_chains - 1;
	TAILQ_INIT(&f->turns);
	TAILQ_INIT(&f->by_age);
	err = parties_new(&f->roots, max, n_chains);
	if (!err)
		err = parties_new(&f->askers, max, n_chains);
	if (err) {
		fair_free(f);
		return err;
	}
	*ret = f;
	return NULL;
}

void
fair_free(struct fair *f)
{
	if (!f)
		return;
	parties_done(&f->roots);
	parties_done(&f->askers);
	free(f);
}

uint32_t
fair_weight(size_t bytes)
{
	return (uint32_t)(bytes / FAIR_WEIGHT) + 1;
}

/* ---- parties ---- */

/* One asker below two roots is two parties. */
static uint64_t
asker_name(uint64_t root, uint64_t asker)
{
	return (root * UINT64_C(0x9e3779b97f4a7c15)) ^ asker;
}

static uint16_t
party_find(const struct fair *f, const struct parties *p, uint64_t name)
{
	uint16_t at = p->chains[name & f->mask];

	while (at != NONE && p->all[at].name != name)
		at = p->all[at].next;
	return at;
}

static uint16_t
party_add(struct fair *f, struct parties *p, uint64_t name)
{
	const uint16_t at = p->unused;
	struct party *party = &p->all[at];

	p->unused = party->next;
	*party = (struct party){ .name = name, .next = p->chains[name & f->mask], .root = NONE };
	TAILQ_INIT(&party->askers);
	TAILQ_INIT(&party->items);
	p->chains[name & f->mask] = at;
	p->n++;
	return at;
}

static void
party_drop(struct fair *f, struct parties *p, uint16_t at)
{
	uint16_t *link = &p->chains[p->all[at].name & f->mask];

	while (*link != at)
		link = &p->all[*link].next;
	*link = p->all[at].next;
	p->all[at].next = p->unused;
	p->unused = at;
	p->n--;
}

/* ---- in and out ---- */

bool
fair_has_room(const struct fair *f, uint32_t weight)
{
	return f->weight + weight <= f->max;
}

void
fair_put(struct fair *f, struct fair_item *item, uint64_t root_name, uint64_t name, uint32_t weight, int64_t now_ms)
{
	uint16_t root = party_find(f, &f->roots, root_name), asker;

	name = asker_name(root_name, name);
	asker = party_find(f, &f->askers, name);
	if (root == NONE) {
		root = party_add(f, &f->roots, root_name);
		TAILQ_INSERT_TAIL(&f->turns, &f->roots.all[root], turn);
	}
	if (asker == NONE) {
		asker = party_add(f, &f->askers, name);
		f->askers.all[asker].root = root;
		f->roots.all[root].n_askers++;
		TAILQ_INSERT_TAIL(&f->roots.all[root].askers, &f->askers.all[asker], turn);
	}
	item->since_ms = now_ms;
	item->weight = weight;
	item->asker = asker;
	TAILQ_INSERT_TAIL(&f->askers.all[asker].items, item, of_asker);
	TAILQ_INSERT_TAIL(&f->by_age, item, by_age);
	f->askers.all[asker].n++;
	f->roots.all[root].n++;
	f->n++;
	f->askers.weight[asker] += weight;
	f->roots.weight[root] += weight;
	f->weight += weight;
}

void
fair_remove(struct fair *f, struct fair_item *item)
{
	struct party *asker = &f->askers.all[item->asker];
	const uint16_t at = asker->root;
	struct party *root = &f->roots.all[at];

	if (item->weight == 0)
		return;
	TAILQ_REMOVE(&asker->items, item, of_asker);
	TAILQ_REMOVE(&f->by_age, item, by_age);
	f->n--;
	f->askers.weight[item->asker] -= item->weight;
	f->roots.weight[at] -= item->weight;
	f->weight -= item->weight;
	item->weight = 0;
	root->n--;
	if (--asker->n == 0) { /* (1) */
		TAILQ_REMOVE(&root->askers, asker, turn);
		root->n_askers--;
		party_drop(f, &f->askers, item->asker);
	}
	if (root->n == 0) {
		TAILQ_REMOVE(&f->turns, root, turn);
		party_drop(f, &f->roots, at);
	}
}

struct fair_item *
fair_take(struct fair *f)
{
	struct party *root = TAILQ_FIRST(&f->turns), *asker;
	struct fair_item *item;

	if (!root)
		return NULL;
	asker = TAILQ_FIRST(&root->askers);
	item = TAILQ_FIRST(&asker->items);
	/* Whoever had a turn stands at the end of the round. */
	TAILQ_REMOVE(&root->askers, asker, turn);
	TAILQ_INSERT_TAIL(&root->askers, asker, turn);
	TAILQ_REMOVE(&f->turns, root, turn);
	TAILQ_INSERT_TAIL(&f->turns, root, turn);
	fair_remove(f, item);
	return item;
}

struct fair_item *
fair_oldest(const struct fair *f)
{
	return TAILQ_FIRST(&f->by_age);
}

/* ---- who gives way ---- */

/* The party that weighs most; `own` with the newcomer's weight on it, and first among equals.  NONE: the newcomer, who
 * has none. */
static uint16_t
heaviest(const struct parties *p, uint32_t max, uint16_t own, uint32_t with, uint16_t of_root)
{
	uint32_t most = (own == NONE ? 0 : p->weight[own]) + with;
	uint16_t ret = own;

	for (uint32_t i = 0; i < max; i++) {
		if (p->weight[i] <= most || (of_root != NONE && p->all[i].root != of_root))
			continue;
		most = p->weight[i];
		ret = (uint16_t)i;
	}
	return ret;
}

struct fair_item *
fair_give_way(struct fair *f, uint64_t root_name, uint64_t name, uint32_t weight)
{
	const uint16_t own_root = party_find(f, &f->roots, root_name);
	const uint16_t own = party_find(f, &f->askers, asker_name(root_name, name));
	const uint16_t root = heaviest(&f->roots, f->max, own_root, weight, NONE);
	struct fair_item *item;
	uint16_t asker;

	if (root == NONE)
		return NULL;
	asker = heaviest(&f->askers, f->max, root == own_root ? own : NONE, root == own_root ? weight : 0, root);
	if (asker == NONE || (root == own_root && asker == own))
		return NULL;
	item = TAILQ_LAST(&f->askers.all[asker].items, fair_items);
	fair_remove(f, item);
	return item;
}

/* ---- numbers ---- */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Each of n parties has a turn before one that has had k. */
size_t
fair_ahead(const struct fair *f, uint64_t root_name, uint64_t name)
{
	const uint16_t root = party_find(f, &f->roots, root_name);
	const uint16_t asker = party_find(f, &f->askers, asker_name(root_name, name));
	const struct party *r = root == NONE ? NULL : &f->roots.all[root];
	const size_t of_asker = asker == NONE ? 0 : f->askers.all[asker].n;
	const size_t of_root = r ? least(r->n, of_asker + (of_asker + 1) * (r->n_askers - (asker != NONE))) : 0;

	return least(f->n, of_root + (of_root + 1) * (f->roots.n - (r != NULL)));
}

size_t
fair_count(const struct fair *f)
{
	return f->n;
}

size_t
fair_roots(const struct fair *f)
{
	return f->roots.n;
}

uint64_t
fair_bytes(const struct fair *f)
{
	return (uint64_t)f->weight * FAIR_WEIGHT;
}
