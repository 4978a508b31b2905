/*
 * Segments: made, opened, checked, written, read.  The invariants are in journal.h; records are record.c's.
 */
#include "issuer/log/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/log/record.h"

#define MAGIC "WRITJRNL"
#define VERSION 1
#define HEADER_LEN 64
#define NAME_LEN 19			/* "%016x.wj" */
#define PENDING_MAX (8u * 1024 * 1024)	/* bytes of a group */
#define PENDING_SYNC (4u * 1024 * 1024) /* from here on journal_add() syncs by itself */

struct journal {
	char dir[PATH_MAX - 64];
	int lock_fd, fd;
	uint8_t log_id[LOG_ID_LEN];
	uint64_t segment_len, at; /* bytes; at: where `pending` goes */
	struct writ_buf pending;
	uint64_t next, durable;
	uint8_t last_hash[32];
	writ_time last_time;
	bool full; /* only the reserve is left, or not even that (5) */
};

static void
fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* I13: what was not written cannot be taken back from those who would rely on it. */
static _Noreturn void
write_failed(const char *what)
{
	fprintf(stderr, "writ: %s could not be written (errno %d): stopping\n", what, errno);
	abort();
}

void
log_id(struct writ_bytes origin, uint8_t out[LOG_ID_LEN])
{
	uint8_t hash[SHA256_LEN];

	writ_sha256(origin, hash);
	memcpy(out, hash, LOG_ID_LEN);
}

static struct writ_err *
path_of(const char *dir, const char *name, char out[PATH_MAX])
{
	const int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= PATH_MAX)
		return writ_fail(WRIT_INVALID, "the journal's folder has a name that is too long");
	return NULL;
}

static void
dir_sync(const char *dir)
{
	AUTO(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		write_failed(dir);
}

/* ---- making segments ---- */

/* A file of `len` zero bytes that are really there: later writes need no space.  WRIT_EXHAUSTED: no room for it. */
static struct writ_err *
zeros_make(const char *path, uint64_t len, int *ret_fd)
{
	AUTO(fd_closep) int fd = -1;
	int failed;

	unlink(path); /* of a process that died before its rename */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return writ_fail_errno(errno, "making %s", path);
	failed = fchmod(fd, 0640) != 0 ? errno : posix_fallocate(fd, 0, (off_t)len);
	if (failed == 0) {
		*ret_fd = fd;
		fd = -1;
		return NULL;
	}
	unlink(path);
	if (failed == ENOSPC || failed == EDQUOT || failed == EFBIG)
		return writ_fail(WRIT_EXHAUSTED, "no room on the disk for the %" PRIu64 " bytes of %s", len, path);
	return writ_fail_errno(failed, "making %s", path);
}

static struct writ_err *
reserve_make(const char *dir)
{
	AUTO(fd_closep) int fd = -1;
	char path[PATH_MAX], temporary[PATH_MAX];
	struct writ_err *err = path_of(dir, "reserve", path);

	if (!err && access(path, F_OK) == 0)
		return NULL;
	if (!err)
		err = path_of(dir, "reserve.new", temporary);
	if (!err)
		err = zeros_make(temporary, JOURNAL_RESERVE_LEN, &fd);
	if (err)
		return err;
	if (fsync(fd) != 0)
		write_failed(temporary);
	if (rename(temporary, path) != 0)
		return writ_fail_errno(errno, "putting %s in place", path);
	dir_sync(dir);
	return NULL;
}

static void
put64le(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t
get64le(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned i = 8; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

/* Gives a file of zeros its header and its name; a segment under its name always has a whole header. */
static struct writ_err *
segment_name(int fd, const char *dir, const char *from, uint64_t first, const uint8_t id[LOG_ID_LEN],
	     const uint8_t before[32])
{
	uint8_t header[HEADER_LEN] = MAGIC;
	char name[NAME_LEN + 1], path[PATH_MAX];
	struct writ_err *err;

	header[8] = VERSION;
	put64le(header + 16, first);
	memcpy(header + 24, id, LOG_ID_LEN);
	memcpy(header + 32, before, 32);
	snprintf(name, sizeof(name), "%016" PRIx64 ".wj", first);
	err = path_of(dir, name, path);
	if (err)
		return err;
	if (pwrite(fd, header, HEADER_LEN, 0) != HEADER_LEN || fsync(fd) != 0)
		write_failed(from);
	if (rename(from, path) != 0)
		return writ_fail_errno(errno, "putting %s in place", path);
	dir_sync(dir);
	return NULL;
}

static struct writ_err *
segment_make(const char *dir, uint64_t first, const uint8_t id[LOG_ID_LEN], const uint8_t before[32], int *ret_fd)
{
	AUTO(fd_closep) int fd = -1;
	char temporary[PATH_MAX];
	struct writ_err *err = path_of(dir, "segment.new", temporary);

	if (!err)
		err = zeros_make(temporary, JOURNAL_SEGMENT_LEN, &fd);
	if (!err)
		err = segment_name(fd, dir, temporary, first, id, before);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

/* ---- finding and checking segments ---- */

struct segments {
	size_t n;
	uint64_t *first; /* ascending */
};

static void
segments_done(struct segments *s)
{
	free(s->first);
}

static int
first_order(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool
name_read(const char *name, uint64_t *ret)
{
	uint8_t octets[8];

	if (strlen(name) != NAME_LEN || strcmp(name + 16, ".wj") != 0 ||
	    !writ_unhex((struct writ_bytes){ (const uint8_t *)name, 16 }, octets, sizeof(octets)))
		return false;
	*ret = writ_get64(octets);
	return true;
}

static struct writ_err *
segments_find(const char *dir, struct segments *ret)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	*ret = (struct segments){ 0 };
	if (!d)
		return errno == ENOENT ? writ_fail(WRIT_NOT_FOUND, "there is no journal in %s", dir)
				       : writ_fail_errno(errno, "opening the journal's folder %s", dir);
	while ((entry = readdir(d))) {
		uint64_t first, *grown;

		if (!name_read(entry->d_name, &first))
			continue;
		grown = ret->n % 64 == 0 ? realloc(ret->first, (ret->n + 64) * sizeof(first)) : ret->first;
		if (!grown) {
			closedir(d);
			return writ_fail(WRIT_EXHAUSTED, "no memory for the names of %zu segments", ret->n);
		}
		ret->first = grown;
		ret->first[ret->n++] = first;
	}
	closedir(d);
	if (ret->n > 0)
		qsort(ret->first, ret->n, sizeof(ret->first[0]), first_order);
	return NULL;
}

/* One segment in memory, and how far it was understood. */
struct segment {
	char path[PATH_MAX];
	int fd;
	uint8_t *data;
	size_t len;
	size_t end;	      /* behind the last good record */
	struct writ_err *bad; /* why the walk ended there; NULL: an end mark */
};

static void
segment_done(struct segment *s)
{
	fd_closep(&s->fd);
	free(s->data);
	writ_err_free(s->bad);
}

static struct writ_err *
segment_load(const char *dir, uint64_t first, int flags, struct segment *s)
{
	char name[NAME_LEN + 1];
	struct writ_err *err;
	struct stat st;
	size_t done = 0;

	snprintf(name, sizeof(name), "%016" PRIx64 ".wj", first);
	err = path_of(dir, name, s->path);
	if (err)
		return err;
	s->fd = open(s->path, flags | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return writ_fail_errno(errno, "opening %s", s->path);
	if (st.st_size < HEADER_LEN || st.st_size > JOURNAL_SEGMENT_LEN)
		return writ_fail(WRIT_BROKEN, "%s has %lld bytes: a segment has %d to %u", s->path,
				 (long long)st.st_size, HEADER_LEN, JOURNAL_SEGMENT_LEN);
	s->len = (size_t)st.st_size;
	s->data = malloc(s->len);
	if (!s->data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the %zu bytes of %s", s->len, s->path);
	while (done < s->len) {
		const ssize_t n = pread(s->fd, s->data + done, s->len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return writ_fail_errno(n < 0 ? errno : EIO, "reading %s", s->path);
		done += (size_t)n;
	}
	return NULL;
}

/* Where the walk over all segments stands. */
struct walk {
	uint64_t index;	  /* of the next entry */
	uint8_t hash[32]; /* of the entry before; meaningless at the first segment read */
	bool chained;	  /* `hash` and `id` are known */
	uint8_t id[LOG_ID_LEN];
	writ_time last_time;
	uint64_t from; /* `each` sees entries from here on */
	journal_each *each;
	void *ctx;
};

static struct writ_err *
header_check(const struct segment *s, uint64_t first, struct walk *w)
{
	uint8_t fixed[16] = MAGIC;

	fixed[8] = VERSION;
	if (memcmp(s->data, fixed, sizeof(fixed)) != 0)
		return writ_fail(WRIT_BROKEN, "%s is not a journal segment of version %d", s->path, VERSION);
	if (get64le(s->data + 16) != first || first != w->index)
		return writ_fail(WRIT_BROKEN,
				 "%s begins at entry %" PRIu64 ": its name says %" PRIu64 ", and %" PRIu64
				 " is next: a segment is missing or misnamed",
				 s->path, get64le(s->data + 16), first, w->index);
	if (w->chained && memcmp(s->data + 24, w->id, LOG_ID_LEN) != 0)
		return writ_fail(WRIT_BROKEN, "%s belongs to another log: its log id is not this origin's", s->path);
	if (w->chained && memcmp(s->data + 32, w->hash, 32) != 0)
		return writ_fail(WRIT_BROKEN,
				 "%s does not follow the segment before it: the hash of entry %" PRIu64 " differs",
				 s->path, w->index - 1);
	memcpy(w->id, s->data + 24, LOG_ID_LEN);
	memcpy(w->hash, s->data + 32, 32);
	w->chained = true;
	return NULL;
}

/* Good records up to the first that is none.  The error is of `each`; what is bad in the segment goes into s->bad. */
static struct writ_err *
segment_walk(struct segment *s, struct walk *w)
{
	struct writ_err *err;

	s->end = HEADER_LEN;
	for (;;) {
		struct entry e;
		size_t len;

		s->bad = record_read((struct writ_bytes){ s->data + s->end, s->len - s->end }, &e, &len);
		if (s->bad || len == 0)
			return NULL;
		e.index = w->index;
		err = e.index >= w->from && w->each ? w->each(&e, w->ctx) : NULL;
		if (err)
			return writ_because(err, "entry %" PRIu64, e.index);
		memcpy(w->hash, e.leaf_hash, 32);
		if (e.time > w->last_time)
			w->last_time = e.time;
		w->index++;
		s->end += len;
	}
}

/* The end of what is not zero. */
static size_t
used_len(const struct segment *s)
{
	size_t len = s->len;

	while (len > s->end && s->data[len - 1] == 0)
		len--;
	return len;
}

static struct writ_err *
damaged(const struct segment *s, const struct walk *w, const char *why)
{
	return writ_fail(WRIT_BROKEN,
			 "the journal is damaged: %s, offset %zu (entry %" PRIu64 "): %s: restore it from a copy",
			 s->path, s->end, w->index, why);
}

/*
 * Is what follows the last good record the torn tail of a group that was never acknowledged?  It is, unless a later
 * group begins in it: that one was written after an fdatasync of all before it (3).
 */
static struct writ_err *
tail_check(const struct segment *s, const struct walk *w, size_t used)
{
	for (size_t at = s->end + 1; at < used; at++) {
		const struct writ_bytes rest = { s->data + at, s->len - at };
		struct writ_err *err;
		struct entry e;
		size_t len;

		if (!record_plausible(rest))
			continue;
		err = record_read(rest, &e, &len);
		if (err) {
			writ_err_free(err);
			continue;
		}
		if (e.group_first)
			return damaged(s, w, "a bad record stands before good ones");
		at += len - 1;
	}
	return NULL;
}

static struct writ_err *
tail_cut(const struct segment *s, size_t used)
{
	for (size_t at = s->end; at < used;) {
		static const uint8_t zeros[4096];
		const size_t left = used - at;
		const ssize_t n = pwrite(s->fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros), (off_t)at);

		if (n <= 0)
			return writ_fail_errno(n < 0 ? errno : EIO, "cutting the torn tail of %s", s->path);
		at += (size_t)n;
	}
	file_sync(s->fd, s->path);
	return NULL;
}

/* ---- opening ---- */

struct writ_err *
journal_create(const char *dir, struct writ_bytes origin)
{
	static const uint8_t no_hash[32];
	AUTO(segments_done) struct segments segments = { 0 };
	AUTO(fd_closep) int fd = -1;
	uint8_t id[LOG_ID_LEN];
	struct writ_err *err;

	err = file_make_dir(dir, 0750);
	if (!err)
		err = segments_find(dir, &segments);
	if (err)
		return err;
	if (segments.n > 0)
		return writ_fail(WRIT_CONFLICT, "there is a journal in %s already", dir);
	log_id(origin, id);
	err = reserve_make(dir);
	if (!err)
		err = segment_make(dir, 0, id, no_hash, &fd);
	return err;
}

/* The last segment: its tail is cut, and it becomes the one that is written. */
static struct writ_err *
last_take(struct journal *j, struct segment *s, const struct walk *w, struct journal_cut *ret_cut)
{
	const size_t used = used_len(s);
	struct writ_err *err = NULL;

	if (used > s->end) {
		err = tail_check(s, w, used);
		if (!err)
			err = tail_cut(s, used);
		*ret_cut = (struct journal_cut){ .any = true, .index = w->index, .bytes = used - s->end };
	}
	if (err)
		return err;
	j->fd = s->fd;
	s->fd = -1;
	j->segment_len = s->len;
	j->at = s->end;
	return NULL;
}

static struct writ_err *
segments_check(struct journal *j, const struct segments *segments, struct walk *w, struct journal_cut *ret_cut)
{
	for (size_t i = 0; i < segments->n; i++) {
		AUTO(segment_done) struct segment s = { .fd = -1 };
		const bool last = i + 1 == segments->n;
		struct writ_err *err;

		err = segment_load(j->dir, segments->first[i], O_RDWR, &s);
		if (!err)
			err = header_check(&s, segments->first[i], w);
		if (!err)
			err = segment_walk(&s, w);
		if (!err && !last && used_len(&s) > s.end)
			err = damaged(&s, w, s.bad ? s.bad->message : "something stands behind the end mark");
		if (!err && last)
			err = last_take(j, &s, w, ret_cut);
		if (err)
			return err;
	}
	return NULL;
}

/* Missing when the disk was full: issuing waits until it is back. */
static struct writ_err *
reserve_check(struct journal *j)
{
	struct writ_err *err = reserve_make(j->dir);

	j->full = j->segment_len < JOURNAL_SEGMENT_LEN || err;
	if (err && err->code != WRIT_EXHAUSTED)
		return err;
	writ_err_free(err);
	return NULL;
}

struct writ_err *
journal_open(const char *dir, struct writ_bytes origin, journal_each *each, void *ctx, struct journal_cut *ret_cut,
	     struct journal **ret)
{
	AUTO(segments_done) struct segments segments = { 0 };
	AUTO(journal_closep) struct journal *j = calloc(1, sizeof(*j));
	struct walk w = { .chained = true, .each = each, .ctx = ctx };
	struct writ_err *err;

	*ret = NULL;
	*ret_cut = (struct journal_cut){ 0 };
	if (!j)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the journal");
	j->lock_fd = j->fd = -1;
	j->pending = WRIT_BUF(PENDING_MAX);
	if (strlen(dir) >= sizeof(j->dir))
		return writ_fail(WRIT_INVALID, "the journal's folder has a name that is too long");
	memcpy(j->dir, dir, strlen(dir) + 1);
	log_id(origin, j->log_id);
	memcpy(w.id, j->log_id, LOG_ID_LEN);

	err = segments_find(dir, &segments);
	if (err)
		return err;
	if (segments.n == 0)
		return writ_fail(WRIT_NOT_FOUND, "there is no journal in %s: it is made by writ init, never by itself",
				 dir);
	err = file_lock(dir, &j->lock_fd);
	if (!err)
		err = segments_check(j, &segments, &w, ret_cut);
	if (!err)
		err = reserve_check(j);
	if (err)
		return err;
	j->next = j->durable = w.index;
	memcpy(j->last_hash, w.hash, 32);
	j->last_time = w.last_time;
	*ret = TAKE(j);
	return NULL;
}

/* ---- writing ---- */

/* The new segment takes over; all before it is durable, which tail_check() and the chain of segments rely on. */
static void
segment_switch(struct journal *j, int fd, uint64_t len)
{
	close(j->fd);
	j->fd = fd;
	j->segment_len = len;
	j->at = HEADER_LEN;
}

static struct writ_err *
reserve_use(struct journal *j)
{
	AUTO(fd_closep) int fd = -1;
	char path[PATH_MAX];
	struct writ_err *err = path_of(j->dir, "reserve", path);

	if (err)
		return err;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return writ_fail(WRIT_EXHAUSTED,
				 "the disk is full, and the journal's reserve is used up: free some space");
	err = segment_name(fd, j->dir, path, j->next, j->log_id, j->last_hash);
	if (err)
		return err;
	segment_switch(j, fd, JOURNAL_RESERVE_LEN);
	fd = -1;
	return NULL;
}

static struct writ_err *
roll(struct journal *j)
{
	struct writ_err *err;
	int fd;

	journal_sync(j);
	err = segment_make(j->dir, j->next, j->log_id, j->last_hash, &fd);
	if (!err) {
		segment_switch(j, fd, JOURNAL_SEGMENT_LEN);
		return reserve_check(j);
	}
	if (err->code != WRIT_EXHAUSTED)
		return err;
	writ_err_free(err);
	j->full = true;
	return reserve_use(j);
}

static bool
reserve_takes(enum entry_type type)
{
	switch (type) {
	case ENTRY_ISSUE:
	case ENTRY_DENY:
	case ENTRY_TASK:
	case ENTRY_GRANT:
	case ENTRY_POLICY:
		return false;
	case ENTRY_ABORT:
	case ENTRY_REVOKE:
	case ENTRY_KEY:
	case ENTRY_CRL:
	case ENTRY_SETTLED:
	case ENTRY_ADMIN:
	case ENTRY_START:
	case ENTRY_STOP:
	case ENTRY_RECOVER:
	case ENTRY_CLOCK:
		return true;
	}
	return false;
}

static struct writ_err *
refuse_full(const struct entry *e)
{
	return writ_fail(WRIT_EXHAUSTED, "the disk is full: the journal's reserve takes no %s entry: free some space",
			 entry_type_name(e->type));
}

struct writ_err *
journal_add(struct journal *j, struct entry *e)
{
	struct writ_err *err;

	if (j->full && !reserve_takes(e->type))
		return refuse_full(e);
	if (j->at + j->pending.len + record_len(e) > j->segment_len) {
		err = roll(j);
		if (err)
			return err;
		if (j->full && !reserve_takes(e->type))
			return refuse_full(e);
	}
	if (j->pending.len > PENDING_SYNC)
		journal_sync(j);
	e->group_first = j->pending.len == 0;
	err = record_write(e, &j->pending);
	if (err)
		return err;
	e->index = j->next++;
	memcpy(j->last_hash, e->leaf_hash, 32);
	if (e->time > j->last_time)
		j->last_time = e->time;
	return NULL;
}

void
journal_sync(struct journal *j)
{
	struct writ_bytes left = writ_view(&j->pending);

	if (left.len == 0)
		return;
	while (left.len > 0) {
		const ssize_t n = pwrite(j->fd, left.data, left.len, (off_t)j->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			write_failed("the journal");
		j->at += (uint64_t)n;
		left.data += n;
		left.len -= (size_t)n;
	}
	FAULT("journal:before-sync");
	file_sync(j->fd, "the journal");
	FAULT("journal:after-sync");
	writ_buf_clear(&j->pending);
	j->durable = j->next;
}

uint64_t
journal_next(const struct journal *j)
{
	return j->next;
}

uint64_t
journal_durable(const struct journal *j)
{
	return j->durable;
}

writ_time
journal_last_time(const struct journal *j)
{
	return j->last_time;
}

/* Back from the reserve once a whole segment and a new reserve fit again. */
bool
journal_can_issue(struct journal *j)
{
	struct writ_err *err = NULL;
	struct statvfs fs;

	if (!j->full)
		return true;
	if (statvfs(j->dir, &fs) != 0 ||
	    (uint64_t)fs.f_bavail * fs.f_frsize < JOURNAL_SEGMENT_LEN + JOURNAL_RESERVE_LEN)
		return false;
	if (j->segment_len < JOURNAL_SEGMENT_LEN) {
		int fd;

		journal_sync(j);
		err = segment_make(j->dir, j->next, j->log_id, j->last_hash, &fd);
		if (!err)
			segment_switch(j, fd, JOURNAL_SEGMENT_LEN);
	}
	if (!err)
		err = reserve_check(j);
	writ_err_free(err); /* asked again soon: what matters is that it is still full */
	return !j->full;
}

void
journal_close(struct journal *j)
{
	if (!j)
		return;
	fd_closep(&j->fd);
	fd_closep(&j->lock_fd);
	writ_buf_done(&j->pending);
	free(j);
}

void
journal_closep(struct journal **j)
{
	journal_close(*j);
}

/* ---- reading beside the writer ---- */

struct writ_err *
journal_read(const char *dir, uint64_t from, journal_each *each, void *ctx)
{
	AUTO(segments_done) struct segments segments = { 0 };
	struct walk w = { .from = from, .each = each, .ctx = ctx };
	struct writ_err *err;
	size_t i = 0;

	err = segments_find(dir, &segments);
	if (err)
		return err;
	while (i + 1 < segments.n && segments.first[i + 1] <= from)
		i++;
	w.index = segments.n > 0 ? segments.first[i] : 0;
	for (; i < segments.n; i++) {
		AUTO(segment_done) struct segment s = { .fd = -1 };

		err = segment_load(dir, segments.first[i], O_RDONLY, &s);
		if (!err)
			err = header_check(&s, segments.first[i], &w);
		if (!err)
			err = segment_walk(&s, &w);
		/* In the last one a bad record is the writer's, at work; earlier ones are written no more. */
		if (!err && i + 1 < segments.n && used_len(&s) > s.end)
			err = damaged(&s, &w, s.bad ? s.bad->message : "something stands behind the end mark");
		if (err)
			return err;
	}
	return NULL;
}
