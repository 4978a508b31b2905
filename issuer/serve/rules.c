/*
 * Policy and delegators in force: read from the files, counted, given up.
 */
#include "issuer/serve/rules.h"

#include <stdlib.h>

#include "base/event.h"
#include "base/file.h"
#include "base/yaml.h"
#include "issuer/fetch/wire.h"

struct rules *
rules_ref(struct rules *rules)
{
	if (rules)
		atomic_fetch_add(&rules->refs, 1);
	return rules;
}

void
rules_unref(struct rules *rules)
{
	if (!rules || atomic_fetch_sub(&rules->refs, 1) != 1)
		return;
	policy_free(rules->policy);
	auth_free(rules->auth);
	grantkeys_free(rules->grantkeys);
	writ_buf_done(&rules->text);
	oidc_free(rules->oidc);
	trust_done(&rules->trust);
	conf_done(&rules->conf);
	free(rules);
}

WRIT_CHECKED static struct writ_err *
policy_load(const struct conf *conf, struct writ_buf *text, struct policy **ret)
{
	struct writ_err *err = file_read(conf->policy, FILE_CONFIG, text);

	return err ? err : policy_parse(conf->policy, writ_view(text), ret);
}

WRIT_CHECKED static struct writ_err *
auth_load(struct rules *rules, struct writ_bytes own_anchor)
{
	const struct conf *conf = &rules->conf;
	struct auth_delegators *list = calloc(conf->n_delegators + 1, sizeof(*list));
	struct writ_err *err;

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the delegators");
	for (size_t i = 0; i < conf->n_delegators; i++)
		list[i] = (struct auth_delegators){
			.anchors = conf->delegators[i].anchors,
			.kind = (enum principal_kind)conf->delegators[i].kind,
			.principal = conf->delegators[i].principal,
			.check_crl = conf->delegators[i].revocation == CONF_REVOCATION_CRL,
			.crl = conf->delegators[i].crl,
			.crl_max_age_s = conf->delegators[i].crl_max_age_s,
			.ocsp = conf->delegators[i].ocsp,
			.ocsp_max_age_s = conf->delegators[i].ocsp_max_age_s,
			.state = conf->state,
		};
	err = auth_new(writ_str(conf->trust_domain), list, conf->n_delegators, own_anchor, &rules->auth);
	free(list);
	return err;
}

WRIT_CHECKED static struct writ_err *
grantkeys_load(struct rules *rules)
{
	const struct conf *conf = &rules->conf;
	struct grantkey_conf *list = calloc(conf->grants.n_keys + 1, sizeof(*list));
	struct writ_err *err;

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the keys of grants");
	for (size_t i = 0; i < conf->grants.n_keys; i++)
		list[i] = (struct grantkey_conf){
			.kid = conf->grants.keys[i].kid,
			.kind = (enum principal_kind)conf->grants.keys[i].kind,
			.principal = conf->grants.keys[i].principal,
			.path = conf->grants.keys[i].key,
		};
	err = grantkeys_new(writ_str(conf->trust_domain), list, conf->grants.n_keys, &rules->grantkeys);
	free(list);
	return err;
}

WRIT_CHECKED static struct writ_err *
oidc_load(struct rules *rules)
{
	static const struct {
		unsigned said, alg;
	} algorithms[] = { { CONF_OIDC_RS256, JWS_ALLOW(JWS_RS256) },
			   { CONF_OIDC_PS256, JWS_ALLOW(JWS_PS256) },
			   { CONF_OIDC_ES256, JWS_ALLOW(JWS_ES256) } };
	AUTO(writ_arena_done) struct writ_arena paths = WRIT_ARENA(64 * 1024);
	const struct conf *conf = &rules->conf;
	struct oidc_provider *list = writ_arena_take(&paths, (conf->n_oidc + 1) * sizeof(*list));

	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
	for (size_t i = 0; i < conf->n_oidc; i++) {
		const struct conf_oidc *from = &conf->oidc[i];
		char path[4096];
		const char *keys = from->jwks_file ? from->jwks_file : fetch_keys_path(conf->state, from->alias, path);

		list[i] = (struct oidc_provider){
			.alias = from->alias,
			.issuer = from->issuer,
			.client_id = from->client_id,
			.keys = (const char *)writ_arena_copy(&paths, writ_str(keys)).data,
			.fetched = from->jwks_url != NULL,
			.n_acr = from->n_acr,
			.acr = from->acr,
			.max_age_s = from->max_age_s,
			.max_auth_age_s = from->max_auth_age_s,
		};
		if (!list[i].keys)
			return writ_fail(WRIT_EXHAUSTED, "no memory for the OpenID providers");
		for (size_t j = 0; j < N_OF(algorithms); j++)
			if (from->algorithms & algorithms[j].said)
				list[i].algorithms |= algorithms[j].alg;
	}
	return oidc_new(writ_str(conf->trust_domain), list, conf->n_oidc, &rules->oidc);
}

static void
rules_unrefp(struct rules **rules)
{
	rules_unref(*rules);
}

struct writ_err *
rules_load(const struct conf *running, struct writ_bytes own_anchor, enum leaf_tier tier, writ_time now,
	   struct rules **ret)
{
	AUTO(rules_unrefp) struct rules *rules = calloc(1, sizeof(*rules));
	struct writ_err *err, *lists;

	if (!rules)
		return writ_fail(WRIT_EXHAUSTED, "no memory for policy and delegators");
	atomic_init(&rules->refs, 1);
	rules->text = WRIT_BUF(YAML_BYTES_MAX);
	rules->loaded_at = now;
	err = conf_read(running->path, &rules->conf);
	if (!err && strcmp(rules->conf.trust_domain, running->trust_domain) != 0)
		err = writ_fail(WRIT_INVALID, "trust_domain has changed: restart signer and issuer");
	if (!err)
		err = policy_load(&rules->conf, &rules->text, &rules->policy);
	if (!err)
		err = auth_load(rules, own_anchor);
	if (!err)
		err = grantkeys_load(rules);
	if (!err)
		err = oidc_load(rules);
	if (!err)
		err = trust_load(&rules->conf, own_anchor, tier, now, &rules->trust);
	if (err)
		return err;
	if (memcmp(rules->conf.digest, running->digest, sizeof(rules->conf.digest)) != 0)
		event(EVENT_WARN, "serve.configuration_changed",
		      EV_STR("text", "policy, delegators, grants, oidc, limits and standby anchors are taken; the rest at a restart"));
	lists = auth_refresh(rules->auth, now);
	if (lists) /* its holders are refused until it is there; the others are not */
		event(EVENT_WARN, "serve.revocation_list", EV_ERR(lists));
	writ_err_free(lists);
	*ret = TAKE(rules);
	return NULL;
}

struct writ_err *
rules_try(const struct conf *conf)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	AUTO(policy_freep) struct policy *policy = NULL;

	return policy_load(conf, &text, &policy);
}
