/*
 * ADMIN_ATTEST, what signer and command line share: the sizes of a nonce, and what the anchor's signature covers.
 *
 * Body: bytes nonce, bytes id object, bytes encrypted secret (both empty: no challenge).  Answer: the bundle, in
 * canonical JSON - `activation` (when challenged: HMAC-SHA256 by the secret over the statement's SHA-256),
 * `attestations`, `signature` (the anchor's, over ATTEST_SIGNED and the statement), `statement`, `version`.
 */
#ifndef WRIT_ISSUER_SIGNER_ATTEST_WIRE_H
#define WRIT_ISSUER_SIGNER_ATTEST_WIRE_H

#define ATTEST_NONCE_MIN 16
#define ATTEST_NONCE_MAX 64
#define ATTEST_SIGNED "Writ custody statement, version 1\n" /* in front of what the anchor signs */
#define ATTEST_TIMEOUT_MS                                                                                              \
	90000 /* three requests of the device at their worst (DEVICE_ATTEST_TIMEOUT_MS), and what waits before them */

#endif
