/*
 * Segments as files.  The invariants are in journal.h; records are record.c's.
 */
#include "issuer/log/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "issuer/log/record.h"

#define MAGIC "WRITJRNL"
#define VERSION 1
#define NAME_LEN 19 /* "%016x.wj" */

_Noreturn void
segment_write_failed(const char *what)
{
	fprintf(stderr, "writ: %s could not be written (errno %d): stopping\n", what, errno);
	abort();
}

struct writ_err *
segment_path(const char *dir, const char *name, char out[PATH_MAX])
{
	const int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= PATH_MAX)
		return writ_fail(WRIT_INVALID, "the journal's folder has a name that is too long");
	return NULL;
}

static void
dir_sync(const char *dir)
{
	AUTO(file_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		segment_write_failed(dir);
}

/* ---- making segments ---- */

/* A file of `len` zero bytes that are really there: later writes need no space.  WRIT_EXHAUSTED: no room for it. */
static struct writ_err *
zeros_make(const char *path, uint64_t len, int *ret_fd)
{
	AUTO(file_closep) int fd = -1;
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

struct writ_err *
reserve_make(const char *dir)
{
	AUTO(file_closep) int fd = -1;
	char path[PATH_MAX], temporary[PATH_MAX];
	struct writ_err *err = segment_path(dir, "reserve", path);

	if (!err && access(path, F_OK) == 0)
		return NULL;
	if (!err)
		err = segment_path(dir, "reserve.new", temporary);
	if (!err)
		err = zeros_make(temporary, JOURNAL_RESERVE_LEN, &fd);
	if (err)
		return err;
	if (fsync(fd) != 0)
		segment_write_failed(temporary);
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
	uint8_t header[SEGMENT_HEADER_LEN] = MAGIC;
	char name[NAME_LEN + 1], path[PATH_MAX];
	struct writ_err *err;

	header[8] = VERSION;
	put64le(header + 16, first);
	memcpy(header + 24, id, LOG_ID_LEN);
	memcpy(header + 32, before, 32);
	snprintf(name, sizeof(name), "%016" PRIx64 ".wj", first);
	err = segment_path(dir, name, path);
	if (err)
		return err;
	if (pwrite(fd, header, SEGMENT_HEADER_LEN, 0) != SEGMENT_HEADER_LEN || fsync(fd) != 0)
		segment_write_failed(from);
	if (rename(from, path) != 0)
		return writ_fail_errno(errno, "putting %s in place", path);
	dir_sync(dir);
	return NULL;
}

struct writ_err *
segment_make(const char *dir, uint64_t first, const uint8_t id[LOG_ID_LEN], const uint8_t before[32], int *ret_fd)
{
	AUTO(file_closep) int fd = -1;
	char temporary[PATH_MAX];
	struct writ_err *err = segment_path(dir, "segment.new", temporary);

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

struct writ_err *
segment_from_reserve(const char *dir, uint64_t first, const uint8_t id[LOG_ID_LEN], const uint8_t before[32],
		     int *ret_fd)
{
	AUTO(file_closep) int fd = -1;
	char path[PATH_MAX];
	struct writ_err *err = segment_path(dir, "reserve", path);

	if (err)
		return err;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return writ_fail(WRIT_EXHAUSTED,
				 "the disk is full, and the journal's reserve is used up: free some space");
	err = segment_name(fd, dir, path, first, id, before);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

/* ---- finding and checking segments ---- */

void
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

struct writ_err *
segments_find(const char *dir, struct segments *ret)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	size_t cap = 0;

	*ret = (struct segments){ 0 };
	if (!d)
		return errno == ENOENT ? writ_fail(WRIT_NOT_FOUND, "there is no journal in %s", dir)
				       : writ_fail_errno(errno, "opening the journal's folder %s", dir);
	while ((entry = readdir(d))) {
		uint64_t first, *grown;

		if (!name_read(entry->d_name, &first))
			continue;
		grown = writ_room(ret->first, ret->n, &cap, sizeof(first), 64);
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

void
segment_done(struct segment *s)
{
	file_closep(&s->fd);
	writ_err_free(s->bad);
}

void
walk_done(struct walk *w)
{
	free(TAKE(w->room));
}

struct writ_err *
segment_load(const char *dir, uint64_t first, int flags, struct walk *w, struct segment *s)
{
	char name[NAME_LEN + 1];
	struct writ_err *err;
	struct stat st;
	size_t done = 0;

	snprintf(name, sizeof(name), "%016" PRIx64 ".wj", first);
	err = segment_path(dir, name, s->path);
	if (err)
		return err;
	s->fd = open(s->path, flags | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return writ_fail_errno(errno, "opening %s", s->path);
	if (st.st_size < SEGMENT_HEADER_LEN || st.st_size > JOURNAL_SEGMENT_LEN)
		return writ_fail(WRIT_BROKEN, "%s has %lld bytes: a segment has %d to %u", s->path,
				 (long long)st.st_size, SEGMENT_HEADER_LEN, JOURNAL_SEGMENT_LEN);
	s->len = (size_t)st.st_size;
	if (!w->room)
		w->room = malloc(JOURNAL_SEGMENT_LEN); /* pages that are not written take no memory */
	if (!w->room)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the %zu bytes of %s", s->len, s->path);
	s->data = w->room;
	while (done < s->len) {
		const ssize_t n = pread(s->fd, w->room + done, s->len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return writ_fail_errno(n < 0 ? errno : EIO, "reading %s", s->path);
		done += (size_t)n;
	}
	return NULL;
}

struct writ_err *
segment_header_check(const struct segment *s, uint64_t first, struct walk *w)
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
	if (w->of_log && memcmp(s->data + 24, w->id, LOG_ID_LEN) != 0)
		return writ_fail(WRIT_BROKEN, "%s belongs to another log: its log id is not this origin's", s->path);
	if (w->chained && memcmp(s->data + 32, w->hash, 32) != 0)
		return writ_fail(WRIT_BROKEN,
				 "%s does not follow the segment before it: the hash of entry %" PRIu64 " differs",
				 s->path, w->index - 1);
	memcpy(w->id, s->data + 24, LOG_ID_LEN);
	memcpy(w->hash, s->data + 32, 32);
	w->chained = w->of_log = true;
	return NULL;
}

struct writ_err *
walk_mark(struct walk *w)
{
	if (!w->mark || w->index < w->mark->index)
		return NULL;
	if (w->index > w->mark->index || memcmp(w->hash, w->mark->hash, sizeof(w->hash)) != 0)
		return writ_fail(WRIT_INVALID, "the entry before %" PRIu64 " is another one", w->mark->index);
	w->mark = NULL;
	return NULL;
}

/* Good records up to the first that is none.  The error is of `each`, or of the mark; what is bad in the segment goes
 * into s->bad. */
struct writ_err *
segment_walk(struct segment *s, struct walk *w)
{
	struct writ_err *err;

	s->end = SEGMENT_HEADER_LEN;
	for (;;) {
		struct entry e;
		size_t len;

		err = walk_mark(w);
		if (err)
			return err;
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

/* The end of what is not zero.  A page at a time first: most of a new segment is zeros. */
size_t
segment_used(const struct segment *s)
{
	static const uint8_t zeros[4096];
	size_t len = s->len;

	while (len >= s->end + sizeof(zeros) && memcmp(s->data + len - sizeof(zeros), zeros, sizeof(zeros)) == 0)
		len -= sizeof(zeros);
	while (len > s->end && s->data[len - 1] == 0)
		len--;
	return len;
}

struct writ_err *
segment_damaged(const struct segment *s, const struct walk *w, const char *why)
{
	return writ_fail(WRIT_BROKEN,
			 "the journal is damaged: %s, offset %zu (entry %" PRIu64 "): %s: restore it from a copy",
			 s->path, s->end, w->index, why);
}

/*
 * Is what follows the last good record the torn tail of a group that was never acknowledged?  It is, unless a later
 * group begins in it: that one was written after an fdatasync of all before it (3).
 */
struct writ_err *
segment_tail_check(const struct segment *s, const struct walk *w, size_t used)
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
			return segment_damaged(s, w, "a bad record stands before good ones");
		at += len - 1;
	}
	return NULL;
}

struct writ_err *
segment_tail_cut(const struct segment *s, size_t used)
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
