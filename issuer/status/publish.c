/*
 * What is published: a few documents by path, each swapped whole.  A reader holds the one it began with, however long
 * its client takes; the last to let go frees it.  The lock is held for a search among a handful of names, never while
 * bytes are copied or sent.
 */
#include "issuer/status/publish.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/digest.h"

#define DOCUMENTS_MAX 1024 /* lists and certificates of issuing CAs that are still needed */

struct publish {
	pthread_mutex_t lock;
	struct document *first;
	unsigned n;
};

struct writ_err *
publish_new(struct publish **ret)
{
	struct publish *publish = calloc(1, sizeof(*publish));

	if (!publish)
		return writ_fail(WRIT_EXHAUSTED, "no memory for what is published");
	if (pthread_mutex_init(&publish->lock, NULL) != 0) {
		free(publish);
		return writ_fail(WRIT_EXHAUSTED, "no lock for what is published");
	}
	*ret = publish;
	return NULL;
}

void
document_release(void *document)
{
	struct document *doc = document;

	if (atomic_fetch_sub_explicit(&doc->n_holders, 1, memory_order_acq_rel) > 1)
		return;
	free(doc->path);
	free(doc->content_type);
	free(doc->bytes);
	free(doc);
}

void
publish_free(struct publish *publish)
{
	if (!publish)
		return;
	while (publish->first) {
		struct document *next = publish->first->next;

		document_release(publish->first);
		publish->first = next;
	}
	pthread_mutex_destroy(&publish->lock);
	free(publish);
}

static struct writ_err *
document_new(const char *path, const char *content_type, struct writ_bytes bytes, struct document **ret)
{
	struct document *doc = calloc(1, sizeof(*doc));
	uint8_t digest[SHA256_LEN];

	if (!doc)
		return writ_fail(WRIT_EXHAUSTED, "no memory to publish %.80s", path);
	atomic_init(&doc->n_holders, 1);
	doc->path = strdup(path);
	doc->content_type = strdup(content_type);
	doc->bytes = malloc(bytes.len > 0 ? bytes.len : 1);
	if (!doc->path || !doc->content_type || !doc->bytes) {
		document_release(doc);
		return writ_fail(WRIT_EXHAUSTED, "no memory to publish %zu bytes as %.80s", bytes.len, path);
	}
	if (bytes.len > 0)
		memcpy(doc->bytes, bytes.data, bytes.len);
	doc->len = bytes.len;
	doc->path_len = strlen(path);
	writ_sha256(bytes, digest);
	writ_hex((struct writ_bytes){ digest, sizeof(digest) }, doc->etag);
	*ret = doc;
	return NULL;
}

struct writ_err *
publish_put(struct publish *publish, const char *path, const char *content_type, struct writ_bytes bytes,
	    writ_time last_modified, writ_time expires, unsigned max_age_s)
{
	struct document *doc = NULL, *replaced, **at, **oldest = NULL;
	struct writ_err *err;

	err = document_new(path, content_type, bytes, &doc);
	if (err)
		return err;
	doc->last_modified = last_modified;
	doc->expires = expires;
	doc->max_age_s = max_age_s;

	pthread_mutex_lock(&publish->lock);
	for (at = &publish->first; *at && strcmp((*at)->path, path) != 0; at = &(*at)->next)
		if (!oldest || (*at)->expires < (*oldest)->expires)
			oldest = at;
	if (!*at && publish->n >= DOCUMENTS_MAX) /* of a CA long gone: nothing live is older */
		at = oldest;
	replaced = *at;
	doc->next = replaced ? replaced->next : NULL;
	*at = doc;
	publish->n += !replaced;
	pthread_mutex_unlock(&publish->lock);
	if (replaced)
		document_release(replaced);
	return NULL;
}

struct document *
publish_hold(struct publish *publish, struct writ_bytes path)
{
	struct document *doc;

	pthread_mutex_lock(&publish->lock);
	for (doc = publish->first; doc; doc = doc->next)
		if (writ_equal(path, (struct writ_bytes){ (const uint8_t *)doc->path, doc->path_len }))
			break;
	if (doc)
		atomic_fetch_add_explicit(&doc->n_holders, 1, memory_order_relaxed);
	pthread_mutex_unlock(&publish->lock);
	return doc;
}
