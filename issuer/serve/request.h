/*
 * JSON bodies in: strict, bounded, one function a route.
 *
 * Depth is scanned before jansson sees a byte; duplicate and unknown members, floats, integers beyond 2^53 are refused,
 * each with the member's name.  What comes out is in canonical order (E6) and in canonical form (delegation.md 4.1),
 * texts in the arena.  Knows no store, no policy, no caller: kind and principal are never read here (I7).  Thread-safe:
 * no state.
 */
#ifndef WRIT_ISSUER_SERVE_REQUEST_H
#define WRIT_ISSUER_SERVE_REQUEST_H

#include "issuer/x509/crl.h"
#include "issuer/x509/csr.h"
#include "policy/grant.h"

#define REQUEST_MAX (64 * 1024) /* bytes of a body */
#define BATCH_BODY_MAX (256 * 1024) /* bytes of a batch's body */
#define REQUEST_DEPTH_MAX 16
#define REQUEST_ENDS_MIN_S 60
#define REQUEST_ENDS_MAX_S (8 * 3600)
#define REQUEST_ENDS_DEFAULT_S 3600

/* POST /v1/tasks and /v1/delegations. */
struct request_delegation {
	struct writ_bytes task_id; /* tasks only; empty: ours to choose */
	struct writ_bytes purpose; /* tasks only; may be empty */
	struct writ_bytes agent_class;
	uint8_t spki_sha256[32];
	struct grant grant;
	unsigned depth;
	uint32_t ends_in_s;				/* 0: not said */
	struct writ_bytes context_type, context_digest; /* empty: absent */
};
enum request_route { REQUEST_OPEN_TASK, REQUEST_DELEGATE };
WRIT_CHECKED struct writ_err *request_delegation(struct writ_bytes body, enum request_route, struct writ_arena *,
						 struct request_delegation *ret);

/*
 * POST /v1/tasks with {"grant": "COMPACT JWS"}: the signature inside authenticates, no certificate is needed.  Told by
 * the name of the first member, before anything is parsed; a body that hides it is taken for another, which needs one.
 */
bool request_is_grant(struct writ_bytes body);
WRIT_CHECKED struct writ_err *request_grant(struct writ_bytes body, struct writ_arena *, struct writ_bytes *ret);

/*
 * POST /v1/tasks with {"id_token": "COMPACT JWS", "grant_body": "BASE64URL"}, in either order: the token authenticates
 * whoever it names, for these bytes of a grant.
 */
#define REQUEST_GRANT_BODY_MAX (24 * 1024) /* octets, decoded */
bool request_is_token(struct writ_bytes body);
WRIT_CHECKED struct writ_err *request_token(struct writ_bytes body, struct writ_arena *, struct writ_bytes *ret_token,
					    struct writ_bytes *ret_grant);

/* POST /v1/grants/prepare: which provider, and the body of POST /v1/tasks as text of its own. */
struct request_prepare {
	struct writ_bytes idp;
	struct writ_bytes task; /* JSON */
	struct request_delegation asked;
};
WRIT_CHECKED struct writ_err *request_prepare(struct writ_bytes body, struct writ_arena *, struct request_prepare *ret);

/* POST /v1/tasks/ID/leaves (csr) and /v1/renew (no csr; an empty body is all defaults). */
struct request_leaf {
	struct writ_bytes csr; /* DER */
	uint32_t lifetime_s;   /* 0: as long as the rule allows */
	bool ocsp;
};
WRIT_CHECKED struct writ_err *request_leaf(struct writ_bytes body, struct writ_arena *, struct request_leaf *ret);
/* POST /v1/batch: {"leaves": [{"task": "...", "csr": "...", ...}, ...]}, 1 to `max` of them. */
struct request_item {
	struct writ_bytes task; /* as it came: checked item by item */
	struct request_leaf leaf;
};
WRIT_CHECKED struct writ_err *request_batch(struct writ_bytes body, struct writ_arena *, struct request_item *ret,
					    size_t max, size_t *ret_n);
WRIT_CHECKED struct writ_err *request_renew(struct writ_bytes body, struct writ_arena *, struct request_leaf *ret);

/* The query of application/pkcs10: nothing, or "lifetime_s=N". */
WRIT_CHECKED struct writ_err *request_lifetime_query(struct writ_bytes query, uint32_t *ret_s);

/* POST /v1/tasks/ID/approvals.  `because` goes with a refusal. */
struct request_approval {
	bool refuses;
	uint8_t digest[32];
	struct writ_bytes because;
};
WRIT_CHECKED struct writ_err *request_approval(struct writ_bytes body, struct writ_arena *,
					       struct request_approval *ret);

/* The query of GET /v1/tasks: "state=open" or "state=pending". */
WRIT_CHECKED struct writ_err *request_tasks_query(struct writ_bytes query, bool *ret_pending);

/* The query of GET /v1/log/entries: "from=N", "count=N", each at most once, in any order. */
#define REQUEST_ENTRIES_MAX 100
WRIT_CHECKED struct writ_err *request_entries_query(struct writ_bytes query, uint64_t *ret_from, unsigned *ret_count);

/* GET /v1/status/changes?epoch=HEX&from=N[&wait_ms=N] and /v1/status/table?epoch=HEX&at=N, in this order.  An epoch is 16
 * octets; who knows none says zeroes. */
WRIT_CHECKED struct writ_err *request_changes_query(struct writ_bytes query, uint8_t ret_epoch[16], uint64_t *ret_from,
						    uint32_t *ret_wait_ms);
WRIT_CHECKED struct writ_err *request_table_query(struct writ_bytes query, uint8_t ret_epoch[16], uint64_t *ret_at);

/* POST /v1/revocations: exactly one of the five; a principal that is an agent's class is a TARGET_CLASS. */
enum request_target { TARGET_EDGE, TARGET_SERIAL, TARGET_TASK, TARGET_PRINCIPAL, TARGET_CLASS, TARGET_ALL };
struct request_revoke {
	enum request_target target;
	struct writ_bytes id; /* edge, serial: 16 bytes; task, principal, class: text; all: empty */
	enum crl_reason reason;
	bool freeze; /* principal, class; always with all */
};
WRIT_CHECKED struct writ_err *request_revoke(struct writ_bytes body, struct writ_arena *, struct request_revoke *ret);

/* POST /v1/freezes/lift: a principal, a class, or all. */
WRIT_CHECKED struct writ_err *request_lift(struct writ_bytes body, struct writ_arena *, struct request_revoke *ret);

#endif
