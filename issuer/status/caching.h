/*
 * What HTTP caches on the way may do with what we answer: RFC 9919 6, RFC 9110.  Knows no OCSP, no document, no clock.
 * Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_STATUS_CACHING_H
#define WRIT_ISSUER_STATUS_CACHING_H

#include "base/bytes.h"
#include "base/clock.h"

/* Seconds at most, of max_age_s, until `expires`: HTTP caches never keep it to then. */
static inline unsigned
caching_max_age(writ_time now, writ_time expires, unsigned max_age_s)
{
	const writ_time left_s = expires - now - 1;

	return left_s < 0 ? 0 : left_s < max_age_s ? (unsigned)left_s : max_age_s;
}

/*
 * The headers' bytes into `headers`, their length returned; 0: they did not fit.  max-age has two digits at least, so
 * that one below 100 can be written over.
 */
size_t caching_headers(char *headers, size_t cap, const char *etag, writ_time last_modified, writ_time expires,
		       unsigned max_age_s);

/* Is one of the If-None-Match field's entity tags this one?  "*" is, and so is a weak one (RFC 9110 13.1.2). */
bool caching_etag_listed(struct writ_bytes field, struct writ_bytes etag);

#endif
