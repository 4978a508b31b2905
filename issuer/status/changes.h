/*
 * Status changes: the newest changes of a status table, numbered without gaps, for responders that follow.
 *
 * A bounded ring.  status_set() appends what changes a table that is followed (status_follow()), after the table
 * itself: so who reads a head, and then the table by status_walk(), and then the changes from that head on, has all of
 * it - a change never turns into its opposite, and taking one twice is taking it once.  What fell out of the ring is
 * told as lost: begin with the table again.  The epoch is a random value of one process's life: numbers of another mean
 * nothing. Knows no reader, no wire, no time.  Threading: one writer, any readers; a lock is held for one change, or
 * for a copy of what a reader asks for, never across anything that waits.
 */
#ifndef WRIT_ISSUER_STATUS_CHANGES_H
#define WRIT_ISSUER_STATUS_CHANGES_H

#include "issuer/status/status.h"

#define STATUS_EPOCH_LEN 16
#define STATUS_CHANGES_KEPT ((size_t)1 << 18) /* 6 MiB: a cascade of 100,000 leaves, or 25 s of 10,000 a second */

struct status_change {
	uint8_t serial[16];
	enum status_state state; /* good or revoked */
	uint32_t life_s; /* notAfter, seconds after the minute that the serial begins with; UINT32_MAX: that or more */
};

struct status_changes;

/* `kept`: how many, a power of two. */
WRIT_CHECKED struct writ_err *status_changes_new(size_t kept, struct status_changes **ret);
void status_changes_free(struct status_changes *);

const uint8_t *status_changes_epoch(const struct status_changes *); /* STATUS_EPOCH_LEN */

/* The writer's. */
void status_changes_add(struct status_changes *, const struct status_change *);

/* The number that the next change gets; the first of all is 0.  Any thread. */
uint64_t status_changes_next(struct status_changes *);

/* Copies the changes from number `from` on, at most `max`; `*ret_n` of them.  False: they are lost, or `from` is of the
 * future.  Any thread. */
bool status_changes_read(struct status_changes *, uint64_t from, struct status_change *ret, size_t max, size_t *ret_n,
			 uint64_t *ret_next);

#endif
