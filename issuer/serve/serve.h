/*
 * What the threads of the issuer share, and what each loop has of its own.
 *
 * N loop threads (TLS, HTTP, parse, authenticate, decide, build), one store writer, and the keeper (the main thread),
 * which holds the signer's connections, publishes lists and reloads rules.  Read issue.c first: the life of one
 * issuance. A `struct serve` is read-only once the loops run, but for what is marked atomic or belongs to a thread
 * named here.
 */
#ifndef WRIT_ISSUER_SERVE_SERVE_H
#define WRIT_ISSUER_SERVE_SERVE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/event.h"
#include "issuer/serve/admission.h"
#include "issuer/serve/link.h"
#include "issuer/serve/metrics.h"
#include "issuer/serve/once.h"
#include "issuer/serve/rules.h"
#include "issuer/status/changes.h"
#include "issuer/status/status.h"
#include "issuer/store/store.h"
#include "policy/policy.h"

#define LOOPS_MAX 64

/* What leaves are built with: the signer's welcome and issuing CAs, read.  A copy for each loop, counted by that loop's requests. */
struct issuing {
	unsigned refs;
	struct writ_arena arena;
	struct writ_bytes chain; /* the issuing CA as answers give it: JSON */
	struct leaf_issuer leaf;
	writ_time not_after; /* of the issuing CA */
	struct ocsp_issuer ocsp;
	size_t n_all; /* every live issuing CA: whose serials we answer for */
	struct ocsp_issuer all[SIGNER_GENERATIONS_MAX];
};
struct cas;
WRIT_CHECKED struct writ_err *issuing_new(const struct signer_welcome *, const struct cas *, struct writ_bytes trust_domain,
					  const char *status_url, struct issuing **ret);
struct issuing *issuing_ref(struct issuing *);
void issuing_unref(struct issuing *);

struct known;
struct work;
struct roots;
struct turns;
struct writer;
struct job;

/* An edge that had as many live leaves as it may have: asked again at once, it costs no signature. */
#define EDGES_FULL 256
#define EDGE_FULL_MS 5000
struct edge_full {
	uint8_t edge[EDGE_ID_LEN];
	int64_t until_ms;
};

struct serve_loop {
	struct serve *serve;
	unsigned number;
	pthread_t thread;
	struct loop *loop;
	struct http_handler api, plain;
	/* the loop's thread only: */
	struct store *store;
	struct link *link;
	struct status_front *front;
	struct rules *rules;
	struct issuing *issuing; /* NULL: the signer is away, or was never there */
	struct clock_guard guard;
	uint32_t clock_accepted; /* of serve's, as far as this loop has heard */
	struct work *free;	      /* pool */
	struct turns *turns;	      /* who issues when: shares.h */
	size_t n_at_signer;	      /* leaves */
	size_t n_statuses;	      /* OCSP questions at the signer, or on their way */
	struct roots *roots;	      /* of tasks seen lately */
	uint64_t first_request, n_requests; /* request ids: from a random number on; a name, not a secret */
	size_t n_batched;	      /* items of batches under way */
	struct job *jobs, **jobs_end; /* for the writer, handed over at the end of the wake-up */
	size_t n_jobs;
	struct edge_full full[EDGES_FULL];
	struct follower *followers; /* feed.c: responders that wait for a change */
	unsigned n_followers;
	atomic_bool followed, follow_posted; /* for the writer: somebody waits; the loop has been told */
	struct work *flying, *flying_last; /* issuances from LEAF sent to row durable, oldest first */
	/* For SETTLED: numbers of issuances; everything below `settled` is done with. */
	uint64_t next_flight;
	atomic_uint_least64_t begun, settled;
};

/* Work that may take a while and is nobody's hurry: run by the keeper, one after the other. */
struct errand {
	struct errand *next;
	void (*run)(struct errand *);
};

/* What the keeper knows of the signer, for /healthz. */
struct signer_seen {
	bool up;
	struct signer_health health;
	enum leaf_tier tier;
	bool sealed;
	size_t n_keys;
	uint8_t keys[SIGNER_GENERATIONS_MAX][20]; /* newest first */
	uint64_t log_next;
	char why[200]; /* while it is not up */
};

struct keeper;
struct serve {
	struct conf conf;      /* as read at the start */
	struct keeper *keeper; /* its thread's alone, in errands */
	struct metrics metrics;
	struct admission *admission;
	struct once *once;
	struct known *known;
	struct status_table *status;
	struct status_changes *changes; /* of it, for responders */
	struct publish *publish;
	struct writer *writer;
	unsigned n_loops;
	struct serve_loop loops[LOOPS_MAX];

	/* Signer: the keeper's, told to the others. */
	atomic_bool lost;	    /* somebody saw it go: the keeper cuts every link and begins anew */
	atomic_uint open_links;	    /* loops whose link is open */
	sem_t done;		    /* a loop has done what the keeper told it */
	sem_t wake;		    /* the keeper has something to do */
	atomic_int_least64_t fetch_asked_ms; /* when writ-fetchd was last asked for keys */
	atomic_bool list_due;	    /* a revocation: the CRL is due */
	atomic_int_least64_t floor; /* time of the newest journal entry seen at recovery */
	atomic_uint clock_accepted; /* how often an operator accepted a time that stepped: every guard follows */

	pthread_mutex_t errands_lock;
	struct errand *errands, **errands_end; /* under the lock */
	bool stopping;			       /* under the lock */

	pthread_mutex_t seen_lock;
	struct signer_seen seen; /* under the lock */
	bool store_failed;	 /* under the lock: the last commit failed */
	char store_why[200];
};

/* Any thread: the signer's connection broke.  Takes `why`. */
void serve_signer_lost(struct serve *, struct writ_err *why);

/* Any thread: hands an errand to the keeper; false: it stops, and takes none. */
bool serve_errand(struct serve *, struct errand *);

/* A loop's part: made before its thread, run in it. */
WRIT_CHECKED struct writ_err *serve_loop_new(struct serve *, unsigned number, struct rules *);
void serve_loop_free(struct serve_loop *);

/* The loop's clock allows issuing? */
WRIT_CHECKED struct writ_err *serve_clock_check(struct serve_loop *, struct clock now);

/* Posted to a loop by the keeper; they take what they are given. */
void serve_link_open(struct serve_loop *, int sock, struct issuing *);
void serve_issuing(struct serve_loop *, struct issuing *); /* a new generation: links and requests under way stay */
void serve_link_cut(struct serve_loop *); /* then serve->done is posted */
void serve_rules(struct serve_loop *, struct rules *);

/* The plain listener, plain.c: /healthz, /metrics, and the front for the rest. */
void serve_plain(struct http_request *, void *loop);

#endif
