/*
 * `custody.anchor: operator`: the PIN of the anchor's token is not on this host.  It is in use while an operator's
 * command has a device process of its own open with it (issuer/cli/operator.h) and has handed over the connection: at
 * `writ init`, and at `writ rotate`, which has the anchor certify generations ahead, one after the other, and sign a
 * list that lasts as long as they do.  Between two of these commands nothing here can make the anchor sign.
 *
 * (1) The connection is given up when the work is done, fails, or the command is gone: no PIN was ever here.
 * (2) One generation a wake-up of the loop, so that leaves and statuses go on meanwhile.
 * (3) What the anchor signs is verified, as what any device signs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/event.h"
#include "issuer/signer/admin.h"

/* ---- the anchor, wherever it is ---- */

struct device *
anchor_device(const struct signer *s)
{
	return s->conf->custody.operator? s->operator.device : s->link.device;
}

bool
anchor_ready(struct signer *s)
{
	return s->conf->custody.operator? s->operator.device != NULL : device_ready(s);
}

struct writ_err *
anchor_away(const struct signer *s)
{
	if (!s->conf->custody.operator)
		return device_away(s);
	return writ_fail(WRIT_UNAVAILABLE,
			 "the anchor is an operator's: it signs while writ rotate runs, and now nobody does");
}

uint32_t *
anchor_handle(struct signer *s)
{
	return s->conf->custody.operator? &s->operator.handle : & s->keys.anchor_handle;
}

struct writ_err *
anchor_load(struct signer *s)
{
	struct device *device = anchor_device(s);

	if (!device)
		return anchor_away(s);
	return device_load(device, writ_view(&s->keys.anchor_ref), s->keys.anchor.spki, anchor_handle(s));
}

/* (3) */
struct writ_err *
operator_sign(struct signer *s, struct writ_bytes message, struct writ_buf *ret_sig)
{
	struct writ_err *err;

	if (!s->operator.device)
		return anchor_away(s);
	err = device_sign(s->operator.device, s->operator.handle, message, ret_sig);
	if (!err)
		err = pubkey_verify(&s->keys.anchor_public, message, writ_view(ret_sig));
	return err ? writ_because(err, "the anchor's device") : NULL;
}

/* ---- the connection ---- */

/* A tier is what all of its signatures are: an anchor in a program makes everything below it software. */
static struct writ_err *
tier_check(const struct signer *s, struct device *device)
{
	struct custody_info info;
	struct writ_err *err = device_info(device, &info);

	if (!err && info.software && s->keys.tier != LEAF_TIER_SOFTWARE)
		err = writ_fail(
			WRIT_LOCKED,
			"the anchor's device %s %s is a program, and certificates say %s: a tier never falls back",
			info.maker, info.model, leaf_tier_name(s->keys.tier));
	return err;
}

/* Takes the descriptor. */
struct writ_err *
operator_take(struct signer *s, int fd)
{
	struct writ_err *err =
		fd < 0 ? writ_fail(WRIT_EXHAUSTED, "no descriptor for it") : device_adopt(fd, &s->operator.device);

	if (err && fd < 0)
		return err;
	if (err) {
		close(fd);
		return err;
	}
	err = tier_check(s, s->operator.device);
	if (err)
		operator_drop(s);
	return err ? writ_because(err, "the anchor's device") : NULL;
}

/* (1) */
void
operator_drop(struct signer *s)
{
	device_close(s->operator.device);
	s->operator.device = NULL;
}

/* ---- writ rotate ---- */

static void
put_progress(const struct signer *s, struct canon_out *out)
{
	char text[WRIT_RFC3339_LEN + 1];

	canon_int(out, "certified", (int64_t)(s->operator.wanted - s->operator.left));
	canon_text(out, "crl_until", writ_str(writ_time_rfc3339(s->keys.anchor_crl.is.next_update, text)));
	canon_bool(out, "done", !s->operator.device);
	canon_text(out, "issuing_until", writ_str(writ_time_rfc3339(rotation_ends(s), text)));
	canon_text(out, "why", writ_str(s->operator.why));
}

static struct writ_err *
begin(struct signer *s, const struct admin_asked *asked)
{
	struct body_in in = body_read(asked->body);
	const uint32_t n = body_get32(&in);
	char text[40];
	struct writ_err *err;

	if (!body_done(&in) || n == 0 || asked->beside < 0)
		return writ_fail(WRIT_INVALID, "CERTIFY: wanted are a number of generations from 1 on and a connection "
					       "to the anchor's device");
	if (s->operator.device)
		return writ_fail(WRIT_CONFLICT, "another writ rotate is at work");
	if (s->keys.n + n > GENERATIONS_FORCED_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%zu generations are live, and %u more would be over the limit of %d",
				 s->keys.n, n, GENERATIONS_FORCED_MAX);
	snprintf(text, sizeof(text), "%u generations", n);
	err = entry_admin(s, "certify", asked->by, writ_str(text));
	if (!err)
		err = operator_take(s, fcntl(asked->beside, F_DUPFD_CLOEXEC, 3));
	if (err)
		return err;
	err = anchor_load(s);
	if (err) {
		operator_drop(s);
		return err;
	}
	s->operator.wanted = s->operator.left = n;
	s->operator.heard_ms = s->now.mono_ms;
	s->operator.why[0] = '\0';
	return NULL;
}

struct writ_err *
operator_asked(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	struct writ_err *err = NULL;

	if (!s->conf->custody.operator)
		return writ_fail(WRIT_CONFLICT,
				 "custody.anchor is device: generations come by themselves, and at once by "
				 "writ key rotate");
	if (asked->body.len > 0 || asked->beside >= 0)
		err = begin(s, asked);
	s->operator.heard_ms = s->now.mono_ms;
	if (!err)
		put_progress(s, out);
	return err;
}

/* (2) */
static struct writ_err *
step(struct signer *s)
{
	const writ_time ends = rotation_ends(s);
	const struct crl_made *made;
	struct generation *g;
	struct writ_err *err;

	if (s->now.mono_ms - s->operator.heard_ms> OPERATOR_GONE_MS)
		return writ_fail(WRIT_UNAVAILABLE, "writ rotate is gone");
	if (s->operator.left> 0) {
		err = generation_make(s, ends > s->now.wall ? ends : s->now.wall, &g);
		if (!err)
			s->operator.left--;
		return err;
	}
	s->operator.list_due = true;
	err = publish_anchor_crl(s, &made);
	s->operator.list_due = false;
	if (!err && made->is.next_update < rotation_ends(s))
		err = writ_fail(WRIT_UNAVAILABLE, "the anchor's list was not renewed: see the events");
	if (!err) {
		event(EVENT_INFO, "signer.certified-ahead", EV_NUM("generations", s->operator.wanted),
		      EV_NUM("issuing_until", rotation_ends(s)));
		operator_drop(s);
	}
	return err;
}

void
operator_step(struct signer *s)
{
	struct writ_err *err;

	if (!s->operator.device || s->operator.wanted == 0)
		return;
	err = step(s);
	if (!err)
		return;
	writ_err_text(err, s->operator.why, sizeof(s->operator.why));
	event(EVENT_ALARM, "signer.not-certified", EV_NUM("left", s->operator.left), EV_ERR(err));
	writ_err_free(err);
	operator_drop(s);
}
