/*
 * The configuration of a responder: a file of its own, which names no key but that of its client certificate.
 *
 * Read as writ.yaml is (conf.h): owned by root or the reader, not writable by others; every error names file, line,
 * column and key.  Threading: read-only after conf_responder_read().
 */
#ifndef WRIT_ISSUER_CONF_RESPONDER_H
#define WRIT_ISSUER_CONF_RESPONDER_H

#include "issuer/conf/conf.h"

struct conf_responder {
	struct conf common;	 /* path, status (where it listens), threads, log_level; the memory of all texts */
	uint32_t connections;	 /* a loop thread; default 10000 */
	const char *issuer;	 /* "https://issuer.corp.example:8443", no trailing slash: the feed */
	const char *upstream;	 /* "http://issuer.corp.example:8080": OCSP, CRLs, CA certificates */
	const char *ca;		 /* PEM file: who certified the issuer's API */
	const char *certificate; /* PEM file: ours, of a principal with the role responder */
	const char *key;	 /* its key: a path, credential:NAME or fd:N */
	uint32_t lag_max_s;   /* older knowledge is not spoken of; default 5; who has no news says so twice a second or more */
	uint32_t entries_max; /* certificates in memory; default 4000000 */
	const char *user;     /* becomes this user when it is started by root; NULL: stays who it is */
};

WRIT_CHECKED struct writ_err *conf_responder_read(const char *path, struct conf_responder *ret);
WRIT_CHECKED struct writ_err *conf_responder_parse(const char *name, const char *dir, struct writ_bytes text,
						   struct conf_responder *ret);
void conf_responder_done(struct conf_responder *);

#endif
