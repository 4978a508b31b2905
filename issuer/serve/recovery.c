/*
 * Recovery: see recovery.h.
 *
 * Entry:   an issue entry of the journal whose certificate has not expired.
 * Row:     a certificate of the store that has not expired.
 *
 *	row		journal also says	then
 *	none		-			below `settled` the store is older than the journal: refuse;
 *						else abort: entry, then row
 *	none		abort			the row, aborted
 *	none		revoke			older, as revocations are in the store first: refuse
 *	good		-			good
 *	good		abort or revoke		older: refuse
 *	aborted		-			the entry
 *	revoked		-			the entry, with the row's time and reason
 *	a row without an entry			the journal is older than the store: refuse
 *
 * The journal is read from a snapshot of the signer's on, where there is one that it bears out: with a million live certificates
 * that is a twentieth of the bytes.  A snapshot has no index of an entry, and is no witness: where the two do not agree,
 * all live entries are read, and what then is refused or repaired goes by them alone.
 *
 * Nothing is ever signed again.
 */
#include "issuer/serve/recovery.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/event.h"
#include "base/text.h"
#include "issuer/log/snapshot.h"
#include "issuer/serve/control.h"
#include "issuer/serve/live.h"
#include "issuer/serve/serve.h"

#define LOOK_BACK_S 1200  /* over the longest life, 930 s, and the clocks' margins: no older entry can be live */
#define EDGES_SINCE_S 960 /* delegation.md 5, R3 */
#define SEGMENTS_MAX 65536
#define GROUP 256
#define AHEAD_MAX 4194304 /* rows, 120 MB: of more live ones, or of a day's under a clock that is behind, each is read when it is compared */
#define SOON 8 /* rows: a look-up waits for memory about as long as so many take */

/* Of the store; times in 32 bits, as in live.h. */
struct recovery_row {
	uint8_t serial[SERIAL_LEN];
	uint32_t not_after, revoked_at;
	uint8_t state, reason;
};

struct revoked_edge {
	uint8_t id[EDGE_ID_LEN];
	writ_time at;
};

struct recovery {
	struct serve *serve;
	struct store *store;
	int sock;
	const struct signer_welcome *welcome;
	writ_time now;
	const struct recovery_ahead *ahead;
	struct live live;
	writ_time newest;
	uint64_t n_rows, n_aborted, n_revoked;
	uint64_t *outbox;
	size_t n_outbox, cap_outbox;
	struct revoked_edge *edges; /* of the store */
	size_t n_edges, cap_edges;
	struct revoked_edge *told; /* of the journal: the signer has them */
	size_t n_told, cap_told;
	uint64_t from; /* where reading the journal began */
};

/* All that was read. */
static void
recovery_done(struct recovery *r)
{
	live_done(&r->live);
	free(TAKE(r->outbox));
	free(TAKE(r->edges));
	free(TAKE(r->told));
	r->n_outbox = r->cap_outbox = r->n_edges = r->cap_edges = r->n_told = r->cap_told = 0;
	r->n_rows = 0;
}

static uint32_t
time32(writ_time t)
{
	return t < 0 ? 0 : t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

WRIT_CHECKED static struct writ_err *
entry_add(struct recovery *r, const struct entry *entry, struct live_entry **ret)
{
	struct writ_err *err = live_add(&r->live, entry->serial, ret);

	if (err)
		return err->code == WRIT_BROKEN ? writ_because(err, "the journal's entry %" PRIu64, entry->index) : err;
	(*ret)->index = entry->index;
	(*ret)->not_after = time32(entry->not_after);
	memcpy((*ret)->key, entry->key, sizeof((*ret)->key));
	return NULL;
}

WRIT_CHECKED static struct writ_err *
edge_keep(struct revoked_edge **list, size_t *n, size_t *cap, const uint8_t id[EDGE_ID_LEN], writ_time at)
{
	struct revoked_edge *grown = writ_room(*list, *n, cap, sizeof(**list), 256);

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu revoked edges", *n + 1);
	*list = grown;
	memcpy((*list)[*n].id, id, EDGE_ID_LEN);
	(*list)[(*n)++].at = at;
	return NULL;
}

static int
edge_order(const void *a, const void *b)
{
	return memcmp(((const struct revoked_edge *)a)->id, ((const struct revoked_edge *)b)->id, EDGE_ID_LEN);
}

/* ---- the journal ---- */

static struct writ_err *
entry_see(const struct entry *entry, void *ctx)
{
	static const uint8_t no_key[8];
	struct recovery *r = ctx;
	struct live_entry *f;

	if (entry->time > r->newest)
		r->newest = entry->time;
	if (entry->type == ENTRY_ISSUE)
		return entry->not_after >= r->now ? entry_add(r, entry, &f) : NULL;
	if (entry->type != ENTRY_ABORT && entry->type != ENTRY_REVOKE)
		return NULL;
	if (entry->type == ENTRY_REVOKE && memcmp(entry->key, no_key, sizeof(no_key)) == 0) /* of an edge */
		return edge_keep(&r->told, &r->n_told, &r->cap_told, entry->serial, entry->time);
	f = live_find(&r->live, entry->serial);
	if (f && entry->type == ENTRY_ABORT)
		f->aborted = true;
	else if (f)
		f->revoked = true;
	return NULL;
}

/* Its rows are told a minute after the other. */
WRIT_CHECKED static struct writ_err *
snapshot_room(struct recovery *r, const struct snapshot *snapshot)
{
	struct writ_err *err = NULL;
	uint32_t minute = 0;
	size_t n = 0;

	for (size_t i = 0; i < snapshot->n_rows && !err; i++) {
		struct snapshot_row row;

		snapshot_row(snapshot, i, &row);
		if (n > 0 && writ_get32(row.serial) != minute) {
			err = live_room(&r->live, minute, n);
			n = 0;
		}
		minute = writ_get32(row.serial);
		n += row.not_after >= r->now;
	}
	return err || n == 0 ? err : live_room(&r->live, minute, n);
}

/* What of a snapshot is live yet. */
WRIT_CHECKED static struct writ_err *
snapshot_see(struct recovery *r, const struct snapshot *snapshot)
{
	struct writ_err *err = snapshot_room(r, snapshot);

	if (snapshot->mark.time > r->newest)
		r->newest = snapshot->mark.time;
	for (size_t i = 0; i < snapshot->n_rows && !err; i++) {
		struct entry entry = { .index = UINT64_MAX };
		struct snapshot_row row;
		struct live_entry *f = NULL;

		snapshot_row(snapshot, i, &row);
		entry.not_after = row.not_after;
		if (entry.not_after < r->now)
			continue;
		memcpy(entry.serial, row.serial, sizeof(entry.serial));
		memcpy(entry.key, row.key, sizeof(entry.key));
		err = entry_add(r, &entry, &f);
		if (!err && row.state != SNAPSHOT_ISSUED)
			*(row.state == SNAPSHOT_ABORTED ? &f->aborted : &f->revoked) = true;
	}
	for (size_t i = 0; i < snapshot->n_edges && !err; i++) {
		struct snapshot_edge edge;

		snapshot_edge(snapshot, i, &edge);
		err = edge_keep(&r->told, &r->n_told, &r->cap_told, edge.id, edge.at);
	}
	return err;
}

struct first {
	bool seen;
	writ_time time;
};

static struct writ_err *
first_see(const struct entry *entry, void *ctx)
{
	struct first *first = ctx;

	first->seen = true;
	first->time = entry->time;
	return writ_fail(WRIT_CONFLICT, "one is enough");
}

static int
index_order(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
freep(void *p)
{
	free(*(void **)p);
}

/* First indices of the segments, ascending: their names. */
WRIT_CHECKED static struct writ_err *
segments_list(const char *dir, uint64_t **ret, size_t *ret_n)
{
	AUTO(freep) uint64_t *list = calloc(SEGMENTS_MAX, sizeof(*list));
	const struct dirent *e;
	size_t n = 0;
	DIR *folder;

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the journal's segments");
	folder = opendir(dir);
	if (!folder)
		return writ_fail_errno(errno, "opening %s", dir);
	while ((e = readdir(folder)) && n < SEGMENTS_MAX) {
		uint8_t index[8];

		if (strlen(e->d_name) == 19 && strcmp(e->d_name + 16, ".wj") == 0 &&
		    writ_unhex((struct writ_bytes){ (const uint8_t *)e->d_name, 16 }, index, 8))
			list[n++] = writ_get64(index);
	}
	closedir(folder);
	qsort(list, n, sizeof(*list), index_order);
	*ret = TAKE(list);
	*ret_n = n;
	return NULL;
}

/* Where to begin reading: the last segment that began before any live entry could have been written. */
WRIT_CHECKED static struct writ_err *
start_find(const struct recovery *r, const char *dir, uint64_t *ret)
{
	AUTO(freep) uint64_t *segments = NULL;
	struct writ_err *err;
	size_t n = 0;

	*ret = 0;
	err = segments_list(dir, &segments, &n);
	while (!err && n-- > 0) {
		struct first first = { 0 };

		err = journal_read(dir, segments[n], first_see, &first);
		if (err && first.seen) {
			writ_err_free(err);
			err = NULL;
		}
		*ret = segments[n];
		if (!err && first.seen && first.time < r->now - LOOK_BACK_S)
			return NULL;
	}
	return err;
}

/* ---- the store ---- */

/* Against the journal's. */
WRIT_CHECKED static struct writ_err *
row_compare(struct recovery *r, const struct recovery_row *row)
{
	struct live_entry *f = live_find(&r->live, row->serial);
	char hex[2 * SERIAL_LEN + 1];

	r->n_rows++;
	if (!f)
		return writ_fail(WRIT_LOCKED,
				 "certificate %s is in the store and not in the journal: the journal is an older copy; "
				 "restore the newest of both",
				 writ_hex((struct writ_bytes){ row->serial, SERIAL_LEN }, hex));
	f->row = row->state;
	f->reason = row->reason;
	f->revoked_at = row->revoked_at;
	return status_set(r->serve->status, row->serial, row->state == CERT_GOOD ? STATUS_GOOD : STATUS_REVOKED,
			  row->not_after);
}

static void
row_from(const struct store_cert *cert, struct recovery_row *ret)
{
	*ret = (struct recovery_row){ .not_after = time32(cert->not_after),
				      .revoked_at = time32(cert->revoked_at),
				      .state = (uint8_t)cert->state,
				      .reason = (uint8_t)cert->reason };
	memcpy(ret->serial, cert->serial, sizeof(ret->serial));
}

static struct writ_err *
row_see(const struct store_cert *cert, void *ctx)
{
	struct recovery_row row;

	row_from(cert, &row);
	return row_compare(ctx, &row);
}

static struct writ_err *
row_keep(const struct store_cert *cert, void *ctx)
{
	struct recovery_ahead *ahead = ctx;
	struct recovery_row *grown;

	if (ahead->n == AHEAD_MAX)
		return writ_fail(WRIT_EXHAUSTED, "more than %d rows are not held in memory", AHEAD_MAX);
	grown = writ_room(ahead->rows, ahead->n, &ahead->cap, sizeof(*grown), 4096);
	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu rows", ahead->n + 1);
	ahead->rows = grown;
	row_from(cert, &ahead->rows[ahead->n++]);
	return NULL;
}

void
recovery_ahead(struct store *store, writ_time now, struct recovery_ahead *ret)
{
	struct writ_err *err;

	*ret = (struct recovery_ahead){ .at = now };
	err = store_live_certs(store, now, row_keep, ret);
	if (err)
		recovery_ahead_done(ret);
	else
		ret->whole = true;
	writ_err_free(err);
}

void
recovery_ahead_done(struct recovery_ahead *ahead)
{
	free(ahead->rows);
	*ahead = (struct recovery_ahead){ 0 };
}

/* What was read ahead, where it is all that would be read now: for a clock that was ahead then, it is not. */
WRIT_CHECKED static struct writ_err *
rows_see(struct recovery *r)
{
	const struct recovery_ahead *ahead = r->ahead;
	struct writ_err *err = NULL;

	if (!ahead->whole || ahead->at > r->now)
		return store_live_certs(r->store, r->now, row_see, r);
	for (size_t i = 0; i < ahead->n && !err; i++) {
		if (i + SOON < ahead->n)
			live_soon(&r->live, ahead->rows[i + SOON].serial);
		if (ahead->rows[i].not_after >= r->now)
			err = row_compare(r, &ahead->rows[i]);
	}
	return err;
}

static struct writ_err *
outbox_see(uint64_t number, void *ctx)
{
	struct recovery *r = ctx;
	uint64_t *grown = writ_room(r->outbox, r->n_outbox, &r->cap_outbox, sizeof(*grown), 1024);

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the outbox");
	r->outbox = grown;
	r->outbox[r->n_outbox++] = number;
	return NULL;
}

static struct writ_err *
edge_see(const uint8_t id[EDGE_ID_LEN], writ_time revoked_at, void *ctx)
{
	struct recovery *r = ctx;

	return edge_keep(&r->edges, &r->n_edges, &r->cap_edges, id, revoked_at);
}

/* ---- verdicts ---- */

WRIT_CHECKED static struct writ_err *
older(const struct live_entry *f)
{
	char hex[2 * SERIAL_LEN + 1];

	return writ_fail(WRIT_LOCKED,
			 "the store is older than the journal: entry %" PRIu64
			 ", certificate %s; restore the newest store",
			 f->index, writ_hex((struct writ_bytes){ f->serial, SERIAL_LEN }, hex));
}

WRIT_CHECKED static struct writ_err *
judge(const struct recovery *r)
{
	struct live_at at = { 0 };
	const struct live_entry *f;

	while ((f = live_next(&r->live, &at))) {
		if (f->row == 0 && (f->revoked || (!f->aborted && f->index < r->welcome->settled)))
			return older(f);
		if (f->row == CERT_GOOD && (f->aborted || f->revoked))
			return older(f);
	}
	return NULL;
}

/* Is there a verdict, or a repair, that names an entry of a snapshot? */
static bool
needs_index(const struct recovery *r)
{
	struct live_at at = { 0 };
	const struct live_entry *f;

	while ((f = live_next(&r->live, &at)))
		if (f->index == UINT64_MAX &&
		    (f->row == 0 || (f->row == CERT_GOOD && (f->aborted || f->revoked))))
			return true;
	return false;
}

/* ---- repairs ---- */

WRIT_CHECKED static struct writ_err *
rows_abort(struct recovery *r, struct store_cert *certs, struct store_item *items, size_t n)
{
	struct writ_err *err;

	for (size_t i = 0; i < n; i++)
		items[i] = (struct store_item){ .op = STORE_ABORT, .cert = &certs[i], .now = r->now };
	err = n > 0 ? store_commit(r->store, items, n) : NULL;
	for (size_t i = 0; i < n && !err; i++) {
		err = TAKE(items[i].result);
		if (!err)
			err = status_set(r->serve->status, certs[i].serial, STATUS_REVOKED, certs[i].not_after);
	}
	return err;
}

/* Entries first, then rows: after a crash in between, the row is what is missing. */
WRIT_CHECKED static struct writ_err *
abort_missing(struct recovery *r)
{
	AUTO(freep) uint8_t(*serials)[SERIAL_LEN] = calloc(r->live.n + 1, sizeof(*serials));
	AUTO(freep) struct store_cert *certs = calloc(GROUP, sizeof(*certs));
	AUTO(freep) struct store_item *items = calloc(GROUP, sizeof(*items));
	struct live_at at = { 0 };
	const struct live_entry *f;
	struct writ_err *err;
	size_t n = 0;

	if (!serials || !certs || !items)
		return writ_fail(WRIT_EXHAUSTED, "no memory for aborts");
	while ((f = live_next(&r->live, &at)))
		if (!f->aborted && (f->row == 0 || (f->row == CERT_ABORTED && !f->revoked)))
			memcpy(serials[n++], f->serial, SERIAL_LEN);
	r->n_aborted = n;
	err = n > 0 ? control_abort(r->sock, (const uint8_t(*)[SERIAL_LEN])serials, n) : NULL;

	n = 0;
	at = (struct live_at){ 0 };
	while (!err && (f = live_next(&r->live, &at))) {
		if (f->row != 0)
			continue;
		certs[n] = (struct store_cert){ .log_index = f->index,
						.not_before = r->now,
						.not_after = f->not_after,
						.state = CERT_ABORTED,
						.revoked_at = r->now };
		memcpy(certs[n].serial, f->serial, SERIAL_LEN);
		memcpy(certs[n].issuer_key_id, f->key, sizeof(f->key));
		if (++n == GROUP) {
			err = rows_abort(r, certs, items, n);
			n = 0;
		}
	}
	return err ? err : rows_abort(r, certs, items, n);
}

static int
at_order(const void *a, const void *b)
{
	const struct control_revoke *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

/* A revoked row whose entry is missing is journalled before anything is served. */
WRIT_CHECKED static struct writ_err *
revoke_missing(struct recovery *r)
{
	AUTO(freep) struct control_revoke *list = calloc(r->live.n + 1, sizeof(*list));
	bool logged = true, edge_logged = true;
	struct live_at at = { 0 };
	const struct live_entry *f;
	struct writ_err *err;
	size_t n = 0;

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for revocations");
	while ((f = live_next(&r->live, &at))) {
		if (f->row != CERT_REVOKED || f->revoked || f->aborted)
			continue;
		memcpy(list[n].serial, f->serial, SERIAL_LEN);
		list[n].reason = f->reason;
		list[n++].at = f->revoked_at;
	}
	r->n_revoked = n;
	qsort(list, n, sizeof(*list), at_order);
	err = control_revoke(r->sock, list, n, &logged);
	if (r->n_told > 0)
		qsort(r->told, r->n_told, sizeof(*r->told), edge_order);
	for (size_t i = 0; i < r->n_edges && !err; i++)
		if (r->n_told == 0 || !bsearch(&r->edges[i], r->told, r->n_told, sizeof(*r->told), edge_order))
			err = control_revoke_edges(r->sock, (const uint8_t(*)[EDGE_ID_LEN])r->edges[i].id, 1,
						   r->edges[i].at, &edge_logged);
	if (!err && !(logged && edge_logged))
		event(EVENT_ALARM, "recovery.revocations_owed", EV_NUM("revoked", n));
	return err;
}

WRIT_CHECKED static struct writ_err *
outbox_empty(struct recovery *r)
{
	struct store_item item = { .op = STORE_OUTBOX_DONE, .done = r->outbox, .n_done = r->n_outbox, .now = r->now };
	struct writ_err *err = r->n_outbox > 0 ? store_commit(r->store, &item, 1) : NULL;

	return err ? err : TAKE(item.result);
}

/* ---- both read ---- */

WRIT_CHECKED static struct writ_err *
journal_see(struct recovery *r, const char *dir)
{
	struct writ_err *err = start_find(r, dir, &r->from);

	return err ? err : journal_read(dir, r->from, entry_see, r);
}

WRIT_CHECKED static struct writ_err *
journal_see_behind(struct recovery *r, const char *dir)
{
	AUTO(snapshot_done) struct snapshot snapshot = { 0 };
	struct writ_err *err = snapshot_find(dir, r->welcome->log_id, &snapshot);

	if (!err)
		err = snapshot_see(r, &snapshot);
	r->from = snapshot.mark.index;
	return err ? err : journal_read_from(dir, &snapshot.mark, entry_see, r);
}

WRIT_CHECKED static struct writ_err *
store_see(struct recovery *r)
{
	struct writ_err *err = rows_see(r);

	if (!err)
		err = store_outbox(r->store, outbox_see, r);
	return err ? err : store_revoked_edges(r->store, r->now - EDGES_SINCE_S, edge_see, r);
}

WRIT_CHECKED static struct writ_err *
both_see(struct recovery *r, const char *dir)
{
	struct writ_err *err = journal_see_behind(r, dir);

	if (!err)
		err = store_see(r);
	if (!err && !needs_index(r))
		return NULL;
	if (err && err->code != WRIT_NOT_FOUND)
		event(EVENT_WARN, "recovery.snapshot_not_used", EV_ERR(err));
	writ_err_free(err);
	recovery_done(r);
	err = journal_see(r, dir);
	return err ? err : store_see(r);
}

WRIT_CHECKED static struct writ_err *
run(struct recovery *r)
{
	struct writ_err *err;
	char dir[4096];

	err = both_see(r, conf_path(r->serve->conf.state, "journal", dir));
	if (!err)
		err = judge(r);
	if (!err)
		err = abort_missing(r);
	if (!err)
		err = revoke_missing(r);
	if (!err)
		err = outbox_empty(r);
	if (!err && r->welcome->next_index > r->welcome->settled)
		err = control_settled(r->sock, r->welcome->next_index);
	return err;
}

struct writ_err *
recovery_run(struct serve *serve, struct store *store, const struct recovery_ahead *ahead, int sock,
	     const struct signer_welcome *welcome, writ_time now)
{
	AUTO(recovery_done)
	struct recovery r = {
		.serve = serve, .store = store, .ahead = ahead, .sock = sock, .welcome = welcome, .now = now
	};
	struct writ_err *err = run(&r);

	if (err)
		return writ_because(err, "recovery");
	atomic_store(&serve->floor, r.newest);
	event(EVENT_INFO, "recovery.done", EV_NUM("live_entries", r.live.n), EV_NUM("live_rows", r.n_rows), EV_NUM("from", r.from),
	      EV_NUM("aborted", r.n_aborted), EV_NUM("revoked", r.n_revoked), EV_NUM("settled", welcome->next_index));
	return NULL;
}
