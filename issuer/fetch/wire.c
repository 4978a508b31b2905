/*
 * One datagram between issuer and writ-fetchd: see wire.h.
 */
#include "issuer/fetch/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"

static const char keys_word[] = "keys ", ocsp_word[] = "ocsp ";

char *
fetch_keys_path(const char *state, const char *alias, char *out)
{
	snprintf(out, 4096, "%s/fetched/%s.jwks", state, alias);
	return out;
}

char *
fetch_ocsp_path(const char *state, const char *url, struct writ_bytes request, char *out)
{
	const struct writ_bytes pieces[] = { writ_str(url), WRIT_LIT("\n"), request };
	uint8_t digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	writ_sha256v(pieces, N_OF(pieces), digest);
	snprintf(out, 4096, "%s/fetched/ocsp-%s.der", state,
		 writ_hex((struct writ_bytes){ digest, sizeof(digest) }, hex));
	return out;
}

WRIT_CHECKED static struct writ_err *
ask(const char *run, struct writ_bytes datagram)
{
	AUTO(file_closep) int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int len;

	if (sock < 0)
		return writ_fail_errno(errno, "a socket to writ-fetchd");
	len = snprintf(to.sun_path, sizeof(to.sun_path), "%s/fetch.sock", run);
	if (len < 0 || (size_t)len >= sizeof(to.sun_path))
		return writ_fail(WRIT_INVALID, "%s/fetch.sock is too long for a socket", run);
	if (sendto(sock, datagram.data, datagram.len, 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return writ_fail_errno(errno, "asking writ-fetchd at %s", to.sun_path);
	return NULL;
}

struct writ_err *
fetch_ask_keys(const char *run, const char *alias)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(FETCH_ASK_MAX);
	struct writ_err *err = writ_buf_printf(&text, "%s%s", keys_word, alias);

	return err ? err : ask(run, writ_view(&text));
}

struct writ_err *
fetch_ask_ocsp(const char *run, const char *url, struct writ_bytes request)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(FETCH_ASK_MAX);
	struct writ_err *err = writ_buf_printf(&text, "%s%s\n", ocsp_word, url);

	if (!err)
		err = writ_buf_add(&text, request);
	return err ? err : ask(run, writ_view(&text));
}

/* What stands behind the word, if the datagram begins with it. */
static bool
after(struct writ_bytes datagram, const char *word, struct writ_bytes *ret)
{
	const size_t len = strlen(word);

	if (datagram.len <= len || datagram.len > FETCH_ASK_MAX || memcmp(datagram.data, word, len) != 0)
		return false;
	*ret = (struct writ_bytes){ datagram.data + len, datagram.len - len };
	return true;
}

bool
fetch_ask_read(struct writ_bytes datagram, struct fetch_ask *ret)
{
	struct writ_bytes rest;
	const uint8_t *end;

	*ret = (struct fetch_ask){ 0 };
	if (after(datagram, keys_word, &ret->alias))
		return true;
	if (!after(datagram, ocsp_word, &rest))
		return false;
	end = memchr(rest.data, '\n', rest.len);
	if (!end || end == rest.data)
		return false;
	ret->url = (struct writ_bytes){ rest.data, (size_t)(end - rest.data) };
	ret->request = (struct writ_bytes){ end + 1, rest.len - ret->url.len - 1 };
	return ret->request.len > 0 && ret->request.len <= FETCH_REQUEST_MAX;
}
