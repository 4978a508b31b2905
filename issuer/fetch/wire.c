/*
 * One datagram between issuer and writ-fetchd: see wire.h.
 */
#include "issuer/fetch/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"

static const char keys_word[] = "keys ";

char *
fetch_keys_path(const char *state, const char *alias, char *out)
{
	snprintf(out, 4096, "%s/fetched/%s.jwks", state, alias);
	return out;
}

struct writ_err *
fetch_ask_keys(const char *run, const char *alias)
{
	AUTO(file_closep) int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char text[FETCH_ASK_MAX + 1];
	int len;

	if (sock < 0)
		return writ_fail_errno(errno, "a socket to writ-fetchd");
	len = snprintf(to.sun_path, sizeof(to.sun_path), "%s/fetch.sock", run);
	if (len < 0 || (size_t)len >= sizeof(to.sun_path))
		return writ_fail(WRIT_INVALID, "%s/fetch.sock is too long for a socket", run);
	len = snprintf(text, sizeof(text), "%s%s", keys_word, alias);
	if (len < 0 || (size_t)len >= sizeof(text))
		return writ_fail(WRIT_INVALID, "the alias %.80s is too long", alias);
	if (sendto(sock, text, (size_t)len, 0, (const struct sockaddr *)&to, sizeof(to)) != len)
		return writ_fail_errno(errno, "asking writ-fetchd at %s", to.sun_path);
	return NULL;
}

bool
fetch_ask_read(struct writ_bytes datagram, struct writ_bytes *ret_alias)
{
	const size_t word = sizeof(keys_word) - 1;

	*ret_alias = (struct writ_bytes){ 0 };
	if (datagram.len <= word || datagram.len > FETCH_ASK_MAX || memcmp(datagram.data, keys_word, word) != 0)
		return false;
	*ret_alias = (struct writ_bytes){ datagram.data + word, datagram.len - word };
	return true;
}
