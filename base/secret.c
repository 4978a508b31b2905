/*
 * Secrets live in OpenSSL's secure heap and nowhere else (I11).
 */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/file.h"
#include "base/text.h"

#define HEAP_BYTES (64 * 1024) /* what a process may lock by default on old systems */
#define HEAP_LEAST 32	       /* bytes of the smallest piece */

/* Made with less when not all of it can be locked, down to HEAP_BYTES. */
static struct writ_err *
heap_make(size_t bytes)
{
	for (;;) {
		switch (CRYPTO_secure_malloc_init(bytes, HEAP_LEAST)) {
		case 1:
			return NULL;
		case 2: /* there, but it could go to swap */
			CRYPTO_secure_malloc_done();
			break;
		default:
			return writ_fail(WRIT_UNAVAILABLE, "the heap for secrets (%zu bytes) could not be made", bytes);
		}
		if (bytes <= HEAP_BYTES)
			return writ_fail(WRIT_UNAVAILABLE,
					 "%zu bytes for secrets cannot be locked in memory: raise RLIMIT_MEMLOCK "
					 "(LimitMEMLOCK=)",
					 bytes);
		bytes /= 2;
	}
}

struct writ_err *
writ_secret_start_large(size_t bytes)
{
	const struct rlimit no_core = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return writ_fail_errno(errno, "forbidding core dumps and ptrace");
	if (setrlimit(RLIMIT_CORE, &no_core) != 0)
		return writ_fail_errno(errno, "setting RLIMIT_CORE to 0");
	return CRYPTO_secure_malloc_initialized() ? NULL : heap_make(bytes);
}

struct writ_err *
writ_secret_start(void)
{
	return writ_secret_start_large(HEAP_BYTES);
}

static struct writ_err *
length_check(size_t len)
{
	if (len > WRIT_SECRET_MAX)
		return writ_fail(WRIT_EXHAUSTED, "a secret of %zu bytes is over the limit of %d", len, WRIT_SECRET_MAX);
	return NULL;
}

/* Makes room for `len` bytes; what was there is wiped first. */
static struct writ_err *
secret_reserve(struct writ_secret *secret, size_t len)
{
	writ_secret_done(secret);
	if (!CRYPTO_secure_malloc_initialized())
		return writ_fail(WRIT_BROKEN, "a secret was to be kept before the heap for secrets was made");
	secret->data = OPENSSL_secure_zalloc(len > 0 ? len : 1);
	if (!secret->data)
		return writ_fail(WRIT_EXHAUSTED, "the heap for secrets (%d bytes) is full", HEAP_BYTES);
	secret->len = len;
	return NULL;
}

struct writ_err *
writ_secret_set(struct writ_secret *secret, struct writ_bytes bytes)
{
	struct writ_err *err = length_check(bytes.len);

	if (!err)
		err = secret_reserve(secret, bytes.len);
	if (err)
		return err;
	if (bytes.len > 0)
		memcpy(secret->data, bytes.data, bytes.len);
	return NULL;
}

struct writ_err *
writ_secret_random(struct writ_secret *secret, size_t len)
{
	struct writ_err *err = length_check(len);

	if (!err)
		err = secret_reserve(secret, len);
	if (err)
		return err;
	if (RAND_priv_bytes_ex(NULL, secret->data, len, 0) == 1)
		return NULL;
	writ_secret_done(secret);
	return writ_fail(WRIT_BROKEN, "the random number generator failed");
}

/* From the beginning, or what a pipe holds; at most `room` bytes. */
static struct writ_err *
read_up_to(int fd, const char *name, uint8_t *out, size_t room, size_t *ret_used)
{
	const bool seeks = lseek(fd, 0, SEEK_CUR) >= 0;

	*ret_used = 0;
	while (*ret_used < room) {
		const size_t left = room - *ret_used;
		const ssize_t n =
			seeks ? pread(fd, out + *ret_used, left, (off_t)*ret_used) : read(fd, out + *ret_used, left);

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "reading %s", name);
		if (n == 0)
			break;
		*ret_used += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

/* "fd:N": inherited, and read to its end. */
static struct writ_err *
descriptor_open(const char *path, int *ret)
{
	uint64_t fd;

	if (!writ_decimal(writ_str(path + 3), 1023, &fd) || fd < 3)
		return writ_fail(WRIT_INVALID, "%s: a secret comes by a descriptor from 3 to 1023", path);
	*ret = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	return *ret < 0 ? writ_fail_errno(errno, "%s", path) : NULL;
}

/* Straight from the kernel into the secure heap: no buffer of ours in between. */
struct writ_err *
writ_secret_read_fd(struct writ_secret *secret, int fd, const char *name)
{
	AUTO(writ_secret_done) struct writ_secret whole = { 0 };
	struct writ_err *err;
	size_t used;

	writ_secret_done(secret);
	err = secret_reserve(&whole, WRIT_SECRET_MAX + 2); /* a newline, and one byte to see that there is more */
	if (!err)
		err = read_up_to(fd, name, whole.data, whole.len, &used);
	if (err)
		return err;
	if (used > 0 && whole.data[used - 1] == '\n')
		used--;
	if (used > WRIT_SECRET_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s holds more than the %d bytes of a secret", name, WRIT_SECRET_MAX);
	if (used == 0)
		return writ_fail(WRIT_INVALID, "%s is empty: it must hold a secret", name);
	return writ_secret_set(secret, (struct writ_bytes){ whole.data, used });
}

struct writ_err *
writ_secret_read(struct writ_secret *secret, const char *path)
{
	AUTO(file_closep) int fd = -1;
	struct writ_err *err;

	writ_secret_done(secret);
	err = strncmp(path, "fd:", 3) == 0 ? descriptor_open(path, &fd) : file_open(path, FILE_PRIVATE, &fd);
	return err ? err : writ_secret_read_fd(secret, fd, path);
}

void
writ_secret_done(struct writ_secret *secret)
{
	OPENSSL_secure_clear_free(secret->data, secret->len > 0 ? secret->len : 1);
	*secret = (struct writ_secret){ 0 };
}
