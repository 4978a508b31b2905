/*
 * The leaf: built from a template, read back strictly (delegation.md 2).
 *
 * One profile, no options but the two it names: the reader accepts exactly what the builder writes, byte for byte in structure, so the
 * signer's gate, the issuer's read-back and a relying party's verifier are one function.  The serial (16 octets) and the 40 bytes of logRef's
 * index and leaf hash are zero until the signer fills them in.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_LEAF_H
#define WRIT_ISSUER_X509_LEAF_H

#include "base/pubkey.h"
#include "issuer/x509/delegation.h"

#define LEAF_MAX (DELEGATION_MAX + 2048)	/* bytes of a certificate */
#define LEAF_SERIAL 16
#define LEAF_LIFETIME_SEEN_MAX_S 930		/* notAfter - notBefore + 1 (delegation.md 6.1) */
#define LOG_REF_LEN 56				/* DER of LogRef: fixed */

enum leaf_tier { LEAF_TIER_RESIDENT = 2, LEAF_TIER_SEALED = 3, LEAF_TIER_SOFTWARE = 4 };	/* last arc of the policy OID */
const char *leaf_tier_name(enum leaf_tier);

/* What all leaves of one issuing CA share. */
struct leaf_issuer {
	struct writ_bytes trust_domain;
	struct writ_bytes name;		/* DER Name of the issuing CA */
	struct writ_bytes key_id;	/* 20 */
	enum key_kind kind;		/* of the issuing key: P-256 */
	enum leaf_tier tier;
	struct writ_bytes crl_url, ocsp_url;
	struct writ_bytes log_id;	/* 8 */
};

struct leaf_facts {
	struct writ_bytes spki;		/* DER */
	struct writ_bytes task_id;	/* CN is "task:" + this */
	struct writ_bytes san;		/* SPIFFE ID */
	writ_time not_before, not_after;
	struct writ_bytes delegation;	/* DER TaskDelegation */
	bool no_rev_avail;		/* instead of CRLDP and OCSP */
};

/* Appends the TBSCertificate, serial and log reference zero. */
WRIT_CHECKED struct writ_err *leaf_build(const struct leaf_issuer *, const struct leaf_facts *, struct writ_buf *ret_tbs);

struct leaf {
	struct writ_bytes tbs;			/* whole */
	struct writ_bytes serial;		/* 16 octets, inside tbs */
	struct writ_bytes issuer;		/* DER Name */
	struct writ_bytes spki;
	enum key_kind kind;
	uint8_t spki_sha256[32];
	struct writ_bytes trust_domain, task_id, san;
	writ_time not_before, not_after;
	struct writ_bytes authority_key_id;	/* 20 */
	enum leaf_tier tier;
	struct writ_bytes crl_url, ocsp_url;	/* empty with noRevAvail */
	bool no_rev_avail;
	struct writ_bytes delegation_der;
	struct delegation delegation;
	struct writ_bytes log_id;		/* 8 */
	struct writ_bytes log_index, log_hash;	/* 8 and 32, inside tbs */
	enum key_kind signature_kind;		/* P-256: what the AlgorithmIdentifier says */
	struct writ_bytes signature;		/* leaf_read() only */
};

/*
 * Bytes of arena that hold the lists of any 8192 octets, also of those that a rule refuses only after they were read: an empty string is 2 octets
 * and 16 bytes, a constraint 4 and 80, of which there are 16 a list.  What is accepted needs less than half of it.
 */
#define LEAF_ARENA (128 * 1024)

/* Reads a TBS of ours: WRIT_INVALID names the field and the rule.  Lists are in the arena (LEAF_ARENA is enough). */
WRIT_CHECKED struct writ_err *leaf_read_tbs(struct writ_bytes tbs, struct writ_arena *, struct leaf *ret);

/* Reads a whole certificate; the signature is not verified. */
WRIT_CHECKED struct writ_err *leaf_read(struct writ_bytes certificate, struct writ_arena *, struct leaf *ret);

/* The signer's part: offsets of what it fills in, found by leaf_read_tbs() on the same bytes. */
void leaf_fill(uint8_t *tbs, const struct leaf *, const uint8_t serial[LEAF_SERIAL], uint64_t log_index,
	       const uint8_t log_hash[32]);

/* SHA-256 of the TBS with the 40 bytes of the log reference zeroed: what the log entry holds (delegation.md 3.4). */
void leaf_tbs_digest(const struct leaf *, uint8_t out[32]);

/* What stands before and behind a TBS of that length in the signed structure: for one that is not in memory as a whole. */
WRIT_CHECKED struct writ_err *x509_frame(size_t tbs_len, enum key_kind, struct writ_bytes signature, struct writ_buf *ret_head,
					 struct writ_buf *ret_tail);

/* TBS, AlgorithmIdentifier and signature as one certificate (also for CA certificates). */
WRIT_CHECKED struct writ_err *x509_assemble(struct writ_bytes tbs, enum key_kind, struct writ_bytes signature, struct writ_buf *ret);

#endif
