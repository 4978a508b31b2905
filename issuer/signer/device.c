/*
 * The connection to writ-deviced: it comes and goes, and nobody waits for it.
 *
 * Each connection opens with the question whether the device is there; what it then says of itself decides the tier, and
 * the anchor and the keys of the resident tier are loaded anew, since handles die with the connection.
 *
 * (1) WRIT_LOCKED of the device is never tried again; a tier never falls back.			I12
 */
#include <errno.h>
#include <pwd.h>
#include <sys/epoll.h>

#include "base/event.h"
#include "issuer/signer/signer.h"

#define RETRY_MAX_MS 2000 /* between two attempts to reach the device */

void
device_lost(struct signer *s, struct writ_err *why)
{
	struct device_link *link = &s->link;

	writ_err_text(why, link->why, sizeof(link->why));
	link->locked = link->locked || why->code == WRIT_LOCKED;
	event(link->locked ? EVENT_ALARM : EVENT_WARN, "signer.device-away", EV_ERR(why),
	      EV_FLAG("locked", link->locked));
	writ_err_free(why);
	device_close(link->device);
	device_close(link->coming);
	link->device = link->coming = NULL;
	link->outstanding = 0;
	link->delay_ms = link->delay_ms == 0		     ? 100
			 : link->delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS
							     : link->delay_ms * 2;
	link->next_try_ms = s->now.mono_ms + link->delay_ms;
}

static struct writ_err *
user_uid(const char *name, uid_t *ret)
{
	const struct passwd *user;

	*ret = (uid_t)-1;
	if (!name)
		return NULL;
	user = getpwnam(name);
	if (!user)
		return writ_fail(WRIT_INVALID, "users: there is no user %s on this machine", name);
	*ret = user->pw_uid;
	return NULL;
}

/* What certificates assert is what is seen here, never what is configured. */
static struct writ_err *
tier_see(struct signer *s, struct device *device)
{
	struct custody_info info;
	struct writ_err *err = device_info(device, &info);
	enum leaf_tier seen;

	if (err)
		return err;
	s->keys.sealed = s->conf->custody.tier == TIER_SEALED;
	seen = info.software ? LEAF_TIER_SOFTWARE : s->keys.sealed ? LEAF_TIER_SEALED : LEAF_TIER_RESIDENT;
	if (s->keys.tier != 0 && s->keys.tier != seen)
		return writ_fail(
			WRIT_LOCKED,
			"the device makes this tier %s, and the issuing certificates say %s: a tier never falls back",
			leaf_tier_name(seen), leaf_tier_name(s->keys.tier));
	if (s->keys.sealed && !info.can_seal)
		return writ_fail(WRIT_LOCKED, "custody.tier is sealed, and device %s %s cannot seal", info.maker,
				 info.model);
	s->keys.tier = seen;
	return NULL;
}

static struct writ_err *
handles_load(struct signer *s, struct device *device)
{
	struct writ_err *err = NULL;

	if (s->keys.anchor_ref.len > 0 && s->keys.anchor.whole.len > 0)
		err = device_load(device, writ_view(&s->keys.anchor_ref), s->keys.anchor.spki, &s->keys.anchor_handle);
	for (size_t i = 0; !err && i < s->keys.n; i++)
		if (s->keys.gen[i]->ref.len > 0)
			err = device_load(device, writ_view(&s->keys.gen[i]->ref), s->keys.gen[i]->cert.spki,
					  &s->keys.gen[i]->handle);
	return err;
}

/* Connects and asks whether the device is there.  Whoever serves the socket may hang, so nobody waits for the answer:
 * the loop wakes up when it comes, or when the connection ends. */
static struct writ_err *
device_seek(struct signer *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->link };
	char path[PATH_MAX];
	struct writ_err *err;
	uid_t uid;

	err = user_uid(s->conf->users.device, &uid);
	if (!err)
		err = device_connect(conf_path(s->conf->run, "device.sock", path), uid, &s->link.coming);
	if (!err)
		err = device_knock(s->link.coming);
	if (!err && epoll_ctl(s->epoll, EPOLL_CTL_ADD, device_fd(s->link.coming), &ev) != 0)
		err = writ_fail_errno(errno, "watching the connection to writ-deviced");
	return err;
}

/* The rest is asked of a device that answers. */
static struct writ_err *
device_take(struct signer *s, bool *ret_here)
{
	struct writ_err *err = device_opened(s->link.coming, ret_here);

	if (err || !*ret_here)
		return err;
	err = tier_see(s, s->link.coming);
	return err ? err : handles_load(s, s->link.coming);
}

bool
device_ready(struct signer *s)
{
	struct writ_err *err = NULL;
	bool here = false;

	if (s->link.device)
		return true;
	if (s->link.locked || (!s->link.coming && s->now.mono_ms < s->link.next_try_ms))
		return false;
	if (!s->link.coming)
		err = device_seek(s);
	if (!err)
		err = device_take(s, &here);
	if (err)
		device_lost(s, err);
	if (err || !here)
		return false;
	s->link.device = TAKE(s->link.coming);
	s->link.delay_ms = 0;
	s->link.why[0] = '\0';
	event(EVENT_INFO, "signer.device-up", EV_STR("tier", leaf_tier_name(s->keys.tier)));
	return true;
}

/* Why it is not ready. */
struct writ_err *
device_away(const struct signer *s)
{
	return writ_fail(s->link.locked ? WRIT_LOCKED : WRIT_UNAVAILABLE, "the device is away: %s",
			 s->link.why[0] ? s->link.why : "writ-deviced has not answered yet");
}

struct writ_err *
device_must(struct signer *s)
{
	return device_ready(s) ? NULL : device_away(s);
}

/* A failure that may have left the connection unusable ends it; other refusals of the device are the request's own. */
struct writ_err *
device_failed(struct signer *s, struct writ_err *err)
{
	if (err->code == WRIT_UNAVAILABLE || err->code == WRIT_LOCKED)
		device_lost(s, writ_fail(err->code, "%s", err->message));
	return err;
}
