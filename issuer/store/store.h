/*
 * The store: what the issuer must find again.  Tasks, those that wait for approvals, edges, leaves, evidence, once-keys, freezes, an outbox of
 * revocations and notes for the signer.
 *
 * Writing is one call, store_commit(items, n): one durable transaction for the whole group, a result per item; an item that fails (a conflict, a
 * revoked edge) changes nothing and does not disturb its neighbours.  When the transaction itself fails, store_commit() returns an error and
 * nothing at all was written.  Reading gives copies in the caller's arena.  Knows no policy, no certificate format, no key.
 * One contract test for every backend (tests/contract/store.c).  PostgreSQL will be the second.
 * Threading: one `struct store` a thread; one of them, opened STORE_WRITE, writes.  Errors: WRIT_UNAVAILABLE disk or server trouble; an fsync
 * error ends the process (I13).
 */
#ifndef WRIT_ISSUER_STORE_H
#define WRIT_ISSUER_STORE_H

#include "base/bytes.h"
#include "base/clock.h"

#define SERIAL_LEN 16
#define EDGE_ID_LEN 16
#define TASK_ID_MAX 59		/* octets: "task:" + id fits a CN of 64 (delegation.md 2) */
#define STORE_PRINCIPAL_MAX 512	/* octets of a principal URI (delegation.md 7) */

struct store;

enum store_mode { STORE_READ, STORE_WRITE };

#define STORE_PRUNE_MAX 500	/* rows one STORE_PRUNE takes: the writer is blocked meanwhile */

/* Facts kept of a task.  `state` changes by STORE_REVOKE of the task, of a task that encloses it or of everything, and by STORE_CLOSE; once. */
enum task_state { TASK_OPEN = 1, TASK_COMPLETE = 2, TASK_REVOKED = 3, TASK_EXPIRED = 4 };

struct store_task {
	struct writ_bytes id;
	struct writ_bytes opener;	/* principal URI */
	struct writ_bytes purpose;	/* may be empty */
	struct writ_bytes parent;	/* enclosing task, or empty */
	writ_time created, ends;	/* ends: no hop's not_after is later */
	enum task_state state;
	writ_time ended;		/* 0 while open */
};

enum edge_state { EDGE_LIVE = 1, EDGE_REVOKED = 2 };

/* One delegation: parent principal -> agent.  `hop` is the encoded DelegationHop, copied byte-equal into every leaf below. */
struct store_edge {
	uint8_t id[EDGE_ID_LEN];
	uint8_t parent[EDGE_ID_LEN];	/* all zero: the root edge of the task */
	struct writ_bytes task;
	struct writ_bytes delegator;	/* principal URI */
	struct writ_bytes agent;	/* principal URI: what the leaf's SAN says; the instance is ours (delegation.md 7) */
	uint8_t spki_sha256[32];	/* the child's key; the only one this edge ever certifies */
	unsigned depth_remaining;	/* left after this edge */
	writ_time granted_at, not_after;
	struct writ_bytes grant;	/* DER HopGrant, with what was copied down */
	struct writ_bytes hops;		/* DER of all hops, root first, this one last: contents of the leaf's SEQUENCE OF */
	struct writ_bytes context;	/* DER ContextRef, or empty */
	uint32_t max_lifetime_s;	/* of a leaf, by the rule that allowed the edge */
	enum edge_state state;
};

enum cert_state { CERT_GOOD = 1, CERT_REVOKED = 2, CERT_ABORTED = 3 };

struct store_cert {
	uint8_t serial[SERIAL_LEN];
	uint8_t edge[EDGE_ID_LEN];
	uint8_t issuer_key_id[20];
	uint8_t sha256[32];		/* of the whole DER certificate; zero when aborted */
	uint64_t log_index;
	writ_time not_before, not_after;
	enum cert_state state;
	unsigned reason;		/* RFC 5280 5.3.1 */
	writ_time revoked_at;		/* 0 while good */
	struct writ_bytes der;		/* writing: the certificate; reading: only from store_cert_der() */
};

#define STORE_PENDING_OPENER_MAX 32	/* tasks of one opener that wait at once (I14) */
#define STORE_PENDING_MAX 4096		/* of all openers: each is looked at when they are listed */

/* One waits until `expires`, inclusive; after that it has expired, which no state says. */
enum pending_state { PENDING_WAITING = 1, PENDING_OPENED = 2, PENDING_REFUSED = 3 };

struct store_approval {
	struct writ_bytes principal;
	writ_time at;
	bool refuses;
	struct writ_bytes because;	/* of a refusal; may be empty */
	uint8_t evidence[32];		/* digest of what was said, kept as evidence */
};

/*
 * A task that waits for approvals, whole as it was decided: nothing of it is in force, its id is reserved.  Task and edge are as they will be
 * opened, but for their times, which count from the opening unless the end is fixed; a root edge, in no enclosing task.
 */
struct store_pending {
	struct store_task task;		/* created: when it was asked for */
	struct store_edge edge;
	uint8_t digest[32];		/* of all that is asked: whoever approves names it */
	struct writ_bytes rule;		/* of the policy, that wants the approvals */
	unsigned needed;
	struct writ_bytes approvers;	/* patterns, a line each */
	writ_time expires;
	bool end_is_fixed;		/* it stays as it is at the opening: whoever signed named it */
	enum pending_state state;
	writ_time ended;		/* opened or refused; 0 while it waits */
	/* reading: */
	size_t n_given;			/* that approve */
	size_t n_approvals;		/* with a refusal, in order */
	struct store_approval *approvals;
};

/* What a principal says to one.  task and edge of the item: as opened now, if this is the last approval that it needs; refusing, none. */
struct store_approve {
	struct writ_bytes task;
	uint8_t digest[32];
	struct store_approval said;
};

/* A key that may be used once: grant (iss, jti), evidence digest, idempotency key. */
struct store_once {
	struct writ_bytes key;		/* "kind:..." and its parts; unique */
	writ_time expires;
};

/* A policy that was taken: the text behind the digest that leaves and entries carry. */
struct store_policy {
	uint8_t digest[32];
	uint64_t revision;		/* 0: it has none */
	struct writ_bytes id, text;
	writ_time since;		/* when it was taken; of one that came back, the last time */
};

/*
 * A request for a delegation that a policy denied, kept so that a new policy can be asked of it.  A principal has STORE_DENIED_SLOTS of them at most:
 * the same request takes the same slot again, another that falls on it replaces it.
 */
#define STORE_DENIED_SLOTS 64
struct store_denied {
	struct writ_bytes delegator;	/* principal URI */
	uint8_t slot;			/* by what is asked */
	uint8_t kind;			/* enum principal_kind */
	struct writ_bytes agent;	/* class URI */
	struct writ_bytes grant;	/* DER HopGrant, with what was copied down */
	unsigned depth;
	uint32_t ends_s, task_ends_s;	/* from `at` */
	uint8_t parent[EDGE_ID_LEN];	/* all zero: a root; else the edge of the leaf that authorised it */
	writ_time at;
};

/* What an idempotency key answered. */
struct store_answer {
	struct writ_bytes key;		/* "principal\0key" */
	uint8_t body_sha256[32];
	unsigned status;		/* HTTP */
	struct writ_bytes body;
	writ_time expires;
};

/* Kept texts behind digests: grants, purposes, contexts, refused and accepted requests. */
struct store_evidence {
	uint8_t digest[32];
	struct writ_bytes kind;		/* "mtls-cert", "hop-grant", "context", ... */
	struct writ_bytes bytes;
	writ_time expires;
};

enum store_op {
	/*
	 * task + its first edge; CONFLICT when the id is taken.  An enclosing task must be open.  The edge has no parent, or, in a sub-task, one in
	 * the enclosing task, which is then checked as for ADD_EDGE.  CONFLICT also when opener, delegator or agent is frozen.
	 */
	STORE_OPEN_TASK,
	/*
	 * child edge; re-checks that task is open, every ancestor edge live, no key among them blocked, no principal on any of them or on this edge
	 * frozen, the parent's newest leaf valid at `now`; CONFLICT when the key has an edge in the task already
	 */
	STORE_ADD_EDGE,
	/* a leaf; re-checks task, edge and every ancestor as ADD_EDGE does, and that the parent's newest good leaf lasts to not_after (L5) */
	STORE_ISSUE,
	STORE_ABORT,		/* a row in state aborted: signed, never released; its edge may be unknown.  Twice is once; CONFLICT on another row */
	/*
	 * by edge, leaf, task, principal, class, or everything: edges, all below, all unexpired serials; and an outbox row.  A task takes its sub-tasks
	 * along; everything ends every open task.  Twice is once: the first reason and time stay, and the second answer lists nothing new (but may
	 * still block a key, and freeze).
	 */
	STORE_REVOKE,
	/*
	 * a policy comes into force; CONFLICT when the last one had a revision and this one has none, a lower one, or the same with another content.
	 * The last one again is done at once.
	 */
	STORE_POLICY,
	STORE_OUTBOX_DONE,	/* the signer has acknowledged all of the revocations of these numbers; unknown ones are no error */
	STORE_PRUNE,		/* at most prune_max rows of what expired before `before`; what the outbox still owes stays */
	/* a task that waits; CONFLICT when the id is taken or reserved; EXHAUSTED over the limits above.  One that has ended gives way. */
	STORE_PEND,
	/*
	 * CONFLICT when the digest is another's, or it waits no longer.  Who opened it does not approve; a principal counts once, twice is once.
	 * The last approval opens task and edge, as STORE_OPEN_TASK, in the same transaction; when that is refused, so is the approval.  One
	 * refusal ends it.
	 */
	STORE_APPROVE,
	STORE_THAW,		/* lifts a freeze; NOT_FOUND when there is none.  What was revoked stays so (delegation.md R7) */
	STORE_CLOSE,		/* a task whose end is before `now` becomes expired; CONFLICT when it is not open or has not ended */
	STORE_NOTED,		/* the journal has the notes up to this number */
	STORE_DENIED,		/* a denied request is kept, for a day as the edges of what ended */
};

/* A class, "spiffe://TD/agent/CLASS", stands for all its instances, those to come as well. */
enum revoke_what { REVOKE_EDGE = 1, REVOKE_LEAF, REVOKE_TASK, REVOKE_PRINCIPAL, REVOKE_CLASS, REVOKE_ALL };

#define STORE_FREEZES_MAX 200	/* names frozen at once: what one answer can list; beyond it freeze a class, or everything */

struct store_revoke {
	enum revoke_what what;
	struct writ_bytes id;		/* edge id, serial, task id, principal URI, class URI; empty for everything */
	enum task_state end_task_as;	/* REVOKE_TASK: TASK_COMPLETE or TASK_REVOKED */
	unsigned reason;		/* of the origin; descendants get privilegeWithdrawn(9) (R2) */
	/*
	 * keyCompromise: refused for ever is the SPKI of that edge or leaf; of a principal or class, those of all edges that name it as agent.
	 * INVALID for a task and for everything, which have no key.
	 */
	bool block_key;
	/*
	 * A principal, a class, everything: and nothing new by it, nor for it, until STORE_THAW, known or not.  What waits for approvals and
	 * names it as opener, agent or approver is refused by `by`.  EXHAUSTED beyond STORE_FREEZES_MAX.
	 */
	bool freeze;
	struct writ_bytes by;		/* freeze: the principal who asked */
};

struct store_revoked {
	uint8_t serial[SERIAL_LEN];
	writ_time not_after;
	unsigned reason;
};

struct store_item {
	enum store_op op;
	/* in: */
	const struct store_task *task;			/* OPEN_TASK, APPROVE; CLOSE: its id */
	const struct store_edge *edge;			/* OPEN_TASK, ADD_EDGE, APPROVE */
	const struct store_pending *pending;		/* PEND */
	const struct store_approve *approve;		/* APPROVE */
	const struct store_cert *cert;			/* ISSUE, ABORT */
	const struct store_policy *policy;		/* POLICY */
	const struct store_revoke *revoke;		/* REVOKE; THAW: what and id */
	const struct store_denied *denied;		/* DENIED */
	const struct store_once *once;			/* with OPEN_TASK, PEND, ADD_EDGE, ISSUE */
	size_t n_once;
	const struct store_answer *answer;		/* with any; NULL without an Idempotency-Key */
	const struct store_evidence *evidence;		/* with any */
	size_t n_evidence;
	const uint64_t *done;				/* OUTBOX_DONE: numbers of the outbox */
	size_t n_done;
	/* with any; empty: none.  What the journal is to be told of this item: kept with it, in order, until STORE_NOTED */
	struct writ_bytes note;
	unsigned note_type;
	uint64_t noted;					/* NOTED */
	writ_time before;				/* PRUNE, */
	size_t prune_max;				/* at most so many rows; 0 or more than STORE_PRUNE_MAX: that */
	writ_time now;
	/* ADD_EDGE: children the parent may ever have; ISSUE: good unexpired leaves of the edge.  0: no limit; over it EXHAUSTED. */
	uint32_t children_max, leaves_max;
	/* out: */
	struct writ_err *result;			/* NULL: done.  The caller's to free */
	struct writ_arena *arena;			/* REVOKE: where both lists are put: some 40 bytes a serial; EXHAUSTED revokes nothing */
	struct store_revoked *revoked;			/* REVOKE: every unexpired serial it took, the origin edges below */
	size_t n_revoked;
	uint8_t (*edges)[EDGE_ID_LEN];			/* REVOKE: origin edges, unexpired, for revokedDelegations (R3): no other taken edge is above them */
	size_t n_edges;
	uint64_t owed;					/* REVOKE: for OUTBOX_DONE, once the signer has acknowledged all of it; 0: nothing was taken */
	size_t n_pruned;				/* PRUNE */
	enum pending_state pending_is;			/* APPROVE: what it is now, */
	size_t n_given;					/* with so many approvals */
};

/* Opens STATE/store; STORE_WRITE makes the schema, takes the lock and refuses a newer schema.  `uri`: "sqlite:/abs/path/writ.db". */
WRIT_CHECKED struct writ_err *store_open(const char *uri, enum store_mode, struct store **ret);
void store_close(struct store *);
void store_closep(struct store **);

/*
 * See above.  STORE_WRITE only.  Items are done in order, so one may build on another before it.  The out fields need not be cleared; results of an
 * earlier call must have been freed.
 */
WRIT_CHECKED struct writ_err *store_commit(struct store *, struct store_item *items, size_t n);

/*
 * Counts what may have been taken back of a task: while it is the same, what was read of it since is still so - task open, edges live, keys not
 * blocked - even if somebody else has written.  Has moved when the store_commit() that took something back returns.  Of the store that writes; any
 * thread.
 */
uint64_t store_revision(const struct store *, struct writ_bytes task);

/* The writer has nothing to do: the store may tidy up (SQLite: checkpoint).  Never fails; what could not be done is done later. */
void store_idle(struct store *);

/* Reads: WRIT_NOT_FOUND when there is none.  Copies into `arena`. */
WRIT_CHECKED struct writ_err *store_task(struct store *, struct writ_bytes id, struct writ_arena *, struct store_task *ret);
/* The newest of that id, whatever its state. */
WRIT_CHECKED struct writ_err *store_pending(struct store *, struct writ_bytes task, struct writ_arena *, struct store_pending *ret);
/*
 * Every one that waits at `now`, oldest first; grant, hops, context and approvals are not read, and texts are the callback's for the call.  Its
 * error ends it.
 */
typedef struct writ_err *store_each_pending(const struct store_pending *, void *ctx);
WRIT_CHECKED struct writ_err *store_pendings(struct store *, writ_time now, store_each_pending *, void *ctx);
WRIT_CHECKED struct writ_err *store_pendings_count(struct store *, writ_time now, uint64_t *ret);
/* Open tasks of an opener that end at `now` or later, newest first, at most `max`. */
WRIT_CHECKED struct writ_err *store_tasks_of(struct store *, struct writ_bytes opener, writ_time now, size_t max, struct writ_arena *,
					     struct store_task **ret, size_t *ret_n);
WRIT_CHECKED struct writ_err *store_edge(struct store *, const uint8_t id[EDGE_ID_LEN], struct writ_arena *, struct store_edge *ret);
WRIT_CHECKED struct writ_err *store_edge_by_key(struct store *, struct writ_bytes task, const uint8_t spki_sha256[32],
						struct writ_arena *, struct store_edge *ret);
/* Every edge of a task in order of granting. */
WRIT_CHECKED struct writ_err *store_edges(struct store *, struct writ_bytes task, struct writ_arena *, struct store_edge **ret,
					  size_t *ret_n);
WRIT_CHECKED struct writ_err *store_cert(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *, struct store_cert *ret);
WRIT_CHECKED struct writ_err *store_cert_der(struct store *, const uint8_t serial[SERIAL_LEN], struct writ_arena *,
					     struct writ_bytes *ret);
/* not_after of the newest good unexpired leaf of an edge; 0 when there is none. */
WRIT_CHECKED struct writ_err *store_newest_leaf(struct store *, const uint8_t edge[EDGE_ID_LEN], writ_time now, writ_time *ret);
/* Task open, the edge and every ancestor live?  `*ret_live` false names the dead one in `ret_dead`. */
WRIT_CHECKED struct writ_err *store_lineage_live(struct store *, const uint8_t edge[EDGE_ID_LEN], bool *ret_live,
						 uint8_t ret_dead[EDGE_ID_LEN]);
WRIT_CHECKED struct writ_err *store_answer(struct store *, struct writ_bytes key, writ_time now, struct writ_arena *,
					   struct store_answer *ret);
/* Was this store_once key used, and is it still remembered?  A look ahead: what counts is the commit's own. */
WRIT_CHECKED struct writ_err *store_once_used(struct store *, struct writ_bytes key, writ_time now, bool *ret);
WRIT_CHECKED struct writ_err *store_evidence(struct store *, const uint8_t digest[32], struct writ_arena *,
					     struct store_evidence *ret);
WRIT_CHECKED struct writ_err *store_key_blocked(struct store *, const uint8_t spki_sha256[32], bool *ret);

/*
 * For the start: every certificate not expired at `now`, and the number of every outbox row, in one pass each; the callback's error ends it.  Of a certificate
 * only serial, not_after, state, reason and revoked_at are read: there may be millions.
 */
typedef struct writ_err *store_each_cert(const struct store_cert *, void *ctx);
WRIT_CHECKED struct writ_err *store_live_certs(struct store *, writ_time now, store_each_cert *, void *ctx);
typedef struct writ_err *store_each_owed(uint64_t number, void *ctx);
WRIT_CHECKED struct writ_err *store_outbox(struct store *, store_each_owed *, void *ctx);
/* Origin edges revoked at or after `since`, unexpired when they were: revokedDelegations. */
typedef struct writ_err *store_each_edge(const uint8_t id[EDGE_ID_LEN], writ_time revoked_at, void *ctx);
WRIT_CHECKED struct writ_err *store_revoked_edges(struct store *, writ_time since, store_each_edge *, void *ctx);

/* The policy taken last. */
WRIT_CHECKED struct writ_err *store_policy_last(struct store *, struct writ_arena *, struct store_policy *ret);

/* Every edge that is still kept, oldest first.  Each is read into `arena`, which is cleared before the next; the callback may read more into it. */
typedef struct writ_err *store_each_whole_edge(const struct store_edge *, void *ctx);
WRIT_CHECKED struct writ_err *store_all_edges(struct store *, struct writ_arena *, store_each_whole_edge *, void *ctx);
/* Who is frozen.  A principal is frozen by its name, by its class, or with everything. */
struct store_freeze {
	enum revoke_what what;		/* REVOKE_PRINCIPAL, REVOKE_CLASS, REVOKE_ALL */
	struct writ_bytes id;		/* empty: everything */
	struct writ_bytes by;
	writ_time at;
};
typedef struct writ_err *store_each_freeze(const struct store_freeze *, void *ctx);
WRIT_CHECKED struct writ_err *store_freezes(struct store *, store_each_freeze *, void *ctx);
/* The nearest reason why this principal is frozen, of the three; 0: it is not. */
WRIT_CHECKED struct writ_err *store_frozen(struct store *, struct writ_bytes principal, enum revoke_what *ret);

/* Open tasks whose end is before `now`, at most `max`, oldest first. */
typedef struct writ_err *store_each_ended(struct writ_bytes task, writ_time ends, void *ctx);
WRIT_CHECKED struct writ_err *store_ended(struct store *, writ_time now, unsigned max, store_each_ended *, void *ctx);

/* What the journal has not been told, at most `max`, in order. */
typedef struct writ_err *store_each_note(uint64_t number, unsigned type, struct writ_bytes text, void *ctx);
WRIT_CHECKED struct writ_err *store_notes(struct store *, unsigned max, store_each_note *, void *ctx);

/* As store_all_edges(), of denied requests; by principal. */
typedef struct writ_err *store_each_denied(const struct store_denied *, void *ctx);
WRIT_CHECKED struct writ_err *store_all_denied(struct store *, struct writ_arena *, store_each_denied *, void *ctx);

struct store_counts {
	uint64_t tasks_open, edges_live, certs_good, certs_revoked, certs_aborted;	/* certificates: unexpired */
	uint64_t frozen;		/* names */
};
WRIT_CHECKED struct writ_err *store_counts(struct store *, writ_time now, struct store_counts *ret);

#endif
