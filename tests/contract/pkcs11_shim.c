/*
 * The module.  Loaded by path as any other; it has the one entry point that PKCS#11 asks for, and `shim`.
 */
#include "tests/contract/pkcs11_shim.h"

#include <dlfcn.h>
#include <string.h>

struct shim shim;

static CK_FUNCTION_LIST *softhsm;
static CK_FUNCTION_LIST list;

static CK_RV
shim_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	shim.logins++;
	return shim.login ? shim.login : softhsm->C_Login(session, user, pin, len);
}

static CK_RV
shim_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *ret)
{
	return shim.open_session ? shim.open_session : softhsm->C_OpenSession(slot, flags, app, notify, ret);
}

static CK_RV
shim_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *ret)
{
	const CK_RV rv = softhsm->C_GetTokenInfo(slot, ret);

	ret->flags |= shim.flags;
	return rv;
}

static CK_RV
shim_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	return shim.sign_init ? shim.sign_init : softhsm->C_SignInit(session, mechanism, key);
}

static CK_RV
shim_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *sig, CK_ULONG *sig_len)
{
	CK_BYTE other[64] = { 1 };
	CK_RV rv;

	rv = softhsm->C_Sign(session, shim.signature == SIGN_ANOTHER_DIGEST ? other : data, len, sig, sig_len);
	if (shim.sign)
		return shim.sign;
	if (shim.signature == SIGN_SHORT)
		(*sig_len)--;
	if (shim.signature == SIGN_LONG)
		(*sig_len)++;
	if (shim.signature == SIGN_ZERO_R)
		memset(sig, 0, *sig_len / 2);
	return rv;
}

static CK_RV
shim_decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
	const CK_RV rv = softhsm->C_Decrypt(session, in, in_len, out, out_len);

	return shim.decrypt ? shim.decrypt : rv;
}

static CK_RV
shim_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG n)
{
	const CK_RV rv = softhsm->C_GetAttributeValue(session, object, attributes, n);

	for (CK_ULONG i = 0; i < n; i++) {
		CK_ATTRIBUTE *const a = &attributes[i];

		if (a->type == CKA_VALUE && shim.give_value) {
			a->ulValueLen = 32;
			return CKR_OK;
		}
		if (a->type == shim.lie && a->pValue && a->ulValueLen == 1)
			*(CK_BBOOL *)a->pValue ^= 1;
		if (a->type == CKA_EC_POINT && shim.raw_point && a->pValue) {
			a->ulValueLen -= 2;
			memmove(a->pValue, (CK_BYTE *)a->pValue + 2, a->ulValueLen);
		}
	}
	return rv;
}

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
	CK_C_GetFunctionList get;
	void *const module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
	void *const symbol = module ? dlsym(module, "C_GetFunctionList") : NULL;

	if (!symbol)
		return CKR_GENERAL_ERROR;
	memcpy(&get, &symbol, sizeof(get));
	if (get(&softhsm) != CKR_OK)
		return CKR_GENERAL_ERROR;
	list = *softhsm;
	list.C_GetFunctionList = C_GetFunctionList;
	list.C_Login = shim_login;
	list.C_OpenSession = shim_open_session;
	list.C_GetTokenInfo = shim_token_info;
	list.C_SignInit = shim_sign_init;
	list.C_Sign = shim_sign;
	list.C_Decrypt = shim_decrypt;
	list.C_GetAttributeValue = shim_attributes;
	*ret = &list;
	return CKR_OK;
}
