/*
 * The token with the operator's anchor: see operator.h.
 */
#include "issuer/cli/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "issuer/cli/own_device.h"

#define SECRET_TEXT_MAX 256

struct operator
{
	struct own_device own;
};

void operator_close(struct operator* op)
{
	if (!op)
		return;
	own_device_end(&op->own);
	free(op);
}

void operator_closep(struct operator** op)
{
	operator_close(*op);
}

/* Typed, without an echo, into a pipe that the device reads: it is nowhere else, and wiped here. */
static struct writ_err *
secret_typed(int *ret_fd)
{
	char text[SECRET_TEXT_MAX] = "";
	struct termios before, quiet;
	int ends[2];
	size_t len;
	bool good;

	if (!isatty(0) || tcgetattr(0, &before) != 0)
		return writ_fail(
			WRIT_INVALID,
			"no terminal to ask for the PIN of the anchor's token at: say --anchor-pin FILE or fd:N");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return writ_fail_errno(errno, "a pipe");
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSAFLUSH, &quiet);
	fputs("The PIN of the anchor's token: ", stderr);
	len = 0;
	while (len < sizeof(text) && read(0, text + len, 1) == 1 && text[len] != '\n')
		len++;
	tcsetattr(0, TCSAFLUSH, &before);
	fputc('\n', stderr);
	good = len > 0 && len < sizeof(text) && write(ends[1], text, len) == (ssize_t)len;
	explicit_bzero(text, sizeof(text));
	close(ends[1]);
	if (!good) {
		close(ends[0]);
		return writ_fail(WRIT_INVALID, "nothing was typed, or over %zu characters", sizeof(text) - 1);
	}
	*ret_fd = ends[0];
	return NULL;
}

/* What the device is told of where its secret is: a file's name, or "fd:4" and the descriptor that becomes it. */
static struct writ_err *
secret_place(const struct options *o, const char **ret_name, int *ret_fd)
{
	const char *given = option(o, "--anchor-pin");
	char *end;
	long fd;

	*ret_fd = -1;
	*ret_name = given;
	if (given && strncmp(given, "fd:", 3) != 0)
		return NULL;
	*ret_name = "fd:4";
	if (!given)
		return secret_typed(ret_fd);
	fd = strtol(given + 3, &end, 10);
	if (end == given + 3 || *end || fd < 3 || fd > 1023)
		return writ_fail(WRIT_INVALID, "--anchor-pin %.20s is not fd:N with N from 3 to 1023", given);
	*ret_fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? writ_fail(WRIT_INVALID, "--anchor-pin %.20s is no open descriptor", given) : NULL;
}

static struct writ_err *
start(const struct conf *conf, const char *secret, int secret_fd, struct operator* op)
{
	struct own_device_words words = { 0 };

	own_device_word(&words, "--pkcs11", conf->custody.anchor_token.module);
	own_device_word(&words, "--uri", conf->custody.anchor_token.uri);
	own_device_word(&words, "--pin-file", secret);
	for (size_t i = 0; i < conf->custody.anchor_token.n_environment; i++)
		own_device_word(&words, "--env", conf->custody.anchor_token.environment[i]);
	return own_device_start(&words, secret_fd, &op->own);
}

struct writ_err *
operator_open(const struct conf *conf, const struct options *o, struct operator** ret)
{
	AUTO(operator_closep) struct operator* op = calloc(1, sizeof(*op));
	AUTO(file_closep) int secret_fd = -1;
	const char *secret;
	struct writ_err *err;

	if (!op)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the anchor's token");
	err = secret_place(o, &secret, &secret_fd);
	if (!err)
		err = start(conf, secret, secret_fd, op);
	if (err)
		return writ_because(err, "the anchor's token");
	*ret = TAKE(op);
	return NULL;
}

struct writ_err *
operator_connection(const struct operator* op, int *ret_fd)
{
	*ret_fd = fcntl(device_fd(op->own.device), F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? writ_fail_errno(errno, "the connection to the anchor's token") : NULL;
}
