/*
 * Giving up what a restored state does not know: `writ restore --accept-loss`, with the service stopped.
 *
 * A state that is older than the device's counter says (state.c) is refused at a start, since what was issued and
 * revoked after the copy is unknown.  When nothing newer exists, an operator accepts that, and all that it could still
 * vouch for wrongly ends here: every issuing CA of the state goes into the anchor's list, and the device destroys what
 * it sealed for them and for those that were made after the copy.  The anchor stays; the next start makes a new issuing
 * key.
 *
 * (1) Order: the journal's word of it, the revocations, the counter 'sealed', the files, the anchor's list; the counter
 *     'state' last.  Killed anywhere in between, it is simply asked again: until the end a start is refused as before.
 * (2) Generations made after the copy are known by number only: as many as the counter 'state' went on by, at most.
 * What was sealed for them is destroyed all the same; their certificates cannot be listed, and expire by themselves.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"
#include "base/file.h"
#include "issuer/signer/signer.h"

#define DEVICE_WAIT_MS 15000
#define REASON REASON_CESSATION_OF_OPERATION

WRIT_PRINTF(1, 2) static void tell(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* Only what is older than the device is given up, and nothing else is done by this command. */
static struct writ_err *
loss_look(struct signer *s, uint64_t *ret_device)
{
	struct writ_err *err = device_counter_read(s->link.device, COUNTER_STATE, ret_device);

	if (err)
		return writ_because(device_failed(s, err), "the device that counted for this state");
	if (s->state.value == 0 || *ret_device > s->state.value)
		return NULL;
	return writ_fail(WRIT_CONFLICT,
			 "the journal ends at %" PRIu64 ", and the device's counter 'state' is at %" PRIu64
			 ": this state is no older than the device, there is nothing to give up",
			 s->state.value, *ret_device);
}

static struct writ_err *
revoke_all(struct signer *s, uid_t by)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; !err && i < s->keys.n; i++)
		if (!s->keys.gen[i]->revoked)
			err = key_revoke(s, s->keys.gen[i], REASON, by);
	return err;
}

/* What was sealed for the state's generations, and for as many after them as there may have been (2). */
static struct writ_err *
destroy_unknown(struct signer *s, uint64_t newest, uint64_t lost)
{
	const uint64_t last = newest + lost;
	struct writ_err *err;
	uint64_t at;

	if (!s->keys.sealed)
		return NULL;
	err = device_counter_make(s->link.device, COUNTER_SEALED, &at);
	while (!err && at <= last) {
		const uint64_t step = last - at > CUSTODY_AHEAD_MAX ? at + CUSTODY_AHEAD_MAX : last;

		err = device_destroy(s->link.device, step);
		at = step + 1;
	}
	if (err)
		return device_failed(s, err);
	tell("destroyed: what the device sealed under numbers up to %" PRIu64, last);
	return NULL;
}

static struct writ_err *
give_up(struct signer *s, uint64_t device, uid_t by)
{
	const uint64_t newest = s->keys.n > 0 ? s->keys.gen[0]->number : 0;
	const uint64_t lost = s->state.value > 0 ? device - s->state.value : CUSTODY_AHEAD_MAX;
	const struct crl_made *made;
	char detail[80];
	struct writ_err *err;

	snprintf(detail, sizeof(detail), "the journal ended at %" PRIu64 ", the counter was at %" PRIu64,
		 s->state.value, device);
	err = entry_admin(s, "accept-loss", by, writ_str(detail));
	if (err)
		return err;
	journal_sync(s->journal); /* (1) */
	err = revoke_all(s, by);
	if (err)
		return err;
	FAULT("restore:revoked");
	tell("revoked: %zu issuing CAs of this state", s->keys.n);
	err = destroy_unknown(s, newest, lost);
	if (!err && s->keys.n > 0)
		err = generations_destroy(s, s->keys.n);
	if (!err)
		err = publish_anchor_crl(s, &made);
	if (err)
		return err;
	tell("anchor CRL: number %" PRIu64, made->is.number);
	FAULT("restore:listed");
	return state_accept(s, device);
}

struct writ_err *
restore_run(struct signer *s, const struct conf *conf, uid_t by)
{
	char path[PATH_MAX];
	uint64_t device = 0;
	struct writ_err *err;

	err = signer_init(s, conf);
	if (!err && access(conf_path(conf->state, "VERSION", path), F_OK) != 0)
		err = writ_fail(WRIT_NOT_FOUND, "%s is not initialised: there is nothing to restore in it",
				conf->state);
	if (!err && conf->custody.operator)
		err = writ_fail(WRIT_INVALID,
				"the anchor is an operator's, and its list has to be signed here: with anchor: "
				"operator a state is not restored this way. Make a new one (Lost anchor)");
	if (!err)
		err = replay_open(s); /* a running service has it locked */
	if (!err)
		err = keys_read_anchor(s);
	if (!err)
		err = signer_device_wait(s, DEVICE_WAIT_MS);
	if (!err)
		err = loss_look(s, &device);
	if (err)
		return err;
	tell("state: %s, its journal ends at %" PRIu64 "; the device's counter is at %" PRIu64, conf->state,
	     s->state.value, device);
	s->keys.without_secrets = true;
	err = soft_key_make(&s->keys.ocsp, NULL); /* the gate's facts name it; nothing is signed with it */
	if (!err)
		err = generations_load(s);
	if (!err)
		err = publish_anchor_crl_load(s);
	if (!err)
		err = give_up(s, device, by);
	if (err)
		return err;
	journal_sync(s->journal);
	tell("accepted: what was issued after this copy is given up; the next start makes a new issuing key");
	return NULL;
}
