/*
 * Token buckets: see admission.h.  A set-associative table: 2,048 sets of 4, so finding and evicting look at four
 * buckets.
 */
#include "issuer/serve/admission.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/digest.h"

#define SETS 2048
#define WAYS 4

struct bucket {
	uint64_t who; /* keyed hash; 0: free */
	int64_t used_ms;
	int64_t tokens_milli, notes_milli; /* thousandths of a token */
	uint64_t skipped;		   /* denials not written */
};

struct admission {
	pthread_mutex_t lock;
	uint32_t per_second;
	uint8_t secret[16]; /* so that nobody outside can choose who shares a set with whom */
	struct bucket buckets[SETS][WAYS];
};

struct writ_err *
admission_new(uint32_t per_second, struct admission **ret)
{
	struct admission *admission = calloc(1, sizeof(*admission));

	if (!admission)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the principals' shares");
	pthread_mutex_init(&admission->lock, NULL);
	admission->per_second = per_second;
	writ_random(admission->secret, sizeof(admission->secret));
	*ret = admission;
	return NULL;
}

void
admission_free(struct admission *admission)
{
	if (!admission)
		return;
	pthread_mutex_destroy(&admission->lock);
	free(admission);
}

void
admission_limit(struct admission *admission, uint32_t per_second)
{
	pthread_mutex_lock(&admission->lock);
	admission->per_second = per_second;
	pthread_mutex_unlock(&admission->lock);
}

static int64_t
refill(int64_t milli, int64_t elapsed_ms, int64_t per_second)
{
	const int64_t full = per_second * 1000;

	if (elapsed_ms >= 1000 || milli + elapsed_ms * per_second > full)
		return full;
	return milli + elapsed_ms * per_second;
}

/* The bucket of `who`, filled up to now.  Under the lock. */
static struct bucket *
bucket_of(struct admission *admission, struct writ_bytes who, int64_t mono_ms)
{
	const struct writ_bytes pieces[] = { { admission->secret, sizeof(admission->secret) }, who };
	uint8_t digest[SHA256_LEN];
	struct bucket *set, *oldest;
	uint64_t name;

	writ_sha256v(pieces, N_OF(pieces), digest);
	name = writ_get64(digest) | 1;
	set = admission->buckets[writ_get32(digest + 8) % SETS];
	oldest = &set[0];
	for (size_t i = 0; i < WAYS; i++) {
		struct bucket *b = &set[i];

		if (b->who == name) {
			const int64_t elapsed_ms = mono_ms > b->used_ms ? mono_ms - b->used_ms : 0;

			b->tokens_milli = refill(b->tokens_milli, elapsed_ms, admission->per_second);
			b->notes_milli = refill(b->notes_milli, elapsed_ms, ADMISSION_NOTES_PER_S);
			b->used_ms = mono_ms;
			return b;
		}
		if (b->used_ms < oldest->used_ms)
			oldest = b;
	}
	*oldest = (struct bucket){ .who = name,
				   .used_ms = mono_ms,
				   .tokens_milli = (int64_t)admission->per_second * 1000,
				   .notes_milli = ADMISSION_NOTES_PER_S * 1000 };
	return oldest;
}

struct writ_err *
admission_take(struct admission *admission, struct writ_bytes who, int64_t mono_ms)
{
	struct bucket *bucket;
	uint32_t limit;
	bool taken;

	pthread_mutex_lock(&admission->lock);
	bucket = bucket_of(admission, who, mono_ms);
	taken = bucket->tokens_milli >= 1000;
	if (taken)
		bucket->tokens_milli -= 1000;
	limit = admission->per_second;
	pthread_mutex_unlock(&admission->lock);
	if (taken)
		return NULL;
	return writ_fail(WRIT_EXHAUSTED, "%.*s asks more than %u times a second: slow down", WRIT_FMT(who), limit);
}

bool
admission_note(struct admission *admission, struct writ_bytes who, int64_t mono_ms, uint64_t *ret_skipped)
{
	struct bucket *bucket;
	bool may;

	pthread_mutex_lock(&admission->lock);
	bucket = bucket_of(admission, who, mono_ms);
	may = bucket->notes_milli >= 1000;
	if (may)
		bucket->notes_milli -= 1000;
	else
		bucket->skipped++;
	*ret_skipped = bucket->skipped;
	if (may)
		bucket->skipped = 0;
	pthread_mutex_unlock(&admission->lock);
	return may;
}
