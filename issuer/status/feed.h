/*
 * The feed of status as bytes: what an issuer answers to a responder that follows it, on the routes
 * /v1/status/changes, /v1/status/table and /v1/status/documents.
 *
 * A head of 68 octets, then `count` records of 21: serial 16, state 1, life 4 (struct status_change); all integers big
 * endian.  The list of documents is text, a line each.  Written by the issuer, read strictly by the responder.  Knows
 * no connection and no table.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_STATUS_FEED_H
#define WRIT_ISSUER_STATUS_FEED_H

#include "base/digest.h"
#include "base/text.h"
#include "issuer/status/changes.h"

#define FEED_HEAD_LEN 68
#define FEED_RECORD_LEN 21
#define FEED_RECORDS_MAX 8192 /* a page: 172 KB; a million live leaves are 123 of them */
#define FEED_PAGE_MAX ((size_t)FEED_HEAD_LEN + (size_t)FEED_RECORDS_MAX * FEED_RECORD_LEN)
#define FEED_WAIT_MAX_MS 2000 /* that a question for changes may wait: no longer than an issuer that stops does */

enum feed_kind {
	FEED_CHANGES = 1, /* records from..next-1 */
	FEED_BEGIN = 2,	  /* another epoch, or `from` is lost: read the table, then the changes from `next` on */
	FEED_TABLE = 3,	  /* a page of the table; `next` is where the next one begins, FEED_TABLE_END: none does */
};

#define FEED_TABLE_END (UINT64_C(1) << 52) /* no cursor is as large */

struct feed_head {
	enum feed_kind kind;
	uint8_t epoch[STATUS_EPOCH_LEN];
	uint64_t from, next;
	uint64_t newest;    /* the number that the issuer's next change gets; `next` is that: nothing is missing */
	uint64_t documents; /* raised by every change of what is published */
	int64_t time_ms;    /* the issuer's wall clock, since 1970 */
	uint32_t count;
};

/* Appends a page. */
WRIT_CHECKED struct writ_err *feed_write(const struct feed_head *, const struct status_change *, struct writ_buf *ret);

/* A whole page: exactly its records, of known states, numbered as its kind says.  `*ret_records` is in `page`. */
WRIT_CHECKED struct writ_err *feed_read(struct writ_bytes page, struct feed_head *ret, struct writ_bytes *ret_records);

/* Record number i of feed_read()'s. */
struct status_change feed_record(struct writ_bytes records, size_t i);

/* ---- what is published ---- */

#define FEED_DOCUMENTS_MAX ((size_t)256 * 1024) /* bytes of a list: 1,024 documents */
#define FEED_PATH_MAX 128
#define FEED_DOCUMENT_MAX ((uint64_t)512 * 1024 * 1024) /* bytes of a document: a list of ten million entries */

struct feed_document {
	char path[FEED_PATH_MAX + 1]; /* "/crl/..." or "/ca/...", one level below */
	char content_type[64];
	char sha256[2 * SHA256_LEN + 1]; /* hex; the entity tag that it is served under */
	uint64_t len;
	writ_time last_modified, expires;
	uint32_t max_age_s;
};

/* Appends "SHA256 LEN LAST-MODIFIED EXPIRES MAX-AGE TYPE PATH\n". */
WRIT_CHECKED struct writ_err *feed_document_write(const struct feed_document *, struct writ_buf *ret);

/* The next line; `*rest` moves behind it.  WRIT_NOT_FOUND at the end. */
WRIT_CHECKED struct writ_err *feed_document_read(struct writ_bytes *rest, struct feed_document *ret);

#endif
