/*
 * The signer's loop: one issuer, a few connections, one group a wake-up.  Read this file first.
 *
 * A wake-up: read the clock; housekeeping once a second; take what each connection has sent, at most 64 frames of each;
 * judge every frame and journal it (issue.c and the handlers below); one fdatasync; sign; send. (1) Answers are queued
 * and leave only after the fdatasync of all that was journalled before them.			I2, I8 (2) What is
 * allowed when is the table `messages`; anything else is refused and noted. (3) A frame that is no frame ends its
 * connection: event and counter. (4) One issuer at a time: a second process is refused until the first one's
 * connections are gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fault.h"
#include "base/text.h"
#include "issuer/signer/signer.h"

#define CONNS_MAX 66			    /* 64 loop threads, store and control */
#define GATHER (SIGNER_OUTSTANDING_MAX + 1) /* one more than allowed, to see it */
#define PACKETS_MAX 256			    /* answers queued a connection: outstanding and refused, twice over */
#define OUT_MAX (PACKETS_MAX * FRAME_MAX)
#define DENIALS_BURST 100	/* deny entries at once, */
#define DENIALS_PER_S 10	/* and for long */
#define REVOKED_EARLIEST_S 1020 /* a revocation older than the longest life and its margins is dated here */
#define EVENTS_MAX 32
#define TICK_MS 1000
#define RETRY_MS 30000

struct packet {
	size_t at, len;
	int fd; /* owned; -1: none */
};

struct conn {
	int fd;
	pid_t pid;
	bool welcome;	      /* HELLO was said */
	bool same_conf;	      /* and its configuration is ours */
	bool dead, writing;   /* writing: the socket is full */
	unsigned outstanding; /* requests received whose answer has not been sent */
	struct writ_buf out;
	struct packet packets[PACKETS_MAX];
	size_t n_packets, sent;
};

/* ---- answers ---- */

void
conn_answer(struct signer *s, struct conn *conn, uint64_t id, enum signer_message type, struct writ_bytes body, int fd)
{
	struct writ_err *err;
	size_t at;

	(void)s;
	if (!conn || conn->dead) {
		if (fd >= 0)
			close(fd);
		return;
	}
	at = conn->out.len;
	err = conn->n_packets == PACKETS_MAX
		      ? writ_fail(WRIT_EXHAUSTED, "the issuer does not read its answers")
		      : frame_build(type == SIGNER_ERROR ? SIGNER_ERROR : (uint16_t)(type | SIGNER_ANSWER), id, body,
				    &conn->out);
	if (err) {
		event(EVENT_WARN, "signer.connection-dropped", EV_ERR(err));
		writ_err_free(err);
		conn->dead = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	conn->packets[conn->n_packets++] = (struct packet){ at, conn->out.len - at, fd };
}

void
conn_refuse(struct signer *s, struct conn *conn, uint64_t id, const struct writ_err *why)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct writ_err *err = signer_error_write(why, &body);

	if (!err)
		conn_answer(s, conn, id, SIGNER_ERROR, writ_view(&body), -1);
	writ_err_free(err);
}

static void
answer_empty(struct signer *s, struct conn *conn, uint64_t id, enum signer_message type)
{
	conn_answer(s, conn, id, type, (struct writ_bytes){ NULL, 0 }, -1);
}

struct control {
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))];
};

static void
message_fill(const struct conn *conn, const struct packet *packet, struct iovec *part, struct control *control,
	     struct msghdr *ret)
{
	struct cmsghdr *c;

	*part = (struct iovec){ conn->out.data + packet->at, packet->len };
	*ret = (struct msghdr){ .msg_iov = part, .msg_iovlen = 1 };
	if (packet->fd < 0)
		return;
	ret->msg_control = control->room;
	ret->msg_controllen = sizeof(control->room);
	c = CMSG_FIRSTHDR(ret);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &packet->fd, sizeof(int));
}

static void
conn_watch(struct signer *s, struct conn *conn, bool writing)
{
	struct epoll_event ev = { .events = writing ? EPOLLOUT : EPOLLIN, .data.ptr = conn };

	if (conn->writing != writing && epoll_ctl(s->epoll, EPOLL_CTL_MOD, conn->fd, &ev) != 0)
		conn->dead = true;
	conn->writing = writing;
}

static void
packets_done(struct conn *conn)
{
	for (size_t i = conn->sent; i < conn->n_packets; i++)
		if (conn->packets[i].fd >= 0)
			close(conn->packets[i].fd);
	conn->n_packets = conn->sent = 0;
	writ_buf_clear(&conn->out);
}

/* Sends what is queued, many in one call.  While the socket is full nothing more is read of it: that bounds the queue.
 */
static void
conn_flush(struct signer *s, struct conn *conn)
{
	while (!conn->dead && conn->sent < conn->n_packets) {
		struct mmsghdr messages[GATHER];
		struct iovec parts[GATHER];
		struct control controls[GATHER];
		const size_t left = conn->n_packets - conn->sent;
		const unsigned n = left < GATHER ? (unsigned)left : GATHER;
		int sent;

		for (unsigned i = 0; i < n; i++)
			message_fill(conn, &conn->packets[conn->sent + i], &parts[i], &controls[i],
				     &messages[i].msg_hdr);
		sent = sendmmsg(conn->fd, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			conn_watch(s, conn, true);
			return;
		}
		if (sent < 0) {
			conn->dead = true;
			return;
		}
		for (int i = 0; i < sent; i++) {
			struct packet *packet = &conn->packets[conn->sent++];

			if (packet->fd >= 0)
				close(packet->fd);
			packet->fd = -1;
			conn->outstanding -= conn->outstanding > 0;
		}
		FAULT("signer:answered");
	}
	packets_done(conn);
	conn_watch(s, conn, false);
}

/* ---- refusals ---- */

bool
bucket_take(struct bucket *bucket, int64_t now_ms)
{
	const int64_t full_ms = (int64_t)DENIALS_BURST * 1000 / DENIALS_PER_S;
	const int64_t credit_ms = bucket->last_ms == 0 ? full_ms : bucket->credit_ms + (now_ms - bucket->last_ms);

	bucket->last_ms = now_ms;
	bucket->credit_ms = credit_ms < full_ms ? credit_ms : full_ms;
	if (bucket->credit_ms < 1000 / DENIALS_PER_S) {
		bucket->dropped++;
		return false;
	}
	bucket->credit_ms -= 1000 / DENIALS_PER_S;
	return true;
}

/* `said` is written only if it is what it must be: it may be what was refused. */
void
refusal_note(struct signer *s, const char *what, const struct writ_err *why, struct writ_bytes tbs,
	     struct writ_bytes said)
{
	struct writ_err *err;

	s->refused++;
	event(EVENT_WARN, "signer.refused", EV_STR("what", what), EV_ERR(why));
	if (!bucket_take(&s->denials, s->now.mono_ms))
		return;
	err = entry_deny(s, what, why, tbs, said);
	if (!err)
		s->denials.dropped = 0;
	writ_err_free(err); /* a full disk takes no denials; the event has gone out */
}

/* ---- revocations and aborts ---- */

static struct writ_err *
owe(struct signer *s, const struct owed *end)
{
	if (s->n_owed == s->cap_owed) {
		const size_t cap = s->cap_owed == 0 ? 64 : 2 * s->cap_owed;
		struct owed *grown = realloc(s->owed, cap * sizeof(*grown));

		if (!grown)
			return writ_fail(WRIT_EXHAUSTED, "no memory for %zu owed entries", s->n_owed);
		s->owed = grown;
		s->cap_owed = cap;
	}
	s->owed[s->n_owed++] = *end;
	return NULL;
}

/* The ledger has it already: what is asked from now on is answered revoked.  The journal gets it now, or is owed it
 * (DESIGN.md, Revocation). */
static struct writ_err *
end_journal(struct signer *s, const struct owed *end, bool *ret_logged)
{
	struct writ_err *err = s->n_owed > 0 ? writ_fail(WRIT_EXHAUSTED, "others wait already") : entry_end(s, end);

	if (!err)
		return NULL;
	*ret_logged = false;
	if (s->n_owed == 0)
		event(EVENT_ALARM, "signer.revocation-owed", EV_ERR(err));
	writ_err_free(err);
	return owe(s, end);
}

static void
owed_pay(struct signer *s)
{
	size_t paid = 0;

	while (paid < s->n_owed) {
		struct writ_err *err = entry_end(s, &s->owed[paid]);

		if (err) {
			writ_err_free(err);
			break;
		}
		paid++;
	}
	if (paid == 0)
		return;
	s->n_owed -= paid;
	memmove(s->owed, s->owed + paid, s->n_owed * sizeof(*s->owed));
	journal_sync(s->journal);
	event(EVENT_INFO, "signer.owed-logged", EV_NUM("entries", paid), EV_NUM("left", s->n_owed));
}

/* One serial: ledger, then journal.  Unknown ones, and those that ended before, change nothing. */
static struct writ_err *
end_serial(struct signer *s, const uint8_t serial[16], enum ledger_state state, unsigned reason, writ_time at,
	   bool *ret_logged)
{
	struct owed end = { .type = state == LEDGER_ABORTED ? ENTRY_ABORT : ENTRY_REVOKE, .reason = reason, .at = at };
	struct ledger_row row;
	struct writ_err *err;
	bool changed;

	err = ledger_end(s->ledger, serial, state, (enum crl_reason)reason, at, &changed);
	if (err || !changed)
		return err;
	memcpy(end.serial, serial, 16);
	if (ledger_find(s->ledger, serial, &row))
		memcpy(end.key, row.key, 8);
	return end_journal(s, &end, ret_logged);
}

static struct writ_err *
end_edge(struct signer *s, const uint8_t id[EDGE_ID], writ_time at, bool *ret_logged)
{
	struct owed end = { .type = ENTRY_REVOKE, .reason = REASON_UNSPECIFIED, .at = at };
	struct writ_err *err;
	bool changed;

	err = ledger_edge(s->ledger, id, at, &changed);
	if (err || !changed)
		return err;
	memcpy(end.serial, id, 16);
	return end_journal(s, &end, ret_logged);
}

/* ---- messages ---- */

static struct writ_err *
on_hello(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_welcome welcome = {
		.tier = s->keys.tier,
		.sealed = s->keys.sealed,
		.next_index = journal_next(s->journal),
		.settled = s->settled,
		.anchor = writ_view(&s->keys.anchor_der),
		.n_issuing = s->keys.n,
	};
	struct signer_hello hello;
	struct writ_err *err;

	if (conn->welcome)
		return writ_fail(WRIT_CONFLICT, "HELLO was said already on this connection");
	err = signer_hello_read(body, &hello);
	if (err)
		return err;
	memcpy(welcome.log_id, s->log_id, sizeof(welcome.log_id));
	memcpy(welcome.conf_digest, s->conf->digest, sizeof(welcome.conf_digest));
	for (size_t i = 0; i < s->keys.n; i++)
		welcome.issuing[i] = writ_view(&s->keys.gen[i]->der);
	err = signer_welcome_write(&welcome, &answer);
	if (err)
		return err;
	conn->welcome = true;
	conn->same_conf = memcmp(hello.conf_digest, s->conf->digest, sizeof(hello.conf_digest)) == 0;
	if (!conn->same_conf)
		event(EVENT_ALARM, "signer.configuration-differs",
		      EV_HEX("issuer", ((struct writ_bytes){ hello.conf_digest, 32 })),
		      EV_HEX("signer", ((struct writ_bytes){ s->conf->digest, 32 })));
	conn_answer(s, conn, id, SIGNER_HELLO, writ_view(&answer), -1);
	return NULL;
}

/* The issuer's word for when, within what can be: the store, the CRL and OCSP say the same time (I10). */
static writ_time
revoked_at(const struct signer *s, writ_time said)
{
	if (said > s->now.wall)
		return s->now.wall;
	return said < s->now.wall - REVOKED_EARLIEST_S ? s->now.wall - REVOKED_EARLIEST_S : said;
}

static struct writ_err *
on_revoke(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_revoke asked;
	struct writ_err *err;
	bool logged = true;
	writ_time at;

	err = signer_revoke_read(body, &asked);
	if (err)
		return err;
	for (size_t i = 0; i < asked.n; i++)
		if (!crl_reason_ok(asked.items[i].reason))
			return writ_fail(WRIT_INVALID, "REVOKE: reason %u of item %zu is none that is ever given",
					 asked.items[i].reason, i);
	at = revoked_at(s, asked.at);
	for (size_t i = 0; !err && i < asked.n; i++)
		err = end_serial(s, asked.items[i].serial, LEDGER_REVOKED, asked.items[i].reason, at, &logged);
	for (size_t i = 0; !err && i < asked.n_edges; i++)
		err = end_edge(s, asked.edges[i], at, &logged);
	s->revoked_in_group = true;
	if (!err)
		err = signer_revoked_write(logged, &answer);
	if (err)
		return err;
	conn_answer(s, conn, id, SIGNER_REVOKE, writ_view(&answer), -1);
	return NULL;
}

static struct writ_err *
on_abort(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	struct signer_abort asked;
	struct writ_err *err;
	bool logged = true;

	err = signer_abort_read(body, &asked);
	/* Reason unspecified, which a CRL says by silence: nobody ever held the certificate, and no reason of RFC 5280
	 * fits that. */
	for (size_t i = 0; !err && i < asked.n; i++)
		err = end_serial(s, asked.serials[i], LEDGER_ABORTED, REASON_UNSPECIFIED, s->now.wall, &logged);
	if (err)
		return err;
	answer_empty(s, conn, id, SIGNER_ABORT);
	return NULL;
}

static struct writ_err *
on_settled(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	struct signer_settled asked;
	struct writ_err *err;

	err = signer_settled_read(body, &asked);
	if (err)
		return err;
	if (asked.index < s->settled)
		return writ_fail(WRIT_CONFLICT, "SETTLED: %llu is below the %llu settled already",
				 (unsigned long long)asked.index, (unsigned long long)s->settled);
	if (asked.index > journal_next(s->journal))
		return writ_fail(WRIT_INVALID, "SETTLED: %llu is over the %llu entries there are",
				 (unsigned long long)asked.index, (unsigned long long)journal_next(s->journal));
	if (asked.index > s->settled) {
		err = entry_settled(s, asked.index);
		if (err)
			return err;
		s->settled = asked.index;
	}
	answer_empty(s, conn, id, SIGNER_SETTLED);
	return NULL;
}

static struct writ_err *
on_note(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	struct signer_note note;
	struct writ_err *err;

	err = signer_note_read(body, &note);
	if (err)
		return err;
	if (note.type != ENTRY_DENY && note.type != ENTRY_TASK && note.type != ENTRY_GRANT && note.type != ENTRY_POLICY)
		return writ_fail(WRIT_INVALID, "NOTE: an issuer writes no entry of type %s (%u)",
				 entry_type_name((enum entry_type)note.type), note.type);
	err = json_canonical_check(note.said, SIGNER_SAID_MAX);
	if (!err)
		err = entry_note(s, (enum entry_type)note.type, note.said);
	if (err)
		return writ_because(err, "NOTE");
	answer_empty(s, conn, id, SIGNER_NOTE);
	return NULL;
}

static struct writ_err *
on_ocsp(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf response = WRIT_BUF(OCSP_RESPONSE_MAX);
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_status status;
	struct signer_ocsp asked;
	struct writ_err *err;

	err = signer_ocsp_read(body, &asked);
	if (!err)
		err = publish_ocsp(s, &asked, &response, &status);
	if (!err)
		err = signer_status_write(&status, &answer);
	if (err)
		return err;
	conn_answer(s, conn, id, SIGNER_OCSP, writ_view(&answer), -1);
	return NULL;
}

static struct writ_err *
on_crl(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	const struct crl_made *made;
	struct signer_crl asked;
	struct writ_err *err;
	int fd;

	err = signer_crl_read(body, &asked);
	if (!err)
		err = publish_crl(s, asked.key_id, &made);
	if (!err)
		err = signer_crl_is_write(&made->is, &answer);
	if (err)
		return err;
	fd = fcntl(made->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return writ_fail_errno(errno, "handing over a CRL");
	conn_answer(s, conn, id, SIGNER_CRL, writ_view(&answer), fd);
	return NULL;
}

static struct writ_err *
on_health(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_err_freep) struct writ_err *blocked = NULL;
	struct ledger_counts counts;
	struct signer_health health;
	struct writ_err *err;

	if (body.len != 0)
		return writ_fail(WRIT_INVALID, "HEALTH has no body, and %zu bytes came", body.len);
	ledger_count(s->ledger, &counts);
	blocked = issue_blocked(s);
	health = (struct signer_health){
		.can_issue = !blocked,
		.device_up = s->link.device != NULL,
		.entries = journal_next(s->journal),
		.issued = counts.issued,
		.revoked_live = counts.ended,
		.owed = s->n_owed,
		.device_queue = (uint32_t)s->n_waiting,
		.issuing_not_after = s->keys.gen[0]->cert.not_after,
	};
	if (blocked)
		writ_err_text(blocked, health.why, sizeof(health.why));
	else if (!s->link.device)
		memcpy(health.why, s->link.why, sizeof(health.why));
	err = signer_health_write(&health, &answer);
	if (err)
		return err;
	conn_answer(s, conn, id, SIGNER_HEALTH, writ_view(&answer), -1);
	return NULL;
}

/*
 * What is allowed when (2).  `first`: before HELLO, and nothing else is.  `same`: only if the issuer read the
 * configuration that we read. Revoking, aborting and status go on whatever the configuration, clock, disk or device;
 * issuing asks issue_blocked().
 */
static const struct message {
	const char *name;
	struct writ_err *(*handle)(struct signer *, struct conn *, uint64_t id, struct writ_bytes body);
	bool first, same;
} messages[] = {
	[SIGNER_HELLO] = { "HELLO", on_hello, .first = true },
	[SIGNER_LEAF] = { "LEAF", issue_leaf, .same = true },
	[SIGNER_REVOKE] = { "REVOKE", on_revoke },
	[SIGNER_OCSP] = { "OCSP", on_ocsp },
	[SIGNER_CRL] = { "CRL", on_crl },
	[SIGNER_NOTE] = { "NOTE", on_note },
	[SIGNER_SETTLED] = { "SETTLED", on_settled, .same = true },
	[SIGNER_ABORT] = { "ABORT", on_abort },
	[SIGNER_HEALTH] = { "HEALTH", on_health },
};

static struct writ_err *
frame_judge(struct signer *s, struct conn *conn, const struct frame *frame)
{
	const struct message *m = frame->type < N_OF(messages) ? &messages[frame->type] : NULL;

	if (!m || !m->handle)
		return writ_fail(WRIT_INVALID, "message type %u is none of ours", frame->type);
	if (conn->outstanding > SIGNER_OUTSTANDING_MAX)
		return writ_fail(WRIT_EXHAUSTED,
				 "%u requests are outstanding on this connection: at most %d are allowed",
				 conn->outstanding, SIGNER_OUTSTANDING_MAX);
	if (!conn->welcome && !m->first)
		return writ_fail(WRIT_UNAUTHENTICATED, "%s before HELLO", m->name);
	if (m->same && !conn->same_conf)
		return writ_fail(WRIT_LOCKED, "%s: issuer and signer have read different configurations: restart both",
				 m->name);
	return m->handle(s, conn, frame->id, frame->body);
}

/* LEAF notes its own refusals, with what it knows of them; an unknown serial is asked for by anyone, so it only counts.
 */
static bool
notes_itself(const struct frame *frame, const struct writ_err *err)
{
	return (frame->type == SIGNER_LEAF && err->code == WRIT_INVALID && strncmp(err->message, "gate", 4) == 0) ||
	       (frame->type == SIGNER_OCSP && err->code == WRIT_NOT_FOUND) || err->code == WRIT_UNAVAILABLE;
}

static void
frame_handle(struct signer *s, struct conn *conn, const struct frame *frame)
{
	static const struct writ_bytes none = { NULL, 0 };
	AUTO(writ_err_freep) struct writ_err *err = NULL;

	conn->outstanding++;
	err = frame_judge(s, conn, frame);
	if (!err)
		return;
	if (!notes_itself(frame, err))
		refusal_note(s,
			     frame->type < N_OF(messages) && messages[frame->type].name ? messages[frame->type].name
											: "message",
			     err, none, none);
	conn_refuse(s, conn, frame->id, err);
}

/* ---- the group ---- */

/* (1) */
static void
group_end(struct signer *s)
{
	journal_sync(s->journal);
	if (s->revoked_in_group)
		FAULT("signer:revoked");
	s->revoked_in_group = false;
	issue_sign(s);
	journal_sync(s->journal); /* what failed was aborted */
	for (size_t i = 0; i < s->n_conns; i++)
		if (s->conns[i]->n_packets > 0 && !s->conns[i]->writing)
			conn_flush(s, s->conns[i]);
}

/* ---- connections ---- */

static void
conn_free(struct signer *s, struct conn *conn)
{
	issue_forget(s, conn);
	packets_done(conn);
	writ_buf_done(&conn->out);
	close(conn->fd);
	free(conn);
}

static void
conns_reap(struct signer *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_conns; i++) {
		if (s->conns[i]->dead)
			conn_free(s, s->conns[i]);
		else
			s->conns[kept++] = s->conns[i];
	}
	if (kept == 0 && s->n_conns > 0)
		event(EVENT_INFO, "signer.issuer-gone", EV_NUM("issued", s->issued), EV_NUM("refused", s->refused));
	s->n_conns = kept;
}

/* (3) */
static void
conn_garbage(struct signer *s, struct conn *conn, struct writ_err *err)
{
	s->garbage++;
	event(EVENT_WARN, "signer.garbage", EV_NUM("pid", conn->pid), EV_NUM("count", s->garbage), EV_ERR(err));
	refusal_note(s, "garbage", err, (struct writ_bytes){ NULL, 0 }, (struct writ_bytes){ NULL, 0 });
	writ_err_free(err);
	conn->dead = true;
}

static void
packet_handle(struct signer *s, struct conn *conn, const struct mmsghdr *message)
{
	const struct writ_bytes packet = { message->msg_hdr.msg_iov->iov_base, message->msg_len };
	struct writ_err *err;
	struct frame frame;

	if (message->msg_len == 0) {
		conn->dead = true; /* closed by the issuer */
		return;
	}
	err = message->msg_hdr.msg_flags & MSG_TRUNC
		      ? writ_fail(WRIT_INVALID, "a packet is over the limit of %d bytes", FRAME_MAX)
		      : frame_parse(packet, &frame);
	if (err) {
		conn_garbage(s, conn, err);
		return;
	}
	if (frame.type == SIGNER_LEAF && !issue_room(s) && s->n_group > 0)
		group_end(s);
	frame_handle(s, conn, &frame);
}

/* Takes at most GATHER packets; descriptors sent along are dropped by the kernel, since there is no room for them. */
static void
conn_read(struct signer *s, struct conn *conn)
{
	static uint8_t room[GATHER][FRAME_MAX];
	struct mmsghdr incoming[GATHER];
	struct iovec parts[GATHER];
	int n;

	for (size_t i = 0; i < GATHER; i++) {
		parts[i] = (struct iovec){ room[i], FRAME_MAX };
		incoming[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
	}
	n = recvmmsg(conn->fd, incoming, GATHER, MSG_DONTWAIT, NULL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		conn->dead = true;
	for (int i = 0; i < n && !conn->dead; i++)
		packet_handle(s, conn, &incoming[i]);
}

static struct writ_err *
peer_check(const struct signer *s, int fd, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	uid_t allowed = geteuid();

	if (s->conf->users.issuer) {
		const struct passwd *user = getpwnam(s->conf->users.issuer);

		if (!user)
			return writ_fail(WRIT_INVALID, "users.issuer: there is no user %s on this machine",
					 s->conf->users.issuer);
		allowed = user->pw_uid;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return writ_fail_errno(errno, "asking who the peer is");
	if (peer.uid != allowed)
		return writ_fail(WRIT_UNAUTHENTICATED, "uid %u is not the issuer's, %u", (unsigned)peer.uid,
				 (unsigned)allowed);
	if (s->n_conns > 0 && s->conns[0]->pid != peer.pid) /* (4) */
		return writ_fail(WRIT_CONFLICT, "process %d is served already: one issuer at a time",
				 (int)s->conns[0]->pid);
	if (s->n_conns == CONNS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d connections are served already", CONNS_MAX);
	*ret_pid = peer.pid;
	return NULL;
}

static struct writ_err *
conn_new(struct signer *s, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct writ_err *err;
	struct conn *conn;
	pid_t pid;

	err = peer_check(s, fd, &pid);
	if (err)
		return err;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a connection");
	conn->fd = fd;
	conn->pid = pid;
	conn->out = WRIT_BUF(OUT_MAX);
	ev.data.ptr = conn;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(conn);
		return writ_fail_errno(errno, "watching a connection");
	}
	s->conns[s->n_conns++] = conn;
	return NULL;
}

static void
accept_all(struct signer *s)
{
	for (;;) {
		const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
		AUTO(writ_err_freep) struct writ_err *err = NULL;
		struct writ_err *ignored;

		if (fd < 0)
			return;
		err = conn_new(s, fd);
		if (!err)
			continue;
		event(EVENT_WARN, "signer.connection-refused", EV_ERR(err));
		ignored = signer_error_write(err, &body);
		if (!ignored)
			ignored = frame_send(fd, SIGNER_ERROR, 0, writ_view(&body), -1, 0);
		writ_err_free(ignored); /* it learns by the close as well */
		close(fd);
	}
}

/* ---- time ---- */

static void
clock_step(struct signer *s)
{
	struct writ_err *err = NULL;
	bool ok;

	s->now = clock_read();
	if (journal_last_time(s->journal) > s->guard.floor && s->clock_ok)
		s->guard.floor = journal_last_time(s->journal);
	ok = clock_guard_check(&s->guard, s->now);
	if (ok == s->clock_ok)
		return;
	s->clock_ok = ok;
	event(ok ? EVENT_INFO : EVENT_ALARM, "signer.clock", EV_FLAG("right", ok), EV_NUM("step_s", s->guard.step_s));
	err = entry_clock(s, ok, s->guard.step_s);
	writ_err_free(err);
}

/* What fails is tried again after a while, not every second: each try costs the journal an entry. */
static void
certify_and_list(struct signer *s)
{
	const struct crl_made *made;
	struct writ_err *err;

	if (s->now.mono_ms < s->next_keys_ms)
		return;
	err = keys_housekeep(s);
	if (!err)
		err = publish_crl(s, s->keys.anchor.key_id, &made);
	if (!err)
		return;
	event(EVENT_ALARM, "signer.housekeeping", EV_ERR(err));
	writ_err_free(err);
	s->next_keys_ms = s->now.mono_ms + RETRY_MS;
}

static void
housekeep(struct signer *s)
{
	const bool had_device = s->link.device != NULL;

	s->next_second_ms = s->now.mono_ms + TICK_MS;
	owed_pay(s);
	if (!s->clock_ok)
		return;
	if (s->now.wall >= s->next_prune) {
		ledger_prune(s->ledger, s->now.wall);
		s->next_prune = s->now.wall + 60;
	}
	(void)device_ready(s);
	certify_and_list(s);
	if (!had_device && s->link.device) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &s->link };

		if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, device_fd(s->link.device), &ev) != 0 && errno != EEXIST)
			event(EVENT_ALARM, "signer.device-not-watched", EV_NUM("errno", errno));
	}
}

/* ---- start, loop, end ---- */

static void
signal_take(struct signer *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		s->stop = true;
}

/* The signer needs the device once, to open its keys: until it is there nothing is served. */
struct writ_err *
signer_device_wait(struct signer *s, int64_t timeout_ms)
{
	const int64_t deadline_ms = clock_read().mono_ms + timeout_ms;

	while (!device_ready(s)) {
		struct pollfd stop = { .fd = s->signals, .events = POLLIN };

		if (s->link.locked)
			return writ_fail(WRIT_LOCKED, "the device: %s", s->link.why);
		if (timeout_ms >= 0 && s->now.mono_ms > deadline_ms)
			return writ_fail(WRIT_UNAVAILABLE, "no device within %lld ms: %s", (long long)timeout_ms,
					 s->link.why);
		s->stop = poll(&stop, 1, 100) > 0;
		if (s->stop)
			return writ_fail(WRIT_UNAVAILABLE, "told to stop while waiting for the device: %s",
					 s->link.why);
		s->now = clock_read();
	}
	return NULL;
}

struct writ_err *
signer_init(struct signer *s, const struct conf *conf)
{
	sigset_t stopping;

	*s = (struct signer){ .conf = conf, .epoll = -1, .listener = -1, .signals = -1, .clock_ok = true };
	s->keys.anchor_crl.fd = -1;
	s->json = WRIT_BUF(JOURNAL_ENTRY_MAX);
	s->arena = WRIT_ARENA(256 * 1024);
	s->now = clock_read();
	sigemptyset(&stopping);
	sigaddset(&stopping, SIGTERM);
	sigaddset(&stopping, SIGINT);
	if (sigprocmask(SIG_BLOCK, &stopping, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGHUP, SIG_IGN) == SIG_ERR)
		return writ_fail_errno(errno, "arranging signals");
	s->signals = signalfd(-1, &stopping, SFD_CLOEXEC | SFD_NONBLOCK);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->conns = calloc(CONNS_MAX, sizeof(struct conn *));
	if (s->signals < 0 || s->epoll < 0 || !s->conns)
		return writ_fail_errno(errno, "starting the loop");
	return NULL;
}

struct writ_err *
signer_start(struct signer *s, const struct conf *conf)
{
	struct writ_err *err;

	err = signer_init(s, conf);
	if (!err)
		err = entries_open(s);
	if (!err)
		err = keys_read_anchor(s);
	if (!err)
		err = signer_device_wait(s, -1);
	if (!err)
		err = entry_start(s);
	if (!err)
		err = keys_load(s);
	if (!err)
		err = publish_anchor_crl_load(s);
	if (err)
		return err;
	journal_sync(s->journal);
	return NULL;
}

static struct writ_err *
watch(struct signer *s, int fd, void *what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? NULL
								: writ_fail_errno(errno, "watching descriptor %d", fd);
}

static void
wake(struct signer *s, const struct epoll_event *ev)
{
	struct conn *conn;

	if (ev->data.ptr == &s->listener)
		accept_all(s);
	else if (ev->data.ptr == &s->signals)
		signal_take(s);
	else if (ev->data.ptr == &s->link)
		return; /* issue_collect() looks */
	else {
		conn = ev->data.ptr;
		if (conn->writing && (ev->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			conn_flush(s, conn);
		else if (!conn->dead)
			conn_read(s, conn);
	}
}

struct writ_err *
signer_serve(struct signer *s, int listener)
{
	struct epoll_event events[EVENTS_MAX];
	struct writ_err *err;

	s->listener = listener;
	err = watch(s, s->listener, &s->listener);
	if (!err)
		err = watch(s, s->signals, &s->signals);
	if (!err && s->link.device)
		err = watch(s, device_fd(s->link.device), &s->link);
	if (err)
		return err;
	event(EVENT_INFO, "signer.ready", EV_STR("tier", leaf_tier_name(s->keys.tier)),
	      EV_NUM("entries", journal_next(s->journal)), EV_HEX("issuing", s->gate.issuer_key_id));
	while (!s->stop) {
		const int64_t left_ms = s->next_second_ms - s->now.mono_ms;
		const int n = epoll_wait(s->epoll, events, EVENTS_MAX, left_ms > 0 ? (int)left_ms : 0);

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "waiting for work");
		clock_step(s);
		if (s->now.mono_ms >= s->next_second_ms)
			housekeep(s);
		for (int i = 0; i < n; i++)
			wake(s, &events[i]);
		issue_collect(s);
		group_end(s);
		conns_reap(s);
	}
	err = entry_stop(s);
	if (!err)
		journal_sync(s->journal);
	event(EVENT_INFO, "signer.stopped", EV_NUM("entries", journal_next(s->journal)));
	return err;
}

void
signer_done(struct signer *s)
{
	for (size_t i = 0; i < s->n_conns; i++)
		conn_free(s, s->conns[i]);
	free(s->conns);
	free(s->jobs);
	free(s->owed);
	keys_done(&s->keys);
	device_close(s->link.device);
	journal_close(s->journal);
	ledger_free(s->ledger);
	writ_buf_done(&s->json);
	writ_arena_done(&s->arena);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->signals >= 0)
		close(s->signals);
	if (s->listener >= 0)
		close(s->listener);
}
