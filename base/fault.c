/*
 * Fault points, for the crash tests.  The release build compiles none of it.
 */
#include "base/fault.h"

#include <signal.h>

#ifdef WRIT_FAULTS
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char stage_wanted[64];
static uint64_t pass_wanted;
static atomic_uint_fast64_t passes;

/* A fault that could never fire would make its test prove nothing: so a bad setting ends the process too. */
static void
setting_read(void)
{
	const char *setting = getenv("WRIT_FAULT");
	const char *colon = setting ? strrchr(setting, ':') : NULL;

	if (!setting)
		return;
	if (!colon || colon == setting || (size_t)(colon - setting) >= sizeof(stage_wanted) ||
	    !writ_decimal(writ_str(colon + 1), UINT64_MAX, &pass_wanted) || pass_wanted == 0) {
		fprintf(stderr, "writ: WRIT_FAULT=%s is not stage:n with n from 1\n", setting);
		abort();
	}
	memcpy(stage_wanted, setting, (size_t)(colon - setting));
}

void
fault_point(const char *stage)
{
	if (pthread_once(&once, setting_read) != 0)
		abort();
	if (stage_wanted[0] == '\0' || strcmp(stage, stage_wanted) != 0)
		return;
	if (atomic_fetch_add(&passes, 1) + 1 == pass_wanted)
		kill(getpid(), SIGKILL);
}
#endif
