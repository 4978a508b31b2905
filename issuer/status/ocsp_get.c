/*
 * The path of an OCSP GET, decoded once and never normalised: '/' is a letter of base64, so "//" is two of them, and
 * ".." is nothing but an error.
 *
 * Accepted beyond the plain form, since clients and proxies do it: escapes in either case, one slash too many before
 * the request, padding left out, and a '+' that somebody took for a space.
 */
#include "issuer/status/ocsp_get.h"

#include "base/text.h"

static struct writ_err *
unescape(struct writ_bytes text, char plain[OCSP_GET_MAX], size_t *ret_len)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '%') {
			if (text.len - i < 3 || !writ_unhex((struct writ_bytes){ text.data + i + 1, 2 }, &c, 1))
				return writ_fail(WRIT_INVALID, "OCSP over GET: a '%%' without two hex digits");
			i += 2;
			if (c == ' ')
				c = '+';
		}
		plain[n++] = (char)c;
	}
	*ret_len = n;
	return NULL;
}

struct writ_err *
ocsp_get_decode(struct writ_bytes text, struct writ_buf *ret)
{
	char plain[OCSP_GET_MAX];
	struct writ_err *err;
	size_t len = 0;

	if (text.len > OCSP_GET_MAX)
		return writ_fail(WRIT_INVALID, "OCSP over GET: %zu characters, at most %d are read: use POST", text.len,
				 OCSP_GET_MAX);
	/* A request begins with SEQUENCE, 'M' in base64: a leading slash is never part of it. */
	if (text.len > 0 && text.data[0] == '/')
		text = (struct writ_bytes){ text.data + 1, text.len - 1 };
	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "OCSP over GET: no request in the path");
	err = unescape(text, plain, &len);
	if (err)
		return err;
	err = writ_unbase64(BASE64_STD_LAX, (struct writ_bytes){ (const uint8_t *)plain, len }, ret);
	if (err)
		return writ_because(err, "OCSP over GET");
	return NULL;
}
