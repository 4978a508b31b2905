/*
 * Listening, and who is let in: connections in all, connections an address, handshakes a second, descriptors.
 *
 * What is over a limit of ours takes the place of the oldest idle connection, or of one that waits of the address that
 * has most waiting; only an address over its own share is turned away.  Handshakes begin at the rate allowed, addresses
 * in turn, so that a flood of them by one address leaves everybody else's as fast as before.
 */
#include "issuer/http/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/event.h"

#define ACCEPTS_MAX 64 /* in a row, then what is open gets its turn */
#define BEGINS_MAX 64  /* handshakes in a row */
#define BEGINS_BEHIND                                                                                                  \
	4 /* while more is open than a wake-up sees: a handshake begun late is cut at its deadline, one not begun      \
	     waits */
#define RESERVE_HANDSHAKES 8   /* one in so many is for addresses that are preferred, */
#define RESERVE_CONNECTIONS 16 /* and one in so many */
#define PREFERRED_FOR_MS (INT64_C(86400) * 1000)
#define BACKLOG 4096	 /* so much of a burst waits in the kernel, without a deadline */
#define DEFER_ACCEPT_S 5 /* a plain client that says nothing yet costs us nothing so long */
#define OFF_MS 100	 /* without descriptors or memory: so long nobody is accepted */
#define TELL_AGAIN_MS 10000

/* ---- connections of an address ---- */

static unsigned
address_bucket(const struct loop *loop, const uint8_t key[16])
{
	uint64_t a, b;

	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	a = (a ^ loop->address_seed) * UINT64_C(0x9e3779b97f4a7c15);
	a = (a ^ (a >> 29) ^ b) * UINT64_C(0xbf58476d1ce4e5b9);
	return (unsigned)(a >> 32) % ADDRESS_BUCKETS;
}

/* Counts one more; NULL when the address has its share, or memory ran out. */
static struct address *
address_take(struct loop *loop, const uint8_t key[16])
{
	const unsigned bucket = address_bucket(loop, key);
	const unsigned max = loop->conf.connections_per_address_max;
	struct address *address;

	LIST_FOREACH(address, &loop->addresses[bucket], link)
	{
		if (memcmp(address->key, key, 16) != 0)
			continue;
		if (max > 0 && address->n >= max)
			return NULL;
		address->n++;
		return address;
	}
	address = calloc(1, sizeof(*address));
	if (!address)
		return NULL;
	memcpy(address->key, key, 16);
	address->n = 1;
	TAILQ_INIT(&address->queued);
	LIST_INSERT_HEAD(&loop->addresses[bucket], address, link);
	return address;
}

void
address_release(struct loop *loop, struct address *address)
{
	(void)loop;
	if (!address || --address->n > 0)
		return;
	LIST_REMOVE(address, link);
	free(address);
}

union any_address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

/* One key for what one client can have many of: an IPv6 /64. */
static void
address_key(const union any_address *from, uint8_t key[16], char *text, socklen_t text_len)
{
	memset(key, 0, 16);
	if (from->any.sa_family == AF_UNIX) { /* all clients of a socket file are one */
		snprintf(text, text_len, "unix");
		return;
	}
	if (from->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&from->in6.sin6_addr)) {
		memcpy(key, &from->in6.sin6_addr, 8);
		inet_ntop(AF_INET6, &from->in6.sin6_addr, text, text_len);
		return;
	}
	key[10] = key[11] = 0xff;
	if (from->any.sa_family == AF_INET6)
		memcpy(key + 12, (const uint8_t *)&from->in6.sin6_addr + 12, 4);
	else
		memcpy(key + 12, &from->in.sin_addr, 4);
	inet_ntop(AF_INET, key + 12, text, text_len);
}

/* ---- listening ---- */

static bool
listener_watch(struct listener *listener, int op, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = listener };

	return epoll_ctl(listener->loop->epoll, op, listener->fd, &ev) == 0;
}

/* Accepts nobody for a while: the kernel's queue keeps them. */
static void
listener_off(struct listener *listener, int64_t ms)
{
	struct loop *loop = listener->loop;
	const int64_t again_ms = loop->now.mono_ms + ms;

	listener->off = true;
	(void)listener_watch(listener, EPOLL_CTL_MOD, false);
	if (loop->accept_again_ms == 0 || loop->accept_again_ms > again_ms)
		loop->accept_again_ms = again_ms;
}

static void handshakes_begin(struct loop *);

void
listeners_again(struct loop *loop)
{
	if (loop->accept_again_ms == 0 || loop->now.mono_ms < loop->accept_again_ms)
		return;
	loop->accept_again_ms = 0;
	for (struct listener *l = loop->listeners; l; l = l->next) {
		if (!l->off)
			continue;
		l->off = false;
		(void)listener_watch(l, EPOLL_CTL_MOD, true);
	}
	handshakes_begin(loop);
}

void
listeners_close(struct loop *loop)
{
	loop->accept_again_ms = 0;
	for (struct listener *l = loop->listeners; l; l = l->next) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = -1;
		l->off = false;
	}
}

/* ---- letting in ---- */

/* Who asks nothing, who was told to ask later and did not wait, who does not come to the end of his handshake: the
 * oldest of each, in this order. */
static bool
evict_idle(struct loop *loop)
{
	static const enum conn_state first[] = { CONN_IDLE, CONN_RESTING, CONN_HANDSHAKE };

	for (size_t i = 0; i < N_OF(first); i++) {
		struct http_connection *oldest = TAILQ_FIRST(&loop->by_state[first[i]]);

		if (!oldest)
			continue;
		conn_close(oldest);
		return true;
	}
	return false;
}

/*
 * No descriptor is left.  An idle connection gives up its own; else the spare one lets us take the client out of the
 * queue and close it, so that it learns of it, and then we rest: polling a full queue that nobody can take from would
 * be a busy loop.
 */
static void
out_of_descriptors(struct listener *listener, int errno_value)
{
	struct loop *loop = listener->loop;

	count(loop, COUNT_REFUSED_LIMIT);
	if (loop->descriptors_told_ms == 0 || loop->now.mono_ms - loop->descriptors_told_ms > TELL_AGAIN_MS) {
		loop->descriptors_told_ms = loop->now.mono_ms;
		event(EVENT_WARN, "http.no_descriptor", EV_NUM("connections", loop->n_open),
		      EV_NUM("errno", errno_value));
	}
	if (evict_idle(loop))
		return;
	if (loop->spare >= 0) {
		int fd;

		close(loop->spare);
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		loop->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	listener_off(listener, OFF_MS);
}

/* ---- who is preferred ---- */

static struct preferred *
preferred_at(struct loop *loop, const uint8_t key[16])
{
	return &loop->preferred[address_bucket(loop, key) % PREFERRED_MAX];
}

static bool
is_preferred(struct loop *loop, const struct address *address)
{
	const struct preferred *p = preferred_at(loop, address->key);

	return p->until_ms > loop->now.mono_ms && memcmp(p->key, address->key, 16) == 0;
}

void
http_prefer(struct http_request *request)
{
	struct http_connection *conn = request->connection;
	struct preferred *p;

	if (conn->state == CONN_CLOSED) /* its address is counted no more */
		return;
	p = preferred_at(conn->loop, conn->address->key);
	memcpy(p->key, conn->address->key, sizeof(p->key));
	p->until_ms = conn->loop->now.mono_ms + PREFERRED_FOR_MS;
}

/* ---- handshakes ---- */

static void
handshake_queue(struct http_connection *conn)
{
	struct address *address = conn->address;
	struct loop *loop = conn->loop;

	if (address->n_queued++ == 0) {
		if (is_preferred(loop, address))
			TAILQ_INSERT_HEAD(&loop->turns, address, turn);
		else
			TAILQ_INSERT_TAIL(&loop->turns, address, turn);
	}
	TAILQ_INSERT_TAIL(&address->queued, conn, shake);
}

void
handshake_dequeue(struct http_connection *conn)
{
	struct address *address = conn->address;

	TAILQ_REMOVE(&address->queued, conn, shake);
	if (--address->n_queued == 0)
		TAILQ_REMOVE(&conn->loop->turns, address, turn);
}

/* A token bucket of one second's handshakes, of which the last are for those who are preferred. */
static bool
handshake_token(struct loop *loop, bool preferred)
{
	const int64_t rate = loop->conf.handshakes_per_s; /* so many thousandths a millisecond */
	const int64_t full = rate * 1000, kept = preferred ? 0 : full / RESERVE_HANDSHAKES;
	const int64_t wanted = 1000 + kept < full ? 1000 + kept : full;
	int64_t again_ms;

	if (rate == 0)
		return true;
	loop->handshakes_left += (loop->now.mono_ms - loop->handshakes_at_ms) * rate;
	loop->handshakes_at_ms = loop->now.mono_ms;
	if (loop->handshakes_left > full)
		loop->handshakes_left = full;
	if (loop->handshakes_left >= wanted) {
		loop->handshakes_left -= 1000;
		return true;
	}
	again_ms = loop->now.mono_ms + (wanted - loop->handshakes_left) / rate + 1;
	if (loop->accept_again_ms == 0 || loop->accept_again_ms > again_ms)
		loop->accept_again_ms = again_ms;
	return false;
}

/* Those whose turn it is.  What is left of them has another wake-up. */
static void
handshakes_begin(struct loop *loop)
{
	const unsigned max = loop->behind ? BEGINS_BEHIND : BEGINS_MAX;
	struct address *address;

	for (unsigned n = 0; (address = TAILQ_FIRST(&loop->turns)); n++) {
		struct http_connection *conn = TAILQ_FIRST(&address->queued);
		const bool preferred = is_preferred(loop, address);

		if (n == max) {
			loop->accept_again_ms = loop->now.mono_ms + 1;
			return;
		}
		if (!handshake_token(loop, preferred))
			return;
		if (!preferred && address->n_queued > 1) {
			TAILQ_REMOVE(&loop->turns, address, turn);
			TAILQ_INSERT_TAIL(&loop->turns, address, turn);
		}
		handshake_dequeue(conn);
		conn_begin(conn);
	}
}

/* The one that waits last of the address that has most waiting, if that is more than who comes has. */
static bool
evict_queued(struct loop *loop, const struct address *comes)
{
	struct address *most = NULL, *address;

	TAILQ_FOREACH(address, &loop->turns, turn)
	if (!most || address->n_queued > most->n_queued)
		most = address;
	if (!most || most->n_queued <= comes->n_queued + 1)
		return false;
	conn_close(TAILQ_LAST(&most->queued, conn_queue_list));
	return true;
}

static void
admit(struct listener *listener, int fd, const union any_address *from)
{
	struct loop *loop = listener->loop;
	char text[INET6_ADDRSTRLEN] = "";
	unsigned max = loop->conf.connections_max;
	struct http_connection *conn;
	struct address *address;
	uint8_t key[16];

	address_key(from, key, text, sizeof(text));
	address = address_take(loop, key);
	if (address && listener->tls && !is_preferred(loop, address))
		max -= max / RESERVE_CONNECTIONS;
	if (!address || (loop->n_open >= max && !evict_idle(loop) && !evict_queued(loop, address))) {
		count(loop, COUNT_REFUSED_LIMIT);
		event(EVENT_DEBUG, "http.turned_away", EV_STR("client", text), EV_NUM("connections", loop->n_open));
		address_release(loop, address);
		close(fd);
		return;
	}
	conn = conn_start(listener, fd, address, text);
	if (conn)
		handshake_queue(conn);
}

void
listener_accept(struct listener *listener)
{
	struct loop *loop = listener->loop;

	for (unsigned i = 0; i < ACCEPTS_MAX && !listener->off && listener->fd >= 0; i++) {
		union any_address from = { 0 };
		socklen_t from_len = sizeof(from);
		const int fd = accept4(listener->fd, &from.any, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			admit(listener, fd, &from);
			continue;
		}
		if (errno == EAGAIN)
			break;
		if (errno == EMFILE || errno == ENFILE) {
			out_of_descriptors(listener, errno);
		} else if (errno == ENOBUFS || errno == ENOMEM) {
			listener_off(listener, OFF_MS);
		}
		/* Anything else befell that one client while it waited (accept(2)). */
	}
	handshakes_begin(loop);
}

static struct writ_err *
socket_listen(int fd, const union any_address *at, socklen_t len, bool tls)
{
	const int on = 1, defer_s = DEFER_ACCEPT_S;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
		return writ_fail_errno(errno, "SO_REUSEPORT");
	/* Accepted sockets inherit it. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		return writ_fail_errno(errno, "TCP_NODELAY");
	if (!tls && setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof(defer_s)) != 0)
		return writ_fail_errno(errno, "TCP_DEFER_ACCEPT");
	if (bind(fd, &at->any, len) != 0)
		return writ_fail_errno(errno, "bind");
	if (listen(fd, BACKLOG) != 0)
		return writ_fail_errno(errno, "listen");
	return NULL;
}

static bool
address_parse(const char *host, uint16_t port, union any_address *ret, socklen_t *ret_len)
{
	*ret = (union any_address){ 0 };
	if (inet_pton(AF_INET, host, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(port);
		*ret_len = sizeof(ret->in);
		return true;
	}
	if (inet_pton(AF_INET6, host, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(port);
		*ret_len = sizeof(ret->in6);
		return true;
	}
	return false;
}

struct writ_err *
loop_listen(struct loop *loop, const char *host, uint16_t port, bool tls, const struct http_handler *handler,
	    uint16_t *ret_port)
{
	union any_address at;
	socklen_t len;
	struct listener *listener;
	struct writ_err *err;

	if (!address_parse(host, port, &at, &len))
		return writ_fail(WRIT_INVALID, "'%.80s' is not an IP address to listen on: names are not looked up",
				 host);
	if (tls && !loop->tls)
		return writ_fail(WRIT_BROKEN, "loop_listen() for TLS before loop_tls()");
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a listener");
	*listener = (struct listener){ .source = SOURCE_LISTENER, .tls = tls, .handler = handler, .loop = loop };
	listener->fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0) {
		free(listener);
		return writ_fail_errno(errno, "socket");
	}
	err = socket_listen(listener->fd, &at, len, tls);
	if (!err && !listener_watch(listener, EPOLL_CTL_ADD, true))
		err = writ_fail_errno(errno, "epoll_ctl");
	if (!err && getsockname(listener->fd, &at.any, &len) != 0)
		err = writ_fail_errno(errno, "getsockname");
	if (err) {
		close(listener->fd);
		free(listener);
		return writ_because(err, "listening on %.80s port %u", host, port);
	}
	listener->next = loop->listeners;
	loop->listeners = listener;
	if (ret_port)
		*ret_port = ntohs(at.any.sa_family == AF_INET ? at.in.sin_port : at.in6.sin6_port);
	return NULL;
}

/* ---- a socket in the file system ---- */

/* Removes what an ended process left behind: a socket on which nobody answers. */
static struct writ_err *
unix_clear(const struct sockaddr_un *at)
{
	struct stat st;
	int fd, refused;

	if (lstat(at->sun_path, &st) != 0)
		return errno == ENOENT ? NULL : writ_fail_errno(errno, "looking at it");
	if (!S_ISSOCK(st.st_mode))
		return writ_fail(WRIT_CONFLICT, "a file that is no socket is in its place");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return writ_fail_errno(errno, "socket");
	refused = connect(fd, (const struct sockaddr *)at, sizeof(*at)) != 0 && errno == ECONNREFUSED;
	close(fd);
	if (!refused)
		return writ_fail(WRIT_CONFLICT, "another process answers on it");
	return unlink(at->sun_path) == 0 ? NULL : writ_fail_errno(errno, "removing the old one");
}

/* Nobody can connect before listen(), so mode and group are right from the first connection on. */
static struct writ_err *
unix_open(int fd, const struct sockaddr_un *at, const char *group)
{
	const struct group *found = NULL;

	if (group && !(found = getgrnam(group)))
		return writ_fail(WRIT_NOT_FOUND, "there is no group '%.80s'", group);
	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) != 0)
		return writ_fail_errno(errno, "bind");
	if (found && chown(at->sun_path, (uid_t)-1, found->gr_gid) != 0)
		return writ_fail_errno(errno, "giving it to group %.80s", group);
	if (chmod(at->sun_path, 0660) != 0)
		return writ_fail_errno(errno, "setting its mode");
	if (listen(fd, BACKLOG) != 0)
		return writ_fail_errno(errno, "listen");
	return NULL;
}

struct writ_err *
loop_listen_unix(struct loop *loop, const char *path, const char *group, const struct http_handler *handler)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct listener *listener;
	struct writ_err *err;

	if (strlen(path) >= sizeof(at.sun_path))
		return writ_fail(WRIT_INVALID, "the path of a socket has %zu bytes, at most %zu are possible: %.80s",
				 strlen(path), sizeof(at.sun_path) - 1, path);
	memcpy(at.sun_path, path, strlen(path));
	err = unix_clear(&at);
	if (err)
		return writ_because(err, "listening on %.80s", path);
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a listener");
	*listener = (struct listener){ .source = SOURCE_LISTENER, .handler = handler, .loop = loop };
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0) {
		free(listener);
		return writ_fail_errno(errno, "socket");
	}
	err = unix_open(listener->fd, &at, group);
	if (!err && !listener_watch(listener, EPOLL_CTL_ADD, true))
		err = writ_fail_errno(errno, "epoll_ctl");
	if (err) {
		close(listener->fd);
		free(listener);
		return writ_because(err, "listening on %.80s", path);
	}
	listener->next = loop->listeners;
	loop->listeners = listener;
	return NULL;
}
