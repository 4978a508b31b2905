/*
 * Grants for ID tokens: see prepare.h.  What is handed out was read back by the reader that will meet it again.
 */
#include "issuer/serve/prepare.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/serve/claims.h"
#include "issuer/serve/members.h"
#include "issuer/serve/work.h"

#define JTI_BYTES 16

static void
text_set(json_t *object, const char *name, struct writ_bytes text)
{
	json_object_set_new(object, name, json_stringn((const char *)text.data, text.len));
}

/* The members that POST /v1/tasks and a grant share under the same name; absent ones stay absent. */
static void
copy(const json_t *task, json_t *grant)
{
	static const char *const names[] = { "scope", "audience", "constraints" };

	for (size_t i = 0; i < N_OF(names); i++)
		if (json_object_get(task, names[i]))
			json_object_set(grant, names[i], json_object_get(task, names[i]));
}

WRIT_CHECKED static struct writ_err *
jti_set(json_t *grant)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(CLAIMS_JTI_MAX);
	uint8_t random[JTI_BYTES];
	struct writ_err *err;

	writ_random(random, sizeof(random));
	err = writ_base64url((struct writ_bytes){ random, sizeof(random) }, &text);
	if (!err)
		text_set(grant, "jti", writ_view(&text));
	return err;
}

/* The grant as an object; a member that memory did not suffice for is missed by the reading back. */
WRIT_CHECKED static struct writ_err *
build(struct work *work, const struct request_prepare *r, const char *issuer, json_t *grant)
{
	const struct conf *conf = &work->rules->conf;
	AUTO(members_done) json_t *body = NULL;
	json_t *task = json_object();
	const writ_time now = work->now.wall;
	char hex[2 * SHA256_LEN + 1];
	struct writ_err *err;

	json_object_set_new(grant, "task", task);
	err = members_parse(r->task, "task", &body);
	if (!err)
		err = jti_set(grant);
	if (err)
		return err;
	json_object_set_new(grant, "iss", json_string(issuer));
	json_object_set_new(grant, "aud", json_string(conf->grants.audience));
	json_object_set_new(grant, "iat", json_integer(now));
	json_object_set_new(grant, "nbf", json_integer(now));
	json_object_set_new(grant, "exp", json_integer(now + conf->grants.redeem_within_s));
	json_object_set_new(grant, "grant_end", json_integer(now + r->asked.ends_in_s));
	json_object_set_new(grant, "depth", json_integer(r->asked.depth));
	text_set(grant, "agent", r->asked.agent_class);
	text_set(grant, "spki_sha256",
		 writ_str(writ_hex((struct writ_bytes){ r->asked.spki_sha256, SHA256_LEN }, hex)));
	if (r->asked.task_id.len > 0)
		text_set(task, "id", r->asked.task_id);
	if (r->asked.purpose.len > 0)
		text_set(task, "purpose", r->asked.purpose);
	copy(body, grant);
	if (r->asked.context_type.len > 0) {
		text_set(grant, "context_type", r->asked.context_type);
		text_set(grant, "context_digest", writ_str(writ_hex(r->asked.context_digest, hex)));
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
grant_write(struct work *work, const struct request_prepare *r, const char *issuer, struct writ_bytes *ret,
	    struct claims *ret_claims)
{
	AUTO(members_done) json_t *grant = json_object();
	struct writ_err *err = build(work, r, issuer, grant);
	char *text;

	if (err)
		return err;
	text = json_dumps(grant, JSON_COMPACT);
	if (!text)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a grant");
	err = member_keep(&work->arena, writ_str(text), ret);
	free(text);
	if (!err && ret->len > REQUEST_GRANT_BODY_MAX)
		err = writ_fail(WRIT_INVALID, "the grant has %zu bytes, over %d", ret->len, REQUEST_GRANT_BODY_MAX);
	if (!err)
		err = claims_read(*ret, &work->arena, ret_claims);
	return err;
}

WRIT_CHECKED static struct writ_err *
answer(struct work *work, const struct conf_oidc *idp, struct writ_bytes grant, const struct claims *claims)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(2 * REQUEST_GRANT_BODY_MAX);
	char nonce[OIDC_NONCE_LEN + 1];
	struct writ_err *err = writ_base64url(grant, &text);
	struct out out = out_to(&work->answer);

	if (err)
		return err;
	out_open(&out, NULL, '{');
	out_text(&out, "grant_body", writ_view(&text));
	out_text(&out, "nonce", writ_str(oidc_nonce(grant, nonce)));
	out_text(&out, "issuer", writ_str(idp->issuer));
	out_text(&out, "client_id", writ_str(idp->client_id));
	out_time(&out, "expires", claims->exp);
	if (idp->n_acr > 0) {
		out_open(&out, "acr_values", '[');
		for (size_t i = 0; i < idp->n_acr; i++)
			out_text(&out, NULL, writ_str(idp->acr[i]));
		out_close(&out, ']');
	}
	if (idp->max_auth_age_s)
		out_int(&out, "max_age_s", idp->max_auth_age_s);
	out_close(&out, '}');
	return out_done(&out);
}

static const struct conf_oidc *
provider_of(const struct conf *conf, struct writ_bytes alias)
{
	for (size_t i = 0; i < conf->n_oidc; i++)
		if (writ_equal(writ_str(conf->oidc[i].alias), alias))
			return &conf->oidc[i];
	return NULL;
}

struct writ_err *
prepare_grant(struct work *work)
{
	struct request_prepare r;
	const struct conf_oidc *idp;
	struct writ_bytes grant;
	struct claims claims;
	struct writ_err *err;

	err = request_prepare(work->request->body, &work->arena, &r);
	if (err)
		return err;
	idp = provider_of(&work->rules->conf, r.idp);
	if (!idp)
		return writ_fail(WRIT_NOT_FOUND, "member 'idp': no OpenID provider '%.*s' is configured",
				 WRIT_FMT(r.idp));
	err = grant_write(work, &r, idp->issuer, &grant, &claims);
	if (!err)
		err = answer(work, idp, grant, &claims);
	if (err)
		return err;
	work_answer(work, 200, writ_view(&work->answer));
	return NULL;
}
