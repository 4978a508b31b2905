/*
 * Bytes as text: hex, base64, JSON strings, UTF-8.  Strict readers: what is not canonical is refused, never repaired.
 * Knows no format that uses them.  Thread-safe: no state.
 */
#ifndef WRIT_BASE_TEXT_H
#define WRIT_BASE_TEXT_H

#include "base/bytes.h"

/* Lower-case hex and a NUL into `out`, which holds 2 * bytes.len + 1. */
char *writ_hex(struct writ_bytes, char *out);

/* Exactly `len` bytes from 2 * len lower- or upper-case hex digits. */
bool writ_unhex(struct writ_bytes text, uint8_t *out, size_t len);

WRIT_CHECKED struct writ_err *writ_base64(struct writ_bytes, struct writ_buf *ret);    /* standard alphabet, padded */
WRIT_CHECKED struct writ_err *writ_base64url(struct writ_bytes, struct writ_buf *ret); /* no padding */

enum base64_kind {
	BASE64_STD,	/* RFC 4648 4, padding required */
	BASE64_STD_LAX, /* padding may be missing (OCSP over GET) */
	BASE64_URL,	/* RFC 4648 5, no padding */
};

/* Appends the bytes; WRIT_INVALID on a foreign character, wrong padding or non-zero spare bits. */
WRIT_CHECKED struct writ_err *writ_unbase64(enum base64_kind, struct writ_bytes text, struct writ_buf *ret);

/* Appends a JSON string with its quotes; control, bidi and invalid UTF-8 bytes come out escaped, so one string is one
 * line. */
WRIT_CHECKED struct writ_err *writ_json_string(struct writ_bytes, struct writ_buf *ret);

/* Brackets outside strings never nest deeper than `max`: asked before a JSON reader that recurses sees a byte. */
bool writ_json_shallow(struct writ_bytes json, unsigned max);

/* The first character of `text` and its length in bytes; 0 when it is not UTF-8 (overlong, surrogate, cut short) or
 * empty. */
size_t writ_utf8(struct writ_bytes text, uint32_t *ret);

/* C0, DEL, C1, and what reorders or breaks lines: bidi controls, U+2028, U+2029. */
bool writ_is_control(uint32_t character);

/* Valid UTF-8 without controls (delegation.md E4)? */
bool writ_is_clean_utf8(struct writ_bytes);

/* A decimal integer without sign, space or leading zero, at most `max`. */
bool writ_decimal(struct writ_bytes text, uint64_t max, uint64_t *ret);

/* "5m", "90s", "8h", "1d", or plain seconds; at most `max_s`. */
bool writ_duration(struct writ_bytes text, uint32_t max_s, uint32_t *ret_s);

#endif
