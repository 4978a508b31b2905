/*
 * What a proxy hands over, made into what libwrit asks: URL to resource, method and resource to action, header to
 * certificate.
 *
 * The rule, whole: the query is cut off at the first '?'; one trailing '/' is dropped; what is left, behind the prefix,
 * must be a resource in canonical form (delegation.md 4.1).  So %2F, %5C, %00, "//", "." and ".." segments (with a
 * ";parameter" too), '*', backslash, '#' and every escape that is not canonical (lower-case hex, an unreserved
 * character) are refused; nothing is decoded and nothing normalised, so what was authorised is, byte for byte, what the
 * server behind the proxy is asked for.  Pure functions; thread-safe.
 */
#ifndef WRIT_ISSUER_AUTHZ_URL_H
#define WRIT_ISSUER_AUTHZ_URL_H

#include "issuer/authz/conf.h"

#define URL_CERTIFICATE_MAX 8192 /* bytes of a certificate as text: what one request's head can hold */

/* The resource, NUL-terminated, into `ret`, which is emptied first.  WRIT_INVALID says what is wrong with `target`. */
WRIT_CHECKED struct writ_err *url_resource(const char *prefix, struct writ_bytes target, struct writ_buf *ret);

/* The first route that takes this method and resource, or NULL. */
const struct authz_route *url_route(const struct authz_conf *, struct writ_bytes method, struct writ_bytes resource);

/*
 * A certificate's DER from a header, in one of two forms: PEM of one certificate, each character but letters, digits
 * and '-' escaped as %XX in capitals (what nginx writes in $ssl_client_escaped_cert); or base64 of the DER, padded
 * (HAProxy's ssl_c_der,base64).  Only whether it decodes is looked at here.
 */
WRIT_CHECKED struct writ_err *url_certificate(struct writ_bytes text, struct writ_buf *ret_der);

/* An IP address as 4 or 16 bytes; an IPv4 address mapped into IPv6 comes out as 4.  0: it is none. */
size_t url_peer(struct writ_bytes text, uint8_t ret[16]);

#endif
