/*
 * One exchange with another server: see exchange.h.
 */
#include "issuer/fetch/exchange.h"

static size_t
receive(char *data, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	struct writ_err *err = writ_buf_add(&x->answer, (struct writ_bytes){ (const uint8_t *)data, size * n });

	if (!err)
		return size * n;
	writ_err_free(err);
	x->full = true;
	return 0;
}

bool
exchange_open(struct exchange *x, const struct exchange_conf *conf, void *owner)
{
	CURL *c = x->easy = curl_easy_init();
	bool ok = true;

	if (!c)
		return false;
	ok &= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, conf->protocols) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_USERAGENT, conf->agent) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, conf->connect_ms) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->why) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEDATA, x) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PRIVATE, owner) == CURLE_OK;
	return ok;
}

bool
exchange_set(struct exchange *x, const char *url, long timeout_ms, struct curl_slist *headers, struct writ_bytes body)
{
	bool ok = true;

	x->full = false;
	x->why[0] = '\0';
	writ_buf_clear(&x->answer);
	ok &= curl_easy_setopt(x->easy, CURLOPT_URL, url) == CURLE_OK;
	ok &= curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK;
	if (body.len == 0)
		return ok;
	ok &= curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
	ok &= curl_easy_setopt(x->easy, CURLOPT_POST, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len) == CURLE_OK;
	ok &= curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, (const char *)body.data) == CURLE_OK;
	return ok;
}

struct writ_err *
exchange_result(const struct exchange *x, CURLcode code, long *ret_status)
{
	if (x->full)
		return writ_fail(WRIT_EXHAUSTED, "the answer has more than %zu bytes", x->answer.limit);
	if (code != CURLE_OK)
		return writ_fail(WRIT_UNAVAILABLE, "%s", *x->why ? x->why : curl_easy_strerror(code));
	*ret_status = 0;
	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, ret_status);
	return NULL;
}

void
exchange_close(struct exchange *x)
{
	curl_easy_cleanup(x->easy);
	x->easy = NULL;
}
