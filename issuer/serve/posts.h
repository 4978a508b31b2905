/*
 * What the keeper has the loops do, each on its own thread: let go of the signer, take it up again, issue by another
 * CA, follow other rules.
 *
 * Decides nothing.  Threading: the keeper's.
 */
#ifndef WRIT_ISSUER_SERVE_POSTS_H
#define WRIT_ISSUER_SERVE_POSTS_H

#include "issuer/serve/serve.h"

/* Every loop lets go; what was signed is in the writer's queue when this returns. */
void posts_cut(struct serve *);

/* That loop speaks to the signer over `sock`, and issues so; takes both. */
void posts_open(struct serve_loop *, int sock, struct issuing *);

/* Takes `issuing`. */
void posts_issuing(struct serve_loop *, struct issuing *);

/* In force on every loop when this returns; with `listen` the API is listened for from now on.  False: by one it is
 * not. */
bool posts_rules(struct serve *, struct rules *, bool listen);

#endif
