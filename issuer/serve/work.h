/*
 * One request on its way: an object from its loop's pool that moves from stage to stage and is answered once.
 *
 * It holds everything the request needs - texts in its arena, the store's item, the signer's call - so that a stage
 * allocates nothing but what its parts append.  Threading: the loop's thread, but while its job is the writer's (then
 * the writer's alone).
 */
#ifndef WRIT_ISSUER_SERVE_WORK_H
#define WRIT_ISSUER_SERVE_WORK_H

#include "issuer/serve/answer.h"
#include "issuer/serve/known.h"
#include "issuer/serve/proof.h"
#include "issuer/serve/request.h"
#include "issuer/serve/serve.h"
#include "issuer/serve/turns.h"
#include "issuer/serve/writer.h"

#define WORK_ARENA_MAX (512 * 1024) /* bytes: a body of 64 KiB, two grants, eight hops; a task with its edges */
#define WORK_ANSWER_STATUS 201

struct route;
struct batch;

struct work {
	struct work *next_free;
	struct serve_loop *on;
	struct http_later *later;     /* NULL: an item of a batch */
	struct http_request *request; /* until answered; an item's is its batch's */
	struct batch *batch;	      /* whose item this is; NULL: of none */
	size_t batch_at;
	const struct route *route;
	struct turn turn;			/* shares.h */
	struct writ_err *(*begin)(struct work *); /* when its turn has come */
	uint64_t root;				/* whose share it is taken from once that is proven; 0: nobody's any more */
	struct writ_bytes path_id; /* {id} of the path */
	struct rules *rules;
	const struct identity *who; /* NULL: no certificate, and no grant */
	struct proof proof;	    /* new edges: how `who` was authenticated */
	struct clock now;	    /* when it was decided */
	struct writ_arena arena;
	uint8_t id[8]; /* request id: in the journal and in events */

	/* idempotency */
	struct writ_bytes once; /* principal NUL key; empty: none */
	uint8_t once_body[32];

	/* store */
	struct job job;
	struct store_task task;
	struct store_edge edge;
	struct store_cert cert;
	struct store_revoke revoke;
	struct store_answer kept;
	struct store_evidence evidence[5];
	/* approvals: approve.c */
	struct store_pending pending;
	struct store_approve approve;
	struct writ_buf answer; /* built before the commit, so that it can be kept with it */

	/* issuance: issue.c */
	struct lineage lineage;
	struct held *held; /* whose texts those of the lineage are; NULL: the arena's */
	uint64_t revision; /* the store's, before anything of the task was read, or opened */
	struct verdict verdict;
	const struct store_denied *denied; /* what a refusal keeps; NULL: nothing */
	struct request_leaf asked;
	struct csr csr; /* empty: a renewal */
	bool renewal, flying;
	struct issuing *issuing; /* what it is built with, counted; NULL before it is decided */
	struct work *flight_prev, *flight_next;
	uint64_t flight;
	struct link_call call;
	struct writ_buf delegation, tbs, der, staple;
	struct leaf leaf; /* the TBS read back */
	int64_t stage_ms; /* when the present stage began */
};

struct work *work_take(struct serve_loop *, struct http_request *);
/* One that answers to a batch, for the same caller under the same rules. */
struct work *work_item(struct work *parent, struct batch *, size_t at);
void work_free(struct work *); /* of the pool */

/* Each answers and gives the work back to its pool. */
void work_answer(struct work *, unsigned status, struct writ_bytes body); /* JSON */
void work_answer_as(struct work *, unsigned status, const char *content_type, struct writ_bytes body);
void work_fail(struct work *, struct writ_err *); /* takes the error */
void work_refuse(struct work *, const struct verdict *);
void work_problem(struct work *, const struct problem *);

/* A denial of our own making, not the policy's: rule, what was asked, what is allowed, what to do. */
void work_deny(struct work *, const char *rule, struct writ_bytes value, const char *limit, const char *hint);

/* The same, counted and told to journal and events only: what is answered says less. */
void work_note_denial(struct work *, const char *rule, struct writ_bytes value, const char *limit);

/*
 * Idempotency: `who` is the principal, or the key's digest in hex.  True when the request was answered here (an earlier
 * answer, or a conflict) or failed; false: go on.
 */
bool work_once(struct work *, struct writ_bytes who);
/* Sets item.answer so that work->answer is kept with the commit. */
void work_keep_answer(struct work *);

/* A job of the loop, with its op and its part of the item, to the writer at the end of this wake-up. */
void work_put_job(struct serve_loop *, struct job *);

/* Hands the job to the writer at the end of this wake-up; `done` runs on this loop afterwards. */
void work_store(struct work *, enum store_op, void (*done)(struct job *));
static inline struct work *
work_of_job(struct job *job)
{
	return (struct work *)((char *)job - offsetof(struct work, job));
}
static inline struct work *
work_of_call(struct link_call *call)
{
	return (struct work *)((char *)call - offsetof(struct work, call));
}

/* "spiffe://...", or "address 127.0.0.1" of who has no certificate. */
struct writ_bytes work_who(struct work *);

#endif
