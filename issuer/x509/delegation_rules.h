/*
 * The rules E2 to E10 of delegation.md 3.3, on structures: the reader and the writer of delegation.h apply the same
 * ones.
 *
 * For delegation*.c only.  E1 and E5 speak of the encoding and are the reader's.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_DELEGATION_RULES_H
#define WRIT_ISSUER_X509_DELEGATION_RULES_H

#include "issuer/x509/delegation.h"

#define CONTEXT_TYPE_MAX 128 /* octets */
#define ATTESTATION_TYPE_MAX 64
#define POLICY_REF_MAX 128
#define AUTHORITY_MAX 256
#define ACR_MAX 128
#define DIGEST_LEN 32
#define PARAM_INT_MAX INT64_C(9007199254740991) /* what a JSON number holds exactly */

/* Where we are, for messages; counted from 1 as people do; 0: not in one. */
struct place {
	unsigned hop, entitlement, constraint;
};

/* WRIT_INVALID: "E6: entitlement 2, constraint 1: ..." */
WRIT_CHECKED struct writ_err *rule_broken(const struct place *, const char *rule, const char *fmt, ...)
	WRIT_PRINTF(3, 4);
WRIT_CHECKED struct writ_err *rule_broken_va(const struct place *, const char *rule, const char *fmt, va_list args)
	WRIT_PRINTF(3, 0);

WRIT_CHECKED struct writ_err *delegation_rules(const struct delegation *);
WRIT_CHECKED struct writ_err *grant_rules(const struct grant *);
WRIT_CHECKED struct writ_err *hop_rules(const struct hop *, struct place);

/* The contents of `hops`, decoded but not checked against rules (delegation_read.c). */
WRIT_CHECKED struct writ_err *hops_read(struct writ_bytes contents, size_t *ret_n, struct hop ret[HOPS_MAX]);

#endif
