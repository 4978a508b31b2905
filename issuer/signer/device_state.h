/*
 * How the device is, as the signer saw it; the circuit breaker before it.
 *
 *	up		it answers in time
 *	degraded	it answers, but slowly; or its last requests failed; or a key in it is quarantined
 *	down		nobody asks it: it is away, or the breaker is open.  At `next_try_ms` a connection is opened,
 *which ends in each of our keys signing a text: only then is it up
 *	locked		it refused to authenticate, broke a promise or is another one: an operator must help
 *
 * (1) locked ends by device_state_resume() alone, and by device_state_lifted() when the device says so itself.	I12
 * (2) DEVICE_FAILURES_MAX failures in a row, or DEVICE_PULSE_LIMIT_MS without an answer, open the breaker; a success
 *forgets earlier failures. (3) Back-off between tries doubles from 100 to 500 ms, so that a device that is back is
 *found at once, and starts over when the device has been up. (4) A state is told, as an event, when it differs from the
 *one told last. Time is a parameter; no I/O but the event.  Knows no connection and no key.
 */
#ifndef WRIT_ISSUER_SIGNER_DEVICE_STATE_H
#define WRIT_ISSUER_SIGNER_DEVICE_STATE_H

#include "base/clock.h"
#include "base/err.h"
#include "issuer/signer/wire.h"

#define DEVICE_FAILURES_MAX 3
#define DEVICE_SLOW_MS 1500	   /* more than twice what 19 in 20 signatures of real TPMs take */
#define DEVICE_PULSE_LIMIT_MS 3000 /* without an answer to a question after its health */
#define DEVICE_RETRY_FIRST_MS 100
#define DEVICE_RETRY_MAX_MS 500

struct device_state {
	enum signer_device is, told;
	bool any_told;
	writ_time since;
	char why[160];	      /* of `is`; empty while up */
	char last_error[160]; /* stays when it is up again */
	unsigned failures;    /* of requests, in a row, */
	unsigned missed;      /* and of questions after its health */
	uint64_t failed;      /* since the start */
	int64_t latency_us;   /* of answers, the last ones counting most */
	bool slow;
	unsigned quarantined; /* keys */
	char quarantine_why[160];
	int64_t next_try_ms; /* monotonic */
	int64_t delay_ms;
	int64_t due_told_s; /* what was left of the issuing certificate at the last alarm; 0: none yet */
};

/* An answer after `took_ms`; an answer is not yet a success of a request. */
void device_state_heard(struct device_state *, struct clock, int64_t took_ms);

/* A request succeeded. */
void device_state_worked(struct device_state *, struct clock);

/* No answer for so long.  True: the breaker opens, so the connection is to be given up (device_state_lost()). */
WRIT_CHECKED bool device_state_silent(struct device_state *, struct clock, int64_t waited_ms);

/* A request failed, the connection did not.  True: as above. */
bool device_state_failed(struct device_state *, struct clock, const struct writ_err *);

/* So for a question after its health, and its success. */
WRIT_CHECKED bool device_state_missed(struct device_state *, struct clock, const struct writ_err *);
void device_state_beat(struct device_state *, struct clock);

/* The connection is gone, or given up: down; locked when that is what the error says. */
void device_state_lost(struct device_state *, struct clock, const struct writ_err *);

/* A connection is open, and the keys have signed; `n` of them are quarantined, the last one for this reason. */
void device_state_opened(struct device_state *, struct clock, unsigned n_quarantined, const char *why);

/* One more key is quarantined. */
void device_state_quarantined(struct device_state *, struct clock, const char *why);

/* An operator mended the cause: it may be tried, once, now. */
void device_state_resume(struct device_state *, struct clock);

/* It lifted its lock by itself: it may be opened.  It did not, and says why, which may be another reason by now. */
void device_state_lifted(struct device_state *, struct clock);
void device_state_still_locked(struct device_state *, const struct writ_err *);

/*
 * An alarm when the device is not there and issuing will end for want of it: at half of the issuing certificate's life,
 * and at each further half of what was left.  `left_s` of `life_s`.
 */
void device_state_due(struct device_state *, int64_t left_s, int64_t life_s);

/* Has an event of the state, if it changed (4). */
void device_state_tell(struct device_state *);

static inline bool
device_state_asked(const struct device_state *st)
{
	return st->is == SIGNER_DEVICE_UP || st->is == SIGNER_DEVICE_DEGRADED;
}

#endif
