/* Frames over real sockets, and the cursors of their bodies. */
#include "tests/unit/expect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/frame.h"

static int pair[2];
static uint8_t packet[FRAME_MAX];

static int
setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int
teardown(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static int
n_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
a_frame_arrives_as_it_was_sent(void **state)
{
	static uint8_t body[FRAME_BODY_MAX];
	struct frame frame;

	(void)state;
	memset(body, 0x5a, sizeof(body));
	expect_ok(frame_send(pair[0], 0x1234, UINT64_C(0x0102030405060708), (struct writ_bytes){ body, sizeof(body) },
			     -1, 100));
	expect_ok(frame_receive(pair[1], packet, &frame, NULL, 100));
	assert_int_equal(frame.type, 0x1234);
	assert_true(frame.id == UINT64_C(0x0102030405060708));
	expect_bytes(frame.body, ((struct writ_bytes){ body, sizeof(body) }));
	assert_memory_equal(packet, "\x00\x01\x12\x34\x00\x00\x40\x00\x01\x02\x03\x04\x05\x06\x07\x08",
			    FRAME_HEADER_LEN);
	expect_ok(frame_send(pair[0], 1, 2, (struct writ_bytes){ NULL, 0 }, -1, 100));
	expect_ok(frame_receive(pair[1], packet, &frame, NULL, 100));
	assert_int_equal(frame.body.len, 0);
	expect_refused(frame_send(pair[0], 1, 2, (struct writ_bytes){ body, FRAME_BODY_MAX + 1 }, -1, 100),
		       WRIT_EXHAUSTED, "a frame's body of 16385 bytes is over the limit of 16384");
}

static void
a_packet_that_is_no_frame_is_refused(void **state)
{
	static const struct {
		struct writ_bytes packet;
		const char *message;
	} rows[] = {
#define ROW(packet_, message_) { { (const uint8_t *)(packet_), sizeof(packet_) - 1 }, message_ }
		ROW("\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0", "a packet of 15 bytes is shorter than a frame's header of 16"),
		ROW("\0\2\0\1\0\0\0\0\0\0\0\0\0\0\0\0", "frame version 2: this program speaks 1"),
		ROW("\0\1\0\1\0\0\0\1\0\0\0\0\0\0\0\0", "a frame says that its body has 1 bytes, and 0 came"),
		ROW("\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0", "a frame says that its body has 0 bytes, and 1 came"),
		ROW("\0\1\0\1\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
		    "a frame's body of 4294967295 bytes is over the limit of 16384"),
#undef ROW
	};
	static uint8_t large[FRAME_MAX + 1];
	struct frame frame;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		assert_int_equal(send(pair[0], rows[i].packet.data, rows[i].packet.len, 0), rows[i].packet.len);
		expect_refused(frame_receive(pair[1], packet, &frame, NULL, 100), WRIT_INVALID, rows[i].message);
	}
	assert_int_equal(send(pair[0], large, sizeof(large), 0), sizeof(large));
	expect_refused(frame_receive(pair[1], packet, &frame, NULL, 100), WRIT_INVALID,
		       "a packet is over the limit of 16400 bytes");
}

static void
a_descriptor_travels_only_where_one_is_expected(void **state)
{
	const int before = n_open_fds();
	int fd, null_fd;
	struct frame frame;
	struct stat a, b;

	(void)state;
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	expect_ok(frame_send(pair[0], 1, 1, WRIT_LIT("x"), null_fd, 100));
	expect_ok(frame_receive(pair[1], packet, &frame, &fd, 100));
	assert_true(fd >= 0 && fstat(fd, &a) == 0 && fstat(null_fd, &b) == 0 && a.st_rdev == b.st_rdev);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	expect_ok(frame_send(pair[0], 1, 1, WRIT_LIT("x"), null_fd, 100));
	expect_refused(frame_receive(pair[1], packet, &frame, NULL, 100), WRIT_INVALID,
		       "a frame came with 1 descriptors where 0 may come");
	expect_ok(frame_send(pair[0], 1, 1, WRIT_LIT("x"), -1, 100));
	expect_ok(frame_receive(pair[1], packet, &frame, &fd, 100));
	assert_int_equal(fd, -1);
	close(null_fd);
	assert_int_equal(n_open_fds(), before); /* what was refused was closed */
}

static void
several_descriptors_are_refused_and_closed(void **state)
{
	const int before = n_open_fds();
	const int fds[12] = { pair[0], pair[0], pair[0], pair[0], pair[0], pair[0],
			      pair[0], pair[0], pair[0], pair[0], pair[0], pair[0] };
	uint8_t header[FRAME_HEADER_LEN] = { 0, 1, 0, 1 };
	struct iovec part = { header, sizeof(header) };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(fds))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct frame frame;
	int fd;

	(void)state;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
	msg.msg_controllen = CMSG_SPACE(2 * sizeof(int));
	assert_int_equal(sendmsg(pair[0], &msg, 0), sizeof(header));
	expect_refused(frame_receive(pair[1], packet, &frame, &fd, 100), WRIT_INVALID,
		       "a frame came with 2 descriptors where 1 may come");
	assert_int_equal(fd, -1);
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	msg.msg_controllen = sizeof(control);
	assert_int_equal(sendmsg(pair[0], &msg, 0), sizeof(header));
	expect_refused(frame_receive(pair[1], packet, &frame, &fd, 100), WRIT_INVALID,
		       "a frame came with 8 descriptors where 1 may come"); /* the kernel dropped the rest */
	assert_int_equal(n_open_fds(), before);
}

static void
a_silent_a_full_and_a_dead_peer_are_told_apart(void **state)
{
	static uint8_t body[FRAME_BODY_MAX];
	struct writ_err *err = NULL;
	struct frame frame;

	(void)state;
	expect_refused(frame_receive(pair[1], packet, &frame, NULL, 20), WRIT_UNAVAILABLE,
		       "no frame could be received in time: the peer is busy or hangs");
	for (int i = 0; i < 10000 && !err; i++)
		err = frame_send(pair[0], 1, 1, (struct writ_bytes){ body, sizeof(body) }, -1, 20);
	expect_refused(err, WRIT_UNAVAILABLE, "no frame could be sent in time: the peer is busy or hangs");
	close(pair[0]);
	pair[0] = -1;
	do
		err = frame_receive(pair[1], packet, &frame, NULL, 20);
	while (!err); /* what was sent before is still read */
	expect_refused(err, WRIT_UNAVAILABLE, "the peer closed the connection");
	expect_refused(frame_send(pair[1], 7, 1, WRIT_LIT(""), -1, 20), WRIT_UNAVAILABLE,
		       "sending a frame of type 7: Broken pipe");
}

static void
a_listening_socket_replaces_a_stale_one_and_nothing_else(void **state)
{
	char dir[] = "/tmp/writ-frame-XXXXXX", path[100], text[200], long_path[200];
	int a, b, c, fd;
	struct stat st;
	uid_t uid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(text, sizeof(text), "connecting to %s: No such file or directory", path);
	expect_refused(frame_connect(path, 100, &c), WRIT_UNAVAILABLE, text);
	expect_ok(frame_listen(path, &a));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	snprintf(text, sizeof(text), "another process listens on %s", path);
	expect_refused(frame_listen(path, &b), WRIT_CONFLICT, text);
	expect_ok(frame_connect(path, 100, &c));
	expect_ok(frame_peer(c, &uid));
	assert_int_equal(uid, getuid());
	close(c);
	close(a);
	snprintf(text, sizeof(text), "connecting to %s: Connection refused", path);
	expect_refused(frame_connect(path, 100, &c), WRIT_UNAVAILABLE, text);
	expect_ok(frame_listen(path, &a)); /* stale: replaced */
	close(a);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	snprintf(text, sizeof(text), "%s is there and is not a socket: move it away", path);
	expect_refused(frame_listen(path, &a), WRIT_INVALID, text);
	unlink(path);
	rmdir(dir);
	memset(long_path, 'x', sizeof(long_path));
	long_path[108] = '\0';
	snprintf(text, sizeof(text), "socket path %.80s: has 108 bytes, and 1 to 107 fit: choose a shorter folder",
		 long_path);
	expect_refused(frame_listen(long_path, &a), WRIT_INVALID, text);
}

static void
a_full_backlog_ends_at_the_deadline(void **state)
{
	char dir[] = "/tmp/writ-frame-XXXXXX", path[100];
	int listening, fds[200];
	unsigned n = 0;
	struct writ_err *err = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	expect_ok(frame_listen(path, &listening));
	while (n < N_OF(fds) && !err) {
		err = frame_connect(path, 30, &fds[n]);
		n++;
	}
	n--;
	assert_in_range(n, 60, 70); /* the backlog, about */
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_UNAVAILABLE);
	assert_non_null(strstr(err->message, "Connection timed out"));
	writ_err_free(err);
	while (n > 0)
		close(fds[--n]);
	close(listening);
	unlink(path);
	rmdir(dir);
}

static void
a_body_reads_back_and_failures_stick(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(FRAME_BODY_MAX), small = WRIT_BUF(5);
	struct body_out out = { .buf = &buf }, tight = { .buf = &small };
	struct body_in in;
	uint8_t fixed[3];

	(void)state;
	body_put8(&out, 0x12);
	body_put16(&out, 0x3456);
	body_put32(&out, 0x789abcde);
	body_put64(&out, UINT64_C(0x0123456789abcdef));
	body_put(&out, WRIT_LIT("abc"));
	body_put_bytes(&out, WRIT_LIT("defg"));
	assert_false(out.failed);
	in = body_read(writ_view(&buf));
	assert_int_equal(body_get8(&in), 0x12);
	assert_int_equal(body_get16(&in), 0x3456);
	assert_int_equal(body_get32(&in), 0x789abcde);
	assert_true(body_get64(&in) == UINT64_C(0x0123456789abcdef));
	body_get(&in, fixed, 3);
	assert_memory_equal(fixed, "abc", 3);
	assert_false(body_done(&in));
	expect_bytes(body_get_bytes(&in), WRIT_LIT("defg"));
	assert_true(body_done(&in));
	assert_int_equal(body_get8(&in), 0);
	assert_true(in.failed);
	assert_false(body_done(&in));

	in = body_read(WRIT_LIT("\xff\xff\xff\xff"
				"a")); /* a length past the end */
	assert_int_equal(body_get_bytes(&in).len, 0);
	assert_true(in.failed);
	body_get(&in, fixed, 1); /* a byte is there, and is not given any more */
	assert_int_equal(fixed[0], 0);

	body_put32(&tight, 1);
	body_put16(&tight, 1);
	assert_true(tight.failed);
	body_put8(&tight, 1); /* would fit */
	assert_int_equal(small.len, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_frame_arrives_as_it_was_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_packet_that_is_no_frame_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_travels_only_where_one_is_expected, setup, teardown),
		cmocka_unit_test_setup_teardown(several_descriptors_are_refused_and_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_a_full_and_a_dead_peer_are_told_apart, setup, teardown),
		cmocka_unit_test(a_listening_socket_replaces_a_stale_one_and_nothing_else),
		cmocka_unit_test(a_full_backlog_ends_at_the_deadline),
		cmocka_unit_test(a_body_reads_back_and_failures_stick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
