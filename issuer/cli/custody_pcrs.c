/*
 * writ custody pcrs and raise: on the machine whose TPM holds the keys.
 *
 * The running signer is asked, over RUN/admin.sock.  Where no signer runs - before the ceremony, whose first signature
 * needs an approval already - a writ-deviced is started for the one question, as `writ init` does.
 */
#include "issuer/cli/custody_approve.h"

#include <unistd.h>

#include "hsm/wire.h"
#include "issuer/cli/admin.h"
#include "issuer/cli/signer_run.h"

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
	struct role_users users;
	struct writ_err *err = role_users(conf, &users);
	pid_t pid;

	if (!err)
		err = device_run(conf, &users, &pid);
	if (err)
		return err;
	err = ask_started(conf, &users, ret);
	device_end(pid);
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
