/*
 * The settings of writ-deviced, from its arguments: the supervisor reads the configuration, this process does not.
 * No secret is among them, only the file that holds it (I11).  Strings borrow from argv.
 */
#ifndef WRIT_HSM_DEVICED_SETTINGS_H
#define WRIT_HSM_DEVICED_SETTINGS_H

#include <sys/types.h>

#include "base/event.h"
#include "hsm/custody.h"

#define PEERS_MAX 8
#define ENV_MAX 16
#define PATHS_MAX 16

struct settings {
	const char *scheme; /* "tpm2" or "pkcs11" */
	const char *socket; /* or */
	int fd;		    /* a socket inherited, listening or connected; -1 */
	struct custody_conf device;
	const char *secret_file; /* its path, or fd:N */
	bool secret_is_hex;
	uid_t peers[PEERS_MAX];
	size_t n_peers;
	const char *env[ENV_MAX];
	size_t n_env;
	const char *paths[PATHS_MAX]; /* folders that the module may read and write */
	size_t n_paths;
	enum event_level level;
};

extern const char settings_usage[];

/* WRIT_INVALID names the argument, or what is missing. */
WRIT_CHECKED struct writ_err *settings_read(int argc, char **argv, struct settings *ret);

#endif
