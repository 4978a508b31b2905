/*
 * What a relying party checks of an agent's chain (delegation.md 6.1), step by step; and the leaf told in words and as
 * JSON.  writ.h is put together from these steps (verifier.c).
 *
 * Own path check: leaf <- issuing CA <- anchor, with nothing between, every rule of robustness.md 1.  Each step returns
 * the code it refuses with, and says why; `why` may be NULL.  No I/O, no clock.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_VERIFY_H
#define WRIT_ISSUER_X509_VERIFY_H

#include "issuer/x509/ca.h"
#include "issuer/x509/crl_index.h"
#include "issuer/x509/ocsp.h"
#include "issuer/x509/writ.h"

#define CERTIFICATE_DEPTH_MAX 16 /* of strict DER: a leaf of the profile nests 9 deep */

/* Why leaf_read() refused `certificate` with `err` (taken): ENCODING, PROFILE, NO_DELEGATION, DELEGATION or MEMORY. */
WRIT_CHECKED enum writ_refusal verify_unread(struct writ_bytes certificate, struct writ_err *err, struct writ_why *);

/* An anchor is a CA that allows an issuing CA below it.  Who signed it is not looked at, what it asserts is. */
WRIT_CHECKED enum writ_refusal verify_anchor(const struct ca_cert *anchor, struct writ_why *);

/* Does `ca` name this anchor as its issuer?  By name, and by key id where it says one. */
WRIT_CHECKED enum writ_refusal verify_issued_by_anchor(const struct ca_cert *ca, const struct ca_cert *anchor,
						       struct writ_why *);
WRIT_CHECKED enum writ_refusal verify_issued_by(const struct leaf *, const struct ca_cert *issuing, struct writ_why *);

/* Step 1 without its signatures: validity at `now` (both ends inclusive), I5, policies and tier. */
WRIT_CHECKED enum writ_refusal verify_ca_now(const char *who, const struct ca_cert *, writ_time now, struct writ_why *);
WRIT_CHECKED enum writ_refusal verify_path(const struct leaf *, const struct ca_cert *issuing,
					   const struct ca_cert *anchor, writ_time now, struct writ_why *);

/* `who` is whose bytes these are, for words. */
WRIT_CHECKED enum writ_refusal verify_signature(const char *who, const struct pubkey *signer, enum key_kind,
						struct writ_bytes tbs, struct writ_bytes signature, enum writ_refusal,
						const char *rule, struct writ_why *);

/* Step 5, of one list: is the certificate on it?  An edge?  What a hop was made with? */
WRIT_CHECKED enum writ_refusal verify_not_listed(const char *who, const struct crl_index *, struct writ_bytes serial,
						 struct writ_why *);
WRIT_CHECKED enum writ_refusal verify_hops_not_listed(const struct delegation *, const struct crl_index *,
						      const uint8_t ca_key_id[20], struct writ_why *);
WRIT_CHECKED enum writ_refusal verify_ocsp(struct writ_bytes response, const struct ca_cert *issuing,
					   struct writ_bytes serial, writ_time now, writ_time *ret_until,
					   struct writ_why *);

/* The leaf in plain words, one fact a line: who authorised whom, for what, until when, how it can be checked. */
WRIT_CHECKED struct writ_err *leaf_tell(const struct leaf *, writ_time now, struct writ_buf *ret);

/* The same as JSON (delegation.md 6.3). */
WRIT_CHECKED struct writ_err *leaf_json(const struct leaf *, struct writ_bytes certificate, struct writ_buf *ret);

#endif
