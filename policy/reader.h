/*
 * Reading a policy's tree: what lists, names and constraints have in common, every error with line and column.
 *
 * Internal to policy/.  Results borrow texts from the tree, and lists live in the arena.
 */
#ifndef WRIT_POLICY_READER_H
#define WRIT_POLICY_READER_H

#include "base/yaml.h"
#include "policy/grant.h"

struct reader {
	const struct yaml *yaml;
	struct writ_arena *arena;
};

WRIT_CHECKED struct writ_err *reader_no_room(const struct reader *);

/* Takes `err`, which a check of names made; the same with the place before it. */
WRIT_CHECKED struct writ_err *reader_at_place(const struct reader *, const struct yaml_node *, struct writ_err *err);

/* The map's child of that key, which must be there. */
WRIT_CHECKED struct writ_err *reader_needed(const struct reader *, const struct yaml_node *map, const char *key,
					    struct yaml_node **ret);

/* Is it a list of 1 to `max` items? */
WRIT_CHECKED struct writ_err *reader_list(const struct reader *, const struct yaml_node *, const char *what,
					  size_t max);

/* A list of texts that pass the check, none of them twice. */
typedef struct writ_err *text_check(struct writ_bytes);
WRIT_CHECKED struct writ_err *reader_texts(const struct reader *, const struct yaml_node *, const char *what,
					   size_t max, text_check *, struct texts *ret);
WRIT_CHECKED struct writ_err *reader_needed_texts(const struct reader *, const struct yaml_node *map, const char *key,
						  size_t max, text_check *, struct texts *ret);

/* An entitlement's `constraints`. */
WRIT_CHECKED struct writ_err *reader_constraints(const struct reader *, const struct yaml_node *,
						 struct constraints *ret);

#endif
