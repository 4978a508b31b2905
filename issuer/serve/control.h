/*
 * The control connection to the signer: blocking calls of the writer and of recovery, many frames at once for a
 * cascade.
 *
 * Threading: the writer's thread.  Every error returned means that the connection is of no more use.
 */
#ifndef WRIT_ISSUER_SERVE_CONTROL_H
#define WRIT_ISSUER_SERVE_CONTROL_H

#include "issuer/signer/wire.h"
#include "issuer/store/store.h"

#define CONTROL_TIMEOUT_MS 8000 /* over the device's deadline (hsm/wire.h): a hung device is not a lost signer */

/* A serial to revoke; `at` is when the store says it happened. */
struct control_revoke {
	uint8_t serial[SERIAL_LEN];
	uint8_t reason;
	writ_time at;
};

/* One revocation, of serials and edges, at one time: in the same frames, so that a small one waits for one fdatasync.
 * `*ret_logged` false: the journal owes an entry. */
WRIT_CHECKED struct writ_err *control_revocation(int sock, const struct control_revoke *, size_t n,
						 const uint8_t (*edges)[EDGE_ID_LEN], size_t n_edges, writ_time at,
						 bool *ret_logged);
/* Of several: serials in order of `at` (the frames carry one time each), and edges with their own. */
WRIT_CHECKED struct writ_err *control_revoke(int sock, const struct control_revoke *, size_t n, bool *ret_logged);
WRIT_CHECKED struct writ_err *control_revoke_edges(int sock, const uint8_t (*edges)[EDGE_ID_LEN], size_t n,
						   writ_time at, bool *ret_logged);
WRIT_CHECKED struct writ_err *control_abort(int sock, const uint8_t (*serials)[SERIAL_LEN], size_t n);

/* Entries for the journal; `refused` is the first that the signer would not have, an error of its own: the connection
 * is well.  NULL when it took all. */
struct control_note {
	uint8_t type; /* enum entry_type */
	struct writ_bytes said;
};
WRIT_CHECKED struct writ_err *control_notes(int sock, const struct control_note *, size_t n,
					    struct writ_err **ret_refused);
WRIT_CHECKED struct writ_err *control_settled(int sock, uint64_t index);
/* A policy is in force: said to the journal.  `by`: "start", "signal", or the operator who asked for the reload. */
struct policy;
WRIT_CHECKED struct writ_err *control_note_policy(int sock, const struct policy *, struct writ_bytes by);
WRIT_CHECKED struct writ_err *control_health(int sock, struct signer_health *ret);

#endif
