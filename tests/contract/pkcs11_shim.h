/*
 * A PKCS#11 module that passes every call on to SoftHSM, and answers as it is told where a token may fail or lie.
 * A test in the same process finds `shim` in the loaded module by name; one outside orders faults through the file that
 * WRIT_SHIM_ORDER names (shim_order.h): "rv", "delay", "hang" of any call that is here, and of C_Sign "short", "long",
 * "zero_r", "another_digest" and "foreign".
 */
#ifndef WRIT_TESTS_PKCS11_SHIM_H
#define WRIT_TESTS_PKCS11_SHIM_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

enum shim_signature { SIGN_WELL, SIGN_SHORT, SIGN_LONG, SIGN_ZERO_R, SIGN_ANOTHER_DIGEST, SIGN_FOREIGN };

struct shim {
	/* 0, CKR_OK: as the token says */
	CK_RV login, sign_init, sign, open_session, decrypt;
	CK_FLAGS flags; /* added to the token's */
	enum shim_signature signature;
	CK_ATTRIBUTE_TYPE lie; /* this boolean attribute is said to be the opposite */
	bool give_value;       /* CKA_VALUE is given */
	bool raw_point;	       /* CKA_EC_POINT comes without its OCTET STRING */
	unsigned logins;       /* counted, the refused too */
};

extern struct shim shim;

#endif
