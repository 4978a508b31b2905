/*
 * Input: one YAML text.  Whatever is taken is a tree within the caps: counts that fit, keys that are there and unique,
 * places inside the text, texts that end in a NUL.
 */
#include "tests/fuzz/fuzz.h"

#include "base/yaml.h"

static unsigned
check(const struct yaml_node *node, bool in_map, unsigned n_lines, unsigned depth)
{
	unsigned n_nodes = 1;
	size_t n = 0;

	FUZZ_CHECK(node->line >= 1 && node->line <= n_lines && node->column >= 1);
	FUZZ_CHECK(in_map == (node->key.len > 0));
	if (in_map)
		FUZZ_CHECK(node->key.data[node->key.len] == 0 && node->key_line <= node->line && node->key_column >= 1);
	if (node->kind == YAML_TEXT) {
		FUZZ_CHECK(node->text.data[node->text.len] == 0 && !node->first && node->n_items == 0);
		return n_nodes;
	}
	FUZZ_CHECK(depth < YAML_DEPTH_MAX && !node->text.data);
	for (const struct yaml_node *child = node->first; child; child = child->next) {
		n_nodes += check(child, node->kind == YAML_MAP, n_lines, depth + 1);
		n++;
		if (n < 50 && node->kind == YAML_MAP) /* the first of that key is this one */
			FUZZ_CHECK(yaml_get(node, (const char *)child->key.data) == child);
	}
	FUZZ_CHECK(n == node->n_items);
	return n_nodes;
}

/* The typed readers on every node: no crash, and an answer within its bounds. */
static void
read_as_all(const struct yaml *yaml, const struct yaml_node *node)
{
	static const char *const known[] = { "rules", "who", NULL };
	struct writ_bytes text;
	uint64_t n;
	uint32_t s;
	bool b;

	fuzz_accepted(yaml_text(yaml, node, "x", &text));
	fuzz_accepted(yaml_bool(yaml, node, "x", &b));
	if (fuzz_accepted(yaml_number(yaml, node, "x", 3, 900, &n)))
		FUZZ_CHECK(n >= 3 && n <= 900);
	if (fuzz_accepted(yaml_duration(yaml, node, "x", 3, 900, &s)))
		FUZZ_CHECK(s >= 3 && s <= 900);
	if (node->kind == YAML_MAP)
		fuzz_accepted(yaml_only(yaml, node, known));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(yaml_done) struct yaml yaml;
	unsigned n_lines = 2; /* an empty value may stand at the end, after the last line */

	if (!fuzz_accepted(yaml_parse(&yaml, "input", (struct writ_bytes){ data, len }))) {
		FUZZ_CHECK(!yaml.root && !yaml.arena.first);
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		FUZZ_CHECK(data[i] != '\t' && data[i] != 0);
		n_lines += data[i] == '\n';
	}
	if (!yaml.root)
		return 0;
	FUZZ_CHECK(check(yaml.root, false, n_lines, 0) <= YAML_EVENTS_MAX);
	read_as_all(&yaml, yaml.root);
	for (const struct yaml_node *child = yaml.root->first; child; child = child->next)
		read_as_all(&yaml, child);
	return 0;
}
