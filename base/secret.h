/*
 * Secrets: PINs, auth values, wrapping keys, private scalars.
 *
 * They live in OpenSSL's secure heap: locked, not dumped, wiped when done.  No printing function accepts one.
 * Call writ_secret_start() once, before any other thread; the rest is thread-safe.
 */
#ifndef WRIT_BASE_SECRET_H
#define WRIT_BASE_SECRET_H

#include "base/bytes.h"

#define WRIT_SECRET_MAX 128 /* bytes; a PIN, an auth value, a P-384 scalar, a wrapping key all fit */

struct writ_secret {
	uint8_t *data; /* in the secure heap; NULL when empty */
	size_t len;
};

/*
 * Makes the secure heap (64 KiB), forbids core dumps and ptrace by the same uid.  Fails with WRIT_UNAVAILABLE when the
 * memory cannot be locked (RLIMIT_MEMLOCK).
 */
WRIT_CHECKED struct writ_err *writ_secret_start(void);

/*
 * The same with a heap of `bytes` (a power of two), or of as much of it as can be locked.  For a process with many TLS connections: OpenSSL
 * keeps the private half of each handshake's key share there, 32 bytes, and without room the handshake fails.
 */
WRIT_CHECKED struct writ_err *writ_secret_start_large(size_t bytes);

/* Copies `bytes` in; the caller wipes its own copy.  WRIT_EXHAUSTED beyond WRIT_SECRET_MAX. */
WRIT_CHECKED struct writ_err *writ_secret_set(struct writ_secret *, struct writ_bytes);

/* `len` random bytes. */
WRIT_CHECKED struct writ_err *writ_secret_random(struct writ_secret *, size_t len);

/*
 * Reads a secret from a file: not a symlink, owned by us or root, not readable by group or others, at most
 * WRIT_SECRET_MAX bytes; one trailing newline is dropped.  "fd:N" is a descriptor that was inherited, N from 3 on.
 */
WRIT_CHECKED struct writ_err *writ_secret_read(struct writ_secret *, const char *path);

/*
 * The same from an open descriptor, `name` being what errors call it: the whole file, as often as is asked, or what comes through
 * a pipe until its end, once.  Whoever opened it answers for where it came from.
 */
WRIT_CHECKED struct writ_err *writ_secret_read_fd(struct writ_secret *, int fd, const char *name);

void writ_secret_done(struct writ_secret *);

#endif
