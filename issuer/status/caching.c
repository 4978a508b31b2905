/*
 * See caching.h.
 */
#include "issuer/status/caching.h"

#include <stdio.h>

#include "base/text.h"

bool
caching_etag_listed(struct writ_bytes field, struct writ_bytes etag)
{
	if (writ_equal(field, WRIT_LIT("*")))
		return true;
	for (;;) {
		const uint8_t *open = field.len > 0 ? memchr(field.data, '"', field.len) : NULL;
		const uint8_t *end = field.data + field.len, *close;

		if (!open)
			return false;
		close = memchr(open + 1, '"', (size_t)(end - open - 1));
		if (!close)
			return false;
		if (writ_equal((struct writ_bytes){ open + 1, (size_t)(close - open - 1) }, etag))
			return true;
		field = (struct writ_bytes){ close + 1, (size_t)(end - close - 1) };
	}
}

size_t
caching_headers(char *headers, size_t cap, const char *etag, writ_time last_modified, writ_time expires,
		unsigned max_age_s)
{
	char modified[WRIT_HTTP_DATE_LEN + 1], until[WRIT_HTTP_DATE_LEN + 1];
	const int n =
		snprintf(headers, cap,
			 "Last-Modified: %s\r\nExpires: %s\r\nETag: \"%s\"\r\n"
			 "Cache-Control: max-age=%02u, public, no-transform, must-revalidate\r\n",
			 writ_time_http(last_modified, modified), writ_time_http(expires, until), etag, max_age_s);

	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}
