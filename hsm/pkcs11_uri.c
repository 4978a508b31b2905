/*
 * RFC 7512 URIs, over p11_kit_uri.
 */
#include "hsm/pkcs11_uri.h"

#include <stdlib.h>

void
pkcs11_uri_freep(P11KitUri **uri)
{
	if (*uri)
		p11_kit_uri_free(*uri);
	*uri = NULL;
}

static struct writ_err *
refuse_what_has_a_setting(P11KitUri *uri)
{
	if (p11_kit_uri_get_pin_value(uri))
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: pin-value is refused: a PIN belongs in the PIN file");
	if (p11_kit_uri_get_pin_source(uri))
		return writ_fail(WRIT_INVALID,
				 "PKCS#11 URI: pin-source is refused: name the PIN file in its own setting");
	if (p11_kit_uri_get_module_name(uri) || p11_kit_uri_get_module_path(uri))
		return writ_fail(
			WRIT_INVALID,
			"PKCS#11 URI: module-name and module-path are refused: name the module in its own setting");
	if (p11_kit_uri_any_unrecognized(uri))
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: an attribute is unknown");
	return NULL;
}

static struct writ_err *
parse(const char *text, P11KitUri **ret)
{
	AUTO(pkcs11_uri_freep) P11KitUri *uri = p11_kit_uri_new();
	struct writ_err *err;
	int rc;

	if (!uri)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a PKCS#11 URI");
	rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
	if (rc != P11_KIT_URI_OK)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: %s",
				 p11_kit_uri_message(rc)); /* not echoed: it might hold a PIN */
	err = refuse_what_has_a_setting(uri);
	if (err)
		return err;
	*ret = TAKE(uri);
	return NULL;
}

struct writ_err *
pkcs11_uri_token(const char *text, P11KitUri **ret)
{
	AUTO(pkcs11_uri_freep) P11KitUri *uri = NULL;
	const CK_TOKEN_INFO *info;
	CK_ULONG n_attributes = 0;
	struct writ_err *err;

	if (!text || strlen(text) > PKCS11_URI_MAX)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: one of at most %d bytes is needed", PKCS11_URI_MAX);
	err = parse(text, &uri);
	if (err)
		return err;
	info = p11_kit_uri_get_token_info(uri);
	if (info->serialNumber[0] == 0 && (info->label[0] == 0 || info->manufacturerID[0] == 0))
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: a token is named by serial, or by token and manufacturer");
	p11_kit_uri_get_attributes(uri, &n_attributes);
	if (n_attributes > 0)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: a token's has no object, id or type");
	*ret = TAKE(uri);
	return NULL;
}

struct writ_err *
pkcs11_uri_key(struct writ_bytes bytes, P11KitUri **ret, uint8_t ret_id[PKCS11_ID_MAX], size_t *ret_id_len)
{
	AUTO(pkcs11_uri_freep) P11KitUri *uri = NULL;
	char text[PKCS11_URI_MAX + 1];
	const CK_ATTRIBUTE *id, *class;
	struct writ_err *err;

	if (bytes.len > PKCS11_URI_MAX || memchr(bytes.data, 0, bytes.len))
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: %zu bytes; at most %d, and no NUL", bytes.len,
				 PKCS11_URI_MAX);
	memcpy(text, bytes.data, bytes.len);
	text[bytes.len] = '\0';
	err = parse(text, &uri);
	if (err)
		return err;
	id = p11_kit_uri_get_attribute(uri, CKA_ID);
	class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
	if (p11_kit_uri_get_token_info(uri)->serialNumber[0] == 0 || !id || !class)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: a key is named by serial, id and type=private");
	if (class->ulValueLen != sizeof(CK_OBJECT_CLASS) ||
	    memcmp(class->pValue, &(CK_OBJECT_CLASS){ CKO_PRIVATE_KEY }, sizeof(CK_OBJECT_CLASS)) != 0)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: a key's type is private");
	if (id->ulValueLen == 0 || id->ulValueLen > PKCS11_ID_MAX)
		return writ_fail(WRIT_INVALID, "PKCS#11 URI: an id of %lu bytes; 1 to %d", id->ulValueLen,
				 PKCS11_ID_MAX);
	memcpy(ret_id, id->pValue, id->ulValueLen);
	*ret_id_len = id->ulValueLen;
	*ret = TAKE(uri);
	return NULL;
}

static void
text_freep(char **text)
{
	free(*text);
}

struct writ_err *
pkcs11_uri_write(const CK_TOKEN_INFO *token, struct writ_bytes id, const char *label, struct writ_buf *ret)
{
	AUTO(pkcs11_uri_freep) P11KitUri *uri = p11_kit_uri_new();
	AUTO(text_freep) char *text = NULL;
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	uint8_t id_copy[PKCS11_ID_MAX];
	char label_copy[PKCS11_URI_MAX];
	CK_ATTRIBUTE attributes[] = {
		{ CKA_ID, id_copy, id.len },
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, label_copy, strlen(label) },
	};
	CK_TOKEN_INFO *info;

	if (!uri || id.len > sizeof(id_copy) || strlen(label) >= sizeof(label_copy))
		return writ_fail(WRIT_EXHAUSTED, "no room for a PKCS#11 URI");
	memcpy(id_copy, id.data, id.len);
	memcpy(label_copy, label, strlen(label));
	info = p11_kit_uri_get_token_info(uri);
	memcpy(info->serialNumber, token->serialNumber, sizeof(info->serialNumber));
	memcpy(info->label, token->label, sizeof(info->label));
	memcpy(info->manufacturerID, token->manufacturerID, sizeof(info->manufacturerID));
	if (p11_kit_uri_set_attributes(uri, attributes, N_OF(attributes)) != P11_KIT_URI_OK ||
	    p11_kit_uri_format(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, &text) != P11_KIT_URI_OK)
		return writ_fail(WRIT_EXHAUSTED, "no PKCS#11 URI for the key");
	return writ_buf_add(ret, writ_str(text));
}
