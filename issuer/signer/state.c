/*
 * Is this state directory the newest one?  The device's counter 'state' is raised at a start and with each generation
 * of issuing keys, and the journal says to what: whoever restores an older copy has a journal that lags behind the
 * counter.
 *
 * (1) A value is journalled as meant, durably, before the counter is raised to it, and as reached after.
 * (2) The counter is where the journal's last value says; or one before it, if that value was only meant: the process
 * or the machine stopped between the two, and the raise is made good before anything else. (3) Counter ahead: the state
 * is an older copy.  Counter behind, or none: the device is an older copy of itself, or another.  Both are refused, and
 * nothing is raised or journalled by a start that is refused. (4) A TPM's counter wears.  A start does not raise when
 * STATE_STARTS starts of the last hour did: a service that fails and starts for months costs the counter some 400
 * raises a day, of 100,000 and more that it is good for.
 *
 * What it does not see: a copy made since the last raise is as good as the newest.  So what a restore can undo
 * unnoticed is at most what happened since the last start or generation (custody.rotation_s), and after (4) since the
 * last raise.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/event.h"
#include "base/fault.h"
#include "issuer/signer/signer.h"

#define HOUR_S 3600

void
state_replay(struct state_count *count, const struct entry *e)
{
	count->value = writ_get64(e->serial + 8);
	count->reached = e->reason == STATE_REACHED;
	if (count->reached)
		count->raised_at[count->n_raised++ % STATE_STARTS] = e->time;
}

static struct writ_err *
old_copy(const struct signer *s, uint64_t device)
{
	struct writ_err *err =
		writ_fail(WRIT_LOCKED, "an older copy was restored, or the journal lost its end: what was issued and "
				       "revoked since is not known here. Bring the newest state back, or, when there "
				       "is none, `writ restore --accept-loss`");

	return writ_because(err,
			    "the state %.60s is not the newest: its journal ends at %" PRIu64
			    ", and the device's counter 'state' is at %" PRIu64,
			    s->conf->state, s->state.value, device);
}

static struct writ_err *
old_device(const struct signer *s, const char *device)
{
	struct writ_err *err =
		writ_fail(WRIT_LOCKED, "the device was set back to an older copy of its own memory, was cleared, or is "
				       "another one: in an old copy destroyed keys live again. Bring the right device "
				       "back");

	return writ_because(err, "the device's counter 'state' %s, and the journal of %.60s has reached %" PRIu64,
			    device, s->conf->state, s->state.value);
}

/* What the device says; the counter is made when the journal knows of none. */
static struct writ_err *
counter_look(struct signer *s, uint64_t *ret)
{
	struct writ_err *err = s->state.value == 0 ? device_counter_make(s->link.device, COUNTER_STATE, ret)
						   : device_counter_read(s->link.device, COUNTER_STATE, ret);

	if (!err)
		return NULL;
	if (err->code != WRIT_NOT_FOUND)
		return device_failed(s, err);
	writ_err_free(err);
	return old_device(s, "is not there");
}

/* (2), (3) */
static struct writ_err *
compare(struct signer *s, uint64_t device)
{
	char is[40];

	if (device > s->state.value)
		return old_copy(s, device);
	if (device == s->state.value || (device + 1 == s->state.value && !s->state.reached))
		return NULL;
	snprintf(is, sizeof(is), "is at %" PRIu64, device);
	return old_device(s, is);
}

static struct writ_err *
journalled(struct signer *s, enum state_event what, uint64_t value, const char *why)
{
	struct writ_err *err = entry_state(s, what, value, why);

	if (err)
		return err;
	journal_sync(s->journal);
	s->state.value = value;
	s->state.reached = what == STATE_REACHED;
	return NULL;
}

static struct writ_err *
raise_to(struct signer *s, uint64_t value, const char *why)
{
	struct writ_err *err;
	uint64_t reached;

	FAULT("state:meant");
	err = device_counter_raise(s->link.device, COUNTER_STATE, &reached);
	if (err)
		return device_failed(s, err);
	FAULT("state:raised");
	if (reached != value)
		return writ_fail(WRIT_LOCKED,
				 "the device's counter 'state' came to %" PRIu64 " where %" PRIu64
				 " was next: somebody else raises it",
				 reached, value);
	s->state.raised = true;
	err = journalled(s, STATE_REACHED, value, why);
	if (!err)
		s->state.raised_at[s->state.n_raised++ % STATE_STARTS] = s->now.wall;
	return err;
}

struct writ_err *
state_is_newest(struct signer *s)
{
	struct writ_err *err;
	uint64_t device;

	if (s->state.value == 0) {
		/* Of before there were entries of it; a counter that is there already has another state's value. */
		err = device_counter_read(s->link.device, COUNTER_STATE, &device);
		if (!err)
			return old_copy(s, device);
		if (err->code != WRIT_NOT_FOUND)
			return device_failed(s, err);
		writ_err_free(err);
		return NULL;
	}
	err = counter_look(s, &device);
	return err ? err : compare(s, device);
}

struct writ_err *
state_raise(struct signer *s, const char *why)
{
	struct writ_err *err;
	uint64_t device;

	resident_drain(s);
	err = device_must(s);
	if (!err)
		err = counter_look(s, &device);
	if (err)
		return err;
	if (s->state.value == 0) /* the ceremony's; whatever the device counted for states before this one */
		s->state.value = device;
	err = compare(s, device);
	if (!err && device < s->state.value)
		err = raise_to(s, s->state.value, why);
	if (!err)
		err = journalled(s, STATE_MEANT, s->state.value + 1, why);
	return err ? err : raise_to(s, s->state.value, why);
}

struct writ_err *
state_accept(struct signer *s, uint64_t device)
{
	struct writ_err *err = journalled(s, STATE_REACHED, device, "accept-loss");

	return err ? err : state_raise(s, "accept-loss");
}

/* (4) */
static bool
start_may_raise(const struct signer *s)
{
	const struct state_count *count = &s->state;

	return count->n_raised < STATE_STARTS ||
	       s->now.wall - count->raised_at[count->n_raised % STATE_STARTS] >= HOUR_S;
}

struct writ_err *
state_start(struct signer *s)
{
	if (s->state.raised) /* a generation was due */
		return NULL;
	if (s->state.reached && !start_may_raise(s)) {
		event(EVENT_WARN, "signer.state-not-counted", EV_NUM("counter", s->state.value),
		      EV_STR("why", "too many starts within an hour: the counter wears"));
		return NULL;
	}
	return state_raise(s, "start");
}
