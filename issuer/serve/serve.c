/*
 * The loops' own parts: what is shared is made, a loop is set up, its link comes and goes, rules are swapped.
 */
#include "issuer/serve/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"
#include "issuer/serve/api.h"
#include "issuer/serve/cas.h"
#include "issuer/serve/feed.h"
#include "issuer/serve/roots.h"
#include "issuer/serve/shares.h"
#include "issuer/serve/work.h"

#define STATUS_WINDOW (SIGNER_OUTSTANDING_MAX * 3 / 16) /* of the quarter that shares.c keeps from issuances */
#define CACHE_BYTES_MAX ((size_t)64 << 20) /* OCSP responses, each loop */
#define LOOP_TICK_MS 50

/* ---- what leaves are built with ---- */

static void
issuing_free(struct issuing *issuing)
{
	writ_arena_done(&issuing->arena);
	free(issuing);
}

static void
issuing_freep(struct issuing **issuing)
{
	if (*issuing)
		issuing_free(*issuing);
}

struct issuing *
issuing_ref(struct issuing *issuing)
{
	issuing->refs++;
	return issuing;
}

void
issuing_unref(struct issuing *issuing)
{
	if (issuing && --issuing->refs == 0)
		issuing_free(issuing);
}

static struct writ_bytes
kept(struct issuing *issuing, struct writ_bytes bytes)
{
	return writ_arena_copy(&issuing->arena, bytes);
}

WRIT_CHECKED static struct writ_err *
issuing_fill(struct issuing *issuing, const struct signer_welcome *welcome, const struct cas *cas,
	     struct writ_bytes trust_domain, const char *status_url)
{
	AUTO(writ_buf_done) struct writ_buf chain = WRIT_BUF(2 * CA_CERT_MAX);
	const struct ca_known *now = cas_issuing(cas);
	char crl_url[SIGNER_URL_MAX], ocsp_url[SIGNER_URL_MAX];
	struct ca_cert ca = { 0 };
	struct writ_err *err;

	err = now ? ca_read(writ_view(&now->der), &ca) : writ_fail(WRIT_BROKEN, "the signer has no issuing CA");
	if (!err)
		err = answer_pem(writ_view(&now->der), &chain);
	if (err)
		return writ_because(err, "an issuing CA of the signer");
	for (size_t i = 0; i < cas->n; i++)
		issuing->all[issuing->n_all++] = cas->all[i].ocsp;
	issuing->ocsp = now->ocsp;
	issuing->not_after = ca.not_after;
	issuing->chain = kept(issuing, writ_view(&chain));
	issuing->leaf = (struct leaf_issuer){
		.trust_domain = kept(issuing, trust_domain),
		.name = kept(issuing, ca.subject),
		.key_id = kept(issuing, (struct writ_bytes){ ca.key_id, sizeof(ca.key_id) }),
		.kind = ca.kind,
		.tier = welcome->tier,
		.crl_url = kept(issuing, writ_str(signer_crl_url(status_url, ca.key_id, cas->shard, crl_url))),
		.ocsp_url = kept(issuing, writ_str(signer_ocsp_url(status_url, ocsp_url))),
		.log_id = kept(issuing, (struct writ_bytes){ welcome->log_id, sizeof(welcome->log_id) }),
	};
	return issuing->leaf.log_id.data ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for the issuing CA");
}

struct writ_err *
issuing_new(const struct signer_welcome *welcome, const struct cas *cas, struct writ_bytes trust_domain,
	    const char *status_url, struct issuing **ret)
{
	AUTO(issuing_freep) struct issuing *issuing = calloc(1, sizeof(*issuing));
	struct writ_err *err;

	if (!issuing)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the issuing CA");
	issuing->refs = 1;
	issuing->arena = WRIT_ARENA(64 * 1024);
	err = issuing_fill(issuing, welcome, cas, trust_domain, status_url);
	if (!err)
		*ret = TAKE(issuing);
	return err;
}

/* ---- the signer, seen from a loop ---- */

void
serve_signer_lost(struct serve *serve, struct writ_err *why)
{
	if (!atomic_exchange(&serve->lost, true)) {
		event(EVENT_WARN, "serve.signer_lost", EV_ERR(why));
		metrics_add(&serve->metrics, METRIC_SIGNER_LOST, 1);
		pthread_mutex_lock(&serve->seen_lock);
		serve->seen.up = false;
		writ_err_text(why, serve->seen.why, sizeof(serve->seen.why));
		pthread_mutex_unlock(&serve->seen_lock);
	}
	writ_err_free(why);
	sem_post(&serve->wake);
}

bool
serve_errand(struct serve *serve, struct errand *errand)
{
	bool taken;

	errand->next = NULL;
	pthread_mutex_lock(&serve->errands_lock);
	taken = !serve->stopping;
	if (taken) {
		*serve->errands_end = errand;
		serve->errands_end = &errand->next;
	}
	pthread_mutex_unlock(&serve->errands_lock);
	sem_post(&serve->wake);
	return taken;
}

static void
link_lost(void *ctx, struct writ_err *why)
{
	struct serve_loop *on = ctx;

	serve_signer_lost(on->serve, why);
}

static void
jobs_flush(struct serve_loop *on)
{
	if (!on->jobs)
		return;
	writer_put(on->serve->writer, on->jobs, on->n_jobs);
	on->jobs = NULL;
	on->jobs_end = &on->jobs;
	on->n_jobs = 0;
}

void
serve_link_open(struct serve_loop *on, int sock, struct issuing *issuing)
{
	struct writ_err *err = status_front_issuers(on->front, issuing->all, issuing->n_all);

	if (!err)
		err = link_open(on->link, sock);
	if (err) {
		close(sock);
		issuing_unref(issuing);
		serve_signer_lost(on->serve, err);
		return;
	}
	issuing_unref(on->issuing);
	on->issuing = issuing;
	atomic_fetch_add(&on->serve->open_links, 1);
}

void
serve_issuing(struct serve_loop *on, struct issuing *issuing)
{
	struct writ_err *err = on->issuing ? status_front_issuers(on->front, issuing->all, issuing->n_all) : NULL;

	if (!on->issuing || err) { /* the link was cut meanwhile; or without memory for the new one the old one serves on */
		if (err)
			event(EVENT_ALARM, "serve.generation", EV_NUM("loop", on->number), EV_ERR(err));
		writ_err_free(err);
		issuing_unref(issuing);
		return;
	}
	issuing_unref(on->issuing);
	on->issuing = issuing;
}

void
serve_link_cut(struct serve_loop *on)
{
	if (on->issuing)
		atomic_fetch_sub(&on->serve->open_links, 1);
	link_cut(on->link); /* unsigned: 503; signed: on to the store */
	issuing_unref(on->issuing);
	on->issuing = NULL;
	jobs_flush(on);
	sem_post(&on->serve->done);
}

void
serve_rules(struct serve_loop *on, struct rules *rules)
{
	rules_unref(on->rules);
	on->rules = rules;
}

struct writ_err *
serve_clock_check(struct serve_loop *on, struct clock now)
{
	const uint32_t accepted = atomic_load(&on->serve->clock_accepted);

	on->guard.floor = atomic_load(&on->serve->floor);
	if (accepted != on->clock_accepted)
		clock_guard_accept(&on->guard, now);
	on->clock_accepted = accepted;
	if (clock_guard_check(&on->guard, now))
		return NULL;
	return writ_fail(WRIT_UNAVAILABLE,
			 "the clock is off by %lld s: nothing is issued until it is right, or an operator accepts it",
			 (long long)on->guard.step_s);
}

/* ---- OCSP for the front ---- */

struct ask {
	struct link_call call;
	struct serve_loop *on;
	void *token;
};

static void
asked(struct link_call *call, struct writ_err *err, struct writ_bytes body)
{
	struct ask *ask = (struct ask *)call;
	struct signer_status status = { 0 };

	if (!err)
		err = signer_status_read(body, &status);
	ask->on->n_statuses--;
	status_front_answer(ask->on->front, ask->token, err, status.status == OCSP_GOOD, status.response,
			    status.this_update, status.next_update);
	writ_buf_done(&call->body);
	free(ask);
}

static bool
ask_signer(void *ctx, struct writ_bytes cert_id, struct writ_bytes nonce, void *token)
{
	const struct signer_ocsp message = { .cert_id = cert_id, .nonce = nonce };
	struct serve_loop *on = ctx;
	struct writ_err *err;
	struct ask *ask;

	/* More wait in the front: the loop is not paused, nor an issuance held up, by however many ask for status. */
	if (!link_is_open(on->link) || on->n_statuses >= STATUS_WINDOW)
		return false;
	ask = calloc(1, sizeof(*ask));
	if (!ask)
		return false;
	ask->on = on;
	ask->token = token;
	ask->call = (struct link_call){ .type = SIGNER_OCSP, .body = WRIT_BUF(FRAME_BODY_MAX), .done = asked };
	err = signer_ocsp_write(&message, &ask->call.body);
	if (err) {
		writ_err_free(err);
		writ_buf_done(&ask->call.body);
		free(ask);
		return false;
	}
	on->n_statuses++;
	link_send(on->link, &ask->call);
	return true;
}

/* ---- a loop ---- */

/* Groups leave at the end of a wake-up: requests to the signer, jobs to the writer. */
static void
wake_end(struct clock now, void *ctx)
{
	struct serve_loop *on = ctx;

	(void)now;
	shares_pump(on);
	jobs_flush(on);
	link_flush(on->link);
	status_quiet(on->serve->status, on->number);
}

/* So that an idle loop lets the status table prune, and its clock is watched. */
static void
loop_tick(struct clock now, void *ctx)
{
	struct serve_loop *on = ctx;
	struct writ_err *err = serve_clock_check(on, now);

	writ_err_free(err);
	feed_tick(on, now);
}

WRIT_CHECKED static struct writ_err *
front_new(struct serve_loop *on)
{
	const struct status_front_conf conf = {
		.table = on->serve->status,
		.reader = on->number,
		.publish = on->serve->publish,
		.ask = ask_signer,
		.ctx = on,
		.nonces_per_s = on->serve->conf.limits.ocsp_nonces_s,
		.misses_per_s = on->serve->conf.limits.ocsp_misses_s,
		.cache_bytes_max = CACHE_BYTES_MAX,
	};

	return status_front_new(&conf, &on->front);
}

struct writ_err *
serve_loop_new(struct serve *serve, unsigned number, struct rules *rules)
{
	const struct conf_limits *limits = &serve->conf.limits;
	const struct loop_conf conf = {
		.connections_max = limits->connections,
		.connections_per_address_max = limits->connections_per_address,
		.handshakes_per_s = limits->handshakes_s,
		.server_name = "writ-issuerd",
	};
	struct serve_loop *on = &serve->loops[number];
	char dir[4096], uri[4200];
	struct writ_err *err;

	*on = (struct serve_loop){ .serve = serve, .number = number, .rules = rules };
	on->jobs_end = &on->jobs;
	writ_random((uint8_t *)&on->first_request, sizeof(on->first_request));
	snprintf(uri, sizeof(uri), "sqlite:%s/writ.db", conf_path(serve->conf.state, "store", dir));
	err = loop_new(&conf, &on->loop);
	if (!err)
		err = store_open(uri, STORE_READ, &on->store);
	if (!err)
		err = link_new(on->loop, link_lost, on, &on->link);
	if (!err)
		err = front_new(on);
	if (!err)
		err = shares_loop(on);
	if (!err)
		err = loop_every(on->loop, LOOP_TICK_MS, loop_tick, on);
	if (err)
		return writ_because(err, "loop %u", number);
	loop_at_end(on->loop, wake_end, on);
	return NULL;
}

/* After its thread has ended. */
void
serve_loop_free(struct serve_loop *on)
{
	if (on->link)
		link_cut(on->link);
	turns_stop(on->turns);
	loop_free(on->loop);
	link_free(on->link);
	status_front_free(on->front);
	store_close(on->store);
	issuing_unref(on->issuing);
	rules_unref(on->rules);
	turns_free(on->turns);
	roots_free(on->roots);
	while (on->free) {
		struct work *next = on->free->next_free;

		work_free(on->free);
		on->free = next;
	}
}
