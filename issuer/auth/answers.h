/*
 * OCSP answers of corporate CAs about the certificates that they gave delegators: files that writ-fetchd writes.
 *
 * An answer counts when one of the entry's anchors signed it, or a responder that such an anchor certified for that
 * (RFC 6960 4.2.2.2), when it is about this certificate, and when it is not older than max_age.  Requests have no
 * nonce, so that one answer serves until then.  Asks nobody.  Internal to auth/.  Threading: answers_check() on any
 * thread; a lock inside.
 */
#ifndef WRIT_ISSUER_AUTH_ANSWERS_H
#define WRIT_ISSUER_AUTH_ANSWERS_H

#include "base/clock.h"

struct x509_st;

struct answers;

/* `state`, `url` and `anchors` are borrowed for the life of the answers. */
WRIT_CHECKED struct writ_err *answers_new(const char *state, const char *url, uint32_t max_age_s,
					  struct x509_st *const *anchors, size_t n_anchors, struct answers **ret);
void answers_free(struct answers *);

/* Appends the request about this certificate, DER; WRIT_UNAUTHENTICATED when none of the anchors issued it. */
WRIT_CHECKED struct writ_err *answers_request(const struct answers *, struct x509_st *cert, struct writ_buf *ret);

/*
 * WRIT_UNAUTHENTICATED: revoked.  WRIT_UNAVAILABLE: no answer, a bad one, an old one, or one that does not know the
 * certificate.  `*ret_ask`: it is time to ask (again): there is no good answer, or it has lived half of what it may.
 */
WRIT_CHECKED struct writ_err *answers_check(struct answers *, struct writ_bytes request, writ_time now, bool *ret_ask);

#endif
