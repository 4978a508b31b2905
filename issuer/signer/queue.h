/*
 * Who is next at the device, and who gives way when there is no room (resident tier).
 *
 * A device signs a few leaves a second, so whoever asks most often would have it to himself.  Fair share, on two
 * levels: delegators at the root of a delegation take turns, and below each its agents do; of one agent the leaf that
 * came first is first.  Whoever comes new stands at the end of the round, so nobody waits for more than one leaf of
 * each that was there before it.  When there is no room the newest leaf of whoever has most waiting gives way, which
 * may be the one that just came: a flood drives out its own leaves, and nobody else's.
 *
 * Holds at most QUEUE_MAX items, and nothing of who has none waiting: that bounds its memory.  Knows names as numbers;
 * no leaf, no clock, no device.  Threading: one thread a queue.
 */
#ifndef WRIT_ISSUER_SIGNER_QUEUE_H
#define WRIT_ISSUER_SIGNER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUEUE_MAX 256

/* One that waits; the caller's memory, embedded in what it stands for. */
struct queue_item {
	uint64_t root, agent;		/* the principals, hashed with a key: an agent is one below its root */
	const void *from;		/* whose it is, for queue_from() */
	int64_t since_ms;		/* the caller's */
	uint64_t root_turn, agent_turn; /* the queue's: lower is sooner */
};

struct queue {
	size_t n;
	uint64_t turn;
	struct queue_item *items[QUEUE_MAX]; /* in order of arrival */
};

/* There must be room. */
void queue_add(struct queue *, struct queue_item *);

/* The next one, no longer waiting; NULL when none waits. */
struct queue_item *queue_take(struct queue *);

/* Who gives way so that `comes` has room: one that waits (of those `from` that one, if not NULL), or `comes` itself.
 * Takes nobody out. */
struct queue_item *queue_loser(const struct queue *, struct queue_item *comes, const void *from);

void queue_remove(struct queue *, const struct queue_item *);

size_t queue_from(const struct queue *, const void *from);
size_t queue_of_root(const struct queue *, uint64_t root);

#endif
