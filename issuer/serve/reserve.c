/*
 * Names reserved in memory: see reserve.h.  A chained hash of fixed width; what has expired goes when its chain is walked.
 */
#include "issuer/serve/reserve.h"

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

struct reserve {
	pthread_mutex_t lock;
	size_t n;
	struct name *chains[CHAINS];
};

struct writ_err *
reserve_new(struct reserve **ret)
{
	struct reserve *reserve = calloc(1, sizeof(*reserve));

	if (!reserve)
		return writ_fail(WRIT_EXHAUSTED, "no memory for reservations");
	pthread_mutex_init(&reserve->lock, NULL);
	*ret = reserve;
	return NULL;
}

void
reserve_free(struct reserve *reserve)
{
	if (!reserve)
		return;
	for (size_t i = 0; i < CHAINS; i++)
		while (reserve->chains[i]) {
			struct name *next = reserve->chains[i]->next;

			free(reserve->chains[i]);
			reserve->chains[i] = next;
		}
	pthread_mutex_destroy(&reserve->lock);
	free(reserve);
}

/* The link that points at this name, or at NULL; drops what expired on the way. */
static struct name **
find(struct reserve *reserve, const uint8_t digest[SHA256_LEN], writ_time now)
{
	struct name **at = &reserve->chains[writ_get32(digest) % CHAINS];

	while (*at && memcmp((*at)->digest, digest, SHA256_LEN) != 0) {
		struct name *here = *at;

		if (here->expires == 0 || here->expires > now) {
			at = &here->next;
			continue;
		}
		*at = here->next;
		free(here);
		reserve->n--;
	}
	return at;
}

static void
drop(struct reserve *reserve, struct name **at)
{
	struct name *here = *at;

	*at = here->next;
	free(here);
	reserve->n--;
}

/* A new name under way at the head of its chain; false without room. */
static bool
add(struct reserve *reserve, const uint8_t digest[SHA256_LEN], const uint8_t body_sha256[32])
{
	struct name **chain = &reserve->chains[writ_get32(digest) % CHAINS];
	struct name *name = reserve->n < RESERVE_MAX ? calloc(1, sizeof(*name)) : NULL;

	if (!name)
		return false;
	memcpy(name->digest, digest, SHA256_LEN);
	memcpy(name->body_sha256, body_sha256, SHA256_LEN);
	name->next = *chain;
	*chain = name;
	reserve->n++;
	return true;
}

WRIT_CHECKED static struct writ_err *
take_locked(struct reserve *reserve, const uint8_t digest[SHA256_LEN], const uint8_t body_sha256[32], writ_time now,
	    enum reserved *ret, unsigned *ret_status, struct writ_buf *ret_body)
{
	struct name **at = find(reserve, digest, now);

	if (*at && (*at)->expires != 0 && (*at)->expires <= now)
		drop(reserve, at);
	else if (*at && memcmp((*at)->body_sha256, body_sha256, SHA256_LEN) != 0)
		return *ret = RESERVED_OTHER, NULL;
	else if (*at && (*at)->expires == 0)
		return *ret = RESERVED_BUSY, NULL;
	else if (*at) {
		*ret = RESERVED_ANSWERED;
		*ret_status = (*at)->status;
		return writ_buf_add(ret_body, (struct writ_bytes){ (*at)->body, (*at)->len });
	}
	if (!add(reserve, digest, body_sha256))
		return writ_fail(WRIT_EXHAUSTED, "more than %d idempotency keys at once", RESERVE_MAX);
	*ret = RESERVED;
	return NULL;
}

struct writ_err *
reserve_take(struct reserve *reserve, struct writ_bytes name, const uint8_t body_sha256[32], writ_time now, enum reserved *ret,
	     unsigned *ret_status, struct writ_buf *ret_body)
{
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	writ_sha256(name, digest);
	pthread_mutex_lock(&reserve->lock);
	err = take_locked(reserve, digest, body_sha256, now, ret, ret_status, ret_body);
	pthread_mutex_unlock(&reserve->lock);
	return err;
}

void
reserve_release(struct reserve *reserve, struct writ_bytes name)
{
	uint8_t digest[SHA256_LEN];
	struct name **at;

	writ_sha256(name, digest);
	pthread_mutex_lock(&reserve->lock);
	at = find(reserve, digest, 0);
	if (*at && (*at)->expires == 0)
		drop(reserve, at);
	pthread_mutex_unlock(&reserve->lock);
}

void
reserve_answer(struct reserve *reserve, struct writ_bytes name, unsigned status, struct writ_bytes body, writ_time now)
{
	uint8_t digest[SHA256_LEN];
	struct name **at, *kept;

	writ_sha256(name, digest);
	pthread_mutex_lock(&reserve->lock);
	at = find(reserve, digest, 0);
	kept = *at ? realloc(*at, sizeof(*kept) + body.len) : NULL;
	if (kept) {
		*at = kept;
		kept->expires = now + RESERVE_KEEP_S;
		kept->status = status;
		kept->len = body.len;
		memcpy(kept->body, body.data, body.len);
	}
	pthread_mutex_unlock(&reserve->lock);
}
