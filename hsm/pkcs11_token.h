/*
 * The connection to one PKCS#11 token: module, session, login.
 *
 * (1) After a fault that loses sessions or handles everything is made anew, once, at the next request: finalise,
 *     initialise, find the token by its serial, log in once.
 * (2) Before a login the token's flags are read: a locked PIN, or a last try, is left to an operator; a refused PIN
 *     is never tried again (I12).
 * (3) The token's serial is the one first seen.
 * (4) No fork after the module is initialised: tokens share sessions with children silently.
 *
 * Knows no key.  Threading: one thread.
 */
#ifndef WRIT_HSM_PKCS11_TOKEN_H
#define WRIT_HSM_PKCS11_TOKEN_H

#include <p11-kit/p11-kit.h>
#include <sys/types.h>

#include "hsm/backend.h"
#include "hsm/pkcs11_uri.h"

struct pkcs11 {
	struct custody base;
	struct custody_conf conf;
	struct writ_secret pin;
	P11KitUri *uri; /* the configured token's */

	CK_FUNCTION_LIST *p11; /* the module; NULL until it is loaded, which happens once */
	bool initialised;
	bool open;  /* session is valid and logged in */
	bool stale; /* (1) */
	pid_t pid;  /* (4) */
	CK_SESSION_HANDLE session;
	uint64_t generation; /* of handles: they die with the session */

	bool seen; /* (3) */
	CK_TOKEN_INFO token;
	struct custody_info info;
};

WRIT_CHECKED struct writ_err *pkcs11_ready(struct pkcs11 *);
void pkcs11_down(struct pkcs11 *);

/* What became of a call: NULL, or its error by hsm/codes.h; marks stale and latches. */
WRIT_CHECKED struct writ_err *pkcs11_result(struct pkcs11 *, CK_RV, const char *call);

#endif
