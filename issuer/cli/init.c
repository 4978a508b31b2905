/*
 * writ init: the ceremony.  Folders and the device's auth value are made here; keys and certificates by the signer, in
 * ceremony mode, with the device behind it.  This file starts the two, shows what the signer says, and ends them.
 *
 * Two ways: a self-signed anchor, or an anchor that an owner's root signs: --csr first, then --import.  With witnesses
 * another step: --signature, when each has signed the transcript (ceremony.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/cli.h"
#include "issuer/cli/signer_run.h"
#include "issuer/cli/operator.h"
#include "issuer/log/transcript.h"
#include "issuer/supervise/roles.h"
#include "issuer/x509/ca.h"

#define PEM_MAX (16 * 1024)
#define SIGNATURE_BYTES_MAX 256 /* ECDSA P-384 has 104 */
#define TPM_AUTH_LEN 32		/* bytes; custody.md: a random value, not a human's PIN */

static const struct option_spec specs[] = {
	{ "--config", OPTION_VALUE, true, NULL },	   { "--csr", OPTION_VALUE, false, NULL },
	{ "--import", OPTION_VALUE, false, NULL },	   { "--anchor-key", OPTION_VALUE, false, NULL },
	{ "--root-is-private", OPTION_FLAG, false, NULL }, { "--anchor-only", OPTION_FLAG, false, NULL },
	{ "--witness", OPTION_LIST, false, NULL },	   { "--signature", OPTION_LIST, false, NULL },
	OPERATOR_OPTIONS,
};

/* The TPM keys' auth value, once: readable by the device's user alone. */
static struct writ_err *
make_auth_file(const struct conf *conf, const struct role_users *users)
{
	uint8_t auth[TPM_AUTH_LEN];
	char hex[2 * TPM_AUTH_LEN + 2];
	ssize_t n;
	int fd;

	if (strcmp(conf->custody.scheme, "tpm2") != 0 || conf->custody.auth_file[0] != '/') /* it is handed over */
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

static struct writ_err *
open_operator(const struct conf *conf, const struct options *o, struct operator **ret, int *ret_fd)
{
	struct writ_err *err = operator_open(conf, o, ret);

	return err ? err : operator_connection(*ret, ret_fd);
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
	if (option_given(o, "--root-is-private"))
		return NULL;
	if (!isatty(0))
		return writ_fail(WRIT_INVALID, "no terminal to ask at: say --root-is-private when that is so");
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

struct writ_err *
device_run(const struct conf *conf, const struct role_users *users, pid_t *ret)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	AUTO(file_closep) int socket_fd = -1;
	AUTO(file_closep) int secret_fd = -1;
	char bin_dir[4096], **arguments;
	struct writ_err *err = role_bin_dir(bin_dir);

	if (!err)
		err = role_arguments(conf, users, ROLE_DEVICE, bin_dir, NULL, &arena, &arguments);
	if (!err)
		err = role_secret(conf, &secret_fd);
	if (!err)
		err = role_socket(conf, users, ROLE_DEVICE, &socket_fd);
	return err ? err
		   : role_start(arguments, users, ROLE_DEVICE, (struct role_fds){ socket_fd, -1, -1, secret_fd }, ret);
}

void
device_end(pid_t pid)
{
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

struct writ_err *
signer_run(const struct conf *conf, const struct role_users *users, const char *const *what, int anchor_fd)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(256 * 1024);
	char bin_dir[4096], **arguments;
	pid_t device_pid, signer_pid;
	struct writ_err *err = role_bin_dir(bin_dir);

	if (!err)
		err = role_arguments(conf, users, ROLE_SIGNER, bin_dir, what, &arena, &arguments);
	if (!err)
		err = device_run(conf, users, &device_pid);
	if (err)
		return err;
	err = role_start(arguments, users, ROLE_SIGNER, (struct role_fds){ -1, anchor_fd, -1, -1 }, &signer_pid);
	if (!err)
		err = wait_for(signer_pid, "writ-signerd");
	device_end(device_pid);
	return err;
}

/* ---- what the signer is told ---- */

#define TOLD_MAX (10 + 2 * 2 * WITNESSES_MAX)

struct told {
	struct writ_arena arena;
	const char *list[TOLD_MAX + 1];
	size_t n;
};

static void
tell(struct told *t, const char *word)
{
	if (t->n < TOLD_MAX)
		t->list[t->n++] = word;
}

/* "NAME=FILE" as "NAME=HEX" of what is in the file. */
static struct writ_err *
tell_named(struct told *t, const char *option, const char *given,
	   struct writ_err *(*read)(const char *, struct writ_buf *))
{
	AUTO(writ_buf_done) struct writ_buf content = WRIT_BUF(SIGNATURE_BYTES_MAX);
	const char *equals = strchr(given, '=');
	const size_t name_len = equals ? (size_t)(equals - given) : 0;
	struct writ_err *err;
	char *word;

	if (!equals || !equals[1])
		return writ_fail(WRIT_INVALID, "%s '%.40s' is not NAME=FILE", option, given);
	err = witness_name_check((struct writ_bytes){ (const uint8_t *)given, name_len });
	if (!err)
		err = read(equals + 1, &content);
	if (err)
		return writ_because(err, "%s %.80s", option, given);
	word = writ_arena_take(&t->arena, name_len + 1 + 2 * content.len + 1);
	if (!word)
		return writ_fail(WRIT_EXHAUSTED, "no memory for %s", option);
	memcpy(word, given, name_len + 1);
	writ_hex(writ_view(&content), word + name_len + 1);
	tell(t, option);
	tell(t, word);
	return NULL;
}

static struct writ_err *
public_key_read(const char *path, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PEM_MAX);
	struct writ_err *err = file_read(path, FILE_ANY, &text);
	struct writ_bytes rest = writ_view(&text), raw;
	enum key_kind kind;

	if (!err)
		err = pem_read("PUBLIC KEY", &rest, ret);
	return err ? err : spki_parse(writ_view(ret), &kind, &raw);
}

static struct writ_err *
signature_read(const char *path, struct writ_buf *ret)
{
	return file_read(path, FILE_ANY, ret);
}

static struct writ_err *
tell_all(const struct options *o, struct told *t)
{
	const char *csr = option(o, "--csr"), *import = option(o, "--import"), *const * witnesses, *const * signatures;
	const size_t n_witnesses = option_list(o, "--witness", &witnesses);
	const size_t n_signatures = option_list(o, "--signature", &signatures);
	struct writ_err *err = NULL;

	if (!!csr + !!import + (n_signatures > 0) > 1)
		return writ_fail(WRIT_INVALID,
				 "--csr comes first, --import with the certificate after it, --signature last: "
				 "one at a time");
	if (n_witnesses > WITNESSES_MAX || n_signatures > WITNESSES_MAX)
		return writ_fail(WRIT_INVALID, "a ceremony has at most %d witnesses", WITNESSES_MAX);
	if (n_witnesses == 1)
		return writ_fail(WRIT_INVALID, "one --witness is none: two persons at least see a ceremony");
	if (n_witnesses > 0 && (import || n_signatures > 0))
		return writ_fail(WRIT_INVALID,
				 "--witness is said at the beginning: the transcript names who will sign it");
	tell(t, "--ceremony");
	tell(t, csr ? "csr" : import ? "import" : n_signatures > 0 ? "finish" : "self-signed");
	if (csr || import) {
		tell(t, csr ? csr : import);
		tell(t, "--root-is-private");
	}
	if (option_given(o, "--anchor-key")) {
		tell(t, "--anchor-key");
		tell(t, option(o, "--anchor-key"));
	}
	if (option_given(o, "--anchor-only"))
		tell(t, "--anchor-only");
	for (size_t i = 0; !err && i < n_witnesses; i++)
		err = tell_named(t, "--witness", witnesses[i], public_key_read);
	for (size_t i = 0; !err && i < n_signatures; i++)
		err = tell_named(t, "--signature", signatures[i], signature_read);
	return err;
}

static int
access_version(const struct conf *conf)
{
	char path[4096];

	return access(conf_path(conf->state, "VERSION", path), F_OK);
}

static void
say_what_is_next(const struct options *o, const struct conf *conf)
{
	if (option_given(o, "--csr"))
		cli_say("next", "have the owner's root sign %s, then writ init --import CERT.pem", option(o, "--csr"));
	else if (access_version(conf) == 0 && conf->custody.operator)
		cli_say("next", "writd --config %s; then writ rotate, before the first issuing key ends (custody.rotation_s)",
			option(o, "--config"));
	else if (access_version(conf) == 0)
		cli_say("next",
			option_given(o, "--anchor-only")
				? "writ bundle --config %s, for custody.standby of the other one"
				: "writd --config %s",
			option(o, "--config"));
	else
		cli_say("next",
			"each witness: writ ceremony sign; then writ init --config %s --signature NAME=FILE ...",
			option(o, "--config"));
}

int
cmd_init(int argc, char **argv)
{
	AUTO(conf_done) struct conf conf = { 0 };
	AUTO(operator_closep) struct operator *op = NULL;
	AUTO(file_closep) int anchor_fd = -1;
	struct told told = { .arena = WRIT_ARENA(64 * 1024) };
	struct role_users users;
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = tell_all(&o, &told);
	if (!err)
		err = conf_read(option(&o, "--config"), &conf);
	if (!err && option_given(&o, "--anchor-pin") && !conf.custody.operator)
		err = writ_fail(WRIT_INVALID, "--anchor-pin goes with custody.anchor: operator");
	if (!err && (option_given(&o, "--csr") || option_given(&o, "--import")))
		err = warn_of_owners_root(&o);
	if (err) {
		writ_arena_done(&told.arena);
		return cli_misused("init", err);
	}
	err = role_users(&conf, &users);
	if (!err)
		err = role_folders(&conf, &users);
	if (!err)
		err = make_auth_file(&conf, &users);
	if (!err && conf.custody.operator) {
		err = open_operator(&conf, &o, &op, &anchor_fd);
		tell(&told, "--anchor-fd");
		tell(&told, "4");
	}
	if (!err)
		err = signer_run(&conf, &users, told.list, anchor_fd);
	writ_arena_done(&told.arena);
	if (err)
		return cli_fail("init", err);
	say_what_is_next(&o, &conf);
	return CLI_DONE;
}
