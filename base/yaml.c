/*
 * YAML as a tree.  Terms: a node is a text, a list or a map; a frame is a list or map whose end has not come yet.
 *
 * (1) Nothing reaches libyaml before the whole text has passed text_check().
 * (2) libyaml is asked for one event at a time, so that the caps on depth and events stop it early: its time is
 *     quadratic in nesting, and bounded by what it must look ahead (1,024 characters for a key).
 * (3) Maps are checked for duplicate keys when they end, by sorting: no input costs quadratic time.
 */
#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#include "base/text.h"

#define ARENA_MAX (16 * 1024 * 1024) /* bytes: 20,000 nodes, their texts, and the arrays that sort keys */

static void
parser_done(yaml_parser_t *parser)
{
	yaml_parser_delete(parser);
}

static void
event_done(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static struct writ_err *
fail_at(const struct yaml *yaml, size_t line, size_t column, const char *what)
{
	return writ_fail(WRIT_INVALID, "%s:%zu:%zu: %s", yaml->name, line, column, what);
}

static const char *
character_why(size_t n, uint32_t c, struct writ_bytes rest)
{
	if (n == 0)
		return "not UTF-8";
	if (c == 0)
		return "a NUL byte";
	if (c == '\t')
		return "a tab: indent and separate with spaces";
	if (c == '\r' && (rest.len < 2 || rest.data[1] != '\n'))
		return "a carriage return without a line feed";
	if (c == '\n' || c == '\r')
		return NULL;
	if (writ_is_control(c) || c == 0xfeff || c == 0xfffe || c == 0xffff)
		return "an invisible control character";
	return NULL;
}

/* (1) */
static struct writ_err *
text_check(const struct yaml *yaml, struct writ_bytes text)
{
	size_t line = 1, column = 1;

	if (text.len > YAML_BYTES_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s: %zu bytes are over the limit of %d", yaml->name, text.len,
				 YAML_BYTES_MAX);
	while (text.len > 0) {
		uint32_t c = 0;
		const size_t n = writ_utf8(text, &c);
		const char *why = character_why(n, c, text);

		if (why)
			return fail_at(yaml, line, column, why);
		text.data += n;
		text.len -= n;
		column++;
		if (c != '\n')
			continue;
		line++;
		column = 1;
	}
	return NULL;
}

struct frame {
	struct yaml_node *node;
	struct yaml_node *last;	   /* its newest child */
	struct yaml_node *pending; /* in a map: a child whose key has come and whose value has not */
};

struct builder {
	struct yaml *yaml;
	struct writ_bytes text; /* what is left of it, in step with `at` */
	size_t at;		/* libyaml counts characters, not bytes */
	struct frame frames[YAML_DEPTH_MAX];
	unsigned depth;
	unsigned n_events;
	bool document_seen;
};

/* The byte that an event begins with.  Events come in the order of the text, so this is linear in all. */
static uint8_t
byte_at(struct builder *b, const yaml_mark_t *mark)
{
	while (b->at < mark->index && b->text.len > 0) {
		uint32_t c;
		const size_t n = writ_utf8(b->text, &c);

		b->text.data += n;
		b->text.len -= n;
		b->at++;
	}
	return b->text.len > 0 ? b->text.data[0] : 0;
}

static struct writ_err *
event_fail(const struct builder *b, const yaml_event_t *event, const char *what)
{
	return fail_at(b->yaml, event->start_mark.line + 1, event->start_mark.column + 1, what);
}

static struct writ_err *
memory_fail(const struct builder *b)
{
	return writ_fail(WRIT_EXHAUSTED, "%s: no memory for its contents", b->yaml->name);
}

/* In a map, a text where a key is due. */
static struct writ_err *
key_add(struct builder *b, struct frame *frame, const yaml_event_t *event)
{
	const yaml_scalar_style_t style = event->data.scalar.style;
	struct yaml_node *node;

	if (event->type != YAML_SCALAR_EVENT)
		return event_fail(b, event, "a key must be a plain text, not a list or a map");
	if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
		return event_fail(b, event, "a key must be a plain text on one line");
	if (event->data.scalar.length == 0)
		return event_fail(b, event, "a key is missing before ':'");
	node = writ_arena_take(&b->yaml->arena, sizeof(*node));
	if (!node)
		return memory_fail(b);
	node->key = writ_arena_copy(&b->yaml->arena,
				    (struct writ_bytes){ event->data.scalar.value, event->data.scalar.length });
	if (!node->key.data)
		return memory_fail(b);
	node->key_line = (unsigned)event->start_mark.line + 1;
	node->key_column = (unsigned)event->start_mark.column + 1;
	frame->pending = node;
	return NULL;
}

/* Hangs a node for this event into the tree. */
static struct writ_err *
node_add(struct builder *b, const yaml_event_t *event, enum yaml_kind kind, struct yaml_node **ret)
{
	struct frame *frame = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;
	struct yaml_node *node;

	if (frame && frame->node->kind == YAML_MAP)
		node = TAKE(frame->pending); /* made with its key */
	else
		node = writ_arena_take(&b->yaml->arena, sizeof(*node));
	if (!node)
		return memory_fail(b);
	node->kind = kind;
	node->line = (unsigned)event->start_mark.line + 1;
	node->column = (unsigned)event->start_mark.column + 1;
	*ret = node;
	if (!frame) {
		b->yaml->root = node;
		return NULL;
	}
	if (frame->last)
		frame->last->next = node;
	else
		frame->node->first = node;
	frame->last = node;
	frame->node->n_items++;
	return NULL;
}

static struct writ_err *
text_add(struct builder *b, const yaml_event_t *event)
{
	const struct writ_bytes text = { event->data.scalar.value, event->data.scalar.length };
	struct yaml_node *node;
	struct writ_err *err;

	err = node_add(b, event, YAML_TEXT, &node);
	if (err)
		return err;
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->text = writ_arena_copy(&b->yaml->arena, text);
	return node->text.data ? NULL : memory_fail(b);
}

static struct writ_err *
frame_open(struct builder *b, const yaml_event_t *event, enum yaml_kind kind)
{
	struct yaml_node *node;
	struct writ_err *err;

	if (b->depth == YAML_DEPTH_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s:%zu:%zu: nested deeper than %d", b->yaml->name,
				 event->start_mark.line + 1, event->start_mark.column + 1, YAML_DEPTH_MAX);
	err = node_add(b, event, kind, &node);
	if (err)
		return err;
	b->frames[b->depth++] = (struct frame){ .node = node };
	return NULL;
}

static int
by_key(const void *a, const void *b)
{
	const struct yaml_node *const *x = a, *const *y = b;
	const int order = writ_order((*x)->key, (*y)->key);

	return order != 0 ? order : ((*x)->key_line > (*y)->key_line) - ((*x)->key_line < (*y)->key_line);
}

/* (3) */
static struct writ_err *
keys_check(struct builder *b, const struct yaml_node *map)
{
	const struct yaml_node **sorted;
	size_t n = 0;

	if (map->n_items < 2)
		return NULL;
	sorted = writ_arena_take(&b->yaml->arena, map->n_items * sizeof(struct yaml_node *));
	if (!sorted)
		return memory_fail(b);
	for (const struct yaml_node *child = map->first; child; child = child->next)
		sorted[n++] = child;
	qsort(sorted, n, sizeof(struct yaml_node *), by_key);
	for (size_t i = 1; i < n; i++)
		if (writ_equal(sorted[i - 1]->key, sorted[i]->key))
			return writ_fail(WRIT_INVALID, "%s:%u:%u: key \"%.*s\" is there already, in line %u: keep one",
					 b->yaml->name, sorted[i]->key_line, sorted[i]->key_column,
					 WRIT_FMT(sorted[i]->key), sorted[i - 1]->key_line);
	return NULL;
}

static struct writ_err *
frame_close(struct builder *b)
{
	const struct frame *frame = &b->frames[--b->depth];

	return frame->node->kind == YAML_MAP ? keys_check(b, frame->node) : NULL;
}

static bool
has_anchor(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor != NULL;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor != NULL;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor != NULL;
	default:
		return false;
	}
}

/* A scalar, list or map begins: what may not stand before it, and where it goes. */
static struct writ_err *
value_add(struct builder *b, const yaml_event_t *event)
{
	struct frame *frame = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;

	if (has_anchor(event))
		return event_fail(b, event, "anchors (&name) are not accepted: write the value out");
	if (byte_at(b, &event->start_mark) == '!') /* even the bare '!', of which libyaml keeps no trace */
		return event_fail(b, event, "tags (!name) are not accepted");
	if (frame && frame->node->kind == YAML_MAP && !frame->pending)
		return key_add(b, frame, event);
	if (event->type == YAML_SCALAR_EVENT)
		return text_add(b, event);
	return frame_open(b, event, event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST);
}

static struct writ_err *
document_start(struct builder *b, const yaml_event_t *event)
{
	if (b->document_seen)
		return event_fail(b, event, "a second document: one file holds one");
	b->document_seen = true;
	if (event->data.document_start.version_directive ||
	    event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
		return event_fail(b, event, "directives (%YAML, %TAG) are not accepted");
	return NULL;
}

static struct writ_err *
event_take(struct builder *b, const yaml_event_t *event)
{
	if (++b->n_events > YAML_EVENTS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%s:%zu:%zu: more than %d values, lists and maps", b->yaml->name,
				 event->start_mark.line + 1, event->start_mark.column + 1, YAML_EVENTS_MAX);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return document_start(b, event);
	case YAML_ALIAS_EVENT:
		return event_fail(b, event, "aliases (*name) are not accepted: write the value out");
	case YAML_SCALAR_EVENT:
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return value_add(b, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return frame_close(b);
	default:
		return NULL; /* begin and end of the stream, end of the document */
	}
}

static struct writ_err *
parser_fail(const struct yaml *yaml, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "not YAML";

	if (parser->error == YAML_MEMORY_ERROR)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory to read it", yaml->name);
	return writ_fail(WRIT_INVALID, "%s:%zu:%zu: %s%s%s", yaml->name, parser->problem_mark.line + 1,
			 parser->problem_mark.column + 1, problem, parser->context ? ", " : "",
			 parser->context ? parser->context : "");
}

/* (2) */
static struct writ_err *
build(struct builder *b, yaml_parser_t *parser)
{
	for (bool more = true; more;) {
		AUTO(event_done) yaml_event_t event = { 0 };
		struct writ_err *err;

		if (!yaml_parser_parse(parser, &event))
			return parser_fail(b->yaml, parser);
		more = event.type != YAML_STREAM_END_EVENT;
		err = event_take(b, &event);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
yaml_parse(struct yaml *yaml, const char *name, struct writ_bytes text)
{
	AUTO(parser_done) yaml_parser_t parser = { 0 };
	struct builder builder = { .yaml = yaml };
	struct writ_err *err;

	*yaml = (struct yaml){ .name = name, .arena = WRIT_ARENA(ARENA_MAX) };
	if (text.len >= 3 &&
	    memcmp(text.data, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark, as some editors write it */
		text.data += 3;
		text.len -= 3;
	}
	err = text_check(yaml, text);
	if (err)
		return err;
	if (!yaml_parser_initialize(&parser))
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory to read it", name);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, text.len > 0 ? text.data : (const uint8_t *)"", text.len);
	builder.text = text;
	err = build(&builder, &parser);
	if (err)
		yaml_done(yaml);
	return err;
}

void
yaml_done(struct yaml *yaml)
{
	writ_arena_done(&yaml->arena);
	yaml->root = NULL;
}

struct yaml_node *
yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (struct yaml_node *child = map->first; child; child = child->next)
		if (writ_equal(child->key, writ_str(key)))
			return child;
	return NULL;
}

struct writ_err *
yaml_fail(const struct yaml *yaml, const struct yaml_node *at, const char *fmt, ...)
{
	char what[WRIT_MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (!at)
		return writ_fail(WRIT_INVALID, "%s: %s", yaml->name, what);
	if (at->key.data)
		return fail_at(yaml, at->key_line, at->key_column, what);
	return fail_at(yaml, at->line, at->column, what);
}

static bool
is_among(struct writ_bytes key, const char *const *keys)
{
	for (; *keys; keys++)
		if (writ_equal(key, writ_str(*keys)))
			return true;
	return false;
}

struct writ_err *
yaml_only(const struct yaml *yaml, const struct yaml_node *map, const char *const *keys)
{
	char known[WRIT_MESSAGE_MAX] = "";

	for (const struct yaml_node *child = map->first; child; child = child->next) {
		size_t used = 0;

		if (is_among(child->key, keys))
			continue;
		for (size_t i = 0; keys[i] && used < sizeof(known); i++)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i > 0 ? ", " : "",
						 keys[i]);
		return yaml_fail(yaml, child, "unknown key \"%.*s\"; known here: %s", WRIT_FMT(child->key), known);
	}
	return NULL;
}

static const char *
kind_name(enum yaml_kind kind)
{
	switch (kind) {
	case YAML_TEXT:
		return "a text";
	case YAML_LIST:
		return "a list";
	case YAML_MAP:
		return "a map";
	}
	return "nothing";
}

/* Nothing, as YAML writes it: an empty value, ~ or null. */
static bool
is_nothing(const struct yaml_node *node)
{
	if (node->kind != YAML_TEXT || node->quoted)
		return false;
	return node->text.len == 0 || writ_equal(node->text, WRIT_LIT("~")) || writ_equal(node->text, WRIT_LIT("null"));
}

/* "NAME:L:C: lifetime: found "x", wanted a duration ..." */
static struct writ_err *
wanted(const struct yaml *yaml, const struct yaml_node *node, const char *what, const char *want)
{
	if (is_nothing(node))
		return yaml_fail(yaml, node, "%s: found nothing, wanted %s", what, want);
	if (node->kind != YAML_TEXT)
		return yaml_fail(yaml, node, "%s: found %s, wanted %s", what, kind_name(node->kind), want);
	return yaml_fail(yaml, node, "%s: found %s\"%.*s\", wanted %s", what, node->quoted ? "the quoted text " : "",
			 WRIT_FMT(node->text), want);
}

struct writ_err *
yaml_kind_is(const struct yaml *yaml, const struct yaml_node *node, const char *what, enum yaml_kind kind)
{
	return node->kind == kind ? NULL : wanted(yaml, node, what, kind_name(kind));
}

struct writ_err *
yaml_text(const struct yaml *yaml, const struct yaml_node *node, const char *what, struct writ_bytes *ret)
{
	if (node->kind != YAML_TEXT || is_nothing(node))
		return wanted(yaml, node, what, "a text");
	*ret = node->text;
	return NULL;
}

struct writ_err *
yaml_bool(const struct yaml *yaml, const struct yaml_node *node, const char *what, bool *ret)
{
	const bool plain = node->kind == YAML_TEXT && !node->quoted;

	*ret = plain && writ_equal(node->text, WRIT_LIT("true"));
	if (*ret || (plain && writ_equal(node->text, WRIT_LIT("false"))))
		return NULL;
	return wanted(yaml, node, what, "true or false, without quotes");
}

struct writ_err *
yaml_number(const struct yaml *yaml, const struct yaml_node *node, const char *what, uint64_t min, uint64_t max,
	    uint64_t *ret)
{
	char want[80];

	if (node->kind == YAML_TEXT && !node->quoted && writ_decimal(node->text, max, ret) && *ret >= min)
		return NULL;
	snprintf(want, sizeof(want), "a number from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
	return wanted(yaml, node, what, want);
}

struct writ_err *
yaml_duration(const struct yaml *yaml, const struct yaml_node *node, const char *what, uint32_t min_s, uint32_t max_s,
	      uint32_t *ret_s)
{
	char want[80];

	if (node->kind == YAML_TEXT && !node->quoted && writ_duration(node->text, max_s, ret_s) && *ret_s >= min_s)
		return NULL;
	snprintf(want, sizeof(want), "a time from %us to %us, such as 90s, 5m or 8h", min_s, max_s);
	return wanted(yaml, node, what, want);
}
