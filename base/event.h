/*
 * Events: one JSON object a line, for operators and their collectors.
 *
 * Never blocks and never fails: a line that the descriptor cannot take at once is dropped and counted, and the count is
 * told in the next line that gets through.  A line is at most 4,000 bytes (below PIPE_BUF, so lines never mix).
 * No secret is ever given to it.  Thread-safe.
 */
#ifndef WRIT_BASE_EVENT_H
#define WRIT_BASE_EVENT_H

#include "base/bytes.h"

enum event_level { EVENT_DEBUG, EVENT_INFO, EVENT_WARN, EVENT_ALARM }; /* ALARM: an operator must act */

enum event_field_kind { EVENT_TEXT, EVENT_NUMBER, EVENT_HEX, EVENT_ERR, EVENT_FLAG };

struct event_field {
	const char *name;
	enum event_field_kind kind;
	struct writ_bytes bytes;    /* EVENT_TEXT, EVENT_HEX */
	int64_t number;		    /* EVENT_NUMBER, EVENT_FLAG */
	const struct writ_err *err; /* EVENT_ERR: code and whole text */
};

#define EV_TEXT(n, b) ((struct event_field){ .name = (n), .kind = EVENT_TEXT, .bytes = (b) })
#define EV_STR(n, s) ((struct event_field){ .name = (n), .kind = EVENT_TEXT, .bytes = writ_str(s) })
#define EV_NUM(n, v) ((struct event_field){ .name = (n), .kind = EVENT_NUMBER, .number = (int64_t)(v) })
#define EV_FLAG(n, v) ((struct event_field){ .name = (n), .kind = EVENT_FLAG, .number = (v) ? 1 : 0 })
#define EV_HEX(n, b) ((struct event_field){ .name = (n), .kind = EVENT_HEX, .bytes = (b) })
#define EV_ERR(e) ((struct event_field){ .name = "error", .kind = EVENT_ERR, .err = (e) })

/* Where events go and who speaks: `role` is "writ-signerd" and the like.  Default: descriptor 2, EVENT_INFO. */
void event_start(int fd, const char *role, enum event_level least);

/* event(EVENT_INFO, "signer.ready", EV_NUM("entries", n), EV_STR("tier", "sealed"));   At least one field. */
#define event(level, name, ...)                                                                                        \
	event_write((level), (name), (const struct event_field[]){ __VA_ARGS__ },                                      \
		    sizeof((const struct event_field[]){ __VA_ARGS__ }) / sizeof(struct event_field))

void event_write(enum event_level, const char *name, const struct event_field *fields, size_t n_fields);

/* Lines dropped since the start: a metric. */
uint64_t event_dropped(void);

/* "debug", "info", "warn", "alarm"; false when it is none of them. */
bool event_level_from(struct writ_bytes name, enum event_level *ret);

#endif
