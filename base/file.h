/*
 * Files as a careful program reads and writes them.  Knows no file of ours.  Thread-safe.
 */
#ifndef WRIT_BASE_FILE_H
#define WRIT_BASE_FILE_H

#include <sys/types.h>

#include "base/bytes.h"

enum file_trust {
	FILE_ANY,     /* the owner does not matter (input of a command) */
	FILE_CONFIG,  /* owned by root or us, not writable by group or others, no symlink */
	FILE_PEER,    /* as FILE_CONFIG, but the owner does not matter: another process of ours, whose folder it is in */
	FILE_PRIVATE, /* as FILE_CONFIG, and not readable by group or others */
};

/* For AUTO: closes what is not -1. */
void file_closep(int *fd);

/* Opens for reading, after the same checks; the caller closes. */
WRIT_CHECKED struct writ_err *file_open(const char *path, enum file_trust, int *ret_fd);

/* Appends the whole file: WRIT_EXHAUSTED over the limit of the buffer, WRIT_INVALID when not to be trusted,
 * WRIT_NOT_FOUND. */
WRIT_CHECKED struct writ_err *file_read(const char *path, enum file_trust, struct writ_buf *ret);

/* Replaces the file: temporary name, fsync, rename, fsync of the folder.  An fsync error ends the process (I13). */
WRIT_CHECKED struct writ_err *file_replace(const char *path, mode_t mode, struct writ_bytes contents);

/* Makes a folder of that mode unless it is there; it must then be ours. */
WRIT_CHECKED struct writ_err *file_make_dir(const char *path, mode_t mode);

/* Takes an exclusive lock on PATH/lock that lasts as long as `*ret_fd`; WRIT_CONFLICT when another process has it. */
WRIT_CHECKED struct writ_err *file_lock(const char *dir, int *ret_fd);

/* A sealed memfd of these bytes: whoever gets it may map it without fear, since nobody can change or shrink it any
 * more.  The caller closes. */
WRIT_CHECKED struct writ_err *file_memfd(const char *name, struct writ_bytes contents, int *ret_fd);

/* The same for one that was made with MFD_ALLOW_SEALING and written in pieces: nobody can change it from now on. */
WRIT_CHECKED struct writ_err *file_memfd_seal(int fd);

/*
 * What came beside a frame, read in place: maps it; `fd` stays the caller's and may be closed at once.  WRIT_INVALID
 * unless it is a memfd, sealed against writing, shrinking and growing - so nobody can change it under the reader, and
 * no read of it can fault - and has `min` (at least 1) to `max` bytes.  To be unmapped with file_memfd_unmap().
 */
WRIT_CHECKED struct writ_err *file_memfd_map(int fd, size_t min, size_t max, struct writ_bytes *ret);
void file_memfd_unmap(struct writ_bytes *);

/* Raises the soft limit of open descriptors towards `wanted`, as far as the hard limit lets us; the limit in force. */
uint64_t file_descriptors_raise(uint64_t wanted);

/* fdatasync; an error ends the process (I13): the kernel forgets which pages were lost. */
void file_sync(int fd, const char *what);

#endif
