/*
 * The signer's connection of one loop: requests leave in groups at the end of a wake-up, answers come back in any
 * order.
 *
 * At most 64 requests are outstanding; more wait here.  Whoever sends bounds what he sends (leaves: shares.c; statuses: serve.c), and no
 * client is kept from being read for it: what is read next may be a revocation.  Knows the frames, not what they mean.  Threading: the loop's thread.
 */
#ifndef WRIT_ISSUER_SERVE_LINK_H
#define WRIT_ISSUER_SERVE_LINK_H

#include "issuer/http/http.h"
#include "issuer/signer/wire.h"

/* One request to the signer.  Embedded in whoever asks, who keeps it until `done`. */
struct link_call {
	struct link_call *next; /* internal */
	enum signer_message type;
	struct writ_buf body; /* limit FRAME_BODY_MAX; kept for the next use */
	/* Called once: the body of the answer (borrowed), or an error (taken): the signer's own, or WRIT_UNAVAILABLE
	 * when it is gone. */
	void (*done)(struct link_call *, struct writ_err *err, struct writ_bytes body);
};

struct link;

/* `lost` is told once when an open link breaks, on the loop's thread, before its calls are done with (so before anyone
 * may think them settled). */
WRIT_CHECKED struct writ_err *link_new(struct loop *, void (*lost)(void *ctx, struct writ_err *why), void *ctx,
				       struct link **ret);
void link_free(struct link *);

/* Takes a connected socket that has said HELLO. */
WRIT_CHECKED struct writ_err *link_open(struct link *, int sock);
bool link_is_open(const struct link *);

/* Closes; every call outstanding or waiting is done with WRIT_UNAVAILABLE. */
void link_cut(struct link *);

/* Queues a call; the link must be open. */
void link_send(struct link *, struct link_call *);

/* Queues a NOTE whose answer nobody waits for; dropped when the link is closed or 1,024 wait already. */
void link_note(struct link *, uint8_t entry_type, struct writ_bytes said);

/* At the end of a wake-up: one sendmmsg for what fits. */
void link_flush(struct link *);

/* Outstanding and waiting. */
size_t link_depth(const struct link *);

#endif
