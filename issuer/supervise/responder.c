/*
 * `writd --role responder`: see responder.h.
 */
#include "issuer/supervise/responder.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "issuer/conf/responder.h"
#include "issuer/supervise/roles.h"

static const char program[] = "writ-responderd";

/* As root, before it stops being root: so the key may be root's alone. */
WRIT_CHECKED static struct writ_err *
key_open(const char *source, int *ret_fd)
{
	struct writ_err *err = role_secret_open(source, ret_fd);

	if (!err && *ret_fd < 0)
		err = file_open(source, FILE_PRIVATE, ret_fd);
	return err ? writ_because(err, "responder.key") : NULL;
}

WRIT_CHECKED static struct writ_err *
user_become(const char *name)
{
	const struct passwd *user = name ? getpwnam(name) : NULL;

	if (geteuid() != 0 || !name)
		return NULL;
	if (!user)
		return writ_fail(WRIT_NOT_FOUND,
				 "user: there is no user %s on this machine: make it, or leave `user` away", name);
	if (user->pw_uid == 0)
		return writ_fail(WRIT_INVALID, "user: %s is root: a responder wants a user without rights", name);
	if (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
		return writ_fail(WRIT_UNAVAILABLE, "user: %s cannot be become", name);
	return NULL;
}

struct writ_err *
responder_become(const char *conf_path)
{
	AUTO(conf_responder_done) struct conf_responder conf = { 0 };
	char bin_dir[4096], path[4200], number[16], config_option[] = "--config", key_option[] = "--key-fd";
	char config[4096];
	char *arguments[] = { path, config_option, config, key_option, number, NULL };
	struct role_fds fds = { .socket = -1, .admin = -1, .out = -1, .secret = -1 };
	struct writ_err *err = conf_responder_read(conf_path, &conf);

	if (!err)
		err = role_bin_dir(bin_dir);
	if (!err)
		err = key_open(conf.key, &fds.secret);
	if (!err)
		err = user_become(conf.user);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/%s", bin_dir, program);
	snprintf(config, sizeof(config), "%s", conf_path);
	snprintf(number, sizeof(number), "%d", ROLE_SECRET_FD);
	umask(027);
	return role_exec(arguments, fds);
}
