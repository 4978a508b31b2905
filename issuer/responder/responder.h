/*
 * The responder: a process without any key of a CA, which answers for the status of an issuer's certificates.
 *
 *	follow.c	what the issuer says of its certificates, in order, into the status table
 *	documents.c	what it publishes, fetched and published here
 *	ask.c		answers that no loop has ready, fetched from the issuer and verified
 *	plain.c		the listener: OCSP while our knowledge is fresh, documents, /healthz, /metrics
 *	main.c		the process
 *
 * (1) Good is said of what the table holds as good, and by nobody but the issuer: what is passed on was signed by its
 *     responder, and says so of the certificate asked about.
 * (2) Knowledge is as old as the last question for changes whose answer lacked none, counted from when it was asked.
 *     Older than `lag_max_s`, or before there is any: tryLater.  So no good is heard here `lag_max_s` after a
 *     revocation was acknowledged, whatever fails (HTTP caches aside, as at the issuer).
 * (3) A table that is read anew replaces the old one whole, when no change is missing in it; until then the old one is
 *     spoken from, as long as (2) allows.
 *
 * Threads: N loops, each with a front; the follower (the main thread), which alone writes the table and speaks with the
 * issuer.
 */
#ifndef WRIT_ISSUER_RESPONDER_RESPONDER_H
#define WRIT_ISSUER_RESPONDER_RESPONDER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "issuer/responder/web.h"
#include "issuer/status/feed.h"
#include "issuer/x509/ca.h"

#define RESPONDER_LOOPS_MAX 64
#define RESPONDER_ASKS 64	/* on their way to the issuer at once */
#define RESPONDER_ASKS_MAX 4096 /* and waiting for that: one more is tryLater */
#define RESPONDER_CAS_MAX 512	/* twice the issuing CAs that an issuer has at once */

struct responder;

struct responder_loop {
	struct responder *responder;
	unsigned number;
	bool made;
	pthread_t thread;
	struct loop *loop;
	struct http_handler handler;
	struct status_front *front;
	struct status_table *table; /* the one it speaks from */
};

/* An issuing CA that we answer for. */
struct known_ca {
	char path[FEED_PATH_MAX + 1];
	struct ocsp_issuer ocsp;
	struct writ_buf spki;
};

/* A document that is published here. */
struct held_document {
	char path[FEED_PATH_MAX + 1], sha256[2 * SHA256_LEN + 1];
	uint64_t number; /* of a list; 0: another document */
	bool listed;
};

enum responder_count {
	COUNT_CHANGES,
	COUNT_EPOCHS,
	COUNT_RESYNCS,
	COUNT_FEED_FAILED,
	COUNT_ASKED,
	COUNT_ASK_FAILED,
	COUNT_DOCUMENTS,
	COUNT_DOCUMENTS_FAILED,
	COUNT_STALE, /* OCSP requests while our knowledge was too old */
	COUNT_N
};

/* follow.c's */
struct follow {
	struct way way;
	bool begun;		       /* there was a beginning */
	bool known;		       /* epoch and from mean something */
	bool walking;		       /* pages of the table are being read */
	struct status_table *building; /* NULL: changes go to the table in use */
	uint8_t epoch[STATUS_EPOCH_LEN];
	uint64_t from, at;
	int64_t sent_ms, due_ms, retry_ms, prune_ms;
};

/* documents.c's */
struct documents {
	struct way list_way, way;
	uint64_t wanted_version, asked_version, version; /* of the issuer: as it said last; being fetched; here */
	uint32_t life, asked_life;			 /* of the issuer: a version of another one means nothing */
	bool have, stale; /* have: once whole; stale: something was not what the list said */
	int64_t due_ms;
	struct writ_buf list;
	struct writ_bytes rest; /* of the list: what is still to be looked at */
	struct feed_document now;
	struct held_document *held;
	size_t n_held, cap_held;
	struct known_ca cas[RESPONDER_CAS_MAX];
	size_t n_cas;
};

struct ask;

struct responder {
	struct conf_responder conf;
	struct web web;
	struct status_table *table; /* the follower's: the one in use */
	struct publish *publish;
	unsigned n_loops;
	struct responder_loop loops[RESPONDER_LOOPS_MAX];
	sem_t done; /* a loop has done what it was told */

	struct follow follow;
	struct documents documents;

	/* (2): monotonic; 0: nothing is known yet. */
	atomic_int_least64_t fresh_ms;
	atomic_bool ready; /* table and documents were whole once */
	atomic_uint_least64_t sequence;
	atomic_int_least64_t offset_ms; /* the issuer's clock less ours */
	atomic_uint_least64_t counts[COUNT_N], good, revoked, bytes;
	pthread_mutex_t why_lock;
	char why[200];	   /* under the lock: the last failure of the feed; empty: none */
	int64_t warned_ms; /* the follower's: of an answer that was not believed */

	/* ask.c's */
	pthread_mutex_t asks_lock;
	struct ask *asks, **asks_end; /* under the lock: not begun */
	atomic_uint n_asks;	      /* all there are */
	struct ask *flying[RESPONDER_ASKS];
	struct way ask_ways[RESPONDER_ASKS];
};

static inline void
responder_count(struct responder *r, enum responder_count which, uint64_t n)
{
	atomic_fetch_add_explicit(&r->counts[which], n, memory_order_relaxed);
}

/* (2).  Any thread. */
bool responder_fresh(struct responder *, int64_t now_ms);

/* Runs fn(loop) on every loop's thread, and waits until all have; fn posts nothing. */
void responder_on_loops(struct responder *, void (*fn)(struct responder_loop *, void *arg), void *arg);

WRIT_CHECKED struct writ_err *follow_init(struct responder *);
void follow_done(struct responder *);
/* Does what is due; how many ms until something else is. */
int follow_step(struct responder *, struct clock now);

WRIT_CHECKED struct writ_err *documents_init(struct responder *);
void documents_done(struct responder *);
int documents_step(struct responder *, struct clock now);
/* The issuer publishes version `version`; it is another issuer than before. */
void documents_version(struct responder *, uint64_t version);
void documents_life(struct responder *);
/* The CA that a request is about; NULL: none that we know. */
const struct known_ca *documents_ca(const struct responder *, const struct ocsp_request *);

WRIT_CHECKED struct writ_err *asks_init(struct responder *);
void asks_done(struct responder *);
void asks_step(struct responder *);
/* The front's `ask`; ctx is the loop.  Its thread. */
bool ask_take(void *loop, struct writ_bytes cert_id, struct writ_bytes nonce, void *token);

/* The listener's handler; ctx is the loop. */
void plain_request(struct http_request *, void *loop);

#endif
