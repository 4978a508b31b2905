/*
 * The signer's issuing CAs as the issuer knows them: asked for when HEALTH says that they changed, and only what is
 * new. The keeper's thread.
 */
#ifndef WRIT_ISSUER_SERVE_CAS_H
#define WRIT_ISSUER_SERVE_CAS_H

#include "issuer/signer/wire.h"

struct ca_known {
	uint64_t number;
	struct writ_buf der;
	uint8_t key_id[20];
	writ_time not_before, not_after;
	struct ocsp_issuer ocsp;
	bool published;	      /* its certificate */
	unsigned first, last; /* shards of its CRL, as the signer said last; first: once the last one was fetched */
	uint64_t list_numbers[SIGNER_SHARDS_MAX]; /* of shard n at n % SIGNER_SHARDS_MAX, as published; 0: it is not */
};

struct cas {
	uint64_t changes; /* as HEALTH says */
	uint64_t issuing; /* number of the one that issues now */
	unsigned shard;	  /* and of its CRL's shard that leaves name */
	size_t n;
	struct ca_known all[SIGNER_GENERATIONS_MAX]; /* ascending by number */
};

/* Asks for what is new over a connection that has said HELLO; `gone` hears of each that is no more.  WRIT_BROKEN: the
 * signer's answer makes no sense. */
WRIT_CHECKED struct writ_err *cas_fetch(struct cas *, int sock, void (*gone)(void *ctx, const struct ca_known *),
					void *ctx);

/* The one that issues now; NULL before the first fetch. */
const struct ca_known *cas_issuing(const struct cas *);

/* NULL: there is none with that key id. */
const struct ca_known *cas_find(const struct cas *, const uint8_t key_id[20]);

/* Forgets all, without telling anybody. */
void cas_done(struct cas *);

#endif
