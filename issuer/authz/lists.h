/*
 * The folder of issuing certificates and CRLs that something else fetches (a timer with curl): read again when it
 * changed, and given to the verifier.
 *
 * NAME.cer and NAME.crl hold one, DER or PEM; other names are not looked at, so a file is written under another name
 * and then renamed.  A file that is gone stays believed until it is stale: taking a CRL away frees nobody.  One that
 * is refused is an event, and tried again whenever anything in the folder changes.  One thread.
 */
#ifndef WRIT_ISSUER_AUTHZ_LISTS_H
#define WRIT_ISSUER_AUTHZ_LISTS_H

#include "base/clock.h"
#include "issuer/x509/writ.h"

#define LISTS_FILES_MAX 1024			   /* in the folder; more are an error */
#define LISTS_FILE_MAX ((size_t)512 * 1024 * 1024) /* a CRL of ten million entries */

struct lists;

WRIT_CHECKED struct writ_err *lists_new(const char *dir, struct lists **ret);
void lists_free(struct lists *);
void lists_freep(struct lists **);

/* Looks at the folder; `*ret_changed`: the verifier was given something it took. */
WRIT_CHECKED struct writ_err *lists_poll(struct lists *, struct writ_verifier *, writ_time now, bool *ret_changed);

/* Files that the verifier took, as they now are. */
void lists_counts(const struct lists *, unsigned *ret_certificates, unsigned *ret_crls);

#endif
