/*
 * Canonical JSON for entries: sorted keys, no floats, one line.  The writer refuses keys out of order, so an entry cannot be
 * uncanonical by accident; the checker accepts exactly what the writer writes, nested (the issuer's `said` is checked with it).
 */
#ifndef WRIT_ISSUER_LOG_JSON_H
#define WRIT_ISSUER_LOG_JSON_H

#include "base/bytes.h"

#define JSON_NEST_MAX 8

struct json_out {
	struct writ_buf *buf;
	char last[JSON_NEST_MAX][32];	/* the key before, a level */
	unsigned depth;
	bool first[JSON_NEST_MAX];
	bool failed;
};

struct json_out json_write(struct writ_buf *);
/*
 * The linker knows these two by names of their own: jansson, which the issuer loads too, has functions of the same
 * names, and ours would be called in their place.
 */
void json_object(struct json_out *, const char *key) __asm__("writ_json_object"); /* key NULL: the outermost, or an array's item */
void json_array(struct json_out *, const char *key) __asm__("writ_json_array");
void json_end(struct json_out *);
void json_text(struct json_out *, const char *key, struct writ_bytes);
void json_hex(struct json_out *, const char *key, struct writ_bytes);
void json_int(struct json_out *, const char *key, int64_t);
void json_bool(struct json_out *, const char *key, bool);
void json_raw(struct json_out *, const char *key, struct writ_bytes canonical);	/* checked already */
WRIT_CHECKED struct writ_err *json_finish(struct json_out *);

/* One canonical object: sorted unique keys, integers below 2^53, strings without raw control characters, depth <= 8, no space. */
WRIT_CHECKED struct writ_err *json_canonical_check(struct writ_bytes, size_t max_len);

#endif
