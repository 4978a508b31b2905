/*
 * One request to a foreign server: see transfer.h.
 */
#include "issuer/fetch/transfer.h"

#define CONNECT_TIMEOUT_MS 5000L

static size_t
receive(char *data, size_t size, size_t n, void *ctx)
{
	struct transfer *t = ctx;
	struct writ_err *err = writ_buf_add(&t->answer, (struct writ_bytes){ (const uint8_t *)data, size * n });

	if (!err)
		return size * n;
	writ_err_free(err);
	t->full = true;
	return 0;
}

static bool
post_set(struct transfer *t, struct writ_bytes body)
{
	bool ok = true;

	if (body.len == 0)
		return true;
	t->headers = curl_slist_append(NULL, "Content-Type: application/ocsp-request");
	ok &= t->headers && curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
	ok &= curl_easy_setopt(t->curl, CURLOPT_POST, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len) == CURLE_OK;
	ok &= curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, (const char *)body.data) == CURLE_OK;
	return ok;
}

static bool
options_set(struct transfer *t, const char *url, const char *ca)
{
	const bool plain = strncmp(url, "http://", 7) == 0;
	CURL *c = t->curl;
	bool ok = true;

	ok &= curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_USERAGENT, "writ-fetchd") == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
	if (ca) {
		ok &= curl_easy_setopt(c, CURLOPT_CAINFO, ca) == CURLE_OK;
		ok &= curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
	}
	ok &= curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TRANSFER_MS) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_WRITEDATA, t) == CURLE_OK;
	ok &= curl_easy_setopt(c, CURLOPT_PRIVATE, t) == CURLE_OK;
	return ok;
}

bool
transfer_begin(struct transfer *t, CURLM *multi, const char *url, const char *ca, struct writ_bytes body)
{
	t->full = false;
	t->why[0] = '\0';
	writ_buf_clear(&t->answer);
	t->curl = curl_easy_init();
	if (t->curl && options_set(t, url, ca) && post_set(t, body) &&
	    curl_multi_add_handle(multi, t->curl) == CURLM_OK)
		return true;
	transfer_end(t, NULL);
	return false;
}

struct writ_err *
transfer_result(const struct transfer *t, CURLcode code)
{
	long status = 0;

	if (t->full)
		return writ_fail(WRIT_EXHAUSTED, "the answer has more than %zu bytes", t->answer.limit);
	if (code != CURLE_OK)
		return writ_fail(WRIT_UNAVAILABLE, "%s", *t->why ? t->why : curl_easy_strerror(code));
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 300 && status < 400)
		return writ_fail(WRIT_UNAVAILABLE, "it answered %ld: redirects are not followed, name the last URL",
				 status);
	if (status != 200)
		return writ_fail(WRIT_UNAVAILABLE, "it answered %ld", status);
	return NULL;
}

void
transfer_end(struct transfer *t, CURLM *multi)
{
	if (t->curl && multi)
		curl_multi_remove_handle(multi, t->curl);
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	t->curl = NULL;
	t->headers = NULL;
}
