/*
 * writ-responderd: answers for the status of an issuer's certificates, without a key of a CA.  Started by writd; see
 * writd(8) and writ-responder.yaml(5).
 *
 *	writ-responderd --config FILE --key-fd N
 *
 * N is a descriptor of the client certificate's key, which writd opened: what this process may open later are the
 * system's files that names are looked up with.  Read responder.h first.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "issuer/responder/responder.h"

#define DESCRIPTORS_OTHER 256
#define CACHE_BYTES_MAX ((size_t)64 << 20) /* OCSP responses, each loop */
#define LOOP_TICK_MS 250		   /* an idle loop lets pages of the table go this often */

/* ---- loops ---- */

static void
wake_end(struct clock now, void *ctx)
{
	struct responder_loop *on = ctx;

	(void)now;
	status_quiet(on->table, on->number);
}

static void
tick(struct clock now, void *ctx)
{
	(void)now; /* the end of its wake-up is what it is for */
	(void)ctx;
}

WRIT_CHECKED static struct writ_err *
loop_make(struct responder *r, unsigned number)
{
	const struct conf_address *listen = &r->conf.common.status;
	const struct loop_conf conf = { .connections_max = r->conf.connections, .server_name = "writ-responderd" };
	struct responder_loop *on = &r->loops[number];
	const struct status_front_conf front = { .table = r->table,
						 .reader = number,
						 .publish = r->publish,
						 .ask = ask_take,
						 .ctx = on,
						 .cache_bytes_max = CACHE_BYTES_MAX };
	struct writ_err *err;

	*on = (struct responder_loop){ .responder = r, .number = number, .table = r->table };
	on->handler = (struct http_handler){ .body_max = OCSP_REQUEST_MAX, .request = plain_request, .ctx = on };
	err = loop_new(&conf, &on->loop);
	if (!err)
		err = status_front_new(&front, &on->front);
	if (!err)
		err = loop_every(on->loop, LOOP_TICK_MS, tick, on);
	if (err)
		return writ_because(err, "loop %u", number);
	loop_at_end(on->loop, wake_end, on);
	err = loop_listen(on->loop, listen->host, listen->port, false, &on->handler, NULL);
	return err ? writ_because(err, "status.listen") : NULL;
}

static void *
loop_thread(void *arg)
{
	struct responder_loop *on = arg;
	struct writ_err *err = loop_run(on->loop);

	if (err) { /* nothing can be answered any more: whoever supervises us starts us anew */
		event(EVENT_ALARM, "responder.loop", EV_NUM("loop", on->number), EV_ERR(err));
		_exit(1);
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
loops_start(struct responder *r)
{
	for (unsigned i = 0; i < r->conf.common.threads; i++) {
		struct responder_loop *on = &r->loops[i];
		struct writ_err *err = loop_make(r, i);
		int code = err ? 0 : pthread_create(&on->thread, NULL, loop_thread, on);

		if (!err && code != 0)
			err = writ_fail_errno(code, "starting loop %u", i);
		if (err) {
			loop_free(on->loop);
			status_front_free(on->front);
			return err;
		}
		r->n_loops++;
	}
	return NULL;
}

static void
loops_end(struct responder *r)
{
	for (unsigned i = 0; i < r->n_loops; i++)
		loop_stop(r->loops[i].loop);
	for (unsigned i = 0; i < r->n_loops; i++) {
		pthread_join(r->loops[i].thread, NULL);
		loop_free(r->loops[i].loop);
		status_front_free(r->loops[i].front);
	}
}

struct told {
	struct responder_loop *on;
	void (*fn)(struct responder_loop *, void *arg);
	void *arg;
};

static void
told_run(void *arg)
{
	const struct told *told = arg;

	told->fn(told->on, told->arg);
	sem_post(&told->on->responder->done);
}

void
responder_on_loops(struct responder *r, void (*fn)(struct responder_loop *, void *arg), void *arg)
{
	struct told told[RESPONDER_LOOPS_MAX];

	for (unsigned i = 0; i < r->n_loops; i++) {
		told[i] = (struct told){ .on = &r->loops[i], .fn = fn, .arg = arg };
		loop_post(r->loops[i].loop, told_run, &told[i]);
	}
	for (unsigned i = 0; i < r->n_loops; i++)
		while (sem_wait(&r->done) != 0)
			;
}

/* ---- the follower ---- */

static void
ready_look(struct responder *r)
{
	if (atomic_load(&r->ready) || !r->documents.have || atomic_load(&r->fresh_ms) == 0)
		return;
	atomic_store(&r->ready, true);
	event(EVENT_INFO, "responder.ready", EV_NUM("sequence", atomic_load(&r->sequence)));
}

static void
follow(struct responder *r, int signals)
{
	while (signals_next(signals) == 0) {
		const struct clock now = clock_read();
		const int wait_ms = follow_step(r, now), documents_ms = documents_step(r, now);

		ready_look(r);
		asks_step(r);
		web_turn(&r->web, signals, wait_ms < documents_ms ? wait_ms : documents_ms);
	}
}

/* ---- start and end ---- */

/* Names are looked up by whatever this machine is set up with: as writ-fetchd does. */
WRIT_CHECKED static struct writ_err *
confine(void)
{
	struct sandbox box = { .role = "writ-responderd",
			       .may = SANDBOX_THREADS | SANDBOX_UNIX | SANDBOX_ACCEPT | SANDBOX_CONNECT |
				      SANDBOX_FOREIGN };

	sandbox_read(&box, "/etc");
	sandbox_read(&box, "/usr");
	sandbox_read(&box, "/lib");
	sandbox_read(&box, "/lib64");
	sandbox_read(&box, "/run/systemd/resolve");
	return sandbox_enter(&box);
}

static void
descriptors_take(const struct conf_responder *conf)
{
	const uint64_t wanted = (uint64_t)conf->connections * conf->common.threads + DESCRIPTORS_OTHER;
	const uint64_t limit = file_descriptors_raise(wanted);

	if (limit < wanted)
		event(EVENT_WARN, "responder.few_descriptors", EV_NUM("limit", limit), EV_NUM("wanted", wanted),
		      EV_STR("hint", "raise LimitNOFILE (ulimit -Hn), or lower status.connections"));
}

WRIT_CHECKED static struct writ_err *
run(struct responder *r, int key_fd, int *signals)
{
	struct writ_err *err;

	event_start(2, "writ-responderd", r->conf.common.log_level);
	descriptors_take(&r->conf);
	err = web_init(&r->web, &r->conf, key_fd);
	if (!err)
		err = confine();
	if (!err)
		err = signals_open((const int[]){ SIGTERM, SIGINT, 0 }, signals);
	if (!err)
		err = status_table_new(r->conf.common.threads, &r->table);
	if (!err)
		err = publish_new(&r->publish);
	if (!err)
		err = follow_init(r);
	if (!err)
		err = documents_init(r);
	if (!err)
		err = asks_init(r);
	if (!err)
		err = loops_start(r);
	if (!err)
		follow(r, *signals);
	return err;
}

static void
responder_done(struct responder *r)
{
	asks_done(r);
	loops_end(r);
	documents_done(r);
	follow_done(r);
	web_done(&r->web);
	publish_free(r->publish);
	status_table_free(r->table);
	conf_responder_done(&r->conf);
	free(r);
}

WRIT_CHECKED static struct writ_err *
respond(const char *path, int key_fd)
{
	struct responder *r = calloc(1, sizeof(*r));
	struct writ_err *err;
	int signals = -1;

	if (!r)
		return writ_fail(WRIT_EXHAUSTED, "no memory to start");
	pthread_mutex_init(&r->why_lock, NULL);
	sem_init(&r->done, 0, 0);
	err = conf_responder_read(path, &r->conf);
	if (!err)
		err = run(r, key_fd, &signals);
	else
		close(key_fd);
	responder_done(r);
	file_closep(&signals);
	return err;
}

int
main(int argc, char **argv)
{
	static const struct option known[] = { { "config", required_argument, NULL, 'c' },
					       { "key-fd", required_argument, NULL, 'k' },
					       { NULL, 0, NULL, 0 } };
	const struct rlimit none = { 0, 0 };
	const char *config = NULL;
	struct writ_err *err;
	char text[1024];
	uint64_t fd = 0;
	bool misused = false;
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'c')
			config = optarg;
		misused = misused || c == '?' || (c == 'k' && (!writ_decimal(writ_str(optarg), 1023, &fd) || fd < 3));
	}
	if (misused || !config || fd == 0 || optind != argc) {
		fprintf(stderr, "usage: writ-responderd --config FILE --key-fd N\n");
		return 2;
	}
	umask(027);
	setrlimit(RLIMIT_CORE, &none);
	err = respond(config, (int)fd);
	if (!err)
		return 0;
	fprintf(stderr, "writ-responderd: %s\n", writ_err_text(err, text, sizeof(text)));
	code = err->code == WRIT_INVALID ? 2 : 1;
	writ_err_free(err);
	return code;
}
