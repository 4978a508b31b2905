/*
 * What the issuer publishes - CRLs, CA certificates -, fetched and published here.
 *
 * The list of them comes over the feed's connection and names each one's digest, so the documents themselves may come
 * over plain HTTP.  One is fetched at a time.  What is not what the list said has changed meanwhile, most likely: the
 * list is asked for anew.  A list's number never goes back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"
#include "issuer/responder/responder.h"

#define LIST_MS 5000L
#define DOCUMENT_MS 60000L
#define ANEW_MS 250   /* after something that was not as the list said, or could not be had */
#define HELD_MAX 1024 /* as many as are published (status.h) */

static struct held_document *
held_find(struct documents *d, const char *path)
{
	for (size_t i = 0; i < d->n_held; i++)
		if (strcmp(d->held[i].path, path) == 0)
			return &d->held[i];
	return NULL;
}

WRIT_CHECKED static struct writ_err *
held_add(struct documents *d, const char *path, struct held_document **ret)
{
	struct held_document *grown;

	if (d->n_held == HELD_MAX)
		return writ_fail(WRIT_EXHAUSTED, "more than %d documents", HELD_MAX);
	grown = writ_room(d->held, d->n_held, &d->cap_held, sizeof(*grown), 32);
	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu documents", d->n_held + 1);
	d->held = grown;
	*ret = &d->held[d->n_held++];
	**ret = (struct held_document){ 0 };
	snprintf((*ret)->path, sizeof((*ret)->path), "%s", path);
	return NULL;
}

/* ---- issuing CAs ---- */

static void
issuers_use(struct responder_loop *on, void *arg)
{
	const struct documents *d = arg;
	struct ocsp_issuer list[RESPONDER_CAS_MAX];
	struct writ_err *err;

	for (size_t i = 0; i < d->n_cas; i++)
		list[i] = d->cas[i].ocsp;
	err = status_front_issuers(on->front, list, d->n_cas);
	if (err)
		event(EVENT_ALARM, "responder.issuers", EV_NUM("loop", on->number), EV_ERR(err));
	writ_err_free(err);
}

const struct known_ca *
documents_ca(const struct responder *r, const struct ocsp_request *about)
{
	for (size_t i = 0; i < r->documents.n_cas; i++)
		if (ocsp_issuer_is(&r->documents.cas[i].ocsp, about))
			return &r->documents.cas[i];
	return NULL;
}

static void
ca_forget(struct documents *d, const char *path)
{
	for (size_t i = 0; i < d->n_cas; i++) {
		if (strcmp(d->cas[i].path, path) != 0)
			continue;
		writ_buf_done(&d->cas[i].spki);
		d->cas[i] = d->cas[--d->n_cas];
		return;
	}
}

/* An anchor signs no leaf: nobody is answered for it. */
WRIT_CHECKED static struct writ_err *
ca_learn(struct responder *r, const char *path, struct writ_bytes der)
{
	struct documents *d = &r->documents;
	struct known_ca *ca;
	struct ca_cert cert;
	struct writ_err *err = ca_read(der, &cert);

	if (err)
		return err;
	if (!cert.is_ca || writ_equal(cert.issuer, cert.subject) || strcmp(path, "/ca/anchor.cer") == 0)
		return NULL;
	ca_forget(d, path);
	if (d->n_cas == RESPONDER_CAS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "more than %d issuing CAs", RESPONDER_CAS_MAX);
	ca = &d->cas[d->n_cas];
	*ca = (struct known_ca){ .spki = WRIT_BUF(CA_CERT_MAX) };
	snprintf(ca->path, sizeof(ca->path), "%s", path);
	err = ocsp_issuer_init(cert.subject, cert.spki, &ca->ocsp);
	if (!err)
		err = writ_buf_add(&ca->spki, cert.spki);
	if (err) {
		writ_buf_done(&ca->spki);
		return err;
	}
	d->n_cas++;
	responder_on_loops(r, issuers_use, d);
	return NULL;
}

/* ---- one document ---- */

static bool
ends_in(const char *path, const char *end)
{
	const size_t len = strlen(path), end_len = strlen(end);

	return len > end_len && strcmp(path + len - end_len, end) == 0;
}

WRIT_CHECKED static struct writ_err *
list_check(struct writ_bytes der, const struct held_document *held, uint64_t *ret_number)
{
	struct crl crl;
	struct writ_err *err = crl_read(der, &crl);

	if (err)
		return err;
	if (held && crl.number < held->number)
		return writ_fail(WRIT_INVALID, "a CRL of number %llu behind one of number %llu",
				 (unsigned long long)crl.number, (unsigned long long)held->number);
	*ret_number = crl.number;
	return NULL;
}

/* Is it what the list said, of the form that its path promises, and no older than what is here? */
WRIT_CHECKED static struct writ_err *
document_take(struct responder *r, struct writ_bytes bytes)
{
	struct documents *d = &r->documents;
	const struct feed_document *doc = &d->now;
	struct held_document *held = held_find(d, doc->path);
	uint8_t digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];
	uint64_t number = 0;
	struct writ_err *err = NULL;

	writ_sha256(bytes, digest);
	if (bytes.len != doc->len ||
	    strcmp(writ_hex((struct writ_bytes){ digest, sizeof(digest) }, hex), doc->sha256) != 0)
		return writ_fail(WRIT_CONFLICT, "it is not what the issuer's list says");
	if (ends_in(doc->path, ".crl"))
		err = list_check(bytes, held, &number);
	else if (ends_in(doc->path, ".cer"))
		err = ca_learn(r, doc->path, bytes);
	if (!err && !held)
		err = held_add(d, doc->path, &held);
	if (!err)
		err = publish_put(r->publish, doc->path, doc->content_type, bytes, doc->last_modified, doc->expires,
				  doc->max_age_s);
	if (err)
		return err;
	held->listed = true;
	held->number = number;
	memcpy(held->sha256, doc->sha256, sizeof(held->sha256));
	responder_count(r, COUNT_DOCUMENTS, 1);
	return NULL;
}

static void
document_failed(struct responder *r, struct writ_err *err)
{
	struct documents *d = &r->documents;

	responder_count(r, COUNT_DOCUMENTS_FAILED, 1);
	event(err->code == WRIT_CONFLICT ? EVENT_DEBUG : EVENT_WARN, "responder.document", EV_STR("path", d->now.path),
	      EV_ERR(err));
	writ_err_free(err);
	d->stale = true;
}

static void
document_answered(struct way *way, struct writ_err *err)
{
	struct responder *r = way->ctx;

	if (!err)
		err = document_take(r, writ_view(&way->exchange.answer));
	if (err)
		document_failed(r, err);
	if (way->exchange.answer.limit > FEED_DOCUMENTS_MAX) /* a list of megabytes is not kept twice */
		writ_buf_done(&way->exchange.answer);
}

/* ---- the list ---- */

static void
unlisted_drop(struct responder *r)
{
	struct documents *d = &r->documents;
	const size_t n_cas = d->n_cas;

	for (size_t i = d->n_held; i-- > 0;) {
		if (d->held[i].listed)
			continue;
		publish_drop(r->publish, d->held[i].path);
		ca_forget(d, d->held[i].path);
		d->held[i] = d->held[--d->n_held];
	}
	if (d->n_cas != n_cas)
		responder_on_loops(r, issuers_use, d);
}

static void
list_ended(struct responder *r, int64_t now_ms)
{
	struct documents *d = &r->documents;

	writ_buf_clear(&d->list);
	if (d->stale || d->asked_life != d->life) {
		d->stale = true;
		d->due_ms = now_ms + ANEW_MS;
		return;
	}
	unlisted_drop(r);
	d->version = d->asked_version;
	if (!d->have)
		event(EVENT_INFO, "responder.documents", EV_NUM("documents", d->n_held), EV_NUM("issuing", d->n_cas));
	d->have = true;
}

/* Begins the next document that we do not have; at the end of the list, ends it. */
static void
list_go_on(struct responder *r, struct clock now)
{
	struct documents *d = &r->documents;
	char url[512];

	while (d->list.len > 0 && !d->way.busy) {
		struct writ_err *err = feed_document_read(&d->rest, &d->now);
		struct held_document *held;

		if (err) {
			if (err->code != WRIT_NOT_FOUND) {
				d->now.path[0] = '\0';
				document_failed(r, err);
			} else {
				writ_err_free(err);
			}
			list_ended(r, now.mono_ms);
			return;
		}
		held = held_find(d, d->now.path);
		if (held)
			held->listed = true;
		if (held && strcmp(held->sha256, d->now.sha256) == 0)
			continue;
		d->way.exchange.answer.limit = d->now.len > 0 ? (size_t)d->now.len : 1;
		snprintf(url, sizeof(url), "%s%s", r->conf.upstream, d->now.path);
		err = way_begin(&d->way, &r->web, url, (struct writ_bytes){ 0 }, DOCUMENT_MS);
		if (err)
			document_failed(r, err);
	}
}

static void
list_answered(struct way *way, struct writ_err *err)
{
	struct responder *r = way->ctx;
	struct documents *d = &r->documents;

	d->now.path[0] = '\0';
	if (!err && way->exchange.answer.len == 0)
		err = writ_fail(WRIT_INVALID, "the list of documents is empty");
	writ_buf_clear(&d->list);
	if (!err)
		err = writ_buf_add(&d->list, writ_view(&way->exchange.answer));
	d->stale = err != NULL;
	d->rest = writ_view(&d->list);
	for (size_t i = 0; i < d->n_held; i++)
		d->held[i].listed = false;
	if (err) {
		document_failed(r, err);
		list_ended(r, clock_read().mono_ms);
	}
}

static void
list_ask(struct responder *r, uint64_t version, struct clock now)
{
	struct documents *d = &r->documents;
	struct writ_err *err;
	char url[512];

	d->asked_version = version;
	d->asked_life = d->life;
	snprintf(url, sizeof(url), "%s/v1/status/documents", r->conf.issuer);
	err = way_begin(&d->list_way, &r->web, url, (struct writ_bytes){ 0 }, LIST_MS);
	if (err) {
		document_failed(r, err);
		d->due_ms = now.mono_ms + ANEW_MS;
	}
}

/* ---- when ---- */

void
documents_version(struct responder *r, uint64_t version)
{
	r->documents.wanted_version = version;
}

void
documents_life(struct responder *r)
{
	r->documents.life++;
	r->documents.stale = true;
}

int
documents_step(struct responder *r, struct clock now)
{
	struct documents *d = &r->documents;

	list_go_on(r, now);
	if (d->list_way.busy || d->list.len > 0 || d->wanted_version == 0 ||
	    (d->have && !d->stale && d->wanted_version == d->version))
		return 1000;
	if (now.mono_ms < d->due_ms)
		return (int)(d->due_ms - now.mono_ms);
	list_ask(r, d->wanted_version, now);
	return 1000;
}

struct writ_err *
documents_init(struct responder *r)
{
	struct documents *d = &r->documents;
	struct writ_err *err;

	d->list = WRIT_BUF(FEED_DOCUMENTS_MAX);
	d->list_way = (struct way){ .done = list_answered, .ctx = r };
	d->way = (struct way){ .done = document_answered, .ctx = r };
	err = way_init(&d->list_way, &r->web, true, FEED_DOCUMENTS_MAX);
	return err ? err : way_init(&d->way, &r->web, false, FEED_DOCUMENTS_MAX);
}

void
documents_done(struct responder *r)
{
	struct documents *d = &r->documents;

	way_done(&d->list_way, &r->web);
	way_done(&d->way, &r->web);
	for (size_t i = 0; i < d->n_cas; i++)
		writ_buf_done(&d->cas[i].spki);
	writ_buf_done(&d->list);
	free(d->held);
}
