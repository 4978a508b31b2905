/*
 * Certificates of CAs and OCSP responders: what the signer builds from parameters (I1), and a reader that also takes an
 * anchor which an owner's root signed.  Knows no key and no file.
 */
#include "issuer/x509/ca.h"

#include "base/der.h"
#include "base/digest.h"
#include "base/text.h"
#include "issuer/x509/leaf_profile.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

#define CA_DEPTH_MAX 16

/* BasicConstraints, CA:TRUE: the anchor has issuing CAs below it, and they have only leaves. */
#define VALUE_ANCHOR_BC WRIT_LIT("\x30\x06\x01\x01\xff\x02\x01\x01")
#define VALUE_ISSUING_BC WRIT_LIT("\x30\x06\x01\x01\xff\x02\x01\x00")
#define VALUE_CA_KEY_USAGE WRIT_LIT("\x03\x02\x01\x06")	  /* keyCertSign, cRLSign */
#define VALUE_OCSP_KEY_USAGE WRIT_LIT("\x03\x02\x07\x80") /* digitalSignature */
#define VALUE_OCSP_EKU WRIT_LIT("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x09")

struct writ_err *
ca_key_id(struct writ_bytes spki, uint8_t out[20])
{
	struct writ_bytes raw;
	enum key_kind kind;
	struct writ_err *err;

	err = spki_parse(spki, &kind, &raw);
	if (err)
		return err;
	writ_sha1(raw, out);
	return NULL;
}

static struct writ_err *
put_ca_name(struct der_out *out, enum ca_role role, struct writ_bytes trust_domain, const uint8_t key_id[20])
{
	struct writ_bytes prefix = { 0 };
	char hex[8 + 1];
	struct writ_err *err;

	err = trust_domain_check(trust_domain);
	if (err)
		return writ_because(err, "CA name");
	switch (role) {
	case CA_ANCHOR:
		prefix = WRIT_LIT("Writ anchor ");
		break;
	case CA_ISSUING:
		prefix = WRIT_LIT("Writ issuing ");
		break;
	case CA_OCSP:
		prefix = WRIT_LIT("Writ OCSP ");
		break;
	}
	put_name(out, trust_domain, prefix, writ_str(writ_hex((struct writ_bytes){ key_id, 4 }, hex)));
	return NULL;
}

struct writ_err *
ca_name(enum ca_role role, struct writ_bytes trust_domain, const uint8_t key_id[20], struct writ_buf *ret)
{
	struct der_out out = der_write(ret);
	struct writ_err *err;

	err = put_ca_name(&out, role, trust_domain, key_id);
	return err ? err : der_finish(&out, "the CA's name");
}

/* ---- the writers ---- */

static void
put_subject_key_id(struct der_out *out, const uint8_t key_id[20])
{
	extension_open(out, OID_SUBJECT_KEY_ID, false);
	der_put(out, DER_OCTET_STRING, (struct writ_bytes){ key_id, 20 });
	extension_close(out);
}

static struct writ_err *
put_tier_policies(struct der_out *out, enum leaf_tier tier)
{
	struct writ_bytes policies[2] = { OID_CP_DELEGATED_AGENT };

	if (!tier_oid(tier, &policies[1]))
		return writ_fail(WRIT_INVALID, "CA: tier %d is none of resident, sealed, software", (int)tier);
	put_policies(out, policies, N_OF(policies));
	return NULL;
}

static struct writ_err *
put_ca_extensions(struct der_out *out, const struct ca_facts *facts, const uint8_t key_id[20],
		  const uint8_t issuer_key_id[20])
{
	struct writ_err *err = NULL;

	switch (facts->role) {
	case CA_ANCHOR:
		put_extension(out, OID_BASIC_CONSTRAINTS, true, VALUE_ANCHOR_BC);
		put_extension(out, OID_KEY_USAGE, true, VALUE_CA_KEY_USAGE);
		put_subject_key_id(out, key_id);
		return NULL;
	case CA_ISSUING:
		put_extension(out, OID_BASIC_CONSTRAINTS, true, VALUE_ISSUING_BC);
		put_extension(out, OID_KEY_USAGE, true, VALUE_CA_KEY_USAGE);
		put_subject_key_id(out, key_id);
		put_authority_key_id(out, (struct writ_bytes){ issuer_key_id, 20 });
		err = put_tier_policies(out, facts->tier);
		if (err)
			return err;
		put_crl_distribution_point(out, facts->crl_url);
		if (facts->ca_url.len)
			put_authority_info(out, OID_AD_CA_ISSUERS, facts->ca_url);
		return NULL;
	case CA_OCSP:
		put_extension(out, OID_KEY_USAGE, true, VALUE_OCSP_KEY_USAGE);
		put_extension(out, OID_EXT_KEY_USAGE, false, VALUE_OCSP_EKU);
		put_extension(out, OID_OCSP_NOCHECK, false, VALUE_NULL);
		put_subject_key_id(out, key_id);
		put_authority_key_id(out, (struct writ_bytes){ issuer_key_id, 20 });
		return NULL;
	}
	return writ_fail(WRIT_INVALID, "CA: role %d is none of anchor, issuing, OCSP", (int)facts->role);
}

static struct writ_err *
check_facts(const struct ca_facts *facts)
{
	static const uint8_t zeros[16];
	const bool self_signed = facts->role == CA_ANCHOR;

	if (memcmp(facts->serial, zeros, sizeof(zeros)) == 0 || facts->serial[0] & 0x80)
		return writ_fail(WRIT_INVALID, "CA: the serial is not positive");
	if (facts->not_after < facts->not_before)
		return writ_fail(WRIT_INVALID, "CA: the validity ends before it begins");
	if (key_signature_alg(facts->issuer_kind).len == 0)
		return writ_fail(WRIT_INVALID, "CA: the kind of the signing key is not said");
	if (self_signed != (facts->issuer_name.len == 0) || self_signed != (facts->issuer_spki.len == 0))
		return writ_fail(WRIT_INVALID, "CA: an anchor signs itself, all others name their issuer and its key");
	if (facts->role == CA_ISSUING && !url_ok(facts->crl_url))
		return writ_fail(WRIT_INVALID, "CA: the URL of the anchor's CRL has 1 to %d printable octets", URL_MAX);
	if (facts->ca_url.len && !url_ok(facts->ca_url))
		return writ_fail(WRIT_INVALID, "CA: the URL of the anchor's certificate has 1 to %d printable octets",
				 URL_MAX);
	return NULL;
}

struct writ_err *
ca_build_tbs(const struct ca_facts *facts, struct writ_buf *ret_tbs)
{
	struct der_out out = der_write(ret_tbs);
	uint8_t key_id[20], issuer_key_id[20] = { 0 };
	struct writ_err *err;

	err = check_facts(facts);
	if (!err)
		err = ca_key_id(facts->spki, key_id);
	if (!err && facts->issuer_spki.len)
		err = ca_key_id(facts->issuer_spki, issuer_key_id);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	put_version_3(&out);
	der_put_integer_bytes(&out, DER_INTEGER, (struct writ_bytes){ facts->serial, sizeof(facts->serial) });
	der_put_raw(&out, key_signature_alg(facts->issuer_kind));
	if (facts->role == CA_ANCHOR)
		err = put_ca_name(&out, CA_ANCHOR, facts->trust_domain, key_id);
	else
		der_put_raw(&out, facts->issuer_name);
	if (err)
		return err;
	put_validity(&out, facts->not_before, facts->not_after);
	err = put_ca_name(&out, facts->role, facts->trust_domain, key_id);
	if (err)
		return err;
	der_put_raw(&out, facts->spki);
	der_open(&out, DER_CONTEXT_CONS(3));
	der_open(&out, DER_SEQUENCE);
	err = put_ca_extensions(&out, facts, key_id, issuer_key_id);
	if (err)
		return err;
	der_close(&out);
	der_close(&out);
	der_close(&out);
	return der_finish(&out, "the CA's TBSCertificate");
}

struct writ_err *
ca_build_csr_info(struct writ_bytes trust_domain, struct writ_bytes spki, struct writ_buf *ret_info)
{
	const struct writ_bytes policies[] = { OID_CP_DELEGATED_AGENT, OID_CP_RESIDENT, OID_CP_SEALED,
					       OID_CP_SOFTWARE };
	struct der_out out = der_write(ret_info);
	uint8_t key_id[20];
	struct writ_err *err;

	err = ca_key_id(spki, key_id);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	der_put_int(&out, DER_INTEGER, 0); /* v1 */
	err = put_ca_name(&out, CA_ANCHOR, trust_domain, key_id);
	if (err)
		return err;
	der_put_raw(&out, spki);
	der_open(&out, DER_CONTEXT_CONS(0));
	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, OID_EXTENSION_REQUEST);
	der_open(&out, DER_SET);
	der_open(&out, DER_SEQUENCE);
	put_extension(&out, OID_BASIC_CONSTRAINTS, true, VALUE_ANCHOR_BC);
	put_extension(&out, OID_KEY_USAGE, true, VALUE_CA_KEY_USAGE);
	put_subject_key_id(&out, key_id);
	put_policies(&out, policies, N_OF(policies));
	der_close(&out);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	der_close(&out);
	return der_finish(&out, "the anchor's CertificationRequestInfo");
}

/* ---- the reader ---- */

static struct writ_err *
bad(const char *field, const char *why)
{
	return writ_fail(WRIT_INVALID, "CA certificate: %s: %s", field, why);
}

static struct writ_err *
read_basic_constraints(struct writ_bytes value, struct ca_cert *ret)
{
	struct der in = der_read(value), inner;
	uint64_t path_len;

	if (!der_take(&in, DER_SEQUENCE, &inner) || !der_at_end(&in))
		return bad("basicConstraints", "not a SEQUENCE");
	if (der_next_is(&inner, DER_BOOLEAN) && (!der_take_bool(&inner, DER_BOOLEAN, &ret->is_ca) || !ret->is_ca))
		return bad("basicConstraints", "cA FALSE is written out: DER leaves a default out");
	if (ret->is_ca && der_next_is(&inner, DER_INTEGER)) {
		if (!der_take_unsigned(&inner, DER_INTEGER, 16, &path_len))
			return bad("basicConstraints", "pathLenConstraint is not in 0..16");
		ret->path_len = (int)path_len;
	}
	return der_at_end(&inner) ? NULL : bad("basicConstraints", "more than cA and pathLenConstraint");
}

static struct writ_err *
read_key_usage(struct writ_bytes value, struct ca_cert *ret)
{
	struct der in = der_read(value);
	struct writ_bytes bits;

	if (!der_is_strict(value, 1) || !der_take_bytes(&in, DER_BIT_STRING, &bits) || bits.len < 2 || bits.len > 3)
		return bad("keyUsage", "not a BIT STRING of 1 to 9 named bits");
	ret->key_usage = (uint16_t)(bits.data[1] << 8 | (bits.len > 2 ? bits.data[2] : 0));
	return NULL;
}

static struct writ_err *
read_subject_key_id(struct writ_bytes value, struct ca_cert *ret)
{
	struct der in = der_read(value);
	struct writ_bytes id;

	if (!der_take_bytes(&in, DER_OCTET_STRING, &id) || !der_at_end(&in))
		return bad("subjectKeyIdentifier", "not an OCTET STRING");
	/* What it issues says authorityKeyIdentifier = SHA-1 of its key; OpenSSL and others compare the two. */
	if (!writ_equal(id, (struct writ_bytes){ ret->key_id, 20 }))
		return bad("subjectKeyIdentifier",
			   "not the SHA-1 of its key (RFC 5280 4.2.1.2, method 1), as the request asked");
	return NULL;
}

/* An owner's CA may name the issuer and serial too; a key id of other than 20 octets is not ours and says nothing to
 * us. */
static struct writ_err *
read_issuer_key_id(struct writ_bytes value, struct ca_cert *ret)
{
	struct der in = der_read(value), inner;
	struct writ_bytes id;

	if (!der_take(&in, DER_SEQUENCE, &inner) || !der_at_end(&in))
		return bad("authorityKeyIdentifier", "not a SEQUENCE");
	if (der_next_is(&inner, DER_CONTEXT(0))) {
		if (!der_take_bytes(&inner, DER_CONTEXT(0), &id))
			return bad("authorityKeyIdentifier", "its key id is not DER");
		if (id.len == KEY_ID_LEN)
			ret->authority_key_id = id;
	}
	return NULL;
}

static void
add_tier(struct ca_cert *ret, enum leaf_tier tier)
{
	for (size_t i = 0; i < ret->n_tiers; i++)
		if (ret->tiers[i] == tier)
			return;
	ret->tiers[ret->n_tiers++] = tier;
}

static void
allow_every_policy(struct ca_cert *ret)
{
	ret->delegated_agent = true;
	for (enum leaf_tier tier = LEAF_TIER_RESIDENT; tier <= LEAF_TIER_SOFTWARE; tier++)
		add_tier(ret, tier);
}

static struct writ_err *
read_policies(struct writ_bytes value, struct ca_cert *ret)
{
	struct der in = der_read(value), list, info;
	struct writ_bytes oid;

	if (!der_take(&in, DER_SEQUENCE, &list) || !der_at_end(&in) || der_at_end(&list))
		return bad("certificatePolicies", "not a SEQUENCE of at least one");
	while (!der_at_end(&list)) {
		if (!der_take(&list, DER_SEQUENCE, &info) || !der_take_oid(&info, &oid))
			return bad("certificatePolicies", "not PolicyInformation in DER");
		if (writ_equal(oid, OID_ANY_POLICY))
			allow_every_policy(ret);
		else if (writ_equal(oid, OID_CP_DELEGATED_AGENT))
			ret->delegated_agent = true;
		else if (writ_equal(oid, OID_CP_RESIDENT))
			add_tier(ret, LEAF_TIER_RESIDENT);
		else if (writ_equal(oid, OID_CP_SEALED))
			add_tier(ret, LEAF_TIER_SEALED);
		else if (writ_equal(oid, OID_CP_SOFTWARE))
			add_tier(ret, LEAF_TIER_SOFTWARE);
	}
	return NULL;
}

static struct writ_err *
read_ext_key_usage(struct writ_bytes value, struct ca_cert *ret)
{
	/* On a CA some owners' policies put one; only the responder's tells us anything. */
	ret->ocsp_signing = writ_equal(value, VALUE_OCSP_EKU);
	return NULL;
}

static struct writ_err *
read_crl_url(struct writ_bytes value, struct ca_cert *ret)
{
	/* An owner's CA may give several, or LDAP ones: then there is none that we follow. */
	if (!read_crl_distribution_point(value, &ret->crl_url))
		ret->crl_url = (struct writ_bytes){ 0 };
	return NULL;
}

static struct writ_err *
read_nothing(struct writ_bytes value, struct ca_cert *ret)
{
	(void)value;
	(void)ret;
	return NULL;
}

#define READER_POLICIES 0 /* its row below */

static const struct reader {
	const struct writ_bytes *oid;
	struct writ_err *(*read)(struct writ_bytes value, struct ca_cert *ret);
} readers[] = {
	[READER_POLICIES] = { &OID_CERTIFICATE_POLICIES, read_policies },
	{ &OID_BASIC_CONSTRAINTS, read_basic_constraints },
	{ &OID_KEY_USAGE, read_key_usage },
	{ &OID_SUBJECT_KEY_ID, read_subject_key_id },
	{ &OID_AUTHORITY_KEY_ID, read_issuer_key_id },
	{ &OID_EXT_KEY_USAGE, read_ext_key_usage },
	{ &OID_CRL_DISTRIBUTION_POINTS, read_crl_url },
	{ &OID_OCSP_NOCHECK, read_nothing },
};

static struct writ_err *
read_one_extension(const struct extension *ext, unsigned *seen, struct ca_cert *ret)
{
	char text[OID_TEXT_MAX];

	for (size_t i = 0; i < N_OF(readers); i++) {
		if (!writ_equal(ext->oid, *readers[i].oid))
			continue;
		if (*seen & 1u << i)
			return bad(oid_text(ext->oid, text), "this extension stands there twice");
		*seen |= 1u << i;
		return readers[i].read(ext->value, ret);
	}
	if (ext->critical)
		return bad(oid_text(ext->oid, text), "an unknown critical extension");
	return NULL;
}

#define EXTENSIONS_MAX 32

static struct writ_err *
read_extensions(struct der *in, struct ca_cert *ret)
{
	struct der outer, list;
	struct extension ext;
	unsigned seen = 0, n = 0;
	struct writ_err *err;

	if (!der_take(in, DER_CONTEXT_CONS(3), &outer) || !der_at_end(in) || !der_take(&outer, DER_SEQUENCE, &list) ||
	    !der_at_end(&outer))
		return bad("extensions", "missing, or not the last field");
	while (!der_at_end(&list)) {
		if (n++ == EXTENSIONS_MAX)
			return bad("extensions", "more than 32");
		if (!take_extension(&list, &ext))
			return bad("extensions", "one of them is not DER");
		err = read_one_extension(&ext, &seen, ret);
		if (err)
			return err;
	}
	/* Of a root that asserts nothing, anything may follow (RFC 5280 6.1: an anchor's own policies are not looked
	 * at). */
	if (ret->self_issued && !(seen & 1u << READER_POLICIES))
		allow_every_policy(ret);
	return NULL;
}

static struct writ_err *
check_role(const struct ca_cert *ca)
{
	if (ca->is_ca && !(ca->key_usage & CA_KU_CERT_SIGN))
		return bad("keyUsage", "a CA without keyCertSign");
	if (ca->is_ca)
		return NULL;
	if (!ca->ocsp_signing)
		return bad("basicConstraints", "neither CA:TRUE, nor an OCSP responder by its extKeyUsage");
	if (ca->key_usage != CA_KU_DIGITAL_SIGNATURE)
		return bad("keyUsage", "an OCSP responder has digitalSignature and nothing else");
	return NULL;
}

static struct writ_err *
read_tbs(struct writ_bytes tbs, struct writ_bytes outer_alg, struct ca_cert *ret)
{
	struct der in = der_read(tbs), ignored;
	struct writ_bytes alg, raw;
	struct writ_err *err;

	if (!der_take(&in, DER_SEQUENCE, &in))
		return bad("TBSCertificate", "not a SEQUENCE");
	if (!take_version_3(&in))
		return bad("version", "must be v3");
	if (!take_serial(&in, &ret->serial))
		return bad("serial", "not a positive INTEGER of 20 octets at most");
	if (!der_take_whole(&in, DER_SEQUENCE, &ignored, &alg))
		return bad("signature", "not an AlgorithmIdentifier");
	if (!writ_equal(alg, outer_alg))
		return bad("signature", "the algorithm inside the TBSCertificate is not the one outside");
	ret->signature_kind = key_kind_of_alg(alg);
	if (!take_name(&in, NAME_MIN_LEN, NAME_MAX_LEN, &ret->issuer))
		return bad("issuer",
			   "not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets");
	if (!take_validity(&in, &ret->not_before, &ret->not_after))
		return bad("validity", "not two times as RFC 5280 4.1.2.5 wants them");
	if (!take_name(&in, NAME_MIN_LEN, NAME_MAX_LEN, &ret->subject))
		return bad("subject",
			   "not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets");
	ret->self_issued = writ_equal(ret->issuer, ret->subject);
	if (!der_take_whole(&in, DER_SEQUENCE, &ignored, &ret->spki))
		return bad("public key", "not a SubjectPublicKeyInfo");
	err = spki_parse(ret->spki, &ret->kind, &raw);
	if (err)
		return writ_because(err, "CA certificate: public key");
	writ_sha1(raw, ret->key_id);
	err = read_extensions(&in, ret);
	return err ? err : check_role(ret);
}

struct writ_err *
ca_read(struct writ_bytes certificate, struct ca_cert *ret)
{
	struct signed_parts parts;
	struct writ_err *err;

	*ret = (struct ca_cert){ .whole = certificate, .path_len = -1 };
	if (certificate.len > CA_CERT_MAX)
		return writ_fail(WRIT_INVALID, "CA certificate: %zu bytes, the limit is %d", certificate.len,
				 CA_CERT_MAX);
	err = signed_split(certificate, "CA certificate", &parts);
	if (err)
		return err;
	if (!der_is_strict(certificate, CA_DEPTH_MAX))
		return writ_fail(WRIT_INVALID, "CA certificate: not strict DER, or nested over %d deep", CA_DEPTH_MAX);
	ret->tbs = parts.tbs;
	ret->signature = parts.signature;
	return read_tbs(parts.tbs, parts.alg, ret);
}
