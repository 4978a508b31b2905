/*
 * Cases: requests and what a policy is expected to answer, in YAML beside the policy (`writ policy test`).
 *
 * A case holds what the issuer would know: the request, and of an agent that delegates the authority of its leaf.  Its
 * facts are made as the issuer makes them, the parent's constraints copied down, and decided by policy_decide().  What
 * the issuer refuses outside a policy - a revoked edge, a key used before - no case can say.  Format: writ-policy(5).
 * Knows no files, clock, network or keys.  Threading: cases are read-only once parsed.
 */
#ifndef WRIT_POLICY_CASES_H
#define WRIT_POLICY_CASES_H

#include "policy/policy.h"

#define CASES_MAX 1000
#define CASE_NAME_MAX 120 /* octets: a line of output */

struct cases;

/* `name` is for messages; the texts are copied.  WRIT_INVALID with line and column. */
WRIT_CHECKED struct writ_err *cases_parse(const char *name, struct writ_bytes yaml, struct cases **ret);
void cases_free(struct cases *);
void cases_freep(struct cases **);

size_t cases_n(const struct cases *);
struct writ_bytes cases_name(const struct cases *, size_t i); /* each name once, printable, without '#' */
unsigned cases_line(const struct cases *, size_t i);
bool cases_find(const struct cases *, struct writ_bytes name, size_t *ret);

/* The file's `now`, else what is given. */
writ_time cases_now(const struct cases *, writ_time now);

/* What policy_decide() is asked for a case.  Not to be moved: `facts` points into it. */
struct case_facts {
	struct policy_facts facts;
	struct policy_parent parent;
	struct grant grant;
};

/* Fills it; texts are borrowed from the cases and the arena.  WRIT_EXHAUSTED as grant_inherit(). */
WRIT_CHECKED struct writ_err *cases_facts(const struct cases *, size_t i, writ_time now, struct writ_arena *,
					  struct case_facts *ret);

/* Is the verdict what the case expects?  If not, appends a line each: "rule: got 'D1', expected 'S1'". */
WRIT_CHECKED struct writ_err *cases_judge(const struct cases *, size_t i, writ_time now, const struct verdict *,
					  struct writ_buf *ret_why, bool *ret_as_expected);

#endif
