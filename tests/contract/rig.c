/*
 * Devices for the contract test.  Ends only what it started, by pid.
 */
#include "tests/contract/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include "tests/unit/expect.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

const char rig_auth[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

void
run(const char *fmt, ...)
{
	char command[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

void
dir_make(char *out, size_t out_len)
{
	snprintf(out, out_len, "/tmp/writ-test-XXXXXX");
	assert_non_null(mkdtemp(out));
}

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* A child that ends when we do, and complains into the file `log` of the machine. */
static pid_t
spawn(const struct machine *machine, const char *log, char *const argv[])
{
	const pid_t parent = getpid(), pid = fork();
	char path[160];
	int fd;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	snprintf(path, sizeof(path), "%s/%s", machine->dir, log);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(127);
	execvp(argv[0], argv);
	_exit(127);
}

int
process_wait(pid_t pid, int timeout_ms)
{
	int status;

	for (int waited = 0; waited <= timeout_ms; waited += 5) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		sleep_ms(5);
	}
	fail_msg("process %d still runs after %d ms", (int)pid, timeout_ms);
	return -1;
}

/* Waits until somebody takes connections there: the file of a socket comes before that. */
static void
listening(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int64_t until = clock_read().mono_ms + 10000;
	int rc;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	do {
		const int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_true(sock >= 0);
		rc = connect(sock, (const struct sockaddr *)&address, sizeof(address));
		close(sock);
		if (rc != 0)
			sleep_ms(2);
	} while (rc != 0 && clock_read().mono_ms < until);
	assert_int_equal(rc, 0);
}

static void
swtpm_start(struct machine *machine)
{
	char server[160], control[160], state[160], socket[RIG_PATH_MAX];
	char *const argv[] = { "swtpm", "socket",     "--tpm2", "--server", server,	     "--ctrl",
			       control, "--tpmstate", state,	"--flags",  "startup-clear", NULL };

	snprintf(socket, sizeof(socket), "%s/tpm", machine->dir);
	snprintf(server, sizeof(server), "type=unixio,path=%s", socket);
	snprintf(control, sizeof(control), "type=unixio,path=%s.ctrl", socket);
	snprintf(state, sizeof(state), "dir=%s/state", machine->dir);
	unlink(socket);
	machine->swtpm = spawn(machine, "swtpm.log", argv);
	listening(socket);
	snprintf(control, sizeof(control), "%s.ctrl", socket);
	listening(control);
}

static void
write_file(const char *path, const char *text)
{
	assert_null(file_replace(path, 0600, writ_str(text)));
}

static void
softhsm_make(struct machine *machine)
{
	char path[160], text[256];

	snprintf(path, sizeof(path), "%s/tokens", machine->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/softhsm2.conf", machine->dir);
	snprintf(text, sizeof(text),
		 "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", machine->dir);
	write_file(path, text);
	run("SOFTHSM2_CONF=%s/softhsm2.conf softhsm2-util --init-token --free --label writ-test --so-pin 87654321 "
	    "--pin " RIG_PIN " > /dev/null",
	    machine->dir);
}

void
machine_make(struct machine *machine, bool tpm)
{
	char path[160];

	*machine = (struct machine){ .tpm = tpm };
	dir_make(machine->dir, sizeof(machine->dir));
	snprintf(machine->uri, sizeof(machine->uri), "pkcs11:token=writ-test;manufacturer=SoftHSM%%20project");
	snprintf(machine->tcti, sizeof(machine->tcti), "swtpm:path=%s/tpm", machine->dir);
	if (!tpm) {
		softhsm_make(machine);
		return;
	}
	snprintf(path, sizeof(path), "%s/state", machine->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	swtpm_start(machine);
}

void
machine_away(struct machine *machine)
{
	char tokens[160], hidden[160];

	if (machine->tpm) {
		kill(machine->swtpm, SIGKILL);
		process_wait(machine->swtpm, 5000);
		machine->swtpm = 0;
		return;
	}
	snprintf(tokens, sizeof(tokens), "%s/tokens", machine->dir);
	snprintf(hidden, sizeof(hidden), "%s/hidden", machine->dir);
	assert_int_equal(rename(tokens, hidden), 0);
	assert_int_equal(mkdir(tokens, 0700), 0);
}

void
machine_back(struct machine *machine)
{
	char tokens[160], hidden[160];

	if (machine->tpm) {
		swtpm_start(machine);
		return;
	}
	snprintf(tokens, sizeof(tokens), "%s/tokens", machine->dir);
	snprintf(hidden, sizeof(hidden), "%s/hidden", machine->dir);
	assert_int_equal(rmdir(tokens), 0);
	assert_int_equal(rename(hidden, tokens), 0);
}

void
machine_done(struct machine *machine, bool keep)
{
	if (machine->swtpm)
		machine_away(machine);
	if (keep)
		fprintf(stderr, "kept for you to look at: %s\n", machine->dir);
	else
		run("rm -rf %s", machine->dir);
}

const char *
rig_secret(const struct rig *rig)
{
	if (rig->secret)
		return rig->secret;
	return rig->tpm ? rig_auth : RIG_PIN;
}

struct custody_conf
rig_conf(const struct rig *rig, const struct machine *machine)
{
	if (rig->tpm)
		return (struct custody_conf){ .tcti = machine->tcti, .allow_software_tpm = !rig->refuse_software };
	return (struct custody_conf){ .module = MODULE, .uri = machine->uri };
}

static struct writ_err *
open_direct(struct rig *rig, struct machine *machine)
{
	AUTO(writ_secret_done) struct writ_secret auth = { 0 };
	const struct custody_conf conf = rig_conf(rig, machine);
	const char *const secret = rig_secret(rig);
	uint8_t value[32];
	char path[160];

	snprintf(path, sizeof(path), "%s/softhsm2.conf", machine->dir);
	setenv("SOFTHSM2_CONF", path, 1);
	if (rig->tpm) {
		assert_true(writ_unhex(writ_str(secret), value, sizeof(value)));
		assert_null(writ_secret_set(&auth, (struct writ_bytes){ value, sizeof(value) }));
	} else {
		assert_null(writ_secret_set(&auth, writ_str(secret)));
	}
	return custody_open(rig->tpm ? "tpm2" : "pkcs11", &conf, &auth, &rig->custody);
}

pid_t
deviced_start(const struct rig *rig, const struct machine *machine, const char *socket, const char *peer_uid)
{
	char secret[160], env[200];
	const char *argv[24] = { WRIT_DEVICED, "--socket", socket, "--peer-uid", peer_uid, "--log-level", "alarm" };
	size_t n = 7;

	snprintf(secret, sizeof(secret), "%s/secret", machine->dir);
	snprintf(env, sizeof(env), "SOFTHSM2_CONF=%s/softhsm2.conf", machine->dir);
	write_file(secret, rig_secret(rig));
	if (rig->tpm) {
		argv[n++] = "--tpm";
		argv[n++] = machine->tcti;
		argv[n++] = "--auth-file";
		argv[n++] = secret;
		if (!rig->refuse_software)
			argv[n++] = "--allow-software-tpm";
	} else {
		argv[n++] = "--pkcs11";
		argv[n++] = MODULE;
		argv[n++] = "--uri";
		argv[n++] = machine->uri;
		argv[n++] = "--pin-file";
		argv[n++] = secret;
		argv[n++] = "--env";
		argv[n++] = env;
	}
	return spawn(machine, "deviced.log", (char *const *)(uintptr_t)argv);
}

static struct writ_err *
open_wire(struct rig *rig, struct machine *machine)
{
	struct writ_err *err = NULL;
	char uid[16];

	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	snprintf(rig->socket, sizeof(rig->socket), "%s/device.sock", machine->dir);
	rig->deviced = deviced_start(rig, machine, rig->socket, uid);
	for (int i = 0; i < 2000 && !rig->device; i++) {
		writ_err_free(err);
		err = device_connect(rig->socket, (uid_t)-1, &rig->device);
		if (err)
			sleep_ms(5);
	}
	if (err)
		return err;
	return device_health(rig->device); /* what custody_open() would have said */
}

struct writ_err *
rig_open(struct rig *rig, struct machine *machine)
{
	return rig->wire ? open_wire(rig, machine) : open_direct(rig, machine);
}

void
rig_close(struct rig *rig)
{
	for (uint32_t i = 0; i < RIG_KEYS_MAX; i++)
		if (rig->keys[i])
			rig_unload(rig, i);
	custody_close(TAKE(rig->custody));
	device_close(TAKE(rig->device));
	if (rig->deviced) {
		kill(rig->deviced, SIGTERM);
		assert_int_equal(process_wait(rig->deviced, 10000), 0);
		rig->deviced = 0;
	}
}

struct writ_err *
rig_info(struct rig *rig, struct custody_info *ret)
{
	return rig->wire ? device_info(rig->device, ret) : custody_info(rig->custody, ret);
}

struct writ_err *
rig_make(struct rig *rig, enum key_kind kind, const char *label, struct writ_buf *ret_ref, struct writ_buf *ret_spki)
{
	return rig->wire ? device_make_key(rig->device, kind, label, ret_ref, ret_spki)
			 : custody_make_key(rig->custody, kind, label, ret_ref, ret_spki);
}

struct writ_err *
rig_load(struct rig *rig, struct writ_bytes ref, struct writ_bytes spki, uint32_t *ret_handle)
{
	uint32_t i = 0;

	if (rig->wire)
		return device_load(rig->device, ref, spki, ret_handle);
	while (rig->keys[i])
		assert_true(++i < RIG_KEYS_MAX);
	*ret_handle = i;
	return custody_load(rig->custody, ref, spki, &rig->keys[i]);
}

struct writ_err *
rig_sign(struct rig *rig, uint32_t handle, struct writ_bytes message, struct writ_buf *ret_sig)
{
	return rig->wire ? device_sign(rig->device, handle, message, ret_sig)
			 : custody_sign(rig->keys[handle], message, ret_sig);
}

struct writ_err *
rig_counter_make(struct rig *rig, enum custody_counter which, uint64_t *ret)
{
	return rig->wire ? device_counter_make(rig->device, which, ret)
			 : custody_counter_make(rig->custody, which, ret);
}

struct writ_err *
rig_counter_read(struct rig *rig, enum custody_counter which, uint64_t *ret)
{
	return rig->wire ? device_counter_read(rig->device, which, ret)
			 : custody_counter_read(rig->custody, which, ret);
}

struct writ_err *
rig_counter_raise(struct rig *rig, enum custody_counter which, uint64_t *ret)
{
	return rig->wire ? device_counter_raise(rig->device, which, ret)
			 : custody_counter_raise(rig->custody, which, ret);
}

struct writ_err *
rig_destroy(struct rig *rig, uint64_t number)
{
	return rig->wire ? device_destroy(rig->device, number) : custody_destroy(rig->custody, number);
}

struct writ_err *
rig_seal(struct rig *rig, uint64_t number, const struct writ_secret *secret, struct writ_buf *ret_blob)
{
	return rig->wire ? device_seal(rig->device, number, secret, ret_blob)
			 : custody_seal(rig->custody, number, secret, ret_blob);
}

struct writ_err *
rig_unseal(struct rig *rig, struct writ_bytes blob, struct writ_secret *ret)
{
	return rig->wire ? device_unseal(rig->device, blob, ret) : custody_unseal(rig->custody, blob, ret);
}

struct writ_err *
rig_health(struct rig *rig)
{
	return rig->wire ? device_health(rig->device) : custody_health(rig->custody);
}

void
rig_unload(struct rig *rig, uint32_t handle)
{
	if (rig->wire)
		assert_null(device_unload(rig->device, handle));
	else
		custody_unload(TAKE(rig->keys[handle]));
}
