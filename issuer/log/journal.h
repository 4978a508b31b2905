/*
 * The journal: every issuance, revocation, abort and refusal, durable before what it speaks of happens.
 *
 * Durable: fdatasync() returned after the write.
 * (1) An entry is durable before the signature it speaks of is made.				I2
 * (2) Entries are numbered from 0 without gaps; a number is given once.
 * (3) A torn last entry is cut off on open and reported; no earlier byte is ever rewritten; damage before good records refuses the open.
 * (4) An entry without a row in the store was never released: abort it.			I3
 * (5) A reserve of 16 MiB (the file DIR/reserve, renamed to be the last segment) takes revoke, abort, crl, key, settled and the signer's own start,
 *     stop, recover, clock, state and admin entries when the disk is full: only issuing stops.		I13
 *
 * Segments are DIR/%016x.wj (first index): a 64-byte header - magic "WRITJRNL", u32le version, u32le 0, u64le first index, 8 bytes log id,
 * 32 bytes leaf hash of the entry before - then records, then zeros (preallocated): a length of 0 ends it.  A record:
 *	u32le	length of what follows
 *	32	leaf hash: SHA-256(0x00 || entry), RFC 6962 2.1
 *	8	check: first bytes of SHA-256(leaf hash || header || rest)
 *	52	header: u8 type, u8 reason, u8 flags, u8 the reason's high byte, u32le entry length, 16 serial, i64le notAfter, 8 key (first bytes of the key id), i64le time,
 *		u32le time's milliseconds
 *	entry	canonical JSON (sorted keys, no floats, one line)
 *	rest	TBS (types issue and key), outside the hashed leaf
 * Flags: 1 marks the first record of a group, that is of those which waited for one fdatasync.  The pages of a group reach the disk in any order, so
 * after a power cut a bad record may stand before good ones of its own group: that is a torn tail, since none of them was acknowledged.  A bad
 * record before the first one of a later group is damage.
 * What a type puts into the fixed header beside its time: issue serial, notAfter, key, and as reason the shard of the key's
 * list that the certificate names (16 bits; others have 8); abort serial, key; revoke reason, serial, key - or, with key
 * zero, an edge id in the serial's place; key serial, notAfter, key of what was certified - or, with reason 1 or 2, the key of a
 * generation that became current, or was destroyed, or, with reason 16 and more, serial, notAfter and key of an issuing CA
 * that was revoked for the CRLReason above 16; crl key, notAfter = nextUpdate, and the CRL's number,
 * big endian, in the last 8 bytes of the serial's place, and as reason its shard; settled the index, likewise; state the device's counter, likewise,
 * with reason 1 once it was reached.
 * Knows no certificate, no store.  One writer (locked); any number of readers.  Threading: one thread a journal, beside its own (journal_background()).
 */
#ifndef WRIT_ISSUER_LOG_JOURNAL_H
#define WRIT_ISSUER_LOG_JOURNAL_H

#include "base/bytes.h"
#include "base/clock.h"

#define JOURNAL_SEGMENT_LEN (64u * 1024 * 1024)		/* bytes, preallocated */
#define JOURNAL_RESERVE_LEN (16u * 1024 * 1024)
#define JOURNAL_ENTRY_MAX 16384
#define JOURNAL_TBS_MAX (12 * 1024)
#define LOG_ID_LEN 8

enum entry_type {
	ENTRY_ISSUE = 1, ENTRY_ABORT, ENTRY_DENY, ENTRY_REVOKE, ENTRY_TASK, ENTRY_GRANT, ENTRY_POLICY, ENTRY_KEY, ENTRY_CRL,
	ENTRY_SETTLED, ENTRY_ADMIN, ENTRY_START, ENTRY_STOP, ENTRY_RECOVER, ENTRY_CLOCK, ENTRY_FREEZE, ENTRY_STATE,
};
const char *entry_type_name(enum entry_type);		/* "issue", ...: the entry's "t" */

struct entry {
	enum entry_type type;
	unsigned reason;		/* revoke: RFC 5280 5.3.1; issue and crl: the shard */
	uint8_t serial[16];		/* issue, abort, revoke; else zero */
	writ_time not_after;		/* issue: of the certificate; settled: 0 */
	uint8_t key[8];			/* issue: issuing key id's first bytes */
	writ_time time;
	unsigned time_ms;
	struct writ_bytes json;
	struct writ_bytes tbs;
	bool group_first;		/* journal_add() sets it */
	/* reading, and after journal_add(): */
	uint64_t index;
	uint8_t leaf_hash[32];
};

struct journal;

/* SHA-256(origin)'s first 8 bytes. */
void log_id(struct writ_bytes origin, uint8_t out[LOG_ID_LEN]);

typedef struct writ_err *journal_each(const struct entry *, void *ctx);

struct journal_cut {		/* what open had to cut */
	bool any;
	uint64_t index;		/* of the torn entry */
	uint64_t bytes;
};

/* `writ init` only: the first segment; WRIT_CONFLICT when there is one. */
WRIT_CHECKED struct writ_err *journal_create(const char *dir, struct writ_bytes origin);

/* A place in the journal, as a snapshot names it (snapshot.h). */
struct journal_mark {
	uint64_t index;		/* of the first entry behind it; above 0 */
	uint8_t hash[32];	/* leaf hash of the entry before */
	writ_time time;		/* the latest of the entries before */
};

/*
 * Opens for writing, locks, checks every record, calls `each` for every entry in order, cuts a torn tail.  WRIT_BROKEN names segment and offset of
 * damage; WRIT_CONFLICT when another process has it.
 */
WRIT_CHECKED struct writ_err *journal_open(const char *dir, struct writ_bytes origin, journal_each *, void *ctx,
					   struct journal_cut *ret_cut, struct journal **ret);

/*
 * The same from a mark on: `each` sees the entries behind it.  Segments before the one that the mark is in are not read, nor is damage in them
 * found.  WRIT_INVALID when the journal does not hold that place; `each` was not called then.
 */
WRIT_CHECKED struct writ_err *journal_open_from(const char *dir, struct writ_bytes origin, const struct journal_mark *, journal_each *, void *ctx,
						struct journal_cut *ret_cut, struct journal **ret);

/* Numbers the entry, fills in index and leaf hash, and buffers it; nothing is durable yet.  WRIT_EXHAUSTED: the disk is full (see (5)). */
WRIT_CHECKED struct writ_err *journal_add(struct journal *, struct entry *);

/* Makes everything added durable: one write, one fdatasync for the group.  An error ends the process (I13). */
void journal_sync(struct journal *);

/*
 * The same while the caller goes on: from journal_background() on a thread waits for the disk, which does nothing else.  journal_sync_begin() writes
 * what was added and returns; `*ret_fd`, the journal's, becomes readable when it is durable, and journal_syncing() then turns false and
 * journal_durable() goes up.  One at a time: what is added meanwhile is the next group's.  Without the thread it is journal_sync().
 */
WRIT_CHECKED struct writ_err *journal_background(struct journal *, int *ret_fd);
void journal_sync_begin(struct journal *);
bool journal_syncing(struct journal *);

uint64_t journal_next(const struct journal *);		/* index of the next entry */
uint64_t journal_durable(const struct journal *);	/* entries below are durable */
void journal_mark(const struct journal *, struct journal_mark *ret);	/* behind the last entry, which must be durable */
bool journal_can_issue(struct journal *);		/* false: only the reserve is left */
writ_time journal_last_time(const struct journal *);
const uint8_t *journal_last_hash(const struct journal *);	/* 32 bytes: leaf hash of the last entry */
void journal_close(struct journal *);
void journal_closep(struct journal **);

/* Reads what is durable, without a lock, from entry `from` on: the issuer's recovery, auditors. */
WRIT_CHECKED struct writ_err *journal_read(const char *dir, uint64_t from, journal_each *, void *ctx);

/* The same from a mark on; WRIT_INVALID, and `each` not called, when the journal does not hold that place. */
WRIT_CHECKED struct writ_err *journal_read_from(const char *dir, const struct journal_mark *, journal_each *, void *ctx);

/* One record out of a segment's bytes (the reader's core; fuzzed).  `*ret_len` is 0 at the end mark. */
WRIT_CHECKED struct writ_err *record_read(struct writ_bytes at, struct entry *ret, size_t *ret_len);
WRIT_CHECKED struct writ_err *record_write(struct entry *, struct writ_buf *ret);

#endif
