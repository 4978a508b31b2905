/* Events: one JSON object a line, read back by somebody else's JSON reader. */
#include "tests/unit/expect.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <unistd.h>

#include "base/event.h"

static int fds[2];

static int
setup(void **state)
{
	(void)state;
	if (pipe(fds) != 0)
		return 1;
	event_start(fds[1], "writ-test", EVENT_INFO);
	return fcntl(fds[0], F_SETFL, O_NONBLOCK);
}

static int
teardown(void **state)
{
	(void)state;
	event_start(2, "writ-test", EVENT_INFO);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

/* The next line as JSON, or NULL when nothing more was written. */
static json_t *
next(void)
{
	char line[4097];
	size_t len = 0;
	json_t *json;

	while (len < 4096 && read(fds[0], line + len, 1) == 1)
		if (line[len++] == '\n')
			break;
	if (len == 0)
		return NULL;
	assert_in_range(len, 2, 4000);
	assert_int_equal(line[len - 1], '\n');
	json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

static const char *
text_of(const json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));

	return text ? text : "(no such text)";
}

static void
an_event_is_one_line_whatever_is_in_it(void **state)
{
	struct writ_err *err = writ_because(writ_fail(WRIT_UNAVAILABLE, "no device"), "key 1");
	json_t *json;

	(void)state;
	event(EVENT_ALARM, "signer.ready", EV_NUM("entries", INT64_C(-9007199254740991)),
	      EV_STR("tier", "sealed\n\"\x1b[31m"), EV_TEXT("raw", WRIT_LIT("a\xff")),
	      EV_HEX("serial", WRIT_LIT("\x01\xab")), EV_FLAG("logged", false), EV_ERR(err), EV_STR("gone", NULL));
	writ_err_free(err);
	json = next();
	assert_string_equal(text_of(json, "level"), "alarm");
	assert_string_equal(text_of(json, "role"), "writ-test");
	assert_string_equal(text_of(json, "event"), "signer.ready");
	assert_true(json_integer_value(json_object_get(json, "entries")) == INT64_C(-9007199254740991));
	assert_string_equal(text_of(json, "tier"), "sealed\n\"\x1b[31m");
	assert_string_equal(text_of(json, "raw"), "a\\xff");
	assert_string_equal(text_of(json, "serial"), "01ab");
	assert_true(json_is_false(json_object_get(json, "logged")));
	assert_string_equal(text_of(json, "code"), "UNAVAILABLE");
	assert_string_equal(text_of(json, "error"), "key 1: no device");
	assert_string_equal(text_of(json, "gone"), "");
	assert_int_equal(strlen(text_of(json, "time")), strlen("2026-11-23T21:18:20.034Z"));
	json_decref(json);
	assert_null(next());
}

static void
events_below_the_level_are_not_written(void **state)
{
	enum event_level level;
	json_t *json;

	(void)state;
	event(EVENT_DEBUG, "x", EV_NUM("n", 1));
	assert_null(next());
	event_start(fds[1], "writ-test", EVENT_WARN);
	event(EVENT_INFO, "x", EV_NUM("n", 1));
	event(EVENT_WARN, "y", EV_NUM("n", 1));
	json = next();
	assert_string_equal(text_of(json, "event"), "y");
	json_decref(json);
	assert_null(next());
	assert_true(event_level_from(WRIT_LIT("warn"), &level) && level == EVENT_WARN);
	assert_true(event_level_from(WRIT_LIT("alarm"), &level) && level == EVENT_ALARM);
	assert_false(event_level_from(WRIT_LIT("WARN"), &level));
	assert_false(event_level_from(WRIT_LIT("warning"), &level));
}

static void
a_line_stays_within_4000_bytes_and_says_what_is_missing(void **state)
{
	static char text[5000];
	json_t *json;

	(void)state;
	memset(text, '\x01', sizeof(text) - 1); /* six bytes each, when escaped */
	event(EVENT_INFO, "large", EV_STR("first", text), EV_NUM("after", 1));
	json = next();
	assert_true(json_is_true(json_object_get(json, "truncated")));
	assert_null(json_object_get(json, "first"));
	assert_int_equal(json_integer_value(json_object_get(json, "after")), 1);
	json_decref(json);
	memset(text, 'x', sizeof(text) - 1);
	event(EVENT_INFO, "cut", EV_STR("first", text), EV_HEX("hex", writ_str(text)));
	json = next();
	assert_int_equal(strlen(text_of(json, "first")), 1003);
	assert_string_equal(text_of(json, "first") + 1000, "...");
	assert_int_equal(strlen(text_of(json, "hex")), 1000);
	json_decref(json);
}

static void
a_full_pipe_drops_lines_and_the_next_one_tells_how_many(void **state)
{
	const uint64_t before = event_dropped();
	json_t *json = NULL;
	uint64_t n_read = 0, n_dropped;

	(void)state;
	for (int i = 0; i < 2000; i++)
		event(EVENT_INFO, "flood", EV_STR("text", "some words that take room in the pipe"));
	n_dropped = event_dropped() - before;
	assert_true(n_dropped > 0);
	while ((json = next())) {
		n_read++;
		json_decref(json);
	}
	assert_int_equal(n_read + n_dropped, 2000);
	event(EVENT_INFO, "after", EV_NUM("n", 1));
	event(EVENT_INFO, "later", EV_NUM("n", 1));
	json = next();
	assert_int_equal(json_integer_value(json_object_get(json, "dropped")), n_dropped);
	json_decref(json);
	json = next();
	assert_null(json_object_get(json, "dropped")); /* told once */
	json_decref(json);
}

static void
a_reader_that_is_gone_does_not_end_us(void **state)
{
	const uint64_t before = event_dropped();

	(void)state;
	close(fds[0]);
	event(EVENT_INFO, "x", EV_NUM("n", 1)); /* would be SIGPIPE */
	assert_int_equal(event_dropped() - before, 1);
	event_start(-1, "writ-test", EVENT_INFO);
	event(EVENT_INFO, "x", EV_NUM("n", 1));
	assert_int_equal(event_dropped() - before, 2);
}

static void *
write_many(void *unused)
{
	for (int i = 0; i < 200; i++)
		event(EVENT_INFO, "thread", EV_NUM("n", i), EV_STR("text", "lines of two threads do not mix"));
	return unused;
}

static void
lines_of_several_threads_do_not_mix(void **state)
{
	const uint64_t before = event_dropped();
	pthread_t threads[4];
	uint64_t n = 0;
	json_t *json;

	(void)state;
	for (size_t i = 0; i < N_OF(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, NULL), 0);
	for (size_t i = 0; i < N_OF(threads); i++)
		pthread_join(threads[i], NULL);
	while ((json = next())) {
		n++;
		json_decref(json);
	}
	assert_int_equal(n + event_dropped() - before, 800);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_event_is_one_line_whatever_is_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(events_below_the_level_are_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_stays_within_4000_bytes_and_says_what_is_missing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_pipe_drops_lines_and_the_next_one_tells_how_many, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_is_gone_does_not_end_us, setup, teardown),
		cmocka_unit_test_setup_teardown(lines_of_several_threads_do_not_mix, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
