/*
 * A snapshot: what all entries of the journal below one came to, in a file beside the segments, so that a start reads the end of the journal and
 * not all of it.
 *
 * (1) It is no witness.  It is used only where it is whole (its SHA-256), of this log, and the journal holds, before the entry that it names, one
 *     with the hash that it names (`struct journal_mark`).  In any other case the journal is read from its first entry.
 * (2) It speaks of durable entries only, so one that is ahead of its journal tells of a journal that lost its end.
 * (3) What it does not say - an issuance's place in the journal - is read there by whoever needs it.
 *
 * DIR/%016x.snapshot (the index of the first entry that it does not speak of), little endian: magic "WRITSNAP", u32 version, u32 0, u64 index,
 * 8 log id, 32 leaf hash of the entry before, i64 latest time of an entry, u64 rows, u64 edges, u32 length of what is the writer's own, u32 0; rows
 * of 16 serial, 8 key, u32 notAfter, u32 time of the end, u8 state, u8 reason, u16 shard; edges of 16 id, u32 time; the writer's own; SHA-256 of all before.
 * Not synced: one that a power cut tore is told by its hash, and the one before it is kept until then.
 * Knows no ledger, no store.  Threading: none of its own.
 */
#ifndef WRIT_ISSUER_LOG_SNAPSHOT_H
#define WRIT_ISSUER_LOG_SNAPSHOT_H

#include "issuer/log/journal.h"

#define SNAPSHOT_MAX ((size_t)4 * 1024 * 1024 * 1024) /* bytes: a hundred million rows */
#define SNAPSHOT_OWN_MAX (64u * 1024)

enum snapshot_state { SNAPSHOT_ISSUED = 1, SNAPSHOT_ABORTED, SNAPSHOT_REVOKED };

struct snapshot_row {
	uint8_t serial[16], key[8];
	uint32_t not_after, ended_at; /* seconds since 1970; ended_at 0: it has not */
	uint8_t state, reason;
	uint16_t shard; /* of the key's list */
};

struct snapshot_edge {
	uint8_t id[16];
	uint32_t at;
};

/* One read; what `own` points to is inside. */
struct snapshot {
	struct journal_mark mark;
	size_t n_rows, n_edges;
	struct writ_bytes own;
	const uint8_t *rows, *edges;
	uint8_t *data; /* of the file */
};

/* The newest whole one of this log.  WRIT_NOT_FOUND: there is none; WRIT_BROKEN: the newest is not whole, and no older one is. */
WRIT_CHECKED struct writ_err *snapshot_find(const char *dir, const uint8_t log_id[LOG_ID_LEN], struct snapshot *ret);
void snapshot_done(struct snapshot *);

/* From memory (the reader's core; fuzzed): `*ret` borrows. */
WRIT_CHECKED struct writ_err *snapshot_parse(struct writ_bytes file, const uint8_t log_id[LOG_ID_LEN], struct snapshot *ret);

/* `at` below n_rows, n_edges. */
void snapshot_row(const struct snapshot *, size_t at, struct snapshot_row *ret);
void snapshot_edge(const struct snapshot *, size_t at, struct snapshot_edge *ret);

/* One in the making: begun with the most it may hold, then rows, then edges, then written. */
struct snapshot_out {
	uint8_t *data;
	size_t len, cap, n_rows, n_edges;
};
WRIT_CHECKED struct writ_err *snapshot_begin(size_t rows_max, size_t edges_max, struct snapshot_out *ret);
void snapshot_add_row(struct snapshot_out *, const struct snapshot_row *); /* beyond the most: dropped, and told by snapshot_write() */
void snapshot_add_edge(struct snapshot_out *, const struct snapshot_edge *);

/*
 * Writes it under its name and removes all but the one before.  Takes what `out` holds, also when it fails: then nothing changed.  Not for secrets.
 */
WRIT_CHECKED struct writ_err *snapshot_write(const char *dir, const uint8_t log_id[LOG_ID_LEN], const struct journal_mark *,
					     struct writ_bytes own, struct snapshot_out *out);
void snapshot_out_done(struct snapshot_out *);

#endif
