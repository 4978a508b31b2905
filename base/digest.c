/*
 * Digests and random bytes.  Methods are fetched once: an implicit fetch takes locks that loop threads would share.
 */
#include "base/digest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_of_thread;
static EVP_MD *sha256, *sha384, *sha1;

/* Going on without a digest or with bad random numbers would be worse than to stop. */
static _Noreturn void
broken(const char *what)
{
	fprintf(stderr, "writ: %s failed in the cryptographic library: stopping\n", what);
	abort();
}

static void
context_free(void *context)
{
	EVP_MD_CTX_free(context);
}

static void
fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	if (!sha256 || !sha384 || !sha1)
		broken("fetching SHA-256, SHA-384 and SHA-1");
	if (pthread_key_create(&context_of_thread, context_free) != 0)
		broken("thread-specific storage");
}

/* One context a thread: allocating it costs more than hashing a short message. */
static EVP_MD_CTX *
context(void)
{
	EVP_MD_CTX *ctx;

	if (pthread_once(&once, fetch) != 0)
		broken("pthread_once");
	ctx = pthread_getspecific(context_of_thread);
	if (ctx)
		return ctx;
	ctx = EVP_MD_CTX_new();
	if (!ctx || pthread_setspecific(context_of_thread, ctx) != 0)
		broken("a digest context");
	return ctx;
}

/* `md` by address: it is known only after context(). */
static void
digest(EVP_MD *const *md, const struct writ_bytes *pieces, size_t n, uint8_t *out)
{
	EVP_MD_CTX *ctx = context();

	if (EVP_DigestInit_ex2(ctx, *md, NULL) != 1)
		broken("a digest");
	for (size_t i = 0; i < n; i++)
		if (pieces[i].len > 0 && EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].len) != 1)
			broken("a digest");
	if (EVP_DigestFinal_ex(ctx, out, NULL) != 1)
		broken("a digest");
}

void
writ_sha256(struct writ_bytes bytes, uint8_t out[SHA256_LEN])
{
	digest(&sha256, &bytes, 1, out);
}

void
writ_sha256v(const struct writ_bytes *pieces, size_t n, uint8_t out[SHA256_LEN])
{
	digest(&sha256, pieces, n, out);
}

void
writ_sha256_begin(struct writ_sha256 *stream)
{
	(void)context(); /* the methods are fetched */
	writ_sha256_done(stream);
	stream->ctx = EVP_MD_CTX_new();
	if (!stream->ctx || EVP_DigestInit_ex2(stream->ctx, sha256, NULL) != 1)
		broken("a digest");
}

void
writ_sha256_add(struct writ_sha256 *stream, struct writ_bytes bytes)
{
	if (bytes.len > 0 && EVP_DigestUpdate(stream->ctx, bytes.data, bytes.len) != 1)
		broken("a digest");
}

void
writ_sha256_end(struct writ_sha256 *stream, uint8_t out[SHA256_LEN])
{
	if (EVP_DigestFinal_ex(stream->ctx, out, NULL) != 1)
		broken("a digest");
	writ_sha256_done(stream);
}

void
writ_sha256_done(struct writ_sha256 *stream)
{
	EVP_MD_CTX_free(stream->ctx);
	stream->ctx = NULL;
}

void
writ_sha384(struct writ_bytes bytes, uint8_t out[SHA384_LEN])
{
	digest(&sha384, &bytes, 1, out);
}

void
writ_sha1(struct writ_bytes bytes, uint8_t out[SHA1_LEN])
{
	digest(&sha1, &bytes, 1, out);
}

void
writ_random(uint8_t *out, size_t len)
{
	if (RAND_bytes_ex(NULL, out, len, 0) != 1)
		broken("the random number generator");
}
