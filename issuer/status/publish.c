/*
 * What is published: a few documents by path, each swapped whole.  A reader holds the one it began with, however long
 * its client takes; the last to let go frees it.  The lock is held for a search among a few names, never while
 * bytes are copied or sent.
 */
#include "issuer/status/publish.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"

#define DOCUMENTS_MAX 1024 /* lists and certificates of issuing CAs that are still needed */
#define BUCKETS 256	   /* of paths: a few documents each, however many generations live */

struct publish {
	pthread_mutex_t lock;
	struct document *buckets[BUCKETS];
	unsigned n;
	uint64_t version;
};

/* FNV-1a. */
static size_t
bucket_of(struct writ_bytes path)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < path.len; i++)
		hash = (hash ^ path.data[i]) * 16777619u;
	return (hash ^ hash >> 16) % BUCKETS;
}

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
	if (doc->mapping.data)
		file_memfd_unmap(&doc->mapping);
	else
		free((void *)(uintptr_t)doc->bytes);
	free(doc);
}

void
publish_free(struct publish *publish)
{
	if (!publish)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (publish->buckets[i]) {
			struct document *next = publish->buckets[i]->next;

			document_release(publish->buckets[i]);
			publish->buckets[i] = next;
		}
	pthread_mutex_destroy(&publish->lock);
	free(publish);
}

/* Copies the bytes, or keeps the mapping, which begins with them. */
static struct writ_err *
document_new(const char *path, const char *content_type, struct writ_bytes bytes, struct writ_bytes *mapping,
	     struct document **ret)
{
	struct document *doc = calloc(1, sizeof(*doc));
	uint8_t digest[SHA256_LEN], *copy = NULL;

	if (!doc)
		return writ_fail(WRIT_EXHAUSTED, "no memory to publish %.80s", path);
	atomic_init(&doc->n_holders, 1);
	doc->path = strdup(path);
	doc->content_type = strdup(content_type);
	if (!mapping)
		doc->bytes = copy = malloc(bytes.len > 0 ? bytes.len : 1);
	if (!doc->path || !doc->content_type || (!mapping && !copy)) {
		document_release(doc);
		return writ_fail(WRIT_EXHAUSTED, "no memory to publish %zu bytes as %.80s", bytes.len, path);
	}
	if (copy && bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	doc->len = bytes.len;
	doc->path_len = strlen(path);
	writ_sha256(bytes, digest);
	writ_hex((struct writ_bytes){ digest, sizeof(digest) }, doc->etag);
	if (mapping) {
		doc->bytes = bytes.data;
		doc->mapping = *mapping;
		*mapping = (struct writ_bytes){ NULL, 0 };
	}
	*ret = doc;
	return NULL;
}

/* Where the pointer to that document is, or the end of its bucket. */
static struct document **
place_of(struct publish *publish, struct writ_bytes path)
{
	struct document **at = &publish->buckets[bucket_of(path)];

	while (*at && !writ_equal(path, (struct writ_bytes){ (const uint8_t *)(*at)->path, (*at)->path_len }))
		at = &(*at)->next;
	return at;
}

/* The one that expires first: of a CA long gone, nothing live is older. */
static struct document *
oldest_take(struct publish *publish)
{
	struct document **oldest = NULL, *taken;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct document **at = &publish->buckets[i]; *at; at = &(*at)->next)
			if (!oldest || (*at)->expires < (*oldest)->expires)
				oldest = at;
	taken = *oldest;
	*oldest = taken->next;
	publish->n--;
	return taken;
}

static void
document_put(struct publish *publish, const char *path, struct document *doc)
{
	struct document *replaced, *pushed_out = NULL, **at;

	pthread_mutex_lock(&publish->lock);
	if (!*place_of(publish, writ_str(path)) && publish->n >= DOCUMENTS_MAX)
		pushed_out = oldest_take(publish);
	at = place_of(publish, writ_str(path));
	replaced = *at;
	doc->next = replaced ? replaced->next : NULL;
	*at = doc;
	publish->n += !replaced;
	publish->version++;
	pthread_mutex_unlock(&publish->lock);
	if (replaced)
		document_release(replaced);
	if (pushed_out)
		document_release(pushed_out);
}

static struct writ_err *
put(struct publish *publish, const char *path, const char *content_type, struct writ_bytes bytes,
    struct writ_bytes *mapping, writ_time last_modified, writ_time expires, unsigned max_age_s)
{
	struct document *doc = NULL;
	struct writ_err *err;

	err = document_new(path, content_type, bytes, mapping, &doc);
	if (err)
		return err;
	doc->last_modified = last_modified;
	doc->expires = expires;
	doc->max_age_s = max_age_s;
	document_put(publish, path, doc);
	return NULL;
}

struct writ_err *
publish_put(struct publish *publish, const char *path, const char *content_type, struct writ_bytes bytes,
	    writ_time last_modified, writ_time expires, unsigned max_age_s)
{
	return put(publish, path, content_type, bytes, NULL, last_modified, expires, max_age_s);
}

struct writ_err *
publish_put_mapped(struct publish *publish, const char *path, const char *content_type, struct writ_bytes bytes,
		   struct writ_bytes *takes_mapping, writ_time last_modified, writ_time expires, unsigned max_age_s)
{
	return put(publish, path, content_type, bytes, takes_mapping, last_modified, expires, max_age_s);
}

void
publish_drop(struct publish *publish, const char *path)
{
	struct document *doc, **at;

	pthread_mutex_lock(&publish->lock);
	at = place_of(publish, writ_str(path));
	doc = *at;
	if (doc) {
		*at = doc->next;
		publish->n--;
		publish->version++;
	}
	pthread_mutex_unlock(&publish->lock);
	if (doc)
		document_release(doc);
}

struct document *
publish_hold(struct publish *publish, struct writ_bytes path)
{
	struct document *doc;

	pthread_mutex_lock(&publish->lock);
	doc = *place_of(publish, path);
	if (doc)
		atomic_fetch_add_explicit(&doc->n_holders, 1, memory_order_relaxed);
	pthread_mutex_unlock(&publish->lock);
	return doc;
}

uint64_t
publish_version(struct publish *publish)
{
	uint64_t version;

	pthread_mutex_lock(&publish->lock);
	version = publish->version;
	pthread_mutex_unlock(&publish->lock);
	return version;
}

void
publish_each(struct publish *publish, void (*fn)(const struct document *, void *ctx), void *ctx)
{
	pthread_mutex_lock(&publish->lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct document *doc = publish->buckets[i]; doc; doc = doc->next)
			fn(doc, ctx);
	pthread_mutex_unlock(&publish->lock);
}
