/*
 * How libwrit refuses: a code for programs, the rule and one line of text for people (writ.h).
 *
 * For verify.c, verifier.c and agent.c only.  A step returns its code, WRIT_OK at best; `why` may be NULL, and then no
 * text is formed.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_REFUSE_H
#define WRIT_ISSUER_X509_REFUSE_H

#include "base/bytes.h"
#include "base/clock.h"
#include "issuer/x509/writ.h"

/* Returns `code`. */
WRIT_CHECKED enum writ_refusal refuse(struct writ_why *, enum writ_refusal code, const char *rule, const char *fmt, ...)
	WRIT_PRINTF(4, 5);

/*
 * Takes `err`: the text is "who: " (nothing, when the error says who) and the error with its causes.  Returns `code`, or WRIT_REFUSED_MEMORY when the
 * error says that memory ran out.
 */
WRIT_CHECKED enum writ_refusal refuse_err(struct writ_why *, enum writ_refusal code, const char *rule, const char *who,
					  struct writ_err *err);

/* A caller's `now`, between whose ends differences cannot overflow. */
static inline bool
time_is_sane(int64_t now)
{
	return now >= 0 && now <= WRIT_TIME_MAX;
}

#define NO_SUCH_TIME "the time given lies before 1970 or after 9999"

#endif
