/*
 * A verified leaf, as writ.h hands it out: its own copy of the certificate, what was read from it, its JSON view.
 *
 * For verifier.c and agent.c only.  Does not change once it was handed out.
 */
#ifndef WRIT_ISSUER_X509_AGENT_H
#define WRIT_ISSUER_X509_AGENT_H

#include "issuer/x509/leaf.h"
#include "issuer/x509/writ.h"

struct writ_agent {
	struct writ_buf der, json; /* json ends in a NUL */
	struct writ_arena arena;
	struct leaf leaf;	/* views into der; lists in the arena */
	uint8_t sha256[32];	/* of der */
	writ_time expires_at;	/* the verifier's part */
	char *id, *root, *task; /* in the arena */
};

/* Copies and reads the leaf; nothing is verified yet.  WRIT_OK: `*ret` is the caller's. */
WRIT_CHECKED enum writ_refusal agent_read(struct writ_bytes certificate, struct writ_agent **ret, struct writ_why *);

/* Everything was verified: forms what is handed out. */
WRIT_CHECKED enum writ_refusal agent_finish(struct writ_agent *, writ_time expires_at, struct writ_why *);

void writ_agent_freep(struct writ_agent **);

#endif
