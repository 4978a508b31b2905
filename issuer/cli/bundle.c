/*
 * writ bundle: the anchors that relying parties shall trust, from the state folder on the issuer's own host, or from
 * its API by HTTPS anywhere else.
 *
 * What comes over the API is trusted as far as --ca: it is never asked of the plain status port.
 */
#include <limits.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "issuer/cli/api.h"
#include "issuer/conf/conf.h"
#include "issuer/x509/bundle.h"

enum form { FORM_PEM, FORM_JSON, FORM_SPIFFE };

static struct writ_err *
form_of(const struct options *o, enum form *ret)
{
	static const char *const names[] = { "pem", "json", "spiffe" };
	const char *name = option(o, "--format");

	*ret = FORM_PEM;
	for (size_t i = 0; name && i < N_OF(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum form)i;
			return NULL;
		}
	return name ? writ_fail(WRIT_INVALID, "--format '%.40s' is none of pem, json, spiffe", name) : NULL;
}

/* ---- from the state folder ---- */

static void
since(struct bundle *bundle, const char *path)
{
	struct stat st;

	if (path && stat(path, &st) == 0)
		bundle_since(bundle, st.st_mtime);
}

static struct writ_err *
add_file(struct bundle *bundle, const char *key, const char *path, enum bundle_state state, writ_time now)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(BUNDLE_TEXT_MAX);
	struct writ_err *err;

	if (!path)
		return NULL;
	since(bundle, path);
	err = file_read(path, FILE_ANY, &pem);
	if (!err)
		err = bundle_add_pem(bundle, writ_view(&pem), state, now);
	return err ? writ_because(err, "%s %s", key, path) : NULL;
}

static struct writ_err *
gather(const struct conf *conf, struct bundle *bundle)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CA_CERT_MAX);
	const writ_time now = clock_read().wall;
	char path[PATH_MAX];
	struct writ_err *err;

	err = file_read(conf_path(conf->state, "certs/anchor.der", path), FILE_ANY, &der);
	if (!err)
		err = bundle_add(bundle, writ_view(&der), BUNDLE_ACTIVE, 0, now);
	if (err)
		return writ_because(err, "%s", path);
	since(bundle, conf->path);
	err = add_file(bundle, "custody.standby", conf->custody.standby, BUNDLE_STANDBY, now);
	if (!err)
		err = add_file(bundle, "custody.retiring", conf->custody.retiring, BUNDLE_RETIRING, now);
	return err;
}

static struct writ_err *
from_state(const char *config, enum form form, struct writ_buf *ret)
{
	AUTO(conf_done) struct conf conf = { 0 };
	AUTO(bundle_done) struct bundle bundle;
	struct writ_err *err;

	bundle_init(&bundle, (struct writ_bytes){ 0 });
	err = conf_read(config, &conf);
	if (err)
		return err;
	bundle.trust_domain = writ_str(conf.trust_domain);
	err = gather(&conf, &bundle);
	if (err)
		return err;
	switch (form) {
	case FORM_PEM:
		return bundle_write_pem(&bundle, ret);
	case FORM_JSON:
		err = bundle_write_json(&bundle, ret);
		break;
	case FORM_SPIFFE:
		err = bundle_write_spiffe(&bundle, ret);
		break;
	}
	return err ? err : writ_buf_add(ret, WRIT_LIT("\n"));
}

/* ---- from the API ---- */

static struct writ_err *
certificates_of(const json_t *json, struct writ_buf *ret)
{
	const json_t *anchors = json_object_get(json, "anchors"), *one;
	struct writ_err *err = NULL;
	size_t i;

	json_array_foreach((json_t *)anchors, i, one)
	{
		const char *pem = api_text(one, "certificate");

		if (strncmp(pem, "-----BEGIN CERTIFICATE-----", 27) != 0)
			return writ_fail(WRIT_INVALID, "an anchor of the answer has no certificate");
		err = writ_buf_add(ret, writ_str(pem));
		if (err)
			return err;
	}
	return ret->len > 0 ? NULL : writ_fail(WRIT_INVALID, "the answer has no anchors");
}

static struct writ_err *
from_api(const struct options *o, enum form form, struct writ_buf *ret, int *ret_code)
{
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct writ_err *err =
		api_ask_json(o, "GET", form == FORM_SPIFFE ? "/v1/bundle/spiffe" : "/v1/bundle", NULL, &answer);

	if (err)
		return err;
	*ret_code = api_verdict("bundle", &answer);
	if (*ret_code != CLI_DONE)
		return NULL;
	if (form == FORM_PEM)
		return certificates_of(answer.json, ret);
	err = writ_buf_add(ret, writ_view(&answer.body));
	return err ? err : writ_buf_add(ret, WRIT_LIT("\n"));
}

int
cmd_bundle(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--config", OPTION_VALUE, false, NULL },  { "--api", OPTION_VALUE, false, "WRIT_API" },
		{ "--ca", OPTION_VALUE, false, "WRIT_CA" }, { "--format", OPTION_VALUE, false, NULL },
		{ "--out", OPTION_VALUE, false, NULL },
	};
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(2 * BUNDLE_TEXT_MAX);
	enum form form = FORM_PEM;
	struct options o;
	int code = CLI_DONE;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = form_of(&o, &form);
	if (!err && !option_given(&o, "--config") && (!option_given(&o, "--api") || !option_given(&o, "--ca")))
		err = writ_fail(WRIT_INVALID,
				"--config FILE is wanted on the issuer's host, elsewhere --api URL and --ca FILE");
	if (err)
		return cli_misused("bundle", err);
	if (option_given(&o, "--config"))
		err = from_state(option(&o, "--config"), form, &text);
	else
		err = from_api(&o, form, &text, &code);
	if (!err && code == CLI_DONE)
		err = cli_write(option_given(&o, "--out") ? option(&o, "--out") : "-", 0644, writ_view(&text));
	return err ? cli_fail("bundle", err) : code;
}
