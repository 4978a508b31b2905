/*
 * writ restore --accept-loss: a state directory that is an older copy, and the newest there is, is made the newest
 * again.
 *
 * The signer does the work (issuer/signer/restore.c), with the device behind it; nothing else may run.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/frame.h"
#include "issuer/cli/cli.h"
#include "issuer/cli/signer_run.h"

#define CONNECT_MS 2000

/* A second writ-deviced would take the running one's socket away. */
static struct writ_err *
refuse_while_running(const struct conf *conf)
{
	char path[4096];
	struct writ_err *err;
	int sock;

	err = frame_connect(conf_path(conf->run, "admin.sock", path), CONNECT_MS, &sock);
	if (err) {
		writ_err_free(err);
		return NULL;
	}
	close(sock);
	return writ_fail(WRIT_CONFLICT, "the service of %s is running: stop it first", conf->run);
}

int
cmd_restore(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--config", OPTION_VALUE, true, "WRIT_CONFIG" },
						    { "--accept-loss", OPTION_FLAG, false, NULL } };
	AUTO(conf_done) struct conf conf = { 0 };
	char by[16];
	const char *const what[] = { "--ceremony", "accept-loss", "--by-uid", by, NULL };
	struct role_users users;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err && !option_given(&o, "--accept-loss"))
		err = writ_fail(WRIT_INVALID,
				"copying files back is yours to do (OPERATING.md); --accept-loss says that what "
				"the copy does not know is given up for good");
	if (!err)
		err = conf_read(option(&o, "--config"), &conf);
	if (err)
		return cli_misused("restore", err);
	snprintf(by, sizeof(by), "%u", (unsigned)getuid());
	err = refuse_while_running(&conf);
	if (!err)
		err = role_users(&conf, &users);
	if (!err)
		err = signer_run(&conf, &users, what, -1);
	return err ? cli_fail("restore", err) : CLI_DONE;
}
