/*
 * writ-deviced: the process in which foreign code lives - ESAPI, or one PKCS#11 module - and the only one that opens a
 * device.
 *
 * It serves the few messages of hsm/wire.h to the users it is told of, one request at a time, on one thread: a TPM runs
 * one command at a time, and a token's session one operation.  Another thread ends the process at a request's deadline.
 * Settings come from the supervisor as arguments; secrets by file, never as an argument (I11).
 *
 * (1) A device that refused to authenticate is not opened again by this process: it stays up and answers
 *     WRIT_LOCKED, since ending would have the supervisor start it anew, which is a retry (I12).
 * (2) No fork, no exec.
 * (3) A frame that is no frame closes the connection; a frame that is no request is answered with an error.
 * (4) Keys belong to the connection that loaded them and go with it.
 * (5) RESUME is the one way out of (1), of a latched device and of a quarantined key: an operator mended the cause.  The
 *     secret is read anew, since it may have been the cause, all keys are unloaded, and the device is opened once.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/event.h"
#include "base/file.h"
#include "hsm/deviced_answers.h"
#include "hsm/deviced_sandbox.h"
#include "hsm/watchdog.h"

#define EXIT_FAILED 1
#define EXIT_MISUSED 2

static volatile sig_atomic_t stop;

static void
on_stop(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

/* ---- requests ---- */

/* How much of it is locked: the device, or keys. */
static size_t
locked(const struct server *server)
{
	const struct custody *const custody = server->custody;

	if (server->refused || (custody && custody->latched))
		return SIZE_MAX;
	return custody ? custody->n_quarantined : 0;
}

/* An alarm when the device or a key is found locked, and not again each time that somebody asks after it. */
static void
failure_tell(const struct writ_err *failed, const char *request, bool newly_locked)
{
	const bool alarm = failed->code == WRIT_BROKEN || newly_locked;

	event(alarm ? EVENT_ALARM : EVENT_WARN, "device.request_failed", EV_STR("request", request), EV_ERR(failed));
}

/* The request's message, wherever it is: in the frame or, `beside` it, in a memfd.  `*ret_map` is to be unmapped. */
static struct writ_err *
message_find(struct device_request *request, int beside, struct writ_bytes *ret_map)
{
	struct writ_err *err;

	if (beside < 0)
		return NULL; /* empty then: custody refuses it */
	if (request->type != DEVICE_SIGN)
		return writ_fail(WRIT_INVALID, "device wire: a descriptor came with %s, which takes none",
				 device_message_name(request->type));
	if (request->message.len > 0)
		return writ_fail(WRIT_INVALID,
				 "device wire: a message of %zu bytes in the frame, and a memfd beside it: one of both",
				 request->message.len);
	err = file_memfd_map(beside, DEVICE_INLINE_MAX + 1, CUSTODY_MESSAGE_MAX, ret_map);
	if (err)
		err = writ_because(err, "device wire, where shorter messages go in the frame");
	request->message = *ret_map;
	return err;
}

/* Decodes, answers within the deadline; `*ret_type` is the answer's. */
static struct writ_err *
request_answer(struct server *server, struct connection *connection, const struct frame *frame, int beside,
	       uint16_t *ret_type, struct writ_buf *ret_body)
{
	AUTO(file_memfd_unmap) struct writ_bytes map = { NULL, 0 };
	const size_t was_locked = locked(server);
	const char *const name = device_message_name(frame->type) ? device_message_name(frame->type) : "none";
	AUTO(writ_err_freep) struct writ_err *failed = NULL;
	struct device_request request;

	*ret_type = (uint16_t)(frame->type | DEVICE_ANSWER);
	watchdog_arm(device_timeout_ms(frame->type), name);
	failed = device_request_decode(frame, &request);
	if (!failed)
		failed = message_find(&request, beside, &map);
	if (!failed)
		failed = deviced_answer(server, connection, &request, ret_body);
	watchdog_disarm();
	if (!failed)
		return NULL;
	failure_tell(failed, name, locked(server) > was_locked);
	*ret_type = DEVICE_ERROR;
	writ_buf_clear(ret_body);
	return device_error_encode(failed, ret_body);
}

/* One request of a connection; an error ends the connection (3). */
static struct writ_err *
connection_serve(struct server *server, struct connection *connection)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
	AUTO(file_closep) int beside = -1;
	uint8_t packet[FRAME_MAX];
	struct writ_err *err;
	struct frame frame;
	uint16_t type;

	err = frame_receive(connection->sock, packet, &frame, &beside, 0);
	if (err)
		return err;
	err = request_answer(server, connection, &frame, beside, &type, &body);
	OPENSSL_cleanse(packet, sizeof(packet)); /* a SEAL carries a secret (I11) */
	if (err)
		return err;
	return frame_send(connection->sock, type, frame.id, writ_view(&body), -1, DEVICE_TIMEOUT_MS);
}

/* ---- connections ---- */

/* (4) */
static void
connection_close(struct connection *connection)
{
	deviced_keys_unload(connection);
	if (connection->sock >= 0)
		close(connection->sock);
	*connection = (struct connection){ .sock = -1 };
}

static struct writ_err *
peer_check(const struct settings *settings, int sock)
{
	struct writ_err *err;
	uid_t peer;

	err = frame_peer(sock, &peer);
	if (err)
		return err;
	for (size_t i = 0; i < settings->n_peers; i++)
		if (settings->peers[i] == peer)
			return NULL;
	return writ_fail(WRIT_UNAUTHENTICATED, "uid %u is not served here", (unsigned)peer);
}

/* Takes the socket: serves it, or closes it and says why. */
static void
connection_take(struct server *server, int sock)
{
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	size_t i = 0;

	err = peer_check(server->settings, sock);
	while (i < CONNECTIONS_MAX && server->connections[i].sock >= 0)
		i++;
	if (!err && i == CONNECTIONS_MAX)
		err = writ_fail(WRIT_EXHAUSTED, "%d connections are served, which is the limit", CONNECTIONS_MAX);
	if (err) {
		event(EVENT_WARN, "device.connection_refused", EV_ERR(err));
		close(sock);
		return;
	}
	server->connections[i] = (struct connection){ .sock = sock };
}

static void
accept_one(struct server *server)
{
	const int sock = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

	if (sock >= 0)
		connection_take(server, sock);
}

static unsigned
connections_open(const struct server *server)
{
	unsigned n = 0;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		n += server->connections[i].sock >= 0;
	return n;
}

static void
connection_ready(struct server *server, struct connection *connection)
{
	AUTO(writ_err_freep) struct writ_err *err = connection_serve(server, connection);

	if (!err)
		return;
	if (err->code != WRIT_UNAVAILABLE)
		event(EVENT_WARN, "device.connection_closed", EV_ERR(err));
	watchdog_arm(DEVICE_TIMEOUT_MS, "close a connection"); /* unloading talks to the device */
	connection_close(connection);
	watchdog_disarm();
}

/* Until a signal, or the end of the one inherited connection.  One request of each connection in turn, so none starves.
 */
static void
serve(struct server *server, const sigset_t *unblocked)
{
	while (!stop && (server->listener >= 0 || connections_open(server) > 0)) {
		struct pollfd fds[CONNECTIONS_MAX + 1];

		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			fds[i] = (struct pollfd){ .fd = server->connections[i].sock, .events = POLLIN };
		fds[CONNECTIONS_MAX] =
			(struct pollfd){ .fd = connections_open(server) < CONNECTIONS_MAX ? server->listener : -1,
					 .events = POLLIN };
		if (ppoll(fds, N_OF(fds), NULL, unblocked) <= 0)
			continue;
		for (size_t i = 0; i < CONNECTIONS_MAX; i++)
			if (fds[i].revents)
				connection_ready(server, &server->connections[i]);
		if (fds[CONNECTIONS_MAX].revents)
			accept_one(server);
	}
}

/* ---- start and end ---- */

/* The environment a module sees is the configuration's and nothing else. */
static struct writ_err *
environment_set(const struct settings *settings)
{
#ifdef WRIT_FAULTS
	const char *const fault = getenv("WRIT_FAULT");
	char copy[128] = "";

	if (fault && strlen(fault) < sizeof(copy))
		memcpy(copy, fault, strlen(fault) + 1);
#endif
	clearenv();
#ifdef WRIT_FAULTS
	if (copy[0])
		setenv("WRIT_FAULT", copy, 1);
#endif
	for (size_t i = 0; i < settings->n_env; i++) {
		const char *const equals = strchr(settings->env[i], '=');
		char name[64] = "";

		if (!equals || equals == settings->env[i] || (size_t)(equals - settings->env[i]) >= sizeof(name))
			return writ_fail(WRIT_INVALID, "--env '%.60s': NAME=VALUE is wanted", settings->env[i]);
		memcpy(name, settings->env[i], (size_t)(equals - settings->env[i]));
		if (setenv(name, equals + 1, 1) != 0)
			return writ_fail_errno(errno, "setting %s", name);
	}
	return NULL;
}

/* Listens, or takes what was inherited. */
static struct writ_err *
sockets_start(struct server *server)
{
	const struct settings *const settings = server->settings;
	int listening = 0;
	socklen_t len = sizeof(listening);

	if (settings->socket)
		return frame_listen(settings->socket, &server->listener);
	if (getsockopt(settings->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0)
		return writ_fail(WRIT_INVALID, "--fd %d is no socket", settings->fd);
	if (listening)
		server->listener = settings->fd;
	else
		connection_take(server, settings->fd);
	return NULL;
}

/* The device may be away at the start; what is wrong with the configuration ends us, and (1) what is locked does not.
 */
static struct writ_err *
device_start(struct server *server)
{
	struct custody_info info = { 0 };
	struct writ_err *err;

	watchdog_arm(DEVICE_OPEN_TIMEOUT_MS, "open the device");
	err = deviced_open(server);
	if (!err)
		err = custody_info(server->custody, &info);
	watchdog_disarm();
	if (!err) {
		event(EVENT_INFO, "device.ready", EV_STR("scheme", server->settings->scheme),
		      EV_STR("maker", info.maker), EV_STR("model", info.model), EV_STR("serial", info.serial),
		      EV_STR("firmware", info.firmware), EV_FLAG("software", info.software));
		return NULL;
	}
	if (err->code == WRIT_INVALID || err->code == WRIT_BROKEN)
		return err;
	event(EVENT_WARN, "device.away", EV_ERR(err));
	writ_err_free(err);
	return NULL;
}

static struct writ_err *
start(struct server *server, sigset_t *ret_unblocked)
{
	const struct sigaction on = { .sa_handler = on_stop };
	struct writ_err *err;
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &on, NULL);
	sigaction(SIGINT, &on, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, ret_unblocked); /* taken in ppoll() only, so that no request is cut */

	err = writ_secret_start();
	if (err)
		return err;
	err = environment_set(server->settings);
	if (err)
		return err;
	err = deviced_auth_read(server->settings, &server->auth);
	if (err)
		return err;
	err = deviced_confine(server->settings);
	if (err)
		return err;
	err = watchdog_start();
	if (err)
		return err;
	err = sockets_start(server);
	if (err)
		return err;
	return device_start(server);
}

static void
end(struct server *server)
{
	watchdog_arm(DEVICE_TIMEOUT_MS, "close the device");
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		connection_close(&server->connections[i]);
	custody_close(server->custody);
	writ_secret_done(&server->auth);
	if (server->settings->socket)
		unlink(server->settings->socket);
}

int
main(int argc, char **argv)
{
	struct settings settings;
	struct server server = { .settings = &settings, .listener = -1 };
	sigset_t unblocked;
	struct writ_err *err;

	err = settings_read(argc, argv, &settings);
	if (err) {
		fprintf(stderr, "writ-deviced: %s\n%s", err->message, settings_usage);
		writ_err_free(err);
		return EXIT_MISUSED;
	}
	event_start(STDERR_FILENO, "writ-deviced", settings.level);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		server.connections[i].sock = -1;
	err = start(&server, &unblocked);
	if (err) {
		event(EVENT_ALARM, "device.not_started", EV_ERR(err));
		_exit(err->code == WRIT_INVALID ? EXIT_MISUSED : EXIT_FAILED);
	}
	serve(&server, &unblocked);
	end(&server);
	_exit(0); /* modules have crashed in their exit handlers */
}
