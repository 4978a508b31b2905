/*
 * Input: bytes that may be DER.  Whatever der_is_strict() takes, OpenSSL takes too and writes back byte for byte;
 * integers, times and object identifiers have the same value in both; and our writer gives the same bytes again.
 */
#include "tests/fuzz/fuzz.h"

#include <time.h>

#include <openssl/asn1.h>
#include <openssl/objects.h>

#include "base/der.h"

#define DEPTH_MAX 12

/* OpenSSL reads one element of a universal type, all of it, and writes the same. */
static void
check_reencoded(struct writ_bytes whole)
{
	const unsigned char *at = whole.data;
	ASN1_TYPE *type = d2i_ASN1_TYPE(NULL, &at, (long)whole.len);
	unsigned char *out = NULL;
	int len;

	FUZZ_CHECK(type && at == whole.data + whole.len);
	len = i2d_ASN1_TYPE(type, &out);
	FUZZ_CHECK(len > 0 && writ_equal((struct writ_bytes){ out, (size_t)len }, whole));
	OPENSSL_free(out);
	ASN1_TYPE_free(type);
}

static void
check_integer(uint8_t tag, struct writ_bytes whole)
{
	struct der a = der_read(whole), b = a, c = a;
	const unsigned char *at = whole.data;
	struct writ_bytes octets;
	uint64_t our_unsigned, their_unsigned;
	int64_t ours, theirs;
	const bool taken = der_take_int(&a, tag, &ours),
		   taken_unsigned = der_take_unsigned(&b, tag, UINT64_MAX, &our_unsigned);

	FUZZ_CHECK(der_take_integer_bytes(&c, tag, &octets) && der_at_end(&c));
	if (tag == DER_INTEGER) {
		ASN1_INTEGER *integer = d2i_ASN1_INTEGER(NULL, &at, (long)whole.len);

		FUZZ_CHECK(integer);
		FUZZ_CHECK((ASN1_INTEGER_get_int64(&theirs, integer) == 1) == taken);
		FUZZ_CHECK((ASN1_INTEGER_get_uint64(&their_unsigned, integer) == 1) == taken_unsigned);
		ASN1_INTEGER_free(integer);
		FUZZ_CHECK(!taken || ours == theirs);
		FUZZ_CHECK(!taken_unsigned || our_unsigned == their_unsigned);
	}
	FUZZ_CHECK(taken == der_at_end(&a));
}

static void
check_oid(struct writ_bytes whole)
{
	struct der in = der_read(whole);
	const unsigned char *at = whole.data;
	ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &at, (long)whole.len);
	struct writ_bytes oid;
	char text[1000];

	FUZZ_CHECK(der_take_oid(&in, &oid) && der_at_end(&in));
	FUZZ_CHECK(object && OBJ_length(object) == oid.len && memcmp(OBJ_get0_data(object), oid.data, oid.len) == 0);
	FUZZ_CHECK(OBJ_obj2txt(text, sizeof(text), object, 1) > 0);
	ASN1_OBJECT_free(object);
}

static void
check_time(uint8_t tag, struct writ_bytes whole)
{
	struct der in = der_read(whole);
	const unsigned char *at = whole.data;
	ASN1_TIME *theirs = d2i_ASN1_TIME(NULL, &at, (long)whole.len);
	writ_time ours;
	struct tm tm;

	FUZZ_CHECK(theirs && ASN1_TIME_to_tm(theirs, &tm) == 1);
	ASN1_TIME_free(theirs);
	if (tag == DER_UTC_TIME)
		FUZZ_CHECK(der_take_time(&in, &ours));
	else
		FUZZ_CHECK(der_take_generalized(&in, tag, &ours));
	FUZZ_CHECK(der_at_end(&in) && ours == timegm(&tm));
}

static void
check_primitive(uint8_t tag, struct writ_bytes whole)
{
	struct der in = der_read(whole);
	struct writ_bytes bits;
	bool value;

	check_reencoded(whole);
	switch (tag) {
	case DER_BOOLEAN:
		FUZZ_CHECK(der_take_bool(&in, tag, &value) && value == (whole.data[2] != 0));
		break;
	case DER_INTEGER:
	case DER_ENUMERATED:
		check_integer(tag, whole);
		break;
	case DER_BIT_STRING:
		if (der_take_bits(&in, tag, &bits))
			FUZZ_CHECK(der_at_end(&in) && bits.data[-1] == 0);
		break;
	case DER_OID:
		check_oid(whole);
		break;
	case DER_UTC_TIME:
	case DER_GENERALIZED_TIME:
		check_time(tag, whole);
		break;
	default:
		break;
	}
}

/* Walks with our reader beside ASN1_get_object(), and writes what it reads. */
static void
check(struct der *in, struct der_out *out, unsigned depth)
{
	while (!der_at_end(in)) {
		const unsigned char *at = in->at;
		struct writ_bytes whole;
		struct der inner;
		int their_tag, their_class, form;
		uint8_t tag;
		long len;

		form = ASN1_get_object(&at, &len, &their_tag, &their_class, in->end - in->at);
		FUZZ_CHECK((form & 0x81) == 0 && depth > 0); /* no error, no indefinite length */
		FUZZ_CHECK(der_take_any(in, &tag, &whole));
		inner = der_read(whole);
		FUZZ_CHECK(der_take(&inner, tag, &inner));
		FUZZ_CHECK(inner.at == at && inner.end - inner.at == len && in->at == at + len);
		FUZZ_CHECK((tag & 0x1f) == their_tag && (tag & 0xc0) == their_class && (tag & 0x20) == (form & 0x20));
		if ((tag & 0x20) == 0) {
			if ((tag & 0xc0) == 0)
				check_primitive(tag, whole);
			der_put(out, tag, der_rest(&inner));
			continue;
		}
		der_open(out, tag);
		check(&inner, out, depth - 1);
		der_close(out);
	}
}

/* Every reader, on anything: it takes an element and ends at its end, or leaves all as it was. */
static void
check_readers(struct writ_bytes input)
{
	static const uint8_t tags[] = { DER_BOOLEAN,  DER_INTEGER,  DER_BIT_STRING,	  DER_OID,
					DER_SEQUENCE, DER_UTC_TIME, DER_GENERALIZED_TIME, DER_CONTEXT(0) };

	for (size_t i = 0; i < N_OF(tags); i++) {
		struct der in[8];
		struct writ_bytes bytes;
		struct der contents;
		uint64_t u;
		int64_t n;
		bool taken[8], b;

		for (size_t j = 0; j < N_OF(in); j++)
			in[j] = der_read(input);
		taken[0] = der_take(&in[0], tags[i], &contents);
		taken[1] = der_take_bool(&in[1], tags[i], &b);
		taken[2] = der_take_int(&in[2], tags[i], &n);
		taken[3] = der_take_unsigned(&in[3], tags[i], 1000, &u);
		taken[4] = der_take_bits(&in[4], tags[i], &bytes);
		taken[5] = der_take_oid(&in[5], &bytes);
		taken[6] = der_take_time(&in[6], &n);
		taken[7] = der_take_generalized(&in[7], tags[i], &n);
		for (size_t j = 0; j < N_OF(in); j++)
			FUZZ_CHECK(taken[j] ? in[j].at > input.data : in[j].at == input.data);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes input = { data, len };
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(len);
	struct der_out out = der_write(&buf);
	struct der in = der_read(input);

	check_readers(input);
	if (!der_is_strict(input, DEPTH_MAX))
		return 0;
	check(&in, &out, DEPTH_MAX);
	FUZZ_CHECK(fuzz_accepted(der_finish(&out, "the input")) && writ_equal(writ_view(&buf), input));
	return 0;
}
