/*
 * The roles as processes: which user each runs as, what it is started with, the folders it needs.
 *
 * Shared by writd, which keeps them running, and `writ init`, which runs device and signer once.  Knows no protocol
 * between them. Threading: call before other threads exist (fork).
 */
#ifndef WRIT_ISSUER_SUPERVISE_ROLES_H
#define WRIT_ISSUER_SUPERVISE_ROLES_H

#include <sys/types.h>

#include "issuer/conf/conf.h"

enum role { ROLE_DEVICE, ROLE_SIGNER, ROLE_ISSUER, ROLE_FETCH, ROLE_N };

/* Every role but ROLE_FETCH, which is there when the configuration names an URL to fetch. */
bool role_wanted(const struct conf *, enum role);

const char *role_program(enum role); /* "writ-deviced", ... */

/* The users of all roles: our own when we are not root or writ.yaml names none. */
struct role_users {
	bool separate; /* root, and writ.yaml names them: each process becomes its own user */
	uid_t uid[ROLE_N];
	gid_t gid[ROLE_N];
	gid_t log_gid; /* may read the journal; (gid_t)-1: none */
};
WRIT_CHECKED struct writ_err *role_users(const struct conf *, struct role_users *ret);

/* The users as writ.yaml names them, whoever we are: for a role that is started as its user. */
WRIT_CHECKED struct writ_err *role_users_named(const struct conf *, struct role_users *ret);

/*
 * Makes state and run folders with their owners and modes, unless they are there; then checks them:
 *	STATE 0755 signer   STATE/store 0700 issuer   STATE/keys, STATE/certs 0700 signer   STATE/journal 02750
 *signer:log group   RUN 0755   and where writ-fetchd runs STATE/fetched 0755 fetch
 */
WRIT_CHECKED struct writ_err *role_folders(const struct conf *, const struct role_users *);

/* Only checks them, and makes nothing. */
WRIT_CHECKED struct writ_err *role_folders_check(const struct conf *, const struct role_users *);

/*
 * The listening socket of device or signer: RUN/device.sock, RUN/signer.sock, owned by its role, connected to by the
 * group of the role that asks it.  The role inherits it, so that nobody but us needs to write in RUN, and a restart
 * loses no connection request.  That of ROLE_FETCH, RUN/fetch.sock, takes datagrams (issuer/fetch/wire.h) of the
 * issuer's group.  For ROLE_ISSUER `*ret_fd` is -1.
 */
WRIT_CHECKED struct writ_err *role_socket(const struct conf *, const struct role_users *, enum role, int *ret_fd);

/* RUN/admin.sock, which the signer inherits beside its own: root's, or that of the user `users.operator`. */
WRIT_CHECKED struct writ_err *role_admin_socket(const struct conf *, int *ret_fd);

/* auth_file or pin_file as a descriptor, when it is `credential:NAME` or `fd:N`: to be handed to writ-deviced, which
 * may not be able to open it.  -1 when it is a path, which writ-deviced reads itself. */
WRIT_CHECKED struct writ_err *role_secret(const struct conf *, int *ret_fd);

/* The same of `source`, whatever key names it. */
WRIT_CHECKED struct writ_err *role_secret_open(const char *source, int *ret_fd);

/* The folder our own program is in: the others are beside it. */
WRIT_CHECKED struct writ_err *role_bin_dir(char out[4096]);

/* The program and its arguments (`--fd 3` for those with a socket, `--admin-fd 4` for the signer when `more` is NULL: it
 * serves then), NULL-terminated, in the arena.  `more`: NULL or a
 * NULL-terminated list added at the end. */
WRIT_CHECKED struct writ_err *role_arguments(const struct conf *, const struct role_users *, enum role,
					     const char *bin_dir, const char *const *more, struct writ_arena *,
					     char ***ret);

/*
 * Starts it: own user and groups, umask 027, no descriptor but 0 to 2 and those of `fds`, an environment of PATH, LANG
 * and - in test builds - WRIT_FAULT; ends with its parent (PDEATHSIG).
 */
#define ROLE_SECRET_FD 5
struct role_fds {
	int socket; /* becomes its descriptor 3; -1: none */
	int admin;  /* becomes its descriptor 4; -1: none */
	int out;    /* becomes its standard output; -1: it keeps ours */
	int secret; /* of role_secret(): becomes its descriptor 5; -1: none */
};
WRIT_CHECKED struct writ_err *role_start(char *const *arguments, const struct role_users *, enum role, struct role_fds,
					 pid_t *ret);

/* The same in this process, which it replaces, as who we are.  Does not return when it went well. */
WRIT_CHECKED struct writ_err *role_exec(char *const *arguments, struct role_fds);

#endif
