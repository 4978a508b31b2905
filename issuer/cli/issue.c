/*
 * writ issue, writ renew: a leaf for a key that a delegation names, written with its issuing CA behind it.
 */
#include "base/text.h"
#include "issuer/cli/api.h"
#include "issuer/cli/keys.h"

#define LIFETIME_OPTION_MAX_S 900

static struct writ_err *
write_leaf(const struct options *o, const struct api_answer *a)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(64 * 1024);
	struct writ_err *err = writ_buf_add(&pem, writ_str(api_text(a->json, "certificate")));

	if (!err)
		err = writ_buf_add(&pem, writ_str(api_text(a->json, "chain")));
	if (!err)
		err = cli_write(option(o, "--out"), 0644, writ_view(&pem));
	return err;
}

static int
finish(const char *command, const struct options *o, const struct api_answer *a)
{
	int code = api_verdict(command, a);
	struct writ_err *err;

	if (code != CLI_DONE)
		return code;
	err = write_leaf(o, a);
	if (err)
		return cli_fail(command, err);
	if (api_printed_json(o, a))
		return CLI_DONE;
	cli_say("serial", "%s", api_text(a->json, "serial"));
	cli_say("ends", "%s", api_text(a->json, "not_after"));
	cli_say("renew at", "%s", api_text(a->json, "renew_at"));
	cli_say("log entry", "%lld", api_number(json_object_get(a->json, "log"), "index"));
	cli_say("written to", "%s", option(o, "--out"));
	return CLI_DONE;
}

static struct writ_err *
ask_leaf(const struct options *o, EVP_PKEY *key, uint32_t lifetime_s, struct api_answer *ret)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(8192), text = WRIT_BUF(16384);
	json_t *body = json_object();
	char path[128];
	struct writ_err *err = keys_csr(key, &der);

	if (!err)
		err = writ_base64(writ_view(&der), &text);
	if (err) {
		json_decref(body);
		return err;
	}
	json_object_set_new(body, "csr", json_stringn((const char *)text.data, text.len));
	if (lifetime_s)
		json_object_set_new(body, "lifetime_s", json_integer(lifetime_s));
	snprintf(path, sizeof(path), "/v1/tasks/%.59s/leaves", option(o, "--task"));
	return api_ask_json(o, "POST", path, body, ret);
}

int
cmd_issue(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--task", OPTION_VALUE, true, NULL },	     { "--new-key", OPTION_FLAG, false, NULL },
		{ "--lifetime", OPTION_VALUE, false, NULL }, { "--out", OPTION_VALUE, true, NULL },
		{ "--api", OPTION_VALUE, true, "WRIT_API" }, { "--ca", OPTION_VALUE, true, "WRIT_CA" },
		{ "--key", OPTION_VALUE, true, NULL },	     { "--json", OPTION_FLAG, false, NULL },
	};
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	AUTO(keys_pkey_done) EVP_PKEY *key = NULL;
	struct options o, way;
	uint32_t lifetime_s = 0;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = option_seconds(&o, "--lifetime", LIFETIME_OPTION_MAX_S, &lifetime_s);
	if (err)
		return cli_misused("issue", err);
	err = option_given(&o, "--new-key") ? keys_make(option(&o, "--key"), &key)
					    : keys_private(option(&o, "--key"), &key);
	if (err)
		return cli_fail("issue", err);
	/* Here --key is the agent's key, which proves itself in the request; the connection needs no client
	 * certificate. */
	way = o;
	for (size_t i = 0; i < N_OF(specs); i++) {
		if (strcmp(specs[i].name, "--key") == 0)
			way.n_values[i] = 0;
	}
	err = ask_leaf(&way, key, lifetime_s, &answer);
	return err ? cli_fail("issue", err) : finish("issue", &o, &answer);
}

int
cmd_renew(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--lifetime", OPTION_VALUE, false, NULL },
		{ "--out", OPTION_VALUE, true, NULL },
		API_OPTIONS,
	};
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	uint32_t lifetime_s = 0;
	json_t *body = NULL;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = option_seconds(&o, "--lifetime", LIFETIME_OPTION_MAX_S, &lifetime_s);
	if (!err && !option_given(&o, "--cert"))
		err = writ_fail(WRIT_INVALID, "--cert is missing: the leaf to renew; it may also come from WRIT_CERT");
	if (err)
		return cli_misused("renew", err);
	if (lifetime_s) {
		body = json_object();
		json_object_set_new(body, "lifetime_s", json_integer(lifetime_s));
	}
	err = api_ask_json(&o, "POST", "/v1/renew", body, &answer);
	return err ? cli_fail("renew", err) : finish("renew", &o, &answer);
}
