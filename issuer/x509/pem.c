/*
 * PEM (RFC 7468): base64 between two lines.  Text between blocks is skipped, as tools write comments there; inside a
 * block nothing is.
 */
#include <stdio.h>

#include "base/text.h"
#include "issuer/x509/ca.h"

#define PEM_LINE 64			 /* characters a line when writing */
#define PEM_MARK_MAX 64			 /* of "-----BEGIN LABEL-----" */
#define PEM_BLOCK_MAX (16 * 1024 * 1024) /* characters of a block: larger CRLs are given as DER */

struct writ_err *
pem_write(const char *label, struct writ_bytes der, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PEM_BLOCK_MAX);
	struct writ_err *err;

	err = writ_base64(der, &text);
	if (!err)
		err = writ_buf_printf(ret, "-----BEGIN %s-----\n", label);
	for (size_t at = 0; !err && at < text.len; at += PEM_LINE) {
		const size_t left = text.len - at, n = left < PEM_LINE ? left : PEM_LINE;

		err = writ_buf_add(ret, (struct writ_bytes){ text.data + at, n });
		if (!err)
			err = writ_buf_add(ret, WRIT_LIT("\n"));
	}
	return err ? err : writ_buf_printf(ret, "-----END %s-----\n", label);
}

/* The next line without its end, CR LF or LF; false when nothing is left. */
static bool
take_line(struct writ_bytes *rest, struct writ_bytes *ret)
{
	const uint8_t *end;
	size_t len;

	if (rest->len == 0)
		return false;
	end = memchr(rest->data, '\n', rest->len);
	len = end ? (size_t)(end - rest->data) : rest->len;
	*ret = (struct writ_bytes){ rest->data, len };
	rest->data += len + (end ? 1 : 0);
	rest->len -= len + (end ? 1 : 0);
	if (ret->len && ret->data[ret->len - 1] == '\r')
		ret->len--;
	return true;
}

struct writ_err *
pem_read(const char *label, struct writ_bytes *rest, struct writ_buf *ret_der)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(PEM_BLOCK_MAX);
	char begin[PEM_MARK_MAX], stop[PEM_MARK_MAX];
	struct writ_bytes line;
	struct writ_err *err;

	(void)snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
	(void)snprintf(stop, sizeof(stop), "-----END %s-----", label);
	do {
		if (!take_line(rest, &line))
			return writ_fail(WRIT_NOT_FOUND, "PEM: no further block '%s'", label);
	} while (!writ_equal(line, writ_str(begin)));
	for (;;) {
		if (!take_line(rest, &line))
			return writ_fail(WRIT_INVALID, "PEM: block '%s' has no end", label);
		if (writ_equal(line, writ_str(stop)))
			break;
		err = writ_buf_add(&text, line);
		if (err)
			return writ_because(err, "PEM: block '%s'", label);
	}
	err = writ_unbase64(BASE64_STD, writ_view(&text), ret_der);
	return err ? writ_because(err, "PEM: block '%s'", label) : NULL;
}
