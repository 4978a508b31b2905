/*
 * One request to a foreign server: see transfer.h.
 */
#include "issuer/fetch/transfer.h"

#define CONNECT_TIMEOUT_MS 5000L

static bool
ca_set(CURL *easy, const char *ca)
{
	return !ca || (curl_easy_setopt(easy, CURLOPT_CAINFO, ca) == CURLE_OK &&
		       curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK);
}

bool
transfer_begin(struct transfer *t, CURLM *multi, const char *url, const char *ca, struct writ_bytes body)
{
	const bool plain = strncmp(url, "http://", 7) == 0;
	const struct exchange_conf conf = { .agent = "writ-fetchd",
					    .protocols = plain ? "http" : "https",
					    .connect_ms = CONNECT_TIMEOUT_MS };

	if (body.len > 0)
		t->headers = curl_slist_append(NULL, "Content-Type: application/ocsp-request");
	if ((body.len == 0 || t->headers) && exchange_open(&t->exchange, &conf, t) && ca_set(t->exchange.easy, ca) &&
	    exchange_set(&t->exchange, url, TRANSFER_MS, t->headers, body) &&
	    curl_multi_add_handle(multi, t->exchange.easy) == CURLM_OK)
		return true;
	transfer_end(t, NULL);
	return false;
}

bool
transfer_under_way(const struct transfer *t)
{
	return t->exchange.easy != NULL;
}

struct writ_err *
transfer_result(const struct transfer *t, CURLcode code)
{
	long status;
	struct writ_err *err = exchange_result(&t->exchange, code, &status);

	if (err)
		return err;
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
	if (t->exchange.easy && multi)
		curl_multi_remove_handle(multi, t->exchange.easy);
	exchange_close(&t->exchange);
	curl_slist_free_all(t->headers);
	t->headers = NULL;
}
