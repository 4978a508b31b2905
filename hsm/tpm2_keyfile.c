/*
 * TPM 2.0 key files, read and written.
 *
 *   TPMKey ::= SEQUENCE {
 *     type            OBJECT IDENTIFIER,			2.23.133.10.1.3 loadable, .5 sealed
 *     emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,		absent: all of ours have an auth value
 *     policy      [1] EXPLICIT SEQUENCE OF TPMPolicy OPTIONAL,	present: the steps, the last one PolicyAuthValue
 *     secret      [2] EXPLICIT OCTET STRING OPTIONAL,		absent: importable keys only
 *     authPolicy  [3] EXPLICIT SEQUENCE OF TPMAuthPolicy OPTIONAL,	absent
 *     description [4] EXPLICIT UTF8String OPTIONAL,		present
 *     rsaParent   [5] EXPLICIT BOOLEAN OPTIONAL,		absent: the parent is the ECC storage root key
 *     parent          INTEGER,
 *     pubkey          OCTET STRING,				TPM2B_PUBLIC
 *     privkey         OCTET STRING }				TPM2B_PRIVATE
 *   TPMPolicy ::= SEQUENCE {
 *     commandCode   [0] EXPLICIT INTEGER,
 *     commandPolicy [1] EXPLICIT OCTET STRING }		the command's parameters: tpm2_policy.h
 */
#include "hsm/tpm2_keyfile.h"

#include "base/der.h"
#include "base/text.h"

#define PEM_BEGIN "-----BEGIN TSS2 PRIVATE KEY-----\n"
#define PEM_END "-----END TSS2 PRIVATE KEY-----\n"
#define PEM_LINE 64

/* 2.23.133.10.1.3, .4 and .5 */
static const uint8_t oid_loadable[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03 };
static const uint8_t oid_importable[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x04 };
static const uint8_t oid_sealed[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x05 };

#define OID(name) ((struct writ_bytes){ name, sizeof(name) })

/* One line's worth of base64 at a time, into one run of text: every line but the last has 64 characters, LF ends each.
 */
static struct writ_err *
pem_text(struct writ_bytes body, struct writ_buf *ret)
{
	size_t line = 1;

	while (body.len > 0) {
		const uint8_t *const lf = memchr(body.data, '\n', body.len);
		const size_t len = lf ? (size_t)(lf - body.data) : body.len;
		struct writ_err *err;

		if (!lf || len == 0 || len > PEM_LINE || (len < PEM_LINE && len + 1 != body.len))
			return writ_fail(WRIT_INVALID,
					 "key file: base64 line %zu has %zu characters: %d in each but the last", line,
					 len, PEM_LINE);
		err = writ_buf_add(ret, (struct writ_bytes){ body.data, len });
		if (err)
			return err;
		body = (struct writ_bytes){ lf + 1, body.len - len - 1 };
		line++;
	}
	return NULL;
}

static struct writ_err *
pem_read(struct writ_bytes pem, struct writ_buf *der)
{
	const struct writ_bytes begin = WRIT_LIT(PEM_BEGIN), end = WRIT_LIT(PEM_END);
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEYFILE_MAX);
	struct writ_err *err;

	if (pem.len > KEYFILE_MAX)
		return writ_fail(WRIT_INVALID, "key file: %zu bytes are over the limit of %d", pem.len, KEYFILE_MAX);
	if (pem.len < begin.len + end.len || memcmp(pem.data, begin.data, begin.len) != 0 ||
	    memcmp(pem.data + pem.len - end.len, end.data, end.len) != 0)
		return writ_fail(WRIT_INVALID,
				 "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and "
				 "nothing around it");
	err = pem_text((struct writ_bytes){ pem.data + begin.len, pem.len - begin.len - end.len }, &text);
	if (err)
		return err;
	err = writ_unbase64(BASE64_STD, writ_view(&text), der);
	if (err)
		return writ_because(err, "key file");
	return NULL;
}

static struct writ_err *
step_read(struct der *in, struct tpm2_step *ret)
{
	struct writ_bytes parameters;
	struct der step, field;
	struct writ_err *err;
	uint64_t command;

	if (!der_take(in, DER_SEQUENCE, &step) || !der_take(&step, DER_CONTEXT_CONS(0), &field) ||
	    !der_take_unsigned(&field, DER_INTEGER, UINT32_MAX, &command) || !der_at_end(&field) ||
	    !der_take(&step, DER_CONTEXT_CONS(1), &field) || !der_take_bytes(&field, DER_OCTET_STRING, &parameters) ||
	    !der_at_end(&field) || !der_at_end(&step))
		return writ_fail(WRIT_INVALID, "key file: malformed policy");
	err = tpm2_step_read((uint32_t)command, parameters, ret);
	return err ? writ_because(err, "key file: policy") : NULL;
}

/* [1] */
static struct writ_err *
policy_read(struct der *in, struct tpm2_policy *ret)
{
	struct der wrapper, list;
	struct writ_err *err;

	ret->n = 0;
	if (!der_take(in, DER_CONTEXT_CONS(1), &wrapper))
		return writ_fail(WRIT_INVALID, "key file: no policy; a key that needs none is not used");
	if (!der_take(&wrapper, DER_SEQUENCE, &list) || !der_at_end(&wrapper) || der_at_end(&list))
		return writ_fail(WRIT_INVALID, "key file: malformed policy");
	while (!der_at_end(&list)) {
		if (ret->n == TPM2_STEPS_MAX)
			return writ_fail(WRIT_INVALID, "key file: a policy has at most %d steps", TPM2_STEPS_MAX);
		err = step_read(&list, &ret->steps[ret->n++]);
		if (err)
			return err;
	}
	for (size_t i = 0; i < ret->n; i++)
		if ((ret->steps[i].kind == TPM2_STEP_AUTH_VALUE) != (i + 1 == ret->n))
			return writ_fail(WRIT_INVALID,
					 "key file: PolicyAuthValue is the last step of a policy, and that alone");
	for (size_t i = 1; i < ret->n; i++)
		if (ret->steps[i].kind == TPM2_STEP_AUTHORIZED)
			return writ_fail(WRIT_INVALID, "key file: PolicyAuthorize is the first step of a policy: it forgets "
						       "what was before");
	return NULL;
}

/* Optional fields that we never write and would have to obey: refused by name, not skipped. */
static struct writ_err *
refuse_field(const struct der *in, uint8_t tag, const char *what)
{
	if (!der_next_is(in, tag))
		return NULL;
	return writ_fail(WRIT_INVALID, "key file: field '%s' is not supported", what);
}

static struct writ_err *
type_read(struct der *in, enum keyfile_type *ret)
{
	struct writ_bytes oid;

	if (!der_take_oid(in, &oid))
		return writ_fail(WRIT_INVALID, "key file: malformed type");
	if (writ_equal(oid, OID(oid_loadable)))
		*ret = KEYFILE_LOADABLE;
	else if (writ_equal(oid, OID(oid_sealed)))
		*ret = KEYFILE_SEALED;
	else if (writ_equal(oid, OID(oid_importable)))
		return writ_fail(WRIT_INVALID,
				 "key file: the key is importable, so it was outside a TPM once: not used");
	else
		return writ_fail(WRIT_INVALID, "key file: type is neither a loadable key nor a sealed secret");
	return NULL;
}

static struct writ_err *
description_read(struct der *in, struct writ_bytes *ret)
{
	struct der wrapper;

	if (!der_take(in, DER_CONTEXT_CONS(4), &wrapper) || !der_take_bytes(&wrapper, DER_UTF8, ret) ||
	    !der_at_end(&wrapper))
		return writ_fail(
			WRIT_INVALID,
			"key file: no description: it was not made by Writ, which names the storage root key there");
	if (ret->len == 0 || ret->len > KEYFILE_DESCRIPTION_MAX || !writ_is_clean_utf8(*ret))
		return writ_fail(WRIT_INVALID,
				 "key file: the description has %zu bytes: 1 to %d of UTF-8 without controls", ret->len,
				 KEYFILE_DESCRIPTION_MAX);
	return NULL;
}

static struct writ_err *
area_read(struct der *in, const char *what, struct writ_bytes *ret)
{
	if (!der_take_bytes(in, DER_OCTET_STRING, ret))
		return writ_fail(WRIT_INVALID, "key file: malformed %s area", what);
	if (ret->len == 0 || ret->len > KEYFILE_AREA_MAX)
		return writ_fail(WRIT_INVALID, "key file: the %s area has %zu bytes: 1 to %d", what, ret->len,
				 KEYFILE_AREA_MAX);
	return NULL;
}

static struct writ_err *
fields_read(struct der *in, struct keyfile *ret)
{
	struct writ_err *err;
	uint64_t parent;

	err = type_read(in, &ret->type);
	if (err)
		return err;
	err = refuse_field(in, DER_CONTEXT_CONS(0), "emptyAuth");
	if (err)
		return err;
	err = policy_read(in, &ret->policy);
	if (err)
		return err;
	err = refuse_field(in, DER_CONTEXT_CONS(2), "secret");
	if (err)
		return err;
	err = refuse_field(in, DER_CONTEXT_CONS(3), "authPolicy");
	if (err)
		return err;
	err = description_read(in, &ret->description);
	if (err)
		return err;
	err = refuse_field(in, DER_CONTEXT_CONS(5), "rsaParent");
	if (err)
		return err;
	if (!der_take_unsigned(in, DER_INTEGER, UINT32_MAX, &parent))
		return writ_fail(WRIT_INVALID, "key file: malformed parent");
	if (parent != KEYFILE_PARENT_OWNER && parent != KEYFILE_PARENT_PERSISTENT)
		return writ_fail(WRIT_INVALID, "key file: parent 0x%llx is neither the owner hierarchy (0x%x) nor 0x%x",
				 (unsigned long long)parent, KEYFILE_PARENT_OWNER, KEYFILE_PARENT_PERSISTENT);
	ret->parent = (uint32_t)parent;
	err = area_read(in, "public", &ret->public);
	if (err)
		return err;
	return area_read(in, "private", &ret->private);
}

struct writ_err *
keyfile_read(struct writ_bytes pem, struct writ_buf *der, struct keyfile *ret)
{
	struct writ_err *err;
	struct der in, fields;

	*ret = (struct keyfile){ 0 };
	err = pem_read(pem, der);
	if (err)
		return err;
	in = der_read(writ_view(der));
	if (!der_take(&in, DER_SEQUENCE, &fields) || !der_at_end(&in))
		return writ_fail(WRIT_INVALID, "key file: not one DER SEQUENCE");
	err = fields_read(&fields, ret);
	if (err)
		return err;
	if (!der_at_end(&fields))
		return writ_fail(WRIT_INVALID, "key file: bytes follow the private area");
	return NULL;
}

static struct writ_err *
pem_write(struct writ_bytes der, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(KEYFILE_MAX);
	struct writ_err *err;

	err = writ_base64(der, &text);
	if (err)
		return err;
	err = writ_buf_add(ret, WRIT_LIT(PEM_BEGIN));
	for (size_t at = 0; !err && at < text.len; at += PEM_LINE) {
		const size_t left = text.len - at;

		err = writ_buf_printf(ret, "%.*s\n", (int)(left < PEM_LINE ? left : PEM_LINE),
				      (const char *)text.data + at);
	}
	if (err)
		return err;
	return writ_buf_add(ret, WRIT_LIT(PEM_END));
}

static struct writ_err *
policy_write(struct der_out *out, const struct tpm2_policy *policy)
{
	der_open(out, DER_CONTEXT_CONS(1));
	der_open(out, DER_SEQUENCE);
	for (size_t i = 0; i < policy->n; i++) {
		AUTO(writ_buf_done) struct writ_buf parameters = WRIT_BUF(TPM2_STEP_PARAMETERS_MAX);
		struct writ_err *err;
		uint32_t command;

		err = tpm2_step_write(&policy->steps[i], &command, &parameters);
		if (err)
			return err;
		der_open(out, DER_SEQUENCE);
		der_open(out, DER_CONTEXT_CONS(0));
		der_put_int(out, DER_INTEGER, command);
		der_close(out);
		der_open(out, DER_CONTEXT_CONS(1));
		der_put(out, DER_OCTET_STRING, writ_view(&parameters));
		der_close(out);
		der_close(out);
	}
	der_close(out);
	der_close(out);
	return NULL;
}

struct writ_err *
keyfile_write(const struct keyfile *file, struct writ_buf *ret_pem)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
	struct der_out out = der_write(&der);
	struct writ_err *err;

	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, file->type == KEYFILE_SEALED ? OID(oid_sealed) : OID(oid_loadable));
	err = policy_write(&out, &file->policy);
	if (err)
		return err;
	der_open(&out, DER_CONTEXT_CONS(4));
	der_put(&out, DER_UTF8, file->description);
	der_close(&out);
	der_put_int(&out, DER_INTEGER, file->parent);
	der_put(&out, DER_OCTET_STRING, file->public);
	der_put(&out, DER_OCTET_STRING, file->private);
	der_close(&out);
	err = der_finish(&out, "key file");
	if (err)
		return err;
	return pem_write(writ_view(&der), ret_pem);
}
