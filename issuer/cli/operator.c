/*
 * The token with the operator's anchor: see operator.h.
 */
#include "issuer/cli/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "hsm/wire.h"
#include "issuer/supervise/roles.h"

#define OPEN_MS 30000 /* a device that was asleep, with its self-tests */
#define SECRET_TEXT_MAX 256
#define DEVICED_ARGUMENTS_MAX 64

struct operator
{
	struct device *device;
	pid_t pid; /* of writ-deviced; 0: none */
};

void operator_close(struct operator* op)
{
	if (!op)
		return;
	device_close(op->device);
	if (op->pid > 0) {
		kill(op->pid, SIGTERM);
		while (waitpid(op->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(op);
}

void operator_closep(struct operator** op)
{
	operator_close(*op);
}

/* Typed, without an echo, into a pipe that the device reads: it is nowhere else, and wiped here. */
static struct writ_err *
secret_typed(int *ret_fd)
{
	char text[SECRET_TEXT_MAX] = "";
	struct termios before, quiet;
	int ends[2];
	size_t len;
	bool good;

	if (!isatty(0) || tcgetattr(0, &before) != 0)
		return writ_fail(
			WRIT_INVALID,
			"no terminal to ask for the PIN of the anchor's token at: say --anchor-pin FILE or fd:N");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return writ_fail_errno(errno, "a pipe");
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSAFLUSH, &quiet);
	fputs("The PIN of the anchor's token: ", stderr);
	len = 0;
	while (len < sizeof(text) && read(0, text + len, 1) == 1 && text[len] != '\n')
		len++;
	tcsetattr(0, TCSAFLUSH, &before);
	fputc('\n', stderr);
	good = len > 0 && len < sizeof(text) && write(ends[1], text, len) == (ssize_t)len;
	explicit_bzero(text, sizeof(text));
	close(ends[1]);
	if (!good) {
		close(ends[0]);
		return writ_fail(WRIT_INVALID, "nothing was typed, or over %zu characters", sizeof(text) - 1);
	}
	*ret_fd = ends[0];
	return NULL;
}

/* What the device is told of where its secret is: a file's name, or "fd:4" and the descriptor that becomes it. */
static struct writ_err *
secret_place(const struct options *o, const char **ret_name, int *ret_fd)
{
	const char *given = option(o, "--anchor-pin");
	char *end;
	long fd;

	*ret_fd = -1;
	*ret_name = given;
	if (given && strncmp(given, "fd:", 3) != 0)
		return NULL;
	*ret_name = "fd:4";
	if (!given)
		return secret_typed(ret_fd);
	fd = strtol(given + 3, &end, 10);
	if (end == given + 3 || *end || fd < 3 || fd > 1023)
		return writ_fail(WRIT_INVALID, "--anchor-pin %.20s is not fd:N with N from 3 to 1023", given);
	*ret_fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? writ_fail(WRIT_INVALID, "--anchor-pin %.20s is no open descriptor", given) : NULL;
}

struct arguments {
	char *list[DEVICED_ARGUMENTS_MAX];
	size_t n;
};

/* Its strings outlive the exec; conf allows 16 of environment, so there is room. */
static void
add(struct arguments *a, const char *word)
{
	if (a->n + 1 < DEVICED_ARGUMENTS_MAX)
		a->list[a->n++] = (char *)(uintptr_t)word;
}

static void
arguments_of(const struct conf *conf, const char *secret, struct arguments *a)
{
	add(a, "--fd");
	add(a, "3");
	add(a, "--log-level");
	add(a, "alarm");
	add(a, "--path");
	add(a, "/"); /* the operator's own device, for one command of the operator's: where it keeps things is theirs */
	add(a, "--pkcs11");
	add(a, conf->custody.anchor_token.module);
	add(a, "--uri");
	add(a, conf->custody.anchor_token.uri);
	add(a, "--pin-file");
	add(a, secret);
	for (size_t i = 0; i < conf->custody.anchor_token.n_environment; i++) {
		add(a, "--env");
		add(a, conf->custody.anchor_token.environment[i]);
	}
}

static struct writ_err *wait_until_here(struct operator* op)
{
	const int64_t deadline_ms = clock_read().mono_ms + OPEN_MS;
	struct writ_err *err = device_knock(op->device);
	bool here = false;

	while (!err && !here) {
		struct pollfd fd = { .fd = device_fd(op->device), .events = POLLIN };
		const int64_t left_ms = deadline_ms - clock_read().mono_ms;

		if (left_ms <= 0)
			return writ_fail(WRIT_UNAVAILABLE, "it did not answer within %d s", OPEN_MS / 1000);
		if (poll(&fd, 1, (int)left_ms) > 0)
			err = device_opened(op->device, &here);
	}
	return err;
}

static struct writ_err *
start(const struct conf *conf, const char *secret, int secret_fd, struct operator* op)
{
	const struct role_users users = { .separate = false, .log_gid = (gid_t)-1 };
	struct arguments a = { 0 };
	char bin[4096], program[4200], uid[16];
	struct writ_err *err = role_bin_dir(bin);
	int pair[2];

	if (err)
		return err;
	snprintf(program, sizeof(program), "%s/%s", bin, role_program(ROLE_DEVICE));
	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	add(&a, program);
	add(&a, "--peer-uid");
	add(&a, uid);
	arguments_of(conf, secret, &a);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return writ_fail_errno(errno, "a socket pair");
	err = role_start(a.list, &users, ROLE_DEVICE,
			 (struct role_fds){ .socket = pair[1], .admin = secret_fd, .out = -1, .secret = -1 }, &op->pid);
	close(pair[1]);
	if (!err)
		err = device_adopt(pair[0], &op->device);
	if (!op->device)
		close(pair[0]);
	return err ? err : wait_until_here(op);
}

struct writ_err *
operator_open(const struct conf *conf, const struct options *o, struct operator** ret)
{
	AUTO(operator_closep) struct operator* op = calloc(1, sizeof(*op));
	AUTO(file_closep) int secret_fd = -1;
	const char *secret;
	struct writ_err *err;

	if (!op)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the anchor's token");
	err = secret_place(o, &secret, &secret_fd);
	if (!err)
		err = start(conf, secret, secret_fd, op);
	if (err)
		return writ_because(err, "the anchor's token");
	*ret = TAKE(op);
	return NULL;
}

struct writ_err *
operator_connection(const struct operator* op, int *ret_fd)
{
	*ret_fd = fcntl(device_fd(op->device), F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? writ_fail_errno(errno, "the connection to the anchor's token") : NULL;
}
