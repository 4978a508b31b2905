/*
 * From an authenticated connection to a principal (I7): kind and name come from here, never from a request.
 *
 * A corporate certificate is mapped by the `delegators` entry whose anchors its path ended in; a leaf of ours is read
 * whole and names an agent.  Knows no route and no policy.  Threading: an `auth` is read-only after auth_new(); its CRL
 * files are re-read by auth_refresh(), on one thread, and swapped whole.
 */
#ifndef WRIT_ISSUER_AUTH_AUTH_H
#define WRIT_ISSUER_AUTH_AUTH_H

#include "base/clock.h"
#include "issuer/x509/verify.h"

/* One `delegators` entry, as issuer/serve hands it over from the configuration. */
struct auth_delegators {
	const char *anchors;	  /* PEM file */
	enum principal_kind kind; /* human or service */
	const char *principal;	  /* template: issuer/conf/conf.h */
	bool check_crl;
	const char *crl; /* file */
	uint32_t crl_max_age_s;
	const char *ocsp; /* URL of a responder; NULL: none is asked */
	uint32_t ocsp_max_age_s;
	const char *state; /* where writ-fetchd puts its answers; with `ocsp` */
};

struct auth;

WRIT_CHECKED struct writ_err *auth_new(struct writ_bytes trust_domain, const struct auth_delegators *, size_t n,
				       struct writ_bytes own_anchor, struct auth **ret);
void auth_free(struct auth *);

/* Every anchor that a client certificate may end in, DER: for TLS. */
size_t auth_anchors(const struct auth *, const struct writ_bytes **ret);

/* Reads CRL files that changed.  An error names the file; the lists in use stay. */
WRIT_CHECKED struct writ_err *auth_refresh(struct auth *, writ_time now);

struct identity {
	enum principal_kind kind;
	struct writ_bytes principal; /* SPIFFE ID */
	uint8_t cert_sha256[32];
	writ_time not_before, not_after; /* of the certificate */
	struct writ_bytes authority;	 /* human, service: hex key id of the CA that certified it */
	/* kind agent: the leaf it holds, read from the certificate */
	bool is_leaf;
	uint8_t serial[16];
	uint8_t edge[16]; /* last hop's id */
	uint8_t spki_sha256[32];
	uint8_t issuer_key_id[20];
	struct writ_bytes task;
	struct writ_bytes spki;	       /* DER, for renewal */
	struct writ_bytes cert_serial; /* human, service: unsigned octets */
	struct writ_bytes ocsp_request; /* human, service whose entry has a responder: the question about this one */
	struct writ_bytes cert_issuer; /* human, service: DER Name of the CA that certified it */
	size_t delegators;	       /* index of the entry that mapped it */
	struct writ_arena arena;       /* owns the texts */
};

/*
 * Who holds this verified certificate whose path ended in `anchor`?  WRIT_UNAUTHENTICATED when nothing maps it.  Work
 * done once a connection; validity, revocation and the leaf's status are asked at each request by auth_check().
 */
WRIT_CHECKED struct writ_err *auth_identify(const struct auth *, struct writ_bytes cert, struct writ_bytes anchor,
					    struct identity *ret);
void identity_done(struct identity *);

/*
 * Still valid now, and not revoked by its CA: by CRL or OCSP, as its entry says (a CRL or an answer over max_age:
 * WRIT_UNAVAILABLE).  A leaf's status is the status table's to tell.
 */
WRIT_CHECKED struct writ_err *auth_check(const struct auth *, const struct identity *, writ_time now);

/* The responder that should be asked with id->ocsp_request now, or NULL: there is no good answer, or it grows old. */
const char *auth_asks(const struct auth *, const struct identity *, writ_time now);

#endif
