/*
 * TaskDelegation and HopGrant: the extension that says who authorised what (delegation.md 3).
 *
 * The reader enforces E1..E10 before anything is believed, and bounds everything before it is allocated: 8192 bytes, nesting 12.  The writer
 * writes only what the reader accepts.  Structures borrow from the DER (reading) or from the caller (writing); lists are in the arena.
 * Knows no certificate around it.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_DELEGATION_H
#define WRIT_ISSUER_X509_DELEGATION_H

#include "policy/grant.h"

#define DELEGATION_MAX 8192	/* bytes (E1) */
#define HOP_GRANT_MAX (16 * 1024)
#define PURPOSE_MAX 256		/* octets */
#define EDGE_ID 16

enum auth_method { AUTH_MTLS_CERT = 0, AUTH_SIGNED_GRANT = 1, AUTH_OIDC_ID_TOKEN = 2, AUTH_WRIT_CERT = 3 };
const char *auth_method_name(enum auth_method);		/* "mtlsCert", ... as the ASN.1 module names them */

struct hop {
	struct writ_bytes id;			/* 16 */
	struct writ_bytes principal;
	enum principal_kind kind;
	enum auth_method method;
	struct writ_bytes auth_digest;		/* 32 */
	struct writ_bytes authority, acr;	/* empty: absent */
	writ_time auth_time;			/* 0: absent */
	writ_time granted_at, not_after;
	unsigned depth_remaining;
	struct writ_bytes scope_digest;		/* 32: SHA-256 of DER HopGrant */
	struct writ_bytes cert_sha256;		/* 32; empty unless kind is agent */
	struct writ_bytes cert_serial;		/* INTEGER's octets, unsigned big endian */
	struct writ_bytes cert_issuer_key_id;	/* 20 */
	struct writ_bytes grant;		/* 32, or empty */
};

struct delegation {
	struct writ_bytes task_id, purpose, parent_task;	/* purpose, parent_task empty: absent */
	struct grant grant;			/* scope, audience, constraints of THIS certificate */
	size_t n_hops;
	struct hop hops[HOPS_MAX];		/* root first */
	struct writ_bytes hops_der;		/* contents of the SEQUENCE OF, byte-equal; when writing and not empty, used instead of `hops` */
	struct writ_bytes policy_id, policy_digest;
	struct writ_bytes context_type, context_digest;		/* empty: absent */
	struct writ_bytes attestation_type, attestation_digest;
	writ_time attestation_at;
};

/* The extension's value (extnValue's contents).  WRIT_INVALID names the rule (E1..E10) and the place. */
WRIT_CHECKED struct writ_err *delegation_read(struct writ_bytes der, struct writ_arena *, struct delegation *ret);

/*
 * Which rule delegation_read() or delegation_check_validity() said was broken: "E1" to "E10", also when the error was wrapped since;
 * false when it was none (no memory, or an error of somebody else's).
 */
#define DELEGATION_RULE 4
bool delegation_rule_of(const struct writ_err *, char out[DELEGATION_RULE]);

/* Appends the extension value.  Writes nothing that delegation_read() would refuse: WRIT_INVALID names the rule. */
WRIT_CHECKED struct writ_err *delegation_write(const struct delegation *, struct writ_buf *ret);

/* E8's last part, which needs the certificate: not_after <= the last hop's. */
WRIT_CHECKED struct writ_err *delegation_check_validity(const struct delegation *, writ_time cert_not_after);

WRIT_CHECKED struct writ_err *hop_write(const struct hop *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *hop_grant_write(const struct grant *, struct writ_buf *ret);
WRIT_CHECKED struct writ_err *hop_grant_read(struct writ_bytes der, struct writ_arena *, struct grant *ret);

#endif
