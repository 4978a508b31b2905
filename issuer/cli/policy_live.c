/*
 * writ policy show, writ policy reload: the policy in force, asked of the server.
 */
#include "issuer/cli/api.h"
#include "issuer/cli/policy_cmd.h"

static int
ask(int argc, char **argv, const char *command, const char *method, const char *path)
{
	static const struct option_spec specs[] = { API_OPTIONS };
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	struct options o;
	int code;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused(command, err);
	err = api_ask_json(&o, method, path, NULL, &answer);
	if (err)
		return cli_fail(command, err);
	code = api_verdict(command, &answer);
	if (code != CLI_DONE || api_printed_json(&o, &answer))
		return code;
	cli_say("policy", "%s", api_text(answer.json, "id"));
	if (json_object_get(answer.json, "revision"))
		cli_say("revision", "%lld", api_number(answer.json, "revision"));
	cli_say("digest", "%s", api_text(answer.json, "digest"));
	cli_say("rules", "%lld", api_number(answer.json, "rules"));
	cli_say("loaded at", "%s", api_text(answer.json, "loaded_at"));
	return CLI_DONE;
}

int
policy_cmd_show(int argc, char **argv)
{
	return ask(argc, argv, "policy show", "GET", "/v1/policy");
}

int
policy_cmd_reload(int argc, char **argv)
{
	return ask(argc, argv, "policy reload", "POST", "/v1/policy/reload");
}
