/*
 * Inside of the status room: a published document, held by whoever sends it.  Thread-safe.
 */
#ifndef WRIT_ISSUER_STATUS_PUBLISH_H
#define WRIT_ISSUER_STATUS_PUBLISH_H

#include <stdatomic.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/status/status.h"

struct document {
	struct document *next; /* under the lock of its struct publish; all else never changes */
	_Atomic unsigned n_holders;
	char *path, *content_type;
	size_t path_len;
	const uint8_t *bytes; /* owned, or `mapping` */
	size_t len;
	struct writ_bytes mapping; /* owned; NULL: none */
	char etag[2 * SHA256_LEN + 1]; /* without quotes */
	writ_time last_modified, expires;
	unsigned max_age_s;
};

/* The document of that path, or NULL; to be given back by document_release(). */
struct document *publish_hold(struct publish *, struct writ_bytes path);
void document_release(void *document);

/* Calls fn for each document, none of which it may keep; nothing is put or dropped meanwhile. */
void publish_each(struct publish *, void (*fn)(const struct document *, void *ctx), void *ctx);

#endif
