/*
 * writ.yaml: from text to a checked struct.
 *
 * One reader a top key, in the file's order (the larger ones in custody.c, delegators.c, grants.c and oidc.c); each names the key in full
 * ("api.listen") when it refuses.  Knows the grammar of values and how they exclude each other.  Opens no file but
 * writ.yaml: whether a certificate is there is for its user to find.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/conf/reader.h"

#define RUN_BYTES_MAX 90 /* a socket's path ends at 107 bytes: room for "/" and the longest name we put there */
#define URL_MAX 200	 /* stands in every certificate, twice */
#define CRL_SHARD_ENTRIES_MAX 5000000 /* what a list holds at most: 245 MB */
#define ORIGIN_MAX 200

static const char lower_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";

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

struct writ_err *
conf_listen(const struct conf_reader *r, const struct yaml_node *map, const char *what, struct conf_address *ret)
{
	struct yaml_node *node;
	struct writ_err *err;
	const char *text;

	err = conf_find(r, map, what, READER_OPTIONAL, &node);
	if (err || !node)
		return err;
	err = conf_text_of(r, node, what, &text);
	if (err)
		return err;
	if (!address_from(text, ret))
		return yaml_fail(r->yaml, node, "%s: found \"%.80s\", wanted IP:PORT, as 127.0.0.1:8443 or [::1]:8443",
				 what, text);
	return NULL;
}

struct writ_err *
conf_version(const struct conf_reader *r, const struct yaml_node *root)
{
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t version;

	err = conf_find(r, root, "version", READER_NEEDED, &node);
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
read_trust_domain(const struct conf_reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_err *err;
	size_t len;

	err = conf_find(r, root, "trust_domain", READER_NEEDED, &node);
	if (err)
		return err;
	err = conf_text_of(r, node, "trust_domain", &conf->trust_domain);
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
read_folders(const struct conf_reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct writ_err *err;

	err = conf_file_path(r, root, "state", &conf->state);
	if (err)
		return err;
	err = conf_file_path(r, root, "run", &conf->run);
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
read_api(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "listen", "certificate", "key", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "api", READER_NEEDED, keys, &map);
	if (err)
		return err;
	err = conf_listen(r, map, "api.listen", &conf->api);
	if (err)
		return err;
	err = conf_file_path(r, map, "api.certificate", &conf->api_certificate);
	if (err)
		return err;
	return conf_file_path(r, map, "api.key", &conf->api_key);
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
read_status(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "listen", "url", "crl_shard_entries", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map;
	struct writ_err *err;
	const char *fault;

	err = conf_map(r, root, "status", READER_NEEDED, keys, &map);
	if (err)
		return err;
	err = conf_listen(r, map, "status.listen", &conf->status);
	if (err)
		return err;
	if (conf->status.port == conf->api.port && strcmp(conf->status.host, conf->api.host) == 0)
		return yaml_fail(r->yaml, map, "status.listen and api.listen are both %s:%u", conf->api.host,
				 conf->api.port);
	err = conf_text(r, map, "status.url", READER_NEEDED, &conf->status_url);
	if (err)
		return err;
	fault = url_fault(conf->status_url);
	if (fault)
		return yaml_fail(r->yaml, yaml_get(map, "url"), "status.url: found \"%.80s\": %s", conf->status_url,
				 fault);
	return conf_number(r, map, "status.crl_shard_entries", CRL_SHARD_ENTRIES_MAX, &conf->crl_shard_entries);
}

static struct writ_err *
read_limits(const struct conf_reader *r, const struct yaml_node *root)
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
		{ "limits.requests_per_delegator_s", 0, 1000000, &limits->requests_per_delegator_s },
		{ "limits.under_way", 96, 1024, &limits->under_way },
		{ "limits.waiting", 2048, 16384, &limits->waiting },
		{ "limits.wait_ms", 2000, 10000, &limits->wait_ms },
		{ "limits.handshakes_s", 500, 100000, &limits->handshakes_s },
		{ "limits.leaves_per_edge", 16, 1000, &limits->leaves_per_edge },
		{ "limits.children_per_edge", 100, 10000, &limits->children_per_edge },
		{ "limits.ocsp_nonces_s", 200, 1000000, &limits->ocsp_nonces_s },
		{ "limits.ocsp_misses_s", 5000, 1000000, &limits->ocsp_misses_s },
	};
	const char *keys[N_OF(all) + 1] = { NULL };
	struct yaml_node *map;
	struct writ_err *err;

	for (size_t i = 0; i < N_OF(all); i++) {
		keys[i] = conf_key(all[i].what);
		*all[i].ret = all[i].preset;
	}
	err = conf_map(r, root, "limits", READER_OPTIONAL, keys, &map);
	if (err)
		return err;
	for (size_t i = 0; map && i < N_OF(all); i++) {
		err = conf_number(r, map, all[i].what, all[i].max, all[i].ret);
		if (err)
			return err;
	}
	if (limits->requests_per_delegator_s == 0)
		limits->requests_per_delegator_s = 2 * limits->requests_per_principal_s;
	return NULL;
}

/* The log's origin is for ever: it names the log in every checkpoint and, hashed, in every leaf. */
static struct writ_err *
read_log(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "origin", "node", NULL };
	struct conf *conf = r->conf;
	char origin[TRUST_DOMAIN_MAX + 64];
	const char *node_name = "n1";
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "log", READER_OPTIONAL, keys, &map);
	if (err)
		return err;
	if (map) {
		err = conf_text(r, map, "log.node", READER_OPTIONAL, &node_name);
		if (err)
			return err;
		if (strlen(node_name) > 32 || strspn(node_name, lower_digits) != strlen(node_name))
			return yaml_fail(r->yaml, yaml_get(map, "node"),
					 "log.node: found \"%.80s\", wanted 1 to 32 of a-z 0-9", node_name);
		err = conf_text(r, map, "log.origin", READER_OPTIONAL, &conf->log_origin);
		if (err)
			return err;
	}
	if (!conf->log_origin) {
		snprintf(origin, sizeof(origin), "%s/writ/%s", conf->trust_domain, node_name);
		return conf_keep(r, writ_str(origin), &conf->log_origin);
	}
	if (strlen(conf->log_origin) > ORIGIN_MAX ||
	    strspn(conf->log_origin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") !=
		    strlen(conf->log_origin))
		return yaml_fail(r->yaml, yaml_get(map, "origin"),
				 "log.origin: found \"%.80s\", wanted 1 to %d of A-Z a-z 0-9 . _ - /", conf->log_origin,
				 ORIGIN_MAX);
	return NULL;
}

struct writ_err *
conf_user(const struct conf_reader *r, const struct yaml_node *map, const char *what, const char **ret)
{
	struct writ_err *err = conf_text(r, map, what, READER_OPTIONAL, ret);

	if (err || !*ret)
		return err;
	if (strlen(*ret) > 32 || strchr("0123456789-", **ret) ||
	    strspn(*ret, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(*ret))
		return yaml_fail(r->yaml, yaml_get(map, conf_key(what)),
				 "%s: found \"%.80s\", wanted a name of 1 to 32 of a-z 0-9 _ -, beginning with a "
				 "letter or _",
				 what, *ret);
	return NULL;
}

static struct writ_err *
read_users(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "issuer", "signer", "device", "fetch", "operator", "log_group", NULL };
	struct conf *conf = r->conf;
	const struct {
		const char *what;
		const char **ret;
	} all[] = {
		{ "users.issuer", &conf->users.issuer },
		{ "users.signer", &conf->users.signer },
		{ "users.device", &conf->users.device },
		{ "users.fetch", &conf->users.fetch },
		{ "users.operator", &conf->users.operator },
		{ "users.log_group", &conf->users.log_group },
	};
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "users", READER_OPTIONAL, keys, &map);
	if (err || !map)
		return err;
	for (size_t i = 0; i < N_OF(all); i++) {
		err = conf_user(r, map, all[i].what, all[i].ret);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
conf_process(const struct conf_reader *r, const struct yaml_node *root)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_bytes text;
	struct writ_err *err;
	uint32_t threads = 1;

	err = conf_number(r, root, "threads", 64, &threads);
	if (err)
		return err;
	conf->threads = threads;

	conf->log_level = EVENT_INFO;
	err = conf_find(r, root, "log_level", READER_OPTIONAL, &node);
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
read_root(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "version", "trust_domain", "state",	     "run",	  "api",
					    "status",  "custody",      "delegators", "grants",	  "oidc",
					    "policy",
					    "limits",  "log",	       "users",	     "threads",	  "log_level",
					    NULL };
	static struct writ_err *(*const readers[])(const struct conf_reader *, const struct yaml_node *) = {
		conf_version,	 read_trust_domain, read_folders, read_api,   read_status,  conf_custody,
		conf_delegators, conf_oidc,	    conf_grants,  read_limits,  read_log,     read_users,
		conf_process,
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
	return conf_file_path(r, root, "policy", &r->conf->policy);
}

static struct writ_err *
parse_into(const char *name, const char *dir, struct writ_bytes text, struct conf *conf)
{
	AUTO(yaml_done) struct yaml yaml = { 0 };
	const struct conf_reader r = { .yaml = &yaml, .dir = dir, .conf = conf };
	struct writ_err *err;

	conf->arena = WRIT_ARENA(CONF_ARENA_MAX);
	conf->api = (struct conf_address){ .host = "127.0.0.1", .port = 8443 };
	conf->status = (struct conf_address){ .host = "127.0.0.1", .port = 8080 };
	writ_sha256(text, conf->digest);
	err = conf_keep(&r, writ_str(name), &conf->path);
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
conf_file_read(const char *path, struct writ_buf *ret, char dir[CONF_DIR_MAX])
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX], resolved[PATH_MAX];
	struct writ_err *err;

	if (strlen(path) >= sizeof(folder))
		return writ_fail(WRIT_INVALID, "configuration: a path of %zu bytes, at most %d are allowed",
				 strlen(path), PATH_MAX - 1);
	err = file_read(path, FILE_CONFIG, ret);
	if (err)
		return writ_because(err, "configuration");
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	else
		snprintf(folder, sizeof(folder), ".");
	if (!realpath(folder, resolved))
		return writ_fail(WRIT_UNAVAILABLE, "configuration: the folder of %.80s cannot be resolved", path);
	snprintf(dir, CONF_DIR_MAX, "%s", strcmp(resolved, "/") == 0 ? "" : resolved);
	return NULL;
}

struct writ_err *
conf_read(const char *path, struct conf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	char dir[CONF_DIR_MAX];
	struct writ_err *err;

	*ret = (struct conf){ 0 };
	err = conf_file_read(path, &text, dir);
	return err ? err : conf_parse(path, dir, writ_view(&text), ret);
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
