/*
 * libwrit: what a relying party asks of an agent's certificate.
 *
 *	struct writ_verifier *v = writ_verifier_new();
 *	writ_verifier_anchor(v, anchor, anchor_len, "agents.corp.example", &why);
 *	writ_verifier_identity(v, "https://erp.corp.example", &why);
 *	...
 *	writ_verify(v, &presented, now, &agent, &why);			once a connection
 *	writ_allow(agent, &request, now, &entitlement, &why);		each request
 *	writ_agent_free(agent);
 *
 * It verifies a presented chain end to end (path, profile, delegation, status, audience), answers whether one request
 * is allowed, and tells who authorised it as JSON (RFC 8693 act).  No I/O, no clock, no global state: the caller
 * brings bytes and the time.  Everything is denied that is not understood: an unknown constraint, a missing input, a
 * stale list.
 *
 * Ownership: what is handed in is copied or done with when the call returns; what is handed out belongs to the object
 * it came from and lives as long.  Every function takes NULL objects in stride and refuses them.
 * Threading: a verifier keeps issuing CAs and their keys ready, so one thread at a time may use it: make one a thread.
 * A `struct writ_agent` does not change: any number of threads may ask it.
 * Times are seconds since 1970, UTC, both ends inclusive.
 *
 * This header stands alone: it includes nothing of ours, and its names are the library's whole interface (LIBWRIT_1).
 */
#ifndef WRIT_H
#define WRIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Why something was refused: for programs, stable for ever, never renumbered.  tests/vectors names them in its
 * expectations.
 */
enum writ_refusal {
	WRIT_OK = 0,
	WRIT_REFUSED_MISUSE = 1,   /* an argument of the caller's own is unusable: NULL, not an anchor, no identity */
	WRIT_REFUSED_MEMORY = 2,   /* memory ran out */
	WRIT_REFUSED_ENCODING = 3, /* no strict DER, or over a size: certificate, CRL, OCSP response */
	WRIT_REFUSED_PROFILE = 4,  /* strict DER, but no leaf of the profile (an extension, SAN, key, name, lifetime) */
	WRIT_REFUSED_NO_DELEGATION = 5, /* no TaskDelegation in it */
	WRIT_REFUSED_DELEGATION = 6,	/* TaskDelegation breaks a rule, E1 to E10: why->rule names it */
	WRIT_REFUSED_PATH = 7,		/* leaf, issuing CA, anchor: name, key id, signature, policy, constraint */
	WRIT_REFUSED_TIME = 8,		/* not valid yet, or expired: leaf, issuing CA, anchor */
	WRIT_REFUSED_TRUST_DOMAIN = 9,	/* not the one that this anchor is trusted for */
	WRIT_REFUSED_SOFTWARE = 10,	/* issued by a key of a software device, which was not allowed */
	WRIT_REFUSED_STATUS = 11,	/* CRL or OCSP response: missing though demanded, stale, or of somebody else;
					   noRevAvail not taken */
	WRIT_REFUSED_REVOKED = 12,	/* leaf, a hop, or the issuing CA */
	WRIT_REFUSED_AUDIENCE = 13,	/* none of our identities is in its audience */
	WRIT_REFUSED_POLICY = 14,	/* its policy's digest is not among those accepted */
	WRIT_REFUSED_DEMAND = 15,	/* a demand of ours on hops or attestation is not met */
	WRIT_REFUSED_REQUEST = 16,	/* allow: the request is malformed: action or resource not canonical */
	WRIT_REFUSED_NOT_ALLOWED = 17,	/* allow: no entitlement covers action and resource */
	WRIT_REFUSED_CONSTRAINT = 18,	/* allow: an entitlement covers them, a constraint is not met */
	WRIT_REFUSED_EXPIRED = 19,	/* allow: past writ_agent_expires_at() */
};

/* "OK", "ENCODING", ...: the names that tests/vectors uses; "?" for a number that is none. */
const char *writ_refusal_name(enum writ_refusal);

/* The same for people: what was refused, by which rule, at which value.  Written when something is refused, and only
 * then.  Never holds a secret. */
struct writ_why {
	char rule[16];	/* "E6", "6.1.6", "paramMax"; empty: none of a specification */
	char text[400]; /* one line, printable, cut with "..." */
};

/* ---- the verifier: what we trust and demand ---- */

struct writ_verifier;

struct writ_verifier *writ_verifier_new(void); /* NULL: no memory */
void writ_verifier_free(struct writ_verifier *);

/*
 * Trusts an anchor (a DER certificate), or every anchor of a bundle (PEM, one certificate or several), for one trust
 * domain; up to 8, several of the same domain while one is rolled over or waits to take over.  Refused, none of them is
 * trusted.  `why` may be NULL in every call.
 */
enum writ_refusal writ_verifier_anchor(struct writ_verifier *, const void *certificate, size_t len,
				       const char *trust_domain, struct writ_why *why);

/* Who we are, as agents' audiences name us; up to 16.  Without one no leaf is accepted, unless WRIT_ANY_AUDIENCE. */
enum writ_refusal writ_verifier_identity(struct writ_verifier *, const char *resource, struct writ_why *why);

/* Accepts leaves of this policy alone (SHA-256, 32 bytes); up to 64.  None said: of any. */
enum writ_refusal writ_verifier_policy(struct writ_verifier *, const uint8_t digest[32], struct writ_why *why);

/* Accepts roots whose authentication had one of these levels (acr) alone; up to 16.  None said: any. */
enum writ_refusal writ_verifier_acr(struct writ_verifier *, const char *acr, struct writ_why *why);

enum writ_option {
	WRIT_ALLOW_SOFTWARE = 1,   /* 1: leaves of a software device are accepted.  Default 0 */
	WRIT_ANY_AUDIENCE = 2,	   /* 1: audiences are not looked at.  Default 0 */
	WRIT_DEMAND_STATUS = 3,	   /* 1: a leaf needs a fresh CRL or OCSP response, unless it has noRevAvail.
				      0: one of which nothing is known is taken; a stale CRL still refuses.  Default 1 */
	WRIT_SOFT_FAIL = 4,	   /* 1: a stale or missing CRL is passed over, a listed serial never.  Default 0 */
	WRIT_ALLOW_NO_REV = 5,	   /* 0: leaves with noRevAvail are refused.  Default 1 */
	WRIT_DEMAND_HUMAN = 6,	   /* 1: the root must be a human.  Default 0 */
	WRIT_HOPS_MAX = 7,	   /* 1..8: most hops accepted.  Default 8 */
	WRIT_DEMAND_ATTESTED = 8,  /* 1: an attestation must be there.  Default 0 */
	WRIT_DEMAND_CA_STATUS = 9, /* 1: without a fresh CRL of the anchor the issuing CA is refused.  Default 0 */
};
enum writ_refusal writ_verifier_set(struct writ_verifier *, enum writ_option, int value, struct writ_why *why);

/*
 * A CRL (DER or PEM) of an anchor or of an issuing CA already known: checked, copied, and held against every leaf from
 * then on; replaces an older one of the same CA and distribution point.  One with a lower number is refused.  Its
 * entries are kept in order, so that a leaf is looked up in log time.  A stale one is taken too: what it lists stays
 * refused, but it vouches for nobody (writ_verify() says STATUS).  Up to 256 are held; those of issuing CAs that have
 * expired are forgotten.
 */
enum writ_refusal writ_verifier_crl(struct writ_verifier *, const void *der, size_t len, int64_t now,
				    struct writ_why *why);

/*
 * An issuing CA (DER or PEM) checked against the anchors and kept ready, so that its CRL can be given before the first
 * leaf comes.  writ_verify() does the same by itself with what is presented, once for all leaves; the 64 used last are
 * kept.
 */
enum writ_refusal writ_verifier_issuing(struct writ_verifier *, const void *certificate, size_t len, int64_t now,
					struct writ_why *why);

/* ---- one chain ---- */

/*
 * Certificates presented: the leaf first.  Its issuing CA is looked for among the others, then among those kept ready,
 * so a leaf alone is enough once its issuer is known.  The rest, the anchor perhaps, is not looked at.
 */
#define WRIT_CHAIN_MAX 4

struct writ_bytes_in {
	const void *data;
	size_t len;
};

struct writ_presented {
	size_t n;					  /* 1..WRIT_CHAIN_MAX */
	struct writ_bytes_in certificate[WRIT_CHAIN_MAX]; /* DER, or PEM (one or several in the first) */
	struct writ_bytes_in ocsp;			  /* a response about the leaf, as stapled; empty: none */
};

struct writ_agent; /* a verified leaf */

/*
 * WRIT_OK: `*ret` is the caller's, to free; it needs the verifier no more.  Else it is NULL.
 *
 * Status: a fresh CRL that speaks of the leaf, or a stapled OCSP response that says good, is enough; whichever lists it
 * or one of its hops refuses it.  A response that is stapled and proves nothing is refused, whatever else is held.
 */
enum writ_refusal writ_verify(struct writ_verifier *, const struct writ_presented *, int64_t now,
			      struct writ_agent **ret, struct writ_why *why);
void writ_agent_free(struct writ_agent *);

const char *writ_agent_id(const struct writ_agent *);	/* SPIFFE ID of the holder */
const char *writ_agent_root(const struct writ_agent *); /* principal of the first hop */
const char *writ_agent_task(const struct writ_agent *);
const uint8_t *writ_agent_sha256(const struct writ_agent *); /* 32 bytes, of the leaf's DER */

/*
 * When to ask again: the end of the leaf, of the issuing CA, or of the CRL or OCSP response it was checked against,
 * whichever comes first.  Connections must be dropped or verified anew by then.
 */
int64_t writ_agent_expires_at(const struct writ_agent *);

/* The stable JSON view with RFC 8693 act and RFC 9396 authorization_details; NUL-terminated. */
const char *writ_agent_json(const struct writ_agent *);

/* ---- one request ---- */

struct writ_parameter {
	const char *name;
	const char *value;
};

struct writ_request {
	const char *action;   /* "invoices:read" */
	const char *resource; /* canonical, no pattern: "https://erp.corp.example/v2/invoices/2026/17" */
	/* Address of the connection, network order, 4 or 16 bytes; NULL: unknown, which meets no sourceNet.  An IPv4
	 * address is handed over as 4 bytes: mapped into IPv6 it lies in IPv6 prefixes only. */
	const uint8_t *peer;
	size_t peer_len;
	const struct writ_parameter *parameters; /* a name twice meets no constraint on it */
	size_t n_parameters;			 /* up to 64 */
};

/* WRIT_OK: `*ret_entitlement` (may be NULL) is the index, from 0, of the first entitlement that allows it. */
enum writ_refusal writ_allow(const struct writ_agent *, const struct writ_request *, int64_t now,
			     unsigned *ret_entitlement, struct writ_why *why);

/* "0.1.0" */
const char *writ_version(void);

#ifdef __cplusplus
}
#endif

#endif
