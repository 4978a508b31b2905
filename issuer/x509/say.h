/*
 * Text put together piece by piece, for tell.c and json.c.  The first failure sticks.
 */
#ifndef WRIT_ISSUER_X509_SAY_H
#define WRIT_ISSUER_X509_SAY_H

#include "base/text.h"
#include "issuer/x509/verify.h"

struct say {
	struct writ_buf *buf;
	struct writ_err *err;
};

/* printf: "%.*s", SAY_ALL(bytes); WRIT_FMT() without its cut. */
#define SAY_ALL(b) (int)(b).len, (b).len ? (const char *)(b).data : ""

#define SAY(say_, ...)                                                                                                 \
	do {                                                                                                           \
		struct say *const to_ = (say_);                                                                        \
		if (!to_->err)                                                                                         \
			to_->err = writ_buf_printf(to_->buf, __VA_ARGS__);                                             \
	} while (0)

void say_hex(struct say *, struct writ_bytes);
void say_time(struct say *, writ_time);		   /* RFC 3339 */
void say_net(struct say *, struct writ_bytes net); /* address || mask as "10.0.0.0/8" */

#endif
