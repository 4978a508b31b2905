/*
 * What a custody statement claims, held against what stands behind it.  Read custody_claims() at the end first: the
 * order of the claims.
 *
 * (1) Every attestation carries the statement's digest as qualifying data, and the statement the nonce: so each was
 * made for this statement, after the question. (2) What the attestation key (AK) signs is so if the AK is a TPM's. That
 * it is one shows the challenge alone: the host gave back a secret that was encrypted to the endorsement key (EK) and
 * to the AK's name.  Without it everything that rests on the AK is `claimed`. (3) Names are computed here from public
 * areas, never taken from the bundle. Knows no TPM and no network.
 */
#include <inttypes.h>

#include <openssl/hmac.h>

#include "base/pubkey.h"
#include "base/text.h"
#include "hsm/credential.h"
#include "hsm/statement.h"
#include "issuer/cli/custody_claims.h"
#include "issuer/cli/custody_ek.h"
#include "issuer/x509/ca.h"

#define COUNTERS_AT 0x01805700u /* the NV indices of the device's counters follow it */
#define FUTURE_S 60		/* clocks of host and auditor may differ by this */

struct checking {
	const struct custody_bundle *b;
	const struct wanted *w;
	struct claims *claims;
	struct ca_cert anchor;
	struct tpm_area ak;
	struct pubkey ak_key;
	uint8_t ak_qualified[TPM_NAME_LEN];
	bool genuine;	   /* (2) */
	bool parent_known; /* its qualified name: */
	uint8_t parent[TPM_NAME_LEN];
	bool anchor_seen, issuing_seen;
};

static void
checking_done(struct checking *c)
{
	pubkey_done(&c->ak_key);
}

/* As sure as the AK is (2). */
static enum standing
by_ak(const struct checking *c)
{
	return c->genuine ? STANDS_PROVED : STANDS_CLAIMED;
}

/* ---- the statement itself ---- */

static struct writ_err *
fresh(const struct checking *c)
{
	char has[2 * ATTEST_NONCE_MAX + 1], want[2 * ATTEST_NONCE_MAX + 1];

	if (!writ_equal(c->b->nonce, c->w->nonce))
		return writ_fail(WRIT_INVALID, "it answers nonce %.32s... and not %.32s...", writ_hex(c->b->nonce, has),
				 writ_hex(c->w->nonce, want));
	if (c->w->max_age_s > 0 && c->w->now - c->b->time > c->w->max_age_s)
		return writ_fail(WRIT_INVALID, "it is %lld s old, over the %u of --max-age",
				 (long long)(c->w->now - c->b->time), c->w->max_age_s);
	if (c->w->max_age_s > 0 && c->b->time - c->w->now > FUTURE_S)
		return writ_fail(WRIT_INVALID, "its time is %lld s ahead of ours", (long long)(c->b->time - c->w->now));
	return NULL;
}

static void
check_fresh(struct checking *c)
{
	char time[WRIT_RFC3339_LEN + 1], nonce[2 * ATTEST_NONCE_MAX + 1];
	struct writ_err *err = fresh(c);

	if (err)
		claim_refuted(c->claims, "fresh", err);
	else
		claim(c->claims, STANDS_PROVED, "fresh", "answers nonce %s; the host's clock said %s",
		      writ_hex(c->b->nonce, nonce), writ_time_rfc3339(c->b->time, time));
}

static struct writ_err *
signed_by_anchor(struct checking *c)
{
	AUTO(writ_buf_done) struct writ_buf message = WRIT_BUF(sizeof(ATTEST_SIGNED) + CUSTODY_BUNDLE_MAX);
	AUTO(pubkey_done) struct pubkey key = { 0 };
	struct writ_err *err = ca_read(c->b->anchor, &c->anchor);

	if (!err && !c->anchor.is_ca)
		err = writ_fail(WRIT_INVALID, "the anchor's certificate is no CA's");
	if (!err && c->w->anchor.len > 0 && !writ_equal(c->w->anchor, c->b->anchor))
		err = writ_fail(WRIT_INVALID, "the statement is of another anchor than --anchor");
	if (!err)
		err = pubkey_load(c->anchor.spki, &key);
	if (!err)
		err = writ_buf_add(&message, WRIT_LIT(ATTEST_SIGNED));
	if (!err)
		err = writ_buf_add(&message, c->b->statement);
	if (!err)
		err = pubkey_verify(&key, writ_view(&message), c->b->signature);
	return err;
}

static bool
check_anchor(struct checking *c)
{
	char key[41];
	struct writ_err *err = signed_by_anchor(c);

	if (err) {
		claim_refuted(c->claims, "anchor", err);
		return false;
	}
	claim(c->claims, STANDS_PROVED, "anchor", "key id %s signed this statement%s",
	      writ_hex((struct writ_bytes){ c->anchor.key_id, 20 }, key),
	      c->w->anchor.len > 0 ? "; the certificate is yours"
				   : "; compare the key id with yours, or give --anchor");
	return true;
}

/* An issuing CA's name has the trust domain in it, and the anchor signed it. */
static struct writ_err *
issuing_check(const struct checking *c, struct writ_bytes der, const struct pubkey *anchor)
{
	AUTO(writ_buf_done) struct writ_buf name = WRIT_BUF(CA_CERT_MAX);
	struct ca_cert cert;
	struct writ_err *err = ca_read(der, &cert);

	if (!err)
		err = ca_name(CA_ISSUING, writ_str(c->b->trust_domain), cert.key_id, &name);
	if (!err && !writ_equal(writ_view(&name), cert.subject))
		err = writ_fail(WRIT_INVALID, "an issuing CA is not named for trust domain %.80s", c->b->trust_domain);
	if (!err && !writ_equal(cert.issuer, c->anchor.subject))
		err = writ_fail(WRIT_INVALID, "an issuing CA is another anchor's");
	return err ? err : pubkey_verify(anchor, cert.tbs, cert.signature);
}

static void
check_issuing(struct checking *c)
{
	AUTO(pubkey_done) struct pubkey anchor = { 0 };
	struct writ_err *err = pubkey_load(c->anchor.spki, &anchor);

	if (!err && c->w->trust_domain && strcmp(c->w->trust_domain, c->b->trust_domain) != 0)
		err = writ_fail(WRIT_INVALID, "it is of trust domain %.80s, not of %.80s", c->b->trust_domain,
				c->w->trust_domain);
	if (!err && c->b->n_certificates == 0)
		err = writ_fail(WRIT_INVALID, "it names no issuing CA");
	for (size_t i = 0; !err && i < c->b->n_certificates; i++)
		err = issuing_check(c, c->b->certificates[i], &anchor);
	if (err)
		claim_refuted(c->claims, "issuing", err);
	else
		claim(c->claims, STANDS_PROVED, "issuing", "%zu issuing CA%s of trust domain %s, signed by the anchor",
		      c->b->n_certificates, c->b->n_certificates == 1 ? "" : "s", c->b->trust_domain);
}

/* ---- who attests ---- */

static struct writ_err *
ak_read(struct checking *c)
{
	const uint32_t set = TPM_RESTRICTED | TPM_SIGN | TPM_FIXED_TPM | TPM_FIXED_PARENT | TPM_SENSITIVE_DATA_ORIGIN;
	struct writ_err *err = tpm_area_read(c->b->ak, &c->ak);

	if (!err && !(c->ak.attributes & TPM_RESTRICTED))
		err = writ_fail(WRIT_INVALID,
				"it is not restricted (attributes 0x%x): it would sign any forgery of a statement",
				c->ak.attributes);
	if (!err && ((c->ak.attributes & set) != set || (c->ak.attributes & TPM_DECRYPT) || !c->ak.ecdsa))
		err = writ_fail(
			WRIT_INVALID,
			"attributes 0x%x are not those of a signing key that was made in its TPM and stays there",
			c->ak.attributes);
	if (!err && c->ak.kind != KEY_P256)
		err = writ_fail(WRIT_INVALID, "its curve is %s, and P-256 is wanted", key_kind_name(c->ak.kind));
	if (!err && c->w->ak_name.len > 0 &&
	    !writ_equal(c->w->ak_name, (struct writ_bytes){ c->ak.name, TPM_NAME_LEN }))
		err = writ_fail(WRIT_INVALID, "it is another key than the one that was challenged");
	if (!err)
		err = pubkey_load((struct writ_bytes){ c->ak.spki, c->ak.spki_len }, &c->ak_key);
	if (!err)
		tpm_qualified_primary(TPM_ENDORSEMENT, c->ak.name, c->ak_qualified);
	return err;
}

/* The maker's word for the EK, by a root that was pinned. */
static bool
check_ek(struct checking *c)
{
	AUTO(ek_freep) X509 *ek = NULL;
	char subject[160], print[2 * SHA256_LEN + 1];
	uint8_t digest[SHA256_LEN];
	struct writ_err *err;

	if (c->b->ek.len == 0) {
		claim(c->claims, STANDS_CLAIMED, "endorsement",
		      "the TPM's maker left no certificate of an endorsement key in it");
		return false;
	}
	if (!c->w->ek_roots) {
		claim(c->claims, STANDS_CLAIMED, "endorsement",
		      "its certificate is not looked at without your roots (--ek-roots)");
		return false;
	}
	err = ek_read(c->b->ek, &ek);
	if (!err)
		err = ek_check(ek, c->w->ek_roots, c->w->ek_chain, c->w->now);
	if (err) {
		claim_refuted(c->claims, "endorsement", err);
		return false;
	}
	writ_sha256(c->b->ek, digest);
	X509_NAME_oneline(X509_get_issuer_name(ek), subject, sizeof(subject));
	claim(c->claims, STANDS_PROVED, "endorsement",
	      "the key's certificate (SHA-256 %s) by %s has a path to your roots",
	      writ_hex((struct writ_bytes){ digest, sizeof(digest) }, print), subject);
	return true;
}

/* (2) */
static bool
check_binding(struct checking *c)
{
	uint8_t mac[SHA256_LEN];
	unsigned len = 0;

	if (c->w->secret.len == 0) {
		claim(c->claims, STANDS_CLAIMED, "binding",
		      "the attestation key is in the TPM of that endorsement key: shown by a challenge alone "
		      "(writ custody challenge), and %s",
		      c->b->mac.len > 0 ? "its secret was not given (--challenge-secret)" : "none was asked");
		return false;
	}
	if (c->b->mac.len == 0) {
		claim_refuted(c->claims, "binding", writ_fail(WRIT_INVALID, "the challenge was not answered"));
		return false;
	}
	if (!HMAC(EVP_sha256(), c->w->secret.data, (int)c->w->secret.len, c->b->digest, SHA256_LEN, mac, &len) ||
	    !writ_same((struct writ_bytes){ mac, len }, c->b->mac)) {
		claim_refuted(c->claims, "binding",
			      writ_fail(WRIT_INVALID,
					"the challenge's secret did not come back for this statement: the "
					"attestation key is not in the TPM of that endorsement key"));
		return false;
	}
	claim(c->claims, STANDS_PROVED, "binding",
	      "the attestation key is in the TPM of that endorsement key: it gave back the challenge's secret");
	return true;
}

static bool
check_attester(struct checking *c)
{
	char name[2 * TPM_NAME_LEN + 1];
	struct writ_err *err = ak_read(c);
	bool ek;

	if (err) {
		claim_refuted(c->claims, "attestation-key", err);
		return false;
	}
	ek = check_ek(c);
	c->genuine = check_binding(c) && ek;
	claim(c->claims, by_ak(c), "attestation-key", "restricted: it signs only what its TPM states; name %s",
	      writ_hex((struct writ_bytes){ c->ak.name, TPM_NAME_LEN }, name));
	return true;
}

/* ---- attestations ---- */

/* (1): by the AK, in its hierarchy, for this statement, and of that kind. */
static struct writ_err *
said_read(const struct checking *c, const struct custody_said *said, enum tpm_said type, struct tpm_attest *ret)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *err = tpm_signature_read(said->signature, &der);

	if (!err)
		err = pubkey_verify(&c->ak_key, said->said, writ_view(&der));
	if (err)
		return writ_because(err, "it is not the attestation key's");
	err = tpm_attest_read(said->said, ret);
	if (err)
		return err;
	if (ret->type != type)
		return writ_fail(WRIT_INVALID, "a statement of type 0x%x stands where 0x%x should", ret->type, type);
	if (!writ_equal(ret->signer, (struct writ_bytes){ c->ak_qualified, TPM_NAME_LEN }))
		return writ_fail(WRIT_INVALID, "the attestation key is not a primary key of the endorsement hierarchy");
	if (!writ_equal(ret->extra, (struct writ_bytes){ c->b->digest, SHA256_LEN }))
		return writ_fail(WRIT_INVALID, "it was made for another statement: an old one, or another's");
	return NULL;
}

static struct writ_err *
certified(const struct checking *c, const struct custody_said *said, struct tpm_attest *ret, struct tpm_area *ret_area)
{
	struct writ_err *err = said_read(c, said, TPM_SAID_CERTIFY, ret);

	if (!err)
		err = tpm_area_read(said->about, ret_area);
	if (!err && !writ_equal(ret->name, (struct writ_bytes){ ret_area->name, TPM_NAME_LEN }))
		err = writ_fail(WRIT_INVALID, "it is of another object than the public area beside it");
	return err;
}

static struct writ_err *
parent_check(struct checking *c, const struct custody_said *said)
{
	const uint32_t set =
		TPM_RESTRICTED | TPM_DECRYPT | TPM_FIXED_TPM | TPM_FIXED_PARENT | TPM_SENSITIVE_DATA_ORIGIN;
	struct tpm_attest one;
	struct tpm_area area;
	struct writ_err *err = certified(c, said, &one, &area);

	if (err)
		return err;
	if ((area.attributes & set) != set || (area.attributes & TPM_SIGN) || !area.storage)
		return writ_fail(WRIT_INVALID, "attributes 0x%x are not a storage root key's", area.attributes);
	tpm_qualified_primary(TPM_OWNER, area.name, c->parent);
	if (!writ_equal(one.qualified, (struct writ_bytes){ c->parent, TPM_NAME_LEN }))
		return writ_fail(WRIT_INVALID, "it is not a primary key of the owner hierarchy");
	c->parent_known = true;
	return NULL;
}

static void
check_parent(struct checking *c, const struct custody_said *said)
{
	char name[2 * TPM_NAME_LEN + 1];
	struct writ_err *err = parent_check(c, said);

	if (err)
		claim_refuted(c->claims, "storage-root-key", err);
	else
		claim(c->claims, by_ak(c), "storage-root-key",
		      "made in the TPM, cannot leave it; what is sealed is sealed under it; qualified name %s",
		      writ_hex((struct writ_bytes){ c->parent, TPM_NAME_LEN }, name));
}

/* A policy that anybody knows, or one that the verifier was told. */
static struct writ_err *
policy_check(const struct checking *c, struct writ_bytes policy, const char **ret)
{
	char hex[2 * SHA256_LEN + 1];
	uint8_t auth_value[SHA256_LEN];

	tpm_policy_auth_value(auth_value);
	*ret = "its auth value alone";
	if (writ_equal(policy, (struct writ_bytes){ auth_value, SHA256_LEN }))
		return NULL;
	*ret = "the policy that you gave";
	for (size_t i = 0; i < c->w->n_policies; i++)
		if (writ_equal(policy, c->w->policies[i]))
			return NULL;
	return writ_fail(WRIT_INVALID, "its policy %s is not one that you gave (--policy)", writ_hex(policy, hex));
}

/* A key that signs, was made in the TPM and stays there; used by policy alone. */
static struct writ_err *
key_check(struct checking *c, const struct custody_said *said, struct tpm_area *ret_area, const char **ret_policy)
{
	const uint32_t set = TPM_SIGN | TPM_FIXED_TPM | TPM_FIXED_PARENT | TPM_SENSITIVE_DATA_ORIGIN;
	const uint32_t clear = TPM_USER_WITH_AUTH | TPM_DECRYPT | TPM_RESTRICTED;
	uint8_t qualified[TPM_NAME_LEN];
	struct tpm_attest one;
	struct writ_err *err = certified(c, said, &one, ret_area);

	if (err)
		return err;
	if ((ret_area->attributes & set) != set)
		return writ_fail(WRIT_INVALID, "attributes 0x%x: it may leave its TPM, or was not made there",
				 ret_area->attributes);
	if ((ret_area->attributes & clear) || !ret_area->ecdsa)
		return writ_fail(WRIT_INVALID, "attributes 0x%x: it is not a key that signs by policy alone",
				 ret_area->attributes);
	if (!c->parent_known)
		return writ_fail(WRIT_INVALID, "what it stands under was not attested");
	tpm_qualified_child(c->parent, ret_area->name, qualified);
	if (!writ_equal(one.qualified, (struct writ_bytes){ qualified, TPM_NAME_LEN }))
		return writ_fail(WRIT_INVALID, "it does not stand under that storage root key");
	return policy_check(c, ret_area->policy, ret_policy);
}

/* Whose certificate holds that public key? */
static const char *
key_role(struct checking *c, const struct tpm_area *area)
{
	const struct writ_bytes spki = { area->spki, area->spki_len };
	struct ca_cert issuing;

	if (writ_equal(spki, c->anchor.spki)) {
		c->anchor_seen = true;
		return "anchor-key";
	}
	if (c->b->n_certificates > 0) {
		struct writ_err *err = ca_read(c->b->certificates[0], &issuing);
		const bool same = !err && writ_equal(spki, issuing.spki);

		writ_err_free(err);
		c->issuing_seen = c->issuing_seen || same;
		if (same)
			return "issuing-key";
	}
	return NULL;
}

static void
check_key(struct checking *c, const struct custody_said *said)
{
	const char *policy = NULL, *role = NULL;
	struct tpm_area area;
	struct writ_err *err = key_check(c, said, &area, &policy);

	if (!err) {
		role = key_role(c, &area);
		if (!role)
			err = writ_fail(WRIT_INVALID,
					"its public key is neither the anchor's nor that of the CA that issues");
	}
	if (err)
		claim_refuted(c->claims, "key", err);
	else
		claim(c->claims, by_ak(c), role, "made in the TPM, cannot leave it (attributes 0x%x); signs by %s",
		      area.attributes, policy);
}

static struct writ_err *
pcrs_check(const struct checking *c, const struct custody_said *said, struct tpm_attest *ret)
{
	uint8_t digest[SHA256_LEN];
	struct writ_err *err = said_read(c, said, TPM_SAID_QUOTE, ret);

	if (err)
		return err;
	writ_sha256(said->about, digest);
	if (said->about.len != (ret->pcrs == 0 ? 0 : ATTEST_PCRS * SHA256_LEN) ||
	    (ret->pcrs != 0 && ret->pcrs != 0xffff))
		return writ_fail(WRIT_INVALID, "%zu bytes of values beside a quote of PCRs 0x%x", said->about.len,
				 ret->pcrs);
	if (!writ_equal(ret->pcr_digest, (struct writ_bytes){ digest, sizeof(digest) }))
		return writ_fail(WRIT_INVALID, "the PCRs' values are not those that were quoted");
	return NULL;
}

static void
check_pcrs(struct checking *c, const struct custody_said *said)
{
	struct tpm_attest one;
	struct writ_err *err = pcrs_check(c, said, &one);

	if (err) {
		claim_refuted(c->claims, "pcrs", err);
		return;
	}
	claim(c->claims, by_ak(c), "machine",
	      "TPM firmware %016" PRIx64 "; %u resets, %u restarts, clock %" PRIu64 " s%s", one.firmware, one.resets,
	      one.restarts, one.clock_ms / 1000, one.clock_safe ? "" : " (may have gone back)");
	if (one.pcrs == 0)
		claim(c->claims, by_ak(c), "pcrs", "none: the TPM keeps no SHA-256 PCRs");
	for (unsigned i = 0; one.pcrs != 0 && i < ATTEST_PCRS; i++) {
		static const uint8_t zero[SHA256_LEN];
		const struct writ_bytes value = { said->about.data + (size_t)i * SHA256_LEN, SHA256_LEN };
		char hex[2 * SHA256_LEN + 1], what[16];

		snprintf(what, sizeof(what), "pcr-%u", i);
		if (!writ_equal(value, (struct writ_bytes){ zero, sizeof(zero) }))
			claim(c->claims, by_ak(c), what, "%s", writ_hex(value, hex));
	}
}

static struct writ_err *
counter_check(const struct checking *c, const struct custody_said *said, struct tpm_counter_area *ret,
	      uint64_t *ret_value)
{
	struct tpm_attest one;
	struct writ_err *err = said_read(c, said, TPM_SAID_NV, &one);

	if (!err)
		err = tpm_counter_read(said->about, ret);
	if (err)
		return err;
	if (!writ_equal(one.name, (struct writ_bytes){ ret->name, TPM_NAME_LEN }))
		return writ_fail(WRIT_INVALID, "it is of another index than the one beside it");
	if (!ret->counter || !ret->written || one.offset != 0 || one.contents.len != 8)
		return writ_fail(WRIT_INVALID, "index 0x%x is not a counter with a value", ret->index);
	*ret_value = writ_get64(one.contents.data);
	return NULL;
}

/* Ours by their indices (hsm/custody.h: enum custody_counter). */
static const char *
counter_name(uint32_t index)
{
	static const char *const names[] = { "counter-sealed", "counter-approval", "counter-state" };

	return index > COUNTERS_AT && index <= COUNTERS_AT + N_OF(names) ? names[index - COUNTERS_AT - 1] : "counter";
}

static void
check_counter(struct checking *c, const struct custody_said *said)
{
	struct tpm_counter_area area;
	uint64_t value = 0;
	struct writ_err *err = counter_check(c, said, &area, &value);

	if (err)
		claim_refuted(c->claims, "counter", err);
	else
		claim(c->claims, by_ak(c), counter_name(area.index),
		      "NV index 0x%08x is at %" PRIu64 ", and only grows", area.index, value);
}

/* A token's lines, one by one. */
static void
check_token(struct checking *c, const struct custody_said *said)
{
	const uint8_t *at = said->about.data, *const end = at + said->about.len;

	while (at < end) {
		const uint8_t *const newline = memchr(at, '\n', (size_t)(end - at));
		const size_t len = (size_t)((newline ? newline : end) - at);

		claim(c->claims, STANDS_CLAIMED, "token", "%.*s", (int)len, (const char *)at);
		at += len + 1;
	}
}

/* The parent first: keys stand under it. */
static void
check_attestations(struct checking *c, bool attester)
{
	for (size_t i = 0; i < c->b->n_said; i++)
		if (attester && c->b->said[i].what == ATTESTED_PARENT)
			check_parent(c, &c->b->said[i]);
	for (size_t i = 0; i < c->b->n_said; i++) {
		const struct custody_said *const said = &c->b->said[i];

		if (said->what == ATTESTED_CLAIM)
			check_token(c, said);
		else if (attester && said->what == ATTESTED_KEY)
			check_key(c, said);
		else if (attester && said->what == ATTESTED_PCRS)
			check_pcrs(c, said);
		else if (attester && said->what == ATTESTED_COUNTER)
			check_counter(c, said);
		else if (!attester)
			claim_refuted(c->claims, "attestation", writ_fail(WRIT_INVALID, "nobody can have signed it"));
	}
}

/* What should be there and is not. */
static void
check_missing(struct checking *c)
{
	if (c->b->ak.len == 0)
		claim(c->claims, STANDS_CLAIMED, "anchor-key",
		      "is in %s %s %s: a token of this kind has no attestation; its maker's own, or a witnessed "
		      "ceremony, says more",
		      c->b->scheme, c->b->maker, c->b->model);
	else if (!c->anchor_seen)
		claim_refuted(c->claims, "anchor-key",
			      writ_fail(WRIT_INVALID, "no attestation is of the anchor's key"));
	if (c->b->ak.len > 0 && strcmp(c->b->custody, "resident") == 0 && !c->issuing_seen)
		claim_refuted(c->claims, "issuing-key",
			      writ_fail(WRIT_INVALID,
					"custody is resident, and no attestation is of the key of the CA that issues"));
}

static void
check_said(struct checking *c)
{
	char hash[2 * SHA256_LEN + 1];

	if (strcmp(c->b->custody, "sealed") == 0)
		claim(c->claims, STANDS_SAID, "custody",
		      "sealed: issuing keys are sealed by the device at rest and are in the signer's memory while it "
		      "runs; no device "
		      "speaks for memory");
	else
		claim(c->claims, STANDS_SAID, "custody", "resident: every CA signature is made in the device");
	claim(c->claims, STANDS_SAID, "tier", "%s: %s %s, %s", c->b->tier, c->b->maker, c->b->model,
	      c->b->software ? "software, only as safe as its host" : "hardware");
	claim(c->claims, STANDS_SAID, "journal", "entry %" PRIu64 " of %s, leaf hash %s, is this question",
	      c->b->journal_index, c->b->journal_origin, writ_hex(c->b->journal_hash, hash));
}

void
custody_claims(const struct custody_bundle *bundle, const struct wanted *wanted, struct claims *claims)
{
	AUTO(checking_done) struct checking c = { .b = bundle, .w = wanted, .claims = claims };
	bool attester = false;

	check_fresh(&c);
	if (!check_anchor(&c))
		return; /* nothing in it is anybody's word */
	check_issuing(&c);
	if (bundle->ak.len > 0) {
		attester = check_attester(&c);
		if (!attester)
			return;
	} else if (wanted->secret.len > 0) {
		claim_refuted(claims, "binding",
			      writ_fail(WRIT_INVALID, "a challenge was asked, and no attestation key is named"));
	}
	check_attestations(&c, attester);
	check_missing(&c);
	check_said(&c);
}
