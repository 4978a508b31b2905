/*
 * The sandbox: seccomp by lists of names (libseccomp knows their numbers and arguments on each machine), Landlock by
 * its three system calls.
 *
 * (1) The lists hold what glibc, OpenSSL, SQLite and our own code use after the start; a name that this libseccomp or
 *     machine does not know is passed over.
 * (2) Landlock first: the filter does not let its calls through any more.
 */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <seccomp.h>
#undef EV_NUM /* of elf.h, which it includes */

#include "base/event.h"
#include "base/fault.h"
#include "base/file.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define NUMBERS_NEW 424 /* from here on numbers are the same on every machine (Linux 5.1) */
#define NUMBERS_END 512

/* ---- what may be called ---- */

/* clang-format off */
/* (1) */
static const char *const always[] = {
	/* descriptors */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
	"_llseek", "close", "fcntl", "fcntl64", "dup", "poll", "ppoll", "pselect6", "epoll_create1", "epoll_ctl",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "signalfd4", "pipe2", "memfd_create", "timerfd_create",
	"timerfd_settime", "timerfd_gettime",
	/* files: which ones is Landlock's to say */
	"open", "openat", "access", "faccessat", "faccessat2", "stat", "lstat", "fstat", "newfstatat", "fstatat64",
	"fstat64", "stat64", "lstat64", "statx", "statfs", "fstatfs", "statfs64", "fstatfs64", "readlink", "readlinkat",
	"getdents64", "getcwd", "flock", "fsync", "fdatasync", "ftruncate", "ftruncate64", "fallocate", "fadvise64",
	"sync_file_range", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
	"chmod", "fchmod", "fchmodat", "fchown", "fchown32", "fchownat", "umask", "utimensat", "copy_file_range",
	/* memory */
	"brk", "munmap", "mremap", "madvise", "mlock", "mlock2", "munlock", "msync", "mincore", "membarrier",
	/* time, chance, signals, ourselves */
	"clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64", "nanosleep",
	"gettimeofday", "time", "times", "getrandom", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
	"rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "restart_syscall", "pause", "exit", "exit_group", "getpid",
	"gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "uname",
	"sysinfo", "getcpu", "getrusage", "getrlimit", "ugetrlimit", "futex", "futex_time64", "set_robust_list",
	"get_robust_list", "rseq", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
	"getpriority",
	/* sockets that are there */
	"accept", "accept4", "bind", "connect", "listen", "shutdown", "getsockname", "getpeername", "getsockopt",
	"setsockopt", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64", "recv", "sendto", "sendmsg", "sendmmsg",
	"send",
};

static const char *const foreign[] = {
	"ioctl", "dup2", "dup3", "pipe", "select", "_newselect", "epoll_create", "eventfd", "inotify_init1",
	"inotify_add_watch", "inotify_rm_watch", "symlink", "symlinkat", "link", "linkat", "chdir", "fchdir", "chown",
	"lchown", "truncate", "creat", "utime", "utimes", "getdents", "setitimer", "getitimer", "alarm", "timer_create",
	"timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "timerfd_settime", "sched_setaffinity",
	"sched_setscheduler", "sched_setparam", "sched_get_priority_max", "sched_get_priority_min",
	"sched_rr_get_interval", "semget", "semop", "semctl", "semtimedop", "shmget", "shmat", "shmdt", "shmctl",
	"capget", "getpgrp", "getpgid", "getsid", "get_mempolicy", "mlockall", "munlockall", "arch_prctl",
	"set_tid_address",
};

/* What the run-time libraries of the sanitizers call, at the latest while they report. */
static const char *const sanitized[] = {
	"clone", "wait4", "ptrace", "prctl", "kill", "tgkill", "tkill", "ioctl", "arch_prctl", "personality",
	"prlimit64", "sched_setaffinity", "process_vm_readv", "setrlimit", "mprotect", "mmap", "dup2", "getpgrp",
	"getdents", "getdents64", "getppid", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "pipe", "pipe2", "openat", "open",
};

/* clang-format on */

struct filter {
	scmp_filter_ctx ctx;
	bool listed[NUMBERS_END]; /* the numbers that have a rule, */
	bool whole[NUMBERS_END];  /* and those that have one whatever the arguments are */
	int failed;		  /* the first error, or 0 */
};

static void
failed_take(struct filter *f, int code)
{
	if (code != 0 && f->failed == 0)
		f->failed = code;
}

/* -1: no such call here, or nothing to add to what it may. */
static int
number_of(struct filter *f, const char *name)
{
	const int number = seccomp_syscall_resolve_name(name);

	if (number < 0 || number >= NUMBERS_END || f->whole[number])
		return -1;
	f->listed[number] = true;
	return number;
}

static void
allow(struct filter *f, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const int number = number_of(f, names[i]);

		if (number < 0)
			continue;
		f->whole[number] = true;
		failed_take(f, seccomp_rule_add(f->ctx, SCMP_ACT_ALLOW, number, 0));
	}
}

/* The library's macros leave a field out, which the strictest compiler refuses. */
static struct scmp_arg_cmp
argument(unsigned number, enum scmp_compare compare, uint64_t a, uint64_t b)
{
	return (struct scmp_arg_cmp){ .arg = number, .op = compare, .datum_a = a, .datum_b = b };
}

static void
allow_when(struct filter *f, const char *name, struct scmp_arg_cmp when)
{
	const int number = number_of(f, name);

	if (number >= 0)
		failed_take(f, seccomp_rule_add_array(f->ctx, SCMP_ACT_ALLOW, number, 1, &when));
}

static void
allow_memory(struct filter *f, const char *name, bool code)
{
	allow_when(f, name, argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (code) /* never to be written and run at once */
		allow_when(f, name, argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
}

/* clone3 hides its flags from the filter: glibc goes back to clone, whose flags it sees. */
static void
allow_threads(struct filter *f)
{
	allow_when(f, "clone", argument(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
}

static void
allow_families(struct filter *f, unsigned may)
{
	static const char *const names[] = { "socket", "socketpair" };

	for (size_t i = 0; i < N_OF(names); i++) {
		if (may & SANDBOX_UNIX)
			allow_when(f, names[i], argument(0, SCMP_CMP_EQ, AF_UNIX, 0));
		if (may & (SANDBOX_ACCEPT | SANDBOX_CONNECT)) {
			allow_when(f, names[i], argument(0, SCMP_CMP_EQ, AF_INET, 0));
			allow_when(f, names[i], argument(0, SCMP_CMP_EQ, AF_INET6, 0));
		}
		if (may & SANDBOX_CONNECT) /* getaddrinfo() asks which addresses this machine has */
			allow_when(f, names[i], argument(0, SCMP_CMP_EQ, AF_NETLINK, 0));
	}
}

static void
allow_ourselves(struct filter *f)
{
	/* the last: what a slow reader has not taken yet (issuer/http/conn.c) */
	static const unsigned long controls[] = { TCGETS, FIONREAD, FIONBIO, TIOCOUTQ };
	static const unsigned long options[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE,
						 0x53564d41 /* PR_SET_VMA */ };
	const scmp_datum_t me = (scmp_datum_t)getpid();

	for (size_t i = 0; i < N_OF(controls); i++)
		allow_when(f, "ioctl", argument(1, SCMP_CMP_EQ, controls[i], 0));
	for (size_t i = 0; i < N_OF(options); i++)
		allow_when(f, "prctl", argument(0, SCMP_CMP_EQ, options[i], 0));
	allow_when(f, "prlimit64", argument(2, SCMP_CMP_EQ, 0, 0)); /* to ask */
	allow_when(f, "tgkill", argument(0, SCMP_CMP_EQ, me, 0));	/* abort() */
#ifdef WRIT_FAULTS
	allow_when(f, "kill", argument(0, SCMP_CMP_EQ, me, 0)); /* fault points */
#endif
}

static void
newer_are_absent(struct filter *f)
{
	for (int number = NUMBERS_NEW; number < NUMBERS_END; number++)
		if (!f->listed[number])
			failed_take(f, seccomp_rule_add(f->ctx, SCMP_ACT_ERRNO(ENOSYS), number, 0));
}

static void
filter_fill(struct filter *f, unsigned may)
{
	failed_take(f, seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
	failed_take(f, seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)); /* a tree: the list is long */
	if (SANITIZED)
		allow(f, sanitized, N_OF(sanitized));
	if (may & SANDBOX_FOREIGN)
		allow(f, foreign, N_OF(foreign));
	allow(f, always, N_OF(always));
	allow_memory(f, "mmap", may & SANDBOX_FOREIGN);
	allow_memory(f, "mmap2", may & SANDBOX_FOREIGN);
	allow_memory(f, "mprotect", may & SANDBOX_FOREIGN);
	if (may & SANDBOX_THREADS)
		allow_threads(f);
	allow_families(f, may);
	allow_ourselves(f);
	newer_are_absent(f);
}

WRIT_CHECKED static struct writ_err *
filter_load(unsigned may)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_KILL_PROCESS) };
	int code;

	if (!f.ctx)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a filter of system calls");
	filter_fill(&f, may);
	code = f.failed ? f.failed : seccomp_load(f.ctx);
	seccomp_release(f.ctx);
	return code == 0 ? NULL : writ_fail_errno(-code, "a filter of system calls cannot be put in force");
}

/* ---- which files ---- */

/* Landlock's own numbers, as kernels know them: headers of a build machine may be older (linux/landlock.h). */
#define RIGHT_EXECUTE (1ULL << 0)
#define RIGHT_WRITE_FILE (1ULL << 1)
#define RIGHT_READ_FILE (1ULL << 2)
#define RIGHT_READ_DIR (1ULL << 3)
#define RIGHT_REFER (1ULL << 13)     /* ABI 2 */
#define RIGHT_TRUNCATE (1ULL << 14)  /* ABI 3 */
#define RIGHT_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define RIGHTS_OF_ONE ((1ULL << 13) - 1)
#define RIGHTS_OF_A_FILE (RIGHT_EXECUTE | RIGHT_WRITE_FILE | RIGHT_READ_FILE | RIGHT_TRUNCATE | RIGHT_IOCTL_DEV)
#define NET_BIND 1ULL
#define NET_CONNECT 2ULL
#define SCOPE_ABSTRACT 1ULL
#define SCOPE_SIGNAL 2ULL
#define RULE_BENEATH 1

struct ruleset {
	uint64_t files, net /* ABI 4 */, scope /* ABI 6 */;
};

struct beneath {
	uint64_t rights;
	int32_t folder;
} __attribute__((packed));

static uint64_t
rights_known(long abi)
{
	return RIGHTS_OF_ONE | (abi >= 2 ? RIGHT_REFER : 0) | (abi >= 3 ? RIGHT_TRUNCATE : 0) |
	       (abi >= 5 ? RIGHT_IOCTL_DEV : 0);
}

WRIT_CHECKED static struct writ_err *
path_allow(int rules, const char *path, uint64_t rights)
{
	AUTO(file_closep) int fd = open(path, O_PATH | O_CLOEXEC);
	struct beneath beneath = { .rights = rights, .folder = fd };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return errno == ENOENT || errno == EACCES ? NULL : writ_fail_errno(errno, "%.80s", path);
	if (!S_ISDIR(st.st_mode))
		beneath.rights &= RIGHTS_OF_A_FILE;
	if (syscall(SYS_landlock_add_rule, rules, RULE_BENEATH, &beneath, 0) != 0)
		return writ_fail_errno(errno, "Landlock refuses %.80s", path);
	return NULL;
}

/* What libraries read whenever they like. */
static const char *const read_by_libraries[] = {
	"/dev/null",
	"/dev/zero",
	"/dev/urandom",
	"/etc/ssl/openssl.cnf",
	"/etc/localtime",
	"/usr/share/zoneinfo",
	"/sys/devices/system/cpu",
	"/proc/cpuinfo",
	"/proc/sys/vm/overcommit_memory",
};

WRIT_CHECKED static struct writ_err *
paths_allow(const struct sandbox *box, int rules, long abi)
{
	const uint64_t read = RIGHT_READ_FILE | RIGHT_READ_DIR, write = rights_known(abi) & ~RIGHT_EXECUTE;
	struct writ_err *err = NULL;

	for (size_t i = 0; !err && i < N_OF(read_by_libraries); i++)
		err = path_allow(rules, read_by_libraries[i], read);
	if (SANITIZED && !err)
		err = path_allow(rules, "/proc", read); /* maps, for a report */
	for (size_t i = 0; !err && i < box->n_paths; i++)
		err = path_allow(rules, box->paths[i].path, box->paths[i].write ? write : read);
	return err;
}

/* `*ret_abi` is 0 where the kernel has none. */
WRIT_CHECKED static struct writ_err *
landlock(const struct sandbox *box, long *ret_abi)
{
	AUTO(file_closep) int rules = -1;
	const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* which ABI is this? */);
	struct ruleset set = { 0 };
	struct writ_err *err;
	size_t len;

	*ret_abi = abi > 0 ? abi : 0;
	if (abi <= 0)
		return NULL;
	set.files = box->anywhere ? 0 : rights_known(abi);
	if (abi >= 4 && !(box->may & SANDBOX_ACCEPT))
		set.net |= NET_BIND;
	if (abi >= 4 && !(box->may & SANDBOX_CONNECT))
		set.net |= NET_CONNECT;
	set.scope = abi < 6 ? 0 : SCOPE_ABSTRACT | SCOPE_SIGNAL;
	len = abi >= 6 ? sizeof(set) : abi >= 4 ? offsetof(struct ruleset, scope) : offsetof(struct ruleset, net);
	if (!set.files && !set.net && !set.scope)
		return NULL;
	rules = (int)syscall(SYS_landlock_create_ruleset, &set, len, 0);
	if (rules < 0)
		return writ_fail_errno(errno, "Landlock (ABI %ld) refuses a set of rules", abi);
	err = box->anywhere ? NULL : paths_allow(box, rules, abi);
	if (!err && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
		err = writ_fail_errno(errno, "Landlock cannot be put in force");
	return err;
}

/* ---- the rest ---- */

/* As root, without users of their own: what lets it open the roles' files and the device, and nothing else. */
WRIT_CHECKED static struct writ_err *
capabilities_drop(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	const uint32_t kept = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;

	if (syscall(SYS_capget, &header, data) != 0)
		return writ_fail_errno(errno, "asking for capabilities");
	if ((data[0].permitted & ~kept) == 0 && data[1].permitted == 0)
		return NULL; /* a service manager's filter may not even let us ask */
	data[0].permitted &= kept;
	data[0].effective &= kept;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){ 0 };
	if (!SANITIZED && syscall(SYS_capset, &header, data) != 0)
		return writ_fail_errno(errno, "giving up capabilities");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
privileges_drop(void)
{
	const struct rlimit no_core = { 0, 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return writ_fail_errno(errno, "giving up new privileges");
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
		return writ_fail_errno(errno, "forbidding core dumps and ptrace");
	return capabilities_drop();
}

#ifdef WRIT_FAULTS
/* The tests' proof that the walls stand: each breach must end the process, or answer EACCES. */
static void
breach_try(void)
{
	static char name[] = "/bin/true";
	char *arguments[] = { name, NULL };

	if (fault_ordered("sandbox:exec"))
		execve(name, arguments, NULL);
	if (fault_ordered("sandbox:fork"))
		(void)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (fault_ordered("sandbox:ptrace"))
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	if (fault_ordered("sandbox:inet"))
		(void)socket(AF_INET, SOCK_STREAM, 0);
	if (fault_ordered("sandbox:code"))
		(void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fault_ordered("sandbox:file")) {
		const int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

		event(EVENT_ALARM, "sandbox.tried", EV_FLAG("opened", fd >= 0), EV_NUM("errno", fd >= 0 ? 0 : errno));
	}
}
#endif

struct writ_err *
sandbox_enter(const struct sandbox *box)
{
	struct writ_err *err;
	long abi = 0;

	if (box->n_paths > SANDBOX_PATHS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "sandbox: more than %d paths", SANDBOX_PATHS_MAX);
	err = privileges_drop();
	if (!err)
		err = landlock(box, &abi); /* (2) */
	if (!err)
		err = filter_load(box->may);
	if (err)
		return writ_recode(err, WRIT_UNAVAILABLE, "sandbox of %s", box->role);
	event(EVENT_INFO, "sandbox.entered", EV_NUM("landlock", abi), EV_FLAG("files", abi > 0 && !box->anywhere));
#ifdef WRIT_FAULTS
	breach_try();
#endif
	return NULL;
}

/* ---- paths ---- */

/* A path of the first `len` bytes; one that is there already is not added again. */
static void
path_add(struct sandbox *box, const char *path, size_t len, bool write)
{
	char *at = box->room + box->room_used;

	for (size_t i = 0; i < box->n_paths && i < SANDBOX_PATHS_MAX; i++)
		if (strlen(box->paths[i].path) == len && memcmp(box->paths[i].path, path, len) == 0) {
			box->paths[i].write |= write;
			return;
		}
	if (box->n_paths >= SANDBOX_PATHS_MAX || len + 1 > sizeof(box->room) - box->room_used) {
		box->n_paths = SANDBOX_PATHS_MAX + 1; /* told by sandbox_enter() */
		return;
	}
	memcpy(at, path, len);
	at[len] = '\0';
	box->room_used += len + 1;
	box->paths[box->n_paths].path = at;
	box->paths[box->n_paths++].write = write;
}

static void
beside_add(struct sandbox *box, const char *file, bool write)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		path_add(box, ".", 1, write);
	else
		path_add(box, file, slash == file ? 1 : (size_t)(slash - file), write);
}

void
sandbox_read(struct sandbox *box, const char *path)
{
	if (path)
		path_add(box, path, strlen(path), false);
}

void
sandbox_write(struct sandbox *box, const char *path)
{
	if (path)
		path_add(box, path, strlen(path), true);
}

void
sandbox_read_beside(struct sandbox *box, const char *file)
{
	if (file)
		beside_add(box, file, false);
}

void
sandbox_write_beside(struct sandbox *box, const char *file)
{
	if (file)
		beside_add(box, file, true);
}
