/*
 * RUN/admin.sock from inside: one operator at a time, one request at a time, each a row of the table in admin.c.
 *
 * A handler reads its body, does its work and writes the members of the answer, in the order of their names (canonical
 * JSON).  What changes something is journalled by entry_admin() before it is done, and its answer leaves after the
 * group's fdatasync, like every other (I2).  A handler may block as long as the device takes for one request.
 * Threading: the signer's one thread.
 */
#ifndef WRIT_ISSUER_SIGNER_ADMIN_H
#define WRIT_ISSUER_SIGNER_ADMIN_H

#include "issuer/signer/admin_wire.h"
#include "issuer/signer/signer.h"

struct admin_asked {
	uid_t by; /* the peer's, for the journal */
	struct writ_bytes body;
	int beside; /* a descriptor that came with it, or -1; closed after the handler */
};

typedef struct writ_err *admin_handler(struct signer *, const struct admin_asked *, struct canon_out *answer);

/* rotate.c */
admin_handler rotation_asked;
admin_handler key_revoke_asked;	/* key_revoke.c */

/* Takes the listening socket, and serves it from the signer's loop. */
WRIT_CHECKED struct writ_err *admin_open(struct signer *, int listener);
void admin_accept(struct signer *);	/* the listener is readable */
void admin_read(struct signer *);	/* the connection is readable, or gone */
void admin_flush(struct signer *);	/* after the group's fdatasync: sends the answer */
void admin_tick(struct signer *);	/* once a second: ends a connection that asks nothing */
void admin_done(struct signer *);

/* approvals.c */
admin_handler admin_pcrs, admin_approvals_raise;

/* attest.c */
admin_handler admin_attest;

/* ---- operator.c ---- */
WRIT_CHECKED struct writ_err *operator_asked(struct signer *, const struct admin_asked *, struct canon_out *answer);

#endif
