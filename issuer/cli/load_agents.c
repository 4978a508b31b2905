/*
 * One agent of writ load, from its task to its end: what it asks when, and what it makes of the answers.  Knows no
 *HTTP.
 *
 *	FREE -> TASK -> FIRST -> HOLD -> RENEWAL -> HOLD ... -> END -> FREE
 *
 * (1) Whoever is told 429 or 503 comes back when Retry-After says, as agents should; a task that has not got its leaf
 *by then goes on where it was. (2) Every leaf, and every end, is followed by questions to OCSP: load_status.c.
 */
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/cli/api.h"
#include "issuer/cli/keys.h"
#include "issuer/cli/load_calls.h"

#define KEY_PEM_MAX 1024
#define WAIT_MS 20
#define LATER_MS 1000 /* when 429 or 503 say nothing else */
#define RETRY_FAILED_MS 200
#define BEGIN_AT_ONCE 256 /* tasks begun in one turn */

enum state { FREE, TASK, FIRST, HOLD, RENEWAL, END };

struct load_agent {
	enum state state;
	bool asking;	 /* a call of its own is out */
	int64_t wake_ms; /* when it goes on, while no call is out */
	int64_t ends_ms; /* when its work is done */
	EVP_PKEY *key;
	char spki_sha256[65];
	struct writ_buf key_pem, leaf_pem, csr; /* csr: base64 of its DER */
	char task[64], edge[33];
	size_t n_serials; /* of this task, for its end */
	uint8_t (*serials)[16];
	size_t cap_serials;
};

/* Up to a second, so that those who were sent away together do not come back together. */
static int64_t
jitter_ms(void)
{
	uint8_t two[2];

	writ_random(two, sizeof(two));
	return (two[0] << 8 | two[1]) % 1000;
}

/* ---- what an agent asks ---- */

WRIT_CHECKED static struct writ_err *
agent_key(struct load_agent *a)
{
	AUTO(writ_buf_done) struct writ_buf csr = WRIT_BUF(8192);
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char *der = NULL;
	uint8_t digest[SHA256_LEN];
	struct writ_err *err = NULL;
	char *pem;
	long n;
	int len;

	EVP_PKEY_free(a->key);
	a->key = EVP_EC_gen("P-256");
	len = a->key ? i2d_PUBKEY(a->key, &der) : 0;
	if (!bio || len <= 0 || !PEM_write_bio_PrivateKey(bio, a->key, NULL, NULL, 0, NULL, NULL))
		err = writ_fail(WRIT_BROKEN, "OpenSSL made no P-256 key");
	if (!err) {
		writ_sha256((struct writ_bytes){ der, (size_t)len }, digest);
		writ_hex((struct writ_bytes){ digest, sizeof(digest) }, a->spki_sha256);
		n = BIO_get_mem_data(bio, &pem);
		writ_buf_clear(&a->key_pem);
		err = writ_buf_add(&a->key_pem, (struct writ_bytes){ (const uint8_t *)pem, (size_t)n });
	}
	if (!err)
		err = keys_csr(a->key, &csr);
	writ_buf_clear(&a->csr);
	if (!err)
		err = writ_base64(writ_view(&csr), &a->csr);
	OPENSSL_free(der);
	BIO_free(bio);
	return err;
}

WRIT_CHECKED static struct writ_err *
ask_task(struct load *l, struct load_agent *a)
{
	json_t *body = json_deep_copy(l->plan->body);
	struct load_call *call;
	struct writ_err *err = load_call_new(l, LOAD_TASK, a, &call);

	json_object_set_new(json_object_get(body, "agent"), "spki_sha256", json_string(a->spki_sha256));
	if (err) {
		json_decref(body);
		return err;
	}
	load_call_as_delegator(l, call);
	err = load_call_json(call, body);
	return err ? err : load_call_send(l, call, l->plan->api, "/v1/tasks", "application/json");
}

WRIT_CHECKED static struct writ_err *
ask_first(struct load *l, struct load_agent *a)
{
	json_t *body = json_object();
	struct load_call *call;
	char path[128];
	struct writ_err *err = load_call_new(l, LOAD_FIRST, a, &call);

	json_object_set_new(body, "csr", json_stringn((const char *)a->csr.data, a->csr.len));
	json_object_set_new(body, "lifetime_s", json_integer(l->plan->lifetime_s));
	snprintf(path, sizeof(path), "/v1/tasks/%s/leaves", a->task);
	if (err) {
		json_decref(body);
		return err;
	}
	err = load_call_json(call, body);
	return err ? err : load_call_send(l, call, l->plan->api, path, "application/json");
}

WRIT_CHECKED static struct writ_err *
ask_renewal(struct load *l, struct load_agent *a)
{
	json_t *body = json_object();
	struct load_call *call;
	struct writ_err *err = load_call_new(l, LOAD_RENEWAL, a, &call);

	json_object_set_new(body, "lifetime_s", json_integer(l->plan->lifetime_s));
	if (err) {
		json_decref(body);
		return err;
	}
	load_call_as_agent(call, writ_view(&a->leaf_pem), writ_view(&a->key_pem));
	err = load_call_json(call, body);
	return err ? err : load_call_send(l, call, l->plan->api, "/v1/renew", "application/json");
}

WRIT_CHECKED static struct writ_err *
ask_end(struct load *l, struct load_agent *a)
{
	const bool revoke = l->plan->revoke;
	struct load_call *call;
	char path[128] = "/v1/revocations";
	struct writ_err *err = load_call_new(l, revoke ? LOAD_REVOCATION : LOAD_COMPLETION, a, &call);

	if (err)
		return err;
	for (size_t i = 0; i < a->n_serials; i++)
		load_watch_ending(&l->watch, a->serials[i]);
	load_call_as_delegator(l, call);
	if (revoke)
		err = load_call_json(call, json_pack("{s:s}", "edge", a->edge));
	else
		snprintf(path, sizeof(path), "/v1/tasks/%s/complete", a->task);
	return err ? err : load_call_send(l, call, l->plan->api, path, "application/json");
}

WRIT_CHECKED static struct writ_err *
agent_ask(struct load *l, struct load_agent *a)
{
	struct writ_err *err = NULL;

	switch (a->state) {
	case TASK:
		err = ask_task(l, a);
		break;
	case FIRST:
		err = ask_first(l, a);
		break;
	case RENEWAL:
		err = ask_renewal(l, a);
		break;
	case END:
		err = ask_end(l, a);
		break;
	case FREE:
	case HOLD:
		return NULL;
	}
	a->asking = true;
	return err;
}

/* ---- answers to agents ---- */

WRIT_CHECKED static struct writ_err *
took_leaf(struct load *l, struct load_agent *a, const json_t *o)
{
	const struct clock now = clock_read();
	writ_time not_after, renew_at;
	uint8_t serial[16];
	const int64_t every_ms = (int64_t)l->plan->renew_s * 1000;
	int64_t at_ms;
	uint32_t ca;
	struct writ_err *err;
	void *grown;

	if (!writ_unhex(writ_str(api_text(o, "serial")), serial, sizeof(serial)) ||
	    !writ_time_from_rfc3339(writ_str(api_text(o, "not_after")), &not_after) ||
	    !writ_time_from_rfc3339(writ_str(api_text(o, "renew_at")), &renew_at))
		return writ_fail(WRIT_BROKEN, "an issued leaf came without its serial, not_after or renew_at");
	grown = writ_room(a->serials, a->n_serials, &a->cap_serials, sizeof(*a->serials), 4);
	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for serials");
	a->serials = grown;
	memcpy(a->serials[a->n_serials++], serial, sizeof(serial));
	err = load_watch_ca(&l->watch, writ_str(api_text(o, "chain")), writ_str(api_text(o, "certificate")), &ca);
	if (!err)
		err = load_watch_issued(&l->watch, serial, ca, not_after);
	writ_buf_clear(&a->leaf_pem);
	if (!err)
		err = writ_buf_add(&a->leaf_pem, writ_str(api_text(o, "certificate")));
	if (!err)
		err = writ_buf_add(&a->leaf_pem, writ_str(api_text(o, "chain")));
	if (err)
		return err;
	at_ms = l->now_ms + (every_ms > 0 ? every_ms : (renew_at - now.wall) * 1000);
	if (l->plan->storm) /* everybody at the next multiple since the start */
		at_ms = l->now_ms + every_ms - (l->now_ms - l->began_ms) % every_ms;
	a->state = HOLD;
	a->wake_ms = at_ms < a->ends_ms ? at_ms : a->ends_ms;
	return load_status_ask(l, serial, true);
}

static void
agent_free(struct load *l, struct load_agent *a)
{
	a->state = FREE;
	a->n_serials = 0;
	l->busy--;
}

WRIT_CHECKED static struct writ_err *
took_end(struct load *l, struct load_agent *a)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; i < a->n_serials; i++)
		load_watch_ended(&l->watch, a->serials[i], l->now_ms);
	if (a->n_serials > 0)
		err = load_status_ask(l, a->serials[a->n_serials - 1], false);
	agent_free(l, a);
	a->wake_ms = 0;
	return err;
}

WRIT_CHECKED static struct writ_err *
took_good(struct load *l, struct load_call *call, const json_t *o)
{
	struct load_agent *a = call->agent;

	switch (call->what) {
	case LOAD_TASK:
		snprintf(a->task, sizeof(a->task), "%s", api_text(o, "task"));
		snprintf(a->edge, sizeof(a->edge), "%s", api_text(o, "edge"));
		l->tasks++;
		a->ends_ms = l->now_ms + (int64_t)l->plan->life_s * 1000;
		a->state = FIRST;
		a->wake_ms = 0;
		return NULL;
	case LOAD_FIRST:
	case LOAD_RENEWAL:
		return took_leaf(l, a, o);
	case LOAD_COMPLETION:
	case LOAD_REVOCATION:
		return took_end(l, a);
	case LOAD_OCSP:
	case LOAD_RESPONDER:
	case LOAD_CRL:
	case LOAD_WHATS:
		break;
	}
	return NULL;
}

/* Keeps the first refusal, for the report. */
static void
refusal_keep(struct load *l, const struct load_call *call, long status, const json_t *o)
{
	if (!*l->refusal)
		snprintf(l->refusal, sizeof(l->refusal), "%s: %ld %s %s: %s %s", load_what_name(call->what), status,
			 api_text(o, "code"), api_text(o, "rule"), api_text(o, "detail"), api_text(o, "value"));
}

/* What could not be begun is given up; a task that has a leaf, or may have, goes to its end, so that nothing is left.
 */
static void
agent_refused(struct load *l, struct load_agent *a)
{
	if (a->state == TASK || a->state == END)
		agent_free(l, a);
	else
		a->state = END;
	a->wake_ms = l->now_ms + RETRY_FAILED_MS;
}

WRIT_CHECKED static struct writ_err *
took_agents(struct load *l, struct load_call *call, CURLcode result, long status)
{
	struct load_agent *a = call->agent;
	struct load_count *count = &l->counts[call->what];
	json_t *o = json_loadb((const char *)call->answer.data, call->answer.len, JSON_REJECT_DUPLICATES, NULL);
	struct writ_err *err = NULL;

	a->asking = false;
	if (result != CURLE_OK) {
		count->failed++;
		if (!*l->refusal)
			snprintf(l->refusal, sizeof(l->refusal), "%s: %s", load_what_name(call->what),
				 curl_easy_strerror(result));
		a->wake_ms = l->now_ms + RETRY_FAILED_MS;
	} else if (status >= 200 && status < 300) {
		load_latency_add(&count->took, load_now_us() - call->began_us);
		err = took_good(l, call, o);
	} else if (status == 429 || status == 503) { /* (1) */
		count->later++;
		a->wake_ms =
			l->now_ms + (call->retry_after_s >= 0 ? call->retry_after_s * 1000 : LATER_MS) + jitter_ms();
	} else {
		count->refused++;
		refusal_keep(l, call, status, o);
		agent_refused(l, a);
	}
	json_decref(o);
	return err;
}

WRIT_CHECKED static struct writ_err *
took(struct load *l, struct load_call *call, CURLcode result)
{
	long status = 0;

	curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
	return call->agent ? took_agents(l, call, result, status) : load_status_took(l, call, result, status);
}

/* ---- turns ---- */

static bool
silent(const struct load *l)
{
	const int64_t middle_ms = l->began_ms + (l->end_ms - l->began_ms) / 2;

	return l->now_ms >= middle_ms && l->now_ms < middle_ms + (int64_t)l->plan->partition_s * 1000;
}

/* How many new tasks may begin now. */
static size_t
begin_now(struct load *l)
{
	size_t n;

	if (l->ending || l->now_ms >= l->end_ms)
		return 0;
	if (l->plan->rate <= 0)
		return BEGIN_AT_ONCE;
	n = (size_t)((double)(l->now_ms - l->began_ms) / 1000 * l->plan->rate - l->due);
	return n < BEGIN_AT_ONCE ? n : BEGIN_AT_ONCE;
}

WRIT_CHECKED static struct writ_err *
agent_turn(struct load *l, struct load_agent *a, size_t *begin)
{
	struct writ_err *err = NULL;

	if (a->asking || a->wake_ms > l->now_ms)
		return NULL;
	if (a->state == FREE) {
		if (*begin == 0)
			return NULL;
		--*begin;
		l->due++;
		l->busy++;
		a->state = TASK;
		err = agent_key(a);
	} else if (a->state == HOLD) {
		a->state = l->now_ms >= a->ends_ms ? END : RENEWAL;
	}
	return err ? err : agent_ask(l, a);
}

struct writ_err *
load_turn(struct load *l)
{
	struct writ_err *err = NULL;
	size_t begin;
	CURLMsg *message;
	int running, left;

	l->now_ms = clock_read().mono_ms;
	begin = silent(l) ? 0 : begin_now(l);
	for (uint32_t i = 0; !err && i < l->plan->agents && !silent(l); i++)
		err = agent_turn(l, &l->agents[i], &begin);
	if (l->plan->rate > 0 && begin > 0) { /* they would have come, and nobody was there to play them */
		l->missed += begin;
		l->due += (double)begin;
	}
	if (!err)
		err = load_status_turn(l);
	if (err)
		return err;
	if (curl_multi_perform(l->multi, &running) != CURLM_OK ||
	    curl_multi_poll(l->multi, NULL, 0, load_status_wait_ms(l, WAIT_MS), NULL) != CURLM_OK)
		return writ_fail(WRIT_BROKEN, "libcurl's loop failed");
	l->now_ms = clock_read().mono_ms;
	while (!err && (message = curl_multi_info_read(l->multi, &left))) {
		struct load_call *call = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		err = took(l, call, message->data.result);
		load_call_free(l, call);
	}
	return err;
}

void
load_end_all(struct load *l)
{
	l->ending = true;
	for (uint32_t i = 0; i < l->plan->agents; i++) {
		struct load_agent *a = &l->agents[i];

		a->ends_ms = 0; /* those that are asking come to it */
		if (a->asking || (a->state != HOLD && a->state != TASK))
			continue;
		if (a->state == HOLD)
			a->state = END;
		else
			agent_free(l, a);
		a->wake_ms = 0;
	}
}

bool
load_idle(const struct load *l)
{
	return l->busy == 0 && l->n_calls == 0 && !l->questions;
}

struct writ_err *
load_start(struct load *l, const struct load_plan *plan)
{
	*l = (struct load){ .plan = plan, .multi = curl_multi_init() };
	l->agents = calloc(plan->agents, sizeof(*l->agents));
	if (!l->multi || !l->agents)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %u agents", plan->agents);
	for (uint32_t i = 0; i < plan->agents; i++) {
		l->agents[i].key_pem = WRIT_BUF(KEY_PEM_MAX);
		l->agents[i].leaf_pem = WRIT_BUF(LOAD_ANSWER_MAX);
		l->agents[i].csr = WRIT_BUF(LOAD_ANSWER_MAX);
	}
	curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)(plan->agents < 512 ? 64 : plan->agents / 8));
	l->began_ms = l->now_ms = clock_read().mono_ms;
	l->end_ms = l->began_ms + (int64_t)plan->duration_s * 1000;
	return NULL;
}

void
load_done(struct load *l)
{
	while (l->calls)
		load_call_free(l, l->calls);
	for (uint32_t i = 0; l->agents && i < l->plan->agents; i++) {
		struct load_agent *a = &l->agents[i];

		EVP_PKEY_free(a->key);
		if (a->key_pem.data)
			OPENSSL_cleanse(a->key_pem.data, a->key_pem.len);
		writ_buf_done(&a->key_pem);
		writ_buf_done(&a->leaf_pem);
		writ_buf_done(&a->csr);
		free(a->serials);
	}
	free(l->agents);
	curl_multi_cleanup(l->multi);
	load_status_done(l);
	load_watch_done(&l->watch);
}
