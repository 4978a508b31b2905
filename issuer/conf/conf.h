/*
 * writ.yaml as a struct: read, checked and frozen before any sandbox.
 *
 * The file must be owned by root or the reader, not writable by group or others, no symlink.  Every error names file, line, column, the key,
 * what was found and what is allowed.  Knows what values mean, not what they are used for.  Read by issuer, signer, device and supervisor, each for
 * itself; HELLO compares digests.  Threading: read-only after conf_read().
 */
#ifndef WRIT_ISSUER_CONF_H
#define WRIT_ISSUER_CONF_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/event.h"

enum conf_tier { TIER_RESIDENT = 1, TIER_SEALED = 2 };
enum conf_kind { CONF_HUMAN = 0, CONF_SERVICE = 1 };		/* as PrincipalKind; an agent is never configured */
enum conf_revocation { CONF_REVOCATION_NONE, CONF_REVOCATION_CRL, CONF_REVOCATION_OCSP };

struct conf_address {
	char host[64];		/* an IP address, as written */
	uint16_t port;
};

/* Who may ask with a certificate of their own, and what that certificate's holder is called. */
struct conf_delegators {
	const char *anchors;		/* PEM file of CA certificates */
	enum conf_kind kind;
	/*
	 * "spiffe://agents.corp.example/human/corp/{CN}": one placeholder, {CN}, {SAN:URI}, {SAN:email} or {SAN:dns}.  A value that is not [A-Za-z0-9._-]+
	 * is written "b64." + base64url (delegation.md 7).  With {SAN:URI} alone, the URI must be a SPIFFE ID of this kind.
	 */
	const char *principal;
	enum conf_revocation revocation;	/* must be said: `none` is a decision */
	const char *crl;			/* file (PEM or DER), read again when it changes; CONF_REVOCATION_CRL only */
	uint32_t crl_max_age_s;
	const char *ocsp;			/* URL that writ-fetchd asks; CONF_REVOCATION_OCSP only */
	uint32_t ocsp_max_age_s;
	unsigned line;
};

/* Whose signature on a grant counts, and as whom (delegation.md 8). */
struct conf_grant_key {
	const char *kid;		/* what the grant's header names */
	enum conf_kind kind;
	const char *principal;		/* what `iss` must be */
	const char *key;		/* PEM file: a public key, or a certificate, of which the key alone is taken */
};

#define CONF_OIDC_RS256 1U
#define CONF_OIDC_PS256 2U
#define CONF_OIDC_ES256 4U

/* An OpenID provider: its ID tokens, bound by nonce to one grant, open tasks (delegation.md 8). */
struct conf_oidc {
	const char *alias;		/* our name for exactly that issuer: spiffe://TD/human/ALIAS/SUB */
	const char *issuer;		/* what `iss` is, byte for byte */
	const char *client_id;		/* what `aud` is, or holds */
	const char *jwks_file;		/* its keys: a file, read again when it changes; or NULL, and */
	const char *jwks_url;		/* where writ-fetchd asks for them: https, or http to this machine */
	const char *ca;			/* PEM file for that URL; NULL: the system's */
	uint32_t refresh_s;		/* the URL is asked this often; default 300 */
	unsigned algorithms;		/* CONF_OIDC_*; default all three */
	size_t n_acr;			/* 0: any, or none */
	const char *const *acr;		/* one of these must be the token's */
	uint32_t max_age_s;		/* since `iat`; default 120 */
	uint32_t max_auth_age_s;	/* since `auth_time`; 0: not asked */
};

struct conf_limits {
	uint32_t connections;			/* a loop thread; default 10000 */
	uint32_t connections_per_address;	/* default 1000 */
	uint32_t requests_per_principal_s;	/* token bucket; default 1000 */
	uint32_t requests_per_delegator_s;	/* of a root delegator and all below it; default twice that of a principal */
	uint32_t under_way;			/* issuances begun and not ended, a loop thread; default 96 */
	uint32_t waiting;			/* issuances that wait their turn, a loop thread; default 2048 */
	uint32_t wait_ms;			/* and for how long; default 2000 */
	uint32_t handshakes_s;			/* a loop thread; default 500 */
	uint32_t leaves_per_edge;		/* live at once; default 16 */
	uint32_t children_per_edge;		/* default 100 */
	uint32_t ocsp_nonces_s;			/* OCSP answers signed with a nonce, a loop thread; default 200 */
	uint32_t ocsp_misses_s;			/* and without one; default 5000 */
};

struct conf {
	const char *path;
	uint8_t digest[32];		/* SHA-256 of the file's bytes */

	const char *trust_domain;
	const char *state, *run;	/* absolute folders */
	struct conf_address api;
	const char *api_certificate, *api_key;	/* PEM files; the operator's, not ours */
	struct conf_address status;
	uint32_t crl_shard_entries;	/* a CRL that could come to have so many is followed by the next shard; 0: never */
	const char *status_url;		/* "http://127.0.0.1:8080": what CRLDP and AIA begin with; no trailing slash */

	struct {
		enum conf_tier tier;
		uint32_t rotation_s;	/* a generation of issuing keys signs for so long; default 14400 */
		const char *scheme;	/* "tpm2" or "pkcs11": which of the two maps is there */
		const char *tcti;
		bool allow_software_tpm;
		uint32_t pcrs;			/* bit n: PCR n; the keys are bound to values of these that are approved; 0: to none */
		const char *approval_key;	/* PEM file: the public key that signs approvals; with pcrs only, as is: */
		const char *approvals;		/* folder of the approvals */
		const char *auth_file;	/* a path, credential:NAME or fd:N; TPM: 32 random bytes as 64 hex digits, made by `writ init` */
		const char *module, *uri, *pin_file;
		size_t n_environment;	/* of the module: SOFTHSM2_CONF=... */
		const char *const *environment;
		size_t n_paths;		/* folders that the module may read and write */
		const char *const *paths;
		bool operator;		/* the anchor's secret is not on this host: given at writ init and writ rotate */
		struct {		/* with it: the anchor's own PKCS#11 token, which may be elsewhere in between */
			const char *module, *uri;
			size_t n_environment;
			const char *const *environment;
		} anchor_token;
		const char *standby;	/* PEM file of anchors that wait in other devices; NULL: none */
		const char *retiring;	/* PEM file of anchors that certify nothing more, and have leaves yet; NULL: none */
	} custody;

	size_t n_delegators;
	const struct conf_delegators *delegators;

	struct {
		const char *audience;	/* what `aud` must be; NULL: neither signed grants nor ID tokens are accepted */
		uint32_t redeem_within_s;	/* the most that `exp` may be after `iat`; default 900 */
		size_t n_keys;
		const struct conf_grant_key *keys;
	} grants;

	size_t n_oidc;
	const struct conf_oidc *oidc;

	const char *policy;		/* file */
	struct conf_limits limits;
	const char *log_origin;		/* default TRUST_DOMAIN/writ/NODE; node name default "n1" */
	struct {
		const char *issuer, *signer, *device, *fetch;	/* NULL: the user who started writd */
		const char *operator;			/* may use RUN/admin.sock, as root may; NULL: root alone */
		const char *log_group;			/* may read the journal; NULL: none */
	} users;
	unsigned threads;		/* loop threads; default 1 */
	enum event_level log_level;

	struct writ_arena arena;	/* owns every string above */
};

/* Reads and checks the file.  Relative paths in it are relative to its folder. */
WRIT_CHECKED struct writ_err *conf_read(const char *path, struct conf *ret);

/* The same from memory (tests, fuzzing); `dir` is what relative paths are relative to. */
WRIT_CHECKED struct writ_err *conf_parse(const char *name, const char *dir, struct writ_bytes text, struct conf *ret);
void conf_done(struct conf *);

/* Does it name an URL that writ-fetchd must ask? */
bool conf_fetches(const struct conf *);

/* STATE/keys/x and so on, built once: `out` holds 4096 bytes; returns it. */
char *conf_path(const char *dir, const char *name, char *out);

#endif
