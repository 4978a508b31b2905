/*
 * Denied requests for a delegation, kept so that `writ policy diff` can ask another policy of them.
 *
 * Bounded: no more are kept than are noted in the journal (admission_note()), STORE_DENIED_SLOTS a principal, for a
 * day.  Nobody waits for them, and one that cannot be stored is gone.  Threading: the loop's thread.
 */
#ifndef WRIT_ISSUER_SERVE_DENIED_H
#define WRIT_ISSUER_SERVE_DENIED_H

#include "issuer/store/store.h"

struct serve_loop;

/* Copies it and hands it to the writer; the slot is worked out here. */
void denied_keep(struct serve_loop *, const struct store_denied *);

#endif
