/*
 * Whoever approves PCR values, for the contract tests: a key made for the test, and files of approvals.
 */
#ifndef WRIT_TESTS_APPROVER_H
#define WRIT_TESTS_APPROVER_H

#include "hsm/approval.h"
#include "hsm/custody.h"

#define APPROVER_FOR "writ-ca-agents.corp.example"

struct approver {
	struct evp_pkey_st *key;
	char public[128]; /* PEM file of the public key */
	char folder[128]; /* of the approvals */
};

/* Makes the key, DIR/approver.pem and the folder DIR/approvals. */
void approver_make(struct approver *, const char *dir);
void approver_done(struct approver *);

/* Binds keys of that custody to PCRs 7 and 11 by this approver. */
void approver_bind(const struct approver *, struct custody_conf *);

/* Puts FOLDER/NAME there: these values, signed for `ref`. */
void approver_sign(const struct approver *, const char *name, const char *ref, const struct pcr_values *,
		   uint64_t version);

/* The same, for what a device says of itself, and the version that its counter has. */
void approver_agree(const struct approver *, const char *name, struct writ_bytes report);

#endif
