/*
 * What the keeper has the loops do: see posts.h.
 */
#include "issuer/serve/posts.h"

#include <stdlib.h>

#include "base/event.h"
#include "issuer/serve/work.h"

struct post {
	struct serve_loop *on;
	struct rules *rules;
	struct issuing *issuing;
	int sock;
	bool listen;
	atomic_bool *failed; /* set when listening could not begin */
};

static void
post(struct serve_loop *on, void (*fn)(void *arg), struct post with)
{
	struct post *p = malloc(sizeof(*p));

	if (!p)
		abort(); /* as loop_post(): without memory for a message there is no issuer */
	*p = with;
	p->on = on;
	loop_post(on->loop, fn, p);
}

/* Until every loop has done what it was told last (and so all before it). */
static void
loops_wait(struct serve *serve)
{
	for (unsigned i = 0; i < serve->n_loops; i++)
		while (sem_wait(&serve->done) != 0)
			;
}

/* ---- the signer ---- */

static void
post_cut(void *arg)
{
	struct post *p = arg;

	serve_link_cut(p->on);
	free(p);
}

void
posts_cut(struct serve *serve)
{
	for (unsigned i = 0; i < serve->n_loops; i++)
		post(&serve->loops[i], post_cut, (struct post){ 0 });
	loops_wait(serve);
}

static void
post_open(void *arg)
{
	struct post *p = arg;

	serve_link_open(p->on, p->sock, p->issuing);
	free(p);
}

void
posts_open(struct serve_loop *on, int sock, struct issuing *issuing)
{
	post(on, post_open, (struct post){ .sock = sock, .issuing = issuing });
}

static void
post_issuing(void *arg)
{
	struct post *p = arg;

	serve_issuing(p->on, p->issuing);
	free(p);
}

void
posts_issuing(struct serve_loop *on, struct issuing *issuing)
{
	post(on, post_issuing, (struct post){ .issuing = issuing });
}

/* ---- rules ---- */

WRIT_CHECKED static struct writ_err *
tls_take(struct serve_loop *on, const struct rules *rules)
{
	struct tls_conf tls = { .certificate = on->serve->conf.api_certificate, .key = on->serve->conf.api_key };

	tls.n_anchors = auth_anchors(rules->auth, &tls.anchors);
	return loop_tls(on->loop, &tls);
}

static void
post_rules(void *arg)
{
	struct post *p = arg;
	struct serve_loop *on = p->on;
	const struct conf_address *api = &on->serve->conf.api;
	struct writ_err *err;

	err = tls_take(on, p->rules);
	serve_rules(on, p->rules);
	if (!err && p->listen)
		err = loop_listen(on->loop, api->host, api->port, true, &on->api, NULL);
	if (err)
		event(EVENT_ALARM, "serve.listen", EV_NUM("loop", on->number), EV_ERR(err));
	if (err && p->listen)
		atomic_store(p->failed, true);
	sem_post(&on->serve->done);
	writ_err_free(err);
	free(p);
}

bool
posts_rules(struct serve *serve, struct rules *rules, bool listen)
{
	atomic_bool failed = false;

	for (unsigned i = 0; i < serve->n_loops; i++)
		post(&serve->loops[i], post_rules,
		     (struct post){ .rules = rules_ref(rules), .listen = listen, .failed = &failed });
	loops_wait(serve);
	return !atomic_load(&failed);
}
