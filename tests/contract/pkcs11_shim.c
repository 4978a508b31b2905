/*
 * The module.  Loaded by path as any other; it has the one entry point that PKCS#11 asks for, and `shim`.
 */
#include "tests/contract/pkcs11_shim.h"

#include <dlfcn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/contract/shim_order.h"

struct shim shim;

static CK_FUNCTION_LIST *softhsm;
static CK_FUNCTION_LIST list;

/* A fault ordered from outside; CKR_OK: none, or not one that is a return code. */
static CK_RV
ordered(const char *call)
{
	uint64_t value;
	const char *const fault = shim_ordered(call, &value);

	return fault && strcmp(fault, "rv") == 0 ? (CK_RV)value : CKR_OK;
}

/* Calls that only fail, never lie. */
#define PASSED_ON(name, parameters, arguments)                                                                         \
	static CK_RV pass_##name parameters                                                                            \
	{                                                                                                              \
		const CK_RV rv = ordered("C_" #name);                                                                  \
                                                                                                                       \
		return rv ? rv : softhsm->C_##name arguments;                                                          \
	}

PASSED_ON(Initialize, (void *args), (args))
PASSED_ON(GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *n), (present, slots, n))
PASSED_ON(GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
PASSED_ON(FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *a, CK_ULONG n), (session, a, n))
PASSED_ON(GenerateKeyPair,
	  (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE *b, CK_ULONG m,
	   CK_OBJECT_HANDLE *public, CK_OBJECT_HANDLE *private),
	  (session, mechanism, a, n, b, m, public, private))
PASSED_ON(EncryptInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	  (session, mechanism, key))
PASSED_ON(DecryptInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	  (session, mechanism, key))

static CK_RV
shim_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	CK_RV rv;

	shim.logins++;
	shim_login_tried();
	rv = ordered("C_Login");
	if (!rv)
		rv = shim.login;
	return rv ? rv : softhsm->C_Login(session, user, pin, len);
}

static CK_RV
shim_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *ret)
{
	CK_RV rv = ordered("C_OpenSession");

	if (!rv)
		rv = shim.open_session;
	return rv ? rv : softhsm->C_OpenSession(slot, flags, app, notify, ret);
}

static CK_RV
shim_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *ret)
{
	const CK_RV fault = ordered("C_GetTokenInfo"), rv = softhsm->C_GetTokenInfo(slot, ret);

	if (fault)
		return fault;
	ret->flags |= shim.flags;
	return rv;
}

static CK_RV
shim_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_RV rv = ordered("C_SignInit");

	if (!rv)
		rv = shim.sign_init;
	return rv ? rv : softhsm->C_SignInit(session, mechanism, key);
}

/* As the token would, with a key that is not the token's; P-256. */
static void
sign_foreign(const CK_BYTE *digest, CK_ULONG len, CK_BYTE *sig)
{
	static EVP_PKEY *key;
	EVP_PKEY_CTX *ctx;
	CK_BYTE der[128];
	const CK_BYTE *at = der;
	size_t der_len = sizeof(der);
	ECDSA_SIG *rs = NULL;

	if (!key)
		key = EVP_EC_gen("P-256");
	ctx = EVP_PKEY_CTX_new(key, NULL);
	if (EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &der_len, digest, len) == 1)
		rs = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
	if (!rs)
		abort();
	BN_bn2binpad(ECDSA_SIG_get0_r(rs), sig, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(rs), sig + 32, 32);
	ECDSA_SIG_free(rs);
	EVP_PKEY_CTX_free(ctx);
}

static enum shim_signature
signature_ordered(const char *fault)
{
	static const char *const names[] = { [SIGN_SHORT] = "short",
					     [SIGN_LONG] = "long",
					     [SIGN_ZERO_R] = "zero_r",
					     [SIGN_ANOTHER_DIGEST] = "another_digest",
					     [SIGN_FOREIGN] = "foreign" };

	for (size_t i = SIGN_SHORT; fault && i <= SIGN_FOREIGN; i++)
		if (strcmp(names[i], fault) == 0)
			return (enum shim_signature)i;
	return shim.signature;
}

static CK_RV
shim_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *sig, CK_ULONG *sig_len)
{
	uint64_t value = 0;
	const char *const fault = shim_ordered("C_Sign", &value);
	const enum shim_signature how = signature_ordered(fault);
	CK_BYTE other[64] = { 1 };
	CK_RV rv;

	rv = softhsm->C_Sign(session, how == SIGN_ANOTHER_DIGEST ? other : data, len, sig, sig_len);
	if (fault && strcmp(fault, "rv") == 0)
		return (CK_RV)value;
	if (shim.sign)
		return shim.sign;
	shim_signed();
	if (how == SIGN_SHORT)
		(*sig_len)--;
	if (how == SIGN_LONG)
		(*sig_len)++;
	if (how == SIGN_ZERO_R)
		memset(sig, 0, *sig_len / 2);
	if (how == SIGN_FOREIGN)
		sign_foreign(data, len, sig);
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
	shim_order_open(getenv("WRIT_SHIM_ORDER"));
	list = *softhsm;
	list.C_GetFunctionList = C_GetFunctionList;
	list.C_Login = shim_login;
	list.C_OpenSession = shim_open_session;
	list.C_GetTokenInfo = shim_token_info;
	list.C_SignInit = shim_sign_init;
	list.C_Sign = shim_sign;
	list.C_Decrypt = shim_decrypt;
	list.C_GetAttributeValue = shim_attributes;
	list.C_Initialize = pass_Initialize;
	list.C_GetSlotList = pass_GetSlotList;
	list.C_GetSessionInfo = pass_GetSessionInfo;
	list.C_FindObjectsInit = pass_FindObjectsInit;
	list.C_GenerateKeyPair = pass_GenerateKeyPair;
	list.C_EncryptInit = pass_EncryptInit;
	list.C_DecryptInit = pass_DecryptInit;
	*ret = &list;
	return CKR_OK;
}
