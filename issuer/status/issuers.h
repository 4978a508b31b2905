/*
 * Inside of the status room: is an OCSP request about an issuing CA of ours?  Asked for every request, so it costs the
 * same for two generations and for 256.  Not thread-safe: a front's own.
 */
#ifndef WRIT_ISSUER_STATUS_ISSUERS_H
#define WRIT_ISSUER_STATUS_ISSUERS_H

#include "issuer/x509/ocsp.h"

struct issuers {
	size_t mask;	  /* places, less one: at most half of them taken */
	uint16_t *by_key; /* by the key's SHA-1, then by its SHA-256: 1 + index, or 0 */
	struct ocsp_issuer *list;
};

/* A copy; what was there before is replaced, or after an error still there. */
WRIT_CHECKED struct writ_err *issuers_set(struct issuers *, const struct ocsp_issuer *, size_t n);
void issuers_done(struct issuers *);
bool issuers_have(const struct issuers *, const struct ocsp_request *);

#endif
