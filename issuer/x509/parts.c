/*
 * The common pieces.  Knows no profile: which piece stands where is for leaf.c, ca.c, crl.c and ocsp.c to say.
 */
#include "issuer/x509/parts.h"

#define URI DER_CONTEXT(6) /* GeneralName, uniformResourceIdentifier */
#define VERSION_3 WRIT_LIT("\xa0\x03\x02\x01\x02")

static void
put_attribute(struct der_out *out, struct writ_bytes oid, struct writ_bytes prefix, struct writ_bytes value)
{
	der_open(out, DER_SET);
	der_open(out, DER_SEQUENCE);
	der_put_oid(out, oid);
	der_open(out, DER_UTF8);
	der_put_raw(out, prefix);
	der_put_raw(out, value);
	der_close(out);
	der_close(out);
	der_close(out);
}

void
put_name(struct der_out *out, struct writ_bytes organization, struct writ_bytes cn_prefix, struct writ_bytes cn)
{
	der_open(out, DER_SEQUENCE);
	put_attribute(out, OID_ORGANIZATION, WRIT_LIT(""), organization);
	put_attribute(out, OID_COMMON_NAME, cn_prefix, cn);
	der_close(out);
}

void
put_version_3(struct der_out *out)
{
	der_put_raw(out, VERSION_3);
}

void
put_validity(struct der_out *out, writ_time not_before, writ_time not_after)
{
	der_open(out, DER_SEQUENCE);
	der_put_time(out, not_before);
	der_put_time(out, not_after);
	der_close(out);
}

void
extension_open(struct der_out *out, struct writ_bytes oid, bool critical)
{
	der_open(out, DER_SEQUENCE);
	der_put_oid(out, oid);
	if (critical)
		der_put_bool(out, DER_BOOLEAN, true);
	der_open(out, DER_OCTET_STRING);
}

void
extension_close(struct der_out *out)
{
	der_close(out);
	der_close(out);
}

void
put_extension(struct der_out *out, struct writ_bytes oid, bool critical, struct writ_bytes value)
{
	extension_open(out, oid, critical);
	der_put_raw(out, value);
	extension_close(out);
}

void
put_authority_key_id(struct der_out *out, struct writ_bytes key_id)
{
	extension_open(out, OID_AUTHORITY_KEY_ID, false);
	der_open(out, DER_SEQUENCE);
	der_put(out, DER_CONTEXT(0), key_id);
	der_close(out);
	extension_close(out);
}

void
put_policies(struct der_out *out, const struct writ_bytes *oids, size_t n)
{
	extension_open(out, OID_CERTIFICATE_POLICIES, false);
	der_open(out, DER_SEQUENCE);
	for (size_t i = 0; i < n; i++) {
		der_open(out, DER_SEQUENCE);
		der_put_oid(out, oids[i]);
		der_close(out);
	}
	der_close(out);
	extension_close(out);
}

void
put_crl_distribution_point(struct der_out *out, struct writ_bytes url)
{
	extension_open(out, OID_CRL_DISTRIBUTION_POINTS, false);
	der_open(out, DER_SEQUENCE);
	der_open(out, DER_SEQUENCE);
	der_open(out, DER_CONTEXT_CONS(0)); /* distributionPoint */
	der_open(out, DER_CONTEXT_CONS(0)); /* fullName */
	der_put(out, URI, url);
	der_close(out);
	der_close(out);
	der_close(out);
	der_close(out);
	extension_close(out);
}

void
put_authority_info(struct der_out *out, struct writ_bytes method, struct writ_bytes url)
{
	extension_open(out, OID_AUTHORITY_INFO_ACCESS, false);
	der_open(out, DER_SEQUENCE);
	der_open(out, DER_SEQUENCE);
	der_put_oid(out, method);
	der_put(out, URI, url);
	der_close(out);
	der_close(out);
	extension_close(out);
}

size_t
header_len(size_t len)
{
	size_t n = 2;

	if (len >= 0x80)
		for (size_t rest = len; rest; rest >>= 8)
			n++;
	return n;
}

struct writ_err *
put_header(struct writ_buf *buf, uint8_t tag, size_t len)
{
	uint8_t header[2 + sizeof(size_t)] = { tag, (uint8_t)len };
	const size_t n = header_len(len);

	if (n > 2) {
		header[1] = (uint8_t)(0x80 | (n - 2));
		for (size_t i = 2; i < n; i++)
			header[i] = (uint8_t)(len >> (8 * (n - 1 - i)));
	}
	return writ_buf_add(buf, (struct writ_bytes){ header, n });
}

bool
take_version_3(struct der *in)
{
	const struct writ_bytes wanted = VERSION_3;

	if (der_rest(in).len < wanted.len || memcmp(in->at, wanted.data, wanted.len) != 0)
		return false;
	in->at += wanted.len;
	return true;
}

bool
take_extension(struct der *in, struct extension *ret)
{
	struct der ext;

	*ret = (struct extension){ 0 };
	if (!der_take(in, DER_SEQUENCE, &ext) || !der_take_oid(&ext, &ret->oid))
		return false;
	if (der_next_is(&ext, DER_BOOLEAN) && (!der_take_bool(&ext, DER_BOOLEAN, &ret->critical) || !ret->critical))
		return false; /* FALSE is the default: DER leaves it out */
	return der_take_bytes(&ext, DER_OCTET_STRING, &ret->value) && der_at_end(&ext);
}

bool
read_authority_key_id(struct writ_bytes value, struct writ_bytes *ret)
{
	struct der in = der_read(value), inner;

	return der_take(&in, DER_SEQUENCE, &inner) && der_at_end(&in) && der_take_bytes(&inner, DER_CONTEXT(0), ret) &&
	       der_at_end(&inner) && ret->len == KEY_ID_LEN;
}

bool
read_crl_distribution_point(struct writ_bytes value, struct writ_bytes *ret_url)
{
	struct der in = der_read(value), points, point, name, full;

	return der_take(&in, DER_SEQUENCE, &points) && der_at_end(&in) && der_take(&points, DER_SEQUENCE, &point) &&
	       der_at_end(&points) && der_take(&point, DER_CONTEXT_CONS(0), &name) && der_at_end(&point) &&
	       der_take(&name, DER_CONTEXT_CONS(0), &full) && der_at_end(&name) &&
	       der_take_bytes(&full, URI, ret_url) && der_at_end(&full) && url_ok(*ret_url);
}

bool
read_authority_info(struct writ_bytes value, struct writ_bytes method, struct writ_bytes *ret_url)
{
	struct der in = der_read(value), list, access;
	struct writ_bytes oid;

	return der_take(&in, DER_SEQUENCE, &list) && der_at_end(&in) && der_take(&list, DER_SEQUENCE, &access) &&
	       der_at_end(&list) && der_take_oid(&access, &oid) && writ_equal(oid, method) &&
	       der_take_bytes(&access, URI, ret_url) && der_at_end(&access) && url_ok(*ret_url);
}

#define NAME_DEPTH 4 /* Name, RDN, attribute, value */

static bool
take_attribute(struct der *rdn)
{
	struct der attribute;
	struct writ_bytes oid, value;
	uint8_t tag;

	return der_take(rdn, DER_SEQUENCE, &attribute) && der_take_oid(&attribute, &oid) &&
	       der_take_any(&attribute, &tag, &value) && der_at_end(&attribute) &&
	       (tag == DER_UTF8 || tag == DER_PRINTABLE || tag == DER_IA5);
}

bool
take_name(struct der *in, size_t min, size_t max, struct writ_bytes *ret_whole)
{
	struct der name, rdn;

	if (!der_take_whole(in, DER_SEQUENCE, &name, ret_whole) || ret_whole->len < min || ret_whole->len > max ||
	    !der_is_strict(*ret_whole, NAME_DEPTH))
		return false;
	while (!der_at_end(&name)) {
		if (!der_take(&name, DER_SET, &rdn) || der_at_end(&rdn))
			return false;
		while (!der_at_end(&rdn))
			if (!take_attribute(&rdn))
				return false;
	}
	return true;
}

bool
take_validity(struct der *in, writ_time *ret_not_before, writ_time *ret_not_after)
{
	struct der validity;

	return der_take(in, DER_SEQUENCE, &validity) && der_take_time(&validity, ret_not_before) &&
	       der_take_time(&validity, ret_not_after) && der_at_end(&validity);
}

bool
url_ok(struct writ_bytes url)
{
	for (size_t i = 0; i < url.len; i++)
		if (url.data[i] < 0x21 || url.data[i] > 0x7e)
			return false;
	return url.len > 0 && url.len <= URL_MAX;
}

bool
take_serial(struct der *in, struct writ_bytes *ret)
{
	if (!der_take_integer_bytes(in, DER_INTEGER, ret) || ret->len > SERIAL_MAX || ret->data[0] & 0x80)
		return false;
	if (ret->data[0] == 0) { /* minimal, so this zero is the sign of what follows, or all there is */
		ret->data++;
		ret->len--;
	}
	return ret->len > 0;
}

#define ALG_DEPTH_MAX 8 /* RSASSA-PSS has 6 */

bool
take_signed(struct der *in, struct signed_parts *ret, struct der *ret_behind)
{
	struct der outer, ignored, alg;
	struct writ_bytes oid;

	if (!der_take(in, DER_SEQUENCE, &outer) || !der_take_whole(&outer, DER_SEQUENCE, &ignored, &ret->tbs) ||
	    !der_take_whole(&outer, DER_SEQUENCE, &alg, &ret->alg) || !der_take_oid(&alg, &oid) ||
	    !der_is_strict(ret->alg, ALG_DEPTH_MAX) || !der_take_bits(&outer, DER_BIT_STRING, &ret->signature))
		return false;
	*ret_behind = outer;
	return true;
}

struct writ_err *
signed_split(struct writ_bytes der, const char *what, struct signed_parts *ret)
{
	struct der in = der_read(der), behind;
	uint8_t tag;
	struct writ_bytes whole;

	if (!der_take_any(&in, &tag, &whole))
		return writ_fail(WRIT_INVALID, "%s: not one whole DER element: cut short, or BER", what);
	if (!der_at_end(&in))
		return writ_fail(WRIT_INVALID, "%s: %zu bytes follow its end", what, der_rest(&in).len);
	in = der_read(der);
	if (!take_signed(&in, ret, &behind) || !der_at_end(&behind))
		return writ_fail(WRIT_INVALID,
				 "%s: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER", what);
	return NULL;
}
