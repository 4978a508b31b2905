/*
 * Canonical JSON for entries: sorted keys, no floats, one line.  The writer refuses keys out of order, so an entry cannot be
 * uncanonical by accident; the checker accepts exactly what the writer writes, nested (the issuer's `said` is checked with it).
 * No name begins with json_: those are jansson's, which the issuer loads too.
 */
#ifndef WRIT_ISSUER_LOG_JSON_H
#define WRIT_ISSUER_LOG_JSON_H

#include "base/bytes.h"

#define CANON_NEST_MAX 8

struct canon_out {
	struct writ_buf *buf;
	char last[CANON_NEST_MAX][32];	/* the key before, a level */
	unsigned depth;
	bool first[CANON_NEST_MAX];
	bool failed;
};

struct canon_out canon_write(struct writ_buf *);
void canon_object(struct canon_out *, const char *key); /* key NULL: the outermost, or an array's item */
void canon_array(struct canon_out *, const char *key);
void canon_end(struct canon_out *);
void canon_text(struct canon_out *, const char *key, struct writ_bytes);
void canon_hex(struct canon_out *, const char *key, struct writ_bytes);
void canon_int(struct canon_out *, const char *key, int64_t);
void canon_bool(struct canon_out *, const char *key, bool);
void canon_raw(struct canon_out *, const char *key, struct writ_bytes canonical);	/* checked already */
WRIT_CHECKED struct writ_err *canon_finish(struct canon_out *);

/* One canonical object: sorted unique keys, integers below 2^53, strings without raw control characters, depth <= 8, no space. */
WRIT_CHECKED struct writ_err *canon_check(struct writ_bytes, size_t max_len);

#endif
