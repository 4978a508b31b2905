/*
 * RUN/admin.sock: who may ask, what, and when.  See admin.h.
 *
 * (1) One connection at a time: others wait in the listen queue.  One that asks nothing for 10 s is ended.
 * (2) An answer waits for the group's fdatasync.						I2
 */
#include "issuer/signer/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/event.h"
#include "base/file.h"

#define IDLE_MS 10000

/* ---- what an operator may ask ---- */

static void
put_time(struct canon_out *out, const char *key, writ_time at)
{
	char text[WRIT_RFC3339_LEN + 1];

	canon_text(out, key, writ_str(writ_time_rfc3339(at, text)));
}

static struct writ_err *
on_status(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	AUTO(writ_err_freep) struct writ_err *blocked = issue_blocked(s);
	struct ledger_counts counts;
	char why[160] = "";

	(void)asked;
	if (blocked)
		writ_err_text(blocked, why, sizeof(why));
	ledger_count(s->ledger, &counts);
	canon_hex(out, "anchor", (struct writ_bytes){ s->keys.anchor.key_id, 20 });
	canon_bool(out, "can_issue", !blocked);
	canon_int(out, "clock_step_s", s->clock_ok ? 0 : s->guard.step_s);
	canon_text(out, "custody", s->keys.sealed ? WRIT_LIT("sealed") : WRIT_LIT("resident"));
	canon_text(out, "device", writ_str(signer_device_name(s->link.state.is)));
	canon_text(out, "device_last_error", writ_str(s->link.state.last_error));
	put_time(out, "device_since", s->link.state.since);
	canon_text(out, "device_why", writ_str(s->link.state.why));
	canon_int(out, "entries", (int64_t)journal_next(s->journal));
	canon_int(out, "issued_live", (int64_t)counts.issued);
	canon_int(out, "issuing_cas", (int64_t)s->keys.n);
	canon_int(out, "keys_quarantined", s->link.state.quarantined);
	canon_int(out, "owed", (int64_t)s->n_owed);
	canon_int(out, "revoked_live", (int64_t)counts.ended);
	canon_text(out, "tier", writ_str(leaf_tier_name(s->keys.tier)));
	canon_text(out, "trust_domain", writ_str(s->conf->trust_domain));
	canon_int(out, "waiting_for_device", (int64_t)(s->queue.n + s->link.outstanding));
	canon_text(out, "why", writ_str(why));
	return NULL;
}

/* `g` NULL: the anchor. */
static void
put_key(struct canon_out *out, const struct ca_cert *cert, const char *role, const struct generation *g)
{
	canon_object(out, NULL);
	canon_hex(out, "key", (struct writ_bytes){ cert->key_id, 20 });
	canon_text(out, "kind", writ_str(key_kind_name(cert->kind)));
	put_time(out, "not_after", cert->not_after);
	put_time(out, "not_before", cert->not_before);
	if (g)
		canon_int(out, "number", (int64_t)g->number);
	canon_text(out, "role", writ_str(role));
	canon_hex(out, "serial", cert->serial);
	if (g)
		put_time(out, "signs_until", g->signs_until);
	canon_end(out);
}

static const char *
role_of(const struct signer *s, const struct generation *g)
{
	if (g->revoked)
		return "revoked";
	return g == s->keys.current ? "issuing" : g->number > s->keys.current->number ? "ready" : "status";
}

static struct writ_err *
on_key_list(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	(void)asked;
	canon_array(out, "keys");
	put_key(out, &s->keys.anchor, "anchor", NULL);
	for (size_t i = 0; i < s->keys.n; i++)
		put_key(out, &s->keys.gen[i]->cert, role_of(s, s->keys.gen[i]), s->keys.gen[i]);
	canon_end(out);
	return NULL;
}

/* The operator has mended the cause: whatever locked the device or a key is forgotten, and it is tried once (I12). */
static struct writ_err *
on_resume(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	const struct device_state *st = &s->link.state;
	char was[sizeof(st->why)];
	struct writ_err *err;

	if (st->is != SIGNER_DEVICE_LOCKED && st->quarantined == 0) {
		canon_bool(out, "was_locked", false);
		return NULL;
	}
	memcpy(was, st->is == SIGNER_DEVICE_LOCKED ? st->why : st->quarantine_why, sizeof(was));
	err = entry_admin(s, "resume", asked->by, writ_str(was));
	if (err)
		return err;
	event(EVENT_INFO, "signer.resumed", EV_NUM("uid", asked->by), EV_STR("was", was));
	device_resume(s);
	canon_text(out, "was", writ_str(was));
	canon_bool(out, "was_locked", true);
	return NULL;
}

/* The operator says what time it is; so a word typed yesterday, or for another machine, accepts nothing. */
static struct writ_err *
on_clock(struct signer *s, const struct admin_asked *asked, struct canon_out *out)
{
	const struct clock seen = clock_read();
	struct body_in in = body_read(asked->body);
	const writ_time said = (writ_time)body_get64(&in);
	const int64_t step_s = s->guard.step_s;
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	if (!body_done(&in))
		return writ_fail(WRIT_INVALID, "CLOCK: a body of %zu bytes, wanted is a time of 8", asked->body.len);
	if (s->clock_ok)
		return writ_fail(WRIT_CONFLICT, "the clock is right: there is nothing to accept");
	if (said < seen.wall - ADMIN_CLOCK_SLACK_S || said > seen.wall + ADMIN_CLOCK_SLACK_S)
		return writ_fail(WRIT_INVALID, "the clock says %s, more than %d s from what was said: look again",
				 writ_time_rfc3339(seen.wall, text), ADMIN_CLOCK_SLACK_S);
	err = entry_admin(s, "clock", asked->by, writ_str(writ_time_rfc3339(seen.wall, text)));
	if (err)
		return err;
	clock_guard_accept(&s->guard, seen);
	s->clock_accepted++;
	event(EVENT_ALARM, "signer.clock-accepted", EV_NUM("uid", asked->by), EV_NUM("step_s", step_s));
	put_time(out, "accepted", seen.wall);
	canon_int(out, "step_s", step_s);
	return NULL;
}

/*
 * `changes`: asked by a person who must be known by uid, and journalled; the rest only tells.
 * `beside`: a descriptor may come with it.
 * `early`: answered while the signer still waits for its device, at its start.
 * `clock`: refused while the clock is wrong, since what it makes would bear the wrong time.
 */
static const struct row {
	const char *name;
	admin_handler *handle;
	bool body, changes, clock, beside, early;
} rows[] = {
	[ADMIN_STATUS] = { .name = "STATUS", .handle = on_status, .early = true },
	[ADMIN_PCRS] = { .name = "PCRS", .handle = admin_pcrs, .early = true },
	[ADMIN_APPROVALS_RAISE] = { .name = "APPROVALS_RAISE", .handle = admin_approvals_raise, .changes = true },
	[ADMIN_KEY_LIST] = { .name = "KEY_LIST", .handle = on_key_list },
	[ADMIN_RESUME] = { .name = "RESUME", .handle = on_resume, .changes = true },
	[ADMIN_ATTEST] = { .name = "ATTEST", .handle = admin_attest, .body = true, .changes = true, .clock = true },
	[ADMIN_KEY_REVOKE] = { .name = "KEY_REVOKE", .handle = key_revoke_asked, .body = true, .changes = true },
	[ADMIN_KEY_ROTATE] = { .name = "KEY_ROTATE", .handle = rotation_asked, .changes = true, .clock = true },
	[ADMIN_CLOCK] = { .name = "CLOCK", .handle = on_clock, .body = true, .changes = true },
	[ADMIN_CERTIFY] = { .name = "CERTIFY", .handle = operator_asked, .body = true, .changes = true, .clock = true,
			    .beside = true },
};

static struct writ_err *
judge(struct signer *s, const struct frame *frame, int beside, const struct row **ret)
{
	const struct row *row = frame->type < N_OF(rows) ? &rows[frame->type] : NULL;

	if (!row || !row->handle)
		return writ_fail(WRIT_INVALID, "admin message type %u is none of ours", frame->type);
	if (!row->body && frame->body.len != 0)
		return writ_fail(WRIT_INVALID, "%s has no body, and %zu bytes came", row->name, frame->body.len);
	if (!row->beside && beside >= 0)
		return writ_fail(WRIT_INVALID, "%s takes no descriptor, and one came", row->name);
	if (!row->early && !s->keys.current)
		return writ_fail(WRIT_UNAVAILABLE, "%s: the signer has just started, and waits for its device: %s", row->name,
				 s->link.state.why[0] ? s->link.state.why : "it has not answered yet");
	if (row->changes && s->stop)
		return writ_fail(WRIT_UNAVAILABLE, "%s: the signer is stopping", row->name);
	if (row->clock && !s->clock_ok)
		return writ_fail(WRIT_LOCKED, "%s: the clock stepped by %lld s: first it must be right, or accepted",
				 row->name, (long long)s->guard.step_s);
	*ret = row;
	return NULL;
}

/* ---- the connection ---- */

static void
connection_end(struct signer *s)
{
	struct admin *admin = &s->admin;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->admin.listener };

	if (admin->sock < 0)
		return;
	close(admin->sock);
	admin->sock = -1;
	admin->answer_type = 0;
	writ_buf_clear(&admin->answer);
	(void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, admin->listener, &ev); /* (1) */
}

static struct writ_err *
peer_check(struct signer *s, int sock)
{
	struct writ_err *err = frame_peer(sock, &s->admin.peer);

	if (err)
		return err;
	if (s->admin.peer == 0 || s->admin.peer == geteuid() || s->admin.peer == s->uids.operator)
		return NULL;
	return writ_fail(WRIT_UNAUTHENTICATED, "uid %u is neither root nor the operator that users.operator names",
			 (unsigned)s->admin.peer);
}

void
admin_accept(struct signer *s)
{
	struct admin *admin = &s->admin;
	struct epoll_event off = { .events = 0, .data.ptr = &s->admin.listener };
	struct epoll_event on = { .events = EPOLLIN, .data.ptr = &s->admin.sock };
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	int sock;

	if (admin->sock >= 0)
		return;
	sock = accept4(admin->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0)
		return;
	err = peer_check(s, sock);
	if (!err && epoll_ctl(s->epoll, EPOLL_CTL_ADD, sock, &on) != 0)
		err = writ_fail_errno(errno, "watching an operator's connection");
	if (err) {
		event(EVENT_WARN, "signer.admin-refused", EV_NUM("uid", admin->peer), EV_ERR(err));
		close(sock);
		return;
	}
	admin->sock = sock;
	admin->heard_ms = s->now.mono_ms;
	(void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, admin->listener, &off); /* (1) */
}

static struct writ_err *
answer(struct signer *s, const struct frame *frame, int beside)
{
	struct admin *admin = &s->admin;
	struct canon_out out = canon_write(&admin->answer);
	const struct row *row = NULL;
	struct writ_err *err;

	err = judge(s, frame, beside, &row);
	if (err)
		return err;
	canon_object(&out, NULL);
	err = row->handle(s, &(struct admin_asked){ .by = admin->peer, .body = frame->body, .beside = beside }, &out);
	if (err)
		return err;
	canon_end(&out);
	admin->answer_type = (uint16_t)(frame->type | ADMIN_ANSWER);
	return canon_finish(&out);
}

void
admin_read(struct signer *s)
{
	struct admin *admin = &s->admin;
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	AUTO(file_closep) int beside = -1;
	struct writ_err *failed;
	uint8_t packet[FRAME_MAX];
	struct frame frame;

	if (admin->sock < 0)
		return;
	err = frame_receive(admin->sock, packet, &frame, &beside, 0);
	if (err || admin->answer_type != 0) { /* gone, or the next request before the answer */
		connection_end(s);
		return;
	}
	admin->heard_ms = s->now.mono_ms;
	admin->answer_id = frame.id;
	err = answer(s, &frame, beside);
	OPENSSL_cleanse(packet, sizeof(packet)); /* some carry a secret (I11) */
	if (!err)
		return;
	event(EVENT_WARN, "signer.admin-request-refused", EV_NUM("uid", admin->peer), EV_NUM("type", frame.type),
	      EV_ERR(err));
	writ_buf_clear(&admin->answer);
	failed = signer_error_write(err, &admin->answer);
	admin->answer_type = ADMIN_ERROR;
	if (failed)
		connection_end(s);
	writ_err_free(failed);
}

/* (2) */
void
admin_flush(struct signer *s)
{
	struct admin *admin = &s->admin;
	AUTO(file_closep) int beside = -1;
	struct writ_bytes body = writ_view(&admin->answer);
	struct writ_err *err = NULL;

	if (admin->sock < 0 || admin->answer_type == 0)
		return;
	journal_sync(s->journal); /* what it speaks of */
	if (body.len > FRAME_BODY_MAX) {
		err = file_memfd("writ-admin", body, &beside);
		body = (struct writ_bytes){ NULL, 0 };
	}
	if (!err)
		err = frame_send(admin->sock, admin->answer_type, admin->answer_id, body, beside, 0);
	admin->answer_type = 0;
	writ_buf_clear(&admin->answer);
	if (err)
		connection_end(s);
	writ_err_free(err);
}

void
admin_tick(struct signer *s)
{
	if (s->admin.sock >= 0 && s->now.mono_ms - s->admin.heard_ms > IDLE_MS)
		connection_end(s);
}

struct writ_err *
admin_open(struct signer *s, int listener)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->admin.listener };

	s->admin.listener = listener;
	s->admin.answer = WRIT_BUF(ADMIN_ANSWER_MAX);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, listener, &ev) != 0)
		return writ_fail_errno(errno, "watching the operators' socket");
	return NULL;
}

void
admin_done(struct signer *s)
{
	if (s->admin.sock >= 0)
		close(s->admin.sock);
	if (s->admin.listener >= 0)
		close(s->admin.listener);
	writ_buf_done(&s->admin.answer);
}
