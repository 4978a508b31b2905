/*
 * Strict DER (X.690 10, 11): a reader that copies nothing, and a writer with nested lengths.
 *
 * Reader: a `struct der` is what is left to read.  Functions return false on anything not DER - a long-form length
 * that fits a short one, an indefinite length, a tag number over 30, a value past the end - and leave the reader where
 * it was; the caller's message names the field.  Writer: failures stick, and der_finish() tells.  Knows nothing of
 * X.509.  Thread-safe: no state.
 */
#ifndef WRIT_BASE_DER_H
#define WRIT_BASE_DER_H

#include "base/bytes.h"
#include "base/clock.h"

#define DER_BOOLEAN 0x01
#define DER_INTEGER 0x02
#define DER_BIT_STRING 0x03
#define DER_OCTET_STRING 0x04
#define DER_NULL 0x05
#define DER_OID 0x06
#define DER_ENUMERATED 0x0a
#define DER_UTF8 0x0c
#define DER_SEQUENCE 0x30
#define DER_SET 0x31
#define DER_PRINTABLE 0x13
#define DER_IA5 0x16
#define DER_UTC_TIME 0x17
#define DER_GENERALIZED_TIME 0x18
#define DER_CONTEXT(n) (0x80 | (n))	 /* IMPLICIT, primitive */
#define DER_CONTEXT_CONS(n) (0xa0 | (n)) /* constructed */

struct der {
	const uint8_t *at, *end;
};

static inline struct der
der_read(struct writ_bytes bytes)
{
	return (struct der){ bytes.data, bytes.data + bytes.len };
}

static inline bool
der_at_end(const struct der *in)
{
	return in->at == in->end;
}

static inline struct writ_bytes
der_rest(const struct der *in)
{
	return (struct writ_bytes){ in->at, (size_t)(in->end - in->at) };
}

/* Is the next tag this one?  False at the end. */
static inline bool
der_next_is(const struct der *in, uint8_t tag)
{
	return in->at < in->end && *in->at == tag;
}

/* Takes the next element, which must have this tag; `*ret` is its contents. */
WRIT_CHECKED bool der_take(struct der *, uint8_t tag, struct der *ret);

/* As der_take(), the contents as bytes. */
WRIT_CHECKED bool der_take_bytes(struct der *, uint8_t tag, struct writ_bytes *ret);

/* Takes the next element whatever it is: its tag, and the whole of it, header included. */
WRIT_CHECKED bool der_take_any(struct der *, uint8_t *ret_tag, struct writ_bytes *ret_whole);

/* As der_take(), and the whole element too, header included: what a signature covers. */
WRIT_CHECKED bool der_take_whole(struct der *, uint8_t tag, struct der *ret, struct writ_bytes *ret_whole);

WRIT_CHECKED bool der_take_bool(struct der *, uint8_t tag, bool *ret);	 /* 00 or FF */
WRIT_CHECKED bool der_take_int(struct der *, uint8_t tag, int64_t *ret); /* minimal, 8 octets at most */
WRIT_CHECKED bool der_take_unsigned(struct der *, uint8_t tag, uint64_t max, uint64_t *ret);
WRIT_CHECKED bool der_take_integer_bytes(struct der *, uint8_t tag, struct writ_bytes *ret); /* minimal; any length */
WRIT_CHECKED bool der_take_bits(struct der *, uint8_t tag, struct writ_bytes *ret);	     /* whole octets only */
WRIT_CHECKED bool der_take_oid(struct der *, struct writ_bytes *ret); /* contents; well-formed arcs, <= 64 bytes */
/* UTCTime (1950 to 2049), GeneralizedTime from 2050 (RFC 5280 4.1.2.5). */
WRIT_CHECKED bool der_take_time(struct der *, writ_time *ret);
WRIT_CHECKED bool der_take_generalized(struct der *, uint8_t tag, writ_time *ret);

/*
 * Is it one element of strict DER and not a byte more, nested at most `max_depth` deep (the outermost element is 1)?
 * Checks the contents of universal types too, and the order of a SET OF; refuses types that no certificate has (REAL,
 * EXTERNAL, ...).
 */
bool der_is_strict(struct writ_bytes, unsigned max_depth);

/* ---- writer ---- */

#define DER_NEST_MAX 16

struct der_out {
	struct writ_buf *buf;	   /* borrowed; carries the limit */
	size_t open[DER_NEST_MAX]; /* where each open element's contents begin */
	unsigned depth;
	bool failed;
	const char *why; /* of the first failure; NULL: the buffer's limit */
};

static inline struct der_out
der_write(struct writ_buf *buf)
{
	return (struct der_out){ .buf = buf };
}

void der_open(struct der_out *, uint8_t tag);
void der_close(struct der_out *);
void der_put(struct der_out *, uint8_t tag, struct writ_bytes contents);
void der_put_raw(struct der_out *, struct writ_bytes whole); /* an element encoded already */
void der_put_bool(struct der_out *, uint8_t tag, bool);
void der_put_int(struct der_out *, uint8_t tag, int64_t);
void der_put_integer_bytes(struct der_out *, uint8_t tag, struct writ_bytes magnitude); /* unsigned, big endian */
void der_put_bits(struct der_out *, struct writ_bytes);					/* whole octets */
void der_put_named_bits(struct der_out *, uint16_t bits); /* bit 0 is the highest; trailing zeros dropped */
void der_put_oid(struct der_out *, struct writ_bytes contents);
void der_put_time(struct der_out *, writ_time);
void der_put_generalized(struct der_out *, uint8_t tag, writ_time);
void der_put_null(struct der_out *);

/* Everything is closed and fitted, or WRIT_EXHAUSTED; the buffer is left as it is. */
WRIT_CHECKED struct writ_err *der_finish(struct der_out *, const char *what);

#endif
