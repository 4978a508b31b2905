/*
 * The signer wire: the few fixed messages between issuer and signer (DESIGN.md, Wire).
 *
 * SOCK_SEQPACKET on RUN/signer.sock, base/frame.h frames, SIGNER_OUTSTANDING_MAX requests a connection, answers in any order carrying the request's id.
 * A connection a loop thread, and one for store and control.  wire.c and wire_health.c encode and decode both directions; only wire_call.c has to do
 * with a socket; wire_urls.c has the URLs.  Every decoder is strict: a short, long or foreign body is an error.  Which message is allowed when is a table in signer/messages.c.
 * Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_SIGNER_WIRE_H
#define WRIT_ISSUER_SIGNER_WIRE_H

#include "base/clock.h"
#include "base/frame.h"
#include "issuer/x509/leaf.h"
#include "issuer/x509/ocsp.h"

#define SIGNER_OUTSTANDING_MAX 128	/* a connection; one more is refused */
#define SIGNER_CONN_LEAVES_MAX 48	/* of them leaves that wait for a device (resident tier): who wants a status must not wait for it too */
#define SIGNER_GENERATIONS_MAX 256	/* of issuing CAs that live at once */
#define SIGNER_CERTS_MAX 32		/* certificates in one answer; fewer where they are long */
#define SIGNER_REVOKE_MAX 256		/* serials a frame; a cascade is many frames */
#define SIGNER_SAID_MAX 2048
#define SIGNER_RETRY_MAX_S 3600
#define OCSP_CERT_ID_MAX 256		/* bytes of DER; a SHA-256 CertID has 105 to 120 */

enum signer_message {
	SIGNER_HELLO = 1,	/* must be the first on a connection, once */
	SIGNER_LEAF,
	SIGNER_REVOKE,
	SIGNER_OCSP,
	SIGNER_CRL,
	SIGNER_NOTE,		/* denials, tasks, grants, policy changes, freezes; answered like all, though nobody need wait for it */
	SIGNER_SETTLED,
	SIGNER_ABORT,
	SIGNER_HEALTH,
	SIGNER_CERTS,
	SIGNER_ANSWER = 0x80,	/* set in an answer's type */
	SIGNER_ERROR = 0xff,	/* u8 code, u32 seconds after which to ask again (0: not known), bytes text */
};

/* HELLO: -> configuration digest; <- what the issuer needs to serve. */
struct signer_hello {
	uint8_t conf_digest[32];
};
struct signer_welcome {
	enum leaf_tier tier;			/* what leaves assert */
	bool sealed;				/* the configured tier, for status */
	uint8_t log_id[8];
	uint64_t next_index, settled;		/* journal: entries below `settled` have rows, or aborts, or have expired */
	struct writ_bytes anchor;		/* DER certificate */
	struct writ_bytes issuing;		/* of the CA that issues now; the others: CERTS */
	uint8_t conf_digest[32];
};

/* LEAF: -> TBS (serial and log reference zero), canonical JSON of what the issuer says; <- what to fill in, and the signature. */
struct signer_leaf {
	struct writ_bytes tbs, said;
};
struct signer_signed {
	uint8_t serial[16];
	uint64_t index;
	uint8_t leaf_hash[32];
	struct writ_bytes signature;
};

/* REVOKE: serials with reasons, and origin edges for revokedDelegations; <- logged (false: the entry is owed).  Unknown serials are not an error. */
struct signer_revoke_item {
	uint8_t serial[16];
	uint8_t reason;
};
struct signer_revoke {
	writ_time at;
	size_t n;
	struct signer_revoke_item items[SIGNER_REVOKE_MAX];
	size_t n_edges;
	uint8_t edges[SIGNER_REVOKE_MAX][EDGE_ID];
};

/* OCSP: -> CertID, nonce (may be empty); <- status and the whole response; an unknown serial or issuer is an error WRIT_NOT_FOUND. */
struct signer_ocsp {
	struct writ_bytes cert_id, nonce;
};
struct signer_status {
	uint8_t status;				/* enum ocsp_status */
	writ_time this_update, next_update;
	struct writ_bytes response;
};

/*
 * CRL: -> key id of the CA whose list is wanted (an issuing CA's or the anchor's) and which shard of it; <- the shards there are, number, times,
 * length, and the list in a sealed memfd beside the frame.  WRIT_NOT_FOUND: there is no such CA, or no such shard of it.  The descriptor's offset is shared with other receivers: read it with pread() or mmap().
 */
struct signer_crl {
	uint8_t key_id[20];
	uint16_t shard;				/* of that CA's lists; 0 when it has one */
};
#define SIGNER_SHARDS_MAX 128			/* of one CA at once */
struct signer_crl_is {
	uint16_t first, last;			/* shards that this CA has now: all from the one to the other */
	uint64_t number;
	writ_time this_update, next_update;
	uint32_t len;
};

/* NOTE: an entry of type deny, task, grant, policy or freeze; JSON as in LEAF's `said`.  <- empty. */
struct signer_note {
	uint8_t type;				/* enum entry_type */
	struct writ_bytes said;
};

/* ABORT: serials signed and never to be released; journalled, then answered as revoked.  <- empty.  On a full disk the
 * entry is owed as a revocation's is: recovery, who finds the row without it, asks again. */
struct signer_abort {
	size_t n;
	uint8_t serials[SIGNER_REVOKE_MAX][16];
};

/* SETTLED: every entry below `index` has its row or its abort.  <- empty. */
struct signer_settled {
	uint64_t index;
};

/* How long things took: how many within each of the bounds, beyond the last one, and the sum. */
#define SIGNER_BOUNDS 10
extern const unsigned signer_bounds_ms[SIGNER_BOUNDS];	/* growing; each inclusive */
struct signer_times {
	uint64_t n[SIGNER_BOUNDS + 1];		/* not summed up */
	uint64_t sum_ms;
};
void signer_times_note(struct signer_times *, int64_t ms);

/* Why a leaf that the device should have signed was not journalled (resident tier). */
enum device_refusal {
	REFUSED_FULL,	/* no room in the queue */
	REFUSED_SHARE,	/* room, but its delegator or agent had its share of it */
	REFUSED_LATE,	/* it waited SIGNER_DEVICE_WAIT_MS */
	REFUSED_AWAY,	/* the device was lost while it waited, or would not sign it any more when its turn came */
	REFUSED_GONE,	/* whoever asked has gone: dropped, nobody was told */
	DEVICE_REFUSALS
};
const char *device_refusal_name(enum device_refusal);	/* "full", ... */

/* How the device is: device_state.h. */
enum signer_device { SIGNER_DEVICE_DOWN, SIGNER_DEVICE_UP, SIGNER_DEVICE_DEGRADED, SIGNER_DEVICE_LOCKED };
const char *signer_device_name(enum signer_device);	/* "down", "up", "degraded", "locked" */

/*
 * CERTS: -> the number of a generation; <- those above it, oldest first, as many as fit, and whether there are more.  So an issuer that asks for what it
 * lacks gets little, and one that knows nothing (0) all.  Generations go from the lowest on: what is below `lowest` is no more.  One that does not issue
 * yet is among them, so that its certificate, list and OCSP are published before its first leaf.
 */
struct signer_certs {
	uint64_t above;
};
struct signer_certs_are {
	uint64_t changes;			/* as in HEALTH: pages of different ones do not belong together */
	uint64_t issuing, lowest;		/* numbers: of the CA that issues now, and of the oldest that is left */
	uint16_t shard;				/* of the CA that issues now: what its leaves name */
	bool more;
	size_t n;
	struct {
		uint64_t number;
		uint16_t shard;			/* the last of its CRL */
		struct writ_bytes der;
	} certs[SIGNER_CERTS_MAX];
};

/* HEALTH: <- */
struct signer_health {
	bool can_issue;				/* clock, journal, keys */
	bool device_up;				/* it is connected, and asked */
	enum signer_device device;
	writ_time device_since;			/* of that state */
	uint64_t device_latency_us, device_failed;	/* of its answers; requests since start */
	uint32_t keys_quarantined;
	char device_why[160], device_last_error[160];	/* of the state; empty while it is up */
	uint64_t entries, issued, revoked_live, owed;
	uint64_t unknown_asked;			/* OCSP questions since start for what is not a live serial of ours */
	uint32_t device_queue;			/* leaves that wait for it; those it works on too */
	uint32_t clock_accepted;		/* how often an operator accepted a time that stepped, since start */
	uint64_t device_refused[DEVICE_REFUSALS];	/* since start, and what follows too */
	struct signer_times device_waited;	/* of leaves: from LEAF until the device took them */
	struct signer_times device_signed;	/* a signature of the device, of whatever */
	writ_time issuing_until;		/* if no new generation is ever made */
	uint64_t changes;			/* of the generations: ask for CERTS when it is not the one known */
	char why[160];				/* when something is not well */
};

WRIT_CHECKED struct writ_err *signer_hello_write(const struct signer_hello *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_hello_read(struct writ_bytes, struct signer_hello *);
WRIT_CHECKED struct writ_err *signer_welcome_write(const struct signer_welcome *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_welcome_read(struct writ_bytes, struct signer_welcome *);
WRIT_CHECKED struct writ_err *signer_leaf_write(const struct signer_leaf *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_leaf_read(struct writ_bytes, struct signer_leaf *);
WRIT_CHECKED struct writ_err *signer_signed_write(const struct signer_signed *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_signed_read(struct writ_bytes, struct signer_signed *);
WRIT_CHECKED struct writ_err *signer_revoke_write(const struct signer_revoke *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_revoke_read(struct writ_bytes, struct signer_revoke *);
WRIT_CHECKED struct writ_err *signer_revoked_write(bool logged, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_revoked_read(struct writ_bytes, bool *ret_logged);
WRIT_CHECKED struct writ_err *signer_ocsp_write(const struct signer_ocsp *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_ocsp_read(struct writ_bytes, struct signer_ocsp *);
WRIT_CHECKED struct writ_err *signer_status_write(const struct signer_status *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_status_read(struct writ_bytes, struct signer_status *);
WRIT_CHECKED struct writ_err *signer_crl_write(const struct signer_crl *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_crl_read(struct writ_bytes, struct signer_crl *);
WRIT_CHECKED struct writ_err *signer_crl_is_write(const struct signer_crl_is *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_crl_is_read(struct writ_bytes, struct signer_crl_is *);
WRIT_CHECKED struct writ_err *signer_note_write(const struct signer_note *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_note_read(struct writ_bytes, struct signer_note *);
WRIT_CHECKED struct writ_err *signer_abort_write(const struct signer_abort *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_abort_read(struct writ_bytes, struct signer_abort *);
WRIT_CHECKED struct writ_err *signer_settled_write(const struct signer_settled *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_settled_read(struct writ_bytes, struct signer_settled *);
WRIT_CHECKED struct writ_err *signer_certs_write(const struct signer_certs *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_certs_read(struct writ_bytes, struct signer_certs *);
WRIT_CHECKED struct writ_err *signer_certs_are_write(const struct signer_certs_are *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_certs_are_read(struct writ_bytes, struct signer_certs_are *);
/* Is there room for one more, with that certificate, in a frame? */
bool signer_certs_are_fit(const struct signer_certs_are *, struct writ_bytes der);
WRIT_CHECKED struct writ_err *signer_health_write(const struct signer_health *, struct writ_buf *);
WRIT_CHECKED struct writ_err *signer_health_read(struct writ_bytes, struct signer_health *);

/* An error answer, both ways. */
WRIT_CHECKED struct writ_err *signer_error_write(const struct writ_err *, struct writ_buf *);
struct writ_err *signer_error_read(struct writ_bytes);	/* never NULL */

/* ---- where what the signer publishes is found: the URLs that certificates carry, and the gate demands ---- */

#define SIGNER_URL_MAX 512	/* bytes with the NUL */

/* STATUS/crl/KEYID.crl, or of a shard beyond the first STATUS/crl/KEYID-SHARD.crl, in decimal. */
char *signer_crl_url(const char *status_url, const uint8_t key_id[20], unsigned shard, char out[SIGNER_URL_MAX]);
/* Which shard an URL names, given that of shard 0; false: it is none of those. */
bool signer_crl_shard(struct writ_bytes first_url, struct writ_bytes url, unsigned *ret_shard);
char *signer_ca_url(const char *status_url, const uint8_t key_id[20], char out[SIGNER_URL_MAX]);	/* STATUS/ca/KEYID.cer */
char *signer_ocsp_url(const char *status_url, char out[SIGNER_URL_MAX]);				/* STATUS/ocsp */

/* ---- the client's blocking use: start-up, recovery, tests ---- */

/* Sends one request and waits for its answer; an error answer becomes the error returned.  `*ret_fd` may be NULL. */
WRIT_CHECKED struct writ_err *signer_call(int sock, enum signer_message, struct writ_bytes body, struct writ_buf *ret_body, int *ret_fd,
					  int timeout_ms);

#endif
