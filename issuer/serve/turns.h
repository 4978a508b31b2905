/*
 * When an issuance may begin: so many are under way at once, the others wait their turn, and who could not be served in
 * time is told so before anything is spent on it.
 *
 * Under way are those that have begun and not ended; few enough that the signer's window has a share left for statuses,
 * and a revocation never finds more before it in the store's queue than one group takes.  More wait in a fair queue
 * (fair.h), bounded in memory and in age.  A newcomer is refused when there is no room for it, or when by the rate
 * measured last it would wait for longer than it may; one that has waited that long is dropped, the oldest first, and
 * so is one whose client has gone.  Each refusal says when to come back: after the time that those need who wait and
 * who were sent away lately, each at a moment of its own, so that they come back as fast as they can be served and not
 * together.
 *
 * What takes something back (revocations, tasks that end), what operators ask and what only reads has no turn here: it
 * never waits behind an issuance.  Knows no request and no signer.  Threading: the loop's, but turns_told(), which any
 * thread may call.
 */
#ifndef WRIT_ISSUER_SERVE_TURNS_H
#define WRIT_ISSUER_SERVE_TURNS_H

#include "base/bytes.h"
#include "issuer/serve/fair.h"

enum turn_refusal {
	TURN_FULL,     /* no room, and nobody holds more */
	TURN_TOO_LATE, /* it would have waited for too long */
	TURN_WAITED,   /* it has */
	TURN_GONE,     /* its client has not waited */
	TURN_REFUSALS
};
const char *turn_refusal_name(enum turn_refusal);

#define TURNS_RETRY_MAX_S                                                                                              \
	30 /* no refusal says more: a rate measured in a bad moment must not send anybody away for long */

/* One request; the caller's memory, zeroed before its first use. */
struct turn {
	struct fair_item item;
	enum { TURN_NONE, TURN_WAITS, TURN_BEGUN } state;
	uint64_t root, asker;
};

struct turns_conf {
	uint32_t at_once;     /* under way */
	uint32_t crowded;     /* while some must be sent away, if that is less: groups are smaller then, and whoever asks
			       * little waits less */
	bool steady;	      /* never `crowded`, and an eighth is kept for parties that have none under way: what comes
			       * below has a fair queue of its own, and is slow */
	uint32_t waiting_max; /* weight: fair.h */
	uint32_t wait_max_ms;
	/* Is there room below for one more?  Asked before each. */
	bool (*room)(void *ctx);
	/* Has whoever asked gone?  Asked of those that waited. */
	bool (*gone)(struct turn *, void *ctx);
	/* Its turn has come; turns_left() follows when it has ended, at once or later. */
	void (*begin)(struct turn *, void *ctx);
	/* It is not served.  `ms` is how long it has waited, or would. */
	void (*refuse)(struct turn *, enum turn_refusal, int64_t ms, uint32_t retry_after_s, void *ctx);
	void *ctx;
};

struct turns;

WRIT_CHECKED struct writ_err *turns_new(const struct turns_conf *, struct turns **ret);
void turns_free(struct turns *);

/* Everybody who waits is refused: it ends. */
void turns_stop(struct turns *);

/* Asks for a turn: begins at once, waits, or is refused; the turn may be gone when this returns. */
void turns_enter(struct turns *, struct turn *, uint64_t root, uint64_t asker, size_t bytes, int64_t now_ms);

/* One has ended; nothing when it had not begun. */
void turns_left(struct turns *, struct turn *);

/* At the end of a wake-up: those whose turn has come begin.  Who has waited too long is refused. */
void turns_pump(struct turns *, int64_t now_ms);

#define TURNS_BOUNDS 9
extern const unsigned turns_bounds_ms[TURNS_BOUNDS];

/* For /metrics; sums of several loops are made by adding. */
struct turns_counts {
	uint64_t waiting, bytes, under_way, delegators; /* levels */
	uint64_t oldest_ms;				/* how long the first has waited */
	uint64_t drain_milli;				/* served a second, in thousandths, as measured last */
	uint64_t refused[TURN_REFUSALS];
	uint64_t waited[TURNS_BOUNDS + 1], waited_ms; /* of those that began: a histogram, and their sum */
};
/* Adds to `ret`; of oldest_ms the greater. */
void turns_told(struct turns *, int64_t now_ms, struct turns_counts *ret);

#endif
