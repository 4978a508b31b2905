/*
 * CA certificates and CRLs into what the front publishes.  The keeper's thread.
 */
#ifndef WRIT_ISSUER_SERVE_PUBLISH_H
#define WRIT_ISSUER_SERVE_PUBLISH_H

#include "issuer/serve/cas.h"
#include "issuer/serve/serve.h"

/* /ca/KEYID.cer of the anchor, and /ca/anchor.cer. */
WRIT_CHECKED struct writ_err *publish_anchor(struct publish *, struct writ_bytes anchor, writ_time now);

/* /ca/KEYID.cer of each issuing CA that was not published yet, and /ca/issuing.pem: all of them, newest first, so that a
 * relying party finds a new one without having met a leaf of it. */
WRIT_CHECKED struct writ_err *publish_cas(struct publish *, struct cas *, writ_time now);

/* What was published of an issuing CA that is no more. */
void publish_ca_drop(struct publish *, const struct ca_known *);

/*
 * Fetches a CA's list from the signer and puts it under /crl/KEYID.crl, or that of a shard under /crl/KEYID-SHARD.crl, unless it is number `*number`,
 * which is there already; then `*number` is the new one's.  `ret_is` may be NULL.  WRIT_NOT_FOUND: the signer knows no such CA any more, or no such shard.
 * WRIT_BROKEN or WRIT_UNAVAILABLE: the connection is of no more use.
 */
WRIT_CHECKED struct writ_err *publish_list(struct serve *, int sock, const uint8_t key_id[20], unsigned shard, uint64_t *number,
					   struct signer_crl_is *ret_is);

/* /crl/issuing.txt: the paths of all lists of issuing CAs that are published, a line each, for those who fetch them without having met a leaf. */
WRIT_CHECKED struct writ_err *publish_index(struct publish *, const struct cas *, writ_time now);

/* All lists of an issuing CA, or only those that were not published yet; what the signer has no more goes. */
WRIT_CHECKED struct writ_err *publish_lists(struct serve *, int sock, struct ca_known *, bool new_only);

#endif
