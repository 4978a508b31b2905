/*
 * A share per principal (I14): a token bucket each, so that one that asks ten thousand times a second costs the others
 * nothing.
 *
 * Who has no certificate is counted by address.  The table is bounded; when it is full the bucket not used for longest
 * makes room, which can only be to its owner's advantage.  Also counts denials for the journal: at most 10 a second a
 * principal are written, then a number (DESIGN.md, Formats). Thread-safe: a lock inside.
 */
#ifndef WRIT_ISSUER_SERVE_ADMISSION_H
#define WRIT_ISSUER_SERVE_ADMISSION_H

#include "base/clock.h"

#define ADMISSION_NOTES_PER_S 10

struct admission;

WRIT_CHECKED struct writ_err *admission_new(uint32_t per_second, struct admission **ret);
void admission_free(struct admission *);
void admission_limit(struct admission *, uint32_t per_second); /* at a reload */

/* Takes a token; WRIT_EXHAUSTED names who and the limit. */
WRIT_CHECKED struct writ_err *admission_take(struct admission *, struct writ_bytes who, int64_t mono_ms);

/* May this denial be journalled?  `*ret_skipped`: how many of that principal were not since the last that was. */
bool admission_note(struct admission *, struct writ_bytes who, int64_t mono_ms, uint64_t *ret_skipped);

#endif
