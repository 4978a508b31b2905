/*
 * The admin wire: what an operator on the machine asks of the running signer, over RUN/admin.sock.
 *
 * SOCK_SEQPACKET, base/frame.h frames, one connection at a time, one request at a time.  An answer is one canonical JSON
 * object (issuer/log/json.h): in the frame, or - when it is longer than a frame - in a sealed memfd beside it.  An error
 * answer is as on the signer's wire.  Who may connect: root, the user of `users.operator`, the signer's own user.
 * What each message needs, and what it changes, is the table in admin.c.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_SIGNER_ADMIN_WIRE_H
#define WRIT_ISSUER_SIGNER_ADMIN_WIRE_H

#include "base/bytes.h"

enum admin_message {
	ADMIN_PCRS = 0x20,	/* ->						 <- what an approver of PCR values must know (hsm/approval.h) */
	ADMIN_APPROVALS_RAISE,	/* ->						 <- the approval counter: older approvals are dead */
	ADMIN_STATUS = 1,	/* ->						 <- how signer, keys and device are */
	ADMIN_KEY_LIST,		/* ->						 <- anchor and issuing CAs */
	ADMIN_RESUME,		/* ->						 <- what was locked, and is tried once */
	ADMIN_CLOCK,		/* -> i64 the time that the operator saw, seconds	 <- the step that was accepted */
	ADMIN_ATTEST,		/* -> attest_wire.h				 <- a custody statement */
	ADMIN_KEY_ROTATE,	/* ->						 <- the new issuing CA */
	ADMIN_CERTIFY,		/* -> u32 generations, and beside it a connection to the anchor's own device: begins; without
				 * both: goes on telling						 <- how many are left to make */
	ADMIN_KEY_REVOKE,	/* -> 20 bytes key id, u8 CRLReason		 <- is it listed, and who issues now */
	ADMIN_ANSWER = 0x80,	/* set in an answer's type */
	ADMIN_ERROR = 0xff,	/* u8 code, bytes text */
};

#define ADMIN_ANSWER_MAX (1024 * 1024)	/* bytes of JSON */
#define ADMIN_TIMEOUT_MS 15000		/* for a request that needs no new key of the device */
#define ADMIN_CLOCK_SLACK_S 60		/* what the operator saw may be this far from what the signer sees */

/* Connects to RUN/admin.sock, asks, and appends the JSON of the answer; an error answer becomes the error returned.  Blocks. */
WRIT_CHECKED struct writ_err *admin_ask(const char *run, enum admin_message, struct writ_bytes body, int timeout_ms,
					struct writ_buf *ret_json);

/* The same with a descriptor beside the body (-1: none), which stays the caller's. */
WRIT_CHECKED struct writ_err *admin_ask_with(const char *run, enum admin_message, struct writ_bytes body, int beside,
					     int timeout_ms, struct writ_buf *ret_json);

#endif
