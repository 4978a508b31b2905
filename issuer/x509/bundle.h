/*
 * The trust bundle: the anchors that relying parties shall trust for one trust domain, as PEM, as JSON of ours, and as
 * a SPIFFE bundle.
 *
 * An anchor that waits in a second device stands in it from the first day, so that nobody has to be told anything on
 * the day it takes over.  Says what is to be trusted, and proves nothing: whoever fetches it must know from whom it
 * came. Knows no file.  Thread-safe: no state of its own.
 */
#ifndef WRIT_ISSUER_X509_BUNDLE_H
#define WRIT_ISSUER_X509_BUNDLE_H

#include "issuer/x509/ca.h"

#define BUNDLE_ANCHORS_MAX 8	    /* as many as libwrit trusts (writ.h) */
#define BUNDLE_TEXT_MAX (64 * 1024) /* bytes of one form */
#define BUNDLE_REFRESH_S 3600	    /* how often a relying party that follows should look again */

enum bundle_state {
	BUNDLE_ACTIVE,	 /* certifies issuing CAs now */
	BUNDLE_STANDBY,	 /* waits to take over, in another device or beside the old key */
	BUNDLE_RETIRING, /* certifies nothing more; leaves below it may still live */
};

struct bundle_anchor {
	struct writ_buf der;
	struct ca_cert cert; /* views into it */
	enum bundle_state state;
	enum leaf_tier tier; /* what leaves below it assert; 0: not known here */
};

struct bundle {
	struct writ_bytes trust_domain; /* borrowed */
	writ_time sequence;		/* grows with every change: see bundle_since() */
	size_t n;
	struct bundle_anchor anchors[BUNDLE_ANCHORS_MAX];
};

void bundle_init(struct bundle *, struct writ_bytes trust_domain);
void bundle_done(struct bundle *);

/*
 * Adds an anchor.  WRIT_INVALID: it is no CA that may have CAs below it and sign lists, it has expired, its own
 * signature is wrong, it is one of ours for another trust domain, or its key is there already.
 */
WRIT_CHECKED struct writ_err *bundle_add(struct bundle *, struct writ_bytes der, enum bundle_state, enum leaf_tier,
					 writ_time now);

/* Adds every certificate of a PEM text; WRIT_INVALID when there is none. */
WRIT_CHECKED struct writ_err *bundle_add_pem(struct bundle *, struct writ_bytes pem, enum bundle_state, writ_time now);

/*
 * The sequence is the latest of what this is told - when the configuration and the files that it names were changed -
 * and of the anchors' notBefore, so it needs no memory, and grows when an anchor comes or goes.
 */
void bundle_since(struct bundle *, writ_time changed);

/* Each appends one form. */
WRIT_CHECKED struct writ_err *bundle_write_pem(const struct bundle *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *bundle_write_json(const struct bundle *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *bundle_write_spiffe(const struct bundle *, struct writ_buf *ret);

#endif
