/*
 * What a PKCS#11 token says of itself and of its keys, as lines of text: ATTESTED_CLAIM.
 *
 * The standard has no attestation.  These are the module's own words, read anew for the question; whoever replaces the
 * module says what he likes, and nothing ties the words to the question's `qualifying`.
 */
#include "base/text.h"
#include "hsm/pkcs11_key.h"

static struct writ_err *
line(struct writ_buf *out, const char *name, const unsigned char *text, size_t len)
{
	char clean[64];

	custody_text(clean, (struct writ_bytes){ text, len });
	return writ_buf_printf(out, "%s: %s\n", name, clean);
}

static struct writ_err *
token_lines(struct pkcs11 *p, struct writ_buf *out)
{
	CK_MECHANISM_INFO mechanism = { 0 };
	CK_SESSION_INFO session = { 0 };
	CK_TOKEN_INFO token;
	struct writ_err *err;

	err = pkcs11_result(p, p->p11->C_GetSessionInfo(p->session, &session), "C_GetSessionInfo");
	if (!err)
		err = pkcs11_result(p, p->p11->C_GetTokenInfo(session.slotID, &token), "C_GetTokenInfo");
	if (!err)
		err = pkcs11_result(p, p->p11->C_GetMechanismInfo(session.slotID, CKM_ECDSA, &mechanism),
				    "C_GetMechanismInfo");
	if (!err)
		err = line(out, "token.label", token.label, sizeof(token.label));
	if (!err)
		err = line(out, "token.manufacturer", token.manufacturerID, sizeof(token.manufacturerID));
	if (!err)
		err = line(out, "token.model", token.model, sizeof(token.model));
	if (!err)
		err = line(out, "token.serial", token.serialNumber, sizeof(token.serialNumber));
	if (err)
		return err;
	return writ_buf_printf(
		out, "token.hardware: %u.%u\ntoken.firmware: %u.%u\ntoken.flags: 0x%lx\nCKM_ECDSA in hardware: %s\n",
		token.hardwareVersion.major, token.hardwareVersion.minor, token.firmwareVersion.major,
		token.firmwareVersion.minor, token.flags, mechanism.flags & CKF_HW ? "true" : "false");
}

static const struct {
	CK_ATTRIBUTE_TYPE type;
	const char *name;
} attributes[] = {
	{ CKA_TOKEN, "CKA_TOKEN" },
	{ CKA_PRIVATE, "CKA_PRIVATE" },
	{ CKA_SENSITIVE, "CKA_SENSITIVE" },
	{ CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE" },
	{ CKA_EXTRACTABLE, "CKA_EXTRACTABLE" },
	{ CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE" },
	{ CKA_LOCAL, "CKA_LOCAL" },
	{ CKA_MODIFIABLE, "CKA_MODIFIABLE" },
};

static struct writ_err *
key_lines(struct pkcs11 *p, size_t number, struct pkcs11_key *key, struct writ_buf *out)
{
	char id[2 * PKCS11_ID_MAX + 1];
	struct writ_err *err;

	key->generation = 0; /* look again, and check all that is checked at load */
	err = pkcs11_key_here(p, key);
	if (!err)
		err = writ_buf_printf(out, "key %zu: id %s\n", number,
				      writ_hex((struct writ_bytes){ key->id, key->id_len }, id));
	for (size_t i = 0; !err && i < N_OF(attributes); i++) {
		CK_BBOOL value = CK_FALSE;
		CK_ATTRIBUTE attribute = { attributes[i].type, &value, sizeof(value) };

		err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, key->handle, &attribute, 1),
				    attributes[i].name);
		if (!err)
			err = writ_buf_printf(out, "key %zu: %s %s\n", number, attributes[i].name,
					      value == CK_TRUE ? "true" : "false");
	}
	return err;
}

struct writ_err *
pkcs11_attest(struct custody *custody, const uint8_t qualifying[ATTEST_QUALIFYING_LEN], struct key *const *keys,
	      size_t n, struct attestation *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(ATTEST_ABOUT_MAX);
	struct pkcs11 *const p = (struct pkcs11 *)custody;
	struct writ_err *err = pkcs11_ready(p);

	(void)qualifying;
	ret->n = 0;
	if (!err)
		err = token_lines(p, &text);
	for (size_t i = 0; !err && i < n; i++)
		err = key_lines(p, i + 1, (struct pkcs11_key *)keys[i], &text);
	if (err)
		return err;
	ret->item[0] = (struct attest_item){ .what = ATTESTED_CLAIM, .about_len = text.len };
	memcpy(ret->item[0].about, text.data, text.len);
	ret->n = 1;
	return NULL;
}
