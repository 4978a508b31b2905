/*
 * writ custody pcrs and raise: on the machine whose TPM holds the keys.
 *
 * The running signer is asked, over RUN/admin.sock.  Where no signer runs - before the ceremony, whose first signature
 * needs an approval already - a writ-deviced is started for the one question, as `writ init` does.
 */
#include "issuer/cli/custody_approve.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "hsm/wire.h"
#include "issuer/cli/admin.h"
#include "issuer/supervise/roles.h"

static struct writ_err *
ask_started(const struct conf *conf, const struct role_users *users, struct writ_buf *ret)
{
	AUTO(device_closep) struct device *device = NULL;
	char path[4096];
	struct writ_err *err;

	err = device_connect(conf_path(conf->run, "device.sock", path), users->uid[ROLE_DEVICE], &device);
	return err ? err : device_pcrs(device, ret);
}

/* Nobody runs: a device of our own. */
static struct writ_err *
ask_alone(const struct conf *conf, struct writ_buf *ret)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	struct role_users users;
	char bin_dir[4096], **arguments;
	int socket_fd, secret_fd = -1;
	struct writ_err *err;
	pid_t pid;

	err = role_users(conf, &users);
	if (!err)
		err = role_bin_dir(bin_dir);
	if (!err)
		err = role_arguments(conf, &users, ROLE_DEVICE, bin_dir, NULL, &arena, &arguments);
	if (!err)
		err = role_secret(conf, &secret_fd);
	if (!err)
		err = role_socket(conf, &users, ROLE_DEVICE, &socket_fd);
	if (err) {
		file_closep(&secret_fd);
		return err;
	}
	err = role_start(arguments, &users, ROLE_DEVICE, (struct role_fds){ socket_fd, -1, -1, secret_fd }, &pid);
	close(socket_fd);
	file_closep(&secret_fd);
	if (err)
		return err;
	err = ask_started(conf, &users, ret);
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}

static struct writ_err *
ask_signer(const struct options *o, struct writ_buf *ret)
{
	json_t *answer = NULL;
	const char *report;
	struct writ_err *err;

	err = admin_ask_json(o, ADMIN_PCRS, (struct writ_bytes){ NULL, 0 }, ADMIN_TIMEOUT_MS, &answer);
	if (err)
		return err;
	report = json_string_value(json_object_get(answer, "report"));
	err = report ? writ_buf_add(ret, writ_str(report))
		     : writ_fail(WRIT_BROKEN, "the signer's answer has no report");
	json_decref(answer);
	return err;
}

static struct writ_err *
ask(const struct options *o, struct writ_buf *ret)
{
	AUTO(conf_done) struct conf conf = { 0 };
	char path[4096];
	struct writ_err *err;

	err = conf_read(option(o, "--config"), &conf);
	if (err)
		return err;
	if (!conf.custody.pcrs)
		return writ_fail(WRIT_NOT_FOUND,
				 "keys are not bound to PCRs: custody.tpm.pcrs in writ.yaml binds them");
	/* writd makes it first of all. */
	if (access(conf_path(conf.run, "admin.sock", path), F_OK) != 0)
		return ask_alone(&conf, ret);
	return ask_signer(o, ret);
}

int
custody_pcrs_cmd(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--config", OPTION_VALUE, true, "WRIT_CONFIG" },
		{ "--out", OPTION_VALUE, false, NULL },
	};
	AUTO(writ_buf_done) struct writ_buf report = WRIT_BUF(CUSTODY_REPORT_MAX);
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("custody pcrs", err);
	err = ask(&o, &report);
	if (!err)
		err = cli_write(option_given(&o, "--out") ? option(&o, "--out") : "-", 0644, writ_view(&report));
	return err ? cli_fail("custody pcrs", err) : CLI_DONE;
}

int
custody_raise_cmd(int argc, char **argv)
{
	static const struct option_spec specs[] = { ADMIN_OPTIONS };
	struct options o;
	json_t *answer = NULL;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("custody raise", err);
	err = admin_ask_json(&o, ADMIN_APPROVALS_RAISE, (struct writ_bytes){ NULL, 0 }, ADMIN_TIMEOUT_MS, &answer);
	if (!err)
		admin_print(&o, answer);
	json_decref(answer);
	return err ? cli_fail("custody raise", err) : CLI_DONE;
}
