/*
 * The users that writ.yaml names, as numbers: looked up before the sandbox, since a lookup may load code and ask
 * others.
 */
#include <pwd.h>
#include <unistd.h>

#include "issuer/signer/signer.h"

static struct writ_err *
find(const char *key, const char *name, uid_t *ret)
{
	const struct passwd *user = name ? getpwnam(name) : NULL;

	if (name && !user)
		return writ_fail(WRIT_INVALID, "users.%s: there is no user %.80s on this machine", key, name);
	if (user)
		*ret = user->pw_uid;
	return NULL;
}

struct writ_err *
users_find(const struct conf *conf, struct signer_users *ret)
{
	struct writ_err *err;

	*ret = (struct signer_users){ .issuer = geteuid(), .device = (uid_t)-1, .operator=(uid_t) - 1 };
	err = find("issuer", conf->users.issuer, &ret->issuer);
	if (!err)
		err = find("device", conf->users.device, &ret->device);
	return err ? err : find("operator", conf->users.operator, & ret->operator);
}
