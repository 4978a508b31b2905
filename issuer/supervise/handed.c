/*
 * What a service manager hands over.
 */
#include "issuer/supervise/handed.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define SOCKETS_MAX 2

static const char *const names[ROLE_N] = { "device", "signer", "issuer", "fetch" };

bool
handed_role_from(const char *name, enum role *ret)
{
	for (int i = 0; i < ROLE_N; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum role)i;
			return true;
		}
	return false;
}

/* How many there are; 0 when they were not meant for us. */
static uint64_t
handed_count(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t ours, n;

	if (!pid || !fds || !writ_decimal(writ_str(pid), INT32_MAX, &ours) || ours != (uint64_t)getpid() ||
	    !writ_decimal(writ_str(fds), 64, &n))
		return 0;
	return n;
}

WRIT_CHECKED static struct writ_err *
kind_check(const char *name, int fd, int wanted)
{
	const int listens = wanted == SOCK_SEQPACKET;
	int family = 0, kind = 0, listening = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) != 0 || family != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len) != 0 || kind != wanted ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || listening != listens)
		return writ_fail(WRIT_INVALID, "the socket '%s' that was handed over is not a %s of unix", name,
				 listens ? "listening SOCK_SEQPACKET" : "SOCK_DGRAM");
	return NULL;
}

/* The next name of LISTEN_FDNAMES; NULL at the end. */
static const char *
name_next(const char **names_left, char out[64])
{
	const size_t len = strcspn(*names_left, ":");

	if (**names_left == '\0' || len >= 64)
		return NULL;
	memcpy(out, *names_left, len);
	out[len] = '\0';
	*names_left += len + ((*names_left)[len] == ':');
	return out;
}

WRIT_CHECKED static struct writ_err *
sockets_find(enum role role, struct role_fds *ret)
{
	const uint64_t n = handed_count();
	const char *left = getenv("LISTEN_FDNAMES");
	char text[64];

	*ret = (struct role_fds){ -1, -1, -1, -1 };
	for (uint64_t i = 0; i < n; i++) {
		const char *const name = left ? name_next(&left, text) : NULL;
		const bool admin = name && role == ROLE_SIGNER && strcmp(name, "admin") == 0;
		int *const at = admin ? &ret->admin : &ret->socket;
		struct writ_err *err;

		if (!name || role == ROLE_ISSUER || (!admin && strcmp(name, names[role]) != 0) || *at >= 0)
			return writ_fail(WRIT_INVALID,
					 "socket %d that was handed over, '%s', is none of %s (FileDescriptorName=)",
					 FIRST_FD + (int)i, name ? name : "without a name", role_program(role));
		err = kind_check(name, FIRST_FD + (int)i, role == ROLE_FETCH ? SOCK_DGRAM : SOCK_SEQPACKET);
		if (err)
			return err;
		*at = FIRST_FD + (int)i;
	}
	if ((role != ROLE_ISSUER && ret->socket < 0) || (role == ROLE_SIGNER && ret->admin < 0))
		return writ_fail(WRIT_INVALID,
				 "%s was handed no socket '%s': it is started by a service manager with "
				 "its .socket units, or by writd",
				 role_program(role), ret->socket < 0 ? names[role] : "admin");
	return NULL;
}

struct writ_err *
handed_become(const struct conf *conf, enum role role)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(1024 * 1024);
	char bin_dir[4096], **arguments;
	struct role_users users;
	struct role_fds fds;
	struct writ_err *err;

	err = role_users_named(conf, &users);
	if (err)
		return err;
	if (users.uid[role] != geteuid())
		return writ_fail(WRIT_INVALID, "uid %u is not the user of %s, %u, that writ.yaml names (User=)",
				 (unsigned)geteuid(), role_program(role), (unsigned)users.uid[role]);
	err = sockets_find(role, &fds);
	if (!err)
		err = role_bin_dir(bin_dir);
	if (!err)
		err = role_arguments(conf, &users, role, bin_dir, NULL, &arena, &arguments);
	if (!err && role == ROLE_DEVICE)
		err = role_secret(conf, &fds.secret);
	if (err)
		return err;
	umask(027);
	return role_exec(arguments, fds);
}
