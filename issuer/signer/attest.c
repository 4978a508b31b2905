/*
 * ADMIN_ATTEST: a custody statement, one bundle that an auditor can keep.
 *
 * The statement is a canonical object: the auditor's nonce, the time, the anchor and its issuing CAs, who attests,
 * where the journal stands.  Its SHA-256 is what every attestation of the device carries as qualifying data, and the
 * anchor's key signs it whole; so nothing in the bundle can be changed, and nothing of another bundle put into it.
 * `writ custody verify` is the reader; writ(1) says what is proved by which part.
 *
 * (1) The question is journalled and durable before the anchor signs, and the statement names that entry's number and
 * hash: bundle and log hold each other. I2 (2) What the anchor signs begins with a line of text: it is no certificate,
 * CRL or OCSP response, and cannot be taken for one.	I1
 */
#include "issuer/signer/admin.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/signer/attest_wire.h"

#define CERTIFICATES_MAX 16 /* of issuing CAs; the rest is in the journal */
#define STATEMENT_MAX (CERTIFICATES_MAX * 2 * CA_CERT_MAX)

struct asked {
	struct writ_bytes nonce, id_object, encrypted; /* the last two: empty, no challenge */
};

static struct writ_err *
body_decode(struct writ_bytes body, struct asked *ret)
{
	struct body_in in = body_read(body);

	ret->nonce = body_get_bytes(&in);
	ret->id_object = body_get_bytes(&in);
	ret->encrypted = body_get_bytes(&in);
	if (!body_done(&in) || ret->id_object.len > ATTEST_ID_OBJECT_MAX || ret->encrypted.len > ATTEST_ENCRYPTED_MAX ||
	    (ret->id_object.len > 0) != (ret->encrypted.len > 0))
		return writ_fail(WRIT_INVALID, "ATTEST: a body of %zu bytes is not a nonce and a challenge", body.len);
	if (ret->nonce.len < ATTEST_NONCE_MIN || ret->nonce.len > ATTEST_NONCE_MAX)
		return writ_fail(WRIT_INVALID, "a nonce has %d to %d bytes, not %zu", ATTEST_NONCE_MIN,
				 ATTEST_NONCE_MAX, ret->nonce.len);
	return NULL;
}

/* ---- the statement ---- */

static void
put_base64(struct canon_out *out, const char *key, struct writ_bytes bytes)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(2 * CA_CERT_MAX);
	struct writ_err *err = writ_base64(bytes, &text);

	if (err)
		out->failed = true;
	writ_err_free(err);
	canon_text(out, key, writ_view(&text));
}

static void
put_device(struct signer *s, struct canon_out *out, const struct custody_info *info)
{
	canon_object(out, "device");
	canon_text(out, "firmware", writ_str(info->firmware));
	canon_text(out, "maker", writ_str(info->maker));
	canon_text(out, "model", writ_str(info->model));
	canon_text(out, "scheme", writ_str(s->conf->custody.scheme));
	canon_text(out, "serial", writ_str(info->serial));
	canon_bool(out, "software", info->software);
	canon_end(out);
}

/* The one that issues first; then the others, made ready or retired, the newest of them. */
static void
put_certificates(struct signer *s, struct canon_out *out)
{
	size_t n = 0;

	if (s->keys.current) {
		put_base64(out, NULL, s->keys.current->cert.whole);
		n++;
	}
	for (size_t i = 0; i < s->keys.n && n < CERTIFICATES_MAX; i++)
		if (s->keys.gen[i] != s->keys.current) {
			put_base64(out, NULL, s->keys.gen[i]->cert.whole);
			n++;
		}
}

static struct writ_err *
statement_write(struct signer *s, const struct asked *asked, const struct custody_info *info,
		const struct attester *who, const struct entry *entry, struct writ_buf *ret)
{
	struct canon_out out = canon_write(ret);

	canon_object(&out, NULL);
	if (who->ak_len > 0)
		put_base64(&out, "ak", (struct writ_bytes){ who->ak, who->ak_len });
	put_base64(&out, "anchor", s->keys.anchor.whole);
	canon_array(&out, "certificates");
	put_certificates(s, &out);
	canon_end(&out);
	canon_text(&out, "custody", s->keys.sealed ? WRIT_LIT("sealed") : WRIT_LIT("resident"));
	put_device(s, &out, info);
	if (who->ek_len > 0)
		put_base64(&out, "ek", (struct writ_bytes){ who->ek, who->ek_len });
	canon_object(&out, "journal");
	canon_hex(&out, "hash", (struct writ_bytes){ entry->leaf_hash, sizeof(entry->leaf_hash) });
	canon_int(&out, "index", (int64_t)entry->index);
	canon_text(&out, "origin", writ_str(s->conf->log_origin));
	canon_end(&out);
	canon_hex(&out, "nonce", asked->nonce);
	canon_text(&out, "tier", writ_str(leaf_tier_name(s->keys.tier)));
	canon_int(&out, "time", s->now.wall);
	canon_text(&out, "trust_domain", writ_str(s->conf->trust_domain));
	canon_end(&out);
	return canon_finish(&out);
}

/* ---- what stands behind it ---- */

/* The anchor, and where every signature is made in the device the key that issues now. */
struct handles {
	uint32_t handle[2];
	size_t n;
};

static struct writ_err *
handles_find(struct signer *s, struct handles *ret)
{
	struct generation *const current = s->keys.current;

	if (s->conf->custody.operator)
		return writ_fail(WRIT_CONFLICT, "the anchor is in an operator's token: no device here can attest it");
	*ret = (struct handles){ .handle = { s->keys.anchor_handle }, .n = 1 };
	if (!current || current->ref.len == 0)
		return NULL;
	return generation_handle(s, current, &ret->handle[ret->n++]);
}

/* HMAC by the challenge's secret over the statement's digest: made by whoever had the credential activated, for this
 * statement. */
static struct writ_err *
activation(struct signer *s, const struct asked *asked, const uint8_t digest[SHA256_LEN], uint8_t ret_mac[SHA256_LEN])
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	struct writ_err *err = device_activate(s->link.device, asked->id_object, asked->encrypted, &secret);
	unsigned len = 0;

	if (err)
		return err;
	if (!HMAC(EVP_sha256(), secret.data, (int)secret.len, digest, SHA256_LEN, ret_mac, &len) || len != SHA256_LEN)
		return writ_fail(WRIT_BROKEN, "OpenSSL did not compute an HMAC");
	return NULL;
}

/* (2) */
static struct writ_err *
anchor_signature(struct signer *s, struct writ_bytes statement, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf message = WRIT_BUF(sizeof(ATTEST_SIGNED) + STATEMENT_MAX);
	struct writ_err *err = writ_buf_add(&message, WRIT_LIT(ATTEST_SIGNED));

	if (!err)
		err = writ_buf_add(&message, statement);
	return err ? err : keys_sign(s, NULL, writ_view(&message), ret);
}

/* ---- the bundle ---- */

static const char *
what_name(enum attested what)
{
	switch (what) {
	case ATTESTED_KEY:
		return "key";
	case ATTESTED_PARENT:
		return "parent";
	case ATTESTED_PCRS:
		return "pcrs";
	case ATTESTED_COUNTER:
		return "counter";
	case ATTESTED_CLAIM:
		break;
	}
	return "claim";
}

static void
put_attestation(struct canon_out *out, const struct attestation *said)
{
	canon_array(out, "attestations");
	for (size_t i = 0; i < said->n; i++) {
		canon_object(out, NULL);
		put_base64(out, "about", attest_about(&said->item[i]));
		put_base64(out, "said", attest_said(&said->item[i]));
		put_base64(out, "signature", attest_signature(&said->item[i]));
		canon_text(out, "what", writ_str(what_name(said->item[i].what)));
		canon_end(out);
	}
	canon_end(out);
}

/* (1) */
static struct writ_err *
journalled(struct signer *s, const struct admin_asked *asked, struct writ_bytes nonce, struct entry *ret)
{
	char hex[2 * ATTEST_NONCE_MAX + 1];
	struct writ_err *err = entry_attest(s, asked->by, writ_str(writ_hex(nonce, hex)), ret);

	if (!err)
		journal_sync(s->journal);
	return err;
}

/* The device's part; the statement needs to know who attests, and the attestations its digest. */
static struct writ_err *
device_part(struct signer *s, const struct asked *asked, const struct entry *entry, const struct handles *handles,
	    struct writ_buf *ret_statement, struct attestation *ret_said, uint8_t ret_mac[SHA256_LEN])
{
	uint8_t digest[SHA256_LEN];
	struct custody_info info;
	struct attester who;
	struct writ_err *err;

	err = device_info(s->link.device, &info);
	if (!err)
		err = device_attester(s->link.device, &who);
	if (err)
		return err;
	if (asked->id_object.len > 0 && who.ek_len == 0)
		return writ_fail(WRIT_INVALID,
				 "this device has no certified endorsement key: there is nothing to challenge");
	err = statement_write(s, asked, &info, &who, entry, ret_statement);
	if (err)
		return err;
	writ_sha256(writ_view(ret_statement), digest);
	err = device_attest(s->link.device, digest, handles->handle, handles->n, ret_said);
	if (!err && asked->id_object.len > 0)
		err = activation(s, asked, digest, ret_mac);
	return err;
}

struct writ_err *
admin_attest(struct signer *s, const struct admin_asked *admin, struct canon_out *out)
{
	AUTO(writ_buf_done) struct writ_buf statement = WRIT_BUF(STATEMENT_MAX);
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	struct attestation said = { 0 };
	struct handles handles;
	uint8_t mac[SHA256_LEN];
	struct asked asked;
	struct entry entry;
	struct writ_err *err;

	err = body_decode(admin->body, &asked);
	if (err)
		return err;
	resident_drain(s);
	err = device_must(s);
	if (!err)
		err = handles_find(s, &handles);
	if (!err)
		err = journalled(s, admin, asked.nonce, &entry);
	if (err)
		return err;
	err = device_part(s, &asked, &entry, &handles, &statement, &said, mac);
	if (err) /* INVALID: the question was wrong, the device is well */
		return err->code == WRIT_INVALID ? err : device_failed(s, err);
	err = anchor_signature(s, writ_view(&statement), &signature);
	if (err)
		return err;
	if (asked.id_object.len > 0)
		canon_hex(out, "activation", (struct writ_bytes){ mac, sizeof(mac) });
	put_attestation(out, &said);
	put_base64(out, "signature", writ_view(&signature));
	canon_raw(out, "statement", writ_view(&statement));
	canon_int(out, "version", 1);
	return NULL;
}
