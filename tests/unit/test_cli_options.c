/*
 * Options of writ(1): what is read, what is refused and in which words, and how an error becomes an exit code.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "issuer/cli/cli.h"
#include "tests/unit/expect.h"

#define ENV_NAME "WRIT_TEST_API"

static const struct option_spec specs[] = {
	{ "--api", OPTION_VALUE, true, ENV_NAME }, { "--out", OPTION_VALUE, false, NULL },
	{ "--allow", OPTION_LIST, false, NULL },   { "--depth", OPTION_VALUE, false, NULL },
	{ "--json", OPTION_FLAG, false, NULL },
};

static char *const command = (char[]){ "command" };
#define ARGV_MAX 80

/* Reads "--a b c" split at blanks, with `arguments` wanted; the text lives as long as the options. */
static struct writ_err *
read_line(const char *line, size_t arguments, struct options *ret)
{
	static char text[1024], *argv[ARGV_MAX];
	int argc = 1;
	char *rest = text;

	snprintf(text, sizeof(text), "%s", line);
	argv[0] = command;
	for (char *word; (word = strsep(&rest, " "));) {
		if (*word)
			argv[argc++] = word;
	}
	argv[argc] = NULL;
	return options_read(argc, argv, specs, N_OF(specs), arguments, ret);
}

static void
a_value_follows_its_option_or_stands_behind_an_equals_sign(void **state)
{
	struct options o;

	(void)state;
	expect_ok(read_line("--api https://a --out=b.pem", 0, &o));
	assert_string_equal(option(&o, "--api"), "https://a");
	assert_string_equal(option(&o, "--out"), "b.pem");
	assert_false(option_given(&o, "--json"));
	assert_null(option(&o, "--depth"));
}

static void
a_value_may_hold_equals_signs_and_begin_with_dashes(void **state)
{
	struct options o;

	(void)state;
	expect_ok(read_line("--api=a=b=c --out --json", 0, &o));
	assert_string_equal(option(&o, "--api"), "a=b=c");
	assert_string_equal(option(&o, "--out"), "--json");
	assert_false(option_given(&o, "--json"));
}

static void
an_empty_value_behind_an_equals_sign_is_given_and_empty(void **state)
{
	struct options o;

	(void)state;
	expect_ok(read_line("--api= --json", 0, &o));
	assert_string_equal(option(&o, "--api"), "");
	assert_true(option_given(&o, "--json"));
}

static void
a_list_keeps_its_order(void **state)
{
	struct options o;
	const char *const *values;

	(void)state;
	expect_ok(read_line("--allow b --api x --allow=a --allow c", 0, &o));
	assert_int_equal(option_list(&o, "--allow", &values), 3);
	assert_string_equal(values[0], "b");
	assert_string_equal(values[1], "a");
	assert_string_equal(values[2], "c");
	assert_int_equal(option_list(&o, "--out", &values), 0);
	assert_int_equal(option_list(&o, "--no-such", &values), 0);
}

static void
arguments_stand_among_options_and_two_dashes_end_these(void **state)
{
	struct options o;

	(void)state;
	expect_ok(read_line("one --api x -- --json", 2, &o));
	assert_int_equal(o.n_arguments, 2);
	assert_string_equal(o.arguments[0], "one");
	assert_string_equal(o.arguments[1], "--json");
	assert_false(option_given(&o, "--json"));
}

static void
a_single_dash_is_an_argument(void **state)
{
	struct options o;

	(void)state;
	expect_ok(read_line("--api x -", 1, &o));
	assert_string_equal(o.arguments[0], "-");
}

static void
the_environment_fills_in_only_what_was_not_given(void **state)
{
	struct options o;

	(void)state;
	setenv(ENV_NAME, "https://env", 1);
	expect_ok(read_line("--json", 0, &o));
	assert_string_equal(option(&o, "--api"), "https://env");
	expect_ok(read_line("--api https://given", 0, &o));
	assert_string_equal(option(&o, "--api"), "https://given");
	unsetenv(ENV_NAME);
}

static void
an_empty_variable_of_the_environment_is_none(void **state)
{
	struct options o;

	(void)state;
	setenv(ENV_NAME, "", 1);
	expect_refused(read_line("--json", 0, &o), WRIT_INVALID, "--api is missing; it may also come from " ENV_NAME);
	unsetenv(ENV_NAME);
}

static void
each_misuse_is_named(void **state)
{
	static const struct {
		const char *line;
		size_t arguments;
		const char *message;
	} cases[] = {
		{ "--colour red --api x", 0, "no option --colour: man writ lists them" },
		{ "--colour=red --api x", 0, "no option --colour: man writ lists them" },
		{ "--ap x", 0, "no option --ap: man writ lists them" },
		{ "--apix x", 0, "no option --apix: man writ lists them" },
		{ "--API x", 0, "no option --API: man writ lists them" },
		{ "--=x --api x", 0, "no option --: man writ lists them" },
		{ "--0123456789012345678901234567890123456789 --api x", 0,
		  "no option --01234567890123456789012345678901234567: man writ lists them" },
		{ "--api x --api x", 0, "--api is given twice" },
		{ "--api x --json --json", 0, "--json is given twice" },
		{ "--api x --json=yes", 0, "--json takes no value" },
		{ "--api x --json=", 0, "--json takes no value" },
		{ "--api", 0, "--api needs a value" },
		{ "--api x --allow", 0, "--allow needs a value" },
		{ "", 0, "--api is missing; it may also come from " ENV_NAME },
		{ "--api x y", 0, "'y' is one argument too many" },
		{ "--api x y z", 1, "'z' is one argument too many" },
		{ "--api x -d", 0, "'-d' is one argument too many" },
		{ "--api x 01234567890123456789012345678901234567890123456789", 0,
		  "'0123456789012345678901234567890123456789' is one argument too many" },
		{ "--api x -- --json", 0, "'--json' is one argument too many" },
		{ "--api x", 1, "1 argument is wanted, 0 given" },
		{ "--api x y", 2, "2 arguments are wanted, 1 given" },
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++)
		expect_refused(read_line(cases[i].line, cases[i].arguments, &o), WRIT_INVALID, cases[i].message);
}

static void
a_missing_option_without_a_variable_says_no_more(void **state)
{
	static const struct option_spec config[] = { { "--config", OPTION_VALUE, true, NULL } };
	char *argv[] = { command, NULL };
	struct options o;

	(void)state;
	expect_refused(options_read(1, argv, config, 1, 0, &o), WRIT_INVALID, "--config is missing");
}

static void
a_list_has_thirty_two_values_and_not_one_more(void **state)
{
	char line[1024] = "--api x";
	struct options o;
	const char *const *values;

	(void)state;
	for (int i = 0; i < OPTION_VALUES_MAX; i++)
		strcat(line, " --allow a");
	expect_ok(read_line(line, 0, &o));
	assert_int_equal(option_list(&o, "--allow", &values), 32);
	strcat(line, " --allow a");
	expect_refused(read_line(line, 0, &o), WRIT_INVALID, "--allow is given more than 32 times");
}

static void
numbers_are_decimal_and_bounded(void **state)
{
	static const char *const refused[] = { "-1", "8", "07", "1x", "+1", "0x1", "18446744073709551616" };
	struct options o;
	uint64_t n = 5;

	(void)state;
	expect_ok(read_line("--api x", 0, &o));
	expect_ok(option_number(&o, "--depth", 7, &n));
	assert_int_equal(n, 5);
	expect_ok(read_line("--api x --depth 0", 0, &o));
	expect_ok(option_number(&o, "--depth", 7, &n));
	assert_int_equal(n, 0);
	expect_ok(read_line("--api x --depth 7", 0, &o));
	expect_ok(option_number(&o, "--depth", 7, &n));
	assert_int_equal(n, 7);
	for (size_t i = 0; i < N_OF(refused); i++) {
		char line[64], message[128];

		snprintf(line, sizeof(line), "--api x --depth %s", refused[i]);
		snprintf(message, sizeof(message), "--depth: '%s' is not a number from 0 to 7", refused[i]);
		expect_ok(read_line(line, 0, &o));
		expect_refused(option_number(&o, "--depth", 7, &n), WRIT_INVALID, message);
	}
	expect_ok(read_line("--api x --depth=", 0, &o));
	expect_refused(option_number(&o, "--depth", 7, &n), WRIT_INVALID, "--depth: '' is not a number from 0 to 7");
}

static void
durations_have_a_unit_or_are_seconds(void **state)
{
	static const struct {
		const char *text;
		uint32_t seconds;
	} good[] = { { "90", 90 }, { "90s", 90 }, { "15m", 900 }, { "0", 0 }, { "900s", 900 } };
	static const char *const refused[] = { "901", "16m", "1h", "1.5m", "-1s", "5M", "5 m", "m", "", "5ms" };
	struct options o;
	uint32_t s = 42;

	(void)state;
	expect_ok(read_line("--api x", 0, &o));
	expect_ok(option_seconds(&o, "--depth", 900, &s));
	assert_int_equal(s, 42);
	for (size_t i = 0; i < N_OF(good); i++) {
		char option_text[64];
		char *argv[] = { command, (char[]){ "--api=x" }, option_text, NULL };

		snprintf(option_text, sizeof(option_text), "--depth=%s", good[i].text);
		expect_ok(options_read(3, argv, specs, N_OF(specs), 0, &o));
		expect_ok(option_seconds(&o, "--depth", 900, &s));
		assert_int_equal(s, good[i].seconds);
	}
	for (size_t i = 0; i < N_OF(refused); i++) {
		char option_text[64], message[128];
		char *argv[] = { command, (char[]){ "--api=x" }, option_text, NULL };

		snprintf(option_text, sizeof(option_text), "--depth=%s", refused[i]);
		snprintf(message, sizeof(message), "--depth: '%s' is not a duration (90s, 5m, 1h) up to 900 s",
			 refused[i]);
		expect_ok(options_read(3, argv, specs, N_OF(specs), 0, &o));
		expect_refused(option_seconds(&o, "--depth", 900, &s), WRIT_INVALID, message);
	}
}

/* Runs `act` with stdout or stderr (`fd`) going to a file, and gives back what it wrote. */
static char *
caught(int fd, void (*act)(void *), void *arg)
{
	static char text[4096];
	char path[] = "/tmp/test_cli_options.XXXXXX";
	const int file = mkstemp(path), saved = dup(fd);
	ssize_t n;

	assert_true(file >= 0 && saved >= 0);
	fflush(NULL);
	assert_true(dup2(file, fd) >= 0);
	act(arg);
	fflush(NULL);
	assert_true(dup2(saved, fd) >= 0);
	close(saved);
	n = pread(file, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(file);
	unlink(path);
	return text;
}

struct failing {
	enum writ_code code;
	int (*print)(const char *, struct writ_err *);
	int exit;
};

static void
fail_now(void *arg)
{
	struct failing *f = arg;

	f->exit = f->print("issue", writ_because(writ_fail(f->code, "inner"), "outer"));
}

static void
an_error_is_told_once_and_its_code_decides_the_exit(void **state)
{
	static const struct {
		enum writ_code code;
		int exit;
	} cases[] = {
		{ WRIT_INVALID, 1 },	 { WRIT_UNAUTHENTICATED, 1 }, { WRIT_NOT_FOUND, 1 }, { WRIT_CONFLICT, 1 },
		{ WRIT_UNAVAILABLE, 4 }, { WRIT_EXHAUSTED, 4 },	      { WRIT_LOCKED, 1 },    { WRIT_BROKEN, 1 },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct failing f = { cases[i].code, cli_fail, -1 };

		assert_string_equal(caught(2, fail_now, &f), "writ issue: outer: inner\n");
		assert_int_equal(f.exit, cases[i].exit);
		f.print = cli_misused;
		assert_string_equal(caught(2, fail_now, &f), "writ issue: outer: inner\n");
		assert_int_equal(f.exit, 2);
	}
}

static void
say_now(void *arg)
{
	cli_say("task", "%s", (const char *)arg);
}

static void
what_a_server_said_cannot_steer_the_terminal(void **state)
{
	char text[] = "a\x1b[2Jb\nc\td\x7f"
		      "e\r",
	     plain[] = "close-q3 \xc3\xbc";

	(void)state;
	assert_string_equal(caught(1, say_now, text), "task: a?[2Jb?c?d?e?\n");
	assert_string_equal(caught(1, say_now, plain), "task: close-q3 \xc3\xbc\n");
}

static void
write_now(void *arg)
{
	expect_ok(cli_write(arg, 0644, writ_str("leaf\n")));
}

static void
output_goes_to_stdout_or_replaces_a_file_at_once(void **state)
{
	char path[] = "/tmp/test_cli_options.XXXXXX", dash[] = "-", text[16] = "", message[128];
	struct stat st;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && write(fd, "an older and longer text", 24) == 24);
	close(fd);
	assert_string_equal(caught(1, write_now, dash), "leaf\n");
	write_now(path);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(read(fd, text, sizeof(text) - 1), 5);
	assert_string_equal(text, "leaf\n");
	close(fd);
	unlink(path);
	snprintf(message, sizeof(message), "making /no-such-folder/leaf.pem.new-%d: No such file or directory",
		 (int)gettid());
	expect_refused(cli_write("/no-such-folder/leaf.pem", 0644, writ_str("leaf\n")), WRIT_UNAVAILABLE, message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_follows_its_option_or_stands_behind_an_equals_sign),
		cmocka_unit_test(a_value_may_hold_equals_signs_and_begin_with_dashes),
		cmocka_unit_test(an_empty_value_behind_an_equals_sign_is_given_and_empty),
		cmocka_unit_test(a_list_keeps_its_order),
		cmocka_unit_test(arguments_stand_among_options_and_two_dashes_end_these),
		cmocka_unit_test(a_single_dash_is_an_argument),
		cmocka_unit_test(the_environment_fills_in_only_what_was_not_given),
		cmocka_unit_test(an_empty_variable_of_the_environment_is_none),
		cmocka_unit_test(each_misuse_is_named),
		cmocka_unit_test(a_missing_option_without_a_variable_says_no_more),
		cmocka_unit_test(a_list_has_thirty_two_values_and_not_one_more),
		cmocka_unit_test(numbers_are_decimal_and_bounded),
		cmocka_unit_test(durations_have_a_unit_or_are_seconds),
		cmocka_unit_test(an_error_is_told_once_and_its_code_decides_the_exit),
		cmocka_unit_test(what_a_server_said_cannot_steer_the_terminal),
		cmocka_unit_test(output_goes_to_stdout_or_replaces_a_file_at_once),
	};

	unsetenv(ENV_NAME);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
