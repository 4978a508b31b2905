/*
 * The signer's connection of one loop: see link.h.
 *
 * (1) A call is in exactly one place: the waiting list, or a slot.
 * (2) An answer counts only for the call its slot holds now: ids carry slot and a running number.
 */
#include "issuer/serve/link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTES_MAX 1024 /* waiting: beyond, denials are dropped, never requests */

struct slot {
	struct link_call *call; /* NULL: free */
	uint64_t id;
};

struct link {
	struct loop *loop;
	void (*lost)(void *ctx, struct writ_err *why);
	void *ctx;
	int sock; /* -1: closed */
	struct slot slots[SIGNER_OUTSTANDING_MAX];
	size_t n_out;
	uint64_t next_number;
	struct link_call *first, **end; /* waiting */
	size_t n_waiting, n_notes;
	uint8_t packets[SIGNER_OUTSTANDING_MAX][FRAME_HEADER_LEN];
	uint8_t in[FRAME_MAX];
};

struct writ_err *
link_new(struct loop *loop, void (*lost)(void *ctx, struct writ_err *why), void *ctx, struct link **ret)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the signer's connection");
	link->loop = loop;
	link->lost = lost;
	link->ctx = ctx;
	link->sock = -1;
	link->end = &link->first;
	*ret = link;
	return NULL;
}

void
link_free(struct link *link)
{
	if (!link)
		return;
	link_cut(link);
	free(link);
}

bool
link_is_open(const struct link *link)
{
	return link->sock >= 0;
}

size_t
link_depth(const struct link *link)
{
	return link->n_out + link->n_waiting;
}

static struct link_call *
waiting_pop(struct link *link)
{
	struct link_call *call = link->first;

	if (!call)
		return NULL;
	link->first = call->next;
	if (!link->first)
		link->end = &link->first;
	call->next = NULL;
	link->n_waiting--;
	return call;
}

void
link_cut(struct link *link)
{
	struct link_call *call;

	if (link->sock < 0)
		return;
	loop_unwatch(link->loop, link->sock);
	close(link->sock);
	link->sock = -1;
	for (size_t i = 0; i < N_OF(link->slots); i++) {
		call = link->slots[i].call;
		link->slots[i].call = NULL;
		if (call)
			call->done(call, writ_fail(WRIT_UNAVAILABLE, "the signer is away: try again"),
				   (struct writ_bytes){ 0 });
	}
	link->n_out = 0;
	while ((call = waiting_pop(link)))
		call->done(call, writ_fail(WRIT_UNAVAILABLE, "the signer is away: try again"),
			   (struct writ_bytes){ 0 });
}

static void
broken(struct link *link, struct writ_err *why)
{
	link->lost(link->ctx, why);
	link_cut(link);
}

/* The call that this answer is for, out of its slot. */
static struct link_call *
answered(struct link *link, uint64_t id)
{
	struct slot *slot = &link->slots[id % SIGNER_OUTSTANDING_MAX];
	struct link_call *call = slot->call;

	if (!call || slot->id != id)
		return NULL;
	slot->call = NULL;
	link->n_out--;
	return call;
}

WRIT_CHECKED static struct writ_err *
receive_one(struct link *link, struct writ_bytes packet)
{
	struct link_call *call;
	struct writ_err *err;
	struct frame frame;

	err = frame_parse(packet, &frame);
	if (err)
		return err;
	call = answered(link, frame.id);
	if (!call)
		return writ_fail(WRIT_BROKEN, "the signer answered what nobody asked");
	if (frame.type == SIGNER_ERROR)
		call->done(call, signer_error_read(frame.body), (struct writ_bytes){ 0 });
	else if (frame.type == (SIGNER_ANSWER | call->type))
		call->done(call, NULL, frame.body);
	else {
		call->done(call, writ_fail(WRIT_UNAVAILABLE, "the signer is away: try again"),
			   (struct writ_bytes){ 0 });
		return writ_fail(WRIT_BROKEN, "the signer answered %u to %u", frame.type, call->type);
	}
	return NULL;
}

static void
readable(int fd, struct clock now, void *ctx)
{
	struct link *link = ctx;
	struct writ_err *err;

	(void)now;
	for (size_t i = 0; i < SIGNER_OUTSTANDING_MAX && link->sock == fd; i++) {
		const ssize_t len = recv(fd, link->in, sizeof(link->in), MSG_DONTWAIT);

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (len <= 0) {
			broken(link, writ_fail(WRIT_UNAVAILABLE, "the signer closed its connection"));
			return;
		}
		err = receive_one(link, (struct writ_bytes){ link->in, (size_t)len });
		if (err) {
			broken(link, err);
			return;
		}
	}
}

struct writ_err *
link_open(struct link *link, int sock)
{
	struct writ_err *err;

	link_cut(link);
	err = loop_watch(link->loop, sock, readable, link);
	if (!err)
		link->sock = sock;
	return err;
}

void
link_send(struct link *link, struct link_call *call)
{
	call->next = NULL;
	*link->end = call;
	link->end = &call->next;
	link->n_waiting++;
}

struct note {
	struct link_call call;
	struct link *link;
};

static void
note_done(struct link_call *call, struct writ_err *err, struct writ_bytes body)
{
	struct note *note = (struct note *)call;

	(void)body;
	writ_err_free(err); /* a denial that cannot be written is no reason to stop: the signer counts it itself */
	note->link->n_notes--;
	writ_buf_done(&call->body);
	free(note);
}

void
link_note(struct link *link, uint8_t entry_type, struct writ_bytes said)
{
	const struct signer_note message = { .type = entry_type, .said = said };
	struct note *note = link->sock >= 0 && link->n_notes < NOTES_MAX ? calloc(1, sizeof(*note)) : NULL;
	struct writ_err *err;

	if (!note)
		return;
	note->link = link;
	note->call = (struct link_call){ .type = SIGNER_NOTE, .body = WRIT_BUF(FRAME_BODY_MAX), .done = note_done };
	link->n_notes++;
	err = signer_note_write(&message, &note->call.body);
	if (err)
		note_done(&note->call, err, (struct writ_bytes){ 0 });
	else
		link_send(link, &note->call);
}

/* Gives a free slot to a call. */
static struct slot *
slot_take(struct link *link, struct link_call *call)
{
	for (size_t i = 0; i < N_OF(link->slots); i++) {
		struct slot *slot = &link->slots[i];

		if (slot->call)
			continue;
		slot->call = call;
		slot->id = ++link->next_number * SIGNER_OUTSTANDING_MAX + i;
		link->n_out++;
		return slot;
	}
	return NULL;
}

static void
header_put(uint8_t out[FRAME_HEADER_LEN], const struct link_call *call, uint64_t id)
{
	writ_put32(out, (uint32_t)FRAME_VERSION << 16 | (uint32_t)call->type);
	writ_put32(out + 4, (uint32_t)call->body.len);
	writ_put64(out + 8, id);
}

/* What sendmmsg did not take goes back to the head of the list, in order. */
static void
unsend(struct link *link, struct slot *const *slots, size_t n)
{
	while (n-- > 0) {
		struct link_call *call = slots[n]->call;

		slots[n]->call = NULL;
		link->n_out--;
		call->next = link->first;
		if (!link->first)
			link->end = &call->next;
		link->first = call;
		link->n_waiting++;
	}
}

void
link_flush(struct link *link)
{
	struct mmsghdr messages[SIGNER_OUTSTANDING_MAX] = { 0 };
	struct iovec parts[SIGNER_OUTSTANDING_MAX][2];
	struct slot *slots[SIGNER_OUTSTANDING_MAX];
	unsigned n = 0;
	int sent;

	while (link->sock >= 0 && link->first && link->n_out < SIGNER_OUTSTANDING_MAX) {
		struct link_call *call = waiting_pop(link);

		slots[n] = slot_take(link, call);
		header_put(link->packets[n], call, slots[n]->id);
		parts[n][0] = (struct iovec){ link->packets[n], FRAME_HEADER_LEN };
		parts[n][1] = (struct iovec){ call->body.data, call->body.len };
		messages[n].msg_hdr.msg_iov = parts[n];
		messages[n].msg_hdr.msg_iovlen = 2;
		n++;
	}
	if (n == 0)
		return;
	sent = sendmmsg(link->sock, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		broken(link, writ_fail_errno(errno, "sending to the signer"));
		return;
	}
	unsend(link, slots + (sent < 0 ? 0 : sent), n - (unsigned)(sent < 0 ? 0 : sent));
}
