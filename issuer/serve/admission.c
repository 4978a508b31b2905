/*
 * Token buckets: see admission.h.  Two set-associative tables, of principals and of root delegators: 2,048 sets of 4, so finding and
 * evicting look at four buckets, and strangers by the million wash no delegator out.
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

struct table {
	struct bucket buckets[SETS][WAYS];
};

struct admission {
	pthread_mutex_t lock;
	struct admission_limits limits; /* under the lock, as the tables */
	uint8_t secret[16];		/* so that nobody outside can choose who shares a set with whom */
	struct table principals, delegators;
};

struct writ_err *
admission_new(struct admission_limits limits, struct admission **ret)
{
	struct admission *admission = calloc(1, sizeof(*admission));

	if (!admission)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the principals' shares");
	pthread_mutex_init(&admission->lock, NULL);
	admission->limits = limits;
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
admission_limit(struct admission *admission, struct admission_limits limits)
{
	pthread_mutex_lock(&admission->lock);
	admission->limits = limits;
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

static uint64_t
name_of(const struct admission *admission, struct writ_bytes before, struct writ_bytes who)
{
	const struct writ_bytes pieces[] = { { admission->secret, sizeof(admission->secret) }, before, who };
	uint8_t digest[SHA256_LEN];

	writ_sha256v(pieces, N_OF(pieces), digest);
	return writ_get64(digest) | 1;
}

uint64_t
admission_name(const struct admission *admission, struct writ_bytes who)
{
	return name_of(admission, (struct writ_bytes){ 0 }, who);
}

/* The bucket of that name, filled up to now.  Under the lock. */
static struct bucket *
bucket_of(struct table *table, uint64_t name, uint32_t per_second, int64_t mono_ms)
{
	struct bucket *set = table->buckets[(name >> 1) % SETS], *oldest = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		struct bucket *b = &set[i];

		if (b->who == name) {
			const int64_t elapsed_ms = mono_ms > b->used_ms ? mono_ms - b->used_ms : 0;

			b->tokens_milli = refill(b->tokens_milli, elapsed_ms, per_second);
			b->notes_milli = refill(b->notes_milli, elapsed_ms, ADMISSION_NOTES_PER_S);
			b->used_ms = mono_ms;
			return b;
		}
		if (b->used_ms < oldest->used_ms)
			oldest = b;
	}
	*oldest = (struct bucket){ .who = name,
				   .used_ms = mono_ms,
				   .tokens_milli = (int64_t)per_second * 1000,
				   .notes_milli = ADMISSION_NOTES_PER_S * 1000 };
	return oldest;
}

/* Under the lock. */
static bool
token_take(struct bucket *bucket)
{
	if (bucket->tokens_milli < 1000)
		return false;
	bucket->tokens_milli -= 1000;
	return true;
}

WRIT_CHECKED static struct writ_err *
take(struct admission *admission, uint64_t name, struct writ_bytes who, int64_t mono_ms)
{
	uint32_t limit;
	bool taken;

	pthread_mutex_lock(&admission->lock);
	limit = admission->limits.principal;
	taken = token_take(bucket_of(&admission->principals, name, limit, mono_ms));
	pthread_mutex_unlock(&admission->lock);
	if (taken)
		return NULL;
	return writ_fail(WRIT_EXHAUSTED, "%.*s asks more than %u times a second: slow down", WRIT_FMT(who), limit);
}

struct writ_err *
admission_take(struct admission *admission, struct writ_bytes who, int64_t mono_ms)
{
	return take(admission, admission_name(admission, who), who, mono_ms);
}

struct writ_err *
admission_take_back(struct admission *admission, struct writ_bytes who, int64_t mono_ms)
{
	return take(admission, name_of(admission, WRIT_LIT("back "), who), who, mono_ms);
}

bool
admission_delegator(struct admission *admission, uint64_t name, bool take_it, int64_t mono_ms)
{
	struct bucket *bucket;
	bool may;

	pthread_mutex_lock(&admission->lock);
	bucket = bucket_of(&admission->delegators, name, admission->limits.delegator, mono_ms);
	may = take_it ? token_take(bucket) : bucket->tokens_milli >= 1000;
	pthread_mutex_unlock(&admission->lock);
	return may;
}

bool
admission_note(struct admission *admission, struct writ_bytes who, int64_t mono_ms, uint64_t *ret_skipped)
{
	struct bucket *bucket;
	bool may;

	pthread_mutex_lock(&admission->lock);
	bucket = bucket_of(&admission->principals, admission_name(admission, who), admission->limits.principal, mono_ms);
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
