/*
 * writ-deviced as a process: whom it serves, what it does with garbage, how it ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "hsm/wire_codec.h"
#include "tests/contract/footprint.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

static struct rig rig;

static int
group_start(void **state)
{
	(void)state;
	rig = (struct rig){ .name = "deviced", .tpm = true, .wire = true };
	machine_make(&rig.here, true);
	return 0;
}

static int
group_end(void **state)
{
	(void)state;
	machine_done(&rig.here, false);
	return 0;
}

static int
claim_start(void **state)
{
	(void)state;
	expect_ok(rig_open(&rig, &rig.here));
	return 0;
}

static int
claim_end(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static int
code_of(struct writ_err *err)
{
	const int code = err ? (int)err->code : -1;

	writ_err_free(err);
	return code;
}

/* Until somebody takes connections there. */
static void
wait_for(const char *path)
{
	const int64_t until = clock_read().mono_ms + 10000;
	int sock = -1;

	while (sock < 0 && clock_read().mono_ms < until) {
		writ_err_free(frame_connect(path, 1000, &sock));
		usleep(2000);
	}
	assert_true(sock >= 0);
	close(sock);
}

static int
connected(void)
{
	int sock;

	expect_ok(frame_connect(rig.socket, 1000, &sock));
	return sock;
}

/* Its answer to a whole frame; false when it closed the connection instead. */
static bool
asked(int sock, unsigned type, struct writ_bytes body, uint8_t packet[FRAME_MAX], struct frame *ret)
{
	struct writ_err *err;

	expect_ok(frame_send(sock, (uint16_t)type, 9, body, -1, 1000));
	err = frame_receive(sock, packet, ret, NULL, 5000);
	if (!err)
		return true;
	writ_err_free(err);
	return false;
}

/* ---- who, and what ---- */

static void
a_uid_that_is_not_named_is_not_served(void **state)
{
	char socket[RIG_PATH_MAX];
	struct device *device = NULL;
	pid_t pid;

	(void)state;
	rig_close(&rig);
	snprintf(socket, sizeof(socket), "%s/foreign.sock", rig.here.dir);
	pid = deviced_start(&rig, &rig.here, socket, "54321,54322");
	wait_for(socket);
	expect_ok(device_connect(socket, (uid_t)-1, &device));
	assert_int_equal(code_of(device_health(device)), WRIT_UNAVAILABLE);
	device_close(device);
	kill(pid, SIGTERM);
	assert_int_equal(process_wait(pid, 5000), 0);
	assert_int_equal(access(socket, F_OK), -1); /* and it takes its socket away */
}

/* Root can be a stranger for once; others meet themselves, where they were told to expect one. */
static void
a_server_of_another_uid_is_not_spoken_to(void **state)
{
	const bool root = geteuid() == 0;
	char dir[64], path[RIG_PATH_MAX], message[300];
	struct device *device = NULL;
	pid_t pid;

	(void)state;
	dir_make(dir, sizeof(dir));
	assert_int_equal(chmod(dir, 0777), 0);
	snprintf(path, sizeof(path), "%s/s", dir);
	pid = fork();
	if (pid == 0) {
		int sock;

		if (root && setresuid(54321, 54321, 54321) != 0)
			_exit(1);
		writ_err_free(frame_listen(path, &sock));
		pause();
		_exit(0);
	}
	wait_for(path);
	snprintf(message, sizeof(message), "%s is served by uid %u, which is not writ-deviced's", path,
		 root ? 54321 : (unsigned)geteuid());
	expect_refused(device_connect(path, root ? (uid_t)-1 : 54321, &device), WRIT_UNAUTHENTICATED, message);
	assert_null(device);
	kill(pid, SIGKILL);
	process_wait(pid, 5000);
	run("rm -rf %s", dir);
}

static void
garbage_ends_its_connection_and_no_other(void **state)
{
	static uint8_t big[FRAME_MAX + 1];
	static const uint8_t version_2[FRAME_HEADER_LEN] = { 0, 2, 0, 1 },
			     lying[FRAME_HEADER_LEN] = { 0, 1, 0, 1, 0, 0, 0, 9 };
	const struct writ_bytes garbage[] = {
		WRIT_LIT("garbage"), { big, sizeof(big) }, { version_2, sizeof(version_2) }, { lying, sizeof(lying) }
	};

	(void)state;
	for (size_t i = 0; i < N_OF(garbage); i++) {
		const int sock = connected();
		uint8_t byte;

		assert_int_equal(send(sock, garbage[i].data, garbage[i].len, 0), (ssize_t)garbage[i].len);
		assert_int_equal(recv(sock, &byte, 1, 0), 0);
		close(sock);
		expect_ok(rig_health(&rig));
	}
}

static void
a_frame_that_is_no_request_is_answered_with_an_error(void **state)
{
	static const struct {
		unsigned type;
		struct writ_bytes body;
		const char *message;
	} cases[] = {
		{ 0, { NULL, 0 }, "device wire: 0 is no request" },
		{ 64, { NULL, 0 }, "device wire: 64 is no request" },
		{ 0x81, { NULL, 0 }, "device wire: 129 is no request" },
		{ 0xff, { NULL, 0 }, "device wire: 255 is no request" },
		{ 0xffff, { NULL, 0 }, "device wire: 65535 is no request" },
		{ DEVICE_SIGN,
		  { (const uint8_t *)"\0\0\0\1\377\377\377\377", 8 },
		  "device wire: malformed SIGN request of 8 bytes" },
		{ DEVICE_SEAL, { (const uint8_t *)"short", 5 }, "device wire: malformed SEAL request of 5 bytes" },
		{ DEVICE_SIGN, { (const uint8_t *)"\0\0\0\1\0\0\0\1m", 9 }, "no key 1 is loaded over this connection" },
		{ DEVICE_SIGN, { (const uint8_t *)"\0\0\0\0\0\0\0\1m", 9 }, "no key 0 is loaded over this connection" },
		{ DEVICE_UNLOAD,
		  { (const uint8_t *)"\377\377\377\377", 4 },
		  "no key 4294967295 is loaded over this connection" },
	};
	const int sock = connected();

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		uint8_t packet[FRAME_MAX];
		struct device_answer answer;
		struct writ_err *failed;
		struct frame frame;

		assert_true(asked(sock, cases[i].type, cases[i].body, packet, &frame));
		assert_int_equal(frame.id, 9);
		expect_ok(device_answer_decode(&frame, DEVICE_HEALTH, &answer, &failed));
		assert_non_null(failed);
		assert_string_equal(failed->message, cases[i].message);
		writ_err_free(failed);
	}
	close(sock);
}

static void
a_key_belongs_to_its_connection(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX), sig = WRIT_BUF(SIGNATURE_MAX);
	AUTO(device_closep) struct device *other = NULL;
	uint32_t handle = 0, again = 0;

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handle));
	expect_ok(device_connect(rig.socket, (uid_t)-1, &other));
	assert_int_equal(code_of(device_sign(other, handle, WRIT_LIT("m"), &sig)), WRIT_NOT_FOUND);
	assert_int_equal(code_of(device_unload(other, handle)), WRIT_NOT_FOUND);
	expect_ok(rig_sign(&rig, handle, WRIT_LIT("m"), &sig));
	rig_unload(&rig, handle);
	assert_int_equal(code_of(rig_sign(&rig, handle, WRIT_LIT("m"), &sig)), WRIT_NOT_FOUND);
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &again));
	assert_int_not_equal(again, handle); /* a handle is not given twice */
}

static void
a_connection_holds_272_keys(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX), sig = WRIT_BUF(SIGNATURE_MAX);
	uint32_t handles[273];

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
	for (int i = 0; i < 272; i++)
		expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handles[i]));
	expect_refused(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handles[272]), WRIT_EXHAUSTED,
		       "272 keys are loaded over this connection, which is the limit");
	rig_unload(&rig, handles[3]);
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handles[272]));
	expect_ok(rig_sign(&rig, handles[272], WRIT_LIT("m"), &sig));
}

static void
a_fifth_connection_waits_for_a_place(void **state)
{
	struct device *devices[4] = { NULL };
	uint8_t packet[FRAME_MAX];
	struct frame frame;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		expect_ok(device_connect(rig.socket, (uid_t)-1, &devices[i]));
		expect_ok(device_health(devices[i]));
	}
	expect_ok(device_connect(rig.socket, (uid_t)-1, &devices[3]));
	expect_ok(frame_send(device_fd(devices[3]), DEVICE_HEALTH, 1, (struct writ_bytes){ 0 }, -1, 1000));
	assert_int_equal(code_of(frame_receive(device_fd(devices[3]), packet, &frame, NULL, 200)), WRIT_UNAVAILABLE);
	device_close(devices[0]);
	expect_ok(frame_receive(device_fd(devices[3]), packet, &frame, NULL, 5000));
	assert_int_equal(frame.type, DEVICE_HEALTH | DEVICE_ANSWER);
	for (size_t i = 1; i < 4; i++)
		device_close(devices[i]);
}

static void
sixty_four_signatures_are_answered_without_waiting_for_each(void **state)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX);
	AUTO(pubkey_done) struct pubkey public = { 0 };
	static uint8_t message[2500];
	uint64_t seen = 0;
	uint32_t handle = 0;

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handle));
	expect_ok(pubkey_load(writ_view(&spki), &public));
	for (uint64_t id = 0; id < 64; id++)
		expect_ok(device_sign_start(rig.device, id, handle, (struct writ_bytes){ message, 1000 + id }));
	while (seen != UINT64_MAX) {
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
		struct writ_err *failed;
		uint64_t id = 0;
		bool any;

		expect_ok(device_sign_next(rig.device, &any, &id, &sig, &failed));
		if (!any) {
			usleep(1000);
			continue;
		}
		expect_ok(failed);
		expect_ok(pubkey_verify(&public, (struct writ_bytes){ message, 1000 + id }, writ_view(&sig)));
		assert_false(seen >> id & 1);
		seen |= UINT64_C(1) << id;
	}
	rig_unload(&rig, handle);
}

/* ---- messages beside a frame ---- */

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int
memfd_of(off_t len, int seals)
{
	const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, len), 0);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* Sends a request with that descriptor beside it, which it closes; the answer must be an error with these words. */
static void
refused_beside(int sock, const struct device_request *request, int fd, const char *words)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	struct device_answer answer;
	uint8_t packet[FRAME_MAX];
	struct writ_err *failed = NULL;
	struct frame frame;

	expect_ok(device_request_encode(request, &body));
	expect_ok(frame_send(sock, (uint16_t)request->type, 9, writ_view(&body), fd, 1000));
	if (fd >= 0)
		close(fd);
	expect_ok(frame_receive(sock, packet, &frame, NULL, 5000));
	expect_ok(device_answer_decode(&frame, request->type, &answer, &failed));
	assert_non_null(failed);
	assert_int_equal(failed->code, WRIT_INVALID);
	if (!strstr(failed->message, words))
		fail_msg("refused with \"%s\", and not with \"%s\"", failed->message, words);
	writ_err_free(failed);
}

static int
descriptors_of(pid_t pid)
{
	char command[80], count[16] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "ls /proc/%d/fd | wc -l", (int)pid);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_non_null(fgets(count, sizeof(count), pipe));
	pclose(pipe);
	return atoi(count);
}

/* Back to so many, soon: writ-deviced closes a connection when its turn comes, not when we do. */
static void
expect_descriptors(int wanted)
{
	for (int i = 0; i < 100 && descriptors_of(rig.deviced) != wanted; i++)
		usleep(20000);
	assert_int_equal(descriptors_of(rig.deviced), wanted);
}

static void
what_is_wrong_beside_a_frame_is_refused_and_closed(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX), sig = WRIT_BUF(SIGNATURE_MAX);
	struct device_request sign = { .type = DEVICE_SIGN }, both, load, health = { .type = DEVICE_HEALTH };
	static uint8_t message[DEVICE_INLINE_MAX + 1];
	int sock, before;

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &sign.handle));
	sock = device_fd(rig.device);
	before = descriptors_of(rig.deviced);
	both = sign;
	both.message = WRIT_LIT("m");
	load = (struct device_request){ .type = DEVICE_LOAD, .ref = writ_view(&ref), .spki = writ_view(&spki) };
	refused_beside(sock, &sign, -1, "a message to sign has 1 to 67108864 bytes, not 0");
	refused_beside(sock, &sign, memfd_of(300000, 0),
		       "not sealed against writing, shrinking and growing (seals 0x0)");
	refused_beside(sock, &sign, memfd_of(300000, F_SEAL_SHRINK | F_SEAL_GROW), "is not sealed against writing");
	refused_beside(sock, &sign, memfd_of(300000, F_SEAL_WRITE | F_SEAL_GROW), "is not sealed against writing");
	refused_beside(sock, &sign, memfd_of(300000, F_SEAL_WRITE | F_SEAL_SHRINK), "is not sealed against writing");
	refused_beside(sock, &sign, memfd_of(300000, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW),
		       "is not sealed against writing");
	refused_beside(sock, &sign, memfd_of(CUSTODY_MESSAGE_MAX + 1, SEALS),
		       "a message in a memfd has 12289 to 67108864 bytes, not 67108865");
	refused_beside(sock, &sign, memfd_of((off_t)1 << 40, SEALS),
		       "a message in a memfd has 12289 to 67108864 bytes, not 1099511627776");
	refused_beside(sock, &sign, memfd_of(0, SEALS), "a message in a memfd has 12289 to 67108864 bytes, not 0");
	refused_beside(sock, &sign, memfd_of(DEVICE_INLINE_MAX, SEALS),
		       "a message in a memfd has 12289 to 67108864 bytes, not 12288");
	refused_beside(sock, &sign, open("/dev/zero", O_RDONLY | O_CLOEXEC),
		       "the descriptor beside the frame is no memfd");
	refused_beside(sock, &sign, open(rig.here.dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY), "is n");
	refused_beside(sock, &both, memfd_of(300000, SEALS),
		       "a message of 1 bytes in the frame, and a memfd beside it: one of both");
	refused_beside(sock, &load, memfd_of(300000, SEALS), "a descriptor came with LOAD, which takes none");
	refused_beside(sock, &health, memfd_of(300000, SEALS), "a descriptor came with HEALTH, which takes none");
	expect_descriptors(before);
	expect_ok(rig_sign(&rig, sign.handle, (struct writ_bytes){ message, sizeof(message) }, &sig));
	expect_descriptors(before);
	rig_unload(&rig, sign.handle);
}

static void
two_descriptors_beside_a_frame_end_the_connection(void **state)
{
	struct {
		_Alignas(struct cmsghdr) char room[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	const int two[] = { memfd_of(300000, SEALS), memfd_of(300000, SEALS) };
	AUTO(writ_buf_done) struct writ_buf packet = WRIT_BUF(FRAME_MAX);
	struct iovec part;
	struct msghdr msg = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};
	struct cmsghdr *const c = CMSG_FIRSTHDR(&msg);
	const int before = descriptors_of(rig.deviced), sock = connected();
	uint8_t in[FRAME_MAX];
	struct frame frame;

	(void)state;
	expect_ok(frame_build(DEVICE_SIGN, 9, WRIT_LIT("\0\0\0\1\0\0\0\0"), &packet));
	part = (struct iovec){ packet.data, packet.len };
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(two)) };
	memcpy(CMSG_DATA(c), two, sizeof(two));
	assert_true(sendmsg(sock, &msg, 0) > 0);
	assert_int_equal(code_of(frame_receive(sock, in, &frame, NULL, 5000)), WRIT_UNAVAILABLE); /* closed */
	close(two[0]);
	close(two[1]);
	close(sock);
	expect_ok(rig_health(&rig));
	expect_descriptors(before);
}

static void
long_messages_are_signed_without_waiting_too(void **state)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX);
	AUTO(pubkey_done) struct pubkey public = { 0 };
	static uint8_t message[300007];
	uint32_t handle = 0;
	unsigned seen = 0;

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handle));
	expect_ok(pubkey_load(writ_view(&spki), &public));
	expect_refused(device_sign_start(rig.device, 9, handle, (struct writ_bytes){ message, 0 }), WRIT_INVALID,
		       "a message to sign has 1 to 67108864 bytes, not 0");
	expect_refused(
		device_sign_start(rig.device, 9, handle, (struct writ_bytes){ message, CUSTODY_MESSAGE_MAX + 1 }),
		WRIT_INVALID, "a message to sign has 1 to 67108864 bytes, not 67108865");
	for (uint64_t id = 0; id < 8; id++)
		expect_ok(device_sign_start(rig.device, id, handle,
					    (struct writ_bytes){ message, id % 2 ? 300000 + id : 100 + id }));
	while (seen != 0xff) {
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
		struct writ_err *failed;
		uint64_t id = 0;
		bool any;

		expect_ok(device_sign_next(rig.device, &any, &id, &sig, &failed));
		if (!any) {
			usleep(1000);
			continue;
		}
		expect_ok(failed);
		expect_ok(pubkey_verify(&public, (struct writ_bytes){ message, id % 2 ? 300000 + id : 100 + id },
					writ_view(&sig)));
		seen |= 1U << id;
	}
	rig_unload(&rig, handle);
}

/* ---- how it ends ---- */

static void
a_device_that_hangs_ends_the_process_at_the_deadline(void **state)
{
	const int64_t began = clock_read().mono_ms;
	struct writ_err *err;
	int64_t took;

	(void)state;
	kill(rig.here.swtpm, SIGSTOP);
	err = rig_health(&rig);
	took = clock_read().mono_ms - began;
	assert_int_equal(code_of(err), WRIT_UNAVAILABLE);
	assert_in_range(took, DEVICE_TIMEOUT_MS - 100, DEVICE_TIMEOUT_MS + 1000);
	assert_int_equal(process_wait(rig.deviced, 2000), DEVICE_EXIT_DEADLINE);
	rig.deviced = 0;
	kill(rig.here.swtpm, SIGCONT);
}

static void
a_device_that_is_away_at_the_start_is_served_when_it_comes(void **state)
{
	struct rig token = { .name = "token", .wire = true };
	struct rig *const rigs[] = { &rig, &token };

	(void)state;
	rig_close(&rig);
	machine_make(&token.here, false);
	for (size_t i = 0; i < N_OF(rigs); i++) {
		machine_away(&rigs[i]->here);
		assert_int_equal(code_of(rig_open(rigs[i], &rigs[i]->here)), WRIT_UNAVAILABLE);
		machine_back(&rigs[i]->here);
		expect_ok(rig_health(rigs[i]));
	}
	rig_close(&token);
	machine_done(&token.here, false);
}

/* Asks to resume and waits for the answer. */
static struct writ_err *
resumed(struct device *device)
{
	struct writ_err *err;
	bool any = false;

	expect_ok(device_resume_ask(device));
	for (int i = 0; i < 4000; i++) {
		err = device_opened(device, &any);
		if (err || any)
			return err;
		usleep(1000);
	}
	fail_msg("no answer to RESUME");
	return NULL;
}

static void
what_is_locked_is_tried_again_only_when_an_operator_resumes_and_then_with_the_secret_as_it_is_now(void **state)
{
	struct rig token = { .name = "token", .wire = true, .secret = "7654321" };
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX);
	uint32_t handle;

	(void)state;
	machine_make(&token.here, false);
	assert_int_equal(code_of(rig_open(&token, &token.here)), WRIT_LOCKED);
	assert_int_equal(code_of(resumed(token.device)), WRIT_LOCKED); /* tried, and refused again */
	run("printf %s > %s/secret", RIG_PIN, token.here.dir);
	for (int i = 0; i < 3; i++)
		assert_int_equal(code_of(rig_health(&token)), WRIT_LOCKED);
	expect_ok(resumed(token.device));
	expect_ok(rig_health(&token));
	expect_ok(rig_make(&token, KEY_P256, "k", &ref, &spki));
	expect_ok(rig_load(&token, writ_view(&ref), writ_view(&spki), &handle));
	expect_ok(resumed(token.device)); /* nothing was wrong: keys are to be loaded anew */
	assert_int_equal(code_of(device_unload(token.device, handle)), WRIT_NOT_FOUND);
	run("rm %s/secret", token.here.dir);
	assert_int_equal(code_of(resumed(token.device)), WRIT_LOCKED); /* with nothing to authenticate with */
	rig_close(&token);
	machine_done(&token.here, false);
}

/* Starts writ-deviced with `--fd`, as a supervisor does. */
static pid_t
started_with(int sock)
{
	char auth[160], fd[16], uid[16];
	pid_t pid;

	snprintf(fd, sizeof(fd), "%d", sock);
	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	snprintf(auth, sizeof(auth), "%s/secret", rig.here.dir);
	pid = fork();
	if (pid == 0) {
		fcntl(sock, F_SETFD, 0);
		execl(WRIT_DEVICED, WRIT_DEVICED, "--fd", fd, "--peer-uid", uid, "--tpm", rig.here.tcti,
		      "--allow-software-tpm", "--auth-file", auth, "--log-level", "alarm", (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* The socket is the supervisor's and outlives the process: who connects between two lives of it is served by the next.
 */
static void
an_inherited_listening_socket_is_served_by_one_life_after_another(void **state)
{
	struct device *devices[3] = { NULL };
	char path[RIG_PATH_MAX];
	int listener;
	pid_t pid;

	(void)state;
	rig_close(&rig);
	snprintf(path, sizeof(path), "%s/inherited.sock", rig.here.dir);
	expect_ok(frame_listen(path, &listener));
	expect_ok(device_connect(path, (uid_t)-1, &devices[0])); /* before anybody serves it */
	pid = started_with(listener);
	expect_ok(device_health(devices[0]));
	expect_ok(device_connect(path, (uid_t)-1, &devices[1]));
	expect_ok(device_health(devices[1]));
	device_close(devices[0]);
	device_close(TAKE(devices[1]));
	expect_ok(device_connect(path, (uid_t)-1, &devices[1])); /* without connections it waits for more */
	expect_ok(device_health(devices[1]));

	kill(pid, SIGKILL);
	assert_int_equal(process_wait(pid, 5000), 128 + SIGKILL);
	assert_int_equal(code_of(device_health(devices[1])), WRIT_UNAVAILABLE);
	expect_ok(device_connect(path, (uid_t)-1, &devices[2])); /* nobody is refused meanwhile */
	pid = started_with(listener);
	expect_ok(device_health(devices[2]));
	device_close(devices[1]);
	device_close(devices[2]);
	kill(pid, SIGTERM);
	assert_int_equal(process_wait(pid, 5000), 0);
	assert_int_equal(access(path, F_OK), 0); /* not its own to remove */
	close(listener);
	unlink(path);
}

static void
an_inherited_descriptor_that_is_no_socket_is_refused(void **state)
{
	const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	rig_close(&rig);
	assert_int_equal(process_wait(started_with(fd), 5000), 2);
	close(fd);
}

static void
an_inherited_connection_is_served_to_its_end(void **state)
{
	struct device *device = NULL;
	int pair[2];
	pid_t pid;

	(void)state;
	rig_close(&rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = started_with(pair[1]);
	close(pair[1]);
	expect_ok(device_adopt(pair[0], &device));
	expect_ok(device_health(device));
	device_close(device);
	assert_int_equal(process_wait(pid, 5000), 0);
}

#ifdef WRIT_FAULTS
static void
a_fault_point_kills_before_and_after_the_signature(void **state)
{
	static const char *const stages[] = { "device:sign:2", "device:signed:2" };

	(void)state;
	for (size_t i = 0; i < N_OF(stages); i++) {
		AUTO(writ_buf_done)
		struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX),
				sig = WRIT_BUF(SIGNATURE_MAX);
		uint32_t handle = 0;

		rig_close(&rig);
		setenv("WRIT_FAULT", stages[i], 1);
		expect_ok(rig_open(&rig, &rig.here));
		unsetenv("WRIT_FAULT");
		expect_ok(rig_make(&rig, KEY_P256, "x", &ref, &spki));
		expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handle));
		expect_ok(rig_sign(&rig, handle, WRIT_LIT("m"), &sig));
		assert_int_equal(code_of(rig_sign(&rig, handle, WRIT_LIT("m"), &sig)), WRIT_UNAVAILABLE);
		assert_int_equal(process_wait(rig.deviced, 2000), 128 + SIGKILL);
		rig.deviced = 0;
		device_close(TAKE(rig.device));
		expect_ok(rig_open(&rig, &rig.here)); /* over what the dead one left in the TPM, and its socket */
	}
}
#endif

/* ---- how it is called ---- */

/* Exit status and first line of what it says. */
static int
called(const char *arguments, char *out, int out_len)
{
	char command[1200];
	FILE *pipe;
	int status;

	snprintf(command, sizeof(command), "timeout 10 %s %s 2>&1", WRIT_DEVICED, arguments);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	out[0] = '\0';
	if (!fgets(out, out_len, pipe))
		out[0] = '\0';
	while (fgetc(pipe) != EOF)
		;
	status = pclose(pipe);
	return WEXITSTATUS(status);
}

static void
a_wrong_call_is_told_and_ends_with_2(void **state)
{
	static const struct {
		const char *arguments, *says;
	} cases[] = {
		{ "", "one of --socket and --fd is needed" },
		{ "--socket /tmp/x --fd 3", "one of --socket and --fd is needed" },
		{ "--socket /tmp/x", "--peer-uid is needed" },
		{ "--socket /tmp/x --peer-uid root", "--peer-uid: 1 to 8 numbers with commas between them are wanted" },
		{ "--socket /tmp/x --peer-uid 1,,2", "--peer-uid: 1 to 8 numbers with commas between them are wanted" },
		{ "--socket /tmp/x --peer-uid 1,", "--peer-uid: 1 to 8 numbers with commas between them are wanted" },
		{ "--socket /tmp/x --peer-uid 4294967295",
		  "--peer-uid: 1 to 8 numbers with commas between them are wanted" },
		{ "--socket /tmp/x --peer-uid 1,2,3,4,5,6,7,8,9",
		  "--peer-uid: 1 to 8 numbers with commas between them are wanted" },
		{ "--socket /tmp/x --peer-uid 1", "one of --tpm and --pkcs11 is needed" },
		{ "--socket /tmp/x --peer-uid 1 --tpm swtpm:x --pkcs11 /x", "one of --tpm and --pkcs11 is needed" },
		{ "--socket /tmp/x --peer-uid 1 --tpm swtpm:x", "--auth-file is needed: secrets come by file" },
		{ "--socket /tmp/x --peer-uid 1 --tpm swtpm:x --pin-file /x",
		  "--auth-file is needed: secrets come by file" },
		{ "--socket /tmp/x --peer-uid 1 --tpm swtpm:x --auth-file /x --uri pkcs11:",
		  "--uri goes with --pkcs11" },
		{ "--socket /tmp/x --peer-uid 1 --pkcs11 /x --pin-file /x",
		  "--pkcs11 goes with --uri, and not with --allow-software-tpm" },
		{ "--socket /tmp/x --peer-uid 1 --pkcs11 /x --uri pkcs11: --auth-file /x",
		  "--pin-file is needed: secrets come by file" },
		{ "--fd x --peer-uid 1", "--fd 'x': a descriptor's number is wanted" },
		{ "--log-level loud", "--log-level 'loud': debug, info, warn or alarm" },
		{ "--pin 1234", "'--pin' is not an option" },
		{ "--socket", "--socket wants a value" },
		{ "--auth-file a --pin-file b", "one of --auth-file and --pin-file, once" },
		{ "--socket /tmp/x --peer-uid 1 --tpm swtpm:x --auth-file /x more", "'more' is not an option" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		char out[400], want[400];

		assert_int_equal(called(cases[i].arguments, out, sizeof(out)), 2);
		snprintf(want, sizeof(want), "writ-deviced: %s\n", cases[i].says);
		assert_string_equal(out, want);
	}
}

/* ---- for long ---- */

/* What the TPM holds, as another tool reads it between two signatures: transient objects, sessions, persistent objects. */
static void
tpm_holds(char *out, size_t out_len)
{
	static const char *const kinds[] = { "handles-transient", "handles-loaded-session", "handles-saved-session",
					     "handles-persistent", "handles-nv-index" };
	char command[300];

	out[0] = '\0';
	for (size_t i = 0; i < N_OF(kinds); i++) {
		char line[64];
		unsigned n = 0;
		FILE *f;

		snprintf(command, sizeof(command), "tpm2_getcap -T %s %s", rig.here.tcti, kinds[i]);
		f = popen(command, "r");
		assert_non_null(f);
		while (fgets(line, sizeof(line), f))
			n += line[0] == '-';
		assert_int_equal(pclose(f), 0);
		snprintf(out + strlen(out), out_len - strlen(out), "%s%u %s", i ? ", " : "", n, kinds[i] + strlen("handles-"));
	}
}

static struct footprint
footprint_tell(unsigned long n, const char *holds)
{
	const struct footprint f = footprint_of(rig.deviced), tpm = footprint_of(rig.here.swtpm);

	printf("deviced\t%lu signatures\t%ld KiB of its own\t%ld KiB locked\t%ld descriptors\tswtpm %ld KiB, %ld descriptors\t%s\n",
	       n, f.anon_kb, f.locked_kb, f.fds, tpm.anon_kb, tpm.fds, holds);
	fflush(stdout);
	return f;
}

/* The context is made anew every 10,000 commands (hsm/tpm2_context.h): what the old one held must be gone then. */
static void
a_long_life_leaves_memory_handles_and_sessions_as_they_were(void **state)
{
	const unsigned long total = endurance("WRIT_ENDURANCE_TPM", 200), step = total / 20;
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX), spki = WRIT_BUF(SPKI_MAX);
	char holds_first[200], holds[200];
	struct footprint first = { 0 }, f;
	uint32_t handle;

	(void)state;
	expect_ok(rig_make(&rig, KEY_P256, "endures", &ref, &spki));
	expect_ok(rig_load(&rig, writ_view(&ref), writ_view(&spki), &handle));
	for (unsigned long n = 0; n <= total; n += step) {
		for (unsigned long i = 0; i < (n == 0 ? 100 : step); i++) {
			AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);

			expect_ok(rig_sign(&rig, handle, WRIT_LIT("for long"), &sig)); /* verified by custody */
		}
		tpm_holds(holds, sizeof(holds));
		f = footprint_tell(n, holds);
		if (n == 0) {
			first = f;
			memcpy(holds_first, holds, sizeof(holds));
			continue;
		}
		assert_string_equal(holds, holds_first);
		assert_int_equal(f.fds, first.fds);
		assert_int_equal(f.locked_kb, first.locked_kb);
		assert_true(!FOOTPRINT_TELLS_MEMORY || f.anon_kb - first.anon_kb <= 1024);
	}
}

static void
a_secret_file_that_others_read_is_refused(void **state)
{
	char auth[160], arguments[600], out[1000];

	(void)state;
	snprintf(auth, sizeof(auth), "%s/open-secret", rig.here.dir);
	run("echo %s > %s && chmod 644 %s", rig_auth, auth, auth);
	snprintf(arguments, sizeof(arguments),
		 "--socket %s/s --peer-uid 1 --tpm %s --allow-software-tpm --auth-file %s", rig.here.dir, rig.here.tcti,
		 auth);
	assert_int_equal(called(arguments, out, sizeof(out)), 2);
	assert_non_null(strstr(out, "others than its owner may read it"));
	run("chmod 600 %s && echo nothex > %s", auth, auth);
	assert_int_equal(called(arguments, out, sizeof(out)), 2);
	assert_non_null(strstr(out, "an auth value is 64 hex digits on one line"));
	assert_null(strstr(out, "nothex"));
}

#define claim(test) cmocka_unit_test_setup_teardown(test, claim_start, claim_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_uid_that_is_not_named_is_not_served),
		claim(a_server_of_another_uid_is_not_spoken_to),
		claim(garbage_ends_its_connection_and_no_other),
		claim(a_frame_that_is_no_request_is_answered_with_an_error),
		claim(a_key_belongs_to_its_connection),
		claim(a_connection_holds_272_keys),
		claim(a_fifth_connection_waits_for_a_place),
		claim(sixty_four_signatures_are_answered_without_waiting_for_each),
		claim(what_is_wrong_beside_a_frame_is_refused_and_closed),
		claim(two_descriptors_beside_a_frame_end_the_connection),
		claim(long_messages_are_signed_without_waiting_too),
		claim(a_device_that_hangs_ends_the_process_at_the_deadline),
		claim(a_device_that_is_away_at_the_start_is_served_when_it_comes),
		claim(what_is_locked_is_tried_again_only_when_an_operator_resumes_and_then_with_the_secret_as_it_is_now),
		claim(an_inherited_connection_is_served_to_its_end),
		claim(an_inherited_listening_socket_is_served_by_one_life_after_another),
		claim(an_inherited_descriptor_that_is_no_socket_is_refused),
#ifdef WRIT_FAULTS
		claim(a_fault_point_kills_before_and_after_the_signature),
#endif
		claim(a_long_life_leaves_memory_handles_and_sessions_as_they_were),
		cmocka_unit_test(a_wrong_call_is_told_and_ends_with_2),
		cmocka_unit_test(a_secret_file_that_others_read_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	if (getenv("WRIT_ENDURANCE_TPM"))
		cmocka_set_test_filter("a_long_life_*");
	return cmocka_run_group_tests(tests, group_start, group_end);
}
