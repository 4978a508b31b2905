/*
 * Recovery: journal, store, signer and status table made to agree, at the start and after the signer was away
 * (DESIGN.md, Recovery).
 */
#ifndef WRIT_ISSUER_SERVE_RECOVERY_H
#define WRIT_ISSUER_SERVE_RECOVERY_H

#include "issuer/signer/wire.h"
#include "issuer/store/store.h"

struct serve;

/*
 * The store's live certificates, read while the signer still reads its journal: half of a start.  They are the store's as
 * long as no certificate is written to it; then they must be done with.
 */
struct recovery_row;
struct recovery_ahead {
	bool whole; /* false: nothing was read */
	writ_time at;
	struct recovery_row *rows;
	size_t n, cap;
};
void recovery_ahead(struct store *, writ_time now, struct recovery_ahead *ret); /* an error: recovery meets it again */
void recovery_ahead_done(struct recovery_ahead *);

/*
 * On the writer's thread, with its queue drained.  `sock` has said HELLO, and this is its welcome.  Afterwards every
 * live entry has a row, every row that ended is in the ledger as ended, the status table has every live row, the
 * journal says `settled`.  WRIT_LOCKED: store or journal is an older copy.
 */
WRIT_CHECKED struct writ_err *recovery_run(struct serve *, struct store *, const struct recovery_ahead *, int sock,
					   const struct signer_welcome *, writ_time now);

#endif
