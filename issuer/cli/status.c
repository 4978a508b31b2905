/*
 * writ status: what a running Writ says of itself, from the plain listener's /healthz.
 */
#include "issuer/cli/admin.h"
#include "issuer/cli/api.h"

#define HEALTH_MAX (64 * 1024)

static struct writ_err *
health_url(const struct options *o, char *out, size_t out_len)
{
	AUTO(conf_done) struct conf conf = { 0 };
	struct writ_err *err;

	if (!option(o, "--status") == !option(o, "--config"))
		return writ_fail(WRIT_INVALID, "either --status URL or --config FILE is wanted");
	if (option(o, "--status")) {
		snprintf(out, out_len, "%s/healthz", option(o, "--status"));
		return NULL;
	}
	err = conf_read(option(o, "--config"), &conf);
	if (!err)
		snprintf(out, out_len,
			 strchr(conf.status.host, ':') ? "http://[%s]:%u/healthz" : "http://%s:%u/healthz",
			 conf.status.host, conf.status.port);
	return err;
}

int
cmd_status(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--status", OPTION_VALUE, false, NULL },
		{ "--config", OPTION_VALUE, false, NULL },
		{ "--json", OPTION_FLAG, false, NULL },
	};
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(HEALTH_MAX);
	struct options o;
	char url[1024];
	json_t *health;
	long status;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = health_url(&o, url, sizeof(url));
	if (err)
		return cli_misused("status", err);
	err = http_fetch(url, NULL, (struct writ_bytes){ 0 }, HEALTH_MAX, &body, &status);
	if (err)
		return cli_fail("status", err);
	health = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(health)) {
		json_decref(health);
		return cli_fail("status", writ_fail(WRIT_BROKEN, "%s is not the health of a Writ", url));
	}
	admin_print(&o, health);
	json_decref(health);
	return status == 200 ? CLI_DONE : CLI_LATER;
}
