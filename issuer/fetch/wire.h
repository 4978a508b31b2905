/*
 * What the issuer may ask of writ-fetchd: "fetch that provider's keys now", "put that question to that responder", one
 * datagram, no answer.
 *
 * The answer is the file that changes.  A datagram names what the configuration names too, and nothing else: whoever
 * takes over the issuer can make writ-fetchd ask only what it asks anyway.  Knows no URL.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_FETCH_WIRE_H
#define WRIT_ISSUER_FETCH_WIRE_H

#include "base/bytes.h"

#define FETCH_REQUEST_MAX 512 /* octets of an OCSP request about one certificate: 120, of a long serial */
#define FETCH_ASK_MAX 1024    /* octets of a datagram */

/* STATE/fetched/ALIAS.jwks, where the keys of a provider land; `out` holds 4096 bytes; returns it. */
char *fetch_keys_path(const char *state, const char *alias, char *out);

/* From the issuer; never blocks.  WRIT_UNAVAILABLE: writ-fetchd is not there, or has too much to do. */
WRIT_CHECKED struct writ_err *fetch_ask_keys(const char *run, const char *alias);

/* STATE/fetched/ocsp-HEX.der: the answer to a request, by the digest of both. */
char *fetch_ocsp_path(const char *state, const char *url, struct writ_bytes request, char *out);

/* As fetch_ask_keys(); the URL must be one of the configuration. */
WRIT_CHECKED struct writ_err *fetch_ask_ocsp(const char *run, const char *url, struct writ_bytes request);

/* In writ-fetchd: what a datagram asks; false when it is no message of ours. */
struct fetch_ask {
	struct writ_bytes alias;   /* keys; else empty */
	struct writ_bytes url;	   /* OCSP; else empty */
	struct writ_bytes request; /* OCSP */
};
bool fetch_ask_read(struct writ_bytes datagram, struct fetch_ask *ret);

#endif
