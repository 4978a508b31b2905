/*
 * Blocking calls to the signer: see control.h.
 *
 * A cascade of 100,000 serials is 391 frames: 32 are under way at a time, so that they share the signer's fdatasync.
 */
#include "issuer/serve/control.h"

#include <stdlib.h>

#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "policy/policy.h"

#define AHEAD 32 /* frames sent before the first answer is read; below SIGNER_OUTSTANDING_MAX */

static void
freep(void *p)
{
	free(*(void **)p);
}

/* Sends frame `i` of a series; takes its answer. */
struct series {
	int sock;
	enum signer_message type;
	size_t n; /* frames */
	struct writ_err *(*write)(const struct series *, size_t i, struct writ_buf *);
	const void *what;
	size_t n_what;
	const uint8_t (*edges)[EDGE_ID_LEN]; /* REVOKE: beside the serials */
	size_t n_edges;
	writ_time at;
	bool logged;
	bool takes_refusals; /* an error answer is kept here, and does not end the series */
	struct writ_err *refused;
};

WRIT_CHECKED static struct writ_err *
series_send(const struct series *s, size_t i)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct writ_err *err = s->write(s, i, &body);

	if (err)
		return err;
	return frame_send(s->sock, (uint16_t)s->type, i + 1, writ_view(&body), -1, CONTROL_TIMEOUT_MS);
}

WRIT_CHECKED static struct writ_err *
series_receive(struct series *s, uint8_t *packet)
{
	struct writ_err *err;
	struct frame frame;
	bool logged = true;

	err = frame_receive(s->sock, packet, &frame, NULL, CONTROL_TIMEOUT_MS);
	if (err)
		return err;
	if (frame.type == SIGNER_ERROR && s->takes_refusals) {
		err = signer_error_read(frame.body);
		if (s->refused)
			writ_err_free(err);
		else
			s->refused = err;
		return NULL;
	}
	if (frame.type == SIGNER_ERROR)
		return signer_error_read(frame.body);
	if (frame.type != (SIGNER_ANSWER | s->type) || frame.id == 0 || frame.id > s->n)
		return writ_fail(WRIT_BROKEN, "the signer answered what nobody asked");
	if (s->type == SIGNER_REVOKE)
		err = signer_revoked_read(frame.body, &logged);
	s->logged = s->logged && logged;
	return err;
}

WRIT_CHECKED static struct writ_err *
series_run(struct series *s)
{
	AUTO(freep) uint8_t *packet = malloc(FRAME_MAX);
	struct writ_err *err = NULL;
	size_t sent = 0, received = 0;

	if (!packet)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a frame");
	s->logged = true;
	while (received < s->n && !err) {
		while (sent < s->n && sent - received < AHEAD && !err)
			err = series_send(s, sent++);
		if (!err)
			err = series_receive(s, packet);
		received++;
	}
	return err;
}

static size_t
frames_of(size_t n)
{
	return (n + SIGNER_REVOKE_MAX - 1) / SIGNER_REVOKE_MAX;
}

/* Of `n` in all, frame `i` has so many. */
static size_t
share(size_t n, size_t i)
{
	const size_t before = i * SIGNER_REVOKE_MAX, left = n > before ? n - before : 0;

	return left < SIGNER_REVOKE_MAX ? left : SIGNER_REVOKE_MAX;
}

WRIT_CHECKED static struct writ_err *
revoke_write(const struct series *s, size_t i, struct writ_buf *body)
{
	const size_t first = i * SIGNER_REVOKE_MAX;
	AUTO(freep) struct signer_revoke *message = calloc(1, sizeof(*message));

	if (!message)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a frame");
	message->at = s->at;
	message->n = share(s->n_what, i);
	for (size_t j = 0; j < message->n; j++) {
		const struct control_revoke *item = (const struct control_revoke *)s->what + first + j;

		memcpy(message->items[j].serial, item->serial, SERIAL_LEN);
		message->items[j].reason = item->reason;
	}
	message->n_edges = share(s->n_edges, i);
	for (size_t j = 0; j < message->n_edges; j++)
		memcpy(message->edges[j], s->edges[first + j], EDGE_ID_LEN);
	return signer_revoke_write(message, body);
}

struct writ_err *
control_revocation(int sock, const struct control_revoke *items, size_t n, const uint8_t (*edges)[EDGE_ID_LEN],
		   size_t n_edges, writ_time at, bool *ret_logged)
{
	struct series s = { .sock = sock,
			    .type = SIGNER_REVOKE,
			    .n = frames_of(n > n_edges ? n : n_edges),
			    .write = revoke_write,
			    .what = items,
			    .n_what = n,
			    .edges = edges,
			    .n_edges = n_edges,
			    .at = at };
	struct writ_err *err = series_run(&s);

	*ret_logged = s.logged;
	return err;
}

struct writ_err *
control_revoke(int sock, const struct control_revoke *items, size_t n, bool *ret_logged)
{
	*ret_logged = true;
	while (n > 0) {
		struct writ_err *err;
		bool logged;
		size_t same = 1;

		while (same < n && items[same].at == items->at)
			same++;
		err = control_revocation(sock, items, same, NULL, 0, items->at, &logged);
		if (err)
			return err;
		*ret_logged = *ret_logged && logged;
		items += same;
		n -= same;
	}
	return NULL;
}

struct writ_err *
control_revoke_edges(int sock, const uint8_t (*edges)[EDGE_ID_LEN], size_t n, writ_time at, bool *ret_logged)
{
	return control_revocation(sock, NULL, 0, edges, n, at, ret_logged);
}

WRIT_CHECKED static struct writ_err *
abort_write(const struct series *s, size_t i, struct writ_buf *body)
{
	const uint8_t(*serials)[SERIAL_LEN] = (const uint8_t(*)[SERIAL_LEN])s->what + i * SIGNER_REVOKE_MAX;
	AUTO(freep) struct signer_abort *message = calloc(1, sizeof(*message));

	if (!message)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a frame");
	message->n = share(s->n_what, i);
	memcpy(message->serials, serials, message->n * SERIAL_LEN);
	return signer_abort_write(message, body);
}

struct writ_err *
control_abort(int sock, const uint8_t (*serials)[SERIAL_LEN], size_t n)
{
	struct series s = { .sock = sock,
			    .type = SIGNER_ABORT,
			    .n = frames_of(n),
			    .write = abort_write,
			    .what = serials,
			    .n_what = n };

	return series_run(&s);
}

WRIT_CHECKED static struct writ_err *
note_write(const struct series *s, size_t i, struct writ_buf *body)
{
	const struct control_note *note = (const struct control_note *)s->what + i;
	const struct signer_note message = { .type = note->type, .said = note->said };

	return signer_note_write(&message, body);
}

struct writ_err *
control_notes(int sock, const struct control_note *notes, size_t n, struct writ_err **ret_refused)
{
	struct series s = { .sock = sock,
			    .type = SIGNER_NOTE,
			    .n = n,
			    .write = note_write,
			    .what = notes,
			    .n_what = n,
			    .takes_refusals = true };
	struct writ_err *err = series_run(&s);

	if (err) {
		writ_err_free(s.refused);
		return err;
	}
	*ret_refused = s.refused;
	return NULL;
}

struct writ_err *
control_settled(int sock, uint64_t index)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	const struct signer_settled message = { .index = index };
	struct writ_err *err = signer_settled_write(&message, &body);

	if (err)
		return err;
	return signer_call(sock, SIGNER_SETTLED, writ_view(&body), &answer, NULL, CONTROL_TIMEOUT_MS);
}

struct writ_err *
control_note_policy(int sock, const struct policy *policy, struct writ_bytes by)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_note note = { .type = ENTRY_POLICY };
	struct canon_out out = canon_write(&said);
	struct writ_err *err;

	canon_object(&out, NULL);
	canon_text(&out, "by", by);
	canon_hex(&out, "digest", (struct writ_bytes){ policy_digest(policy), 32 });
	canon_text(&out, "id", policy_id(policy));
	canon_int(&out, "revision", (int64_t)policy_revision(policy)); /* 0: it has none */
	canon_end(&out);
	err = canon_finish(&out);
	note.said = writ_view(&said);
	if (!err)
		err = signer_note_write(&note, &body);
	return err ? err : signer_call(sock, SIGNER_NOTE, writ_view(&body), &answer, NULL, CONTROL_TIMEOUT_MS);
}

struct writ_err *
control_health(int sock, struct signer_health *ret)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct writ_err *err;

	err = signer_call(sock, SIGNER_HEALTH, (struct writ_bytes){ 0 }, &answer, NULL, CONTROL_TIMEOUT_MS);
	if (err)
		return err;
	return signer_health_read(writ_view(&answer), ret);
}
