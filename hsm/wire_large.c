/*
 * Sealed memfds, the receiving end; file_memfd() makes them.
 */
#include "hsm/wire_large.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "hsm/custody.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct writ_err *
device_large_map(int fd, struct writ_bytes *ret)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *at;

	*ret = (struct writ_bytes){ NULL, 0 };
	if (seals < 0)
		return writ_fail(WRIT_INVALID, "device wire: the descriptor beside the frame is no memfd");
	if ((seals & SEALS) != SEALS)
		return writ_fail(
			WRIT_INVALID,
			"device wire: the memfd beside the frame is not sealed against writing, shrinking and growing "
			"(seals 0x%x)",
			(unsigned)seals);
	if (fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "looking at a memfd");
	if (st.st_size <= DEVICE_INLINE_MAX || st.st_size > CUSTODY_MESSAGE_MAX)
		return writ_fail(WRIT_INVALID,
				 "device wire: a message in a memfd has %d to %d bytes, not %lld: shorter ones go in "
				 "the frame",
				 DEVICE_INLINE_MAX + 1, CUSTODY_MESSAGE_MAX, (long long)st.st_size);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED)
		return writ_fail_errno(errno, "mapping a message of %lld bytes", (long long)st.st_size);
	*ret = (struct writ_bytes){ at, (size_t)st.st_size };
	return NULL;
}

void
device_large_done(struct writ_bytes *message)
{
	if (message->data)
		munmap((void *)(uintptr_t)message->data, message->len);
	*message = (struct writ_bytes){ NULL, 0 };
}
