/*
 * YAML as a tree, for policy and configuration: libyaml under caps, and only what those two files need.
 *
 * Refused, each with line and column: more than 256 KiB, depth over 32, over 20,000 events, tabs, aliases, anchors,
 * tags, duplicate keys, several documents, NUL, invalid UTF-8, keys that are not plain text.  libyaml 0.2.5 takes
 * quadratic time in nesting, so the caps stand before the tree.  Knows no key of any file.  Thread-safe: no state.
 */
#ifndef WRIT_BASE_YAML_H
#define WRIT_BASE_YAML_H

#include "base/bytes.h"

#define YAML_BYTES_MAX (256 * 1024)
#define YAML_DEPTH_MAX 32
#define YAML_EVENTS_MAX 20000

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	unsigned line, column;	/* from 1 */
	bool quoted;		/* text in quotes: never a boolean, a number or nothing */
	struct writ_bytes text; /* YAML_TEXT; NUL-terminated beyond its length */
	struct writ_bytes key;	/* this node's key, when its parent is a map */
	unsigned key_line, key_column;
	size_t n_items;			/* YAML_LIST, YAML_MAP */
	struct yaml_node *first, *next; /* children in file order; next sibling */
};

struct yaml {
	struct yaml_node *root; /* NULL for an empty file */
	const char *name;	/* borrowed: the file's name, for messages */
	struct writ_arena arena;
};

/* Messages begin "NAME:LINE:COLUMN: ".  `name` must outlive the tree. */
WRIT_CHECKED struct writ_err *yaml_parse(struct yaml *, const char *name, struct writ_bytes text);
void yaml_done(struct yaml *);

/* A map's child of that key, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* WRIT_INVALID with the position of `at` (its key's, when it has one) before the message. */
WRIT_CHECKED struct writ_err *yaml_fail(const struct yaml *, const struct yaml_node *at, const char *fmt, ...)
	WRIT_PRINTF(3, 4);

/* The map's keys are all among `keys` (NULL-terminated); else names the foreign one, its place and those known. */
WRIT_CHECKED struct writ_err *yaml_only(const struct yaml *, const struct yaml_node *map, const char *const *keys);

/* Typed readers: WRIT_INVALID with the place, what was found and what is wanted.  `what` names the value. */
WRIT_CHECKED struct writ_err *yaml_text(const struct yaml *, const struct yaml_node *, const char *what,
					struct writ_bytes *ret);
WRIT_CHECKED struct writ_err *yaml_bool(const struct yaml *, const struct yaml_node *, const char *what, bool *ret);
WRIT_CHECKED struct writ_err *yaml_number(const struct yaml *, const struct yaml_node *, const char *what, uint64_t min,
					  uint64_t max, uint64_t *ret);
WRIT_CHECKED struct writ_err *yaml_duration(const struct yaml *, const struct yaml_node *, const char *what,
					    uint32_t min_s, uint32_t max_s, uint32_t *ret_s);
WRIT_CHECKED struct writ_err *yaml_kind_is(const struct yaml *, const struct yaml_node *, const char *what,
					   enum yaml_kind);

#endif
