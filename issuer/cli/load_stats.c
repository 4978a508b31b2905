/*
 * Latencies of writ load: a histogram with buckets in powers of two, each cut in 16.  Pure.
 */
#include "issuer/cli/load.h"

#define CUTS 16
#define FIRST_BITS 4 /* below 16 us a bucket a microsecond */

/* The highest bit chooses the power, the four below it the cut. */
static size_t
bucket_of(uint64_t us)
{
	unsigned bits;

	if (us < CUTS)
		return us;
	bits = 63 - (unsigned)__builtin_clzll(us);
	return (bits - FIRST_BITS + 1) * CUTS + ((us >> (bits - FIRST_BITS)) & (CUTS - 1));
}

/* The largest value of a bucket. */
static uint64_t
bucket_end(size_t bucket)
{
	const size_t power = bucket / CUTS, cut = bucket % CUTS;

	return power == 0 ? cut : ((CUTS + cut + 1) << (power - 1)) - 1;
}

void
load_latency_add(struct load_latency *l, int64_t us)
{
	const uint64_t value = us > 0 ? (uint64_t)us : 0;
	const size_t bucket = bucket_of(value);

	l->n++;
	l->bucket[bucket < LOAD_BUCKETS ? bucket : LOAD_BUCKETS - 1]++;
	if (value > l->max_us)
		l->max_us = value;
}

double
load_latency_ms(const struct load_latency *l, double quantile)
{
	const double wanted = quantile * (double)l->n;
	uint64_t seen = 0;

	for (size_t i = 0; i < LOAD_BUCKETS; i++) {
		seen += l->bucket[i];
		if (seen > 0 && (double)seen >= wanted) {
			const uint64_t us = bucket_end(i) < l->max_us ? bucket_end(i) : l->max_us;

			return (double)us / 1000;
		}
	}
	return 0;
}

const char *
load_what_name(enum load_what what)
{
	static const char *const names[LOAD_WHATS] = { [LOAD_TASK] = "task",
						       [LOAD_FIRST] = "first leaf",
						       [LOAD_RENEWAL] = "renewal",
						       [LOAD_COMPLETION] = "completion",
						       [LOAD_REVOCATION] = "revocation",
						       [LOAD_OCSP] = "OCSP",
						       [LOAD_RESPONDER] = "responder",
						       [LOAD_CRL] = "CRL" };

	return names[what];
}
