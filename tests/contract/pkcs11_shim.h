/*
 * A PKCS#11 module that passes every call on to SoftHSM, and answers as it is told where a token may fail or lie.
 * The test finds `shim` in the loaded module by name.
 */
#ifndef WRIT_TESTS_PKCS11_SHIM_H
#define WRIT_TESTS_PKCS11_SHIM_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

enum shim_signature { SIGN_WELL, SIGN_SHORT, SIGN_LONG, SIGN_ZERO_R, SIGN_ANOTHER_DIGEST };

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
