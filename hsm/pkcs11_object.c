/*
 * Finding objects in a token, and checking what it says of them.
 */
#include "hsm/pkcs11_object.h"

#include <openssl/crypto.h>

static const struct pkcs11_claim key_claims[] = {
	{ CKA_TOKEN, "CKA_TOKEN", true },
	{ CKA_PRIVATE, "CKA_PRIVATE", true },
	{ CKA_SENSITIVE, "CKA_SENSITIVE", true },
	{ CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", true },
	{ CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", true },
	{ CKA_LOCAL, "CKA_LOCAL", true },
	{ CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false },
	{ CKA_MODIFIABLE, "CKA_MODIFIABLE", false },
	{ CKA_UNWRAP, "CKA_UNWRAP", false },
	{ CKA_DERIVE, "CKA_DERIVE", false },
};

struct writ_err *
pkcs11_claims(struct pkcs11 *p, CK_OBJECT_HANDLE object, const struct pkcs11_claim *claims, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CK_BBOOL value = 2;
		CK_ATTRIBUTE attribute = ATTR(claims[i].type, value);
		struct writ_err *err;

		err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, object, &attribute, 1), claims[i].name);
		if (err)
			return err;
		if (attribute.ulValueLen != sizeof(value) || value != (claims[i].want ? CK_TRUE : CK_FALSE))
			return writ_fail(WRIT_LOCKED, "the token's %s of the key is not %s: the key is not used",
					 claims[i].name, claims[i].want ? "true" : "false");
	}
	return NULL;
}

/* Asked for its secret value the token must refuse. */
static struct writ_err *
value_is_kept(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	uint8_t value[128];
	CK_ATTRIBUTE attribute = ATTR(CKA_VALUE, value);
	const CK_RV rv = p->p11->C_GetAttributeValue(p->session, object, &attribute, 1);

	OPENSSL_cleanse(value, sizeof(value));
	if (rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID)
		return NULL;
	if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)
		return pkcs11_result(p, rv, "C_GetAttributeValue of CKA_VALUE");
	return writ_fail(WRIT_LOCKED, "the token gives the key's secret value away (CKA_VALUE): the key is not used");
}

struct writ_err *
pkcs11_stays(struct pkcs11 *p, CK_OBJECT_HANDLE object)
{
	struct writ_err *err = pkcs11_claims(p, object, key_claims, N_OF(key_claims));

	return err ? err : value_is_kept(p, object);
}

struct writ_err *
pkcs11_find_all(struct pkcs11 *p, CK_ATTRIBUTE *template_, size_t n_attributes, CK_OBJECT_HANDLE *ret, size_t max,
		size_t *ret_n)
{
	CK_OBJECT_HANDLE one_more = 0;
	struct writ_err *err;
	CK_ULONG n = 0;
	CK_RV rv;

	*ret_n = 0;
	err = pkcs11_result(p, p->p11->C_FindObjectsInit(p->session, template_, n_attributes), "C_FindObjectsInit");
	if (err)
		return err;
	do { /* a module may give fewer at a time than there is room for */
		rv = p->p11->C_FindObjects(p->session, *ret_n < max ? ret + *ret_n : &one_more,
					   *ret_n < max ? max - *ret_n : 1, &n);
		if (rv == CKR_OK && *ret_n < max)
			*ret_n += n;
		else if (rv == CKR_OK && n > 0)
			break;
	} while (rv == CKR_OK && n > 0);
	err = pkcs11_result(p, p->p11->C_FindObjectsFinal(p->session), "C_FindObjectsFinal");
	if (err)
		return err;
	err = pkcs11_result(p, rv, "C_FindObjects");
	if (!err && n > 0)
		err = writ_fail(WRIT_EXHAUSTED, "the token holds more than %zu objects of a kind: remove some by hand",
				max);
	return err;
}

struct writ_err *
pkcs11_find(struct pkcs11 *p, CK_OBJECT_CLASS class, CK_KEY_TYPE type, struct writ_bytes by, CK_ATTRIBUTE_TYPE by_type,
	    bool *ret_found, CK_OBJECT_HANDLE *ret)
{
	CK_ATTRIBUTE template_[] = { ATTR(CKA_TOKEN, yes), ATTR(CKA_CLASS, class), ATTR(CKA_KEY_TYPE, type),
				     ATTR_BYTES(by_type, by) };
	CK_OBJECT_HANDLE found[2] = { 0 };
	struct writ_err *err;
	size_t n;

	*ret_found = false;
	err = pkcs11_find_all(p, template_, N_OF(template_), found, N_OF(found), &n);
	if (err && err->code != WRIT_EXHAUSTED)
		return err;
	if (err || n > 1) {
		writ_err_free(err);
		return writ_fail(WRIT_LOCKED,
				 "the token holds several objects where one is meant: remove the others by hand");
	}
	*ret_found = n == 1;
	*ret = found[0];
	return NULL;
}
