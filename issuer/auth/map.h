/*
 * The template that turns a corporate certificate's one name into a principal (delegation.md 7).
 *
 * "spiffe://TD/human/corp/{CN}": one placeholder - {CN}, {SAN:URI}, {SAN:email} or {SAN:dns} - and the certificate must
 * have exactly one such name. Knows neither paths nor revocation.  Internal to auth/.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_AUTH_MAP_H
#define WRIT_ISSUER_AUTH_MAP_H

#include "policy/names.h"

struct x509_st; /* OpenSSL's X509 */

/* WRIT_INVALID unless every name it can make is a principal of this kind and trust domain. */
WRIT_CHECKED struct writ_err *map_check(const char *template_, enum principal_kind, struct writ_bytes trust_domain);

/* The principal, in the arena.  WRIT_UNAUTHENTICATED when the name is missing, there twice, or unusable. */
WRIT_CHECKED struct writ_err *map_principal(const char *template_, enum principal_kind, struct writ_bytes trust_domain,
					    struct x509_st *cert, struct writ_arena *, struct writ_bytes *ret);

/*
 * Appends `value` as one segment of a SPIFFE ID: as it is when [A-Za-z0-9._-]+, else "b64." + base64url.  Two values
 * never give one segment: what begins with "b64." is encoded too.
 */
WRIT_CHECKED struct writ_err *map_segment(struct writ_bytes value, struct writ_buf *ret);

#endif
