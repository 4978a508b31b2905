/*
 * What no server with epoll can do without: it waits, receives once and sends the same answer once.
 *
 * It reads nothing of what is asked and looks nothing up, so it serves nobody; beside it stands how much of a request's
 * cost is the kernel's alone, here and now.  One thread; plain HTTP with keep-alive; a request comes in one piece.
 *
 * Usage: bare ADDRESS PORT FILE		FILE is the whole answer as it is sent
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define ANSWER_MAX 4096

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
take_all(int epoll, int listener)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.fd = fd };

		if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
			die("a connection");
	}
}

int
main(int argc, char *argv[])
{
	static char in[64 * 1024], answer[ANSWER_MAX];
	struct epoll_event events[EVENTS_MAX], ev = { .events = EPOLLIN };
	struct sockaddr_in address = { .sin_family = AF_INET };
	const int on = 1, epoll = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	FILE *f = argc == 4 ? fopen(argv[3], "rb") : NULL;
	size_t len;

	if (!f || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
		fprintf(stderr, "usage: bare ADDRESS PORT FILE\n");
		return 2;
	}
	len = fread(answer, 1, sizeof(answer), f);
	fclose(f);
	address.sin_port = htons((uint16_t)atoi(argv[2]));
	ev.data.fd = listener;
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 4096) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) != 0)
		die("listening");
	for (;;) {
		const int n = epoll_wait(epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			const int fd = events[i].data.fd;
			ssize_t got;

			if (fd == listener) {
				take_all(epoll, fd);
				continue;
			}
			got = recv(fd, in, sizeof(in), 0);
			if ((got < 0 && errno != EAGAIN) || got == 0 || (got > 0 && send(fd, answer, len, MSG_NOSIGNAL) != (ssize_t)len))
				close(fd);
		}
	}
}
