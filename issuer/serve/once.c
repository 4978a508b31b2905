/*
 * Names reserved in memory: see once.h.  A chained hash of fixed width; what has expired goes when its chain is walked.
 */
#include "issuer/serve/once.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/digest.h"

#define CHAINS 16384

struct name {
	struct name *next;
	uint8_t digest[SHA256_LEN];
	uint8_t body_sha256[SHA256_LEN];
	writ_time expires; /* 0: under way */
	unsigned status;
	size_t len;
	uint8_t body[];
};

struct once {
	pthread_mutex_t lock;
	size_t n;
	struct name *chains[CHAINS];
};

struct writ_err *
once_new(struct once **ret)
{
	struct once *once = calloc(1, sizeof(*once));

	if (!once)
		return writ_fail(WRIT_EXHAUSTED, "no memory for reservations");
	pthread_mutex_init(&once->lock, NULL);
	*ret = once;
	return NULL;
}

void
once_free(struct once *once)
{
	if (!once)
		return;
	for (size_t i = 0; i < CHAINS; i++)
		while (once->chains[i]) {
			struct name *next = once->chains[i]->next;

			free(once->chains[i]);
			once->chains[i] = next;
		}
	pthread_mutex_destroy(&once->lock);
	free(once);
}

/* The link that points at this name, or at NULL; drops what expired on the way. */
static struct name **
find(struct once *once, const uint8_t digest[SHA256_LEN], writ_time now)
{
	struct name **at = &once->chains[writ_get32(digest) % CHAINS];

	while (*at && memcmp((*at)->digest, digest, SHA256_LEN) != 0) {
		struct name *here = *at;

		if (here->expires == 0 || here->expires > now) {
			at = &here->next;
			continue;
		}
		*at = here->next;
		free(here);
		once->n--;
	}
	return at;
}

static void
drop(struct once *once, struct name **at)
{
	struct name *here = *at;

	*at = here->next;
	free(here);
	once->n--;
}

/* A new name under way at the head of its chain; false without room. */
static bool
add(struct once *once, const uint8_t digest[SHA256_LEN], const uint8_t body_sha256[32])
{
	struct name **chain = &once->chains[writ_get32(digest) % CHAINS];
	struct name *name = once->n < ONCE_MAX ? calloc(1, sizeof(*name)) : NULL;

	if (!name)
		return false;
	memcpy(name->digest, digest, SHA256_LEN);
	memcpy(name->body_sha256, body_sha256, SHA256_LEN);
	name->next = *chain;
	*chain = name;
	once->n++;
	return true;
}

WRIT_CHECKED static struct writ_err *
take_locked(struct once *once, const uint8_t digest[SHA256_LEN], const uint8_t body_sha256[32], writ_time now,
	    enum once_state *ret, unsigned *ret_status, struct writ_buf *ret_body)
{
	struct name **at = find(once, digest, now);

	if (*at && (*at)->expires != 0 && (*at)->expires <= now)
		drop(once, at);
	else if (*at && memcmp((*at)->body_sha256, body_sha256, SHA256_LEN) != 0)
		return *ret = ONCE_OTHER, NULL;
	else if (*at && (*at)->expires == 0)
		return *ret = ONCE_BUSY, NULL;
	else if (*at) {
		*ret = ONCE_ANSWERED;
		*ret_status = (*at)->status;
		return writ_buf_add(ret_body, (struct writ_bytes){ (*at)->body, (*at)->len });
	}
	if (!add(once, digest, body_sha256))
		return writ_fail(WRIT_EXHAUSTED, "more than %d idempotency keys at once", ONCE_MAX);
	*ret = ONCE_TAKEN;
	return NULL;
}

struct writ_err *
once_take(struct once *once, struct writ_bytes name, const uint8_t body_sha256[32], writ_time now, enum once_state *ret,
	  unsigned *ret_status, struct writ_buf *ret_body)
{
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	writ_sha256(name, digest);
	pthread_mutex_lock(&once->lock);
	err = take_locked(once, digest, body_sha256, now, ret, ret_status, ret_body);
	pthread_mutex_unlock(&once->lock);
	return err;
}

void
once_release(struct once *once, struct writ_bytes name)
{
	uint8_t digest[SHA256_LEN];
	struct name **at;

	writ_sha256(name, digest);
	pthread_mutex_lock(&once->lock);
	at = find(once, digest, 0);
	if (*at && (*at)->expires == 0)
		drop(once, at);
	pthread_mutex_unlock(&once->lock);
}

void
once_answer(struct once *once, struct writ_bytes name, unsigned status, struct writ_bytes body, writ_time now)
{
	uint8_t digest[SHA256_LEN];
	struct name **at, *kept;

	writ_sha256(name, digest);
	pthread_mutex_lock(&once->lock);
	at = find(once, digest, 0);
	kept = *at ? realloc(*at, sizeof(*kept) + body.len) : NULL;
	if (kept) {
		*at = kept;
		kept->expires = now + ONCE_KEEP_S;
		kept->status = status;
		kept->len = body.len;
		memcpy(kept->body, body.data, body.len);
	}
	pthread_mutex_unlock(&once->lock);
}
