/*
 * writ-authz: answers a proxy's question whether a request may pass (delegation.md 6.2).
 *
 * The proxy has made the handshake, so it knows that the client holds the key; it hands over the certificate, method,
 * target and address in headers of its own making, and gets 200 with who the agent is, or 401 or 403 with the reason.
 * Everything is verified here from the certificate: no header says who somebody is.  Holds no key.  server.c is the
 * file to read first.
 */
#ifndef WRIT_ISSUER_AUTHZ_AUTHZ_H
#define WRIT_ISSUER_AUTHZ_AUTHZ_H

#include "issuer/authz/agents.h"
#include "issuer/authz/conf.h"
#include "issuer/authz/lists.h"
#include "issuer/http/http.h"

struct authz {
	const struct authz_conf *conf; /* borrowed */
	struct writ_verifier *verifier;
	struct agents *agents;
	struct lists *lists;
	struct loop *loop;  /* of authz_run() */
	bool folder_failed; /* told once, until it is well again */
};

/* Anchors and demands from the configuration, the lists as they are now. */
WRIT_CHECKED struct writ_err *authz_open(struct authz *, const struct authz_conf *, writ_time now);
void authz_close(struct authz *);

/* Looks at the lists; forgets all agents when any changed. */
void authz_refresh(struct authz *, writ_time now);

/* The handler of the loop: GET /v1/check and /healthz. */
void authz_request(struct http_request *, void *authz);

/* Listens and answers until SIGTERM or SIGINT. */
WRIT_CHECKED struct writ_err *authz_run(const char *conf_path);

#endif
