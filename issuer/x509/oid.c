/*
 * Object identifiers as octets, and as dotted text for messages.  Knows nothing of what they stand in.
 */
#include "issuer/x509/oid.h"

#include <inttypes.h>
#include <stdio.h>

#define OID(name, octets) const struct writ_bytes name = { (const uint8_t *)(octets), sizeof(octets) - 1 }

/* 1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567: every Writ's (delegation.md 3.1). */
#define WRIT_ARC                                                                                                       \
	"\x2a\x86\x48\x86\xf7\x14\x01\xbe\x40\x93\x7a\x82\x85\x78\x83\xa2\x04\xf8\x3e\x81\x96\x07\x82\xa4\x31\x86"     \
	"\xb2\xc3\x2b\x81\xd4\xd7\x17"

OID(OID_TASK_DELEGATION, WRIT_ARC "\x01\x01");
OID(OID_LOG_REF, WRIT_ARC "\x01\x02");
OID(OID_CP_DELEGATED_AGENT, WRIT_ARC "\x03\x01");
OID(OID_CP_RESIDENT, WRIT_ARC "\x03\x02");
OID(OID_CP_SEALED, WRIT_ARC "\x03\x03");
OID(OID_CP_SOFTWARE, WRIT_ARC "\x03\x04");
OID(OID_REVOKED_DELEGATIONS, WRIT_ARC "\x05\x01");

OID(OID_COMMON_NAME, "\x55\x04\x03");				    /* 2.5.4.3 */
OID(OID_ORGANIZATION, "\x55\x04\x0a");				    /* 2.5.4.10 */
OID(OID_BASIC_CONSTRAINTS, "\x55\x1d\x13");			    /* 2.5.29.19 */
OID(OID_KEY_USAGE, "\x55\x1d\x0f");				    /* 2.5.29.15 */
OID(OID_EXT_KEY_USAGE, "\x55\x1d\x25");				    /* 2.5.29.37 */
OID(OID_SUBJECT_KEY_ID, "\x55\x1d\x0e");			    /* 2.5.29.14 */
OID(OID_AUTHORITY_KEY_ID, "\x55\x1d\x23");			    /* 2.5.29.35 */
OID(OID_SUBJECT_ALT_NAME, "\x55\x1d\x11");			    /* 2.5.29.17 */
OID(OID_CERTIFICATE_POLICIES, "\x55\x1d\x20");			    /* 2.5.29.32 */
OID(OID_ANY_POLICY, "\x55\x1d\x20\x00");			    /* 2.5.29.32.0 */
OID(OID_CRL_DISTRIBUTION_POINTS, "\x55\x1d\x1f");		    /* 2.5.29.31 */
OID(OID_AUTHORITY_INFO_ACCESS, "\x2b\x06\x01\x05\x05\x07\x01\x01"); /* 1.3.6.1.5.5.7.1.1 */
OID(OID_AD_OCSP, "\x2b\x06\x01\x05\x05\x07\x30\x01");		    /* 1.3.6.1.5.5.7.48.1 */
OID(OID_AD_CA_ISSUERS, "\x2b\x06\x01\x05\x05\x07\x30\x02");	    /* 1.3.6.1.5.5.7.48.2 */
OID(OID_NO_REV_AVAIL, "\x55\x1d\x38");				    /* 2.5.29.56, RFC 9608 */
OID(OID_CRL_NUMBER, "\x55\x1d\x14");				    /* 2.5.29.20 */
OID(OID_CRL_REASON, "\x55\x1d\x15");				    /* 2.5.29.21 */
OID(OID_ISSUING_DISTRIBUTION_POINT, "\x55\x1d\x1c");		    /* 2.5.29.28 */
OID(OID_KP_CLIENT_AUTH, "\x2b\x06\x01\x05\x05\x07\x03\x02");	    /* 1.3.6.1.5.5.7.3.2 */
OID(OID_KP_SERVER_AUTH, "\x2b\x06\x01\x05\x05\x07\x03\x01");	    /* 1.3.6.1.5.5.7.3.1 */
OID(OID_KP_OCSP_SIGNING, "\x2b\x06\x01\x05\x05\x07\x03\x09");	    /* 1.3.6.1.5.5.7.3.9 */
OID(OID_OCSP_NOCHECK, "\x2b\x06\x01\x05\x05\x07\x30\x01\x05");	    /* 1.3.6.1.5.5.7.48.1.5 */
OID(OID_OCSP_BASIC, "\x2b\x06\x01\x05\x05\x07\x30\x01\x01");	    /* 1.3.6.1.5.5.7.48.1.1 */
OID(OID_OCSP_NONCE, "\x2b\x06\x01\x05\x05\x07\x30\x01\x02");	    /* 1.3.6.1.5.5.7.48.1.2 */
OID(OID_SHA1, "\x2b\x0e\x03\x02\x1a");				    /* 1.3.14.3.2.26 */
OID(OID_SHA256, "\x60\x86\x48\x01\x65\x03\x04\x02\x01");	    /* 2.16.840.1.101.3.4.2.1 */
OID(OID_EXTENSION_REQUEST, "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"); /* 1.2.840.113549.1.9.14 */

char *
oid_text(struct writ_bytes oid, char out[OID_TEXT_MAX])
{
	uint64_t arc = 0;
	size_t len = 0;
	bool first = true;

	out[0] = '\0';
	for (size_t i = 0; i < oid.len && len < OID_TEXT_MAX - 1; i++) {
		int n;

		arc = arc << 7 | (oid.data[i] & 0x7f); /* an arc over 64 bits shows its low ones: good enough to tell */
		if (oid.data[i] & 0x80)
			continue;
		if (first) {
			const uint64_t top = arc < 40 ? 0 : arc < 80 ? 1 : 2;

			n = snprintf(out, OID_TEXT_MAX, "%" PRIu64 ".%" PRIu64, top, arc - 40 * top);
		} else {
			n = snprintf(out + len, OID_TEXT_MAX - len, ".%" PRIu64, arc);
		}
		len += n > 0 ? (size_t)n : 0;
		first = false;
		arc = 0;
	}
	return out;
}
