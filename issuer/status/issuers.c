/*
 * Two tables of open addressing, one for each hash that a CertID may use: a key's digest is its own hash.
 */
#include "issuer/status/issuers.h"

#include <stdlib.h>

#define ISSUERS_MAX 4096 /* far over the generations of a signer */

void
issuers_done(struct issuers *issuers)
{
	free(issuers->by_key);
	free(issuers->list);
	*issuers = (struct issuers){ 0 };
}

/* The place of that key hash, or the free one where it would stand. */
static uint16_t *
place_of(const struct issuers *issuers, bool sha1, const uint8_t *hash)
{
	uint16_t *const table = issuers->by_key + (sha1 ? 0 : issuers->mask + 1);
	size_t at = (size_t)writ_get64(hash);

	for (;; at++) {
		uint16_t *const place = &table[at & issuers->mask];
		const struct ocsp_issuer *there = *place ? &issuers->list[*place - 1] : NULL;

		if (!there || memcmp(sha1 ? there->key_sha1 : there->key_sha256, hash,
				     sha1 ? sizeof(there->key_sha1) : sizeof(there->key_sha256)) == 0)
			return place;
	}
}

struct writ_err *
issuers_set(struct issuers *issuers, const struct ocsp_issuer *list, size_t n)
{
	struct issuers made = { .mask = 15 };

	if (n > ISSUERS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%zu issuing CAs are over the limit of %d", n, ISSUERS_MAX);
	while (made.mask + 1 < 2 * n)
		made.mask = 2 * made.mask + 1;
	made.by_key = calloc(2 * (made.mask + 1), sizeof(*made.by_key));
	made.list = calloc(n + 1, sizeof(*made.list));
	if (!made.by_key || !made.list) {
		issuers_done(&made);
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu issuing CAs", n);
	}
	for (size_t i = 0; i < n; i++) {
		made.list[i] = list[i];
		*place_of(&made, true, list[i].key_sha1) = (uint16_t)(i + 1);
		*place_of(&made, false, list[i].key_sha256) = (uint16_t)(i + 1);
	}
	issuers_done(issuers);
	*issuers = made;
	return NULL;
}

bool
issuers_have(const struct issuers *issuers, const struct ocsp_request *request)
{
	const size_t len = request->sha1 ? sizeof(issuers->list->key_sha1) : sizeof(issuers->list->key_sha256);
	uint16_t place;

	if (!issuers->by_key || request->issuer_key_hash.len != len)
		return false;
	place = *place_of(issuers, request->sha1, request->issuer_key_hash.data);
	return place != 0 && ocsp_issuer_is(&issuers->list[place - 1], request);
}
