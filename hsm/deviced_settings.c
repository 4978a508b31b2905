/*
 * The settings of writ-deviced.
 */
#include "hsm/deviced_settings.h"

#include "base/text.h"
#include "hsm/approval.h"

const char settings_usage[] =
	"writ-deviced: usage: writ-deviced {--socket PATH | --fd N} --peer-uid UID[,UID...]\n"
	"    {--tpm TCTI [--allow-software-tpm] [--pcrs N[,N...] --approval-key FILE --approvals FOLDER\n"
	"     --approvals-for writ-ca-TRUST-DOMAIN] --auth-file PATH|fd:N | --pkcs11 MODULE --uri URI --pin-file PATH|fd:N}\n"
	"    [--env NAME=VALUE]... [--path FOLDER]... [--log-level debug|info|warn|alarm]\n";

static struct writ_err *
peers_read(const char *text, struct settings *ret)
{
	for (;;) {
		const size_t len = strcspn(text, ",");
		uint64_t uid;

		if (ret->n_peers == PEERS_MAX ||
		    !writ_decimal((struct writ_bytes){ (const uint8_t *)text, len }, UINT32_MAX - 1, &uid))
			return writ_fail(WRIT_INVALID,
					 "--peer-uid: 1 to %d numbers with commas between them are wanted", PEERS_MAX);
		ret->peers[ret->n_peers++] = (uid_t)uid;
		if (text[len] == '\0')
			return NULL;
		text += len + 1;
	}
}

static struct writ_err *
pcrs_read(const char *text, struct settings *ret)
{
	for (;;) {
		const size_t len = strcspn(text, ",");
		uint64_t n;

		if (!writ_decimal((struct writ_bytes){ (const uint8_t *)text, len }, APPROVAL_PCR_END - 1, &n))
			return writ_fail(WRIT_INVALID, "--pcrs '%.40s': numbers from 0 to %d with commas between them",
					 text, APPROVAL_PCR_END - 1);
		ret->device.pcrs |= UINT32_C(1) << n;
		if (text[len] == '\0')
			return NULL;
		text += len + 1;
	}
}

static struct writ_err *
one_argument(int option, const char *value, struct settings *ret)
{
	uint64_t number;

	switch (option) {
	case 's':
		ret->socket = value;
		return NULL;
	case 'f':
		if (!writ_decimal(writ_str(value), 1024, &number))
			return writ_fail(WRIT_INVALID, "--fd '%.20s': a descriptor's number is wanted", value);
		ret->fd = (int)number;
		return NULL;
	case 'p':
		return peers_read(value, ret);
	case 't':
		ret->device.tcti = value;
		return NULL;
	case 'w':
		ret->device.allow_software_tpm = true;
		return NULL;
	case 'm':
		ret->device.module = value;
		return NULL;
	case 'u':
		ret->device.uri = value;
		return NULL;
	case 'a':
	case 'i':
		if (ret->secret_file)
			return writ_fail(WRIT_INVALID, "one of --auth-file and --pin-file, once");
		ret->secret_file = value;
		ret->secret_is_hex = option == 'a';
		return NULL;
	case 'c':
		return pcrs_read(value, ret);
	case 'k':
		ret->device.approval_key = value;
		return NULL;
	case 'v':
		ret->device.approvals = value;
		return NULL;
	case 'r':
		ret->device.approvals_for = value;
		return NULL;
	case 'e':
		if (ret->n_env == ENV_MAX)
			return writ_fail(WRIT_INVALID, "--env: at most %d", ENV_MAX);
		ret->env[ret->n_env++] = value;
		return NULL;
	case 'd':
		if (ret->n_paths == PATHS_MAX || value[0] != '/')
			return writ_fail(WRIT_INVALID, "--path '%.80s': at most %d absolute paths", value, PATHS_MAX);
		ret->paths[ret->n_paths++] = value;
		return NULL;
	case 'l':
		if (!event_level_from(writ_str(value), &ret->level))
			return writ_fail(WRIT_INVALID, "--log-level '%.20s': debug, info, warn or alarm", value);
		return NULL;
	default:
		return writ_fail(WRIT_BROKEN, "option %d is listed and not read", option);
	}
}

/* All of them or none. */
static struct writ_err *
approvals_check(const struct custody_conf *device)
{
	const int n = !!device->pcrs + !!device->approval_key + !!device->approvals + !!device->approvals_for;

	if (n == 0)
		return NULL;
	if (n < 4 || !device->tcti)
		return writ_fail(WRIT_INVALID,
				 "--pcrs, --approval-key, --approvals and --approvals-for go together, and with --tpm");
	return pcr_mask_check(device->pcrs);
}

static struct writ_err *
settings_check(struct settings *settings)
{
	if (!settings->socket == (settings->fd < 0))
		return writ_fail(WRIT_INVALID, "one of --socket and --fd is needed");
	if (settings->n_peers == 0)
		return writ_fail(WRIT_INVALID, "--peer-uid is needed");
	if (!settings->device.tcti == !settings->device.module)
		return writ_fail(WRIT_INVALID, "one of --tpm and --pkcs11 is needed");
	settings->scheme = settings->device.tcti ? "tpm2" : "pkcs11";
	if (settings->device.module && (!settings->device.uri || settings->device.allow_software_tpm))
		return writ_fail(WRIT_INVALID, "--pkcs11 goes with --uri, and not with --allow-software-tpm");
	if (settings->device.tcti && settings->device.uri)
		return writ_fail(WRIT_INVALID, "--uri goes with --pkcs11");
	if (!settings->secret_file || settings->secret_is_hex != !!settings->device.tcti)
		return writ_fail(WRIT_INVALID, "%s is needed: secrets come by file",
				 settings->device.tcti ? "--auth-file" : "--pin-file");
	return approvals_check(&settings->device);
}

/* `--name VALUE`, whole names only: an abbreviation that means one thing today may mean another tomorrow. */
struct writ_err *
settings_read(int argc, char **argv, struct settings *ret)
{
	static const struct {
		const char *name;
		int option;
	} options[] = {
		{ "--socket", 's' },
		{ "--fd", 'f' },
		{ "--peer-uid", 'p' },
		{ "--tpm", 't' },
		{ "--allow-software-tpm", 'w' },
		{ "--pkcs11", 'm' },
		{ "--uri", 'u' },
		{ "--auth-file", 'a' },
		{ "--pin-file", 'i' },
		{ "--pcrs", 'c' },
		{ "--approval-key", 'k' },
		{ "--approvals", 'v' },
		{ "--approvals-for", 'r' },
		{ "--env", 'e' },
		{ "--path", 'd' },
		{ "--log-level", 'l' },
	};

	*ret = (struct settings){ .fd = -1, .level = EVENT_INFO };
	for (int i = 1; i < argc; i++) {
		const char *value = NULL;
		struct writ_err *err;
		size_t at = 0;

		while (at < N_OF(options) && strcmp(options[at].name, argv[i]) != 0)
			at++;
		if (at == N_OF(options))
			return writ_fail(WRIT_INVALID, "'%.40s' is not an option", argv[i]);
		if (options[at].option != 'w' && !(value = argv[++i]))
			return writ_fail(WRIT_INVALID, "%s wants a value", options[at].name);
		err = one_argument(options[at].option, value, ret);
		if (err)
			return err;
	}
	return settings_check(ret);
}
