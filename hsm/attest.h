/*
 * What a device says of itself, for somebody who does not trust this machine: the shapes that cross the custody
 * contract and the device wire.
 *
 * A TPM's attestation key (AK) is restricted: it signs what the TPM itself states (TPMS_ATTEST), and nothing that came
 * from outside and looks like it. Every statement carries `qualifying`, 32 bytes of the asker's.  Bytes are the TPM's
 * own encodings, unread: hsm/statement.h reads them without a device.  A PKCS#11 token has no such key: it gives one
 * item, ATTESTED_CLAIM, which nothing but the module's word stands behind. Plain data; knows no device and no
 * certificate.
 */
#ifndef WRIT_HSM_ATTEST_H
#define WRIT_HSM_ATTEST_H

#include "base/bytes.h"

#define ATTEST_QUALIFYING_LEN 32 /* a SHA-256 */
#define ATTEST_SECRET_LEN                                                                                              \
	32 /* what credential activation gives back: the largest that every endorsement key's hash allows */
#define ATTEST_AREA_MAX 256	 /* bytes of a TPMT_PUBLIC: P-384 with a policy has 152 */
#define ATTEST_EK_MAX 2048	 /* bytes of an endorsement key's certificate: what a TPM's NV index holds */
#define ATTEST_ABOUT_MAX 1024	 /* 16 PCRs of SHA-256 have 512; what a token says of a key has under 700 */
#define ATTEST_SAID_MAX 256	 /* bytes of a TPMS_ATTEST: a Certify has 145 with SHA-256 names */
#define ATTEST_SIGNATURE_MAX 80	 /* bytes of a TPMT_SIGNATURE, ECDSA P-256: 72 */
#define ATTEST_ID_OBJECT_MAX 256 /* bytes of a TPM2B_ID_OBJECT: 84 + 2 with SHA-384 */
#define ATTEST_ENCRYPTED_MAX 260 /* bytes of a TPM2B_ENCRYPTED_SECRET: RSA-2048 has 258 */
#define ATTEST_KEYS_MAX 3	 /* keys in one attestation */
#define ATTEST_ITEMS_MAX (ATTEST_KEYS_MAX + 5) /* their parent, the PCRs, three counters */

#define ATTEST_PCRS 16 /* 0 to 15, SHA-256: those that only a reset of the machine clears */

enum attested {
	ATTESTED_KEY = 1, /* about: the key's TPMT_PUBLIC.	said: TPM2_Certify of it */
	ATTESTED_PARENT,  /* about: of the storage root key.	said: TPM2_Certify of it */
	ATTESTED_PCRS,	  /* about: PCR 0 to 15, one after the other; empty: this TPM keeps none in SHA-256.	said:
			     TPM2_Quote */
	ATTESTED_COUNTER, /* about: the index's TPMS_NV_PUBLIC.	said: TPM2_NV_Certify of its 8 bytes */
	ATTESTED_CLAIM,	  /* about: lines "name: value" of what a token says.	said, signature: empty */
};

struct attest_item {
	enum attested what;
	size_t about_len, said_len, signature_len;
	uint8_t about[ATTEST_ABOUT_MAX];
	uint8_t said[ATTEST_SAID_MAX];		 /* TPMS_ATTEST */
	uint8_t signature[ATTEST_SIGNATURE_MAX]; /* TPMT_SIGNATURE by the AK over `said` */
};

struct attestation {
	size_t n;
	struct attest_item item[ATTEST_ITEMS_MAX];
};

/* Who would attest.  Both empty: this kind of device has no attestation key. */
struct attester {
	size_t ak_len, ek_len;
	uint8_t ak[ATTEST_AREA_MAX]; /* TPMT_PUBLIC of the AK */
	uint8_t ek[ATTEST_EK_MAX];   /* the endorsement key's certificate, DER; empty: the maker left none */
};

static inline struct writ_bytes
attest_about(const struct attest_item *item)
{
	return (struct writ_bytes){ item->about, item->about_len };
}

static inline struct writ_bytes
attest_said(const struct attest_item *item)
{
	return (struct writ_bytes){ item->said, item->said_len };
}

static inline struct writ_bytes
attest_signature(const struct attest_item *item)
{
	return (struct writ_bytes){ item->signature, item->signature_len };
}

#endif
