/*
 * Custody: keys that live in a device (a TPM 2.0, or a PKCS#11 token) and never leave it.
 *
 * One contract, every backend; tests/contract/custody.c is the same claims made of each.  What all backends rely on is
 * checked once, in the functions below, and callers use those, never `ops`: arguments are bounded, and every signature
 * is verified with the key's pinned public key before anyone sees it.  Knows nothing of certificates.  Two things latch,
 * until the custody is closed: the device, when it refused to authenticate or broke a promise, and a single key, when a
 * signature of it was none.
 * Errors: WRIT_UNAVAILABLE the device is away or busy, try later; WRIT_LOCKED authentication failed, wrong key, bad
 * signature or policy - never retried (I12); WRIT_INVALID not an algorithm of this device, or a damaged reference or
 * blob; WRIT_NOT_FOUND no such key.  Native codes (TSS2_RC, CK_RV) are in the text.
 * Threading: a custody and its keys belong to one thread.
 */
#ifndef WRIT_HSM_CUSTODY_H
#define WRIT_HSM_CUSTODY_H

#include "base/pubkey.h"
#include "base/secret.h"
#include "hsm/attest.h"

#define CUSTODY_REF_MAX 8192  /* bytes of a key reference: a TPM 2.0 key file (PEM) or an RFC 7512 URI */
#define CUSTODY_BLOB_MAX 4096 /* bytes of a sealed blob */
#define CUSTODY_REPORT_MAX 2048 /* bytes of what a device says about its PCRs: APPROVAL_FILE_MAX */
#define CUSTODY_SECRET_LEN 32 /* what seal() takes: an AES-256 key */
#define CUSTODY_AHEAD_MAX 1024 /* how far a number may be ahead of COUNTER_SEALED: destroying it takes as many raises */
#define CUSTODY_LABEL_MAX 64  /* bytes of a key's label: printable ASCII */
#define CUSTODY_QUARANTINE_MAX 8 /* one bad key more, and it is the device that is not trusted */
#define CUSTODY_MESSAGE_MAX (64 * 1024 * 1024) /* bytes signed in one request: a CRL of 1.3 million entries */

struct custody;
struct key;

/* What a device says of itself, and what we saw. */
struct custody_info {
	bool software; /* seen, never configured: a software TPM or SoftHSM; certificates say cp-software */
	bool can_seal;
	char maker[64], model[64], serial[64], firmware[64]; /* printable ASCII, NUL-terminated */
};

/*
 * Counters of the device: they only grow, whatever files are restored, and last as long as the device is not cleared.
 * A TPM's are NV counters, and wear: a part is good for some 100,000 raises, so raise one with a generation or a start,
 * never with a certificate.  A token's are objects that its module replaces: a claim of the token, no more.
 */
enum custody_counter {
	COUNTER_SEALED = 1, /* what was sealed under a lower number is destroyed */
	COUNTER_APPROVAL,   /* approvals of PCR values with a lower version are dead */
	COUNTER_STATE,	    /* raised with the state directory: a state that says another value is an old one */
};
#define CUSTODY_COUNTERS 3

/* Where the device is and how to speak to it; strings are borrowed for the life of the custody. */
struct custody_conf {
	/* TPM: */
	const char *tcti; /* "swtpm:path=/run/x.sock", "device:/dev/tpmrm0"; never empty: no search for one */
	bool allow_software_tpm;
	uint32_t pcrs;		  /* bit n: PCR n; 0: keys are bound to no PCR.  Else all of: */
	const char *approval_key; /* PEM file of the P-256 public key that signs approvals (hsm/approval.h) */
	const char *approvals;	  /* folder */
	const char *approvals_for; /* "writ-ca-TRUST-DOMAIN" */
	/* PKCS#11: */
	const char *module; /* absolute path of the one module */
	const char *uri;    /* RFC 7512, of the token: serial or token+manufacturer; no pin-value */
};

struct custody_ops {
	const char *scheme; /* "tpm2", "pkcs11": the part of the configuration that names the backend */

	/* Opens the device.  `auth`: the auth value of its keys (TPM: 32 bytes; PKCS#11: the user PIN); copied. */
	struct writ_err *(*open)(const struct custody_conf *, const struct writ_secret *auth, struct custody **ret);

	struct writ_err *(*info)(struct custody *, struct custody_info *ret);

	/* Makes a key that cannot leave the device; appends how to load it again, and its public key (DER). */
	struct writ_err *(*make_key)(struct custody *, enum key_kind, const char *label, struct writ_buf *ret_ref,
				     struct writ_buf *ret_spki);

	/* Loads a key; its public key must be `spki`, else WRIT_LOCKED.  `*ret` is the caller's, to unload. */
	struct writ_err *(*load)(struct custody *, struct writ_bytes ref, struct writ_bytes spki, struct key **ret);

	/* Appends the signature over `message`, in the form X.509 wants.  May take a second: hold no lock across it. */
	struct writ_err *(*sign)(struct key *, struct writ_bytes message, struct writ_buf *ret_sig);

	/* Finds the counter, or makes it; its value, at least 1. */
	struct writ_err *(*counter_make)(struct custody *, enum custody_counter, uint64_t *ret);
	struct writ_err *(*counter_read)(struct custody *, enum custody_counter, uint64_t *ret);

	/* By one.  When it fails half-way the counter has its old value or its new one, never another. */
	struct writ_err *(*counter_raise)(struct custody *, enum custody_counter, uint64_t *ret);

	/* [optional, all three] Wraps 32 bytes so that only this device unwraps them, and only while COUNTER_SEALED, which
	 * is there, is not over `number`; and back: WRIT_NOT_FOUND when the counter has passed it. */
	struct writ_err *(*seal)(struct custody *, uint64_t number, const struct writ_secret *,
				 struct writ_buf *ret_blob);
	struct writ_err *(*unseal)(struct custody *, struct writ_bytes blob, struct writ_secret *ret);

	/* Raises COUNTER_SEALED over `number`, and destroys what the device itself keeps for numbers up to it.  Done
	 * again after a failure it finishes the work. */
	struct writ_err *(*destroy)(struct custody *, uint64_t number);

	/* [optional] What the device says of itself (hsm/attest.h): who would say it; statements about `n` of its
	 * keys, loaded, and about the device; and the secret of a challenge that was made for exactly this attester.  Without an attester what is
	 * attested is claims. */
	struct writ_err *(*attester)(struct custody *, struct attester *ret);
	struct writ_err *(*attest)(struct custody *, const uint8_t qualifying[ATTEST_QUALIFYING_LEN],
				   struct key *const *keys, size_t n, struct attestation *ret);
	struct writ_err *(*activate)(struct custody *, struct writ_bytes id_object, struct writ_bytes encrypted,
				     struct writ_secret *ret);

	/* Is the device there and does it answer?  Cheap: asked every few seconds. */
	struct writ_err *(*health)(struct custody *);

	/* [optional, both] What an approver must know of this machine, as hsm/approval.h writes it; answered while latched by
	 * policy too. */
	struct writ_err *(*pcrs)(struct custody *, struct writ_buf *ret_report);

	/* Latched by policy: has what it was judged by changed since, so that it may be asked once more? */
	bool (*mended)(struct custody *);

	void (*unload)(struct key *);
	void (*close)(struct custody *); /* after its keys were unloaded; flushes what the device still holds */
};

/* Backends embed these as their first members. */
struct custody {
	const struct custody_ops *ops;
	bool latched; /* the device refused us, or lied: it is not asked again (I12) */
	bool by_policy; /* latched, because nothing authorizes its state: see mended() */
	int64_t latched_ms; /* monotonic */
	char latched_why[160];
	/* Keys with which it signed wrongly: neither used nor loaded again, by the digest of their SPKI.  Others go on. */
	uint8_t quarantine[CUSTODY_QUARANTINE_MAX][32];
	size_t n_quarantined;
};
struct key {
	struct custody *custody;
	struct pubkey public; /* the pinned one, and */
	uint8_t id[32];	      /* the SHA-256 of its SPKI; both filled by custody_load() */
};

/* NULL-terminated; backend by scheme. */
extern const struct custody_ops *const custody_backends[];
const struct custody_ops *custody_backend(const char *scheme);

WRIT_CHECKED struct writ_err *custody_open(const char *scheme, const struct custody_conf *,
					   const struct writ_secret *auth, struct custody **ret);
WRIT_CHECKED struct writ_err *custody_info(struct custody *, struct custody_info *ret);
WRIT_CHECKED struct writ_err *custody_make_key(struct custody *, enum key_kind, const char *label,
					       struct writ_buf *ret_ref, struct writ_buf *ret_spki);

/* Also has the key sign a fixed text, so that a wrong auth value or key is found at load and not at the first
 * certificate. */
WRIT_CHECKED struct writ_err *custody_load(struct custody *, struct writ_bytes ref, struct writ_bytes spki,
					   struct key **ret);

WRIT_CHECKED struct writ_err *custody_sign(struct key *, struct writ_bytes message, struct writ_buf *ret_sig);

/* The value of a counter, made unless it is there; read alone, WRIT_NOT_FOUND: never made; raised by one, its new value. */
WRIT_CHECKED struct writ_err *custody_counter_make(struct custody *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *custody_counter_read(struct custody *, enum custody_counter, uint64_t *ret);
WRIT_CHECKED struct writ_err *custody_counter_raise(struct custody *, enum custody_counter, uint64_t *ret);

/* Unseals while COUNTER_SEALED (made unless there) is not over `number`.  WRIT_INVALID for a number that the counter has
 * passed, or that is more than CUSTODY_AHEAD_MAX ahead of it. */
WRIT_CHECKED struct writ_err *custody_seal(struct custody *, uint64_t number, const struct writ_secret *,
					   struct writ_buf *ret_blob);

/* WRIT_NOT_FOUND: destroyed.  WRIT_LOCKED: another device's. */
WRIT_CHECKED struct writ_err *custody_unseal(struct custody *, struct writ_bytes blob, struct writ_secret *ret);

/* Nothing that was sealed under a number up to `number` unseals again, ever.  One already destroyed is no error. */
WRIT_CHECKED struct writ_err *custody_destroy(struct custody *, uint64_t number);
const char *custody_counter_name(enum custody_counter); /* "sealed", "approval", "state"; NULL for no counter */

/* Seconds, on a real TPM.  The keys are this custody's.  WRIT_INVALID: the device has no attestation key (activate), the
 * challenge is for another attester, or endorsement is closed; issuing goes on. */
WRIT_CHECKED struct writ_err *custody_attester(struct custody *, struct attester *ret);
WRIT_CHECKED struct writ_err *custody_attest(struct custody *, const uint8_t qualifying[ATTEST_QUALIFYING_LEN],
					     struct key *const *keys, size_t n, struct attestation *ret);
WRIT_CHECKED struct writ_err *custody_activate(struct custody *, struct writ_bytes id_object, struct writ_bytes encrypted,
					       struct writ_secret *ret);
WRIT_CHECKED struct writ_err *custody_health(struct custody *);

/* Appends what an approver of PCR values must know of this machine (hsm/approval.h).  WRIT_NOT_FOUND: no PCRs bind it. */
WRIT_CHECKED struct writ_err *custody_pcrs(struct custody *, struct writ_buf *ret_report);
void custody_unload(struct key *);
void custody_close(struct custody *);
void custody_closep(struct custody **);

#endif
