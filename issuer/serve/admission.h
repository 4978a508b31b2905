/*
 * A share per principal, and one per root delegator (I14): a token bucket each, so that one that asks ten thousand times a second
 * costs the others nothing, and ten thousand agents of one delegator are one party.
 *
 * Who has no certificate is counted by address.  What takes something back has a bucket of its own: whoever has used up his share
 * can still revoke.  The tables are bounded; when one is full the bucket not used for longest makes room, which can only be to its
 * owner's advantage.  Also counts denials for the journal: at most 10 a second a principal are written, then a number (DESIGN.md,
 * Formats).  Thread-safe: a lock inside.
 */
#ifndef WRIT_ISSUER_SERVE_ADMISSION_H
#define WRIT_ISSUER_SERVE_ADMISSION_H

#include "base/clock.h"

#define ADMISSION_NOTES_PER_S 10

struct admission;

/* Requests a second, with bursts of as many: of a principal, and of all below a root delegator together. */
struct admission_limits {
	uint32_t principal, delegator;
};

WRIT_CHECKED struct writ_err *admission_new(struct admission_limits, struct admission **ret);
void admission_free(struct admission *);
void admission_limit(struct admission *, struct admission_limits); /* at a reload */

/* A number for that name, keyed: nobody outside can choose what it shares a place with.  Never 0. */
uint64_t admission_name(const struct admission *, struct writ_bytes who);

/* Takes a token; WRIT_EXHAUSTED names who and the limit. */
WRIT_CHECKED struct writ_err *admission_take(struct admission *, struct writ_bytes who, int64_t mono_ms);

/* The same, of the bucket for what takes something back. */
WRIT_CHECKED struct writ_err *admission_take_back(struct admission *, struct writ_bytes who, int64_t mono_ms);

/*
 * Is there a token in the bucket of the root delegator of that name (admission_name())?  `take`: takes it.  Only looked at while it
 * is not proven who asks: who merely names another's task must not be able to use up what is the other's.
 */
bool admission_delegator(struct admission *, uint64_t name, bool take, int64_t mono_ms);

/* May this denial be journalled?  `*ret_skipped`: how many of that principal were not since the last that was. */
bool admission_note(struct admission *, struct writ_bytes who, int64_t mono_ms, uint64_t *ret_skipped);

#endif
