/*
 * What the operator's commands share: see admin.h; and the commands that only ask: custody status and resume, key list,
 * clock accept.
 */
#include "issuer/cli/admin.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/frame.h"
#include "issuer/cli/custody_approve.h"
#include "issuer/cli/custody_bundle.h"

struct writ_err *
admin_ask_json(const struct options *o, enum admin_message message, struct writ_bytes body, int timeout_ms,
	       json_t **ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(ADMIN_ANSWER_MAX);
	AUTO(conf_done) struct conf conf = { 0 };
	struct writ_err *err = conf_read(option(o, "--config"), &conf);

	if (!err)
		err = admin_ask(conf.run, message, body, timeout_ms, &text);
	if (err)
		return err;
	*ret = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(*ret) ? NULL : writ_fail(WRIT_BROKEN, "the signer's answer is no JSON object");
}

static void
print_value(const char *name, const json_t *value)
{
	if (json_is_string(value))
		cli_say(name, "%s", json_string_value(value));
	else if (json_is_integer(value))
		cli_say(name, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		cli_say(name, "%s", json_is_true(value) ? "yes" : "no");
}

/* An item of a list: its members on one line, so that lines can be picked with grep. */
static void
print_item(const char *name, const json_t *item)
{
	char line[2048] = "";
	size_t len = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)item, key, value)
	{
		char number[32];
		const char *text = json_string_value(value);

		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		if (!text)
			text = json_is_boolean(value) ? (json_is_true(value) ? "yes" : "no") : number;
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s %s", len > 0 ? "  " : "", key, text);
		if (len >= sizeof(line))
			break;
	}
	cli_say(name, "%s", line);
}

void
admin_print(const struct options *o, const json_t *answer)
{
	const char *name;
	json_t *value, *item;
	size_t i;

	if (option_given(o, "--json")) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	json_object_foreach((json_t *)answer, name, value)
	{
		print_value(name, value);
		json_array_foreach(value, i, item)
		{
			if (json_is_object(item))
				print_item(name, item);
			else
				print_value(name, item);
		}
	}
}

int
admin_commands(const char *of, const struct admin_command *commands, size_t n, int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < n; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "usage: writ %s COMMAND [options]\n", of);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "  %-10s %s\n", commands[i].name, commands[i].purpose);
	return CLI_MISUSED;
}

/* A command without a body. */
static int
ask(const char *command, enum admin_message message, int argc, char **argv)
{
	static const struct option_spec specs[] = { ADMIN_OPTIONS };
	struct options o;
	json_t *answer = NULL;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused(command, err);
	err = admin_ask_json(&o, message, (struct writ_bytes){ NULL, 0 }, ADMIN_TIMEOUT_MS, &answer);
	if (!err)
		admin_print(&o, answer);
	json_decref(answer);
	return err ? cli_fail(command, err) : CLI_DONE;
}

static int
custody_status(int argc, char **argv)
{
	return ask("custody status", ADMIN_STATUS, argc, argv);
}

static int
custody_resume(int argc, char **argv)
{
	return ask("custody resume", ADMIN_RESUME, argc, argv);
}

int
cmd_custody(int argc, char **argv)
{
	static const struct admin_command commands[] = {
		{ "status", custody_status, "how the signer, its keys and its device are" },
		{ "pcrs", custody_pcrs_cmd, "this machine's PCRs, for whoever approves them" },
		{ "approve", custody_approve_cmd, "sign PCR values with an offline key: the TPM's keys may be used under them" },
		{ "raise", custody_raise_cmd, "end the approvals of PCR values that are older than the next version" },
		{ "resume", custody_resume, "have a device that locked tried once, after its cause was mended" },
		{ "attest", custody_attest, "a statement by the device of the keys that it holds, for an auditor" },
		{ "challenge", custody_challenge, "what to ask with, so that it shows which device answers" },
		{ "verify", custody_verify, "is such a statement what it says?  offline" },
	};

	return admin_commands("custody", commands, N_OF(commands), argc, argv);
}

static int
key_list(int argc, char **argv)
{
	return ask("key list", ADMIN_KEY_LIST, argc, argv);
}

static int
key_rotate(int argc, char **argv)
{
	return ask("key rotate", ADMIN_KEY_ROTATE, argc, argv);
}

int
cmd_key(int argc, char **argv)
{
	static const struct admin_command commands[] = {
		{ "list", key_list, "the anchor and the issuing CAs" },
		{ "rotate", key_rotate, "make a new issuing CA, and issue with it from now on" },
		{ "revoke", key_revoke, "have the anchor's CRL name an issuing CA, which issues no more" },
	};

	return admin_commands("key", commands, N_OF(commands), argc, argv);
}

/* The operator types the time that his own watch shows: the signer compares it with what it sees. */
static int
clock_accept(int argc, char **argv)
{
	static const struct option_spec specs[] = { ADMIN_OPTIONS };
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(8);
	struct body_out out = { .buf = &body };
	struct options o;
	json_t *answer = NULL;
	writ_time at = 0;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 1, &o);

	if (!err && !writ_time_from_rfc3339(writ_str(o.arguments[0]), &at))
		err = writ_fail(WRIT_INVALID,
				"'%.40s' is not a time as in 2026-11-23T20:51:37Z (UTC, from your own watch)",
				o.arguments[0]);
	if (err)
		return cli_misused("clock accept", err);
	body_put64(&out, (uint64_t)at);
	err = out.failed ? writ_fail(WRIT_EXHAUSTED, "no memory for a request") : NULL;
	if (!err)
		err = admin_ask_json(&o, ADMIN_CLOCK, writ_view(&body), ADMIN_TIMEOUT_MS, &answer);
	if (!err)
		admin_print(&o, answer);
	json_decref(answer);
	return err ? cli_fail("clock accept", err) : CLI_DONE;
}

int
cmd_clock(int argc, char **argv)
{
	static const struct admin_command commands[] = {
		{ "accept", clock_accept, "go on with the time that stepped, as the operator's watch confirms it" },
	};

	return admin_commands("clock", commands, N_OF(commands), argc, argv);
}
