/*
 * A CRL kept for look-ups: its own copy, its entries in the order of their serials (crl_find() is linear).
 *
 * Knows nothing of signatures or time.  One thread at a time may change it; any number may look up.
 */
#ifndef WRIT_ISSUER_X509_CRL_INDEX_H
#define WRIT_ISSUER_X509_CRL_INDEX_H

#include "issuer/x509/crl.h"

#define CRL_MAX (64 * 1024 * 1024) /* bytes: a list of a million entries has 49 MB */

struct crl_index {
	struct writ_buf der;
	struct crl crl; /* views into der */
	size_t n;
	uint32_t *at; /* where each entry begins in crl.entries, ascending by serial */
};

/* Copies and reads; WRIT_INVALID as crl_read(). */
WRIT_CHECKED struct writ_err *crl_index_init(struct writ_bytes der, struct crl_index *ret);
void crl_index_done(struct crl_index *);

/* As crl_find() and crl_has_edge(), in log time. */
bool crl_index_find(const struct crl_index *, struct writ_bytes serial, writ_time *ret_revoked_at,
		    enum crl_reason *ret_reason);
bool crl_index_has_edge(const struct crl_index *, struct writ_bytes edge_id);

#endif
