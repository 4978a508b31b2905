/*
 * writ.yaml: from text to a checked struct.
 *
 * One reader a top key, in the file's order; each names the key in full ("api.listen") when it refuses.  Knows the
 * grammar of values and how they exclude each other.  Opens no file but writ.yaml: whether a certificate is there is
 * for its user to find.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"
#include "issuer/conf/conf.h"

#define TEXT_MAX 1024	    /* bytes of one value */
#define PATH_BYTES_MAX 1024 /* of a resolved path, so that conf_path()'s 4096 always hold it and a name of ours */
#define RUN_BYTES_MAX 90    /* a socket's path ends at 107 bytes: room for "/" and the longest name we put there */
#define TRUST_DOMAIN_MAX 64 /* the leaf's O (delegation.md 2) */
#define PRINCIPAL_MAX 512   /* delegation.md 7 */
#define URL_MAX 200	    /* stands in every certificate, twice */
#define ORIGIN_MAX 200
#define DELEGATORS_MAX 32
#define ENVIRONMENT_MAX 16
#define ARENA_LIMIT ((size_t)1024 * 1024)

static const char lower_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char segment_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

struct reader {
	const struct yaml *yaml;
	const char *dir;
	struct conf *conf;
};

enum presence { OPTIONAL, NEEDED };

/* The last word of "custody.tpm.tcti" is the key; the whole names it in messages. */
static const char *
key_of(const char *what)
{
	const char *dot = strrchr(what, '.');

	return dot ? dot + 1 : what;
}

static struct writ_err *
find(const struct reader *r, const struct yaml_node *map, const char *what, enum presence presence,
     struct yaml_node **ret)
{
	*ret = yaml_get(map, key_of(what));
	if (!*ret && presence == NEEDED)
		return yaml_fail(r->yaml, map, "%s is missing", what);
	return NULL;
}

/* A map; NULL when it is optional and not there. */
static struct writ_err *
find_map(const struct reader *r, const struct yaml_node *map, const char *what, enum presence presence,
	 const char *const *keys, struct yaml_node **ret)
{
	struct writ_err *err;

	err = find(r, map, what, presence, ret);
	if (err || !*ret)
		return err;
	err = yaml_kind_is(r->yaml, *ret, what, YAML_MAP);
	if (err)
		return err;
	return yaml_only(r->yaml, *ret, keys);
}

static struct writ_err *
keep(const struct reader *r, struct writ_bytes text, const char **ret)
{
	struct writ_bytes copy = writ_arena_copy(&r->conf->arena, text);

	if (!copy.data)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for %zu bytes", text.len);
	*ret = (const char *)copy.data;
	return NULL;
}

/* The text of a node, in the configuration's own memory: not empty, at most TEXT_MAX bytes, nothing that breaks a line.
 */
static struct writ_err *
text_of(const struct reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	struct writ_bytes text;
	struct writ_err *err;

	err = yaml_text(r->yaml, node, what, &text);
	if (err)
		return err;
	if (text.len == 0)
		return yaml_fail(r->yaml, node, "%s is empty", what);
	if (text.len > TEXT_MAX)
		return yaml_fail(r->yaml, node, "%s has %zu bytes, at most %d are allowed", what, text.len, TEXT_MAX);
	if (!writ_is_clean_utf8(text))
		return yaml_fail(r->yaml, node, "%s has a control character", what);
	return keep(r, text, ret);
}

/* As text_of(); `*ret` stays as it is when the key is optional and not there. */
static struct writ_err *
read_text(const struct reader *r, const struct yaml_node *map, const char *what, enum presence presence,
	  const char **ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = find(r, map, what, presence, &node);
	if (err || !node)
		return err;
	return text_of(r, node, what, ret);
}

static struct writ_err *
path_of(const struct reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	char path[PATH_BYTES_MAX + 1];
	struct writ_err *err;
	size_t len;
	int n;

	err = text_of(r, node, what, ret);
	if (err)
		return err;
	if (**ret == '/')
		n = snprintf(path, sizeof(path), "%s", *ret);
	else
		n = snprintf(path, sizeof(path), "%s/%s", r->dir, strncmp(*ret, "./", 2) == 0 ? *ret + 2 : *ret);
	if (n < 0 || (size_t)n >= sizeof(path))
		return yaml_fail(r->yaml, node, "%s is a path of over %d bytes", what, PATH_BYTES_MAX);
	for (len = (size_t)n; len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	return keep(r, writ_str(path), ret);
}

static struct writ_err *
read_path(const struct reader *r, const struct yaml_node *map, const char *what, const char **ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = find(r, map, what, NEEDED, &node);
	if (err)
		return err;
	return path_of(r, node, what, ret);
}

static struct writ_err *
read_number(const struct reader *r, const struct yaml_node *map, const char *what, uint32_t max, uint32_t *ret)
{
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t number;

	err = find(r, map, what, OPTIONAL, &node);
	if (err || !node)
		return err;
	err = yaml_number(r->yaml, node, what, 1, max, &number);
	if (err)
		return err;
	*ret = (uint32_t)number;
	return NULL;
}

/* One of two words; `*ret` is which. */
static struct writ_err *
word_of(const struct reader *r, const struct yaml_node *node, const char *what, const char *first, const char *second,
	bool *ret_second)
{
	struct writ_bytes text;
	struct writ_err *err;

	err = yaml_text(r->yaml, node, what, &text);
	if (err)
		return err;
	*ret_second = writ_equal(text, writ_str(second));
	if (!*ret_second && !writ_equal(text, writ_str(first)))
		return yaml_fail(r->yaml, node, "%s: found \"%.*s\", wanted %s or %s", what, WRIT_FMT(text), first,
				 second);
	return NULL;
}

/* "127.0.0.1:8443" or "[::1]:8443": an address, since a name may change its meaning behind our back. */
static bool
address_from(const char *text, struct conf_address *ret)
{
	const bool v6 = text[0] == '[';
	const char *host = v6 ? text + 1 : text;
	const char *end = strchr(host, v6 ? ']' : ':');
	const char *colon = v6 && end ? end + 1 : end;
	uint8_t binary[16];
	uint64_t port;

	if (!end || (size_t)(end - host) >= sizeof(ret->host) || *colon != ':')
		return false;
	memcpy(ret->host, host, (size_t)(end - host));
	ret->host[end - host] = '\0';
	if (!writ_decimal(writ_str(colon + 1), UINT16_MAX, &port) || port == 0)
		return false;
	ret->port = (uint16_t)port;
	return inet_pton(v6 ? AF_INET6 : AF_INET, ret->host, binary) == 1;
}

static struct writ_err *
read_listen(const struct reader *r, const struct yaml_node *map, const char *what, struct conf_address *ret)
{
	struct yaml_node *node;
	struct writ_err *err;
	const char *text;

	err = find(r, map, what, OPTIONAL, &node);
	if (err || !node)
		return err;
	err = text_of(r, node, what, &text);
	if (err)
		return err;
	if (!address_from(text, ret))
		return yaml_fail(r->yaml, node, "%s: found \"%.80s\", wanted IP:PORT, as 127.0.0.1:8443 or [::1]:8443",
				 what, text);
	return NULL;
}

static struct writ_err *
read_version(const struct reader *r, const struct yaml_node *root)
{
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t version;

	err = find(r, root, "version", NEEDED, &node);
	if (err)
		return err;
	err = yaml_number(r->yaml, node, "version", 0, UINT32_MAX, &version);
	if (err)
		return err;
	if (version != 1)
		return yaml_fail(r->yaml, node, "version is %u, this program reads version 1", (unsigned)version);
	return NULL;
}

static struct writ_err *
read_trust_domain(const struct reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_err *err;
	size_t len;

	err = find(r, root, "trust_domain", NEEDED, &node);
	if (err)
		return err;
	err = text_of(r, node, "trust_domain", &conf->trust_domain);
	if (err)
		return err;
	len = strlen(conf->trust_domain);
	if (len > TRUST_DOMAIN_MAX)
		return yaml_fail(r->yaml, node, "trust_domain has %zu bytes, at most %d are allowed", len,
				 TRUST_DOMAIN_MAX);
	if (strspn(conf->trust_domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != len)
		return yaml_fail(r->yaml, node, "trust_domain: found \"%.80s\", wanted a-z 0-9 . - _",
				 conf->trust_domain);
	return NULL;
}

static struct writ_err *
read_folders(const struct reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct writ_err *err;

	err = read_path(r, root, "state", &conf->state);
	if (err)
		return err;
	err = read_path(r, root, "run", &conf->run);
	if (err)
		return err;
	if (strlen(conf->run) > RUN_BYTES_MAX)
		return yaml_fail(r->yaml, yaml_get(root, "run"),
				 "run is a path of %zu bytes, at most %d are allowed: sockets lie there",
				 strlen(conf->run), RUN_BYTES_MAX);
	if (strcmp(conf->run, conf->state) == 0)
		return yaml_fail(r->yaml, yaml_get(root, "run"), "run and state are the same folder");
	return NULL;
}

static struct writ_err *
read_api(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "listen", "certificate", "key", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map;
	struct writ_err *err;

	err = find_map(r, root, "api", NEEDED, keys, &map);
	if (err)
		return err;
	err = read_listen(r, map, "api.listen", &conf->api);
	if (err)
		return err;
	err = read_path(r, map, "api.certificate", &conf->api_certificate);
	if (err)
		return err;
	return read_path(r, map, "api.key", &conf->api_key);
}

/* What CRLDP and AIA begin with: absolute, nothing to interpret, nothing doubled when a path is appended. */
static const char *
url_fault(const char *url)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_~:/[]";
	const char *rest;

	if (strncmp(url, "http://", 7) == 0)
		rest = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		rest = url + 8;
	else
		return "it must begin with http:// or https://";
	if (strlen(url) > URL_MAX)
		return "it is too long for every certificate to carry";
	if (strchr(rest, '?') || strchr(rest, '#'))
		return "it must have no query and no fragment";
	if (strchr(rest, '@'))
		return "it must name no user";
	if (*rest == '\0' || *rest == '/' || *rest == ':')
		return "it names no host";
	if (rest[strlen(rest) - 1] == '/')
		return "it must not end in a slash";
	if (strspn(rest, chars) != strlen(rest) || strstr(rest, "//"))
		return "allowed are letters, digits, . - _ ~ : [ ] and single slashes";
	return NULL;
}

static struct writ_err *
read_status(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "listen", "url", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map;
	struct writ_err *err;
	const char *fault;

	err = find_map(r, root, "status", NEEDED, keys, &map);
	if (err)
		return err;
	err = read_listen(r, map, "status.listen", &conf->status);
	if (err)
		return err;
	if (conf->status.port == conf->api.port && strcmp(conf->status.host, conf->api.host) == 0)
		return yaml_fail(r->yaml, map, "status.listen and api.listen are both %s:%u", conf->api.host,
				 conf->api.port);
	err = read_text(r, map, "status.url", NEEDED, &conf->status_url);
	if (err)
		return err;
	fault = url_fault(conf->status_url);
	if (fault)
		return yaml_fail(r->yaml, yaml_get(map, "url"), "status.url: found \"%.80s\": %s", conf->status_url,
				 fault);
	return NULL;
}

static struct writ_err *
read_tpm(const struct reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_err *err;

	conf->custody.scheme = "tpm2";
	err = read_text(r, map, "custody.tpm.tcti", NEEDED, &conf->custody.tcti);
	if (err)
		return err;
	err = find(r, map, "custody.tpm.allow_software_tpm", OPTIONAL, &node);
	if (err)
		return err;
	if (node)
		err = yaml_bool(r->yaml, node, "custody.tpm.allow_software_tpm", &conf->custody.allow_software_tpm);
	if (err)
		return err;
	return read_path(r, map, "custody.tpm.auth_file", &conf->custody.auth_file);
}

/* NAME=VALUE for the module's process.  The loader's own variables would make it another module than the one named. */
static struct writ_err *
environment_check(const struct reader *r, const struct yaml_node *node, const char *text)
{
	const size_t name_len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	if (name_len == 0 || text[name_len] != '=')
		return yaml_fail(r->yaml, node, "custody.pkcs11.environment: found \"%.80s\", wanted NAME=VALUE", text);
	if (strncmp(text, "LD_", 3) == 0)
		return yaml_fail(r->yaml, node,
				 "custody.pkcs11.environment sets %.*s, which tells the loader what to load: refused",
				 (int)name_len, text);
	if (memmem(text, name_len, "PIN", 3))
		return yaml_fail(r->yaml, node,
				 "custody.pkcs11.environment sets %.*s: a PIN comes by custody.pkcs11.pin_file only",
				 (int)name_len, text);
	return NULL;
}

static struct writ_err *
read_environment(const struct reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct yaml_node *list;
	struct writ_err *err;
	const char **texts;
	size_t n = 0;

	err = find(r, map, "custody.pkcs11.environment", OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "custody.pkcs11.environment", YAML_LIST);
	if (err)
		return err;
	if (list->n_items > ENVIRONMENT_MAX)
		return yaml_fail(r->yaml, list, "custody.pkcs11.environment has %zu entries, at most %d are allowed",
				 list->n_items, ENVIRONMENT_MAX);
	texts = writ_arena_take(&conf->arena, (list->n_items + 1) * sizeof(*texts));
	if (!texts)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for the environment");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = text_of(r, node, "custody.pkcs11.environment", &texts[n]);
		if (err)
			return err;
		err = environment_check(r, node, texts[n++]);
		if (err)
			return err;
	}
	conf->custody.environment = texts;
	conf->custody.n_environment = n;
	return NULL;
}

static struct writ_err *
read_pkcs11(const struct reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct writ_err *err;

	conf->custody.scheme = "pkcs11";
	err = read_text(r, map, "custody.pkcs11.module", NEEDED, &conf->custody.module);
	if (err)
		return err;
	if (conf->custody.module[0] != '/')
		return yaml_fail(
			r->yaml, yaml_get(map, "module"),
			"custody.pkcs11.module: found \"%.80s\", wanted an absolute path: nothing is searched for",
			conf->custody.module);
	err = read_text(r, map, "custody.pkcs11.uri", NEEDED, &conf->custody.uri);
	if (err)
		return err;
	if (strncmp(conf->custody.uri, "pkcs11:", 7) != 0)
		return yaml_fail(r->yaml, yaml_get(map, "uri"),
				 "custody.pkcs11.uri must begin with pkcs11: (RFC 7512)");
	if (strstr(conf->custody.uri, "pin-value") ||
	    strstr(conf->custody.uri, "pin-source")) /* I11: not shown again */
		return yaml_fail(
			r->yaml, yaml_get(map, "uri"),
			"custody.pkcs11.uri carries a PIN attribute: a PIN comes by custody.pkcs11.pin_file only");
	err = read_path(r, map, "custody.pkcs11.pin_file", &conf->custody.pin_file);
	if (err)
		return err;
	return read_environment(r, map);
}

static struct writ_err *
read_custody(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "tier", "anchor", "tpm", "pkcs11", NULL };
	static const char *const tpm_keys[] = { "tcti", "allow_software_tpm", "auth_file", NULL };
	static const char *const pkcs11_keys[] = { "module", "uri", "pin_file", "environment", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map, *node, *tpm, *pkcs11;
	struct writ_err *err;
	struct writ_bytes anchor;
	bool sealed;

	err = find_map(r, root, "custody", NEEDED, keys, &map);
	if (err)
		return err;

	err = find(r, map, "custody.tier", NEEDED, &node);
	if (err)
		return err;
	err = word_of(r, node, "custody.tier", "resident", "sealed", &sealed);
	if (err)
		return err;
	conf->custody.tier = sealed ? TIER_SEALED : TIER_RESIDENT;

	err = find(r, map, "custody.anchor", OPTIONAL, &node);
	if (err)
		return err;
	if (node) {
		err = yaml_text(r->yaml, node, "custody.anchor", &anchor);
		if (err)
			return err;
		if (!writ_equal(anchor, WRIT_LIT("device")))
			return yaml_fail(r->yaml, node, "custody.anchor: found \"%.*s\", wanted device",
					 WRIT_FMT(anchor));
	}

	err = find_map(r, map, "custody.tpm", OPTIONAL, tpm_keys, &tpm);
	if (err)
		return err;
	err = find_map(r, map, "custody.pkcs11", OPTIONAL, pkcs11_keys, &pkcs11);
	if (err)
		return err;
	if (!tpm == !pkcs11)
		return yaml_fail(r->yaml, map, "custody has %s of tpm and pkcs11, wanted is one",
				 tpm ? "both" : "neither");
	return tpm ? read_tpm(r, tpm) : read_pkcs11(r, pkcs11);
}

static struct writ_err *
template_fail(const struct reader *r, const struct yaml_node *node, const char *text, const char *why)
{
	return yaml_fail(r->yaml, node, "delegators.principal: found \"%.60s\": %s", text, why);
}

/*
 * "spiffe://TD/human/ALIAS/{...}" or "spiffe://TD/service/.../{...}/...", or {SAN:URI} alone.  The placeholder fills a
 * whole segment, so that no certificate can put a slash, or half of another name, into a principal (delegation.md 7).
 */
static struct writ_err *
template_check(const struct reader *r, const struct yaml_node *node, const char *text, enum conf_kind kind)
{
	static const char *const placeholders[] = { "{CN}", "{SAN:URI}", "{SAN:email}", "{SAN:dns}" };
	const char *kind_name = kind == CONF_HUMAN ? "human" : "service";
	char prefix[16 + TRUST_DOMAIN_MAX + 16];
	unsigned n_segments = 0, n_placeholders = 0;
	bool first_is_placeholder = false;
	const char *at, *end;

	if (strcmp(text, "{SAN:URI}") == 0)
		return NULL;
	if (strlen(text) > PRINCIPAL_MAX)
		return template_fail(r, node, text, "over the 512 bytes of a principal");
	snprintf(prefix, sizeof(prefix), "spiffe://%s/%s/", r->conf->trust_domain, kind_name);
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return yaml_fail(r->yaml, node, "delegators.principal: found \"%.60s\", wanted {SAN:URI} or %s...",
				 text, prefix);

	for (at = text + strlen(prefix);; at = end + 1) {
		const size_t len = strcspn(at, "/");
		bool placeholder = false;

		end = at + len;
		for (size_t i = 0; i < N_OF(placeholders); i++)
			placeholder |= len == strlen(placeholders[i]) && memcmp(at, placeholders[i], len) == 0;
		if (!placeholder && (len == 0 || strspn(at, segment_chars) < len))
			return template_fail(
				r, node, text,
				"a segment is one of {CN} {SAN:URI} {SAN:email} {SAN:dns}, or of A-Z a-z 0-9 . _ -");
		if ((len == 1 && at[0] == '.') || (len == 2 && memcmp(at, "..", 2) == 0))
			return template_fail(r, node, text, "a segment is . or ..");
		if (n_segments++ == 0)
			first_is_placeholder = placeholder;
		n_placeholders += placeholder;
		if (*end == '\0')
			break;
	}
	if (n_placeholders != 1)
		return template_fail(r, node, text, "wanted is exactly one placeholder");
	if (kind == CONF_HUMAN && (n_segments != 2 || first_is_placeholder))
		return template_fail(r, node, text, "a human is .../human/ALIAS/{...}");
	return NULL;
}

static struct writ_err *
read_revocation(const struct reader *r, const struct yaml_node *map, struct conf_delegators *ret)
{
	static const char *const keys[] = { "crl", "max_age", NULL };
	struct yaml_node *node, *age;
	struct writ_bytes text;
	struct writ_err *err;

	node = yaml_get(map, "revocation");
	if (!node)
		return yaml_fail(r->yaml, map,
				 "delegators.revocation is missing: say none, or {crl: FILE, max_age: DURATION}");
	if (node->kind == YAML_TEXT) {
		err = yaml_text(r->yaml, node, "delegators.revocation", &text);
		if (err)
			return err;
		if (!writ_equal(text, WRIT_LIT("none")))
			return yaml_fail(
				r->yaml, node,
				"delegators.revocation: found \"%.*s\", wanted none, or {crl: FILE, max_age: DURATION}",
				WRIT_FMT(text));
		ret->revocation = CONF_REVOCATION_NONE;
		return NULL;
	}
	err = yaml_kind_is(r->yaml, node, "delegators.revocation", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, node, keys);
	if (err)
		return err;
	ret->revocation = CONF_REVOCATION_CRL;
	err = read_path(r, node, "delegators.revocation.crl", &ret->crl);
	if (err)
		return err;
	err = find(r, node, "delegators.revocation.max_age", NEEDED, &age);
	if (err)
		return err;
	return yaml_duration(r->yaml, age, "delegators.revocation.max_age", 60, 30 * 86400, &ret->crl_max_age_s);
}

static struct writ_err *
read_delegator(const struct reader *r, const struct yaml_node *map, struct conf_delegators *ret)
{
	static const char *const keys[] = { "anchors", "kind", "principal", "revocation", NULL };
	struct yaml_node *node;
	struct writ_err *err;
	bool service;

	ret->line = map->line;
	err = yaml_kind_is(r->yaml, map, "an entry of delegators", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, map, keys);
	if (err)
		return err;
	err = read_path(r, map, "delegators.anchors", &ret->anchors);
	if (err)
		return err;
	err = find(r, map, "delegators.kind", NEEDED, &node);
	if (err)
		return err;
	err = word_of(r, node, "delegators.kind", "human", "service", &service); /* I7: an agent is never configured */
	if (err)
		return err;
	ret->kind = service ? CONF_SERVICE : CONF_HUMAN;
	err = find(r, map, "delegators.principal", NEEDED, &node);
	if (err)
		return err;
	err = text_of(r, node, "delegators.principal", &ret->principal);
	if (err)
		return err;
	err = template_check(r, node, ret->principal, ret->kind);
	if (err)
		return err;
	return read_revocation(r, map, ret);
}

static struct writ_err *
read_delegators(const struct reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct conf_delegators *all;
	struct yaml_node *list;
	struct writ_err *err;
	size_t n = 0;

	err = find(r, root, "delegators", NEEDED, &list);
	if (err)
		return err;
	err = yaml_kind_is(r->yaml, list, "delegators", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > DELEGATORS_MAX)
		return yaml_fail(r->yaml, list, "delegators has %zu entries, allowed are 1 to %d", list->n_items,
				 DELEGATORS_MAX);
	all = writ_arena_take(&conf->arena, list->n_items * sizeof(*all));
	if (!all)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for the delegators");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = read_delegator(r, node, &all[n++]);
		if (err)
			return err;
	}
	conf->delegators = all;
	conf->n_delegators = n;
	return NULL;
}

static struct writ_err *
read_limits(const struct reader *r, const struct yaml_node *root)
{
	struct conf_limits *limits = &r->conf->limits;
	const struct {
		const char *what;
		uint32_t preset, max;
		uint32_t *ret;
	} all[] = {
		{ "limits.connections", 10000, 1000000, &limits->connections },
		{ "limits.connections_per_address", 1000, 1000000, &limits->connections_per_address },
		{ "limits.requests_per_principal_s", 1000, 1000000, &limits->requests_per_principal_s },
		{ "limits.handshakes_s", 500, 100000, &limits->handshakes_s },
		{ "limits.leaves_per_edge", 16, 1000, &limits->leaves_per_edge },
		{ "limits.children_per_edge", 100, 10000, &limits->children_per_edge },
	};
	const char *keys[N_OF(all) + 1] = { NULL };
	struct yaml_node *map;
	struct writ_err *err;

	for (size_t i = 0; i < N_OF(all); i++) {
		keys[i] = key_of(all[i].what);
		*all[i].ret = all[i].preset;
	}
	err = find_map(r, root, "limits", OPTIONAL, keys, &map);
	if (err || !map)
		return err;
	for (size_t i = 0; i < N_OF(all); i++) {
		err = read_number(r, map, all[i].what, all[i].max, all[i].ret);
		if (err)
			return err;
	}
	return NULL;
}

/* The log's origin is for ever: it names the log in every checkpoint and, hashed, in every leaf. */
static struct writ_err *
read_log(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "origin", "node", NULL };
	struct conf *conf = r->conf;
	char origin[TRUST_DOMAIN_MAX + 64];
	const char *node_name = "n1";
	struct yaml_node *map;
	struct writ_err *err;

	err = find_map(r, root, "log", OPTIONAL, keys, &map);
	if (err)
		return err;
	if (map) {
		err = read_text(r, map, "log.node", OPTIONAL, &node_name);
		if (err)
			return err;
		if (strlen(node_name) > 32 || strspn(node_name, lower_digits) != strlen(node_name))
			return yaml_fail(r->yaml, yaml_get(map, "node"),
					 "log.node: found \"%.80s\", wanted 1 to 32 of a-z 0-9", node_name);
		err = read_text(r, map, "log.origin", OPTIONAL, &conf->log_origin);
		if (err)
			return err;
	}
	if (!conf->log_origin) {
		snprintf(origin, sizeof(origin), "%s/writ/%s", conf->trust_domain, node_name);
		return keep(r, writ_str(origin), &conf->log_origin);
	}
	if (strlen(conf->log_origin) > ORIGIN_MAX ||
	    strspn(conf->log_origin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") !=
		    strlen(conf->log_origin))
		return yaml_fail(r->yaml, yaml_get(map, "origin"),
				 "log.origin: found \"%.80s\", wanted 1 to %d of A-Z a-z 0-9 . _ - /", conf->log_origin,
				 ORIGIN_MAX);
	return NULL;
}

static struct writ_err *
read_users(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "issuer", "signer", "device", "log_group", NULL };
	struct conf *conf = r->conf;
	const struct {
		const char *what;
		const char **ret;
	} all[] = {
		{ "users.issuer", &conf->users.issuer },
		{ "users.signer", &conf->users.signer },
		{ "users.device", &conf->users.device },
		{ "users.log_group", &conf->users.log_group },
	};
	struct yaml_node *map;
	struct writ_err *err;

	err = find_map(r, root, "users", OPTIONAL, keys, &map);
	if (err || !map)
		return err;
	for (size_t i = 0; i < N_OF(all); i++) {
		err = read_text(r, map, all[i].what, OPTIONAL, all[i].ret);
		if (err)
			return err;
		if (*all[i].ret &&
		    (strlen(*all[i].ret) > 32 || strchr("0123456789-", **all[i].ret) ||
		     strspn(*all[i].ret, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(*all[i].ret)))
			return yaml_fail(
				r->yaml, yaml_get(map, key_of(all[i].what)),
				"%s: found \"%.80s\", wanted a name of 1 to 32 of a-z 0-9 _ -, beginning with a "
				"letter or _",
				all[i].what, *all[i].ret);
	}
	return NULL;
}

static struct writ_err *
read_process(const struct reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_bytes text;
	struct writ_err *err;
	uint32_t threads = 1;

	err = read_number(r, root, "threads", 64, &threads);
	if (err)
		return err;
	conf->threads = threads;

	conf->log_level = EVENT_INFO;
	err = find(r, root, "log_level", OPTIONAL, &node);
	if (err || !node)
		return err;
	err = yaml_text(r->yaml, node, "log_level", &text);
	if (err)
		return err;
	if (!event_level_from(text, &conf->log_level))
		return yaml_fail(r->yaml, node, "log_level: found \"%.*s\", wanted debug, info, warn or alarm",
				 WRIT_FMT(text));
	return NULL;
}

static struct writ_err *
read_root(const struct reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "version", "trust_domain", "state",	     "run",	  "api",
					    "status",  "custody",      "delegators", "policy",	  "limits",
					    "log",     "users",	       "threads",    "log_level", NULL };
	static struct writ_err *(*const readers[])(const struct reader *, const struct yaml_node *) = {
		read_version,	 read_trust_domain, read_folders, read_api,   read_status,  read_custody,
		read_delegators, read_limits,	    read_log,	  read_users, read_process,
	};
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, root, "the configuration", YAML_MAP);
	if (err)
		return err;
	err = yaml_only(r->yaml, root, keys);
	if (err)
		return err;
	for (size_t i = 0; i < N_OF(readers); i++) {
		err = readers[i](r, root);
		if (err)
			return err;
	}
	return read_path(r, root, "policy", &r->conf->policy);
}

static struct writ_err *
parse_into(const char *name, const char *dir, struct writ_bytes text, struct conf *conf)
{
	AUTO(yaml_done) struct yaml yaml = { 0 };
	const struct reader r = { .yaml = &yaml, .dir = dir, .conf = conf };
	struct writ_err *err;

	conf->arena = WRIT_ARENA(ARENA_LIMIT);
	conf->api = (struct conf_address){ .host = "127.0.0.1", .port = 8443 };
	conf->status = (struct conf_address){ .host = "127.0.0.1", .port = 8080 };
	writ_sha256(text, conf->digest);
	err = keep(&r, writ_str(name), &conf->path);
	if (err)
		return err;
	err = yaml_parse(&yaml, name, text);
	if (err)
		return err;
	if (!yaml.root)
		return writ_fail(WRIT_INVALID, "%s: the file is empty", name);
	return read_root(&r, yaml.root);
}

struct writ_err *
conf_parse(const char *name, const char *dir, struct writ_bytes text, struct conf *ret)
{
	struct writ_err *err;

	*ret = (struct conf){ 0 };
	err = parse_into(name, dir, text, ret);
	if (err)
		conf_done(ret);
	return err;
}

struct writ_err *
conf_read(const char *path, struct conf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX], dir[PATH_MAX];
	struct writ_err *err;

	*ret = (struct conf){ 0 };
	if (strlen(path) >= sizeof(folder))
		return writ_fail(WRIT_INVALID, "configuration: a path of %zu bytes, at most %d are allowed",
				 strlen(path), PATH_MAX - 1);
	err = file_read(path, FILE_CONFIG, &text);
	if (err)
		return writ_because(err, "configuration");
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	else
		snprintf(folder, sizeof(folder), ".");
	if (!realpath(folder, dir))
		return writ_fail(WRIT_UNAVAILABLE, "configuration: the folder of %.80s cannot be resolved", path);
	return conf_parse(path, strcmp(dir, "/") == 0 ? "" : dir, writ_view(&text), ret);
}

void
conf_done(struct conf *conf)
{
	if (!conf)
		return;
	writ_arena_done(&conf->arena);
	*conf = (struct conf){ 0 };
}

char *
conf_path(const char *dir, const char *name, char *out)
{
	snprintf(out, 4096, "%s/%s", dir, name);
	return out;
}
