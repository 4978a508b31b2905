/*
 * A device process for one command: see own_device.h.
 */
#include "issuer/cli/own_device.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "issuer/supervise/roles.h"

#define OPEN_MS 30000 /* a device that was asleep, with its self-tests */
#define WORDS_OF_ALL 9
#define PATH_LEN 4200

void
own_device_word(struct own_device_words *w, const char *name, const char *value)
{
	if (w->n + 2 > OWN_DEVICE_WORDS_MAX)
		return;
	w->list[w->n++] = name;
	if (value)
		w->list[w->n++] = value;
}

/* What it has to say until it serves is its own complaint on stderr, or an answer. */
static struct writ_err *
wait_until_here(struct device *device)
{
	const int64_t deadline_ms = clock_read().mono_ms + OPEN_MS;
	struct writ_err *err = device_knock(device);
	bool here = false;

	while (!err && !here) {
		struct pollfd fd = { .fd = device_fd(device), .events = POLLIN };
		const int64_t left_ms = deadline_ms - clock_read().mono_ms;

		if (left_ms <= 0)
			return writ_fail(WRIT_UNAVAILABLE, "it did not answer within %d s", OPEN_MS / 1000);
		if (poll(&fd, 1, (int)left_ms) > 0)
			err = device_opened(device, &here);
	}
	return err;
}

struct writ_err *
own_device_start(const struct own_device_words *words, int secret_fd, struct own_device *ret)
{
	const struct role_users users = { .separate = false, .log_gid = (gid_t)-1 };
	char bin[4096], program[PATH_LEN], uid[16];
	/* --path /: the user's own device, for one command of the user's: where it keeps things is theirs */
	const char *all[WORDS_OF_ALL + OWN_DEVICE_WORDS_MAX + 1] = { program,	   "--fd",   "3",
								     "--peer-uid", uid,	     "--log-level",
								     "alarm",	   "--path", "/" };
	struct writ_err *err = role_bin_dir(bin);
	int pair[2];

	*ret = (struct own_device){ 0 };
	if (err)
		return err;
	snprintf(program, sizeof(program), "%s/%s", bin, role_program(ROLE_DEVICE));
	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	memcpy(all + WORDS_OF_ALL, words->list, words->n * sizeof(all[0]));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return writ_fail_errno(errno, "a socket pair");
	err = role_start((char *const *)(uintptr_t)all, &users, ROLE_DEVICE,
			 (struct role_fds){ .socket = pair[1], .admin = secret_fd, .out = -1, .secret = -1 },
			 &ret->pid);
	close(pair[1]);
	if (!err)
		err = device_adopt(pair[0], &ret->device);
	if (!ret->device)
		close(pair[0]);
	return err ? err : wait_until_here(ret->device);
}

void
own_device_end(struct own_device *own)
{
	device_close(own->device);
	if (own->pid > 0) {
		kill(own->pid, SIGTERM);
		while (waitpid(own->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*own = (struct own_device){ 0 };
}
