/*
 * writ.yaml: grants.  Whose signature opens a task without a client certificate, and as whom (delegation.md 8).
 *
 * Knows what names look like; opens no key file.
 */
#include <stdio.h>

#include "issuer/conf/reader.h"

#define GRANT_KEYS_MAX 256
#define KID_MAX 128	  /* octets: it stands in every hop that the key grants (AuthEvidence.authority) */
#define PRINCIPAL_MAX 512 /* delegation.md 7 */
#define AUDIENCE_MAX 256  /* octets */
#define REDEEM_MIN_S 60
#define REDEEM_DEFAULT_S 900 /* delegation.md 8 */
#define REDEEM_MAX_S (24 * 3600)

static const char name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* What stands in `aud`, compared octet by octet: an URL of ours, whatever answers there. */
static struct writ_err *
read_audience(const struct conf_reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct writ_err *err;

	err = conf_text(r, map, "grants.audience", READER_NEEDED, &conf->grants.audience);
	if (err)
		return err;
	if (strncmp(conf->grants.audience, "https://", 8) != 0 || conf->grants.audience[8] == '\0' ||
	    strlen(conf->grants.audience) > AUDIENCE_MAX || strpbrk(conf->grants.audience, " \"\\?#"))
		return yaml_fail(r->yaml, yaml_get(map, "audience"),
				 "grants.audience: found \"%.80s\", wanted https://... of at most %d bytes, without "
				 "query or fragment",
				 conf->grants.audience, AUDIENCE_MAX);
	return NULL;
}

static struct writ_err *
read_redeem_within(const struct conf_reader *r, const struct yaml_node *map)
{
	struct yaml_node *node;
	struct writ_err *err;

	r->conf->grants.redeem_within_s = REDEEM_DEFAULT_S;
	err = conf_find(r, map, "grants.redeem_within", READER_OPTIONAL, &node);
	if (err || !node)
		return err;
	return yaml_duration(r->yaml, node, "grants.redeem_within", REDEEM_MIN_S, REDEEM_MAX_S,
			     &r->conf->grants.redeem_within_s);
}

/* A name that is compared, and stands in hops and messages: nothing in it that a path or a header would read. */
static struct writ_err *
read_kid(const struct conf_reader *r, const struct yaml_node *map, struct conf_grant_key *ret)
{
	struct writ_err *err = conf_text(r, map, "grants.keys.kid", READER_NEEDED, &ret->kid);

	if (err)
		return err;
	if (strlen(ret->kid) > KID_MAX || strspn(ret->kid, name_chars) != strlen(ret->kid))
		return yaml_fail(r->yaml, yaml_get(map, "kid"),
				 "grants.keys.kid: found \"%.80s\", wanted 1 to %d of A-Z a-z 0-9 . _ -", ret->kid,
				 KID_MAX);
	return NULL;
}

/* The whole name, no template: one key is one principal's. */
static struct writ_err *
read_principal(const struct conf_reader *r, const struct yaml_node *map, struct conf_grant_key *ret)
{
	char prefix[16 + TRUST_DOMAIN_MAX + 16];
	struct writ_err *err;

	err = conf_text(r, map, "grants.keys.principal", READER_NEEDED, &ret->principal);
	if (err)
		return err;
	snprintf(prefix, sizeof(prefix), "spiffe://%s/%s/", r->conf->trust_domain,
		 ret->kind == CONF_HUMAN ? "human" : "service");
	if (strlen(ret->principal) > PRINCIPAL_MAX || strncmp(ret->principal, prefix, strlen(prefix)) != 0 ||
	    strspn(ret->principal + strlen(prefix), name_chars) == 0)
		return yaml_fail(r->yaml, yaml_get(map, "principal"),
				 "grants.keys.principal: found \"%.60s\", wanted %s... of at most %d bytes",
				 ret->principal, prefix, PRINCIPAL_MAX);
	return NULL;
}

static struct writ_err *
read_key(const struct conf_reader *r, const struct yaml_node *map, struct conf_grant_key *ret)
{
	static const char *const keys[] = { "kid", "kind", "principal", "key", NULL };
	struct yaml_node *node;
	struct writ_err *err;
	bool service;

	err = yaml_kind_is(r->yaml, map, "an entry of grants.keys", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, map, keys);
	if (!err)
		err = read_kid(r, map, ret);
	if (!err)
		err = conf_find(r, map, "grants.keys.kind", READER_NEEDED, &node);
	if (!err)
		err = conf_word(r, node, "grants.keys.kind", "human", "service", &service); /* K1: never an agent */
	if (err)
		return err;
	ret->kind = service ? CONF_SERVICE : CONF_HUMAN;
	err = read_principal(r, map, ret);
	if (!err)
		err = conf_file_path(r, map, "grants.keys.key", &ret->key);
	return err;
}

static struct writ_err *
read_keys(const struct conf_reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct conf_grant_key *all;
	struct yaml_node *list;
	struct writ_err *err;
	size_t n = 0;

	/* Without a key of its own a grant may still be bound to an ID token: see oidc.c. */
	err = conf_find(r, map, "grants.keys", conf->oidc ? READER_OPTIONAL : READER_NEEDED, &list);
	if (!err && !list)
		return NULL;
	if (!err)
		err = yaml_kind_is(r->yaml, list, "grants.keys", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > GRANT_KEYS_MAX)
		return yaml_fail(r->yaml, list, "grants.keys has %zu entries, allowed are 1 to %d", list->n_items,
				 GRANT_KEYS_MAX);
	all = writ_arena_take(&conf->arena, list->n_items * sizeof(*all));
	if (!all)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for grants.keys");
	for (const struct yaml_node *node = list->first; node; node = node->next, n++) {
		err = read_key(r, node, &all[n]);
		if (err)
			return err;
		for (size_t i = 0; i < n; i++)
			if (strcmp(all[i].kid, all[n].kid) == 0)
				return yaml_fail(r->yaml, node, "grants.keys.kid: \"%.80s\" is there twice",
						 all[n].kid);
	}
	conf->grants.keys = all;
	conf->grants.n_keys = n;
	return NULL;
}

struct writ_err *
conf_grants(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "audience", "redeem_within", "keys", NULL };
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "grants", READER_OPTIONAL, keys, &map);
	if (!err && !map && r->conf->oidc)
		err = yaml_fail(r->yaml, yaml_get(root, "oidc"),
				"oidc needs grants.audience: what the grants that ID tokens authorise are for");
	if (err || !map)
		return err;
	err = read_audience(r, map);
	if (!err)
		err = read_redeem_within(r, map);
	return err ? err : read_keys(r, map);
}
