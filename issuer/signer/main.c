/*
 * writ-signerd: the process with the issuing keys.  No network, no store, no token library.
 *
 *	writ-signerd --config FILE [--fd N] [--admin-fd N]
 *	writ-signerd --config FILE --ceremony self-signed|csr OUT.pem [--anchor-key P-256|P-384] [--anchor-only]
 *		[--witness NAME=KEY ...]
 *	writ-signerd --config FILE --ceremony import CERT.pem [--anchor-only]
 *	writ-signerd --config FILE --ceremony finish --signature NAME=SIGNATURE ...
 *	writ-signerd --config FILE --ceremony accept-loss --by-uid UID
 * With custody.anchor: operator a ceremony wants --anchor-fd N too: a connection to the anchor's own device, inherited.
 * KEY is a SubjectPublicKeyInfo, SIGNATURE one in the form X.509 wants, both in hex.  --root-is-private goes with csr and
 * import.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "base/text.h"
#include "issuer/signer/admin.h"

#define EXIT_MISUSED 2

struct options {
	const char *config;
	int fd, admin_fd;
	struct ceremony_asked ceremony;
};

static bool
ceremony_from(const char *name, enum ceremony *ret)
{
	static const char *const names[] = {
		[CEREMONY_SELF_SIGNED] = "self-signed",
		[CEREMONY_CSR] = "csr",
		[CEREMONY_IMPORT] = "import",
		[CEREMONY_FINISH] = "finish",
		[CEREMONY_ACCEPT_LOSS] = "accept-loss",
	};

	for (size_t i = CEREMONY_SELF_SIGNED; i < N_OF(names); i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum ceremony)i;
			return true;
		}
	return false;
}

/* "NAME=HEX" */
static struct writ_err *
named_bytes(const char *option, const char *text, char name[WITNESS_NAME_MAX + 1], uint8_t *data, size_t max,
	    size_t *ret_len)
{
	const char *equals = strchr(text, '=');
	const struct writ_bytes whose = { (const uint8_t *)text, equals ? (size_t)(equals - text) : 0 };
	const struct writ_bytes hex = writ_str(equals ? equals + 1 : "");
	struct writ_err *err = witness_name_check(whose);

	if (err)
		return writ_because(err, "%s", option);
	if (hex.len == 0 || hex.len > 2 * max || !writ_unhex(hex, data, hex.len / 2))
		return writ_fail(WRIT_INVALID, "%s %.40s is not NAME=HEX, of at most %zu bytes", option, text, max);
	memcpy(name, whose.data, whose.len);
	name[whose.len] = '\0';
	*ret_len = hex.len / 2;
	return NULL;
}

static struct writ_err *
witness_add(struct ceremony_asked *asked, const char *text)
{
	struct witness *w = &asked->witnesses[asked->n_witnesses];

	if (asked->n_witnesses == WITNESSES_MAX)
		return writ_fail(WRIT_INVALID, "--witness: at most %d", WITNESSES_MAX);
	asked->n_witnesses++;
	return named_bytes("--witness", text, w->name, w->spki, sizeof(w->spki), &w->spki_len);
}

static struct writ_err *
signature_add(struct ceremony_asked *asked, const char *text)
{
	struct ceremony_signature *sig = &asked->signatures[asked->n_signatures];

	if (asked->n_signatures == WITNESSES_MAX)
		return writ_fail(WRIT_INVALID, "--signature: at most %d", WITNESSES_MAX);
	asked->n_signatures++;
	return named_bytes("--signature", text, sig->name, sig->data, sizeof(sig->data), &sig->len);
}

/* What goes with what: an option that would be ignored is refused. */
static struct writ_err *
ceremony_check(const struct ceremony_asked *asked)
{
	const enum ceremony what = asked->what;
	const bool owners = what == CEREMONY_CSR || what == CEREMONY_IMPORT;

	if (owners && !asked->root_is_private)
		return writ_fail(WRIT_INVALID, "--ceremony csr and import want --root-is-private: no TLS server trusts that "
					       "root for client certificates");
	if (asked->root_is_private && !owners)
		return writ_fail(WRIT_INVALID, "--root-is-private goes with --ceremony csr and import");
	if (asked->n_witnesses > 0 && what != CEREMONY_SELF_SIGNED && what != CEREMONY_CSR)
		return writ_fail(WRIT_INVALID, "--witness goes with --ceremony self-signed and csr: later it is too late");
	if (asked->n_witnesses == 1)
		return writ_fail(WRIT_INVALID, "one --witness is none: two persons at least see a ceremony");
	if ((asked->n_signatures > 0) != (what == CEREMONY_FINISH))
		return writ_fail(WRIT_INVALID, "--ceremony finish and --signature go together");
	if (asked->by_given != (what == CEREMONY_ACCEPT_LOSS))
		return writ_fail(WRIT_INVALID, "--ceremony accept-loss and --by-uid go together");
	if (asked->anchor_only && what != CEREMONY_SELF_SIGNED && what != CEREMONY_IMPORT)
		return writ_fail(WRIT_INVALID, "--anchor-only goes with --ceremony self-signed and import");
	return NULL;
}

static struct writ_err *
options_read(int argc, char **argv, struct options *ret)
{
	static const struct option known[] = { { "config", required_argument, NULL, 'c' },
					       { "fd", required_argument, NULL, 'f' },
					       { "admin-fd", required_argument, NULL, 'd' },
					       { "ceremony", required_argument, NULL, 'y' },
					       { "anchor-key", required_argument, NULL, 'a' },
					       { "anchor-only", no_argument, NULL, 'o' },
					       { "anchor-fd", required_argument, NULL, 'n' },
					       { "witness", required_argument, NULL, 'w' },
					       { "signature", required_argument, NULL, 's' },
					       { "root-is-private", no_argument, NULL, 'r' },
					       { "by-uid", required_argument, NULL, 'u' },
					       { NULL, 0, NULL, 0 } };
	struct writ_err *err;
	uint64_t fd, uid;
	int c;

	*ret = (struct options){ .fd = -1, .admin_fd = -1, .ceremony.anchor_kind = KEY_P256, .ceremony.anchor_fd = -1 };
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->config = optarg;
			break;
		case 'f':
		case 'd':
			if (!writ_decimal(writ_str(optarg), 1023, &fd) || fd < 3)
				return writ_fail(WRIT_INVALID, "%s is not a descriptor from 3 to 1023", optarg);
			*(c == 'f' ? &ret->fd : &ret->admin_fd) = (int)fd;
			break;
		case 'y':
			if (!ceremony_from(optarg, &ret->ceremony.what))
				return writ_fail(WRIT_INVALID,
						 "--ceremony %s is none of self-signed, csr OUT.pem, import CERT.pem, finish, accept-loss",
						 optarg);
			break;
		case 'a':
			if (!key_kind_from(writ_str(optarg), &ret->ceremony.anchor_kind) ||
			    ret->ceremony.anchor_kind == KEY_ED25519)
				return writ_fail(WRIT_INVALID, "--anchor-key %s is neither P-256 nor P-384", optarg);
			break;
		case 'o':
			ret->ceremony.anchor_only = true;
			break;
		case 'n':
			if (!writ_decimal(writ_str(optarg), 1023, &fd) || fd < 3)
				return writ_fail(WRIT_INVALID, "--anchor-fd %s is not a descriptor from 3 to 1023", optarg);
			ret->ceremony.anchor_fd = (int)fd;
			break;
		case 'r':
			ret->ceremony.root_is_private = true;
			break;
		case 'u':
			if (!writ_decimal(writ_str(optarg), UINT32_MAX - 1, &uid))
				return writ_fail(WRIT_INVALID, "--by-uid %s is no uid", optarg);
			ret->ceremony.by = (uid_t)uid;
			ret->ceremony.by_given = true;
			break;
		case 'w':
		case 's':
			err = c == 'w' ? witness_add(&ret->ceremony, optarg) : signature_add(&ret->ceremony, optarg);
			if (err)
				return err;
			break;
		default:
			return writ_fail(WRIT_INVALID, "%s is no option of writ-signerd, or lacks its value",
					 argv[optind - 1]);
		}
	}
	if (!ret->config)
		return writ_fail(WRIT_INVALID, "--config FILE is missing");
	if (ret->ceremony.what == CEREMONY_CSR || ret->ceremony.what == CEREMONY_IMPORT) {
		if (optind + 1 != argc)
			return writ_fail(WRIT_INVALID, "--ceremony csr and import take one file name");
		ret->ceremony.path = argv[optind++];
	}
	return optind == argc ? ceremony_check(&ret->ceremony) : writ_fail(WRIT_INVALID, "%s is one argument too many", argv[optind]);
}

/* Inherited as `fd`, or made at RUN/NAME. */
static struct writ_err *
listener_get(const struct conf *conf, int fd, const char *name, int *ret)
{
	char path[PATH_MAX];
	struct writ_err *err = NULL;
	int kind = 0, listening = 0;
	socklen_t len = sizeof(int);

	if (fd < 0) {
		err = frame_listen(conf_path(conf->run, name, path), ret);
	} else {
		*ret = fd;
		if (getsockopt(*ret, SOL_SOCKET, SO_TYPE, &kind, &len) != 0 || kind != SOCK_SEQPACKET ||
		    getsockopt(*ret, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
			return writ_fail(WRIT_INVALID, "descriptor %d is not a listening SOCK_SEQPACKET socket", *ret);
	}
	if (!err && fcntl(*ret, F_SETFL, O_NONBLOCK) != 0)
		err = writ_fail_errno(errno, "preparing the listening socket");
	return err;
}

static struct writ_err *
state_ready(const struct conf *conf)
{
	AUTO(writ_buf_done) struct writ_buf version = WRIT_BUF(16);
	char path[PATH_MAX];
	struct writ_err *err = file_read(conf_path(conf->state, "VERSION", path), FILE_CONFIG, &version);

	if (err && err->code == WRIT_NOT_FOUND)
		return writ_recode(err, WRIT_NOT_FOUND, "%s is not initialised: run writ init", conf->state);
	if (err)
		return err;
	if (!writ_equal(writ_view(&version), WRIT_LIT("1\n")))
		return writ_fail(WRIT_INVALID, "%s is of another version of Writ: this one knows version 1", path);
	return NULL;
}

/* No IP socket, no code but its own, no thread but those that wait for the disk; of files, those that it writes.  A ceremony has more to do with files -
 * the operator names some - and is over in a moment, with the operator before it. */
static struct writ_err *
confine(const struct options *options, const struct conf *conf)
{
	static const char *const folders[] = { "keys", "certs", "journal" };
	struct sandbox box = { .role = "writ-signerd",
			       .may = SANDBOX_UNIX | SANDBOX_THREADS,
			       .anywhere = options->ceremony.what != CEREMONY_NONE };
	char path[PATH_MAX];

	for (size_t i = 0; i < N_OF(folders); i++)
		sandbox_write(&box, conf_path(conf->state, folders[i], path));
	if (options->ceremony.what == CEREMONY_NONE && (options->fd < 0 || options->admin_fd < 0))
		sandbox_write(&box, conf->run);
	return sandbox_enter(&box);
}

static struct writ_err *
serve(const struct options *options, const struct conf *conf, struct signer *s)
{
	struct writ_err *err;
	int listener, admin;

	err = state_ready(conf);
	if (!err)
		err = confine(options, conf);
	if (!err)
		err = listener_get(conf, options->admin_fd, "admin.sock", &admin);
	if (!err)
		err = signer_start(s, conf, admin);
	if (err && s->stop) { /* a wish, not a failure */
		writ_err_free(err);
		return NULL;
	}
	if (!err)
		err = listener_get(conf, options->fd, "signer.sock", &listener);
	return err ? err : signer_serve(s, listener);
}

static struct writ_err *
run(const struct options *options, bool *ret_misused)
{
	static struct signer signer;
	struct conf conf = { 0 };
	struct writ_err *err;

	signer = (struct signer){ .epoll = -1, .listener = -1, .signals = -1, .keys.anchor_crl.fd = -1,
				   .admin = { .listener = -1, .sock = -1 } };
	err = writ_secret_start();
	if (!err) {
		err = conf_read(options->config, &conf);
		*ret_misused = err != NULL;
	}
	if (!err)
		event_start(STDERR_FILENO, "writ-signerd", conf.log_level);
	if (!err)
		err = users_find(&conf, &signer.uids);
	if (!err && options->ceremony.what != CEREMONY_NONE)
		err = confine(options, &conf);
	if (!err && options->ceremony.what != CEREMONY_NONE)
		err = options->ceremony.what == CEREMONY_ACCEPT_LOSS ? restore_run(&signer, &conf, options->ceremony.by)
								     : ceremony_run(&signer, &conf, &options->ceremony);
	else if (!err)
		err = serve(options, &conf, &signer);
	signer_done(&signer);
	conf_done(&conf);
	return err;
}

int
main(int argc, char **argv)
{
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	struct options options;
	bool misused = false;

	event_start(STDERR_FILENO, "writ-signerd", EVENT_INFO);
	err = options_read(argc, argv, &options);
	if (err) {
		fprintf(stderr, "writ-signerd: %s\n", err->message);
		return EXIT_MISUSED;
	}
	err = run(&options, &misused);
	if (!err)
		return 0;
	event(EVENT_ALARM, "signer.ended", EV_ERR(err));
	return misused ? EXIT_MISUSED : err->code == WRIT_UNAVAILABLE ? 4 : 1;
}
