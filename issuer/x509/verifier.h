/*
 * What the verifier of writ.h holds: anchors, issuing CAs kept ready, lists, demands.
 *
 * For verifier.c (configuration, CAs), verifier_lists.c (CRLs and status) and verifier_chain.c (one chain) only.
 *
 * (1) An issuing CA is kept only after an anchor's key verified its signature.  Which anchor that was is kept with it.
 * (2) A list is kept only after its CA's key verified it, and is matched to certificates by that CA's name and key, so
 *     that it outlives the CA's place among the 64.
 * (3) A list of an issuing CA is forgotten when that CA has expired: no leaf of it can be valid any more (I5).
 */
#ifndef WRIT_ISSUER_X509_VERIFIER_H
#define WRIT_ISSUER_X509_VERIFIER_H

#include "base/pubkey.h"
#include "issuer/x509/refuse.h"
#include "issuer/x509/verify.h"

#define ANCHORS_MAX 8
#define ISSUING_MAX 64
#define LISTS_MAX 256
#define IDENTITIES_MAX 16
#define POLICIES_MAX 64
#define ACRS_MAX 16
#define CERTIFICATE_MAX (64 * 1024) /* bytes of one argument: four leaves as PEM have less */

/* An anchor or an issuing CA: its own copy, read, its key ready. */
struct authority {
	struct writ_buf der;
	struct ca_cert cert; /* views into der */
	struct pubkey key;
	size_t anchor;	    /* issuing CA: whose key verified it (1) */
	uint64_t used;	    /* issuing CA: the turn in which it was used last */
	char *trust_domain; /* anchor: owned */
};

struct list {
	struct crl_index index;
	uint8_t spki[SPKI_MAX]; /* of its CA (2); its name is in the list */
	size_t spki_len;
	uint8_t key_id[20];
	bool of_anchor;
	size_t anchor;		/* itself, or the one above its CA */
	writ_time ca_not_after; /* (3) */
};

struct writ_verifier {
	size_t n_anchors, n_issuing, n_lists, n_identities, n_policies, n_acrs;
	struct authority anchors[ANCHORS_MAX], issuing[ISSUING_MAX];
	struct list lists[LISTS_MAX];
	char *identities[IDENTITIES_MAX], *acrs[ACRS_MAX]; /* owned */
	uint8_t policies[POLICIES_MAX][32];
	int options[WRIT_DEMAND_CA_STATUS + 1];
	uint64_t turn;
};

/* The next certificate of an argument, PEM or DER; `room` holds what was PEM.  WRIT_NOT_FOUND: there is no more. */
WRIT_CHECKED struct writ_err *next_certificate(struct writ_bytes *rest, struct writ_buf *room, struct writ_bytes *ret);

/* A certificate's own copy, read, its key loaded: not yet verified. */
WRIT_CHECKED struct writ_err *authority_read(struct writ_bytes certificate, struct authority *ret);
void authority_done(struct authority *);

/* Why no issuing CA could be read of it (takes `err`): ENCODING, or PATH when it is strict DER. */
WRIT_CHECKED enum writ_refusal issuing_unread(struct writ_bytes certificate, struct writ_err *err, struct writ_why *);

/* The one whose bytes these are; NULL: none that is kept. */
struct authority *issuing_same(struct writ_verifier *, struct writ_bytes der);

/* The anchor above an issuing CA: by name and key id; of several, one that is valid now.  NULL, and why not (of the
 * last). */
const struct authority *anchor_above(const struct writ_verifier *, const struct ca_cert *issuing, writ_time now,
				     struct writ_why *);
WRIT_CHECKED enum writ_refusal issuing_signature(const struct authority *issuing, const struct authority *anchor,
						 struct writ_why *);

/* Takes `from`, whose signature that anchor's key made (1); returns where it is kept. */
struct authority *issuing_keep(struct writ_verifier *, struct authority *from, const struct authority *anchor,
			       writ_time now);

void lists_done(struct writ_verifier *);
/* An issuing CA was certified anew: its lists are kept as long as it lives. */
void lists_prolong(struct writ_verifier *, const struct ca_cert *);

/* Step 5 for a leaf whose path is good; `*until` becomes earlier when what vouches for it ends before. */
WRIT_CHECKED enum writ_refusal status_check(const struct writ_verifier *, const struct leaf *,
					    const struct authority *issuing, struct writ_bytes ocsp, writ_time now,
					    writ_time *until, struct writ_why *);

#endif
