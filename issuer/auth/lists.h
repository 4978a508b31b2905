/*
 * Revocation lists of corporate CAs: files that their owner replaces, read again when they change.
 *
 * A list counts when one of the entry's anchors signed it and it has no critical extension (so: no delta, no
 * partition).  Internal to auth/. Threading: lists_refresh() on one thread; lists_check() on any; a lock inside.
 */
#ifndef WRIT_ISSUER_AUTH_LISTS_H
#define WRIT_ISSUER_AUTH_LISTS_H

#include "base/clock.h"

struct x509_st;

struct lists;

/* `path` and `anchors` are borrowed for the life of the lists. */
WRIT_CHECKED struct writ_err *lists_new(const char *path, uint32_t max_age_s, struct x509_st *const *anchors,
					size_t n_anchors, struct lists **ret);
void lists_free(struct lists *);

/* Reads the file if it changed; on an error the lists in use stay. */
WRIT_CHECKED struct writ_err *lists_refresh(struct lists *);

/* WRIT_UNAUTHENTICATED: revoked.  WRIT_UNAVAILABLE: no list of that CA, or one too old to believe. */
WRIT_CHECKED struct writ_err *lists_check(struct lists *, struct writ_bytes issuer, struct writ_bytes serial,
					  writ_time now);

#endif
