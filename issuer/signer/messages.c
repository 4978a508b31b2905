/*
 * What the issuer may ask, and when: a handler a message, and the table.  Anything else is refused and noted.
 *
 * A handler journals and queues its answer; nothing that speaks of an entry leaves before that is durable.  An error it
 * returns is the answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/event.h"
#include "issuer/signer/conn.h"

#define DENIALS_BURST 100	/* deny entries, and their events, at once, */
#define DENIALS_PER_S 10	/* and for long */
#define UNKNOWN_EVERY_MS 60000	/* events about questions for what is not live: anyone may ask */
#define UNLISTED_EVERY_MS 60000 /* events about revoked delegations that no list has room for: each is the same news   \
				 */
#define REVOKED_EARLIEST_S 1020 /* a revocation older than the longest life and its margins is dated here */

/* ---- refusals ---- */

static bool
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
	if (!bucket_take(&s->denials, s->now.mono_ms))
		return;
	event(EVENT_WARN, "signer.refused", EV_STR("what", what), EV_ERR(why), EV_NUM("dropped", s->denials.dropped));
	err = entry_deny(s, what, why, tbs, said);
	if (!err)
		s->denials.dropped = 0;
	writ_err_free(err); /* a full disk takes no denials; the event has gone out */
}

void
unknown_note(struct signer *s)
{
	if (s->unknown_asked == s->unknown_noted || s->now.mono_ms < s->next_unknown_ms)
		return;
	event(EVENT_WARN, "signer.ocsp-not-live", EV_NUM("questions", s->unknown_asked - s->unknown_noted),
	      EV_NUM("since_start", s->unknown_asked));
	s->unknown_noted = s->unknown_asked;
	s->next_unknown_ms = s->now.mono_ms + UNKNOWN_EVERY_MS;
}

/* ---- revocations and aborts ---- */

static struct writ_err *
owe(struct signer *s, const struct owed *end)
{
	struct owed *grown = writ_room(s->owed, s->n_owed, &s->cap_owed, sizeof(*grown), 64);

	if (!grown)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %zu owed entries", s->n_owed);
	s->owed = grown;
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
	err = owe(s, end);
	s->snapshot.never = s->snapshot.never || err;
	return err;
}

void
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

/* The entry may be among those that are owed; which ones those are is not worth a search. */
static void
ended_before(const struct signer *s, bool *ret_logged)
{
	*ret_logged = *ret_logged && s->n_owed == 0;
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
	if (!err && !changed)
		ended_before(s, ret_logged);
	if (err || !changed)
		return err;
	memcpy(end.serial, serial, 16);
	if (ledger_find(s->ledger, serial, &row))
		memcpy(end.key, row.key, 8);
	return end_journal(s, &end, ret_logged);
}

/* The serials of a revocation stand whether its edges fit the list or not: an operator hears of those that do not. */
static void
unlisted_note(struct signer *s)
{
	s->edges_unlisted++;
	if (s->now.mono_ms < s->next_unlisted_ms)
		return;
	event(EVENT_ALARM, "signer.delegations-unlisted", EV_NUM("since_start", s->edges_unlisted),
	      EV_NUM("listed", LEDGER_EDGES_MAX), EV_NUM("listed_for_s", LEDGER_EDGE_KEEP_S));
	s->next_unlisted_ms = s->now.mono_ms + UNLISTED_EVERY_MS;
}

static struct writ_err *
end_edge(struct signer *s, const uint8_t id[EDGE_ID], writ_time at, bool *ret_logged)
{
	struct owed end = { .type = ENTRY_REVOKE, .reason = REASON_UNSPECIFIED, .at = at };
	struct writ_err *err;
	bool changed, listed;

	err = ledger_edge(s->ledger, id, at, &changed, &listed);
	if (!err && !changed)
		ended_before(s, ret_logged);
	if (err || !changed)
		return err;
	if (!listed)
		unlisted_note(s);
	memcpy(end.serial, id, 16);
	return end_journal(s, &end, ret_logged);
}

/* ---- messages ---- */

static void
answer_empty(struct signer *s, struct conn *conn, uint64_t id, enum signer_message type)
{
	conn_answer(s, conn, id, type, (struct writ_bytes){ NULL, 0 }, -1);
}

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
		.issuing = writ_view(&s->keys.current->der),
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
	s->revoked_below = journal_next(s->journal);
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
	if (note.type != ENTRY_DENY && note.type != ENTRY_TASK && note.type != ENTRY_GRANT &&
	    note.type != ENTRY_POLICY && note.type != ENTRY_FREEZE)
		return writ_fail(WRIT_INVALID, "NOTE: an issuer writes no entry of type %s (%u)",
				 entry_type_name((enum entry_type)note.type), note.type);
	err = canon_check(note.said, SIGNER_SAID_MAX);
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
	if (status.status == OCSP_REVOKED && s->revoked_below > journal_durable(s->journal)) /* serve.c (2) */
		conn_answer(s, conn, id, SIGNER_OCSP, writ_view(&answer), -1);
	else
		conn_answer_now(conn, id, SIGNER_OCSP, writ_view(&answer), -1);
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
	if (err)
		return err;
	if (asked.shard != 0 || memcmp(asked.key_id, s->keys.anchor.key_id, sizeof(asked.key_id)) != 0)
		return lists_ask(s, conn, id, &asked);
	err = publish_anchor_crl(s, &made);
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
		.device = s->link.state.is,
		.device_since = s->link.state.since,
		.device_latency_us = (uint64_t)s->link.state.latency_us,
		.device_failed = s->link.state.failed,
		.keys_quarantined = s->link.state.quarantined,
		.entries = journal_next(s->journal),
		.issued = counts.issued,
		.revoked_live = counts.ended,
		.owed = s->n_owed,
		.unknown_asked = s->unknown_asked,
		.clock_accepted = s->clock_accepted,
		.device_queue = (uint32_t)resident_queue(s),
		.device_waited = s->device_waited,
		.device_signed = s->device_signed,
		.issuing_until = rotation_ends(s),
		.changes = s->keys.changes,
	};
	memcpy(health.device_refused, s->device_refused, sizeof(health.device_refused));
	if (blocked)
		writ_err_text(blocked, health.why, sizeof(health.why));
	memcpy(health.device_why, s->link.state.why, sizeof(health.device_why));
	memcpy(health.device_last_error, s->link.state.last_error, sizeof(health.device_last_error));
	err = signer_health_write(&health, &answer);
	if (err)
		return err;
	conn_answer(s, conn, id, SIGNER_HEALTH, writ_view(&answer), -1);
	return NULL;
}

static struct writ_err *
on_certs(struct signer *s, struct conn *conn, uint64_t id, struct writ_bytes body)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	const struct keys *keys = &s->keys;
	struct signer_certs_are are = {
		.changes = keys->changes,
		.issuing = keys->current->number,
		.lowest = keys->gen[keys->n - 1]->number,
	};
	struct ledger_shards shards;
	struct signer_certs asked;
	struct writ_err *err;

	err = signer_certs_read(body, &asked);
	if (err)
		return err;
	ledger_shards(s->ledger, keys->current->cert.key_id, s->now.wall, &shards);
	are.shard = (uint16_t)shards.last;
	for (size_t i = keys->n; i-- > 0 && !are.more;) {
		const struct generation *g = keys->gen[i];

		if (g->number <= asked.above)
			continue;
		are.more = !signer_certs_are_fit(&are, writ_view(&g->der));
		if (are.more)
			break;
		ledger_shards(s->ledger, g->cert.key_id, s->now.wall, &shards);
		are.certs[are.n].number = g->number;
		are.certs[are.n].shard = (uint16_t)shards.last;
		are.certs[are.n++].der = writ_view(&g->der);
	}
	err = signer_certs_are_write(&are, &answer);
	if (err)
		return err;
	conn_answer(s, conn, id, SIGNER_CERTS, writ_view(&answer), -1);
	return NULL;
}

/*
 * What is allowed when.  `first`: before HELLO, and nothing else is.  `same`: only if the issuer read the
 * configuration that we read. Revoking, aborting and status go on whatever the configuration, clock, disk or device;
 * issuing asks issue_blocked().
 */
static const struct message {
	const char *name;
	struct writ_err *(*handle)(struct signer *, struct conn *, uint64_t id, struct writ_bytes body);
	bool first, same;
} messages[] = {
	[SIGNER_HELLO] = { .name = "HELLO", .handle = on_hello, .first = true },
	[SIGNER_LEAF] = { .name = "LEAF", .handle = issue_leaf, .same = true },
	[SIGNER_REVOKE] = { .name = "REVOKE", .handle = on_revoke },
	[SIGNER_OCSP] = { .name = "OCSP", .handle = on_ocsp },
	[SIGNER_CRL] = { .name = "CRL", .handle = on_crl },
	[SIGNER_NOTE] = { .name = "NOTE", .handle = on_note },
	[SIGNER_SETTLED] = { .name = "SETTLED", .handle = on_settled, .same = true },
	[SIGNER_ABORT] = { .name = "ABORT", .handle = on_abort },
	[SIGNER_HEALTH] = { .name = "HEALTH", .handle = on_health },
	[SIGNER_CERTS] = { .name = "CERTS", .handle = on_certs },
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

static bool
unknown_is(const struct frame *frame, const struct writ_err *err)
{
	return frame->type == SIGNER_OCSP && err->code == WRIT_NOT_FOUND;
}

/* LEAF notes its own refusals, with what it knows of them; for what is not live anyone may ask, so that is counted. */
static bool
notes_itself(const struct frame *frame, const struct writ_err *err)
{
	return (frame->type == SIGNER_LEAF && err->code == WRIT_INVALID && strncmp(err->message, "gate", 4) == 0) ||
	       unknown_is(frame, err) || err->code == WRIT_UNAVAILABLE;
}

void
frame_handle(struct signer *s, struct conn *conn, const struct frame *frame)
{
	static const struct writ_bytes none = { NULL, 0 };
	AUTO(writ_err_freep) struct writ_err *err = NULL;

	conn->outstanding++;
	err = frame_judge(s, conn, frame);
	if (!err)
		return;
	if (unknown_is(frame, err)) {
		s->unknown_asked++;
		unknown_note(s);
	}
	if (!notes_itself(frame, err))
		refusal_note(s,
			     frame->type < N_OF(messages) && messages[frame->type].name ? messages[frame->type].name
											: "message",
			     err, none, none);
	conn_refuse(s, conn, frame->id, err);
}
