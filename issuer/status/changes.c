/*
 * The ring of status changes: see changes.h.
 *
 * (1) The change of number n lies at n modulo the size, until that of n + size is written: what is kept is the `kept`
 * newest, or all there ever were.
 */
#include "issuer/status/changes.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/digest.h"

struct status_changes {
	uint8_t epoch[STATUS_EPOCH_LEN];
	pthread_mutex_t lock;
	uint64_t next; /* under the lock, as are the changes */
	size_t kept;
	struct status_change ring[];
};

struct writ_err *
status_changes_new(size_t kept, struct status_changes **ret)
{
	/* Not touched before it is used: a ring that never fills costs nothing. */
	struct status_changes *changes = calloc(1, sizeof(*changes) + kept * sizeof(changes->ring[0]));

	if (!changes || pthread_mutex_init(&changes->lock, NULL) != 0) {
		free(changes);
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu changes of status", kept);
	}
	changes->kept = kept;
	writ_random(changes->epoch, sizeof(changes->epoch));
	*ret = changes;
	return NULL;
}

void
status_changes_free(struct status_changes *changes)
{
	if (changes)
		pthread_mutex_destroy(&changes->lock);
	free(changes);
}

const uint8_t *
status_changes_epoch(const struct status_changes *changes)
{
	return changes->epoch;
}

void
status_changes_add(struct status_changes *changes, const struct status_change *change)
{
	pthread_mutex_lock(&changes->lock);
	changes->ring[changes->next % changes->kept] = *change;
	changes->next++;
	pthread_mutex_unlock(&changes->lock);
}

uint64_t
status_changes_next(struct status_changes *changes)
{
	uint64_t next;

	pthread_mutex_lock(&changes->lock);
	next = changes->next;
	pthread_mutex_unlock(&changes->lock);
	return next;
}

bool
status_changes_read(struct status_changes *changes, uint64_t from, struct status_change *ret, size_t max, size_t *ret_n,
		    uint64_t *ret_next)
{
	uint64_t there;

	pthread_mutex_lock(&changes->lock);
	*ret_next = changes->next;
	there = from <= changes->next ? changes->next - from : UINT64_MAX;
	*ret_n = there < max ? (size_t)there : max;
	if (there <= changes->kept) /* (1) */
		for (size_t i = 0; i < *ret_n; i++)
			ret[i] = changes->ring[(from + i) % changes->kept];
	pthread_mutex_unlock(&changes->lock);
	return there <= changes->kept;
}
