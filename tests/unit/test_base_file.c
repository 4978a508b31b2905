/* Files, secrets and fault points. */
#include "tests/unit/expect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/secret.h"

static char dir[] = "/tmp/writ-file-XXXXXX";
static char path[64], text[300];

static int
setup(void **state)
{
	(void)state;
	umask(022);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/f", dir);
	return 0;
}

static int
teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void
put(const char *contents, mode_t mode)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, contents, strlen(contents)), strlen(contents));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static const char *
with_path(const char *rest)
{
	snprintf(text, sizeof(text), "%s%s", path, rest);
	return text;
}

static void
a_file_is_read_to_its_limit_and_appended(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(6), large = WRIT_BUF(100000);
	static char contents[50001];

	(void)state;
	put("abc", 0644);
	expect_ok(file_read(path, FILE_CONFIG, &buf));
	expect_ok(file_read(path, FILE_ANY, &buf)); /* exactly full */
	expect_bytes(writ_view(&buf), WRIT_LIT("abcabc"));
	snprintf(text, sizeof(text), "%s is over the limit of 6 bytes", path);
	expect_refused(file_read(path, FILE_ANY, &buf), WRIT_EXHAUSTED, text);
	assert_int_equal(buf.len, 6);
	memset(contents, 'x', 50000);
	put(contents, 0600);
	expect_ok(file_read(path, FILE_PRIVATE, &large));
	assert_int_equal(large.len, 50000);
}

static void
a_file_that_may_not_be_trusted_is_refused_with_the_reason(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100);
	char link_path[80];

	(void)state;
	expect_refused(file_read(path, FILE_CONFIG, &buf), WRIT_NOT_FOUND, with_path(" does not exist"));
	put("abc", 0664);
	expect_refused(file_read(path, FILE_CONFIG, &buf), WRIT_INVALID,
		       with_path(" has mode 0664: others than its owner may write it: chmod go-w"));
	expect_ok(file_read(path, FILE_ANY, &buf));
	chmod(path, 0602);
	expect_refused(file_read(path, FILE_CONFIG, &buf), WRIT_INVALID,
		       with_path(" has mode 0602: others than its owner may write it: chmod go-w"));
	chmod(path, 0640);
	expect_ok(file_read(path, FILE_CONFIG, &buf));
	expect_refused(file_read(path, FILE_PRIVATE, &buf), WRIT_INVALID,
		       with_path(" has mode 0640: others than its owner may read it: chmod go-rwx"));
	chmod(path, 0604);
	expect_refused(file_read(path, FILE_PRIVATE, &buf), WRIT_INVALID,
		       with_path(" has mode 0604: others than its owner may read it: chmod go-rwx"));
	chmod(path, 0600);
	expect_ok(file_read(path, FILE_PRIVATE, &buf));
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	assert_int_equal(symlink(path, link_path), 0);
	snprintf(text, sizeof(text), "%s is a symbolic link: name the file itself", link_path);
	expect_refused(file_read(link_path, FILE_CONFIG, &buf), WRIT_INVALID, text);
	expect_ok(file_read(link_path, FILE_ANY, &buf));
	snprintf(text, sizeof(text), "%s is a folder, not a file", dir);
	expect_refused(file_read(dir, FILE_CONFIG, &buf), WRIT_INVALID, text);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(file_read(path, FILE_CONFIG, &buf), WRIT_INVALID, with_path(" is not a regular file"));
}

static void
a_file_of_another_user_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100);

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give a file away */
	put("abc", 0600);
	assert_int_equal(chown(path, 12345, 0), 0);
	expect_refused(file_read(path, FILE_CONFIG, &buf), WRIT_INVALID,
		       with_path(" belongs to uid 12345: it must belong to root or to uid 0"));
	expect_ok(file_read(path, FILE_PEER, &buf));
	chmod(path, 0662);
	expect_refused(file_read(path, FILE_PEER, &buf), WRIT_INVALID,
		       with_path(" has mode 0662: others than its owner may write it: chmod go-w"));
}

static void
a_replaced_file_is_whole_and_leaves_nothing_beside_it(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(100);
	struct stat st;
	char below[100];

	(void)state;
	umask(0);
	expect_ok(file_replace(path, 0640, WRIT_LIT("one")));
	expect_ok(file_replace(path, 0600, WRIT_LIT("two")));
	expect_ok(file_read(path, FILE_PRIVATE, &buf));
	expect_bytes(writ_view(&buf), WRIT_LIT("two"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0); /* in the way */
	snprintf(below, sizeof(below), "%s/x", path);
	expect_ok(file_replace(below, 0600, WRIT_LIT("")));
	snprintf(text, sizeof(text), "putting %s in place: Is a directory", path);
	expect_refused(file_replace(path, 0600, WRIT_LIT("three")), WRIT_UNAVAILABLE, text);
	unlink(below);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0); /* empty: no temporary was left */
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void
a_folder_is_made_or_must_be_ours_and_no_wider(void **state)
{
	struct stat st;

	(void)state;
	umask(077);
	expect_ok(file_make_dir(path, 0750));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	expect_ok(file_make_dir(path, 0750));
	snprintf(text, sizeof(text), "the folder %s has mode 0750, wider than 0700: chmod 0700", path);
	expect_refused(file_make_dir(path, 0700), WRIT_INVALID, text);
	rmdir(path);
	put("", 0600);
	expect_refused(file_make_dir(path, 0700), WRIT_INVALID, with_path(" is there and is not a folder"));
	unlink(path);
	assert_int_equal(symlink(dir, path), 0);
	expect_refused(file_make_dir(path, 0700), WRIT_INVALID, with_path(" is there and is not a folder"));
}

static void
a_lock_is_held_by_one(void **state)
{
	int a, b;

	(void)state;
	expect_ok(file_lock(dir, &a));
	snprintf(text, sizeof(text), "%s/lock is locked: another process uses this folder", dir);
	expect_refused(file_lock(dir, &b), WRIT_CONFLICT, text);
	assert_int_equal(b, -1);
	close(a);
	expect_ok(file_lock(dir, &b));
	close(b);
}

/* Runs `act` in a process of its own; returns the signal that ended it, or 0. */
static int
signal_of(void (*act)(void))
{
	const pid_t pid = fork();
	int status;

	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		fclose(stderr);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
sync_a_pipe(void)
{
	int fds[2];

	if (pipe(fds) == 0)
		file_sync(fds[1], "a pipe"); /* EINVAL */
}

static void
an_fsync_error_ends_the_process(void **state)
{
	(void)state;
	assert_int_equal(signal_of(sync_a_pipe), SIGABRT); /* I13 */
}

static void
secrets_are_refused_before_their_heap_is_made(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };

	(void)state;
	expect_refused(writ_secret_set(&secret, WRIT_LIT("x")), WRIT_BROKEN,
		       "a secret was to be kept before the heap for secrets was made");
}

static void
secrets_live_in_the_secure_heap_of_a_process_without_cores(void **state)
{
	AUTO(writ_secret_done) struct writ_secret a = { 0 }, b = { 0 };
	struct rlimit core;
	char long_one[WRIT_SECRET_MAX + 1];

	(void)state;
	expect_ok(writ_secret_start());
	expect_ok(writ_secret_start()); /* twice does no harm */
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
	assert_int_equal(core.rlim_max, 0);
	memset(long_one, 'p', sizeof(long_one));
	expect_ok(writ_secret_set(&a, (struct writ_bytes){ (uint8_t *)long_one, WRIT_SECRET_MAX }));
	assert_int_equal(CRYPTO_secure_allocated(a.data), 1);
	assert_int_equal(a.len, WRIT_SECRET_MAX);
	expect_refused(writ_secret_set(&b, (struct writ_bytes){ (uint8_t *)long_one, sizeof(long_one) }),
		       WRIT_EXHAUSTED, "a secret of 129 bytes is over the limit of 128");
	expect_ok(writ_secret_random(&a, 32));
	expect_ok(writ_secret_random(&b, 32));
	assert_int_equal(a.len, 32);
	assert_false(writ_same((struct writ_bytes){ a.data, 32 }, (struct writ_bytes){ b.data, 32 }));
	writ_secret_done(&a);
	assert_null(a.data);
	writ_secret_done(&a);
	expect_ok(writ_secret_set(&a, WRIT_LIT("")));
	assert_int_equal(a.len, 0);
}

static void
a_secret_comes_from_a_private_file_without_its_newline(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	char contents[WRIT_SECRET_MAX + 3];

	(void)state;
	put("hunter2\n", 0400);
	expect_ok(writ_secret_read(&secret, path));
	expect_bytes(((struct writ_bytes){ secret.data, secret.len }), WRIT_LIT("hunter2"));
	unlink(path);
	put("a\n\n", 0600);
	expect_ok(writ_secret_read(&secret, path));
	expect_bytes(((struct writ_bytes){ secret.data, secret.len }), WRIT_LIT("a\n"));
	memset(contents, 'p', sizeof(contents));
	contents[WRIT_SECRET_MAX] = '\n';
	contents[WRIT_SECRET_MAX + 1] = '\0';
	put(contents, 0600);
	expect_ok(writ_secret_read(&secret, path));
	assert_int_equal(secret.len, WRIT_SECRET_MAX);
	contents[WRIT_SECRET_MAX] = 'p';
	put(contents, 0600);
	expect_refused(writ_secret_read(&secret, path), WRIT_EXHAUSTED,
		       with_path(" holds more than the 128 bytes of a secret"));
	assert_null(secret.data);
	put("\n", 0600);
	expect_refused(writ_secret_read(&secret, path), WRIT_INVALID, with_path(" is empty: it must hold a secret"));
	put("hunter2", 0644);
	expect_refused(writ_secret_read(&secret, path), WRIT_INVALID,
		       with_path(" has mode 0644: others than its owner may read it: chmod go-rwx"));
}

static void
a_secret_that_was_handed_over_is_read_whole_and_a_pipe_once(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	int file, ends[2];

	(void)state;
	put("hunter2\n", 0600);
	file = open(path, O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 2; i++) { /* resuming reads it anew */
		expect_ok(writ_secret_read_fd(&secret, file, "fd:5"));
		assert_int_equal(secret.len, 7);
		assert_memory_equal(secret.data, "hunter2", 7);
	}
	close(file);
	expect_refused(writ_secret_read_fd(&secret, file, "fd:5"), WRIT_UNAVAILABLE, "reading fd:5: Bad file descriptor");
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "hunter2", 7), 7);
	close(ends[1]);
	expect_ok(writ_secret_read_fd(&secret, ends[0], "fd:5"));
	assert_memory_equal(secret.data, "hunter2", 7);
	expect_refused(writ_secret_read_fd(&secret, ends[0], "fd:5"), WRIT_INVALID,
		       "fd:5 is empty: it must hold a secret");
	close(ends[0]);
}

#ifdef WRIT_FAULTS
static void
pass_three_times(void)
{
	FAULT("other");
	FAULT("other");
	FAULT("other");
	FAULT("stage");
	FAULT("stage");
	file_sync(open(path, O_WRONLY | O_CLOEXEC), "a marker");
	unlink(path); /* seen by the test: the second pass was survived */
	FAULT("stage");
	_exit(7);
}

static void
a_fault_point_kills_at_the_pass_that_was_asked_for(void **state)
{
	(void)state;
	put("", 0600);
	setenv("WRIT_FAULT", "stage:3", 1);
	assert_int_equal(signal_of(pass_three_times), SIGKILL);
	assert_int_equal(access(path, F_OK), -1);
	put("", 0600);
	setenv("WRIT_FAULT", "stage:4", 1);
	assert_int_equal(signal_of(pass_three_times), 0);
	setenv("WRIT_FAULT", "stage:zero", 1); /* could never fire: said at once */
	assert_int_equal(signal_of(pass_three_times), SIGABRT);
	unsetenv("WRIT_FAULT");
	put("", 0600);
	assert_int_equal(signal_of(pass_three_times), 0);
}

/* This program again, from its beginning: main() sees the argument. */
static void
begin_anew(void)
{
	execl("/proc/self/exe", "test_base_file", "stage", (char *)NULL);
	_exit(9);
}

static void
a_fault_ordered_in_a_file_kills_once(void **state)
{
	struct fault_order order = { .stage = "stage" };
	char setting[sizeof(path) + 1];
	int fd;

	(void)state;
	put("", 0600);
	fd = open(path, O_RDWR | O_CLOEXEC);
	snprintf(setting, sizeof(setting), "@%s", path);
	setenv("WRIT_FAULT", setting, 1);
	assert_int_equal(signal_of(begin_anew), SIGABRT); /* too short to be an order */
	assert_int_equal(pwrite(fd, &order, sizeof(order), 0), sizeof(order));
	assert_int_equal(signal_of(begin_anew), 0);
	atomic_store(&order.left, 2);
	assert_int_equal(pwrite(fd, &order, sizeof(order), 0), sizeof(order));
	assert_int_equal(signal_of(begin_anew), 0); /* one pass each */
	assert_int_equal(signal_of(begin_anew), SIGKILL);
	assert_int_equal(signal_of(begin_anew), 0);
	unsetenv("WRIT_FAULT");
	close(fd);
}
#endif

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_read_to_its_limit_and_appended, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_may_not_be_trusted_is_refused_with_the_reason, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_file_of_another_user_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_replaced_file_is_whole_and_leaves_nothing_beside_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_is_made_or_must_be_ours_and_no_wider, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lock_is_held_by_one, setup, teardown),
		cmocka_unit_test(an_fsync_error_ends_the_process),
#ifdef WRIT_FAULTS
		cmocka_unit_test_setup_teardown(a_fault_point_kills_at_the_pass_that_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fault_ordered_in_a_file_kills_once, setup, teardown),
#endif
		cmocka_unit_test(secrets_are_refused_before_their_heap_is_made),
		cmocka_unit_test(secrets_live_in_the_secure_heap_of_a_process_without_cores),
		cmocka_unit_test_setup_teardown(a_secret_that_was_handed_over_is_read_whole_and_a_pipe_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_secret_comes_from_a_private_file_without_its_newline, setup,
						teardown),
	};

#ifdef WRIT_FAULTS
	if (argc == 2) {
		fault_point(argv[1]);
		return 0;
	}
#endif
	(void)argc;
	(void)argv;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
