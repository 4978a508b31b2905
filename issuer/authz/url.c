/*
 * See url.h: the rule stands there.  Refusals are said here in the words of a URL, before resource_check() says
 * whatever is left in its own.
 */
#include "issuer/authz/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/text.h"
#include "issuer/x509/ca.h"
#include "policy/names.h"

/* ---- URL to resource ---- */

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static struct writ_err *
escape_check(struct writ_bytes path, size_t at)
{
	const int high = path.len - at > 2 ? hex_value(path.data[at + 1]) : -1;
	const int low = path.len - at > 2 ? hex_value(path.data[at + 2]) : -1;

	if (high < 0 || low < 0)
		return writ_fail(WRIT_INVALID, "URL: an escape is '%%' and two hex digits in capitals");
	switch (high << 4 | low) {
	case '/':
	case '\\':
	case 0:
		return writ_fail(WRIT_INVALID, "URL: %%%c%c is refused: it would be read in two ways",
				 path.data[at + 1], path.data[at + 2]);
	default:
		return NULL;
	}
}

/* "/..;x/" is no dot segment by RFC 3986, and one to servers that cut parameters off. */
static bool
is_dots_with_parameter(struct writ_bytes from)
{
	size_t n = 0;

	while (n < from.len && n < 3 && from.data[n] == '.')
		n++;
	return (n == 1 || n == 2) && n < from.len && from.data[n] == ';';
}

static struct writ_err *
path_check(struct writ_bytes path)
{
	for (size_t i = 0; i < path.len; i++) {
		struct writ_err *err;

		switch (path.data[i]) {
		case '%':
			err = escape_check(path, i);
			if (err)
				return err;
			break;
		case '/':
			if (i + 1 < path.len && path.data[i + 1] == '/')
				return writ_fail(WRIT_INVALID, "URL: '//' is refused");
			if (is_dots_with_parameter((struct writ_bytes){ path.data + i + 1, path.len - i - 1 }))
				return writ_fail(WRIT_INVALID, "URL: a dot segment with a parameter is refused");
			break;
		case '*':
			return writ_fail(WRIT_INVALID, "URL: '*' is refused: an asterisk is written %%2A");
		case '#':
			return writ_fail(WRIT_INVALID, "URL: '#' is refused: a fragment is never sent");
		default:
			break;
		}
	}
	return NULL;
}

struct writ_err *
url_resource(const char *prefix, struct writ_bytes target, struct writ_buf *ret)
{
	const uint8_t *query = target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
	struct writ_bytes path = { target.data, query ? (size_t)(query - target.data) : target.len };
	struct writ_err *err;

	writ_buf_clear(ret);
	if (path.len == 0 || path.data[0] != '/')
		return writ_fail(WRIT_INVALID, "URL: it does not begin with '/'");
	if (path.len > RESOURCE_MAX)
		return writ_fail(WRIT_INVALID, "URL: a path of %zu bytes, at most %d are possible", path.len,
				 RESOURCE_MAX);
	err = path_check(path);
	if (err)
		return err;
	if (path.data[path.len - 1] == '/')
		path.len--;
	err = writ_buf_add(ret, writ_str(prefix));
	if (!err)
		err = writ_buf_add(ret, path);
	if (!err)
		err = resource_check(writ_view(ret));
	if (err) {
		writ_buf_clear(ret);
		return writ_because(err, "URL");
	}
	err = writ_buf_add(ret, (struct writ_bytes){ (const uint8_t *)"", 1 });
	if (!err)
		ret->len--; /* the NUL stands behind */
	return err;
}

const struct authz_route *
url_route(const struct authz_conf *conf, struct writ_bytes method, struct writ_bytes resource)
{
	for (size_t i = 0; i < conf->n_routes; i++) {
		const struct authz_route *route = &conf->routes[i];

		for (size_t m = 0; m < route->n_methods; m++)
			if (writ_equal(route->methods[m], method) &&
			    resource_covers(writ_str(route->pattern), resource))
				return route;
	}
	return NULL;
}

/* ---- header to certificate ---- */

/* What nginx leaves as it is of a PEM. */
static bool
is_plain(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static struct writ_err *
unescape(struct writ_bytes text, struct writ_buf *ret)
{
	uint8_t *out;
	struct writ_err *err;
	size_t n = 0;

	err = writ_buf_grow(ret, text.len, &out);
	if (err)
		return err;
	for (size_t i = 0; i < text.len; i++) {
		const bool escaped = text.data[i] == '%';
		const int high = escaped && text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
		const int low = escaped && text.len - i > 2 ? hex_value(text.data[i + 2]) : -1;
		const int c = escaped ? high << 4 | low : text.data[i];

		if (escaped ? high < 0 || low < 0 || is_plain((uint8_t)c) || !strchr("\n +/=", c) || c == 0
			    : !is_plain(text.data[i]))
			return writ_fail(WRIT_INVALID, "certificate: byte %zu is not of an escaped PEM", i);
		if (escaped)
			i += 2;
		out[n++] = (uint8_t)c;
	}
	ret->len -= text.len - n;
	return NULL;
}

static struct writ_err *
from_pem(struct writ_bytes text, struct writ_buf *ret_der)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(URL_CERTIFICATE_MAX);
	struct writ_bytes rest;
	struct writ_err *err;

	err = unescape(text, &pem);
	if (err)
		return err;
	rest = writ_view(&pem);
	err = pem_read("CERTIFICATE", &rest, ret_der);
	if (err)
		return writ_recode(err, WRIT_INVALID, "certificate");
	if (rest.len > 0)
		return writ_fail(WRIT_INVALID, "certificate: %zu bytes follow the PEM of one", rest.len);
	return NULL;
}

struct writ_err *
url_certificate(struct writ_bytes text, struct writ_buf *ret_der)
{
	const struct writ_bytes begin = WRIT_LIT("-----BEGIN%20CERTIFICATE-----%0A");
	struct writ_err *err;

	writ_buf_clear(ret_der);
	if (text.len > URL_CERTIFICATE_MAX)
		return writ_fail(WRIT_EXHAUSTED, "certificate: %zu characters, at most %d are possible", text.len,
				 URL_CERTIFICATE_MAX);
	if (text.len >= begin.len && memcmp(text.data, begin.data, begin.len) == 0)
		err = from_pem(text, ret_der);
	else
		err = writ_unbase64(BASE64_STD, text, ret_der);
	if (!err && ret_der->len == 0)
		err = writ_fail(WRIT_INVALID, "certificate: it is empty");
	if (err)
		writ_buf_clear(ret_der);
	return err;
}

size_t
url_peer(struct writ_bytes text, uint8_t ret[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof(copy))
		return 0;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, ret) == 1)
		return 4;
	if (inet_pton(AF_INET6, copy, ret) != 1)
		return 0;
	if (memcmp(ret, mapped, sizeof(mapped)) != 0)
		return 16;
	memmove(ret, ret + 12, 4);
	return 4;
}
