/*
 * writ doctor: what is wrong with an installation, looked for from outside: files, owners, sockets, libraries, clock.
 *
 * Changes nothing and asks no secret.  One line a check; exit 1 when one is bad.
 */
#include <dirent.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/frame.h"
#include "base/yaml.h"
#include "issuer/cli/api.h"
#include "issuer/supervise/roles.h"
#include "policy/policy.h"

struct doctor {
	const struct conf *conf;
	struct role_users users;
	unsigned bad;
};

static void
ok(const char *what, const char *text)
{
	printf("ok    %s: %s\n", what, text);
}

static void
warn(const char *what, const char *text)
{
	printf("warn  %s: %s\n", what, text);
}

static void
bad(struct doctor *d, const char *what, struct writ_err *err)
{
	char text[1024];

	printf("bad   %s: %s\n", what, writ_err_text(err, text, sizeof(text)));
	writ_err_free(err);
	d->bad++;
}

static void
check(struct doctor *d, const char *what, struct writ_err *err, const char *fine)
{
	if (err)
		bad(d, what, err);
	else
		ok(what, fine);
}

static void
check_policy(struct doctor *d)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(YAML_BYTES_MAX), lint = WRIT_BUF(YAML_BYTES_MAX);
	AUTO(policy_freep) struct policy *policy = NULL;
	unsigned n = 0;
	struct writ_err *err = file_read(d->conf->policy, FILE_CONFIG, &text);

	if (!err)
		err = policy_parse(d->conf->policy, writ_view(&text), &policy);
	if (!err)
		err = policy_lint(policy, writ_str(d->conf->trust_domain), clock_read().wall, &lint, &n);
	if (!err && n > 0)
		warn("policy", "has warnings: writ policy check tells them");
	else
		check(d, "policy", err, d->conf->policy);
}

/* A file with a secret: there, owned by `uid`, for nobody else. */
static void
check_secret(struct doctor *d, const char *what, const char *path, uid_t uid)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		bad(d, what, writ_fail_errno(errno, "%s", path));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		bad(d, what, writ_fail(WRIT_INVALID, "%s has mode %04o: chmod 600 %s", path, st.st_mode & 07777, path));
	else if (st.st_uid != uid && st.st_uid != 0)
		bad(d, what, writ_fail(WRIT_INVALID, "%s belongs to uid %u: it should be %u", path, st.st_uid, uid));
	else
		ok(what, path);
}

static void
check_files(struct doctor *d)
{
	const struct conf *conf = d->conf;
	const bool tpm = strcmp(conf->custody.scheme, "tpm2") == 0;
	const char *const secret = tpm ? conf->custody.auth_file : conf->custody.pin_file;

	check(d, "folders", role_folders_check(conf, &d->users), conf->state);
	check_policy(d);
	check_secret(d, "API key", conf->api_key, d->users.uid[ROLE_ISSUER]);
	if (secret[0] == '/') /* else it is handed over, to whoever is started */
		check_secret(d, tpm ? "TPM auth value" : "token PIN", secret, d->users.uid[ROLE_DEVICE]);
	if (!tpm)
		check(d, "PKCS#11 module",
		      access(conf->custody.module, R_OK) == 0 ? NULL
							      : writ_fail_errno(errno, "%s", conf->custody.module),
		      conf->custody.module);
}

static void
check_socket(struct doctor *d, const char *name)
{
	char path[4096], text[4200];
	int sock = -1;
	struct writ_err *err;

	snprintf(text, sizeof(text), "%s.sock", name);
	err = frame_connect(conf_path(d->conf->run, text, path), 1000, &sock);
	if (err && geteuid() != 0 && access(path, W_OK) != 0 && errno == EACCES) {
		writ_err_free(err);
		warn(name, "its socket is another user's: run as root to try it");
		return;
	}
	check(d, name, err, "answers");
	if (sock >= 0)
		close(sock);
}

/* A running program of ours whose file or library was replaced. */
static void
check_mappings(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		char path[300], link[4096];
		ssize_t n;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/exe", entry->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = '\0';
		if (strstr(link, "/writ") && strstr(link, " (deleted)"))
			warn("upgrade", "a running writ program was replaced on disk: restart it");
	}
	if (proc)
		closedir(proc);
}

static void
check_health(struct doctor *d)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(64 * 1024);
	char url[256];
	long status = 0;
	struct writ_err *err;

	snprintf(url, sizeof(url),
		 strchr(d->conf->status.host, ':') ? "http://[%s]:%u/healthz" : "http://%s:%u/healthz",
		 d->conf->status.host, d->conf->status.port);
	err = http_fetch(url, NULL, (struct writ_bytes){ 0 }, 64 * 1024, &body, &status);
	if (!err && status != 200)
		err = writ_fail(WRIT_UNAVAILABLE, "%.*s", (int)(body.len > 150 ? 150 : body.len),
				(const char *)body.data);
	check(d, "health", err, url);
}

int
cmd_doctor(int argc, char **argv)
{
	static const struct option_spec specs[] = { { "--config", OPTION_VALUE, true, NULL } };
	AUTO(conf_done) struct conf conf = { 0 };
	struct doctor d = { .conf = &conf };
	struct options o;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (err)
		return cli_misused("doctor", err);
	err = conf_read(option(&o, "--config"), &conf);
	if (err)
		return cli_misused("doctor", err);
	ok("configuration", conf.path);
	err = role_users(&conf, &d.users);
	if (err) {
		bad(&d, "users", err);
		return CLI_FAILED;
	}
	if (d.users.separate)
		ok("users", "issuer, signer and device are three");
	else
		warn("users", "all processes share one: a taken-over issuer can reach the signer's memory and files");
	if (conf.custody.allow_software_tpm)
		warn("custody", "a software TPM is allowed: leaves say cp-software");
	check_files(&d);
	check_socket(&d, "device");
	check_socket(&d, "signer");
	check_health(&d);
	check_mappings();
	ok("OpenSSL", OpenSSL_version(OPENSSL_VERSION));
	return d.bad ? CLI_FAILED : CLI_DONE;
}
