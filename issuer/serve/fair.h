/*
 * Who is next when more is asked than is being done, and who gives way when there is no room.
 *
 * Fair on two levels: root delegators take turns, and below each those who ask for it do, so that ten thousand agents
 * of one delegator are one party among the others; of one asker what came first is first.  Whoever comes new stands at
 * the end of the round, and waits for one of each that was there before it, never for their rest.  When there is no
 * room the newest of whoever holds most gives way, which may be the one that just came: a flood drives out its own, and
 * nobody else's.
 *
 * An item weighs one for each FAIR_WEIGHT of memory begun, and all together at most what the queue was made for: that
 * bounds number and bytes in one.  Nothing is kept of who has none waiting.  Taking and adding cost the same however
 * many wait; finding who gives way looks once at each party.  Knows names as numbers; no request, no clock.  Threading:
 * one thread a queue.
 */
#ifndef WRIT_ISSUER_SERVE_FAIR_H
#define WRIT_ISSUER_SERVE_FAIR_H

#include <sys/queue.h>

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define FAIR_MAX 16384	 /* items; a party is named by 16 bits */
#define FAIR_WEIGHT 4096 /* bytes */

/* One that waits; the caller's memory, embedded in what it stands for. */
struct fair_item {
	TAILQ_ENTRY(fair_item) of_asker, by_age;
	int64_t since_ms; /* the caller's clock */
	uint32_t weight;  /* 0: it does not wait */
	uint16_t asker;	  /* the queue's */
};

struct fair;

/* `max`: what all may weigh, and so how many they may be; at most FAIR_MAX. */
WRIT_CHECKED struct writ_err *fair_new(uint32_t max, struct fair **ret);
void fair_free(struct fair *);

uint32_t fair_weight(size_t bytes);

/* Is there room for one more of that weight? */
bool fair_has_room(const struct fair *, uint32_t weight);

/* Who gives way so that one of that weight, of that asker below that root, has room: taken out.  NULL: the newcomer
 * itself. */
struct fair_item *fair_give_way(struct fair *, uint64_t root, uint64_t asker, uint32_t weight);

/* There must be room.  Items come in the order of their time. */
void fair_put(struct fair *, struct fair_item *, uint64_t root, uint64_t asker, uint32_t weight, int64_t now_ms);

/* The next one, taken out; NULL when none waits. */
struct fair_item *fair_take(struct fair *);

/* The one that waits longest, left where it is; NULL when none waits. */
struct fair_item *fair_oldest(const struct fair *);

void fair_remove(struct fair *, struct fair_item *);

/* How many are served before one more of that asker, should nobody else come. */
size_t fair_ahead(const struct fair *, uint64_t root, uint64_t asker);

size_t fair_count(const struct fair *);
size_t fair_roots(const struct fair *);
uint64_t fair_bytes(const struct fair *); /* weight, in bytes */

#endif
