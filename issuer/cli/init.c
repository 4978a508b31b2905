/*
 * writ init: the ceremony.  Folders and the device's auth value are made here; keys and certificates by the signer, in
 * ceremony mode, with the device behind it.  This file starts the two, shows what the signer says, and ends them.
 *
 * Two ways: a self-signed anchor, or an anchor that an owner's root signs: --csr first, then --import.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/cli/cli.h"
#include "issuer/supervise/roles.h"

#define TPM_AUTH_LEN 32 /* bytes; custody.md: a random value, not a human's PIN */

static const struct option_spec specs[] = {
	{ "--config", OPTION_VALUE, true, NULL },  { "--csr", OPTION_VALUE, false, NULL },
	{ "--import", OPTION_VALUE, false, NULL }, { "--anchor-key", OPTION_VALUE, false, NULL },
	{ "--yes", OPTION_FLAG, false, NULL },
};

/* The TPM keys' auth value, once: readable by the device's user alone. */
static struct writ_err *
make_auth_file(const struct conf *conf, const struct role_users *users)
{
	uint8_t auth[TPM_AUTH_LEN];
	char hex[2 * TPM_AUTH_LEN + 2];
	ssize_t n;
	int fd;

	if (strcmp(conf->custody.scheme, "tpm2") != 0)
		return NULL;
	fd = open(conf->custody.auth_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return NULL;
	if (fd < 0)
		return writ_fail_errno(errno, "custody.tpm.auth_file %s cannot be made", conf->custody.auth_file);
	writ_random(auth, sizeof(auth));
	writ_hex((struct writ_bytes){ auth, sizeof(auth) }, hex);
	explicit_bzero(auth, sizeof(auth));
	hex[2 * TPM_AUTH_LEN] = '\n';
	n = write(fd, hex, 2 * TPM_AUTH_LEN + 1);
	explicit_bzero(hex, sizeof(hex));
	if (n != 2 * TPM_AUTH_LEN + 1 || fsync(fd) != 0 ||
	    (users->separate && fchown(fd, users->uid[ROLE_DEVICE], users->gid[ROLE_DEVICE]) != 0)) {
		close(fd);
		return writ_fail_errno(errno, "custody.tpm.auth_file %s cannot be written", conf->custody.auth_file);
	}
	close(fd);
	cli_say("made", "%s: the auth value of the TPM's keys; without it they are lost", conf->custody.auth_file);
	return NULL;
}

/* DESIGN: an owner's root must be one that no TLS server trusts for clients. */
static struct writ_err *
warn_of_owners_root(const struct options *o)
{
	char answer[16] = "";

	fputs("The root that signs this anchor must be one that no TLS server of yours trusts for client certificates: "
	      "every server that\n"
	      "trusts it would take an agent's leaf for a client it knows, without looking at the delegation inside.  "
	      "Use a root of its own.\n",
	      stderr);
	if (option_given(o, "--yes"))
		return NULL;
	if (!isatty(0))
		return writ_fail(WRIT_INVALID, "no terminal to ask at: say --yes when that is so");
	fputs("Is that so?  Type yes: ", stderr);
	if (!fgets(answer, sizeof(answer), stdin) || strcmp(answer, "yes\n") != 0)
		return writ_fail(WRIT_INVALID, "not confirmed: nothing was done");
	return NULL;
}

/* Waits for a child; NULL when it ended with 0. */
static struct writ_err *
wait_for(pid_t pid, const char *name)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return writ_fail_errno(errno, "%s", name);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (WIFEXITED(status))
		return writ_fail(WRIT_BROKEN, "%s ended with %d: its complaint is above", name, WEXITSTATUS(status));
	return writ_fail(WRIT_BROKEN, "%s was ended by signal %d", name, WTERMSIG(status));
}

/* Runs the signer in ceremony mode with the device behind it. */
static struct writ_err *
hold_ceremony(const struct conf *conf, const struct role_users *users, const char *const *what)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	char bin_dir[4096], **device, **signer;
	pid_t device_pid, signer_pid;
	int socket_fd;
	struct writ_err *err = role_bin_dir(bin_dir);

	if (!err)
		err = role_arguments(conf, users, ROLE_DEVICE, bin_dir, NULL, &arena, &device);
	if (!err)
		err = role_arguments(conf, users, ROLE_SIGNER, bin_dir, what, &arena, &signer);
	if (!err)
		err = role_socket(conf, users, ROLE_DEVICE, &socket_fd);
	if (err)
		return err;
	err = role_start(device, users, ROLE_DEVICE, (struct role_fds){ socket_fd, -1, -1 }, &device_pid);
	close(socket_fd);
	if (err)
		return err;
	err = role_start(signer, users, ROLE_SIGNER, (struct role_fds){ -1, -1, -1 }, &signer_pid);
	if (!err)
		err = wait_for(signer_pid, "writ-signerd");
	kill(device_pid, SIGTERM);
	while (waitpid(device_pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}

int
cmd_init(int argc, char **argv)
{
	AUTO(conf_done) struct conf conf = { 0 };
	const char *what[8] = { "--ceremony" };
	const char *csr, *import;
	struct role_users users;
	struct options o;
	size_t n = 1;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("init", err);
	csr = option(&o, "--csr");
	import = option(&o, "--import");
	if (csr && import)
		return cli_misused(
			"init", writ_fail(WRIT_INVALID,
					  "--csr comes first, --import with the certificate after it: one at a time"));
	err = conf_read(option(&o, "--config"), &conf);
	if (err)
		return cli_misused("init", err);
	if (csr || import) {
		err = warn_of_owners_root(&o);
		if (err)
			return cli_misused("init", err);
	}
	what[n++] = csr ? "csr" : import ? "import" : "self-signed";
	if (csr || import)
		what[n++] = csr ? csr : import;
	if (option_given(&o, "--anchor-key")) {
		what[n++] = "--anchor-key";
		what[n++] = option(&o, "--anchor-key");
	}
	err = role_users(&conf, &users);
	if (!err)
		err = role_folders(&conf, &users);
	if (!err)
		err = make_auth_file(&conf, &users);
	if (!err)
		err = hold_ceremony(&conf, &users, what);
	if (err)
		return cli_fail("init", err);
	if (csr)
		cli_say("next", "have the owner's root sign %s, then writ init --import CERT.pem", csr);
	else
		cli_say("next", "writd --config %s", option(&o, "--config"));
	return CLI_DONE;
}
