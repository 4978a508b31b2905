/*
 * Snapshots, written and read; the layout is in snapshot.h.  Knows no journal but its folder.
 */
#include "issuer/log/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/log/segment.h"

#define MAGIC "WRITSNAP"
#define VERSION 1
#define SUFFIX ".snapshot"
#define TEMPORARY "snapshot.new"
#define HEADER_LEN 96
#define ROW_LEN 36
#define EDGE_LEN 20
#define KEPT 2 /* files: the newest, and the one before it until the newest has surely reached the disk */

/* ---- little endian, as all of the journal ---- */

static void
put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t
get_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = n; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

/* ---- files ---- */

static bool
name_read(const char *name, uint64_t *ret)
{
	uint8_t octets[8];

	if (strlen(name) != 16 + strlen(SUFFIX) || strcmp(name + 16, SUFFIX) != 0 ||
	    !writ_unhex((struct writ_bytes){ (const uint8_t *)name, 16 }, octets, sizeof(octets)))
		return false;
	*ret = writ_get64(octets);
	return true;
}

static struct writ_err *
path_of(const char *dir, uint64_t index, char out[PATH_MAX])
{
	char name[16 + sizeof(SUFFIX)];

	snprintf(name, sizeof(name), "%016" PRIx64 SUFFIX, index);
	return segment_path(dir, name, out);
}

/* The newest of those below `below`; false: there is none. */
static bool
newest(const char *dir, uint64_t below, uint64_t *ret)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	bool found = false;

	while (d && (entry = readdir(d))) {
		uint64_t index;

		if (!name_read(entry->d_name, &index) || index >= below || (found && index < *ret))
			continue;
		*ret = index;
		found = true;
	}
	if (d)
		closedir(d);
	return found;
}

/* What else is there is no use any more; what cannot be removed now is removed after the next. */
static void
old_remove(const char *dir)
{
	uint64_t index = UINT64_MAX;
	char path[PATH_MAX];

	for (unsigned n = 0; newest(dir, index, &index); n++) {
		struct writ_err *err = n >= KEPT ? path_of(dir, index, path) : NULL;

		if (n >= KEPT && !err)
			unlink(path);
		writ_err_free(err);
	}
}

/* ---- writing ---- */

struct writ_err *
snapshot_begin(size_t rows_max, size_t edges_max, struct snapshot_out *ret)
{
	*ret = (struct snapshot_out){ .len = HEADER_LEN };
	if (rows_max > SNAPSHOT_MAX / ROW_LEN / 2 || edges_max > SNAPSHOT_MAX / EDGE_LEN / 2)
		return writ_fail(WRIT_EXHAUSTED, "a snapshot of %zu rows is too large", rows_max);
	ret->cap = HEADER_LEN + rows_max * ROW_LEN + edges_max * EDGE_LEN + SNAPSHOT_OWN_MAX + SHA256_LEN;
	ret->data = malloc(ret->cap); /* pages that are not written take no memory */
	return ret->data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for a snapshot of %zu rows", rows_max);
}

void
snapshot_out_done(struct snapshot_out *out)
{
	free(out->data);
	*out = (struct snapshot_out){ 0 };
}

static uint8_t *
room(struct snapshot_out *out, size_t len)
{
	uint8_t *at = out->data + out->len;

	if (out->cap - out->len < len + SNAPSHOT_OWN_MAX + SHA256_LEN) {
		out->cap = 0; /* (1): half a snapshot is none */
		out->len = 0;
	}
	if (out->cap == 0)
		return NULL;
	out->len += len;
	return at;
}

void
snapshot_add_row(struct snapshot_out *out, const struct snapshot_row *row)
{
	uint8_t *at = out->cap > 0 ? room(out, ROW_LEN) : NULL;

	if (!at)
		return;
	memcpy(at, row->serial, 16);
	memcpy(at + 16, row->key, 8);
	put_le(at + 24, row->not_after, 4);
	put_le(at + 28, row->ended_at, 4);
	at[32] = row->state;
	at[33] = row->reason;
	put_le(at + 34, row->shard, 2);
	out->n_rows++;
}

void
snapshot_add_edge(struct snapshot_out *out, const struct snapshot_edge *edge)
{
	uint8_t *at = out->cap > 0 ? room(out, EDGE_LEN) : NULL;

	if (!at)
		return;
	memcpy(at, edge->id, 16);
	put_le(at + 16, edge->at, 4);
	out->n_edges++;
}

static void
header_write(uint8_t *at, const uint8_t log_id[LOG_ID_LEN], const struct journal_mark *mark, size_t own_len,
	     const struct snapshot_out *out)
{
	memcpy(at, MAGIC, 8);
	put_le(at + 8, VERSION, 4);
	put_le(at + 12, 0, 4);
	put_le(at + 16, mark->index, 8);
	memcpy(at + 24, log_id, LOG_ID_LEN);
	memcpy(at + 32, mark->hash, 32);
	put_le(at + 64, (uint64_t)mark->time, 8);
	put_le(at + 72, out->n_rows, 8);
	put_le(at + 80, out->n_edges, 8);
	put_le(at + 88, own_len, 4);
	put_le(at + 92, 0, 4);
}

static struct writ_err *
file_write(const char *path, struct writ_bytes left)
{
	AUTO(file_closep) int fd = -1;

	unlink(path); /* of a process that died before its rename */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return writ_fail_errno(errno, "making %s", path);
	if (fchmod(fd, 0640) != 0)
		return writ_fail_errno(errno, "giving %s its mode", path);
	while (left.len > 0) {
		const ssize_t n = write(fd, left.data, left.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return writ_fail_errno(n < 0 ? errno : ENOSPC, "writing %s", path);
		left.data += n;
		left.len -= (size_t)n;
	}
	return NULL;
}

struct writ_err *
snapshot_write(const char *dir, const uint8_t log_id[LOG_ID_LEN], const struct journal_mark *mark,
	       struct writ_bytes own, struct snapshot_out *takes)
{
	AUTO(snapshot_out_done) struct snapshot_out out = *takes;
	char temporary[PATH_MAX], path[PATH_MAX];
	struct writ_err *err;

	*takes = (struct snapshot_out){ 0 };
	if (out.cap == 0 || own.len > SNAPSHOT_OWN_MAX)
		return writ_fail(WRIT_EXHAUSTED, "a snapshot has more in it than it was begun for");
	header_write(out.data, log_id, mark, own.len, &out);
	if (own.len > 0)
		memcpy(out.data + out.len, own.data, own.len);
	out.len += own.len;
	writ_sha256((struct writ_bytes){ out.data, out.len }, out.data + out.len);
	out.len += SHA256_LEN;

	err = segment_path(dir, TEMPORARY, temporary);
	if (!err)
		err = path_of(dir, mark->index, path);
	if (err)
		return err;
	err = file_write(temporary, (struct writ_bytes){ out.data, out.len });
	if (err) {
		unlink(temporary);
		return err;
	}
	FAULT("snapshot:written");
	if (rename(temporary, path) != 0)
		return writ_fail_errno(errno, "putting %s in place", path);
	FAULT("snapshot:named");
	old_remove(dir);
	return NULL;
}

/* ---- reading ---- */

static struct writ_err *
not_whole(const char *why)
{
	return writ_fail(WRIT_BROKEN, "a snapshot of the journal is not whole: %s", why);
}

struct writ_err *
snapshot_parse(struct writ_bytes file, const uint8_t log_id[LOG_ID_LEN], struct snapshot *ret)
{
	const uint8_t *at = file.data;
	uint8_t hash[SHA256_LEN];
	uint64_t n_rows, n_edges, own_len;

	*ret = (struct snapshot){ 0 };
	if (file.len < HEADER_LEN + SHA256_LEN || file.len > SNAPSHOT_MAX)
		return not_whole("its length is none that one has");
	if (memcmp(at, MAGIC, 8) != 0 || get_le(at + 8, 8) != VERSION || get_le(at + 92, 4) != 0)
		return not_whole("it is none of version 1");
	if (memcmp(at + 24, log_id, LOG_ID_LEN) != 0)
		return not_whole("it is of another log");
	n_rows = get_le(at + 72, 8);
	n_edges = get_le(at + 80, 8);
	own_len = get_le(at + 88, 4);
	if (n_rows > SNAPSHOT_MAX / ROW_LEN || n_edges > SNAPSHOT_MAX / EDGE_LEN || own_len > SNAPSHOT_OWN_MAX ||
	    file.len != HEADER_LEN + n_rows * ROW_LEN + n_edges * EDGE_LEN + own_len + SHA256_LEN)
		return not_whole("its parts do not add up to its length");
	writ_sha256((struct writ_bytes){ at, file.len - SHA256_LEN }, hash);
	if (memcmp(hash, at + file.len - SHA256_LEN, SHA256_LEN) != 0)
		return not_whole("its hash does not fit it");
	ret->mark = (struct journal_mark){ .index = get_le(at + 16, 8), .time = (writ_time)get_le(at + 64, 8) };
	memcpy(ret->mark.hash, at + 32, 32);
	ret->rows = at + HEADER_LEN;
	ret->n_rows = (size_t)n_rows;
	ret->edges = ret->rows + n_rows * ROW_LEN;
	ret->n_edges = (size_t)n_edges;
	ret->own = (struct writ_bytes){ ret->edges + n_edges * EDGE_LEN, (size_t)own_len };
	return NULL;
}

void
snapshot_row(const struct snapshot *s, size_t i, struct snapshot_row *ret)
{
	const uint8_t *at = s->rows + i * ROW_LEN;

	memcpy(ret->serial, at, 16);
	memcpy(ret->key, at + 16, 8);
	ret->not_after = (uint32_t)get_le(at + 24, 4);
	ret->ended_at = (uint32_t)get_le(at + 28, 4);
	ret->state = at[32];
	ret->reason = at[33];
	ret->shard = (uint16_t)get_le(at + 34, 2);
}

void
snapshot_edge(const struct snapshot *s, size_t i, struct snapshot_edge *ret)
{
	const uint8_t *at = s->edges + i * EDGE_LEN;

	memcpy(ret->id, at, 16);
	ret->at = (uint32_t)get_le(at + 16, 4);
}

void
snapshot_done(struct snapshot *s)
{
	free(s->data);
	*s = (struct snapshot){ 0 };
}

static struct writ_err *
file_load(const char *path, uint8_t **ret, size_t *ret_len)
{
	AUTO(file_closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	size_t done = 0;

	*ret = NULL;
	if (fd < 0 || fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "opening %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > SNAPSHOT_MAX)
		return writ_fail(WRIT_BROKEN, "%s has %lld bytes", path, (long long)st.st_size);
	*ret_len = (size_t)st.st_size;
	*ret = malloc(*ret_len);
	if (!*ret)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the %zu bytes of %s", *ret_len, path);
	while (done < *ret_len) {
		const ssize_t n = pread(fd, *ret + done, *ret_len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return writ_fail_errno(n < 0 ? errno : EIO, "reading %s", path);
		done += (size_t)n;
	}
	return NULL;
}

static struct writ_err *
load(const char *dir, uint64_t index, const uint8_t log_id[LOG_ID_LEN], struct snapshot *ret)
{
	char path[PATH_MAX];
	uint8_t *data = NULL;
	struct writ_err *err;
	size_t len = 0;

	err = path_of(dir, index, path);
	if (!err)
		err = file_load(path, &data, &len);
	if (!err)
		err = snapshot_parse((struct writ_bytes){ data, len }, log_id, ret);
	ret->data = data;
	if (!err && ret->mark.index != index)
		err = not_whole("its name is another's");
	if (err)
		snapshot_done(ret);
	return err;
}

struct writ_err *
snapshot_find(const char *dir, const uint8_t log_id[LOG_ID_LEN], struct snapshot *ret)
{
	struct writ_err *first = NULL;
	uint64_t index = UINT64_MAX;

	*ret = (struct snapshot){ 0 };
	while (newest(dir, index, &index)) {
		struct writ_err *err = load(dir, index, log_id, ret);

		if (!err) {
			writ_err_free(first);
			return NULL;
		}
		if (first)
			writ_err_free(err);
		else
			first = err;
	}
	return first ? first : writ_fail(WRIT_NOT_FOUND, "there is no snapshot of the journal");
}
