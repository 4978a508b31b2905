/*
 * The gate: is this TBS a leaf that we issue, now?  The only bytes from outside that a CA key ever signs pass here (I1).
 *
 * A pure function of the bytes, of what the signer knows for itself, and of its clock; nothing the issuer says changes a fact.  The profile itself
 * (delegation.md 2 and 3.3: E1..E10, lifetime, one SAN that is an agent's, the task, notAfter within the last hop's, noRevAvail) is leaf_read_tbs()'s;
 * here stands what needs the signer's knowledge.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_SIGNER_GATE_H
#define WRIT_ISSUER_SIGNER_GATE_H

#include "issuer/x509/leaf.h"

#define GATE_BEFORE_MAX_S 60	/* notBefore may lie this far behind the clock: issuers write now - 30 */
#define GATE_AHEAD_MAX_S 5	/* or this far before it */
#define GATE_AFTER_MAX_S 900	/* notAfter at most this far behind the clock (I5) */
#define GATE_NO_REV_AVAIL_MAX_S 120	/* RFC 9608 only for what dies this soon */
#define GATE_KEYS_MAX 264	/* generations, anchors, OCSP */

/* A generation that signs: the current one, or one that was replaced a moment ago, for leaves that were built meanwhile. */
struct gate_issuer {
	struct writ_bytes name;			/* DER */
	struct writ_bytes key_id;		/* 20 */
	struct writ_bytes crl_url;		/* of its first list, */
	unsigned shard_from, shard;		/* of which these shards are taken now: the last, and what was a moment ago */
	writ_time not_after, signs_until;
	bool revoked;				/* a moment ago: whoever asks again will have heard of another */
};

struct gate_facts {
	struct writ_bytes trust_domain;
	size_t n_issuers;
	const struct gate_issuer *issuers;	/* the current one first */
	enum leaf_tier tier;
	struct writ_bytes ocsp_url;
	struct writ_bytes log_id;		/* 8 */
	size_t n_keys;				/* public keys that are ours: anchor, issuing CAs, OCSP */
	uint8_t keys[GATE_KEYS_MAX][32];	/* SHA-256 of the SPKI, ascending: gate_keys_sort() */
};

void gate_keys_sort(struct gate_facts *);

/* WRIT_INVALID names the rule, the value and the limit; WRIT_UNAVAILABLE: the CA it names was just revoked; on success `*ret` is the leaf, its lists
 * in the arena, and `*ret_shard` the list of its CA that it belongs to: the one it names, or, if it names none, the last. */
WRIT_CHECKED struct writ_err *gate_check(struct writ_bytes tbs, const struct gate_facts *, writ_time now, struct writ_arena *,
					 struct leaf *ret, unsigned *ret_shard);

#endif
