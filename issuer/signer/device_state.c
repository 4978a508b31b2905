/*
 * How the device is.  Terms and invariants: device_state.h.
 */
#include "issuer/signer/device_state.h"

#include <stdio.h>

#include "base/event.h"

static void
set(struct device_state *st, struct clock now, enum signer_device is, const char *why)
{
	if (st->is != is)
		st->since = now.wall;
	st->is = is;
	snprintf(st->why, sizeof(st->why), "%s", why);
}

/* Up or degraded, by what is known. */
static void
judge(struct device_state *st, struct clock now)
{
	if (!device_state_asked(st))
		return;
	if (st->failures > 0 || st->missed > 0)
		set(st, now, SIGNER_DEVICE_DEGRADED, st->last_error);
	else if (st->quarantined > 0)
		set(st, now, SIGNER_DEVICE_DEGRADED, st->quarantine_why);
	else if (st->slow)
		set(st, now, SIGNER_DEVICE_DEGRADED, "its answers are slow");
	else
		set(st, now, SIGNER_DEVICE_UP, "");
}

void
device_state_heard(struct device_state *st, struct clock now, int64_t took_ms)
{
	st->slow = took_ms >= DEVICE_SLOW_MS;
	if (st->latency_us == 0)
		st->latency_us = took_ms * 1000;
	else
		st->latency_us += (took_ms * 1000 - st->latency_us) / 4;
	judge(st, now);
}

void
device_state_worked(struct device_state *st, struct clock now)
{
	st->failures = 0;
	judge(st, now);
}

bool
device_state_silent(struct device_state *st, struct clock now, int64_t waited_ms)
{
	st->slow = st->slow || waited_ms >= DEVICE_SLOW_MS;
	judge(st, now);
	return waited_ms >= DEVICE_PULSE_LIMIT_MS;
}

bool
device_state_failed(struct device_state *st, struct clock now, const struct writ_err *err)
{
	writ_err_text(err, st->last_error, sizeof(st->last_error));
	st->failures++;
	st->failed++;
	judge(st, now);
	return st->failures >= DEVICE_FAILURES_MAX;
}

bool
device_state_missed(struct device_state *st, struct clock now, const struct writ_err *err)
{
	writ_err_text(err, st->last_error, sizeof(st->last_error));
	st->missed++;
	st->failed++;
	judge(st, now);
	return st->missed >= DEVICE_FAILURES_MAX;
}

void
device_state_beat(struct device_state *st, struct clock now)
{
	st->missed = 0;
	judge(st, now);
}

/* (1), (3) */
void
device_state_lost(struct device_state *st, struct clock now, const struct writ_err *err)
{
	if (st->is == SIGNER_DEVICE_LOCKED)
		return;
	writ_err_text(err, st->last_error, sizeof(st->last_error));
	st->failed++;
	st->failures = st->missed = 0;
	st->slow = false;
	set(st, now, err->code == WRIT_LOCKED ? SIGNER_DEVICE_LOCKED : SIGNER_DEVICE_DOWN, st->last_error);
	if (st->delay_ms == 0)
		st->delay_ms = DEVICE_RETRY_FIRST_MS;
	else if (2 * st->delay_ms < DEVICE_RETRY_MAX_MS)
		st->delay_ms *= 2;
	else
		st->delay_ms = DEVICE_RETRY_MAX_MS;
	st->next_try_ms = now.mono_ms + st->delay_ms;
}

void
device_state_opened(struct device_state *st, struct clock now, unsigned n_quarantined, const char *why)
{
	st->failures = st->missed = 0;
	st->slow = false;
	st->delay_ms = 0;
	st->due_told_s = 0;
	st->quarantined = n_quarantined;
	snprintf(st->quarantine_why, sizeof(st->quarantine_why), "%s", why);
	set(st, now, SIGNER_DEVICE_UP, "");
	judge(st, now);
}

void
device_state_quarantined(struct device_state *st, struct clock now, const char *why)
{
	st->quarantined++;
	snprintf(st->quarantine_why, sizeof(st->quarantine_why), "%s", why);
	judge(st, now);
}

static void
try_again(struct device_state *st, struct clock now, const char *why)
{
	st->failures = st->missed = 0;
	st->delay_ms = 0;
	st->next_try_ms = now.mono_ms;
	set(st, now, SIGNER_DEVICE_DOWN, why);
}

void
device_state_resume(struct device_state *st, struct clock now)
{
	st->quarantined = 0;
	st->quarantine_why[0] = '\0';
	try_again(st, now, "an operator had it tried again");
}

void
device_state_still_locked(struct device_state *st, const struct writ_err *err)
{
	writ_err_text(err, st->last_error, sizeof(st->last_error));
	snprintf(st->why, sizeof(st->why), "%s", st->last_error);
}

void
device_state_lifted(struct device_state *st, struct clock now)
{
	try_again(st, now, "it lifted its lock: what locked it has changed");
}

void
device_state_due(struct device_state *st, int64_t left_s, int64_t life_s)
{
	const int64_t limit_s = st->due_told_s > 0 ? st->due_told_s : life_s;

	if (device_state_asked(st) || left_s > limit_s / 2)
		return;
	st->due_told_s = left_s > 1 ? left_s : 1;
	event(EVENT_ALARM, "device.needed", EV_STR("state", signer_device_name(st->is)), EV_STR("why", st->why),
	      EV_NUM("issuing_ends_in_s", left_s),
	      EV_STR("text", "without the device no new issuing key is certified: then issuing ends"));
}

void
device_state_tell(struct device_state *st)
{
	static const char *const events[] = { [SIGNER_DEVICE_DOWN] = "device.down",
					      [SIGNER_DEVICE_UP] = "device.up",
					      [SIGNER_DEVICE_DEGRADED] = "device.degraded",
					      [SIGNER_DEVICE_LOCKED] = "device.locked" };
	static const enum event_level levels[] = { [SIGNER_DEVICE_DOWN] = EVENT_WARN,
						   [SIGNER_DEVICE_UP] = EVENT_INFO,
						   [SIGNER_DEVICE_DEGRADED] = EVENT_WARN,
						   [SIGNER_DEVICE_LOCKED] = EVENT_ALARM };

	if (st->any_told && st->told == st->is)
		return;
	st->any_told = true;
	st->told = st->is;
	event(levels[st->is], events[st->is], EV_STR("why", st->why), EV_NUM("failed", st->failed),
	      EV_NUM("latency_ms", st->latency_us / 1000), EV_NUM("quarantined", st->quarantined));
}
