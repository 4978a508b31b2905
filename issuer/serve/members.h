/*
 * Members of JSON objects, taken one by one and strictly: for the readers of bodies (request.c) and of signed grants.
 *
 * Depth is scanned before jansson sees a byte; duplicate and unknown members, floats, integers beyond 2^53 are refused,
 * each with the member's name.  `where` is "" for the outermost object, else a place that ends in '.'; every text is
 * copied into the arena.  Knows no route.  Thread-safe: no state.  All errors but memory's are WRIT_INVALID.
 */
#ifndef WRIT_ISSUER_SERVE_MEMBERS_H
#define WRIT_ISSUER_SERVE_MEMBERS_H

#include <jansson.h>

#include "issuer/serve/request.h"

#define MEMBER_INTEGER_MAX INT64_C(9007199254740991) /* 2^53 - 1: what every JSON reader holds exactly */

/* The object in `text`; `what` is its name in messages: "the body". */
WRIT_CHECKED struct writ_err *members_parse(struct writ_bytes text, const char *what, json_t **ret);
/* The same of a body that may have more than REQUEST_MAX. */
WRIT_CHECKED struct writ_err *members_parse_long(struct writ_bytes text, size_t max, const char *what, json_t **ret);
void members_done(json_t **);

/* No member but these. */
WRIT_CHECKED struct writ_err *members_only(json_t *object, const char *where, const char *const *names, size_t n);

/* Refusals: "member 'where.name' must be ...", "... is missing". */
WRIT_CHECKED struct writ_err *member_wrong(const char *where, const char *name, const char *wanted);
WRIT_CHECKED struct writ_err *member_missing(const char *where, const char *name);

enum member_presence { MEMBER_OPTIONAL, MEMBER_REQUIRED };

/* A text; empty when it is optional and absent.  An empty text given is refused: absence has one form. */
WRIT_CHECKED struct writ_err *member_text(json_t *object, const char *where, const char *name, enum member_presence,
					  size_t max, struct writ_arena *, struct writ_bytes *ret);

/* An integer; `otherwise` when it is absent. */
WRIT_CHECKED struct writ_err *member_number(json_t *object, const char *where, const char *name, int64_t min,
					    int64_t max, int64_t otherwise, int64_t *ret);

/* true or false; false when it is absent. */
WRIT_CHECKED struct writ_err *member_flag(json_t *object, const char *where, const char *name, bool *ret);

/* Exactly `len` bytes in lower-case hex. */
WRIT_CHECKED struct writ_err *member_hex(json_t *object, const char *where, const char *name, uint8_t *out, size_t len);

/* A list of 1 to `max` texts. */
WRIT_CHECKED struct writ_err *member_texts(json_t *object, const char *where, const char *name, size_t max,
					   struct writ_arena *, struct texts *ret);

/* scope, audience and constraints of `object`, canonical (E6, 4.1). */
WRIT_CHECKED struct writ_err *members_grant(json_t *object, struct writ_arena *, struct grant *ret);

/* What a body and a signed grant both say, under names of their own: the agent's class; id and purpose of a task; a
 * context's type and digest. */
WRIT_CHECKED struct writ_err *member_class(json_t *object, const char *where, const char *name, struct writ_arena *,
					   struct writ_bytes *ret);
WRIT_CHECKED struct writ_err *member_task(json_t *object, const char *where, struct writ_arena *,
					  struct request_delegation *ret);
WRIT_CHECKED struct writ_err *member_context(json_t *object, const char *where, const char *type, const char *digest,
					     struct writ_arena *, struct request_delegation *ret);

/* The text of a JSON string, inside it. */
struct writ_bytes member_text_of(const json_t *);

/* A copy in the arena. */
WRIT_CHECKED struct writ_err *member_keep(struct writ_arena *, struct writ_bytes from, struct writ_bytes *ret);

#endif
