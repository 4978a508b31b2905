/*
 * CRLs: entries encoded when the revocation is made, lists put together by copying them once.
 */
#include "issuer/x509/crl.h"

#include "base/der.h"
#include "issuer/x509/oid.h"
#include "issuer/x509/parts.h"

#define CRL_NUMBER_MAX INT64_MAX	  /* ours count up by one; others' fit 8 octets too or are refused */

static const struct {
	enum crl_reason reason;
	const char *name;
} reasons[] = {
	{ REASON_UNSPECIFIED, "unspecified" },
	{ REASON_KEY_COMPROMISE, "keyCompromise" },
	{ REASON_CA_COMPROMISE, "cACompromise" },
	{ REASON_AFFILIATION_CHANGED, "affiliationChanged" },
	{ REASON_SUPERSEDED, "superseded" },
	{ REASON_CESSATION_OF_OPERATION, "cessationOfOperation" },
	{ REASON_PRIVILEGE_WITHDRAWN, "privilegeWithdrawn" },
};

bool
crl_reason_ok(unsigned reason)
{
	for (size_t i = 0; i < N_OF(reasons); i++)
		if ((unsigned)reasons[i].reason == reason)
			return true;
	return false;
}

const char *
crl_reason_name(unsigned reason)
{
	for (size_t i = 0; i < N_OF(reasons); i++)
		if ((unsigned)reasons[i].reason == reason)
			return reasons[i].name;
	return "unknown";
}

bool
crl_reason_from(struct writ_bytes name, enum crl_reason *ret)
{
	for (size_t i = 0; i < N_OF(reasons); i++)
		if (writ_equal(name, writ_str(reasons[i].name))) {
			*ret = reasons[i].reason;
			return true;
		}
	return false;
}

/* ---- the writer ---- */

struct writ_err *
crl_entry_write(struct writ_bytes serial, writ_time revoked_at, enum crl_reason reason, struct writ_buf *ret)
{
	struct der_out out = der_write(ret);

	if (serial.len == 0 || serial.len > SERIAL_MAX)
		return writ_fail(WRIT_INVALID, "CRL entry: a serial of %zu octets, 1 to %d are allowed", serial.len,
				 SERIAL_MAX);
	if (!crl_reason_ok((unsigned)reason))
		return writ_fail(WRIT_INVALID, "CRL entry: reason %d is never emitted: there is no un-revoking (R7)",
				 (int)reason);
	der_open(&out, DER_SEQUENCE);
	der_put_integer_bytes(&out, DER_INTEGER, serial);
	der_put_time(&out, revoked_at);
	if (reason != REASON_UNSPECIFIED) { /* absent is how RFC 5280 5.3.1 wants that one said */
		der_open(&out, DER_SEQUENCE);
		extension_open(&out, OID_CRL_REASON, false);
		der_put_int(&out, DER_ENUMERATED, (int64_t)reason);
		extension_close(&out);
		der_close(&out);
	}
	der_close(&out);
	return der_finish(&out, "the CRL entry");
}

static struct writ_err *
check_facts(const struct crl_facts *facts)
{
	if (facts->issuer_key_id.len != KEY_ID_LEN)
		return writ_fail(WRIT_INVALID, "CRL: a key id has 20 octets, given are %zu", facts->issuer_key_id.len);
	if (key_signature_alg(facts->kind).len == 0)
		return writ_fail(WRIT_INVALID, "CRL: the kind of the signing key is not said");
	if (facts->number > (uint64_t)CRL_NUMBER_MAX)
		return writ_fail(WRIT_INVALID, "CRL: number %llu is over 2^63-1", (unsigned long long)facts->number);
	if (facts->next_update <= facts->this_update)
		return writ_fail(WRIT_INVALID, "CRL: nextUpdate is not after thisUpdate");
	if (facts->idp_url.len && !url_ok(facts->idp_url))
		return writ_fail(WRIT_INVALID, "CRL: its URL has 1 to %d printable octets", URL_MAX);
	for (size_t i = 1; i < facts->n_edges; i++)
		if (memcmp(facts->edges[i - 1], facts->edges[i], EDGE_ID) >= 0)
			return writ_fail(WRIT_INVALID,
					 "CRL: revoked delegations are not strictly ascending at number %zu", i + 1);
	return NULL;
}

static void
put_crl_extensions(struct der_out *out, const struct crl_facts *facts)
{
	der_open(out, DER_CONTEXT_CONS(0));
	der_open(out, DER_SEQUENCE);
	put_authority_key_id(out, facts->issuer_key_id);
	extension_open(out, OID_CRL_NUMBER, false);
	der_put_int(out, DER_INTEGER, (int64_t)facts->number);
	extension_close(out);
	if (facts->idp_url.len) {
		extension_open(out, OID_ISSUING_DISTRIBUTION_POINT, true);
		der_open(out, DER_SEQUENCE);
		der_open(out, DER_CONTEXT_CONS(0)); /* distributionPoint */
		der_open(out, DER_CONTEXT_CONS(0)); /* fullName */
		der_put(out, DER_CONTEXT(6), facts->idp_url);
		der_close(out);
		der_close(out);
		der_close(out);
		extension_close(out);
	}
	if (facts->n_edges) {
		extension_open(out, OID_REVOKED_DELEGATIONS, false);
		der_open(out, DER_SEQUENCE);
		for (size_t i = 0; i < facts->n_edges; i++)
			der_put(out, DER_OCTET_STRING, (struct writ_bytes){ facts->edges[i], EDGE_ID });
		der_close(out);
		extension_close(out);
	}
	der_close(out);
	der_close(out);
}

/* Head and tail are small and made aside, so that the length is known and the entries are copied once, straight into
 * their place. */
struct writ_err *
crl_frame(const struct crl_facts *facts, size_t entries_len, struct writ_buf *ret_head, struct writ_buf *ret_tail)
{
	AUTO(writ_buf_done) struct writ_buf fields = WRIT_BUF(CRL_HEAD_MAX);
	struct der_out out = der_write(&fields);
	size_t list_len = 0;
	struct writ_err *err;

	err = check_facts(facts);
	if (err)
		return err;
	der_put_int(&out, DER_INTEGER, 1); /* v2 */
	der_put_raw(&out, key_signature_alg(facts->kind));
	der_put_raw(&out, facts->issuer_name);
	der_put_time(&out, facts->this_update);
	der_put_time(&out, facts->next_update);
	err = der_finish(&out, "the CRL's fields");
	if (err)
		return err;
	out = der_write(ret_tail);
	put_crl_extensions(&out, facts);
	err = der_finish(&out, "the CRL's extensions");
	if (err)
		return err;

	if (entries_len) /* an empty list must be absent (RFC 5280 5.1.2.6) */
		list_len = header_len(entries_len) + entries_len;
	err = put_header(ret_head, DER_SEQUENCE, fields.len + list_len + ret_tail->len);
	if (!err)
		err = writ_buf_add(ret_head, writ_view(&fields));
	if (!err && entries_len)
		err = put_header(ret_head, DER_SEQUENCE, entries_len);
	return err;
}

struct writ_err *
crl_build_tbs(const struct crl_facts *facts, struct writ_buf *ret_tbs)
{
	AUTO(writ_buf_done) struct writ_buf tail = WRIT_BUF(CRL_TAIL_MAX(facts->n_edges));
	struct writ_err *err;

	err = crl_frame(facts, facts->entries.len, ret_tbs, &tail);
	if (err)
		return err;
	if (facts->entries.len)
		err = writ_buf_add(ret_tbs, facts->entries);
	if (!err)
		err = writ_buf_add(ret_tbs, writ_view(&tail));
	return err ? writ_because(err, "CRL with %zu bytes of entries", facts->entries.len) : NULL;
}

/* ---- the reader ---- */

static struct writ_err *
bad(const char *field, const char *why)
{
	return writ_fail(WRIT_INVALID, "CRL: %s: %s", field, why);
}

bool
crl_entry_take(struct der *in, struct crl_entry *ret)
{
	struct der entry, list, value;
	struct extension ext;
	uint64_t reason;
	bool reason_seen = false;

	*ret = (struct crl_entry){ 0 };
	if (!der_take(in, DER_SEQUENCE, &entry) || !take_serial(&entry, &ret->serial) ||
	    !der_take_time(&entry, &ret->revoked_at))
		return false;
	if (der_at_end(&entry))
		return true;
	if (!der_take(&entry, DER_SEQUENCE, &list) || !der_at_end(&entry) || der_at_end(&list))
		return false;
	while (!der_at_end(&list)) {
		if (!take_extension(&list, &ext))
			return false;
		if (!writ_equal(ext.oid, OID_CRL_REASON)) {
			if (ext.critical)
				return false;
			continue;
		}
		value = der_read(ext.value);
		if (reason_seen || !der_take_unsigned(&value, DER_ENUMERATED, 10, &reason) || !der_at_end(&value))
			return false;
		reason_seen = true;
		/* Reasons that we never emit, in another's list, still mean revoked. */
		ret->reason = crl_reason_ok((unsigned)reason) ? (enum crl_reason)reason : REASON_UNSPECIFIED;
	}
	return true;
}

static struct writ_err *
read_entries(struct der *in, struct crl *ret)
{
	struct der list;
	struct crl_entry entry;

	if (!der_next_is(in, DER_SEQUENCE))
		return NULL;
	if (!der_take(in, DER_SEQUENCE, &list) || der_at_end(&list))
		return bad("revokedCertificates", "not DER, or empty (then it must be absent)");
	ret->entries = der_rest(&list);
	for (size_t n = 1; !der_at_end(&list); n++)
		if (!crl_entry_take(&list, &entry))
			return writ_fail(WRIT_INVALID,
					 "CRL: revokedCertificates: entry %zu is not DER, or has a critical extension",
					 n);
	return NULL;
}

static struct writ_err *
read_key_id(struct writ_bytes value, struct crl *ret)
{
	/* A delegator's CA may name issuer and serial instead: the verifier then goes by the name and the signature. */
	if (!read_authority_key_id(value, &ret->authority_key_id))
		ret->authority_key_id = (struct writ_bytes){ 0 };
	return NULL;
}

static struct writ_err *
read_number(struct writ_bytes value, struct crl *ret)
{
	struct der in = der_read(value);

	if (!der_take_unsigned(&in, DER_INTEGER, UINT64_MAX, &ret->number) || !der_at_end(&in))
		return bad("cRLNumber", "not an INTEGER of 0..2^64-1");
	return NULL;
}

static struct writ_err *
read_distribution_point(struct writ_bytes value, struct crl *ret)
{
	struct der in = der_read(value), idp, name, full;

	/* onlyContains..., onlySomeReasons, indirectCRL: a list that leaves something out must not be taken for the
	 * whole. */
	if (!der_take(&in, DER_SEQUENCE, &idp) || !der_at_end(&in) || !der_take(&idp, DER_CONTEXT_CONS(0), &name) ||
	    !der_at_end(&idp) || !der_take(&name, DER_CONTEXT_CONS(0), &full) || !der_at_end(&name) ||
	    !der_take_bytes(&full, DER_CONTEXT(6), &ret->idp_url) || !der_at_end(&full) || !url_ok(ret->idp_url))
		return bad("issuingDistributionPoint", "not one URI alone, so the list may leave something out");
	return NULL;
}

static struct writ_err *
read_edges(struct writ_bytes value, struct crl *ret)
{
	struct der in = der_read(value), list;
	struct writ_bytes id, last = { 0 };

	if (!der_take(&in, DER_SEQUENCE, &list) || !der_at_end(&in) || der_at_end(&list))
		return bad("revokedDelegations", "not a SEQUENCE of at least one");
	ret->edges = der_rest(&list);
	while (!der_at_end(&list)) {
		if (!der_take_bytes(&list, DER_OCTET_STRING, &id) || id.len != EDGE_ID)
			return bad("revokedDelegations", "an edge id is not an OCTET STRING of 16 octets");
		if (last.len && writ_order(last, id) >= 0)
			return bad("revokedDelegations", "edge ids are not strictly ascending");
		last = id;
	}
	return NULL;
}

static const struct {
	const struct writ_bytes *oid;
	struct writ_err *(*read)(struct writ_bytes value, struct crl *ret);
} readers[] = {
	{ &OID_AUTHORITY_KEY_ID, read_key_id },
	{ &OID_CRL_NUMBER, read_number },
	{ &OID_ISSUING_DISTRIBUTION_POINT, read_distribution_point },
	{ &OID_REVOKED_DELEGATIONS, read_edges },
};

static struct writ_err *
read_extension(const struct extension *ext, unsigned *seen, struct crl *ret)
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
	return ext->critical ? bad(oid_text(ext->oid, text), "an unknown critical extension") : NULL;
}

static struct writ_err *
read_extensions(struct der *in, struct crl *ret)
{
	struct der outer, list;
	struct extension ext;
	unsigned seen = 0;
	struct writ_err *err;

	if (!der_take(in, DER_CONTEXT_CONS(0), &outer) || !der_at_end(in) || !der_take(&outer, DER_SEQUENCE, &list) ||
	    !der_at_end(&outer))
		return bad("crlExtensions", "missing, or not the last field");
	while (!der_at_end(&list)) {
		if (!take_extension(&list, &ext))
			return bad("crlExtensions", "one of them is not DER");
		err = read_extension(&ext, &seen, ret);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
crl_read(struct writ_bytes der, struct crl *ret)
{
	struct signed_parts parts;
	struct der in, ignored;
	struct writ_bytes alg;
	int64_t version;
	struct writ_err *err;

	*ret = (struct crl){ 0 };
	err = signed_split(der, "CRL", &parts);
	if (err)
		return err;
	ret->tbs = parts.tbs;
	ret->signature = parts.signature;
	in = der_read(parts.tbs);
	if (!der_take(&in, DER_SEQUENCE, &in) || !der_take_int(&in, DER_INTEGER, &version) || version != 1)
		return bad("version", "must be v2");
	if (!der_take_whole(&in, DER_SEQUENCE, &ignored, &alg) || !writ_equal(alg, parts.alg))
		return bad("signature", "the algorithm inside the TBSCertList is not the one outside");
	ret->kind = key_kind_of_alg(alg);
	if (!take_name(&in, NAME_MIN_LEN, NAME_MAX_LEN, &ret->issuer))
		return bad("issuer",
			   "not a Name of UTF8String, PrintableString or IA5String, empty, or over 1024 octets");
	if (!der_take_time(&in, &ret->this_update) || !der_take_time(&in, &ret->next_update))
		return bad("thisUpdate, nextUpdate", "missing, or not times as RFC 5280 5.1.2.4 wants them");
	if (ret->next_update <= ret->this_update)
		return bad("nextUpdate", "not after thisUpdate");
	err = read_entries(&in, ret);
	return err ? err : read_extensions(&in, ret);
}

bool
crl_find(const struct crl *crl, struct writ_bytes serial, writ_time *ret_revoked_at, enum crl_reason *ret_reason)
{
	struct der list = der_read(crl->entries);
	struct crl_entry entry;

	while (serial.len && serial.data[0] == 0) {
		serial.data++;
		serial.len--;
	}
	while (!der_at_end(&list) && crl_entry_take(&list, &entry)) {
		if (!writ_equal(entry.serial, serial))
			continue;
		*ret_revoked_at = entry.revoked_at;
		*ret_reason = entry.reason;
		return true;
	}
	return false;
}

bool
crl_has_edge(const struct crl *crl, struct writ_bytes edge_id)
{
	struct der list = der_read(crl->edges);
	struct writ_bytes id;

	while (!der_at_end(&list) && der_take_bytes(&list, DER_OCTET_STRING, &id))
		if (writ_equal(id, edge_id))
			return true;
	return false;
}
