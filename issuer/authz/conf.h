/*
 * authz.yaml: what writ-authz trusts, whom it speaks for, and which request is which action (authz.yaml(5)).
 *
 * Read once, at the start.  Every text is in the configuration's own memory.  Knows no certificate and no request.
 * Thread-safe once read.
 */
#ifndef WRIT_ISSUER_AUTHZ_CONF_H
#define WRIT_ISSUER_AUTHZ_CONF_H

#include "base/bytes.h"
#include "base/event.h"
#include "issuer/x509/writ.h"

#define AUTHZ_ANCHORS_MAX 8 /* as writ.h */
#define AUTHZ_IDENTITIES_MAX 16
#define AUTHZ_POLICIES_MAX 64
#define AUTHZ_ACRS_MAX 16
#define AUTHZ_OPTIONS_MAX 16
#define AUTHZ_METHODS_MAX 16  /* of one route */
#define AUTHZ_ROUTES_MAX 1000 /* walked in order, at each request */
#define AUTHZ_CACHE_DEFAULT 10000
#define AUTHZ_CACHE_MAX 1000000 /* verified agents, some 10 KiB each */

struct authz_anchor {
	const char *certificate; /* path */
	const char *trust_domain;
};

struct authz_route {
	size_t n_methods;
	struct writ_bytes methods[AUTHZ_METHODS_MAX]; /* as sent: "GET" */
	const char *pattern;			      /* of resources: prefix and path, canonical */
	const char *action;
};

struct authz_conf {
	const char *socket;	  /* path of a unix socket; NULL: */
	const char *address;	  /* of a loopback interface, */
	unsigned port;		  /* and its port */
	const char *socket_group; /* NULL: the process's own */
	size_t n_anchors;
	struct authz_anchor anchors[AUTHZ_ANCHORS_MAX];
	size_t n_identities;
	const char *identities[AUTHZ_IDENTITIES_MAX];
	size_t n_policies;
	uint8_t policies[AUTHZ_POLICIES_MAX][32];
	size_t n_acrs;
	const char *acrs[AUTHZ_ACRS_MAX];
	size_t n_options;
	struct {
		enum writ_option option;
		int value;
	} options[AUTHZ_OPTIONS_MAX];
	const char *lists;  /* folder of issuing certificates and CRLs */
	const char *prefix; /* "https://erp.corp.example": a resource is this and the path */
	size_t n_routes;
	struct authz_route *routes;
	uint32_t cache;
	enum event_level log_level;
	struct writ_arena arena;
};

/* Reads the file; paths in it are relative to its folder.  WRIT_INVALID says where and what. */
WRIT_CHECKED struct writ_err *authz_conf_read(const char *path, struct authz_conf *ret);

/* The same from text; `name` must outlive the configuration. */
WRIT_CHECKED struct writ_err *authz_conf_parse(const char *name, const char *dir, struct writ_bytes text,
					       struct authz_conf *ret);
void authz_conf_done(struct authz_conf *);

#endif
