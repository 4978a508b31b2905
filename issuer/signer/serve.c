/*
 * The signer's loop: one issuer, a few connections, one group a wake-up.  Read this file first.
 *
 * A wake-up: read the clock; housekeeping once a second; take what each connection has sent, at most 128 frames of each
 * (conn.c); judge every frame and journal it (messages.c, issue.c); one fdatasync; sign; send.  In the resident tier a leaf
 * waits between judging and journalling (resident.c).
 *
 * The fdatasync is waited for by the journal's thread: meanwhile the loop takes what comes, which is the next group, and
 * answers what needs no disk.  So a question for a status waits for no revocation, leaf or list of somebody else.
 *
 * (1) Answers are queued and leave only after the fdatasync of all that was journalled before them.	I2, I8
 * (2) But a status, and the signature of what is durable: these say nothing of what came after.  A serial is told to
 *     nobody before its entry is durable, so none can be asked for that may be lost; a status `revoked` waits by (1) while
 *     the entry of an end does.	I8, I9
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/admin.h"
#include "issuer/signer/conn.h"

#define EVENTS_MAX 32
#define TICK_MS 1000
#define RETRY_MS 30000
#define LOOK_MS 2 /* while the disk works: who looks more often takes smaller groups, which cost more */

/* ---- the group ---- */

static void
durable_sign(struct signer *s)
{
	if (s->revoked_below > 0 && s->revoked_below <= journal_durable(s->journal)) {
		FAULT("signer:revoked");
		s->revoked_below = 0;
	}
	issue_sign(s);
}

static void
answers_flush(struct signer *s)
{
	for (size_t i = 0; i < s->n_conns; i++)
		if ((s->conns[i]->now.n > 0 || s->conns[i]->later.n > 0) && !s->conns[i]->writing)
			conn_flush(s, s->conns[i]);
}

void
group_end(struct signer *s)
{
	resident_take(s);
	journal_sync(s->journal);
	durable_sign(s);
	journal_sync(s->journal); /* what failed was aborted */
	answers_flush(s);
}

/* The same without waiting: what was journalled is on its way to the disk, or will be when that has taken the group before. */
static void
group_step(struct signer *s)
{
	resident_take(s);
	while (!journal_syncing(s->journal)) {
		durable_sign(s); /* may journal an abort */
		if (journal_durable(s->journal) == journal_next(s->journal))
			break;
		journal_sync_begin(s->journal);
	}
	answers_flush(s);
}

/* ---- time ---- */

/*
 * While the clock is wrong nothing is issued, and the rest goes by clock_guard_time(): with a clock set forward, lists
 * would forget what is still live, responses would say good of the future, and the journal's last time would keep the
 * right one out.
 */
static void
clock_step(struct signer *s)
{
	struct clock now = clock_read();
	struct writ_err *err;
	bool ok;

	if (journal_last_time(s->journal) > s->guard.floor && s->clock_ok)
		s->guard.floor = journal_last_time(s->journal);
	ok = clock_guard_check(&s->guard, now);
	s->now = clock_guard_time(&s->guard, now);
	if (ok == s->clock_ok)
		return;
	s->clock_ok = ok;
	event(ok ? EVENT_INFO : EVENT_ALARM, "signer.clock", EV_FLAG("right", ok), EV_NUM("step_s", s->guard.step_s));
	err = entry_clock(s, ok, s->guard.step_s);
	writ_err_free(err); /* a full disk: the event has gone out */
}

/* What fails is tried again after a while, not every second: each try costs the journal an entry. */
static void
certify_and_list(struct signer *s)
{
	const struct crl_made *made;
	struct writ_err *err;

	if (s->now.mono_ms < s->next_keys_ms)
		return;
	err = responders_housekeep(s);
	if (!err)
		err = publish_anchor_crl(s, &made);
	if (!err)
		return;
	event(EVENT_ALARM, "signer.housekeeping", EV_ERR(err));
	writ_err_free(err);
	s->next_keys_ms = s->now.mono_ms + RETRY_MS;
}

static void
housekeep(struct signer *s)
{
	s->next_second_ms = s->now.mono_ms + TICK_MS;
	replay_housekeep(s); /* first: all of the last wake-up is durable */
	owed_pay(s);
	unknown_note(s);
	admin_tick(s);
	if (!s->clock_ok)
		return;
	if (s->now.wall >= s->next_prune) {
		ledger_prune(s->ledger, s->now.wall);
		s->next_prune = s->now.wall + 60;
	}
	lists_tick(s);
	device_tick(s);
	rotation_housekeep(s);
	certify_and_list(s);
}

/* ---- start, loop, end ---- */

static void
signal_take(struct signer *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		s->stop = true;
}

static void
wake(struct signer *s, const struct epoll_event *ev)
{
	struct conn *conn;

	if (ev->data.ptr == &s->listener)
		conns_accept(s);
	else if (ev->data.ptr == &s->admin.listener)
		admin_accept(s);
	else if (ev->data.ptr == &s->admin.sock)
		admin_read(s);
	else if (ev->data.ptr == &s->signals)
		signal_take(s);
	else if (ev->data.ptr == &s->disk)
		(void)journal_syncing(s->journal); /* a group is durable */
	else if (ev->data.ptr == &s->link)
		device_wake(s); /* it has answered; resident_collect() looks for signatures */
	else {
		conn = ev->data.ptr;
		if (conn->writing && (ev->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			conn_flush(s, conn);
		else if (!conn->dead)
			conn_read(s, conn);
	}
}

/* What woke up before the loop is there: the connection to the device, and operators who ask what it waits for. */
static void
wait_step(struct signer *s)
{
	struct pollfd fds[2] = { { .fd = s->signals, .events = POLLIN }, { .fd = s->epoll, .events = POLLIN } };
	struct epoll_event events[EVENTS_MAX];
	int n = 0;

	if (poll(fds, N_OF(fds), 100) > 0 && fds[1].revents != 0)
		n = epoll_wait(s->epoll, events, EVENTS_MAX, 0);
	s->stop = fds[0].revents != 0;
	s->now = clock_read();
	for (int i = 0; i < n; i++)
		wake(s, &events[i]);
	admin_flush(s); /* nothing that is answered now was journalled */
	admin_tick(s);
	device_wake(s);
}

/*
 * The signer needs the device once, to open its keys: until it is there nothing is served.  One that is locked for want of
 * an approval of the PCRs is waited for too, when there is no end to the waiting: the approval comes into its folder.
 */
struct writ_err *
signer_device_wait(struct signer *s, int64_t timeout_ms)
{
	const int64_t deadline_ms = clock_read().mono_ms + timeout_ms;

	while (!device_ready(s)) {
		const bool mends_itself = timeout_ms < 0 && s->conf->custody.pcrs && s->link.locked_itself;

		if (s->link.state.is == SIGNER_DEVICE_LOCKED && !mends_itself)
			return writ_fail(WRIT_LOCKED, "the device: %s", s->link.state.why);
		if (timeout_ms >= 0 && s->now.mono_ms > deadline_ms)
			return writ_fail(WRIT_UNAVAILABLE, "no device within %lld ms: %s", (long long)timeout_ms,
					 s->link.state.why);
		wait_step(s);
		if (s->stop)
			return writ_fail(WRIT_UNAVAILABLE, "told to stop while waiting for the device: %s",
					 s->link.state.why);
	}
	return device_key_check(s, NULL);
}

struct writ_err *
signer_init(struct signer *s, const struct conf *conf)
{
	sigset_t stopping;

	*s = (struct signer){ .conf = conf, .uids = s->uids, .epoll = -1, .listener = -1, .signals = -1, .clock_ok = true,
			      .admin = { .listener = -1, .sock = -1 } };
	s->keys.anchor_crl.fd = s->build.made.fd = -1;
	s->json = WRIT_BUF(JOURNAL_ENTRY_MAX);
	s->arena = WRIT_ARENA(256 * 1024);
	s->now = clock_read();
	sigemptyset(&stopping);
	sigaddset(&stopping, SIGTERM);
	sigaddset(&stopping, SIGINT);
	/* SIGXFSZ: a file size limit is a full disk to the journal, and no reason to die. */
	if (sigprocmask(SIG_BLOCK, &stopping, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGHUP, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return writ_fail_errno(errno, "arranging signals");
	s->signals = signalfd(-1, &stopping, SFD_CLOEXEC | SFD_NONBLOCK);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->conns = calloc(CONNS_MAX, sizeof(struct conn *));
	if (s->signals < 0 || s->epoll < 0 || !s->conns)
		return writ_fail_errno(errno, "starting the loop");
	return NULL;
}

struct writ_err *
signer_start(struct signer *s, const struct conf *conf, int admin)
{
	struct writ_err *err;

	err = signer_init(s, conf);
	if (!err)
		err = replay_open(s);
	if (!err)
		err = keys_read_anchor(s);
	if (!err)
		err = admin_open(s, admin);
	if (!err)
		err = signer_device_wait(s, -1);
	if (!err)
		err = state_is_newest(s);
	if (!err)
		err = entry_start(s);
	if (!err)
		err = keys_load(s);
	if (!err)
		err = state_start(s);
	if (!err)
		err = publish_anchor_crl_load(s);
	if (err)
		return err;
	journal_sync(s->journal);
	return NULL;
}

static struct writ_err *
watch(struct signer *s, int fd, void *what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? NULL
								: writ_fail_errno(errno, "watching descriptor %d", fd);
}

/* Until the next second's housekeeping, or until a leaf has waited too long. */
static int
sleep_ms(const struct signer *s)
{
	const int64_t tick_ms = s->next_second_ms - s->now.mono_ms, patience_ms = resident_patience_ms(s);
	const int64_t left_ms = patience_ms >= 0 && patience_ms < tick_ms ? patience_ms : tick_ms;

	return left_ms > 0 && !lists_busy(s) ? (int)left_ms : 0;
}

/*
 * What has come meanwhile is taken once in LOOK_MS: as many frames at once as when the loop itself waited for the disk.
 * Whether the disk still works is not asked here: if it is done since group_step() looked, answers wait that only group_step()
 * sends, and asking would take the event that says so.
 */
static int
work_wait(struct signer *s, struct epoll_event *events)
{
	struct pollfd disk = { .fd = s->disk, .events = POLLIN };

	if (journal_durable(s->journal) == journal_next(s->journal))
		return epoll_wait(s->epoll, events, EVENTS_MAX, sleep_ms(s));
	FAULT_LATE("signer:disk-works");
	(void)poll(&disk, 1, LOOK_MS);
	return epoll_wait(s->epoll, events, EVENTS_MAX, 0);
}

struct writ_err *
signer_serve(struct signer *s, int listener)
{
	struct epoll_event events[EVENTS_MAX];
	struct writ_err *err;

	s->listener = listener;
	err = journal_background(s->journal, &s->disk);
	if (!err)
		err = watch(s, s->disk, &s->disk);
	if (!err)
		err = watch(s, s->listener, &s->listener);
	if (!err)
		err = watch(s, s->signals, &s->signals);
	if (err)
		return err;
	event(EVENT_INFO, "signer.ready", EV_STR("tier", leaf_tier_name(s->keys.tier)),
	      EV_NUM("entries", journal_next(s->journal)), EV_HEX("issuing", s->gate.issuers[0].key_id), EV_NUM("generations", s->keys.n));
	while (!s->stop) {
		const int n = work_wait(s, events);

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "waiting for work");
		clock_step(s);
		if (s->now.mono_ms >= s->next_second_ms)
			housekeep(s);
		for (int i = 0; i < n; i++)
			wake(s, &events[i]);
		operator_step(s);
		resident_collect(s);
		lists_step(s);
		lists_shard(s);
		group_step(s);
		admin_flush(s);
		conns_reap(s);
	}
	group_end(s);
	err = entry_stop(s);
	if (!err)
		journal_sync(s->journal);
	if (!err)
		replay_stopped(s);
	event(EVENT_INFO, "signer.stopped", EV_NUM("entries", journal_next(s->journal)));
	return err;
}

void
signer_done(struct signer *s)
{
	operator_drop(s);
	for (size_t i = 0; i < s->n_conns; i++)
		conn_free(s, s->conns[i]);
	admin_done(s);
	replay_done(s);
	crl_build_done(&s->build);
	free(s->conns);
	free(s->jobs);
	free(s->owed);
	keys_done(&s->keys);
	device_done(s);
	journal_close(s->journal);
	ledger_free(s->ledger);
	writ_buf_done(&s->json);
	writ_arena_done(&s->arena);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->signals >= 0)
		close(s->signals);
	if (s->listener >= 0)
		close(s->listener);
}
