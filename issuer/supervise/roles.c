/*
 * How a role becomes a process: user, folders, arguments, environment.
 */
#include "issuer/supervise/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/frame.h"
#include "base/text.h"

#define ARGUMENTS_MAX 96
#define ROLE_SOCKET_FD 3
#define ROLE_ADMIN_FD 4
#define ROLE_FDS_END 6
#define PCRS_TEXT_MAX (32 * 3 + 1)

static const char *const programs[ROLE_N] = { "writ-deviced", "writ-signerd", "writ-issuerd", "writ-fetchd" };

const char *
role_program(enum role role)
{
	return programs[role];
}

bool
role_wanted(const struct conf *conf, enum role role)
{
	return role != ROLE_FETCH || conf_fetches(conf);
}

static struct writ_err *
user_of(const char *name, const char *key, uid_t *ret_uid, gid_t *ret_gid)
{
	const struct passwd *user = getpwnam(name);

	if (!user)
		return writ_fail(WRIT_NOT_FOUND,
				 "users.%s: there is no user %s on this machine: make it, or leave `users` away", key,
				 name);
	if (user->pw_uid == 0)
		return writ_fail(WRIT_INVALID, "users.%s: %s is root: each role wants a user without rights", key,
				 name);
	*ret_uid = user->pw_uid;
	*ret_gid = user->pw_gid;
	return NULL;
}

struct writ_err *
role_users_named(const struct conf *conf, struct role_users *ret)
{
	const char *const names[ROLE_N] = { conf->users.device, conf->users.signer, conf->users.issuer,
					     conf->users.fetch };
	struct writ_err *err = NULL;

	*ret = (struct role_users){ .log_gid = (gid_t)-1 };
	for (int i = 0; i < ROLE_N && !err; i++) {
		ret->uid[i] = geteuid();
		ret->gid[i] = getegid();
		if (names[i])
			err = user_of(names[i], role_program((enum role)i), &ret->uid[i], &ret->gid[i]);
	}
	return err;
}

struct writ_err *
role_users(const struct conf *conf, struct role_users *ret)
{
	const char *const names[ROLE_N] = { conf->users.device, conf->users.signer, conf->users.issuer,
					     conf->users.fetch };
	static const char *const keys[ROLE_N] = { "device", "signer", "issuer", "fetch" };
	const struct group *group;

	*ret = (struct role_users){ .log_gid = (gid_t)-1 };
	for (int i = 0; i < ROLE_N; i++) {
		struct writ_err *err = NULL;

		ret->uid[i] = geteuid();
		ret->gid[i] = getegid();
		if (geteuid() == 0 && names[i] && role_wanted(conf, (enum role)i))
			err = user_of(names[i], keys[i], &ret->uid[i], &ret->gid[i]);
		if (err)
			return err;
	}
	ret->separate = geteuid() == 0 && (names[0] || names[1] || names[2] || names[3]);
	if (ret->separate && conf_fetches(conf) && !conf->users.fetch)
		return writ_fail(WRIT_INVALID, "users.fetch is missing: writ-fetchd, which asks the URLs of `oidc`, would "
					       "run as root");
	if (geteuid() != 0 || !conf->users.log_group)
		return NULL;
	group = getgrnam(conf->users.log_group);
	if (!group)
		return writ_fail(WRIT_NOT_FOUND, "users.log_group: there is no group %s on this machine",
				 conf->users.log_group);
	ret->log_gid = group->gr_gid;
	return NULL;
}

/* Its owner, and no more rights than its mode. */
static struct writ_err *
folder_check(const char *path, uid_t uid, mode_t mode)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return writ_fail_errno(errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return writ_fail(WRIT_INVALID, "%s is not a folder", path);
	if (st.st_uid != uid)
		return writ_fail(WRIT_INVALID,
				 "%s belongs to uid %u, not to %u: correct it, or name that user in writ.yaml", path,
				 st.st_uid, uid);
	if ((st.st_mode & 07777 & ~mode) != 0)
		return writ_fail(WRIT_INVALID, "%s has mode %04o, more than %04o: chmod %04o %s", path,
				 st.st_mode & 07777, mode, mode, path);
	return NULL;
}

/* By descriptor, and never through a link: STATE is the signer's to write, who might change what we have just made for
 * a link to something of root's. */
static struct writ_err *
folder_make(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	AUTO(file_closep) int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? NULL : writ_fail_errno(errno, "%s cannot be made", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return writ_fail_errno(errno, "%s cannot be opened", path);
	if (st.st_uid != geteuid())
		return writ_fail(WRIT_INVALID, "%s is not the folder that was made a moment ago", path);
	if (geteuid() == 0 && fchown(fd, uid, gid) != 0)
		return writ_fail_errno(errno, "%s cannot be given to its user", path);
	if (fchmod(fd, mode) != 0)
		return writ_fail_errno(errno, "%s cannot be given its mode", path);
	return NULL;
}

static struct writ_err *
folders(const struct conf *conf, const struct role_users *users, bool make)
{
	const uid_t me = geteuid(), issuer = users->uid[ROLE_ISSUER], signer = users->uid[ROLE_SIGNER];
	const gid_t issuer_gid = users->gid[ROLE_ISSUER], signer_gid = users->gid[ROLE_SIGNER];
	const struct {
		const char *base, *name;
		uid_t uid;
		gid_t gid;
		mode_t mode;
		bool unwanted;
	} all[] = {
		{ conf->state, "", signer, signer_gid, 0755, false }, /* it writes VERSION */
		{ conf->state, "store", issuer, issuer_gid, 0700, false },
		{ conf->state, "keys", signer, signer_gid, 0700, false },
		{ conf->state, "certs", signer, signer_gid, 0700, false },
		{ conf->state, "journal", signer, users->log_gid == (gid_t)-1 ? signer_gid : users->log_gid,
		  02750, false }, /* setgid: new segments are the log group's */
		{ conf->run, "", me, getegid(), 0755, false },
		{ conf->state, "fetched", users->uid[ROLE_FETCH], users->gid[ROLE_FETCH], 0755, !conf_fetches(conf) },
	};

	for (size_t i = 0; i < N_OF(all); i++) {
		char path[4096];
		struct writ_err *err = NULL;

		if (all[i].unwanted)
			continue;
		snprintf(path, sizeof(path), "%s%s%s", all[i].base, *all[i].name ? "/" : "", all[i].name);
		if (make)
			err = folder_make(path, all[i].uid, all[i].gid, all[i].mode);
		if (!err)
			err = folder_check(path, all[i].uid, all[i].mode);
		if (err)
			return err;
	}
	return NULL;
}

struct writ_err *
role_folders(const struct conf *conf, const struct role_users *users)
{
	return folders(conf, users, true);
}

struct writ_err *
role_folders_check(const struct conf *conf, const struct role_users *users)
{
	return folders(conf, users, false);
}

/* A bound datagram socket at `path`, mode 0660; a stale one is replaced. */
static struct writ_err *
datagrams_bind(const char *path, int *ret_fd)
{
	AUTO(file_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(at.sun_path))
		return writ_fail(WRIT_INVALID, "%s is too long for a socket", path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || chmod(path, 0660) != 0)
		return writ_fail_errno(errno, "listening at %s", path);
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

struct writ_err *
role_socket(const struct conf *conf, const struct role_users *users, enum role role, int *ret_fd)
{
	static const char *const names[ROLE_N] = { [ROLE_DEVICE] = "device", [ROLE_SIGNER] = "signer", [ROLE_FETCH] = "fetch" };
	const enum role asked_by = role == ROLE_DEVICE ? ROLE_SIGNER : ROLE_ISSUER;
	char path[4096];
	struct writ_err *err;

	*ret_fd = -1;
	if (role == ROLE_ISSUER)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s.sock", conf->run, names[role]);
	err = role == ROLE_FETCH ? datagrams_bind(path, ret_fd) : frame_listen(path, ret_fd);
	if (err)
		return err;
	if (users->separate && chown(path, users->uid[role], users->gid[asked_by]) != 0)
		return writ_fail_errno(errno, "%s cannot be given to its user", path);
	return NULL;
}

struct writ_err *
role_admin_socket(const struct conf *conf, int *ret_fd)
{
	const struct passwd *user = conf->users.operator ? getpwnam(conf->users.operator) : NULL;
	char path[4096];
	struct writ_err *err;

	*ret_fd = -1;
	if (conf->users.operator && !user)
		return writ_fail(WRIT_NOT_FOUND, "users.operator: there is no user %s on this machine: make it, or leave it away",
				 conf->users.operator);
	snprintf(path, sizeof(path), "%s/admin.sock", conf->run);
	err = frame_listen(path, ret_fd);
	if (err)
		return err;
	if (chmod(path, 0600) != 0)
		return writ_fail_errno(errno, "%s cannot be given its mode", path);
	if (geteuid() == 0 && user && chown(path, user->pw_uid, user->pw_gid) != 0)
		return writ_fail_errno(errno, "%s cannot be given to its user", path);
	return NULL;
}

static const char *
secret_source(const struct conf *conf)
{
	return conf->custody.auth_file ? conf->custody.auth_file : conf->custody.pin_file;
}

/* Whoever made the folder may read it, and nobody else; systemd gives a user its files by owner or, as root's, by ACL,
 * which shows as the group's. */
static struct writ_err *
credential_open(const char *name, int *ret_fd)
{
	const char *const folder = getenv("CREDENTIALS_DIRECTORY");
	AUTO(file_closep) int fd = -1;
	struct writ_err *err;
	char path[4096];
	struct stat st;

	if (!folder)
		return writ_fail(WRIT_INVALID, "credential:%.60s: CREDENTIALS_DIRECTORY is not set: a service manager sets it "
					       "(LoadCredential=)",
				 name);
	snprintf(path, sizeof(path), "%.3000s/%.255s", folder, name);
	err = file_open(path, FILE_CONFIG, &fd);
	if (err)
		return err;
	if (fstat(fd, &st) != 0 || (st.st_mode & 07) != 0)
		return writ_fail(WRIT_INVALID, "%.100s can be read by others than its owner: chmod 0400", path);
	*ret_fd = fd;
	fd = -1;
	return NULL;
}

struct writ_err *
role_secret(const struct conf *conf, int *ret_fd)
{
	struct writ_err *err = role_secret_open(secret_source(conf), ret_fd);

	return err ? writ_because(err, "the device's secret") : NULL;
}

struct writ_err *
role_secret_open(const char *source, int *ret_fd)
{
	uint64_t number;

	*ret_fd = -1;
	if (strncmp(source, "credential:", 11) == 0)
		return credential_open(source + 11, ret_fd);
	if (strncmp(source, "fd:", 3) != 0)
		return NULL;
	if (writ_decimal(writ_str(source + 3), 1023, &number))
		*ret_fd = fcntl((int)number, F_DUPFD_CLOEXEC, ROLE_FDS_END);
	if (*ret_fd < 0)
		return writ_fail(WRIT_INVALID, "no descriptor %s is open here", source);
	return NULL;
}

struct writ_err *
role_bin_dir(char out[4096])
{
	ssize_t n = readlink("/proc/self/exe", out, 4095);
	char *slash;

	if (n <= 0)
		return writ_fail_errno(errno, "/proc/self/exe");
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
	return NULL;
}

/* Arguments under construction; `failed` sticks. */
struct arguments {
	struct writ_arena *arena;
	char **list;
	size_t n;
	bool failed;
};

static void add(struct arguments *a, const char *fmt, ...) WRIT_PRINTF(2, 3);

static void
add(struct arguments *a, const char *fmt, ...)
{
	char text[8192];
	struct writ_bytes copy;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(text) || a->n + 1 >= ARGUMENTS_MAX) {
		a->failed = true;
		return;
	}
	copy = writ_arena_copy(a->arena, writ_str(text));
	if (!copy.data)
		a->failed = true;
	else
		a->list[a->n++] = (char *)(uintptr_t)copy.data;
}

/* "7,11". */
static const char *
pcrs_text(uint32_t mask, char out[PCRS_TEXT_MAX])
{
	size_t at = 0;

	for (unsigned n = 0; n < 32; n++)
		if (mask >> n & 1)
			at += (size_t)snprintf(out + at, PCRS_TEXT_MAX - at, "%s%u", at > 0 ? "," : "", n);
	return out;
}

static void
add_secret(struct arguments *a, const struct conf *conf)
{
	const char *const source = secret_source(conf);

	if (source[0] == '/')
		add(a, "%s", source);
	else
		add(a, "fd:%d", ROLE_SECRET_FD);
}

static void
add_device(struct arguments *a, const struct conf *conf, const struct role_users *users)
{
	static const char *const levels[] = { "debug", "info", "warn", "alarm" };
	char pcrs[PCRS_TEXT_MAX];

	add(a, "--fd");
	add(a, "%d", ROLE_SOCKET_FD);
	add(a, "--peer-uid");
	if (users->uid[ROLE_SIGNER] == geteuid())
		add(a, "%u", users->uid[ROLE_SIGNER]);
	else
		add(a, "%u,%u", users->uid[ROLE_SIGNER], geteuid());
	if (strcmp(conf->custody.scheme, "tpm2") == 0) {
		add(a, "--tpm");
		add(a, "%s", conf->custody.tcti);
		if (conf->custody.allow_software_tpm)
			add(a, "--allow-software-tpm");
		if (conf->custody.pcrs) {
			add(a, "--pcrs");
			add(a, "%s", pcrs_text(conf->custody.pcrs, pcrs));
			add(a, "--approval-key");
			add(a, "%s", conf->custody.approval_key);
			add(a, "--approvals");
			add(a, "%s", conf->custody.approvals);
			add(a, "--approvals-for"); /* an approval for one trust domain's CA serves no other */
			add(a, "writ-ca-%s", conf->trust_domain);
		}
		add(a, "--auth-file");
		add_secret(a, conf);
	} else {
		add(a, "--pkcs11");
		add(a, "%s", conf->custody.module);
		add(a, "--uri");
		add(a, "%s", conf->custody.uri);
		add(a, "--pin-file");
		add_secret(a, conf);
		for (size_t i = 0; i < conf->custody.n_environment; i++) {
			add(a, "--env");
			add(a, "%s", conf->custody.environment[i]);
		}
		for (size_t i = 0; i < conf->custody.n_paths; i++) {
			add(a, "--path");
			add(a, "%s", conf->custody.paths[i]);
		}
	}
	add(a, "--log-level");
	add(a, "%s", levels[conf->log_level]);
}

struct writ_err *
role_arguments(const struct conf *conf, const struct role_users *users, enum role role, const char *bin_dir,
	       const char *const *more, struct writ_arena *arena, char ***ret)
{
	struct arguments a = { .arena = arena, .list = writ_arena_take(arena, ARGUMENTS_MAX * sizeof(char *)) };

	if (!a.list)
		return writ_fail(WRIT_EXHAUSTED, "no memory to start %s", programs[role]);
	add(&a, "%s/%s", bin_dir, programs[role]);
	if (role == ROLE_DEVICE) {
		add_device(&a, conf, users);
	} else {
		add(&a, "--config");
		add(&a, "%s", conf->path);
		if (role == ROLE_SIGNER || role == ROLE_FETCH) {
			add(&a, "--fd");
			add(&a, "%d", ROLE_SOCKET_FD);
		}
		if (role == ROLE_SIGNER && !more) {
			add(&a, "--admin-fd");
			add(&a, "%d", ROLE_ADMIN_FD);
		}
	}
	for (; more && *more; more++)
		add(&a, "%s", *more);
	if (a.failed)
		return writ_fail(WRIT_EXHAUSTED, "the arguments of %s are more than %d, or one is too long",
				 programs[role], ARGUMENTS_MAX - 1);
	*ret = a.list;
	return NULL;
}

/* To where the programs look for them; everything else is closed.  Out of the way first: one may stand where another
 * belongs. */
static bool
descriptors_take(struct role_fds fds)
{
	struct {
		int from, to;
	} moves[] = { { fds.socket, ROLE_SOCKET_FD }, { fds.admin, ROLE_ADMIN_FD }, { fds.secret, ROLE_SECRET_FD } };

	if (fds.out >= 0 && dup2(fds.out, 1) < 0)
		return false;
	for (size_t i = 0; i < N_OF(moves); i++)
		if (moves[i].from >= 0 &&
		    (moves[i].from = fcntl(moves[i].from, F_DUPFD_CLOEXEC, ROLE_FDS_END)) < 0)
			return false;
	for (size_t i = 0; i < N_OF(moves); i++) {
		if (moves[i].from < 0)
			close(moves[i].to);
		else if (dup2(moves[i].from, moves[i].to) < 0)
			return false;
	}
	close_range(ROLE_FDS_END, ~0U, 0);
	return true;
}

static void
run(char *const *arguments)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
	char *environment[4] = { path, lang, NULL, NULL };

#ifdef WRIT_FAULTS
	static char fault[4096];
	const char *want = getenv("WRIT_FAULT");

	if (want) {
		snprintf(fault, sizeof(fault), "WRIT_FAULT=%s", want);
		environment[2] = fault;
	}
#endif
	execve(arguments[0], arguments, environment);
}

/* In the child: become the user, leave everything else behind.  Only async-signal-safe calls, and those of libc that
 * fork leaves usable. */
static void
become(char *const *arguments, const struct role_users *users, enum role role, struct role_fds fds, pid_t parent)
{
	const gid_t groups[] = { users->log_gid };
	sigset_t none;

	/* writd takes its signals by descriptor; what it blocked for that must reach the roles again. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent || !descriptors_take(fds))
		_exit(1);
	umask(027);
	if (users->separate) {
		if (setgroups(role == ROLE_ISSUER && users->log_gid != (gid_t)-1 ? 1 : 0, groups) != 0 ||
		    setgid(users->gid[role]) != 0 || setuid(users->uid[role]) != 0)
			_exit(1);
		/* Changing the user clears it. */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	}
	run(arguments);
	dprintf(2, "%s: cannot be started: %s%s\n", arguments[0], strerror(errno),
		errno == EACCES ? ": the role's user must be able to enter every folder above it" : "");
	_exit(127);
}

struct writ_err *
role_exec(char *const *arguments, struct role_fds fds)
{
	if (!descriptors_take(fds))
		return writ_fail_errno(errno, "handing descriptors to %.80s", arguments[0]);
	run(arguments);
	return writ_fail_errno(errno, "%.80s cannot be started", arguments[0]);
}

struct writ_err *
role_start(char *const *arguments, const struct role_users *users, enum role role, struct role_fds fds, pid_t *ret)
{
	const pid_t parent = getpid();
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return writ_fail_errno(errno, "%s cannot be started", programs[role]);
	if (pid == 0)
		become(arguments, users, role, fds, parent);
	*ret = pid;
	return NULL;
}
