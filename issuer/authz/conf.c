/*
 * authz.yaml to a struct: every key that is not known, and every value that could be read in two ways, is refused with
 * its place.
 */
#include "issuer/authz/conf.h"

#include <arpa/inet.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"
#include "issuer/authz/url.h"
#include "policy/names.h"

#define CONF_MEMORY (2 * 1024 * 1024) /* 1000 routes of long patterns */
#define METHOD_MAX 32

struct reader {
	const struct yaml *yaml;
	const char *dir;
	struct authz_conf *conf;
};

static struct writ_err *
keep(const struct reader *r, struct writ_bytes text, const char **ret)
{
	const struct writ_bytes copy = writ_arena_copy(&r->conf->arena, text);

	if (!copy.data)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for %zu bytes", text.len);
	*ret = (const char *)copy.data;
	return NULL;
}

static struct writ_err *
text_of(const struct reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	struct writ_bytes text;
	struct writ_err *err;

	err = yaml_text(r->yaml, node, what, &text);
	if (err)
		return err;
	if (text.len == 0 || !writ_is_clean_utf8(text))
		return yaml_fail(r->yaml, node, "%s is %s", what, text.len ? "no clean text" : "empty");
	return keep(r, text, ret);
}

static struct writ_err *
needed(const struct reader *r, const struct yaml_node *map, const char *key, const struct yaml_node **ret)
{
	*ret = yaml_get(map, key);
	return *ret ? NULL : yaml_fail(r->yaml, map, "%s is missing", key);
}

static struct writ_err *
path_of(const struct reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	char path[PATH_MAX];
	struct writ_err *err;
	int n;

	err = text_of(r, node, what, ret);
	if (err || **ret == '/')
		return err;
	n = snprintf(path, sizeof(path), "%s/%s", r->dir, *ret);
	if (n < 0 || (size_t)n >= sizeof(path))
		return yaml_fail(r->yaml, node, "%s is a path of over %d bytes", what, PATH_MAX - 1);
	return keep(r, writ_str(path), ret);
}

/* A list of 1 to `max` things; `fn` reads one. */
static struct writ_err *
list_of(const struct reader *r, const struct yaml_node *node, const char *what, size_t max,
	struct writ_err *(*fn)(const struct reader *, const struct yaml_node *))
{
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, node, what, YAML_LIST);
	if (err)
		return err;
	if (node->n_items == 0 || node->n_items > max)
		return yaml_fail(r->yaml, node, "%s has %zu entries, 1 to %zu are allowed", what, node->n_items, max);
	for (const struct yaml_node *item = node->first; item && !err; item = item->next)
		err = fn(r, item);
	return err;
}

/* ---- where to listen ---- */

static bool
is_loopback(const char *address)
{
	struct in_addr in;
	struct in6_addr in6;

	if (inet_pton(AF_INET, address, &in) == 1)
		return ntohl(in.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}

static struct writ_err *
loopback_of(const struct reader *r, const struct yaml_node *node, const char *text)
{
	const char *colon = strrchr(text, ':');
	struct writ_bytes address = { (const uint8_t *)text, colon ? (size_t)(colon - text) : 0 };
	struct writ_err *err;
	uint64_t port = 0;

	if (address.len > 2 && address.data[0] == '[' && address.data[address.len - 1] == ']')
		address = (struct writ_bytes){ address.data + 1, address.len - 2 };
	err = keep(r, address, &r->conf->address);
	if (err)
		return err;
	if (!colon || !writ_decimal(writ_str(colon + 1), 65535, &port) || !is_loopback(r->conf->address))
		return yaml_fail(r->yaml, node,
				 "listen: '%.80s' is neither unix:/PATH nor ADDRESS:PORT of a loopback interface: "
				 "whoever reaches it may ask about any certificate",
				 text);
	r->conf->port = (unsigned)port;
	return NULL;
}

static struct writ_err *
read_listen(const struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *node, *group = yaml_get(root, "socket_group");
	struct writ_err *err;
	const char *text;

	err = needed(r, root, "listen", &node);
	if (!err)
		err = text_of(r, node, "listen", &text);
	if (err)
		return err;
	if (strncmp(text, "unix:/", 6) == 0)
		r->conf->socket = text + 5;
	else
		err = loopback_of(r, node, text);
	if (err || !group)
		return err;
	if (!r->conf->socket)
		return yaml_fail(r->yaml, group, "socket_group: there is no socket in the file system");
	return text_of(r, group, "socket_group", &r->conf->socket_group);
}

/* ---- what is trusted and demanded ---- */

static struct writ_err *
read_anchor(const struct reader *r, const struct yaml_node *item)
{
	static const char *const keys[] = { "certificate", "trust_domain", NULL };
	struct authz_anchor *anchor = &r->conf->anchors[r->conf->n_anchors];
	const struct yaml_node *certificate, *domain;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "an anchor", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, item, keys);
	if (!err)
		err = needed(r, item, "certificate", &certificate);
	if (!err)
		err = path_of(r, certificate, "certificate", &anchor->certificate);
	if (!err)
		err = needed(r, item, "trust_domain", &domain);
	if (!err)
		err = text_of(r, domain, "trust_domain", &anchor->trust_domain);
	if (err)
		return err;
	err = trust_domain_check(writ_str(anchor->trust_domain));
	if (err)
		return writ_because(err, "%s:%u", r->yaml->name, domain->line);
	r->conf->n_anchors++;
	return NULL;
}

/* A resource that is no pattern. */
static struct writ_err *
resource_of(const struct reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	struct writ_err *err;

	err = text_of(r, node, what, ret);
	if (err)
		return err;
	err = resource_check(writ_str(*ret));
	if (err)
		return writ_because(err, "%s:%u: %s", r->yaml->name, node->line, what);
	if (resource_is_pattern(writ_str(*ret)))
		return yaml_fail(r->yaml, node, "%s is a pattern: name one resource", what);
	return NULL;
}

static struct writ_err *
read_identity(const struct reader *r, const struct yaml_node *item)
{
	return resource_of(r, item, "an identity", &r->conf->identities[r->conf->n_identities++]);
}

static struct writ_err *
read_acr(const struct reader *r, const struct yaml_node *item)
{
	return text_of(r, item, "an acr", &r->conf->acrs[r->conf->n_acrs++]);
}

static struct writ_err *
read_policy(const struct reader *r, const struct yaml_node *item)
{
	struct writ_bytes text;
	struct writ_err *err;

	err = yaml_text(r->yaml, item, "a policy", &text);
	if (err)
		return err;
	if (!writ_unhex(text, r->conf->policies[r->conf->n_policies++], 32))
		return yaml_fail(r->yaml, item, "a policy is named by its SHA-256: 64 hex digits");
	return NULL;
}

static const struct {
	const char *name;
	enum writ_option option;
	uint64_t max; /* 1: true or false */
} options[] = {
	{ "allow_software", WRIT_ALLOW_SOFTWARE, 1 },
	{ "any_audience", WRIT_ANY_AUDIENCE, 1 },
	{ "demand_status", WRIT_DEMAND_STATUS, 1 },
	{ "soft_fail", WRIT_SOFT_FAIL, 1 },
	{ "allow_no_rev", WRIT_ALLOW_NO_REV, 1 },
	{ "demand_human", WRIT_DEMAND_HUMAN, 1 },
	{ "hops_max", WRIT_HOPS_MAX, 8 },
	{ "demand_attested", WRIT_DEMAND_ATTESTED, 1 },
	{ "demand_ca_status", WRIT_DEMAND_CA_STATUS, 1 },
};

static struct writ_err *
read_option(const struct reader *r, const struct yaml_node *node)
{
	struct authz_conf *conf = r->conf;
	struct writ_err *err;
	uint64_t number;
	bool flag;

	for (size_t i = 0; i < N_OF(options); i++) {
		if (!writ_equal(node->key, writ_str(options[i].name)))
			continue;
		if (options[i].max == 1) {
			err = yaml_bool(r->yaml, node, options[i].name, &flag);
			number = flag;
		} else {
			err = yaml_number(r->yaml, node, options[i].name, 1, options[i].max, &number);
		}
		if (err)
			return err;
		conf->options[conf->n_options].option = options[i].option;
		conf->options[conf->n_options++].value = (int)number;
		return NULL;
	}
	return yaml_fail(r->yaml, node, "options: '%.*s' is none", WRIT_FMT(node->key));
}

static struct writ_err *
read_demands(const struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *node;
	struct writ_err *err;
	bool any_audience = false;

	err = needed(r, root, "anchors", &node);
	if (!err)
		err = list_of(r, node, "anchors", AUTHZ_ANCHORS_MAX, read_anchor);
	if (!err && (node = yaml_get(root, "options"))) {
		err = yaml_kind_is(r->yaml, node, "options", YAML_MAP);
		for (const struct yaml_node *item = node->first; !err && item; item = item->next)
			err = read_option(r, item);
	}
	for (size_t i = 0; !err && i < r->conf->n_options; i++)
		any_audience |= r->conf->options[i].option == WRIT_ANY_AUDIENCE && r->conf->options[i].value;
	if (!err && (node = yaml_get(root, "identities")))
		err = list_of(r, node, "identities", AUTHZ_IDENTITIES_MAX, read_identity);
	if (!err && r->conf->n_identities == 0 && !any_audience)
		err = yaml_fail(r->yaml, root,
				"identities is missing: who are we, as the audience of an agent names us?");
	if (!err && (node = yaml_get(root, "policies")))
		err = list_of(r, node, "policies", AUTHZ_POLICIES_MAX, read_policy);
	if (!err && (node = yaml_get(root, "acr")))
		err = list_of(r, node, "acr", AUTHZ_ACRS_MAX, read_acr);
	return err;
}

/* ---- which request is which action ---- */

static struct writ_err *
read_method(const struct reader *r, struct authz_route *route, const struct yaml_node *item)
{
	struct writ_bytes text;
	struct writ_err *err;
	const char *kept = NULL; /* the compiler does not know that writ_fail() never returns NULL */

	err = yaml_text(r->yaml, item, "a method", &text);
	if (err)
		return err;
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 'A' || text.data[i] > 'Z')
			text.len = 0;
	if (text.len == 0 || text.len > METHOD_MAX)
		return yaml_fail(r->yaml, item, "a method is written in capital letters, at most %d: GET", METHOD_MAX);
	err = keep(r, text, &kept);
	if (err)
		return err;
	route->methods[route->n_methods++] = writ_str(kept);
	return NULL;
}

static struct writ_err *
read_path(const struct reader *r, struct authz_route *route, const struct yaml_node *node)
{
	AUTO(writ_buf_done) struct writ_buf pattern = WRIT_BUF(4096);
	struct writ_bytes text;
	struct writ_err *err;

	err = yaml_text(r->yaml, node, "path", &text);
	if (err)
		return err;
	if (text.len == 0 || text.data[0] != '/')
		return yaml_fail(r->yaml, node, "path does not begin with '/'");
	if (text.len == 1)
		text.len = 0; /* the prefix itself */
	err = writ_buf_add(&pattern, writ_str(r->conf->prefix));
	if (!err)
		err = writ_buf_add(&pattern, text);
	if (!err)
		err = resource_check(writ_view(&pattern));
	if (err)
		return writ_because(err, "%s:%u: path", r->yaml->name, node->line);
	return keep(r, writ_view(&pattern), &route->pattern);
}

static struct writ_err *
read_action(const struct reader *r, struct authz_route *route, const struct yaml_node *node)
{
	struct writ_err *err;

	err = text_of(r, node, "action", &route->action);
	if (err)
		return err;
	err = action_check(writ_str(route->action));
	if (err)
		return writ_because(err, "%s:%u: action", r->yaml->name, node->line);
	if (action_is_pattern(writ_str(route->action)))
		return yaml_fail(r->yaml, node, "action is a pattern: a request is one action");
	return NULL;
}

static struct writ_err *
read_route(const struct reader *r, const struct yaml_node *item)
{
	static const char *const keys[] = { "methods", "path", "action", NULL };
	struct authz_route *route = &r->conf->routes[r->conf->n_routes];
	const struct yaml_node *methods, *path, *action;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, item, "a route", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, item, keys);
	if (!err)
		err = needed(r, item, "methods", &methods);
	if (!err)
		err = needed(r, item, "path", &path);
	if (!err)
		err = needed(r, item, "action", &action);
	if (!err)
		err = yaml_kind_is(r->yaml, methods, "methods", YAML_LIST);
	if (err)
		return err;
	if (methods->n_items == 0 || methods->n_items > AUTHZ_METHODS_MAX)
		return yaml_fail(r->yaml, methods, "methods has %zu entries, 1 to %d are allowed", methods->n_items,
				 AUTHZ_METHODS_MAX);
	for (const struct yaml_node *m = methods->first; m && !err; m = m->next)
		err = read_method(r, route, m);
	if (!err)
		err = read_path(r, route, path);
	if (!err)
		err = read_action(r, route, action);
	if (!err)
		r->conf->n_routes++;
	return err;
}

static struct writ_err *
read_routes(const struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *node;
	struct writ_err *err;

	err = needed(r, root, "prefix", &node);
	if (!err)
		err = resource_of(r, node, "prefix", &r->conf->prefix);
	if (!err)
		err = needed(r, root, "routes", &node);
	if (!err)
		err = yaml_kind_is(r->yaml, node, "routes", YAML_LIST);
	if (err)
		return err;
	r->conf->routes = writ_arena_take(&r->conf->arena, (node->n_items + 1) * sizeof(*r->conf->routes));
	if (!r->conf->routes)
		return yaml_fail(r->yaml, node, "routes: no memory for %zu", node->n_items);
	return list_of(r, node, "routes", AUTHZ_ROUTES_MAX, read_route);
}

/* ---- the whole ---- */

static struct writ_err *
read_rest(const struct reader *r, const struct yaml_node *root)
{
	struct authz_conf *conf = r->conf;
	const struct yaml_node *node;
	struct writ_bytes level;
	struct writ_err *err;
	uint64_t number;

	err = needed(r, root, "version", &node);
	if (!err)
		err = yaml_number(r->yaml, node, "version", 1, 1, &number);
	if (!err)
		err = needed(r, root, "lists", &node);
	if (!err)
		err = path_of(r, node, "lists", &conf->lists);
	if (!err && (node = yaml_get(root, "cache"))) {
		err = yaml_number(r->yaml, node, "cache", 1, AUTHZ_CACHE_MAX, &number);
		conf->cache = err ? 0 : (uint32_t)number;
	}
	if (err || !(node = yaml_get(root, "log_level")))
		return err;
	err = yaml_text(r->yaml, node, "log_level", &level);
	if (!err && !event_level_from(level, &conf->log_level))
		err = yaml_fail(r->yaml, node, "log_level: found \"%.*s\", wanted debug, info, warn or alarm",
				WRIT_FMT(level));
	return err;
}

static struct writ_err *
read_root(const struct reader *r)
{
	static const char *const keys[] = { "version",	"listen", "socket_group", "anchors", "identities",
					    "policies", "acr",	  "options",	  "lists",   "prefix",
					    "routes",	"cache",  "log_level",	  NULL };
	const struct yaml_node *root = r->yaml->root;
	struct writ_err *err;

	if (!root)
		return writ_fail(WRIT_INVALID, "%s: the file is empty", r->yaml->name);
	err = yaml_kind_is(r->yaml, root, "the configuration", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, root, keys);
	if (!err)
		err = read_rest(r, root);
	if (!err)
		err = read_listen(r, root);
	if (!err)
		err = read_demands(r, root);
	if (!err)
		err = read_routes(r, root);
	return err;
}

struct writ_err *
authz_conf_parse(const char *name, const char *dir, struct writ_bytes text, struct authz_conf *ret)
{
	AUTO(yaml_done) struct yaml yaml = { 0 };
	const struct reader r = { .yaml = &yaml, .dir = dir, .conf = ret };
	struct writ_err *err;

	*ret = (struct authz_conf){ .cache = AUTHZ_CACHE_DEFAULT,
				    .log_level = EVENT_INFO,
				    .arena = WRIT_ARENA(CONF_MEMORY) };
	err = yaml_parse(&yaml, name, text);
	if (!err)
		err = read_root(&r);
	if (err)
		authz_conf_done(ret);
	return err;
}

struct writ_err *
authz_conf_read(const char *path, struct authz_conf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	char copy[PATH_MAX];
	struct writ_err *err;
	int n;

	*ret = (struct authz_conf){ 0 };
	n = snprintf(copy, sizeof(copy), "%s", path);
	if (n < 0 || (size_t)n >= sizeof(copy))
		return writ_fail(WRIT_INVALID, "the path of the configuration has over %d bytes", PATH_MAX - 1);
	err = file_read(path, FILE_CONFIG, &text);
	return err ? err : authz_conf_parse(path, dirname(copy), writ_view(&text), ret);
}

void
authz_conf_done(struct authz_conf *conf)
{
	writ_arena_done(&conf->arena);
	*conf = (struct authz_conf){ 0 };
}
