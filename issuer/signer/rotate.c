/*
 * Rotation: which generation signs, when the next one is made ready and takes over, when an old one is destroyed.
 *
 * By their numbers generations are, from the oldest: retired, current (one), ready (those after it).  The current one
 * signs for custody.rotation_s, at most until its signs_until; a quarter of that before its end the next one is made
 * ready - key, seal, certificate, OCSP certificate - so that taking over asks nothing of the device, and a device that
 * is away for less does no harm.  A retired one signs leaves that name it for GENERATION_OVERLAP_S more, then lists and
 * its OCSP certificate only.
 *
 * (1) A generation is destroyed when GENERATION_AFTER_S have passed since it was retired, by the monotonic clock and in
 *     this process's life, and no leaf of it is live by the guarded clock: a wall clock set forward destroys nothing.
 * (2) The oldest go first, since what the device seals for a number goes with all lower ones.
 * (3) Who is current is journalled, so that a start finds the same one.
 * (4) While the device is away the current one goes on until its signs_until, with alarms from half of the lead on;
 * then leaves are refused, and status goes on.
 * (5) Of an operator's anchor the ready ones are made by `writ rotate` (operator.c), and an alarm asks for it.
 */
#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/admin.h"

#define RETRY_MAX_S 30	/* what the device refused is asked again so late: each try costs the journal an entry */
#define OPERATOR_ALARM_S 86400 /* an operator needs a day's notice */
#define OPERATOR_ALARM_PAUSE_S 3600
#define RETRY_REVOKED_S 1
#define ALARM_MAX_S 300 /* between two alarms about a rotation that is late */

static writ_time
lead_s(const struct signer *s)
{
	return s->conf->custody.rotation_s / 4;
}

/* When the current one is to be replaced. */
static writ_time
due_at(const struct signer *s)
{
	const writ_time planned = s->keys.began + s->conf->custody.rotation_s;

	if (s->keys.current->revoked)
		return s->now.wall;

	return planned < s->keys.current->signs_until ? planned : s->keys.current->signs_until;
}

/* The next one that is ready, or NULL. */
static struct generation *
next_ready(const struct signer *s)
{
	struct generation *next = NULL;

	for (size_t i = 0; i < s->keys.n && s->keys.gen[i]->number > s->keys.current->number; i++)
		if (!s->keys.gen[i]->revoked)
			next = s->keys.gen[i];
	return next;
}

writ_time
rotation_ends(const struct signer *s)
{
	writ_time ends = s->keys.current->revoked ? s->now.wall : s->keys.current->signs_until;

	for (size_t i = 0; i < s->keys.n && s->keys.gen[i]->number > s->keys.current->number; i++)
		if (!s->keys.gen[i]->revoked && s->keys.gen[i]->signs_until > ends)
			ends = s->keys.gen[i]->signs_until;
	return ends;
}

/* Resident tier: one that a start found ready, or current; without the device it is loaded when that comes back. */
static void
handle_ready(struct signer *s, struct generation *g)
{
	struct writ_err *err;
	uint32_t handle;

	if (g->soft.pkey || !s->link.device)
		return;
	resident_drain(s);
	err = s->link.device ? generation_handle(s, g, &handle) : NULL;
	writ_err_free(err); /* device_lost() told why */
}

/* (3) */
static struct writ_err *
become_current(struct signer *s, struct generation *g)
{
	struct keys *keys = &s->keys;
	struct writ_err *err;

	err = entry_generation(s, GENERATION_SWITCHED, g->number, g->cert.key_id);
	if (err)
		return err;
	journal_sync(s->journal);
	FAULT("rotate:switched");
	for (size_t i = 0; i < keys->n; i++) {
		struct generation *old = keys->gen[i];

		if (old->number >= g->number || (keys->current && old->number < keys->current->number))
			continue;
		old->retired_ms = s->now.mono_ms;
		if (old == keys->current) /* one that never was current has no leaves */
			old->accepted_until = s->now.wall + GENERATION_OVERLAP_S;
	}
	keys->current = g;
	keys->began = s->now.wall;
	keys->changes++;
	keys->next_late_ms = 0;
	gate_learn(s);
	handle_ready(s, g);
	event(EVENT_INFO, "signer.rotated", EV_NUM("number", g->number),
	      EV_HEX("key", ((struct writ_bytes){ g->cert.key_id, 20 })), EV_NUM("signs_until", g->signs_until));
	return NULL;
}

/* ---- at the start ---- */

struct writ_err *
rotation_start(struct signer *s)
{
	struct keys *keys = &s->keys;
	struct generation *g = keys_find8(s, keys->switched);
	struct writ_err *err;

	if (g) {
		keys->current = g;
		keys->began = keys->switched_at;
		gate_learn(s);
		handle_ready(s, g);
		return NULL;
	}
	if (keys->n > 0)
		return become_current(s, keys->gen[0]);
	err = generation_make(s, s->now.wall, &g);
	return err ? err : become_current(s, g);
}

/* ---- from second to second ---- */

/* (1) */
static bool
is_over(const struct signer *s, const struct generation *g)
{
	return g->number < s->keys.current->number &&
	       s->now.mono_ms - g->retired_ms >= (int64_t)GENERATION_AFTER_S * 1000 &&
	       ledger_last(s->ledger, g->cert.key_id) < s->now.wall;
}

/* (2) */
static void
destroy_over(struct signer *s)
{
	struct writ_err *err;
	size_t n = 0;

	while (n < s->keys.n && is_over(s, s->keys.gen[s->keys.n - 1 - n]))
		n++;
	if (n == 0 || s->now.mono_ms < s->keys.next_destroy_ms || !device_ready(s))
		return;
	err = generations_destroy(s, n);
	if (!err)
		return;
	s->keys.next_destroy_ms = s->now.mono_ms + RETRY_MAX_S * 1000;
	event(EVENT_ALARM, "signer.not-destroyed", EV_NUM("generations", n), EV_ERR(err));
	writ_err_free(err);
}

/* A CA that ends with the anchor has no successor: that would not live longer either. */
static bool
ready_wanted(const struct signer *s)
{
	return !s->conf->custody.operator && !next_ready(s) && s->now.wall >= due_at(s) - lead_s(s) &&
	       (s->keys.current->revoked || s->keys.current->cert.not_after < s->keys.anchor.not_after);
}

static int64_t
pause_ms(writ_time wanted_s, writ_time most_s)
{
	return (wanted_s < 1 ? 1 : wanted_s < most_s ? wanted_s : most_s) * 1000;
}

static void
make_ready(struct signer *s)
{
	const writ_time due = due_at(s);
	struct generation *g;
	struct writ_err *err;

	if (!ready_wanted(s) || s->now.mono_ms < s->keys.next_make_ms || !device_ready(s))
		return;
	err = generation_make(s, due > s->now.wall ? due : s->now.wall, &g);
	if (!err)
		return;
	s->keys.next_make_ms = /* while nothing is issued, sooner */
		s->now.mono_ms + pause_ms(lead_s(s) / 8, s->keys.current->revoked ? RETRY_REVOKED_S : RETRY_MAX_S);
	event(EVENT_WARN, "signer.generation-not-made", EV_ERR(err));
	writ_err_free(err);
}

/* (4) */
static void
late_tell(struct signer *s)
{
	const writ_time due = due_at(s);

	if (!ready_wanted(s) || s->now.wall < due - lead_s(s) / 2 || s->now.mono_ms < s->keys.next_late_ms)
		return;
	s->keys.next_late_ms = s->now.mono_ms + pause_ms(lead_s(s) / 8, ALARM_MAX_S);
	event(EVENT_ALARM, "signer.rotation-late", EV_NUM("number", s->keys.current->number),
	      EV_NUM("issuing_ends_in_s", s->keys.current->signs_until - s->now.wall),
	      EV_STR("device", s->link.device ? "is there, and made none" : s->link.state.why));
}

/* (5) */
static void
operator_tell(struct signer *s)
{
	const writ_time left_s = rotation_ends(s) - s->now.wall;

	if (!s->conf->custody.operator || left_s > OPERATOR_ALARM_S || s->now.mono_ms < s->keys.next_late_ms ||
	    rotation_ends(s) + GENERATION_AFTER_S >= s->keys.anchor.not_after)
		return;
	s->keys.next_late_ms = s->now.mono_ms + OPERATOR_ALARM_PAUSE_S * 1000;
	event(EVENT_ALARM, "signer.rotate-wanted", EV_NUM("issuing_ends_in_s", left_s),
	      EV_STR("text", "the operator's anchor has certified no more: writ rotate"));
}

static void
take_over(struct signer *s)
{
	struct generation *next;
	struct writ_err *err;

	while ((next = next_ready(s)) && s->now.wall >= due_at(s)) {
		err = become_current(s, next);
		if (!err)
			continue;
		event(EVENT_ALARM, "signer.not-rotated", EV_ERR(err));
		writ_err_free(err);
		return;
	}
}

void
rotation_housekeep(struct signer *s)
{
	destroy_over(s);
	make_ready(s);
	late_tell(s);
	operator_tell(s);
	take_over(s);
}

void
rotation_without(struct signer *s, struct generation *g)
{
	g->accepted_until = s->now.wall + GENERATION_OVERLAP_S; /* the gate says why it takes none */
	s->keys.next_make_ms = 0;
	if (g == s->keys.current) {
		make_ready(s);
		take_over(s);
	}
	s->keys.changes++;
	gate_learn(s);
}

/* Not one that is ready: after this command nothing is signed by a key that was there before it. */
static struct writ_err *
rotate_now(struct signer *s)
{
	struct generation *g;
	struct writ_err *err;

	if (s->keys.n >= GENERATIONS_FORCED_MAX)
		return writ_fail(
			WRIT_EXHAUSTED,
			"%zu generations are live, of %d that may be by this command: the oldest go %d s after "
			"they were replaced",
			s->keys.n, GENERATIONS_FORCED_MAX, GENERATION_AFTER_S);
	if (s->keys.current->cert.not_after >= s->keys.anchor.not_after)
		return writ_fail(WRIT_CONFLICT,
				 "the current generation ends with the anchor: a new one would not live longer");
	err = generation_make(s, s->now.wall, &g);
	return err ? err : become_current(s, g);
}

struct writ_err *
rotation_asked(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	err = entry_admin(s, "key-rotate", asked->by, writ_str(""));
	if (!err)
		err = rotate_now(s);
	if (err)
		return err;
	canon_hex(out, "key", (struct writ_bytes){ s->keys.current->cert.key_id, 20 });
	canon_int(out, "live", (int64_t)s->keys.n);
	canon_int(out, "number", (int64_t)s->keys.current->number);
	canon_text(out, "signs_until", writ_str(writ_time_rfc3339(s->keys.current->signs_until, text)));
	return NULL;
}
