/*
 * CA certificates: anchor, issuing CA generations, OCSP responders; and the anchor's CSR for an owner's root.
 *
 * Builders give the TBS; the signer signs it.  Profiles are DESIGN.md, Keys.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_CA_H
#define WRIT_ISSUER_X509_CA_H

#include "issuer/x509/leaf.h"

#define CA_CERT_MAX 4096

/* SHA-1 of the raw public key (RFC 5280 4.2.1.2 method 1): key ids name CAs in files, URLs and AKI. */
WRIT_CHECKED struct writ_err *ca_key_id(struct writ_bytes spki, uint8_t out[20]);

/* "O=<trust domain>, CN=Writ anchor <8 hex>" and "CN=Writ issuing <8 hex of its key id>", "CN=Writ OCSP <8 hex>". */
enum ca_role { CA_ANCHOR, CA_ISSUING, CA_OCSP };
WRIT_CHECKED struct writ_err *ca_name(enum ca_role, struct writ_bytes trust_domain, const uint8_t key_id[20], struct writ_buf *ret);

struct ca_facts {
	enum ca_role role;
	struct writ_bytes trust_domain;
	uint8_t serial[16];		/* positive; ours: minutes + random, as leaves */
	struct writ_bytes spki;
	struct writ_bytes issuer_name;	/* DER; ANCHOR: empty, self-signed */
	struct writ_bytes issuer_spki;	/* for AKI; ANCHOR: empty */
	enum key_kind issuer_kind;	/* whose signature it will bear */
	writ_time not_before, not_after;
	enum leaf_tier tier;		/* ISSUING: asserted with cp-delegatedAgent */
	struct writ_bytes crl_url;	/* ISSUING: the anchor's CRL */
	struct writ_bytes ca_url;	/* ISSUING: the anchor's certificate (AIA caIssuers); may be empty */
};

WRIT_CHECKED struct writ_err *ca_build_tbs(const struct ca_facts *, struct writ_buf *ret_tbs);

/* CertificationRequestInfo for an owner's root: subject as ca_name(CA_ANCHOR), asks for CA:TRUE pathlen 1, keyCertSign|cRLSign, the policies. */
WRIT_CHECKED struct writ_err *ca_build_csr_info(struct writ_bytes trust_domain, struct writ_bytes spki, struct writ_buf *ret_info);

/* Bits of KeyUsage as der_put_named_bits() counts them. */
#define CA_KU_DIGITAL_SIGNATURE 0x8000
#define CA_KU_CERT_SIGN 0x0400
#define CA_KU_CRL_SIGN 0x0200

/*
 * A certificate of a CA or an OCSP responder, read (ours, or an anchor that an owner's root signed): strict DER, v3.  A CA has CA:TRUE and keyCertSign,
 * anything else must be an OCSP responder (digitalSignature, EKU OCSPSigning alone).  An unknown critical extension is refused.  The signature is not verified.
 */
struct ca_cert {
	struct writ_bytes whole, tbs;
	struct writ_bytes serial;
	struct writ_bytes issuer, subject;	/* DER Names */
	struct writ_bytes spki;
	uint8_t key_id[20];		/* computed */
	enum key_kind kind;
	bool is_ca;
	int path_len;			/* -1: none */
	bool self_issued;
	writ_time not_before, not_after;
	enum key_kind signature_kind;	/* KEY_NONE: an algorithm that is not ours (an owner's RSA root) */
	struct writ_bytes signature;
	enum leaf_tier tiers[3];	/* asserted; all three where anyPolicy, or no policy on a self-issued CA, allows all */
	size_t n_tiers;
	bool delegated_agent;		/* cp-delegatedAgent (or anyPolicy, or no policies at all on a self-signed anchor) */
	uint16_t key_usage;		/* CA_KU_... */
	bool ocsp_signing;		/* an OCSP responder */
	struct writ_bytes authority_key_id;	/* 20 octets, or empty */
	struct writ_bytes crl_url;
};

WRIT_CHECKED struct writ_err *ca_read(struct writ_bytes certificate, struct ca_cert *ret);

/* PEM of any DER: "CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL". */
WRIT_CHECKED struct writ_err *pem_write(const char *label, struct writ_bytes der, struct writ_buf *ret);
/* The next PEM block of that label; `*rest` moves behind it; WRIT_NOT_FOUND when there is no more. */
WRIT_CHECKED struct writ_err *pem_read(const char *label, struct writ_bytes *rest, struct writ_buf *ret_der);

#endif
