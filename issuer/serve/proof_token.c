/*
 * An ID token as the authorisation of one grant: see proof.h.
 *
 * In this order: the grant's shape and times, which cost little; the token, whose nonce must be the digest of exactly
 * these bytes; then whether the grant was used.  The grant's `iss` names the provider, and so which keys count.
 */
#include "base/digest.h"
#include "base/event.h"
#include "issuer/fetch/wire.h"
#include "issuer/serve/claims.h"
#include "issuer/serve/work.h"

#define ASK_APART_MS 1000 /* writ-fetchd bounds what it does; this bounds what it is sent */

/* A wake-up call that may be lost: whoever tries again sends another. */
static void
fetch_ask(struct work *work, const char *alias)
{
	atomic_int_least64_t *asked_ms = &work->on->serve->fetch_asked_ms;
	int_least64_t last = atomic_load(asked_ms);
	struct writ_err *err;

	if (last != 0 && work->now.mono_ms - last < ASK_APART_MS)
		return;
	if (!atomic_compare_exchange_strong(asked_ms, &last, work->now.mono_ms))
		return;
	err = fetch_ask_keys(work->on->serve->conf.run, alias);
	if (err)
		event(EVENT_WARN, "serve.fetch_not_asked", EV_STR("alias", alias), EV_ERR(err));
	writ_err_free(err);
}

WRIT_CHECKED static struct writ_err *
body_check(struct work *work, struct writ_bytes grant, struct claims *ret)
{
	const struct conf *conf = &work->rules->conf;
	struct claims_wanted wanted = {
		.audience = writ_str(conf->grants.audience),
		.redeem_within_s = conf->grants.redeem_within_s,
	};
	struct writ_err *err = claims_read(grant, &work->arena, ret);

	if (err)
		return err;
	wanted.principal = ret->iss; /* whether it is a provider of ours is asked with its token */
	return claims_check(ret, &wanted, work->now.wall);
}

struct writ_err *
proof_by_token(struct work *work, struct claims *ret)
{
	struct proof *proof = &work->proof;
	const char *fetch = NULL;
	struct oidc_token token;
	struct identity who;
	struct writ_err *err;

	if (work->rules->conf.n_oidc == 0)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "ID tokens are not accepted here: no OpenID provider is configured");
	err = request_token(work->request->body, &work->arena, &proof->bytes, &proof->grant);
	if (!err)
		err = body_check(work, proof->grant, ret);
	if (err)
		return err;
	err = oidc_check(work->rules->oidc, proof->bytes, ret->iss, proof->grant, work->now.wall, &work->arena, &token,
			 &fetch);
	if (fetch)
		fetch_ask(work, fetch);
	if (err)
		return err;

	proof->method = AUTH_OIDC_ID_TOKEN;
	proof->kind = WRIT_LIT("id-token");
	proof->authority = token.issuer;
	proof->acr = token.acr;
	proof->auth_time = token.auth_time;
	memcpy(proof->digest, token.digest, SHA256_LEN);
	writ_sha256(proof->grant, proof->grant_digest);
	proof->has_grant = true;
	err = proof_reserve(work, ret);
	if (err)
		return err;
	proof->n_once = N_OF(proof->once);
	who = (struct identity){ .kind = PRINCIPAL_HUMAN, .principal = token.principal, .authority = token.issuer };
	return proof_become(work, &who);
}
