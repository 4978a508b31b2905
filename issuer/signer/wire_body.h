/*
 * Inside of the signer wire: how its files write and read a body.
 *
 * One text has one meaning: a decoder accepts a body only if it is what the encoder would write of the values read, so
 * booleans are 0 or 1, counts are bounded before they are believed, and nothing may follow.
 */
#ifndef WRIT_ISSUER_SIGNER_WIRE_BODY_H
#define WRIT_ISSUER_SIGNER_WIRE_BODY_H

#include "issuer/signer/wire.h"

static inline struct body_out
body_write(struct writ_buf *buf)
{
	return (struct body_out){ .buf = buf };
}

static inline struct writ_err *
written(const struct body_out *out, const char *what)
{
	if (out->failed)
		return writ_fail(WRIT_EXHAUSTED, "a %s message is over the %zu bytes of a frame", what,
				 out->buf->limit);
	return NULL;
}

static inline struct writ_err *
read_all(const struct body_in *in, bool values_ok, const char *what)
{
	if (!body_done(in))
		return writ_fail(WRIT_INVALID, "a %s message is %s", what, in->failed ? "cut short" : "too long");
	if (!values_ok)
		return writ_fail(WRIT_INVALID, "a %s message has a value out of bounds", what);
	return NULL;
}

static inline bool
get_bool(struct body_in *in, bool *ok)
{
	const uint8_t v = body_get8(in);

	*ok = *ok && v <= 1;
	return v == 1;
}

static inline void
put_fixed(struct body_out *out, const uint8_t *data, size_t len)
{
	body_put(out, (struct writ_bytes){ data, len });
}

/* A count, or 0 and a failure when it is over the limit. */
static inline size_t
get_count(struct body_in *in, size_t max, bool *ok)
{
	const size_t n = body_get16(in);

	if (n <= max)
		return n;
	*ok = false;
	return 0;
}

#endif
