/*
 * The keeper: see keeper.h.
 *
 * The signer comes and goes.  When any connection to it breaks, all are cut: each loop answers what was unsigned and
 * hands what was signed to the writer; then recovery runs in the writer, behind all that; only then links open again.
 * So nothing is issued, and no status is asked for, between a loss and the end of the recovery after it.
 */
#include "issuer/serve/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "issuer/log/journal.h"
#include "issuer/serve/api.h"
#include "issuer/serve/cas.h"
#include "issuer/serve/control.h"
#include "issuer/serve/posts.h"
#include "issuer/serve/publish.h"
#include "issuer/serve/start.h"
#include "issuer/serve/work.h"

#define CONNECT_TIMEOUT_MS 2000 /* and for the answer to HELLO: below the 5 s that writd waits for our end */
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS 5000
#define TICK_MS 250
#define HEALTH_MS 1000
#define AUTH_MS 5000	    /* corporate lists are looked at this often */
#define LIST_MS 60000	    /* a CRL at least this often (delegation.md R3) */
#define LIST_SEALED_MS 1000 /* and after revocations, coalesced */
#define LIST_RESIDENT_MS 5000
#define ANCHOR_LIST_MS 600000

struct keeper {
	struct serve *serve;
	struct rules *rules; /* NULL before the signer was reached once */
	int sock;	     /* lists, health, notes; -1: away */
	struct writ_buf welcome_bytes;
	struct signer_welcome welcome; /* views into it */
	struct cas cas;
	struct clock now;
	int64_t try_ms, delay_ms; /* when to connect next, and how long after the next failure */
	uint32_t clock_accepted; /* as the signer said last */
	bool clock_heard;
	int64_t health_ms, auth_ms, list_ms, listed_ms, anchor_list_ms;
	bool fatal;		     /* the last error is no use waiting on */
	bool note_due;		     /* the journal does not have the policy in force */
	char by[PRINCIPAL_MAX + 1]; /* who had it loaded */
};

static atomic_bool stop, reload, failed;
static struct serve *signalled;

static void
on_signal(int number)
{
	const int saved = errno;

	atomic_store(number == SIGHUP ? &reload : &stop, true);
	sem_post(&signalled->wake);
	errno = saved;
}

/* Ends the process with an error that was told already. */
static void
serve_failed(void)
{
	atomic_store(&failed, true);
	atomic_store(&stop, true);
}

/* ---- rules ---- */

static void
rules_give_out(struct keeper *k, struct rules *rules, bool listen)
{
	if (!posts_rules(k->serve, rules, listen))
		serve_failed(); /* an API that cannot be reached: the supervisor tries anew */
	rules_unref(k->rules);
	k->rules = rules;
}

static void
note_policy(struct keeper *k)
{
	struct writ_err *err = control_note_policy(k->sock, k->rules->policy, writ_str(k->by));

	k->note_due = err != NULL;
	if (err)
		event(EVENT_WARN, "serve.policy_not_noted", EV_ERR(err));
	writ_err_free(err);
}

/* Its revision may not go down, across restarts too: the store has the last word, and has it durably (STORE_POLICY). */
WRIT_CHECKED static struct writ_err *
rules_allowed(struct keeper *k, const struct rules *rules)
{
	struct store_policy policy = {
		.revision = policy_revision(rules->policy),
		.id = policy_id(rules->policy),
		.text = writ_view(&rules->text),
	};

	memcpy(policy.digest, policy_digest(rules->policy), sizeof(policy.digest));
	return writer_policy(k->serve->writer, &policy);
}

/* In force: on every loop, and told to the journal, now or when the signer is back. */
static void
rules_take(struct keeper *k, struct rules *rules, struct writ_bytes by, bool listen)
{
	rules_give_out(k, rules, listen);
	snprintf(k->by, sizeof(k->by), "%.*s", (int)by.len, (const char *)by.data);
	k->note_due = true;
}

WRIT_CHECKED static struct writ_err *
rules_reload(struct keeper *k, struct writ_bytes by)
{
	struct rules *rules = NULL;
	struct writ_err *err;

	err = rules_load(&k->serve->conf, k->welcome.anchor, k->welcome.tier, k->now.wall, &rules);
	if (!err)
		err = rules_allowed(k, rules);
	if (err) {
		rules_unref(rules);
		event(EVENT_ALARM, "serve.reload_refused", EV_TEXT("by", by), EV_ERR(err));
		return err;
	}
	admission_limit(k->serve->admission, (struct admission_limits){ rules->conf.limits.requests_per_principal_s,
									rules->conf.limits.requests_per_delegator_s });
	rules_take(k, rules, by, false);
	event(EVENT_INFO, "serve.reloaded", EV_TEXT("policy", policy_id(rules->policy)),
	      EV_NUM("revision", policy_revision(rules->policy)),
	      EV_HEX("digest", ((struct writ_bytes){ policy_digest(rules->policy), 32 })), EV_TEXT("by", by));
	if (k->sock >= 0)
		note_policy(k);
	return NULL;
}

static void
rules_signalled(struct keeper *k)
{
	atomic_store(&reload, false);
	if (k->rules) /* they are read when the signer has been reached */
		writ_err_free(rules_reload(k, WRIT_LIT("signal")));
}

struct writ_err *
keeper_reload(struct serve *serve, struct writ_bytes by, const struct rules **ret)
{
	struct keeper *k = serve->keeper;
	struct writ_err *err;

	if (!k->rules)
		return writ_fail(WRIT_UNAVAILABLE, "the issuer is starting: ask again in a moment");
	err = rules_reload(k, by);
	if (err) /* the files are what must be corrected, whatever is wrong with them; the store and revisions are not */
		return err->code == WRIT_UNAVAILABLE || err->code == WRIT_CONFLICT
			       ? err
			       : writ_recode(err, WRIT_INVALID, "the policy in force stays");
	*ret = k->rules;
	return NULL;
}

/* ---- the signer ---- */

WRIT_CHECKED static struct writ_err *
hello(struct keeper *k, int *ret_sock, struct writ_buf *bytes, struct signer_welcome *welcome)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(file_closep) int sock = -1;
	struct signer_hello message;
	char path[4096];
	struct writ_err *err;

	memcpy(message.conf_digest, k->serve->conf.digest, sizeof(message.conf_digest));
	err = frame_connect(conf_path(k->serve->conf.run, "signer.sock", path), CONNECT_TIMEOUT_MS, &sock);
	if (!err)
		err = signer_hello_write(&message, &body);
	if (!err)
		err = signer_call(sock, SIGNER_HELLO, writ_view(&body), bytes, NULL, CONNECT_TIMEOUT_MS);
	if (!err)
		err = signer_welcome_read(writ_view(bytes), welcome);
	if (err)
		return writ_because(err, "saying hello to the signer");
	if (memcmp(welcome->conf_digest, k->serve->conf.digest, sizeof(welcome->conf_digest)) != 0)
		return writ_fail(WRIT_LOCKED, "signer and issuer have read different configurations: restart both");
	*ret_sock = sock;
	sock = -1;
	return NULL;
}

static void
cut_all(struct keeper *k)
{
	if (k->sock >= 0)
		close(k->sock);
	k->sock = -1;
	posts_cut(k->serve);
}

WRIT_CHECKED static struct writ_err *
issuing_of(const struct keeper *k, struct issuing **ret)
{
	return issuing_new(&k->welcome, &k->cas, writ_str(k->serve->conf.trust_domain), k->serve->conf.status_url, ret);
}

WRIT_CHECKED static struct writ_err *
links_open(struct keeper *k)
{
	for (unsigned i = 0; i < k->serve->n_loops; i++) {
		AUTO(writ_buf_done) struct writ_buf bytes = WRIT_BUF(FRAME_BODY_MAX);
		struct signer_welcome welcome;
		AUTO(file_closep) int sock = -1;
		struct issuing *issuing = NULL;
		struct writ_err *err;

		err = hello(k, &sock, &bytes, &welcome);
		if (!err)
			err = issuing_of(k, &issuing);
		if (err)
			return err;
		posts_open(&k->serve->loops[i], sock, issuing);
		sock = -1;
	}
	return NULL;
}

static void
seen_set(struct keeper *k, const struct signer_health *health)
{
	struct signer_seen *seen = &k->serve->seen;

	pthread_mutex_lock(&k->serve->seen_lock);
	/* In the resident tier a list could not be signed while the device was away. */
	if (health->device_up && !seen->health.device_up)
		atomic_store(&k->serve->list_due, true);
	seen->up = !atomic_load(&k->serve->lost);
	seen->health = *health;
	seen->tier = k->welcome.tier;
	seen->sealed = k->welcome.sealed;
	seen->log_next = health->entries;
	seen->n_keys = k->cas.n;
	for (size_t i = 0; i < seen->n_keys; i++)
		memcpy(seen->keys[i], k->cas.all[k->cas.n - 1 - i].key_id, sizeof(seen->keys[i]));
	pthread_mutex_unlock(&k->serve->seen_lock);
}

/* An operator told the signer that a time which stepped is right; what counts is what we saw change. */
static void
clock_follow(struct keeper *k, const struct signer_health *health)
{
	const bool news = k->clock_heard && health->clock_accepted != k->clock_accepted && health->clock_accepted > 0;

	k->clock_heard = true;
	k->clock_accepted = health->clock_accepted;
	if (!news)
		return;
	if (atomic_load(&k->serve->floor) > k->now.wall)
		atomic_store(&k->serve->floor, k->now.wall);
	atomic_fetch_add(&k->serve->clock_accepted, 1);
	event(EVENT_ALARM, "serve.clock-accepted", EV_NUM("wall", k->now.wall));
}

static void
ca_gone(void *ctx, const struct ca_known *ca)
{
	struct keeper *k = ctx;

	publish_ca_drop(k->serve->publish, ca);
}

/* One CA's lists.  The signer may have forgotten a generation since we heard of it: then there is nothing to publish. */
WRIT_CHECKED static struct writ_err *
list_publish(struct keeper *k, struct ca_known *ca, bool new_only)
{
	struct writ_err *err = publish_lists(k->serve, k->sock, ca, new_only);

	if (!err || err->code != WRIT_NOT_FOUND)
		return err;
	writ_err_free(err);
	return NULL;
}

/* Certificates and first lists of generations that we did not know. */
WRIT_CHECKED static struct writ_err *
cas_learn(struct keeper *k)
{
	struct writ_err *err;

	err = cas_fetch(&k->cas, k->sock, ca_gone, k);
	if (!err)
		err = publish_cas(k->serve->publish, &k->cas, k->now.wall);
	for (size_t i = 0; i < k->cas.n && !err; i++) {
		struct ca_known *ca = &k->cas.all[i];
		const bool new_shard = ca->number == k->cas.issuing && ca->last != k->cas.shard;

		if ((ca->list_numbers[ca->last % SIGNER_SHARDS_MAX] == 0 || new_shard) && ca->not_after >= k->now.wall)
			err = list_publish(k, ca, true);
	}
	return err ? err : publish_index(k->serve->publish, &k->cas, k->now.wall);
}

/* After the signer was away: what it has now, and away with what it had. */
WRIT_CHECKED static struct writ_err *
cas_learn_anew(struct keeper *k)
{
	struct cas before = k->cas;
	struct writ_err *err;

	k->cas = (struct cas){ 0 };
	err = cas_learn(k);
	for (size_t i = 0; i < before.n && !err; i++)
		if (!cas_find(&k->cas, before.all[i].key_id))
			publish_ca_drop(k->serve->publish, &before.all[i]);
	cas_done(&before);
	return err;
}

/* Rotation: what the signer does is followed without a break.  Everything of the new generation is published before the
 * first leaf names it; leaves that were built with the one before are still signed (GENERATION_OVERLAP_S). */
WRIT_CHECKED static struct writ_err *
cas_follow(struct keeper *k)
{
	struct writ_err *err = cas_learn(k);

	k->anchor_list_ms = k->list_ms = k->now.mono_ms; /* it may be that a CA was revoked */
	for (unsigned i = 0; i < k->serve->n_loops && !err; i++) {
		struct issuing *issuing = NULL;

		err = issuing_of(k, &issuing);
		if (!err)
			posts_issuing(&k->serve->loops[i], issuing);
	}
	if (!err)
		event(EVENT_INFO, "serve.generation", EV_NUM("issuing", k->cas.issuing), EV_NUM("live", k->cas.n));
	return err;
}

WRIT_CHECKED static struct writ_err *
health_ask(struct keeper *k)
{
	struct signer_health health;
	struct writ_err *err;

	k->health_ms = k->now.mono_ms + HEALTH_MS;
	err = control_health(k->sock, &health);
	if (!err && health.changes != k->cas.changes)
		err = cas_follow(k);
	if (err)
		return err;
	clock_follow(k, &health);
	seen_set(k, &health);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
lists_publish(struct keeper *k, bool anchor)
{
	struct writ_err *err = NULL;
	struct ca_cert ca;
	uint64_t number = 0;

	k->listed_ms = k->now.mono_ms;
	k->list_ms = k->now.mono_ms + LIST_MS;
	atomic_store(&k->serve->list_due, false);
	for (size_t i = k->cas.n; i-- > 0 && !err;)
		if (k->cas.all[i].not_after >= k->now.wall)
			err = list_publish(k, &k->cas.all[i], false);
	if (!err)
		err = publish_index(k->serve->publish, &k->cas, k->now.wall);
	if (err || !anchor)
		return err;
	k->anchor_list_ms = k->now.mono_ms + ANCHOR_LIST_MS;
	err = ca_read(k->welcome.anchor, &ca);
	if (!err)
		err = publish_list(k->serve, k->sock, ca.key_id, 0, &number, NULL);
	if (err && err->code != WRIT_BROKEN && err->code != WRIT_UNAVAILABLE) {
		event(EVENT_ALARM, "serve.anchor_list", EV_ERR(err));
		writ_err_free(err);
		return NULL;
	}
	return err;
}

/* The rules need our own anchor, which is the signer's to tell. */
WRIT_CHECKED static struct writ_err *
rules_first(struct keeper *k)
{
	struct rules *rules = NULL;
	struct writ_err *err;

	if (k->rules)
		return NULL;
	err = rules_load(&k->serve->conf, k->welcome.anchor, k->welcome.tier, k->now.wall, &rules);
	k->fatal = err != NULL;
	if (!err) {
		err = rules_allowed(k, rules);
		k->fatal = err && err->code == WRIT_CONFLICT; /* the store may come back, a revision does not */
	}
	if (err) {
		rules_unref(rules);
		return err;
	}
	rules_take(k, rules, WRIT_LIT("start"), true);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
connect_all(struct keeper *k)
{
	struct writ_err *err;
	int control = -1;

	cut_all(k);
	writ_buf_clear(&k->welcome_bytes);
	err = hello(k, &control, &k->welcome_bytes, &k->welcome);
	if (err)
		return err;
	atomic_store(&k->serve->lost, false); /* from here on a loss is a new one */
	err = writer_recover(k->serve->writer, control, &k->welcome);
	if (err) {
		k->fatal = err->code == WRIT_LOCKED || err->code == WRIT_BROKEN;
		return err;
	}
	writ_buf_clear(&k->welcome_bytes);
	err = hello(k, &k->sock, &k->welcome_bytes, &k->welcome);
	if (!err)
		err = publish_anchor(k->serve->publish, k->welcome.anchor, k->now.wall);
	if (!err)
		err = cas_learn_anew(k);
	if (!err)
		err = lists_publish(k, true);
	if (!err)
		err = links_open(k);
	if (!err)
		err = rules_first(k);
	if (!err)
		err = health_ask(k); /* healthy: now that all of it is served */
	if (!err && k->note_due)
		note_policy(k);
	return err;
}

static void
signer_try(struct keeper *k)
{
	struct writ_err *err;

	if (k->now.mono_ms < k->try_ms)
		return;
	err = connect_all(k);
	if (!err) {
		k->delay_ms = RETRY_FIRST_MS;
		event(EVENT_INFO, "serve.ready", EV_STR("tier", leaf_tier_name(k->welcome.tier)),
		      EV_NUM("log_next", k->welcome.next_index));
		return;
	}
	event(k->fatal ? EVENT_ALARM : EVENT_WARN, "serve.signer_away", EV_ERR(err));
	k->try_ms = k->now.mono_ms + k->delay_ms;
	k->delay_ms = k->delay_ms * 2 < RETRY_LAST_MS ? k->delay_ms * 2 : RETRY_LAST_MS;
	serve_signer_lost(k->serve, err);
}

/* ---- the keeper's loop ---- */

static void
duties(struct keeper *k)
{
	const int64_t apart = k->welcome.sealed ? LIST_SEALED_MS : LIST_RESIDENT_MS;
	struct writ_err *err = NULL;

	if (k->now.mono_ms >= k->auth_ms && k->rules) {
		k->auth_ms = k->now.mono_ms + AUTH_MS;
		err = auth_refresh(k->rules->auth, k->now.wall);
		if (err)
			event(EVENT_WARN, "serve.revocation_list", EV_ERR(err));
		writ_err_free(err);
		err = NULL;
	}
	if (k->sock < 0)
		return;
	if (k->now.mono_ms >= k->health_ms)
		err = health_ask(k);
	if (!err && (k->now.mono_ms >= k->list_ms ||
		     (atomic_load(&k->serve->list_due) && k->now.mono_ms >= k->listed_ms + apart)))
		err = lists_publish(k, k->now.mono_ms >= k->anchor_list_ms);
	if (err)
		serve_signer_lost(k->serve, err);
}

static void
wait_for_work(struct keeper *k)
{
	struct timespec until;

	(void)k;
	clock_gettime(CLOCK_MONOTONIC, &until); /* a clock that is set back must not stop the lists */
	until.tv_nsec += TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (sem_clockwait(&k->serve->wake, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR && !atomic_load(&stop))
		;
	while (sem_trywait(&k->serve->wake) == 0)
		;
}

/* The first of those that wait; NULL: none. */
static struct errand *
errand_take(struct serve *serve, bool last, bool *ret_more)
{
	struct errand *errand;

	pthread_mutex_lock(&serve->errands_lock);
	errand = serve->errands;
	if (errand)
		serve->errands = errand->next;
	if (!serve->errands)
		serve->errands_end = &serve->errands;
	*ret_more = serve->errands != NULL;
	serve->stopping = last;
	pthread_mutex_unlock(&serve->errands_lock);
	return errand;
}

/* One a turn, so that an auditor who asks without pause holds up neither lists nor recovery. */
static void
errand_run(struct serve *serve)
{
	bool more;
	struct errand *errand = errand_take(serve, false, &more);

	if (errand)
		errand->run(errand);
	if (more)
		sem_post(&serve->wake);
}

static void
errands_end(struct serve *serve)
{
	struct errand *errand;
	bool more;

	while ((errand = errand_take(serve, true, &more)))
		errand->run(errand);
}

static void
keep(struct keeper *k)
{
	while (!atomic_load(&stop) && !k->fatal) {
		k->now = clock_read();
		if (atomic_load(&reload))
			rules_signalled(k);
		if (atomic_load(&k->serve->lost))
			signer_try(k);
		else
			duties(k);
		errand_run(k->serve);
		if (!k->fatal)
			wait_for_work(k);
	}
	errands_end(k->serve);
}

/* ---- start and end ---- */

static void
signals_take(struct serve *serve)
{
	struct sigaction action = { .sa_handler = on_signal };

	signalled = serve;
	sigemptyset(&action.sa_mask);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on files is a full disk to the store, and no reason to die */
}

struct writ_err *
keeper_run(const char *path)
{
	struct keeper k = { .sock = -1, .welcome_bytes = WRIT_BUF(FRAME_BODY_MAX), .delay_ms = RETRY_FIRST_MS };
	struct writ_err *err = start_conf(path, &k.serve);
	struct serve *serve = k.serve;

	if (err)
		return err;
	serve->keeper = &k;
	err = start_shared(serve);
	if (!err) {
		signals_take(serve);
		err = start_threads(serve);
	}
	if (!err)
		keep(&k);
	if (!err && k.fatal)
		err = writ_fail(WRIT_LOCKED, "%s", serve->seen.why);
	if (!err && atomic_load(&failed))
		err = writ_fail(WRIT_UNAVAILABLE, "a loop could not go on: see the event before");
	event(EVENT_INFO, "serve.stop", EV_FLAG("failed", err != NULL));
	if (k.sock >= 0)
		close(k.sock);
	rules_unref(k.rules);
	writ_buf_done(&k.welcome_bytes);
	cas_done(&k.cas);
	start_end(serve);
	return err;
}
