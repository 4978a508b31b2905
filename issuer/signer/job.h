/*
 * One leaf on its way through the signer: what issue.c (journal, signature) and resident.c (the queue for the device)
 * share.
 *
 * Sealed tier: free, journalled, free.  Resident tier: free, waiting, journalled, signing, free.
 */
#ifndef WRIT_ISSUER_SIGNER_JOB_H
#define WRIT_ISSUER_SIGNER_JOB_H

#include "issuer/signer/signer.h"

enum job_state {
	JOB_FREE,
	JOB_WAITING,	/* in s->queue; nothing is written of it */
	JOB_JOURNALLED, /* in s->group, until the fdatasync */
	JOB_SIGNING,	/* in the device */
};

struct job {
	struct queue_item item; /* the first member: job_of() */
	enum job_state state;
	struct conn *conn; /* NULL: it has gone; the issuer will abort what it never saw */
	uint64_t id;
	uint8_t serial[LEAF_SERIAL];
	uint64_t index;
	uint8_t leaf_hash[32];
	unsigned shard; /* of its CA's list, which it names */
	struct leaf leaf; /* views into `tbs`; its lists are gone after the gate */
	size_t tbs_len, said_len;
	uint8_t tbs[LEAF_MAX];
	uint8_t said[SIGNER_SAID_MAX];
};

static inline struct job *
job_of(struct queue_item *item)
{
	return (struct job *)item;
}

/* ---- issue.c ---- */

/* A free one, with the request in it; NULL: there is none. */
struct job *job_take(struct signer *, struct conn *, uint64_t id, const struct signer_leaf *asked);

/* Gate, serial, journal entry: into the group.  An error is the answer; nothing is written then, or issuing has
 * stopped. */
WRIT_CHECKED struct writ_err *job_journal(struct signer *, struct job *);

/* Each answers and frees the job. */
void job_signed(struct signer *, struct job *, struct writ_bytes signature);
void job_failed(struct signer *, struct job *, struct writ_err *takes_why);  /* was journalled: aborts it */
void job_refused(struct signer *, struct job *, struct writ_err *takes_why); /* was not */

/* ---- resident.c ---- */

/* NULL: it waits for the device.  The error is the answer. */
WRIT_CHECKED struct writ_err *resident_leaf(struct signer *, struct conn *, uint64_t id,
					    const struct signer_leaf *asked);

/* After its fdatasync. */
void resident_sign(struct signer *, struct job *);

#endif
