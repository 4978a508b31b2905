/*
 * The leaf's writer, and what the signer fills in.  The reader is leaf_read.c.
 */
#include "issuer/x509/leaf.h"

#include "base/der.h"
#include "base/digest.h"
#include "issuer/x509/leaf_profile.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

const char *
leaf_tier_name(enum leaf_tier tier)
{
	switch (tier) {
	case LEAF_TIER_RESIDENT:
		return "resident";
	case LEAF_TIER_SEALED:
		return "sealed";
	case LEAF_TIER_SOFTWARE:
		return "software";
	}
	return "unknown";
}

bool
tier_oid(enum leaf_tier tier, struct writ_bytes *ret)
{
	switch (tier) {
	case LEAF_TIER_RESIDENT:
		*ret = OID_CP_RESIDENT;
		return true;
	case LEAF_TIER_SEALED:
		*ret = OID_CP_SEALED;
		return true;
	case LEAF_TIER_SOFTWARE:
		*ret = OID_CP_SOFTWARE;
		return true;
	}
	return false;
}

static struct writ_err *
check_facts(const struct leaf_issuer *issuer, const struct leaf_facts *facts)
{
	struct writ_bytes oid;

	if (issuer->kind != KEY_P256)
		return writ_fail(WRIT_INVALID, "leaf: issuing keys are P-256, this one is %s",
				 key_kind_name(issuer->kind));
	if (issuer->key_id.len != KEY_ID_LEN || issuer->log_id.len != LOG_ID_LEN)
		return writ_fail(WRIT_INVALID, "leaf: a key id has 20 octets and a log id 8, given are %zu and %zu",
				 issuer->key_id.len, issuer->log_id.len);
	if (!tier_oid(issuer->tier, &oid))
		return writ_fail(WRIT_INVALID, "leaf: tier %d is none of resident, sealed, software",
				 (int)issuer->tier);
	if (issuer->trust_domain.len == 0 || issuer->trust_domain.len > TRUST_DOMAIN_MAX)
		return writ_fail(WRIT_INVALID, "leaf: a trust domain has 1 to %d octets, this one %zu",
				 TRUST_DOMAIN_MAX, issuer->trust_domain.len);
	if (facts->task_id.len == 0 || facts->task_id.len > TASK_ID_LEN_MAX)
		return writ_fail(WRIT_INVALID, "leaf: a task id has 1 to %d octets, this one %zu", TASK_ID_LEN_MAX,
				 facts->task_id.len);
	if (facts->san.len == 0 || facts->san.len > PRINCIPAL_MAX)
		return writ_fail(WRIT_INVALID, "leaf: a SPIFFE ID has 1 to %d octets, this one %zu", PRINCIPAL_MAX,
				 facts->san.len);
	if (!facts->no_rev_avail && (!url_ok(issuer->crl_url) || !url_ok(issuer->ocsp_url)))
		return writ_fail(WRIT_INVALID, "leaf: the URLs of CRL and OCSP have 1 to %d printable octets", URL_MAX);
	if (facts->delegation.len > DELEGATION_MAX)
		return writ_fail(WRIT_INVALID, "leaf: TaskDelegation has %zu bytes, the limit is %d",
				 facts->delegation.len, DELEGATION_MAX);
	return NULL;
}

static void
put_leaf_extensions(struct der_out *out, const struct leaf_issuer *issuer, const struct leaf_facts *facts)
{
	static const uint8_t zeros[32];
	struct writ_bytes policies[2] = { OID_CP_DELEGATED_AGENT };

	(void)tier_oid(issuer->tier, &policies[1]);
	der_open(out, DER_CONTEXT_CONS(3));
	der_open(out, DER_SEQUENCE);
	extension_open(out, OID_SUBJECT_ALT_NAME, false);
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_CONTEXT(6), facts->san);
	der_close(out);
	extension_close(out);
	put_extension(out, OID_KEY_USAGE, true, VALUE_KEY_USAGE);
	put_extension(out, OID_BASIC_CONSTRAINTS, true, VALUE_NOT_A_CA);
	put_authority_key_id(out, issuer->key_id);
	put_extension(out, OID_EXT_KEY_USAGE, false, VALUE_EXT_KEY_USAGE);
	put_policies(out, policies, N_OF(policies));
	put_extension(out, OID_TASK_DELEGATION, false, facts->delegation);
	if (facts->no_rev_avail) {
		put_extension(out, OID_NO_REV_AVAIL, false, VALUE_NULL);
	} else {
		put_crl_distribution_point(out, issuer->crl_url);
		put_authority_info(out, OID_AD_OCSP, issuer->ocsp_url);
	}
	extension_open(out, OID_LOG_REF, false);
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_OCTET_STRING, issuer->log_id);
	der_put(out, DER_OCTET_STRING, (struct writ_bytes){ zeros, 8 });
	der_put(out, DER_OCTET_STRING, (struct writ_bytes){ zeros, 32 });
	der_close(out);
	extension_close(out);
	der_close(out);
	der_close(out);
}

struct writ_err *
leaf_build(const struct leaf_issuer *issuer, const struct leaf_facts *facts, struct writ_buf *ret_tbs)
{
	static const uint8_t zeros[LEAF_SERIAL];
	struct der_out out = der_write(ret_tbs);
	struct writ_err *err;

	err = check_facts(issuer, facts);
	if (err)
		return err;
	der_open(&out, DER_SEQUENCE);
	put_version_3(&out);
	der_put(&out, DER_INTEGER, (struct writ_bytes){ zeros, sizeof(zeros) }); /* a place for the signer's serial */
	der_put_raw(&out, key_signature_alg(issuer->kind));
	der_put_raw(&out, issuer->name);
	put_validity(&out, facts->not_before, facts->not_after);
	put_name(&out, issuer->trust_domain, TASK_PREFIX, facts->task_id);
	der_put_raw(&out, facts->spki);
	put_leaf_extensions(&out, issuer, facts);
	der_close(&out);
	return der_finish(&out, "the leaf's TBSCertificate");
}

/* ---- what the signer fills in ---- */

void
leaf_fill(uint8_t *tbs, const struct leaf *leaf, const uint8_t serial[LEAF_SERIAL], uint64_t log_index,
	  const uint8_t log_hash[32])
{
	memcpy(tbs + (leaf->serial.data - leaf->tbs.data), serial, LEAF_SERIAL);
	writ_put64(tbs + (leaf->log_index.data - leaf->tbs.data), log_index);
	memcpy(tbs + (leaf->log_hash.data - leaf->tbs.data), log_hash, 32);
}

void
leaf_tbs_digest(const struct leaf *leaf, uint8_t out[32])
{
	static const uint8_t zeros[32];
	const uint8_t *const end = leaf->tbs.data + leaf->tbs.len;
	const uint8_t *const behind_index = leaf->log_index.data + leaf->log_index.len;
	const uint8_t *const behind_hash = leaf->log_hash.data + leaf->log_hash.len;
	const struct writ_bytes pieces[] = {
		{ leaf->tbs.data, (size_t)(leaf->log_index.data - leaf->tbs.data) },
		{ zeros, leaf->log_index.len },
		{ behind_index, (size_t)(leaf->log_hash.data - behind_index) },
		{ zeros, leaf->log_hash.len },
		{ behind_hash, (size_t)(end - behind_hash) },
	};

	writ_sha256v(pieces, N_OF(pieces), out);
}

struct writ_err *
x509_frame(size_t tbs_len, enum key_kind kind, struct writ_bytes signature, struct writ_buf *ret_head,
	   struct writ_buf *ret_tail)
{
	const struct writ_bytes alg = key_signature_alg(kind);
	struct der_out out = der_write(ret_tail);
	struct writ_err *err;

	err = put_header(ret_head, DER_SEQUENCE, tbs_len + alg.len + header_len(1 + signature.len) + 1 + signature.len);
	if (err)
		return err;
	der_put_raw(&out, alg);
	der_put_bits(&out, signature);
	return der_finish(&out, "the signed structure");
}

struct writ_err *
x509_assemble(struct writ_bytes tbs, enum key_kind kind, struct writ_bytes signature, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf tail = WRIT_BUF(SIGNATURE_MAX + 64);
	struct writ_err *err;

	err = x509_frame(tbs.len, kind, signature, ret, &tail);
	if (!err)
		err = writ_buf_add(ret, tbs);
	return err ? err : writ_buf_add(ret, writ_view(&tail));
}
