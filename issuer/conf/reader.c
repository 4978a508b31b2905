/*
 * Reading single values: bounds and grammar that every key shares.
 */
#include <stdio.h>

#include "base/text.h"
#include "issuer/conf/reader.h"

#define TEXT_MAX 1024 /* bytes of one value */

const char *
conf_key(const char *what)
{
	const char *dot = strrchr(what, '.');

	return dot ? dot + 1 : what;
}

struct writ_err *
conf_find(const struct conf_reader *r, const struct yaml_node *map, const char *what, enum presence presence,
	  struct yaml_node **ret)
{
	*ret = yaml_get(map, conf_key(what));
	if (!*ret && presence == READER_NEEDED)
		return yaml_fail(r->yaml, map, "%s is missing", what);
	return NULL;
}

struct writ_err *
conf_map(const struct conf_reader *r, const struct yaml_node *map, const char *what, enum presence presence,
	 const char *const *keys, struct yaml_node **ret)
{
	struct writ_err *err;

	err = conf_find(r, map, what, presence, ret);
	if (err || !*ret)
		return err;
	err = yaml_kind_is(r->yaml, *ret, what, YAML_MAP);
	if (err)
		return err;
	return yaml_only(r->yaml, *ret, keys);
}

struct writ_err *
conf_keep(const struct conf_reader *r, struct writ_bytes text, const char **ret)
{
	struct writ_bytes copy = writ_arena_copy(&r->conf->arena, text);

	if (!copy.data)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for %zu bytes", text.len);
	*ret = (const char *)copy.data;
	return NULL;
}

struct writ_err *
conf_text_of(const struct conf_reader *r, const struct yaml_node *node, const char *what, const char **ret)
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
	return conf_keep(r, text, ret);
}

struct writ_err *
conf_text(const struct conf_reader *r, const struct yaml_node *map, const char *what, enum presence presence,
	  const char **ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = conf_find(r, map, what, presence, &node);
	if (err || !node)
		return err;
	return conf_text_of(r, node, what, ret);
}

static struct writ_err *
path_of(const struct conf_reader *r, const struct yaml_node *node, const char *what, const char **ret)
{
	char path[PATH_BYTES_MAX + 1];
	struct writ_err *err;
	size_t len;
	int n;

	err = conf_text_of(r, node, what, ret);
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
	return conf_keep(r, writ_str(path), ret);
}

struct writ_err *
conf_file_path(const struct conf_reader *r, const struct yaml_node *map, const char *what, const char **ret)
{
	struct yaml_node *node;
	struct writ_err *err;

	err = conf_find(r, map, what, READER_NEEDED, &node);
	if (err)
		return err;
	return path_of(r, node, what, ret);
}

struct writ_err *
conf_number(const struct conf_reader *r, const struct yaml_node *map, const char *what, uint32_t max, uint32_t *ret)
{
	struct yaml_node *node;
	struct writ_err *err;
	uint64_t number;

	err = conf_find(r, map, what, READER_OPTIONAL, &node);
	if (err || !node)
		return err;
	err = yaml_number(r->yaml, node, what, 1, max, &number);
	if (err)
		return err;
	*ret = (uint32_t)number;
	return NULL;
}

struct writ_err *
conf_word(const struct conf_reader *r, const struct yaml_node *node, const char *what, const char *first,
	  const char *second, bool *ret_second)
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
