/*
 * Errors: the return value is the error, NULL is success.
 *
 * A code tells a program what it can do next, a message tells people what was refused, by which rule, at which value
 * and limit; a cause tells whoever must repair it.  Knows nothing of HTTP, exit codes or logs.
 * Threading: an error belongs to whoever holds it; nothing here is shared but the static out-of-memory error.
 */
#ifndef WRIT_BASE_ERR_H
#define WRIT_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* What the caller can do next, not where it went wrong. */
enum writ_code {
	WRIT_INVALID,	      /* the input is malformed: correct it */
	WRIT_UNAUTHENTICATED, /* we do not know who asks */
	WRIT_NOT_FOUND,	      /* no such key, serial or task */
	WRIT_CONFLICT,	      /* already there, or used once already */
	WRIT_UNAVAILABLE,     /* device, disk or peer is away: try later */
	WRIT_EXHAUSTED,	      /* a stated limit, or memory, ran out */
	WRIT_LOCKED,	      /* latched: only an operator can help */
	WRIT_BROKEN,	      /* an invariant of ours failed: stop */
};

#define WRIT_MESSAGE_MAX 200 /* bytes with the NUL; a longer message ends in "..." */

struct writ_err {
	enum writ_code code;
	char message[WRIT_MESSAGE_MAX]; /* for people; never holds a secret; control characters are written as '?' */
	unsigned retry_after_s;		/* when to ask again, of what passes by itself; 0: not known */
	struct writ_err *cause;		/* owned; NULL where the trouble began */
};

#define WRIT_CHECKED __attribute__((warn_unused_result))
#define WRIT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Starts an error.  Never returns NULL: without memory it is a static error of code WRIT_EXHAUSTED. */
WRIT_CHECKED struct writ_err *writ_fail(enum writ_code code, const char *fmt, ...) WRIT_PRINTF(2, 3);

/* As writ_fail() with WRIT_UNAVAILABLE, and the text of `errno_value` at the end. */
WRIT_CHECKED struct writ_err *writ_fail_errno(int errno_value, const char *fmt, ...) WRIT_PRINTF(2, 3);

/* Takes `cause` and wraps it: same code, a message that adds a fact. */
WRIT_CHECKED struct writ_err *writ_because(struct writ_err *cause, const char *fmt, ...) WRIT_PRINTF(2, 3);

/* Says when to ask again; returns `err`.  Errors that wrap it say the same. */
WRIT_CHECKED struct writ_err *writ_retry_after(struct writ_err *err, unsigned seconds);

/* As writ_because(), with another code: for a border where the caller can do something else about it. */
WRIT_CHECKED struct writ_err *writ_recode(struct writ_err *cause, enum writ_code code, const char *fmt, ...)
	WRIT_PRINTF(3, 4);

void writ_err_free(struct writ_err *);
void writ_err_freep(struct writ_err **);

/* Writes "outer: inner: innermost" into `out`, NUL-terminated, cut with "..." when it does not fit; returns `out`. */
char *writ_err_text(const struct writ_err *, char *out, size_t out_len);

/* "INVALID", "UNAVAILABLE", ...: the names the API prints. */
const char *writ_code_name(enum writ_code);

#endif
