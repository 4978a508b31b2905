/*
 * Objects of a PKCS#11 token: how one is found, and what the token says of it.
 *
 * A key is used only when the token says that it was made there and never leaves: the module's own claim (pkcs11.c).
 * Threading: one thread.
 */
#ifndef WRIT_HSM_PKCS11_OBJECT_H
#define WRIT_HSM_PKCS11_OBJECT_H

#include "hsm/pkcs11_token.h"

#define PKCS11_ID_LEN 20 /* of what we make: random */

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* Templates are not written to, but the interface lacks const. */
#define ATTR(type, lvalue)                                                                                             \
	{                                                                                                              \
		(type), (void *)(uintptr_t) & (lvalue), sizeof(lvalue)                                                 \
	}
#define ATTR_BYTES(type, bytes)                                                                                        \
	{                                                                                                              \
		(type), (void *)(uintptr_t)(bytes).data, (bytes).len                                                   \
	}

struct pkcs11_claim {
	CK_ATTRIBUTE_TYPE type;
	const char *name;
	bool want;
};

/* Each attribute must be as wanted, else WRIT_LOCKED. */
WRIT_CHECKED struct writ_err *pkcs11_claims(struct pkcs11 *, CK_OBJECT_HANDLE, const struct pkcs11_claim *, size_t n);

/* A secret or private key that was made in the token, never left it and cannot; asked for its value the token refuses.
 */
WRIT_CHECKED struct writ_err *pkcs11_stays(struct pkcs11 *, CK_OBJECT_HANDLE);

/* All objects of the token that a template matches, `max` at most; more are WRIT_EXHAUSTED. */
WRIT_CHECKED struct writ_err *pkcs11_find_all(struct pkcs11 *, CK_ATTRIBUTE *template_, size_t n_attributes,
					      CK_OBJECT_HANDLE *ret, size_t max, size_t *ret_n);

/* At most one key of that class, type, and id or label; two are WRIT_LOCKED, none leaves `*ret_found` false. */
WRIT_CHECKED struct writ_err *pkcs11_find(struct pkcs11 *, CK_OBJECT_CLASS, CK_KEY_TYPE, struct writ_bytes by,
					  CK_ATTRIBUTE_TYPE by_type, bool *ret_found, CK_OBJECT_HANDLE *ret);

#endif
