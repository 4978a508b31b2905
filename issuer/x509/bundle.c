/*
 * The trust bundle: see bundle.h.  The SPIFFE form is a JWK set whose keys have `use` x509-svid and one certificate
 * (SPIFFE Trust Domain and Bundle, 4; RFC 7517, RFC 7518 6.2).
 */
#include "issuer/x509/bundle.h"

#include "base/digest.h"
#include "base/text.h"

#define PEM_MAX (16 * 1024)

void
bundle_init(struct bundle *bundle, struct writ_bytes trust_domain)
{
	*bundle = (struct bundle){ .trust_domain = trust_domain };
}

void
bundle_done(struct bundle *bundle)
{
	for (size_t i = 0; i < bundle->n; i++)
		writ_buf_done(&bundle->anchors[i].der);
	bundle->n = 0;
}

void
bundle_since(struct bundle *bundle, writ_time changed)
{
	if (changed > bundle->sequence)
		bundle->sequence = changed;
}

/* An anchor that we made says in its name which trust domain it is for. */
static struct writ_err *
name_check(const struct bundle *bundle, const struct ca_cert *cert)
{
	AUTO(writ_buf_done) struct writ_buf name = WRIT_BUF(1024);
	struct writ_err *err;

	if (!cert->self_issued)
		return NULL;
	err = ca_name(CA_ANCHOR, bundle->trust_domain, cert->key_id, &name);
	if (err || writ_equal(writ_view(&name), cert->subject))
		return err;
	return writ_fail(WRIT_INVALID, "the anchor signs itself, and its name is not that of an anchor for %.*s",
			 WRIT_FMT(bundle->trust_domain));
}

static struct writ_err *
signature_check(const struct ca_cert *cert)
{
	struct pubkey key = { 0 };
	struct writ_err *err;

	if (!cert->self_issued)
		return NULL;
	err = pubkey_load(cert->spki, &key);
	if (!err)
		err = pubkey_verify(&key, cert->tbs, cert->signature);
	pubkey_done(&key);
	return err ? writ_because(err, "the anchor's own signature") : NULL;
}

static struct writ_err *
anchor_check(const struct bundle *bundle, const struct ca_cert *cert, writ_time now)
{
	char text[WRIT_RFC3339_LEN + 1];
	struct writ_err *err;

	if (!cert->is_ca || cert->path_len == 0)
		return writ_fail(WRIT_INVALID, "an anchor is a CA that may have CAs below it (CA:TRUE, path length 1)");
	if (!(cert->key_usage & CA_KU_CRL_SIGN))
		return writ_fail(WRIT_INVALID, "the anchor may sign no lists (keyUsage lacks cRLSign)");
	if (cert->not_after < now)
		return writ_fail(WRIT_INVALID, "the anchor expired at %s", writ_time_rfc3339(cert->not_after, text));
	for (size_t i = 0; i < bundle->n; i++)
		if (memcmp(bundle->anchors[i].cert.key_id, cert->key_id, sizeof(cert->key_id)) == 0)
			return writ_fail(WRIT_INVALID, "the key of this anchor is in the bundle already");
	err = name_check(bundle, cert);
	return err ? err : signature_check(cert);
}

struct writ_err *
bundle_add(struct bundle *bundle, struct writ_bytes der, enum bundle_state state, enum leaf_tier tier, writ_time now)
{
	struct bundle_anchor *a = &bundle->anchors[bundle->n];
	struct writ_err *err;

	if (bundle->n == BUNDLE_ANCHORS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "a bundle has at most %d anchors", BUNDLE_ANCHORS_MAX);
	*a = (struct bundle_anchor){ .der = WRIT_BUF(CA_CERT_MAX), .state = state, .tier = tier };
	err = writ_buf_add(&a->der, der);
	if (!err)
		err = ca_read(writ_view(&a->der), &a->cert);
	if (!err)
		err = anchor_check(bundle, &a->cert, now);
	if (err) {
		writ_buf_done(&a->der);
		return err;
	}
	bundle->n++;
	bundle_since(bundle, a->cert.not_before);
	return NULL;
}

struct writ_err *
bundle_add_pem(struct bundle *bundle, struct writ_bytes pem, enum bundle_state state, writ_time now)
{
	struct writ_bytes rest = pem;

	for (size_t n = 0;; n++) {
		AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
		struct writ_err *err = pem_read("CERTIFICATE", &rest, &der);

		if (err && err->code == WRIT_NOT_FOUND && n > 0) {
			writ_err_free(err);
			return NULL;
		}
		if (!err)
			err = bundle_add(bundle, writ_view(&der), state, 0, now);
		if (err)
			return writ_because(err, "certificate %zu", n + 1);
	}
}

/* ---- the three forms ---- */

struct writ_err *
bundle_write_pem(const struct bundle *bundle, struct writ_buf *ret)
{
	struct writ_err *err = NULL;

	for (size_t i = 0; !err && i < bundle->n; i++)
		err = pem_write("CERTIFICATE", writ_view(&bundle->anchors[i].der), ret);
	return err;
}

static const char *
state_name(enum bundle_state state)
{
	switch (state) {
	case BUNDLE_ACTIVE:
		return "active";
	case BUNDLE_STANDBY:
		return "standby";
	case BUNDLE_RETIRING:
		return "retiring";
	}
	return "?";
}

static struct writ_err *
put_anchor(const struct bundle_anchor *a, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(PEM_MAX);
	char key_id[41], sha256[2 * SHA256_LEN + 1], from[WRIT_RFC3339_LEN + 1], until[WRIT_RFC3339_LEN + 1];
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	writ_sha256(writ_view(&a->der), digest);
	err = writ_buf_printf(ret, "{\"state\":\"%s\",\"key_id\":\"%s\",\"key\":\"%s\",", state_name(a->state),
			      writ_hex((struct writ_bytes){ a->cert.key_id, sizeof(a->cert.key_id) }, key_id),
			      key_kind_name(a->cert.kind));
	if (!err && a->tier)
		err = writ_buf_printf(ret, "\"tier\":\"%s\",", leaf_tier_name(a->tier));
	if (!err)
		err = writ_buf_printf(
			ret, "\"not_before\":\"%s\",\"not_after\":\"%s\",\"sha256\":\"%s\",\"certificate\":",
			writ_time_rfc3339(a->cert.not_before, from), writ_time_rfc3339(a->cert.not_after, until),
			writ_hex((struct writ_bytes){ digest, sizeof(digest) }, sha256));
	if (!err)
		err = pem_write("CERTIFICATE", writ_view(&a->der), &pem);
	if (!err)
		err = writ_json_string(writ_view(&pem), ret);
	return err ? err : writ_buf_add(ret, WRIT_LIT("}"));
}

struct writ_err *
bundle_write_json(const struct bundle *bundle, struct writ_buf *ret)
{
	struct writ_err *err = writ_buf_add(ret, WRIT_LIT("{\"trust_domain\":"));

	if (!err)
		err = writ_json_string(bundle->trust_domain, ret);
	if (!err)
		err = writ_buf_printf(ret, ",\"sequence\":%lld,\"refresh_hint_s\":%d,\"anchors\":[",
				      (long long)bundle->sequence, BUNDLE_REFRESH_S);
	for (size_t i = 0; !err && i < bundle->n; i++) {
		if (i > 0)
			err = writ_buf_add(ret, WRIT_LIT(","));
		if (!err)
			err = put_anchor(&bundle->anchors[i], ret);
	}
	return err ? err : writ_buf_add(ret, WRIT_LIT("]}"));
}

/* The key as well as the certificate: RFC 7517 4.7 wants both to be the same. */
static struct writ_err *
put_jwk(const struct bundle_anchor *a, struct writ_buf *ret)
{
	struct writ_bytes point;
	enum key_kind kind;
	struct writ_err *err;
	size_t half;

	err = spki_parse(a->cert.spki, &kind, &point);
	if (err)
		return err;
	if (kind == KEY_ED25519 || point.len < 3)
		return writ_fail(WRIT_INVALID, "an anchor's key is P-256 or P-384");
	half = (point.len - 1) / 2; /* behind the 04 of an uncompressed point */
	err = writ_buf_printf(ret, "{\"use\":\"x509-svid\",\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"",
			      key_kind_name(kind));
	if (!err)
		err = writ_base64url((struct writ_bytes){ point.data + 1, half }, ret);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("\",\"y\":\""));
	if (!err)
		err = writ_base64url((struct writ_bytes){ point.data + 1 + half, half }, ret);
	if (!err)
		err = writ_buf_add(ret, WRIT_LIT("\",\"x5c\":[\""));
	if (!err)
		err = writ_base64(writ_view(&a->der), ret);
	return err ? err : writ_buf_add(ret, WRIT_LIT("\"]}"));
}

struct writ_err *
bundle_write_spiffe(const struct bundle *bundle, struct writ_buf *ret)
{
	struct writ_err *err = writ_buf_add(ret, WRIT_LIT("{\"keys\":["));

	for (size_t i = 0; !err && i < bundle->n; i++) {
		if (i > 0)
			err = writ_buf_add(ret, WRIT_LIT(","));
		if (!err)
			err = put_jwk(&bundle->anchors[i], ret);
	}
	if (err)
		return err;
	return writ_buf_printf(ret, "],\"spiffe_sequence\":%lld,\"spiffe_refresh_hint\":%d}",
			       (long long)bundle->sequence, BUNDLE_REFRESH_S);
}
