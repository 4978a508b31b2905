/*
 * What OCSP and CRL must say of every serial that writ load was given: good until its end was acknowledged, revoked
 * from then on.  No network here: load_agents.c fetches, this compares.
 */
#include <stdlib.h>

#include "base/der.h"
#include "base/text.h"
#include "issuer/cli/load.h"
#include "issuer/x509/crl.h"
#include "issuer/x509/crl_index.h"

#define CAS_MAX 1024
#define CA_PEM_MAX (16 * 1024)
#define FREE 0xff
#define CLOCKS_APART_S 5
#define FORGET_S 5 /* after a certificate's end */

/* ---- CAs ---- */

/* The path of the list that a leaf names.  Each leaf is looked at, so its bytes are searched and not read: an URL that is not there, or another's, only
 * means a list that is not found, which is told. */
WRIT_CHECKED static struct writ_err *
list_path(struct writ_bytes leaf_pem, char out[80])
{
	static const char begin[] = "/crl/", end[] = ".crl";
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_PEM_MAX);
	struct writ_bytes rest = leaf_pem;
	struct writ_err *err = pem_read("CERTIFICATE", &rest, &der);
	const uint8_t *at, *to;

	out[0] = '\0';
	if (err)
		return writ_because(err, "a leaf");
	at = memmem(der.data, der.len, begin, strlen(begin));
	to = at ? memmem(at, (size_t)(der.data + der.len - at), end, strlen(end)) : NULL;
	if (to && (size_t)(to - at) + strlen(end) < 80)
		snprintf(out, 80, "%.*s%s", (int)(to - at), (const char *)at, end);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
ca_add(struct load_watch *w, struct writ_bytes pem, const char *path)
{
	struct load_ca *ca = &w->cas[w->n_cas];
	struct writ_bytes rest = pem;
	struct writ_err *err;

	*ca = (struct load_ca){ .pem = WRIT_BUF(CA_PEM_MAX), .der = WRIT_BUF(CA_CERT_MAX) };
	err = writ_buf_add(&ca->pem, pem);
	if (!err)
		err = pem_read("CERTIFICATE", &rest, &ca->der);
	if (!err)
		err = ca_read(writ_view(&ca->der), &ca->cert);
	if (!err)
		err = ocsp_issuer_init(ca->cert.subject, ca->cert.spki, &ca->ocsp);
	if (err) {
		writ_buf_done(&ca->pem);
		writ_buf_done(&ca->der);
		return writ_because(err, "the chain of a leaf");
	}
	snprintf(ca->crl_path, sizeof(ca->crl_path), "%s", path);
	w->n_cas++;
	return NULL;
}

struct writ_err *
load_watch_ca(struct load_watch *w, struct writ_bytes pem, struct writ_bytes leaf_pem, uint32_t *ret)
{
	char path[80];
	struct writ_err *err = list_path(leaf_pem, path);

	if (err)
		return err;
	for (size_t i = w->n_cas; i-- > 0;) /* the newest issues */
		if (strcmp(w->cas[i].crl_path, path) == 0 && writ_equal(writ_view(&w->cas[i].pem), pem)) {
			*ret = (uint32_t)i;
			return NULL;
		}
	if (!w->cas)
		w->cas = calloc(CAS_MAX, sizeof(*w->cas));
	if (!w->cas || w->n_cas == CAS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%zu issuing CAs are watched, and no more can be", w->n_cas);
	*ret = (uint32_t)w->n_cas;
	return ca_add(w, pem, path);
}

/* ---- serials ---- */

/* Serials are random but for their first 4 bytes. */
static size_t
slot_of(const struct load_watch *w, const uint8_t serial[16])
{
	size_t at = (size_t)writ_get64(serial + 8) & (w->room - 1);

	while (w->serials[at].state != FREE && memcmp(w->serials[at].serial, serial, 16) != 0)
		at = (at + 1) & (w->room - 1);
	return at;
}

/* A table of that size with what lives at `now`; open addressing leaves no holes, so that is how one forgets, too. */
WRIT_CHECKED static struct writ_err *
rebuild(struct load_watch *w, size_t room, writ_time now)
{
	struct load_serial *old = w->serials, *made = malloc(room * sizeof(*made));
	const size_t n = w->room;

	if (!made)
		return writ_fail(WRIT_EXHAUSTED, "no memory to watch %zu certificates", room);
	for (size_t i = 0; i < room; i++)
		made[i].state = FREE;
	w->serials = made;
	w->room = room;
	w->n_serials = 0;
	for (size_t i = 0; i < n; i++) {
		if (old[i].state == FREE || old[i].not_after + FORGET_S < now)
			continue;
		w->serials[slot_of(w, old[i].serial)] = old[i];
		w->n_serials++;
	}
	free(old);
	return NULL;
}

struct writ_err *
load_watch_issued(struct load_watch *w, const uint8_t serial[16], uint32_t ca, writ_time not_after)
{
	struct load_serial *s;

	if (w->n_serials * 2 >= w->room) {
		struct writ_err *err = rebuild(w, w->room == 0 ? 4096 : 2 * w->room, 0);

		if (err)
			return err;
	}
	s = &w->serials[slot_of(w, serial)];
	if (s->state != FREE)
		return writ_fail(WRIT_BROKEN, "a serial was issued twice");
	*s = (struct load_serial){ .ca = ca, .state = LOAD_LIVE, .not_after = not_after };
	memcpy(s->serial, serial, 16);
	if (ca < w->n_cas && not_after > w->cas[ca].last_not_after)
		w->cas[ca].last_not_after = not_after;
	w->n_serials++;
	return NULL;
}

void
load_watch_ending(struct load_watch *w, const uint8_t serial[16])
{
	struct load_serial *s = w->room ? &w->serials[slot_of(w, serial)] : NULL;

	if (s && s->state == LOAD_LIVE)
		s->state = LOAD_ENDING;
}

void
load_watch_ended(struct load_watch *w, const uint8_t serial[16], int64_t now_ms)
{
	struct load_serial *s = w->room ? &w->serials[slot_of(w, serial)] : NULL;

	if (!s || s->state == FREE)
		return;
	s->state = LOAD_ENDED;
	s->ended_ms = now_ms;
}

const struct load_serial *
load_watch_find(const struct load_watch *w, const uint8_t serial[16])
{
	const struct load_serial *s = w->room ? &w->serials[slot_of(w, serial)] : NULL;

	return s && s->state != FREE ? s : NULL;
}

void
load_watch_prune(struct load_watch *w, writ_time now)
{
	if (w->room > 0)
		writ_err_free(rebuild(w, w->room, now)); /* without memory for it, it is done later */
}

/* ---- comparing ---- */

bool
load_watch_ocsp(const struct load_watch *w, const struct load_serial *s, struct writ_bytes response, writ_time now,
		bool *ret_good)
{
	const struct load_ca *ca = &w->cas[s->ca];
	struct ocsp_answer answer;
	struct writ_err *err = ocsp_response_verify(response, &ca->ocsp, ca->cert.spki,
						    (struct writ_bytes){ s->serial, sizeof(s->serial) }, now, &answer);

	*ret_good = !err && answer.status == OCSP_GOOD;
	if (!err)
		return true;
	writ_err_free(err);
	return false;
}

void
load_watch_disagrees(struct load_watch *w, struct load_words *by, const uint8_t serial[16], const char *source,
		     const char *said, int64_t for_ms)
{
	char hex[33];

	by->disagreed++;
	if (w->disagreed++ > 0)
		return;
	snprintf(w->first, sizeof(w->first), "%s said %s of %s, %lld ms after the contrary was acknowledged", source,
		 said, writ_hex((struct writ_bytes){ serial, 16 }, hex), (long long)for_ms);
}

/* What the list must hold, and what it must not; what ended meanwhile may be in it or not. */
static void
list_compare(struct load_watch *w, uint32_t ca, const struct crl_index *list, int64_t asked_ms, writ_time now)
{
	for (size_t i = 0; i < w->room; i++) {
		const struct load_serial *s = &w->serials[i];
		enum crl_reason reason;
		writ_time at;
		bool listed;

		if (s->state == FREE || s->state == LOAD_ENDING || s->ca != ca || s->not_after <= now + 1)
			continue;
		if (s->state == LOAD_ENDED && s->ended_ms > asked_ms - LOAD_LIST_GRACE_MS)
			continue;
		listed = crl_index_find(list, (struct writ_bytes){ s->serial, sizeof(s->serial) }, &at, &reason);
		w->own.compared++;
		if (listed != (s->state == LOAD_ENDED))
			load_watch_disagrees(w, &w->own, s->serial, "the CRL", listed ? "revoked" : "nothing",
					     asked_ms - s->ended_ms);
	}
}

static bool
ends_with(struct writ_bytes text, const char *end)
{
	const size_t len = strlen(end);

	return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

void
load_watch_list(struct load_watch *w, uint32_t ca, struct writ_bytes der, int64_t asked_ms, writ_time now)
{
	static const uint8_t none[16];
	AUTO(crl_index_done) struct crl_index list = { 0 };
	AUTO(pubkey_done) struct pubkey key = { 0 };
	struct writ_err *err = crl_index_init(der, &list);

	if (!err)
		err = pubkey_load(w->cas[ca].cert.spki, &key);
	if (!err)
		err = pubkey_verify(&key, list.crl.tbs, list.crl.signature);
	if (!err && (list.crl.next_update < now || list.crl.this_update > now + CLOCKS_APART_S))
		err = writ_fail(WRIT_INVALID, "stale");
	if (!err && list.crl.idp_url.len > 0 && !ends_with(list.crl.idp_url, w->cas[ca].crl_path))
		err = writ_fail(WRIT_INVALID, "of other leaves");
	if (err)
		load_watch_disagrees(w, &w->own, none, "the CRL", "what cannot be believed", 0);
	else
		list_compare(w, ca, &list, asked_ms, now);
	writ_err_free(err);
}

void
load_watch_done(struct load_watch *w)
{
	for (size_t i = 0; i < w->n_cas; i++) {
		writ_buf_done(&w->cas[i].pem);
		writ_buf_done(&w->cas[i].der);
	}
	free(w->cas);
	free(w->serials);
}
