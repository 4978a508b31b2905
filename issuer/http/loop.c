/*
 * The loop: one epoll, and the order of a wake-up.  Read this file first, then conn.c.
 *
 * A wake-up: read the clock; what other threads posted; events; timers and deadlines; the hooks at the end (groups are
 * flushed); connections that were answered meanwhile, and the hooks again while those let new requests in; last, what
 * died is freed.
 */
#include "issuer/http/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"

#define EVENTS_MAX 256
#define ROUNDS_MAX 4	  /* of the hooks at the end of a wake-up */
#define STOP_MS 5000	  /* what is in flight at the end may take so long */
#define SLEEP_MAX_MS 1000 /* the date in answers is at most this old */

static unsigned
or_default(unsigned value, unsigned otherwise)
{
	return value > 0 ? value : otherwise;
}

struct writ_err *
loop_new(const struct loop_conf *conf, struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event ev = { .events = EPOLLIN };

	if (!loop)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a loop");
	loop->conf = *conf;
	loop->conf.connections_max = or_default(conf->connections_max, HTTP_CONNECTIONS_DEFAULT);
	loop->conf.header_deadline_ms = or_default(conf->header_deadline_ms, HTTP_HEADER_DEADLINE_MS);
	loop->conf.body_deadline_ms = or_default(conf->body_deadline_ms, HTTP_BODY_DEADLINE_MS);
	loop->conf.handshake_deadline_ms = or_default(conf->handshake_deadline_ms, HTTP_HANDSHAKE_DEADLINE_MS);
	loop->conf.request_deadline_ms = or_default(conf->request_deadline_ms, HTTP_REQUEST_DEADLINE_MS);
	loop->conf.idle_ms = or_default(conf->idle_ms, HTTP_IDLE_MS);
	loop->conf.write_deadline_ms = or_default(conf->write_deadline_ms, HTTP_WRITE_DEADLINE_MS);
	for (size_t i = 0; i < CONN_LISTS; i++)
		TAILQ_INIT(&loop->by_state[i]);
	TAILQ_INIT(&loop->ready);
	TAILQ_INIT(&loop->turns);
	loop->now = clock_read();
	loop->handshakes_at_ms = loop->now.mono_ms;
	loop->handshakes_left = (int64_t)loop->conf.handshakes_per_s * 1000;
	writ_random((uint8_t *)&loop->address_seed, sizeof(loop->address_seed));
	writ_time_http(loop->now.wall, loop->date);
	loop->wake_source = SOURCE_WAKE;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	loop->crypto = OSSL_LIB_CTX_new();
	ev.data.ptr = &loop->wake_source;
	if (loop->epoll < 0 || loop->wake < 0 || loop->spare < 0 || !loop->crypto ||
	    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &ev) != 0) {
		const int errno_value = errno;

		loop_free(loop);
		return writ_fail_errno(errno_value, "a loop's descriptors");
	}
	*ret = loop;
	return NULL;
}

static void
hooks_free(struct hook *hook)
{
	while (hook) {
		struct hook *next = hook->next;

		free(hook);
		hook = next;
	}
}

/* (3) of conn.h */
static void
bury(struct loop *loop)
{
	struct http_connection *conn;

	while ((conn = LIST_FIRST(&loop->dead))) {
		LIST_REMOVE(conn, dead);
		conn_free(conn);
	}
}

static void
close_all(struct loop *loop)
{
	for (size_t i = 0; i < CONN_LISTS; i++)
		while (!TAILQ_EMPTY(&loop->by_state[i]))
			conn_close(TAILQ_FIRST(&loop->by_state[i]));
	bury(loop);
}

static void
tokens_free(struct loop *loop)
{
	struct http_later *later;

	while ((later = LIST_FIRST(&loop->tokens))) {
		struct http_connection *conn = later->request.connection;

		LIST_REMOVE(later, link);
		free(later);
		if (--conn->n_tokens == 0)
			conn_free(conn);
	}
}

void
loop_free(struct loop *loop)
{
	struct post *post;

	if (!loop)
		return;
	listeners_close(loop);
	close_all(loop);
	tokens_free(loop);
	while (loop->listeners) {
		struct listener *next = loop->listeners->next;

		free(loop->listeners);
		loop->listeners = next;
	}
	while (loop->watches) {
		struct watch *next = loop->watches->next;

		free(loop->watches);
		loop->watches = next;
	}
	post = atomic_load(&loop->posts);
	while (post) {
		struct post *next = post->next;

		free(post);
		post = next;
	}
	hooks_free(loop->at_end);
	hooks_free(loop->every);
	if (loop->epoll >= 0)
		close(loop->epoll);
	if (loop->wake >= 0)
		close(loop->wake);
	if (loop->spare >= 0)
		close(loop->spare);
	SSL_CTX_free(loop->tls);
	OSSL_LIB_CTX_free(loop->crypto);
	free(loop);
}

/* ---- from other threads ---- */

static void
wake(struct loop *loop)
{
	const uint64_t one = 1;
	ssize_t n = write(loop->wake, &one, sizeof(one)); /* full only if it is awake already */

	(void)n;
}

void
loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct post *post = malloc(sizeof(*post)), *before;

	if (!post) {
		fprintf(stderr, "writ: no memory to post to a loop: stopping\n");
		abort();
	}
	before = atomic_load_explicit(&loop->posts, memory_order_relaxed);
	do {
		*post = (struct post){ .fn = fn, .arg = arg, .next = before };
	} while (!atomic_compare_exchange_weak_explicit(&loop->posts, &before, post, memory_order_release,
							memory_order_relaxed));
	/* From here on the loop may have run and freed it.  Who found others there comes before the loop takes the
	 * first. */
	if (!before)
		wake(loop);
}

void
loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
}

static void
run_posts(struct loop *loop)
{
	struct post *newest = atomic_exchange_explicit(&loop->posts, NULL, memory_order_acquire);
	struct post *oldest = NULL;

	while (newest) { /* a stack was pushed; a queue was promised */
		struct post *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct post *next = oldest->next;

		oldest->fn(oldest->arg);
		free(oldest);
		oldest = next;
	}
}

/* ---- hooks and watches ---- */

static void
hook_append(struct hook **list, struct hook *hook)
{
	while (*list)
		list = &(*list)->next;
	*list = hook;
}

void
loop_at_end(struct loop *loop, void (*fn)(struct clock now, void *ctx), void *ctx)
{
	struct hook *hook = calloc(1, sizeof(*hook));

	if (!hook) {
		fprintf(stderr, "writ: no memory for a loop's hook: stopping\n");
		abort();
	}
	*hook = (struct hook){ .fn = fn, .ctx = ctx };
	hook_append(&loop->at_end, hook);
}

struct writ_err *
loop_every(struct loop *loop, unsigned period_ms, void (*fn)(struct clock now, void *ctx), void *ctx)
{
	struct hook *hook = calloc(1, sizeof(*hook));

	if (!hook)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a timer");
	*hook = (struct hook){ .period_ms = period_ms > 0 ? period_ms : 1,
			       .due_ms = loop->now.mono_ms + period_ms,
			       .fn = fn,
			       .ctx = ctx };
	hook_append(&loop->every, hook);
	return NULL;
}

struct writ_err *
loop_watch(struct loop *loop, int fd, void (*readable)(int fd, struct clock now, void *ctx), void *ctx)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = watch };

	if (!watch)
		return writ_fail(WRIT_EXHAUSTED, "no memory to watch a descriptor");
	*watch = (struct watch){ .source = SOURCE_WATCH, .fd = fd, .readable = readable, .ctx = ctx };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(watch);
		return writ_fail_errno(errno, "watching descriptor %d", fd);
	}
	watch->next = loop->watches;
	loop->watches = watch;
	return NULL;
}

void
loop_unwatch(struct loop *loop, int fd)
{
	for (struct watch *w = loop->watches; w; w = w->next) {
		if (w->fd != fd || w->dead)
			continue;
		(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL); /* it may have been closed before */
		w->dead = true; /* freed when no event of this batch can name it */
	}
}

static void
watches_bury(struct loop *loop)
{
	struct watch **at = &loop->watches;

	while (*at) {
		struct watch *w = *at;

		if (!w->dead) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

/* ---- counts ---- */

void
loop_counts(const struct loop *loop, struct loop_counts *ret)
{
	uint64_t *const to[N_COUNTS] = {
		[COUNT_CONNECTIONS] = &ret->connections,
		[COUNT_REQUESTS] = &ret->requests,
		[COUNT_2XX] = &ret->answers_2xx,
		[COUNT_4XX] = &ret->answers_4xx,
		[COUNT_5XX] = &ret->answers_5xx,
		[COUNT_REFUSED_PARSE] = &ret->refused_parse,
		[COUNT_REFUSED_LIMIT] = &ret->refused_limit,
		[COUNT_TIMEOUTS] = &ret->timeouts,
		[COUNT_HANDSHAKES] = &ret->handshakes,
		[COUNT_HANDSHAKES_FAILED] = &ret->handshakes_failed,
		[COUNT_OPEN] = &ret->connections_open,
	};

	for (size_t i = 0; i < N_COUNTS; i++)
		*to[i] += atomic_load_explicit(&loop->counts[i], memory_order_relaxed);
}

struct clock
loop_now(const struct loop *loop)
{
	return loop->now;
}

/* ---- the loop ---- */

static void
tell_time(struct loop *loop)
{
	const writ_time before = loop->now.wall;

	loop->now = clock_read();
	if (loop->now.wall != before)
		writ_time_http(loop->now.wall, loop->date);
}

static void
sooner(int64_t *ms, int64_t candidate)
{
	if (candidate < *ms)
		*ms = candidate;
}

/* Until the next deadline or timer, in milliseconds. */
static int
sleep_ms(const struct loop *loop)
{
	int64_t ms = SLEEP_MAX_MS;

	if (!TAILQ_EMPTY(&loop->ready))
		return 0;
	for (unsigned state = 0; state < CONN_LISTS; state++) {
		const struct http_connection *first = TAILQ_FIRST(&loop->by_state[state]);

		if (first)
			sooner(&ms, first->deadline_ms - loop->now.mono_ms);
	}
	for (const struct hook *h = loop->every; h; h = h->next)
		sooner(&ms, h->due_ms - loop->now.mono_ms);
	if (loop->accept_again_ms > 0)
		sooner(&ms, loop->accept_again_ms - loop->now.mono_ms);
	if (loop->stopping)
		sooner(&ms, loop->stop_by_ms - loop->now.mono_ms);
	return ms > 0 ? (int)ms : 0;
}

static void
dispatch(struct loop *loop, const struct epoll_event *ev)
{
	const enum source *source = ev->data.ptr;
	struct watch *watch;
	uint64_t drained;
	ssize_t n;

	switch (*source) {
	case SOURCE_WAKE:
		n = read(loop->wake, &drained, sizeof(drained));
		(void)n;
		break;
	case SOURCE_LISTENER:
		listener_accept(ev->data.ptr);
		break;
	case SOURCE_WATCH:
		watch = ev->data.ptr;
		if (!watch->dead)
			watch->readable(watch->fd, loop->now, watch->ctx);
		break;
	case SOURCE_CONNECTION:
		conn_event(ev->data.ptr, ev->events);
		break;
	}
}

static void
run_timers(struct loop *loop)
{
	for (struct hook *h = loop->every; h; h = h->next) {
		if (loop->now.mono_ms < h->due_ms)
			continue;
		h->due_ms = loop->now.mono_ms + h->period_ms; /* after a stall once, not as often as was missed */
		h->fn(loop->now, h->ctx);
	}
	listeners_again(loop);
	conn_expire(loop);
}

static void
run_at_end(struct loop *loop)
{
	for (struct hook *h = loop->at_end; h; h = h->next)
		h->fn(loop->now, h->ctx);
}

/* Each connection in the queue once; what they queue anew waits for the next round. */
static void
run_ready(struct loop *loop)
{
	struct http_connection *last = TAILQ_LAST(&loop->ready, conn_list);
	struct http_connection *conn;
	bool more = last != NULL;

	while (more && (conn = TAILQ_FIRST(&loop->ready))) {
		more = conn != last;
		conn_run(conn);
	}
}

static void
begin_stop(struct loop *loop)
{
	if (!loop->stopping) {
		loop->stopping = true;
		loop->stop_by_ms = loop->now.mono_ms + STOP_MS;
		listeners_close(loop);
	}
	conn_stop_idle(loop);
}

static bool
is_over(const struct loop *loop)
{
	return loop->stopping && (loop->n_open == 0 || loop->now.mono_ms >= loop->stop_by_ms);
}

static struct writ_err *
run(struct loop *loop)
{
	struct epoll_event events[EVENTS_MAX];

	while (!is_over(loop)) {
		const int n = epoll_wait(loop->epoll, events, EVENTS_MAX, sleep_ms(loop));

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "epoll_wait");
		tell_time(loop);
		loop->behind = n == EVENTS_MAX;
		run_posts(loop);
		for (int i = 0; i < n; i++)
			dispatch(loop, &events[i]);
		run_timers(loop);
		run_at_end(loop);
		for (unsigned round = 0; round < ROUNDS_MAX && !TAILQ_EMPTY(&loop->ready); round++) {
			run_ready(loop);
			run_at_end(loop);
		}
		if (atomic_load_explicit(&loop->stop, memory_order_relaxed))
			begin_stop(loop);
		bury(loop);
		watches_bury(loop);
	}
	return NULL;
}

struct writ_err *
loop_run(struct loop *loop)
{
	const struct timespec at_once = { 0 };
	sigset_t pipe_only, before;
	struct writ_err *err;

	/* OpenSSL writes with write(): a client that went away must not end the process. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	err = run(loop);
	close_all(loop);
	watches_bury(loop);
	OPENSSL_thread_stop_ex(loop->crypto); /* what the library keeps for this thread */
	if (sigismember(&before, SIGPIPE) == 0)
		(void)sigtimedwait(&pipe_only, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}
