/*
 * writ.yaml: oidc.  OpenID providers whose ID tokens, bound by nonce to one grant, open tasks (delegation.md 8).
 *
 * Knows what an URL may look like, and opens none.
 */
#include <stdio.h>

#include "issuer/conf/reader.h"

#define OIDC_MAX 16
#define OIDC_URL_MAX 256     /* AuthEvidence.authority (delegation.md 3.2) */
#define OIDC_ALIAS_MAX 64    /* octets of a segment that stands in every principal */
#define OIDC_ID_MAX 256	     /* octets of a client_id */
#define OIDC_ACR_LEN_MAX 128 /* AuthEvidence.acr */
#define OIDC_ACR_MAX 16

static bool
visible(const char *text)
{
	for (; *text; text++)
		if (*text < 0x21 || *text > 0x7e)
			return false;
	return true;
}

/* http is for a provider on this machine alone: whoever stands in between could give us keys of his own. */
static bool
is_loopback(const char *rest)
{
	static const char *const hosts[] = { "127.0.0.1", "[::1]" };

	for (size_t i = 0; i < N_OF(hosts); i++) {
		const size_t len = strlen(hosts[i]);

		if (strncmp(rest, hosts[i], len) == 0 && (rest[len] == ':' || rest[len] == '/' || rest[len] == '\0'))
			return true;
	}
	return false;
}

const char *
conf_url_fault(const char *url, bool query, bool plain)
{
	const char *rest;
	size_t host;

	if (strncmp(url, "https://", 8) == 0)
		rest = url + 8;
	else if (strncmp(url, "http://", 7) == 0 && (plain || is_loopback(url + 7)))
		rest = url + 7;
	else
		return plain ? "it must begin with http:// or https://"
			     : "it must begin with https:// (http:// only to 127.0.0.1 and [::1])";
	if (strlen(url) > OIDC_URL_MAX)
		return "it has more than 256 bytes";
	if (!visible(url) || strpbrk(url, "\"\\<>^`{|}"))
		return "it has a character that no URL has";
	if (strchr(rest, '#') || (!query && strchr(rest, '?')))
		return query ? "it must have no fragment" : "it must have no query and no fragment";
	host = strcspn(rest, "/?");
	if (memchr(rest, '@', host))
		return "it must name no user";
	if (host == 0 || *rest == ':')
		return "it names no host";
	return NULL;
}

static struct writ_err *
read_url(const struct conf_reader *r, const struct yaml_node *map, const char *what, bool query, const char **ret)
{
	const char *fault;
	struct writ_err *err = conf_text(r, map, what, READER_NEEDED, ret);

	if (err)
		return err;
	fault = conf_url_fault(*ret, query, false);
	if (fault)
		return yaml_fail(r->yaml, yaml_get(map, conf_key(what)), "%s: found \"%.80s\": %s", what, *ret, fault);
	return NULL;
}

/* "spiffe://TD/human/ALIAS/{CN}" of a delegators entry: another authority for the same names. */
static bool
alias_of_delegators(const struct conf *conf, const char *alias)
{
	char prefix[160];

	snprintf(prefix, sizeof(prefix), "spiffe://%s/human/%s/", conf->trust_domain, alias);
	for (size_t i = 0; i < conf->n_delegators; i++)
		if (strncmp(conf->delegators[i].principal, prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

static struct writ_err *
read_names(const struct conf_reader *r, const struct yaml_node *map, const struct conf_oidc *before, size_t n,
	   struct conf_oidc *ret)
{
	const struct yaml_node *node;
	struct writ_err *err;

	err = conf_text(r, map, "oidc.alias", READER_NEEDED, &ret->alias);
	if (err)
		return err;
	node = yaml_get(map, "alias");
	if (strlen(ret->alias) > OIDC_ALIAS_MAX ||
	    strspn(ret->alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
		    strlen(ret->alias))
		return yaml_fail(r->yaml, node, "oidc.alias: found \"%.80s\", wanted 1 to %d of A-Z a-z 0-9 _ -",
				 ret->alias, OIDC_ALIAS_MAX);
	if (alias_of_delegators(r->conf, ret->alias))
		return yaml_fail(
			r->yaml, node,
			"oidc.alias: \"%s\" is the alias of a delegators entry already: one alias, one authority",
			ret->alias);
	err = read_url(r, map, "oidc.issuer", false, &ret->issuer);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(before[i].alias, ret->alias) == 0)
			return yaml_fail(r->yaml, node, "oidc.alias: \"%s\" stands twice", ret->alias);
		if (strcmp(before[i].issuer, ret->issuer) == 0)
			return yaml_fail(r->yaml, yaml_get(map, "issuer"),
					 "oidc.issuer: \"%.80s\" has an alias already: one issuer, one alias",
					 ret->issuer);
	}
	err = conf_text(r, map, "oidc.client_id", READER_NEEDED, &ret->client_id);
	if (!err && strlen(ret->client_id) > OIDC_ID_MAX)
		err = yaml_fail(r->yaml, yaml_get(map, "client_id"),
				"oidc.client_id has %zu bytes, at most %d are allowed", strlen(ret->client_id),
				OIDC_ID_MAX);
	return err;
}

/* A file that the operator keeps, or an URL that writ-fetchd asks. */
static struct writ_err *
read_jwks(const struct conf_reader *r, const struct yaml_node *map, struct conf_oidc *ret)
{
	const struct yaml_node *ca = yaml_get(map, "ca");
	struct yaml_node *refresh;
	const char *text;
	struct writ_err *err;

	err = conf_text(r, map, "oidc.jwks", READER_NEEDED, &text);
	if (err)
		return err;
	err = conf_find(r, map, "oidc.refresh", READER_OPTIONAL, &refresh);
	if (err)
		return err;
	if (!strstr(text, "://")) {
		if (ca || refresh)
			return yaml_fail(r->yaml, ca ? ca : refresh,
					 "oidc.%s belongs to a jwks that is an URL; \"%.80s\" is a file",
					 ca ? "ca" : "refresh", text);
		return conf_file_path(r, map, "oidc.jwks", &ret->jwks_file);
	}
	err = read_url(r, map, "oidc.jwks", true, &ret->jwks_url);
	if (!err && ca)
		err = conf_file_path(r, map, "oidc.ca", &ret->ca);
	if (err)
		return err;
	ret->refresh_s = 300;
	return refresh ? yaml_duration(r->yaml, refresh, "oidc.refresh", 10, 86400, &ret->refresh_s) : NULL;
}

static struct writ_err *
read_algorithms(const struct conf_reader *r, const struct yaml_node *map, unsigned *ret)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = { { "RS256", CONF_OIDC_RS256 }, { "PS256", CONF_OIDC_PS256 }, { "ES256", CONF_OIDC_ES256 } };
	struct yaml_node *list;
	struct writ_err *err;

	*ret = CONF_OIDC_RS256 | CONF_OIDC_PS256 | CONF_OIDC_ES256;
	err = conf_find(r, map, "oidc.algorithms", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "oidc.algorithms", YAML_LIST);
	if (err)
		return err;
	*ret = 0;
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		const char *text;
		size_t i = 0;

		err = conf_text_of(r, node, "oidc.algorithms", &text);
		if (err)
			return err;
		while (i < N_OF(known) && strcmp(known[i].name, text) != 0)
			i++;
		if (i == N_OF(known))
			return yaml_fail(r->yaml, node,
					 "oidc.algorithms: found \"%.80s\", wanted RS256, PS256 or ES256", text);
		*ret |= known[i].bit;
	}
	return *ret ? NULL : yaml_fail(r->yaml, list, "oidc.algorithms is empty: no token would ever be good");
}

static struct writ_err *
read_acr(const struct conf_reader *r, const struct yaml_node *map, struct conf_oidc *ret)
{
	struct yaml_node *list;
	const char **all;
	struct writ_err *err;

	err = conf_find(r, map, "oidc.acr", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "oidc.acr", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > OIDC_ACR_MAX)
		return yaml_fail(r->yaml, list, "oidc.acr has %zu entries, allowed are 1 to %d", list->n_items,
				 OIDC_ACR_MAX);
	all = writ_arena_take(&r->conf->arena, list->n_items * sizeof(*all));
	if (!all)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for oidc.acr");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		const char **one = &all[ret->n_acr++];

		err = conf_text_of(r, node, "oidc.acr", one);
		if (err)
			return err;
		if (strlen(*one) > OIDC_ACR_LEN_MAX || !visible(*one))
			return yaml_fail(r->yaml, node,
					 "oidc.acr: found \"%.80s\", wanted at most %d visible ASCII characters", *one,
					 OIDC_ACR_LEN_MAX);
	}
	ret->acr = all;
	return NULL;
}

static struct writ_err *
read_ages(const struct conf_reader *r, const struct yaml_node *map, struct conf_oidc *ret)
{
	struct yaml_node *age, *auth;
	struct writ_err *err;

	ret->max_age_s = 120; /* delegation.md 8 */
	err = conf_find(r, map, "oidc.max_age", READER_OPTIONAL, &age);
	if (!err && age)
		err = yaml_duration(r->yaml, age, "oidc.max_age", 10, 600, &ret->max_age_s);
	if (!err)
		err = conf_find(r, map, "oidc.max_auth_age", READER_OPTIONAL, &auth);
	if (!err && auth)
		err = yaml_duration(r->yaml, auth, "oidc.max_auth_age", 10, 30 * 86400, &ret->max_auth_age_s);
	return err;
}

static struct writ_err *
read_provider(const struct conf_reader *r, const struct yaml_node *map, const struct conf_oidc *before, size_t n,
	      struct conf_oidc *ret)
{
	static const char *const keys[] = { "alias", "issuer",	"client_id",	"jwks",	      "ca", "refresh",
					    "acr",   "max_age", "max_auth_age", "algorithms", NULL };
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, map, "an entry of oidc", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, map, keys);
	if (!err)
		err = read_names(r, map, before, n, ret);
	if (!err)
		err = read_jwks(r, map, ret);
	if (!err)
		err = read_algorithms(r, map, &ret->algorithms);
	if (!err)
		err = read_acr(r, map, ret);
	if (!err)
		err = read_ages(r, map, ret);
	return err;
}

struct writ_err *
conf_oidc(const struct conf_reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct conf_oidc *all;
	struct yaml_node *list;
	struct writ_err *err;
	size_t n = 0;

	err = conf_find(r, root, "oidc", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "oidc", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > OIDC_MAX)
		return yaml_fail(r->yaml, list, "oidc has %zu entries, allowed are 1 to %d", list->n_items, OIDC_MAX);
	all = writ_arena_take(&conf->arena, list->n_items * sizeof(*all));
	if (!all)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for oidc");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = read_provider(r, node, all, n, &all[n]);
		if (err)
			return err;
		n++;
	}
	conf->oidc = all;
	conf->n_oidc = n;
	return NULL;
}

bool
conf_fetches(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_oidc; i++)
		if (conf->oidc[i].jwks_url)
			return true;
	for (size_t i = 0; i < conf->n_delegators; i++)
		if (conf->delegators[i].ocsp)
			return true;
	return false;
}
