/*
 * The journal: opened, written in groups, read beside its writer.  The invariants are in journal.h; files are
 * segment.c's, records record.c's.
 */
#include "issuer/log/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "issuer/log/record.h"
#include "issuer/log/segment.h"

#define PENDING_MAX (8u * 1024 * 1024)	/* bytes of a group */
#define PENDING_SYNC (4u * 1024 * 1024) /* from here on journal_add() syncs by itself */

/* The thread that waits for the disk. */
struct disk {
	pthread_t thread;
	bool started;
	int event; /* -1: none; readable when it has done what it was told */
	pthread_mutex_t lock;
	pthread_cond_t told, done;
	int fd;	      /* under the lock: to be made durable; -1: nothing */
	bool stop;    /* under the lock */
	bool busy;    /* the writer's: told, and not yet heard of */
	uint64_t upto; /* the writer's: entries below are in it */
	atomic_bool idle;
};

struct journal {
	struct disk disk;
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

void
log_id(struct writ_bytes origin, uint8_t out[LOG_ID_LEN])
{
	uint8_t hash[SHA256_LEN];

	writ_sha256(origin, hash);
	memcpy(out, hash, LOG_ID_LEN);
}

/* ---- opening ---- */

struct writ_err *
journal_create(const char *dir, struct writ_bytes origin)
{
	static const uint8_t no_hash[32];
	AUTO(segments_done) struct segments segments = { 0 };
	AUTO(file_closep) int fd = -1;
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
	const size_t used = segment_used(s);
	struct writ_err *err = NULL;

	if (used > s->end) {
		err = segment_tail_check(s, w, used);
		if (!err)
			err = segment_tail_cut(s, used);
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

/* The segment that entry is in, or would be. */
static size_t
segment_of(const struct segments *segments, uint64_t index)
{
	size_t i = 0;

	while (i + 1 < segments->n && segments->first[i + 1] <= index)
		i++;
	return i;
}

/* The end of the walk came before the mark's place. */
static struct writ_err *
mark_missing(const struct walk *w)
{
	if (!w->mark)
		return NULL;
	return writ_fail(WRIT_INVALID, "the journal ends at entry %" PRIu64 ", before %" PRIu64, w->index,
			 w->mark->index);
}

static struct writ_err *
segments_check(struct journal *j, const struct segments *segments, size_t from, struct walk *w,
	       struct journal_cut *ret_cut)
{
	for (size_t i = from; i < segments->n; i++) {
		AUTO(segment_done) struct segment s = { .fd = -1 };
		const bool last = i + 1 == segments->n;
		struct writ_err *err;

		err = segment_load(j->dir, segments->first[i], O_RDWR, w, &s);
		if (!err)
			err = segment_header_check(&s, segments->first[i], w);
		if (!err)
			err = segment_walk(&s, w);
		if (!err && !last && segment_used(&s) > s.end)
			err = segment_damaged(&s, w, s.bad ? s.bad->message : "something stands behind the end mark");
		if (!err && last)
			err = mark_missing(w);
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
	return journal_open_from(dir, origin, NULL, each, ctx, ret_cut, ret);
}

struct writ_err *
journal_open_from(const char *dir, struct writ_bytes origin, const struct journal_mark *mark, journal_each *each,
		  void *ctx, struct journal_cut *ret_cut, struct journal **ret)
{
	AUTO(segments_done) struct segments segments = { 0 };
	AUTO(journal_closep) struct journal *j = calloc(1, sizeof(*j));
	AUTO(walk_done) struct walk w = { .chained = !mark, .of_log = true, .mark = mark, .each = each, .ctx = ctx };
	struct writ_err *err;
	size_t from = 0;

	*ret = NULL;
	*ret_cut = (struct journal_cut){ 0 };
	if (!j)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the journal");
	j->lock_fd = j->fd = j->disk.event = j->disk.fd = -1;
	atomic_init(&j->disk.idle, true);
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
	if (mark) {
		from = segment_of(&segments, mark->index);
		w.index = segments.first[from];
		w.from = mark->index;
		w.last_time = mark->time;
	}
	err = file_lock(dir, &j->lock_fd);
	if (!err)
		err = segments_check(j, &segments, from, &w, ret_cut);
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

/* The new segment takes over; all before it is durable, which segment_tail_check() and the chain of segments rely on.
 */
static void
segment_switch(struct journal *j, int fd, uint64_t len)
{
	close(j->fd);
	j->fd = fd;
	j->segment_len = len;
	j->at = SEGMENT_HEADER_LEN;
}

static struct writ_err *
reserve_use(struct journal *j)
{
	struct writ_err *err;
	int fd;

	err = segment_from_reserve(j->dir, j->next, j->log_id, j->last_hash, &fd);
	if (!err)
		segment_switch(j, fd, JOURNAL_RESERVE_LEN);
	return err;
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
	case ENTRY_FREEZE:
		return false;
	case ENTRY_ABORT:
	case ENTRY_REVOKE:
	case ENTRY_KEY:
	case ENTRY_CRL:
	case ENTRY_SETTLED:
	case ENTRY_ADMIN:
	case ENTRY_START:
	case ENTRY_STOP:
	case ENTRY_STATE:
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

/* Behind what is durable: so the first record of `pending` is the first of a group. */
static void
pending_write(struct journal *j)
{
	struct writ_bytes left = writ_view(&j->pending);

	while (left.len > 0) {
		const ssize_t n = pwrite(j->fd, left.data, left.len, (off_t)j->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			segment_write_failed("the journal");
		j->at += (uint64_t)n;
		left.data += n;
		left.len -= (size_t)n;
	}
	writ_buf_clear(&j->pending);
}

static void
data_sync(int fd)
{
	FAULT("journal:before-sync");
	file_sync(fd, "the journal");
	FAULT("journal:after-sync");
}

/* ---- in the background ---- */

static void *
disk_run(void *arg)
{
	struct disk *disk = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&disk->lock);
	for (;;) {
		int fd;

		while (disk->fd < 0 && !disk->stop)
			pthread_cond_wait(&disk->told, &disk->lock);
		if (disk->fd < 0) /* told to stop, and nothing is left */
			break;
		fd = disk->fd;
		pthread_mutex_unlock(&disk->lock);
		data_sync(fd);
		pthread_mutex_lock(&disk->lock);
		disk->fd = -1;
		atomic_store(&disk->idle, true);
		pthread_cond_signal(&disk->done);
		if (write(disk->event, &one, sizeof(one)) != (ssize_t)sizeof(one))
			segment_write_failed("the journal's event");
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

struct writ_err *
journal_background(struct journal *j, int *ret_fd)
{
	struct disk *disk = &j->disk;
	int failed;

	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->told, NULL);
	pthread_cond_init(&disk->done, NULL);
	disk->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (disk->event < 0)
		return writ_fail_errno(errno, "the journal's event");
	failed = pthread_create(&disk->thread, NULL, disk_run, disk);
	if (failed)
		return writ_fail_errno(failed, "starting the journal's thread");
	disk->started = true;
	*ret_fd = disk->event;
	return NULL;
}

static void
disk_done(struct disk *disk)
{
	if (disk->started) {
		pthread_mutex_lock(&disk->lock);
		disk->stop = true;
		pthread_cond_signal(&disk->told);
		pthread_mutex_unlock(&disk->lock);
		pthread_join(disk->thread, NULL);
	}
	file_closep(&disk->event);
}

/* What the thread was told is durable. */
static void
disk_heard(struct journal *j)
{
	struct disk *disk = &j->disk;
	uint64_t count;

	disk->busy = false;
	j->durable = disk->upto;
	(void)!read(disk->event, &count, sizeof(count)); /* not there yet: it wakes somebody once more */
}

bool
journal_syncing(struct journal *j)
{
	if (j->disk.busy && atomic_load(&j->disk.idle))
		disk_heard(j);
	return j->disk.busy;
}

static void
disk_wait(struct journal *j)
{
	struct disk *disk = &j->disk;

	if (!disk->busy)
		return;
	pthread_mutex_lock(&disk->lock);
	while (disk->fd >= 0)
		pthread_cond_wait(&disk->done, &disk->lock);
	pthread_mutex_unlock(&disk->lock);
	disk_heard(j);
}

void
journal_sync_begin(struct journal *j)
{
	struct disk *disk = &j->disk;

	if (!disk->started) {
		journal_sync(j);
		return;
	}
	if (journal_syncing(j) || j->pending.len == 0)
		return;
	pending_write(j);
	disk->busy = true;
	disk->upto = j->next;
	atomic_store(&disk->idle, false);
	pthread_mutex_lock(&disk->lock);
	disk->fd = j->fd;
	pthread_cond_signal(&disk->told);
	pthread_mutex_unlock(&disk->lock);
}

void
journal_sync(struct journal *j)
{
	disk_wait(j);
	if (j->pending.len == 0)
		return;
	pending_write(j);
	data_sync(j->fd);
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

const uint8_t *
journal_last_hash(const struct journal *j)
{
	return j->last_hash;
}

void
journal_mark(const struct journal *j, struct journal_mark *ret)
{
	*ret = (struct journal_mark){ .index = j->next, .time = j->last_time };
	memcpy(ret->hash, j->last_hash, sizeof(ret->hash));
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
	disk_done(&j->disk);
	file_closep(&j->fd);
	file_closep(&j->lock_fd);
	writ_buf_done(&j->pending);
	free(j);
}

void
journal_closep(struct journal **j)
{
	journal_close(*j);
}

/* ---- reading beside the writer ---- */

static struct writ_err *
read_segments(const char *dir, struct walk *w)
{
	AUTO(segments_done) struct segments segments = { 0 };
	struct writ_err *err;
	size_t i;

	err = segments_find(dir, &segments);
	if (err)
		return err;
	i = segment_of(&segments, w->from);
	w->index = segments.n > 0 ? segments.first[i] : 0;
	for (; i < segments.n; i++) {
		AUTO(segment_done) struct segment s = { .fd = -1 };

		err = segment_load(dir, segments.first[i], O_RDONLY, w, &s);
		if (!err)
			err = segment_header_check(&s, segments.first[i], w);
		if (!err)
			err = segment_walk(&s, w);
		/* In the last one a bad record is the writer's, at work; earlier ones are written no more. */
		if (!err && i + 1 < segments.n && segment_used(&s) > s.end)
			err = segment_damaged(&s, w, s.bad ? s.bad->message : "something stands behind the end mark");
		if (err)
			return err;
	}
	return mark_missing(w);
}

struct writ_err *
journal_read(const char *dir, uint64_t from, journal_each *each, void *ctx)
{
	AUTO(walk_done) struct walk w = { .from = from, .each = each, .ctx = ctx };

	return read_segments(dir, &w);
}

struct writ_err *
journal_read_from(const char *dir, const struct journal_mark *mark, journal_each *each, void *ctx)
{
	AUTO(walk_done) struct walk w = { .from = mark->index, .mark = mark, .each = each, .ctx = ctx };

	return read_segments(dir, &w);
}
