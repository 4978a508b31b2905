/*
 * The sandbox of writ-deviced: three kinds of devices.
 */
#include "hsm/deviced_sandbox.h"

#include <dlfcn.h>
#include <stdio.h>

#include "base/sandbox.h"

/* What a module of somebody else's may read: libraries, what they are set up with, devices. */
static const char *const of_the_machine[] = { "/usr", "/lib", "/lib64", "/etc", "/opt", "/proc", "/sys", "/run" };

static void
module_allow(struct sandbox *box)
{
	box->may |= SANDBOX_UNIX | SANDBOX_CONNECT | SANDBOX_FOREIGN;
	for (size_t i = 0; i < N_OF(of_the_machine); i++)
		sandbox_read(box, of_the_machine[i]);
	sandbox_write(box, "/dev");
}

/* Its environment names files of its configuration; what lies beside them is its own.  The rest is configured. */
static void
pkcs11_allow(struct sandbox *box, const struct settings *settings)
{
	module_allow(box);
	sandbox_read_beside(box, settings->device.module);
	for (size_t i = 0; i < settings->n_env; i++) {
		const char *const value = strchr(settings->env[i], '=');

		if (value && value[1] == '/')
			sandbox_write_beside(box, value + 1);
	}
}

/*
 * The loader of tpm2-tss opens the library by the first of these names that is there, at every new context.  Loaded
 * once, and for ever, it is found in memory then, and nothing executable needs to be mapped any more.
 */
static void
tcti_load(const char *tcti)
{
	static const char *const names[] = { "%.*s", "libtss2-tcti-%.*s.so.0", "libtss2-tcti-%.*s.so" };
	const int len = (int)strcspn(tcti, ":");
	void *loaded = NULL;
	char name[512];

	for (size_t i = 0; !loaded && i < N_OF(names); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(name, sizeof(name), names[i], len, tcti);
#pragma GCC diagnostic pop
		loaded = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	}
}

/* The library, and the files that its settings name: "/opt/x.so:/var/lib/x/conf,y=/dev/z". */
static void
named_allow(struct sandbox *box, const char *tcti)
{
	while (*tcti) {
		const size_t len = strcspn(tcti, ":,=");
		char path[512];

		if (tcti[0] == '/' && len < sizeof(path)) {
			snprintf(path, sizeof(path), "%.*s", (int)len, tcti);
			sandbox_write_beside(box, path);
		}
		tcti += len + (tcti[len] != '\0');
	}
}

static bool
begins(const char *tcti, const char *with)
{
	return strncmp(tcti, with, strlen(with)) == 0;
}

static void
tpm_allow(struct sandbox *box, const char *tcti)
{
	if (begins(tcti, "device:")) {
		sandbox_write(box, "/dev"); /* a TPM that was away is another file when it is back */
	} else if (begins(tcti, "swtpm:path=")) {
		box->may |= SANDBOX_UNIX;
	} else if (begins(tcti, "swtpm:") || begins(tcti, "mssim:")) {
		box->may |= SANDBOX_CONNECT;
		sandbox_read(box, "/etc");
	} else { /* a resource manager over D-Bus, or a library of somebody's own and what follows its name */
		module_allow(box);
		named_allow(box, tcti);
	}
	tcti_load(tcti);
}

struct writ_err *
deviced_confine(const struct settings *settings)
{
	struct sandbox box = { .role = "writ-deviced", .may = SANDBOX_THREADS };

	if (settings->device.tcti)
		tpm_allow(&box, settings->device.tcti);
	else
		pkcs11_allow(&box, settings);
	for (size_t i = 0; i < settings->n_paths; i++)
		sandbox_write(&box, settings->paths[i]);
	if (settings->secret_file[0] == '/')
		sandbox_read_beside(&box, settings->secret_file); /* read anew when an operator says so */
	if (settings->device.pcrs) {
		sandbox_read_beside(&box, settings->device.approval_key);
		sandbox_read(&box, settings->device.approvals);
	}
	if (settings->socket)
		sandbox_write_beside(&box, settings->socket);
	return sandbox_enter(&box);
}
