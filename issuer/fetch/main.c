/*
 * writ-fetchd: the one of our processes that asks foreign servers; see writd(8).
 *
 *	writ-fetchd --config FILE [--fd N]
 *
 * It fetches what writ.yaml names (the keys of OpenID providers) and puts each document into a file of STATE/fetched,
 *whole or not at all; the issuer reads the files, and only it reads what is in them.  So the HTTP client and its many
 * libraries never stand in the process that holds the store, and this one holds nothing: no key, no store, no parser.
 *
 * (1) Only GET, only URLs of the configuration, of which nothing is decided by an answer: no redirect is followed.
 * (2) An answer is at most FETCH_MAX bytes and takes at most FETCH_TIMEOUT_MS; one request a source is on its way.
 * (3) A source is asked every `refresh`, after failures sooner (1 s, doubling), and when the issuer asks - but never
 *     within APART_MS of the last time, whoever asks.
 * (4) A file's time is that of the answer: a failure changes nothing.
 */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/conf/conf.h"
#include "issuer/fetch/wire.h"

#define FETCH_MAX (256 * 1024) /* bytes; 32 keys with their certificates take 100 KiB */
#define CONNECT_TIMEOUT_MS 5000L
#define FETCH_TIMEOUT_MS 10000L
#define APART_MS 10000
#define RETRY_FIRST_MS 1000
#define ASKS_A_TURN 64 /* datagrams read before anything else is done */

struct source {
	const struct conf_oidc *conf;
	CURL *curl; /* while it is on its way */
	struct writ_buf answer;
	char why[CURL_ERROR_SIZE];
	bool asked_once, full;
	int64_t asked_ms, due_ms, retry_ms;
};

struct fetcher {
	struct conf conf;
	struct source *sources;
	size_t n_sources;
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

/* ---- one request ---- */

static size_t
receive(char *data, size_t size, size_t n, void *ctx)
{
	struct source *s = ctx;
	struct writ_err *err = writ_buf_add(&s->answer, (struct writ_bytes){ (const uint8_t *)data, size * n });

	if (!err)
		return size * n;
	writ_err_free(err);
	s->full = true;
	return 0;
}

/* (1), (2) */
static bool
options_set(struct source *s)
{
	const bool plain = strncmp(s->conf->jwks_url, "http://", 7) == 0;
	CURL *c = s->curl;
	bool ok = true;

	ok &= curl_easy_setopt(c, CURLOPT_URL, s->conf->jwks_url) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_USERAGENT, "writ-fetchd") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
	if (s->conf->ca) {
		ok &= curl_easy_setopt(c, CURLOPT_CAINFO, s->conf->ca) == CURLE_OK;
		ok &= curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
	}
	ok &= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, FETCH_TIMEOUT_MS) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->why) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEDATA, s) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PRIVATE, s) == CURLE_OK;
	return ok;
}

static void
let_go(struct fetcher *f, struct source *s)
{
	if (!s->curl)
		return;
	curl_multi_remove_handle(f->multi, s->curl);
	curl_easy_cleanup(s->curl);
	s->curl = NULL;
}

static void
begin(struct fetcher *f, struct source *s)
{
	s->asked_once = true;
	s->asked_ms = now_ms();
	s->full = false;
	s->why[0] = '\0';
	writ_buf_clear(&s->answer);
	s->curl = curl_easy_init();
	if (s->curl && options_set(s) && curl_multi_add_handle(f->multi, s->curl) == CURLM_OK)
		return;
	curl_easy_cleanup(s->curl);
	s->curl = NULL;
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
answer_keep(struct fetcher *f, struct source *s, CURLcode code)
{
	long status = 0;
	char path[4096];

	if (s->full)
		return writ_fail(WRIT_EXHAUSTED, "the answer has more than %d bytes", FETCH_MAX);
	if (code != CURLE_OK)
		return writ_fail(WRIT_UNAVAILABLE, "%s", *s->why ? s->why : curl_easy_strerror(code));
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 300 && status < 400)
		return writ_fail(WRIT_UNAVAILABLE, "it answered %ld: redirects are not followed, name the last URL",
				 status);
	if (status != 200)
		return writ_fail(WRIT_UNAVAILABLE, "it answered %ld", status);
	if (!looks_like_json(writ_view(&s->answer)))
		return writ_fail(WRIT_INVALID, "the answer is not a JSON object");
	return file_replace(fetch_keys_path(f->conf.state, s->conf->alias, path), 0644, writ_view(&s->answer));
}

/* (3), (4) */
static void
ended(struct fetcher *f, struct source *s, CURLcode code)
{
	const int64_t refresh_ms = (int64_t)s->conf->refresh_s * 1000;
	struct writ_err *err = answer_keep(f, s, code);

	let_go(f, s);
	if (!err) {
		s->due_ms = s->asked_ms + refresh_ms;
		s->retry_ms = RETRY_FIRST_MS;
		event(EVENT_DEBUG, "fetch.done", EV_STR("alias", s->conf->alias), EV_NUM("bytes", s->answer.len));
		return;
	}
	s->due_ms = now_ms() + s->retry_ms;
	s->retry_ms = 2 * s->retry_ms < refresh_ms ? 2 * s->retry_ms : refresh_ms;
	event(EVENT_WARN, "fetch.failed", EV_STR("alias", s->conf->alias), EV_STR("url", s->conf->jwks_url),
	      EV_ERR(err));
	writ_err_free(err);
}

/* ---- who asks, and when ---- */

static void
ask_take(struct fetcher *f, struct writ_bytes datagram)
{
	struct writ_bytes alias;

	if (!fetch_ask_read(datagram, &alias))
		return;
	for (size_t i = 0; i < f->n_sources; i++) {
		struct source *s = &f->sources[i];

		if (writ_equal(alias, writ_str(s->conf->alias)) && !s->curl && s->due_ms > s->asked_ms + APART_MS)
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
	struct signalfd_siginfo info;

	while (read(f->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
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

		if (!s->curl && (!s->asked_once || s->due_ms <= now))
			begin(f, s);
		if (!s->curl && s->due_ms - now < wait_ms)
			wait_ms = s->due_ms > now ? s->due_ms - now : 0;
	}
	return (int)wait_ms;
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
		struct source *s = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&s);
		ended(f, s, message->data.result);
	}
	asks_take(f);
	signals_take(f);
}

/* ---- configuration ---- */

static void
sources_done(struct fetcher *f)
{
	for (size_t i = 0; i < f->n_sources; i++) {
		let_go(f, &f->sources[i]);
		writ_buf_done(&f->sources[i].answer);
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
	for (size_t i = 0; i < f->conf.n_oidc; i++)
		if (f->conf.oidc[i].jwks_url)
			f->sources[f->n_sources++] = (struct source){
				.conf = &f->conf.oidc[i],
				.answer = WRIT_BUF(FETCH_MAX),
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

WRIT_CHECKED static struct writ_err *
signals_open(int *ret)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	*ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret < 0 ? writ_fail_errno(errno, "signalfd") : NULL;
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

WRIT_CHECKED static struct writ_err *
fetch(const char *path, int sock)
{
	AUTO(fetcher_done) struct fetcher f = { .sock = sock, .signals = -1 };
	struct writ_err *err = conf_read(path, &f.conf);

	if (err)
		return err;
	event_start(2, "writ-fetchd", f.conf.log_level);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return writ_fail_errno(errno, "giving up new privileges");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return writ_fail(WRIT_UNAVAILABLE, "libcurl cannot be used");
	f.multi = curl_multi_init();
	if (!f.multi)
		return writ_fail(WRIT_EXHAUSTED, "no memory for requests");
	err = signals_open(&f.signals);
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
