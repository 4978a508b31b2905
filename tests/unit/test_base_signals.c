/* Signals as something to read. */
#include "tests/unit/expect.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/signals.h"

static void
those_asked_for_are_read_one_after_the_other_and_do_nothing_else(void **state)
{
	int fd = -1;

	(void)state;
	expect_ok(signals_open((const int[]){ SIGTERM, SIGHUP, 0 }, &fd));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(signals_next(fd), 0);
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(signals_next(fd), SIGTERM);
	assert_int_equal(signals_next(fd), 0);
	assert_int_equal(raise(SIGHUP), 0);
	assert_int_equal(raise(SIGHUP), 0); /* twice before anybody looked is once */
	assert_int_equal(signals_next(fd), SIGHUP);
	assert_int_equal(signals_next(fd), 0);
	close(fd);
}

static void
writing_to_who_has_gone_is_an_error_and_no_end(void **state)
{
	int fd = -1, gone[2];

	(void)state;
	expect_ok(signals_open((const int[]){ SIGTERM, 0 }, &fd));
	assert_int_equal(pipe(gone), 0);
	close(gone[0]);
	assert_int_equal(write(gone[1], "x", 1), -1);
	close(gone[1]);
	close(fd);
}

static void
what_was_not_asked_for_does_what_it_always_does(void **state)
{
	const pid_t pid = fork();
	int fd, status;

	(void)state;
	if (pid == 0) {
		writ_err_free(signals_open((const int[]){ SIGTERM, 0 }, &fd));
		raise(SIGINT);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_asked_for_are_read_one_after_the_other_and_do_nothing_else),
		cmocka_unit_test(writing_to_who_has_gone_is_an_error_and_no_end),
		cmocka_unit_test(what_was_not_asked_for_does_what_it_always_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
