/*
 * How the issuer comes up and goes down: see start.h.
 */
#include "issuer/serve/start.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "issuer/serve/api.h"
#include "issuer/serve/batch.h"
#include "issuer/serve/work.h"

#define DESCRIPTORS_OTHER 256	     /* store, sockets of loops and signer, files read again */
#define HANDSHAKES_HEAP (512 * 1024) /* bytes: 16,384 TLS handshakes under way at once */

/* ---- before anything is served ---- */

struct writ_err *
start_conf(const char *path, struct serve **ret)
{
	struct serve *serve = calloc(1, sizeof(*serve));
	struct writ_err *err;

	if (!serve)
		return writ_fail(WRIT_EXHAUSTED, "no memory to start");
	err = conf_read(path, &serve->conf);
	if (err) {
		free(serve);
		return writ_recode(err, WRIT_INVALID, "configuration");
	}
	*ret = serve;
	return NULL;
}

/* A login's soft limit is 1,024, fit for select(); nothing of ours uses that. */
static void
descriptors_take(const struct conf *conf)
{
	const uint64_t wanted = (uint64_t)conf->limits.connections * conf->threads + DESCRIPTORS_OTHER;
	const uint64_t limit = file_descriptors_raise(wanted);

	if (limit < wanted)
		event(EVENT_WARN, "serve.few_descriptors", EV_NUM("limit", limit), EV_NUM("wanted", wanted),
		      EV_STR("hint", "raise LimitNOFILE (ulimit -Hn), or lower limits.connections"));
}

/*
 * Files by their folders, since they are read again after they have been replaced.  What a later configuration names
 * elsewhere is not reached before a restart.
 */
WRIT_CHECKED static struct writ_err *
confine(const struct conf *conf)
{
	struct sandbox box = { .role = "writ-issuerd", .may = SANDBOX_THREADS | SANDBOX_UNIX | SANDBOX_ACCEPT };
	static const char *const read[] = { "fetched", "journal" };
	char path[4096];

	sandbox_write(&box, conf_path(conf->state, "store", path));
	for (size_t i = 0; i < N_OF(read); i++)
		sandbox_read(&box, conf_path(conf->state, read[i], path));
	sandbox_read_beside(&box, conf->path);
	sandbox_read_beside(&box, conf->policy);
	sandbox_read_beside(&box, conf->api_certificate);
	sandbox_read_beside(&box, conf->api_key);
	sandbox_read_beside(&box, conf->custody.standby);
	sandbox_read_beside(&box, conf->custody.retiring);
	for (size_t i = 0; i < conf->n_delegators; i++) {
		sandbox_read_beside(&box, conf->delegators[i].anchors);
		sandbox_read_beside(&box, conf->delegators[i].crl);
	}
	for (size_t i = 0; i < conf->grants.n_keys; i++)
		sandbox_read_beside(&box, conf->grants.keys[i].key);
	for (size_t i = 0; i < conf->n_oidc; i++)
		sandbox_read_beside(&box, conf->oidc[i].jwks_file);
	return sandbox_enter(&box);
}

WRIT_CHECKED static struct writ_err *
shared_new(struct serve *serve)
{
	struct writ_err *err;

	metrics_init(&serve->metrics);
	pthread_mutex_init(&serve->seen_lock, NULL);
	pthread_mutex_init(&serve->errands_lock, NULL);
	serve->errands_end = &serve->errands;
	sem_init(&serve->done, 0, 0);
	sem_init(&serve->wake, 0, 0);
	atomic_init(&serve->lost, true); /* not reached yet */
	err = admission_new((struct admission_limits){ serve->conf.limits.requests_per_principal_s,
						       serve->conf.limits.requests_per_delegator_s },
			    &serve->admission);
	if (!err)
		err = once_new(&serve->once);
	if (!err)
		err = known_new(&serve->known);
	if (!err)
		err = status_table_new(serve->conf.threads, &serve->status);
	if (!err)
		err = status_changes_new(STATUS_CHANGES_KEPT, &serve->changes);
	if (!err)
		status_follow(serve->status, serve->changes);
	if (!err)
		err = publish_new(&serve->publish);
	if (!err)
		err = writer_new(serve, &serve->writer);
	return err;
}

struct writ_err *
start_shared(struct serve *serve)
{
	struct writ_err *err;

	event_start(2, "writ-issuerd", serve->conf.log_level);
	descriptors_take(&serve->conf);
	err = rules_try(&serve->conf); /* a policy with an error is found before anything is served */
	if (!err)
		err = writ_secret_start_large(
			HANDSHAKES_HEAP); /* the API's TLS key is in our memory: no core, no ptrace */
	if (!err)
		err = confine(&serve->conf);
	return err ? err : shared_new(serve);
}

/* ---- threads ---- */

static void *
loop_thread(void *arg)
{
	struct serve_loop *on = arg;
	struct writ_err *err = loop_run(on->loop);

	if (err) { /* nothing can be handed over any more: the supervisor starts us into recovery */
		event(EVENT_ALARM, "serve.loop", EV_NUM("loop", on->number), EV_ERR(err));
		_exit(1);
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
loop_start(struct serve_loop *on)
{
	const struct conf_address *plain = &on->serve->conf.status;
	struct writ_err *err;
	int code;

	on->api = (struct http_handler){
		.body_max = REQUEST_MAX, .body_max_of = batch_body_max, .request = api_request, .ctx = on
	};
	on->plain = (struct http_handler){ .body_max = OCSP_REQUEST_MAX, .request = serve_plain, .ctx = on };
	err = loop_listen(on->loop, plain->host, plain->port, false, &on->plain, NULL);
	if (err)
		return writ_because(err, "status.listen");
	code = pthread_create(&on->thread, NULL, loop_thread, on);
	return code ? writ_fail_errno(code, "starting loop %u", on->number) : NULL;
}

struct writ_err *
start_threads(struct serve *serve)
{
	struct writ_err *err;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = writer_start(serve->writer);
	for (unsigned i = 0; i < serve->conf.threads && !err; i++) {
		err = serve_loop_new(serve, i, NULL);
		if (!err)
			err = loop_start(&serve->loops[i]);
		if (!err)
			serve->n_loops++;
		else
			serve_loop_free(&serve->loops[i]);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

void
start_end(struct serve *serve)
{
	for (unsigned i = 0; i < serve->n_loops; i++)
		loop_stop(serve->loops[i].loop);
	for (unsigned i = 0; i < serve->n_loops; i++)
		pthread_join(serve->loops[i].thread, NULL);
	writer_free(serve->writer);
	for (unsigned i = 0; i < serve->n_loops; i++)
		serve_loop_free(&serve->loops[i]);
	publish_free(serve->publish);
	status_table_free(serve->status);
	status_changes_free(serve->changes);
	once_free(serve->once);
	known_free(serve->known);
	admission_free(serve->admission);
	conf_done(&serve->conf);
	free(serve);
}
