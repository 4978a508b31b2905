/*
 * Agents that were verified, by the SHA-256 of their certificate, so that a leaf is verified once and then only asked.
 *
 * Bounded: when it is full the oldest goes.  An agent is handed out until its expires_at; agents_clear() forgets all,
 * which is done whenever a list changed.  Refusals are not kept: they are rare, and may be over with the next list.
 * Knows no verifier and no request.  One thread.
 */
#ifndef WRIT_ISSUER_AUTHZ_AGENTS_H
#define WRIT_ISSUER_AUTHZ_AGENTS_H

#include "base/clock.h"
#include "issuer/x509/writ.h"

struct agents;

/* What a decision is logged with, beside what writ.h tells (delegation.md 6.1 step 9); owned by the cache. */
struct agent_seen {
	struct writ_agent *agent;
	struct writ_bytes hop_ids;	  /* hex, root first, with spaces between; 8 of them at most */
	struct writ_bytes hop_principals; /* the same */
};

WRIT_CHECKED struct writ_err *agents_new(uint32_t max, struct agents **ret);
void agents_free(struct agents *);
void agents_freep(struct agents **);

/* Valid until the next agents_add() or agents_clear(); NULL: not there, or past its expires_at. */
const struct agent_seen *agents_find(struct agents *, const uint8_t sha256[32], writ_time now);

/* Takes `agent`, verified from the certificate `der`, also when it fails. */
WRIT_CHECKED struct writ_err *agents_add(struct agents *, struct writ_agent *agent, struct writ_bytes der,
					 const struct agent_seen **ret);
void agents_clear(struct agents *);
uint32_t agents_count(const struct agents *);

#endif
