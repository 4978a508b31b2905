/*
 * Counters as data objects of a token.  What they are worth: pkcs11_seal.h.
 */
#include <stdio.h>

#include "hsm/pkcs11_object.h"
#include "hsm/pkcs11_seal.h"

#define APPLICATION "writ"
#define COPIES_MAX 8 /* a crash leaves two; anything like this many is not ours */
#define VALUE_LEN 8

/* The objects of one counter; of several the highest counts. */
struct copies {
	CK_OBJECT_HANDLE object[COPIES_MAX];
	uint64_t value[COPIES_MAX];
	size_t n;
};

static struct writ_bytes
label_of(enum custody_counter which, char out[CUSTODY_LABEL_MAX + 1])
{
	snprintf(out, CUSTODY_LABEL_MAX + 1, "writ counter %s", custody_counter_name(which));
	return writ_str(out);
}

static struct writ_err *
value_read(struct pkcs11 *p, CK_OBJECT_HANDLE object, uint64_t *ret)
{
	uint8_t value[VALUE_LEN + 1];
	CK_ATTRIBUTE attribute = ATTR(CKA_VALUE, value);
	struct writ_err *err;

	err = pkcs11_result(p, p->p11->C_GetAttributeValue(p->session, object, &attribute, 1), "CKA_VALUE");
	if (err)
		return err;
	*ret = attribute.ulValueLen == VALUE_LEN ? writ_get64(value) : 0;
	if (*ret > 0)
		return NULL;
	return writ_fail(WRIT_LOCKED,
			 "the token's object has a value of %lu bytes that is no counter's: it is not ours",
			 attribute.ulValueLen);
}

static struct writ_err *
copies_find(struct pkcs11 *p, enum custody_counter which, struct copies *ret)
{
	const CK_OBJECT_CLASS class = CKO_DATA;
	const struct writ_bytes application = WRIT_LIT(APPLICATION);
	char text[CUSTODY_LABEL_MAX + 1];
	const struct writ_bytes label = label_of(which, text);
	CK_ATTRIBUTE template_[] = { ATTR(CKA_TOKEN, yes), ATTR(CKA_CLASS, class),
				     ATTR_BYTES(CKA_APPLICATION, application), ATTR_BYTES(CKA_LABEL, label) };
	struct writ_err *err;

	err = pkcs11_find_all(p, template_, N_OF(template_), ret->object, COPIES_MAX, &ret->n);
	for (size_t i = 0; !err && i < ret->n; i++)
		err = value_read(p, ret->object[i], &ret->value[i]);
	return err;
}

static uint64_t
highest(const struct copies *copies)
{
	uint64_t value = 0;

	for (size_t i = 0; i < copies->n; i++)
		if (copies->value[i] > value)
			value = copies->value[i];
	return value;
}

static struct writ_err *
value_make(struct pkcs11 *p, enum custody_counter which, uint64_t value)
{
	const CK_OBJECT_CLASS class = CKO_DATA;
	const struct writ_bytes application = WRIT_LIT(APPLICATION);
	char text[CUSTODY_LABEL_MAX + 1];
	const struct writ_bytes label = label_of(which, text);
	uint8_t bytes[VALUE_LEN];
	CK_ATTRIBUTE template_[] = { ATTR(CKA_TOKEN, yes),
				     ATTR(CKA_CLASS, class),
				     ATTR(CKA_PRIVATE, yes),
				     ATTR(CKA_MODIFIABLE, no),
				     ATTR_BYTES(CKA_APPLICATION, application),
				     ATTR_BYTES(CKA_LABEL, label),
				     ATTR(CKA_VALUE, bytes) };
	CK_OBJECT_HANDLE object;

	writ_put64(bytes, value);
	return pkcs11_result(p, p->p11->C_CreateObject(p->session, template_, N_OF(template_), &object),
			     "C_CreateObject of a counter");
}

struct writ_err *
pkcs11_counter_read(struct pkcs11 *p, enum custody_counter which, uint64_t *ret)
{
	struct copies copies;
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (!err)
		err = copies_find(p, which, &copies);
	if (err)
		return err;
	*ret = highest(&copies);
	return *ret > 0 ? NULL : writ_fail(WRIT_NOT_FOUND, "this token has no such object: it was never made here");
}

struct writ_err *
pkcs11_counter_make(struct pkcs11 *p, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err = pkcs11_counter_read(p, which, ret);

	if (!err || err->code != WRIT_NOT_FOUND)
		return err;
	writ_err_free(err);
	*ret = 1;
	return value_make(p, which, *ret);
}

/* The new one first: at no time is there none. */
struct writ_err *
pkcs11_counter_set(struct pkcs11 *p, enum custody_counter which, uint64_t value)
{
	struct copies old;
	struct writ_err *err;

	err = pkcs11_ready(p);
	if (!err)
		err = copies_find(p, which, &old);
	if (!err && highest(&old) >= value)
		err = writ_fail(WRIT_BROKEN, "a counter only grows: %llu to %llu", (unsigned long long)highest(&old),
				(unsigned long long)value);
	if (!err)
		err = value_make(p, which, value);
	for (size_t i = 0; !err && i < old.n; i++)
		err = pkcs11_result(p, p->p11->C_DestroyObject(p->session, old.object[i]),
				    "C_DestroyObject of a counter's old value");
	return err;
}

struct writ_err *
pkcs11_counter_raise(struct pkcs11 *p, enum custody_counter which, uint64_t *ret)
{
	struct writ_err *err = pkcs11_counter_read(p, which, ret);

	if (!err)
		err = pkcs11_counter_set(p, which, ++*ret);
	return err;
}
