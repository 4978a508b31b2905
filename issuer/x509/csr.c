/*
 * The certification request: a key and the proof that the asker has it.  Knows nothing of who asks or for what.
 *
 * Cheap refusals come first; the one public-key operation is csr_verify(), which the caller does last (robustness F50).
 */
#include "issuer/x509/csr.h"

#include "base/der.h"
#include "base/digest.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

#define CSR_DEPTH_MAX 12 /* a request for extensions, the deepest that a tool makes, has 9 */

/* Says which attribute it was, and for a request for extensions which one it wanted: nothing of it is ever copied (I7).
 */
static struct writ_err *
refuse_attribute(struct der *attributes)
{
	struct der attribute, values, list;
	struct extension wanted;
	struct writ_bytes oid;
	char text[OID_TEXT_MAX];

	if (!der_take(attributes, DER_SEQUENCE, &attribute) || !der_take_oid(&attribute, &oid))
		return writ_fail(WRIT_INVALID, "CSR: its attributes are not a SET of Attribute in DER");
	if (!writ_equal(oid, OID_EXTENSION_REQUEST))
		return writ_fail(WRIT_INVALID, "CSR: attribute %s: attributes must be empty", oid_text(oid, text));
	if (!der_take(&attribute, DER_SET, &values) || !der_take(&values, DER_SEQUENCE, &list) ||
	    !take_extension(&list, &wanted))
		return writ_fail(
			WRIT_INVALID,
			"CSR: asks for extensions: they come from the grant, ask for a certificate without any");
	return writ_fail(WRIT_INVALID, "CSR: asks for extension %s: extensions come from the grant, ask without any",
			 oid_text(wanted.oid, text));
}

static struct writ_err *
check_algorithm(struct writ_bytes alg, enum key_kind kind)
{
	struct der in = der_read(alg), inner;
	struct writ_bytes oid = { 0 };
	char text[OID_TEXT_MAX];

	if (writ_equal(alg, key_signature_alg(kind)))
		return NULL;
	if (!der_take(&in, DER_SEQUENCE, &inner) || !der_take_oid(&inner, &oid))
		return writ_fail(WRIT_BROKEN, "CSR: signed_split() let an algorithm without a name pass");
	return writ_fail(WRIT_INVALID, "CSR: signature algorithm %s is not that of %s keys: sign with %s",
			 oid_text(oid, text), key_kind_name(kind),
			 kind == KEY_P256   ? "ecdsa-with-SHA256, without parameters"
			 : kind == KEY_P384 ? "ecdsa-with-SHA384, without parameters"
					    : "Ed25519, without parameters");
}

struct writ_err *
csr_parse(struct writ_bytes der, struct csr *ret)
{
	struct signed_parts parts;
	struct der info, attributes, ignored;
	struct writ_bytes whole, raw;
	struct writ_err *err;
	int64_t version;

	*ret = (struct csr){ 0 };
	if (der.len > CSR_MAX)
		return writ_fail(WRIT_INVALID, "CSR: %zu bytes, the limit is %d", der.len, CSR_MAX);
	err = signed_split(der, "CSR", &parts);
	if (err)
		return err;
	if (!der_is_strict(der, CSR_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "CSR: not strict DER, or nested over %d deep", CSR_DEPTH_MAX);

	info = der_read(parts.tbs);
	if (!der_take(&info, DER_SEQUENCE, &info) || !der_take_int(&info, DER_INTEGER, &version))
		return writ_fail(WRIT_INVALID, "CSR: does not begin with a version (RFC 2986 4.1)");
	if (version != 0)
		return writ_fail(WRIT_INVALID, "CSR: version %lld, the only one is 0 (v1)", (long long)version);
	if (!take_name(&info, 0, CSR_MAX, &whole))
		return writ_fail(WRIT_INVALID, "CSR: its subject is not a Name of UTF8String, PrintableString or "
					       "IA5String; an empty one will do");
	if (!der_take_whole(&info, DER_SEQUENCE, &ignored, &whole))
		return writ_fail(WRIT_INVALID, "CSR: its public key is not a SubjectPublicKeyInfo");
	err = spki_parse(whole, &ret->kind, &raw);
	if (err)
		return writ_because(err, "CSR");
	ret->spki = whole;
	if (!der_take(&info, DER_CONTEXT_CONS(0), &attributes) || !der_at_end(&info))
		return writ_fail(WRIT_INVALID,
				 "CSR: an empty set of attributes [0] must follow the key, and nothing else");
	if (!der_at_end(&attributes))
		return refuse_attribute(&attributes);
	err = check_algorithm(parts.alg, ret->kind);
	if (err)
		return err;
	if (parts.signature.len == 0 || parts.signature.len > SIGNATURE_MAX)
		return writ_fail(WRIT_INVALID, "CSR: the signature is empty");

	ret->info = parts.tbs;
	ret->signature = parts.signature;
	writ_sha256(ret->spki, ret->spki_sha256);
	return NULL;
}

struct writ_err *
csr_verify(const struct csr *csr)
{
	const struct pubkey *key;
	struct writ_err *err;

	err = pubkey_load_once(csr->spki, &key);
	if (err)
		return writ_because(err, "CSR");
	err = pubkey_verify(key, csr->info, csr->signature);
	if (err)
		return writ_because(err, "CSR: no proof that the asker has the key");
	return NULL;
}
