/*
 * A deadline from outside.
 */
#include "hsm/watchdog.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "hsm/wire.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t armed;
static int64_t deadline_ms; /* monotonic; 0 while nothing runs */
static const char *running;
static int64_t
	waits_until; /* when the thread looks next; INT64_MAX: not by itself.  An earlier deadline must wake it */

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * The thread sleeps until the deadline it last saw and only then looks for a later one, so that arming and disarming
 * around each of many short requests wakes nobody.
 */
static void *
watch(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	for (;;) {
		const int64_t deadline = deadline_ms;
		const struct timespec until = { deadline / 1000, deadline % 1000 * 1000000 };

		if (deadline == 0) {
			waits_until = INT64_MAX;
			pthread_cond_wait(&armed, &lock);
			continue;
		}
		if (now_ms() >= deadline) {
			event(EVENT_ALARM, "device.deadline", EV_STR("request", running),
			      EV_STR("then", "the process ends"));
			_exit(DEVICE_EXIT_DEADLINE);
		}
		waits_until = deadline;
		pthread_cond_timedwait(&armed, &lock, &until);
	}
	return NULL;
}

struct writ_err *
watchdog_start(void)
{
	pthread_condattr_t attr;
	pthread_t thread;
	int rc;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&armed, &attr);
	pthread_condattr_destroy(&attr);
	rc = pthread_create(&thread, NULL, watch, NULL);
	if (rc != 0)
		return writ_fail_errno(rc, "starting the watchdog thread");
	pthread_detach(thread);
	return NULL;
}

void
watchdog_arm(int timeout_ms, const char *what)
{
	pthread_mutex_lock(&lock);
	deadline_ms = now_ms() + timeout_ms;
	running = what;
	if (deadline_ms < waits_until)
		pthread_cond_signal(&armed);
	pthread_mutex_unlock(&lock);
}

void
watchdog_disarm(void)
{
	pthread_mutex_lock(&lock);
	deadline_ms = 0;
	pthread_mutex_unlock(&lock);
}
