/*
 * Files as a careful program reads and writes them.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMFD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define READ_STEP (16 * 1024) /* bytes a read() asks for */

void
file_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* I13: after an error the kernel has dropped the pages and the next fsync would say that all is well. */
static _Noreturn void
sync_failed(const char *what)
{
	fprintf(stderr, "writ: %s could not be made durable (errno %d): stopping\n", what, errno);
	abort();
}

static struct writ_err *
trust_check(const char *path, enum file_trust trust, const struct stat *st)
{
	const unsigned mode = st->st_mode & 07777;

	if (S_ISDIR(st->st_mode))
		return writ_fail(WRIT_INVALID, "%s is a folder, not a file", path);
	if (trust == FILE_ANY)
		return NULL;
	if (!S_ISREG(st->st_mode))
		return writ_fail(WRIT_INVALID, "%s is not a regular file", path);
	if (trust != FILE_PEER && st->st_uid != 0 && st->st_uid != geteuid())
		return writ_fail(WRIT_INVALID, "%s belongs to uid %u: it must belong to root or to uid %u", path,
				 (unsigned)st->st_uid, (unsigned)geteuid());
	if (mode & 022)
		return writ_fail(WRIT_INVALID, "%s has mode %04o: others than its owner may write it: chmod go-w", path,
				 mode);
	if (trust == FILE_PRIVATE && (mode & 044))
		return writ_fail(WRIT_INVALID, "%s has mode %04o: others than its owner may read it: chmod go-rwx",
				 path, mode);
	return NULL;
}

struct writ_err *
file_open(const char *path, enum file_trust trust, int *ret_fd)
{
	/* Without O_NONBLOCK a FIFO put in a file's place would hang us before fstat() can tell. */
	const int careful = trust == FILE_ANY ? 0 : O_NOFOLLOW | O_NONBLOCK;
	AUTO(file_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | careful);
	struct writ_err *err;
	struct stat st;

	*ret_fd = -1;
	if (fd < 0 && errno == ENOENT)
		return writ_fail(WRIT_NOT_FOUND, "%s does not exist", path);
	if (fd < 0 && errno == ELOOP)
		return writ_fail(WRIT_INVALID, "%s is a symbolic link: name the file itself", path);
	if (fd < 0)
		return writ_fail_errno(errno, "opening %s", path);
	if (fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "looking at %s", path);
	err = trust_check(path, trust, &st);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

/* Appends until the end; one byte more than the limit is asked for, to tell a full buffer from a file too long. */
static struct writ_err *
read_all(int fd, const char *path, struct writ_buf *ret)
{
	for (;;) {
		const size_t left = ret->limit - ret->len;
		size_t room = left < READ_STEP ? left : READ_STEP;
		struct writ_err *err;
		uint8_t *at, one;
		ssize_t n;

		err = writ_buf_grow(ret, room, &at);
		if (err)
			return writ_because(err, "%s", path);
		do
			n = room > 0 ? read(fd, at, room) : read(fd, &one, 1);
		while (n < 0 && errno == EINTR);
		ret->len -= room - (room > 0 && n > 0 ? (size_t)n : 0);
		if (n < 0)
			return writ_fail_errno(errno, "reading %s", path);
		if (n == 0)
			return NULL;
		if (room == 0)
			return writ_fail(WRIT_EXHAUSTED, "%s is over the limit of %zu bytes", path, ret->limit);
	}
}

struct writ_err *
file_read(const char *path, enum file_trust trust, struct writ_buf *ret)
{
	AUTO(file_closep) int fd = -1;
	const size_t before = ret->len;
	struct writ_err *err;

	err = file_open(path, trust, &fd);
	if (err)
		return err;
	err = read_all(fd, path, ret);
	if (err)
		ret->len = before;
	return err;
}

static struct writ_err *
write_all(int fd, const char *path, struct writ_bytes contents)
{
	while (contents.len > 0) {
		const ssize_t n = write(fd, contents.data, contents.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return writ_fail_errno(errno, "writing %s", path);
		contents.data += n;
		contents.len -= (size_t)n;
	}
	return NULL;
}

/* Makes the names in the folder of `path` durable. */
static struct writ_err *
sync_folder_of(const char *path)
{
	AUTO(file_closep) int fd = -1;
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s", path); /* dirname() may write into it; open() has refused longer paths */
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return writ_fail_errno(errno, "opening the folder of %s", path);
	if (fsync(fd) != 0)
		sync_failed(path);
	return NULL;
}

static struct writ_err *
replace_by(const char *temporary, const char *path, mode_t mode, struct writ_bytes contents)
{
	AUTO(file_closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0700);
	struct writ_err *err;

	if (fd < 0)
		return writ_fail_errno(errno, "making %s", temporary);
	if (fchmod(fd, mode) != 0)
		return writ_fail_errno(errno, "setting the mode of %s", temporary);
	err = write_all(fd, temporary, contents);
	if (err)
		return err;
	if (fsync(fd) != 0)
		sync_failed(temporary);
	if (rename(temporary, path) != 0)
		return writ_fail_errno(errno, "putting %s in place", path);
	return NULL;
}

struct writ_err *
file_replace(const char *path, mode_t mode, struct writ_bytes contents)
{
	char temporary[PATH_MAX];
	struct writ_err *err;
	const int n = snprintf(temporary, sizeof(temporary), "%s.new-%d", path, (int)gettid());

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return writ_fail(WRIT_INVALID, "a path of %zu bytes is too long", strlen(path));
	unlink(temporary); /* a dead process of the same number may have left one */
	err = replace_by(temporary, path, mode, contents);
	if (err) {
		unlink(temporary);
		return err;
	}
	return sync_folder_of(path);
}

struct writ_err *
file_make_dir(const char *path, mode_t mode)
{
	const bool made = mkdir(path, mode & 0700) == 0;
	AUTO(file_closep) int fd = -1;
	struct stat st;

	if (!made && errno != EEXIST)
		return writ_fail_errno(errno, "making the folder %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return writ_fail(WRIT_INVALID, "%s is there and is not a folder", path);
	if (fd < 0)
		return writ_fail_errno(errno, "opening the folder %s", path);
	if (made && fchmod(fd, mode) != 0) /* not left to the umask */
		return writ_fail_errno(errno, "setting the mode of %s", path);
	if (fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "looking at %s", path);
	if (st.st_uid != geteuid())
		return writ_fail(WRIT_INVALID, "the folder %s belongs to uid %u: it must belong to uid %u", path,
				 (unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_mode & 0777 & ~mode)
		return writ_fail(WRIT_INVALID, "the folder %s has mode %04o, wider than %04o: chmod %04o", path,
				 st.st_mode & 07777, mode, mode);
	return made ? sync_folder_of(path) : NULL;
}

struct writ_err *
file_lock(const char *dir, int *ret_fd)
{
	AUTO(file_closep) int fd = -1;
	char path[PATH_MAX];
	const int n = snprintf(path, sizeof(path), "%s/lock", dir);

	*ret_fd = -1;
	if (n < 0 || (size_t)n >= sizeof(path))
		return writ_fail(WRIT_INVALID, "a path of %zu bytes is too long", strlen(dir));
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return writ_fail_errno(errno, "opening %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			return writ_fail(WRIT_CONFLICT, "%s is locked: another process uses this folder", path);
		return writ_fail_errno(errno, "locking %s", path);
	}
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

void
file_sync(int fd, const char *what)
{
	int n;

	do
		n = fdatasync(fd);
	while (n != 0 && errno == EINTR); /* interrupted before it began: nothing was lost */
	if (n != 0)
		sync_failed(what);
}

struct writ_err *
file_memfd_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | MEMFD_SEALS) == 0 ? NULL : writ_fail_errno(errno, "sealing a memfd");
}

struct writ_err *
file_memfd(const char *name, struct writ_bytes contents, int *ret_fd)
{
	AUTO(file_closep) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct writ_err *err;

	*ret_fd = -1;
	if (fd < 0)
		return writ_fail_errno(errno, "making a memfd");
	while (contents.len > 0) {
		const ssize_t n = write(fd, contents.data, contents.len);

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "writing a memfd, %zu bytes left", contents.len);
		contents.data += n > 0 ? n : 0;
		contents.len -= n > 0 ? (size_t)n : 0;
	}
	err = file_memfd_seal(fd);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

struct writ_err *
file_memfd_map(int fd, size_t min, size_t max, struct writ_bytes *ret)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *at;

	*ret = (struct writ_bytes){ NULL, 0 };
	if (seals < 0)
		return writ_fail(WRIT_INVALID, "the descriptor beside the frame is no memfd");
	if ((seals & MEMFD_SEALS) != MEMFD_SEALS)
		return writ_fail(WRIT_INVALID,
				 "the memfd beside the frame is not sealed against writing, shrinking and growing "
				 "(seals 0x%x)",
				 (unsigned)seals);
	if (fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "looking at a memfd");
	if (st.st_size < (off_t)min || st.st_size > (off_t)max)
		return writ_fail(WRIT_INVALID, "a message in a memfd has %zu to %zu bytes, not %lld", min, max,
				 (long long)st.st_size);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED)
		return writ_fail_errno(errno, "mapping a message of %lld bytes", (long long)st.st_size);
	*ret = (struct writ_bytes){ at, (size_t)st.st_size };
	return NULL;
}

void
file_memfd_unmap(struct writ_bytes *message)
{
	if (message->data)
		munmap((void *)(uintptr_t)message->data, message->len);
	*message = (struct writ_bytes){ NULL, 0 };
}

uint64_t
file_descriptors_raise(uint64_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	if (limit.rlim_cur < wanted) {
		struct rlimit raised = limit;

		raised.rlim_cur = wanted < limit.rlim_max ? (rlim_t)wanted : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur;
}
