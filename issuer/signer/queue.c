/*
 * Turns and shares: see queue.h.  Every call looks at each item a few times at most; there are QUEUE_MAX of them.
 */
#include "issuer/signer/queue.h"

#include <string.h>

static bool
same_agent(const struct queue_item *a, const struct queue_item *b)
{
	return a->root == b->root && a->agent == b->agent;
}

void
queue_add(struct queue *q, struct queue_item *item)
{
	item->root_turn = item->agent_turn = 0;
	for (size_t i = 0; i < q->n; i++) {
		if (q->items[i]->root == item->root)
			item->root_turn = q->items[i]->root_turn;
		if (same_agent(q->items[i], item))
			item->agent_turn = q->items[i]->agent_turn;
	}
	if (item->root_turn == 0)
		item->root_turn = ++q->turn;
	if (item->agent_turn == 0)
		item->agent_turn = ++q->turn;
	q->items[q->n++] = item;
}

void
queue_remove(struct queue *q, const struct queue_item *item)
{
	size_t i = 0;

	while (i < q->n && q->items[i] != item)
		i++;
	if (i == q->n)
		return;
	q->n--;
	memmove(q->items + i, q->items + i + 1, (q->n - i) * sizeof(q->items[0]));
}

static bool
sooner(const struct queue_item *a, const struct queue_item *b)
{
	return a->root_turn < b->root_turn || (a->root_turn == b->root_turn && a->agent_turn < b->agent_turn);
}

struct queue_item *
queue_take(struct queue *q)
{
	struct queue_item *next = q->n > 0 ? q->items[0] : NULL;

	if (!next)
		return NULL;
	for (size_t i = 1; i < q->n; i++)
		if (sooner(q->items[i], next))
			next = q->items[i];
	queue_remove(q, next);
	q->turn++; /* whoever had a turn stands at the end of the round */
	for (size_t i = 0; i < q->n; i++) {
		if (q->items[i]->root == next->root)
			q->items[i]->root_turn = q->turn;
		if (same_agent(q->items[i], next))
			q->items[i]->agent_turn = q->turn;
	}
	return next;
}

size_t
queue_from(const struct queue *q, const void *from)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n; i++)
		n += q->items[i]->from == from;
	return n;
}

size_t
queue_of_root(const struct queue *q, uint64_t root)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n; i++)
		n += q->items[i]->root == root;
	return n;
}

static size_t
of_agent(const struct queue *q, const struct queue_item *item)
{
	size_t n = 0;

	for (size_t i = 0; i < q->n; i++)
		n += same_agent(q->items[i], item);
	return n;
}

/* Only those `from` somebody are looked at, if it matters whose they are; of a name its newest item stands for all. */
static bool
stands_for_its_name(const struct queue *q, size_t i, const void *from, bool agents)
{
	if (from && q->items[i]->from != from)
		return false;
	for (size_t j = i + 1; j < q->n; j++) {
		if (from && q->items[j]->from != from)
			continue;
		if (agents ? same_agent(q->items[j], q->items[i]) : q->items[j]->root == q->items[i]->root)
			return false;
	}
	return true;
}

/* The delegator that has most waiting, who comes among them; of equals who comes, then the one whose last came last. */
static const struct queue_item *
greediest_root(const struct queue *q, const struct queue_item *comes, const void *from)
{
	size_t most = queue_of_root(q, comes->root) + 1;
	const struct queue_item *ret = comes;

	for (size_t i = q->n; i-- > 0;) {
		const struct queue_item *item = q->items[i];
		size_t n;

		if (item->root == comes->root || !stands_for_its_name(q, i, from, false))
			continue;
		n = queue_of_root(q, item->root);
		if (n > most) {
			most = n;
			ret = item;
		}
	}
	return ret;
}

/* The same among the agents of that delegator. */
static const struct queue_item *
greediest_agent(const struct queue *q, const struct queue_item *of, const struct queue_item *comes, const void *from)
{
	size_t most = of_agent(q, of) + (of == comes);
	const struct queue_item *ret = of;

	for (size_t i = q->n; i-- > 0;) {
		const struct queue_item *item = q->items[i];
		size_t n;

		if (item->root != of->root || same_agent(item, comes) || !stands_for_its_name(q, i, from, true))
			continue;
		n = of_agent(q, item);
		if (n > most) {
			most = n;
			ret = item;
		}
	}
	return ret;
}

struct queue_item *
queue_loser(const struct queue *q, struct queue_item *comes, const void *from)
{
	const struct queue_item *name = greediest_agent(q, greediest_root(q, comes, from), comes, from);

	for (size_t i = q->n; name != comes && i-- > 0;)
		if (same_agent(q->items[i], name) && (!from || q->items[i]->from == from))
			return q->items[i];
	return comes;
}
