/*
 * The sandbox: what a process gives up once it has started, so that whoever takes it over has little to work with.
 *
 * A program says what it still needs (struct sandbox) and enters; there is no way back.  From then on
 *	- a system call that it did not ask for kills the process (SIGSYS; the kernel's audit record names the call, the
 *	  supervisor raises an alarm); calls newer than this list answer ENOSYS, as an older kernel would, so that
 *	  a C library falls back to what it used before;
 *	- never: execve, other processes, ptrace, mounts, namespaces, BPF, keys of the kernel, changing users;
 *	- files outside the paths it named answer EACCES (Landlock, where the kernel has it), and so does TCP in a
 *direction it did not ask for; no signal and no abstract socket reaches a process outside;
 *	- it has no capability but, as root, to read what is of the roles' users; no core is written, nobody may trace
 *it. Knows no role: each program's main file says what that program may.  Must be entered before the first other
 *thread, and after all code was loaded (dlopen), users were looked up (getpwnam loads code too) and the configuration
 *was read. Builds with sanitizers let through what those need; no other build has a way around it.
 */
#ifndef WRIT_BASE_SANDBOX_H
#define WRIT_BASE_SANDBOX_H

#include "base/bytes.h"

#define SANDBOX_THREADS 1U  /* threads of its own */
#define SANDBOX_UNIX 2U	    /* new unix sockets */
#define SANDBOX_ACCEPT 4U   /* new IP sockets, to listen on */
#define SANDBOX_CONNECT 8U  /* new IP sockets, to connect to others: names are looked up */
#define SANDBOX_FOREIGN 16U /* code of others: loads more of it, and calls what libraries of vendors may want */

#define SANDBOX_PATHS_MAX 256 /* different ones */

struct sandbox {
	const char *role;
	unsigned may;
	bool anywhere; /* no Landlock for files: what will be opened is not known yet */
	size_t n_paths;
	struct {
		const char *path; /* in `room` */
		bool write;
	} paths[SANDBOX_PATHS_MAX];
	char room[16 * 1024];
	size_t room_used;
};

/* `path` and all below it may be read; and written, made, removed.  What is not there when it enters stays out of
 * reach. NULL is passed over.  More than SANDBOX_PATHS_MAX: sandbox_enter() says so. */
void sandbox_read(struct sandbox *, const char *path);
void sandbox_write(struct sandbox *, const char *path);

/* The folder that a file is in may be read: files are replaced by renaming others over them. */
void sandbox_read_beside(struct sandbox *, const char *file);

/* The same, and written. */
void sandbox_write_beside(struct sandbox *, const char *file);

/* WRIT_UNAVAILABLE when the kernel refuses: nothing of ours goes on without.  An event says what is in force. */
WRIT_CHECKED struct writ_err *sandbox_enter(const struct sandbox *);

#endif
