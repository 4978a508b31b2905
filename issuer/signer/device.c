/*
 * The connection to writ-deviced: it comes and goes, and nobody waits for it.
 *
 * Each connection opens with the question whether the device is there; what it then says of itself decides the tier,
 * and the anchor and the keys of the resident tier are loaded anew, since handles die with the connection.  Loading
 * compares a key with its pin and has it sign a text (custody_load()).  Each of these questions is asked without
 * waiting, so a device that hangs stops nobody.  A second connection, the pulse, asks after its health while the first
 * one works.
 *
 * (1) WRIT_LOCKED of the device is never tried again; a tier never falls back.			I12
 * (2) A key that made a wrong signature, or is another than its pin, is quarantined: it is neither used nor loaded
 * until an operator resumes.  The device's other keys go on. (3) What is refused as locked is asked once more after its
 * health: that tells a locked device from a bad key. How failures add up: device_state.h.
 * (4) A device that locked itself is asked after its health now and then.  That tries nothing: writ-deviced answers from its
 * latch, and lifts only one that it may lift - new approvals of PCRs came - or forgets it when it is started anew.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "base/event.h"
#include "issuer/signer/signer.h"

#define PULSE_EVERY_MS 2000
#define LOCKED_EVERY_MS 1000 /* looks at a device that locked itself */
#define STALL_MS 2500 /* between two looks: it was us who did not look, not the device that did not answer */

static void
links_close(struct device_link *link)
{
	device_close(link->device);
	device_close(link->coming);
	device_close(link->pulse);
	link->device = link->coming = link->pulse = NULL;
	link->asked_ms = 0;
	link->outstanding = 0;
	writ_err_free(TAKE(link->doubt));
}

void
device_lost(struct signer *s, struct writ_err *why)
{
	struct device_link *link = &s->link;

	if (link->outstanding > 0) /* a signature that never came has taken so long, too */
		signer_times_note(&s->device_signed, s->now.mono_ms - link->heard_ms);
	device_state_lost(&link->state, s->now, why);
	device_state_tell(&link->state);
	writ_err_free(why);
	links_close(link);
}

void
device_done(struct signer *s)
{
	links_close(&s->link);
}

/* What certificates assert is what is seen here, never what is configured. */
static struct writ_err *
tier_see(struct signer *s, const struct custody_info *info)
{
	enum leaf_tier seen;

	s->keys.sealed = s->conf->custody.tier == TIER_SEALED;
	seen = info->software ? LEAF_TIER_SOFTWARE : s->keys.sealed ? LEAF_TIER_SEALED : LEAF_TIER_RESIDENT;
	if (s->keys.tier != 0 && s->keys.tier != seen)
		return writ_fail(
			WRIT_LOCKED,
			"the device makes this tier %s, and the issuing certificates say %s: a tier never falls back",
			leaf_tier_name(seen), leaf_tier_name(s->keys.tier));
	if (s->keys.sealed && !info->can_seal)
		return writ_fail(WRIT_LOCKED, "custody.tier is sealed, and device %s %s cannot seal", info->maker,
				 info->model);
	s->keys.tier = seen;
	return NULL;
}

/* ---- keys ---- */

/* (2) */
void
device_quarantine(struct signer *s, struct generation *g, const struct writ_err *why)
{
	char *const text = g ? g->quarantine : s->keys.anchor_quarantine;
	const struct writ_bytes id = { g ? g->cert.key_id : s->keys.anchor.key_id, 20 };

	if (text[0] != '\0')
		return;
	writ_err_text(why, text, QUARANTINE_WHY);
	event(EVENT_ALARM, "device.key-quarantined", EV_HEX("key", id), EV_ERR(why));
	device_state_quarantined(&s->link.state, s->now, text);
	device_state_tell(&s->link.state);
}

static unsigned
quarantined(const struct signer *s, const char **ret_why)
{
	unsigned n = 0;

	*ret_why = "";
	for (size_t i = 0; i <= s->keys.n; i++) {
		const char *const text = i == 0 ? s->keys.anchor_quarantine : s->keys.gen[i - 1]->quarantine;

		if (text[0] == '\0')
			continue;
		*ret_why = text;
		n++;
	}
	return n;
}

struct writ_err *
device_key_check(const struct signer *s, const struct generation *g)
{
	const char *const text = g ? g->quarantine : s->keys.anchor_quarantine;

	if (text[0] == '\0')
		return NULL;
	return writ_fail(WRIT_LOCKED, "the %s key is quarantined until `writ custody resume`: %s",
			 g ? "issuing" : "anchor's", text);
}

/* The others are loaded when they have a list to sign: loading one costs the device a signature. */
static bool
leaves_may_name(const struct signer *s, const struct generation *g)
{
	return s->keys.current && (g->number >= s->keys.current->number || g->accepted_until >= s->now.wall);
}

/* A key of this connection that is not loaded yet: true, and `*ret` is its generation or, for the anchor, NULL. */
static bool
to_load(struct signer *s, struct generation **ret)
{
	*ret = NULL;
	if (!s->conf->custody.operator && s->keys.anchor_ref.len > 0 && s->keys.anchor.whole.len > 0 && !s->keys.anchor_in_device &&
	    s->keys.anchor_quarantine[0] == '\0')
		return true;
	for (size_t i = 0; i < s->keys.n; i++) {
		struct generation *g = s->keys.gen[i];

		if (g->ref.len == 0 || g->in_device || g->quarantine[0] != '\0' || !leaves_may_name(s, g))
			continue;
		*ret = g;
		return true;
	}
	return false;
}

/* ---- opening ---- */

static struct writ_err *
watch(struct signer *s, const struct device *device)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->link };

	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, device_fd(device), &ev) == 0)
		return NULL;
	return writ_fail_errno(errno, "watching the connection to writ-deviced");
}

static struct writ_err *
connect_to(struct signer *s, struct device **ret)
{
	struct writ_err *err = device_dial(s, ret);

	return err ? err : watch(s, *ret);
}

/* Whoever serves the socket may hang, so nobody waits for the answer: the loop wakes up when it comes, or when the
 * connection ends. */
static struct writ_err *
seek(struct signer *s)
{
	struct device_link *link = &s->link;
	struct writ_err *err = connect_to(s, &link->coming);

	s->keys.anchor_in_device = false;
	for (size_t i = 0; i < s->keys.n; i++)
		s->keys.gen[i]->in_device = false;
	link->stage = DEVICE_ASKED_HEALTH;
	if (!err)
		err = link->resume ? device_resume_ask(link->coming) : device_knock(link->coming);
	link->resume = false;
	return err;
}

/* Asks for what comes next of an opening; `*ret_here` when nothing does. */
static struct writ_err *
next_ask(struct signer *s, bool *ret_here)
{
	struct device_link *link = &s->link;
	struct generation *g;

	*ret_here = !to_load(s, &g);
	if (*ret_here)
		return NULL;
	link->stage = DEVICE_ASKED_LOAD;
	memcpy(link->loading, g ? g->cert.key_id : s->keys.anchor.key_id, sizeof(link->loading));
	link->loading_anchor = !g;
	if (!g)
		return device_load_ask(link->coming, writ_view(&s->keys.anchor_ref), s->keys.anchor.spki);
	return device_load_ask(link->coming, writ_view(&g->ref), g->cert.spki);
}

/* The key asked for is loaded, or refused; `failed` is taken. */
static struct writ_err *
loaded(struct signer *s, uint32_t handle, struct writ_err *failed)
{
	struct device_link *link = &s->link;
	struct generation *g = link->loading_anchor ? NULL : keys_find(s, link->loading);

	if (failed && failed->code == WRIT_LOCKED) { /* (3) */
		link->doubt = failed;
		link->stage = DEVICE_ASKED_DOUBT;
		return device_knock(link->coming);
	}
	if (failed)
		return failed;
	if (link->loading_anchor) {
		s->keys.anchor_handle = handle;
		s->keys.anchor_in_device = true;
	} else if (g) { /* else it has gone meanwhile */
		g->handle = handle;
		g->in_device = true;
	}
	return NULL;
}

/* The device is well, and refused a key. */
static void
doubt_resolved(struct signer *s)
{
	struct device_link *link = &s->link;
	struct generation *g = link->loading_anchor ? NULL : keys_find(s, link->loading);

	if (link->loading_anchor || g)
		device_quarantine(s, g, link->doubt);
	writ_err_free(TAKE(link->doubt));
}

/* Takes an answer of an opening, if one is there, and asks on.  `*ret_here`: that was the last one. */
static struct writ_err *
opening_step(struct signer *s, bool *ret_any, bool *ret_here)
{
	struct device_link *link = &s->link;
	struct writ_err *err = NULL;
	struct custody_info info;
	uint32_t handle = 0;

	*ret_here = false;
	switch (link->stage) {
	case DEVICE_ASKED_HEALTH:
		err = device_opened(link->coming, ret_any);
		if (err || !*ret_any)
			return err;
		link->stage = DEVICE_ASKED_INFO;
		return device_info_ask(link->coming);
	case DEVICE_ASKED_INFO:
		err = device_info_told(link->coming, ret_any, &info);
		if (err || !*ret_any)
			return err;
		err = tier_see(s, &info);
		break;
	case DEVICE_ASKED_LOAD:
		err = device_load_told(link->coming, ret_any, &handle);
		if (!err && !*ret_any)
			return NULL;
		*ret_any = true;
		err = loaded(s, handle, err);
		if (err || link->stage == DEVICE_ASKED_DOUBT)
			return err;
		break;
	case DEVICE_ASKED_DOUBT:
		err = device_opened(link->coming, ret_any);
		if (err || !*ret_any)
			return err;
		doubt_resolved(s);
		break;
	}
	return err ? err : next_ask(s, ret_here);
}

/* (4) */
static void
locked_look(struct signer *s)
{
	struct device_link *link = &s->link;
	struct writ_err *err = NULL;
	bool any = false;

	if (!link->locked_itself || (!link->pulse && s->now.mono_ms < link->next_pulse_ms))
		return;
	if (link->pulse) {
		err = device_opened(link->pulse, &any);
		if (!err && !any && s->now.mono_ms < link->next_pulse_ms)
			return; /* it has not answered yet */
	} else {
		link->next_pulse_ms = s->now.mono_ms + LOCKED_EVERY_MS;
		err = connect_to(s, &link->pulse);
		if (!err)
			err = device_knock(link->pulse);
		if (!err)
			return;
	}
	device_close(TAKE(link->pulse));
	link->next_pulse_ms = s->now.mono_ms + LOCKED_EVERY_MS;
	if (!err && any)
		device_state_lifted(&link->state, s->now);
	if (err && err->code == WRIT_LOCKED)
		device_state_still_locked(&link->state, err);
	writ_err_free(err);
}

bool
device_ready(struct signer *s)
{
	struct device_link *link = &s->link;
	struct writ_err *err = NULL;
	bool any = true, here = false;
	const char *why;
	unsigned n;

	if (link->device)
		return true;
	if (link->state.is == SIGNER_DEVICE_LOCKED || (!link->coming && s->now.mono_ms < link->state.next_try_ms))
		return false;
	if (!link->coming)
		err = seek(s);
	while (!err && any && !here)
		err = opening_step(s, &any, &here);
	if (err) {
		link->locked_itself = err->code == WRIT_LOCKED && link->stage != DEVICE_ASKED_INFO;
		device_lost(s, err);
	}
	if (err || !here)
		return false;
	link->device = TAKE(link->coming);
	n = quarantined(s, &why);
	device_state_opened(&link->state, s->now, n, why);
	device_state_tell(&link->state);
	return true;
}

/* Why it is not ready. */
struct writ_err *
device_away(const struct signer *s)
{
	const struct device_state *st = &s->link.state;

	return writ_fail(st->is == SIGNER_DEVICE_LOCKED ? WRIT_LOCKED : WRIT_UNAVAILABLE, "the device is away: %s",
			 st->why[0] ? st->why : "writ-deviced has not answered yet");
}

struct writ_err *
device_must(struct signer *s)
{
	return device_ready(s) ? NULL : device_away(s);
}

/* ---- what becomes of requests ---- */

/* The connection is given up, and looked for anew at the next wake-up: until then whatever it owed is told that it is
 * gone. */
static void
doubted(struct signer *s, const struct writ_err *err)
{
	device_state_failed(&s->link.state, s->now, err);
	device_state_tell(&s->link.state);
	links_close(&s->link);
	s->link.state.next_try_ms = s->now.mono_ms + 1;
}

/* What a failure means for the connection; `counts` is the breaker's count of it. */
static void
consequences(struct signer *s, const struct device *device, const struct writ_err *err,
	     bool (*count)(struct device_state *, struct clock, const struct writ_err *))
{
	struct device_link *link = &s->link;
	bool open;

	if (err->code == WRIT_LOCKED) { /* (3) */
		doubted(s, err);
		return;
	}
	open = device_usable(device) ? count(&link->state, s->now, err) : true;
	if (open)
		device_lost(s, writ_fail(WRIT_UNAVAILABLE, "%s", err->message));
	device_state_tell(&link->state);
}

struct writ_err *
device_failed(struct signer *s, struct writ_err *err)
{
	if (s->link.device)
		consequences(s, s->link.device, err, device_state_failed);
	return err;
}

void
device_heard(struct signer *s, int64_t took_ms)
{
	device_state_heard(&s->link.state, s->now, took_ms);
}

void
device_worked(struct signer *s)
{
	device_state_worked(&s->link.state, s->now);
	device_state_tell(&s->link.state);
}

struct writ_err *
device_verified(struct signer *s, struct generation *g, struct writ_bytes message, struct writ_bytes signature)
{
	struct writ_err *err = pubkey_verify(g ? &g->public : &s->keys.anchor_public, message, signature);

	if (!err) {
		device_worked(s);
		return NULL;
	}
	err = writ_recode(err, WRIT_LOCKED, "the device made a wrong signature");
	device_quarantine(s, g, err);
	return err;
}

/* ---- the pulse ---- */

/* Takes the answer, if it is there. */
static void
pulse_take(struct signer *s)
{
	struct device_link *link = &s->link;
	struct writ_err *err;
	bool any = false;

	if (!link->pulse || link->asked_ms == 0)
		return;
	err = device_opened(link->pulse, &any);
	if (!err && !any)
		return;
	device_heard(s, s->now.mono_ms - link->asked_ms);
	link->asked_ms = 0;
	if (!err) {
		device_state_beat(&link->state, s->now);
		device_state_tell(&link->state);
		return;
	}
	if (!device_usable(link->pulse)) { /* then the other connection will say so too */
		device_close(TAKE(link->pulse));
		writ_err_free(err);
		return;
	}
	consequences(s, link->pulse, err, device_state_missed);
	writ_err_free(err);
}

static void
pulse_ask(struct signer *s)
{
	struct device_link *link = &s->link;
	struct writ_err *err = NULL;

	if (!link->pulse)
		err = connect_to(s, &link->pulse);
	if (!err)
		err = device_knock(link->pulse);
	if (err) {
		device_lost(s, err);
		return;
	}
	link->asked_ms = s->now.mono_ms;
}

void
device_wake(struct signer *s)
{
	if (s->link.state.is == SIGNER_DEVICE_LOCKED)
		locked_look(s);
	else
		pulse_take(s);
	(void)device_ready(s);
}

struct writ_err *
device_dial(struct signer *s, struct device **ret)
{
	char path[PATH_MAX];

	*ret = NULL;
	return device_connect(conf_path(s->conf->run, "device.sock", path), s->uids.device, ret);
}

void
device_tick(struct signer *s)
{
	struct device_link *link = &s->link;
	const bool stalled = s->now.mono_ms - link->ticked_ms > STALL_MS;

	link->ticked_ms = s->now.mono_ms;
	device_wake(s);
	if (s->keys.current)
		device_state_due(&link->state, rotation_ends(s) - s->now.wall, s->conf->custody.rotation_s);
	if (!link->device)
		return;
	if (link->asked_ms != 0 && stalled)
		link->asked_ms = s->now.mono_ms;
	if (link->asked_ms == 0) {
		if (s->now.mono_ms >= link->next_pulse_ms) {
			link->next_pulse_ms = s->now.mono_ms + (link->state.missed > 0 ? 0 : PULSE_EVERY_MS);
			pulse_ask(s);
		}
	} else if (device_state_silent(&link->state, s->now, s->now.mono_ms - link->asked_ms)) {
		device_lost(s, writ_fail(WRIT_UNAVAILABLE, "it has not answered for %d ms", DEVICE_PULSE_LIMIT_MS));
	}
	device_state_tell(&link->state);
}

void
device_resume(struct signer *s)
{
	s->keys.anchor_quarantine[0] = '\0';
	for (size_t i = 0; i < s->keys.n; i++)
		s->keys.gen[i]->quarantine[0] = '\0';
	links_close(&s->link);
	device_state_resume(&s->link.state, s->now);
	device_state_tell(&s->link.state);
	s->link.resume = true;
	(void)device_ready(s); /* asks; its answer wakes the loop */
}
