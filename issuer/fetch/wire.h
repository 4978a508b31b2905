/*
 * What the issuer may ask of writ-fetchd: "fetch that provider's keys now", one datagram, no answer.
 *
 * The answer is the file that changes.  A datagram names what the configuration names too, and nothing else: whoever
 * takes over the issuer can make writ-fetchd ask only what it asks anyway.  Knows no URL.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_FETCH_WIRE_H
#define WRIT_ISSUER_FETCH_WIRE_H

#include "base/bytes.h"

#define FETCH_ASK_MAX 128 /* octets of a datagram: "keys " and an alias */

/* STATE/fetched/ALIAS.jwks, where the keys of a provider land; `out` holds 4096 bytes; returns it. */
char *fetch_keys_path(const char *state, const char *alias, char *out);

/* From the issuer; never blocks.  WRIT_UNAVAILABLE: writ-fetchd is not there, or has too much to do. */
WRIT_CHECKED struct writ_err *fetch_ask_keys(const char *run, const char *alias);

/* In writ-fetchd: the alias that a datagram names; false when it is no message of ours. */
bool fetch_ask_read(struct writ_bytes datagram, struct writ_bytes *ret_alias);

#endif
