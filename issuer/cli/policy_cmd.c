/*
 * writ policy: the table of its commands, and `check`: the policy read as writd reads it.
 */
#include "issuer/cli/policy_cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/yaml.h"

struct writ_err *
policy_cmd_load(const char *path, struct policy **ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &text);

	return err ? err : policy_parse(path, writ_view(&text), ret);
}

int
policy_cmd_fail(const char *command, struct writ_err *err)
{
	const int code = cli_fail(command, err);

	return code == CLI_LATER ? CLI_FAILED : code;
}

static int
check(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--print", OPTION_FLAG, false, NULL },
		{ "--strict", OPTION_FLAG, false, NULL },
		{ "--trust-domain", OPTION_VALUE, false, NULL },
	};
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(4 * YAML_BYTES_MAX);
	struct writ_bytes trust_domain = { 0 };
	struct options o;
	unsigned n = 0;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err && option_given(&o, "--print") && (option_given(&o, "--strict") || option_given(&o, "--trust-domain")))
		err = writ_fail(WRIT_INVALID, "--print looks for nothing: leave --strict and --trust-domain out");
	if (!err && option(&o, "--trust-domain")) {
		trust_domain = writ_str(option(&o, "--trust-domain"));
		err = trust_domain_check(trust_domain);
	}
	if (err)
		return cli_misused("policy check", err);
	err = policy_cmd_load(o.arguments[0], &policy);
	if (!err && option_given(&o, "--print"))
		err = policy_print(policy, &out);
	else if (!err)
		err = policy_lint(policy, trust_domain, clock_read().wall, &out, &n);
	if (err)
		return policy_cmd_fail("policy check", err);
	if (out.len > 0)
		fwrite(out.data, 1, out.len, stdout);
	if (!option_given(&o, "--print"))
		cli_say("policy", "%.*s is well formed, %u warning%s", (int)policy_id(policy).len,
			(const char *)policy_id(policy).data, n, n == 1 ? "" : "s");
	return n > 0 && option_given(&o, "--strict") ? CLI_FAILED : CLI_DONE;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "check", check },	     { "test", policy_cmd_test }, { "explain", policy_cmd_explain },
	{ "diff", policy_cmd_diff }, { "show", policy_cmd_show }, { "reload", policy_cmd_reload },
};

int
cmd_policy(int argc, char **argv)
{
	for (size_t i = 0; argc >= 2 && i < N_OF(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fputs("writ policy: check, test, explain, diff, show or reload is wanted\n", stderr);
	return CLI_MISUSED;
}
