/*
 * Fault points, for the crash tests.  The release build compiles none of it.
 */
#include "base/fault.h"

#include <signal.h>

#ifdef WRIT_FAULTS
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char stage_wanted[64];
static uint64_t pass_wanted;
static atomic_uint_fast64_t passes;
static struct fault_order *order;

/* A fault that could never fire would make its test prove nothing: so a bad setting ends the process too. */
static _Noreturn void
setting_bad(const char *setting, const char *wanted)
{
	fprintf(stderr, "writ: WRIT_FAULT=%s is not %s\n", setting, wanted);
	abort();
}

/* Before main(): a sandbox, or a cleared environment, comes later. */
__attribute__((constructor)) static void
order_map(void)
{
	const char *setting = getenv("WRIT_FAULT");
	void *map;
	int fd;

	if (!setting || setting[0] != '@')
		return;
	fd = open(setting + 1, O_RDWR | O_CLOEXEC);
	map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || lseek(fd, 0, SEEK_END) < (off_t)sizeof(*order))
		setting_bad(setting, "@ and a file of 64 bytes");
	close(fd);
	order = map;
}

static void
setting_read(void)
{
	const char *setting = getenv("WRIT_FAULT");
	const char *colon = setting ? strrchr(setting, ':') : NULL;

	if (!setting || setting[0] == '@')
		return;
	if (!colon || colon == setting || (size_t)(colon - setting) >= sizeof(stage_wanted) ||
	    !writ_decimal(writ_str(colon + 1), UINT64_MAX, &pass_wanted) || pass_wanted == 0)
		setting_bad(setting, "stage:n with n from 1");
	memcpy(stage_wanted, setting, (size_t)(colon - setting));
}

/* Takes a pass off the order; true when it was the last. */
static bool
order_done(const char *stage)
{
	uint_fast64_t left = atomic_load(&order->left);

	if (left == 0 || strncmp(order->stage, stage, sizeof(order->stage)) != 0)
		return false;
	while (left > 0 && !atomic_compare_exchange_weak(&order->left, &left, left - 1))
		;
	return left == 1;
}

bool
fault_ordered(const char *stage)
{
	if (order && order_done(stage))
		return true;
	if (pthread_once(&once, setting_read) != 0)
		abort();
	if (stage_wanted[0] == '\0' || strcmp(stage, stage_wanted) != 0)
		return false;
	return atomic_fetch_add(&passes, 1) + 1 == pass_wanted;
}

void
fault_point(const char *stage)
{
	if (fault_ordered(stage))
		kill(getpid(), SIGKILL);
}

void
fault_late(const char *stage)
{
	if (fault_ordered(stage))
		(void)poll(NULL, 0, FAULT_LATE_MS);
}
#endif
