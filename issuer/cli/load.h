/*
 * writ load from inside: many agents, each from its task to its end, and every status they are told of compared.
 *
 *	load.c		the command: options, phases, the report
 *	load_agents.c	one agent: task, first leaf, renewals, completion
 *	load_calls.c	the requests that they make, over libcurl
 *	load_status.c	whom OCSP and CRLs are asked of, and when again
 *	load_watch.c	what OCSP and CRL must say of every serial, and whether they did
 *	load_stats.c	counts and latencies
 *
 * Speaks the public API alone and knows nothing of how an issuer works, so what it finds a client would find.
 * Threading: one thread.
 */
#ifndef WRIT_ISSUER_CLI_LOAD_H
#define WRIT_ISSUER_CLI_LOAD_H

#include <curl/curl.h>
#include <jansson.h>
#include <openssl/evp.h>

#include "base/clock.h"
#include "issuer/cli/cli.h"
#include "issuer/x509/ca.h"
#include "issuer/x509/ocsp.h"

#define LOAD_AGENTS_MAX 100000
#define LOAD_STATUS_MAX 8
#define LOAD_AGREE_MS 1000 /* an answer that is wrong so long after what it should tell disagrees */
#define LOAD_LIST_GRACE_MS                                                                                             \
	7000 /* until a revocation must be in the CRL: delegation.md R3, resident, and its transport */
#define LOAD_LIST_EVERY_MS 5000

/* ---- load_stats.c ---- */

/* Latencies in buckets of at most 1/16 of their value, from 1 us to an hour. */
#define LOAD_BUCKETS 512
struct load_latency {
	uint64_t n, max_us;
	uint64_t bucket[LOAD_BUCKETS];
};
void load_latency_add(struct load_latency *, int64_t us);
double load_latency_ms(const struct load_latency *, double quantile); /* 0.5, 0.99, ... */

/* What is measured, a line of the report each. */
enum load_what {
	LOAD_TASK,
	LOAD_FIRST,
	LOAD_RENEWAL,
	LOAD_COMPLETION,
	LOAD_REVOCATION,
	LOAD_OCSP,
	LOAD_RESPONDER,
	LOAD_CRL,
	LOAD_WHATS
};
const char *load_what_name(enum load_what);

struct load_count {
	struct load_latency took;	 /* of those that did what was asked */
	uint64_t later, refused, failed; /* 429 and 503; other answers; no answer */
};

/* ---- load_watch.c ---- */

/* While its end is asked for and not acknowledged, either answer is right. */
enum load_state { LOAD_LIVE, LOAD_ENDING, LOAD_ENDED };

/* One issuing CA and one of its lists, known from the leaves and their chains. */
struct load_ca {
	struct writ_buf pem, der;
	struct ca_cert cert; /* views into `der` */
	struct ocsp_issuer ocsp;
	char crl_path[80]; /* "/crl/KEYID.crl", or a shard's: what its leaves name; empty: they name none */
	writ_time last_not_after; /* of them */
	int64_t next_list_ms;
};

struct load_serial {
	uint8_t serial[16];
	uint32_t ca;
	uint8_t state; /* enum load_state; 0xff: free */
	writ_time not_after;
	int64_t ended_ms; /* monotonic, when the end was acknowledged */
};

/* What one responder, or all of --status together, said. */
struct load_words {
	uint64_t compared, disagreed, stale; /* answers; wrong for too long; wrong at first */
	struct load_latency until_seen;	     /* from an acknowledged end to the first answer that says so */
};

struct load_watch {
	struct load_ca *cas;
	size_t n_cas;
	struct load_serial *serials; /* open addressing, a power of two */
	size_t n_serials, room;
	uint64_t disagreed;    /* by anyone */
	struct load_words own; /* the issuer's: --status, and lists */
	struct load_words others[LOAD_STATUS_MAX];
	char first[256]; /* the first disagreement, in words */
};

/* The CA of that PEM with the list that the leaf (PEM too) names, added when it is new; its number in `*ret`. */
WRIT_CHECKED struct writ_err *load_watch_ca(struct load_watch *, struct writ_bytes pem, struct writ_bytes leaf_pem,
					    uint32_t *ret);
WRIT_CHECKED struct writ_err *load_watch_issued(struct load_watch *, const uint8_t serial[16], uint32_t ca,
						writ_time not_after);
void load_watch_ending(struct load_watch *, const uint8_t serial[16]);
void load_watch_ended(struct load_watch *, const uint8_t serial[16], int64_t now_ms);
const struct load_serial *load_watch_find(const struct load_watch *, const uint8_t serial[16]);

/* Is that response one to believe, verified with its CA, and does it say good? */
bool load_watch_ocsp(const struct load_watch *, const struct load_serial *, struct writ_bytes response, writ_time now,
		     bool *ret_good);

/* A list of that CA, fetched from `asked_ms` on: every serial that we know is compared with it. */
void load_watch_list(struct load_watch *, uint32_t ca, struct writ_bytes der, int64_t asked_ms, writ_time now);

void load_watch_disagrees(struct load_watch *, struct load_words *, const uint8_t serial[16], const char *source,
			  const char *said, int64_t for_ms);
/* Forgets what has expired. */
void load_watch_prune(struct load_watch *, writ_time now);
void load_watch_done(struct load_watch *);

/* ---- load_status.c ---- */

/* What OCSP must say of a serial, asked until it does. */
struct load_question {
	struct load_question *next; /* in load.questions: waits for its time */
	int64_t wake_ms;
	uint8_t serial[16];
	bool want_good;
	int responder;	  /* of plan.responders; -1: of --status, in turn */
	unsigned wrong;	  /* answers so far that were */
	int64_t since_ms; /* when what we expect was acknowledged */
};

struct load;
struct load_call;

/* From now on the serial is good, or ended: one of --status is asked, and every responder. */
WRIT_CHECKED struct writ_err *load_status_ask(struct load *, const uint8_t serial[16], bool want_good);
/* Asks what is due, lists too. */
WRIT_CHECKED struct writ_err *load_status_turn(struct load *);
/* At most `max` ms, and less when a question is due before. */
int load_status_wait_ms(const struct load *, int max);
WRIT_CHECKED struct writ_err *load_status_took(struct load *, struct load_call *, CURLcode, long status);
void load_status_done(struct load *);

/* ---- load_agents.c ---- */

struct load_plan {
	const char *api, *ca, *cert, *key;
	const char *status[LOAD_STATUS_MAX], *responders[LOAD_STATUS_MAX];
	size_t n_status, n_responders;
	json_t *body; /* of POST /v1/tasks, without the key */
	uint32_t agents;
	uint32_t duration_s, lifetime_s, life_s;
	uint32_t renew_s;     /* renew that often; 0: when the issuer says */
	double rate;	      /* new tasks a second; 0: closed loop */
	bool storm;	      /* all renew at the same moment, every renew_s */
	uint32_t partition_s; /* silence from the middle of the run on */
	bool revoke;	      /* tasks end by a revocation of their edge, not by completion */
};

struct load_agent;

struct load {
	const struct load_plan *plan;
	struct load_count counts[LOAD_WHATS];
	struct load_watch watch;
	CURLM *multi;
	struct load_agent *agents;
	struct load_call *calls; /* all, for the end */
	size_t n_calls, turn;	 /* in flight; which status address is next */
	struct load_question *questions;
	uint64_t tasks, missed; /* opened; not begun because every agent was busy (open loop) */
	int64_t began_ms, now_ms, end_ms;
	double due;	   /* tasks due so far (open loop) */
	size_t busy;	   /* agents between task and end */
	bool ending;	   /* no new tasks */
	bool stop;	   /* a signal: end now */
	char refusal[512]; /* the first one, in words */
};

WRIT_CHECKED struct writ_err *load_start(struct load *, const struct load_plan *);
/* One turn: begins what is due, waits at most 20 ms for answers, takes them. */
WRIT_CHECKED struct writ_err *load_turn(struct load *);
/* The time is over: every task ends now, and none begins.  Again each turn: some were asking. */
void load_end_all(struct load *);
bool load_idle(const struct load *);
void load_done(struct load *);

#endif
