/*
 * libcurl behind two functions, and RFC 9457 problems as one line of text.
 */
#include "issuer/cli/api.h"

#include <curl/curl.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS 30000L

struct sink {
	struct writ_buf *buf;
	bool full;
};

static size_t
receive(char *data, size_t size, size_t n, void *ctx)
{
	struct sink *sink = ctx;
	struct writ_err *err = writ_buf_add(sink->buf, (struct writ_bytes){ (const uint8_t *)data, size * n });

	if (!err)
		return size * n;
	writ_err_free(err);
	sink->full = true;
	return 0;
}

static void
curl_done(CURL **curl)
{
	if (*curl)
		curl_easy_cleanup(*curl);
}

static void
headers_done(struct curl_slist **headers)
{
	curl_slist_free_all(*headers);
}

/* A peer whom we cannot believe, or a file of ours that cannot be used, is no better later. */
static enum writ_code
code_of(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return WRIT_UNAUTHENTICATED;
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return WRIT_INVALID;
	default:
		return WRIT_UNAVAILABLE;
	}
}

static struct writ_err *
perform(CURL *curl, const char *url, const char *method, const char *content_type, struct writ_bytes body,
	struct writ_buf *ret, long *ret_status)
{
	char reason[CURL_ERROR_SIZE] = "", type[128];
	struct sink sink = { ret, false };
	AUTO(headers_done) struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	CURLcode code;

	if (content_type) {
		snprintf(type, sizeof(type), "Content-Type: %s", content_type);
		headers = curl_slist_append(headers, type);
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
	if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.len ? (const char *)body.data : "");
	}
	code = curl_easy_perform(curl);
	if (sink.full)
		return writ_fail(WRIT_EXHAUSTED, "%s: the answer has more than %zu bytes", url, ret->limit);
	if (code != CURLE_OK)
		return writ_fail(code_of(code), "%s: %s", url, *reason ? reason : curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	return NULL;
}

struct writ_err *
api_ask(const struct options *o, const char *method, const char *path, const char *content_type, struct writ_bytes body,
	struct api_answer *ret)
{
	AUTO(curl_done) CURL *curl = curl_easy_init();
	const char *cert = option(o, "--cert"), *key = option(o, "--key");
	char url[1024];
	struct writ_err *err;

	*ret = (struct api_answer){ .body = WRIT_BUF(API_ANSWER_MAX) };
	if (!curl)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	if (strncmp(option(o, "--api"), "https://", 8) != 0)
		return writ_fail(WRIT_INVALID, "--api: '%.80s' does not begin with https://", option(o, "--api"));
	if (!cert != !key)
		return writ_fail(WRIT_INVALID, "--cert and --key go together");
	snprintf(url, sizeof(url), "%s%s", option(o, "--api"), path);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_CAINFO, option(o, "--ca"));
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	if (cert) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, key);
	}
	err = perform(curl, url, method, content_type, body, &ret->body, &ret->status);
	if (err)
		return err;
	ret->json = json_loadb((const char *)ret->body.data, ret->body.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(ret->json))
		return writ_fail(WRIT_BROKEN, "%s answered %ld without a JSON object: is it a Writ?", url, ret->status);
	return NULL;
}

struct writ_err *
api_ask_json(const struct options *o, const char *method, const char *path, json_t *body, struct api_answer *ret)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct writ_err *err = api_ask(o, method, path, text ? "application/json" : NULL, writ_str(text), ret);

	free(text);
	json_decref(body);
	return err;
}

struct writ_err *
http_fetch(const char *url, const char *content_type, struct writ_bytes body, size_t max, struct writ_buf *ret,
	   long *ret_status)
{
	AUTO(curl_done) CURL *curl = curl_easy_init();
	struct writ_err *err;

	if (!curl)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	ret->limit = max;
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	err = perform(curl, url, body.len ? "POST" : "GET", content_type, body, ret, ret_status);
	if (!err && *ret_status != 200 && *ret_status != 503)
		err = writ_fail(WRIT_UNAVAILABLE, "%s answered %ld", url, *ret_status);
	return err;
}

void
api_answer_done(struct api_answer *a)
{
	writ_buf_done(&a->body);
	json_decref(a->json);
	a->json = NULL;
}

const char *
api_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

long long
api_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

int
api_verdict(const char *command, const struct api_answer *a)
{
	const char *code = api_text(a->json, "code"), *limit = api_text(a->json, "limit"),
		   *hint = api_text(a->json, "hint");
	char text[1024];

	if (a->status >= 200 && a->status < 300)
		return CLI_DONE;
	if (*api_text(a->json, "rule"))
		snprintf(text, sizeof(text), "refused by %s: %s%s%s%s%s", api_text(a->json, "rule"),
			 api_text(a->json, "value"), *limit ? " is outside: " : "", limit, *hint ? "; " : "", hint);
	else
		snprintf(text, sizeof(text), "%s: %s", *code ? code : "refused", api_text(a->json, "detail"));
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	fprintf(stderr, "writ %s: %s\n", command, text);
	if (strcmp(code, "DENIED") == 0)
		return CLI_REFUSED;
	return strcmp(code, "UNAVAILABLE") == 0 || strcmp(code, "EXHAUSTED") == 0 ? CLI_LATER : CLI_FAILED;
}

bool
api_printed_json(const struct options *o, const struct api_answer *a)
{
	if (!option_given(o, "--json"))
		return false;
	json_dumpf(a->json, stdout, JSON_INDENT(2));
	putchar('\n');
	return true;
}
