/*
 * writd: keeps device, signer, issuer and, where it is wanted, fetcher running; see writd(8).
 *
 * Terms: a crash is an end within 2 s of the start, but for the device's deadline, which never counts.
 * (1) A role that ended is started again after 0.1 s, doubling to 5 s, back to 0.1 s once it has run for 10 s.  The
 *     device's back-off ends at 1 s: it is to be found again within 5 s of its return.
 * (2) Three crashes in a row leave it down, with an alarm: an operator must look.  The others go on.
 * (3) SIGTERM ends fetcher, issuer, signer, device in this order, so that nothing is asked of who is gone; each has 5 s.
 * The listening sockets are made here and inherited, so a role's restart refuses nobody.  Knows no protocol between the
 * roles.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "issuer/supervise/handed.h"
#include "issuer/supervise/responder.h"

#define CRASH_MS 2000
#define CRASHES_MAX 3
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 5000
#define BACKOFF_DEVICE_LAST_MS 1000
#define STEADY_MS 10000
#define STOP_MS 5000
#define DEVICE_EXIT_DEADLINE 4 /* hsm/wire.h: writ-deviced ended itself at a request's deadline */

struct child {
	pid_t pid; /* 0: not running */
	int socket;
	int admin;  /* the signer's second one; -1 */
	int secret; /* the device's, handed over; -1 */
	char **arguments;
	int64_t started_ms, start_ms; /* monotonic; start_ms: when to start it next */
	int64_t backoff_ms;
	unsigned crashes;
	bool down; /* (2), or never wanted */
};

struct supervisor {
	struct conf conf;
	struct role_users users;
	struct child children[ROLE_N];
	struct writ_arena arena;
	int signals;
	bool stopping;
};

static int64_t
now_ms(void)
{
	return clock_read().mono_ms;
}

static void
start(struct supervisor *s, enum role role)
{
	struct child *c = &s->children[role];
	struct writ_err *err;

	c->started_ms = now_ms();
	err = role_start(c->arguments, &s->users, role,
			 (struct role_fds){ .socket = c->socket, .admin = c->admin, .out = -1, .secret = c->secret }, &c->pid);
	if (err) {
		event(EVENT_ALARM, "writd.start", EV_STR("program", role_program(role)), EV_ERR(err));
		writ_err_free(err);
		c->pid = 0;
		c->start_ms = c->started_ms + BACKOFF_LAST_MS;
		return;
	}
	event(EVENT_INFO, "writd.started", EV_STR("program", role_program(role)), EV_NUM("pid", c->pid));
}

/* (1), (2) */
static void
ended(struct supervisor *s, enum role role, int status)
{
	struct child *c = &s->children[role];
	const int64_t lived_ms = now_ms() - c->started_ms;
	const bool deadline = role == ROLE_DEVICE && WIFEXITED(status) && WEXITSTATUS(status) == DEVICE_EXIT_DEADLINE;
	const int64_t last_ms = role == ROLE_DEVICE ? BACKOFF_DEVICE_LAST_MS : BACKOFF_LAST_MS;

	c->pid = 0;
	if (s->stopping)
		return;
	event(EVENT_WARN, "writd.ended", EV_STR("program", role_program(role)), EV_NUM("lived_ms", lived_ms),
	      EV_NUM("exit", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
	      EV_NUM("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0), EV_FLAG("deadline", deadline));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		event(EVENT_ALARM, "writd.sandbox", EV_STR("program", role_program(role)),
		      EV_STR("text", "killed at a system call that this role may not make: a fault of ours, or somebody who "
				     "took the process over; the kernel's audit record (type=1326) names the call"));
	if (lived_ms >= STEADY_MS || deadline)
		c->backoff_ms = BACKOFF_FIRST_MS;
	if (!deadline)
		c->crashes = lived_ms < CRASH_MS ? c->crashes + 1 : 0;
	if (c->crashes >= CRASHES_MAX) {
		c->down = true;
		event(EVENT_ALARM, "writd.stays_down", EV_STR("program", role_program(role)),
		      EV_NUM("crashes", c->crashes),
		      EV_STR("text",
			     "it ended three times within 2 s of its start: see its events, then restart writd"));
		return;
	}
	c->start_ms = now_ms() + c->backoff_ms;
	c->backoff_ms = 2 * c->backoff_ms < last_ms ? 2 * c->backoff_ms : last_ms;
}

static void
reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < ROLE_N; i++)
			if (s->children[i].pid == pid)
				ended(s, (enum role)i, status);
}

/* Starts what is due; how long until the next one is, or -1. */
static int
start_due(struct supervisor *s)
{
	const int64_t now = now_ms();
	int64_t wait_ms = -1;

	for (int i = 0; i < ROLE_N; i++) {
		struct child *c = &s->children[i];

		if (c->pid > 0 || c->down)
			continue;
		if (c->start_ms <= now)
			start(s, (enum role)i);
		if (c->pid == 0 && (wait_ms < 0 || c->start_ms - now < wait_ms))
			wait_ms = c->start_ms > now ? c->start_ms - now : 0;
	}
	return (int)wait_ms;
}

/* Both read the configuration anew. */
static void
hup(struct supervisor *s)
{
	static const enum role told[] = { ROLE_ISSUER, ROLE_FETCH };

	for (size_t i = 0; i < N_OF(told); i++)
		if (s->children[told[i]].pid > 0)
			kill(s->children[told[i]].pid, SIGHUP);
}

/* Takes one signal; waits for it no longer than that (-1: for ever). */
static void
signal_take(struct supervisor *s, int wait_ms)
{
	struct pollfd readable = { .fd = s->signals, .events = POLLIN };
	struct signalfd_siginfo info;

	if (poll(&readable, 1, wait_ms) <= 0 || read(s->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(s);
	else if (info.ssi_signo == SIGHUP)
		hup(s);
	else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
		s->stopping = true;
}

/* (3) */
static void
stop(struct supervisor *s, enum role role)
{
	struct child *c = &s->children[role];
	const int64_t until = now_ms() + STOP_MS;

	if (c->pid > 0)
		kill(c->pid, SIGTERM);
	while (c->pid > 0 && now_ms() < until)
		signal_take(s, (int)(until - now_ms()));
	if (c->pid == 0)
		return;
	event(EVENT_ALARM, "writd.killed", EV_STR("program", role_program(role)), EV_NUM("after_ms", STOP_MS));
	kill(c->pid, SIGKILL);
	while (c->pid > 0)
		signal_take(s, 1000);
}

WRIT_CHECKED static struct writ_err *
prepare(struct supervisor *s, const char *path)
{
	static const int taken[] = { SIGCHLD, SIGHUP, SIGTERM, SIGINT };
	char bin_dir[4096];
	struct writ_err *err;
	sigset_t set;

	err = conf_read(path, &s->conf);
	if (err)
		return err;
	event_start(2, "writd", s->conf.log_level);
	err = role_users(&s->conf, &s->users);
	if (!err)
		err = role_folders(&s->conf, &s->users);
	if (!err)
		err = role_bin_dir(bin_dir);
	for (int i = 0; i < ROLE_N && !err; i++) {
		struct child *c = &s->children[i];

		c->socket = c->admin = c->secret = -1;
		c->backoff_ms = BACKOFF_FIRST_MS;
		c->down = !role_wanted(&s->conf, (enum role)i);
		if (c->down)
			continue;
		err = role_arguments(&s->conf, &s->users, (enum role)i, bin_dir, NULL, &s->arena, &c->arguments);
		if (!err)
			err = role_socket(&s->conf, &s->users, (enum role)i, &c->socket);
		if (!err && i == ROLE_SIGNER)
			err = role_admin_socket(&s->conf, &c->admin);
		if (!err && i == ROLE_DEVICE)
			err = role_secret(&s->conf, &c->secret);
	}
	if (err)
		return err;
	sigemptyset(&set);
	for (size_t i = 0; i < N_OF(taken); i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signals < 0 ? writ_fail_errno(errno, "signalfd") : NULL;
}

WRIT_CHECKED static struct writ_err *
pid_write(const struct supervisor *s)
{
	char path[4096], text[32];

	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	return file_replace(conf_path(s->conf.run, "writd.pid", path), 0644, writ_str(text));
}

static void
run(struct supervisor *s)
{
	while (!s->stopping)
		signal_take(s, start_due(s));
	event(EVENT_INFO, "writd.stopping", EV_NUM("pid", getpid()));
	for (int i = ROLE_N; i-- > 0;)
		stop(s, (enum role)i);
}

static void
supervisor_done(struct supervisor *s)
{
	for (int i = 0; i < ROLE_N; i++) {
		if (s->children[i].socket > 0)
			close(s->children[i].socket);
		if (s->children[i].admin > 0)
			close(s->children[i].admin);
		if (s->children[i].secret > 0)
			close(s->children[i].secret);
	}
	writ_arena_done(&s->arena);
	conf_done(&s->conf);
}

/* Takes the error. */
static int
complain(struct writ_err *err)
{
	const int code = err->code == WRIT_INVALID ? 2 : 1;
	char text[1024];

	fprintf(stderr, "writd: %s\n", writ_err_text(err, text, sizeof(text)));
	writ_err_free(err);
	return code;
}

/* Under a service manager: this process becomes the role. */
static int
one_role(struct conf *conf, const char *path, enum role role)
{
	struct writ_err *err = conf_read(path, conf);

	if (!err && !role_wanted(conf, role)) {
		fprintf(stderr, "writd: %s names nothing that %s would fetch\n", path, role_program(role));
		return 0;
	}
	return complain(err ? err : handed_become(conf, role));
}

int
main(int argc, char **argv)
{
	AUTO(supervisor_done) struct supervisor s = { .arena = WRIT_ARENA(1024 * 1024) };
	const struct rlimit none = { 0, 0 };
	enum role role = ROLE_N;
	bool responder;
	char pid_path[4096];
	struct writ_err *err;

	responder = argc == 5 && strcmp(argv[3], "--role") == 0 && strcmp(argv[4], "responder") == 0;
	if ((argc != 3 && argc != 5) || strcmp(argv[1], "--config") != 0 ||
	    (argc == 5 && !responder && (strcmp(argv[3], "--role") != 0 || !handed_role_from(argv[4], &role)))) {
		fprintf(stderr, "usage: writd --config FILE [--role device|signer|issuer|fetch|responder]\n");
		return 2;
	}
	umask(022);
	setrlimit(RLIMIT_CORE, &none);
	if (responder)
		return complain(responder_become(argv[2]));
	if (argc == 5)
		return one_role(&s.conf, argv[2], role);
	err = prepare(&s, argv[2]);
	if (!err)
		err = pid_write(&s);
	if (err)
		return complain(err);
	run(&s);
	unlink(conf_path(s.conf.run, "writd.pid", pid_path));
	return 0;
}
