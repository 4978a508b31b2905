/*
 * The connection to a TPM: context, storage root key, two sessions, and the three slots for objects.
 *
 * (1) A context that a fault poisoned, or that has sent 10,000 commands, is not used again: tpm2_ready() makes a
 *     new one, once a request.  (/dev/tpmrm0 stops at a context gap of 65,535 while a session stays open.)
 * (2) Sessions are salted with the storage root key and encrypt parameters; they are kept, not made for a signature.
 * (3) The storage root key's name is the one first seen, by this process and by each key file; else WRIT_LOCKED.
 * (4) Between requests no more objects are loaded than fit three slots; the least recently used goes first.
 *
 * Knows no key file.  Threading: one thread.
 */
#ifndef WRIT_HSM_TPM2_CONTEXT_H
#define WRIT_HSM_TPM2_CONTEXT_H

#include <tss2/tss2_esys.h>

#include "hsm/backend.h"
#include "hsm/tpm2_approvals.h"

#define TPM2_AUTH_LEN 32

/* A storage root key: transient under the owner hierarchy, or persistent.  Zero is one not looked at yet. */
struct tpm2_parent {
	bool here, seen;
	ESYS_TR handle;	 /* while here */
	TPM2B_NAME name; /* once seen */
};

/* An object of ours.  Its TPM handle comes and goes; the areas stay. */
struct tpm2_object {
	TPM2B_PUBLIC public;
	TPM2B_PRIVATE private;
	struct tpm2_policy policy;
	uint32_t parent; /* as in the key file */
	bool here;
	ESYS_TR handle; /* while here */
	uint64_t used;	/* for the least recently used */
	struct tpm2_object *next;
};

/* A signing key of ours. */
struct tpm2_key {
	struct key base;
	enum key_kind kind;
	struct tpm2_object object;
};

struct tpm2 {
	struct custody base;
	struct tpm2_approvals approvals;
	struct custody_conf conf;
	struct writ_secret auth;
	bool exclusive; /* no resource manager between: what is loaded is ours or a dead predecessor's */

	ESYS_CONTEXT *esys; /* NULL while down */
	TSS2_TCTI_CONTEXT *tcti;
	bool stale; /* (1) */
	unsigned commands;
	uint32_t resets; /* the TPM's own count of its resets and restarts, at the last look */
	uint64_t up_ms;	 /* and its time since its start */
	ESYS_TR hmac, policy;
	bool policy_dirty; /* a command failed after a step of a policy: restart before the next use */

	bool pcrs_moved;   /* the last command was refused, since PCRs were extended after its policy */

	uint32_t parent_default; /* for new objects */
	struct tpm2_parent owner, persistent;
	struct tpm2_object *loaded; /* those that are here */
	uint64_t uses;
	struct custody_info info;
};

/* Makes the context anew if there is none or it is poisoned. */
WRIT_CHECKED struct writ_err *tpm2_ready(struct tpm2 *);
void tpm2_down(struct tpm2 *);

/* What became of a command: NULL, or its error by hsm/codes.h; poisons and latches. */
WRIT_CHECKED struct writ_err *tpm2_result(struct tpm2 *, TSS2_RC, const char *command);

/* Looks which storage root key there is, for new objects and for salting sessions. */
WRIT_CHECKED struct writ_err *tpm2_parent_choose(struct tpm2 *, struct tpm2_parent **ret);

/* The storage root key that a key file names, made or looked up when it is not here. */
WRIT_CHECKED struct writ_err *tpm2_parent_get(struct tpm2 *, uint32_t parent, struct tpm2_parent **ret);

/* "writ; storage root key 000b..." of that parent: what stands in a key file's description, and pins it (3). */
WRIT_CHECKED struct writ_err *tpm2_parent_text(const struct tpm2_parent *, struct writ_buf *ret);

/* Makes a free slot. */
WRIT_CHECKED struct writ_err *tpm2_make_room(struct tpm2 *);

/* Loads the object unless it is here, and gives the library the auth value. */
WRIT_CHECKED struct writ_err *tpm2_object_here(struct tpm2 *, struct tpm2_object *);
void tpm2_flush(struct tpm2 *, ESYS_TR handle);
void tpm2_object_gone(struct tpm2 *, struct tpm2_object *);

/* tpm2_attest.c: the custody contract's attester, attest and activate. */
WRIT_CHECKED struct writ_err *tpm2_attester(struct custody *, struct attester *ret);
WRIT_CHECKED struct writ_err *tpm2_attest(struct custody *, const uint8_t qualifying[ATTEST_QUALIFYING_LEN],
					  struct key *const *keys, size_t n, struct attestation *ret);
WRIT_CHECKED struct writ_err *tpm2_activate(struct custody *, struct writ_bytes id_object, struct writ_bytes encrypted,
					    struct writ_secret *ret);

/* Is it there, and not reset since we came up?  One command. */
WRIT_CHECKED struct writ_err *tpm2_alive(struct tpm2 *);

#endif
