/*
 * Who begins when: see turns.h.
 *
 * (1) A turn waits in the queue, or is under way and counted, or neither.
 * (2) Nobody is under way beyond at_once, nor begins while there is no room below.
 * (3) A few wait whatever the rate measured last says: a rate is measured only while somebody waits, so a bad moment
 * would otherwise refuse for ever.
 */
#include "issuer/serve/turns.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/digest.h"

#define PARTIES 1024   /* numbers by which roots under way are told apart */
#define WINDOW_MS 250  /* of a measurement of the rate */
#define PROBES 32      /* (3) */
#define UNMEASURED_S 4 /* until something was measured, come back within so much */

const unsigned turns_bounds_ms[TURNS_BOUNDS] = { 1, 5, 10, 20, 50, 100, 500, 1000, 2000 };

enum level { LEVEL_WAITING, LEVEL_BYTES, LEVEL_UNDER_WAY, LEVEL_DELEGATORS, LEVEL_OLDEST_SINCE, LEVEL_DRAIN, N_LEVELS };

struct turns {
	struct turns_conf conf;
	struct fair *queue;
	uint32_t under_way;
	uint16_t of_party[PARTIES]; /* of those, by root; two may share a number, and then have less of what is kept */
	bool busy;		    /* somebody has waited since the window began */
	bool measured;		    /* drain_milli says something */
	int64_t window_ms;
	uint32_t ended, sent_away; /* in this window */
	uint64_t drain_milli;	   /* served a second */
	uint64_t sent_milli;	   /* sent away a second */
	uint64_t chance;	   /* xorshift: which second somebody comes back in is no secret */
	/* One writer, read by whoever tells the metrics. */
	_Atomic uint64_t levels[N_LEVELS], refused[TURN_REFUSALS], waited[TURNS_BOUNDS + 1], waited_ms;
};

const char *
turn_refusal_name(enum turn_refusal why)
{
	switch (why) {
	case TURN_FULL:
		return "full";
	case TURN_TOO_LATE:
		return "too-late";
	case TURN_WAITED:
		return "waited";
	case TURN_GONE:
		return "gone";
	case TURN_REFUSALS:
		break;
	}
	return "?";
}

struct writ_err *
turns_new(const struct turns_conf *conf, struct turns **ret)
{
	struct turns *t = calloc(1, sizeof(*t));
	struct writ_err *err;

	if (!t)
		return writ_fail(WRIT_EXHAUSTED, "no memory for those that wait");
	t->conf = *conf;
	err = fair_new(conf->waiting_max, &t->queue);
	if (err) {
		free(t);
		return err;
	}
	writ_random((uint8_t *)&t->chance, sizeof(t->chance));
	t->chance |= 1;
	*ret = t;
	return NULL;
}

void
turns_free(struct turns *t)
{
	if (!t)
		return;
	fair_free(t->queue);
	free(t);
}

/* ---- numbers ---- */

static void
set(_Atomic uint64_t *to, uint64_t value)
{
	atomic_store_explicit(to, value, memory_order_relaxed);
}

static uint64_t
get(_Atomic uint64_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

static void
add(_Atomic uint64_t *to, uint64_t n)
{
	set(to, get(to) + n);
}

static void
levels_tell(struct turns *t)
{
	const struct fair_item *oldest = fair_oldest(t->queue);

	set(&t->levels[LEVEL_WAITING], fair_count(t->queue));
	set(&t->levels[LEVEL_BYTES], fair_bytes(t->queue));
	set(&t->levels[LEVEL_UNDER_WAY], t->under_way);
	set(&t->levels[LEVEL_DELEGATORS], fair_roots(t->queue));
	set(&t->levels[LEVEL_OLDEST_SINCE], oldest ? (uint64_t)oldest->since_ms : 0);
	set(&t->levels[LEVEL_DRAIN], t->drain_milli);
}

void
turns_told(struct turns *t, int64_t now_ms, struct turns_counts *ret)
{
	const uint64_t since_ms = get(&t->levels[LEVEL_OLDEST_SINCE]);
	const uint64_t oldest_ms = since_ms > 0 && (uint64_t)now_ms > since_ms ? (uint64_t)now_ms - since_ms : 0;

	ret->waiting += get(&t->levels[LEVEL_WAITING]);
	ret->bytes += get(&t->levels[LEVEL_BYTES]);
	ret->under_way += get(&t->levels[LEVEL_UNDER_WAY]);
	ret->delegators += get(&t->levels[LEVEL_DELEGATORS]);
	ret->drain_milli += get(&t->levels[LEVEL_DRAIN]);
	if (oldest_ms > ret->oldest_ms)
		ret->oldest_ms = oldest_ms;
	for (size_t i = 0; i < TURN_REFUSALS; i++)
		ret->refused[i] += get(&t->refused[i]);
	for (size_t i = 0; i <= TURNS_BOUNDS; i++)
		ret->waited[i] += get(&t->waited[i]);
	ret->waited_ms += get(&t->waited_ms);
}

static void
waited_note(struct turns *t, int64_t ms)
{
	size_t i = 0;

	while (i < TURNS_BOUNDS && ms > (int64_t)turns_bounds_ms[i])
		i++;
	add(&t->waited[i], 1);
	add(&t->waited_ms, ms > 0 ? (uint64_t)ms : 0);
}

/* ---- how fast it goes ---- */

/* A quarter of the new one: within a second a rate that has changed is believed. */
static uint64_t
smoothed(uint64_t before, bool measured, uint64_t n, int64_t ms)
{
	const uint64_t now = n * 1000 * 1000 / (uint64_t)ms;

	return measured ? (3 * before + now) / 4 : now;
}

static void
window_begin(struct turns *t, int64_t now_ms)
{
	t->window_ms = now_ms;
	t->ended = t->sent_away = 0;
}

/* Only of windows in which somebody waited all the time: the others say what was asked, not what can be done. */
static void
measure(struct turns *t, int64_t now_ms)
{
	const int64_t ms = now_ms - t->window_ms;

	if (fair_count(t->queue) == 0)
		t->busy = false;
	if (ms < WINDOW_MS)
		return;
	t->sent_milli = smoothed(t->sent_milli, t->window_ms > 0, t->sent_away, ms);
	if (t->busy)
		t->drain_milli = smoothed(t->drain_milli, t->measured, t->ended, ms);
	t->measured = t->measured || t->busy;
	window_begin(t, now_ms);
}

/* How long one more of that asker would wait; 0: not known, or not long. */
static int64_t
would_wait_ms(const struct turns *t, uint64_t root, uint64_t asker)
{
	const uint64_t ahead = fair_ahead(t->queue, root, asker);

	if (ahead < PROBES || !t->measured) /* (3) */
		return 0;
	return t->drain_milli == 0 ? (int64_t)t->conf.wait_max_ms + 1 : (int64_t)(ahead * 1000 * 1000 / t->drain_milli);
}

/*
 * Those who wait and those who were sent away within the last second want to be served, and more will be sent away
 * while they are: twice their time is room for that.
 */
static uint32_t
retry_after_s(struct turns *t)
{
	const uint64_t outside = fair_count(t->queue) + t->sent_milli / 1000;
	uint64_t span_s = t->drain_milli > 0 ? 2 * outside * 1000 / t->drain_milli : UNMEASURED_S;

	if (span_s >= TURNS_RETRY_MAX_S)
		span_s = TURNS_RETRY_MAX_S - 1;
	t->chance ^= t->chance << 13;
	t->chance ^= t->chance >> 7;
	t->chance ^= t->chance << 17;
	return (uint32_t)(1 + t->chance % (span_s + 1));
}

/* ---- turns ---- */

static void
refuse(struct turns *t, struct turn *turn, enum turn_refusal why, int64_t ms)
{
	turn->state = TURN_NONE;
	add(&t->refused[why], 1);
	t->sent_away++;
	t->conf.refuse(turn, why, ms, retry_after_s(t), t->conf.ctx);
}

static void
begin(struct turns *t, struct turn *turn, int64_t waited_ms)
{
	turn->state = TURN_BEGUN;
	t->under_way++;
	t->of_party[turn->root % PARTIES]++;
	waited_note(t, waited_ms);
	t->conf.begin(turn, t->conf.ctx);
}

static bool
may_begin(const struct turns *t)
{
	const uint32_t kept = t->conf.at_once / 8;
	const bool fewer = t->sent_milli >= 1000 && t->conf.crowded < t->conf.at_once;
	const uint32_t at_once = t->conf.steady ? t->conf.at_once - kept
				 : fewer	? t->conf.crowded
						: t->conf.at_once;

	return t->under_way < at_once && t->conf.room(t->conf.ctx); /* (2) */
}

/* What is kept: the others of this loop may be the last that the device comes to. */
static bool
may_begin_first(const struct turns *t, uint64_t root)
{
	return t->conf.steady && t->of_party[root % PARTIES] == 0 && t->under_way < t->conf.at_once &&
	       t->conf.room(t->conf.ctx);
}

static struct turn *
turn_of(struct fair_item *item)
{
	return (struct turn *)item; /* its first member */
}

void
turns_enter(struct turns *t, struct turn *turn, uint64_t root, uint64_t asker, size_t bytes, int64_t now_ms)
{
	const uint32_t weight = fair_weight(bytes);
	int64_t wait_ms;

	turn->root = root;
	turn->asker = asker;
	if ((fair_count(t->queue) == 0 && may_begin(t)) || may_begin_first(t, root)) {
		begin(t, turn, 0);
		return;
	}
	if (!t->busy && fair_count(t->queue) == 0)
		window_begin(t, now_ms);
	t->busy = true;
	wait_ms = would_wait_ms(t, root, asker);
	if (wait_ms >
	    (int64_t)t->conf.wait_max_ms / 2) { /* a rate changes: who begins to wait should not wait in vain */
		refuse(t, turn, TURN_TOO_LATE, wait_ms);
		return;
	}
	while (!fair_has_room(t->queue, weight)) {
		struct fair_item *item = fair_give_way(t->queue, root, asker, weight);

		if (!item) {
			refuse(t, turn, TURN_FULL, wait_ms);
			return;
		}
		refuse(t, turn_of(item), TURN_FULL, now_ms - item->since_ms);
	}
	turn->state = TURN_WAITS;
	fair_put(t->queue, &turn->item, root, asker, weight, now_ms);
}

void
turns_left(struct turns *t, struct turn *turn)
{
	if (turn->state == TURN_BEGUN) {
		t->under_way--;
		t->of_party[turn->root % PARTIES]--;
		t->ended++;
	}
	turn->state = TURN_NONE;
}

void
turns_stop(struct turns *t)
{
	struct fair_item *item;

	while (t && (item = fair_take(t->queue)))
		refuse(t, turn_of(item), TURN_GONE, 0);
}

void
turns_pump(struct turns *t, int64_t now_ms)
{
	struct fair_item *item;

	while ((item = fair_oldest(t->queue)) && now_ms - item->since_ms > (int64_t)t->conf.wait_max_ms) {
		fair_remove(t->queue, item);
		refuse(t, turn_of(item), TURN_WAITED, now_ms - item->since_ms);
	}
	while (may_begin(t) && (item = fair_take(t->queue))) {
		struct turn *turn = turn_of(item);

		if (t->conf.gone(turn, t->conf.ctx))
			refuse(t, turn, TURN_GONE, now_ms - item->since_ms);
		else
			begin(t, turn, now_ms - item->since_ms);
	}
	measure(t, now_ms);
	levels_tell(t);
}
