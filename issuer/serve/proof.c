/*
 * How a delegator was authenticated: see proof.h.
 *
 * A signed grant is looked at in the order of what it costs: shape, key name, claims, then whether it was used, then
 * its signature.  What is reserved before the signature was seen is given up when that fails, so nobody blocks a grant
 * that is not theirs for longer than one look at a wrong one.
 */
#include "issuer/serve/proof.h"

#include <stdio.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/serve/claims.h"
#include "issuer/serve/shares.h"
#include "issuer/serve/work.h"

#define ONCE_KEY_MAX (8 + 512 + 1 + CLAIMS_JTI_MAX)

void
proof_by_certificate(struct work *work)
{
	struct proof *proof = &work->proof;

	*proof = (struct proof){
		.method = work->who->is_leaf ? AUTH_WRIT_CERT : AUTH_MTLS_CERT,
		.kind = work->who->is_leaf ? WRIT_LIT("writ-cert") : WRIT_LIT("mtls-cert"),
		.bytes = work->request->peer->cert,
		.authority = work->who->authority,
	};
	memcpy(proof->digest, work->who->cert_sha256, sizeof(proof->digest));
}

/* The grant's one use: (iss, jti), and the digest of what was signed. */
WRIT_CHECKED static struct writ_err *
once_make(struct work *work, const struct claims *claims)
{
	struct proof *proof = &work->proof;
	char text[ONCE_KEY_MAX + 1], hex[2 * SHA256_LEN + 1];

	snprintf(text, sizeof(text), "grant %.*s %.*s", (int)claims->iss.len, (const char *)claims->iss.data,
		 (int)claims->jti.len, (const char *)claims->jti.data);
	proof->once[0].key = writ_arena_copy(&work->arena, writ_str(text));
	snprintf(text, sizeof(text), "evidence %s", writ_hex((struct writ_bytes){ proof->digest, SHA256_LEN }, hex));
	proof->once[1].key = writ_arena_copy(&work->arena, writ_str(text));
	if (!proof->once[0].key.data || !proof->once[1].key.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a grant");
	proof->once[0].expires = proof->once[1].expires = claims->exp + CLAIMS_KEEP_S;
	return NULL;
}

/* Used already, or being used by another request?  An idempotent retry is told by its key's answer instead. */
WRIT_CHECKED static struct writ_err *
reserve(struct work *work, const struct claims *claims)
{
	AUTO(writ_buf_done) struct writ_buf none = WRIT_BUF(1);
	struct proof *proof = &work->proof;
	const struct writ_bytes key = proof->once[0].key;
	enum once_state found;
	struct writ_err *err;
	bool used = false;
	unsigned status;

	err = once_take(work->on->serve->once, key, proof->digest, work->now.wall, &found, &status, &none);
	if (err)
		return err;
	if (found != ONCE_TAKEN)
		return writ_fail(WRIT_CONFLICT, "grant: jti '%.*s' is being redeemed by another request",
				 WRIT_FMT(claims->jti));
	proof->reserved = key;
	if (work->request->idempotency_key.len > 0)
		return NULL;
	for (size_t i = 0; i < N_OF(proof->once) && !used; i++) {
		err = store_once_used(work->on->store, proof->once[i].key, work->now.wall, &used);
		if (err)
			return err;
	}
	if (used)
		return writ_fail(WRIT_CONFLICT, "grant: jti '%.*s' was redeemed already: a grant opens one task",
				 WRIT_FMT(claims->jti));
	return NULL;
}

void
proof_release(struct work *work)
{
	if (work->proof.reserved.len > 0)
		once_release(work->on->serve->once, work->proof.reserved);
	work->proof = (struct proof){ 0 };
}

/* Which key, by `kid` alone. */
WRIT_CHECKED static struct writ_err *
key_of(const struct work *work, const struct jws *jws, const struct grantkey **ret)
{
	if (!work->rules->conf.grants.audience)
		return writ_fail(WRIT_UNAUTHENTICATED, "signed grants are not accepted here: none are configured");
	if (!writ_equal(jws->typ, WRIT_LIT(CLAIMS_TYP)))
		return writ_fail(WRIT_INVALID, "grant: typ is '%.*s', and must be '" CLAIMS_TYP "'",
				 WRIT_FMT(jws->typ));
	if (jws->kid.len == 0)
		return writ_fail(WRIT_INVALID, "grant: its header names no kid");
	*ret = grantkeys_find(work->rules->grantkeys, jws->kid);
	if (!*ret)
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: no key of the name '%.*s' is configured",
				 WRIT_FMT(jws->kid));
	return NULL;
}

struct writ_err *
proof_become(struct work *work, const struct identity *whom)
{
	struct identity *who = writ_arena_take(&work->arena, sizeof(*who));
	struct writ_err *err;

	if (!who)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a grant");
	*who = *whom;
	work->who = who;
	work->root = admission_name(work->on->serve->admission, who->principal);
	err = shares_asks(work, false);
	return err ? err : shares_proven(work);
}

struct writ_err *
proof_reserve(struct work *work, const struct claims *claims)
{
	struct writ_err *err = once_make(work, claims);

	return err ? err : reserve(work, claims);
}

struct writ_err *
proof_by_grant(struct work *work, struct claims *ret)
{
	struct proof *proof = &work->proof;
	const struct grantkey *key = NULL;
	struct claims_wanted wanted;
	struct identity who;
	struct writ_err *err;
	struct jws jws;

	err = request_grant(work->request->body, &work->arena, &proof->bytes);
	if (!err)
		err = jws_parse(proof->bytes, JWS_GRANT_ALGS, &work->arena, &jws);
	if (!err)
		err = key_of(work, &jws, &key);
	if (!err)
		err = claims_read(jws.payload, &work->arena, ret);
	if (err)
		return err;
	wanted = (struct claims_wanted){
		.principal = key->principal,
		.kid = key->kid,
		.audience = writ_str(work->rules->conf.grants.audience),
		.redeem_within_s = work->rules->conf.grants.redeem_within_s,
	};
	err = claims_check(ret, &wanted, work->now.wall);
	if (err)
		return err;

	proof->method = AUTH_SIGNED_GRANT;
	proof->kind = WRIT_LIT("signed-grant");
	proof->authority = key->kid;
	writ_sha256(proof->bytes, proof->digest);
	memcpy(proof->grant_digest, proof->digest, SHA256_LEN);
	proof->has_grant = true;
	err = proof_reserve(work, ret);
	if (err)
		return err;
	err = jws_verify(&jws, &key->key);
	if (err)
		return writ_because(err, "grant: kid '%.*s'", WRIT_FMT(key->kid));
	proof->n_once = N_OF(proof->once);
	who = (struct identity){ .kind = key->kind, .principal = key->principal, .authority = key->kid };
	return proof_become(work, &who);
}
