/* YAML under caps: what is refused, and how the message says where. */
#include "tests/unit/expect.h"

#include <time.h>

#include "base/clock.h"
#include "base/yaml.h"

static void
a_file_becomes_a_tree_with_places(void **state)
{
	AUTO(yaml_done) struct yaml yaml;
	const struct yaml_node *b, *map;

	(void)state;
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_str("# comment\r\na: 1\nb:\n  - x\n  - {k: 'v', l: [1, 2]}\n")));
	assert_int_equal(yaml.root->kind, YAML_MAP);
	assert_int_equal(yaml.root->n_items, 2);
	b = yaml_get(yaml.root, "b");
	assert_int_equal(b->kind, YAML_LIST);
	assert_int_equal(b->key_line, 3);
	assert_int_equal(b->key_column, 1);
	assert_int_equal(b->n_items, 2);
	expect_bytes(b->first->text, WRIT_LIT("x"));
	assert_false(b->first->quoted);
	map = b->first->next;
	assert_int_equal(map->line, 5);
	assert_int_equal(map->column, 5);
	assert_true(yaml_get(map, "k")->quoted);
	assert_int_equal(yaml_get(map, "l")->n_items, 2);
	assert_null(yaml_get(map, "m"));
	assert_null(yaml_get(b, "k"));
	assert_null(map->next);
}

static void
an_empty_file_has_no_root(void **state)
{
	static const char *const texts[] = { "", "\n", "# only a comment\n", "\xef\xbb\xbf" };

	(void)state;
	for (size_t i = 0; i < N_OF(texts); i++) {
		AUTO(yaml_done) struct yaml yaml;

		expect_ok(yaml_parse(&yaml, "p.yaml", writ_str(texts[i])));
		assert_null(yaml.root);
	}
}

static void
what_two_readers_could_read_in_two_ways_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{ "a: 1\nb: 2\na: 3\n", "p.yaml:3:1: key \"a\" is there already, in line 1: keep one" },
		{ "x: {a: 1, \"a\": 2}\n", "p.yaml:1:11: key \"a\" is there already, in line 1: keep one" },
		{ "a:\n\tb: 1\n", "p.yaml:2:1: a tab: indent and separate with spaces" },
		{ "a: 'x\ty'\n", "p.yaml:1:6: a tab: indent and separate with spaces" },
		{ "a: &x 1\n", "p.yaml:1:4: anchors (&name) are not accepted: write the value out" },
		{ "a: &x [1]\n", "p.yaml:1:4: anchors (&name) are not accepted: write the value out" },
		{ "&x a: 1\n", "p.yaml:1:1: anchors (&name) are not accepted: write the value out" },
		{ "a: &x {b: 1}\n", "p.yaml:1:4: anchors (&name) are not accepted: write the value out" },
		{ "a: *x\n", "p.yaml:1:4: aliases (*name) are not accepted: write the value out" },
		{ "a: !!str 1\n", "p.yaml:1:4: tags (!name) are not accepted" },
		{ "a: ! 1\n", "p.yaml:1:4: tags (!name) are not accepted" },
		{ "\xc3\xa9: ! 1\n", "p.yaml:1:4: tags (!name) are not accepted" },
		{ "a: !x [1]\n", "p.yaml:1:4: tags (!name) are not accepted" },
		{ "!!map {a: 1}\n", "p.yaml:1:1: tags (!name) are not accepted" },
		{ "%YAML 1.1\n---\na: 1\n", "p.yaml:1:1: directives (%YAML, %TAG) are not accepted" },
		{ "%TAG ! x:\n---\na: 1\n", "p.yaml:1:1: directives (%YAML, %TAG) are not accepted" },
		{ "a: 1\n---\nb: 1\n", "p.yaml:2:1: a second document: one file holds one" },
		{ "---\n---\n", "p.yaml:2:1: a second document: one file holds one" },
		{ "? [a]\n: 1\n", "p.yaml:1:3: a key must be a plain text, not a list or a map" },
		{ "{{a: b}: 1}\n", "p.yaml:1:2: a key must be a plain text, not a list or a map" },
		{ "? |\n  a\n: 1\n", "p.yaml:1:3: a key must be a plain text on one line" },
		{ "?\n: 1\n", "p.yaml:1:2: a key is missing before ':'" },
		{ "'': 1\n", "p.yaml:1:1: a key is missing before ':'" },
		{ "a: \xff\n", "p.yaml:1:4: not UTF-8" },
		{ "a: 1\nb: \xc0\xaf\n", "p.yaml:2:4: not UTF-8" },
		{ "a: \xe2\x80\xae"
		  "x\n",
		  "p.yaml:1:4: an invisible control character" },
		{ "a: \xc2\x85\n", "p.yaml:1:4: an invisible control character" },
		{ "a: \x1b[31m\n", "p.yaml:1:4: an invisible control character" },
		{ "a: \xef\xbb\xbf\n", "p.yaml:1:4: an invisible control character" },
		{ "a: 1\rb: 2\n", "p.yaml:1:5: a carriage return without a line feed" },
		{ "a: [1\n", "p.yaml:2:1: did not find expected ',' or ']', while parsing a flow sequence" },
		{ "a: b: c\n", "p.yaml:1:5: mapping values are not allowed in this context" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(yaml_done) struct yaml yaml;

		expect_refused(yaml_parse(&yaml, "p.yaml", writ_str(rows[i].text)), WRIT_INVALID, rows[i].message);
		assert_null(yaml.root);
	}
	{
		AUTO(yaml_done) struct yaml yaml;

		expect_refused(yaml_parse(&yaml, "p.yaml", WRIT_LIT("a: 1\nb\0: 1\n")), WRIT_INVALID,
			       "p.yaml:2:2: a NUL byte");
	}
}

static void
repeat(struct writ_buf *buf, const char *text, size_t n)
{
	writ_buf_clear(buf);
	while (n-- > 0)
		expect_ok(writ_buf_add(buf, writ_str(text)));
}

static void
each_cap_is_taken_at_its_limit_and_refused_one_beyond(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(2 * 1024 * 1024);
	struct yaml yaml;

	(void)state;
	repeat(&buf, "#", YAML_BYTES_MAX);
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_view(&buf)));
	yaml_done(&yaml);
	repeat(&buf, "#", YAML_BYTES_MAX + 1);
	expect_refused(yaml_parse(&yaml, "p.yaml", writ_view(&buf)), WRIT_EXHAUSTED,
		       "p.yaml: 262145 bytes are over the limit of 262144");
	repeat(&buf, "[", 32);
	expect_ok(writ_buf_add(&buf, WRIT_LIT("]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]")));
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_view(&buf)));
	yaml_done(&yaml);
	repeat(&buf, "[", 33);
	expect_refused(yaml_parse(&yaml, "p.yaml", writ_view(&buf)), WRIT_EXHAUSTED,
		       "p.yaml:1:33: nested deeper than 32");
	repeat(&buf, "- a\n", 19994); /* and six events for stream, document and list */
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_view(&buf)));
	assert_int_equal(yaml.root->n_items, 19994);
	yaml_done(&yaml);
	repeat(&buf, "- a\n", 19995);
	expect_refused(yaml_parse(&yaml, "p.yaml", writ_view(&buf)), WRIT_EXHAUSTED,
		       "p.yaml:19996:1: more than 20000 values, lists and maps");
}

static int64_t
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 10
#else
#define SLOWER 1
#endif

/* libyaml alone takes seconds to minutes for some of these. */
static void
a_hostile_file_takes_no_longer_than_50_ms(void **state)
{
	static const char *const pieces[] = { "[",     "[\n",  "{",   "{\n", "- ",  "? ",   "[{", "a: [",
					      "{a: ",  "[[],", "\"",  "'",   "|\n", "#",    ",",  "-\n",
					      "a: \n", "!",    "&a ", "*a ", "%A ", "---\n" };
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(YAML_BYTES_MAX);

	(void)state;
	for (size_t i = 0; i < N_OF(pieces); i++) {
		struct yaml yaml;
		struct writ_err *err;
		int64_t start;

		repeat(&buf, pieces[i],
		       YAML_BYTES_MAX / strlen(pieces[i]) < 100000 ? YAML_BYTES_MAX / strlen(pieces[i]) : 100000);
		start = cpu_ms();
		err = yaml_parse(&yaml, "p.yaml", writ_view(&buf));
		if (cpu_ms() - start > 50 * SLOWER)
			fail_msg("\"%s\" again and again took %d ms", pieces[i], (int)(cpu_ms() - start));
		writ_err_free(err);
		yaml_done(&yaml);
	}
}

static void
many_keys_are_compared_quickly(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(YAML_BYTES_MAX);
	AUTO(yaml_done) struct yaml yaml;
	const int64_t start = cpu_ms();

	(void)state;
	for (int i = 0; i < 9990; i++)
		expect_ok(writ_buf_printf(&buf, "key-%d: x\n", i));
	expect_ok(writ_buf_printf(&buf, "key-7: x\n"));
	expect_refused(yaml_parse(&yaml, "p.yaml", writ_view(&buf)), WRIT_INVALID,
		       "p.yaml:9991:1: key \"key-7\" is there already, in line 8: keep one");
	assert_in_range(cpu_ms() - start, 0, 100 * SLOWER);
}

static void
typed_readers_say_what_they_found_and_what_they_want(void **state)
{
	AUTO(yaml_done) struct yaml yaml;
	const struct yaml_node *r;
	struct writ_bytes text;
	uint64_t n;
	uint32_t s;
	bool b;

	(void)state;
	expect_ok(yaml_parse(
		&yaml, "p.yaml",
		writ_str("yes: yes\ntrue: true\nqtrue: 'true'\nn: 5\nbig: 11\nd: 5m\nlong: 2h\nempty:\ntilde: ~\n"
			 "quoted: ''\nlist: [a]\nmap: {a: b}\n")));
	r = yaml.root;
	expect_ok(yaml_bool(&yaml, yaml_get(r, "true"), "x", &b));
	assert_true(b);
	expect_refused(yaml_bool(&yaml, yaml_get(r, "yes"), "strict", &b), WRIT_INVALID,
		       "p.yaml:1:1: strict: found \"yes\", wanted true or false, without quotes");
	expect_refused(yaml_bool(&yaml, yaml_get(r, "qtrue"), "strict", &b), WRIT_INVALID,
		       "p.yaml:3:1: strict: found the quoted text \"true\", wanted true or false, without quotes");
	expect_ok(yaml_number(&yaml, yaml_get(r, "n"), "depth", 5, 5, &n));
	assert_int_equal(n, 5);
	expect_refused(yaml_number(&yaml, yaml_get(r, "big"), "depth", 1, 10, &n), WRIT_INVALID,
		       "p.yaml:5:1: depth: found \"11\", wanted a number from 1 to 10");
	expect_refused(yaml_number(&yaml, yaml_get(r, "n"), "depth", 6, 10, &n), WRIT_INVALID,
		       "p.yaml:4:1: depth: found \"5\", wanted a number from 6 to 10");
	expect_ok(yaml_duration(&yaml, yaml_get(r, "d"), "lifetime", 1, 900, &s));
	assert_int_equal(s, 300);
	expect_refused(yaml_duration(&yaml, yaml_get(r, "long"), "lifetime", 1, 900, &s), WRIT_INVALID,
		       "p.yaml:7:1: lifetime: found \"2h\", wanted a time from 1s to 900s, such as 90s, 5m or 8h");
	expect_refused(yaml_text(&yaml, yaml_get(r, "empty"), "name", &text), WRIT_INVALID,
		       "p.yaml:8:1: name: found nothing, wanted a text");
	expect_refused(yaml_text(&yaml, yaml_get(r, "tilde"), "name", &text), WRIT_INVALID,
		       "p.yaml:9:1: name: found nothing, wanted a text");
	expect_ok(yaml_text(&yaml, yaml_get(r, "quoted"), "name", &text));
	assert_int_equal(text.len, 0);
	expect_refused(yaml_text(&yaml, yaml_get(r, "list"), "name", &text), WRIT_INVALID,
		       "p.yaml:11:1: name: found a list, wanted a text");
	expect_refused(yaml_kind_is(&yaml, yaml_get(r, "map"), "rules", YAML_LIST), WRIT_INVALID,
		       "p.yaml:12:1: rules: found a map, wanted a list");
	expect_ok(yaml_kind_is(&yaml, yaml_get(r, "map"), "rules", YAML_MAP));
}

static void
an_unknown_key_is_named_with_those_that_are_known(void **state)
{
	static const char *const known[] = { "who", "what", NULL };
	AUTO(yaml_done) struct yaml yaml;

	(void)state;
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_str("who: a\nwhat: b\n")));
	expect_ok(yaml_only(&yaml, yaml.root, known));
	yaml_done(&yaml);
	expect_ok(yaml_parse(&yaml, "p.yaml", writ_str("who: a\n  \nwaht: b\n")));
	expect_refused(yaml_only(&yaml, yaml.root, known), WRIT_INVALID,
		       "p.yaml:3:1: unknown key \"waht\"; known here: who, what");
	expect_refused(yaml_fail(&yaml, NULL, "no %s", "rules"), WRIT_INVALID, "p.yaml: no rules");
	expect_refused(yaml_fail(&yaml, yaml.root, "bad"), WRIT_INVALID, "p.yaml:1:1: bad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_becomes_a_tree_with_places),
		cmocka_unit_test(an_empty_file_has_no_root),
		cmocka_unit_test(what_two_readers_could_read_in_two_ways_is_refused_with_its_place),
		cmocka_unit_test(each_cap_is_taken_at_its_limit_and_refused_one_beyond),
		cmocka_unit_test(a_hostile_file_takes_no_longer_than_50_ms),
		cmocka_unit_test(many_keys_are_compared_quickly),
		cmocka_unit_test(typed_readers_say_what_they_found_and_what_they_want),
		cmocka_unit_test(an_unknown_key_is_named_with_those_that_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
