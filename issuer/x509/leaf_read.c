/*
 * The leaf's reader: the profile field by field, in the writer's order.  It refuses everything else and says what it
 * found: the signer's gate rests on it (I1).
 */
#include "base/der.h"
#include "base/digest.h"
#include "issuer/x509/leaf.h"
#include "issuer/x509/leaf_profile.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

#define NO_REV_AVAIL_SEEN_MAX_S 150 /* 120 s of life (delegation.md 2) and 30 s of back-dating */

static bool
tier_from_oid(struct writ_bytes oid, enum leaf_tier *ret)
{
	struct writ_bytes known;

	for (enum leaf_tier tier = LEAF_TIER_RESIDENT; tier <= LEAF_TIER_SOFTWARE; tier++)
		if (tier_oid(tier, &known) && writ_equal(oid, known)) {
			*ret = tier;
			return true;
		}
	return false;
}

static struct writ_err *
bad(const char *field, const char *why)
{
	return writ_fail(WRIT_INVALID, "leaf: %s: %s", field, why);
}

static struct writ_err *
read_serial(struct der *in, bool placeholder_ok, struct leaf *ret)
{
	static const uint8_t zeros[LEAF_SERIAL];

	/* Not der_take_integer_bytes(): the placeholder of 16 zeros is no DER, and never leaves the signer. */
	if (!der_take_bytes(in, DER_INTEGER, &ret->serial))
		return bad("serial", "not an INTEGER");
	if (ret->serial.len != LEAF_SERIAL)
		return writ_fail(WRIT_INVALID, "leaf: serial: %zu octets, ours have %d", ret->serial.len, LEAF_SERIAL);
	if (memcmp(ret->serial.data, zeros, LEAF_SERIAL) == 0)
		return placeholder_ok ? NULL : bad("serial", "the placeholder of zeros was never filled in");
	if (ret->serial.data[0] & 0x80)
		return bad("serial", "negative");
	if (ret->serial.data[0] == 0)
		return bad("serial", "begins with a zero octet: not minutes since 1970 in our time");
	return NULL;
}

static struct writ_err *
read_attribute(struct der *name, struct writ_bytes oid, const char *field, struct writ_bytes *ret)
{
	struct der set, pair;
	struct writ_bytes found;

	if (!der_take(name, DER_SET, &set) || !der_take(&set, DER_SEQUENCE, &pair) || !der_at_end(&set) ||
	    !der_take_oid(&pair, &found) || !writ_equal(found, oid) || !der_take_bytes(&pair, DER_UTF8, ret) ||
	    !der_at_end(&pair))
		return bad(field, "not one UTF8String; the subject is O=<trust domain>, CN=task:<task id>");
	return NULL;
}

static struct writ_err *
read_subject(struct der *in, struct leaf *ret)
{
	const struct writ_bytes prefix = TASK_PREFIX;
	struct writ_bytes cn;
	struct der name;
	struct writ_err *err;

	if (!der_take(in, DER_SEQUENCE, &name))
		return bad("subject", "not a Name");
	err = read_attribute(&name, OID_ORGANIZATION, "subject O", &ret->trust_domain);
	if (!err)
		err = read_attribute(&name, OID_COMMON_NAME, "subject CN", &cn);
	if (err)
		return err;
	if (!der_at_end(&name))
		return bad("subject", "more than O and CN");
	err = trust_domain_check(ret->trust_domain);
	if (err)
		return writ_because(err, "leaf: subject O");
	if (cn.len < prefix.len || memcmp(cn.data, prefix.data, prefix.len) != 0)
		return bad("subject CN", "does not begin with 'task:', so stacks would take it for a host");
	ret->task_id = (struct writ_bytes){ cn.data + prefix.len, cn.len - prefix.len };
	err = task_id_check(ret->task_id);
	return err ? writ_because(err, "leaf: subject CN") : NULL;
}

static struct writ_err *
read_validity(struct der *in, struct leaf *ret)
{
	writ_time life_s;

	if (!take_validity(in, &ret->not_before, &ret->not_after))
		return bad("validity", "not two times as RFC 5280 4.1.2.5 wants them");
	if (ret->not_after < ret->not_before)
		return bad("validity", "ends before it begins");
	life_s = ret->not_after - ret->not_before + 1;
	if (life_s > LEAF_LIFETIME_SEEN_MAX_S)
		return writ_fail(WRIT_INVALID, "leaf: validity: %lld s from notBefore to notAfter, the limit is %d",
				 (long long)life_s, LEAF_LIFETIME_SEEN_MAX_S);
	return NULL;
}

/* Extensions of the profile, in their order. */
enum slot {
	SLOT_SAN,
	SLOT_KU,
	SLOT_BC,
	SLOT_AKI,
	SLOT_EKU,
	SLOT_POLICIES,
	SLOT_DELEGATION,
	SLOT_CRL,
	SLOT_OCSP,
	SLOT_NO_REV_AVAIL,
	SLOT_LOG_REF,
	N_SLOTS,
};

static const struct {
	const struct writ_bytes *oid;
	const char *name;
	bool critical;
} slots[N_SLOTS] = {
	[SLOT_SAN] = { &OID_SUBJECT_ALT_NAME, "subjectAltName", false },
	[SLOT_KU] = { &OID_KEY_USAGE, "keyUsage", true },
	[SLOT_BC] = { &OID_BASIC_CONSTRAINTS, "basicConstraints", true },
	[SLOT_AKI] = { &OID_AUTHORITY_KEY_ID, "authorityKeyIdentifier", false },
	[SLOT_EKU] = { &OID_EXT_KEY_USAGE, "extKeyUsage", false },
	[SLOT_POLICIES] = { &OID_CERTIFICATE_POLICIES, "certificatePolicies", false },
	[SLOT_DELEGATION] = { &OID_TASK_DELEGATION, "TaskDelegation", false },
	[SLOT_CRL] = { &OID_CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints", false },
	[SLOT_OCSP] = { &OID_AUTHORITY_INFO_ACCESS, "authorityInfoAccess", false },
	[SLOT_NO_REV_AVAIL] = { &OID_NO_REV_AVAIL, "noRevAvail", false },
	[SLOT_LOG_REF] = { &OID_LOG_REF, "LogRef", false },
};

/* Why the extension found does not stand where `wanted` should.  All slots before that one are taken. */
static struct writ_err *
misplaced(const struct extension *ext, enum slot wanted)
{
	char text[OID_TEXT_MAX];

	for (enum slot i = 0; i < N_SLOTS; i++) {
		if (!writ_equal(ext->oid, *slots[i].oid))
			continue;
		if (wanted == SLOT_LOG_REF && (i == SLOT_CRL || i == SLOT_OCSP || i == SLOT_NO_REV_AVAIL))
			return bad(slots[i].name,
				   "twice, or beside what excludes it: status URLs or noRevAvail (RFC 9608 4)");
		if (i < wanted)
			return bad(slots[i].name, "stands there twice");
		return writ_fail(WRIT_INVALID, "leaf: %s: missing, or out of order: %s stands in its place",
				 slots[wanted].name, slots[i].name);
	}
	return writ_fail(WRIT_INVALID, "leaf: %sextension %s is not of the profile; %s should stand there",
			 ext->critical ? "critical " : "", oid_text(ext->oid, text), slots[wanted].name);
}

static struct writ_err *
take_slot(struct der *in, enum slot slot, struct writ_bytes *ret_value)
{
	struct extension ext;

	if (der_at_end(in))
		return bad(slots[slot].name, "missing");
	if (!take_extension(in, &ext))
		return writ_fail(WRIT_INVALID, "leaf: the extension where %s should stand is not DER",
				 slots[slot].name);
	if (!writ_equal(ext.oid, *slots[slot].oid))
		return misplaced(&ext, slot);
	if (ext.critical != slots[slot].critical)
		return bad(slots[slot].name, slots[slot].critical ? "must be critical" : "must not be critical");
	*ret_value = ext.value;
	return NULL;
}

static struct writ_err *
take_fixed(struct der *in, enum slot slot, struct writ_bytes wanted, const char *why)
{
	struct writ_bytes value = { 0 };
	struct writ_err *err;

	err = take_slot(in, slot, &value);
	if (err)
		return err;
	return writ_equal(value, wanted) ? NULL : bad(slots[slot].name, why);
}

static struct writ_err *
read_san(struct der *in, struct leaf *ret)
{
	struct writ_bytes value = { 0 };
	struct der outer, names;
	struct spiffe_id id;
	struct writ_err *err;

	err = take_slot(in, SLOT_SAN, &value);
	if (err)
		return err;
	outer = der_read(value);
	if (!der_take(&outer, DER_SEQUENCE, &names) || !der_at_end(&outer) ||
	    !der_take_bytes(&names, DER_CONTEXT(6), &ret->san))
		return bad("subjectAltName", "not a URI");
	if (!der_at_end(&names))
		return bad("subjectAltName", "more than one name; a SPIFFE certificate has exactly one URI");
	err = spiffe_parse(ret->san, &id);
	if (err)
		return writ_because(err, "leaf: subjectAltName");
	if (id.kind != PRINCIPAL_AGENT || id.instance.len == 0)
		return writ_fail(
			WRIT_INVALID,
			"leaf: subjectAltName: '%.*s' is not an agent of ours: spiffe://TD/agent/CLASS/INSTANCE",
			WRIT_FMT(ret->san));
	if (!writ_equal(id.trust_domain, ret->trust_domain))
		return writ_fail(WRIT_INVALID,
				 "leaf: subjectAltName: trust domain '%.*s', but the subject's O is '%.*s'",
				 WRIT_FMT(id.trust_domain), WRIT_FMT(ret->trust_domain));
	return NULL;
}

static struct writ_err *
read_policies(struct der *in, struct leaf *ret)
{
	struct writ_bytes value, oid = { 0 };
	struct der outer, list, info;
	struct writ_err *err;

	err = take_slot(in, SLOT_POLICIES, &value);
	if (err)
		return err;
	outer = der_read(value);
	if (!der_take(&outer, DER_SEQUENCE, &list) || !der_at_end(&outer) || !der_take(&list, DER_SEQUENCE, &info) ||
	    !der_take_oid(&info, &oid) || !der_at_end(&info) || !writ_equal(oid, OID_CP_DELEGATED_AGENT))
		return bad("certificatePolicies", "the first must be cp-delegatedAgent, without qualifiers");
	if (!der_take(&list, DER_SEQUENCE, &info) || !der_take_oid(&info, &oid) || !der_at_end(&info) ||
	    !tier_from_oid(oid, &ret->tier))
		return bad("certificatePolicies", "the second must be a tier: cp-resident, cp-sealed or cp-software");
	if (!der_at_end(&list))
		return bad("certificatePolicies", "more than cp-delegatedAgent and one tier");
	return NULL;
}

static struct writ_err *
read_delegation(struct der *in, struct writ_arena *arena, struct leaf *ret)
{
	struct writ_err *err;

	err = take_slot(in, SLOT_DELEGATION, &ret->delegation_der);
	if (err)
		return err;
	err = delegation_read(ret->delegation_der, arena, &ret->delegation);
	if (!err)
		err = delegation_check_validity(&ret->delegation, ret->not_after);
	if (err)
		return writ_because(err, "leaf: TaskDelegation");
	if (!writ_equal(ret->delegation.task_id, ret->task_id))
		return writ_fail(WRIT_INVALID, "leaf: TaskDelegation: task '%.*s', but the subject's CN says '%.*s'",
				 WRIT_FMT(ret->delegation.task_id), WRIT_FMT(ret->task_id));
	return NULL;
}

static struct writ_err *
read_no_rev_avail(struct der *in, struct leaf *ret)
{
	const struct delegation *d = &ret->delegation;
	const writ_time life_s = ret->not_after - ret->not_before + 1;
	struct writ_err *err;

	err = take_fixed(in, SLOT_NO_REV_AVAIL, VALUE_NULL, "its value is NULL (RFC 9608 2)");
	if (err)
		return err;
	if (life_s > NO_REV_AVAIL_SEEN_MAX_S)
		return writ_fail(WRIT_INVALID,
				 "leaf: noRevAvail: %lld s from notBefore to notAfter, the limit for it is %d",
				 (long long)life_s, NO_REV_AVAIL_SEEN_MAX_S);
	if (d->hops[d->n_hops - 1].depth_remaining != 0)
		return writ_fail(WRIT_INVALID, "leaf: noRevAvail: depthRemaining is %u, it takes 0",
				 d->hops[d->n_hops - 1].depth_remaining);
	ret->no_rev_avail = true;
	return NULL;
}

static struct writ_err *
read_status_urls(struct der *in, struct leaf *ret)
{
	struct der ahead = *in;
	struct extension ext;
	struct writ_bytes value = { 0 };
	struct writ_err *err;

	if (!der_at_end(in) && take_extension(&ahead, &ext) && writ_equal(ext.oid, OID_NO_REV_AVAIL))
		return read_no_rev_avail(in, ret);
	err = take_slot(in, SLOT_CRL, &value);
	if (err)
		return err;
	if (!read_crl_distribution_point(value, &ret->crl_url))
		return bad("cRLDistributionPoints", "not one point with one URI of 1 to 512 printable octets");
	err = take_slot(in, SLOT_OCSP, &value);
	if (err)
		return err;
	if (!read_authority_info(value, OID_AD_OCSP, &ret->ocsp_url))
		return bad("authorityInfoAccess", "not one OCSP URI of 1 to 512 printable octets");
	return NULL;
}

static struct writ_err *
read_log_ref(struct der *in, struct leaf *ret)
{
	struct writ_bytes value = { 0 };
	struct der outer, ref;
	struct writ_err *err;

	err = take_slot(in, SLOT_LOG_REF, &value);
	if (err)
		return err;
	outer = der_read(value);
	if (value.len != LOG_REF_LEN || !der_take(&outer, DER_SEQUENCE, &ref) ||
	    !der_take_bytes(&ref, DER_OCTET_STRING, &ret->log_id) || ret->log_id.len != LOG_ID_LEN ||
	    !der_take_bytes(&ref, DER_OCTET_STRING, &ret->log_index) || ret->log_index.len != 8 ||
	    !der_take_bytes(&ref, DER_OCTET_STRING, &ret->log_hash) || ret->log_hash.len != 32)
		return bad("LogRef", "not log id, index and leaf hash of 8, 8 and 32 octets");
	return NULL;
}

static struct writ_err *
read_extensions(struct der *in, struct writ_arena *arena, struct leaf *ret)
{
	struct writ_bytes value = { 0 };
	struct der outer, list, extra;
	struct extension ext;
	struct writ_err *err;

	if (!der_take(in, DER_CONTEXT_CONS(3), &outer) || !der_at_end(in) || !der_take(&outer, DER_SEQUENCE, &list) ||
	    !der_at_end(&outer))
		return bad("extensions", "missing, or not the last field (a unique id is not allowed either)");
	err = read_san(&list, ret);
	if (!err)
		err = take_fixed(&list, SLOT_KU, VALUE_KEY_USAGE, "must be digitalSignature and nothing else");
	if (!err)
		err = take_fixed(&list, SLOT_BC, VALUE_NOT_A_CA, "must be CA:FALSE, as an empty SEQUENCE");
	if (!err)
		err = take_slot(&list, SLOT_AKI, &value);
	if (!err && !read_authority_key_id(value, &ret->authority_key_id))
		return bad("authorityKeyIdentifier", "not a key id of 20 octets alone");
	if (!err)
		err = take_fixed(&list, SLOT_EKU, VALUE_EXT_KEY_USAGE, "must be clientAuth, serverAuth, in that order");
	if (!err)
		err = read_policies(&list, ret);
	if (!err)
		err = read_delegation(&list, arena, ret);
	if (!err)
		err = read_status_urls(&list, ret);
	if (!err)
		err = read_log_ref(&list, ret);
	if (err)
		return err;
	if (der_at_end(&list))
		return NULL;
	extra = list;
	if (take_extension(&extra, &ext) && writ_equal(ext.oid, OID_LOG_REF))
		return bad("LogRef", "stands there twice");
	return bad("extensions", "something follows LogRef, which is the last one");
}

static struct writ_err *
read_tbs(struct writ_bytes tbs, bool placeholder_ok, struct writ_arena *arena, struct leaf *ret)
{
	struct der in = der_read(tbs), ignored;
	struct writ_bytes alg, raw;
	struct writ_err *err;

	*ret = (struct leaf){ .tbs = tbs };
	if (!der_take(&in, DER_SEQUENCE, &in))
		return bad("TBSCertificate", "not a SEQUENCE in DER");
	if (in.end != tbs.data + tbs.len)
		return bad("TBSCertificate", "bytes follow its end");
	if (!take_version_3(&in))
		return bad("version", "must be v3");
	err = read_serial(&in, placeholder_ok, ret);
	if (err)
		return err;
	if (!der_take_whole(&in, DER_SEQUENCE, &ignored, &alg))
		return bad("signature", "not an AlgorithmIdentifier");
	ret->signature_kind = key_kind_of_alg(alg);
	if (ret->signature_kind != KEY_P256)
		return bad("signature", "must be ecdsa-with-SHA256 without parameters");
	if (!take_name(&in, NAME_MIN_LEN, NAME_MAX_LEN, &ret->issuer))
		return bad("issuer",
			   "not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets");
	err = read_validity(&in, ret);
	if (!err)
		err = read_subject(&in, ret);
	if (err)
		return err;
	if (!der_take_whole(&in, DER_SEQUENCE, &ignored, &ret->spki))
		return bad("public key", "not a SubjectPublicKeyInfo");
	err = spki_parse(ret->spki, &ret->kind, &raw);
	if (err)
		return writ_because(err, "leaf: public key");
	err = read_extensions(&in, arena, ret);
	if (err)
		return err;
	writ_sha256(ret->spki, ret->spki_sha256);
	return NULL;
}

struct writ_err *
leaf_read_tbs(struct writ_bytes tbs, struct writ_arena *arena, struct leaf *ret)
{
	if (tbs.len > LEAF_MAX)
		return writ_fail(WRIT_INVALID, "leaf: %zu bytes, the limit is %d", tbs.len, LEAF_MAX);
	return read_tbs(tbs, true, arena, ret);
}

struct writ_err *
leaf_read(struct writ_bytes certificate, struct writ_arena *arena, struct leaf *ret)
{
	struct signed_parts parts;
	struct writ_err *err;

	*ret = (struct leaf){ 0 };
	if (certificate.len > LEAF_MAX)
		return writ_fail(WRIT_INVALID, "leaf: %zu bytes, the limit is %d", certificate.len, LEAF_MAX);
	err = signed_split(certificate, "leaf", &parts);
	if (!err)
		err = read_tbs(parts.tbs, false, arena, ret);
	if (err)
		return err;
	if (!writ_equal(parts.alg, key_signature_alg(ret->signature_kind)))
		return bad("signature", "its algorithm is not the one inside the TBSCertificate");
	ret->signature = parts.signature;
	return NULL;
}
