/*
 * A signing key of the user's own: a PEM file, or a key in a TPM or PKCS#11 token, reached through a writ-deviced that
 * is started for this one command and ends with it.
 *
 * The command line itself opens no device and loads no token library.  A device's public key is pinned: what it signs
 * is checked with the public key that the user names, not with what the device says.  Knows nothing of what is signed.
 * One thread.
 */
#ifndef WRIT_ISSUER_CLI_SIGN_WITH_H
#define WRIT_ISSUER_CLI_SIGN_WITH_H

#include "base/pubkey.h"
#include "issuer/cli/cli.h"

/* Options of every command that signs with such a key; `name` is the option that names it: "--sign-with", "--make". */
#define SIGN_WITH_OPTIONS(name)                                                                                        \
	{ name, OPTION_VALUE, true, NULL }, { "--public", OPTION_VALUE, false, NULL },                                 \
		{ "--tpm", OPTION_VALUE, false, NULL }, { "--allow-software-tpm", OPTION_FLAG, false, NULL },          \
		{ "--auth-file", OPTION_VALUE, false, NULL }, { "--module", OPTION_VALUE, false, NULL },               \
		{ "--pin-file", OPTION_VALUE, false, NULL },                                                           \
	{                                                                                                              \
		"--env", OPTION_LIST, false, NULL                                                                      \
	}

struct sign_with;

/*
 * The key that `--sign-with` names: FILE, "tpm2:KEYFILE" (with --tpm, --auth-file and --public) or "pkcs11:..." (an RFC
 * 7512 URI of a private key; with --module, --pin-file and --public).  WRIT_INVALID: which option is missing or does
 * not go with it.
 */
WRIT_CHECKED struct writ_err *sign_with_open(const struct options *, struct sign_with **ret);
void sign_with_close(struct sign_with *);
void sign_with_closep(struct sign_with **);

enum key_kind sign_with_kind(const struct sign_with *);
struct writ_bytes sign_with_spki(const struct sign_with *); /* DER */

/* Appends the signature over `message`, in the form X.509 wants. */
WRIT_CHECKED struct writ_err *sign_with_sign(struct sign_with *, struct writ_bytes message, struct writ_buf *ret);

/*
 * Makes the key that `--make` names, and writes its public key to --public: FILE (mode 0600), "tpm2:KEYFILE" (the file
 * is of use to that TPM alone; the auth file is made when it is not there), or "pkcs11:..." (a token's URI).  Nothing
 * that is there is replaced.  `ret_name` is what --sign-with takes to use it.
 */
WRIT_CHECKED struct writ_err *sign_with_make(const struct options *, enum key_kind, const char *label,
					     struct writ_buf *ret_name);

#endif
