/*
 * What never varies in a leaf (delegation.md 2), for its writer and its reader.
 *
 * Extensions stand in one fixed order, the log reference last: subjectAltName, keyUsage, basicConstraints,
 * authorityKeyIdentifier, extKeyUsage, certificatePolicies, TaskDelegation, then cRLDistributionPoints and
 * authorityInfoAccess, or noRevAvail, then LogRef.
 */
#ifndef WRIT_ISSUER_X509_LEAF_PROFILE_H
#define WRIT_ISSUER_X509_LEAF_PROFILE_H

#include "issuer/x509/leaf.h"

#define TASK_PREFIX WRIT_LIT("task:")
#define LOG_ID_LEN 8

#define VALUE_KEY_USAGE WRIT_LIT("\x03\x02\x07\x80") /* digitalSignature */
#define VALUE_NOT_A_CA WRIT_LIT("\x30\x00")	     /* cA FALSE is the default */
#define VALUE_EXT_KEY_USAGE                                                                                            \
	WRIT_LIT("\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01")
#define VALUE_NULL WRIT_LIT("\x05\x00")

/* The policy of a tier; false when it is none. */
bool tier_oid(enum leaf_tier, struct writ_bytes *ret);

#endif
