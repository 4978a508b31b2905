/*
 * OCSP (RFC 6960, 9654, 9919): a request parsed without a copy, a response built as bytes.
 *
 * The request's own CertID is copied into the answer; SHA-1 and SHA-256 CertIDs; one certificate a request.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_OCSP_H
#define WRIT_ISSUER_X509_OCSP_H

#include "issuer/x509/crl.h"

#define OCSP_REQUEST_MAX 2048		/* bytes; a CertID with nonce is 165 */
#define OCSP_NONCE_MAX 128		/* octets (RFC 9654) */
#define OCSP_RESPONSE_MAX 2048

struct ocsp_request {
	struct writ_bytes cert_id;		/* CertID, whole */
	bool sha1;				/* else SHA-256 */
	struct writ_bytes issuer_name_hash, issuer_key_hash;
	struct writ_bytes serial;		/* INTEGER's octets without a leading zero */
	struct writ_bytes nonce;		/* octets; empty: none asked */
};

/* WRIT_INVALID: answer malformedRequest.  A signature on the request is skipped, not believed. */
WRIT_CHECKED struct writ_err *ocsp_request_parse(struct writ_bytes der, struct ocsp_request *ret);

/* Hashes of an issuer's name and key, for both algorithms: computed once a CA. */
struct ocsp_issuer {
	uint8_t name_sha1[20], key_sha1[20], name_sha256[32], key_sha256[32];
};
WRIT_CHECKED struct writ_err *ocsp_issuer_init(struct writ_bytes name, struct writ_bytes spki, struct ocsp_issuer *ret);
bool ocsp_issuer_is(const struct ocsp_issuer *, const struct ocsp_request *);

enum ocsp_status { OCSP_GOOD, OCSP_REVOKED };		/* there is no "unknown": it is unauthorized, unsigned */

struct ocsp_facts {
	struct writ_bytes cert_id;
	enum ocsp_status status;
	writ_time revoked_at;
	enum crl_reason reason;
	writ_time produced_at, this_update, next_update;
	struct writ_bytes nonce;		/* echoed; empty: none */
	struct writ_bytes responder_key_id;	/* 20: byKey */
	struct writ_bytes responder_cert;	/* DER, put into certs */
	enum key_kind kind;
};

/* ResponseData to sign, then the whole OCSPResponse. */
WRIT_CHECKED struct writ_err *ocsp_build_tbs(const struct ocsp_facts *, struct writ_buf *ret_tbs);
WRIT_CHECKED struct writ_err *ocsp_assemble(struct writ_bytes tbs, enum key_kind, struct writ_bytes signature,
					    struct writ_bytes responder_cert, struct writ_buf *ret);

/* The five bytes of an unsigned answer. */
enum ocsp_error { OCSP_MALFORMED = 1, OCSP_INTERNAL = 2, OCSP_TRY_LATER = 3, OCSP_UNAUTHORIZED = 6 };
struct writ_bytes ocsp_error_response(enum ocsp_error);

/* A request for one certificate (writ verify, tests, bench). */
WRIT_CHECKED struct writ_err *ocsp_request_build(const struct ocsp_issuer *, bool sha1, struct writ_bytes serial, struct writ_bytes nonce,
						 struct writ_buf *ret);

/* The same about a CertID as it stands, in whatever form; no nonce. */
WRIT_CHECKED struct writ_err *ocsp_request_about(struct writ_bytes cert_id, struct writ_buf *ret);

/* A response read and verified: signed by `issuer_spki` or by a delegate it certified; about `serial`; fresh at `now`. */
struct ocsp_answer {
	enum ocsp_status status;
	writ_time revoked_at;
	unsigned reason;
	writ_time this_update, next_update;
	struct writ_bytes cert_id;		/* in the response: in the form that was asked, of an honest responder */
};
WRIT_CHECKED struct writ_err *ocsp_response_verify(struct writ_bytes response, const struct ocsp_issuer *, struct writ_bytes issuer_spki,
						   struct writ_bytes serial, writ_time now, struct ocsp_answer *ret);

#endif
