/*
 * The configuration of a responder: see responder.h.
 */
#include "issuer/conf/responder.h"

#include "issuer/conf/reader.h"

#define LAG_MAX_S 300
#define ENTRIES_MAX 100000000

/* What is appended begins with a slash. */
static struct writ_err *
read_url(const struct conf_reader *r, const struct yaml_node *map, const char *what, bool plain, const char **ret)
{
	const char *fault;
	struct writ_err *err = conf_text(r, map, what, READER_NEEDED, ret);

	if (err)
		return err;
	fault = conf_url_fault(*ret, false, plain);
	if (!fault && !plain && strncmp(*ret, "https://", 8) != 0)
		fault = "it must begin with https://";
	if (!fault && (*ret)[strlen(*ret) - 1] == '/')
		fault = "it must not end in a slash";
	if (fault)
		return yaml_fail(r->yaml, yaml_get(map, conf_key(what)), "%s: found \"%.80s\": %s", what, *ret, fault);
	return NULL;
}

static struct writ_err *
read_responder(const struct conf_reader *r, const struct yaml_node *root, struct conf_responder *conf)
{
	static const char *const keys[] = { "issuer", "status",	   "ca",	  "certificate",
					    "key",    "lag_max_s", "entries_max", NULL };
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "responder", READER_NEEDED, keys, &map);
	if (!err)
		err = read_url(r, map, "responder.issuer", false, &conf->issuer);
	if (!err)
		err = read_url(r, map, "responder.status", true, &conf->upstream);
	if (!err)
		err = conf_file_path(r, map, "responder.ca", &conf->ca);
	if (!err)
		err = conf_file_path(r, map, "responder.certificate", &conf->certificate);
	if (!err)
		err = conf_secret_source(r, map, "responder.key", &conf->key);
	if (!err)
		err = conf_number(r, map, "responder.lag_max_s", LAG_MAX_S, &conf->lag_max_s);
	if (!err)
		err = conf_number(r, map, "responder.entries_max", ENTRIES_MAX, &conf->entries_max);
	return err;
}

static struct writ_err *
read_root(const struct conf_reader *r, const struct yaml_node *root, struct conf_responder *conf)
{
	static const char *const keys[] = { "version", "status", "responder", "user", "threads", "log_level", NULL };
	static const char *const status_keys[] = { "listen", "connections", NULL };
	struct yaml_node *map;
	struct writ_err *err;

	err = yaml_kind_is(r->yaml, root, "the configuration", YAML_MAP);
	if (!err)
		err = yaml_only(r->yaml, root, keys);
	if (!err)
		err = conf_version(r, root);
	if (!err)
		err = conf_map(r, root, "status", READER_NEEDED, status_keys, &map);
	if (err)
		return err;
	err = conf_listen(r, map, "status.listen", &conf->common.status);
	if (!err)
		err = conf_number(r, map, "status.connections", 1000000, &conf->connections);
	if (!err)
		err = read_responder(r, root, conf);
	if (!err)
		err = conf_user(r, root, "user", &conf->user);
	return err ? err : conf_process(r, root);
}

struct writ_err *
conf_responder_parse(const char *name, const char *dir, struct writ_bytes text, struct conf_responder *ret)
{
	AUTO(yaml_done) struct yaml yaml = { 0 };
	const struct conf_reader r = { .yaml = &yaml, .dir = dir, .conf = &ret->common };
	struct writ_err *err;

	*ret = (struct conf_responder){ .connections = 10000, .lag_max_s = 5, .entries_max = 4000000 };
	ret->common.arena = WRIT_ARENA(CONF_ARENA_MAX);
	ret->common.status = (struct conf_address){ .host = "127.0.0.1", .port = 8080 };
	err = conf_keep(&r, writ_str(name), &ret->common.path);
	if (!err)
		err = yaml_parse(&yaml, name, text);
	if (!err && !yaml.root)
		err = writ_fail(WRIT_INVALID, "%s: the file is empty", name);
	if (!err)
		err = read_root(&r, yaml.root, ret);
	if (err)
		conf_responder_done(ret);
	return err;
}

struct writ_err *
conf_responder_read(const char *path, struct conf_responder *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	char dir[CONF_DIR_MAX];
	struct writ_err *err;

	*ret = (struct conf_responder){ 0 };
	err = conf_file_read(path, &text, dir);
	return err ? err : conf_responder_parse(path, dir, writ_view(&text), ret);
}

void
conf_responder_done(struct conf_responder *conf)
{
	if (!conf)
		return;
	conf_done(&conf->common);
	*conf = (struct conf_responder){ 0 };
}
