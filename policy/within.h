/*
 * How a grant is held against what it must lie inside - a parent's grant or a rule - and how the difference is put in
 * words.
 *
 * Internal to policy/.  The yes or no is quick and forms no text; the words are formed once, for the answer.
 * Thread-safe: no state.
 */
#ifndef WRIT_POLICY_WITHIN_H
#define WRIT_POLICY_WITHIN_H

#include <stdarg.h>
#include <stdio.h>

#include "policy/grant.h"

enum holder {
	HELD_BY_PARENT, /* a certificate: only a delegable entitlement is handed on */
	HELD_BY_RULE,	/* need not be delegable, unless the child's is */
};

/* Each entitlement of the child inside one of the holder's, constraints and all (S1). */
bool scope_within(const struct grant *child, const struct grant *holder, enum holder);

/* The same with its reason: "S1", "K" (a constraint) or, of a rule, "S2" (delegable); NULL when inside. */
void scope_excess(const struct grant *child, const struct grant *holder, enum holder, struct excess *ret);

/* The first child text that no holder's text covers, or NULL. */
typedef bool covers_fn(struct writ_bytes parent, struct writ_bytes child);
const struct writ_bytes *first_outside(const struct texts *child, const struct texts *holder, covers_fn *);

/* Delegable, actions and resources: all of S1 but the constraints. */
bool names_within(const struct entitlement *e, const struct entitlement *f, enum holder);

/* K(e) in turn: the grant's own first; NULL after the last. */
const struct constraint *constraint_at(const struct grant *, const struct entitlement *e, size_t i);

/* The first constraint in K(e) that stands in that relation to `parent`, or NULL. */
typedef bool constraint_test(const struct constraint *child, const struct constraint *parent);
const struct constraint *constraint_find(const struct grant *, const struct entitlement *e,
					 const struct constraint *parent, constraint_test *);

/* "limit <= 100", "source_net 10.0.0.0/8": into 160 bytes, as excess and verdict hold them. */
#define WORDS_MAX 160
void constraint_words(const struct constraint *, char out[WORDS_MAX]);

/* Of one kind and name: the pairs of delegation.md 4.4. */
bool constraint_counterpart(const struct constraint *, const struct constraint *);

/* "10.0.0.0/8" from address || mask. */
#define NET_TEXT_MAX 64
const char *net_words(struct writ_bytes net, char out[NET_TEXT_MAX]);

#define ALL(b) (int)(b).len, (const char *)(b).data /* as WRIT_FMT, uncut: words_va() cuts the whole */

/* snprintf that ends a text that did not fit in "...", never inside a character. */
WRIT_PRINTF(3, 0)
static inline void
words_va(char *out, size_t size, const char *fmt, va_list args)
{
	const int n = vsnprintf(out, size, fmt, args);
	size_t at = size - 4;

	if (n < 0 || (size_t)n < size)
		return;
	while (at > 0 && ((uint8_t)out[at] & 0xc0) == 0x80)
		at--;
	memcpy(out + at, "...", 4);
}

WRIT_PRINTF(3, 4)
static inline void
words(char *out, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	words_va(out, size, fmt, args);
	va_end(args);
}

#endif
