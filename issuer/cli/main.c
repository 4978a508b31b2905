/*
 * writ(1): one table of name, function, purpose.  Results on stdout, complaints on stderr, exit codes as cli.h numbers
 * them.
 *
 * Knows which commands there are, and nothing of what they do.
 */
#include <signal.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "issuer/cli/cli.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *purpose;
} commands[] = {
	{ "init", cmd_init, "make the CA: anchor key in the device, issuing key, journal" },
	{ "ceremony", cmd_ceremony, "sign or check the transcript of init" },
	{ "rotate", cmd_rotate, "have an operator's anchor certify issuing keys ahead" },
	{ "delegate", cmd_delegate, "open a task for an agent, or delegate on as one" },
	{ "grant", cmd_grant, "sign a delegation offline, or prepare one for a log-in, for writ delegate" },
	{ "issue", cmd_issue, "get a leaf for a key that a delegation names" },
	{ "renew", cmd_renew, "get a new leaf for the same key" },
	{ "task", cmd_task, "show a task; list, approve or refuse tasks" },
	{ "complete", cmd_complete, "end a task and revoke everything below it" },
	{ "revoke", cmd_revoke, "revoke an edge, a leaf, a task or a principal" },
	{ "freeze", cmd_freeze, "revoke a principal, or everything, and let nothing new begin" },
	{ "thaw", cmd_thaw, "let new things begin again; what was revoked stays so" },
	{ "inspect", cmd_inspect, "tell what a leaf says, in plain words" },
	{ "verify", cmd_verify, "check a leaf as a relying party does" },
	{ "policy", cmd_policy, "check, test, explain and compare policies; show or reload the one in force" },
	{ "bundle", cmd_bundle, "the anchors that relying parties shall trust: PEM, JSON, SPIFFE bundle" },
	{ "status", cmd_status, "how a running Writ is" },
	{ "doctor", cmd_doctor, "look for what is wrong with an installation" },
	{ "key", cmd_key, "the keys of the CA" },
	{ "custody", cmd_custody, "the device that holds the keys" },
	{ "clock", cmd_clock, "accept a time that stepped" },
	{ "restore", cmd_restore, "make the newest copy there is the newest state again" },
	{ "load", cmd_load, "be many agents, and compare every status with what it must be" },
	{ "log", cmd_log, "read the journal, as an auditor" },
};

static int
usage(FILE *to)
{
	fputs("usage: writ COMMAND [options]\n", to);
	for (size_t i = 0; i < N_OF(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].purpose);
	fputs("Each command's options: man writ\n", to);
	return to == stdout ? CLI_DONE : CLI_MISUSED;
}

int
main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		return usage(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return usage(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		puts("writ " WRIT_VERSION);
		return CLI_DONE;
	}
	for (size_t i = 0; i < N_OF(commands); i++) {
		int code;

		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
			return CLI_FAILED;
		code = commands[i].run(argc - 1, argv + 1);
		curl_global_cleanup();
		if (fflush(stdout) != 0) {
			perror("writ: stdout");
			return CLI_FAILED;
		}
		return code;
	}
	fprintf(stderr, "writ: no command '%.40s': writ help lists them\n", argv[1]);
	return CLI_MISUSED;
}
