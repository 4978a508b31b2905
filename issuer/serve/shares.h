/*
 * Whose share a request is taken from, and when its turn is: what admission.h and turns.h know, for a work.
 *
 * Two buckets: the principal's (by address without a certificate), and that of the root delegator, for whatever makes a
 * delegation or a certificate.  Then a turn among those of other roots (turns.h).  Each refusal is made before body,
 * CSR and proof of possession are looked at, and names rule, value, limit and what to do.
 *
 * Who has no certificate and names a task is below that task's opener, as whoever holds a key of it must be; until the
 * key is proven the opener's bucket is looked at and nothing is taken from it, and its askers are told apart by
 * address. Threading: the loop's.
 */
#ifndef WRIT_ISSUER_SERVE_SHARES_H
#define WRIT_ISSUER_SERVE_SHARES_H

#include "issuer/serve/turns.h"

struct serve_loop;
struct work;

/* Before a loop runs; freed with turns_free() and roots_free(). */
WRIT_CHECKED struct writ_err *shares_loop(struct serve_loop *);

/* The principal's token.  WRIT_EXHAUSTED. */
WRIT_CHECKED struct writ_err *shares_asks(struct work *, bool takes_back);

/*
 * A turn for what makes a delegation or a certificate; `begin` follows, at once or when it comes, and its error is the
 * answer. False: it was answered here.  `task`: whose leaf is asked for; empty: what is asked is the caller's own.
 */
bool shares_turn(struct work *, struct writ_bytes task, struct writ_err *(*begin)(struct work *));

/* It is proven now who asks below that root: takes the token that was only looked at. */
WRIT_CHECKED struct writ_err *shares_proven(struct work *);

/* A leaf goes to the signer, or is back from it: it has a window, and a share of that is kept from leaves. */
void shares_at_signer(struct work *, bool there);

/* The work ends: the next one's turn may come. */
void shares_left(struct work *);

/* At the end of a wake-up. */
void shares_pump(struct serve_loop *);

/* Lines of /metrics. */
struct serve;
WRIT_CHECKED struct writ_err *shares_write(struct serve *, int64_t now_ms, struct writ_buf *ret);

#endif
