/*
 * Segments of the journal as files: made, found, loaded, checked; the reserve; a torn tail told from damage.  Internal to issuer/log.
 *
 * Knows no writer and no group.  Threading: no state of its own.
 */
#ifndef WRIT_ISSUER_LOG_SEGMENT_H
#define WRIT_ISSUER_LOG_SEGMENT_H

#include <limits.h>

#include "issuer/log/journal.h"

#define SEGMENT_HEADER_LEN 64

struct segments {
	size_t n;
	uint64_t *first; /* ascending */
};

/* One segment in memory, and how far it was understood. */
struct segment {
	char path[PATH_MAX];
	int fd;
	const uint8_t *data; /* in the walk's room: until the next is loaded */
	size_t len;
	size_t end;	      /* behind the last good record */
	struct writ_err *bad; /* why the walk ended there; NULL: an end mark */
};

/* Where the walk over all segments stands. */
struct walk {
	uint64_t index;	  /* of the next entry */
	uint8_t hash[32]; /* of the entry before; meaningless at the first segment read */
	bool chained;	  /* `hash` is known, */
	bool of_log;	  /* and `id` */
	uint8_t id[LOG_ID_LEN];
	const struct journal_mark *mark; /* the place that must be there before `each` sees anything; NULL: none, or seen */
	writ_time last_time;
	uint8_t *room; /* for a segment: one for all, since memory that is new costs as much as reading */
	uint64_t from; /* `each` sees entries from here on */
	journal_each *each;
	void *ctx;
};

WRIT_CHECKED struct writ_err *segment_path(const char *dir, const char *name, char out[PATH_MAX]);

/* Ends the process (I13): what was not written cannot be taken back from those who would rely on it. */
_Noreturn void segment_write_failed(const char *what);

/* A preallocated segment under its final name.  WRIT_EXHAUSTED: no room on the disk. */
WRIT_CHECKED struct writ_err *segment_make(const char *dir, uint64_t first, const uint8_t id[LOG_ID_LEN], const uint8_t before[32],
					   int *ret_fd);

/* The reserve, unless it is there; WRIT_EXHAUSTED: no room.  And making it the segment that begins at `first`. */
WRIT_CHECKED struct writ_err *reserve_make(const char *dir);
WRIT_CHECKED struct writ_err *segment_from_reserve(const char *dir, uint64_t first, const uint8_t id[LOG_ID_LEN], const uint8_t before[32],
					   int *ret_fd);

WRIT_CHECKED struct writ_err *segments_find(const char *dir, struct segments *ret);
void segments_done(struct segments *);

/* The whole file into memory; `flags`: O_RDONLY or O_RDWR for s->fd, which is -1 before. */
WRIT_CHECKED struct writ_err *segment_load(const char *dir, uint64_t first, int flags, struct walk *,
					   struct segment *);
void segment_done(struct segment *);
void walk_done(struct walk *);

/* Magic, version, place in the chain. */
WRIT_CHECKED struct writ_err *segment_header_check(const struct segment *, uint64_t first, struct walk *);

/* WRIT_INVALID: the walk stands behind the mark's place, or at it with another hash before it; at it, the mark is done with. */
WRIT_CHECKED struct writ_err *walk_mark(struct walk *);

/* Good records up to the first that is none.  The error is of `each`, or of the mark; what is bad in the segment goes into s->bad. */
WRIT_CHECKED struct writ_err *segment_walk(struct segment *, struct walk *);

/* The end of what is not zero. */
size_t segment_used(const struct segment *);
WRIT_CHECKED struct writ_err *segment_damaged(const struct segment *, const struct walk *, const char *why);

/* WRIT_BROKEN: what follows the last good record is damage, not the torn tail of a group never acknowledged (3).  And the cut. */
WRIT_CHECKED struct writ_err *segment_tail_check(const struct segment *, const struct walk *, size_t used);
WRIT_CHECKED struct writ_err *segment_tail_cut(const struct segment *, size_t used);

#endif
