/*
 * Certificate revocation lists (RFC 5280 5), streamed: entries are encoded once, when the revocation is made, and a list is header, copy,
 * trailer and one hash (57 ms for a million entries, where X509_CRL takes 7.3 s).
 * Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_CRL_H
#define WRIT_ISSUER_X509_CRL_H

#include "issuer/x509/leaf.h"

/* RFC 5280 5.3.1; certificateHold(6) and removeFromCRL(8) are never emitted (R7). */
enum crl_reason {
	REASON_UNSPECIFIED = 0, REASON_KEY_COMPROMISE = 1, REASON_CA_COMPROMISE = 2, REASON_AFFILIATION_CHANGED = 3,
	REASON_SUPERSEDED = 4, REASON_CESSATION_OF_OPERATION = 5, REASON_PRIVILEGE_WITHDRAWN = 9,
};
bool crl_reason_ok(unsigned reason);
const char *crl_reason_name(unsigned reason);			/* "keyCompromise", ... */
bool crl_reason_from(struct writ_bytes name, enum crl_reason *ret);

#define CRL_ENTRY_MAX 64
#define CRL_HEAD_MAX (NAME_MAX_LEN + 256)		/* bytes before the entries */
#define CRL_TAIL_MAX(n_edges) (1024 + URL_MAX + (n_edges) * (EDGE_ID + 2))	/* and behind them */

/* Appends one encoded revokedCertificates entry: 35 bytes, 49 with a reason (16-octet serial). */
WRIT_CHECKED struct writ_err *crl_entry_write(struct writ_bytes serial, writ_time revoked_at, enum crl_reason, struct writ_buf *ret);

struct crl_facts {
	struct writ_bytes issuer_name;		/* DER */
	struct writ_bytes issuer_key_id;	/* 20 */
	enum key_kind kind;			/* of the signature */
	uint64_t number;
	writ_time this_update, next_update;
	struct writ_bytes entries;		/* encoded, concatenated */
	size_t n_edges;
	const uint8_t (*edges)[EDGE_ID];	/* revokedDelegations; ascending; omitted when none */
	struct writ_bytes idp_url;		/* issuingDistributionPoint, critical; empty: none */
};

/* Appends the TBSCertList; x509_assemble() makes the list of it. */
WRIT_CHECKED struct writ_err *crl_build_tbs(const struct crl_facts *, struct writ_buf *ret_tbs);

/*
 * For lists too long to be put together in one go: what stands before their `entries_len` bytes of entries in the TBSCertList, and what stands behind
 * them; `entries` of the facts is not looked at.
 */
WRIT_CHECKED struct writ_err *crl_frame(const struct crl_facts *, size_t entries_len, struct writ_buf *ret_head,
					struct writ_buf *ret_tail);

/* A CRL read back (verifier, CLI, delegators' CRLs): strict; entries are walked with crl_find(). */
struct crl {
	struct writ_bytes tbs, issuer, authority_key_id, entries, signature, edges;	/* edges: 16 bytes each with their headers */
	struct writ_bytes idp_url;	/* of its issuingDistributionPoint; empty: it speaks of all certificates of its issuer */
	enum key_kind kind;		/* KEY_NONE: signed with an algorithm that is not ours */
	uint64_t number;
	writ_time this_update, next_update;
};
/* The signature is not verified.  An unknown critical extension, an indirect or delta CRL, a list for some reasons only are refused. */
WRIT_CHECKED struct writ_err *crl_read(struct writ_bytes der, struct crl *ret);
/* One of its entries, taken from the front of `crl.entries` or of what follows one (a `struct der` of base/der.h). */
struct crl_entry {
	struct writ_bytes serial;	/* unsigned octets, no leading zero */
	writ_time revoked_at;
	enum crl_reason reason;		/* one that we never emit counts as unspecified */
};
struct der;
/* False on anything but a strict entry without critical extensions of its own (certificateIssuer: an indirect CRL). */
WRIT_CHECKED bool crl_entry_take(struct der *, struct crl_entry *ret);
/* Is that serial (unsigned octets) listed?  Linear; for many look-ups: crl_index.h. */
bool crl_find(const struct crl *, struct writ_bytes serial, writ_time *ret_revoked_at, enum crl_reason *ret_reason);
bool crl_has_edge(const struct crl *, struct writ_bytes edge_id);

#endif
