/*
 * Signals as something to read: see signals.h.
 */
#include "base/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct writ_err *
signals_open(const int *wanted, int *ret)
{
	sigset_t set;

	sigemptyset(&set);
	for (; *wanted; wanted++)
		sigaddset(&set, *wanted);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	*ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret < 0 ? writ_fail_errno(errno, "signalfd") : NULL;
}

int
signals_next(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}
