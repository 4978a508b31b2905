/*
 * Inside conf: how one value is read, and the readers that have a file of their own.
 *
 * `what` is a value's full name, "custody.tpm.tcti": its last word is the key, the whole stands in messages.  Texts
 * land in the configuration's own memory.  Knows no key.
 */
#ifndef WRIT_ISSUER_CONF_READER_H
#define WRIT_ISSUER_CONF_READER_H

#include "base/yaml.h"
#include "issuer/conf/conf.h"

#define TRUST_DOMAIN_MAX 64 /* the leaf's O (delegation.md 2) */
#define PATH_BYTES_MAX 1024 /* of a resolved path, so that conf_path()'s 4096 always hold it and a name of ours */

struct conf_reader {
	const struct yaml *yaml;
	const char *dir;
	struct conf *conf;
};

enum presence { READER_OPTIONAL, READER_NEEDED };

/* The last word of "custody.tpm.tcti". */
const char *conf_key(const char *what);

/* The value of a key in `map`; NULL when it is optional and not there. */
WRIT_CHECKED struct writ_err *conf_find(const struct conf_reader *, const struct yaml_node *map, const char *what,
					enum presence, struct yaml_node **ret);

/* The same, and it is a map with no other than `keys`. */
WRIT_CHECKED struct writ_err *conf_map(const struct conf_reader *, const struct yaml_node *map, const char *what,
				       enum presence, const char *const *keys, struct yaml_node **ret);

/* Copies text into the configuration's memory. */
WRIT_CHECKED struct writ_err *conf_keep(const struct conf_reader *, struct writ_bytes text, const char **ret);

/* The text of a node: not empty, bounded, nothing in it that breaks a line. */
WRIT_CHECKED struct writ_err *conf_text_of(const struct conf_reader *, const struct yaml_node *, const char *what,
					   const char **ret);

/* By key; `*ret` stays as it is when the key is optional and not there. */
WRIT_CHECKED struct writ_err *conf_text(const struct conf_reader *, const struct yaml_node *map, const char *what,
					enum presence, const char **ret);

/* A needed path, made absolute. */
WRIT_CHECKED struct writ_err *conf_file_path(const struct conf_reader *, const struct yaml_node *map, const char *what,
					     const char **ret);

/* An optional number from 1 to `max`. */
WRIT_CHECKED struct writ_err *conf_number(const struct conf_reader *, const struct yaml_node *map, const char *what,
					  uint32_t max, uint32_t *ret);

/* One of two words. */
WRIT_CHECKED struct writ_err *conf_word(const struct conf_reader *, const struct yaml_node *, const char *what,
					const char *first, const char *second, bool *ret_second);

/* "127.0.0.1:8443" or "[::1]:8443"; `*ret` stays as it is when the key is not there. */
WRIT_CHECKED struct writ_err *conf_listen(const struct conf_reader *, const struct yaml_node *map, const char *what,
					  struct conf_address *ret);

/* An optional name of a user or group. */
WRIT_CHECKED struct writ_err *conf_user(const struct conf_reader *, const struct yaml_node *map, const char *what,
					const char **ret);

/* A needed file, made absolute, or `credential:NAME` or `fd:N`. */
WRIT_CHECKED struct writ_err *conf_secret_source(const struct conf_reader *, const struct yaml_node *map, const char *what,
						 const char **ret);

/* Keys of every file of ours: `version`; `threads` and `log_level`. */
WRIT_CHECKED struct writ_err *conf_version(const struct conf_reader *, const struct yaml_node *root);
WRIT_CHECKED struct writ_err *conf_process(const struct conf_reader *, const struct yaml_node *root);

/* The text of a configuration, and the folder that paths in it are relative to ("" for /). */
#define CONF_DIR_MAX 4096
#define CONF_ARENA_MAX ((size_t)1024 * 1024)
WRIT_CHECKED struct writ_err *conf_file_read(const char *path, struct writ_buf *ret, char dir[CONF_DIR_MAX]);

WRIT_CHECKED struct writ_err *conf_custody(const struct conf_reader *, const struct yaml_node *root);
WRIT_CHECKED struct writ_err *conf_delegators(const struct conf_reader *, const struct yaml_node *root);
WRIT_CHECKED struct writ_err *conf_grants(const struct conf_reader *, const struct yaml_node *root);
WRIT_CHECKED struct writ_err *conf_oidc(const struct conf_reader *, const struct yaml_node *root); /* after delegators, before grants */

/* Why this is no URL that writ-fetchd may ask, or NULL.  `plain`: http is good enough, since what comes is signed. */
const char *conf_url_fault(const char *url, bool query, bool plain);

#endif
