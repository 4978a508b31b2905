/*
 * The signer from inside: what its parts share.  Read serve.c first: a wake-up of the loop; then messages.c: the table of what is allowed when.
 *
 *	gate.c		is this TBS a leaf of ours, now?				pure
 *	ledger.c	live serials: issued, and how they ended			no I/O
 *	ledger_lists.c	what CRLs must say						no I/O
 *	ledger_tell.c	all that the ledger holds, told to a snapshot			no I/O
 *	attest.c	custody statements, for auditors
 *	entries.c	what is written into the journal
 *	replay.c	what a start finds: a snapshot, and the entries behind it
 *	softkey.c	P-256 keys in memory, wrapped at rest
 *	users.c		who may connect, and to whom we connect
 *	device.c	the connection to writ-deviced: comes, goes, is never waited for
 *	device_state.c	up, degraded, down, locked						no I/O
 *	keys.c		anchor, signing, certifying; what the gate knows of the keys; OCSP certificates
 *	generation.c	one issuing CA generation: made, kept, loaded, destroyed
 *	rotate.c	which generation signs, when the next one is made ready and takes over, when an old one goes
 *	key_revoke.c	an issuing CA's certificate goes into the anchor's list
 *	restore.c	an older copy, and the newest there is, made the newest again
 *	state.c		is this state directory the newest?  The device's counter says
 *	operator.c	an anchor whose PIN is an operator's: in use while writ init or writ rotate runs
 *	lists.c		CRLs of the issuing CAs, in slices; shards
 *	publish.c	the anchor's CRL, OCSP responses
 *	issue.c		LEAF: gate, serial, journal, signature
 *	resident.c	LEAF in the resident tier: waits for the device first, in queue.c's order
 *	conn.c		connections: packets in, answers out
 *	messages.c	what the issuer may ask, and when
 *	admin.c		RUN/admin.sock: what an operator may ask
 *	serve.c		the loop, housekeeping, start and end
 *	ceremony.c	`writ init`: the anchor, the first generation, the folders
 *
 * One thread.  Order in a wake-up: read and judge everything, journal it, one fdatasync, then sign and answer; nothing leaves before (I2, I3).
 */
#ifndef WRIT_ISSUER_SIGNER_SIGNER_H
#define WRIT_ISSUER_SIGNER_SIGNER_H

#include <limits.h>

#include "hsm/wire.h"
#include "issuer/conf/conf.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/log/transcript.h"
#include "issuer/signer/device_state.h"
#include "issuer/signer/gate.h"
#include "issuer/signer/ledger.h"
#include "issuer/signer/queue.h"
#include "issuer/signer/softkey.h"
#include "issuer/signer/wire.h"
#include "issuer/x509/ca.h"
#include "issuer/x509/ocsp.h"

#define SIGNER_BACKDATE_S 30		/* notBefore and thisUpdate lie this far behind (DESIGN.md, Clock) */
#define SIGNER_DEVICE_QUEUE_MS 4000	/* of work at the pace of late: beyond, a leaf does not come into the queue: UNAVAILABLE */
#define SIGNER_DEVICE_WAIT_MS 5000	/* a leaf that did and has waited this long, the pace having changed: UNAVAILABLE */
#define SIGNER_QUEUE_MAX QUEUE_MAX	/* leaves under way at once (resident tier: waiting too); beyond: UNAVAILABLE;
					 * and of a connection SIGNER_CONN_LEAVES_MAX (wire.h) */

#define GENERATION_AFTER_S 1200		/* from the end of signing to notAfter: a leaf's 900 s, the overlap, and clocks that differ */
#define GENERATION_OVERLAP_S 120	/* leaves that name the generation before are signed for so long after it was replaced */
#define GENERATIONS_MAX SIGNER_GENERATIONS_MAX
#define GENERATIONS_FORCED_MAX (GENERATIONS_MAX - 16)	/* by operators: the rest is for rotations that come by themselves */
#define ANCHOR_LEFT_MIN_S 86400		/* what an owner's certificate must have left at the ceremony */
#define ANCHOR_LIFE_S (3653LL * 86400)	/* 10 years */
#define RESPONDER_LIFE_S 3600
#define CRL_LIFE_S 180
#define CRL_AGE_MAX_S 60		/* an unchanged list is made anew from here on */
#define ANCHOR_CRL_LIFE_S 86400
#define ANCHOR_CRL_AGE_MAX_S 43200
#define OCSP_LIFE_S 120

#define SHARDS_MAX 64			/* lists of one generation at once: then the last one grows beyond its size */
#define CRL_ASKS_MAX 16			/* lists that are waited for at once: the issuer asks for one after the other */

#define QUARANTINE_WHY 160

/* A list made, in a sealed memfd. */
struct crl_made {
	int fd;				/* -1: none yet */
	struct signer_crl_is is;
	uint64_t changes;		/* of the ledger, when it was made */
};

/* An issuing CA's list: the only one, or a shard. */
struct crl_list {
	unsigned shard;
	bool with_idp;			/* made so */
	writ_time replaced_at;		/* when the next one began, as far as we saw ourselves; 0: it is the last, or we did not */
	struct crl_made made;
};

/* lists.c: a list on its way. */
struct crl_build {
	enum { CRL_BUILD_NONE, CRL_BUILD_COPY, CRL_BUILD_JOURNALLED, CRL_BUILD_TRIM } stage;
	uint8_t key_id[20];
	unsigned shard;
	bool with_idp;
	size_t n_entries, entries_len, at;	/* bytes of entries, and how many of them are copied */
	size_t begin, tbs_len;		/* where the TBSCertList begins in the memfd, and how much of it is there */
	struct writ_buf tail;
	struct writ_sha256 hash;
	uint8_t digest[SHA256_LEN];	/* of the TBSCertList; */
	uint64_t durable_at;		/* journalled: signed when the journal is durable up to here */
	struct crl_made made;		/* its memfd until it is the list's */
};

struct crl_ask {
	struct conn *conn;
	uint64_t id;
	uint8_t key_id[20];
	unsigned shard;
	bool begun;			/* the list under way was begun for it */
};

/* One issuing CA: made ready, then current, then retired; which of them, its number says (rotate.c). */
struct generation {
	uint64_t number;		/* each is one over that before; the device seals it under this; in its key's file, authenticated */
	struct writ_buf der;		/* its certificate, */
	struct ca_cert cert;		/* read: views into it */
	struct ocsp_issuer ocsp;
	struct soft_key soft;		/* sealed tier; else empty */
	struct writ_buf ref;		/* resident tier: how the device loads it; else empty */
	bool in_device;			/* resident tier: `handle` is of this connection */
	uint32_t handle;
	char quarantine[QUARANTINE_WHY];/* the device signed wrongly with it: why it is not used; else empty */
	struct pubkey public;		/* to verify what the device signed */
	char crl_url[SIGNER_URL_MAX];	/* what its leaves name: those of the first shard */
	writ_time signs_until;		/* notAfter - GENERATION_AFTER_S */
	writ_time accepted_until;	/* retired: leaves that name it are signed until then */
	bool revoked;			/* key_revoke.c: no leaf is signed, and none is good */
	int64_t retired_ms;		/* monotonic: since when it signs no new ones, as far as we saw ourselves */
	struct writ_buf responder;	/* certificate of our OCSP key by this CA; empty: none yet */
	writ_time responder_from, responder_until;
	size_t n_lists;			/* as the ledger has shards */
	struct crl_list *lists;
};

struct keys {
	enum leaf_tier tier;		/* what leaves assert: seen at the device, and in the certificates */
	bool sealed;			/* configured: issuing keys in memory */
	struct writ_buf anchor_der, anchor_ref;
	struct ca_cert anchor;
	struct pubkey anchor_public;
	bool anchor_in_device;
	uint32_t anchor_handle;
	char anchor_quarantine[QUARANTINE_WHY];
	struct crl_made anchor_crl;
	bool without_secrets;		/* generations are loaded to be given up (restore.c) */
	size_t n;
	struct generation *gen[GENERATIONS_MAX];	/* by number, newest first */
	struct generation *current;	/* issues; newer ones are made ready, older ones retired */
	writ_time began;		/* when it did */
	uint64_t changes;		/* of the set, or of the current one: the issuer asks for CERTS again */
	uint8_t switched[8];		/* of the journal: the last that became current, */
	writ_time switched_at;		/* and when */
	int64_t next_make_ms, next_late_ms, next_destroy_ms;	/* monotonic: not before */
	struct soft_key ocsp;
	uint8_t ocsp_key_id[20];
};

/* What an opening connection was asked last. */
enum device_stage { DEVICE_ASKED_HEALTH, DEVICE_ASKED_INFO, DEVICE_ASKED_LOAD, DEVICE_ASKED_DOUBT };

/* The connection to writ-deviced; comes and goes. */
struct device_link {
	struct device *device;		/* NULL: down */
	struct device *coming;		/* one that opens: what was asked of it last, */
	enum device_stage stage;
	uint8_t loading[20];		/* which key it loads, */
	bool loading_anchor;
	struct writ_err *doubt;		/* and why that was refused, until we know whose fault it is */
	struct device *pulse;		/* asks after its health; NULL: not yet */
	int64_t asked_ms, next_pulse_ms, ticked_ms;	/* monotonic; asked_ms 0: nothing is asked */
	bool locked_itself;		/* the device said that it is locked; else we did */
	bool resume;			/* the next connection has writ-deviced forget what locked it */
	struct device_state state;
	uint64_t outstanding;		/* leaf signatures it works on */
	int64_t heard_ms;		/* monotonic: its last signature, or when it got the first one to make */
	int64_t signature_us;		/* how long one takes, the last ones counting most */
};

#define OPERATOR_GONE_MS 5000	/* a writ rotate that asked nothing for so long is gone */

/* The anchor's own device, while an operator has it open. */
struct operator_link {
	struct device *device;		/* NULL: nobody has */
	uint32_t handle;
	uint32_t wanted, left;		/* generations to certify; wanted 0: a ceremony */
	bool list_due;
	int64_t heard_ms;
	char why[160];			/* why the last one came to no end */
};

/* A bounded rate: `n` of them now, refilled with time; what does not fit is counted. */
struct bucket {
	int64_t last_ms, credit_ms;
	uint64_t dropped;
};

struct owed {
	uint8_t serial[16];		/* or an edge id, with key zero */
	uint8_t key[8];
	enum entry_type type;
	unsigned reason;
	writ_time at;
};

/* The text of the last entry of an end: those of a cascade differ in the serial alone. */
struct end_form {
	struct owed of;
	bool names_edge;
	int64_t mono_ms, wall_ms;
	size_t len, id_at;		/* len 0: none yet */
	uint8_t json[320];
};

/* key_revoke.c: what the anchor's list says. */
#define REVOKED_CAS_MAX 64
struct revoked_cas {
	size_t n;
	uint64_t changes;
	struct revoked_ca {
		uint8_t serial[16], key[8];
		enum crl_reason reason;
		writ_time not_after, at;
	} ca[REVOKED_CAS_MAX];
};

/* state.c: what the journal says of the device's counter 'state'. */
#define STATE_STARTS 16			/* raises within an hour, beyond which a start does not raise */
enum state_event { STATE_MEANT, STATE_REACHED };	/* a journal entry's reason */
struct state_count {
	uint64_t value;			/* 0: the journal has none */
	bool reached;			/* false: meant, and perhaps not raised */
	bool raised;			/* by this process */
	size_t n_raised;
	writ_time raised_at[STATE_STARTS];	/* the last ones, round and round */
};

/* RUN/admin.sock (admin.h). */
struct admin {
	int listener, sock;		/* -1: none, nobody connected */
	uid_t peer;
	int64_t heard_ms;		/* monotonic */
	struct writ_buf answer;
	uint16_t answer_type;		/* 0: there is none */
	uint64_t answer_id;
};

/* uids */
struct signer_users {
	uid_t issuer;			/* ours when the configuration names none; */
	uid_t device, operator;		/* (uid_t)-1: it names none */
};

struct job;
struct conn;

struct signer {
	const struct conf *conf;
	struct signer_users uids;	/* set before signer_init(), which keeps them */
	struct clock now;		/* of this wake-up */
	struct clock_guard guard;
	bool clock_ok;
	uint32_t clock_accepted;	/* how often an operator accepted the time, since the start */
	bool broken;			/* the generator repeated itself: no more issuing until a restart */
	struct journal *journal;
	struct ledger *ledger;
	struct keys keys;
	struct device_link link;
	struct operator_link operator;
	struct gate_facts gate;
	struct gate_issuer gate_issuers[GENERATIONS_MAX];	/* of the gate's facts, as these: */
	char ocsp_url[SIGNER_URL_MAX];
	uint8_t log_id[LOG_ID_LEN];
	uint64_t settled, crl_number;
	uint64_t issued, refused, garbage;	/* since start */
	uint64_t unknown_asked, unknown_noted;	/* since start: OCSP questions for what is not live; told in an event */
	uint64_t edges_unlisted;	/* since the start */
	size_t n_owed, cap_owed;
	struct owed *owed;
	struct {
		uint64_t index;		/* of the journal, at the last one or the last try */
		bool never;		/* the ledger knows of an end that the journal lacks for good: only all entries tell the truth */
		struct snapshot_write *writing;	/* one on its way to the disk; NULL: none */
	} snapshot;
	struct bucket denials;
	struct writ_buf json;		/* scratch of entries.c */
	struct end_form end_form;	/* entry_end() */
	struct writ_arena arena;	/* scratch of one LEAF */

	/* lists.c */
	struct crl_build build;
	size_t n_crl_asks;
	struct crl_ask crl_asks[CRL_ASKS_MAX];
	int64_t next_shards_ms;		/* monotonic */

	/* issue.c */
	struct job *jobs;		/* SIGNER_QUEUE_MAX */
	size_t n_group;			/* journalled, not yet signed, in order: */
	struct job *group[SIGNER_QUEUE_MAX];

	/* resident.c */
	struct queue queue;		/* nothing is written of these yet */
	uint8_t queue_secret[16];	/* so that nobody can choose a name that shares another's turns */
	uint64_t device_refused[DEVICE_REFUSALS];
	struct signer_times device_waited, device_signed;

	/* serve.c */
	struct conn **conns;
	size_t n_conns;
	int epoll, listener, signals;
	struct state_count state;
	struct revoked_cas revoked_cas;
	struct admin admin;
	uint64_t revoked_below;		/* of the journal: entries of ends below, that may not be durable yet; 0: none */
	int disk;			/* the journal's event */
	bool stop;
	int64_t next_second_ms, next_keys_ms, next_unknown_ms, next_unlisted_ms;	/* monotonic */
	writ_time next_prune;
};

/* ---- entries.c: each journals one entry; WRIT_EXHAUSTED when the disk is full ---- */

WRIT_CHECKED struct writ_err *entry_issue(struct signer *, const struct leaf *, unsigned shard, const uint8_t serial[16], struct writ_bytes tbs,
					  struct writ_bytes said, struct entry *ret);
WRIT_CHECKED struct writ_err *entry_end(struct signer *, const struct owed *);
WRIT_CHECKED struct writ_err *entry_deny(struct signer *, const char *what, const struct writ_err *why, struct writ_bytes tbs,
					 struct writ_bytes said);
WRIT_CHECKED struct writ_err *entry_note(struct signer *, enum entry_type, struct writ_bytes said);
WRIT_CHECKED struct writ_err *entry_key(struct signer *, const char *role, const uint8_t serial[16], writ_time not_after,
					const uint8_t key_id[20], const uint8_t by[20], struct writ_bytes tbs);
/* What became of a generation: "switched" (it is current now) or "destroyed". */
enum generation_event { GENERATION_SWITCHED = 1, GENERATION_DESTROYED };	/* the fixed header's reason */
#define KEY_REVOKED 16	/* likewise: plus the CRLReason (RFC 5280 5.3.1) */
WRIT_CHECKED struct writ_err *entry_key_revoked(struct signer *, const struct generation *, enum crl_reason, uid_t by);
WRIT_CHECKED struct writ_err *entry_generation(struct signer *, enum generation_event, uint64_t number, const uint8_t key_id[20]);
/* `digest`: SHA-256 of the TBSCertList. */
WRIT_CHECKED struct writ_err *entry_crl(struct signer *, const uint8_t key_id[20], unsigned shard, uint64_t number, writ_time next_update,
					size_t n_entries, const uint8_t digest[32]);
WRIT_CHECKED struct writ_err *entry_settled(struct signer *, uint64_t index);
WRIT_CHECKED struct writ_err *entry_state(struct signer *, enum state_event, uint64_t value, const char *why);
WRIT_CHECKED struct writ_err *entry_start(struct signer *);
WRIT_CHECKED struct writ_err *entry_stop(struct signer *);
WRIT_CHECKED struct writ_err *entry_recover(struct signer *, const struct journal_cut *);
/* What an operator did: `did` one word, `detail` printable text. */
WRIT_CHECKED struct writ_err *entry_attest(struct signer *, uid_t by, struct writ_bytes nonce_hex, struct entry *ret);
WRIT_CHECKED struct writ_err *entry_admin(struct signer *, const char *did, uid_t by, struct writ_bytes detail);
WRIT_CHECKED struct writ_err *entry_clock(struct signer *, bool right, int64_t step_s);

/* Does a revoke entry with this key name an edge? */
bool entry_names_edge(const uint8_t key[8]);

/* ---- replay.c ---- */

/* Opens the journal and has the ledger, and what else it says of the past, from it. */
WRIT_CHECKED struct writ_err *replay_open(struct signer *);
/* The last generation that became current: an entry says so. */
void replay_switched(struct signer *, const struct entry *);
/* Between wake-ups: takes a snapshot when one is due; at an orderly end. */
void replay_housekeep(struct signer *);
void replay_stopped(struct signer *);
void replay_done(struct signer *);	/* waits for one that is being written */

/* ---- users.c ---- */

/* WRIT_INVALID: there is no such user.  Before the sandbox: it may load code. */
WRIT_CHECKED struct writ_err *users_find(const struct conf *, struct signer_users *ret);

/* ---- device.c ---- */

/* Connects when it is time to, without waiting for an answer; loads anchor and resident keys when it has come. */
bool device_ready(struct signer *);
struct writ_err *device_away(const struct signer *); /* after device_ready() said false */
struct writ_err *device_must(struct signer *);	     /* NULL: it is ready; else why it is away */
void device_lost(struct signer *, struct writ_err *takes_why);

/* WRIT_LOCKED while the key - the anchor's for NULL - is quarantined. */
WRIT_CHECKED struct writ_err *device_key_check(const struct signer *, const struct generation *);
void device_quarantine(struct signer *, struct generation *, const struct writ_err *why);

/*
 * Hands `err` of a device call back, and draws the consequences: a failure counts for the breaker, one that left the connection unusable ends it, WRIT_LOCKED
 * has the connection opened anew, which tells a locked device from a bad key.
 */
struct writ_err *device_failed(struct signer *, struct writ_err *err);
/* An answer after that time; and a success. */
void device_heard(struct signer *, int64_t took_ms);
void device_worked(struct signer *);
/* A signature of the device's by that generation's key - the anchor's for NULL - is verified always; a wrong one quarantines the key. */
WRIT_CHECKED struct writ_err *device_verified(struct signer *, struct generation *, struct writ_bytes message, struct writ_bytes signature);

/* When the loop woke up for a connection of ours; and once a second: the pulse. */
void device_wake(struct signer *);
void device_tick(struct signer *);

/* The operator mended the cause of a lock or a quarantine: all is forgotten, here and by writ-deviced, and tried once. */
void device_resume(struct signer *);
void device_done(struct signer *);

/* A connection of its own for a blocking call or two: the caller's, to close. */
WRIT_CHECKED struct writ_err *device_dial(struct signer *, struct device **ret);

/* ---- keys.c ---- */

char *state_path(const struct signer *, const char *folder, const char *name, char out[PATH_MAX]);

/* The anchor's certificate and reference: what device_ready() loads. */
WRIT_CHECKED struct writ_err *keys_read_anchor(struct signer *);

/* The generations of STATE/keys and STATE/certs, and the OCSP key; the device must be ready. */
WRIT_CHECKED struct writ_err *keys_load(struct signer *);
void keys_done(struct keys *);

/* Certificates and signatures by the anchor (`by` NULL) or a generation.  Journalled and durable before (I2); verified. */
WRIT_CHECKED struct writ_err *keys_certify(struct signer *, struct generation *by, const struct ca_facts *, const char *role,
					   struct writ_buf *ret_der);
WRIT_CHECKED struct writ_err *keys_sign(struct signer *, struct generation *by, struct writ_bytes message, struct writ_buf *ret_sig);

/* Certifies the OCSP key by one generation, or by each where half of its life is over. */
WRIT_CHECKED struct writ_err *responder_certify(struct signer *, struct generation *);
WRIT_CHECKED struct writ_err *responders_housekeep(struct signer *);

/* By key id, or by its first 8 bytes as the ledger has them; newest first, so that what is asked most is found first.  NULL: none. */
struct generation *keys_find(const struct signer *, const uint8_t key_id[20]);
struct generation *keys_find8(const struct signer *, const uint8_t key[8]);

/* What the gate knows of the keys, made anew after every change of them. */
void gate_learn(struct signer *);

/* ---- generation.c ---- */

/*
 * Makes a key, seals it (or keeps it in the device), has the anchor certify it; known to all from then on, and signs nothing yet.  The device must be
 * ready.  `begin`: when it is to become current.  After an error nothing of it is left but a key without a certificate, which the next start removes.
 */
WRIT_CHECKED struct writ_err *generation_make(struct signer *, writ_time begin, struct generation **ret);

/* Every generation that has a certificate; a key without one signed nothing, and is removed. */
WRIT_CHECKED struct writ_err *generations_load(struct signer *);

/* Its handle in the device, loading it when this connection has not yet (resident tier). */
WRIT_CHECKED struct writ_err *generation_handle(struct signer *, struct generation *, uint32_t *ret);

/* Destroys the oldest `n`: sealed objects, files, memory; journalled.  The device must be ready. */
WRIT_CHECKED struct writ_err *generations_destroy(struct signer *, size_t n);
void generation_free(struct generation *);

/* ---- rotate.c ---- */

/* After loading: which one is current; makes the first one. */
WRIT_CHECKED struct writ_err *rotation_start(struct signer *);

/* Once a second, while the clock is right: destroys, makes ready, switches; what fails is told and tried again later. */
void rotation_housekeep(struct signer *);

/* That generation was revoked: it signs nothing more, and if it was the current one another takes over, as soon as it can. */
void rotation_without(struct signer *, struct generation *);

/* When issuing ends if the device never comes back. */
writ_time rotation_ends(const struct signer *);

/* ---- key_revoke.c ---- */

WRIT_CHECKED struct writ_err *key_revoke_replay(struct signer *, const struct entry *);

/* Journals it, durably, and draws the consequences: it signs no more.  WRIT_EXHAUSTED: the list is full. */
WRIT_CHECKED struct writ_err *key_revoke(struct signer *, struct generation *, enum crl_reason, uid_t by);

/* Was that CA's certificate revoked?  NULL: no. */
const struct revoked_ca *key_revoked(const struct signer *, const uint8_t key[8]);

/* Appends the entries of the anchor's list, and drops those that it need not name any more. */
WRIT_CHECKED struct writ_err *key_revoke_entries(struct signer *, struct writ_buf *ret, size_t *ret_n);

/* ---- state.c ---- */

void state_replay(struct state_count *, const struct entry *);

/* WRIT_LOCKED: this state is an older copy, or the device is; raises nothing.  The device must be ready. */
WRIT_CHECKED struct writ_err *state_is_newest(struct signer *);

/* Checks, and raises the counter by one: with each generation, before it is certified. */
WRIT_CHECKED struct writ_err *state_raise(struct signer *, const char *why);

/* The same at a start, unless there were too many of them. */
WRIT_CHECKED struct writ_err *state_start(struct signer *);

/* ---- operator.c ---- */

/* The anchor, in our device or in an operator's; NULL and false while that is away. */
struct device *anchor_device(const struct signer *);
bool anchor_ready(struct signer *);
struct writ_err *anchor_away(const struct signer *);	/* after anchor_ready() said false */
uint32_t *anchor_handle(struct signer *);
WRIT_CHECKED struct writ_err *anchor_load(struct signer *);

WRIT_CHECKED struct writ_err *operator_take(struct signer *, int fd);	/* takes the descriptor */
void operator_drop(struct signer *);
WRIT_CHECKED struct writ_err *operator_sign(struct signer *, struct writ_bytes message, struct writ_buf *ret_sig);
void operator_step(struct signer *);	/* once a wake-up */

/* The operator gives up what this state does not know: it is the newest from now on. */
WRIT_CHECKED struct writ_err *state_accept(struct signer *, uint64_t device);

/* ---- restore.c ---- */

/* `writ restore --accept-loss`; `by` asked for it.  Prints what it does, a line a step.  WRIT_CONFLICT: the state is not older than the device, or in use. */
WRIT_CHECKED struct writ_err *restore_run(struct signer *, const struct conf *, uid_t by);

/* ---- lists.c ---- */

/* NULL: answered in this wake-up or a later one.  WRIT_NOT_FOUND: no CA of ours, or no such shard of it. */
WRIT_CHECKED struct writ_err *lists_ask(struct signer *, struct conn *, uint64_t id, const struct signer_crl *);

/* Once a wake-up: a slice of the list that is wanted. */
void lists_step(struct signer *);
bool lists_busy(const struct signer *);			/* there is more to do: the loop does not sleep */
void lists_forget(struct signer *, const struct conn *);

/* Once a wake-up: begins the next shard of the current generation, when the last one is full. */
void lists_shard(struct signer *);
/* Once a second: what the gate knows of shards. */
void lists_tick(struct signer *);
/* Which shards of a generation leaves may name now: both inclusive. */
void lists_accepted(const struct signer *, const struct generation *, unsigned *ret_from, unsigned *ret_to);

void lists_free(struct generation *);
void crl_build_done(struct crl_build *);
void crl_made_done(struct crl_made *);

/* ---- publish.c ---- */

/* The anchor's list, made anew when it must be.  `*ret` stays the signer's. */
WRIT_CHECKED struct writ_err *publish_anchor_crl(struct signer *, const struct crl_made **ret);
WRIT_CHECKED struct writ_err *publish_anchor_crl_load(struct signer *);

/* The next number of a CRL: never backwards, also after an older journal was restored, since the time is in it too. */
uint64_t crl_number_next(const struct signer *);

/* Builds a list as a whole, journals it, signs it.  `by` NULL: the anchor. */
WRIT_CHECKED struct writ_err *crl_sign(struct signer *, struct generation *by, unsigned shard, const struct crl_facts *, size_t n_entries,
				       struct signer_crl_is *, struct writ_buf *ret_der);

/* WRIT_NOT_FOUND: another CA's, or not a live serial of ours (I9).  `status->response` is a view into `ret`. */
WRIT_CHECKED struct writ_err *publish_ocsp(struct signer *, const struct signer_ocsp *, struct writ_buf *ret, struct signer_status *status);

/* ---- issue.c ---- */

/* NULL: journalled in this group or waiting for the device, answered later.  The error is the answer. */
WRIT_CHECKED struct writ_err *issue_leaf(struct signer *, struct conn *, uint64_t id, struct writ_bytes body);

/* After the fdatasync: signs the group, or hands it to the device. */
void issue_sign(struct signer *);
void issue_forget(struct signer *, const struct conn *);
bool issue_room(const struct signer *);

/* Why no leaf can be issued now, or NULL. */
struct writ_err *issue_blocked(struct signer *);

/* ---- resident.c: the device as it signs leaves ---- */

/* The device has answered something, or is gone. */
void resident_collect(struct signer *);

/* Journals as many of those that wait as the device takes at once; refuses those that waited too long. */
void resident_take(struct signer *);

/* Waits until the device has answered all leaves, so that a blocking call may be made; then how long that one took. */
void resident_drain(struct signer *);
void resident_took(struct signer *, int64_t ms);

/* Milliseconds until the next one has waited too long; -1: none waits. */
int64_t resident_patience_ms(const struct signer *);
/* What waits for the device or is in its hands, or will be when its entry is durable. */
size_t resident_queue(const struct signer *);

/* ---- conn.c, messages.c, serve.c ---- */

/* Takes the descriptor. */
void conn_answer(struct signer *, struct conn *, uint64_t id, enum signer_message, struct writ_bytes body, int fd);
/* It speaks of nothing that the journal does not hold durably: it leaves without waiting for the disk. */
void conn_answer_now(struct conn *, uint64_t id, enum signer_message, struct writ_bytes body, int fd);
void conn_refuse(struct signer *, struct conn *, uint64_t id, const struct writ_err *);
/* Journals a refusal and has an event of it, within the rate; what does not fit is counted in the next one. */
void refusal_note(struct signer *, const char *what, const struct writ_err *, struct writ_bytes tbs, struct writ_bytes said);
/* An event about OCSP questions for what is not live, at most one a minute. */
void unknown_note(struct signer *);
/* Journals what is owed, as far as the disk takes it. */
void owed_pay(struct signer *);

/* Memory, signals and clock; then signer_start() or ceremony_run().  signer_done() after a failure too. */
WRIT_CHECKED struct writ_err *signer_init(struct signer *, const struct conf *);
WRIT_CHECKED struct writ_err *signer_start(struct signer *, const struct conf *, int admin_listener);
/* Tries until the device is there, a signal comes, or the time is over (-1: never). */
WRIT_CHECKED struct writ_err *signer_device_wait(struct signer *, int64_t timeout_ms);
WRIT_CHECKED struct writ_err *signer_serve(struct signer *, int listener);
void signer_done(struct signer *);

/* ---- ceremony.c ---- */

enum ceremony { CEREMONY_NONE, CEREMONY_SELF_SIGNED, CEREMONY_CSR, CEREMONY_IMPORT, CEREMONY_FINISH,
		CEREMONY_ACCEPT_LOSS /* none: restore.c */ };

struct ceremony_signature {
	char name[WITNESS_NAME_MAX + 1];
	uint8_t data[256];	/* of the kinds that witnesses have */
	size_t len;
};

struct ceremony_asked {
	enum ceremony what;
	const char *path;		/* CSR: to write; IMPORT: to read */
	enum key_kind anchor_kind;
	bool anchor_only;		/* no issuing key: the anchor waits */
	int anchor_fd;			/* a connection to the anchor's own device, or -1: custody.anchor is device */
	bool root_is_private;		/* CSR, IMPORT: somebody has confirmed it */
	bool by_given;			/* ACCEPT_LOSS: */
	uid_t by;			/* who asks */
	size_t n_witnesses;		/* SELF_SIGNED, CSR */
	struct witness witnesses[WITNESSES_MAX];
	size_t n_signatures;		/* FINISH */
	struct ceremony_signature signatures[WITNESSES_MAX];
};

/*
 * Prints the transcript's lines to stdout and keeps them in STATE/ceremony/transcript.txt, beside it anchor.sig and a
 * NAME.sig of each witness.  WRIT_CONFLICT on a state that is initialised, or half so, and when a witness has not signed.
 */
WRIT_CHECKED struct writ_err *ceremony_run(struct signer *, const struct conf *, const struct ceremony_asked *);

#endif
