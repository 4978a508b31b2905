/*
 * Pieces that leaves, CA certificates, CRLs and OCSP responses have in common: names, extensions, the signed envelope.
 *
 * For this folder only.  Readers return false on anything but the exact form and leave the message to the caller, who
 * knows the field. Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_X509_PARTS_H
#define WRIT_ISSUER_X509_PARTS_H

#include "base/der.h"
#include "base/pubkey.h"
#include "issuer/x509/oid.h"

#define KEY_ID_LEN 20
#define SERIAL_MAX 20	  /* octets (RFC 5280 4.1.2.2) */
#define URL_MAX 512	  /* octets of a URL in a certificate */
#define NAME_MIN_LEN 3	  /* octets of a DER Name that is not empty */
#define NAME_MAX_LEN 1024 /* octets of a DER Name */

/* ---- writing ---- */

/* "O=<organization>, CN=<prefix><name>" as UTF8Strings. */
void put_name(struct der_out *, struct writ_bytes organization, struct writ_bytes cn_prefix, struct writ_bytes cn);
void put_validity(struct der_out *, writ_time not_before, writ_time not_after);

void put_version_3(struct der_out *);

/* Between open and close stands the extension's value. */
void extension_open(struct der_out *, struct writ_bytes oid, bool critical);
void extension_close(struct der_out *);
void put_extension(struct der_out *, struct writ_bytes oid, bool critical, struct writ_bytes value);
void put_authority_key_id(struct der_out *, struct writ_bytes key_id);
void put_policies(struct der_out *, const struct writ_bytes *oids, size_t n);
void put_crl_distribution_point(struct der_out *, struct writ_bytes url);
void put_authority_info(struct der_out *, struct writ_bytes method, struct writ_bytes url);

/* Appends a header, for elements whose contents are too large to be moved about. */
WRIT_CHECKED struct writ_err *put_header(struct writ_buf *, uint8_t tag, size_t len);
size_t header_len(size_t len);

/* ---- reading ---- */

struct extension {
	struct writ_bytes oid, value;
	bool critical;
};

/* [0] EXPLICIT INTEGER 2. */
WRIT_CHECKED bool take_version_3(struct der *);

/* The next of a SEQUENCE OF Extension. */
WRIT_CHECKED bool take_extension(struct der *, struct extension *ret);

/* keyIdentifier alone, 20 octets. */
bool read_authority_key_id(struct writ_bytes value, struct writ_bytes *ret);
/* One distribution point, fullName, one URI. */
bool read_crl_distribution_point(struct writ_bytes value, struct writ_bytes *ret_url);
/* One access description of that method, a URI. */
bool read_authority_info(struct writ_bytes value, struct writ_bytes method, struct writ_bytes *ret_url);
/*
 * Takes a Name of `min` to `max` octets of DER (an empty one has 2): RDNs of type and value, the values UTF8String,
 * PrintableString or IA5String (robustness F57). Comparing names is comparing bytes, so what another parser would read
 * otherwise, or not at all, must not pass.
 */
WRIT_CHECKED bool take_name(struct der *, size_t min, size_t max, struct writ_bytes *ret_whole);
WRIT_CHECKED bool take_validity(struct der *, writ_time *ret_not_before, writ_time *ret_not_after);
/* A URL as we put them into certificates: printable ASCII, 1 to URL_MAX octets. */
bool url_ok(struct writ_bytes);
/* A positive INTEGER's octets without the leading zero; false for zero, negative or over 20 octets of encoding. */
WRIT_CHECKED bool take_serial(struct der *, struct writ_bytes *ret);

/* SEQUENCE { to-be-signed, AlgorithmIdentifier, BIT STRING }, and nothing behind it. */
struct signed_parts {
	struct writ_bytes tbs; /* whole */
	struct writ_bytes alg; /* whole AlgorithmIdentifier */
	struct writ_bytes signature;
};
WRIT_CHECKED struct writ_err *signed_split(struct writ_bytes der, const char *what, struct signed_parts *ret);

/* As signed_split(), from the middle of something else and without messages. */
WRIT_CHECKED bool take_signed(struct der *, struct signed_parts *ret, struct der *ret_behind);

#endif
