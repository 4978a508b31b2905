/*
 * writ-fetchd: the one of our processes that asks foreign servers; see writd(8).
 *
 *	writ-fetchd --config FILE [--fd N]
 *
 * It fetches what writ.yaml names (the keys of OpenID providers) and puts each document into a file of STATE/fetched,
 *whole or not at all; the issuer reads the files, and only it reads what is in them.  So the HTTP client and its many
 * libraries never stand in the process that holds the store, and this one holds nothing: no key, no store, no parser.
 *
 * (1) Only URLs of the configuration, of which nothing is decided by an answer: no redirect is followed.
 * (2) An answer is at most TRANSFER_MAX bytes and takes at most TRANSFER_MS; one request a source is on its way, and
 *     QUERIES questions.
 * (3) A source is asked every `refresh`, after failures sooner (1 s, doubling), and when the issuer asks - but never
 *     within APART_MS of the last time, whoever asks.  A question is put once in QUERY_APART_S.
 * (4) A file's time is that of the answer: a failure changes nothing.  Answers to questions go after a day.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/text.h"
#include "issuer/conf/conf.h"
#include "issuer/fetch/transfer.h"
#include "issuer/fetch/wire.h"

#define APART_MS 10000
#define RETRY_FIRST_MS 1000
#define ASKS_A_TURN 64 /* datagrams read before anything else is done */
#define OCSP_MAX (32 * 1024)
#define QUERIES 32
#define QUERY_APART_S 2
#define SWEEP_MS 3600000
#define ANSWER_KEEP_S 86400 /* the longest max_age */

struct source {
	const struct conf_oidc *conf;
	struct transfer way;
	bool asked_once;
	int64_t asked_ms, due_ms, retry_ms;
};

struct query {
	struct transfer way;
	const char *url; /* of the configuration */
	struct writ_buf request;
	char path[4096];
};

struct fetcher {
	struct conf conf;
	struct source *sources;
	size_t n_sources;
	struct query queries[QUERIES];
	int64_t sweep_ms;
	CURLM *multi;
	int sock; /* -1: nobody can ask */
	int signals;
	bool stop, reload;
};

static int64_t
now_ms(void)
{
	return clock_read().mono_ms;
}

/* ---- keys ---- */

static void
begin(struct fetcher *f, struct source *s)
{
	s->asked_once = true;
	s->asked_ms = now_ms();
	if (transfer_begin(&s->way, f->multi, s->conf->jwks_url, s->conf->ca, (struct writ_bytes){ 0 }))
		return;
	s->due_ms = s->asked_ms + APART_MS;
	event(EVENT_ALARM, "fetch.not_started", EV_STR("alias", s->conf->alias));
}

/* Is it a JSON object, from afar?  What is in it is the issuer's to read. */
static bool
looks_like_json(struct writ_bytes text)
{
	while (text.len > 0 && strchr(" \t\r\n", text.data[0])) {
		text.data++;
		text.len--;
	}
	return text.len > 0 && text.data[0] == '{';
}

WRIT_CHECKED static struct writ_err *
keys_keep(struct fetcher *f, struct source *s, CURLcode code)
{
	struct writ_err *err = transfer_result(&s->way, code);
	char path[4096];

	if (err)
		return err;
	if (!looks_like_json(writ_view(&s->way.exchange.answer)))
		return writ_fail(WRIT_INVALID, "the answer is not a JSON object");
	return file_replace(fetch_keys_path(f->conf.state, s->conf->alias, path), 0644, writ_view(&s->way.exchange.answer));
}

/* (3), (4) */
static void
keys_ended(struct fetcher *f, struct source *s, CURLcode code)
{
	const int64_t refresh_ms = (int64_t)s->conf->refresh_s * 1000;
	struct writ_err *err = keys_keep(f, s, code);

	transfer_end(&s->way, f->multi);
	if (!err) {
		s->due_ms = s->asked_ms + refresh_ms;
		s->retry_ms = RETRY_FIRST_MS;
		event(EVENT_DEBUG, "fetch.done", EV_STR("alias", s->conf->alias), EV_NUM("bytes", s->way.exchange.answer.len));
		return;
	}
	s->due_ms = now_ms() + s->retry_ms;
	s->retry_ms = 2 * s->retry_ms < refresh_ms ? 2 * s->retry_ms : refresh_ms;
	event(EVENT_WARN, "fetch.failed", EV_STR("alias", s->conf->alias), EV_STR("url", s->conf->jwks_url),
	      EV_ERR(err));
	writ_err_free(err);
}

/* ---- questions to OCSP responders ---- */

WRIT_CHECKED static struct writ_err *
answer_keep(struct query *q, CURLcode code)
{
	struct writ_err *err = transfer_result(&q->way, code);

	if (!err && q->way.exchange.answer.len == 0)
		err = writ_fail(WRIT_INVALID, "the answer is empty");
	return err ? err : file_replace(q->path, 0644, writ_view(&q->way.exchange.answer));
}

static void
query_ended(struct fetcher *f, struct query *q, CURLcode code)
{
	struct writ_err *err = answer_keep(q, code);

	transfer_end(&q->way, f->multi);
	if (err)
		event(EVENT_WARN, "fetch.failed", EV_STR("url", q->url), EV_ERR(err));
	else
		event(EVENT_DEBUG, "fetch.answered", EV_STR("url", q->url));
	writ_err_free(err);
}

static const char *
responder_of(const struct conf *conf, struct writ_bytes url)
{
	for (size_t i = 0; i < conf->n_delegators; i++)
		if (conf->delegators[i].ocsp && writ_equal(writ_str(conf->delegators[i].ocsp), url))
			return conf->delegators[i].ocsp;
	return NULL;
}

/* Answered just now? */
static bool
is_fresh(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && clock_read().wall - (writ_time)st.st_mtim.tv_sec < QUERY_APART_S;
}

/* What finds no room is asked again by whoever wants to know. */
static void
query_begin(struct fetcher *f, const struct fetch_ask *ask)
{
	const char *url = responder_of(&f->conf, ask->url);
	struct query *free_one = NULL;
	char path[4096];
	struct writ_err *err;

	if (!url)
		return;
	fetch_ocsp_path(f->conf.state, url, ask->request, path);
	for (size_t i = 0; i < QUERIES; i++) {
		struct query *q = &f->queries[i];

		if (!transfer_under_way(&q->way))
			free_one = q;
		else if (strcmp(q->path, path) == 0)
			return;
	}
	if (!free_one || is_fresh(path))
		return;
	writ_buf_clear(&free_one->request);
	err = writ_buf_add(&free_one->request, ask->request);
	if (err) {
		writ_err_free(err);
		return;
	}
	free_one->url = url;
	memcpy(free_one->path, path, sizeof(path));
	if (!transfer_begin(&free_one->way, f->multi, url, NULL, writ_view(&free_one->request)))
		event(EVENT_ALARM, "fetch.not_started", EV_STR("url", url));
}

/* (4) */
static void
sweep(struct fetcher *f)
{
	const int64_t now = now_ms();
	char folder[4096], path[4096 + 256];
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (now < f->sweep_ms)
		return;
	f->sweep_ms = now + SWEEP_MS;
	dir = opendir(conf_path(f->conf.state, "fetched", folder));
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (strncmp(entry->d_name, "ocsp-", 5) == 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
		    clock_read().wall - (writ_time)st.st_mtim.tv_sec > ANSWER_KEEP_S)
			unlink(path);
	}
	closedir(dir);
}

/* ---- who asks, and when ---- */

static void
ask_take(struct fetcher *f, struct writ_bytes datagram)
{
	struct fetch_ask ask;

	if (!fetch_ask_read(datagram, &ask))
		return;
	if (ask.url.len > 0) {
		query_begin(f, &ask);
		return;
	}
	for (size_t i = 0; i < f->n_sources; i++) {
		struct source *s = &f->sources[i];

		if (writ_equal(ask.alias, writ_str(s->conf->alias)) && !transfer_under_way(&s->way) &&
		    s->due_ms > s->asked_ms + APART_MS)
			s->due_ms = s->asked_ms + APART_MS;
	}
}

static void
asks_take(struct fetcher *f)
{
	uint8_t datagram[FETCH_ASK_MAX + 1];

	for (int i = 0; i < ASKS_A_TURN && f->sock >= 0; i++) {
		const ssize_t n = recv(f->sock, datagram, sizeof(datagram), MSG_DONTWAIT);

		if (n <= 0)
			return;
		ask_take(f, (struct writ_bytes){ datagram, (size_t)n });
	}
}

static void
signals_take(struct fetcher *f)
{
	int came;

	while ((came = signals_next(f->signals)) != 0) {
		if (came == SIGHUP)
			f->reload = true;
		else
			f->stop = true;
	}
}

/* Begins what is due; how long until the next is. */
static int
begin_due(struct fetcher *f)
{
	const int64_t now = now_ms();
	int64_t wait_ms = 60000;

	for (size_t i = 0; i < f->n_sources; i++) {
		struct source *s = &f->sources[i];

		if (!transfer_under_way(&s->way) && (!s->asked_once || s->due_ms <= now))
			begin(f, s);
		if (!transfer_under_way(&s->way) && s->due_ms - now < wait_ms)
			wait_ms = s->due_ms > now ? s->due_ms - now : 0;
	}
	return (int)wait_ms;
}

static void
ended(struct fetcher *f, CURL *curl, CURLcode code)
{
	struct transfer *way = NULL;

	curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&way);
	for (size_t i = 0; i < f->n_sources; i++)
		if (way == &f->sources[i].way)
			keys_ended(f, &f->sources[i], code);
	for (size_t i = 0; i < QUERIES; i++)
		if (way == &f->queries[i].way)
			query_ended(f, &f->queries[i], code);
}

static void
turn(struct fetcher *f)
{
	struct curl_waitfd others[] = { { .fd = f->signals, .events = CURL_WAIT_POLLIN },
					{ .fd = f->sock, .events = CURL_WAIT_POLLIN } };
	const int wait_ms = begin_due(f);
	int running, left;
	CURLMsg *message;

	curl_multi_perform(f->multi, &running);
	curl_multi_poll(f->multi, others, f->sock >= 0 ? 2 : 1, running ? 1000 : wait_ms, NULL);
	curl_multi_perform(f->multi, &running);
	while ((message = curl_multi_info_read(f->multi, &left))) {
		if (message->msg == CURLMSG_DONE)
			ended(f, message->easy_handle, message->data.result);
	}
	asks_take(f);
	signals_take(f);
	sweep(f);
}

/* ---- configuration ---- */

static void
sources_done(struct fetcher *f)
{
	for (size_t i = 0; i < f->n_sources; i++) {
		transfer_end(&f->sources[i].way, f->multi);
		writ_buf_done(&f->sources[i].way.exchange.answer);
	}
	for (size_t i = 0; i < QUERIES; i++) { /* their URLs are the configuration's */
		transfer_end(&f->queries[i].way, f->multi);
		writ_buf_done(&f->queries[i].way.exchange.answer);
		writ_buf_done(&f->queries[i].request);
	}
	free(f->sources);
	f->sources = NULL;
	f->n_sources = 0;
}

WRIT_CHECKED static struct writ_err *
sources_make(struct fetcher *f)
{
	f->sources = calloc(f->conf.n_oidc + 1, sizeof(*f->sources));
	if (!f->sources)
		return writ_fail(WRIT_EXHAUSTED, "no memory for what is to be fetched");
	for (size_t i = 0; i < QUERIES; i++) {
		f->queries[i].way.exchange.answer = WRIT_BUF(OCSP_MAX);
		f->queries[i].request = WRIT_BUF(FETCH_REQUEST_MAX);
	}
	for (size_t i = 0; i < f->conf.n_oidc; i++)
		if (f->conf.oidc[i].jwks_url)
			f->sources[f->n_sources++] = (struct source){
				.conf = &f->conf.oidc[i],
				.way.exchange.answer = WRIT_BUF(TRANSFER_MAX),
				.retry_ms = RETRY_FIRST_MS,
			};
	return NULL;
}

/* SIGHUP: the configuration anew; one that cannot be read changes nothing. */
static void
reload(struct fetcher *f)
{
	struct conf fresh;
	struct writ_err *err = conf_read(f->conf.path, &fresh);

	f->reload = false;
	if (err) {
		event(EVENT_ALARM, "fetch.reload_refused", EV_ERR(err));
		writ_err_free(err);
		return;
	}
	sources_done(f);
	conf_done(&f->conf);
	f->conf = fresh;
	err = sources_make(f);
	if (err) { /* nothing is fetched: the supervisor tries anew */
		event(EVENT_ALARM, "fetch.stop", EV_ERR(err));
		writ_err_free(err);
		f->stop = true;
	}
}

static void
fetcher_done(struct fetcher *f)
{
	sources_done(f);
	if (f->multi)
		curl_multi_cleanup(f->multi);
	conf_done(&f->conf);
	file_closep(&f->signals);
}

/* Names are looked up by whatever this machine is set up with, which is loaded when it is needed first, and is asked over
 * sockets of its own. */
WRIT_CHECKED static struct writ_err *
confine(const struct conf *conf)
{
	struct sandbox box = { .role = "writ-fetchd",
			       .may = SANDBOX_THREADS | SANDBOX_UNIX | SANDBOX_CONNECT | SANDBOX_FOREIGN };
	char path[4096];

	sandbox_write(&box, conf_path(conf->state, "fetched", path));
	sandbox_read_beside(&box, conf->path);
	for (size_t i = 0; i < conf->n_oidc; i++)
		sandbox_read_beside(&box, conf->oidc[i].ca);
	sandbox_read(&box, "/etc");
	sandbox_read(&box, "/usr");
	sandbox_read(&box, "/lib");
	sandbox_read(&box, "/lib64");
	sandbox_read(&box, "/run/systemd/resolve");
	return sandbox_enter(&box);
}

WRIT_CHECKED static struct writ_err *
fetch(const char *path, int sock)
{
	AUTO(fetcher_done) struct fetcher f = { .sock = sock, .signals = -1 };
	struct writ_err *err = conf_read(path, &f.conf);

	if (err)
		return err;
	event_start(2, "writ-fetchd", f.conf.log_level);
	err = confine(&f.conf);
	if (err)
		return err;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return writ_fail(WRIT_UNAVAILABLE, "libcurl cannot be used");
	f.multi = curl_multi_init();
	if (!f.multi)
		return writ_fail(WRIT_EXHAUSTED, "no memory for requests");
	err = signals_open((const int[]){ SIGHUP, SIGTERM, SIGINT, 0 }, &f.signals);
	if (!err)
		err = sources_make(&f);
	if (err)
		return err;
	event(EVENT_INFO, "fetch.ready", EV_NUM("sources", f.n_sources));
	while (!f.stop) {
		turn(&f);
		if (f.reload)
			reload(&f);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static const struct option known[] = { { "config", required_argument, NULL, 'c' },
					       { "fd", required_argument, NULL, 'f' },
					       { NULL, 0, NULL, 0 } };
	const struct rlimit none = { 0, 0 };
	const char *config = NULL;
	struct writ_err *err;
	char text[1024];
	uint64_t fd = 0;
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'c')
			config = optarg;
		if (c == '?' || (c == 'f' && (!writ_decimal(writ_str(optarg), 1023, &fd) || fd < 3)))
			config = NULL, optind = argc + 1;
	}
	if (!config || optind != argc) {
		fprintf(stderr, "usage: writ-fetchd --config FILE [--fd N]\n");
		return 2;
	}
	umask(022);
	setrlimit(RLIMIT_CORE, &none);
	err = fetch(config, fd ? (int)fd : -1);
	curl_global_cleanup();
	if (!err)
		return 0;
	fprintf(stderr, "writ-fetchd: %s\n", writ_err_text(err, text, sizeof(text)));
	code = err->code == WRIT_INVALID ? 2 : 1;
	writ_err_free(err);
	return code;
}
